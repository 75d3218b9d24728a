"""`python -m router_config` is `qwen3-router`."""

from __future__ import annotations

import sys

from router_config.cli import main

sys.exit(main())
