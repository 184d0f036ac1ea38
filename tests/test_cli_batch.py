"""`faceage batch` as a user runs it."""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import skimage
from commands import faceage, faceage_alone, in_this_process, rows_of
from PIL import Image
from shared import detector

from faceage.ages import Age
from faceage.faces.align import align
from faceage.faces.detect import Detection
from faceage.model_search import find_model
from faceage.photos.decode import decode
from faceage.photos.provenance import EDITED

SMALL_BATCHES = Path(__file__).with_name("small_batches.py")


@pytest.fixture(scope="module")
def portrait() -> Image.Image:
    return Image.fromarray(skimage.data.astronaut())


@pytest.fixture(scope="module")
def bad_run(tmp_path_factory, portrait):
    """One run over two good photos and every kind of bad one."""
    folder, out = tmp_path_factory.mktemp("bad") / "photos", tmp_path_factory.mktemp("run") / "out"
    folder.mkdir()
    portrait.save(folder / "good.jpg")
    (folder / "sub").mkdir()
    portrait.resize((300, 300)).save(folder / "sub" / "good.jpg")
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("not a photo at all\n" * 50)
    content = (folder / "good.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(content[: len(content) // 2])
    Image.new("RGB", (1, 1)).save(folder / "one.png")
    (folder / "zero.gif").write_bytes(b"GIF89a\0\0\0\0\0\0\0;")
    Image.new("1", (20_000, 20_000)).save(folder / "huge.png")
    Image.fromarray(skimage.data.coffee()).save(folder / "coffee.png")
    (folder / "missing.jpg").symlink_to(folder / "nowhere")
    (folder / "folder.jpg").mkdir()
    for name, side in (("near.jpg", 2400), ("far.jpg", 480)):
        large = Image.new("RGB", (3200, 2400), "grey")
        large.paste(portrait.resize((side, side)), (400, 0))
        large.save(folder / name, quality=95)
    return faceage("batch", folder, "--out", out, "--steps", 10), out


def test_some_failed_is_exit_1_and_the_rest_is_done(bad_run):
    result, out = bad_run
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    rows = rows_of(out)
    assert len(rows) == 12
    assert rows["photos/good.jpg"]["status"] == rows["photos/sub/good.jpg"]["status"] == "ok"
    assert (out / "grids" / "photos" / "good.jpg_0.png").exists()
    assert (out / "grids" / "photos" / "sub" / "good.jpg_0.png").exists()


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("empty.jpg", "unreadable", "empty"),
        ("text.jpg", "unreadable", "not an image"),
        ("truncated.jpg", "unreadable", "damaged"),
        ("one.png", "unreadable", "1×1"),
        ("zero.gif", "unreadable", ""),
        ("huge.png", "unreadable", "megapixels"),
        ("coffee.png", "no_face", "no face"),
        ("missing.jpg", "unreadable", "cannot be read"),
    ],
)
def test_a_bad_photo_is_one_row_with_a_reason(bad_run, name, status, reason):
    row = rows_of(bad_run[1])[f"photos/{name}"]
    assert row["status"] == status
    assert row["reason"]
    assert reason in row["reason"]
    assert row["faces"] == 0


def test_a_folder_with_a_photos_name_is_a_folder(bad_run):
    assert "photos/folder.jpg" not in rows_of(bad_run[1])


def test_outputs_are_as_documented(bad_run):
    out = bad_run[1]
    with h5py.File(out / "latents.h5") as file:
        assert file.attrs["format"] == "faceage-latents"
        assert file["source"].asstr()[:].tolist() == [
            "photos/far.jpg",
            "photos/good.jpg",
            "photos/near.jpg",
            "photos/sub/good.jpg",
        ]
        assert file["latent"].shape == (4, 100)
        before, after = file["identity_distance"][:].T
        assert (after < before).all()
        np.testing.assert_allclose(file["age"][:].sum(1), 1, atol=1e-4)
    grid = Image.open(out / "grids" / "photos" / "good.jpg_0.png")
    assert set(grid.info) == {"xmp", "XML:com.adobe.xmp"}
    assert grid.info["xmp"] == EDITED
    assert grid.width > 8 * 160
    assert {"decode", "detect", "align", "optimise", "draw", "write"} <= set(rows_of(out)["photos/good.jpg"]["seconds"])
    leftovers = [path.name for path in out.rglob("*") if path.name.startswith(".")]
    assert leftovers == [".lock"]


@pytest.mark.parametrize("name", ["near.jpg", "far.jpg"])
def test_an_aligned_face_is_as_sharp_as_the_photo_gives(bad_run, name):
    """Though a large photo is searched for faces at a part of its size."""
    result, out = bad_run
    with h5py.File(out / "latents.h5") as file:
        row = file["source"].asstr()[:].tolist().index(f"photos/{name}")
        transform, aligned = file["transform"][row], file["aligned"][row]
    expected = align(decode((Path(result.args[4]) / name).read_bytes()), transform)
    if name == "far.jpg":
        np.testing.assert_allclose(aligned, expected, atol=1)
    else:
        assert np.abs(aligned.astype(int) - expected).mean() < 2


def test_landmarks_are_those_of_the_photo_as_large_as_it_is_cut_from(bad_run):
    """A face of 80 pixels, of which the canvas showed 16."""
    result, out = bad_run
    with h5py.File(out / "latents.h5") as file:
        row = file["source"].asstr()[:].tolist().index("photos/far.jpg")
        landmarks, box = file["landmarks"][row], file["box"][row]
    photo = decode((Path(result.args[4]) / "far.jpg").read_bytes())
    elsewhere = Detection(box, landmarks + 3, 1.0)
    (refined,) = detector().refine(photo, [elsewhere])
    np.testing.assert_allclose(landmarks, refined.landmarks, atol=0.13)


def test_the_report_shows_what_the_batch_drew_and_draws_nobody_again(bad_run):
    _, out = bad_run
    strips = {path.relative_to(out / "report").as_posix(): path for path in out.glob("report/**/*.jpg")}
    grids = {path.relative_to(out / "grids").as_posix(): path for path in out.glob("grids/**/*.png")}
    assert {name.removesuffix(".jpg") for name in strips} == {name.removesuffix(".png") for name in grids}
    cells = np.asarray(Image.open(strips["photos/good.jpg_0.jpg"])).reshape(160, 8, 160, 3)
    grid = np.asarray(Image.open(grids["photos/good.jpg_0.png"]))[-162:-2]
    for column in range(8):
        left = 2 + 162 * column
        assert np.abs(cells[:, column].astype(int) - grid[:, left : left + 160]).mean() < 4, column
    before = {name: path.stat().st_mtime_ns for name, path in strips.items()}
    assert in_this_process("report", out, "-q") == (0, "", "")
    assert {name: path.stat().st_mtime_ns for name, path in strips.items()} == before


def test_it_ends_with_a_report(bad_run):
    result, out = bad_run
    assert f"report → {out / 'report.html'}" in result.stderr
    text = (out / "report.html").read_text()
    for said in (
        "photos/sub/good.jpg",
        "photos/coffee.png",
        "no face was found",
        "utkface-64",
        "data:image/jpeg;base64,",
    ):
        assert said in text
    assert str(out.parent) not in text


def test_the_same_command_again_does_only_what_is_left(bad_run, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(bad_run[1], out)
    source = Path(bad_run[0].args[4])
    before = (out / "grids" / "photos" / "good.jpg_0.png").stat().st_mtime_ns
    result = faceage("batch", source, "--out", out, "--steps", 10, "--json")
    assert result.returncode == 1
    summary = json.loads(result.stdout)
    # Of the others, all that can be read is still the same damaged or empty photo.
    assert summary["skipped"] == 10
    assert summary["faces"] == 4
    assert summary["detected"] == summary["optimised"] == 0
    assert (out / "grids" / "photos" / "good.jpg_0.png").stat().st_mtime_ns == before
    assert rows_of(out).keys() == rows_of(bad_run[1]).keys()
    with h5py.File(out / "latents.h5") as file:
        assert sorted(file["source"].asstr()[:]) == [
            "photos/far.jpg",
            "photos/good.jpg",
            "photos/near.jpg",
            "photos/sub/good.jpg",
        ]


def test_dry_run_lists_and_writes_nothing(tmp_path, portrait):
    portrait.save(tmp_path / "a.jpg")
    result = faceage("batch", tmp_path / "a.jpg", "--out", tmp_path / "out", "--dry-run")
    assert result.returncode == 0
    assert result.stdout == f"{tmp_path.name}/a.jpg\n"
    assert not (tmp_path / "out").exists()


def _truncated_weights(tmp_path: Path) -> list[object]:
    model = tmp_path / "model"
    shutil.copytree(find_model(), model)
    weights = model / "encoder.weights.h5"
    os.truncate(weights, weights.stat().st_size // 2)
    return ["--weights", model]


def _other_model(tmp_path: Path) -> list[object]:
    model = tmp_path / "model"
    shutil.copytree(find_model(), model)
    card = json.loads((model / "model.json").read_text())
    card["crop"]["size"] = 128
    (model / "model.json").write_text(json.dumps(card))
    return ["--weights", model]


def _swapped_networks(tmp_path: Path) -> list[object]:
    model = tmp_path / "model"
    shutil.copytree(find_model(), model)
    card = json.loads((model / "model.json").read_text())
    networks = card["networks"]
    networks["recognizer"] = {**networks["recognizer"], **{k: networks["encoder"][k] for k in ("sha256", "bytes")}}
    shutil.copy(model / "encoder.weights.h5", model / "recognizer.weights.h5")
    (model / "model.json").write_text(json.dumps(card))
    return ["--weights", model]


@pytest.mark.parametrize("make", [_truncated_weights, _other_model, _swapped_networks])
def test_weights_that_do_not_fit_are_exit_2(tmp_path, portrait, make):
    portrait.save(tmp_path / "a.jpg")
    result = faceage("batch", tmp_path / "a.jpg", "--out", tmp_path / "out", *make(tmp_path))
    assert result.returncode == 2
    assert str(tmp_path / "model") in result.stderr
    assert "Traceback" not in result.stderr
    assert not list((tmp_path / "out").rglob("*.png"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{photos}/nowhere", "--out", "{out}"], "no such file or folder"),
        (["{photos}", "--out", "{photos}/a.jpg"], "is a file"),
        (["{photos}", "--out", "{photos}/out"], "inside the input"),
        (["{photos}", "--out", "{photos}"], "inside the input"),
        (["{photos}/empty", "--out", "{out}"], "no photo in"),
        (["{photos}", "--out", "{out}", "--ages", "25,150"], "unknown age '150'"),
        (["{photos}", "--out", "{out}", "--ages", "old"], "unknown age 'old'"),
        (["{photos}", "--out", "{out}", "--age", "-1"], "unknown age '-1'"),
        (["{photos}", "--out", "{out}", "--weights", "{photos}"], "no model found"),
        (["{photos}", "--out", "{out}", "--weights", "{photos}/nowhere"], "does not exist"),
        (["{photos}", "--out", "/proc/faceage"], "cannot write"),
        (["--out", "{out}"], "no photos named"),
        (["{photos}", "--out", "{out}", "--workers", "2"], "add --engine ray"),
        (["{photos}", "--out", "{out}", "--files-from", "{photos}/nowhere"], "cannot be read"),
    ],
)
def test_wrong_usage_is_exit_2_before_any_work(tmp_path, portrait, arguments, said):
    photos, out = tmp_path / "photos", tmp_path / "out"
    (photos / "empty").mkdir(parents=True)
    portrait.save(photos / "a.jpg")
    result = faceage("batch", *(text.format(photos=photos, out=out) for text in arguments))
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert not out.exists()
    assert sorted(p.name for p in photos.iterdir()) == ["a.jpg", "empty"]


def test_a_disk_that_takes_nothing_is_exit_2_before_any_work(tmp_path, portrait):
    portrait.save(tmp_path / "a.jpg")
    result = faceage_alone(
        "batch",
        tmp_path / "a.jpg",
        "--out",
        tmp_path / "out",
        # What a full disk does to a write: it fails.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024)),
    )
    assert result.returncode == 2
    assert "cannot write" in result.stderr
    assert not list((tmp_path / "out").rglob("*.png"))


def test_files_from_stdin(tmp_path, portrait):
    portrait.save(tmp_path / "a b.jpg")
    portrait.save(tmp_path / "ü.jpg")
    names = f"{tmp_path / 'a b.jpg'}\n{tmp_path / 'ü.jpg'}\n"
    result = faceage_alone("batch", "--files-from", "-", "--out", tmp_path / "out", "--dry-run", input=names)
    assert result.returncode == 0
    assert result.stdout == f"{tmp_path.name}/a b.jpg\n{tmp_path.name}/ü.jpg\n"


@pytest.mark.parametrize("ending", [b"\n", b"\0", b"\r\n"])
@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_files_from_any_program(tmp_path, portrait, ending, locale):
    name = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    with open(name, "wb") as file:
        portrait.save(file, "JPEG")
    command = [sys.executable, "-m", "faceage", "batch", "--files-from", "-", "--out", tmp_path / "out", "--dry-run"]
    environment = {**os.environ, "LC_ALL": locale}
    result = subprocess.run(command, input=name + ending, capture_output=True, timeout=60, env=environment)
    assert result.returncode == 0, result.stderr
    assert b"caf\\xe9.jpg" in result.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["batch", "-h"], ["train", "gan", "--help"]])
def test_help_imports_neither_tensorflow_nor_mtcnn(arguments):
    code = (
        "import sys\n"
        "from faceage.cli.app import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as stop: status = stop.code\n"
        "loaded = {'tensorflow', 'keras', 'mtcnn', 'torch', 'h5py', 'scipy'} & set(sys.modules)\n"
        "sys.exit(f'loaded {loaded}' if loaded else status)"
    )
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert "faceage" in result.stdout


def test_it_works_without_a_home_or_a_terminal_as_in_cron(tmp_path, portrait):
    portrait.save(tmp_path / "a.jpg")
    arguments = ("batch", tmp_path / "a.jpg", "--out", tmp_path / "out", "--objective", "none", "--draw", "generator")
    result = faceage_alone(*arguments, env={"PATH": "/usr/bin:/bin"})
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    assert "\x1b" not in result.stderr


def test_quiet_says_nothing_and_json_one_thing(tmp_path, portrait):
    portrait.save(tmp_path / "a.jpg")
    arguments = ("batch", tmp_path / "a.jpg", "--out", tmp_path / "out", "--objective", "none")
    quiet = faceage(*arguments, "-q")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    page = (tmp_path / "out" / "report.html").stat().st_mtime_ns
    told = faceage(*arguments, "--json")
    assert (told.returncode, told.stderr) == (0, "")
    assert json.loads(told.stdout)["photos"] == {"ok": 1, "no_face": 0, "unreadable": 0, "failed": 0}
    # Nothing was left to do, so that the report stands.
    assert (tmp_path / "out" / "report.html").stat().st_mtime_ns == page


def test_a_report_of_what_was_before_does_not_stand(tmp_path, portrait):
    portrait.save(tmp_path / "a.jpg")
    arguments = ("batch", tmp_path / "a.jpg", "--out", tmp_path / "out", "--objective", "none", "--ages")
    assert faceage(*arguments, "60+").returncode == 0
    # As where a run ends before its report: the page shows pictures that are no more.
    assert faceage(*arguments, "25", "--no-report").returncode == 0
    assert not (tmp_path / "out" / "report.html").exists()
    assert faceage(*arguments, "25").returncode == 0
    assert "25" in (tmp_path / "out" / "report.html").read_text()


def test_a_report_that_is_written_during_the_run_does_not_stand(tmp_path, portrait, monkeypatch):
    from faceage.batch.age_photos import age_photos

    portrait.save(tmp_path / "a.jpg")
    page = tmp_path / "out" / "report.html"

    def with_report(*arguments, **options):
        summary = age_photos(*arguments, **options)
        page.write_text("half of it")
        return summary

    monkeypatch.setattr("faceage.batch.age_photos.age_photos", with_report)
    arguments = ("batch", tmp_path / "a.jpg", "--out", tmp_path / "out", "--objective", "none", "--ages", "60+")
    assert in_this_process(*arguments)[0] == 0
    assert "a.jpg" in page.read_text()
    # With nothing to do, the page stands.
    assert in_this_process(*arguments)[0] == 0
    assert page.read_text() == "half of it"


def test_photos_done_with_other_options_are_done_again_and_that_is_said(tmp_path, portrait):
    portrait.save(tmp_path / "a.jpg")
    arguments = ("batch", tmp_path / "a.jpg", "--out", tmp_path / "out")
    assert faceage(*arguments, "--objective", "none").returncode == 0
    (tmp_path / "out" / "report.html").unlink()
    result = faceage(*arguments, "--objective", "none", "--age", "30", "--no-report")
    assert not (tmp_path / "out" / "report.html").exists()
    assert "1 photo to do again, with --age 30 in place of no --age\n" in result.stderr
    with h5py.File(tmp_path / "out" / "latents.h5") as file:
        np.testing.assert_allclose(file["age"][0], Age(30).weights)


@pytest.fixture(scope="module")
def aged(tmp_path_factory, lfw10):
    """Nine photos, of three people, at two ages: (photos, out, summary)."""
    folder = tmp_path_factory.mktemp("nine") / "photos"
    for person in sorted(path for path in lfw10.iterdir() if path.is_dir())[:3]:
        (folder / person.name).mkdir(parents=True)
        for photo in sorted(person.iterdir())[:3]:
            shutil.copy(photo, folder / person.name)
    out = tmp_path_factory.mktemp("aged") / "out"
    return folder, out, again(folder, out, "--ages", "0-18,60+")


def again(photos: Path, out: Path, *more: object) -> dict:
    """The summary of a run whose latents are quickly found."""
    result = faceage("batch", photos, "--out", out, "--steps", 1, "--no-report", "--json", *more)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def files(out: Path, folder: str) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in (out / folder).rglob("*.*g")}


def kill(photos: Path, out: Path, folder: str, *more: object) -> None:
    """Begin a run, and kill it when it has written some pictures into a folder that was empty."""
    command = [sys.executable, SMALL_BATCHES, "batch", photos, "--out", out, "--steps", "1", "--no-report", *more]
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL)
    while process.poll() is None and len(list((out / folder).rglob("*.*g"))) < 5:
        time.sleep(0.02)
    process.kill()
    assert process.wait() != 0, "it was too fast"


def test_other_ages_and_pasting_detect_no_photo_and_optimise_no_face(aged, tmp_path):
    photos, first, summary = aged
    assert summary["detected"] == summary["photos"]["ok"] == 9
    assert summary["optimised"] == summary["faces"] >= 9
    out = tmp_path / "out"
    shutil.copytree(first, out)
    parts = files(out, "latents")
    for options, count in ((["--ages", "25,70"], 1), (["--ages", "25,70", "--paste"], 2)):
        told = again(photos, out, *options)
        assert (told["detected"], told["optimised"], told["faces"]) == (0, 0, summary["faces"])
        assert len(list((out / "grids").rglob("*.png"))) == summary["faces"]
        assert len(list((out / "pasted").rglob("*.jpg"))) == (count - 1) * 2 * 9
    assert files(out, "latents") == parts
    fresh = tmp_path / "fresh"
    again(photos, fresh, "--ages", "25,70", "--paste")
    for folder in ("grids", "pasted"):
        assert files(out, folder) == files(fresh, folder)


def test_killed_amid_drawing_again_it_finds_nobody_again(aged, tmp_path):
    photos, first, summary = aged
    out = tmp_path / "out"
    shutil.copytree(first, out)
    shutil.rmtree(out / "grids")
    kill(photos, out, "grids", "--ages", "25")
    told = again(photos, out, "--ages", "25")
    assert (told["detected"], told["optimised"], told["faces"]) == (0, 0, summary["faces"])
    kill(photos, out, "pasted", "--ages", "25", "--paste")
    told = again(photos, out, "--ages", "25", "--paste")
    assert (told["detected"], told["optimised"], told["faces"]) == (0, 0, summary["faces"])
    assert len(list((out / "pasted").rglob("*.jpg"))) == 9
    assert again(photos, out, "--ages", "25", "--paste")["skipped"] == 9


def test_the_pictures_of_other_ages_go(tmp_path, portrait):
    portrait.save(tmp_path / "a.jpg")
    arguments = (
        "batch",
        tmp_path / "a.jpg",
        "--out",
        tmp_path / "out",
        "--objective",
        "none",
        "--no-report",
        "--paste",
    )
    for ages in ("0-18,60+", "25"):
        result = faceage(*arguments, "--ages", ages)
        assert result.returncode == 0
    assert "with --ages 25 in place of --ages 0-18,60+: earlier pictures are removed" in result.stderr
    assert re.search(r"found by an earlier run +│ 1 ", result.stderr)
    assert [path.name for path in (tmp_path / "out" / "pasted").rglob("*.jpg")] == ["a.jpg_25.jpg"]


def test_a_replaced_photo_is_said(tmp_path, portrait):
    portrait.save(tmp_path / "a.jpg")
    arguments = ("batch", tmp_path / "a.jpg", "--out", tmp_path / "out", "--objective", "none", "--no-report")
    assert faceage(*arguments).returncode == 0
    Image.fromarray(skimage.data.coffee()).save(tmp_path / "a.jpg")
    result = faceage(*arguments)
    assert result.returncode == 1
    assert "1 photo changed: earlier people and pictures are removed" in result.stderr
    assert not list((tmp_path / "out" / "grids").rglob("*.png"))
    with h5py.File(tmp_path / "out" / "latents.h5") as file:
        assert len(file["source"]) == 0


def test_an_error_elsewhere_is_not_called_a_failure_to_write(tmp_path, portrait):
    from faceage.batch.age_photos import age_photos

    portrait.save(tmp_path / "a.jpg")

    def fails(*_):
        raise OSError(5, "the weights' disk is gone")

    with pytest.raises(OSError, match="weights' disk"):
        age_photos(tmp_path / "a.jpg", tmp_path / "out", engine=fails)


def test_a_reader_that_goes_away_ends_it_quietly(tmp_path, portrait):
    for i in range(5):
        portrait.save(tmp_path / f"{i}.jpg")
    command = f"{sys.executable} -m faceage batch {tmp_path} --out {tmp_path}/../out-{os.getpid()} --dry-run | true"
    result = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=100)
    assert "Traceback" not in result.stderr
    assert "BrokenPipe" not in result.stderr


def test_lists_limits_and_what_is_left_out(tmp_path, portrait):
    photos, out = tmp_path / "photos", tmp_path / "out"
    (photos / "@eaDir").mkdir(parents=True)
    for name in ("good.jpg", "draft 1.jpg", "@eaDir/good.jpg"):
        portrait.save(photos / name)
    portrait.resize((1200, 1200)).save(photos / "large.png")
    content = (photos / "good.jpg").read_bytes()
    (photos / "cut.jpg").write_bytes(content[: int(len(content) * 0.97)])
    (tmp_path / "list").write_text(f"{photos / 'gone.jpg'}\n{photos / 'good.jpg'}\n")
    arguments = ("batch", photos, "--files-from", tmp_path / "list", "--exclude", "draft*", "--out", out, "--no-report")
    limits = ("--max-pixels", 1_000_000, "--photo-seconds", 90, "--photo-memory", 4)
    result = faceage(*arguments, *limits, "--objective", "none", "--json")
    assert result.returncode == 1, result.stderr
    rows = {name.removeprefix("photos/"): row for name, row in rows_of(out).items()}
    assert {name: (row["status"], row["reason"]) for name, row in rows.items()} == {
        "good.jpg": ("ok", ""),
        "cut.jpg": ("ok", ""),
        "large.png": ("unreadable", "1200×1200 pixels: over the limit of 1 megapixels"),
        "gone.jpg": ("unreadable", "no such file"),
    }
    assert {name for name, row in rows.items() if row["warning"]} == {"cut.jpg"}
    assert "rows are missing" in rows["cut.jpg"]["warning"]
    summary = json.loads(result.stdout)
    assert (summary["warnings"], summary["skipped_folders"]) == (1, {"@eaDir": 1})
    assert "left out 1 folder of copies or results: @eaDir (1)" in result.stderr

    again = faceage(*arguments, "--objective", "none", "--retry-failed", "--dry-run")
    assert set(again.stdout.split()) == {"photos/large.png", "photos/gone.jpg"}
