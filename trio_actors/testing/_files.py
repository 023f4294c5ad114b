"""What a failing test leaves behind in a folder.

Rules of this file:

* A test has one name there, and no other test has it: it is made of its module, its
  class and its parameters.
* What cannot be written is told in the report. It hides no failure.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from ._token import fingerprint

LONGEST = 120
"""Characters of a name: a file system takes 255 bytes."""


def keep_diagram(folder: Path, diagram: str) -> str:
    """Write the diagram of the test that runs; return what to say of it.

    Args:
        folder: Made if it is not there.
        diagram: In Mermaid's words.
    """
    path = folder / f"{name_of_test()}.mmd"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{diagram.rstrip()}\n", encoding="utf-8")
    except OSError as error:
        return f"The diagram could not be written: {error}"
    return f"The diagram as Mermaid: {path}"


def name_of_test() -> str:
    """Return what a file of the test that runs is called, without its ending."""
    # pytest's own word for it: "tests/test_bank.py::test_transfer[3] (call)".
    test = os.environ.get("PYTEST_CURRENT_TEST", "test (call)")
    return file_name(test.rpartition(" (")[0])


def file_name(node: str) -> str:
    """Return a node's name as that of a file: ``tests.test_bank.test_transfer-3``."""
    path, bracket, parameters = node.partition("[")
    plain = re.sub(r"\.py::|::|/", ".", path)
    if bracket:
        plain += f"-{parameters.removesuffix(']')}"
    safe = re.sub(r"[^\w.-]+", "-", plain, flags=re.ASCII)
    if safe == plain and len(safe) <= LONGEST:
        return safe
    # Something is not in the name any more: it is in the letters at the end.
    return f"{safe[:LONGEST]}-{fingerprint(node)}"
