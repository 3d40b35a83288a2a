#!/bin/sh
# Runs our ffmpeg as another machine would. The name of the link to this file selects the machine: `cpus-N` has N CPUs,
# `old-N` has N CPUs without vector instructions, `early-N` an ffmpeg before 7.0, which has no loopback decoders.
root=$(dirname "$(readlink -f "$0")")/../../../..
name=${0##*/}
case $name in
  old-*) cpu='-cpuflags 0' ;;
  *) cpu= ;;
esac
case "$name $*" in
  early-*' -dec '*) echo "Unrecognized option 'dec'." >&2; exit 1 ;; # as ffmpeg 5.1 says
esac
# shellcheck disable=SC2086 # nothing, or two words
exec "$root/layers/ffmpeg/opt/bin/ffmpeg" -cpucount "${name#*-}" $cpu "$@"
