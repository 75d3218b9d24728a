"""The probe texts through one endpoint: a few attempts like any other, watched by money and log."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from plugins import _tokens
from plugins._attempt import Attempt, Served, Transport, Watcher, attempt
from plugins._dialects import WireReply, WireRequest, dialect
from plugins._errors import ProviderFault, TurnedDown, Unavailable
from plugins._ledger import Budget
from plugins._parity_judge import Count, Reading
from plugins._parity_texts import CALLS, PROBES
from plugins._plan import split
from plugins._pool import Candidate, Endpoint
from plugins._vectors import Matrix

__all__ = ["Asker", "most_tokens"]


def most_tokens(calls: Sequence[str] = tuple(CALLS)) -> int:
    """Return our count of the tokens of *calls*, end tokens included."""
    return sum(_tokens.count([PROBES[name].text for call in calls for name in CALLS[call]]))


class _Tap:
    """A wire that remembers the last reply as it came."""

    def __init__(self, wire: Transport) -> None:
        self._wire = wire
        self.last: tuple[int, dict[str, str], bytes] | None = None

    async def send(
        self, endpoint: Endpoint, request: WireRequest, *, timeout_s: float, max_bytes: int
    ) -> tuple[int, dict[str, str], bytes]:
        self.last = None
        self.last = await self._wire.send(
            endpoint, request, timeout_s=timeout_s, max_bytes=max_bytes
        )
        return self.last


@dataclasses.dataclass(frozen=True, slots=True)
class Asker:
    """How endpoints are asked. *wire* gives the transport of the running event loop.

    *budgets* are those of the probes; the account's come with the deployment. *clock* is monotonic
    seconds, *wall* seconds since 1970.
    """

    wire: Callable[[], Transport]
    watchers: Sequence[Watcher]
    budgets: tuple[Budget, ...]
    clock: Callable[[], float]
    wall: Callable[[], float]

    async def read(
        self, candidates: Sequence[Candidate], calls: Sequence[str] = tuple(CALLS)
    ) -> Reading:
        """Return what the one endpoint of *candidates* answers to *calls*.

        The first of them whose budgets have room is used. Never raises but for cancellation.
        """
        gathered = _Gathered(candidates)
        for call in calls:
            texts = {
                name: PROBES[name].text
                for name in CALLS[call]
                if _fits(PROBES[name].text, candidates[0])
            }
            if texts:
                await self._call(gathered, call, texts)
            if gathered.ended or "short" in gathered.faults:
                break
        return gathered.reading()

    async def row(self, candidate: Candidate, text: str) -> Matrix:
        """Return the vector of *text*, as it goes over the wire, from *candidate*.

        Raises:
            ProviderFault: it failed.
            TurnedDown: a budget has no room.
            Unavailable: the budget of the probes has no room.
        """
        counts = _tokens.count([text])
        row: Matrix = (await self._attempt(candidate, [text], counts, self.wire())).vectors[0]
        return row

    async def _call(self, gathered: _Gathered, call: str, texts: Mapping[str, str]) -> None:
        names = list(texts)
        counts = _tokens.count(list(texts.values()))
        one = gathered.candidates[0]
        for chunk in split(counts, range(len(names)), one.max_inputs, one.max_tokens_per_call):
            part = {names[i]: texts[names[i]] for i in chunk}
            try:
                await self._chunk(gathered, call, part, [counts[i] for i in chunk])
            except ProviderFault as fault:
                gathered.faults[call] = fault
                return
            except (TurnedDown, Unavailable) as no:
                gathered.ended = True
                if call in ("short", "import"):  # what comes after them does not decide
                    gathered.unasked = no.detail if isinstance(no, TurnedDown) else _NO_ROOM
                return

    async def _chunk(
        self,
        gathered: _Gathered,
        call: str,
        texts: Mapping[str, str],
        counts: Sequence[int],
    ) -> None:
        tap = _Tap(self.wire())
        while True:
            candidate = gathered.candidates[0]
            try:
                served = await self._attempt(candidate, list(texts.values()), counts, tap)
                break
            except TurnedDown:
                if len(gathered.candidates) == 1:
                    raise
                del gathered.candidates[0]
        gathered.cost_nano_usd += served.cost_nano_usd
        raw = self._as_it_came(candidate, tap, len(texts))
        gathered.take(call, texts, counts, served.vectors, raw)

    async def _attempt(
        self,
        candidate: Candidate,
        texts: Sequence[str],
        counts: Sequence[int],
        transport: Transport,
    ) -> Served:
        tokens = sum(counts)
        what = Attempt(
            f"parity_{secrets.token_hex(6)}", candidate, None, self.budgets, len(texts), tokens
        )
        return await attempt(
            what,
            texts,
            counts,
            timeout_s=candidate.attempt_timeout_s(tokens),
            transport=transport,
            watchers=self.watchers,
            clock=self.clock,
            wall=self.wall,
        )

    def _as_it_came(self, candidate: Candidate, tap: _Tap, inputs: int) -> WireReply | None:
        """Return the reply before it was checked and billed: its own lengths and its own count."""
        target, speaks = candidate.endpoint.target, candidate.endpoint.dialect
        if tap.last is None or target is None or speaks is None:
            return None
        status, headers, body = tap.last
        told = dataclasses.replace(target, usage_counts="tokens")
        with contextlib.suppress(ProviderFault):
            return dialect(speaks).reply(status, headers, body, inputs, told, now_s=self.wall())
        return None


_NO_ROOM = "the day's tokens of the probes are used up"


def _fits(text: str, candidate: Candidate) -> bool:
    return _tokens.count([text])[0] <= candidate.max_tokens_per_input


class _Gathered:
    """A reading in the making; *candidates* are those of the endpoint that may have room yet."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self.candidates = list(candidates)
        self.rows: dict[str, Matrix] = {}
        self.again: Matrix | None = None
        self.counts: dict[str, Count] = {}
        self.faults: dict[str, ProviderFault] = {}
        self.unasked: str | None = None
        self.ended = False  # no more room
        self.cost_nano_usd = 0
        self._lengths: list[float] = []

    def take(
        self,
        call: str,
        texts: Mapping[str, str],
        counts: Sequence[int],
        rows: Matrix,
        raw: WireReply | None,
    ) -> None:
        for name, row in zip(texts, rows, strict=True):
            if name in self.rows:
                self.again = row
            else:
                self.rows[name] = row
        if raw is not None:
            self._lengths += np.linalg.norm(raw.vectors.astype(np.float64), axis=1).tolist()
        before = self.counts.get(call, Count(0, 0, 0, 0))
        reported = raw.prompt_tokens if raw is not None else None
        self.counts[call] = Count(
            None if reported is None or before.reported is None else before.reported + reported,
            before.ours + sum(counts),
            before.inputs + len(texts),
            before.characters + sum(map(len, texts.values())),
        )

    def reading(self) -> Reading:
        return Reading(
            self.candidates[0].endpoint.key,
            self.candidates[0].id,
            self.rows,
            self.again,
            (min(self._lengths), max(self._lengths)) if self._lengths else None,
            self.counts,
            self.faults,
            self.unasked,
            self.cost_nano_usd,
        )
