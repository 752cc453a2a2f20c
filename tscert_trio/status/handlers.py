"""What is answered to each path. Quick functions: how all names are is in the memory of this process."""

from __future__ import annotations

import difflib
import json
import os
from importlib.resources import files
from typing import TYPE_CHECKING

import attrs

from ..http_server import Request, Response, StreamResponse
from .answers import HTML, JSON, TEXT, error, respond
from .guard import SECURITY_HEADERS, is_from_here, may_renew
from .history import EventList, domain_detail, recent_events
from .making import make_report
from .wire import to_json, to_plain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..cert_manager import CertManager
    from .feed import Feed
    from .history import DomainDetail
    from .report import StatusReport

__all__ = [
    "StatusContext",
    "domain_json",
    "domain_page",
    "events_json",
    "livez",
    "metrics",
    "page",
    "readyz",
    "renew",
    "schema",
    "static",
    "status_json",
    "stream",
]

_MOST_STREAMS = 32
_PING_SECONDS = 15
_EVENTS_ON_PAGE = 30
_LONGEST_NAME, _MOST_COMPARED = 253, 200
"""Of names, for one that is mistyped: to compare them takes long."""


@attrs.frozen(eq=False)
class StatusContext:
    """What answers are made of.

    Args:
        manager: how it stands is told.
        feed: tells of changes.
    """

    manager: CertManager
    feed: Feed
    streams: set[StreamResponse] = attrs.field(factory=set, init=False)
    """Who watches the feed, or is about to."""


def page(context: StatusContext, request: Request) -> Response:
    """Answer with the page of all names."""
    from .page import render_page  # with it comes jinja2

    events = recent_events(context.manager.journal, limit=_EVENTS_ON_PAGE)
    return respond(200, render_page(_report(context, request), events, request.query), HTML)


def domain_page(context: StatusContext, request: Request, name: str) -> Response:
    """Answer with the page of one name."""
    from .page import render_domain, render_missing

    detail = _detail(context, request, name)
    if detail is None:
        return respond(404, render_missing(name), HTML)
    return respond(200, render_domain(detail), HTML)


def static(_context: StatusContext, _request: Request, name: str) -> Response:
    """Answer with a file that pages use."""
    from .page import static_file

    found = static_file(name)
    return respond(200, *found) if found is not None else error(404, f"there is no {name}", "look at /")


def status_json(context: StatusContext, request: Request) -> Response:
    """Answer with how everything is."""
    return respond(200, to_json(_report(context, request)), JSON)


def domain_json(context: StatusContext, request: Request, name: str) -> Response:
    """Answer with how one name is, and its history."""
    detail = _detail(context, request, name)
    return (
        respond(200, to_json(detail), JSON) if detail is not None else _no_such_name(context, request, name)
    )


def events_json(context: StatusContext, request: Request) -> Response:
    """Answer with the newest events: ``limit``, ``after`` (the id of one that is known), ``domain``."""
    query = request.query
    if "domain" in query and not context.manager.remembers(query["domain"]):
        return _no_such_name(context, request, query["domain"])  # to look for its events takes long
    try:
        limit = max(int(query.get("limit", "100")), 1)
        events = recent_events(
            context.manager.journal, domain=query.get("domain"), after=query.get("after"), limit=limit
        )
    except ValueError:
        return error(400, "this asks for no events", "limit is a number, after the id of an event")
    return respond(200, to_json(EventList(events=events)), JSON)


def schema(_context: StatusContext, _request: Request) -> Response:
    """Answer with the JSON schema of these answers."""
    text = files(__package__).joinpath("schema.json").read_bytes()
    return respond(200, text, "application/schema+json")


def metrics(context: StatusContext, request: Request) -> Response:
    """Answer with the metrics, in Prometheus's format or OpenMetrics."""
    from .metrics import render_metrics

    manager = context.manager
    accept = request.headers.get("accept", "")
    return respond(200, *render_metrics(manager.statistics(), manager.clock(), accept))


def livez(context: StatusContext, _request: Request) -> Response:
    """Answer whether the engine turns."""
    from .health import liveness, render_health

    reasons = liveness(context.manager.statistics(), context.manager.clock())
    return respond(*render_health(reasons, ok="the engine turns"), TEXT)


def readyz(context: StatusContext, _request: Request) -> Response:
    """Answer whether every wanted name has a valid certificate."""
    from .health import readiness, render_health

    reasons = readiness(context.manager.statistics(), context.manager.clock())
    return respond(*render_health(reasons, ok="every wanted name has a valid certificate"), TEXT)


def stream(context: StatusContext, _request: Request) -> Response | StreamResponse:
    """Answer with server-sent events, one after each change."""
    feed, streams = context.feed, context.streams
    streams.difference_update([each for each in streams if each.finished.is_set()])
    if len(streams) >= _MOST_STREAMS:
        return error(503, "too many watch already", "close a page, or look again", [("Retry-After", "60")])

    async def write_body(send: Callable[[bytes], Awaitable[None]]) -> None:
        with feed.watching():
            seen = feed.changes.count
            await send(b"retry: 2000\n\n")
            while True:
                await feed.changes.wait(seen, at_most=_PING_SECONDS)
                is_news, seen = seen != feed.changes.count, feed.changes.count
                await send(f"event: change\ndata: {seen}\n\n".encode() if is_news else b": ping\n\n")

    headers = [("Content-Type", "text/event-stream"), *SECURITY_HEADERS]
    response = StreamResponse(write_body=write_body, headers=headers)
    streams.add(response)
    return response


def renew(context: StatusContext, request: Request, name: str) -> Response:
    """Have a certificate renewed now: ``{"force": true}`` even if it is not due."""
    is_local, own_uid = is_from_here(request), os.geteuid()
    if not may_renew(request.peer_uid, is_local=is_local, own_uid=own_uid):
        user = f" and the user with number {own_uid}, who runs the service," if own_uid else ""
        who = (
            f"only root{user} may renew"
            if is_local
            else "renewals are taken by the Unix socket alone, and from no proxy"
        )
        return error(403, who, f"run, on this machine: sudo tscert-trio renew {name}")
    kind, _, _ = request.headers.get("content-type", "").partition(";")  # a charset may follow
    if kind.strip().lower() != JSON:
        return error(415, "a wish to renew is taken as JSON only", f"send it with Content-Type: {JSON}")
    is_forced = _is_forced(request.body)
    if is_forced is None:
        return error(400, "the body is not what is taken here", 'send {"force": false}')
    manager = context.manager
    try:
        asked_at = manager.clock()
        attempts = manager.renew(name, force=is_forced)
    except KeyError:
        return _no_such_name(context, request, name)
    fields = {"version": 1, "asked_at": to_plain(asked_at), "attempts": attempts}
    return respond(202, json.dumps(fields).encode(), JSON)


def _is_forced(body: bytes) -> bool | None:
    try:
        fields = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or fields.keys() - {"force"}:
        return None
    is_forced = fields.get("force", False)
    return is_forced if isinstance(is_forced, bool) else None


def _report(context: StatusContext, request: Request) -> StatusReport:
    manager = context.manager
    return make_report(manager.statistics(), manager.clock(), with_output=is_from_here(request))


def _detail(context: StatusContext, request: Request, name: str) -> DomainDetail | None:
    manager = context.manager
    if not manager.remembers(name):
        return None
    of_all = manager.statistics()
    of_it = attrs.evolve(  # a report of thousands of names takes long
        of_all,
        domains=tuple(each for each in of_all.domains if each.domain == name),
        deliveries=tuple(each for each in of_all.deliveries if each.domain == name),
    )
    if not of_it.domains:
        return None
    report = make_report(of_it, manager.clock(), with_output=is_from_here(request))
    return domain_detail(report, name, manager.journal)


def _no_such_name(context: StatusContext, request: Request, name: str) -> Response:
    near: list[str] = []
    if is_from_here(request) and len(name) <= _LONGEST_NAME:
        names = [each.domain for each in context.manager.statistics().domains]
        names.sort(key=lambda each: abs(len(each) - len(name)))
        near = difflib.get_close_matches(name, names[:_MOST_COMPARED], n=1)
    hint = f"is it {near[0]}?" if near else "see all with tscert-trio status"
    return error(404, f"no certificate is kept for {name}", hint)
