"""A foreign callback that only looks on: it writes what LiteLLM tells it, a line of JSON each."""

from __future__ import annotations

import json
import os
from typing import Any

from litellm.integrations.custom_logger import CustomLogger


class Onlooker(CustomLogger):  # type: ignore[misc]  # LiteLLM ships no types
    """Writes success and failure events to the file that ONLOOKER_FILE names."""

    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """Note a call that went well."""
        _write("success", kwargs, start_time, end_time)

    async def async_log_failure_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """Note a call that failed."""
        _write("failure", kwargs, start_time, end_time)

    def log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """Note nothing: the asynchronous event tells it too."""


def _write(event: str, kwargs: dict[str, Any], start_time: Any, end_time: Any) -> None:
    told = kwargs.get("standard_logging_object") or {}
    metadata = told.get("metadata") or {}
    line = {
        "event": event,
        "model_group": told.get("model_group"),
        "model_id": told.get("model_id"),
        "model": told.get("model"),
        "cost": told.get("response_cost"),
        "tokens": told.get("total_tokens"),
        "key": metadata.get("user_api_key_hash"),
        "alias": metadata.get("user_api_key_alias"),
        "team": metadata.get("user_api_key_team_id"),
        "user": metadata.get("user_api_key_user_id"),
        "end_user": told.get("end_user"),
        "route": metadata.get("user_api_key_request_route"),
        "vectors": len((told.get("response") or {}).get("data") or ())
        if isinstance(told.get("response"), dict)
        else 0,
        "call": told.get("litellm_call_id"),
        "seconds": (end_time - start_time).total_seconds(),
    }
    with open(os.environ["ONLOOKER_FILE"], "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


handler = Onlooker()
