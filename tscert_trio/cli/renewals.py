"""A renewal that a person asked for: when it is over, and what came of it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import attrs

from ..errors import NotACertDomainError, with_output
from ..status.wire import to_plain
from ..status.words import NOT_ORDERED, in_time, moment
from .telling import attempts_left, certificates_left, says_as_much

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from ..status.report import CertificateReport, DeliveryReport, DomainReport, Trouble

__all__ = ["Renewal"]

_BUSY = {"queued", "requesting"}
_DOING = {
    "queued": "waits until others are done",
    "requesting": "asked tailscaled; a new certificate takes 5 to 60 s",
}
_LATE_SECONDS = 60
_DOING_LATE = "still at it; tailscaled has up to 5m for it, and Ctrl-C is harmless: the service goes on"
_STALE_SECONDS = 2
"""For so long a state may be that from before the question."""
_DELIVERY_SECONDS = 60
"""For so long a delivery is waited for that says nothing."""
_TRIED_AT_ONCE = timedelta(seconds=2)
_SOON = timedelta(seconds=90)
"""A request that comes within so long is waited for: as one does in the last minute of a certificate."""
_OF_ANOTHER = {
    "guest": "To have it ordered here, leave issue = false out of its settings.",
    "reader": "The replica that orders certificates has to renew it.",
}
"""What to do where nothing is ordered here, by the mode of a name."""


@attrs.define(eq=False)
class Renewal:
    """One name that was asked for.

    Args:
        before: how it was.
        is_forced: whether a new certificate is wanted in any case.
    """

    before: DomainReport
    is_forced: bool
    asked_at: datetime | None = None
    attempts: int | None = None
    """How many requests there were until then, one under way included; ``None``: nobody tells."""
    outcome: str | None = None
    """``renewed``, ``issued``, ``not due``, ``failed``, ``not delivered``, ``not ordered``, ``later``,
    ``waiting``, ``limited`` or ``gone``; ``None`` while it is not over."""
    doing: str = "asked the service"
    """What is going on."""
    _after: DomainReport | None = None
    _text: str = ""
    _left: str | None = None
    """What is left of a limit of the CA."""
    _notes: Sequence[str] = ()
    """What it means, and what to do."""
    _over_since: float | None = None

    @property
    def name(self) -> str:
        """Of what it is."""
        return self.before.name

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.outcome is not None

    @property
    def is_good(self) -> bool:
        """Whether it ended well."""
        return self.outcome in {"renewed", "issued", "not due"}

    def see(self, report: DomainReport | None, seconds: float) -> str | None:
        """Take note of how the name is now; return what is going on, where that is news.

        Args:
            report: how it is; ``None`` where no certificate is kept for it any more.
            seconds: since it was asked for.
        """
        if report is None:
            self.outcome, self._text = "gone", "is no longer wanted, so no certificate is kept for it"
            return None
        self._after = report
        is_answered = self._was_asked(report) and report.attempts != self.attempts
        is_since = seconds >= _STALE_SECONDS
        if report.state in {"waiting", "limited"} and (is_answered or is_since):
            self._waits(report)
        elif is_answered and _rests(report):
            self._ended(report, seconds)
        elif is_since and self._is_left_alone(report, seconds):
            if self._was_asked(report):  # by a service that has been started anew since
                self._ended(report, seconds)
            else:
                self._not_asked(report)
        doing = self.doing
        if not self.is_over:
            is_late = report.state == "requesting" and seconds >= _LATE_SECONDS
            self.doing = _DOING_LATE if is_late else _DOING.get(report.state, self.doing)
        return self.doing if self.doing != doing else None

    def told(self) -> Iterator[str]:
        """Yield lines that tell what came of it."""
        yield f"{self.name}: {self._text}"
        if self._left is not None:
            yield f"  {self._left}"
        yield from (f"  {note}" for note in self._notes)

    def as_json(self) -> dict[str, Any]:
        """Return what came of it, as JSON holds it."""
        return {
            "name": self.name,
            "asked_at": to_plain(self.asked_at),
            "outcome": self.outcome,
            "ok": self.is_good,
            "text": self._text or None,
            "domain": to_plain(self._after),
        }

    def _was_asked(self, report: DomainReport) -> bool:
        """Return whether a request has ended since the question, be it that which was under way then."""
        at, asked_at = report.last_attempt_at, self.asked_at
        return at is not None and asked_at is not None and at >= asked_at

    def _is_left_alone(self, report: DomainReport, seconds: float) -> bool:
        """Return whether tailscaled is not asked for it, and will not be soon."""
        if self.asked_at is None or not _rests(report):
            return False
        at = report.next_attempt_at
        if at is None:
            return not report.is_ready
        return at > self.asked_at + timedelta(seconds=seconds) + _SOON

    def _not_asked(self, report: DomainReport) -> None:
        """Tell that no request follows, and why."""
        at = report.next_attempt_at
        if at is None:
            self._not_ordered(report, report.summary)
            return
        self.outcome, self._notes = "later", _notes(report.trouble)
        self._text = f"is not asked for before {moment(at)} ({in_time(at, self._now)}): {report.summary}"

    def _not_ordered(self, report: DomainReport, text: str) -> None:
        """Tell that what was wanted is an order, and none is made here."""
        why, note = NOT_ORDERED.get(report.mode, ""), _OF_ANOTHER.get(report.mode)
        self.outcome, self._text = "not ordered", text if why in text else f"{why}; {text}"
        self._notes = () if note is None else (note,)

    def _waits(self, report: DomainReport) -> None:
        self.outcome, self._notes = report.state, _notes(report.trouble)
        if report.state == "limited":
            until = report.limited_until or report.next_attempt_at
            when = f" until {moment(until)} ({in_time(until, self._now)})" if until is not None else ""
            asked = f"a new one has to wait for {report.limit}{when}, and is asked for then by itself"
            present = report.certificate if report.is_ready else None
            good = "" if present is None else f"; the present certificate is {_until(present, self._now)}"
            self._text = f"{asked}{good}"
        else:
            what, trouble = "to become one of this node's CertDomains", report.trouble
            if trouble is not None and trouble.kind != NotACertDomainError.__name__:
                what = "for tailscaled"
            why = f": {trouble.text}" if trouble is not None and not says_as_much(what, trouble) else ""
            self._text = f"waits {what}{why}"

    def _ended(self, report: DomainReport, seconds: float) -> None:
        new, old = report.certificate, self.before.certificate
        is_new = new is not None and (old is None or new.fingerprint != old.fingerprint)
        if report.trouble is not None:
            self.outcome, self._notes = "failed", _notes(report.trouble)
            parts = [f"failed ({report.trouble.kind}): {report.trouble.text.rstrip('.')}"]
            if (left := attempts_left(report)) is not None:
                parts.append(left)
            if (again := report.limited_until or report.next_attempt_at) is not None:
                parts.append(f"tried again {in_time(again, self._now)}, at {moment(again)}")
            if report.is_ready and new is not None:
                parts.append(f"the present certificate is {_until(new, self._now)}")
            self._text = "; ".join(parts)
            return
        self._over_since = seconds if self._over_since is None else self._over_since
        if self._is_delivering(report) and seconds - self._over_since < _DELIVERY_SECONDS:
            self.doing = "has it, and brings it to its targets"
            return
        verb = ("renewed" if old is not None else "issued") if is_new else "not due"
        text = f"{verb}: {_until(new, self._now)}" if new is not None else verb
        failed = [each for each in report.deliveries if each.trouble is not None]
        left_now = certificates_left(report)
        if is_new and self.is_forced and left_now is not None:
            self._left = left_now
        elif not (is_new or self.is_forced or failed):  # an order would not mend a delivery
            text += "; --force orders a new one all the same"
        self.outcome, self._text = verb, text
        if self.is_forced and not is_new and new is not None and report.mode in _OF_ANOTHER:
            self._not_ordered(report, f"the present certificate is {_until(new, self._now)}")
        if failed:
            self._not_delivered(text, sorted(failed, key=lambda each: -each.level.rank))

    def _not_delivered(self, text: str, failed: list[DeliveryReport]) -> None:
        """Tell of all deliveries that fail, the worst first."""
        parts, meanings, remedies = [], [], []
        for each in failed:
            assert each.trouble is not None
            again = each.next_attempt_at
            then = f"; tried again {in_time(again, self._now)}" if again is not None else ""
            parts.append(with_output(f"{each.target}: {each.summary}{then}", each.output))
            meanings.append(f"{each.target}: {each.trouble.meaning}")
            remedies.append(each.trouble.remedy)
        self.outcome, self._text = "not delivered", f"{text}; but {'; and '.join(parts)}"
        self._notes = [*meanings, *dict.fromkeys(remedies)]

    def _is_delivering(self, report: DomainReport) -> bool:
        return any(self._is_tried(each) for each in report.deliveries)

    def _is_tried(self, delivery: DeliveryReport) -> bool:
        """Return whether a delivery is still under way: it has not been done, nor failed since."""
        if delivery.is_done and delivery.is_current:
            return False
        if delivery.trouble is None or delivery.next_attempt_at is None:
            return True
        assert self.asked_at is not None
        return delivery.next_attempt_at <= self.asked_at + _TRIED_AT_ONCE

    @property
    def _now(self) -> datetime:
        """Return about what time it is by the service's clock."""
        assert self.asked_at is not None
        last = self._after.last_attempt_at if self._after is not None else None
        return self.asked_at if last is None else max(self.asked_at, last)


def _rests(report: DomainReport) -> bool:
    """Return whether no request is under way. During a look, which is no state, no next one is told."""
    is_never_asked = report.mode == "guest" and report.next_attempt_at is None
    return report.state not in _BUSY and (report.next_attempt_at is not None or is_never_asked)


def _notes(trouble: Trouble | None) -> Sequence[str]:
    return () if trouble is None else (trouble.meaning, trouble.remedy)


def _until(certificate: CertificateReport, now: datetime) -> str:
    return f"valid until {moment(certificate.not_after)} ({in_time(certificate.not_after, now)})"
