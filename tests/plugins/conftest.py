"""Fixtures of the tests of `plugins`."""

from __future__ import annotations

import pytest

from plugins._dialects import DIALECTS, Dialect


@pytest.fixture(params=sorted(DIALECTS))
def speak(request: pytest.FixtureRequest) -> Dialect:
    """Every dialect in turn: what is tested with it is promised by all of them."""
    return DIALECTS[request.param]
