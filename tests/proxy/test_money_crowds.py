"""The headline: a crowd cannot overspend, whatever hangs, breaks off or is killed; on SQLite."""

from __future__ import annotations

from pathlib import Path

from router_config.sandbox import Sandbox
from tests.proxy.answers import refused
from tests.proxy.budgets import room, text_of
from tests.proxy.crowds import (
    BARE,
    BARE_KEY,
    IDENTITIES,
    TOKENS,
    Storm,
    assert_held,
    assert_used_up,
    configured,
    kill,
    providers_in_a_storm,
    stormy,
)
from tests.proxy.harness import Proxy, running

KILLED = ("tokens-own", "plain-own")
# Says who asks as LiteLLM's own check of a database key does.
AUTH = """
import os
from litellm.proxy._types import LitellmUserRoles, ProxyException, UserAPIKeyAuth


async def handler(request, api_key):
    if api_key == os.environ["LITELLM_MASTER_KEY"]:
        return UserAPIKeyAuth(api_key=api_key, user_role=LitellmUserRoles.PROXY_ADMIN)
    kind, _, name = api_key.removeprefix("sk-").partition(".")
    if kind == "bare":  # and with what its owner wrote into its metadata
        return UserAPIKeyAuth(api_key=api_key, metadata={"qwen3_router_key": "ann"})
    field = {"key": "key_alias", "team": "team_id", "user": "user_id"}[kind]
    return UserAPIKeyAuth(api_key=api_key, models=[], **{field: name})
"""


def test_a_crowd_cannot_overspend_through_kill_and_restart(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with providers_in_a_storm() as box:
        stormy(box)
        setup = configured(box, "sqlite", wired=False)
        environ = {**setup.environ, "QWEN3_ROUTER_STATE": str(state)}
        config = setup.write(tmp_path / "first.yaml")
        with running(config, tmp_path / "first.log", environ=environ) as proxy:
            for i in range(3):
                body = {"model": "lowered", "input": text_of(TOKENS, i)}
                assert proxy.post(body).status_code == 200
            before = Storm([proxy.base])
            before.run(KILLED, when=lambda: before.vectors >= 5, then=lambda: kill(proxy))
            assert before.broken > 0
            assert_held(box, lambda: state)
            # Its callback is not wired; it is added, and said.
            assert "paste: callbacks: [plugins.budget.handler, plugins.gateway" in proxy.log()
        setup = configured(box, "sqlite", lowered=50)
        setup.auth = "identities.handler"
        (tmp_path / "identities.py").write_text(AUTH)
        config = setup.write(tmp_path / "second.yaml")
        with running(config, tmp_path / "second.log", environ=environ) as proxy:
            after = Storm([proxy.base])
            after.run()
            assert after.broken == 0
            assert_used_up(box, lambda: state, KILLED)
            # A limit lowered under what is spent grants nothing, and takes nothing back.
            reply = proxy.post({"model": "lowered", "input": "x"})
            refused(reply, 503, "no_deployment_available", retry=True)
            lowered = room(state, "lowered")
            assert (lowered.budget.tokens, lowered.spent.tokens) == (50, 3 * TOKENS)
            box.reset()
            identities_have_budgets(proxy, box)
        log = (tmp_path / "second.log").read_text()
        assert "never retrieved" not in log
        assert "qwen3_router.ledger" not in log  # nobody called it away
        print(f"\n{before.vectors} vectors before the kill, {after.vectors} after")


def identities_have_budgets(proxy: Proxy, box: Sandbox) -> None:
    """Check keys, teams and users that are none of our file's."""
    for name, whose in IDENTITIES.items():
        key = BARE_KEY if name == BARE else f"sk-{name.replace(':', '.')}"
        bodies = [{"model": "own", "input": text_of(20, i), "dimensions": 32} for i in range(3)]
        got = [proxy.post(body, key=key) for body in bodies]
        assert [one.status_code for one in got] == [200, 200, 429], name
        said = refused(got[2], 429, "budget_exceeded")
        assert said.startswith(f"The budget of {whose} has no room for this request.")
    assert len(box.journal("vllm")) == 2 * len(IDENTITIES)
