"""Rules about a single deployment: who it is, where it goes, what it may say of itself."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from ..problems import Finding, did_you_mean
from ..shape import OWN_PREFIX
from .subject import Rule, Subject, mapping, path_of

__all__ = ["RULES"]


def known_provider(subject: Subject) -> Iterator[Finding]:
    for one in subject.deployments:
        if one.model.startswith(OWN_PREFIX) and one.provider is None:
            guess = did_you_mean(one.model.removeprefix(OWN_PREFIX), subject.catalogue)
            names = ", ".join(sorted(subject.catalogue))
            fix = f'did you mean "{OWN_PREFIX}{guess}"?' if guess else f"known: {names}"
            yield Finding(path_of(one, "litellm_params", "model"), "unknown provider", fix)


def has_an_id(subject: Subject) -> Iterator[Finding]:
    for one in subject.deployments:
        if not one.id and not subject.written(*path_of(one, "model_info", "id")):
            # Without one LiteLLM takes a hash of the parameters: a new key, and history is gone.
            what = "model_info.id is missing"
            yield Finding(path_of(one), what, "give it a name of its own: model_info: {id: …}")


def unique_id(subject: Subject) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for index, entry in enumerate(subject.file.model_list or ()):
        name = entry.model_info.id if entry.model_info else None
        if name is None:
            continue
        if name in seen:
            what = f'the id "{name}" is taken by model_list[{seen[name]}]'
            path = ("model_list", index, "model_info", "id")
            yield Finding(path, what, "LiteLLM would confuse them; give each its own")
        seen.setdefault(name, index)


def embedding_mode(subject: Subject) -> Iterator[Finding]:
    for one in subject.deployments:
        mode = subject.written(*path_of(one, "model_info", "mode"))
        if mode is None:
            what = "model_info.mode is missing, so LiteLLM takes it for a chat model"
            yield Finding(path_of(one), what, "add mode: embedding", "warning")
        elif mode != "embedding":
            path = path_of(one, "model_info", "mode")
            yield Finding(path, "not an embedding model", "write mode: embedding")


def has_a_base_url(subject: Subject) -> Iterator[Finding]:
    for one in subject.deployments:
        if one.provider is not None and one.api_base is None:
            what = "api_base is missing"
            fix = "write api_base: https://host/v1, or os.environ/NAME"
            yield Finding(path_of(one, "litellm_params"), what, fix)


def base_url_is_a_base(subject: Subject) -> Iterator[Finding]:
    for one in subject.deployments:
        if isinstance(one.api_base, str) and re.search(r"/(embeddings?|embed)/?$", one.api_base):
            path = path_of(one, "litellm_params", "api_base")
            yield Finding(path, "ends in the path of the call", "write the part before it")


def encrypted_on_the_way(subject: Subject) -> Iterator[Finding]:
    for one in subject.deployments:
        base = one.api_base if isinstance(one.api_base, str) else ""
        if base.startswith("http://") and not _is_private(urlsplit(base).hostname or ""):
            path = path_of(one, "litellm_params", "api_base")
            what = "texts and key travel unencrypted"
            yield Finding(path, what, "write https://, unless the network is yours", "warning")


def _is_private(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # A name without a dot is a neighbour: localhost, or a service of the same network.
        private = (".local", ".internal", ".localhost", ".lan", ".svc", ".home.arpa", ".test")
        return "." not in host or host.endswith(private)
    return address.is_private or address.is_loopback or address.is_link_local


def dated_price(subject: Subject) -> Iterator[Finding]:
    told: set[str] = set()
    for one in subject.deployments:
        provider = one.provider
        own = subject.written(*path_of(one, "model_info", "input_cost_per_token")) is not None
        if provider is None or own or provider.name in told:
            continue
        if provider.price.is_stale(subject.today):
            told.add(provider.name)
            as_of = provider.price.as_of
            known = f"of {as_of}, over 90 days old" if as_of else "without a date"
            if as_of and (subject.today - as_of).days <= 90:
                known = "converted at a rate over 90 days old"
            yield Finding(
                path_of(one, "litellm_params", "model"),
                f"the catalogue's price of {provider.name} is {known}",
                "look it up, then correct providers.yaml or set model_info.input_cost_per_token",
                "warning",
            )


def limits_agree(subject: Subject) -> Iterator[Finding]:
    for one in subject.deployments:
        info = mapping(subject.written(*path_of(one, "model_info")))
        call = info.get("max_tokens_per_call")
        text = info.get("max_input_tokens", one.limits.max_tokens_per_input)
        if isinstance(call, int) and isinstance(text, int) and call < text:
            path = path_of(one, "model_info", "max_tokens_per_call")
            what = f"less than one text may have ({text:,} tokens)"
            yield Finding(path, what, "raise it, or lower max_input_tokens")


def declared_region(subject: Subject) -> Iterator[Finding]:
    for one in subject.deployments:
        known = one.provider.region if one.provider else one.region
        if known in ("us", "cn") and one.region != known:
            path = path_of(one, "model_info", "region")
            what = f'"{one.region}", but the catalogue has "{known}" for {one.model}'
            fix = "keep it only if you know where these machines stand"
            yield Finding(path, what, fix, "warning")


RULES: tuple[Rule, ...] = (
    known_provider,
    has_an_id,
    unique_id,
    embedding_mode,
    has_a_base_url,
    base_url_is_a_base,
    encrypted_on_the_way,
    dated_price,
    limits_agree,
    declared_region,
)
