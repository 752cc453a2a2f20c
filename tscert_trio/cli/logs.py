"""Logging as text or JSON lines. A library does not choose its user's logging; a command does."""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime

from .plain import as_json
from .terminal import clean

__all__ = ["configure_logging"]


_EXTRA = ("domain", "error", "retry", "valid_until", "next_attempt_at")
"""Fields that lines about a name have besides."""


class _TextFormatter(logging.Formatter):
    """A line a record, and nothing in it that moves a terminal's cursor: others wrote some of it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- logging's name
        return clean(super().formatMessage(record))

    def formatException(self, ei: logging._SysExcInfoType) -> str:  # noqa: N802
        return "\n".join(map(clean, super().formatException(ei).split("\n")))


class _JSONFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields |= {key: value for key in _EXTRA if (value := getattr(record, key, None)) is not None}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return as_json(fields, sys.stderr)


def configure_logging(log_format: str, level: str) -> None:
    """Send the log to standard error.

    Args:
        log_format: ``text`` or ``json``.
        level: ``debug``, ``info``, ``warning`` or ``error``.
    """
    handler = logging.StreamHandler()
    if log_format == "json":
        handler.setFormatter(_JSONFormatter())
    else:
        # systemd's journal keeps the time itself.
        time = "" if os.environ.get("JOURNAL_STREAM") else "%(asctime)s "
        handler.setFormatter(_TextFormatter(f"{time}%(levelname)-7s %(message)s", "%Y-%m-%d %H:%M:%S%z"))
    for library in ("httpx", "httpcore"):  # a line for each question to the CA would say nothing
        logging.getLogger(library).setLevel(logging.WARNING)
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
