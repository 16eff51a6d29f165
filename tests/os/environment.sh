#!/bin/sh
# environment.sh BUILD: the echo server on foreign file systems and in sandboxes. Over FUSE and an overlay it serves, a second
# start says that it lives, and its stop leaves nothing. With one system call refused, with EPERM and with ENOSYS, it serves,
# or it says which call is missing: never a hang, a spin, or a server that nobody can reach. In a directory that allows
# creating only it says DENIED and leaves one file at most; with closed standard streams it serves; a server in another pid
# namespace is named without a pid.
#
# Everything lies in a temporary directory, which is unmounted and removed. What the machine lacks is named and skipped.
# Ends with `N passed, N failed, N skipped`.
set -u
build=${1:-build}
cc=${CC:-cc}
passed=0 failed=0 skipped=0
dir=$(mktemp -d) || exit 1
server=
stop_server() {
    [ -z "$server" ] || kill -KILL "$server" 2>/dev/null
    [ -z "$server" ] || wait "$server" 2>/dev/null
    server=
}
clean_up() {
    stop_server
    for mount in "$dir"/*/m; do
        mountpoint -q "$mount" 2>/dev/null && { fusermount -u "$mount" 2>/dev/null || umount "$mount" 2>/dev/null; }
    done
    chattr -a "$dir"/append/d 2>/dev/null
    rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

verdict() { # STATUS TEXT
    if [ "$1" -eq 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
    [ "$1" -eq 0 ] || { echo "FAILED: $2" && sed 's/^/    /' "$dir/said" | head -5; }
}
skip() {
    echo "skip  $1"
    skipped=$((skipped + 1))
}

# starts PATH COMMAND...: in the background; 0: the path is there, 1: it ended before. What it says goes to $dir/said.
starts() {
    path=$1
    shift
    "$@" >"$dir/said" 2>&1 &
    server=$!
    tries=0
    while [ $tries -lt 60 ]; do
        [ ! -S "$path" ] || return 0
        kill -0 "$server" 2>/dev/null || { wait "$server" && server= && return 1; server= && return 1; }
        sleep 0.05
        tries=$((tries + 1))
    done
    return 2
}
answers() { # PATH
    [ "$(timeout 5 "$build/echo_client" "$1" hello 2>&1 | grep -c '\[hello\]')" -eq 2 ]
}
ends() { # within ten seconds of SIGTERM
    kill -TERM "$server"
    tries=0
    while kill -0 "$server" 2>/dev/null; do
        [ $tries -lt 200 ] || { stop_server && return 1; }
        sleep 0.05
        tries=$((tries + 1))
    done
    wait "$server" 2>/dev/null
    server=
}

# serves_in DIRECTORY TEXT
serves_in() {
    starts "$1/s" "$build/echo_server" -q "$1/s" && answers "$1/s"
    verdict $? "$2: it serves"
    timeout 5 "$build/echo_server" -q "$1/s" >"$dir/said" 2>&1
    grep -q 'in use by a live server' "$dir/said"
    verdict $? "$2: a second start says IN_USE"
    ends && [ -z "$(ls -A "$1")" ]
    verdict $? "$2: its stop leaves nothing"
    : >"$dir/said"
    mkdir "$1/t" && rmdir "$1/t" && starts "$1/s" "$build/echo_server" -q "$1/s" && stop_server && [ -S "$1/s" ] &&
        starts "$1/none" "$build/echo_server" -q "$1/s"
    answers "$1/s"
    verdict $? "$2: over a stale file"
    ends
    rm -f "$1/s"
}

# ---- file systems ----------------------------------------------------------------------------------------------------

for name in bindfs mergerfs unionfs-fuse overlay; do
    mkdir -p "$dir/$name/a" "$dir/$name/b" "$dir/$name/w" "$dir/$name/m"
    a=$dir/$name/a b=$dir/$name/b m=$dir/$name/m
    case $name in
    overlay) mount -t overlay overlay -o "lowerdir=$a,upperdir=$b,workdir=$dir/$name/w" "$m" 2>"$dir/said" ;;
    *)
        [ -c /dev/fuse ] && NO_INSTALL=${NO_INSTALL:-} sh tests/tools/need.sh "$name=$name" >"$dir/said" &&
            case $name in
            bindfs) bindfs "$a" "$m" ;;
            mergerfs) mergerfs "$a:$b" "$m" ;;
            unionfs-fuse) unionfs "$a=RW:$b=RO" "$m" || unionfs-fuse "$a=RW:$b=RO" "$m" ;;
            esac >>"$dir/said" 2>&1
        ;;
    esac
    if mountpoint -q "$m"; then serves_in "$m" "$name"; else skip "$name: cannot be mounted here"; fi
done

# ---- a directory that allows creating only ---------------------------------------------------------------------------

mkdir -p "$dir/append/d"
if chattr +a "$dir/append/d" 2>/dev/null; then
    for _ in 1 2 3; do
        timeout 5 "$build/echo_server" -q "$dir/append/d/s" >"$dir/said" 2>&1
        grep -q 'permission denied \[unlinkat: EPERM\]' "$dir/said" && [ "$(find "$dir/append/d" -type s | wc -l)" -le 1 ]
        verdict $? "a directory that allows creating only"
    done
else
    skip "chattr +a is not possible here"
fi

# ---- standard streams, another pid namespace -------------------------------------------------------------------------

mkdir "$dir/plain"
# shellcheck disable=SC2016 # it is the other shell that has the arguments
starts "$dir/plain/s" sh -c 'exec "$0" -q "$1" <&- >&- 2>&-' "$build/echo_server" "$dir/plain/s" && answers "$dir/plain/s" &&
    [ -z "$(find "/proc/$server/fd" -lname 'socket:*' -name '[012]' 2>/dev/null)" ]
verdict $? "closed standard streams: it serves, and no socket of its own is 0, 1 or 2"
ends
if unshare --pid --fork true 2>/dev/null; then
    starts "$dir/plain/s" "$build/echo_server" -q "$dir/plain/s"
    timeout 5 unshare --pid --fork "$build/echo_server" -q "$dir/plain/s" >"$dir/said" 2>&1
    grep -q '(pid unknown, uid ' "$dir/said"
    verdict $? "a server in another pid namespace has no pid"
    ends
else
    skip "unshare --pid is not possible here"
fi

# ---- sandboxes -------------------------------------------------------------------------------------------------------

# Each call that a server makes, and what it must say where it cannot serve; -: it has another way, or needs none.
calls='accept4 bind epoll_create1 epoll_ctl eventfd2 fchmod fchmodat flock linkat listen renameat renameat2 unlinkat
       prlimit64 getsockopt setsockopt shutdown recvfrom sendto socket'
if sh tests/tools/need.sh seccomp >"$dir/said" && $cc tests/os/sandbox.c -o "$dir/sandbox" -lseccomp 2>"$dir/said" &&
    $cc -static -O1 -I. examples/echo_server.c -o "$dir/server" 2>"$dir/said"; then
    mkdir "$dir/box"
    for call in $calls; do
        for number in 1 38; do
            s=$dir/box/s-$call-$number
            starts "$s" "$dir/sandbox" "$call" "$number" "$dir/server" -q "$s"
            status=$?
            case $status,$call,$number in
            1,accept4,1) grep -q '\[accept4: EPERM\]' "$dir/said" ;;
            1,bind,* | 1,epoll_create1,* | 1,epoll_ctl,* | 1,fchmod,* | 1,listen,* | 1,socket,*)
                grep -q "system call failed \[$call: \|denied \[$call: " "$dir/said" ;;
            1,eventfd2,*) grep -q 'system call failed \[eventfd: ' "$dir/said" ;;
            1,prlimit64,*) grep -q 'system call failed \[getrlimit: ' "$dir/said" ;; # it asks for as many as it may
            0,setsockopt,* | 0,recvfrom,* | 0,sendto,*) ends ;; # each connection ends by name
            0,*) answers "$s" && ends ;;
            *) false ;;
            esac
            verdict $? "$call refused with errno $number: status $status"
            stop_server
        done
    done
else
    skip "libseccomp is not here, or no static program can be made"
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
