"""Labelled grids of faces."""

import numpy as np
import pytest
from PIL import Image

from faceage.ages import AGE_CLASSES
from faceage.pictures.grid import draw_grid, person_cells, person_labels


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


@pytest.mark.parametrize("side", [160, 320])
def test_a_persons_faces_of_any_size_become_one_row(side):
    photo, rebuilt, aged = faces(1, 1, 160, 160)[0, 0], faces(1, 1)[0, 0], faces(1, 3, 160, 160)[0]
    cells = person_cells(photo, rebuilt, aged, side)
    assert cells.shape == (5, side, side, 3)
    if side == 160:
        np.testing.assert_array_equal(cells[0], photo)
        np.testing.assert_array_equal(cells[2:], aged)
    small = Image.fromarray(cells[1]).resize((64, 64), Image.Resampling.BOX)
    assert np.abs(np.asarray(small).astype(int) - rebuilt).mean() < 25
    assert len(person_labels(["0-18", "25", "60+"])) == len(cells)
