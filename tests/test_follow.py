"""Faces from frame to frame: where they are to a fraction of a pixel, who is who, and when they are aged."""

import numpy as np
import pytest
from PIL import Image

from faceage.faces.align import TEMPLATE, align
from faceage.faces.detect import Detection
from faceage.faces.register import Register
from faceage.film.cuts import Cuts
from faceage.film.follow import Sighting, Stretch, turned
from faceage.film.link import FADE_SECONDS, Trail, join_stretches, one_person, place, shots_of

RATE = 25.0
FADE = round(FADE_SECONDS * RATE)


@pytest.mark.parametrize("seed", range(3))
def test_a_face_that_has_moved_is_found_to_a_fraction_of_a_pixel(astronaut, seed):
    before = np.array([[0.45, 0.02, -78.0], [-0.02, 0.45, -20.0]])
    random = np.random.default_rng(seed)
    angle, scale, shift = random.normal(0, 0.03), 1 + random.normal(0, 0.03), random.normal(0, 4, 2)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([225.0, 120.0])
    back = np.linalg.inv(np.vstack([np.hstack([turn, (middle + shift - turn @ middle)[:, None]]), [0, 0, 1]]))[:2]
    moved = Image.fromarray(astronaut).transform((512, 512), Image.Transform.AFFINE, back.ravel(), Image.BICUBIC)
    # In other light, with noise.
    shot = np.clip(np.asarray(moved) * 0.8 + 10 + random.normal(0, 2, astronaut.shape), 0, 255).astype(np.uint8)
    found, likeness = Register(align(astronaut, before))(shot, before)
    points = np.array([[190.0, 90.0], [260.0, 90.0], [225.0, 150.0]])
    place_by, expected = (points @ one[:, :2].T + one[:, 2] for one in (found, before @ np.vstack([back, [0, 0, 1]])))
    assert np.abs(place_by - expected).max() < 0.1
    assert likeness > 0.99


def trail(frames: np.ndarray, jitter: float = 0.0, nose: float = 0.0, confidence: float = 1.0) -> Trail:
    """A face that moves to the right by 2 pixels a frame, twice as large as the aligned one."""
    random = np.random.default_rng(0)
    shift = np.stack([2.0 * frames, np.zeros(len(frames))], axis=1)
    landmarks = 2 * TEMPLATE + shift[:, None] + random.normal(0, jitter, (len(frames), 5, 2))
    landmarks[:, 2, 0] += nose
    motion = np.stack([np.hstack([np.eye(2) / 2, -one[:, None] / 2]) for one in shift])
    return Trail(frames, landmarks, motion, np.full(len(frames), confidence))


def test_jitter_of_landmarks_does_not_move_the_face():
    placed = place(trail(np.arange(50), jitter=1.0), np.zeros(50, int), RATE)
    # A point of the head, from frame to frame.
    points = np.stack(
        [one[:, :2] @ (2 * TEMPLATE[0] + [2 * i, 0]) + one[:, 2] for i, one in enumerate(placed.transforms)]
    )
    assert np.abs(np.diff(points, axis=0)).max() < 0.05
    assert np.abs(points - TEMPLATE[0]).max() < 0.5


def test_a_face_fades_in_and_out_within_a_shot_and_not_at_a_cut():
    shots = np.zeros(100, int)
    within = place(trail(np.arange(30, 70)), shots, RATE).visible
    assert within[0] < 0.3
    assert within[-1] < 0.3
    assert within[FADE + 1 : -FADE - 1].min() == pytest.approx(1)
    assert np.abs(np.diff(within)).max() < 0.2
    shots[30:], shots[70:] = 1, 2
    assert place(trail(np.arange(30, 70)), shots, RATE).visible == pytest.approx(1)


def test_a_face_is_aged_up_to_a_blank_frame_and_from_one_on():
    """Blank frames belong to the shot before them."""
    seen = Sighting(12, 0, Detection(np.zeros(4), TEMPLATE, 1.0), np.eye(2, 3))
    shots = shots_of([Stretch([seen], cuts=[70], blanks=[0, 1, 12, 40, 41, 42, 43, 60, 61])], 100)
    assert np.flatnonzero(shots < 0).tolist() == [0, 1, 40, 41, 42, 43, 60, 61]
    placed = place(trail(np.r_[2:40, 44:60]), shots, RATE)
    assert placed.visible[placed.frames < 40] == pytest.approx(1)
    assert placed.visible[placed.frames >= 44] == pytest.approx(1)
    assert (placed.visible[(placed.frames >= 40) & (placed.frames < 44)] == 0).all()


def test_a_face_that_turns_away_or_is_hidden_is_not_aged():
    shots = np.zeros(40, int)
    assert place(trail(np.arange(40), nose=60), shots, RATE).visible.max() < 0.01
    assert place(trail(np.arange(40), confidence=0.4), shots, RATE).visible.max() < 0.01
    hidden = trail(np.arange(40))
    hidden.confidence[15:25] = 0.1
    visible = place(hidden, shots, RATE).visible
    assert visible[20] < 0.01
    assert visible[[0, -1]] == pytest.approx(1)
    assert np.abs(np.diff(visible)).max() < 0.2
    # A blink of the detector is none of the face.
    hidden.confidence[:] = 1
    hidden.confidence[20] = 0.1
    assert place(hidden, shots, RATE).visible == pytest.approx(1)


def test_a_turned_head():
    assert turned(TEMPLATE) < 0.01
    assert turned(TEMPLATE + np.array([[0, 0], [0, 0], [12, 0], [0, 0], [0, 0]])) > 0.4


def test_who_comes_back_in_a_shot_is_one_person_and_nobody_is_there_twice():
    trails = [trail(np.arange(0, 10)), trail(np.arange(0, 30)), trail(np.arange(20, 30))]
    anna, ben = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    assert one_person(trails, [anna, ben, anna], 0.9) == [[0, 2], [1]]
    # Alike, but in the same frames.
    assert one_person(trails, [anna, anna, ben], 0.9) == [[0], [1], [2]]


def test_faces_near_each_other_go_on_as_themselves_where_stretches_meet():
    def stretch(first: int, middles: list[float]) -> Stretch:
        faces = [Detection(np.zeros(4), 2 * TEMPLATE + [middle, 0], 1.0) for middle in middles]
        numbered = [(frame, track) for frame in range(first, first + 6) for track in range(len(faces))]
        return Stretch([Sighting(frame, track, faces[track], np.eye(2, 3)) for frame, track in numbered])

    trails = join_stretches([stretch(0, [0, 9]), stretch(5, [2, 11, 200])])
    assert [(one.frames.tolist(), one.landmarks[-1].mean(0)[0] - 2 * TEMPLATE.mean(0)[0]) for one in trails] == [
        (list(range(11)), pytest.approx(2)),
        (list(range(11)), pytest.approx(11)),
        (list(range(5, 11)), pytest.approx(200)),
    ]


def test_pictures_that_are_rather_unlike_are_cut_only_where_that_is_sudden():
    """Two portraits on walls of one colour are as alike as two frames of a fast pan."""
    random = np.random.default_rng(0)
    frame = random.normal(0, 40, (18, 32))
    pan = [frame]
    for _ in range(5):
        # Their correlation is 0.6, which is next to nothing in colours.
        pan.append(0.6 * pan[-1] + 0.8 * random.normal(0, 40, (18, 32)))
    shots = [np.clip(128 + np.repeat(each[..., None], 3, -1), 0, 255).astype(np.uint8) for each in pan]
    assert cuts_in(shots) == []
    assert cuts_in([shots[0]] * 3 + [shots[1]] * 3) == [3]


def cuts_in(frames: list[np.ndarray]) -> list[int]:
    cuts = Cuts()
    return [number for number, frame in enumerate(frames) if cuts.before(frame)]


def test_shots_are_counted_from_cut_to_cut():
    assert shots_of([Stretch(cuts=[2]), Stretch(cuts=[4])], 6).tolist() == [0, 0, 1, 1, 2, 2]
