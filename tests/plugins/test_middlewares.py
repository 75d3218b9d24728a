"""The short way through LiteLLM's middlewares: who is passed and left out, when it is closed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from plugins._middlewares import SHORT, ShortWay


class Layer:
    """A middleware that notes that it was passed."""

    def __init__(self, app: Any, passed: list[str]) -> None:
        self.app = app
        self._passed = passed

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._passed.append(type(self).__name__)
        await self.app(scope, receive, send)


def layer(name: str, **methods: Any) -> type[Layer]:
    """Return a middleware class of *name*, such as `litellm.InFlightRequestsMiddleware`."""
    package, _, kind = name.partition(".")
    made = type(kind, (Layer,), methods)
    made.__module__ = f"{package}.somewhere"
    return made


async def nothing(*_: Any) -> None:
    """Receive or send nothing."""


def chain(passed: list[str], *kinds: type[Layer]) -> tuple[Any, Any]:
    """Return the outermost of *kinds*, which are named from the outside in, and the router."""

    async def router(scope: Any, receive: Any, send: Any) -> None:
        passed.append("router")

    stack: Any = router
    for kind in reversed(kinds):
        stack = kind(stack, passed)
    return stack, router


def way_over(passed: list[str], *kinds: type[Layer], traced: bool = False) -> tuple[Any, ShortWay]:
    async def work(scope: Any, receive: Any, send: Any) -> None:
        passed.append("work")

    stack, router = chain(passed, *kinds)
    return stack, ShortWay(stack, router, work, lambda: traced)


ERRORS = layer("starlette.ServerErrorMiddleware")
SECURITY = layer("litellm.SecurityHeadersMiddleware")
IN_FLIGHT = layer("litellm.InFlightRequestsMiddleware")
LENS = layer("litellm.LensInternalMiddleware")
BUDGET = layer("litellm.BudgetReservationReleaseMiddleware")
CORS = layer("starlette.CORSMiddleware")
ALL = (ERRORS, SECURITY, IN_FLIGHT, LENS, BUDGET, CORS)


def test_a_plain_request_passes_those_that_count_it_and_no_others() -> None:
    passed: list[str] = []
    _, way = way_over(passed, *ALL)
    entry = way.entry({"content-type": "application/json"})
    assert entry is not None
    asyncio.run(entry({"type": "http", SHORT: True}, nothing, nothing))
    assert passed == [
        "SecurityHeadersMiddleware",
        "InFlightRequestsMiddleware",
        "BudgetReservationReleaseMiddleware",
        "work",
    ]


def test_other_requests_pass_all_as_before() -> None:
    passed: list[str] = []
    stack, _ = way_over(passed, *ALL)
    asyncio.run(stack({"type": "http"}, nothing, nothing))
    assert passed == [*(one.__name__ for one in ALL), "router"]


@pytest.mark.parametrize("header", ["origin", "x-lens-internal"])
def test_a_request_that_a_middleware_looks_at_is_not_plain(header: str) -> None:
    _, way = way_over([], *ALL)
    assert way.entry({header: "x"}) is None


def test_the_way_is_open_over_what_is_known() -> None:
    assert way_over([], *ALL)[1].is_open()


def test_a_middleware_that_is_not_known_closes_it() -> None:
    stranger = layer("opentelemetry.OpenTelemetryMiddleware")
    assert not way_over([], ERRORS, stranger, SECURITY)[1].is_open()


def test_a_tracer_closes_it() -> None:
    assert not way_over([], *ALL, traced=True)[1].is_open()


@pytest.mark.parametrize(
    ("name", "idle", "busy"),
    [
        (
            "AdmissionControlMiddleware",
            {"get_settings": lambda _: None},
            {"get_settings": lambda _: object()},
        ),
        (
            "TelemetryMiddleware",
            {"_sink_provider": lambda _: None},
            {"_sink_provider": lambda _: object()},
        ),
        (
            "BillableRequestMetricsMiddleware",
            {"_resolve_recorder": lambda _: None, "_resolve_sink": lambda _: None},
            {"_resolve_recorder": lambda _: None, "_resolve_sink": lambda _: object()},
        ),
        (
            "RequestSizeLimitMiddleware",
            {
                "get_max_request_size_mb": lambda _: 5,
                "is_request_size_limit_enabled": lambda _: False,
            },
            {
                "get_max_request_size_mb": lambda _: 5,
                "is_request_size_limit_enabled": lambda _: True,
            },
        ),
    ],
)
def test_one_that_has_something_to_do_closes_it(
    name: str, idle: dict[str, Any], busy: dict[str, Any]
) -> None:
    assert way_over([], layer(f"litellm.{name}", **idle))[1].is_open()
    assert not way_over([], layer(f"litellm.{name}", **busy))[1].is_open()


def test_what_a_left_out_one_puts_on_every_reply_is_named() -> None:
    assert way_over([], *ALL)[1].headers == {"vary": "Origin"}
    assert way_over([], SECURITY)[1].headers == {}
