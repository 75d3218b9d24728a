"""One round of a request: what is still missing, sent to one deployment in calls of its size.

Chunks run side by side within the endpoint's concurrency, which all requests share. Good chunks are
kept in the plan even when a sibling fails, and a failed chunk stops those not yet started, so
nothing good is paid twice and a sick deployment is not asked on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from plugins._attempt import Attempt, Transport, Watcher, attempt
from plugins._attempt_log import log_failed
from plugins._errors import Fault, ProviderFault, TurnedDown, Unavailable
from plugins._plan import Plan, split
from plugins._pool import Candidate
from plugins._slots import Slots
from plugins._vectors import NATIVE

__all__ = ["serve"]

# How much of the time left one attempt may take while somebody else could still be asked: an own
# server may be slow for longer than a request lasts, and must not take the others' turn.
_SHARE = 0.5


async def serve(
    plan: Plan,
    candidate: Candidate,
    *,
    transport: Transport,
    watchers: Sequence[Watcher],
    slots: Slots,
    clock: Callable[[], float],
    wall: Callable[[], float],
) -> None:
    """Fill *plan* with what *candidate* can give, in one wire call per chunk.

    Raises:
        ProviderFault: at least one input is still missing; it is also noted in the plan.
        TurnedDown: likewise, because a budget of the deployment had no room.
        Unavailable: a budget of the client or the group had no room: the request has to end.
    """
    plan.begin(candidate)
    chunks = split(plan.counts, plan.missing(), candidate.max_inputs, candidate.max_tokens_per_call)
    share = _SHARE if plan.has_other(clock()) else 1.0
    patience_s = plan.patience_s(candidate)
    before = plan.calls
    ends: list[ProviderFault | TurnedDown | Unavailable] = []

    async def run(chunk: list[int]) -> None:
        tokens = sum(plan.counts[i] for i in chunk)
        try:
            wait_s = min(candidate.attempt_timeout_s(tokens), plan.left_s(clock()) * share)
            slot = await slots.take(candidate.endpoint, plan.consumer or "", wait_s)
            try:
                if not ends:  # waiting may have been long
                    await _call(
                        plan, candidate, chunk, share, patience_s, transport, watchers, clock, wall
                    )
            finally:
                slot.give_back()
        except (ProviderFault, TurnedDown, Unavailable) as end:
            ends.append(end)

    async def run_in_turn(chunk: list[int]) -> None:
        async with turns:
            if not ends:
                await run(chunk)

    if len(chunks) == 1:
        await run(chunks[0])
    else:
        # No more of one request wait for a slot than could have one: it is not alone in the queue.
        turns = asyncio.Semaphore(candidate.endpoint.concurrency)
        async with asyncio.TaskGroup() as group:
            for chunk in chunks:
                group.create_task(run_in_turn(chunk))
    if not ends:
        return
    faults = [end for end in ends if isinstance(end, ProviderFault)]
    over = [end for end in ends if isinstance(end, Unavailable)]
    if faults:
        plan.faults.append((candidate.id, faults[0]))
    elif not over:
        why = next(end for end in ends if isinstance(end, TurnedDown))
        plan.turn_down(candidate, why, made_calls=plan.calls > before)
    raise (over or faults or ends)[0]


async def _call(
    plan: Plan,
    candidate: Candidate,
    chunk: list[int],
    share: float,
    patience_s: float | None,
    transport: Transport,
    watchers: Sequence[Watcher],
    clock: Callable[[], float],
    wall: Callable[[], float],
) -> None:
    counts = [plan.counts[i] for i in chunk]
    tokens = sum(counts)
    left = plan.left_s(clock())
    if left <= 0:
        raise ProviderFault(Fault.TIMEOUT, "the request's deadline has passed", sent=False)
    timeout_s = min(candidate.attempt_timeout_s(tokens), left * share)
    if patience_s is not None:
        timeout_s = min(timeout_s, patience_s)
    what = Attempt(
        plan.id,
        candidate,
        plan.consumer,
        plan.budgets,
        len(chunk),
        tokens,
        plan.besides(candidate),
        in_need=plan.in_need,
    )
    plan.calls += 1
    begun = clock()
    try:
        served = await attempt(
            what,
            [plan.texts[i] for i in chunk],
            counts,
            timeout_s=timeout_s,
            transport=transport,
            watchers=watchers,
            clock=clock,
            wall=wall,
        )
    except (TurnedDown, Unavailable):
        plan.calls -= 1  # it was not made
        raise
    try:
        plan.accept(chunk, served.vectors, candidate, served.prompt_tokens, served.cost_nano_usd)
    except ProviderFault as fault:  # what it cost is booked; that it was no use is told here
        log_failed(candidate.id, plan.id, fault, sent=True, seconds=clock() - begun)
        raise
    if served.written and plan.dimensions == NATIVE and plan.asked.encoding == "float":
        # Nothing to cut and nothing to encode anew: the client gets the very digits.
        plan.written.update(zip(chunk, served.written, strict=True))
