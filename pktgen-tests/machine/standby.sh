# shellcheck shell=bash disable=SC2016,SC2034
# Two units that stand by for each other, as docs/operations.md has them.

# shellcheck source=pktgen-tests/machine/service.sh
. "$HERE/service.sh"

# The pair: each has the drop-in of the user, as the page says.
pair() {
    drop_in borderline-a && drop_in borderline-b || return 1
    systemctl start borderline
    mark
    follow 'of them alone, the other would be started again' || return 1
    grep Exec /etc/systemd/system/borderline-?.service
    within 60 is_active borderline-a && within 60 is_active borderline-b && within 60 pings || return 1
    find_runner && within 60 says "$STANDBY" 'ready to take over' || return 1
    MEASURED="$RUNNER runs, $STANDBY stands by, both active (running)"
}

# Which one has the socket. Sets RUNNER and STANDBY.
find_runner() {
    RUNNER=borderline-a STANDBY=borderline-b
    runs borderline-a && return
    RUNNER=borderline-b STANDBY=borderline-a
    runs borderline-b
}

# takes_over MS WHAT...: the command ends the one that runs; the other one translates, after so many milliseconds at most.
takes_over() {
    local pid before limit=$1
    shift
    within 60 find_runner || return 1
    pid=$(main_pid "$RUNNER")
    before=$(cat /sys/class/net/bl-v4/ifindex)
    mark
    flow handed "$pid" "$@" || return 1
    journal "$STANDBY"
    MEASURED="$STANDBY translates, longest gap $GAP ms"
    [ "$GAP" -lt "$limit" ] && [ "$(cat /sys/class/net/bl-v4/ifindex)" = "$before" ] && addressed
}

handed() {
    local pid=$1
    shift
    "$@" "$pid" && within 60 runs "$STANDBY" && within 60 pings
}

stands_by_again() {
    within 60 is_active "$RUNNER" || return 1
    if ! within 60 says "$RUNNER" 'ready to take over'; then
        journal "$RUNNER"
        return 1
    fi
    MEASURED="$RUNNER, NRestarts $(property "$RUNNER" NRestarts)"
}

stopped_and_watched() {
    kill -STOP "$1"
    # The watchdog needs five seconds.
    within 60 another "$RUNNER" "$1"
}

stop_runner() { systemctl stop "$RUNNER"; }

# The new version is the old one and a byte, so that it can be told from it.
new_version() {
    within 60 find_runner || return 1
    # The page has a in service; let it be.
    if [ "$RUNNER" != borderline-a ]; then
        kill -USR2 "$(main_pid borderline-b)"
        within 60 runs borderline-a && within 60 says borderline-b 'ready to take over' || return 1
    fi
    echo >>"$ROOT/target/release/borderline"
    cp /usr/local/bin/borderline /tmp/old
    mark
    flow upgrade || return 1
    MEASURED="borderline-b translates with the new file, longest gap $GAP ms"
    within 60 says borderline-a 'ready to take over' || return 1
    cmp "/proc/$(main_pid borderline-b)/exe" "$ROOT/target/release/borderline" && ! cmp -s /tmp/old /usr/local/bin/borderline && runs borderline-b
}

upgrade() {
    local lines line
    lines=$(block text 'systemctl status borderline-a` too' | commands) || return 1
    while read -r line; do
        echo "# $line"
        case $line in
            journalctl*) within 60 says borderline-b 'ready to take over' || return 1 ;;
            *drain*) ;;
            *) (cd "$ROOT" && $line) || return 1 ;;
        esac
    done <<<"$lines"
    within 60 runs borderline-b && within 60 pings
}

both_stop() {
    systemctl stop borderline-a borderline-b
    MEASURED="$(property borderline-a Result), $(property borderline-b Result)"
    [ "$MEASURED" = "success, success" ] && [ ! -e /sys/class/net/bl-v4 ]
}

# The single unit, with addresses by networkd, and the user; unless the scenario before has made all that.
ready() {
    [ -e /etc/systemd/network/50-bl-v4.network ] || { first_start && service && networkd; } || return 1
    getent passwd borderline || user
}

hosts
check "a single unit, to begin with" ready || return
if check "two units: one runs, the other stands by, neither as root" pair; then
    check "kill -9 of the one that runs: the other takes over, twins stay" takes_over 5000 kill -KILL
    check "and it stands by again" stands_by_again
    check "SIGUSR2: hands over" takes_over 5000 kill -USR2
    check "and it stands by again after SIGUSR2" stands_by_again
    check "kill -STOP: the watchdog kills it, the other takes over" takes_over 15000 stopped_and_watched
    check "and it stands by again after the watchdog" stands_by_again
    check "a new version, as the page has it" new_version
    check "both stop in order" both_stop
fi
