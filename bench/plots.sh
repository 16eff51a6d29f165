#!/bin/sh
# plots.sh FOLDER PLOTS: draws what is in FOLDER/results.tsv and FOLDER/latency_*.dat into PLOTS as SVG, with gnuplot.
# Background is transparent and colours are of a middle tone, so that they can be read in a light and in a dark page.
set -u
here=$(dirname "$0")
folder=$1
plots=$2
sh "$here/../tests/tools/need.sh" gnuplot || exit 1
servers="epoll ours libuv_expert rust libevent"

style() {
    cat <<'END'
set terminal svg size 800,420 dynamic noenhanced font "sans-serif,13"
set border 3 linecolor rgb "#808080"
set tics nomirror textcolor rgb "#808080"
set key left top textcolor rgb "#808080"
set title textcolor rgb "#808080"
set xlabel textcolor rgb "#808080"
set ylabel textcolor rgb "#808080"
set grid linecolor rgb "#808080" linewidth 0.3
set style line 1 linecolor rgb "#868e96" linewidth 2 pointtype 7 pointsize 0.5
set style line 2 linecolor rgb "#e8590c" linewidth 3 pointtype 7 pointsize 0.6
set style line 3 linecolor rgb "#1c7ed6" linewidth 2 pointtype 7 pointsize 0.5
set style line 4 linecolor rgb "#2f9e44" linewidth 2 pointtype 7 pointsize 0.5
set style line 5 linecolor rgb "#ae3ec9" linewidth 2 pointtype 7 pointsize 0.5
END
}

title_of() {
    case $1 in
    epoll) echo "epoll floor" ;;
    ours) echo "uds_echo.h" ;;
    libuv_expert) echo "libuv, expert" ;;
    rust) echo "Rust threads" ;;
    *) echo "$1" ;;
    esac
}

# series PREFIX WHAT DIVISOR: a file for each server with the points of the works PREFIX_n, and the plot's clauses.
series() {
    clauses=
    i=0
    for server in $servers; do
        i=$((i + 1))
        awk -F '\t' -v p="^$1_" -v s="$server" -v k="$2" -v d="$3" \
            '$1 ~ p && $2 == s && $3 == k { x = $1; sub(p, "", x); print x, $4 / d }' "$folder/results.tsv" |
            sort -n >"$folder/$1_$2_$server.dat"
        [ -s "$folder/$1_$2_$server.dat" ] || continue
        clauses="$clauses${clauses:+, }\"$folder/$1_$2_$server.dat\" with linespoints linestyle $i title \"$(title_of "$server")\""
    done
}

# draw NAME COMMANDS: what is drawn does not tell with what and when.
draw() {
    { style && echo "set output '$folder/$1.svg'" && echo "$2" && echo "plot $clauses"; } >"$folder/$1.gp"
    gnuplot "$folder/$1.gp" || exit 1
    sed -e '/<desc>.*<\/desc>/d' -e '/<title>.*<\/title>/d' "$folder/$1.svg" >"$plots/$1.svg"
    echo "plots: $plots/$1.svg"
}

series size rate 1000
draw size 'set title "Throughput over message size (16 connections)"
set logscale xy
set xlabel "bytes a message"
set ylabel "thousand messages a second"
set key left bottom'

series conns rate 1000
draw connections 'set title "Throughput over connections (64 bytes a message)"
set logscale x
set xlabel "connections, all active"
set ylabel "thousand messages a second"
set yrange [0:*]
set key left top'

series conns cpu 1
draw cost 'set title "Server CPU a message over connections (64 bytes)"
set logscale xy
set xlabel "connections, all active"
set ylabel "microseconds a message"
set key right top'

clauses=
i=0
for server in $servers; do
    i=$((i + 1))
    [ -s "$folder/latency_$server.dat" ] || continue
    # 1 / (1 - share) puts 90 %, 99 %, 99.9 % at equal distances.
    clauses="$clauses${clauses:+, }\"$folder/latency_$server.dat\" using (\$2 < 1 ? 1 / (1 - \$2) : NaN):1 with lines linestyle $i title \"$(title_of "$server")\""
done
draw latency 'set title "Round trip of 64 bytes, one client, one core"
set logscale xy
set xrange [1:100000]
set xtics ("0 %%" 1, "90 %%" 10, "99 %%" 100, "99.9 %%" 1000, "99.99 %%" 10000, "99.999 %%" 100000)
set xlabel "share of round trips that took no longer"
set ylabel "microseconds"
set key left top'
