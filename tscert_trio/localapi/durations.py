"""How long tailscaled takes to answer."""

from __future__ import annotations

from bisect import bisect_left

import attrs

from ..statistics import REQUEST_SECONDS, RequestStatistics

__all__ = ["Durations"]


@attrs.define(eq=False)
class Durations:
    """Counts answers by endpoint and duration."""

    _seconds: dict[str, float] = attrs.field(factory=dict, init=False)
    _counts: dict[str, list[int]] = attrs.field(factory=dict, init=False)
    """For each bound how many took at most so long, but longer than the one before; at last the rest."""

    def note(self, endpoint: str, seconds: float) -> None:
        """Count an answer, or that there was none."""
        counts = self._counts.setdefault(endpoint, [0] * (len(REQUEST_SECONDS) + 1))
        counts[bisect_left(REQUEST_SECONDS, seconds)] += 1
        self._seconds[endpoint] = self._seconds.get(endpoint, 0.0) + seconds

    def statistics(self) -> tuple[RequestStatistics, ...]:
        """Return how long it took, by endpoint."""
        return tuple(
            RequestStatistics(
                endpoint=endpoint,
                count=sum(counts),
                seconds=self._seconds[endpoint],
                buckets=tuple(sum(counts[: index + 1]) for index in range(len(REQUEST_SECONDS))),
            )
            for endpoint, counts in sorted(self._counts.items())
        )
