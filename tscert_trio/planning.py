"""Which names are wanted, where each comes from, and what would happen to it."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import attrs

from .schedule import Mode
from .serve_config import DomainFilter, Listeners, Scope
from .sources import NO_HTTPS, own_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .serve_config import ServeConfig
    from .settings import Settings
    from .survey import Survey

__all__ = [
    "Fate",
    "PlannedName",
    "WantedName",
    "are_all_known",
    "is_cert_domain",
    "plan_names",
    "wanted_names",
]


@attrs.frozen(kw_only=True)
class WantedName:
    """A name that some source wants, before the filters."""

    domain: str
    sources: tuple[str, ...]
    """Where it comes from, for people."""
    services: tuple[str, ...] = ()
    """The Services of the serve config that want it, such as ``svc:shop``."""


class Fate(enum.Enum):
    """What happens to a name."""

    ORDERED = "ordered"
    """Now, unless tailscaled has a certificate already, which only an order could tell: it becomes public."""
    PUBLIC = "public"
    """It is already."""
    WAITS = "waits"
    """Until it is a CertDomain: then it becomes public."""
    UNKNOWN = "unknown"
    """tailscaled does not say whether it is a CertDomain."""
    FILTERED = "filtered"
    """Left out by ``--only`` or ``--not``."""
    NEVER = "never"
    """Only looked at."""


@attrs.frozen(kw_only=True)
class PlannedName:
    """A name, and what would happen to it."""

    wanted: WantedName
    fate: Fate
    text: str
    """The same in words."""


def wanted_names(survey: Survey) -> tuple[WantedName, ...]:
    """Return the names that all sources together want, before the filters, by name.

    Of a source that could not be asked there are none.
    """
    sources: dict[str, list[str]] = {}
    services: dict[str, list[str]] = {}
    for domain, source, service in _each_wanted(survey):
        sources.setdefault(domain, []).append(source)
        if service is not None:
            services.setdefault(domain, []).append(service)
    return tuple(
        WantedName(domain=domain, sources=tuple(found), services=tuple(services.get(domain, ())))
        for domain, found in sorted(sources.items())
    )


def are_all_known(survey: Survey) -> bool:
    """Return whether every source could be asked for its names; a node that is logged out has none."""
    is_self_known = survey.status is not None and bool(survey.status.self_dns_name)
    return survey.serve_config is not None and (is_self_known or not survey.settings.self_name)


def is_cert_domain(domain: str, cert_domains: frozenset[str]) -> bool:
    """Return whether a certificate may be had; a wildcard is had for a name that is listed."""
    return domain.removeprefix("*.") in cert_domains


def plan_names(survey: Survey) -> tuple[PlannedName, ...]:
    """Return what would happen to each name that a source wants, by name."""
    planned = []
    for wanted in wanted_names(survey):
        fate, text = _fate(wanted.domain, survey)
        planned.append(PlannedName(wanted=wanted, fate=fate, text=text))
    return tuple(planned)


def _each_wanted(survey: Survey) -> Iterator[tuple[str, str, str | None]]:
    """Yield names, where each comes from, and of which Service it is, if of one."""
    settings = survey.settings
    if survey.serve_config is not None:
        where = "serve config" if settings.serve_config is None else str(settings.serve_config)
        for service, domains in _by_service(survey.serve_config, settings.scope):
            for domain in sorted(domains - {NO_HTTPS}):
                yield domain, f"{where}, {service or 'the node itself'}", service
    if settings.self_name and survey.status is not None and (own := own_name(survey.status)):
        yield own, "--self", None
    for domain in settings.domains:
        yield domain, settings.origins.get("domains", "DOMAIN"), None


def _by_service(config: ServeConfig, scope: Scope) -> Iterator[tuple[str | None, frozenset[str]]]:
    for service, listeners in config.services.items():
        alone = attrs.evolve(config, node=Listeners(), foreground={}, services={service: listeners})
        yield service, alone.domains(Scope.SERVICES)
    yield None, attrs.evolve(config, services={}).domains(scope)


def _fate(domain: str, survey: Survey) -> tuple[Fate, str]:
    settings, memories = survey.settings, survey.memories
    if (why := _why_filtered(domain, settings)) is not None:
        return Fate.FILTERED, why
    record = None if memories is None else memories.records.get(domain)
    leaf = None if record is None else record.leaf
    mode = settings.mode_of(domain)
    if leaf is not None and (leaf.not_after >= survey.now or mode is Mode.KEEPER):
        has = "certificate until" if leaf.not_after >= survey.now else "its certificate ended on"
        return Fate.PUBLIC, f"public already, {has} {leaf.not_after:%Y-%m-%d}"
    if mode is not Mode.KEEPER:
        why = "issue = false" if mode is Mode.GUEST else "this replica only reads"
        return Fate.NEVER, f"never ordered ({why})"
    return _fate_of_new(domain, survey.cert_domains)


def _fate_of_new(domain: str, cert_domains: frozenset[str] | None) -> tuple[Fate, str]:
    if cert_domains is None:
        return Fate.UNKNOWN, "tailscaled does not tell whether it is a CertDomain"
    if not is_cert_domain(domain, cert_domains):
        return Fate.WAITS, "waits: not a CertDomain; becomes public once it is one"
    return Fate.ORDERED, "would be ordered now, unless tailscaled has one: becomes public"


def _why_filtered(domain: str, settings: Settings) -> str | None:
    for pattern in settings.exclude:
        if not DomainFilter(exclude=(pattern,))(domain):
            return f"left out by --not {pattern}"
    if settings.only and not DomainFilter(only=settings.only)(domain):
        return f"left out by --only {' '.join(settings.only)}"
    return None
