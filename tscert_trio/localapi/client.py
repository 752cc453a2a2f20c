"""``LocalClient``: the calls of tailscaled's LocalAPI that this package needs."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import quote

import httpx
import trio

from ..certificate import CertChain, CertPair
from ..clock import Clock, describe_duration, system_clock
from ..errors import (
    AccessDeniedError,
    ConnectionLostError,
    IssuanceError,
    IssuanceTimeoutError,
    LocalAPIError,
    NoAnswerError,
    ProtocolError,
    ServeConfigError,
    UnreachableError,
)
from ..serve_config import ServeConfig, some_of
from .answers import error_from_answer
from .bus import BusWatch
from .durations import Durations
from .protocol import ISSUE_TIMEOUT, FetchedServeConfig, Prefs, Status
from .socket_path import default_socket_path
from .transport import UnixTransport

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractContextManager

__all__ = ["LocalClient"]

_T = TypeVar("_T", CertChain, CertPair)
_URL = httpx.URL("http://local-tailscaled.sock/")  # the only host tailscaled accepts
_BODY_BYTES = 1 << 20
_CONFIG_BYTES = 16 << 20  # a serve config of 5,000 Services is larger than 1 MiB
_HEADERS = {"Host": "local-tailscaled.sock", "Connection": "close"}
_QUERY_PATIENCE = timedelta(seconds=10)
_QUICK_SECONDS = 1
"""Who loses the connection sooner was not being issued a certificate: that takes seconds."""
_FIRST_CAP_WITH_CERT_DOMAINS = 138  # v1.98.0


class LocalClient:
    """Speaks to the tailscaled of this machine. Use it as an async context manager.

    Every call opens a connection of its own and closes it. Cancelling a call closes its connection
    at once. The calls raise these errors, each with its meaning and remedy:

    - :exc:`UnreachableError`: nobody listens, or tailscaled is still starting.
    - :exc:`AccessDeniedError`: this user may not ask.
    - :exc:`ProtocolError`: the answer is cut short, over 1 MiB, or not what was asked for.
    - the other classes of :mod:`tscert_trio.errors`, by the text of tailscaled's answer.

    Args:
        socket_path: tailscaled's socket; by default ``TS_SOCKET`` or the place usual on this platform.
        clock: the present time, for dates in the CA's answers.
    """

    def __init__(
        self, socket_path: str | os.PathLike[str] | None = None, *, clock: Clock = system_clock
    ) -> None:
        self.socket_path = Path(socket_path) if socket_path is not None else default_socket_path()
        self.version: str | None = None
        """``Tailscale-Version`` of the newest answer."""
        self.capability: int | None = None
        """``Tailscale-Cap`` of the newest answer: 123 is v1.86, 138 v1.98, 142 v1.102, 148 v1.104."""
        self.durations = Durations()
        """How long its requests took, but for bus watches."""
        self._clock = clock
        # No httpx.AsyncClient around it: all it would add here is time, and async generators that
        # leak when a bus watch is left early (encode/httpx#2587).
        self._transport = UnixTransport(self.socket_path)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        await self._transport.aclose()

    async def cert(
        self, domain: str, *, min_validity: timedelta | None = None, patience: timedelta = ISSUE_TIMEOUT
    ) -> CertChain:
        """Return the certificate for a name, without its key; tailscaled issues it if need be.

        An answer is no proof of freshness: tailscaled answers with the old certificate while its
        renewal fails in the background. Look at :attr:`CertChain.leaf`.

        Args:
            domain: the name, as it stands in CertDomains.
            min_validity: renew, before answering, a certificate with less than this left.
            patience: how long an answer may take, counted from when the request is sent. Then
                tailscaled is told to give up, and has five seconds to say what it was waiting for.

        Raises:
            LocalAPIError: see the class; for this call also every kind of failed issuance.
        """
        return await self._cert(domain, "crt", CertChain.from_pem, min_validity, patience)

    async def cert_pair(
        self, domain: str, *, min_validity: timedelta | None = None, patience: timedelta = ISSUE_TIMEOUT
    ) -> CertPair:
        """Return the certificate for a name, and its private key; else as :meth:`cert`."""
        return await self._cert(domain, "pair", CertPair.from_pem, min_validity, patience)

    async def cert_domains(self) -> frozenset[str]:
        """Return the names the node may have certificates for; empty while it is logged out.

        Asks ``cert-domains``, or before v1.98, which does not know that, the status.
        """
        if self.capability is None or self.capability >= _FIRST_CAP_WITH_CERT_DOMAINS:
            try:
                return frozenset(
                    _strings(_json(await self._get("cert-domains"), "cert-domains"), "cert-domains")
                )
            except LocalAPIError as exc:
                if exc.status != 404:
                    raise
        return frozenset((await self.status()).cert_domains)

    async def status(self) -> Status:
        """Return the node's status, without its peers."""
        status = _json(await self._get("status?peers=false"), "status")
        try:
            myself, tailnet = status.get("Self") or {}, status.get("CurrentTailnet") or {}
            return Status(
                backend_state=str(status.get("BackendState") or ""),
                version=str(status.get("Version") or ""),
                addresses=tuple(_strings(status.get("TailscaleIPs"), "status")),
                self_dns_name=str(myself.get("DNSName") or "").removesuffix("."),
                cert_domains=tuple(_strings(status.get("CertDomains"), "status")),
                magic_dns_suffix=str(status.get("MagicDNSSuffix") or ""),
                magic_dns_enabled=bool(tailnet.get("MagicDNSEnabled")) if tailnet else None,
                health=tuple(_strings(status.get("Health"), "status")),
                approved_services=_approved_services(myself.get("CapMap")),
            )
        except AttributeError as exc:
            raise ProtocolError(f"status: {exc}") from None

    async def prefs(self) -> Prefs:
        """Return what the node was told to be: its preferences."""
        prefs = _json(await self._get("prefs"), "prefs")
        try:
            return Prefs(
                advertised_services=frozenset(_strings(prefs.get("AdvertiseServices"), "prefs")),
                operator=str(prefs.get("OperatorUser") or ""),
            )
        except AttributeError as exc:
            raise ProtocolError(f"prefs: {exc}") from None

    async def serve_config(self, *, known_etag: str | None = None) -> FetchedServeConfig | None:
        """Return the node's serve config.

        Args:
            known_etag: of an earlier answer.

        Returns:
            The config, or ``None`` where its ETag still is ``known_etag``; the body then is not read.

        Raises:
            ServeConfigError: tailscaled's own config cannot be parsed.
            LocalAPIError: see the class.
        """
        async with self._open_query("serve-config") as response:
            etag = response.headers.get("etag", "")
            if response.status_code == 200 and etag and etag == known_etag:
                return None
            body = await self._read(response, LocalAPIError, at_most=_CONFIG_BYTES)
        try:
            return FetchedServeConfig(config=ServeConfig.from_json(body), etag=etag)
        except ServeConfigError as exc:
            raise ProtocolError(f"serve-config: {exc}") from None

    @asynccontextmanager
    async def watch_ipn_bus(self, mask: int = 18) -> AsyncIterator[BusWatch]:
        """Watch the IPN bus while the context lasts; leaving or cancelling it closes the connection.

        Args:
            mask: what to be told, bits of ``ipn.NotifyWatchOpt``. 18 (initial state, no private keys)
                is accepted by every release from v1.86 on, and tells of each change of CertDomains.

        Yields:
            An iterator over the sets of field names seen. It waits for as long as tailscaled is
            quiet, ends when tailscaled ends the stream, and raises as the other calls do.
        """
        async with self._open(f"watch-ipn-bus?mask={mask}", None) as response:
            if response.status_code != 200:
                await self._read(response, LocalAPIError)
            yield BusWatch(_Pieces(response, self._socket_errors))

    async def _cert(
        self,
        domain: str,
        kind: str,
        parse: Callable[[bytes], _T],
        min_validity: timedelta | None,
        patience: timedelta,
    ) -> _T:
        target = f"cert/{quote(domain, safe='*')}?type={kind}"
        if min_validity is not None:
            target += f"&min_validity={min_validity.total_seconds():.6f}s"  # a Go duration
        asked_at = trio.current_time()
        try:
            async with self._open(target, patience) as response:
                body = await self._read(response, IssuanceError)
        except UnreachableError as exc:
            was_sent = isinstance(exc.__context__, httpx.ReadError)
            if was_sent and trio.current_time() - asked_at > _QUICK_SECONDS:
                raise ConnectionLostError(str(exc)) from None
            raise
        except NoAnswerError as exc:
            raise IssuanceTimeoutError(f"{exc} ({describe_duration(patience)})") from None
        except IssuanceTimeoutError as exc:
            if trio.current_time() - asked_at < patience.total_seconds():
                raise
            text = f"no answer within {describe_duration(patience)}; told to give up, tailscaled said: {exc}"
            raise IssuanceTimeoutError(text, status=exc.status) from None
        try:
            answer = parse(body)
        except ValueError as exc:
            raise ProtocolError(f"the answer for {domain} is no certificate: {exc}", status=200) from None
        if not answer.leaf.covers(domain):
            raise ProtocolError(
                f"the certificate for {domain} is for other names: {some_of(answer.leaf.names)}", status=200
            )
        return answer

    async def _get(self, target: str) -> bytes:
        async with self._open_query(target) as response:
            return await self._read(response, LocalAPIError)

    @asynccontextmanager
    async def _open_query(self, target: str) -> AsyncIterator[httpx.Response]:
        """Ask for something that is no certificate; what is said to our giving up is no reason."""
        began = trio.current_time()
        try:
            async with self._open(target, _QUERY_PATIENCE) as response:
                yield response
        except (IssuanceTimeoutError, NoAnswerError) as exc:
            text = str(exc)
            if trio.current_time() - began >= _QUERY_PATIENCE.total_seconds():
                patience = describe_duration(_QUERY_PATIENCE)
                text = f"tailscaled on {self.socket_path}: no answer within {patience}"
            raise NoAnswerError(text, status=exc.status) from None

    @asynccontextmanager
    async def _open(self, target: str, patience: timedelta | None) -> AsyncIterator[httpx.Response]:
        # The target is given beside the URL, which thus is parsed once and not at every call.
        extensions: dict[str, Any] = {"target": f"/localapi/v0/{target}".encode()}
        if patience is not None:
            extensions["patience"] = patience.total_seconds()
        request = httpx.Request("GET", _URL, headers=_HEADERS, extensions=extensions)
        began = trio.current_time()
        try:
            with self._socket_errors():
                response = await self._transport.handle_async_request(request)
        finally:
            if patience is not None:
                endpoint = target.partition("?")[0].partition("/")[0]
                self.durations.note(endpoint, trio.current_time() - began)
        try:
            capability = response.headers.get("tailscale-cap", "")
            if capability.isascii() and capability.isdigit() and len(capability) < 10:
                self.capability = int(capability)
            self.version = response.headers.get("tailscale-version") or self.version
            yield response
        finally:
            await response.stream.aclose()  # type: ignore[union-attr] # no await inside: it closes at once

    async def _read(
        self, response: httpx.Response, general: type[LocalAPIError], at_most: int = _BODY_BYTES
    ) -> bytes:
        """Return the body of a 200, and raise what any other answer means."""
        body = bytearray()
        async for piece in _Pieces(response, self._socket_errors):
            body += piece
            if len(body) > at_most:
                raise ProtocolError(
                    f"the answer is larger than {at_most >> 20} MiB", status=response.status_code
                )
        if response.status_code == 200:
            return bytes(body)
        text = body.decode("utf-8", "replace")
        raise error_from_answer(
            response.status_code, response.headers, text, now=self._clock(), general=general
        )

    @contextmanager
    def _socket_errors(self) -> Iterator[None]:
        """Turn what httpx raises into our exceptions: the only place that does."""
        try:
            yield
        except httpx.ReadTimeout as exc:
            raise NoAnswerError(f"tailscaled on {self.socket_path}: {exc}") from None
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ReadError) as exc:
            error = AccessDeniedError if isinstance(exc.__cause__, PermissionError) else UnreachableError
            raise error(f"tailscaled's socket {self.socket_path}: {exc}") from None
        except httpx.RemoteProtocolError as exc:
            raise ProtocolError(f"tailscaled on {self.socket_path}: {exc}") from None


class _Pieces:
    """The pieces of an answer's body, with our exceptions."""

    def __init__(self, response: httpx.Response, errors: Callable[[], AbstractContextManager[None]]) -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self._stream = aiter(response.stream)
        self._errors = errors

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        with self._errors():
            return await anext(self._stream)


def _json(body: bytes, place: str) -> Any:  # noqa: ANN401 -- any JSON value
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise ProtocolError(f"{place}: the answer is no JSON: {exc}") from None


def _approved_services(capabilities: Any) -> frozenset[str] | None:  # noqa: ANN401 -- any JSON value
    """Return the Services in ``service-host`` of a node's capabilities: maps of Services to addresses."""
    if not capabilities:
        return None
    mappings = capabilities.get("service-host")
    if not isinstance(mappings, list):
        return frozenset()
    return frozenset(name for mapping in mappings if isinstance(mapping, dict) for name in mapping)


def _strings(value: Any, place: str) -> list[str]:  # noqa: ANN401 -- any JSON value
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ProtocolError(f"{place}: want a list of names")
    return value
