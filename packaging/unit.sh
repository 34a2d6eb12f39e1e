#!/usr/bin/env bash
# Is the unit well-formed, and as closed as it was? systemd-analyze rates it; 1.5 of 10 is the most it may get.
. "$(dirname "$0")/common.sh"
if ! command -v systemd-analyze > /dev/null; then
    say "no systemd-analyze here: the unit is not rated"
    exit
fi
systemd-analyze security --no-pager --offline=true --threshold=15 systemd/fliqd.service | tail -1
# It is not installed, so its program is not where it will be.
complaints=$(systemd-analyze verify --man=no systemd/fliqd.service systemd/fliqd.socket 2>&1 |
    grep -v 'Command /usr/bin/fliqd is not executable' | grep fliqd || true)
[ -z "$complaints" ] || { say "$complaints"; exit 1; }
