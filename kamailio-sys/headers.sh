#!/bin/sh
# Puts the C headers of the installed Kamailio into target/kamailio-headers/<version>/.
#
#   headers.sh                      the installed release, from the system's own apt sources
#   headers.sh VERSION URL SHA256   another release, from its upstream tarball
#
# Debian ships no header package, so the headers come out of the source package. apt works in a private
# directory: the system's configuration, lists and cache are read or left alone, never written, and root is not
# needed. A second run finds the headers in place and does nothing. Every failure is one line on stderr.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cache=$(dirname -- "$here")/target/kamailio-headers

die() {
    printf 'kamailio-sys/headers.sh: %s\n' "$1" >&2
    exit 1
}

# "5.6.3" out of `kamailio -I`. The binary lives in sbin, which an ordinary user's PATH may lack.
installed_version() {
    PATH=$PATH:/usr/local/sbin:/usr/sbin
    bin=${KAMAILIO_BIN:-$(command -v kamailio)} || die 'kamailio is not installed: apt-get install kamailio'
    info=$("$bin" -I 2>/dev/null) || die "$bin -I failed: set KAMAILIO_BIN to a Kamailio that runs here"
    printf '%s\n' "$info" | sed -n 's/^ *Version: *kamailio \([^ ]*\) .*/\1/p'
}

# The system's binary sources turned into source ones, in both notations apt knows.
system_sources() {
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
        sed -n 's/^[[:space:]]*deb\(-src\)\{0,1\}[[:space:]]/deb-src /p' | sort -u >"$apt/sources/system.list"
    for file in /etc/apt/sources.list.d/*.sources; do
        [ -r "$file" ] || continue
        sed 's/^Types:.*/Types: deb-src/' "$file"
        echo
    done >"$apt/sources/system.sources"
}

configure_apt() {
    mkdir -p "$apt/sources" "$apt/lists/partial" "$apt/cache/archives/partial"
    cat >"$apt/apt.conf" <<EOF
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "$apt/sources";
Dir::State::Lists "$apt/lists";
Dir::Cache "$apt/cache";
Acquire::Languages "none";
APT::Sandbox::User "";
Debug::NoLocking "1";
EOF
    APT_CONFIG=$apt/apt.conf
    export APT_CONFIG
}

# The Debian version whose upstream part is $1. Any packaging revision does: the headers are upstream's.
source_version() {
    apt-cache showsrc --only-source kamailio 2>/dev/null | sed -n 's/^Version: //p' |
        awk -v want="$1" '
            { upstream = $0; sub(/^[0-9]+:/, "", upstream); sub(/-[^-]*$/, "", upstream) }
            index(upstream, want) == 1 && substr(upstream, length(want) + 1) !~ /^[0-9.]/ { print; exit }'
}

fetch_source_package() {
    system_sources
    apt-get -qq update >"$apt/log" 2>&1 || true # a dead third-party source must not stop us; the next line judges
    package=$(source_version "$version")
    [ -n "$package" ] || die "no apt source offers the source of kamailio $version$(complaint)"
    # --tar-only: some mirrors lack the upstream signature that the .dsc lists, which would fail the download.
    (cd "$apt" && apt-get -qq source --download-only --tar-only "kamailio=$package") >"$apt/log" 2>&1 ||
        die "cannot download the source of kamailio $package$(complaint)"
}

fetch_tarball() {
    /usr/lib/apt/apt-helper download-file "$1" "$apt/kamailio_$version.tar.gz" "SHA256:$2" >"$apt/log" 2>&1 ||
        die "cannot download $1$(complaint)"
}

# apt's first error or warning, ready to be appended to a line of ours.
complaint() {
    sed -n 's/^[EW]: \(.*\)/ (\1)/p' "$apt/log" | head -n 1
}

unpack_headers() {
    tarball=$(find "$apt" -maxdepth 1 -name 'kamailio_*.tar.*' | head -n 1)
    mkdir "$apt/headers"
    tar -xf "$tarball" -C "$apt/headers" --wildcards --strip-components=2 '*/src/core/*.h' '*/src/lib/srdb1/*.h' \
        '*/src/modules/tm/*.h' '*/src/modules/presence/*.h' 2>"$apt/log" ||
        die "cannot unpack ${tarball##*/}: $(tail -n 1 "$apt/log")"
    mv "$apt/headers" "$cache/$version"
}

version=${1:-$(installed_version)}
[ -n "$version" ] || die 'cannot tell the version of kamailio: "kamailio -I" printed no Version line'
[ -e "$cache/$version/core/sr_module.h" ] && exit 0
for tool in apt-get apt-cache tar awk; do
    command -v "$tool" >/dev/null || die "$tool is missing: set KAMAILIO_HEADERS to the src folder of Kamailio $version"
done

mkdir -p "$cache"
apt=$(mktemp -d "$cache/.fetch.XXXXXX")
trap 'rm -rf "$apt"' EXIT
trap 'exit 1' HUP INT TERM
configure_apt
if [ $# -eq 3 ]; then
    fetch_tarball "$2" "$3"
else
    fetch_source_package
fi
unpack_headers
