"""The page in a real browser (Debian's Chromium), fed by a real server: what it shows, escapes, says when nothing comes, and on a phone."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
import urllib.request
from contextlib import contextmanager

import pytest

pytest.importorskip("uvicorn", reason="needs the extra serve")
pytest.importorskip("prometheus_client", reason="needs the extra serve")

from running import ALEXNET, post, request_of, running, sample

from edgerun.serve import ModelOptions, Principal
from edgerun.serve.events import Event
from edgerun.serve.page import HEADERS, PATHS, asset

INFER = "/v2/models/tail/infer"
HOSTILE = "<img src=x onerror=document.title='owned'>"
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
in_browser = pytest.mark.skipif(not (BROWSER and DRIVER), reason="no chromium and chromedriver (Debian: chromium chromium-driver)")


def url(found):
    return f"http://{found.http}"


class Named:
    """A gate that believes the envelope to be a device's name."""

    async def admit(self, header, body, method, target, peer):
        return Principal(header or "browser")


@contextmanager
def served(port=0):
    """A real model with three exits."""
    options = ModelOptions(exit_policy="dart", workers=1)
    with running({"tail": ALEXNET}, http_port=port, grpc_port=None, gate=Named(), options=options) as found:
        yield found


@pytest.fixture(scope="module")
def busy():
    """A server that has answered, refused and seen an attack and a fault (these two as events, as a detector and checks tell)."""
    with served() as found:
        digits = [sample(ALEXNET, f"digit_{k}.png") for k in range(10)]
        for k in range(60):
            body = json.dumps(request_of(digits[k % 10], "image")).encode()
            assert post(found.http, INFER, body, {"edgerun-envelope": ("cam-1", "cam-2", HOSTILE)[k % 3]})[0] == 200
        assert post(found.http, INFER, json.dumps(request_of(digits[0], "wrong")).encode(), {"edgerun-envelope": "cam-2"})[0] == 400
        for k in range(20):
            attack = k % 5 == 0
            found.server.observers(Event(time.time(), "cam-9", "tail", "http", "attack" if attack else "ok", "attack" if attack else "",
                                         4.0, 0.5, 2.0, attack_score=1.9 if attack else 0.4, threshold=1.0))
        found.server.observers(Event(time.time(), "cam-9", "tail", "grpc", "fault", "fault", 4.0, 0.5, 2.0, findings=1, checks=("abft",)))
        yield found


@pytest.fixture(scope="module")
def chromium():
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium (pip install selenium)")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_page_load_timeout(30)
    driver.set_script_timeout(30)
    yield driver
    driver.quit()


class Tab:
    """A page at a size and colour scheme, and what is in it."""

    def __init__(self, driver, url, width=1400, height=1000, scheme="dark"):
        self.driver = driver
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1,
                                                                      "mobile": width < 500})
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        driver.get_log("browser")
        driver.get(url)

    def js(self, script, *arguments):
        return self.driver.execute_script(f"return {script}", *arguments)

    def text(self, selector):
        return self.js("document.querySelector(arguments[0]).textContent", selector)

    def until(self, script, seconds=20):
        end = time.monotonic() + seconds
        while not (found := self.js(script)):
            assert time.monotonic() < end, f"never: {script}; the page: {self.text('body')[:600]}"
            time.sleep(0.1)
        return found

    def ready(self):
        self.until("document.querySelector('#state-text').textContent === 'Ready' && document.querySelector('#facts').textContent")
        return self

    def complaints(self):
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


@in_browser
def test_it_shows_what_the_server_did(chromium, busy):
    tab = Tab(chromium, url(busy)).ready()
    tab.until("document.querySelectorAll('#latency svg path').length > 0")  # the slot of the requests is over
    assert tab.text("#facts").startswith("tail · up ") and "1 worker ·" in tab.text("#facts")
    assert tab.text("#tile-attacks .big") == "4" and tab.text("#tile-faults .big") == "1" and tab.text("#tile-rejected .big") == "1"
    assert re.fullmatch(r"[\d.]+ ms median", tab.text("#tile-latency .big")) and "input" in tab.text("#tile-rejected .sub")
    assert "threshold 1" in tab.text("#scores svg") and "tail" in tab.text("#scores figcaption")
    shares = {e["exit"]: e["share"] for e in json.load(urllib.request.urlopen(f"{url(busy)}/edgerun/v1/status"))["exits"]}
    assert set(shares) >= {"exit1", "exit2"}
    assert all(name in tab.text("#exits output") for name in shares)
    assert {r: tab.js("[...document.querySelectorAll('#reasons .name')].map((n) => n.textContent).some((t) => t.endsWith(arguments[0]))", r)
            for r in ("attack", "fault", "input")} == {"attack": True, "fault": True, "input": True}
    rows = tab.js("[...document.querySelectorAll('#devices tbody tr')].map((r) => [...r.cells].map((c) => c.textContent))")
    assert rows[0][0] == "cam-9" and {r[0]: r[1] for r in rows} == {"cam-9": "21", "cam-1": "20", "cam-2": "21", HOSTILE: "20"}
    assert tab.complaints() == []


@in_browser
def test_names_from_the_wire_stay_text(chromium, busy):
    tab = Tab(chromium, url(busy)).ready()
    tab.until(f"document.querySelector('#devices tbody').textContent.includes({json.dumps(HOSTILE)})")
    assert tab.js("document.querySelectorAll('img, script:not([src])').length") == 0 and tab.js("document.title") == "edgerun"


@in_browser
def test_text_cannot_become_markup_nor_scripts_come_from_elsewhere(chromium, busy):
    """The policy holds even where the code had a mistake."""
    tab = Tab(chromium, url(busy)).ready()
    assert tab.js("(() => { try { document.body.innerHTML = '<b>x</b>'; return 'set'; } catch (e) { return e.name; } })()") == "TypeError"
    tab.js("document.head.appendChild(Object.assign(document.createElement('style'), { textContent: 'body { display: none }' })) && 1")
    assert tab.js("getComputedStyle(document.body).display") == "block"


@in_browser
@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("width", [360, 768, 900, 1024, 1400])
def test_nothing_sticks_out(chromium, busy, width, scheme):
    tab = Tab(chromium, url(busy), width, 800, scheme).ready()
    tab.until("document.querySelectorAll('#latency svg path').length > 0")
    assert tab.js("document.documentElement.scrollWidth") <= width
    wide = tab.js("[...document.querySelectorAll('main *:not(svg *)')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 "
                  "&& !e.closest('.hidden, thead')).map((e) => e.className || e.tagName)")
    assert wide == []
    assert tab.js("document.documentElement.dataset.theme") == scheme


@in_browser
def test_on_a_phone_every_cell_says_what_it_is_and_fingers_fit(chromium, busy):
    tab = Tab(chromium, url(busy), 360, 740).ready()
    tab.until("document.querySelectorAll('#devices tbody tr').length > 0")
    assert tab.js("getComputedStyle(document.querySelectorAll('#devices tbody td')[3], '::before').content") == '"Median"'
    small = tab.js("[...document.querySelectorAll('#theme, .segments label')].map((e) => e.getBoundingClientRect())"
                   ".filter((r) => r.height < 40 || r.width < 40).length")
    assert small == 0


@in_browser
def test_with_the_keyboard(chromium, busy):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    tab = Tab(chromium, url(busy)).ready()
    tab.until("document.querySelectorAll('#traffic svg path').length > 0")
    chart = chromium.find_element(By.CSS_SELECTOR, "#traffic .chart")
    before = tab.text("#traffic output")
    chart.send_keys(Keys.ARROW_LEFT)
    assert tab.text("#traffic output") != before and "/s" in tab.text("#traffic output")
    assert "answered" in tab.js("document.querySelector('#traffic .chart').ariaLabel")
    chart.send_keys(Keys.ESCAPE)
    assert "/s" not in tab.text("#traffic output")
    chromium.find_element(By.XPATH, "//th/button[text()='Device']").send_keys(Keys.ENTER)
    names = tab.js("[...document.querySelectorAll('#devices tbody td:first-child')].map((c) => c.textContent)")
    assert names[-3:] == ["cam-1", "cam-2", "cam-9"]
    assert tab.js("document.querySelector('th[aria-sort]').getAttribute('aria-sort')") == "ascending"


@in_browser
def test_it_keeps_up_under_load(chromium):
    """Eight clients that never pause: the figures go on rising, and every part of the page is drawn."""
    over = threading.Event()
    body = json.dumps(request_of(sample(ALEXNET), "image")).encode()
    with served() as found:
        def client(name):
            while not over.is_set():
                assert post(found.http, INFER, body, {"edgerun-envelope": name})[0] in (200, 503)

        threads = [threading.Thread(target=client, args=(f"cam-{k}",)) for k in range(8)]
        for t in threads:
            t.start()
        try:
            tab = Tab(chromium, url(found)).ready()
            answered = "Number(document.querySelector('#tile-rate .sub').textContent.replace(/\\D/g, ''))"
            first = tab.until(answered)
            tab.until(f"{answered} > {first} + 20 && document.querySelectorAll('#latency svg path').length >= 3")
            names = tab.js("[...document.querySelectorAll('#devices tbody td:first-child')].map((c) => c.textContent)")
            assert {n for n in names if n != "(unverified)"} == {f"cam-{k}" for k in range(8)}  # a full queue does not ask who it is
            assert "in flight" in tab.text("#facts")
            assert tab.complaints() == []
        finally:
            over.set()
            for t in threads:
                t.join()


@in_browser
def test_scores_of_one_model_at_a_time(chromium):
    with running({"one": ALEXNET, "two": ALEXNET}, grpc_port=None, options=ModelOptions(workers=1)) as found:
        for model, threshold in (("one", 1.0), ("two", 7.0)):
            found.server.observers(Event(time.time(), "cam", model, "http", "ok", compute_ms=1.0, attack_score=0.5, threshold=threshold))
        tab = Tab(chromium, url(found)).ready()
        assert "threshold 1" in tab.text("#scores svg") and not tab.js("document.querySelector('#scores-choice').hidden")
        tab.js("(() => { const s = document.querySelector('#scores select'); s.value = 'two'; "
               "s.dispatchEvent(new Event('change', { bubbles: true })); return 1; })()")
        assert "threshold 7" in tab.text("#scores svg")
        tab.driver.execute_script("document.querySelector('#facts').textContent = ''")
        tab.until("document.querySelector('#facts').textContent")  # the next answer of the server leaves the choice alone
        assert "threshold 7" in tab.text("#scores svg")


@in_browser
def test_the_quarter_of_an_hour(chromium, busy):
    tab = Tab(chromium, url(busy)).ready()
    tab.js("document.querySelector('input[value=\"15min\"]').click()")
    tab.until("document.querySelector('#traffic svg') && document.querySelector('#traffic svg').textContent.includes('15 min') "
              "|| document.querySelector('#traffic .none')")
    assert tab.text("#tile-attacks .big") == "4"


@in_browser
def test_colours_can_be_chosen_and_stay(chromium, busy):
    tab = Tab(chromium, url(busy), scheme="dark").ready()
    tab.js("(document.querySelector('#theme').click(), document.querySelector('#theme').click(), 1)")
    assert tab.js("document.documentElement.dataset.theme") == "light"
    tab = Tab(chromium, url(busy), scheme="dark").ready()
    assert tab.js("document.documentElement.dataset.theme") == "light" and "light" in tab.js("document.querySelector('#theme').ariaLabel")
    tab.js("localStorage.clear()")


@in_browser
def test_nothing_yet_and_not_reachable(chromium):
    """Each panel says why it is empty; a server that is gone is told at once, and found again when it is back."""
    with served() as gone:
        port = gone.server.http_port
        tab = Tab(chromium, url(gone)).ready()
        panels = ("#latency", "#traffic", "#scores", "#exits", "#reasons", "#recent", "#devices")
        said = " ".join(tab.text(p) for p in panels)
        for words in ("No request ran", "No requests in this time", "No detector is served", "No answers", "No messages", "None since",
                      "No device"):
            assert words in said, words
        assert tab.text("#tile-latency .big") == "–" and tab.text("#tile-attacks .sub") == "no detector"
    tab.until("document.body.dataset.state === 'lost'")
    assert tab.text("#state-text") == "Not reachable"
    assert not tab.js("document.querySelector('#alarm').hidden") and "cannot be reached" in tab.text("#alarm")
    with served(port):
        tab.until("document.body.dataset.state === 'ready'")
        assert tab.js("document.querySelector('#alarm').hidden")


def luminance(colour):
    """WCAG 2: relative luminance of #rrggbb."""
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


@pytest.mark.parametrize("theme", [0, 1], ids=["dark", "light"])
@pytest.mark.parametrize(("name", "needed"), [*((n, 4.5) for n in ("text", "soft", "ok", "rejected", "attack", "fault", "error")),
                                              *((n, 3) for n in ("p50", "p90", "p99", *(f"exit{k}" for k in range(6))))])
def test_contrast(theme, name, needed):
    """WCAG 2.1: 4.5 to 1 for text (1.4.3), 3 to 1 for drawings (1.4.11), on each ground they stand on."""
    colours = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
               for block in re.findall(r":root[^{]*\{([^}]*)\}", asset("/edgerun/page/page.css").body.decode())]
    for ground in ("panel", "bg"):
        pair = sorted((luminance(colours[theme][name]), luminance(colours[theme][ground])))
        assert (pair[1] + 0.05) / (pair[0] + 0.05) >= needed, ground


@pytest.mark.parametrize("path", PATHS)
def test_files_are_ours_alone(busy, path):
    """No content network, nothing inline, as much as a phone loads in no time; with the policy that forbids the rest."""
    with urllib.request.urlopen(url(busy) + path) as answer:
        body, headers = answer.read().decode(), answer.headers
    assert body == asset(path).body.decode() and headers["Content-Type"] == asset(path).media
    assert all(headers[name] == value for name, value in HEADERS.items()) and headers["X-Content-Type-Options"] == "nosniff"
    links = re.findall(r"https?://[^\"'\s)]+", body)
    assert {link for link in links if "www.w3.org" not in link} == set()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|\son\w+=|<script>|<style>|\sstyle=", body)
    assert sum(len(asset(p).body) for p in PATHS) < 64_000
