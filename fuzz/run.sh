#!/bin/sh
# run.sh WHAT BUILD [TARGET ...]: runs fuzz targets that `make` has built in BUILD/fuzz.
#
#   fuzz    libFuzzer, SECONDS a target, with its progress; new inputs go to BUILD/fuzz/corpus/TARGET
#   smoke   the same, quiet: a line a target; fails one that reaches little of the header, or is slow beside
#           yardstick.c: see floors()
#   afl     AFL++, AFL_SECONDS a target; its exit status is 0 with crashes on disk, so those are counted
#   replay  all that is committed, without any engine: as many inputs as the .hex files have lines, of at most 100,000
#           bytes a corpus, which do something; REPLAY_MS=2000 is the most that all may take (0: no limit)
#   merge   minimises what was found into fuzz/corpus/TARGET.hex, of inputs up to MERGE_LEN=160 bytes; a corpus whose
#           merge fails stays as it was
#
# Ends with `N passed, N failed, N skipped`.
set -u
what=$1
build=$2
shift 2
here=$(dirname "$0")
passed=0 failed=0
CORPUS_BYTES=100000

# What a target must reach and how fast, or it is hollow, or somebody put I/O in. Edges: some four in five of what was seen;
# calls: half. Speed: executions a second of processor time, in percent of the yardstick's on the same machine; about half
# of what was seen. A handler of the user's own may take its time.
floors() { # TARGET
    edges_least=200 calls_least=40 share_least=2
    case $1 in
    address) edges_least=250 calls_least=5 ;;
    api) edges_least=700 ;;
    both) edges_least=350 ;;
    claim | share) edges_least=430 ;;
    client) edges_least=260 calls_least=20 ;;
    conn) share_least=40 calls_least=30 ;;
    frame) calls_least=30 ;;
    handler) edges_least=100 share_least=0 calls_least=10 ;;
    poller | poller_poll) edges_least=50 calls_least=5 ;;
    pollers_agree) edges_least=600 ;;
    server) edges_least=680 share_least=12 ;;
    esac
}

# Milliseconds of processor time that the commands so far took, into $spent. In a subshell it would be those of nobody.
look_at_time() {
    times >"$log.times"
    spent=$(awk 'NR == 2 { gsub(/m/, " "); gsub(/s/, ""); printf "%d", (($1 + $3) * 60 + $2 + $4) * 1000 }' "$log.times")
}

# Hundredths of a second, into $now. BusyBox's date knows no %N.
look_at_clock() {
    read -r uptime _ </proc/uptime || uptime=$(date +%s.00)
    now=${uptime%.*}${uptime#*.}
}

# timed COMMAND...: its exit status, and its processor time in $ms, which is not 0.
timed() {
    look_at_time
    ms=$spent
    "$@"
    timed_status=$?
    look_at_time
    ms=$((spent - ms + 1))
    return $timed_status
}

# Seeds, the committed corpus and every crash ever, of those that are there. Seeds and crashes of a target are for both of
# its backends.
known() {
    for folder in "$build/fuzz/seeds/${1%_poll}" "$build/fuzz/kept/$1" "$build/fuzz/crashes/${1%_poll}"; do
        [ ! -d "$folder" ] || echo "$folder"
    done
}

verdict() { # STATUS TARGET TEXT
    word=ok
    if [ "$1" -eq 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)) word=FAIL; fi
    printf '%-4s  %-14s %s\n' "$word" "$2" "$3"
}

words() { # TARGET: the file with what is worth saying to it; DICT: to a handler of the user's own
    if [ "$1" = handler ] && [ -n "${DICT:-}" ]; then echo "$DICT"; else echo "$here/dict/$1.dict"; fi
}

engine() { # TARGET LOG SECONDS
    mkdir -p "$build/fuzz/corpus/$1" "$build/fuzz/found/$1"
    dict=
    words=$(words "$1")
    [ ! -f "$words" ] || dict="-dict=$words"
    # shellcheck disable=SC2046,SC2086 # folders without blanks, and an option that may be missing
    set -- "$build/fuzz/$1" -max_total_time="$3" -timeout=5 -max_len="${MAX_LEN:-512}" -rss_limit_mb=1024 -print_final_stats=1 $dict \
        -artifact_prefix="$build/fuzz/found/$1/" "$build/fuzz/corpus/$1" $(known "$1")
    if [ "$what" = fuzz ]; then
        {
            "$@" 2>&1
            echo $? >"$log.status"
        } | tee "$log" | grep -vE '[[:space:]](NEW|REDUCE)[[:space:]]'
        return "$(cat "$log.status")"
    else
        "$@" >"$log" 2>&1
    fi
}

executed() { # LOG
    sed -n 's/^stat::number_of_executed_units: *//p' "$1"
}

# run_yardstick: its executions a second, into $yard.
run_yardstick() {
    timed "$build/fuzz/yardstick" -seed=1 -runs=20000 -max_len=64 -print_final_stats=1 >"$log.yard" 2>&1 || return 1
    yard=$(($(executed "$log.yard") * 1000 / ms))
}

# The same executions each time, of what is committed: neither what nights have collected nor luck is measured. The
# yardstick runs right after them: a machine that others use has slow spells.
again() { # TARGET
    rm -rf "$build/fuzz/again" && mkdir -p "$build/fuzz/again"
    # shellcheck disable=SC2046 # folders without blanks
    timed "$build/fuzz/$1" -seed=1 -runs=20000 -max_total_time=10 -timeout=5 -max_len=512 -rss_limit_mb=1024 \
        -print_final_stats=1 -artifact_prefix="$build/fuzz/found/$1/" "$build/fuzz/again" $(known "$1") >"$log.again" 2>&1 ||
        return 1
    measured=$(executed "$log.again")
    speed=$((${measured:-0} * 1000 / ms))
    run_yardstick
}

fuzz_one() {
    floors "$1"
    timed engine "$1" "$log" "$seconds"
    status=$?
    runs=$(executed "$log")
    speed=$((${runs:-0} * 1000 / ms))
    edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
    pace=
    if [ "$what" = smoke ] && [ $status -eq 0 ]; then
        for _ in 1 2 3; do
            [ $((speed * 100)) -lt $((share_least * yard)) ] || break
            again "$1" || { status=1 && break; }
        done
        [ $((speed * 100)) -ge $((share_least * yard)) ] || status=1
        pace=", $((speed * 100 / yard)) % of the yardstick's (least $share_least %)"
    fi
    [ "$what" = fuzz ] || [ "${edges:-0}" -ge $edges_least ] || status=1
    verdict $status "$1" "${runs:-0} executions, $speed a second$pace, ${edges:-0} edges (least $edges_least)"
    [ $status -eq 0 ] || grep -E 'oracle:|fake kernel:|SUMMARY:|Test unit written' "$log" | sed 's/^/      | /'
}

afl_one() {
    out=$build/fuzz/afl/$1
    rm -rf "$out" && mkdir -p "$out.in" && rm -f "$out.in"/*
    for folder in $(known "$1"); do cp "$folder"/* "$out.in"/; done
    dict=
    words=$(words "$1")
    [ ! -f "$words" ] || dict="-x $words"
    # shellcheck disable=SC2086 # two words, or none
    AFL_NO_UI=1 AFL_SKIP_CPUFREQ=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 AFL_NO_AFFINITY=1 AFL_TRY_AFFINITY=1 \
        afl-fuzz -t 5000 -V "$seconds" $dict -i "$out.in" -o "$out" -- "$build/fuzz/$1.afl" >"$log" 2>&1
    status=$?
    crashes=$(find "$out" -name 'id*' -path '*/crashes/*' -o -name 'id*' -path '*/hangs/*' | wc -l)
    speed=$(sed -n 's/^execs_per_sec *: *//p' "$out/default/fuzzer_stats" 2>/dev/null)
    [ "$crashes" -eq 0 ] || status=1
    [ -n "$speed" ] || status=1
    verdict $status "$1" "${speed:-0} executions a second, $crashes crashes and hangs"
    [ $status -eq 0 ] || tail -5 "$log" | sed 's/^/      | /'
}

replay_one() {
    floors "$1"
    least=$(cat "$here/corpus/$1.hex" "$here/crashes/${1%_poll}.hex" 2>/dev/null | wc -l)
    # shellcheck disable=SC2046,SC2086 # folders without blanks, and an option that may be missing
    "$build/fuzz/$1.replay" $hash --least "$least" --calls $calls_least $(known "$1" | grep -v /seeds/) >"$log" 2>&1
    status=$?
    bytes=$(find "$build/fuzz/kept/$1" -type f -exec cat {} + 2>/dev/null | wc -c)
    figures=$(tail -n 2 "$log" | tr '\n' ' ')
    took=$(sed -n 's/^# .*; \([0-9]*\) ms$/\1/p' "$log")
    replay_ms=$((replay_ms + ${took:-0}))
    counted=$(sed -n 's/^# \([0-9]*\) inputs.*/\1/p' "$log")
    inputs=$((inputs + ${counted:-0}))
    [ "$bytes" -le $CORPUS_BYTES ] || { status=1 && echo "corpus/$1 has $bytes bytes, more than $CORPUS_BYTES" >>"$log"; }
    { [ "$bytes" -gt 0 ] && [ "${counted:-0}" -eq "$least" ]; } ||
        { status=1 && echo "${counted:-0} inputs, and the .hex files have $least" >>"$log"; }
    verdict $status "$1" "$figures"
    [ $status -eq 0 ] || tail -n 6 "$log" | sed 's/^/      | /'
}

merge_one() {
    into=$here/corpus/$1.hex
    fresh=$build/fuzz/merged/$1
    rm -rf "$fresh" && mkdir -p "$fresh" "$build/fuzz/corpus/$1"
    # shellcheck disable=SC2046 # folders without blanks
    "$build/fuzz/$1" -merge=1 -timeout=5 -max_len="${MERGE_LEN:-160}" "$fresh" $(known "$1") "$build/fuzz/corpus/$1" >"$log" 2>&1
    status=$?
    count=$(find "$fresh" -type f | wc -l)
    bytes=$(find "$fresh" -type f -exec cat {} + | wc -c)
    [ "$count" -gt 0 ] && [ "$bytes" -le $CORPUS_BYTES ] || status=1
    [ $status -ne 0 ] || { "$build/hex" pack "$fresh" >"$into.new" && mv "$into.new" "$into"; } || status=1
    verdict $status "$1" "$count inputs, $bytes bytes"
}

log=$(mktemp) || exit 1
trap 'rm -f "$log" "$log".*' EXIT
inputs=0 replay_ms=0
look_at_clock
began=$now
case $what in
fuzz) seconds=${SECONDS_EACH:-60} ;;
smoke) seconds=${FUZZ_SECONDS:-60} ;;
afl) seconds=${AFL_SECONDS:-60} ;;
esac
hash=${HASH:+--hash}
# An execution frees far less than 4 MB. A longer quarantine would find no further use after free, and costs a third of the
# time: pages that the kernel has to hand out. (AFL++ sets its own options.)
[ "$what" = afl ] || export ASAN_OPTIONS="quarantine_size_mb=4:${ASAN_OPTIONS:-}"
[ "$what" != smoke ] || run_yardstick || { cat "$log.yard" && exit 1; }
for target in "$@"; do
    case $what in
    fuzz | smoke) fuzz_one "$target" ;;
    afl) afl_one "$target" ;;
    replay) replay_one "$target" ;;
    merge) merge_one "$target" ;;
    *) echo "run.sh: $what?" >&2 && exit 2 ;;
    esac
done
if [ "$what" = replay ]; then
    look_at_clock
    echo "# $inputs inputs replayed in $(((now - began) * 10)) ms"
    # With hashes each input runs twice.
    most=$((${REPLAY_MS:-2000} * (${HASH:+1} + 1)))
    verdict $((most > 0 && replay_ms > most)) speed "$replay_ms ms of processor time (at most $most)"
fi
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
