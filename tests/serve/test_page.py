"""The page in a real browser, over the real server: typed texts, forms, the keyboard, two languages, dark, faults, hostile labels."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contract.test_contract_predictors import fit_table
from tests.serve.browser import Browser, Tab, chromium, program
from tests.serve.small import finished, text_linear

pytestmark = pytest.mark.skipif(program() is None, reason="no Chromium is installed here (make browser installs Debian's)")

ROOT = Path(__file__).parent.parent.parent
HOSTILE = ('<img src=x onerror="window.hacked=1">', "</script><script>window.hacked=1</script>")
KEY = "0123456789abcdef0123456789abcdef"


@contextlib.contextmanager
def serving(log_file: Path, *asked: str) -> Iterator[str]:
    """Run `bessemer serve`; its address."""
    with log_file.open("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bessemer", "serve", *asked, "--port", "0", "--workers", "1"],
            stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
        try:
            end = time.monotonic() + 60
            while not (found := re.search(r"serving on (http://\S+)", (said := Path(log.name).read_text()))):
                assert process.poll() is None and time.monotonic() < end, said
                time.sleep(0.05)
            yield found[1]
        finally:
            process.terminate()
            process.wait(timeout=30)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "models"
    text_linear(folder / "mood" / "1")
    shutil.copytree(folder / "mood", folder / "hostile")
    schema = folder / "hostile" / "1" / "schema.json"
    told = json.loads(schema.read_text())
    told["columns"][1]["labels"] = HOSTILE
    schema.write_text(json.dumps(told))
    fit_table(folder / "table" / "1", "lightgbm", num_boost_round=20, quantiles=[0.05, 0.5, 0.95])
    for place in folder.glob("*/1"):
        finished(place)
    return folder


@pytest.fixture(scope="module")
def address(models: Path) -> Iterator[str]:
    with serving(models / "log", *(f"{name}={models / name / '1'}" for name in ("mood", "hostile", "table"))) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


Open = Callable[..., Tab]


def choose(list_id: str, value: str) -> str:
    """Return the script that chooses an entry of a list."""
    return (f"(() => {{ const list = document.getElementById('{list_id}'); list.value = {json.dumps(value)}; "
            "list.dispatchEvent(new Event('change')); })()")


def fill(**values: str) -> str:
    """Return the script that fills columns of the form (`column_0="1"`)."""
    parts = [f"document.getElementById('{name.replace('_', '-')}').value = {json.dumps(value)}; " for name, value in values.items()]
    return "".join(parts) + "document.getElementById('form').dispatchEvent(new Event('input'))"


MARKS = "Object.fromEntries([...document.querySelectorAll('mark')].map((item) => [item.textContent, item.className]))"
ANSWERED = "!document.querySelector('#problem strong') && !document.getElementById('targets').hidden"


@pytest.fixture
def tab(browser: Browser, address: str, request: pytest.FixtureRequest) -> Iterator[Open]:
    """Return a function that opens the page for a model; after the test nothing may have left the origin or been complained about."""
    with contextlib.ExitStack() as stack:
        made: list[tuple[Tab, str]] = []

        def opened(model: str = "mood", language: str = "en-US", scheme: str = "light", width: int = 1280, at: str = address) -> Tab:
            found = stack.enter_context(browser.tab())
            made.append((found, at))
            found.language(language)
            found.media(scheme)
            found.size(width, 900)
            found.open(f"{at}/")
            if at == address:
                found.until("document.querySelectorAll('.bars li').length")
                found.run(f"document.getElementById('model').textContent === '{model}' || {choose('models', model)}")
                found.until(f"document.getElementById('model').textContent === '{model}' && !document.querySelector('#why[aria-busy]') && "
                            "document.querySelector('#reasons mark, #reasons li, #reasons .empty')")
            return found

        yield opened
        for found, at in made:
            # A data address is a picture that Chromium draws itself, of a calendar.
            assert [item for item in found.requests if not item.startswith((f"{at}/", "data:", "about:blank"))] == []
            if "faults" not in request.keywords:
                assert found.complaints == []


def write(tab: Tab, text: str) -> None:
    """Put a text in the place of the one that is there, and wait for its answer and its reasons."""
    tab.run("document.getElementById('text').focus()")
    tab.key("a", control=True)
    tab.type(text)
    settled(tab, text)


def settled(tab: Tab, text: str) -> None:
    shown = json.dumps(text)
    tab.until(f"document.querySelector('.words')?.textContent === {shown} && !document.querySelector('#why[aria-busy]')")


def test_a_typed_text_is_answered_with_bars_and_marked_words(tab: Open) -> None:
    page = tab()
    write(page, "The film was superb, the staff rude and friendly 👍🏽!")
    bars = page.run("[...document.querySelectorAll('.bars li')].map((item) => [item.dataset.label, "
                    "item.querySelector('.fill').getBoundingClientRect().width])")
    assert {bar[0] for bar in bars} == {"good", "bad"} and bars[0][1] > bars[1][1] > 0
    assert page.text(".said").startswith(bars[0][0]) and page.text(".said").endswith("%")
    marked = page.run(MARKS)
    good = bars[0][0] == "good"
    assert marked["superb"] == marked["friendly"] == ("for" if good else "against")
    assert marked["rude"] == ("against" if good else "for")
    assert [text for text in page.texts(".legend li")][0].startswith("▲") and "against" in page.text(".legend")
    styles = page.run("['for', 'against'].map((side) => getComputedStyle(document.querySelector(`mark.${side}`)).borderBottomStyle)")
    assert styles == ["solid", "dashed"]  # told apart without colours
    assert re.fullmatch(r"[\d.,]+ ms", page.text("#took"))
    other = bars[1][0]
    page.run("document.querySelectorAll('.bar')[1].click()")  # why the other label has what it has
    assert page.run("explained.selectedOptions[0].text") == other
    assert page.run(MARKS)["superb"] != marked["superb"]
    command = page.text("#curl")
    said = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout if shutil.which("curl") else None
    assert said is None or json.loads(said)["targets"]["label"]["label"] == bars[0][0]


def test_apostrophes_and_empty_texts(tab: Open) -> None:
    page = tab()
    write(page, "It's the staff's \"lovely\" room; $HOME `id` \\ 'x")
    if shutil.which("curl"):
        said = subprocess.run(["bash", "-c", page.text("#curl")], capture_output=True, text=True, check=True).stdout
        assert json.loads(said)["targets"]["label"]["label"] == page.run("document.querySelector('.bars li').dataset.label")
    page.run("document.getElementById('clear').click()")
    page.until("!document.getElementById('empty').hidden && ['targets', 'why'].every((name) => document.getElementById(name).hidden)")
    assert page.run("document.activeElement.id") == "text"


def test_a_form_of_columns(tab: Open) -> None:
    page = tab("table")
    kinds = page.run("[...document.querySelectorAll('#form .field')].map((item) => [item.querySelector('label span').textContent, "
                     "item.querySelector('input, select').type])")
    assert kinds == [["size", "number"], ["speed", "number"], ["shape", "select-one"]]
    page.run(fill(column_0="", column_1="12", column_2=""))
    page.until("document.getElementById('curl').textContent.includes('\"size\":null,\"speed\":12,\"shape\":null')")
    page.until("document.querySelector('.reasons .value')?.innerText && !document.querySelector('#why[aria-busy], #answer[aria-busy]')")
    assert page.texts(".target .what") == ["label", "amount", "flags"]
    assert "90% between" in page.text(".interval")
    band = page.run("(() => { const box = document.querySelector('.band').getBoundingClientRect(), dot = "
                    "document.querySelector('.dot').getBoundingClientRect(); return box.left <= dot.right && dot.left <= box.right })()")
    assert band
    assert len(page.texts(".flags .bar")) == 2 and page.run("document.querySelector('.flags .holds').getAttribute('aria-label')") in (
        "holds", "does not hold")
    page.run(choose("explained", '["amount",""]'))
    assert page.texts(".reasons .column bdi:first-child")[0] == "speed"
    assert "missing" in page.texts(".reasons .value") and page.texts(".reasons .change")[0].startswith("▲ +")
    assert "raises the number" in page.text(".legend")


def test_the_keyboard_alone_is_enough(tab: Open) -> None:
    page = tab()
    page.run("document.activeElement.blur(); window.getSelection().removeAllRanges()")
    page.open(page.run("location.href"))
    page.until("document.querySelector('.words')")
    seen: list[str] = []
    for _ in range(24):
        page.key("Tab")
        seen.append(page.run("document.activeElement.id || document.activeElement.className || document.activeElement.tagName"))
        outline = page.run("(() => { const style = getComputedStyle(document.activeElement); return style.outlineStyle !== 'none' && "
                           "parseFloat(style.outlineWidth) >= 2 })()")
        assert outline or seen[-1] in ("main", "BODY"), f"the focus on {seen[-1]} is not seen"
        if seen[-1] == "copy":
            break
    order = [name for name in seen if name in ("skip", "language", "theme", "text", "bar", "explained", "copy")]
    assert list(dict.fromkeys(order)) == ["skip", "language", "theme", "text", "bar", "explained", "copy"]
    page.key("Tab", shift=True)
    while page.run("document.activeElement.id") != "text":
        page.key("Tab", shift=True)
    page.key("a", control=True)
    page.type("The room was dreadful today.")
    settled(page, "The room was dreadful today.")
    page.until("document.getElementById('live').textContent.includes('bad')")  # said to who does not see it
    while page.run("document.activeElement.className") != "bar":
        page.key("Tab")
    page.key("Tab")
    page.key("Enter")
    page.until("document.activeElement.getAttribute('aria-pressed') === 'true' && explained.selectedOptions[0].text === 'good'")
    assert page.run("[...document.querySelectorAll('input, select, textarea')].filter((item) => !item.labels?.length).length") == 0


def test_chinese_by_the_browsers_language_and_by_the_switch(tab: Open) -> None:
    page = tab(language="zh-CN")
    assert page.text("#ask-title") == "输入" and page.run("document.documentElement.lang") == "zh-Hans"
    write(page, "第12次，房间很好。")
    assert page.text("#why-title") == "起作用的词" and "支持" in page.text(".legend") and page.texts("mark")
    left = page.run("[...document.querySelectorAll('[data-say]')].filter((item) => /^[A-Za-z ]+$/.test(item.textContent) && "
                    "item.textContent !== 'API').map((item) => item.textContent)")
    assert left == []
    page.run("document.getElementById('language').click()")
    assert page.text("#ask-title") == "Input" and page.text("#why-title") == "Words that mattered" and page.run(
        "document.documentElement.lang") == "en"
    page.open(page.run("location.href"))  # the choice is kept
    page.until("document.querySelector('.bars li')")
    assert page.text("#ask-title") == "Input"


def test_both_languages_say_the_same_things() -> None:
    text = (ROOT / "bessemer" / "serve" / "page" / "language.js").read_text(encoding="utf-8")
    english, chinese = (re.findall(r'(?<![\w"}])(\w+): (?=["{])', part) for part in text.split("  zh: {")[0:2])
    assert [name for name in english if name != "en"] == chinese[:len(english) - 1]
    for name in ("form.js", "draw.js", "page.js"):
        used = re.findall(r'say\("(\w+)"', (ROOT / "bessemer" / "serve" / "page" / name).read_text(encoding="utf-8"))
        assert set(used) <= set(english), name
    page = (ROOT / "bessemer" / "serve" / "page" / "index.html").read_text(encoding="utf-8")
    assert set(re.findall(r'data-say(?:-label)?="(\w+)"', page)) <= set(english)
    assert not re.search(r"<style| style=|<script(?![^>]* src=)| on\w+=", page)


def test_dark_by_preference_and_by_the_switch(tab: Open) -> None:
    page = tab(scheme="dark")
    dark = page.run("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", dark)[:3])) < 60 and page.run("theme.getAttribute('aria-pressed')") == "true"
    page.run("document.getElementById('theme').click()")
    light = page.run("getComputedStyle(document.body).backgroundColor")
    assert min(map(int, re.findall(r"\d+", light)[:3])) > 200 and page.run("theme.getAttribute('aria-pressed')") == "false"
    contrast = page.run(CONTRAST)
    page.run("document.getElementById('theme').click()")
    assert contrast == [] and page.run(CONTRAST) == []


CONTRAST = r"""(() => {
  const paint = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const bright = (color) => { paint.fillStyle = '#000'; paint.fillStyle = color; paint.fillRect(0, 0, 1, 1);
    const part = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = paint.getImageData(0, 0, 1, 1).data; return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b); };
  const behind = (item) => { for (; item; item = item.parentElement) { const color = getComputedStyle(item).backgroundColor;
    if (!/, 0\)$|transparent/.test(color)) return color; } return 'white'; };
  const found = [];
  for (const item of document.querySelectorAll('body *')) {
    if (!item.checkVisibility() || ![...item.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
    const [one, other] = [bright(getComputedStyle(item).color), bright(behind(item))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) found.push(`${item.tagName}.${item.className} ${item.textContent.slice(0, 20)} ${ratio.toFixed(2)}`);
  }
  return found;
})()"""


@pytest.mark.faults
def test_problems_are_shown_in_the_servers_words_and_go_away(tab: Open) -> None:
    page = tab("table")
    page.run(fill(column_0="1e200"))
    page.until("document.querySelector('#problem p')")
    assert "'size'" in page.text("#problem p") and "beyond 1e+150" in page.text("#problem p")
    assert page.run("document.getElementById('problem').getAttribute('role')") == "alert"
    assert page.run("document.getElementById('targets').hidden")
    page.run(fill(column_0="1"))
    page.until(ANSWERED)


@pytest.mark.faults
def test_a_lost_network_is_told_and_asked_again(tab: Open) -> None:
    page = tab()
    page.call("Fetch.enable", patterns=[{"urlPattern": "*/predict"}])
    page.run("document.getElementById('text').focus()")
    page.type(" more")
    page.call("Fetch.failRequest", requestId=page.heard("Fetch.requestPaused")["requestId"], errorReason="ConnectionRefused")
    page.until("document.querySelector('#problem strong')?.textContent === 'The server cannot be reached'")
    assert "Asking again in" in page.text(".again")
    page.call("Fetch.disable")
    page.until(ANSWERED)


@pytest.mark.faults
def test_a_busy_server_is_waited_for(tab: Open) -> None:
    page = tab()
    page.call("Fetch.enable", patterns=[{"urlPattern": "*/predict"}])
    page.run("document.getElementById('text').focus()")
    page.type(" more")
    identity = page.heard("Fetch.requestPaused")["requestId"]
    body = {"title": "Too many rows wait", "status": 429, "detail": "1,024 rows wait"}
    page.call("Fetch.fulfillRequest", requestId=identity, responseCode=429, body=base64.b64encode(json.dumps(body).encode()).decode(),
              responseHeaders=[{"name": "retry-after", "value": "1"}, {"name": "content-type", "value": "application/problem+json"}])
    page.until("document.querySelector('.again')?.textContent.includes('Asking again in 1 s')")
    assert page.text("#problem p") == "1,024 rows wait"
    page.call("Fetch.disable")
    page.until(ANSWERED)


@pytest.mark.slow
@pytest.mark.faults
def test_a_key_is_asked_for_and_kept_in_memory_only(tab: Open, models: Path, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{KEY}\n")
    with serving(tmp_path / "log", str(models / "mood" / "1"), "--api-key-file", str(file)) as at:
        page = tab(at=at)
        page.until("!document.getElementById('key-form').hidden")
        assert "key" in page.text("#problem strong")
        page.run("document.getElementById('key').focus()")
        page.type("wrong")
        page.key("Enter")
        page.until("document.querySelector('#problem p')?.textContent.includes('no key of this server')")
        page.run("document.getElementById('key').select()")
        page.type(KEY)
        page.key("Enter")
        page.until("document.getElementById('key-form').hidden && document.querySelectorAll('.bars li').length")
        assert KEY not in page.run("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])")
        assert "$BESSEMER_KEY" in page.text("#curl") and KEY not in page.text("#curl") and page.run("links.hidden")


def test_hostile_labels_and_texts_are_shown_not_run(tab: Open) -> None:
    page = tab("hostile")
    write(page, f"superb {HOSTILE[0]} {HOSTILE[1]} awful")
    assert set(page.run("[...document.querySelectorAll('.bars li')].map((item) => item.dataset.label)")) == set(HOSTILE)
    assert set(page.texts(".bar .label")) == set(HOSTILE) and HOSTILE[0] in page.text(".words")
    assert page.run("[window.hacked ?? null, document.querySelectorAll('main img, main script').length]") == [None, 0]


def test_right_to_left_and_narrow_screens(tab: Open) -> None:
    page = tab(width=360)
    write(page, "كان الفيلم superb اليوم")
    assert page.run("['#text', '.words'].map((name) => getComputedStyle(document.querySelector(name)).direction)") == ["rtl", "rtl"]
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    page = tab("table", width=360)
    assert page.run("document.documentElement.scrollWidth <= innerWidth")


COLUMNS = [
    {"name": "when", "kind": "date", "example": "2024-01-31", "missing": True}, {"name": "note", "kind": "words", "missing": True},
    {"name": "place", "kind": "vector", "missing": False}, {"name": "lift", "kind": "boolean", "labels": ["false", "true"]},
    {"name": "size", "kind": "number", "missing": False}, {"name": "town", "kind": "category", "labels": [f"t{n}" for n in range(99)]},
    {"name": '"><b>', "kind": "category", "labels": ["", "a", "<i>"]}, *({"name": f"c{n}", "kind": "number"} for n in range(50))]


def test_columns_of_every_kind(tab: Open) -> None:
    page = tab()
    page.run("import('/page/form.js').then((module) => { window.place = document.createElement('form'); document.body.append(place); "
             f"window.built = module.buildForm(place, {json.dumps({'reads': 'table', 'inputs': COLUMNS})}); return true }})")
    assert page.run("[...place.querySelectorAll('input, select, textarea')].slice(0, 7).map((item) => item.type)") == [
        "date", "textarea", "textarea", "select-one", "number", "text", "select-one"]
    assert page.run("[place.querySelectorAll('details input').length, place.querySelectorAll('datalist option').length, "
                    "place.querySelectorAll(':required').length, place.querySelectorAll('b, i').length]") == [17, 99, 2, 0]
    assert page.text("summary") == "17 more columns"
    assert page.run("built.read()")["empty"] and page.run("built.read().why") == "fill in place, size"
    given = {"when": "2024-02-29", "note": "x", "place": [1, -2.5], "lift": False, "size": 3, "town": "elsewhere", '"><b>': "<i>", "c49": 7}
    page.run(f"built.fill({json.dumps(given)})")
    read = page.run("built.read()")
    assert read["why"] == "" and {name: value for name, value in read["row"].items() if value is not None} == given
    page.run("built.fill({lift: true, '\"><b>': 'of no list', place: 'a, b', size: 1})")
    assert page.run("built.read().why") == "place is no number"
    page.run("built.fill({lift: true, '\"><b>': 'of no list', place: '[1; 2 3]', size: 1})")
    assert page.run("[built.read().row.place, built.read().row.lift, built.read().row['\"><b>']]") == [[1, 2, 3], True, "of no list"]
