"""What interop.py and peers.py share: servers started and ended, bytes and their hashes, counts."""
import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time


class Tally:
    """Counts checks and says each in a line."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def check(self, what, ok, detail=''):
        if ok:
            self.passed += 1
        else:
            self.failed += 1
        print('%-6s  %s%s' % ('ok' if ok else 'FAILED', what, ': ' + detail if detail else ''), flush=True)
        return ok

    def skip(self, what, why):
        self.skipped += 1
        print('skip    %s: %s' % (what, why), flush=True)

    def end(self):
        print('%d passed, %d failed, %d skipped' % (self.passed, self.failed, self.skipped), flush=True)
        return 0 if not self.failed and self.passed + self.skipped else 1


def some_bytes(size, seed=1):
    """Bytes that do not repeat, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def digest(data):
    return hashlib.sha256(data).hexdigest()


def folder():
    return tempfile.mkdtemp(prefix='uds_echo.')


def _connect(client, address, deadline):
    """With a timeout Python connects without blocking, and a full queue says EAGAIN at once: wait for room."""
    while True:
        try:
            return client.connect(address)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.002)


def connect(path, timeout=10.0):
    """A client with a timeout. For a path that is too long for an address: through its folder."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(timeout)
    deadline = time.monotonic() + timeout
    try:
        if len(os.fsencode(path)) <= 107:
            _connect(client, path, deadline)
        else:
            directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
            try:
                _connect(client, '/proc/self/fd/%d/%s' % (directory, os.path.basename(path)), deadline)
            finally:
                os.close(directory)
    except OSError:
        client.close()
        raise
    return client


def receive(client, size=None, limit=None):
    """What comes until the end, or until size bytes came; then how it ended: '', 'end', 'reset', 'timeout'."""
    parts, got = [], 0
    deadline = time.monotonic() + limit if limit else None
    while size is None or got < size:
        try:
            data = client.recv(65536 if size is None else min(65536, size - got))
        except socket.timeout:
            return b''.join(parts), 'timeout'
        except OSError:
            return b''.join(parts), 'reset'
        if not data:
            return b''.join(parts), 'end'
        parts.append(data)
        got += len(data)
        if deadline and time.monotonic() > deadline:
            return b''.join(parts), 'timeout'
    return b''.join(parts), ''


class Server:
    """A server in a process group of its own, ready when its path can be connected to."""

    def __init__(self, command, path, patience=15.0, **options):
        self.path = path
        self.log = tempfile.TemporaryFile()
        options.setdefault('stdout', self.log)
        options.setdefault('stderr', self.log)
        self.process = subprocess.Popen(command + [path], stdin=subprocess.DEVNULL, start_new_session=True, **options)
        self.pid = self.process.pid
        self.ready = self._await(patience)

    def _await(self, patience):
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                connect(self.path, 1.0).close()
                return True
            except OSError:
                time.sleep(0.02)
        return False

    def alive(self):
        return self.process.poll() is None

    def said(self):
        self.log.seek(0)
        return self.log.read().decode('utf-8', 'replace').strip()

    def ended(self, seconds):
        """Its exit status (negative: the signal); None: it goes on."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self):
        """Ends it and what it started."""
        for number in (signal.SIGCONT, signal.SIGKILL):
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                pass
        self.process.wait()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


def have(program):
    return shutil.which(program) is not None
