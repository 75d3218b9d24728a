"""Our groups and lines put into somebody's LiteLLM config, by inserting text and nothing else.

Not one byte of the file is removed or changed. What is there already is not added again, so that a
second run changes nothing. The result is read again and compared: if it is not the old file plus
ours (a way of writing YAML that was not thought of), the merge refuses.
"""

from __future__ import annotations

from typing import Any

from router_config.cli.insertion import Insertions, MergeError
from router_config.cli.selection import chunks, members, section, select
from router_config.cli.spans import load
from router_config.rules.wiring import ADVISED, CALLBACKS

__all__ = ["MergeError", "merge"]

_PROVIDER = {"provider": "qwen3", "custom_handler": "plugins.provider.handler"}
_ROUTER = "embedding_router"


def merge(existing: str, ours: str) -> str:
    """Return *existing* with what it lacks of *ours*, the shipped file cut down.

    Raises: `MergeError`, and `yaml.YAMLError` for a file that is not YAML.
    """
    file = Insertions(existing)
    wanted = load(ours)
    entries = file.data.get("model_list")
    taken = {_id(entry) for entry in entries} if isinstance(entries, list) else set()
    missing = select(ours, lambda entry: _id(entry) not in taken)
    if added := load(missing)["model_list"]:
        file.extend(("model_list",), added, "\n" + members(missing))
    _wiring(file)
    _router_settings(file, wanted)
    _section(file, ours, wanted[_ROUTER])
    return file.result()


def _wiring(file: Insertions) -> None:
    callbacks = file.get(("litellm_settings", "callbacks"))
    if isinstance(callbacks, str):
        raise MergeError(f"litellm_settings.callbacks is a single name: write [{callbacks}]")
    absent = [name for name in (*CALLBACKS, *ADVISED) if name not in (callbacks or ())]
    if absent:
        lines = "".join(f"- {name}\n" for name in absent)
        file.extend(("litellm_settings", "callbacks"), absent, lines)
    providers = file.get(("litellm_settings", "custom_provider_map"))
    if not any(_is_ours(one) for one in providers or ()):
        line = "- {provider: qwen3, custom_handler: plugins.provider.handler}\n"
        file.extend(("litellm_settings", "custom_provider_map"), [_PROVIDER], line)


def _is_ours(provider: Any) -> bool:
    return isinstance(provider, dict) and provider.get("provider") == _PROVIDER["provider"]


def _router_settings(file: Insertions, wanted: dict[str, Any]) -> None:
    for name, value, line in (
        ("num_retries", 0, "num_retries: 0\n"),
        ("disable_cooldowns", True, "disable_cooldowns: true\n"),
    ):
        if file.get(("router_settings", name)) is None:
            file.put(("router_settings", name), value, line)
    present = file.get(("router_settings", "fallbacks")) or ()
    sources = {source for one in present if isinstance(one, dict) for source in one}
    fallbacks = wanted["router_settings"].get("fallbacks") or []
    absent = [one for one in fallbacks if sources.isdisjoint(one)]
    if absent:
        lines = "".join(
            f"- {name}: [{', '.join(targets)}]\n" for one in absent for name, targets in one.items()
        )
        file.extend(("router_settings", "fallbacks"), absent, lines)


def _section(file: Insertions, ours: str, wanted: dict[str, Any]) -> None:
    if not file.data.get(_ROUTER):
        file.put((_ROUTER,), wanted, section(ours, _ROUTER))
        return
    for name in ("groups", "budgets"):
        present = file.get((_ROUTER, name)) or {}
        lines = chunks(ours, (_ROUTER, name))
        for key, value in (wanted.get(name) or {}).items():
            if key not in present:
                file.put((_ROUTER, name, key), value, lines[key])


def _id(entry: Any) -> Any:
    info = entry.get("model_info") if isinstance(entry, dict) else None
    return info.get("id") if isinstance(info, dict) else None
