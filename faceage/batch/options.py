"""Options of a batch: how people are found, and how they are drawn. Each has a hash of its own in the manifest."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from faceage.ages import AGE_CLASSES, EVERY_CLASS, MAX_STRENGTH, STRENGTH, Age
from faceage.errors import UsageError
from faceage.genders import check_gender
from faceage.people.options import ADULT_STRENGTH, MOST_ADULTS, OBJECTIVES, OptimiserOptions
from faceage.pictures.paper import PAPERS
from faceage.sizes import FACE_SIZE, PORTRAIT_SIZE
from faceage.store.latents import read_drawing, read_settings

DRAW = ("photo", "generator")
MAX_SCALE = 8

_COLOURS = 2
"""Version of how pixels get their colours: 2 converts every photo to sRGB, so faces cut out by version 1 differ."""

_SEARCH = 3
"""Version of how people are looked for: 2 looks closer at photos with small faces, 3 at each age as often."""

_DRAWING = 2
"""Version of how people are drawn: 2 goes further at the ages between the youngest and the oldest."""


@dataclass(frozen=True)
class FindOptions:
    """What decides which people are found in a photo, and their latents, apart from its bytes and the weights.

    Raises UsageError for invalid values.
    """

    faces: str = "all"
    """Which faces of a photo: "all", "largest", or numbers such as "0,2", of which 0 is the largest."""
    min_face: int | None = None
    """Narrowest face in photo pixels; None is 1/32 of the photo's longer side, and less where smaller ones show."""
    age: Age | None = None
    """The people's age in the photos; None estimates it."""
    optimiser: OptimiserOptions = field(default_factory=OptimiserOptions)

    def __post_init__(self) -> None:
        if self.optimiser.objective not in OBJECTIVES:
            raise UsageError(f"objective {self.optimiser.objective!r} is none of {', '.join(OBJECTIVES)}")
        if self.min_face is not None and self.min_face < 1:
            raise UsageError(f"min_face {self.min_face} is no width in pixels")
        if not isinstance(self.age, Age | None):
            raise UsageError(f"age {self.age!r} is no Age", f"say Age({self.age!r})")
        if self.faces in ("all", "largest"):
            return
        if not re.fullmatch(r"\s*\d{1,5}\s*(,\s*\d{1,5}\s*)*", self.faces, re.ASCII):
            hint = "faces are 'all', 'largest' or numbers such as '0,2'; 0 is the largest"
            raise UsageError(f"faces {self.faces!r} is no choice", hint)
        # In one order and each once: they are looked for in a photo from the largest on.
        numbers = sorted(set(map(int, self.faces.split(","))))
        object.__setattr__(self, "faces", ",".join(map(str, numbers)) if numbers != [0] else "largest")

    @property
    def face_numbers(self) -> Iterable[int]:
        """The numbers of the chosen faces, ascending; without end for "all"."""
        if self.faces == "all":
            return count()
        return (0,) if self.faces == "largest" else tuple(map(int, self.faces.split(",")))

    def to_json(self) -> dict[str, Any]:
        """As stored in latents.h5."""
        return {**asdict(self), "age": self.age and self.age.label}

    def digest(self, weights: str) -> str:
        """Hash of these options with the networks of fingerprint `weights`."""
        versions = {"face_size": FACE_SIZE, "colours": _COLOURS, "search": _SEARCH}
        return settings_digest({**self.to_json(), "weights": weights, **versions})


@dataclass(frozen=True)
class DrawOptions:
    """What decides the pictures of people found, apart from the weights. Raises UsageError for invalid values."""

    ages: tuple[Age, ...] = EVERY_CLASS
    """The ages to draw, in the order of a grid's columns."""
    strength: float = STRENGTH
    """Ageing strength: 1 is typical of the target age, above 1 exaggerates."""
    draw: str = "photo"
    """"photo" re-ages the photo's own face, where the model can; "generator" shows the paper's 64×64 faces."""
    scale: int = 1
    """Factor by which each face of a picture, 160 pixels wide, is enlarged."""
    paste: bool = False
    """Write the whole photo at each age too. It changes no other picture."""
    mark: bool = False
    """Write the letters AI into a corner of each aged picture."""
    strips: bool = False
    """Keep what a report shows of each face, so that a report does not draw it again. It changes no other picture."""
    gender: str | None = None
    """Everybody's, one of `GENDERS`; None draws what the photo shows, which is little in children."""

    def __post_init__(self) -> None:
        if not self.ages or len(set(self.ages)) < len(self.ages):
            raise UsageError("ages to draw are one or more, each once", f"all of them: {', '.join(AGE_CLASSES)}")
        if strange := [age for age in self.ages if not isinstance(age, Age)]:
            raise UsageError(f"age {strange[0]!r} is no Age", f"say Age({strange[0]!r})")
        if not 0 <= self.strength <= MAX_STRENGTH:
            raise UsageError(f"strength {self.strength} is not 0 to {MAX_STRENGTH}")
        if self.draw not in DRAW:
            raise UsageError(f"draw {self.draw!r} is none of {', '.join(DRAW)}")
        check_gender(self.gender)
        if type(self.scale) is not int or not 1 <= self.scale <= MAX_SCALE:
            raise UsageError(f"scale {self.scale} is not 1 to {MAX_SCALE}")

    @property
    def labels(self) -> list[str]:
        return [age.label for age in self.ages]

    def to_json(self) -> dict[str, Any]:
        """As stored in latents.h5: what decides how an aged face looks."""
        said: dict[str, Any] = {"ages": self.labels, "strength": self.strength, "draw": self.draw}
        said |= {"scale": self.scale, "mark": self.mark}
        return said if self.gender is None else {**said, "gender": self.gender}

    @classmethod
    def of_latents(cls, latents: Path) -> "DrawOptions":
        """What the people of a latents file were drawn with; defaults for what it does not say.

        Raises UsageError where the file is none, or says something strange.
        """
        stored = read_drawing(latents)
        try:
            if not stored:
                # Before version 3, all options lay in one place, and had other names.
                _, old = read_settings(latents)
                every = range(len(AGE_CLASSES))
                classes = [AGE_CLASSES[target] for target in dict.fromkeys(old.get("targets", every))]
                stored = {"ages": classes, "strength": old.get("strength", STRENGTH)}
            ages = tuple(map(Age, stored.get("ages", AGE_CLASSES)))
            strength = float(stored.get("strength", STRENGTH))
            draw, scale, mark = stored.get("draw", "photo"), int(stored.get("scale", 1)), bool(stored.get("mark"))
            return cls(ages, strength, draw, scale, mark=mark, gender=stored.get("gender"))
        except (TypeError, ValueError, IndexError, AttributeError, UsageError) as error:
            raise UsageError(f"{latents} does not say how its people were drawn: {error}") from error

    def digest(self, weights: str) -> str:
        """Hash of these options with the networks of fingerprint `weights`."""
        versions = {"portrait_size": PORTRAIT_SIZE, "drawing": _DRAWING}
        return settings_digest({**self.to_json(), "weights": weights, **versions})


PRINTED_AGES = tuple(map(Age, (12, 18, 25, 35)))


@dataclass(frozen=True)
class PrintOptions:
    """How sheets are printed. Raises UsageError for invalid values."""

    ages: tuple[Age, ...] = PRINTED_AGES
    strength: float = ADULT_STRENGTH
    spread: int = 3
    """How many people one child may become."""
    paper: str = "a4"
    file: str = "pdf"
    gender: str | None = None
    """Everybody's, one of `GENDERS`; None leaves it to the photo."""
    same_person: bool = False
    """Whether all photos show one person."""

    def __post_init__(self) -> None:
        for what, value, allowed in (("paper", self.paper, PAPERS), ("file", self.file, ("pdf", "png"))):
            if value not in allowed:
                raise UsageError(f"{what} {value!r} is none of {', '.join(allowed)}")
        check_gender(self.gender)
        if not 1 <= self.spread <= MOST_ADULTS:
            raise UsageError(f"a spread of {self.spread} people is not 1 to {MOST_ADULTS}")
        if not 1 <= len(self.ages) <= 6:
            raise UsageError(f"a sheet has room for 1 to 6 ages, not {len(self.ages)}", "name them with --ages")


def settings_digest(values: Any) -> str:
    """A short hash of JSON values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
