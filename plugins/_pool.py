"""The deployments of each group, ready to be picked: config plus environment, nothing else.

Pure: a loaded `Config` and an environment in, immutable candidates out. A deployment whose
variable is unset stays in the pool, marked off with the reason, so that status and errors name it.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from plugins._budgets import of_deployment, of_group
from plugins._dialects import Target
from plugins._ledger import Budget
from router_config import Config, Deployment, HealthProbe, resolve

__all__ = ["Candidate", "Endpoint", "build"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What can be healthy or sick: dialect, base URL, wire model and key together.

    *key* is a hash of the four, so it may be logged and shared; two deployments with equal keys
    are one endpoint. *target* is None for a deployment that LiteLLM calls itself. *signal* is the
    catalogue's free request that tells whether somebody is there.
    """

    key: str
    provider: str
    dialect: str | None
    target: Target | None
    concurrency: int
    signal: HealthProbe | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One deployment as the pick sees it.

    *off* says why it cannot be used at all (an unset variable). *budgets* are its account and its
    quotas, *group_budget* is its group's; *usd_per_million_tokens* is what an attempt will book.
    Timeouts are in seconds for one attempt; the second grows with tokens.
    """

    id: str
    group: str
    order: int
    weight: float
    off: str | None
    endpoint: Endpoint
    region: str
    budgets: tuple[Budget, ...]
    usd_per_million_tokens: Decimal
    max_inputs: int
    max_tokens_per_input: int
    max_tokens_per_call: int | None
    timeout_s: float
    timeout_s_per_1k_tokens: float
    group_budget: Budget | None = None

    def cost_nano_usd(self, tokens: int) -> int:
        """Return the price of *tokens* in one call, in nano-dollars, rounded up."""
        above, below = _nano_usd_per_token(self.usd_per_million_tokens)
        return -(-above * tokens // below)

    @property
    def is_free(self) -> bool:
        """Tell whether a call costs nothing that is counted: an own server without a budget."""
        return not self.budgets and not self.usd_per_million_tokens

    def attempt_timeout_s(self, tokens: int) -> float:
        """Return how long one attempt with *tokens* may last, in seconds."""
        return self.timeout_s + self.timeout_s_per_1k_tokens * tokens / 1000


@functools.lru_cache(maxsize=1024)  # a price's own arithmetic takes longer than all the rest
def _nano_usd_per_token(usd_per_million_tokens: Decimal) -> tuple[int, int]:
    """Return numerator and denominator, exactly."""
    return (usd_per_million_tokens * 1000).as_integer_ratio()


def build(config: Config, environ: Mapping[str, str]) -> dict[str, tuple[Candidate, ...]]:
    """Return the candidates of every group, in the order of the file."""
    return {
        name: tuple(_candidate(deployment, config, environ) for deployment in group.deployments)
        for name, group in config.groups.items()
    }


def _candidate(deployment: Deployment, config: Config, environ: Mapping[str, str]) -> Candidate:
    resolved = resolve(deployment, environ)
    provider = deployment.provider
    api_key = resolved.api_key.reveal() if resolved.api_key is not None else None
    target = None
    if provider is not None:
        target = Target(
            provider=provider.name,
            api_base=resolved.api_base or "",
            wire_model=deployment.wire_model,
            api_key=api_key,
            base64=deployment.base64,
            normalised=deployment.normalised,
            usage_counts=provider.usage_counts,
            options=deployment.options,
        )
    dialect = provider.dialect if provider is not None else None
    identity = "\0".join(
        (dialect or deployment.model, resolved.api_base or "", deployment.wire_model, api_key or "")
    )
    limits = deployment.limits
    return Candidate(
        id=deployment.id,
        group=deployment.group,
        order=deployment.order,
        weight=deployment.weight,
        off=resolved.off,
        endpoint=Endpoint(
            key=hashlib.sha256(identity.encode()).hexdigest()[:16],
            provider=provider.name if provider is not None else deployment.model.partition("/")[0],
            dialect=dialect,
            target=target,
            concurrency=limits.concurrency,
            signal=provider.health if provider is not None else None,
        ),
        region=deployment.region,
        budgets=of_deployment(deployment, config),
        group_budget=next(iter(of_group(config, deployment.group)), None),
        usd_per_million_tokens=deployment.usd_per_million_tokens,
        max_inputs=limits.max_inputs,
        max_tokens_per_input=limits.max_tokens_per_input,
        max_tokens_per_call=limits.max_tokens_per_call,
        timeout_s=deployment.timeout_s or (provider.attempt_timeout_s if provider else 10.0),
        timeout_s_per_1k_tokens=(
            0.0 if deployment.timeout_s or provider is None else provider.timeout_s_per_1k_tokens
        ),
    )
