"""What every ledger store must do, held against each of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.plugins.ledger_histories import Histories
from tests.plugins.ledger_stores import Store, fast_store
from tests.sizes import size

HISTORIES = size(30, 10_000)


@pytest.fixture(params=["sqlite", "redis"], scope="module")
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    with fast_store(request.param) as found:
        yield found


def test_histories_follow_the_model(store: Store) -> None:
    machine = type("StoreHistories", (Histories,), {"store": store})
    run_state_machine_as_test(machine, settings=settings(max_examples=HISTORIES, deadline=None))
