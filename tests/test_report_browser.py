"""`report.html` in headless Chromium, opened from the disk."""

import re
import shutil
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from aged_batch import HOSTILE, PAINTER, WEIGHTS, Batch, shade
from PIL import Image

from faceage.ages import AGE_CLASSES
from faceage.batch.strips import SIDE
from faceage.files import write_text
from faceage.report.page import Contents, ShownFace, picture_urls, render_report
from faceage.report.rows import write_report
from faceage.store.manifest import FAILED, NO_FACE, UNREADABLE, PhotoOutcome

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
]


@pytest.fixture(scope="module")
def browser():
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: it is in the extra [dev]")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=found, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser):
    """Open a page; whatever it does meanwhile, nothing may be wrong with it or leave the machine."""
    # Without motion: while a page still scrolls smoothly, a picture of a part of it shows what was there before.
    still = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"}
    contexts = []

    def go(path: Path, prepare=lambda page: None, **options):
        contexts.append(browser.new_context(**{**still, **options}))
        page = contexts[-1].new_page()
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.on("requestfailed", lambda request: wrong.append(request.url[:100]))
        page.on("request", lambda request: asked.append(request.url))
        prepare(page)
        page.goto(path.as_uri())
        return page

    wrong: list[str] = []
    asked: list[str] = []
    yield go
    for context in contexts:
        context.close()
    assert wrong == []
    assert {url.partition(":")[0] for url in asked} <= {"file", "data", "blob"}


@pytest.fixture(scope="module")
def out(tmp_path_factory, face_row) -> Path:
    """A batch of 150 faces, two of them in one photo, and of photos that were not aged."""
    written = Batch(tmp_path_factory.mktemp("batch") / "aged", face_row)
    for i in range(148):
        written.add(f"people/{i:03}.jpg")
    written.add("two.jpg", faces=2)
    written.fail("landscape.jpg", NO_FACE, "no face was found")
    written.fail("people/broken.jpg", UNREADABLE, "damaged image: it ends <early>")
    written.fail("full.jpg", FAILED, "its grid cannot be written: No space left on device")
    return written.write()


@pytest.fixture(scope="module")
def written(out) -> Path:
    return write_report(out, 1000, painter=PAINTER)


def names(page) -> list[str]:
    return page.locator(".card h3").all_text_contents()


def count(page) -> str:
    return page.locator("#count").inner_text()


def failures(page) -> list[str]:
    return page.locator("#failure-rows th").all_inner_texts()


def seen(page, card: int, kind: str) -> np.ndarray:
    """The colour that is on the screen in the middle of a picture of a card, (3,)."""
    place = page.locator(".card").nth(card).locator(f".{kind}")
    place.scroll_into_view_if_needed()
    picture = np.asarray(Image.open(BytesIO(place.screenshot())).convert("RGB"))
    return np.median(picture.reshape(-1, 3), axis=0)


def assert_seen(page, card: int, kind: str, person: int, column: int) -> None:
    np.testing.assert_allclose(seen(page, card, kind), shade(person, column), atol=6)


def test_it_opens_on_the_oldest_face_beside_the_photo(visit, written):
    page = visit(written)
    assert page.title() == "aged · faceage"
    assert count(page) == "1–60 of 150 faces"
    assert names(page)[0] == "people/000.jpg"
    assert failures(page) == ["landscape.jpg", "people/broken.jpg", "full.jpg"]
    assert "it ends <early>" in page.locator("#failure-rows").inner_text()
    for person in (0, 17, 59):
        assert_seen(page, person, "photo", person, 0)
        assert_seen(page, person, "aged", person, 7)


@pytest.mark.parametrize("inline_bytes", [0, 10_000_000])
def test_a_slider_is_moved_by_keyboard(visit, out, tmp_path, inline_bytes):
    copied = tmp_path / "moved here"
    shutil.copytree(out, copied)
    page = visit(write_report(copied, 1000, painter=PAINTER, inline_bytes=inline_bytes))
    card = page.locator(".card").nth(3)
    slider = card.get_by_role("slider")
    slider.focus()
    for age in (4, 3, 2, 1, 0, 0):
        page.keyboard.press("ArrowLeft")
        assert slider.get_attribute("aria-valuetext") == AGE_CLASSES[age]
        assert card.locator(".caption").all_inner_texts() == ["photo", AGE_CLASSES[age]]
        assert card.locator(".aged").get_attribute("aria-label") == f"people/003.jpg at {AGE_CLASSES[age]}"
        assert_seen(page, 3, "aged", 3, age + 2)
    page.keyboard.press("End")
    assert_seen(page, 3, "aged", 3, 7)
    page.keyboard.press("Home")
    assert_seen(page, 4, "aged", 4, 7)
    # It is kept while the card is away.
    page.get_by_role("button", name="Next").first.click()
    page.get_by_role("button", name="Previous").first.click()
    assert_seen(page, 3, "aged", 3, 2)


def divided(page) -> tuple[np.ndarray, np.ndarray]:
    """The colours on the screen left and right of the middle of the large picture, (3,) each."""
    picture = np.asarray(Image.open(BytesIO(page.locator(".wipe").screenshot())).convert("RGB"))
    half = picture.shape[1] // 2
    return tuple(np.median(part.reshape(-1, 3), axis=0) for part in (picture[:, : half - 4], picture[:, half + 4 :]))


def test_photo_and_aged_face_are_compared_under_one_slider(visit, out, tmp_path):
    copied = tmp_path / "with whole photos"
    shutil.copytree(out, copied)
    for age in AGE_CLASSES:
        path = copied / "pasted" / "people" / f"003.jpg_{age}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9)).save(path)
    page = visit(write_report(copied, 1000, painter=PAINTER))
    button = page.get_by_role("button", name="Compare people/003.jpg, larger")
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="people/003.jpg")
    assert page.evaluate("document.activeElement.id") == "wipe"
    for part, column in zip(divided(page), (0, 7), strict=True):
        np.testing.assert_allclose(part, shade(3, column), atol=6)
    page.keyboard.press("End")
    assert dialog.get_by_label("From the aged face").get_attribute("aria-valuetext") == "100% photo"
    np.testing.assert_allclose(divided(page), [shade(3, 0)] * 2, atol=6)
    page.keyboard.press("Home")
    np.testing.assert_allclose(divided(page), [shade(3, 7)] * 2, atol=6)
    # Its age is the card's.
    dialog.get_by_label("Age", exact=True).focus()
    page.keyboard.press("Home")
    np.testing.assert_allclose(divided(page), [shade(3, 2)] * 2, atol=6)
    assert page.locator(".card").nth(3).get_by_role("slider", include_hidden=True).input_value() == "0"
    whole = dialog.get_by_role("link", name="Whole photo at 0-18")
    target = page.evaluate("([a]) => a.href", [whole.element_handle()])
    shown = page.context.new_page()
    assert shown.goto(target).ok
    dialog.get_by_role("button", name="Next face").click()
    assert page.get_by_role("dialog", name="people/004.jpg").is_visible()
    assert whole.count() == 0
    page.keyboard.press("Escape")
    assert page.locator("dialog").is_hidden()
    assert page.evaluate("document.activeElement.className") == "enlarge"


def test_a_finger_moves_the_line_between_them(visit, written):
    page = visit(written, viewport={"width": 390, "height": 800}, has_touch=True)
    page.locator(".card").nth(2).locator(".aged").tap()
    assert page.get_by_role("dialog", name="people/002.jpg").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    box = page.locator(".wipe").bounding_box()
    page.touchscreen.tap(box["x"] + 0.9 * box["width"], box["y"] + 20)
    assert 85 <= int(page.locator("#wipe").input_value()) <= 95
    np.testing.assert_allclose(divided(page)[0], shade(2, 0), atol=6)


def test_everybody_at_one_age(visit, written):
    page = visit(written)
    slider = page.get_by_label("Everybody at")
    slider.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert page.locator("#everybody-age").inner_text() == slider.get_attribute("aria-valuetext") == "19-29"
    assert_seen(page, 0, "aged", 0, 3)
    page.get_by_role("button", name="Next").first.click()
    assert_seen(page, 1, "aged", 61, 3)
    page.get_by_label("beside the").select_option("rebuilt face")
    assert_seen(page, 1, "photo", 61, 1)
    assert page.locator(".card").nth(1).locator(".caption").all_inner_texts() == ["rebuilt", "19-29"]


def test_play_goes_through_the_ages_until_it_is_stopped(visit, written):
    page = visit(written)
    page.get_by_role("button", name="Play").click()
    for age in (AGE_CLASSES[0], AGE_CLASSES[1]):
        page.locator("#everybody-age", has_text=age).wait_for()
    page.get_by_role("button", name="Stop").click()
    stopped = page.locator("#everybody-age").inner_text()
    page.wait_for_timeout(1500)
    assert page.locator("#everybody-age").inner_text() == stopped
    assert page.get_by_role("button", name="Play").is_visible()


def test_filters(visit, written):
    page = visit(written)
    status, looks = page.get_by_label("Status"), page.get_by_label("Photo shows")
    status.select_option("unreadable (1)")
    assert (count(page), failures(page)) == ("No face fits.", ["people/broken.jpg"])
    status.select_option("ok (149)")
    assert (count(page), failures(page)) == ("1–60 of 150 faces", [])
    status.select_option("all")
    looks.select_option("30-39")
    assert count(page) == "25 faces"
    assert names(page) == [f"people/{i:03}.jpg" for i in range(2, 148, 6)]
    # Distances after are 0.2 + 0.004 × number, those before 0.3 more.
    page.get_by_label("At least").fill("0.4")
    page.get_by_label("At most").fill("0.45")
    assert names(page) == ["people/050.jpg", "people/056.jpg", "people/062.jpg"]
    page.get_by_label("Which identity distance").select_option("before")
    assert count(page) == "No face fits."
    page.get_by_role("button", name="Reset").click()
    assert count(page) == "1–60 of 150 faces"
    page.get_by_label("Photo's name").fill("PEOPLE/00")
    assert names(page) == [f"people/00{i}.jpg" for i in range(10)]
    assert failures(page) == []
    page.get_by_label("Photo's name").fill("broken")
    assert failures(page) == ["people/broken.jpg"]
    page.get_by_label("Photo's name").fill("two")
    assert names(page) == ["two.jpg · face 0", "two.jpg · face 1"]
    assert_seen(page, 1, "photo", 149, 0)
    assert page.locator(".photo").nth(1).get_attribute("aria-label") == "two.jpg · face 1, photo"


@pytest.mark.parametrize(
    ("order", "first"),
    [("farthest first", 149), ("nearest first", 0), ("youngest first", 0), ("oldest first", 5)],
)
def test_orders(visit, written, order, first):
    page = visit(written)
    page.get_by_label("Order").select_option(order)
    assert_seen(page, 0, "photo", first, 0)
    if order == "farthest first":
        distances = [float(text.split()[-1]) for text in page.locator(".distance").all_text_contents()]
        assert distances == sorted(distances, reverse=True)


def test_pages(visit, written):
    page = visit(written)
    above = page.get_by_role("navigation", name="Pages of faces", exact=True)
    assert above.get_by_role("button", name="Previous").is_disabled()
    page.get_by_role("navigation", name="below them").get_by_role("button", name="Next").click()
    assert count(page) == "61–120 of 150 faces"
    # The keyboard goes on where the new page begins.
    assert page.evaluate("document.activeElement.textContent") == "Next"
    page.keyboard.press("Enter")
    assert count(page) == "121–150 of 150 faces"
    assert above.get_by_role("button", name="Next").is_disabled()
    for typed, shown in (("1", "1–60"), ("99", "121–150"), ("-5", "1–60"), ("", "1–60")):
        above.get_by_label("Page").fill(typed)
        page.keyboard.press("Enter")
        assert count(page).startswith(shown)
    page.get_by_label("Photo's name").fill("two")
    assert above.is_hidden()


def test_by_keyboard_alone(visit, written):
    page = visit(written)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the faces"
    page.keyboard.press("Enter")
    controls = "name status looks which least most order reset everybody play beside"
    for expected in controls.split():
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == expected
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", expected


def test_everything_has_a_name_for_a_screen_reader(visit, written):
    page = visit(written)
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    found: dict[str, list[str]] = {}
    for node in nodes:
        if not node.get("ignored"):
            name = node.get("name", {}).get("value", "").strip()
            found.setdefault(node["role"]["value"], []).append(name)
    for role in ("slider", "combobox", "searchbox", "spinbutton", "button", "image", "link", "heading", "navigation"):
        assert found[role], role
        assert all(found[role]), role
    # Two pictures and a slider a card, one slider for all; and the histogram.
    assert len(found["image"]) >= 2 * 60 + 1
    assert len(found["slider"]) == 61
    assert len(set(found["slider"])) == 61
    assert len(found["main"]) == len(found["banner"]) == len(found["contentinfo"]) == 1
    assert "status" in found
    assert page.locator("html").get_attribute("lang") == "en"
    levels = [int(tag[1]) for tag in page.eval_on_selector_all("h1, h2, h3", "all => all.map(e => e.tagName)")]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def luminance(color: str) -> float:
    values = np.array([float(value) for value in re.findall(r"[\d.]+", color)[:3]]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_in_light_and_dark(visit, written, scheme):
    page = visit(written, color_scheme=scheme)
    pairs = page.evaluate(
        """() => Array.from(document.querySelectorAll("h1, h2, a, dt, dd, p, label, legend, select, th, td, span"))
        .filter(e => e.checkVisibility() && e.textContent.trim() && !e.closest(".caption, .skip")).map(e => {
            let behind = e;
            while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
            return [getComputedStyle(e).color, getComputedStyle(behind).backgroundColor, e.textContent.slice(0, 40)];
        })"""
    )
    assert len(pairs) > 300
    for ink, ground, text in pairs:
        low, high = sorted((luminance(ink), luminance(ground)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ink, ground)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (luminance(ground) > 0.5) == (scheme == "light")


@pytest.mark.parametrize("width", [360, 768, 1920])
def test_nothing_is_cut_off_on_any_width(visit, written, width):
    page = visit(written, viewport={"width": width, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") == width
    outside = page.evaluate(
        """width => Array.from(document.querySelectorAll("input, select, button, .card, .face, h1, dd"))
        .filter(e => e.checkVisibility())
        .filter(e => e.getBoundingClientRect().right > width || e.getBoundingClientRect().left < 0)
        .map(e => e.outerHTML)""",
        width,
    )
    assert outside == []
    faces = page.locator(".card").first.locator(".face")
    for face in (faces.nth(0), faces.nth(1)):
        box = face.bounding_box()
        assert box["width"] == pytest.approx(box["height"], abs=0.5)
        assert box["width"] > 115


def test_hostile_names_are_shown_and_do_nothing(visit, tmp_path, face_row):
    batch = Batch(tmp_path / "out </title><script>alert(1)</script>".replace("/", "⁄"), face_row)
    for name in HOSTILE:
        batch.add(name)
        batch.fail(f"failed {name}", UNREADABLE, f"because of {name}")
    page = visit(write_report(batch.write(), 1000, painter=PAINTER))
    texts = page.eval_on_selector_all(".card h3", "all => all.map(e => e.textContent)")
    assert texts[0] == "</script><script>alert(1)</script>.jpg"
    assert r"two\nlines\tand\rmore.jpg" in texts
    assert r"\u202egpj.exe" in texts
    assert "a  b .jpg" in texts
    assert len(set(texts)) == len(HOSTILE)
    assert page.locator("script").count() == 3
    assert page.locator("img").count() == 0
    # The links lead to the grids.
    for i in range(len(HOSTILE)):
        link = page.locator(".card h3 a").nth(i)
        target = page.evaluate("([a]) => a.href", [link.element_handle()])
        assert target.startswith("file://")
        shown = page.context.new_page()
        assert shown.goto(target).ok
        assert shown.locator("img").evaluate("image => image.naturalWidth") == 8
        shown.close()


def test_a_run_of_one_age_or_none_has_nothing_to_slide(visit, tmp_path, face_row):
    one = Batch(tmp_path / "one", face_row, ages="40-49")
    one.add("a.jpg")
    page = visit(write_report(one.write(), 1000, painter=PAINTER))
    assert page.locator(".card input").is_disabled()
    assert page.get_by_label("Everybody at").is_disabled()
    assert_seen(page, 0, "aged", 0, 5)
    none = Batch(tmp_path / "none", face_row)
    none.fail("a.jpg", NO_FACE, "no face was found")
    page = visit(write_report(none.write(), 1000, painter=PAINTER))
    assert count(page) == "No face fits."
    assert failures(page) == ["a.jpg"]


_PEOPLE = 16
"""Strips that are different."""


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> SimpleNamespace:
    """10,000 faces and as many photos that were not aged; the pictures lie beside the page."""
    folder, faces = tmp_path_factory.mktemp("many"), 10_000
    (folder / "report").mkdir()
    random = np.random.default_rng(0)
    for person in range(_PEOPLE):
        shades = np.repeat([shade(person, column) for column in range(8)], SIDE, axis=0)
        # As large as those of people.
        strip = Image.fromarray(shades[None] + random.integers(0, 12, (SIDE, 8 * SIDE, 3), np.uint8))
        strip.save(folder / "report" / f"{person}.jpg", quality=88)
    strips = [folder / "report" / f"{face % _PEOPLE}.jpg" for face in range(faces)]
    distances = np.random.default_rng(0).random((faces, 2))
    contents = Contents(
        title="many",
        photos={"ok": faces, "no_face": 0, "unreadable": faces, "failed": 0},
        faces=[
            ShownFace(f"{i % 100:02}/photo {i:05}.jpg", -1, strips[i], True, f"grids/{i}.png", "", i % 6, *distances[i])
            for i in range(faces)
        ],
        total_faces=faces,
        failures=[PhotoOutcome(f"broken {i}.jpg", UNREADABLE, 0, "the file is empty") for i in range(faces)],
        ages=AGE_CLASSES,
        distances=distances,
        age_counts=np.full(6, faces // 6),
        same_person_below=0.97,
        seconds={"decode": 1.0},
        settings={"weights": WEIGHTS},
        versions={"python": "3"},
    )
    write_text(folder / "report.html", render_report(contents, picture_urls(folder, strips)))
    return SimpleNamespace(page=folder / "report.html", distances=distances)


@pytest.mark.slow
def test_ten_thousand_faces_open_within_three_seconds_and_can_be_used(visit, many):
    sessions = []

    def prepare(page) -> None:
        sessions.append(page.context.new_cdp_session(page))
        sessions[0].send("Performance.enable")

    def seconds() -> float:
        metrics = sessions[0].send("Performance.getMetrics")["metrics"]
        return next(metric["value"] for metric in metrics if metric["name"] == "ScriptDuration")

    page = visit(many.page, prepare)
    assert seconds() < 3
    page.get_by_label("Order").select_option("farthest first")
    page.get_by_label("Photo's name").fill("7.jpg")
    page.get_by_label("Everybody at").focus()
    page.keyboard.press("Home")
    page.get_by_role("button", name="Next").first.click()
    assert count(page) == "61–120 of 1,000 faces"
    ordered = sorted(range(7, 10_000, 10), key=lambda face: -round(many.distances[face, 1], 4))
    assert names(page) == [f"{face % 100:02}/photo {face:05}.jpg" for face in ordered[60:120]]
    # Never more than a page of them.
    assert page.locator(".card").count() == 60
    assert page.locator("#failure-rows tr").count() == 100
    person = ordered[60] % _PEOPLE
    np.testing.assert_allclose(seen(page, 0, "aged"), shade(person, 2).astype(int) + 5.5, atol=9)
