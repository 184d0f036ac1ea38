"""Lists and tables of photos, as other programs write them."""

import codecs
import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def parse_list(content: bytes) -> list[Path]:
    r"""The names in a list, in their order, byte for byte.

    Names end with a newline (\n or \r\n), or with a zero byte (find -print0); spaces belong to them, and empty ones are
    left out. UTF-8 with or without a byte order mark, UTF-16 as of PowerShell, and names in no encoding at all.
    """
    content = _in_utf_8(content)
    if b"\0" in content:
        names = content.split(b"\0")
    else:
        names = content.split(b"\n")
        # The last line may lack its end.
        if all(name.endswith(b"\r") for name in names[:-1]):
            names = [name.removesuffix(b"\r") for name in names]
    return [Path(os.fsdecode(name)) for name in names if name.strip()]


def parse_table(content: bytes) -> Iterator[tuple[int, list[str]]]:
    """The lines of a CSV file as their number and cells, the header first, with its names stripped and in lower case.

    UTF-8 with or without a byte order mark, or UTF-16; cells are separated as the header is, by commas, semicolons or
    tabs, as spreadsheets write them. Lines without cells are left out. Raises UnicodeDecodeError and csv.Error.
    """
    text = _in_utf_8(content).decode()
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    header = False
    for cells in lines:
        if cells:
            yield lines.line_num, cells if header else [name.strip().lower() for name in cells]
            header = True


def name_in(folder: Path, text: str) -> str:
    """The photo that a cell of a table in `folder` means: as it stands, or without what programs add to a name.

    That is spaces around it, and backslashes between its folders. Where there is no such file it is the cell stripped.
    """
    bare = text.strip()
    for name in (text, bare, text.replace("\\", "/"), bare.replace("\\", "/")):
        if name and "\0" not in name and os.path.isfile(folder / name):
            return name
    return bare


def _in_utf_8(content: bytes) -> bytes:
    if content.startswith(_UTF_16):
        # The decoder reads the mark.
        return content.decode("utf-16", "replace").encode("utf-8", "replace")
    # Without a mark: names are mostly of characters below 256, which have a zero byte each, always on one side.
    for name, zeros, others in (("utf-16-le", content[1::2], content[::2]), ("utf-16-be", content[::2], content[1::2])):
        if zeros.count(0) > len(zeros) / 2 and others.count(0) == 0:
            return content.decode(name, "replace").encode("utf-8", "replace")
    return content.removeprefix(codecs.BOM_UTF8)
