"""The end, in every documented way to start: whoever is being served gets an answer."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from router_config.sandbox import Sandbox
from tests.proxy import configs, stops
from tests.proxy.harness import running
from tests.sizes import size

# The others of the small size stand in test_forms.py, whose proxies are there anyway.
FORMS = ("serve", "litellm", "uvicorn", "granian-1", "granian", "uvicorn-2")[: size(1, 6)]


@pytest.mark.parametrize("form", FORMS)
def test_a_stop_answers_all_requests_in_flight(box: Sandbox, tmp_path: Path, form: str) -> None:
    config = configs.write(box, tmp_path / "config.yaml")
    found = yaml.safe_load(config.read_text())
    found["embedding_router"]["budgets"] = stops.BUDGETS
    config.write_text(yaml.safe_dump(found, sort_keys=False))
    environ = {**configs.environ(box), "QWEN3_ROUTER_STATE": str(tmp_path)}
    with running(config, tmp_path / "log", environ=environ, form=form) as proxy:
        stops.assert_a_good_stop(proxy, box, tmp_path)
