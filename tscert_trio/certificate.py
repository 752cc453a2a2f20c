"""Certificates as tailscaled hands them out: PEM, and the facts of the leaf.

``cryptography`` is imported when the first certificate is parsed, since it is a third of the memory
of a process that may never see one.
"""

from __future__ import annotations

import base64
import re
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from cryptography import x509

__all__ = ["CertChain", "CertPair", "Certificate", "key_kind"]

# RFC 7468 textual encoding; tailscaled writes SEC1 ("EC PRIVATE KEY"), its stores may hold others.
_KEY_BEGIN = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_KEY_END = re.compile(rb"-----END [A-Z ]*PRIVATE KEY-----(?:\r?\n)?")
# "No end" (RFC 5280, section 4.1.2.5) is the last second that a date can hold: local time would overflow.
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
_KEY_MARK = b"PRIVATE KEY"


@attrs.frozen(kw_only=True)
class Certificate:
    """The facts of one leaf certificate. Small, so that thousands can be kept."""

    names: tuple[str, ...]
    """The DNS names it covers (subjectAltName)."""
    serial_number: int
    not_before: datetime
    """Start of its life, aware and in UTC."""
    not_after: datetime
    """End of its life, aware and in UTC."""
    issuer: str
    """The issuer's name (RFC 4514)."""
    fingerprint: str
    """SHA-256 of its DER form, in hexadecimal."""
    ari_id: str | None = None
    """By which its CA knows it in renewal information (RFC 9773, section 4.1); ``None`` without an
    authority key identifier."""

    @property
    def lifetime(self) -> timedelta:
        """How long it is valid in all."""
        return self.not_after - self.not_before

    def valid_at(self, now: datetime) -> bool:
        """Return whether ``now`` lies within its life."""
        return self.not_before <= now <= self.not_after

    def covers(self, domain: str) -> bool:
        """Return whether it is for this name, by itself or by a wildcard (RFC 9525, section 6.3)."""
        names = {name.lower() for name in self.names}
        domain = domain.lower().removesuffix(".")
        return domain in names or f"*.{domain.partition('.')[2]}" in names


@attrs.frozen(kw_only=True)
class CertChain:
    """A certificate with its chain, without the key."""

    pem: bytes = attrs.field(repr=False)
    """PEM blocks, the leaf first."""
    leaf: Certificate

    @classmethod
    def from_pem(cls, body: bytes) -> CertChain:
        """Parse the answer to ``cert/<domain>?type=crt``.

        Raises:
            ValueError: it holds no certificate, or one that cannot be parsed, or a private key, or a
                certificate was not issued by the one after it. The text shows nothing of the body.
        """
        if _KEY_MARK in body:
            raise ValueError("there is a private key where only certificates were asked for")
        return cls(pem=body, leaf=_facts(_load_chain(body)[0]))


@attrs.frozen(kw_only=True)
class CertPair:
    """A certificate with its chain and its private key. The key is never shown by ``repr``."""

    chain_pem: bytes = attrs.field(repr=False)
    """PEM blocks, the leaf first."""
    key_pem: bytes = attrs.field(repr=False)
    """One PEM block."""
    leaf: Certificate

    @classmethod
    def from_pem(cls, body: bytes) -> CertPair:
        """Parse the answer to ``cert/<domain>?type=pair``: one key, then the chain, leaf first.

        Raises:
            ValueError: it does not hold one key and certificates, or the key is not the leaf's, or a
                certificate was not issued by the one after it. The text shows nothing of the body.
        """
        key_pem, chain_pem = _split_key(body)
        leaf = _load_chain(chain_pem)[0]
        _check_key(key_pem, leaf)
        return cls(chain_pem=chain_pem, key_pem=key_pem, leaf=_facts(leaf))


def key_kind(pair: CertPair) -> str:
    """Return of which kind a key is, such as ``EC`` or ``RSA``."""
    return type(_load_chain(pair.chain_pem)[0].public_key()).__name__.removesuffix("PublicKey")


def _split_key(body: bytes) -> tuple[bytes, bytes]:
    """Return the one private key, and everything else."""
    begins = [match.start() for match in _KEY_BEGIN.finditer(body)]
    if len(begins) != 1:
        raise ValueError(f"there are {len(begins)} private keys where one was asked for")
    end = _KEY_END.search(body, begins[0])
    if end is None:
        raise ValueError("its private key has no end")
    rest = body[: begins[0]] + body[end.end() :]
    if _KEY_MARK in rest:
        raise ValueError("there is more of a private key than its block")
    return body[begins[0] : end.end()], rest


@contextmanager
def _refusing(reason: str) -> Iterator[None]:
    """Turn what cryptography raises into a ValueError; its own texts may quote the input."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    try:
        yield
    except (
        ValueError,
        TypeError,
        InvalidSignature,
        UnsupportedAlgorithm,
        x509.DuplicateExtension,
        x509.ExtensionNotFound,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
    ):
        raise ValueError(reason) from None


def _facts(leaf: x509.Certificate) -> Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    with _refusing("its certificate names no domain"):
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    with _refusing("its certificate cannot be read"):
        return Certificate(
            names=tuple(names.value.get_values_for_type(x509.DNSName)),
            serial_number=leaf.serial_number,
            not_before=max(leaf.not_valid_before_utc, _EARLIEST),
            not_after=min(leaf.not_valid_after_utc, _LATEST),
            issuer=sys.intern(leaf.issuer.rfc4514_string()),
            fingerprint=leaf.fingerprint(hashes.SHA256()).hex(),
            ari_id=_ari_id(leaf),
        )


def _ari_id(leaf: x509.Certificate) -> str | None:
    from cryptography import x509

    try:
        authority = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return None
    # The content of the serial number's DER INTEGER, so with a leading zero where the first bit is set.
    serial = leaf.serial_number.to_bytes(leaf.serial_number.bit_length() // 8 + 1, "big")
    return None if authority is None else f"{_base64url(authority)}.{_base64url(serial)}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _load_chain(pem: bytes) -> list[x509.Certificate]:
    from cryptography import x509

    with _refusing("it holds no certificate that can be parsed"):
        chain = x509.load_pem_x509_certificates(pem)
    for certificate, issuer in pairwise(chain):
        with _refusing("its chain does not link: a certificate was not issued by the one after it"):
            if not _names_issuer(certificate, issuer):
                certificate.verify_directly_issued_by(issuer)
    return chain


def _names_issuer(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Return whether a certificate names another as its issuer, and the issuer's key.

    That is as good as the signature, which takes a tenth of a millisecond: what arrives mixed up is
    noticed, and who could forge it has tailscaled.
    """
    from cryptography import x509

    try:
        authority = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
        subject = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return False
    return (
        certificate.issuer == issuer.subject
        and authority.value.key_identifier is not None
        and authority.value.key_identifier == subject.value.digest
    )


def _check_key(key_pem: bytes, leaf: x509.Certificate) -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    with _refusing("its private key cannot be parsed"):
        public_keys = load_pem_private_key(key_pem, None).public_key(), leaf.public_key()
    if public_keys[0] != public_keys[1]:
        raise ValueError("its private key does not belong to its certificate")
