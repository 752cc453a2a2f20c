"""Which files of a certificate are wanted, and where they lie for one name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from ..errors import InvalidDomainError, TargetError
from ..serve_config import check_domain
from ..target_settings import FileSettings, plain_layout

if TYPE_CHECKING:
    from ..target_settings import FilesSettings

__all__ = ["FilePaths", "file_name_of", "files_of", "is_versioned", "needs_key", "path_of", "with_defaults"]

_DOMAIN = "{domain}"
_HOLDS_KEY = ("combined", "pkcs12")
_WITHOUT_KEY = ("chain", "certificate", "fullchain")


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


def is_versioned(settings: FilesSettings) -> bool:
    """Return whether there is a folder for each certificate, and one link that is swapped."""
    return settings.directory is not None and settings.layout == "versioned"


def files_of(settings: FilesSettings) -> dict[str, FileSettings]:
    """Return the files named one by one or, in the plain layout, by the folder; the key first."""
    named = {name: getattr(settings, name) for name in ("key", *_HOLDS_KEY, *_WITHOUT_KEY)}
    if settings.directory is not None and not is_versioned(settings):
        for name, path in plain_layout(settings.directory).items():
            named[name] = named[name] or FileSettings(path=path)
    return {name: file for name, file in named.items() if file is not None}


def needs_key(settings: FilesSettings) -> bool:
    """Return whether any file holds the key, so that it has to be asked for."""
    return is_versioned(settings) or not files_of(settings).keys().isdisjoint({"key", *_HOLDS_KEY})


def with_defaults(settings: FilesSettings, name: str) -> FileSettings:
    """Return a file of :func:`files_of` with owner, group and mode, which no more are open."""
    file = files_of(settings)[name]
    mode = settings.mode if name in _WITHOUT_KEY else settings.key_mode
    return attrs.evolve(
        file,
        owner=file.owner or settings.owner,
        group=file.group or settings.group,
        mode=mode if file.mode is None else file.mode,
    )


def path_of(file: FileSettings, name: str) -> Path:
    """Return the file of a domain that :func:`file_name_of` has seen."""
    return Path(file.path.replace(_DOMAIN, name))


def file_name_of(domain: str) -> str:
    """Return a domain as it stands in names of files.

    Raises:
        TargetError: it is no DNS name; one with ``../`` in it would lead elsewhere.
    """
    try:
        return check_domain(domain).replace("*", "wildcard_", 1)
    except InvalidDomainError as exc:
        raise TargetError(str(exc)) from None
