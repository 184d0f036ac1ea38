"""Photos are decoded in processes of their own: one that hangs, crashes or eats memory ends there and nowhere else."""

import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from faceage.photos.decode import LIMITS, NOT_REDUCED, Limits, Reduction, stamp
from faceage.photos.decoder_process import LENGTH
from faceage.photos.find import FoundPhoto
from faceage.photos.write_like import Encoding

PIXELS_AHEAD = 100_000_000
"""Limits the memory of photos that are decoded and not yet taken; one larger photo may wait by itself."""

PHOTOS_AHEAD = 64

_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
"""Writing to a dead process raises an error; SIGPIPE would end a program that has it at its default."""

_PROGRAM = """
import sys
at = next((i for i, place in enumerate(sys.path) if place.endswith("-packages")), len(sys.path))
sys.path[at:at] = sys.argv[2:]
from faceage.photos.decoder_process import serve
serve(sys.argv[1])
"""
"""Run isolated (-I), so that neither the current folder nor PYTHONPATH names code: only where this process's own
faceage, NumPy and Pillow lie is added, after the standard library."""


@dataclass(frozen=True)
class ReadPhoto:
    """The result of reading a photo.

    `pixels` (h, w, 3) uint8 sRGB, `factor` times smaller than the photo, or None and `error` says why; `warning` says
    what is not quite right with a photo that is used. `input` is the SHA-256 of its bytes, `size` how many they are and
    `modified` when they changed, in ns; "" and 0 where it could not be read. Where the photo was asked for as its file
    holds it, `encoding` is set and `pixels` are (h, w, 1 to 4), as of `decode_original`, without a `warning`.
    """

    pixels: np.ndarray | None = None
    factor: int = 1
    error: str = ""
    warning: str = ""
    input: str = ""
    size: int = 0
    modified: int = 0
    seconds: float = 0.0
    encoding: Encoding | None = None


class Decoder:
    """A decoding process. It is started when needed, and again after a photo that it did not survive."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._ended = False

    def read(self, photo: FoundPhoto, reduction: Reduction = NOT_REDUCED, original: bool = False) -> ReadPhoto:
        """Read and decode one photo, as its file holds it if `original`. What is wrong with it is in the answer."""
        if photo.problem:
            return ReadPhoto(error=photo.problem)
        started = time.monotonic()
        request = {
            **asdict(reduction),
            "path": os.fsencode(os.path.abspath(photo.path)).decode("latin-1"),
            "original": original,
        }
        error = ""
        # A process may be killed from outside, for want of memory: only what kills two of them is the photo's fault.
        for _ in range(2):
            try:
                header, pixels = self._ask(json.dumps(request).encode(), time.monotonic() + self._limits.seconds)
                return ReadPhoto(pixels, **header, seconds=time.monotonic() - started)
            except (OSError, EOFError) as failure:
                late = isinstance(failure, TimeoutError)
                error = f"not decoded within {self._limits.seconds:g} seconds" if late else self._death()
                self.close()
                if late or self._ended:
                    break
        size, modified = stamp(photo.path)
        return ReadPhoto(error=error, size=size, modified=modified, seconds=time.monotonic() - started)

    def kill(self) -> None:
        """End the process for good, from another thread; the reader is told that it died."""
        self._ended = True
        if process := self._process:
            process.kill()

    def close(self) -> None:
        """End the process; it is started again when needed."""
        process, self._process = self._process, None
        if process:
            process.kill()
            process.wait()
        if self._socket:
            self._socket.close()

    def _start(self) -> socket.socket:
        # A program of its own: a fork of this one would share TensorFlow's threads and locks.
        modules = [sys.modules[name] for name in ("faceage", "numpy", "PIL", "pillow_heif") if name in sys.modules]
        packages = dict.fromkeys(str(Path(str(module.__file__)).parents[1]) for module in modules)
        self._socket, other = socket.socketpair()
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _PROGRAM, json.dumps(asdict(self._limits)), *packages],
                stdin=other.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=os.sep,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                # Ctrl-C is for the run, which ends its decoders itself.
                start_new_session=True,
            )
        if self._ended:
            self._process.kill()
        return self._socket

    def _ask(self, request: bytes, deadline: float) -> tuple[dict[str, Any], np.ndarray | None]:
        connection = self._socket if self._process and self._socket else self._start()
        connection.settimeout(self._limits.seconds)
        connection.sendall(LENGTH.pack(len(request)) + request, _NO_SIGNAL)
        (length,) = LENGTH.unpack(_receive(connection, LENGTH.size, deadline))
        header = json.loads(bytes(_receive(connection, length, deadline)))
        shape = header.pop("shape", None)
        if encoding := header.pop("encoding", None):
            header["encoding"] = Encoding(**encoding)
        if shape is None:
            return header, None
        return header, np.asarray(_receive(connection, math.prod(shape), deadline)).reshape(shape)

    def _death(self) -> str:
        if self._process is None:
            return "the decoder could not be started"
        self._process.kill()
        status = self._process.wait()
        return f"the decoder died of it ({signal.Signals(-status).name if status < 0 else f'status {status}'})"


def _receive(connection: socket.socket, count: int, deadline: float) -> memoryview:
    """`count` bytes. Raises TimeoutError after `deadline`, and EOFError where the stream ends before."""
    # Not filled with zeros first, as a bytearray is.
    received, done = np.empty(count, np.uint8).data, 0
    while done < count:
        connection.settimeout(max(deadline - time.monotonic(), 1e-3))
        length = connection.recv_into(received[done:])
        if not length:
            raise EOFError
        done += length
    return received


def read_ahead(
    photos: Sequence[FoundPhoto],
    reduction: Reduction = NOT_REDUCED,
    workers: int | None = None,
    limits: Limits = LIMITS,
) -> Iterator[ReadPhoto]:
    """Read `photos` with `workers` processes that work ahead, and yield the results in order.

    Photos may come as much smaller as `reduction` allows.
    """
    if workers is None:
        workers = max(1, min(8, (os.cpu_count() or 1) // 2))
    ahead = _Ahead(photos, reduction, [Decoder(limits) for _ in range(min(workers, len(photos)))])
    try:
        for number in range(len(photos)):
            yield ahead.take(number)
    finally:
        ahead.stop()


class _Ahead:
    """One thread per decoder, and the photos that they have read and nobody has taken yet."""

    def __init__(self, photos: Sequence[FoundPhoto], reduction: Reduction, decoders: Sequence[Decoder]) -> None:
        self._photos, self._reduction, self._decoders = photos, reduction, decoders
        self._change = threading.Condition()
        self._next = self._wanted = self._pixels = 0
        self._results: dict[int, ReadPhoto | BaseException] = {}
        self._stopped = False
        self._threads = [threading.Thread(target=self._work, args=(decoder,), daemon=True) for decoder in decoders]
        for thread in self._threads:
            thread.start()

    def take(self, number: int) -> ReadPhoto:
        """The photo of this number, waited for if need be; what is no photo's fault is raised."""
        with self._change:
            self._wanted = number
            self._change.notify_all()
            self._change.wait_for(lambda: number in self._results)
            result = self._results.pop(number)
            if isinstance(result, BaseException):
                raise result
            self._pixels -= _pixels(result)
            return result

    def stop(self) -> None:
        with self._change:
            self._stopped = True
            self._change.notify_all()
        for decoder in self._decoders:
            decoder.kill()
        for thread in self._threads:
            thread.join()

    def _work(self, decoder: Decoder) -> None:
        number = 0
        try:
            while (number := self._claim()) < len(self._photos):
                self._put(number, decoder.read(self._photos[number], self._reduction))
        except BaseException as error:
            self._put(number, error)
        finally:
            decoder.close()

    def _claim(self) -> int:
        """The next photo to read, when there is room for it; the number of photos when there is none left."""
        with self._change:
            number, self._next = self._next, self._next + 1
            self._change.wait_for(lambda: self._stopped or self._has_room(number))
            return len(self._photos) if self._stopped else number

    def _has_room(self, number: int) -> bool:
        # The photo that is waited for always goes on, however much waits behind it.
        return number <= self._wanted or (self._pixels < PIXELS_AHEAD and number < self._wanted + PHOTOS_AHEAD)

    def _put(self, number: int, result: ReadPhoto | BaseException) -> None:
        with self._change:
            self._results[number] = result
            self._pixels += _pixels(result)
            self._change.notify_all()


def _pixels(result: ReadPhoto | BaseException) -> int:
    if isinstance(result, BaseException) or result.pixels is None:
        return 0
    return result.pixels.shape[0] * result.pixels.shape[1]
