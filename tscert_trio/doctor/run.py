"""All checks, at once and in their order."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import trio

from ..ari import DirectoryLook, RenewalInfoClient
from ..errors import RenewalInfoError, StatusServiceError, TscertError
from ..survey import RunningService, Survey, take_survey
from .ca import check_budget, check_ca, check_clock
from .configuration import check_configuration, check_environment
from .daemon import check_login, check_release, check_socket
from .finding import Finding, bad, one_block_a_name
from .names import check_names
from .permission import check_permission
from .running import check_running
from .state import check_service, check_state
from .targets import check_targets
from .trouble import check_trouble

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from ..clock import Clock
    from ..settings import Settings

__all__ = ["SECONDS", "examine"]

SECONDS = 10
"""How long one check may take."""

_CHECKS: tuple[tuple[str, Callable[[Survey], Awaitable[list[Finding]]]], ...] = (
    ("settings", check_running),
    ("configuration", check_configuration),
    ("environment", check_environment),
    ("tailscaled", check_socket),
    ("release", check_release),
    ("login", check_login),
    ("permission", check_permission),
    ("names", check_names),
    ("state", check_state),
    ("service", check_service),
    ("trouble", check_trouble),
    ("budget", check_budget),
    ("targets", check_targets),
)


async def examine(
    settings: Settings,
    *,
    faults: tuple[str, ...] = (),
    environ: Mapping[str, str] = os.environ,
    clock: Clock | None = None,
    renewal_info: RenewalInfoClient | None = None,
    running: RunningService | StatusServiceError | None = None,
) -> list[Finding]:
    """Look at everything that certificates depend on. Nothing is ordered, written, run or changed.

    It works with the service running or not, and with tailscaled there or not. Each check has ten seconds;
    one that fails is a finding. Cancelling ends it at once.

    Args:
        settings: of the service.
        faults: of the settings, which have a default in the place of each.
        environ: the environment.
        clock: the present time.
        renewal_info: asks the CA; by default the one of the settings.
        running: a service that runs, as it was found, or why it could not be asked.
    """
    survey = await take_survey(settings, faults=faults, environ=environ, clock=clock, running=running)
    found: dict[int, list[Finding]] = {}

    async def run(number: int, name: str, check: Callable[[Survey], Awaitable[list[Finding]]]) -> None:
        found[number] = await _within_its_time(name, partial(check, survey))

    async def run_at_ca(number: int) -> None:
        look = partial(_at_ca, survey, renewal_info)
        found[number] = await _within_its_time("CA", look)

    async with trio.open_nursery() as nursery:
        for number, (name, check) in enumerate(_CHECKS):
            nursery.start_soon(run, number, name, check)
        nursery.start_soon(run_at_ca, len(_CHECKS))
    return one_block_a_name([finding for _, findings in sorted(found.items()) for finding in findings])


async def _within_its_time(name: str, check: Callable[[], Awaitable[list[Finding]]]) -> list[Finding]:
    try:
        with trio.fail_after(SECONDS):
            return await check()
    except trio.TooSlowError:
        return [bad(name, f"this could not be looked at within {SECONDS} s", "look whether something hangs")]
    except (OSError, TscertError) as exc:
        said = exc.strerror if isinstance(exc, OSError) and exc.strerror else exc
        return [bad(name, f"this could not be looked at: {said}")]
    except Exception as exc:  # noqa: BLE001 -- the other findings are not to be lost
        text = f"this could not be looked at: {type(exc).__name__}: {exc}"
        return [bad(name, text, "this is a bug of tscert-trio: please report it")]


async def _at_ca(survey: Survey, renewal_info: RenewalInfoClient | None) -> list[Finding]:
    """Ask the CA once, for two checks."""
    look: DirectoryLook | RenewalInfoError | None = None
    if not survey.settings.no_ari:
        async with renewal_info or RenewalInfoClient(survey.settings.ca_directory) as client:
            with trio.move_on_after(SECONDS - 1):
                try:
                    look = await client.look()
                except RenewalInfoError as exc:
                    look = exc
            if look is None:
                look = RenewalInfoError("no answer in time", is_out_of_reach=True)
    return [*check_ca(survey, look), *check_clock(survey, look)]
