"""Recorded replies and expected requests as files: how they are written and read.

`NAME.http` is a reply: `# option: value` lines, status line, headers, empty line, body.
`NAME.expected` is what the dialect makes of it. Long vectors are written as `<<floats 1>>`: 4096
numbers of length 1 made from the seed 1; also `<<floats 1 of 1024>>`, `<<base64 1>>`,
`<<base64 1 of 1024>>`, `<<base64 1 as float64>>`, `<<base64 1 as big-endian>>`, `<<nulls>>`,
`<<nan 1>>`. Options: `n`, `base64`, `usage_counts`, `now` (seconds since 1970).

`NAME.target` is a target (`key: value`, options as JSON) and `NAME.request` the request for the
texts of `TEXTS`.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from plugins._dialects import Dialect, Target, WireReply, WireRequest
from plugins._errors import ProviderFault

FOLDER = Path(__file__).with_name("dialects")
TEXTS = ["Какая столица Китая?", "import os\nprint('😀')", '中文 "quotes" \\ and \x00 NUL']

KEY = "sk-Secret-0123456789abcdef"
NOON = 1795521600.0  # Tue, 24 Nov 2026 12:00:00 GMT

_MADE = re.compile(rb"<<(floats|base64|nulls|nan)(?: (\d+))?(?: of (\d+))?(?: as ([a-z0-9-]+))?>>")


def unit_vector(seed: int, length: int = 4096) -> npt.NDArray[np.float32]:
    """Return *length* numbers of a vector of length 1."""
    numbers = np.random.default_rng(seed).standard_normal(length)
    return (numbers / np.linalg.norm(numbers)).astype(np.float32)


def fill(body: bytes) -> bytes:
    """Return *body* with every `<<…>>` made."""
    return _MADE.sub(_make, body)


def _make(match: re.Match[bytes]) -> bytes:
    kind, seed, length, form = match.groups()
    if kind == b"nulls":
        return b"[" + b",".join([b"null"] * 4096) + b"]"
    vector = unit_vector(int(seed), int(length or 4096))
    if kind == b"base64":
        kinds = {None: "<f4", b"float64": "<f8", b"big-endian": ">f4"}
        return b'"' + base64.b64encode(vector.astype(kinds[form]).tobytes()) + b'"'
    digits = [repr(float(x)) for x in vector]
    if kind == b"nan":
        digits[7] = "NaN"
    return ("[" + ",".join(digits) + "]").encode()


@dataclass(frozen=True)
class Recorded:
    """A reply as it came over the wire, and how it was asked for."""

    options: dict[str, str]
    status: int
    headers: dict[str, str]
    body: bytes


def read_http(path: Path) -> Recorded:
    """Return the reply recorded in *path*."""
    head, _, body = path.read_bytes().partition(b"\n\n")
    lines = head.decode().split("\n")
    options: dict[str, str] = {}
    while lines[0].startswith("#"):
        name, _, value = lines.pop(0)[1:].partition(":")
        options[name.strip()] = value.strip()
    status = int(lines.pop(0).split()[1])
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return Recorded(options, status, headers, fill(body.rstrip(b"\n")))


def show_fault(fault: ProviderFault) -> str:
    """Return *fault* as an `.expected` file says it."""
    wait = "none" if fault.retry_after_s is None else f"{fault.retry_after_s:g}"
    return f"fault: {fault.fault}\ndetail: {fault.detail}\nretry_after_s: {wait}\n"


def show_reply(reply: WireReply) -> str:
    """Return *reply* as an `.expected` file says it; rows by the seeds 1…9 they were made from."""
    made = {unit_vector(seed).tobytes(): str(seed) for seed in range(1, 10)}
    seeds = " ".join(made.get(row.tobytes(), "unknown") for row in reply.vectors)
    tokens = "none" if reply.prompt_tokens is None else reply.prompt_tokens
    cost = "none" if reply.cost_usd is None else reply.cost_usd
    return f"vectors: {seeds}\nprompt_tokens: {tokens}\ncost_usd: {cost}\n"


def show_request(request: WireRequest) -> str:
    """Return *request* as a `.request` file says it: without our version and the texts."""
    headers = "".join(f"{name}: {request.headers[name]}\n" for name in sorted(request.headers))
    headers = re.sub(r"(qwen3-embedding-router/)\S+", r"\1VERSION", headers)
    body = json.dumps({**json.loads(request.body), "input": "TEXTS"}, indent=2)
    return f"POST {request.url}\n{headers}\n{body}\n"


def target(speak: Dialect, **more: Any) -> Target:
    """Return a target for *speak*, with *more* of its fields set."""
    said: dict[str, Any] = {"api_base": "https://p.example/v1", "api_key": KEY, **more}
    return Target(provider=speak.name, wire_model="the-model", **said)


def body_of(speak: Dialect, *vectors: str) -> bytes:
    """Return the body of a 200 with *vectors* (JSON or `<<…>>`) in the shape of the dialect."""
    if speak.name == "ollama":
        text = f'{{"model":"m","embeddings":[{",".join(vectors)}],"prompt_eval_count":9}}'
    else:
        items = (f'{{"index":{i},"embedding":{v}}}' for i, v in enumerate(vectors))
        text = f'{{"data":[{",".join(items)}],"usage":{{"prompt_tokens":9}}}}'
    return fill(text.encode())
