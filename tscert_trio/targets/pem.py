"""The forms in which programs want a certificate: leaf, chain and key apart, together, or as PKCS#12."""

from __future__ import annotations

import binascii
import hashlib
import re
from typing import TYPE_CHECKING

from ..errors import TargetError
from .reading import read_regular

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12KeyAndCertificates

    from ..certificate import CertPair

__all__ = [
    "LINEAGE",
    "contents_of",
    "first_fingerprint",
    "is_same_pkcs12",
    "is_whole_key",
    "load_pkcs12_fingerprint",
    "make_pkcs12",
    "read_password",
]

LINEAGE = {
    "key": "privkey.pem",
    "chain": "chain.pem",
    "certificate": "cert.pem",
    "fullchain": "fullchain.pem",
}
"""What certbot calls the files in a folder of its own, the key first."""

_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----[ \t]*(?:\r?\n)?", re.DOTALL)
_LONGEST_PASSWORD = 1024


def contents_of(pair: CertPair) -> dict[str, bytes]:
    """Return the PEM files of a pair by what they are called in the settings.

    Key and full chain are byte for byte what tailscaled gave, so that files which ``tailscale cert`` wrote
    are the same.
    """
    leaf, *chain = (_with_newline(match[0]) for match in _BLOCK.finditer(pair.chain_pem))
    return {
        "key": pair.key_pem,
        "certificate": leaf,
        "chain": b"".join(chain),
        "fullchain": pair.chain_pem,
        "combined": _with_newline(pair.key_pem) + pair.chain_pem,
    }


def first_fingerprint(pem: bytes) -> str | None:
    """Return the SHA-256 of the first certificate in a PEM file; ``None`` if there is none."""
    match = _BLOCK.search(pem)
    if match is None:
        return None
    try:
        return hashlib.sha256(binascii.a2b_base64(match[1])).hexdigest()
    except binascii.Error:
        return None


def read_password(path: Path | None) -> bytes | None:
    """Return the first line of a password file; ``None`` for none.

    Raises:
        TargetError: it cannot be read, or is empty.
    """
    if path is None:
        return None
    try:
        password = read_regular(path, _LONGEST_PASSWORD).partition(b"\n")[0].rstrip(b"\r")
    except OSError as exc:
        raise TargetError(
            f"cannot read the password for PKCS#12 in {path}: {exc.strerror}; write it there"
        ) from exc
    if not password:
        raise TargetError(f"there is no password for PKCS#12 in {path}; write it on the first line")
    try:
        password.decode()
    except UnicodeDecodeError:
        raise TargetError(f"the password for PKCS#12 in {path} is not UTF-8; write it anew") from None
    return password


def is_whole_key(data: bytes) -> bool:
    """Return whether a file holds a private key from its first line to its last."""
    return data.startswith(b"-----BEGIN ") and data.rstrip().endswith(b"PRIVATE KEY-----")


def make_pkcs12(pair: CertPair, name: str, password: bytes | None) -> bytes:
    """Return a pair as PKCS#12, salted, so that no two are equal.

    Args:
        pair: key, certificate and chain.
        name: its friendly name.
        password: by which it is encrypted; ``None`` for not at all.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        NoEncryption,
        load_pem_private_key,
    )
    from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

    leaf, *chain = x509.load_pem_x509_certificates(pair.chain_pem)
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    key = load_pem_private_key(pair.key_pem, None)
    return serialize_key_and_certificates(name.encode(), key, leaf, chain or None, encryption)  # type: ignore[arg-type] # a key that a certificate can have


def is_same_pkcs12(present: bytes, wanted: bytes, password: bytes | None) -> bool:
    """Return whether two PKCS#12 files hold the same under the same password."""
    before, after = _load_pkcs12(present, password), _load_pkcs12(wanted, password)
    if before is None or after is None or before.key is None or after.key is None:
        return False
    return (
        before.key.public_key() == after.key.public_key()
        and before.cert == after.cert
        and before.additional_certs == after.additional_certs
    )


def load_pkcs12_fingerprint(data: bytes, password: bytes | None) -> str | None:
    """Return the SHA-256 of the certificate in a PKCS#12 file; ``None`` if it cannot be opened."""
    from cryptography.hazmat.primitives import hashes

    loaded = _load_pkcs12(data, password)
    if loaded is None or loaded.cert is None:
        return None
    return loaded.cert.certificate.fingerprint(hashes.SHA256()).hex()


def _load_pkcs12(data: bytes, password: bytes | None) -> PKCS12KeyAndCertificates | None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

    try:
        return load_pkcs12(data, password)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _with_newline(pem: bytes) -> bytes:
    return pem if pem.endswith(b"\n") else pem + b"\n"
