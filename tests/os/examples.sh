#!/bin/sh
# examples.sh: the programs of examples/ as somebody at a shell meets them. UDS_ECHO_BUILD is the folder they are in.
set -u
build=$(cd "${UDS_ECHO_BUILD:-build}" && pwd) || exit 1
folder=$(mktemp -d "${TMPDIR:-/tmp}/uds_echo.XXXXXX") || exit 1
cd "$folder" || exit 1
message='This is the message, This will be echoed back'
path=$folder/uds_socket
passed=0
failed=0
started= # every process that was started here, for the end

clean_up() {
    for pid in $started; do kill -KILL "$pid" 2>/dev/null; done
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

# ---- tools -----------------------------------------------------------------------------------------------------------

# $1: what should be so; the rest: a command that succeeds if it is
check() {
    what=$1
    shift
    if "$@" >check.said 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED: %s\n' "$what"
        sed 's/^/    /' check.said
    fi
}

# Waits at most ten seconds until file $1 has a line that matches $2.
await() {
    turns=0
    until grep -q "$2" "$1" 2>/dev/null; do
        turns=$((turns + 1))
        [ $turns -le 100 ] || { echo "no line '$2' in $1:" && cat "$1" && return 1; }
        sleep 0.1
    done
}

# Waits at most $2 tenths of a second until process $1, a child, has ended; its exit status is then in $status.
await_end() {
    turns=0
    while kill -0 "$1" 2>/dev/null && [ "$(cut -d ' ' -f 3 "/proc/$1/stat" 2>/dev/null)" != Z ]; do
        turns=$((turns + 1))
        [ $turns -le "$2" ] || { echo "process $1 goes on" && return 1; }
        sleep 0.1
    done
    wait "$1"
    status=$?
}

# start NAME PROGRAM ARGUMENT...: in the background, its stderr in NAME.err, its process id in $pid
start() {
    name=$1 program=$2
    shift 2
    : >"$name.err" # here, for what an earlier one said must not be taken for its own
    "$build/$program" "$@" 2>"$name.err" &
    pid=$!
    started="$started $pid"
}

# A server is there when its socket is: it appears when it can be connected to.
await_socket() {
    turns=0
    until [ -S "$1" ]; do
        turns=$((turns + 1))
        [ $turns -le 100 ] || { echo "no socket $1" && return 1; }
        sleep 0.1
    done
}

# stop SIGNAL: the server $pid ends with 0 and takes its socket with it
stops() {
    kill "-$1" "$pid" && await_end "$pid" 100 || return 1
    [ "$status" -eq 0 ] || { echo "exit status $status" && return 1; }
    [ ! -e "$path" ] || { echo "the socket is still there" && return 1; }
}

# says STATUS FILE PROGRAM ARGUMENT...: ends with that exit status, its stderr in FILE
says() {
    wanted=$1 file=$2 program=$3
    shift 3
    timeout -k 1 60 "$build/$program" "$@" 2>"$file"
    got=$?
    [ $got -eq "$wanted" ] || { echo "exit status $got, wanted $wanted" && cat "$file" && return 1; }
}

# lines FILE LINE...: the file holds exactly these
lines() {
    file=$1
    shift
    printf '%s\n' "$@" | diff - "$file"
}

has() { grep -qF -- "$2" "$1" || { echo "no '$2' in:" && cat "$1" && return 1; }; }
is_empty() { [ ! -s "$1" ] || { cat "$1" && return 1; }; }
absent() { [ ! -e "$1" ]; }
goes_on() { kill -0 "$1"; }

# ---- the conversation ------------------------------------------------------------------------------------------------

start server echo_server "$path"
check "the server starts" await server.err '^Listening'
check "the client converses" says 0 client.err echo_client "$path"
check "the client's lines" lines client.err \
    "connecting to $path" "sending [$message]" "received [$message]" 'closing socket'
check "several messages go one after another" says 0 client.err echo_client "$path" one 'and two'
check "their lines" lines client.err \
    "connecting to $path" 'sending [one]' 'received [one]' 'sending [and two]' 'received [and two]' 'closing socket'
odd=$(printf 'tab\tescape\033line\nhigh\303\244\377\\"')
check "a message that is no text" says 0 client.err echo_client "$path" "$odd"
shown=$(printf '%s\303\244%s' 'tab\tescape\x1bline\nhigh' '\xff\\"')
check "is shown escaped" lines client.err "connecting to $path" "sending [$shown]" "received [$shown]" 'closing socket'
check "an empty message" says 0 client.err echo_client "$path" ''
check "sends nothing and waits for nothing" lines client.err "connecting to $path" 'sending []' 'closing socket'
check "the server's lines" lines server.err 'starting unix domain socket server' "Listening on path: $path" \
    "received [$message]" 'received [one]' 'received [and two]' "received [$shown]"

long=$(printf '%03000d' 7)
check "a message longer than a line" says 0 client.err echo_client "$path" "$long"
piece=$(printf '%01024d' 0)
check "is shown in pieces" lines client.err "connecting to $path" "sending [$long]" \
    "received [$piece]" "received [$piece]" "received [$(printf '%0952d' 7)]" 'closing socket'

for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    timeout -k 1 60 "$build/echo_client" "$path" "number $i" "again $i" 2>"many.$i" &
    clients="${clients:-} $!"
done
all_right() {
    # shellcheck disable=SC2086 # process ids
    for client in $clients; do wait "$client" || { echo "exit status $?" && return 1; }; done
    for i in 1 7 20; do lines "many.$i" "connecting to $path" "sending [number $i]" "received [number $i]" \
        "sending [again $i]" "received [again $i]" 'closing socket' || return 1; done
}
check "twenty clients at once" all_right

# ---- the path --------------------------------------------------------------------------------------------------------

check "a live server's path is refused" says 1 second.err echo_server "$path"
check "its process is named" has second.err "$pid"
check "it goes on" says 0 client.err echo_client "$path" still
check "SIGTERM: exit status 0, no socket" stops TERM

check "no server: exit status 1" says 1 client.err echo_client "$path"
check "the client says where it tried" has client.err "connecting to $path"
check "and what is wrong" has client.err 'echo_client: '
check "and closes nothing" sh -c '! grep -q "closing socket" client.err'

start server echo_server "$path"
check "a server to be killed" await server.err '^Listening'
kill -KILL "$pid"
wait "$pid" 2>/dev/null
check "a killed server leaves its socket" test -S "$path"
start server echo_server "$path"
check "the next one starts over it" await server.err '^Listening'
check "and serves" says 0 client.err echo_client "$path"
check "SIGINT: exit status 0, no socket" stops INT

printf 'kept\000as it is\n' >file
cp file copy
check "a regular file is refused" says 1 file.err echo_server file
check "with a word about it" has file.err 'not a socket'
check "and left as it is" cmp file copy
check "an empty path is refused" says 1 client.err echo_server ''
check "with a word about it" has client.err 'it must not be empty'
check "by the client too" says 1 client.err echo_client ''
check "a name that fits no address is refused" says 1 client.err echo_server "$folder/$(printf '%0250d' 0)"
check "with a word about it" has client.err 'too long'
check "by the client too" says 1 client.err echo_client "$folder/$(printf '%0250d' 0)"
check "a missing folder is refused" says 1 client.err echo_server "$folder/missing/uds_socket"
check "with a word about it" has client.err 'no such file or directory'
nothing_more() { test -z "$(find . -name '*~*' -o -type s)"; }
check "no refused start leaves a file" nothing_more

deep=$folder/$(printf '%0100d' 1)/$(printf '%0100d' 2)
mkdir -p "$deep"
kept=$path
path=$deep/uds_socket
start server echo_server "$path"
check "a long path" await server.err '^Listening'
check "can be talked to" says 0 client.err echo_client "$path"
check "and is removed" stops TERM
path=$kept

start server echo_server
check "the default path" await server.err '^Listening on path: ./uds_socket$'
check "is the client's too" says 0 client.err echo_client
check "its lines" lines client.err 'connecting to ./uds_socket' \
    "sending [$message]" "received [$message]" 'closing socket'
check "it stops" stops TERM

# ---- arguments -------------------------------------------------------------------------------------------------------

for arguments in 'echo_server -x' 'echo_server a b' 'echo_server -q a b' 'echo_client -x' handler 'handler a b' \
    http 'http a b' worker 'worker a b' own_loop 'own_loop -x' threads 'threads a 0' 'threads a b c' activated; do
    # shellcheck disable=SC2086 # program and arguments
    check "$arguments: exit status 2" says 2 usage.err $arguments
    check "$arguments: usage" has usage.err 'usage: '
done
for program in echo_server echo_client; do
    check "$program --help: exit status 0" says 0 usage.err $program --help
    check "$program -h: exit status 0" says 0 usage.err $program -h
    "$build/$program" -h >usage.out
    check "$program -h: on stdout" has usage.out "usage: $program"
done

# ---- quiet, and signals ----------------------------------------------------------------------------------------------

start server echo_server -q "$path"
check "-q" await_socket "$path"
check "-q echoes" says 0 client.err echo_client "$path" "$message" "$long"
check "-q stops" stops TERM
check "-q says nothing" is_empty server.err
check "-q names an error" says 1 server.err echo_server -q file
check "in a line" has server.err 'echo_server: '

# A client that reads no more: what it says goes to a pipe that nobody empties, and it is long, for every byte of the
# message takes four characters. The server, which sends a little at a time, then has answers for which there is no room
# left, so a drain takes its time.
start server echo_server "$path"
check "a server for a client that stalls" await server.err '^Listening'
mkfifo pipe
exec 3<>pipe
"$build/echo_client" "$path" "$(head -c 130000 /dev/zero | tr '\0' '\1')" 2>pipe 3>&- &
client=$!
started="$started $client"
check "the client sends" sh -c 'timeout 60 head -c 520050 <&3 >/dev/null'
sleep 0.5
kill -TERM "$pid"
sleep 0.5
check "a drain waits for a client that stalls" goes_on "$pid"
check "a second signal stops it now" stops TERM
kill -KILL "$client"
wait "$client" 2>/dev/null
exec 3>&-

# Until exec the child is still this shell, whose own trap would take the signal and forget it.
await_exec() {
    for _ in $(seq 2000); do
        [ "$(cat "/proc/$1/comm" 2>/dev/null)" != "$2" ] || return 0
        sleep 0.001
    done
    echo "process $1 never became $2"
    return 1
}

# Whenever a signal comes, no socket stays and nothing crashes. Very early it is death by that signal, without a socket.
ends_well() {
    for pause in 0 0 0 0.001 0.001 0.002 0.002 0.003 0.004 0.005 0.01 0.02; do
        start early echo_server -q "$path"
        await_exec "$pid" echo_server || return 1
        sleep $pause
        kill -TERM "$pid"
        kill -INT "$pid" 2>/dev/null
        kill -TERM "$pid" 2>/dev/null
        await_end "$pid" 100 || return 1
        case $status in
        0 | 143 | 130) ;;
        *) echo "exit status $status after $pause s" && cat early.err && return 1 ;;
        esac
        absent "$path" || { echo "a socket stayed after $pause s" && return 1; }
    done
}
check "signals at any moment" ends_well

# ---- handler, worker, own_loop, threads -------------------------------------------------------------------------------

start handler handler "$path"
check "handler starts" await_socket "$path"
# The client waits for as many bytes as it sent: where the answer is shorter, the end that follows "bye" is an error.
check "handler: a short answer is an error" says 1 client.err echo_client "$path" "$(printf 'upper ab\nbye\n.')"
check "what came is shown" has client.err 'received [AB\nbye\n]'
check "then the socket is closed" test "$(tail -n 1 client.err)" = 'closing socket'
nl='
'
check "handler: other commands" says 0 client.err echo_client "$path" "what$nl" "wait 70000$nl"
check "are explained" has client.err 'received [error]'
start later echo_client "$path" "wait 01500$nl" # as long as the answer "waited 1500"
later=$pid
check "handler: an answer that comes later" await later.err '^sending'
check "meanwhile others are served" says 0 client.err echo_client "$path" "what$nl"
check "while it is waited for" goes_on "$later"
check "it comes" await_end "$later" 50
check "exit status 0" test "$status" -eq 0
check "as it should" has later.err 'received [waited 1500'
start handler2 handler "$path.2"
handler=$pid
check "another handler" await_socket "$path.2"
start later echo_client "$path.2" "wait 01000$nl"
later=$pid
check "a later answer" await later.err '^sending'
sleep 0.2
kill -TERM "$handler"
check "a drain waits for it" await_end "$later" 50
check "it is complete" test "$status" -eq 0
check "then handler stops" await_end "$handler" 50
check "with exit status 0" test "$status" -eq 0
check "without its socket" absent "$path.2"
pid=$(echo "$started" | awk '{ print $(NF - 3) }')
check "the first handler stops" stops TERM

start worker worker "$path.w"
worker=$pid
check "worker starts" await_socket "$path.w"
check "worker: an answer of another thread" says 0 client.err echo_client "$path.w" "104729$nl" "2147483647$nl"
check "each to its question" has client.err 'received [2147483647'
number=99999999999999999999999999999 # too large, and as long as its answer, for the client waits for an echo
check "worker: what is no number" says 0 client.err echo_client "$path.w" "$number$nl"
check "is an error, not an answer" has client.err 'received [error: a number of at least 2\n]'
start questions echo_client "$path.w" "91${nl}9973$nl" # its answers are shorter, so it waits for more until a drain ends it
check "worker: several questions in one" await questions.err '^sending'
sleep 0.2
kill -TERM "$worker"
check "a drain ends its client" await_end "$pid" 50
check "in the order in which they were asked" has questions.err 'received [7\n9973\n]'
check "worker stops" await_end "$worker" 50
check "with exit status 0" test "$status" -eq 0
check "without its socket" absent "$path.w"
start worker2 worker "$path.w"
worker=$pid
check "another worker" await_socket "$path.w"
start questions2 echo_client "$path.w" "18446744073709551557$nl" # a prime: ten seconds of work
check "worker: a long question" await questions2.err '^sending'
kill -TERM "$worker"
check "worker stops when drain_ms is over, and gives the question up" await_end "$worker" 80
check "with exit status 0" test "$status" -eq 0

start own_loop own_loop "$path"
check "own_loop starts" await_socket "$path"
check "own_loop echoes" says 0 client.err echo_client "$path" one two
check "the lines" lines client.err "connecting to $path" 'sending [one]' 'received [one]' \
    'sending [two]' 'received [two]' 'closing socket'
check "own_loop's timer goes" await own_loop.err '^tick: 1 connections so far, 2 messages$'
check "own_loop stops" stops TERM

start threads threads "$path" 3
check "threads starts" await threads.err '^3 threads serve'
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
    says 0 "threads.$i" echo_client "$path" "number $i" || echo "client $i failed"
done >threads.said
check "threads echoes" is_empty threads.said
check "threads stops" stops TERM
check "every connection was somebody's" test \
    "$(awk '/^thread [0-9]/ { c += $3; m += $5; n++ } END { print n, c, m }' threads.err)" = '3 12 12'

echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
