"""`make fuzz`: coverage-guided search for bytes that decode → align does not survive.

fuzz_decode.py CORPUS... [-max_total_time=SECONDS]     as libFuzzer takes them; needs the package `atheris`

Whatever the bytes, `decode_photo` answers (h, w, 3) uint8 within its limits or raises PhotoError, and any landmarks on
what it answers give an aligned face.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["PIL", "faceage"]):
    from faceage.errors import PhotoError
    from faceage.faces.align import align, face_transform, side_in_photo
    from faceage.photos.decode import MIN_SIDE, NOT_REDUCED, Limits, Reduction, decode_photo

import numpy as np

LIMITS = Limits(pixels=1_000_000)
"""As large as a fuzzer can afford, thousands of times a second."""


def one_input(content: bytes) -> None:
    try:
        photo = decode_photo(content, NOT_REDUCED, LIMITS).pixels
    except PhotoError as error:
        if not str(error) or "\n" in str(error):
            raise AssertionError("a reason is one line") from error
        return
    height, width, channels = photo.shape
    assert photo.dtype == np.uint8
    assert channels == 3
    assert min(height, width) >= MIN_SIDE
    assert height * width <= LIMITS.pixels
    reduced = decode_photo(content, Reduction(longest=1), LIMITS)
    assert reduced.pixels.dtype == np.uint8
    assert reduced.pixels.shape == (height // reduced.factor, width // reduced.factor, 3)
    # Landmarks of a face of any size and place, and on the photo, as the detector has them.
    random = np.random.default_rng(len(content))
    landmarks = random.random((5, 2)) * random.uniform(1, 200) + random.random(2) * (width, height)
    transform = face_transform(landmarks)
    if side_in_photo(transform) < 6 * np.ptp(landmarks, axis=0).max():
        assert align(photo, transform).shape == (64, 64, 3)


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parent.parent))
    seeds = Path(sys.argv[1])
    if not seeds.exists():
        from hostile import make_corpus
        from PIL import Image
        from skimage.data import astronaut

        corpus = make_corpus(seeds.with_name(f"{seeds.name}-made"), Image.fromarray(astronaut()).resize((96, 96)))
        seeds.mkdir(parents=True)
        for number, path in enumerate(sorted(corpus.folder.rglob("*"))):
            if path.is_file() and not path.is_symlink() and path.stat().st_size < 50_000:
                (seeds / str(number)).write_bytes(path.read_bytes())
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
