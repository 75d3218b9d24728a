"""The composition root: one snapshot of config, pools, wire and exchanges per process.

LiteLLM may execute the public plugin files more than once; this module is imported normally and
holds what must exist once. `start` is called while LiteLLM loads our callbacks, so what it raises
ends the start with the reason.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from plugins import _admission, _logs, _round
from plugins._admission import Consumer, model_not_found
from plugins._attempt import Both, Watcher
from plugins._attempt_log import AttemptLog
from plugins._background import Background
from plugins._budgets import of_client
from plugins._errors import ClientError, Unavailable
from plugins._exchange import ID_HEADER, PLAN_KEY, Exchange, Exchanges
from plugins._gate import Gate
from plugins._health import Health
from plugins._health_rules import settings_of
from plugins._keyring import Keyring, keys_rule
from plugins._ledger import Amount
from plugins._ledger_open import open_ledger
from plugins._money import Money
from plugins._notes import Notes
from plugins._plan import Plan
from plugins._pool import Candidate
from plugins._presence import Presence
from plugins._readiness import (
    StartError,
    announce,
    announce_wiring,
    budget_rows,
    check_ledger,
    load_vocabularies,
)
from plugins._reload import EVERY_S, Reloader
from plugins._reload_words import Words
from plugins._renewal import Swap, staging
from plugins._shared import process_name
from plugins._shared_open import open_shared
from plugins._sharing import Share, Sharing
from plugins._slots import Slots
from plugins._snapshot import Snapshot
from plugins._steer import steer
from plugins._telling import Telling
from plugins._together import Together
from plugins._wire import Wire
from router_config import Config, Group, load

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
        self.snapshot = Snapshot(config, environ)
        self.clock = clock
        self.draw = draw
        # Then our handler checks them, which answers a wrong one with 401; a reload changes it not.
        self.has_own_keys = keys_rule(config, environ)
        self.money = Money(open_ledger(config.ledger, environ), clock)
        self.money.use(budget_rows(config, self.pool))
        self.exchanges = Exchanges(clock, lambda: self.snapshot)
        presence = Presence(self.exchanges)
        notes = Notes(open_shared(config.ledger, environ), process_name())
        self.health = Health(self.pool, settings_of(config.health), draw=draw, me=notes.me)
        self.telling = Telling(
            lambda: self.snapshot, environ, self.exchanges, self.money, self.health, clock=clock
        )
        self.watchers: tuple[Watcher, ...] = (
            presence,
            self.health,
            self.money,
            AttemptLog(),
            self.telling.observer,
        )
        # Of a call that LiteLLM makes by itself; its failures are logged where they are noticed.
        self.books = Both(self.health, Both(self.money, self.telling.observer))
        # Connections belong to an event loop; tests and LiteLLM's sync helpers may run several.
        self._wires: dict[int, Wire] = {}
        self.slots = Slots()
        self.gate = Gate(lambda: self.config.gateway, clock)
        self.sharing = Sharing(clock)
        self.sharing.use(config.cache)
        self.health.on_change.append(self.sharing.on_standing)
        self.telling.shown = {
            "queue_waiting": lambda: self.gate.waiting,
            "cache_entries": self.sharing.entries,
            "cache_bytes": self.sharing.used_bytes,
        }
        self.background = Background()
        self.together = Together(
            lambda: self.snapshot,
            notes=notes,
            health=self.health,
            money=self.money,
            observer=self.telling.observer,
            transport=self._wire,
            background=self.background,
            clock=clock,
        )
        self.telling.jobs(self.background)
        self.parity = self.together.proofs.parity
        self.telling.cosines = self.parity.cosines
        self.telling.proofs = lambda: self.parity.results
        # Each process does both: it harms nobody, and none has to know of the others.
        self.background.add("ledger sweep", 60.0, self.money.sweep, first_s=60.0)
        self.background.add("ledger limits", 60.0, self.money.tell, first_s=1.0)
        self.background.add("ledger fold", 3600.0, self.money.fold, first_s=10.0)
        self.swaps: list[Swap] = [self._replace]
        self.reloader = Reloader(
            config.path,
            lambda: self.config,
            staging(environ, lambda: self.snapshot, self.swaps),
            self._follow,
        )
        self.words = Words(self.reloader, notes)
        self.telling.word = lambda: self.reloader.word
        self.background.add("reload", EVERY_S, self.reloader.look)

    def _replace(self, old: Snapshot, new: Snapshot) -> None:
        self.snapshot = new
        self.sharing.use(new.config.cache)
        self.health.use(new.pool, settings_of(new.config.health))
        self.together.use(new.config, new.pool)

    async def _follow(self) -> None:
        """Put the limits of the configuration in force into the ledger."""
        await self.money.follow(budget_rows(self.config, self.pool))

    def begin(self) -> None:
        """Start the work beside the requests, if an event loop is running and none has it yet."""
        self.background.begin()
        self.reloader.on_hangup()

    # -- what the file in force says; a request in flight asks the snapshot of its exchange

    @property
    def config(self) -> Config:
        """The configuration in force for requests that start now."""
        return self.snapshot.config

    @property
    def pool(self) -> Mapping[str, tuple[Candidate, ...]]:
        """The candidates of every group by its name."""
        return self.snapshot.pool

    @property
    def keys(self) -> Keyring:
        """The client keys of the file."""
        return self.snapshot.keys

    def group_of(self, model: object) -> Group | None:
        """Return our group behind *model*, which may be an alias and carry an input type."""
        return self.snapshot.group_of(model)

    def is_internal_name(self, model: object) -> bool:
        """Tell whether *model* names one of our deployments, which no client may address."""
        return self.snapshot.is_internal_name(model)

    # -- one request

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
        known = self.exchanges.get((data.get("metadata") or {}).get(PLAN_KEY))
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
        if exchange is not None and exchange.plan is not None:
            steer(data, exchange.plan)  # the fast path has admitted it
            return exchange
        if exchange is not None and exchange.error is not None:
            raise exchange.error
        snapshot = self.snapshot if exchange is None else exchange.snapshot
        group = snapshot.group_of(data.get("model"))
        if group is None and snapshot.is_internal_name(data.get("model")):
            raise model_not_found(data["model"])
        if group is None:
            _admission.check_foreign(str(data.get("model")), consumer)
            return None
        if exchange is None:
            exchange = self.exchanges.open()
        if exchange.asked is None:
            exchange.asked = snapshot.parse(data, headers)
        steer(data, await self.admit(exchange, group, consumer))
        return exchange

    async def admit(self, exchange: Exchange, group: Group, consumer: Consumer) -> Plan:
        """Return the plan of what *exchange* asks of *group*: the same on every path.

        Raises: as `enter`.
        """
        snapshot = exchange.snapshot
        exchange.entered = True
        exchange.consumer = consumer
        assert exchange.asked is not None
        if exchange.visit is not None:
            left_s = exchange.received_at + group.deadline_s - self.clock()
            inputs = len(exchange.asked.texts) + len(exchange.asked.token_inputs)
            await exchange.visit.turn(consumer.name, inputs, left_s)
        plan = await _admission.admit(
            exchange.asked,
            group,
            snapshot.pool,
            consumer,
            request_id=exchange.id,
            received_at=exchange.received_at,
            clock=self.clock,
            recorded=snapshot.recorded,
        )
        plan.budgets = of_client(
            snapshot.config,
            group=group.name,
            key=consumer.key,
            team=consumer.team,
            user=consumer.user,
        )
        plan.no_room = self.money.no_room
        self.health.view(plan.groups).onto(plan)
        plan.unfit = functools.partial(self.parity.bars.unfit, group=group.name)
        # Last, so that a bad request does not count against the key's quota.
        await self.money.take(consumer.quotas, Amount(tokens=sum(plan.counts), requests=1))
        exchange.plan = plan
        return plan

    def share(self, plan: Plan, group: Group) -> Share | None:
        """Return *plan*'s part in what is known or under way, None if it has none."""
        return self.sharing.of(plan, group, self.parity.spaces.name(group.name))

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
            slots=self.slots,
            clock=self.clock,
            wall=time.time,
        )
        self.together.proofs.served(plan)

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
        self.words.leave()
        await self.together.aclose()
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
        runtime = Runtime(load(path), os.environ)
        announce(runtime.config, runtime.pool)
        announce_wiring(runtime.config)
        load_vocabularies(runtime.config)
        check_ledger(runtime.config, runtime.pool)
        runtime.together.load()
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
