"""One sandbox with every provider for all tests here; faults and journals are clean in each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from router_config.sandbox import Sandbox


@pytest.fixture(scope="session")
def _running() -> Iterator[Sandbox]:
    with Sandbox() as box:
        yield box


@pytest.fixture
def box(_running: Sandbox) -> Iterator[Sandbox]:
    _running.reset()
    yield _running
    _running.reset()
