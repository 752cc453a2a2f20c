"""The state folder, its journal, and the service that holds it."""

from __future__ import annotations

import os
import pwd
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import TargetError
from ..settings import MEMORY
from ..targets import look_writable
from .finding import bad, good, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..survey import Survey
    from .finding import Finding

__all__ = ["check_service", "check_state", "name_of", "user_of"]

_ANOTHER = "give a folder of this user's with --state"


async def check_state(survey: Survey) -> list[Finding]:
    """See that what a restart is to know can be written and read."""
    folder = survey.settings.state
    if folder == MEMORY:
        kept = warning("state", "is kept in memory: a restart knows nothing", "--state PATH")
        return [kept, *_of_journal(survey)]
    findings = []
    if survey.holder is None:
        try:
            look_writable(folder / "journal.sqlite")
            findings.append(good("state", f"the folder {folder} can be written"))
        except TargetError as exc:
            what, _, remedy = str(exc).partition("; ")
            findings.append(bad("state", what, f"{remedy}; or {_ANOTHER}"))
    elif survey.holder == 0 and not os.access(folder / "lock", os.R_OK):
        text = f"the folder {folder} may not be looked into by this user"
        findings.append(warning("state", text, "run this as root, or as the service's user"))
    else:
        findings.append(good("state", f"the folder {folder} is in use"))
    return [*findings, *_of_journal(survey)]


async def check_service(survey: Survey) -> list[Finding]:
    """See whether the service runs, and as whom."""
    holder, me = survey.holder, os.geteuid()
    if survey.settings.state == MEMORY:
        return []
    if holder is None and survey.running is not None:
        process = "" if survey.running.process is None else f" as process {survey.running.process}"
        return [good("service", f"runs{process}, with another state folder")]
    if holder is None:
        text = "no service holds this state folder: certificates are not renewed"
        return [warning("service", text, "systemctl enable --now tscert-trio, or: tscert-trio run")]
    if holder == 0:
        text = "whether the service runs cannot be told by this user, nor as which process"
        return [warning("service", text, "sudo tscert-trio doctor")]
    user = user_of(holder)
    if user is None or user == me:
        return [good("service", f"runs as process {holder}")]
    name = name_of(user)
    text = f"runs as process {holder} of {name}, and this as {name_of(me)}: what may be written differs"
    again = shlex.join(["sudo", "-u", name, "tscert-trio", "doctor", "--state", str(survey.settings.state)])
    return [warning("service", text, again)]


def _of_journal(survey: Survey) -> Iterator[Finding]:
    """Yield what is known of the journal: of a service that cannot write it, that it says so."""
    unwritten = None if survey.running is None else survey.running.report.journal_trouble
    if unwritten is not None:
        what, _, remedy = unwritten.partition("; ")
        yield warning("journal", what.removeprefix("the journal "), remedy)
    elif survey.memories is not None:
        count = len(survey.memories.records)
        yield good("journal", f"can be read: {count} name{'' if count == 1 else 's'} in it")
    elif survey.journal_trouble is not None:
        yield _journal_trouble(survey.journal_trouble)


def _journal_trouble(text: str) -> Finding:
    what, _, remedy = text.partition(": ")
    if "there is no journal" in text:
        return good("journal", f"{what}: no service has run with this state folder yet")
    if "may not be read" in text:
        return warning("journal", f"{what}; what it remembers is left out here", remedy)
    return bad("journal", text, "tscert-trio run sets a damaged one aside; --state gives another folder")


def user_of(process: int) -> int | None:
    """Return the number of a process's user; ``None`` where this platform does not tell."""
    try:
        return Path(f"/proc/{process}").stat().st_uid
    except OSError:
        return None


def name_of(user_id: int) -> str:
    """Return the name of a user, or its number where it has none."""
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return str(user_id)
