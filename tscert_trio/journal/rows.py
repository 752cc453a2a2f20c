"""What is in which column. Times are seconds since 1970."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from .. import errors
from ..certificate import Certificate
from ..delivery_record import DeliveryRecord, DeliveryState
from ..errors import LocalAPIError, RateLimit, RateLimitedError
from ..schedule import AccountState, DomainRecord, RenewalWindow, TailnetState
from .attempt import Attempt, DeliveryEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# No index: each is one more page to write for every attempt, and a whole table is read in milliseconds.
SCHEMA = """
CREATE TABLE IF NOT EXISTS attempts (
    number INTEGER PRIMARY KEY, domain TEXT NOT NULL, request TEXT NOT NULL, started_at REAL NOT NULL,
    ended_at REAL, outcome TEXT, text TEXT, fingerprint BLOB);
CREATE TABLE IF NOT EXISTS certificates (
    fingerprint BLOB NOT NULL, domain TEXT NOT NULL, names TEXT, serial BLOB NOT NULL,
    not_before REAL NOT NULL, not_after REAL NOT NULL, issuer TEXT NOT NULL, ari_id TEXT,
    seen_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS domains (
    domain TEXT PRIMARY KEY, wanted_since REAL NOT NULL, fingerprint BLOB, window_start REAL,
    window_end REAL, window_url TEXT, window_check_at REAL, due_at REAL, failures INTEGER NOT NULL,
    repeats INTEGER NOT NULL, error TEXT, error_text TEXT, retry_after REAL, rate_limit TEXT, ended_at REAL,
    succeeded_at REAL, retry_at REAL, order_at REAL, hold_until REAL, attempts_full_at REAL NOT NULL,
    certificates_full_at REAL NOT NULL, is_lost INTEGER NOT NULL, is_forced INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS limits (
    name TEXT PRIMARY KEY, full_at REAL, is_exceeded INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS deliveries (
    target TEXT NOT NULL, domain TEXT NOT NULL, fingerprint BLOB NOT NULL, before BLOB, state TEXT NOT NULL,
    since REAL NOT NULL, failures INTEGER NOT NULL, error TEXT, output TEXT, retry_at REAL, checked_at REAL,
    served TEXT, warnings TEXT, good_until REAL, PRIMARY KEY (target, domain)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS delivery_events (
    number INTEGER PRIMARY KEY, at REAL NOT NULL, target TEXT NOT NULL, domain TEXT NOT NULL,
    outcome TEXT NOT NULL, text TEXT, fingerprint BLOB);
CREATE TABLE IF NOT EXISTS wanted (domain TEXT PRIMARY KEY) WITHOUT ROWID;
"""

BEGIN_ATTEMPT = "REPLACE INTO attempts (number, domain, request, started_at) VALUES (?, ?, ?, ?)"
END_ATTEMPT = "UPDATE attempts SET ended_at = ?, outcome = ?, text = ?, fingerprint = ? WHERE number = ?"
END_AND_MOVE_ATTEMPT = (
    "UPDATE attempts SET ended_at = ?, outcome = ?, text = ?, fingerprint = ?, number = ? WHERE number = ?"
)
DROP_ATTEMPT = "DELETE FROM attempts WHERE number = ?"
NOTE_ATTEMPT = "REPLACE INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
ALL_ATTEMPTS = "SELECT * FROM attempts WHERE TRUE"
ENDED_ATTEMPTS = "SELECT * FROM attempts WHERE ended_at IS NOT NULL AND outcome IS NOT NULL"
DELIVERY_EVENTS = "SELECT * FROM delivery_events WHERE TRUE"
NEWEST_NUMBER = (
    "SELECT max(coalesce((SELECT max(number) FROM attempts WHERE number < :highest), 0), "
    "coalesce((SELECT max(number) FROM delivery_events WHERE number < :highest), 0))"
)
PUT_CERTIFICATE = "INSERT INTO certificates VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
PUT_DOMAIN = f"REPLACE INTO domains VALUES ({', '.join('?' * 23)})"  # noqa: S608 -- question marks
PUT_DELIVERY = f"REPLACE INTO deliveries VALUES ({', '.join('?' * 14)})"  # noqa: S608 -- question marks
NOTE_DELIVERY = "REPLACE INTO delivery_events VALUES (?, ?, ?, ?, ?, ?, ?)"
ALL_DELIVERIES = "SELECT * FROM deliveries"
PUT_LIMIT = "REPLACE INTO limits VALUES (?, ?, ?)"
NEWEST_CERTIFICATES = "SELECT * FROM certificates WHERE fingerprint IN (SELECT fingerprint FROM domains)"
CERTIFICATES_OF = "SELECT * FROM certificates WHERE domain = :domain ORDER BY not_before"
ALL_DOMAINS = "SELECT * FROM domains"
ALL_LIMITS = "SELECT * FROM limits"
PUT_WANTED = "INSERT INTO wanted VALUES (?)"
ALL_WANTED = "SELECT domain FROM wanted"
TOLD = ""
"""In ``wanted`` among the names: it is known which they are, if only that there are none."""

_ORDERS, _HOLD, _TAILNET = "orders", "hold", "tailnet:"


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _moment_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else _moment(seconds)


def from_certificate(domain: str, leaf: Certificate, seen_at: datetime) -> tuple[Any, ...]:
    """Return a row of ``certificates``."""
    return (
        bytes.fromhex(leaf.fingerprint),
        domain,
        None if leaf.names == (domain,) else " ".join(leaf.names),
        leaf.serial_number.to_bytes(leaf.serial_number.bit_length() // 8 + 1, "big"),  # too long for INTEGER
        leaf.not_before.timestamp(),
        leaf.not_after.timestamp(),
        leaf.issuer,
        leaf.ari_id,
        seen_at.timestamp(),
    )


def to_certificate(row: tuple[Any, ...]) -> Certificate:
    """Return what a row of ``certificates`` says."""
    fingerprint, domain, names, serial, not_before, not_after, issuer, ari_id, _seen_at = row
    return Certificate(
        names=(domain,) if names is None else tuple(names.split()),
        serial_number=int.from_bytes(serial, "big"),
        not_before=_moment(not_before),
        not_after=_moment(not_after),
        issuer=issuer,
        fingerprint=fingerprint.hex(),
        ari_id=ari_id,
    )


def from_record(record: DomainRecord) -> tuple[Any, ...]:
    """Return a row of ``domains``."""
    leaf, window, error, due = record.leaf, record.window, record.error, record.due()
    is_limit = isinstance(error, RateLimitedError)
    retry_after = error.retry_after if isinstance(error, RateLimitedError) else None
    return (
        record.domain,
        record.wanted_since.timestamp(),
        leaf and bytes.fromhex(leaf.fingerprint),
        window and window.start.timestamp(),
        window and window.end.timestamp(),
        window and window.explanation_url,
        _seconds(record.window_check_at),
        due and due[0].timestamp(),
        record.failures,
        record.repeats,
        error and type(error).__name__,
        error and str(error),
        None if retry_after is None else retry_after.total_seconds(),
        error.limit.name if is_limit and isinstance(error, RateLimitedError) else None,
        _seconds(record.ended_at),
        _seconds(record.succeeded_at),
        _seconds(record.retry_at),
        _seconds(record.order_at),
        _seconds(record.hold_until),
        record.attempts_full_at.timestamp(),
        record.certificates_full_at.timestamp(),
        record.is_lost,
        record.is_forced,
    )


def to_record(row: tuple[Any, ...], certificates: Mapping[str, Certificate]) -> DomainRecord:
    """Return what a row of ``domains`` says."""
    window = None
    if row[3] is not None:
        window = RenewalWindow(start=_moment(row[3]), end=_moment(row[4]), explanation_url=row[5])
    return DomainRecord(
        domain=row[0],
        wanted_since=_moment(row[1]),
        leaf=certificates.get(row[2]),
        window=window,
        window_check_at=_moment_or_none(row[6]),
        failures=int(row[8]),
        repeats=int(row[9]),
        error=None if row[10] is None else _error(*row[10:14]),
        ended_at=_moment_or_none(row[14]),
        succeeded_at=_moment_or_none(row[15]),
        retry_at=_moment_or_none(row[16]),
        order_at=_moment_or_none(row[17]),
        hold_until=_moment_or_none(row[18]),
        attempts_full_at=_moment(row[19]),
        certificates_full_at=_moment(row[20]),
        is_lost=bool(row[21]),
        is_forced=bool(row[22]),
    )


def _error(name: str, text: str, retry_after: float | None, limit: str | None) -> LocalAPIError:
    error = getattr(errors, name, None)
    if error is RateLimitedError:
        return RateLimitedError(
            text,
            retry_after=None if retry_after is None else timedelta(seconds=retry_after),
            limit=RateLimit[limit or "OTHER"],
        )
    if isinstance(error, type) and issubclass(error, LocalAPIError):
        return error(text)
    return errors.IssuanceError(text)  # a class of a newer version, say


def from_account(account: AccountState) -> Iterator[tuple[str, float | None, bool]]:
    """Yield the rows of ``limits``."""
    yield _ORDERS, account.orders_full_at.timestamp(), False
    if account.hold_until is not None:
        yield _HOLD, account.hold_until.timestamp(), True
    for name, tailnet in account.tailnets.items():
        yield _TAILNET + name, tailnet.full_at.timestamp(), tailnet.is_exceeded


def to_account(found: Iterable[tuple[str, float, int]]) -> AccountState:
    """Return what the rows of ``limits`` say."""
    account = AccountState()
    for name, full_at, is_exceeded in found:
        if name == _ORDERS:
            account.orders_full_at = _moment(full_at)
        elif name == _HOLD:
            account.hold_until = _moment(full_at)
        else:
            tailnet = TailnetState(_moment(full_at), bool(is_exceeded))
            account.tailnets[name.removeprefix(_TAILNET)] = tailnet
    return account


def from_delivery(record: DeliveryRecord) -> tuple[Any, ...]:
    """Return a row of ``deliveries``."""
    return (
        record.target,
        record.domain,
        bytes.fromhex(record.fingerprint),
        None if record.before is None else bytes.fromhex(record.before),
        record.state.value,
        record.since.timestamp(),
        record.failures,
        record.error,
        record.output,
        _seconds(record.retry_at),
        _seconds(record.checked_at),
        record.served,
        "\n".join(record.warnings) or None,
        _seconds(record.good_until),
    )


def to_delivery(row: tuple[Any, ...]) -> DeliveryRecord:
    """Return what a row of ``deliveries`` says."""
    return DeliveryRecord(
        target=row[0],
        domain=row[1],
        fingerprint=row[2].hex(),
        before=None if row[3] is None else row[3].hex(),
        state=DeliveryState(row[4]),
        since=_moment(row[5]),
        failures=int(row[6]),
        error=row[7],
        output=row[8],
        retry_at=_moment_or_none(row[9]),
        checked_at=_moment_or_none(row[10]),
        served=row[11],
        warnings=() if row[12] is None else tuple(row[12].split("\n")),
        good_until=_moment_or_none(row[13]),
    )


def from_delivery_event(event: DeliveryEvent) -> tuple[Any, ...]:
    """Return a row of ``delivery_events``, without its number, which comes first."""
    fingerprint = event.fingerprint and bytes.fromhex(event.fingerprint)
    return event.at.timestamp(), event.target, event.domain, event.outcome, event.text, fingerprint


def to_delivery_event(row: tuple[Any, ...]) -> DeliveryEvent:
    """Return what a row of ``delivery_events`` says."""
    number, at, target, domain, outcome, text, fingerprint = row
    _check_texts(target, domain, outcome, text)
    return DeliveryEvent(
        number=number,
        at=_moment(at),
        target=target,
        domain=domain,
        outcome=outcome,
        text=text,
        fingerprint=fingerprint and fingerprint.hex(),
    )


def to_attempt(row: tuple[Any, ...]) -> Attempt:
    """Return what a row of ``attempts`` says."""
    number, domain, request, started_at, ended_at, outcome, text, fingerprint = row
    _check_texts(domain, request, outcome, text)
    return Attempt(
        number=number,
        domain=domain,
        request=request,
        started_at=_moment(started_at),
        ended_at=_moment_or_none(ended_at),
        outcome=outcome,
        text=text,
        fingerprint=fingerprint and fingerprint.hex(),
    )


def _check_texts(*values: object) -> None:
    if not all(value is None or isinstance(value, str) for value in values):
        raise TypeError("a blob where text should be")
