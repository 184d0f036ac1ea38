"""The whole job in one call: what is asked for is checked, and then done. The command and Python both begin here."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from faceage.batch.engines import Engine, local_engine
from faceage.batch.options import DrawOptions, FindOptions
from faceage.batch.photo import Tell, tell_nobody
from faceage.batch.pipeline import RunSummary, run_batch
from faceage.batch.plan import NOTHING_AGAIN, Again, Plan, Task, check_out, choose_photos, left_of, shard_folder
from faceage.errors import UsageError
from faceage.model import (
    MIN_ACCURACY,
    check_entry,
    check_recognizer,
    drawing_fingerprint,
    fingerprint,
    open_card,
    read_card,
)
from faceage.model_search import find_model
from faceage.people.options import FACES_AT_ONCE
from faceage.photos.decode import LIMITS, Limits
from faceage.photos.find import FoundPhoto

Photos = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""A folder of photos or a photo, or several of them."""

_FIND, _DRAW = FindOptions(), DrawOptions()

_FEWEST_AT_ONCE = 4
"""Smallest batch of the optimiser: one face alone takes hardly less time."""


def age_photos(
    photos: Photos,
    out: str | os.PathLike[str],
    *,
    listed: Photos = (),
    exclude: Sequence[str] = (),
    weights: str | os.PathLike[str] | None = None,
    find: FindOptions = _FIND,
    draw: DrawOptions = _DRAW,
    limits: Limits = LIMITS,
    again: Again = NOTHING_AGAIN,
    shard: tuple[int, int] = (1, 1),
    any_recognizer: bool = False,
    engine: Engine = local_engine,
    begins: Callable[[Plan], Any] = lambda plan: None,
    progress: Callable[[int, int], Any] = lambda photos, faces: None,
    tell: Tell = tell_nobody,
) -> RunSummary:
    """Find every face in `photos` and draw the same person at other ages into the folder `out`.

    What `faceage batch` does, which calls this: pictures, latents.h5 and manifest.jsonl are written, and what an
    earlier run into the same folder has done is not done again, unless `again` says so; with other `draw` options, the
    same people are drawn again and nobody is looked for. `weights` is a model folder, None the one that `find_model`
    finds. `listed` are more photos, from a list that may be out of date: a missing one is a row, not an error. What
    matches a pattern of `exclude` (* ? [ ]) is left out, by its name or, with a slash, by the end of its path.
    `limits` bound what reading one photo may cost. `shard` (k, n) does the k-th of n shares of the photos, into a
    folder of its own in `out`. `any_recognizer` optimises through a recogniser too that is not known to tell people
    apart. `begins(plan)` is told what is left before Keras is imported, `progress(photos, faces)` what has just been
    finished, `tell(stage, done, total)` how far a stage of it is.

    A photo that cannot be used is a row in the manifest and a count in the summary. Raises UsageError or WeightsError,
    both a FaceageError, for what would make the whole run fail, before any work; UsageError where writing fails later.
    """
    task, files, skipped = _checked(photos, out, listed, exclude, weights, find, draw, limits, shard, any_recognizer)
    return run_batch(task, files, again, engine, begins, progress, tell, skipped)


def plan_photos(
    photos: Photos,
    out: str | os.PathLike[str],
    *,
    listed: Photos = (),
    exclude: Sequence[str] = (),
    weights: str | os.PathLike[str] | None = None,
    find: FindOptions = _FIND,
    draw: DrawOptions = _DRAW,
    limits: Limits = LIMITS,
    again: Again = NOTHING_AGAIN,
    shard: tuple[int, int] = (1, 1),
    any_recognizer: bool = False,
) -> Plan:
    """What `age_photos` would do. Writes nothing, and raises what it raises before any work."""
    task, files, skipped = _checked(photos, out, listed, exclude, weights, find, draw, limits, shard, any_recognizer)
    return left_of(task, files, again, skipped)


def check_model(
    weights: str | os.PathLike[str] | None,
    find: FindOptions,
    draw: DrawOptions,
    hint: str,
    min_accuracy: float = MIN_ACCURACY,
) -> Path:
    """The folder of a model that can do what `find` and `draw` ask, and whose files are whole.

    `hint` is for one whose recogniser's accuracy is below `min_accuracy`. Raises WeightsError or UsageError.
    """
    folder = find_model(None if weights is None else Path(weights))
    card = open_card(folder)
    if find.optimiser.objective in ("identity", "paper"):
        check_recognizer(card["scores"], min_accuracy, hint)
    if draw.gender:
        check_entry(card, "gender", folder)
    return folder


def make_task(out: Path, weights: Path, find: FindOptions, draw: DrawOptions, limits: Limits = LIMITS) -> Task:
    """The task of a batch with the model in the folder `weights`."""
    card = read_card(weights)
    return Task(out, weights, find, draw, find.digest(fingerprint(card)), draw_digest(draw, card), limits)


def draw_digest(draw: DrawOptions, card: dict[str, Any]) -> str:
    """Hash of these options with the networks of a model's `card` that they draw with."""
    # The re-ager decides no latents: with another one, the same people are drawn again.
    return draw.digest(drawing_fingerprint(card) if draw.draw == "photo" or draw.gender else fingerprint(card))


def _checked(
    photos: Photos,
    out: str | os.PathLike[str],
    listed: Photos,
    exclude: Sequence[str],
    weights: str | os.PathLike[str] | None,
    find: FindOptions,
    draw: DrawOptions,
    limits: Limits,
    shard: tuple[int, int],
    any_recognizer: bool,
) -> tuple[Task, list[FoundPhoto], Counter[str]]:
    """The task, its photos, and how many folders are left out, by name."""
    places, more = _paths(photos), _paths(listed)
    if not (places or more):
        raise UsageError("no photos named", "faceage batch PHOTOS --out DIR")
    if not 1 <= shard[0] <= shard[1]:
        raise UsageError(f"shard {shard} is no share", "shares are (1, n) to (n, n)")
    to = shard_folder(Path(out), shard)
    check_out(places, to, more)
    hint = "use it all the same with --any-recognizer, or choose --objective pixel"
    folder = check_model(weights, find, draw, hint, 0 if any_recognizer else MIN_ACCURACY)
    skipped: Counter[str] = Counter()
    files = choose_photos(places, to, shard, more, exclude, skipped)
    task = make_task(to, folder, find, draw, limits)
    return (task if shard != (1, 1) else replace(task, faces_at_once=_faces_at_once(len(files)))), files, skipped


def _faces_at_once(photos: int) -> int:
    """Faces that are optimised together: each batch is filled up, which for one photo takes longer than all else.

    Another size rounds otherwise. It depends on the photos that are asked for, never on those that are left, so that a
    run that goes on does what an unbroken one does.
    """
    return min(FACES_AT_ONCE, max(_FEWEST_AT_ONCE, 1 << (photos - 1).bit_length()))


def _paths(photos: Photos) -> list[Path]:
    return [Path(photos)] if isinstance(photos, str | os.PathLike) else [Path(place) for place in photos]
