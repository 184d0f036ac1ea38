"""Random views: whole pixels, repeated edges, and another view for each face."""

import keras
import numpy as np
import pytest
from keras import ops

from faceage.backend import gradients
from faceage.networks.augment import brightness_and_contrast, erase, shift_and_flip, view

SIZE = 64


def seed(value: int = 0) -> keras.random.SeedGenerator:
    return keras.random.SeedGenerator(value)


def coordinates(count: int) -> np.ndarray:
    """Faces whose channels are each pixel's row and column, and the face's own number."""
    row, column = np.mgrid[:SIZE, :SIZE]
    return np.stack([np.stack([row, column, np.full_like(row, i)], axis=-1) for i in range(count)]).astype(np.float32)


def random_faces(count: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, SIZE, SIZE, 3)).astype(np.float32)


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("shift", [0, 1, 4])
def test_every_view_is_a_moved_or_mirrored_face_with_repeated_edges(shift, flip):
    count = 200
    out = ops.convert_to_numpy(shift_and_flip(coordinates(count), seed(), shift=shift, flip=flip))
    pixels = np.arange(SIZE)
    moves = {(d, m): np.clip(pixels + d, 0, SIZE - 1) for d in range(-shift, shift + 1) for m in (False, True)}
    moves = {key: SIZE - 1 - index if key[1] else index for key, index in moves.items()}
    down, across, mirrored = set(), set(), set()
    for i, face in enumerate(out):
        rows, columns = face[:, 0, 0], face[0, :, 1]
        np.testing.assert_array_equal(face[..., 0], np.repeat(rows[:, None], SIZE, axis=1))
        np.testing.assert_array_equal(face[..., 1], np.repeat(columns[None], SIZE, axis=0))
        assert (face[..., 2] == i).all()
        (dy,) = (d for (d, m), index in moves.items() if not m and np.array_equal(rows, index))
        ((dx, mirror),) = (key for key, index in moves.items() if np.array_equal(columns, index))
        down.add(dy)
        across.add(dx)
        mirrored.add(mirror)
    assert down == across == set(range(-shift, shift + 1))
    assert mirrored == ({True, False} if flip else {False})


def test_faces_side_by_side_in_the_channels_are_moved_alike():
    faces, running = random_faces(8), seed(3)
    both = ops.convert_to_numpy(shift_and_flip(np.concatenate([faces, -faces], axis=-1), running))
    np.testing.assert_array_equal(both[..., 3:], -both[..., :3])
    np.testing.assert_array_equal(both[..., :3], ops.convert_to_numpy(shift_and_flip(faces, seed(3))))


def test_shift_and_flip_is_differentiable():
    faces = keras.Variable(random_faces(6))
    weigh = np.random.default_rng(1).standard_normal(faces.shape).astype(np.float32)
    value, _, (gradient,) = gradients(lambda: (ops.sum(shift_and_flip(faces.value, seed()) * weigh), ()), [faces])
    gradient = ops.convert_to_numpy(gradient)
    # The view is linear in the face, so the face times the gradient is the value itself.
    np.testing.assert_allclose((gradient * ops.convert_to_numpy(faces)).sum(), float(value), rtol=1e-3)
    # Where no edge was repeated, each pixel's gradient is the weight of the one place it went to.
    inner = gradient[0, 8:-8, 8:-8]
    assert np.isin(inner, weigh[0]).all()


@pytest.mark.parametrize("amount", [0.0, 0.05, 0.2])
def test_brightness_and_contrast_stay_within_their_bounds(amount):
    faces = random_faces(64)
    out = ops.convert_to_numpy(brightness_and_contrast(faces, seed(), amount))
    axes = (1, 2, 3)
    contrast = out.std(axes) / faces.std(axes)
    brightness = out.mean(axes) - faces.mean(axes)
    assert np.abs(contrast - 1).max() <= amount + 1e-5
    assert np.abs(brightness).max() <= amount + 1e-5
    # Nothing else happens to a face, and the bounds are reached for.
    centred = faces - faces.mean(axes, keepdims=True)
    expected = centred * contrast[:, None, None, None] + out.mean(axes, keepdims=True)
    np.testing.assert_allclose(out, expected, atol=1e-5)
    for drawn in (contrast - 1, brightness):
        assert drawn.min() <= -0.8 * amount
        assert drawn.max() >= 0.8 * amount


def test_a_square_of_each_face_is_erased_and_nothing_else():
    faces = random_faces(200)
    out = ops.convert_to_numpy(erase(faces, seed(), size=10))
    gone = (out == 0).all(axis=-1)
    np.testing.assert_array_equal(out[~gone], faces[~gone])
    heights, widths = (gone.any(axis=axis).sum(axis=1) for axis in (2, 1))
    np.testing.assert_array_equal(gone.sum(axis=(1, 2)), heights * widths)
    # Whole squares mostly, cut off at the edges otherwise: the corners of a face are as likely to go as its middle.
    assert heights.max() == widths.max() == 10
    assert min(heights.min(), widths.min()) >= 1
    shares = gone.mean(axis=0)
    assert shares[:8, :8].mean() == pytest.approx(shares[28:36, 28:36].mean(), abs=0.03)


def test_each_face_gets_its_own_view():
    same = np.repeat(random_faces(1), 16, axis=0)
    for augment in (shift_and_flip, brightness_and_contrast, view, erase):
        out = ops.convert_to_numpy(augment(same, seed()))
        assert len({face.tobytes() for face in out}) > 12, augment.__name__


def test_views_follow_the_seed():
    faces = random_faces(4)
    running = seed(5)
    first, second = (ops.convert_to_numpy(view(faces, running)) for _ in range(2))
    assert np.abs(first - second).max() > 0.1
    np.testing.assert_array_equal(ops.convert_to_numpy(view(faces, seed(5))), first)
    assert np.abs(ops.convert_to_numpy(view(faces, seed(6))) - first).max() > 0.1


def test_view_keeps_the_dtype():
    assert keras.backend.standardize_dtype(view(ops.cast(random_faces(2), "bfloat16"), seed()).dtype) == "bfloat16"
