"""A router on a virtual clock: the real pick, health and budget arithmetic, and no network.

`traffic` (who asks when) and `scenario` (what happens to the providers) go into `machine`, which
gives `figures`; `books` is the ledger in memory, `plot` draws.
"""
