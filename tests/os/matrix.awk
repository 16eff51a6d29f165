# matrix.awk: reads matrix.txt and then what the tests said, prints the page docs/matrix.md on standard output and what is
# wrong on standard error. Exit status 1: something is missing or failed. counts: a file for the sums.
BEGIN { FS = " [|] " }

function want(row, cell, test) {
    if (!(row in cell_count)) row_names[++row_count] = row
    cells[row, ++cell_count[row]] = cell
    shown_by[row, cell] = test
}

# What has to be shown.
FILENAME == ARGV[1] {
    if (/^#/ || /^$/) next
    if ($0 ~ /^P[0-9]+ [|] /) {
        n = substr($1, 2) + 0
        title[n] = $2
        why_not[n] = $3
        if (n > last) last = n
    } else if ($2 ~ /^[0-9]+-[0-9]+$/) {
        split($2, ends, "-")
        for (i = ends[1] + 0; i <= ends[2] + 0; i++) want($1, i "", $3)
    } else want($1, $2, $3)
    next
}

# What was shown.
/^\[ RUN      \] / {
    test = substr($0, 14)
    state[test] = "failed"
    if (test ~ /^p[0-9][0-9]_/) tests_of[substr(test, 2, 2) + 0] = tests_of[substr(test, 2, 2) + 0] " " test
    next
}
/^\[       OK \] / { state[substr($0, 14)] = "ok"; next }
/^\[  SKIPPED \] / { if (substr($0, 14) in state) state[substr($0, 14)] = "skipped"; next }
/^\[  FAILED  \] / { if (substr($0, 14) in state) state[substr($0, 14)] = "failed"; next }
/^# P[0-9]+: [0-9]+ cases/ { split($0, part, " "); ran[test] += part[3]; next }
/^cell: / {
    sub(/^cell: /, "")
    result[$1, $2] = $3
    from[$1, $2] = test
}

function complain(what) { print "matrix: " what > "/dev/stderr"; failed++ }

function spoken(name) { gsub(/_/, " ", name); return name }

function thousands(n,    text) {
    for (text = ""; n >= 1000; n = int(n / 1000)) text = "," sprintf("%03d", n % 1000) text
    return n text
}

# The result of a cell, or what is wrong with it.
function outcome(row, cell,    test) {
    test = shown_by[row, cell]
    if ((row, cell) in result && from[row, cell] == test && state[test] == "ok") return result[row, cell]
    if (state[test] == "skipped") return "skipped"
    return "FAILED"
}

function count(what, where) {
    if (what == "FAILED") complain(where ": no test that passed shows it")
    else if (what == "skipped") skipped++
    else passed++
    return what
}

function pitfall(n,    list, k, i, name, sum, text, what) {
    if (why_not[n] != "") {
        printf "| P%d | %s | %s | |\n", n, title[n], why_not[n]
        return
    }
    k = split(tests_of[n], list, " ")
    what = "skipped"
    for (i = 1; i <= k; i++) {
        name = list[i]
        if (state[name] == "ok" && what != "FAILED") what = "ok"
        if (state[name] == "failed") what = "FAILED"
        if (state[name] == "ok" && !ran[name]) { complain(name " does not tell how many cases it ran"); what = "FAILED" }
        sum += ran[name]
        text = text (i > 1 ? "; " : "") spoken(substr(name, 5)) (state[name] == "ok" ? "" : " (" state[name] ")")
    }
    if (k == 0) what = "FAILED"
    count(what, "P" n)
    printf "| P%d | %s | %s | %s |\n", n, title[n], text, what == "ok" ? thousands(sum) : what
}

# Numbers that follow each other and have the same result are one line.
function row_table(row,    i, k, cell, what, first, last_cell, before) {
    print "\n## " row "\n\n| | result |\n|---|---|"
    k = cell_count[row]
    for (i = 1; i <= k; i++) {
        cell = cells[row, i]
        what = count(outcome(row, cell), row ", " cell)
        if (i > 1 && cell ~ /^[0-9]+$/ && what == before) { last_cell = cell; continue }
        if (i > 1) line(first, last_cell, before)
        first = last_cell = cell
        before = what
    }
    line(first, last_cell, before)
}

function line(first, last_cell, what) {
    print "| " first (first == last_cell ? "" : " to " last_cell) " | " what " |"
}

END {
    print "# Pitfalls and cells\n"
    print "Written by `make matrix` from what the tests in `tests/os/` said over the real kernel; what has to be there is in"
    print "`tests/os/matrix.txt`. A pitfall or a cell whose tests fail or are missing fails that target; a pitfall without cases says"
    print "why it has no test.\n"
    print "| | pitfall | tests | cases |\n|---|---|---|---|"
    for (n = 1; n <= last; n++) if (n in title) pitfall(n)
    for (r = 1; r <= row_count; r++) row_table(row_names[r])
    for (n in tests_of) if (!(n in title)) complain("P" n " is not in matrix.txt")
    for (c in result) {
        split(c, part, SUBSEP)
        if (!(c in shown_by)) complain(part[1] ", " part[2] " is not in matrix.txt")
    }
    for (name in state) if (state[name] == "failed") complain(name " failed")
    print passed + 0, failed + 0, skipped + 0 > counts
    exit failed > 0
}
