"""What `bench` asks, and the rows that come of it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from router_config.cli import loadgen
from router_config.cli.bench_processes import Proxy
from router_config.cli.loadgen import Measured, Requests

__all__ = ["Bench", "Subject", "extras", "requests", "subjects"]

_MARK = b"########"  # in every text of a request that nobody knows yet
_PLAIN = "plain LiteLLM, 4096 floats"
# Plain LiteLLM takes a second for some sixty vectors: one reply is enough where it takes so long.
_PLAIN_MOST_INPUTS_AT_ONCE = 512
_PLAIN_AT_MOST_S = 60.0
_ROUND_S = 0.4
_MEMORY = (200, 32, 20.0)  # connections, inputs, seconds at most


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: *who* is asked for *model*, and whether the texts are always the same."""

    name: str
    who: str
    model: str
    fields: dict[str, Any] = field(default_factory=dict)
    known: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    as_admin: bool = False


_FLOATS = Subject("gateway, 4096 floats, base64 upstream", "ours", "ours-base64")
_UPSTREAM = Subject("the upstream itself, floats", "upstream", "upstream")
_NO_LEDGER = Subject("gateway, 4096 floats, without a budget", "ours", "ours-unpaid")
_NO_HEALTH = Subject("gateway, 4096 floats, without health", "bare", "ours-base64")
_BASE64: dict[str, Any] = {"encoding_format": "base64"}
_SUBJECTS = (
    _UPSTREAM,
    Subject(_PLAIN, "plain", "plain", {"encoding_format": "float"}),
    _FLOATS,
    Subject("gateway, 4096 floats, float upstream", "ours", "ours-float"),
    Subject("gateway, 4096 base64, base64 upstream", "ours", "ours-base64", _BASE64),
    Subject("gateway, 1024 floats, base64 upstream", "ours", "ours-base64", {"dimensions": 1024}),
    Subject(
        "gateway, 1024 base64, base64 upstream",
        "ours",
        "ours-base64",
        {"dimensions": 1024, **_BASE64},
    ),
    Subject("gateway, 4096 floats, cached", "ours", "ours-base64", known=True),
    Subject("gateway, 4096 base64, cached", "ours", "ours-base64", _BASE64, known=True),
)
_BESIDE = (
    _NO_LEDGER,
    _NO_HEALTH,
    Subject(
        "gateway off, 4096 floats, base64 upstream",
        "ours",
        "ours-base64",
        headers={"x-router-path": "litellm"},
        as_admin=True,
    ),
)


def subjects(n: int, *, beside: bool) -> Sequence[Subject]:
    """Return what is measured with *n* inputs; *beside* adds what single parts cost."""
    return (*_SUBJECTS, *(_BESIDE if beside and n <= 32 else ()))


def requests(url: str, key: str, subject: Subject, n: int) -> Requests:
    """Return the requests of *subject*, with *n* texts that differ."""
    number = "know" + "n" * 4 if subject.known else _MARK.decode()
    texts = [f"Запрос {number}, текст {i:04} о документах." for i in range(n)]
    body = json.dumps(
        {"model": subject.model, "input": texts, **subject.fields}, ensure_ascii=False
    )
    headers = {"authorization": f"Bearer {key}", **subject.headers}
    return Requests(url, body.encode(), headers, b"" if subject.known else _MARK)


class Bench:
    """The processes that are measured, and for how long; *bare* is ours without health."""

    def __init__(
        self,
        upstream: str,
        plain: Proxy,
        ours: Proxy,
        bare: Proxy | None,
        seconds: float,
        connections: int,
    ) -> None:
        self._upstream = f"{upstream}/embeddings"
        self._proxies = {"plain": plain, "ours": ours, "bare": bare}
        self.seconds = seconds
        self.connections = connections

    def measure(self, subject: Subject, n: int) -> dict[str, Any]:
        """Return the row of *subject* with *n* inputs in a request."""
        connections, seconds, at_most_s, least = self.connections, self.seconds, None, 1
        if subject.who == "plain":
            connections = max(1, min(connections, _PLAIN_MOST_INPUTS_AT_ONCE // n))
            at_most_s, least = min(_PLAIN_AT_MOST_S, 15 * seconds), min(4, connections)
        if n <= _PLAIN_MOST_INPUTS_AT_ONCE or subject.who != "plain":  # the first warms up
            self.drive(subject, n, connections, min(1.0, seconds), at_most_s)
        proxy = self._proxies.get(subject.who)
        before = 0.0
        if proxy is not None:
            proxy.forget_peak()
            before = proxy.cpu_s()
        got = self.drive(subject, n, connections, seconds, at_most_s, least)
        replies = len(got.latencies_s)
        used = proxy.cpu_s() - before if proxy is not None else 0.0
        return {
            "n": n,
            "subject": subject.name,
            "plain": subject.name == _PLAIN,
            "connections": connections,
            "per_second": got.per_second,
            "vectors_per_second": got.per_second * n,
            "p50_ms": got.percentile_ms(0.5),
            "p99_ms": got.percentile_ms(0.99),
            "cpu_ms": used / replies * 1000 if replies and used else None,
            "rss_mb": (proxy.rss_mb() or None) if proxy is not None else None,
            "peak_mb": (proxy.peak_mb() or None) if proxy is not None else None,
            "reply_bytes": got.reply_bytes,
            "failures": got.failures,
        }

    def drive(
        self,
        subject: Subject,
        n: int,
        connections: int,
        seconds: float,
        at_most_s: float | None = None,
        least: int = 1,
    ) -> Measured:
        """Load *subject* once."""
        proxy = self._proxies.get(subject.who)
        url = proxy.url if proxy is not None else self._upstream
        key = (proxy.admin_key if subject.as_admin else proxy.key) if proxy is not None else "none"
        return loadgen.run(
            loadgen.drive(
                requests(url, key, subject, n),
                connections=connections,
                seconds=seconds,
                least=least,
                at_most_s=at_most_s,
            )
        )

    def peak_mb(self, who: str, connections: int, n: int, seconds: float) -> float:
        """Return the most memory that *who* takes under *connections* of *n* inputs."""
        subject = next(one for one in _SUBJECTS if one.who == who and one.name != _UPSTREAM.name)
        proxy = self._proxies[who]
        if proxy is None:
            return 0.0
        proxy.forget_peak()
        self.drive(subject, n, connections, seconds, 2 * seconds)
        return proxy.peak_mb()


def _added_ms(bench: Bench) -> dict[str, float]:
    """Return what a request costs more at one connection, p50 in ms: medians over short rounds.

    A machine's pace drifts by more than what is asked here; within a round all meet the same one.
    """
    rounds = max(1, round(bench.seconds / _ROUND_S))
    p50 = [
        {
            one.name: bench.drive(one, 1, 1, min(_ROUND_S, bench.seconds)).percentile_ms(0.5)
            for one in (_UPSTREAM, _FLOATS, _NO_LEDGER, _NO_HEALTH)
        }
        for _ in range(rounds)
    ]

    def over(other: Subject) -> float:
        return statistics.median(one[_FLOATS.name] - one[other.name] for one in p50)

    return {
        "gateway over the upstream itself, one connection, p50": over(_UPSTREAM),
        "of it the ledger": over(_NO_LEDGER),
        "of it health": over(_NO_HEALTH),
    }


def extras(bench: Bench, counts: Sequence[int]) -> dict[str, Any]:
    """Return what the rows do not show: added latency at one connection, memory under a crowd."""
    found: dict[str, Any] = {}
    if 1 in counts:
        found["added_ms"] = _added_ms(bench)
    if 32 in counts:
        connections, n, seconds = _MEMORY
        found["memory_mb"] = {
            "plain LiteLLM": bench.peak_mb("plain", connections, n, seconds),
            "gateway": bench.peak_mb("ours", connections, n, seconds),
        }
    return found
