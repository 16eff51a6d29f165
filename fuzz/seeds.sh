#!/bin/sh
# seeds.sh FOLDER: writes a few inputs for each target into FOLDER/TARGET, from words instead of bytes. They begin where a
# person would begin - a plain echo, a full window, a half-close, an eviction, a stale path - and the fuzzers go on from
# there. What a word stands for is the switch in the target's act().
set -eu
to=$1
target='' what=''

# Bytes given as decimal numbers.
bytes() {
    for number in "$@"; do
        # shellcheck disable=SC2059 # the format is the byte
        printf "\\$(printf %03o "$number")"
    done
}

# seed TARGET NAME WORD ...: numbers are bytes as they are, other words are looked up below.
seed() {
    target=$1 what=$to/$1/$2
    shift 2
    mkdir -p "$to/$target"
    for word in "$@"; do
        case $word in
        [0-9]*) bytes "$word" ;;
        *) "${target}_word" "${word%%:*}" "${word#*:}" ;;
        esac
    done >"$what"
}

unknown() { echo "seeds.sh: $what: $1?" >&2 && exit 1; }

server_word() { # two bytes an action: what, with
    case $1 in
    step) bytes 0 0 ;;
    dial) bytes 3 0 ;;
    say) bytes 4 "$2" ;; # with % 6: who, with % 61: how much
    hear) bytes 6 "$2" ;;
    half-close) bytes 8 "$2" ;;
    leave) bytes 9 $((128 + $2)) ;;
    pay) bytes 10 "$2" ;;
    push) bytes 11 "$2" ;;
    close) bytes 12 "$2" ;;
    sleep) bytes 13 "$2" ;;
    drain) bytes 14 255 ;;
    now) bytes 14 254 ;;
    fail) bytes 15 "$2" ;;
    manner) bytes 9 $((8 * $2)) ;; # what handlers do from now on: the switch in by_manner()
    wake) bytes 9 3 ;;
    wait) bytes 9 $((4 + 8 * $2)) ;; # so many times 20 ms
    child) bytes 9 5 ;;
    urge) bytes 9 6 ;;
    push-all) bytes 9 7 ;;
    *) unknown "$1" ;;
    esac
}

share_word() { # two bytes an action: what, with
    case $1 in
    step) bytes 0 "$2" ;; # with % 3: who
    dial) bytes 3 0 ;;
    leave) bytes 4 $((128 + $2)) ;;
    sleep) bytes 4 "$2" ;;
    drain) bytes 5 $((64 + $2)) ;; # 2 is the first
    now) bytes 5 $((192 + $2)) ;;
    close) bytes 5 $((80 + $2)) ;; # 1 is the first
    start) bytes 6 "$2" ;;
    fail) bytes 7 "$2" ;;
    *) unknown "$1" ;;
    esac
}

conn_word() { # a byte an action: what in the low three bits, how much above
    case $1 in
    step) bytes 0 ;;
    say) bytes $((1 + 8 * $2)) ;;
    hear) bytes $((2 + 8 * $2)) ;;
    arrive) bytes $((3 + 8 * $2)) ;;
    drain) bytes $((4 + 8 * $2)) ;;
    sleep) bytes $((5 + 8 * $2)) ;;
    half-close) bytes 253 ;;
    fail) bytes $((6 + 8 * $2)) ;;
    *) unknown "$1" ;;
    esac
}

poller_word() { # two bytes an action: what, with % 12: at which place
    case $1 in
    wait) bytes 0 0 ;;
    next) bytes 1 0 ;;
    all) bytes 2 0 ;;
    socket) bytes 3 "$2" ;;
    counter) bytes 4 "$2" ;;
    read) bytes 5 $((96 + $2)) ;;  # watch for input
    write) bytes 5 $((48 + $2)) ;; # for input and output
    off) bytes 5 "$2" ;;
    leave) bytes 6 "$2" ;;
    arrive) bytes 7 "$2" ;;
    hang-up) bytes 9 $((132 + $2)) ;;
    *) unknown "$1" ;;
    esac
}

pollers_agree_word() { # two bytes an action: what, with % 4: who
    case $1 in
    dial) bytes 0 "$2" ;;
    say) bytes 2 "$2" ;;
    hear) bytes 4 "$2" ;;
    half-close) bytes 6 "$2" ;;
    sleep) bytes 7 "$2" ;;
    drain) bytes 8 255 ;;
    fail) bytes 9 "$2" ;;
    *) unknown "$1" ;;
    esac
}

client_word() { # four bytes a call of the client's; a byte for what the server does
    case $1 in
    open) bytes 1 0 9 0 ;;
    exchange) bytes 2 "$2" "$2" 1 ;;
    finish) bytes 5 0 0 0 ;;
    call) bytes 7 "$2" 200 1 ;;
    accept) bytes 0 ;;
    says) bytes $((1 + 8 * $2)) ;;
    hears) bytes $((3 + 8 * $2)) ;;
    half-closes) bytes 13 ;;
    hangs-up) bytes 246 ;;
    interrupts) bytes 174 ;;
    *) unknown "$1" ;;
    esac
}

both_word() { # three bytes an action: what, who, with
    case $1 in
    step) bytes 0 0 0 ;;
    dial) bytes 1 "$2" 100 ;;
    go-on) bytes 3 "$2" 50 ;;
    call) bytes 4 200 "$2" ;;
    fail) bytes 7 "$2" 1 ;;
    *) unknown "$1" ;;
    esac
}

claim_word() { # two bytes an action: what, with
    case $1 in
    start) bytes 0 "$2" ;;
    stop) bytes 2 0 ;;
    at-path) bytes 3 $((128 + $2)) ;; # 1 file, 2 folder, 3 FIFO, 4 link, 5 stale, 6 live, 7 bound
    at-name) bytes 3 "$2" ;;          # / 8: which name, % 8: what
    die) bytes 5 "$2" ;;
    locked) bytes 6 1 ;;
    no-exchange) bytes 6 2 ;;
    search-only) bytes 6 224 ;;
    rival) bytes "$((7 + 10 * 14))" "$2" ;;   # when; somebody live
    overtaken) bytes "$((1 + 10 * $2))" 65 ;; # % 8: by what, / 8: where
    overtaken-in-place) bytes "$((1 + 10 * $2))" 78 ;; # over a stale socket, without renameat2
    crash) bytes 8 "$2" ;;
    fail) bytes 9 "$2" ;;
    late) bytes 3 $((128 + 16 + 5)) ;;
    shut) bytes 3 $((128 + 32 + 6)) ;;
    successor) bytes 3 $((128 + 8 + 6)) ;;
    *) unknown "$1" ;;
    esac
}

address_word() {
    case $1 in
    text) printf %s "$2" ;;
    *) unknown "$1" ;;
    esac
}

api_word() {
    case $1 in
    open) bytes 3 195 0 ;;
    step) bytes 0 0 ;;
    dial) bytes 12 1 ;;
    say) bytes 12 80 ;;
    run) bytes 5 ;;
    close) bytes 4 1 ;;
    ask) bytes 8 ;;
    call) bytes 11 163 ;;
    *) unknown "$1" ;;
    esac
}

frame_word() { # two bytes an action; then the peer's bytes
    case $1 in
    step) bytes 0 0 ;;
    say) bytes 1 "$2" ;;
    hear) bytes 2 "$2" ;;
    byte) bytes 5 0 ;;
    text) printf '%s\n' "$2" ;;
    *) unknown "$1" ;;
    esac
}

handler_word() { # a byte that says who, a length, so many bytes
    case $1 in
    line) bytes 0 $((${#2} + 1)) && printf '%s\n' "$2" ;;
    part) bytes 0 "${#2}" && printf %s "$2" ;;
    hear) bytes 15 ;;
    wait) bytes 18 ;;
    leave) bytes 21 ;;
    *) unknown "$1" ;;
    esac
}

# The first numbers are sizes and limits, see LLVMFuzzerTestOneInput() of each.
seed server echo 40 3 0 0 0 100 0 0 dial step say:6 step hear:60
seed server full-window 8 1 1 0 0 4 0 0 dial step say:60 step step say:60 step hear:6 step hear:60 step
seed server evicted 40 65 0 1 0 100 1 0 dial dial dial step say:2 step sleep:20 step
seed server drain 40 3 0 0 2 100 4 0 dial dial step say:0 say:1 drain step step hear:0 hear:1
seed server late-and-idle 20 3 0 9 0 0 0 3 dial step say:12 step wait:15 wait:15 pay:0 step
seed server long-queue 8 0 0 0 8 255 0 2 dial dial say:60 say:60 say:60 step step step
seed server patient-and-urgent 40 1 0 0 16 0 0 1 dial dial say:6 step urge step say:7 wake step hear:60
seed server small-pool 0 67 1 0 0 0 0 7 dial dial dial step say:6 say:7 say:8 step step push-all hear:60 step
seed server in-a-child 40 3 0 0 4 0 0 8 dial step say:6 step child child step
seed server one-after-another 40 0 0 0 24 64 0 1 dial dial dial step say:0 say:1 say:2 step drain step step
seed server framed-and-failing 20 2 33 0 1 30 9 0 dial step say:60 fail:5 step half-close:0 step pay:0 step
seed server pushed-and-closed 20 3 0 0 0 9 2 0 dial step push:40 push:40 close:64 step hear:60 leave:0 step

seed conn echo 100 20 0 say:4 step hear:9 half-close step
seed conn tiny 0 0 0 say:9 step hear:0 step say:9 step hear:0 step half-close
seed conn in-flight 228 20 0 say:9 step arrive:2 step arrive:9 step drain:3 hear:9 half-close step drain:9
seed conn failing 100 20 0 step fail:2 say:4 step fail:17 hear:9 step
seed conn idle 100 20 5 say:4 step sleep:20 step sleep:20 step

seed poller stale socket:0 counter:1 read:0 read:1 arrive:0 wait next leave:1 counter:1 read:1 all wait all
seed poller hang-up socket:0 write:0 hang-up:0 wait all off:0 wait all leave:0

seed pollers_agree echo 100 20 3 0 dial:0 say:40 hear:80 half-close:0 hear:80
seed pollers_agree evicted 100 20 64 0 dial:0 dial:1 dial:2 say:41 hear:81 drain
seed pollers_agree failing 20 8 3 1 dial:0 fail:0 say:80 fail:1 say:80 sleep:200

seed client exchange 60 2 open exchange:50 finish accept hears:20 says:20 hears:20 says:20 half-closes
seed client call 10 0 call:60 accept hears:9 says:31 interrupts hears:31 half-closes
seed client hung-up 60 1 open exchange:90 accept says:3 hangs-up

seed both talk 50 20 2 0 dial:0 dial:1 go-on:0 step go-on:1 call:80
seed both one-place 50 20 0 0 dial:0 dial:1 go-on:0 step go-on:1 fail:9 call:80

seed claim plain start:0 stop start:4 stop
seed claim stale at-path:5 start:0 stop at-path:5 start:4 stop at-path:5 start:2
seed claim refused at-path:1 start:0 at-path:0 at-path:4 start:0 at-path:0 at-path:6 start:0 die:0 start:0
seed claim crash crash:25 start:0 crash:40 start:0 start:0 stop
seed claim crash-late at-path:5 crash:60 start:0 at-path:5 start:0 stop
seed claim at-the-path late:0 start:0 stop shut:0 start:0 start:0 stop
seed claim succeeded start:0 successor:0 stop start:0
seed claim rival at-path:5 rival:6 start:0 stop rival:2 start:0 stop
seed claim overtaken overtaken:1 at-path:5 overtaken:14 start:0 stop
seed claim in-place overtaken-in-place:14 stop overtaken-in-place:7 stop overtaken-in-place:22
seed claim odd-folders locked at-path:5 start:0 no-exchange start:0 stop search-only start:0 stop fail:9 start:0

for length in 0 1 97 100 101 102 103 104 105 106 107 200 250 251; do
    seed address "stretched-$length" "$length" 3 text:/w/
done
seed address relative 3 3 text:folder/./../folder//s
seed address escapes 9 0 text:"$(printf 'a\nb\tc\\d\001\177\302\205\303\244\360\237\230\200\355\240\200\377')"
bytes 0 3 47 119 47 115 0 120 >"$to/address/nul"

seed api serve open dial step say step run close
seed api ask ask call open call step ask close close

seed share turns 0 255 dial dial step:0 step:1 step:2 step:0 leave:0 step:0 close:1 dial step:1
seed share full 0 0 dial dial dial dial step:0 step:1 step:2 step:0 leave:0 step:0
seed share given 1 85 dial dial step:0 drain:2 step:0 dial step:1 start:0 now:1 step:0
seed share alone 2 63 dial dial dial dial dial dial dial step:0 step:0 step:0 close:1

seed frame lengths 100 0 20 4 step say:9 step byte byte text:"$(printf '\003abc\001')"
seed frame lines 100 1 20 5 step say:3 step byte say:9 step text:one text:two text:three
seed frame too-long 100 1 4 6 step say:20 step text:longer-than-that

seed handler lines 255 0 line:'upper hello' line:'wait 50' wait hear line:bye hear
seed handler pieces 1 0 part:'upp' part:'er he' line:llo line:'wait 70000' leave
