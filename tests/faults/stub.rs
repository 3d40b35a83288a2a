//! A stub in place of ffmpeg. It keeps the results of the real ffmpeg and returns them for the same command and input,
//! which is faster; and it fails as a test demands.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use testkit::paths::{ffmpeg, kept_files};

const SCRIPT: &str = r#"#!/bin/sh
PATH=/usr/bin:/bin
real=REAL memory=MEMORY fault=FAULT
case "$*" in *trial.mp4*) exec "$real" "$@" ;; esac # the function tries its ffmpeg out when it starts
for last; do :; done
file='' # the last one of the run; what it writes may go nowhere (-)
for word; do case $word in file:*) file=${word#file:} ;; esac; done
if read -r how 2>/dev/null <"$fault"; then
  case $how in
    hang) sleep 600; exit ;;
    fail) exit 1 ;;
    killed) kill -9 $$ ;;
    nothing) exit 0 ;;
    fill) cat /dev/zero >"${file%/*}/filler" 2>/dev/null; exit 1 ;;
    fill-silently) cat /dev/zero >"${file%/*}/filler" 2>/dev/null; exit 0 ;;
    garbage) case $last in file:*) echo garbage >"$file" ;; esac; exit 0 ;;
  esac
fi
said='' inputs='' outputs='' before=''
for word; do
  case $before,$word in
    -i,file:*) inputs="$inputs ${word#file:}" said="$said in" ;;
    *,file:*) outputs="$outputs ${word#file:}" said="$said out" ;;
    *) said="$said $word" ;;
  esac
  before=$word
done
key=$({ echo "$said"; cat $inputs; } | sha256sum)
known=$memory/${key%% *}
if ! [ -d "$known" ]; then
  "$real" "$@" || exit
  mkdir "$known.$$"
  n=0
  for output in $outputs; do
    cp "$output" "$known.$$/$n" || exit
    n=$((n + 1))
  done
  mv -T "$known.$$" "$known" 2>/dev/null || rm -r "$known.$$"
  exit 0
fi
n=0
for output in $outputs; do
  cp "$known/$n" "$output" || exit
  n=$((n + 1))
done
"#;

/// Writes the stub into `folder`, where it looks for the file `ffmpeg-fault`, and returns its path.
pub fn in_place_of_ffmpeg(folder: &Path) -> PathBuf {
    let about = std::fs::metadata(ffmpeg()).expect("it is there");
    let made = about.modified().ok().and_then(|made| made.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let memory = format!("ffmpeg-memory-{}-{}", about.len(), made.as_secs()); // of this very ffmpeg
    let memory = kept_files().join(memory);
    std::fs::create_dir_all(&memory).expect("made");
    let script = SCRIPT
        .replace("REAL", &ffmpeg().display().to_string())
        .replace("MEMORY", &memory.display().to_string())
        .replace("FAULT", &folder.join("ffmpeg-fault").display().to_string());
    let path = folder.join("ffmpeg");
    std::fs::write(&path, script).expect("written");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("made runnable");
    path
}
