"""What the router tells about itself, put together: request log, counts, budgets and their jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from plugins import _gauges
from plugins._apart import apart
from plugins._background import Background
from plugins._board import PUBLISH_S, Board, Values
from plugins._budgets import declared
from plugins._exchange import Exchanges
from plugins._exposition import exposition
from plugins._health import Health
from plugins._ledger import Budget
from plugins._ledger_open import sqlite_path
from plugins._money import Money
from plugins._observe import Observer
from plugins._reload import Word
from plugins._request_log import open_log
from plugins._rooms import Rooms
from plugins._snapshot import Snapshot
from plugins._standing import Standing
from plugins._status_html import page
from plugins._status_parity import Proof, parity_views
from plugins._status_view import view
from plugins._status_words import Words
from plugins._workers import Workers, folder_of, server_of

__all__ = ["Telling"]

_TIDY_EVERY_S = 30.0
_PACKAGES = ("qwen3-embedding-router", "litellm")
_COUNTED = ("ejected", "resting")


class Telling:
    """One process's; *clock* is monotonic, *wall* since 1970, in seconds.

    *newest* gives the configuration in force. Its `observer` must be one of the watchers.
    """

    def __init__(
        self,
        newest: Callable[[], Snapshot],
        environ: Mapping[str, str],
        exchanges: Exchanges,
        money: Money,
        health: Health,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float] = time.time,
    ) -> None:
        config = newest().config
        self._newest = newest
        self._exchanges = exchanges
        self._money = money
        self._health = health
        self._wall = wall
        # The last proof of each endpoint's vector space, by its key; whoever proves sets it.
        self.proofs: Callable[[], Mapping[str, Proof]] = dict
        # What the gate and the cache have to show; whoever has them adds it.
        self.shown: dict[str, Callable[[], float]] = {}
        # What the reloader last said; whoever reloads sets it.
        self.word: Callable[[], Word] | None = None
        # The least cosine of each endpoint's last proof; whoever proves sets it.
        self.cosines: Callable[[], Mapping[str, float]] = dict
        self._loaded = wall()
        self.rooms = Rooms(money, clock)
        self._several = sqlite_path(config.ledger, environ) is None
        server = server_of(environ)
        self.board = Board(
            self._gauges,
            most_consumers=config.metrics.consumers,
            wall=wall,
            workers=None if server is None else self._place(server, environ),
        )
        self.request_log = open_log(config.request_log, environ) if config.request_log else None
        self.observer = Observer(exchanges, clock=clock, wall=wall)
        self.observer.sinks += [self.board.tally, self.board.history]
        if self.request_log is not None:
            self.observer.sinks.append(self.request_log)
        health.on_change.append(self._ejected)

    def _place(self, server: str, environ: Mapping[str, str]) -> Callable[[], Workers]:
        return lambda: Workers(folder_of(server, environ), self.board.fold)

    def jobs(self, background: Background) -> None:
        """Add what is done beside the requests, if other workers are to know of these."""
        if self.board.is_shared:
            background.add("counts", PUBLISH_S, self.board.publish)
            background.add("counts of ended workers", _TIDY_EVERY_S, self.board.tidy)

    def accounts(self) -> list[Budget]:
        """Return the budgets to show."""
        snapshot = self._newest()
        return _gauges.accounts(snapshot.pool, declared(snapshot.config))

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        """Return body and content type of the metrics page; no provider is called for it."""
        left = await self.rooms.left(self.accounts())
        gathered = await self.board.gather()
        values = [
            *gathered.gauges,
            *_gauges.deployments(self._newest().pool, self._health.standings(), self.cosines()),
            *_gauges.budgets(left.rooms),
            ("ledger_up", (), float(left.up)),
            ("build_info", tuple(_version(one) for one in _PACKAGES), 1),
        ]
        return await apart(lambda: exposition(gathered.tally, values, accept))

    async def page(self, words: Words) -> str:
        """Return the status page; no provider is called for it."""
        snapshot, word = self._newest(), self.word() if self.word is not None else None
        left = await self.rooms.left(self.accounts())
        forecasts = await self.rooms.forecasts(left)
        gathered = await self.board.gather()
        now = self._wall()
        seen = view(
            snapshot.config,
            snapshot.pool,
            self._health.standings(),
            gathered.history,
            left.rooms,
            forecasts,
            now=now,
            today=datetime.fromtimestamp(now, UTC).date(),
            rooms_up=left.up,
            parity=parity_views(self.proofs(), snapshot.pool),
            workers=sum(int(value) for name, _, value in gathered.gauges if name == "workers"),
            several=self._several,
            loaded=self._loaded_at(),
            load_problems=() if word is None or word.ok else word.problems,
            versions=[(one, _version(one)) for one in _PACKAGES],
        )
        return await apart(lambda: page(seen, words))

    def _loaded_at(self) -> float:
        word = self.word() if self.word is not None else None
        if word is not None and word.ok:
            self._loaded = word.at
        return self._loaded

    def _gauges(self) -> Values:
        word = self.word() if self.word is not None else None
        dropped = self.request_log.dropped if self.request_log is not None else 0
        self.board.tally.counts["request_log_dropped_lines"] = {(): dropped}
        return [
            ("requests_in_flight", (), len(self._exchanges)),
            ("reservations_open", (), self._money.open_count),
            ("config_info", (self._newest().config.sha256,), 1),
            ("config_last_reload_success", (), float(word is None or word.ok)),
            ("config_last_reload_success_timestamp_seconds", (), self._loaded_at()),
            *((name, (), value()) for name, value in self.shown.items()),
        ]

    def _ejected(self, key: str, standing: Standing | None) -> None:
        if standing is None or standing.kind not in _COUNTED or standing.by != self._health.me:
            return
        for group in self._newest().pool.values():
            for one in group:
                if one.endpoint.key == key:
                    self.board.tally.add("ejections", (one.id, standing.kind))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a source checkout
        return "unknown"
