"""Start the chat server: ``python -m examples.chat``, and ``--help`` for more."""

import argparse
import logging
import sys
from pathlib import Path

import trio

from trio_actors import ActorError

from .limits import affordable, how_to_afford
from .settings import Settings

MAX_CLIENTS = 20_000


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.chat", description="A chat server on actors."
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (%(default)s)"
    )
    parser.add_argument(
        "--tcp-port",
        type=port,
        default=7000,
        help="for nc (%(default)s); 0: any",
    )
    parser.add_argument(
        "--web-port", type=port, default=8000, help="for browsers (%(default)s)"
    )
    parser.add_argument(
        "--demo", action="store_true", help="let everybody crash a room, to see it back"
    )
    parser.add_argument(
        "--origin",
        action="append",
        default=[],
        metavar="URL",
        help="another web origin whose pages may connect, as https://chat.example",
    )
    parser.add_argument(
        "--max-clients", type=int, metavar="N", help="(as many as fit, up to 20000)"
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="keep there what is said, so that the rooms have it after a restart",
    )
    parser.add_argument("--quiet", action="store_true", help="log warnings only")
    return parser.parse_args()


def port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return number


def main() -> int:
    options = arguments()
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        level=logging.WARNING if options.quiet else logging.INFO,
    )
    # A line that was said while a client left is nothing to worry about.
    logging.getLogger("trio_actors.dead_letters").setLevel(logging.ERROR)
    try:
        from .server import Sockets, bind, run_chat  # noqa: PLC0415 (so that one learns what is missing)
    except ModuleNotFoundError as error:
        print(
            f"The chat server needs {error.name}: pip install 'trio-actors[web]'",
            file=sys.stderr,
        )
        return 2
    settings = Settings(
        demo=options.demo,
        origins=tuple(options.origin),
        max_clients=affordable(options.max_clients or MAX_CLIENTS),
    )
    if options.max_clients is not None and settings.max_clients < options.max_clients:
        print(how_to_afford(options.max_clients), file=sys.stderr)
        return 2
    try:
        sockets = Sockets(
            bind(options.host, options.tcp_port), bind(options.host, options.web_port)
        )
    except OSError as error:
        print(f"The chat server cannot listen there: {error}", file=sys.stderr)
        return 2
    try:
        trio.run(run_chat, settings, sockets, options.data)
    except KeyboardInterrupt:
        return 130
    except (OSError, ImportError, ActorError) as error:
        print(f"The chat server does not start: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
