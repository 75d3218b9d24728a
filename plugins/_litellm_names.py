"""Which releases of LiteLLM were looked at, and every undocumented name of it that is used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

__all__ = [
    "BANNED",
    "NEEDED",
    "NEEDED_BY_THE_FAST_PATH",
    "TESTED",
    "check_release",
    "missing_names",
]

TESTED = "1.108.7"
# Releases with malicious code, withdrawn from the index; refused by name should a mirror have them.
BANNED = ("1.82.7", "1.82.8")
Names = Mapping[str, tuple[str, ...]]
NEEDED: Names = {
    "litellm.constants": ("LITTELM_INTERNAL_HEALTH_SERVICE_ACCOUNT_NAME",),
    "litellm.proxy.proxy_server": (
        "app",
        "general_settings",
        "llm_router",
        "master_key",
        "prisma_client",
        "user_config_file_path",
        "version",
    ),
    "litellm.proxy.common_request_processing": (
        "ProxyBaseLLMRequestProcessing.get_custom_headers",
    ),
    "litellm": (
        "Router.get_deployment_credentials",
        "Router.get_deployment_credentials_with_provider",
    ),
}
# Where one of these has moved, LiteLLM's own path serves.
NEEDED_BY_THE_FAST_PATH: Names = {
    "litellm.integrations.custom_logger": ("CustomLogger",),
    "litellm": (
        "_async_failure_callback",
        "_async_success_callback",
        "callbacks",
        "failure_callback",
        "success_callback",
    ),
    "litellm.proxy._types": ("ProxyException",),
    "litellm.proxy.auth.user_api_key_auth": ("user_api_key_auth",),
    "litellm.litellm_core_utils.litellm_logging": (
        "Logging.async_failure_handler",
        "Logging.async_success_handler",
        "Logging.failure_handler",
        "Logging.handle_sync_success_callbacks_for_async_calls",
    ),
    "litellm.proxy.common_request_processing": (
        "ProxyBaseLLMRequestProcessing.base_process_llm_request",
        "ProxyBaseLLMRequestProcessing.common_processing_pre_call_logic",
        "ProxyBaseLLMRequestProcessing.handle_llm_api_exception",
    ),
    "litellm.proxy.proxy_server": (
        "app.router",
        "general_settings",
        "proxy_config",
        "proxy_logging_obj",
        "user_custom_auth",
        "version",
    ),
}


def check_release() -> str | None:
    """Return a warning for an untested LiteLLM release, or None.

    Raises:
        RuntimeError: the installed release is one of the compromised ones.
    """
    try:
        installed = version("litellm")
    except PackageNotFoundError:  # a source checkout without metadata
        return "LiteLLM carries no version; the router was tested with " + TESTED
    if installed in BANNED:
        raise RuntimeError(
            f"LiteLLM {installed} is a compromised release and must not run; install {TESTED}."
        )
    if installed != TESTED:
        return f"LiteLLM {installed} is untested with this router, which was tested with {TESTED}"
    return None


def missing_names(needed: Names) -> list[str]:
    """Return those of the *needed* names that the installed LiteLLM does not have."""
    missing = []
    for module_name, names in needed.items():
        module = importlib.import_module(module_name)
        for name in names:
            owner: Any = module
            for part in name.split("."):
                owner = getattr(owner, part, _ABSENT)
            if owner is _ABSENT:
                missing.append(f"{module_name}.{name}")
    return missing


_ABSENT = object()
