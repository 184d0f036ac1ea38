"""Writing a clip like another one: segments of frames, each whole or absent, and all of them joined with the sound.

H.264, 8 bits a channel, upright; the times of all frames, the colour space and the sound are the other clip's, but for
what lies before its start. Of its metadata, which may say where and by whom it was made, only the languages of its
sound are kept.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from heapq import merge
from pathlib import Path
from typing import Any

import numpy as np

from faceage.errors import MissingExtraError
from faceage.files import written_whole
from faceage.film.av import import_av
from faceage.film.clip import Clip, ClipFrame, exact_colours
from faceage.film.sound import Sound, holds

ENCODER = "libx264"

_OPTIONS = {
    # Looks like the original: as near to it as 17 with macroblock trees.
    "crf": "19",
    # With AVX-512, x264's macroblock trees read beyond their rows, and the same frames become other bytes each time.
    "x264-params": "mbtree=0",
    # The n-th packet is the n-th frame, and segments follow each other as they are.
    "bf": "0",
}

_MP4, _MATROSKA = ".mp4", ".mkv"
_FORMATS = {_MP4: "mp4", _MATROSKA: "matroska"}
"""What everything plays, and what holds any sound."""

_IN_MP4 = frozenset(["aac", "mp3", "ac3", "eac3", "alac", "flac", "opus"])
"""Sound that players expect in MP4: FFmpeg writes more, which many of them pass over in silence."""

_LIMITED_RANGE = 1
_RGB, _BT709 = 0, 1


def check_encoder() -> None:
    """Raise MissingExtraError where this FFmpeg cannot write H.264."""
    if ENCODER not in import_av().codecs_available:
        raise MissingExtraError(f"this PyAV comes without {ENCODER}", "install its wheel: pip install 'faceage[video]'")


class ClipWriter:
    """Writes a clip like `clip` to the file `path`."""

    ending = ".nut"
    """Of a segment."""

    def __init__(self, clip: Clip, path: Path) -> None:
        self.path = path
        self.files = [path]
        """All that it may write."""
        self._clip = clip
        self._av = import_av()

    @contextmanager
    def new_segment(self, path: Path) -> Iterator[Callable[[ClipFrame, np.ndarray], None]]:
        """Write frames, the decoded one and its pixels now, to `path`, which is there when the block ends well."""
        clip = self._clip
        with written_whole(path) as partial, self._av.open(f"file:{partial}", "w", format="nut") as container:
            stream = container.add_stream(ENCODER, rate=clip.rate, options=_OPTIONS)
            stream.codec_context.time_base = clip.time_base
            stream.pix_fmt = "yuv420p"

            def write(frame: ClipFrame, pixels: np.ndarray) -> None:
                picture = self._av.VideoFrame.from_ndarray(pixels, "rgb24")
                _take_colours(picture, frame.decoded)
                picture = picture.reformat(format=stream.pix_fmt, interpolation=exact_colours())
                picture.pts, picture.time_base = frame.pts, clip.time_base
                if not stream.codec_context.is_open:
                    stream.height, stream.width = pixels.shape[:2]
                    _take_colours(stream.codec_context, frame.decoded)
                    stream.codec_context.color_range = _LIMITED_RANGE
                container.mux(stream.encode(picture))

            yield write
            container.mux(stream.encode(None))

    def join(self, segments: Sequence[Path], times: Sequence[int], comment: str) -> list[Path]:
        """Write the clip, whole or not at all: the frames of `segments` at their `times` (pts), and the sound."""
        with ExitStack() as stack:
            partial = stack.enter_context(written_whole(self.path))
            container = stack.enter_context(self._av.open(f"file:{partial}", "w", format=_FORMATS[self.path.suffix]))
            container.metadata["comment"] = comment
            first = stack.enter_context(self._av.open(f"file:{segments[0]}"))
            video = container.add_stream_from_template(first.streams.video[0])
            video.time_base = self._clip.time_base
            source = stack.enter_context(self._clip.opened())
            sound = Sound(self._clip, source, container)
            container.start_encoding()
            pictures = _pictures(segments, times, self._clip, video)
            # In the order of time: a container keeps in memory what is too early.
            order = merge(pictures, sound.packets(), key=lambda packet: packet.dts * packet.time_base)
            for packet in order:
                container.mux_one(packet)
        return [self.path]


def _take_colours(target: Any, frame: Any) -> None:
    for name in ("colorspace", "color_primaries", "color_trc"):
        setattr(target, name, getattr(frame, name))
    if frame.colorspace == _RGB:
        # H.264 knows RGB only where each pixel has colours of its own.
        target.colorspace = _BT709


def ending_for(clip: Clip) -> str:
    """The ending of the file that holds the clip's sound as it is."""
    with clip.opened() as source:
        plays = all(
            stream.codec.canonical_name in _IN_MP4 and holds(_FORMATS[_MP4], stream) for stream in clip.sounds(source)
        )
    return _MP4 if plays else _MATROSKA


def _pictures(segments: Sequence[Path], times: Sequence[int], clip: Clip, stream: Any) -> Iterator[Any]:
    number, start = 0, int(clip.start / clip.time_base)
    for path in segments:
        with import_av().open(f"file:{path}") as container:
            for packet in container.demux(video=0):
                if packet.dts is None:
                    continue
                packet.pts = packet.dts = times[number] - start
                packet.time_base = clip.time_base
                number += 1
                packet.duration = times[number] - times[number - 1] if number < len(times) else clip.period
                packet.stream = stream
                yield packet
