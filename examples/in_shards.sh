#!/bin/sh
# What array jobs do on many machines, here one after the other: each a share of the photos, and then one folder.
#
#     examples/in_shards.sh PHOTOS OUT SHARDS [OPTIONS OF faceage batch]
set -eu
photos=$1 out=$2 shards=$3
shift 3
for number in $(seq "$shards"); do
    # A shard of few photos may have none.
    faceage batch "$photos" --out "$out" --shard "$number/$shards" --quiet "$@" || [ $? -eq 1 ]
done
faceage merge "$out" --quiet || [ $? -eq 1 ]
wc -l <"$out/manifest.jsonl"
