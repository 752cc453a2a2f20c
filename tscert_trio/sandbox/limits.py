"""The limits of Let's Encrypt as token buckets, on the CA's own clock (Boulder's ``ratelimits``).

See https://letsencrypt.org/docs/rate-limits/. An order is checked when it arrives. Tokens for certificates
are taken when one is issued, those for failed validations when an order becomes invalid. An order that
replaces a certificate (RFC 9773) is refused only for failed validations; what it brings does count as one
more certificate for its name, but not for its registered domain.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import attrs

from .ca import AcmeError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Limits", "exact_name_text"]

_URL = "https://letsencrypt.org/docs/rate-limits/"
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@attrs.frozen(kw_only=True)
class _Limit:
    """A kind of bucket: so many tokens at most, evenly given back over a period."""

    count: int
    period: timedelta
    text: str
    """How Boulder calls a breach; ``{name}`` is whose bucket it is."""
    anchor: str
    """Where its page explains it."""

    def breach_text(self, name: str, retry_at: datetime | None) -> str:
        date = f", retry after {retry_at:%Y-%m-%d %H:%M:%S} UTC" if retry_at is not None else ""
        return f"too many {self.text.format(name=name)}{date}: see {_URL}#{self.anchor}"


_EXACT_NAME = _Limit(
    count=5,
    period=timedelta(days=7),
    text="certificates (5) already issued for this exact set of identifiers in the last 168h0m0s",
    anchor="new-certificates-per-exact-set-of-identifiers",
)
_REGISTERED_DOMAIN = _Limit(
    count=50,
    period=timedelta(days=7),
    text='certificates (50) already issued for "{name}" in the last 168h0m0s',
    anchor="new-certificates-per-registered-domain",
)
_ORDERS = _Limit(
    count=300,
    period=timedelta(hours=3),
    text="new orders (300) from this account in the last 3h0m0s",
    anchor="new-orders-per-account",
)
_FAILED_VALIDATIONS = _Limit(
    count=5,
    period=timedelta(hours=1),
    text='failed authorizations (5) for "{name}" in the last 1h0m0s',
    anchor="authorization-failures-per-identifier-per-account",
)


@attrs.define(eq=False)
class Limits:
    """All buckets of one account. They are always counted, and looked at only where limits are in force."""

    is_in_force: bool
    _full_at: dict[tuple[_Limit, str], datetime] = attrs.field(factory=dict, init=False)
    """When each bucket is full again; one that is not here is full."""

    def breach(self, domain: str, *, replaces: int | None, now: datetime) -> AcmeError | None:
        """Return the CA's problem with an order, if it breaches a limit: of several the longest one.

        Args:
            domain: what is ordered.
            replaces: serial number of the certificate that is replaced.
            now: the present time.
        """
        if not self.is_in_force:
            return None
        retry_at, limit, name = max(
            ((self._retry_at(limit, name), limit, name) for limit, name in _buckets(domain, replaces)),
            key=lambda breach: breach[0],
        )
        if retry_at <= now:
            return None
        seconds = math.ceil((retry_at - now).total_seconds())
        text = limit.breach_text(name, now + timedelta(seconds=seconds))
        return AcmeError("rateLimited", text, status=429, retry_after=seconds)

    def count_order(self, *, replaces: int | None, now: datetime) -> None:
        """Take the token of an order that is accepted."""
        if replaces is None:
            self._take(_ORDERS, "", now)

    def count_certificate(self, domain: str, *, replaces: int | None, now: datetime) -> None:
        """Take the tokens of a certificate that is issued."""
        self._take(_EXACT_NAME, domain, now)
        if replaces is None:
            self._take(_REGISTERED_DOMAIN, _registered_domain(domain), now)

    def count_failed_validation(self, domain: str, now: datetime) -> None:
        """Take the token of an order that becomes invalid."""
        self._take(_FAILED_VALIDATIONS, domain.removeprefix("*."), now)

    def _retry_at(self, limit: _Limit, name: str) -> datetime:
        """Return from when on there is a token."""
        full_at = self._full_at.get((limit, name), _LONG_AGO)
        return full_at - limit.period + limit.period / limit.count

    def _take(self, limit: _Limit, name: str, now: datetime) -> None:
        """Take a token, if there is one."""
        if self._retry_at(limit, name) <= now:
            full_at = max(self._full_at.get((limit, name), _LONG_AGO), now)
            self._full_at[limit, name] = full_at + limit.period / limit.count


def exact_name_text(retry_at: datetime | None) -> str:
    """Return what the CA says of too many certificates for one name.

    Args:
        retry_at: from when on there may be another; ``None``: nothing is said of it.
    """
    return _EXACT_NAME.breach_text("", retry_at)


def _buckets(domain: str, replaces: int | None) -> Iterator[tuple[_Limit, str]]:
    yield _FAILED_VALIDATIONS, domain.removeprefix("*.")
    if replaces is None:
        yield _EXACT_NAME, domain
        yield _REGISTERED_DOMAIN, _registered_domain(domain)
        yield _ORDERS, ""


def _registered_domain(domain: str) -> str:
    """Return the tailnet's name, or what the registrar sold: ``ts.net`` is a public suffix, like ``net``."""
    labels = domain.split(".")
    return ".".join(labels[-3 if labels[-2:] == ["ts", "net"] else -2 :])
