#!/usr/bin/env bash
# ffmpeg on both sides of vidparse: any filter before, any encoder after, no files between.
#   examples/pipe_ffmpeg.sh in.mp4 out.mp4
set -euo pipefail
in=${1:?usage: pipe_ffmpeg.sh in.mp4 out.mp4}
out=${2:?usage: pipe_ffmpeg.sh in.mp4 out.mp4}

ffmpeg -v error -i "$in" -f yuv4mpegpipe -pix_fmt yuv420p - |
  vidparse segment - -o - --save overlay |
  ffmpeg -v error -y -i - -c:v libx264 -crf 18 "$out"
