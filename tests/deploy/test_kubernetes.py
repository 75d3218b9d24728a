"""The Kubernetes set-ups: valid by schema, hardened by manifest, nothing missing."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins._ledger import Ledger, LedgerUnavailable
from plugins._ledger_redis import RedisLedger
from router_config import check
from router_config.cli import main
from tests.deploy.manifests import DEPLOY, OVERLAYS, Object, built, kind_and_name, pods
from tests.plugins.ledger_stores import RedisServer, redis_server
from tests.proxy.harness import free_port

# The oldest release that the manifests are for, and the newest with schemas.
RELEASES = ("1.30", "1.37")
EXAMPLES = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "secret.example.yaml").read_text()))


def one(objects: tuple[Object, ...], kind: str, name: str) -> Object:
    (found,) = [each for each in objects if kind_and_name(each) == (kind, name)]
    return found


def config_of(objects: tuple[Object, ...]) -> str:
    (found,) = [each for each in objects if each["kind"] == "ConfigMap"]
    return str(found["data"]["config.yaml"])


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_fits_the_schema(overlay: str, release: str) -> None:
    validator = pytest.importorskip("kubernetes_validate")
    for each in (*built(overlay), *EXAMPLES):
        validator.validate(each, release, strict=True)


def test_a_wrong_object_does_not_fit_the_schema() -> None:
    validator = pytest.importorskip("kubernetes_validate")
    wrong = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"port": 1}}
    with pytest.raises(validator.ValidationError):
        validator.validate(wrong, RELEASES[-1], strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_run_without_root_rights_or_a_writable_root(overlay: str) -> None:
    found = list(pods(built(overlay)))
    assert found
    for _, pod in found:
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not any("hostPath" in volume for volume in pod.get("volumes", ()))
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in container["resources"]["limits"]
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert not container["image"].endswith(":latest")
            assert "." not in container["image"].partition("/")[0]  # no registry's host


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_router_is_asked_whether_it_lives_and_is_ready(overlay: str) -> None:
    (container,) = dict(pods(built(overlay)))["qwen3-router"]["containers"]
    paths = {name: container[name]["httpGet"]["path"] for name in container if "Probe" in name}
    assert paths == {
        "startupProbe": "/health/liveliness",
        "livenessProbe": "/health/liveliness",
        "readinessProbe": "/health/readiness",
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_that_is_referred_to_is_there(overlay: str) -> None:
    objects = built(overlay)
    names = {kind_and_name(each) for each in (*objects, *EXAMPLES)}
    for _, pod in pods(objects):
        if "serviceAccountName" in pod:
            assert ("ServiceAccount", pod["serviceAccountName"]) in names
        for volume in pod.get("volumes", ()):
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in names
            if "persistentVolumeClaim" in volume:
                claim = volume["persistentVolumeClaim"]["claimName"]
                assert ("PersistentVolumeClaim", claim) in names
        for container in pod["containers"]:
            for source in container.get("envFrom", ()):
                assert ("Secret", source["secretRef"]["name"]) in names
            for variable in container.get("env", ()):
                if "valueFrom" in variable:
                    reference = variable["valueFrom"]["secretKeyRef"]
                    assert ("Secret", reference["name"]) in names
    labels = [
        each["spec"]["template"]["metadata"]["labels"]
        for each in objects
        if each["kind"] in ("Deployment", "StatefulSet")
    ]
    for each in objects:
        if each["kind"] in ("Service", "NetworkPolicy", "PodDisruptionBudget"):
            spec = each["spec"]
            wanted = spec.get("podSelector") or spec["selector"]
            wanted = wanted.get("matchLabels", wanted)
            assert any(wanted.items() <= have.items() for have in labels), each["metadata"]["name"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_config_of_the_set_up_passes_validate(overlay: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(config_of(built(overlay)))
    assert [str(each) for each in check(path) if each.severity == "error"] == []


@pytest.mark.parametrize(
    ("path", "more"),
    [
        (DEPLOY / "config" / "config.yaml", []),
        (DEPLOY / "kubernetes" / "overlays" / "eu" / "config.yaml", ["--eu"]),
    ],
    ids=["all", "eu"],
)
def test_the_config_is_what_init_writes(
    path: Path, more: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["init", "--providers", "all", "--ledger", "os.environ/QWEN3_ROUTER_LEDGER", *more]
    assert main(command) == 0
    written = Path("config.yaml").read_text()
    assert path.read_text() == written, "run scripts/deploy_configs"


def test_one_replica_keeps_its_ledger_on_a_volume_and_never_doubles() -> None:
    objects = built("single")
    deployment = one(objects, "Deployment", "qwen3-router")
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    pod = deployment["spec"]["template"]["spec"]
    state = next(volume for volume in pod["volumes"] if volume["name"] == "state")
    assert state["persistentVolumeClaim"] == {"claimName": "qwen3-router-state"}
    assert {"name": "QWEN3_ROUTER_LEDGER", "value": "sqlite"} in pod["containers"][0]["env"]


@pytest.mark.parametrize("overlay", ["scaled", "eu"])
def test_replicas_are_scaled_and_never_all_taken_away(overlay: str) -> None:
    objects = built(overlay)
    deployment = one(objects, "Deployment", "qwen3-router")
    assert "replicas" not in deployment["spec"]  # else each apply would undo the autoscaler
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    scaler = one(objects, "HorizontalPodAutoscaler", "qwen3-router")["spec"]
    assert scaler["scaleTargetRef"]["name"] == "qwen3-router"
    assert scaler["minReplicas"] >= 2
    assert one(objects, "PodDisruptionBudget", "qwen3-router")["spec"]["maxUnavailable"] == 1
    variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    assert "QWEN3_ROUTER_LEDGER" not in {each["name"] for each in variables}  # from the secret


def test_only_the_store_s_url_tells_one_replica_from_several() -> None:
    assert config_of(built("single")) == config_of(built("scaled"))


def test_texts_of_the_eu_set_up_can_reach_no_other_group() -> None:
    config = yaml.safe_load(config_of(built("eu")))
    assert {entry["model_name"] for entry in config["model_list"]} == {"qwen3-embedding-8b-eu"}
    assert "fallbacks" not in config["router_settings"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_who_may_speak_to_whom(overlay: str) -> None:
    policy = one(built(overlay), "NetworkPolicy", "qwen3-router")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    ports = [port["port"] for rule in policy["egress"] for port in rule.get("ports", ())]
    assert ports == [53, 53, 443, *([6379] if overlay != "single" else [])]
    blocks = [
        to["ipBlock"] for rule in policy["egress"] for to in rule.get("to", ()) if "ipBlock" in to
    ]
    assert all(block["except"] for block in blocks)
    if overlay != "single":
        store = one(built(overlay), "NetworkPolicy", "qwen3-router-valkey")["spec"]
        assert store.get("egress", []) == []
        assert "Egress" in store["policyTypes"]


def test_no_example_holds_a_key() -> None:
    assert all(not value for each in EXAMPLES for value in each["stringData"].values())


# -- the store, run as the manifests run it


def _command(where: str) -> str:
    if where == "compose":
        service = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["valkey"]
        return str(service["command"][-1]).replace("$$", "$")
    container = dict(pods(built("scaled")))["qwen3-router-valkey"]["containers"][0]
    return str(container["args"][-1])


@pytest.mark.parametrize("where", ["compose", "kubernetes"])
def test_the_store_can_hold_a_ledger_and_shows_its_password_to_nobody(
    where: str, tmp_path: Path
) -> None:
    with redis_server() as other:  # skips where there is no such program
        program = Path(_executable(other))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "valkey-server").symlink_to(program)
    port = free_port()
    words = _command(where).replace(
        "--dir /data", f"--dir {tmp_path} --port {port} --bind 127.0.0.1"
    )
    path = os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])
    process = subprocess.Popen(
        ["sh", "-c", words],
        env={**os.environ, "PATH": path, "VALKEY_PASSWORD": "of2c1b"},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        ledger = RedisLedger(f"redis://:of2c1b@127.0.0.1:{port}/0", timeout_s=20)
        asyncio.run(_started(ledger))
        listed = subprocess.run(["ps", "-A", "-o", "args"], capture_output=True, text=True).stdout
        assert str(port) in listed
        assert "of2c1b" not in listed
    finally:
        os.killpg(process.pid, 15)
        process.wait(10)


async def _started(ledger: Ledger) -> None:
    ends = time.monotonic() + 60
    while True:
        try:
            await ledger.start()  # raises if its settings do not do
            break
        except LedgerUnavailable:
            assert time.monotonic() < ends
            await asyncio.sleep(0.1)
    await ledger.close()


def _executable(server: RedisServer) -> Any:
    process = server._process
    assert process is not None
    return shutil.which(str(process.args[0]))  # type: ignore[index]
