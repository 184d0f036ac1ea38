"""`small_batches.py ARGUMENTS…`: `faceage` in a process of its own, with the small batches of `shared`.

A few photos then take several batches, between which the process can be killed.
"""

import sys

import shared

from faceage.cli.app import main

shared.small_batches()
shared.find_people.LatentOptimiser = lambda model, options, size, age: shared.LatentOptimiser(
    model, options, min(size, shared.FACES_AT_ONCE), age
)
main(sys.argv[1:])
