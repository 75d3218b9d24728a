"""One request as LiteLLM's embeddings endpoint handles it, in two halves that may be called apart.

The fast path lets LiteLLM check its limits before a request is served (`check`), and lets it count,
price and log the request once it was answered (`account`): through the same functions as its own
endpoint, whose Router is then told by our callbacks what has happened already.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

from plugins._asgi import Message, Scope

__all__ = ["Handled", "told_at"]

_ROUTE = "aembedding"


class Handled:
    """LiteLLM's handling of the request *body* in *scope*, which *identity* sent."""

    def __init__(self, scope: Scope, body: dict[str, Any], identity: Any) -> None:
        module = importlib.import_module("litellm.proxy.common_request_processing")
        fastapi = importlib.import_module("fastapi")
        self._identity = identity
        self._request = fastapi.Request(scope, receive=_nothing_more)
        self._response = fastapi.Response()
        self._processing = module.ProxyBaseLLMRequestProcessing(data=dict(body))
        self._checked = False

    async def check(self) -> None:
        """Apply LiteLLM's limits and call its callbacks' pre-call hooks, ours among them.

        Raises: whatever they raise, after LiteLLM has told everybody that the request has failed.
        """
        proxy = importlib.import_module("litellm.proxy.proxy_server")
        try:
            data, _ = await self._processing.common_processing_pre_call_logic(
                request=self._request,
                general_settings=proxy.general_settings,
                user_api_key_dict=self._identity,
                proxy_logging_obj=proxy.proxy_logging_obj,
                proxy_config=proxy.proxy_config,
                route_type=_ROUTE,
                version=proxy.version,
                llm_router=proxy.llm_router,
            )
        except Exception as error:
            await self._failed(proxy, error)
            raise
        self._processing.data = data
        self._checked = True

    async def account(self) -> None:
        """Let LiteLLM count, price and log the request."""
        proxy = importlib.import_module("litellm.proxy.proxy_server")
        try:
            await self._processing.base_process_llm_request(
                request=self._request,
                fastapi_response=self._response,
                user_api_key_dict=self._identity,
                route_type=_ROUTE,
                proxy_logging_obj=proxy.proxy_logging_obj,
                general_settings=proxy.general_settings,
                proxy_config=proxy.proxy_config,
                llm_router=proxy.llm_router,
                version=proxy.version,
                skip_pre_call_logic=self._checked,
            )
        except Exception as error:
            await self._failed(proxy, error)

    async def _failed(self, proxy: Any, error: Exception) -> None:
        # It calls everybody's failure hook, and then raises the error that a client would get.
        with contextlib.suppress(Exception):
            await self._processing.handle_llm_api_exception(
                e=error,
                user_api_key_dict=self._identity,
                proxy_logging_obj=proxy.proxy_logging_obj,
                version=proxy.version,
            )


async def _nothing_more() -> Message:
    return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]


def told_at(logging: Any, began: datetime, ended: datetime) -> None:
    """Have LiteLLM's *logging* object of one call tell these times, which are over by now."""
    for name, position in _TOLD.items():
        setattr(logging, name, _at(getattr(logging, name), position, began, ended))


# The methods that tell a call's outcome, and where their two times stand if they are not named.
_TOLD = {
    "async_success_handler": 1,
    "handle_sync_success_callbacks_for_async_calls": 1,
    "failure_handler": 2,
    "async_failure_handler": 2,
}


def _at(method: Callable[..., Any], position: int, began: datetime, ended: datetime) -> Any:
    @functools.wraps(method)
    def told(*args: Any, **named: Any) -> Any:
        named.pop("start_time", None)
        named.pop("end_time", None)
        rest = args[position + 2 :]
        return method(*args[:position], *rest, **named, start_time=began, end_time=ended)

    return told
