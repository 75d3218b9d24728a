"""Scaleway: a wrong key is 403, an unknown model 422, and `encoding_format` is not supported.

Docs of 2025-09 call `dimensions` and `encoding_format` unsupported, the model catalogue of 2026-08
says otherwise for the first; both are left out unless the deployment says `base64: true`.
Source: scaleway/docs-content, understanding-errors and using-embeddings-api.
"""

from __future__ import annotations

from plugins._dialects.faults import FIELD, LENGTH, rule
from plugins._dialects.openai import EncodingField, OpenAI
from plugins._errors import Fault

__all__ = ["Scaleway"]


class Scaleway(OpenAI):
    """`{"error", "status", "message"}` for every refusal; resets as duration strings in headers."""

    name = "scaleway"
    encoding_field = EncodingField.ON_REQUEST
    table = (
        rule("422", FIELD, Fault.DIALECT, "field refused"),
        rule("422", LENGTH, Fault.TOO_LONG, "input or batch over the provider's limit"),
        rule("422", None, Fault.MODEL, "model unknown"),
        rule("504", LENGTH, Fault.TOO_LONG, "input too long to be processed in time"),
    )
