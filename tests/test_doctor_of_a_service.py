"""The doctor beside a service that runs: with its settings, with others, and when it may not be asked."""

import json
import os
from datetime import UTC, datetime, timedelta

import pytest
from certs import facts
from house import open_house, tailnet_name
from statuses import cert, delivery, domain, statistics

from tscert_trio import DomainState
from tscert_trio.delivery_record import DeliveryRecord
from tscert_trio.doctor import Finding, Level, examine, permission
from tscert_trio.doctor.finding import one_block_a_name
from tscert_trio.doctor.names import UNLISTED_REMEDY
from tscert_trio.errors import AccessDeniedError, ControlError, NoStatusServiceError, NotACertDomainError
from tscert_trio.journal import open_state_folder
from tscert_trio.sandbox import open_sandbox
from tscert_trio.schedule import AccountState, DomainRecord, Mode
from tscert_trio.settings import MEMORY, Settings
from tscert_trio.status.making import make_report
from tscert_trio.survey import RunningService

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BOX, SHOP, MAIL, WIKI = map(tailnet_name, ("box", "shop", "mail", "wiki"))


@pytest.fixture(scope="module")
def house():
    """A service that keeps a good name and one that is no CertDomain, whose hook fails."""
    with open_house("box", "shop") as house:
        house.start(BOX, WIKI, "--hook", "/bin/false", "--no-ari")
        yield house


def findings_of(house, *arguments, **variables):
    result = house.run("doctor", "--json", "--no-ari", *arguments, **variables)
    assert result.stderr == "", result
    return json.loads(result.stdout)


def the(findings, check):
    (found,) = (each for each in findings if each["check"] == check)
    return found


def with_its_own(house, *arguments):
    own = ("--socket", house.tailscaled, "--hook", "/bin/false")
    return findings_of(house, *own, *arguments)


def test_with_the_settings_of_the_running_service_there_is_nothing_to_say_of_them(house):
    findings = with_its_own(house, BOX, WIKI)
    assert [each for each in findings if each["check"] == "settings"] == []
    assert the(findings, "service")["text"] == f"runs as process {house.service.child.pid}"


def test_without_its_options_it_says_first_that_another_installation_is_looked_at(house, tmp_path):
    first, *rest = findings_of(house, "--socket", tmp_path / "s", TSCERT_STATE=str(tmp_path / "state"))
    assert (first["level"], first["check"]) == ("warning", "settings")
    number = house.service.child.pid
    assert first["text"].startswith(f"these are not the settings of the running service (process {number}): ")
    assert f"it asks a tailscaled that answers, and none does on {tmp_path / 's'}" in first["text"]
    assert "it has targets that are not in these: /bin/false" in first["text"]
    assert f"its state folder is not {tmp_path / 'state'}" in first["text"]
    assert first["remedy"].startswith("give doctor the same options, or --config; ")
    assert the(rest, "service")["text"] == f"runs as process {number}, with another state folder"


def test_names_that_differ_are_told(house):
    first, *_ = with_its_own(house, BOX, SHOP)
    assert f"it keeps names that these do not want: {WIKI}" in first["text"]
    assert f"these want names that it does not keep: {SHOP}" in first["text"]


def test_what_is_wrong_with_the_running_service_is_told_whatever_the_settings_are(house):
    findings = findings_of(house, "--socket", house.tailscaled)
    wiki = the(findings, f"name {WIKI}")
    assert wiki["level"] == "bad"
    assert wiki["text"] == f"is no CertDomain of this node; those are {BOX}, {SHOP}"
    assert wiki["remedy"] == UNLISTED_REMEDY
    delivery = the(findings, "delivery /bin/false")
    assert delivery["level"] == house.report("box").deliveries[0].level.value == "bad"  # it never succeeded
    assert f"{BOX}: " in delivery["text"]
    assert f"tscert-trio renew {BOX}" in delivery["remedy"]


def test_a_name_that_is_no_certdomain_is_told_once_and_its_cure_before_its_end(house):
    finding = the(with_its_own(house, BOX, WIKI), f"name {WIKI}")
    cure, end = finding["remedy"].split(" Or, if it is not wanted, ")
    assert cure == UNLISTED_REMEDY
    assert end == f"leave it out (DOMAIN): --not {WIKI}"


# In this process


@pytest.fixture
async def sandbox():
    async with open_sandbox(cert_domains=[BOX], clock=lambda: NOW) as sandbox:
        yield sandbox


async def look(*, running=None, **settings):
    values = {"no_ari": True} | settings
    return await examine(Settings(**values), environ={}, clock=lambda: NOW, running=running)


async def test_a_service_that_may_not_be_asked_leaves_it_open_and_says_so(sandbox):
    trouble = NoStatusServiceError("this user may not ask the service", remedy="Run it with sudo.")
    first, *_ = await look(socket=sandbox.socket_path, domains=(BOX,), running=trouble)
    text = "whether the running service has these cannot be known: this user may not ask the service"
    assert first == Finding(Level.WARNING, "settings", text, "Run it with sudo.")


async def test_the_own_name_of_a_node_that_is_logged_out_tells_no_settings_apart(sandbox, tmp_path):
    """The service has it from before, and here nobody knows it any more."""
    report = make_report(statistics(domain(BOX, leaf=cert(domain=BOX))), NOW)
    running = RunningService(report=report, socket=tmp_path / "status", process=1)
    sandbox.logout()
    for own, count in ((True, 0), (False, 1)):
        settings = {"state": MEMORY, "self_name": own}
        findings = await look(running=running, socket=sandbox.socket_path, **settings)
        told = [each for each in findings if each.check == "settings"]
        assert len(told) == count, told


async def look_beside(sandbox, tmp_path, stands, *, process=None, **fields):
    """Look beside a service that says that a name, and what else there is, stands so."""
    report = make_report(statistics(stands, **fields), NOW)
    running = RunningService(report=report, socket=tmp_path / "status", process=process)
    findings = await look(running=running, socket=sandbox.socket_path, domains=(BOX,), state=MEMORY)
    return report, findings


@pytest.mark.parametrize("has_failing_delivery", [False, True])
async def test_a_name_for_which_nothing_is_ordered_and_that_has_no_certificate_is_bad_as_for_the_check(
    sandbox, tmp_path, has_failing_delivery
):
    guest = domain(BOX, DomainState.FAILED, mode=Mode.GUEST, next_attempt_at=None)
    deliveries = [delivery(BOX, error="away")] if has_failing_delivery else []
    report, findings = await look_beside(sandbox, tmp_path, guest, deliveries=deliveries)
    (box,) = (each for each in findings if each.check == f"name {BOX}")
    assert box.level is report.level is Level.BAD
    assert box.text == "no certificate; not ordered here (issue = false)"
    assert box.remedy.startswith("leave issue = false out of its settings")


async def test_a_journal_that_the_service_cannot_write_is_told_though_it_can_be_read(sandbox, tmp_path):
    why = (
        "the journal /j cannot be written (disk full): a restart would not know; see whether its disk is full"
    )
    _, findings = await look_beside(sandbox, tmp_path, domain(BOX), journal_trouble=why)
    (found,) = (each for each in findings if each.check == "journal")
    assert (found.level, found.remedy) == (Level.WARNING, "see whether its disk is full")
    assert found.text == "/j cannot be written (disk full): a restart would not know"


async def test_what_is_wrong_with_a_delivery_only_is_told_once(sandbox, tmp_path):
    well = domain(BOX, leaf=facts((BOX,), NOW - timedelta(days=10), timedelta(days=90)))
    failing = delivery(BOX, error="away")
    report, findings = await look_beside(sandbox, tmp_path, well, deliveries=[failing])
    told = [(each.level, each.check) for each in findings if "away" in each.text]
    assert told == [(report.level, "delivery web")] == [(Level.BAD, "delivery web")]


@pytest.mark.parametrize(
    ("stands", "level", "text"),
    [
        ({}, Level.GOOD, "may ask for certificates, as the running service does"),
        ({"error": AccessDeniedError("no")}, Level.BAD, "may not ask for certificates"),
        ({"error": ControlError("away")}, Level.WARNING, "cannot be told without an order"),
        ({"attempts": 0}, Level.WARNING, "cannot be told without an order"),
    ],
    ids=["granted", "denied", "failed", "not asked"],
)
async def test_whether_a_user_may_ask_is_known_from_the_service_that_runs_as_him(
    sandbox, tmp_path, monkeypatch, stands, level, text
):
    """To try would be an order where tailscaled has lost what it had."""
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    leaf = facts((BOX,), NOW - timedelta(days=10), timedelta(days=90))
    name = domain(BOX, leaf=leaf, **stands)
    for user, expected in ((54321, level), (54322, Level.WARNING), (None, Level.WARNING)):
        monkeypatch.setattr(permission, "user_of", lambda _process, user=user: user)
        _, findings = await look_beside(sandbox, tmp_path, name, process=os.getpid())
        (found,) = (each for each in findings if each.check == "permission")
        assert found.level is expected
        assert expected is not level or text in found.text
    assert sandbox.orders == []


def record(name, error):
    since = NOW - timedelta(days=1)
    return DomainRecord(domain=name, wanted_since=since, error=error, failures=1, ended_at=NOW)


async def test_a_name_of_which_it_is_not_known_whether_it_is_wanted_is_no_more_than_a_warning(tmp_path):
    """tailscaled, which has the serve config, is away."""
    with open_state_folder(tmp_path / "state") as journal:
        journal.note_look(record(MAIL, ControlError("away")), NOW, None, AccountState())
    findings = await look(socket=tmp_path / "s", domains=(BOX,), state=tmp_path / "state")
    (mail,) = (each for each in findings if each.check == f"name {MAIL}")
    assert mail.level is Level.WARNING
    assert "Whether it is still wanted is not known" in mail.text


async def test_a_name_that_the_service_was_told_to_forget_is_left_out(tmp_path):
    with open_state_folder(tmp_path / "state") as journal:
        journal.note_look(record(MAIL, ControlError("away")), NOW, None, AccountState())
        journal.note_wanted({BOX})
    findings = await look(socket=tmp_path / "s", domains=(BOX,), state=tmp_path / "state")
    assert [each for each in findings if each.check == f"name {MAIL}"] == []


@pytest.mark.parametrize(
    ("trouble", "remedy"),
    [
        ("logout", "tailscale up"),
        ("no names", "enable HTTPS Certificates at https://login.tailscale.com/admin/dns"),
        ("stop", "put tailscaled right first"),
    ],
)
async def test_what_a_name_that_failed_as_no_certdomain_needs_is_told_as_exactly_as_is_known(
    sandbox, tmp_path, trouble, remedy
):
    """What status says besides is that the doctor tells."""
    with open_state_folder(tmp_path / "state") as journal:
        journal.note_look(record(BOX, NotACertDomainError("no")), NOW, None, AccountState())
    if trouble == "stop":
        await sandbox.stop()
    elif trouble == "logout":
        sandbox.logout()
    else:
        sandbox.set_cert_domains([])
    findings = await look(socket=sandbox.socket_path, domains=(BOX,), state=tmp_path / "state")
    (box,) = (each for each in findings if each.check == f"name {BOX}")
    assert box.remedy.startswith(remedy)
    assert "doctor" not in box.remedy
    assert NotACertDomainError.remedy.endswith("; tscert-trio doctor tells which of these it is.")


async def test_a_missing_name_that_failed_and_waits_has_one_block(sandbox, tmp_path):
    with open_state_folder(tmp_path / "state") as journal:
        journal.note_look(record(MAIL, NotACertDomainError("no")), NOW, None, AccountState())
        journal.remember_delivery(
            DeliveryRecord(target="web", domain=MAIL, fingerprint="ab" * 32, since=NOW, error="x", failures=1)
        )
    findings = await look(socket=sandbox.socket_path, domains=(MAIL,), state=tmp_path / "state")
    (mail,) = (each for each in findings if MAIL in f"{each.check} {each.text}")
    assert (mail.level, mail.check) == (Level.BAD, f"name {MAIL}")


def test_one_name_has_one_block_with_the_worst_level_and_all_that_is_to_do():
    found = [
        Finding(Level.WARNING, "name a", "it waits.", "wait"),
        Finding(Level.GOOD, "budget", "is well"),
        Finding(Level.GOOD, "budget", "is well"),
        Finding(Level.BAD, "name a", "it failed", "repair it"),
    ]
    first, *others = one_block_a_name(found)
    assert first == Finding(Level.BAD, "name a", "it waits. It failed", "wait; and repair it")
    assert others == found[1:3]


def test_a_question_within_a_block_gets_no_full_stop():
    found = [Finding(Level.BAD, "name a", each) for each in ("is the clock right?", "it waits")]
    assert one_block_a_name(found)[0].text == "is the clock right? It waits"


def test_what_is_to_do_is_said_once_and_in_one_sentence():
    said = ["See to it.", None, "Wait: it passes. https://example.com/", "See to it."]
    (block,) = one_block_a_name([Finding(Level.BAD, "name a", "x", each) for each in said])
    assert block.remedy == "See to it; and wait: it passes. https://example.com/"
