"""What the environment and earlier replies may add to a call: a proxy, and nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from plugins._errors import Fault, ProviderFault
from tests.plugins.peers import Peer, answer, serving
from tests.plugins.wires import KEY, Reply, call, closing, replies, send, verdict


def test_a_cookie_is_not_sent_back() -> None:
    async def main() -> list[bytes]:
        data = answer(headers={"set-cookie": "account=1234; Path=/"})
        async with serving(replies(data, data)) as peer, closing() as wire:
            await send(wire, peer.base)
            await send(wire, peer.base)
            return peer.requests

    first, second = asyncio.run(main())
    assert b"cookie" not in first.lower()
    assert b"cookie" not in second.lower()


@pytest.fixture
def _no_proxy_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.usefixtures("_no_proxy_yet")
@pytest.mark.parametrize("variable", [None, "http_proxy", "ALL_PROXY"])
def test_a_netrc_file_does_not_replace_our_key(
    variable: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    async def main() -> list[bytes]:
        async with serving(replies(answer())) as peer, closing() as wire:
            if variable is not None:
                monkeypatch.setenv(variable, peer.base)
            assert isinstance(await send(wire, peer.base), tuple)
            return peer.requests

    (sent,) = asyncio.run(main())
    assert sent.lower().count(b"authorization:") == 1
    assert f"Bearer {KEY}".encode() in sent


@pytest.mark.usefixtures("_no_proxy_yet")
@pytest.mark.parametrize("scheme", ["http://", ""], ids=["full", "without a scheme"])
def test_a_proxy_of_the_environment_is_used(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> Peer:
        async with serving(replies(answer())) as peer, closing() as wire:
            monkeypatch.setenv("http_proxy", f"{scheme}127.0.0.1:{peer.port}")
            assert isinstance(await send(wire, "http://provider.example"), tuple)
            return peer

    peer = asyncio.run(main())
    assert peer.requests[0].startswith(b"POST http://provider.example/v1/embeddings HTTP/1.1\r\n")


@pytest.mark.usefixtures("_no_proxy_yet")
def test_no_proxy_exempts_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://nobody.invalid:3128")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    got, peer = call(replies(answer()))
    assert isinstance(got, tuple)
    assert len(peer.requests) == 1


@pytest.mark.usefixtures("_no_proxy_yet")
def test_a_proxy_that_says_no_was_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> tuple[Reply | ProviderFault, Peer]:
        refusal = answer(b"who are you?", status=407)
        async with serving(replies(refusal)) as peer, closing() as wire:
            monkeypatch.setenv("https_proxy", peer.base)
            return await send(wire, "https://provider.example"), peer

    got, peer = asyncio.run(main())
    assert verdict(got) == (Fault.CONNECT, False)
    assert peer.requests[0].startswith(b"CONNECT provider.example:443 ")
    assert KEY.encode() not in peer.requests[0]


@pytest.mark.usefixtures("_no_proxy_yet")
@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "http://[::1"])
def test_a_proxy_that_cannot_be_used_was_not_sent(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    got, peer = call(replies(answer()))
    assert verdict(got) == (Fault.CONNECT, False)
    assert peer.connections == 0
