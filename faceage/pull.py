"""Fetching models into the user's cache from a server that is trusted for nothing but sending bytes.

model.json must have the SHA-256 that the user gives, and each network the one that model.json gives. An interrupted
transfer keeps what has arrived, and the next call resumes it; the model's folder appears once it is complete and right.
"""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceage.download import TIMEOUT, Downloader, RemoteFile, check_address, shown_address, split_address
from faceage.errors import FaceageError, UsageError, WeightsError
from faceage.files import only_one
from faceage.model import KNOWN_NETWORKS, NETWORKS, check_entry, check_files, parse_card, read_card
from faceage.model_search import CARD
from faceage.store.weights import sha256

MAX_CARD_BYTES = 1_000_000
MAX_NETWORK_BYTES = 2_000_000_000
"""Largest size that model.json may claim for a network; the largest known one has 110 MB."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ASK_AGAIN = "ask whoever gave you the address, or try another"


@dataclass(frozen=True)
class Source:
    """A model on a server: the `url` of its folder or its model.json, and the SHA-256 of the latter.

    In the cache it keeps the name of its folder there. Raises UsageError for an impossible URL, name or hash.
    """

    url: str
    sha256: str

    def __post_init__(self) -> None:
        check_address(self.url)
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
        return split_address(self.url).path.removesuffix(CARD).rstrip("/")

    def file(self, name: str) -> str:
        """The address of a file of the model."""
        return split_address(self.url)._replace(path=f"{self._folder}/{name}", fragment="").geturl()


def pull(
    source: Source,
    cache: Path,
    progress: Callable[[str, int, int], Any] = lambda what, done, total: None,
    timeout: float = TIMEOUT,
) -> Path:
    """Fetch a model into the folder `cache`; the model's folder in it.

    `progress(file, done, total)` is told how many bytes of a file have arrived. A try fails after `timeout` seconds
    without a byte; after several failures in a row the call gives up, and the same call resumes later. A model that is
    already there is not fetched again, and of a damaged one only the damaged files are. Raises DownloadError where the
    server does not send the model, WeightsError where what it sends is no model, and UsageError where the cache cannot
    hold it or holds another one of that name.
    """
    target, partial = cache / source.name, cache / f".{source.name}.partial"
    try:
        with only_one(cache, "fetching a model"), Downloader(_ASK_AGAIN, progress, timeout) as download:
            if target.exists() and not _is_file(target / CARD, source.sha256):
                raise UsageError(f"{target} is another model", "remove or rename that folder")
            if target.exists():
                if _is_whole(target):
                    return target
                # What is right of a damaged copy is not fetched again.
                shutil.rmtree(partial, ignore_errors=True)
                os.rename(target, partial)
            partial.mkdir(exist_ok=True)
            download(RemoteFile(source.file(CARD), "sha256", source.sha256, MAX_CARD_BYTES), partial / CARD)
            card = parse_card((partial / CARD).read_bytes(), shown_address(source.file(CARD)))
            entries = _entries(card, source)
            _check_space(partial, entries)
            for name, (digest, size) in entries.items():
                download(RemoteFile(source.file(name), "sha256", digest, size, exact=True), partial / name)
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
    place = shown_address(source.file(""))
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
