"""The fast path: one request to our groups, answered without LiteLLM's routes and Router.

Who asks, the checks, the plan, the pick, the attempts and the bytes are the same functions as on
LiteLLM's path; what is left out is what LiteLLM does around them for every request and number. It
runs inside LiteLLM's middlewares, so that those see every request, count it and add their headers.
"""

from __future__ import annotations

from typing import Any, Protocol

import orjson

from plugins import _reply
from plugins._asgi import Scope, Send
from plugins._consumer import consumer_of
from plugins._errors import ClientError, ProviderFault, TurnedDown, Unavailable
from plugins._exchange import Exchange
from plugins._plan import Plan
from plugins._pool import Candidate
from plugins._runtime import Runtime
from router_config import Group

__all__ = ["CACHE_HEADER", "PATH_HEADER", "Fast", "LiteLLM", "NotAdmitted"]

CACHE_HEADER = "x-router-cache"
PATH_HEADER = "x-router-path"


class NotAdmitted(Exception):  # an answer, not a fault
    """LiteLLM's own refusal of whoever asks, before the request was looked at."""

    def __init__(self, status: int, headers: dict[str, str], kind: str) -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers
        self.kind = kind


class LiteLLM(Protocol):
    """What the fast path needs of LiteLLM: `plugins._side.Side`."""

    def covers(self, runtime: Runtime) -> bool:
        """Tell whether nothing in LiteLLM has to see a request before it is answered."""

    def is_admin(self, headers: dict[str, str]) -> bool:
        """Tell whether the request carries the proxy's master key."""

    async def identify(self, headers: dict[str, str], scope: Scope, body: dict[str, Any]) -> Any:
        """Return LiteLLM's identity of whoever sends *body*. Raises: NotAdmitted."""

    def reply_headers(
        self, identity: Any, headers: dict[str, str], served_by: Candidate, plan: Plan, ms: float
    ) -> dict[str, str]:
        """Return the `x-litellm-*` headers of a reply."""


class Fast:
    """The fast path of one process over *litellm*."""

    def __init__(self, litellm: LiteLLM) -> None:
        self._litellm = litellm

    def takes(self, runtime: Runtime, exchange: Exchange, headers: dict[str, str]) -> bool:
        """Tell whether everything that this request needs is covered here."""
        if not exchange.snapshot.config.gateway.enabled or not self._litellm.covers(runtime):
            return False
        if headers.get(PATH_HEADER) == "litellm" and self._litellm.is_admin(headers):
            return False
        return exchange.snapshot.serves_alone(_group(exchange))

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
        try:
            identity = await self._litellm.identify(headers, scope, body)
        except NotAdmitted as no:
            await _send(send, no.status, no.headers, orjson.dumps({"error": {"type": no.kind}}))
            return
        try:
            if isinstance(exchange.error, ClientError):
                raise exchange.error
            plan = await runtime.admit(exchange, _group(exchange), consumer_of(identity))
            share = runtime.sharing.of(plan, _group(exchange), _revision(exchange))
            if share is None:
                await _fill(runtime, plan)
                reply = await _reply.ready(plan)
            else:
                await share.complete(lambda: _fill(runtime, plan), lambda: exchange.left)
                reply = await _reply.ready(plan, share.keep_printed)
                exchange.cache_hits = share.hits()
        except (ClientError, Unavailable) as error:
            exchange.entered = True
            exchange.error = error
            await _send(send, error.status, {}, b"")
            return
        ms = (runtime.clock() - exchange.received_at) * 1000
        found = {
            **self._litellm.reply_headers(identity, headers, _last(exchange, plan), plan, ms),
            **_reply.headers(plan),
            **({CACHE_HEADER: share.header()} if share is not None else {}),
            "content-length": str(len(reply)),
            "content-type": "application/json",
        }
        exchange.replied = True
        await _send(send, 200, found, reply)


def _group(exchange: Exchange) -> Group:
    """Return the group that is asked, or any for a request that is refused anyway."""
    asked, snapshot = exchange.asked, exchange.snapshot
    group = snapshot.group_of(asked.group) if asked is not None else None
    return group if group is not None else next(iter(snapshot.config.groups.values()))


def _revision(exchange: Exchange) -> int:
    return exchange.snapshot.revisions.get(_group(exchange).name, 1)


def _last(exchange: Exchange, plan: Plan) -> Candidate:
    """Return who served *plan* last; of vectors that were known, it may be in the file no more."""
    return exchange.snapshot.candidate(plan.served_by[-1]) or plan.groups[0][0]


async def _fill(runtime: Runtime, plan: Plan) -> None:
    """Try one deployment after the other until *plan* misses nothing.

    Raises: Unavailable when it has to end before.
    """
    while (candidate := runtime.next(plan)) is not None:
        try:
            await runtime.serve(plan, candidate)
        except (ProviderFault, TurnedDown):
            continue
        return
    raise plan.failure(runtime.clock())


async def _send(send: Send, status: int, headers: dict[str, str], body: bytes) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
