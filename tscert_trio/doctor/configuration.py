"""The settings: what makes no sense in them, and variables that were misspelt."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from ..config_file import default_config_files
from ..options import OPTIONS
from .finding import bad, good, warning

if TYPE_CHECKING:
    from ..survey import Survey
    from .finding import Finding

__all__ = ["check_configuration", "check_environment"]

_PREFIX = "TSCERT_"
_OF_HOOKS = {"CERT_PATH", "DOMAIN", "FINGERPRINT", "FULLCHAIN_PATH", "KEY_PATH", "NOT_AFTER"}


async def check_configuration(survey: Survey) -> list[Finding]:
    """See that the settings make sense."""
    if survey.faults:
        remedy = "correct it; the default is meant in the rest of this report"
        return [bad("configuration", fault, remedy) for fault in survey.faults]
    settings = survey.settings
    if settings.config_file is None:
        places = " and ".join(map(str, default_config_files(survey.environ)))
        return [good("configuration", f"there is no file in {places}: the defaults hold")]
    count = len(settings.targets)
    return [
        good("configuration", f"{settings.config_file} is good, {count} target{'' if count == 1 else 's'}")
    ]


async def check_environment(survey: Survey) -> list[Finding]:
    """Tell variables that look like settings and are none."""
    known = sorted(option.variable for option in OPTIONS)
    findings = []
    for name in sorted(survey.environ):
        if not name.startswith(_PREFIX) or name in known or name.removeprefix(_PREFIX) in _OF_HOOKS:
            continue
        near = get_close_matches(name, known, n=1)
        remedy = f"rename it to {near[0]}, or unset it" if near else "unset it, or see tscert-trio run --help"
        findings.append(warning("environment", f"{name} is no setting, and is not heeded", remedy))
    return findings
