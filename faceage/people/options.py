"""What the optimiser can be told; without Keras, so that a run is planned before it is imported."""

from dataclasses import dataclass

OBJECTIVES = ("identity", "paper", "pixel", "none")
"""`paper` is the published formula (`optimise`) and nothing else."""


STEPS = {"fast": 20, "best": 60}
"""By quality."""


@dataclass(frozen=True)
class OptimiserOptions:
    """What decides a face's latent, apart from the face and the weights.

    `objective` is one of `OBJECTIVES`. Beside the identity distance, `pixel` weighs the mean absolute pixel difference
    (in -1..1) and `perceptual` that of the recogniser's inner layers, both at the photo's own age; `other` weighs the
    identity distance and `age` the estimator's cross-entropy at another age, drawn by `strength`, whose default is more
    than that of ageing (`ages.STRENGTH`): what holds there holds before. `anchor` weighs the mean absolute difference
    of that face from what G drew of the encoder's z, `landmarks` and `other_landmarks` that from the photo around the
    eyes, the nose and the mouth (`landmark_difference`) at the photo's own age and at another, and `prior` the mean
    squares of how far z has moved from the encoder's and of the offset; these go at `learning_rate` and `offset_rate`,
    times `haste`. `noise` is the standard deviation of what is added to each view and `shift` its largest displacement
    in pixels. The objectives "paper" and "pixel" know z, their one distance and `prior` only.
    """

    objective: str = "identity"
    steps: int = STEPS["best"]
    learning_rate: float = 0.04
    offset_rate: float = 0.01
    pixel: float = 1.5
    perceptual: float = 1.0
    other: float = 0.8
    age: float = 0.6
    strength: float = 1.5
    anchor: float = 4.0
    landmarks: float = 6.0
    other_landmarks: float = 5.0
    prior: float = 0.05
    shift: int = 2
    noise: float = 0.05
    seed: int = 0

    @property
    def haste(self) -> float:
        """How many times faster z and the offset go, to come as far in fewer steps; up to what "fast" takes."""
        return max(STEPS["best"] / max(self.steps, STEPS["fast"]), 1.0)
