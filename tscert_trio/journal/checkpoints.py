"""When the journal's WAL is moved into the file proper: now and then, in a thread, when little is written."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Checkpoints", "checkpoint"]

_logger = logging.getLogger(__name__)

_COMMITS_PER_CHECKPOINT = 1000
_QUIET_SECONDS, _LONGEST_NOISE_SECONDS = 0.1, 5


class Checkpoints:
    """Counts commits, and makes a checkpoint after each thousand."""

    def __init__(self) -> None:
        self._commits = 0
        self._wanted = trio.Event()

    def note_commit(self) -> None:
        """Count one."""
        self._commits += 1
        if self._commits % _COMMITS_PER_CHECKPOINT == 0:
            self._wanted.set()

    async def run(self, path: Callable[[], Path | None]) -> None:
        """Make them until cancelled.

        Args:
            path: returns where the file is; ``None`` where there is none (any more).
        """
        if path() is None:
            await trio.sleep_forever()
        while True:
            await self._wanted.wait()
            self._wanted, commits = trio.Event(), -1
            while commits != self._commits:  # what is written meanwhile keeps the WAL from beginning anew
                commits = self._commits
                if (file := path()) is not None:
                    await trio.to_thread.run_sync(checkpoint, file)
                await self._wait_for_quiet()

    async def _wait_for_quiet(self) -> None:
        """Wait until nothing is being written, but not for long: a checkpoint costs more than a commit."""
        with trio.move_on_after(_LONGEST_NOISE_SECONDS):
            before = -1
            while before != self._commits:
                before = self._commits
                await trio.sleep(_QUIET_SECONDS)


def checkpoint(path: Path) -> None:
    """Move what was written into the file proper. Blocks on the disk; trouble is no harm."""
    try:
        with closing(sqlite3.connect(path)) as db:
            # The other kinds keep writers out until the disk has it all, and those give up after 0.1 s.
            db.execute("PRAGMA wal_checkpoint(PASSIVE)")
    except sqlite3.Error as exc:
        _logger.debug("the journal's checkpoint failed: %s", exc)
