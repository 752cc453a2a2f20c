"""How everything stands: asked of the service, or read from its journal where it does not answer."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..config_places import MEMORY, NO_SOCKET, read_texts
from ..errors import NoStatusServiceError, StateError
from ..status.client import StatusClient, reach
from ..status.place import status_sockets

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from ..status.history import DomainDetail, EventList
    from ..status.report import StatusReport

__all__ = ["add_socket", "add_state", "ask", "find_service", "read_detail", "read_events", "read_report"]

_T = TypeVar("_T")

_SYSTEM_STATE = Path("/var/lib/tscert-trio")


def add_socket(parser: argparse.ArgumentParser) -> None:
    """Declare where the service is."""
    parser.add_argument(
        "--status-socket",
        metavar="PATH",
        help="the service's status socket, or none (default: that of the configuration file, of a service of "
        "this user, or the system's) [TSCERT_STATUS_SOCKET]",
    )


def add_state(parser: argparse.ArgumentParser) -> None:
    """Declare where the journal is."""
    parser.add_argument(
        "--state",
        metavar="PATH",
        help="the service's state folder, with the journal that tells what was where the service does not "
        "answer (default: that of the configuration file, of a service of this user, or the system's) "
        "[TSCERT_STATE]",
    )


def find_service(options: argparse.Namespace) -> StatusClient:
    """Return a client of the service.

    Raises:
        NoStatusServiceError: nobody listens, or this user may not ask.
    """
    if given := options.status_socket or os.environ.get("TSCERT_STATUS_SOCKET"):
        return reach([] if given == str(NO_SOCKET) else [Path(given)])
    given = read_texts().get("status_socket")
    if given == str(NO_SOCKET):
        return reach([])
    usual = status_sockets()
    return reach(list(dict.fromkeys([Path(given), *usual])) if given else usual)


def ask(
    options: argparse.Namespace,
    from_service: Callable[[StatusClient], _T],
    from_journal: Callable[[Path], _T],
    *,
    is_told: bool = True,
) -> _T:
    """Return what the service says, or its journal where it does not answer.

    Args:
        options: of the command line.
        from_service: asks it.
        from_journal: reads it from a state folder.
        is_told: whether to tell on standard error that the service does not answer.

    Raises:
        NoStatusServiceError: neither is to be had; the text says why for both.
        StatusServiceError: the service answered, and that it cannot.
    """
    try:
        return from_service(find_service(options))
    except NoStatusServiceError as exc:
        try:
            answer = from_journal(_state_folder(options))
        except StateError as error:
            raise NoStatusServiceError(f"{exc}; and {error}", remedy=exc.remedy) from None
        if is_told:
            print(f"tscert-trio: {exc.told()} What follows is from its journal.", file=sys.stderr)
        return answer


def read_report(folder: Path) -> StatusReport:
    """Return how everything stood by the journal; raises as :func:`journal_report`."""
    from ..clock import system_clock
    from ..schedule import RetryPolicy  # a service that answers is asked faster without
    from ..status.offline import journal_report

    return journal_report(folder, system_clock(), RetryPolicy(urgency=True))


def read_detail(folder: Path, name: str) -> DomainDetail:
    """Return how one name stood by the journal; raises as :func:`journal_detail`."""
    from ..clock import system_clock
    from ..schedule import RetryPolicy
    from ..status.offline import journal_detail

    return journal_detail(folder, name, system_clock(), RetryPolicy(urgency=True))


def read_events(folder: Path, name: str | None, limit: int) -> EventList:
    """Return what has happened by the journal; raises as :func:`journal_events`."""
    from ..status.offline import journal_events

    return journal_events(folder, name, limit)


def _state_folder(options: argparse.Namespace) -> Path:
    from ..journal import default_state_folder

    given = options.state or os.environ.get("TSCERT_STATE") or read_texts().get("state")
    if given == str(MEMORY):
        raise StateError("there is no journal: the state folder is :memory:")
    if given:
        return Path(given)
    own = default_state_folder()
    return own if own.exists() or not _SYSTEM_STATE.exists() else _SYSTEM_STATE
