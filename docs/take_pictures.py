"""The README's picture of the Savings page, of a real app on a data directory that a retrain was promoted in.

In: the data directory, as `python -m benchmarks.first_retrain --data-dir DIR` leaves it. Out:
`docs/images/savings.png`. A person asks a few questions first, so that there is something to see after the swap.

    python docs/take_pictures.py DIR
"""

import sys
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.servers.app_process import AppProcess  # noqa: E402

PICTURES = Path(__file__).parent / "images"
QUESTIONS = (
    "How much does a paddleboard cost for two hours?",
    "Can I bring my dog?",
    "Is there parking?",
    "What if it rains?",
)


def ask(page: Page) -> None:
    for number, question in enumerate(QUESTIONS, start=1):
        page.locator("#chat-input textarea").fill(question)
        page.locator("#chat-send").click()
        answers = page.locator("article.answer[data-status=complete]")
        expect(answers).to_have_count(number, timeout=120_000)


def take(data_dir: Path) -> None:
    with AppProcess(data_dir) as app, sync_playwright() as playwright:
        app.wait_for_page()
        app.wait_for_model()
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 983}, device_scale_factor=2)
        page.goto(app.url)
        expect(page.locator("#server-state")).to_contain_text("ready", timeout=120_000)
        page.get_by_role("tab", name="Chat", exact=True).click()
        ask(page)
        page.get_by_role("tab", name="Savings", exact=True).click()
        expect(page.locator("#saved-tokens")).to_be_visible(timeout=20_000)
        page.wait_for_timeout(2_000)  # the picture of the answers is drawn
        page.screenshot(path=PICTURES / "savings.png")
        browser.close()


if __name__ == "__main__":
    take(Path(sys.argv[1]))
