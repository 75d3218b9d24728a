"""Who imports whom among our own modules, read from the source and not by running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["PACKAGES", "Import", "first_party", "imports", "modules"]

ROOT = Path(__file__).parents[1]
PACKAGES = ("router_config", "plugins")


@dataclass(frozen=True)
class Import:
    """One imported name: the module it lives in, and whether the import waits for a call."""

    target: str
    line: int
    lazy: bool


@cache
def modules() -> dict[str, Path]:
    """Every module of both packages by its dotted name; a package stands for its `__init__`."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(module: str) -> tuple[Import, ...]:
    """All imports of a module, those inside functions and for type checkers too.

    `from a import b` counts as `a.b` where that is a module of ours, else as `a`. A constant given
    to `import_module` counts like the statement.
    """
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    found = []
    for node, lazy in _walk(tree, lazy=False):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = _source(module, node)
            targets = [_home(source, alias.name) for alias in node.names]
        elif isinstance(node, ast.Call):
            targets = list(_named_in_call(node))
        else:
            continue
        found += [Import(target, node.lineno, lazy) for target in targets]
    return tuple(found)


def first_party(module: str) -> set[str]:
    """The modules of ours that a module imports, itself left out."""
    names = {found.target for found in imports(module)} & set(modules())
    return names - {module}


def _walk(node: ast.AST, *, lazy: bool) -> Iterator[tuple[ast.AST, bool]]:
    yield node, lazy
    inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, lazy=inside)


def _source(module: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    if modules()[module].name == "__init__.py":
        parts.append("__init__")
    return ".".join([*parts[: -node.level], *([node.module] if node.module else [])])


def _home(source: str, name: str) -> str:
    inner = f"{source}.{name}"
    return inner if inner in modules() else source


def _named_in_call(node: ast.Call) -> Iterator[str]:
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name in {"import_module", "__import__"} and node.args:
        first = node.args[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value
