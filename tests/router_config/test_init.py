"""`qwen3-router init`: a config for the keys that are there, written by nobody's hand."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from router_config import SHIPPED_CONFIG, check, load
from router_config.cli import main
from router_config.cli.selection import select as selected
from router_config.cli.selection import variables

SHIPPED = SHIPPED_CONFIG.read_text(encoding="utf-8")
ENTRIES = yaml.safe_load(SHIPPED)["model_list"]
KEY = "sk-2f6c1b7e9a0d4c58b3e1"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in {name for entry in ENTRIES for name in variables(entry)}:
        monkeypatch.delenv(name, raising=False)


def providers(path: Path) -> set[str]:
    groups = load(path).groups.values()
    return {one.provider.name for group in groups for one in group.deployments if one.provider}


def test_the_file_has_the_providers_whose_keys_are_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEEPINFRA_API_KEY", KEY)
    monkeypatch.setenv("VLLM_API_BASE", "http://gpu:8000/v1")
    assert main(["init"]) == 0
    assert providers(Path("config.yaml")) == {"deepinfra", "vllm"}
    config = load("config.yaml")
    assert set(config.groups) == {f"qwen3-embedding-8b{end}" for end in ("", "-bulk", "-cheap")}
    assert set(config.budgets) == {"deepinfra"}
    assert "Wrote config.yaml." in capsys.readouterr().out


def test_no_key_gets_into_the_file_or_onto_the_screen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEBIUS_API_KEY", KEY)
    assert main(["init"]) == 0
    assert KEY not in Path("config.yaml").read_text()
    assert "os.environ/NEBIUS_API_KEY" in Path("config.yaml").read_text()
    assert KEY not in "".join(capsys.readouterr())


def test_the_head_names_every_variable_that_the_file_does() -> None:
    assert main(["init", "--providers", "scaleway,ollama"]) == 0
    head = Path("config.yaml").read_text().partition("model_list:")[0]
    for name in ("LITELLM_MASTER_KEY", "SCW_SECRET_KEY", "OLLAMA_API_BASE", "EU_OLLAMA_API_BASE"):
        assert f"#   {name}" in head


@pytest.mark.parametrize("names", ["all", "deepinfra", "scaleway", "ollama", "siliconflow-cn,tei"])
@pytest.mark.parametrize("more", [[], ["--eu"], ["--ledger", "redis://redis:6379/0"]])
def test_any_choice_passes_validate(names: str, more: list[str]) -> None:
    if "--eu" in more and names in ("deepinfra",):
        assert main(["init", "--providers", names, *more]) == 1  # nobody is left
        return
    assert main(["init", "--providers", names, *more]) == 0
    assert [str(one) for one in check("config.yaml") if one.severity == "error"] == []


def test_eu_leaves_nothing_that_may_leave_the_eu() -> None:
    assert main(["init", "--providers", "all", "--eu"]) == 0
    config = load("config.yaml")
    assert set(config.groups) == {"qwen3-embedding-8b-eu"}
    regions = {one.region for one in config.groups["qwen3-embedding-8b-eu"].deployments}
    assert regions == {"eu"}


def test_everything_chosen_is_the_shipped_file_but_for_its_head() -> None:
    assert main(["init", "--providers", "all"]) == 0
    banner = "# ── Deployments"
    assert Path("config.yaml").read_text().partition(banner)[2] == SHIPPED.partition(banner)[2]


def test_the_comments_of_what_stays_are_kept() -> None:
    text = selected(SHIPPED, lambda entry: entry["model_info"]["id"] == "bulk-nebius")
    comments = [line for line in text.splitlines() if line.lstrip().startswith("#")]
    assert any("qwen3-embedding-8b-bulk: for indexing" in line for line in comments)
    assert not any("qwen3-embedding-8b-cheap: hosted" in line for line in comments)
    assert set(comments) <= set(SHIPPED.splitlines())


def test_without_a_key_nothing_is_written_and_the_variables_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["init"]) == 1
    assert "SCW_SECRET_KEY" in capsys.readouterr().err
    assert not Path("config.yaml").exists()


def test_an_unknown_provider_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--providers", "deepinfra,deepinfar"]) == 2
    assert "no provider is called deepinfar" in capsys.readouterr().err


def test_a_second_run_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--providers", "deepinfra"]) == 0
    before = Path("config.yaml").read_bytes()
    assert main(["init", "--providers", "deepinfra"]) == 0
    assert Path("config.yaml").read_bytes() == before
    assert "nothing to do" in capsys.readouterr().out


def test_another_file_is_shown_as_a_difference_and_replaced_only_by_force(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("config.yaml").write_text(f"model_list: []\n# {KEY}\n")
    assert main(["init", "--providers", "deepinfra"]) == 1
    told = capsys.readouterr()
    assert "-model_list: []" in told.out
    assert KEY not in told.out
    assert "--force replaces it" in told.err
    assert Path("config.yaml").read_text().startswith("model_list: []")
    assert main(["init", "--providers", "deepinfra", "--force"]) == 0
    assert providers(Path("config.yaml")) == {"deepinfra"}


def test_a_ledger_with_a_password_in_it_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--providers", "deepinfra", "--ledger", f"redis://:{KEY}@redis/0"]) == 1
    told = capsys.readouterr()
    assert "embedding_router.ledger" in told.err
    assert KEY not in told.out + told.err
    assert not Path("config.yaml").exists()


def test_on_a_terminal_it_asks_and_takes_what_is_offered(tmp_path: Path) -> None:
    code = "from router_config.cli import main; raise SystemExit(main(['init']))"
    screen, end = pty.openpty()
    environ = {**os.environ, "PYTHONPATH": str(SHIPPED_CONFIG.parents[1]), "NEBIUS_API_KEY": KEY}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=end, stdout=end, stderr=end, cwd=tmp_path, env=environ
    )
    os.close(end)
    seen = ""
    answers = ["nobody", "scaleway,ollama", "y", ""]
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if select.select([screen], [], [], 0.2)[0]:
            try:
                seen += os.read(screen, 65536).decode()
            except OSError:  # the other end is closed
                break
        if answers and seen.rstrip(" ").endswith("]:"):
            os.write(screen, f"{answers.pop(0)}\n".encode())
            seen += "\n"
    os.close(screen)
    assert process.wait(10) == 0, seen
    assert "[nebius]" in seen
    assert "Known: scaleway" in seen
    assert set(load(tmp_path / "config.yaml").groups) == {"qwen3-embedding-8b-eu"}
