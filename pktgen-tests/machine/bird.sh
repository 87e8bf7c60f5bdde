# shellcheck shell=bash disable=SC2034
# BIRD 3, of the next Debian with its own libc, reads the kits.

bird3() {
    "$TRIXIE/root/usr/lib64/ld-linux-x86-64.so.2" --library-path "$TRIXIE/root/usr/lib/x86_64-linux-gnu" \
        "$TRIXIE/root/usr/sbin/bird" "$@"
}

is_bird3() {
    MEASURED=$(bird3 --version 2>&1)
    echo "$MEASURED"
    [[ $MEASURED == *"version 3"* ]]
}

if [ -e "$TRIXIE/complete" ]; then
    check "BIRD 3 runs" is_bird3
    for kit in "$ROOT"/config/bird/*.conf; do
        check "config/bird/${kit##*/} is valid" bird3 -p -c "$kit"
    done
else
    skip "BIRD 3 reads the kits" "bird3 could not be downloaded"
fi
