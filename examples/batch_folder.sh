#!/usr/bin/env bash
# Every video of a folder to class maps and per-frame records; bad files are listed at the end.
#   examples/batch_folder.sh videos/ results/
set -uo pipefail
in=${1:?usage: batch_folder.sh videos/ results/}
out=${2:?usage: batch_folder.sh videos/ results/}

vidparse segment "$in" -o "$out/" --save mask-video,jsonl,csv
code=$?
case $code in
  0) echo "all done" ;;
  1) echo "some inputs failed (see the table above); the others are complete" ;;
  *) echo "stopped with exit code $code" ;;
esac
exit $code
