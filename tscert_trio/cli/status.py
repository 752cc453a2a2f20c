"""Show how all names are, or everything about one; where the service does not answer, from its journal.

With --check it is a check for Nagios and its kin: one line, and exit status 0 (OK), 1 (WARNING), 2 (CRITICAL)
or 3 (UNKNOWN, and for a command line that makes no sense). Critical is a name without a valid certificate, or
one that is not served, and less left than --crit; a warning anything else that is wrong, a first certificate
that is under way, a service that does not answer, and less left than --warn. Else the exit status is 0, or 1
where nothing is known.
"""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING

from ..errors import SettingsError, StatusServiceError, TscertError
from ..status.finding import find_name
from .plain import print_json
from .standing import add_socket, add_state, ask, read_detail, read_report
from .terminal import is_terminal, show, show_plain

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from ..status.client import StatusClient
    from ..status.history import DomainDetail
    from ..status.report import StatusReport
    from .terminal import Line

__all__ = ["add_arguments", "command"]


_NO_SERVICE = "Check the path: something else may listen on the status socket."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="all about this name; its first part may do")
    parser.add_argument("--json", action="store_true", help="as JSON: version 1 of the service's API")
    parser.add_argument(
        "--watch", action="store_true", help="show it anew every two seconds, until q or Ctrl-C"
    )
    parser.add_argument("--check", action="store_true", help="one line and an exit status for Nagios")
    parser.add_argument(
        "--warn",
        metavar="DURATION",
        help="warn of less left, with --check (default: 14d, or a quarter of a shorter life)",
    )
    parser.add_argument(
        "--crit",
        metavar="DURATION",
        help="less left is critical, with --check (default: 3d, or a tenth of a shorter life)",
    )
    add_socket(parser)
    add_state(parser)
    parser.set_defaults(command=command)


def command(options: argparse.Namespace) -> int:
    """Show it; return the exit status."""
    if options.check:
        return _check(options)
    if options.warn is not None or options.crit is not None:
        raise SettingsError(["--warn and --crit are of --check: say status --check"])
    if options.watch:
        if options.json or not is_terminal(sys.stdout):
            raise SettingsError(["--watch is for terminals: without it, --json or a pipe shows it once"])
        from .watching import watch

        return watch(lambda width: _lines(options, width))
    if options.json:
        _print_json(options)
    elif options.name is None and not is_terminal(sys.stdout):
        from .status_table import plain_table

        show_plain(plain_table(_report(options)))
    else:
        show(_lines(options, None))
    return 0


def _check(options: argparse.Namespace) -> int:
    from ..option_values import parse_duration
    from .status_check import WARN, CheckStatus, check

    try:
        if options.name or options.json or options.watch:
            raise SettingsError(["--check is about all names, and knows neither --json nor --watch"])
        try:
            warn, crit = (
                None if text is None else parse_duration(text) for text in (options.warn, options.crit)
            )
        except ValueError as exc:
            raise SettingsError([f"--warn and --crit: {exc}"]) from None
        if crit is not None and crit > (warn or WARN):
            raise SettingsError(["--crit is longer than --warn"])
        status, line = check(_report(options), warn=warn, crit=crit)
    except TscertError as exc:
        text = exc.told() if isinstance(exc, StatusServiceError) else str(exc)
        status, line = CheckStatus.UNKNOWN, f"UNKNOWN - {text}"
    show_plain([line])
    return status


def _report(options: argparse.Namespace) -> StatusReport:
    is_told = not (options.check or options.watch)
    return ask(options, lambda client: client.status(), read_report, is_told=is_told)


def _detail(options: argparse.Namespace) -> tuple[DomainDetail, Sequence[str] | None]:
    """Return all about a name, and the node's CertDomains where they are known."""

    def from_service(client: StatusClient) -> tuple[DomainDetail, Sequence[str] | None]:
        report = client.status()
        found = client.domain(find_name(options.name, report.names))
        return found, None if report.tailscaled is None else report.tailscaled.cert_domains

    def from_journal(folder: Path) -> tuple[DomainDetail, Sequence[str] | None]:
        return read_detail(folder, options.name), None

    return ask(options, from_service, from_journal, is_told=not options.watch)


def _lines(options: argparse.Namespace, width: int | None) -> list[Line]:
    """Return what people are shown.

    Args:
        options: of the command line.
        width: of the terminal; by default as it is.
    """
    if options.name is not None:
        from .status_detail import detail

        return detail(*_detail(options))
    from .status_table import table

    return table(_report(options), width or shutil.get_terminal_size().columns)


def _print_json(options: argparse.Namespace) -> None:
    from ..status.wire import to_json

    if options.name is None:
        data = ask(
            options,
            lambda client: client.fetch("/api/v1/status"),
            lambda folder: to_json(read_report(folder)),
        )
    else:
        data = ask(
            options,
            lambda client: client.domain_json(find_name(options.name, client.status().names)),
            lambda folder: to_json(read_detail(folder, options.name)),
        )
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise StatusServiceError("what answers is not this service: no JSON", remedy=_NO_SERVICE) from None
    print_json(value)
