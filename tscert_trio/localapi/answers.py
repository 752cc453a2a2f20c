"""What an error answer of tailscaled means: one table from its text to our exception.

The texts are those of tailscaled 1.80 to 1.104: ``ipn/localapi/cert.go``, ``feature/acme/cert.go``
(before v1.102 ``ipn/ipnlocal/cert.go``), its certificate stores, and problem documents of RFC 8555
and of Boulder inside them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ..errors import (
    AccessDeniedError,
    AccountError,
    AccountMismatchError,
    AlreadyReplacedError,
    CATroubleError,
    CAUnreachableError,
    ControlError,
    IssuanceError,
    IssuanceTimeoutError,
    LocalAPIError,
    NotACertDomainError,
    PausedError,
    ProtocolError,
    RateLimit,
    RateLimitedError,
    ReadOnlyStoreError,
    StorageError,
    UnreachableError,
    ValidationError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["error_from_answer"]

_ERROR_BY_TEXT: tuple[tuple[re.Pattern[str], type[LocalAPIError]], ...] = tuple(
    (re.compile(pattern), error)
    for pattern, error in (
        # Our own half-close comes back inside other texts ("SetDNS …: context canceled"): first.
        (r"context canceled", IssuanceTimeoutError),
        (r"no netmap available", UnreachableError),
        (r"does not support getting TLS certs", NotACertDomainError),
        (r"^invalid domain(?! name)\b", NotACertDomainError),
        (r"^wildcard certificates are not enabled", NotACertDomainError),
        (r"read-only mode, not attempting to issue", ReadOnlyStoreError),
        (r"\bSetDNS \"", ControlError),
        # Boulder sends a paused name as rateLimited: before that.
        (r"temporarily prevented from requesting certificates", PausedError),
        (r":rateLimited\b", RateLimitedError),
        (r":alreadyReplaced\b", AlreadyReplacedError),
        (r"requester account did not request the certificate being replaced", AccountMismatchError),
        (r"unexpected ACME account status|error:accountDoesNotExist\b", AccountError),
        (r"^acme\.(?:GetReg|Register):.*error:(?:unauthorized|externalAccount\w+)\b", AccountError),
        (
            r'"https?://(?![^"]*/api/v1/)[^"]+": (?:dial|proxyconnect|tls|x509|net/http: TLS)\b',
            CAUnreachableError,
        ),
        (r"(?:^|: )5\d\d (?:\S*:serverInternal)?: ", CATroubleError),  # as golang.org/x/crypto/acme words it
        (r"^acme\.(?:GetReg|Register):", IssuanceError),  # about the account, whatever else the CA says
        (r"status: invalid|error:(?:unauthorized|dns|caa|connection|incorrectResponse)\b", ValidationError),
        # Only what is said when a new certificate is written; other trouble of a store spends no order.
        (r"\.(?:crt|key)\.tmp\d*\b|already exists and is not a regular file", StorageError),
        (r"error writing TLS cert and key to Secret", StorageError),
        (r"context deadline exceeded", IssuanceTimeoutError),
    )
)
_LIMIT_BY_TEXT: tuple[tuple[re.Pattern[str], RateLimit], ...] = tuple(
    (re.compile(pattern), limit)
    for pattern, limit in (  # Boulder's ratelimits/limiter.go
        (r"already issued for this exact set of", RateLimit.CERTIFICATES_PER_NAME),
        (r"too many certificates(?: \(\d+\))? already issued for", RateLimit.CERTIFICATES_PER_TAILNET),
        (r"too many new orders", RateLimit.ORDERS),
        (r"too many (?:failed authorizations|invalid authorizations)", RateLimit.VALIDATIONS),
        (r"too many new registrations|too many registrations", RateLimit.REGISTRATIONS),
    )
)
_TEXT_CHARS = 2000  # an error is kept for days, and logged
_PEM = re.compile(r"-----BEGIN.*", re.DOTALL)  # nothing that might be a key gets into a log
_RETRY_AFTER_DATE = re.compile(r"retry after (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC")


def error_from_answer(
    status: int, headers: Mapping[str, str], body: str, *, now: datetime, general: type[LocalAPIError]
) -> LocalAPIError:
    """Return the exception for an answer that is not 200.

    Args:
        status: the HTTP status.
        headers: the answer's headers.
        body: its text.
        now: the present time, for a date the CA names.
        general: the class for a text that matches none.
    """
    lines = filter(None, map(str.strip, _PEM.sub("(PEM left out)", body).splitlines()))
    text = " ".join(lines)[:_TEXT_CHARS] or f"HTTP status {status} without a text"
    error = _class_of(status, text, general)
    if error is RateLimitedError:
        limit = next((limit for pattern, limit in _LIMIT_BY_TEXT if pattern.search(text)), RateLimit.OTHER)
        retry_after = _retry_after(headers, text, now)
        return RateLimitedError(text, status=status, retry_after=retry_after, limit=limit)
    return error(text, status=status)


def _class_of(status: int, text: str, general: type[LocalAPIError]) -> type[LocalAPIError]:
    if status == 403:  # the second where it does not like the request's headers, whoever asks
        return ProtocolError if text == "invalid localapi request" else AccessDeniedError
    for pattern, error in _ERROR_BY_TEXT:
        if pattern.search(text):
            return error
    if status == 429:
        return RateLimitedError
    return general


def _retry_after(headers: Mapping[str, str], text: str, now: datetime) -> timedelta | None:
    """Return how long the CA asks to wait: the header in seconds, else the date in Boulder's text."""
    seconds = headers.get("retry-after", "")
    if seconds.isascii() and seconds.isdigit() and len(seconds) < 10:
        return timedelta(seconds=int(seconds))
    try:
        if match := _RETRY_AFTER_DATE.search(text):
            until = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
            return max(until - now, timedelta(0))
    except ValueError:  # no such day
        pass
    return None
