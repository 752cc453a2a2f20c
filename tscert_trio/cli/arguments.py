"""An option of the table of options, on the command line."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from ..options import Option

__all__ = ["add_option", "add_run_options", "describe_default"]

_PLACES = {
    "config_file": "config.toml in this platform's folder for such, else /etc/tscert-trio.toml",
    "socket": "where this platform has it",
    "state": "STATE_DIRECTORY, or this platform's place for such",
    "status_socket": "status.sock in RUNTIME_DIRECTORY, or this platform's place for such",
}


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Declare all options of the service."""
    from ..options import OPTIONS

    for option in OPTIONS:
        add_option(parser, option)


def add_option(parser: argparse.ArgumentParser, option: Option) -> None:
    """Declare an option of the service.

    Args:
        parser: of the command that knows it.
        option: which.
    """
    variables = ", ".join(filter(None, (option.variable, option.also)))
    repeat = "; may be given more than once" if option.is_list and option.flag.startswith("-") else ""
    default = f" (default: {text})" if (text := describe_default(option)) else ""
    text = f"{option.help}{repeat}{default} [{variables}]".replace("%", "%%")
    if not option.flag.startswith("-"):
        parser.add_argument(option.field, nargs="*", metavar=option.metavar, help=text)
    elif option.metavar is None:
        parser.add_argument(option.flag, dest=option.field, action="store_true", default=None, help=text)
    elif option.bare is not None:
        parser.add_argument(
            option.flag, dest=option.field, nargs="?", const=option.bare, metavar=option.metavar, help=text
        )
    else:
        action = "append" if option.is_list else "store"
        parser.add_argument(option.flag, dest=option.field, action=action, metavar=option.metavar, help=text)


def describe_default(option: Option) -> str:
    """Return in words what holds where an option is not given; an empty text where nothing is to be said."""
    import attrs

    from ..clock import describe_duration
    from ..options import TARGET_PREFIX
    from ..settings import Settings

    if text := _PLACES.get(option.field):
        return text
    value = None
    if not option.field.startswith(TARGET_PREFIX):
        value = getattr(attrs.fields(Settings), option.field).default
    if value in (None, False, ()):
        return ""
    if isinstance(value, timedelta):
        return describe_duration(value)
    return str(getattr(value, "value", value))
