"""Interlaced frames, as camcorders and broadcasts have them, made whole pictures."""

from collections.abc import Iterable, Iterator
from typing import Any

from faceage.film.av import import_av


def progressive(frames: Iterable[Any], time_base: Any) -> Iterator[Any]:
    """Decoded `frames`, whose pts are in units of `time_base`; those in two fields are drawn of the first one.

    Two fields show two moments, which players know from a mark that H.264 of whole pictures does not have.
    """
    graph, kind = None, None
    for frame in frames:
        if graph is not None and kind != _kind(frame):
            yield from _pushed(graph, None, time_base)
            graph = None
        if graph is None and frame.interlaced_frame:
            graph, kind = _deinterlacer(frame, time_base), _kind(frame)
        if graph is None:
            yield frame
        else:
            yield from _pushed(graph, frame, time_base)
    if graph is not None:
        yield from _pushed(graph, None, time_base)


def _kind(frame: Any) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name


def _deinterlacer(frame: Any, time_base: Any) -> Any:
    graph = import_av().filter.Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base)
    graph.link_nodes(source, graph.add("yadif", deint="interlaced"), graph.add("buffersink")).configure()
    return graph


def _pushed(graph: Any, frame: Any, time_base: Any) -> Iterator[Any]:
    """The frames that are ready when `frame` is there; None ends the film."""
    graph.vpush(frame)
    while True:
        try:
            ready = graph.vpull()
        except (BlockingIOError, EOFError):
            return
        if ready.pts is not None:
            ready.pts, ready.time_base = round(ready.pts * ready.time_base / time_base), time_base
        yield ready
