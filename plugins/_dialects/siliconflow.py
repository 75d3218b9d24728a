"""SiliconFlow (.com and .cn): own numeric codes, an empty account is 403, a full batch 413.

`encoding_format` is documented for .cn only, so it is sent only where the deployment says base64.
Codes seen in public logs: 20012 model or parameter, 20042 batch size, 30001 balance, 30003 model
disabled, 50505 overloaded; 20015 is any bad parameter, a too long input too, often with no more
than "The parameter is invalid", so only its text decides. Source: docs.siliconflow.com error codes
and create-embeddings, api-docs.siliconflow.cn embeddings-post.
"""

from __future__ import annotations

from plugins._dialects.faults import rule
from plugins._dialects.openai import EncodingField, OpenAI
from plugins._errors import Fault

__all__ = ["SiliconFlow"]


class SiliconFlow(OpenAI):
    """`{"code", "message", "data": null}`, a bare JSON string, or plain text for a refusal."""

    name = "siliconflow"
    encoding_field = EncodingField.ON_REQUEST
    table = (
        rule("400 401 403", r"(?<!\d)30001(?!\d)", Fault.PAYMENT, "out of credit"),
        rule("400 403", r"(?<!\d)30003(?!\d)|model disabled", Fault.MODEL, "model disabled"),
        rule("504", None, Fault.OVERLOAD, "overloaded"),  # 503 and 504 both mean load here
    )
