#!/usr/bin/env bash
# Runs siitperf by the book: repeated trials, and the median with the 1st and 99th percentile at the end.
set -euo pipefail

usage() {
    cat <<-TEXT
	usage: measure.sh throughput|latency|pdv --programs DIR --config FILE --results DIR [options]

	  --programs DIR      where siitperf-tp, siitperf-lat and siitperf-pdv are
	  --config FILE       siitperf.conf or siitperf-many.conf (throughput only), edited for the tester
	  --results DIR       created; gets a copy of the configuration, every output, and results.csv
	  --rate N            throughput: the highest rate to try (default 12019230, 84-byte frames at 10 Gbit/s);
	                      latency and pdv: the rate to run at, the throughput measured before
	  --size N            frame on the IPv6 side, 84 to 1518 (default 84)
	  --foreground N      per cent of frames to translate: 100, 90, 50, 10 or 0 (default 100)
	  --precision N       throughput: end of the search, in frames per second (default 1000)
	  --repeat N          repetitions (default 20)
	  --attempts N        latency and pdv: trials of a repetition that lose frames or are invalid, before its row is marked
	                      in results.csv and left out of the summary (default 3)
	  --duration N        seconds of a trial (default 60; latency 120)
	  --pause N           seconds between trials (default 10)
	TEXT
}

fail() {
    printf 'measure.sh: %s\n' "$*" >&2
    exit 1
}

# RFC 8219 calls a frame lost that comes later than this, in milliseconds.
TIMEOUT=2000
# Latency: so many frames are tagged, in the second half of the trial.
TAGS=50000

[ $# -gt 0 ] || { usage >&2; exit 2; }
MEASUREMENT=$1
shift
PROGRAMS='' CONFIG='' RESULTS='' RATE='' SIZE=84 FOREGROUND=100 PRECISION=1000 REPEAT=20 ATTEMPTS=3 DURATION='' PAUSE=10
while [ $# -gt 0 ]; do
    [ $# -gt 1 ] || fail "$1 needs a value"
    case $1 in
    --programs) PROGRAMS=$(realpath "$2") ;;
    --config) CONFIG=$(realpath "$2") ;;
    --results) RESULTS=$2 ;;
    --rate) RATE=$2 ;;
    --size) SIZE=$2 ;;
    --foreground) FOREGROUND=$2 ;;
    --precision) PRECISION=$2 ;;
    --repeat) REPEAT=$2 ;;
    --attempts) ATTEMPTS=$2 ;;
    --duration) DURATION=$2 ;;
    --pause) PAUSE=$2 ;;
    *) usage >&2; exit 2 ;;
    esac
    shift 2
done
if [ -z "$PROGRAMS" ] || [ -z "$CONFIG" ] || [ -z "$RESULTS" ]; then
    usage >&2
    exit 2
fi
[ -e "$CONFIG" ] || fail "$CONFIG: no such file"

# m of every n frames are translated.
case $FOREGROUND in
100) N=2 M=2 ;;
90) N=10 M=9 ;;
50) N=2 M=1 ;;
10) N=10 M=1 ;;
0) N=2 M=0 ;;
*) fail "--foreground $FOREGROUND: 100, 90, 50, 10 or 0" ;;
esac

# One trial: program, then its arguments. Its output is left in trial.out and in the log.
trial() {
    local program=$PROGRAMS/$1
    shift
    [ -x "$program" ] || fail "$program: no such program"
    printf '\n%s %s\n' "$program" "$*" >>trials.log
    "$program" "$@" >trial.out 2>&1 || true
    cat trial.out >>trials.log
    # An invalid trial may be called an error too, but it is no reason to stop.
    is_invalid || ! grep 'Error:' trial.out >&2 || fail "siitperf stopped, see $RESULTS/trials.log"
    sleep "$PAUSE"
}

# Whether siitperf itself could not send in time.
is_invalid() { grep 'invalid' trial.out | grep -qv 'Input Error'; }

# What is wrong with the last trial at this rate: frames of a direction that did not come back, or an invalid trial.
defect() {
    local rate=$1 direction received
    if is_invalid; then
        printf 'invalid\n'
        return
    fi
    for direction in "${DIRECTIONS[@]}"; do
        received=$(value "$direction frames received") || fail "no count of received frames, see $RESULTS/trials.log"
        [ "$received" -eq "$((rate * DURATION))" ] || printf '%s lost %s\n' "$direction" "$((rate * DURATION - received))"
    done
}

# The number in the line that begins with these words.
value() {
    awk -v name="$1" '
        index($0, name) == 1 { split(substr($0, length(name) + 1), words, /[: ]+/); print words[2]; found = 1 }
        END { exit !found }' trial.out
}

active() { awk -v key="$1" '$1 == key && $2 != 0 { found = 1 } END { exit !found }' siitperf.conf; }

# Whether a trial at this rate brought back every frame of every direction, and was sent in time.
passes() {
    local rate=$1 direction received
    trial siitperf-tp "$SIZE" "$rate" "$DURATION" "$TIMEOUT" "$N" "$M"
    for direction in "${DIRECTIONS[@]}"; do
        received=$(value "$direction frames received") || fail "no count of received frames, see $RESULTS/trials.log"
        printf '  %s fps, %s: %s of %s\n' "$rate" "$direction" "$received" "$((rate * DURATION))"
        [ "$received" -eq "$((rate * DURATION))" ] || return 1
    done
    ! is_invalid || {
        printf '  %s fps: invalid, the tester could not send that fast\n' "$rate"
        return 1
    }
}

# Sets FOUND to the highest rate without loss, within --precision.
search() {
    local low=0 high=$((RATE + 1)) middle
    while [ $((high - low)) -gt "$PRECISION" ]; do
        middle=$(((low + high) / 2))
        if passes "$middle"; then low=$middle; else high=$middle; fi
    done
    FOUND=$low
}

# Median, 1st and 99th percentile (nearest rank) of a column of results.csv, without marked rows.
summary() {
    tail -n +2 results.csv | { grep -v ',[^,]*[a-z][^,]*$' || true; } | cut -d, -f"$1" | sort -g | awk -v name="$2" '
        { v[NR] = $1 }
        function rank(p,  r) { r = int(p * NR); if (r < p * NR) r++; return v[r < 1 ? 1 : r] }
        END { if (NR == 0) { printf "%s: no repetition without a mark\n", name; exit }
              printf "%s: median %s, 1st percentile %s, 99th percentile %s, %d repetitions\n",
              name, NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2, rank(0.01), rank(0.99), NR }'
}

# Repeats a program whose output has one line per direction and name, and reports each.
repeat_delays() {
    local program=$1 names=$2 columns=() row number column attempt mark marked=0
    shift 2
    for direction in "${DIRECTIONS[@]}"; do
        for name in $names; do columns+=("$direction $name"); done
    done
    (IFS=, && printf 'repetition,%s,mark\n' "${columns[*]}") >results.csv
    for ((number = 1; number <= REPEAT; number++)); do
        for ((attempt = 1; attempt <= ATTEMPTS; attempt++)); do
            trial "$program" "$SIZE" "$RATE" "$DURATION" "$TIMEOUT" "$N" "$M" "$@"
            mark=$(defect "$RATE" | paste -sd' ')
            [ -n "$mark" ] || break
            printf '  repetition %s, attempt %s of %s: %s\n' "$number" "$attempt" "$ATTEMPTS" "$mark"
        done
        [ -z "$mark" ] || marked=$((marked + 1))
        row=$number
        for column in "${columns[@]}"; do
            # An invalid trial may end before it has figures.
            row+=,$(value "$column") || [ -n "$mark" ] || fail "no $column, see $RESULTS/trials.log"
        done
        printf '%s,%s\n' "$row" "$mark" | tee -a results.csv
    done
    for column in "${!columns[@]}"; do summary $((column + 2)) "${columns[column]}"; done
    [ "$marked" -eq 0 ] || printf '%s of %s repetitions are marked: %s is not a rate this relay and tester carry\n' \
        "$marked" "$REPEAT" "$RATE"
}

mkdir -p "$RESULTS"
RESULTS=$(realpath "$RESULTS")
cd "$RESULTS"
# siitperf reads this name in the current directory.
cp "$CONFIG" siitperf.conf
: >trials.log
DIRECTIONS=()
! active Forward || DIRECTIONS+=(Forward)
! active Reverse || DIRECTIONS+=(Reverse)

# The programs for delays read these keys in silence and send between one pair of addresses.
if [ "$MEASUREMENT" != throughput ] && { active IP-L-var || active IP-R-var; }; then
    fail "$MEASUREMENT uses one pair of addresses, whatever $CONFIG says: give siitperf.conf"
fi

case $MEASUREMENT in
throughput)
    : "${RATE:=12019230}" "${DURATION:=60}"
    echo 'repetition,rate' >results.csv
    for ((repetition = 1; repetition <= REPEAT; repetition++)); do
        search
        printf '%s,%s\n' "$repetition" "$FOUND" | tee -a results.csv
    done
    summary 2 "frames per second and direction"
    ;;
latency)
    : "${DURATION:=120}"
    [ -n "$RATE" ] || fail "latency needs --rate"
    repeat_delays siitperf-lat 'TL WCL' $((DURATION / 2)) "$TAGS"
    ;;
pdv)
    : "${DURATION:=60}"
    [ -n "$RATE" ] || fail "pdv needs --rate"
    repeat_delays siitperf-pdv PDV 0
    ;;
*) usage >&2; exit 2 ;;
esac
