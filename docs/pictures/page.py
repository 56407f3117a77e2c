"""Takes the picture of the page: ``lexite serve --demo`` in Chromium, a question with two sliders moved.

It needs playwright and Debian's Chromium. Run it from the root of the repository: python docs/pictures/page.py
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

QUESTION = "make a password hash that is slow to crack"
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking".split()


def main() -> None:
    """Writes ``page.png`` beside this file."""
    command = [sys.executable, "-m", "lexite", "-q", "serve", "--demo", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = json.loads(server.stdout.readline())["address"]
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
                page = browser.new_page(viewport={"width": 1240, "height": 800}, color_scheme="light", reduced_motion="reduce")
                page.goto(address)
                page.fill("#q", QUESTION)
                page.press("#q", "Enter")
                page.wait_for_selector(".hit")
                page.locator("#sliders li:has(.word) input").first.fill("-80")
                page.locator("#sliders li:has(.concept) input").nth(1).fill("70")
                page.wait_for_selector(".hits:not(.waiting) .moved")
                page.evaluate("document.activeElement.blur()")
                page.wait_for_timeout(1500)  # the second slider asks once more
                page.wait_for_selector(".hits:not(.waiting) .moved")
                page.screenshot(path=str(Path(__file__).parent / "page.png"))
                browser.close()
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
