#!/usr/bin/env bash
# Runs siitperf by the book: repeated trials, and the median with the 1st and 99th percentile at the end.
set -euo pipefail

usage() {
    cat <<-TEXT
	usage: measure.sh throughput|latency|pdv --programs DIR --config FILE --results DIR [options]

	  --programs DIR      where siitperf-tp, siitperf-lat and siitperf-pdv are
	  --config FILE       siitperf.conf or siitperf-many.conf, edited for the tester
	  --results DIR       created; gets a copy of the configuration, every output, and results.csv
	  --rate N            throughput: the highest rate to try (default 12019230, 84-byte frames at 10 Gbit/s);
	                      latency and pdv: the rate to run at, the throughput measured before
	  --size N            frame on the IPv6 side, 84 to 1518 (default 84)
	  --foreground N      per cent of frames to translate: 100, 90, 50, 10 or 0 (default 100)
	  --precision N       throughput: end of the search, in frames per second (default 1000)
	  --repeat N          repetitions (default 20)
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
PROGRAMS='' CONFIG='' RESULTS='' RATE='' SIZE=84 FOREGROUND=100 PRECISION=1000 REPEAT=20 DURATION='' PAUSE=10
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
    ! grep 'Error:' trial.out >&2 || fail "siitperf stopped, see $RESULTS/trials.log"
    sleep "$PAUSE"
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
    ! grep -q invalid trial.out || {
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

# Median, 1st and 99th percentile (nearest rank) of a column of results.csv.
summary() {
    cut -d, -f"$1" results.csv | tail -n +2 | sort -g | awk -v name="$2" '
        { v[NR] = $1 }
        function rank(p,  r) { r = int(p * NR); if (r < p * NR) r++; return v[r < 1 ? 1 : r] }
        END { printf "%s: median %s, 1st percentile %s, 99th percentile %s, %d repetitions\n",
              name, NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2, rank(0.01), rank(0.99), NR }'
}

# Repeats a program whose output has one line per direction and name, and reports each.
repeat_delays() {
    local program=$1 names=$2 columns=() row number column
    shift 2
    for direction in "${DIRECTIONS[@]}"; do
        for name in $names; do columns+=("$direction $name"); done
    done
    (IFS=, && printf 'repetition,%s\n' "${columns[*]}") >results.csv
    for ((number = 1; number <= REPEAT; number++)); do
        trial "$program" "$SIZE" "$RATE" "$DURATION" "$TIMEOUT" "$N" "$M" "$@"
        row=$number
        for column in "${columns[@]}"; do
            row+=,$(value "$column") || fail "no $column, see $RESULTS/trials.log"
        done
        printf '%s\n' "$row" | tee -a results.csv
    done
    for column in "${!columns[@]}"; do summary $((column + 2)) "${columns[column]}"; done
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
