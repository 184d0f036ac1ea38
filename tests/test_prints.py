"""What a child may become: several people, and the sheet that shows them."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from commands import faceage
from PIL import Image
from shared import load_model

from faceage.ages import age_weights, parse_ages
from faceage.batch import prints
from faceage.batch.options import PrintOptions
from faceage.errors import UsageError
from faceage.faces.align import TEMPLATE
from faceage.genders import GENDERS
from faceage.images import encode_portrait, to_uint8
from faceage.people.spread import SPARED, Spread, one_of
from faceage.pictures.paper import Text
from faceage.store.latents import FaceRow, LatentIndex, LatentWriter

AGES = parse_ages("18,35")


@pytest.fixture(scope="module")
def model():
    return load_model()


@pytest.fixture(scope="module")
def child(model):
    """Makes the row of somebody who does not exist, aged 6, as G draws them: by z, so of known identity."""

    def make(seed: int, near: float = 0.0) -> FaceRow:
        latent = np.random.default_rng(seed).standard_normal((1, 100)).astype(np.float32)
        latent += near * np.random.default_rng(99).standard_normal((1, 100)).astype(np.float32)
        age = age_weights(6)
        face = to_uint8(model.generator.predict_on_batch([latent, age[None]]))[0]
        return FaceRow(
            source=f"child/{seed}-{near}.jpg",
            face=0,
            box=np.zeros(4, np.float32),
            landmarks=TEMPLATE.astype(np.float32),
            confidence=1.0,
            aligned=face,
            age=age,
            latent_initial=latent[0],
            latent=latent[0],
            offset=np.zeros(2048, np.float16),
            identity_distance=np.array([0.1, 0.1], np.float32),
            transform=np.eye(2, 3, dtype=np.float32),
            portrait=encode_portrait(np.asarray(Image.fromarray(face).resize((160, 160)))),
        )

    return make


@pytest.fixture(scope="module")
def adults(model, child):
    return Spread(model)(child(1), AGES, 3)


def test_the_adults_are_several_people_and_still_near_the_photo(adults):
    assert [adult.pictures.shape for adult in adults] == [(2, 160, 160, 3)] * 3
    first, second, third = (adult.pictures[1].astype(int) for adult in adults)
    for one, other in ((first, second), (first, third), (second, third)):
        assert 2 < np.abs(one - other).mean() < 60
    assert all((adult.distances < 1.2).all() for adult in adults)


def test_nobody_changes_with_the_ages_or_the_number_asked_for(model, child, adults):
    (alone,) = Spread(model)(child(1), AGES[1:], 1)
    np.testing.assert_allclose(alone.pictures[0].astype(int), adults[0].pictures[1], atol=1)


def test_an_alternative_keeps_to_the_bound_and_to_the_gender_that_is_said(model, child):
    spread, row = Spread(model, GENDERS[0]), child(1)
    shifts = spread._people(row, np.ones((160, 160, 1), np.float32), 3, 1.0)
    assert not shifts[0].any()
    length = np.linalg.norm(shifts, axis=1)
    assert (length[1:] > 0.5).all()
    np.testing.assert_allclose(shifts[1] @ shifts[2], -length[1] * length[2], rtol=1e-3)
    seen = spread._embed(spread._draw(row, shifts, row.age))
    assert (np.linalg.norm(seen - seen[0], axis=1) <= SPARED + 0.05).all()
    assert (np.abs(shifts @ spread._gender) <= 0.3 * length * np.linalg.norm(spread._gender)).all()


def test_photos_of_one_child_are_one_person_and_anothers_are_left_out(model, child):
    rows = [child(1), child(1, 0.05), child(1, -0.05), child(7)]
    row, others = one_of(rows, model, 0.6)
    assert [other.source for other in others] == [rows[3].source]
    np.testing.assert_allclose(row.latent, np.mean([each.latent for each in rows[:3]], axis=0), rtol=1e-4, atol=1e-6)
    assert row.source == rows[0].source


def test_two_faces_of_one_photo_are_two_people(model, child):
    rows = [child(1), child(1, 0.05), replace(child(1, -0.05), source=child(1).source, face=1)]
    _, (other,) = one_of(rows, model, 0.6)
    assert other.source == rows[0].source


def test_a_long_name_takes_its_room(child, adults):
    row = replace(child(1), source="an album/" + "a long name " * 20 + ".jpg")
    page = prints._page(row, adults, PrintOptions(AGES), True, 1, 0.9)
    texts = {part.words: part for part in page if isinstance(part, Text)}
    beside = max(part.y for part in texts.values() if not part.centred and part.x > prints._PHOTO)
    assert texts[f"at {AGES[0].label}"].y > beside + 3


@pytest.fixture(scope="module")
def latents(tmp_path_factory, model, child):
    folder = tmp_path_factory.mktemp("found")
    index = LatentIndex(folder / "latents.h5", model.fingerprint, {"age": "6"})
    index.begin(lambda source: True)
    rows = [child(1), replace(child(1, 0.05), source="child/again.jpg")]
    index.count(LatentWriter(folder / "latents.h5", "w", model.fingerprint, {"age": "6"}).write(rows))
    return folder / "latents.h5"


def test_one_sheet_of_one_child(tmp_path, latents):
    done = faceage("print", latents, "--out", tmp_path, "--same-person", "--spread", 1, "--ages", "25")
    assert done.returncode == 0, done.stderr
    (sheet,) = (tmp_path / "prints").rglob("*.*")
    assert sheet.suffix == ".pdf"
    assert sheet.read_bytes().startswith(b"%PDF")
    assert b"compositeWithTrainedAlgorithmicMedia" in sheet.read_bytes()


def test_a_sheet_a_face_as_pictures_of_letter_paper(tmp_path, latents):
    asked = ("--file", "png", "--paper", "letter", "--ages", "25", "--spread", 1)
    done = faceage("print", latents, "--out", tmp_path, *asked)
    assert done.returncode == 0, done.stderr
    sheets = sorted((tmp_path / "prints").rglob("*.png"))
    assert [Image.open(sheet).size for sheet in sheets] == [(2550, 3300)] * 2
    assert [round(dots) for dots in Image.open(sheets[0]).info["dpi"]] == [300, 300]
    assert all(b"compositeWithTrainedAlgorithmicMedia" in sheet.read_bytes() for sheet in sheets)


def test_who_is_grown_up_is_left_out(tmp_path, model, child):
    rows = [child(1), replace(child(2), source="child/mother.jpg", face=1, age=age_weights(37))]
    index = LatentIndex(tmp_path / "latents.h5", model.fingerprint, {})
    index.begin(lambda source: True)
    index.count(LatentWriter(tmp_path / "latents.h5", "w", model.fingerprint, {}).write(rows))
    done = faceage("print", tmp_path, "--out", tmp_path, "--spread", 1, "--ages", "25")
    assert done.returncode == 0, done.stderr
    assert "child/mother.jpg, face 1 (37) is no child, and is left out; if that is wrong, say" in done.stderr
    assert "1 sheet → " in done.stderr
    assert len(list((tmp_path / "prints").rglob("*.pdf"))) == 1
    done = faceage("print", tmp_path, "--out", tmp_path / "no", "--only", "mother.jpg")
    assert done.returncode == 2
    assert "nobody here is below 18 years: child/mother.jpg, face 1 (37)\n" in done.stderr


def test_ages_that_are_past_are_left_out(tmp_path, latents):
    done = faceage("print", latents, "--out", tmp_path, "--spread", 1, "--ages", "4,25", "--same-person")
    assert done.returncode == 0, done.stderr
    assert "face 0, is 6: past are 4" in done.stderr
    done = faceage("print", latents, "--out", tmp_path / "no", "--spread", 1, "--ages", "4")
    assert done.returncode == 2
    assert "nobody here is younger than the ages to draw" in done.stderr
    assert not list((tmp_path / "no").rglob("*.pdf"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ages", "1,2,3,4,5,6,7"], "room for 1 to 6 ages, not 7"),
        (["--ages", "old"], "unknown age 'old'"),
    ],
)
def test_what_cannot_be_printed_is_refused_in_a_sentence(tmp_path, latents, options, said):
    done = faceage("print", latents, "--out", tmp_path / "no", *options)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "no").exists()


def test_people_of_other_weights_or_none_are_refused(tmp_path, latents):
    with pytest.raises(UsageError, match="0 people"):
        PrintOptions(AGES, spread=0)
    shutil.copytree(latents.parent, tmp_path / "empty")
    index = LatentIndex(tmp_path / "empty/latents.h5", load_model().fingerprint, {})
    index.begin(lambda source: False)
    done = faceage("print", tmp_path / "empty/latents.h5", "--out", tmp_path / "no")
    assert done.returncode == 2
    assert "holds no face" in done.stderr
