"""`qwen3-router estimate`: tokens, cost and fit of a file of texts, and what of it is no text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins._plan import format_query
from plugins._tokens import count
from router_config import load
from router_config.cli import main
from tests.router_config.test_budget import ledger, spend

__all__ = ["ledger"]  # a fixture

TEXTS = ["hello world", "Привет, мир", "a", "b"]


def estimate(
    path: Path, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, dict[str, Any]]:
    code = main(["estimate", str(path), *words, "--format", "json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.jsonl"
    lines = [TEXTS[0], {"text": TEXTS[1]}, {"input": TEXTS[2:]}]
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\n\n")
    return path


def test_tokens_and_cost_are_those_that_would_be_booked(
    ledger: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = estimate(texts, capsys)
    tokens = sum(count(TEXTS))
    assert (code, found["texts"], found["tokens"]) == (0, 4, tokens)
    deepinfra, scaleway = found["deployments"]
    price = float(deepinfra["usd_per_million_tokens"])
    assert deepinfra["cost_nano_usd"] == pytest.approx(tokens * price * 1000, abs=1)
    assert (scaleway["budget_unit"], scaleway["budget_left"], scaleway["fits"]) == (
        "tokens",
        1_000_000,
        True,
    )


def test_what_is_spent_already_counts(
    ledger: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spend(ledger, 1_795_000_000 - 5)
    _, found = estimate(texts, capsys, "qwen3-embedding-8b")
    deepinfra = found["deployments"][0]
    assert (deepinfra["budget_left"], deepinfra["fits"]) == (5, False)


@pytest.mark.parametrize("model", ["text-embedding-3-large", "qwen3-embedding-8b"])
def test_an_alias_is_its_group_and_queries_carry_their_instruction(
    ledger: Path, texts: Path, capsys: pytest.CaptureFixture[str], model: str
) -> None:
    path = ledger.parents[1] / "config.yaml"
    made = yaml.safe_load(path.read_text())
    made["router_settings"]["model_group_alias"] = {"text-embedding-3-large": "qwen3-embedding-8b"}
    path.write_text(yaml.safe_dump(made))
    _, documents = estimate(texts, capsys, model)
    _, queries = estimate(texts, capsys, f"{model}:query")
    assert {one["group"] for one in documents["deployments"]} == {"qwen3-embedding-8b"}
    group = load(path).groups["qwen3-embedding-8b"]
    asked = [format_query(group.instruct, text) for text in TEXTS]
    assert (documents["tokens"], queries["tokens"]) == (sum(count(TEXTS)), sum(count(asked)))


def test_a_line_that_is_no_text_is_named_and_the_rest_is_counted(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_bytes(
        b'"good"\n{"x": 1}\nnope\n{"text": ""}\n{"text": 5}\n"\\ud800"\n"\xff"\n[]\n"good"\n'
    )
    code = main(["estimate", str(path)])
    words = capsys.readouterr()
    assert code == 1
    assert [line.removeprefix(f"{path}:") for line in words.err.splitlines()] == [
        '2: no "text" and no "input"',
        "3: not JSON",
        "4: an empty text, which is refused",
        "5: the text is not a string",
        "6: half of a surrogate pair, which has no UTF-8",
        "7: not UTF-8",
    ]
    assert words.out.startswith(f"{path}: 2 texts, ")


def test_inputs_that_are_too_long_for_a_deployment_are_counted_apart(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "long.jsonl"
    path.write_text(json.dumps("word " * 32_500) + "\n" + json.dumps("short") + "\n")
    _, found = estimate(path, capsys)
    too_long = {one["deployment"]: one["too_long"] for one in found["deployments"]}
    assert too_long == {"deepinfra": 0, "scaleway": 1}  # Scaleway takes 32,000 tokens


def test_the_table_has_a_line_for_each_deployment(
    ledger: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["estimate", str(texts)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "qwen3-embedding-8b:"
    assert [line.split()[0] for line in lines[4:]] == ["deepinfra", "scaleway"]


def test_an_unknown_group_and_a_missing_file_are_wrong_usage(ledger: Path, texts: Path) -> None:
    assert main(["estimate", str(texts), "nobody"]) == 2
    assert main(["estimate", "/nowhere/texts.jsonl"]) == 2
