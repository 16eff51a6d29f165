#!/usr/bin/env python3
"""planted.py tests|fuzz BUILD: does anything notice the bugs in tests/mutation/planted/*.txt?
planted.py plant NAME: puts that one into the header itself, which is for a copy of the project.

A bug is `=== NAME`, then `breaks:` the law or pitfall, `fuzz:` the fuzz target that should find it (`-`: none can see such a
thing, it is for the tests alone), perhaps `flags:` for it, and `blind: yes` where it was chosen by readers of the header
who had not seen the tests; then the text of the header that is replaced and the text that replaces it. The old text must
be in the header exactly once, so that a bug says so when the header has moved on. Each is put into a copy of the header,
never into the header.

tests: builds the tests over the fake kernel with it, one after the other until one fails, crashes or does not end. At
    least 90 % must be found; what is not found must be listed, with the reason, in tests/mutation/unfound.txt.
fuzz: runs a fuzzer from nothing, for each seed, and tells how many executions it took: libFuzzer, or AFL++ with
    ENGINE=afl. What SEEDS (1), RUNS (2,000,000) and BUGS (part of a name; or a number, so many, drawn by SEED) allow; the
    whole is SEEDS=10 BUGS=all. Before that each target must hold out for RUNS itself, at most 200,000, as the header
    is."""
import concurrent.futures
import glob
import os
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
JOBS = int(os.environ.get("WORKERS") or os.cpu_count())
ENOUGH = 90.0
VARIANTS = [("", []), ("_poll", ["-DUDS_ECHO_USE_POLL"]),
            ("_plain", ["-DUDS_ECHO_HAVE_%s=0" % what for what in ("EVENTFD", "ACCEPT4", "RENAMEAT2", "SYSCALL")])]
FIRST = {"server": ["test_conn"], "claim": ["test_claim"], "address": ["test_claim"], "client": ["test_client"]}
CC = os.environ.get("CC", "cc").split()
print_lock = threading.Lock()


class Bug:
    FORM = re.compile(r"^=== (\S+)\n((?:\w+: [^\n]*\n)+)--- old\n(.*?)\n--- new\n(.*?)\n--- end\n", re.S | re.M)

    def __init__(self, match):
        self.name, self.old, self.new = match.group(1, 3, 4)
        fields = dict(row.split(": ", 1) for row in match.group(2).splitlines())
        self.breaks, self.targets = fields["breaks"], fields["fuzz"].split()
        self.blind, self.flags = fields.get("blind") == "yes", fields.get("flags", "").split()


def all_bugs():
    """By name, of all files. What is neither a bug nor a comment is a mistake."""
    bugs = []
    for path in sorted(glob.glob(os.path.join(HERE, "planted", "*.txt"))):
        with open(path) as f:
            text = f.read()
        bugs += [Bug(match) for match in Bug.FORM.finditer(text)]
        rest = [row for row in Bug.FORM.sub("", text).splitlines() if row and not row.startswith("#")]
        if rest:
            sys.exit("planted: %s: not part of a bug: %s" % (path, rest[0]))
    bugs.sort(key=lambda bug: bug.name)
    names = [bug.name for bug in bugs]
    if len(set(names)) < len(names):
        sys.exit("planted: a name is there twice")
    return bugs


def plant(folder, header, bug):
    """A copy of the header with the bug in it (None: without), in a folder that comes before all others."""
    if bug:
        if header.count(bug.old) != 1:
            return False
        header = header.replace(bug.old, bug.new)
    with open(os.path.join(folder, "uds_echo.h"), "w") as f:
        f.write(header)
    return True


def limits():
    resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def quiet(command, **more):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          **more).returncode


def by_tests(header, bug, kernel, work):
    """The first test program that notices, "" when none does, None when it cannot be tried."""
    folder = tempfile.mkdtemp(dir=work)
    try:
        if not plant(folder, header, bug):
            return None
        # A program includes the header by its own folder's name first, so the tests are compiled from a copy.
        tests = [path for path in sorted(glob.glob("tests/unit/test_*.c")) + ["tests/fault/test_faults.c"]
                 if "harness.h" in open(path).read()]
        liked = [name for target in (bug.targets if bug else []) for name in FIRST.get(target, [])]
        tests.sort(key=lambda path: (not any(path.endswith(name + ".c") for name in liked), "faults" in path))
        for suffix, flags in VARIANTS:
            for test in tests:
                name = os.path.basename(test)[:-2] + suffix
                program = os.path.join(folder, name)
                done = subprocess.run(CC + ["-std=c99", "-O1", "-w", *flags, "-I", folder, "-Itests/fake", test, kernel,
                                            "-o", program, "-lcmocka", "-pthread"], capture_output=True, text=True)
                if done.returncode:
                    sys.stderr.write(done.stderr)
                    return None
                if quiet([program], preexec_fn=limits):
                    return name
        return ""
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def say(text):
    with print_lock:
        print(text, flush=True)


def unfound(known):
    with open(os.path.join(HERE, "unfound.txt")) as f:
        rows = dict(row.strip().split(" | ", 1) for row in f if row.strip() and not row.startswith("#"))
    return rows, [name for name in rows if name not in known]


def tests(header, bugs, build, work):
    kernel = os.path.join(build, "fake_kernel.o")
    if quiet(CC + ["-std=c99", "-O1", "-w", "-I.", "-Itests/fake", "-c", "tests/fake/fake_kernel.c", "-o", kernel]):
        sys.exit("planted: the fake kernel does not compile")
    if by_tests(header, None, kernel, work) != "":
        sys.exit("planted: the tests fail as it is")
    began, wrong, found, reasons = time.time(), 0, 0, unfound({bug.name for bug in bugs})
    for name in reasons[1]:
        say("no such bug: %s" % name)
        wrong += 1
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for n, (bug, by) in enumerate(zip(bugs, pool.map(lambda bug: by_tests(header, bug, kernel, work), bugs)), 1):
            found += bool(by)
            if by is None:
                note, wrong = "CANNOT BE PLANTED: its old text is not there once, or it does not compile", wrong + 1
            elif by:
                note = by
                if bug.name in reasons[0]:
                    note, wrong = by + ": FOUND, and listed in unfound.txt", wrong + 1
            elif bug.name in reasons[0]:
                note = "not found: " + reasons[0][bug.name]
            else:
                note, wrong = "NOT FOUND", wrong + 1
            say("%3d of %d  %-28s %-50s %s" % (n, len(bugs), bug.name, bug.breaks, note))
    percent = 100.0 * found / len(bugs)
    print("# planted bugs: %d of %d found by the tests (%.1f %%, at least %g), %d of them chosen blind, in %d s" % (
        found, len(bugs), percent, ENOUGH, sum(bug.blind for bug in bugs), time.time() - began))
    wrong += percent < ENOUGH and len(bugs) >= 40  # of a few, one may be one that is listed
    print("%d passed, %d failed, 0 skipped" % (found, wrong))
    return wrong > 0


FUZZ_FLAGS = ["-std=c99", "-O2", "-g", "-w", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


class LibFuzzer:
    """From nothing at all."""

    @staticmethod
    def compiler(target):
        traced = target in os.environ.get("FUZZ_TEXT", "").split()
        return ["clang", *FUZZ_FLAGS, "-fsanitize=fuzzer", *([] if traced else ["-fno-sanitize-coverage=trace-cmp"])]

    @staticmethod
    def run(program, seed, runs, folder):
        """Whether it found anything, and after how many executions."""
        done = subprocess.run([program, "-seed=%d" % seed, "-runs=%d" % runs, "-print_final_stats=1", "-max_len=512",
                               "-timeout=10", "-rss_limit_mb=1024", "-artifact_prefix=%s/" % folder],
                              cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              errors="replace", env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0:symbolize=0"))
        match = re.search(r"stat::number_of_executed_units: *(\d+)", done.stderr)
        return done.returncode != 0, int(match.group(1)) if match else 1


class Afl:
    """From an input of one zero, for it does not begin with none."""

    @staticmethod
    def compiler(_target):
        return ["afl-clang-fast", *FUZZ_FLAGS, "-fsanitize=fuzzer"]

    @staticmethod
    def run(program, seed, runs, folder):
        os.mkdir(os.path.join(folder, "in"))
        with open(os.path.join(folder, "in", "zero"), "wb") as f:
            f.write(b"\0")
        fuzzer = subprocess.Popen(
            ["afl-fuzz", "-s", str(seed), "-E", str(runs), "-t", "5000", "-i", "in", "-o", "out", "--", program],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=dict(os.environ, AFL_BENCH_UNTIL_CRASH="1", AFL_CRASHING_SEEDS_AS_NEW_CRASH="1", AFL_NO_UI="1",
                     AFL_SKIP_CPUFREQ="1", AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES="1", AFL_NO_AFFINITY="1"))
        while fuzzer.poll() is None:  # a crash ends it, a hang does not
            if glob.glob(os.path.join(folder, "out/default/hangs/id*")):
                fuzzer.terminate()
            time.sleep(0.1)
        kept = [glob.glob(os.path.join(folder, "out/default", kind, "id*")) for kind in ("crashes", "hangs")]
        try:
            with open(os.path.join(folder, "out/default/fuzzer_stats")) as f:
                executed = int(re.search(r"execs_done *: *(\d+)", f.read()).group(1))
        except FileNotFoundError:  # it does not begin where its first input crashes
            return quiet([program, os.path.join(folder, "in", "zero")], preexec_fn=limits) != 0, 1
        return any(kept), executed


ENGINE = {"libfuzzer": LibFuzzer, "afl": Afl}[os.environ.get("ENGINE") or "libfuzzer"]


def by_fuzzer(task):
    """How many executions it took with this seed; None: it was not found."""
    bug, seed, program, runs, work = task
    folder = tempfile.mkdtemp(dir=work)
    try:
        found, executed = ENGINE.run(program, seed, runs, folder)
        return bug, seed, max(1, executed) if found else None, executed
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def build_fuzzer(header, bug, target, work):
    """As `make fuzz` does: the fake kernel is not what is explored, and has no counters."""
    folder = tempfile.mkdtemp(dir=work)
    program = os.path.join(folder, "fuzz")
    if not plant(folder, header, bug):
        return None  # its text has moved
    done = subprocess.run([*ENGINE.compiler(target), *(bug.flags if bug else []), "-I", folder, "-Itests/fake", "-Ifuzz",
                           "fuzz/fuzz_%s.c" % target, os.path.join(work, "fake_kernel.o"), "-o", program],
                          capture_output=True, text=True, env=dict(os.environ, AFL_QUIET="1", AFL_USE_ASAN="1"))
    if done.returncode:
        sys.stderr.write(done.stderr)
        return None
    return program


def fuzz(header, bugs, work):
    seeds, runs = int(os.environ.get("SEEDS") or 1), int(os.environ.get("RUNS") or 2000000)
    began, tasks, without, wrong = time.time(), [], [], 0
    if quiet(["clang", *FUZZ_FLAGS, "-I.", "-Itests/fake", "-c", "tests/fake/fake_kernel.c", "-o", os.path.join(work, "fake_kernel.o")]):
        sys.exit("planted: the fake kernel does not compile")
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        here = {bug: [target for target in bug.targets if os.path.exists("fuzz/fuzz_%s.c" % target)] for bug in bugs}
        without = [bug for bug in bugs if not here[bug]]
        for bug in without:
            say("skip  %-28s there is no target that should find it: %s" % (bug.name, " ".join(bug.targets)))
        bugs = [bug for bug in bugs if here[bug]]
        # As it is, a target must hold out: one that fails anyway would find everything.
        for target in sorted({here[bug][0] for bug in bugs}):
            program = build_fuzzer(header, None, target, work)
            least = min(runs, 200000)
            _, _, found, executed = by_fuzzer((None, 1, program, least, work)) if program else (None, 1, 1, 0)
            fit = not found and executed >= least * 9 // 10  # AFL++ ends about there
            say("%-28s %-12s %s" % ("(no bug)", target, "holds out" if fit else "FAILS AS IT IS"))
            if not fit:
                wrong += 1
                for bug in bugs:
                    here[bug] = [name for name in here[bug] if name != target]
        bugs = [bug for bug in bugs if here[bug]]
        ready = pool.map(lambda bug: build_fuzzer(header, bug, here[bug][0], work), bugs)
        for bug, program in zip(bugs, ready):
            if program:
                tasks += [(bug, seed, program, runs, work) for seed in range(1, seeds + 1)]
            else:
                say("%-28s CANNOT BE PLANTED" % bug.name)
                wrong += 1
        took = {bug: [] for bug in bugs}
        for bug, seed, found, executed in pool.map(by_fuzzer, tasks):
            took[bug].append(found)
            say("%-28s %-12s seed %-2d %s" % (bug.name, here[bug][0], seed, "%d executions" % found if found
                                              else "MISSED after %d" % executed))
    all_found = [n for ns in took.values() for n in ns if n]
    missed = [bug.name for bug in bugs if took[bug] and not all(took[bug])]
    print("# %d bugs, %d seeds, found in %d of %d runs: median %d executions, worst %d, in %d s; missed at least once: %s" % (
        len(bugs), seeds, len(all_found), len(tasks), statistics.median(all_found) if all_found else 0,
        max(all_found, default=0), time.time() - began, " ".join(missed) or "none"))
    wrong += len(missed)
    print("%d passed, %d failed, %d skipped" % (len(bugs) - len(missed), wrong, len(without)))
    return wrong > 0 or not all_found


def main():
    what, build = sys.argv[1], os.path.abspath(sys.argv[2])
    os.chdir(ROOT)
    with open("uds_echo.h") as f:
        header = f.read()
    if what == "plant":
        return not plant(".", header, next(bug for bug in all_bugs() if bug.name == sys.argv[2]))
    os.makedirs(build, exist_ok=True)
    bugs = all_bugs()
    if what == "fuzz":
        for bug in bugs:
            if bug.targets == ["-"]:
                say("for the tests alone: %s" % bug.name)
        bugs = [bug for bug in bugs if bug.targets != ["-"]]
    if len(bugs) < 40:
        sys.exit("planted: hardly any")
    wanted = os.environ.get("BUGS") or ("10" if what == "fuzz" else "all")
    if wanted.isdigit():
        random.Random(int(os.environ.get("SEED") or 1)).shuffle(bugs)
        bugs = sorted(bugs[:int(wanted)], key=lambda bug: bug.name)
    elif wanted != "all":
        bugs = [bug for bug in bugs if re.search(wanted, bug.name)]
    work = tempfile.mkdtemp(dir=build)
    try:
        return tests(header, bugs, build, work) if what == "tests" else fuzz(header, bugs, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
