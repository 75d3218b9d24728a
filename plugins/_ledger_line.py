"""The line to a Redis ledger: steps in, answers out, and what happens while nobody answers.

Steps that wait while a call is under way share the next one. When the store does not answer within
its time, everything that waits is refused, and so is at once everything that comes after, until a
probe in the background finds the store again, fit and with its data. Outcomes of calls that were
made (`owed`) are kept meanwhile and told first.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import json
import logging
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from plugins._ledger import LedgerUnavailable, LedgerUnfit
from plugins._ledger_epochs import Epochs
from plugins._ledger_fitness import unfit

__all__ = ["Line", "Step", "ask", "connect", "translated"]

log = logging.getLogger("qwen3_router.ledger")

_SCRIPT = "".join(
    Path(__file__).with_name(name).read_text(encoding="utf-8")
    for name in ("_ledger_redis.lua", "_ledger_redis_upkeep.lua")
)
_TOGETHER = 128  # steps that share a call at most
_OWED = 100_000
_PROBE_TIMEOUT_S = 2.0
_GRACE_S = 0.02
_PROBE_AFTER_S = (0.1, 0.2, 0.5, 1.0)  # then every second
_ACCEPT = "look why, then run: qwen3-router budget check --accept --reason TEXT"
_LOST = {
    "gone": "the ledger's data is gone from Redis",
    "other": "Redis holds another ledger than before",
    "behind": "Redis went back to an older state of the ledger",
}


@dataclass(slots=True, eq=False)
class Step:
    """One step of the script and who waits for it; an *owed* one is done even if nobody does.

    *undo* is owed when it is not known whether the step was done, or when nobody waits for it.
    """

    name: str
    fields: dict[str, Any]
    owed: bool = False
    undo: Step | None = None
    future: asyncio.Future[list[Any]] | None = None
    told: Callable[[list[Any]], None] | None = None  # hears of levels where nobody waits


@dataclass(slots=True)
class Line:
    """One store as seen by one event loop. *wall_us* replaces the store's own clock in tests."""

    url: str
    prefix: str
    epochs: Epochs
    timeout_s: float
    wall_us: Callable[[], int] | None = None
    gone: LedgerUnavailable | None = None
    late: list[Any] = field(default_factory=list)  # levels reached by outcomes told late
    _client: Redis | None = None
    _waiting: deque[Step] = field(default_factory=deque)
    _owed: deque[Step] = field(default_factory=lambda: deque(maxlen=_OWED))
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _running: bool = False
    _verified: bool = False

    async def verify(self) -> None:
        """Check the store's settings and its data. Raises `LedgerUnfit`, `LedgerUnavailable`."""
        timeout_s = max(_PROBE_TIMEOUT_S, self.timeout_s)
        async with connect(self.url, timeout_s) as client:
            with translated(self.url):
                async with asyncio.timeout(timeout_s):
                    reason = await unfit(client)
                    if reason is not None:
                        raise LedgerUnfit(reason)
                    await ask(client, self, [])
        self._verified = True

    async def do(self, step: Step) -> list[Any]:
        """Return the answer to *step*. Raises `LedgerUnavailable`."""
        if self.gone is not None:
            if step.owed:
                self._owed.append(step)
            raise self.gone
        step.future = asyncio.get_running_loop().create_future()
        self._queue(step)
        future = step.future
        try:
            return await future
        except asyncio.CancelledError:
            # The answer may be there and yet unread: the wait was cancelled just before.
            if future.done() and not future.cancelled() and future.exception() is None:
                self._undo(step, future.result())
            raise

    def post(self, step: Step) -> None:
        """Have an owed *step* done, for which nobody waits."""
        if self.gone is not None:
            self._owed.append(step)
        else:
            self._queue(step)

    def _queue(self, step: Step) -> None:
        self._waiting.append(step)
        if not self._running:
            self._running = True
            self._spawn(self._run())

    async def close(self) -> None:
        """Tell what is owed if the store answers, and hang up."""
        if (self._owed or self._running) and self.gone is None:
            with contextlib.suppress(LedgerUnavailable):
                await self.do(Step("sweep", {}))
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._hang_up()

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self) -> None:
        """Call until nothing waits."""
        try:
            while self._waiting and self.gone is None:
                batch = [self._owed.popleft() for _ in range(min(len(self._owed), _TOGETHER))]
                while self._waiting and len(batch) < _TOGETHER:
                    batch.append(self._waiting.popleft())
                try:
                    answers = await self._call(batch)
                except LedgerUnavailable as error:
                    self._lose(error, batch)
                except BaseException:
                    self._lose(LedgerUnavailable("the call to the ledger was ended"), batch)
                    raise
                else:
                    self._deliver(batch, answers)
        finally:
            self._running = False

    async def _call(self, batch: Sequence[Step]) -> list[list[Any]]:
        if self._client is None:
            self._client = connect(self.url, None)
        call = asyncio.ensure_future(ask(self._client, self, batch))
        try:
            # Not `asyncio.timeout`: where the event loop itself was busy for that long, the answer
            # is there when the time is up, and a moment later it is read.
            for timeout_s in (self.timeout_s, _GRACE_S):
                await asyncio.wait([call], timeout=timeout_s)
        finally:
            call.cancel()
        with translated(self.url):
            if not call.done():
                raise TimeoutError
            return call.result()

    def _deliver(self, batch: Sequence[Step], answers: Sequence[list[Any]]) -> None:
        for step, answer in zip(batch, answers, strict=True):
            if step.future is not None and not step.future.done():
                step.future.set_result(answer)
            else:
                self._undo(step, answer)

    def _undo(self, step: Step, answer: Sequence[Any]) -> None:
        """Take back what was granted to nobody; with the next call, or with the hold's end."""
        if step.name == "settle" and answer[0] == "ok":
            if step.told is not None:
                step.told(answer[1])
            else:
                self.late += answer[1]
        if step.undo is not None and answer[0] == "ok":
            self._owed.append(step.undo)

    def _lose(self, error: LedgerUnavailable, batch: Sequence[Step]) -> None:
        """Refuse whoever waits, keep what is owed, and look for the store from now on."""
        waiting = [*batch, *self._waiting]
        self._waiting.clear()
        for step in waiting:
            future, step.future = step.future, None
            if step.owed:
                self._owed.append(step)
            elif step.undo is not None and step in batch:  # it may have been done
                self._owed.append(step.undo)
            if future is not None and not future.done():
                future.set_exception(error)
        self.gone = error
        log.warning("%s; %d outcomes wait", error.reason, len(self._owed))
        self._spawn(self._probe())

    async def _probe(self) -> None:
        """Wait until the store answers, with settings and data that can be relied on."""
        await self._hang_up()
        pauses: Iterator[float] = iter(_PROBE_AFTER_S)
        while True:
            await asyncio.sleep(next(pauses, _PROBE_AFTER_S[-1]))
            try:
                await self.verify()
            except LedgerUnavailable as error:
                if error.reason != (self.gone.reason if self.gone else ""):
                    log.warning("%s", error.reason)
                self.gone = error
            else:
                break
        log.warning("the ledger is back; %d outcomes wait", len(self._owed))
        self.gone = None
        while self._owed and self.gone is None:
            with contextlib.suppress(LedgerUnavailable):
                self.late += (await self.do(Step("sweep", {})))[1]  # what is owed goes first

    async def _hang_up(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                await client.aclose()


def connect(url: str, timeout_s: float | None) -> Redis:
    """Return a client that neither retries nor waits for longer than *timeout_s*, if given."""
    client: Redis = Redis.from_url(
        url,
        decode_responses=True,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
    )
    return client


@contextlib.contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn what a client raises into `LedgerUnavailable`, without the URL's credentials."""
    place = urlsplit(url)
    where = f"the ledger on {place.hostname}:{place.port or 6379}"
    try:
        yield
    except TimeoutError:
        raise LedgerUnavailable(f"{where} did not answer in time") from None
    except (RedisError, OSError) as error:
        # The text of a connection error may hold the address, never the password.
        raise LedgerUnavailable(f"{where} does not answer ({type(error).__name__})") from None


@functools.cache
def _sha() -> str:
    return hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


async def ask(
    client: Redis, line: Line, batch: Sequence[Step], *, mend: bool = False
) -> list[list[Any]]:
    """Run the script for *batch* and return one answer per step.

    Raises:
        LedgerUnfit: the store lost data, and *mend* was not asked for.
        RedisError, OSError: it did not answer, or not with an answer.
    """
    question: dict[str, Any] = {
        "epoch": line.epochs.current,
        "left": line.epochs.left,
        "seen": str(line.epochs.seen),
        "fresh": secrets.token_hex(8),
        "mend": mend,
        "steps": [[step.name, step.fields] for step in batch],
    }
    if line.wall_us is not None:
        question["wall"] = str(line.wall_us())
    text = json.dumps(question)
    try:
        raw = await client.evalsha(_sha(), 1, line.prefix, text)
    except NoScriptError:
        raw = await client.eval(_SCRIPT, 1, line.prefix, text)
    reply = json.loads(raw)
    if "lost" in reply:
        raise LedgerUnfit(f"{_LOST[reply['lost']]}; {_ACCEPT}")
    line.epochs.note(reply["epoch"], int(reply["seq"]))
    return [list(answer) for answer in reply["answers"]]
