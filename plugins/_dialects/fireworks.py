"""Fireworks: a closed request schema without `encoding_format`, and 412 for a suspended account.

Source: docs.fireworks.ai create-embeddings (`additionalProperties: false`), inference error codes.
"""

from __future__ import annotations

from plugins._dialects.faults import rule
from plugins._dialects.openai import EncodingField, OpenAI
from plugins._errors import Fault

__all__ = ["Fireworks"]


class Fireworks(OpenAI):
    """`normalize` defaults to false, so the catalogue says that vectors are not of length 1."""

    name = "fireworks"
    encoding_field = EncodingField.REFUSED
    table = (rule("412", None, Fault.PAYMENT, "account suspended"),)
