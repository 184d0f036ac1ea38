"""A server on localhost that breaks off, forgets, lies and is slow, as it is told to."""

import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Served:
    """What is asked of a server, and how it misbehaves: `answer(handler, name, content)` may answer instead of it."""

    folder: Path
    url: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    answer: object = None

    def ranges(self, name: str) -> list[str]:
        """The Range headers that came for a file, "" where there was none."""
        return [asked for path, asked in self.asked if path.endswith("/" + name)]


@contextmanager
def serving(folder: Path, place: str = "models/noise-64"):
    state = Served(folder)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            state.asked.append((self.path, self.headers.get("Range", "")))
            name = self.path.partition("?")[0].rpartition("/")[2]
            content = (folder / name).read_bytes() if (folder / name).is_file() else None
            if state.answer and state.answer(self, name, content):  # type: ignore[operator]
                return
            if content is None:
                self.send_error(404)
                return
            send(self, content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_port}/{place}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


def send(handler: BaseHTTPRequestHandler, content: bytes, only: int | None = None, drip: float = 0.0) -> None:
    """Answer as a server that knows Range does; of what is asked for, break off after `only` bytes."""
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    start = int(asked[1]) if asked else 0
    if start >= len(content):
        handler.send_response(416)
        handler.send_header("Content-Range", f"bytes */{len(content)}")
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    handler.send_response(206 if asked else 200)
    if asked:
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    handler.send_header("Content-Length", str(len(content) - start))
    handler.end_headers()
    try:
        for byte in content[start:] if drip else ():
            handler.wfile.write(bytes([byte]))
            time.sleep(drip)
        handler.wfile.write(content[start:] if only is None else content[start : start + only])
        handler.wfile.flush()
    except OSError:
        # Nobody waits for it any more.
        pass


def flipped(content: bytes) -> bytes:
    return bytes([content[0] ^ 1]) + content[1:]


def page(handler, status: int, text: bytes = b"<html>busy</html>") -> bool:
    handler.send_response(status)
    handler.send_header("Content-Type", "text/html")
    handler.send_header("Content-Length", str(len(text)))
    handler.end_headers()
    handler.wfile.write(text)
    return True


def redirect(handler, to: str) -> bool:
    handler.send_response(302)
    handler.send_header("Location", to)
    handler.send_header("Content-Length", "0")
    handler.end_headers()
    return True


def endless(handler) -> bool:
    """Without a length: it goes on until nobody listens."""
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(1000):
            handler.wfile.write(b"x" * 10_000)
    except OSError:
        pass
    return True
