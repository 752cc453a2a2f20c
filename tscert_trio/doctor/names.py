"""The wanted names: may each have a certificate, and if not, which link is missing."""

from __future__ import annotations

import shlex
from difflib import get_close_matches
from typing import TYPE_CHECKING

from ..planning import is_cert_domain, wanted_names
from ..serve_config import some_of
from .daemon import remedy_of_no_names
from .finding import bad, good, warning

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..planning import WantedName
    from ..survey import Survey
    from .finding import Finding

__all__ = ["UNLISTED_REMEDY", "check_names", "is_missing", "remedy_of_unlisted"]

UNLISTED_REMEDY = (
    "Check the spelling; if it is the name of a Service, see that this node advertises that, and is approved "
    "as its host."
)
"""What to do about a name that is no CertDomain while others are: HTTPS is enabled then."""

_SERVICES_PAGE = "https://login.tailscale.com/admin/services"
_DEADLOCK = (
    "; Tailscale's Kubernetes operator advertises it only once its certificate is there, which waits for this"
)
_FIRST_CAP_WITH_WILDCARDS = 138  # 1.96 knows them, 1.98 is the first whose number is known


async def check_names(survey: Survey) -> list[Finding]:
    """See that each wanted name is a CertDomain."""
    findings = []
    if survey.serve_config_trouble is not None and (
        survey.status is not None or survey.settings.serve_config
    ):
        remedy = (
            "correct the file, or give another with --serve-config"
            if survey.settings.serve_config
            else "tailscale serve status --json"
        )
        findings.append(bad("serve config", survey.serve_config_trouble, remedy))
    lets_through = survey.settings.domain_filter
    wanted = [name for name in wanted_names(survey) if lets_through(name.domain)]
    listed = survey.cert_domains
    if not listed:  # which another check has told
        return findings
    if not wanted:
        if not findings:
            findings.append(_why_none(survey))
        return findings
    there = [name.domain for name in wanted if is_cert_domain(name.domain, listed)]
    if there:
        may = "is a CertDomain" if len(there) == 1 else "are CertDomains"
        findings.append(good("names", f"{some_of(there, 5)} {may}"))
    missing = [name for name in wanted if name.domain not in there]
    findings += [_missing(name, survey, listed) for name in missing]
    if any(name.startswith("*.") for name in there) and (survey.capability or 0) < _FIRST_CAP_WITH_WILDCARDS:
        text = "this release of tailscaled knows no wildcard certificates"
        findings.append(bad("names", text, "tailscale update"))
    return findings


def is_missing(domain: str, survey: Survey) -> bool:
    """Return whether a name is known to be no CertDomain, while there are others: its check tells why."""
    return bool(survey.cert_domains) and not is_cert_domain(domain, survey.cert_domains or frozenset())


def remedy_of_unlisted(survey: Survey) -> str:
    """Return what to do about a name that was said to be no CertDomain, as far as this node tells."""
    if survey.status is None:
        return "put tailscaled right first, then look again: which link is missing is told then"
    return UNLISTED_REMEDY if survey.cert_domains else remedy_of_no_names(survey.status)


def _why_none(survey: Survey) -> Finding:
    if wanted_names(survey):
        return warning("names", "--only and --not let no name through", "tscert-trio plan")
    return warning("names", "no name wants a certificate", "for this node's own: tscert-trio run --self")


def _missing(name: WantedName, survey: Survey, listed: frozenset[str]) -> Finding:
    check = f"name {name.domain}"
    status = survey.status
    assert status is not None
    suffix = status.magic_dns_suffix
    if name.domain.endswith(".ts.net") and suffix and not name.domain.endswith(f".{suffix}"):
        text = f"is of another tailnet: this node is in {suffix}"
        return bad(check, text, _correct(name, survey, _nearest(name.domain, listed, suffix)))
    for service in name.services:
        if (finding := _service_link(check, name, service, survey, suffix)) is not None:
            return finding
    near = _nearest(name.domain, listed, suffix)
    if near is None:
        text = f"is no CertDomain of this node; those are {some_of(listed, 5)}"
    else:
        text = f"is no CertDomain of this node: do you mean {near}?"
    return bad(check, text, _correct(name, survey, near))


def _service_link(check: str, name: WantedName, service: str, survey: Survey, suffix: str) -> Finding | None:
    """Return what a Service's name lacks on its way to be a CertDomain."""
    assert survey.status is not None
    advertised = None if survey.prefs is None else survey.prefs.advertised_services
    approved = survey.status.approved_services
    its_name = f"{service.removeprefix('svc:')}.{suffix}"
    if name.domain != its_name:
        text = f"stands in the serve config of {service}, whose name is {its_name}"
        return bad(check, text, f"tailscale serve get-config --service={shlex.quote(service)} -")
    if advertised is not None and service not in advertised:
        why = _DEADLOCK if _is_in_kubernetes(survey.environ) else ""
        text = f"is not a CertDomain: this node does not advertise {service}{why}"
        return bad(check, text, f"tailscale serve advertise {shlex.quote(service)}")
    if approved is not None and service not in approved:
        text = f"is not a CertDomain: this node advertises {service}, and is not approved as its host"
        return bad(check, text, f"approve it at {_SERVICES_PAGE}, or by autoApprovers in the policy file")
    if approved is None:
        text = f"is not a CertDomain; whether this node is approved as a host of {service} it does not say"
        return bad(check, text, f"see whether it is approved at {_SERVICES_PAGE}")
    text = f"is not a CertDomain, though this node is an approved host of {service}"
    return bad(check, text, f"see that {service} has an HTTPS endpoint at {_SERVICES_PAGE}")


def _correct(name: WantedName, survey: Survey, near: str | None) -> str:
    """Return what a name that is no CertDomain needs, and where it comes from if it is not wanted."""
    where = " and ".join(dict.fromkeys(name.sources))
    first = UNLISTED_REMEDY if near is None else f"Correct it ({where})."
    if near is None and survey.settings.domain_filter.only:
        return f"{first} It comes from: {where}."
    return f"{first} Or, if it is not wanted, leave it out ({where}): --not {name.domain}"


def _nearest(domain: str, listed: frozenset[str], suffix: str) -> str | None:
    """Return the CertDomain that may be meant; names of one tailnet are alike by their ends already."""
    hosts = {name.removesuffix(f".{suffix}"): name for name in sorted(listed)}
    host = domain.removeprefix("*.").removesuffix(f".{suffix}")
    near = get_close_matches(host, hosts, n=1) or get_close_matches(host.partition(".")[0], hosts, n=1)
    return hosts[near[0]] if near else None


def _is_in_kubernetes(environ: Mapping[str, str]) -> bool:
    return bool(environ.get("KUBERNETES_SERVICE_HOST"))
