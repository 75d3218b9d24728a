"""The sandbox process: a port per provider, and one port to command them.

The control port speaks JSON: `POST /fault {"provider": "scaleway", "kind": "status"}`; what the
commands are is on `Commands`. `GET /` shows the state of everything.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import orjson

from . import tokens
from .emulators import ELSEWHERE, EMULATORS
from .http1 import Exchange, Listener, head
from .service import Service
from .standin import Mode
from .texts import Texts

__all__ = ["Commands", "Server"]


class Server:
    """All emulators of one sandbox, sharing what they know about texts."""

    def __init__(self, mode: Mode, providers: Sequence[str], seed: int = 0) -> None:
        unknown = sorted(set(providers) - set(EMULATORS))
        if unknown:
            raise ValueError(
                f"unknown provider {', '.join(unknown)}; known: {', '.join(sorted(EMULATORS))}"
            )
        self.mode = mode
        texts = Texts(mode, seed)
        made = [EMULATORS[name] for name in dict.fromkeys(providers or EMULATORS)]
        self.services = {
            service.name: service
            for service in (
                Service(emulator(), texts, self._elsewhere) for emulator in [*made, ELSEWHERE]
            )
        }
        self.control = Listener(Control(self))

    async def start(self) -> None:
        """Open all ports and load what the first request would have to wait for."""
        for service in self.services.values():
            await service.listener.open()
        await self.control.open()
        await asyncio.to_thread(self._warm_up)

    def ready(self) -> dict[str, Any]:
        """Return what a client of this process needs to know."""
        shown = [s for s in self.services.values() if s.name != ELSEWHERE.name]
        return {
            "control": f"http://127.0.0.1:{self.control.port}",
            "mode": self.mode,
            "bases": {service.name: service.base for service in shown},
            "keys": {service.name: service.key for service in shown},
        }

    def _elsewhere(self) -> str:
        return f"http://127.0.0.1:{self.services[ELSEWHERE.name].listener.port}"

    def _warm_up(self) -> None:
        tokens.count("")
        if self.mode == "e5":
            from . import e5

            e5.load()
            e5.project(e5.sentence_vectors(["warm up"]))


class Commands:
    """What the control port can be told; a method is a command, its parameters are JSON members."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def fault(self, provider: str, kind: str, **options: Any) -> None:
        """Switch a fault on; "refuse" is the same as `down`."""
        if kind == "refuse":
            if options:
                raise ValueError("fault refuse: has no options and no schedule")
            self._one(provider).listener.close()
        else:
            self._one(provider).faults.add(kind, **options)

    async def clear(self, provider: str | None = None) -> None:
        """Switch all faults off, those of one provider or of all, and open closed ports."""
        for service in self._some(provider):
            service.faults.clear()
            await service.listener.open()

    def down(self, provider: str) -> None:
        """Refuse connections and reset the open ones."""
        self._one(provider).listener.close()

    async def up(self, provider: str) -> None:
        """Accept connections again, on the same port."""
        await self._one(provider).listener.open()

    async def reset(self) -> None:
        """Clear all faults and journals. Settings stay."""
        await self.clear()
        for service in self._some(None):
            service.journal.clear()

    def configure(self, provider: str, **settings: Any) -> None:
        """Change limits or switches of a provider."""
        for name, value in settings.items():
            self._one(provider).set(name, value)

    def journal(self, provider: str, after: int = 0) -> list[dict[str, Any]]:
        """Return the requests that reached a provider."""
        return self._one(provider).journal.entries(int(after))

    def totals(self, provider: str) -> dict[str, int]:
        """Return calls and bills of a provider."""
        return self._one(provider).journal.totals()

    def state(self) -> dict[str, Any]:
        """Return the state of everything."""
        services = {name: service.state() for name, service in self._server.services.items()}
        return {"mode": self._server.mode, "pid": os.getpid(), "providers": services}

    def _one(self, provider: str) -> Service:
        service = self._server.services.get(provider)
        if service is None:
            known = ", ".join(sorted(self._server.services))
            raise ValueError(f"provider {provider!r} is not in this sandbox; there are: {known}")
        return service

    def _some(self, provider: str | None) -> list[Service]:
        everybody = list(self._server.services.values())
        return everybody if provider is None else [self._one(provider)]


class Control:
    """HTTP in front of `Commands`."""

    def __init__(self, server: Server) -> None:
        self._commands = Commands(server)

    def reads(self) -> bool:
        """Return True: the control port has no faults."""
        return True

    async def handle(self, exchange: Exchange) -> None:
        """Carry out one command and answer with its result or with what is wrong."""
        request = exchange.request
        name = request.path.strip("/") or "state"
        try:
            given = orjson.loads(request.body) if request.body else dict(parse_qsl(request.query))
            result = await self._run(name, given)
            status, answer = 200, {"result": result}
        except (TypeError, ValueError) as error:
            status, answer = 400, {"error": str(error)}
        body = orjson.dumps(answer)
        headers = {"content-type": "application/json", "content-length": str(len(body))}
        exchange.write(head(status, headers) + body)
        await exchange.drain()

    async def _run(self, name: str, given: Mapping[str, Any]) -> Any:
        command = None if name.startswith("_") else getattr(self._commands, name, None)
        if command is None:
            raise ValueError(f"unknown command {name!r}")
        result = command(**given)
        return await result if inspect.isawaitable(result) else result
