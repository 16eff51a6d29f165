#!/usr/bin/env python3
"""mutants.py COUNT|all SEED JOBS SURVIVORS VARIANT:PROGRAM ...: does any test notice a branch that always goes one way?

The programs are tests with the header compiled in, without optimisation, so that each conditional jump is one the source
asks for. Each jump of the header is patched in place, in a copy, once to be always taken and once never; then the
programs run, the quickest first, until one fails, crashes or does not end. A mutant that all of them pass has survived.

Survivors must equal SURVIVORS: rows `function | source line | which jump of that line | taken or never | reason`. One
that is not listed fails the run, and so does a row whose mutant is found or does not exist. VARIANT tells programs
apart that were compiled with other macros; a later variant adds the lines that the earlier ones do not have."""
import collections
import multiprocessing
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time

HEADER = "uds_echo.h"
Jump = collections.namedtuple("Jump", "function line nth text")


def jumps_of(program, source):
    """Each conditional jump that belongs to the header: where it is in the file, and its bytes."""
    out = subprocess.run(["objdump", "-h", "-j", ".text", program], check=True, capture_output=True, text=True).stdout
    row = next(line.split() for line in out.splitlines() if " .text " in line)
    shift = int(row[5], 16) - int(row[3], 16)
    out = subprocess.run(["objdump", "-d", "-l", "-w", "-j", ".text", program], check=True, capture_output=True,
                         text=True).stdout
    function, line, found, seen = None, None, {}, collections.Counter()
    for text in out.splitlines():
        match = re.match(r"[0-9a-f]+ <([^>]+)>:$", text)
        if match:
            function, line = match.group(1), None
            continue
        match = re.match(r"(/\S+|\S+\.[ch]):(\d+)", text)
        if match:
            line = int(match.group(2)) if os.path.basename(match.group(1)) == HEADER else None
            continue
        match = re.match(r"\s*([0-9a-f]+):\t([0-9a-f ]+?)\s*\tj(?!mp)", text)
        if not match or line is None:
            continue
        code = bytes.fromhex(match.group(2))
        assert (len(code) == 2 and 0x70 <= code[0] < 0x80) or (len(code) == 6 and code[0] == 0x0f), text
        seen[function, line] += 1
        jump = Jump(function, line, seen[function, line], source[line - 1].strip())
        found[jump] = (int(match.group(1), 16) + shift, code)
    return found


def forced(code, way):
    if way == "never":
        return b"\x90" * len(code)
    return b"\xeb" + code[1:] if len(code) == 2 else b"\x90\xe9" + code[2:]


def limits(seconds):
    def set_them():
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return set_them


def run(program, seconds):
    """True when the program says that all is well. Processor time is what is limited: other work here does no harm."""
    try:
        done = subprocess.run([program], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, preexec_fn=limits(seconds), timeout=60 + 10 * seconds)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


FOLDER = None


def try_one(task):
    """The mutant, and the program that found it, or None."""
    global FOLDER
    jump, way, places = task
    if FOLDER is None:
        FOLDER = os.path.join(os.environ["MUTANTS_FOLDER"], str(os.getpid()))
        os.mkdir(FOLDER)
    for program, where, code, seconds in places:
        copy = os.path.join(FOLDER, program.replace("/", "_"))
        if not os.path.exists(copy):
            shutil.copy(program, copy)
        with open(copy, "r+b") as f:
            f.seek(where)
            assert f.read(len(code)) == code
            f.seek(where)
            f.write(forced(code, way))
        well = run(copy, seconds)
        with open(copy, "r+b") as f:
            f.seek(where)
            f.write(code)
        if not well:
            return jump, way, os.path.basename(program)
    return jump, way, None


def listed(path):
    rows = {}
    with open(path) as f:
        for row in f:
            if row.strip() and not row.startswith("#"):
                # The source line itself may hold what parts the fields.
                function, rest = row.strip().split(" | ", 1)
                text, nth, way, reason = rest.rsplit(" | ", 3)
                assert way in ("taken", "never") and reason, "a row without a reason: " + row
                rows[function, text, nth, way] = reason
    return rows


def main():
    count, seed, jobs, survivors_path = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    with open(HEADER) as f:
        source = f.read().split("\n")
    variants = collections.OrderedDict()
    for argument in sys.argv[5:]:
        variant, program = argument.split(":", 1)
        variants.setdefault(variant, []).append(program)
    folder = tempfile.mkdtemp()
    os.environ["MUTANTS_FOLDER"] = folder
    tasks, known = [], set()
    try:
        for variant, programs in variants.items():
            speed = {}
            for program in programs:
                began = resource.getrusage(resource.RUSAGE_CHILDREN)
                if not run(program, 60):
                    sys.exit("mutants: %s fails as it is" % program)
                ended = resource.getrusage(resource.RUSAGE_CHILDREN)
                speed[program] = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
            programs.sort(key=speed.get)
            found = {program: jumps_of(program, source) for program in programs}
            jumps = set(found[programs[0]])
            for program in programs:
                assert set(found[program]) == jumps, "%s was compiled otherwise than %s" % (program, programs[0])
            lines = {(jump.function, jump.line) for jump in jumps}
            for jump in sorted(jumps):
                if (jump.function, jump.line) not in known:
                    places = [(program, *found[program][jump], int(3 * speed[program]) + 2) for program in programs]
                    tasks += [(jump, way, places) for way in ("taken", "never")]
            known |= lines
            print("# %s: %d conditional jumps, %s" % (variant, len(jumps), ", ".join(
                "%s %.2f s" % (os.path.basename(program), speed[program]) for program in programs)), flush=True)
        every = len(tasks)
        random.Random(seed).shuffle(tasks)
        if count != "all":
            tasks = tasks[:int(count)]
        if len(tasks) < 20:
            sys.exit("mutants: hardly any")
        return judge(tasks, every, listed(survivors_path), jobs, count == "all")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def judge(tasks, every, rows, jobs, complete):
    began, finders, wrong, survived, tried = time.time(), collections.Counter(), [], 0, set()
    with multiprocessing.Pool(jobs) as pool:
        for n, (jump, way, finder) in enumerate(pool.imap_unordered(try_one, tasks), 1):
            key = (jump.function, jump.text, str(jump.nth), way)
            tried.add(key)
            if finder:
                finders[finder] += 1
                if key in rows:
                    wrong.append("out of date, %s finds it: %s" % (finder, " | ".join(key)))
            else:
                survived += 1
                if key not in rows:
                    wrong.append("survived: %s   (line %d)" % (" | ".join(key), jump.line))
            if n % 100 == 0:
                print("# %4d of %d, %d survived, %d s" % (n, len(tasks), survived, time.time() - began), flush=True)
    if complete:
        wrong += ["out of date, no such jump: %s" % " | ".join(key) for key in rows if key not in tried]
    for text in sorted(wrong):
        print(text)
    print("# mutants: %d of %d tried in %d s, %d found (%s), %d survived and %d are listed" % (
        len(tasks), every, time.time() - began, sum(finders.values()),
        ", ".join("%s %d" % pair for pair in finders.most_common()), survived, len(rows)))
    print("%d passed, %d failed, 0 skipped" % (len(tasks) - sum("survived" in text for text in wrong), len(wrong)))
    return len(wrong) > 0


if __name__ == "__main__":
    sys.exit(main())
