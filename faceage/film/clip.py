"""Reading a film clip by FFmpeg (PyAV, the extra "video"): upright, whole frames with their times."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from faceage.errors import UsageError
from faceage.film.av import import_av
from faceage.film.fields import progressive
from faceage.film.stamp import film_stamp

_USUAL_RATE = Fraction(25)
"""Frames a second, of clips that do not say."""

_CLIPS = "clips are films such as MP4, MOV, MKV, WebM or AVI, or a folder of frames"

_SECONDS_MISSING = 1.0
"""A clip that ends by so much before its time is cut off."""


@dataclass(frozen=True)
class ClipFrame:
    """One frame: `pts` its time in units of the clip's time base."""

    pts: int
    decoded: Any
    """PyAV's frame."""
    _size: tuple[int, int]

    @cached_property
    def pixels(self) -> np.ndarray:
        """(h, w, 3) uint8, upright, with square pixels, of even height and width."""
        width, height = self._size
        frame = self.decoded.reformat(width=width, height=height, format="rgb24", interpolation=exact_colours())
        turned = np.rot90(frame.to_ndarray(), round(self.decoded.rotation / 90))
        # H.264 shares colours among 2×2 pixels.
        return np.ascontiguousarray(turned[: len(turned) // 2 * 2, : turned.shape[1] // 2 * 2])


def exact_colours() -> int:
    """The way of conversion that brings a frame to RGB and back with nothing lost."""
    from av.video.reformatter import Interpolation

    way = Interpolation
    return int(way.BICUBIC | way.ACCURATE_RND | way.FULL_CHR_H_INT | way.FULL_CHR_H_INP)


class Clip:
    """A clip's first video stream."""

    def __init__(self, path: Path) -> None:
        """Raises UsageError where `path` is no clip, and MissingExtraError without PyAV."""
        self.path = path
        self._av = import_av()
        with self.opened() as container:
            if container.format.name.endswith("_pipe") or container.format.name == "image2":
                raise UsageError(f"{path} is a photo", "for photos there is 'faceage batch'")
            stream = self._video(container)
            self.time_base: Fraction = stream.time_base
            self.rate: Fraction = stream.average_rate or stream.guessed_rate or _USUAL_RATE
            self.length: int = stream.frames
            """Frames, as far as the clip says; else 0."""
            aspect = stream.sample_aspect_ratio or 1
            self._size = (round(stream.width * aspect), stream.height)
            self.start = max(Fraction(container.start_time or 0, self._av.time_base), Fraction(0))
            """Seconds at which its first picture or sound is due; that of a recording can be hours."""
            mute = len(container.streams.audio) - len(self.sounds(container))
            self.left_out = f"{mute} of its sound tracks cannot be read" if mute else ""
            """What its film will lack, or ""."""
        self.period = max(1, round(1 / (self.rate * self.time_base)))
        """Of a frame, at a steady rate, in units of the time base."""
        self.broken = ""
        """What is wrong with the clip, as far as it has been read."""
        self._cut_off = False

    @cached_property
    def stamp(self) -> list[Any]:
        """Changes where the clip does."""
        return film_stamp({"": self.path})

    def frames(self) -> Iterator[ClipFrame]:
        """All frames that can be read, in order; `broken` says what could not. What FFmpeg mends is not known."""
        last, count = None, 0
        self.broken = ""
        with self.opened() as container:
            stream = self._video(container)
            stream.thread_type = "AUTO"
            # Not by packet.stream_index: of the packets that end a stream it is 0.
            packets = (packet for packet in self._packets(container) if packet.stream is stream)
            decoded = (frame for packet in packets for frame in self._decoded(packet, count))
            for frame in progressive(decoded, self.time_base):
                pts = frame.pts
                if pts is None or (last is not None and pts <= last):
                    pts = 0 if last is None else last + self.period
                last, count = pts, count + 1
                yield ClipFrame(pts, frame, self._size)
        if self._cut_off and not self.broken:
            self.broken = f"it ends after frame {count - 1}, long before the time that it says"

    def _packets(self, container: Any) -> Iterator[Any]:
        """Those of all streams: where one ends, another may go on."""
        end = 0.0
        try:
            for packet in container.demux():
                if packet.pts is not None:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                yield packet
        except self._av.FFmpegError as error:
            self.broken = self.broken or f"it cannot be read to its end ({_reason(error)})"
        # Some containers count from 0 and others from their first frame; what both would miss is missing.
        self._cut_off = (container.duration or 0) / self._av.time_base - end > _SECONDS_MISSING

    def _decoded(self, packet: Any, count: int) -> Sequence[Any]:
        try:
            return packet.decode()
        except self._av.FFmpegError as error:
            self.broken = self.broken or f"it is broken at frame {count} ({_reason(error)})"
            return ()

    def opened(self) -> Any:
        """PyAV's container of the clip."""
        try:
            # By its path alone: neither addresses nor lists of other files are followed.
            options = {"protocol_whitelist": "file"}
            return self._av.open(f"file:{self.path}", metadata_errors="replace", options=options)
        except (self._av.FFmpegError, OSError) as error:
            raise UsageError(
                f"{self.path} cannot be read as a clip: {_reason(error)}",
                _CLIPS,
            ) from error

    def _video(self, container: Any) -> Any:
        # A song's cover is a video stream, too.
        streams = [one for one in container.streams.video if not one.disposition & one.disposition.attached_pic]
        if not streams:
            raise UsageError(f"{self.path} has no video stream", "for photos there is 'faceage batch'")
        if streams[0].codec_context is None:
            raise UsageError(f"{self.path} cannot be read as a clip: its pictures are of an unknown kind", _CLIPS)
        return streams[0]

    def sounds(self, container: Any) -> list[Any]:
        """The sound tracks in the clip's `container` that can be read."""
        return [stream for stream in container.streams.audio if stream.codec_context is not None]


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
