"""No key and no text of a client in any reply or log line, whatever a provider does with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from router_config.sandbox import Sandbox
from router_config.sandbox.faults import KINDS
from tests.proxy import configs
from tests.proxy.configs import PLAIN_KEY
from tests.proxy.harness import MASTER_KEY, Proxy, running
from tests.proxy.watching import Watch

# Each has a word that is found nowhere else, whole or cut into pieces.
TEXTS = ("Секретный проект Жар-птица-7f3a", "the confidential merger-9c1b of two banks")
# Words that no random id, which is hexadecimal, can hold by chance.
MARKS = ("Жар-птица", "птица-7f3a", "merger", "ger-9c1b", "\\u0416\\u0430\\u0440")
# For ever, or longer than an attempt may last.
ENDLESS = ("hang", "hang_unread", "slowloris", "trickle_headers")
OPTIONS: dict[str, dict[str, Any]] = {
    "flap": {"ok": 0, "fail": 1},
    "slow": {"delay_s": 0.1},
    "gzip_bomb": {"megabytes": 20},
}


def keys(box: Sandbox) -> list[str]:
    return [*box.keys.values(), *configs.KEYS.values(), PLAIN_KEY, MASTER_KEY]


def secrets_in(shown: str, box: Sandbox) -> list[str]:
    """Return what *shown* must not hold: keys, their ends as providers quote them, texts."""
    tails = [key[-8:] for key in keys(box) if len(key) > 16]
    return [one for one in (*keys(box), *tails, *TEXTS, *MARKS) if one in shown]


def shown_by(reply: httpx.Response) -> str:
    return "\n".join([*(f"{name}: {value}" for name, value in reply.headers.items()), reply.text])


def ask(proxy: Proxy, group: str, key: str | None = MASTER_KEY) -> httpx.Response:
    return proxy.post({"model": group, "input": TEXTS, "dimensions": 32}, key=key)


def echoes(key: str, texts: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield refusals that repeat the caller's key and texts, as providers do."""
    said = f"Incorrect API key provided: {key}. Input was {texts[0]!r}."
    for status in (400, 401, 402, 403, 404, 422, 429, 500, 503):
        yield {
            "status": status,
            "body": {"error": {"message": said, "type": key, "code": texts[1], "param": key}},
            "headers": {"retry-after": key, "x-request-id": key, "location": f"http://{key}/"},
        }
        yield {
            "status": status,
            "body": {"detail": [{"loc": ["body", texts[0]], "msg": said, "input": texts[1]}]},
        }
    yield {"status": 200, "body": {"error": {"code": 401, "message": said}}}
    yield {"status": 200, "body": {"data": [{"embedding": said, "index": key}] * 2}}


@pytest.mark.parametrize("group", ["pair-deepinfra", "solo-deepinfra", "plain-then-ours"])
def test_what_a_provider_repeats_is_not_passed_on(proxy: Proxy, box: Sandbox, group: str) -> None:
    plain = group.startswith("plain")
    provider, key = ("vllm", PLAIN_KEY) if plain else ("deepinfra", box.keys["deepinfra"])
    watch = Watch(proxy)
    for echo in echoes(key, TEXTS):
        box.clear()
        box.fault(provider, "status", **echo)
        assert secrets_in(shown_by(ask(proxy, group)), box) == []
    assert len(watch.failures()) == 20
    assert secrets_in(watch.text(), box) == []


def test_what_the_last_plain_deployment_repeats_is_logged_by_litellm_only(
    proxy: Proxy, box: Sandbox
) -> None:
    # LiteLLM prints the error that ends a request, with the words of its own client's provider.
    texts = ("other words A", "other words B")
    watch = Watch(proxy)
    for echo in echoes(PLAIN_KEY, texts):
        box.clear()
        box.fault("vllm", "status", **echo)
        reply = proxy.post({"model": "plain", "input": texts})
        assert "other words" not in shown_by(reply)
        assert PLAIN_KEY not in shown_by(reply)
    assert len(watch.failures()) == 20
    assert "other words" not in "\n".join(watch.lines())
    assert PLAIN_KEY not in watch.text()


@pytest.mark.parametrize("key", ["sk-a-wrong-key-0d1f55aa", f"{MASTER_KEY}x"])
def test_a_wrong_key_is_not_passed_on(proxy: Proxy, box: Sandbox, key: str) -> None:
    watch = Watch(proxy)
    reply = ask(proxy, "solo-vllm", key=key)
    assert reply.status_code == 401
    for shown in (shown_by(reply), watch.text()):
        assert key not in shown
        assert secrets_in(shown, box) == []


def test_no_fault_brings_a_key_or_a_text_into_a_reply_or_the_log(
    proxy: Proxy, box: Sandbox
) -> None:
    seen = Watch(proxy)
    for kind in KINDS:
        box.clear()
        box.fault("deepinfra", kind, **OPTIONS.get(kind, {}))
        reply = ask(proxy, "impatient" if kind in ENDLESS else "pair-deepinfra")
        assert reply.status_code == 200, kind
        assert secrets_in(shown_by(reply), box) == [], kind
    assert len(seen.failures()) > 30
    # All that this proxy has printed, also for the tests before.
    assert secrets_in(proxy.log(), box) == []


def test_our_own_lines_hold_no_secret_even_while_litellm_debugs(
    sandbox: Sandbox, box: Sandbox, tmp_path: Path
) -> None:
    config = configs.write(sandbox, tmp_path / "config.yaml")
    environ = {**configs.environ(sandbox), "LITELLM_LOG": "DEBUG"}
    with running(config, tmp_path / "proxy.log", environ=environ) as proxy:
        watch = Watch(proxy)
        for kind in ("unauthorized", "status", "short_vectors", "reset_mid_body"):
            box.clear()
            for provider in ("deepinfra", "vllm"):
                box.fault(provider, kind)
            for group in ("pair-deepinfra", "solo-deepinfra", "plain"):
                ask(proxy, group)
        ask(proxy, "solo-openai", key="sk-a-wrong-key-0d1f55aa")
        assert "LiteLLM" in watch.text()
        assert len(watch.failures()) == 12
        assert secrets_in("\n".join(watch.lines()), box) == []
        assert not [line for line in watch.lines() if "0d1f55aa" in line]
