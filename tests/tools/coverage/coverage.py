#!/usr/bin/env python3
"""coverage.py EXPORT EXCLUSIONS: what of uds_echo.h was run, from `llvm-cov export`, and whether that is enough.

The header is compiled into every test, so llvm-cov knows each function several times and reports the best of them. What
counts is what all of them together did: here the counts are summed by place in the source.

EXCLUSIONS has at most fifteen lines `FUNCTION | SOURCE LINE | reason` (and comments); a line of it that excludes
nothing, or something that was run, is an error: it is out of date."""
import collections
import json
import os
import re
import sys

LINES, BRANCHES = 100.0, 98.0
ROWS = 15


def main():
    export, exclusions = sys.argv[1:3]
    with open(export) as f:
        data = json.load(f)["data"][0]
    path = data["files"][0]["filename"]
    assert len(data["files"]) == 1 and os.path.basename(path) == "uds_echo.h", "one file is measured"
    with open(path) as f:
        text = [line.strip() for line in f]

    regions, branches, owner, conditions = collections.Counter(), {}, {}, {}
    for function in data["functions"]:
        name = re.sub(r"^.*:", "", function["name"])
        for row in function["regions"]:
            if row[7] == 0 and function["filenames"][row[5]] == path:
                regions[tuple(row[:4])] += row[4]
                for line in range(row[0], row[2] + 1):
                    owner[line] = name
        for row in function["branches"]:
            if function["filenames"][row[6]] == path:
                true, false = branches.get(tuple(row[:4]), (0, 0))
                branches[tuple(row[:4])] = (true + row[4], false + row[5])

        for row in function.get("mcdc_records", []) if function["filenames"][0] == path else []:
            place, covered = tuple(row[:4]), row[-1]
            known = conditions.setdefault(place, [False] * len(covered))
            conditions[place] = [old or new for old, new in zip(known, covered)]

    # A line's count is that of the innermost region that covers its first character, as in llvm-cov's own reports.
    counts = {}
    for (from_line, from_col, to_line, to_col), count in sorted(regions.items(), key=lambda r: (r[0][0], r[0][1],
                                                                                               -r[0][2], -r[0][3])):
        for line in range(from_line, to_line + 1):
            indent = len(open_line(path, line)) - len(open_line(path, line).lstrip()) + 1
            begins = line > from_line or from_col <= indent
            ends = line == to_line and to_col <= indent
            if text[line - 1] and not ends and (begins or line not in counts):
                counts[line] = count
    missed_lines = {line for line, count in counts.items() if count == 0}
    missed_branches = [(place, way) for place, both in sorted(branches.items())
                       for way, count in zip(("true", "false"), both) if count == 0]

    excluded = set()
    with open(exclusions) as f:
        rows = [line.strip() for line in f if line.strip() and not line.startswith("#")]
    failed = 0
    for row in rows:
        function, source, reason = (part.strip() for part in row.split(" | "))
        here = {line for line in range(1, len(text) + 1) if text[line - 1] == source and owner.get(line) == function}
        lost_here = missed_lines | {place[0] for place, way in missed_branches}
        if not reason or not here & lost_here:
            print("out of date: %s" % row)
            failed += 1
        excluded |= here
    if len(rows) > ROWS:
        print("%d exclusions: more than %d" % (len(rows), ROWS))
        failed += 1

    lines = [line for line in counts if line not in excluded]
    lost = sorted(missed_lines - excluded)
    ways = 2 * sum(place[0] not in excluded for place in branches)
    lost_ways = [(place, way) for place, way in missed_branches if place[0] not in excluded]
    for line in lost:
        print("never run:    %5d %-20s %s" % (line, owner.get(line, ""), text[line - 1]))
    for place, way in lost_ways:
        source = open_line(path, place[0])
        what = source[place[1] - 1:place[3] - 1] if place[2] == place[0] else source[place[1] - 1:].rstrip() + " ..."
        print("never %-5s:  %5d %-20s %s" % (way, place[0], owner.get(place[0], ""), what))
    percent_lines = 100.0 * (len(lines) - len(lost)) / max(1, len(lines))
    percent_ways = 100.0 * (ways - len(lost_ways)) / max(1, ways)
    print("# uds_echo.h: lines %d of %d (%.2f %%, at least %g), branches %d of %d (%.2f %%, at least %g), "
          "%d lines excluded by %d rows" % (len(lines) - len(lost), len(lines), percent_lines, LINES,
                                            ways - len(lost_ways), ways, percent_ways, BRANCHES, len(excluded),
                                            len(rows)))
    if conditions:
        # At least: a pair of which one half is in one program and one in another does not count here.
        shown = sum(sum(covered) for covered in conditions.values())
        of = sum(len(covered) for covered in conditions.values())
        for place, covered in sorted(conditions.items()):
            if not all(covered):
                print("no pair for:  %5d %-20s %s of %s" % (place[0], owner.get(place[0], ""), ", ".join(
                    "condition %d" % n for n, seen in enumerate(covered, 1) if not seen), open_line(path, place[0]).strip()))
        print("# MC/DC: %d of %d conditions (%.1f %%) of %d decisions" % (shown, of, 100.0 * shown / of, len(conditions)))
    gates = [len(lines) > 1000 and percent_lines >= LINES, ways > 1000 and percent_ways >= BRANCHES]
    passed = sum(gates)
    failed += len(gates) - passed
    print("%d passed, %d failed, 0 skipped" % (passed, failed))
    return failed > 0


FILES = {}


def open_line(path, line):
    if path not in FILES:
        with open(path) as f:
            FILES[path] = f.read().split("\n")
    return FILES[path][line - 1]


if __name__ == "__main__":
    sys.exit(main())
