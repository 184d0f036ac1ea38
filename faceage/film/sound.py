"""The sound of a clip on its way into its film: as it is, or as FLAC where the film's container refuses it."""

from collections.abc import Iterator
from fractions import Fraction
from io import BytesIO
from typing import Any

from faceage.film.av import import_av
from faceage.film.clip import Clip

_RESTART_SECONDS = 0.25
"""Where time goes back by more, another clip was put behind; by less, one packet has slipped."""


class Sound:
    """The sound tracks of `source`, the opened `clip`, as tracks of `target`, an opened film."""

    def __init__(self, clip: Clip, source: Any, target: Any) -> None:
        self._source = source
        self._tracks = {stream.index: _track(stream, target, clip.start) for stream in clip.sounds(source)}

    def packets(self) -> Iterator[Any]:
        """What is to be written once `target` has its header, in the clip's order; time 0 is when the clip starts."""
        if not self._tracks:
            return
        errors = import_av().FFmpegError
        try:
            for packet in self._source.demux([self._source.streams[index] for index in self._tracks]):
                yield from self._tracks[packet.stream.index].take(packet)
        except errors:
            # The clip is broken here; that was said when its frames were read.
            pass
        for track in self._tracks.values():
            yield from track.end()


class _Copied:
    """A track whose packets stay as they are, `least` ticks of its container apart."""

    def __init__(self, track: Any, start: Fraction, least: int) -> None:
        self._track = track
        self._shift = -start
        self._least = least
        self._last: tuple[int, int] | None = None
        """Time and duration of the last packet, in ticks."""

    def take(self, packet: Any) -> Iterator[Any]:
        if packet.dts is None:
            return
        # Known since the container's header is written.
        tick = self._track.time_base
        time = round((packet.dts * packet.time_base + self._shift) / tick)
        duration = round((packet.duration or 0) * packet.time_base / tick)
        if self._last is not None:
            if (self._last[0] - time) * tick > _RESTART_SECONDS:
                # In a clip that was put together from several, each begins anew.
                self._shift += (sum(self._last) - time) * tick
                time = sum(self._last)
            time = max(time, self._last[0] + self._least)
        self._last = time, duration
        packet.pts = packet.dts = time
        packet.duration, packet.time_base = duration, tick
        packet.stream = self._track
        yield packet

    def end(self) -> Iterator[Any]:
        yield from ()


class _Converted:
    """A track that is written in another codec, sample by sample."""

    def __init__(self, track: Any, start: Fraction) -> None:
        self._track = track
        self._start = start
        self._next = 0

    def take(self, packet: Any) -> Iterator[Any]:
        try:
            frames = packet.decode()
        except import_av().FFmpegError:
            # As a player does, which is silent there.
            return
        for frame in frames:
            if frame.pts is not None:
                self._next = max(self._next, round((frame.pts * frame.time_base - self._start) * frame.sample_rate))
            frame.pts, frame.time_base = self._next, Fraction(1, frame.sample_rate)
            self._next += frame.samples
            yield from self._track.encode(frame)

    def end(self) -> Iterator[Any]:
        yield from self._track.encode(None)


def holds(kind: str, stream: Any) -> bool:
    """Whether files of the format `kind` hold a sound track as it is: some are refused only in the files' header."""
    av = import_av()
    try:
        with av.open(BytesIO(), "w", format=kind) as container:
            container.add_stream_from_template(stream)
            container.start_encoding()
    except (ValueError, av.FFmpegError):
        return False
    return True


def _track(stream: Any, target: Any, start: Fraction) -> _Copied | _Converted:
    way: _Copied | _Converted
    if holds(target.format.name, stream):
        track = target.add_stream_from_template(stream)
        strict = not target.format.flags & import_av().format.Flags.ts_nonstrict.value
        way = _Copied(track, start, int(strict))
    else:
        track = target.add_stream("flac", rate=stream.rate, layout=stream.layout)
        way = _Converted(track, start)
    if stream.language:
        track.metadata["language"] = stream.language
    return way
