"""Options of finding and drawing people; without Keras, so that a run is planned before Keras is imported."""

from dataclasses import dataclass

OBJECTIVES = ("identity", "paper", "pixel", "none")

STEPS = 10
"""Default of the optimiser: with more, no more photographs are taken for their person by a judge of identity."""

MOST_ADULTS = 5
"""People that one child may become: the one that was found, and ± two directions."""
ADULT_STRENGTH = 0.9
"""Default ageing strength of children: with more, a judge of identity accepts fewer, and skin gets lines."""
FACES_AT_ONCE = 32
"""In a batch of the optimiser: more are no faster for each."""


@dataclass(frozen=True)
class OptimiserOptions:
    """What decides a face's latents, apart from the face and the weights."""

    objective: str = "identity"
    """One of `OBJECTIVES`: "identity" is everything below; "paper" the published identity distance alone, of the plain
    face; "pixel" the mean absolute pixel difference and the prior; "none" keeps the encoder's latent."""
    steps: int = STEPS
    learning_rate: float = 0.03
    """Of the latent, times `haste`."""
    offset_rate: float = 0.015
    """Of the offset, times `haste`."""
    pixel: float = 1.5
    """Weight of the mean absolute pixel difference (in -1..1) at the photo's own age."""
    perceptual: float = 1.0
    """Weight of the difference in the recogniser's inner layers at the photo's own age."""
    other: float = 0.8
    """Weight of the identity distance at another age."""
    age: float = 0.6
    """Weight of the age estimator's cross-entropy at another age."""
    strength: float = 1.5
    """Ageing strength at another age: above the default of drawing, so that identity holds with a margin."""
    anchor: float = 4.0
    """Weight of the mean absolute difference, at another age, from what the encoder's latent gives there."""
    landmarks: float = 6.0
    """Weight of the difference around eyes, nose and mouth at the photo's own age (`landmark_difference`)."""
    other_landmarks: float = 5.0
    """The same at another age."""
    prior: float = 0.05
    """Weight of the mean squares of the latent's distance from the encoder's, and of the offset."""
    shift: int = 2
    """Largest displacement of a view, in pixels."""
    seed: int = 0

    @property
    def haste(self) -> float:
        """Factor on the rates, so that fewer steps go as far: 1 for 60 and more, 3 for 20 and fewer."""
        return min(max(60 / max(self.steps, 1), 1.0), 3.0)
