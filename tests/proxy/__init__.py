"""Tests over a real LiteLLM proxy and real sockets."""

import pytest

# Helpers that assert: without this a failure shows no values.
for _name in ("answers", "pairs", "reference", "watching"):
    pytest.register_assert_rewrite(f"{__name__}.{_name}")
