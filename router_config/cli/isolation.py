"""Proof before a start: a config that was pointed at emulators can reach nothing but this machine.

The demo runs in the shell of somebody who may have real keys there. So the proxy gets an
environment of a few harmless variables and the emulators' keys, and its config is read once more
before the start: one deployment that would leave the machine, and there is no start.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

import yaml

__all__ = ["harmless", "leaks"]

_ENV = "os.environ/"
# What a Python process needs to run as it does in this shell. Everything else stays behind: keys,
# base URLs, a database, HTTP proxies, settings of LiteLLM.
_KEPT = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TZ", "TMPDIR", "LANG", "SYSTEMROOT")
_KEPT_PREFIXES = ("LC_", "LD_", "DYLD_", "PYTHON", "VIRTUAL_ENV", "CONDA_", "OPENBLAS_", "OMP_")


def harmless(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the part of *environ* that steers neither LiteLLM nor a connection."""
    return {
        name: value
        for name, value in environ.items()
        if name in _KEPT or name.startswith(_KEPT_PREFIXES)
    }


def leaks(text: str, environ: Mapping[str, str], keys: Collection[str]) -> list[str]:
    """Return a line for each deployment of the config *text* that could reach a provider.

    Each must name a loopback address itself, and send no key but one of *keys*. *environ* is what
    the proxy will run with.
    """
    config: dict[str, Any] = yaml.safe_load(text)
    found = []
    for index, entry in enumerate(config.get("model_list") or []):
        params = entry.get("litellm_params") or {}
        name = (entry.get("model_info") or {}).get("id") or f"model_list[{index}]"
        base = _value(params.get("api_base"), environ)
        if not base:
            found.append(f"{name} has no api_base, so it would call its provider")
        elif not _is_loopback(base):
            found.append(f"{name} would call {urlsplit(base).hostname or 'an unknown host'}")
        key = _value(params.get("api_key"), environ)
        if key and key not in keys:
            found.append(f"{name} would send a key that is not an emulator's")
    return found


def _value(given: object, environ: Mapping[str, str]) -> str | None:
    if not isinstance(given, str):
        return None
    return environ.get(given.removeprefix(_ENV)) if given.startswith(_ENV) else given


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, or no URL at all
        return False
