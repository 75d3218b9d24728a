"""Who may import whom: one table for all modules, held against the source.

A new module needs a row, or a room whose pattern covers it. Names are relative to the package of
the table they stand in; those of the other package are written in full. `*` stands for anything,
and the longest row that fits a module is its row.
"""

from __future__ import annotations

import graphlib
import subprocess
import sys
from fnmatch import fnmatchcase

import pytest

from tests.imports import PACKAGES, ROOT, first_party, imports, modules

TABLE: dict[str, dict[str, str]] = {
    # Declares: reads files and judges them. Runs nothing.
    "router_config": {
        "": "catalogue config environment loader problems references",
        "__main__": "cli",
        "build": "catalogue config schema schema_observing sections shape yamltext",
        "catalogue": "facts problems yamltext",
        "config": "catalogue problems schema values",
        "editor": "rules.litellm_keys schema",
        "environment": "config values",
        "facts": "",
        "loader": "build catalogue config problems rules rules.unset shape yamltext",
        "outputs": "problems",
        "problems": "",
        "references": "",
        "schema": "catalogue schema_budget schema_gateway schema_health schema_observing sections"
        " values",
        "schema_budget": "sections values",
        "schema_gateway": "sections",
        "schema_health": "schema_budget sections values",
        "schema_observing": "sections values",
        "sections": "",
        "shape": "problems schema sections values",
        "values": "yamlnodes",
        "yamlnodes": "problems",
        "yamltext": "problems yamlnodes",
        # One rule, one module; none knows another.
        "rules": "rules.*",
        # What an alias leads to is built in one place, for the rules as for the router.
        "rules.aliases": "build config problems rules.subject schema",
        "rules.fallbacks": "build config problems rules.subject schema",
        # What tells recorded spaces apart is the same for the router.
        "rules.parity": "problems references rules.subject shape",
        "rules.*": "catalogue config environment problems rules.subject schema shape values",
        # Tooling, loaded command by command: may use everything, and nothing imports it.
        "cli": "",
        "cli.*": "*",
        # The router on a virtual clock, for one command.
        "simulation": "",
        "simulation.*": "*",
        # Stands in for the providers: shares no code with what it judges.
        "sandbox": "sandbox.*",
        "sandbox.*": "sandbox.*",
        "sandbox.emulators.*": "sandbox.emulators.base sandbox.http1 sandbox.texts sandbox.tokens",
    },
    # Runs. Of the declaring room it sees the public names only.
    "plugins": {
        "": "",
        # Public files: what LiteLLM loads.
        "budget": "_errors _exchange _lead _plain _pool _runtime",
        "gateway": "_asgi _door _errors _fast _foreign _lead _litellm _litellm_names _memory _plain"
        " _ready _routes _runtime _side _snapshot budget keys status router_config",
        "health": "_lead _runtime",
        "status": "_asgi _litellm _routes _runtime _status_style _status_words router_config",
        "keys": "_consumer _errors _foreign _keyring _lead _litellm _runtime router_config",
        "matryoshka": "_lead _litellm _plain _reply _runtime",
        "parity": "_lead _runtime",
        "provider": "_errors _exchange _lead _litellm _plan _pool _runtime",
        # How LiteLLM is led, and what a client meets first.
        "_consumer": "_admission _budgets _foreign _runtime",
        "_asgi": "",
        "_door": "_apart _asgi _door_body _door_reply _errors _exchange _inside _middlewares"
        " _request _runtime _snapshot",
        "_door_body": "_asgi _errors _gate",
        "_door_reply": "_asgi _errors _exchange _foreign",
        "_fast": "_asgi _consumer _errors _exchange _middlewares _plan _pool _reply _runtime _story"
        " router_config",
        "_inside": "_asgi",
        "_middlewares": "_asgi",
        "_listeners": "",
        "_side": "_asgi _fast _listeners _litellm _litellm_names _litellm_request _middlewares"
        " _plan _pool _runtime",
        "_foreign": "_errors",
        "_lead": "_admission _consumer _errors _exchange _litellm_request _runtime _story",
        "_litellm": "_inside _litellm_names _middlewares",
        "_litellm_names": "",
        "_litellm_request": "_asgi",
        "_story": "_pool",
        "_ready": "_asgi _runtime",
        # The composition root.
        "_background": "",
        "_runtime": "_admission _attempt _attempt_log _background _budgets _errors _exchange"
        " _gate _health _health_rules _keyring _ledger _ledger_open _logs _money _names _notes"
        " _parity_reference _plan _pool _presence _readiness _reload _reload_words _renewal"
        " _request _round _shared _shared_open _sharing _slots _snapshot _steer _telling"
        " _together _wire router_config",
        # One request: asked, planned, picked, attempted, answered.
        "_admission": "_apart _errors _ledger _plan _pool _request _space _tokens router_config",
        "_attempt": "_apart _dialects _errors _ledger _pool _vectors",
        "_attempt_log": "_attempt _errors",
        "_exchange": "_admission _attempt _errors _gate _plan _request _snapshot _story",
        # Health: the machine, what a process knows, and what a request sees of it.
        "_cases": "_ejections _health_rules",
        "_ejections": "_errors _health_rules _said _standing _trials _voice _window",
        "_health": "_attempt _cases _ejections _errors _health_log _health_rules _panic _plan"
        " _pool _recent _said _standing",
        "_health_log": "_errors _standing",
        "_health_rules": "_standing router_config",
        "_panic": "_ejections _pool",
        "_recent": "",
        "_said": "_standing",
        "_standing": "",
        "_trials": "_errors _health_rules _standing",
        "_voice": "_said _standing",
        "_window": "",
        "_keyring": "router_config",
        "_logs": "",
        "_log_writer": "",
        "_memory": "",
        "_observe": "_attempt _exchange _record",
        # What it tells about itself: records, counts, and what all workers have counted.
        "_board": "_apart _history _metrics _tally _workers",
        "_exposition": "_board _metrics",
        "_gauges": "_board _ledger _pool _standing",
        "_history": "_metrics _record",
        "_metrics": "",
        "_rooms": "_ledger _ledger_forecast _money",
        "_routes": "_asgi",
        "_tally": "_metrics _record",
        "_telling": "_apart _background _board _budgets _exchange _exposition _gauges _health"
        " _ledger _ledger_open _money _observe _reload _request_log _rooms _snapshot _standing"
        " _status_html _status_parity _status_view _status_words _workers",
        "_workers": "_state",
        # The status page: what is shown, in which words, and how it is written.
        "_status_budgets": "_status_markup _status_view _status_words",
        "_status_html": "_status_budgets _status_markup _status_style _status_tables _status_view"
        " _status_words",
        "_status_markup": "",
        "_status_parity": "_pool _status_view",
        "_status_style": "",
        "_status_tables": "_status_markup _status_view _status_words",
        "_status_view": "_history _ledger _ledger_forecast _pool _standing router_config",
        "_status_words": "",
        "_pick": "_pool",
        "_presence": "_attempt _errors _exchange",
        "_plain": "_attempt _attempt_log _dialects.retry_after _errors _exchange _plan _pool"
        " _vectors",
        "_plan": "_errors _ledger _pick _pool _request _vectors",
        "_pool": "_budgets _dialects _ledger router_config",
        "_reply": "_apart _plan _space _vectors",
        "_names": "_request router_config",
        "_request": "_errors _space",
        "_space": "_errors",
        "_record": "_attempt _errors _exchange",
        "_request_log": "_log_writer _record _state router_config",
        "_round": "_attempt _attempt_log _errors _plan _pool _slots _vectors",
        "_signals": "_dialects _errors _pool router_config",
        "_http1": "",
        "_http1_proxied": "_dialects _http1",
        "_wire": "_dialects _errors _http1 _http1_proxied _pool",
        # What need not be asked for again.
        "_cache": "",
        "_flights": "",
        "_sharing": "_cache _flights _plan _pool _standing router_config",
        # Whose turn it is.
        "_gate": "_errors _turns router_config",
        "_slots": "_errors _pool _turns",
        "_turns": "",
        # Money around a request, and the store that the config names.
        "_budgets": "_ledger _ledger_open router_config",
        "_alerts": "_ledger",
        "_money": "_alerts _attempt _errors _ledger _pool",
        "_readiness": "_budgets _ledger _ledger_open _pool _tokens router_config",
        "_reload": "router_config",
        "_reload_words": "_fleet _notes _reload _shared",
        "_renewal": "_readiness _snapshot router_config",
        "_snapshot": "_admission _errors _keyring _names _parity_reference _pool _readiness"
        " _request router_config",
        "_steer": "_exchange _plan _request",
        # Money: the contract, its arithmetic, and one store per group of modules.
        "_ledger": "_errors _ledger_time",
        "_ledger_apart": "_ledger _ledger_server",
        "_ledger_book": "_ledger _ledger_time",
        "_ledger_epochs": "",
        "_ledger_schema": "",
        "_ledger_file": "_ledger _ledger_mounts _ledger_schema",
        "_ledger_fitness": "",
        "_ledger_forecast": "_ledger",
        "_ledger_here": "_ledger _ledger_writer",
        "_ledger_journal": "_ledger _ledger_line _ledger_time _ledger_words",
        "_ledger_line": "_ledger _ledger_epochs _ledger_fitness",
        "_ledger_mounts": "",
        "_ledger_open": "_ledger _ledger_epochs _ledger_redis _ledger_sqlite _ledger_time _state"
        " router_config",
        "_ledger_redis": "_ledger _ledger_book _ledger_epochs _ledger_journal _ledger_line"
        " _ledger_time _ledger_words",
        "_ledger_sql": "_ledger _ledger_book _ledger_time",
        "_ledger_server": "_ledger _ledger_file _ledger_time _ledger_writer",
        "_ledger_sqlite": "_ledger _ledger_apart _ledger_file _ledger_here _ledger_time"
        " _ledger_upkeep _ledger_words _ledger_writer",
        "_ledger_time": "",
        "_ledger_upkeep": "_ledger _ledger_sql _ledger_time _ledger_words",
        "_ledger_words": "_ledger",
        "_ledger_writer": "_ledger _ledger_file _ledger_sql _ledger_upkeep _ledger_words",
        # What a fleet knows together, beside the ledger.
        "_fleet": "_health _notes _pool",
        "_notes": "_shared",
        "_probes": "_attempt _errors _health _ledger _notes _pool _signals _tokens",
        "_shared": "",
        "_shared_open": "_ledger_open _shared _shared_redis _shared_sqlite router_config",
        "_shared_redis": "_shared",
        "_shared_sqlite": "_shared",
        "_standings": "_health _notes _said",
        "_state": "",
        "_together": "_attempt _attempt_log _background _budgets _fleet _health _ledger_open _notes"
        " _pool _probes _proofs _snapshot _standings router_config",
        # Proof that all vectors are of one space.
        "_parity": "_attempt _health _ledger _notes _parity_ask _parity_bars _parity_judge"
        " _parity_reference _parity_result _parity_spaces _parity_texts _pool _snapshot",
        "_parity_bars": "_health _notes _parity_judge _parity_result _parity_spaces _shared"
        " _standing",
        "_parity_ask": "_attempt _dialects _errors _ledger _parity_judge _parity_texts _plan _pool"
        " _tokens _vectors",
        "_parity_judge": "_errors _parity_reference _parity_texts _vectors",
        "_parity_reference": "_parity_texts _readiness _vectors router_config",
        "_parity_result": "_parity_judge",
        "_parity_sample": "_errors _parity _plan _pool _vectors",
        "_parity_spaces": "_parity_judge _parity_reference _parity_texts _pool router_config",
        "_parity_texts": "",
        "_proofs": "_attempt _background _health _notes _parity _parity_sample _plan _snapshot",
        # Pure parts.
        "_dialects": "_dialects.*",
        "_dialects.*": "_dialects.* _errors _floats _vectors",
        "_apart": "",
        "_errors": "",
        "_tokens": "_vocabularies",
        "_vocabularies": "_nfc",
        "_nfc": "",
        "_floats": "_errors _vectors",
        "_vectors": "_errors _nfc",
    },
}

# Beside the public plugins, the only modules that may import LiteLLM at once; the CLI may inside
# functions, since `validate` must run without it.
LITELLM_AT_THE_EDGE = {
    "plugins._lead": "raises the exceptions that LiteLLM's Router understands",
    "plugins._litellm": "keeps all undocumented names of LiteLLM in one place",
    "plugins._litellm_request": "calls LiteLLM's endpoint; the names stand in _litellm too",
}

NETWORK = {"aiohttp", "asyncio", "ftplib", "http", "httpx", "requests", "smtplib", "socket"} | {
    "socketserver",
    "ssl",
    "urllib.request",
    "urllib3",
}

MAX_LINES = 350
# Modules that may be longer, each with the reason.
LONGER = {
    "router_config.sandbox.emulators.base": "the words of an exchange and the class speaking them"
}

MODULES = sorted(modules())


def row_of(module: str) -> str | None:
    """The key in TABLE that rules a module, as a full dotted name with its package."""
    package, _, inner = module.partition(".")
    fitting = [key for key in TABLE[package] if fnmatchcase(inner, key)]
    return max(fitting, key=len, default=None)


def allowed(module: str) -> list[str]:
    package = module.partition(".")[0]
    row = row_of(module)
    names = TABLE[package][row].split() if row is not None else []
    return [
        name if name.partition(".")[0] in PACKAGES or name == "*" else f"{package}.{name}"
        for name in names
    ]


def is_declaring(module: str) -> bool:
    tooling = ("router_config.cli", "router_config.sandbox", "router_config.simulation")
    return module.startswith("router_config") and not module.startswith(tooling)


def is_public_plugin(module: str) -> bool:
    return module.startswith("plugins.") and not module.startswith("plugins._")


def is_of(target: str, root: str) -> bool:
    return target == root or target.startswith(root + ".")


def test_every_module_has_a_row() -> None:
    assert [module for module in MODULES if row_of(module) is None] == []


def test_every_row_has_a_module() -> None:
    used = {(module.partition(".")[0], row_of(module)) for module in MODULES}
    rows = {(package, row) for package, table in TABLE.items() for row in table}
    assert sorted(rows - used) == []


@pytest.mark.parametrize("module", MODULES)
def test_module_stays_within_its_row(module: str) -> None:
    permitted = allowed(module)
    outside = {
        name
        for name in first_party(module)
        if not any(fnmatchcase(name, pattern) for pattern in permitted)
    }
    assert sorted(outside) == []


def test_imports_run_in_no_circle() -> None:
    graph = {module: first_party(module) for module in MODULES}
    order = list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError
    assert sorted(order) == MODULES


def test_only_the_edge_imports_litellm_and_the_cli_only_inside_functions() -> None:
    found = [
        f"{module}:{one.line}"
        for module in MODULES
        for one in imports(module)
        if is_of(one.target, "litellm")
        and not is_public_plugin(module)
        and module not in LITELLM_AT_THE_EDGE
        and not (is_of(module, "router_config.cli") and one.lazy)
    ]
    assert found == []


def test_the_declaring_room_imports_no_network_module() -> None:
    found = [
        f"{module}:{one.line}: {one.target}"
        for module in MODULES
        if is_declaring(module)
        for one in imports(module)
        if any(is_of(one.target, root) for root in NETWORK)
    ]
    assert found == []


@pytest.mark.parametrize("module", MODULES)
def test_module_fits_on_a_few_screens(module: str) -> None:
    lines = len(modules()[module].read_text(encoding="utf-8").splitlines())
    assert (lines > MAX_LINES) == (module in LONGER)


def test_checking_the_shipped_file_opens_no_socket_and_loads_nothing_that_runs() -> None:
    code = """
import socket, sys
def refuse(*args, **kwargs):
    raise AssertionError("a socket was asked for")
socket.socket = socket.create_connection = socket.getaddrinfo = refuse
from router_config import SHIPPED_CONFIG, check
errors = [str(problem) for problem in check(SHIPPED_CONFIG) if problem.severity == "error"]
assert not errors, errors
print(*sys.modules)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    forbidden = {"litellm", "plugins", "httpx", "aiohttp", "requests", "urllib3", "http.client"}
    assert forbidden & set(result.stdout.split()) == set()
