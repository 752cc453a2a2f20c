"""Which files of a certificate are wanted, and where."""

from __future__ import annotations

import enum
import re
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from ..errors import InvalidDomainError, SettingsError, TargetError
from ..serve_config import check_domain

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FilePaths", "FileSettings", "FilesSettings", "Layout", "file_name_of"]

_FIELD = re.compile(r"\{[^{}]*\}?|\}")
_DOMAIN = "{domain}"


class Layout(enum.Enum):
    """How the files of a folder replace those of the certificate before."""

    PLAIN = "plain"
    """``{directory}/{domain}.crt`` and ``.key``, as ``tailscale cert`` writes them, one after the other, the
    key first: for an instant the new key lies beside the old certificate."""
    VERSIONED = "versioned"
    """``{directory}/live/{domain}/`` with ``privkey.pem``, ``cert.pem``, ``chain.pem`` and ``fullchain.pem``,
    a link that is swapped, so that all change in one step."""


@attrs.frozen(kw_only=True)
class FileSettings:
    """One file. What is not given is as :class:`FilesSettings` says for all."""

    path: str
    """With ``{domain}`` for the name; a wildcard's ``*`` becomes ``wildcard_``."""
    owner: str | None = None
    group: str | None = None
    mode: int | None = None

    def path_of(self, domain: str) -> Path:
        """Return the file of a domain that :func:`file_name_of` has seen."""
        return Path(self.path.replace(_DOMAIN, domain))


@attrs.frozen(kw_only=True)
class FilePaths:
    """Where the files of one domain lie; ``None`` for one that is not wanted."""

    key: Path | None = None
    certificate: Path | None = None
    """The leaf alone."""
    chain: Path | None = None
    """All but the leaf."""
    fullchain: Path | None = None
    """The leaf, then the chain."""
    combined: Path | None = None
    """The key, the leaf, then the chain."""
    pkcs12: Path | None = None
    lineage: Path | None = None
    """The folder with certbot's four names in it, in the versioned layout."""


@attrs.frozen(kw_only=True)
class FilesSettings:
    """Which files are written for each domain.

    Raises:
        SettingsError: they make no sense; all faults at once, each with its key.
    """

    directory: Path | None = None
    """Where the files lie as :attr:`layout` says. Files named below are written besides, or, in the plain
    layout, ``key`` and ``fullchain`` in place of the folder's."""
    layout: Layout = Layout.PLAIN
    key: FileSettings | None = None
    certificate: FileSettings | None = None
    chain: FileSettings | None = None
    fullchain: FileSettings | None = None
    combined: FileSettings | None = None
    pkcs12: FileSettings | None = None
    pkcs12_password_file: Path | None = None
    """Its first line is the password; without one the PKCS#12 file is not encrypted."""
    owner: str | None = None
    """Whose the files are, by name or number; by default of whoever runs the service."""
    group: str | None = None
    key_mode: int = 0o600
    """Permissions of the files that hold the key."""
    mode: int = 0o644
    """Permissions of the others."""

    def __attrs_post_init__(self) -> None:
        if faults := self._faults():
            raise SettingsError(faults)

    @property
    def files(self) -> Mapping[str, FileSettings]:
        """The files named one by one or, in the plain layout, by :attr:`directory`; the key first."""
        named = {name: getattr(self, name) for name in ("key", *_HOLDS_KEY, *_WITHOUT_KEY)}
        if self.directory is not None and self.layout is Layout.PLAIN:
            for name, suffix in (("key", "key"), ("fullchain", "crt")):
                named[name] = named[name] or FileSettings(path=f"{self.directory}/{_DOMAIN}.{suffix}")
        return {name: file for name, file in named.items() if file is not None}

    @property
    def needs_key(self) -> bool:
        """Whether any file holds the key, so that it has to be asked for."""
        versioned = self.directory is not None and self.layout is Layout.VERSIONED
        return versioned or not self.files.keys().isdisjoint({"key", *_HOLDS_KEY})

    @property
    def separates_domains(self) -> bool:
        """Whether each domain has files of its own. If not, the settings are for one domain only."""
        return all(_DOMAIN in file.path for file in self.files.values())

    def with_defaults(self, name: str) -> FileSettings:
        """Return a file of :attr:`files` with owner, group and mode, which no more are open."""
        file = self.files[name]
        mode = self.mode if name in _WITHOUT_KEY else self.key_mode
        return attrs.evolve(
            file,
            owner=file.owner or self.owner,
            group=file.group or self.group,
            mode=mode if file.mode is None else file.mode,
        )

    def _faults(self) -> list[str]:
        faults = []
        if self.directory is None:
            if not self.files:
                faults.append(
                    'nothing to write: give directory, such as "/etc/ssl/tailnet", or files by name'
                )
            if self.layout is Layout.VERSIONED:
                faults.append('layout: "versioned" needs directory')
        if self.pkcs12_password_file is not None and self.pkcs12 is None:
            faults.append("pkcs12_password_file: there is no pkcs12 that it is for")
        paths: dict[str, str] = {}
        for name, file in self.files.items():
            if unknown := set(_FIELD.findall(file.path)) - {_DOMAIN}:
                faults.append(f"{name}: {min(unknown)!r} in {file.path!r}: only {_DOMAIN} has a meaning")
            if file.path in paths:
                faults.append(
                    f"{name}: {file.path!r} is {paths[file.path]}, too; each needs a file of its own"
                )
            paths[file.path] = name
        modes = {"mode": self.mode, "key_mode": self.key_mode}
        modes |= {f"{name}.mode": file.mode for name, file in self.files.items() if file.mode is not None}
        faults += [f"{key}: {mode:#o} is not within 0o777" for key, mode in modes.items() if mode & ~0o777]
        return faults


_HOLDS_KEY = ("combined", "pkcs12")
_WITHOUT_KEY = ("chain", "certificate", "fullchain")


def file_name_of(domain: str) -> str:
    """Return a domain as it stands in names of files.

    Raises:
        TargetError: it is no DNS name; one with ``../`` in it would lead elsewhere.
    """
    try:
        return check_domain(domain).replace("*", "wildcard_", 1)
    except InvalidDomainError as exc:
        raise TargetError(str(exc)) from None
