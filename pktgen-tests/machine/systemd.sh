# shellcheck shell=bash disable=SC2034
# The relay as a service, as docs/operations.md has it.

# shellcheck source=pktgen-tests/machine/service.sh
. "$HERE/service.sh"

foreground() {
    local pid result=0
    borderline run --config /etc/borderline/relay.toml >/machine/systemd-foreground.log 2>&1 </dev/null &
    pid=$!
    { within 60 ctl status && follow 'Give the twins their addresses' && within 10 pings; } || result=1
    kill "$pid"
    wait "$pid" || result=1
    return "$result"
}

verified() {
    local said
    said=$(systemd-analyze verify --man=no "$ROOT/config/systemd/borderline.service" 2>&1)
    echo "$said"
    ! grep -q 'borderline' <<<"$said"
}

restarted() {
    local before
    before=$(now_ms)
    systemctl restart borderline || return 1
    within 60 pings || return 1
    MEASURED="$(($(now_ms) - before)) ms until it translates"
    within 10 addressed
}

reloaded() {
    mark
    systemctl reload borderline && within 10 says borderline 'reload' && journal borderline && is_active borderline
}

# A relay that was stopped is killed by the watchdog, which takes five seconds, and started again.
watchdog() {
    local pid before killed
    pid=$(main_pid borderline)
    mark
    before=$(now_ms)
    kill -STOP "$pid"
    within 60 killed_by_watchdog || return 1
    killed=$(($(now_ms) - before))
    within 60 another borderline "$pid" && within 60 pings || return 1
    MEASURED="killed after $killed ms, translates again after $(($(now_ms) - before)) ms"
    [ "$killed" -ge 4000 ] && [ "$killed" -lt 20000 ]
}

# journalctl leaves the first line out when it filters what follows a cursor.
killed_by_watchdog() { journalctl -q --after-cursor "$CURSOR" | grep 'systemd\[1\]: borderline.*Watchdog timeout'; }

killed() {
    local pid before
    pid=$(main_pid borderline)
    before=$(now_ms)
    kill -KILL "$pid"
    within 60 another borderline "$pid" && within 60 pings || return 1
    MEASURED="translates again after $(($(now_ms) - before)) ms"
}

without_root() {
    local pid
    user && drop_in borderline || return 1
    systemctl daemon-reload
    systemctl restart borderline || return 1
    pid=$(main_pid borderline)
    grep -E '^(Uid|Gid|Cap|NoNew|Seccomp)' "/proc/$pid/status"
    ls -la /run/borderline /var/lib/borderline
    MEASURED="$(ps -o user= -p "$pid"), CapEff $(sed -n 's/^CapEff:\t0*//p' "/proc/$pid/status")"
    [ "$(ps -o user= -p "$pid")" = borderline ] && within 60 pings &&
        [ "$(sed -n 's/^CapEff:\t0*//p' "/proc/$pid/status")" = 1000 ] && [ "$(stat -c %U /var/lib/borderline)" = borderline ]
}

member_may() {
    MEASURED=$(setpriv --reuid nobody --regid nogroup --groups "$(getent group operators | cut -d: -f3)" \
        borderctl eam add 192.0.2.9 2001:db8:12:34::9) || return 1
    ! setpriv --reuid nobody --regid nogroup --clear-groups borderctl status
}

keeps_store() {
    systemctl restart borderline && within 60 pings && ctl eam lookup 192.0.2.9 | grep -q 2001:db8:12:34::9
}

# With [announce] a stop waits until traffic has gone elsewhere: here it never does, so for stop_seconds.
drains() {
    local before routes='' gone='' ended ping
    printf '\n[announce]\n' >>/etc/borderline/relay.toml
    systemctl restart borderline && within 60 pings && within 60 announced || return 1
    ip route show proto 212
    ip -6 route show proto 212
    ip netns exec client ping -D -n -i 0.05 192.0.2.1 >/tmp/drain 2>&1 &
    ping=$!
    sleep 1
    mark
    before=$(now_ms)
    systemctl stop --no-block borderline
    while [ "$(property borderline ActiveState)" != inactive ] && [ $(($(now_ms) - before)) -lt 40000 ]; do
        [ -n "$routes" ] || announced || routes=$(($(now_ms) - before))
        [ -n "$gone" ] || [ -e /sys/class/net/bl-v4 ] || gone=$(($(now_ms) - before))
        sleep 0.05
    done
    ended=$(($(now_ms) - before))
    kill -INT "$ping"
    wait "$ping"
    journal borderline
    journalctl -q -o cat --after-cursor "$CURSOR" _PID=1
    MEASURED="routes gone after $routes ms, twins after $gone ms, ended after $ended ms; $(property borderline Result)"
    [ "$(property borderline Result)" = success ] && [ -n "$routes" ] && [ "${gone:-0}" -gt "$routes" ] && [ "$gone" -ge 4500 ] &&
        [ "$ended" -lt 25000 ]
}

announced() { [ "$(ip route show proto 212 | wc -l)/$(ip -6 route show proto 212 | wc -l)" = 1/1 ]; }

idle_stop() {
    local before
    systemctl start borderline && within 60 pings || return 1
    before=$(now_ms)
    systemctl stop borderline
    MEASURED="$(($(now_ms) - before)) ms"
    [ "$(property borderline Result)" = success ]
}

hosts
check "First start: the page's commands, then check and check --machine" first_start || return
check "First start: in the foreground, with the addresses of the page" foreground
check "systemd-analyze verify has nothing against the unit" verified
check "As a service: enable --now comes back when it is READY" service || return
check "systemd-networkd gives the twins addresses and default routes" networkd
check "and again after systemctl restart" restarted
check "HTTP through the service" fetches client 192.0.2.1
check "systemctl reload reads the configuration again" reloaded
check "kill -STOP: the watchdog kills it, and it is started again" watchdog
check "kill -9: it is started again" killed
check "Without root: the page's user and drop-in" without_root
check "a member of operators changes a mapping, others may not" member_may
check "the store outlives a restart" keeps_store
check "systemctl stop: routes go first, then stop_seconds of traffic, then the twins" drains
check "systemctl stop of an idle relay" idle_stop
systemctl stop borderline
