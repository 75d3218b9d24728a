"""The free signal of each provider, asked for at its emulator over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from plugins._dialects import Target
from plugins._errors import Fault, ProviderFault
from plugins._pool import Endpoint
from plugins._signals import listen, origin
from plugins._wire import Wire
from router_config import load_catalogue
from router_config.sandbox import Sandbox

CATALOGUE = load_catalogue()
WITH_SIGNAL = sorted(name for name, one in CATALOGUE.items() if one.health is not None)
WITH_KEY = [name for name in WITH_SIGNAL if CATALOGUE[name].health.needs_key]  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    with Sandbox(mode="hash") as box:
        yield box


@pytest.fixture
def box(running: Sandbox) -> Sandbox:
    running.reset()
    return running


def ask(box: Sandbox, provider: str, key: str | None = None, timeout_s: float = 10.0) -> bool:
    base = box.bases[provider]
    target = Target(provider, base, "m", key or box.keys.get(provider) or None)
    one = Endpoint(
        provider, provider, CATALOGUE[provider].dialect, target, 4, CATALOGUE[provider].health
    )

    async def run() -> bool:
        wire = Wire()
        try:
            return await listen(one, wire, timeout_s)
        finally:
            await wire.aclose()

    return asyncio.run(run())


@pytest.mark.parametrize("provider", WITH_SIGNAL)
def test_a_provider_that_is_well_gives_its_signal_and_bills_nothing(
    box: Sandbox, provider: str
) -> None:
    assert ask(box, provider)
    (entry,) = box.journal(provider)
    assert (entry["method"], entry["status"]) == ("GET", 200)
    # A server that needs no key for it gets none.
    assert entry["authorization"] == (provider in WITH_KEY)
    assert box.state()["providers"][provider]["billed_tokens"] == 0


@pytest.mark.parametrize("provider", WITH_KEY)
def test_a_wrong_key_is_told_apart(box: Sandbox, provider: str) -> None:
    with pytest.raises(ProviderFault) as raised:
        ask(box, provider, key="wrong-key")
    assert raised.value.fault is Fault.AUTH


def test_nobody_there_is_told_apart(box: Sandbox) -> None:
    box.down("tei")
    with pytest.raises(ProviderFault) as raised:
        ask(box, "tei")
    assert raised.value.fault is Fault.CONNECT
    box.clear("tei")


@pytest.mark.parametrize(
    ("status", "fault"), [(503, Fault.OVERLOAD), (529, Fault.OVERLOAD), (500, Fault.SERVER)]
)
def test_a_server_that_is_not_well_says_so(box: Sandbox, status: int, fault: Fault) -> None:
    box.fault("vllm", "status", status=status, where="probes")
    with pytest.raises(ProviderFault) as raised:
        ask(box, "vllm")
    assert raised.value.fault is fault


def test_a_server_that_is_silent_is_not_waited_for(box: Sandbox) -> None:
    box.fault("vllm", "hang", where="probes")
    with pytest.raises(ProviderFault) as raised:
        ask(box, "vllm", timeout_s=0.3)
    assert raised.value.fault is Fault.TIMEOUT


@pytest.mark.parametrize("status", [401, 404, 405, 429])
def test_a_gateway_that_does_not_know_the_path_says_nothing(box: Sandbox, status: int) -> None:
    box.fault("vllm", "status", status=status, where="probes")
    assert not ask(box, "vllm")


def test_a_provider_without_a_signal_is_not_asked(box: Sandbox) -> None:
    assert not ask(box, "fireworks")
    assert box.journal("fireworks") == []


def test_the_origin_is_what_a_path_of_the_server_stands_on() -> None:
    assert origin("https://api.example.com:8443/v1/x?y=1") == "https://api.example.com:8443"
