"""The composition root: one snapshot of config, pools, wire and exchanges per process.

LiteLLM may execute the public plugin files more than once; this module is imported normally and
holds what must exist once. `start` is called while LiteLLM loads our callbacks, so what it raises
ends the start with the reason.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from plugins import _admission, _logs, _round, _tokens
from plugins._admission import Consumer, model_not_found
from plugins._attempt import Watcher
from plugins._attempt_log import AttemptLog
from plugins._errors import ClientError
from plugins._exchange import ID_HEADER, PLAN_KEY, Exchange, Exchanges
from plugins._keyring import Keyring
from plugins._plan import Plan
from plugins._pool import Candidate, build
from plugins._presence import Presence
from plugins._request import BODY_FIELDS, Asked, parse_fields, split_model
from plugins._wire import Wire
from router_config import Config, Group, load, resolve

__all__ = ["Runtime", "StartError", "current", "reset", "start"]

log = logging.getLogger("qwen3_router")

_current: Runtime | None = None


class StartError(RuntimeError):
    """The router must not run as configured; the text says what to do."""


class Runtime:
    """Everything one process needs to serve requests; plain methods, no LiteLLM."""

    def __init__(
        self,
        config: Config,
        environ: Mapping[str, str],
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
        watchers: Sequence[Watcher] = (AttemptLog(),),
    ) -> None:
        self.config = config
        self.clock = clock
        self.draw = draw
        self.pool = build(config, environ)
        self.exchanges = Exchanges(clock)
        self.watchers = (Presence(self.exchanges), *watchers)
        self.keys = Keyring(config.keys.values())
        self._aliases = _aliases(config)
        self._by_id = {one.id: one for group in self.pool.values() for one in group}
        # What LiteLLM serves by itself, as its health check names it: by model and base.
        self._plain = {
            (one.model, resolve(one, environ).api_base): self._by_id[one.id]
            for group in config.groups.values()
            for one in group.deployments
            if one.provider is None
        }
        # Connections belong to an event loop; tests and LiteLLM's sync helpers may run several.
        self._wires: dict[int, Wire] = {}

    # -- what is ours

    def group_of(self, model: object) -> Group | None:
        """Return our group behind *model*, which may be an alias and carry an input type."""
        if not isinstance(model, str):
            return None
        for name in (model, split_model(model)[0]):
            group = self.config.groups.get(self._aliases.get(name, name))
            if group is not None:
                return group
        return None

    def is_internal_name(self, model: object) -> bool:
        """Tell whether *model* names one of our deployments, which no client may address."""
        return isinstance(model, str) and (model.startswith("qwen3/") or model in self._by_id)

    def candidate(self, deployment_id: object) -> Candidate | None:
        """Return the deployment with that id."""
        return self._by_id.get(deployment_id) if isinstance(deployment_id, str) else None

    def plain(self, model: str, api_base: str | None) -> Candidate | None:
        """Return the deployment of a group that LiteLLM serves by itself, by *model* and base."""
        return self._plain.get((model, api_base.rstrip("/") if api_base else None))

    def why_off(self, provider: str, api_base: str | None) -> str | None:
        """Return why no deployment of *provider* at *api_base* is on, or None if one is."""
        found = [
            one
            for one in self._by_id.values()
            if one.endpoint.provider == provider
            and (
                not api_base
                or one.endpoint.target is None
                or one.endpoint.target.api_base == api_base
            )
        ]
        if any(one.off is None for one in found):
            return None
        return _off(found) or "not a deployment of this router"

    # -- one request

    def parse(self, fields: Mapping[str, Any], headers: Mapping[str, str]) -> Asked:
        """Return what the client asked of one of our groups. Raises `ClientError`."""
        model = fields.get("model")
        if not isinstance(model, str) or not model:
            raise ClientError(400, "invalid_input", "`model` must be a model name.", param="model")
        group = self.group_of(model)
        if group is None:
            raise model_not_found(model)
        return parse_fields(
            fields, headers, max_inputs=self.config.max_inputs, default_instruct=group.instruct
        )

    async def enter(
        self, data: dict[str, Any], headers: Mapping[str, str], consumer: Consumer
    ) -> Exchange | None:
        """Admit the request in LiteLLM's *data* and leave in it only what may steer LiteLLM.

        Returns None if the request is not for one of our groups. Calling it again for the same
        request changes nothing, so each of our callbacks may call it, with or without the others.

        Raises:
            ClientError: the request is refused; it is also noted in the exchange.
        """
        metadata = data.get("metadata") or {}
        known = self.exchanges.get(metadata.get(PLAN_KEY))
        if known is not None and known.plan is not None:
            return known
        exchange = self.exchanges.get(headers.get(ID_HEADER))
        try:
            return await self._enter(data, headers, consumer, exchange)
        except ClientError as error:
            if exchange is not None:
                exchange.entered = True
                exchange.error = error
            raise

    async def _enter(
        self,
        data: dict[str, Any],
        headers: Mapping[str, str],
        consumer: Consumer,
        exchange: Exchange | None,
    ) -> Exchange | None:
        if exchange is not None and isinstance(exchange.error, ClientError):
            raise exchange.error
        if self.is_internal_name(data.get("model")) and self.group_of(data.get("model")) is None:
            raise model_not_found(data["model"])
        group = self.group_of(data.get("model"))
        if group is None:
            _admission.check_foreign(str(data.get("model")), consumer)
            return None
        if exchange is None:
            exchange = self.exchanges.open()
        exchange.entered = True
        if exchange.asked is None:
            exchange.asked = self.parse(data, headers)
        exchange.plan = await _admission.admit(
            exchange.asked,
            group,
            self.pool,
            consumer,
            request_id=exchange.id,
            received_at=exchange.received_at,
        )
        _steer(data, exchange.plan)
        return exchange

    def next(self, plan: Plan) -> Candidate | None:
        """Return the deployment that *plan* should try next, or None when it has to end."""
        exchange = self.exchanges.get(plan.id)
        if exchange is not None and exchange.left:
            return None
        return plan.next(self.draw, self.clock())

    async def serve(self, plan: Plan, candidate: Candidate) -> None:
        """Send what is missing to *candidate*. Raises `ProviderFault`; see `_round.serve`."""
        await _round.serve(
            plan,
            candidate,
            transport=self._wire(),
            watchers=self.watchers,
            clock=self.clock,
            wall=time.time,
        )

    def _wire(self) -> Wire:
        loop = asyncio.get_running_loop()
        wire = self._wires.get(id(loop))
        if wire is None:
            wire = self._wires[id(loop)] = Wire()
        return wire

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        wire = self._wires.pop(id(asyncio.get_running_loop()), None)
        if wire is not None:
            await wire.aclose()

    # -- start

    def announce(self) -> None:
        """Log what is on, what is off and why, and what the file says that is not enforced yet.

        Raises:
            StartError: nobody can serve anything, or a required group has nobody.
        """
        for name, candidates in self.pool.items():
            on = [one.id for one in candidates if one.off is None]
            for one in candidates:
                if one.off is not None:
                    log.info("deployment %s of %s is off: %s", one.id, name, one.off)
            if on:
                log.info("group %s: %s", name, ", ".join(on))
            elif self.config.groups[name].required:
                raise StartError(
                    f"group {name} is required and has no usable deployment: {_off(candidates)}"
                )
            else:
                log.warning(
                    "group %s has no usable deployment and answers 503: %s", name, _off(candidates)
                )
        if self.config.budgets:
            log.warning(
                "budgets are declared but not enforced by this release: nothing limits spend yet"
            )
        if not any(one.off is None for group in self.pool.values() for one in group):
            every = [one for group in self.pool.values() for one in group]
            raise StartError(
                f"no deployment can be used: {_off(every)}. Set one of these variables and start "
                "again, or run `make demo` (or `qwen3-router demo`) to try it without any key."
            )

    def load_vocabularies(self) -> None:
        """Load what counts and decodes tokens now, not in the first request.

        Raises:
            StartError: a vocabulary that the config needs is not installed.
        """
        named = {group.token_inputs for group in self.config.groups.values()}
        try:
            _tokens.load("qwen3")
            if "cl100k_base" in named:
                _tokens.load("cl100k_base")
        except _tokens.VocabularyMissingError as error:
            raise StartError(str(error)) from None


def _aliases(config: Config) -> dict[str, str]:
    """Return what LiteLLM's `model_group_alias` leads to, as far as those are groups of ours."""
    settings = config.raw.get("router_settings") or {}
    found = {}
    for alias, target in (settings.get("model_group_alias") or {}).items():
        name = target.get("model") if isinstance(target, dict) else target
        if name in config.groups:
            found[alias] = name
    return found


def _off(candidates: Sequence[Candidate]) -> str:
    return "; ".join(dict.fromkeys(one.off for one in candidates if one.off is not None))


def _steer(data: dict[str, Any], plan: Plan) -> None:
    """Leave in LiteLLM's *data* what it needs and set what leads its Router.

    Client fields beyond the documented list go away here as well as at the front door, because
    LiteLLM copies headers such as x-litellm-num-retries into the data before this point.
    """
    for name in [name for name in data if name not in _KEEP]:
        del data[name]
    asked = plan.asked
    data["model"] = plan.group_names[0]
    data["input"] = list(plan.texts)
    if asked.user is not None:
        data["user"] = asked.user
    # No more than can be used: before a retry in a group of one, LiteLLM sleeps for seconds.
    most = max(sum(one.off is None for one in group) for group in plan.groups)
    data["num_retries"] = max(0, min(plan.attempts, most) - 1)
    # LiteLLM's own response cache would store replies without vectors.
    data["cache"] = {"no-cache": True, "no-store": True}
    data["metadata"] = {**(data.get("metadata") or {}), PLAN_KEY: plan.id}


_KEEP = frozenset(
    {
        "litellm_call_id",
        "litellm_logging_obj",
        "litellm_trace_id",
        "metadata",
        "proxy_server_request",
        "secret_fields",
        "shared_session",
    }
)
assert not _KEEP & set(BODY_FIELDS)


def start(config_path: str | Path | None = None) -> Runtime:
    """Build the snapshot of this process, or return the one that is there.

    Raises:
        ConfigError: the file has problems.
        StartError: nothing could be served.
    """
    global _current
    if _current is None:
        path = config_path or os.environ.get("CONFIG_FILE_PATH")
        if path is None:
            raise StartError("no config file: start LiteLLM with --config or set CONFIG_FILE_PATH")
        _logs.set_up()
        runtime = Runtime(load(path), os.environ)
        runtime.announce()
        runtime.load_vocabularies()
        _current = runtime
    return _current


def current() -> Runtime:
    """Return the snapshot of this process. Raises `StartError` before `start`."""
    if _current is None:
        raise StartError("the router was not started: plugins.gateway.handler must be a callback")
    return _current


def reset() -> None:
    """Forget the snapshot (tests only)."""
    global _current
    _current = None
