"""What G leaves out of a photo, put back at other ages.

Eyes, mouth, hair and what is behind a person age little, and are where G draws the photo worst. What it misses there,
photo − G(z, own age), is added. Of the change with age, G(z, target) − G(z, own age), less is taken at eyes and mouth,
and it is the mean of the photo's and its mirror image's: specks and stains are in one of them, age is in both.
"""

from collections.abc import Sequence

import numpy as np

from faceage.faces.align import TEMPLATE
from faceage.faces.paste import bump, face_oval
from faceage.images import FACE_SIZE
from faceage.model import Model
from faceage.networks.landmarks import landmark_weights
from faceage.people.draw import draw_mirrored
from faceage.people.optimise import Latents

_AROUND = 0.6
"""How much of what G misses is put back around the face: all of it would keep a child's head on an old face."""


def _maps() -> tuple[np.ndarray, np.ndarray]:
    """How much of what G misses is put back, and how much of the change is taken: both (64, 64, 1) float32, 0..1."""
    oval = face_oval(TEMPLATE)
    step = len(oval) // FACE_SIZE
    face = oval.reshape(FACE_SIZE, step, FACE_SIZE, step).mean((1, 3))
    y, x = np.mgrid[:FACE_SIZE, :FACE_SIZE] + 0.5
    taken = np.ones((FACE_SIZE, FACE_SIZE))
    for (column, row), share, wide, high in (
        (TEMPLATE[0], 0.8, 4.5, 2.8),
        (TEMPLATE[1], 0.8, 4.5, 2.8),
        (TEMPLATE[3:].mean(0), 0.6, 7.0, 3.0),
    ):
        taken *= 1 - share * bump(x - column, y - row, wide, high)
    landmarks = landmark_weights()
    missed = np.maximum.reduce([landmarks / landmarks.max(), _AROUND * (1 - face), 1 - taken])
    return missed[..., None].astype(np.float32), taken[..., None].astype(np.float32)


_MISSED, _TAKEN = _maps()


def add_details(
    model: Model,
    aligned: np.ndarray,
    latents: Latents,
    drawn: np.ndarray,
    asked: Sequence[np.ndarray],
    strength: float,
    share: float,
) -> np.ndarray:
    """Faces that `draw_people` drew of `latents` at k ages `asked` by `strength`, with the details of their photos.

    `aligned` is (n, 64, 64, 3) uint8, `drawn` and the answer (n, 1 + k, 64, 64, 3) uint8. `share` 0 leaves all as they
    are, 1 puts all details back; those at the people's own ages stay as they are.
    """
    if not share:
        return drawn
    mirrored = draw_mirrored(model, aligned, latents, asked, strength)
    return np.stack([keep_details(*faces, share) for faces in zip(aligned, drawn, mirrored, strict=True)])


def keep_details(aligned: np.ndarray, drawn: np.ndarray, mirrored: np.ndarray, share: float) -> np.ndarray:
    """`add_details` for one person, of whom `mirrored` is what was drawn of the mirror image, mirrored back."""
    first, second = drawn.astype(np.float32), mirrored.astype(np.float32)
    own = (first[0] + second[0]) / 2
    change = (first[1:] - first[0] + second[1:] - second[0]) / 2
    whole = own + _MISSED * (aligned - own) + _TAKEN * change
    others = first[1:] + np.float32(share) * (whole - first[1:])
    return np.concatenate([drawn[:1], np.clip(np.rint(others), 0, 255).astype(np.uint8)])
