"""Rules about a group: one model, one region, and deployments that can be reached."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

from ..config import Deployment, Group
from ..environment import key_reference
from ..problems import Finding, Path, did_you_mean
from ..schema import MatryoshkaEntry
from ..shape import OWN_PREFIX
from .subject import Rule, Subject, path_of

__all__ = ["RULES"]

_THE_MODEL = re.compile(r"qwen3[-_ ]?embedding[-_: ]?8b", re.IGNORECASE)
_A_SIBLING = re.compile(r"qwen3[-_ ]?embedding|(^|[-_:/ ])(0\.6b|4b)\b", re.IGNORECASE)


def has_deployments(subject: Subject) -> Iterator[Finding]:
    for name in subject.section.groups or {}:
        if name not in subject.models:
            guess = did_you_mean(name, subject.models)
            fix = f'did you mean "{guess}"?' if guess else "add one to model_list, or remove it"
            path = ("embedding_router", "groups", name)
            yield Finding(path, "a group without deployments", fix)


def one_model(subject: Subject) -> Iterator[Finding]:
    for one in subject.deployments:
        if one.model.startswith(OWN_PREFIX):
            other = _A_SIBLING.search(one.wire_model) and not _THE_MODEL.search(one.wire_model)
            step = ("model_info", "wire_model")
        else:
            base_model = subject.written(*path_of(one, "model_info", "base_model"))
            other = not _THE_MODEL.search(f"{one.model} {base_model or ''}")
            step = ("litellm_params", "model")
        if other and one.model:
            what = f'another model in the group "{one.group}" of Qwen3-Embedding-8B'
            fix = "its vectors do not compare with the others; give it a model_name of its own"
            yield Finding(path_of(one, *step), what, fix)


def one_region(subject: Subject) -> Iterator[Finding]:
    for group in subject.config.groups.values():
        for one in group.deployments:
            if group.region is None or one.region == group.region or not one.model:
                continue
            if one.model.startswith(OWN_PREFIX) and one.provider is None:
                continue  # nobody knows where an unknown provider stands
            said = subject.written(*path_of(one, "model_info", "region"))
            step = ("model_info", "region") if said else ("litellm_params", "model")
            what = f'region "{one.region}" in the group "{group.name}", which never leaves'
            fix = "move it to another group"
            if one.region in ("local", "global"):
                fix += f", or say where its machines stand: model_info.region: {group.region}"
            yield Finding(path_of(one, *step), f'{what} "{group.region}"', fix)


def name_tells_the_region(subject: Subject) -> Iterator[Finding]:
    for name, entry in (subject.section.groups or {}).items():
        if name.endswith("-eu") and entry.region not in (None, "eu"):
            path = ("embedding_router", "groups", name, "region")
            yield Finding(path, "a group whose name ends in -eu", "write region: eu, or rename it")


def default_is_allowed(subject: Subject) -> Iterator[Finding]:
    groups = subject.section.groups or {}
    places: list[tuple[Path, MatryoshkaEntry | None]] = [
        (("matryoshka",), subject.section.matryoshka)
    ]
    places += [(("groups", name, "matryoshka"), one.matryoshka) for name, one in groups.items()]
    for path, entry in places:
        if entry and entry.allowed is not None and entry.default not in entry.allowed:
            what = f"the default, {entry.default}, is not among the allowed dimensions"
            fix = "add it, or name another: default: " + str(max(entry.allowed))
            yield Finding(("embedding_router", *path), what, fix)


def somebody_has_weight(subject: Subject) -> Iterator[Finding]:
    for group in subject.config.groups.values():
        for order, level in _levels(group):
            idle = [one for one in level if one.weight == 0]
            if len(idle) == len(level):
                what = f'every weight of order {order} in "{group.name}" is 0, so none is picked'
                path = path_of(idle[0], "litellm_params", "weight")
                yield Finding(path, what, "give one of them a weight above 0")
                continue
            for one in idle:
                path = path_of(one, "litellm_params", "weight")
                yield Finding(path, "never picked", "raise it above 0", "warning")


def reachable(subject: Subject) -> Iterator[Finding]:
    """No endpoint is tried twice in a request, so a later copy needs another budget."""
    for group in subject.config.groups.values():
        before: dict[tuple[object, ...], list[Deployment]] = {}
        for _, level in _levels(group):
            reached = []
            for one in (one for one in level if one.weight > 0):
                earlier = before.get(_endpoint(one), ())
                first = next((other for other in earlier if _hides(other, one)), None)
                if first is None:
                    reached.append(one)
                else:
                    what = f'never reached: "{first.id}" is the same endpoint, tried earlier'
                    yield Finding(path_of(one), what, "give the two different budgets")
            for one in reached:
                before.setdefault(_endpoint(one), []).append(one)


def _hides(first: Deployment, later: Deployment) -> bool:
    takes_all = first.limits.max_tokens_per_input >= later.limits.max_tokens_per_input
    return takes_all and first.budget in (None, later.budget)


def _endpoint(one: Deployment) -> tuple[object, ...]:
    return (one.model, one.wire_model, one.api_base, key_reference(one))


def independent_ways(subject: Subject) -> Iterator[Finding]:
    for group in subject.config.groups.values():
        ways = [one for one in _with_fallbacks(group, subject) if one.weight > 0]
        owners = [set(one.provider.upstreams) if one.provider else set() for one in ways]
        common = set.intersection(*owners) if owners else set()
        names = sorted({one.provider.name for one in ways if one.provider})
        if common and len(names) > 1:
            what = f'"{group.name}" has only {" and ".join(names)}, which both stand on '
            fix = "they fail together; add a deployment on somebody else's machines"
            path = path_of(group.deployments[-1])
            yield Finding(path, what + " and ".join(sorted(common)), fix, "warning")


def _with_fallbacks(group: Group, subject: Subject) -> Iterator[Deployment]:
    if group.deployments:
        yield from group.deployments
        for name in group.fallbacks:
            if name in subject.config.groups:
                yield from subject.config.groups[name].deployments


def _levels(group: Group) -> Iterator[tuple[int, list[Deployment]]]:
    ordered = sorted(group.deployments, key=lambda one: one.order)
    for order, level in groupby(ordered, key=lambda one: one.order):
        yield order, list(level)


RULES: tuple[Rule, ...] = (
    has_deployments,
    one_model,
    one_region,
    name_tells_the_region,
    default_is_allowed,
    somebody_has_weight,
    reachable,
    independent_ways,
)
