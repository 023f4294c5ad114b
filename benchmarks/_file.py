"""The file that figures go to.

Rules of this file:

* It is replaced as a whole: whenever a run is interrupted, what is there can be read.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def add_json(parser: argparse.ArgumentParser, file: str) -> None:
    """Let the command line say where the figures go."""
    parser.add_argument(
        "--json",
        type=Path,
        default=Path(file),
        metavar="FILE",
        help=f"where the figures go: {file}",
    )


def write(fields: Mapping[str, Any], path: Path) -> None:
    """Write the file anew: all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(fields, indent=1) + "\n")
    new.replace(path)
