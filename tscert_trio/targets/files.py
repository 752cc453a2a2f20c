"""The certificate and its key in files."""

from __future__ import annotations

import stat
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from .access import Access
from .paths import FilePaths, file_name_of, files_of, is_versioned, needs_key, path_of, with_defaults
from .pem import (
    LINEAGE,
    contents_of,
    first_fingerprint,
    is_same_pkcs12,
    is_whole_key,
    load_pkcs12_fingerprint,
    make_pkcs12,
    read_password,
)
from .reading import LARGEST, read_regular
from .versions import Versions
from .writing import NewFile, make_folders, write_files

if TYPE_CHECKING:
    from ..certificate import Certificate, CertPair
    from ..target_settings import FileSettings, FilesSettings

__all__ = ["FilesTarget", "Written"]


@attrs.frozen(kw_only=True)
class Written:
    """What came of writing a certificate's files."""

    changed: bool
    """Whether any file has another content now. That it has not does not say that anybody was told: an
    earlier call may have ended after the last file."""
    paths: FilePaths
    warnings: tuple[str, ...] = ()
    """What the file system refused, a line each."""


@attrs.frozen
class FilesTarget:
    """Writes the files of certificates. It remembers nothing; its methods may be called in any thread."""

    settings: FilesSettings

    @property
    def needs_key(self) -> bool:
        """Whether any file holds the key, so that it has to be asked for."""
        return needs_key(self.settings)

    def paths(self, domain: str) -> FilePaths:
        """Return where the files of a domain lie, whether they are there or not.

        Raises:
            TargetError: it is no DNS name.
        """
        name = file_name_of(domain)
        named = {key: path_of(file, name) for key, file in files_of(self.settings).items()}
        if (versions := self._versions(name)) is None:
            return FilePaths(**named)
        live = versions.live
        return FilePaths(lineage=live, **{key: live / file for key, file in LINEAGE.items()} | named)

    def write(self, domain: str, pair: CertPair) -> Written:
        """Write all files of a domain, the key first. What is right already stays as it is.

        Args:
            domain: its name.
            pair: the certificate and its key.

        Raises:
            TargetError: something could not be written. Each file is the old one or the new one, whole; the
                same call again writes the rest.
        """
        paths = self.paths(domain)
        named = {name: with_defaults(self.settings, name) for name in files_of(self.settings)}
        for file in named.values():  # before anything is written
            _access(file)
        contents = contents_of(pair)
        password = read_password(self.settings.pkcs12_password_file)
        if "pkcs12" in named:
            contents["pkcs12"] = make_pkcs12(pair, domain, password)
        changed = False
        warnings: list[str] = []
        if (versions := self._versions(file_name_of(domain))) is not None:
            modes = {"key": self.settings.key_mode}
            files = {
                file: (contents[key], modes.get(key, self.settings.mode)) for key, file in LINEAGE.items()
            }
            changed, warnings = versions.write(
                pair.leaf.fingerprint, files, owner=self.settings.owner, group=self.settings.group
            )
        new_files = []
        for name, file in named.items():
            path, access = path_of(file, file_name_of(domain)), _access(file)
            warnings += make_folders(path.parent, access)
            is_same = partial(is_same_pkcs12, wanted=contents[name], password=password)
            new_files.append(
                NewFile(
                    path=path,
                    data=contents[name],
                    mode=access.mode,
                    owner=file.owner,
                    group=file.group,
                    is_same=is_same if name == "pkcs12" else None,
                )
            )
        written = write_files(new_files)
        changed |= written.changed
        warnings += written.warnings
        return Written(changed=changed, paths=paths, warnings=tuple(warnings))

    def holds(self, domain: str, leaf: Certificate) -> bool:
        """Return whether all files are there, and those with a certificate in them hold this leaf.

        The key is not needed for it: of its file it is seen that it holds a whole key, and who may read it.

        Raises:
            TargetError: it is no DNS name, or the password for PKCS#12 cannot be read.
        """
        paths = attrs.asdict(self.paths(domain), filter=lambda field, _: field.name != "lineage")
        password = read_password(self.settings.pkcs12_password_file)
        for name, path in paths.items():
            if path is None:
                continue
            try:
                if not self._is_given(name, path):
                    return False
                if name == "chain":
                    continue
                data = read_regular(path, LARGEST)
            except OSError:
                return False
            if name == "key":
                if not is_whole_key(data):
                    return False
                continue
            found = load_pkcs12_fingerprint(data, password) if name == "pkcs12" else first_fingerprint(data)
            if found != leaf.fingerprint:
                return False
        return True

    def _is_given(self, name: str, path: Path) -> bool:
        """Return whether a file is a regular one, with the owner, group and mode that it is to have."""
        found = path.stat()
        if name in files_of(self.settings):
            access = _access(with_defaults(self.settings, name))
        else:  # of the versioned layout
            mode = self.settings.key_mode if name == "key" else self.settings.mode
            access = Access.find(mode=mode, owner=self.settings.owner, group=self.settings.group)
        return stat.S_ISREG(found.st_mode) and access.is_given(found)

    def _versions(self, name: str) -> Versions | None:
        if self.settings.directory is None or not is_versioned(self.settings):
            return None
        return Versions(directory=Path(self.settings.directory), name=name)


def _access(file: FileSettings) -> Access:
    assert file.mode is not None
    return Access.find(mode=file.mode, owner=file.owner, group=file.group)
