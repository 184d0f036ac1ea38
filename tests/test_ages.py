"""The six age classes."""

import numpy as np
import pytest

from faceage.ages import AGE_CLASSES, LOWEST_AGES, age_class, one_hot, towards


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (0, "0-18"),
        (18, "0-18"),
        (19, "19-29"),
        (29, "19-29"),
        (30, "30-39"),
        (39, "30-39"),
        (40, "40-49"),
        (49, "40-49"),
        (50, "50-59"),
        (59, "50-59"),
        (60, "60+"),
        (100, "60+"),
    ],
)
def test_class_of_an_age(age, expected):
    assert AGE_CLASSES[age_class(age)] == expected


@pytest.mark.parametrize("age", [-1, 101, 2014])
def test_an_age_no_person_has_is_refused(age):
    with pytest.raises(ValueError, match=f"0 to 100 years, not {age}"):
        age_class(age)


def test_labels_begin_with_the_first_year_of_their_class():
    assert [int(label.split("-")[0].rstrip("+")) for label in AGE_CLASSES] == LOWEST_AGES.tolist()


@pytest.mark.parametrize("classes", [[0, 5, 2, 2], range(6), np.array([3], np.uint8), []])
def test_one_hot(classes):
    rows = one_hot(classes)
    assert rows.dtype == np.float32
    assert rows.shape == (len(classes), 6)
    assert rows.sum() == len(classes)
    assert all(rows[i, c] == 1 for i, c in enumerate(classes))


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 1.35])
def test_towards_goes_so_far_from_their_own_age_to_the_class(strength):
    own = np.array([[0, 1, 0, 0, 0, 0], [0.25, 0, 0.75, 0, 0, 0]], np.float32)
    found = towards(own, 5, strength)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], [0, 1 - strength, 0, 0, 0, strength], atol=1e-6)
    np.testing.assert_allclose(found[1], [0.25 * (1 - strength), 0, 0.75 * (1 - strength), 0, 0, strength], atol=1e-6)


@pytest.mark.parametrize("classes", [[6], [-7]])
def test_one_hot_of_no_class(classes):
    with pytest.raises(IndexError):
        one_hot(classes)
