"""When what was wrong is over, all names go on within a minute or so, and without a crowd."""

from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
import trio
from conftest import EPOCH, A, cert_times, virtual_clock
from year import DAY, HOUR

from tscert_trio import (
    CATroubleError,
    CAUnreachableError,
    ControlError,
    DomainState,
    LocalClient,
    RenewalInfoClient,
    UnreachableError,
    open_cert_manager,
)
from tscert_trio.localapi.transport import UnixTransport
from tscert_trio.sandbox import Fault, Stage, open_sandbox

NAMES = [f"n{number}.tail1234.ts.net" for number in range(40)]
SAMPLE_SECONDS = 0.05


@asynccontextmanager
async def open_forty(clock=virtual_clock, *, has_ari=False, **options):
    """Open a node with forty names, and a manager of them."""
    async with (
        open_sandbox(cert_domains=NAMES, clock=clock, **options) as sandbox,
        LocalClient(sandbox.socket_path, clock=clock) as client,
        RenewalInfoClient(
            sandbox.directory_url, transport=UnixTransport(sandbox.ca_socket_path), clock=clock
        ) as renewal_info,
        open_cert_manager(client, clock=clock, renewal_info=renewal_info if has_ari else None) as manager,
    ):
        manager.ensure_domains(NAMES)
        yield sandbox, manager


def errors(manager):
    return {type(each.last_error) for each in manager.statistics().domains}


async def most_at_once(manager, seconds):
    """Return how many requests for new certificates were under way at once during these seconds."""
    most = 0
    for _ in range(round(seconds / SAMPLE_SECONDS)):
        await trio.sleep(SAMPLE_SECONDS)
        states = [each.state for each in manager.statistics().domains]
        most = max(most, states.count(DomainState.REQUESTING))
    return most


def calls_since(sandbox, moment):
    """Return when certificates were asked for, in seconds after a moment."""
    times = ((call.at - EPOCH).total_seconds() - moment for call in sandbox.calls if call.domain)
    return sorted(at for at in times if at >= 0)


async def stop(sandbox):
    await sandbox.stop()


async def start(sandbox):
    await sandbox.start()


async def logout(sandbox):
    sandbox.logout()


async def login(sandbox):
    sandbox.login()


@pytest.mark.parametrize(("away", "back"), [(stop, start), (logout, login)])
@pytest.mark.parametrize("hours", [0.2, 3])
async def test_forty_names_that_tailscaled_let_down_are_looked_at_within_a_minute_of_its_return(
    autojump_clock, away, back, hours
):
    async with open_forty() as (sandbox, manager):
        await trio.sleep(DAY - 60)
        await away(sandbox)
        await trio.sleep(hours * HOUR)
        assert errors(manager) == {UnreachableError}
        await back(sandbox)
        began = trio.current_time()
        await trio.sleep(60 + 5)
        assert errors(manager) == {type(None)}
        times = calls_since(sandbox, began)
        await trio.sleep(HOUR)
        assert calls_since(sandbox, began) == times
    assert len(times) >= len(NAMES)
    assert times[-1] <= 61 + 5


async def test_forty_names_that_the_control_server_let_down_go_on_within_a_minute_of_a_word_on_the_bus(
    autojump_clock,
):
    async with open_forty(issue_delay=0.5) as (sandbox, manager):
        sandbox.add_fault(Fault.control("the DNS provider is away"))
        await trio.sleep(2 * HOUR)
        assert errors(manager) == {ControlError}
        sandbox.clear_faults()
        began = trio.current_time()
        sandbox.set_cert_domains(sandbox.cert_domains)
        assert 4 < await most_at_once(manager, 60) <= 8
        assert errors(manager) == {type(None)}
        times = calls_since(sandbox, began)
    assert len(times) == len(NAMES)
    assert 3 < times[-1] - times[0] <= 5 + 0.5


@pytest.mark.parametrize("hours", [1, 50])
@pytest.mark.parametrize("way", ["away", "shut"])
async def test_forty_names_that_the_ca_let_down_go_on_within_minutes_of_its_return(
    autojump_clock, way, hours
):
    async with open_forty(has_ari=True, issue_delay=0.5) as (sandbox, manager):
        let_down = sandbox.set_ca_away if way == "away" else sandbox.set_egress_shut
        let_down()
        await trio.sleep(hours * HOUR)
        assert {"away": CATroubleError, "shut": CAUnreachableError}[way] in errors(manager)
        let_down(False)
        assert 4 < await most_at_once(manager, 330) <= 8
        assert errors(manager) == {type(None)}
        assert sandbox.directory_calls  # that was the probe
    assert len([order for order in sandbox.orders if not order.refused]) == len(NAMES)


async def test_a_bus_that_talks_all_the_time_leads_nobody_past_the_limit_on_failed_validations(
    autojump_clock, sandbox, client
):
    sandbox.add_fault(Fault.control("no DNS"))
    async with open_cert_manager(client, clock=virtual_clock) as manager:
        manager.ensure_domains([A])
        for _ in range(HOUR):
            await trio.sleep(1)
            sandbox.set_cert_domains(sandbox.cert_domains)
    times = cert_times(sandbox)
    assert all(later - earlier >= 60 for earlier, later in zip(times, times[1:], strict=False))
    assert [at for n, at in enumerate(times) if at < (n - 4) * 900] == []
    assert len(times) == 5 + 3


class Leaping:
    """A wall clock that is set while Trio's goes on."""

    leap = timedelta(0)

    def __call__(self):
        return virtual_clock() + self.leap


@pytest.mark.parametrize("slept", [timedelta(days=2), timedelta(days=40)])
async def test_a_machine_that_slept_while_forty_renewals_came_due_catches_up_in_five_minutes(
    autojump_clock, slept
):
    clock = Leaping()
    async with open_forty(clock, issue_delay=0.5) as (sandbox, manager):
        await trio.sleep(59 * DAY + 100)
        clock.leap = slept
        assert await most_at_once(manager, 330) <= 8
        leaves = {each.domain: each.leaf for each in manager.statistics().domains}
        assert all(
            leaf.serial_number == sandbox.certificate(name).serial_number for name, leaf in leaves.items()
        )
        assert all(leaf.not_before > clock() - timedelta(seconds=331) for leaf in leaves.values())
    assert len(sandbox.orders) == 2 * len(NAMES)


@pytest.mark.parametrize("back", [timedelta(hours=1), timedelta(days=400)])
async def test_a_clock_set_back_delays_no_retry(autojump_clock, sandbox, client, back):
    """The sandbox's own clock is right, so that its calls tell the true time."""
    clock = Leaping()
    sandbox.add_fault(Fault.answer(500, "something that nobody has seen before"))
    async with open_cert_manager(client, clock=clock) as manager:
        manager.ensure_domains([A])
        await trio.sleep(4000)
        clock.leap = -back
        await trio.sleep(2 * DAY)
        assert manager.statistics()[A].failures == len(cert_times(sandbox))
    schedule = [0, 60, 180, 420, 900, 1860, 3780, 7620, 15300, 30660, 61380, 122820]
    assert cert_times(sandbox) == pytest.approx(schedule)


async def test_a_clock_set_back_delays_no_look_and_causes_no_order(autojump_clock, sandbox, client):
    clock = Leaping()
    async with open_cert_manager(client, clock=clock) as manager:
        manager.ensure_domains([A])
        await trio.sleep(DAY + 60)
        clock.leap = -timedelta(hours=23)
        await trio.sleep(3 * DAY)
    assert cert_times(sandbox) == pytest.approx([0, DAY, 2 * DAY, 3 * DAY, 4 * DAY])
    assert len(sandbox.orders) == 1


async def test_while_a_certificate_has_not_begun_by_the_clock_nothing_is_asked(
    autojump_clock, sandbox, client
):
    """A tailscaled on the same clock would order another one, at a mere look."""
    clock = Leaping()
    async with open_cert_manager(client, clock=clock) as manager:
        manager.ensure_domains([A])
        await trio.sleep(HOUR)
        clock.leap = -timedelta(days=400)
        await trio.sleep(3 * DAY)
        assert cert_times(sandbox) == [0]
        clock.leap = timedelta(0)
        await trio.sleep(310)
    assert len(cert_times(sandbox)) == 2
    assert len(sandbox.orders) == 1


@pytest.mark.parametrize("back", [timedelta(hours=1), timedelta(days=400)])
async def test_a_clock_set_back_leaves_a_retry_after_as_long_as_it_is(autojump_clock, sandbox, client, back):
    clock = Leaping()
    sandbox.add_fault(Fault.rate_limited(retry_after=5 * HOUR, hang=False, count=1))
    async with open_cert_manager(client, clock=clock) as manager:
        manager.ensure_domains([A])
        await trio.sleep(HOUR)
        clock.leap = -back
        await trio.sleep(400)
        manager.renew(A)
        await trio.sleep(5 * HOUR)
    assert cert_times(sandbox) == pytest.approx([0, 5 * HOUR])


async def test_a_hundred_names_of_the_same_day_are_renewed_one_by_one(autojump_clock):
    names = [f"n{number}.tail1234.ts.net" for number in range(100)]
    async with (
        open_sandbox(cert_domains=names, clock=virtual_clock) as sandbox,
        LocalClient(sandbox.socket_path, clock=virtual_clock) as client,
        open_cert_manager(client, clock=virtual_clock) as manager,
    ):
        manager.ensure_domains(names)
        await trio.sleep(61 * DAY)
    days = sorted((order.at - EPOCH) / timedelta(days=1) for order in sandbox.orders[100:])
    assert len(days) == 100
    assert 60 <= days[0] < 60.2
    assert 60.7 < days[-1] <= 60.9 + 1e-3
    assert max(sum(day <= each < day + 1 / 24 for each in days) for day in days) <= 25


@pytest.mark.parametrize("fault", [Fault.hang(count=1), Fault.delay(100, at=Stage.ORDER, count=2)])
async def test_a_look_that_hangs_for_a_lost_certificate_is_given_up_for_a_proper_attempt(
    autojump_clock, sandbox, client, fault
):
    async with open_cert_manager(client, clock=virtual_clock) as manager:
        manager.ensure_domains([A])
        await trio.sleep(DAY - 1)
        sandbox.lose_certificate(A)
        sandbox.add_fault(fault)
        await trio.sleep(1000)
        assert manager.statistics()[A].state is DomainState.ISSUED
    assert cert_times(sandbox) == pytest.approx([0, DAY, DAY + 10 + 60])
