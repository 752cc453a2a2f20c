"""``tscert-trio status``: of a service that runs, and of one that is dead."""

import json
import os
import re
from datetime import timedelta

import attrs
import pytest
from house import open_house, run_as_stranger, tailnet_name
from statuses import DAY, NOW, SECOND, cert, delivery, domain, statistics

from tscert_trio import ControlError, DomainState, IssuanceError
from tscert_trio.cli.status_check import CheckStatus, check
from tscert_trio.cli.status_detail import detail
from tscert_trio.cli.status_table import plain_table, table
from tscert_trio.delivery_record import DeliveryState
from tscert_trio.schedule import Mode
from tscert_trio.status.history import DomainDetail
from tscert_trio.status.making import make_report
from tscert_trio.status.report import Level, Source, StatusReport, Trouble
from tscert_trio.status.wire import from_json

BOX, SHOP, API, WIKI = map(tailnet_name, ("box", "shop", "api", "wiki"))
AWAY = {"make": "control", "text": "the DNS provider is away"}


@pytest.fixture(scope="module")
def house():
    """Two names are well, one fails, one is no CertDomain."""
    with open_house("box", "shop", "api") as house:
        house.ask_sandbox("POST", "faults", AWAY | {"domain": API, "count": 1000})
        hook = house.folder / "hook"
        hook.write_text("#!/bin/sh\necho told of it\n")
        hook.chmod(0o755)
        house.start(BOX, SHOP, API, WIKI, "--hook", hook)
        yield house


@pytest.fixture(scope="module")
def ruin():
    """The service was killed."""
    with open_house("box", "api") as house:
        house.ask_sandbox("POST", "faults", AWAY | {"domain": API, "count": 1000})
        house.start(BOX, API, WIKI, "--files", house.folder / "tls")
        house.kill()
        yield house


def lines_of(result, status=0):
    assert result.returncode == status, result
    assert "Traceback" not in result.stderr
    return result.stdout.splitlines()


def test_in_a_pipe_each_name_has_one_line_of_columns_and_trouble_comes_first(house):
    summary, *rows = lines_of(house.run("status"))
    assert summary.startswith(f"2 of 4 names have no valid certificate. {API}: no certificate (ControlError)")
    cells = [re.split(r" {2,}", row) for row in rows]
    assert [row[:3] for row in cells] == [
        ["bad", API, "failed"],
        ["bad", WIKI, "waiting"],
        ["good", BOX, "issued"],
        ["good", SHOP, "issued"],
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d in 8\d days", cells[2][3])
    assert "the DNS provider is away" in cells[0][5]
    assert "https://status.tailscale.com" in cells[0][5]
    assert "\x1b" not in "".join(rows)


def test_json_is_what_the_service_serves(house):
    report = from_json(house.run("status", "--json").stdout.encode(), StatusReport)
    assert (report.source, report.level) == (Source.SERVICE, Level.BAD)
    assert [each.name for each in report.domains] == [API, WIKI, BOX, SHOP]


def test_one_name_is_told_with_everything(house):
    text = house.run("status", "box").stdout
    certificate = house.report("box").certificate
    for part in (BOX, "State: issued; next attempt", certificate.fingerprint, certificate.serial_number):
        assert part in text
    for label in ("Valid", "Issuer", "Due", "Requests", "Last seen good", "Last new one", "Runway", "Target"):
        assert re.search(f"^ *{label}: ", text, re.MULTILINE)
    assert "Hook wrote: told of it" in text
    assert re.search(r"✓ \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  issue +issued", text)


def test_one_that_fails_is_told_with_meaning_and_remedy(house):
    text = house.run("status", API.upper()).stdout
    assert re.search(r"^ +Failure: ControlError: SetDNS .*the DNS provider is away$", text, re.MULTILINE)
    assert "Meaning: Tailscale's control server did not publish" in text
    assert "Remedy: Usually passes by itself; look at https://status.tailscale.com" in text
    assert "Failures: 1 in a row" in text


def test_one_name_as_json_has_its_history(house):
    detail = from_json(house.run("status", "shop", "--json").stdout.encode(), DomainDetail)
    assert (detail.domain.name, detail.events[0].outcome) == (SHOP, "issued")


def test_an_unknown_name_is_told_with_the_nearest(house):
    result = house.run("status", "bxo.tail1234.ts.net")
    assert lines_of(result, status=1) == []
    assert result.stderr == (f"tscert-trio: no certificate is kept for bxo.tail1234.ts.net. Is it {BOX}?\n")


def test_to_watch_takes_a_terminal(house):
    result = house.run("status", "--watch")
    assert result.returncode == 2
    assert "--watch is for terminals" in result.stderr


def test_asking_the_service_loads_neither_trio_nor_httpx_nor_cryptography(house):
    code = """
import sys
from tscert_trio.cli import main
for arguments in (["status"], ["status", "box"], ["status", "--check"], ["events"], ["renew", "box"]):
    main(arguments)
print([name for name in ("trio", "httpx", "cryptography", "rich") if name in sys.modules])
"""
    result = house.run_code(code)
    assert result.stdout.splitlines()[-1] == "[]", result


def test_a_dead_service_is_told_from_its_journal(ruin):
    result = ruin.run("status")
    summary, *rows = lines_of(result)
    assert summary.startswith("The service does not run. What it knew last: 2 of 3 names have no")
    assert [re.split(r" {2,}", row)[:3] for row in rows] == [
        ["bad", API, "unknown"],
        ["bad", WIKI, "unknown"],
        ["good", BOX, "unknown"],
    ]
    assert "the DNS provider is away" in rows[0]
    assert "nothing is tried while the service does not run" in rows[0]
    (line,) = result.stderr.splitlines()
    assert "no service listens on" in line
    assert "systemctl start tscert-trio" in line


def test_one_name_of_a_dead_service_has_its_history_and_deliveries(ruin):
    text = ruin.run("status", "box").stdout
    assert "Source: the journal: the service does not answer" in text
    assert "State: unknown\n" in text
    assert re.search(r"Target: .*/tls\n +written since .*; done\n", text)
    assert "issue  " in text
    detail = from_json(ruin.run("status", "box", "--json").stdout.encode(), DomainDetail)
    assert (detail.source, detail.domain.state) == (Source.JOURNAL, "unknown")


def test_names_that_left_are_not_told_of_a_dead_service():
    with open_house("box", "shop") as house:
        house.start(BOX, SHOP)
        house.service.end()
        house.start(BOX)
        house.kill()
        report = from_json(house.run("status", "--json").stdout.encode(), StatusReport)
        assert [each.name for each in report.domains] == [BOX]
        assert report.level is Level.WARNING


def test_a_service_without_a_status_socket_is_told_from_its_journal():
    with open_house("box", "api") as house:
        house.ask_sandbox("POST", "faults", AWAY | {"domain": API, "count": 1000})
        house.start(BOX, API)
        summary, bad, _good = lines_of(house.run("status", "--status-socket", "none"))
        number = house.service.child.pid
        assert summary.startswith(
            f"The service runs (process {number}), but does not answer on its status socket"
        )
        assert re.search(r"  in (\d+ minutes|1 hour)  ", bad)


def test_without_service_and_journal_nothing_is_known(tmp_path, house):
    result = house.run("status", "--status-socket", tmp_path / "s", "--state", tmp_path / "state")
    assert lines_of(result, status=1) == []
    (line,) = result.stderr.splitlines()
    assert "no service listens on" in line
    assert "there is no journal in" in line


def test_who_may_neither_ask_nor_read_is_told_both(ruin):
    state = ruin.folder / "state"
    before = state.stat().st_mode
    state.chmod(0o700 if os.geteuid() == 0 else 0)
    try:
        result = run_as_stranger(ruin, "status")
    finally:
        state.chmod(before)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert re.search("no service listens on|this user may not ask the service on", line)
    assert "may not be read by this user" in line


@pytest.mark.parametrize(
    ("options", "status", "begin"),
    [
        ([], 2, "CRITICAL - 2 of 4 names have no"),
        (["--warn", "5 parsecs"], 3, "UNKNOWN - --warn and --crit: '5 parsecs' is no duration"),
        (["--warn", "1d", "--crit", "2d"], 3, "UNKNOWN - --crit is longer than --warn"),
        (["--wat"], 3, "UNKNOWN - tscert-trio"),
        (["box"], 3, "UNKNOWN - --check is about all names"),
        (
            ["--state", ":memory:", "--status-socket", "none"],
            3,
            "UNKNOWN - the status socket is switched off",
        ),
    ],
)
def test_a_check_is_one_line_and_an_exit_status(house, options, status, begin):
    result = house.run("status", "--check", *options)
    (line,) = lines_of(result, status)
    assert line.startswith(begin)
    assert result.stderr == ""


def test_a_check_of_names_that_are_well_depends_on_the_days_that_are_left():
    with open_house("box", "shop") as house:
        house.start(BOX, SHOP)
        (line,) = lines_of(house.run("status", "--check"))
        assert re.fullmatch(
            r"OK - Both names are well\. \| good=2;;;0 notice=0;;;0 warning=0;;;0 bad=0;;;0 "
            r"'\w+\.tail1234\.ts\.net'=89\.99;14:;3: '\w+\.tail1234\.ts\.net'=89\.99;14:;3:",
            line,
        )
        (line,) = lines_of(house.run("status", "--check", "--warn", "91d"), 1)
        assert re.match(r"WARNING - (\w+\.tail1234\.ts\.net: 89 days left(, |\. \| )){2}good=2", line)
        (line,) = lines_of(house.run("status", "--check", "--warn", "92d", "--crit", "91d"), 2)
        assert line.startswith("CRITICAL - ")
        house.kill()
        (line,) = lines_of(house.run("status", "--check"), 1)
        assert line.startswith(
            "WARNING - The service does not run. What it knew last: Both names have a valid certificate; "
            "renewal is due from "
        )


@pytest.mark.parametrize("option", ["--warn", "--crit"])
def test_what_is_of_a_check_only_is_refused_without(house, option):
    result = house.run("status", option, "3d")
    assert lines_of(result, status=2) == []
    assert result.stderr == "tscert-trio: --warn and --crit are of --check: say status --check\n"


def test_a_name_that_is_no_certdomain_is_told_once_and_with_those_that_there_are(house):
    text = house.run("status", "wiki").stdout
    assert f"CertDomains: {', '.join(sorted((API, BOX, SHOP)))}\n" in text
    assert "CertDomains:" not in house.run("status", "api").stdout
    line = next(row for row in lines_of(house.run("status")) if WIKI in row)
    assert line.count("CertDomains") == 1
    assert (
        "  No certificate (NotACertDomainError); it waits to be among this node's CertDomains. The " in line
    )


# Of reports that are made up.


@pytest.fixture
def report(house):
    """How everything is, at a time when the good names have 90 days left."""
    return house.client.status()


def make(report, level, **changes):
    return attrs.evolve(report, level=level, domains=(), counts={"good": 0}, summary="so it is", **changes)


@pytest.mark.parametrize(
    ("level", "is_told", "expected"),
    [
        (Level.GOOD, True, CheckStatus.OK),
        (Level.NOTICE, True, CheckStatus.OK),
        (Level.NOTICE, False, CheckStatus.UNKNOWN),
        (Level.WARNING, False, CheckStatus.WARNING),
        (Level.BAD, True, CheckStatus.CRITICAL),
    ],
)
def test_a_level_has_a_status_of_a_check(report, level, is_told, expected):
    days = timedelta(days=3), timedelta(days=1)
    status, line = check(make(report, level, is_told=is_told), warn=days[0], crit=days[1])
    assert (status, line) == (expected, f"{expected.name} - so it is | good=0;;;0")


def test_a_check_names_what_ends_soon_beside_what_is_worse(report):
    """With less left than is critical it is named, whatever else there is."""
    box, shop = (next(each for each in report.domains if each.name == name) for name in (BOX, SHOP))
    soon = attrs.evolve(box.certificate, not_after=report.at + timedelta(minutes=14))
    box = attrs.evolve(box, certificate=soon)
    limits = {"warn": timedelta(days=14), "crit": timedelta(days=3)}
    well = attrs.evolve(report, level=Level.GOOD, domains=(box, shop), summary="Both names are well.")
    status, line = check(well, **limits)
    assert (status, line.split(" | ")[0]) == (CheckStatus.CRITICAL, f"CRITICAL - {BOX}: 14 minutes left.")
    bad = attrs.evolve(well, level=Level.BAD, summary="API is bad")
    assert check(bad, **limits)[1].startswith(f"CRITICAL - API is bad. {BOX}: 14 minutes left. | ")
    poor = attrs.evolve(well, level=Level.WARNING, summary="API is not well.")
    assert check(poor, **limits)[1].startswith(f"CRITICAL - {BOX}: 14 minutes left. API is not well. | ")


@pytest.mark.parametrize(
    ("left", "data"),
    [(90 * DAY - SECOND, "89.99"), (90 * DAY, "90.00"), (SECOND, "0.00"), (-SECOND, "-0.01")],
)
def test_days_that_are_left_are_rounded_down_as_in_words(left, data):
    found = make_report(statistics(domain(leaf=cert(left=left))), NOW)
    assert f"a.tail1234.ts.net'={data};" in check(found, warn=2 * DAY, crit=DAY)[1]


def test_a_look_and_an_order_that_has_to_wait_are_both_told(report):
    box = next(each for each in report.domains if each.name == BOX)
    limited = attrs.evolve(
        box,
        state="limited",
        limit="a limit of the CA",
        next_attempt_at=report.at + timedelta(hours=23, seconds=1),
        limited_until=report.at + timedelta(hours=33, seconds=1),
    )
    row = list(plain_table(attrs.evolve(report, domains=(limited,))))[1]
    assert "look in 23 hours, order in 33 hours" in row
    found = DomainDetail(
        program="1", at=report.at, source=Source.SERVICE, domain=limited, certificates=(), events=()
    )
    state = next(line.text for line in detail(found) if "State" in line.prefix)
    assert re.fullmatch(
        r"limited; an order waits for a limit of the CA until .* \(in 33 hours\); "
        r"next look .* \(in 23 hours\)",
        state,
    )


def test_tailscaled_that_is_away_is_told_once_with_what_to_do(report):
    trouble = Trouble(
        kind="UnreachableError", text="no such socket", meaning="It is off.", remedy="Start it."
    )
    box = next(each for each in report.domains if each.name == BOX)
    away = attrs.evolve(
        report,
        tailscaled=attrs.evolve(report.tailscaled, trouble=trouble),
        domains=(attrs.evolve(box, level=Level.WARNING, summary="it waits for tailscaled", trouble=trouble),),
        summary="tailscaled cannot be asked: no such socket. So it is.",
    )
    summary, row = plain_table(away)
    assert summary.endswith("So it is. It is off. Start it.")
    assert row.endswith("  It waits for tailscaled.")
    text = " ".join(line.text for line in table(away, 100))
    assert (text.count("Start it."), text.count("It is off.")) == (1, 1)


def test_a_check_has_data_of_a_sensible_number_of_names_and_no_stray_bar(report):
    box = next(each for each in report.domains if each.name == BOX)
    many = tuple(attrs.evolve(box, name=f"n{number}.ts.net") for number in range(100))
    line = check(
        attrs.evolve(report, domains=many, summary="a|b\x1b[2J\n"), warn=timedelta(1), crit=timedelta(1)
    )[1]
    assert line.count("|") == 1
    assert line.count(".ts.net'=") == 20
    assert line.isprintable()


def test_a_table_is_as_wide_as_the_terminal_and_leaves_out_dates_before_it_breaks(report):
    wide = "".join(line.text for line in table(report, 80))
    assert re.search(r"\d{4}-\d\d-\d\d in 8\d days", wide)
    narrow = "".join(line.text for line in table(report, 65))
    assert re.search(r"  in 8\d days", narrow)
    assert not re.search(r"\d{4}-\d\d-\d\d in 8\d days", narrow)


def test_without_names_there_is_only_the_sentence(report):
    empty = attrs.evolve(report, domains=(), summary="No name wants a certificate.")
    assert list(plain_table(empty)) == ["No name wants a certificate."]
    assert [line.text for line in table(empty, 80) if line.text] == ["No name wants a certificate."]


def test_reports_of_a_newer_service_are_understood(house):
    fields = json.loads(house.client.fetch("/api/v1/status"))
    fields["news"] = fields["domains"][0]["news"] = {"a": 1}
    assert from_json(json.dumps(fields).encode(), StatusReport).domains[0].name == API


def test_the_end_of_what_a_hook_wrote_stands_under_its_failure():
    failing = delivery(error="the hook ended with exit status 1", output="one\ntwo")
    found = statistics(domain(leaf=cert()), deliveries=(failing,))
    lines = [line.text for line in table(make_report(found, NOW, with_output=True), 80)]
    assert lines[lines.index("last output: one two") + 1] == failing_remedy(found)
    assert not any("two" in line.text for line in table(make_report(found, NOW), 80))


def failing_remedy(found):
    return make_report(found, NOW).domains[0].deliveries[0].trouble.remedy


def row_of(*deliveries, **fields):
    """What a pipe is told of a name."""
    found = statistics(domain(leaf=cert(), **fields), deliveries=deliveries)
    return re.split(r" {2,}", list(plain_table(make_report(found, NOW)))[1])[-1]


def test_words_of_others_and_names_of_targets_keep_their_case():
    said = row_of(error=IssuanceError("acme.GetReg: Get refused"))
    assert said.startswith("Renewal fails (IssuanceError), harmless so far: ")
    assert ". IssuanceError: acme.GetReg: Get refused. " in said
    assert row_of(delivery(error="no", good_until=NOW + DAY)).startswith("web: delivery fails: no; ")


def test_each_sentence_stands_beside_its_own_remedy():
    web = delivery(target="web", error="no page", output="x", good_until=NOW + DAY)
    mail = delivery(target="mail", error="no mail")
    said = row_of(web, mail, error=ControlError("the DNS provider is away"))
    order = ["mail: delivery fails: no mail", "Repair what it says", "web: delivery", "Look at what the hook"]
    order += ["ControlError: the DNS provider is away.", "control server did not publish", "Usually passes"]
    places = [said.index(each) for each in order]
    assert places == sorted(places)


def test_what_is_under_way_is_told_for_people_and_pipes():
    found = statistics(domain(leaf=cert(left=2 * DAY, life=3 * DAY), state=DomainState.REQUESTING))
    report = make_report(found, NOW)
    assert report.domains[0].level is Level.NOTICE
    assert report.domains[0].summary in [line.text for line in table(report, 100)]
    assert list(plain_table(report))[1].endswith("; a new one is being requested.")
    assert row_of(delivery(state=DeliveryState.WRITTEN)).startswith("web: under way; ")


def test_a_failed_delivery_that_is_tried_again_is_what_comes_next():
    failing = [
        delivery(target="one", error="no", next_attempt_at=NOW + timedelta(seconds=59)),
        delivery(target="two", error="no", next_attempt_at=NOW + timedelta(hours=1)),
    ]
    for left, next_one in (
        (timedelta(hours=23), "delivery in 59 seconds"),
        (timedelta(seconds=9), "in 9 seconds"),
    ):
        one = domain(leaf=cert(), next_attempt_at=NOW + left)
        report = make_report(statistics(one, deliveries=failing), NOW)
        assert f"  {next_one}  " in list(plain_table(report))[1]


@pytest.mark.parametrize(
    ("left", "runway", "text"),
    [
        (DAY, 1, "1 attempt is left before the certificate ends"),
        (DAY, 2, "2 attempts are left before the certificate ends"),
        (-DAY, 0, None),
    ],
    ids=["one", "two", "ended"],
)
def test_a_runway_is_of_a_certificate_that_has_not_ended(left, runway, text):
    one = attrs.evolve(make_report(statistics(domain(leaf=cert(left=left))), NOW).domains[0], runway=runway)
    assert next((line.text for line in lines_about(one) if "Runway" in line.prefix), None) == text


def test_requests_are_said_to_be_looks_too():
    one = make_report(statistics(domain(leaf=cert(), attempts=22)), NOW).domains[0]
    (text,) = [line.text for line in lines_about(one) if "Requests" in line.prefix]
    assert text.startswith("22 since the start, looks included; last ")


def lines_about(one):
    return detail(
        DomainDetail(program="1", at=NOW, source=Source.SERVICE, domain=one, certificates=(), events=())
    )


def test_the_remedy_of_a_hook_sends_nobody_where_he_is():
    failing = delivery(error="exit status 1", output="no such unit")
    found = statistics(domain(leaf=cert()), deliveries=(failing,))
    for with_output in (True, False):
        lines = lines_about(make_report(found, NOW, with_output=with_output).domains[0])
        (remedy,) = [line.text for line in lines if "Remedy" in line.prefix]
        assert ("(tscert-trio status" in remedy) is not with_output
        assert "then try at once: tscert-trio renew" in remedy


@pytest.mark.parametrize("mode", [Mode.READER, Mode.GUEST])
def test_a_name_that_is_not_ordered_here_has_no_runway_and_says_why(mode):
    one = make_report(statistics(domain(leaf=cert(), mode=mode)), NOW).domains[0]
    shown = [line.text for line in lines_about(one)]
    assert any("; not ordered here" in text for text in shown)
    assert not any("attempts before the certificate ends" in text for text in shown)
