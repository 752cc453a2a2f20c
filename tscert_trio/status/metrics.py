"""What Prometheus is told, read straight from the statistics: a report costs more than a scrape may. Pure.

What is not known is left out: a timestamp of 0 or NaN would make an alert speak, or keep silent.
"""

from __future__ import annotations

import platform
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from ..delivery_record import DeliveryState
from ..schedule import Mode
from ..statistics import REQUEST_SECONDS
from .exposition import Family, Kind, Metric, escape, histogram, label, render
from .judging import why_not_well

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from ..statistics import CertManagerStatistics, DeliveryStatistics, DomainStatistics

__all__ = ["METRICS", "render_metrics"]


class _Row(NamedTuple):
    """A name, and what is asked of it more than once."""

    labels: str
    statistics: DomainStatistics
    due_at: datetime | None
    runway: int
    is_ready: bool


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, Kind.GAUGE, text, labels)


def _time(at: datetime | None) -> str | None:
    return None if at is None else f"{at.timestamp():.3f}"


_OF_DOMAINS: dict[Metric, Callable[[_Row], object]] = {
    _gauge(
        "tscert_certificate_expiry_timestamp_seconds", "When the newest certificate ends.", "domain"
    ): lambda row: row.statistics.leaf and _time(row.statistics.leaf.not_after),
    _gauge(
        "tscert_certificate_not_before_timestamp_seconds", "When the newest certificate began.", "domain"
    ): lambda row: row.statistics.leaf and _time(row.statistics.leaf.not_before),
    _gauge(
        "tscert_certificate_renewal_due_timestamp_seconds",
        "When the newest certificate is due to be renewed.",
        "domain",
    ): lambda row: _time(row.due_at),
    _gauge(
        "tscert_certificate_ready", "Whether there is a certificate that is valid now: 1 or 0.", "domain"
    ): lambda row: int(row.is_ready),
    _gauge(
        "tscert_domain_last_attempt_timestamp_seconds", "When the last request for the name ended.", "domain"
    ): lambda row: _time(row.statistics.last_attempt_at),
    _gauge(
        "tscert_domain_last_success_timestamp_seconds",
        "When a certificate that is not due was seen last.",
        "domain",
    ): lambda row: _time(row.statistics.last_success_at),
    _gauge(
        "tscert_domain_next_attempt_timestamp_seconds",
        "When tailscaled is asked next; absent while the name waits or is asked for, and where it never is.",
        "domain",
    ): lambda row: _time(row.statistics.next_attempt_at),
    _gauge("tscert_domain_consecutive_failures", "Counted failures in a row.", "domain"): lambda row: (
        row.statistics.failures
    ),
    _gauge(
        "tscert_domain_runway_attempts",
        "Attempts that the schedule has left before the certificate ends; 999 is enough; absent where this "
        "service orders nothing.",
        "domain",
    ): lambda row: row.runway if row.statistics.mode is Mode.KEEPER else None,
}
"""What is told of each name, and how it is read."""

_STATE = _gauge(
    "tscert_domain_state", "1 for what the loop of the name does; other states are absent.", "domain", "state"
)
_ERROR = _gauge(
    "tscert_domain_error",
    "1 for the class of what is wrong, a failure or a wait; absent where nothing is.",
    "domain",
    "class",
)
_ATTEMPTS = Metric(
    "tscert_attempts_total",
    Kind.COUNTER,
    "Requests by kind (look, renew, issue) and outcome: issued, found, or the class of the failure.",
    ("request", "outcome"),
)
_WANTED = _gauge(
    "tscert_domains_wanted", "How many names want a certificate; absent until every source was read."
)

_OF_DELIVERIES: dict[Metric, Callable[[DeliveryStatistics], int]] = {
    _gauge(
        "tscert_delivery_done", "Whether the last step for the name is done and held: 1 or 0.",
        "domain", "target",
    ): lambda delivery: int(delivery.is_done),
    _gauge(
        "tscert_delivery_failures", "Failures since all steps went well last.", "domain", "target"
    ): lambda delivery: delivery.failures,
}  # fmt: skip
_DELIVERIES = _gauge("tscert_deliveries", "How many names a target has in each state.", "target", "state")

_LIMIT_USED = _gauge("tscert_ca_limit_used", "How much of a limit of the CA is spent.", "limit", "scope")
_LIMIT_CAPACITY = _gauge("tscert_ca_limit_capacity", "How much a limit of the CA allows.", "limit", "scope")
_LIMIT_LEFT = _gauge(
    "tscert_ca_limit_left",
    "How much of a limit is left; 0 where the CA says it is exceeded.",
    "limit",
    "scope",
)
_LIMIT_EXCEEDED = _gauge(
    "tscert_ca_limit_exceeded", "Whether the CA has said that a limit is exceeded: 1 or 0.", "limit", "scope"
)

_SOURCE = _gauge(
    "tscert_source_up",
    "Whether a source of wanted names can be read: 1 or 0; its last good names stay. Absent while not known.",
    "source",
)
_JOURNAL = _gauge(
    "tscert_journal_writable",
    "Whether what happens is written to the journal: 1 or 0; a restart would not know what is not.",
)
_BUS = _gauge("tscert_ipn_bus_connected", "Whether tailscaled's IPN bus is watched just now: 1 or 0.")
_UP = _gauge(
    "tscert_tailscaled_up", "Whether tailscaled tells its CertDomains: 1 or 0; absent while not known."
)
_CERT_DOMAINS = _gauge(
    "tscert_cert_domains", "How many names the node may have certificates for; absent while not known."
)
_CAPABILITY = _gauge("tscert_tailscaled_capability", "The capability version of tailscaled; 148 is v1.104.")
_DURATION = Metric(
    "tscert_localapi_request_duration_seconds",
    Kind.HISTOGRAM,
    "How long tailscaled took to answer.",
    ("endpoint",),
)
_CLOCK = _gauge("tscert_clock_timestamp_seconds", "The clock of this machine when it was asked.")
_BUILD = Metric(
    "tscert_build_info", Kind.INFO, "Versions of what runs.", ("version", "python", "trio", "attrs")
)

METRICS: tuple[Metric, ...] = (
    *_OF_DOMAINS,
    *(_STATE, _ERROR, _ATTEMPTS, _WANTED),
    *(*_OF_DELIVERIES, _DELIVERIES),
    *(_LIMIT_USED, _LIMIT_CAPACITY, _LIMIT_LEFT, _LIMIT_EXCEEDED),
    *(_SOURCE, _JOURNAL, _BUS, _UP, _CERT_DOMAINS, _CAPABILITY, _DURATION, _CLOCK, _BUILD),
)
"""All metrics, in the order in which they are told."""


def render_metrics(statistics: CertManagerStatistics, now: datetime, accept: str) -> tuple[bytes, str]:
    """Return what Prometheus is told, and its content type.

    Args:
        statistics: of the manager.
        now: the present time.
        accept: the header ``Accept``: OpenMetrics 1.0.0 where it is wanted, else Prometheus's text 0.0.4.
    """
    families = (*_of_domains(statistics, now), *_of_deliveries(statistics), *_of_all(statistics, now))
    return render(families, accept)


def _of_domains(statistics: CertManagerStatistics, now: datetime) -> Iterator[Family]:
    rows = [
        _Row(
            f'{{domain="{escape(each.domain)}"}} ',
            each,
            *each.due_and_runway(now)[::2],
            each.leaf is not None and each.leaf.valid_at(now),
        )
        for each in statistics.domains
    ]
    for metric, read in _OF_DOMAINS.items():
        yield metric, [row[0] + str(value) for row in rows if (value := read(row)) is not None]
    states = [(row.labels[:-2], row.statistics.state.value) for row in rows]
    yield _STATE, [f'{labels},state="{state}"}} 1' for labels, state in states]
    failing = [(row.labels[:-2], why_not_well(row.statistics, statistics)) for row in rows]
    yield (
        _ERROR,
        [f'{labels},class="{type(error).__name__}"}} 1' for labels, error in failing if error is not None],
    )


def _of_deliveries(statistics: CertManagerStatistics) -> Iterator[Family]:
    rows = [
        (f'{{domain="{escape(each.domain)}",target="{escape(each.target)}"}} ', each)
        for each in statistics.deliveries
    ]
    for metric, read in _OF_DELIVERIES.items():
        yield metric, [f"{labels}{read(delivery)}" for labels, delivery in rows]
    counts = Counter((each.target, each.state) for each in statistics.deliveries)
    targets = dict.fromkeys(target for target, _ in counts)
    yield (
        _DELIVERIES,
        [
            f"{label(target=target, state=state.value)} {counts[target, state]}"
            for target in targets
            for state in DeliveryState
        ],
    )


def _of_all(statistics: CertManagerStatistics, now: datetime) -> Iterator[Family]:
    outcomes = sorted(statistics.outcomes.items())
    yield (
        _ATTEMPTS,
        [f"{label(request=request, outcome=outcome)} {count}" for (request, outcome), count in outcomes],
    )
    yield _WANTED, [f" {len(statistics.domains)}"] if statistics.is_complete else []
    limits = [(label(limit=each.name, scope=each.scope), each) for each in statistics.limits]
    yield _LIMIT_USED, [f"{labels} {each.used}" for labels, each in limits]
    yield _LIMIT_CAPACITY, [f"{labels} {each.capacity}" for labels, each in limits]
    yield (
        _LIMIT_LEFT,
        [
            f"{labels} {0 if each.is_exceeded else max(0, each.capacity - each.used)}"
            for labels, each in limits
        ],
    )
    yield _LIMIT_EXCEEDED, [f"{labels} {int(each.is_exceeded)}" for labels, each in limits]
    asked = [each for each in statistics.sources if each.is_known or each.trouble is not None]
    yield _SOURCE, [f"{label(source=each.name)} {int(each.trouble is None)}" for each in asked]
    yield _JOURNAL, [f" {int(statistics.journal_trouble is None)}"]
    yield _BUS, [f" {int(statistics.bus_connected)}"]
    is_known = statistics.cert_domains is not None or statistics.trouble is not None
    yield _UP, [f" {int(statistics.trouble is None)}"] if is_known else []
    listed = statistics.cert_domains
    yield _CERT_DOMAINS, [f" {len(listed)}"] if listed is not None else []
    yield _CAPABILITY, [f" {statistics.capability}"] if statistics.capability is not None else []
    yield _DURATION, histogram(statistics.requests, REQUEST_SECONDS)
    yield _CLOCK, [f" {_time(now)}"]
    yield _BUILD, [_build_labels()]


@cache
def _build_labels() -> str:
    from importlib.metadata import version  # takes 20 ms

    versions = {name: version(name) for name in ("trio", "attrs")}
    return label(version=version("tscert-trio"), python=platform.python_version(), **versions) + " 1"
