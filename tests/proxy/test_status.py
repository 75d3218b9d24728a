"""The status page of the real proxy: who may see it, what it says, and how soon."""

from __future__ import annotations

import time

import httpx
import pytest

from plugins._status_style import POLICY
from router_config.sandbox import Sandbox
from tests.proxy import configs
from tests.proxy.harness import MASTER_KEY, PLAIN, Proxy


def look(proxy: Proxy, query: str = "", **headers: str) -> httpx.Response:
    return httpx.get(
        f"{proxy.base}/router/{query}", auth=("anybody", MASTER_KEY), headers=headers, **PLAIN
    )


def test_page_names_every_group_and_is_held_to_its_own_script(proxy: Proxy, box: Sandbox) -> None:
    reply = look(proxy)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.headers["content-security-policy"] == POLICY
    assert reply.headers["cache-control"] == "no-store"
    assert all(f">{configs.solo(one)}<" in reply.text for one in configs.PROVIDERS)


@pytest.mark.parametrize(
    "auth",
    [None, ("admin", ""), ("admin", "sk-wrong"), (MASTER_KEY, ""), ("a", configs.KEYS["search"]),
     ("prometheus", configs.METRICS_TOKEN)],
)  # fmt: skip
def test_only_the_master_key_opens_it(proxy: Proxy, auth: tuple[str, str] | None) -> None:
    reply = httpx.get(f"{proxy.base}/router/", auth=auth, **PLAIN)
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"].startswith("Basic ")
    assert "solo-vllm" not in reply.text


def test_language_is_the_readers(proxy: Proxy, box: Sandbox) -> None:
    russian = look(proxy, **{"accept-language": "ru-RU,ru;q=0.9"})
    assert (russian.headers["content-language"], "Группы моделей" in russian.text) == ("ru", True)
    assert '<html lang="en">' in look(proxy, "?lang=en", **{"accept-language": "ru"}).text


def test_path_without_slash_leads_to_the_page(proxy: Proxy) -> None:
    reply = httpx.get(f"{proxy.base}/router", auth=("any", MASTER_KEY), **PLAIN)
    assert (reply.status_code, reply.headers["location"]) == (308, "router/")


def test_other_paths_below_stay_litellms(proxy: Proxy) -> None:
    reply = httpx.get(f"{proxy.base}/router/settings", **PLAIN)
    assert reply.headers.get("content-security-policy") != POLICY
    assert "www-authenticate" not in reply.headers


def test_nothing_can_be_sent_to_it(proxy: Proxy) -> None:
    reply = httpx.post(f"{proxy.base}/router/", auth=("any", MASTER_KEY), **PLAIN)
    assert (reply.status_code, reply.headers["allow"]) == (405, "GET, HEAD")


def test_failover_is_on_the_page_at_once_and_looking_calls_nobody(
    proxy: Proxy, box: Sandbox
) -> None:
    group = configs.pair("fireworks")
    box.fault("fireworks", "status", status=500)
    proxy.post({"model": group, "input": "x"})
    calls = len(box.journal("fireworks")) + len(box.journal("openai"))
    ends = time.monotonic() + 60  # at once, on a machine that does nothing else
    while f">{group}--fireworks</span> <span" not in (text := look(proxy).text):
        assert time.monotonic() < ends
    assert f">{group}--openai</span>" in text
    assert len(box.journal("fireworks")) + len(box.journal("openai")) == calls


def test_no_key_of_anybody_is_on_the_page(proxy: Proxy, box: Sandbox) -> None:
    secrets = [*box.keys.values(), *configs.KEYS.values(), configs.PLAIN_KEY, MASTER_KEY]
    text = look(proxy).text
    assert [one for one in secrets if one in text] == []
