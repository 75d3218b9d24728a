"""From what a client asked to a plan: rights, dimensions, token counts, length, candidates.

Runs after authentication and before any wire call; whatever it refuses costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from plugins import _tokens
from plugins._apart import apart_in_turns
from plugins._errors import ClientError, Unavailable
from plugins._ledger import Budget
from plugins._plan import Plan, format_query
from plugins._pool import Candidate
from plugins._request import Asked
from plugins._space import check_space, fingerprint
from router_config import Group

__all__ = ["MAX_TOKENS", "TRUNCATE_TOKENS", "Consumer", "admit", "check_foreign", "model_not_found"]

MAX_TOKENS = 32_768  # per input, end token included (Qwen3-Embedding-8B model card)
# What `truncate: "END"` leaves: the smallest limit of any catalogued provider (Scaleway), so that
# a truncated vector does not depend on the route.
TRUNCATE_TOKENS = 32_000
# From here on counting would hold the event loop for more than a few milliseconds.
_THREAD_FROM_CHARS = 65_536
# How much of its deadline a request may count for; the rest is for those who compute the vectors.
_COUNTING_SHARE = 0.5
_UNRECORDED = "r1"


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

    @property
    def name(self) -> str:
        """Return who takes turns with the others; the admin has no name."""
        return self.key or self.user or self.team or ""


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
    clock: Callable[[], float],
    recorded: Mapping[str, str] = MappingProxyType({}),
) -> Plan:
    """Return the plan of an admitted request. *received_at* is a reading of *clock*.

    *recorded* are the names of the groups' references, where there are any; a group with another
    one is no fallback.

    Raises:
        ClientError: 400, 404 or 409, with a stable code; nothing was sent anywhere.
        Unavailable: 504, counting the tokens would take too much of the request's deadline.
    """
    if consumer.groups is not None and group.name not in consumer.groups:
        raise model_not_found(asked.model)
    reference = recorded.get(group.name, _UNRECORDED)
    names = [
        group.name,
        *(n for n in group.fallbacks if n in pool and recorded.get(n, _UNRECORDED) == reference),
    ]
    _check_region(consumer, group, [one for name in names for one in pool[name]])
    dimensions = _dimensions(asked, group)
    space = fingerprint(reference, dimensions)
    check_space(asked.space, space, asked.model)
    deadline = received_at + group.deadline_s
    until = min(deadline, clock() + _COUNTING_SHARE * group.deadline_s)
    texts, counts = await _texts(asked, group, lambda: _check_time(clock() - until))
    inside = [one for one in pool[group.name] if consumer.region in (None, one.region)]
    _check_length(texts, counts, inside, group)
    return Plan(
        id=request_id,
        asked=asked,
        dimensions=dimensions,
        space=space,
        texts=texts,
        counts=counts,
        groups=tuple(pool[name] for name in names),
        group_names=tuple(names),
        attempts=group.attempts,
        deadline=deadline,
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


def _check_time(late_s: float) -> None:
    if late_s > 0:
        raise Unavailable(
            504,
            "deadline_exceeded",
            "Counting the input's tokens takes too much of the request's deadline. Send fewer or "
            "shorter inputs at a time.",
        )


async def _texts(
    asked: Asked, group: Group, between: Callable[[], None]
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the texts as they go to a provider and their token counts, end tokens included."""
    prepared: list[tuple[str, int]] = []
    work = _prepare(asked, group, between, prepared)
    if sum(map(len, asked.texts)) + 4 * sum(map(len, asked.token_inputs)) < _THREAD_FROM_CHARS:
        for _ in work:
            pass
    else:
        await apart_in_turns(work)
    return tuple(text for text, _ in prepared), tuple(count for _, count in prepared)


def _prepare(
    asked: Asked, group: Group, between: Callable[[], None], prepared: list[tuple[str, int]]
) -> Iterator[None]:
    """Fill *prepared*, a text a step."""
    texts = _decode(asked.token_inputs, group) if asked.token_inputs else asked.texts
    for text in texts:
        if asked.instruct is not None:
            text = format_query(asked.instruct, text)
        if asked.truncate:
            prepared.append(_tokens.truncate(text, TRUNCATE_TOKENS, between=between))
        else:
            counts = _tokens.count([text], limit=MAX_TOKENS, between=between)
            prepared.append((text, counts[0]))
        yield


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
    surely = _tokens.surely_counted(MAX_TOKENS)
    for i, count in enumerate(counts):
        if count > limit:
            name = "input" if len(counts) == 1 else f"input[{i}]"
            least = "at least " if len(texts[i]) > surely else ""
            raise ClientError(
                400,
                "context_length_exceeded",
                f"`{name}` has {least}{count} tokens; {group.name} takes at most {limit} per "
                f'input, end token included. Shorten it, or send "truncate": "END".',
                param=name,
            )
