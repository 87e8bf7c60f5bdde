#!/usr/bin/env bash
# Checks the files for TRex, Pktgen-DPDK and siitperf without those programs; see testbed/README.md.
#
#   pktgen-tests/check-testers.sh target/release/borderline
#
# Scapy, for the TRex profile, goes to a place of its own under target; without network that part is skipped.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

[ $# -eq 1 ] || fail "usage: check-testers.sh BORDERLINE"
BORDERLINE=$(realpath "$1")
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
TOOLS=${CARGO_TARGET_DIR:-$ROOT/target}/testers-python

! is_root || install_packages python3 python3-venv lua5.3
PYTHON=python3
if { [ -x "$TOOLS/bin/pip" ] || python3 -m venv "$TOOLS"; } &&
    "$TOOLS/bin/pip" install --quiet --disable-pip-version-check -r "$HERE/check/requirements.txt"; then
    PYTHON=$TOOLS/bin/python3
else
    note "no Python environment with scapy in $TOOLS"
fi

if command -v luac >/dev/null; then
    luac -p "$HERE"/pktgen-dpdk/*.lua "$HERE"/check/*.lua
fi
if command -v shellcheck >/dev/null; then
    shellcheck -x "$HERE/check-testers.sh" "$HERE/siitperf/measure.sh"
fi
exec "$PYTHON" -B "$HERE/check/testers.py" "$BORDERLINE"
