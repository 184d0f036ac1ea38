"""One file from a server that is trusted for nothing but sending bytes.

What came stays when a transfer breaks off or is killed, and the next one goes on there. The file has its name once its
hash is right.
"""

import hashlib
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import SplitResult, urlsplit

from faceage.errors import DownloadError, UsageError

if TYPE_CHECKING:
    import requests

TIMEOUT = 30.0
"""Seconds without a byte, or with hardly any, after which a connection is given up."""

_TRIES = 5
"""Connections in a row, each without `_PROGRESS` bytes, after which a server is given up."""
_PROGRESS = 1_000_000
_PAUSE = 0.5
"""Seconds before the second try; they double with each."""
_SLOWEST = 1000
"""Bytes a second. What drips more slowly would take days."""
_MAX_REDIRECTS = 5
_CHUNK = 1 << 16


@dataclass(frozen=True)
class RemoteFile:
    """A file on a server by its hash, and how long it is: `size` bytes if `exact`, else at most that."""

    url: str
    algorithm: str
    digest: str
    size: int
    exact: bool = False


class _BrokenOffError(Exception):
    """A connection that may go better the next time."""


class Downloader:
    """Fetches files one by one over one session; a `with` block ends it.

    `progress(name, done, total)` is told how many bytes of a file are there, of 0 where their number is unknown. `hint`
    says what to try where a server does not send what it should.
    """

    def __init__(
        self,
        hint: str,
        progress: Callable[[str, int, int], Any] = lambda name, done, total: None,
        timeout: float = TIMEOUT,
    ) -> None:
        import requests

        self._hint = hint
        self._progress = progress
        self._timeout = timeout
        self._session = requests.Session()
        self._session.max_redirects = _MAX_REDIRECTS

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def __call__(self, file: RemoteFile, path: Path) -> None:
        """Fetch `file` to `path`, unless it is there already. Raises DownloadError, and OSError of the disk."""
        part = path.with_name(f"{path.name}.part")
        while not has_digest(path, file.algorithm, file.digest):
            went_on = part.exists()
            self._download(file, part, path.name)
            if has_digest(part, file.algorithm, file.digest):
                os.replace(part, path)
                return
            part.unlink()
            # The part may have been of another file.
            if not went_on:
                name = file.algorithm.upper().replace("SHA", "SHA-")
                raise self._refused(file, f"is not the file that was asked for (its {name} differs)")

    def _refused(self, file: RemoteFile, why: str) -> DownloadError:
        return DownloadError(f"{shown_address(file.url)} {why}", self._hint)

    def _download(self, file: RemoteFile, part: Path, name: str) -> None:
        failed, pause = 0, _PAUSE
        while True:
            before = _size_of(part)
            try:
                self._go_on(file, part, name)
                return
            except _BrokenOffError as error:
                came = _size_of(part) - before >= _PROGRESS
                failed, pause = (0, _PAUSE) if came else (failed + 1, pause * 2)
                if failed == _TRIES:
                    hint = "the same command goes on where this one stopped"
                    raise DownloadError(f"{shown_address(file.url)} cannot be fetched: {error}", hint) from error
                time.sleep(pause)

    def _go_on(self, file: RemoteFile, part: Path, name: str) -> None:
        """One connection: fetch what is missing. Raises _BrokenOffError where another try may help."""
        import requests
        import urllib3

        if _size_of(part) > file.size:
            part.unlink()
        held = _size_of(part)
        if file.exact and held == file.size:
            return
        # As it lies there: the hash is that of the file, not of what was packed for the way.
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={held}-"} if held else {})}
        try:
            with self._session.get(file.url, headers=headers, stream=True, timeout=self._timeout) as response:
                if response.status_code == 416 and response.headers.get("Content-Range") == f"bytes */{held}":
                    # All of it came, and the process ended before it had its name.
                    return
                held = self._start(response, file, part, held)
                self._receive(response, file, part, name, held)
        except (requests.exceptions.SSLError, requests.TooManyRedirects) as error:
            raise self._refused(file, f"cannot be fetched: {_reason(error)}") from error
        except urllib3.exceptions.ProtocolError as error:
            raise _BrokenOffError(f"it broke off after {_size_of(part)} bytes") from error
        except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
            raise _BrokenOffError(_reason(error)) from error
        except requests.RequestException as error:
            raise self._refused(file, f"cannot be fetched: {_reason(error)}") from error

    def _start(self, response: "requests.Response", file: RemoteFile, part: Path, held: int) -> int:
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
        raise self._refused(file, f"cannot be fetched: the server answers {status} {response.reason}")

    def _receive(self, response: "requests.Response", file: RemoteFile, part: Path, name: str, held: int) -> None:
        text = response.headers.get("Content-Length", "")
        said = held + int(text) if text.isdecimal() else None
        if file.exact and said is not None and said != file.size:
            raise self._refused(file, f"has {said} bytes instead of {file.size}")
        total = file.size if file.exact else said or 0
        since, came = time.monotonic(), 0
        with open(part, "ab" if held else "wb") as target:
            self._progress(name, held, total)
            while chunk := response.raw.read1(_CHUNK):
                held, came = held + len(chunk), came + len(chunk)
                if held > file.size:
                    raise self._refused(file, f"has more than {file.size} bytes")
                target.write(chunk)
                self._progress(name, held, total)
                if (seconds := time.monotonic() - since) > self._timeout:
                    if came < _SLOWEST * seconds:
                        raise _BrokenOffError(f"only {came} bytes in {seconds:.0f} seconds")
                    since, came = time.monotonic(), 0
        if held < total:
            raise _BrokenOffError(f"it broke off after {held} bytes")


def has_digest(path: Path, algorithm: str, digest: str) -> bool:
    """Whether `path` is a file with this hash, `digest` being in lower-case hexadecimal."""
    with suppress(FileNotFoundError), open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest() == digest
    return False


def check_address(url: str) -> None:
    """Raise UsageError for an address that nothing can be fetched from."""
    parts = split_address(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{url!r} is no address", "an address is https://HOST/FOLDER, or http://…")


def split_address(url: str) -> SplitResult:
    """The parts of an address. Raises UsageError."""
    try:
        return urlsplit(url)
    except ValueError as error:
        raise UsageError(f"{url!r} is no address", "an address is https://HOST/FOLDER") from error


def shown_address(url: str) -> str:
    """An address without what may be secret in it."""
    parts = split_address(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _size_of(part: Path) -> int:
    with suppress(FileNotFoundError):
        return part.stat().st_size
    return 0


def _reason(error: Exception) -> str:
    """The innermost cause: what lies around it repeats the address and the retries."""
    while isinstance(inner := getattr(error, "reason", None) or next(iter(error.args), None), Exception):
        error = inner
    return re.sub(r"^\w+\(host=.*?\): ", "", str(error)) or type(error).__name__
