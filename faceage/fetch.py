"""Models from a server into the user's cache: trusted for nothing but sending bytes.

model.json has to be the one of a SHA-256 that the user knows, and each network the file that model.json describes. What
came stays when a transfer breaks off or is killed, and the next one goes on there; a model's folder appears when all of
it is there and right.
"""

import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from faceage.errors import FaceageError, UsageError, WeightsError
from faceage.files import only_one
from faceage.model import CARD, KNOWN_NETWORKS, NETWORKS, check_entry, check_files, parse_card, read_card
from faceage.store.weights import sha256

if TYPE_CHECKING:
    import requests

TIMEOUT = 30.0
"""Seconds without a byte, or with hardly any, after which a connection is given up."""

MAX_CARD_BYTES = 1_000_000
MAX_NETWORK_BYTES = 2_000_000_000
"""A model.json that names more is not believed: the largest network there is has 110 MB."""

_TRIES = 5
"""Connections in a row, each without `_PROGRESS` bytes, after which a server is given up."""
_PROGRESS = 1_000_000
_PAUSE = 0.5
"""Seconds before the second try; they double with each."""
_SLOWEST = 1000
"""Bytes a second. What drips more slowly would take days."""
_MAX_REDIRECTS = 5
_CHUNK = 1 << 16
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Source:
    """A model on a server: the `url` of its folder or its model.json, and the SHA-256 of the latter.

    In the cache it is called as the folder there. Raises UsageError for an impossible URL, name or hash.
    """

    url: str
    sha256: str

    def __post_init__(self) -> None:
        parts = _split(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"{self.url!r} is no address", "an address is https://HOST/FOLDER, or http://…")
        if not _NAME.fullmatch(self.name):
            raise UsageError(
                f"{self.name!r} is no name for a model", "the folder's name has letters, digits, dots and dashes"
            )
        if not _SHA256.fullmatch(self.sha256):
            raise UsageError(f"{self.sha256!r} is no SHA-256", "it is 64 hexadecimal digits: sha256sum model.json")

    @property
    def name(self) -> str:
        return self._folder.rpartition("/")[2]

    @property
    def _folder(self) -> str:
        return _split(self.url).path.removesuffix(CARD).rstrip("/")

    def file(self, name: str) -> str:
        """The address of a file of the model."""
        return _split(self.url)._replace(path=f"{self._folder}/{name}", fragment="").geturl()


def pull(
    source: Source,
    cache: Path,
    progress: Callable[[str, int, int], Any] = lambda what, done, total: None,
    timeout: float = TIMEOUT,
) -> Path:
    """Fetch a model into the folder `cache`; the model's folder in it.

    `progress(file, done, total)` is told how many bytes of a file are there. `timeout` seconds without a byte are one
    try that failed; after some in a row it is given up, and the same call goes on later. A model that is there already
    is not fetched again, and of one that is damaged only what is. Raises WeightsError where the server does not send
    the model, and UsageError where the cache cannot hold it or holds another one by that name.
    """
    import requests

    target, partial = cache / source.name, cache / f".{source.name}.partial"
    try:
        with only_one(cache, "fetching a model"), requests.Session() as session:
            session.max_redirects = _MAX_REDIRECTS
            if target.exists() and not _is_file(target / CARD, source.sha256):
                raise UsageError(f"{target} is another model", "remove or rename that folder")
            if target.exists():
                if _is_whole(target):
                    return target
                # What is right of a damaged copy is not fetched again.
                shutil.rmtree(partial, ignore_errors=True)
                os.rename(target, partial)
            partial.mkdir(exist_ok=True)
            transfer = _Transfer(session, timeout, progress)
            transfer(source.file(CARD), partial / CARD, source.sha256, None)
            card = parse_card((partial / CARD).read_bytes(), _shown(source.file(CARD)))
            entries = _entries(card, source)
            _check_space(partial, entries)
            for name, (digest, size) in entries.items():
                transfer(source.file(name), partial / name, digest, size)
            for path in partial.iterdir():
                if path.name not in (CARD, *entries):
                    path.unlink()
            check_files(partial, card, card["networks"])
            os.rename(partial, target)
            return target
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"cannot write to {cache}: {reason}", "mend that, and the same command goes on") from error


def _is_file(path: Path, digest: str) -> bool:
    return path.is_file() and sha256(path) == digest


def _is_whole(folder: Path) -> bool:
    try:
        card = read_card(folder)
        check_files(folder, card, card["networks"])
    except FaceageError:
        return False
    return True


def _entries(card: dict[str, Any], source: Source) -> dict[str, tuple[str, int]]:
    """(SHA-256, bytes) of each file of the model, by names that are not the server's."""
    place = _shown(source.file(""))
    if unknown := card["networks"].keys() - KNOWN_NETWORKS:
        raise WeightsError(f"the model in {place} has unknown networks: {', '.join(map(repr, sorted(unknown)))}")
    entries = {}
    for name in dict.fromkeys([*NETWORKS, *card["networks"]]):
        entry = check_entry(card, name, place)
        digest, size = entry["sha256"], entry["bytes"]
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise WeightsError(f"the model in {place} has no SHA-256 for its {name}")
        if type(size) is not int or not 0 < size <= MAX_NETWORK_BYTES:
            raise WeightsError(
                f"the {name} of the model in {place} is said to have {size!r} bytes; "
                f"networks have up to {MAX_NETWORK_BYTES / 1e9:.0f} GB"
            )
        entries[f"{name}.weights.h5"] = digest, size
    return entries


def _check_space(folder: Path, entries: dict[str, tuple[str, int]]) -> None:
    there = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    needed = sum(size for _, size in entries.values()) - there
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UsageError(
            f"the model needs {needed / 1e6:.0f} MB more in {folder.parent}, where {free / 1e6:.0f} MB are free",
            "free some space, or set XDG_CACHE_HOME to a folder with more",
        )


class _BrokenOffError(Exception):
    """A connection that may go better the next time."""


class _Transfer:
    """Fetches files one by one, each under another name until its hash is right."""

    def __init__(self, session: "requests.Session", timeout: float, progress: Callable[[str, int, int], Any]) -> None:
        self._session = session
        self._timeout = timeout
        self._progress = progress

    def __call__(self, url: str, path: Path, digest: str, size: int | None) -> None:
        """Fetch `url` of so many bytes, or of few ones where that is not known, unless `path` is that already."""
        part = path.with_name(f"{path.name}.part")
        if size is None:
            # It cannot be told how much of it this is.
            part.unlink(missing_ok=True)
        while not _is_file(path, digest):
            went_on = part.exists()
            self._download(url, part, path.name, size)
            if _is_file(part, digest):
                os.replace(part, path)
                return
            part.unlink()
            # The part may have been of another file.
            if not went_on:
                raise WeightsError(
                    f"{_shown(url)} is not the file that was asked for (its SHA-256 differs)", _ASK_AGAIN
                )

    def _download(self, url: str, part: Path, name: str, size: int | None) -> None:
        failed, pause = 0, _PAUSE
        while True:
            before = _size_of(part)
            try:
                self._go_on(url, part, name, size)
                return
            except _BrokenOffError as error:
                came = _size_of(part) - before >= _PROGRESS
                failed, pause = (0, _PAUSE) if came else (failed + 1, pause * 2)
                if failed == _TRIES:
                    hint = "the same command goes on where this one stopped"
                    raise WeightsError(f"{_shown(url)} cannot be fetched: {error}", hint) from error
                time.sleep(pause)

    def _go_on(self, url: str, part: Path, name: str, size: int | None) -> None:
        """One connection: fetch what is missing. Raises _BrokenOffError where another try may help."""
        import requests
        import urllib3

        if size is not None and _size_of(part) > size:
            part.unlink()
        if (held := _size_of(part)) == size:
            return
        # As it lies there: the hash is that of the file, not of what was packed for the way.
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={held}-"} if held else {})}
        try:
            with self._session.get(url, headers=headers, stream=True, timeout=self._timeout) as response:
                held = _start(response, url, part, held)
                self._receive(response, url, part, name, held, size)
        except (requests.exceptions.SSLError, requests.TooManyRedirects) as error:
            raise WeightsError(f"{_shown(url)} cannot be fetched: {_reason(error)}", _ASK_AGAIN) from error
        except urllib3.exceptions.ProtocolError as error:
            raise _BrokenOffError(f"it broke off after {_size_of(part)} bytes") from error
        except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
            raise _BrokenOffError(_reason(error)) from error
        except requests.RequestException as error:
            raise WeightsError(f"{_shown(url)} cannot be fetched: {_reason(error)}", _ASK_AGAIN) from error

    def _receive(
        self, response: "requests.Response", url: str, part: Path, name: str, held: int, size: int | None
    ) -> None:
        text = response.headers.get("Content-Length", "")
        said = held + int(text) if text.isdecimal() else None
        if size is not None and said is not None and said != size:
            raise WeightsError(f"{_shown(url)} has {said} bytes instead of {size}", _ASK_AGAIN)
        most = MAX_CARD_BYTES if size is None else size
        since, came = time.monotonic(), 0
        with open(part, "ab" if held else "wb") as file:
            self._progress(name, held, size or 0)
            while chunk := response.raw.read1(_CHUNK):
                held, came = held + len(chunk), came + len(chunk)
                if held > most:
                    raise WeightsError(f"{_shown(url)} has more than {most} bytes", _ASK_AGAIN)
                file.write(chunk)
                self._progress(name, held, size or 0)
                if (seconds := time.monotonic() - since) > self._timeout:
                    if came < _SLOWEST * seconds:
                        raise _BrokenOffError(f"only {came} bytes in {seconds:.0f} seconds")
                    since, came = time.monotonic(), 0
        wanted = said if size is None else size
        if wanted is not None and held < wanted:
            raise _BrokenOffError(f"it broke off after {held} bytes")


_ASK_AGAIN = "ask whoever gave you the address, or try another"


def _start(response: "requests.Response", url: str, part: Path, held: int) -> int:
    """After how many bytes of a file the answer begins."""
    status = response.status_code
    if status in (408, 425, 429) or status >= 500:
        raise _BrokenOffError(f"the server answers {status} {response.reason}")
    if status == 200:
        return 0
    if status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {held}-"):
        return held
    if status in (206, 416):
        # It has another file now, or counts otherwise.
        part.unlink()
        raise _BrokenOffError("the server does not go on where it broke off")
    raise WeightsError(f"{_shown(url)} cannot be fetched: the server answers {status} {response.reason}", _ASK_AGAIN)


def _size_of(part: Path) -> int:
    with suppress(FileNotFoundError):
        return part.stat().st_size
    return 0


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise UsageError(f"{url!r} is no address", "an address is https://HOST/FOLDER") from error


def _shown(url: str) -> str:
    """An address without what may be secret in it."""
    parts = _split(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _reason(error: Exception) -> str:
    """The innermost cause: what lies around it repeats the address and the retries."""
    while isinstance(inner := getattr(error, "reason", None) or next(iter(error.args), None), Exception):
        error = inner
    return re.sub(r"^\w+\(host=.*?\): ", "", str(error)) or type(error).__name__
