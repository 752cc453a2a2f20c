"""The certificate and its key in files."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import attrs

from .access import Access
from .files_settings import FilePaths, FileSettings, FilesSettings, Layout, file_name_of
from .pem import (
    LINEAGE,
    contents_of,
    first_fingerprint,
    is_same_pkcs12,
    load_pkcs12_fingerprint,
    make_pkcs12,
    read_password,
)
from .versions import Versions
from .writing import NewFile, make_folders, write_files

if TYPE_CHECKING:
    from ..certificate import Certificate, CertPair

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
        return self.settings.needs_key

    def paths(self, domain: str) -> FilePaths:
        """Return where the files of a domain lie, whether they are there or not.

        Raises:
            TargetError: it is no DNS name.
        """
        name = file_name_of(domain)
        named = {key: file.path_of(name) for key, file in self.settings.files.items()}
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
        named = {name: self.settings.with_defaults(name) for name in self.settings.files}
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
            path, access = file.path_of(file_name_of(domain)), _access(file)
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

        The key is not needed for it, and not looked at: that it was written before its certificate is known.

        Raises:
            TargetError: it is no DNS name, or the password for PKCS#12 cannot be read.
        """
        paths = attrs.asdict(self.paths(domain), filter=lambda field, _: field.name != "lineage")
        password = read_password(self.settings.pkcs12_password_file)
        for name, path in paths.items():
            if path is None:
                continue
            try:
                if name in {"key", "chain"}:
                    if not path.is_file():
                        return False
                    continue
                data = path.read_bytes()
            except OSError:
                return False
            found = load_pkcs12_fingerprint(data, password) if name == "pkcs12" else first_fingerprint(data)
            if found != leaf.fingerprint:
                return False
        return True

    def _versions(self, name: str) -> Versions | None:
        if self.settings.directory is None or self.settings.layout is Layout.PLAIN:
            return None
        return Versions(directory=self.settings.directory, name=name)


def _access(file: FileSettings) -> Access:
    assert file.mode is not None
    return Access.find(mode=file.mode, owner=file.owner, group=file.group)
