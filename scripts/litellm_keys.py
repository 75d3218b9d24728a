"""Write `router_config/litellm_keys.json`: the keys that the installed LiteLLM reads.

    python scripts/litellm_keys.py           write the file
    python scripts/litellm_keys.py --check   exit 1 if the file differs

Run it after a change of the pinned release. The names come from LiteLLM's own types and signatures,
and from the places in its proxy that read a section by name.
"""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import json
import os
import sys
import types
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else the import opens a connection

import litellm
from litellm.constants import ROUTER_SETTINGS_MANAGED_OUTSIDE_CONFIG
from litellm.proxy._types import ConfigGeneralSettings, ConfigYAML
from litellm.types.router import (
    LiteLLM_Params,
    LiteLLMParamsTypedDict,
    ModelInfo,
    updateDeployment,
)
from litellm.types.utils import ModelInfo as PriceMapEntry
from litellm.types.utils import all_litellm_params

TARGET = Path(__file__).parent.parent / "router_config" / "litellm_keys.json"
_HOME = Path(litellm.__file__).parent


def collect() -> dict[str, object]:
    """Return the content of the file: the release, and the keys of each section, sorted."""
    server = _HOME / "proxy" / "proxy_server.py"
    loader = _reads(_definition(server, "ProxyConfig"))
    everywhere = _reads(*map(_parsed, _files_with("general_settings", "litellm_settings")))
    router_files = [_HOME / "router.py", *sorted((_HOME / "router_utils").rglob("*.py"))]
    router = _reads(*map(_parsed, router_files))
    proxy = [path for path in _files_with("model_info") if path.is_relative_to(_HOME / "proxy")]
    sections = {
        "top_level": {*ConfigYAML.model_fields, *loader["config"], "include"},
        "deployment": {*updateDeployment.model_fields},
        "litellm_params": {
            *LiteLLM_Params.model_fields,
            *typing.get_type_hints(LiteLLMParamsTypedDict),
            *all_litellm_params,
            *inspect.signature(litellm.embedding).parameters,
            *inspect.signature(litellm.completion).parameters,
            *router["litellm_params"],
        },
        "model_info": {
            *ModelInfo.model_fields,
            *PriceMapEntry.__annotations__,
            *_inherited_annotations(PriceMapEntry),
            *router["model_info"],
            *_reads(*map(_parsed, proxy))["model_info"],
        },
        "router_settings": {*litellm.Router.get_valid_args()}
        - ROUTER_SETTINGS_MANAGED_OUTSIDE_CONFIG,
        "general_settings": {
            *ConfigGeneralSettings.model_fields,
            *everywhere["general_settings"],
        },
        "litellm_settings": {
            *_settable(litellm),
            *everywhere["litellm_settings"],
            *_compared_keys(_definition(server, "load_config")),
        },
    }
    return {
        "litellm": importlib.metadata.version("litellm"),
        "sections": {name: sorted(filter(_is_key, keys)) for name, keys in sections.items()},
    }


def _is_key(name: str) -> bool:
    return name.isidentifier() and not name.startswith("_") and name not in ("kwargs", "args")


def _settable(module: types.ModuleType) -> Iterator[str]:
    """Yield the module's plain settings: LiteLLM sets `litellm_settings` as its attributes."""
    for name, value in vars(module).items():
        plain = value is None or isinstance(value, bool | int | float | str | list | dict)
        if plain and name.islower() and not name.endswith("_models"):
            yield name


def _inherited_annotations(kind: type) -> Iterator[str]:
    for base in getattr(kind, "__orig_bases__", ()):
        if hasattr(base, "__annotations__"):
            yield from base.__annotations__
            yield from _inherited_annotations(base)


class _Reads(dict[str, set[str]]):
    def __missing__(self, name: str) -> set[str]:
        return self.setdefault(name, set())


def _files_with(*words: str) -> list[Path]:
    """Return LiteLLM's files that contain one of *words*; parsing all of them takes a minute."""
    found = sorted(_HOME.rglob("*.py"))
    return [path for path in found if any(word in path.read_text("utf-8") for word in words)]


def _parsed(file: Path) -> ast.AST:
    return ast.parse(file.read_text(encoding="utf-8"))


def _definition(file: Path, name: str) -> ast.AST:
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [n for n in ast.walk(_parsed(file)) if isinstance(n, kinds) and n.name == name]
    return found[0]


def _reads(*trees: ast.AST) -> _Reads:
    """Return, for each variable name, the constant keys that the code reads from it."""
    found = _Reads()
    for tree in trees:
        for node in ast.walk(tree):
            for owner, key in _read(node):
                name = owner.attr if isinstance(owner, ast.Attribute) else None
                name = owner.id if isinstance(owner, ast.Name) else name
                if name and isinstance(key, ast.Constant) and isinstance(key.value, str):
                    found[name].add(key.value)
    return found


def _read(node: ast.AST) -> Iterable[tuple[ast.expr, ast.expr]]:
    """Return (owner, key) of `owner.get(key)`, `owner[key]` and `key in owner`."""
    match node:
        case ast.Call(func=ast.Attribute(value=owner, attr="get" | "pop"), args=[key, *_]):
            return [(owner, key)]
        case ast.Subscript(value=owner, slice=key, ctx=ast.Load()):
            return [(owner, key)]
        case ast.Compare(left=key, ops=[ast.In() | ast.NotIn()], comparators=[owner]):
            return [(owner, key)]
    return []


def _compared_keys(tree: ast.AST) -> Iterator[str]:
    """Yield the constants that the code compares its loop variable `key` with."""
    for node in ast.walk(tree):
        match node:
            case ast.Compare(left=ast.Name(id="key"), comparators=[ast.Constant(value=value)]):
                yield str(value)


def main(argv: list[str]) -> str | None:
    """Write or check the file; return what to complain about."""
    text = json.dumps(collect(), indent=1) + "\n"
    if argv != ["--check"]:
        TARGET.write_text(text, encoding="utf-8")
    elif TARGET.read_text(encoding="utf-8") != text:
        return f"{TARGET.name} is not what the installed LiteLLM gives; run {Path(__file__).name}"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
