"""What only the running machine knows: the variables behind a deployment.

A deployment whose variable is unset is off, with a reason that names the variable and no value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .config import Deployment
from .values import EnvRef, Secret, is_base_url

__all__ = ["EnvRef", "Resolved", "Secret", "key_reference", "resolve"]


@dataclass(frozen=True, slots=True)
class Resolved:
    """Base URL (without a trailing slash) and key of a deployment; *off* is why it has none."""

    api_base: str | None
    api_key: Secret | None
    off: str | None


def key_reference(deployment: Deployment) -> Secret | EnvRef | None:
    """Return where the deployment's key comes from: what the file says, else the usual variable."""
    if deployment.api_key is None and deployment.provider and deployment.provider.key_env:
        return EnvRef(deployment.provider.key_env)
    return deployment.api_key


def resolve(deployment: Deployment, environ: Mapping[str, str]) -> Resolved:
    """Return *deployment*'s base URL and key, with the variables in *environ* looked up."""
    missing: list[str] = []
    key = key_reference(deployment)
    if isinstance(key, EnvRef):
        key = _look_up(key, environ, missing)
    base = deployment.api_base
    if isinstance(base, EnvRef):
        found = _look_up(base, environ, missing)
        base = found.reveal() if found else None
        if base is not None and ("@" in base or not is_base_url(base)):
            return Resolved(None, key, f"{_name(deployment.api_base)} is not an http(s) URL")
    elif base is None and deployment.provider is not None:
        return Resolved(None, key, "api_base is missing")
    off = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set"
    return Resolved(base.rstrip("/") if base else None, key, off if missing else None)


def _look_up(ref: EnvRef, environ: Mapping[str, str], missing: list[str]) -> Secret | None:
    text = environ.get(ref.name, "").strip()
    if not text:
        missing.append(ref.name)
    return Secret(text) if text else None


def _name(reference: object) -> str:
    return reference.name if isinstance(reference, EnvRef) else "api_base"
