"""A year of trouble: no certificate is missing that could be had, and the CA's limits are kept.

In each scenario, once the trouble is over, every name has a valid certificate within an hour; and the CA,
which enforces Let's Encrypt's limits here, never has to.
"""

from datetime import timedelta

import pytest
from conftest import A, B, C
from year import DAY, HOUR, open_year

from tscert_trio import DomainState
from tscert_trio.sandbox import Fault

ALL = (A, B)
COME_LATER = "there have been too many requests, come back later"


async def all_well(year):
    """Nothing happens."""


def ca_away(days):
    async def script(year):
        await year.day(57)
        with year.fault():
            year.sandbox.set_ca_away()
            await year.day(57 + days)
            year.sandbox.set_ca_away(False)

    return script


def limited(hours, *, hang):
    """The CA wants silence just when renewals are due."""

    async def script(year):
        await year.day(60)
        with year.fault():
            year.sandbox.add_fault(Fault.rate_limited(retry_after=hours * HOUR, hang=hang, detail=COME_LATER))
            await year.day(60 + hours / 24)
            year.sandbox.clear_faults()

    return script


async def control_fails_for_ten_hours(year):
    """While one certificate is due, and another name is new."""
    await year.day(60.3)
    with year.fault(A, B, C):
        year.sandbox.add_fault(Fault.control("the DNS provider is away"))
        year.want(A, B, C)
        await year.day(60.3 + 10 / 24)
        year.sandbox.clear_faults()


def tailscaled_away(days, *, since):
    async def script(year):
        await year.day(since)
        with year.fault():
            await year.sandbox.stop()
            await year.day(since + days)
            await year.sandbox.start()

    return script


async def denied_for_a_month(year):
    await year.day(55)
    with year.fault():
        year.sandbox.set_permissions(cert=False, write=False)
        await year.day(86)
        year.sandbox.set_permissions()


async def laptop(year):
    """Asleep from 18:00 to 08:00, and once for seven weeks."""
    for day in range(1, 300):
        await year.day(day + 0.75)
        with year.fault():
            year.suspend(timedelta(hours=14 if day != 50 else 49 * 24))
            await year.day(day + 0.75 + 14 / 24)


async def withdrawn_and_back(year):
    await year.day(58)
    with year.fault(A):
        year.sandbox.set_cert_domains([B])
        await year.day(94)
        year.sandbox.set_cert_domains(ALL)


async def storage_fails(year):
    """The certificate is issued and lost, which counts against five a week."""
    await year.day(59)
    with year.fault():
        year.sandbox.add_fault(Fault.storage())
        await year.day(69)
        year.sandbox.clear_faults()


async def egress_shut_every_night(year):
    for day in range(50, 200):
        await year.day(day + 23 / 24)
        with year.fault():
            year.sandbox.set_egress_shut()
            await year.day(day + 29 / 24)
            year.sandbox.set_egress_shut(False)


async def one_name_hangs(year):
    """It must not keep the others from being renewed."""
    await year.day(58)
    with year.fault(A):
        year.sandbox.add_fault(Fault.hang(domain=A))
        await year.day(92)
        year.sandbox.clear_faults()
        await year.sandbox.stop()  # a renewal of tailscaled's own would hang for ever
        await year.sandbox.start()


async def bus_dies_and_loses_the_one_message(year):
    await year.day(60)
    with year.fault(A):
        year.sandbox.set_cert_domains([B])
        await year.day(91)
        year.sandbox.drop_watchers()
        year.sandbox.drop_next_message()
        year.sandbox.set_cert_domains(ALL)


SCENARIOS = {
    "CA away for a day": ca_away(1),
    "CA away for 10 days": ca_away(10),
    "CA away for 40 days": ca_away(40),
    "429 for an hour, as answer": limited(1, hang=False),
    "429 for an hour, hidden": limited(1, hang=True),
    "429 for two days, as answer": limited(48, hang=False),
    "429 for two days, hidden": limited(48, hang=True),
    "control fails": control_fails_for_ten_hours,
    "tailscaled away overnight": tailscaled_away(0.5, since=60),
    "tailscaled away for a month": tailscaled_away(32, since=59),
    "denied for a month": denied_for_a_month,
    "laptop": laptop,
    "withdrawn and back": withdrawn_and_back,
    "storage fails": storage_fails,
    "egress shut every night": egress_shut_every_night,
    "one name hangs": one_name_hangs,
    "bus dies": bus_dies_and_loses_the_one_message,
}
NEEDS_ONE_NAME = ("CA", "tailscaled", "denied", "egress", "laptop")  # what is asked often takes its time
VARIANTS = {
    "alone": {"version": "1.98.10"},
    "beside its own loop": {"version": "1.104.5", "own_loop": True},
    "restarted": {"version": "1.104.5", "restart_every": 3.1},
}


def check(year):
    """Assert that nothing was missing that could be had, and no limit of the CA was passed."""
    allowed = HOUR * (year.faults + 1)
    assert {name: seconds for name, seconds in year.missing.items() if seconds > allowed} == {}
    assert [order for order in year.sandbox.orders if order.refused and "in the last" in order.refused] == []


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_no_certificate_is_missing_that_could_be_had(autojump_clock, tmp_path, scenario, variant):
    names = (A,) if scenario.startswith(NEEDS_ONE_NAME) else ALL
    has_ari = scenario.startswith(("CA", "egress"))
    async with open_year(names, tmp_path / "journal", has_ari=has_ari, **VARIANTS[variant]) as year:
        await SCENARIOS[scenario](year)
        await year.day(365)
        check(year)


@pytest.mark.parametrize("own_loop", [False, True])
@pytest.mark.parametrize("validity", [90, 45, 160 / 24])
async def test_all_goes_well_with_one_order_for_each_renewal(autojump_clock, tmp_path, validity, own_loop):
    async with open_year([A], tmp_path / "journal", validity=validity, own_loop=own_loop) as year:
        await year.day(365)
        check(year)
        share = 1 / 2 if validity < 10 else 2 / 3
        assert 365 / (validity * (share + 0.01)) <= len(year.sandbox.orders) <= 365 / (validity * share) + 1


@pytest.mark.parametrize("own_loop", [False, True])
async def test_a_certificate_that_the_ca_has_revoked_is_replaced_within_hours(
    autojump_clock, tmp_path, own_loop
):
    """The CA moves its window into the past. tailscaled has asked for it once, and does not again."""
    async with open_year([A], tmp_path / "journal", has_ari=True, own_loop=own_loop) as year:
        await year.day(30)
        old = year.sandbox.certificate(A)
        now = year.clock()
        year.sandbox.set_ari_window(A, now - timedelta(days=2), now - timedelta(days=1))
        await year.day(30.26)  # it is asked every six hours
        assert year.sandbox.certificate(A).serial_number != old.serial_number
        await year.day(88)
        assert len(year.sandbox.orders) == 2


@pytest.mark.parametrize("version", ["1.98.10", "1.104.5"])
async def test_sixty_new_names_come_in_as_fast_as_the_tailnets_limit_lets_them(
    autojump_clock, tmp_path, version
):
    """The CA gives a tailnet fifty new names at once, and then one every 3.36 hours."""
    names = [f"n{number}.tail1234.ts.net" for number in range(60)]
    async with open_year(names, tmp_path / "journal", version=version, issue_delay=20) as year:

        def issued():
            return sum(year.sandbox.certificate(name) is not None for name in names)

        at_once = 1 if version == "1.98.10" else 8
        await year.day((50 / at_once * 20 + 600) / DAY)
        first = issued()
        assert 50 <= first < 50 + at_once  # the CA looks when an order comes, and counts when it issues
        assert all(each.failures <= 1 for each in year.manager.statistics().domains)
        waiting = [each for each in year.manager.statistics().domains if each.leaf is None]
        assert {each.state for each in waiting} == {DomainState.LIMITED}
        slots = sorted((each.next_attempt_at - year.clock()).total_seconds() / HOUR for each in waiting)
        assert slots == pytest.approx([3.36 * n for n in range(1, 61 - first)], abs=0.5)
        await year.day((11 * 3.36 + 0.5) / 24)
        assert issued() == 60
        refused = [order for order in year.sandbox.orders if order.refused]
        assert len(refused) <= at_once + 1


async def test_a_name_that_hangs_starves_nobody_on_a_tailscaled_with_one_lock(autojump_clock, tmp_path):
    names = [f"n{number}.tail1234.ts.net" for number in range(20)]
    async with open_year(names, tmp_path / "journal", version="1.86.5") as year:
        with year.fault(names[0]):
            year.sandbox.add_fault(Fault.hang(domain=names[0]))
            await year.day(1 / 24)
            assert sum(year.sandbox.certificate(name) is not None for name in names) == 19
            await year.day(100)
        check(year)
