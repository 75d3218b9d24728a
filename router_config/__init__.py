"""The declaring room: what a configuration may say, and whether it says it well.

Reads and checks files; imports neither LiteLLM nor the plugins nor anything that opens a socket.
"""

from __future__ import annotations

from .catalogue import HealthProbe, Limits, Price, Provider, load_catalogue
from .config import (
    Budget,
    Cache,
    Config,
    Deployment,
    Gateway,
    Group,
    Health,
    Key,
    Matryoshka,
    Metrics,
    Parity,
    Proving,
    RequestLog,
)
from .environment import EnvRef, Resolved, Secret, resolve
from .loader import SHIPPED_CONFIG, check, load
from .problems import ConfigError, Problem
from .references import lineage_of

__all__ = [
    "SHIPPED_CONFIG",
    "Budget",
    "Cache",
    "Config",
    "ConfigError",
    "Deployment",
    "EnvRef",
    "Gateway",
    "Group",
    "Health",
    "HealthProbe",
    "Key",
    "Limits",
    "Matryoshka",
    "Metrics",
    "Parity",
    "Price",
    "Problem",
    "Provider",
    "Proving",
    "RequestLog",
    "Resolved",
    "Secret",
    "check",
    "lineage_of",
    "load",
    "load_catalogue",
    "resolve",
]
