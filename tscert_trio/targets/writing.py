"""Files that are replaced as a whole or not at all (``docs/design.rst``, rule 15).

The new content is written beside the old, forced to the disk and renamed; then the folder is forced to
the disk, too. What a kill leaves beside goes at the next write of the same file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import attrs

from ..errors import TargetError
from .access import Access
from .beside import Replacement, beside_of, remove_leftover
from .reading import LARGEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

__all__ = [
    "FileWritten",
    "NewFile",
    "check_writable",
    "make_folders",
    "replace_link",
    "resolved",
    "write_file",
    "write_files",
]

_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}  # folders on some network and FUSE file systems
_REMEDY = {
    errno.EACCES: "run as a user who may write there",
    errno.EPERM: "run as a user who may write there",
    errno.EROFS: "give another folder, or allow this one (ReadWritePaths= in a systemd unit)",
    errno.ENOENT: "create its folder",
    errno.ENOTDIR: "a part of its path is no folder",
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room within the quota",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.ENAMETOOLONG: "give a shorter name",
}


@attrs.frozen(kw_only=True)
class NewFile:
    """A file that is to be written."""

    path: Path
    """Where it is a symbolic link, the file that it points to is replaced."""
    data: bytes = attrs.field(repr=False)
    mode: int
    owner: str | None = None
    """Whose it is, by name or number; by default of whoever runs this."""
    group: str | None = None
    is_same: Callable[[bytes], bool] | None = None
    """Whether a present content is as good; by default, whether it is equal."""


@attrs.frozen(kw_only=True)
class FileWritten:
    """What came of writing files."""

    changed: bool
    """Whether the content of any is another now. Permissions are put right without a change."""
    warnings: tuple[str, ...] = ()
    """What the file system refused, a line each."""


def write_file(
    path: Path, data: bytes, *, mode: int, owner: str | None = None, group: str | None = None
) -> FileWritten:
    """Replace one file as :func:`write_files` does.

    Args:
        path: the file; where it is a symbolic link, the file that it points to is replaced.
        data: its content.
        mode: its permissions.
        owner: whose it is, by name or number; by default of whoever runs this.
        group: its group, likewise.

    Raises:
        TargetError: it cannot be written, or there is no such owner or group. The old file is as it was; if
            only its folder cannot be forced to the disk, it is the new one, whole.
    """
    return write_files([NewFile(path=path, data=data, mode=mode, owner=owner, group=group)])


def write_files(files: Iterable[NewFile]) -> FileWritten:
    """Replace files, so that at every moment each is the old one or the new one.

    All are written beside and forced to the disk before the first is renamed: a disk that is full changes
    none, and the instant in which some are new and some old is as short as can be. They are renamed in
    their order. One that has its content already is left as it is, but for its owner, group and permissions.
    Nobody can read a new content at any time who may not read it in the end.

    Raises:
        TargetError: one cannot be written, or there is no such owner or group. What the text does not name
            may be new; each is whole.
    """
    found = [
        (resolved(file.path), file, Access.find(mode=file.mode, owner=file.owner, group=file.group))
        for file in files
    ]
    warnings: list[str] = []
    with ExitStack() as stack:
        replacements = []
        for path, file, access in found:
            with _explaining(path):
                kept = _keep(path, file, access)
                if kept is not None:
                    remove_leftover(path)
                    warnings += kept
                    continue
                replacement = stack.enter_context(Replacement.open(path, file.mode))
                replacements.append(replacement)
                warnings += access.give(replacement.descriptor, path)
                replacement.write(file.data)
        for replacement in replacements:
            with _explaining(replacement.path):
                replacement.replace()
        for folder in dict.fromkeys(replacement.path.parent for replacement in replacements):
            with _explaining(folder):
                _sync(folder)
    return FileWritten(changed=bool(replacements), warnings=tuple(warnings))


def replace_link(link: Path, to: str) -> bool:
    """Let a symbolic link point elsewhere, in one step; return whether it did not yet.

    Raises:
        TargetError: it cannot be written, or is no link. It is as it was.
    """
    with _explaining(link):
        remove_leftover(link)
        if link.is_symlink():
            if os.readlink(link) == to:  # noqa: PTH115 -- as it is written
                return False
        elif link.exists():
            raise TargetError(f"cannot write {link}: is no symbolic link; move it away")
        beside = beside_of(link)
        os.symlink(to, beside)  # noqa: PTH211
        try:
            os.replace(beside, link)  # noqa: PTH105
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(beside)  # noqa: PTH108
            raise
        _sync(link.parent)
    return True


def make_folders(folder: Path, access: Access) -> tuple[str, ...]:
    """Make a folder, and those it lies in, for files with this access; return warnings.

    Folders that are there stay as they are.

    Raises:
        TargetError: one cannot be made.
    """
    missing = []
    warnings: list[str] = []
    with _explaining(folder):
        while not folder.exists():
            missing.append(folder)
            folder = folder.parent
        for each in reversed(missing):
            try:
                os.mkdir(each, 0o700)  # noqa: PTH102 -- pathlib's has another default
            except FileExistsError:
                continue
            with _open_folder(each) as descriptor:
                warnings += access.for_folder().give(descriptor, each)
            _sync(each.parent)
    return tuple(warnings)


def check_writable(path: Path) -> None:
    """See that a file could be written, before something is asked for that would have no place.

    Raises:
        TargetError: it could not.
    """
    path = resolved(path)
    with _explaining(path), tempfile.TemporaryFile(dir=path.parent):
        pass


def resolved(path: Path) -> Path:
    """Follow links; refuse what is no file: a device that is replaced is gone for everybody.

    Raises:
        TargetError: it is none, or a link that another user could have laid.
    """
    try:
        if path.is_symlink() and not _is_ours(path):
            raise TargetError(
                f"cannot write {path}: it is a link that another user could lay, to a file that is not his; "
                "remove the link, or name the file itself"
            )
        path = path.resolve()
        is_other = path.is_symlink() or (path.exists() and not path.is_file())  # a link still: a loop
    except (OSError, RuntimeError) as exc:  # no permission to look, a loop of links
        raise TargetError(f"cannot write {path}: {getattr(exc, 'strerror', None) or exc}") from exc
    if is_other:
        raise TargetError(f"cannot write {path}: is no regular file; standard output is written -")
    return path


def _is_ours(link: Path) -> bool:
    """Return whether a link was laid by root or by us, in a folder in which nobody else could."""
    trusted, folder = {0, os.geteuid()}, link.parent.stat()
    is_open = folder.st_mode & 0o022 and not folder.st_mode & stat.S_ISVTX
    return link.lstat().st_uid in trusted and folder.st_uid in trusted and not is_open


def _keep(path: Path, file: NewFile, access: Access) -> tuple[str, ...] | None:
    """Put a file's access right if its content is right; return the warnings, or ``None`` if it is not."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):  # one we may not read may still be replaced
        return None
    with open(descriptor, "rb") as stream:  # noqa: PTH123 -- a descriptor
        content = stream.read(LARGEST)
        is_same = content == file.data if file.is_same is None else file.is_same(content)
        return access.give(descriptor, path) if is_same else None


@contextmanager
def _open_folder(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    with _open_folder(folder) as descriptor:
        try:
            os.fsync(descriptor)
        except OSError as exc:
            if exc.errno not in _NO_SYNC:
                raise


@contextmanager
def _explaining(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        remedy = _REMEDY.get(exc.errno or 0, "look at its folder and its file system")
        raise TargetError(f"cannot write {path}: {exc.strerror}; {remedy}") from exc
