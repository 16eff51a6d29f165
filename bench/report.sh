#!/bin/sh
# report.sh FOLDER FILE: puts FOLDER/table.md, and what it was measured on, between the markers of the Markdown FILE.
set -u
table=$1/table.md
file=$2
new=$1/report.md

{
    echo
    printf 'Measured %s: %s %s, %s, %s cores, %s %s.\n' "$(date -u +%Y-%m-%d)" "$(uname -s)" \
        "$(uname -r | cut -d . -f 1,2)" "$(uname -m)" "$(getconf _NPROCESSORS_ONLN)" "${CC:-cc}" \
        "$(${CC:-cc} -dumpfullversion 2>/dev/null || echo '(version unknown)')"
    echo
    cat "$table"
    echo
} >"$new"
awk -v new="$new" '
    /^<!-- make bench: begin/ { print; while ((getline line < new) > 0) print line; inside = 1 }
    /^<!-- make bench: end/ { inside = 0; found = 1 }
    !inside { print }
    END { exit !found }' "$file" >"$file.new" && mv "$file.new" "$file" && exit 0
rm -f "$file.new"
echo "report: there are no markers in $file" >&2
exit 1
