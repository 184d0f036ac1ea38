"""One run's results from those of its shards."""

import contextlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from faceage.batch.names import pictures_under, possible_names, remove_pictures, same_name
from faceage.batch.plan import LATENTS, MANIFEST, SHARDS, open_out, writing_to
from faceage.errors import UsageError
from faceage.files import link_or_copy, only_one
from faceage.store.latents import PARTS, LatentIndex, LatentWriter, read_drawing, read_settings, row_blocks
from faceage.store.manifest import Manifest, PhotoOutcome, read_manifest


def merge(out: Path) -> list[PhotoOutcome]:
    """Put the results of the shards in `out`/shards into `out`, as if one run had done it all; the rows that came.

    Files are linked where the file system can, and the shards go when all that they hold has been entered: stopped at
    any moment, it is ended by doing it again. Raises UsageError where there are no shards, one is still at work, or
    their people were found with different options or weights.
    """
    for removed in (out / SHARDS).glob(".*-of-*"):
        shutil.rmtree(removed)
    shards = sorted(path for path in (out / SHARDS).glob("[0-9]*-of-*") if (path / LATENTS).exists())
    if not shards:
        raise UsageError(f"no shards in {out}", "faceage batch PHOTOS --out DIR --shard 1/16 makes the first of 16")
    open_out(out)
    with contextlib.ExitStack() as locks:
        # All of them before a manifest is read: a shard that is still at work would lose its newest rows.
        for folder in (out, *shards):
            locks.enter_context(only_one(folder, "aging photos"))
        before = read_manifest(out / MANIFEST)
        came = _assign_names(before, {shard: read_manifest(shard / MANIFEST) for shard in shards})
        rows = [replace(row, path=name) for names in came.values() for name, row in names.items()]
        new = {row.path for row in rows}
        standing = {path: row for path, row in before.items() if path not in new}
        _check_alike(out, [*standing.values(), *rows])
        with writing_to(out):
            _merge(out, came, standing)
    with contextlib.suppress(OSError):
        # Unless a shard has begun meanwhile.
        (out / SHARDS).rmdir()
    return rows


Names = dict[str, PhotoOutcome]
"""Rows of a shard by the name that each gets in the merged results."""


def _assign_names(before: Mapping[str, PhotoOutcome], shards: Mapping[Path, Names]) -> dict[Path, Names]:
    """The rows of each shard that no other has, by the names that they get: as one run over all would name them."""
    taken = {same_name(path): row for path, row in before.items()}
    places = {row.place: path for path, row in before.items() if row.place}
    owners: dict[str, Path] = {}
    came: dict[Path, Names] = {shard: {} for shard in shards}
    for shard, rows in shards.items():
        for row in rows.values():
            name = places.get(row.place) or _free_name(row, taken)
            if owner := owners.get(name):
                del came[owner][name]
            came[shard][name], owners[name] = row, shard
            taken[same_name(name)] = replace(row, path=name)
            places[row.place] = name
    return came


def _free_name(row: PhotoOutcome, taken: Mapping[str, PhotoOutcome]) -> str:
    for name in possible_names(row.path, lambda: row.input, row.place):
        holder = taken.get(same_name(name))
        if holder is None:
            return name
        if not holder.input or holder.input == row.input:
            return holder.path
    return row.path


def _check_alike(out: Path, rows: list[PhotoOutcome]) -> None:
    if len({row.found for row in rows}) > 1 or not all(row.found for row in rows):
        raise UsageError(
            f"the shards in {out} were done with different options or weights, or by an earlier version of faceage",
            "do them with the same command, which then does again what differs",
        )


def _merge(out: Path, came: Mapping[Path, Names], standing: Names) -> None:
    first = next(iter(came)) / LATENTS
    index = LatentIndex(out / LATENTS, *read_settings(first), read_drawing(first))
    index.begin(keep=standing.__contains__)
    manifest = Manifest(out / MANIFEST, standing.values())
    remove_pictures(out, {name for names in came.values() for name in names})
    try:
        for shard, names in came.items():
            new_names = {row.path: name for name, row in names.items()}
            index.count(_bring_parts(shard, new_names, out))
            for source, target in pictures_under(shard, new_names, out):
                target.parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(source, target)
            manifest.append(replace(row, path=name) for name, row in names.items())
            _remove(shard)
    finally:
        manifest.close()


def _bring_parts(shard: Path, new_names: Mapping[str, str], out: Path) -> dict[str, int]:
    """The shard's rows of the photos in `new_names`, in parts of their own in `out`: {part: rows}."""
    settings = read_settings(shard / LATENTS)
    own = LatentIndex(shard / LATENTS, *settings, read_drawing(shard / LATENTS))
    # Rows of photos that a killed run did not come to enter would be there twice when somebody does them again.
    own.begin(keep=new_names.__contains__)
    if any(old != new for old, new in new_names.items()):
        writer = LatentWriter(out / LATENTS, shard.name, *settings)
        parts: dict[str, int] = {}
        for block in row_blocks(shard / LATENTS):
            parts |= writer.write([replace(row, source=new_names[row.source]) for row in block])
        return parts
    named = {}
    for part, count in own.parts.items():
        name = f"{shard.name}.{part}"
        link_or_copy(shard / PARTS / f"{part}.h5", out / PARTS / f"{name}.h5")
        named[name] = count
    return named


def _remove(shard: Path) -> None:
    # At once by its name: half a shard would be taken for one.
    removed = shard.with_name(f".{shard.name}")
    os.rename(shard, removed)
    shutil.rmtree(removed)
