"""What several test files share."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """A portrait in the public domain, (512, 512, 3) uint8; the face lies about x 170-280, y 60-200."""
    from skimage.data import astronaut

    return astronaut()


@pytest.fixture(scope="session")
def write_faces():
    """Write a prepared data set that holds a `FaceSet` for each of its splits, without a detector."""
    import h5py

    from faceage.ages import AGE_CLASSES
    from faceage.data.prepare import FORMAT, SPLITS, VERSION

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
            file.create_dataset("source", data=[s for faces in sets for s in faces.sources], dtype=h5py.string_dtype())
            file.create_dataset("gender", data=[g for faces in sets for g in faces.genders], dtype=h5py.string_dtype())
        return path

    return write
