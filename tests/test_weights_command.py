"""`faceage weights`: models listed, verified, and fetched from a server that breaks off, lies and is slow."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from commands import in_this_process
from conftest import REPOSITORY
from served import Served, endless, flipped, page, redirect, send, serving

from faceage import download, model_search
from faceage.errors import DownloadError, UsageError, WeightsError
from faceage.model import NETWORKS, check_files, read_card, update_card
from faceage.model_search import CARD, find_model
from faceage.pull import Source, pull

SIZE = 300_000
"""Bytes of each network here: what is in them is not looked at before they are loaded."""


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model folder whose files are noise, as its card says."""
    folder = tmp_path_factory.mktemp("served") / "noise-64"
    random = np.random.default_rng(0)

    def enter(card: dict) -> None:
        for name in (*NETWORKS, "discriminator"):
            content = random.bytes(SIZE)
            (folder / f"{name}.weights.h5").write_bytes(content)
            card["networks"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": SIZE}
        card["licence"] = "for tests [bold]only[/bold]"

    update_card(folder, enter)
    return folder


def source_of(served: Served) -> Source:
    return Source(served.url, sha256_of(served.folder))


def sha256_of(folder: Path) -> str:
    return hashlib.sha256((folder / CARD).read_bytes()).hexdigest()


@pytest.fixture
def served(model, monkeypatch):
    monkeypatch.setattr(download, "_PAUSE", 0.01)
    with serving(model) as server:
        yield server


def assert_whole(folder: Path, model: Path) -> None:
    """The model is there, byte for byte, and nothing else is."""
    assert {path.name for path in folder.iterdir()} == {path.name for path in model.iterdir()}
    for path in model.iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes()


def left_in(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir()} - {".lock"}


def test_a_model_comes_whole_and_once(served, model, tmp_path):
    told = []
    folder = pull(source_of(served), tmp_path, lambda *progress: told.append(progress))
    assert folder == tmp_path / "noise-64"
    assert_whole(folder, model)
    assert left_in(tmp_path) == {"noise-64"}
    assert set(served.asked) == {(f"/models/noise-64/{path.name}", "") for path in model.iterdir()}
    assert ("generator.weights.h5", SIZE, SIZE) in told
    served.asked.clear()
    assert pull(source_of(served), tmp_path) == folder
    assert served.asked == []


def test_the_address_may_be_that_of_the_card_and_carry_a_query(served, model, tmp_path):
    source = Source(f"{served.url}/model.json?download=1", sha256_of(model))
    assert_whole(pull(source, tmp_path), model)
    assert {path.partition("?")[2] for path, _ in served.asked} == {"download=1"}


def test_what_breaks_off_goes_on_where_it_was(served, model, tmp_path):
    def break_off(handler, name, content):
        if name != "encoder.weights.h5" or len(served.ranges(name)) > 2:
            return False
        send(handler, content, only=100_000)
        return True

    served.answer = break_off
    assert_whole(pull(source_of(served), tmp_path), model)
    assert served.ranges("encoder.weights.h5") == ["", "bytes=100000-", "bytes=200000-"]
    assert served.ranges("generator.weights.h5") == [""]


def test_a_server_that_always_breaks_off_is_given_up_and_gone_on_with_later(served, model, tmp_path):
    served.answer = lambda handler, name, content: (
        name.startswith("encoder") and send(handler, content, only=10) is None
    )
    with pytest.raises(DownloadError, match=r"encoder\.weights\.h5 cannot be fetched: it broke off after 50 bytes"):
        pull(source_of(served), tmp_path)
    assert left_in(tmp_path) == {".noise-64.partial"}
    served.answer = None
    served.asked.clear()
    assert_whole(pull(source_of(served), tmp_path), model)
    assert served.ranges("encoder.weights.h5") == ["bytes=50-"]
    # What had come is not asked for again.
    assert served.ranges("generator.weights.h5") == []


def test_a_server_without_ranges_begins_again(served, model, tmp_path):
    def forgetful(handler, name, content):
        if name != "encoder.weights.h5":
            return False
        del handler.headers["Range"]
        send(handler, content, only=1000 if len(served.ranges(name)) == 1 else None)
        return True

    served.answer = forgetful
    assert_whole(pull(source_of(served), tmp_path), model)
    assert served.ranges("encoder.weights.h5") == ["", "bytes=1000-"]


def test_a_part_of_another_file_is_found_out_and_fetched_anew(served, model, tmp_path):
    (tmp_path / ".noise-64.partial").mkdir()
    (tmp_path / ".noise-64.partial" / "encoder.weights.h5.part").write_bytes(b"x" * 1000)
    (tmp_path / ".noise-64.partial" / "generator.weights.h5.part").write_bytes(b"x" * (SIZE + 1))
    assert_whole(pull(source_of(served), tmp_path), model)
    assert served.ranges("encoder.weights.h5") == ["bytes=1000-", ""]
    assert served.ranges("generator.weights.h5") == [""]


LIES = {
    "wrong bytes": (
        lambda h, name, content: send(h, flipped(content)) is None,
        r"not the file .* \(its SHA-256 differs\)",
    ),
    "shorter": (lambda h, name, content: send(h, content[:-1]) is None, "has 299999 bytes instead of 300000"),
    "longer": (lambda h, name, content: send(h, content + b"x") is None, "has 300001 bytes instead of 300000"),
    "endless": (lambda h, name, content: endless(h), "has more than 300000 bytes"),
    "a page": (lambda h, name, content: page(h, 200), "has 17 bytes instead of 300000"),
    "not found": (lambda h, name, content: page(h, 404), "answers 404 Not Found"),
    "forbidden": (lambda h, name, content: page(h, 403), "answers 403 Forbidden"),
    "busy": (lambda h, name, content: page(h, 503), "answers 503 Service Unavailable"),
    "in circles": (lambda h, name, content: redirect(h, h.path), "cannot be fetched: Exceeded 5 redirects"),
    "to a file": (lambda h, name, content: redirect(h, "file:///etc/hostname"), "cannot be fetched: "),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_server_that_lies_is_found_out(served, tmp_path, lie):
    answer, said = LIES[lie]
    served.answer = lambda handler, name, content: name.startswith("encoder") and answer(handler, name, content)
    with pytest.raises(DownloadError, match=said) as error:
        pull(source_of(served), tmp_path)
    assert "encoder.weights.h5" in str(error.value)
    assert "\n" not in str(error.value)
    assert left_in(tmp_path) == {".noise-64.partial"}
    assert not (tmp_path / ".noise-64.partial" / "encoder.weights.h5").exists()
    tried = len(served.ranges("encoder.weights.h5"))
    # Only what may pass is tried again.
    assert tried == {"busy": 5, "in circles": 6}.get(lie, 1)


def test_another_card_than_the_one_asked_for_is_refused(served, tmp_path):
    with pytest.raises(DownloadError, match=r"model\.json is not the file that was asked for"):
        pull(Source(served.url, "0" * 64), tmp_path)
    assert [path for path, _ in served.asked] == ["/models/noise-64/model.json"]


CARDS = {
    "no JSON": (lambda card: "<html>", r"model\.json is damaged"),
    "deep": (lambda card: "[" * 100_000, r"model\.json is damaged"),
    "huge": (lambda card: json.dumps({**card, "x": "x" * 2_000_000}), "more than 1000000 bytes"),
    "another version": (lambda card: json.dumps({**card, "version": 2}), "another version"),
    "a network is missing": (lambda card: changed(card, "encoder", None), "has no encoder"),
    "a foreign name": (lambda card: changed(card, "../../evil", {"sha256": "0" * 64, "bytes": 1}), "unknown networks"),
    "no hash": (lambda card: changed(card, "encoder", {"sha256": "0", "bytes": 1}), "no SHA-256"),
    "negative": (lambda card: changed(card, "encoder", {"sha256": "0" * 64, "bytes": -1}), "-1 bytes"),
    "too large": (lambda card: changed(card, "encoder", {"sha256": "0" * 64, "bytes": 10**10}), "10000000000 bytes"),
    "no number": (lambda card: changed(card, "encoder", {"sha256": "0" * 64, "bytes": "9"}), "'9' bytes"),
}


def changed(card: dict, name: str, entry: dict | None) -> str:
    networks = {**card["networks"], name: entry}
    return json.dumps({**card, "networks": {key: value for key, value in networks.items() if value}})


@pytest.mark.parametrize("what", CARDS)
def test_a_card_is_checked_before_anything_else_is_fetched(served, model, tmp_path, what):
    change, said = CARDS[what]
    content = change(json.loads((model / CARD).read_text())).encode()
    served.answer = lambda handler, name, _: name == CARD and send(handler, content) is None
    with pytest.raises((DownloadError, WeightsError), match=said):
        pull(Source(served.url, hashlib.sha256(content).hexdigest()), tmp_path)
    assert {path for path, _ in served.asked} == {"/models/noise-64/model.json"}
    assert left_in(tmp_path) == {".noise-64.partial"}


def test_a_slow_server_is_waited_for_and_a_silent_one_is_not(served, model, tmp_path):
    until = threading.Event()

    def stall(handler, name, content):
        if name != "encoder.weights.h5" or len(served.ranges(name)) > 1:
            return False
        send(handler, content, only=1000)
        until.wait(20)
        return True

    served.answer = stall
    assert_whole(pull(source_of(served), tmp_path, timeout=0.3), model)
    until.set()
    assert served.ranges("encoder.weights.h5") == ["", "bytes=1000-"]


def test_a_silent_server_is_given_up(served, tmp_path):
    until = threading.Event()
    served.answer = lambda handler, name, content: until.wait(20)
    with pytest.raises(DownloadError, match="timed out"):
        pull(source_of(served), tmp_path, timeout=0.2)
    until.set()
    assert len(served.asked) == 5


def test_a_server_that_drips_is_given_up(served, tmp_path):
    served.answer = lambda handler, name, content: name != CARD and send(handler, content, drip=0.02) is None
    with pytest.raises(DownloadError, match=r"only \d+ bytes in \d+ seconds"):
        pull(source_of(served), tmp_path, timeout=0.3)


def test_no_server_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_PAUSE", 0.01)
    with serving(tmp_path) as gone:
        url = gone.url
    with pytest.raises(DownloadError, match=r"cannot be fetched: .*refused$"):
        pull(Source(url, "0" * 64), tmp_path / "cache")


def test_secrets_in_an_address_are_not_shown(served, tmp_path):
    served.answer = lambda handler, name, content: page(handler, 404)
    url = served.url.replace("://", "://me:secret@") + "?token=secret"
    with pytest.raises(DownloadError, match="404") as error:
        pull(Source(url, "0" * 64), tmp_path)
    assert "secret" not in f"{error.value}{error.value.hint}"


def test_of_a_damaged_model_only_what_is_damaged_is_fetched(served, model, tmp_path):
    folder = pull(source_of(served), tmp_path)
    (folder / "encoder.weights.h5").write_bytes(b"x")
    (folder / "recognizer.weights.h5").unlink()
    served.asked.clear()
    assert_whole(pull(source_of(served), tmp_path), model)
    assert sorted({path.rpartition("/")[2] for path, _ in served.asked}) == [
        "encoder.weights.h5",
        "recognizer.weights.h5",
    ]


def test_another_model_of_that_name_stays(served, model, tmp_path):
    (tmp_path / "noise-64").mkdir()
    (tmp_path / "noise-64" / CARD).write_text("another")
    with pytest.raises(UsageError, match="is another model"):
        pull(source_of(served), tmp_path)
    assert (tmp_path / "noise-64" / CARD).read_text() == "another"


def test_a_full_disk_is_told_before_and_while_it_fills(served, model, tmp_path, monkeypatch):
    free = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free._replace(free=SIZE))
    with pytest.raises(UsageError, match=r"needs 1 MB more .* where 0 MB are free"):
        pull(source_of(served), tmp_path)
    assert {path for path, _ in served.asked} == {"/models/noise-64/model.json"}
    monkeypatch.undo()
    # The system's own limit, in a process that it ends with.
    code = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({SIZE // 2}, {SIZE // 2}))
from faceage.cli.app import main
main(["weights", "pull", {served.url!r}, "--sha256", {sha256_of(model)!r}])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=cached_in(tmp_path))
    assert done.returncode == 2
    assert re.search(r"cannot write to \S+: File too large", done.stderr)
    assert "Traceback" not in done.stderr


def cached_in(folder: Path) -> dict[str, str]:
    """An environment whose user's cache lies in `folder`."""
    return {**os.environ, "XDG_CACHE_HOME": str(folder), "PYTHONPATH": str(REPOSITORY)}


def test_killed_in_the_middle_it_goes_on(served, model, tmp_path):
    arrived, until = threading.Event(), threading.Event()

    def stall(handler, name, content):
        if name != "encoder.weights.h5" or len(served.ranges(name)) > 1:
            return False
        send(handler, content, only=200_000)
        arrived.set()
        until.wait(60)
        return True

    served.answer = stall
    command = [sys.executable, "-m", "faceage", "weights", "pull", served.url, "--sha256", sha256_of(model)]
    cache = tmp_path / "faceage" / "weights"
    part = cache / ".noise-64.partial" / "encoder.weights.h5.part"
    process = subprocess.Popen(command, env=cached_in(tmp_path), stderr=subprocess.PIPE)
    assert arrived.wait(60)
    for _ in range(500):
        # Written, not only sent: buffers are a process's own.
        if part.exists() and part.stat().st_size > 100_000:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    until.set()
    held = part.stat().st_size
    assert 100_000 < held <= 200_000
    assert not (cache / "noise-64").exists()
    done = subprocess.run(command, env=cached_in(tmp_path), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{cache / 'noise-64'}\n"
    assert "for tests [bold]only[/bold]" in done.stderr
    assert served.ranges("encoder.weights.h5") == ["", f"bytes={held}-"]
    assert served.ranges("generator.weights.h5") == [""]
    assert_whole(cache / "noise-64", model)
    assert left_in(cache) == {"noise-64"}


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """The user's cache, empty, for this process."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("FACEAGE_WEIGHTS", raising=False)
    return model_search.cache_folder()


HASH = "0" * 64


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["https://host.invalid/noise-64"], "--sha256"),
        (["https://host.invalid/noise-64", "--sha256", "abc"], "64 hexadecimal digits"),
        (["noise-64", "--sha256", HASH], "no address"),
        (["ftp://host.invalid/noise-64", "--sha256", HASH], "no address"),
        (["file:///etc/noise-64", "--sha256", HASH], "no address"),
        (["https:///noise-64", "--sha256", HASH], "no address"),
        (["https://[/noise-64", "--sha256", HASH], "no address"),
        (["https://host.invalid/", "--sha256", HASH], "no name for a model"),
        (["https://host.invalid/..", "--sha256", HASH], "no name for a model"),
    ],
)
def test_wrong_usage_is_exit_2_before_anything_is_fetched(cache, arguments, said):
    status, _, told = in_this_process("weights", "pull", *arguments)
    assert status == 2
    assert said in told
    assert not cache.exists()


def test_a_pulled_model_is_found_by_name_and_by_default_after_the_repository(model, tmp_path, cache, monkeypatch):
    pulled = cache / "noise-64"
    shutil.copytree(model, pulled)
    # Half of one that is being fetched.
    shutil.copytree(model, cache / ".other.partial")
    assert find_model(Path("noise-64")) == pulled
    monkeypatch.setenv("FACEAGE_WEIGHTS", "noise-64")
    assert find_model() == pulled
    monkeypatch.delenv("FACEAGE_WEIGHTS")
    assert find_model() == REPOSITORY / "weights" / "utkface-64"
    monkeypatch.setattr(model_search, "_SHIPPED", tmp_path / "nothing")
    assert find_model() == pulled
    shutil.copytree(model, cache / "second")
    with pytest.raises(WeightsError, match=r"\(the user's cache\) holds several models: noise-64, second"):
        find_model()
    with pytest.raises(WeightsError, match=r"no model found: third \(--weights\) does not exist"):
        find_model(Path("third"))
    # A folder goes before a name.
    monkeypatch.chdir(tmp_path)
    shutil.copytree(model, tmp_path / "noise-64")
    assert find_model(Path("noise-64")) == Path("noise-64")
    monkeypatch.chdir(tmp_path / "noise-64")
    assert find_model(Path(".")) == Path(".")


def test_the_cache_is_the_users_without_a_home(monkeypatch):
    for variable in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    assert model_search.cache_folder().is_absolute()


def test_list_says_what_the_cards_say(model, cache):
    shutil.copytree(model, cache / "noise-64")
    (cache / "spoilt").mkdir()
    (cache / "spoilt" / CARD).write_text("{}")
    status, out, _ = in_this_process("weights", "list", "--json")
    assert status == 0
    shipped, noise, spoilt = json.loads(out)
    assert shipped["name"] == "utkface-64"
    assert shipped["bytes"] == sum(path.stat().st_size for path in Path(shipped["folder"]).glob("*.h5"))
    assert "non-commercial" in shipped["licence"]
    assert len(shipped["fingerprint"]) == 64
    assert noise["fingerprint"] not in ("", shipped["fingerprint"])
    assert shipped["scores"]["taken for the person, rebuilt"] >= 0.92
    assert set(shipped["trained"]) == {"recognizer", "age", "identity", "photo"}
    assert (noise["from"], noise["bytes"], noise["scores"]) == ("the user's cache", 5 * SIZE, {})
    assert "no faceage model" in spoilt["problem"]
    status, out, _ = in_this_process("weights", "list")
    assert status == 0
    assert f"{shipped['scores']['taken for the person, rebuilt']:.1%}" in out
    assert "[bold]only[/bold]" in out


def test_the_version_names_the_weights(model, cache, monkeypatch):
    fingerprint = json.loads(in_this_process("weights", "list", "--json")[1])[0]["fingerprint"]
    shown = f"faceage {version('faceage')} (weights utkface-64, {fingerprint[:8]})\n"
    assert in_this_process("--version") == (0, shown, "")
    shutil.copytree(model, cache / "noise-64")
    update_card(cache / "noise-64", lambda card: card["networks"].pop("encoder"))
    monkeypatch.setenv("FACEAGE_WEIGHTS", "noise-64")
    assert "(weights noise-64, incomplete)" in in_this_process("--version")[1]
    monkeypatch.setenv("FACEAGE_WEIGHTS", "nowhere")
    status, out, _ = in_this_process("--version")
    assert (status, "(no weights: no model found: nowhere" in out) == (0, True)


def test_list_of_nothing_is_exit_2(cache, tmp_path):
    status, _, told = in_this_process("weights", "list", "--weights", tmp_path / "nowhere")
    assert (status, "no model found" in told) == (2, True)


def test_verify_names_what_is_damaged(model, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    status, out, err = in_this_process("weights", "verify", "--weights", folder)
    assert status == 0
    assert "is whole" in err
    assert sha256_of(model) in out
    path = folder / "discriminator.weights.h5"
    path.write_bytes(flipped(path.read_bytes()))
    (folder / "encoder.weights.h5").unlink()
    status, out, err = in_this_process("weights", "verify", "--weights", folder)
    assert status == 2
    assert "is damaged: encoder, discriminator" in err
    assert "generator: whole" in out
    assert "its SHA-256 differs" in out
    status, out, _ = in_this_process("weights", "verify", "--weights", folder, "--json")
    assert status == 2
    said = json.loads(out)
    assert not said["whole"]
    assert [name for name, problem in said["problems"].items() if problem] == ["encoder", "discriminator"]


def test_the_shipped_model_can_be_published_as_it_lies(tmp_path):
    """Its card, its files and what is fetched fit together."""
    folder = find_model()
    with serving(folder) as server:
        pulled = pull(Source(server.url, sha256_of(folder)), tmp_path)
    check_files(pulled, read_card(pulled))
    assert (pulled / CARD).read_bytes() == (folder / CARD).read_bytes()
