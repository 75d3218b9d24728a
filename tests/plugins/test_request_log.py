"""The request log: what stands in a line, and that lines of many processes stay whole."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import orjson

from plugins._errors import Fault
from plugins._log_writer import FileOut, LogWriter
from plugins._record import busy_s
from plugins._request_log import ATTEMPT_FIELDS, REQUEST_FIELDS
from tests.imports import ROOT
from tests.sizes import size

DOCUMENT = (ROOT / "docs" / "request-log.md").read_text(encoding="utf-8")


def line(record: int) -> bytes:
    return orjson.dumps({"n": record})


def numbers(*paths: Path) -> list[int]:
    return [orjson.loads(row)["n"] for path in paths for row in path.read_bytes().splitlines()]


def fields(section: str) -> list[str]:
    text = DOCUMENT.split(f'## `"event": "{section}"`')[1].partition("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)


def test_document_lists_every_field_of_a_request_in_order() -> None:
    assert fields("request") == list(REQUEST_FIELDS)


def test_document_lists_every_field_of_an_attempt_in_order() -> None:
    assert fields("attempt") == list(ATTEMPT_FIELDS)


def test_document_lists_every_class_of_failure() -> None:
    (row,) = (one for one in DOCUMENT.splitlines() if "the class of failure" in one)
    assert set(re.findall(r"`(\w+)`", row)) == {"outcome", "ok", *Fault}


def test_overlapping_calls_count_once() -> None:
    assert busy_s([(1.0, 3.0), (2.0, 4.0), (2.5, 2.6), (10.0, 11.0)]) == 4.0


def test_full_file_is_moved_aside_and_the_oldest_goes(tmp_path: Path) -> None:
    out = FileOut(tmp_path / "r.jsonl", max_bytes=40, keep=2)
    for n in range(100, 120):
        out([line(n) + b"\n"])
    names = ["r.jsonl.2", "r.jsonl.1", "r.jsonl"]
    assert sorted(p.name for p in tmp_path.glob("r.jsonl*")) == sorted(names)
    assert numbers(*(tmp_path / name for name in names)) == list(range(108, 120))


def test_one_batch_may_fill_several_files(tmp_path: Path) -> None:
    out = FileOut(tmp_path / "r.jsonl", max_bytes=40, keep=9)
    out([line(n) + b"\n" for n in range(100, 110)])
    names = ["r.jsonl.2", "r.jsonl.1", "r.jsonl"]
    assert numbers(*(tmp_path / name for name in names)) == list(range(100, 110))


def test_nothing_older_is_kept_with_keep_0(tmp_path: Path) -> None:
    out = FileOut(tmp_path / "r.jsonl", max_bytes=20, keep=0)
    for n in range(100, 104):
        out([line(n) + b"\n"])
    assert [p.name for p in tmp_path.glob("r.jsonl*")] == ["r.jsonl"]


def test_lines_of_several_processes_stay_whole_and_none_is_lost(tmp_path: Path) -> None:
    processes, each = 4, size(1500, 20_000)
    code = f"""
import sys, orjson
from pathlib import Path
from plugins._log_writer import FileOut, LogWriter
writer = LogWriter(FileOut(Path({str(tmp_path / "r.jsonl")!r}), 30_000, 1000), most=10**9)
first = int(sys.argv[1]) * {each}
for n in range(first, first + {each}):
    writer.put(lambda n: orjson.dumps({{"n": n, "pad": "x" * (n % 70)}}), n)
writer.close(120)
"""
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(i)], cwd=ROOT) for i in range(processes)
    ]
    assert [one.wait() for one in started] == [0] * processes
    found = numbers(*tmp_path.glob("r.jsonl*"))
    assert sorted(found) == list(range(processes * each))
    assert len(list(tmp_path.glob("r.jsonl.*"))) > 3


def test_what_waits_is_bounded_and_what_is_dropped_is_told(tmp_path: Path) -> None:
    written: list[bytes] = []
    held = True

    def out(lines: list[bytes]) -> None:
        while held:
            time.sleep(0.01)
        written.extend(lines)

    writer = LogWriter(out, most=10)
    for n in range(1000):
        writer.put(line, n)
    assert writer.dropped >= 900  # the thread may have taken a batch already
    dropped, held = writer.dropped, False
    writer.close()
    told = [orjson.loads(one) for one in written if b"dropped" in one]
    assert sum(one["lines"] for one in told) == dropped
    assert len(written) - len(told) == 1000 - dropped


def test_full_disk_loses_lines_and_nothing_else() -> None:
    full = True
    written: list[bytes] = []

    def out(lines: list[bytes]) -> None:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.extend(lines)

    writer = LogWriter(out)
    writer.put(line, 1)
    while not writer.dropped:
        time.sleep(0.01)
    full = False
    writer.put(line, 2)
    writer.close()
    kinds = [orjson.loads(one) for one in written]
    assert {"n": 2} in kinds
    assert sum(one.get("lines", 0) for one in kinds) == 1


def test_nothing_is_opened_before_the_first_line(tmp_path: Path) -> None:
    LogWriter(FileOut(tmp_path / "below" / "r.jsonl", 1000, 1)).close()
    assert list(tmp_path.iterdir()) == []
