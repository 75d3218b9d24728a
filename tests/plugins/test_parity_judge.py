"""Whether an endpoint is of the space, and what is wrong with it if it is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins._errors import Fault, ProviderFault
from plugins._parity_judge import Count, Flaw, Terms, Verdict, find, judge
from plugins._parity_reference import Reference
from plugins._parity_result import Result
from plugins._parity_texts import PROBES
from plugins._vectors import Matrix
from tests.plugins.readings import (
    REFERENCE,
    ROWS,
    blurred,
    counts,
    reading,
    refused,
    rows,
)

TERMS = Terms()
OTHER = rows(seed=5)


def swapped(*names: str) -> dict[str, Matrix]:
    """Return the space's vectors, but those of *names* from another space."""
    return {**ROWS, **{name: OTHER[name] for name in names}}


def without(name: str) -> dict[str, Matrix]:
    return {other: row for other, row in ROWS.items() if other != name}


QUERIES = [name for name, probe in PROBES.items() if probe.query]


def test_the_space_itself_passes() -> None:
    verdict = judge(reading(), REFERENCE, TERMS)
    assert verdict.passed
    assert verdict.cosine == pytest.approx(1.0)
    assert verdict.card == pytest.approx(0.0, abs=1e-6)
    assert (verdict.tokens, verdict.norms, verdict.notes) == (0, (1.0, 1.0), ())


@pytest.mark.parametrize(
    ("made", "flaw", "words"),
    [
        (reading(vectors_=OTHER), Flaw.SPACE, "at least 0.99 is needed"),
        (reading(vectors_=OTHER, counts=counts(-1)), Flaw.END_TOKEN, "one token short"),
        (reading(vectors_=OTHER, counts=counts(1)), Flaw.SPACE, "at least 0.99"),
        (reading(vectors_=swapped(*QUERIES)), Flaw.PREFIX, "documents agree and queries do not"),
        (reading(vectors_=swapped(QUERIES[0])), Flaw.PREFIX, "documents agree"),
        (reading(vectors_=swapped(QUERIES[0], "russian")), Flaw.SPACE, "at least 0.99"),
        (reading(vectors_=blurred(0.97)), Flaw.NOISE, "cosine 0.970"),
        (reading(vectors_=blurred(0.5)), Flaw.SPACE, "cosine 0.500"),
        (reading(vectors_=without("import"), faults={"import": refused()}), Flaw.NAN, "fp16"),
        (reading(vectors_=swapped("import")), Flaw.NAN, "import"),
        (reading(vectors_=swapped("long")), Flaw.CUT, "the short ones agree"),
        (
            reading(counts={**counts(), "long": Count(512, 4764, 1, 18_000)}),
            Flaw.CUT,
            "512 of 4,764 tokens",
        ),
        (reading(again=OTHER["russian"]), Flaw.UNSTEADY, "alone and in company"),
        (reading(vectors_={}, again=None, faults={"short": refused()}), Flaw.CORRUPT, "NaN"),
    ],
)
def test_each_flaw_has_its_name(made: object, flaw: Flaw, words: str) -> None:
    verdict = judge(made, REFERENCE, TERMS)  # type: ignore[arg-type]
    assert (verdict.flaw, verdict.passed) == (flaw, False)
    assert words in verdict.reason


@pytest.mark.parametrize(
    ("cosine", "needed", "passes"),
    [(0.995, 0.99, True), (0.97, 0.99, False), (0.97, 0.96, True), (0.995, 0.999, False)],
)
def test_noise_is_judged_as_configured(cosine: float, needed: float, passes: bool) -> None:
    verdict = judge(reading(vectors_=blurred(cosine)), REFERENCE, Terms(needed))
    assert verdict.passed is passes
    assert verdict.cosine == pytest.approx(cosine, abs=1e-5)
    assert passes or verdict.flaw is Flaw.NOISE


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"counts": counts(-1)}, "does not count the end token"),
        (
            {"counts": {call: replace(one, reported=None) for call, one in counts().items()}},
            "reports no tokens",
        ),
        (
            {
                "counts": {
                    call: replace(one, reported=one.characters) for call, one in counts().items()
                }
            },
            "counts characters, not tokens",
        ),
        (
            {
                "faults": {"long": ProviderFault(Fault.TIMEOUT, "late")},
                "rows": without("long"),
            },
            "the long text was not answered (timeout)",
        ),
    ],
)
def test_what_does_not_change_a_vector_is_only_noted(changes: dict[str, object], note: str) -> None:
    verdict = judge(reading(**changes), REFERENCE, TERMS)  # type: ignore[arg-type]
    assert verdict.passed
    assert verdict.notes == (note,)


def test_without_a_reference_the_model_card_decides() -> None:
    assert judge(reading(), None, TERMS).passed
    verdict = judge(reading(vectors_=OTHER), None, TERMS)
    assert verdict.flaw is Flaw.SPACE
    assert "the model card's similarities are off by 0.7" in verdict.reason
    short = judge(reading(vectors_=OTHER, counts=counts(-1)), None, TERMS)
    assert short.flaw is Flaw.END_TOKEN


@pytest.mark.parametrize(
    ("changes", "gap"),
    [
        ({"unasked": "budget a has no room"}, "budget a has no room"),
        ({"faults": {"short": ProviderFault(Fault.CONNECT, "x")}}, "no answer (connect)"),
        ({"faults": {"import": ProviderFault(Fault.RATE, "x")}}, "no answer (rate)"),
        ({"faults": {"long": ProviderFault(Fault.RATE, "x")}}, None),
        ({"faults": {"import": refused()}}, None),
    ],
)
def test_who_did_not_answer_is_not_judged(changes: dict[str, object], gap: str | None) -> None:
    assert reading(**changes).gap == gap  # type: ignore[arg-type]


# -- the space found among themselves


def test_those_that_agree_and_pass_the_card_are_the_space() -> None:
    # A rotation keeps every cosine, the card's too; only the others tell that it is another space.
    turned = {name: np.roll(row, 1) for name, row in ROWS.items()}
    three = [reading("a", turned), reading("b"), reading("c", blurred(0.998))]
    found = find(three, TERMS)
    assert found is not None
    assert (found.reference.source, found.warning) == ("b", None)
    verdicts = [judge(one, found.reference, TERMS) for one in three]
    assert [one.flaw for one in verdicts] == [Flaw.SPACE, None, None]


def test_the_reference_is_in_the_middle_of_the_space() -> None:
    three = [reading("a", blurred(0.995)), reading("b"), reading("c")]
    found = find(three, TERMS)
    assert found is not None
    assert found.reference.source == "b"


def test_of_two_halves_the_earlier_is_taken_with_a_warning() -> None:
    turned = {name: np.roll(row, 1) for name, row in ROWS.items()}
    found = find([reading("a", turned), reading("b")], TERMS)
    assert found is not None
    assert found.reference.source == "a"
    assert found.warning is not None
    assert "a and b both pass the model card's check and do not agree" in found.warning


@pytest.mark.parametrize(
    "unfit",
    [
        reading("x", OTHER),
        reading("x", without("import"), faults={"import": refused()}),
        reading("x", counts={**counts(), "long": Count(512, 4764, 1, 18_000)}),
        reading("x", again=OTHER["russian"]),
        reading("x", unasked="no money"),
    ],
)
def test_who_is_not_sound_founds_no_space(unfit: object) -> None:
    assert find([unfit], TERMS) is None  # type: ignore[list-item]
    found = find([unfit, unfit, reading("b")], TERMS)  # type: ignore[list-item]
    assert found is not None
    assert found.reference.source == "b"


def test_a_text_that_the_first_did_not_read_comes_from_another_of_the_space() -> None:
    found = find([reading("a", without("long")), reading("b")], TERMS)
    assert found is not None
    assert found.reference.source == "a"
    assert set(found.reference.rows) == set(PROBES)


@given(
    spaces=st.lists(st.sampled_from(["card", "turned", "other", "blurred"]), max_size=7),
    needed=st.sampled_from([0.96, 0.99]),
)
def test_the_space_found_is_of_the_largest_part_and_proves_all_of_it(
    spaces: list[str], needed: float
) -> None:
    kinds = {
        "card": ROWS,
        "turned": {name: np.roll(row, 1) for name, row in ROWS.items()},
        "other": OTHER,
        "blurred": blurred(0.998),
    }
    made = [reading(str(i), kinds[kind]) for i, kind in enumerate(spaces)]
    found = find(made, Terms(needed))
    own = sum(kind in ("card", "blurred") for kind in spaces)
    turned = spaces.count("turned")
    if own == turned == 0:
        assert found is None
        return
    assert found is not None
    source = spaces[int(found.reference.source)]
    assert (source == "turned") == (
        turned > own or (turned == own and spaces.index("turned") == int(found.reference.source))
    )
    assert (found.warning is not None) == (turned == own)
    passed = {
        kind: judge(one, found.reference, Terms(needed)).passed
        for kind, one in zip(spaces, made, strict=True)
    }
    assert passed.get("other", False) is False
    assert all(passed[kind] == (kind == "turned") for kind in passed if source == "turned")
    assert all(
        passed[kind] == (kind in ("card", "blurred")) for kind in passed if source != "turned"
    )


# -- what is kept


VERDICT = Verdict(Flaw.NOISE, "cosine 0.970", 0.97, 0.04, -3, (0.999, 1.001), ("a", "b"))
RESULT = Result("key", "one", 1000.0, "me", {"space": VERDICT}, 990.0)


def test_a_result_survives_its_note() -> None:
    assert Result.from_json(RESULT.to_json()) == RESULT
    assert RESULT.shifted(5).shifted(-5) == RESULT


@pytest.mark.parametrize(
    "note", [b"", b"[]", b"{}", b'{"verdicts": {"a": {}}}', b'{"verdicts": 1}']
)
def test_a_note_of_another_release_is_no_result(note: bytes) -> None:
    assert Result.from_json(note) is None


def test_when_an_endpoint_is_asked_again() -> None:
    fine = replace(RESULT, verdicts={"space": replace(VERDICT, flaw=None)})
    assert fine.next_at(86_400) == 1000 + 86_400
    assert RESULT.next_at(86_400) == 1000 + 3600
    assert RESULT.next_at(60) == 1000 + 60
    waits = [replace(fine, gap="x", tries=n).next_at(86_400) - 1000 for n in range(1, 11)]
    assert waits == [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]


def test_a_reference_without_a_text_holds_nobody_against_it() -> None:
    reference = Reference(without("long"))
    assert judge(reading(vectors_=swapped("long")), reference, TERMS).passed
