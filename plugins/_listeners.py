"""Who in LiteLLM wants to see a request: its callbacks and its settings, judged by name.

The fast path may serve a request only if nothing stands between it and LiteLLM that could refuse
it, change it or lead it elsewhere. What is not known here counts as something that could.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["in_the_way", "unknown_setting"]

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
# Settings that change nothing about a request to our groups, or whose effect is in a middleware.
_INERT: Mapping[str, frozenset[str]] = {
    "general_settings": frozenset(
        {
            "background_health_checks",
            "custom_auth",
            "health_check_interval",
            "master_key",
            "max_in_flight_requests",
            "max_queued_requests",
            "max_request_size_mb",
            "queue_timeout_seconds",
        }
    ),
    "litellm_settings": frozenset(
        {
            "callbacks",
            "custom_provider_map",
            "drop_params",
            "json_logs",
            "num_retries",
            "request_timeout",
            "set_verbose",
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


def in_the_way(callbacks: Iterable[Any]) -> str | None:
    """Return the name of one of LiteLLM's *callbacks* that may want a request, or None."""
    for one in callbacks:
        name = _name(one)
        if not name.startswith(OURS) and name not in BUILT_IN:
            return name
    return None


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
