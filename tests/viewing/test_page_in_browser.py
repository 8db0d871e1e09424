"""The page as Chromium shows it: keys, filters, playing, layout, contrast. Skipped without a browser."""

import pytest

from fmrgb_stream import ClipConfig
from fmrgb_stream.viewing.page import make_page
from tests.support.browser import Browser

CLIP = ClipConfig(num_frames=6, frame_stride=2, size=(64, 96), window="start")

# Relative luminance and contrast ratio: WCAG 2.1, definitions; 4.5 is level AA for text.
CONTRASTS = """(() => {
  const channels = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b]
    .map((c) => c / 255).map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const paint = channels(getComputedStyle(node).backgroundColor);
      if (paint.length < 4 || paint[3] === 1) return paint;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll(
      "h1, h2, p, label, select, input, button, summary, .badge, figcaption, small, output, kbd, .axis span")]
    .filter((node) => node.getClientRects().length && !node.disabled)
    .map((node) => {
      const pair = [light(channels(getComputedStyle(node).color)), light(behind(node))].sort();
      return [node.tagName + "." + node.className, (pair[1] + 0.05) / (pair[0] + 0.05)];
    })
    .filter(([, ratio]) => ratio < 4.5);
})()"""

# Boxes of things that stand beside or below each other may not share area; none leaves the window.
OVERLAPS = """(() => {
  const found = [];
  const pairs = (nodes, where) => nodes.forEach((one, k) => nodes.slice(k + 1).forEach((other) => {
    const [a, b] = [one.getBoundingClientRect(), other.getBoundingClientRect()];
    const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (width > 1 && height > 1) found.push(where + ": " + one.outerHTML.slice(0, 60) + " / " + other.outerHTML.slice(0, 60));
  }));
  const shown = (nodes) => [...nodes].filter((node) => node.getClientRects().length);
  pairs(shown(document.querySelectorAll("header > *, article")), "page");
  pairs(shown(document.querySelectorAll("#filters > *")), "filters");
  for (const card of shown(document.querySelectorAll("article"))) {
    pairs(shown(card.children), "card");
    pairs(shown(card.querySelectorAll("figure, .controls > *")), "views and controls");
    pairs(shown(card.querySelectorAll(".axis span")), "axis");
    pairs(shown(card.querySelectorAll(".lane, .axis")), "lanes");
  }
  for (const node of shown(document.querySelectorAll("body *:not(.strips *)"))) {
    const box = node.getBoundingClientRect();
    if (box.width && box.right > innerWidth + 1) found.push("too wide: " + node.outerHTML.slice(0, 80));
  }
  if (document.documentElement.scrollWidth > innerWidth) found.push("the page scrolls sideways");
  return found;
})()"""

KEY = "cards[current].sample.key"
SHOWN = "cards.filter((card) => !card.root.hidden).map((card) => card.sample.key)"


@pytest.fixture(scope="module")
def page_file(numbered, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(make_page(numbered, clip=CLIP).html, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser():
    with Browser() as opened:
        yield opened


@pytest.fixture
def page(browser, page_file):
    browser.look(width=1280)
    browser.open(page_file)
    return browser


def set_field(page, name, value, event="change"):
    page.run(
        f"(() => {{ const field = byId('{name}'); field.value = '{value}';"
        f" field.dispatchEvent(new Event('{event}')); }})()"
    )


def test_every_sample_has_a_card_and_nothing_complains(page, page_file):
    assert len(page.run(SHOWN)) == 8
    assert page.troubles() == []
    assert set(page.requests()) == {page_file.as_uri()}


def test_every_picture_is_decoded(page):
    page.wait_for("[...document.images].every((image) => image.complete)")
    assert page.run("document.images.length") == 8 * 5
    assert page.run("[...document.images].filter((image) => !image.naturalWidth).length") == 0


def test_a_class_filters(page):
    set_field(page, "class", "class-2")
    assert sorted(page.run(SHOWN)) == ["clip-002", "clip-005"]
    assert page.run("byId('shown').textContent") == "2 of 8 shown"


def test_part_of_a_key_filters_and_nothing_found_says_so(page):
    set_field(page, "key", "-003", "input")
    assert page.run(SHOWN) == ["clip-003"]
    set_field(page, "key", "nobody", "input")
    assert page.run("byId('none').hidden") is False


def test_j_and_k_go_over_the_samples_that_are_shown(page):
    keys = page.run(SHOWN)
    page.press("j")
    assert page.run(KEY) == keys[1]
    page.press("k")
    page.press("k")
    assert page.run(KEY) == keys[0]
    set_field(page, "class", "class-1")
    keys = page.run(SHOWN)
    page.press("j")
    assert page.run(KEY) == keys[1]


def test_arrows_step_and_stop_at_the_ends(page):
    frame = "cards[current].frame"
    page.press("ArrowLeft")
    assert page.run(frame) == 0
    page.press("ArrowRight")
    page.press("ArrowRight")
    assert page.run(frame) == 2
    page.press("End")
    page.press("ArrowRight")
    assert page.run(frame) == 5
    page.press("Home")
    assert page.run(frame) == 0


def test_a_step_shows_the_next_part_of_the_sprite_and_moves_the_cursor(page):
    place = (
        "[cards[current].pictures[0].style.backgroundPosition, cards[current].cursor.style.left]"
    )
    before = page.run(place)
    page.press("ArrowRight")
    picture, cursor = page.run(place)
    assert before[0].startswith("0%")
    assert picture.startswith("20%")
    # From -0.25 to 1.25 s the second frame, at 0.2 s, stands at 0.45 / 1.5.
    assert float(cursor.rstrip("%")) == pytest.approx(30.0, abs=0.01)


def test_space_plays_with_sound_to_the_end(page):
    page.press(" ")
    assert page.run("cards[current].playing !== null")
    page.wait_for("cards[current].audio.readyState >= 3")
    assert page.run("cards[current].audio.duration") == pytest.approx(1.2, abs=0.01)
    page.wait_for("cards[current].frame >= 2")
    page.wait_for("cards[current].playing === null")
    assert page.run("cards[current].frame") == 5
    assert page.run("cards[current].audio.error") is None


# In the page, because a clip may have ended before an answer crosses the pipe of a busy machine.
PAUSED = """new Promise((done) => {
  const press = () => document.body.dispatchEvent(new KeyboardEvent("keydown", {key: " ", bubbles: true}));
  const card = cards[current];
  press();
  const look = () => {
    if (card.playing && card.frame < 1) return void requestAnimationFrame(look);
    const frame = card.frame;
    press();
    setTimeout(() => done([frame, card.frame, card.playing === null, card.audio.paused]), 300);
  };
  look();
})"""

GAPS = """new Promise((done) => {
  const card = cards[current];
  const found = [];
  card.toggle();
  const look = () => {
    if (!card.playing) return void done(found);
    const time = card.audio.currentTime;
    if (card.playing.hears) found.push(time - card.sample.times[card.frame]);
    requestAnimationFrame(look);
  };
  look();
})"""


def test_space_pauses(page):
    before, after, is_stopped, is_silent = page.run(PAUSED)
    assert 1 <= before == after < 5
    assert is_stopped
    assert is_silent


def test_the_picture_is_the_one_of_the_sound(page):
    gaps = page.run(GAPS)
    assert len(gaps) > 5
    # A frame is on for 0.2 s; it may be drawn one refresh of a busy screen late.
    assert all(-0.05 <= gap <= 0.2 + 0.1 for gap in gaps)


def test_letters_in_the_search_field_are_letters(page):
    first = page.run(KEY)
    page.press("/")
    page.press("j")
    assert page.run("byId('key').value") == "j"
    page.press("Escape")
    assert page.run("document.activeElement.tagName") in ("ARTICLE", "BODY")
    set_field(page, "key", "", "input")
    assert page.run(KEY) == first


def test_every_control_has_a_name(page):
    bare = page.run(
        "[...document.querySelectorAll('button, input, select, [role=img], img')].filter((node) =>"
        " !(node.ariaLabel || node.alt || node.labels?.length)).length"
    )
    assert bare == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(page, scheme):
    page.look(width=1280, scheme=scheme)
    page.run("byId('legend').open = true")
    assert page.run(CONTRASTS) == []


@pytest.mark.parametrize("width", [1280, 760, 390])
def test_nothing_overlaps_or_leaves_the_window(page, width):
    page.look(width=width)
    page.run("byId('legend').open = true")
    assert page.run(OVERLAPS) == []


def test_odd_samples_are_shown_without_complaint(browser, odd, tmp_path):
    path = tmp_path / "odd.html"
    path.write_text(make_page(odd).html, encoding="utf-8")
    browser.look(width=760)
    browser.open(path)
    assert sorted(browser.run(SHOWN)) == ["heard", "mute", "silent"]
    assert browser.run(OVERLAPS) == []
    for _ in range(3):
        browser.press("ArrowRight")
        browser.press("j")
    assert browser.troubles() == []
