#!/bin/sh
# table.sh FOLDER: the table of goals, from raw.tsv, results.tsv and size.txt in FOLDER, as Markdown. A ratio is the median
# over the rounds of one comparison; beside it are the least and the greatest of a single round.
set -u
here=$(dirname "$0")
raw=$1/raw.tsv
results=$1/results.tsv
peers="libuv libuv_expert libevent node asyncio rust socat seed"

# median WORK SERVER WHAT [COLUMN]: empty where it was not measured.
median() {
    awk -F '\t' -v w="$1" -v s="$2" -v k="$3" -v c="${4:-4}" '$1 == w && $2 == s && $3 == k { print $c }' "$results"
}

# ratio WORK OURS THEIRS WHAT: "median least greatest rounds", or nothing.
ratio() { awk -v work="$1" -v ours="$2" -v theirs="$3" -v what="$4" -f "$here/ratio.awk" "$raw"; }

# best WORK WHAT HOW SERVER ...: the name of the one with the most, or the least.
best() {
    best_work=$1 best_what=$2 best_how=$3
    shift 3
    awk -F '\t' -v w="$best_work" -v k="$best_what" -v how="$best_how" -v names=" $* " '
        $1 == w && $3 == k && index(names, " " $2 " ") && (name == "" || (how == "most" ? $4 > x : $4 < x)) {
            x = $4; name = $2 }
        END { print name }' "$results"
}

# shown VALUE DIVISOR UNIT
shown() {
    [ -n "$1" ] || { echo "not measured" && return; }
    awk -v x="$1" -v d="$2" -v unit="$3" 'BEGIN {
        x /= d; printf x < 10 ? "%.2f %s\n" : x < 100 ? "%.1f %s\n" : "%.0f %s\n", x, unit }'
}

# named WORK SERVER WHAT DIVISOR UNIT: the server's name and its figure.
named() {
    if [ -n "$2" ]; then echo "$2 $(shown "$(median "$1" "$2" "$3")" "$4" "$5")"
    else echo "none here"; fi
}

# A gate is "THEIRS HOW LIMIT": ours over theirs at least or at most that. Both functions set met to no where it is not.
gate() {
    # shellcheck disable=SC2046 # four words
    set -- "$1" "$2" "$3" $(ratio "$work" "$ours" "$1" "$what")
    [ $# -gt 3 ] || return 0
    ratios="$ratios${ratios:+, }$4 × $1 ($5 .. $6)"
    judge "$4" "$2" "$3"
}

judge() {
    awk -v x="$1" -v how="$2" -v limit="$3" 'BEGIN { exit !(how == "least" ? x >= limit : x <= limit) }' && return
    met=no
}

# row TITLE WORK OURS WHAT HOW DIVISOR UNIT FLOOR 'GOAL' GATE ...: HOW: whether the most or the least is best.
row() {
    title=$1 work=$2 ours=$3 what=$4 how=$5 divisor=$6 unit=$7 floor=$8 goal=$9
    shift 9
    # shellcheck disable=SC2086 # a list of words
    peer=$(best "$work" "$what" "$how" $peers)
    ratios=
    met=yes
    if [ -z "$(median "$work" "$ours" "$what")" ]; then
        met="not measured"
        ratios=-
    else
        # shellcheck disable=SC2086 # a gate is three words
        for each in "$@"; do gate $each; done
        [ -z "$peer" ] || case " $ratios" in
        *" $peer ("*) ;;
        *) ratios="$ratios, $(ratio "$work" "$ours" "$peer" "$what" | cut -d ' ' -f 1) × $peer" ;;
        esac
    fi
    echo "| $title | $(named "$work" "$floor" "$what" "$divisor" "$unit") |" \
        "$(named "$work" "$peer" "$what" "$divisor" "$unit") |" \
        "$(shown "$(median "$work" "$ours" "$what")" "$divisor" "$unit") | $ratios | $goal | $met |"
}

# The cost of a message with many connections, over that with 100, of one server.
growth() { ratio scale "$1:many" "$1:100" cpu; }

row_scale() {
    met=yes
    floor=$(growth epoll)
    own=$(growth ours)
    least=$(for peer in libuv_expert libevent; do echo "$(growth $peer) $peer"; done | awk 'NF == 5' | sort -n | head -n 1)
    judge "${own%% *}" most 1.5
    many=$(awk -F '\t' '$1 == "idle" && $4 == "connections" { print $5; exit }' "$raw")
    echo "| ${many:-many} connections, all active: server CPU a message, over that at 100 | epoll ${floor%% *} |" \
        "${least##* } ${least%% *} | ${own%% *} | $(echo "$own" | awk '{ print $2 " .. " $3 }') | ≤ 1.5 | $met |"
}

row_idle() {
    own=$(median idle ours memory)
    peer=$(best idle memory least libuv libuv_expert libevent node asyncio)
    met=yes
    judge "${own:-999999}" most 128
    echo "| memory an idle connection, user space | $(named idle epoll memory 1 B) | $(named idle "$peer" memory 1 B) |" \
        "$(shown "$own" 1 B) | - | ≤ 128 B | $met |"
}

# The greatest growth of all rounds counts.
row_flood() {
    met=yes
    grown=$(median flood ours grown 6)
    slower=$(median flood ours p99-ratio)
    judge "${grown:-999999}" most 1024
    judge "${slower:-999999}" most 3
    theirs=
    for peer in libuv libuv_expert libevent node asyncio rust; do
        g=$(median flood $peer grown 6)
        [ -z "$g" ] || theirs="$theirs${theirs:+, }$peer +$g KiB, p99 × $(median flood $peer p99-ratio)"
    done
    echo "| a client that writes for ever and never reads, 0.5 s: server's memory, others' p99 |" \
        "epoll +$(median flood epoll grown 6) KiB, p99 × $(median flood epoll p99-ratio) | ${theirs:-none here} |" \
        "+$grown KiB, p99 × $slower | - | ≤ 1,024 KiB, p99 ≤ 3 × | $met |"
}

row_shares() {
    most=$(median shares ours largest)
    met=yes
    judge "${most:-999999}" most 1.5
    echo "| 4 servers on 4 threads, 256 connections on one listener: largest share | - | - | ${most:-not measured} × mean |" \
        "- | ≤ 1.5 × mean | $met |"
}

row_size() {
    line=$(tail -n 1 "$raw.size" 2>/dev/null || tail -n 1 "${raw%raw.tsv}size.txt")
    verdict=$(echo "$line" | awk '{ print $2 == "PASS:" ? "yes" : "no" }')
    echo "| object code, -Os; a compile | - | - | $(echo "$line" | awk '{ print $4 " B; " $10 " ms" }') | - |" \
        "≤ 32,768 B; ≤ 1,000 ms | $verdict |"
}

echo "| work | floor | best peer | ours | ours over theirs: median (least .. greatest round) | goal | met |"
echo "|---|---|---|---|---|---|---|"
row "round trip, 64 B, one client, one core" ping ours p50 least 1 µs epoll "≤ 1.05 × epoll" "epoll most 1.05" \
    "blocking most 999"
row "round trip, 64 B, two cores, busy-poll on both sides" spin ours_spin p50 least 1 µs spin \
    "≤ 1.2 × spin floor, ≤ 0.2 × best peer" "spin most 1.2" "$(best spin p50 least libuv libuv_expert rust) most 0.2"
row "64 connections, 64 B" c64 ours rate most 1000 k/s epoll "≥ 0.95 × epoll and expert libuv" "epoll least 0.95" \
    "libuv_expert least 0.95"
row "1,000 connections, 64 B" c1000 ours rate most 1000 k/s epoll "≥ 0.95 × epoll and expert libuv" \
    "epoll least 0.95" "libuv_expert least 0.95"
row "64 connections, 16 KiB" c64_16k ours rate most 1000 k/s epoll "≥ 0.95 × epoll and expert libuv" \
    "epoll least 0.95" "libuv_expert least 0.95"
row "bulk, one connection, 64 KiB writes" bulk ours rate most 1000 GB/s blocking "≥ 0.95 × blocking" \
    "blocking least 0.95" "epoll least 0"
peers="libuv libuv_expert libevent node asyncio rust seed" # socat's work is done by children, which are not seen
row "server CPU for each GB echoed" bulk ours cpu least 1 s blocking "≤ 1.05 × blocking (it copies)" \
    "blocking most 1.05" "splice most 999"
peers="$peers socat"
row "connect, one echo, close" connect ours rate most 1000 k/s epoll "≥ 0.95 × epoll" "epoll least 0.95"
row_scale
row_idle
row_flood
row_size
row_shares
echo
awk -F '\t' '$4 == "failed" { print "- **" $3 " failed** at " $1 ", and its figures there are of the rounds before: " $5; n++ }
    END { if (!n) print "No server died, fell silent or lost a byte in this run." }' "$raw"
