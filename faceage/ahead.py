"""Preparing the next item in a thread while the current one is in use."""

import queue
import threading
from collections.abc import Generator
from typing import Any, TypeVar

T = TypeVar("T")

_SECONDS = 5.0
"""Time that an item in preparation gets when nobody wants it any more; a photo that hangs must not block the exit."""


def ahead(items: Generator[T, None, None]) -> Generator[T, None, None]:
    """The same items, or the same exception, with the next item prepared in a thread.

    `items` is closed in that thread, also where the caller stops early: close the iterator that this returns.
    """
    prepared: queue.Queue[tuple[bool, Any]] = queue.Queue(maxsize=1)
    stopped = threading.Event()

    def put(is_item: bool, value: Any) -> None:
        while not stopped.is_set():
            try:
                prepared.put((is_item, value), timeout=0.1)
            except queue.Full:
                continue
            return

    def prepare() -> None:
        try:
            for item in items:
                put(True, item)
                if stopped.is_set():
                    break
            put(False, None)
        except BaseException as error:
            put(False, error)
        finally:
            items.close()

    thread = threading.Thread(target=prepare, daemon=True)
    thread.start()
    try:
        while (item := prepared.get())[0]:
            yield item[1]
        if item[1]:
            raise item[1]
    finally:
        stopped.set()
        thread.join(timeout=_SECONDS)
