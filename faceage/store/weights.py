"""One file of weights: written as float16, and checked before Keras reads it."""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import h5py


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_contents(path: Path, parameters: int) -> None:
    """Raise ValueError where a file of weights has more numbers than fit, or some that lie in another file.

    A stranger's file is small and may name a dataset of any size, which would be in memory before it is found not to
    fit.
    """
    import h5py

    numbers = 0
    with h5py.File(path) as file:

        def look(name: str, link: Any) -> None:
            nonlocal numbers
            if not isinstance(link, h5py.HardLink):
                raise ValueError(f"{name} lies in another file")
            item = file[name]
            if isinstance(item, h5py.Dataset):
                if item.is_virtual or item.external is not None:
                    raise ValueError(f"{name} lies in another file")
                numbers += item.size

        file.visititems_links(look)
    if numbers > parameters:
        raise ValueError(f"{numbers} numbers instead of {parameters}")


def halve(path: Path) -> None:
    """Rewrite every float32 array of an HDF5 file as float16, where its numbers are not too large for it."""
    import h5py

    source_path = path.with_suffix(".float32")
    os.replace(path, source_path)
    try:
        with h5py.File(source_path) as source, h5py.File(path, "w") as target:

            def copy(name: str, item: "h5py.Group | h5py.Dataset") -> None:
                if isinstance(item, h5py.Group):
                    made: Any = target.require_group(name)
                else:
                    values = item[()]
                    fits = values.dtype == np.float32 and np.abs(values).max(initial=0) < np.finfo(np.float16).max
                    made = target.create_dataset(name, data=values.astype(np.float16) if fits else values)
                for key, value in item.attrs.items():
                    made.attrs[key] = value

            for key, value in source.attrs.items():
                target.attrs[key] = value
            source.visititems(copy)
    finally:
        source_path.unlink(missing_ok=True)
