"""A page to print, in mm: as PDF whose text can be searched, or as a picture of 300 pixels an inch."""

import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from faceage.files import written_whole
from faceage.pictures.save import save_png

PAPERS = {"a4": (210.0, 297.0), "letter": (215.9, 279.4)}
"""Width and height in mm."""

_DPI = 300
_DOTS = _DPI / 25.4
"""Pixels a mm."""
_POINT = 25.4 / 72
"""mm."""
_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial Unicode.ttf", "arial.ttf", "LiberationSans-Regular.ttf")
"""Fonts with many scripts, looked for where the system keeps its fonts."""


@dataclass(frozen=True)
class Text:
    """Words on one line: `x` and the baseline `y` in mm from the upper left corner, `size` in points."""

    x: float
    y: float
    size: float
    words: str
    centred: bool = False
    """Whether `x` is their middle."""


@dataclass(frozen=True)
class Picture:
    """A square picture, (s, s, 3) uint8, of `side` mm with its upper left corner at `x`, `y`."""

    x: float
    y: float
    side: float
    pixels: np.ndarray


Page = Sequence[Text | Picture]


def lines(words: str, size: float, width: float) -> list[str]:
    """`words` in lines of at most `width` mm."""
    done, line = [], ""
    for word in words.split():
        longer = f"{line} {word}".strip()
        if line and _width(longer, size) > width:
            done.append(line)
            longer = word
        line = longer
        # A word that is longer than a line, as names of files are.
        while _width(line, size) > width:
            fits = next(n for n in range(len(line) - 1, 0, -1) if n == 1 or _width(line[:n], size) <= width)
            done.append(line[:fits])
            line = line[fits:]
    return [*done, line]


def printable(words: str) -> str:
    """`words` with "?" in place of characters that no font found here has."""
    return "".join(letter if ord(letter) in _letters() else "?" for letter in words)


def save_pdf(page: Page, paper: str, title: str, path: Path, xmp: bytes) -> None:
    """Write `page`, on one of `PAPERS`, as a PDF of this `title`; `xmp` is as of `pictures.save`."""
    from fpdf import FPDF

    # It tells of every table of a font that it leaves out.
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    sheet = FPDF(unit="mm", format=PAPERS[paper])
    sheet.set_title(title)
    sheet.set_creator("faceage")
    # It wraps the packet itself.
    sheet.set_xmp_metadata("\n".join(xmp.decode().splitlines()[1:-1]))
    sheet.set_auto_page_break(False)
    sheet.add_page()
    with TemporaryDirectory() as folder:
        # It takes a font as a file only.
        file = Path(folder) / "font.ttf"
        file.write_bytes(_font_bytes())
        sheet.add_font("page", fname=file)
    for part in page:
        if isinstance(part, Picture):
            sheet.image(Image.fromarray(part.pixels), part.x, part.y, part.side, part.side)
            continue
        sheet.set_font("page", size=part.size)
        words = printable(part.words)
        sheet.text(part.x - sheet.get_string_width(words) / 2 * part.centred, part.y, words)
    with written_whole(path) as partial:
        partial.write_bytes(bytes(sheet.output()))


def save_picture(page: Page, paper: str, path: Path, xmp: bytes) -> None:
    """Write `page`, on one of `PAPERS`, as a PNG of 300 pixels an inch."""
    width, height = PAPERS[paper]
    sheet = Image.new("RGB", (round(width * _DOTS), round(height * _DOTS)), "white")
    draw = ImageDraw.Draw(sheet)
    for part in page:
        at = (round(part.x * _DOTS), round(part.y * _DOTS))
        if isinstance(part, Picture):
            side = round(part.side * _DOTS)
            sheet.paste(Image.fromarray(part.pixels).resize((side, side), Image.Resampling.BICUBIC), at)
        else:
            font = _font(part.size * _POINT * _DOTS)
            draw.text(at, printable(part.words), "black", font, "ms" if part.centred else "ls")
    save_png(sheet, path, xmp, _DPI)


@cache
def _font(pixels: float) -> ImageFont.FreeTypeFont:
    for name in _FONTS:
        try:
            return ImageFont.truetype(name, pixels)
        except OSError:
            continue
    font = ImageFont.load_default(pixels)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def _font_bytes() -> bytes:
    path = _font(100.0).path
    if isinstance(path, io.BytesIO):
        return path.getvalue()
    return Path(str(path)).read_bytes()


@cache
def _letters() -> frozenset[int]:
    from fontTools.ttLib import TTFont

    with TTFont(io.BytesIO(_font_bytes())) as font:
        return frozenset(font.getBestCmap())


def _width(words: str, size: float) -> float:
    """mm that `words` take at `size` points."""
    return _font(100.0).getlength(printable(words)) / 100 * size * _POINT
