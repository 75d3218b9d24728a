"""What one configuration file means here: its groups, deployments and keys, ready to serve.

Never changed: a reload puts another one in its place, and a request keeps the one it began with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugins._admission import model_not_found
from plugins._errors import ClientError
from plugins._keyring import Keyring
from plugins._names import group_of
from plugins._parity_reference import recorded
from plugins._pool import Candidate, build
from plugins._readiness import why_off
from plugins._request import Asked, parse_fields
from router_config import Config, Group, resolve

__all__ = ["Snapshot"]


class Snapshot:
    """*config* with what the environment adds to it.

    *pool* has the candidates of every group by its name, *keys* the client keys of the file,
    *references* the recorded vectors of each vector space, *recorded* their names.

    Raises:
        UnreadableError: a file of recorded vectors cannot be used.
    """

    def __init__(self, config: Config, environ: Mapping[str, str]) -> None:
        self.config = config
        self.pool = build(config, environ)
        self.keys = Keyring(config.keys.values())
        self.references = recorded(config)
        self.recorded = {name: one.name for name, one in self.references.items()}
        self._by_id = {one.id: one for group in self.pool.values() for one in group}
        own = {name for name, all_ in self.pool.items() if all(one.endpoint.target for one in all_)}
        self._alone = {
            group.name
            for group in config.groups.values()
            if own.issuperset({group.name, *group.fallbacks} & self.pool.keys())
        }
        # What LiteLLM serves by itself, as its health check names it: by model and base.
        self._plain = {
            (one.model, resolve(one, environ).api_base): self._by_id[one.id]
            for group in config.groups.values()
            for one in group.deployments
            if one.provider is None
        }

        # How LiteLLM's Router knows its deployments; kept when this snapshot is replaced.
        self.litellm: dict[str, dict[str, Any]] = {}

    def group_of(self, model: object) -> Group | None:
        """Return our group behind *model*, which may be an alias and carry an input type."""
        return group_of(self.config, model)

    def serves_alone(self, group: Group) -> bool:
        """Tell whether no deployment of *group* and its fallbacks needs LiteLLM's own clients."""
        return group.name in self._alone

    def parse(self, fields: Mapping[str, Any], headers: Mapping[str, str]) -> Asked:
        """Return what the client asked of one of our groups.

        Raises:
            ClientError: the request cannot be understood or served as it is.
        """
        model = fields.get("model")
        if not isinstance(model, str) or not model:
            raise ClientError(400, "invalid_input", "`model` must be a model name.", param="model")
        group = self.group_of(model)
        if group is None:
            raise model_not_found(model)
        return parse_fields(
            fields, headers, max_inputs=self.config.max_inputs, default_instruct=group.instruct
        )

    def is_internal_name(self, model: object) -> bool:
        """Tell whether *model* names one of our deployments, which no client may address."""
        return isinstance(model, str) and (model.startswith("qwen3/") or model in self._by_id)

    def candidate(self, deployment_id: object) -> Candidate | None:
        """Return the deployment with that id."""
        return self._by_id.get(deployment_id) if isinstance(deployment_id, str) else None

    def plain(self, model: str, api_base: str | None) -> Candidate | None:
        """Return the deployment of a group that LiteLLM serves by itself, by *model* and base."""
        return self._plain.get((model, api_base.rstrip("/") if api_base else None))

    def at(
        self, provider: str, api_base: str | None, api_key: str | None = None
    ) -> list[Candidate]:
        """Return the deployments that LiteLLM checks, as far as what it names tells them apart."""
        bases = [
            (one, one.endpoint.target.api_base)
            for one in self._by_id.values()
            if one.endpoint.provider == provider and one.endpoint.target is not None
        ]
        # LiteLLM names no base where the file has none, or where its variable is unset; then ours
        # is empty too.
        wanted = (api_base or "").rstrip("/")
        found = [one for one, base in bases if base == wanted]
        if not wanted and not found:
            found = [one for one, _ in bases]
        same = [
            one for one in found if one.endpoint.target and one.endpoint.target.api_key == api_key
        ]
        return same or found

    def why_off(
        self, provider: str, api_base: str | None, api_key: str | None = None
    ) -> str | None:
        """Return why none of the deployments that LiteLLM checks is on, or None if one is."""
        found = self.at(provider, api_base, api_key)
        if any(one.off is None for one in found):
            return None
        return why_off(found) or "not a deployment of this router"
