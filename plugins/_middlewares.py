"""LiteLLM's middlewares, judged by name: which of them would do nothing to a plain request of ours.

A plain request passes those that count it, add headers to its reply or clean up after it, and none
of the others: sixteen layers, most of which only look at a path, take longer than the checks and
the pick together (0.2 ms). A middleware that is not known here, or one that has something to do,
means that every request passes all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from plugins._asgi import App, Branch

__all__ = ["SHORT", "ShortWay"]

SHORT = "qwen3_router.short"
"""The key of a scope that is on its short way."""

# A request with one of these is not plain: middlewares that are left out would look at it.
_HEADERS = frozenset({"origin", "x-lens-internal"})
_KEPT = frozenset(
    {
        "litellm.BudgetReservationReleaseMiddleware",
        "litellm.InFlightRequestsMiddleware",
        "litellm.RedisRequestBatchMiddleware",
        "litellm.SecurityHeadersMiddleware",
    }
)


def _always(_: Any) -> bool:
    return True


def _records_nothing(one: Any) -> bool:
    return one._resolve_recorder() is None and one._resolve_sink() is None


def _limits_nothing(one: Any) -> bool:
    return one.get_max_request_size_mb() is None or not one.is_request_size_limit_enabled()


# By class, whether it would do nothing now. What only catches exceptions has the door around it.
_INERT: Mapping[str, Callable[[Any], bool]] = {
    "fastapi.AppBodyLimitMiddleware": _always,
    "fastapi.AsyncExitStackMiddleware": _always,
    "fastapi.ExceptionTelemetryMiddleware": _always,
    "litellm.AdmissionControlMiddleware": lambda one: one.get_settings() is None,
    "litellm.BillableRequestMetricsMiddleware": _records_nothing,
    "litellm.GZipBufferedResponseMiddleware": _always,
    "litellm.LazyFeatureMiddleware": _always,
    "litellm.LensInternalMiddleware": _always,
    "litellm.PrometheusAuthMiddleware": _always,
    "litellm.RequestSizeLimitMiddleware": _limits_nothing,
    "litellm.TelemetryMiddleware": lambda one: one._sink_provider() is None,
    "starlette.CORSMiddleware": _always,
    "starlette.ExceptionMiddleware": _always,
    "starlette.ServerErrorMiddleware": _always,
}


class ShortWay:
    """The short way through the chain of *stack*, which ends in *router*, to *work*.

    Building it changes nothing for other requests. *is_traced* tells whether FastAPI itself reports
    requests to somebody.
    """

    def __init__(self, stack: Any, router: App, work: App, is_traced: Callable[[], bool]) -> None:
        self._is_traced = is_traced
        chain: list[Any] = []
        one = stack
        while one is not router and one is not None:
            chain.append(one)
            one = getattr(one, "app", None)
        self._chain = [one for one in chain if not isinstance(one, Branch)]
        kept = [one for one in self._chain if _name(one) in _KEPT]
        for one, following in zip(kept, [*kept, work][1:], strict=True):
            if one.app is not following:
                one.app = Branch(one.app, SHORT, following)
        self._entry: App = kept[0] if kept else work
        self._adds_vary = any(_name(one) == "starlette.CORSMiddleware" for one in self._chain)

    @property
    def headers(self) -> dict[str, str]:
        """What a middleware that is left out would have put on every reply."""
        return {"vary": "Origin"} if self._adds_vary else {}

    def is_open(self) -> bool:
        """Tell whether nobody who is left out would have anything to do now."""
        return not self._is_traced() and all(
            name in _KEPT or (name in _INERT and _INERT[name](one))
            for one, name in ((one, _name(one)) for one in self._chain)
        )

    def entry(self, headers: Mapping[str, str]) -> App | None:
        """Return where a request with *headers* enters the short way, None if it is not plain."""
        return self._entry if _HEADERS.isdisjoint(headers) else None


def _name(one: Any) -> str:
    """Return package and class of a middleware."""
    return f"{type(one).__module__.partition('.')[0]}.{type(one).__qualname__}"
