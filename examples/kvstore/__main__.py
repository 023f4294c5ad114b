"""The store as a command: ``python -m examples.kvstore --help``."""

import argparse
import codecs
import logging
import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TypeVar, cast

import trio

from trio_actors import ActorError

from . import api
from .files import NotStored, Uncertain, Unusable

E = TypeVar("E", bound=Exception)

DESCRIPTION = """\
A key-value store whose content survives.

  set KEY VALUE   store a value; it is durable when the command has ended
  get KEY         print the value, or None if there is none
  delete KEY      delete the key, if it is there
  demo            set, get and delete the key "hello", and reset the writer meanwhile

The exit code is 0; 1 if "get" finds nothing; 2 if the store cannot be used, or what is
found not be printed.
"""


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.kvstore",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="DIR",
        help="where it is kept; made if it is not there",
    )
    parser.add_argument(
        "--journal",
        choices=["json", "sqlite"],
        default="json",
        help="how it is kept: one JSON file, replaced at each change, or a journal of"
        " all changes; each has its own data (%(default)s)",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, *names in (("set", "key", "value"), ("get", "key"), ("delete", "key")):
        command = commands.add_parser(name)
        for argument in names:
            command.add_argument(argument, metavar=argument.upper())
    commands.add_parser("demo")
    return parser.parse_args(argv)


def say(text: object) -> None:
    """Print a line, or say that it cannot be written."""
    try:
        print(text, flush=True)
    except OSError as error:
        # Python tries it again at its end, and would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise OSError(f"the output cannot be written: {error}") from error


async def demo() -> None:
    """Do what the book does, and a reset."""
    await api.set("hello", "world")
    say(await api.get("hello"))
    before = await api.writer_since()
    await api.reset()
    value, after = await api.get("hello"), await api.writer_since()
    say(
        f"reset: the writer of {before:.6f} has gone, that of {after:.6f} still has"
        f" {value!r}"
    )
    await api.delete("hello")
    say(await api.get("hello"))


async def run(options: argparse.Namespace) -> int:
    """Do what the command says; return the exit code."""
    async with api.open_kvstore(options.data, options.journal):
        match options.command:
            case "set":
                await api.set(options.key, options.value)
            case "get":
                value = await api.get(options.key)
                say(value)
                return 0 if value is not None else 1
            case "delete":
                await api.delete(options.key)
            case _:
                await demo()
    return 0


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    # What fails is told below, in a line; a warning of the journal's is shown.
    logging.getLogger("trio_actors").addFilter(is_no_failure)
    logging.getLogger("trio_actors.dead_letters").setLevel(logging.CRITICAL)
    open_output()
    code = 0
    try:
        code = trio.run(run, options)
    except* KeyboardInterrupt:
        code = 130
    except* (Unusable, NotStored, Uncertain, ActorError, OSError, ImportError) as group:
        print(first_of(group), file=sys.stderr)
        code = 2
    return code


def open_output() -> None:
    """Let everything be printed that can be stored."""
    codecs.register_error("as it went in", as_it_went_in)
    if sys.stdout is not None:  # else somebody has closed it
        cast("TextIOWrapper", sys.stdout).reconfigure(errors="as it went in")


def as_it_went_in(error: UnicodeError) -> tuple[str | bytes, int]:
    """Encode bytes that are no text as they were; what is unknown is escaped."""
    assert isinstance(error, UnicodeEncodeError)
    error.end = error.start + 1
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeEncodeError:
        return codecs.backslashreplace_errors(error)


def is_no_failure(record: logging.LogRecord) -> bool:
    return record.levelno < logging.ERROR


def first_of(group: ExceptionGroup[E]) -> E:
    """Return the first failure in a group, or in a group in it."""
    first = group.exceptions[0]
    if isinstance(first, ExceptionGroup):
        return first_of(cast("ExceptionGroup[E]", first))
    return first


if __name__ == "__main__":
    sys.exit(main())
