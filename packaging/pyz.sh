#!/usr/bin/env bash
# One file for many Pythons: the wheels of each, side by side, since the names of their libraries differ.
#
#   pyz.sh [PYTHON…]     which Pythons, such as 3.13; all that are supported unless told; $ARCHS says for which machines
. "$(dirname "$0")/common.sh"
PYTHONS=${*:-3.11 3.12 3.13 3.14}
ARCHS=${ARCHS:-x86_64 aarch64}

site=$BUILD/pyz
rm -rf "$site"
mkdir -p "$site/all"
for python in $PYTHONS; do
    for arch in $ARCHS; do
        say "wheels for Python $python on $arch"
        "$TOOLS/pip" install -q --no-deps --require-hashes --only-binary=:all: --no-compile \
            --implementation cp --python-version "$python" \
            --platform "manylinux_2_17_$arch" --platform "manylinux2014_$arch" --platform "manylinux_2_28_$arch" \
            --target "$site/$python-$arch" -r requirements.lock
        cp -rn "$site/$python-$arch/." "$site/all/"
    done
done
"$TOOLS/pip" install -q --no-deps --no-compile --target "$site/all" "$(wheel)"
rm -rf "$site/all/bin"
find "$site/all" -type d \( -name tests -o -name test \) -prune -exec rm -rf {} +
find "$site/all" -name 'direct_url.json' -delete # it holds where it was built
# Some wheels carry symbols that nobody needs, twice as much as all the rest. It takes a tool that knows all machines.
if command -v llvm-strip > /dev/null; then
    find "$site/all" -name '*.so' -exec llvm-strip --strip-unneeded {} +
else
    say "no llvm-strip here: the libraries stay as their wheels have them, and the file is twice as large"
fi
# One of each: RECORD of the last wheel that was laid in. Nobody uninstalls from here.
find "$site/all" -name RECORD -delete
# Compiled for this Python; the others do it when they first run. By hash, since a time would not survive the unpacking.
"$TOOLS/python" -m compileall -q --invalidation-mode unchecked-hash -s "$site/all" -p / "$site/all"
find "$site/all" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

"$TOOLS/shiv" --site-packages "$site/all" -e fliqd.__main__:main -o "$OUT/fliqd.pyz" --compressed --reproducible \
    --preamble packaging/preamble.py -p '/usr/bin/env python3'
rm -rf "$site"
say "$OUT/fliqd.pyz: $(du -h "$OUT/fliqd.pyz" | cut -f1)"
