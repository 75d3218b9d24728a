"""The gate: requests and bytes are bounded before anything is read, and slow bodies do not stay."""

from __future__ import annotations

import asyncio

import pytest

from plugins._errors import ClientError, Unavailable
from plugins._gate import Gate
from router_config import Gateway

KB = 1024
MB = 1024 * KB


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def gate(clock: Clock | None = None, **bounds: int) -> Gate:
    given = {"max_inflight": 2, "max_queued": 3, "max_queued_mb": 100, **bounds}
    return Gate(lambda: Gateway(**given), clock or Clock())


def assert_busy(error: Unavailable) -> None:
    assert (error.status, error.code, error.retry_after_s) == (503, "no_deployment_available", 1)


def test_so_many_requests_are_inside_and_no_more() -> None:
    one = gate()
    visits = [one.enter() for _ in range(5)]
    with pytest.raises(Unavailable) as caught:
        one.enter()
    assert_busy(caught.value)
    visits.pop().leave()
    one.enter()


def test_a_body_without_room_is_refused_before_it_is_read() -> None:
    one = gate()
    first, second = one.enter(), one.enter()
    first.expect(90 * MB)
    second.expect(90 * MB)  # the first has sent nothing yet
    first.received(90 * MB)
    with pytest.raises(Unavailable) as caught:
        second.expect(11 * MB)
    assert_busy(caught.value)
    second.expect(10 * MB)
    first.leave()
    second.expect(90 * MB)
    second.leave()
    assert (one.inside, one.body_bytes) == (0, 0)


def test_a_body_that_nobody_announced_is_stopped_as_it_comes() -> None:
    one = gate()
    first, second = one.enter(), one.enter()
    first.received(60 * MB)
    second.received(30 * MB)
    with pytest.raises(Unavailable):
        second.received(11 * MB)
    second.leave()
    assert one.body_bytes == 60 * MB


def test_one_body_always_fits() -> None:
    gate(max_queued_mb=1).enter().received(10 * MB)


def test_a_slow_body_is_given_up_and_a_large_one_is_not() -> None:
    clock = Clock()
    visit = gate(clock).enter()
    assert visit.body_left_s() == 10
    clock.now = 9.0
    visit.received(16 * KB * 30)
    assert visit.body_left_s() == pytest.approx(31)
    clock.now = 40.0
    with pytest.raises(ClientError) as caught:
        visit.body_left_s()
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


def test_who_is_over_the_number_in_service_waits() -> None:
    async def main() -> None:
        one = gate()
        visits = [one.enter() for _ in range(3)]
        await visits[0].turn("a", 1, 9)
        await visits[1].turn("a", 1, 9)
        third = asyncio.create_task(visits[2].turn("a", 1, 9))
        await asyncio.sleep(0)
        assert (third.done(), one.waiting) == (False, 1)
        visits[0].leave()
        await third

    asyncio.run(main())


def test_waiting_ends_with_the_deadline_and_takes_nothing_along() -> None:
    async def main() -> None:
        one = gate(max_inflight=1)
        first, second = one.enter(), one.enter()
        await first.turn("a", 1, 9)
        with pytest.raises(Unavailable) as caught:
            await second.turn("b", 1, 0.01)
        assert (caught.value.status, caught.value.code) == (504, "deadline_exceeded")
        second.leave()
        first.leave()
        await one.enter().turn("b", 1, 9)

    asyncio.run(main())


def test_a_visit_takes_one_turn_whoever_asks_for_it() -> None:
    async def main() -> None:
        one = gate(max_inflight=1)
        visit = one.enter()
        await visit.turn("a", 1, 9)
        await visit.turn("a", 1, 9)
        visit.leave()
        assert one.inside == 0
        await one.enter().turn("a", 1, 9)

    asyncio.run(main())
