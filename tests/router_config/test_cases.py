"""One file per fault in `cases/`: what `validate` says about it, word for word.

A new case is a new `<area>-<fault>.yaml` with a `.problems` file beside it; an empty one means that
the file is valid. A case whose name starts with `env-` is checked as with `--env` and no variables.
To write the expected texts of new cases: UPDATE_CASES=1 pytest tests/router_config/test_cases.py
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest

from router_config import Provider, check, load_catalogue
from router_config.outputs import as_text

CASES = Path(__file__).with_name("cases")
TODAY = date(2026, 11, 24)


def _catalogue() -> Mapping[str, Provider]:
    """The shipped catalogue with dates of our own: looking up a price changes no case."""
    dates = {"fireworks": date(2026, 2, 20), "novita": None}
    return {
        name: provider.model_copy(
            update={
                "price": provider.price.model_copy(
                    update={
                        "as_of": dates.get(name, date(2026, 11, 1)),
                        "rate_as_of": date(2026, 11, 1),
                    }
                )
            }
        )
        for name, provider in load_catalogue().items()
    }


@pytest.mark.parametrize("name", sorted(path.stem for path in CASES.glob("*.yaml")))
def test_case(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CASES)  # so that the texts carry the bare file name
    environ: dict[str, str] | None = {} if name.startswith("env-") else None
    problems = check(f"{name}.yaml", environ=environ, catalogue=_catalogue(), today=TODAY)
    expected = Path(f"{name}.problems")
    if os.environ.get("UPDATE_CASES") and not expected.exists():
        expected.write_text(as_text(problems), encoding="utf-8")
    assert as_text(problems) == expected.read_text(encoding="utf-8")


def test_every_expected_text_has_its_case() -> None:
    texts = {path.stem for path in CASES.glob("*.problems")}
    assert texts == {path.stem for path in CASES.glob("*.yaml")}
