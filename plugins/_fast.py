"""The fast path: one request to our groups, answered without LiteLLM's routes and Router.

Who asks, the checks, the plan, the pick, the attempts and the bytes are the same functions as on
LiteLLM's path; what is left out is what LiteLLM does around them for every request and number. It
runs inside LiteLLM's middlewares, so that those see every request, count it and add their headers.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Protocol

import orjson

from plugins import _reply
from plugins._asgi import App, Scope, Send
from plugins._consumer import consumer_of
from plugins._errors import ClientError, ProviderFault, TurnedDown, Unavailable
from plugins._exchange import Exchange
from plugins._middlewares import SHORT
from plugins._plan import Plan
from plugins._pool import Candidate
from plugins._runtime import Runtime
from plugins._story import Step, Story
from router_config import Group

__all__ = ["CACHE_HEADER", "PATH_HEADER", "Books", "Fast", "LiteLLM", "NotAdmitted"]

CACHE_HEADER = "x-router-cache"
PATH_HEADER = "x-router-path"
_CALL_ID = "x-litellm-call-id"
_BOOKS_AT_ONCE = 8
_MOST_BEHIND = 1000
_SAY_EVERY_S = 10.0

log = logging.getLogger("qwen3_router")


class NotAdmitted(Exception):  # an answer, not a fault
    """LiteLLM's own refusal of whoever asks, before the request was looked at."""

    def __init__(self, status: int, headers: dict[str, str], kind: str) -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers
        self.kind = kind


class Books(Protocol):
    """One request in LiteLLM's books: `plugins._side.Books`."""

    limited: bool

    async def check(self) -> None:
        """Apply LiteLLM's limits, and admit the request by our hook. Raises: NotAdmitted."""

    async def account(self) -> None:
        """Let LiteLLM count, price and log the request. Must not raise."""


class LiteLLM(Protocol):
    """What the fast path needs of LiteLLM: `plugins._side.Side`."""

    def covers(self, runtime: Runtime) -> bool:
        """Tell whether nothing in LiteLLM has to see a request before it is answered."""

    def way(self, headers: dict[str, str]) -> App | None:
        """Return the short way through LiteLLM's middlewares for a request with *headers*."""

    def reply_headers_of_middlewares(self) -> dict[str, str]:
        """Return what a middleware that is left out on the short way would have put on a reply."""

    def is_admin(self, headers: dict[str, str]) -> bool:
        """Tell whether the request carries the proxy's master key."""

    async def identify(self, headers: dict[str, str], scope: Scope, body: dict[str, Any]) -> Any:
        """Return LiteLLM's identity of whoever sends *body*. Raises: NotAdmitted."""

    def books(self, scope: Scope, body: dict[str, Any], identity: Any) -> Books | None:
        """Return LiteLLM's books on the request, or None if nobody wants to know of it."""

    def reply_headers(
        self, identity: Any, headers: dict[str, str], served_by: Candidate, plan: Plan, ms: float
    ) -> dict[str, str]:
        """Return the `x-litellm-*` headers of a reply."""


class Fast:
    """The fast path of one process over *litellm*."""

    def __init__(self, litellm: LiteLLM) -> None:
        self._litellm = litellm
        self._behind = 0
        self._said_at = -_SAY_EVERY_S
        self._turns = asyncio.Semaphore(_BOOKS_AT_ONCE)

    def takes(self, runtime: Runtime, exchange: Exchange, headers: dict[str, str]) -> bool:
        """Tell whether everything that this request needs is covered here."""
        if not exchange.snapshot.config.gateway.enabled or not self._litellm.covers(runtime):
            return False
        if headers.get(PATH_HEADER) == "litellm" and self._litellm.is_admin(headers):
            return False
        return exchange.snapshot.serves_alone(_group(exchange))

    def way(self, headers: dict[str, str]) -> App | None:
        """Return the short way through LiteLLM's middlewares, if this request may take it."""
        return self._litellm.way(headers)

    async def serve(
        self,
        runtime: Runtime,
        exchange: Exchange,
        headers: dict[str, str],
        body: dict[str, Any],
        scope: Scope,
        send: Send,
    ) -> None:
        """Answer the request; an error is noted in *exchange*, for the front door to tell."""
        books = None
        if not headers.get(_CALL_ID):  # one id in the reply and in what LiteLLM is told
            headers[_CALL_ID] = str(uuid.uuid4())
            scope["headers"] = [*scope["headers"], (_CALL_ID.encode(), headers[_CALL_ID].encode())]
        try:
            identity = await self._litellm.identify(headers, scope, body)
            books = self._litellm.books(scope, body, identity)
            answer = await self._answer(runtime, exchange, headers, identity, books)
        except NotAdmitted as no:
            answer = no.status, no.headers, orjson.dumps({"error": {"type": no.kind}})
        except (ClientError, Unavailable) as error:
            exchange.entered = True
            exchange.error = error
            answer = error.status, {}, b""
        exchange.replied = answer[0] == 200
        if SHORT in scope:
            answer[1].update(self._litellm.reply_headers_of_middlewares())
        await self._tell(exchange, books, functools.partial(_send, send, *answer))

    async def _answer(
        self,
        runtime: Runtime,
        exchange: Exchange,
        headers: dict[str, str],
        identity: Any,
        books: Books | None,
    ) -> tuple[int, dict[str, str], bytes]:
        if isinstance(exchange.error, ClientError):
            raise exchange.error
        if books is not None and books.limited:
            await books.check()
        plan = exchange.plan
        if plan is None:
            plan = await runtime.admit(exchange, _group(exchange), consumer_of(identity, runtime))
        exchange.story = story = Story()
        share = runtime.share(plan, _group(exchange))
        if share is None:
            await _fill(runtime, plan, story)
            reply = await _reply.ready(plan)
        else:
            await share.complete(lambda: _fill(runtime, plan, story), lambda: exchange.left)
            reply = await _reply.ready(plan, share.keep_printed)
            exchange.cache_hits = share.hits()
        last = _last(exchange, plan)
        story.complete(last)
        ms = (runtime.clock() - exchange.received_at) * 1000
        found = {
            **self._litellm.reply_headers(identity, headers, last, plan, ms),
            **_reply.headers(plan),
            **({CACHE_HEADER: share.header()} if share is not None else {}),
            "content-length": str(len(reply)),
            "content-type": "application/json",
        }
        return 200, found, reply

    async def _tell(
        self, exchange: Exchange, books: Books | None, send: Callable[[], Awaitable[None]]
    ) -> None:
        """Reply, and then have LiteLLM's books kept while the client has its answer already.

        It happens inside the request, so the process does not end before it is done. Who is too far
        behind keeps the books first, which holds up those who ask.
        """
        if books is None:
            return await send()
        if self._behind >= _MOST_BEHIND:
            self._say_behind()
            await books.account()
            return await send()
        self._behind += 1
        try:
            if exchange.replied:
                await send()
            if exchange.plan is not None:
                exchange.plan.forget_vectors()
            if exchange.visit is not None:
                exchange.visit.leave()  # others may be served meanwhile
                exchange.visit = None
            async with self._turns:
                await books.account()
        finally:
            self._behind -= 1
        if not exchange.replied:
            await send()

    def _say_behind(self) -> None:
        now = time.monotonic()
        if now - self._said_at >= _SAY_EVERY_S:
            self._said_at = now
            log.warning("LiteLLM's books are %d requests behind; replies wait", self._behind)


def _group(exchange: Exchange) -> Group:
    """Return the group that is asked, or any for a request that is refused anyway."""
    asked, snapshot = exchange.asked, exchange.snapshot
    group = snapshot.group_of(asked.group) if asked is not None else None
    return group if group is not None else next(iter(snapshot.config.groups.values()))


def _last(exchange: Exchange, plan: Plan) -> Candidate:
    """Return who served *plan* last; of vectors that were known, it may be in the file no more."""
    return exchange.snapshot.candidate(plan.served_by[-1]) or plan.groups[0][0]


async def _fill(runtime: Runtime, plan: Plan, story: Story) -> None:
    """Try one deployment after the other until *plan* misses nothing.

    Raises: Unavailable when it has to end before.
    """
    while (candidate := runtime.next(plan)) is not None:
        began = datetime.now()
        completed = False
        try:
            await runtime.serve(plan, candidate)
            completed = True
            return
        except (ProviderFault, TurnedDown):
            continue
        finally:
            story.steps.append(Step(candidate, began, datetime.now(), completed))
    raise plan.failure(runtime.clock())


async def _send(send: Send, status: int, headers: dict[str, str], body: bytes) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
