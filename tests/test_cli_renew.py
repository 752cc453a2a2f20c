"""``tscert-trio renew``: what comes of it, and how that is told."""

import json
import os
import re
import signal
from datetime import timedelta
from types import SimpleNamespace

import attrs
import pytest
from commands import SECONDS, wait_until
from house import open_house, run_as_stranger, tailnet_name
from statuses import DAY, NOW, SECOND, cert, delivery, domain, statistics

from tscert_trio import ControlError, DomainState
from tscert_trio.cli import renew
from tscert_trio.cli.renewals import Renewal
from tscert_trio.schedule import Mode
from tscert_trio.status.making import make_report
from tscert_trio.status.report import Trouble

HOSTS = ("good", "force", "fail", "heal", "twice", "limit", "slow", "stop", "json")
NAMES = {host: tailnet_name(host) for host in (*HOSTS, "wiki")}
AWAY = {"make": "control", "text": "the DNS provider is away"}
VALID = r"valid until \d{4}-\d\d-\d\d \d\d:\d\d \S+ \(in 89 days\)"


@pytest.fixture(scope="module")
def house():
    with open_house(*HOSTS) as house:

        def fault(host, count, **fields):
            house.ask_sandbox("POST", "faults", {"domain": NAMES[host], "count": count} | fields)

        fault("fail", 1000, **AWAY)
        fault("heal", 1, **AWAY)
        fault("twice", 1, **AWAY)
        fault("limit", 1000, make="rate_limited", hang=False, retry_after=7200)
        house.start(*NAMES.values())
        yield house


@pytest.fixture
def orders(house):
    """Count the orders of a name."""
    return lambda host: len(house.orders(NAMES[host]))


def test_what_is_not_due_stays_as_it_is(house, orders):
    before = orders("good")
    result = house.run("renew", "good")
    assert result.returncode == 0
    told = rf"{NAMES['good']}: not due: {VALID}; --force orders a new one all the same\n"
    assert re.fullmatch(told, result.stdout)
    assert orders("good") == before


def test_force_orders_a_new_one_and_says_before_what_that_costs(house):
    before = house.report("force").certificate.fingerprint
    result = house.run("renew", NAMES["force"], "--force")
    assert result.returncode == 0, result
    left = "3 of 5 new certificates a week are left"
    assert re.fullmatch(rf"{NAMES['force']}: renewed: {VALID}\n  {left}\n", result.stdout)
    assert result.stderr.startswith("--force: each new certificate is one of the five a week")
    assert house.report("force").certificate.fingerprint != before


def test_a_failure_is_told_with_meaning_and_remedy(house):
    result = house.run("renew", "fail")
    assert result.returncode == 1
    what, meaning, remedy = result.stdout.splitlines()
    assert what.startswith(f"{NAMES['fail']}: failed (ControlError): SetDNS ")
    assert re.search(
        r"the DNS provider is away; (\d|none) of 5 attempts for a name in an hour (are|is) left; ", what
    )
    assert re.search(r"; tried again in \d+ \w+, at \d{4}-\d\d-\d\d \d\d:\d\d \S+$", what)
    assert meaning == "  Tailscale's control server did not publish the DNS record the CA wants to see."
    assert remedy.startswith("  Usually passes by itself")


def test_failures_are_told_with_what_is_left_of_the_limit_of_the_ca():
    """Each of them spends one of the five attempts for a name in an hour."""
    with open_house("box") as house:
        house.ask_sandbox("POST", "faults", AWAY | {"domain": tailnet_name("box"), "count": 1000})
        house.start(tailnet_name("box"))
        told = [house.run("renew", "box").stdout.splitlines()[0] for _ in range(5)]
        assert [re.search("; (.*) attempts", line)[1] for line in told[:4]] == [
            f"{number} of 5" for number in (3, 2, 1, "none")
        ]
        assert "has to wait for" in told[4]
        assert (
            "CA's limits: none of 5 attempts for a name in an hour are left"
            in house.run("status", "box").stdout
        )


def test_a_backoff_ends_at_once(house):
    """The service would ask again after an hour."""
    result = house.run("renew", "heal")
    assert result.returncode == 0, result
    assert re.fullmatch(rf"{NAMES['heal']}: issued: {VALID}\n", result.stdout)


def test_twice_at_once_is_one_order_and_both_see_the_outcome(house, orders):
    before = orders("twice")
    processes = [house.popen("renew", "twice") for _ in range(2)]
    outputs = [process.communicate(timeout=SECONDS)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert all(re.search(rf": (issued|not due): {VALID}", output) for output in outputs)
    assert orders("twice") == before + 1


def test_a_limit_of_the_ca_stands_and_is_told_with_its_end(house, orders):
    before = orders("limit")
    result = house.run("renew", "limit", "--force")
    assert result.returncode == 1
    what, _meaning, remedy = result.stdout.splitlines()
    assert what.startswith(f"{NAMES['limit']}: a new one has to wait for the CA's Retry-After until ")
    assert re.search(r"\(in 1\d\d minutes\), and is asked for then by itself$", what)
    assert "letsencrypt.org/docs/rate-limits" in remedy
    assert orders("limit") == before


def test_a_name_that_waits_for_tailscaled_says_so(house):
    renewal = Renewal(house.report("good"), is_forced=False)
    trouble = Trouble(kind="UnreachableError", text="/s: no such socket", meaning="m", remedy="r")
    renewal.see(attrs.evolve(renewal.before, state="waiting", trouble=trouble), 2)
    assert next(iter(renewal.told())) == f"{NAMES['good']}: waits for tailscaled: /s: no such socket"


def test_what_waits_for_a_limit_is_told_with_how_long_the_present_one_is_good(house):
    renewal = Renewal(house.report("good"), is_forced=True, asked_at=house.report("good").last_attempt_at)
    at = renewal.asked_at + timedelta(hours=33, seconds=30)
    limited = attrs.evolve(renewal.before, state="limited", limit="a limit", limited_until=at)
    renewal.see(limited, 2)
    (line,) = renewal.told()
    assert re.search(rf"\(in 33 hours\), .* by itself; the present certificate is {VALID}$", line)


def test_a_name_that_is_no_certdomain_waits(house):
    result = house.run("renew", "wiki")
    assert result.returncode == 1
    what, *_rest, remedy = result.stdout.splitlines()
    assert what == f"{NAMES['wiki']}: waits to become one of this node's CertDomains"  # once
    assert "enable HTTPS" in remedy


def test_several_have_a_line_each_and_a_summary(house):
    result = house.run("renew", "good", "fail", "good")
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    assert lines[-1] == "1 of 2 went well"
    assert sum(line.startswith(tuple(NAMES.values())) for line in lines) == 2


def test_all_are_asked_for_with_all():
    names = [*map(tailnet_name, ("a", "b", "c", "d", "e", "f")), NAMES["wiki"]]
    with open_house("a", "b", "c", "d", "e", "f") as house:
        house.start(*names)
        result = house.run("renew", "--all", "--no-wait")
        assert result.returncode == 0
        asked = {f"{name}: asked for; see tscert-trio status" for name in names}
        assert set(result.stdout.splitlines()) == asked
        result = house.run("renew", "--all")
        assert result.returncode == 1
        *lines, summary = result.stdout.splitlines()
        assert sum(re.search(rf": not due: {VALID}", line) is not None for line in lines) == 6
        assert summary == "6 of 7 went well"


def test_json_has_all_of_it(house):
    result = house.run("renew", "json", "fail", "--json")
    assert result.returncode == 1
    fields = json.loads(result.stdout)
    assert fields["version"] == 1
    good, bad = fields["results"]
    assert (good["name"], good["outcome"], good["ok"]) == (NAMES["json"], "not due", True)
    assert good["domain"]["certificate"]["not_after"].endswith("Z")
    assert (bad["outcome"], bad["ok"], bad["domain"]["trouble"]["kind"]) == ("failed", False, "ControlError")


def test_what_takes_long_is_told_in_a_pipe_by_plain_lines(house):
    delay = {"make": "delay", "seconds": 4, "domain": NAMES["slow"], "count": 1, "at": "order"}
    house.ask_sandbox("POST", "faults", delay)
    result = house.run("renew", "slow", "--force")
    assert result.returncode == 0, result
    assert f"{NAMES['slow']}: asked tailscaled; a new certificate takes 5 to 60 s\n" in result.stderr
    assert "\r" not in result.stderr
    assert "\x1b" not in result.stderr + result.stdout


def test_what_takes_longer_than_usual_is_told_with_what_that_means(house):
    renewal = Renewal(house.report("good"), is_forced=True)
    busy = attrs.evolve(renewal.before, state="requesting")
    assert "takes 5 to 60 s" in renewal.see(busy, 1)
    assert renewal.see(busy, 59) is None
    assert "tailscaled has up to 5m for it, and Ctrl-C is harmless" in renewal.see(busy, 60)
    assert not renewal.is_over


def test_in_a_pipe_a_long_wait_is_told_again_and_again(house, monkeypatch, capsys):
    """For 300 seconds, which pass at once here."""
    seconds = [0.0]
    monkeypatch.setattr(
        renew, "time", SimpleNamespace(monotonic=lambda: seconds[0], sleep=pass_time(seconds))
    )
    report = house.report("good")

    class Client:
        def domain(self, _name):
            is_over = seconds[0] >= 300
            state = attrs.evolve(report, state="issued" if is_over else "requesting")
            if is_over:
                state = attrs.evolve(state, last_attempt_at=report.last_attempt_at + timedelta(days=1))
            return SimpleNamespace(domain=state)

    renewal = Renewal(report, is_forced=True, asked_at=report.last_attempt_at + timedelta(seconds=1))
    renew._wait(Client(), [renewal], are_told=True)
    lines = capsys.readouterr().err.splitlines()
    assert 8 <= len(lines) <= 12
    assert "120 s, still at it" in "".join(lines)


def pass_time(seconds):
    def sleep(_seconds):
        seconds[0] += 5

    return sleep


def test_ctrl_c_ends_the_waiting_only(house):
    delay = {"make": "delay", "seconds": 4, "domain": NAMES["stop"], "count": 1, "at": "order"}
    house.ask_sandbox("POST", "faults", delay)
    before = house.report("stop").certificate.fingerprint
    process = house.popen("renew", "stop", "--force")
    assert process.stderr.readline().startswith("--force")
    assert process.stderr.readline().startswith(f"{NAMES['stop']}: asked tailscaled")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert "Traceback" not in errors
    wait_until(lambda: house.report("stop").certificate.fingerprint != before)


def test_an_unknown_name_is_told_with_the_nearest_and_nothing_is_asked_for(house, orders):
    before = orders("good")
    result = house.run("renew", "good", "godo.tail1234.ts.net", "--force")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"tscert-trio: no certificate is kept for godo.tail1234.ts.net. Is it {NAMES['good']}?\n"
    )
    assert orders("good") == before


@pytest.mark.parametrize("arguments", [[], ["good", "--all"], ["good", "--wat"]])
def test_a_command_line_that_makes_no_sense_has_status_2(house, arguments):
    result = house.run("renew", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1


def test_without_a_service_it_says_how_to_start_it_and_what_works_without(tmp_path, house):
    result = house.run("renew", "good", "--status-socket", tmp_path / "s")
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert "no service listens on" in line
    assert "systemctl start tscert-trio" in line
    assert "tscert-trio cert NAME gets a certificate, too" in line


def test_who_may_only_look_is_told_who_may_renew_and_how():
    with open_house("box") as house:
        house.start(tailnet_name("box"), is_of_another=True)
        house.socket.chmod(0o666)  # as if all were of the group
        result = run_as_stranger(house, "renew", "box", "--force")
        assert (result.returncode, result.stdout) == (1, "")
        line = result.stderr.splitlines()[-1]
        who = f"only root and the user with number {os.geteuid() + 1}, who runs the service, may renew"
        assert (who if os.geteuid() else "only root may renew") in line
        assert line.endswith(f"Run: sudo tscert-trio renew {tailnet_name('box')} --force")
        assert run_as_stranger(house, "status", "box").returncode == 0


def test_a_delivery_that_fails_is_tried_again_and_told():
    with open_house("box") as house:
        hook = house.folder / "hook"
        hook.write_text(f"#!/bin/sh\ntest -e {house.folder}/repaired\n")
        hook.chmod(0o755)
        house.start(tailnet_name("box"), "--hook", hook)
        result = house.run("renew", "box")
        assert result.returncode == 1
        what, *_ = result.stdout.splitlines()
        assert re.search(rf"not due: {VALID}; but \S*hook: delivery fails: ", what)  # no order would help
        (house.folder / "repaired").touch()
        result = house.run("renew", "box")
        assert result.returncode == 0, result
        assert house.report("box").deliveries[0].is_done


def test_all_deliveries_that_fail_are_told_the_worst_first():
    before = make_report(statistics(domain(leaf=cert())), NOW).domains[0]
    later = {"next_attempt_at": NOW + 61 * SECOND}
    failing = [
        delivery(target="web", error="web is away", good_until=NOW + DAY, **later),
        delivery(target="mail", error="mail is away", **later),
        delivery(target="files"),
    ]
    one = domain(leaf=cert(), last_attempt_at=NOW)
    renewal = Renewal(before, is_forced=False, asked_at=NOW)
    renewal.see(make_report(statistics(one, deliveries=failing), NOW).domains[0], 61)
    renewal.see(make_report(statistics(one, deliveries=failing), NOW).domains[0], 122)
    what, *meanings, remedy = renewal.told()
    assert re.search("; but mail: .*; tried again in 1 minute; and web: .*; tried again in 1 minute$", what)
    assert [line.split(":")[0] for line in meanings] == ["  mail", "  web"]
    assert remedy.startswith("  Repair what it says")
    assert renewal.outcome == "not delivered"


def test_a_failure_is_told_with_when_it_is_tried_again():
    failing = domain(leaf=cert(), error=ControlError("away"), last_attempt_at=NOW)
    renewal = Renewal(make_report(statistics(failing), NOW).domains[0], is_forced=False, asked_at=NOW)
    renewal.see(make_report(statistics(failing), NOW).domains[0], 1)
    assert "failed (ControlError): away; tried again in 3 hours, at " in next(iter(renewal.told()))


# What is waited for, and what is not


def report_of(**fields):
    return make_report(statistics(domain(**fields)), NOW).domains[0]


def asked(*, is_forced=False, attempts=1, **fields):
    """Ask for a name of which so many requests were made, one under way included."""
    before = report_of(last_attempt_at=NOW - DAY, **fields)
    return Renewal(before, is_forced=is_forced, asked_at=NOW, attempts=attempts)


def test_what_comes_of_a_request_that_was_under_way_is_no_answer():
    renewal = asked(state=DomainState.REQUESTING)
    failed = {"state": DomainState.FAILED, "error": ControlError("old failure")}
    failed |= {"last_attempt_at": NOW + SECOND, "next_attempt_at": NOW + 2 * SECOND}
    renewal.see(report_of(**failed), 1)
    renewal.see(report_of(**failed), 2)
    look = {"attempts": 2, "next_attempt_at": None}  # which is no state
    renewal.see(report_of(**(failed | look)), 3)
    assert not renewal.is_over
    renewal.see(report_of(leaf=cert(), attempts=2, last_attempt_at=NOW + 4 * SECOND), 5)
    assert renewal.outcome == "issued"


def test_of_a_service_that_does_not_count_any_later_request_is_the_answer():
    renewal = asked(attempts=None, leaf=cert())
    renewal.see(report_of(leaf=cert(), last_attempt_at=NOW + SECOND), 1)
    assert renewal.outcome == "not due"


def test_a_service_that_was_started_anew_since_is_not_waited_for_for_ever():
    """It counts from the beginning, and may have come just as far."""
    renewal = asked(leaf=cert())
    later = report_of(leaf=cert(), last_attempt_at=NOW + SECOND)
    renewal.see(later, 1)
    assert not renewal.is_over
    renewal.see(later, 2)
    assert renewal.outcome == "not due"


def test_where_nothing_is_ordered_and_nothing_known_that_is_told_instead_of_waiting_for_ever():
    guest = {"mode": Mode.GUEST, "state": DomainState.FAILED, "next_attempt_at": None}
    renewal = asked(**guest)
    renewal.see(report_of(last_attempt_at=None, **guest), 1)
    assert not renewal.is_over  # that may be from before the question
    renewal.see(report_of(last_attempt_at=None, **guest), 2)
    what, remedy = renewal.told()
    assert what.endswith(": no certificate; not ordered here (issue = false)")
    assert "leave issue = false out" in remedy
    assert (renewal.outcome, renewal.is_good) == ("not ordered", False)


def test_a_look_at_what_is_not_ordered_here_is_waited_for():
    guest = {"mode": Mode.GUEST, "leaf": cert()}
    renewal = asked(**guest)
    renewal.see(report_of(next_attempt_at=None, last_attempt_at=NOW - DAY, **guest), 10)
    assert not renewal.is_over
    renewal.see(report_of(attempts=2, last_attempt_at=NOW + SECOND, **guest), 11)
    assert renewal.outcome == "not due"


def test_a_certificate_that_has_not_begun_is_told_with_when_it_is_asked_for():
    begins = {"leaf": cert(left=92 * DAY), "next_attempt_at": NOW + 2 * DAY}
    renewal = asked(**begins)
    renewal.see(report_of(last_attempt_at=NOW - DAY, **begins), 1)
    assert not renewal.is_over
    renewal.see(report_of(last_attempt_at=NOW - DAY, **begins), 2)
    (line,) = renewal.told()
    assert re.search(
        r": is not asked for before .* \(in 2 days\): the certificate begins in 2 days: is ", line
    )
    assert (renewal.outcome, renewal.is_good) == ("later", False)


def test_a_request_that_comes_within_a_minute_is_waited_for():
    """At the end of its life a certificate is not asked for, until that is over."""
    last_minute = {"leaf": cert(left=40 * SECOND), "next_attempt_at": NOW + 41 * SECOND}
    renewal = asked(**last_minute)
    renewal.see(report_of(last_attempt_at=NOW - DAY, **last_minute), 30)
    assert not renewal.is_over


@pytest.mark.parametrize(
    ("mode", "why"), [(Mode.GUEST, " (issue = false)"), (Mode.READER, ": this replica only reads")]
)
def test_force_where_nothing_is_ordered_does_not_end_well(mode, why):
    renewal = asked(is_forced=True, mode=mode, leaf=cert())
    renewal.see(report_of(mode=mode, leaf=cert(), attempts=2, last_attempt_at=NOW + SECOND), 2)
    what, _remedy = renewal.told()
    assert f": not ordered here{why}; the present certificate is valid until " in what
    assert (renewal.outcome, renewal.is_good) == ("not ordered", False)


def test_where_no_name_is_kept_all_of_them_is_told_to_be_none():
    with open_house() as house:
        house.start()
        result = house.run("renew", "--all")
        assert (result.returncode, result.stdout) == (0, "No name wants a certificate.\n")
        assert json.loads(house.run("renew", "--all", "--json").stdout)["results"] == []
