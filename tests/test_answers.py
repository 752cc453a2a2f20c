"""Each text of tailscaled has its class, from v1.80 to v1.104."""

from datetime import UTC, datetime, timedelta

import pytest

from tscert_trio import errors
from tscert_trio.localapi.answers import error_from_answer

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def error_of(status, text, headers=None):
    return error_from_answer(status, headers or {}, text, now=NOW, general=errors.IssuanceError)


ACME = "urn:ietf:params:acme:error"


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (403, "cert access denied", errors.AccessDeniedError),
        (403, "invalid localapi request", errors.ProtocolError),
        (500, "no netmap available", errors.UnreachableError),
        (500, "your Tailscale account does not support getting TLS certs", errors.NotACertDomainError),
        (500, 'invalid domain "x.ts.net"; must be one of ["a.ts.net"]', errors.NotACertDomainError),
        (500, "invalid domain", errors.NotACertDomainError),
        (500, "wildcard certificates are not enabled for this node", errors.NotACertDomainError),
        (500, "wildcard certificates are not enabled for this domain", errors.NotACertDomainError),
        (
            500,
            "retrieving cached TLS certificate failed and cert store is configured in read-only mode, not "
            "attempting to issue a new certificate: %!w(<nil>)",
            errors.ReadOnlyStoreError,
        ),
        (
            500,
            'SetDNS "_acme-challenge.a.ts.net" => "x": set-dns response: 500 Internal Server Error, no',
            errors.ControlError,
        ),
        (500, 'SetDNS "_acme-challenge.a.ts.net" => "x": context canceled', errors.IssuanceTimeoutError),
        (500, "context canceled", errors.IssuanceTimeoutError),
        (500, f"429 {ACME}:rateLimited: too many new orders", errors.RateLimitedError),
        (429, f"429 {ACME}:rateLimited: too many new orders", errors.RateLimitedError),
        (429, "Too Many Requests", errors.RateLimitedError),
        (500, f"CreateOrder: 403 {ACME}:rateLimited: slow down", errors.RateLimitedError),
        (
            429,
            f"429 {ACME}:rateLimited: Your account is temporarily prevented from requesting certificates for "
            "a.ts.net and possibly others. Please visit: https://portal.letsencrypt.org/",
            errors.PausedError,
        ),
        (
            500,
            f"409 {ACME}:alreadyReplaced: cannot indicate an order replaces a certificate which already "
            "has a replacement order",
            errors.AlreadyReplacedError,
        ),
        (
            500,
            f"403 {ACME}:unauthorized: requester account did not request the certificate being replaced by "
            "this order",
            errors.AccountMismatchError,
        ),
        (
            500,
            f"acme: order  status: invalid; problem: 403 {ACME}:unauthorized: No TXT",
            errors.ValidationError,
        ),
        (500, "acme: order https://x/y status: invalid", errors.ValidationError),
        (500, f"403 {ACME}:caa: CAA record prevents issuance", errors.ValidationError),
        (500, f"400 {ACME}:dns: DNS problem: NXDOMAIN", errors.ValidationError),
        (
            500,
            "write /x/certs/a.ts.net.key.tmp17: no space left on device",
            errors.StorageError,
        ),
        (500, "/x/a.ts.net.crt already exists and is not a regular file", errors.StorageError),
        (
            500,
            "error writing TLS cert and key to Secret: context deadline exceeded",
            errors.StorageError,
        ),
        (500, "context deadline exceeded", errors.IssuanceTimeoutError),
        (500, "acmeKey: open /x/certs/acme-account.key.pem: permission denied", errors.IssuanceError),
        (500, "open /x/certs/a.ts.net.crt: permission denied", errors.IssuanceError),
        (500, 'invalid domain name "a": bad', errors.IssuanceError),
        (
            500,
            f'acme.GetReg: 403 {ACME}:unauthorized: Account is not valid, has status "deactivated"',
            errors.AccountError,
        ),
        (500, f"acme.Register: 403 {ACME}:unauthorized: Account creation is disabled", errors.AccountError),
        (500, f"acme.Register: 403 {ACME}:externalAccountRequired: no binding", errors.AccountError),
        (500, f"acme.GetReg: 400 {ACME}:accountDoesNotExist: No account exists", errors.AccountError),
        (500, f"400 {ACME}:accountDoesNotExist: Account not found", errors.AccountError),
        (500, 'unexpected ACME account status "revoked"', errors.AccountError),
        (500, f"acme.Register: 500 {ACME}:serverInternal: busy", errors.CATroubleError),
        (500, f"acme.Register: 400 {ACME}:dns: no MX for the contact", errors.IssuanceError),
        (500, f"acme.Register: 429 {ACME}:rateLimited: too many new registrations", errors.RateLimitedError),
        (500, "error writing TLS cert and key to Secret: nope", errors.StorageError),
        (500, f"503 {ACME}:serverInternal: The service is down for maintenance", errors.CATroubleError),
        (500, "acme: get order: 502 : 502 Bad Gateway", errors.CATroubleError),
        (
            500,
            'acme.Register: Get "https://ca.example/directory": dial tcp: lookup ca.example: i/o timeout',
            errors.CAUnreachableError,
        ),
        (
            500,
            'Post "https://ca.example/new-order": dial tcp 203.0.113.9:443: connect: no route to host',
            errors.CAUnreachableError,
        ),
        (
            500,
            'Head "https://ca.example/nonce": tls: failed to verify certificate: x509: signed by an unknown '
            "authority",
            errors.CAUnreachableError,
        ),
        (
            500,
            'Get "https://kubernetes.default.svc/api/v1/namespaces/n/secrets/s": dial tcp: i/o timeout',
            errors.IssuanceError,
        ),
        (500, "acme.Register: EOF", errors.IssuanceError),
        (500, "cert support not compiled in this build", errors.IssuanceError),
        (404, "404 page not found", errors.IssuanceError),
    ],
)
def test_each_text_becomes_its_class_and_is_kept(status, text, expected):
    error = error_of(status, text + "\n")
    assert type(error) is expected
    assert str(error) == text
    assert error.status == status


def test_a_text_is_cut_and_what_may_be_a_key_is_left_out():
    """An error is kept for days and logged."""
    assert len(str(error_of(500, "x" * 100_000))) == 2000
    error = error_of(500, "could not write -----BEGIN EC PRIVATE KEY-----\nc2VjcmV0\n")
    assert str(error) == "could not write (PEM left out)"


ELSEWHERE = "retry after 2026-11-24 06:00:00 UTC: see https://letsencrypt.org/docs/rate-limits/"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s",
            errors.RateLimit.CERTIFICATES_PER_NAME,
        ),
        (
            "too many certificates (5) already issued for this exact set of domains in the last 168h0m0s",
            errors.RateLimit.CERTIFICATES_PER_NAME,
        ),
        (
            'too many certificates (50) already issued for "tail1234.ts.net" in the last 168h0m0s',
            errors.RateLimit.CERTIFICATES_PER_TAILNET,
        ),
        (
            "too many certificates already issued for: tail1234.ts.net",
            errors.RateLimit.CERTIFICATES_PER_TAILNET,
        ),
        ("too many new orders (300) from this account in the last 3h0m0s", errors.RateLimit.ORDERS),
        ("too many new orders recently", errors.RateLimit.ORDERS),
        (
            'too many failed authorizations (5) for "a.tail1234.ts.net" in the last 1h0m0s',
            errors.RateLimit.VALIDATIONS,
        ),
        (
            "too many new registrations (10) from this IP address in the last 3h0m0s",
            errors.RateLimit.REGISTRATIONS,
        ),
        (
            "too many new registrations (500) from this /48 subnet of IPv6 addresses in the last 3h0m0s",
            errors.RateLimit.REGISTRATIONS,
        ),
        ("Service busy; retry later.", errors.RateLimit.OTHER),
    ],
)
def test_which_limit_was_passed_is_told_by_boulders_text(text, expected):
    """Those of its file ratelimits/limiter.go."""
    error = error_of(500, f"429 {ACME}:rateLimited: Error creating new order :: {text}, {ELSEWHERE}")
    assert type(error) is errors.RateLimitedError
    assert error.limit is expected
    assert error.retry_after == timedelta(hours=6)


@pytest.mark.parametrize(
    ("headers", "text", "expected"),
    [
        ({"retry-after": "3600"}, "rate limited", timedelta(hours=1)),
        ({"retry-after": "0"}, "rate limited", timedelta(0)),
        ({"retry-after": "86400000"}, "rate limited", timedelta(days=1000)),
        ({"retry-after": "-5"}, "rate limited", None),
        ({"retry-after": "1e9"}, "rate limited", None),
        ({"retry-after": "9" * 30}, "rate limited", None),
        ({"retry-after": "\u0663"}, "rate limited", None),
        ({}, "too many, retry after 2026-11-24 01:00:00 UTC: see", timedelta(hours=1)),
        ({}, "too many, retry after 2026-11-23 01:00:00 UTC: see", timedelta(0)),
        ({}, "too many, retry after lunch", None),
        ({}, "too many, retry after 2026-99-99 01:00:00 UTC", None),
    ],
)
def test_how_long_the_ca_wants_silence(headers, text, expected):
    assert error_of(429, text, headers).retry_after == expected


def subclasses(error):
    return {error}.union(*(subclasses(each) for each in error.__subclasses__()))


def test_every_class_says_what_it_means_and_what_to_do_in_one_line_and_stands_in_the_tree():
    for error in subclasses(errors.LocalAPIError):
        if error.__module__ == errors.__name__:
            assert error.__name__ in errors.__doc__
            for text in (error.meaning, error.remedy):
                assert text
                assert "\n" not in text
                assert text.startswith("tailscaled") or text[0].isupper()


def test_what_reached_the_ca_or_may_have_counts_and_of_the_others_two():
    for error in subclasses(errors.LocalAPIError):
        not_the_ca = error in {errors.ControlError, errors.ProtocolError}
        assert error.counted is (error.reached_ca is not False or not_the_ca), error
