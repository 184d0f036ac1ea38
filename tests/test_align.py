"""From landmarks to an aligned face."""

import numpy as np
import pytest

from faceage.faces.align import TEMPLATE, align, face_transform, similarity


def moved(points, angle=0.0, scale=1.0, shift=(0.0, 0.0)) -> np.ndarray:
    """`points` turned by `angle` in degrees, enlarged, then shifted."""
    a = np.deg2rad(angle)
    return np.asarray(points) @ (scale * np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])) + shift


def apply(transform, points) -> np.ndarray:
    return np.asarray(points) @ transform[:, :2].T + transform[:, 2]


def waves(size: int, landmarks) -> np.ndarray:
    """A smooth photo that lies on its landmarks: (size, size, 3) uint8, the same whatever way it is turned."""
    y, x = np.mgrid[:size, :size] + 0.5
    u, v = np.moveaxis(apply(similarity(landmarks, TEMPLATE), np.stack([x, y], axis=-1)), -1, 0)
    channels = [np.sin(u / 5) + np.cos(v / 7), np.cos((u + v) / 6), np.sin((u - 2 * v) / 9)]
    return np.rint(127.5 + 60 * np.stack(channels, axis=-1)).astype(np.uint8)


MOVES = [(0, 1, (0, 0)), (30, 1, (5, -7)), (-90, 2.5, (300, 40)), (180, 0.3, (-9, 1e4)), (179, 40, (1, 2))]


@pytest.mark.parametrize(("angle", "scale", "shift"), MOVES)
def test_similarity_recovers_a_known_one(angle, scale, shift):
    points = np.random.default_rng(0).normal(size=(5, 2)) * 50
    found = similarity(points, moved(points, angle, scale, shift))
    a = np.deg2rad(angle)
    expected = [[scale * np.cos(a), -scale * np.sin(a), shift[0]], [scale * np.sin(a), scale * np.cos(a), shift[1]]]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_similarity_is_the_least_squares_one():
    rng = np.random.default_rng(1)
    source, target = rng.normal(size=(5, 2)), rng.normal(size=(5, 2))
    best = similarity(source, target)
    error = ((apply(best, source) - target) ** 2).sum()
    for angle, scale, shift in [
        (1, 1, (0, 0)),
        (-1, 1, (0, 0)),
        (0, 1.01, (0, 0)),
        (0, 0.99, (0, 0)),
        (0, 1, (0.01, 0)),
    ]:
        assert ((moved(apply(best, source), angle, scale, shift) - target) ** 2).sum() > error


@pytest.mark.parametrize("flip", [(-1, 1), (1, -1)])
def test_mirrored_landmarks_give_no_reflection(flip):
    transform = face_transform(TEMPLATE * flip)
    assert np.linalg.det(transform[:, :2]) > 0
    np.testing.assert_allclose(transform[0, 0], transform[1, 1])
    np.testing.assert_allclose(transform[0, 1], -transform[1, 0])


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.full((5, 2), 123.4), np.full((5, 2), np.nan)])
def test_landmarks_that_are_one_point_are_refused(points):
    with pytest.raises(ValueError, match="one point"):
        face_transform(points)


@pytest.mark.parametrize(("angle", "scale", "shift"), MOVES)
def test_a_face_of_the_templates_shape_lands_on_it(angle, scale, shift):
    landmarks = moved(TEMPLATE, angle, scale, shift)
    np.testing.assert_allclose(apply(face_transform(landmarks), landmarks), TEMPLATE, atol=1e-6)


@pytest.mark.parametrize(("scale", "step"), [(1.0, 3), (1.3, 2), (2.0, 2), (2.6, 1), (3.7, 1)])
def test_pixels_lie_where_the_transform_says(scale, step):
    """Each pixel of this photo holds `step` times its place, so that half a pixel off in the face would be seen."""
    ramp = np.arange(0, 256, step, dtype=np.uint8)
    photo = np.stack([*np.meshgrid(ramp, ramp), np.zeros((len(ramp), len(ramp)), np.uint8)], axis=-1)
    shift = np.array([0.3, 0.9]) + len(ramp) / 2 - 32 * scale
    face = align(photo, similarity(moved(TEMPLATE, 0, scale, shift), TEMPLATE))
    v, u = np.mgrid[:64, :64] + 0.5
    places = np.stack([u, v], axis=-1) * scale + shift
    held = (places > 2).all(-1) & (places < len(ramp) - 2).all(-1)
    assert held.sum() > 2000
    off = (face[..., :2] / step + 0.5 - places)[held] / scale
    assert np.abs(off.mean(0)).max() < 0.25
    assert np.abs(off).max() < 0.5


@pytest.mark.parametrize(("angle", "scale"), [(25, 1.0), (-40, 1.7), (90, 0.8), (180, 2.6), (10, 3.0)])
def test_a_turned_and_scaled_photo_gives_the_same_face(angle, scale):
    upright = moved(TEMPLATE - 32, 0, 2.0, (200, 200))
    turned = moved(TEMPLATE - 32, angle, 2.0 * scale, (300, 310))
    faces = [align(waves(600, points), face_transform(points)).astype(int) for points in (upright, turned)]
    assert faces[0].std() > 30
    assert np.abs(faces[0] - faces[1]).mean() < 1
    assert np.abs(faces[0] - faces[1]).max() <= 6


@pytest.mark.parametrize(("size", "margin"), [(40, 12), (60, 2), (16, 24), (4, 30)])
def test_outside_the_photo_is_its_mirror_image(size, margin):
    photo = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    face = align(photo, np.array([[1.0, 0, margin], [0, 1, margin]]))
    np.testing.assert_array_equal(face, np.pad(photo, [(margin, margin), (margin, margin), (0, 0)], "symmetric"))


def test_a_face_is_cut_out_unchanged_where_nothing_is_to_be_done(astronaut):
    face = align(astronaut, np.array([[1.0, 0, -170], [0, 1, -60]]))
    assert face.dtype == np.uint8
    np.testing.assert_array_equal(face, astronaut[60:124, 170:234])


@pytest.mark.parametrize("scale", [4.3, 6.0, 8.4, 20.0])
@pytest.mark.parametrize("angle", [0, 6, 30])
def test_a_large_face_is_averaged(scale, angle):
    y, x = np.mgrid[:2000, :2000]
    checkerboard = np.repeat(((x + y) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)
    face = align(checkerboard, face_transform(moved(TEMPLATE - 32, angle, scale, (1000, 1000))))
    assert np.abs(face - 127.5).max() < 8


def test_only_the_part_around_the_face_is_touched(astronaut):
    """A photo of 3 TB, which is one row again and again: no machine could copy it."""
    photo = np.broadcast_to(astronaut[100, :100, None].swapaxes(0, 1), (10_000_000_000, 100, 3))
    landmarks = moved(TEMPLATE - 32, 0, 1.2, (50, 5_000_000_000))
    face = align(photo, face_transform(landmarks))
    np.testing.assert_array_equal(face, np.broadcast_to(face[:1], face.shape))
    assert face.std() > 5
