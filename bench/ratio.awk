# ratio.awk: from the figures that compare.sh keeps, the ratio of one server to another: the median over the rounds that
# both have, the least, the greatest, how many rounds these were, and the two between which the median of endlessly many
# would lie with 99 % confidence (the signs of the differences are binomial). by=mean: the ratio of the means instead of
# the median, and the two between which it would lie. Prints nothing where there is no round.
#
#     awk -v work=c64 -v ours=ours -v theirs=floor -v what=rate -f bench/ratio.awk raw.tsv

BEGIN { FS = "\t" }

$1 == work && $4 == what && $3 == ours { mine[$2] = $5 }
$1 == work && $4 == what && $3 == theirs { other[$2] = $5 }

END {
    for (round in mine) {
        if (!(round in other) || other[round] == 0) continue
        x = mine[round] / other[round]
        for (j = n++; j > 0 && list[j] > x; j--) list[j + 1] = list[j]
        list[j + 1] = x
    }
    if (!n) exit
    if (by == "mean") {
        for (round in mine)
            if (round in other) { sum += mine[round]; others += other[round] }
        ratio = sum / others
        for (round in mine)
            if (round in other) squares += (mine[round] - ratio * other[round]) ^ 2
        off = n > 1 ? 2.576 * sqrt(squares / (n * (n - 1))) / (others / n) : 0
        printf "%.3f %.3f %.3f %d %.3f %.3f\n", ratio, list[1], list[n], n, ratio - off, ratio + off
        exit
    }
    median = n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
    low = int((n + 1) / 2 - 2.576 * sqrt(n) / 2)
    if (low < 1) low = 1
    printf "%.3f %.3f %.3f %d %.3f %.3f\n", median, list[1], list[n], n, list[low], list[n + 1 - low]
}
