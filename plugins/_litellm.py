"""The one place that touches names of LiteLLM which are not documented for extensions.

Every name used here is listed in `NEEDED`; a test imports each of them from the pinned release, so
an upgrade that moves one fails with its name. Imports stay inside functions: LiteLLM loads our
callbacks while its proxy module is still being set up.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

__all__ = [
    "BANNED",
    "NEEDED",
    "TESTED",
    "check_release",
    "config_path",
    "has_database",
    "is_health_check",
    "knows_model",
    "master_key",
    "reply_headers",
    "wrap_app",
]

TESTED = "1.108.7"
# Releases with malicious code, withdrawn from the index; refused by name should a mirror have them.
BANNED = ("1.82.7", "1.82.8")
NEEDED = {
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


def missing_names() -> list[str]:
    """Return the names of `NEEDED` that the installed LiteLLM does not have."""
    missing = []
    for module_name, names in NEEDED.items():
        module = importlib.import_module(module_name)
        for name in names:
            owner: Any = module
            for part in name.split("."):
                owner = getattr(owner, part, _ABSENT)
            if owner is _ABSENT:
                missing.append(f"{module_name}.{name}")
    return missing


_ABSENT = object()


def _proxy() -> Any:
    return importlib.import_module("litellm.proxy.proxy_server")


def config_path() -> str | None:
    """Return the file that `litellm --config` was given."""
    path = _proxy().user_config_file_path
    return str(path) if path else None


def master_key() -> str | None:
    """Return the proxy's master key."""
    key = _proxy().master_key
    return str(key) if key else None


def has_database() -> bool:
    """Tell whether LiteLLM runs with its database, which then rules keys and teams."""
    return _proxy().prisma_client is not None


def is_health_check(params: Mapping[str, Any]) -> bool:
    """Tell whether LiteLLM makes a call with *params* for its own /health."""
    name = importlib.import_module("litellm.constants").LITTELM_INTERNAL_HEALTH_SERVICE_ACCOUNT_NAME
    metadata = params.get("metadata") or params.get("litellm_metadata") or {}
    return bool(metadata.get("user_api_key_hash") == name)


def knows_model(model: str) -> bool:
    """Tell whether LiteLLM itself could route *model*, aliases and wildcards included."""
    router = _proxy().llm_router
    return router is not None and bool(router.get_model_list(model_name=model))


def served() -> dict[str, dict[str, Any]]:
    """Return LiteLLM's own record of each deployment, by its id."""
    router = _proxy().llm_router
    found = [] if router is None else router.model_list
    return {str(one["model_info"]["id"]): one for one in found}


def renew(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Bring LiteLLM's Router from the plain data of one configuration to that of another.

    Deployments that did not change, and those from a database, stay as they are.
    """
    proxy = _proxy()
    router = proxy.llm_router
    if router is None:
        return
    types = importlib.import_module("litellm.types.router")
    before, after = _entries(router, old), _entries(router, new)
    ready = [
        types.Deployment(
            model_name=entry["model_name"],
            litellm_params=types.LiteLLM_Params(**params),
            model_info={**(entry.get("model_info") or {}), "id": id_},
        )
        for id_, (entry, params) in after.items()
        if before.get(id_, (None, None))[0] != entry
    ]
    for id_ in before.keys() - after.keys():
        router.delete_deployment(id=id_)
    for deployment in ready:
        router.upsert_deployment(deployment=deployment)
    router.model_names = {one["model_name"] for one in router.model_list}
    settings = new.get("router_settings") or {}
    router.fallbacks = settings.get("fallbacks") or []
    default = settings.get("default_fallbacks")
    if default:
        router.fallbacks = [*router.fallbacks, {"*": default}]
    router.update_settings(model_group_alias=settings.get("model_group_alias") or {})
    proxy.llm_model_list = router.get_model_list()


def _entries(
    router: Any, raw: Mapping[str, Any]
) -> dict[str, tuple[Mapping[str, Any], dict[str, Any]]]:
    """Return the entries of a `model_list` and their resolved parameters, by LiteLLM's id."""
    get_secret = importlib.import_module("litellm.secret_managers.main").get_secret
    found = {}
    for entry in raw.get("model_list") or ():
        params = {
            name: get_secret(value)
            if isinstance(value, str) and value.startswith("os.environ/")
            else value
            for name, value in entry["litellm_params"].items()
        }
        id_ = (entry.get("model_info") or {}).get("id")
        id_ = str(id_) if id_ is not None else router.generate_model_id(entry["model_name"], params)
        found[id_] = (entry, params)
    return found


def wrap_app(wrapper: Any) -> None:
    """Put *wrapper* around the running proxy application, once per process.

    `middleware_stack` is what Starlette calls for every request; it is already built when LiteLLM
    loads callbacks, and `add_middleware` refuses then.
    """
    app = _proxy().app
    inner = app.middleware_stack
    if inner is None:
        inner = app.build_middleware_stack()
    if not isinstance(inner, wrapper):
        app.middleware_stack = wrapper(inner)


def reply_headers(
    data: Mapping[str, Any], user_api_key_dict: Any, hidden: Mapping[str, Any], cost_usd: float
) -> dict[str, str]:
    """Return the `x-litellm-*` headers that LiteLLM would have put on this reply.

    It drops them when a callback returns a ready response. The base URL is left out: it can name
    an account.
    """
    module = importlib.import_module("litellm.proxy.common_request_processing")
    found = module.ProxyBaseLLMRequestProcessing.get_custom_headers(
        user_api_key_dict=user_api_key_dict,
        call_id=data.get("litellm_call_id"),
        model_id=hidden.get("model_id"),
        version=_proxy().version,
        response_cost=cost_usd,
        hidden_params=hidden,
        request_data=dict(data),
        litellm_logging_obj=data.get("litellm_logging_obj"),
    )
    return {str(name): str(value) for name, value in found.items()}
