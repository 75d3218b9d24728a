"""What the operator reads while a test runs: our own log lines from one moment on."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from tests.proxy.harness import Proxy

__all__ = ["Failure", "Watch"]

_FAILED = re.compile(
    r"WARNING qwen3_router\.attempt: attempt failed: deployment=(?P<deployment>\S+) "
    r"request=(?P<request>\S+) fault=(?P<fault>\S+) status=(?P<status>\S+) sent=(?P<sent>\S+) "
    r"reason=(?P<reason>'.*'|\".*\") ms=(?P<ms>\d+)(?: hint='.*')?$"
)


@dataclass(frozen=True)
class Failure:
    """One "attempt failed" line; *status* is None where no reply came."""

    deployment: str
    request: str
    fault: str
    status: int | None
    sent: bool
    reason: str


class Watch:
    """The log of *proxy* from now on."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._start = len(proxy.log())

    def text(self) -> str:
        """Return everything printed since."""
        return self._proxy.log()[self._start :]

    def lines(self) -> list[str]:
        """Return the lines of our own loggers."""
        return [line for line in self.text().splitlines() if " qwen3_router" in line]

    def failures(self) -> list[Failure]:
        """Return the failed attempts, in order."""
        found = []
        for line in self.lines():
            if "attempt failed" not in line:
                continue
            match = _FAILED.search(line)
            assert match is not None, f"a line that nobody can parse: {line}"
            status = match["status"]
            found.append(
                Failure(
                    match["deployment"],
                    match["request"],
                    match["fault"],
                    None if status == "-" else int(status),
                    match["sent"] == "yes",
                    ast.literal_eval(match["reason"]),
                )
            )
        return found
