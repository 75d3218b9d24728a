"""What is off on this machine, because a variable is unset: for `validate --env`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..config import Config, Group
from ..environment import resolve
from ..problems import Finding, Severity
from ..values import ENV_PREFIX, EnvRef
from .subject import path_of

__all__ = ["unset"]


def unset(config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield a finding for each deployment, group and key that *environ* leaves without a value."""
    usable: set[str] = set()
    for group in config.groups.values():
        for one in group.deployments:
            off = resolve(one, environ).off
            if off is None:
                usable.add(group.name)
                continue
            names = {"api_base": one.api_base, "api_key": one.api_key}
            name = next((n for n, v in names.items() if isinstance(v, EnvRef)), "model")
            path = path_of(one, "litellm_params", name)
            yield Finding(path, f"{off}, so this deployment is off", "set it to use it", "warning")
    for group in config.groups.values():
        if group.name not in usable and group.deployments:
            other = next((name for name in group.fallbacks if name in usable), None)
            yield _nobody(group, other, none_at_all=not usable)
    general = config.raw.get("general_settings")
    master = general.get("master_key") if isinstance(general, dict) else None
    name = master.removeprefix(ENV_PREFIX) if isinstance(master, str) else "LITELLM_MASTER_KEY"
    if (master is None or str(master).startswith(ENV_PREFIX)) and not environ.get(name):
        what = f"{name} is not set, so LiteLLM does not start"
        yield Finding(("general_settings", "master_key"), what, "set it: sk- and a random text")


def _nobody(group: Group, other: str | None, *, none_at_all: bool) -> Finding:
    if none_at_all or group.required:
        what = f'"{group.name}" has no usable deployment, so the start fails'
    elif other is not None:
        what = f'"{group.name}" has no usable deployment here; its fallback "{other}" answers'
    else:
        what = f'"{group.name}" has no usable deployment and answers 503'
    severity: Severity = "error" if none_at_all or group.required else "warning"
    return Finding(path_of(group.deployments[0]), what, "set a variable of one", severity)
