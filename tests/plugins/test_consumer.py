"""Who asks: whose name stands for LiteLLM's identity, and which of its words are believed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from plugins._budgets import of_client
from plugins._consumer import ALIAS_KEY, consumer_of
from plugins._errors import ClientError
from plugins._runtime import Runtime
from router_config import load
from tests.wiring import PLUGINS, wiring

TOKEN = hashlib.sha256(b"sk-of-the-database").hexdigest()
FILE: dict[str, Any] = {
    "model_list": [
        {
            "model_name": "g",
            "litellm_params": {
                "model": "qwen3/deepinfra",
                "api_key": "os.environ/DEEPINFRA_API_KEY",
            },
            "model_info": {"id": "d", "mode": "embedding"},
        }
    ],
    **wiring(*PLUGINS, "health"),
    "embedding_router": {
        "budgets": {"key:*": {"usd": 1, "period": "month"}},
        "keys": {"ann": {"sha256": ["0" * 64], "region": "eu"}},
    },
}


@pytest.fixture
def runtime(tmp_path: Path, request: pytest.FixtureRequest) -> Runtime:
    """A runtime with the keys of the file; with those of a database if asked for that."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(FILE))
    environ = {"QWEN3_ROUTER_STATE": str(tmp_path), "DEEPINFRA_API_KEY": "x"}
    if getattr(request, "param", None) == "database":
        environ["DATABASE_URL"] = "postgresql://nowhere/none"
    return Runtime(load(path), environ)


def identity(**fields: Any) -> Any:
    """Return what LiteLLM says of somebody, with the fields that are read."""
    none = dict.fromkeys(("key_alias", "token", "team_id", "user_id", "user_role"))
    return SimpleNamespace(**{**none, "metadata": {}, **fields})


database = pytest.mark.parametrize("runtime", ["database"], indirect=True)


@database
@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"key_alias": "ann", "token": TOKEN}, "ann"),
        ({"token": TOKEN}, TOKEN),
        ({"token": TOKEN, "user_role": "proxy_admin"}, TOKEN),  # an admin's own key
        ({"token": "litellm_proxy_master_key", "user_role": "proxy_admin"}, None),
        ({"token": "a key in clear"}, hashlib.sha256(b"a key in clear").hexdigest()),
        ({}, None),  # a JWT, which names a user
    ],
)
def test_every_key_of_litellm_has_a_name_that_is_not_the_key(
    runtime: Runtime, fields: dict[str, Any], name: str | None
) -> None:
    consumer = consumer_of(identity(**fields), runtime)
    assert consumer.key == name
    client = {"group": "g", "key": consumer.key, "team": None, "user": None}
    rows = of_client(runtime.config, **client)
    assert [one.name for one in rows] == ([] if name is None else [f"key:{name}"])


@database
def test_the_metadata_of_a_database_key_gives_no_rights(runtime: Runtime) -> None:
    consumer = consumer_of(identity(token=TOKEN, metadata={ALIAS_KEY: "ann"}), runtime)
    assert (consumer.key, consumer.region) == (TOKEN, None)


def test_a_key_of_the_file_has_the_rights_of_the_file(runtime: Runtime) -> None:
    consumer = consumer_of(identity(metadata={ALIAS_KEY: "ann"}), runtime)
    assert (consumer.key, consumer.region) == ("ann", "eu")
    assert consumer_of(identity(user_role="proxy_admin"), runtime).key is None


def test_a_key_that_was_taken_out_of_the_file_is_unauthorized(runtime: Runtime) -> None:
    with pytest.raises(ClientError) as refused:
        consumer_of(identity(metadata={ALIAS_KEY: "bob"}), runtime)
    assert (refused.value.status, refused.value.code) == (401, "unauthorized")


def test_a_name_that_no_ledger_could_keep_is_kept_as_its_hash(runtime: Runtime) -> None:
    for name in ("x" * 191, "two\nlines", "\ud800"):
        (row,) = of_client(runtime.config, group="g", key=name, team=None, user=None)
        assert row.name != f"key:{name}"
        assert len(row.name) == len("key:") + 64
