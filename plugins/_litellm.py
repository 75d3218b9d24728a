"""The one place that touches names of LiteLLM which are not documented for extensions.

Every name used here is listed in `_litellm_names`; a test imports each of them from the pinned
release, so an upgrade that moves one fails with its name. Imports stay inside functions: LiteLLM
loads our callbacks while its proxy module is still being set up.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any

from plugins._inside import branch, work
from plugins._litellm_names import NEEDED_BY_THE_FAST_PATH, check_release
from plugins._middlewares import ShortWay

__all__ = [
    "authenticate",
    "callback_base",
    "callbacks",
    "config_path",
    "custom_auth",
    "general_settings",
    "has_branch",
    "has_database",
    "has_route",
    "is_health_check",
    "keep_credentials",
    "knows_model",
    "master_key",
    "proxy_version",
    "refusal",
    "reply_headers",
    "short_way",
    "wrap_app",
]

# The headers in which a key may stand, under the names of `user_api_key_auth`'s arguments.
_KEY_HEADERS = {
    "api_key": "authorization",
    "azure_api_key_header": "api-key",
    "anthropic_api_key_header": "x-api-key",
    "google_ai_studio_api_key_header": "x-goog-api-key",
    "azure_apim_header": "ocp-apim-subscription-key",
    "custom_litellm_key_header": "x-litellm-api-key",
}


@functools.cache
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


def proxy_version() -> str:
    """Return the release as LiteLLM names it in its reply headers."""
    return str(_proxy().version)


def general_settings() -> dict[str, Any]:
    """Return LiteLLM's settings of the proxy as they are now, those from its database included."""
    return dict(_proxy().general_settings)


def callbacks() -> list[Any]:
    """Return all of LiteLLM's callbacks as they are now."""
    module = importlib.import_module("litellm")
    return [
        one for name in NEEDED_BY_THE_FAST_PATH["litellm"] for one in getattr(module, name) or ()
    ]


def callback_base() -> type:
    """Return the class whose methods a callback overrides to be called."""
    base: type = importlib.import_module("litellm.integrations.custom_logger").CustomLogger
    return base


def custom_auth() -> Any:
    """Return the `custom_auth` that checks keys now, or None where LiteLLM does."""
    return _proxy().user_custom_auth


async def authenticate(scope: Any, body: dict[str, Any]) -> Any:
    """Return LiteLLM's identity of whoever sent *body* in *scope*, both as for its own route.

    Raises: whatever LiteLLM raises; see `refusal`.
    """
    scope["parsed_body"] = (tuple(body), body)  # so that it is not read again
    scope.setdefault("app", _proxy().app)  # which its application sets, if it was not passed by
    request = importlib.import_module("fastapi").Request(scope)
    module = importlib.import_module("litellm.proxy.auth.user_api_key_auth")
    keys = {name: request.headers.get(header) for name, header in _KEY_HEADERS.items()}
    return await module.user_api_key_auth(request=request, **keys)


def refusal(error: Exception) -> tuple[int, dict[str, str], str]:
    """Return status, headers and type of what LiteLLM answers after *error* of `authenticate`."""
    proxy_exception = importlib.import_module("litellm.proxy._types").ProxyException
    status = getattr(error, "code" if isinstance(error, proxy_exception) else "status_code", 500)
    number = int(status) if str(status).isdigit() else 500
    return number, dict(getattr(error, "headers", None) or {}), str(getattr(error, "type", ""))


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


def keep_credentials(withheld: Callable[[object], bool]) -> None:
    """Have LiteLLM's Router give out no credentials of a model of which *withheld* is true.

    Its routes for files, batches, vector stores and the like take them from there and call the
    provider past every hook; without any they answer that the model is not there.
    """
    router = importlib.import_module("litellm").Router
    for name in ("get_deployment_credentials", "get_deployment_credentials_with_provider"):
        given = getattr(router, name)
        given = getattr(given, "__wrapped__", given)  # LiteLLM may load its callbacks again

        @functools.wraps(given)
        def kept(self: Any, model_id: str, *args: Any, _given: Any = given, **more: Any) -> Any:
            return None if withheld(model_id) else _given(self, model_id, *args, **more)

        setattr(router, name, kept)


def has_route(path: str) -> bool:
    """Tell whether LiteLLM's application serves exactly *path* by a route or mount of its own."""
    return any(getattr(route, "path", None) == path for route in _proxy().app.routes)


def wrap_app(wrapper: Any) -> None:
    """Put *wrapper* around the running proxy application, once per process.

    `middleware_stack` is what Starlette calls for every request; it is already built when LiteLLM
    loads callbacks, and `add_middleware` refuses then.
    """
    global _own_stack
    app = _proxy().app
    inner = _stack()
    if not isinstance(inner, wrapper):
        _own_stack = inner
        app.middleware_stack = wrapper(inner)


_own_stack: Any = None  # LiteLLM's middlewares, once something of ours stands around them


def has_branch() -> bool:
    """Tell whether a request may carry its own work through LiteLLM's middlewares.

    The bypassed one looks for rarely used features by the path, which costs more than all the
    other middlewares together.
    """
    return branch(_whole_stack(), _proxy().app.router, bypassed="LazyFeatureMiddleware")


@functools.cache
def short_way() -> ShortWay | None:
    """Return the way past those of LiteLLM's middlewares that would do nothing.

    None for a release that was not looked at: what is inert in one may have work in another.
    """
    if check_release() is not None:
        return None
    app = _proxy().app
    telemetry = getattr(app, "_native_telemetry", None)
    if telemetry is None:
        return None
    return ShortWay(_whole_stack(), app.router, work, telemetry.enabled)


def _whole_stack() -> Any:
    return _own_stack if _own_stack is not None else _stack()


def _stack() -> Any:
    app = _proxy().app
    if app.middleware_stack is None:
        app.middleware_stack = app.build_middleware_stack()
    return app.middleware_stack


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
