"""The cross-field rules: one short function each, from a configuration to findings.

A rule yields a path and a text; the loader adds the position and drops what the schema already
said. A new rule is one function in the module of its area, one entry of its `RULES`, and one case
in `tests/router_config/cases/`.
"""

from __future__ import annotations

from . import (
    aliases,
    budgets,
    deployments,
    fallbacks,
    gateway,
    groups,
    health,
    keys,
    litellm_keys,
    observing,
    options,
    parity,
    secrets,
    wire_calls,
    wiring,
)
from .subject import Rule, Subject

__all__ = ["RULES", "Rule", "Subject"]

RULES: tuple[Rule, ...] = (
    *deployments.RULES,
    *groups.RULES,
    *aliases.RULES,
    *fallbacks.RULES,
    *budgets.RULES,
    *keys.RULES,
    *secrets.RULES,
    *options.RULES,
    *parity.RULES,
    *health.RULES,
    *observing.RULES,
    *gateway.RULES,
    *litellm_keys.RULES,
    *wire_calls.RULES,
    *wiring.RULES,
)
