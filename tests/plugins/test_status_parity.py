"""What the parity table says of an endpoint's last proof."""

from __future__ import annotations

from dataclasses import dataclass, field

from plugins._status_parity import parity_views
from tests.plugins.plans import candidate


@dataclass(frozen=True)
class Verdict:
    passed: bool
    reason: str = ""
    cosine: float | None = None


@dataclass(frozen=True)
class Proof:
    at: float = 5.0
    gap: str | None = None
    verdicts: dict[str, Verdict] = field(default_factory=dict)


POOL = {
    "g": (candidate("a", endpoint="e1"), candidate("b", endpoint="e2")),
    "h": (candidate("c", endpoint="e1"), candidate("d", endpoint="e3")),
}


def test_failed_stand_first_and_deployments_of_one_endpoint_together() -> None:
    rows = parity_views(
        {
            "e1": Proof(verdicts={"s": Verdict(True, cosine=0.999)}),
            "e2": Proof(gap="HTTP 500"),
            "e3": Proof(verdicts={"s": Verdict(False, "cosine 0.4", 0.4), "t": Verdict(True)}),
            "gone": Proof(),
        },
        POOL,
    )
    assert [one.deployments for one in rows] == [("d",), ("b",), ("a", "c")]
    assert [(one.passed, one.cosine, one.what) for one in rows] == [
        (False, 0.4, "cosine 0.4"),
        (None, None, "HTTP 500"),
        (True, 0.999, ""),
    ]


def test_a_gap_hides_no_verdict() -> None:
    (row,) = parity_views({"e2": Proof(gap="timeout", verdicts={"s": Verdict(True)})}, POOL)
    assert (row.passed, row.what) == (True, "timeout")
