"""What can go wrong, as exceptions.

::

    TscertError
     ├─ InvalidDomainError      a name that no certificate can be had for
     ├─ ServeConfigError        a serve config that cannot be read; nothing was changed
     ├─ SettingsError           options that make no sense; holds all faults at once
     ├─ SourceError             a source of wanted names cannot be read just now
     ├─ TargetError             a file that could not be written, a program that could not be told
     │   └─ HookError               a hook that failed; holds its output
     ├─ StateError              the state folder cannot be used
     │   └─ StateFolderHeldError    another service uses it
     ├─ StatusServiceError      the service does not tell how it stands, or does not renew
     │   └─ NoStatusServiceError    nobody answers on its socket
     ├─ RenewalInfoError        the CA does not say when to renew
     └─ LocalAPIError           tailscaled did not do what was asked
         ├─ UnreachableError        nobody listens on the socket, or tailscaled is still starting
         ├─ NoAnswerError           tailscaled hangs: a query was not answered in time
         ├─ AccessDeniedError       tailscaled does not let this user ask
         ├─ NotACertDomainError     the name is not among the node's CertDomains
         ├─ ReadOnlyStoreError      this replica may read certificates, not issue them
         ├─ ControlError            the control server did not publish the DNS record
         ├─ RateLimitedError        the CA wants silence; ``retry_after`` says how long
         ├─ IssuanceTimeoutError    no answer in time
         ├─ ConnectionLostError     tailscaled went away in the middle of an issuance
         ├─ AlreadyReplacedError    an earlier renewal of this certificate blocks this one
         ├─ AccountMismatchError    the certificate to replace belongs to another ACME account
         ├─ AccountError            the CA does not accept this machine's ACME account
         ├─ StorageError            issued, but tailscaled could not store it
         ├─ ValidationError         the CA could not verify the name
         ├─ PausedError             the CA has paused the name
         ├─ StaleCertificateError   tailscaled said it renewed, and still gives the old certificate
         ├─ IssuanceError           every other failure of an issuance
         │   ├─ CAUnreachableError      tailscaled cannot reach the CA
         │   └─ CATroubleError          the CA has trouble of its own
         └─ ProtocolError           the answer is not what the LocalAPI promises

Every :exc:`LocalAPIError` says three things: ``str(error)`` is what happened, in tailscaled's words
and on one line; :attr:`~LocalAPIError.meaning` is what that means; :attr:`~LocalAPIError.remedy` is
what to do.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta


_SAID_CHARS = 200


class TscertError(Exception):
    """Base of all errors of this package. ``str(error)`` is one line."""


class InvalidDomainError(TscertError, ValueError):
    """A name that is no DNS name, so no certificate can be had for it."""


class ServeConfigError(TscertError, ValueError):
    """A serve config that cannot be read. It names the place; nothing was changed."""


class SettingsError(TscertError, ValueError):
    """Options that make no sense.

    Attributes:
        faults: one line for each fault.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


class SourceError(TscertError):
    """A source of wanted names cannot be read just now; the last good names stay."""


class TargetError(TscertError):
    """A certificate or key could not be written where it was wanted, or nobody could be told of it."""


class HookError(TargetError):
    """A command that was to be run for a certificate failed, was not found, or took too long.

    ``str(error)`` has nothing of what the command wrote: that may be secret, and the text is shown to all.

    Attributes:
        output: the end of what it wrote; a private key in it is left out.
    """

    def __init__(self, text: str, *, output: str = "") -> None:
        super().__init__(text)
        self.output = output

    def told(self) -> str:
        """Return what happened with the end of the output, on one line: for this machine only."""
        return with_output(str(self), self.output)


def with_output(text: str, output: str | None) -> str:
    """Return a text with the last 200 characters of some output, on one line: for this machine only."""
    said = end_of(output or "")
    return f"{text.rstrip('.')}; last output: {said}" if said else text


def end_of(output: str) -> str:
    """Return the last 200 characters of some output, on one line."""
    said = " ".join(output.split())
    return said if len(said) <= _SAID_CHARS else f"…{said[1 - _SAID_CHARS :]}"


class StateError(TscertError):
    """The state folder cannot be used."""


class StateFolderHeldError(StateError):
    """Another service uses the state folder; the text says which process."""


class StatusServiceError(TscertError):
    """The service was asked how it stands, or to renew, and did not do it.

    Attributes:
        remedy: what to do about it.
        status: the HTTP status, or ``None`` where there was no answer.
    """

    def __init__(self, text: str, *, remedy: str, status: int | None = None) -> None:
        super().__init__(text)
        self.remedy = remedy
        self.status = status

    def told(self) -> str:
        """Return what happened and what to do, on one line."""
        return f"{str(self).rstrip('.')}. {self.remedy}"


class NoStatusServiceError(StatusServiceError):
    """Nobody answers on the status socket, or this user may not ask: its journal may still tell."""


class RenewalInfoError(TscertError):
    """The CA cannot be asked when to renew a certificate, or its answer makes no sense.

    Attributes:
        is_out_of_reach: whether the CA as a whole cannot be asked, rather than about this certificate.
        status: the HTTP status where that was the trouble; ``None`` where there was no answer, or it was 200.
    """

    def __init__(self, text: str, *, is_out_of_reach: bool = False, status: int | None = None) -> None:
        super().__init__(text)
        self.is_out_of_reach = is_out_of_reach
        self.status = status


class LocalAPIError(TscertError):
    """tailscaled did not do what was asked.

    Attributes:
        status: the HTTP status, or ``None`` where there was no answer.
        meaning: what it means, in our words.
        remedy: what to do about it.
        reached_ca: whether the certificate authority saw the request; ``None`` is "perhaps".
        counted: whether it counts as a failure in a row (``docs/design.rst``, "What failed").
        passes_with_tailscaled: whether it may pass with a change that tailscaled's bus shows: its start,
            its login, its CertDomains, a control server that is back.
        passes_with_ca: whether it may pass when the CA can be reached again.
    """

    meaning: ClassVar[str] = "tailscaled refused the request."
    remedy: ClassVar[str] = "Look at tailscaled's log."
    reached_ca: ClassVar[bool | None] = False
    counted: ClassVar[bool] = False
    passes_with_tailscaled: ClassVar[bool] = False
    passes_with_ca: ClassVar[bool] = False

    def __init__(self, text: str, *, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class UnreachableError(LocalAPIError):
    """Nobody listens on the socket, the connection broke unanswered, or tailscaled has no netmap yet."""

    meaning = "tailscaled is not running, is still starting, or is logged out."
    remedy = (
        "Start it (systemctl start tailscaled) and log in (tailscale up); if it is elsewhere, give its "
        "socket with --socket or TS_SOCKET."
    )
    passes_with_tailscaled = True


class NoAnswerError(LocalAPIError):
    """No answer to a query in time; to a request for a certificate that is an :exc:`IssuanceTimeoutError`."""

    meaning = "tailscaled hangs, or is still starting."
    remedy = "Usually passes by itself; if not, tailscaled's log says what it waits for."


class AccessDeniedError(LocalAPIError):
    """tailscaled, or the socket's file mode, does not let this user ask (HTTP 403)."""

    meaning = "This user may not ask tailscaled for certificates."
    remedy = (
        "Run as root, or make this user the operator (tailscale set --operator=USER), or set "
        "TS_PERMIT_CERT_UID=USER in tailscaled's environment (/etc/default/tailscaled)."
    )


class NotACertDomainError(LocalAPIError):
    """The name is not among the node's CertDomains, or the tailnet has none."""

    meaning = "The tailnet does not let this node have a certificate for this name."
    remedy = (
        "Check the spelling, enable HTTPS on the admin console's DNS page, and see that the service "
        "is advertised by this node and approved; tscert-trio doctor tells which of these it is."
    )
    passes_with_tailscaled = True


class ReadOnlyStoreError(LocalAPIError):
    """tailscaled runs in read-only share mode: another replica issues."""

    meaning = "This replica may read certificates, not issue them."
    remedy = "Run the issuing replica (POD_NAME ending in -0), or wait for it."


class ControlError(LocalAPIError):
    """Tailscale's control server did not publish the DNS record that proves the name (``SetDNS …``)."""

    meaning = "Tailscale's control server did not publish the DNS record the CA wants to see."
    remedy = "Usually passes by itself; look at https://status.tailscale.com if it does not."
    reached_ca = True  # tailscaled orders before it asks for the record
    counted = True
    passes_with_tailscaled = True


class RateLimit(enum.Enum):
    """Which limit of the CA was passed (https://letsencrypt.org/docs/rate-limits/), told by its text."""

    CERTIFICATES_PER_NAME = "certificates for the same name"
    CERTIFICATES_PER_TAILNET = "new names of the tailnet"
    ORDERS = "orders of this account"
    VALIDATIONS = "failed validations of the name"
    REGISTRATIONS = "new accounts from this address"
    OTHER = "requests of this kind"


class RateLimitedError(LocalAPIError):
    """The CA wants silence (HTTP 429, or ``rateLimited`` in the text).

    Attributes:
        retry_after: how long the CA asks to wait, from now on; ``None`` where it did not say.
        limit: which limit was passed.
    """

    meaning = "The certificate authority has had too many requests of this kind."
    remedy = "Wait: asking again earlier does not help. https://letsencrypt.org/docs/rate-limits/"
    reached_ca = True
    counted = True

    def __init__(
        self,
        text: str,
        *,
        status: int | None = None,
        retry_after: timedelta | None = None,
        limit: RateLimit = RateLimit.OTHER,
    ) -> None:
        super().__init__(text, status=status)
        self.retry_after = retry_after
        self.limit = limit


class IssuanceTimeoutError(LocalAPIError):
    """No answer in time, nor a reason after the request was half-closed."""

    meaning = "tailscaled waits for the CA or the control server, or for another issuance to end."
    remedy = (
        "Usually passes by itself; if not, tailscaled's log says what it waits for, and restarting "
        "tailscaled ends a renewal of its own that hangs."
    )
    reached_ca = None
    counted = True
    passes_with_tailscaled = True
    passes_with_ca = True


class ConnectionLostError(LocalAPIError):
    """tailscaled went away while it worked on a certificate, which may have been ordered, even issued."""

    meaning = "tailscaled ended, or was restarted, in the middle of an issuance."
    remedy = "Passes by itself if it was restarted; if it happens again, its log says why it ends."
    reached_ca = None
    counted = True
    passes_with_tailscaled = True


class AlreadyReplacedError(LocalAPIError):
    """An earlier renewal of this certificate is pending or was lost (``alreadyReplaced``)."""

    meaning = (
        "The CA holds an earlier renewal of this certificate that was not finished, or tailscaled lost it."
    )
    remedy = (
        "While the certificate is good, wait: the CA forgets an unfinished renewal within a week. To have a "
        "new one sooner, repair what failed before, if something did; else restart tailscaled with "
        "TS_DEBUG_ACME_FORCE_RENEWAL=true in its environment until the next attempt."
    )
    reached_ca = True
    counted = True


class AccountMismatchError(LocalAPIError):
    """The certificate to replace was ordered by another ACME account."""

    meaning = "tailscaled's ACME account key was lost or changed since the certificate was issued."
    remedy = AlreadyReplacedError.remedy
    reached_ca = True
    counted = True


class AccountError(LocalAPIError):
    """The CA does not accept the ACME account of this machine: deactivated, revoked or unknown."""

    meaning = "The CA does not accept this machine's ACME account, so it issues nothing."
    remedy = (
        "Move acme-account.key.pem out of the folder certs in tailscaled's state folder (its entry out of "
        "the Kubernetes Secret) and restart tailscaled: it then opens a new account."
    )
    reached_ca = True
    counted = True


class StorageError(LocalAPIError):
    """The certificate was issued, and tailscaled could not store it."""

    meaning = "Each retry spends one of the five certificates a week that the CA gives this name."
    remedy = "Make room or repair the permissions in tailscaled's state folder or Kubernetes Secret."
    reached_ca = True
    counted = True


class ValidationError(LocalAPIError):
    """The CA could not verify the name."""

    meaning = "The CA did not find the DNS record that proves the name, or may not issue for it."
    remedy = "Usually passes by itself; check the name's CAA and TXT records if it does not."
    reached_ca = True
    counted = True


class PausedError(LocalAPIError):
    """The CA has paused the name after many failed validations."""

    meaning = "The CA issues nothing for this name until a person unpauses it."
    remedy = "Open the link in the message; it is tried again within a day."
    reached_ca = True
    counted = True


class StaleCertificateError(LocalAPIError):
    """tailscaled said that the certificate is renewed, and still gives the one that was to be replaced."""

    meaning = "tailscaled reported a success, and there is no new certificate."
    remedy = "See that the clock is right and tailscaled can write its certificates; its log may say more."
    reached_ca = True
    counted = True


class IssuanceError(LocalAPIError):
    """Every other failure of an issuance; the text is tailscaled's."""

    meaning = "The certificate could not be had."
    remedy = "Read the message; tailscaled's log may say more."
    reached_ca = None
    counted = True
    passes_with_ca = True


class CAUnreachableError(IssuanceError):
    """tailscaled got no connection to the CA: a firewall, DNS, no route, or TLS that somebody intercepts."""

    meaning = "tailscaled cannot reach the certificate authority over the network."
    remedy = (
        "See that this machine gets through to it: curl -sS https://acme-v02.api.letsencrypt.org/directory; "
        "if not, look at its DNS, firewall and proxy."
    )


class CATroubleError(IssuanceError):
    """The CA says that it has trouble of its own (HTTP 5xx, ``serverInternal``)."""

    meaning = "The certificate authority has trouble of its own."
    remedy = "Passes by itself; https://letsencrypt.status.io says more."


class ProtocolError(LocalAPIError):
    """An answer that is not what the LocalAPI promises: cut short, too large, or no certificate."""

    meaning = "What answers on this socket is not tailscaled, or not one this was written for."
    remedy = "Check the socket path and tailscaled's version."
    counted = True


def without_frames(error: LocalAPIError) -> LocalAPIError:
    """Return an error that can be kept for days: what led to it would keep the request's frames alive."""
    error.__context__ = error.__cause__ = None
    return error.with_traceback(None)
