#!/bin/sh
# An animation from young to old for every face in a folder of photos.
#
#     examples/young_to_old.sh PHOTOS OUT [OPTIONS OF faceage batch]
set -eu
photos=$1 out=$2
shift 2
# Exit status 1: some photo showed no face, or was broken. The others are done.
faceage batch "$photos" --out "$out" --quiet "$@" || [ $? -eq 1 ]
faceage render "$out/latents.h5" --out "$out" --as animations --file webp --quiet
find "$out/animations" -name '*.webp' | sort
