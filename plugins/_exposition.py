"""The text that Prometheus reads, written by its own client library from what was counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from plugins._board import Values
from plugins._metrics import METRICS, Metric

__all__ = ["exposition"]


def exposition(tally: Mapping[str, Any], gauges: Iterable[Any], accept: str) -> tuple[bytes, str]:
    """Return body and content type, in the newest form that *accept* (a header) allows."""
    # Not at the start: what it is set up for, it reads from the environment when it is imported,
    # and LiteLLM's own metrics need that to be later.
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.exposition import choose_encoder

    def full(metric: Metric) -> str:
        return metric.full_name.removesuffix("_total")

    class Collector:
        def collect(self) -> Iterator[Any]:
            counts = dict(tally["counts"])
            times = dict(tally["times"])
            values: dict[str, Values] = {}
            for one in gauges:
                values.setdefault(one[0], []).append(one)
            for name, metric in METRICS.items():
                if metric.kind == "counter":
                    counter = CounterMetricFamily(full(metric), metric.help, labels=metric.labels)
                    for labels, count in counts.get(name, ()):
                        counter.add_metric(labels, count / metric.scale)
                    if not metric.labels and name not in counts:
                        counter.add_metric((), 0)
                    yield counter
                elif metric.kind == "gauge":
                    gauge = GaugeMetricFamily(full(metric), metric.help, labels=metric.labels)
                    for _, labels, value in values.get(name, ()):
                        gauge.add_metric(labels, value)
                    yield gauge
                else:
                    histogram = HistogramMetricFamily(
                        full(metric), metric.help, labels=metric.labels
                    )
                    for labels, row in times.get(name, ()):
                        histogram.add_metric(labels, _buckets(metric, row), row[-1] / 1e6)
                    yield histogram

    encode, content_type = choose_encoder(accept)
    body: bytes = encode(Collector())
    return body, content_type


def _buckets(metric: Metric, row: list[int]) -> list[tuple[str, float]]:
    bounds = [*(repr(one) for one in metric.buckets), "+Inf"]
    total = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip(bounds, row, strict=False):
        total += count
        buckets.append((bound, total))
    return buckets
