"""Endpoints that hang after good answers: nobody waits for them, and all come back.

Requests over simulated time: each waits as long as its calls take, many are under way at once.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from plugins._attempt import Attempt, Outcome
from plugins._errors import Fault, ProviderFault, TurnedDown
from plugins._health import Health
from plugins._plan import Plan
from plugins._pool import Candidate
from tests.plugins.plans import candidate, plan

START = 1_800_000_000.0
TIMEOUT_S = 10.0
GOOD_S = 0.3


def now(work: Coroutine[Any, Any, None]) -> None:
    """Run *work*, which waits for nothing."""
    with pytest.raises(StopIteration):
        work.send(None)


@dataclass
class End:
    """How a request ended: what served it, how long that took, and whom it met on the way."""

    began: float
    served_by: str | None
    took_s: float
    met: list[str]


@dataclass
class Traffic:
    """*per_s* requests a second over *groups*; *is_sick* says who answers nobody, and when."""

    groups: Sequence[Sequence[Candidate]]
    is_sick: Callable[[str, float], bool]
    per_s: float = 2.0
    fault: Fault = Fault.TIMEOUT
    fault_s: float = TIMEOUT_S
    at: float = START
    ends: list[End] = field(default_factory=list)

    def __post_init__(self) -> None:
        pool = {group[0].group: group for group in self.groups}
        self.health = Health(pool, clock=lambda: self.at, draw=lambda: 0.5, me="me")
        self._order = itertools.count()
        self._met: dict[str, list[str]] = {}
        self._began: dict[str, float] = {}

    def run(self, seconds: float) -> list[End]:
        """Let time pass; return the requests that began in it."""
        began = self.at
        queue: list[tuple[float, int, Plan | None, Candidate | None, float]] = []
        for number in range(int(seconds * self.per_s)):
            heapq.heappush(queue, (began + number / self.per_s, next(self._order), None, None, 0))
        while queue:
            self.at, number, request, called, since = heapq.heappop(queue)
            if request is None:
                request = plan(self.groups, attempts=3, deadline=1e18)
                request.id = f"r{number}"
                self.health.view(request.groups).onto(request)
                self._met[request.id], self._began[request.id] = [], self.at
            elif called is not None and self._ended(request, called, since):
                continue
            following = self._next(request)
            if following is None:
                self._end(request, None)
            else:
                limit_s = request.patience_s(following) or TIMEOUT_S
                sick = self.is_sick(following.id, self.at)
                took = min(self.fault_s, limit_s) if sick else GOOD_S
                event = (self.at + took, next(self._order), request, following, self.at)
                heapq.heappush(queue, event)
        self.at = max(self.at, began + seconds)
        return [one for one in self.ends if began <= one.began]

    def _next(self, request: Plan) -> Candidate | None:
        while (found := request.next(lambda: 0.0, 0.0)) is not None:
            request.begin(found)
            what = Attempt(request.id, found, None, (), 1, 2, in_need=request.in_need)
            try:
                now(self.health.before(what))
            except TurnedDown as no:
                request.turn_down(found, no, made_calls=False)
            else:
                self._met[request.id].append(found.id)
                return found
        return None

    def _ended(self, request: Plan, called: Candidate, since: float) -> bool:
        sick = self.is_sick(called.id, since)
        fault = ProviderFault(self.fault, "test") if sick else None
        what = Attempt(request.id, called, None, (), 1, 2, in_need=request.in_need)
        now(self.health.after(what, Outcome(fault, 2, 0, True, self.at - since)))
        if fault is None:
            self._end(request, called.id)
        return fault is None

    def _end(self, request: Plan, served_by: str | None) -> None:
        began = self._began[request.id]
        self.ends.append(End(began, served_by, self.at - began, self._met[request.id]))


def eight() -> list[Candidate]:
    return [candidate(f"x{number}") for number in range(8)]


def share(ends: Sequence[End], true: Callable[[End], bool]) -> float:
    return sum(map(true, ends)) / len(ends)


@pytest.mark.parametrize("members", [1, 2, 8])
def test_when_all_hang_after_good_answers_nearly_all_are_told_so_at_once(members: int) -> None:
    traffic = Traffic([eight()[:members]], lambda _, at: at >= START + 20)
    assert share(traffic.run(20), lambda one: one.served_by is not None) == 1.0
    traffic.run(60)  # until it is known
    late = traffic.run(600)
    assert share(late, lambda one: one.served_by is None) == 1.0
    assert share(late, lambda one: one.took_s > 0) < 0.01 * members
    assert not any(case.slow for case in traffic.health.cases.values())


def test_calls_side_by_side_that_hang_right_after_a_success_are_no_slowness() -> None:
    # A hundred begin while the last good answer is still on its way, and none of them ends well.
    traffic = Traffic([eight()[:2]], lambda _, at: at > START + 0.2, per_s=100)
    traffic.run(40)
    assert not any(case.slow for case in traffic.health.cases.values())
    late = traffic.run(60)
    assert share(late, lambda one: one.took_s > 0) < 0.01


@pytest.mark.parametrize(
    ("fault", "takes_s"),
    [(Fault.TIMEOUT, TIMEOUT_S), (Fault.OVERLOAD, 0.01), (Fault.SERVER, 0.01), (Fault.AUTH, 0.01)],
)
def test_one_of_eight_is_met_by_less_than_a_hundredth_once_it_is_known(
    fault: Fault, takes_s: float
) -> None:
    group = [candidate(f"x{number}", order=1 + (number > 0)) for number in range(8)]
    traffic = Traffic(
        [group], lambda id_, at: id_ == "x0" and at > START + 20, fault=fault, fault_s=takes_s
    )
    traffic.run(60)
    late = traffic.run(900)
    assert share(late, lambda one: one.served_by is not None) == 1.0
    assert share(late, lambda one: "x0" in one.met) < 0.01


def test_a_group_of_one_that_hangs_costs_its_fallback_s_clients_nothing() -> None:
    groups = [[candidate("x")], [candidate("y", group="f")]]
    traffic = Traffic(groups, lambda id_, at: id_ == "x" and at > START + 20)
    traffic.run(60)
    late = traffic.run(600)
    assert share(late, lambda one: one.served_by == "y") == 1.0
    assert share(late, lambda one: "x" in one.met) < 0.01


def test_one_that_is_only_slow_is_used_when_nobody_else_is_left() -> None:
    # Every other second it answers nobody: half of its calls are served.
    traffic = Traffic([[candidate("x")]], lambda _, at: int(at) % 2 == 0)
    late = [one for one in traffic.run(660) if one.began > START + 60]
    assert share(late, lambda one: one.served_by is not None) > 0.4


def test_whoever_answers_again_is_back_for_all() -> None:
    ends = START + 400
    traffic = Traffic([eight()], lambda _, at: START + 20 <= at < ends)
    traffic.run(400)
    traffic.run(320)  # the longest time that one can be out, and its trial
    late = traffic.run(60)
    assert share(late, lambda one: one.served_by is not None) == 1.0


def test_one_that_flaps_stays_out_for_longer_and_longer_and_does_not_make_the_pool_flap() -> None:
    group = [candidate(f"x{number}", order=1 + (number > 0)) for number in range(8)]
    # Well for ten seconds, sick for ten.
    traffic = Traffic(
        [group],
        lambda id_, at: id_ == "x0" and int(at / 10) % 2 == 0,
        fault=Fault.SERVER,
        fault_s=0.01,
    )
    outs: list[float] = []

    def note(key: str, standing: Any) -> None:
        assert key == "x0"
        if standing is not None and standing.kind == "ejected":
            outs.append(traffic.at)

    traffic.health.on_change.append(note)
    ends = traffic.run(3600)
    assert share(ends, lambda one: one.served_by is not None) == 1.0
    # 180 times it fell sick; by far most of them nobody noticed.
    assert len(outs) < 40
    assert len([at for at in outs if at > START + 1800]) < 15
    late = [one for one in ends if one.began > START + 600]
    assert share(late, lambda one: "x0" in one.met and one.served_by != "x0") < 0.01
