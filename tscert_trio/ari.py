"""ACME renewal information (RFC 9773): when a CA would like a certificate to be renewed.

tailscaled asks for it once per certificate and process, so that it never learns that a certificate was
revoked since. This asks the CA itself, which needs no account for that.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol, Self

import attrs
import httpx
import trio

from .clock import Clock, system_clock
from .errors import RenewalInfoError
from .schedule import RenewalWindow

if TYPE_CHECKING:
    from .certificate import Certificate

__all__ = ["LETS_ENCRYPT_DIRECTORY", "DirectoryLook", "RenewalInfo", "RenewalInfoClient", "RenewalInfoSource"]

LETS_ENCRYPT_DIRECTORY = "https://acme-v02.api.letsencrypt.org/directory"

_TIMEOUT_SECONDS = 20
"""For a whole answer; httpx by itself counts anew with every piece of it."""
_BODY_BYTES = 1 << 16
_URL_CHARACTERS = 2048
_SHORTEST_PAUSE, _LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=12)
_LATEST = datetime(9000, 1, 1, tzinfo=UTC)
_DEFAULT_PAUSE = timedelta(hours=6)  # RFC 9773, section 4.3.3


@attrs.frozen(kw_only=True)
class RenewalInfo:
    """What a CA says about one certificate."""

    window: RenewalWindow
    retry_after: timedelta
    """How long to wait before asking again: what the CA says, within a minute and half a day."""


@attrs.frozen(kw_only=True)
class DirectoryLook:
    """What a CA's directory tells, besides that it is there."""

    url: str
    date: datetime | None
    """The CA's present time, to the second; ``None`` where it does not say."""
    offers_renewal_info: bool


class RenewalInfoSource(Protocol):
    """What the engine needs; :class:`RenewalInfoClient` is the real one."""

    def knows(self, leaf: Certificate | None) -> bool:
        """Return whether there is a CA to ask about a certificate, or without one whether there is one."""

    async def fetch(self, leaf: Certificate) -> RenewalInfo:
        """Ask about a certificate; raises RenewalInfoError."""

    async def check(self) -> None:
        """Ask for something that costs nothing; raises RenewalInfoError."""


class RenewalInfoClient:
    """Asks a CA about certificates. Use it as an async context manager.

    Args:
        directory_url: of the CA (RFC 8555, section 7.1.1); ``None``: Let's Encrypt, and only about
            certificates that it issued.
        transport: how to reach it; by default over the network, through a proxy where the environment
            names one.
        clock: the present time, for dates in answers.
    """

    def __init__(
        self,
        directory_url: str | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self._is_any_issuer = directory_url is not None
        self._directory_url = directory_url or LETS_ENCRYPT_DIRECTORY
        self._transport = transport
        self._clock = clock
        self._client: httpx.AsyncClient | None = None
        self._renewal_info_url = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        if self._client is not None:
            await self._client.aclose()

    def knows(self, leaf: Certificate | None) -> bool:
        """Return whether there is a CA to ask about a certificate, or without one whether there is one."""
        if leaf is None:
            return self._is_any_issuer
        return leaf.ari_id is not None and (self._is_any_issuer or "O=Let's Encrypt" in leaf.issuer)

    async def fetch(self, leaf: Certificate) -> RenewalInfo:
        """Ask about a certificate.

        Raises:
            RenewalInfoError: the CA is out of reach, does not know the certificate, or makes no sense.
        """
        if not self._renewal_info_url:
            directory, _ = await self._get(self._directory_url)
            url = _printable(directory.get("renewalInfo"))
            if not url:
                raise RenewalInfoError(f"the CA of {self._directory_url} offers no renewal information")
            self._renewal_info_url = url.rstrip("/")
        url, self._renewal_info_url = self._renewal_info_url, ""  # asked for anew after a failure
        answer, headers = await self._get(f"{url}/{leaf.ari_id}")
        self._renewal_info_url = url
        return RenewalInfo(window=_window(answer), retry_after=self._pause(headers.get("retry-after", "")))

    async def check(self) -> None:
        """Ask for the CA's directory, which costs nothing.

        Raises:
            RenewalInfoError: the CA is out of reach.
        """
        await self._get(self._directory_url)

    async def look(self) -> DirectoryLook:
        """Ask for the CA's directory and return what it tells.

        Raises:
            RenewalInfoError: the CA is out of reach.
        """
        directory, headers = await self._get(self._directory_url)
        try:
            date = _in_utc(parsedate_to_datetime(headers.get("date", "")))
        except (ValueError, OverflowError):
            date = None
        return DirectoryLook(
            url=self._directory_url,
            date=date,
            offers_renewal_info=bool(_printable(directory.get("renewalInfo"))),
        )

    async def _get(self, url: str) -> tuple[dict[str, Any], httpx.Headers]:
        client = self._open_client()
        try:
            with trio.fail_after(_TIMEOUT_SECONDS):
                response = await client.get(url, headers={"User-Agent": "tscert-trio"})
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as exc:  # ValueError: no host's name
            text = f"{url}: {str(exc) or type(exc).__name__}"
            raise RenewalInfoError(text, is_out_of_reach=True) from None
        except trio.TooSlowError:
            raise RenewalInfoError(f"{url}: no answer in time", is_out_of_reach=True) from None
        if response.status_code != 200:
            is_away = response.status_code == 429 or response.status_code >= 500
            text = f"{url}: HTTP status {response.status_code}"
            raise RenewalInfoError(text, is_out_of_reach=is_away, status=response.status_code)
        try:
            value = json.loads(response.content) if len(response.content) <= _BODY_BYTES else None
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise RenewalInfoError(f"{url}: the answer is no JSON object")
        return value, response.headers

    def _open_client(self) -> httpx.AsyncClient:
        """Return the client; its TLS is worth a few megabytes to those who do not need it."""
        if self._client is None:
            try:
                self._client = httpx.AsyncClient(
                    transport=self._transport, timeout=_TIMEOUT_SECONDS, follow_redirects=True
                )
            except (ImportError, OSError, ValueError) as exc:  # a proxy, or a file of CAs, of the environment
                raise RenewalInfoError(f"no HTTP client: {exc}", is_out_of_reach=True) from None
        return self._client

    def _pause(self, retry_after: str) -> timedelta:
        if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 10:
            pause = timedelta(seconds=int(retry_after))
        else:
            try:
                pause = _in_utc(parsedate_to_datetime(retry_after)) - self._clock()
            except (ValueError, OverflowError):
                pause = _DEFAULT_PAUSE
        return min(max(pause, _SHORTEST_PAUSE), _LONGEST_PAUSE)


def _window(answer: dict[str, Any]) -> RenewalWindow:
    try:
        suggested = answer["suggestedWindow"]
        start, end = (_in_utc(datetime.fromisoformat(suggested[key])) for key in ("start", "end"))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise RenewalInfoError("the CA's renewal information has no window") from None
    if end > _LATEST:  # what is computed with it would overflow
        raise RenewalInfoError("the CA's renewal window lies beyond the year 9000")
    if end <= start:
        raise RenewalInfoError("the CA's renewal window ends before it begins")
    return RenewalWindow(start=start, end=end, explanation_url=_printable(answer.get("explanationURL")))


def _in_utc(date: datetime) -> datetime:
    """Return a date in UTC, where one without a zone is meant to be."""
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)


def _printable(url: object) -> str | None:
    """Return a URL of the CA's if it may stand in one line of a log."""
    return url if isinstance(url, str) and url.isprintable() and len(url) <= _URL_CHARACTERS else None
