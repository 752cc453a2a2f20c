"""Prometheus's text format and OpenMetrics: escaping, layout, and which of the two is wanted. Pure.

Written by hand, since a scrape of thousands of names takes a seventh of the time so (``docs/design.rst``,
"Parts"). https://prometheus.io/docs/instrumenting/exposition_formats/, https://prometheus.io/docs/specs/om/.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, TypeAlias

import attrs

from .weights import weight_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..statistics import RequestStatistics

__all__ = ["Family", "Kind", "Metric", "escape", "histogram", "label", "negotiate", "render"]

_OPEN_METRICS = "application/openmetrics-text"
_CONTENT_TYPES = {
    True: f"{_OPEN_METRICS}; version=1.0.0; charset=utf-8",
    False: "text/plain; version=0.0.4; charset=utf-8",
}


class Kind(enum.Enum):
    """What a metric is to Prometheus."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"
    INFO = "info"
    """Always 1: its labels tell. The older format knows it as a gauge."""


@attrs.frozen
class Metric:
    """What a metric is, once for all of its samples."""

    name: str
    """In full, with ``_total`` or ``_info``."""
    kind: Kind
    help: str
    """On one line."""
    labels: tuple[str, ...] = ()


Family: TypeAlias = "tuple[Metric, Sequence[str]]"
"""A metric with its samples, each without the metric's name: ``{domain="a"} 1``."""


def escape(value: str) -> str:
    """Return the value of a label as it stands between quotes."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def label(**labels: str) -> str:
    """Return labels as a sample has them."""
    return "{" + ",".join([f'{name}="{escape(value)}"' for name, value in labels.items()]) + "}"


def histogram(requests: Sequence[RequestStatistics], bounds: Sequence[float]) -> list[str]:
    """Return the samples of a histogram by endpoint.

    Args:
        requests: counts by endpoint.
        bounds: of the buckets, in seconds.
    """
    lines = []
    for each in requests:
        endpoint = escape(each.endpoint)
        for bound, count in zip((*map(float, bounds), "+Inf"), (*each.buckets, each.count), strict=True):
            lines.append(f'_bucket{{endpoint="{endpoint}",le="{bound}"}} {count}')
        lines.append(f'_count{{endpoint="{endpoint}"}} {each.count}')
        lines.append(f'_sum{{endpoint="{endpoint}"}} {each.seconds}')
    return lines


def render(families: Iterable[Family], accept: str) -> tuple[bytes, str]:
    """Return the text and its content type.

    Args:
        families: one for each metric; those without a sample are left out.
        accept: the header ``Accept``.
    """
    is_open = negotiate(accept)
    parts = [_family(metric, lines, is_open=is_open) for metric, lines in families if lines]
    return ("".join(parts) + ("# EOF\n" if is_open else "")).encode(), _CONTENT_TYPES[is_open]


def _family(metric: Metric, lines: Sequence[str], *, is_open: bool) -> str:
    name, kind = metric.name, metric.kind.value
    if is_open:
        name = name.removesuffix("_total").removesuffix("_info")
    elif metric.kind is Kind.INFO:
        kind = "gauge"
    before = f"\n{metric.name}"
    # The help text is ours and on one line; only in it a quote would be escaped by one format alone.
    return f"# HELP {name} {metric.help}\n# TYPE {name} {kind}{before}{before.join(lines)}\n"


def negotiate(accept: str) -> bool:
    """Return whether OpenMetrics 1.0.0 is wanted rather than the older text, which everybody reads.

    Only who names OpenMetrics gets it, unless the older text weighs more (RFC 9110, section 12.5.1). What
    makes no sense in the header is passed over.
    """
    is_named, open_weight, text_weight, any_weight = False, 0.0, None, 0.0
    for part in accept.lower().split(","):
        kind, *parameters = (each.strip() for each in part.split(";"))
        weight = weight_of(parameters)
        if weight is None:
            continue
        version = next((each[8:].strip('"') for each in parameters if each.startswith("version=")), None)
        if kind == _OPEN_METRICS and version in {None, "1.0.0"}:
            is_named, open_weight = True, max(open_weight, weight)
        elif kind == "text/plain" and version in {None, "0.0.4"}:
            text_weight = max(text_weight or 0.0, weight)
        elif kind in {"*/*", "text/*"}:
            any_weight = max(any_weight, weight)
    return (
        is_named and open_weight > 0 and open_weight >= (any_weight if text_weight is None else text_weight)
    )
