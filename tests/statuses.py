"""Statistics made up on the spot, for what is told of them."""

from datetime import UTC, datetime, timedelta

from certs import facts

from tscert_trio import CertManagerStatistics, DomainState, DomainStatistics
from tscert_trio.delivery_record import DeliveryState
from tscert_trio.statistics import DeliveryStatistics

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=seconds) for seconds in (1, 60, 3600, 86400))
LIFE = 90 * DAY
A, B = "a.tail1234.ts.net", "b.tail1234.ts.net"


def cert(*, left=60 * DAY, life=LIFE, domain=A):
    """Return a certificate of which so much is left; it is due at two thirds of its life."""
    return facts((domain,), NOW + left - life, life, serial_number=0xABC)


def domain(name=A, state=DomainState.ISSUED, *, leaf=None, error=None, **fields):
    """Return how a name stands, as it is asleep, where not told otherwise."""
    values = {
        "window": None,
        "attempts": 1,
        "failures": 0 if error is None else 1,
        "last_attempt_at": NOW - HOUR,
        "last_success_at": NOW - HOUR if error is None and leaf is not None else None,
        "next_attempt_at": NOW + 3 * HOUR,
    }
    return DomainStatistics(domain=name, state=state, leaf=leaf, last_error=error, **(values | fields))


def delivery(name=A, *, target="web", state=DeliveryState.SEEN_SERVED, **fields):
    """Return how a delivery stands, as it is done, where not told otherwise."""
    values = {
        "goal": DeliveryState.SEEN_SERVED,
        "is_done": state is DeliveryState.SEEN_SERVED and fields.get("error") is None,
        "fingerprint": "00" * 32,
        "since": NOW - DAY,
        "failures": 0,
        "error": None,
        "output": None,
        "next_attempt_at": None,
        "checked_at": NOW - HOUR,
        "served": "new",
        "warnings": (),
        "good_until": None,
    }
    return DeliveryStatistics(target=target, domain=name, state=state, **(values | fields))


def statistics(*domains, **fields):
    """Return how all stand, with tailscaled well where not told otherwise."""
    listed = frozenset(each.domain for each in domains if each.state is not DomainState.WAITING)
    values = {"cert_domains": listed | {"another.name"}, "bus_connected": True}
    return CertManagerStatistics(domains=domains, **(values | fields))
