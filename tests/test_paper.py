"""Pages to print."""

import numpy as np
import pytest
from PIL import Image
from pypdf import PdfReader

from faceage.photos.provenance import EDITED
from faceage.pictures.paper import PAPERS, Picture, Text, lines, printable, save_pdf, save_picture

FACE = np.full((64, 64, 3), (200, 30, 30), np.uint8)
PAGE = [Text(20, 20, 12, "Anna, a guess"), Text(100, 30, 9, "0.62", centred=True), Picture(50, 50, 40, FACE)]


@pytest.mark.parametrize("paper", PAPERS)
def test_a_picture_of_a_page_has_300_pixels_an_inch(tmp_path, paper):
    save_picture(PAGE, paper, tmp_path / "page.png", EDITED)
    page = Image.open(tmp_path / "page.png")
    assert page.size == tuple(round(side / 25.4 * 300) for side in PAPERS[paper])
    assert page.getpixel((round(70 / 25.4 * 300), round(70 / 25.4 * 300))) == (200, 30, 30)
    assert page.crop((236, 200, 700, 240)).getextrema()[0][0] < 50


@pytest.mark.parametrize("paper", PAPERS)
def test_a_pdf_is_one_page_whose_words_are_found(tmp_path, paper):
    save_pdf(PAGE, paper, "A guess", tmp_path / "page.pdf", EDITED)
    (page,) = PdfReader(tmp_path / "page.pdf").pages
    assert [float(side) for side in page.mediabox[2:]] == pytest.approx(
        [mm / 25.4 * 72 for mm in PAPERS[paper]], abs=0.1
    )
    assert page.extract_text().strip().split("\n") == ["Anna, a guess", "0.62"]
    assert len(page.images) == 1


def test_lines_are_no_longer_than_allowed_and_lose_no_word():
    words = "a photo of a child does not say what adult the child becomes " * 3
    narrow, wide = lines(words, 9, 40), lines(words, 9, 120)
    assert len(narrow) > 2 * len(wide) > 2
    assert " ".join(narrow).split() == words.split()


def test_a_name_longer_than_a_line_is_broken():
    assert len(broken := lines("x" * 100, 9, 40)) > 2
    assert "".join(broken) == "x" * 100


def test_letters_that_no_font_has_are_question_marks():
    assert printable("Anna \U0001f9d2") == "Anna ?"
