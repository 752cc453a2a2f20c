"""A client of the status socket, of the standard library's parts: a command is to start fast."""

from __future__ import annotations

import grp
import http.client
import json
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

from ..errors import NoStatusServiceError, StatusServiceError
from .connection import Connection
from .finding import find_name
from .history import DomainDetail, EventList
from .report import StatusReport
from .wire import from_json, to_moment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    import attrs

__all__ = ["AskedFor", "StatusClient", "reach"]

_T = TypeVar("_T", bound="attrs.AttrsInstance")

_TIMEOUT_SECONDS = 10
_START = (
    "Start the service (systemctl start tscert-trio, or tscert-trio run); if it tells elsewhere how it "
    "stands, give that with --status-socket."
)
_HANGS = "Look at its log (journalctl -u tscert-trio), and restart it."
_NO_SERVICE = "Check the path: something else may listen there, or a service that is newer than this command."


class AskedFor(NamedTuple):
    """That a renewal was asked for."""

    at: datetime
    """When the service took note of it."""
    attempts: int | None
    """Requests for the name until then, one under way included: what comes of a later one is the answer.
    ``None``: an older service, which does not tell."""


def reach(paths: Sequence[Path]) -> StatusClient:
    """Return a client of the first socket on which somebody listens.

    Args:
        paths: where to look, in this order.

    Raises:
        NoStatusServiceError: nobody listens on any, or this user may not ask.
    """
    failures: list[NoStatusServiceError] = []
    for path in paths:
        connection = Connection(path, _TIMEOUT_SECONDS)
        try:
            connection.connect()
        except OSError as exc:
            failures.append(_unreachable(path, exc))
        else:
            return StatusClient(path)
        finally:
            connection.close()
    if not failures:
        raise NoStatusServiceError("the status socket is switched off here", remedy=_START)
    # That of a service which runs says more.
    raise next((each for each in failures if isinstance(each.__cause__, PermissionError)), failures[0])


class StatusClient:
    """Asks the service how it stands. Each request is a connection of its own, and takes ten seconds at most.

    Args:
        path: of the Unix socket.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def process(self) -> int | None:
        """Return the number of the process that listens; ``None`` where this platform does not tell.

        Raises:
            NoStatusServiceError: nobody listens, or this user may not ask.
        """
        if not hasattr(socket, "SO_PEERCRED"):
            return None
        connection = Connection(self.path, _TIMEOUT_SECONDS)
        try:
            connection.connect()
            found = connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError as exc:
            raise _unreachable(self.path, exc) from exc
        finally:
            connection.close()
        return int(struct.unpack("3i", found)[0]) or None

    def status(self) -> StatusReport:
        """Return how everything is.

        Raises:
            NoStatusServiceError: nobody answers, or this user may not ask.
            StatusServiceError: what answers is not the service.
        """
        return self._parse(self.fetch("/api/v1/status"), StatusReport)

    def domain(self, name: str) -> DomainDetail:
        """Return how one name is, and its history; else as :meth:`status`.

        Raises:
            StatusServiceError: no certificate is kept for it; with the nearest name.
        """
        return self._parse(self._fetch_named(name, ""), DomainDetail)

    def domain_json(self, name: str) -> bytes:
        """Return the same as it was served."""
        return self._fetch_named(name, "")

    def events(
        self, *, limit: int | None = None, after: str | None = None, domain: str | None = None
    ) -> EventList:
        """Return the newest events; else as :meth:`status`.

        Args:
            limit: how many at most.
            after: the id of one; the first of those that came later are returned.
            domain: of one name only.
        """
        query = {"limit": limit, "after": after, "domain": domain}
        given = {key: value for key, value in query.items() if value is not None}
        return self._parse(self.fetch(f"/api/v1/events?{urlencode(given)}"), EventList)

    def renew(self, name: str, *, force: bool = False) -> AskedFor:
        """Have the certificate of a name asked for now; return by what the answer is known.

        Args:
            name: which.
            force: have a new one issued even if the present one is not due.

        Raises:
            StatusServiceError: this user may not (status 403), or no certificate is kept for it (404).
            NoStatusServiceError: nobody answers.
        """
        body = self._fetch_named(name, "/renew", json.dumps({"force": force}).encode())
        try:
            fields = json.loads(body)
            attempts = fields.get("attempts")
            return AskedFor(to_moment(fields["asked_at"]), None if attempts is None else int(attempts))
        except (ValueError, LookupError, TypeError, AttributeError):
            raise self._strange("no time") from None

    def fetch(self, target: str, body: bytes | None = None) -> bytes:
        """Return the body of an answer.

        Args:
            target: path and query.
            body: what to send; then the method is POST.

        Raises:
            NoStatusServiceError: nobody answers, or this user may not ask.
            StatusServiceError: it was refused; the text is the service's.
        """
        connection = Connection(self.path, _TIMEOUT_SECONDS)
        try:
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request("GET" if body is None else "POST", target, body, headers)
            response = connection.getresponse()
            data = response.read()
        except OSError as exc:
            raise _unreachable(self.path, exc) from exc
        except http.client.HTTPException as exc:
            raise self._strange(f"no HTTP ({type(exc).__name__})") from None
        finally:
            connection.close()
        if response.status >= 300:
            raise self._refused(response.status, data)
        return data

    def _fetch_named(self, name: str, end: str, body: bytes | None = None) -> bytes:
        try:
            return self.fetch(f"/api/v1/domains/{quote(name, safe='*')}{end}", body)
        except StatusServiceError as exc:
            if exc.status == 404:
                find_name(name, self.status().names)  # raises, with the nearest
            raise

    def _parse(self, data: bytes, kind: type[_T]) -> _T:
        try:
            return from_json(data, kind)
        except ValueError:
            raise self._strange(f"no {kind.__name__}") from None

    def _refused(self, status: int, data: bytes) -> StatusServiceError:
        try:
            fields = json.loads(data)
            return StatusServiceError(str(fields["error"]), remedy=str(fields["remedy"]), status=status)
        except (ValueError, LookupError, TypeError, RecursionError):
            if status == 503:
                text = f"the service on {self.path} is being asked by too many others"
                return NoStatusServiceError(text, remedy="Ask again in a moment.", status=status)
            return self._strange(f"status {status} and no JSON", status=status)

    def _strange(self, what: str, *, status: int | None = None) -> StatusServiceError:
        text = f"what answers on {self.path} is not this service: {what}"
        return StatusServiceError(text, remedy=_NO_SERVICE, status=status)


def _unreachable(path: Path, exc: OSError) -> NoStatusServiceError:
    if isinstance(exc, PermissionError):
        who, group = _who_may(path)
        remedy = f"Run it with sudo{f', or join that group: usermod -aG {group} USER' if group else ''}."
        error = NoStatusServiceError(f"this user may not ask the service on {path}: {who}", remedy=remedy)
    elif isinstance(exc, TimeoutError):
        text = f"the service on {path} does not answer within {_TIMEOUT_SECONDS} seconds"
        error = NoStatusServiceError(text, remedy=_HANGS)
    elif isinstance(exc, FileNotFoundError | ConnectionRefusedError | NotADirectoryError):
        error = NoStatusServiceError(f"no service listens on {path}", remedy=_START)
    elif isinstance(exc, ConnectionError):
        error = NoStatusServiceError(f"the service on {path} hung up", remedy="Ask again; it may be ending.")
    else:
        error = NoStatusServiceError(f"{path} cannot be asked: {exc.strerror or exc}", remedy=_START)
    error.__cause__ = exc
    return error


def _who_may(path: Path) -> tuple[str, str | None]:
    """Return who may connect, in words, and which group; of the folder where that keeps this user out."""
    for place in (path, path.parent):
        try:
            gid = place.stat().st_gid
        except OSError:
            continue
        try:
            group = grp.getgrgid(gid).gr_name
        except KeyError:
            group = str(gid)
        return f"root, its owner and the group {group} may", group if gid else None
    return "root and its owner may", None
