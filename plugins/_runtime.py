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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from plugins import _admission, _logs, _round
from plugins._admission import Consumer, model_not_found
from plugins._attempt import Watcher
from plugins._attempt_log import AttemptLog
from plugins._background import Background
from plugins._budgets import of_client
from plugins._errors import ClientError, Unavailable
from plugins._exchange import ID_HEADER, PLAN_KEY, Exchange, Exchanges
from plugins._keyring import Keyring
from plugins._ledger import Amount
from plugins._ledger_open import open_ledger
from plugins._money import Money
from plugins._names import group_of
from plugins._parity_reference import UnreadableError, recorded
from plugins._plan import Plan
from plugins._pool import Candidate, build
from plugins._presence import Presence
from plugins._readiness import StartError, announce, check_ledger, load_vocabularies, why_off
from plugins._request import Asked, parse_fields
from plugins._steer import steer
from plugins._wire import Wire
from router_config import Config, Group, load, resolve

__all__ = ["Runtime", "StartError", "current", "reset", "start"]

log = logging.getLogger("qwen3_router")

_current: Runtime | None = None


class Runtime:
    """Everything one process needs to serve requests; plain methods, no LiteLLM."""

    def __init__(
        self,
        config: Config,
        environ: Mapping[str, str],
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.config = config
        self.clock = clock
        self.draw = draw
        self.pool = build(config, environ)
        self.money = Money(open_ledger(config.ledger, environ), clock)
        self.exchanges = Exchanges(clock)
        presence = Presence(self.exchanges)
        self.watchers: tuple[Watcher, ...] = (presence, self.money, AttemptLog())
        self.references = recorded(config)
        self.revisions = {name: one.revision for name, one in self.references.items()}
        self.keys = Keyring(config.keys.values())
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
        self.background = Background()

    def begin(self) -> None:
        """Start the work beside the requests, if an event loop is running and none has it yet."""
        self.background.begin()

    # -- what is ours

    @property
    def has_own_keys(self) -> bool:
        """Tell whether our handler checks the keys, which answers a wrong one with 401."""
        settings = self.config.raw.get("general_settings") or {}
        return settings.get("custom_auth") == "plugins.keys.handler"

    def group_of(self, model: object) -> Group | None:
        """Return our group behind *model*, which may be an alias and carry an input type."""
        return group_of(self.config, model)

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
        if any(one.off is None for one in found):
            return None
        return why_off(found) or "not a deployment of this router"

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
            Unavailable: 429, the key's quota is used up; 504, counting takes too long.
        """
        metadata = data.get("metadata") or {}
        known = self.exchanges.get(metadata.get(PLAN_KEY))
        if known is not None and known.plan is not None:
            return known
        exchange = self.exchanges.get(headers.get(ID_HEADER))
        try:
            return await self._enter(data, headers, consumer, exchange)
        except (ClientError, Unavailable) as error:
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
        plan = await _admission.admit(
            exchange.asked,
            group,
            self.pool,
            consumer,
            request_id=exchange.id,
            received_at=exchange.received_at,
            clock=self.clock,
            revisions=self.revisions,
        )
        plan.budgets = of_client(
            self.config.budgets,
            group=group.name,
            key=consumer.key,
            team=consumer.team,
            user=consumer.user,
        )
        plan.no_room = self.money.no_room
        # Last, so that a bad request does not count against the key's quota.
        await self.money.take(consumer.quotas, Amount(tokens=sum(plan.counts), requests=1))
        exchange.plan = plan
        steer(data, exchange.plan)
        return exchange

    def next(self, plan: Plan) -> Candidate | None:
        """Return the deployment that *plan* should try next, or None when it has to end."""
        exchange = self.exchanges.get(plan.id)
        if exchange is not None and exchange.left:
            return None
        return plan.next(self.draw, self.clock())

    async def serve(self, plan: Plan, candidate: Candidate) -> None:
        """Send what is missing to *candidate*; raises as `_round.serve` does."""
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
            self.begin()  # where nobody did so at the start
        return wire

    async def aclose(self) -> None:
        """End the work of this event loop, close its connections, and the ledger."""
        await self.background.aclose()
        wire = self._wires.pop(id(asyncio.get_running_loop()), None)
        if wire is not None:
            await wire.aclose()
        await self.money.ledger.close()


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
        try:
            runtime = Runtime(load(path), os.environ)
        except UnreadableError as error:
            raise StartError(str(error)) from None
        announce(runtime.config, runtime.pool)
        load_vocabularies(runtime.config)
        check_ledger(runtime.config, runtime.pool)
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
