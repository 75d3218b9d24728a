"""`qwen3-router init --merge`: our groups in somebody's LiteLLM config, and all else untouched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from router_config import SHIPPED_CONFIG, check
from router_config.cli import main
from router_config.cli.merge import MergeError, merge
from router_config.cli.selection import select, variables
from router_config.rules.wiring import ADVISED, CALLBACKS

SHIPPED = SHIPPED_CONFIG.read_text(encoding="utf-8")
KEY = "sk-2f6c1b7e9a0d4c58b3e1"
OURS = select(SHIPPED, lambda entry: entry["model_info"]["id"].endswith(("deepinfra", "nebius")))
WANTED: dict[str, Any] = yaml.safe_load(OURS)

THEIRS = """\
# What we run.   Do not touch the spaces
model_list:
- model_name: chat   # the cheap one
  litellm_params:
    model: openai/gpt-4o-mini
    api_key:   os.environ/OPENAI_API_KEY
# the last comment of the list

litellm_settings:
  drop_params: true

  # who listens
  callbacks: [ "prometheus" ]  # one

general_settings:
  master_key: 'os.environ/LITELLM_MASTER_KEY'
"""


def is_inserted_into(before: str, after: str) -> bool:
    """Tell whether *after* is *before* with text put in between, whole lines or inside brackets."""
    rest = iter(after)
    return all(letter in rest for letter in before)


def assert_merged(before: str, after: str) -> None:
    assert is_inserted_into(before, after)
    old, new = yaml.safe_load(before) or {}, yaml.safe_load(after)
    ids = [entry.get("model_info", {}).get("id") for entry in new["model_list"]]
    assert set(ids) >= {entry["model_info"]["id"] for entry in WANTED["model_list"]}
    listed = old.get("model_list") or []
    assert new["model_list"][: len(listed)] == listed
    assert {*CALLBACKS, *ADVISED} <= set(new["litellm_settings"]["callbacks"])
    for name, value in old.items():
        if isinstance(value, dict):
            kept = {key: new[name][key] for key, one in value.items() if one not in (None, [], {})}
            lists = {key for key, one in kept.items() if isinstance(one, list | dict)}
            assert {k: v for k, v in kept.items() if k not in lists} == {
                k: v for k, v in value.items() if k in kept and k not in lists
            }
    assert merge(after, OURS) == after


def test_a_file_of_somebody_else_keeps_every_line(tmp_path: Path) -> None:
    merged = merge(THEIRS, OURS)
    assert_merged(THEIRS, merged)
    changed = set(THEIRS.splitlines()) - set(merged.splitlines())
    assert changed == {'  callbacks: [ "prometheus" ]  # one'}
    assert '  callbacks: [ "prometheus", "plugins.gateway.handler"' in merged
    path = tmp_path / "merged.yaml"
    path.write_text(merged)
    assert [str(one) for one in check(path) if one.severity == "error"] == []


LAYOUTS = {
    "empty": "",
    "comments only": "# nothing yet\n",
    "no newline at the end": THEIRS.rstrip("\n"),
    "windows": THEIRS.replace("\n", "\r\n"),
    "null sections": "model_list:\nlitellm_settings:\n  # none\nrouter_settings:\n"
    "embedding_router:\n",
    "empty brackets": "model_list: []\nlitellm_settings: {}\nrouter_settings: {  }\n",
    "null keys": "litellm_settings:\n  callbacks:\n  custom_provider_map:\nmodel_list:\n",
    "flow": '{"model_list": [{"model_name": "a", "litellm_params": {"model": "openai/b"}}],'
    ' "litellm_settings": {"callbacks": ["c"], "x": 1}, "router_settings": {"fallbacks": []}}\n',
    "deep indentation": "model_list:\n      - model_name: a\n        litellm_params:\n"
    "            model: openai/b\nlitellm_settings:\n      callbacks:\n          - c\n",
    "block text last": "model_list:\n- model_name: a\n  litellm_params:\n    model: |\n"
    "      x\n\n\nlitellm_settings:\n  note: >-\n    two\n    lines\n",
    "anchors": "x: &p {model: openai/b}\nmodel_list:\n- model_name: a\n  litellm_params: *p\n",
    "ours in part": "embedding_router:\n  attempts: 2\n  budgets:\n    deepinfra: {usd: 3, "
    "period: month}\nmodel_list:\n- model_name: qwen3-embedding-8b\n  litellm_params: "
    "{model: qwen3/deepinfra}\n  model_info: {id: deepinfra, mode: embedding}\n",
    "fallbacks": "router_settings:\n  fallbacks:\n  - a: [b]\n  num_retries: 0\nmodel_list:\n"
    "- model_name: a\n- model_name: b\n",
    "byte order mark": f"\ufeff{THEIRS}",
    "letters of all lengths": THEIRS.replace("cheap", "дешёвая 🦔"),
    "shipped": SHIPPED,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_is_kept(layout: str) -> None:
    assert_merged(LAYOUTS[layout], merge(LAYOUTS[layout], OURS))


def test_the_shipped_file_lacks_nothing() -> None:
    assert merge(SHIPPED, SHIPPED) == SHIPPED


def test_line_ends_are_those_of_the_file() -> None:
    merged = merge(LAYOUTS["windows"], OURS)
    assert merged.count("\n") == merged.count("\r\n")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("- a\n", "not a mapping at its top level"),
        ("litellm_settings: [a]\n", "litellm_settings is not a mapping"),
        ("litellm_settings: {callbacks: prometheus}\n", "write [prometheus]"),
        ("model_list: {a: b}\n", "model_list is not a list"),
        ("x: &x [1]\nlitellm_settings:\n  callbacks: *x\n", "plain blocks"),
        ("model_list: ~\n", "plain blocks"),
        ("a: 1\n---\nb: 1\n", "but found another document"),
    ],
)
def test_what_cannot_be_merged_is_refused(text: str, what: str) -> None:
    with pytest.raises((MergeError, yaml.YAMLError)) as refused:
        merge(text, OURS)
    assert what in str(refused.value)


NAMES = st.sampled_from(["a", "b c", "d#e", "f: g", "ёж", "yes", "1", "|", "- h"])
SCALARS = NAMES | st.integers() | st.booleans() | st.none()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)
)
CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "model_list": st.lists(
            st.fixed_dictionaries({"model_name": NAMES, "litellm_params": VALUES}), max_size=3
        ),
        "litellm_settings": st.dictionaries(NAMES, VALUES, max_size=2)
        | st.fixed_dictionaries({"callbacks": st.lists(NAMES, max_size=2)}),
        "router_settings": st.dictionaries(NAMES, VALUES, max_size=2),
        "embedding_router": st.fixed_dictionaries({}, optional={"attempts": st.just(2)}),
        "general_settings": VALUES,
    },
)


@given(
    CONFIGS,
    st.sampled_from([False, None, True]),
    st.sampled_from([2, 4, 7]),
    st.booleans(),
)
def test_any_file_is_only_added_to(
    config: dict[str, Any], style: bool | None, indent: int, starts: bool
) -> None:
    text = yaml.safe_dump(
        config,
        default_flow_style=style,
        indent=indent,
        explicit_start=starts,
        allow_unicode=True,
        sort_keys=False,
    )
    assert_merged(text, merge(text, OURS))


# -- the command


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for entry in yaml.safe_load(SHIPPED)["model_list"]:
        for name in variables(entry):
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DEEPINFRA_API_KEY", KEY)
    path = tmp_path / "theirs.yaml"
    path.write_text(THEIRS)
    return path


def test_without_an_output_it_only_shows(theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--merge", str(theirs)]) == 0
    told = capsys.readouterr().out
    assert "+- model_name: qwen3-embedding-8b" in told
    assert "Nothing is written" in told
    assert KEY not in told
    assert theirs.read_text() == THEIRS


def test_it_writes_another_file_and_replaces_its_own_only_by_force(theirs: Path) -> None:
    other = theirs.with_name("other.yaml")
    assert main(["init", "--merge", str(theirs), "-o", str(other)]) == 0
    assert_text = other.read_text()
    assert main(["init", "--merge", str(theirs), "-o", str(theirs)]) == 1
    assert theirs.read_text() == THEIRS
    assert main(["init", "--merge", str(theirs), "-o", str(theirs), "--force"]) == 0
    assert theirs.read_text() == assert_text
    assert main(["init", "--merge", str(theirs), "-o", str(theirs)]) == 0  # nothing to do


def test_what_validate_would_refuse_is_not_written(
    theirs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs.write_text(THEIRS + "router_settings: {num_retries: 3}\n")
    other = theirs.with_name("other.yaml")
    assert main(["init", "--merge", str(theirs), "-o", str(other)]) == 1
    assert "router_settings.num_retries: multiplies wire calls" in capsys.readouterr().err
    assert not other.exists()


def test_a_file_that_is_not_there_is_a_problem(
    theirs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--merge", str(theirs.with_name("no.yaml"))]) == 1
    assert "no such file" in capsys.readouterr().err


def test_keys_of_the_old_file_are_not_shown(
    theirs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs.write_text(THEIRS.replace("os.environ/OPENAI_API_KEY", KEY))
    main(["init", "--merge", str(theirs)])
    told = capsys.readouterr()
    assert KEY not in told.out + told.err
