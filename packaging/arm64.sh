#!/usr/bin/env bash
# fliqd.pyz on Debian's Python for arm64, emulated: `arm64.sh fliqd.pyz`. Needs qemu-user-static.
. "$(dirname "$0")/common.sh"
if ! command -v qemu-aarch64-static > /dev/null; then
    say "no qemu-aarch64-static here: arm64 is not tried"
    exit
fi
root=$BUILD/arm64
if [ ! -x "$root/usr/bin/python3.11" ]; then
    # An apt of its own, so that the machine's does not learn of another architecture.
    apt=$BUILD/arm64-apt
    mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$root"
    : > "$apt/status"
    options=(-o Dir::State="$PWD/$apt" -o Dir::State::status="$PWD/$apt/status" -o Dir::Cache="$PWD/$apt"
        -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=root)
    apt-get "${options[@]}" -qq update
    (cd "$apt" && apt-get "${options[@]}" -qq download libc6 libgcc-s1 libcrypt1 python3.11-minimal \
        libpython3.11-minimal libpython3.11-stdlib zlib1g libexpat1 libssl3 libsqlite3-0 libffi8 libbz2-1.0 liblzma5 \
        libuuid1 libstdc++6)
    for deb in "$apt"/*.deb; do dpkg-deb -x "$deb" "$root"; done
    rm -rf "$apt"
fi
SMOKE_PATIENCE=300 SHIV_ROOT=$PWD/$BUILD/arm64-cache \
    "$TOOLS/python" packaging/smoke.py qemu-aarch64-static -L "$root" "$root/usr/bin/python3.11" "$PWD/$1"
rm -rf "$BUILD/arm64-cache"
