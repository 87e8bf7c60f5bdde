# shellcheck shell=bash disable=SC2016,SC2034
# What the scenarios systemd and standby share. Commands and files are taken from docs/operations.md, so the page is what is tested.
# The relay's namespace is that of the machine itself; eth1 and eth2 lead to a client and to a server.

PAGE=$ROOT/docs/operations.md

# block KIND TEXT: the first block of that kind after the line that has the text in it.
block() {
    awk -v kind="$1" -v after="$2" '
        !found { found = index($0, after) > 0; next }
        !inside { inside = $0 == "```" kind; next }
        $0 == "```" { exit }
        { print; some = 1 }
        END { exit !some }' "$PAGE"
}

# The commands of a block: those behind a prompt, with the rest of a loop; without the words behind them, and without what
# they print.
commands() {
    awk '
        /^# / { wanted = 1; loop = /do$/ }
        wanted { sub(/^# /, ""); print }
        loop && /^ *done$/ { loop = 0 }
        { wanted = loop }' | sed -E 's/([^ ]) {4,}[^ ].*$/\1/'
}

# follow TEXT [PATTERN]: runs the commands of the block after that line, but for those the pattern matches.
follow() {
    local lines
    lines=$(block text "$1" | commands) || {
        echo "the page has no block after: $1"
        return 1
    }
    lines=$(grep -vE "${2:-^nothing$}" <<<"$lines")
    echo "$lines"
    MEASURED=$(grep -c . <<<"$lines")" lines of the page"
    (cd "$ROOT" && bash -e <<<"$lines") </dev/null
}

# written KIND TEXT FILE: the block of that kind after that line becomes the file, or is added to it.
written() {
    mkdir -p "$(dirname "$3")"
    block "$1" "$2" >>"$3"
}

# The second of these scenarios finds what the first has made.
hosts() {
    [ ! -e /etc/borderline ] || return 0
    journalctl -q -f -o short-monotonic >/machine/journal.log &
    ip netns attach relay 1
    add_namespace client
    add_namespace server
    sysctl -qw net.ipv6.conf.default.accept_dad=0
    wire client c4 relay eth1 1500
    wire server s6 relay eth2 1500
    ip -n client addr add 203.0.113.50/24 dev c4
    ip -n client addr add 203.0.113.254/24 dev c4
    ip -n client route add default via 203.0.113.1 src 203.0.113.50
    ip -n server addr add 2001:db8:12:34::1/64 dev s6 nodad
    ip -n server addr add 2001:db8:12:34::fffe/64 dev s6 nodad
    ip -n server route add 2001:db8:46::/96 via 2001:db8:12:34::ffff
    serve server '[::]'
    rmdir /run/borderline /var/lib/borderline
    # What the page builds is built.
    mkdir -p "$ROOT/target/release"
    [ "$BINARIES" = "$ROOT/target/release" ] ||
        install "$BINARIES/borderline" "$BINARIES/borderctl" "$ROOT/target/release/"
}

property() { systemctl show -P "$2" "$1"; }
main_pid() { property "$1" MainPID; }
is_active() { [ "$(property "$1" ActiveState)/$(property "$1" SubState)" = active/running ]; }
# What the journal has of a unit since a cursor was taken.
mark() { CURSOR=$(journalctl -q -n 1 --show-cursor | sed -n 's/^-- cursor: //p'); }
journal() { journalctl -q -o cat -u "$1" --after-cursor "$CURSOR"; }
says() { journal "$1" | grep -q "$2"; }
pings() { ip netns exec client ping -n -q -c 1 -W 1 192.0.2.1; }
runs() { curl -sf --unix-socket /run/borderline/control.sock http://relay/v1/status | grep -qE "\"pid\":$(main_pid "$1")[,}]"; }

first_start() {
    follow '## First start' '^cargo build' && written toml 'Add a control socket to it' /etc/borderline/relay.toml &&
        borderline check --config /etc/borderline/relay.toml &&
        borderline check --machine --config /etc/borderline/relay.toml
}

service() {
    follow 'As a service (end the relay' || return 1
    # `enable --now` has come back, so it has said that it is ready, and its socket answers.
    ctl status || return 1
    systemctl status --no-pager borderline
    MEASURED="$(property borderline ActiveState), $(property borderline SubState), READY after $((($(property borderline \
        ActiveEnterTimestampMonotonic) - $(property borderline ExecMainStartTimestampMonotonic)) / 1000)) ms"
    is_active borderline && [ "$(property borderline Type)" = notify ] && [ "$(property borderline WatchdogUSec)" = 5s ]
}

networkd() {
    written ini '50-bl-v4.network' /etc/systemd/network/50-bl-v4.network &&
        written ini '50-bl-v6.network' /etc/systemd/network/50-bl-v6.network &&
        written ini 'etc/systemd/networkd.conf` says otherwise' /etc/systemd/networkd.conf &&
        systemctl enable --now systemd-networkd && within 60 pings && addressed
}

addressed() {
    networkctl --no-pager status bl-v4 bl-v6
    ip addr show bl-v4 | grep -q 203.0.113.1/24 && ip addr show bl-v6 | grep -q 2001:db8:12:34::ffff/64 &&
        ip route | grep -q 'default via 203.0.113.254 dev bl-v4' &&
        ip -6 route | grep -q 'default via 2001:db8:12:34::fffe dev bl-v6'
}

# another UNIT PID: it runs, and as another process.
another() { is_active "$1" && [ "$(main_pid "$1")" != "$2" ] && [ "$(main_pid "$1")" != 0 ]; }

# The page's user, and its drop-in for a unit.
user() { follow 'The user comes first'; }
drop_in() { written ini 'system/borderline.service.d/user.conf` is enough' "/etc/systemd/system/$1.service.d/user.conf"; }
