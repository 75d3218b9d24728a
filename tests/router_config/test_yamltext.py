"""YAML text to plain data with places."""

from __future__ import annotations

import string
from datetime import date
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from router_config import yamlnodes
from router_config.yamltext import Number, Place, parse, read

_PARSERS = [yaml.SafeLoader, *([yaml.CSafeLoader] if yaml.__with_libyaml__ else [])]


@pytest.fixture(params=_PARSERS, ids=lambda loader: loader.__name__, autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parsers keep every promise; the C one is used where it is built in."""
    monkeypatch.setattr(yamlnodes, "LOADER", request.param)


def _problems(text: str | bytes) -> list[str]:
    return [str(problem) for problem in parse(text, "f.yaml").problems]


def test_keys_and_items_have_places() -> None:
    document = parse("a:\n  b: {c: 1}\n  d:\n    - x\n    - y\n")
    assert document.place(("a", "b", "c")) == Place(2, 7)
    assert document.place(("a", "d", 1)) == Place(5, 7)


def test_a_missing_key_is_placed_at_what_is_around_it() -> None:
    document = parse("a:\n  b: {c: 1}\n")
    assert document.place(("a", "b", "zz", 3)) == Place(2, 3)
    assert document.place(("zz",)) == Place(1, 1)


def test_a_column_counts_characters_not_bytes() -> None:
    assert parse("{ключ: 1, b: 2}").place(("b",)) == Place(1, 11)


def test_a_float_keeps_its_digits() -> None:
    value = parse("usd: 1.10").value["usd"]
    assert value == 1.1
    assert isinstance(value, Number)
    assert value.text == "1.10"


def test_a_date_is_a_date() -> None:
    assert parse("d: 2026-11-24").value == {"d": date(2026, 11, 24)}


_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(string.printable + "éж中🙂")
    | st.dates()
)
_data = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)


@given(_data)
def test_the_data_is_what_safe_load_gives(data: Any) -> None:
    text = yaml.safe_dump(data, allow_unicode=True)
    document = parse(text)
    assert document.value == yaml.safe_load(text)
    assert [p for p in document.problems if p.severity == "error"] == []


def test_a_merge_key_reads_as_in_safe_load() -> None:
    text = "x: &x {order: 1, weight: 2}\ny: {<<: *x, weight: 3}\nz: {weight: 4, <<: *x, id: w}\n"
    document = parse(text)
    assert document.value == yaml.safe_load(text)
    assert document.problems == ()
    assert document.place(("y", "order")) == Place(1, 8)


_REFUSED: dict[str | bytes, str] = {
    "a: 1\nb: 2\na: 3\n": "3:1: a: duplicate key; the first is in line 1; keep one of them",
    "1: x\n": "1:1: 1: a key that is not text; put it in quotes",
    "? [a]\n: b\n": "1:3: a key that is a list or a mapping; use text as a key",
    "a:\n\tb: 1\n": "2:1: a tab; indent with spaces",
    "a: *b\n": "1:4: a: an alias without an anchor; define the anchor above it",
    "a: &a [*a]\n": "1:8: a[0]: an alias inside its own anchor; write the value out",
    "a: &a\n  <<: *a\n": "2:3: a.<<: not one plain mapping to merge; write the keys out",
    "a: {<<: 1}\n": "1:5: a.<<: not one plain mapping to merge; write the keys out",
    "a: {<<: [{b: 1}, {c: 1}]}\n": "1:5: a.<<: not one plain mapping to merge; write the keys out",
    "a: !!python/name:os.system x\n": "1:4: a: a YAML tag; remove the tag; plain values need none",
    "a: 2026-99-99\n": "1:4: a: not a valid date; correct it, or put it in quotes",
    "a: 1\n---\nb: 2\n": '2:1: a second document; remove the line "---" and what follows it',
    "a: \x00\n": "1:4: a control character; remove it",
    b"a: \xff\n": "1:4: not valid UTF-8; save the file as UTF-8",
}


@pytest.mark.parametrize(("text", "expected"), _REFUSED.items(), ids=repr)
def test_what_safe_load_lets_pass_is_a_problem(text: str | bytes, expected: str) -> None:
    assert _problems(text) == [f"f.yaml:{expected}"]


@pytest.mark.parametrize(
    "text",
    ["a: yes", "a: Off", "a: 010", "a: 1:30", "a: 1_000", "a: 1_0.5"],
)
def test_a_value_that_yaml_versions_read_differently_is_a_warning(text: str) -> None:
    (problem,) = parse(text).problems
    assert problem.severity == "warning"
    assert problem.path == "a"


@pytest.mark.parametrize("text", ["a: true", "a: 0x1b", "a: -12", "a: 1.5", "a: 'yes'", "a: y"])
def test_a_plain_value_gives_no_warning(text: str) -> None:
    assert _problems(text) == []


@pytest.mark.parametrize("text", ["", "# only a comment\n", "\n\n", "---\n"])
def test_an_empty_file_has_no_value_and_no_problem(text: str) -> None:
    document = parse(text)
    assert document.value is None
    assert document.problems == ()


def test_a_broken_line_never_prints_its_text() -> None:
    (problem,) = _problems('api_key: "abc\n  key: sk-very-secret: x: y\n')
    assert "very-secret" not in problem


def _aliases_of_aliases(each: str) -> str:
    levels = [each.format(name=f"a{i}", inner=", ".join([f"*a{i - 1}"] * 9)) for i in range(1, 40)]
    return "a0: &a0 {x: 1}\n" + "".join(levels)


@pytest.mark.parametrize(
    "text",
    [
        _aliases_of_aliases("{name}: &{name} [{inner}]\n"),
        "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 3000)),
        "[" * 500_000,
        "- " * 300_000,
        "a: [" + "1," * 120_000 + "]",
        "a: " + "x" * 2_000_000,
    ],
    ids=["list", "chain", "brackets", "dashes", "values", "size"],
)
def test_a_bomb_is_one_problem(text: str) -> None:
    document = parse(text, "f.yaml")
    assert document.value is None
    assert len(document.problems) == 1


def test_merges_of_merges_are_not_followed() -> None:
    document = parse(_aliases_of_aliases("{name}: &{name} {{<<: [{inner}]}}\n"))
    assert len(document.problems) == 39


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Any) -> None:
    missing = tmp_path / "no.yaml"
    (problem,) = read(missing).problems
    assert str(problem) == (
        f"{missing}:1:1: cannot be read: no such file or directory; check the path"
    )


def test_a_byte_order_mark_is_no_part_of_the_data() -> None:
    assert parse(b"\xef\xbb\xbfa: 1\n").value == {"a": 1}
