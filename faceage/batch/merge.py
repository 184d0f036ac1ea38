"""One run's results from those of its shards."""

import contextlib
import os
import shutil
from pathlib import Path

from faceage.batch.plan import DRAWN, LATENTS, MANIFEST, SHARDS, open_out
from faceage.errors import UsageError
from faceage.files import link_or_copy, only_one, remove_partials
from faceage.store.latents import PARTS, LatentIndex, read_settings
from faceage.store.manifest import Manifest, PhotoOutcome, read_manifest


def merge(out: Path) -> list[PhotoOutcome]:
    """Put the results of the shards in `out`/shards into `out`, as if one run had done it all; the rows that came.

    Files are linked where the file system can, and the shards go when all that they hold has been entered: stopped at
    any moment, it is ended by doing it again. Raises UsageError where there are no shards, one is still at work, or
    they were done with different options or weights.
    """
    for removed in (out / SHARDS).glob(".*-of-*"):
        shutil.rmtree(removed)
    shards = sorted(path for path in (out / SHARDS).glob("[0-9]*-of-*") if (path / LATENTS).exists())
    if not shards:
        raise UsageError(f"no shards in {out}", "faceage batch PHOTOS --out DIR --shard 1/16 makes the first of 16")
    open_out(out)
    with only_one(out, "aging photos"):
        came = {shard: list({row.path: row for row in read_manifest(shard / MANIFEST)}.values()) for shard in shards}
        before = {row.path: row for row in read_manifest(out / MANIFEST)}
        new = {row.path for rows in came.values() for row in rows}
        standing = before.keys() - new
        settings = {row.settings for rows in came.values() for row in rows}
        settings |= {before[path].settings for path in standing}
        if len(settings) > 1:
            raise UsageError(
                f"the shards in {out} were done with different options or weights",
                "do them with the same command, which then does again what differs",
            )
        index = LatentIndex(out / LATENTS, *read_settings(shards[0] / LATENTS))
        index.begin(keep=standing.__contains__)
        manifest = Manifest(out / MANIFEST, standing)
        for pictures in DRAWN:
            remove_partials(out / pictures)
        try:
            for shard, rows in came.items():
                with only_one(shard, "aging photos"):
                    index.count(_link_parts(shard, rows, out))
                    for pictures in DRAWN:
                        _link_pictures(shard / pictures, out / pictures)
                    manifest.append(rows)
                    _remove(shard)
        finally:
            manifest.close()
    with contextlib.suppress(OSError):
        # Unless a shard has begun meanwhile.
        (out / SHARDS).rmdir()
    return [row for rows in came.values() for row in rows]


def _link_parts(shard: Path, rows: list[PhotoOutcome], out: Path) -> dict[str, int]:
    """The shard's parts under names of their own in `out`: {name: rows}."""
    own = LatentIndex(shard / LATENTS, *read_settings(shard / LATENTS))
    # Rows of photos that a killed run did not come to enter would be there twice when somebody does them again.
    own.begin(keep={row.path for row in rows}.__contains__)
    named = {}
    for part, count in own.parts.items():
        name = f"{shard.name}.{part}"
        link_or_copy(shard / PARTS / f"{part}.h5", out / PARTS / f"{name}.h5")
        named[name] = count
    return named


def _link_pictures(shard: Path, out: Path) -> None:
    for folder, _, names in os.walk(shard):
        to = out / Path(folder).relative_to(shard)
        to.mkdir(parents=True, exist_ok=True)
        for name in names:
            link_or_copy(Path(folder, name), to / name)


def _remove(shard: Path) -> None:
    # At once by its name: half a shard would be taken for one.
    removed = shard.with_name(f".{shard.name}")
    os.rename(shard, removed)
    shutil.rmtree(removed)
