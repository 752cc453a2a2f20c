"""Whether the service that runs here has the settings that are looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import UnreachableError
from ..planning import are_all_known, wanted_names
from ..serve_config import some_of
from ..settings import MEMORY
from .finding import warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..status.report import StatusReport
    from ..survey import RunningService, Survey
    from .finding import Finding

__all__ = ["check_running"]

_MOST = 5


async def check_running(survey: Survey) -> list[Finding]:
    """Tell that a service runs with other settings than these: what follows is not about it then."""
    if survey.running_trouble is not None:
        trouble = survey.running_trouble
        text = f"whether the running service has these cannot be known: {trouble}"
        return [warning("settings", text, trouble.remedy)]
    running = survey.running
    if running is None:
        return []
    differences = [*_differences(survey, running)]
    if not differences:
        return []
    process, remedy = "", "give doctor the same options, or --config"
    if running.process is not None:
        process = f" (process {running.process})"
        remedy += f"; these are its options: ps -ww -o args= -p {running.process}"
    text = f"these are not the settings of the running service{process}: {'; '.join(differences)}"
    return [warning("settings", text, remedy)]


def _differences(survey: Survey, running: RunningService) -> Iterator[str]:
    settings, report = survey.settings, running.report
    tailscaled = report.tailscaled
    is_asked = tailscaled is not None and tailscaled.trouble is None and tailscaled.cert_domains is not None
    if is_asked and isinstance(survey.status_trouble, UnreachableError):
        yield f"it asks a tailscaled that answers, and none does on {settings.socket}"
    yield from _of_names(survey, report)
    kept = {delivery.target for each in report.domains for delivery in each.deliveries}
    given = {target.name for target in settings.targets}
    if kept - given:
        yield f"it has targets that are not in these: {some_of(kept - given, _MOST)}"
    everywhere = {target.name for target in settings.targets if target.domains == ("*",)}
    if everywhere - kept and any(each.is_ready for each in report.domains):
        yield f"these have targets that it has not: {some_of(everywhere - kept, _MOST)}"
    is_held = survey.holder is not None and running.process in {None, survey.holder}
    if settings.state != MEMORY and not is_held and survey.holder != 0:
        yield f"its state folder is not {settings.state}"


def _of_names(survey: Survey, report: StatusReport) -> Iterator[str]:
    """Yield what tells the names apart, as far as both sides are known."""
    lets_through = survey.settings.domain_filter
    wanted = {name.domain for name in wanted_names(survey) if lets_through(name.domain)}
    kept = {each.name for each in report.domains}
    if are_all_known(survey) and kept - wanted:
        yield f"it keeps names that these do not want: {some_of(kept - wanted, _MOST)}"
    if report.is_told and wanted - kept:
        yield f"these want names that it does not keep: {some_of(wanted - kept, _MOST)}"
