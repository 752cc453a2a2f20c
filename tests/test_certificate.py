"""PEM in, facts out, and never a key in sight."""

import subprocess
import sys
from datetime import timedelta

import pytest
from certs import NOT_BEFORE, key_pem, make_cert, make_key
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat
from hypothesis import given, strategies as st

from tscert_trio import CertChain, CertPair


def issue(key, issuer_key, *names, serial=1, issuer="Test CA", authority=None):
    """Return a certificate for a key, issued with another; an authority is a key identifier."""

    def name(text):
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    builder = (
        x509.CertificateBuilder()
        .subject_name(name("a leaf"))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_BEFORE + timedelta(days=90))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False)
    )
    if authority is not None:
        builder = builder.add_extension(x509.AuthorityKeyIdentifier(authority, None, None), critical=False)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(Encoding.PEM)


KEY, OTHER = make_key(), make_key()
LEAF = issue(KEY, OTHER, "a.ts.net", "*.a.ts.net", serial=7)
ISSUER = make_cert(OTHER, "ca")  # its name is "Test CA"
SEC1, PKCS8 = key_pem(KEY), key_pem(KEY, PrivateFormat.PKCS8)


def test_the_facts_are_those_of_the_leaf_which_stands_first():
    leaf = CertChain.from_pem(LEAF + ISSUER).leaf
    assert leaf.names == ("a.ts.net", "*.a.ts.net")
    assert leaf.serial_number == 7
    assert (leaf.not_before, leaf.lifetime) == (NOT_BEFORE, timedelta(days=90))
    assert leaf.issuer == "CN=Test CA"
    assert leaf.fingerprint == x509.load_pem_x509_certificate(LEAF).fingerprint(
        x509.load_pem_x509_certificate(LEAF).signature_hash_algorithm
    ).hex()  # fmt: skip


def test_a_certificate_is_valid_from_its_first_to_its_last_moment():
    leaf = CertChain.from_pem(LEAF).leaf
    second = timedelta(seconds=1)
    assert leaf.valid_at(leaf.not_before)
    assert leaf.valid_at(leaf.not_after)
    assert not leaf.valid_at(leaf.not_before - second)
    assert not leaf.valid_at(leaf.not_after + second)


@pytest.mark.parametrize(
    ("name", "domain", "is_covered"),
    [
        ("a.ts.net", "a.ts.net", True),
        ("a.ts.net", "A.ts.NET", True),
        ("A.TS.net", "a.ts.net", True),
        ("a.ts.net", "a.ts.net.", True),
        ("a.ts.net", "b.ts.net", False),
        ("a.ts.net", "x.a.ts.net", False),
        ("a.ts.net", "ts.net", False),
        ("a.ts.net", "", False),
        ("*.a.ts.net", "x.a.ts.net", True),
        ("*.A.ts.net", "X.a.ts.net.", True),
        ("*.a.ts.net", "*.a.ts.net", True),
        ("*.a.ts.net", "a.ts.net", False),
        ("*.a.ts.net", "y.x.a.ts.net", False),
    ],
)
def test_a_certificate_covers_its_names_and_one_label_at_a_wildcard(name, domain, is_covered):
    assert CertChain.from_pem(issue(KEY, OTHER, "z.ts.net", name)).leaf.covers(domain) is is_covered


def test_renewal_information_is_asked_for_by_issuer_and_serial_number():
    """The example of RFC 9773, section 4.1."""
    authority = bytes.fromhex("69885B6B87464041E1B37B847BA0AE2CDE01C8D4")
    leaf = CertChain.from_pem(issue(KEY, OTHER, "a.ts.net", serial=0x87654321, authority=authority)).leaf
    assert leaf.ari_id == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"


@pytest.mark.parametrize(("serial", "text"), [(1, "AQ"), (0x7F, "fw"), (0x80, "AIA"), (0x7FFF, "f_8")])
def test_a_serial_number_is_encoded_as_in_the_certificate(serial, text):
    leaf = CertChain.from_pem(issue(KEY, OTHER, "a.ts.net", serial=serial, authority=b"x")).leaf
    assert leaf.ari_id == f"eA.{text}"


def test_without_an_authority_there_is_no_renewal_information():
    assert CertChain.from_pem(LEAF).leaf.ari_id is None


def test_a_chain_of_which_each_issued_the_one_before_is_taken():
    middle = make_key()
    first = issue(KEY, middle, "a.ts.net", issuer="a leaf")
    second = issue(middle, OTHER, "ca")
    for chain in (first, first + second, first + second + ISSUER):
        assert CertChain.from_pem(chain).leaf.names == ("a.ts.net",)
    with pytest.raises(ValueError, match="does not link"):
        CertChain.from_pem(first + ISSUER + second)


@pytest.mark.parametrize(
    ("leaf", "issuer"),
    [
        (LEAF, make_cert(KEY, "ca")),
        (issue(KEY, OTHER, "a.ts.net", issuer="Another CA"), ISSUER),
        (LEAF, LEAF),
        (ISSUER, LEAF),
    ],
    ids=["another key", "another name", "the same twice", "in the wrong order"],
)
def test_a_chain_that_does_not_link_is_refused(leaf, issuer):
    with pytest.raises(ValueError, match="its chain does not link") as caught:
        CertChain.from_pem(leaf + issuer)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("key", [SEC1, PKCS8], ids=["SEC1", "PKCS8"])
@pytest.mark.parametrize("order", ["key first", "key last", "CRLF"])
def test_a_pair_is_split_into_its_key_and_its_chain(key, order):
    body = {"key first": key + LEAF + ISSUER, "key last": LEAF + ISSUER + key}.get(order)
    body = body or (key + LEAF + ISSUER).replace(b"\n", b"\r\n")
    pair = CertPair.from_pem(body)
    assert pair.key_pem.replace(b"\r", b"") == key
    assert pair.chain_pem.replace(b"\r", b"") == LEAF + ISSUER
    assert pair.leaf.serial_number == 7


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (LEAF, "there are 0 private keys"),
        (SEC1 + SEC1 + LEAF, "there are 2 private keys"),
        (SEC1, "no certificate"),
        (SEC1 + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no certificate"),
        (SEC1 + ISSUER, "does not belong"),
        (SEC1.replace(b"M", b"!") + LEAF, "cannot be parsed"),
        (SEC1 + make_cert(KEY), "names no domain"),
        (SEC1[:60] + LEAF, "has no end"),
        (SEC1 + LEAF + SEC1[-40:], "more of a private key"),
        (b"-----BEGIN PRIVATE KEY-----\n" * 30_000, "there are 30000 private keys"),
        (SEC1 + LEAF + make_cert(KEY, "ca"), "does not link"),
    ],
)
def test_what_is_no_pair_is_refused_without_showing_the_body(body, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        CertPair.from_pem(body)
    assert not any(line in str(caught.value) for line in body.decode().split())
    assert caught.value.__cause__ is None


def test_a_key_of_another_kind_is_read_too():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    with pytest.raises(ValueError, match="does not belong"):
        CertPair.from_pem(key_pem(key) + LEAF)


@pytest.mark.parametrize("part", [SEC1, SEC1[:60], SEC1[-40:]], ids=["whole", "begin", "end"])
def test_any_part_of_a_key_where_only_certificates_belong_is_refused(part):
    with pytest.raises(ValueError, match="there is a private key"):
        CertChain.from_pem(LEAF + part)


def test_no_representation_shows_a_key_or_a_body():
    pair = CertPair.from_pem(SEC1 + LEAF)
    for shown in (repr(pair), str(pair), repr(CertChain.from_pem(LEAF))):
        assert "BEGIN" not in shown
        assert "PRIVATE" not in shown


PIECES = st.sampled_from([SEC1, PKCS8, LEAF, ISSUER, b"\n", b"garbage\n", SEC1[:40], LEAF[:40]])


@given(st.lists(PIECES, max_size=6).map(b"".join))
def test_any_body_is_split_without_loss_or_refused(body):
    """What is taken for a pair holds every byte of the body, the key in one part and not in the other."""
    try:
        pair = CertPair.from_pem(body)
    except ValueError:
        return
    assert len(pair.key_pem) + len(pair.chain_pem) == len(body)
    assert b"PRIVATE KEY-----" in pair.key_pem
    assert b"PRIVATE KEY" not in pair.chain_pem


def test_importing_the_package_does_not_import_cryptography():
    """It is a third of the memory of a process that may never see a certificate."""
    code = "import sys, tscert_trio; sys.exit('cryptography' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
