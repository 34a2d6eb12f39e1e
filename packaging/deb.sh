#!/usr/bin/env bash
# A Debian package around the directory that `frozen.sh onedir` has made.
. "$(dirname "$0")/common.sh"
tree=$BUILD/deb
debian=$(dpkg --print-architecture)
libc=$(getconf GNU_LIBC_VERSION | cut -d' ' -f2)
rm -rf "$tree"

put() { install -D -m "$1" "$2" "$tree/$3"; } # MODE FROM TO

mkdir -p "$tree/usr/lib" "$tree/usr/bin" "$tree/DEBIAN" "$tree/etc/fliqd"
cp -a "$BUILD/onedir/fliqd-$VERSION" "$tree/usr/lib/fliqd"
ln -s ../lib/fliqd/fliqd "$tree/usr/bin/fliqd"
find "$tree/usr/lib/fliqd" -name '*.so*' -exec chmod 0644 {} +

put 0644 systemd/fliqd.service usr/lib/systemd/system/fliqd.service
put 0644 systemd/fliqd.socket usr/lib/systemd/system/fliqd.socket
put 0644 systemd/fliqd.sysusers usr/lib/sysusers.d/fliqd.conf
# Every key is in it and none is set, so that a default that changes changes here too.
sed -E 's/^([a-z_]+ = )/#\1/' config.example.toml > "$tree/etc/fliqd/config.toml"

"$TOOLS/python" packaging/manpages.py "$BUILD/man"
for page in fliqd.1 fliqd.toml.5; do
    mkdir -p "$tree/usr/share/man/man${page##*.}"
    gzip -9n < "$BUILD/man/$page" > "$tree/usr/share/man/man${page##*.}/$page.gz"
done
fliqd=$tree/usr/lib/fliqd/fliqd
mkdir -p "$tree/usr/share/bash-completion/completions" "$tree/usr/share/zsh/vendor-completions" \
    "$tree/usr/share/fish/vendor_completions.d" "$tree/usr/share/lintian/overrides"
"$fliqd" completion bash > "$tree/usr/share/bash-completion/completions/fliqd"
"$fliqd" completion zsh > "$tree/usr/share/zsh/vendor-completions/_fliqd"
"$fliqd" completion fish > "$tree/usr/share/fish/vendor_completions.d/fliqd.fish"

doc=$tree/usr/share/doc/fliqd
mkdir -p "$doc"
mv "$tree/usr/lib/fliqd/licenses" "$doc/licenses"
rm "$tree/usr/lib/fliqd/LICENSE"
{
    echo "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/"
    echo "Upstream-Name: fliqd"
    echo
    echo "Files: *"
    sed -n 's/^\(Copyright\)/Copyright: /p' LICENSE | sed 's/Copyright:  /Copyright: /'
    echo "License: MIT"
    sed -e '1,2d' -e '/^Copyright/d' -e 's/^$/./' -e 's/^/ /' LICENSE
    echo
    echo "Files: usr/lib/fliqd/_internal/*"
    echo "Copyright: their authors"
    echo "License: bundled"
    echo " Python and the packages that fliqd uses, each under its own licence: they are in"
    echo " /usr/share/doc/fliqd/licenses."
} > "$doc/copyright"
{
    echo "fliqd ($VERSION-1) unstable; urgency=medium"
    echo
    echo "  * See changelog.gz."
    echo
    echo " -- The fliqd developers <fliqd@localhost>  $(date -R -u -d "@$SOURCE_DATE_EPOCH")"
} | gzip -9n > "$doc/changelog.Debian.gz"
gzip -9n < CHANGELOG.md > "$doc/changelog.gz"
put 0644 config.example.toml usr/share/doc/fliqd/examples/config.toml
put 0644 systemd/pyz.conf usr/share/doc/fliqd/examples/pyz.conf
put 0644 packaging/deb/lintian-overrides usr/share/lintian/overrides/fliqd

size=$(du -k -s --apparent-size "$tree" | cut -f1)
sed -e "s/@VERSION@/$VERSION/; s/@ARCH@/$debian/; s/@LIBC@/$libc/; s/@SIZE@/$size/" packaging/deb/control > "$tree/DEBIAN/control"
echo /etc/fliqd/config.toml > "$tree/DEBIAN/conffiles"
for script in postinst prerm postrm; do put 0755 "packaging/deb/$script" "DEBIAN/$script"; done
(cd "$tree" && find usr -type f -print0 | sort -z | xargs -0 md5sum) > "$tree/DEBIAN/md5sums"
find "$tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

dpkg-deb --root-owner-group "-Z${DEB_COMPRESS:-xz}" --build "$tree" "$OUT/fliqd_$VERSION-1_$debian.deb" >&2
