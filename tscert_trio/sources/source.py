"""What every source of wanted names has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from trio_util import AsyncValue

from ..errors import UnreachableError
from ..statistics import SourceStatistics

if TYPE_CHECKING:
    import logging

    from ..hints import Hints

__all__ = ["DomainSource", "WantedNames"]


class WantedNames:
    """The names a source wants, and what is wrong with it.

    The last good names stay while something is wrong, and a trouble is logged once.

    Args:
        logger: of the source.
        name: of the source, for people.
    """

    def __init__(self, logger: logging.Logger, name: str) -> None:
        self._logger = logger
        self.name = name
        """Of the source."""
        self.trouble: str | None = None
        """What is wrong with it."""
        self._told = ""
        self.value: AsyncValue[frozenset[str] | None] = AsyncValue(None)
        """``None`` until the source could first be read."""

    def set(self, names: frozenset[str]) -> None:
        """Publish what was read."""
        if self._told:
            self._logger.info("%s can be read again", self.name)
            self._told = ""
        self.trouble = None
        self.value.value = names

    def keep(self, trouble: str, cause: Exception | None = None) -> None:
        """Keep what was last published, and say why.

        Args:
            trouble: what is wrong.
            cause: where that is a tailscaled that is away, nothing is said: who asks it for the
                CertDomains has said so.
        """
        self.trouble = trouble
        if isinstance(cause, UnreachableError):
            return
        if trouble != self._told:
            kept = "nothing is wanted from it yet" if self.value.value is None else "its last good names stay"
            self._logger.warning("%s; %s", trouble, kept)
            self._told = trouble

    def statistics(self) -> SourceStatistics:
        """Return how the source is."""
        return SourceStatistics(name=self.name, is_known=self.value.value is not None, trouble=self.trouble)


class DomainSource(Protocol):
    """One place from which wanted names come."""

    @property
    def names(self) -> WantedNames:
        """What it wants, and what is wrong with it."""

    async def run(self, hints: Hints) -> None:
        """Keep :attr:`names` up to date until cancelled; look at once after each hint."""
