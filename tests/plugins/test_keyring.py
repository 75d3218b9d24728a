"""Keys of the file: found by hash, good until their day is over."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from plugins._keyring import Keyring
from router_config import Key

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def key(alias: str = "a", not_after: date | None = None) -> Key:
    hashes = (digest(f"sk-{alias}"), digest(f"sk-{alias}-next"))
    return Key(alias=alias, sha256=hashes, not_after=not_after)


def test_both_keys_of_an_alias_are_found_while_it_is_rotated() -> None:
    ring = Keyring([key("a"), key("b")])
    found = [ring.find(digest(one), NOON) for one in ("sk-a", "sk-a-next", "sk-b", "sk-c")]
    assert [one and one.alias for one in found] == ["a", "a", "b", None]


@pytest.mark.parametrize(
    ("not_after", "moment", "good"),
    [
        (date(2026, 11, 24), datetime(2026, 11, 24, 23, 59, 59, tzinfo=UTC), True),
        (date(2026, 11, 24), datetime(2026, 11, 25, 0, 0, 0, tzinfo=UTC), False),
        (date(2026, 11, 23), NOON, False),
        (NOON, NOON, True),
        (NOON, NOON + timedelta(microseconds=1), False),
        (NOON.replace(tzinfo=None), NOON, True),
        (NOON.replace(tzinfo=None), NOON + timedelta(seconds=1), False),
        (datetime(2026, 11, 24, 15, tzinfo=timezone(timedelta(hours=3))), NOON, True),
        (
            datetime(2026, 11, 24, 14, tzinfo=timezone(timedelta(hours=3))),
            NOON,
            False,
        ),
    ],
)
def test_a_key_is_good_until_its_last_moment_in_utc(
    not_after: date, moment: datetime, good: bool
) -> None:
    ring = Keyring([key("a", not_after)])
    assert (ring.find(digest("sk-a"), moment) is not None) is good
