"""What several test files share."""

import gc
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores: threads of one that wait for those of another only burn time.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("FACEAGE_DATA", REPOSITORY.parent / "shared" / "data"))
"""Data sets that may not be part of the repository. What needs one that is absent is skipped."""


COSTLIEST = (
    "test_torch.py",
    "test_train_all.py",
    "test_stages.py",
    "test_photo.py",
    "test_resume.py",
    "test_cli_batch.py",
    "test_environment.py",
    "test_run.py",
    "test_video.py",
    "test_optimise.py",
    "test_networks.py",
    "test_hostile.py",
    "test_paste.py",
    "test_prepare.py",
    "test_distribution.py",
    "test_recognizer.py",
    "test_photographs.py",
    "test_report_browser.py",
)
"""A worker takes a file at a time: begun last, one of these would keep one worker while the others are idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(COSTLIEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Free a file's networks before the next file, which uses their memory again: a worker runs dozens of files."""
    if nextitem is not None and nextitem.path != item.path and "keras" in sys.modules:
        sys.modules["keras"].backend.clear_session()
        gc.collect()


@pytest.fixture(scope="session")
def lfw10() -> Path:
    """Ten photos each of ten people, from Labeled Faces in the Wild."""
    folder = DATA / "lfw10"
    if not folder.is_dir():
        pytest.skip(f"no data set in {folder}")
    return folder


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """A portrait in the public domain, (512, 512, 3) uint8; the face lies about x 170-280, y 60-200."""
    from skimage.data import astronaut

    return astronaut()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("may not mount a disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="session")
def write_faces():
    """Write a prepared data set that holds a `FaceSet` for each of its splits, without a detector."""
    import h5py

    from faceage.ages import AGE_CLASSES
    from faceage.images import encode_portrait
    from faceage.sizes import PORTRAIT_SIZE
    from faceage.store.dataset import FORMAT, SPLITS, VERSION
    from faceage.store.table import BYTES

    def enlarged(face):
        return np.asarray(Image.fromarray(face).resize((PORTRAIT_SIZE, PORTRAIT_SIZE)))

    def write(path, sets):
        columns = {
            "faces": np.concatenate([faces.faces for faces in sets]),
            "age": np.concatenate([faces.ages for faces in sets]).astype(np.int16),
            "age_class": np.concatenate([faces.classes for faces in sets]).astype(np.int8),
            "split": np.repeat(np.arange(len(sets)), [len(faces) for faces in sets]).astype(np.int8),
            "landmarks": np.concatenate([faces.landmarks for faces in sets]),
        }
        with h5py.File(path, "w") as file:
            file.attrs.update(format=FORMAT, version=VERSION, age_classes=list(AGE_CLASSES), splits=list(SPLITS))
            file.attrs["root"] = "photos"
            for name, values in columns.items():
                file[name] = values
            texts = {
                "source": [text for faces in sets for text in faces.sources],
                "gender": [text for faces in sets for text in faces.genders],
                "identity": [text for faces in sets for text in faces.identities],
                "dropped/source": ["gone.jpg"],
                "dropped/reason": ["missing file"],
            }
            for name, values in texts.items():
                file.create_dataset(name, data=values, dtype=h5py.string_dtype())
            portraits = file.create_dataset("portrait", len(columns["faces"]), BYTES)
            for i, face in enumerate(columns["faces"]):
                portraits[i] = np.frombuffer(encode_portrait(enlarged(face)), np.uint8)
            file.attrs["dropped"] = '{"missing file": 1}'
        return path

    return write


@pytest.fixture(scope="session")
def face_row():
    """Make a row of `latents.h5` that differs from the rows of other faces in every column."""
    from faceage.images import encode_portrait
    from faceage.store.latents import FaceRow

    def make(source: str, face: int = 0) -> FaceRow:
        rng = np.random.default_rng([*source.encode(), face])

        def draw(*shape: int) -> np.ndarray:
            return rng.random(shape, np.float32)

        return FaceRow(
            source=source,
            face=face,
            box=draw(4),
            landmarks=draw(5, 2),
            confidence=float(draw()),
            aligned=(aligned := rng.integers(0, 256, (64, 64, 3), np.uint8)),
            age=draw(6),
            latent_initial=draw(100),
            latent=draw(100),
            offset=draw(2048).astype(np.float16),
            identity_distance=draw(2),
            transform=draw(2, 3),
            portrait=encode_portrait(aligned),
        )

    return make
