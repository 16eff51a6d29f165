#!/bin/sh
# A server, a client, one message, and what both sides say. Exit status 0 only if the echo was right and the server
# removed its socket.
#
#     sh examples/demo.sh [FOLDER OF THE PROGRAMS]
set -u
build=${1:-build}
message='This is the message, This will be echoed back'
folder=$(mktemp -d "${TMPDIR:-/tmp}/uds_echo.XXXXXX") || exit 1
path=$folder/uds_socket
server=
client=

# Whatever happens, nothing that was started here stays.
clean_up() {
    for pid in $server $client; do kill -KILL "$pid" 2>/dev/null; done
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

die() {
    echo "demo: $*"
    sed 's/^/server | /' "$folder/server" 2>/dev/null
    sed 's/^/client | /' "$folder/client" 2>/dev/null
    exit 1
}

"$build/echo_server" "$path" 2>"$folder/server" &
server=$!
tries=0
until grep -q '^Listening' "$folder/server"; do
    tries=$((tries + 1))
    if [ "$tries" -gt 100 ] || ! kill -0 "$server" 2>/dev/null; then die "the server did not start"; fi
    sleep 0.1
done

"$build/echo_client" "$path" "$message" 2>"$folder/client" &
client=$!
wait "$client" || die "the client failed"
client=

kill -TERM "$server"
wait "$server" || die "the server failed"
server=

sed 's/^/server | /' "$folder/server"
sed 's/^/client | /' "$folder/client"

printf '%s\n' "connecting to $path" "sending [$message]" "received [$message]" 'closing socket' >"$folder/expected"
cmp -s "$folder/expected" "$folder/client" || die "the client said something else"
printf '%s\n' 'starting unix domain socket server' "Listening on path: $path" "received [$message]" >"$folder/expected"
cmp -s "$folder/expected" "$folder/server" || die "the server said something else"
[ ! -e "$path" ] || die "the socket was left behind"
echo "demo: the echo was right, and the socket is gone"
