"""Age faces in folders of photos with an Age-cGAN.

    from faceage import age_photos

    summary = age_photos("photos", "aged")
    print(summary.faces, summary.median_distance)

Everything here is imported on first use: `import faceage` takes no time, and Keras is imported only where there is work
for it.

Rooms, each of which imports only from itself and from those after it:
cli report film batch training evaluation people pull model model_search networks data store pictures faces photos
backend ahead download files ages genders images sizes errors
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from faceage.ages import Age
    from faceage.batch.age_photos import age_photos, plan_photos
    from faceage.batch.options import DrawOptions, FindOptions
    from faceage.batch.pipeline import RunSummary
    from faceage.batch.plan import Again, Plan
    from faceage.errors import FaceageError
    from faceage.film.age_film import FilmSummary, age_film
    from faceage.model import Model, load_model
    from faceage.model_search import find_model
    from faceage.photos.decode import Limits

__all__ = [
    "Again",
    "Age",
    "DrawOptions",
    "FaceageError",
    "FilmSummary",
    "FindOptions",
    "Limits",
    "Model",
    "Plan",
    "RunSummary",
    "age_film",
    "age_photos",
    "find_model",
    "load_model",
    "plan_photos",
]

# TensorFlow has oneDNN and leaves it off on CPUs without AVX-512 VNNI or AMX; with it they take half as long. It asks
# once, when it is imported, which nothing here has done yet.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# The detector's networks are Keras 3's. Keras 2 in their place is another package, or none.
os.environ.pop("TF_USE_LEGACY_KERAS", None)
# HDF5 locks each file that it opens, also for reading, and fails on disks that have no locks. No file that others may
# read is written in place here, so that there is nothing to lock.
os.environ.setdefault("HDF5_USE_FILE_LOCKING", "FALSE")

_MODULES = {
    "Again": "batch.plan",
    "Age": "ages",
    "DrawOptions": "batch.options",
    "FaceageError": "errors",
    "FilmSummary": "film.age_film",
    "FindOptions": "batch.options",
    "Limits": "photos.decode",
    "Model": "model",
    "Plan": "batch.plan",
    "RunSummary": "batch.pipeline",
    "age_film": "film.age_film",
    "age_photos": "batch.age_photos",
    "find_model": "model_search",
    "load_model": "model",
    "plan_photos": "batch.age_photos",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
