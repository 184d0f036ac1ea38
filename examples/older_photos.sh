#!/bin/sh
# The whole photos, each with its largest face at 60 and over, and a list of what could not be done.
#
#     examples/older_photos.sh PHOTOS OUT [OPTIONS OF faceage batch]
set -eu
photos=$1 out=$2
shift 2
faceage batch "$photos" --out "$out" --paste --faces largest --ages 60+ --quiet "$@" || [ $? -eq 1 ]
find "$out/pasted" -type f | sort
# The manifest is one JSON object a line.
grep -v '"status": "ok"' "$out/manifest.jsonl" >&2 || true
