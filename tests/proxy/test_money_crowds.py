"""The headline: a crowd cannot overspend, whatever hangs, breaks off or is killed; on SQLite."""

from __future__ import annotations

from pathlib import Path

from tests.proxy.answers import refused
from tests.proxy.budgets import room, text_of
from tests.proxy.crowds import (
    TOKENS,
    Storm,
    assert_held,
    assert_used_up,
    configured,
    kill,
    providers_in_a_storm,
    stormy,
)
from tests.proxy.harness import running


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
            before.run(["tokens-own", "plain-own"], after=5, then=lambda: kill(proxy))
            assert before.broken > 0
            assert_held(box, lambda: state)
            # Its callback is not wired; it is added, and said.
            assert "paste: callbacks: [plugins.budget.handler, plugins.gateway" in proxy.log()
        config = configured(box, "sqlite", lowered=50).write(tmp_path / "second.yaml")
        with running(config, tmp_path / "second.log", environ=environ) as proxy:
            after = Storm([proxy.base])
            after.run()
            assert after.broken == 0
            assert_used_up(box, lambda: state)
            # A limit lowered under what is spent grants nothing, and takes nothing back.
            reply = proxy.post({"model": "lowered", "input": "x"})
            refused(reply, 503, "no_deployment_available", retry=True)
            lowered = room(state, "lowered")
            assert (lowered.budget.tokens, lowered.spent.tokens) == (50, 3 * TOKENS)
        log = (tmp_path / "second.log").read_text()
        assert "never retrieved" not in log
        assert "qwen3_router.ledger" not in log  # nobody called it away
        print(f"\n{before.vectors} vectors before the kill, {after.vectors} after")
