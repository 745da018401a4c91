#!/bin/sh
# Compiles and tests against every Kamailio series the module supports, installed or not.
#
#   check-versions.sh                       cargo test -p kamailio-sys: bindings, shim, loader strings, layouts
#   check-versions.sh check -p kazoo        any other cargo command
#
# What a server says about itself is in versions/<version>.info, its headers come from a distribution's source
# tarball, named here with its digest. A release whose tarball no mirror holds any more is skipped with a line that
# says so, unless its headers (the tarball's src/ folder) are already in target/kamailio-headers/<version>.
# Exit status: 0 if every release that could be had passes, 1 if one fails or none could be had.
set -u

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
workspace=$(dirname -- "$here")
# The mirror that this system installs from; another one by DEBIAN_MIRROR. Ubuntu's only when UBUNTU_MIRROR names one.
system_mirror() {
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
        tr ' ' '\n' | sed -n 's#^\(https\{0,1\}://.*/debian\)/\{0,1\}$#\1#p' | head -n 1
}
debian=${DEBIAN_MIRROR:-$(system_mirror)}/pool/main/k/kamailio
ubuntu=${UBUNTU_MIRROR:-}/pool/universe/k/kamailio
passed='' failed='' skipped=''

# Its own target folder: the environment differs from an ordinary build's, which would make cargo rebuild that one.
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$workspace/target}/check-versions
export CARGO_TARGET_DIR

# check VERSION URL SHA256 [cargo arguments]
check() {
    version=$1
    headers=$workspace/target/kamailio-headers/$version
    if [ ! -d "$headers" ] && [ "${2#/}" != "$2" ]; then
        skipped="$skipped $version"
        echo "== kamailio $version: skipped, no mirror known that has it: set UBUNTU_MIRROR, or put its src/ into $headers"
        return
    fi
    if ! "$here/headers.sh" "$1" "$2" "$3"; then
        skipped="$skipped $version"
        echo "== kamailio $version: skipped, headers not available"
        return
    fi
    shift 3
    echo "== kamailio $version: cargo $*"
    if (cd "$workspace" && KAMAILIO_INFO=$here/versions/$version.info \
        KAMAILIO_HEADERS=$headers cargo "$@"); then
        passed="$passed $version"
    else
        failed="$failed $version"
    fi
}

if [ "$(uname -m)" != x86_64 ]; then
    echo "check-versions.sh: versions/*.info describe x86_64 servers, this is $(uname -m)" >&2
    exit 1
fi
[ $# -gt 0 ] || set -- test -p kamailio-sys

# Debian 12, Ubuntu 24.04, Ubuntu 25.04, Debian 13, Debian sid.
check 5.6.3 "$debian/kamailio_5.6.3.orig.tar.gz" \
    2a45e561895f38e933993662dd67f60c6821efc1ba6e50b4559e152c22ff4526 "$@"
check 5.7.4 "$ubuntu/kamailio_5.7.4.orig.tar.gz" \
    00ff7380616ea0cfa0b159a87a97de7454f00ce337469b11a4eea04bfe0031f3 "$@"
check 5.8.4 "$ubuntu/kamailio_5.8.4.orig.tar.gz" \
    666e8570f98491bcf4743248f1b2c13c5171dcdb8228796cfff40b9aeba9fe91 "$@"
check 6.0.1 "$debian/kamailio_6.0.1.orig.tar.gz" \
    8c1d61b4c14706dc2748d37b1ad4055397276205a94e0bd70e39fd98c4753d01 "$@"
check 6.1.4 "$debian/kamailio_6.1.4.orig.tar.gz" \
    290624b6624edc230af0fc458fb7e481e64b893be7cb5084398e587942992e0a "$@"

echo "== passed:${passed:- none}; failed:${failed:- none}; skipped:${skipped:- none}"
[ -n "$passed" ] && [ -z "$failed" ]
