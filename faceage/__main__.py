"""`python -m faceage`."""

from faceage.cli.app import main

main()
