"""The lean client: what makes a reply, and what a connection is good for after it."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from plugins import _wire
from plugins._errors import Fault, ProviderFault
from plugins._http1 import Connections, NotConnected
from tests.plugins.peers import Line, Peer, Script, answer, listening, serving
from tests.plugins.wires import Reply, call, closing, replies, send, until, verdict

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture(autouse=True, params=["asyncio", "uvloop"])
def _loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run on the loop of the standard library, and on the one that servers take."""
    if request.param == "uvloop":
        uvloop = pytest.importorskip("uvloop")
        monkeypatch.setattr(asyncio, "new_event_loop", uvloop.new_event_loop)
        monkeypatch.setattr(asyncio.events, "new_event_loop", uvloop.new_event_loop)


async def asked(script: Script, times: int = 2) -> tuple[list[Reply | ProviderFault], Peer]:
    async with serving(script) as peer, closing() as wire:
        return [await send(wire, peer.base) for _ in range(times)], peer


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"{} "),
        b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + answer(b"{} "),
        OK + b"transfer-encoding: chunked\r\n\r\n3;x=y\r\n{} \r\n0\r\nx-late: 1\r\n\r\n",
        OK + b"Transfer-Encoding: Chunked\r\n\r\n1\r\n{\r\n2\r\n} \r\n0\r\n\r\n",
    ],
    ids=["continue", "hints", "trailer", "chunks"],
)
def test_a_whole_reply_leaves_its_connection_good(data: bytes) -> None:
    got, peer = asyncio.run(asked(replies(data, data)))
    assert [one[2] for one in got if isinstance(one, tuple)] == [b"{} ", b"{} "]
    assert peer.connections == 1


@pytest.mark.parametrize(
    "data",
    [
        answer(b"{} ", {"connection": "close"}),
        answer(b"{} ").replace(b"HTTP/1.1", b"HTTP/1.0"),
        answer(b"{} ") + answer(b"{}2"),
        answer(b"{} ") + b"more than was said",
    ],
    ids=["close", "HTTP/1.0", "two replies", "more bytes"],
)
def test_a_connection_whose_end_is_not_clear_is_not_used_again(data: bytes) -> None:
    got, peer = asyncio.run(asked(replies(data, data)))
    assert [one[2] for one in got if isinstance(one, tuple)] == [b"{} ", b"{} "]
    assert peer.connections == 2


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_has_none(status: int) -> None:
    head = f"HTTP/1.1 {status} Nothing\r\ncontent-length: 5\r\n\r\n".encode()
    got, _ = call(replies(head))
    assert isinstance(got, tuple)
    assert (got[0], got[2]) == (status, b"")


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.send(OK + b"\r\n{")
        await line.send(b"} ")
        line.finish()

    got, peer = asyncio.run(asked(script))
    assert [one[2] for one in got if isinstance(one, tuple)] == [b"{} ", b"{} "]
    assert peer.connections == 2


def test_a_body_of_many_parts_is_put_together() -> None:
    body = bytes(range(256)) * 4000

    async def script(line: Line) -> None:
        await line.request()
        data = answer(body)
        for at in range(0, len(data), 100_000):
            await line.send(data[at : at + 100_000])
            await asyncio.sleep(0)
        await line.gone()

    got, _ = call(script, max_bytes=len(body))
    assert isinstance(got, tuple)
    assert got[2] == body


@pytest.mark.parametrize(
    "head",
    [
        b"content-length: 2\r\ncontent-length: 3",
        b"content-length: 2\r\ntransfer-encoding: chunked",
        b"content-length: -2",
        b"content-length: 99999999999999999999",
        b"transfer-encoding: gzip",
        b"no colon",
        b"x: 1\r\n folded: 2",
    ],
)
def test_a_head_that_can_be_read_in_two_ways_is_no_reply(head: bytes) -> None:
    got, peer = call(replies(OK + head + b"\r\n\r\n{}"))
    assert verdict(got) == (Fault.RESET, True)
    assert len(peer.requests) == 1


def test_another_protocol_is_no_reply() -> None:
    head = b"HTTP/1.1 101 Switching\r\nupgrade: other\r\nconnection: upgrade\r\n\r\n"
    assert verdict(call(replies(head))[0]) == (Fault.RESET, True)


def test_equal_headers_are_joined() -> None:
    got, _ = call(replies(OK + b"X-One: 1\r\nx-one:  2 \r\ncontent-length: 0\r\n\r\n"))
    assert isinstance(got, tuple)
    assert got[1]["x-one"] == "1, 2"


def test_what_nobody_asked_for_ends_a_connection() -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.send(answer())
        await asyncio.sleep(0.05)
        await line.send(answer(b"for whom?"))
        await line.gone()

    async def main() -> Reply | ProviderFault:
        async with serving(script) as peer, closing() as wire:
            assert isinstance(await send(wire, peer.base), tuple)
            await until(lambda: peer.open == 0)
            return await send(wire, peer.base)

    got = asyncio.run(main())
    assert isinstance(got, tuple)
    assert got[2] == b"{}"


def test_a_body_that_will_be_too_large_is_not_waited_for() -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.send(OK + b"content-length: 1000000000\r\n\r\n{")
        await line.gone()

    got, _ = call(script, max_bytes=1000)
    assert verdict(got) == (Fault.CORRUPT, True)


def test_who_leaves_hangs_up_while_the_wire_goes_on() -> None:
    begun = asyncio.Event()

    async def script(line: Line) -> None:
        await line.request()
        begun.set()
        await line.gone()

    async def main() -> int:
        async with serving(script) as peer, closing() as wire:
            asking = asyncio.create_task(send(wire, peer.base))
            await begun.wait()
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await until(lambda: peer.open == 0)
            return peer.open

    assert asyncio.run(main()) == 0


def test_an_end_that_the_event_loop_has_not_seen_yet_is_seen() -> None:
    async def main() -> list[Reply | ProviderFault]:
        got = []
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            loop = asyncio.get_running_loop()
            async with closing() as wire:
                for _ in range(2):
                    base = f"http://127.0.0.1:{server.getsockname()[1]}"
                    asking = asyncio.create_task(send(wire, base))
                    await asyncio.sleep(0)  # a connection is taken, before anything is seen of it
                    line, _ = await asyncio.wait_for(loop.sock_accept(server), 5)
                    await loop.sock_recv(line, 10_000)
                    line.sendall(answer())
                    got.append(await asking)
                    line.close()
        return got

    assert [one for one in asyncio.run(main()) if not isinstance(one, tuple)] == []


def test_an_answer_to_half_a_request_counts_and_its_connection_does_not() -> None:
    async def script(line: Line) -> None:
        await line.beginning()
        await line.send(answer(b"too large", status=413))
        await line.gone()

    async def main() -> tuple[bool, int]:
        async with serving(script) as peer:
            line = Connections("127.0.0.1", peer.port, None)
            one = await line.take(5)
            reply = await line.call(one, b"x" * 50_000_000, 1000)
            return one.is_open(), reply.status

    assert asyncio.run(main()) == (False, 413)


def test_a_time_limit_before_there_is_a_connection_means_not_sent(tmp_path: Path) -> None:
    async def main() -> Reply | ProviderFault:
        with listening() as made:  # the kernel accepts; nobody shakes hands
            async with closing() as wire:
                base = f"https://127.0.0.1:{made.getsockname()[1]}"
                return await send(wire, base, timeout_s=0.2)

    assert verdict(asyncio.run(main())) == (Fault.TIMEOUT, False)


def test_a_connection_that_nobody_uses_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugins._http1.KEEPALIVE_S", 0.1)

    async def main() -> int:
        async with serving(replies(answer(), answer())) as peer, closing() as wire:
            await asyncio.gather(send(wire, peer.base), send(wire, peer.base))
            await until(lambda: peer.open == 0)
            return peer.open

    assert asyncio.run(main()) == 0


# -- TLS


def certificate(folder: Path, name: str) -> Path:
    """Write a key and a self-signed certificate for the address 127.0.0.1 or a *name*."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "peer")])
    now = datetime.datetime.now(datetime.UTC)
    alternative: x509.GeneralName = x509.DNSName(name)
    if name[0].isdigit():
        alternative = x509.IPAddress(ipaddress.ip_address(name))
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "peer.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.mark.parametrize(
    ("name", "trusted", "expected"),
    [
        ("127.0.0.1", True, None),
        ("127.0.0.1", False, (Fault.CONNECT, False)),
        ("other.example", True, (Fault.CONNECT, False)),
    ],
    ids=["good", "not trusted", "of somebody else"],
)
def test_tls_is_spoken_to_whom_the_certificate_names(
    name: str,
    trusted: bool,
    expected: tuple[Fault, bool] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = certificate(tmp_path, name)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(path)
    if trusted:
        monkeypatch.setattr(_wire, "_tls", lambda: ssl.create_default_context(cafile=path))

    async def main() -> tuple[list[Reply | ProviderFault], Peer]:
        script = replies(answer(b"{} "), answer(b"{} "))
        async with serving(script, tls=tls) as peer, closing() as wire:
            base = peer.base.replace("http:", "https:")
            return [await send(wire, base) for _ in range(2)], peer

    got, peer = asyncio.run(main())
    if expected is None:
        assert [one[2] for one in got if isinstance(one, tuple)] == [b"{} ", b"{} "]
        assert peer.connections == 1
    else:
        assert [verdict(one) for one in got] == [expected] * 2
        assert peer.requests == []


def test_a_server_that_speaks_first_was_sent_nothing() -> None:
    async def script(line: Line) -> None:
        await line.send(b"220 mail.example\r\n")
        await line.gone()

    async def main() -> None:
        async with serving(script) as peer:
            line = Connections("127.0.0.1", peer.port, None)
            one = await line.take(5)
            await until(lambda: not one.is_open())
            with pytest.raises(NotConnected):
                await line.call(one, b"x", 1000)

    asyncio.run(main())


def test_no_address_is_not_connected() -> None:
    async def main() -> None:
        await Connections("nobody.invalid", 80, None).take(5)

    with pytest.raises(NotConnected):
        asyncio.run(main())
