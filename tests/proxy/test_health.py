"""Sick deployments leave before clients notice, and come back, through the real proxy."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from router_config.sandbox import Sandbox
from tests.proxy.answers import refused
from tests.proxy.harness import running
from tests.proxy.wards import (
    BASE_S,
    EIGHT,
    FAULTS,
    TAKEN,
    Ward,
    assert_right,
    changes,
    configured,
)
from tests.proxy.watching import Watch
from tests.sizes import FULL, size

# More than are needed until the sick one is out, though several are under way at once.
UNTIL_OUT = 16
REST = size(8, 400)  # with 27 faults more than 10,000 requests in all
WITHIN_S = 60.0


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    folder = tmp_path_factory.mktemp("health")
    with Sandbox(mode="hash", providers=list(EIGHT)) as box:
        setup = configured(box)
        config = setup.write(folder / "config.yaml")
        with running(config, folder / "proxy.log", environ=setup.environ) as proxy:
            yield Ward(proxy, box)


@pytest.fixture(autouse=True)
def _no_faults(ward: Ward) -> None:
    ward.box.reset()


@pytest.mark.parametrize("group", FAULTS)
def test_no_client_sees_a_sick_provider_and_soon_nobody_calls_it(ward: Ward, group: str) -> None:
    kind, sick, options = FAULTS[group]
    ward.befall(kind, sick, options)
    watch = Watch(ward.proxy)
    first = range(UNTIL_OUT)
    assert_right(ward.ask(group, first), first)

    if kind != "down":
        assert ward.calls(group, sick) >= 1
    before, started = ward.calls(group, sick), time.monotonic()
    then = range(UNTIL_OUT, UNTIL_OUT + REST)
    replies = ward.ask(group, then)
    assert_right(replies, then)
    # Once its time is over, one request tries it; a good try of one that flaps lets in another.
    took_s = time.monotonic() - started
    # One that refuses connections sees no calls; the replies tell of them.
    again = sum(one.headers["x-router-attempts"] != "1" for one in replies)
    tries, met = 2 * (1 + took_s / BASE_S), max(again, ward.calls(group, sick) - before)
    print(f"{group}: {before} calls until it was out, then {met} of {REST} in {took_s:.1f} s")
    assert met < 0.01 * REST if FULL else met <= tries

    out = [line for line in changes(watch, group) if "endpoint out" in line]
    assert 1 <= len(out) <= 1 + tries
    assert all(f"deployment={group}--{sick} " in line for line in out)
    back = [line for line in changes(watch, group) if "endpoint back" in line]
    assert back == []


@pytest.mark.parametrize("group", TAKEN)
def test_what_is_no_failure_takes_nobody_out(ward: Ward, group: str) -> None:
    kind, odd, options = TAKEN[group]
    ward.befall(kind, odd, options)
    watch = Watch(ward.proxy)
    numbers = range(size(6, 100))
    replies = ward.ask(group, numbers)
    assert_right(replies, numbers)
    assert {one.headers["x-router-deployment"] for one in replies} == {f"{group}--{odd}"}
    assert changes(watch, group) == []


@pytest.mark.parametrize("path", ["ours", "litellm"])
def test_a_revoked_key_is_one_line_for_the_operator_and_nothing_for_clients(
    ward: Ward, path: str
) -> None:
    group = f"revoked-{path}"
    ward.box.fault("deepinfra", "unauthorized")
    watch = Watch(ward.proxy)
    numbers = range(size(20, 1000))
    assert_right(ward.ask(group, numbers, at_once=1, path=path), numbers)
    (line,) = changes(watch, group)
    assert "WARNING" in line
    assert f"deployment={group}--deepinfra state=ejected reason='auth'" in line
    assert "until an operator acts or a probe succeeds" in line
    assert ward.calls(group, "deepinfra") == 2
    assert len(watch.failures()) == 2


def test_one_that_is_well_again_is_tried_and_comes_back(ward: Ward) -> None:
    group = "comes-back"
    ward.box.down("deepinfra")
    watch = Watch(ward.proxy)
    numbers = range(6)
    assert_right(ward.ask(group, numbers), numbers)
    ward.box.up("deepinfra")
    _ask_until_it_serves(ward, group, f"{group}--deepinfra")
    assert [line.split("endpoint ")[1].split(":")[0] for line in changes(watch, group)] == [
        "out",
        "back",
    ]


def _ask_until_it_serves(ward: Ward, group: str, deployment: str) -> None:
    """Ask now and then, until *deployment* has served so often that it is no trial any more."""
    ends, served, number = time.monotonic() + WITHIN_S, 0, 1000
    while served < 4:
        assert time.monotonic() < ends, f"{deployment} did not come back"
        number += 1
        (reply,) = ward.ask(group, [number])
        if reply.status_code == 200:
            assert_right([reply], [number])
            served += reply.headers["x-router-deployment"] == deployment
        time.sleep(0.05)


# -- nobody is left


def test_when_all_are_down_it_is_said_at_once_and_the_first_to_come_back_serves(
    ward: Ward,
) -> None:
    group, all_ = "all-down", EIGHT
    for provider in all_:
        ward.box.down(provider)
    ward.ask(group, range(24), at_once=1)  # nine calls each: now all are known to be down
    took, replies = [], []
    for number in range(20):
        started = time.monotonic()
        replies += ward.ask(group, [number])
        took.append(time.monotonic() - started)
    for reply in replies:
        message = refused(reply, 503, "no_deployment_available", retry=True)
        assert 1 <= int(reply.headers["retry-after"]) <= 12
        if reply.headers["x-router-attempts"] == "0":
            assert message == f"No deployment of {group} can be used now: all are out of service."
    # Trials apart, which are a call to each a second, nobody is called.
    idle = [one.headers["x-router-attempts"] == "0" for one in replies]
    assert sum(idle) >= 8
    print(f"503 while all are down: median {sorted(took)[len(took) // 2] * 1000:.1f} ms")
    ward.box.up(all_[2])
    _ask_until_it_serves(ward, group, f"{group}--{all_[2]}")


def test_litellm_s_path_says_so_as_well(ward: Ward) -> None:
    group = "all-down-litellm"
    for provider in EIGHT[:2]:
        ward.box.down(provider)
    replies = ward.ask(group, range(12), at_once=1, path="litellm")
    messages = [refused(one, 503, "no_deployment_available", retry=True) for one in replies]
    assert f"No deployment of {group} can be used now: all are out of service." in messages
    for provider in EIGHT[:2]:
        ward.box.up(provider)


def test_nobody_waits_for_those_that_are_silent(ward: Ward) -> None:
    group, all_ = "all-silent", EIGHT
    first = range(24)
    assert_right(ward.ask(group, first), first)  # all are well, and have just been so
    for provider in all_:
        ward.box.fault(provider, "hang")
    ward.ask(group, range(24), at_once=12)
    took, quick = [], 0
    for number in range(10):
        started = time.monotonic()
        (reply,) = ward.ask(group, [number])
        refused(reply, 503, "no_deployment_available", retry=True)
        assert 1 <= int(reply.headers["retry-after"]) <= BASE_S + 2
        if reply.headers["x-router-attempts"] == "0":
            took.append(time.monotonic() - started)
            quick += 1
    assert quick >= 5
    print(f"503 while all are silent: median {sorted(took)[quick // 2] * 1000:.1f} ms")
    ward.box.clear()
    _ask_until_it_serves(ward, group, f"{group}--{all_[0]}")


def test_the_only_one_is_asked_now_and_then_while_it_rests(ward: Ward) -> None:
    ward.box.fault("openrouter", "rate_limited", retry_after_s=9)
    replies = ward.ask("limited", range(20), at_once=1)
    for reply in replies:
        refused(reply, 503, "no_deployment_available", retry=True)
        assert 1 <= int(reply.headers["retry-after"]) <= 9
    assert ward.calls("limited", "openrouter") < 10
    ward.box.clear()
    _ask_until_it_serves(ward, "limited", "limited--openrouter")


# -- LiteLLM's own deployments and paths


def test_a_deployment_of_litellm_s_own_leaves_too(ward: Ward) -> None:
    ward.box.fault("deepinfra", "status", status=500)
    watch = Watch(ward.proxy)
    numbers = range(10)
    assert_right(ward.ask("plain-first", numbers, at_once=1), numbers)
    assert ward.calls("plain-first", "deepinfra") == 3
    (line,) = changes(watch, "plain-first")
    assert "state=ejected reason='server'" in line


@pytest.mark.parametrize("status", [400, 413])
def test_a_text_that_one_of_litellm_s_own_does_not_take_is_no_fault_of_it(
    ward: Ward, status: int
) -> None:
    ward.box.fault("nebius", "status", status=status)
    watch = Watch(ward.proxy)
    numbers = range(6)
    assert_right(ward.ask("plain-takes-less", numbers, at_once=1), numbers)
    assert ward.calls("plain-takes-less", "nebius") == len(numbers)
    assert changes(watch, "plain-takes-less") == []


def test_a_429_that_litellm_was_given_rests_as_told(ward: Ward) -> None:
    ward.box.fault("scaleway", "rate_limited", form="seconds", retry_after_s=600)
    watch = Watch(ward.proxy)
    numbers = range(4)
    assert_right(ward.ask("plain-rests", numbers, at_once=1), numbers)
    assert ward.calls("plain-rests", "scaleway") == 1
    (line,) = changes(watch, "plain-rests")
    until = datetime.fromisoformat(line.rpartition(" until ")[2])
    assert 540 < (until - datetime.now(UTC)).total_seconds() <= 600


def test_litellm_s_health_check_tells_who_is_out_and_calls_nobody(ward: Ward) -> None:
    ward.box.fault("deepinfra", "unauthorized")
    ward.ask("seen", range(3), at_once=1)
    ward.box.reset()
    found = ward.proxy.get("/health?model=seen").json()
    assert ward.calls("seen", "deepinfra") == ward.calls("seen", "nebius") == 0
    assert found["healthy_count"] == 1
    assert found["unhealthy_count"] == 1
    (sick,) = found["unhealthy_endpoints"]
    assert "ejected: auth" in sick["error"]


def test_it_is_not_ready_while_a_group_that_is_required_has_nobody(ward: Ward) -> None:
    whole = ward.proxy.get("/health/readiness", key=None)
    assert whole.status_code == 200
    ward.box.down("novita")
    ward.ask("needed", range(3), at_once=1)
    reply = ward.proxy.get("/health/readiness", key=None)
    assert (reply.status_code, reply.json()) == (
        503,
        {"status": "not ready", "groups_without_deployment": ["needed"]},
    )
    ward.box.up("novita")
    # Its time over, it is ready to try, without a request having come.
    ends = time.monotonic() + WITHIN_S
    while (reply := ward.proxy.get("/health/readiness", key=None)).status_code != 200:
        assert time.monotonic() < ends
        time.sleep(0.1)
    assert set(reply.json()) == set(whole.json())
    _ask_until_it_serves(ward, "needed", "needed--novita")
