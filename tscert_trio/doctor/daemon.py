"""tailscaled: is it there, may it be asked, what can it, and is it logged in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import AccessDeniedError, UnreachableError
from .finding import bad, good, warning

if TYPE_CHECKING:
    from pathlib import Path

    from ..localapi import Status
    from ..survey import Survey
    from .finding import Finding

__all__ = ["check_login", "check_release", "check_socket", "remedy_of_no_names"]

_DNS_PAGE = "https://login.tailscale.com/admin/dns"
_REST = "; what only it can tell is left out here"
_LACKS = (  # the first release that has it, by Tailscale-Cap, and what those before do without
    (138, "1.98", "it has no list of CertDomains to ask for, so its status is asked"),
    (142, "1.102", "it issues one certificate at a time, and one that hangs holds up all others"),
)
_OLDEST_CAP = 122  # 1.86.0
_STATES = {  # of ipn.State, with what to do; the others are good
    "NoState": ("is still starting", "wait a moment, then look again"),
    "NeedsLogin": ("is logged out", "tailscale up"),
    "NeedsMachineAuth": (
        "waits for this machine to be approved",
        "approve it at https://login.tailscale.com/admin/machines",
    ),
    "InUseOtherUser": ("is in use by another user of this machine", "tailscale switch --list"),
}


async def check_socket(survey: Survey) -> list[Finding]:
    """See that tailscaled's socket is there and can be spoken to."""
    path, trouble = survey.settings.socket, survey.status_trouble
    if trouble is None:
        return [good("tailscaled", f"answers on {path}")]
    if isinstance(trouble, AccessDeniedError):
        return [bad("tailscaled", f"{trouble}{_REST}", trouble.remedy)]
    if not isinstance(trouble, UnreachableError):
        return [bad("tailscaled", f"{trouble}. {trouble.meaning.rstrip('.')}{_REST}", trouble.remedy)]
    what, remedy = _why_unreachable(path)
    return [bad("tailscaled", f"{what or trouble}{_REST}", remedy)]


async def check_release(survey: Survey) -> list[Finding]:
    """Tell what this release of tailscaled lacks."""
    capability = survey.capability
    if survey.status is None:
        return []
    if capability is None:
        text = "what answers does not tell its release as tailscaled does"
        return [warning("release", text, "see that the socket is tailscaled's: --socket")]
    version = (survey.version or survey.status.version or f"capability {capability}").partition("-")[0]
    if capability < _OLDEST_CAP:
        return [bad("release", f"tailscaled {version} is too old: 1.86 is the oldest", "tailscale update")]
    lacks = [text for first, _release, text in _LACKS if capability < first]
    if lacks:
        newest = _LACKS[-1][1]
        text = f"tailscaled {version}: {', and '.join(lacks)}; {newest} and later do not"
        return [warning("release", text, "tailscale update")]
    return [good("release", f"tailscaled {version} can all that is needed")]


async def check_login(survey: Survey) -> list[Finding]:
    """See that the node is in a tailnet with MagicDNS and HTTPS."""
    status = survey.status
    if status is None:
        return []
    if status.backend_state in _STATES:
        what, remedy = _STATES[status.backend_state]
        return [bad("login", f"tailscaled {what} ({status.backend_state})", remedy)]
    name = status.self_dns_name or "a node that has no name yet"
    findings = [good("login", f"tailscaled is logged in as {name} ({status.backend_state})")]
    if status.backend_state == "Stopped":
        text = "tailscaled is logged in and stopped: certificates can be had, the node cannot be reached"
        findings = [warning("login", text, "tailscale up")]
    findings += [warning("health", text) for text in status.health if "certificate" in text.lower()]
    if status.magic_dns_enabled is None:  # it knows nothing of its tailnet yet
        return findings
    if not status.magic_dns_enabled:
        text = "is switched off, and HTTPS needs it"
        findings.append(bad("MagicDNS", text, f"switch it on at {_DNS_PAGE}"))
    else:
        findings.append(good("MagicDNS", "is switched on"))
    if status.cert_domains:
        count = len(status.cert_domains)
        findings.append(good("HTTPS", f"is switched on: {count} CertDomain{'' if count == 1 else 's'}"))
    else:
        text = "is switched off for this tailnet: there are no CertDomains, so no name can have a certificate"
        findings.append(bad("HTTPS", text, f"enable HTTPS Certificates at {_DNS_PAGE}"))
    return findings


def remedy_of_no_names(status: Status) -> str:
    """Return what to do where a node has no CertDomains at all."""
    if status.backend_state in _STATES:
        return _STATES[status.backend_state][1]
    what = "HTTPS Certificates" if status.magic_dns_enabled else "MagicDNS and HTTPS Certificates"
    return f"enable {what} at {_DNS_PAGE}"


def _why_unreachable(path: Path) -> tuple[str | None, str]:
    start = "systemctl start tailscaled"
    try:
        if not path.exists():
            elsewhere = f"{start}; if it is elsewhere, give its socket with --socket or TS_SOCKET"
            return (
                f"there is no socket {path}: tailscaled does not run, or its socket is elsewhere",
                elsewhere,
            )
        if not path.is_socket():
            return f"{path} is no socket", "give tailscaled's own with --socket or TS_SOCKET"
    except OSError:
        return None, UnreachableError.remedy
    return None, f"{start}; if it is starting, wait a moment"
