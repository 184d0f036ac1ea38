"""The decoding process: reads and decodes one photo per request, until the other end of its socket closes.

A request is the length of a JSON text (4 bytes) and the text; an answer is the same and then the pixels, uint8. The
socket is the process's stdin, so that nothing a codec prints gets between the answers.
"""

import contextlib
import json
import os
import socket
import struct
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from faceage.errors import PhotoError
from faceage.photos.decode import Limits, Reduction, decode_photo, fingerprint, read_photo, stamp
from faceage.photos.write_like import decode_original

LENGTH = struct.Struct("<I")


def serve(limits: str) -> None:
    """Answer requests within `limits`, the JSON of `Limits`."""
    own = Limits(**json.loads(limits))
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (own.memory, own.memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Pillow refuses by the header; here the pixels that are really decoded count.
    Image.MAX_IMAGE_PIXELS = None
    with socket.socket(fileno=0) as connection, connection.makefile("rb") as requests:
        while length := requests.read(LENGTH.size):
            request = json.loads(requests.read(*LENGTH.unpack(length)))
            header, pixels = _answer(own, **request)
            text = json.dumps(header).encode()
            connection.sendall(LENGTH.pack(len(text)) + text)
            if pixels is not None:
                connection.sendall(pixels.data)


def _answer(
    limits: Limits, path: str, longest: int, factor: int, area: int, original: bool
) -> tuple[dict[str, Any], np.ndarray | None]:
    """The fields of a `ReadPhoto`, with `shape` in place of the pixels, and the pixels."""
    file = Path(os.fsdecode(path.encode("latin-1")))
    header: dict[str, Any] = {}
    try:
        content = read_photo(file)
        header["size"], header["modified"] = stamp(file)
        header["input"] = fingerprint(content)
        if original:
            pixels, encoding = decode_original(content, limits)
            header["encoding"] = asdict(encoding)
        else:
            decoded = decode_photo(content, Reduction(longest, factor, area), limits)
            pixels, header["factor"], header["warning"] = decoded.pixels, decoded.factor, decoded.warning
        header["shape"] = pixels.shape
        return header, pixels
    except PhotoError as error:
        header["error"] = str(error)
    except MemoryError:
        header["error"] = "not enough memory to read it"
    return header, None
