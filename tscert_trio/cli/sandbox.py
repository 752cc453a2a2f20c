"""Run a fake tailscaled with a certificate authority inside, to try things with."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from ..errors import SettingsError, TargetError
from ..option_values import parse_duration

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "command"]

_TRY = """\
try, in another terminal:
  tscert-trio run --state :memory: --socket {socket} --ca-directory {directory} {domain}
and let things happen (all of it: python -m pydoc tscert_trio.sandbox.admin):
  sandbox() {{ curl -sS --unix-socket {socket} "http://localhost/sandbox/v0/$@"; }}
  sandbox cert-domains -X PUT -d '["{domain}", "shop.tail1234.ts.net"]'
  sandbox faults -X POST -d '{{"make": "control", "text": "the DNS provider is away", "count": 2}}'
  sandbox stop -X POST -d '{{"seconds": 20}}'
A renewal is soon to be seen where certificates live for minutes: --validity 10m, and run --ca-limits none."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("--socket", metavar="PATH", type=Path, help="where to listen (default: a new folder)")
    parser.add_argument(
        "--tailscaled",
        metavar="VERSION",
        default="1.104.5",
        help="release to imitate: 1.86.5, 1.98.10, 1.100.0, 1.102.5, 1.104.5 (default)",
    )
    parser.add_argument(
        "--cert-domain",
        metavar="DOMAIN",
        action="append",
        help="a CertDomain of the node; may be given more than once (default: box.tail1234.ts.net)",
    )
    parser.add_argument(
        "--ca-port",
        metavar="PORT",
        type=int,
        default=0,
        help="where on 127.0.0.1 its CA says when to renew (default: a free port)",
    )
    parser.add_argument(
        "--validity", metavar="DURATION", default="90d", help="life of a certificate (default: 90d)"
    )
    parser.set_defaults(command=command)


def command(options: argparse.Namespace) -> int:
    """Run the sandbox until SIGTERM or SIGINT; return the exit status."""
    from ..sandbox import VERSIONS, open_sandbox  # "run" starts faster without

    if options.tailscaled not in VERSIONS:
        raise SettingsError([f"--tailscaled: {options.tailscaled!r} is none of {', '.join(VERSIONS)}"])
    try:
        validity = parse_duration(options.validity)
    except ValueError as exc:
        raise SettingsError([f"--validity: {exc}"]) from None

    async def main() -> None:
        domains = tuple(options.cert_domain or ("box.tail1234.ts.net",))
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with open_sandbox(
                options.tailscaled,
                cert_domains=domains,
                socket_path=options.socket,
                validity=validity,
                ca_port=options.ca_port,
            ) as sandbox:
                print(f"sandbox of tailscaled {options.tailscaled} on {sandbox.socket_path}")
                fields = {"directory": sandbox.directory_url, "domain": domains[0]}
                print(_TRY.format(socket=sandbox.socket_path, **fields), flush=True)
                async for _signum in signals:
                    return

    try:
        trio.run(main)
    except OSError as exc:
        port = f" or 127.0.0.1:{options.ca_port}" if options.ca_port else ""
        raise TargetError(f"cannot listen on {options.socket}{port}: {exc.strerror or exc}") from None
    return 0
