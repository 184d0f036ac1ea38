"""`report.html`: what it says, and that it does no harm. How it behaves is in test_report_browser.py."""

import base64
import io
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from aged_batch import HOSTILE, PAINTER, WEIGHTS, Batch, draw, shade
from commands import in_this_process
from PIL import Image

from faceage.ages import AGE_CLASSES
from faceage.batch.strips import SIDE, drawn_with, strip_path
from faceage.errors import UsageError
from faceage.report.page import visible
from faceage.report.rows import Painter, write_report
from faceage.store.manifest import FAILED, NO_FACE, UNREADABLE


class Page(HTMLParser):
    """What a browser would make of a page: its elements, and the text in its scripts and elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self.text = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes) -> None:
        self.elements.append((tag, dict(attributes)))
        self._inside = f"{tag} {dict(attributes).get('id', '')}".strip() if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, text: str) -> None:
        if self._inside:
            self.scripts[self._inside] = self.scripts.get(self._inside, "") + text
        else:
            self.text += f" {text} "

    @property
    def data(self) -> dict:
        return json.loads(self.scripts["script data"])

    @property
    def strips(self) -> list[str]:
        return json.loads(self.scripts["script strips"])

    @property
    def said(self) -> str:
        return " ".join(self.text.split())


def report(out: Path, most: int = 1000, **options) -> Page:
    return Page(write_report(out, most, **{"painter": PAINTER, **options}).read_text())


def shown_cells(page: Page, out: Path, face: int) -> np.ndarray:
    """(columns, SIDE, SIDE, 3) uint8 of a face, as the page has them."""
    url = page.strips[face]
    file = io.BytesIO(base64.b64decode(url.partition(",")[2])) if url.startswith("data:") else out / unquote(url)
    with Image.open(file) as strip:
        return np.asarray(strip.convert("RGB")).reshape(SIDE, -1, SIDE, 3).swapaxes(0, 1)


def assert_shades(cells: np.ndarray, person: int, columns: list[int]) -> None:
    assert len(cells) == len(columns)
    for cell, column in zip(cells, columns, strict=True):
        # Colours run a little into each other where cells meet.
        assert np.abs(cell[4:-4, 4:-4].astype(int) - shade(person, column)).max() <= 6


@pytest.fixture
def batch(tmp_path, face_row):
    return Batch(tmp_path / "aged", face_row)


@pytest.fixture(scope="module")
def some(tmp_path_factory, face_row):
    """A batch of 150 faces, two of them in one photo, and of photos that were not aged."""
    written = Batch(tmp_path_factory.mktemp("some") / "aged", face_row)
    for i in range(148):
        written.add(f"people/{i:03}.jpg")
    written.add("two.jpg", faces=2)
    written.fail("landscape.jpg", NO_FACE, "no face was found")
    written.fail("broken.jpg", UNREADABLE, "damaged image: it ends <early>")
    written.fail("full.jpg", FAILED, "its grid cannot be written: No space left on device")
    return written.write()


def test_a_photo_that_is_not_quite_right_says_so_on_its_card(batch):
    batch.add("cut <off>.jpg", warning="12 of 100 rows are missing\u202e")
    batch.add("good.jpg")
    page = report(batch.write())
    assert page.data["warnings"] == ["12 of 100 rows are missing\\u202e", ""]
    assert any("warning" in (attributes.get("class") or "") for _, attributes in page.elements)


def test_a_page_says_what_the_run_did(some):
    page = report(some, model="the-model")
    data = page.data
    assert len(data["names"]) == 150
    assert data["names"][:2] == ["people/000.jpg", "people/001.jpg"]
    assert data["names"][-2:] == ["two.jpg", "two.jpg"]
    assert data["numbers"] == [-1] * 148 + [0, 1]
    assert data["ages"] == data["classes"] == list(AGE_CLASSES)
    assert data["looks"] == [i % 6 for i in range(150)]
    assert data["before"][10] == pytest.approx(0.54)
    assert data["after"][10] == pytest.approx(0.24)
    assert data["failures"] == {
        "names": ["landscape.jpg", "broken.jpg", "full.jpg"],
        "statuses": [NO_FACE, UNREADABLE, FAILED],
        "reasons": [
            "no face was found",
            "damaged image: it ends <early>",
            "its grid cannot be written: No space left on device",
        ],
    }
    for text in (
        "photos 152 faces 150 no face 1 unreadable 1 failed 1",
        "rebuilt faces, identity distance 0.80 → to 0.50",
        "model the-model",
        f"weights {WEIGHTS}",
        "objective identity",
        "steps 60",
        "people's age estimated",
        "decode 38.8",
        "optimise 223.5",
    ):
        assert text in page.said
    assert re.search(r"faceage \d.* keras \d.* python 3", page.said)


def test_nothing_is_asked_of_other_machines_and_nothing_told_of_this_one(some):
    text = write_report(some, 1000, painter=PAINTER).read_text()
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r'base64,[^"]*', "", text))
    assert str(some) not in text
    assert str(some.parent) not in text
    page = Page(text)
    (policy,) = (a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert tag not in ("iframe", "object", "embed", "form", "base")
        assert "src" not in attributes
        assert re.match(r"#|data:,$", attributes.get("href") or "#")


def test_histograms_count_every_face(some):
    page = report(some, most=10)
    bars = [a for tag, a in page.elements if tag == "rect" and "y" in a]
    assert len(bars) == 2 * 28 + 6
    rows = re.findall(r"(\d\.\d\d)–(\d\.\d\d)\s+(\d+)\s+(\d+)", page.text)
    assert len(rows) == 28
    assert sum(int(before) for *_, before, _ in rows) == sum(int(after) for *_, after in rows) == 150
    assert "0-18 25 19-29 25 30-39 25" in re.sub(r"\s+", " ", page.text)


def test_faces_are_drawn_from_young_to_old_and_their_grids_are_not_looked_at(tmp_path, face_row):
    written = Batch(tmp_path / "out", face_row, ages="60+,0-18,40-49")
    for i in range(35):
        written.add(f"{i}.jpg")
    out = written.write()
    (out / "grids" / "0.jpg_0.png").unlink()
    (out / "grids" / "1.jpg_0.png").write_bytes(b"no picture")
    page = report(out)
    assert page.data["drawn"] == [1] * 35
    assert page.data["ages"] == ["0-18", "40-49", "60+"]
    assert page.data["grids"][0] == ""
    for person in (0, 1, 31, 32, 34):
        assert_shades(shown_cells(page, tmp_path, person), person, [0, 1, 2, 5, 7])


def test_without_the_model_only_the_photos_are_shown(batch):
    batch.add("a.jpg")
    page = report(batch.write(), painter=None)
    assert page.data["drawn"] == [0]
    cells = shown_cells(page, batch.out, 0)
    assert_shades(cells[:1], 0, [0])
    assert np.abs(cells[1:, 4:-4, 4:-4].astype(int) - 128).max() <= 6


def test_pictures_lie_in_the_page_or_all_of_them_beside_it(some):
    inside = report(some)
    assert all(url.startswith("data:image/jpeg;base64,") for url in inside.strips)
    assert "can be moved or sent by itself" in inside.said
    size = sum(len(url.partition(",")[2]) for url in inside.strips)
    beside = report(some, inline_bytes=size - 1000)
    assert beside.strips[0] == "report/people/000.jpg_0.jpg"
    assert {f"report/{path.relative_to(some / 'report')}" for path in (some / "report").rglob("*.jpg")} == set(
        beside.strips
    )
    assert "move both together" in beside.said
    for face in (0, 16, 149):
        np.testing.assert_array_equal(shown_cells(beside, some, face), shown_cells(inside, some, face))
    for path in (some / "report").rglob("*.jpg"):
        with Image.open(path) as strip:
            assert set(strip.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", "comment", "xmp"}


def test_faces_are_drawn_once(batch, tmp_path):
    """By the batch or by an earlier report: only strips that are missing, damaged or of other options are drawn."""
    asked = []

    def drawn_for(rows, ages, strength):
        asked.extend(row.source for row in rows)
        return draw(rows, ages, strength)

    for i in range(40):
        batch.add(f"{i:02}.jpg")
    out = batch.write()
    painter = Painter(drawn_for, PAINTER.drawn)
    whole = report(out, painter=painter)
    assert asked == [f"{i:02}.jpg" for i in range(40)]
    asked.clear()
    assert report(out, painter=painter).strips == whole.strips
    assert asked == []
    strip_path(out, "03.jpg", 0).unlink()
    strip_path(out, "35.jpg", 0).write_bytes(strip_path(out, "35.jpg", 0).read_bytes()[:20])
    with Image.open(strip_path(out, "36.jpg", 0)) as strip:
        strip.save(strip_path(out, "36.jpg", 0), comment="of another age")
    # Who has no model sees what the others look like, and the photo of these.
    assert [i for i, drawn in enumerate(report(out, painter=None).data["drawn"]) if not drawn] == [3, 35, 36]
    assert report(out, painter=painter).strips == whole.strips
    assert asked == ["03.jpg", "35.jpg", "36.jpg"]
    # Nobody's pictures are written again where they stand, those of the photo alone neither.
    strip_path(out, "04.jpg", 0).unlink()
    report(out, painter=None)
    before = {path: path.stat().st_ino for path in out.glob("report/*.jpg")}
    report(out, painter=None)
    assert {path: path.stat().st_ino for path in out.glob("report/*.jpg")} == before
    # What another model draws does for this page, and is not taken for the batch's.
    strip_path(out, "04.jpg", 0).unlink()
    asked.clear()
    for _ in range(2):
        assert all(report(out, painter=Painter(drawn_for, "another")).data["drawn"])
    assert asked == ["04.jpg"]
    assert drawn_with(strip_path(out, "04.jpg", 0)) == "another"
    assert not report(out, painter=None).data["drawn"][4]


def test_an_interrupted_report_leaves_nothing_half_written(some, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(some, out)
    (out / ".77.partial.html").write_bytes(b"half")
    report(out)
    assert not list(out.rglob("*.partial*"))


def test_whole_photos_are_linked_where_they_are(batch):
    for name in ("a b.jpg", "sub/c.heic", "some.jpg"):
        batch.add(name)
    out = batch.write()
    for age in AGE_CLASSES:
        for path in (out / "pasted" / f"a b.jpg_{age}.jpg", out / "pasted" / "sub" / f"c.heic_{age}.png"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (out / "pasted" / "some.jpg_60+.jpg").touch()
    assert report(out).data["pasted"] == ["pasted/a%20b.jpg_*.jpg", "pasted/sub/c.heic_*.png", ""]


def test_of_very_many_faces_some_are_shown_evenly(some):
    page = report(some, most=15)
    assert page.data["names"] == [f"people/{i:03}.jpg" for i in range(9, 148, 10)] + ["two.jpg"]
    assert "15 of 150 faces are shown" in page.said
    assert "photos 152 faces 150" in page.said
    for shown, person in enumerate(range(9, 150, 10)):
        assert_shades(shown_cells(page, some, shown), person, list(range(8)))


def test_names_are_harmless_and_visible(batch):
    plain = Batch(batch.out.with_name("plain"), batch._face_row)
    for i, name in enumerate(HOSTILE):
        batch.add(name)
        batch.fail(f"failed {name}", UNREADABLE, f"because of {name}")
        plain.add(f"{i}.jpg")
        plain.fail(f"failed {i}", UNREADABLE, "because")
    text = write_report(batch.write(), 1000, painter=PAINTER).read_text()
    page, harmless = Page(text), report(plain.write())
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in harmless.elements]
    assert page.scripts["script"] == harmless.scripts["script"]
    assert page.data["names"] == [visible(name) for name in HOSTILE]
    assert page.data["failures"]["reasons"] == [f"because of {visible(name)}" for name in HOSTILE]
    for unseen in "\u202e\u2066\u200b\ufeff\u2028\x1b\t\r":
        assert unseen not in text.replace("\r\n", "\n")
    for url in page.data["grids"]:
        assert re.fullmatch(r"grids/[\w.~%/-]+\.png", url)
        assert (batch.out / unquote(url)).is_file()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain ünï 名前.jpg", "plain ünï 名前.jpg"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("a\nb\x7f", r"a\nb\x7f"),
        ("zero\u200bwidth\u00ad", r"zero\u200bwidth\xad"),
        ("می\u200cخواهم 👩\u200d🚀", "می\u200cخواهم 👩\u200d🚀"),
        ("half \ud800", r"half \ud800"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_does_not_show_is_escaped(name, shown):
    assert visible(name) == shown


def test_a_name_that_was_cut_has_its_grid(batch):
    batch.add("n" * 255)
    page = report(batch.write())
    assert "~" in page.data["grids"][0]


def test_strangers_latents_show_nothing_from_elsewhere(batch, tmp_path):
    batch.add("good.jpg")
    batch.add("../../secret")
    batch.add(str(tmp_path / "secret"))
    out = batch.write()
    for place in (tmp_path / "secret_0.png", out.parent / "secret_0.png"):
        shutil.copy(out / "grids" / "good.jpg_0.png", place)
    page = report(out)
    assert page.data["grids"] == ["grids/good.jpg_0.png", "", ""]


def test_photos_that_are_not_finished_are_not_there_yet(batch):
    batch.add("done.jpg")
    batch.add("half.jpg", entered=False)
    batch.add("failed.jpg", entered=False)
    batch.fail("failed.jpg", FAILED, "the photo changed while it was worked on")
    page = report(batch.write())
    assert page.data["names"] == ["done.jpg"]
    assert "photos 2 faces 1" in page.said


def test_a_distance_that_is_no_number_is_left_out(batch):
    batch.add("a.jpg", identity_distance=np.array([np.nan, np.inf], np.float32))
    batch.add("b.jpg")
    page = report(batch.write())
    assert page.data["before"] == [None, 0.504]
    assert "rebuilt faces, identity distance 0.50 → to 0.20" in page.said


def test_a_run_without_a_face_has_a_page(batch):
    batch.fail("a.jpg", NO_FACE, "no face was found")
    page = report(batch.write())
    assert page.data["names"] == page.strips == []
    assert page.data["failures"]["names"] == ["a.jpg"]


def test_the_command(some):
    status, told, said = in_this_process("report", some, "--limit", 20)
    assert (status, told) == (0, "")
    assert f"report → {some / 'report.html'}" in said
    assert len(Page((some / "report.html").read_text()).data["names"]) == 20
    assert in_this_process("report", some, "-q") == (0, "", "")


def test_wrong_usage_is_exit_2(some, tmp_path):
    status, _, said = in_this_process("report", tmp_path)
    assert status == 2
    assert "no batch in" in said
    status, _, said = in_this_process("report", some, "--weights", tmp_path)
    assert status == 2
    assert "no model found" in said
    out = tmp_path / "copy"
    shutil.copytree(some, out, ignore=shutil.ignore_patterns("report*"))
    (out / "report.html").mkdir()
    status, _, said = in_this_process("report", out)
    assert status == 2
    assert "cannot write to" in said


def test_it_needs_no_network_of_ours(some):
    """Neither TensorFlow nor Keras is imported, which would take longer than the report itself."""
    code = (
        "import sys; from pathlib import Path; from faceage.report.rows import write_report\n"
        "write_report(Path(sys.argv[1]), 5)\n"
        "sys.exit(str({'tensorflow', 'keras', 'torch', 'mtcnn'} & set(sys.modules) or ''))"
    )
    result = subprocess.run([sys.executable, "-c", code, some], capture_output=True, text=True, timeout=60)
    assert result.stderr.strip() == ""
    with pytest.raises(UsageError, match="no batch"):
        write_report(some / "grids", 5)
