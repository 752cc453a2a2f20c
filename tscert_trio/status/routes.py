"""Which request is answered by what, and which by nobody."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeAlias

import attrs
import trio

from ..http_server import Response
from . import handlers
from .answers import error
from .encoding import accepts_gzip, compressed
from .guard import is_from_here, is_host_allowed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ..http_server import Request, StreamResponse
    from .handlers import StatusContext

    Key: TypeAlias = tuple[object, ...]
    Handler: TypeAlias = Callable[[StatusContext, Request], Response | StreamResponse]
    NameHandler: TypeAlias = Callable[[StatusContext, Request, str], Response]

__all__ = ["StatusRoutes"]

_logger = logging.getLogger(__name__)

_PLAIN: dict[str, Handler] = {
    "/": handlers.page,
    "/events": handlers.stream,
    "/api/v1/status": handlers.status_json,
    "/api/v1/events": handlers.events_json,
    "/api/v1/schema": handlers.schema,
    "/metrics": handlers.metrics,
    "/livez": handlers.livez,
    "/readyz": handlers.readyz,
}
_NAMED: tuple[tuple[str, str, str, NameHandler], ...] = (  # method, what the path begins and ends with
    ("POST", "/api/v1/domains/", "/renew", handlers.renew),
    ("GET", "/api/v1/domains/", "", handlers.domain_json),
    ("GET", "/domains/", "", handlers.domain_page),
    ("GET", "/static/", "", handlers.static),
)
"""The first one counts whose path it is."""
_ALLOWED = {"GET": "GET, HEAD", "POST": "POST"}
_HOST_EXEMPT = {"/metrics", "/livez", "/readyz"}
"""Asked by programs, by whatever name, and of no use to a page elsewhere."""

_LIVEZ = "/livez"
"""Waits for nobody: who asks kills the service where no answer comes."""
_KEPT = {"/", "/api/v1/status"}
"""Takes long, and many ask for the same."""
_KEPT_SECONDS, _MOST_KEPT = 1, 4


@attrs.frozen(eq=False)
class StatusRoutes:
    """Answers requests one after the other, and lets the cert loops go on in between.

    Args:
        context: what answers are made of.
        allowed_hosts: names by which it may be asked over TCP, see :func:`is_host_allowed`.
    """

    _context: StatusContext
    _allowed_hosts: Collection[str] = ()
    _turns: dict[bool, trio.Lock] = attrs.field(
        factory=lambda: {False: trio.Lock(), True: trio.Lock()}, init=False
    )
    """By whether it is asked from here: a crowd elsewhere delays nobody here."""
    _kept: dict[Key, tuple[float, Response]] = attrs.field(factory=dict, init=False)
    """Answers and until when they are good, the oldest first."""

    async def answer(self, request: Request) -> Response | StreamResponse:
        """Answer one request. What a client does wrong is an answer, too; so is a bug, which is logged."""
        self._context.manager.clock()  # notices that the machine was suspended, and wakes the loops
        for _ in range(2):  # so that they have planned anew: tasks that are awake run in any order
            await trio.lowlevel.checkpoint()
        if request.path == _LIVEZ:
            return self._answer(request)
        async with self._turns[is_from_here(request)]:
            return self._answer(request)

    def _answer(self, request: Request) -> Response | StreamResponse:
        try:
            return self._refusal(request) or self._kept_answer(request)
        except Exception:  # the certificates are more important than a page
            _logger.exception("a bug in the answer to %s %s", request.method, request.path)
            return error(500, "this answer has a bug", "the log has it; please report it")

    def _refusal(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        if (
            is_from_here(request)
            or request.path in _HOST_EXEMPT
            or is_host_allowed(host, self._allowed_hosts)
        ):
            return None
        remedy = 'allow it with --allowed-hosts or allowed_hosts = ["…"], or use the address'
        return error(421, f"{host} is no name by which this may be asked", remedy)

    def _kept_answer(self, request: Request) -> Response | StreamResponse:
        kept, now = self._kept, trio.current_time()
        if request.method not in {"GET", "HEAD"}:
            kept.clear()  # a renewal shows at once
        as_gzip = accepts_gzip(request.headers.get("accept-encoding", ""))
        if request.path not in _KEPT:
            return self._new_answer(request, as_gzip=as_gzip)
        changes = self._context.feed.changes.count, self._context.manager.news.count
        key = request.method, request.path, *request.query.items(), is_from_here(request), as_gzip, *changes
        if key in kept and now < kept[key][0]:
            return kept[key][1]
        response = self._new_answer(request, as_gzip=as_gzip)
        if isinstance(response, Response) and response.status == 200:
            kept.pop(key, None)
            kept[key] = now + _KEPT_SECONDS, response
            if len(kept) > _MOST_KEPT:
                del kept[next(iter(kept))]
        return response

    def _new_answer(self, request: Request, *, as_gzip: bool) -> Response | StreamResponse:
        response = self._handle(request)
        return compressed(response) if as_gzip and isinstance(response, Response) else response

    def _handle(self, request: Request) -> Response | StreamResponse:
        path, method = request.path, "GET" if request.method == "HEAD" else request.method
        if path in _PLAIN:
            return _PLAIN[path](self._context, request) if method == "GET" else _not_allowed("GET")
        for wanted, begin, end, handler in _NAMED:
            if path.startswith(begin) and path.endswith(end) and len(path) > len(begin) + len(end):
                name = path[len(begin) : len(path) - len(end)]
                return handler(self._context, request, name) if method == wanted else _not_allowed(wanted)
        return error(404, f"there is no {path}", "look at /, /api/v1/status, /metrics, /livez or /readyz")


def _not_allowed(wanted: str) -> Response:
    allowed = _ALLOWED[wanted]
    return error(405, "this method is not answered here", f"use {allowed}", [("Allow", allowed)])
