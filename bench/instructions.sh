#!/bin/sh
# instructions.sh [-u] [BUILD]: how many instructions the header takes for each message it echoes, counted by valgrind's
# callgrind, against the number in bench/instructions.txt. More is a loss, and fewer wants to be kept: both fail until
# the file is updated, which -u does.
#
# The number does not depend on how busy the machine is, only on the compiler and its options: the file names them. What
# libraries and the system take is left out. Two runs that differ only in how many messages there were make the start
# and the end cancel out. Exit status: 0 it is equal, 1 it is not, 77 skipped, for want of that compiler or of valgrind.
set -u
here=$(dirname "$0")
update=
[ "${1:-}" != -u ] || { update=1 && shift; }
build=${1:-build}
committed=$here/instructions.txt
few=1000
many=11000

say() { echo "instructions: $*"; }

field() { sed -n "s/^$1: //p" "$committed"; }

find_tools() {
    flags=$(field flags)
    wanted=$(field compiler)
    sh "$here/../tests/tools/need.sh" valgrind || { say "no valgrind: skipped" && exit 77; }
    for cc in gcc gcc-"${wanted%%.*}"; do
        found=$($cc -dumpfullversion 2>/dev/null) || continue
        [ "$found" = "$wanted" ] && return
        [ -z "$update" ] || return
    done
    say "the committed figure is for gcc $wanted, which is not here: skipped"
    exit 77
}

folder=$(mktemp -d "${TMPDIR:-/tmp}/instructions.XXXXXX") || exit 1
server=
stop() {
    [ -z "$server" ] || kill "$server" 2>/dev/null
    [ -z "$server" ] || wait "$server" 2>/dev/null
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# count MESSAGES: a profile in MESSAGES.txt: a line of instructions and a function for each one of our own.
count() {
    valgrind -q --tool=callgrind --callgrind-out-file="$folder/$1.out" "$folder/server" -q "$folder/$1.socket" \
        >"$folder/log" 2>&1 &
    server=$!
    timeout 60 "$build/load" -m ping -s 64 -n "$1" "$folder/$1.socket" >>"$folder/log" 2>&1
    status=$?
    kill "$server"
    wait "$server" || status=$?
    server=
    [ $status -eq 0 ] || { cat "$folder/log" && say "the server failed under valgrind" && exit 1; }
    callgrind_annotate --threshold=100 --show=Ir "$folder/$1.out" |
        sed -n "s|^ *\([0-9,]*\) .* [^ ]*:\([^: ]*\) \[$folder/server\]\$|\1 \2|p" | tr -d , >"$folder/$1.txt"
}

find_tools
# shellcheck disable=SC2086 # flags are words
$cc $flags -o "$folder/server" "$here/../examples/echo_server.c" || exit 1
count $few
count $many
awk -v n=$((many - few)) '
    NR == FNR { less[$2] += $1; next }
    { more[$2] += $1 }
    END {
        for (f in more) {
            each = (more[f] - less[f]) / n
            if (each >= 0.5) { rounded = int(each + 0.5); sum += rounded; printf "%6d  %s\n", rounded, f }
        }
        printf "%6d  in all\n", sum
    }' "$folder/$few.txt" "$folder/$many.txt" | sort -k1,1nr -k2 >"$folder/figures"
now=$(awk '/  in all$/ { print $1 }' "$folder/figures")
if [ "${now:-0}" -lt 10 ]; then
    cat "$folder/figures"
    say "that cannot be: only ${now:-0} instructions a message"
    exit 1
fi

if [ -n "$update" ]; then
    {
        sed '/^compiler: /,$d' "$committed"
        echo "compiler: $($cc -dumpfullversion)"
        echo "flags: $flags"
        echo "instructions: $now"
        echo
        sed 's/  in all$/  in all, by function:/' "$folder/figures"
    } >"$folder/new" && cp "$folder/new" "$committed"
    say "now $now a message, in $committed"
    exit 0
fi
was=$(field instructions)
if [ "$now" = "$was" ]; then
    say "PASS: $now for each message echoed, as committed"
    exit 0
fi
say "FAIL: $now for each message echoed, $was committed (sh bench/instructions.sh -u takes the new figure). By function:"
sed '1,/^instructions: /d' "$committed" | sed '/^$/d' >"$folder/before"
diff "$folder/before" "$folder/figures" | grep '^[<>]'
false
