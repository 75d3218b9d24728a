"""Take the picture of the READMEs anew: `python -m tests.browser.screenshot` (needs chromium)."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from plugins._status_html import page as write
from plugins._status_words import Words
from tests.imports import ROOT
from tests.plugins.status_pages import lively

PICTURE = ROOT / "docs" / "status-page.png"


def main() -> None:
    """Write `PICTURE`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        view = lively()
        path.write_text(write(lively(groups=view.groups[:1]), Words("en")))
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1120, "height": 1010})
        page.goto(path.as_uri())
        page.screenshot(path=PICTURE)
        browser.close()
    print(f"{PICTURE}: {PICTURE.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()
