"""The CA as anybody may ask it: its directory, and when it wants a certificate renewed (RFC 9773)."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING

import attrs

from ..http_server import HangUp, Request, Response
from .ca import AcmeError
from .go import dumps, json_response

if TYPE_CHECKING:
    from ..certificate import Certificate
    from ..clock import Clock
    from .ca import CertificateAuthority
    from .certs import Certs

__all__ = ["DIRECTORY_URL", "CAServer", "Window"]

_HOST = "ca.sandbox"
_RENEWAL_INFO = "/renewal-info/"
DIRECTORY_URL = f"http://{_HOST}/directory"


@attrs.frozen(kw_only=True)
class Window:
    """When the CA would like a certificate to be renewed."""

    start: datetime
    end: datetime
    explanation_url: str | None = None

    @classmethod
    def of(cls, leaf: Certificate) -> Window:
        """Return what the CA says of itself: a sixtieth of the life on either side of two thirds of it.

        For 90 days that is three days round the 60th. Let's Encrypt's is much like it: a hundredth.
        """
        ideal, margin = leaf.not_before + leaf.lifetime * 2 / 3, leaf.lifetime / 60
        return cls(start=ideal - margin, end=ideal + margin)

    def to_json(self) -> dict[str, object]:
        """Return the body of an answer."""
        times = {"start": _rfc3339(self.start), "end": _rfc3339(self.end)}
        explanation = {} if self.explanation_url is None else {"explanationURL": self.explanation_url}
        return {"suggestedWindow": times, **explanation}


@attrs.define(eq=False, kw_only=True)
class CAServer:
    """Answers requests on the CA's own sockets."""

    ca: CertificateAuthority
    certs: Certs
    clock: Clock
    retry_after: int
    """Seconds after which it wants to be asked again about a certificate."""
    renewal_info_calls: list[tuple[datetime, str | None]] = attrs.field(factory=list, init=False)
    directory_calls: list[datetime] = attrs.field(factory=list, init=False)

    async def handle(self, request: Request) -> Response:
        """Answer one request, with the CA's own time."""
        response = await self._answer(request)
        date = format_datetime(self.clock(), usegmt=True)
        return attrs.evolve(response, headers=[*response.headers, ("Date", date)])

    async def _answer(self, request: Request) -> Response:
        leaf: Certificate | None = None
        if request.path.startswith(_RENEWAL_INFO):
            leaf = self.ca.issued.get(request.path.removeprefix(_RENEWAL_INFO))
            self.renewal_info_calls.append((self.clock(), leaf.names[0] if leaf is not None else None))
        elif request.path == "/directory":
            self.directory_calls.append(self.clock())
        if self.ca.is_cut_off:
            raise HangUp
        if (problem := self.ca.away_problem()) is not None:
            return _problem_response(problem)
        if request.method != "GET":
            return _problem_response(AcmeError("malformed", "Method not allowed", status=405))
        if request.path == "/directory":
            root = f"http://{request.headers.get('host', _HOST)}"
            return json_response({"newOrder": f"{root}/new-order", "renewalInfo": f"{root}/renewal-info"})
        if leaf is None:
            return _problem_response(
                AcmeError("malformed", "Requested certificate was not found", status=404)
            )
        response = json_response(self._window(leaf).to_json())
        return attrs.evolve(response, headers=[*response.headers, ("Retry-After", str(self.retry_after))])

    def _window(self, leaf: Certificate) -> Window:
        domain = leaf.names[0]
        stored, window = self.certs.stored.get(domain), self.certs.windows.get(domain)
        is_present = stored is not None and stored.leaf.ari_id == leaf.ari_id
        return window if window is not None and is_present else Window.of(leaf)


def _rfc3339(date: datetime) -> str:
    return date.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _problem_response(problem: AcmeError) -> Response:
    document = {"type": problem.type, "detail": problem.detail, "status": problem.status}
    headers = [("Content-Type", "application/problem+json")]
    return Response(status=problem.status, body=f"{dumps(document)}\n".encode(), headers=headers)
