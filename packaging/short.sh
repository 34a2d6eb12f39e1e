#!/usr/bin/env bash
# The short form of `release.sh`: what is built for this machine runs on it. Leaves nothing behind.
export BUILD=build/short OUT=build/short/out
. "$(dirname "$0")/common.sh"
trap 'rm -rf build/short' EXIT
python=$("$TOOLS/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')

ARCHS=$ARCH packaging/pyz.sh "$python"
"$TOOLS/python" packaging/smoke.py "$TOOLS/python" "$OUT/fliqd.pyz"

XZ_LEVEL=-0 packaging/frozen.sh onedir
"$TOOLS/python" packaging/smoke.py "$PWD/$BUILD/onedir/fliqd-$VERSION/fliqd"

if command -v dpkg-deb > /dev/null; then
    DEB_COMPRESS=gzip packaging/deb.sh
    root=$BUILD/root
    dpkg-deb -x "$OUT"/*.deb "$root"
    "$TOOLS/python" packaging/smoke.py "$PWD/$root/usr/bin/fliqd"
    if command -v lintian > /dev/null; then
        lintian --fail-on error,warning "$OUT"/*.deb
    else
        say "no lintian here: the package is not checked"
    fi
fi
packaging/unit.sh
