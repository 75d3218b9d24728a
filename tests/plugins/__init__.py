"""Unit tests of `plugins`."""

import pytest

# Helpers that assert: without this a failure shows no values.
pytest.register_assert_rewrite(f"{__name__}.wires")
