"""Whether a target could do what it is to do: looked at, with nothing written and nothing run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ..errors import HookError, TargetError
from .writing import resolved

__all__ = ["check_program", "look_writable"]


def look_writable(path: Path) -> None:
    """See that a file could be written, or made with the folders that it lies in.

    Args:
        path: the file; where it is a symbolic link, the file that it points to is meant.

    Raises:
        TargetError: it could not.
    """
    folder = resolved(path).parent
    try:
        while not folder.exists():
            folder = folder.parent
    except OSError as exc:
        raise TargetError(f"cannot write {path}: {exc.strerror}; run as a user who may write there") from None
    if not folder.is_dir():
        raise TargetError(f"cannot write {path}: {folder} is no folder; move it away, or give another")
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        is_read_only = bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
        remedy = (
            "give another folder, or allow this one (ReadWritePaths= in a systemd unit)"
            if is_read_only
            else "run as a user who may write there"
        )
        what = (
            "lies on a file system that is read-only" if is_read_only else "may not be written by this user"
        )
        raise TargetError(f"cannot write {path}: {folder} {what}; {remedy}")


def check_program(program: str) -> Path:
    """Return the file of a program that is to be run.

    Args:
        program: as in a command: a path, or a name that is looked for in ``PATH``.

    Raises:
        HookError: it is not found, or may not be run.
    """
    if (found := shutil.which(program)) is not None:
        return Path(found)
    if Path(program).is_file() and os.sep in program:
        raise HookError(f"{program} may not be run: make it executable (chmod +x)")
    raise HookError(f"{program} is not found: install it, or give its full path")
