#!/bin/sh
# Our ffmpeg as another machine would run it. A link to this file says by its name which: `cpus-N` sees N CPUs, `old-N`
# N of the oldest kind, which add no two numbers at once.
here=$(dirname "$(readlink -f "$0")")
name=${0##*/}
case $name in
  old-*) kind='-cpuflags 0' ;;
  *) kind= ;;
esac
# shellcheck disable=SC2086 # nothing, or two words
exec "$here/../../layers/ffmpeg/opt/bin/ffmpeg" -cpucount "${name#*-}" $kind "$@"
