"""The request log: one line of JSON for each request and each attempt, without text or key.

`docs/request-log.md` lists the fields; `qwen3-router simulate` reads them. A request only appends
to a queue; `_log_writer` does the rest in a thread of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from plugins._log_writer import FileOut, LogWriter, StdOut
from plugins._record import AttemptRecord, RequestRecord
from plugins._state import state_folder
from router_config import RequestLog as Entry

__all__ = [
    "ATTEMPT_FIELDS",
    "REQUEST_FIELDS",
    "RequestLog",
    "attempt_line",
    "open_log",
    "request_line",
]

VERSION = 1
_LONGEST_NAME = 200  # of a key, team or user, which LiteLLM's database may hold in any length


class RequestLog:
    """A sink that hands records to a writer."""

    def __init__(self, lines: LogWriter) -> None:
        self._lines = lines

    @property
    def dropped(self) -> int:
        """How many lines were lost in this process."""
        return self._lines.dropped

    def attempt(self, record: AttemptRecord) -> None:
        """Note one wire call."""
        self._lines.put(attempt_line, record)

    def request(self, record: RequestRecord) -> None:
        """Note one request."""
        self._lines.put(request_line, record)


def open_log(entry: Entry, environ: Mapping[str, str]) -> RequestLog:
    """Return the log that *entry* describes; nothing is opened before the first line."""
    if entry.file is None:
        return RequestLog(LogWriter(StdOut()))
    path = state_folder(environ) / Path(entry.file).expanduser()  # an absolute one stays
    return RequestLog(LogWriter(FileOut(path, entry.max_mb * 1024 * 1024, entry.keep)))


def attempt_line(record: AttemptRecord) -> bytes:
    """Return the line of an attempt, without its end."""
    return orjson.dumps(_attempt(record))


def request_line(record: RequestRecord) -> bytes:
    """Return the line of a request, without its end."""
    return orjson.dumps(_request(record))


def _attempt(one: AttemptRecord) -> dict[str, Any]:
    return {
        "event": "attempt",
        "v": VERSION,
        "at": _time(one.at),
        "request": one.request,
        "group": one.group,
        "deployment": one.deployment,
        "provider": one.provider,
        "endpoint": one.endpoint,
        "probe": one.probe,
        "inputs": one.inputs,
        "tokens": one.tokens,
        "cost_nano_usd": one.cost_nano_usd,
        "outcome": one.outcome,
        "status": one.status,
        "detail": one.detail,
        "sent": one.sent,
        "ms": round(one.ms, 2),
        "upstream_ms": round(one.upstream_ms, 2),
    }


def _request(one: RequestRecord) -> dict[str, Any]:
    return {
        "event": "request",
        "v": VERSION,
        "at": _time(one.at),
        "request": one.request,
        "key": _name(one.key),
        "team": _name(one.team),
        "user": _name(one.user),
        "group": one.group,
        "query": one.query,
        "encoding": one.encoding,
        "dimensions": one.dimensions,
        "inputs": one.inputs,
        "tokens": one.tokens,
        "longest": one.longest,
        "billed_tokens": one.billed_tokens,
        "cost_nano_usd": one.cost_nano_usd,
        "served_by": one.served_by,
        "tried": one.tried,
        "reasons": one.reasons,
        "attempts": one.attempts,
        "outcome": one.outcome,
        "status": one.status,
        "code": one.code,
        "ms": round(one.ms, 2),
        "upstream_ms": round(one.upstream_ms, 2),
        "own_ms": round(one.own_ms, 2),
        "cache_hits": one.cache_hits,
    }


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _name(name: str | None) -> str | None:
    return name[:_LONGEST_NAME] if name else None


ATTEMPT_FIELDS = tuple(
    _attempt(AttemptRecord(0, "", "", "", "", "", 0, 0, 0, 0, "", None, None, True, 0, 0, False))
)
REQUEST_FIELDS = tuple(
    _request(
        RequestRecord(
            0, "", None, None, None, "", False, None, None, 0, 0, 0, 0, 0, (), (), (), 0, "", 0,
            None, 0, 0, 0, 0,
        )
    )
)  # fmt: skip
