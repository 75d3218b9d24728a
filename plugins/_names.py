"""Which of our groups a model name means: its own name, an alias, or either with an input type."""

from __future__ import annotations

from plugins._request import split_model
from router_config import Config, Group

__all__ = ["group_of"]


def group_of(config: Config, model: object) -> Group | None:
    """Return our group behind *model*, such as `qwen3-embedding-8b:query`, or None."""
    if not isinstance(model, str):
        return None
    for name in (model, split_model(model)[0]):
        group = config.groups.get(config.aliases.get(name, name))
        if group is not None:
            return group
    return None
