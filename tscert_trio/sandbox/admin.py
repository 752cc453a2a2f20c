"""Routes by which another process scripts the sandbox, on the sandbox's own socket.

Under ``/sandbox/v0/``; bodies are JSON, times RFC 3339:

=============================  ==============================================================================
``PUT cert-domains``           a list of names
``PUT serve-config``           a serve config, or ``null``
``POST faults``                ``{"make": "validation", "count": 2}``: one of the constructors of `Fault`, and
                               what it takes; or the fields of a `Fault`
``DELETE faults``              repairs all
``GET calls``, ``GET orders``  what has happened
``POST ari-window``            ``{"domain": …, "start": …, "end": …, "explanation_url": …}``
``PUT ca-away``                ``{"away": true}``: the CA answers everything with status 503
``PUT egress-shut``            ``{"shut": true}``: nobody reaches the CA
``POST push``                  the fields of an ``ipn.Notify``, for who watches the bus
``POST drop-watchers``         ``{"clean": false}``: ends each watch of the bus, or hangs up on it
``POST drop-next-message``     the next message on the bus is lost
``POST logout``, ``login``     the node leaves its tailnet, and is back
``POST stop``                  ``{"killed": false, "seconds": 5}``: without ``seconds`` for good
=============================  ==============================================================================
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs
import trio

from ..http_server import Request, Response, StreamResponse
from .faults import Fault
from .go import http_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .tailscaled import Sandbox

__all__ = ["PREFIX", "answer"]

PREFIX = "/sandbox/v0/"


def answer(sandbox: Sandbox, request: Request, nursery: trio.Nursery) -> Response | StreamResponse:
    """Answer a request under `PREFIX`.

    Args:
        sandbox: to do it to.
        request: says what.
        nursery: outlives a stop of the sandbox.
    """
    command = f"{request.method} {request.path.removeprefix(PREFIX)}"
    if command != "POST stop" and command not in _COMMANDS:
        return http_error(404, f"no such command: {command}")
    try:
        body = json.loads(request.body) if request.body else {}
        if command == "POST stop":
            return _stop(sandbox, nursery, killed=bool(body.get("killed")), seconds=body.get("seconds"))
        result = _COMMANDS[command](sandbox, body)
    except (LookupError, ValueError, TypeError, AttributeError) as exc:
        return http_error(400, f"not what {command} takes: {exc}")
    text = json.dumps(result, default=datetime.isoformat)
    return Response(body=f"{text}\n".encode(), headers=[("Content-Type", "application/json")])


def _set_ari_window(sandbox: Sandbox, body: Any) -> None:  # noqa: ANN401 -- whatever JSON holds
    start, end = (datetime.fromisoformat(body[key]) for key in ("start", "end"))
    sandbox.set_ari_window(body["domain"], start, end, body.get("explanation_url"))


def _set_serve_config(sandbox: Sandbox, body: Any) -> None:  # noqa: ANN401 -- whatever JSON holds
    if not isinstance(body, dict | None):
        raise TypeError("no object")
    sandbox.set_serve_config(body)


_COMMANDS: dict[str, Callable[[Sandbox, Any], object]] = {
    "PUT cert-domains": lambda sandbox, body: sandbox.set_cert_domains([str(name) for name in body]),
    "PUT serve-config": _set_serve_config,
    "POST faults": lambda sandbox, body: sandbox.add_fault(Fault.from_json(body)),
    "DELETE faults": lambda sandbox, _: sandbox.clear_faults(),
    "GET calls": lambda sandbox, _: [attrs.asdict(call) for call in sandbox.calls],
    "GET orders": lambda sandbox, _: [attrs.asdict(order) for order in sandbox.orders],
    "POST ari-window": _set_ari_window,
    "PUT ca-away": lambda sandbox, body: sandbox.set_ca_away(bool(body["away"])),
    "PUT egress-shut": lambda sandbox, body: sandbox.set_egress_shut(bool(body["shut"])),
    "POST push": lambda sandbox, body: sandbox.push(body),
    "POST drop-watchers": lambda sandbox, body: sandbox.drop_watchers(clean=bool(body.get("clean"))),
    "POST drop-next-message": lambda sandbox, _: sandbox.drop_next_message(),
    "POST logout": lambda sandbox, _: sandbox.logout(),
    "POST login": lambda sandbox, _: sandbox.login(),
}


def _stop(sandbox: Sandbox, nursery: trio.Nursery, *, killed: bool, seconds: float | None) -> StreamResponse:
    """Answer first, since the stop ends this connection too."""

    async def write_nothing(_send: Callable[[bytes], Awaitable[None]]) -> None:
        await trio.lowlevel.checkpoint()

    response = StreamResponse(write_body=write_nothing)

    async def stop_and_start() -> None:
        await response.finished.wait()
        await sandbox.stop(killed=killed)
        if seconds is not None:
            await trio.sleep(seconds)
            await sandbox.start()

    nursery.start_soon(stop_and_start)
    return response
