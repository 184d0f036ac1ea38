"""The program: `faceage`, or `python -m faceage`."""

import io
import os
import sys
import warnings
from typing import Any

from faceage.errors import EXIT_INTERRUPTED, UsageError


def main() -> None:
    """Run the command line, whatever the environment says that is none of its business.

    The current folder is not on the module path, where it may hold modules of any name.
    """
    if sys.platform == "win32":
        # Decoding processes are handed a socket as their stdin, which Windows does not do.
        print("faceage: it runs on Linux and macOS\n  on Windows, use it in WSL", file=sys.stderr)
        sys.exit(2)
    _open_streams()
    _name_files_in_utf_8()
    if any(option.partition(":")[0] == "error" for option in sys.warnoptions):
        # Libraries warn of each other; what they warn of must not end a run.
        warnings.resetwarnings()
        warnings.simplefilter("default")
    try:
        here = os.getcwd()
    except FileNotFoundError:
        here = ""
    sys.path[:] = [place for place in sys.path if os.path.isabs(place) and place != here]
    from faceage.cli import app

    try:
        app.main()
    except SystemExit as end:
        if end.code == EXIT_INTERRUPTED and "ray" not in sys.modules:
            # What there is to save is saved; to take TensorFlow down takes many seconds on a busy machine, during which
            # a scheduler may lose its patience. Ray ends its own processes on the way.
            sys.stdout.flush()
            os._exit(EXIT_INTERRUPTED)
        raise


def _open_streams() -> None:
    """Give standard streams that are closed to nowhere, and let the others write every name of a file.

    The next file that is opened would take the number of a closed stream, and what libraries print would go into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free, which is this one.
            os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False), encoding="utf-8")
    sys.stdout, sys.stderr = _writer(_Data(1, "w", closefd=False)), _writer(_Messages(2, "w", closefd=False))


def _writer(stream: io.FileIO) -> io.TextIOWrapper:
    """Text that is written at once, and that holds every name of a file."""
    return io.TextIOWrapper(
        io.BufferedWriter(stream),
        encoding=(sys.__stdout__ or sys.__stderr__ or sys.stdin).encoding,
        errors="backslashreplace",
        line_buffering=True,
        write_through=True,
    )


class _Data(io.FileIO):
    """Where results are printed. A full disk ends the command with one sentence."""

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except BrokenPipeError:
            raise
        except OSError as error:
            # At its end, Python tries once more, and complains.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            raise UsageError(f"cannot write to stdout: {error.strerror}") from error


class _Messages(io.FileIO):
    """Where messages go. A log on a full disk, or a terminal that is gone, ends no run."""

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except OSError:
            return len(memoryview(content).cast("B"))


def _name_files_in_utf_8() -> None:
    """Start again in Python's UTF-8 mode where files could not have every name, as in the locale C.

    Names in no encoding, too, come through that mode as they are.
    """
    if sys.getfilesystemencoding().lower() != "utf-8" and not sys.flags.utf8_mode:
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


if __name__ == "__main__":
    main()
