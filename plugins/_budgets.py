"""Which budgets a call touches: the config's words as rows of the ledger.

Names: a deployment's account as the file names it; `group:<name>`, `key:<alias>`, `team:<id>` and
`user:<id>` for those who ask (`key:*` gives every key a row of its own); `deployment:<id>` counts a
priced deployment without an account, unlimited, so that no spend is unseen; `quota:…` are requests
and tokens a minute; `router:probes` is what health may spend on probes.
"""

from __future__ import annotations

import hashlib

from plugins._ledger import Budget
from plugins._ledger_open import budget_of, quota
from router_config import Config, Deployment, Key

__all__ = [
    "declared",
    "of_client",
    "of_deployment",
    "of_group",
    "of_probes",
    "quota_of_key",
    "row_of",
]

_LONGEST = 190  # characters of a name, without its kind


def declared(config: Config) -> list[Budget]:
    """Return every budget of the file that is one row; the wildcards become rows when met."""
    return [
        budget_of(one, since=config.since)
        for one in config.budgets.values()
        if not one.name.endswith(":*")
    ]


def of_deployment(deployment: Deployment, config: Config) -> tuple[Budget, ...]:
    """Return the rows of a deployment: its account, else a count of its cost, and its quotas."""
    rows = []
    if deployment.budget is not None:
        rows.append(budget_of(config.budgets[deployment.budget], since=config.since))
    elif deployment.usd_per_million_tokens:
        rows.append(Budget(f"deployment:{deployment.id}", "month", since=config.since))
    if deployment.rpm is not None or deployment.tpm is not None:
        rows.append(
            quota(
                f"quota:deployment:{deployment.id}",
                tokens=deployment.tpm,
                requests=deployment.rpm,
                since=config.since,
            )
        )
    return tuple(rows)


def of_client(
    config: Config,
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
        found = row_of(config, f"{kind}:{_fit(name)}")
        if found is not None:
            rows.append(found)
    return tuple(rows)


def of_group(config: Config, group: str) -> tuple[Budget, ...]:
    """Return the row of *group*, which pays for what is asked of it and of its deployments."""
    return of_client(config, group=group, key=None, team=None, user=None)


def _fit(name: str) -> str:
    """Return *name*, or its hash where the ledger could not keep it: LiteLLM's may be anything."""
    if len(name) <= _LONGEST and name.isprintable():
        return name
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def row_of(config: Config, name: str) -> Budget | None:
    """Return the row *name* as the file has it: by itself, or where it says `key:*`."""
    kind, colon, whose = name.partition(":")
    found = config.budgets.get(name)
    if found is None and colon and whose:
        found = config.budgets.get(f"{kind}:*")
    return None if found is None else budget_of(found, name, since=config.since)


def of_probes(config: Config) -> Budget:
    """Return the row that all probes of health draw on, beside the accounts of who is probed."""
    return budget_of(config.health.probe_budget, since=config.since)


def quota_of_key(key: Key, since: int = 0) -> tuple[Budget, ...]:
    """Return the requests and tokens a minute of a key of the file."""
    if key.rpm is None and key.tpm is None:
        return ()
    name = f"quota:key:{key.alias}"
    return (quota(name, tokens=key.tpm, requests=key.rpm, since=since),)
