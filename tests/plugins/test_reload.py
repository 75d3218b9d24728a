"""Hot reload: a whole good file takes effect in one step; anything else changes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from plugins._reload import Reloader, restart_needed
from router_config import Config, load

FILE = """\
model_list:
  - model_name: qwen3-embedding-8b
    litellm_params: {{model: qwen3/scaleway, api_key: os.environ/SCW_SECRET_KEY, order: {order}}}
    model_info: {{id: one, mode: embedding}}
litellm_settings:
  callbacks: [plugins.gateway.handler, plugins.budget.handler, plugins.matryoshka.handler]
  custom_provider_map:
    - {{provider: qwen3, custom_handler: plugins.provider.handler}}
router_settings: {{num_retries: 0, disable_cooldowns: true}}
general_settings: {{master_key: os.environ/LITELLM_MASTER_KEY, custom_auth: plugins.keys.handler}}
embedding_router: {{attempts: 3}}
"""


class House:
    """What is in force; *fails* is raised by the last step before it changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write(FILE.format(order=1))
        self.config = load(path)
        self.fails: Exception | None = None
        self.taken = 0
        self.followed: list[int] = []  # the age of what the ledger was told

    def write(self, text: str) -> None:
        self.path.write_text(text)

    @property
    def order(self) -> int:
        return self.config.groups["qwen3-embedding-8b"].deployments[0].order

    def reloader(self) -> Reloader:
        async def stage(new: Config) -> Callable[[], None]:
            if self.fails is not None:
                raise self.fails

            def put_in_force() -> None:
                self.config = new
                self.taken += 1

            return put_in_force

        async def follow() -> None:
            self.followed.append(self.config.since)

        return Reloader(self.path, lambda: self.config, stage, follow, wall=lambda: 5.0)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "config.yaml")


def looks(house: House, *edits: str | None) -> Reloader:
    """Return a reloader that looked once before each edit (None: no edit) and once at the end."""

    async def go() -> Reloader:
        reloader = house.reloader()
        for edit in edits:
            await reloader.look()
            if edit is not None:
                house.write(edit)
        await reloader.look()
        return reloader

    return asyncio.run(go())


def run(work: Callable[[], Awaitable[object]]) -> None:
    async def go() -> None:
        await work()

    asyncio.run(go())


def test_a_changed_file_is_taken_once_it_lies_still(house: House) -> None:
    reloader = looks(house, FILE.format(order=7), None)
    assert (house.order, house.taken) == (7, 1)
    assert reloader.word.ok
    assert reloader.word.sha256 == house.config.sha256


def test_a_file_that_is_still_being_written_is_not_taken(house: House) -> None:
    looks(house, FILE.format(order=7), FILE.format(order=8))
    assert (house.order, house.taken) == (1, 0)


def test_a_file_that_was_only_touched_is_not_taken(house: House) -> None:
    looks(house, FILE.format(order=1), None, None)
    assert house.taken == 0


def test_a_file_with_problems_changes_nothing_and_the_line_is_named(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "qwen3_router.reload"):
        reloader = looks(house, FILE.format(order="first"), None, None, None)
    assert (house.order, house.taken) == (1, 0)
    assert not reloader.word.ok
    assert reloader.word.sha256 == house.config.sha256 != reloader.word.seen
    assert len(caplog.records) == 1  # not once a second
    assert "config.yaml:3:" in caplog.text


def test_a_file_that_is_gone_changes_nothing(house: House) -> None:
    async def go() -> None:
        reloader = house.reloader()
        house.path.unlink()
        await reloader.look()
        await reloader.look()
        assert not (await reloader.reload()).ok
        house.write(FILE.format(order=4))
        await reloader.look()
        await reloader.look()
        assert reloader.word.ok

    asyncio.run(go())
    assert house.order == 4


def test_what_cannot_be_put_in_force_is_said_and_changes_nothing(house: House) -> None:
    async def go() -> None:
        reloader = house.reloader()
        house.write(FILE.format(order=2))
        house.fails = RuntimeError("no room")
        word = await reloader.reload()
        assert (word.ok, word.problems) == (False, ("it cannot be put in force", "no room"))
        house.fails = None
        assert (await reloader.reload()).ok

    asyncio.run(go())
    assert house.order == 2


def test_the_way_back_to_the_running_file_is_good_news(house: House) -> None:
    async def go() -> None:
        reloader = house.reloader()
        house.write("model_list: [")
        assert not (await reloader.reload()).ok
        house.write(FILE.format(order=1))
        assert (await reloader.reload()).ok

    asyncio.run(go())
    assert house.order == 1


def test_the_ledger_is_told_of_what_is_in_force_and_of_nothing_else(house: House) -> None:
    async def go() -> None:
        reloader, first = house.reloader(), house.config.since
        await reloader.reload()  # an operator asks for the same file: what is lost is told again
        assert house.followed == [first]
        house.write(FILE.format(order=2))
        house.fails = RuntimeError("no room")
        assert not (await reloader.reload()).ok
        assert house.followed == [first]
        house.fails = None
        house.write(FILE.format(order=1))  # as before, but newer now than any other file
        assert (await reloader.reload()).ok
        assert house.followed == [first, house.config.since]
        assert house.config.since > first

    asyncio.run(go())


def test_reloads_at_the_same_time_follow_each_other(house: House) -> None:
    async def go() -> None:
        reloader = house.reloader()
        house.write(FILE.format(order=3))
        words = await asyncio.gather(*(reloader.reload() for _ in range(5)))
        assert all(word.ok for word in words)

    asyncio.run(go())
    assert (house.order, house.taken) == (3, 1)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("custom_auth: plugins.keys.handler", "custom_auth: other.handler", ["general_settings"]),
        ("  callbacks:", "  set_verbose: true\n  callbacks:", ["litellm_settings"]),
        ("num_retries: 0,", "num_retries: 0, timeout: 3,", ["router_settings.timeout"]),
        ("attempts: 3", "attempts: 3, ledger: sqlite:///x.db", ["embedding_router.ledger"]),
        ("attempts: 3", "attempts: 4", []),
        ("num_retries: 0,", "num_retries: 0, model_group_alias: {x: qwen3-embedding-8b},", []),
    ],
)
def test_what_only_a_start_can_do_is_named(
    tmp_path: Path, old: str, new: str, named: list[str]
) -> None:
    text = FILE.format(order=1)
    before, after = tmp_path / "before.yaml", tmp_path / "after.yaml"
    before.write_text(text)
    after.write_text(text.replace(old, new))
    assert text != after.read_text()
    assert restart_needed(load(before), load(after)) == named
