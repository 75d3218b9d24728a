"""From what a client asked to a plan: rights, dimensions, token counts, length, candidates.

Runs after authentication and before any wire call; whatever it refuses costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from plugins import _tokens
from plugins._apart import apart
from plugins._errors import ClientError
from plugins._ledger import Budget
from plugins._plan import Plan, format_query
from plugins._pool import Candidate
from plugins._request import Asked
from router_config import Group

__all__ = ["MAX_TOKENS", "TRUNCATE_TOKENS", "Consumer", "admit", "check_foreign", "model_not_found"]

MAX_TOKENS = 32_768  # per input, end token included (Qwen3-Embedding-8B model card)
# What `truncate: "END"` leaves: the smallest limit of any catalogued provider (Scaleway), so that
# a truncated vector does not depend on the route.
TRUNCATE_TOKENS = 32_000
# From here on counting would hold the event loop for more than a few milliseconds.
_THREAD_FROM_CHARS = 65_536
# A longer text may be judged by its size alone (`_tokens.count` with a limit).
_COUNTED_CHARS = 128 * MAX_TOKENS


@dataclass(frozen=True, slots=True)
class Consumer:
    """Who asks: *groups* None means all, *region* None means anywhere.

    *key*, *team* and *user* are LiteLLM's names of them, or those of our file; *quotas* are the
    key's requests and tokens a minute.
    """

    key: str | None = None
    team: str | None = None
    user: str | None = None
    groups: tuple[str, ...] | None = None
    region: str | None = None
    quotas: tuple[Budget, ...] = ()


def model_not_found(model: str) -> ClientError:
    """Return OpenAI's answer for a model that does not exist or that this key may not use."""
    shown = (
        model
        if len(model) <= 100 and model.isprintable()
        else model[:100].encode("unicode_escape").decode()
    )
    return ClientError(
        404,
        "model_not_found",
        f"The model `{shown}` does not exist or you do not have access to it.",
        param="model",
    )


def check_foreign(model: str, consumer: Consumer) -> None:
    """Check that *consumer* may use a model that is not ours and that LiteLLM serves by itself.

    A key with a region may not: nobody knows where that model computes.

    Raises:
        ClientError: 404 `model_not_found`.
    """
    named = consumer.groups is None or model in consumer.groups
    if not named or consumer.region is not None:
        raise model_not_found(model)


async def admit(
    asked: Asked,
    group: Group,
    pool: Mapping[str, tuple[Candidate, ...]],
    consumer: Consumer,
    *,
    request_id: str,
    received_at: float,
) -> Plan:
    """Return the plan of an admitted request.

    Raises:
        ClientError: 400 or 404, with a stable code; nothing was sent anywhere.
    """
    if consumer.groups is not None and group.name not in consumer.groups:
        raise model_not_found(asked.model)
    names = [group.name, *(name for name in group.fallbacks if name in pool)]
    _check_region(consumer, group, [one for name in names for one in pool[name]])
    dimensions = _dimensions(asked, group)
    texts, counts = await _texts(asked, group)
    inside = [one for one in pool[group.name] if consumer.region in (None, one.region)]
    _check_length(texts, counts, inside, group)
    return Plan(
        id=request_id,
        asked=asked,
        dimensions=dimensions,
        texts=texts,
        counts=counts,
        groups=tuple(pool[name] for name in names),
        group_names=tuple(names),
        attempts=group.attempts,
        deadline=received_at + group.deadline_s,
        region=consumer.region,
        consumer=f"key:{consumer.key}" if consumer.key else None,
    )


def _check_region(consumer: Consumer, group: Group, candidates: Sequence[Candidate]) -> None:
    """Refuse a group that has nobody in the key's region: waiting would not help."""
    if consumer.region is not None and all(one.region != consumer.region for one in candidates):
        raise ClientError(
            404,
            "model_not_found",
            f"No deployment of `{group.name}` stands in region {consumer.region}, to which this "
            "key is bound.",
            param="model",
        )


def _dimensions(asked: Asked, group: Group) -> int:
    if asked.dimensions is None:
        return group.matryoshka.default
    allowed = group.matryoshka.allowed
    if allowed is not None and asked.dimensions not in allowed:
        raise ClientError(
            400,
            "invalid_dimensions",
            f"`dimensions` for {group.name} must be one of {', '.join(map(str, sorted(allowed)))}.",
            param="dimensions",
        )
    return asked.dimensions


async def _texts(asked: Asked, group: Group) -> tuple[tuple[str, ...], tuple[int, ...]]:
    size = sum(map(len, asked.texts)) + 4 * sum(map(len, asked.token_inputs))
    if size < _THREAD_FROM_CHARS:
        return _prepare(asked, group)
    return await apart(lambda: _prepare(asked, group))


def _prepare(asked: Asked, group: Group) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the texts as they go to a provider and their token counts, end tokens included."""
    texts = _decode(asked.token_inputs, group) if asked.token_inputs else list(asked.texts)
    if asked.instruct is not None:
        texts = [format_query(asked.instruct, text) for text in texts]
    if asked.truncate:
        texts = [_tokens.truncate(text, TRUNCATE_TOKENS) for text in texts]
    return tuple(texts), tuple(_tokens.count(texts, limit=MAX_TOKENS))


def _decode(ids: Sequence[Sequence[int]], group: Group) -> list[str]:
    if group.token_inputs is None:
        raise ClientError(
            400,
            "token_input_not_supported",
            "`input` holds token ids of another model's tokenizer. Send text instead: with "
            "LangChain's OpenAIEmbeddings set check_embedding_ctx_length=False.",
            param="input",
        )
    try:
        texts = _tokens.decode(ids, group.token_inputs)
    except ValueError:
        raise ClientError(
            400,
            "invalid_input",
            f"`input` holds token ids that are not text in {group.token_inputs}.",
            param="input",
        ) from None
    for i, text in enumerate(texts):
        if not text:
            raise ClientError(
                400,
                "invalid_input",
                f"`input[{i}]` decodes to an empty string.",
                param=f"input[{i}]",
            )
    return texts


def _check_length(
    texts: Sequence[str], counts: Sequence[int], candidates: Sequence[Candidate], group: Group
) -> None:
    """Refuse an input that the model, or every configured deployment of the group, cannot take."""
    able = [one.max_tokens_per_input for one in candidates if one.off is None]
    limit = min(MAX_TOKENS, max(able, default=MAX_TOKENS))
    for i, count in enumerate(counts):
        if count > limit:
            name = "input" if len(counts) == 1 else f"input[{i}]"
            least = "at least " if len(texts[i]) > _COUNTED_CHARS else ""
            raise ClientError(
                400,
                "context_length_exceeded",
                f"`{name}` has {least}{count} tokens; {group.name} takes at most {limit} per "
                f'input, end token included. Shorten it, or send "truncate": "END".',
                param=name,
            )
