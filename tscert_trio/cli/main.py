"""The commands, and what their failures look like.

A command's module is imported when it is chosen: each with all that it needs would take half a second.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from ..errors import InvalidDomainError, LocalAPIError, SettingsError, StatusServiceError, TscertError
from .arguments import describe_default

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["describe_default", "main", "make_parser"]

_DESCRIPTION = "Keep the TLS certificates of this machine's tailnet names issued and renewed."
_EPILOG = """\
Without a command, "run" is meant: it follows the serve config of the tailscaled here.
Exit status: 0 all went well, 1 it failed, 2 the command line makes no sense, 130 interrupted; those of
"status --check" are 0 to 3, as Nagios has them.
"""
_COMMANDS = {
    "run": "keep certificates fresh (the service)",
    "status": "show how all names are, or everything about one",
    "renew": "ask for certificates now, instead of when the service would",
    "events": "show what has happened",
    "config": "check or show the settings",
    "doctor": "tell what keeps certificates from being had, and what to do",
    "plan": "tell which names would become public, before they do",
    "cert": "get one certificate into files",
    "sandbox": "run a fake tailscaled to try things with",
}
"""Each with a module of its name, whose ``add_arguments`` declares its options, and what runs it."""
_UNKNOWN = 3
"""The exit status by which monitors know that a check itself failed."""
_OF_OUTPUT = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}
"""Why standard output cannot be written; any other error that comes so far is a bug."""


class _UsageError(Exception):
    """A command line that makes no sense."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        raise _UsageError(f"{self.prog}: {message}; see {self.prog} --help")


class _Paragraphs(argparse.HelpFormatter):
    """Keeps paragraphs apart."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(
            super(_Paragraphs, self)._fill_text(each, width, indent) for each in text.split("\n\n")
        )


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
    # "run" may be left out, but not before --help or --version, which are about the whole.
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in {"-h", "--help", "--version"}):
        arguments.insert(0, "run")
    is_check = arguments[0] == "status" and "--check" in arguments
    if sys.stdout is None:  # it was closed before
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8", closefd=False)
    try:
        status = _run(arguments, is_check=is_check)
        sys.stdout.flush()  # at the interpreter's end a failure would be told otherwise
    except KeyboardInterrupt:
        return 130
    except OSError as exc:
        if not isinstance(exc, BrokenPipeError):  # else the reader of a pipe has had enough
            if exc.errno not in _OF_OUTPUT:
                raise
            print(f"tscert-trio: cannot write standard output: {exc.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left goes nowhere
        return _UNKNOWN if is_check else 1
    finally:
        logging.shutdown()
    return status


def _run(arguments: list[str], *, is_check: bool) -> int:
    """Run a command; return the exit status.

    Args:
        arguments: the command, and its own.
        is_check: whether monitors ask, and want to be told on standard output.
    """
    try:
        options = make_parser(arguments[0]).parse_args(arguments)
        status: int = options.command(options)
    except _UsageError as exc:
        if is_check:
            from .terminal import show_plain

            show_plain([f"UNKNOWN - {exc}"])
            return _UNKNOWN
        _tell([str(exc)])
        return 2
    except TscertError as exc:
        return _fail(exc)
    except SystemExit as exc:  # --help and --version
        return int(exc.code or 0)
    return status


def _fail(error: TscertError) -> int:
    """Tell what is wrong, a line for each fault; return the exit status."""
    status, lines = 1, (str(error),)
    if isinstance(error, SettingsError | InvalidDomainError):
        status, lines = 2, getattr(error, "faults", lines)
    elif isinstance(error, LocalAPIError):
        told = f"{str(error).rstrip('.')}. {error.meaning} {error.remedy}"
        lines = (told, *getattr(error, "__notes__", ()))
    elif isinstance(error, StatusServiceError):
        lines = (error.told(),)
    _tell([f"tscert-trio: {line}" for line in lines])
    return status


def _tell(lines: Sequence[str]) -> None:
    """Print lines to standard error; what others wrote into them moves no cursor there."""
    from .terminal import clean  # takes a few ms, and most commands end well

    for line in lines:
        print(clean(line), file=sys.stderr)


def make_parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of the command line; documentation and shell completion are made from it, too.

    Args:
        chosen: the only command whose options are wanted; by default those of all.
    """
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="tscert-trio", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=raw, allow_abbrev=False
    )
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version and end")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, summary in _COMMANDS.items():
        command = commands.add_parser(name, help=summary, formatter_class=_Paragraphs, allow_abbrev=False)
        if chosen in {None, name}:
            module = import_module(f".{name}", __package__)
            command.description = module.__doc__
            module.add_arguments(command)
    return parser
