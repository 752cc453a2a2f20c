"""What everybody is told: page, JSON, command line and health read this, and nothing else.

A report is plain frozen data without any key, made of :class:`CertManagerStatistics`, live or from the
journal (:mod:`.making`). As JSON it is version 1 of ``/api/v1`` (:mod:`.wire`).
"""

from __future__ import annotations

import enum
from datetime import datetime  # noqa: TC003 -- cattrs reads the annotations

import attrs

__all__ = [
    "CertificateReport",
    "DeliveryReport",
    "DomainReport",
    "Level",
    "LimitReport",
    "Source",
    "StatusReport",
    "TailscaledReport",
    "Trouble",
    "WindowReport",
]


class Level(enum.Enum):
    """How well something is, the best first."""

    GOOD = "good"
    NOTICE = "notice"
    """Under way, and nothing to do."""
    WARNING = "warning"
    """Something is wrong, and harmless for now."""
    BAD = "bad"
    """There is no valid certificate, or none that is served."""

    @property
    def rank(self) -> int:
        """0 for the best."""
        return _RANKS[self]


_RANKS = {level: rank for rank, level in enumerate(Level)}


class Source(enum.Enum):
    """Where a report comes from."""

    SERVICE = "service"
    JOURNAL = "journal"
    """Of a service that does not run, or does not answer."""


@attrs.frozen(kw_only=True)
class Trouble:
    """Why something failed."""

    kind: str
    """The class, such as ``ControlError`` (``docs/design.rst``, "What failed")."""
    text: str
    """In the words of who said it, on one line."""
    meaning: str
    remedy: str


@attrs.frozen(kw_only=True)
class WindowReport:
    """When the CA would like a certificate to be renewed (RFC 9773)."""

    start: datetime
    end: datetime
    explanation_url: str | None = None


@attrs.frozen(kw_only=True)
class CertificateReport:
    """The newest certificate of a name, valid or not."""

    names: tuple[str, ...]
    serial_number: str
    """In hexadecimal, as openssl writes it."""
    fingerprint: str
    """SHA-256, in hexadecimal."""
    issuer: str
    not_before: datetime
    not_after: datetime
    due_at: datetime
    """When it is due to be renewed."""
    due_reason: str
    window: WindowReport | None
    is_valid: bool


@attrs.frozen(kw_only=True)
class DeliveryReport:
    """How far a name is with one target."""

    target: str
    level: Level
    summary: str
    state: str
    """``pending``, ``written``, ``announced`` or ``seen served``."""
    goal: str
    """The target's last step, one of these."""
    is_done: bool
    is_current: bool
    """Whether it is about the newest certificate."""
    since: datetime
    """When the state became what it is."""
    failures: int
    trouble: Trouble | None
    output: str | None
    """The end of what the hook wrote last; only for who asks by the Unix socket."""
    next_attempt_at: datetime | None
    checked_at: datetime | None
    served: str | None
    """What the probe saw last: ``new``, ``old``, ``other`` or ``none``."""
    warnings: tuple[str, ...]
    good_until: datetime | None
    """The end of the certificate with which the goal was reached last."""


@attrs.frozen(kw_only=True)
class DomainReport:
    """How one name is."""

    name: str
    level: Level
    summary: str
    """One sentence."""
    state: str
    """What its loop does: :class:`DomainState`; ``unknown`` from the journal."""
    certificate: CertificateReport | None
    harmless_until: datetime | None
    """Until when what is wrong does no harm; ``None`` where nothing is wrong, or it does."""
    trouble: Trouble | None
    attempts: int
    failures: int
    """Counted failures in a row."""
    runway: int
    """Attempts that are left before the certificate ends; 999 is enough."""
    last_attempt_at: datetime | None
    last_success_at: datetime | None
    next_attempt_at: datetime | None
    """``None`` while it waits, or is under way."""
    limit: str | None
    """What a new certificate waits for, where that is a limit of the CA."""
    limited_until: datetime | None
    deliveries: tuple[DeliveryReport, ...]

    @property
    def is_ready(self) -> bool:
        """Whether it has a valid certificate."""
        return self.certificate is not None and self.certificate.is_valid


@attrs.frozen(kw_only=True)
class LimitReport:
    """How much of one of the CA's limits is spent, as far as this machine knows."""

    name: str
    scope: str
    """The tailnet, or ``this machine``."""
    used: int
    capacity: int
    is_exceeded: bool
    until: datetime | None
    """Where it is exceeded: when the next order may be made."""


@attrs.frozen(kw_only=True)
class TailscaledReport:
    """How tailscaled is."""

    is_bus_watched: bool
    capability: int | None
    """123 is v1.86, 138 v1.98, 142 v1.102, 148 v1.104."""
    cert_domains: tuple[str, ...] | None
    trouble: Trouble | None


@attrs.frozen(kw_only=True)
class StatusReport:
    """How everything is, trouble first."""

    version: int = 1
    program: str
    """The version of this package."""
    at: datetime
    source: Source
    level: Level
    summary: str
    """One sentence."""
    counts: dict[str, int]
    """How many names are of each level."""
    domains: tuple[DomainReport, ...]
    """The worst first; of these, the one that harms first."""
    limits: tuple[LimitReport, ...]
    tailscaled: TailscaledReport | None
    """``None`` from the journal."""
    is_told: bool
    """Whether it is known which names are wanted."""
