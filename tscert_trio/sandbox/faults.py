"""What can go wrong in the sandbox, and where."""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Fault", "FaultKind", "Stage", "Where"]


class Stage(enum.Enum):
    """Where in the work for a request a fault sits. From `ACCOUNT` on the locks are held."""

    REQUEST = "request"
    """Before anything is looked at."""
    ARI = "ari"
    """Asking the CA for the renewal window, which tailscaled does for at most 5 s."""
    ACCOUNT = "account"
    ORDER = "order"
    SET_DNS = "set-dns"
    """The control server, which publishes the TXT record."""
    VALIDATE = "validate"
    """The CA looks for that record."""
    FINALIZE = "finalize"
    STORE = "store"


class FaultKind(enum.Enum):
    """What a fault does."""

    ANSWER = "answer"
    """This answer, instead of the true one (`Stage.REQUEST`)."""
    CUT_BODY = "cut-body"
    """The true answer, with half of its body (`Stage.REQUEST`)."""
    HANG_UP = "hang-up"
    """The connection is closed without an answer (`Stage.REQUEST`)."""
    DELAY = "delay"
    """Everything goes well, later."""
    HANG = "hang"
    """Nothing more happens until the client closes its side of the connection, or half of it."""
    PROBLEM = "problem"
    """The CA answers with a problem; tailscaled asks again and again after one with status 429 or 5xx."""
    ERROR = "error"
    """The stage fails with this text."""


class Where(TypedDict, total=False):
    """What the constructors of all faults take."""

    domain: str | None
    endpoint: str
    count: int | None


MAKERS = (
    "answer", "garbage_body", "large_body", "cut_body", "connection_reset", "delay", "hang", "problem",
    "rate_limited", "validation", "account_mismatch", "account_status", "control", "storage",
)  # fmt: skip
"""The constructors of `Fault`, by name."""


@attrs.frozen(kw_only=True)
class Fault:
    """One thing that goes wrong, as often as ``count`` says.

    Use the class methods. A request meets one fault at most: the first that was added of those that fit
    its endpoint and its domain. It is spent when it bites: one that sits in the issuance does nothing to a
    request that is answered with a stored certificate.
    """

    kind: FaultKind
    at: Stage = Stage.REQUEST
    domain: str | None = None
    """The only domain it is for; ``None``: for each."""
    endpoint: str = "cert"
    """The path after ``/localapi/v0/`` and before the next slash."""
    count: int | None = None
    """How often it happens; ``None``: for ever."""
    text: str = ""
    """Of `FaultKind.ERROR`, and the detail of `FaultKind.PROBLEM`."""
    type: str = ""
    """Of `FaultKind.PROBLEM`, without ``urn:ietf:params:acme:error:``."""
    status: int = 500
    """Of `FaultKind.ANSWER` and `FaultKind.PROBLEM`."""
    retry_after: float | None = None
    """Seconds, in the CA's header ``Retry-After``."""
    seconds: float = math.inf
    """Of `FaultKind.DELAY`."""
    body: bytes = b""
    """Of `FaultKind.ANSWER`."""
    headers: Sequence[tuple[str, str]] = ()
    """Of `FaultKind.ANSWER`."""

    @classmethod
    def answer(
        cls,
        status: int,
        body: str | bytes = b"",
        headers: Mapping[str, str] | None = None,
        **where: Unpack[Where],
    ) -> Fault:
        """Answer with this: a text as tailscaled writes its errors, or bytes as they are.

        Args:
            status: of the answer; ``200`` with nonsense is fine.
            body: a text gets a line feed and its content type.
            headers: more headers.
            where: ``domain``, ``endpoint``, ``count``, as for all others.
        """
        more = dict(headers or {})
        if isinstance(body, str):
            more.setdefault("Content-Type", "text/plain; charset=utf-8")
            body = f"{body}\n".encode()
        return cls(kind=FaultKind.ANSWER, status=status, body=body, headers=tuple(more.items()), **where)

    @classmethod
    def garbage_body(cls, **where: Unpack[Where]) -> Fault:
        """Answer 200 with something that is neither PEM nor JSON."""
        return cls.answer(200, b"\x00\xff{<!doctype html>", **where)

    @classmethod
    def large_body(cls, size: int = 2 * 1024 * 1024, **where: Unpack[Where]) -> Fault:
        """Answer 200 with this many bytes."""
        return cls.answer(200, b"A" * size, **where)

    @classmethod
    def cut_body(cls, **where: Unpack[Where]) -> Fault:
        """Send the true answer's head and half of its body."""
        return cls(kind=FaultKind.CUT_BODY, **where)

    @classmethod
    def connection_reset(cls, **where: Unpack[Where]) -> Fault:
        """Close the connection without an answer, as a daemon that dies."""
        return cls(kind=FaultKind.HANG_UP, **where)

    @classmethod
    def delay(cls, seconds: float, *, at: Stage = Stage.REQUEST, **where: Unpack[Where]) -> Fault:
        """Do nothing for this many seconds, then go on."""
        return cls(kind=FaultKind.DELAY, at=at, seconds=seconds, **where)

    @classmethod
    def hang(cls, *, at: Stage | None = None, **where: Unpack[Where]) -> Fault:
        """Never go on; answer ``context canceled`` when the client closes its side of the connection.

        Args:
            at: by default the order for ``cert``, so that the locks are held, and the request for all others.
            where: ``domain``, ``endpoint``, ``count``.
        """
        if at is None:
            at = Stage.ORDER if where.get("endpoint", "cert") == "cert" else Stage.REQUEST
        return cls(kind=FaultKind.HANG, at=at, **where)

    @classmethod
    def problem(
        cls,
        type: str,  # noqa: A002 -- its name in RFC 8555
        detail: str,
        *,
        status: int = 403,
        retry_after: float | None = None,
        at: Stage = Stage.ORDER,
        **where: Unpack[Where],
    ) -> Fault:
        """Let the CA refuse: at once, or with status 429 or 5xx as a hang (see `FaultKind.PROBLEM`)."""
        return cls(
            kind=FaultKind.PROBLEM,
            at=at,
            type=type,
            text=detail,
            status=status,
            retry_after=retry_after,
            **where,
        )

    @classmethod
    def rate_limited(
        cls,
        *,
        retry_after: float | None = 3600,
        hang: bool = True,
        detail: str = "",
        at: Stage = Stage.ORDER,
        **where: Unpack[Where],
    ) -> Fault:
        """Let the CA limit the rate.

        Args:
            retry_after: seconds in the CA's header and, as a date, in its text; ``None``: neither.
            hang: with status 429, as Let's Encrypt does it: the client sees nothing until it closes its side,
                and tailscaled asks the CA again after ``retry_after``. Otherwise with 403, so at once.
            detail: the CA's text.
            at: which step of the ACME protocol.
            where: ``domain``, ``count``.
        """
        status = 429 if hang else 403
        return cls.problem("rateLimited", detail, status=status, retry_after=retry_after, at=at, **where)

    @classmethod
    def validation(cls, detail: str = "", *, type: str = "unauthorized", **where: Unpack[Where]) -> Fault:  # noqa: A002
        """Let the CA not find the TXT record, so that the order becomes invalid."""
        return cls.problem(type, detail, at=Stage.VALIDATE, **where)

    @classmethod
    def account_mismatch(cls, **where: Unpack[Where]) -> Fault:
        """Let the CA say that another account ordered the certificate to be replaced."""
        detail = (
            "While validating order as a replacement an error occurred :: requester account did not request "
            "the certificate being replaced by this order"
        )
        return cls.problem("unauthorized", detail, **where)

    @classmethod
    def account_status(cls, status: str = "deactivated", **where: Unpack[Where]) -> Fault:
        """Let the ACME account not be valid."""
        return cls(
            kind=FaultKind.ERROR, at=Stage.ACCOUNT, text=f'unexpected ACME account status "{status}"', **where
        )

    @classmethod
    def control(cls, text: str, **where: Unpack[Where]) -> Fault:
        """Let the control server not publish the TXT record, with this text."""
        return cls(kind=FaultKind.ERROR, at=Stage.SET_DNS, text=text, **where)

    @classmethod
    def storage(cls, text: str = "", **where: Unpack[Where]) -> Fault:
        """Let tailscaled fail to store what was issued. The order counts."""
        return cls(kind=FaultKind.ERROR, at=Stage.STORE, text=text, **where)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Fault:
        """Make a fault of its fields, or of one of the constructors above and what that takes.

        Args:
            fields: such as ``{"kind": "error", "at": "set-dns", "text": "away"}``, or
                ``{"make": "validation", "domain": "a.tail1234.ts.net", "count": 2}``.

        Raises:
            ValueError: a field is unknown, missing, or has a wrong value.
        """
        values = dict(fields)
        try:
            if (maker := values.pop("make", None)) is not None:
                if maker not in MAKERS:
                    raise ValueError(f"no such fault: {maker!r}; there are {', '.join(MAKERS)}")
                if "at" in values:
                    values["at"] = Stage(values["at"])
                made: Fault = getattr(cls, maker)(**values)
                return made
            values["kind"] = FaultKind(values["kind"])
            values["at"] = Stage(values.get("at", "request"))
            values["body"] = str(values.get("body", "")).encode()
            values["headers"] = tuple(dict(values.get("headers", {})).items())
            return cls(**values)
        except (KeyError, TypeError) as exc:
            raise ValueError(f"not the fields of a fault: {exc}") from None
