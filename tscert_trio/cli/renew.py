"""Have certificates asked for now, instead of when the service would; wait, and tell what came of it.

This ends the backoff after a failure, and tries failed deliveries again; what the CA said, such as a
Retry-After, and its limits stand. Exit status: 0 all is well, 1 something failed or has to wait, 2 the
command line makes no sense.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from ..errors import SettingsError, StatusServiceError
from ..status.finding import find_name
from .plain import print_json
from .renewals import Renewal
from .standing import add_socket, find_service
from .terminal import StatusLine, show_plain

if TYPE_CHECKING:
    import argparse

    from ..status.client import StatusClient
    from ..status.report import DomainReport

__all__ = ["add_arguments", "command"]

_POLL_SECONDS = 0.3
_SECONDS_OF_SILENCE = 30
"""After so many a pipe is told again what is going on."""
_FEW = 5
"""So many names are asked for one by one; of more all are, more seldom."""
_FORCE = "--force: each new certificate is one of the five a week that the CA gives a name"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("names", metavar="NAME", nargs="*", help="which; the first part of a name may do")
    parser.add_argument("--all", action="store_true", help="all names")
    parser.add_argument(
        "--force",
        action="store_true",
        help="have a new certificate issued, even if the present one is not due",
    )
    parser.add_argument("--no-wait", action="store_true", help="ask, and do not wait for what comes of it")
    parser.add_argument("--json", action="store_true", help="tell what came of it as JSON")
    add_socket(parser)
    parser.set_defaults(command=command)


def command(options: argparse.Namespace) -> int:
    """Ask and wait; return the exit status."""
    if bool(options.names) is options.all:
        raise SettingsError(["renew: say which names, or --all; see tscert-trio renew --help"])
    client = _find(options)
    report = client.status()
    present = {each.name: each for each in report.domains}
    names = list(present)
    if not options.all:
        names = list(dict.fromkeys(find_name(text, list(present)) for text in options.names))
    if options.force:
        print(_FORCE, file=sys.stderr)
    renewals = [Renewal(present[name], is_forced=options.force) for name in names]
    for renewal in renewals:
        _ask(client, renewal)
    if not renewals:
        lines = [report.summary]  # that there is none, or that it is not known yet which there are
    elif options.no_wait:
        lines = [f"{each.name}: asked for; see tscert-trio status" for each in renewals]
    else:
        _wait(client, renewals, are_told=not options.json)
        lines = []
        if len(renewals) > 1:
            good = sum(each.is_good for each in renewals)
            lines = [f"{good} of {len(renewals)} went well"]
    if options.json:
        print_json({"version": 1, "results": [each.as_json() for each in renewals]})
    else:
        show_plain(lines)
    return 0 if options.no_wait or all(each.is_good for each in renewals) else 1


def _find(options: argparse.Namespace) -> StatusClient:
    try:
        return find_service(options)
    except StatusServiceError as exc:
        remedy = f"{exc.remedy} Without it, tscert-trio cert NAME gets a certificate, too."
        raise type(exc)(str(exc), remedy=remedy) from None


def _ask(client: StatusClient, renewal: Renewal) -> None:
    try:
        renewal.asked_at, renewal.attempts = client.renew(renewal.name, force=renewal.is_forced)
    except StatusServiceError as exc:
        if exc.status != 403:
            raise
        force = " --force" if renewal.is_forced else ""
        remedy = f"Run: sudo tscert-trio renew {renewal.name}{force}"
        raise StatusServiceError(str(exc), remedy=remedy, status=403) from None


def _wait(client: StatusClient, renewals: list[Renewal], *, are_told: bool) -> None:
    """Wait until all is over, and tell of each name what came of it when that is known."""
    began, told_at = time.monotonic(), 0.0
    with StatusLine() as line:
        while pending := [each for each in renewals if not each.is_over]:
            seconds = time.monotonic() - began
            line.write(_progress(pending, len(renewals), seconds))
            reports = _look(client, pending)
            for renewal in pending:
                news = renewal.see(reports.get(renewal.name), seconds)
                if renewal.is_over and are_told:
                    line.write("")
                    show_plain(renewal.told())
                elif news is not None and are_told and not line.is_shown:
                    print(f"{renewal.name}: {news}", file=sys.stderr)
                    told_at = seconds
            if not all(each.is_over for each in pending):
                if are_told and not line.is_shown and seconds - told_at >= _SECONDS_OF_SILENCE:
                    print(_progress(pending, len(renewals), seconds), file=sys.stderr)
                    told_at = seconds
                time.sleep(_POLL_SECONDS if len(pending) <= _FEW else 1)


def _look(client: StatusClient, pending: list[Renewal]) -> dict[str, DomainReport]:
    if len(pending) > _FEW:
        return {each.name: each for each in client.status().domains}
    found = {}
    for renewal in pending:
        try:
            found[renewal.name] = client.domain(renewal.name).domain
        except StatusServiceError as exc:
            if exc.status != 404:
                raise
    return found


def _progress(pending: list[Renewal], total: int, seconds: float) -> str:
    first = pending[0]
    if total == 1:
        return f"{first.name}: {seconds:.0f} s, {first.doing}"
    return f"{total - len(pending)} of {total} done, {seconds:.0f} s; {first.name}: {first.doing}"
