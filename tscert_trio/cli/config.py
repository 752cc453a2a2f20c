"""Check the configuration file, or show all settings and where each came from; nothing is run."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

from ..config_file import default_config_files
from ..options import CONFIG
from ..settings import Settings
from .arguments import add_option, add_run_options

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the commands and their options."""
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    text = "tell whether the configuration file is good, and else all that is wrong with it"
    command = commands.add_parser("check", help=text, description=check.__doc__, allow_abbrev=False)
    add_option(command, CONFIG)
    command.set_defaults(command=check)
    text = "show what would be in effect with these options, in the form of a configuration file"
    command = commands.add_parser("show", help=text, description=show.__doc__, allow_abbrev=False)
    add_run_options(command)
    command.set_defaults(command=show)


def check(options: argparse.Namespace) -> int:
    """Read the configuration file and the environment as "run" does, and tell all that is wrong."""
    settings = Settings.load(vars(options))
    if settings.config_file is None:
        places = " and ".join(map(str, default_config_files()))
        print(f"there is no configuration file; looked for {places}")
    else:
        count = len(settings.targets)
        print(f"{settings.config_file}: good, {count} target{'' if count == 1 else 's'}")
    return 0


def show(options: argparse.Namespace) -> int:
    """Show all settings with where each came from; targets can be copied into a configuration file."""
    from .config_toml import settings_toml

    settings = Settings.load(vars(options))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may be of any bytes
    print(f"# {settings.config_file or 'no configuration file'}")
    if settings.reader_reason is not None:
        print(f"# this replica only reads certificates: {settings.reader_reason}")
    print(settings_toml(settings), end="")
    return 0
