"""Novita: 403 is a refused key, a missing identity check or an empty account; 504 means load.

Source: novita.ai docs guides/error; `NOT_ENOUGH_BALANCE` with 403 was seen by users.
"""

from __future__ import annotations

from plugins._dialects.faults import rule
from plugins._dialects.openai import OpenAI
from plugins._errors import Fault

__all__ = ["Novita"]


class Novita(OpenAI):
    """The documented body has `encoding_format` but not `dimensions`."""

    name = "novita"
    table = (rule("504", None, Fault.OVERLOAD, "overloaded"),)
