"""Calls that LiteLLM's own client makes: what they tell health, and what is taken from them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from plugins import _plain
from plugins._errors import Fault, ProviderFault
from plugins._exchange import Exchange
from tests.plugins.plans import candidate
from tests.plugins.test_health import Ward


class BadRequestError(Exception):
    """As LiteLLM raises it."""

    def __init__(self, status: int) -> None:
        super().__init__("with a text that nobody may see")
        self.status_code = status


def begun(ward: Ward) -> Exchange:
    """Return a request whose call to the first of *ward* LiteLLM has just made."""
    exchange = Exchange("r", 0.0, cast(Any, None))
    exchange.plan = ward.plan()
    assert asyncio.run(_plain.hold(exchange, ward.group[0], ward.health))
    exchange.plan.called_at = ward.now
    return exchange


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_fault_of_the_client_takes_nobody_out(status: int) -> None:
    ward = Ward([candidate("a"), candidate("b")])
    for _ in range(20):
        exchange = begun(ward)
        error = BadRequestError(status)
        asyncio.run(_plain.failed(exchange, ward.group[0], error, ward.now, ward.health))
        assert exchange.plan is not None
        ((_, fault),) = exchange.plan.faults
        assert (fault.fault, fault.status) == (Fault.TOO_LONG, status)
    assert ward.health.standings() == {}


def test_vectors_that_come_after_a_quarantine_are_not_taken() -> None:
    ward = Ward([candidate("a"), candidate("b")])
    exchange = begun(ward)
    assert exchange.plan is not None
    ward.health.quarantine("a", "parity: wrong space")
    row = [1.0] + [0.0] * 4095
    response = SimpleNamespace(data=[{"index": 0, "embedding": row}], usage=None)
    with pytest.raises(ProviderFault, match="not handed out: quarantined"):
        asyncio.run(_plain.take(exchange, response, ward.group[0], ward.now, ward.health))
    assert exchange.plan.missing() == [0]
    assert ward.picked(exchange.plan) == "b"
