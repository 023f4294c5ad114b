# /// script
# dependencies = ["nox>=2025.2.9"]
# ///
"""Everything that is checked: ``pip install nox``, then ``nox``.

``nox -l`` lists the sessions, ``nox -s lint`` runs one, what stands behind ``--`` goes
to its tool: ``nox -s tests-3.12 -- -k supervisor``.
"""

import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
# A Python that is not on this machine is skipped, with a message.
nox.options.error_on_missing_interpreters = False

PYPROJECT = nox.project.load_toml("pyproject.toml")
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
PYTHONS = sorted({"3.11", "3.12", "3.13", RUNNING})


def show_pyenv() -> None:
    """Let nox find what pyenv has installed: its shims hide all but the active one."""
    folders = os.environ["PATH"].split(os.pathsep)
    roots = {Path(folder).parent for folder in folders if folder.endswith("/shims")}
    for version in PYTHONS:
        for root in roots:
            folders += map(str, root.glob(f"versions/{version}.*/bin"))
    os.environ["PATH"] = os.pathsep.join(folders)


show_pyenv()


def group(name: str) -> list[str]:
    """Return the requirements of a dependency group."""
    return list(nox.project.dependency_groups(PYPROJECT, name))


def install(session: nox.Session, *groups: str) -> None:
    """Install the library as it stands here, and what *groups* need."""
    session.install("-e", ".", *(need for name in groups for need in group(name)))


def wheel(session: nox.Session) -> Path:
    """Build a wheel into the session's own folder; return its path."""
    folder = Path(session.create_tmp()) / "dist"
    shutil.rmtree(folder, ignore_errors=True)
    session.run(
        "python", "-m", "build", "--wheel", "--outdir", str(folder), silent=True
    )
    (path,) = folder.glob("*.whl")
    return path.resolve()


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff, the layers of the modules, and the checkpoints of async functions."""
    session.install("-e", ".[persistence]", *group("lint"))
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")
    session.run("lint-imports", "--no-cache")
    # Cancelled is never kept. The exit of a system's block hands it on by another way:
    # it is raised when everything has ended. The exit of a journal's waits for a task
    # that is shielded, in a nursery that cannot be left sooner. The end of a world is
    # waited for in the shield of its base class, if it is not there at once.
    session.run(
        "flake8",
        "--isolated",
        "--select=ASYNC102,ASYNC103",
        "--per-file-ignores=_open.py:ASYNC102,ASYNC103 _group.py:ASYNC102"
        " _flight.py:ASYNC102",
        "trio_actors",
    )
    session.run("python", "-m", "tests.checkpoints")


@nox.session
def typing(session: nox.Session) -> None:
    """Both checkers in strict mode, users' programs, wrong uses, complete types."""
    install(session, "typing", "build")
    session.run("mypy")
    session.run("pyright")
    session.run("python", "-m", "tests.typing.check")
    # Only an installed wheel shows what users get: py.typed, and nothing from here.
    session.install("--force-reinstall", "--no-deps", str(wheel(session)))
    with session.chdir(session.create_tmp()):
        session.run("pyright", "--verifytypes", "trio_actors", "--ignoreexternal")


@nox.session
def examples(session: nox.Session) -> None:
    """Run the numbered examples, and the packages, each as a user would."""
    install(session, "examples")
    python = ("python", "-W", "error")
    for path in sorted(Path("examples").glob("[0-9][0-9]_*.py")):
        session.run(*python, str(path))
    session.run(*python, "-m", "examples.ipseity", "--trace")
    data = ("--data", session.create_tmp())
    for kind in ("json", "sqlite"):
        command = ("examples.kvstore", *data, "--journal", kind, "demo")
        session.run(*python, "-m", *command)


@nox.session
def trio_typing(session: nox.Session) -> None:
    """The types survive beside trio-typing, which is in no other environment."""
    session.install(*group("build"))
    checkers = ("mypy", "pyright[nodejs]")
    session.install(str(wheel(session)), *checkers, *group("compat-typing"))
    # Away from here, so that the wheel is what it imports.
    shutil.copy("tests/typing/beside_trio_typing.py", session.create_tmp())
    with session.chdir(session.create_tmp()):
        session.run("python", "beside_trio_typing.py")
        session.run("mypy", "--strict", "--no-incremental", "beside_trio_typing.py")
        session.run("pyright", "beside_trio_typing.py")


@nox.session
def build(session: nox.Session) -> None:
    """Build both distributions, check them, and import the wheel alone."""
    session.install(*group("build"))
    folder = Path(session.create_tmp()) / "dist"
    shutil.rmtree(folder, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(folder), silent=True)
    session.run("twine", "check", "--strict", *map(str, folder.glob("*")))
    session.run("check-wheel-contents", *map(str, folder.glob("*.whl")))


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The tests; under the running Python also every line and branch."""
    if session.python != RUNNING or session.posargs:
        install(session, "tests")
        session.run("pytest", *session.posargs)
        return
    install(session, "tests", "typing")
    # Not pytest-cov: the plugin's entry point imports the library before it starts.
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest")
    session.run("coverage", "report")


@nox.session(default=False)
def minimums(session: nox.Session) -> None:
    """The tests with the oldest trio and attrs that are promised."""
    install(session, "tests")
    session.install(
        *(need.replace(">=", "==") for need in PYPROJECT["project"]["dependencies"])
    )
    session.run("pytest", *session.posargs)


@nox.session(default=False)
def nightly(session: nox.Session) -> None:
    """Searches of 10,000 programs, journals killed 1,000 times: hours of work."""
    install(session, "tests")
    patience = "faulthandler_timeout=14400"
    session.run(
        *("pytest", "tests/testing", "tests/persistence", "-o", patience),
        *session.posargs,
        env={"TRIO_ACTORS_NIGHTLY": "1"},
    )


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure everything beside plain Trio and its peers; bring the README up to date.

    ``nox -s bench -- --quick`` measures less, and only shows it. Erlang is measured
    where ``erl`` is installed.
    """
    install(session, "bench", "peers")
    session.install("--no-deps", "triotp==0.2.1")
    if session.posargs:
        session.run("python", "-m", "benchmarks", *session.posargs)
        return
    session.run("python", "-m", "benchmarks", "--publish")
    for name in ("clients", "journals", "locks", "schedules"):
        figures = f"benchmarks/{name}.json"
        session.run("python", "-m", f"benchmarks.{name}", "--json", figures)


@nox.session(default=False)
def million(session: nox.Session) -> None:
    """Start a million idle actors: what they weigh, and what a message costs then."""
    install(session, "bench")
    session.run("python", "-m", "benchmarks.million", *session.posargs)


@nox.session(default=False)
def record_otp(session: nox.Session) -> None:
    """Record again what OTP's own supervisor does (needs ``erl``: erlang-base)."""
    if shutil.which("erl") is None:
        session.error("erl is not here: on Debian, apt-get install erlang-base")
    install(session, "tests")
    session.run("python", "tests/otp/record.py", *session.posargs)
