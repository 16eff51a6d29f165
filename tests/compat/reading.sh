#!/bin/sh
# reading.sh [HEADER]: what somebody who reads uds_echo.h may rely on. Every check prints its complaints about a file,
# none if all is well. Before the header is checked, each check has to complain about a small bad file and to be silent
# about a good one: a check that cannot fail shows nothing.
set -u
LC_ALL=C
export LC_ALL
header=${1:-uds_echo.h}
cc=${CC:-cc}
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

# ---- the checks ------------------------------------------------------------------------------------------------------

# The file without comments and strings, line for line; section marks stay.
code_of() {
    awk '
    /^\/\/ >>/ && !inside { print; next }
    {
        rest = $0; out = ""
        while (rest != "") {
            if (inside) {
                at = index(rest, "*/")
                if (!at) break
                rest = substr(rest, at + 2); inside = 0
            } else if (match(rest, /\/\*|\/\/|"|'\''/)) {
                what = substr(rest, RSTART, RLENGTH)
                out = out substr(rest, 1, RSTART - 1)
                rest = substr(rest, RSTART + RLENGTH)
                if (what == "//") break
                if (what == "/*") { inside = 1; out = out " "; continue }
                out = out what
                end = what == "\"" ? "^([^\"\\\\]|\\\\.)*\"" : "^([^'\''\\\\]|\\\\.)*'\''"
                if (match(rest, end)) rest = substr(rest, RLENGTH + 1)
                out = out what
            } else { out = out rest; rest = "" }
        }
        print out
    }' "$1"
}

# Functions begin in the first column and so do their braces. Prints "name first-line last-line section".
functions_of() {
    code_of "$1" | awk '
    /^\/\/ >>/ { section = substr($0, 6); next }
    /^[A-Za-z_]/ && !body { first = NR; text = $0 }
    /^\{/ { body = 1; begun = first }
    /^\}/ && body {
        body = 0
        if (match(text, /[A-Za-z_0-9]+\(/)) print substr(text, RSTART, RLENGTH - 1), begun, NR, section
    }'
}

check_function_length() {
    functions_of "$1" | awk '$3 - $2 + 1 > 60 { print "line " $2 ": " $1 "() has " $3 - $2 + 1 " lines, at most 60" }'
    code_of "$1" | awk '/^[A-Za-z_].*\).*\{ *$/ && !/^(typedef|struct|union|enum) / {
        print "line " NR ": the brace of a function stands on a line of its own" }'
}

# Every #if asks for a name of ours; the platform section and linkage are where others are looked at. extern "C" begins
# in linkage and ends with the declarations.
check_conditions() {
    code_of "$1" | awk '
    /^\/\/ >>/ { section = substr($0, 6); next }
    /^\{/ { body = 1 }
    /^\}/ { body = 0 }
    { line = joined $0; joined = "" }
    line ~ /^[ \t]*#/ && line ~ /\\$/ { joined = substr(line, 1, length(line) - 1) " "; next }
    /^#ifdef __cplusplus$/ && !body { next }
    line ~ /^[ \t]*# *(if|el|endif)/ {
        if (body && section != "platform") print "line " NR ": a condition inside a function: " line
        sub(/^[ \t]*# *[a-z]+/, "", line)
        gsub(/UDS_ECHO_[A-Z0-9_]+/, "", line)
        gsub(/(^|[^A-Za-z0-9_])defined([^A-Za-z0-9_]|$)/, " ", line)
        if (section != "platform" && section != "linkage" && line ~ /[A-Za-z_]/)
            print "line " NR ": asks for something other than UDS_ECHO_*: " $0
    }'
}

# The comment at the head of >>conn draws exactly the functions that are there.
check_diagram() {
    code_of "$1" >"$folder/code"
    awk 'NR == FNR { code[FNR] = $0; next }
        /^\/\/ >>/ { on = $0 == "// >>conn"; next }
        on && code[FNR] ~ /[^ \t]/ { exit }
        on' "$folder/code" "$1" | grep -o 'ue_conn_[a-z0-9_]*' | sort -u >"$folder/drawn"
    functions_of "$1" | awk '$1 ~ /^ue_conn_/ && $4 == "conn" && NF == 4 { print $1 }' | sort -u >"$folder/defined"
    [ -s "$folder/drawn" ] || echo "no diagram at the head of >>conn names a function"
    comm -23 "$folder/drawn" "$folder/defined" | sed 's/$/: drawn, but not defined in >>conn/'
    comm -13 "$folder/drawn" "$folder/defined" | sed 's/$/: defined in >>conn, but not drawn/'
}

# The manual is short, and the sections stand in the order that its CONTENTS gives.
check_contents() {
    awk '/\*\// { if (NR > 150) print "the manual has " NR " lines, at most 150"; exit }' "$1"
    awk '/^CONTENTS/ { on = 1; next } on && /^[A-Z]/ { exit } on' "$1" |
        grep -o '>>[a-z]*\( [a-z][a-z]*\)*' | sed 's/^>>//' >"$folder/contents"
    sed -n 's|^// >>||p' "$1" >"$folder/marks"
    [ -s "$folder/contents" ] || echo "the manual has no CONTENTS"
    diff -u "$folder/contents" "$folder/marks" |
        sed -n '1,2d; s/^-/in CONTENTS, but not at that place: /p; s/^+/a mark, but not at that place: /p'
}

check_characters() {
    awk 'length > 120 { print "line " NR ": " length " columns, at most 120" }
         /\t/ { print "line " NR ": a tab" }
         /[^\t -~]/ { print "line " NR ": not ASCII" }
         / $/ { print "line " NR ": ends with a space" }' "$1"
}

# The object file of the implementation. Everything that goes through the seam is named seam_... there: what else it
# needs is called past the seam. $2: further flags.
compile_with_seam() {
    {
        echo '#define _GNU_SOURCE 1'
        code_of "$1" | sed -n 's/^ *# *include *\(<.*>\).*/#include \1/p' | sort -u
        code_of "$1" | grep -o 'UDS_ECHO_SYS([a-z_0-9]*)' | sed 's/.*(\(.*\))/\1/' | grep -v '^fn$' | sort -u |
            sed 's/.*/extern __typeof__(&) seam_&;/'
        echo '#define UDS_ECHO_SYS(fn) seam_##fn'
        echo '#define UDS_ECHO_IMPLEMENTATION'
        cat "$1"
    } >"$folder/seam.c"
    # shellcheck disable=SC2086 # flags are words
    $cc -std=c99 -w -O1 -fno-pic -fno-stack-protector $2 -I. -c "$folder/seam.c" -o "$folder/seam.o" 2>"$folder/said" ||
        { echo "does not compile over a seam ($2):" && head -5 "$folder/said" && return 1; }
}

# Pure functions of memory and strings, to which compilers add calls of their own, and errno.
pure='memchr|memcmp|memcpy|memmove|memset|strchr|strcmp|strlen|strncmp|strrchr|__errno_location'

# With and without each thing that the platform may lack: what stands in for it must use the seam too.
configurations() {
    echo ''
    echo '-DUDS_ECHO_USE_POLL'
    awk '/^\/\/ >>/ { on = ($2 == ">>platform") } on' "$1" | grep -o 'UDS_ECHO_HAVE_[A-Z0-9_]*' | sort -u |
        sed 's/.*/-D&=0/'
}

check_seam() {
    configurations "$1" | while read -r flags; do
        compile_with_seam "$1" "$flags" || continue
        nm -u "$folder/seam.o" | awk '{ print $2 }' | grep -Ev "^(seam_.*|$pure)\$" |
            sed "s/.*/&() is called past UDS_ECHO_SYS $flags/"
        nm -u "$folder/seam.o" | grep -q ' seam_' || echo "nothing goes through UDS_ECHO_SYS $flags"
    done
}

output='v?d?f?printf|puts|fputs|putchar|perror'
process='abort|exit|_exit|_Exit|quick_exit|atexit|signal|sigaction|sigprocmask|umask|f?chdir|getenv|setenv|system'

# Nothing is printed, ended or changed for the whole process, and nothing is remembered outside what the caller holds.
check_manners() {
    code_of "$1" | awk -v called="(^|[^A-Za-z0-9_])($output|$process) *[)]? *[(]" '
        $0 ~ called { print "line " NR ": " $0 }'
    configurations "$1" | while read -r flags; do
        compile_with_seam "$1" "$flags" || continue
        nm "$folder/seam.o" | awk -v flags="$flags" '
            NF == 3 && $2 ~ /^[BbDdCcGgSs]$/ { print "a variable that outlives calls: " $3 " " flags }'
    done
}

# ---- the counts ------------------------------------------------------------------------------------------------------

passed=0
failed=0

# $1: name, $2: complaints, $3: whether there should be some
verdict() {
    if [ -n "$2" ] && [ "$3" = silent ]; then
        failed=$((failed + 1))
        printf 'FAILED: %s\n' "$1"
        printf '%s\n' "$2" | head -20 | sed 's/^/    /'
    elif [ -z "$2" ] && [ "$3" = complains ]; then
        failed=$((failed + 1))
        printf 'FAILED: %s: it does not complain about a bad file\n' "$1"
    else
        passed=$((passed + 1))
    fi
}

# ---- each check is silent about this, and complains when one thing in it is spoilt -----------------------------------

good=$folder/good.h
bad=$folder/bad.h

cat >"$good" <<'END'
/* A manual: "quoted", and it's #if nothing.

CONTENTS (search for the mark)
   >>linkage  >>server api                what you use
   >>platform  >>conn

LICENCE */
#ifndef UDS_ECHO_H
#define UDS_ECHO_H
// >>linkage
#ifdef __cplusplus
#endif
// >>server api
int uds_echo_get(int fd);
#endif
#if defined(UDS_ECHO_IMPLEMENTATION)
// >>platform
#if defined(__linux__) && !defined(UDS_ECHO_HAVE_THIS)
#define UDS_ECHO_HAVE_THIS 1
#endif
#include <string.h>
#include <unistd.h>
#ifndef UDS_ECHO_SYS
#define UDS_ECHO_SYS(fn) fn
#endif
// >>conn
/*  idle --ue_conn_read--> busy --ue_conn_write--> idle */
static const char *const ue_names[] = {"exit(1)", "#if", 0};

static int ue_conn_read(int fd)
{
    char c = '"'; /* printf("%c", c) */
    return UDS_ECHO_SYS(read)(fd, &c, 1) == 1 && strlen(ue_names[fd]);
}

#if !UDS_ECHO_HAVE_THIS && \
    0
#else
static int ue_conn_write(int fd)
{
    return UDS_ECHO_SYS(close)(fd);
}
#endif

int uds_echo_get(int fd)
{
    return ue_conn_read(fd) + ue_conn_write(fd);
}
#endif
END

# $1: check, $2: what is spoilt, $3: sed script that spoils it
spoil() {
    sed "$3" "$good" >"$bad"
    cmp -s "$good" "$bad" && echo "nothing was spoilt: $2" && failed=$((failed + 1))
    verdict "$1 ($2)" "$("$1" "$bad")" complains
}

checks='check_function_length check_conditions check_diagram check_contents check_characters check_seam check_manners'
for check in $checks; do verdict "$check (a good file)" "$($check "$good")" silent; done

lines() { awk -v n="$1" 'BEGIN { while (n--) printf "%s", "\\\n" }'; }
spoil check_function_length "61 lines" "/char c =/a $(lines 57)"
spoil check_function_length "brace at the end" 's/^int uds_echo_get(int fd)$/int uds_echo_get(int fd) {/'
spoil check_conditions "a system outside the platform section" \
    's/^#if !UDS_ECHO_HAVE_THIS.*/#if defined(__linux__) \&\& \\/'
spoil check_conditions "a system in the second line" 's/^    0$/    !__FreeBSD__/'
spoil check_conditions "a compiler in an #elif" 's/^#else$/#elif __GNUC__ > 3/'
spoil check_conditions "a condition inside a function" '/char c =/i #if UDS_ECHO_HAVE_THIS'
spoil check_conditions "C++ inside a function" '/char c =/i #ifdef __cplusplus'
spoil check_diagram "one too many is drawn" 's/--> busy/--> busy --ue_conn_jump/'
spoil check_diagram "one is not drawn" 's/--ue_conn_write-->/-->/'
spoil check_diagram "no diagram" '/idle --ue_conn_read/d'
spoil check_contents "another order" 's/>>platform  >>conn/>>conn  >>platform/'
spoil check_contents "a mark that is not listed" 's|^static const|// >>names\n&|'
spoil check_contents "a mark that is missing" '/^\/\/ >>server api/d'
spoil check_contents "a long manual" "1a $(lines 150)"
spoil check_characters "a tab" 's/^    return/\treturn/'
spoil check_characters "a foreign letter" "s/it.s/it$(printf '\342\200\231')s/"
spoil check_characters "a long line" "s/idle \*\//&$(printf '%0120d' 0)/"
spoil check_seam "a call past the seam" 's/UDS_ECHO_SYS(close)(fd)/close(fd)/'
spoil check_seam "a call past it where the platform lacks something" \
    's/^    0$/    1/; s/^#else/static int ue_conn_write(int fd) { return dup(fd); }\n&/'
spoil check_manners "a global variable" \
    's/^int uds_echo_get(int fd)$/static int ue_count;\n&/; s/return ue_conn_read(fd)/return ue_count++/'
spoil check_manners "a static variable in a function" 's/^    char c/    static char c/'
spoil check_manners "exit" 's/strlen(ue_names/exit(1), strlen(ue_names/'
spoil check_manners "umask through the seam" 's/UDS_ECHO_SYS(close)(fd)/UDS_ECHO_SYS(umask)(fd)/'
self=$((passed + failed))

# ---- the header itself -----------------------------------------------------------------------------------------------

for check in $checks; do verdict "$check" "$($check "$header")" silent; done
echo "# $self self-tests; $(functions_of "$header" | wc -l) functions, the longest has $(functions_of "$header" |
    awk '{ n = $3 - $2 + 1 } n > most { most = n; name = $1 } END { print most + 0 " lines: " name }')"
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
