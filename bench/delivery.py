"""What a delivery takes: from a new certificate to its files, of one name and of a thousand, and to nginx.

Started by ``run.py``. It prints one JSON list of lines: what, goal, measured.

python bench/delivery.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import statistics
import subprocess
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from measure import short_folder
from tscert_trio import NO_LIMITS, LocalClient, open_cert_manager
from tscert_trio.journal import Journal
from tscert_trio.sandbox import open_sandbox
from tscert_trio.target_settings import FilesSettings, ProbeSettings, SignalSettings, TargetSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tscert_trio import CertManager
    from tscert_trio.sandbox import Sandbox

Line = tuple[str, str, str]

NAME = "box.tail1234.ts.net"
RENEWALS = 20
NGINX = """\
daemon off;
error_log stderr;
pid {folder}/pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {folder}/tls/{name}.crt;
        ssl_certificate_key {folder}/tls/{name}.key;
    }}
}}
"""


class Moments(logging.Handler):
    """Notes when a certificate was new, and when it was delivered: the log tells both where they happen."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.new: list[float] = []
        self.delivered: list[float] = []
        logger = logging.getLogger("tscert_trio")
        logger.setLevel(logging.INFO)
        logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Note the moment."""
        if "certificate valid until" in record.msg:
            self.new.append(time.perf_counter())
        elif "target" in record.msg and "the certificate is" in record.getMessage():
            self.delivered.append(time.perf_counter())


@asynccontextmanager
async def open_manager(
    sandbox: Sandbox, names: list[str], *targets: TargetSettings, journal: Journal | None = None
) -> AsyncIterator[CertManager]:
    """Open a manager of these names, with targets."""
    async with (
        LocalClient(sandbox.socket_path) as client,
        open_cert_manager(client, limits=NO_LIMITS, journal=journal, targets=targets) as manager,
    ):
        manager.ensure_domains(names)
        yield manager


async def renew_again_and_again(moments: Moments, manager: CertManager, times: int) -> None:
    """Renew so often, each time when the delivery before is done."""
    for number in range(1, times + 1):
        while len(moments.delivered) < number:  # noqa: ASYNC110 -- the log tells
            await trio.sleep(0.02)
        if number < times:
            await trio.sleep(0.2)  # renewals do not come one upon the other
            manager.renew(NAME, force=True)


def median_ms(moments: Moments) -> float:
    """Return how long deliveries took, in the median, but for the first."""
    pairs = list(zip(moments.new, moments.delivered, strict=True))[1:]
    return statistics.median(delivered - new for new, delivered in pairs) * 1_000


async def measure_one(folder: Path, times: int) -> Line:
    """Deliver renewals of one name into its two files."""
    moments = Moments()
    target = TargetSettings(name="t", files=FilesSettings(directory=str(folder / "tls")))
    async with open_sandbox(cert_domains=[NAME]) as sandbox, open_manager(sandbox, [NAME], target) as manager:
        with trio.fail_after(60):
            await renew_again_and_again(moments, manager, times)
    return ("from the new leaf to both files in place, with fsync: ms", "5", f"{median_ms(moments):.1f}")


async def measure_many(folder: Path, count: int) -> Line:
    """Deliver the certificates of many names that tailscaled has already."""
    names = [f"svc-{number}.tail1234.ts.net" for number in range(count)]
    target = TargetSettings(name="t", files=FilesSettings(directory=str(folder / "tls")))
    with Journal(folder / "journal") as journal:
        async with open_sandbox(cert_domains=names) as sandbox:
            async with open_manager(sandbox, names, journal=journal) as manager:
                with trio.fail_after(120):
                    while any(each.leaf is None for each in manager.statistics().domains):  # noqa: ASYNC110
                        await trio.sleep(0.1)
            before = time.perf_counter()
            async with open_manager(sandbox, names, target, journal=journal) as manager:
                with trio.fail_after(120):
                    while sum(each.is_done for each in manager.statistics().deliveries) < count:  # noqa: ASYNC110
                        await trio.sleep(0.1)
            seconds = time.perf_counter() - before
    goal = "10" if count == 1_000 else ""
    return (f"{count:,} names into two files each, with fsync: s", goal, f"{seconds:.1f}")


async def measure_nginx(folder: Path, times: int) -> Line:
    """Deliver renewals of one name to nginx, until it is seen serving them."""
    what = "from the new leaf to nginx seen serving it: s"
    if shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin") is None:
        return (what, "1.5", "not run: there is no nginx")
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    (folder / "conf").write_text(NGINX.format(folder=folder, name=NAME, port=port))
    moments = Moments()
    target = TargetSettings(
        name="t",
        files=FilesSettings(directory=str(folder / "tls")),
        signal=SignalSettings(pidfile=folder / "pid"),
        probe=ProbeSettings(host="127.0.0.1", port=port),
    )
    async with open_sandbox(cert_domains=[NAME]) as sandbox:
        async with LocalClient(sandbox.socket_path) as client:
            pair = await client.cert_pair(NAME)
        (folder / "tls").mkdir()
        (folder / "tls" / f"{NAME}.crt").write_bytes(pair.chain_pem)
        (folder / "tls" / f"{NAME}.key").write_bytes(pair.key_pem)
        nginx = subprocess.Popen(  # noqa: ASYNC220
            ["/usr/sbin/nginx", "-c", folder / "conf", "-e", "stderr"], stderr=subprocess.DEVNULL
        )
        try:
            async with open_manager(sandbox, [NAME], target) as manager:
                with trio.fail_after(120):
                    await renew_again_and_again(moments, manager, times)
        finally:
            nginx.terminate()
            nginx.wait()
    return (what, "1.5", f"{median_ms(moments) / 1_000:.2f}")


def main(*, quick: bool) -> list[Line]:
    """Measure all."""
    lines = []
    for measure, number in (
        (measure_one, RENEWALS),
        (measure_many, 100 if quick else 1_000),
        (measure_nginx, 6),
    ):
        with short_folder() as folder:
            lines.append(trio.run(measure, folder, number))
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What a delivery takes.")
    parser.add_argument("part", choices=["delivery"])
    parser.add_argument("--quick", action="store_true", help="a tenth of the names")
    logging.basicConfig(level=logging.WARNING, handlers=[logging.NullHandler()])
    print(json.dumps(main(quick=parser.parse_args().quick)), flush=True)
