#!/usr/bin/env bash
# A release: everything twice, which must be the same bytes, tried on every Python that is here, with what goes beside it.
#
#   PYTHONS="/path/to/python3.12 …"   further Pythons to try fliqd.pyz on; those of pyenv and of the path are found
. "$(dirname "$0")/common.sh"

for round in first second; do
    say "$round build"
    OUT=$BUILD/$round packaging/pyz.sh
    OUT=$BUILD/$round packaging/frozen.sh onefile
    OUT=$BUILD/$round packaging/frozen.sh onedir
    OUT=$BUILD/$round packaging/deb.sh
    cp "$BUILD/wheel/fliqd-$VERSION-py3-none-any.whl" "$BUILD/$round/"
    rm -rf "$BUILD/wheel"
done
diff <(cd "$BUILD/first" && sha256sum -- *) <(cd "$BUILD/second" && sha256sum -- *)
say "both builds are the same bytes"
rm -rf "$OUT" "$BUILD/second"
mv "$BUILD/first" "$OUT"

say "the bill of materials"
"$PWD/.venv/sbom/bin/cyclonedx-py" requirements requirements.lock --pyproject pyproject.toml --output-reproducible \
    --mc-type application --of JSON -o "$OUT/fliqd-$VERSION.cdx.json"

found=$(ls -d "$HOME"/.pyenv/versions/3.1[1-9]*/bin/python3 2> /dev/null || true)
for python in ${PYTHONS:-} $found python3.11 python3.12 python3.13 python3.14; do
    which=$("$python" --version 2> /dev/null) || continue # not here, or only the name of it
    say "fliqd.pyz on $which"
    "$TOOLS/python" packaging/smoke.py "$python" "$OUT/fliqd.pyz"
done
packaging/arm64.sh "$OUT/fliqd.pyz"
"$TOOLS/python" packaging/smoke.py "$PWD/$OUT/fliqd-$VERSION-linux-$ARCH"
"$TOOLS/python" packaging/smoke.py "$PWD/$BUILD/onedir/fliqd-$VERSION/fliqd"
dpkg-deb -x "$OUT"/fliqd_*.deb "$BUILD/root"
"$TOOLS/python" packaging/smoke.py "$PWD/$BUILD/root/usr/bin/fliqd"
rm -rf "$BUILD/root"
lintian --fail-on error,warning "$OUT"/fliqd_*.deb
packaging/unit.sh

(cd "$OUT" && sha256sum -- * > SHA256SUMS)
cat "$OUT/SHA256SUMS"
