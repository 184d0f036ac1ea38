"""The program: `faceage`, or `python -m faceage`."""

import os
import sys


def main() -> None:
    """Run the command line without the current folder on the module path, where it may hold modules of any name."""
    try:
        here = os.getcwd()
    except FileNotFoundError:
        here = ""
    sys.path[:] = [place for place in sys.path if os.path.isabs(place) and place != here]
    from faceage.cli import app

    app.main()


if __name__ == "__main__":
    main()
