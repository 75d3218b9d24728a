"""Parity over real sockets: emulators with each fault, judged as configured, by one of a fleet."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins._attempt_log import AttemptLog
from plugins._health import Health
from plugins._ledger_open import open_ledger
from plugins._money import Money
from plugins._notes import Notes
from plugins._parity import BUDGET, Parity
from plugins._parity_reference import Reference, write
from plugins._shared import Shared
from plugins._shared_sqlite import SqliteShared
from plugins._snapshot import Snapshot
from plugins._standings import Standings
from plugins._wire import Wire
from router_config import load
from router_config.sandbox import Sandbox
from tests.plugins.readings import ROWS, rows
from tests.wiring import wiring

PROVIDERS = ("deepinfra", "nebius", "novita", "vllm", "tei", "infinity", "ollama", "scaleway")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(mode="hash", providers=PROVIDERS) as box:
        yield box


@pytest.fixture
def box(sandbox: Sandbox) -> Sandbox:
    sandbox.reset()
    return sandbox


def config_file(
    box: Sandbox,
    folder: Path,
    groups: Mapping[str, tuple[str, ...]],
    parity: Any = None,
    of_groups: Mapping[str, Any] | None = None,
    **section: Any,
) -> Path:
    """Write a config with *groups* of providers, each provider's order its place in the list."""
    models = [
        {
            "model_name": group,
            "litellm_params": {
                "model": f"qwen3/{one}",
                "api_base": box.bases[one],
                "api_key": f"os.environ/{one.upper()}_KEY",
                "order": order,
            },
            "model_info": {"id": f"{group}-{one}", "mode": "embedding", "budget": "account"},
        }
        for group, members in groups.items()
        for order, one in enumerate(members, 1)
    ]
    account = {"account": {"usd": 1, "period": "lifetime"}}
    data = {
        "model_list": models,
        **wiring("gateway", "matryoshka"),
        "embedding_router": {
            "budgets": account,
            "ledger": f"sqlite:///{folder}/ledger.db",
            "groups": {name: {"parity": one} for name, one in (of_groups or {}).items()},
            **({} if parity is None else {"parity": parity}),
            **section,
        },
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


@dataclass
class Node:
    """The parts of one process around its parity."""

    snapshot: Snapshot
    health: Health
    notes: Notes
    parity: Parity
    money: Money
    box: Sandbox

    def use(self, config: Path) -> None:
        """Go on with another configuration, as a reload does."""
        self.snapshot = Snapshot(load(config), keys(self.box))
        self.health.use(self.snapshot.pool, self.health.settings)

    def key(self, provider: str, group: str = "g") -> str:
        """Return the key of *provider*'s endpoint."""
        (one,) = [c for c in self.snapshot.pool[group] if c.id == f"{group}-{provider}"]
        return one.endpoint.key

    def out(self, provider: str, group: str = "g") -> str | None:
        """Return why requests to *group* go past *provider*."""
        (one,) = [c for c in self.snapshot.pool[group] if c.id == f"{group}-{provider}"]
        return self.health.why_out(one, self.health.clock(), last=False)

    def result(self, provider: str, group: str = "g") -> Any:
        """Return the last result about *provider*."""
        return self.parity.results[self.key(provider, group)]


def keys(box: Sandbox) -> dict[str, str]:
    return {f"{one.upper()}_KEY": box.keys.get(one) or "none" for one in PROVIDERS}


@contextlib.asynccontextmanager
async def node_of(
    box: Sandbox,
    config: Path,
    *,
    wall: Callable[[], float] = time.time,
    name: str = "one",
    shared: Shared | None = None,
) -> AsyncIterator[Node]:
    """Yield the parity of a process *name*, which tells others through *shared*."""
    wire = Wire()
    snapshot = Snapshot(load(config), keys(box))
    money = Money(open_ledger(snapshot.config.ledger, {}, apart=False), time.monotonic)
    notes = Notes(shared or SqliteShared(config.with_name("shared.db")), name)
    health = Health(snapshot.pool, me=name)
    Standings(health, notes)
    parity = Parity(
        lambda: node.snapshot,
        health,
        notes,
        wire=lambda: wire,
        watchers=(money, AttemptLog()),
        clock=time.monotonic,
        wall=wall,
    )
    health.unproven = parity.unproven
    node = Node(snapshot, health, notes, parity, money, box)
    try:
        async with asyncio.timeout(60):
            yield node
    finally:
        await notes.close()
        await wire.aclose()
        await money.ledger.close()


def during(
    box: Sandbox,
    config: Path,
    work: Callable[[Node], Awaitable[None]],
    *,
    wall: Callable[[], float] = time.time,
    name: str = "one",
) -> None:
    """Run *work* with a node on *config*."""

    async def run() -> None:
        async with node_of(box, config, wall=wall, name=name) as node:
            await work(node)

    asyncio.run(run())


FOUR = {"g": ("deepinfra", "nebius", "vllm", "tei")}


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        (None, {}, None),
        ("other_seed", {"seed": 7}, "parity: wrong space"),
        ("prefix_order", {}, "parity: wrong prefix order"),
        ("missing_end_token", {}, "parity: missing end token"),
        ("nan_on_import", {}, "parity: NaN"),
        ("silent_truncation", {"limit": 512}, "parity: truncation"),
        ("silent_truncation", {"limit": 4096}, "parity: truncation"),
        ("noisy", {"cosine": 0.97}, "parity: noisy"),
        ("noisy", {"cosine": 0.995}, None),
    ],
)
@pytest.mark.parametrize("sick", ["deepinfra", "vllm"])
def test_a_sick_deployment_is_quarantined_for_what_it_has(
    box: Sandbox, tmp_path: Path, sick: str, kind: str | None, options: dict[str, Any], said: str
) -> None:
    if kind is not None:
        box.fault(sick, kind, **options)

    async def work(node: Node) -> None:
        await node.parity.tick()
        for one in FOUR["g"]:
            why = node.out(one)
            expected = said if one == sick else None
            assert (why is None) if expected is None else (expected in str(why)), (one, why)
        box.clear(sick)
        if said is not None:
            await node.parity.run([node.result(sick).key])
            assert node.out(sick) is None

    during(box, config_file(box, tmp_path, FOUR), work)


@pytest.mark.parametrize(
    ("cosine", "needed", "passes"), [(0.97, 0.96, True), (0.995, 0.998, False)]
)
def test_noise_is_accepted_as_configured(
    box: Sandbox, tmp_path: Path, cosine: float, needed: float, passes: bool
) -> None:
    box.fault("vllm", "noisy", cosine=cosine)

    async def work(node: Node) -> None:
        await node.parity.tick()
        assert (node.out("vllm") is None) == passes
        assert node.out("deepinfra") is None

    during(box, config_file(box, tmp_path, FOUR, {"cosine": needed}), work)


# -- when, and at whose cost


def calls(box: Sandbox) -> dict[str, int]:
    """Return how many calls each provider got, leaving out those that got none."""
    found = {one: len(box.journal(one)) for one in PROVIDERS}
    return {one: number for one, number in found.items() if number}


def test_nobody_is_asked_again_before_a_day_and_the_long_text_weekly(
    box: Sandbox, tmp_path: Path
) -> None:
    at = [1_795_000_000.0]

    async def work(node: Node) -> None:
        await node.parity.tick()
        first = calls(box)
        assert first == dict.fromkeys(("deepinfra", "nebius"), 4)
        await node.parity.tick()
        at[0] += 86_000
        await node.parity.tick()
        assert calls(box) == first
        at[0] += 500
        await node.parity.tick()
        assert calls(box) == dict.fromkeys(("deepinfra", "nebius"), 7)  # without the long one
        at[0] += 8 * 86_400
        await node.parity.tick()
        assert calls(box) == dict.fromkeys(("deepinfra", "nebius"), 11)

    during(
        box,
        config_file(box, tmp_path, {"g": ("deepinfra", "nebius")}),
        work,
        wall=lambda: at[0],
    )


def test_a_process_that_comes_later_knows_all_and_asks_nobody(box: Sandbox, tmp_path: Path) -> None:
    config = config_file(box, tmp_path, FOUR, "required")
    box.fault("vllm", "other_seed")

    async def first(node: Node) -> None:
        assert node.out("deepinfra") == "its vectors are not proven yet"
        await node.parity.tick()
        assert node.out("deepinfra") is None

    async def second(node: Node) -> None:
        assert node.out("deepinfra") == "its vectors are not proven yet"
        before = calls(box)
        await node.parity.tick()
        assert calls(box) == before
        assert node.out("deepinfra") is None
        assert not node.result("vllm").verdicts.popitem()[1].passed
        # What joins later is held against the space that was found then.
        box.clear("vllm")
        box.fault("tei", "other_seed")
        await node.parity.run([node.result("tei").key, node.result("vllm").key])
        assert "wrong space" in str(node.out("tei"))
        assert node.out("vllm") is None

    during(box, config, first)
    during(box, config, second, name="two")


def test_only_one_process_of_a_fleet_asks(box: Sandbox, tmp_path: Path) -> None:
    config = config_file(box, tmp_path, FOUR)

    async def work(node: Node) -> None:
        other = Notes(SqliteShared(config.with_name("shared.db")), "other")
        assert await other.lease("parity", 60)
        await node.parity.tick()
        assert calls(box) == {}
        await other.lease("parity", 0)
        await node.parity.tick()
        assert calls(box) == dict.fromkeys(FOUR["g"], 4)
        assert await other.lease("parity", 60)  # given back at once
        await other.close()

    during(box, config, work)


def test_probes_are_paid_from_the_account_and_end_with_the_day_s_tokens(
    box: Sandbox, tmp_path: Path
) -> None:
    config = config_file(box, tmp_path, {"g": ("deepinfra",)}, {"tokens_per_day": 400})

    async def work(node: Node) -> None:
        await node.parity.tick()
        rooms = {room.budget.name: room for room in await node.money.ledger.rooms()}
        billed = box.totals("deepinfra")
        assert 0 < billed["billed_tokens"] < 400
        assert rooms[BUDGET].spent.tokens == billed["billed_tokens"]
        assert rooms["account"].spent.tokens == billed["billed_tokens"]
        assert rooms["account"].spent.nano_usd > 0
        assert rooms["account"].held.nano_usd == rooms[BUDGET].held.tokens == 0
        # The long text had no room; the day's tokens are not enough for another round.
        assert node.out("deepinfra") is None
        await node.parity.run([node.result("deepinfra").key])
        assert node.result("deepinfra").gap == "the day's tokens of the probes are used up"
        assert node.out("deepinfra") is None

    during(box, config, work)


def test_an_account_without_room_is_not_asked(box: Sandbox, tmp_path: Path) -> None:
    config = config_file(
        box,
        tmp_path,
        {"g": ("deepinfra",)},
        budgets={"account": {"tokens": 20, "period": "lifetime"}},
    )

    async def work(node: Node) -> None:
        await node.parity.tick()
        assert calls(box) == {}
        assert node.result("deepinfra").gap == "budget account has no room"

    during(box, config, work)


def test_who_does_not_answer_is_neither_proven_nor_blamed(box: Sandbox, tmp_path: Path) -> None:
    at = [1_795_000_000.0]
    box.down("nebius")

    async def work(node: Node) -> None:
        await node.parity.tick()
        assert node.result("nebius").gap == "no answer (connect)"
        assert node.out("nebius") == "its vectors are not proven yet: no answer (connect)"
        assert node.out("deepinfra") is None
        box.up("nebius")
        await node.parity.tick()
        assert calls(box).get("nebius", 0) == 0
        at[0] += 5
        await node.parity.tick()
        assert node.out("nebius") is None

    config = config_file(box, tmp_path, {"g": ("deepinfra", "nebius")}, "required")
    during(box, config, work, wall=lambda: at[0])
    box.up("nebius")


def test_who_is_out_for_another_reason_is_not_asked(box: Sandbox, tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        (one,) = node.snapshot.pool["g"]
        node.health.eject(one.endpoint.key, reason="maintenance")
        await node.parity.tick()
        assert calls(box) == {}
        node.health.clear(one.endpoint.key)
        await node.parity.tick()
        assert calls(box) == {"deepinfra": 4}

    during(box, config_file(box, tmp_path, {"g": ("deepinfra",)}), work)


# -- groups


def test_a_group_without_parity_is_left_alone(box: Sandbox, tmp_path: Path) -> None:
    groups = {"g": ("deepinfra",), "h": ("nebius",)}
    box.fault("nebius", "other_seed")

    async def work(node: Node) -> None:
        await node.parity.tick()
        assert calls(box) == {"deepinfra": 4}
        assert node.out("nebius", "h") is None

    during(box, config_file(box, tmp_path, groups, of_groups={"h": "off"}), work)


def test_a_recorded_reference_rules(box: Sandbox, tmp_path: Path) -> None:
    """The fleet's majority is of another space than the recorded one: it is quarantined."""
    (tmp_path / "parity.json").write_bytes(write(Reference(rows(seed=7), revision=2)))
    box.fault("tei", "other_seed", seed=7)

    async def work(node: Node) -> None:
        await node.parity.tick()
        assert node.snapshot.recorded["g"].startswith("r2-")
        assert node.out("tei") is None
        for one in ("deepinfra", "nebius", "vllm"):
            assert "parity: wrong space" in str(node.out(one))

    during(box, config_file(box, tmp_path, FOUR, {"reference": "parity.json"}), work)


def test_an_endpoint_of_two_spaces_is_out_only_where_it_does_not_belong(
    box: Sandbox, tmp_path: Path
) -> None:
    (tmp_path / "own.json").write_bytes(write(Reference(ROWS)))
    (tmp_path / "other.json").write_bytes(write(Reference(rows(seed=7), revision=2)))
    groups = {"g": ("deepinfra",), "h": ("deepinfra",)}
    references = {"g": {"reference": "own.json"}, "h": {"reference": "other.json"}}

    async def work(node: Node) -> None:
        await node.parity.tick()
        assert calls(box) == {"deepinfra": 4}
        assert node.out("deepinfra", "g") is None
        assert node.out("deepinfra", "h") == "parity: wrong space"

    during(box, config_file(box, tmp_path, groups, of_groups=references), work)


def test_other_terms_are_judged_anew(box: Sandbox, tmp_path: Path) -> None:
    box.fault("vllm", "noisy", cosine=0.97)

    async def first(node: Node) -> None:
        await node.parity.tick()
        assert "noisy" in str(node.out("vllm"))

    async def second(node: Node) -> None:
        await node.parity.tick()
        assert node.out("vllm") is None

    during(box, config_file(box, tmp_path, FOUR), first)
    during(box, config_file(box, tmp_path, FOUR, {"cosine": 0.95}), second, name="two")


# -- a group without a recorded reference


@pytest.mark.parametrize(
    ("sick", "out"),
    [
        ({}, ()),
        ({"tei": {"seed": 7}}, ("tei",)),  # the minority
        # A tie: the earlier half that passes the model card's check is the space.
        ({"vllm": {"cosine": 0.97}, "tei": {"cosine": 0.97}}, ("vllm", "tei")),
        ({"deepinfra": {"seed": 7}, "nebius": {"seed": 7}}, ("deepinfra", "nebius")),
        ({one: {"seed": 7} for one in FOUR["g"]}, FOUR["g"]),  # all of one wrong space
        ({one: {"seed": 3 + n} for n, one in enumerate(FOUR["g"])}, FOUR["g"]),
    ],
)
def test_the_deployments_themselves_show_the_space(
    box: Sandbox, tmp_path: Path, sick: dict[str, dict[str, Any]], out: tuple[str, ...]
) -> None:
    for one, options in sick.items():
        box.fault(one, "noisy" if "cosine" in options else "other_seed", **options)

    async def work(node: Node) -> None:
        await node.parity.tick()
        found = [one for one in FOUR["g"] if node.out(one) is not None]
        assert found == list(out)
        assert node.health.has_anybody("g") == (found != list(FOUR["g"]))
        if not node.health.has_anybody("g"):
            assert "parity: wrong space" in str(node.health.why_none(node.snapshot.pool["g"]))

    during(box, config_file(box, tmp_path, FOUR, {"tolerance": 0.02}), work)


@pytest.mark.parametrize(("fault", "out"), [(None, False), ("other_seed", True)])
def test_one_alone_is_held_against_the_model_card(
    box: Sandbox, tmp_path: Path, fault: str | None, out: bool
) -> None:
    if fault is not None:
        box.fault("deepinfra", fault, seed=7)

    async def work(node: Node) -> None:
        await node.parity.tick()
        assert (node.out("deepinfra") is not None) == out

    during(box, config_file(box, tmp_path, {"g": ("deepinfra",)}, "required"), work)


def test_the_first_is_no_space_by_itself_if_the_others_agree(box: Sandbox, tmp_path: Path) -> None:
    box.fault("deepinfra", "noisy", cosine=0.97)

    async def work(node: Node) -> None:
        await node.parity.tick()
        assert [one for one in FOUR["g"] if node.out(one) is not None] == ["deepinfra"]

    during(box, config_file(box, tmp_path, FOUR, {"tolerance": 0.2}), work)


def test_of_two_halves_that_pass_the_card_the_earlier_is_the_space(
    box: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Only a wide tolerance lets noise pass the card; then the order decides, and says so."""
    for one in ("vllm", "tei"):
        box.fault(one, "noisy", cosine=0.97)

    async def work(node: Node) -> None:
        await node.parity.tick()
        assert [one for one in FOUR["g"] if node.out(one) is not None] == ["vllm", "tei"]
        assert "g-deepinfra and g-vllm both pass" in caplog.text
        assert "Record a reference to decide it" in caplog.text

    during(box, config_file(box, tmp_path, FOUR, {"tolerance": 0.2}), work)
