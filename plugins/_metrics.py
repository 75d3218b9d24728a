"""Every metric of the router: its name, kind, labels and meaning, once.

`docs/metrics.md` is made of this table; alert rules and the dashboard in `deploy/` use its names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["BUCKETS_S", "METRICS", "NAMESPACE", "OWN_BUCKETS_S", "Metric", "names"]

NAMESPACE = "qwen3_router"
Kind = Literal["counter", "gauge", "histogram"]
# How the values of several workers become one: added up, or the least of them.
Join = Literal["sum", "min"]

# A hosted provider answers in tens of milliseconds to seconds, an own server may take minutes.
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
# Our own share is a fraction of a millisecond to some milliseconds.
OWN_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """*name* is without namespace and, for counters, without `_total`.

    *scale* divides what is counted in whole numbers, such as nano-dollars.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    join: Join = "sum"
    scale: int = 1
    buckets: tuple[float, ...] = ()

    @property
    def full_name(self) -> str:
        """The name as a query writes it; a histogram has `_bucket`, `_sum` and `_count` of it."""
        return f"{NAMESPACE}_{self.name}{'_total' if self.kind == 'counter' else ''}"


def _counter(name: str, labels: str, text: str, scale: int = 1) -> Metric:
    return Metric(name, "counter", tuple(labels.split()), text, scale=scale)


def _gauge(name: str, labels: str, text: str, join: Join = "sum") -> Metric:
    return Metric(name, "gauge", tuple(labels.split()), text, join)


def _histogram(name: str, labels: str, text: str, buckets: tuple[float, ...]) -> Metric:
    return Metric(name, "histogram", tuple(labels.split()), text, buckets=buckets)


_ALL = (
    # Counted by each worker.
    _counter(
        "requests",
        "group status code",
        "Requests to a model group; code is ok, an error code, or client_left with status 499. "
        "An empty group: the request named none of ours.",
    ),
    _counter("inputs", "group", "Texts of the requests that were answered."),
    _counter("failovers", "group", "Requests answered after at least one attempt had failed."),
    _counter("cache_hits", "group", "Texts answered from the cache or a call under way."),
    _counter("cache_misses", "group", "Texts that a provider was asked for."),
    _histogram("request_seconds", "group", "From a request's head to its end.", BUCKETS_S),
    _histogram(
        "overhead_seconds",
        "group",
        "Of these, the router's own share: no wire call was open.",
        OWN_BUCKETS_S,
    ),
    _counter(
        "attempts",
        "deployment outcome",
        "Wire calls; outcome is ok or a class of failure (docs/request-log.md).",
    ),
    _counter("probes", "deployment outcome", "Of these, calls of our own for health and parity."),
    _histogram("upstream_seconds", "deployment", "How long a wire call took.", BUCKETS_S),
    _counter("tokens", "deployment", "Tokens billed, as far as known."),
    _counter(
        "counted_tokens",
        "deployment",
        "Tokens of the same calls by our own count; apart from them, a provider counts otherwise.",
    ),
    _counter("cost_usd", "deployment", "US dollars booked.", scale=10**9),
    _counter("consumer_requests", "consumer", "Requests by key alias, else team, else user."),
    _counter("consumer_tokens", "consumer", "Tokens in these replies' usage."),
    _counter("consumer_cost_usd", "consumer", "US dollars of these replies.", scale=10**9),
    _counter("ejections", "deployment kind", "Times that this server ejected or rested it."),
    _counter("request_log_dropped_lines", "", "Lines of the request log that were lost."),
    # What each worker has now.
    _gauge("requests_in_flight", "", "Requests being served."),
    _gauge("reservations_open", "", "Amounts held in the ledger for calls of this server."),
    _gauge("queue_waiting", "", "Requests that wait for a free place."),
    _gauge("cache_entries", "", "Vectors in the cache."),
    _gauge("cache_bytes", "", "Memory of these vectors."),
    _gauge("workers", "", "Worker processes of this server that are alive."),
    _gauge("config_info", "sha256", "Workers that run the configuration with this hash."),
    _gauge(
        "config_last_reload_success", "", "1 if every worker's last load was good, else 0.", "min"
    ),
    _gauge(
        "config_last_reload_success_timestamp_seconds",
        "",
        "When the configuration in force was loaded, by the worker that has the oldest.",
        "min",
    ),
    # What all workers see alike; read when scraped.
    _gauge("deployment_info", "deployment group provider region endpoint", "1 for each of them."),
    _gauge(
        "deployment_standing",
        "deployment standing",
        "1 for what the deployment is: fine, off, ejected, resting, quarantined, drained, "
        "returning; else 0.",
    ),
    _gauge("parity_cosine", "deployment", "Least cosine to the reference in the last probe."),
    _gauge("budget_limit", "budget unit", "What may be spent; unit is usd or tokens."),
    _gauge("budget_spent", "budget unit", "What is booked in this period."),
    _gauge("budget_held", "budget unit", "What is held for calls under way."),
    _gauge("budget_left", "budget unit", "What can still be held."),
    _gauge("budget_resets_timestamp_seconds", "budget", "When the period ends."),
    _gauge("ledger_up", "", "1 if the ledger answered within a second, else 0."),
    _gauge("build_info", "version litellm", "1; what runs."),
)  # fmt: skip

METRICS: dict[str, Metric] = {one.name: one for one in _ALL}


def names() -> set[str]:
    """Return every series' name, as a query may write it."""
    found = set()
    for one in _ALL:
        if one.kind == "histogram":
            found |= {f"{one.full_name}_{part}" for part in ("bucket", "sum", "count")}
        else:
            found.add(one.full_name)
    return found
