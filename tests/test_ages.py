"""The six age classes."""

import numpy as np
import pytest

from faceage.ages import (
    AGE_CLASSES,
    LOWEST_AGES,
    Age,
    age_class,
    age_weights,
    one_hot,
    parse_ages,
    towards,
    young_to_old,
)
from faceage.errors import UsageError


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
    found = towards(own, one_hot([5])[0], strength)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], [0, 1 - strength, 0, 0, 0, strength], atol=1e-6)
    np.testing.assert_allclose(found[1], [0.25 * (1 - strength), 0, 0.75 * (1 - strength), 0, 0, strength], atol=1e-6)


def test_an_age_in_the_middle_of_a_class_is_that_class_and_others_are_between_two():
    for index, middle in enumerate([9, 24, 35, 45, 55, 70]):
        np.testing.assert_array_equal(age_weights(middle), one_hot([index])[0])
    np.testing.assert_allclose(age_weights(40), [0, 0, 0.5, 0.5, 0, 0])
    for years in np.linspace(0, 100, 41):
        weights = age_weights(float(years))
        assert weights.dtype == np.float32
        assert weights.sum() == pytest.approx(1, abs=1e-6)
        assert (weights != 0).sum() <= 2
        assert (weights >= 0).all() == (9 <= years <= 70)


def test_years_beyond_the_middles_go_on_and_all_years_differ():
    weights = np.array([age_weights(years) for years in (0, 5, 12, 25, 45, 65, 80, 100)])
    place = weights @ np.arange(6)
    assert (np.diff(place) > 0.05).all()
    # Beyond the middles the outermost class weighs more than 1, and its neighbour less than 0.
    for years, outermost, neighbour in ((5, 0, 1), (80, 5, 4)):
        assert age_weights(years)[outermost] > 1.05
        assert age_weights(years)[neighbour] == pytest.approx(1 - age_weights(years)[outermost], abs=1e-6)
    np.testing.assert_array_equal(age_weights(np.array([5, 80])), [age_weights(5), age_weights(80)])


def test_ages_go_on_smoothly():
    steps = np.abs(np.diff([age_weights(years / 4) for years in range(401)], axis=0)).sum(axis=1)
    assert steps.max() < 0.06


@pytest.mark.parametrize("years", [-0.1, 100.5, float("nan")])
def test_no_weights_for_what_is_no_age(years):
    with pytest.raises(ValueError, match="0 to 100"):
        age_weights(years)


@pytest.mark.parametrize("classes", [[6], [-7]])
def test_one_hot_of_no_class(classes):
    with pytest.raises(IndexError):
        one_hot(classes)


def test_an_age_is_a_class_or_years():
    assert Age("60+").weights.tolist() == [0, 0, 0, 0, 0, 1]
    assert Age(" 40 ").weights.tolist() == Age(40).weights.tolist() == [0, 0, 0.5, 0.5, 0, 0]
    assert Age("25.0") == Age(25)
    assert (Age("25.0").label, Age("40.5").label) == ("25", "40.5")
    assert Age("25").weights.tolist() != Age("19-29").weights.tolist()
    for text in ("", "x", "-1", "101", "nan", "19-30", "1e3"):
        with pytest.raises(UsageError, match="unknown age") as error:
            Age(text)
        assert "60+" in error.value.hint


def test_a_list_of_ages_has_each_once():
    assert [age.label for age in parse_ages("60+, 25,0-18,25.0,60+")] == ["60+", "25", "0-18"]
    assert [age.label for age in young_to_old(parse_ages("60+,80,25,0-18,5"))] == ["5", "0-18", "25", "60+", "80"]
    with pytest.raises(UsageError, match="unknown age ''"):
        parse_ages("25,,60+")
