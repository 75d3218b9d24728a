"""Which budgets a call touches: the config's words as rows of the ledger.

Names: a deployment's account as the file names it; `group:<name>`, `key:<alias>`, `team:<id>` and
`user:<id>` for those who ask (`key:*` gives every key a row of its own); `deployment:<id>` counts a
priced deployment without an account, unlimited, so that no spend is unseen; `quota:…` are requests
and tokens a minute; `router:probes` is what health may spend on probes.
"""

from __future__ import annotations

from collections.abc import Mapping

from plugins._ledger import Budget
from plugins._ledger_open import budget_of, quota
from router_config import Budget as Declared
from router_config import Config, Deployment, Key

__all__ = ["declared", "of_client", "of_deployment", "of_probes", "quota_of_key"]


def declared(config: Config) -> list[Budget]:
    """Return every budget of the file that is one row; the wildcards become rows when met."""
    return [budget_of(one) for one in config.budgets.values() if not one.name.endswith(":*")]


def of_deployment(deployment: Deployment, config: Config) -> tuple[Budget, ...]:
    """Return the rows of a deployment: its account, else a count of its cost, and its quotas."""
    rows = []
    if deployment.budget is not None:
        rows.append(budget_of(config.budgets[deployment.budget]))
    elif deployment.usd_per_million_tokens:
        rows.append(Budget(f"deployment:{deployment.id}", "month"))
    if deployment.rpm is not None or deployment.tpm is not None:
        rows.append(
            quota(
                f"quota:deployment:{deployment.id}",
                tokens=deployment.tpm,
                requests=deployment.rpm,
            )
        )
    return tuple(rows)


def of_client(
    budgets: Mapping[str, Declared],
    *,
    group: str,
    key: str | None,
    team: str | None,
    user: str | None,
) -> tuple[Budget, ...]:
    """Return the rows of whoever asks: the group's, the key's, the team's and the user's."""
    rows = []
    for kind, name in (("group", group), ("key", key), ("team", team), ("user", user)):
        if name is None:
            continue
        found = budgets.get(f"{kind}:{name}") or budgets.get(f"{kind}:*")
        if found is not None:
            rows.append(budget_of(found, f"{kind}:{name}"))
    return tuple(rows)


def of_probes(config: Config) -> Budget:
    """Return the row that all probes of health draw on, beside the accounts of who is probed."""
    return budget_of(config.health.probe_budget)


def quota_of_key(key: Key) -> tuple[Budget, ...]:
    """Return the requests and tokens a minute of a key of the file."""
    if key.rpm is None and key.tpm is None:
        return ()
    return (quota(f"quota:key:{key.alias}", tokens=key.tpm, requests=key.rpm),)
