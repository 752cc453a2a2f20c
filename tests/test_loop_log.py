"""What the log tells besides what failed: that a certificate is overdue, that it is over, what waits."""

import logging
from datetime import timedelta

import trio
from conftest import A, virtual_clock

from tscert_trio import LocalClient, RetryPolicy, open_cert_manager
from tscert_trio.sandbox import Fault, open_sandbox
from tscert_trio.schedule import Mode

DAY, HOUR, MINUTE = 86400, 3600, 60
DAILY = RetryPolicy(initial=timedelta(days=1))


def open_manager(client, **options):
    return open_cert_manager(client, clock=virtual_clock, **options)


def messages(caplog, *, level=logging.WARNING):
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


async def test_a_failed_renewal_says_since_when_the_certificate_is_due(
    autojump_clock, sandbox, client, caplog
):
    async with open_manager(client, retry_policy=DAILY) as manager:
        manager.ensure_domains([A])
        await trio.sleep(DAY)
        sandbox.add_fault(Fault.validation())
        await trio.sleep(60 * DAY)
    told = messages(caplog)[-1]
    assert "The present certificate is valid until 2026-04-0" in told
    assert ", and was due at 2026-03-0" in told


async def test_the_end_of_a_certificate_is_told_at_once_once_and_as_an_error(
    autojump_clock, sandbox, client, caplog
):
    """Between two attempts, too: they may be a day apart."""
    async with open_manager(client, retry_policy=DAILY) as manager:
        manager.ensure_domains([A])
        await trio.sleep(1)
        end = (sandbox.certificate(A).not_after - virtual_clock()).total_seconds()
        sandbox.add_fault(Fault.validation("No TXT record found"))
        await trio.sleep(end - 1)
        assert messages(caplog, level=logging.ERROR) == []
        await trio.sleep(2)
        (told,) = messages(caplog, level=logging.ERROR)
        assert told.startswith(f"{A}: The certificate ENDED at 2026-04-")
        assert "No TXT record found" in told
        assert "Next attempt at " in told
        await trio.sleep(HOUR)
        assert len(messages(caplog, level=logging.ERROR)) == 1
        await trio.sleep(DAY)
    assert "request failed" in messages(caplog, level=logging.ERROR)[1]


async def test_a_renewal_in_time_says_nothing_of_an_end(autojump_clock, sandbox, client, caplog):
    async with open_manager(client) as manager:
        manager.ensure_domains([A])
        await trio.sleep(100 * DAY)
    assert messages(caplog) == []


async def test_a_limit_that_makes_other_names_wait_is_told_once_with_its_end(autojump_clock, caplog):
    caplog.set_level(logging.INFO)
    names = [f"n{number}.tail1234.ts.net" for number in range(53)]
    async with (
        open_sandbox(cert_domains=names, clock=virtual_clock, limits=True) as sandbox,
        LocalClient(sandbox.socket_path, clock=virtual_clock) as client,
        open_manager(client) as manager,
    ):
        manager.ensure_domains(names)
        await trio.sleep(20 * MINUTE)
        (begin,) = [text for text in messages(caplog) if text.startswith("tail1234.ts.net: ")]
        (limit,) = [limit for limit in manager.statistics().limits if limit.scope == "tail1234.ts.net"]
        assert limit.is_exceeded
        assert limit.until is not None
        until = f"{limit.until.astimezone():%Y-%m-%d %H:%M:%S%z}"
        assert begin.endswith(
            f"new names in a week is reached; what it is for waits, the first until {until}"
        )
        await trio.sleep(20 * DAY)
        statistics = manager.statistics()
    assert not any(limit.is_exceeded for limit in statistics.limits)
    assert all(each.leaf is not None for each in statistics.domains)
    ends = [text for text in messages(caplog, level=logging.INFO) if text.startswith("tail1234.ts.net: ")]
    assert ends[1:] == ["tail1234.ts.net: what the CA wanted is over, orders go on"]


async def test_a_timeout_says_how_long_was_waited_before_what_tailscaled_said_in_the_end(
    autojump_clock, sandbox, client, caplog
):
    """Tailscaled's own words then are only those of our giving up."""
    sandbox.add_fault(Fault.hang(count=1))
    async with open_manager(client) as manager:
        manager.ensure_domains([A])
        await trio.sleep(302)
    assert "no answer within 5m; told to give up, tailscaled said: " in messages(caplog)[0]


async def test_a_guest_whose_certificate_ends_is_promised_no_attempt(autojump_clock, caplog):
    """A guest looks every five minutes: so the life is a short one."""
    async with (
        open_sandbox(cert_domains=[A], clock=virtual_clock, validity=timedelta(days=2)) as sandbox,
        LocalClient(sandbox.socket_path, clock=virtual_clock) as client,
        open_manager(client) as keeper,
    ):
        keeper.ensure_domains([A])
        await trio.sleep(1)
        async with open_manager(client, mode_of=lambda _domain: Mode.GUEST) as manager:
            manager._records |= keeper._records
            keeper.ensure_domains([])
            manager.ensure_domains([A])
            await trio.sleep(3 * DAY)
            assert manager.statistics()[A].next_attempt_at is None
    told = messages(caplog, level=logging.ERROR)[-1]
    assert told.startswith(f"{A}: The certificate ENDED at ")
    assert told.endswith("It is not asked for again: nothing is ordered for it here.")
    assert "9999" not in caplog.text
