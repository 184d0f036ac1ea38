"""`faceage verify`: pairs from a file, ROC figures against loops, and the command on real faces."""

import csv
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import faceage, faceage_alone, in_this_process
from conftest import REPOSITORY
from PIL import Image

from faceage.errors import UsageError
from faceage.evaluation.pairs import Pair, read_pairs
from faceage.evaluation.same_person import (
    Comparison,
    Person,
    area_under_curve,
    compare,
    match_threshold,
    measure_gain,
    roc,
    same_person_threshold,
)
from faceage.model import read_card
from faceage.model_search import CARD, find_model
from faceage.people.options import OptimiserOptions

EXAMPLES = REPOSITORY / "examples"


def test_pairs_are_relative_to_their_file(tmp_path):
    (tmp_path / "pairs.csv").write_text(
        "\ufeffb,a,same,note\ntwo.jpg, sub/one.jpg,1,x\nb.jpg,a.jpg,No,\nd.jpg,c.jpg,,\n/abs.jpg,c.jpg\n"
    )
    first, second, third, fourth = read_pairs(tmp_path / "pairs.csv")
    assert first == Pair(("sub/one.jpg", "two.jpg"), (tmp_path / "sub" / "one.jpg", tmp_path / "two.jpg"), same=True)
    assert [pair.same for pair in (second, third, fourth)] == [False, None, None]
    assert fourth.photos[1] == Path("/abs.jpg")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no columns a and b"),
        (b"x,y\n1,2\n", "no columns a and b"),
        (b"a,b\n", "lists no pairs"),
        (b"a,b\none.jpg\n", "line 2: 'one.jpg', ''"),
        (b"a,b,same\none.jpg,two.jpg,1\none.jpg,two.jpg,maybe\n", "line 3"),
        (b"a,b\n\xff\xfe,x\n", "cannot be read"),
    ],
)
def test_a_file_without_pairs_is_refused_with_how_it_should_look(tmp_path, content, said):
    (tmp_path / "pairs.csv").write_bytes(content)
    with pytest.raises(UsageError, match=said) as error:
        read_pairs(tmp_path / "pairs.csv")
    assert "a,b,same" in error.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "A, B ,Same\n one.jpg ,sub\\two.jpg,YES\n",
        "a;b;same\none.jpg;sub/two.jpg;1\n",
        "\ufeffa,b,same\none.jpg,sub/two.jpg,1",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_pairs_as_spreadsheets_write_them(tmp_path, text, encoding):
    (tmp_path / "sub").mkdir()
    for name in ("one.jpg", "sub/two.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "pairs.csv").write_bytes(text.removeprefix("\ufeff" if encoding == "utf-16" else "").encode(encoding))
    assert read_pairs(tmp_path / "pairs.csv") == [
        Pair(("one.jpg", "sub/two.jpg"), (tmp_path / "one.jpg", tmp_path / "sub" / "two.jpg"), True)
    ]


def test_pairs_that_contradict_each_other_are_refused(tmp_path):
    (tmp_path / "pairs.csv").write_text("a,b,same\nx.jpg,y.jpg,1\ny.jpg,x.jpg,0\n")
    with pytest.raises(UsageError, match=r"line 3: .* are one person in one line and two in another"):
        read_pairs(tmp_path / "pairs.csv")


def test_no_file_of_pairs_is_refused(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        read_pairs(tmp_path / "nowhere.csv")


@pytest.mark.parametrize("steps", [0, 5], ids=["no ties", "many ties"])
def test_the_area_is_that_of_two_loops(steps):
    random = np.random.default_rng(0)
    for count in (2, 3, 30):
        distances = random.random(count)
        distances = np.rint(distances * steps) / steps if steps else distances
        same = np.r_[True, False, random.random(count - 2) < 0.4]
        weights = random.integers(0, 3, count) + 0.5
        total = hits = 0.0
        for i, j in itertools.product(np.flatnonzero(same), np.flatnonzero(~same)):
            nearer = 1.0 if distances[i] < distances[j] else 0.5 if distances[i] == distances[j] else 0.0
            total += weights[i] * weights[j]
            hits += weights[i] * weights[j] * nearer
        assert area_under_curve(distances, same, weights) == pytest.approx(hits / total)


def test_at_most_the_share_asked_for_is_let_through():
    strangers = np.array([0.5, 0.1, 0.4, 0.3, 0.2])
    for share, count in ((0, 0), (0.01, 0), (0.2, 1), (0.5, 2), (0.6, 3)):
        assert (strangers < match_threshold(strangers, share)).sum() == count


def test_roc_figures_of_a_case_done_by_hand():
    distances = np.array([0.1, 0.2, 0.3, 0.9, 0.4, 0.8, 1.0, 1.1])
    same = np.arange(8) < 4
    found = roc(distances, same)
    assert found.auc == 14 / 16
    assert 0.3 < found.threshold < 0.4
    assert (found.accuracy.value, found.accuracy.count) == (7 / 8, 8)
    assert found.accuracy.low < 7 / 8 <= found.accuracy.high
    # None of four strangers may be let through at 1%.
    assert found.matched.value == 0.75


def labelled(direct: np.ndarray, aged: np.ndarray, same: np.ndarray) -> tuple[list[Pair], list[Comparison]]:
    """Pairs of photos of their own, at these distances."""
    pairs = [Pair((f"{i}a", f"{i}b"), (Path(f"{i}a"), Path(f"{i}b")), bool(one)) for i, one in enumerate(same)]
    return pairs, [Comparison(float(d), (float(a),) * 6, float(a), (0, 5)) for d, a in zip(direct, aged, strict=True)]


def test_it_says_whether_it_helped():
    random = np.random.default_rng(0)
    same = np.arange(400) < 200
    good = random.normal(1.2, 0.2, 400) - 0.5 * same
    bad = good + random.normal(0, 0.3, 400)
    helped, worse, neither = (measure_gain(*labelled(*kind, same)) for kind in ((bad, good), (good, bad), (good, good)))
    assert helped.auc_gain[0] > helped.auc_gain[1] > 0
    assert "helped" in helped.verdict
    assert worse.auc_gain[0] == -helped.auc_gain[0]
    assert "worse" in worse.verdict
    assert neither.auc_gain == (0, 0, 0)
    assert "no difference" in neither.verdict
    assert (helped.same, helped.different) == (200, 200)
    assert helped.aged == worse.direct


def test_pairs_that_share_photos_say_less():
    """What spoils a photo spoils all its pairs: the same distances, known to share photos, give a wider interval."""
    random = np.random.default_rng(1)
    same = np.arange(400) % 2 == 0
    first, second = np.arange(400) // 20, np.arange(400) % 20
    good = random.normal(1.2, 0.2, 400) - 0.4 * same
    spoilt = good + 0.4 * random.normal(0, 1, 20)[first] * np.where(same, 1, -1)
    pairs, comparisons = labelled(spoilt, good, same)
    shared = [
        replace(pair, photos=(Path(f"a{i}"), Path(f"b{j}"))) for pair, i, j in zip(pairs, first, second, strict=True)
    ]
    (value, low, high), (again, lower, higher) = (
        measure_gain(those, comparisons).auc_gain for those in (pairs, shared)
    )
    assert low < value == again < high
    assert higher - lower > 1.3 * (high - low)


def test_one_kind_of_pairs_has_no_roc():
    for same in (np.ones(3, bool), np.zeros(3, bool)):
        assert measure_gain(*labelled(np.arange(3), np.arange(3), same)) is None
    assert measure_gain([], []) is None


def unit(*angles: float) -> np.ndarray:
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def test_people_are_compared_at_equal_ages():
    young, old = np.eye(6)[1], np.eye(6)[5]
    a = Person(unit(0.0)[0], unit(*[0.0] * 6), young, 1)
    b = Person(unit(1.0)[0], unit(0.1, 0.2, 0.3, 0.4, 0.5, 0.6), old, 1)
    found = compare(a, b)
    chords = 2 * np.sin(np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]) / 2)
    assert found.direct == pytest.approx(2 * np.sin(0.5))
    assert found.at_age == pytest.approx(chords)
    assert found.aged == pytest.approx(chords.mean())
    assert found.classes == (1, 5)
    assert found.far_apart
    assert not compare(a, a).far_apart
    assert compare(a, a).aged == 0


def test_the_direct_distance_decides():
    comparison = Comparison(direct=1.0, at_age=(0.6,) * 6, aged=0.6, classes=(0, 1))
    assert comparison.same(1.01)
    assert not comparison.same(0.99)
    assert 0.5 < same_person_threshold(read_card(find_model())) < 1.2


@pytest.fixture(scope="module")
def quickly():
    """The people are found in a third of the steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("faceage.evaluation.same_person.OptimiserOptions", lambda: OptimiserOptions(steps=20))
        yield


@pytest.fixture(scope="module")
def listed(tmp_path_factory, astronaut, quickly):
    """What the command says of pairs of good and bad photos, and of two photos where one shows two people."""
    folder = tmp_path_factory.mktemp("pairs")
    portrait = Image.fromarray(astronaut).crop((60, 0, 380, 320))
    portrait.save(folder / "ann.png")
    portrait.transpose(Image.Transpose.FLIP_LEFT_RIGHT).point(lambda value: value * 0.8).save(folder / "dark.png")
    two = Image.new("RGB", (640, 320))
    two.paste(portrait.resize((160, 160)), (0, 0))
    two.paste(portrait, (320, 0))
    two.save(folder / "two.png")
    Image.new("RGB", (200, 200), "green").save(folder / "nobody.png")
    (folder / "text.png").write_text("no photo")
    people = sorted(EXAMPLES.glob("person-*.jpg"))[:2]
    rows = [
        ("ann.png", "dark.png", 1),
        ("ann.png", "two.png", 1),
        ("ann.png", people[0], 0),
        (people[0], people[1], "0"),
        (people[1], "dark.png", 0),
        ("ann.png", "nobody.png", 1),
        ("text.png", "gone.png", ""),
        ("ann.png", "dark.png", ""),
    ]
    with open(folder / "pairs.csv", "w", newline="") as file:
        csv.writer(file).writerows([("a", "b", "same"), *rows])
    result = faceage("verify", "--pairs", folder / "pairs.csv", "--json")
    return folder, result, json.loads(result.stdout)


def test_a_bad_photo_is_one_row_with_a_reason_and_exit_1(listed):
    _, result, said = listed
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    reasons = [row.get("reason", "") for row in said["pairs"]]
    assert [bool(reason) for reason in reasons] == [False] * 5 + [True, True, False]
    assert reasons[5] == "nobody.png: no face was found"
    assert "text.png: not an image" in reasons[6]
    assert "gone.png: cannot be read" in reasons[6]
    assert "nobody.png: no face was found" in result.stderr


def test_one_person_is_nearer_than_two(listed):
    rows = listed[2]["pairs"]
    for kind in ("direct", "aged"):
        assert max(row[kind] for row in rows[:2]) < min(row[kind] for row in rows[2:5])
    assert [row["same"] for row in rows[:5]] == [True, True, False, False, False]
    for row in rows[:5]:
        assert len(row["at_age"]) == 6
        assert row["aged"] == pytest.approx(np.mean(row["at_age"]), abs=1e-3)
        assert 0 <= row["direct"] <= 2
    # Named twice, worked on once.
    assert {**rows[0]} == {**rows[7], "labelled_same": True}


def test_labelled_pairs_have_roc_figures(listed):
    gain = listed[2]["gain"]["all pairs"]
    assert (gain["same"], gain["different"]) == (2, 3)
    assert gain["direct"]["auc"] == gain["aged"]["auc"] == 1
    assert gain["direct"]["accuracy"]["value"] == 1
    assert "no difference that these pairs could show" in gain["verdict"]


def test_two_photos_are_compared_in_a_table(listed):
    folder, _, said = listed
    result = faceage("verify", folder / "ann.png", folder / "two.png")
    assert result.returncode == 0, result.stderr
    assert ": one person" in result.stdout
    assert "both at 40-49" in result.stdout
    assert "by the distance as they are" in result.stdout
    assert f"{said['pairs'][1]['direct']:.2f}" in result.stdout
    assert "two.png shows 2 faces; the largest was taken" in result.stderr
    # What was asked for is no progress.
    assert faceage("verify", folder / "ann.png", folder / "two.png", "--quiet").stdout == result.stdout


def test_two_photos_without_a_face_are_exit_1(listed):
    folder = listed[0]
    status, out, err = in_this_process("verify", folder / "text.png", folder / "nobody.png")
    assert (status, out) == (1, "")
    assert "nobody.png: no face was found" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "two photos have to be named"),
        (["a.jpg"], "two photos have to be named"),
        (["a.jpg", "b.jpg"], "no such photo: a.jpg"),
        (["a.jpg", "b.jpg", "--pairs", "p.csv"], "leave A and B out"),
        (["--pairs", "p.csv"], "cannot be read"),
    ],
)
def test_wrong_usage_is_exit_2(tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    status, _, err = in_this_process("verify", *arguments)
    assert status == 2
    assert said in err


def test_a_recogniser_that_was_not_measured_is_not_looked_through(listed, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for path in find_model().glob("*.weights.h5"):
        (folder / path.name).symlink_to(path)
    card = read_card(find_model())
    del card["scores"]["recognizer"]["same_different"]
    (folder / CARD).write_text(json.dumps(card))
    photo = listed[0] / "ann.png"
    status, _, err = in_this_process("verify", photo, photo, "--weights", folder)
    assert status == 2
    assert "--people" in err


@pytest.mark.slow
def test_lfw10_figures_are_those_of_the_readme(lfw10, tmp_path):
    """All pairs of one person, and as many of two."""
    photos = sorted(path.relative_to(lfw10) for path in lfw10.rglob("*.jpg"))
    pairs = [(a, b, int(a.parent == b.parent)) for a, b in itertools.combinations(photos, 2)]
    same, different = ([pair for pair in pairs if pair[2] == kind] for kind in (1, 0))
    chosen = np.random.default_rng(0).permutation(len(different))[: len(same)]
    with open(tmp_path / "pairs.csv", "w", newline="") as file:
        csv.writer(file).writerow(("a", "b", "same"))
        for a, b, kind in [*same, *(different[i] for i in chosen)]:
            csv.writer(file).writerow((lfw10 / a, lfw10 / b, kind))
    result = faceage_alone("verify", "--pairs", tmp_path / "pairs.csv", "--json")
    assert result.returncode == 0, result.stderr
    gain = json.loads(result.stdout)["gain"]["all pairs"]
    assert (gain["same"], gain["different"]) == (450, 450)
    assert gain["direct"]["auc"] > 0.96
    assert gain["aged"]["auc"] > 0.9
    assert not gain["verdict"].startswith("bringing both to one age helped")
