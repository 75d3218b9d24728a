"""One request's state: what was asked, what is still missing, who was tried, what it cost.

A plan lives from admission to the reply and is shared by all attempts of the request, in either
path. It keeps the checked vector of every input, so the next attempt sends only what is missing; of
equal texts only the first is ever missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from plugins._errors import Fault, ProviderFault, TurnedDown, Unavailable
from plugins._ledger import Budget
from plugins._pick import pick
from plugins._pool import Candidate
from plugins._request import Asked
from plugins._vectors import NATIVE

__all__ = ["Plan", "format_query", "split"]

Matrix = npt.NDArray[np.float32]
_MOST_RETRY_AFTER_S = 60
# What only an operator can mend takes longer than a second; but SDKs sleep this long, twice.
_LASTING_S = 5
_LASTING = (Fault.AUTH, Fault.PAYMENT, Fault.MODEL, Fault.DIALECT)
_REPLY_S = 0.05  # kept back from the deadline, to build the reply in
_LEAST_CALL_S = 0.01  # with less than this left no call can be answered


def format_query(instruct: str, text: str) -> str:
    """Return *text* as a query (no space after `Query:`; Qwen3-Embedding README)."""
    return f"Instruct: {instruct}\nQuery:{text}"


def split(
    counts: Sequence[int], indices: Sequence[int], max_inputs: int, max_tokens: int | None
) -> list[list[int]]:
    """Return *indices* in chunks of at most *max_inputs* inputs and *max_tokens* tokens, in order.

    An input that alone exceeds *max_tokens* gets a chunk of its own: the provider may take it.
    """
    chunks: list[list[int]] = []
    tokens = 0
    for i in indices:
        full = chunks and (
            len(chunks[-1]) >= max_inputs
            or (max_tokens is not None and tokens + counts[i] > max_tokens)
        )
        if not chunks or full:
            chunks.append([])
            tokens = 0
        chunks[-1].append(i)
        tokens += counts[i]
    return chunks


@dataclass(slots=True)
class Plan:
    """The state of one request.

    *texts* go to the provider byte for byte; *counts* are their tokens, end token included.
    *groups* are the candidates of the group and of each of its fallbacks, in that order.
    *budgets* are the client's and the group's; *no_room* tells which of a candidate's own or of
    `besides` is full. *attempts* bounds the rounds; in one round each missing input is in exactly
    one wire call. *space* names the space of the vectors, *deadline* is a reading of the clock (s).

    *unfit* tells why the asked group does not take an endpoint's vectors, whoever else does; of the
    group's own deployments health says it. Health sets the next six: *out* tells why a candidate is
    kept out, *last* the same for a request that nobody else is left for, *share* the part of its
    weight, *patience_s* how long a trial may take, *wait_s* when asking again may help, *barred*
    why nothing that one has just given may be handed out. *in_need* tells that at the last pick
    nobody in good health was left.
    """

    id: str
    asked: Asked
    dimensions: int
    texts: tuple[str, ...]
    counts: tuple[int, ...]
    groups: tuple[tuple[Candidate, ...], ...]
    group_names: tuple[str, ...]
    attempts: int
    deadline: float
    space: str = ""
    region: str | None = None
    consumer: str | None = None
    budgets: tuple[Budget, ...] = ()
    no_room: Callable[[Candidate, int, int, tuple[Budget, ...]], str | None] = lambda *_: None
    unfit: Callable[[str], str | None] = lambda _: None
    out: Callable[[Candidate], str | None] = lambda _: None
    last: Callable[[Candidate], str | None] | None = None
    share: Callable[[Candidate], float] = lambda _: 1.0
    patience_s: Callable[[Candidate], float | None] = lambda _: None
    wait_s: Callable[[Candidate], float] = lambda _: 0.0
    barred: Callable[[Candidate], str | None] = lambda _: None
    in_need: bool = False
    rounds: int = 0
    calls: int = 0
    called_at: float = 0.0  # when LiteLLM's own client was last asked
    tokens: int = 0
    cost_nano_usd: int = 0
    served_by: list[str] = field(default_factory=list)
    faults: list[tuple[str, ProviderFault]] = field(default_factory=list)
    _tried: set[str] = field(default_factory=set)
    _turned_down: dict[str, TurnedDown] = field(default_factory=dict)
    # Where each text stands first, for the inputs that repeat one before them.
    repeats: dict[int, int] = field(default_factory=dict)
    # JSON in this request's own form, by position: of vectors that are not here, and as received.
    pieces: dict[int, bytes] = field(default_factory=dict)
    written: dict[int, bytes] = field(default_factory=dict)
    # Told of every chunk that came back good.
    on_accept: Callable[[Sequence[int], Matrix, Candidate], None] = lambda *_: None
    _missing: dict[int, None] = field(default_factory=dict)
    _good: set[str] = field(default_factory=set)
    _left: set[int] = field(default_factory=set)
    _own_attempts: int = 0
    _vectors: Matrix | None = None

    def __post_init__(self) -> None:
        """Find the inputs that have to be asked for."""
        self._own_attempts = self.attempts
        first: dict[str, int] = {}
        for i, text in enumerate(self.texts):
            if first.setdefault(text, i) == i:
                self._missing[i] = None
            else:
                self.repeats[i] = first[text]

    def missing(self) -> list[int]:
        """Return the positions of the inputs that have no checked vector yet, equal texts once."""
        return list(self._missing)

    def admits(self, candidate: Candidate) -> str | None:
        """Return why *candidate* cannot serve what is missing, or None if it can."""
        return self._admits(candidate, self.out)

    def _admits(self, candidate: Candidate, out: Callable[[Candidate], str | None]) -> str | None:
        if candidate.off is not None:
            return candidate.off
        if candidate.endpoint.key in self._tried:
            return "already tried in this request"
        if (kept_out := out(candidate) or self._unfit(candidate)) is not None:
            return kept_out
        if (no := self._turned_down.get(candidate.id)) is not None:
            return no.detail
        if self.region is not None and candidate.region != self.region:
            return f"outside region {self.region}"
        counts = [self.counts[i] for i in self.missing()]
        if max(counts, default=0) > candidate.max_tokens_per_input:
            return f"takes at most {candidate.max_tokens_per_input} tokens per input"
        # Every chunk is held by itself, so room for the smallest is room to begin.
        return self.lacks(candidate, min(counts, default=0))

    def lacks(self, candidate: Candidate, tokens: int) -> str | None:
        """Return which budget has no room for an input of *tokens* at *candidate*, or None."""
        return self.no_room(candidate, 1, tokens, self.besides(candidate))

    def besides(self, candidate: Candidate) -> tuple[Budget, ...]:
        """Return the budget of a fallback group from which *candidate* is: it pays too."""
        own = candidate.group_budget
        return () if own is None or candidate.group == self.group_names[0] else (own,)

    def _unfit(self, one: Candidate) -> str | None:
        return None if one.group in self.group_names[:1] else self.unfit(one.endpoint.key)

    def left_s(self, now: float) -> float:
        """Return the seconds that a wire call may take, less than 0 if the deadline has passed."""
        return self.deadline - _REPLY_S - now

    def next(self, draw: Callable[[], float], now: float) -> Candidate | None:
        """Return who should be tried next, or None when the request has to end."""
        if not self.may_go_on(now):
            return None
        found = pick(self.groups, self.admits, draw, self.share)
        last = self.last
        self.in_need = found is None
        if found is None and last is not None:
            found = pick(self.groups, lambda one: self._admits(one, last), draw)
        return found

    def may_go_on(self, now: float) -> bool:
        """Tell whether attempts and time are left."""
        return self.rounds < self.attempts and self.left_s(now) >= _LEAST_CALL_S

    def has_other(self, now: float) -> bool:
        """Tell whether somebody in good health could still be tried."""
        return self.may_go_on(now) and pick(self.groups, self.admits, lambda: 0.0) is not None

    def is_behind(self, candidate: Candidate, group: str) -> bool:
        """Tell whether *candidate* is in a group after *group*; True if that is none of ours."""
        names = self.group_names
        return group not in names or names.index(candidate.group) > names.index(group)

    def begin(self, candidate: Candidate) -> None:
        """Note that *candidate* is being tried: its endpoint is out for the rest of the request."""
        self.rounds += 1
        self._tried.add(candidate.endpoint.key)

    def turn_down(self, candidate: Candidate, why: TurnedDown, *, made_calls: bool) -> None:
        """Note that *candidate* got no money for a call: the deployment is out, not its endpoint.

        The same account may stand behind another budget, such as its paid twin. A round in which
        nothing was called does not count.
        """
        self._turned_down[candidate.id] = why
        self._tried.discard(candidate.endpoint.key)
        if not made_calls:
            self.rounds -= 1

    def accept(
        self,
        indices: Sequence[int],
        rows: Matrix,
        candidate: Candidate,
        tokens: int,
        cost_nano_usd: int,
    ) -> None:
        """Keep checked *rows*, float32 of shape (len(indices), 4096), and what they cost.

        Raises ProviderFault if *candidate* was found to be of another space while it answered.
        """
        if (why := self.barred(candidate) or self._unfit(candidate)) is not None:
            raise ProviderFault(Fault.CORRUPT, f"not handed out: {why}", status=200)
        self.take(indices, rows, candidate.id)
        self._good.add(candidate.endpoint.key)
        self.tokens += tokens
        self.cost_nano_usd += cost_nano_usd
        self.on_accept(indices, rows, candidate)

    def take(self, indices: Sequence[int], rows: Matrix, deployment: str) -> None:
        """Keep checked *rows* that *deployment* gave, to this request or before it."""
        if self._vectors is None:
            self._vectors = np.empty((len(self.texts), NATIVE), np.float32)
        self._vectors[list(indices)] = rows
        self._done(indices, deployment)

    def take_piece(self, index: int, piece: bytes, deployment: str) -> None:
        """Keep the JSON of a vector that *deployment* gave before."""
        self.pieces[index] = piece
        self._done((index,), deployment)

    def _done(self, indices: Sequence[int], deployment: str) -> None:
        for i in indices:
            self._missing.pop(i, None)
            self._left.discard(i)
        if deployment not in self.served_by:
            self.served_by.append(deployment)

    def leave(self, indices: Sequence[int]) -> None:
        """Leave *indices* to another request, which is asking for the same texts."""
        for i in indices:
            del self._missing[i]
        self._left.update(indices)

    def take_back(self, indices: Sequence[int]) -> None:
        """Ask for *indices* after all: they were left to another request and have not come.

        They were never sent for this one, so they have attempts of their own, as a further part of
        a split request, and who served the other parts well may serve them too.
        """
        self.attempts = self.rounds + self._own_attempts
        self._tried -= self._good
        self._left.difference_update(indices)
        self._missing = dict.fromkeys(sorted([*self._missing, *indices]))

    def vectors(self) -> Matrix:
        """Return all vectors, float32 of shape (n, 4096), rows of length 1.

        Raises:
            RuntimeError: an input is still missing.
        """
        return self.rows(range(len(self.texts)))

    def rows(self, indices: Sequence[int]) -> Matrix:
        """Return the vectors of *indices*, float32 of shape (len(indices), 4096).

        Raises:
            RuntimeError: an input is still missing, or one of *indices* has no more than its JSON.
        """
        places = [self.repeats.get(i, i) for i in indices]
        if self._vectors is None or self._missing or self._left or self.pieces.keys() & places:
            raise RuntimeError("the request is not complete")
        return self._vectors if places == list(range(len(self.texts))) else self._vectors[places]

    def forget_vectors(self) -> None:
        """Let go of the vectors, once they are written out."""
        self._vectors, self.written = None, {}

    def size(self) -> int:
        """Return how many numbers the reply has."""
        return len(self.texts) * self.dimensions

    def failure(self, now: float) -> Unavailable:
        """Return the error that ends this request; it names no provider and no cause of theirs."""
        if self.left_s(now) < _LEAST_CALL_S:
            return Unavailable(
                504, "deadline_exceeded", "No deployment answered within the request's deadline."
            )
        if not self.faults and any(one.cause == "ledger" for one in self._turned_down.values()):
            return Unavailable(
                503,
                "ledger_unavailable",
                "The budgets cannot be checked now, so nothing that costs money is called.",
                retry_after_s=1,
            )
        if self.rounds == 0:
            short, wait = self._why_nobody()
            return Unavailable(
                503,
                "no_deployment_available",
                f"No deployment of {self.asked.group} can be used now: {short}.",
                retry_after_s=int(min(max(math.ceil(wait), 1), _MOST_RETRY_AFTER_S)),
            )
        waits = [fault.retry_after_s for _, fault in self.faults if fault.retry_after_s]
        # A refused key or an empty account does not mend itself while an SDK waits.
        lasting = all(fault.fault in _LASTING for _, fault in self.faults)
        wait = min(waits) if waits else _LASTING_S if lasting else 1
        return Unavailable(
            503,
            "no_deployment_available",
            f"No deployment of {self.asked.group} could serve the request "
            f"({self.rounds} of at most {self.attempts} attempts used).",
            retry_after_s=int(min(max(wait, 1), _MOST_RETRY_AFTER_S)),
        )

    def _why_nobody(self) -> tuple[str, float]:
        """Return why nobody was asked, and in how many seconds somebody may be."""
        least = min((self.counts[i] for i in self.missing()), default=0)
        on = [
            one
            for group in self.groups
            for one in group
            if one.off is None and self.region in (None, one.region)
        ]
        sick = [one for one in on if self.out(one) or self._unfit(one)]
        short = {id_ for id_, one in self._turned_down.items() if one.cause == "budget"}
        short |= {one.id for one in on if self.lacks(one, least) is not None}
        wait = min([*map(self.wait_s, sick), _LASTING_S])
        if short and (out := len({one.id for one in sick} - short)):
            return f"{out} out of service, {len(short)} without room in a budget", wait
        if short:
            return "the budgets have no room", wait
        if sick or self._turned_down:
            return "all are out of service", min(map(self.wait_s, sick), default=1.0)
        return "nobody is configured", _LASTING_S
