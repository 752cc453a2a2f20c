"""The reference, made from the code: options, commands, errors and metrics as reStructuredText.

Needs nothing but the package itself, so tests can ask it what the documentation will say.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
from typing import TYPE_CHECKING

import tscert_trio
from tscert_trio import errors
from tscert_trio.cli.main import describe_default, make_parser
from tscert_trio.options import OPTIONS, TARGET_PREFIX, Option

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PARTS", "commands", "error_classes", "local_api_errors", "metrics", "options", "other_errors"]

_METRICS = "tscert_trio.status.metrics"
_FEW = 3  # options of "run" that another command may repeat
_YES_NO = {True: "yes", False: "no", None: "perhaps"}
_NOTHING = "none"


def options() -> str:
    """Return all options of the service: what each does, where it can be set, and what holds without it."""
    return "\n".join(map(_option, OPTIONS))


def _option(option: Option) -> str:
    title = f"``{_form_of_option(option)}``"
    variables = [option.variable, *filter(None, [option.also])]
    lines = [title, "-" * len(title), "", _escape(option.help), ""]
    if option.is_list and option.flag.startswith("-"):
        lines += ["May be given more than once.", ""]
    lines += [
        f":Environment: {', '.join(f'``{name}``' for name in variables)}",
        f":Configuration file: {_file_key(option)}",
        f":Default: {_escape(describe_default(option)) or _NOTHING}",
        "",
    ]
    return "\n".join(lines)


def _form_of_option(option: Option) -> str:
    if not option.flag.startswith("-"):
        return f"{option.metavar} …"
    if option.metavar is None:
        return option.flag
    return f"{option.flag} [{option.metavar}]" if option.bare else f"{option.flag} {option.metavar}"


def _file_key(option: Option) -> str:
    if option.is_in_file:
        return f"``{option.key}``"
    if option.field.startswith(TARGET_PREFIX):
        return f"``{option.key}`` of a target (:doc:`configuration`)"
    return _NOTHING


def commands() -> str:
    """Return all commands with their arguments, from the parser itself."""
    parser = make_parser()
    subparsers = list(_subparsers(parser))
    base = {action.dest: action.help for action in subparsers[0]._actions}
    lines = [f".. program:: {parser.prog}", "", *_arguments(parser, {}, with_help=True)]
    for each in subparsers:
        lines += ["", each.prog, "~" * len(each.prog), "", f"``{_synopsis(each)}``", ""]
        lines += [_escape(each.description or ""), "", f".. program:: {each.prog}", ""]
        lines += _arguments(each, {} if each is subparsers[0] else base)
    return "\n".join(lines)


def _subparsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield the parser of each command and, below it, of what it has commands of its own for."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in dict.fromkeys(action.choices.values()):  # an alias is no command of its own
                deeper = list(_subparsers(each))
                yield from deeper or [each]


def _arguments(
    parser: argparse.ArgumentParser, known: dict[str, str | None], *, with_help: bool = False
) -> Iterator[str]:
    """Yield the description of each argument.

    Args:
        parser: of the command.
        known: arguments, and their help, of the command that is described in full; where this one has many
            of them, it says so in one sentence.
        with_help: whether ``--help`` is described, which every command has.
    """
    actions = [each for each in parser._actions if _is_shown(each, with_help=with_help)]
    repeated = [each for each in actions if known.get(each.dest) == each.help]
    if len(repeated) > _FEW:
        yield from ("Knows these arguments of ``run``, which mean the same:", "")
        yield from (", ".join(f"``{_names(each)}``" for each in repeated) + ".", "")
        actions = [each for each in actions if each not in repeated]
    for each in actions:
        yield from (f".. option:: {_form(each)}", "", f"   {_escape(_help(parser, each))}", "")


def _is_shown(action: argparse.Action, *, with_help: bool) -> bool:
    if isinstance(action, argparse._SubParsersAction) or action.help == argparse.SUPPRESS:
        return False
    return with_help or not isinstance(action, argparse._HelpAction)


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    return (action.help or "") % {"prog": parser.prog, **vars(action)}


def _names(action: argparse.Action) -> str:
    return action.option_strings[-1] if action.option_strings else _metavar(action)


def _metavar(action: argparse.Action) -> str:
    if isinstance(action.metavar, str):
        return action.metavar
    return "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()


def _form(action: argparse.Action) -> str:
    """Return how the argument is written."""
    value = "" if action.nargs == 0 else _metavar(action)
    value = {"?": f"[{value}]", "*": f"[{value} ...]", "+": f"{value} [{value} ...]"}.get(
        str(action.nargs), value
    )
    return ", ".join(f"{name} {value}".rstrip() for name in action.option_strings) or value


def _synopsis(parser: argparse.ArgumentParser) -> str:
    """Return the command on one line; argparse's own is as wide as the terminal, and differs by version."""
    actions = [each for each in parser._actions if _is_shown(each, with_help=False)]
    optional = "[OPTIONS]" if any(each.option_strings for each in actions) else ""
    positional = [_form(each) for each in actions if not each.option_strings]
    return " ".join(filter(None, [parser.prog, optional, *positional]))


def error_classes() -> list[type[errors.TscertError]]:
    """Return every error class that is public, in the order in which the code has them."""
    public = [getattr(tscert_trio, name) for name in tscert_trio.__all__]
    found = {each for each in public if inspect.isclass(each) and issubclass(each, errors.TscertError)}
    return [each for each in vars(errors).values() if inspect.isclass(each) and each in found]


def local_api_errors() -> str:
    """Return what tailscaled and the CA may refuse: cause, meaning, remedy, and what follows."""
    return "\n".join(_error(each) for each in error_classes() if issubclass(each, errors.LocalAPIError))


def other_errors() -> str:
    """Return all other errors."""
    return "\n".join(
        f".. autoexception:: tscert_trio.{each.__name__}\n   :no-members:\n"
        for each in error_classes()
        if not issubclass(each, errors.LocalAPIError)
    )


def _error(error: type[errors.LocalAPIError]) -> str:
    passes = {
        "tailscaled changes": error.passes_with_tailscaled,
        "the CA answers again": error.passes_with_ca,
    }
    sooner = " or ".join(what for what, is_so in passes.items() if is_so)
    lines = [
        f".. autoexception:: tscert_trio.{error.__name__}",
        "   :no-members:",
        "",
        f"   :Means: {error.meaning}",
        f"   :What to do: {_escape(error.remedy)}",
        f"   :Reached the CA: {_YES_NO[error.reached_ca]}",
        f"   :Counted: {_YES_NO[error.counted]}",
        f"   :Tried sooner: {f'when {sooner}' if sooner else 'no'}",
        "",
    ]
    return "\n".join(lines)


def metrics() -> str:
    """Return all metrics; nothing where this version has none."""
    try:
        table = importlib.import_module(_METRICS).METRICS
    except ModuleNotFoundError as exc:
        if not _METRICS.startswith(exc.name or _METRICS):
            raise  # something that the metrics need
        return ""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    rows = [("metric", "kind", "labels", "what it says")]
    rows += [
        (
            f"``{each.name}``",
            str(getattr(each.kind, "value", each.kind)),
            ", ".join(f"``{label}``" for label in each.labels) or _NOTHING,
            _escape(each.help),
        )
        for each in table
    ]
    for first, *others in rows:
        lines += [f"   * - {first}", *(f"     - {cell}" for cell in others)]
    return "\n".join([*lines, ""])


def _escape(text: str) -> str:
    """Return plain text as reStructuredText, on one line."""
    return re.sub(r"([\\*`|_])", r"\\\1", " ".join(text.split()))


PARTS = {
    "tscert-options": options,
    "tscert-commands": commands,
    "tscert-local-api-errors": local_api_errors,
    "tscert-other-errors": other_errors,
    "tscert-metrics": metrics,
}
"""The directives, and what stands in their place."""
