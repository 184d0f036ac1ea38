"""Labelled grids of faces."""

import numpy as np
import pytest
from PIL import Image

from faceage.ages import AGE_CLASSES
from faceage.pictures.grid import cut_person, draw_grid, person_grid


def faces(rows: int, columns: int, height: int = 64, width: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, (rows, columns, height, width, 3), np.uint8)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 8), (3, 2)])
def test_faces_lie_in_rows_and_columns_unchanged(rows, columns):
    cells = faces(rows, columns)
    picture = np.asarray(draw_grid(cells))
    assert picture.shape == (rows * 66 + 2, columns * 66 + 2, 3)
    for row in range(rows):
        for column in range(columns):
            top, left = 2 + row * 66, 2 + column * 66
            np.testing.assert_array_equal(picture[top : top + 64, left : left + 64], cells[row, column])
    assert (picture == 255).all(-1).sum() == picture[..., 0].size - rows * columns * 64 * 64


@pytest.mark.parametrize("scale", [1, 2, 5])
def test_scale_enlarges_the_faces(scale):
    cells = np.full((2, 3, 64, 64, 3), 77, np.uint8)
    picture = np.asarray(draw_grid(cells, scale=scale))
    assert (picture == 77).all(-1).sum() == 6 * (64 * scale) ** 2
    assert picture.shape == (2 * (64 * scale + 2) + 2, 3 * (64 * scale + 2) + 2, 3)


def test_faces_need_not_be_square():
    assert draw_grid(faces(1, 2, 10, 30)).size == (2 * 32 + 2, 14)


@pytest.mark.parametrize("scale", [1, 2])
def test_each_label_stands_above_its_own_column(scale):
    cells, step = np.full((1, 6, 64, 64, 3), 77, np.uint8), 64 * scale + 2
    plain, labelled = draw_grid(cells, scale=scale), draw_grid(cells, AGE_CLASSES, scale)
    top = labelled.height - plain.height
    np.testing.assert_array_equal(np.asarray(labelled)[top:], np.asarray(plain))
    ink = (np.asarray(labelled)[:top] < 128).any(-1)
    assert not ink[:, :2].any()
    for column in range(6):
        x = np.flatnonzero(ink[:, 2 + column * step : 2 + column * step + 64 * scale].any(0))
        assert len(x) > 5
        assert abs((x[0] + x[-1]) / 2 - 32 * scale) < 3
        assert not ink[:, (column + 1) * step : (column + 1) * step + 2].any()


@pytest.mark.parametrize("labels", [(), ("a", "b")])
def test_each_row_label_stands_beside_its_own_row(labels):
    cells = np.full((3, 2, 64, 64, 3), 77, np.uint8)
    plain, labelled = draw_grid(cells, labels), draw_grid(cells, labels, row_labels=AGE_CLASSES[:3])
    left, top = labelled.width - plain.width, plain.height - (3 * 66 + 2)
    np.testing.assert_array_equal(np.asarray(labelled)[:, left:], np.asarray(plain))
    ink = (np.asarray(labelled)[:, :left] < 128).any(-1)
    for row in range(3):
        y = np.flatnonzero(ink[top + 2 + row * 66 : top + 2 + row * 66 + 64].any(1))
        assert len(y) > 5
        assert abs((y[0] + y[-1]) / 2 - 32) < 3


def test_labels_are_told_apart():
    heads = {np.asarray(draw_grid(faces(1, 1), [label]))[:16].tobytes() for label in (*AGE_CLASSES, "photo")}
    assert len(heads) == 7


@pytest.mark.parametrize("labels", [["one"], ["one", "two", "three"]])
def test_as_many_labels_as_columns(labels):
    with pytest.raises(ValueError, match=f"{len(labels)} labels for 2 columns"):
        draw_grid(faces(1, 2), labels)
    with pytest.raises(ValueError, match=f"{len(labels)} labels for 2 rows"):
        draw_grid(faces(2, 1), row_labels=labels)


def test_a_person_is_cut_out_of_their_grid_again():
    drawn = faces(1, 4)[0]
    grid = person_grid(drawn[0], drawn[1:], ("a", "b"), scale=1)
    np.testing.assert_array_equal(cut_person(grid, 2), drawn)


@pytest.mark.parametrize("scale", [2, 3, 8])
def test_a_person_in_a_large_grid_is_made_small_again(scale):
    x, y = np.meshgrid(np.arange(64), np.arange(64))
    drawn = np.stack([np.stack([x * 3, y * 3, np.full_like(x, 40 * column)], axis=-1) for column in range(5)])
    found = cut_person(person_grid(drawn[0].astype(np.uint8), drawn[1:].astype(np.uint8), "abc", scale), 3)
    assert found.shape == drawn.shape
    # To the very edge: what is around a face stays out of it.
    assert np.abs(found.astype(int) - drawn).max() <= 2


@pytest.mark.parametrize("size", [(1058, 147), (1057, 148), (1188, 148), (8, 8), (266, 36)])
def test_only_a_grid_of_so_many_ages_is_cut(size):
    assert person_grid(faces(1, 1)[0, 0], faces(1, 7)[0], "abcdef", scale=2).size == (1042, 148)
    with pytest.raises(ValueError, match=r"no grid of 6 ages"):
        cut_person(Image.new("RGB", size), 6)
