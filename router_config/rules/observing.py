"""Rules about what a running router tells: its metrics and its log of requests."""

from __future__ import annotations

from collections.abc import Iterator

from ..problems import Finding, Path
from .subject import Rule, Subject

__all__ = ["RULES"]

_METRICS: Path = ("embedding_router", "metrics")
_LOG: Path = ("embedding_router", "request_log")


def request_log_has_one_target(subject: Subject) -> Iterator[Finding]:
    entry = subject.section.request_log
    if entry is None:
        return
    if entry.file is not None and entry.stdout:
        yield Finding((*_LOG, "stdout"), "a file and standard output", "keep one of them")
    elif entry.file is None and not entry.stdout:
        fix = "write file: requests.jsonl or stdout: true, or remove the section"
        yield Finding(_LOG, "a request log that goes nowhere", fix)
    elif entry.stdout:
        for key in ("max_mb", "keep"):
            if getattr(entry, key) is not None:
                what = "is for files, and standard output is not one"
                yield Finding((*_LOG, key), what, "remove it", "warning")


def open_metrics_have_no_token(subject: Subject) -> Iterator[Finding]:
    entry = subject.section.metrics
    if entry is not None and entry.open and entry.token is not None:
        what = "a token for metrics that answer without one"
        yield Finding((*_METRICS, "token"), what, "remove it, or open: true", "warning")


RULES: tuple[Rule, ...] = (request_log_has_one_target, open_metrics_have_no_token)
