"""`qwen3-router parity`: record a reference, commit it, prove every deployment against it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from plugins._parity_reference import read
from router_config.cli import main
from router_config.sandbox import Sandbox
from tests.wiring import wiring

PROVIDERS = ("deepinfra", "nebius", "vllm")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(mode="hash", providers=PROVIDERS) as box:
        yield box


@pytest.fixture
def box(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The sandbox, and a config of it in the environment."""
    sandbox.reset()
    models = [
        {
            "model_name": group,
            "litellm_params": {
                "model": f"qwen3/{one}",
                "api_base": sandbox.bases[one],
                "api_key": f"os.environ/{one.upper()}_KEY",
                "order": order,
            },
            "model_info": {"id": f"{one}{suffix}", "mode": "embedding"},
        }
        for group, suffix in (("g", ""), ("bulk", "-bulk"))
        for order, one in enumerate(PROVIDERS, 1)
    ]
    config = {
        "model_list": models,
        **wiring(),
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    monkeypatch.setenv("CONFIG_FILE_PATH", str(path))
    monkeypatch.setenv("QWEN3_ROUTER_STATE", str(tmp_path / "state"))
    for one in PROVIDERS:
        monkeypatch.setenv(f"{one.upper()}_KEY", sandbox.keys.get(one) or "none")
    return sandbox


def name_reference(folder: Path, name: str) -> None:
    path = folder / "config.yaml"
    data = yaml.safe_load(path.read_text())
    data["embedding_router"] = {"parity": {"reference": name}}
    path.write_text(yaml.safe_dump(data))


def asked(box: Sandbox) -> int:
    return sum(len(box.journal(one)) for one in PROVIDERS)


def test_show_before_and_after_a_run(box: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parity", "show"]) == 1
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["deployment", "state", "cosine"]
    assert [line.split()[:5] for line in lines] == [
        [one, "+1", "not", "asked", "yet"] for one in PROVIDERS
    ]
    assert asked(box) == 0
    assert main(["parity", "run", "--yes"]) == 0
    ran = capsys.readouterr().out
    assert asked(box) == 12
    assert main(["parity", "show"]) == 0
    assert capsys.readouterr().out == ran
    assert asked(box) == 12
    _, first, *_ = ran.splitlines()
    assert first.split()[:7] == [
        *("deepinfra", "+1", "proven", "1.0000", "0.0000"),
        *("1.000…1.000", "equal"),
    ]


def test_a_sick_deployment_is_shown_with_its_reason(
    box: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    box.fault("vllm", "missing_end_token")
    box.down("nebius")
    assert main(["parity", "run", "--yes", "--format", "json", "g"]) == 1
    box.up("nebius")
    rows = json.loads(capsys.readouterr().out)["deployments"]
    by_id = {row["deployments"][0]: row for row in rows}
    assert {id_: row["state"] for id_, row in by_id.items()} == {
        "deepinfra": "proven",
        "nebius": "not proven",
        "vllm": "missing end token",
    }
    assert by_id["nebius"]["gap"] == "no answer (connect)"
    assert by_id["vllm"]["tokens"] == -11
    assert by_id["vllm"]["cosine"] < 0.5
    assert by_id["deepinfra"]["deployments"] == ["deepinfra", "deepinfra-bulk"]
    assert main(["parity", "show"]) == 1
    assert "vllm, vllm-bulk: every text is one token short" in capsys.readouterr().out


def test_record_then_name_it_then_run(
    box: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "parity.json"
    assert main(["parity", "record", "--from", "nebius", "--yes"]) == 0
    out = capsys.readouterr().out
    assert "revision 1. Commit it." in out
    assert "parity: {reference: parity.json}" in out
    assert (read(file).source, read(file).revision) == ("nebius", 1)
    word = read(file).lineage
    assert asked(box) == 4
    name_reference(tmp_path, "parity.json")
    box.fault("nebius", "other_seed", seed=7)
    assert main(["parity", "run", "--yes"]) == 1
    assert "nebius, nebius-bulk: cosine" in capsys.readouterr().out
    # The same space keeps its number, another gets the next one, and only when told so.
    box.fault("vllm", "noisy", cosine=0.995)
    assert main(["parity", "record", "--from", "vllm", "--yes"]) == 0
    box.clear("vllm")
    assert (read(file).revision, read(file).lineage) == (1, word)
    assert main(["parity", "record", "--from", "nebius", "--yes"]) == 1
    assert "the model card's similarities are off by" in capsys.readouterr().err
    assert read(file).source == "vllm"
    assert main(["parity", "record", "--from", "nebius", "--yes", "--anyway"]) == 0
    assert (read(file).source, read(file).revision) == ("nebius", 2)
    assert read(file).lineage not in ("", word)
    capsys.readouterr()
    assert main(["parity", "run", "--yes"]) == 1
    assert "deepinfra, deepinfra-bulk: cosine" in capsys.readouterr().out


def test_a_reference_that_is_named_and_missing_can_be_recorded(
    box: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name_reference(tmp_path, "kept.json")
    assert main(["parity", "run", "--yes"]) == 1
    assert 'no such file; record it: "qwen3-router parity record' in capsys.readouterr().err
    assert asked(box) == 0
    assert main(["parity", "record", "--from", "vllm", "--yes"]) == 0
    assert "name it in the config" not in capsys.readouterr().out
    assert main(["parity", "run", "--yes"]) == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["run"], 2, "say --yes"),
        (["run", "nobody", "--yes"], 2, "no group nobody; known: g, bulk"),
        (["show", "nobody"], 2, "no group nobody"),
        (["record", "--from", "nobody", "--yes"], 2, "nobody: no such deployment"),
        (["record", "--from", "vllm"], 2, "this asks 1 deployment, some 5,0"),
    ],
)
def test_wrong_usage_asks_nobody(
    box: Sandbox, words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["parity", *words]) == code
    assert said in capsys.readouterr().err
    assert asked(box) == 0
