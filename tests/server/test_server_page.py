"""The page in a real browser, asking a server in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers_server import BIDI, DOCUMENTS, MARKUP, SCRIPT, TOKEN, serving

from lexite import Document, Searcher

pytest.importorskip("fastapi", reason="needs the extra 'server'")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed (apt-get install chromium)"),
]
WIDE, NARROW = {"width": 1300, "height": 900}, {"width": 375, "height": 800}
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
LOOKS = pytest.mark.parametrize(
    ("theme", "size"),
    [("light", WIDE), ("dark", WIDE), ("light", NARROW), ("dark", NARROW)],
    ids=["light", "dark", "narrow", "dark-narrow"],
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def address(served_index: Path) -> Iterator[str]:
    with serving(str(served_index), "--static") as (address, _):
        yield address


@pytest.fixture
def open_page(browser: Any, address: str) -> Iterator[Any]:
    """Opens pages, and holds at the end that none had an error or asked another address."""
    wrong: list[str] = []
    contexts = []

    def opened(theme: str = "light", size: dict[str, int] = WIDE, query: str = "", at: str = address) -> Any:
        context = browser.new_context(color_scheme=theme, viewport=size, reduced_motion="reduce")
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith(at) else wrong.append(request.url))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.goto(at + query)
        return page

    opened.wrong = wrong  # type: ignore[attr-defined]
    yield opened
    for context in contexts:
        context.close()
    assert not wrong


def ask(page: Any, text: str) -> None:
    page.fill("#q", text)
    page.press("#q", "Enter")
    page.wait_for_selector(".hit")


def until(page: Any, condition: str) -> None:
    """Waits until an expression is true. The page's own policy forbids what Playwright has for this."""
    for _ in range(150):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(100)
    raise AssertionError(condition)


def hold_accessible(page: Any, where: str) -> None:
    found = axe.Axe().run(page, options=RULES).response["violations"]
    told = [(each["id"], [node["html"][:200] for node in each["nodes"][:3]]) for each in found]
    assert not told, f"{where}: {json.dumps(told)}"


@LOOKS
def test_every_view_is_accessible(open_page: Any, theme: str, size: dict[str, int]) -> None:
    page = open_page(theme, size)
    page.wait_for_selector(".lead")
    hold_accessible(page, "welcome")
    ask(page, "milk of the cow")
    page.check("#beside-choice input[value=words]")
    page.check("#beside-choice input[value=dense]")
    page.wait_for_selector(".ranking li")
    page.evaluate("for (const id of ['filters', 'steer']) document.getElementById(id).open = true")
    page.locator(".why summary").first.click()
    page.wait_for_selector(".why table")
    page.locator(".hit .actions button").nth(0).click()
    page.locator(".hit .actions button").nth(1).click()
    hold_accessible(page, "search")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the screen"
    page.click("#tray-open")
    page.wait_for_selector(".butterfly")
    hold_accessible(page, "side by side")
    page.keyboard.press("Escape")
    page.locator(".hit button.chip.concept").first.click()
    page.wait_for_selector(".facts-list")
    hold_accessible(page, "concept")
    page.click("nav [data-view=differences]")
    page.wait_for_selector("#differences-form")
    hold_accessible(page, "differences")
    page.click("nav [data-view=sentence]")
    page.wait_for_selector(".token-detail li")
    hold_accessible(page, "sentence")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_hostile_documents_are_shown_as_text(open_page: Any) -> None:
    page = open_page()
    ask(page, "milk of the cow")
    titles = page.locator(".hit h3").all_inner_texts()
    assert MARKUP in titles and SCRIPT in titles
    shown = (
        BIDI.replace("\u202e", "\\u202e").replace("\u202c", "\\u202c").replace("\u2066", "\\u2066").replace("\u2069", "\\u2069")
    )
    assert shown.replace("\x07", "\\u0007") in titles
    assert "<b>bold</b> <script>document.title='owned'</script>" in page.locator(".hit", has_text=MARKUP).first.inner_text()
    assert not page.locator(".hit img, .hit script, .hit b, #facets img").count()
    page.get_by_role("button", name=MARKUP).first.click()
    page.wait_for_selector("#dialog[open] .document")
    assert page.inner_text("#dialog-title") == MARKUP
    page.keyboard.press("Escape")
    page.locator("#facets label", has_text="<img").locator("input").check()
    until(page, "document.querySelectorAll('.hit').length === 1")
    assert page.title() != "owned"


def test_an_address_with_hostile_parts_does_nothing(open_page: Any) -> None:
    page = open_page(
        query="?q=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3Emilk&facets=%5B1%5D&steer=%7B%22word%3Amilk%22%3A%7B%22value%22%3A%22x%22%7D%7D&view=__proto__"
    )
    page.wait_for_selector(".hit")
    assert page.input_value("#q") == "<img src=x onerror=alert(1)>milk"


def test_a_slider_moves_the_ranking_by_keyboard(open_page: Any) -> None:
    page = open_page()
    ask(page, "milk moon")
    before = page.locator(".hit").evaluate_all("hits => hits.map(hit => hit.dataset.id)")
    assert before[0] == "d6"
    slider = page.get_by_role("slider", name="Weight of “moon”")
    slider.focus()
    page.keyboard.press("Home")
    until(page, "document.querySelector('.hit').dataset.id !== 'd6'")
    assert slider.get_attribute("aria-valuetext") == "muted" and "steer=" in page.url
    assert page.locator(".moved.up").count()
    page.reload()  # the address has all of it
    page.wait_for_selector(".hit")
    assert page.locator(".hit").first.get_attribute("data-id") != "d6"
    page.click("#unsteer")
    until(page, "document.querySelector('.hit').dataset.id === 'd6'")


def test_a_concept_is_found_read_and_raised(open_page: Any, served_index: Path) -> None:
    searcher = Searcher.open(served_index, static=True)
    number = int(searcher.index.document_frequency[: searcher.index.n_latents].argmax())
    page = open_page(query=f"?view=concept&concept={number}")
    page.wait_for_selector(".facts-list")
    assert page.inner_text("#h-concept") == searcher.label(number) and page.locator(".examples li").count()
    page.get_by_role("button", name="Search with it").click()
    page.wait_for_selector(".hit")
    assert page.locator(f'#sliders li[data-key="{number}"]').count() == 1
    page.go_back()
    page.wait_for_selector(".facts-list")


def test_filters_make_the_filter_that_they_say(open_page: Any) -> None:
    page = open_page()
    ask(page, "milk of the cow")
    year = page.locator("fieldset.range", has_text="year")
    year.get_by_label("to").fill("2002")
    year.get_by_label("to").press("Tab")
    until(page, "document.querySelectorAll('.hit').length === 2")
    page.fill("#where", "nope = 1")
    page.press("#where", "Enter")
    page.wait_for_selector("#trouble:not([hidden])")
    assert "no field 'nope'" in page.inner_text("#trouble")
    open_page.wrong[:] = [each for each in open_page.wrong if "400" not in each]  # the browser tells of the answer too


@pytest.fixture(scope="module")
def many(tiny_vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of an index of two kinds of documents, hostile ones."""
    path = tmp_path_factory.mktemp("many") / "notes"
    kinds = {"farm": f"The cow gives milk. {MARKUP}", "code": f"Read a json file. {SCRIPT}"}
    made = [Document(f"{kind}-{n} <b>", text, BIDI, fields={"kind": kind}) for kind, text in kinds.items() for n in range(20)]
    Searcher.build(made, path, vocabulary=str(tiny_vocabulary), show_progress=False).close()
    with serving(str(path), "--static") as (address, _):
        yield address


@LOOKS
def test_two_filters_are_compared(open_page: Any, many: str, theme: str, size: dict[str, int]) -> None:
    page = open_page(theme, size, at=many)
    page.wait_for_selector(".lead")
    page.click("nav [data-view=differences]")
    assert "kind" in page.inner_text("#fields-hint")
    hold_accessible(page, "before differences")
    page.set_default_timeout(60_000)
    page.fill("#side-a", "kind = 'farm'")
    page.press("#side-a", "Enter")
    page.wait_for_selector(".side li")
    assert "20 documents against 20" in page.inner_text("#differences-status")
    assert page.locator(".side").count() == 2 and page.locator(".side .example").first.inner_text().startswith(
        ("farm-", "code-")
    )
    assert not page.locator(".side b, .side img, .side script").count() and page.title() != "owned"
    hold_accessible(page, "differences")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.reload()  # the address has both filters
    page.wait_for_selector(".side li")
    assert page.input_value("#side-a") == "kind = 'farm'"
    page.locator(".side button.concept").first.click()
    page.wait_for_selector(".facts-list")
    page.go_back()
    page.wait_for_selector(".side li")
    page.fill("#side-b", "nope = 1")
    page.press("#side-b", "Enter")
    page.wait_for_selector("#differences-trouble:not([hidden])")
    assert "no field 'nope'" in page.inner_text("#differences-trouble") and not page.locator(".side").count()
    open_page.wrong[:] = [each for each in open_page.wrong if "400" not in each]  # the browser tells of the answer too


def test_a_guarded_server_asks_for_its_token(open_page: Any, served_index: Path) -> None:
    with serving(str(served_index), "--static", "--private", token=TOKEN) as (address, _):
        page = open_page(at=address)
        page.fill("#token", "wrong-" * 4)
        page.press("#token", "Enter")
        until(page, "document.activeElement.id === 'token'")
        page.fill("#token", TOKEN)
        page.press("#token", "Enter")
        page.wait_for_selector(".lead")
        assert str(len(DOCUMENTS)) in page.inner_text(".lead")
    open_page.wrong[:] = [each for each in open_page.wrong if "401" not in each]
