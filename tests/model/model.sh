#!/bin/sh
# model.sh BUILD [NAME...]: searches the model of the claim of a path, claim.pml, with spin. Each line says how many errors
# the search must find: 0, every state was seen and none is wrong; 1, a planted flaw is caught. A search that was not
# completed is a failure. NAME: only these. LIMIT=300: the most seconds for each. DEEP=1: more starters and rounds, for a
# night. Ends with `N passed, N failed, N skipped`.
set -u
build=${1:-build/model}
[ $# -eq 0 ] || shift
wanted=" $* "
here=$(cd "$(dirname "$0")" && pwd)
sh "$here/../tools/need.sh" gcc spin=spin || { echo "0 passed, 0 failed, 1 skipped" && exit 1; }
mkdir -p "$build" || exit 1
build=$(cd "$build" && pwd)
passed=0 failed=0

# search ERRORS NAME "MODEL FLAGS" ["COMPILER FLAGS" ["SEARCH FLAGS"]]
search() {
    [ "$wanted" = '  ' ] || case $wanted in *" $2 "*) ;; *) return ;; esac
    errors=$1 name=$2 model=$3 flags=${4:--DSAFETY -DCOLLAPSE} options=${5:--m200000 -w24}
    rm -rf "${build:?}/$name" && mkdir -p "$build/$name" && cd "$build/$name" || exit 1
    began=$(date +%s)
    # shellcheck disable=SC2086 # flags are words
    if spin $model -a "$here/claim.pml" >spin.log 2>&1 &&
        gcc -O2 -w -DVECTORSZ=512 -DMEMLIM=9000 $flags -o pan pan.c >gcc.log 2>&1; then
        timeout -s INT "${LIMIT:-300}" ./pan $options >pan.log 2>&1
    else
        cat spin.log gcc.log 2>/dev/null
    fi
    found=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' pan.log 2>/dev/null | head -n 1)
    states=$(awk '/states, stored/ { print $1 }' pan.log 2>/dev/null)
    word=ok
    [ "${found:-none}" = "$errors" ] || word=FAIL
    if [ "$errors" -eq 0 ] && grep -qE 'Search not completed|max search depth|out of memory' pan.log; then word=FAIL; fi
    if [ $word = ok ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
    printf '%-4s  %-20s %s errors (wanted %s), %s states, %d s\n' $word "$name" "${found:-no}" "$errors" "${states:-0}" \
        $(($(date +%s) - began))
    cd "$here" || exit 1
}

header='-DLOCKALL -DHOLD -DNOFALL -DEXCO=0' fair='-DCOLLAPSE -DNFAIR=4' fairly='-a -f -m200000 -w22'
for direct in 0 1 2; do
    for renames in 1,1 0,1 0,0; do
        [ $direct,$renames != 1,0,0 ] || continue # in place nothing is linked
        kind="-DDIRECT=$direct -DRENAME2=${renames%,*} -DLINKS=${renames#*,} $header"
        search 0 "safe-$direct-$renames" "-DNS=2 -DFOREIGN=2 -DSTALE=1 $kind"
        search 0 "crash-$direct-$renames" "-DNS=3 -DFINAL -DCRASH=2 -DSTALE=1 $kind"
        search 0 "live-$direct-$renames" "-DLIVE -DNS=2 -DSTALE=1 -DLEFT=1 -DRETIRE=0 $kind" "$fair" "$fairly"
        search 0 "neighbour-$direct-$renames" "-DNS=1 -DFOREIGN=1 -DNEIGH=2 -DSTALE=1 $kind"
    done
done
if [ -n "${DEEP:-}" ]; then
    search 0 deep-starters "-DNS=3 -DFOREIGN=1 -DSTALE=1 $header"
    search 0 deep-foreign "-DNS=2 -DFOREIGN=3 -DCRASH=1 -DSTALE=1 $header"
fi

search 1 no-mark '-DNS=1 -DFOREIGN=1 -DNOMARK -DDIRECT=1'
search 1 no-lock '-DNS=2 -DSTALE=1 -DNOLOCK'
search 1 one-look '-DNS=2 -DONELOOK'
search 1 no-confirm '-DNS=1 -DFOREIGN=1 -DNOLOOK8 -DDIRECT=1'
search 1 removed-early '-DNS=1 -DFOREIGN=1 -DEARLY -DDIRECT=1'
search 1 before '-DNS=1 -DFOREIGN=1 -DTODAY -DDIRECT=1 -DNOS3'
search 1 unlocked-in-place '-DNS=2 -DFOREIGN=1 -DDIRECT=1 -DHOLD'
search 1 unlocked-fuse '-DNS=2 -DRENAME2=0 -DLINKS=0 -DHOLD'
search 1 unlocked-atomic '-DNS=2 -DFOREIGN=1 -DHOLD'
search 1 not-held '-DNS=1 -DFOREIGN=1 -DNEIGH=2 -DSTALE=1 -DDIRECT=1 -DNOFALL'
search 1 unmarked-believed '-DNS=1 -DFOREIGN=1 -DNEIGH=2 -DHOLD'
search 1 lock-held-for-ever '-DLIVE -DHOG -DNS=2 -DRETIRE=0 -DLOCKALL' "$fair" "$fairly"

echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
