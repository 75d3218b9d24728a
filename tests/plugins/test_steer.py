"""LiteLLM is given the few fields that it needs, whatever a client or LiteLLM itself put in."""

from __future__ import annotations

from typing import Any

from plugins._exchange import PLAN_KEY
from plugins._steer import steer
from tests.plugins.plans import candidate, plan

# What LiteLLM has in its data by the time of the hook, and what a client may have smuggled in.
LITELLM: dict[str, Any] = {
    "litellm_call_id": "id",
    "litellm_logging_obj": object(),
    "proxy_server_request": {"headers": {}},
    "secret_fields": {},
    "metadata": {"user_api_key": "hash"},
}
SMUGGLED: dict[str, Any] = {
    "api_key": "k",
    "api_base": "http://x",
    "num_retries": 9,
    "timeout": 0.1,
    "fallbacks": ["x"],
    "mock_response": "x",
    "router_settings_override": {},
    "dimensions": 7,
    "encoding_format": "hex",
    "litellm_metadata": {},
    "order": 9,
}


def steered(**more: Any) -> dict[str, Any]:
    made = plan([[candidate("a", group="g"), candidate("b", group="g")]], texts=["x", "y"])
    data = {**LITELLM, "model": "alias", "input": "other", **more}
    steer(data, made)
    return data


def test_only_what_litellm_needs_is_left() -> None:
    data = steered(**SMUGGLED)
    assert sorted(data) == sorted([*LITELLM, "model", "input", "num_retries", "cache"])
    assert (data["model"], data["input"]) == ("g", ["x", "y"])
    assert data["litellm_logging_obj"] is LITELLM["litellm_logging_obj"]


def test_the_number_of_retries_is_ours() -> None:
    assert steered(num_retries=50)["num_retries"] == 1


def test_litellms_response_cache_takes_no_part() -> None:
    asked = {"no-cache": False, "ttl": 9}
    assert steered(cache=asked)["cache"] == {"no-cache": True, "no-store": True}


def test_the_plan_is_named_in_the_metadata_and_nothing_there_is_lost() -> None:
    metadata = steered(metadata={"user_api_key": "hash", PLAN_KEY: "req_forged"})["metadata"]
    assert metadata == {"user_api_key": "hash", PLAN_KEY: "req_test"}
