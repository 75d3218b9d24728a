"""What runs: thin LiteLLM adapters in front, plain functions behind.

Public files are what a LiteLLM config names; each exports a `handler`:

    gateway.py      callback: admission, the pick, our errors; loading it installs the front door
    budget.py       callback: money of the calls that LiteLLM makes itself
    matryoshka.py   callback: exact `dimensions` and `encoding_format`, replies as ready bytes
    parity.py       callback: samples of what LiteLLM's own client brought
    provider.py     provider `qwen3/`: one attempt on one deployment
    health.py       callback: nobody who is out is called
    keys.py         custom_auth: keys declared in YAML
    status.py       ASGI: our own pages beside the embeddings

A request's way through the private ones: `_door` → `_request` (what was asked) → LiteLLM's
middlewares → `_fast`, or LiteLLM's routes and Router with our callbacks; both → `_admission`
(rights, counts) → `_plan` (its state) → `_pick` (who is next) → `_round` (chunks) → `_attempt`
(one wire call: `_dialects`, `_wire`, `_vectors`) → `_reply` (bytes). `_runtime` puts them together;
`_health` (over `_ejections`) keeps sick endpoints out, and `_ready` tells who balances load;
`_lead` and `_litellm` are the only private ones that know LiteLLM; `_background` runs what is done
beside the requests, such as `_parity`'s proofs. `_gate` bounds what a worker takes in, `_sharing`
answers what is known (`_cache`) or under way (`_flights`), `_slots` holds an endpoint's
concurrency.
"""
