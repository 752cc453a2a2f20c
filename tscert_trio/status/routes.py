"""Which request is answered by what, and which by nobody."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeAlias

import attrs
import trio

from . import handlers
from .answers import error
from .guard import is_host_allowed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ..http_server import Request, Response, StreamResponse
    from .handlers import StatusContext

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
    ("GET", "/domains/", "", handlers.domain_page),
    ("GET", "/static/", "", handlers.static),
    ("GET", "/api/v1/domains/", "", handlers.domain_json),
    ("POST", "/api/v1/domains/", "/renew", handlers.renew),
)
_HOST_EXEMPT = {"/metrics", "/livez", "/readyz"}
"""Asked by programs, by whatever name, and of no use to a page elsewhere."""


@attrs.frozen(eq=False)
class StatusRoutes:
    """Answers requests.

    Args:
        context: what answers are made of.
        allowed_hosts: names by which it may be asked over TCP, see :func:`is_host_allowed`.
    """

    _context: StatusContext
    _allowed_hosts: Collection[str] = ()

    async def answer(self, request: Request) -> Response | StreamResponse:
        """Answer one request. What a client does wrong is an answer, too; so is a bug, which is logged."""
        await trio.lowlevel.checkpoint()
        try:
            return self._answer(request)
        except Exception:  # the certificates are more important than a page
            _logger.exception("a bug in the answer to %s %s", request.method, request.path)
            return error(500, "this answer has a bug", "the log has it; please report it")

    def _answer(self, request: Request) -> Response | StreamResponse:
        path, method = request.path, "GET" if request.method == "HEAD" else request.method
        if not (request.is_local or path in _HOST_EXEMPT):
            host = request.headers.get("host", "")
            if not is_host_allowed(host, self._allowed_hosts):
                remedy = 'allow it with --allowed-hosts or allowed_hosts = ["…"], or use the address'
                return error(421, f"{host} is no name by which this may be asked", remedy)
        if path in _PLAIN:
            return _PLAIN[path](self._context, request) if method == "GET" else _not_allowed("GET, HEAD")
        matches = {
            each_method: (handler, path[len(begin) : len(path) - len(end)])
            for each_method, begin, end, handler in _NAMED
            if path.startswith(begin) and path.endswith(end) and len(path) > len(begin) + len(end)
        }
        if method in matches:
            handler, name = matches[method]
            return handler(self._context, request, name)
        if matches:
            return _not_allowed(", ".join(sorted(matches)))
        return error(404, f"there is no {path}", "look at /, /api/v1/status, /metrics, /livez or /readyz")


def _not_allowed(allowed: str) -> Response:
    return error(405, "this method is not answered here", f"use {allowed}", [("Allow", allowed)])
