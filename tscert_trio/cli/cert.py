"""Get the certificate of one name into files, as "tailscale cert" does."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from ..certificate import CertChain, CertPair
from ..clock import describe_duration, system_clock
from ..errors import InvalidDomainError, LocalAPIError, SettingsError, TargetError, TscertError
from ..localapi import LocalClient, default_socket_path
from ..option_values import parse_duration
from ..serve_config import check_domain
from ..status.finding import find_name
from ..targets import check_writable, write_file
from .standing import ask, read_report
from .terminal import counting

if TYPE_CHECKING:
    from datetime import timedelta

__all__ = ["add_arguments", "command"]

_STDOUT = "-"
_MOMENT = "%Y-%m-%d %H:%M:%S%z"
_FORCE_ALONE = (
    "--force is for a --min-validity above half of a certificate's life, and does nothing without; say how "
    "much is to be left, or have the service order a new one: tscert-trio renew {domain} --force"
)
_WAITS = "asked tailscaled, {seconds}; a first certificate takes 5 to 60 s"
_PROBE = parse_duration("1s")  # tailscaled neither renews nor asks the CA for so little


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("domain", metavar="DOMAIN")
    parser.add_argument(
        "--cert-file",
        metavar="FILE",
        help='the certificate and its chain; "-" is standard output (default: DOMAIN.crt, and the key to '
        "DOMAIN.key, where neither file is given)",
    )
    parser.add_argument("--key-file", metavar="FILE", help='the private key; "-" is standard output')
    parser.add_argument(
        "--min-validity",
        metavar="DURATION",
        help="renew a certificate with less than this left, and say why if that fails",
    )
    parser.add_argument(
        "--force", action="store_true", help="allow a --min-validity above half of a certificate's life"
    )
    parser.add_argument(
        "--socket", metavar="PATH", type=Path, help="tailscaled's socket [TSCERT_SOCKET, TS_SOCKET]"
    )
    parser.set_defaults(command=command)


def command(options: argparse.Namespace) -> int:
    """Get a certificate; return the exit status."""
    domain = _domain(options.domain)
    try:
        min_validity = None if options.min_validity is None else parse_duration(options.min_validity)
    except ValueError as exc:
        raise SettingsError([f"--min-validity: {exc}"]) from None
    if options.force and min_validity is None:
        raise SettingsError([_FORCE_ALONE.format(domain=domain)])
    cert_file, key_file = options.cert_file, options.key_file
    if cert_file == key_file not in {None, _STDOUT}:
        raise SettingsError(["--cert-file and --key-file name the same file"])
    if cert_file is None and key_file is None:
        name = domain.replace("*", "wildcard_", 1)
        cert_file, key_file = f"{name}.crt", f"{name}.key"
    for file in (cert_file, key_file):
        if file not in (None, _STDOUT):
            check_writable(Path(file))
    socket_path = options.socket or os.environ.get("TSCERT_SOCKET") or default_socket_path()
    client = LocalClient(socket_path)
    with counting(f"{domain}: {_WAITS}"):
        answer = trio.run(_fetch, client, domain, min_validity, options.force, key_file is not None)
    # The key first: a certificate without its key is of no use, and the other way round is harmless.
    if key_file is not None:
        assert isinstance(answer, CertPair)
        _write(key_file, answer.key_pem, mode=0o600, what="private key")
    if cert_file is not None:
        pem = answer.pem if isinstance(answer, CertChain) else answer.chain_pem
        _write(cert_file, pem, mode=0o644, what="certificate")
    print(f"{domain}: valid until {answer.leaf.not_after.astimezone():{_MOMENT}}", file=sys.stderr)
    return 0


def _domain(text: str) -> str:
    """Return the name that is meant, which has to be whole: its first part may be any machine's.

    Raises:
        InvalidDomainError: it is none; with the whole name where the service or its journal knows one.
    """
    try:
        return check_domain(text)
    except InvalidDomainError as exc:
        if "." in text.rstrip("."):
            raise
        whole = _known_name(text)
        hint = f"is it {whole}?" if whole is not None else "such as box.tail1234.ts.net"
        raise InvalidDomainError(f"{text!r} is no whole DNS name, and cert wants one: {hint}") from exc


def _known_name(text: str) -> str | None:
    """Return the only name that begins so, of those that the service keeps."""
    options = argparse.Namespace(status_socket=None, state=None)
    try:
        report = ask(options, lambda client: client.status(), read_report, is_told=False)
        return find_name(text, report.names)
    except TscertError:
        return None


async def _fetch(
    client: LocalClient, domain: str, min_validity: timedelta | None, force: bool, wants_key: bool
) -> CertChain | CertPair:
    async with client:
        get = client.cert_pair if wants_key else client.cert
        if min_validity is None:
            return await get(domain)
        present = await get(domain, min_validity=_PROBE)
        if min_validity > present.leaf.lifetime / 2 and not force:
            fault = (
                f"--min-validity is above half of the certificate's life of {_life(present.leaf.lifetime)}, "
                "so every call would order a new one, and the CA allows five a week; ask for less or add "
                "--force"
            )
            raise SettingsError([fault])
        if present.leaf.not_after - system_clock() >= min_validity:
            return present
        try:
            return await get(domain, min_validity=min_validity)
        except LocalAPIError as exc:
            end = f"{present.leaf.not_after.astimezone():{_MOMENT}}"
            exc.add_note(
                f"the present certificate is valid until {end}; without --min-validity, cert gets that one"
            )
            raise


def _life(duration: timedelta) -> str:
    """Return how long a certificate lives, as people write it: in days, where it is days."""
    days = duration.total_seconds() / 86400
    return f"{days:.0f}d" if days >= 2 else describe_duration(duration)


def _write(file: str, data: bytes, *, mode: int, what: str) -> None:
    if file == _STDOUT:
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as exc:
            raise TargetError(f"cannot write standard output: {exc.strerror}") from exc
    else:
        written = write_file(Path(file), data, mode=mode)
        print(
            f"wrote {what} to {file}" if written.changed else f"{what} unchanged at {file}", file=sys.stderr
        )
        for warning in written.warnings:
            print(f"warning: {warning}", file=sys.stderr)
