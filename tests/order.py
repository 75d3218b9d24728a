"""The slowest test files first, so that no process is left with one of them at the end.

What is not listed follows in the order of its name. A file that starts proxies of its own, or works
long at one test, belongs here; that it is missing costs time and no test.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

__all__ = ["slowest_first"]

_TESTS = Path(__file__).parent
_SLOWEST = (
    "proxy/test_forms.py",
    "proxy/test_demo.py",
    "test_readme.py",
    "proxy/test_start.py",
    "proxy/test_money_redis.py",
    "proxy/test_scale_out.py",
    "proxy/test_stop.py",
    "test_docs.py",
    "proxy/test_secrets.py",
    "proxy/test_money_crowds.py",
    "proxy/test_reload.py",
    "proxy/test_health.py",
    "proxy/test_fleet.py",
    "proxy/test_parity.py",
    "proxy/test_accounting.py",
    "proxy/test_money.py",
    "proxy/test_limits.py",
    "proxy/test_addon.py",
    "proxy/test_simulation.py",
    "proxy/test_dialects.py",
    "proxy/test_faults.py",
    "proxy/test_plain.py",
    "deploy/test_action.py",
    "router_config/test_litellm_keys.py",
    "router_config/test_serve.py",
    "router_config/test_doctor.py",
    "router_config/test_simulate.py",
    "sandbox/test_lifetime.py",
    "plugins/test_tokens.py",
)
assert [name for name in _SLOWEST if not (_TESTS / name).exists()] == []


def slowest_first(files: Iterable[Path]) -> list[Path]:
    """Return *files*, each once, the slowest first."""
    ranks = {_TESTS / name: rank for rank, name in enumerate(_SLOWEST)}
    return sorted(dict.fromkeys(files), key=lambda one: (ranks.get(one, len(ranks)), one))
