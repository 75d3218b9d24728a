"""The Compose files: valid by schema, hardened, and with all that they refer to."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.deploy.manifests import DEPLOY

FILES = ("compose.yaml", "compose.postgres.yaml")
# Who needs root, and why.
ROOT_NEEDED = {"ollama": "its image is made for root"}
EXAMPLE = (DEPLOY / ".env.example").read_text()


def compose(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / name).read_text())
    return found


def services() -> dict[str, dict[str, Any]]:
    """All services, the second file laid over the first as Compose does for what is tested here."""
    merged: dict[str, dict[str, Any]] = {}
    for name in FILES:
        for service, fields in compose(name)["services"].items():
            merged.setdefault(service, {}).update(fields)
    return merged


@pytest.mark.parametrize("name", FILES)
def test_file_fits_the_schema_of_compose(name: str) -> None:
    pytest.importorskip("check_jsonschema")
    folder = resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    schema = json.loads((folder / "compose-spec.json").read_text())
    jsonschema.validate(compose(name), schema)


@pytest.mark.parametrize("service", sorted(services()))
def test_service_can_do_no_more_than_it_must(service: str) -> None:
    one = services()[service]
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert one["mem_limit"]
    assert not one.get("privileged")
    if service in ROOT_NEEDED:
        assert "ports" not in one
    else:
        assert re.fullmatch(r"[1-9]\d*:\d+", one["user"])
    # LiteLLM's own image, which the second file names, migrates its database from files inside it.
    assert one["read_only"] is True or service in {*ROOT_NEEDED, "proxy"}


def test_our_own_image_runs_on_a_read_only_root() -> None:
    proxy = compose("compose.yaml")["services"]["proxy"]
    assert proxy["read_only"] is True
    assert proxy["user"] == "10001:10001"
    assert proxy["tmpfs"]


def test_nothing_but_the_proxy_is_open_to_other_machines() -> None:
    ports = {name: one["ports"] for name, one in services().items() if "ports" in one}
    assert ports == {"proxy": ["${PROXY_PORT:-4000}:4000"], "grafana": ["127.0.0.1:3000:3000"]}


def test_images_are_named_without_a_registry_and_with_a_version() -> None:
    for name, one in services().items():
        assert "." not in one["image"].partition("/")[0]
        assert ":" in one["image"] or "build" in one, name
        assert not one["image"].endswith(":latest")


def test_the_files_that_are_mounted_or_read_exist() -> None:
    for one in services().values():
        for volume in one.get("volumes", ()):
            source = volume.partition(":")[0]
            assert not source.startswith("./") or (DEPLOY / source).exists(), source
        if isinstance(one.get("build"), dict):
            assert (DEPLOY / one["build"]["context"] / one["build"]["dockerfile"]).exists()
        for file in one.get("env_file", ()):
            assert (DEPLOY / f"{file}.example").exists()


def test_named_volumes_are_declared() -> None:
    used = {
        volume.partition(":")[0]
        for one in services().values()
        for volume in one.get("volumes", ())
        if not volume.startswith(("./", "/"))
    }
    assert used == {volume for name in FILES for volume in compose(name).get("volumes", {})}


def test_the_example_names_every_variable_and_holds_no_value() -> None:
    named = dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", EXAMPLE, re.MULTILINE))
    assert set(named.values()) == {""}
    text = "".join((DEPLOY / name).read_text() for name in FILES)
    asked = set(re.findall(r"(?<!\$)\$\{([A-Z0-9_]+)", text)) - {"PROXY_PORT"}
    config = (DEPLOY / "config" / "config.yaml").read_text()
    uncommented = re.sub(r"#.*", "", config)
    asked |= set(re.findall(r"os\.environ/(\w+)", uncommented)) - {"QWEN3_ROUTER_LEDGER"}
    # Own servers in the EU are rare: the config's head names them.
    asked -= {name for name in asked if name.startswith("EU_")}
    assert set(named) == asked


def test_the_store_has_what_the_ledger_demands_and_keeps_it() -> None:
    store = compose("compose.yaml")["services"]["valkey"]
    assert (
        "--appendonly yes --appendfsync always --maxmemory-policy noeviction"
        in store["command"][-1]
    )
    assert "ledger:/data" in store["volumes"]
    proxy = compose("compose.yaml")["services"]["proxy"]
    assert proxy["environment"]["QWEN3_ROUTER_LEDGER"].endswith("@valkey:6379/0")


def test_the_scrape_config_names_the_proxy() -> None:
    scrape = yaml.safe_load(Path(DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (job,) = [one for one in scrape["scrape_configs"] if one["job_name"] == "qwen3-router"]
    assert job["dns_sd_configs"] == [{"names": ["proxy"], "type": "A", "port": 4000}]
    assert "proxy" in services()
