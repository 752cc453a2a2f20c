"""Makes the man page and the shell completion from the code: ``python packaging/generate.py [--check]``.

Both are committed, so that a wheel has them without these tools. ``--check`` changes nothing, and fails where
they are not what the code says. Needs the dependency group ``docs``.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import shtab

from tscert_trio.cli.main import make_parser
from tscert_trio.sandbox import VERSIONS
from tscert_trio.serve_config import Scope

ROOT = Path(__file__).parent.parent
PACKAGING = ROOT / "packaging"
MAN = PACKAGING / "man/tscert-trio.1"
COMPLETION = {
    "bash": PACKAGING / "completion/tscert-trio.bash",
    "zsh": PACKAGING / "completion/_tscert-trio",
    "fish": PACKAGING / "completion/tscert-trio.fish",
}
AGAIN = "make them with python packaging/generate.py"

WORDS = {  # what an argument may be, by its placeholder
    "SCOPE": [scope.value for scope in Scope],
    "LIMITS": ["letsencrypt", "none"],
    "FORMAT": ["text", "json"],
    "LEVEL": ["debug", "info", "warning", "error"],
    "VERSION": list(VERSIONS),
}
_ASK = "tscert-trio status 2>/dev/null | awk 'NR > 1 { print $2 }'"  # below the sentence: level and name
NAMES = {  # those that the service keeps, or kept by its journal
    "bash": "_tscert_trio_names",
    "zsh": "_tscert_trio_names",
    "fish": "(_tscert_trio_names)",
    "preamble": {
        "bash": f'_tscert_trio_names() {{\n  compgen -W "$({_ASK})" -- "$1"\n}}\n',
        "zsh": f'_tscert_trio_names() {{\n  compadd -- ${{(f)"$({_ASK})"}}\n}}\n',
        "fish": f"function _tscert_trio_names\n    {_ASK}\nend\n",
    },
}
VALUES = {"PATH": shtab.FILE, "FILE": shtab.FILE, "DIR": shtab.DIRECTORY, "NAME": NAMES}


def completion(shell: str) -> str:
    """Return the completion script of a shell."""
    parser = make_parser()
    _prepare(parser)
    text = shtab.complete(parser, shell)
    text = re.sub(r"\n# Usage:\n(?:#.*\n)*", "\n", text, count=1)  # how to install what is installed
    return "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"


def _prepare(parser: argparse.ArgumentParser) -> None:
    """Tell shtab what argparse does not know: which values are paths, names or certain words."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                _prepare(each)
        elif isinstance(action.metavar, str):
            if action.metavar in VALUES:
                action.complete = VALUES[action.metavar]  # type: ignore[attr-defined] # shtab's convention
            action.choices = WORDS.get(action.metavar, action.choices)
            action.metavar = action.metavar.replace(":", "_")  # zsh has colons between the parts of an option
        # A menu has room for a few words: neither default nor variable.
        action.help = re.sub(r"( \(default:.*| \[TS.*)$", "", action.help or "") or None


def man_page() -> str:
    """Return the man page, by Sphinx."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "sphinx", "-q", "-W", "-n", "--keep-going", "-b", "man"]
        subprocess.run([*command, "-d", f"{folder}/doctrees", ROOT / "docs", folder], check=True)
        text = Path(folder, MAN.name).read_text(encoding="utf-8")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    # No date, which would be today's, and no comment with the version of Sphinx.
    text = re.sub(r"(?m)^\.TH .*$", f'.TH "TSCERT-TRIO" "1" "" "tscert-trio {version}"', text, count=1)
    text = re.sub(r'(?m)^\.\\".*\n', "", text)
    return re.sub(r"\A(\.\n)+", "", text)


def _essence(path: Path, text: str) -> object:
    """Return what has to be as it was: of the man page its words, since each Sphinx sets them differently."""
    if path != MAN:
        return text
    lines = [line for line in text.splitlines() if not re.match(r"[.'](?!S[HS] )", line)]
    return re.sub(r"\\f.|\\[%&]|^\.S[HS]|\"", "", "\n".join(lines), flags=re.MULTILINE).split()


def main() -> int:
    """Write the files, or check them; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail where a file is not fresh")
    is_check = parser.parse_args().check
    made = {MAN: man_page()} | {path: completion(shell) for shell, path in COMPLETION.items()}
    stale = []
    for path, text in made.items():
        if path.exists() and _essence(path, path.read_text(encoding="utf-8")) == _essence(path, text):
            continue
        stale.append(str(path.relative_to(ROOT)))
        if not is_check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if stale:
        what = f"not what the code says, {AGAIN}" if is_check else "written"
        print(f"{what}: {', '.join(stale)}")
    return 1 if stale and is_check else 0


if __name__ == "__main__":
    sys.exit(main())
