# summary.awk: from the figures that compare.sh keeps, a line for each work, server and what was measured: median, least,
# greatest, and how many rounds there were.
#
#     awk -f bench/summary.awk raw.tsv

BEGIN { FS = OFS = "\t" }

$4 != "failed" {
    key = $1 OFS $3 OFS $4
    x = $5 + 0
    for (j = count[key]++; j > 0 && value[key, j] > x; j--) value[key, j + 1] = value[key, j]
    value[key, j + 1] = x
}

END {
    for (key in count) {
        n = count[key]
        median = n % 2 ? value[key, (n + 1) / 2] : (value[key, n / 2] + value[key, n / 2 + 1]) / 2
        print key, median, value[key, 1], value[key, n], n
    }
}
