"""What the router counts: bounded, exact, and the same whichever worker is asked."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read

from plugins._board import Board
from plugins._exposition import exposition
from plugins._history import MINUTES, History, merge_histories, quantile_ms
from plugins._metrics import METRICS, NAMESPACE, names
from plugins._tally import OTHER, Tally, merge
from plugins._workers import Workers
from tests.imports import ROOT
from tests.plugins.status_pages import attempt, request
from tests.sizes import size

DOCUMENT = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")


def samples(tally: dict[str, Any], gauges: Any = ()) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return the values by name and labels, these in the order of the labels' names."""
    text = exposition(tally, gauges, "")[0].decode()
    return {
        (one.name, tuple(v for _, v in sorted(one.labels.items()))): one.value
        for family in read(text)
        for one in family.samples
    }


# -- the text


def test_every_metric_is_in_the_document_and_no_other() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \| ([^|]*) \|$", DOCUMENT, re.MULTILINE)
    written = [
        (name, kind, tuple(re.findall(r"`(\w+)`", labels)), text.strip())
        for name, kind, labels, text in rows
    ]
    assert written == [(one.full_name, one.kind, one.labels, one.help) for one in METRICS.values()]


def test_text_is_what_prometheus_reads() -> None:
    tally = Tally(10, time.time)
    tally.request(request())
    tally.attempt(attempt())
    found = samples(tally.to_json(), [("ledger_up", (), 1.0)])
    assert found["qwen3_router_requests_total", ("ok", "g", "200")] == 1
    assert found["qwen3_router_cost_usd_total", ("a",)] == pytest.approx(7e-9)
    assert found["qwen3_router_request_seconds_bucket", ("g", "0.01")] == 0
    assert found["qwen3_router_request_seconds_bucket", ("g", "0.025")] == 1
    assert found["qwen3_router_request_seconds_bucket", ("g", "+Inf")] == 1
    assert found["qwen3_router_request_seconds_sum", ("g",)] == 0.012
    assert found["qwen3_router_ledger_up", ()] == 1
    assert all(name.startswith(NAMESPACE) for name, _ in found)


def test_openmetrics_is_served_to_who_asks_for_it() -> None:
    tally = Tally(10, time.time)
    tally.request(request())
    body, kind = exposition(tally.to_json(), (), "application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    names_ = {one.name for one in read_openmetrics(body.decode())}
    assert {f"{NAMESPACE}_requests", f"{NAMESPACE}_upstream_seconds"} <= names_


def test_a_name_or_label_with_odd_signs_is_escaped() -> None:
    tally = Tally(10, time.time)
    tally.request(request('a"b\\c\nd'))
    assert samples(tally.to_json())["qwen3_router_consumer_requests_total", ('a"b\\c\nd',)] == 1


def test_a_query_can_name_every_series() -> None:
    assert "qwen3_router_upstream_seconds_bucket" in names()
    assert "qwen3_router_attempts_total" in names()


# -- bounds


def test_ten_thousand_consumers_make_a_bounded_number_of_series() -> None:
    tally = Tally(100, time.time)
    for n in range(10_000):
        tally.request(request(f"key-{n}"))
    found = samples(merge([tally.to_json()], 100))
    series = {labels[0] for name, labels in found if name == "qwen3_router_consumer_requests_total"}
    assert len(series) == 101
    assert found["qwen3_router_consumer_requests_total", (OTHER,)] == 9_900
    assert len(found) < 500


def test_sixteen_workers_together_have_no_more_consumers_than_one() -> None:
    each, tallies = size(1000, 10_000), []
    for worker in range(16):
        tally = Tally(100, lambda worker=worker: float(worker))  # type: ignore[misc]
        for n in range(each):
            tally.request(request(f"key-{worker}-{n}"))
        tallies.append(tally.to_json())
    found = samples(merge(tallies, 100))
    series = [k for k in found if k[0] == "qwen3_router_consumer_requests_total"]
    assert len(series) == 101
    assert sum(found[one] for one in series) == 16 * each


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), max_size=200))
def test_no_consumers_count_ever_goes_back(seen: list[tuple[int, int]]) -> None:
    now = 0.0

    def wall() -> float:
        return now

    tallies = [Tally(5, wall) for _ in range(4)]
    last: dict[Any, float] = {}
    for worker, consumer in seen:
        now += 1.0
        tallies[worker].request(request(f"key-{consumer}"))
        merged = merge([one.to_json() for one in tallies], 5)
        found = {tuple(row[0]): row[1] for row in dict(merged["counts"])["consumer_requests"]}
        assert all(found.get(one, 0) >= count for one, count in last.items())
        assert sum(found.values()) == sum(last.values()) + 1
        last = found


def test_unknown_metric_of_another_release_is_left_out() -> None:
    note = {"counts": [["gone", [[["x"], 1]]]], "times": [["gone", []]], "consumers": {}}
    assert merge([note], 5) == {"counts": [], "times": [], "consumers": {}}


# -- many workers

# One process that has imported everything, and workers forked from it: half of them end, half stay.
SERVER = """
import asyncio, json, os, signal, sys, time
from pathlib import Path
from plugins._board import Board
from plugins._workers import Workers

async def work(folder, count):
    board = Board(lambda: [("requests_in_flight", (), 1)], most_consumers=50, wall=time.time,
                  workers=lambda: Workers(Path(folder), lambda notes: board.fold(notes)))
    for n in range(count):
        board.tally.add("inputs", ("g",))
        if n % 20 == 0:
            await board.publish()
        await asyncio.sleep(0.001)
    await board.publish()

pids = []
for i in range(16):
    pid = os.fork()
    if not pid:
        asyncio.run(work(sys.argv[1], int(sys.argv[2])))
        if i % 2:
            os.write(1, b"done\\n")
            signal.pause()
        os._exit(0)
    pids.append(pid)
os.write(1, json.dumps(pids).encode() + b"\\n")
for _ in pids:
    os.wait()
"""


def test_counts_of_sixteen_workers_never_go_back_and_outlive_the_killed(tmp_path: Path) -> None:
    each = size(300, 3000)
    command = [sys.executable, "-c", SERVER, str(tmp_path), str(each)]
    boards = [_reader(tmp_path) for _ in range(2)]

    async def scrape() -> tuple[float, float]:
        gathered = await random.choice(boards).gather()
        found = samples(dict(gathered.tally), gathered.gauges)
        total = found.get(("qwen3_router_inputs_total", ("g",)), 0)
        return total, found["qwen3_router_workers", ()]

    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        lines = [server.stdout.readline()]
        while not lines[-1].startswith(b"["):
            lines.append(server.stdout.readline())
        pids: list[int] = json.loads(lines.pop())
        last = 0.0
        while any(_runs(pid) for pid in pids[::2]):
            total, _ = asyncio.run(scrape())
            assert total >= last
            last = total
            asyncio.run(random.choice(boards).tidy())
        while len(lines) < 8:
            lines.append(server.stdout.readline())
        assert lines == [b"done\n"] * 8
        # Both readers are this process, which is one worker by its name.
        assert asyncio.run(scrape()) == (16 * each, 8 + 1)
        for pid in pids[1::2]:
            os.kill(pid, signal.SIGKILL)
    asyncio.run(boards[0].tidy())
    assert asyncio.run(scrape()) == (16 * each, 1)
    assert len([path for path in tmp_path.iterdir() if path.suffix == ".json"]) == 2


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _reader(folder: Path) -> Board:
    board = Board(
        list, most_consumers=50, wall=time.time, workers=lambda: Workers(folder, board.fold)
    )
    return board


def test_worker_that_ends_while_it_tidies_up_is_not_counted_twice(tmp_path: Path) -> None:
    board = _reader(tmp_path)
    board.tally.request(request())
    asyncio.run(board.publish())
    (mine,) = tmp_path.glob("*.json")
    mine.rename(tmp_path / "999999999-1.json")
    dead = (tmp_path / "999999999-1.json").read_bytes()
    asyncio.run(board.tidy())
    assert not (tmp_path / "999999999-1.json").exists()
    (tmp_path / "999999999-1.json").write_bytes(dead)  # as if it had not come to unlink it
    board.tally = Tally(50, time.time)
    gathered = asyncio.run(board.gather())
    assert samples(dict(gathered.tally))["qwen3_router_requests_total", ("ok", "g", "200")] == 1


def test_a_worker_alone_writes_nothing(tmp_path: Path) -> None:
    board = Board(list, most_consumers=5, wall=time.time)
    board.tally.request(request())
    gathered = asyncio.run(board.gather())
    assert dict(gathered.tally["counts"])["inputs"] == [(("g",), 2)]
    assert list(tmp_path.iterdir()) == []


# -- the last half hour


def test_minutes_of_two_workers_add_up_and_old_ones_go() -> None:
    first, second = History(), History()
    for history in (first, second):
        history.attempt(attempt(at=60.0 * 99))
        history.attempt(attempt(at=60.0 * 100, outcome="timeout"))
    first.attempt(attempt(at=60.0 * (100 - MINUTES)))
    merged = merge_histories([first.to_json(), second.to_json()], 60.0 * 100 + 5)
    assert [sum(row[0] for row in rows.values()) for rows in merged["minutes"]] == [0] * 28 + [2, 2]
    assert merged["minutes"][-1]["a"][:2] == [2, 0]


def test_memory_of_a_history_is_bounded() -> None:
    history = History()
    for minute in range(200):
        history.attempt(attempt(at=60.0 * minute))
        history.request(request(tried=("a",), reasons=("timeout",)))
    kept = history.to_json()
    assert len(kept["minutes"]) == MINUTES
    assert len(kept["failovers"]) == 30


def test_quantile_is_read_between_the_bounds() -> None:
    history = History()
    for _ in range(10):
        history.attempt(attempt(upstream_ms=20.0))
    rows = merge_histories([history.to_json()], 5.0)["minutes"][-1]
    assert quantile_ms([rows["a"]], 0.5) == pytest.approx(17.5)
    assert quantile_ms([], 0.5) is None
