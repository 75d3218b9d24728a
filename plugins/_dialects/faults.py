"""From an HTTP status and an error text to the class of a fault, by one table per dialect.

A table is read from the top and the first rule that fits decides; a dialect's own rules stand
before the common ones. Where the evidence is thin the milder class is chosen:

- AUTH, PAYMENT, MODEL and DIALECT put an endpoint out after the second time, until an operator acts
  or an hourly probe succeeds, so they need a status or a text that says so.
- An unknown 400 or 422 is SERVER, not DIALECT. It may be about our fields, but as well about this
  one text (a moderation filter, a character the server cannot take, Ollama's crashed runner, which
  it reports as 400). SERVER puts an endpoint out only after three in a row and for ten seconds, so
  one client with one odd text cannot take every provider from all others.
- A 403 as an HTML page of a known firewall is SERVER too: such walls look at the body, so the
  client's text may be the cause. An API that refuses a key answers JSON.
- 404, 405 and 410 do not depend on the text: the path or the model is wrong, both of which are
  configuration, so MODEL.
- 429 is PAYMENT only if the text says that money is gone ("insufficient_quota"): many 429 texts
  advertise credits or a payment method that would raise the limit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from plugins._dialects.refusal import NAMED_FIELDS, Refusal
from plugins._dialects.retry_after import retry_after_s
from plugins._errors import Fault, ProviderFault

__all__ = [
    "COMMON",
    "FIELD",
    "LENGTH",
    "MODEL",
    "MONEY",
    "Rule",
    "classify",
    "rule",
]

MONEY = (
    r"(?<![a-z])(balance|credits?|payment|suspended|suspension|billing|arrears|overdue"
    r"|insufficient[ _](funds|quota)|spend(ing)? limit)(?![a-z])|余额|欠费"
)
FIELD = (
    r"(?<![a-z])(encoding_format|dimensions?|matryoshka|num_ctx|num_batch|keep_alive|normalize)"
    r"(?![a-z])"
)
LENGTH = (
    r"context (length|window|size)|context_length|context_size"
    r"|too[ _](long|large)|too many (inputs?|tokens|texts|items)"
    r"|batch[ _]size|physical batch"
    r"|(maximum|max)[ _](context|input|sequence|prompt|model|batch)[ _](length|size|tokens?)"
    r"|(less|fewer|more|longer|greater) than (or equal to )?\d+ (tokens|inputs|items|characters)"
    r"|at most \d+ (tokens|inputs|items|characters)|max_items"
    r"|(must|should|can) have (less|fewer|at most)[^|]{0,40}tokens"
    r"|reduce the length|exceeds? the (maximum|max|limit of)"
    r"|tokens?[^|]{0,40}(exceed|limit)|exceed[^|]{0,60}tokens?|length of prompt_tokens"
)
MODEL = (
    r"model[^|]{0,120}(not found|not exist|not available|unavailable|not deployed|not supported"
    r"|disabled|unknown|deprecated)|(unknown|invalid|unsupported|no such) model|model_not_found"
    r"|no endpoints? found|not support embeddings?"
)
_UNSUPPORTED = (
    r"(extra (inputs|fields)|additional propert|unexpected (keyword|field|parameter|argument)"
    r"|(unknown|unrecogni[sz]ed|unsupported|invalid) (request )?(field|parameter|argument|key))"
)
_NO_MONEY_429 = r"insufficient[ _](quota|balance|credits?|funds)|not[ _]enough[ _]balance|余额"
_BAD_KEY = (
    r"(invalid|incorrect|missing|expired|revoked) api[ _-]?key"
    r"|api[ _-]?key (is |was )?(not valid|invalid|expired|missing|revoked)"
)
_FIREWALL = r"cloudflare|cf-ray|akamai|incapsula|captcha|firewall|request blocked|been blocked"


@dataclass(frozen=True)
class Rule:
    """If *statuses* (None: any) and *pattern* (None: any text) fit, the fault is *fault*.

    *why* is our own half sentence for the log; *html* limits the rule to HTML pages.
    """

    statuses: frozenset[int] | None
    pattern: re.Pattern[str] | None
    fault: Fault
    why: str
    html: bool = False

    def fits(self, status: int, refusal: Refusal) -> bool:
        """Return whether this rule decides. A page's prose is not an API's answer: no pattern."""
        if self.statuses is not None and status not in self.statuses:
            return False
        if self.html != refusal.html and (self.html or self.pattern is not None):
            return False
        return self.pattern is None or self.pattern.search(refusal.text) is not None


def rule(statuses: str, pattern: str | None, fault: Fault, why: str, *, html: bool = False) -> Rule:
    """Return a rule; *statuses* is like "400 422", "5xx" or "*"."""
    codes: set[int] = set()
    for word in statuses.split():
        if word.endswith("xx"):
            codes.update(range(int(word[0]) * 100, int(word[0]) * 100 + 100))
        elif word != "*":
            codes.add(int(word))
    compiled = None if pattern is None else re.compile(pattern)
    return Rule(frozenset(codes) if codes else None, compiled, fault, why, html)


COMMON: tuple[Rule, ...] = (
    rule("3xx", None, Fault.SERVER, "redirect refused"),
    rule("402", None, Fault.PAYMENT, "out of credit"),
    rule("400 401 403 412 422", MONEY, Fault.PAYMENT, "out of credit or suspended"),
    rule("429", _NO_MONEY_429, Fault.PAYMENT, "out of credit"),
    rule("401", None, Fault.AUTH, "key refused"),
    rule("400", _BAD_KEY, Fault.AUTH, "key refused"),
    rule("403", _FIREWALL, Fault.SERVER, "blocked before it reached the API", html=True),
    rule("403", None, Fault.AUTH, "key or permission refused"),
    rule("404 405 410", None, Fault.MODEL, "model or path unknown"),
    rule("400 422", FIELD, Fault.DIALECT, "field refused"),
    rule("413", None, Fault.TOO_LONG, "input or batch over the provider's limit"),
    rule("400 422", LENGTH, Fault.TOO_LONG, "input or batch over the provider's limit"),
    rule("400 422 501", MODEL, Fault.MODEL, "model unknown or not for embeddings"),
    rule("400 422", _UNSUPPORTED, Fault.DIALECT, "field refused"),
    rule("406 415", None, Fault.DIALECT, "media type refused"),
    rule("408", None, Fault.OVERLOAD, "provider was too slow for itself"),
    rule("429", None, Fault.RATE, "rate limited"),
    rule("503 529", None, Fault.OVERLOAD, "overloaded"),
    rule("5xx", None, Fault.SERVER, "provider error"),
    rule("*", None, Fault.SERVER, "refused for a reason we do not know"),
)

_WAITS = frozenset({Fault.RATE, Fault.OVERLOAD, Fault.SERVER})


def classify(
    status: int,
    headers: Mapping[str, str],
    refusal: Refusal,
    table: Sequence[Rule],
    *,
    now_s: float | None,
    real_status: int | None = None,
    wait_s: float | None = None,
) -> ProviderFault:
    """Return the fault that *table* gives for *status* and *refusal*.

    *real_status* is the HTTP status where the decisive one stood in the body; *wait_s* is what the
    body asks us to wait.
    """
    decided = next((r for r in (*table, *COMMON) if r.fits(status, refusal)), COMMON[-1])
    fault, wait = decided.fault, None
    if fault in _WAITS:
        limited = fault is Fault.RATE
        wait = retry_after_s(headers, now_s=now_s, body_s=wait_s, rate_limited=limited)
        if status == 429 and wait is not None:
            fault = Fault.RATE  # a full queue that says when to come back is left alone as told
    real = status if real_status is None else real_status
    detail = f"HTTP {real}" if real == status else f"HTTP {real} with an error like {status}"
    if refusal.code is not None:
        detail += f" ({refusal.code})"
    detail += f": {decided.why}"
    field = refused_field(refusal) if fault is Fault.DIALECT else None
    if field is not None:
        detail += f": {field}"
    return ProviderFault(fault, detail, status=real, retry_after_s=wait)


def refused_field(refusal: Refusal) -> str | None:
    """Return which of our fields was refused, if the provider says so."""
    if refusal.field is not None:
        return refusal.field
    if re.search(r"matryoshka|dimension", refusal.text):
        return "dimensions"
    words = re.findall(r"[a-z_]+", refusal.text)
    return next((word for word in words if "_" in word and word in NAMED_FIELDS), None)
