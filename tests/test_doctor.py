"""What the doctor finds, on each side: as it should be, and not. Nothing is ordered, written or run by it."""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import httpx
import pytest
import trio
from certs import facts

from tscert_trio import errors
from tscert_trio.ari import RenewalInfoClient
from tscert_trio.delivery_record import DeliveryRecord
from tscert_trio.doctor import Finding, Level, examine, run as doctor_run
from tscert_trio.errors import RateLimit, RateLimitedError
from tscert_trio.journal import open_state_folder
from tscert_trio.sandbox import Fault, open_sandbox
from tscert_trio.sandbox.versions import VERSIONS
from tscert_trio.schedule import AccountState, DomainRecord, RetryPolicy, TailnetState
from tscert_trio.settings import Settings
from tscert_trio.status.offline import journal_report
from tscert_trio.status.words import moment
from tscert_trio.target_settings import (
    FileSettings,
    FilesSettings,
    HookSettings,
    ProbeSettings,
    SignalSettings,
    TargetSettings,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SUFFIX = "tail1234.ts.net"
NAME, SHOP = f"box.{SUFFIX}", f"shop.{SUFFIX}"
SERVE_SHOP = {"Services": {"svc:shop": {"TCP": {"443": {"HTTPS": True}}, "Web": {f"{SHOP}:443": {}}}}}
GOOD, WARNING, BAD = Level.GOOD, Level.WARNING, Level.BAD


def at_noon():
    return NOW


@pytest.fixture
async def sandbox():
    async with open_sandbox(cert_domains=[NAME], clock=at_noon) as sandbox:
        yield sandbox


async def look(sandbox, *, faults=(), environ=None, clock=at_noon, ca=False, **settings):
    """Return all findings."""
    values = {"socket": sandbox.socket_path, "domains": (NAME,), "no_ari": not ca} | settings
    source = None
    if ca:
        transport = httpx.AsyncHTTPTransport(uds=str(sandbox.ca_socket_path))
        source = RenewalInfoClient(sandbox.directory_url, transport=transport)
        values["ca_directory"] = sandbox.directory_url
    findings = await examine(
        Settings(**values), faults=faults, environ=environ or {}, clock=clock, renewal_info=source
    )
    for finding in findings:
        assert "\n" not in f"{finding.text}{finding.remedy}"
        assert finding.level is not GOOD or finding.remedy is None
    return findings


def of(findings, check):
    """Return the findings of one check."""
    return [finding for finding in findings if finding.check == check]


def the(findings, check):
    """Return the only finding of one check."""
    (finding,) = of(findings, check)
    return finding


def expect(finding, level, *parts):
    shown = f"{finding.text} -> {finding.remedy}"
    assert finding.level is level, shown
    for part in parts:
        assert part in shown, shown


def record(domain=NAME, **known):
    return DomainRecord(domain=domain, wanted_since=NOW - DAY, **known)


def leaf(domain=NAME, born=NOW - 10 * DAY, life=90 * DAY):
    return facts((domain,), born, life)


def remember(folder, *records, account=None):
    """Write a journal, as a service does that has ended."""
    with open_state_folder(folder) as journal:
        for each in records:
            journal.note_look(each, NOW, None, account or AccountState())


@contextmanager
def as_nobody():
    """Do something with no more rights than a stranger has."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


# All is well


async def test_where_all_is_well_everything_is_good(sandbox, tmp_path):
    with open_state_folder(tmp_path) as journal:
        journal.note_look(record(leaf=leaf()), NOW, None, AccountState())
        findings = await look(sandbox, ca=True, state=tmp_path)
    assert {finding.level for finding in findings} == {GOOD}, findings
    wanted = {"configuration", "tailscaled", "release", "login", "MagicDNS", "HTTPS", "permission", "names"}
    wanted |= {"state", "journal", "service", "budget", "CA", "clock"}
    assert {finding.check for finding in findings} == wanted


async def test_nothing_is_ordered_or_written(sandbox, tmp_path):
    sandbox.set_serve_config(SERVE_SHOP)
    files = FilesSettings(directory=str(tmp_path / "tls"))
    await look(sandbox, ca=True, state=tmp_path / "state", targets=(TargetSettings(name="t", files=files),))
    assert sandbox.orders == []
    assert not [call for call in sandbox.calls if call.domain]
    assert list(tmp_path.iterdir()) == []


# tailscaled


async def test_a_missing_socket_is_told_once_and_what_needs_it_is_left_out(sandbox, tmp_path):
    findings = await look(sandbox, socket=tmp_path / "nowhere")
    expect(the(findings, "tailscaled"), BAD, "no socket", "left out", "systemctl start tailscaled")
    for check in ("release", "login", "MagicDNS", "HTTPS", "permission", "names", f"name {NAME}"):
        assert of(findings, check) == []
    assert len(of(findings, "clock")) == 1


async def test_a_file_that_is_no_socket_is_told(sandbox, tmp_path):
    (tmp_path / "file").touch()
    finding = the(await look(sandbox, socket=tmp_path / "file"), "tailscaled")
    expect(finding, BAD, "is no socket", "--socket")


async def test_a_socket_on_which_nobody_listens_is_told(sandbox):
    await sandbox.stop(killed=True)
    expect(the(await look(sandbox), "tailscaled"), BAD, "refused", "systemctl start tailscaled")


async def test_a_socket_that_may_not_be_asked_is_told_with_who_may(sandbox):
    sandbox.set_permissions(read=False)
    finding = the(await look(sandbox), "tailscaled")
    expect(finding, BAD, "access denied", "--operator=", "TS_PERMIT_CERT_UID")


async def test_a_tailscaled_that_hangs_is_told(autojump_clock, sandbox):
    sandbox.add_fault(Fault.hang(endpoint="status"))
    finding = the(await look(sandbox), "tailscaled")
    expect(finding, BAD, "no answer within 10s", "tailscaled hangs")
    assert "waits for the CA" not in finding.text


@pytest.mark.parametrize(
    ("version", "level", "parts"),
    [
        ("1.104.5", GOOD, ["1.104.5"]),
        ("1.102.5", GOOD, ["1.102.5"]),
        ("1.100.0", WARNING, ["one certificate at a time", "tailscale update"]),
        ("1.86.5", WARNING, ["no list of CertDomains", "one certificate at a time"]),
        (attrs.evolve(VERSIONS["1.86.5"], version="1.84.2", capability=115), BAD, ["too old", "1.86"]),
    ],
)
async def test_what_a_release_lacks_is_told(version, level, parts):
    async with open_sandbox(version, cert_domains=[NAME], clock=at_noon) as sandbox:
        findings = await look(sandbox)
    expect(the(findings, "release"), level, *parts)
    expect(the(findings, "names"), GOOD, NAME)


async def test_what_is_no_tailscaled_is_told(sandbox):
    sandbox.add_fault(Fault.garbage_body(endpoint="status"))
    expect(the(await look(sandbox), "tailscaled"), BAD, "no JSON", "socket path")


async def test_one_that_is_logged_out_is_told_alone(sandbox):
    sandbox.logout()
    findings = await look(sandbox)
    expect(the(findings, "login"), BAD, "logged out", "tailscale up")
    assert of(findings, "HTTPS") == of(findings, "MagicDNS") == of(findings, f"name {NAME}") == []


async def test_one_that_starts_is_told(sandbox):
    await sandbox.stop()
    await sandbox.start(no_netmap_for=3600)
    expect(the(await look(sandbox), "login"), BAD, "still starting")


async def test_one_that_is_down_is_a_warning_since_certificates_can_be_had(sandbox):
    sandbox.down()
    findings = await look(sandbox)
    expect(the(findings, "login"), WARNING, "stopped", "tailscale up")
    expect(the(findings, "names"), GOOD, NAME)


async def test_magic_dns_off_is_told(sandbox):
    sandbox.set_magic_dns(False)
    expect(the(await look(sandbox), "MagicDNS"), BAD, "off", "https://login.tailscale.com/admin/dns")


async def test_https_off_is_told_once_and_not_for_each_name(sandbox):
    sandbox.set_cert_domains([])
    findings = await look(sandbox, domains=(NAME, SHOP))
    expect(the(findings, "HTTPS"), BAD, "off", "https://login.tailscale.com/admin/dns")
    assert not [finding for finding in findings if finding.check.startswith("name")]


# Names


async def test_names_that_are_cert_domains_are_good_in_one_line(sandbox):
    sandbox.set_cert_domains([NAME, SHOP])
    expect(the(await look(sandbox, domains=(NAME, SHOP)), "names"), GOOD, f"{NAME}, {SHOP} are CertDomains")


async def test_of_a_mistyped_name_the_nearest_is_named(sandbox):
    finding = the(await look(sandbox, domains=(f"bxo.{SUFFIX}",)), f"name bxo.{SUFFIX}")
    expect(finding, BAD, f"do you mean {NAME}?", "DOMAIN")


async def test_a_name_like_no_other_is_told_with_those_that_there_are(sandbox):
    finding = the(await look(sandbox, domains=(f"qqqq.{SUFFIX}",)), f"name qqqq.{SUFFIX}")
    expect(finding, BAD, NAME, "--not qqqq")


async def test_a_name_of_another_tailnet_is_told(sandbox):
    finding = the(await look(sandbox, domains=("box.tail9999.ts.net",)), "name box.tail9999.ts.net")
    expect(finding, BAD, "another tailnet", f"this node is in {SUFFIX}")


async def test_a_service_that_is_advertised_and_approved_is_good(sandbox):
    sandbox.set_cert_domains([NAME, SHOP])
    sandbox.set_serve_config(SERVE_SHOP)
    findings = await look(sandbox)
    expect(the(findings, "names"), GOOD, SHOP)


async def test_a_service_that_is_not_advertised_is_told_with_the_command(sandbox):
    sandbox.set_serve_config(SERVE_SHOP)
    sandbox.set_services(advertised=[])
    finding = the(await look(sandbox), f"name {SHOP}")
    expect(finding, BAD, "not advertise svc:shop", "tailscale serve advertise svc:shop")
    assert "operator" not in finding.text


async def test_in_kubernetes_the_deadlock_is_told(sandbox):
    sandbox.set_serve_config(SERVE_SHOP)
    sandbox.set_services(advertised=[])
    findings = await look(sandbox, environ={"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    expect(the(findings, f"name {SHOP}"), BAD, "only once its certificate is there")


async def test_a_service_that_is_not_approved_is_told(sandbox):
    sandbox.set_serve_config(SERVE_SHOP)
    sandbox.set_services(approved=[])
    finding = the(await look(sandbox), f"name {SHOP}")
    expect(finding, BAD, "not approved", "https://login.tailscale.com/admin/services")


async def test_a_service_that_is_approved_and_no_cert_domain_is_told(sandbox):
    sandbox.set_serve_config(SERVE_SHOP)
    expect(the(await look(sandbox), f"name {SHOP}"), BAD, "approved host of svc:shop")


async def test_a_name_in_the_config_of_another_service_is_told(sandbox):
    wrong = json.loads(json.dumps(SERVE_SHOP).replace("svc:shop", "svc:store"))
    sandbox.set_serve_config(wrong)
    expect(the(await look(sandbox), f"name {SHOP}"), BAD, f"whose name is store.{SUFFIX}")


async def test_where_the_prefs_may_not_be_read_the_rest_is_told_all_the_same(sandbox):
    sandbox.set_serve_config(SERVE_SHOP)
    sandbox.set_services(approved=[])
    sandbox.add_fault(Fault.answer(403, "prefs access denied", endpoint="prefs"))
    expect(the(await look(sandbox), f"name {SHOP}"), BAD, "not approved")


async def test_no_name_at_all_is_a_warning_with_the_way_to_one(sandbox):
    expect(the(await look(sandbox, domains=()), "names"), WARNING, "no name", "tscert-trio run --self")


async def test_filters_that_let_nothing_through_are_told(sandbox):
    expect(the(await look(sandbox, exclude=("*",)), "names"), WARNING, "--only and --not")


async def test_the_own_name_is_looked_at_with_self(sandbox):
    expect(the(await look(sandbox, domains=(), self_name=True), "names"), GOOD, NAME)


async def test_a_wildcard_needs_a_release_that_knows_them():
    async with open_sandbox("1.86.5", cert_domains=[NAME], clock=at_noon) as old:
        findings = of(await look(old, domains=(f"*.{NAME}",)), "names")
    expect(findings[-1], BAD, "wildcard", "tailscale update")


async def test_a_serve_config_that_makes_no_sense_is_told(sandbox, tmp_path):
    sandbox.set_serve_config({"Services": {"svc:x": {"Web": {"no-port": {}}}}})
    expect(the(await look(sandbox), "serve config"), BAD, "missing port")
    (tmp_path / "empty").touch()
    for name, part in (("nowhere", "No such file"), ("empty", "is empty")):
        findings = await look(sandbox, serve_config=tmp_path / name)
        expect(the(findings, "serve config"), BAD, part, "--serve-config")


async def test_a_serve_config_file_is_followed_with_the_name_in_it(sandbox, tmp_path):
    (tmp_path / "serve.json").write_text(
        '{"TCP": {"443": {"HTTPS": true}}, "Web": {"${TS_CERT_DOMAIN}:443": {}}}'
    )
    findings = await look(sandbox, domains=(), serve_config=tmp_path / "serve.json")
    expect(the(findings, "names"), GOOD, NAME)


# Permission


async def permission(sandbox, **settings):
    return the(await look(sandbox, **settings), "permission")


async def test_root_may_ask(sandbox, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    expect(await permission(sandbox), GOOD, "may do everything")


async def test_the_operator_and_the_one_who_runs_tailscaled_may_ask(sandbox, monkeypatch):
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    sandbox.set_permissions(operator="54321")
    expect(await permission(sandbox), GOOD, "operator")
    sandbox.set_permissions()
    os.chown(sandbox.socket_path, 54321 if owner == 0 else owner, -1)
    monkeypatch.setattr(os, "geteuid", lambda: 54321 if owner == 0 else owner)
    if owner:
        expect(await permission(sandbox), GOOD, "runs tailscaled")
    else:
        expect(await permission(sandbox), GOOD, "54321", "runs tailscaled")


async def test_without_a_certificate_it_is_left_open_since_to_ask_is_to_order(sandbox, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    finding = await permission(sandbox)
    expect(finding, WARNING, "cannot be told without an order", "--operator=54321")
    assert sandbox.orders == []


async def test_what_the_journal_knows_is_not_looked_at_since_tailscaled_may_have_lost_it(
    sandbox, tmp_path, monkeypatch
):
    remember(tmp_path, record(leaf=leaf()))
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    expect(await permission(sandbox, state=tmp_path), WARNING, "cannot be told without an order")
    assert not [call for call in sandbox.calls if call.domain]
    assert sandbox.orders == []


# State, service, journal


async def test_a_state_in_memory_is_a_warning(sandbox):
    findings = await look(sandbox)
    expect(the(findings, "state"), WARNING, "memory", "--state")
    assert of(findings, "service") == of(findings, "journal") == []


async def test_a_folder_that_is_not_there_yet_is_good_and_no_service_a_warning(sandbox, tmp_path):
    findings = await look(sandbox, state=tmp_path / "a" / "b")
    expect(the(findings, "state"), GOOD, "can be written")
    expect(the(findings, "journal"), GOOD, "no journal")
    expect(the(findings, "service"), WARNING, "systemctl enable --now tscert-trio")


async def test_a_folder_that_cannot_be_written_is_bad(sandbox, tmp_path):
    (tmp_path / "file").touch()
    finding = the(await look(sandbox, state=tmp_path / "file" / "state"), "state")
    expect(finding, BAD, "is no folder", "--state")


@contextmanager
def as_a_stranger_who_reaches(sandbox):
    """Be somebody else, who may pass through to the socket."""
    sandbox.socket_path.chmod(0o666)
    sandbox.socket_path.parent.chmod(0o755)
    with as_nobody():
        yield


@pytest.fixture
def open_folder():
    """A folder that everybody may pass through to, which those of pytest are not."""
    with tempfile.TemporaryDirectory(prefix="tscert-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


async def test_a_folder_that_may_only_be_read_is_bad_and_one_that_is_closed_leaves_it_open(
    sandbox, open_folder
):
    (open_folder / "state").mkdir()
    (open_folder / "state").chmod(0o555)
    with as_a_stranger_who_reaches(sandbox):
        findings = await look(sandbox, state=open_folder / "state")
        expect(the(findings, "state"), BAD, "may not be written by this user", "--state")
    (open_folder / "state").chmod(0o000)
    with as_a_stranger_who_reaches(sandbox):
        findings = await look(sandbox, state=open_folder / "state")
    expect(the(findings, "state"), WARNING, "may not be looked into", "root")
    expect(the(findings, "journal"), WARNING, "left out here")
    expect(the(findings, "service"), WARNING, "cannot be told")
    (open_folder / "state").chmod(0o700)


async def test_a_service_that_runs_is_named_with_its_process(sandbox, tmp_path):
    with open_state_folder(tmp_path):
        findings = await look(sandbox, state=tmp_path)
    expect(the(findings, "service"), GOOD, f"process {os.getpid()}")
    expect(the(findings, "state"), GOOD, "in use")


async def test_a_service_of_another_user_is_a_warning(sandbox, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with open_state_folder(tmp_path):
        findings = await look(sandbox, state=tmp_path)
    expect(the(findings, "service"), WARNING, "54321", "sudo -u", f" doctor --state {tmp_path}")


async def test_a_service_that_cannot_be_told_is_a_warning(sandbox, tmp_path):
    with open_state_folder(tmp_path):
        (tmp_path / "lock").write_text("")
        expect(the(await look(sandbox, state=tmp_path), "service"), WARNING, "cannot be told")


async def test_a_damaged_journal_is_bad(sandbox, tmp_path):
    (tmp_path / "journal.sqlite").write_bytes(b"no database at all" * 300)
    expect(the(await look(sandbox, state=tmp_path), "journal"), BAD, "damaged", "tscert-trio run")


# What fails, by the journal


@pytest.mark.parametrize(
    "error", [errors.AlreadyReplacedError, errors.AccountError, errors.PausedError, errors.StorageError]
)
async def test_a_known_stuck_text_has_its_meaning_and_remedy(sandbox, tmp_path, error):
    remember(tmp_path, record(error=error("what it said"), failures=3, ended_at=NOW))
    finding = the(await look(sandbox, state=tmp_path), f"name {NAME}")
    expect(finding, BAD, "what it said", error.meaning, error.remedy)


async def test_a_failure_with_a_good_certificate_is_a_warning_until_when(sandbox, tmp_path):
    remember(tmp_path, record(leaf=leaf(), error=errors.ControlError("away"), failures=1, ended_at=NOW))
    expect(
        the(await look(sandbox, state=tmp_path), f"name {NAME}"),
        WARNING,
        f"good until {moment(NOW + 80 * DAY)}",
    )


@pytest.mark.parametrize(
    ("known", "text", "remedy"),
    [
        ({}, "has no certificate yet, by the journal", "systemctl start tscert-trio, or: tscert-trio run"),
        (
            {"leaf": leaf(born=NOW - 93 * DAY)},
            f"its certificate ENDED 3 days ago, at {moment(NOW - 3 * DAY)}",
            "systemctl start tscert-trio, or: tscert-trio run",
        ),
        (
            {"leaf": leaf(born=NOW + 3 * DAY)},
            "its certificate begins in 3 days: is the clock of this machine right?",
            "timedatectl set-ntp true",
        ),
    ],
    ids=["none", "over", "not begun"],
)
async def test_of_a_service_that_does_not_run_a_name_without_a_valid_certificate_is_bad_as_for_the_check(
    sandbox, tmp_path, known, text, remedy
):
    remember(tmp_path, record(**known))
    assert journal_report(tmp_path, NOW, RetryPolicy()).level is BAD
    finding = the(await look(sandbox, state=tmp_path), f"name {NAME}")
    assert finding == Finding(BAD, f"name {NAME}", text, remedy)
    assert of(await look(sandbox, state=tmp_path, exclude=("box.*",)), f"name {NAME}") == []


async def test_a_name_that_was_kept_and_never_asked_for_is_bad_as_for_the_check(sandbox, tmp_path):
    with open_state_folder(tmp_path) as journal:
        journal.note_wanted({NAME})
    assert journal_report(tmp_path, NOW, RetryPolicy()).level is BAD
    finding = the(await look(sandbox, state=tmp_path, guests=("box.*",)), f"name {NAME}")
    expect(finding, BAD, "has no certificate yet", "leave issue = false out")


async def test_a_failure_says_that_the_certificate_is_over(sandbox, tmp_path):
    known = {"leaf": leaf(born=NOW - 93 * DAY), "error": errors.ControlError("away")}
    remember(tmp_path, record(failures=1, ended_at=NOW, **known))
    finding = the(await look(sandbox, state=tmp_path), f"name {NAME}")
    expect(finding, BAD, "away. ", ". Its certificate ENDED 3 days ago")


async def test_a_failure_of_a_name_that_nobody_wants_any_more_is_left_out(sandbox, tmp_path):
    remember(tmp_path, record(SHOP, error=errors.ControlError("away"), failures=1, ended_at=NOW))
    assert of(await look(sandbox, state=tmp_path), f"name {SHOP}") == []


@pytest.mark.parametrize(
    ("good_until", "level"),
    [(None, BAD), (NOW - DAY, BAD), (NOW + DAY, WARNING)],
    ids=["never", "over", "good"],
)
async def test_a_delivery_that_fails_is_told_as_status_tells_it_while_its_target_is_there(
    sandbox, tmp_path, good_until, level
):
    """It is bad where what was delivered before, if anything, is over."""
    failed = DeliveryRecord(
        target="web",
        domain=NAME,
        fingerprint="ab" * 32,
        since=NOW,
        error="the hook\nended with 1",
        failures=2,
        good_until=good_until,
    )
    with open_state_folder(tmp_path / "state") as journal:
        journal.remember_delivery(failed)
    web = TargetSettings(name="web", files=FilesSettings(directory=str(tmp_path)))
    findings = await look(sandbox, state=tmp_path / "state", targets=(web,))
    expect(the(findings, "delivery web"), level, f"{NAME}: the hook ended with 1")
    assert of(await look(sandbox, state=tmp_path / "state"), "delivery web") == []


# Budget


async def test_the_budget_is_told(sandbox, tmp_path):
    remember(tmp_path, record(leaf=leaf()))
    expect(
        the(await look(sandbox, state=tmp_path), "budget"),
        GOOD,
        "300 of 300 orders in three hours are left now",
    )
    spent = AccountState(orders_full_at=NOW + timedelta(minutes=6, seconds=30))
    remember(tmp_path, record(leaf=leaf()), account=spent)  # of which one comes back in 36 seconds
    expect(the(await look(sandbox, state=tmp_path), "budget"), GOOD, "289 of 300 orders")


async def test_where_no_limits_are_kept_that_is_told_once(sandbox, tmp_path):
    remember(tmp_path, record(leaf=leaf()), account=AccountState(tailnets={SUFFIX: TailnetState()}))
    findings = await look(sandbox, state=tmp_path, ca_limits="none")
    expect(the(findings, "budget"), GOOD, "--ca-limits none")


async def test_a_limit_that_is_passed_and_who_waits_for_it_is_told(sandbox, tmp_path):
    account = AccountState(tailnets={SUFFIX: TailnetState(full_at=NOW + 8 * DAY, is_exceeded=True)})
    remember(tmp_path, record(), account=account)
    findings = await look(sandbox, state=tmp_path)
    limits = of(findings, "budget")
    assert [finding.level for finding in limits] == [GOOD, WARNING]
    expect(limits[1], WARNING, "too many new names in a week", SUFFIX, RateLimitedError.remedy)
    name = the(findings, f"name {NAME}")
    expect(name, BAD, "no certificate yet", "the limit on new names of the tailnet, until 2026-11-2")


async def test_a_name_that_the_ca_holds_is_told_until_when(sandbox, tmp_path):
    limited = RateLimitedError("too many", retry_after=2 * DAY, limit=RateLimit.CERTIFICATES_PER_NAME)
    remember(tmp_path, record(error=limited, failures=1, ended_at=NOW, hold_until=NOW + 2 * DAY))
    finding = the(await look(sandbox, state=tmp_path), f"name {NAME}")
    expect(finding, BAD, "too many", "Retry-After", moment(NOW + 2 * DAY))
    assert finding.remedy == RateLimitedError.remedy  # once


# CA and clock


async def test_a_ca_that_answers_is_good_and_so_is_a_clock_like_its(sandbox):
    findings = await look(sandbox, ca=True)
    expect(the(findings, "CA"), GOOD, sandbox.directory_url)
    expect(the(findings, "clock"), GOOD, "agrees")


async def test_a_ca_that_is_out_of_reach_is_bad(sandbox):
    sandbox.set_egress_shut()
    findings = await look(sandbox, ca=True)
    expect(the(findings, "CA"), BAD, "cannot be asked", f"curl -sS {sandbox.directory_url}", "firewall")
    expect(the(findings, "clock"), GOOD, "none to compare")


async def test_a_ca_that_has_trouble_of_its_own_is_no_matter_of_the_network(sandbox):
    sandbox.set_ca_away()
    finding = the(await look(sandbox, ca=True), "CA")
    expect(finding, BAD, "can be reached, and has trouble of its own", "HTTP status 503", "its log")
    assert "firewall" not in finding.remedy
    assert "tailscaled" not in finding.text


@pytest.mark.parametrize(
    ("status", "parts"),
    [
        (500, ["trouble of its own", errors.CATroubleError.remedy]),
        (429, ["asked too often", RateLimitedError.remedy]),
        (404, ["nonsense", "HTTP status 404", "--ca-directory"]),
    ],
)
async def test_what_lets_encrypt_answers_instead_of_its_directory_is_told(sandbox, status, parts):
    transport = httpx.MockTransport(lambda _request: httpx.Response(status))
    source = RenewalInfoClient(transport=transport)
    settings = Settings(socket=sandbox.socket_path)
    findings = await examine(settings, environ={}, clock=at_noon, renewal_info=source)
    expect(the(findings, "CA"), BAD, *parts)


async def test_a_ca_that_hangs_takes_its_time_only(autojump_clock, sandbox):
    class Hanging(httpx.AsyncBaseTransport):
        async def handle_async_request(self, _request):
            await trio.sleep_forever()

    source = RenewalInfoClient("https://ca.example/directory", transport=Hanging())
    settings = Settings(socket=sandbox.socket_path, ca_directory="https://ca.example/directory")
    findings = await examine(settings, environ={}, clock=at_noon, renewal_info=source)
    expect(the(findings, "CA"), BAD, "no answer in time")
    assert trio.current_time() <= doctor_run.SECONDS


async def test_a_ca_without_renewal_information_is_a_warning(sandbox):
    def answer(_request):
        return httpx.Response(200, json={"newOrder": "x"})

    source = RenewalInfoClient("https://ca.example/", transport=httpx.MockTransport(answer))
    settings = Settings(socket=sandbox.socket_path, ca_directory="https://ca.example/")
    findings = await examine(settings, environ={}, clock=at_noon, renewal_info=source)
    expect(the(findings, "CA"), WARNING, "no renewal information", "--no-ari")


async def test_a_ca_is_not_asked_where_it_is_not_to_be(sandbox):
    findings = await look(sandbox)
    expect(the(findings, "CA"), GOOD, "--no-ari")
    assert sandbox.directory_calls == []


@pytest.mark.parametrize(
    ("off", "level", "text"),
    [
        (timedelta(seconds=30), GOOD, "agrees"),
        (timedelta(minutes=5), WARNING, "5m ahead of"),
        (timedelta(hours=-2), BAD, "2h behind"),
    ],
)
async def test_the_clock_is_compared_with_that_of_the_ca(sandbox, off, level, text):
    finding = the(await look(sandbox, ca=True, clock=lambda: NOW + off), "clock")
    expect(finding, level, text)
    assert (finding.remedy is not None) == (level is not GOOD)


async def test_a_clock_before_this_program_is_bad_without_asking_anybody(sandbox):
    finding = the(await look(sandbox, clock=lambda: datetime(1970, 1, 2, tzinfo=UTC)), "clock")
    expect(finding, BAD, "1970-01-02", "timedatectl")


# Configuration and environment


async def test_faults_of_the_configuration_are_bad_each(sandbox):
    findings = of(await look(sandbox, faults=("--scope: x", "--self: y")), "configuration")
    assert [(finding.level, finding.text) for finding in findings] == [
        (BAD, "--scope: x"),
        (BAD, "--self: y"),
    ]


async def test_a_file_that_is_good_is_named_and_so_is_where_there_is_none(sandbox, tmp_path):
    findings = await look(sandbox, config_file=tmp_path / "x.toml")
    expect(the(findings, "configuration"), GOOD, "x.toml is good, 0 targets")
    findings = await look(sandbox, environ={"HOME": "/home/x"})
    expect(the(findings, "configuration"), GOOD, "/home/x/.config", "/etc/tscert-trio.toml")


async def test_a_misspelt_variable_is_told_with_the_nearest(sandbox):
    environ = {"TSCERT_SOKCET": "/x", "TSCERT_STATE": "/y", "TSCERT_DOMAIN": "of a hook", "TSCERT_QQQ": "1"}
    first, second = of(await look(sandbox, environ=environ), "environment")
    expect(first, WARNING, "TSCERT_QQQ is no setting", "unset")
    expect(second, WARNING, "TSCERT_SOKCET is no setting", "TSCERT_SOCKET")


# Targets


async def target(sandbox, **steps):
    """Return the findings about one target."""
    settings = TargetSettings(name="web", **steps)
    return of(await look(sandbox, targets=(settings,)), "target web")


async def one(sandbox, **steps):
    (finding,) = await target(sandbox, **steps)
    return finding


@pytest.mark.parametrize("layout", ["plain", "versioned"])
async def test_files_that_can_be_written_are_good_and_none_is_made(sandbox, tmp_path, layout):
    files = FilesSettings(directory=str(tmp_path / "new" / "tls"), layout=layout)
    expect(await one(sandbox, files=files), GOOD)
    assert list(tmp_path.iterdir()) == []


async def test_files_that_cannot_be_written_are_bad_once_for_all_names(sandbox, tmp_path):
    (tmp_path / "file").touch()
    sandbox.set_cert_domains([NAME, SHOP])
    settings = TargetSettings(name="web", files=FilesSettings(directory=str(tmp_path / "file")))
    findings = await look(sandbox, domains=(NAME, SHOP), targets=(settings,))
    expect(the(findings, "target web"), BAD, "is no folder")


async def test_a_folder_of_another_user_is_bad(sandbox, open_folder):
    (open_folder / "tls").mkdir()
    (open_folder / "tls").chmod(0o555)
    with as_a_stranger_who_reaches(sandbox):
        finding = await one(sandbox, files=FilesSettings(directory=str(open_folder / "tls")))
    expect(finding, BAD, "may not be written by this user", "run as a user who may")


async def test_a_device_in_the_place_of_a_file_is_bad(sandbox):
    files = FilesSettings(key=FileSettings(path="/dev/null"))
    finding = (await target(sandbox, files=files, domains=(NAME,)))[0]
    expect(finding, BAD, "no regular file")


async def test_a_relative_path_is_a_warning(sandbox, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expect(await one(sandbox, files=FilesSettings(directory="tls")), WARNING, str(tmp_path), "full path")


async def test_owners_and_groups_have_to_be_there(sandbox, tmp_path, monkeypatch):
    folder = str(tmp_path)
    expect(await one(sandbox, files=FilesSettings(directory=folder, owner="no-such")), BAD, "no user")
    expect(await one(sandbox, files=FilesSettings(directory=folder, group="no-such")), BAD, "no group")
    if os.geteuid() == 0:
        expect(await one(sandbox, files=FilesSettings(directory=folder, owner="12345")), GOOD)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    expect(await one(sandbox, files=FilesSettings(directory=folder, owner="12345")), WARNING, "only root")
    expect(await one(sandbox, files=FilesSettings(directory=folder, group="12345")), WARNING, "12345")


async def test_a_password_file_has_to_be_readable(sandbox, tmp_path):
    password = tmp_path / "password"
    p12 = FileSettings(path=str(tmp_path / "{domain}.p12"))
    files = FilesSettings(pkcs12=p12, pkcs12_password_file=password)
    expect(await one(sandbox, files=files), BAD, "password file", str(password))
    password.write_text("secret")
    finding = await one(sandbox, files=files)
    expect(finding, GOOD)
    assert "secret" not in finding.text


async def test_a_hook_has_to_be_found_and_executable(sandbox, tmp_path):
    script = tmp_path / "hook.sh"
    command = (str(script), "x")
    expect(await one(sandbox, hook=HookSettings(command=command)), BAD, "not found")
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/run\n")
    expect(await one(sandbox, hook=HookSettings(command=command)), BAD, "chmod +x")
    script.chmod(0o755)
    expect(await one(sandbox, hook=HookSettings(command=command)), GOOD)
    expect(await one(sandbox, hook=HookSettings(command=("exit 1",), shell=True)), GOOD)
    assert not (tmp_path / "run").exists()


async def test_the_hook_for_alerts_is_looked_at_too(sandbox):
    findings = await look(sandbox, on_failure=HookSettings(command=("no-such-program",)))
    expect(the(findings, "on_failure"), BAD, "no-such-program", "not found")
    findings = await look(sandbox, on_failure=HookSettings(command=("sh",)))
    expect(the(findings, "on_failure"), GOOD)


SYSTEMCTL = """#!/bin/sh
for last; do :; done
case "$last" in
    nginx.service) echo LoadState=loaded; echo ActiveState=active;;
    stopped.service) echo LoadState=loaded; echo ActiveState=inactive;;
    bus.service) echo "Failed to connect to bus: No such file"; exit 1;;
    *) echo LoadState=not-found; echo ActiveState=inactive;;
esac
"""


@pytest.mark.parametrize(
    ("unit", "level", "parts"),
    [
        ("nginx.service", GOOD, []),
        ("stopped.service", WARNING, ["inactive", "systemctl start stopped.service"]),
        ("typo.service", BAD, ["not-found", "systemctl list-units"]),
        ("bus.service", BAD, ["Failed to connect to bus", "use a signal or a hook"]),
    ],
)
async def test_a_unit_has_to_be_known_and_running(sandbox, tmp_path, monkeypatch, unit, level, parts):
    (tmp_path / "systemctl").write_text(SYSTEMCTL)
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    expect(await one(sandbox, reload=unit), level, *parts)


async def test_without_systemctl_nothing_can_be_reloaded(sandbox, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    expect(await one(sandbox, reload="nginx.service"), BAD, "no systemctl", "use a signal or a hook")


async def test_a_pidfile_has_to_name_a_process_that_gets_no_signal_from_here(sandbox, tmp_path):
    pidfile = tmp_path / "pid"
    settings = SignalSettings(pidfile=pidfile, signal="KILL")
    expect(await one(sandbox, signal=settings), BAD, "cannot read", "see that the program runs")
    process = await trio.lowlevel.open_process(["sleep", "60"])
    pidfile.write_text(f"{process.pid}\n")
    expect(await one(sandbox, signal=settings), GOOD)
    assert process.poll() is None
    process.kill()
    await process.wait()
    expect(await one(sandbox, signal=settings), BAD, "does not run")


async def test_a_probe_has_to_find_something_that_listens(sandbox):
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    probe = ProbeSettings(host="127.0.0.1", port=port)
    expect(await one(sandbox, probe=probe), GOOD)
    await listener.aclose()
    expect(await one(sandbox, probe=probe), WARNING, f"127.0.0.1:{port}", "start the server")


async def test_a_probe_of_the_own_address_is_left_out_where_there_is_none(sandbox):
    sandbox.logout()
    expect(await one(sandbox, probe=ProbeSettings()), GOOD)


# All checks together


async def test_a_check_that_takes_too_long_is_a_finding(autojump_clock, sandbox, monkeypatch):
    async def hang(_survey):
        await trio.sleep_forever()

    monkeypatch.setattr(doctor_run, "_CHECKS", (("slow", hang), *doctor_run._CHECKS))
    findings = await look(sandbox)
    expect(findings[0], BAD, "10 s")
    assert len(findings) > 5


@pytest.mark.parametrize(
    "exc", [ZeroDivisionError("a bug"), OSError(5, "disk\nbroken"), errors.StateError("x")]
)
async def test_a_check_that_fails_is_a_finding_and_no_traceback(sandbox, monkeypatch, exc):
    async def fail(_survey):
        raise exc

    monkeypatch.setattr(doctor_run, "_CHECKS", (("broken", fail), *doctor_run._CHECKS))
    findings = await look(sandbox)
    assert findings[0].level is BAD
    assert len(findings) > 5


async def test_it_can_be_cancelled(autojump_clock, sandbox):
    sandbox.add_fault(Fault.hang(endpoint="status"))
    with trio.move_on_after(1) as scope:
        await look(sandbox)
    assert scope.cancelled_caught


# The command


def command(*arguments, **variables):
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("TS", "POD_", "KUB"))}
    environ |= {"TSCERT_STATE": ":memory:", "TSCERT_CONFIG": "/dev/null", "TSCERT_NO_ARI": "true"}
    environ |= {"TSCERT_STATUS_SOCKET": "none"} | variables
    arguments = [sys.executable, "-W", "error", "-m", "tscert_trio", "doctor", *map(str, arguments)]
    return subprocess.run(arguments, env=environ, capture_output=True, check=False, timeout=60)


async def run_command(*arguments, **variables):
    return await trio.to_thread.run_sync(lambda: command(*arguments, **variables))


async def test_the_command_ends_with_0_where_nothing_is_bad_and_a_sentence(sandbox):
    ended = await run_command("--socket", sandbox.socket_path, NAME, PYTHONIOENCODING="utf-8")
    lines = ended.stdout.decode().splitlines()
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert f"✓ tailscaled: answers on {sandbox.socket_path}" in lines
    at = lines.index("! state: is kept in memory: a restart knows nothing")
    assert lines[at + 1] == "  → --state PATH"
    assert lines[-1].endswith("the rest is well.")
    assert "\x1b" not in ended.stdout.decode()


async def test_the_command_says_so_where_all_is_well(sandbox, tmp_path):
    with open_state_folder(tmp_path):
        ended = await run_command("--socket", sandbox.socket_path, NAME, TSCERT_STATE=str(tmp_path))
    assert ended.returncode == 0
    assert ended.stdout.decode().splitlines()[-1] == "All is well."


async def test_the_command_ends_with_1_where_something_is_bad_and_is_plain_in_ascii(tmp_path):
    ended = await run_command("--socket", tmp_path / "nowhere", PYTHONIOENCODING="ascii")
    lines = ended.stdout.decode("ascii").splitlines()
    assert (ended.returncode, ended.stderr) == (1, b"")
    at = next(n for n, line in enumerate(lines) if line.startswith("BAD tailscaled: there is no socket"))
    assert lines[at + 1].startswith("  -> systemctl start tailscaled")
    assert lines[-1].startswith("1 thing is bad, ")


async def test_faults_of_the_settings_are_findings_and_status_2(sandbox, tmp_path):
    (tmp_path / "c.toml").write_text('scope = "everything"\n')
    ended = await run_command(
        "--socket", sandbox.socket_path, "--config", tmp_path / "c.toml", "--retry-max", "x", "--json"
    )
    assert (ended.returncode, ended.stderr) == (2, b"")
    findings = json.loads(ended.stdout)
    assert [f["check"] for f in findings if f["level"] == "bad"] == ["configuration"] * 2
    assert {f["check"] for f in findings} >= {"tailscaled", "login"}
    assert all(f.keys() == {"level", "check", "text", "remedy"} for f in findings)


async def test_a_config_file_that_is_not_there_is_a_finding(sandbox, tmp_path):
    ended = await run_command("--socket", sandbox.socket_path, "--config", tmp_path / "nowhere", "--json")
    assert ended.returncode == 2
    assert "nowhere: No such file" in json.loads(ended.stdout)[0]["text"]


async def test_a_command_line_that_makes_no_sense_is_status_2():
    ended = await run_command("--no-such-option")
    assert (ended.returncode, ended.stdout) == (2, b"")


@pytest.mark.parametrize(("variables", "is_coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
async def test_a_terminal_gets_colours_unless_it_is_told_not_to(tmp_path, variables, is_coloured):
    ours, theirs = os.openpty()
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("TS", "NO_COLOR"))}
    environ |= {"TSCERT_STATE": ":memory:", "TSCERT_NO_ARI": "true", "TSCERT_CONFIG": "/dev/null"} | variables
    arguments = [sys.executable, "-m", "tscert_trio", "doctor", "--socket", str(tmp_path / "nowhere")]
    process = await trio.lowlevel.open_process(arguments, stdout=theirs, env=environ)
    os.close(theirs)
    assert await process.wait() == 1
    shown = await trio.to_thread.run_sync(os.read, ours, 65536)
    os.close(ours)
    assert (b"\x1b[31m" in shown) == is_coloured


async def test_nothing_that_others_say_moves_a_cursor(sandbox):
    """Neither tailscaled's text nor a Service's name does, in a command that is to be copied."""
    evil = "svc:a\x1b[31mEVIL\x1b]0;x\x07"
    sandbox.set_serve_config({"Services": {evil: SERVE_SHOP["Services"]["svc:shop"]}})
    findings = await look(sandbox)
    expect(the(findings, f"name {SHOP}"), BAD, "--service='svc:a�[31mEVIL�]0;x�' -")
    for finding in findings:
        assert f"{finding.check}{finding.text}{finding.remedy}".isprintable()
    assert Finding(GOOD, "target \x1b", "x \x9b y", "z\x07") == Finding(GOOD, "target �", "x � y", "z�")


def test_a_finding_is_frozen():
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Finding(GOOD, "a", "b").text = "c"
