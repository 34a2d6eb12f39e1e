# What every script here begins with: where things are, and one time for everything that is built.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset PIP_FIND_LINKS PIP_EXTRA_INDEX_URL PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK=1

VERSION=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' fliqd/__init__.py)
# Two builds of one version are the same bytes: the time is that of the release, and nothing else changes by itself.
SOURCE_DATE_EPOCH=$(($(sed -n 's/^RELEASED_MS = \([0-9_]*\).*/\1/p' fliqd/__init__.py | tr -d _) / 1000))
export SOURCE_DATE_EPOCH PYTHONHASHSEED=1 LC_ALL=C.UTF-8 TZ=UTC
umask 022

BUILD=${BUILD:-build}
OUT=${OUT:-dist}
ARCH=$(uname -m)
TOOLS=$PWD/.venv/packaging/bin # made by `make`
mkdir -p "$BUILD" "$OUT"

say() { echo "packaging: $*" >&2; }

wheel() { # print the path of the wheel, which is built when it is asked for
    "$TOOLS/python" -m hatchling build -t wheel -d "$BUILD/wheel" >&2
    echo "$BUILD/wheel/fliqd-$VERSION-py3-none-any.whl"
}
