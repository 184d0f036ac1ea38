"""Aged faces back in their photos."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np

from faceage.batch.photo import Photo
from faceage.errors import PhotoError
from faceage.faces.align import align
from faceage.faces.paste import face_region, lies_in, paste_face
from faceage.people.drawn import Drawn
from faceage.photos.decode import LIMITS, Limits
from faceage.photos.decoders import Decoder
from faceage.photos.write_like import as_image, save_like
from faceage.pictures.mark import mark
from faceage.sizes import FACE_SIZE
from faceage.store.latents import FaceRow

_SAME_FACE = 0.8
"""Correlation, at least, of a stored face with what the photo shows in its place: another copy of it has 0.98."""

_ANOTHER = "the photo is not the one that its faces were found in"

_WRITERS = 2
"""Ages of a photo that are painted and encoded side by side: Pillow lets other threads run meanwhile."""


class Paster:
    """Reads photos again, in a process of its own, and writes them with their faces aged. It holds one at a time."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._decoder = Decoder(limits)
        self._writers = ThreadPoolExecutor(_WRITERS)

    def paste(self, photo: Photo, people: Sequence[Drawn], paths: Sequence[Path], marked: bool = False) -> None:
        """Write the photo to k `paths`, each with its `people` at another of the k ages that they were drawn at.

        Where its outcome does not know its bytes, it must show the faces. Faces are aged in sRGB, as they were drawn,
        and the photo changes in its own colours; where they are to be `marked`, beside the faces too. Raises PhotoError
        for a photo that cannot be read or is another one, and OSError where it cannot be written.
        """
        read = self._decoder.read(photo.file, original=True)
        if read.pixels is None or read.encoding is None:
            raise PhotoError(read.error)
        pixels, encoding = read.pixels, read.encoding
        if not all(lies_in(row.transform, pixels.shape[:2]) for row in photo.faces):
            raise PhotoError(_ANOTHER)
        regions = [face_region(row.transform, pixels.shape[:2]) for row in photo.faces]
        # Beside the faces it stays empty, which takes no memory: nothing looks there.
        before = np.zeros((*pixels.shape[:2], 3), np.uint8)
        for region in regions:
            before[region] = encoding.in_srgb(pixels[region])
        known = photo.outcome.input
        if not (read.input == known if known else all(_shows(before, row) for row in photo.faces)):
            raise PhotoError(_ANOTHER)

        def write(numbers: range) -> None:
            # Only the regions change from age to age: the rest is copied and made an image once.
            picture, image, after = pixels.copy(), as_image(pixels), np.zeros_like(before)
            for number in numbers:
                for region in regions:
                    after[region] = before[region]
                for row, person in zip(photo.faces, people, strict=True):
                    paste_face(after, row.transform, person.unaged, person.aged[number])
                for region in regions:
                    # Where two faces overlap, the change is added once.
                    picture[region] = pixels[region]
                    encoding.repaint(picture[region], before[region], after[region])
                corner = [mark(picture, [row.box.tolist() for row in photo.faces])] if marked else []
                for rows, columns in (*regions, *corner):
                    image.paste(as_image(picture[rows, columns]), (columns.start, rows.start))
                save_like(image, encoding, paths[number])

        for folder in {path.parent for path in paths}:
            folder.mkdir(parents=True, exist_ok=True)
        shares = [range(first, len(paths), _WRITERS) for first in range(_WRITERS)]
        writing = [self._writers.submit(write, share) for share in shares]
        for written in wait(writing).done:
            written.result()

    def close(self) -> None:
        """End the process, and the threads."""
        self._decoder.close()
        self._writers.shutdown()


def _shows(photo: np.ndarray, row: FaceRow) -> bool:
    """Whether the middle of the stored face is what the photo, (h, w, 3) uint8 sRGB, has in its place."""
    if not lies_in(row.transform, photo.shape[:2]):
        return False
    middle = slice(FACE_SIZE // 4, -FACE_SIZE // 4)
    shown, stored = (face[middle, middle].mean(2).ravel() for face in (align(photo, row.transform), row.aligned))
    if not (shown.std() and stored.std()):
        return False
    return bool(np.corrcoef(shown, stored)[0, 1] > _SAME_FACE)
