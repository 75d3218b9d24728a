"""One round: chunks side by side, good ones kept, nothing paid twice, every call watched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins import _reply
from plugins._attempt import Attempt, Outcome
from plugins._dialects import WireRequest
from plugins._errors import Fault, ProviderFault, Unavailable
from plugins._health import Health
from plugins._plan import Plan, split
from plugins._pool import Candidate, Endpoint
from plugins._round import serve
from plugins._slots import Slots
from plugins._vectors import cut, encode_base64, encode_floats
from tests.plugins.plans import candidate, plan

Answer = Callable[[list[str]], "ProviderFault | None"]


def vector(text: str) -> np.ndarray[Any, Any]:
    row = np.random.default_rng(abs(hash(text)) % 2**32).standard_normal(4096)
    return (row / np.linalg.norm(row)).astype(np.float32)


class Peer:
    """A provider at the other end of the transport; *answer* may return the fault to raise."""

    def __init__(self, answer: Answer = lambda _: None, delay_s: float = 0.0) -> None:
        self.answer, self.delay_s = answer, delay_s
        self.calls: list[list[str]] = []
        self.open = self.most_open = 0

    async def send(
        self, endpoint: Endpoint, request: WireRequest, *, timeout_s: float, max_bytes: int
    ) -> tuple[int, dict[str, str], bytes]:
        texts = orjson.loads(request.body)["input"]
        self.calls.append(texts)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await asyncio.sleep(self.delay_s)
        finally:
            self.open -= 1
        fault = self.answer(texts)
        if fault is not None:
            raise fault
        data = [{"index": i, "embedding": vector(text).tolist()} for i, text in enumerate(texts)]
        usage = {"prompt_tokens": 7 * len(texts), "total_tokens": 7 * len(texts)}
        return 200, {}, orjson.dumps({"data": data, "usage": usage})


class Watch:
    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    async def before(self, attempt: Attempt) -> None:
        self.events.append(("before", attempt.inputs))

    async def after(self, attempt: Attempt, outcome: Outcome) -> None:
        self.events.append(("after", outcome))


def serving(
    request: Plan,
    one: Candidate,
    peer: Peer,
    watch: Watch | None = None,
    slots: Slots | None = None,
) -> Coroutine[Any, Any, None]:
    return serve(
        request,
        one,
        transport=peer,
        watchers=[watch] if watch else [],
        slots=slots or Slots(),
        clock=lambda: 0.0,
        wall=lambda: 0.0,
    )


def run(request: Plan, one: Candidate, peer: Peer, watch: Watch | None = None) -> None:
    asyncio.run(serving(request, one, peer, watch))


def test_chunks_come_back_in_the_order_of_the_inputs() -> None:
    request = plan([[]], counts=[2] * 70)
    peer = Peer(delay_s=0.001)
    run(request, candidate("a", max_inputs=32), peer)
    assert [len(call) for call in peer.calls] == [32, 32, 6]
    expected = np.stack([vector(text) for text in request.texts])
    assert np.abs(request.vectors() - expected).max() < 1e-6
    assert (request.calls, request.tokens, request.rounds) == (3, 490, 1)


def test_equal_texts_are_sent_once_and_paid_once() -> None:
    request = plan([[]], texts=["same"] * 32, counts=[2] * 32)
    peer = Peer()
    run(request, candidate("a"), peer)
    assert peer.calls == [["same"]]
    assert request.tokens == 7
    assert (request.vectors() == request.vectors()[0]).all()


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=20))
def test_every_input_gets_the_vector_of_its_own_text(texts: list[str]) -> None:
    request = plan([[]], texts=texts, counts=[2] * len(texts))
    peer = Peer()
    run(request, candidate("a", max_inputs=3), peer)
    assert sorted(text for call in peer.calls for text in call) == sorted(set(texts))
    expected = np.stack([vector(text) for text in texts])
    assert np.abs(request.vectors() - expected).max() < 1e-6


def test_only_what_is_missing_goes_to_the_next_deployment() -> None:
    request = plan([[]], counts=[2] * 6)
    sick = Peer(lambda texts: ProviderFault(Fault.SERVER, "no") if "text 2" in texts else None)
    with pytest.raises(ProviderFault):
        run(request, candidate("a", max_inputs=2), sick)
    kept = [i for i in range(6) if i not in request.missing()]
    well = Peer()
    run(request, candidate("b", max_inputs=32), well)
    assert 2 not in kept
    assert well.calls == [[f"text {i}" for i in range(6) if i not in kept]]
    assert request.missing() == []
    assert request.served_by == ["a", "b"]


def test_a_failed_chunk_stops_those_that_have_not_started() -> None:
    request = plan([[]], counts=[2] * 10)
    peer = Peer(lambda _: ProviderFault(Fault.AUTH, "no"), delay_s=0.001)
    with pytest.raises(ProviderFault):
        run(request, candidate("a", max_inputs=1, concurrency=2), peer)
    assert len(peer.calls) <= 2


def test_a_deployment_is_never_asked_beyond_its_concurrency() -> None:
    request = plan([[]], counts=[2] * 20)
    peer = Peer(delay_s=0.002)
    run(request, candidate("a", max_inputs=1, concurrency=3), peer)
    assert peer.most_open == 3


def test_all_requests_together_keep_within_the_concurrency_of_an_endpoint() -> None:
    peer, slots = Peer(delay_s=0.002), Slots()
    one = candidate("a", max_inputs=2, concurrency=3)
    twin = replace(candidate("b", max_inputs=2, endpoint="a", concurrency=3), group="other")
    requests = [plan([[]], counts=[2] * n) for n in (1, 9, 2, 6, 1, 4, 8, 1)]

    async def main() -> None:
        tasks = [
            asyncio.create_task(serving(request, (one, twin)[k % 2], peer, slots=slots))
            for k, request in enumerate(requests)
        ]
        await asyncio.sleep(0.003)
        tasks[1].cancel()  # some of its calls are open, some wait
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(end, asyncio.CancelledError) for end in ends].count(True) == 1
        await serving(plan([[]], counts=[2] * 6), one, peer, slots=slots)

    asyncio.run(main())
    assert peer.most_open == 3
    assert all(not request.missing() for k, request in enumerate(requests) if k != 1)


def test_a_call_without_a_free_slot_was_not_made_and_is_nobodys_fault() -> None:
    peer, watch, slots = Peer(delay_s=60), Watch(), Slots()
    one = replace(candidate("a", concurrency=1), timeout_s=0.01)
    request = plan([[]])

    async def main() -> None:
        await slots.take(one.endpoint, "somebody", 1.0)
        with pytest.raises(ProviderFault) as caught:
            await serving(request, one, peer, watch, slots)
        assert (caught.value.fault, caught.value.sent) == (Fault.TIMEOUT, False)

    asyncio.run(main())
    assert (peer.calls, watch.events, request.calls) == ([], [], 0)


def test_every_call_has_one_outcome() -> None:
    request = plan([[]], counts=[2] * 4)
    watch = Watch()
    peer = Peer(lambda texts: ProviderFault(Fault.RESET, "gone") if "text 3" in texts else None)
    with pytest.raises(ProviderFault):
        run(request, candidate("a", max_inputs=2, usd_per_million_tokens="0.01"), peer, watch)
    outcomes = [what for kind, what in watch.events if kind == "after"]
    assert len(outcomes) == len(peer.calls) == 2
    good = next(one for one in outcomes if one.fault is None)
    bad = next(one for one in outcomes if one.fault is not None)
    assert (good.prompt_tokens, good.cost_nano_usd) == (14, 140)
    # Sent and lost: it may have been billed, so the worst case is booked.
    assert (bad.prompt_tokens, bad.cost_nano_usd, bad.sent) == (4, 40, True)


def test_what_was_never_sent_costs_nothing() -> None:
    watch = Watch()
    peer = Peer(lambda _: ProviderFault(Fault.CONNECT, "refused", sent=False))
    with pytest.raises(ProviderFault):
        run(plan([[]]), candidate("a"), peer, watch)
    outcome = watch.events[-1][1]
    assert (outcome.prompt_tokens, outcome.cost_nano_usd, outcome.sent) == (0, 0, False)


def test_a_cancelled_call_has_an_outcome_that_counts_as_spent() -> None:
    watch = Watch()

    async def main() -> None:
        task = asyncio.create_task(serving(plan([[]]), candidate("a"), Peer(delay_s=60), watch))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    outcome = watch.events[-1][1]
    assert (outcome.fault.fault, outcome.prompt_tokens) == (Fault.CANCELLED, 2)


def test_a_watcher_can_refuse_a_call_before_it_is_made() -> None:
    class No(Watch):
        async def before(self, attempt: Attempt) -> None:
            raise ProviderFault(Fault.PAYMENT, "no budget", sent=False)

    peer, watch = Peer(), No()
    with pytest.raises(ProviderFault):
        run(plan([[]]), candidate("a"), peer, watch)
    assert (peer.calls, watch.events) == ([], [])


def test_the_failure_says_when_to_come_back() -> None:
    request = plan([[]])
    request.begin(candidate("a"))
    request.faults.append(("a", ProviderFault(Fault.RATE, "429", retry_after_s=12.0)))
    error = request.failure(now=1.0)
    assert isinstance(error, Unavailable)
    assert (error.status, error.code, error.retry_after_s) == (503, "no_deployment_available", 12)


def test_a_passed_deadline_is_a_504_without_a_retry() -> None:
    error = plan([[]], deadline=5.0).failure(now=5.0)
    assert (error.status, error.code, error.retry_after_s) == (504, "deadline_exceeded", None)


def test_time_too_short_for_one_more_call_is_a_passed_deadline() -> None:
    request = plan([[candidate("a"), candidate("b")]], deadline=5.0)
    request.begin(candidate("a"))  # its call took all the time that calls may take
    assert request.next(lambda: 0.0, 4.95) is None
    assert request.failure(now=4.95).code == "deadline_exceeded"


@given(
    st.lists(st.integers(1, 100), max_size=60),
    st.integers(1, 10),
    st.none() | st.integers(1, 150),
)
def test_a_split_keeps_every_input_once_in_order_within_the_limits(
    counts: Sequence[int], max_inputs: int, max_tokens: int | None
) -> None:
    chunks = split(counts, list(range(len(counts))), max_inputs, max_tokens)
    assert [i for chunk in chunks for i in chunk] == list(range(len(counts)))
    for chunk in chunks:
        assert 1 <= len(chunk) <= max_inputs
        if max_tokens is not None and len(chunk) > 1:
            assert sum(counts[i] for i in chunk) <= max_tokens


class Slow(Peer):
    """Notes how long each call was given."""

    def __init__(self) -> None:
        super().__init__()
        self.given_s: list[float] = []

    async def send(
        self, endpoint: Endpoint, request: WireRequest, *, timeout_s: float, max_bytes: int
    ) -> tuple[int, dict[str, str], bytes]:
        self.given_s.append(timeout_s)
        return await super().send(endpoint, request, timeout_s=timeout_s, max_bytes=max_bytes)


def test_a_patient_deployment_leaves_time_for_the_next() -> None:
    own, other = replace(candidate("own"), timeout_s=120.0), candidate("other", order=2)
    peer = Slow()
    run(plan([[own, other]], deadline=30.0), own, peer)
    run(plan([[own]], deadline=30.0), own, peer)
    assert peer.given_s[0] < 15 < peer.given_s[1] < 30


def test_a_bug_of_ours_is_a_fault_of_the_attempt_and_tells_no_text() -> None:
    def broken(texts: list[str]) -> ProviderFault | None:
        raise KeyError(texts[0])

    watch = Watch()
    request = plan([[]], texts=["a secret text"])
    with pytest.raises(ProviderFault) as caught:
        run(request, candidate("a"), Peer(broken), watch)
    assert "secret" not in repr(caught.value)
    assert caught.value.__suppress_context__
    assert [outcome.sent for kind, outcome in watch.events if kind == "after"] == [True]


def test_what_comes_after_its_endpoint_was_quarantined_is_a_failed_attempt() -> None:
    one, other = candidate("a"), candidate("b", order=2)
    health = Health({"g": [one, other]}, clock=lambda: 0.0)
    request = plan([[one, other]])
    health.view().onto(request)

    def quarantined(texts: list[str]) -> None:
        health.quarantine("a", "parity: wrong space")

    peer = Peer(quarantined, delay_s=0.001)
    with pytest.raises(ProviderFault, match="not handed out: quarantined: parity: wrong space"):
        run(request, one, peer)
    assert request.missing() == [0]
    ((id_, fault),) = request.faults
    assert (id_, fault.fault) == ("a", Fault.CORRUPT)
    following = request.next(lambda: 0.0, 0.0)
    assert following is other
    run(request, other, Peer())
    assert (request.served_by, request.calls) == (["b"], 2)


def digits(row: np.ndarray[Any, Any]) -> str:
    """Return *row* in digits that differ from those that we would write, and mean the same."""
    return "[" + ",".join(f"{number:.9g}" for number in row) + "]"


class Writer(Peer):
    """A provider that answers in digits of its own, for vectors of *length*."""

    def __init__(self, length: float = 1.0) -> None:
        super().__init__()
        self.length = length

    async def send(
        self, endpoint: Endpoint, request: WireRequest, *, timeout_s: float, max_bytes: int
    ) -> tuple[int, dict[str, str], bytes]:
        texts = orjson.loads(request.body)["input"]
        rows = [digits(vector(text) * np.float32(self.length)) for text in texts]
        items = [f'{{"index":{i},"embedding":{row}}}' for i, row in enumerate(rows)]
        return 200, {}, f'{{"data":[{",".join(items)}]}}'.encode()


@pytest.mark.parametrize(
    ("encoding", "dimensions", "length", "copied"),
    [
        ("float", 4096, 1.0, True),
        ("float", 4096, 1.003, False),
        ("float", 1024, 1.0, False),
        ("base64", 4096, 1.0, False),
    ],
)
def test_digits_are_copied_where_no_number_has_to_change(
    encoding: str, dimensions: int, length: float, copied: bool
) -> None:
    texts = ["a", "b", "a", "c"]
    one = candidate("one", max_inputs=2)
    request = plan([[one]], texts=texts, counts=(2,) * 4, dimensions=dimensions)
    request.asked = replace(request.asked, encoding=encoding)
    run(request, one, Writer(length))
    written = _reply.pieces(request)
    rows = cut(request.vectors(), dimensions)
    encode = encode_base64 if encoding == "base64" else encode_floats
    if copied:
        assert written == [digits(vector(text)).encode() for text in texts]
        read = np.array([orjson.loads(one) for one in written]).astype(np.float32)
        assert read.tobytes() == rows.tobytes()
    else:
        assert written == encode(rows)
