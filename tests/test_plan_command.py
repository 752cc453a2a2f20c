"""Which names would become public: told before the first order, which this never makes."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
import trio
from certs import facts

from tscert_trio.journal import open_state_folder
from tscert_trio.planning import Fate, plan_names, wanted_names
from tscert_trio.sandbox import Fault, open_sandbox
from tscert_trio.schedule import AccountState, DomainRecord
from tscert_trio.serve_config import Scope
from tscert_trio.settings import Settings
from tscert_trio.survey import take_survey

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)
NAME, SHOP, NEW = "box.tail1234.ts.net", "shop.tail1234.ts.net", "new.tail1234.ts.net"
ORDERED = "would be ordered now, unless tailscaled has one: becomes public"
BOTH = {
    "TCP": {"443": {"HTTPS": True}},
    "Web": {f"{NAME}:443": {}},
    "Services": {"svc:shop": {"TCP": {"443": {"HTTPS": True}}, "Web": {f"{SHOP}:443": {}}}},
}


@pytest.fixture
async def sandbox():
    async with open_sandbox(cert_domains=[NAME, SHOP], clock=lambda: NOW) as sandbox:
        yield sandbox


async def survey(sandbox, **settings):
    values = {"socket": sandbox.socket_path} | settings
    return await take_survey(Settings(**values), environ={}, clock=lambda: NOW)


async def fates(sandbox, **settings):
    planned = plan_names(await survey(sandbox, **settings))
    assert sandbox.orders == []
    assert not [call for call in sandbox.calls if call.domain]
    return {name.wanted.domain: (name.fate, name.text) for name in planned}


def remember(folder, domain, born):
    leaf = facts((domain,), born, 90 * DAY, fingerprint=domain.encode().hex()[:20].ljust(64, "0"))
    known = DomainRecord(domain=domain, wanted_since=born, leaf=leaf)
    with open_state_folder(folder) as journal:
        journal.note_look(known, NOW, None, AccountState())


async def test_each_name_says_where_it_is_from(sandbox):
    sandbox.set_serve_config(BOTH)
    found = wanted_names(await survey(sandbox, self_name=True, domains=(NEW, SHOP)))
    assert [(name.domain, name.sources, name.services) for name in found] == [
        (NAME, ("serve config, the node itself", "--self"), ()),
        (NEW, ("DOMAIN",), ()),
        (SHOP, ("serve config, svc:shop", "DOMAIN"), ("svc:shop",)),
    ]


async def test_the_scope_holds(sandbox):
    sandbox.set_serve_config(BOTH)
    assert set(await fates(sandbox, scope=Scope.SERVICES)) == {SHOP}


async def test_a_name_from_a_file_names_the_file(sandbox, tmp_path):
    path = tmp_path / "serve.json"
    path.write_text(json.dumps(BOTH).replace(NAME, "${TS_CERT_DOMAIN}"))
    found = wanted_names(await survey(sandbox, serve_config=path))
    assert [(name.domain, name.sources) for name in found] == [
        (NAME, (f"{path}, the node itself",)),
        (SHOP, (f"{path}, svc:shop",)),
    ]


async def test_a_new_cert_domain_would_be_ordered_and_another_name_waits(sandbox):
    assert await fates(sandbox, domains=(NAME, f"*.{NAME}", NEW)) == {
        NAME: (Fate.ORDERED, ORDERED),
        f"*.{NAME}": (Fate.ORDERED, ORDERED),
        NEW: (Fate.WAITS, "waits: not a CertDomain; becomes public once it is one"),
    }


async def test_what_had_a_certificate_is_public_already(sandbox, tmp_path):
    remember(tmp_path, NAME, NOW - 10 * DAY)
    remember(tmp_path, NEW, NOW - 100 * DAY)
    assert await fates(sandbox, domains=(NAME, NEW), state=tmp_path) == {
        NAME: (Fate.PUBLIC, "public already, certificate until 2027-02-12"),
        NEW: (Fate.PUBLIC, "public already, its certificate ended on 2026-11-14"),
    }


async def test_it_reads_the_journal_of_a_service_that_runs(sandbox, tmp_path):
    known = DomainRecord(domain=NAME, wanted_since=NOW, leaf=facts((NAME,), NOW, 90 * DAY))
    with open_state_folder(tmp_path) as journal:
        journal.note_look(known, NOW, None, AccountState())
        assert (await fates(sandbox, domains=(NAME,), state=tmp_path))[NAME][0] is Fate.PUBLIC


async def test_filters_are_told_with_the_pattern(sandbox):
    assert await fates(sandbox, domains=(NAME, SHOP), exclude=("x*", "shop.*"), only=("*",)) == {
        NAME: (Fate.ORDERED, ORDERED),
        SHOP: (Fate.FILTERED, "left out by --not shop.*"),
    }
    only = await fates(sandbox, domains=(NAME, SHOP), only=("box.*", "y*"))
    assert only[SHOP] == (Fate.FILTERED, "left out by --only box.* y*")


async def test_guests_and_readers_order_nothing(sandbox):
    guest = await fates(sandbox, domains=(NAME, SHOP), guests=("shop.*",))
    assert [guest[NAME][0], guest[SHOP]] == [Fate.ORDERED, (Fate.NEVER, "never ordered (issue = false)")]
    reader = await fates(sandbox, domains=(NAME,), reader_reason="replica 1")
    assert reader == {NAME: (Fate.NEVER, "never ordered (this replica only reads)")}


async def test_without_tailscaled_what_is_known_is_told(sandbox, tmp_path):
    await sandbox.stop()
    remember(tmp_path, SHOP, NOW)
    found = await fates(sandbox, domains=(NAME, SHOP), self_name=True, state=tmp_path)
    assert {name: fate for name, (fate, _) in found.items()} == {NAME: Fate.UNKNOWN, SHOP: Fate.PUBLIC}


async def run_command(*arguments, **variables):
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("TS", "POD_"))}
    environ |= {"TSCERT_STATE": ":memory:", "TSCERT_CONFIG": "/dev/null", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-W", "error", "-m", "tscert_trio", "plan", *map(str, arguments)]
    return await trio.to_thread.run_sync(
        lambda: subprocess.run(
            command, env=environ | variables, capture_output=True, text=True, check=False, timeout=60
        )
    )


async def test_the_command_prints_a_table_and_a_sentence(sandbox):
    sandbox.set_serve_config(BOTH)
    ended = await run_command("--socket", sandbox.socket_path, "--not", "shop.*", NEW)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "NAME                  FROM                           WHAT HAPPENS",
        f"box.tail1234.ts.net   serve config, the node itself  {ORDERED}",
        "new.tail1234.ts.net   DOMAIN                         "
        "waits: not a CertDomain; becomes public once it is one",
        "shop.tail1234.ts.net  serve config, svc:shop         left out by --not shop.*",
        "Without a state folder it is not known which names are public already.",
        "1 name would become public now, for ever, and 1 more once the tailnet allows it; "
        "nothing was ordered.",
    ]
    assert sandbox.orders == []


async def test_where_nothing_would_become_public_it_says_so(sandbox, tmp_path):
    remember(tmp_path, NAME, datetime.now(UTC))
    ended = await run_command("--socket", sandbox.socket_path, "--state", tmp_path, NAME)
    assert ended.returncode == 0
    assert ended.stdout.splitlines()[-1] == "No name would become public that is not; nothing was ordered."
    ended = await run_command("--socket", sandbox.socket_path, "--state", tmp_path / "new")
    assert (ended.returncode, ended.stdout) == (0, "No name wants a certificate.\n")
    assert not (tmp_path / "new").exists()


async def test_nothing_that_others_say_moves_a_cursor(sandbox):
    evil = "svc:a\x1b[31mEVIL\x1b]0;x\x07"
    sandbox.set_serve_config({"Services": {evil: BOTH["Services"]["svc:shop"]}})
    ended = await run_command("--socket", sandbox.socket_path)
    header, row, *_ = ended.stdout.splitlines()
    assert row.startswith(f"{SHOP}  serve config, svc:a�[31mEVIL�]0;x�  ")
    assert row.index(ORDERED) == header.index("WHAT HAPPENS")  # as wide as what is shown
    assert "".join(ended.stdout.splitlines()).isprintable()


async def test_json_is_for_programs(sandbox):
    ended = await run_command("--socket", sandbox.socket_path, "--json", "--self", NAME)
    assert json.loads(ended.stdout) == {
        "names": [
            {
                "name": NAME,
                "sources": ["--self", "DOMAIN"],
                "fate": "ordered",
                "text": ORDERED,
            }
        ],
        "unknown": [],
    }


async def test_without_tailscaled_it_says_what_it_does_not_know_and_ends_with_1(tmp_path):
    ended = await run_command("--socket", tmp_path / "nowhere", NAME)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert "This cannot be known: what tailscaled would tell" in ended.stdout
    assert ended.stdout.splitlines()[-1] == (
        "Of the names that are known 1 would become public if the tailnet allows it; nothing was ordered."
    )
    ended = await run_command("--socket", tmp_path / "nowhere", "--json")
    assert len(json.loads(ended.stdout)["unknown"]) == 1


async def test_a_serve_config_or_journal_that_cannot_be_read_is_told(sandbox, tmp_path):
    sandbox.add_fault(Fault.answer(500, "no config", endpoint="serve-config"))
    (tmp_path / "journal.sqlite").write_bytes(b"no database at all" * 300)
    ended = await run_command("--socket", sandbox.socket_path, "--state", tmp_path)
    assert ended.returncode == 1
    assert "which names the serve config wants, since" in ended.stdout
    assert "which names are public already, since" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "No name that is known wants a certificate."


async def test_the_own_name_of_a_node_that_is_logged_out_is_not_known(sandbox):
    sandbox.logout()
    ended = await run_command("--socket", sandbox.socket_path, "--self")
    assert ended.returncode == 1
    assert "the node's own name, since tailscaled is logged out" in ended.stdout


@pytest.mark.parametrize("trouble", ["logged out", "no serve config"])
async def test_where_names_are_not_known_it_does_not_say_that_none_would_become_public(
    sandbox, tmp_path, trouble
):
    remember(tmp_path, NAME, datetime.now(UTC))
    if trouble == "logged out":
        sandbox.logout()
    else:
        sandbox.add_fault(Fault.answer(500, "no config", endpoint="serve-config"))
    ended = await run_command("--socket", sandbox.socket_path, "--state", tmp_path, "--self", NAME)
    assert ended.returncode == 1
    assert "This cannot be known: " in ended.stdout
    assert ended.stdout.splitlines()[-1] == (
        "Of the names that are known none would become public that is not; nothing was ordered."
    )


async def test_names_that_wait_are_told_in_a_sentence_of_their_own(sandbox):
    ended = await run_command("--socket", sandbox.socket_path, NEW)
    assert ended.stdout.splitlines()[-1] == (
        "1 name would become public once the tailnet allows it; nothing was ordered."
    )


async def test_settings_that_make_no_sense_are_status_2():
    ended = await run_command("--scope", "everything")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "--scope: 'everything' is none of services, all" in ended.stderr
