"""Problems as text, JSON and GitHub annotations."""

from __future__ import annotations

import json

from router_config import Problem
from router_config.outputs import as_github, as_json, as_text

ERROR = Problem("a,b.yaml", 2, 5, "x.y", "100% wrong", "do:\nthis")
WARNING = Problem("c.yaml", 1, 1, "", "odd", "look", "warning")


def test_text_is_one_line_each_and_marks_warnings() -> None:
    assert as_text([ERROR, WARNING]) == (
        "a,b.yaml:2:5: x.y: 100% wrong; do:\nthis\nc.yaml:1:1: warning: odd; look\n"
    )


def test_json_counts_and_lists_everything() -> None:
    content = json.loads(as_json([ERROR, WARNING]))
    assert (content["errors"], content["warnings"]) == (1, 1)
    assert content["problems"][1] == {
        "file": "c.yaml",
        "line": 1,
        "column": 1,
        "path": "",
        "what": "odd",
        "fix": "look",
        "severity": "warning",
    }


def test_github_annotations_are_escaped() -> None:
    assert as_github([ERROR, WARNING]) == (
        "::error file=a%2Cb.yaml,line=2,col=5::x.y: 100%25 wrong; do:%0Athis\n"
        "::warning file=c.yaml,line=1,col=1::odd; look\n"
    )


def test_no_problem_is_no_text() -> None:
    assert (as_text([]), as_github([])) == ("", "")
    assert json.loads(as_json([])) == {"errors": 0, "warnings": 0, "problems": []}
