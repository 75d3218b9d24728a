"""One emulated provider at work: key, request, limits, fault, vectors, bill, reply."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import orjson

from . import tokens
from .damage import damage_body, damage_list, damage_rows, damage_usage, write_rows
from .delivery import lose, send
from .emulators.base import Answer, Asked, Emulator, Refusal, Refused, Reply
from .faults import Fault, Faults, Stage
from .http1 import Exchange, Listener, Request
from .journal import Entry, Journal, small
from .quota import Quota
from .refusals import refuse
from .texts import Text, Texts, write

__all__ = ["Service"]


class Service:
    """A provider behind a port. *elsewhere* returns the address that a redirect leads to."""

    def __init__(self, emulator: Emulator, texts: Texts, elsewhere: Callable[[], str]) -> None:
        self.emulator = emulator
        self.name = emulator.name
        self.faults = Faults(indexed=emulator.indexed)
        self.journal = Journal(self.name)
        self.quota = Quota(emulator.price, emulator.max_concurrent)
        self.listener = Listener(self)
        self.key_needed = emulator.key_env is not None
        self.key = f"sandbox-{self.name}-key"
        self.internal_errors = 0
        self._texts = texts
        self._elsewhere = elsewhere
        self._under_way = 0

    @property
    def base(self) -> str:
        """What a configuration calls api_base."""
        return f"http://127.0.0.1:{self.listener.port}{self.emulator.prefix}"

    def set(self, name: str, value: Any) -> None:
        """Change a limit or a switch of the server. Raises ValueError for an unknown one."""
        if name == "key_needed":
            self.key_needed = bool(value)
        elif name in self.emulator.set:
            self.emulator.set[name] = value
        elif not self.quota.set(name, value):
            known = ["key_needed", "price", "credit_usd", "concurrent", "requests_per_minute"]
            known += ["tokens_per_minute", *self.emulator.set]
            raise ValueError(f"{self.name}: unknown setting {name!r}; known: {', '.join(known)}")

    # -- http1.Handler

    def reads(self) -> bool:
        """Return False if the request that begins now meets a fault that reads nothing."""
        fault = self.faults.strike(probe=False, unread=True)
        if fault is None:
            return True
        self.journal.open(time.time()).fault = fault.kind
        return False

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request, or do to it what a fault demands."""
        request = exchange.request
        probe = not self._embeds(request)
        fault = self.faults.strike(probe=probe)
        entry = self.journal.open(time.time())
        entry.method, entry.path = request.method, request.path
        entry.authorization = "authorization" in request.headers
        entry.fault = fault.kind if fault is not None else None
        self._under_way += 1
        try:
            reply = await self._reply(request, entry, fault, probe=probe)
            if reply is None:
                assert fault is not None
                await lose(exchange, fault)
                return
            entry.status = reply.status
            entry.answered = await send(exchange, reply, fault)
        except ConnectionError:
            pass  # the client left; the journal has what matters
        except Exception:
            self.internal_errors += 1
            traceback.print_exc(file=sys.stderr)
            with contextlib.suppress(ConnectionError):
                await send(exchange, Reply(500, b'"the emulator has a bug"'), None)
        finally:
            self._under_way -= 1

    def _embeds(self, request: Request) -> bool:
        return request.method == "POST" and self._path(request) in self.emulator.paths

    def _path(self, request: Request) -> str:
        return self.emulator.route(request.path)

    async def _reply(
        self, request: Request, entry: Entry, fault: Fault | None, *, probe: bool
    ) -> Reply | None:
        """Return the reply, or None where the network loses it."""
        work: Asked | Refused
        texts: list[Text] = []
        try:
            self._unlock(request, entry)
            if probe:
                work = Refused(Refusal.ROUTE, request.path)
            else:
                work, texts = self._understand(request, entry)
        except Refused as error:
            work = error
        if fault is not None and fault.stage in (Stage.REFUSAL, Stage.LOST):
            if fault.billed and isinstance(work, Asked):
                self._bill(entry, entry.tokens)
            if fault.stage is Stage.LOST:
                return None
            return refuse(self.emulator, fault, self._path(request), self._elsewhere())
        try:
            reply = await self._good(request, work, texts, entry, fault)
        except Refused as error:
            reply = self.emulator.refusal(error.why, error.detail, path=self._path(request))
        left = {**self.quota.left(), "call": entry.number, "tokens": entry.tokens}
        reply.headers = {**self.emulator.headers(left), **reply.headers}
        if fault is not None and fault.stage is Stage.BODY:
            # In a thread: the checksum of a bomb takes long enough to be noticed elsewhere.
            reply = await asyncio.to_thread(damage_body, reply, fault)
        return reply

    async def _good(
        self,
        request: Request,
        work: Asked | Refused,
        texts: list[Text],
        entry: Entry,
        fault: Fault | None,
    ) -> Reply:
        if isinstance(work, Refused):
            if work.why is Refusal.ROUTE:
                answered = self.emulator.probe(request)
                if answered is not None:
                    return answered
            raise work
        limited = self._limited(entry)
        if limited is not None:
            return limited
        answer = await self._answer(work, texts, entry, fault)
        return Reply(200, self.emulator.render(answer))

    # -- one step each

    def _unlock(self, request: Request, entry: Entry) -> None:
        """Check the key. Raises Refused."""
        if not self.key_needed:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if not given or scheme.lower() != "bearer":
            entry.key = "missing"
            if self.emulator.probe_is_open(request):
                return
            raise Refused(Refusal.NO_KEY)
        key, dot, account = given.strip().partition(".")
        if key != self.key or (dot and not account):
            entry.key = "wrong"
            raise Refused(Refusal.WRONG_KEY)
        entry.key, entry.account = "valid", account

    def _understand(self, request: Request, entry: Entry) -> tuple[Asked, list[Text]]:
        """Read the body. Raises Refused."""
        try:
            body = orjson.loads(request.body)
        except orjson.JSONDecodeError:
            raise Refused(Refusal.JSON) from None
        if not isinstance(body, dict):
            raise Refused(Refusal.JSON)
        entry.fields = small(body)
        asked = self.emulator.read(self._path(request), body)
        texts = self._texts.of(asked.texts)
        entry.inputs = len(texts)
        entry.sha256 = [text.sha256 for text in texts]
        counts = [text.tokens for text in texts]
        self.emulator.fit(asked, counts)
        if asked.cut_at is not None:
            texts = self._cut(texts, asked.cut_at)
            counts = [text.tokens for text in texts]
        entry.tokens = sum(counts)
        return asked, texts

    def _cut(self, texts: list[Text], limit: int) -> list[Text]:
        read = [t.text if t.tokens <= limit else tokens.truncate(t.text, limit) for t in texts]
        return self._texts.of(read)

    def _limited(self, entry: Entry) -> Reply | None:
        quota = self.quota
        if quota.concurrent is not None and self._under_way > quota.concurrent:
            raise Refused(self.emulator.overflow)
        if quota.credit_nano_usd is not None and quota.credit_nano_usd <= 0:
            raise Refused(Refusal.PAYMENT)
        wait_s = quota.wait_s(entry.tokens)
        return self.emulator.rate_limited(429, wait_s, None) if wait_s else None

    async def _answer(
        self, asked: Asked, texts: list[Text], entry: Entry, fault: Fault | None
    ) -> Answer:
        """Make the vectors and the bill, damaged as *fault* says."""
        kind = fault.kind if fault is not None else ""
        stage = fault.stage if fault is not None else None
        form = asked.form
        if fault is not None and stage is Stage.MODEL:
            if kind == "silent_truncation":
                texts = self._cut(texts, fault["limit"])
                entry.tokens = sum(text.tokens for text in texts)
            elif kind == "prefix_order":
                texts = self._texts.of([_turned(text.text) for text in texts])
            else:
                form = form._replace(seed=fault["seed"])
        if fault is not None and stage in (Stage.ROWS, Stage.TEXT) and texts:
            rows = await self._texts.rows(texts, form)
            if stage is Stage.ROWS:
                rows = damage_rows(rows, [text.text for text in texts], fault)
                pieces = [write(row, form.written) for row in rows]
            else:
                pieces = write_rows(rows, form.written, fault)
        else:
            pieces = await self._texts.pieces(texts, form)
        if kind == "missing_end_token":
            entry.tokens -= len(texts)
        billed = entry.tokens
        if fault is not None and kind == "usage_inflated":
            billed = round(billed * fault["factor"])
        cost = self._bill(entry, billed) if fault is None or fault.billed else Decimal(0)
        usage = self.emulator.usage(asked, entry.tokens, cost)
        answer = Answer(asked, pieces, list(range(len(pieces))), entry.tokens, usage, cost)
        if fault is not None and stage is Stage.SHAPE:
            damage_list(answer, fault)
        elif fault is not None and stage is Stage.USAGE:
            damage_usage(answer, fault)
        return answer

    def _bill(self, entry: Entry, count: int) -> Decimal:
        nano_usd = self.quota.cost_nano_usd(count)
        self.journal.bill(entry, count, nano_usd)
        if self.quota.credit_nano_usd is not None:
            self.quota.credit_nano_usd -= nano_usd
        return Decimal(nano_usd).scaleb(-9)

    def state(self) -> Mapping[str, Any]:
        """Return what a person wants to see of this provider."""
        return {
            "base": self.base,
            "up": self.listener.is_open,
            "faults": self.faults.describe(),
            "internal_errors": self.internal_errors,
            **self.journal.totals(),
        }


def _turned(text: str) -> str:
    """Return a query with the question before the instruction, and any other text as it is."""
    instruction, found, question = text.partition("\nQuery:")
    return f"Query:{question}\n{instruction}" if found else text
