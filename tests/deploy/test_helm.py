"""The chart makes the same objects as the overlays, rendered by Helm's own engine."""

from __future__ import annotations

import copy
import tomllib
from typing import Any

import pytest
import yaml

from tests.deploy.manifests import DEPLOY, ROOT, Object, built, kind_and_name, rendered

EU_CONFIG = (DEPLOY / "kubernetes" / "overlays" / "eu" / "config.yaml").read_text()
SET_UPS: dict[str, dict[str, Any]] = {
    "single": {},
    "scaled": {"store": "valkey"},
    "eu": {"store": "valkey", "config": EU_CONFIG},
}


def plain(objects: tuple[Object, ...]) -> dict[tuple[str, str], Object]:
    """Return the objects without what each tool adds: labels, annotations, a hash in a name."""
    found = {}
    for one in copy.deepcopy(objects):
        _strip(one)
        found[kind_and_name(one)] = one
    return found


def _strip(value: Any) -> None:
    if isinstance(value, list):
        for item in value:
            _strip(item)
    elif isinstance(value, dict):
        for name in ("labels", "annotations"):
            value.pop(name, None)
        if str(value.get("name", "")).startswith("qwen3-router-config"):
            value["name"] = "qwen3-router-config"
        if value.get("egress") == []:  # kustomize leaves an empty list out
            del value["egress"]
        if value.get("metadata") == {}:
            del value["metadata"]
        if isinstance(value.get("env"), list):
            value["env"].sort(key=lambda variable: variable["name"])
        for key in ("volumes", "volumeMounts"):
            if isinstance(value.get(key), list):
                value[key].sort(key=lambda volume: volume["name"])
        for item in value.values():
            _strip(item)


@pytest.mark.parametrize("overlay", SET_UPS)
def test_chart_and_overlay_make_the_same_objects(overlay: str) -> None:
    chart, overlay_ = plain(rendered(SET_UPS[overlay])), plain(built(overlay))
    assert chart.keys() == overlay_.keys()
    for key, one in overlay_.items():
        if "config.yaml" in one.get("data", {}):
            assert chart[key]["data"]["config.yaml"].strip() == one["data"]["config.yaml"].strip()
            continue
        assert chart[key] == one


@pytest.mark.parametrize("release", ["1.30", "1.37"])
@pytest.mark.parametrize("store", ["sqlite", "valkey", "external"])
def test_every_object_of_the_chart_fits_the_schema(store: str, release: str) -> None:
    validator = pytest.importorskip("kubernetes_validate")
    values = {
        "store": store,
        "image": {"repository": "example/router", "tag": "0.1.0"},
        "nodeSelector": {"topology.kubernetes.io/region": "eu"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "podAnnotations": {"b": "c"},
        "persistence": {"storageClassName": "fast"},
        "networkPolicy": {"egress": [{"ports": [{"protocol": "TCP", "port": 6380}]}]},
    }
    for one in rendered(values):
        validator.validate(one, release, strict=True)


def test_another_config_makes_other_pods() -> None:
    def checksum(values: dict[str, Any]) -> str:
        (found,) = [one for one in rendered(values) if one["kind"] == "Deployment"]
        return str(found["spec"]["template"]["metadata"]["annotations"]["checksum/config"])

    assert checksum({}) == checksum({})
    assert checksum({}) != checksum({"config": EU_CONFIG})


@pytest.mark.parametrize(
    "values", [{"store": "nfs"}, {"replicas": 3}, {"autoscaling": {"minReplicas": 0}}]
)
def test_values_that_mean_nothing_are_refused(values: dict[str, Any]) -> None:
    helm = pytest.importorskip("helm_python")
    with helm.Chart.load(DEPLOY / "helm" / "qwen3-router") as chart, pytest.raises(helm.HelmError):
        chart.validate_schema(values)


def test_the_chart_has_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((DEPLOY / "helm" / "qwen3-router" / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == project


def test_the_chart_passes_lint() -> None:
    helm = pytest.importorskip("helm_python")
    found = helm.lint(DEPLOY / "helm" / "qwen3-router")
    assert found["errors"] == []
    assert [one["error"] for one in found["messages"]] == ["icon is recommended"]
