"""Published data sets: fetched from where they are published, compared with their hash, and unpacked."""

import os
import shutil
import tarfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceage.download import TIMEOUT, Downloader, RemoteFile, check_address, has_digest
from faceage.errors import DataError, UsageError
from faceage.files import only_one


@dataclass(frozen=True)
class Archive:
    """A tar file of some `size` bytes, which unpacks to `folder`."""

    name: str
    folder: str
    size: int
    md5: str


@dataclass(frozen=True)
class Published:
    """A data set. Where `address` is "", its archives are for browsers only, by way of its `page`."""

    title: str
    page: str
    address: str
    licence: str
    archives: tuple[Archive, ...]

    @property
    def size(self) -> int:
        """Bytes to fetch, about."""
        return sum(archive.size for archive in self.archives)


_ETH = "https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki/"
# Neither publisher states a hash. These are what several independent projects that use the files state.
PUBLISHED = {
    "imdb_wiki": Published(
        title="IMDB-WIKI, faces only",
        page=_ETH,
        address=f"{_ETH}static",
        licence="for academic research only; the photos belong to their owners",
        archives=(
            Archive("imdb_crop.tar", "imdb_crop", 7_012_000_000, "44b7548f288c14397cb7a7bab35ebe14"),
            Archive("wiki_crop.tar", "wiki_crop", 811_000_000, "f536eb7f5eae229ae8f286184364b42b"),
        ),
    ),
    "utkface": Published(
        title="UTKFace, aligned and cropped",
        page="https://susanqq.github.io/UTKFace/",
        address="",
        licence="for non-commercial research only; the photos belong to their owners",
        archives=(Archive("UTKFace.tar.gz", "UTKFace", 107_000_000, "ae1a16905fbd795db921ff1d940df9cc"),),
    ),
}

_LARGEST = 1.2
"""An archive that is longer than its known size by more than this factor is not believed."""
_UNPACKED = 1.5
"""Room that photos take for each byte of their archive: a small file takes up whole blocks of the disk."""


def how_to_get(folder: Path) -> str:
    """The command that fetches the data set that a missing `folder` is named after, or ""."""
    name = folder.name.lower().replace("-", "_")
    if name not in PUBLISHED:
        return ""
    return f"faceage data fetch {name}" + ("" if str(folder) == name else f" --out {folder}")


def fetch(
    name: str,
    folder: Path,
    place: str = "",
    progress: Callable[[str, int, int], Any] = lambda what, done, total: None,
    timeout: float = TIMEOUT,
) -> None:
    """Fetch and unpack the data set `name` into `folder`, from where it is published or from `place`.

    `place` is the address of another server, or a folder, that holds the archives. What is unpacked already is not
    fetched again, and a download that broke off goes on. Raises DownloadError where the server does not send an
    archive, DataError where an archive is another one, and UsageError where it cannot be fetched or written here.
    """
    published = PUBLISHED[name]
    place = place or published.address
    if not place:
        raise UsageError(
            f"{published.title} lies in a Google Drive, which does not serve programs reliably",
            f"open {published.page} in a browser, fetch {_names(published.archives)} from the link there, and then: "
            f"faceage data fetch {name} --from FOLDER",
        )
    remote = "://" in place
    if remote:
        check_address(place)
    elif not Path(place).exists():
        raise UsageError(f"there is no {place}", "name the folder that holds the archives, or an https:// address")
    try:
        with only_one(folder, "fetching a data set"):
            missing = [archive for archive in published.archives if not (folder / archive.folder).is_dir()]
            _check_room(folder, missing, remote)
            for archive in missing:
                path = _download(archive, place, folder, progress, timeout) if remote else _local(archive, Path(place))
                _unpack(path, archive, folder, progress)
                if remote:
                    path.unlink()
    except OSError as error:
        hint = "mend that, and the same command goes on"
        raise UsageError(f"cannot write to {folder}: {error.strerror or error}", hint) from error


def _names(archives: Sequence[Archive]) -> str:
    return " and ".join(archive.name for archive in archives)


def _check_room(folder: Path, archives: Sequence[Archive], remote: bool) -> None:
    """Raise UsageError where the disk does not hold what is still to come: unpacked, and one archive at a time."""
    needed = sum(_UNPACKED * archive.size for archive in archives)
    if remote and archives:
        largest = max(archives, key=lambda archive: archive.size)
        needed += largest.size - sum(path.stat().st_size for path in folder.glob(f"{largest.name}*"))
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UsageError(
            f"{_names(archives)} and what they unpack to need {needed / 1e9:.1f} GB more in {folder}, "
            f"where {free / 1e9:.1f} GB are free",
            "free some space, or name a folder on another disk with --out DIR",
        )


def _download(
    archive: Archive, place: str, folder: Path, progress: Callable[[str, int, int], Any], timeout: float
) -> Path:
    path = folder / archive.name
    file = RemoteFile(f"{place.rstrip('/')}/{archive.name}", "md5", archive.md5, int(_LARGEST * archive.size))
    with Downloader("try again later, or another place with --from PLACE", progress, timeout) as download:
        download(file, path)
    return path


def _local(archive: Archive, place: Path) -> Path:
    path = (place.parent if place.is_file() else place) / archive.name
    if not path.is_file():
        raise UsageError(f"there is no {path}", f"{place} should hold it under that name")
    if not has_digest(path, "md5", archive.md5):
        raise DataError(f"{path} is not the published file (its MD5 differs)", "fetch it again; it may be incomplete")
    return path


def _unpack(path: Path, archive: Archive, folder: Path, progress: Callable[[str, int, int], Any]) -> None:
    """Unpack beside, then rename: a folder that is there is whole."""
    if not hasattr(tarfile, "data_filter"):
        raise UsageError("unpacking needs Python 3.11.4 or newer", f"or unpack {path} yourself, in {folder}")
    partial = folder / f".{archive.folder}.partial"
    with suppress(FileNotFoundError):
        shutil.rmtree(partial)
    try:
        with open(path, "rb") as file, tarfile.open(fileobj=file) as content:
            size = path.stat().st_size
            for member in content:
                # Refuses what leads outside of the folder, and devices.
                content.extract(member, partial, filter="data")
                progress(f"unpacking {archive.name}", file.tell(), size)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be unpacked: {error}", "remove it, and fetch it again") from error
    if not (partial / archive.folder).is_dir():
        raise DataError(f"{path} holds no folder {archive.folder}", "remove it, and fetch it again")
    os.rename(partial / archive.folder, folder / archive.folder)
    shutil.rmtree(partial)
