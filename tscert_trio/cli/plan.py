"""Tell which names would become public in certificate-transparency logs with this configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ..planning import Fate, are_all_known, plan_names
from ..settings import MEMORY, Settings
from ..status.cleaning import clean
from ..survey import take_survey
from .arguments import add_run_options
from .plain import coloured, let_all_print, print_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from ..planning import PlannedName
    from ..survey import Survey

__all__ = ["add_arguments", "command"]

_WHEN = (
    (Fate.ORDERED, "now, for ever"),
    (Fate.WAITS, "once the tailnet allows it"),
    (Fate.UNKNOWN, "if the tailnet allows it"),
)
"""When names become public, by their fate."""
_COLOURS = {Fate.ORDERED: "yellow", Fate.UNKNOWN: "yellow", Fate.PUBLIC: "green"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command: those of "run"."""
    add_run_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.set_defaults(command=command)


def command(options: argparse.Namespace) -> int:
    """Ask and print; return 0, or 1 where something cannot be known."""
    survey = trio.run(take_survey, Settings.load(vars(options)))
    planned = plan_names(survey)
    unknown = _unknown(survey)
    let_all_print()
    if options.json:
        print_json({"names": [_as_json(name) for name in planned], "unknown": unknown}, indent=2)
    else:
        _print_table(planned)
        for line in unknown:
            print(f"This cannot be known: {clean(line)}.")
        if survey.settings.state == MEMORY:
            print("Without a state folder it is not known which names are public already.")
        print(_summary(planned, is_complete=are_all_known(survey)))
    return int(bool(unknown))


def _unknown(survey: Survey) -> list[str]:
    """Return what could not be had, a line each."""
    lines = []
    if survey.status_trouble is not None:
        lines.append(f"what tailscaled would tell, since {survey.status_trouble}")
    elif survey.settings.self_name and survey.status is not None and not survey.status.self_dns_name:
        lines.append("the node's own name, since tailscaled is logged out")
    is_told = survey.status is None and survey.settings.serve_config is None
    if survey.serve_config_trouble is not None and not is_told:
        lines.append(f"which names the serve config wants, since {survey.serve_config_trouble}")
    trouble = survey.journal_trouble
    if trouble is not None and "there is no journal" not in trouble:
        lines.append(f"which names are public already, since {trouble}")
    return [" ".join(line.split()).rstrip(".") for line in lines]


def _as_json(name: PlannedName) -> dict[str, object]:
    return {
        "name": name.wanted.domain,
        "sources": list(name.wanted.sources),
        "fate": name.fate.value,
        "text": name.text,
    }


def _print_table(planned: Sequence[PlannedName]) -> None:
    rows = [(clean(name.wanted.domain), clean("; ".join(name.wanted.sources)), name) for name in planned]
    if not rows:
        return
    names = max(len("NAME"), *(len(domain) for domain, _, _ in rows))
    sources = max(len("FROM"), *(len(source) for _, source, _ in rows))
    print(f"{'NAME':<{names}}  {'FROM':<{sources}}  WHAT HAPPENS")
    for domain, source, name in rows:
        text = clean(name.text)
        shown = coloured(text, _COLOURS[name.fate]) if name.fate in _COLOURS else text
        print(f"{domain:<{names}}  {source:<{sources}}  {shown}")


def _summary(planned: Sequence[PlannedName], *, is_complete: bool) -> str:
    """Return what happens to all names in one sentence.

    Args:
        planned: the names that are known.
        is_complete: whether there are no others.
    """
    if not planned:
        return "No name wants a certificate." if is_complete else "No name that is known wants a certificate."
    counts = [(sum(name.fate is fate for name in planned), when) for fate, when in _WHEN]
    found = [(count, when) for count, when in counts if count]
    if not found:
        who = "No name" if is_complete else "Of the names that are known none"
        return f"{who} would become public that is not; nothing was ordered."
    (count, when), *others = found
    who = _names(count) if is_complete else f"Of the names that are known {count}"
    text = ", and ".join([f"{who} would become public {when}", *(f"{n} more {then}" for n, then in others)])
    return f"{text}; nothing was ordered."


def _names(count: int) -> str:
    return f"{count} name{'' if count == 1 else 's'}"
