"""One set of networks for the tests of a process: to load and compile them takes longer than most tests take to run.

Batches are small here, since most tests have a handful of faces and each batch is filled up. That nobody's result
depends on a batch is tested where batches are: test_optimise and test_draw.
"""

import copy
import functools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import faceage.batch.draw as batch_draw
import faceage.batch.find_people as find_people
import faceage.batch.worker as worker
import faceage.evaluation.same_person as same_person
import faceage.faces.largest as largest
import faceage.film.draw as film_draw
import faceage.film.find as film_find
import faceage.film.people as film_people
import faceage.film.task as film_task
import faceage.model as model
import faceage.people.draw as people_draw
import faceage.people.re_age as re_age
from faceage.faces.detect import Detector
from faceage.model_search import find_model
from faceage.people.draw import PeoplePainter
from faceage.people.optimise import LatentOptimiser
from faceage.people.options import OptimiserOptions

FACES_AT_ONCE = 4
"""In a batch of the optimiser."""
PICTURES_AT_ONCE = 8
"""In a batch of the generator and of the re-ager: a face in its eight views is one batch."""

_load = model.load_model


def load_model(folder: Path | None = None, dtype: str = "float32") -> model.Model:
    """`faceage.model.load_model`: files are checked each time, and read the first time."""
    folder = find_model() if folder is None else Path(folder)
    card = model.read_card(folder)
    model.check_files(folder, card)
    return _loaded(folder, json.dumps(card), dtype)


@functools.cache
def _loaded(folder: Path, card: str, dtype: str) -> model.Model:
    return _load(folder, dtype)


def with_re_ager(model: model.Model, network: Any) -> model.Model:
    """The model with another re-ager, or None, in place of its own."""
    changed = copy.copy(model)
    vars(changed).update(re_ager=network, fast=changed)
    return changed


_painters: dict[tuple[int, str, str | None], PeoplePainter] = {}
_optimisers: dict[tuple[int, OptimiserOptions, tuple[float, ...]], LatentOptimiser] = {}
"""By the id of their model, which they keep."""


def painter(model: model.Model, draw: str = "photo", gender: str | None = None) -> PeoplePainter:
    key = id(model), draw, gender
    if key not in _painters:
        _painters[key] = PeoplePainter(model, draw, gender)
    return _painters[key]


def optimiser(
    model: model.Model, options: OptimiserOptions, batch_size: int = FACES_AT_ONCE, age: np.ndarray | None = None
) -> LatentOptimiser:
    """An optimiser with these options, of this file's batch size. Steps, rates and seed are not compiled into it."""
    key = id(model), replace(options, steps=1, seed=0), () if age is None else tuple(age.tolist())
    if key not in _optimisers:
        _optimisers[key] = LatentOptimiser(model, options, FACES_AT_ONCE, age)
    made = _optimisers[key]
    made.options = replace(made.options, steps=options.steps, seed=options.seed)
    for each, rate in zip(made._optimizers, (options.learning_rate, options.offset_rate), strict=False):
        each.learning_rate.assign(options.haste * rate)
    return made


re_ager = functools.cache(re_age.ReAger)


@functools.cache
def detector() -> Detector:
    return Detector()


@contextmanager
def shared_networks() -> Iterator[None]:
    """Inside, all that finds and draws people does so with the networks of this process."""
    with pytest.MonkeyPatch.context() as patch:
        for user in (model, worker, film_task):
            patch.setattr(user, "load_model", load_model)
        for user in (find_people, same_person, film_people):
            patch.setattr(user, "LatentOptimiser", optimiser)
        for user in (find_people, largest, film_find):
            patch.setattr(user, "Detector", detector)
        for user in (batch_draw, people_draw):
            patch.setattr(user, "PeoplePainter", painter)
        patch.setattr(film_draw, "ReAger", re_ager)
        small_batches(patch.setattr)
        yield


def small_batches(assign: Callable[..., None] = setattr) -> None:
    """Draw in small batches."""
    for user in (batch_draw, people_draw):
        assign(user, "AT_ONCE", PICTURES_AT_ONCE)
    assign(re_age, "_AT_ONCE", PICTURES_AT_ONCE)
