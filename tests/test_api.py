"""`from faceage import …`: what the command does, from Python."""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from commands import faceage, rows_of
from conftest import REPOSITORY
from PIL import Image
from shared import shared_networks

import faceage as api
from faceage.batch.worker import Done
from faceage.faces.detect import Detector
from faceage.people.options import OptimiserOptions
from faceage.photos.decode import stamp
from faceage.store import hashes
from faceage.store.weights import sha256

README = (REPOSITORY / "README.md").read_text()


def python(code: str, **kwargs) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=540, **kwargs)


def test_importing_it_imports_nothing_heavy():
    code = "import sys, faceage; print(*(name for name in sys.modules if name.split('.')[0] in %r))"
    heavy = ("keras", "tensorflow", "torch", "numpy", "PIL", "h5py", "typer", "rich", "pooch")
    done = python(code % (heavy,))
    assert done.stdout.strip() == "", done.stderr


@pytest.mark.parametrize("own", [None, "0"])
def test_onednn_is_on_unless_the_user_says_otherwise(own):
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    if own is not None:
        environment["TF_ENABLE_ONEDNN_OPTS"] = own
    done = python("import faceage, os; print(os.environ['TF_ENABLE_ONEDNN_OPTS'])", env=environment)
    assert done.stdout.strip() == (own or "1"), done.stderr


def test_what_fails_before_any_work_needs_no_keras(tmp_path):
    code = f"""
import sys, faceage
try:
    faceage.age_photos({str(tmp_path / "nowhere")!r}, {str(tmp_path / "out")!r})
except faceage.FaceageError as error:
    print(error, error.exit_code, "keras" in sys.modules)
"""
    done = python(code)
    assert re.fullmatch(r"no such file or folder: \S+/nowhere 2 False\n", done.stdout), done.stderr
    assert not (tmp_path / "out").exists()


def test_every_name_is_there_and_no_other():
    for name in api.__all__:
        assert getattr(api, name).__doc__, name
        assert name in dir(api)
    with pytest.raises(AttributeError, match="no attribute 'utils'"):
        api.utils  # noqa: B018


def copy_photos(folder: Path) -> Path:
    """The people of examples/, without the pictures of them that lie there too."""
    folder.mkdir()
    for path in (REPOSITORY / "examples").glob("*.jpg"):
        shutil.copy(path, folder)
    return folder


def test_weights_that_have_not_changed_are_hashed_once(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(hashes, "_memory", lambda: tmp_path / "hashes.json")
    monkeypatch.setattr(hashes, "_SETTLED_NS", -1)
    monkeypatch.setattr(hashes, "sha256", lambda path: read.append(path.name) or sha256(path))
    photos = copy_photos(tmp_path / "photos")
    for _ in range(2):
        api.plan_photos(photos, tmp_path / "out")
    assert len(read) == len(set(read)) > 3


@pytest.mark.parametrize(("photos", "shard", "at_once"), [(1, 1, 4), (4, 1, 4), (5, 1, 8), (33, 1, 32), (4, 2, 32)])
def test_few_photos_are_optimised_in_small_batches(tmp_path, photos, shard, at_once):
    """By what is asked for and not by what is left, or a run that goes on would round otherwise than others."""
    (tmp_path / "photos").mkdir()
    for number in range(photos):
        Image.new("RGB", (32, 32), (number, 0, 0)).save(tmp_path / "photos" / f"{number}.png")
    found = []

    def engine(task, to_find, to_draw, record, tell):
        found.append(task.faces_at_once)
        done = [replace(photo.outcome, status="no_face", found=task.found) for photo in to_find[1:]]
        for photo, outcome in zip(to_find[1:], done, strict=True):
            size, modified = stamp(photo.file.path)
            record(Done(finished=[replace(outcome, size=size, modified=modified)]))

    for _ in range(2):
        api.age_photos(tmp_path / "photos", tmp_path / "out", shard=(1, shard), engine=engine)
    assert found == [at_once] * 2


@pytest.fixture(scope="module")
def from_the_readme(tmp_path_factory):
    """The folder in which the example of the README ran, and what it printed."""
    folder = tmp_path_factory.mktemp("readme")
    copy_photos(folder / "photos")
    section = README.split("## From Python", 1)[1].split("\n## ", 1)[0]
    code = "\n".join(line[4:] for line in section.splitlines() if line.startswith("    ") or not line)
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, shared_networks(), contextlib.redirect_stdout(printed):
        patch.chdir(folder)
        exec(code, {})
    return folder, printed.getvalue()


def test_the_example_of_the_readme_runs(from_the_readme):
    folder, printed = from_the_readme
    rows = rows_of(folder / "aged")
    assert len(rows) == len(list((folder / "photos").iterdir()))
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert len(list((folder / "aged" / "grids" / "photos").iterdir())) == sum(row["faces"] for row in rows.values())
    assert str(sum(row["faces"] for row in rows.values())) in printed


def test_the_command_goes_on_where_python_stopped(from_the_readme):
    folder, _ = from_the_readme
    same = ("--ages", "25,70", "--faces", "largest")
    out = faceage("batch", folder / "photos", "--out", folder / "aged", *same, "--dry-run")
    assert out.returncode == 0, out.stderr
    assert out.stdout == ""
    assert "0 photos to do" in out.stderr


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: api.DrawOptions(ages=()), "one or more, each once"),
        (lambda: api.DrawOptions(ages=(api.Age(25), api.Age("25.0"))), "one or more, each once"),
        (lambda: api.Age("biggest"), "unknown age 'biggest'"),
        (lambda: api.DrawOptions(draw="well"), "'well' is none of"),
        (lambda: api.DrawOptions(scale=0), "1 to 8"),
        (lambda: api.FindOptions(faces="biggest"), "'all', 'largest' or numbers"),
        (lambda: api.FindOptions(faces="0,"), "'all', 'largest' or numbers"),
        (lambda: api.FindOptions(optimiser=OptimiserOptions(objective="beauty")), "'beauty' is none of"),
    ],
)
def test_wrong_options_are_refused_when_they_are_made(make, said):
    with pytest.raises(api.FaceageError) as error:
        make()
    assert said in f"{error.value} {error.value.hint}"


def test_no_photos_are_refused(tmp_path):
    with pytest.raises(api.FaceageError, match="no photos named"):
        api.age_photos([], tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(api.FaceageError, match="no photo in"):
        api.plan_photos(tmp_path / "empty", tmp_path / "out")


def test_a_plan_is_what_would_be_done(tmp_path):
    examples = copy_photos(tmp_path / "photos")
    plan = api.plan_photos(str(examples), str(tmp_path / "out"))
    assert [photo.name for photo in plan.to_find] == sorted(f"photos/{path.name}" for path in examples.iterdir())
    first, second = (api.plan_photos(examples, tmp_path / "out", shard=(k, 2)).to_find for k in (1, 2))
    assert sorted(photo.name for photo in first + second) == sorted(photo.name for photo in plan.to_find)
    assert not (tmp_path / "out").exists()


def test_a_detector_that_fails_on_a_photo_read_again_fails_that_photo_alone(tmp_path, monkeypatch, astronaut):
    """A face in the distance is looked at twice: the photo is large, and was searched at a part of its size."""
    (tmp_path / "photos").mkdir()
    portrait = Image.fromarray(astronaut)
    portrait.save(tmp_path / "photos" / "good.jpg")
    large = Image.new("RGB", (3200, 2400), "grey")
    large.paste(portrait.resize((480, 480)), (400, 0))
    large.save(tmp_path / "photos" / "far.jpg")
    refine = Detector.refine

    def fails_on_the_whole(self, photo, faces, min_face=None, factor=1):
        if photo.shape[1] == 3200:
            raise RuntimeError("out of memory")
        return refine(self, photo, faces, min_face, factor)

    monkeypatch.setattr(Detector, "refine", fails_on_the_whole)
    find, draw = api.FindOptions(optimiser=OptimiserOptions(steps=1)), api.DrawOptions(ages=(api.Age("60+"),))
    with shared_networks():
        api.age_photos(tmp_path / "photos", tmp_path / "out", find=find, draw=draw)
    rows = rows_of(tmp_path / "out")
    assert (rows["photos/far.jpg"]["status"], rows["photos/far.jpg"]["faces"]) == ("failed", 0)
    assert rows["photos/far.jpg"]["reason"] == "the detector failed on it: out of memory"
    assert rows["photos/good.jpg"]["status"] == "ok"
