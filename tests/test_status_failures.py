"""Every failure shows everywhere, within two seconds, with what it means and what to do."""

import html
import re
from datetime import timedelta

import pytest
import trio
from conftest import A, virtual_clock
from raw_client import ask

from tscert_trio import errors
from tscert_trio.sandbox import Fault
from tscert_trio.service import serve
from tscert_trio.settings import Settings
from tscert_trio.status.report import Level, StatusReport
from tscert_trio.status.wire import from_json

PAUSED = (
    f"Your account is temporarily prevented from requesting certificates for {A}. Visit https://ca.example/u"
)
CA_DOWN = "acme.GetReg: 503 urn:ietf:params:acme:error:serverInternal: The service is down for maintenance"
READ_ONLY = (
    "retrieving cached TLS certificate failed and cert store is configured in read-only mode, not "
    "attempting to issue a new certificate"
)
FAILURES = {
    "control": (Fault.control("the DNS provider is away"), errors.ControlError),
    "limit": (Fault.rate_limited(retry_after=3600, hang=False), errors.RateLimitedError),
    "validation": (Fault.validation("No TXT record found"), errors.ValidationError),
    "caa": (Fault.problem("caa", "CAA record forbids it"), errors.ValidationError),
    "paused": (Fault.problem("rateLimited", PAUSED), errors.PausedError),
    "403": (Fault.answer(403, "cert access denied"), errors.AccessDeniedError),
    "already replaced": (Fault.problem("alreadyReplaced", "it is", status=409), errors.AlreadyReplacedError),
    "other account": (Fault.account_mismatch(), errors.AccountMismatchError),
    "account": (Fault.account_status(), errors.AccountError),
    "storage": (Fault.storage(), errors.StorageError),
    "trouble of the CA": (Fault.answer(500, CA_DOWN), errors.CATroubleError),
    "read only": (Fault.answer(500, READ_ONLY), errors.ReadOnlyStoreError),
    "unknown": (Fault.answer(500, "something that nobody has seen before"), errors.IssuanceError),
    "garbage": (Fault.garbage_body(), errors.ProtocolError),
    "too large": (Fault.large_body(), errors.ProtocolError),
    "cut off": (Fault.cut_body(), errors.ProtocolError),
    "reset": (Fault.connection_reset(), errors.UnreachableError),
}


@pytest.fixture
async def service(sandbox, nursery, tmp_path):
    """A service that keeps a certificate for A; what it is asked is answered in text."""
    settings = Settings(
        socket=sandbox.socket_path,
        status_socket=tmp_path / "s",
        domains=(A,),
        poll_interval=timedelta(days=1),  # months go by here
    )

    async def start():
        await nursery.start(lambda task_status: serve(settings, clock=virtual_clock, task_status=task_status))

    async def get(path):
        answer = await ask(tmp_path / "s", path, headers=[("Host", "localhost")])
        return answer.status, answer.body.decode()

    get.start = start
    return get


async def everywhere(get, error, level):
    """Check that JSON, page, page of the name and metrics tell a failure, with cause and remedy."""
    name = error.__name__
    report = from_json((await get("/api/v1/status"))[1].encode(), StatusReport)
    (domain,) = report.domains
    assert (domain.level, report.level) == (level, level)
    assert (domain.trouble.kind, domain.trouble.meaning) == (name, error.meaning)
    assert domain.trouble.remedy == error.remedy
    assert name in domain.summary
    assert A in report.summary
    for path in ("/", f"/domains/{A}"):
        status, page = await get(path)
        text = html.unescape(re.sub("<[^>]+>", "", page))
        assert status == 200
        for expected in (name, error.meaning, error.remedy):
            assert "".join(expected.split()) in "".join(text.split())
    assert f'tscert_domain_error{{domain="{A}",class="{name}"}} 1' in (await get("/metrics"))[1]


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_first_certificate_that_cannot_be_had_shows_everywhere(
    autojump_clock, sandbox, service, failure
):
    fault, error = FAILURES[failure]
    sandbox.add_fault(fault)
    await service.start()
    await trio.sleep(2)
    await everywhere(service, error, Level.BAD)
    status, text = await service("/readyz")
    assert status == 503
    assert A in text
    assert error.__name__ in text
    assert (await service("/livez"))[0] == 200


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_renewal_that_fails_shows_everywhere_and_is_harmless(
    autojump_clock, sandbox, service, failure
):
    await service.start()
    await trio.sleep(10)
    (domain,) = from_json((await service("/api/v1/status"))[1].encode(), StatusReport).domains
    await trio.sleep((domain.certificate.due_at - virtual_clock()).total_seconds() - 1)
    fault, error = FAILURES[failure]
    sandbox.add_fault(fault)
    await trio.sleep(3)
    await everywhere(service, error, Level.WARNING)
    assert (await service("/readyz"))[0] == 200


async def test_a_tailscaled_that_hangs_shows_two_seconds_after_its_time_is_up(
    autojump_clock, sandbox, service
):
    sandbox.add_fault(Fault.hang())
    await service.start()
    await trio.sleep(2)
    assert "one is being requested" in (await service("/readyz"))[1]
    await trio.sleep(305)
    await everywhere(service, errors.IssuanceTimeoutError, Level.BAD)


async def test_a_ca_behind_a_firewall_shows_everywhere(autojump_clock, sandbox, service):
    sandbox.set_egress_shut(True)
    await service.start()
    await trio.sleep(2)
    await everywhere(service, errors.CAUnreachableError, Level.BAD)


async def test_a_name_that_is_no_cert_domain_shows_everywhere(autojump_clock, sandbox, service):
    sandbox.set_cert_domains([])
    await service.start()
    await trio.sleep(2)
    await everywhere(service, errors.NotACertDomainError, Level.BAD)
    assert (await service("/readyz"))[0] == 503


async def test_a_tailscaled_that_is_away_shows_everywhere_though_the_certificates_are_good(
    autojump_clock, sandbox, service
):
    await service.start()
    await trio.sleep(10)
    await sandbox.stop()
    await trio.sleep(2)
    report = from_json((await service("/api/v1/status"))[1].encode(), StatusReport)
    assert (report.level, report.domains[0].level) == (Level.WARNING, Level.GOOD)
    assert report.tailscaled.trouble.kind == "UnreachableError"
    page = (await service("/"))[1]
    assert errors.UnreachableError.meaning in html.unescape(page)
    assert "tscert_tailscaled_up 0" in (await service("/metrics"))[1]
    await sandbox.start()
    await trio.sleep(65)
    report = from_json((await service("/api/v1/status"))[1].encode(), StatusReport)
    assert (report.level, report.tailscaled.trouble) == (Level.GOOD, None)
