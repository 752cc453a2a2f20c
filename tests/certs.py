"""Certificates made up on the spot."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tscert_trio.certificate import Certificate

NOT_BEFORE = datetime(2026, 1, 1, tzinfo=UTC)


def make_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey, form: PrivateFormat = PrivateFormat.TraditionalOpenSSL) -> bytes:
    return key.private_bytes(Encoding.PEM, form, NoEncryption())


def make_cert(key: ec.EllipticCurvePrivateKey, *names: str, serial: int = 1) -> bytes:
    """Return a self-signed certificate, which for no names has no subjectAltName."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_BEFORE + timedelta(days=90))
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
        )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def facts(names, not_before, life, *, serial_number=1, fingerprint="00" * 32, issuer="CN=CA", ari_id=None):
    """Return the facts of a certificate that there is not."""
    return Certificate(
        names=names,
        serial_number=serial_number,
        not_before=not_before,
        not_after=not_before + life,
        issuer=issuer,
        fingerprint=fingerprint,
        ari_id=ari_id,
    )
