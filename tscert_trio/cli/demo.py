"""Show the main job on a fake tailscaled: takes 20 seconds and needs no tailnet."""

from __future__ import annotations

import signal
import tempfile
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from ..ari import RenewalInfoClient
from ..localapi.transport import UnixTransport
from ..sandbox import Fault, open_sandbox
from ..service import serve
from ..settings import NO_SOCKET
from ..target_settings import FilesSettings, ProbeSettings, TargetSettings
from .demo_server import DemoServer

if TYPE_CHECKING:
    from ..settings import Settings

__all__ = ["run_demo"]

_SHOP, _WIKI, _API = (f"{name}.tail1234.ts.net" for name in ("shop", "wiki", "api"))
_RETRY = timedelta(seconds=3)
_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
_END = """
That was the whole main job, on a fake tailscaled. On a machine of your tailnet, as root:

    tscert-trio run           follow the serve config of the tailscaled there
    tscert-trio run --self    and keep a certificate for the node's own name
    tscert-trio run --self --files /etc/ssl/tailnet --reload nginx.service --probe 127.0.0.1:443
                              and bring it to nginx, and see that it serves it
"""


async def run_demo(settings: Settings) -> int:
    """Run service and sandbox in one process and let things happen; return the exit status."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:

            async def end_on_signal() -> None:
                async for _signum in signals:
                    nursery.cancel_scope.cancel(reason="interrupted")

            nursery.start_soon(end_on_signal)
            with tempfile.TemporaryDirectory(prefix="tscert-demo-") as folder:
                await _play(settings, Path(folder))
            nursery.cancel_scope.cancel(reason="the demonstration has ended")
    return 0


async def _play(settings: Settings, folder: Path) -> None:
    async with (
        open_sandbox(cert_domains=[_SHOP, _API]) as sandbox,
        RenewalInfoClient(
            sandbox.directory_url, transport=UnixTransport(sandbox.ca_socket_path)
        ) as renewal_info,
        trio.open_nursery() as nursery,
    ):
        sandbox.set_serve_config(_serve_config(_SHOP, _WIKI, _API))
        sandbox.add_fault(Fault.control("the DNS provider is away", domain=_API, count=2))
        _say(f"The serve config has {_SHOP}, {_WIKI} and {_API}.")
        _say(f"{_WIKI} is not yet among the names this node may have certificates for (its CertDomains).")
        sandbox.set_ari_window(
            _SHOP, _LONG_AGO, _LONG_AGO + timedelta(days=1), "https://ca.example/revoked-by-mistake"
        )
        _say(f"The CA wants the first certificate of {_SHOP} replaced at once, as after a revocation.")
        _say(f"For {_API} the control server fails twice, on purpose; here retries come after seconds.")
        _say(f"Each certificate goes into {folder}, where a web server has it from: it is looked at, too.")
        port = await nursery.start(DemoServer(folder).serve)
        target = TargetSettings(
            name="web server",
            files=FilesSettings(directory=str(folder)),
            probe=ProbeSettings(host="127.0.0.1", port=port),
        )
        settings = attrs.evolve(
            settings,
            socket=sandbox.socket_path,
            retry_initial=_RETRY,
            serve_config=None,
            reader_reason=None,
            targets=(target,),  # nothing of the demonstration may come where real certificates lie
            on_failure=None,
            guests=(),
            status_socket=NO_SOCKET,
        )
        await nursery.start(partial(serve, settings, renewal_info=renewal_info))
        await trio.sleep(5)
        _say(f"{_WIKI} is approved on the tailnet and becomes a CertDomain.")
        sandbox.set_cert_domains([_SHOP, _WIKI, _API])
        await trio.sleep(6)
        _say(f"{_SHOP} leaves the serve config, so its loop ends.")
        sandbox.set_serve_config(_serve_config(_WIKI, _API))
        await trio.sleep(2)
        print(_END, flush=True)
        nursery.cancel_scope.cancel(reason="the demonstration has ended")


def _serve_config(*domains: str) -> dict[str, object]:
    handlers = {"Handlers": {"/": {"Proxy": "http://127.0.0.1:8080"}}}
    return {
        "Services": {
            f"svc:{domain.split('.')[0]}": {
                "TCP": {"443": {"HTTPS": True}},
                "Web": {f"{domain}:443": handlers},
            }
            for domain in domains
        }
    }


def _say(text: str) -> None:
    print(f"--- {text}", flush=True)
