"""A folder for each certificate of a name, and one link to the newest, as certbot keeps them.

::

    archive/box.tail1234.ts.net/0123456789abcdef/privkey.pem, cert.pem, chain.pem, fullchain.pem
    live/box.tail1234.ts.net -> ../archive/box.tail1234.ts.net/0123456789abcdef

A reader who opens the folder once and reads its files in there never sees two certificates mixed.
"""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

import attrs

from .access import Access
from .writing import NewFile, make_folders, replace_link, write_files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Versions"]

_DIGITS = 16
_VERSION = re.compile(rf"[0-9a-f]{{{_DIGITS}}}")


@attrs.frozen(kw_only=True)
class Versions:
    """The certificates of one name."""

    directory: Path
    name: str
    """The domain, as it stands in names of files."""

    @property
    def live(self) -> Path:
        """The link to the newest."""
        return self.directory / "live" / self.name

    @property
    def archive(self) -> Path:
        """Where the folders are."""
        return self.directory / "archive" / self.name

    def write(
        self,
        fingerprint: str,
        files: Mapping[str, tuple[bytes, int]],
        *,
        owner: str | None,
        group: str | None,
    ) -> tuple[bool, list[str]]:
        """Write one version, let the link point to it, and remove all others but the one before.

        Args:
            fingerprint: of its leaf.
            files: content and permissions by name.
            owner: whose they are.
            group: their group.

        Returns:
            Whether anything changed, and warnings.

        Raises:
            TargetError: it could not be written. The link points to a version that is whole.
        """
        version = self.archive / fingerprint[:_DIGITS]
        access = Access.find(mode=0o600, owner=owner, group=group)
        warnings = [*make_folders(version, access), *make_folders(self.live.parent, access)]
        written = write_files(
            NewFile(path=version / name, data=data, mode=mode, owner=owner, group=group)
            for name, (data, mode) in files.items()
        )
        warnings += written.warnings
        before = os.path.realpath(self.live)  # the link itself where there is none yet
        is_swapped = replace_link(self.live, f"../archive/{self.name}/{version.name}")
        warnings += self._prune(version.name, os.path.basename(before))  # noqa: PTH119
        return written.changed or is_swapped, warnings

    def _prune(self, newest: str, before: str) -> list[str]:
        """Remove what nobody can be reading any more; return warnings."""
        try:
            with os.scandir(self.archive) as entries:
                others = {
                    entry.name: entry.stat(follow_symlinks=False).st_mtime_ns
                    for entry in entries
                    if _VERSION.fullmatch(entry.name) and entry.name != newest
                }
            if before not in others:  # the link pointed to the newest already
                before = max(others, key=others.__getitem__, default="")
            for name in others.keys() - {before}:
                shutil.rmtree(self.archive / name)
        except OSError as exc:
            return [f"{exc.filename or self.archive} is outdated and cannot be removed: {exc.strerror}"]
        return []
