"""Who may read a file: its owner, its group and its permissions."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from typing import TYPE_CHECKING

import attrs

from ..errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Access"]

# What Proxmox's /etc/pve, FAT, SMB and some container mounts say; a user who is not root sees EPERM, too.
_REFUSED = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}


@attrs.frozen(kw_only=True)
class Access:
    """Owner, group and permissions, looked up."""

    mode: int
    owner: str | None = None
    group: str | None = None
    user_id: int | None = None
    group_id: int | None = None

    @classmethod
    def find(cls, *, mode: int, owner: str | None = None, group: str | None = None) -> Access:
        """Look up a user and a group, by name or number.

        Raises:
            TargetError: there is none of this name.
        """
        return cls(
            mode=mode,
            owner=owner,
            group=group,
            user_id=None if owner is None else _user(owner),
            group_id=None if group is None else _group(group),
        )

    def for_folder(self) -> Access:
        """Return the access to a folder that is made for such a file: ours alone, 0700.

        Where the file is another's, his group may pass through, not list it (0710). The folder is never
        his: he could lay links in it, and what they point to would be replaced by us.
        """
        group_id = self.group_id
        if group_id is None and self.user_id is not None:
            try:
                group_id = pwd.getpwuid(self.user_id).pw_gid
            except KeyError:
                return Access(mode=0o711)  # a user by number, known to nobody: he passes as others do
        if group_id is None:
            return Access(mode=0o700)
        if self.group_id is not None and self.user_id is not None:  # who need not be in the group
            return Access(mode=0o711, group=self.group, group_id=group_id)
        return Access(mode=0o710, group=self.group or str(group_id), group_id=group_id)

    def is_given(self, found: os.stat_result) -> bool:
        """Return whether a file has this access."""
        return (
            stat.S_IMODE(found.st_mode) == self.mode
            and self.user_id in {None, found.st_uid}
            and self.group_id in {None, found.st_gid}
        )

    def give(self, descriptor: int, path: Path) -> tuple[str, ...]:
        """Give a file this access. At no moment has anybody more of it than in the end.

        Args:
            descriptor: the file, open.
            path: its name, for the warnings.

        Returns:
            A warning for each thing that the file system refused.
        """
        refused = []
        now, mode = os.fstat(descriptor), self.mode
        if stat.S_IMODE(now.st_mode) & ~mode:  # first nobody has too much, then the new ones get theirs
            _try(os.fchmod, descriptor, stat.S_IMODE(now.st_mode) & mode)
        if self.group_id not in {None, now.st_gid} and (
            why := _try(os.fchown, descriptor, -1, self.group_id)
        ):
            refused.append(f"its group cannot be set to {self.group} ({why})")
            mode &= ~0o070 | mode << 3  # another's group gets no more than everybody
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
            _try(os.fchmod, descriptor, mode)
        if self.user_id not in {None, now.st_uid} and (why := _try(os.fchown, descriptor, self.user_id, -1)):
            refused.append(f"its owner cannot be set to {self.owner} ({why})")
        has = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if has != mode:  # refused, or ignored in silence
            refused.append(f"its file system keeps its permissions at {has:04o} instead of {mode:04o}")
        return tuple(f"{path} is written, but {what}" for what in refused)


def _try(change: Callable[..., None], *args: int | None) -> str | None:
    """Return why a change was refused; ``None`` if it was made."""
    try:
        change(*args)
    except OSError as exc:
        if exc.errno not in _REFUSED:
            raise
        return exc.strerror
    return None


def _user(name: str) -> int:
    try:
        return int(name) if _is_number(name) else pwd.getpwnam(name).pw_uid
    except KeyError:
        raise TargetError(f"there is no user {name!r}; create it, or give another owner") from None


def _group(name: str) -> int:
    try:
        return int(name) if _is_number(name) else grp.getgrnam(name).gr_gid
    except KeyError:
        raise TargetError(f"there is no group {name!r}; create it, or give another group") from None


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) < 10  # beyond it a uid_t overflows
