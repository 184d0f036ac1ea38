"""A folder of files that are out to break whoever reads them, each with what may become of it."""

import os
import socket
import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

OK, NO_FACE, UNREADABLE, LEFT_OUT = "ok", "no_face", "unreadable", "left out"
ANY = {OK, NO_FACE, UNREADABLE}


@dataclass
class Corpus:
    """The folder, and for each file, by its path as the manifest writes it, the statuses that are right for it."""

    folder: Path
    expected: dict[str, set[str]]
    sockets: list[socket.socket]

    def add(self, name: str, content: bytes, *statuses: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.expected[name] = set(statuses)
        return path


def make_corpus(folder: Path, portrait: Image.Image) -> Corpus:
    corpus = Corpus(folder, {}, [])
    small = portrait.resize((256, 256))
    _good(corpus, small)
    _truncated(corpus, small)
    _wrong_endings(corpus, small)
    _bombs(corpus)
    _broken(corpus, small)
    _metadata(corpus, small)
    _odd_pixels(corpus, small)
    _names(corpus, small)
    _not_files(corpus)
    return corpus


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _good(corpus: Corpus, photo: Image.Image) -> None:
    corpus.add("good.jpg", encoded(photo, "JPEG"), OK)
    corpus.add("progressive.jpg", encoded(photo, "JPEG", progressive=True), OK)
    corpus.add("gray.jpg", encoded(photo.convert("L"), "JPEG"), OK)
    corpus.add("cmyk.jpg", encoded(photo.convert("CMYK"), "JPEG"), OK)
    corpus.add("palette.png", encoded(photo.quantize(64), "PNG"), OK)
    corpus.add("alpha.png", encoded(photo.convert("RGBA"), "PNG"), OK)
    corpus.add("lossless.webp", encoded(photo, "WEBP", lossless=True), OK)
    corpus.add("lzw.tif", encoded(photo, "TIFF", compression="tiff_lzw"), OK)
    corpus.add("photo.bmp", encoded(photo, "BMP"), OK)
    frames = [photo.rotate(angle) for angle in (0, 90, 180)]
    for name, kind in (("animated.gif", "GIF"), ("animated.webp", "WEBP"), ("animated.png", "PNG")):
        corpus.add(name, encoded(frames[0], kind, save_all=True, append_images=frames[1:]), OK)
    corpus.add("pages.tif", encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]), OK)


def _truncated(corpus: Corpus, photo: Image.Image) -> None:
    for kind, ending in (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("TIFF", "tif"), ("GIF", "gif")):
        content = encoded(photo, kind)
        for per_mille in (0, 1, 20, 200, 500, 900, 999):
            cut = content[: max(1, len(content) * per_mille // 1000)] if per_mille else b""
            # Where only the end is missing, a format may have all its pixels.
            statuses = ANY if per_mille >= 900 else {UNREADABLE}
            corpus.add(f"cut/{per_mille}.{ending}", cut, *statuses)


def _wrong_endings(corpus: Corpus, photo: Image.Image) -> None:
    corpus.add("png-inside.jpg", encoded(photo, "PNG"), OK)
    corpus.add("jpeg-inside.png", encoded(photo, "JPEG"), OK)
    corpus.add("text.jpg", b"no photo at all\n" * 100, UNREADABLE)
    corpus.add("zeros.jpg", bytes(10_000), UNREADABLE)
    corpus.add("noise.jpg", np.random.default_rng(0).bytes(10_000), UNREADABLE)
    corpus.add("postscript.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n(x) run\n", UNREADABLE)
    corpus.add("vector.png", b"<svg xmlns='http://www.w3.org/2000/svg'><image href='/etc/passwd'/></svg>", UNREADABLE)
    corpus.add("program.jpg", b"#!/bin/sh\ntouch /tmp/faceage-was-here\n", UNREADABLE)
    corpus.add("page.jpg", b"<html><script>alert(1)</script></html>", UNREADABLE)
    # Polyglots: an archive behind a picture, and a picture that begins as a script.
    corpus.add("archive.jpg", encoded(photo, "JPEG") + b"PK\x03\x04" + bytes(500), OK)
    corpus.add("script.gif", b"GIF89a/*" + encoded(photo, "GIF")[8:] + b"*/=1;alert(1)", *ANY)
    corpus.add("two.jpg", encoded(photo, "JPEG") * 2, OK)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _zeros(count: int) -> bytes:
    """So many zeros, compressed; never all of them in memory."""
    packer, block = zlib.compressobj(), bytes(2**20)
    parts = [packer.compress(block[: min(len(block), count - start)]) for start in range(0, count, len(block))]
    return b"".join(parts) + packer.flush()


def _png(width: int, height: int, packed: bytes, *more: bytes, depth: int = 8, colours: int = 2) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    data = _chunk(b"IDAT", packed)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + b"".join(more) + data + _chunk(b"IEND", b"")


def _bombs(corpus: Corpus) -> None:
    corpus.add("bomb/side.png", _png(2**31 - 1, 2**31 - 1, _zeros(0)), UNREADABLE)
    corpus.add("bomb/pixels.png", _png(50_000, 50_000, _zeros(50_000 * 6251), depth=1, colours=0), UNREADABLE)
    # 20,000 times what its header promises.
    corpus.add("bomb/data.png", _png(64, 64, _zeros(64 * 193 * 20_000)), *ANY)
    corpus.add("bomb/text.png", _png(64, 64, _zeros(64 * 193), _chunk(b"zTXt", b"a\0\0" + _zeros(2**28))), *ANY)
    corpus.add("bomb/profile.png", _png(64, 64, _zeros(64 * 193), _chunk(b"iCCP", b"a\0\0" + _zeros(2**28))), *ANY)
    gif = b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0x80, 0, 0) + bytes(6)
    corpus.add(
        "bomb/screen.gif",
        gif + b"," + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0) + b"\x02\x01\x44\x00;",
        UNREADABLE,
    )
    frames = [Image.new("P", (2000, 2000), i % 2) for i in range(60)]
    corpus.add("bomb/frames.gif", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), NO_FACE)
    corpus.add("bomb/size.tif", _tiff(2**31 - 1, 2**31 - 1), UNREADABLE)
    corpus.add("bomb/strip.tif", _tiff(64, 64, strip=2**31 - 1), UNREADABLE)
    corpus.add("bomb/loop.tif", _tiff(64, 64, following=8), *ANY)
    header = struct.pack("<I", 0x9012F | 0)  # VP8L: any size, no data
    corpus.add(
        "bomb/size.webp",
        b"RIFF" + struct.pack("<I", 100) + b"WEBPVP8L" + struct.pack("<I", 50) + b"\x2f\xff\xff\xff\x0f" + header,
        UNREADABLE,
    )
    corpus.add(
        "bomb/size.bmp",
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0),
        UNREADABLE,
    )
    corpus.add("bomb/long.png", encoded(Image.new("L", (1_000_000, 16)), "PNG"), *ANY)


def _tiff(width: int, height: int, strip: int = 100, following: int = 0) -> bytes:
    tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 0), (277, 1), (278, height), (279, strip)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", following)


def _broken(corpus: Corpus, photo: Image.Image) -> None:
    random = np.random.default_rng(1)
    for kind, ending in (
        ("JPEG", "jpg"),
        ("PNG", "png"),
        ("WEBP", "webp"),
        ("TIFF", "tif"),
        ("GIF", "gif"),
        ("BMP", "bmp"),
    ):
        content = bytearray(encoded(photo, kind))
        for place in random.integers(2, len(content), 50):
            content[place] = random.integers(256)
        corpus.add(f"bits.{ending}", bytes(content), *ANY)
    jpeg = bytearray(encoded(photo, "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    arithmetic, empty, lossless = jpeg.copy(), jpeg.copy(), jpeg.copy()
    arithmetic[frame + 1] = 0xC9
    lossless[frame + 1] = 0xC3
    empty[frame + 5 : frame + 9] = bytes(4)
    corpus.add("arithmetic.jpg", bytes(arithmetic), *ANY)
    corpus.add("lossless.jpg", bytes(lossless), UNREADABLE)
    corpus.add("no-side.jpg", bytes(empty), UNREADABLE)
    # Every scan is a pass over all pixels.
    progressive = encoded(Image.new("L", (4000, 4000)), "JPEG", progressive=True)
    scan = progressive.index(b"\xff\xda")
    corpus.add("scans.jpg", progressive[:-2] + progressive[scan:-2] * 200 + progressive[-2:], *ANY)


def _metadata(corpus: Corpus, photo: Image.Image) -> None:
    corpus.add("exif-garbage.jpg", encoded(photo, "JPEG", exif=b"Exif\0\0II*\0" + b"\xff" * 60), OK)
    corpus.add("exif-loop.jpg", encoded(photo, "JPEG", exif=b"Exif\0\0" + _tiff(1, 1, following=8)), OK)
    corpus.add("exif-large.jpg", encoded(photo, "JPEG", exif=b"Exif\0\0" + bytes(65_000)), OK)
    orientation = Image.Exif()
    orientation[0x0112] = 77
    corpus.add("exif-orientation.jpg", encoded(photo, "JPEG", exif=orientation), OK)
    corpus.add("profile.jpg", encoded(photo, "JPEG", icc_profile=b"no profile" * 20_000), OK)
    corpus.add("comment.jpg", encoded(photo, "JPEG", comment=b"\x1b[31m\0\xff" * 9000), OK)
    content = encoded(photo, "JPEG")
    app = b"\xff\xe1" + struct.pack(">H", 65_535) + bytes(65_533)
    corpus.add("exif-gigantic.jpg", content[:2] + app * 300 + content[2:], OK)


def _odd_pixels(corpus: Corpus, photo: Image.Image) -> None:
    corpus.add("one.png", encoded(Image.new("RGB", (1, 1)), "PNG"), UNREADABLE)
    corpus.add("line.png", encoded(Image.new("RGB", (5000, 1)), "PNG"), UNREADABLE)
    corpus.add("thin.png", encoded(Image.new("RGB", (16, 5000), "red"), "PNG"), NO_FACE)
    corpus.add("black.png", encoded(Image.new("RGB", (300, 300)), "PNG"), NO_FACE)
    corpus.add("deep.png", encoded(Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257), "PNG"), OK)
    nan = np.asarray(photo.convert("L")).astype(np.float32)
    nan[:20] = np.nan
    nan[20:40] = np.inf
    corpus.add("nan.tif", encoded(Image.fromarray(nan), "TIFF"), *ANY)
    static = np.random.default_rng(2).integers(0, 256, (400, 400, 3), np.uint8)
    corpus.add("static.png", encoded(Image.fromarray(static), "PNG"), *ANY)
    # 150 faces: each is a row.
    crowd = Image.new("RGB", (1500, 1000))
    face = photo.crop((70, 20, 160, 120)).resize((95, 95))
    for i in range(150):
        crowd.paste(face, (i % 15 * 100, i // 15 * 100))
    corpus.add("crowd.jpg", encoded(crowd, "JPEG"), OK)


def _names(corpus: Corpus, photo: Image.Image) -> None:
    content = encoded(photo, "JPEG", quality=60)
    endings = [
        "new\nline",
        "quo\"te's",
        "tab\t",
        "-rf",
        "$(touch x)",
        "%s%n",
        " space ",
        "a" * 251,
        "é" * 125,
        "back\\slash",
    ]
    endings += ["\u202egpj.exe", "\u200b", "\x1b[31mred", "CON", "*?[", "名前", "a.jpg"]
    for name in endings:
        corpus.add(f"{name}.jpg", content, OK)
    raw = os.path.join(os.fsencode(corpus.folder), b"caf\xe9\xff.jpg")
    Path(os.fsdecode(raw)).write_bytes(content)
    corpus.expected["caf\\xe9\\xff.jpg"] = {OK}
    deep = "/".join(["d" * 60] * 12)
    corpus.add(f"{deep}/deep.jpg", content, OK)


def _not_files(corpus: Corpus) -> None:
    folder = corpus.folder
    os.mkfifo(folder / "fifo.jpg")
    listening = socket.socket(socket.AF_UNIX)
    # The name of a socket may have no more than some hundred bytes.
    here = os.getcwd()
    os.chdir(folder)
    try:
        listening.bind("socket.jpg")
    finally:
        os.chdir(here)
    corpus.sockets.append(listening)
    for name, target in (("device", "/dev/zero"), ("terminal", "/dev/tty"), ("nowhere", "gone"), ("self", "self.jpg")):
        (folder / f"{name}.jpg").symlink_to(target)
    (folder / "loop").mkdir()
    (folder / "loop" / "up").symlink_to("..", target_is_directory=True)
    (folder / "memory.jpg").symlink_to("/proc/self/mem")
    (folder / "kernel.jpg").symlink_to("/proc/self/status")
    for name in ("fifo", "socket", "device", "terminal", "nowhere", "self", "memory", "kernel"):
        corpus.expected[f"{name}.jpg"] = {UNREADABLE}
    (folder / "folder.jpg").mkdir()
    if os.geteuid():
        corpus.add("secret.jpg", b"x", UNREADABLE).chmod(0)
