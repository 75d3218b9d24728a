"""Who in LiteLLM wants to see a request: its callbacks and its settings, judged by name.

The fast path may serve a request only if nothing stands between it and LiteLLM that could refuse
it, change it or lead it elsewhere. What is not known here counts as something that could.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["in_the_way", "is_limited", "listens", "unknown_setting"]

# Our own callbacks lead LiteLLM's Router; on the fast path there is nothing for them to do.
OURS = "plugins."
# LiteLLM registers these by itself. Without limits on the key they do nothing to an embeddings
# request: they cap keys, sessions and caches, or belong to other routes.
BUILT_IN = frozenset(
    {
        "litellm._service_logger.ServiceLogging",
        "litellm.proxy.hooks.cache_control_check._PROXY_CacheControlCheck",
        "litellm.proxy.hooks.litellm_skills.main.SkillsInjectionHook",
        "litellm.proxy.hooks.max_budget_per_session_limiter._PROXY_MaxBudgetPerSessionHandler",
        "litellm.proxy.hooks.max_iterations_limiter._PROXY_MaxIterationsHandler",
        "litellm.proxy.hooks.model_max_budget_limiter._PROXY_VirtualKeyModelMaxBudgetLimiter",
        "litellm.proxy.hooks.parallel_request_limiter_v3._PROXY_MaxParallelRequestsHandler_v3",
        "litellm.proxy.hooks.prompt_cache_prediction.PromptCacheObserver",
        "litellm.proxy.hooks.responses_id_security.ResponsesIDSecurity",
        "litellm.proxy.hooks.sensitive_data_routing._PROXY_SensitiveDataRoutingHandler",
        "litellm.router.Router",
    }
)
# LiteLLM's own that only look on: what they hook into is told after the reply.
ONLOOKERS = frozenset(
    {
        "litellm.integrations.prometheus.PrometheusLogger",
        "litellm.proxy.hooks.proxy_track_cost_callback._ProxyDBLogger",
    }
)
# What a callback may override that comes before the reply, or could change it.
_HOOKS = (
    "async_filter_deployments",
    "async_get_chat_completion_prompt",
    "async_moderation_hook",
    "async_post_call_failure_deployment_hook",
    "async_post_call_failure_hook",
    "async_post_call_response_headers_hook",
    "async_post_call_success_deployment_hook",
    "async_post_call_success_hook",
    "async_pre_call_check",
    "async_pre_call_deployment_hook",
    "async_pre_call_hook",
    "async_pre_request_hook",
    "async_pre_routing_hook",
    "log_pre_api_call",
    "async_log_pre_api_call",
    "pre_call_check",
)
# Fields of LiteLLM's identity in which a limit may stand, or what leads a request elsewhere.
_LIMIT = re.compile(
    "limit|budget|parallel|permission|router_settings|guardrail|policies|agent"
    "|^aliases$|model_aliases|^config$|^expires$|(^|_)metadata$"
)
# Settings that change nothing about a request to our groups, or whose effect is in a middleware.
_INERT: Mapping[str, frozenset[str]] = {
    "general_settings": frozenset(
        {
            "admission_queue_timeout_seconds",
            "alerting",
            "alerting_threshold",
            "background_health_checks",
            "custom_auth",
            "database_connection_pool_limit",
            "database_connection_timeout",
            "database_url",
            "disable_error_logs",
            "disable_spend_logs",
            "disable_spend_updates",
            "health_check_interval",
            "master_key",
            "max_in_flight_requests_per_worker",
            "max_queued_requests_per_worker",
            "max_request_size_mb",
            "maximum_spend_logs_retention_interval",
            "maximum_spend_logs_retention_period",
            "proxy_batch_write_at",
            "store_model_in_db",
            "store_prompts_in_spend_logs",
            "ui_access_mode",
            "user_api_key_cache_ttl",
        }
    ),
    "litellm_settings": frozenset(
        {
            "callbacks",
            "custom_provider_map",
            "drop_params",
            "failure_callback",
            "json_logs",
            "num_retries",
            "request_timeout",
            "set_verbose",
            "success_callback",
            "suppress_debug_info",
            "telemetry",
            "turn_off_message_logging",
        }
    ),
    "router_settings": frozenset(
        {
            "allowed_fails",
            "cooldown_time",
            "default_fallbacks",
            "disable_cooldowns",
            "fallbacks",
            "max_fallbacks",
            "model_group_alias",
            "num_retries",
            "retry_after",
            "routing_strategy",
            "timeout",
        }
    ),
}


def in_the_way(callbacks: Iterable[Any], base: type) -> str | None:
    """Return the name of one of LiteLLM's *callbacks* that may want a request before its reply.

    *base* is the class whose methods a callback overrides to be called.
    """
    for one in callbacks:
        if not listens((one,)) or _name(one) in ONLOOKERS:
            continue
        for hook in _HOOKS:
            own = getattr(type(one), hook, None)
            if own is not None and own is not getattr(base, hook, None):
                return _name(one)
    return None


def listens(callbacks: Iterable[Any]) -> bool:
    """Tell whether one of LiteLLM's *callbacks* wants to be told of requests that are over."""
    return any(not name.startswith(OURS) and name not in BUILT_IN for name in map(_name, callbacks))


def is_limited(identity: Any) -> bool:
    """Tell whether LiteLLM may have limits for *identity*, or send its requests elsewhere."""
    return any(value and _LIMIT.search(name) for name, value in vars(identity).items())


def _name(callback: Any) -> str:
    """Return a callback's own name, or that of the class whose object or method it is."""
    if isinstance(callback, str):
        return callback
    kind = type(getattr(callback, "__self__", callback))
    return f"{kind.__module__}.{kind.__qualname__}"


def unknown_setting(sections: Mapping[str, Any]) -> str | None:
    """Return a setting of LiteLLM's *sections* whose effect the fast path does not know, or None.

    One that is set to nothing has none.
    """
    for section, inert in _INERT.items():
        for name, value in (sections.get(section) or {}).items():
            if name not in inert and value not in (None, False, [], {}):
                return f"{section}.{name}"
    return None
