"""Which fault bites, and how often it still will."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .faults import Stage

if TYPE_CHECKING:
    from .faults import Fault

__all__ = ["Faults"]


@attrs.define(eq=False)
class Faults:
    """The faults that are to come, in the order in which they were added."""

    _left: list[tuple[Fault, int | None]] = attrs.field(factory=list, init=False)

    def add(self, fault: Fault) -> None:
        """Let this go wrong from now on."""
        self._left.append((fault, fault.count))

    def clear(self) -> None:
        """Repair everything."""
        self._left.clear()

    def take(
        self, stage: Stage, endpoint: str = "cert", domain: str | None = None, *, in_background: bool = False
    ) -> Fault | None:
        """Return the fault that bites here, and spend one use of it.

        Args:
            stage: what is about to happen.
            endpoint: which endpoint was asked.
            domain: for which name.
            in_background: nobody asked, so `Stage.REQUEST` is passed over.
        """
        for index, (fault, _) in enumerate(self._left):
            if (
                fault.endpoint != endpoint
                or fault.domain not in {None, domain}
                or (stage is Stage.ARI) != (fault.at is Stage.ARI)
                or (in_background and fault.at is Stage.REQUEST)
            ):
                continue
            if fault.at is not stage:
                return None
            self._spend(index)
            return fault
        return None

    def take_again(self, fault: Fault) -> bool:
        """Spend one more use of this very fault; return whether there was one."""
        for index, (other, _) in enumerate(self._left):
            if other is fault:
                self._spend(index)
                return True
        return False

    def _spend(self, index: int) -> None:
        fault, left = self._left[index]
        if left is None:
            return
        if left > 1:
            self._left[index] = (fault, left - 1)
        else:
            del self._left[index]
