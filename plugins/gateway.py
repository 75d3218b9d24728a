"""LiteLLM callback and ASGI application: the way into the router and out of it.

As a callback (`handler`) it admits requests to our groups, leads LiteLLM's Router to the one
deployment that our pick chose, and turns what is left over into our errors. Loading it puts the
front door (`_door`) around LiteLLM's application; `app` is the same door for an ASGI server.
"""

from __future__ import annotations

import contextlib
import gc
import logging
from collections.abc import AsyncIterator
from typing import Any

import litellm
from fastapi import HTTPException
from litellm.integrations.custom_logger import CustomLogger

from plugins import _lead, _litellm, _memory, _runtime, budget, keys, status
from plugins._asgi import Message, Receive, Scope, Send
from plugins._door import Door
from plugins._errors import TurnedDown
from plugins._fast import Fast
from plugins._foreign import translate
from plugins._litellm_names import check_release
from plugins._ready import Ready
from plugins._routes import Routes
from plugins._side import Side
from plugins._snapshot import Snapshot
from router_config import ConfigError

__all__ = ["Gateway", "app", "handler"]

log = logging.getLogger("qwen3_router")


class Gateway(CustomLogger):  # type: ignore[misc]  # LiteLLM ships no types
    """Admission, the pick and our errors, as LiteLLM hooks."""

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> dict[str, Any] | None:
        """Admit an embeddings request to one of our groups; leave every other alone."""
        if budget.handler not in litellm.callbacks:
            litellm.callbacks.append(budget.handler)
        return await _lead.enter(user_api_key_dict, data, call_type)

    async def async_filter_deployments(
        self,
        model: str,
        healthy_deployments: list[dict[str, Any]],
        messages: Any,
        request_kwargs: dict[str, Any] | None = None,
        parent_otel_span: Any = None,
    ) -> list[dict[str, Any]]:
        """Return exactly the deployment that our pick chose."""
        exchange = _lead.exchange_of(request_kwargs)
        if exchange is None or exchange.plan is None:
            return _lead.strangers(model, healthy_deployments)
        if exchange.story is not None:
            (request_kwargs or {}).pop("_target_order", None)
            return _lead.retell(exchange, exchange.story, model, healthy_deployments)
        runtime = _runtime.current()
        await budget.handler.lost(exchange)
        while (chosen := runtime.next(exchange.plan)) is not None:
            (request_kwargs or {}).pop("_target_order", None)
            found = [one for one in healthy_deployments if one["model_info"]["id"] == chosen.id]
            if not found and exchange.plan.is_behind(chosen, model):
                # In another group (a fallback): LiteLLM walks there when this level ends, and it
                # does not retry a level, nor wait, after a 404.
                raise _lead.move_on(model)
            if not found and chosen.id in exchange.snapshot.litellm:
                # A reload took it out, but this request began before that.
                found = [exchange.snapshot.litellm[chosen.id]]
            if not found:
                filtered = TurnedDown("filtered", "left out by a callback of LiteLLM's")
                exchange.plan.turn_down(chosen, filtered, made_calls=True)
                continue
            # LiteLLM makes the call of a plain deployment; ours begin in the provider.
            if chosen.endpoint.target is not None or await budget.handler.hold(exchange, chosen):
                return found
            if exchange.error is not None:
                break
        raise _lead.stop(exchange)

    async def async_post_call_failure_hook(
        self,
        request_data: dict[str, Any],
        original_exception: Exception,
        user_api_key_dict: Any,
        traceback_str: str | None = None,
    ) -> HTTPException | None:
        """Replace whatever ended a request of ours with our error."""
        exchange = _lead.exchange_of(request_data)
        if exchange is None or exchange.plan is None:
            return None
        runtime = _runtime.current()
        await budget.handler.lost(exchange)
        if exchange.error is None:
            status = getattr(original_exception, "status_code", 500)
            # Before the pick: one of LiteLLM's own limits, or the refusal of somebody's callback.
            refused = isinstance(original_exception, HTTPException) and 400 <= status < 500
            if exchange.plan.rounds == 0 and (refused or status == 429):
                headers = getattr(original_exception, "headers", None) or {}
                exchange.error = translate(status, headers, b"", decided=True)
            else:
                exchange.error = exchange.plan.failure(runtime.clock())
        if not exchange.door:
            runtime.exchanges.close(exchange)
        return _lead.http_exception(exchange.error)


class _FrontDoor(Door):
    def __init__(self, inner: Any) -> None:
        pages = Routes(Ready(inner, _runtime.current), status.app, status.PAGES)
        super().__init__(pages, _runtime.current, _litellm.knows_model, Fast(Side(keys.identify)))
        _lead.door_is_there()
        _litellm.keep_credentials(_lead.withheld)


class _App:
    """The composed form, for ASGI servers: LiteLLM with the door, and a clean stop."""

    def __init__(self) -> None:
        self._door: _FrontDoor | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from litellm.proxy.proxy_server import app as inner

        if scope["type"] != "lifespan":
            if self._door is None:
                self._door = _FrontDoor(inner)
            await self._door(scope, receive, send)
            return
        # An ASGI server imports this module before LiteLLM knows its config file, so the start
        # that the callback form makes at import is made here.
        try:
            _start()
        except (_runtime.StartError, ConfigError) as error:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        stack = contextlib.AsyncExitStack()

        async def started(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                await stack.enter_async_context(_life())
            await send(message)

        async def stopping() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await stack.aclose()
            return message

        await inner(scope, stopping, started)


@contextlib.asynccontextmanager
async def _life() -> AsyncIterator[None]:
    _runtime.current().begin()
    yield
    await _runtime.current().aclose()


def _start(path: str | None = None) -> _runtime.Runtime:
    runtime = _runtime.start(path)
    if _renew not in runtime.swaps:
        runtime.swaps.append(_renew)
    return runtime


def _renew(old: Snapshot, new: Snapshot) -> None:
    """Put LiteLLM's Router in step with a reloaded configuration."""
    old.litellm = _litellm.served()
    _litellm.renew(old.config.raw, new.config.raw)


def _install() -> Gateway:
    """Start the runtime and put the door in place; runs while LiteLLM loads its callbacks."""
    warning = check_release()
    if warning:
        log.warning("%s", warning)
    path = _litellm.config_path()
    if path is not None:
        runtime = _start(path)
        _litellm.wrap_app(_FrontDoor)
        runtime.begin()  # LiteLLM loads callbacks inside the event loop that will serve
    # LiteLLM's 700,000 objects live as long as the process. A full collection that walks through
    # them stops every request for 0.4 s; one that leaves them out takes no time.
    gc.collect()
    gc.freeze()
    _memory.keep_freed()
    return Gateway()


handler = _install()
app = _App()
