#!/usr/bin/env python3
"""mutants.py COUNT|all|listed SEED JOBS SURVIVORS VARIANT:PROGRAM[ COMMAND] ...: does any test notice a small change?

The programs are tests with the header compiled in, without optimisation, so that each conditional jump and each statement
is one of the source. A mutant is a patch in a copy of a program. Each conditional jump of the header is taken always, and
never. Each statement that only assigns or calls is deleted. Then the programs run, the quickest first, until one fails,
crashes or does not end. A mutant that all of them pass has survived.

Survivors must equal SURVIVORS: rows `function | source line | nth | taken, never or deleted | reason`. A survivor that
is not listed fails the run, and so does a row whose mutant is found or does not exist. nth is the number of the jump in
the line, or of the statement among equal ones of the function. VARIANT tells programs apart that were compiled with other
macros; a later variant adds the lines that the earlier ones do not have. Of the others its programs that take less than a
second run, too.

listed: only the mutants of SURVIVORS run, and a row that any of these programs notices has a false reason. COMMAND is of
the shell, with {} for the program; without it the program runs alone."""
import collections
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HEADER = "uds_echo.h"
KEYWORDS = "break case continue default do else for goto if return switch typedef while".split()
Statement = collections.namedtuple("Statement", "function first last text nth")
Instruction = collections.namedtuple("Instruction", "function line where at code name target")
Mutant = collections.namedtuple("Mutant", "function line text nth way")
Program = collections.namedtuple("Program", "path command")


def statements_of(source):
    """Each statement that is an assignment or a call and has its lines for itself. Declarations are left out, and so are
    the bodies of an `if` without braces, which a forced jump deletes."""
    def blank(match):
        text = match.group()
        return re.sub(r"[^\n]", " " if text.startswith("/") else "S", text)

    bare = re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])+'", blank, "\n".join(source), flags=re.S)
    bare = re.sub(r"^#(?:.*\\\n)*.*", lambda match: re.sub(r"[^\n]", " ", match.group()), bare, flags=re.M)
    function, parts, first, found, seen = None, "", 0, [], collections.Counter()
    for number, line in enumerate(bare.split("\n"), 1):
        line = line.rstrip()
        match = re.match(r"[A-Za-z].*?(\w+)\(", line)
        if match:
            function = match.group(1)
        if not line:
            continue
        if not parts:
            first = number
        parts += line.strip()
        if line[-1] not in ";{}" and not re.match(r"\s*(case|default)\b.*:$", line):
            continue
        text, parts = parts, ""
        if function is None or line[0] != " " or text.count(";") != 1 or text[-1] != ";" or "{" in text or "}" in text:
            continue
        word = re.match(r"\w*", text).group()
        if word in KEYWORDS or re.match(r"\w+ +\**\w", text) or not re.search(r"[^=!<>]=[^=]|\w\(|\)\(|\+\+|--", text):
            continue
        text = source[first - 1].strip()
        seen[function, text] += 1
        found.append(Statement(function, first, number, text, seen[function, text]))
    return found


def instructions_of(program):
    """What objdump tells of the code: each instruction with its place in the file and its line of the header or None."""
    out = subprocess.run(["objdump", "-h", "-j", ".text", program], check=True, capture_output=True, text=True).stdout
    row = next(line.split() for line in out.splitlines() if " .text " in line)
    shift = int(row[5], 16) - int(row[3], 16)
    out = subprocess.run(["objdump", "-d", "-l", "-w", "-j", ".text", program], check=True, capture_output=True,
                         text=True).stdout
    function, line, found = None, None, []
    for text in out.splitlines():
        match = re.match(r"[0-9a-f]+ <([^>]+)>:$", text)
        if match:
            function, line = match.group(1), None
            continue
        match = re.match(r"(/\S+|\S+\.[ch]):(\d+)", text)
        if match:
            line = int(match.group(2)) if os.path.basename(match.group(1)) == HEADER else None
            continue
        match = re.match(r"\s*([0-9a-f]+):\t([0-9a-f ]+?)\s*\t(\S+)(?:\s+([0-9a-f]+) <)?", text)
        if match:
            at = int(match.group(1), 16)
            found.append(Instruction(function, line, at + shift, at, bytes.fromhex(match.group(2)), match.group(3),
                                     int(match.group(4), 16) if match.group(4) else None))
    return found


def jumps_of(code, source):
    found, seen = {}, collections.Counter()
    for i in code:
        if i.line is None or i.name[0] != "j" or i.name == "jmp":
            continue
        short = len(i.code) == 2 and 0x70 <= i.code[0] < 0x80
        assert short or (len(i.code) == 6 and i.code[0] == 0x0f), i
        seen[i.function, i.line] += 1
        taken = b"\xeb" + i.code[1:] if short else b"\x90\xe9" + i.code[2:]
        for way, patch in (("taken", taken), ("never", b"\x90" * len(i.code))):
            mutant = Mutant(i.function, i.line, source[i.line - 1].strip(), seen[i.function, i.line], way)
            found[mutant] = (i.where, i.code, patch)
    return found


def deletions_of(code, statements):
    """A statement is one piece of code. Nothing jumps into its middle, and nothing in it jumps elsewhere, but for a jump
    at its end that belongs to the block or the loop around it."""
    functions, found = collections.defaultdict(list), {}
    for i in code:
        functions[i.function].append(i)
    for s in statements:
        piece = [i for i in functions[s.function] if i.line is not None and s.first <= i.line <= s.last]
        while piece and piece[-1].name == "jmp":
            piece.pop()
        if not piece:
            continue
        begin, patched = piece[0].at, b"".join(i.code for i in piece)
        end = begin + len(patched)
        assert end == piece[-1].at + len(piece[-1].code), s
        for i in functions[s.function]:
            if i.name[0] == "j":
                assert begin <= i.target <= end if begin <= i.at < end else not begin < i.target < end, (s, i)
        mutant = Mutant(s.function, s.first, s.text, s.nth, "deleted")
        found[mutant] = (piece[0].where, patched, b"\x90" * len(patched))
    return found


def limits(seconds):
    def set_them():
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return set_them


def run(program, path, seconds):
    """True when the program says that all is well. Processor time is what is limited: other work here does no harm."""
    command = ["sh", "-c", program.command.replace("{}", path)] if program.command else [path]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             preexec_fn=limits(seconds), start_new_session=True)
    try:
        return child.wait(timeout=60 + 10 * seconds) == 0
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        return False


def try_one(task):
    """The mutant, and the program that found it, or None."""
    mutant, places = task
    folder = os.path.join(os.environ["MUTANTS_FOLDER"], str(os.getpid()))
    os.makedirs(folder, exist_ok=True)
    for program, (where, code, patch), seconds in places:
        copy = os.path.join(folder, program.path.replace("/", "_"))
        if not os.path.exists(copy):
            shutil.copy(program.path, copy)
        with open(copy, "r+b") as f:
            f.seek(where)
            assert f.read(len(code)) == code
            f.seek(where)
            f.write(patch)
        well = run(program, copy, seconds)
        with open(copy, "r+b") as f:
            f.seek(where)
            f.write(code)
        if not well:
            return mutant, os.path.basename(program.path)
    return mutant, None


def key_of(mutant):
    return mutant.function, mutant.text, str(mutant.nth), mutant.way


def listed(path):
    rows = {}
    with open(path) as f:
        for row in f:
            if row.strip() and not row.startswith("#"):
                # The source line itself may hold what parts the fields.
                function, rest = row.strip().split(" | ", 1)
                text, nth, way, reason = rest.rsplit(" | ", 3)
                assert way in ("taken", "never", "deleted") and reason, "a row without a reason: " + row
                rows[function, text, nth, way] = reason
    return rows


def processor_time(program):
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    if not run(program, program.path, 120):
        sys.exit("mutants: %s fails as it is" % program.path)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime


def tasks_of(variants, source, all_programs):
    """Each mutant, and where it is in the programs, the quickest of its first variant first."""
    statements, speed, found, ways = statements_of(source), {}, {}, collections.OrderedDict()
    for variant, programs in variants.items():
        for program in programs:
            speed[program] = processor_time(program)
            code = instructions_of(program.path)
            found[program] = {**jumps_of(code, source), **deletions_of(code, statements)}
            for mutant in found[program]:
                ways.setdefault(variant, collections.defaultdict(set))[mutant.function, mutant.line].add(mutant)
        count = collections.Counter(mutant.way for of_line in ways[variant].values() for mutant in of_line)
        print("# %s: %d conditional jumps, %d statements; %s" % (variant, count["never"], count["deleted"], ", ".join(
            "%s %.2f s" % (os.path.basename(program.path), speed[program]) for program in programs)), flush=True)
    tasks, known = [], set()
    for first, programs in variants.items():
        for line in sorted(ways[first].keys() - known):
            # A line that was compiled otherwise has other jumps.
            of_line = [v for v in variants if v == first or ways[v].get(line) == ways[first][line]]
            wanted = [program for v in of_line for program in sorted(variants[v], key=speed.get)
                      if v == first or all_programs or speed[program] < 1]
            tasks += [(mutant, [(program, found[program][mutant], int(3 * speed[program]) + 2)
                                for program in wanted if mutant in found[program]]) for mutant in sorted(ways[first][line])]
        known |= ways[first].keys()
    return tasks


def main():
    count, seed, jobs, survivors_path = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    with open(HEADER) as f:
        source = f.read().split("\n")
    variants = collections.OrderedDict()
    for argument in sys.argv[5:]:
        variant, rest = argument.split(":", 1)
        path, _, command = rest.partition(" ")
        variants.setdefault(variant, []).append(Program(path, command))
    folder = tempfile.mkdtemp()
    os.environ["MUTANTS_FOLDER"] = folder
    rows = listed(survivors_path)
    try:
        tasks = tasks_of(variants, source, count == "listed")
        every = len(tasks)
        random.Random(seed).shuffle(tasks)
        if count == "listed":
            tasks = [task for task in tasks if key_of(task[0]) in rows]
        elif count != "all":
            tasks = tasks[:int(count)]
        if len(tasks) < 20:
            sys.exit("mutants: hardly any")
        return judge(tasks, every, rows, jobs, count in ("all", "listed"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def judge(tasks, every, rows, jobs, complete):
    began, finders, wrong, survived, tried = time.time(), collections.Counter(), [], collections.Counter(), set()
    with multiprocessing.Pool(jobs) as pool:
        for n, (mutant, finder) in enumerate(pool.imap_unordered(try_one, tasks), 1):
            key = key_of(mutant)
            tried.add(key)
            if finder:
                finders[finder] += 1
                if key in rows:
                    wrong.append("out of date, %s finds it: %s" % (finder, " | ".join(key)))
            else:
                survived[mutant.way == "deleted"] += 1
                if key not in rows:
                    wrong.append("survived: %s   (line %d)" % (" | ".join(key), mutant.line))
            if n % 100 == 0:
                print("# %4d of %d, %d survived, %d s" % (n, len(tasks), sum(survived.values()), time.time() - began),
                      flush=True)
    if complete:
        wrong += ["out of date, no such jump or statement: %s" % " | ".join(key) for key in rows if key not in tried]
    for text in sorted(wrong):
        print(text)
    deleted = sum(mutant.way == "deleted" for mutant, _ in tasks)
    print("# mutants: %d of %d tried in %d s, %d of them deletions; %d found (%s); %d jumps and %d deletions survived, "
          "%d are listed" % (len(tasks), every, time.time() - began, deleted, sum(finders.values()),
                             ", ".join("%s %d" % pair for pair in finders.most_common()), survived[False], survived[True],
                             len(rows)))
    print("%d passed, %d failed, 0 skipped" % (len(tasks) - sum("survived" in text for text in wrong), len(wrong)))
    return len(wrong) > 0


if __name__ == "__main__":
    sys.exit(main())
