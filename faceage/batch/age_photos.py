"""The whole job in one call: what is asked for is checked, and then done. The command and Python both begin here."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from faceage.ages import AGE_CLASSES
from faceage.batch.engines import Engine, local_engine
from faceage.batch.pipeline import RunSummary, run_batch
from faceage.batch.plan import (
    NOTHING_AGAIN,
    Again,
    BatchOptions,
    Plan,
    check_out,
    choose_photos,
    left_of,
    shard_folder,
)
from faceage.errors import UsageError
from faceage.model import MIN_ACCURACY, check_files, check_recognizer, find_model, fingerprint, read_card
from faceage.people.options import OBJECTIVES
from faceage.photos.find import FoundPhoto

Photos = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""A folder of photos or a photo, or several of them."""

_DEFAULT_OPTIONS = BatchOptions()


def age_photos(
    photos: Photos,
    out: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    options: BatchOptions = _DEFAULT_OPTIONS,
    again: Again = NOTHING_AGAIN,
    shard: tuple[int, int] = (1, 1),
    any_recognizer: bool = False,
    engine: Engine = local_engine,
    begins: Callable[[Plan], Any] = lambda plan: None,
    progress: Callable[[int, int], Any] = lambda photos, faces: None,
) -> RunSummary:
    """Find every face in `photos` and draw the same person at other ages into the folder `out`.

    What `faceage batch` does, which calls this: grids, latents.h5 and manifest.jsonl are written, and what an earlier
    run into the same folder has done is not done again, unless `again` says so. `weights` is a model folder, None the
    one that `find_model` finds. `shard` (k, n) does the k-th of n shares of the photos, into a folder of its own in
    `out`. `any_recognizer` optimises through a recogniser too that is not known to tell people apart. `begins(plan)` is
    told what is left before Keras is imported, `progress(photos, faces)` what has just been finished.

    A photo that cannot be used is a row in the manifest and a count in the summary. Raises UsageError or WeightsError,
    both a FaceageError, for what would make the whole run fail, before any work; UsageError where writing fails later.
    """
    folder, found, to = _checked(photos, out, weights, options, shard, any_recognizer)
    return run_batch(folder, found, to, options, again, engine, begins, progress)


def plan_photos(
    photos: Photos,
    out: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    options: BatchOptions = _DEFAULT_OPTIONS,
    again: Again = NOTHING_AGAIN,
    shard: tuple[int, int] = (1, 1),
    any_recognizer: bool = False,
) -> Plan:
    """What `age_photos` would do. Writes nothing, and raises what it raises before any work."""
    folder, found, to = _checked(photos, out, weights, options, shard, any_recognizer)
    return left_of(found, to, options, fingerprint(read_card(folder)), again)


def _checked(
    photos: Photos,
    out: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None,
    options: BatchOptions,
    shard: tuple[int, int],
    any_recognizer: bool,
) -> tuple[Path, list[FoundPhoto], Path]:
    """The model's folder, the photos, and the folder for their results."""
    places = [Path(photos)] if isinstance(photos, str | os.PathLike) else [Path(place) for place in photos]
    if not places:
        raise UsageError("no photos named", "faceage batch PHOTOS --out DIR")
    if not re.fullmatch(r"all|largest|\d{1,5}(,\d{1,5})*", options.faces):
        raise UsageError(f"faces {options.faces!r} is no choice", "faces are 'all', 'largest' or numbers such as '0,2'")
    known = range(len(AGE_CLASSES))
    classes = [*options.targets, *([] if options.age_class is None else [options.age_class])]
    if not options.targets or not set(classes) <= set(known):
        raise UsageError(
            f"{classes} are no age classes to draw", f"they are numbered 0 to {known[-1]}: {', '.join(AGE_CLASSES)}"
        )
    if options.optimiser.objective not in OBJECTIVES:
        raise UsageError(f"objective {options.optimiser.objective!r} is none of {', '.join(OBJECTIVES)}")
    to = shard_folder(Path(out), shard)
    check_out(places, to)
    folder = find_model(None if weights is None else Path(weights))
    card = read_card(folder)
    check_files(folder, card)
    if options.optimiser.objective in ("identity", "paper") and not any_recognizer:
        hint = "use it all the same with --any-recognizer, or choose --objective pixel"
        check_recognizer(card["scores"], MIN_ACCURACY, hint)
    return folder, choose_photos(places, to, shard), to
