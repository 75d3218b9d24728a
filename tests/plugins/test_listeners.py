"""What keeps a request off the fast path: every hook, limit and setting that could matter."""

from __future__ import annotations

import inspect
import os
from typing import Any

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # nothing over the network

from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy._types import UserAPIKeyAuth

from plugins._listeners import in_the_way, is_limited, listens, unknown_setting

# What a callback may override and is only told of, or what other routes ask (chat, MCP, lists).
TOLD_AFTERWARDS = {
    "async_log_audit_log_event",
    "async_log_batch_line_items",
    "async_log_event",
    "async_log_failure_event",
    "async_log_input_event",
    "async_log_stream_event",
    "async_log_success_event",
    "async_logging_hook",
    "exempt_from_message_redaction",
    "get_callback_env_vars",
    "get_proxy_server_request_from_cold_storage_with_object_key",
    "handle_callback_failure",
    "log_event",
    "log_failure_event",
    "log_failure_fallback_event",
    "log_input_event",
    "log_model_group_rate_limit_error",
    "log_post_api_call",
    "log_stream_event",
    "log_success_event",
    "log_success_fallback_event",
    "logging_hook",
    "redact_standard_logging_payload_from_model_call_details",
    "redacts_messages_itself",
    "truncate_standard_logging_payload_content",
}
OF_OTHER_ROUTES = {
    "async_agentic_loop_cleanup_hook",
    "async_build_agentic_loop_plan",
    "async_build_chat_completion_agentic_loop_plan",
    "async_dataset_hook",
    "async_filter_listed_models",
    "async_post_agentic_loop_response_hook",
    "async_post_call_streaming_deployment_hook",
    "async_post_call_streaming_hook",
    "async_post_call_streaming_iterator_hook",
    "async_post_mcp_tool_call_hook",
    "async_run_agentic_loop",
    "async_run_chat_completion_agentic_loop",
    "async_should_run_agentic_loop",
    "async_should_run_chat_completion_agentic_loop",
    "get_chat_completion_prompt",
    "translate_completion_input_params",
    "translate_completion_output_params",
    "translate_completion_output_params_streaming",
}
HOOKS = sorted(
    name
    for name, _ in inspect.getmembers(CustomLogger, inspect.isfunction)
    if not name.startswith("_")
)


def overriding(hook: str) -> Any:
    return type("Foreign", (CustomLogger,), {hook: lambda self, *_args, **_named: None})()


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_of_the_pinned_release_is_known(hook: str) -> None:
    stands_in_the_way = in_the_way([overriding(hook)], CustomLogger) is not None
    assert stands_in_the_way == (hook not in TOLD_AFTERWARDS | OF_OTHER_ROUTES)


def test_a_hook_of_a_parent_class_counts() -> None:
    parent = type(overriding("async_pre_call_hook"))
    child = type("Child", (parent,), {})()
    assert in_the_way([child], CustomLogger) is not None


def test_who_only_looks_on_is_told_and_not_in_the_way() -> None:
    onlooker = overriding("async_log_success_event")
    assert in_the_way([onlooker], CustomLogger) is None
    assert listens([onlooker])
    assert in_the_way(["langfuse", print], CustomLogger) is None
    assert listens(["langfuse"])
    assert listens([print])


def test_nobody_has_to_be_told_where_only_ours_and_litellms_own_are() -> None:
    ours = type("Gateway", (CustomLogger,), {"__module__": "plugins.gateway"})()
    assert not listens([ours])
    assert in_the_way([ours], CustomLogger) is None
    assert not listens([])


# Fields of an identity in which no limit stands, and which lead no request elsewhere: who it is,
# what LiteLLM's own check of the key has judged before (`models`, `blocked`, `expires` …), and what
# other routes want to know.
HARMLESS = {
    *("api_key", "token", "key_name", "key_alias", "key_type", "user_id", "user", "user_email"),
    *("user_role", "team_id", "team_alias", "team_member", "org_id", "organization_alias"),
    *("project_id", "project_alias", "end_user_id", "created_at", "created_by", "created_by_user"),
    *("updated_at", "updated_by", "settings_updated_at", "last_active", "last_refreshed_at"),
    *("spend", "total_spend", "model_spend", "team_spend", "team_member_spend", "user_spend"),
    *("models", "team_models", "allowed_routes", "allowed_cache_controls", "blocked"),
    *("team_blocked", "access_group_ids", "matched_model_access_groups", "request_route"),
    *("rotation_count", "auto_rotate", "rotation_interval", "last_rotation_at", "key_rotation_at"),
    *("parent_otel_span", "is_session_token", "requires_fresh_policy", "via_virtual_key"),
    *("authenticated_by_custom_auth", "jwt_claims", "mcp_admitted_user_subject"),
    *("mcp_explicit_grants_only", "mcp_session_resource_server_ids", "mcp_toolset_id"),
    "mcp_forwards_caller_authorization",
    # Only with `router_settings.enable_pre_call_checks`, which keeps off the fast path.
    "allowed_model_region",
}


@pytest.mark.parametrize("field", sorted(UserAPIKeyAuth.model_fields))
def test_every_field_of_an_identity_is_known(field: str) -> None:
    identity = UserAPIKeyAuth.model_construct(**{field: 1})
    for other in set(vars(identity)) - {field}:
        delattr(identity, other)
    assert is_limited(identity) == (field not in HARMLESS)


def test_an_identity_without_limits_has_none() -> None:
    assert not is_limited(UserAPIKeyAuth(api_key="sk-x", user_id="somebody"))
    assert is_limited(UserAPIKeyAuth(api_key="sk-x", rpm_limit=3))
    assert is_limited(UserAPIKeyAuth(api_key="sk-x", metadata={"guardrails": ["x"]}))


@pytest.mark.parametrize(
    ("sections", "found"),
    [
        ({}, None),
        ({"general_settings": {"master_key": "sk-x", "custom_auth": "a.b"}}, None),
        ({"litellm_settings": {"callbacks": ["a.b"], "cache": True}}, "litellm_settings.cache"),
        ({"litellm_settings": {"cache": False}}, None),
        ({"litellm_settings": {"guardrails": []}}, None),
        ({"litellm_settings": {"a_new_one": 0.5}}, "litellm_settings.a_new_one"),
        ({"general_settings": {"a_new_one": "x"}}, "general_settings.a_new_one"),
        (
            {"router_settings": {"enable_pre_call_checks": True}},
            "router_settings.enable_pre_call_checks",
        ),
        ({"general_settings": None, "router_settings": {"timeout": 5}}, None),
        ({"environment_variables": {"X": "y"}}, None),
    ],
    ids=str,
)
def test_a_setting_that_is_not_known_keeps_off_the_fast_path(
    sections: dict[str, Any], found: str | None
) -> None:
    assert unknown_setting(sections) == found
