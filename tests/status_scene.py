"""Scenes for the page: reports at a fixed time, made of statistics as the engine makes them."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from unittest.mock import patch

import attrs

from tscert_trio import ControlError, NotACertDomainError, RateLimitedError
from tscert_trio.certificate import Certificate
from tscert_trio.delivery_record import DeliveryState
from tscert_trio.schedule import RenewalWindow
from tscert_trio.statistics import (
    CertManagerStatistics,
    DeliveryStatistics,
    DomainState,
    DomainStatistics,
    LimitStatistics,
)
from tscert_trio.status.history import DomainDetail, Event, PastCertificate
from tscert_trio.status.making import make_report
from tscert_trio.status.page.markup import stamp
from tscert_trio.status.report import Level, Source
from tscert_trio.status.words import moment

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2026, 3, 10, 3, 12, tzinfo=UTC)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
TAILNET = "tail1234.ts.net"


@contextmanager
def zone(name: str) -> Iterator[None]:
    """Let this machine be in a zone, which does not change while a service runs, while the context lasts."""
    try:
        with patch.dict(os.environ, {"TZ": name}):
            _look_at_zone()
            yield
    finally:
        _look_at_zone()


def _look_at_zone() -> None:
    time.tzset()
    moment.cache_clear()
    stamp.cache_clear()


def fqdn(label: str) -> str:
    """Return a name of the tailnet."""
    return f"{label}.{TAILNET}"


def leaf(domain: str, age: timedelta, life: timedelta = 90 * DAY) -> Certificate:
    """Return a certificate that began so long ago."""
    fingerprint = hashlib.sha256(f"{domain}{age}".encode()).hexdigest()
    return Certificate(
        names=(domain,),
        serial_number=int(fingerprint[:36], 16),
        not_before=NOW - age,
        not_after=NOW - age + life,
        issuer="CN=E7,O=Let's Encrypt,C=US",
        fingerprint=fingerprint,
    )


def name(label: str, age: timedelta | None, **changes) -> DomainStatistics:
    """Return the statistics of a name that is well, but for the changes."""
    domain = fqdn(label)
    certificate = leaf(domain, age) if age is not None else None
    healthy = DomainStatistics(
        domain=domain,
        state=DomainState.ISSUED,
        leaf=certificate,
        window=None
        if certificate is None
        else RenewalWindow(start=certificate.not_before + 58 * DAY, end=certificate.not_before + 61 * DAY),
        attempts=12,
        failures=0,
        last_error=None,
        last_attempt_at=NOW - 5 * HOUR,
        last_success_at=NOW - 5 * HOUR,
        next_attempt_at=NOW + 19 * HOUR,
    )
    return attrs.evolve(healthy, **changes)


def delivery(of: DomainStatistics, target: str = "nginx", **changes) -> DeliveryStatistics:
    """Return a delivery that is done, but for the changes."""
    done = DeliveryStatistics(
        target=target,
        domain=of.domain,
        state=DeliveryState.SEEN_SERVED,
        goal=DeliveryState.SEEN_SERVED,
        is_done=True,
        fingerprint=of.leaf.fingerprint,
        since=NOW - 20 * DAY,
        failures=0,
        error=None,
        output=None,
        next_attempt_at=None,
        checked_at=NOW - 7 * HOUR,
        served="new",
        warnings=(),
        good_until=of.leaf.not_after,
    )
    return attrs.evolve(done, **changes)


def night() -> CertManagerStatistics:
    """Return what somebody finds who is woken: one name has ended, three are not well, six are."""
    ended = name(
        "files",
        90 * DAY + 5 * HOUR,
        state=DomainState.FAILED,
        failures=9,
        last_error=ControlError(
            'SetDNS "_acme-challenge.files.tail1234.ts.net" => "…": the DNS provider is away'
        ),
        last_attempt_at=NOW - 26 * MINUTE,
        last_success_at=NOW - 31 * DAY,
        next_attempt_at=NOW + 34 * MINUTE,
    )
    limited = name(
        "git",
        66 * DAY,
        state=DomainState.LIMITED,
        failures=2,
        last_error=RateLimitedError(
            "429 urn:ietf:params:acme:error:rateLimited: too many certificates (5) already issued for this "
            "exact set of identifiers in the last 168h0m0s, retry after 2026-03-11 09:12:00 UTC: see "
            "https://letsencrypt.org/docs/rate-limits/#new-certificates-per-exact-set-of-identifiers"
        ),
        last_attempt_at=NOW - 2 * HOUR,
        next_attempt_at=NOW + 30 * HOUR,
        limit="the limit on certificates for the same name",
        limited_until=NOW + 30 * HOUR,
    )
    shop = name("shop", 1 * DAY)
    waiting = name(
        "wiki",
        None,
        state=DomainState.WAITING,
        last_error=NotACertDomainError("it is not among this node's CertDomains"),
        last_attempt_at=None,
        last_success_at=None,
        next_attempt_at=None,
        attempts=0,
    )
    renewing = name("api", 60 * DAY, state=DomainState.REQUESTING, next_attempt_at=None)
    ages = {"chat": 3, "grafana": 14, "home": 22, "mail": 31, "photos": 44, "vault": 52}
    well = [name(label, days * DAY) for label, days in ages.items()]
    failing = delivery(
        shop,
        "haproxy",
        state=DeliveryState.WRITTEN,
        is_done=False,
        since=NOW - 23 * HOUR,
        failures=27,
        error="systemctl reload haproxy.service: status 1: Job for haproxy.service failed",
        output="[ALERT] config: [/etc/haproxy/haproxy.cfg:31]: unable to load certificate\n",
        served="old",
        next_attempt_at=NOW + 41 * MINUTE,
        checked_at=NOW - 19 * MINUTE,
        good_until=NOW + 29 * DAY,
    )
    deliveries = [failing, *(delivery(each) for each in (shop, renewing, *well[:4]))]
    return CertManagerStatistics(
        domains=tuple(sorted((ended, limited, shop, waiting, renewing, *well), key=lambda each: each.domain)),
        cert_domains=frozenset(fqdn(label) for label in ("files", "git", "shop", "api", *ages)),
        bus_connected=True,
        limits=(
            LimitStatistics(
                name="orders in three hours",
                scope="this machine",
                used=11,
                capacity=300,
                is_exceeded=False,
            ),
            LimitStatistics(
                name="new names in a week", scope=TAILNET, used=43, capacity=50, is_exceeded=False
            ),
        ),
        deliveries=tuple(deliveries),
        capability=148,
    )


def day(count: int) -> CertManagerStatistics:
    """Return so many names, all well, with a target each."""
    names = [name(f"n{number:04}", timedelta(hours=number % 1400)) for number in range(count)]
    return CertManagerStatistics(
        domains=tuple(names),
        cert_domains=frozenset(each.domain for each in names),
        bus_connected=True,
        deliveries=tuple(delivery(each) for each in names),
        capability=148,
    )


def event(at: datetime, label: str, what: str, outcome: str, **changes) -> Event:
    """Return an event."""
    kind = "attempt" if what in {"issue", "renew", "look"} else "delivery"
    plain = Event(
        id=f"{round(at.timestamp() * 1e6)}-{kind[0]}-1",
        at=at,
        domain=fqdn(label),
        kind=kind,
        what=what,
        outcome=outcome,
        level=Level.GOOD,
        text=None,
        seconds=None,
        fingerprint=None,
    )
    return attrs.evolve(plain, **changes)


def night_events() -> tuple[Event, ...]:
    """Return what happened before :func:`night`, the newest last."""
    reload = "systemctl reload haproxy.service: status 1: Job for haproxy.service failed"
    failed = {"level": Level.WARNING, "text": 'SetDNS "…" => "…": the DNS provider is away', "seconds": 4.2}
    return (
        event(NOW - 24 * HOUR, "shop", "renew", "issued", seconds=11.8),
        event(NOW - 24 * HOUR + MINUTE, "shop", "nginx", "seen served"),
        event(NOW - 23 * HOUR, "shop", "haproxy", "failed", level=Level.WARNING, text=reload),
        event(NOW - 5 * HOUR, "chat", "look", "found"),
        event(
            NOW - 2 * HOUR, "git", "renew", "RateLimitedError", level=Level.WARNING, text="429 …:rateLimited"
        ),
        event(NOW - 86 * MINUTE, "files", "renew", "ControlError", **failed),
        event(NOW - 26 * MINUTE, "files", "renew", "ControlError", **failed),
        event(NOW - 19 * MINUTE, "shop", "haproxy", "failed", level=Level.WARNING, text=reload),
    )


def detail(label: str = "shop") -> DomainDetail:
    """Return a name of :func:`night` with a year of history."""
    report = make_report(night(), NOW, with_output=True)
    domain = next(each for each in report.domains if each.name == fqdn(label))
    starts = [NOW - DAY - n * 60 * DAY for n in range(6, -1, -1)]
    events, certificates = [], []
    for number, start in enumerate(starts):
        certificate = leaf(fqdn(label), NOW - start)
        certificates.append(
            PastCertificate(
                fingerprint=certificate.fingerprint,
                serial_number=f"{certificate.serial_number:X}",
                issuer=certificate.issuer,
                not_before=start,
                not_after=start + 90 * DAY,
            )
        )
        if number in {2, 5}:
            events += [
                event(
                    start - (8 - n) * DAY,
                    label,
                    "renew",
                    "ControlError",
                    level=Level.WARNING,
                    text='SetDNS "…" => "…": the DNS provider is away',
                    seconds=6.1,
                )
                for n in range(number + 1)
            ]
        events.append(event(start, label, "renew" if number else "issue", "issued", seconds=9.7))
        events.append(event(start + MINUTE, label, "nginx", "seen served"))
    events.append(night_events()[2])
    events.append(night_events()[-1])
    return DomainDetail(
        program=report.program,
        at=NOW,
        source=Source.SERVICE,
        domain=domain,
        certificates=tuple(certificates),
        events=tuple(events),
    )
