"""The LocalAPI of the sandbox: one method for each endpoint (``ipn/localapi``)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

from ..http_server import HangUp, Request, Response, StreamResponse
from .acme import DaemonError
from .bus import Bus, MaskError, Watcher, check_mask
from .ca import AcmeError
from .contexts import ContextError, RequestContext
from .faults import Fault, FaultKind, Stage
from .go import http_error, json_response, parse_duration

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from ..clock import Clock
    from .certs import Certs
    from .fault_list import Faults
    from .node import Node

__all__ = ["Call", "Daemon"]

_PREFIX = "/localapi/v0/"
_HOSTS = {"", "local-tailscaled.sock"}


@attrs.frozen(kw_only=True)
class Call:
    """A request that was received."""

    at: datetime
    method: str
    target: str
    """Path and query, as sent."""
    path: str
    domain: str | None
    """The name in ``cert/<name>``."""
    query: Mapping[str, str]


@attrs.define(eq=False, kw_only=True)
class Daemon:
    """Answers requests."""

    node: Node
    bus: Bus
    certs: Certs
    faults: Faults
    clock: Clock
    on_serve_config: Callable[[Mapping[str, Any]], None] = attrs.field(init=False)
    """Called with a serve config that was posted."""
    calls: list[Call] = attrs.field(factory=list, init=False)
    _headers: list[tuple[str, str]] = attrs.field(init=False)
    _endpoints: dict[str, Callable[[Request, bool], Awaitable[Response | StreamResponse]]] = attrs.field(
        init=False
    )

    def __attrs_post_init__(self) -> None:
        version = self.node.version
        self._headers = [
            ("Tailscale-Version", f"{version.version}-sandbox"),
            ("Tailscale-Cap", str(version.capability)),
        ]
        self._endpoints = {
            "cert": self._cert,
            "status": self._status,
            "prefs": self._prefs,
            "serve-config": self._serve_config,
            "watch-ipn-bus": self._watch_ipn_bus,
        }
        if version.has_cert_domains:
            self._endpoints |= {"cert-domains": self._cert_domains, "dns-config": self._dns_config}

    async def handle(self, request: Request) -> Response | StreamResponse:
        """Answer one request, with the fault that waits for it."""
        endpoint, domain = self._route(request.path)
        self.calls.append(
            Call(
                at=self.clock(),
                method=request.method,
                target=request.target,
                path=request.path,
                domain=domain,
                query=request.query,
            )
        )
        headers = request.headers
        if headers.get("referer") or headers.get("origin") or headers.get("host", "") not in _HOSTS:
            return http_error(403, "invalid localapi request")
        fault = self.faults.take(Stage.REQUEST, endpoint, domain)
        if fault is None:
            response = await self._answer(endpoint, request, False)
        else:
            response = await self._answer_faultily(fault, endpoint, request)
        if isinstance(response, StreamResponse):
            return response
        return attrs.evolve(response, headers=[*self._headers, *response.headers])

    def _route(self, path: str) -> tuple[str, str | None]:
        if not path.startswith(_PREFIX):
            return path, None
        endpoint, slash, rest = path.removeprefix(_PREFIX).partition("/")
        if endpoint == "cert":
            return ("cert", rest) if slash else ("", None)
        return (endpoint, None) if not slash else (f"{endpoint}/{rest}", None)

    async def _answer(self, endpoint: str, request: Request, met_fault: bool) -> Response | StreamResponse:
        answer = self._endpoints.get(endpoint)
        if answer is None:
            return http_error(404, "404 page not found")
        return await answer(request, met_fault)

    async def _answer_faultily(
        self, fault: Fault, endpoint: str, request: Request
    ) -> Response | StreamResponse:
        if fault.kind is FaultKind.HANG_UP:
            raise HangUp
        if fault.kind is FaultKind.ANSWER:
            return Response(status=fault.status, body=fault.body, headers=fault.headers)
        if fault.kind in {FaultKind.DELAY, FaultKind.HANG}:
            try:
                await RequestContext(request).sleep(fault.seconds)
            except ContextError as exc:
                return http_error(500, str(exc))
        response = await self._answer(endpoint, request, True)
        return _cut(response) if fault.kind is FaultKind.CUT_BODY else response

    async def _cert(self, request: Request, met_fault: bool) -> Response:
        if not (self.node.may_write or self.node.may_get_certs):
            return http_error(403, "cert access denied")
        try:
            min_validity = parse_duration(request.query.get("min_validity") or "0")
        except ValueError as exc:
            return http_error(400, f"invalid validity parameter: {exc}")
        domain = request.path.removeprefix(f"{_PREFIX}cert/")
        try:
            issued = await self.certs.get(
                RequestContext(request), domain, min_validity, may_meet_faults=not met_fault
            )
        except (DaemonError, AcmeError) as exc:
            return self._cert_error(exc)
        bodies = {
            "": issued.chain_pem,
            "crt": issued.chain_pem,
            "cert": issued.chain_pem,
            "key": issued.key_pem,
            "pair": issued.key_pem + issued.chain_pem,
        }
        body = bodies.get(request.query.get("type", ""))
        if body is None:
            return http_error(400, 'invalid type; want "cert" (default), "key", or "pair"')
        return Response(body=body, headers=[("Content-Type", "text/plain")])

    def _cert_error(self, error: DaemonError | AcmeError) -> Response:
        if not (
            isinstance(error, AcmeError) and error.kind == "rateLimited" and self.node.version.answers_429
        ):
            return http_error(500, str(error))
        seconds = int(error.retry_after or 0)
        return http_error(429, str(error), [("Retry-After", str(seconds))] if seconds > 0 else ())

    async def _cert_domains(self, _request: Request, _met_fault: bool) -> Response:
        if not self.node.may_read:
            return http_error(403, "cert-domains access denied")
        return json_response(sorted(self.node.listed or ()) or None)

    async def _dns_config(self, _request: Request, _met_fault: bool) -> Response:
        if not self.node.may_read:
            return http_error(403, "dns-config access denied")
        if not self.node.has_netmap:
            return http_error(503, "no netmap")
        body = json.dumps({"CertDomains": list(self.node.cert_domains)}, indent="\t")
        return Response(body=f"{body}\n".encode(), headers=[("Content-Type", "application/json")])

    async def _status(self, request: Request, _met_fault: bool) -> Response:
        if not self.node.may_read:
            return http_error(403, "status access denied")
        with_peers = request.query.get("peers", "") not in {"false", "0", "f", "F", "FALSE", "False"}
        body = json.dumps(self.node.status(self.health(), with_peers=with_peers), indent="\t")
        return Response(body=f"{body}\n".encode(), headers=[("Content-Type", "application/json")])

    async def _prefs(self, request: Request, _met_fault: bool) -> Response:
        if not self.node.may_read:
            return http_error(403, "prefs access denied")
        if request.method not in {"GET", "HEAD"}:  # the real one takes changes, too
            return http_error(405, "unsupported method")
        body = json.dumps(self.node.prefs(), indent="\t")
        return Response(body=f"{body}\n".encode(), headers=[("Content-Type", "application/json")])

    def health(self) -> list[str]:
        """Return the warnings of ``status``."""
        if not self.certs.pending or not self.node.version.warns_of_pending:
            return []
        return [f"Fetching TLS certificate via ACME for: {', '.join(sorted(self.certs.pending))}"]

    async def _serve_config(self, request: Request, _met_fault: bool) -> Response:
        node = self.node
        if request.method not in {"GET", "POST"}:
            return http_error(405, "method not allowed")
        if not (node.may_write if request.method == "POST" else node.may_read):
            return http_error(403, "serve config denied")
        if request.method == "POST":
            return self._post_serve_config(request)
        headers = [("Etag", node.serve_config_etag), ("Content-Type", "application/json")]
        return Response(body=node.serve_config_body, headers=headers)

    def _post_serve_config(self, request: Request) -> Response:
        try:
            config = json.loads(request.body)
        except ValueError as exc:
            return json_response({"error": f"decoding config: {exc}"}, status=500)
        if not isinstance(config, dict):
            text = "decoding config: json: cannot unmarshal into Go value of type ipn.ServeConfig"
            return json_response({"error": text}, status=500)
        if request.headers.get("if-match", "") not in {"", self.node.serve_config_etag}:
            return http_error(412, "etag mismatch")
        self.on_serve_config(config)
        return Response()

    async def _watch_ipn_bus(self, request: Request, _met_fault: bool) -> Response | StreamResponse:
        if not self.node.may_read:
            return http_error(403, "watch ipn bus access denied")
        version = self.node.version
        try:
            mask = check_mask(request.query.get("mask", ""), version, may_write=self.node.may_write)
        except MaskError as exc:
            return http_error(exc.status, str(exc))
        watcher = Watcher(version=version, mask=mask)
        first = self.node.first_message(watcher, self.health())
        if first is not None:
            watcher.put(first)
        return self.bus.add(watcher, self._headers)


def _cut(response: Response | StreamResponse) -> Response | StreamResponse:
    if isinstance(response, Response):
        return attrs.evolve(response, cut_at=len(response.body) // 2)

    async def write_half(send: Callable[[bytes], Awaitable[None]]) -> None:
        async def send_half(piece: bytes) -> None:
            await send(piece[: len(piece) // 2])
            raise HangUp

        await response.write_body(send_half)

    return attrs.evolve(response, write_body=write_half)
