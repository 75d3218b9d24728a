"""Write the table of docs/metrics.md anew from plugins/_metrics.py; a test holds the two together.

python scripts/metrics_md.py
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "metrics.md"
BEGIN, END = "<!-- table: scripts/metrics_md.py -->\n", "<!-- end of table -->\n"


def table() -> str:
    """Return the table, a row for each metric."""
    from plugins._metrics import METRICS

    rows = ["| name | kind | labels | meaning |", "|---|---|---|---|"]
    for one in METRICS.values():
        labels = ", ".join(f"`{label}`" for label in one.labels)
        rows.append(f"| `{one.full_name}` | {one.kind} | {labels} | {one.help} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    text = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}{table()}{END}{after}", encoding="utf-8")
