"""What a rule looks at: the configuration, and the file that it came from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

from ..catalogue import Provider
from ..config import Config, Deployment
from ..problems import Finding, Path
from ..schema import File, GeneralSettings, LiteLLMSettings, RouterSection, RouterSettings

__all__ = ["Rule", "Subject", "mapping", "path_of"]


@dataclass(frozen=True)
class Subject:
    """One configuration as written (*data*, *file*) and as used (*config*).

    *today* decides what is old or expired.
    """

    config: Config
    file: File
    data: dict[str, Any]
    catalogue: Mapping[str, Provider]
    today: date

    @cached_property
    def deployments(self) -> list[Deployment]:
        """The deployments of our groups, in the order of the file."""
        groups = self.config.groups.values()
        return sorted((one for g in groups for one in g.deployments), key=lambda one: one.index)

    @cached_property
    def models(self) -> frozenset[str]:
        """All model names of the file that have a deployment."""
        return self.config.foreign_models | {one.group for one in self.deployments}

    @property
    def router(self) -> RouterSettings:
        """LiteLLM's `router_settings`."""
        return self.file.router_settings or RouterSettings()

    @property
    def litellm(self) -> LiteLLMSettings:
        """LiteLLM's `litellm_settings`."""
        return self.file.litellm_settings or LiteLLMSettings()

    @property
    def general(self) -> GeneralSettings:
        """LiteLLM's `general_settings`."""
        return self.file.general_settings or GeneralSettings()

    @property
    def section(self) -> RouterSection:
        """Our own section."""
        return self.file.embedding_router or RouterSection()

    def written(self, *path: str | int) -> Any:
        """Return the plain data at *path*, or None where there is nothing."""
        value: Any = self.data
        for step in path:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return None
        return value


Rule = Callable[[Subject], Iterable[Finding]]


def path_of(deployment: Deployment, *steps: str) -> Path:
    """Return the path of *deployment*'s entry, or of something in it."""
    return ("model_list", deployment.index, *steps)


def mapping(value: Any) -> dict[str, Any]:
    """Return *value* if it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}
