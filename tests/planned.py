"""What is left of a batch, and what a run leaves behind that does it: everything but the networks."""

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from faceage.batch.names import grid_path, pasted_paths, remove_pictures
from faceage.batch.options import DrawOptions, FindOptions
from faceage.batch.plan import (
    LATENTS,
    MANIFEST,
    NOTHING_AGAIN,
    Again,
    Plan,
    Task,
    choose_photos,
    left_of,
    open_out,
    shard_folder,
)
from faceage.photos.decode import fingerprint, read_photo
from faceage.photos.decoders import stamp
from faceage.pictures.save import save_png
from faceage.store.latents import LatentIndex, LatentWriter
from faceage.store.manifest import NO_FACE, OK, UNREADABLE, Manifest, PhotoOutcome

WEIGHTS = "0ddba11"
FIND, DRAW = FindOptions(), DrawOptions()
GONE = "gone"
"""In place of a status: nothing could be read of the photo at all."""


def make_task(out: Path, find: FindOptions = FIND, draw: DrawOptions = DRAW, weights: str = WEIGHTS) -> Task:
    return Task(out, Path(), find, draw, find.digest(weights), draw.digest(weights))


def make_plan(
    places: list[Path], out: Path, again: Again = NOTHING_AGAIN, shard: tuple[int, int] = (1, 1), **options
) -> Plan:
    """What a run begins with: which photos there are, and what is left of them."""
    out = shard_folder(out, shard)
    return left_of(make_task(out, **options), choose_photos(places, out, shard), again)


def finish_plan(
    plan: Plan,
    face_row,
    draw: DrawOptions = DRAW,
    statuses: Mapping[str, str] = {},
    faces_of: Mapping[str, int] = {},
    shade: int = 0,
) -> None:
    """Do all of a plan: `faces_of` says how many faces a photo has (1), `statuses` what becomes of it, by its stem."""
    task = make_task(plan.out, draw=draw)
    open_out(plan.out)
    standing = {row.path for row in plan.standing}
    index = LatentIndex(plan.out / LATENTS, WEIGHTS, {}, draw.to_json())
    index.begin(keep=standing.__contains__)
    latents = LatentWriter(plan.out / LATENTS, "0", WEIGHTS, {})
    manifest = Manifest(plan.out / MANIFEST, plan.standing)
    remove_pictures(plan.out, {photo.name for photo in (*plan.to_find, *plan.to_draw)})
    for photo in (*plan.to_find, *plan.to_draw):
        path = photo.file.path
        status = statuses.get(path.stem, OK if faces_of.get(photo.name, 1) else NO_FACE)
        faces = faces_of.get(photo.name, 1) if status == OK else 0
        pictures = [grid_path(plan.out, photo.name, face) for face in range(faces)]
        pictures += pasted_paths(plan.out, photo.name, draw.ages) if faces and draw.paste else []
        for picture in pictures:
            picture.parent.mkdir(parents=True, exist_ok=True)
            save_png(Image.new("L", (8, 8), shade), picture)
        if photo in plan.to_find:
            index.count(latents.write([face_row(photo.name, face) for face in range(faces)]))
        known = (fingerprint(read_photo(path)), *stamp(path)) if status != GONE else ("", 0, 0)
        status = UNREADABLE if status == GONE else status
        drawn = task.drawn if faces else ""
        row = PhotoOutcome(photo.name, status, faces, "", {}, *known, task.found, drawn, photo.outcome.place)
        manifest.append([row])
    manifest.close()
