"""Does an endpoint serve vectors of the space, and if not, what is wrong with it?

Pure. A `Reading` is what one endpoint answered to the probe texts; it is held against a `Reference`
(recorded, or found among the readings themselves), against the model card's own similarities, and
against our token counts, which tell apart what looks alike in the vectors.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from plugins._errors import Fault, ProviderFault
from plugins._parity_reference import Reference
from plugins._parity_texts import AGAIN, CALLS, CARD, CARD_NAMES, PROBES
from plugins._vectors import Matrix

__all__ = ["Count", "Flaw", "Found", "Reading", "Terms", "Verdict", "find", "judge"]

# Another space shows near 0 or, between models of one family, far below; what was rounded more than
# it should be stays above this.
_NEAR = 0.9
# A tokenizer of another version is off by one in hundreds; a cut takes more than this away.
_CUT = 0.95


class Flaw(enum.StrEnum):
    """What is wrong, in the words that logs and tables use."""

    SPACE = "wrong space"
    PREFIX = "wrong prefix order"
    END_TOKEN = "missing end token"  # no password
    NAN = "NaN"
    CUT = "truncation"
    NOISE = "noisy"
    UNSTEADY = "not deterministic"
    CORRUPT = "corrupt reply"


@dataclass(frozen=True, slots=True)
class Terms:
    """From which cosine on two vectors agree, and how far off the card's similarities may be."""

    cosine: float = 0.99
    tolerance: float = 0.02


@dataclass(frozen=True, slots=True)
class Count:
    """The tokens of one call: what the endpoint says (None: nothing) and what we count."""

    reported: int | None
    ours: int
    inputs: int
    characters: int

    @property
    def is_of_characters(self) -> bool:
        """Tell whether the count is of characters, as Infinity's."""
        off = abs((self.reported or 0) - self.characters)
        return self.reported != self.ours and off <= max(self.inputs, self.characters // 50)

    @property
    def difference(self) -> int | None:
        """Return reported less ours, or None where tokens are not counted."""
        if not self.reported or self.is_of_characters:
            return None
        return self.reported - self.ours


@dataclass(frozen=True, slots=True)
class Reading:
    """What one endpoint answered, by the names of probe texts and of `CALLS`.

    *rows* are unit vectors, float32; *again* is the second one of the text that is sent twice.
    *norms* are the least and the greatest length as they came. *unasked* says why the endpoint
    could not be asked; it and *faults* leave gaps.
    """

    key: str
    deployment: str
    rows: Mapping[str, Matrix] = field(default_factory=dict)
    again: Matrix | None = None
    norms: tuple[float, float] | None = None
    counts: Mapping[str, Count] = field(default_factory=dict)
    faults: Mapping[str, ProviderFault] = field(default_factory=dict)
    unasked: str | None = None
    cost_nano_usd: int = 0

    @property
    def gap(self) -> str | None:
        """Return why nothing can be said of the endpoint, or None if it can be judged."""
        if self.unasked is not None:
            return self.unasked
        for call in ("short", "import"):
            fault = self.faults.get(call)
            if fault is not None and fault.fault is not Fault.CORRUPT:
                return f"no answer ({fault.fault})"
        return None


@dataclass(frozen=True, slots=True)
class Verdict:
    """*flaw* is None for an endpoint that serves the space.

    *cosine* is the least one to the reference, *card* the greatest distance from the model card's
    similarities, *tokens* the sum of the differences in counts; None is not known.
    """

    flaw: Flaw | None
    reason: str
    cosine: float | None = None
    card: float | None = None
    tokens: int | None = None
    norms: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Tell whether the endpoint serves the space."""
        return self.flaw is None


@dataclass(frozen=True, slots=True)
class Found:
    """A reference found among the endpoints themselves; *warning* if they were divided equally."""

    reference: Reference
    warning: str | None = None


def judge(reading: Reading, reference: Reference | None, terms: Terms) -> Verdict:
    """Return whether *reading*, which has no gap, is of the space of *reference*.

    Without a reference nobody has passed the model card's check; then *reading* is told how far off
    it is.
    """
    cosines = {
        name: _dot(row, reference.rows[name])
        for name, row in reading.rows.items()
        if reference is not None and name in reference.rows
    }
    flaw, reason = _flaw(reading, cosines, terms)
    differences = [one.difference for one in reading.counts.values()]
    known = [one for one in differences if one is not None]
    return Verdict(
        flaw,
        reason,
        cosine=min(cosines.values(), default=None),
        card=_off_card(reading),
        tokens=sum(known) if known else None,
        norms=reading.norms,
        notes=tuple(_notes(reading)),
    )


def find(readings: Sequence[Reading], terms: Terms) -> Found | None:
    """Return the space that *readings*, in the order of their deployments, show by themselves.

    Those that pass the model card's check and agree with each other are the space; of two equally
    large parts the one with the earliest deployment. None if nobody passes.
    """
    sound = [one for one in readings if one.gap is None and _is_sound(one, terms)]
    circles = [[other for other in sound if _agree(one, other, terms)] for one in sound]
    if not circles:
        return None
    most = max(map(len, circles))
    first = next(circle for circle in circles if len(circle) == most)
    equals = [one for one, circle in zip(sound, circles, strict=True) if len(circle) == most]
    centre = _middle([one for one in equals if _agree(one, equals[0], terms)], first)
    rows: dict[str, Matrix] = {}
    for one in (centre, *first):
        for name, row in one.rows.items():
            rows.setdefault(name, row)
    rivals = [one for one in equals if not _agree(one, equals[0], terms)]
    warning = None
    if rivals:
        warning = (
            f"{equals[0].deployment} and {rivals[0].deployment} both pass the model card's check "
            f"and do not agree; {equals[0].deployment} is tried earlier, so its space is taken. "
            "Record a reference to decide it"
        )
    return Found(Reference(rows, source=centre.deployment), warning)


def _flaw(reading: Reading, cosines: Mapping[str, float], terms: Terms) -> tuple[Flaw | None, str]:
    """Return what is wrong and how it shows; the first of these that fits."""
    if "short" in reading.faults:
        return Flaw.CORRUPT, f"its vectors cannot be used: {reading.faults['short'].detail}"
    steady = _steadiness(reading)
    if steady is not None and steady < terms.cosine:
        return Flaw.UNSTEADY, f"the same text alone and in company: cosine {steady:.3f}"
    short = {name: cosines[name] for name in CALLS["short"] if name in cosines}
    low = [name for name, cosine in short.items() if cosine < terms.cosine]
    off = _off_card(reading)
    if low or (not short and off is not None and off > terms.tolerance):
        return _space_flaw(reading, short, low, off, terms)
    if "import" in reading.faults:
        detail = reading.faults["import"].detail
        return Flaw.NAN, f'a text that begins with "import" fails ({detail}); fp16 does this'
    if cosines.get("import", 1.0) < terms.cosine:
        return Flaw.NAN, f'a text that begins with "import": cosine {cosines["import"]:.3f}'
    count = reading.counts.get("long")
    if count is not None and _is_cut(count):
        return Flaw.CUT, f"{count.reported:,} of {count.ours:,} tokens of a long text were read"
    if cosines.get("long", 1.0) < terms.cosine:
        return Flaw.CUT, f"a long text: cosine {cosines['long']:.3f}, the short ones agree"
    return None, "in the space"


def _space_flaw(
    reading: Reading,
    short: Mapping[str, float],
    low: Sequence[str],
    off: float | None,
    terms: Terms,
) -> tuple[Flaw, str]:
    if low:
        shown = f"cosine {min(short.values()):.3f}, at least {terms.cosine:g} is needed"
    else:
        shown = f"the model card's similarities are off by {off:.3f}"
    counts = [one for one in reading.counts.values() if one.difference is not None]
    if counts and all(one.difference == -one.inputs for one in counts):
        return Flaw.END_TOKEN, f"every text is one token short; {shown}"
    queries = [name for name in short if PROBES[name].query]
    if low and set(low) <= set(queries):
        return Flaw.PREFIX, f"documents agree and queries do not: {shown}"
    if low and min(short.values()) >= _NEAR:
        return Flaw.NOISE, shown
    return Flaw.SPACE, shown


def _is_sound(reading: Reading, terms: Terms) -> bool:
    off = _off_card(reading)
    if off is None or off > terms.tolerance:
        return False
    return _flaw(reading, {}, terms)[0] is None


def _agree(one: Reading, other: Reading, terms: Terms) -> bool:
    common = one.rows.keys() & other.rows.keys()
    return all(_dot(one.rows[name], other.rows[name]) >= terms.cosine for name in common)


def _middle(candidates: Sequence[Reading], circle: Sequence[Reading]) -> Reading:
    """Return the one of *candidates* that is nearest to all of *circle*, of equals the first."""

    def nearness(one: Reading) -> float:
        cosines = [
            _dot(row, other.rows[name])
            for other in circle
            for name, row in one.rows.items()
            if name in other.rows
        ]
        return round(sum(cosines) / len(cosines), 6)

    return max(candidates, key=nearness)


def _off_card(reading: Reading) -> float | None:
    queries, documents = CARD_NAMES
    if not {*queries, *documents} <= reading.rows.keys():
        return None
    return max(
        abs(_dot(reading.rows[query], reading.rows[document]) - published)
        for query, line in zip(queries, CARD, strict=True)
        for document, published in zip(documents, line, strict=True)
    )


def _steadiness(reading: Reading) -> float | None:
    if reading.again is None or AGAIN not in reading.rows:
        return None
    return _dot(reading.again, reading.rows[AGAIN])


def _is_cut(count: Count) -> bool:
    return count.difference is not None and (count.reported or 0) < _CUT * count.ours


def _notes(reading: Reading) -> list[str]:
    """Return what is odd and does not matter for the vectors."""
    notes = []
    counts = [one for one in reading.counts.values() if one.reported]
    known = [one for one in counts if one.difference is not None]
    if reading.counts and not counts:
        notes.append("reports no tokens")
    if any(one.is_of_characters for one in counts):
        notes.append("counts characters, not tokens")
    elif known and all(one.difference == -one.inputs for one in known):
        notes.append("does not count the end token")
    for call in ("long", "again"):
        if call in reading.faults:
            notes.append(f"the {call} text was not answered ({reading.faults[call].fault})")
    return notes


def _dot(one: Matrix, other: Matrix) -> float:
    return float(np.dot(one.astype(np.float64), other.astype(np.float64)))
