"""A certificate authority with an ACME server's memory: accounts it does not have, orders it keeps."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..certificate import Certificate

if TYPE_CHECKING:
    from .limits import Limits

__all__ = ["AcmeError", "CertificateAuthority", "Issued", "Order"]

_CA_LIFE = timedelta(days=36525)
_FIRST_DAY = datetime(2015, 6, 4, tzinfo=UTC)
_AWAY = (
    "The service is down for maintenance or had an internal error. "
    "Check https://letsencrypt.status.io/ for more details."
)


class AcmeError(Exception):
    """A problem document (RFC 8555, section 6.7), printed as ``tempfork/acme`` prints it."""

    def __init__(self, kind: str, detail: str, *, status: int, retry_after: float | None = None) -> None:
        self.type = f"urn:ietf:params:acme:error:{kind}"
        super().__init__(f"{status} {self.type}: {detail}")
        self.kind = kind
        self.detail = detail
        self.status = status
        self.retry_after = retry_after
        """Seconds."""


@attrs.frozen(kw_only=True)
class Order:
    """An order that reached the CA."""

    at: datetime
    domain: str
    replaces: int | None = None
    """Serial number of the certificate that it replaces (RFC 9773), if it says so."""
    refused: str | None = None
    """The CA's problem, when it refused the order."""


@attrs.frozen(kw_only=True)
class Issued:
    """A certificate as tailscaled stores it."""

    key_pem: bytes = attrs.field(repr=False)
    """SEC1, as tailscaled writes it."""
    chain_pem: bytes = attrs.field(repr=False)
    """The leaf, then the intermediate."""
    leaf: Certificate


@attrs.define(eq=False)
class CertificateAuthority:
    """A root, an intermediate, and what was ordered. Fast: a certificate takes about 0.1 ms."""

    validity: timedelta
    """Life of the certificates it issues, in whole seconds."""
    pending_order_life: timedelta
    """How long an order that was not completed blocks others that replace the same certificate."""
    limits: Limits
    is_away: bool = attrs.field(default=False, init=False)
    """Whether it answers everything with status 503."""
    is_cut_off: bool = attrs.field(default=False, init=False)
    """Whether nobody can reach it."""
    orders: list[Order] = attrs.field(factory=list, init=False)
    """Every order that arrived, the oldest first."""
    failed_validations: list[tuple[datetime, str]] = attrs.field(factory=list, init=False)
    """When it did not find a TXT record, and of which name."""
    issued: dict[str, Certificate] = attrs.field(factory=dict, init=False)
    """By their identifiers in renewal information."""
    root_pem: bytes = attrs.field(init=False)
    _key: ec.EllipticCurvePrivateKey = attrs.field(init=False)
    _issuer: x509.Certificate = attrs.field(init=False)
    _issuer_pem: bytes = attrs.field(init=False)
    _key_identifier: x509.AuthorityKeyIdentifier = attrs.field(init=False)
    _ari_prefix: str = attrs.field(init=False)
    _replaced: dict[int, datetime | None] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        root_key, self._key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        root = _make_authority("Sandbox Root", root_key, "Sandbox Root", root_key)
        self._issuer = _make_authority("Sandbox Intermediate", self._key, "Sandbox Root", root_key)
        self.root_pem = root.public_bytes(Encoding.PEM)
        self._issuer_pem = self._issuer.public_bytes(Encoding.PEM)
        self._key_identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        self._ari_prefix = _base64url(self._key_identifier.key_identifier or b"")

    def away_problem(self) -> AcmeError | None:
        """Return what it answers to everything while it is away."""
        return AcmeError("serverInternal", _AWAY, status=503) if self.is_away else None

    def new_order(self, domain: str, *, replaces: int | None, now: datetime) -> None:
        """Accept an order.

        Raises:
            AcmeError: the certificate to be replaced has a replacement already. Let's Encrypt says so from
                the moment such an order is accepted until it fails or expires (Boulder's ``wfe2``).
        """
        if replaces is not None and replaces in self._replaced:
            until = self._replaced[replaces]
            if until is None or now < until:
                detail = (
                    "While validating order as a replacement an error occurred :: cannot indicate an order "
                    f'replaces certificate with serial "{replaces:036x}", '
                    "which already has a replacement order"
                )
                problem = AcmeError("alreadyReplaced", detail, status=409)
                self.refuse_order(domain, problem, replaces=replaces, now=now)
                raise problem
        self.orders.append(Order(at=now, domain=domain, replaces=replaces))
        self.limits.count_order(replaces=replaces, now=now)
        if replaces is not None:
            self._replaced[replaces] = now + self.pending_order_life

    def refuse_order(self, domain: str, problem: AcmeError, *, replaces: int | None, now: datetime) -> None:
        """Note an order that was refused."""
        self.orders.append(Order(at=now, domain=domain, replaces=replaces, refused=str(problem)))

    def invalidate_order(self, domain: str, *, replaces: int | None, now: datetime) -> None:
        """Note that a validation failed, and forget its order: another may replace the certificate."""
        self.failed_validations.append((now, domain))
        self.limits.count_failed_validation(domain, now)
        if replaces is not None:
            self._replaced.pop(replaces, None)

    def finalize_order(self, domain: str, *, replaces: int | None, now: datetime) -> Issued:
        """Issue the certificate that was ordered."""
        if replaces is not None:
            self._replaced[replaces] = None
        self.limits.count_certificate(domain, replaces=replaces, now=now)
        issued = self._issue(domain, now.replace(microsecond=0))
        assert issued.leaf.ari_id is not None
        self.issued[issued.leaf.ari_id] = issued.leaf
        return issued

    def _issue(self, domain: str, now: datetime) -> Issued:
        names = (domain, domain.removeprefix("*.")) if domain.startswith("*.") else (domain,)
        key = ec.generate_private_key(ec.SECP256R1())
        serial, not_after = x509.random_serial_number(), now + self.validity
        leaf = (
            x509.CertificateBuilder()
            .subject_name(_name(domain) if len(domain) <= 64 else x509.Name([]))
            .issuer_name(self._issuer.subject)
            .public_key(key.public_key())
            .serial_number(serial)
            .not_valid_before(now)
            .not_valid_after(not_after)
            .add_extension(_LEAF_CONSTRAINTS, critical=True)
            .add_extension(_LEAF_USAGE, critical=False)
            .add_extension(self._key_identifier, critical=False)
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=len(domain) > 64
            )
            .sign(self._key, hashes.SHA256())
        )
        return Issued(
            key_pem=key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
            chain_pem=leaf.public_bytes(Encoding.PEM) + self._issuer_pem,
            leaf=Certificate(
                names=names,
                serial_number=serial,
                not_before=now,
                not_after=not_after,
                issuer="CN=Sandbox Intermediate",
                fingerprint=hashlib.sha256(leaf.public_bytes(Encoding.DER)).hexdigest(),
                ari_id=self._ari_id(serial),
            ),
        )

    def _ari_id(self, serial: int) -> str:
        """Return a certificate's identifier (RFC 9773, section 4.1), without a look at the certificate."""
        content = serial.to_bytes(serial.bit_length() // 8 + 1, "big")  # of a DER INTEGER, which has a sign
        return f"{self._ari_prefix}.{_base64url(content)}"


_LEAF_CONSTRAINTS = x509.BasicConstraints(ca=False, path_length=None)
_LEAF_USAGE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _make_authority(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    public_key, is_root = key.public_key(), key is issuer_key
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_FIRST_DAY)
        .not_valid_after(_FIRST_DAY + _CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None if is_root else 0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
        .sign(issuer_key, hashes.SHA256())
    )
