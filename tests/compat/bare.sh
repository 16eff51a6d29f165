#!/bin/sh
# bare.sh LOGS [SYSTEM ...]: tries a fresh clone of this tree on bare Debian systems, which debootstrap makes in a temporary
# directory. Each system gets the packages that README.md names and no other. Then README.md's two commands run, as root and
# as an ordinary user. After that come the checks of steps_of(), as root, with a C++ compiler and clang.
#
#   STEPS='demo test'   only these steps
#   USERS=root          only as this user; somebody: the ordinary one
#   MIRROR=URL          the archive; without it that of this machine's own apt
#   STEP_SECONDS=7200   the most that a step may take
#
# What a step says is kept in LOGS. Needs root, and says so where it is not. Ends with `N passed, N failed, N skipped`.
set -u
cd "$(dirname "$0")/../.." || exit 2
limit=${STEP_SECONDS:-7200}

# ---- inside: bare.sh --inside ROOT USER COMMAND ----------------------------------------------------------------------

# In namespaces of its own: mounts and processes end with it, however it ends.
if [ "${1:-}" = --inside ]; then
    root=$2 user=$3
    mount --bind "$root" "$root" && mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" || exit 1
    # Not by chroot alone: user namespaces are forbidden there.
    cd "$root" && mkdir -p old && pivot_root . old && umount -l /old && rmdir /old || exit 1
    home=/root
    [ "$user" = root ] || home=/home/$user
    exec chroot --userspec="$user:$user" / env -i HOME="$home" USER="$user" LC_ALL=C.UTF-8 TEST_TIMEOUT="$limit" \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive \
        sh -c "cd && $4"
fi

# ---- outside ---------------------------------------------------------------------------------------------------------

logs=${1:-build/bare}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- bookworm trixie sid bullseye
passed=0 failed=0 skipped=0
dir=
job=
# Whatever is started or mounted by it ends with it. debootstrap mounts, too.
apart='unshare --mount --pid --fork --kill-child --propagation private'

steps_of() { # SYSTEM
    case $1 in
    bookworm | trixie) echo demo test sanitize tsan analyze compile-matrix ;;
    *) echo demo test compile-matrix ;;
    esac
}

sums() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ $failed -eq 0 ] && [ $passed -gt 0 ]
}

skip_all() { # REASON SYSTEM...
    reason=$1
    shift
    for system in "$@"; do
        echo "skip  $system: $reason"
        skipped=$((skipped + 1))
    done
    sums
    exit
}

# Nothing is mounted here: mounts are in the namespace of the job, and the job is gone.
clean_up() {
    [ -z "$job" ] || { kill "$job" 2>/dev/null && wait "$job" 2>/dev/null; }
    tries=0
    while [ -n "$dir" ] && [ $tries -lt 10 ] && ! rm -rf --one-file-system "$dir"; do
        tries=$((tries + 1))
        sleep 1
    done
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

# in_background LOG COMMAND...: a signal ends it at once.
in_background() {
    log=$1
    shift
    "$@" >"$log" 2>&1 </dev/null &
    job=$!
    wait "$job"
    status=$?
    job=
    return $status
}

# step NAME USER COMMAND...: a line that tells how it ended.
step() {
    name=$1 user=$2
    shift 2
    log=$logs/$system-$name-$user.log
    began=$(date +%s)
    in_background "$log" "$@"
    status=$?
    took=$(($(date +%s) - began))
    figures=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | tail -n 1)
    word=ok
    if [ $status -eq 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)) word=FAIL; fi
    printf '%-5s %-9s %-14s %-5s %s  (%d s)\n' "$word" "$system" "$name" "$user" \
        "${figures:-exit status $status}" $took
    [ $status -eq 0 ] || { echo "      | $log" && tail -n 20 "$log" | cut -c 1-160 | sed 's/^/      | /'; }
    return $status
}

# inside USER COMMAND, as the arguments of step.
inside() { # NAME USER COMMAND
    # shellcheck disable=SC2086 # words
    step "$1" "$2" timeout -k 10 "$limit" $apart sh tests/compat/bare.sh --inside "$dir/$system" "$2" "$3"
}

# The archive that this machine's apt takes Debian itself from.
mirror_of_apt() {
    # shellcheck disable=SC2016 # apt's name
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 2>/dev/null |
        head -n 1
}

make_system() {
    # shellcheck disable=SC2086 # words
    step debootstrap root $apart debootstrap --variant=minbase "$system" "$dir/$system" "$mirror" || return 1
    # The machine's own apt may reach the archive in a way of its own; the dates of these two may be old in it.
    cp /etc/resolv.conf "$dir/$system/etc/resolv.conf"
    case $system in
    sid | bullseye) echo 'Acquire::Check-Valid-Until "false";' >"$dir/$system/etc/apt/apt.conf.d/99bare" ;;
    esac
    inside packages root "apt-get update -q && apt-get install -y -q --no-install-recommends $packages" || return 1
    inside user root "useradd -m somebody" || return 1
    for home in root home/somebody; do
        git clone -q --no-hardlinks . "$dir/$system/$home/uds_echo" || return 1
    done
    owner=$(stat -c %u:%g "$dir/$system/home/somebody")
    chown -R "$owner" "$dir/$system/home/somebody/uds_echo"
}

wanted() { # STEP
    case " ${STEPS:-$1} " in *" $1 "*) return 0 ;; esac
    return 1
}

try_system() {
    if ! make_system; then
        for name in $(steps_of "$system"); do
            wanted "$name" && skipped=$((skipped + 1)) && echo "skip  $system: $name, because there is no system"
        done
        return
    fi
    compilers=
    for name in $(steps_of "$system"); do
        wanted "$name" || continue
        case $name in
        demo | test)
            for user in ${USERS:-root somebody}; do inside "$name" "$user" "cd uds_echo && make $name"; done
            ;;
        *)
            [ -n "$compilers" ] || inside compilers root 'apt-get install -y -q --no-install-recommends g++ clang'
            compilers=yes
            inside "$name" root "cd uds_echo && make -s $name"
            ;;
        esac
    done
}

[ "$(id -u)" -eq 0 ] || skip_all "only root can make it" "$@"
$apart true 2>/dev/null ||
    skip_all "namespaces are not possible here" "$@"
sh tests/tools/need.sh debootstrap=debootstrap git=git || skip_all "debootstrap and git are needed" "$@"
mirror=${MIRROR:-$(mirror_of_apt)}
[ -n "$mirror" ] || skip_all "no archive is known: MIRROR= names it" "$@"
packages=$(sed -n 's/^apt-get install \([^#]*[^# ]\) *#.*/\1/p' README.md)
[ -n "$packages" ] || { echo "bare: README.md names no packages" && exit 1; }
mkdir -p "$logs" && dir=$(mktemp -d) || exit 1
for system in "$@"; do
    try_system
    rm -rf --one-file-system "${dir:?}/$system"
done
sums
