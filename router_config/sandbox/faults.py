"""Which fault befalls which call: kinds with their options, and a schedule for each.

A fault is counted against calls, never against the clock or the machine's randomness, so the same
test meets the same faults every time.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["KINDS", "Active", "Fault", "Faults", "Kind", "Stage"]


class Stage(StrEnum):
    """Where on the way of a call a fault strikes."""

    READ = "read"  # before the request is read
    REFUSAL = "refusal"  # instead of an answer, by the provider's word
    LOST = "lost"  # instead of an answer, by the network
    MODEL = "model"  # the model reads something else or is another one
    ROWS = "rows"  # the numbers are wrong
    TEXT = "text"  # the numbers are written wrongly
    SHAPE = "shape"  # the list of vectors is wrong
    USAGE = "usage"  # the bill is wrong
    BODY = "body"  # the bytes of the body are wrong
    DELIVERY = "delivery"  # a good answer, badly sent


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault. *billed*: whether the emulator charges for a call that meets it."""

    stage: Stage
    billed: bool
    options: Mapping[str, Any] = field(default_factory=dict)


# Options stand here with their defaults; None means "as the provider documents it".
KINDS: Mapping[str, Kind] = {
    "hang_unread": Kind(Stage.READ, False),
    "hang": Kind(Stage.LOST, False),
    "reset_before_answer": Kind(Stage.LOST, True),
    "status": Kind(Stage.REFUSAL, False, {"status": 503, "body": "html", "headers": {}}),
    "flap": Kind(Stage.REFUSAL, False, {"status": 503, "body": "html", "headers": {}}),
    "rate_limited": Kind(Stage.REFUSAL, False, {"retry_after_s": 17, "form": None, "status": 429}),
    "unauthorized": Kind(Stage.REFUSAL, False, {"status": 401}),
    "forbidden": Kind(Stage.REFUSAL, False, {"status": 403}),
    "payment": Kind(Stage.REFUSAL, False, {"status": None}),
    "payment_in_400": Kind(Stage.REFUSAL, False, {"status": 400}),
    "payment_in_403": Kind(Stage.REFUSAL, False, {"status": 403}),
    "bad_field": Kind(Stage.REFUSAL, False, {"field": "encoding_format", "status": None}),
    "model_missing": Kind(Stage.REFUSAL, False, {"status": None}),
    "error_in_200": Kind(Stage.REFUSAL, False, {"code": 502}),
    "redirect": Kind(Stage.REFUSAL, False, {"status": 302}),
    "silent_truncation": Kind(Stage.MODEL, True, {"limit": 512}),
    "other_seed": Kind(Stage.MODEL, True, {"seed": 1}),
    "missing_end_token": Kind(Stage.MODEL, True, {"seed": 2}),
    # Another order of instruction and question, as from a server with a prompt of its own.
    "prefix_order": Kind(Stage.MODEL, True),
    # What fp16 makes of such texts in this model (QwenLM/Qwen3-Embedding#164).
    "nan_on_import": Kind(Stage.ROWS, True),
    "noisy": Kind(Stage.ROWS, True, {"cosine": 0.98}),
    "nan_null": Kind(Stage.ROWS, True, {"row": 0, "at": 7}),
    "infinity": Kind(Stage.TEXT, True, {"row": 0, "at": 7, "literal": "1e999"}),
    "nan_literal": Kind(Stage.TEXT, True, {"row": 0, "at": 7, "literal": "NaN"}),
    "zero_vector": Kind(Stage.ROWS, True, {"row": 0}),
    "wrong_norm": Kind(Stage.ROWS, True, {"factor": 0.5}),
    "short_vectors": Kind(Stage.ROWS, True, {"dimensions": 1024}),
    "ragged": Kind(Stage.ROWS, True, {"row": 0, "dimensions": 4095}),
    "same_vector": Kind(Stage.ROWS, True),
    "base64_short": Kind(Stage.TEXT, True, {"row": 0}),
    "base64_big_endian": Kind(Stage.TEXT, True),
    "base64_float64": Kind(Stage.TEXT, True),
    "floats_for_base64": Kind(Stage.TEXT, True),
    "fewer_vectors": Kind(Stage.SHAPE, True, {"count": 1}),
    "more_vectors": Kind(Stage.SHAPE, True, {"count": 1}),
    "no_index": Kind(Stage.SHAPE, True),
    "shuffled": Kind(Stage.SHAPE, True),
    "duplicate_index": Kind(Stage.SHAPE, True),
    "usage_missing": Kind(Stage.USAGE, True),
    "usage_zero": Kind(Stage.USAGE, True),
    "usage_absurd": Kind(Stage.USAGE, True, {"value": 10**15}),
    "usage_inflated": Kind(Stage.USAGE, True, {"factor": 1.1}),
    "truncated_json": Kind(Stage.BODY, True, {"keep": 0.5}),
    "wrong_charset": Kind(Stage.BODY, True, {"charset": "utf-16"}),
    "invalid_utf8": Kind(Stage.BODY, True),
    "gzip_bomb": Kind(Stage.BODY, True, {"megabytes": 400}),
    "slow": Kind(Stage.DELIVERY, True, {"delay_s": 2.0}),
    "slowloris": Kind(Stage.DELIVERY, True, {"interval_s": 1.0}),
    "trickle_headers": Kind(Stage.DELIVERY, True, {"interval_s": 1.0}),
    "reset_mid_body": Kind(Stage.DELIVERY, True, {"keep": 0.5}),
}

# Needs an `index` in the reply.
_INDEXED = ("shuffled", "duplicate_index", "no_index")

_SCHEDULE: Mapping[str, Any] = {
    "times": None,
    "after": 0,
    "every": 1,
    "ok": 0,
    "fail": 0,
    "probability": 1.0,
    "random_seed": 0,
    "where": "embeddings",
    "billed": None,
    "delay_s": 0.0,
}


# Ways to say when to come back; None is the provider's own.
_FORMS = (None, "seconds", "date", "duration", "reset", "metadata", "none")


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault as it strikes one call."""

    kind: str
    stage: Stage
    billed: bool
    delay_s: float
    options: Mapping[str, Any]

    def __getitem__(self, option: str) -> Any:
        return self.options[option]


class Active:
    """A fault that was switched on, and its schedule.

    The schedule, in the order it is applied: *where* ("embeddings", "probes" or "all") says which
    calls count at all; the first *after* of them are spared; of the rest every *every*-th, or in
    turn *ok* spared and *fail* struck; each of those with *probability*, drawn from *random_seed*;
    at most *times* in all. *billed* overrides whether a struck call is charged, *delay_s* lets the
    answer wait.
    """

    def __init__(self, kind: str, **options: Any) -> None:
        if kind not in KINDS:
            raise ValueError(f"unknown fault {kind!r}; known: {', '.join(sorted(KINDS))}")
        known = {**_SCHEDULE, **KINDS[kind].options}
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise ValueError(
                f"fault {kind}: unknown option {', '.join(unknown)}; known: {', '.join(known)}"
            )
        for name, value in options.items():
            if not _fits(value, known[name]):
                raise ValueError(f"fault {kind}: {name} cannot be {value!r}")
        if options.get("form") not in _FORMS:
            raise ValueError(f"fault {kind}: form is {', '.join(map(str, _FORMS))}")
        if kind == "flap" and not options.get("fail"):
            raise ValueError("fault flap: needs ok and fail, the numbers of calls in each turn")
        self.kind = kind
        self._set = {**known, **options}
        if self._set["where"] not in ("embeddings", "probes", "all"):
            raise ValueError(f"fault {kind}: where is embeddings, probes or all")
        self._random = random.Random(self._set["random_seed"])
        self._calls = 0
        self.struck = 0

    def strike(self, *, probe: bool) -> Fault | None:
        """Count one call and return the fault if this call meets it."""
        if self._set["where"] not in ("all", "probes" if probe else "embeddings"):
            return None
        self._calls += 1
        if not self._due():
            return None
        self.struck += 1
        kind = KINDS[self.kind]
        billed = kind.billed if self._set["billed"] is None else bool(self._set["billed"])
        return Fault(self.kind, kind.stage, billed, float(self._set["delay_s"]), self._set)

    def describe(self) -> dict[str, Any]:
        """Return kind, options and counts, for people."""
        changed = {k: v for k, v in self._set.items() if k not in _SCHEDULE or v != _SCHEDULE[k]}
        return {"kind": self.kind, "calls": self._calls, "struck": self.struck, **changed}

    def _due(self) -> bool:
        s = self._set
        if s["times"] is not None and self.struck >= s["times"]:
            return False
        turn = self._calls - s["after"]
        if turn <= 0 or turn % max(1, s["every"]):
            return False
        if s["fail"] and (turn - 1) % (s["ok"] + s["fail"]) < s["ok"]:
            return False
        return bool(s["probability"] >= 1.0 or self._random.random() < s["probability"])


def _fits(value: Any, default: Any) -> bool:
    """Return True if *value* is of the kind of *default*; a body may be anything."""
    if isinstance(default, int | float) and not isinstance(default, bool):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return not isinstance(default, dict) or isinstance(value, dict)


class Faults:
    """The faults of one provider; the first one that is due strikes."""

    def __init__(self, *, indexed: bool = True) -> None:
        self._indexed = indexed
        self._active: list[Active] = []

    def add(self, kind: str, **options: Any) -> None:
        """Switch a fault on. Raises ValueError if kind or options make no sense here."""
        if kind in _INDEXED and not self._indexed:
            raise ValueError(f"fault {kind}: replies of this provider carry no index")
        self._active.append(Active(kind, **options))

    def clear(self) -> None:
        """Switch all faults off."""
        self._active.clear()

    def strike(self, *, probe: bool, unread: bool = False) -> Fault | None:
        """Return what this call meets; *unread* asks for the faults that read nothing."""
        for active in self._active:
            if (KINDS[active.kind].stage is Stage.READ) is unread:
                struck = active.strike(probe=probe)
                if struck is not None:
                    return struck
        return None

    def describe(self) -> list[dict[str, Any]]:
        """Return all active faults, for people."""
        return [active.describe() for active in self._active]
