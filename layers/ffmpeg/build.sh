#!/usr/bin/env bash
# Builds the ffmpeg of the Lambda layer into ./opt, which becomes /opt in Lambda. It is static, has no network
# protocols, and contains only the parts that this project uses. The sources are those of Debian 13 with its security
# updates.
#
#   layers/ffmpeg/build.sh [-q]     -q: print one line at the start and one at the end
#
# The user's cache keeps each build, so that other clones of the project can use it.
# ARCH (x86_64 or arm64) must be the architecture of this machine. DEBIAN_MIRROR is the base URL of the mirror; by
# default it is the mirror of this machine's packages.
set -euo pipefail
export LC_ALL=C TZ=UTC
unset CFLAGS CPPFLAGS LDFLAGS MAKEFLAGS # the result must not depend on the caller's
umask 022

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/cameras-service-generate-clip
sources=$cache/ffmpeg-sources
log=$cache/ffmpeg-build.log
arch=${ARCH:-x86_64}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# The parts of the build. ffmpeg adds the few that these need (muxer mov, parser ac3, filter rotate). The self-check
# compares protocols, demuxers, decoders and encoders with these lists.
demuxers=mov
muxers=framehash,framemd5,image2,mp4,null,pcm_s16le,rawvideo
decoders=aac,ac3,alac,eac3,flac,h263,h264,hevc,libdav1d,mp3float,mpeg4,opus,pcm_alaw,pcm_f32be,pcm_f32le,pcm_mulaw,pcm_s16be,pcm_s16le,pcm_s24be,pcm_s24le
decoders+=,pcm_s32be,pcm_s32le,pcm_s8,pcm_u8,vp9
encoders=aac,libx264,mjpeg,pcm_s16le,png,rawvideo,wrapped_avframe
parsers=aac,ac3,av1,flac,h263,h264,hevc,mpeg4video,mpegaudio,opus,vp9
bsfs=aac_adtstoasc,extract_extradata,h264_metadata,h264_mp4toannexb,hevc_metadata,hevc_mp4toannexb,null
filters=aformat,anull,anullsrc,apad,aresample,asetpts,atrim,bwdif,concat,copy,crop,format,hflip,null,pad,psnr,scale,select
filters+=,setparams,setpts,setsar,settb,split,transpose,trim,vflip

# Source packages of Debian.
packages=(dav1d ffmpeg x264 zlib)

# ffmpeg reads untrusted footage, so it gets the usual hardening and randomized addresses.
cflags='-fPIE -fstack-protector-strong -D_FORTIFY_SOURCE=2'
ldflags='-static-pie -Wl,-z,relro,-z,now'

work='' # the temporary folder of the running build
exec 3>&1 4>&2 # the terminal, also while the build writes to its log
verbose=false
if [[ -t 1 ]]; then verbose=true; fi
case ${1:-} in
  '') ;;
  -q) verbose=false ;;
  *) echo "usage: $0 [-q]" >&4; exit 2 ;;
esac

say() { echo "ffmpeg: $*" >&3; }
step() { if $verbose; then say "$*"; fi; }
warn() { echo "ffmpeg: $*" >&4; }
die() { warn "$*"; exit 1; }

finish() {
  local status=$?
  if [[ -z $work ]]; then return; fi
  rm -rf "$work"
  if ((status)); then
    tail -n 30 "$log" >&4
    warn "cannot build: see $log"
  fi
}
trap finish EXIT

check_tools() {
  local machine tool missing=() tools=(
    apt-get:apt dpkg-source:dpkg-dev flock:util-linux gcc:gcc ld:binutils make:make meson:meson ninja:ninja-build pkg-config:pkg-config xz:xz-utils)
  case $arch in
    x86_64) machine=x86_64 tools+=(nasm:nasm) ;;
    arm64) machine=aarch64 ;;
    *) die "ARCH: expected x86_64 or arm64, got $arch" ;;
  esac
  [[ $(uname -m) == "$machine" ]] || die "ARCH: expected the architecture of this machine ($(uname -m)), got $arch"
  for tool in "${tools[@]}"; do
    command -v "${tool%:*}" >/dev/null || missing+=("${tool#*:}")
  done
  [[ -e $keyring ]] || missing+=(debian-archive-keyring)
  libc=$(gcc -print-file-name=libc.a 2>/dev/null) || true
  [[ -e $libc ]] || missing+=(libc6-dev)
  if ((${#missing[@]})); then die "cannot build without ${missing[*]}: apt-get install ${missing[*]}"; fi
}

# Runs apt with its own sources, lists and cache, so that those of the machine do not change. Proxy settings apply.
apt() {
  apt-get -q -o APT::Default-Release= -o APT::Sandbox::User="$(id -un)" \
    -o Acquire::http::Timeout=10 -o Acquire::Retries=1 \
    -o Dir::Etc::SourceList="$sources/apt/debian.sources" -o Dir::Etc::SourceParts=- \
    -o Dir::State="$sources/apt" -o Dir::State::status=/dev/null -o Dir::Cache="$sources/apt" "$@"
}

# Prints the base URL of the mirror of this machine's packages.
# shellcheck disable=SC2016 # apt's own variables
own_mirror() { apt-get indextargets --format '$(REPO_URI)' | sed -n 's,/debian/*$,,p' | head -n 1; }

deb_src() { # suite, archive
  printf 'Types: deb-src\nURIs: %s/%s\nSuites: %s\nComponents: main\nSigned-By: %s\n\n' \
    "${DEBIAN_MIRROR:-$(own_mirror)}" "$2" "$1" "$keyring"
}

# Updates the source packages (apt skips those that exist already) and lists them in `manifest`, with the checksums
# from the index that Debian signed. The caller uses it as a condition, where bash ignores `set -e`.
fetch() (
  mkdir -p "$sources"/apt/{lists,archives}/partial && cd "$sources" || exit
  { deb_src trixie debian; deb_src trixie-security debian-security; } >apt/debian.sources
  apt update --error-on=any || exit
  apt source --download-only ffmpeg || exit
  for package in "${packages[@]}"; do
    # Some mirrors are incomplete. Debian's part of ffmpeg is required, because it contains the security fixes.
    apt source --download-only "$package" && continue
    apt source --download-only --tar-only "$package" || exit
    warn "the mirror lacks Debian's patches of $package; building without them"
  done
  # apt prints only files that are not in the folder yet (hence the cd), as: 'url' file size SHA256:checksum
  (cd apt && apt source --print-uris "${packages[@]}") | grep "^'" | while read -r url file _ checksum; do
    if [[ -e $file ]]; then echo "${checksum#SHA256:}  $file  ${url//\'/}"; fi
  done >manifest.new
  cut -d' ' -f1-3 manifest.new | sha256sum --check || exit
  mv manifest.new manifest
  for file in *_*; do grep -qF "  $file  " manifest || rm "$file"; done # superseded files
)

unpack() { # package; changes to the unpacked folder
  local names archive
  names=$(cut -d' ' -f3 "$sources/manifest" | grep "^$1_")
  if archive=$(grep '\.dsc$' <<<"$names"); then
    dpkg-source -x "$sources/$archive" "$work/$1"
  else
    archive=$(grep '\.orig\.tar\.[^.]*$' <<<"$names")
    mkdir "$work/$1"
    tar -C "$work/$1" --strip-components=1 -xf "$sources/$archive"
  fi
  cd "$work/$1"
}

build() {
  local version opt=$work/opt about=$work/opt/share/ffmpeg
  unpack ffmpeg
  version=$(dpkg-parsechangelog -S Version)
  SOURCE_DATE_EPOCH=$(dpkg-parsechangelog -S Timestamp)
  export SOURCE_DATE_EPOCH

  step 'building zlib'
  unpack zlib
  CFLAGS="-O3 $cflags" ./configure --static --prefix="$work/libs"
  make -j"$(nproc)" libz.a
  make install

  step 'building x264 (about 40 s)'
  unpack x264
  ./configure --prefix="$work/libs" --enable-static --enable-pic --disable-cli --disable-opencl --bit-depth=8 \
    --extra-cflags="$cflags"
  make -j"$(nproc)" install-lib-static

  # Its assembler code would take 0.6 MB of the layer and a minute and a half of the build, for a codec that few cameras have.
  step 'building dav1d (about 20 s)'
  unpack dav1d
  CFLAGS=$cflags meson setup --prefix "$work/libs" --libdir lib --buildtype release --default-library static \
    -Denable_asm=false -Denable_tools=false -Denable_tests=false -Dlogging=false build
  ninja -C build install

  step "building ffmpeg $version (about 2 min)"
  cd "$work/ffmpeg"
  # The binary contains its configure line, so the line must not name the temporary folder.
  PKG_CONFIG_LIBDIR=$work/libs/lib/pkgconfig ./configure --prefix=/opt --extra-version="${version#*-}" \
    --disable-everything --disable-autodetect --disable-iconv --disable-network --disable-avdevice --disable-postproc \
    --disable-ffplay --disable-ffprobe --disable-doc --disable-debug \
    --enable-gpl --enable-libdav1d --enable-libx264 --enable-zlib --enable-pic \
    --extra-cflags="$cflags" --extra-ldexeflags="$ldflags" --pkg-config-flags=--static \
    --enable-protocol=file --enable-demuxer=$demuxers --enable-muxer=$muxers --enable-decoder=$decoders \
    --enable-encoder=$encoders --enable-parser=$parsers --enable-bsf=$bsfs --enable-filter=$filters
  make -j"$(nproc)" ffmpeg

  install -D -t "$opt/bin" ffmpeg
  step 'checking the result'
  self_check "$opt/bin/ffmpeg"

  # The GPL requires its text, and directions to the source and to the build scripts.
  mkdir -p "$about/licences"
  "$opt/bin/ffmpeg" -version >"$about/VERSION"
  cp "$here/build.sh" "$about/"
  cp COPYING.GPLv2 COPYING.LGPLv2.1 "$about/licences/"
  cp debian/copyright "$about/licences/ffmpeg"
  cp ../dav1d/COPYING "$about/licences/dav1d"
  cp ../x264/COPYING "$about/licences/x264"
  cp ../zlib/LICENSE "$about/licences/zlib"
  cp /usr/share/doc/libc6-dev/copyright "$about/licences/glibc"
  cat >"$about/SOURCE" <<END
bin/ffmpeg $version is licensed under the GNU General Public License, version 2 or later (licences/COPYING.GPLv2).
build.sh built it from the following sources. If Debian has replaced a source with a newer one,
https://snapshot.debian.org/ still has the old one under the name of its package.

$(cat "$sources/manifest")

The linked C library comes from the Debian source package
$(dpkg-query -W -f '${source:Package} ${source:Version}' libc6-dev).
END
  # With the date of the source, the same build always gives the same files.
  find "$opt" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
}

self_check() { # binary
  local parts
  if readelf -lW "$1" | grep INTERP || readelf -dW "$1" | grep NEEDED; then die 'expected a static binary'; fi
  if strings "$1" | grep -F "$work"; then die 'expected a binary without the build folder in it, got its name'; fi
  parts=$("$1" -hide_banner -protocols | xargs)
  [[ $parts == 'Supported file protocols: Input: file Output: file' ]] || die "expected the file protocol, got: $parts"
  for kind in demuxers decoders encoders; do
    # ffmpeg prints flags, name and description below a line of dashes.
    parts=$("$1" -hide_banner -$kind | sed '1,/^ ---/d' | awk '{ print $2 }' | sort | paste -sd,)
    # The name of the mov demuxer is a list: mov,mp4,m4a,…
    [[ $parts == "${!kind}" || $parts == mov,mp4,m4a,3gp,3g2,mj2 ]] || die "expected $kind ${!kind}, got $parts"
  done
  # The build has a source of silence but none of pictures, so silence is encoded, written, read and decoded.
  "$1" -nostdin -v error -filter_complex anullsrc=d=1 -c:a aac "$work/silence.mp4"
  "$1" -nostdin -v error -i "$work/silence.mp4" -f framemd5 "$work/silence.md5"
  grep -q '^0,' "$work/silence.md5" || die 'cannot decode what the binary encoded'
}

check_tools
mkdir -p "$cache"
exec 9>"$cache/ffmpeg.lock" # only one build at a time, even from several clones
flock -n 9 || { say 'waiting for another build'; flock 9; }

has_all_sources() {
  local package
  for package in "${packages[@]}"; do grep -q "  ${package}_" "$sources/manifest" || return; done
}

# Updates are fetched once a day.
if [[ -z $(find "$sources/manifest" -mmin -1440 2>/dev/null) ]] || ! has_all_sources; then
  step "fetching Debian's current sources"
  if ! fetch >"$log" 2>&1; then
    has_all_sources 2>/dev/null || { tail -n 30 "$log" >&4; die "cannot fetch the sources: see $log"; }
    warn "cannot reach the mirror of Debian (see $log); using the sources of $(date -r "$sources/manifest" +%F)"
  fi
fi

# The key covers everything that the result depends on: this script, sources, compiler, assembler, linker, C library.
key=$({
  echo "$arch"
  cut -d' ' -f1-3 "$sources/manifest"
  gcc --version
  ld --version
  if [[ $arch == x86_64 ]]; then nasm --version; fi
  cat "$here/build.sh" "$libc"
} | sha256sum | cut -c1-16)
built=$cache/ffmpeg-$key

how='from the cache'
if [[ ! -d $built ]]; then
  say "building (about 3 min on 2 cores; log: $log)"
  rm -rf "$cache"/ffmpeg-work.* # left by a killed build
  work=$(mktemp -d "$cache/ffmpeg-work.XXXXXX")
  build >"$log" 2>&1
  mv "$work/opt" "$built"
  how="built in $SECONDS s"
fi

if ! diff -rq "$built" "$here/opt" >/dev/null 2>&1; then
  rm -rf "$here/opt.new"
  cp -a "$built" "$here/opt.new"
  rm -rf "$here/opt"
  mv "$here/opt.new" "$here/opt"
fi
say "$(cut -d' ' -f3 "$built/share/ffmpeg/VERSION" | head -n 1) in ${here#"$PWD/"}/opt ($how)"
