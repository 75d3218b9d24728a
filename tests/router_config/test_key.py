"""`qwen3-router key new`: the printed line admits the printed key, and is all that stays of it."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from plugins._keyring import Keyring
from router_config import SHIPPED_CONFIG, Key, load
from router_config.cli import main

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def new(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    """Run the command; return the key and the line that it printed."""
    assert main(["key", "new", *arguments]) == 0
    words = capsys.readouterr().out
    (key,) = re.findall(r"^  (sk-\S+)$", words, re.MULTILINE)
    (line,) = re.findall(r"^    (\S.*)$", words, re.MULTILINE)
    return key, line


def paste(line: str, tmp_path: Path) -> dict[str, Key]:
    """Return the keys of the shipped config with *line* pasted where the command says."""
    path = tmp_path / "config.yaml"
    path.write_text(SHIPPED_CONFIG.read_text() + f"\n  keys:\n    {line}\n")
    return load(path, today=NOW.date()).keys


def test_the_printed_lines_fit_where_the_command_says(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["key", "new", "--alias", "search"]) == 0
    words = capsys.readouterr().out
    assert "in place of its line `  # keys:`" in words
    shipped = SHIPPED_CONFIG.read_text()
    assert shipped.count("\n  # keys:\n") == 1
    path = tmp_path / "config.yaml"
    lines = words[words.index("  keys:\n") :]
    path.write_text(shipped.replace("  # keys:\n", lines))
    assert list(load(path, today=NOW.date()).keys) == ["search"]


def find(keys: dict[str, Key], key: str) -> Key | None:
    return Keyring(keys.values()).find(hashlib.sha256(key.encode()).hexdigest(), NOW)


def test_the_printed_key_is_admitted_by_the_printed_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    key, line = new(capsys, "--alias", "search")
    found = find(paste(line, tmp_path), key)
    assert found is not None
    assert (found.alias, found.team, found.groups, found.rpm, found.region, found.not_after) == (
        "search",
        None,
        None,
        None,
        None,
        None,
    )


def test_every_option_stands_in_the_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    key, line = new(
        capsys,
        *("--alias", "search.team-1", "--team", 'поиск "1": #x', "--rpm", "60", "--region", "eu"),
        *("--groups", "qwen3-embedding-8b", "qwen3-embedding-8b-eu", "--not-after", "2027-01-31"),
    )
    found = find(paste(line, tmp_path), key)
    assert found is not None
    assert found.team == 'поиск "1": #x'
    assert found.groups == ("qwen3-embedding-8b", "qwen3-embedding-8b-eu")
    assert (found.rpm, found.region, found.not_after) == (60, "eu", date(2027, 1, 31))


@pytest.mark.parametrize("alias", ["a", "yes", "null", "123", "1e3", "0x1F", "2027-01-31", "on"])
def test_any_alias_is_text_in_the_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, alias: str
) -> None:
    key, line = new(capsys, "--alias", alias)
    found = find(paste(line, tmp_path), key)
    assert found is not None
    assert found.alias == alias


def test_the_key_does_not_stand_in_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    key, line = new(capsys, "--alias", "a")
    assert key not in line
    assert key.removeprefix("sk-") not in line


def test_no_two_keys_are_alike(capsys: pytest.CaptureFixture[str]) -> None:
    keys = {new(capsys, "--alias", "a")[0] for _ in range(20)}
    assert len(keys) == 20
    assert min(map(len, keys)) > 40


@pytest.mark.parametrize("alias", ["", "a b", "a:b", "-a", "ключ", "a" * 65, "*"])
def test_an_alias_that_cannot_stand_in_budget_names_is_refused(
    capsys: pytest.CaptureFixture[str], alias: str
) -> None:
    assert main(["key", "new", f"--alias={alias}"]) == 2
    out = capsys.readouterr()
    assert "sk-" not in out.out
    assert "--alias" in out.err


@pytest.mark.parametrize(
    ("option", "value"),
    [("--rpm", "0"), ("--rpm", "-1"), ("--rpm", "x"), ("--not-after", "31.01.2027")],
)
def test_a_wrong_value_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["key", "new", "--alias", "a", f"{option}={value}"])
    assert caught.value.code == 2
    words = capsys.readouterr()
    assert f"argument {option}: write a" in words.err
    assert "sk-" not in words.out
