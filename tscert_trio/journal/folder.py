"""The folder in which the journal lies: one service at a time."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import StateError, StateFolderHeldError
from .sqlite import Journal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["FILE", "LOCK", "default_state_folder", "open_state_folder"]

LOCK, FILE = "lock", "journal.sqlite"
_TRIES, _PAUSE_SECONDS = 5, 0.01
"""Who only looks whether the folder is held holds it for microseconds."""


def default_state_folder(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """Return where the service keeps its state: ``STATE_DIRECTORY`` (systemd), else the platform's place."""
    if folders := environ.get("STATE_DIRECTORY"):
        return Path(folders.split(":")[0])
    home = Path(environ.get("HOME") or "/")
    if platform == "darwin":
        return home / "Library/Application Support/tscert-trio"
    if os.geteuid() == 0:
        return Path("/var/lib/tscert-trio")
    return Path(environ.get("XDG_STATE_HOME") or home / ".local/state") / "tscert-trio"


@contextmanager
def open_state_folder(folder: Path) -> Iterator[Journal]:
    """Hold a state folder, made if need be, while the context lasts.

    Args:
        folder: where.

    Yields:
        Its journal.

    Raises:
        StateFolderHeldError: another service holds the folder; the text says which process.
        StateError: it cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise StateError(
            f"the state folder {folder} cannot be written: {exc.strerror}; give another with --state, or "
            "--state :memory: for none"
        ) from None
    try:
        try:
            _hold(lock)
        except OSError:
            holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
            raise StateFolderHeldError(
                f"the state folder {folder} is held by another tscert-trio, process {holder}; end that one, "
                "or give this one a folder of its own with --state"
            ) from None
        with suppress(OSError):  # a full disk; it is only for the message above
            os.truncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        with Journal(folder / FILE) as journal:
            yield journal
    finally:
        os.close(lock)


def _hold(lock: int) -> None:
    for _ in range(_TRIES - 1):
        with suppress(OSError):
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(_PAUSE_SECONDS)
    return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
