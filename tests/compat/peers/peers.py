"""peers.py BUILD REPORT: which echo server falls into which pitfall; writes the figures seen to REPORT.

Each trial gets a server's command line and a path, and says whether the server passes and with what figure. Ours has to
pass all; of the others it is only reported. A trial that could not be run counts as failed, a server that is not here
as skipped."""
import hashlib
import os
import platform
import resource
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import textwrap
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'interop'))
from world import Server, Tally, connect, digest, folder, receive, some_bytes  # noqa: E402

MIB = 1 << 20
tally = Tally()


class Peer:
    def __init__(self, name, command, orderly=None, package=None):
        self.name, self.command, self.package = name, command, package
        self.orderly = orderly or command  # with this one SIGTERM ends it in order, as far as it can


class Impossible(Exception):
    """The trial could not be run."""


# ---- tools -----------------------------------------------------------------------------------------------------------

def started(command, path, **options):
    server = Server(command, path, **options)
    if not server.ready:
        said = server.said()
        server.kill()
        raise Impossible('no start: ' + said[-200:])
    return server


def tried(command, path, **options):
    """A server whose start may fail: waits until it ended, or can be connected to, or three seconds."""
    return Server(command, path, patience=3.0, **options)


def members(group):
    """The processes of a process group."""
    found = []
    for name in os.listdir('/proc'):
        try:
            if name.isdigit() and os.getpgid(int(name)) == group:
                found.append(int(name))
        except ProcessLookupError:
            pass
    return found


def resident(group):
    total = 0
    for pid in members(group):
        try:
            with open('/proc/%d/statm' % pid) as file:
                total += int(file.read().split()[1]) * resource.getpagesize()
        except (OSError, IndexError):
            pass
    return total


def cpu_seconds(group):
    total = 0
    for pid in members(group):
        try:
            with open('/proc/%d/stat' % pid) as file:
                fields = file.read().rsplit(')', 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        except (OSError, IndexError):
            pass
    return total / os.sysconf('SC_CLK_TCK')


def ending(status):
    if status is None:
        return 'goes on'
    return 'died of ' + signal.Signals(-status).name if status < 0 else 'exit status %d' % status


def size_text(n):
    return '%.1f MiB' % (n / MIB) if abs(n) >= MIB // 10 else '%d kB' % round(n / 1024)


# ---- the trials ------------------------------------------------------------------------------------------------------

def p1(peer, path):
    """A regular file, an empty folder, a fifo and a dangling link are at the path before the start. | All are still \
there, and unchanged."""
    lost = []
    for kind in ('file', 'folder', 'fifo', 'dangling link'):
        if kind == 'file':
            with open(path, 'wb') as file:
                file.write(b'kept\0as it is\n')
        elif kind == 'folder':
            os.mkdir(path)
        elif kind == 'fifo':
            os.mkfifo(path)
        else:
            os.symlink(path + '.nowhere', path)
        before = os.lstat(path)
        with tried(peer.command, path):
            try:
                after = os.lstat(path)
                same = (after.st_mode, after.st_ino, after.st_mtime_ns) == \
                    (before.st_mode, before.st_ino, before.st_mtime_ns)
                if kind == 'file' and same:
                    with open(path, 'rb') as file:
                        same = file.read() == b'kept\0as it is\n'
            except OSError:
                same = False
        if not same:
            lost.append(kind)
        for name in (path, path + '.nowhere'):
            if os.path.isdir(name) and not os.path.islink(name):
                os.rmdir(name)
            elif os.path.lexists(name):
                os.unlink(name)
    return not lost, 'removed the ' + ' and the '.join(lost) if lost else 'all kept'


def listener_of(path):
    client = connect(path)
    try:
        return struct.unpack('3i', client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    finally:
        client.close()


def p2(peer, path):
    """A second server is started on the path of a live one. | Whoever connects still reaches the first, and the \
second refuses to start."""
    with started(peer.command, path) as first:
        owner = listener_of(path)
        second = subprocess.Popen(peer.command + [path], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            try:
                status = second.wait(3)
            except subprocess.TimeoutExpired:
                status = None
            try:
                now = listener_of(path)
            except OSError:
                now = -1
            kept = now == owner and first.alive()
            return kept and status not in (None, 0), '%s; the second: %s' % (
                'the first kept the path' if kept else 'the path was taken from a live server', ending(status))
        finally:
            if second.poll() is None:
                os.killpg(second.pid, signal.SIGKILL)
            second.wait()


def stale(peer, path):
    """A server is killed with SIGKILL, and started again on the path that stayed behind. | It serves."""
    with started(peer.command, path):
        pass
    if not os.path.exists(path):
        raise Impossible('nothing was left behind')
    with tried(peer.command, path) as server:
        return server.ready, 'serves' if server.ready else 'does not start: ' + ending(server.ended(0.1))


def p5(peer, path):
    """While it runs, its path is removed and another server binds there; then it gets SIGTERM. | The other's socket \
is still there, and can be connected to."""
    with started(peer.orderly, path) as server:
        os.unlink(path)
        successor = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        successor.bind(path)
        successor.listen(5)
        try:
            os.kill(server.pid, signal.SIGTERM)
            status = server.ended(5)
            try:
                connect(path, 1).close()
                kept = True
            except OSError:
                kept = False
            return kept, '%s (%s)' % ('kept' if kept else 'removed the socket of its successor', ending(status))
        finally:
            successor.close()


def p9(peer, path):
    """Started under umask 000, 022 and 077. | The mode of the socket is the same, and no other user may connect."""
    modes = []
    for mask in (0o000, 0o022, 0o077):
        with started(peer.command, path, preexec_fn=lambda: os.umask(mask)):
            modes.append('%04o' % stat.S_IMODE(os.lstat(path).st_mode))
        if os.path.exists(path):
            os.unlink(path)
    return set(modes) == {'0600'}, 'mode ' + ', '.join(modes)


def p13(peer, path):
    """Paths of 107, 108, 109, 120, 150 and 250 bytes. | Each is served under its own name, or refused with nothing \
created."""
    where, served, refused, wrong = os.path.dirname(path), [], [], []
    for length in (107, 108, 109, 120, 150, 250):
        name = os.path.join(where, 'n' * (length - len(os.fsencode(where)) - 1))
        with tried(peer.command, name) as server:
            found = os.listdir(where)
            if server.ready and found == [os.path.basename(name)]:
                served.append(str(length))
            elif not found:
                refused.append(str(length))
            elif found == [os.path.basename(name)]:
                served.append('%d (nobody can connect)' % length)
            else:
                wrong.append('%d (as %d)' % (length, len(os.fsencode(os.path.join(where, found[0])))))
        for entry in os.listdir(where):
            os.unlink(os.path.join(where, entry))
    parts = [word + ' ' + ', '.join(those)
             for word, those in (('serves', served), ('refuses', refused), ('cuts short', wrong)) if those]
    return not wrong and bool(served), '; '.join(parts)


def p15(peer, path):
    """The server may open ten more descriptors than it has, and 40 clients connect. After two seconds each in turn \
sends a byte, waits for its echo at most three seconds, and leaves; who found the queue full connects now. | Under 5 % \
CPU while it is full, and all 40 get their echo."""
    with started(peer.command, path) as server:
        time.sleep(0.3)
        limit = len(os.listdir('/proc/%d/fd' % server.pid)) + 10
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (limit, limit))
        clients = [None] * 40
        try:
            for i in range(40):
                try:
                    clients[i] = connect(path, 0.1)
                except OSError:
                    pass
            at_once = 40 - clients.count(None)
            time.sleep(0.3)
            before, began = cpu_seconds(server.pid), time.monotonic()
            time.sleep(2.0)
            busy = 100 * (cpu_seconds(server.pid) - before) / (time.monotonic() - began)
            served = 0
            for i in range(40):
                try:
                    clients[i] = clients[i] or connect(path, 3.0)
                    clients[i].settimeout(3.0)
                    clients[i].sendall(b'x')
                    served += clients[i].recv(1) == b'x'
                except OSError:
                    pass
                if clients[i]:
                    clients[i].close()
            figure = '%.0f %% CPU, %d of 40 served' % (busy, served)
            if at_once < 40:
                figure += ', %d could connect at once' % at_once
            if not server.alive():
                figure += ', ' + ending(server.ended(0))
            return busy < 5 and served == 40 and server.alive(), figure
        finally:
            for client in clients:
                if client:
                    client.close()


def p18(peer, path):
    """The server is stopped, 20 clients connect, send and half-close, SIGTERM is sent, the server goes on. | All 20 \
get their answer."""
    with started(peer.orderly, path) as server:
        os.kill(server.pid, signal.SIGSTOP)
        clients = []
        try:
            for i in range(20):
                try:
                    client = connect(path, 0.2)
                except OSError:  # a short backlog is full
                    continue
                client.settimeout(5.0)
                clients.append((client, b'hello %d' % i))
                client.sendall(clients[-1][1])
                client.shutdown(socket.SHUT_WR)
            os.kill(server.pid, signal.SIGTERM)
            os.kill(server.pid, signal.SIGCONT)
            answered = sum(receive(client)[0] == wanted for client, wanted in clients)
            status = server.ended(10)
            return answered == 20, '%d of 20 answered (%s%s)' % (
                answered, ending(status), '' if len(clients) == 20 else ', %d could connect' % len(clients))
        finally:
            for client, _ in clients:
                client.close()


def p22(peer, path):
    """One client sends 64 MiB and reads at the same time; another makes 100,000 writes of one byte. | All comes back, \
by its SHA-256."""
    figures = []
    with started(peer.command, path) as server:
        for size, piece in ((64 * MIB, 256 * 1024), (100000, 1)):
            data = some_bytes(size)
            client = connect(path, 10.0)

            def send():
                try:
                    for at in range(0, size, piece):
                        client.sendall(data[at:at + piece])
                except OSError:
                    pass

            sender = threading.Thread(target=send)
            began = time.monotonic()
            sender.start()
            back, how = receive(client, size, 60)
            seconds = time.monotonic() - began
            client.close()
            sender.join()
            if digest(back) != digest(data):
                return False, '%d of %d bytes came back%s' % (len(back), size, ', then ' + how if how else '')
            figures.append('%.1f s' % seconds)
    return True, 'equal: ' + ' and '.join(figures)


def p23(peer, path):
    """A client writes for three seconds, as much as is taken, and never reads. | In the last second nothing more was \
taken; ours may also grow by no more than 1 MiB."""
    with started(peer.command, path) as server:
        with connect(path) as warm:  # what it allocates for any client is not what is measured
            warm.sendall(b'x' * 65536)
            receive(warm, 65536)
        time.sleep(0.2)
        before = resident(server.pid)
        client = connect(path)
        client.setblocking(False)
        taken, marks, piece, began = 0, [], b'x' * 65536, time.monotonic()
        while time.monotonic() - began < 3:
            try:
                taken += client.send(piece)
            except BlockingIOError:
                time.sleep(0.002)
            except OSError:
                break
            if time.monotonic() - began > 2 and not marks:
                marks.append(taken)
        time.sleep(0.1)
        grown = resident(server.pid) - before
        client.close()
        bounded = bool(marks) and taken == marks[0] and server.alive()
        if peer.name == 'uds_echo.h':
            bounded = bounded and grown <= MIB
        return bounded, 'took %s, memory +%s' % (size_text(taken), size_text(grown))


def p24(peer, path):
    """Three times 4 MiB, of which as much as possible is on its way when the client half-closes; it waits 0.3 s and \
reads. | All of it comes, then the end."""
    data, least = some_bytes(4 * MIB, 2), 4 * MIB
    with started(peer.command, path):
        for _ in range(3):
            process = subprocess.run([EXCHANGE, 'half', path, '3000'], input=data, stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, timeout=60)
            whole = process.returncode == 0 and digest(process.stdout) == digest(data)
            least = min(least, len(process.stdout) if not whole else 4 * MIB)
            if process.stdout != data[:len(process.stdout)]:
                return False, 'altered'
            if not whole and least == 4 * MIB:
                return False, 'all came, but not the end: ' + process.stderr.decode().strip()
    return least == 4 * MIB, 'all, each time' if least == 4 * MIB else 'at worst %s of 4 MiB' % size_text(least)


def p25(peer, path):
    """Three times: a client sends all the time and reads what comes; SIGTERM; half a second later it half-closes, if \
it still can. | What it reads is what it sent, up to a point, and then the end, not a reset."""
    figures = []
    for _ in range(3):
        passes, figure = mid_send(peer, path)
        figures.append(figure)
        if not passes:
            return False, figure
        if os.path.exists(path):
            os.unlink(path)
    return True, figures[0]


def mid_send(peer, path):
    data, sent, stop = some_bytes(MIB, 3), [0], threading.Event()
    with started(peer.orderly, path) as server:
        client = connect(path, 10.0)

        def send():
            at = 0
            try:
                while not stop.is_set():
                    n = client.send(data[at:at + 65536])
                    sent[0], at = sent[0] + n, (at + n) % MIB
                client.shutdown(socket.SHUT_WR)
            except OSError:
                pass

        sender = threading.Thread(target=send)
        sender.start()
        timers = [threading.Timer(0.2, os.kill, (server.pid, signal.SIGTERM)), threading.Timer(0.7, stop.set)]
        for timer in timers:
            timer.start()
        hash_of_all, got, how = hashlib.sha256(), 0, ''
        while not how:
            back, how = receive(client, MIB)
            hash_of_all.update(back)
            got += len(back)
        stop.set()
        sender.join()
        client.close()
    expected = hashlib.sha256()
    for at in range(0, got, MIB):
        expected.update(data[:min(MIB, got - at)])
    same = expected.digest() == hash_of_all.digest() and got <= sent[0]
    return same and how == 'end', '%s %s, then %s' % (size_text(got), 'as sent' if same else 'that were not sent', how)


def p28(peer, path):
    """Sends "a", then "b" with MSG_OOB, then "c". | "abc" comes back."""
    with started(peer.command, path) as server:
        with connect(path, 1.0) as client:
            try:
                client.send(b'a')
                client.send(b'b', socket.MSG_OOB)
                client.send(b'c')
            except OSError as error:
                raise Impossible('this system has no MSG_OOB for these sockets: %s' % error)
            back, how = receive(client, 3)
        return back == b'abc', '"%s" came back%s' % (back.decode('ascii', 'replace'),
                                                     '' if server.alive() else ', ' + ending(server.ended(0)))


def p29(peer, path):
    """A thousand clients send 64 KiB and leave without reading; SIGPIPE is at its default. | The server lives, and \
serves the next one."""
    piece = b'x' * 65536
    with started(peer.command, path) as server:
        for i in range(1000):
            try:
                client = connect(path, 5.0)
                client.setblocking(False)
                client.send(piece)
            except OSError:
                pass
            client.close()
            if not server.alive():
                return False, '%s after %d' % (ending(server.ended(0)), i + 1)
        try:
            with connect(path, 10.0) as client:
                client.sendall(b'still there')
                back, _ = receive(client, 11)
        except OSError:
            back = b''
        return back == b'still there', 'served after 1,000' if back else 'does not serve: ' + ending(server.ended(0))


TRIALS = [
    ('P1', 'removes what is no socket', p1), ('P2', 'takes a live server\'s path', p2),
    ('stale', 'starts again after SIGKILL', stale), ('P5', 'unlinks a successor\'s socket', p5),
    ('P9', 'permission follows the umask', p9), ('P13', 'long paths', p13), ('P15', 'descriptors run out', p15),
    ('P18', 'clients queued at SIGTERM', p18), ('P22', 'all at once, and a byte at a time', p22),
    ('P23', 'a client that never reads', p23), ('P24', 'data lost at a half-close', p24),
    ('P25', 'mid-send at SIGTERM', p25), ('P28', 'an out-of-band byte', p28), ('P29', 'SIGPIPE', p29),
]


# ---- the run ---------------------------------------------------------------------------------------------------------

def peers_in(build):
    at = os.path.join(build, 'peers')

    def here(name):
        return os.path.join(at, name)

    return [
        Peer('uds_echo.h', [os.path.join(build, 'echo_server'), '-q']),
        Peer('libuv', [here('libuv')], [here('orderly_libuv')], 'libuv1-dev'),
        Peer('libuv, expert', [here('libuv_expert')], [here('orderly_libuv_expert')], 'libuv1-dev'),
        Peer('libevent', [here('libevent')], [here('orderly_libevent')], 'libevent-dev'),
        Peer('asyncio', [here('asyncio')],
             [sys.executable, '-B', os.path.join(HERE, 'orderly_asyncio.py'), here('asyncio')], 'python3'),
        Peer('Node', [here('node')], ['node', '-r', os.path.join(HERE, 'orderly_node.js'), here('node')], 'nodejs'),
        Peer('socat', [here('socat')], None, 'socat'),
        Peer('the tutorial\'s', [here('seed')], None, 'python3'),
        Peer('Rust threads', [here('rust')], None, 'rustc'),
    ]


def version(command):
    try:
        words = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10)
        return words.stdout.decode('utf-8', 'replace').strip()
    except OSError:
        return ''


def versions():
    found = ['Linux ' + platform.release().split('-')[0], 'Python ' + platform.python_version()]
    for package in ('libuv1', 'libuv1-dev', 'libevent-core-2.1-7'):
        text = version(['dpkg-query', '-W', '-f', '${Version}', package])
        if text and ' ' not in text and not any(package.split('1')[0] in f for f in found):
            found.append(package.split('1')[0].rstrip('-').replace('-core-2.', '') + ' ' + text)
    node, socat, rust = version(['node', '--version']), version(['socat', '-V']), version(['rustc', '--version'])
    if node:
        found.append('Node ' + node)
    if 'version' in socat:
        found.append('socat ' + socat.split('version ')[1].split()[0])
    if rust:
        found.append(' '.join(rust.split()[:2]))
    return ', '.join(found)


def run_all(peers):
    results = {}
    for peer in peers:
        if not os.path.exists(peer.command[0]) and peer.package == 'rustc':
            print('note    %s: rustc is not here, and is too large to install for this' % peer.name)
            continue
        if not os.path.exists(peer.command[0]):
            tally.skip(peer.name, 'it was not built')
            continue
        for key, _, trial in TRIALS:
            where = folder()
            what = '%s %s' % (peer.name, key)
            try:
                passes, figure = trial(peer, os.path.join(where, 's'))
                results[peer.name, key] = passes, figure
                if peer.name == 'uds_echo.h':
                    tally.check(what, passes, figure)
                else:
                    tally.check(what, True, ('passes: ' if passes else 'falls into it: ') + figure)
            except (Impossible, OSError, subprocess.SubprocessError) as error:
                tally.check(what, False, 'could not be tried: %s' % error)
            finally:
                shutil.rmtree(where, ignore_errors=True)
    return results


def write_report(file, peers, results):
    peers = [peer for peer in peers if any(name == peer.name for name, _ in results)]

    def cell(peer, key):
        if (peer.name, key) not in results:
            return '?'
        return 'yes' if results[peer.name, key][0] else '**no**'

    prose = ['`make peers` builds small echo servers on other libraries (`bench/peers/`), runs the same trials on each '
             'and on `build/echo_server -q`, and writes this page: every word in the tables below was seen in that run.',
             'Run with: %s.' % versions(),
             'The servers are written as the documentation of their library writes an echo server; "libuv, expert" as '
             'somebody who knows its traps does. Much that a server fails here its library lets you do right with more '
             'code. Where a trial needs an end in order (P5, P18, P25), libuv, libevent, asyncio and Node run with a '
             'few lines more that on SIGTERM close the listener and serve those who are connected (`tests/compat/peers/`); the '
             'others get SIGTERM as they are. "The tutorial\'s" is a Python tutorial\'s server, which the examples follow '
             '(`bench/peers/seed.py`).',
             'Numbers are those of the pitfalls that the tests are named after. "yes": it passes.']
    lines = ['# Who passes what', '']
    for paragraph in prose:
        lines += textwrap.wrap(paragraph, 118, break_long_words=False, break_on_hyphens=False) + ['']
    lines += [
             '| | pitfall | ' + ' | '.join(peer.name for peer in peers) + ' |',
             '|---|---|' + '---|' * len(peers)]
    for key, title, _ in TRIALS:
        lines.append('| %s | %s | ' % (key, title) + ' | '.join(cell(peer, key) for peer in peers) + ' |')
    total = ['%d of %d' % (sum(results.get((p.name, key), (False,))[0] for key, _, _ in TRIALS), len(TRIALS))
             for p in peers]
    lines += ['| | passed | ' + ' | '.join(total) + ' |', '']
    for key, title, trial in TRIALS:
        done, wanted = (' '.join(part.split()) for part in trial.__doc__.split('|'))
        lines += ['## %s: %s' % (key, title), '', *textwrap.wrap(done, 118), '',
                  *textwrap.wrap('Passes: ' + wanted[0].lower() + wanted[1:], 118), '',
                  '| server | passes | seen |', '|---|---|---|']
        for peer in peers:
            seen = results[peer.name, key][1] if (peer.name, key) in results else 'could not be tried'
            lines.append('| %s | %s | %s |' % (peer.name, cell(peer, key), seen.replace('|', '/').replace('\n', ' ')))
        lines.append('')
    with open(file, 'w') as out:
        out.write('\n'.join(lines).rstrip() + '\n')


EXCHANGE = ''


def main():
    global EXCHANGE
    build, report = os.path.abspath(sys.argv[1]), sys.argv[2]
    EXCHANGE = os.path.join(build, 'interop', 'exchange')
    peers = peers_in(build)
    results = run_all(peers)
    write_report(report, peers, results)
    print('written: ' + report)
    return tally.end()


if __name__ == '__main__':
    sys.exit(main())
