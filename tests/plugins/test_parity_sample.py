"""Samples: which requests become one, whom they go to, and what comes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from plugins._parity_sample import Sampler
from plugins._plan import Plan
from router_config.sandbox import Sandbox, vectors
from tests.plugins import plans
from tests.plugins.test_parity import Node, box, calls, config_file, during, sandbox

__all__ = ["box", "sandbox"]  # fixtures

TEXT = "a text of a client"


def answered(node: Node, *, by: str = "deepinfra", region: str | None = None) -> Plan:
    """Return a complete plan of group g, answered by *by* with the space's own vector."""
    pool = node.snapshot.pool["g"]
    (served,) = [one for one in pool if one.id == f"g-{by}"]
    plan = plans.plan([pool], texts=[TEXT], counts=[6], region=region)
    row = vectors([TEXT]).astype(np.float32)
    plan.accept([0], row, served, 6, 0)
    return plan


def sampler(node: Node, rate: float = 1.0, drawn: float = 0.0) -> Sampler:
    return Sampler(node.parity, lambda: rate, lambda: drawn)


def test_vectors_that_agree_are_no_suspicion(box: Sandbox, tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        await node.parity.tick()
        before = calls(box)
        samples = sampler(node)
        samples.offer(answered(node))
        await samples.work()
        assert calls(box) == {**before, "nebius": before["nebius"] + 1}
        assert node.parity.due() == []

    during(box, config_file(box, tmp_path, {"g": ("deepinfra", "nebius")}), work)


def test_vectors_that_do_not_agree_have_both_probed_and_the_sick_one_out(
    box: Sandbox, tmp_path: Path
) -> None:
    async def work(node: Node) -> None:
        await node.parity.tick()
        box.fault("nebius", "other_seed")
        samples = sampler(node)
        samples.offer(answered(node))
        await samples.work()
        assert len(node.parity.due()) == 2
        await node.parity.tick()
        assert node.out("deepinfra") is None
        assert "parity: wrong space" in str(node.out("nebius"))
        assert node.parity.due() == []

    during(box, config_file(box, tmp_path, {"g": ("deepinfra", "nebius")}), work)


@pytest.mark.parametrize(("rate", "drawn"), [(0.0, 0.0), (0.001, 0.001), (0.001, 0.9)])
def test_only_the_share_asked_for_is_sampled(
    box: Sandbox, tmp_path: Path, rate: float, drawn: float
) -> None:
    async def work(node: Node) -> None:
        samples = sampler(node, rate, drawn)
        samples.offer(answered(node))
        await samples.work()
        assert calls(box) == {}

    during(box, config_file(box, tmp_path, {"g": ("deepinfra", "nebius")}), work)


def test_a_text_goes_nowhere_that_the_request_could_not_go(box: Sandbox, tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        samples = sampler(node)
        samples.offer(answered(node, region="mars"))  # the key's region has nobody else
        plan = answered(node)
        plan.out = lambda one: "ejected"
        samples.offer(plan)
        plan = answered(node)
        plan.no_room = lambda *_: "no room"
        samples.offer(plan)
        incomplete = plans.plan([node.snapshot.pool["g"]], texts=[TEXT], counts=[6])
        samples.offer(incomplete)
        await samples.work()
        assert calls(box) == {}

    during(box, config_file(box, tmp_path, {"g": ("deepinfra", "nebius")}), work)


def test_samples_end_with_the_day_s_tokens(box: Sandbox, tmp_path: Path) -> None:
    config = config_file(box, tmp_path, {"g": ("deepinfra", "nebius")}, {"tokens_per_day": 10})

    async def work(node: Node) -> None:
        samples = sampler(node)
        for _ in range(5):
            samples.offer(answered(node))
        await samples.work()
        assert calls(box) == {"nebius": 1}

    during(box, config, work)


def test_what_waits_is_bounded(box: Sandbox, tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        samples = sampler(node)
        for _ in range(100):
            samples.offer(answered(node))
        await samples.work()
        assert calls(box) == {"nebius": 8}

    during(box, config_file(box, tmp_path, {"g": ("deepinfra", "nebius")}), work)
