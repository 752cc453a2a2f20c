"""What Prometheus itself says of the metrics and of the alert rules, by its ``promtool``."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from tscert_trio.sandbox import open_sandbox
from tscert_trio.service import serve
from tscert_trio.settings import Settings
from tscert_trio.target_settings import FilesSettings, TargetSettings

from .tailnet import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tscert_trio import CertManager

PROMETHEUS = Path(__file__).parents[2] / "packaging/prometheus"
RULES, CASES = PROMETHEUS / "tscert-trio.rules.yaml", PROMETHEUS / "tscert-trio.rules.test.yaml"
NAMES = ("a.tail1234.ts.net", "b.tail1234.ts.net")


@pytest.fixture
def promtool(program_of: Callable[[str], str]) -> Callable[..., str]:
    """Return what promtool says; it must succeed."""

    def promtool(*arguments: str | Path, text: bytes = b"") -> str:
        done = subprocess.run(
            [program_of("promtool"), *arguments],
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout.decode()
        return done.stdout.decode()

    return promtool


async def scrape(path: Path) -> bytes:
    """Return the metrics of a service."""
    async with await trio.open_unix_socket(path) as stream:
        await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b"".join([chunk async for chunk in stream])
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    return body


async def test_the_metrics_of_a_running_service_are_as_prometheus_wants_them(
    promtool: Callable[..., str], tmp_path: Path
) -> None:
    target = TargetSettings(name="files", files=FilesSettings(directory=str(tmp_path / "{domain}")))
    async with open_sandbox(cert_domains=NAMES[:1]) as sandbox, trio.open_nursery() as nursery:
        path = tmp_path / "s"
        settings = Settings(socket=sandbox.socket_path, status_socket=path, domains=NAMES, targets=(target,))
        manager: CertManager = await nursery.start(serve, settings)
        await until(lambda: any(each.is_done for each in manager.statistics().deliveries))
        text = await scrape(path)
        nursery.cancel_scope.cancel()
    for name in ("tscert_certificate_ready", "tscert_delivery_done", "tscert_attempts_total"):
        assert re.search(rb"^%s\{[^}]+\} 1$" % name.encode(), text, re.MULTILINE), text.decode()
    assert promtool("check", "metrics", text=text) == ""


def test_the_alert_rules_can_be_read(promtool: Callable[..., str]) -> None:
    assert "SUCCESS" in promtool("check", "rules", RULES)


def test_each_alert_speaks_when_it_should_and_no_sooner(promtool: Callable[..., str]) -> None:
    assert "SUCCESS" in promtool("test", "rules", CASES)


def test_each_alert_is_tested_speaking_and_silent() -> None:
    alerts = re.findall(r"^      - alert: (\w+)$", RULES.read_text(), re.MULTILINE)
    cases = CASES.read_text()
    speaking = re.findall(r"^ +alertname: (\w+)$", cases, re.MULTILINE)
    silent = re.findall(r"alertname: (\w+), exp_alerts: \[\]", cases)
    assert alerts
    assert set(alerts) == set(speaking) == set(silent)
