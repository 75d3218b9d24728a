"""Put a generated table into a document, between the two lines that mark its place."""

from __future__ import annotations

from pathlib import Path

__all__ = ["ROOT", "replaced", "write"]

ROOT = Path(__file__).resolve().parents[1]
_END = "<!-- end of table -->\n"


def replaced(text: str, name: str, table: str) -> str:
    """Return *text* with *table* between `<!-- table: NAME -->` and the end of it."""
    begin = f"<!-- table: {name} -->\n"
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(_END)
    assert found, f"no line {begin}"
    assert ended, f"no line {_END}"
    return f"{before}{begin}{table}{_END}{after}"


def write(document: Path, tables: dict[str, str]) -> None:
    """Write *document* anew with its *tables* by name."""
    text = document.read_text(encoding="utf-8")
    for name, table in tables.items():
        text = replaced(text, name, table)
    document.write_text(text, encoding="utf-8")
