"""How LiteLLM is led: admission as its hook calls it, and the exceptions its Router understands.

Tried on the pinned release: after `ServiceUnavailableError` the Router tries the group again at
once, after `NotFoundError` it leaves the group for the next order or fallback without waiting, and
after `HTTPException` 403 it stops (it takes it for a guardrail's word).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

import litellm
from fastapi import HTTPException
from litellm.proxy._types import ProxyException

from plugins import _runtime
from plugins._admission import model_not_found
from plugins._consumer import consumer_of
from plugins._errors import ClientError, Unavailable, error_body, error_headers
from plugins._exchange import ID_HEADER, PLAN_KEY, Exchange
from plugins._litellm_request import told_at
from plugins._story import Story

__all__ = [
    "again",
    "door_is_there",
    "enter",
    "exchange_of",
    "http_exception",
    "move_on",
    "off",
    "proxy_exception",
    "retell",
    "retold",
    "stop",
    "strangers",
    "withheld",
]

log = logging.getLogger("qwen3_router.lead")


_PATH = re.compile(r"/embeddings\s*(?:[?#]|$)|/embeddings%0a", re.IGNORECASE)
_door = False
_TELL_EVERY_S = 10.0  # LiteLLM asks for credentials several times in one request
_told: dict[str, float] = {}  # by model; only ours


def door_is_there() -> None:
    """Note that every embeddings request of this process passes the front door."""
    global _door
    _door = True


async def enter(identity: Any, data: dict[str, Any], call_type: str) -> dict[str, Any] | None:
    """Admit LiteLLM's request *data* if it is for one of our groups; see `Runtime.enter`.

    Raises:
        HTTPException: the request is refused, at no cost.
    """
    if call_type != "aembedding":
        for model in _models_of(data):
            if withheld(model, call_type):
                raise proxy_exception(_only_embeddings(model))
        return None
    request = data.get("proxy_server_request") or {}
    headers = request.get("headers") or {}
    runtime = _runtime.current()
    if _door and _PATH.search(str(request.get("url", ""))):
        passed = exchange_of(data) or runtime.exchanges.get(headers.get(ID_HEADER))
        if passed is None and runtime.group_of(data.get("model")) is not None:
            # A path that LiteLLM routes and the door does not know: none of its checks were made.
            raise http_exception(model_not_found(str(data.get("model"))))
    try:
        await runtime.enter(data, headers, consumer_of(identity, runtime))
    except (ClientError, Unavailable) as error:
        raise http_exception(error) from None
    return data


def withheld(model: object, what: str = "a call of LiteLLM's own") -> bool:
    """Tell whether *model* is ours and therefore not for *what*: only embeddings are paid for."""
    runtime = _runtime.current()
    snapshot = runtime.snapshot
    group = snapshot.group_of(model)
    if group is None and snapshot.candidate(model) is None:
        return False
    name, now = f"{what} to {model if group is None else group.name}", runtime.clock()
    if now - _told.get(name, -_TELL_EVERY_S) >= _TELL_EVERY_S:
        _told[name] = now
        log.warning("refused: %s, which serves embeddings only", name)
    return True


def strangers(model: str, deployments: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those of LiteLLM's *deployments* that may serve a request which we did not admit.

    Ours may not: nobody would hold the money of the call. Raises: what moves the Router on.
    """
    snapshot = _runtime.current().snapshot
    found = [one for one in deployments if snapshot.candidate(one["model_info"]["id"]) is None]
    if deployments and not found:
        log.warning("refused: a request that was not admitted, to %s", model)
        raise move_on(model)
    return found


def _models_of(data: Mapping[str, Any]) -> list[str]:
    """Return the models that a request other than for embeddings names in its body."""
    named = data.get("target_model_names")
    several = named.split(",") if isinstance(named, str) else named or ()
    found = [data.get("model"), *(several if isinstance(several, list | tuple) else ())]
    return [one.strip() for one in found if isinstance(one, str)]


def _only_embeddings(model: str) -> ClientError:
    return ClientError(
        400,
        "invalid_input",
        f"The model {model} serves embeddings only: POST /v1/embeddings.",
        param="model",
    )


def exchange_of(data: Mapping[str, Any] | None) -> Exchange | None:
    """Return the exchange of LiteLLM's request *data*, if it is one of ours."""
    metadata = (data or {}).get("metadata") or {}
    return _runtime.current().exchanges.get(metadata.get(PLAN_KEY))


def again(model: str) -> Exception:
    """Return the exception after which LiteLLM's Router tries the same group again at once."""
    error: Exception = litellm.ServiceUnavailableError(
        message="the attempt failed", model=model, llm_provider="qwen3"
    )
    return error


def move_on(model: str) -> Exception:
    """Return the exception after which LiteLLM's Router leaves this order or group for the next."""
    error: Exception = litellm.NotFoundError(
        message="nobody is left in this group for this request", model=model, llm_provider="qwen3"
    )
    return error


def off(model: str, why: str) -> Exception:
    """Return the exception by which LiteLLM's health check learns that a deployment is off."""
    error: Exception = litellm.ServiceUnavailableError(
        message=why, model=model, llm_provider="qwen3"
    )
    return error


def stop(exchange: Exchange) -> HTTPException:
    """Note why the request ended and return the exception after which LiteLLM's Router stops.

    The client never sees the 403: our failure hook puts the noted error in its place.
    """
    if exchange.error is None and exchange.plan is not None:
        exchange.error = exchange.plan.failure(_runtime.current().clock())
    return HTTPException(status_code=403, detail="the request has ended")


def retell(
    exchange: Exchange, story: Story, model: str, deployments: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the one of LiteLLM's *deployments* that the fast path tried next.

    Raises: what moves the Router on, or ends the request.
    """
    step = story.coming()
    if step is None:
        raise stop(exchange)
    id_ = step.candidate.id
    found = [one for one in deployments if one["model_info"]["id"] == id_]
    if found:
        return found
    if exchange.plan is not None and exchange.plan.is_behind(step.candidate, model):
        raise move_on(model)
    kept = exchange.snapshot.litellm.get(id_)  # a reload took it out since
    if kept is None:
        raise stop(exchange)
    return [kept]


def retold(exchange: Exchange, story: Story, model: str, logging: Any) -> None:
    """Let LiteLLM's call end as that of the fast path did, in the same time.

    Raises: what moves the Router on, or ends the request, if the call has failed.
    """
    step = story.tell()
    if step is None:
        raise stop(exchange)
    told_at(logging, step.began, step.ended)
    if step.completed:
        return
    following = story.coming()
    if following is None:
        raise stop(exchange)
    raise (again if following.candidate.group == step.candidate.group else move_on)(model)


def http_exception(error: ClientError | Unavailable) -> HTTPException:
    """Return *error* as LiteLLM passes it on; the front door restores the body's exact shape."""
    return HTTPException(
        status_code=error.status, detail=error_body(error), headers=error_headers(error)
    )


def proxy_exception(error: ClientError) -> Exception:
    """Return *error* as LiteLLM's other routes pass it on; they garble an `HTTPException`."""
    exception: Exception = ProxyException(
        message=error.message,
        type=error.kind,
        param=error.param,
        code=error.status,
        headers=error_headers(error),
        openai_code=error.code,
    )
    return exception
