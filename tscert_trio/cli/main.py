"""The commands, their options, and what their failures look like."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

import attrs

from ..clock import describe_duration
from ..errors import InvalidDomainError, LocalAPIError, SettingsError, TscertError
from ..options import OPTIONS, TARGET_PREFIX, Option
from ..settings import Settings
from . import cert, config, doctor, plan, run, sandbox

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["describe_default", "main", "make_parser"]

_DESCRIPTION = "Keep the TLS certificates of this machine's tailnet names issued and renewed."
_EPILOG = """\
Without a command, "run" is meant: it follows the serve config of the tailscaled here.
Exit status: 0 all went well, 1 it failed, 2 the command line makes no sense.
"""
_PLACES = {
    "config_file": "config.toml in this platform's folder for such, else /etc/tscert-trio.toml",
    "socket": "where this platform has it",
    "state": "STATE_DIRECTORY, or this platform's place for such",
    "status_socket": "status.sock in RUNTIME_DIRECTORY, or this platform's place for such",
}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


class _ShowVersion(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_args: object) -> NoReturn:
        from importlib.metadata import version  # takes 20 ms

        print(f"tscert-trio {version('tscert-trio')}")
        parser.exit(0)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status.

    Args:
        argv: the arguments, without the program's name; by default those of the process.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = make_parser()
    # "run" may be left out, but not before --help or --version, which are about the whole.
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in {"-h", "--help", "--version"}):
        arguments.insert(0, "run")
    options = parser.parse_args(arguments)
    try:
        status: int = options.command(options)
    except (SettingsError, InvalidDomainError) as exc:
        return _fail(*getattr(exc, "faults", [exc]), status=2)
    except LocalAPIError as exc:
        return _fail(f"{str(exc).rstrip('.')}. {exc.meaning} {exc.remedy}")
    except TscertError as exc:
        return _fail(exc)
    except BrokenPipeError:  # the reader of a pipe has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        logging.shutdown()
    return status


def _fail(*faults: object, status: int = 1) -> int:
    for fault in faults:
        print(f"tscert-trio: {fault}", file=sys.stderr)
    return status


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; documentation and shell completion are made from it, too."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="tscert-trio", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=raw, allow_abbrev=False
    )
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version and end")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, summary: str, description: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=summary, description=description, allow_abbrev=False)

    command = add("run", "keep certificates fresh (the service)", run.__doc__ or "")
    for option in OPTIONS:
        _add_option(command, option)
    command.add_argument(
        "--sandbox", action="store_true", help="show the main job on a fake tailscaled, in 20 seconds"
    )
    command.set_defaults(command=run.command)

    config.add_commands(add("config", "check or show the settings", config.__doc__ or ""), _add_option)

    for name, module, summary in (
        ("doctor", doctor, "tell what keeps certificates from being had, and what to do"),
        ("plan", plan, "tell which names would become public, before they do"),
    ):
        command = add(name, summary, module.__doc__ or "")
        for option in OPTIONS:
            _add_option(command, option)
        command.add_argument("--json", action="store_true", help="print JSON, for programs")
        command.set_defaults(command=module.command)

    command = add("cert", "get one certificate into files", cert.__doc__ or "")
    cert.add_arguments(command)
    command.set_defaults(command=cert.command)

    command = add("sandbox", "run a fake tailscaled to try things with", sandbox.__doc__ or "")
    sandbox.add_arguments(command)
    command.set_defaults(command=sandbox.command)
    return parser


def _add_option(parser: argparse.ArgumentParser, option: Option) -> None:
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
