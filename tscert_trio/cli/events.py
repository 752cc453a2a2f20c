"""Show what has happened: attempts and steps of deliveries, the newest last.

Where the service does not answer, its journal tells, and there is nothing to follow. Exit status: 0 it was
shown, 1 nothing is known or to be followed, 2 the command line makes no sense.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from ..errors import NoStatusServiceError, StatusServiceError
from ..status.finding import find_name
from ..status.wire import to_plain
from .events_table import event_lines
from .plain import print_json
from .standing import add_socket, add_state, ask, find_service, read_events, read_report
from .terminal import show

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import NoReturn

    from ..status.client import StatusClient
    from ..status.history import Event, EventList
    from ..status.report import StatusReport

__all__ = ["add_arguments", "command"]

_POLL_SECONDS = 1
_AT_ONCE = 1000
_BEFORE_ALL = "0"
"""No event has it: all come after it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="of this name only; its first part may do")
    parser.add_argument(
        "-n", dest="count", metavar="NUMBER", type=_count, default=20, help="how many (default: 20)"
    )
    parser.add_argument("-f", dest="follows", action="store_true", help="and those to come, until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    add_socket(parser)
    add_state(parser)
    parser.set_defaults(command=command)


def command(options: argparse.Namespace) -> int:
    """Show them; return the exit status."""
    if options.follows and (client := _service(options)) is not None:
        _follow(options, client)

    def from_service(client: StatusClient) -> EventList:
        return client.events(limit=options.count, domain=_name(options, client))

    def from_journal(folder: Path) -> EventList:
        def read(name: str | None) -> EventList:
            return read_events(folder, name, _AT_ONCE)

        name = None if options.name is None else _find(options.name, read_report(folder), read)
        return read_events(folder, name, options.count)

    _print(ask(options, from_service, from_journal).events, options)
    return int(options.follows)


def _service(options: argparse.Namespace) -> StatusClient | None:
    try:
        return find_service(options)
    except NoStatusServiceError:  # whoever asks the journal instead tells why
        return None


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= _AT_ONCE):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {_AT_ONCE}")
    return int(text)


def _name(options: argparse.Namespace, client: StatusClient) -> str | None:
    def ask_for(name: str | None) -> EventList:
        return client.events(limit=_AT_ONCE, domain=name)

    return None if options.name is None else _find(options.name, client.status(), ask_for)


def _find(text: str, report: StatusReport, events_of: Callable[[str | None], EventList]) -> str:
    """Return the name that is meant: one that is kept, or one that has left and is remembered.

    Args:
        text: a name, or its first part.
        report: has the names that are kept.
        events_of: returns those of a name, or of all.

    Raises:
        StatusServiceError: it is none, or may mean several.
    """
    try:
        return find_name(text, report.names)
    except StatusServiceError:
        whole = text.lower().rstrip(".")
        left = {each.domain for each in events_of(whole if "." in whole else None).events}
        return find_name(text, [*report.names, *left.difference(report.names)])


def _follow(options: argparse.Namespace, client: StatusClient) -> NoReturn:
    """Show what happens; a service that restarts is waited for."""
    name = _name(options, client)
    events = client.events(limit=options.count, domain=name).events
    width, is_away = 0, False
    after = _BEFORE_ALL
    while True:
        width = max([width, *(len(each.domain) for each in events)])
        _print(events, options, width)
        after = events[-1].id if events else after
        if len(events) < _AT_ONCE:  # else there may be more at once
            time.sleep(_POLL_SECONDS)
        try:
            events = client.events(limit=_AT_ONCE, after=after, domain=name).events
        except StatusServiceError as exc:
            # One that has just begun knows no names yet.
            if not (isinstance(exc, NoStatusServiceError) or exc.status == 404):
                raise
            events = ()
            if not is_away:
                print(f"tscert-trio: {str(exc).rstrip('.')}; waiting for it", file=sys.stderr)
            is_away = True
        else:
            if is_away:
                print("tscert-trio: the service is back", file=sys.stderr)
            is_away = False


def _print(events: Sequence[Event], options: argparse.Namespace, width: int = 0) -> None:
    if options.json:
        for each in events:
            print_json(to_plain(each))
    elif events:
        show(event_lines(events, with_name=True, name_width=width))
    sys.stdout.flush()
