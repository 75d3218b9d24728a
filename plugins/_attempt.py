"""One attempt: one wire call with a deadline, its reply checked, its watchers told.

    watchers before → one wire call → reply checked → watchers after

Called by the LiteLLM provider and by nothing else on the request path, so that money and health
hook in at one place: a `Watcher` may refuse the call before anything is sent, and is told the
outcome of every call exactly once, cancellation included.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

import numpy as np
import numpy.typing as npt

from plugins._apart import apart
from plugins._dialects import WireReply, WireRequest, dialect
from plugins._errors import Fault, ProviderFault, TurnedDown, Unavailable
from plugins._ledger import Budget
from plugins._pool import Candidate, Endpoint
from plugins._vectors import check

__all__ = [
    "Attempt",
    "Both",
    "Outcome",
    "Served",
    "Transport",
    "Watcher",
    "attempt",
    "bill",
    "billed_tokens",
]


log = logging.getLogger("qwen3_router.attempt")
# 32 vectors as floats are 1.4 MB and 3 ms; from here on the event loop would be held too long.
_APART_FROM_BYTES = 4_000_000
_DEARER = 10  # times our price that an invoice line is believed
_UNPRICED_NANO_USD = 10_000_000  # a cent: what is believed in any case, as of a least charge


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is about to be sent, without text or key; *tokens* are ours, end tokens included.

    *budgets* are those of the client and of the group it asked; the deployment's own are in the
    candidate, and *besides* is that of its group, if another one was asked. *in_need* tells whether
    nobody in good health was left when it was picked.
    """

    request_id: str
    candidate: Candidate
    consumer: str | None
    budgets: tuple[Budget, ...]
    inputs: int
    tokens: int
    besides: tuple[Budget, ...] = ()
    in_need: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. *fault* is None for success.

    *prompt_tokens* and *cost_nano_usd* are what was billed as far as known: the provider's count,
    else ours; 0 when nothing was sent. *sent* is False only when nothing left this machine. *wire*
    is from when to when the wire had the call, in readings of the clock; None if it never had.
    """

    fault: ProviderFault | None
    prompt_tokens: int
    cost_nano_usd: int
    sent: bool
    seconds: float
    wire: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Served:
    """Checked vectors, float32 of shape (n, 4096), rows of length 1, and what they cost.

    *written* has the JSON of each as the provider wrote it, or nothing.
    """

    vectors: npt.NDArray[np.float32]
    prompt_tokens: int
    cost_nano_usd: int
    written: Sequence[bytes] = ()


class Watcher(Protocol):
    """Somebody who must see every attempt: the log, later the ledger and health."""

    async def before(self, attempt: Attempt) -> None:
        """Agree to the call, or have it not made.

        Raises:
            TurnedDown: another deployment may take it.
            Unavailable: the request has to end.
        """

    async def after(self, attempt: Attempt, outcome: Outcome) -> None:
        """Take note of the outcome. Must not raise."""


class Both:
    """Two watchers as one: the second is asked if the first agrees."""

    def __init__(self, first: Watcher, second: Watcher) -> None:
        self._first, self._second = first, second

    async def before(self, attempt: Attempt) -> None:
        """Agree to the call if both do; raises as they do."""
        await self._first.before(attempt)
        try:
            await self._second.before(attempt)
        except BaseException:  # also when the client leaves meanwhile
            await self._first.after(attempt, _failed(attempt, _not_admitted(), 0.0, None))
            raise

    async def after(self, attempt: Attempt, outcome: Outcome) -> None:
        """Tell both."""
        await self._first.after(attempt, outcome)
        await self._second.after(attempt, outcome)


class Transport(Protocol):
    """The wire: `plugins._wire.Wire`."""

    async def send(
        self, endpoint: Endpoint, request: WireRequest, *, timeout_s: float, max_bytes: int
    ) -> tuple[int, dict[str, str], bytes]:
        """Make one wire call and return status, lower-case headers and the decompressed body."""


async def attempt(
    what: Attempt,
    texts: Sequence[str],
    counts: Sequence[int],
    *,
    timeout_s: float,
    transport: Transport,
    watchers: Sequence[Watcher],
    clock: Callable[[], float],
    wall: Callable[[], float],
) -> Served:
    """Make one wire call for *texts* and return vectors that may be handed out.

    *clock* is monotonic seconds; *wall* is seconds since 1970, to read a `Retry-After` date.

    Raises:
        ProviderFault: the call failed, or its reply is not n good vectors.
        TurnedDown: a watcher refused it; nothing was sent.
        Unavailable: a watcher ended the request; nothing was sent.
    """
    agreed: list[Watcher] = []
    started = clock()
    timed = _Timed(transport, clock)
    outcome: Outcome | None = None
    try:
        for watcher in watchers:
            await watcher.before(what)
            agreed.append(watcher)
        reply = await _exchange(what, texts, counts, timeout_s, timed, wall)
        tokens, cost = bill(what, reply.prompt_tokens, reply.cost_usd)
        outcome = Outcome(None, tokens, cost, True, clock() - started, timed.span)
        return Served(reply.vectors, tokens, cost, reply.written)
    except ProviderFault as fault:
        outcome = _failed(what, fault, clock() - started, timed.span)
        raise
    except (TurnedDown, Unavailable):
        outcome = _failed(what, _not_admitted(), clock() - started, timed.span)
        raise
    except Exception as error:
        # A bug of ours must not end a request that another deployment can serve. Its text and
        # traceback may hold the client's texts, so only its kind is told.
        broken = ProviderFault(Fault.SERVER, f"internal error ({type(error).__name__})")
        outcome = _failed(what, broken, clock() - started, timed.span)
        raise broken from None
    except asyncio.CancelledError:
        left = ProviderFault(Fault.CANCELLED, "the request was cancelled while the call was open")
        outcome = _failed(what, left, clock() - started, timed.span)
        raise
    finally:
        for watcher in agreed:  # only those who agreed have something to close
            if outcome is not None:
                await watcher.after(what, outcome)


def billed_tokens(what: Attempt, reported: int | None) -> int:
    """Return the tokens to book: the provider's count, as far as it can be true, else ours."""
    # A tokenizer of another version is off by a little; a count off by half is no count.
    if reported is None or what.tokens // 2 <= reported <= 2 * what.tokens + 8 * what.inputs:
        return what.tokens if reported is None else reported
    log.warning(
        "usage ignored: deployment=%s request=%s reported=%d counted=%d",
        what.candidate.id,
        what.request_id,
        reported,
        what.tokens,
    )
    return what.tokens


def bill(what: Attempt, tokens: int | None, cost_usd: Decimal | None) -> tuple[int, int]:
    """Return tokens and nano-dollars to book: what the provider says, as far as it can be true."""
    tokens = billed_tokens(what, tokens)
    ours = what.candidate.cost_nano_usd(tokens)
    if not cost_usd:  # its own invoice line beats our price list; a 0 need not be one
        return tokens, ours
    cost = int((cost_usd * 1_000_000_000).to_integral_value(rounding="ROUND_CEILING"))
    # A price list may be old, but one wrong number must not empty every budget that it touches.
    most = max(_DEARER * ours, _UNPRICED_NANO_USD)
    if cost > most:
        log.warning(
            "cost ignored: deployment=%s request=%s reported_nano_usd=%d booked_nano_usd=%d",
            what.candidate.id,
            what.request_id,
            cost,
            most,
        )
    return tokens, min(cost, most)


def _not_admitted() -> ProviderFault:
    return ProviderFault(Fault.CANCELLED, "the call was not admitted", sent=False)


def _failed(
    what: Attempt, fault: ProviderFault, seconds: float, wire: tuple[float, float] | None
) -> Outcome:
    """Return the outcome of a failed call: what was sent may have been billed in full."""
    tokens = what.tokens if fault.sent else 0
    return Outcome(fault, tokens, what.candidate.cost_nano_usd(tokens), fault.sent, seconds, wire)


class _Timed:
    """A transport that notes from when to when it had the call."""

    def __init__(self, transport: Transport, clock: Callable[[], float]) -> None:
        self._transport = transport
        self._clock = clock
        self.span: tuple[float, float] | None = None

    async def send(
        self, endpoint: Endpoint, request: WireRequest, *, timeout_s: float, max_bytes: int
    ) -> tuple[int, dict[str, str], bytes]:
        begun = self._clock()
        try:
            return await self._transport.send(
                endpoint, request, timeout_s=timeout_s, max_bytes=max_bytes
            )
        finally:
            self.span = (begun, self._clock())


async def _exchange(
    what: Attempt,
    texts: Sequence[str],
    counts: Sequence[int],
    timeout_s: float,
    transport: Transport,
    wall: Callable[[], float],
) -> WireReply:
    endpoint = what.candidate.endpoint
    if endpoint.target is None or endpoint.dialect is None:
        raise ProviderFault(Fault.MODEL, "not a qwen3/ deployment", sent=False)
    speak = dialect(endpoint.dialect)
    request = speak.request(endpoint.target, texts, counts)
    status, headers, body = await transport.send(
        endpoint, request, timeout_s=timeout_s, max_bytes=speak.max_reply_bytes(len(texts))
    )
    target = endpoint.target

    def read() -> WireReply:
        reply = speak.reply(status, headers, body, len(texts), target, now_s=wall())
        try:
            vectors = check(reply.vectors, texts, normalised=target.normalised)
        except ProviderFault as fault:
            fault.status = status
            raise
        # Digits are good for as long as no number has changed.
        written = reply.written if vectors is reply.vectors else ()
        return WireReply(vectors, reply.prompt_tokens, reply.cost_usd, written)

    return read() if len(body) < _APART_FROM_BYTES else await apart(read)
