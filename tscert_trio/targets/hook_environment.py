"""What a hook is told: certbot's variables, a folder as certbot has it, and variables of our own."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import TargetError
from .beside import is_locked_by_us
from .paths import FilePaths, file_name_of
from .pem import LINEAGE, contents_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ..certificate import Certificate, CertPair

__all__ = ["certificate_environment", "coalesced_environments", "open_lineage"]

_PREFIX = "tscert-lineage-"
_LONGEST_VARIABLE = 100_000  # Linux takes 128 KiB


def certificate_environment(
    domain: str, leaf: Certificate, lineage: Path, paths: FilePaths | None = None
) -> dict[str, str]:
    """Return the variables for a hook that is run for one domain.

    Args:
        domain: its name.
        leaf: the facts of the certificate.
        lineage: a folder with ``privkey.pem``, ``cert.pem``, ``chain.pem`` and ``fullchain.pem``: that of
            :func:`open_lineage`, or :attr:`FilePaths.lineage`.
        paths: files of a target, which go before those of the lineage.
    """
    paths = paths or FilePaths()
    return {
        "RENEWED_LINEAGE": str(lineage),
        "RENEWED_DOMAINS": " ".join(leaf.names),
        "TSCERT_DOMAIN": domain,
        "TSCERT_CERT_PATH": str(paths.certificate or lineage / LINEAGE["certificate"]),
        "TSCERT_KEY_PATH": str(paths.key or lineage / LINEAGE["key"]),
        "TSCERT_FULLCHAIN_PATH": str(paths.fullchain or lineage / LINEAGE["fullchain"]),
        "TSCERT_FINGERPRINT": leaf.fingerprint,
        "TSCERT_NOT_AFTER": f"{leaf.not_after.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
    }


def coalesced_environments(domains: Iterable[str]) -> list[dict[str, str]]:
    """Return the variables for a hook that is run for all domains that changed together.

    One run, unless the names are more than the system takes in a variable (a thousand are not).
    """
    texts: list[str] = []
    for domain in sorted(domains):
        if texts and len(texts[-1]) + len(domain) < _LONGEST_VARIABLE:
            texts[-1] += f" {domain}"
        else:
            texts.append(domain)
    return [{"TSCERT_DOMAINS": text} for text in texts]


@contextmanager
def open_lineage(domain: str, pair: CertPair, environ: Mapping[str, str] = os.environ) -> Iterator[Path]:
    """Hold a private folder with a certificate and its key, as certbot calls them, while the context lasts.

    It lies in ``RUNTIME_DIRECTORY``, which systemd gives, else where the system keeps temporary files. What
    a kill left of an earlier one goes when the next is opened.

    Args:
        domain: the folder's last component, a wildcard's ``*`` as ``wildcard_``.
        pair: what is in it.
        environ: the environment.

    Yields:
        The folder.

    Raises:
        TargetError: it cannot be made.
    """
    name = file_name_of(domain)
    place = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    try:
        place = place or tempfile.gettempdir()
        _remove_leftovers(place)
        outer, lock = _make_locked(place)
    except OSError as exc:
        raise _cannot_make(place or "the system's temporary folder", exc) from exc
    try:
        lineage = Path(outer, name)
        try:
            lineage.mkdir(mode=0o700)
            contents = contents_of(pair)
            for what, file in LINEAGE.items():
                mode = 0o600 if what == "key" else 0o644
                descriptor = os.open(
                    lineage / file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode
                )
                with open(descriptor, "wb") as stream:  # noqa: PTH123 -- a descriptor
                    stream.write(contents[what])
        except OSError as exc:
            raise _cannot_make(place, exc) from exc
        yield lineage
    finally:
        shutil.rmtree(outer, ignore_errors=True)
        os.close(lock)


def _cannot_make(place: str, exc: OSError) -> TargetError:
    return TargetError(
        f"cannot make a folder for the hook in {place}: {exc.strerror}; make room or repair its permissions, "
        "or give another with TMPDIR"
    )


def _make_locked(place: str) -> tuple[str, int]:
    """Make a folder that is ours as long as it is locked."""
    while True:
        folder = tempfile.mkdtemp(prefix=_PREFIX, dir=place)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        # Before it was locked, another may have taken it for a leftover.
        if is_locked_by_us(lock) and os.path.isdir(folder):  # noqa: PTH112
            return folder, lock
        os.close(lock)


def _remove_leftovers(place: str) -> None:
    with os.scandir(place) as entries:
        found = [entry.path for entry in entries if entry.name.startswith(_PREFIX)]
    for folder in found:
        with suppress(OSError):  # gone meanwhile, a link, or not ours
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.fstat(lock).st_uid == os.geteuid() and is_locked_by_us(lock):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
