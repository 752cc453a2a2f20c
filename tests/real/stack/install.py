"""Install the servers and tools that tests run, by apt, where their programs are missing.

None of a package's own services is started: a ``policy-rc.d`` says so while apt runs. Programs that are there
already, from wherever they come, are left as they are. Standard library only.

    python tests/real/stack/install.py [PROGRAM...]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = {
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "postgres": "postgresql",
    "systemd-analyze": "systemd",
    "systemd-sysusers": "systemd",
    "systemd-tmpfiles": "systemd",
    "openssl": "openssl",
    "tmux": "tmux",
    "zsh": "zsh",
    "fish": "fish",
    "chromium": "chromium",
    "duk": "duktape",  # the JavaScript engine of Debian's polkit, as a program
    "promtool": "prometheus",  # the server beside it is not used
}
"""The program that is looked for, and the Debian package that has it."""

_BY_NAME = {"chromium"}  # large, and of use to the tests of the page only

_APT_OPTIONS = ("-q", "-o", "DPkg::Lock::Timeout=300")  # somebody else may be installing
_POLICY = Path("/usr/sbin/policy-rc.d")
_FORBIDDEN_BY_POLICY = 101  # the status by which invoke-rc.d knows


def find_program(name: str) -> str:
    """Return the path of a program.

    Raises:
        RuntimeError: it is missing; the text says what to do.
    """
    path = _search(name)
    if path is None:
        raise RuntimeError(
            f"no {name} here: run, as root, python tests/real/stack/install.py {name}, or install by hand "
            f"what Debian has in the package {PACKAGES.get(name, name)}; no test on a real program is skipped"
        )
    return path


def ensure_installed(*names: str) -> None:
    """Install the packages of those programs that are missing.

    Raises:
        SystemExit: they cannot be installed; the text says what to do.
    """
    missing = [name for name in names if _search(name) is None]
    if not missing:
        return
    packages = sorted({PACKAGES[name] for name in missing})
    by_hand = f"install by hand what Debian has in {', '.join(packages)}; without them nox -- --no-real works"
    if shutil.which("apt-get") is None:
        raise SystemExit(f"{', '.join(missing)}: missing, and there is no apt-get. Please {by_hand}")
    if os.geteuid() != 0:
        raise SystemExit(
            f"{', '.join(missing)}: missing, and apt-get needs root. Run this as root, or {by_hand}"
        )
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        with _services_stay_off():
            for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
                subprocess.run(["apt-get", *_APT_OPTIONS, *command], env=environ, check=True)
    except subprocess.CalledProcessError as exc:
        raise SystemExit(
            f"{' '.join(exc.cmd)}: failed with status {exc.returncode}. Please {by_hand}"
        ) from None
    for name in missing:
        find_program(name)


def _search(name: str) -> str | None:
    # Debian has daemons in sbin, which the PATH of an ordinary user may lack, and PostgreSQL's by version.
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    newest_first = sorted(versions, key=lambda folder: int(folder.parent.name), reverse=True)
    path = os.pathsep.join(map(str, (os.environ.get("PATH", ""), "/usr/sbin", "/sbin", *newest_first)))
    return shutil.which(name, path=path)


@contextmanager
def _services_stay_off() -> Iterator[None]:
    if _POLICY.exists():  # a container's, or the administrator's own: whatever it says is meant
        yield
        return
    _POLICY.write_text(f"#!/bin/sh\nexit {_FORBIDDEN_BY_POLICY}\n")
    try:
        _POLICY.chmod(0o755)
        yield
    finally:
        _POLICY.unlink()


if __name__ == "__main__":
    ensure_installed(*(sys.argv[1:] or PACKAGES.keys() - _BY_NAME))
