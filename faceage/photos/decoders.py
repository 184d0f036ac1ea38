"""Photos are decoded in processes of their own: one that hangs, crashes or eats memory ends there and nowhere else.

`python -m faceage.photos.decoders` is such a process. It is asked for one photo after the other on stdin, by the
reduction that may be made (4 bytes twice), whether it is wanted as its file holds it (1 byte), the length of its path
(4 bytes) and the path, and answers on stdout: the length of a JSON
header (4 bytes), the header, and the pixels.
"""

import contextlib
import json
import math
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from faceage.errors import PhotoError
from faceage.photos.decode import NOT_REDUCED, Reduction, decode_reduced, fingerprint, read_photo
from faceage.photos.find import FoundPhoto
from faceage.photos.write_like import Encoding, decode_original

SECONDS = 60.0
"""A photo that takes longer to read and decode is given up."""

MEMORY = 6 * 2**30
"""Bytes of address space for a decoding process; the largest photo allowed needs about half of it."""

PIXELS_AHEAD = 100_000_000
"""Decoded pixels, at most, that wait to be asked for; one larger photo may wait by itself."""

PHOTOS_AHEAD = 64

_REQUEST = struct.Struct("<II?I")


@dataclass(frozen=True)
class ReadPhoto:
    """What reading a photo gave.

    `pixels` (h, w, 3) uint8, `factor` times smaller than the photo, or None and `error` says why; `input` the SHA-256
    of its bytes, `size` how many they are and `modified` when they changed, in ns; "" and 0 where it could not be read.
    `encoding` is there where the photo was asked for as its file holds it, and `pixels` then are (h, w, 1 to 4), as of
    `decode_original`.
    """

    pixels: np.ndarray | None = None
    factor: int = 1
    error: str = ""
    input: str = ""
    size: int = 0
    modified: int = 0
    seconds: float = 0.0
    encoding: Encoding | None = None


def read_ahead(
    photos: Sequence[FoundPhoto],
    reduction: Reduction = NOT_REDUCED,
    workers: int | None = None,
    seconds: float = SECONDS,
) -> Iterator[ReadPhoto]:
    """What reading each of `photos` gives, in their order, while `workers` processes read on.

    Photos may come as much smaller as `reduction` allows. One that takes longer than `seconds` cannot be read.
    """
    if workers is None:
        workers = max(1, min(8, (os.cpu_count() or 1) // 2))
    ahead = _Ahead(photos, reduction, seconds)
    threads = [threading.Thread(target=ahead.work, daemon=True) for _ in range(min(workers, len(photos)))]
    for thread in threads:
        thread.start()
    try:
        for number in range(len(photos)):
            yield ahead.take(number)
    finally:
        ahead.stop()
        for thread in threads:
            thread.join()


class _Ahead:
    """The photos that have been read and not yet been asked for, and how far the threads may go on."""

    def __init__(self, photos: Sequence[FoundPhoto], reduction: Reduction, seconds: float) -> None:
        self._photos = photos
        self._reduction = reduction
        self._seconds = seconds
        self._change = threading.Condition()
        self._next = 0
        self._wanted = 0
        self._pixels = 0
        self._read: dict[int, ReadPhoto | BaseException] = {}
        self._stopped = False
        self._decoders: list[Decoder] = []

    def work(self) -> None:
        decoder = Decoder(self._seconds)
        with self._change:
            self._decoders.append(decoder)
        number = -1
        try:
            while (number := self._choose()) >= 0:
                self._put(number, decoder.read(self._photos[number], self._reduction))
        except BaseException as error:
            # No photo's fault: whoever asks for it next is told.
            self._put(max(number, 0), error)
        finally:
            decoder.close()

    def take(self, number: int) -> ReadPhoto:
        with self._change:
            self._wanted = number
            self._change.notify_all()
            self._change.wait_for(lambda: number in self._read)
            read = self._read.pop(number)
            if isinstance(read, BaseException):
                raise read
            self._pixels -= _pixels(read)
            return read

    def stop(self) -> None:
        with self._change:
            self._stopped = True
            self._change.notify_all()
            for decoder in self._decoders:
                # Whatever it is reading, nobody waits for it any more.
                decoder.kill()

    def _choose(self) -> int:
        with self._change:
            number, self._next = self._next, self._next + 1
            if number >= len(self._photos):
                return -1
            self._change.wait_for(lambda: self._stopped or self._may_read(number))
            return -1 if self._stopped else number

    def _may_read(self, number: int) -> bool:
        # The photo that is waited for always goes on, however much waits after it.
        room = self._pixels < PIXELS_AHEAD and number < self._wanted + PHOTOS_AHEAD
        return number <= self._wanted or room

    def _put(self, number: int, read: ReadPhoto | BaseException) -> None:
        with self._change:
            self._read[number] = read
            self._pixels += _pixels(read)
            self._change.notify_all()


def _pixels(read: ReadPhoto | BaseException) -> int:
    if isinstance(read, BaseException) or read.pixels is None:
        return 0
    return read.pixels.shape[0] * read.pixels.shape[1]


class Decoder:
    """A process that decodes; it is started when needed, and anew after a photo that it did not survive."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, photo: FoundPhoto, reduction: Reduction = NOT_REDUCED, original: bool = False) -> ReadPhoto:
        """Read and decode one photo, as its file holds it if `original`; what is wrong with it is in the answer."""
        started = time.monotonic()
        if photo.problem:
            return ReadPhoto(error=photo.problem)
        process = self._process or self._start()
        try:
            asked = (reduction.longest, reduction.factor, original)
            header, pixels = self._ask(process, photo.path, asked, started + self._seconds)
            return ReadPhoto(pixels, **header, seconds=time.monotonic() - started)
        except TimeoutError:
            said = f"not decoded within {self._seconds:g} seconds"
        except (OSError, EOFError):
            process.kill()
            said = f"the decoder died of it ({_death(process.wait())})"
        self.close()
        size, modified = stamp(photo.path)
        return ReadPhoto(error=said, size=size, modified=modified, seconds=time.monotonic() - started)

    def kill(self) -> None:
        """End the process, from another thread; who waits for its answer is told that it died."""
        if process := self._process:
            process.kill()

    def close(self) -> None:
        process, self._process = self._process, None
        if process:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream:
                    with contextlib.suppress(OSError):
                        stream.close()

    def _start(self) -> subprocess.Popen[bytes]:
        # A program of its own: a fork of this one would share TensorFlow's threads and locks.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        package = str(Path(__file__).resolve().parents[2])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faceage.photos.decoders"],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            # Ctrl-C is for the run, which ends its decoders itself.
            start_new_session=True,
        )
        return self._process

    def _ask(
        self, process: subprocess.Popen[bytes], path: Path, asked: tuple[int, int, bool], until: float
    ) -> tuple[dict[str, Any], Any]:
        assert process.stdin
        assert process.stdout
        name = os.fsencode(os.path.abspath(path))
        process.stdin.write(_REQUEST.pack(*asked, len(name)) + name)
        (length,) = struct.unpack("<I", _receive(process.stdout, 4, until))
        header = json.loads(bytes(_receive(process.stdout, length, until)))
        shape = header.pop("shape")
        if not shape[0]:
            return header, None
        if encoding := header.pop("encoding"):
            header["encoding"] = Encoding(**encoding)
        return header, np.frombuffer(_receive(process.stdout, math.prod(shape), until), np.uint8).reshape(shape)


def _receive(stream: IO[bytes], count: int, until: float) -> bytearray:
    """`count` bytes. Raises TimeoutError after `until` and EOFError where the stream ends before."""
    received = bytearray(count)
    view, done = memoryview(received), 0
    while done < count:
        left = until - time.monotonic()
        if left <= 0 or not select.select([stream], [], [], left)[0]:
            raise TimeoutError
        read = os.readv(stream.fileno(), [view[done:]])
        if not read:
            raise EOFError
        done += read
    return received


def _death(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"status {status}"


def stamp(path: Path) -> tuple[int, int]:
    """A file's size in bytes and time of change in ns, by which a change shows; zeros where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _serve() -> None:
    """Answer until nobody asks any more."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # Whatever a codec prints must not get between the answers.
    os.dup2(2, 1)
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while asked := requests.read(_REQUEST.size):
        longest, factor, original, length = _REQUEST.unpack(asked)
        read = _read(Path(os.fsdecode(requests.read(length))), Reduction(longest, factor), original)
        pixels = read.pixels
        names = ("error", "factor", "input", "size", "modified")
        header = {name: getattr(read, name) for name in names}
        header["shape"] = (0, 0, 0) if pixels is None else pixels.shape
        header["encoding"] = asdict(read.encoding) if read.encoding else None
        text = json.dumps(header).encode()
        answers.write(struct.pack("<I", len(text)) + text)
        if pixels is not None:
            answers.write(pixels.tobytes())
        answers.flush()


def _read(path: Path, reduction: Reduction, original: bool) -> ReadPhoto:
    found: dict[str, Any] = {}
    try:
        content = read_photo(path)
        found["size"], found["modified"] = stamp(path)
        found["input"] = fingerprint(content)
        if original:
            pixels, encoding = decode_original(content)
            return ReadPhoto(pixels, encoding=encoding, **found)
        pixels, factor = decode_reduced(content, reduction)
        return ReadPhoto(pixels, factor, **found)
    except PhotoError as error:
        return ReadPhoto(error=str(error), **found)
    except MemoryError:
        return ReadPhoto(error="not enough memory to read it", **found)


if __name__ == "__main__":
    _serve()
