"""The page in a real browser: Debian's chromium, driven by playwright.

The server and the terminals run on Trio here; the browser's part is a plain function
in a thread, which calls back with ``trio.from_thread`` where a terminal types.
"""

import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest
import trio
from attrs import evolve

from trio_actors import Backoff

from .kit import SETTINGS, Server, Visitor, open_server

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is missing")
from playwright.sync_api import Browser, Page, expect, sync_playwright  # noqa: E402

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DEMO = evolve(
    SETTINGS, demo=True, refresh=0.05, pause=Backoff(1.0, 1.0, jitter=0), patience=10.0
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
]


@contextmanager
def open_browser() -> Generator[Browser, None, None]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def open_page(browser: Browser, server: Server, complaints: list[str]) -> Page:
    """Open the page; what the browser complains about is collected."""
    page = browser.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda message: (
            complaints.append(message.text)
            if message.type in {"error", "warning"}
            else None
        ),
    )
    page.goto(f"http://127.0.0.1:{server.web_port}/")
    return page


def enter(page: Page, nick: str) -> None:
    page.get_by_placeholder("Your name").fill(nick)
    page.get_by_role("button", name="Enter").click()


def say(page: Page, text: str) -> None:
    page.get_by_placeholder("Say something, or /help").fill(text)
    page.keyboard.press("Enter")


def has_line(page: Page, text: str) -> None:
    expect(page.locator("#lines li", has_text=text).last).to_be_visible()


def actor(page: Page, path: str, state: str) -> None:
    """Wait until the tree shows an actor in that state."""
    expect(
        page.locator(f'#tree li[data-path="{path}"][data-state="{state}"]')
    ).to_be_visible()


async def in_browser(script: Callable[[Browser], None]) -> None:
    def run() -> None:
        with open_browser() as browser:
            script(browser)

    with trio.fail_after(50):
        await trio.to_thread.run_sync(run)


def types(visitor: Visitor, *lines: str) -> None:
    """Let a terminal type, from the browser's thread."""
    trio.from_thread.run(visitor.type, *lines)


async def test_a_page_and_a_terminal_talk_and_the_page_shows_the_tree() -> None:
    complaints: list[str] = []
    async with open_server(DEMO) as server:
        ada = await server.guest("ada")

        def script(browser: Browser) -> None:
            page = open_page(browser, server, complaints)
            enter(page, "ada")
            expect(page.locator("#hint")).to_have_text(
                "ada is taken; choose another name"
            )
            enter(page, "bob")
            has_line(page, "bob is here")
            say(page, "hello ada")
            has_line(page, "hello ada")
            types(ada, "hello bob")
            has_line(page, "hello bob")
            for path in ("/rooms/lobby", "/sessions/tcp-1", "/sessions/web-1"):
                actor(page, path, "running")

        await in_browser(script)
        await ada.expect("<bob> hello ada")
        await ada.expect("* bob has left")
    assert complaints == []


async def test_what_clients_send_is_shown_as_text_and_never_breaks_the_page() -> None:
    complaints: list[str] = []
    attack = "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script>"
    async with open_server(DEMO) as server:
        ada = await server.guest("ada")

        def script(browser: Browser) -> None:
            page = open_page(browser, server, complaints)
            enter(page, "bob")
            has_line(page, "bob is here")
            types(ada, attack, "w" * 3000, "the end")
            has_line(page, "the end")
            expect(page.locator("#lines li.say").first).to_contain_text(attack)
            assert page.evaluate("window.hacked") is None
            assert page.locator("#lines img, #lines script").count() == 0
            fits = "document.documentElement.scrollWidth <= innerWidth"
            assert page.evaluate(fits)
            assert page.evaluate("lines.scrollWidth <= lines.clientWidth")

        await in_browser(script)
    assert complaints == []


# In one go, so that a slow machine cannot come too late: all the states that the tree
# shows of the lobby, and a line that is typed in the moment after the button.
RECORD_STATES = """() => {
    window.states = [];
    const lobby = document.querySelector('#tree li[data-path="/rooms/lobby"]');
    const note = () => {
        if (states.at(-1) !== lobby.dataset.state) states.push(lobby.dataset.state);
    };
    new MutationObserver(note).observe(lobby, {attributeFilter: ["data-state"]});
}"""
CRASH_AND_SAY = """line => {
    crash.click();
    text.value = line;
    composer.requestSubmit();
}"""
BACK = "the room has crashed and is back (bob pressed the button)"


async def test_the_button_crashes_the_room_and_one_sees_it_come_back() -> None:
    """S0-7 "restart", S2-2 fault tolerance: what the demonstration is for."""
    complaints: list[str] = []
    async with open_server(DEMO) as server:
        ada = await server.guest("ada")

        def script(browser: Browser) -> None:
            page = open_page(browser, server, complaints)
            enter(page, "bob")
            has_line(page, "bob is here")
            actor(page, "/rooms/lobby", "running")
            expect(page.get_by_role("button", name="Crash the room")).to_be_enabled()
            page.evaluate(RECORD_STATES)
            page.evaluate(CRASH_AND_SAY, "said while it is away")
            types(ada, "me, too")
            lobby = page.locator('#tree li[data-path="/rooms/lobby"]')
            expect(lobby).to_have_attribute("data-restarts", "1")
            expect(lobby).to_contain_text("1 restart")
            has_line(page, "me, too")
            seen = page.locator("#lines li").all_inner_texts()
            back = seen.index(BACK)
            assert any("said while it is away" in line for line in seen[back:])
            states = page.evaluate("states")
            assert "backoff" in states
            assert states[-1] == "running"
            expect(page.locator("#events")).to_contain_text("/rooms/lobby failed")
            expect(page.locator("#status")).to_have_text("connected")
            say(page, "/who")
            has_line(page, "2 in lobby: ada bob")

        await in_browser(script)
        await ada.expect("<bob> said while it is away")
    assert complaints == []


async def test_without_demo_there_is_no_button() -> None:
    complaints: list[str] = []
    async with open_server(evolve(DEMO, demo=False)) as server:

        def script(browser: Browser) -> None:
            page = open_page(browser, server, complaints)
            enter(page, "bob")
            has_line(page, "bob is here")
            expect(page.locator("#crash")).to_be_hidden()

        await in_browser(script)
    assert complaints == []


async def test_the_page_says_when_the_server_is_gone() -> None:
    async with open_server(DEMO) as server:

        def script(browser: Browser) -> None:
            page = open_page(browser, server, [])
            enter(page, "bob")
            has_line(page, "bob is here")
            trio.from_thread.run_sync(server.system.stop)
            has_line(page, "goodbye: the server is going down")
            expect(page.locator("#status")).to_contain_text("connection lost")

        await in_browser(script)
