"""A prepared data set in files small enough to carry to another machine, for the photo stage there.

    python tests/bench/pack_faces.py pack faces.h5 packed/ --megabytes 55     packed/0.h5, packed/1.h5, …
    python tests/bench/pack_faces.py unpack packed/ faces.h5                  on the other machine

Portraits travel as WebP, a sixth of the bytes, and the aligned faces of 64 pixels are made of them again. That is as
good to train on, and not the same bits: what is measured is measured on the prepared file. Needs NumPy, h5py, Pillow.
"""

import argparse
import io
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

QUALITY = 80
SPLITS_CARRIED = (0, 1)
"""Training and validation: nothing is tested on the other machine."""


def pack(source: Path, to: Path, megabytes: float) -> None:
    """Write the faces that are trained on, in their order, a new file whenever one is full."""
    to.mkdir(parents=True, exist_ok=True)
    with h5py.File(source) as file:
        rows = np.flatnonzero(np.isin(file["split"][:], SPLITS_CARRIED))
        part: list[np.ndarray] = []
        number, size, first = 0, 0, 0
        for i, row in enumerate(rows):
            part.append(np.frombuffer(_webp(file["portrait"][row].tobytes()), np.uint8))
            size += len(part[-1]) + 200
            if size > megabytes * 1e6 or i == len(rows) - 1:
                _write(to / f"{number}.h5", file, rows[first : i + 1], part)
                print(f"{number}.h5: {len(part)} faces, {size / 1e6:.0f} MB")
                part, number, size, first = [], number + 1, 0, i + 1


def unpack(packed: Path, to: Path) -> None:
    """Join the packed files to a prepared data set."""
    parts = sorted(packed.glob("[0-9]*.h5"), key=lambda path: int(path.stem))
    with h5py.File(to, "w") as file:
        for path in parts:
            with h5py.File(path) as part:
                file.attrs.update(part.attrs)
                columns = {name: part[name][:] for name in part if not isinstance(part[name], h5py.Group)}
                portraits = [
                    Image.open(io.BytesIO(content.tobytes())).convert("RGB") for content in columns["portrait"]
                ]
                columns["faces"] = np.stack([np.asarray(p.resize((64, 64), Image.Resampling.BOX)) for p in portraits])
                columns["portrait"] = _objects(np.frombuffer(_jpeg(portrait), np.uint8) for portrait in portraits)
                for name, values in columns.items():
                    _append(file, name, values)
        for name in ("dropped/source", "dropped/reason"):
            file.create_dataset(name, (0,), h5py.string_dtype())


def _write(path: Path, source: h5py.File, rows: np.ndarray, portraits: list[np.ndarray]) -> None:
    with h5py.File(path, "w") as file:
        file.attrs.update(source.attrs)
        file.attrs["dropped"] = "{}"
        file.create_dataset("portrait", data=_objects(portraits), dtype=h5py.vlen_dtype(np.uint8))
        for name in source:
            if name not in ("portrait", "faces", "dropped"):
                file.create_dataset(name, data=source[name][:][rows], dtype=source[name].dtype)


def _append(file: h5py.File, name: str, values: np.ndarray) -> None:
    kinds = {"portrait": h5py.vlen_dtype(np.uint8)}
    kind = kinds.get(name, h5py.string_dtype() if values.dtype == object else values.dtype)
    if name not in file:
        shape = values.shape[1:]
        file.create_dataset(name, (0, *shape), kind, maxshape=(None, *shape), chunks=(256, *shape))
    start = len(file[name])
    file[name].resize(start + len(values), axis=0)
    file[name][start:] = values


def _objects(values) -> np.ndarray:
    values = list(values)
    column = np.empty(len(values), object)
    for i, value in enumerate(values):
        column[i] = value
    return column


def _webp(jpeg: bytes) -> bytes:
    out = io.BytesIO()
    Image.open(io.BytesIO(jpeg)).save(out, "WEBP", quality=QUALITY, method=4)
    return out.getvalue()


def _jpeg(portrait: Image.Image) -> bytes:
    out = io.BytesIO()
    portrait.save(out, "JPEG", quality=95, subsampling=0)
    return out.getvalue()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("source", type=Path)
    packing.add_argument("to", type=Path)
    packing.add_argument("--megabytes", type=float, default=55)
    unpacking = commands.add_parser("unpack")
    unpacking.add_argument("packed", type=Path)
    unpacking.add_argument("to", type=Path)
    given = vars(parser.parse_args())
    {"pack": pack, "unpack": unpack}[given.pop("command")](**given)
