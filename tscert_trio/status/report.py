"""What everybody is told: page, JSON, command line and health read this, and nothing else.

A report is plain frozen data without any key, made of :class:`CertManagerStatistics`, live or from the
journal (:mod:`.making`). As JSON it is version 1 of ``/api/v1`` (:mod:`.wire`), and what stands below a
field is its description in ``schema.json``.
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
    "SourceReport",
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
    """In the words of who said it, on one line; nothing of what a hook or a reload wrote."""
    meaning: str
    """In our words."""
    remedy: str
    """What to do."""


@attrs.frozen(kw_only=True)
class WindowReport:
    """When the CA would like a certificate to be renewed (RFC 9773)."""

    start: datetime
    """When it begins."""
    end: datetime
    """When it ends."""
    explanation_url: str | None = None
    """Where the CA says why."""


@attrs.frozen(kw_only=True)
class CertificateReport:
    """The newest certificate of a name, valid or not."""

    names: tuple[str, ...]
    """The DNS names that it covers."""
    serial_number: str
    """In hexadecimal, as openssl writes it."""
    fingerprint: str
    """SHA-256, in hexadecimal."""
    issuer: str
    """The issuer's name (RFC 4514)."""
    not_before: datetime
    """When it begins."""
    not_after: datetime
    """When it ends."""
    due_at: datetime
    """When it is due to be renewed."""
    due_reason: str
    """Why it is due then."""
    window: WindowReport | None
    """What the CA suggests, if that is known."""
    is_valid: bool
    """Whether it has begun, and has not ended."""
    is_recalled: bool = False
    """Whether the CA wants it replaced now, well before its time, as it does before it revokes one."""


@attrs.frozen(kw_only=True)
class DeliveryReport:
    """How far a name is with one target."""

    target: str
    """Its name in the settings."""
    level: Level
    """How well it is."""
    summary: str
    """In a few words."""
    state: str
    """``pending``, ``written``, ``announced`` or ``seen served``."""
    goal: str
    """The target's last step, one of these."""
    is_done: bool
    """Whether the last step is done, and the last look said so."""
    is_current: bool
    """Whether it is about the newest certificate."""
    since: datetime
    """When the state became what it is."""
    failures: int
    """Since the goal was reached last."""
    trouble: Trouble | None
    """Why a step failed; ``null`` once the goal is reached."""
    output: str | None
    """The end of what the hook, or a reload that failed, wrote last; only for who asks by the Unix socket."""
    next_attempt_at: datetime | None
    """When a step that failed is tried again."""
    checked_at: datetime | None
    """When it was looked at last whether all is as it should be."""
    served: str | None
    """What the probe saw last: ``new``, ``old``, ``other`` or ``none``."""
    warnings: tuple[str, ...]
    """What a file system refused."""
    good_until: datetime | None
    """The end of the certificate with which the goal was reached last."""

    def trouble_beside_output(self, name: str) -> Trouble | None:
        """Return why a step failed, for who is shown the output, too: the remedy does not send him there.

        Args:
            name: whose certificate is delivered.
        """
        if self.trouble is None or self.output is None:
            return self.trouble
        remedy = self.trouble.remedy.replace(f" (tscert-trio status {name})", "")
        return attrs.evolve(self.trouble, remedy=remedy)


@attrs.frozen(kw_only=True)
class DomainReport:
    """How one name is."""

    name: str
    """In lower case."""
    level: Level
    """How well it is, its deliveries included."""
    summary: str
    """One sentence."""
    state: str
    """What its loop does: ``waiting``, ``queued``, ``requesting``, ``issued``, ``failed`` or ``limited``;
    ``unknown`` from the journal."""
    mode: str = "keeper"
    """Whether certificates are ordered for it here: ``keeper``; ``reader``, where this replica only reads;
    ``guest``, where the configuration says ``issue = false``. The journal, which does not know, says
    ``keeper``."""
    certificate: CertificateReport | None
    """The newest, valid or not."""
    harmless_until: datetime | None
    """Until when what is wrong does no harm; ``null`` where nothing is wrong, or it does, or nobody knows."""
    trouble: Trouble | None
    """Why the last request failed, or why it waits; ``null`` after a success."""
    attempts: int
    """Requests since the service began to keep it."""
    failures: int
    """Counted failures in a row."""
    runway: int
    """Attempts that are left before the certificate ends; 999 is enough, and 0 where none is ordered here."""
    last_attempt_at: datetime | None
    """When the last request ended."""
    last_success_at: datetime | None
    """When a certificate that is not due was seen last."""
    next_attempt_at: datetime | None
    """When tailscaled is asked next; ``null`` while the name waits or is asked for, and where it never is."""
    limit: str | None
    """What a new certificate waits for, where that is a limit of the CA."""
    limited_until: datetime | None
    """Until when it waits for that."""
    attempts_left: int | None
    """Attempts that the limit for a name in an hour lets through now; ``null``: any number."""
    certificates_left: int | None
    """New certificates that its limit for the same name lets through now; ``null``: any number."""
    deliveries: tuple[DeliveryReport, ...]
    """By target, in the order of the settings."""

    @property
    def is_ready(self) -> bool:
        """Whether it has a valid certificate."""
        return self.certificate is not None and self.certificate.is_valid

    @property
    def next_delivery_at(self) -> datetime | None:
        """When a delivery that failed is tried again, the first of them."""
        ats = [each.next_attempt_at for each in self.deliveries if each.trouble is not None]
        return min((at for at in ats if at is not None), default=None)


@attrs.frozen(kw_only=True)
class LimitReport:
    """How much of one of the CA's limits is spent, as far as this machine knows."""

    name: str
    """What it limits, in words."""
    scope: str
    """The tailnet, or ``this machine``."""
    used: int
    """How much this machine has spent, or the CA says is spent; less what has come back since, bit by bit."""
    capacity: int
    """How much there is in all."""
    is_exceeded: bool
    """Whether the CA has said so."""
    until: datetime | None
    """Where it is exceeded: when the next order may be made."""


@attrs.frozen(kw_only=True)
class TailscaledReport:
    """How tailscaled is."""

    is_bus_watched: bool
    """Whether its IPN bus, which tells of changes, is being watched just now."""
    capability: int | None
    """The capability version: 123 is v1.86, 138 v1.98, 142 v1.102, 148 v1.104."""
    cert_domains: tuple[str, ...] | None
    """The names that it gets certificates for; ``null`` while not known."""
    trouble: Trouble | None
    """Why it does not tell them just now."""


@attrs.frozen(kw_only=True)
class SourceReport:
    """One place from which wanted names come."""

    name: str
    """Such as ``tailscaled's serve config``."""
    is_known: bool
    """Whether it could ever be read. Until then nothing is wanted from it."""
    trouble: str | None
    """Why it cannot be read just now; its last good names stay."""


@attrs.frozen(kw_only=True)
class StatusReport:
    """How everything is, trouble first."""

    version: int = 1
    """Of this format. New fields may come; none goes, or changes its meaning."""
    program: str
    """The version of this package."""
    at: datetime
    """When it was made."""
    source: Source
    """Where it comes from."""
    level: Level
    """The worst of all."""
    summary: str
    """One sentence."""
    counts: dict[str, int]
    """How many names are of each level."""
    domains: tuple[DomainReport, ...]
    """The worst first; of these, the one that harms first."""
    limits: tuple[LimitReport, ...]
    """What the CA allows."""
    tailscaled: TailscaledReport | None
    """``null`` from the journal."""
    sources: tuple[SourceReport, ...]
    """Where the wanted names come from; none from the journal."""
    is_told: bool
    """Whether it is known which names are wanted, from every source."""
    journal_trouble: str | None = None
    """Why what happens is not written to the journal just now, with what to do; ``null`` where it is."""

    @property
    def names(self) -> list[str]:
        """The names, as :attr:`domains` has them."""
        return [each.name for each in self.domains]
