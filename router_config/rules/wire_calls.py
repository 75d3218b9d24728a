"""Rules about settings that make LiteLLM call more often, pick by itself, or do nothing.

One attempt is one wire call, counted by `embedding_router.attempts`. What would add calls behind
its back is refused; what has no effect on our deployments is said. `litellm_settings.cache` is for
other models: every request for our groups asks it to neither read nor store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..problems import Finding, Path
from ..shape import OWN_PREFIX
from .subject import Rule, Subject, mapping, path_of

__all__ = ["RULES"]

_ATTEMPTS = "attempts are counted by embedding_router.attempts"

# Each of these multiplies calls, or picks in a way of its own. (What it does, how to fix it.)
_REFUSED: Mapping[tuple[str, str], tuple[str, str]] = {
    ("router_settings", "retry_policy"): ("multiplies wire calls", f"remove it; {_ATTEMPTS}"),
    ("router_settings", "model_group_retry_policy"): (
        "multiplies wire calls",
        f"remove it; {_ATTEMPTS}",
    ),
    ("router_settings", "retry_after"): ("makes every next attempt wait", "remove it"),
    ("router_settings", "enable_weighted_failover"): ("multiplies wire calls", "remove it"),
    ("router_settings", "enable_health_check_routing"): (
        "lets LiteLLM's paid health checks pick",
        "remove it",
    ),
    # It looks at the one deployment that was picked, and turns it down if its tags are others.
    ("router_settings", "enable_tag_filtering"): (
        "ends requests by tags of the key after this router's pick",
        "remove it; other models can have it in their model_info",
    ),
    ("router_settings", "routing_groups"): ("picks in another way than this router", "remove it"),
    ("general_settings", "background_health_checks"): (
        "sends a paid call to every deployment, again and again",
        "remove it",
    ),
    ("general_settings", "enable_health_check_routing"): (
        "lets LiteLLM's paid health checks pick",
        "remove it",
    ),
    ("litellm_settings", "num_retries_per_request"): (
        "multiplies wire calls",
        f"remove it; {_ATTEMPTS}",
    ),
    ("litellm_settings", "fallbacks"): (
        "fallbacks that the router's pick does not see",
        "move them to router_settings",
    ),
    ("litellm_settings", "default_fallbacks"): (
        "fallbacks that the router's pick does not see",
        "move them to router_settings",
    ),
}
_COOLDOWN = "has no effect while disable_cooldowns is true"
_IDLE: Mapping[tuple[str, str], str] = {
    ("router_settings", "allowed_fails"): _COOLDOWN,
    ("router_settings", "allowed_fails_policy"): _COOLDOWN,
    ("router_settings", "cooldown_time"): _COOLDOWN,
    ("litellm_settings", "allowed_fails"): _COOLDOWN,
    ("router_settings", "routing_strategy_args"): "has no effect with simple-shuffle",
    ("router_settings", "context_window_fallbacks"): "has no effect on embeddings of this router",
    ("router_settings", "content_policy_fallbacks"): "has no effect on embeddings of this router",
    ("router_settings", "enable_pre_call_checks"): (
        "counts tokens with another model's tokenizer, and changes no pick"
    ),
    ("router_settings", "optional_pre_call_checks"): "changes no pick of this router",
}
# A call has the deployment's or the catalogue's time, and never longer than the request's deadline.
# LiteLLM's times are for other models, so nothing is said where there are some.
_TIMES: tuple[Path, ...] = (
    ("router_settings", "timeout"),
    ("router_settings", "stream_timeout"),
    ("litellm_settings", "request_timeout"),
)
# Our provider reads none of these; rates and limits are facts of the catalogue.
_IGNORED_PARAMS = (
    "cooldown_time",
    "dimensions",
    "encoding_format",
    "input_cost_per_token",
    "max_parallel_requests",
    "request_timeout",
    "rpm",
    "stream_timeout",
    "tpm",
)


def no_retries(subject: Subject) -> Iterator[Finding]:
    if not subject.deployments:
        return
    places: list[Path] = [
        ("router_settings", "num_retries"),
        ("router_settings", "default_litellm_params", "num_retries"),
        ("router_settings", "default_litellm_params", "max_retries"),
        ("litellm_settings", "num_retries"),
    ]
    for one in subject.deployments:
        places += [path_of(one, "litellm_params", name) for name in ("num_retries", "max_retries")]
    for path in places:
        if _positive(subject.written(*path)):
            what = "multiplies wire calls"
            fix = f"write {path[-1]}: 0; {_ATTEMPTS}"
            yield Finding(path, what, fix)
    if subject.written("router_settings", "num_retries") is None:
        what = "num_retries is missing, and LiteLLM's default of 2 triples the wire calls"
        yield Finding(("router_settings",), what, "add router_settings: {num_retries: 0}")


def no_cooldowns(subject: Subject) -> Iterator[Finding]:
    written = subject.written("router_settings", "disable_cooldowns")
    if subject.deployments and written is not True:
        path: Path = (
            ("router_settings",) if written is None else ("router_settings", "disable_cooldowns")
        )
        what = "LiteLLM's cooldowns would take deployments out behind the router's back"
        yield Finding(path, what, "write disable_cooldowns: true")


def simple_shuffle(subject: Subject) -> Iterator[Finding]:
    strategy = subject.written("router_settings", "routing_strategy")
    if subject.deployments and strategy not in (None, "simple-shuffle"):
        path = ("router_settings", "routing_strategy")
        fix = "remove it; order and weight say who is picked"
        yield Finding(path, "picks in another way than this router", fix)


def nothing_behind_our_back(subject: Subject) -> Iterator[Finding]:
    for path, (what, fix) in _REFUSED.items():
        if subject.deployments and _is_on(subject.written(*path)):
            yield Finding(path, what, fix)


def nothing_idle(subject: Subject) -> Iterator[Finding]:
    for path, what in _IDLE.items():
        if subject.deployments and _is_on(subject.written(*path)):
            yield Finding(path, what, "remove it", "warning")


def no_idle_times(subject: Subject) -> Iterator[Finding]:
    for path in _TIMES:
        written = subject.written(*path)
        if subject.deployments and not subject.config.foreign_models and _is_on(written):
            what = "has no effect on embeddings of this router"
            fix = "write litellm_params.timeout for a call, or embedding_router.deadline_s"
            yield Finding(path, what, fix, "warning")


def no_tag_filtering(subject: Subject) -> Iterator[Finding]:
    what, _ = _REFUSED["router_settings", "enable_tag_filtering"]
    for one in subject.deployments:
        path = path_of(one, "model_info", "enable_tag_filtering")
        if _is_on(subject.written(*path)):
            yield Finding(path, what, "remove it")


def params_have_an_effect(subject: Subject) -> Iterator[Finding]:
    for one in subject.deployments:
        params = mapping(subject.written(*path_of(one, "litellm_params")))
        for name in ("fallbacks", "mock_response"):
            if params.get(name):
                what = f"{name} of a single deployment"
                yield Finding(path_of(one, "litellm_params", name), what, "remove it")
        for name in _IGNORED_PARAMS:
            if params.get(name) is not None and one.model.startswith(OWN_PREFIX):
                fix = "remove it"
                if name == "input_cost_per_token":
                    fix = "move it to model_info"
                what = f"has no effect on a {OWN_PREFIX} deployment"
                yield Finding(path_of(one, "litellm_params", name), what, fix, "warning")


def one_file(subject: Subject) -> Iterator[Finding]:
    if subject.data.get("include"):
        what = "an included file replaces whole sections of this one, and is not checked with it"
        yield Finding(("include",), what, "put everything into one file")


def _positive(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and value > 0


def _is_on(value: Any) -> bool:
    return value not in (None, False, 0, [], {}, "")


RULES: tuple[Rule, ...] = (
    no_retries,
    no_cooldowns,
    simple_shuffle,
    nothing_behind_our_back,
    nothing_idle,
    no_idle_times,
    no_tag_filtering,
    params_have_an_effect,
    one_file,
)
