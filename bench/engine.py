"""What the engine costs without a process around it: a year on a virtual clock, its journal, its statistics.

Started by ``run.py``, once for each part, so that none inherits what another has left. It prints one JSON
list of lines: what, goal, measured.

python bench/engine.py year|journal|statistics [--quick]
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import logging
import statistics
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING

import trio
import trio.testing

from measure import short_folder
from tscert_trio import NO_LIMITS, LocalClient, RetryPolicy, open_cert_manager
from tscert_trio.certificate import Certificate
from tscert_trio.errors import ValidationError
from tscert_trio.journal import Journal
from tscert_trio.sandbox import open_sandbox
from tscert_trio.schedule import LETS_ENCRYPT, DomainRecord, Ledger, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Line = tuple[str, str, str]

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
VALIDITY = timedelta(days=90)
PERIOD = timedelta(days=60)
"""From one renewal to the next."""
YEAR_SECONDS = 365 * 86_400
POLICY = RetryPolicy(jitter=0.1, urgency=True)
"""What the service uses."""
CALLS = 20
RENEWALS, FAILURES = 6, 2
REFUSAL = (
    "acme: authorization error for {}: 403 urn:ietf:params:acme:error:unauthorized: No TXT record found at "
    "_acme-challenge.{}"
)


def domains(count: int) -> list[str]:
    """Return so many names of one tailnet."""
    return [f"svc-{number}.tail1234.ts.net" for number in range(count)]


def measure_year(*, quick: bool) -> list[Line]:
    """Live through a year in which nothing happens but renewals."""
    count = 10 if quick else 100
    goal = "" if quick else "60"
    before = time.perf_counter()
    orders = trio.run(live, count, clock=trio.testing.MockClock(autojump_threshold=0))
    seconds = time.perf_counter() - before
    what = f"simulated year of {count} domains, client and sandbox: s"
    return [(what, goal, f"{seconds:.1f} ({orders} orders)")]


async def live(count: int) -> int:
    """Keep so many certificates for a year; return how many were ordered."""
    names = domains(count)

    def clock() -> datetime:
        return EPOCH + timedelta(seconds=trio.current_time())

    with short_folder() as folder, Journal(folder / "journal") as journal:
        async with (
            open_sandbox(cert_domains=names, clock=clock, validity=VALIDITY) as sandbox,
            LocalClient(sandbox.socket_path, clock=clock) as client,
            open_cert_manager(
                client,
                retry_policy=POLICY,
                clock=clock,
                rng=Random(1),  # noqa: S311 -- jitter, no secret
                journal=journal,
            ) as manager,
        ):
            manager.ensure_domains(names)
            await trio.sleep(YEAR_SECONDS)
            assert all(each.leaf and each.leaf.valid_at(clock()) for each in manager.statistics().domains)
            return len(sandbox.orders)


def measure_journal(*, quick: bool) -> list[Line]:
    """Write down what a year of 5,000 names writes."""
    count = 500 if quick else 5_000
    with short_folder() as folder, short_folder() as other:
        diary, calm = Diary(folder / "journal"), Diary(other / "journal", pause=0.4)
        trio.run(diary.write_year, domains(count))
        trio.run(calm.write_year, domains(count))
    calls, attempts = sorted(diary.calls), len(diary.calls) // 2
    usual = calls[len(calls) * 999 // 1_000] * 1_000
    longest = f"{calls[-1] * 1_000:.1f} (99.9 % below {usual:.1f}; most CPU {diary.most_cpu * 1_000:.1f})"
    what = f"journal, a year of {count:,} domains"
    goal = "" if quick else "20"
    return [
        (f"{what}: MB with -wal", goal, f"{calm.size:.1f} (without a pause {diary.size:.1f})"),
        (f"{what}: CPU ms per attempt", "0.1", f"{diary.cpu * 1_000 / attempts:.3f} ({attempts:,} attempts)"),
        (f"{what}: ms of the longest call", "5", longest),
    ]


class Diary:
    """Writes attempts as cert loops do, and clocks each call.

    Python's collector of garbage is off meanwhile: it may come in any call, and is not the journal's.

    Args:
        path: of the journal.
        pause: seconds to rest after each 500 attempts, so that a checkpoint finds nobody writing.
    """

    def __init__(self, path: Path, *, pause: float = 0) -> None:
        self.path = path
        self.pause = pause
        self.calls: list[float] = []
        """Seconds that each begin and each end took."""
        self.cpu = 0.0
        """CPU seconds of these calls, and of the checkpoints in their thread."""
        self.size = 0.0
        """MB of 1,048,576 bytes of all its files at last, while it is still open."""
        self.most_cpu = 0.0
        """CPU seconds of the call that took the most: the rest of a long call is the machine's."""
        self.ledger = Ledger(LETS_ENCRYPT)
        self.rng = Random(1)  # noqa: S311 -- jitter, no secret

    async def write_year(self, names: list[str]) -> None:
        """Write all renewals and failures of these names, with checkpoints as the service makes them."""
        gc.disable()
        in_all, here = time.process_time(), time.thread_time()
        with Journal(self.path) as journal:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(journal.run)
                records = [DomainRecord(domain=name, wanted_since=EPOCH) for name in names]
                for number, (record, at, is_failure) in enumerate(self.attempts(records)):
                    await self.write(journal, record, at, number=number, is_failure=is_failure)
                    if self.pause and number % 500 == 499:
                        await trio.sleep(self.pause)
                nursery.cancel_scope.cancel()
            self.size = sum(part.stat().st_size for part in self.path.parent.iterdir()) / (1 << 20)
            self.cpu += (time.process_time() - in_all) - (time.thread_time() - here)

    def attempts(self, records: list[DomainRecord]) -> Iterator[tuple[DomainRecord, datetime, bool]]:
        """Yield whose turn it is, when, and whether it fails: before two of the renewals, all do once."""
        for period in range(RENEWALS):
            begin = EPOCH + PERIOD * period
            gap = timedelta(days=1) / len(records)
            self.rng.shuffle(records)  # what is due together is in no order
            rounds = (True, False) if period < FAILURES else (False,)
            for day, is_failure in enumerate(rounds):
                for number, record in enumerate(records):
                    yield record, begin + timedelta(days=day) + gap * number, is_failure

    async def write(
        self, journal: Journal, record: DomainRecord, at: datetime, *, number: int, is_failure: bool
    ) -> None:
        """Write one attempt, as a cert loop does."""
        request = Request.ISSUE if record.leaf is None else Request.RENEW
        is_first = record.leaf is None
        self.ledger.take(record, at)
        key = self.clocked(lambda: journal.begin(record.domain, request, at))
        await trio.lowlevel.checkpoint()
        ended_at = at + timedelta(seconds=8)
        outcome, text = "issued", None
        if is_failure:
            error = ValidationError(REFUSAL.format(record.domain, record.domain))
            record.failed(error, ended_at, policy=POLICY, rng=self.rng, is_order=True)
            self.ledger.settle_failure(record, error, ended_at)
            outcome, text = type(error).__name__, str(error)
        else:
            record.saw(certificate(record.domain, number, ended_at), ended_at)
            self.ledger.settle_success(record, started_at=at, ended_at=ended_at, is_first=is_first)
        self.clocked(lambda: journal.end(key, ended_at, outcome, text, record, self.ledger.account))
        await trio.lowlevel.checkpoint()

    def clocked(self, call: Callable[[], int | None]) -> int:
        """Call, and note what it took."""
        wall, cpu = time.perf_counter(), time.thread_time()
        value = call()
        used = time.thread_time() - cpu
        self.calls.append(time.perf_counter() - wall)
        self.cpu += used
        self.most_cpu = max(self.most_cpu, used)
        return value or 0


def certificate(domain: str, number: int, at: datetime) -> Certificate:
    """Return the facts of a certificate issued just now, as long as Let's Encrypt's are."""
    digest = sha256(f"{domain} {number}".encode()).hexdigest()
    return Certificate(
        names=(domain,),
        serial_number=int(digest[:36], 16),
        not_before=at - timedelta(hours=1),
        not_after=at - timedelta(hours=1) + VALIDITY,
        issuer="CN=E7,O=Let's Encrypt,C=US",
        fingerprint=digest,
        ari_id=f"{digest[:27]}.{digest[27:52]}",
    )


def measure_statistics(*, quick: bool) -> list[Line]:
    """Take snapshots of cert loops that have a certificate each."""
    return trio.run(take_snapshots, 500 if quick else 5_000)


async def take_snapshots(count: int) -> list[Line]:
    """Return the lines of one manager with so many names."""
    names = domains(count)
    async with (
        open_sandbox(cert_domains=names) as sandbox,
        LocalClient(sandbox.socket_path) as client,
        open_cert_manager(client, retry_policy=POLICY, limits=NO_LIMITS) as manager,
    ):
        manager.ensure_domains(names)
        with trio.fail_after(120):
            while any(each.leaf is None for each in manager.statistics().domains):  # noqa: ASYNC110
                await trio.sleep(0.5)

        def read_all() -> None:
            at = manager.clock()
            for each in manager.statistics().domains:
                _ = each.runway(at), each.due_at

        what = f"statistics of {count:,} domains"
        goal = "2" if count < 5_000 else "20"
        return [
            (f"{what}: ms", goal, f"{median_ms(manager.statistics):.1f}"),
            (f"{what}, each runway and due_at read: ms", "", f"{median_ms(read_all):.1f}"),
        ]


def median_ms(call: Callable[[], object]) -> float:
    """Return the median of twenty calls, in milliseconds."""
    moments = [time.perf_counter()]
    for _ in range(CALLS):
        call()
        moments.append(time.perf_counter())
    return statistics.median(after - before for before, after in itertools.pairwise(moments)) * 1_000


PARTS = {"year": measure_year, "journal": measure_journal, "statistics": measure_statistics}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What the engine costs by itself.")
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--quick", action="store_true", help="a tenth of the domains")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    print(json.dumps(PARTS[options.part](quick=options.quick)), flush=True)
