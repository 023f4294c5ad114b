"""Play the scenarios on OTP's own supervisor; write ``recorded.json``.

    python tests/otp/record.py          # needs Erlang: on Debian, erlang-base

They are played three times: a recording that is not the same each time is refused.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TIMES = 3

# As a script, this file does not see the root of the repository.
sys.path.insert(0, str(HERE.parent.parent))

from tests.otp.scenarios import SCENARIOS  # noqa: E402
from tests.otp.terms import RECORDED, digest, line  # noqa: E402

VERSION = """
File = filename:join([code:root_dir(), "releases",
                      erlang:system_info(otp_release), "OTP_VERSION"]),
{ok, Text} = file:read_file(File),
io:put_chars(string:trim(Text)),
init:stop().
"""


def play(folder: Path) -> dict[str, Any]:
    """Play every scenario once; return the logs of their steps by name."""
    table, output = folder / "scenarios.term", folder / "output.json"
    table.write_text("".join(f"{line(one)}.\n" for one in SCENARIOS))
    # One scheduler: two processes that die together do so in the same order always.
    command = ["erl", "+S", "1:1", "-noshell", "-pa", str(folder)]
    subprocess.run(
        [*command, "-run", "recorder", "main", str(table), str(output)],
        check=True,
        timeout=300,
    )
    return {one["name"]: one["steps"] for one in json.loads(output.read_text())}


def main() -> None:
    """Record, compare, write."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["erlc", "-o", name, str(HERE / "recorder.erl")], check=True)
        first, *others = (play(folder) for _ in range(TIMES))
    for scenario in first:
        if any(other[scenario] != first[scenario] for other in others):
            raise SystemExit(f"not the same each time: {scenario}")
    version = subprocess.run(
        ["erl", "-noshell", "-eval", VERSION],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    lines = (
        f"  {json.dumps(name)}: [\n"
        + ",\n".join(f"    {json.dumps(step)}" for step in steps)
        + "\n  ]"
        for name, steps in first.items()
    )
    head = f'{{\n"otp": "{version}",\n"played": "{digest()}",\n"recorded": {{\n'
    RECORDED.write_text(head + ",\n".join(lines) + "\n}}\n")
    print(f"{len(first)} scenarios on OTP {version}: {RECORDED}")


if __name__ == "__main__":
    main()
