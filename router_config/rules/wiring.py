"""Rules about the lines through which LiteLLM finds this router's handlers, and requests find it.

Nothing is added silently: what is missing is named, with the line to paste.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..problems import Finding
from ..shape import OWN_PREFIX
from .subject import Rule, Subject, mapping

__all__ = ["ADVISED", "CALLBACKS", "RULES"]

CALLBACKS = ("plugins.gateway.handler", "plugins.budget.handler", "plugins.matryoshka.handler")
# Without these the router works, but less of it.
ADVISED = {
    "plugins.health.handler": "LiteLLM's own calls may reach a deployment that is out",
}
_ADDED = "plugins.budget.handler"  # at start, with a warning: a budget is never off
_PROVIDER = "plugins.provider.handler"
_AUTH = "plugins.keys.handler"
_EMBEDDINGS = re.compile(r"(/v1)?/embeddings|/(engines|openai/deployments)/.*/embeddings")


def callbacks_are_wired(subject: Subject) -> Iterator[Finding]:
    written = subject.litellm.callbacks or []
    missing = [name for name in CALLBACKS if name not in written]
    if subject.deployments and missing and not _broken(subject, "callbacks"):
        what = f"callbacks without {', '.join(missing)}"
        fix = f"paste: callbacks: [{', '.join([*CALLBACKS, *ADVISED, *_others(written)])}]"
        path = ("litellm_settings", "callbacks") if written else ("litellm_settings",)
        if missing == [_ADDED]:
            yield Finding(path, f"{what}, which is added at start", fix, "warning")
        else:
            yield Finding(path, what, fix)


def _others(written: list[str]) -> list[str]:
    return [name for name in written if name not in CALLBACKS and name not in ADVISED]


def advised_callbacks_are_wired(subject: Subject) -> Iterator[Finding]:
    written = subject.litellm.callbacks or []
    if not subject.deployments or any(name not in written for name in CALLBACKS if name != _ADDED):
        return
    for name, loss in ADVISED.items():
        if name not in written:
            fix = f"paste: callbacks: [{', '.join([*CALLBACKS, *ADVISED, *_others(written)])}]"
            what = f"callbacks without {name}: {loss}"
            yield Finding(("litellm_settings", "callbacks"), what, fix, "warning")


def provider_is_wired(subject: Subject) -> Iterator[Finding]:
    if not any(one.model.startswith(OWN_PREFIX) for one in subject.deployments):
        return
    for index, entry in enumerate(subject.litellm.custom_provider_map or ()):
        if entry.provider == OWN_PREFIX.rstrip("/"):
            if entry.custom_handler != _PROVIDER:
                path = ("litellm_settings", "custom_provider_map", index)
                yield Finding(
                    path, "another handler for qwen3", f"write custom_handler: {_PROVIDER}"
                )
            return
    if not _broken(subject, "custom_provider_map"):
        what = f"custom_provider_map without {_PROVIDER}"
        entry_text = f"{{provider: qwen3, custom_handler: {_PROVIDER}}}"
        fix = f"paste: custom_provider_map: [{entry_text}]"
        yield Finding(("litellm_settings",), what, fix)


def keys_are_wired(subject: Subject) -> Iterator[Finding]:
    if not subject.section.keys:
        return
    if subject.general.database_url is not None:
        what = "not used: with a database_url LiteLLM's own keys rule"
        fix = "remove one of the two"
        yield Finding(("embedding_router", "keys"), what, fix, "warning")
    elif subject.general.custom_auth != _AUTH:
        written = subject.written("general_settings", "custom_auth")
        path = ("general_settings", "custom_auth") if written else ("general_settings",)
        what = "nothing reads embedding_router.keys"
        yield Finding(path, what, f"paste: custom_auth: {_AUTH}")


def master_key_is_named(subject: Subject) -> Iterator[Finding]:
    if subject.deployments and subject.written("general_settings", "master_key") is None:
        what = "master_key is missing; LiteLLM starts only if LITELLM_MASTER_KEY is set"
        fix = "paste: master_key: os.environ/LITELLM_MASTER_KEY"
        yield Finding(("general_settings",), what, fix, "warning")


def path_is_ours(subject: Subject) -> Iterator[Finding]:
    """LiteLLM keeps its own route for the path, but takes the entry's `auth` for it."""
    entries = subject.written("general_settings", "pass_through_endpoints")
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        written = mapping(entry).get("path")
        if subject.deployments and isinstance(written, str) and _EMBEDDINGS.fullmatch(written):
            path = ("general_settings", "pass_through_endpoints", index, "path")
            what = "the path of embeddings: not passed through, but open to all with auth: false"
            yield Finding(path, what, "write another path")


def _broken(subject: Subject, name: str) -> bool:
    """Return True if the key is there with a value that could not be read."""
    written = subject.written("litellm_settings", name)
    return written is not None and getattr(subject.litellm, name) is None


RULES: tuple[Rule, ...] = (
    callbacks_are_wired,
    advised_callbacks_are_wired,
    provider_is_wired,
    keys_are_wired,
    master_key_is_named,
    path_is_ours,
)
