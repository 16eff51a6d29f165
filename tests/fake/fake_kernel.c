/* fake_kernel.c - see fake_kernel.h. Descriptors and sockets, files, waiting, memory and time, faults and laws, in that
   order at the bottom; what they share comes first. */
#include "fake_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/un.h>
#include <unistd.h>

enum { FDS = 4096, SOCKS = 8192, INODES = 256, NAMES = 256, WATCHES = 4096, BLOCKS = 16384, PIPES = 16 };
enum { PIPE_ROOM = 65536, PIPE_PAGE = 4096, SEND_BUFFER = 212992, SEND_BUFFER_LEAST = 4608 };
enum { LINKS_MAX = 40, TARGET_MAX = 128 }; /* path_resolution(7) */
enum { QUEUE = 128, CALLS_KEPT = 1000000, COMPLAINTS = 32, WORLDS_MAX = 1000000 };

/* K_HELD: a file opened with O_PATH. K_COPY: the number that a descriptor had before F_DUPFD gave it another; it can only be closed. */
typedef enum kind { K_NONE, K_SOCKET, K_EPOLL, K_EVENT, K_PIPE_IN, K_PIPE_OUT, K_DIR, K_HELD, K_COPY } kind;

typedef struct descriptor {
    kind kind;
    int cloexec, nonblock;
    int is_async; /* O_ASYNC: a flag that we do not care for, and others may */
    int index;    /* of the socket, inode or pipe */
    int path_only;
    int ended;                 /* recv said 0 */
    int broken_in, broken_out; /* recv, send failed for good */
    unsigned long reported;    /* by which wait, if not touched since; 0: none */
    int bits;                  /* what it reported */
    int repeats;               /* so often in a row */
    unsigned long touched;     /* since which wait */
    unsigned long worked;      /* the same, and calls that failed count */
    unsigned long last_wait;   /* an epoll set: which was its last */
    int watch;                 /* the first of its watches + 1 */
    int connects;              /* a thread waits in connect(2) for it: it blocks meanwhile */
    int dozes;                 /* an epoll set: a thread sleeps in it */
    int struck;                /* by a fault: its error */
    unsigned long moved;       /* by which call a byte last moved, or it was accepted */
    long long moved_ms;
    uint64_t count;
} descriptor;

typedef struct sock {
    int used, type, listening, backlog, connected;
    int queue[QUEUE], queued;
    int line[QUEUE], waiting; /* who waits in connect(2) for a place in the queue, in that order */
    long long wait_us;        /* SO_SNDTIMEO; 0: without end */
    int peer;                 /* -1: none (any more) */
    unsigned char *bytes;
    size_t from, size, room; /* received and unread: a ring */
    size_t flight;           /* the last so many of them have not arrived yet */
    size_t urgent;           /* which of them was sent with MSG_OOB, from 1; 0: none */
    int urgent_inline;       /* SO_OOBINLINE */
    int takes_descriptors;   /* SO_PASSRIGHTS */
    int no_in, no_out, reset;
    int inode; /* bound to; -1 */
    int send_buffer;
    char name[109]; /* bound to, as it was then */
    unsigned mode;
    int fd;                            /* -1: not the process's */
    int held;                          /* by another process as well */
    long pid, uid, gid;                /* who made it, for the other side's SO_PEERCRED */
    long peer_pid, peer_uid, peer_gid; /* SO_PEERCRED */
} sock;

typedef enum file_kind { F_NONE, F_DIR, F_FILE, F_FIFO, F_LINK, F_SOCK } file_kind;

typedef struct inode {
    file_kind kind;
    unsigned mode;
    long uid, gid;
    long device;
    unsigned long number;   /* st_ino: the lowest that is free on the device, as soon as it is */
    int sock;               /* who is bound; -1: nobody */
    int links, parent, own; /* own: the process made it, by bind or as a copy that a link became */
    int held;               /* open by so many descriptors: it stays, and so does its number */
    char target[TARGET_MAX];
} inode;

typedef struct name {
    int dir, inode;
    char text[NAME_MAX + 1]; /* "": free */
} name;

typedef struct watch {
    int epoll, fd; /* epoll -1: free */
    uint32_t events;
    int queued, next;   /* in the ready list; the next watch of the same descriptor + 1 */
    unsigned long told; /* by which wait, and what */
    int told_bits;
    epoll_data_t data;
} watch;

typedef struct tube {
    int ends[2]; /* is each open */
    size_t from, size;
    unsigned char bytes[PIPE_ROOM];
} tube;

typedef struct block {
    void *at; /* NULL: free */
    size_t size;
} block;

fake_config fake;
jmp_buf fake_escape;
int fake_escape_set;

static descriptor fds[FDS];
static sock socks[SOCKS];
static inode inodes[INODES];
static name names[NAMES];
static watch watches[WATCHES];
static int ready[WATCHES], ready_count; /* who became ready, in that order */
static tube tubes[PIPES];
static block blocks[BLOCKS];
static int fds_used, socks_used, inodes_used, names_used, watches_used, blocks_used; /* only so many were ever in use */
static int locks[INODES];                                                            /* fd + 1 of the holder */
static long live_blocks;
static size_t live_bytes, peak_bytes;
static int as_test, hangs, interrupted, touched;
static long long now_us;
static int served[2]; /* the descriptors last received from and sent to */

typedef struct fault {
    unsigned long at;                      /* 0: none */
    int os_error, any, for_ever, happened; /* any: which of the call's errors; -1: os_error */
    fake_call call;
} fault;

static unsigned long waits, calls, strikes, refusals, connections, lacks, calls_of[FAKE_CALL_COUNT];
static fault faults[2];
static int refused[FAKE_CALL_COUNT]; /* with which errno, whoever asks and however often; 0: not */
static unsigned char kept[CALLS_KEPT];
static unsigned long long hash;
static char complaints[COMPLAINTS][160];
static int complaint_count, in_world;
static unsigned long stop_at; /* before which call the process is stopped; 0: never */
static int stop_ms;

/* ---- calls, faults and laws -------------------------------------------------------------------------------------- */

static const int errors_of[FAKE_CALL_COUNT][16] = {
#define FAKE_X(name, ...) {__VA_ARGS__},
    FAKE_CALLS(FAKE_X)
#undef FAKE_X
};
static const char *const names_of[FAKE_CALL_COUNT] = {
#define FAKE_X(name, ...) #name,
    FAKE_CALLS(FAKE_X)
#undef FAKE_X
};

void fake_complain(const char *text)
{
    if (complaint_count < COMPLAINTS)
        (void)snprintf(complaints[complaint_count], sizeof complaints[0], "call %lu: %s", calls, text);
    complaint_count++;
}

static void complain_fd(const char *text, int fd)
{
    char line[120];
    (void)snprintf(line, sizeof line, "%s (descriptor %d)", text, fd);
    fake_complain(line);
}

int fake_violations(void)
{
    return complaint_count;
}

const char *fake_violation(int n)
{
    return n >= 0 && n < complaint_count && n < COMPLAINTS ? complaints[n] : "";
}

static void give_up(const char *why)
{
    fake_complain(why);
    if (fake_escape_set) longjmp(fake_escape, 1);
    (void)fprintf(stderr, "fake kernel: %s\n", why);
    abort();
}

static void mix(long value)
{
    int i;
    for (i = 0; i < 4; i++) {
        hash ^= (unsigned long long)value >> (8 * i) & 255;
        hash *= 1099511628211ull;
    }
}

static int any_error_of(fake_call what, int which)
{
    int count = 0;
    while (errors_of[what][count]) count++;
    return count ? errors_of[what][which % count] : 0;
}

static int is_lack(int os_error)
{
    return os_error == EMFILE || os_error == ENFILE || os_error == ENOMEM || os_error == ENOBUFS;
}

/* This call is the one that was meant: learn what it is. */
static void aim(fault *f, fake_call what)
{
    if (calls != f->at) return;
    f->call = what;
    if (f->any >= 0) {
        f->os_error = any_error_of(what, f->any);
        if (!is_lack(f->os_error)) f->for_ever = 0;
    }
    if (!f->os_error) f->at = 0; /* this one cannot fail */
}

/* 0, or the errno with which this call is to fail. */
static int strike(fault *f, fake_call what)
{
    if (!f->at || (calls != f->at && !(f->for_ever && calls > f->at && what == f->call))) return 0;
    f->happened = 1;
    return f->os_error;
}

/* Every call passes here; 1: it is to fail, errno is set. 0: what it holds then is nobody's, see errno(3). */
static int gate(fake_call what)
{
    int os_error;
    if (calls < CALLS_KEPT) kept[calls] = (unsigned char)what;
    calls++;
    calls_of[what]++;
    if (fake.calls_per_ms && calls % fake.calls_per_ms == 0) now_us += 1000;
    mix((long)what);
    if (calls == stop_at) {
        now_us += stop_ms * 1000ll;
        if (fake.meanwhile) fake.meanwhile();
        interrupted = what == FAKE_epoll_wait || what == FAKE_poll;
    }
    if (fake.before) fake.before(what); /* which may let this very call fail */
    aim(&faults[0], what);
    aim(&faults[1], what);
    /* as if it had failed, for whoever looks at that alone */
    errno = calls % 3 == 0 ? ENOMEM : calls % 3 == 1 ? fake_errors_of(what)[0] : ENOSYS;
    os_error = strike(&faults[0], what);
    if (!os_error) os_error = strike(&faults[1], what);
    if (!os_error && refused[what]) os_error = refused[what], refusals++;
    if (os_error) {
        strikes++;
        lacks += (os_error == EMFILE || os_error == ENFILE) && (what == FAKE_accept || what == FAKE_accept4);
        errno = os_error;
        mix(os_error);
    }
    if (calls > fake.calls_max) give_up("livelock: too many calls");
    return os_error != 0;
}

static void note_struck(int fd)
{
    if (fd < 0 || fd >= FDS || !fds[fd].kind) return;
    if (!fds[fd].struck || (errno != EINTR && errno != EAGAIN)) fds[fd].struck = errno;
}

int fake_struck(int fd)
{
    return fd >= 0 && fd < FDS ? fds[fd].struck : 0;
}

/* A call on a descriptor that fails is work on it all the same. */
static int gate_fd(fake_call what, int fd)
{
    int failing = gate(what);
    mix(fd);
    if (what == FAKE_recv || what == FAKE_send) served[what == FAKE_send] = fd;
    if (!failing) return 0;
    if (fd >= 0 && fd < FDS) fds[fd].reported = 0, fds[fd].worked = waits;
    note_struck(fd);
    return 1;
}

static int gate_memory(fake_call what)
{
    if (!gate(what)) return 0;
    note_struck(served[0]);
    note_struck(served[1]);
    return 1;
}

static int fail(int os_error)
{
    errno = os_error;
    mix(os_error);
    return -1;
}

static int done(long result)
{
    mix(result);
    return (int)result;
}

void fake_stop_at(unsigned long call, int ms)
{
    stop_at = call;
    stop_ms = ms;
}

static void schedule(fault *f, unsigned long call, int os_error, int for_ever)
{
    memset(f, 0, sizeof *f);
    f->at = call;
    f->os_error = os_error;
    f->any = -1;
    f->for_ever = for_ever;
    f->call = FAKE_CALL_COUNT;
}

void fake_fault(unsigned long call, int os_error, int for_ever)
{
    schedule(&faults[0], call, os_error, for_ever);
    schedule(&faults[1], 0, 0, 0);
}

void fake_fault_too(unsigned long call, int os_error, int for_ever)
{
    schedule(&faults[1], call, os_error, for_ever);
}

void fake_fault_any(unsigned long call, int which, int for_ever)
{
    fake_fault(call, 0, for_ever);
    faults[0].any = which;
}

void fake_refuse(fake_call what, int os_error)
{
    refused[what] = os_error;
}

unsigned long fake_refusals(void)
{
    return refusals;
}

int fake_fault_happened(void)
{
    return faults[0].happened + faults[1].happened;
}

fake_call fake_fault_of(int n)
{
    return faults[n].call;
}

unsigned long fake_strikes(void)
{
    return strikes;
}

unsigned long fake_lacks(void)
{
    return lacks;
}

unsigned long fake_calls(void)
{
    return calls;
}

unsigned long fake_connections(void)
{
    return connections;
}

unsigned long fake_calls_of(fake_call what)
{
    return calls_of[what];
}

fake_call fake_call_at(unsigned long call)
{
    return call && call <= calls && call <= CALLS_KEPT ? (fake_call)kept[call - 1] : FAKE_CALL_COUNT;
}

const int *fake_errors_of(fake_call what)
{
    return errors_of[what];
}

const char *fake_name_of(fake_call what)
{
    return what < FAKE_CALL_COUNT ? names_of[what] : "?";
}

unsigned long long fake_trace_hash(void)
{
    return hash;
}

/* ---- descriptors ------------------------------------------------------------------------------------------------- */

static int lowest_fd(int least)
{
    int fd;
    for (fd = least; fd < FDS && fds[fd].kind; fd++) continue;
    return fd;
}

static int new_fd(kind what, int index, int cloexec, int nonblock)
{
    int fd;
    fd = lowest_fd(fake.low_descriptors ? 0 : 3);
    if (fd >= FDS || fd - 3 >= fake.descriptors_max) return fail(EMFILE);
    memset(&fds[fd], 0, sizeof fds[fd]);
    fds[fd].kind = what;
    fds[fd].index = index;
    fds[fd].cloexec = cloexec;
    fds[fd].nonblock = nonblock;
    if (fd >= fds_used) fds_used = fd + 1;
    return fd;
}

static int has_fd(void)
{
    int fd;
    fd = lowest_fd(fake.low_descriptors ? 0 : 3);
    return fd < FDS && fd - 3 < fake.descriptors_max; /* getrlimit(2): the number counts, not how many are open */
}

/* The descriptor, touched; NULL and a violation where it is not open. */
static descriptor *get(int fd)
{
    if (fd < 0 || fd >= FDS || !fds[fd].kind) {
        complain_fd("a call on a descriptor that is not open", fd);
        errno = EBADF;
        return NULL;
    }
    fds[fd].reported = 0;
    if (fds[fd].touched != waits) touched++;
    fds[fd].touched = fds[fd].worked = waits;
    return &fds[fd];
}

static void moved(int fd)
{
    fds[fd].moved = calls;
    fds[fd].moved_ms = fake_now_ms();
}

unsigned long fake_moved(int fd, long long *ms)
{
    *ms = fds[fd].moved_ms;
    return fds[fd].moved;
}

static sock *get_sock(int fd)
{
    descriptor *d = get(fd);
    if (!d) return NULL;
    if (d->kind == K_SOCKET) return &socks[d->index];
    errno = ENOTSOCK;
    return NULL;
}

int fake_open_descriptors(void)
{
    int fd, n = 0;
    for (fd = 0; fd < fds_used; fd++) n += fds[fd].kind != K_NONE;
    return n;
}

/* What was made without close-on-exec gets it before anything else is made, or a fork in between lets it leak. */
static void law_of_birth(void)
{
    int fd;
    for (fd = 0; fd < fds_used; fd++)
        if (fds[fd].kind && !fds[fd].cloexec) complain_fd("not close-on-exec when the next one is made", fd);
}

enum { ANYTHING = 0xffff };

/* epoll(7): whoever watches for any of these is put into the ready list, unless it is there. epoll_ctl(2): of those who
   watch with EPOLLEXCLUSIVE, only up to the first in whose set somebody sleeps; that of the rest nobody learns then. What
   ends a socket is told to all. */
static void wake_fd(int fd, uint32_t events)
{
    int i, enough = 0;
    for (i = fds[fd].watch; i && !enough; i = watches[i - 1].next) {
        watch *w = &watches[i - 1];
        if (!(events & (w->events | EPOLLERR | EPOLLHUP))) continue;
        enough = w->events & EPOLLEXCLUSIVE && fds[w->epoll].dozes && events != ANYTHING;
        fds[w->epoll].dozes = 0;
        if (w->queued) continue;
        w->queued = 1;
        ready[ready_count++] = i - 1;
    }
}

static void wake(const sock *s, uint32_t events)
{
    if (s->fd >= 0) wake_fd(s->fd, events);
}

/* ---- sockets ----------------------------------------------------------------------------------------------------- */

static int new_sock(int type)
{
    int i;
    for (i = 0; i < SOCKS && socks[i].used; i++) continue;
    if (i == SOCKS) give_up("the fake is too small: sockets");
    if (i >= socks_used) socks_used = i + 1;
    memset(&socks[i], 0, sizeof socks[i]);
    socks[i].used = 1;
    socks[i].type = type;
    socks[i].peer = socks[i].inode = socks[i].fd = -1;
    socks[i].mode = 0777;
    socks[i].send_buffer = SEND_BUFFER;
    socks[i].takes_descriptors = 1;
    socks[i].peer_uid = socks[i].peer_gid = -1;
    socks[i].pid = fake.pid;
    socks[i].uid = fake.uid;
    socks[i].gid = fake.gid;
    return i;
}

static void make_room(sock *s)
{
    s->room = fake.queue_bytes;
    s->bytes = (unsigned char *)malloc(s->room);
    if (!s->bytes) abort();
}

/* unix(7): what was received stays readable at the other end; unread input makes it a reset. */
static void close_sock(int i)
{
    sock *s = &socks[i];
    int k;
    for (k = 0; k < s->queued; k++) {
        sock *waiting = &socks[s->queue[k]];
        waiting->size = 1; /* closing a listener resets those that wait */
        close_sock(s->queue[k]);
    }
    if (s->peer >= 0) {
        sock *other = &socks[s->peer];
        other->peer = -1;
        other->no_in = other->no_out = 1;
        other->flight = 0;
        if (s->size) other->reset = 1;
        wake(other, ANYTHING);
    }
    if (s->inode >= 0) {
        inodes[s->inode].sock = -1;
        if (!inodes[s->inode].links && !inodes[s->inode].held) inodes[s->inode].kind = F_NONE;
    }
    free(s->bytes);
    memset(s, 0, sizeof *s);
}

static void shut_sock(sock *s, int how)
{
    sock *other = s->peer >= 0 ? &socks[s->peer] : NULL;
    if (how != SHUT_WR) s->no_in = 1, s->flight = 0; /* what was accepted does arrive */
    if (how != SHUT_RD) s->no_out = 1;
    if (other && how != SHUT_WR) other->no_out = 1;
    if (other && how != SHUT_RD) other->no_in = 1, other->flight = 0;
    wake(s, ANYTHING);
    if (other) wake(other, ANYTHING);
}

/* Only when three quarters have drained (unix(7)'s hysteresis). */
static int writable(const sock *s)
{
    return s->peer < 0 || 4 * socks[s->peer].size <= socks[s->peer].room;
}

size_t fake_room(int fd)
{
    const sock *s = get_sock(fd);
    const sock *to = s && s->peer >= 0 ? &socks[s->peer] : NULL;
    return to && !s->no_out ? to->room - to->size : 0;
}

size_t fake_unread(int fd)
{
    const sock *s = get_sock(fd);
    return s ? s->size - s->flight : 0;
}

static long put_bytes(sock *s, const unsigned char *bytes, size_t size)
{
    sock *to = s->peer >= 0 ? &socks[s->peer] : NULL;
    size_t n, i;
    if (s->no_out) return fail(EPIPE);
    if (!s->connected) return fail(ENOTCONN);
    if (!to) return fail(EPIPE);
    n = to->room - to->size < size ? to->room - to->size : size;
    if (!n) return fail(EAGAIN);
    for (i = 0; i < n; i++) to->bytes[(to->from + to->size + i) % to->room] = bytes[i];
    to->size += n;
    if (fake.staged) to->flight += n;
    else wake(to, EPOLLIN);
    return (long)n;
}

static void drop_bytes(sock *s, size_t n)
{
    s->from = (s->from + n) % s->room;
    s->size -= n;
    s->urgent = s->urgent > n ? s->urgent - n : 0;
}

/* The last byte that this one sent. */
static void make_urgent(const sock *s)
{
    socks[s->peer].urgent = socks[s->peer].size;
}

/* unix(7): the urgent byte is not part of the stream, unless SO_OOBINLINE says so. */
static void skip_urgent(sock *s)
{
    if (s->size > s->flight) drop_bytes(s, 1);
}

static long take_bytes(sock *s, unsigned char *bytes, size_t size, int peek)
{
    size_t here, n, i;
    sock *from = s->peer >= 0 ? &socks[s->peer] : NULL;
    if (!s->connected) return fail(EINVAL);
    if (s->urgent == 1 && !s->urgent_inline) skip_urgent(s);
    here = s->size - s->flight;
    n = here < size ? here : size;
    if (s->urgent > 1 && n >= s->urgent) n = s->urgent - 1; /* one recv stops before it */
    if (!here && s->reset) {                                /* told once, and MSG_PEEK is a telling */
        s->reset = 0;
        return fail(ECONNRESET);
    }
    if (!here) return s->no_in ? 0 : fail(EAGAIN);
    for (i = 0; i < n; i++) bytes[i] = s->bytes[(s->from + i) % s->room];
    if (peek) return (long)n;
    drop_bytes(s, n);
    if (from && writable(from)) wake(from, EPOLLOUT);
    return (long)n;
}

/* Poll bits of a socket, HUP and ERR included. One that was never connected hangs up, too. */
static int sock_ready(const sock *s)
{
    int bits = 0;
    if (s->size > s->flight || s->queued || s->no_in) bits |= POLLIN;
    if (s->no_in) bits |= POLLRDHUP;
    if (s->no_in && s->no_out) bits |= POLLHUP;
    if (s->listening) return bits;
    if (s->type != SOCK_DGRAM && !s->connected) bits |= POLLHUP;
    if (s->reset) bits |= POLLERR;
    if (writable(s)) bits |= POLLOUT;
    return bits;
}

static int is_full(const sock *l)
{
    return l->queued > l->backlog || l->queued >= QUEUE;
}

static int connect_to(int from, int listener)
{
    sock *s = &socks[from], *l = &socks[listener];
    int n;
    if (s->type != l->type) return fail(EPROTOTYPE);
    if (s->type == SOCK_DGRAM) return 0;
    if (!l->listening || l->no_in) return fail(ECONNREFUSED);
    if (is_full(l)) return fail(EAGAIN);
    if (s->connected) return fail(EISCONN);
    if (s->listening) return fail(EINVAL);
    n = new_sock(l->type);
    make_room(s);
    make_room(&socks[n]);
    s->peer = n;
    socks[n].peer = from;
    socks[n].peer_pid = s->pid;
    socks[n].peer_uid = s->uid;
    socks[n].peer_gid = s->gid;
    s->peer_pid = l->pid;
    s->peer_uid = l->uid;
    s->peer_gid = l->gid;
    s->connected = socks[n].connected = 1;
    socks[n].takes_descriptors = l->takes_descriptors; /* as it is now, not when it is accepted */
    (void)strcpy(socks[n].name, l->name);
    l->queue[l->queued++] = n;
    connections++;
    wake(l, EPOLLIN);
    return 0;
}

static void leave_line(sock *l, int who)
{
    int i;
    for (i = 0; i < l->waiting && l->line[i] != who; i++) continue;
    if (i == l->waiting) return;
    memmove(l->line + i, l->line + i + 1, sizeof *l->line * (size_t)(l->waiting - i - 1));
    l->waiting--;
}

/* A place in the queue is free: it goes to the first in the line at once, and not to whoever asks next. */
static void let_in(int listener)
{
    sock *l = &socks[listener];
    int was = errno;
    while (l->waiting && !is_full(l)) {
        int who = l->line[0];
        leave_line(l, who);
        (void)connect_to(who, listener);
    }
    errno = was;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

enum { ROOT = 0, HOME = 1 }; /* "/" and "/w" */

static int find_name(int dir, const char *text, size_t size)
{
    int i;
    for (i = 0; i < names_used; i++)
        if (names[i].text[0] && names[i].dir == dir && strlen(names[i].text) == size &&
            !memcmp(names[i].text, text, size))
            return i;
    return -1;
}

static int is_dots(const char *text, size_t size)
{
    return (size == 1 && *text == '.') || (size == 2 && !memcmp(text, "..", 2));
}

/* path_resolution(7): the owner's bits, else the group's, else the others'; what the first of them says is final. */
static int allowed(int node, unsigned bit) /* 4 read, 2 write, 1 search */
{
    const inode *i = &inodes[node];
    unsigned mode = i->uid == fake.uid ? i->mode >> 6 : i->gid == fake.gid ? i->mode >> 3 : i->mode;
    return as_test || fake.uid == 0 || (mode & bit) == bit;
}

/* A name may go only where its folder is writable; where that is sticky, only by who owns the file or the folder: unlink(2),
   EPERM. 0, or -1 with errno. */
static int may_remove(int folder, int node)
{
    if (!allowed(folder, 2)) return fail(EACCES);
    if (inodes[folder].mode & S_ISVTX && inodes[folder].uid != fake.uid && inodes[node].uid != fake.uid && fake.uid)
        return fail(EPERM);
    return 0;
}

/* The folder in which a path begins, and how much of the path that took; -1 with errno. proc(5): "self" and the descriptor
   are links, too. */
static int start_of(int dir, const char *path, int *used, int *links)
{
    int fd, size = 0;
    *used = 0;
    if (fake.no_proc || strncmp(path, "/proc/self/fd/", 14) || sscanf(path + 14, "%d/%n", &fd, &size) != 1 || !size)
        return *path == '/' ? ROOT : dir;
    *used = 14 + size;
    *links += 2;
    if (fd < 0 || fd >= FDS || !fds[fd].kind) return fail(ENOENT);
    return fds[fd].kind == K_DIR ? fds[fd].index : fail(ENOTDIR);
}

/* Where a path leads. entry: the name's; -1: nothing has that name; -2: it is the folder itself. */
typedef struct spot {
    int folder, entry;
    const char *last;
    size_t size;
} spot;

enum { ROOM_FOR_A_PATH = PATH_MAX + LINKS_MAX * TARGET_MAX };

/* The target of a link, and what of the path comes behind it. Two of them, for the one may be made from the other. */
static const char *join(int node, const char *behind)
{
    static char joined[2][ROOM_FOR_A_PATH];
    static int turn;
    turn = !turn;
    (void)snprintf(joined[turn], sizeof joined[0], "%s%s", inodes[node].target, behind);
    return joined[turn];
}

/* One component of size bytes, a slash or the end behind it; it is not the end of a link. 0: it was the last one. */
static int enter(spot *at, const char *path, size_t size, const char *rest)
{
    int n = at->entry;
    if (is_dots(path, size)) {
        if (size == 2) at->folder = inodes[at->folder].parent;
        at->entry = -2;
        return *rest != '\0';
    }
    at->last = path;
    at->size = size;
    if (path[size] && n >= 0 && inodes[names[n].inode].kind != F_DIR) return fail(ENOTDIR);
    if (!*rest) return 0;
    if (n < 0) return fail(ENOENT);
    at->folder = names[n].inode;
    return 1;
}

/* path_resolution(7). 0, or -1 with errno. */
static int walk(int dir, const char *path, int follow, spot *at)
{
    int used, links = 0, more = *path != '\0';
    if (!more) return fail(ENOENT);
    at->entry = -2;
    at->folder = start_of(dir, path, &used, &links);
    for (path += used; more > 0 && at->folder >= 0;) {
        const char *rest;
        size_t size;
        while (*path == '/') path++;
        if (!*path) return 0; /* of "/" alone, or of a link to a folder */
        size = strcspn(path, "/");
        for (rest = path + size; *rest == '/';) rest++;
        if (inodes[at->folder].kind != F_DIR) return fail(ENOTDIR);
        if (!allowed(at->folder, 1)) return fail(EACCES);
        if (size > NAME_MAX) return fail(ENAMETOOLONG);
        at->entry = find_name(at->folder, path, size);
        if (at->entry >= 0 && inodes[names[at->entry].inode].kind == F_LINK && (path[size] || follow)) {
            if (++links > LINKS_MAX) return fail(ELOOP);
            path = join(names[at->entry].inode, path + size);
            at->entry = -2;
            at->folder = start_of(at->folder, path, &used, &links);
            path += used;
        } else {
            more = enter(at, path, size, rest);
            path = rest;
        }
    }
    return at->folder < 0 ? -1 : more;
}

static int new_inode(file_kind what, unsigned mode)
{
    int i;
    for (i = 0; i < INODES && inodes[i].kind; i++) continue;
    if (i == INODES) give_up("the fake is too small: inodes");
    if (i >= inodes_used) inodes_used = i + 1;
    memset(&inodes[i], 0, sizeof inodes[i]);
    inodes[i].kind = what;
    inodes[i].mode = mode;
    inodes[i].uid = fake.uid;
    inodes[i].gid = fake.gid;
    inodes[i].sock = -1;
    return i;
}

static void number_it(int node, long device)
{
    unsigned long number = 10;
    int i;
    for (i = 0; i < inodes_used; i++) {
        if (!inodes[i].kind || inodes[i].device != device || inodes[i].number != number) continue;
        number++;
        i = -1;
    }
    inodes[node].device = device;
    inodes[node].number = number;
}

/* The first name of a file; it makes it one of its folder's device, and maybe of its group: inode(7), S_ISGID. */
static void settle_in(int dir, int node)
{
    number_it(node, inodes[dir].device);
    if (inodes[dir].mode & S_ISGID) inodes[node].gid = inodes[dir].gid;
}

static void add_name(int dir, const char *text, size_t size, int node)
{
    int i;
    for (i = 0; i < NAMES && names[i].text[0]; i++) continue;
    if (i == NAMES) give_up("the fake is too small: names");
    if (i >= names_used) names_used = i + 1;
    memcpy(names[i].text, text, size);
    names[i].text[size] = '\0';
    names[i].dir = dir;
    names[i].inode = node;
    if (!inodes[node].links++) settle_in(dir, node);
    inodes[node].parent = dir;
}

static void drop_name(int n)
{
    inode *i = &inodes[names[n].inode];
    names[n].text[0] = '\0';
    i->links--;
    if (!i->links && !i->held && i->sock < 0) i->kind = F_NONE;
}

/* A folder's descriptor or AT_FDCWD, to an inode. */
static int folder_of(int fd)
{
    descriptor *d;
    if (fd == AT_FDCWD) return HOME;
    d = get(fd);
    if (!d) return -1;
    return d->kind == K_DIR ? d->index : fail(ENOTDIR);
}

/* proc(5): a descriptor's own link leads to the file itself, whatever has its name by now. -1: it is no such path. */
static int held_by(const char *path)
{
    int fd, size = 0;
    if (strncmp(path, "/proc/self/fd/", 14) || sscanf(path + 14, "%d%n", &fd, &size) != 1 || path[14 + size]) return -1;
    return fd >= 0 && fd < FDS && fds[fd].kind == K_HELD && !fake.no_proc ? fds[fd].index : -1;
}

static int locate(int fd, const char *path, int follow, spot *at)
{
    const char *c;
    int dir = follow ? held_by(path) : -1;
    if (dir >= 0) {
        for (c = path; *c; c++) mix((unsigned char)*c);
        at->entry = -2;
        at->folder = dir;
        return 0;
    }
    for (c = path; *c; c++) mix((unsigned char)*c); /* char has a sign on some machines only */
    if (c - path >= PATH_MAX) return fail(ENAMETOOLONG);
    dir = *path == '/' ? ROOT : folder_of(fd); /* openat(2): of an absolute path the folder is not asked */
    return dir < 0 ? -1 : walk(dir, path, follow, at);
}

/* The test may do everything, and leaves no trace. */
static int locate_as_test(const char *path, spot *at)
{
    unsigned long long before = hash;
    int result;
    as_test = 1;
    result = locate(AT_FDCWD, path, 0, at);
    as_test = 0;
    hash = before;
    return result;
}

static int node_at(const spot *at)
{
    return at->entry == -2 ? at->folder : at->entry < 0 ? -1 : names[at->entry].inode;
}

static int put(const char *path, file_kind what, unsigned mode)
{
    spot at;
    int node;
    if (locate_as_test(path, &at) || at.entry != -1) give_up("the test puts a file where it cannot be");
    node = new_inode(what, mode);
    add_name(at.folder, at.last, at.size, node);
    return node;
}

static int inode_at(const char *path)
{
    spot at;
    return locate_as_test(path, &at) ? -1 : node_at(&at);
}

void fake_put_file(const char *path)
{
    (void)put(path, F_FILE, 0644);
}

void fake_put_dir(const char *path)
{
    (void)put(path, F_DIR, 0755);
}

void fake_put_mount(const char *path)
{
    int node = put(path, F_DIR, 0755), i;
    long device = 0;
    for (i = 0; i < inodes_used; i++)
        if (inodes[i].device > device) device = inodes[i].device;
    number_it(node, device + 1);
}

void fake_put_fifo(const char *path)
{
    (void)put(path, F_FIFO, 0644);
}

void fake_put_link(const char *path, const char *target)
{
    int node = put(path, F_LINK, 0777);
    (void)snprintf(inodes[node].target, sizeof inodes[node].target, "%s", target);
}

void fake_put_stale(const char *path)
{
    (void)put(path, F_SOCK, 0755);
}

int fake_put_live(const char *path, int type, int listening)
{
    int node = put(path, F_SOCK, 0755), s = new_sock(type);
    inodes[node].sock = s;
    socks[s].inode = node;
    socks[s].listening = listening;
    socks[s].backlog = 4;
    socks[s].pid = 4711;
    (void)snprintf(socks[s].name, sizeof socks[s].name, "%.108s", path);
    return s;
}

int fake_find_late(const char *path)
{
    int node = inode_at(path), s = new_sock(SOCK_STREAM);
    inodes[node].sock = s;
    socks[s].inode = node;
    socks[s].listening = 1;
    socks[s].backlog = 4;
    return s;
}

int fake_peer_listen(const char *path, unsigned mode, int backlog)
{
    int s = fake_put_live(path, SOCK_STREAM, 1);
    fake_set_mode(path, mode);
    socks[s].backlog = backlog < QUEUE - 1 ? backlog : QUEUE - 1;
    return s;
}

/* The nth name that a socket made by this process still has, without its folder; "" past the last. */
const char *fake_left_behind(int n)
{
    int i;
    for (i = 0; i < names_used; i++)
        if (names[i].text[0] && inodes[names[i].inode].own && !n--) return names[i].text;
    return "";
}

void fake_remove(const char *path)
{
    spot at;
    if (!locate_as_test(path, &at) && at.entry >= 0) drop_name(at.entry);
}

int fake_exists(const char *path)
{
    int saved = errno, result = inode_at(path) >= 0;
    errno = saved;
    return result;
}

unsigned long fake_inode(const char *path)
{
    int node = inode_at(path);
    return node < 0 ? 0 : inodes[node].number;
}

static int is_own(int node)
{
    return inodes[node].sock >= 0 && socks[inodes[node].sock].fd >= 0;
}

int fake_is_ours(const char *path)
{
    int node = inode_at(path);
    return node >= 0 && is_own(node);
}

unsigned fake_mode(const char *path)
{
    int node = inode_at(path);
    return node < 0 ? 0 : inodes[node].mode;
}

void fake_set_mode(const char *path, unsigned mode)
{
    int node = inode_at(path);
    if (node >= 0) inodes[node].mode = mode;
}

void fake_set_owner(const char *path, long uid)
{
    int node = inode_at(path);
    if (node >= 0) inodes[node].uid = uid;
}

void fake_set_identity(const char *path, long device, unsigned long number)
{
    int node = inode_at(path);
    if (node < 0) return;
    inodes[node].device = device;
    inodes[node].number = number;
}

void fake_set_group(const char *path, long gid)
{
    int node = inode_at(path);
    if (node >= 0) inodes[node].gid = gid;
}

/* ---- peers ------------------------------------------------------------------------------------------------------- */

/* The socket that is bound to a path; -1 with the errno of connect(2). */
static int listener_at(const char *path)
{
    spot at;
    int node;
    if (locate(AT_FDCWD, path, 1, &at)) return -1;
    node = node_at(&at);
    if (node < 0) return fail(ENOENT);
    if (!allowed(node, 2)) return fail(EACCES);
    if (inodes[node].kind != F_SOCK || inodes[node].sock < 0) return fail(ECONNREFUSED);
    return inodes[node].sock;
}

int fake_peer_connect(const char *path)
{
    int listener = listener_at(path), s;
    if (listener < 0) return -1;
    s = new_sock(SOCK_STREAM);
    socks[s].pid = fake.peer_pid;
    if (!connect_to(s, listener)) return s;
    close_sock(s);
    return -1;
}

int fake_peer_wait(const char *path)
{
    int s, listener = listener_at(path);
    if (listener < 0) return -1;
    s = new_sock(SOCK_STREAM);
    socks[s].pid = fake.peer_pid;
    socks[listener].line[socks[listener].waiting++] = s;
    let_in(listener);
    return s;
}

int fake_peer_waits(int peer)
{
    return !socks[peer].connected;
}

long fake_peer_send(int peer, const void *bytes, size_t size)
{
    return put_bytes(&socks[peer], (const unsigned char *)bytes, size);
}

long fake_peer_send_urgent(int peer, unsigned char byte)
{
    long n = put_bytes(&socks[peer], &byte, 1);
    if (n > 0) make_urgent(&socks[peer]);
    return n;
}

long fake_peer_recv(int peer, void *bytes, size_t size)
{
    return take_bytes(&socks[peer], (unsigned char *)bytes, size, 0);
}

int fake_peer_shutdown(int peer, int how)
{
    shut_sock(&socks[peer], how);
    return 0;
}

void fake_peer_close(int peer)
{
    close_sock(peer);
}

int fake_peer_accept(int listener)
{
    sock *l = &socks[listener];
    int n;
    if (!l->queued) return fail(EAGAIN);
    n = l->queue[0];
    memmove(l->queue, l->queue + 1, (size_t)--l->queued * sizeof l->queue[0]);
    let_in(listener);
    return n;
}

size_t fake_peer_pending(int peer)
{
    return socks[peer].size - socks[peer].flight;
}

static size_t land(sock *s, size_t size)
{
    size_t n = size < s->flight ? size : s->flight;
    s->flight -= n;
    if (n) wake(s, EPOLLIN);
    return n;
}

size_t fake_peer_arrive(int peer, size_t size)
{
    return socks[peer].peer < 0 ? 0 : land(&socks[socks[peer].peer], size);
}

size_t fake_peer_drain(int peer, size_t size)
{
    return land(&socks[peer], size);
}

/* ---- the header's side: sockets ---------------------------------------------------------------------------------- */

int fake_socket(int family, int type, int protocol)
{
    int plain = type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK), i, fd;
    if (gate(FAKE_socket)) return -1;
    law_of_birth();
    if (family != AF_UNIX) return fail(EAFNOSUPPORT);
    if (protocol) return fail(EPROTONOSUPPORT);
    if (!has_fd()) return fail(EMFILE);
    i = new_sock(plain);
    fd = new_fd(K_SOCKET, i, !!(type & SOCK_CLOEXEC), !!(type & SOCK_NONBLOCK));
    socks[i].fd = fd;
    return done(fd);
}

static int path_of(const struct sockaddr *address, socklen_t size, char path[109])
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)address;
    size_t n = size - offsetof(struct sockaddr_un, sun_path);
    if (size <= offsetof(struct sockaddr_un, sun_path) || size > sizeof *un || un->sun_family != AF_UNIX)
        return fail(EINVAL);
    memcpy(path, un->sun_path, n);
    path[n] = '\0';
    return 0;
}

int fake_bind(int fd, const struct sockaddr *address, socklen_t size)
{
    sock *s;
    spot at;
    char path[109];
    int node;
    if (gate_fd(FAKE_bind, fd)) return -1;
    s = get_sock(fd);
    if (!s || path_of(address, size, path)) return -1;
    if (s->inode >= 0) return fail(EINVAL);
    if (locate(AT_FDCWD, path, 0, &at)) return -1;
    if (at.entry != -1) return fail(EADDRINUSE);
    if (!allowed(at.folder, 2)) return fail(EACCES);
    node = new_inode(F_SOCK, s->mode & ~fake.umask & (fake.drops_mark ? 0777 : 07777));
    inodes[node].sock = fds[fd].index;
    inodes[node].own = 1;
    s->inode = node;
    (void)strcpy(s->name, path);
    add_name(at.folder, at.last, at.size, node);
    return done(0);
}

int fake_listen(int fd, int backlog)
{
    sock *s;
    if (gate_fd(FAKE_listen, fd)) return -1;
    s = get_sock(fd);
    if (!s) return -1;
    if (s->type == SOCK_DGRAM) return fail(EOPNOTSUPP);
    if (s->inode < 0 || s->connected) return fail(EINVAL);
    s->listening = 1;
    s->pid = fake.pid; /* unix(7): SO_PEERCRED names who called listen */
    s->uid = fake.uid;
    s->gid = fake.gid;
    s->backlog = backlog < QUEUE - 1 ? backlog : QUEUE - 1;
    return done(0);
}

static int accept_some(fake_call what, int fd, int flags)
{
    sock *l;
    int n;
    if (gate_fd(what, fd)) return -1;
    law_of_birth();
    if (fd == -1) return fail(EBADF); /* no descriptor at all: who asks so only asks whether the call is to be had */
    if (!get(fd)) return -1;
    lacks += !has_fd();
    if (!has_fd()) return fail(EMFILE); /* before the queue is looked at */
    l = get_sock(fd);
    if (!l) return -1;
    if (l->type == SOCK_DGRAM) return fail(EOPNOTSUPP);
    if (!l->listening) return fail(EINVAL);
    if (!l->queued && fds[fd].nonblock) return fail(EAGAIN);
    if (!l->queued && l->no_in) return fail(EINVAL); /* nothing to wait for */
    if (!l->queued) {
        complain_fd("accept would block", fd);
        return fail(EAGAIN);
    }
    n = fake_peer_accept(fds[fd].index);
    socks[n].fd = new_fd(K_SOCKET, n, !!(flags & SOCK_CLOEXEC), !!(flags & SOCK_NONBLOCK));
    moved(socks[n].fd);
    return done(socks[n].fd);
}

int fake_accept(int fd, struct sockaddr *address, socklen_t *size)
{
    (void)address, (void)size;
    return accept_some(FAKE_accept, fd, 0);
}

int fake_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    (void)address, (void)size;
    return accept_some(FAKE_accept4, fd, flags);
}

static int idle(int timeout, int *worlds);

/* connect(2) of a blocking socket whose server has a full queue (unix(7), SO_SNDTIMEO). Whenever it wakes it looks anew
   where the path leads, and once more when its time is up. */
static int wait_in_line(int who, int listener, const char *path)
{
    sock *s = &socks[who];
    long long until = s->wait_us ? now_us + s->wait_us : -1;
    int more = 1, worlds = 0;
    while (more > 0) {
        int at = listener;
        if (socks[at].waiting == QUEUE) return fail(EAGAIN);
        socks[at].line[socks[at].waiting++] = who;
        while (!s->connected && more > 0 && at == listener) {
            int left = until < 0 ? -1 : until > now_us ? (int)((until - now_us + 999) / 1000) : 0;
            more = idle(left, &worlds);
            listener = listener_at(path);
        }
        if (s->connected) return done(0);
        leave_line(&socks[at], who);
        if (more < 0) return fail(EINTR);
        if (listener < 0) return -1;
        if (!connect_to(who, listener)) return done(0);
        if (errno != EAGAIN) return -1;
    }
    return -1;
}

int fake_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    char path[109];
    int listener, result;
    if (gate_fd(FAKE_connect, fd)) return -1;
    if (!get_sock(fd) || path_of(address, size, path)) return -1;
    listener = listener_at(path);
    if (listener < 0) return -1;
    if (!connect_to(fds[fd].index, listener)) return done(0);
    if (errno != EAGAIN || fds[fd].nonblock) return -1;
    fds[fd].connects = 1;
    result = wait_in_line(fds[fd].index, listener, path);
    fds[fd].connects = 0;
    return result;
}

int fake_shutdown(int fd, int how)
{
    sock *s;
    if (gate_fd(FAKE_shutdown, fd)) return -1;
    s = get_sock(fd);
    if (!s) return -1;
    if (how < SHUT_RD || how > SHUT_RDWR) return fail(EINVAL);
    shut_sock(s, how);
    return done(0);
}

ssize_t fake_recv(int fd, void *bytes, size_t size, int flags)
{
    sock *s;
    long n;
    if (gate_fd(FAKE_recv, fd)) {
        if (errno != EAGAIN && errno != EINTR && fd >= 0 && fd < FDS) fds[fd].broken_in = 1;
        return -1;
    }
    mix((long)size);
    s = get_sock(fd);
    if (!s) return -1;
    if (!size) complain_fd("recv of length 0", fd);
    if (fds[fd].ended) complain_fd("recv after the end", fd);
    if (fds[fd].broken_in) complain_fd("recv after a fatal error", fd);
    n = take_bytes(s, (unsigned char *)bytes, size, flags & MSG_PEEK);
    if (n > 0 && !(flags & MSG_PEEK)) moved(fd);
    if (n < 0 && errno == EAGAIN && !fds[fd].nonblock) complain_fd("recv would block", fd);
    if (n < 0 && errno != EAGAIN) fds[fd].broken_in = 1;
    if (n == 0 && size && !(flags & MSG_PEEK)) fds[fd].ended = 1;
    mix(n);
    return n;
}

ssize_t fake_send(int fd, const void *bytes, size_t size, int flags)
{
    sock *s;
    long n;
    if (!(flags & MSG_NOSIGNAL)) complain_fd("send without MSG_NOSIGNAL", fd);
    if (gate_fd(FAKE_send, fd)) {
        if (errno != EAGAIN && errno != EINTR && fd >= 0 && fd < FDS) fds[fd].broken_out = 1;
        return -1;
    }
    mix((long)size);
    s = get_sock(fd);
    if (!s) return -1;
    if (!size) complain_fd("send of length 0", fd);
    if (fds[fd].broken_out) complain_fd("send after a fatal error", fd);
    n = put_bytes(s, (const unsigned char *)bytes, size);
    if (n > 0) moved(fd);
    if (n > 0 && flags & MSG_OOB) make_urgent(s);
    if (n < 0 && errno == EAGAIN && !fds[fd].nonblock) complain_fd("send would block", fd);
    if (n < 0 && errno != EAGAIN) fds[fd].broken_out = 1;
    mix(n);
    return n;
}

int fake_getsockopt(int fd, int level, int option, void *value, socklen_t *size)
{
    sock *s;
    struct {
        pid_t pid;
        uid_t uid;
        gid_t gid;
    } who;
    int number = 0;
    if (gate_fd(FAKE_getsockopt, fd)) return -1;
    s = get_sock(fd);
    if (!s) return -1;
    if (level != SOL_SOCKET) return fail(EOPNOTSUPP);
    if (option == SO_PEERCRED) {
        who.pid = (pid_t)s->peer_pid;
        who.uid = (uid_t)s->peer_uid;
        who.gid = (gid_t)s->peer_gid;
        if (*size > sizeof who) *size = sizeof who;
        memcpy(value, &who, *size);
        return done(0);
    }
    if (option == SO_DOMAIN) number = AF_UNIX;
    else if (option == SO_TYPE) number = s->type;
    else if (option == SO_ACCEPTCONN) number = s->listening;
    else if (option == SO_SNDBUF) number = s->send_buffer;
    else if (option == SO_OOBINLINE) number = s->urgent_inline;
    else if (option == SO_PASSRIGHTS && !fake.no_passrights) number = s->takes_descriptors;
    else if (option == SO_ERROR) {
        number = s->reset ? ECONNRESET : 0;
        s->reset = 0;
    } else return fail(ENOPROTOOPT);
    if (*size > sizeof number) *size = sizeof number;
    memcpy(value, &number, *size);
    return done(0);
}

int fake_setsockopt(int fd, int level, int option, const void *value, socklen_t size)
{
    sock *s;
    int number;
    if (gate_fd(FAKE_setsockopt, fd)) return -1;
    s = get_sock(fd);
    if (!s) return -1;
    if (level != SOL_SOCKET) return fail(EOPNOTSUPP);
    if (option == SO_SNDTIMEO) {
        struct timeval t;
        if (size != sizeof t) return fail(EINVAL);
        memcpy(&t, value, sizeof t);
        s->wait_us = t.tv_sec * 1000000ll + t.tv_usec;
        return done(0);
    }
    if (size < sizeof number) return fail(EINVAL);
    memcpy(&number, value, sizeof number);
    if (option == SO_OOBINLINE) s->urgent_inline = number != 0;
    else if (option == SO_PASSRIGHTS && !fake.no_passrights) s->takes_descriptors = number != 0;
    else if (option == SO_SNDBUF) /* socket(7): doubled, and never below a floor */
        s->send_buffer = number > SEND_BUFFER             ? 2 * SEND_BUFFER
                         : 2 * number < SEND_BUFFER_LEAST ? SEND_BUFFER_LEAST
                                                          : 2 * number;
    else return fail(ENOPROTOOPT);
    return done(0);
}

int fake_getsockname(int fd, struct sockaddr *address, socklen_t *size)
{
    struct sockaddr_un un;
    socklen_t used = offsetof(struct sockaddr_un, sun_path);
    sock *s;
    if (gate_fd(FAKE_getsockname, fd)) return -1;
    s = get_sock(fd);
    if (!s) return -1;
    memset(&un, 0, sizeof un);
    un.sun_family = AF_UNIX;
    memcpy(un.sun_path, s->name, sizeof un.sun_path);
    if (s->name[0]) used += (socklen_t)strlen(s->name) + 1;
    memcpy(address, &un, *size < used ? *size : used < sizeof un ? used : sizeof un);
    *size = used; /* one more than fits, for a name of 108 bytes: unix(7) */
    mix((long)used);
    return done(0);
}

/* fcntl(2), F_DUPFD_CLOEXEC: a second number for the same, after which the first is closed. */
static int renumber(int fd, int least)
{
    int other = lowest_fd(least);
    if (fds[fd].watch || fds[fd].kind == K_COPY) fake_complain("F_DUPFD of a descriptor that is in use");
    if (other >= FDS || other - 3 >= fake.descriptors_max) return fail(EMFILE);
    fds[other] = fds[fd];
    fds[other].cloexec = 1;
    fds[fd].kind = K_COPY;
    if (fds[other].kind == K_SOCKET) socks[fds[other].index].fd = other;
    if (other >= fds_used) fds_used = other + 1;
    return done(other);
}

int fake_fcntl(int fd, int what, ...)
{
    va_list arguments;
    descriptor *d;
    int value;
    if (gate_fd(FAKE_fcntl, fd)) return -1;
    d = get(fd);
    if (!d) return -1;
    if (what == F_GETFD) return done(d->cloexec ? FD_CLOEXEC : 0);
    if (what == F_GETFL) return done((d->nonblock ? O_NONBLOCK : 0) | (d->is_async ? O_ASYNC : 0));
    va_start(arguments, what);
    value = va_arg(arguments, int);
    va_end(arguments);
    if (what == F_DUPFD_CLOEXEC) return renumber(fd, value);
    if (what == F_SETFD) d->cloexec = !!(value & FD_CLOEXEC);
    if (what == F_SETFL) d->nonblock = !!(value & O_NONBLOCK), d->is_async = !!(value & O_ASYNC);
    return done(0);
}

static void drop_watch(int n)
{
    watch *w = &watches[n];
    int i, *link = &fds[w->fd].watch;
    while (*link != n + 1) link = &watches[*link - 1].next;
    *link = w->next;
    for (i = 0; i < ready_count && ready[i] != n; i++) continue;
    if (i < ready_count) memmove(ready + i, ready + i + 1, (size_t)(--ready_count - i) * sizeof ready[0]);
    memset(w, 0, sizeof *w);
    w->epoll = w->fd = -1;
}

static void wake_pipe(int tube_index, kind end, uint32_t events)
{
    int i;
    for (i = 0; i < fds_used; i++)
        if (fds[i].kind == end && fds[i].index == tube_index) wake_fd(i, events);
}

/* Of a pipe the other end learns that this one is gone. */
static void close_pipe_end(int fd)
{
    tubes[fds[fd].index].ends[fds[fd].kind == K_PIPE_OUT] = 0;
    wake_pipe(fds[fd].index, fds[fd].kind == K_PIPE_OUT ? K_PIPE_IN : K_PIPE_OUT, ANYTHING);
}

static void release(int fd)
{
    descriptor *d = &fds[fd];
    int i;
    while (d->watch) drop_watch(d->watch - 1);
    for (i = 0; d->kind == K_EPOLL && i < watches_used; i++)
        if (watches[i].epoll == fd) drop_watch(i);
    for (i = 0; d->kind == K_DIR && i < inodes_used; i++)
        if (locks[i] == fd + 1) locks[i] = 0;
    if (d->kind == K_SOCKET && !socks[d->index].held) close_sock(d->index);
    else if (d->kind == K_SOCKET) socks[d->index].fd = -1;
    if (d->kind == K_PIPE_IN || d->kind == K_PIPE_OUT) close_pipe_end(fd);
    if (d->kind == K_HELD && !--inodes[d->index].held && !inodes[d->index].links && inodes[d->index].sock < 0)
        inodes[d->index].kind = F_NONE;
    d->kind = K_NONE;
}

int fake_close(int fd)
{
    descriptor *d;
    int failing = gate(FAKE_close), os_error = errno, i;
    mix(fd);
    d = get(fd);
    if (!d) return -1;
    for (i = d->watch; i; i = watches[i - 1].next) {
        /* epoll(7): where a forked child holds the descriptor too, closing it does not take it out */
        if (fds[watches[i - 1].epoll].index == (int)fake.pid) complain_fd("closed while epoll watches it", fd);
    }
    for (i = 0; i < 2; i++)
        if (faults[i].happened && faults[i].for_ever == FAKE_UNTIL_CLOSE) faults[i].at = 0;
    release(fd);
    if (!failing) return done(0);
    errno = os_error; /* close(2): it is closed all the same */
    return -1;
}

int fake_eventfd(unsigned int count, int flags)
{
    int fd;
    if (gate(FAKE_eventfd)) return -1;
    law_of_birth();
    fd = new_fd(K_EVENT, 0, !!(flags & EFD_CLOEXEC), !!(flags & EFD_NONBLOCK));
    if (fd >= 0) fds[fd].count = count;
    return done(fd);
}

static int pipe_some(fake_call what, int ends[2], int flags)
{
    int i;
    if (gate(what)) return -1;
    law_of_birth();
    for (i = 0; i < PIPES && (tubes[i].ends[0] || tubes[i].ends[1]); i++) continue;
    if (i == PIPES) give_up("the fake is too small: pipes");
    ends[0] = new_fd(K_PIPE_IN, i, !!(flags & O_CLOEXEC), !!(flags & O_NONBLOCK));
    if (ends[0] < 0) return -1;
    ends[1] = new_fd(K_PIPE_OUT, i, !!(flags & O_CLOEXEC), !!(flags & O_NONBLOCK));
    if (ends[1] < 0) {
        fds[ends[0]].kind = K_NONE;
        return -1;
    }
    tubes[i].ends[0] = tubes[i].ends[1] = 1;
    tubes[i].from = tubes[i].size = 0;
    return done(0);
}

int fake_pipe(int ends[2])
{
    return pipe_some(FAKE_pipe, ends, 0);
}

int fake_pipe2(int ends[2], int flags)
{
    return pipe_some(FAKE_pipe2, ends, flags);
}

static long read_pipe(const descriptor *d, unsigned char *bytes, size_t size)
{
    tube *t = &tubes[d->index];
    size_t n = t->size < size ? t->size : size, i;
    if (!t->size) return t->ends[1] ? fail(EAGAIN) : 0;
    for (i = 0; i < n; i++) bytes[i] = t->bytes[(t->from + i) % PIPE_ROOM];
    t->from = (t->from + n) % PIPE_ROOM;
    t->size -= n;
    wake_pipe(d->index, K_PIPE_OUT, EPOLLOUT);
    return (long)n;
}

/* pipe(7): what is no longer than PIPE_BUF goes whole or not at all. */
static long write_pipe(const descriptor *d, const unsigned char *bytes, size_t size)
{
    tube *t = &tubes[d->index];
    size_t room = PIPE_ROOM - t->size, n = room < size ? room : size, i;
    if (!t->ends[0]) {
        fake_complain("a write to a pipe that nobody reads: SIGPIPE");
        return fail(EPIPE);
    }
    if (!n || (n < size && size <= PIPE_PAGE)) return fail(EAGAIN);
    for (i = 0; i < n; i++) t->bytes[(t->from + t->size + i) % PIPE_ROOM] = bytes[i];
    t->size += n;
    wake_pipe(d->index, K_PIPE_IN, EPOLLIN);
    return (long)n;
}

ssize_t fake_read(int fd, void *bytes, size_t size)
{
    descriptor *d;
    long n;
    if (gate_fd(FAKE_read, fd)) return -1;
    d = get(fd);
    if (!d) return -1;
    if (d->kind == K_EVENT) {
        if (size < sizeof d->count) return fail(EINVAL);
        if (!d->count && !d->nonblock) complain_fd("read would block", fd);
        if (!d->count) return fail(EAGAIN);
        memcpy(bytes, &d->count, sizeof d->count);
        d->count = 0;
        wake_fd(fd, EPOLLOUT);
        return done(8);
    }
    if (d->kind != K_PIPE_IN) return fail(EBADF);
    n = read_pipe(d, (unsigned char *)bytes, size);
    if (n < 0 && !d->nonblock) complain_fd("read would block", fd);
    mix(n);
    return n;
}

ssize_t fake_write(int fd, const void *bytes, size_t size)
{
    descriptor *d;
    uint64_t add;
    long n;
    if (gate_fd(FAKE_write, fd)) return -1;
    d = get(fd);
    if (!d) return -1;
    if (d->kind == K_EVENT) {
        if (size < sizeof add) return fail(EINVAL);
        memcpy(&add, bytes, sizeof add);
        if (add == UINT64_MAX) return fail(EINVAL);
        if (add > UINT64_MAX - 1 - d->count && !d->nonblock) complain_fd("write would block", fd);
        if (add > UINT64_MAX - 1 - d->count) return fail(EAGAIN);
        d->count += add;
        wake_fd(fd, EPOLLIN);
        return done(8);
    }
    if (d->kind != K_PIPE_OUT) return fail(EBADF);
    n = write_pipe(d, (const unsigned char *)bytes, size);
    if (n < 0 && errno == EAGAIN && !d->nonblock) complain_fd("write would block", fd);
    mix(n);
    return n;
}

/* ---- the header's side: files ------------------------------------------------------------------------------------ */

int fake_open(const char *path, int flags, ...)
{
    spot at;
    int node;
    if (gate(FAKE_open)) return -1;
    law_of_birth();
    if (locate(AT_FDCWD, path, !(flags & O_NOFOLLOW), &at)) return -1;
    node = node_at(&at);
    if (node < 0) return fail(ENOENT);
    if (inodes[node].kind != F_DIR && flags & O_PATH && !(flags & O_DIRECTORY)) {
        int held = new_fd(K_HELD, node, !!(flags & O_CLOEXEC), 1);
        if (held >= 0) inodes[node].held++;
        return done(held);
    }
    if (inodes[node].kind != F_DIR) return fail(ENOTDIR);
    if (!(flags & O_PATH) && !allowed(node, 4)) return fail(EACCES);
    node = new_fd(K_DIR, node, !!(flags & O_CLOEXEC), 1);
    if (node >= 0) fds[node].path_only = !!(flags & O_PATH);
    return done(node);
}

int fake_fstatat(int fd, const char *path, struct stat *st, int flags)
{
    static const mode_t kinds[] = {0, S_IFDIR, S_IFREG, S_IFIFO, S_IFLNK, S_IFSOCK};
    spot at;
    int node;
    memset(st, calls % 2 ? 0xff : 0, sizeof *st); /* what a call that failed leaves there is anybody's guess */
    if (gate(FAKE_fstatat)) return -1;
    if (locate(fd, path, !(flags & AT_SYMLINK_NOFOLLOW), &at)) return -1;
    node = node_at(&at);
    if (node < 0) return fail(ENOENT);
    memset(st, 0, sizeof *st);
    st->st_dev = (dev_t)inodes[node].device;
    st->st_ino = (ino_t)inodes[node].number;
    st->st_nlink = (nlink_t)inodes[node].links;
    st->st_uid = (uid_t)inodes[node].uid;
    st->st_gid = (gid_t)inodes[node].gid;
    st->st_mode = kinds[inodes[node].kind] | (mode_t)inodes[node].mode;
    return done(0);
}

/* Only a socket that nobody is bound to, or one of the process's own, may lose a name. */
static void law_of_removal(int entry, const char *how)
{
    int node = names[entry].inode;
    char line[120];
    if (inodes[node].kind == F_SOCK && (inodes[node].sock < 0 || is_own(node))) return;
    (void)snprintf(line, sizeof line, "%s of something foreign: %.60s", how, names[entry].text);
    fake_complain(line);
}

/* No lock, no removal, but of what the process itself is bound to. */
static void law_of_lock(int entry, int dir)
{
    const inode *i = &inodes[names[entry].inode];
    const int just_made = i->own && fake.links_are_copies;
    if (!is_own(names[entry].inode) && !just_made && !locks[dir]) fake_complain("a removal without the lock");
}

int fake_unlinkat(int fd, const char *path, int flags)
{
    spot at;
    if (gate(FAKE_unlinkat)) return -1;
    (void)flags;
    if (locate(fd, path, 0, &at)) return -1;
    if (at.entry < 0) return fail(at.entry == -2 ? EISDIR : ENOENT);
    if (may_remove(at.folder, names[at.entry].inode)) return -1;
    law_of_removal(at.entry, "unlink");
    law_of_lock(at.entry, at.folder);
    if (inodes[names[at.entry].inode].kind == F_DIR) return fail(EISDIR);
    drop_name(at.entry);
    return done(0);
}

int fake_linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    spot a, b;
    (void)flags;
    if (gate(FAKE_linkat)) return -1;
    if (locate(from_fd, from, 0, &a) || locate(to_fd, to, 0, &b)) return -1;
    if (a.entry < 0) return fail(ENOENT);
    if (b.entry != -1) return fail(EEXIST);
    if (inodes[a.folder].device != inodes[b.folder].device) return fail(EXDEV);
    if (!allowed(b.folder, 2)) return fail(EACCES);
    if (inodes[names[a.entry].inode].kind == F_DIR) return fail(EPERM);
    if (fake.links_are_copies) {
        inode copy = inodes[names[a.entry].inode];
        int node = new_inode(copy.kind, copy.mode);
        inodes[node].own = 1;
        add_name(b.folder, b.last, b.size, node);
        return done(0);
    }
    add_name(b.folder, b.last, b.size, names[a.entry].inode);
    return done(0);
}

static int cannot_replace(int by, int node)
{
    int i;
    if (inodes[node].kind == F_DIR && inodes[by].kind != F_DIR) return fail(EISDIR);
    if (inodes[node].kind != F_DIR && inodes[by].kind == F_DIR) return fail(ENOTDIR);
    for (i = 0; i < names_used; i++)
        if (names[i].text[0] && names[i].dir == node) return fail(ENOTEMPTY);
    return 0;
}

static int rename_some(int from_fd, const char *from, int to_fd, const char *to, unsigned int how)
{
    spot a, b;
    int node;
    if (locate(from_fd, from, 0, &a) || locate(to_fd, to, 0, &b)) return -1;
    if (inodes[a.folder].device != inodes[b.folder].device) return fail(EXDEV);
    if (a.entry == -2) return fail(EBUSY);
    if (b.entry == -2) return fail(how == RENAME_NOREPLACE ? EEXIST : EBUSY);
    if (a.entry < 0 || (how == RENAME_EXCHANGE && b.entry < 0)) return fail(ENOENT);
    if (how == RENAME_NOREPLACE && b.entry >= 0) return fail(EEXIST);
    if (b.entry >= 0 && names[a.entry].inode == names[b.entry].inode) return done(0); /* rename(2): nothing happens */
    if (may_remove(a.folder, names[a.entry].inode)) return -1;
    if (b.entry >= 0 && may_remove(b.folder, names[b.entry].inode)) return -1;
    if (!allowed(b.folder, 2)) return fail(EACCES);
    if (how == RENAME_EXCHANGE) {
        if (!locks[b.folder]) fake_complain("an exchange without the lock");
        node = names[a.entry].inode;
        names[a.entry].inode = names[b.entry].inode;
        names[b.entry].inode = node;
        return done(0);
    }
    if (b.entry >= 0) {
        law_of_removal(b.entry, "rename over");
        law_of_lock(b.entry, b.folder);
        if (cannot_replace(names[a.entry].inode, names[b.entry].inode)) return -1;
        drop_name(b.entry);
    }
    add_name(b.folder, b.last, b.size, names[a.entry].inode);
    drop_name(a.entry);
    return done(0);
}

int fake_renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    if (gate(FAKE_renameat)) return -1;
    return rename_some(from_fd, from, to_fd, to, 0);
}

int fake_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned int how)
{
    if (gate(FAKE_renameat2)) return -1;
    mix((long)how);
    if (fake.no_renameat2) return fail(fake.no_renameat2 == 2 ? EINVAL : ENOSYS);
    if (how & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE) || how == (RENAME_NOREPLACE | RENAME_EXCHANGE))
        return fail(EINVAL);
    return rename_some(from_fd, from, to_fd, to, how);
}

/* syscall(2): of renameat2 only, which not every libc has a function for. */
long fake_syscall(long number, ...)
{
    va_list arguments;
    const char *from, *to;
    int from_fd, to_fd;
    unsigned int how;
    va_start(arguments, number);
    from_fd = va_arg(arguments, int);
    from = va_arg(arguments, const char *);
    to_fd = va_arg(arguments, int);
    to = va_arg(arguments, const char *);
    how = va_arg(arguments, unsigned int);
    va_end(arguments);
    return fake_renameat2(from_fd, from, to_fd, to, how);
}

int fake_fchmod(int fd, mode_t mode)
{
    sock *s;
    if (gate(FAKE_fchmod)) return -1;
    s = get_sock(fd);
    if (!s) return -1;
    s->mode = mode;
    return done(0);
}

int fake_fchmodat(int fd, const char *path, mode_t mode, int flags)
{
    const int follows = !(flags & AT_SYMLINK_NOFOLLOW);
    spot at;
    int node;
    if (gate(FAKE_fchmodat)) return -1;
    if (follows && held_by(path) < 0) fake_complain("chmod that follows links");
    if (locate(fd, path, follows, &at)) return -1;
    node = node_at(&at);
    if (node < 0) return fail(ENOENT);
    if (inodes[node].kind == F_LINK) return fail(EOPNOTSUPP);
    if (!is_own(node)) fake_complain("chmod of something foreign");
    if (fake.uid && inodes[node].uid != fake.uid) return fail(EPERM);
    inodes[node].mode = mode;
    return done(0);
}

int fake_flock(int fd, int how)
{
    descriptor *d;
    if (gate(FAKE_flock)) return -1;
    d = get(fd);
    if (!d) return -1;
    if (d->kind != K_DIR || d->path_only) return fail(EBADF);
    if (how == LOCK_UN) {
        if (locks[d->index] == fd + 1) locks[d->index] = 0;
        return done(0);
    }
    if (!(how & LOCK_NB)) complain_fd("flock would block", fd);
    if (fake.foreign_lock || (locks[d->index] && locks[d->index] != fd + 1)) return fail(EWOULDBLOCK);
    locks[d->index] = fd + 1;
    return done(0);
}

int fake_locked(const char *folder)
{
    int node = inode_at(folder);
    return node >= 0 && locks[node] != 0;
}

/* ---- the header's side: waiting ---------------------------------------------------------------------------------- */

static int ready_bits(int fd);

/* POLLIN and the rest have the values of EPOLLIN and the rest; HUP and ERR come unasked, but not after EPOLLONESHOT. */
static int watch_bits(const watch *w)
{
    int asked = (int)(w->events & 0xffff);
    if (w->events & EPOLLONESHOT && !asked) return 0;
    return ready_bits(w->fd) & (asked | POLLHUP | POLLERR);
}

static int epoll_bits(int epoll)
{
    int i;
    for (i = 0; i < ready_count; i++)
        if (watches[ready[i]].epoll == epoll && watch_bits(&watches[ready[i]])) return POLLIN;
    return 0;
}

static int pipe_bits(const descriptor *d)
{
    const tube *t = &tubes[d->index];
    if (d->kind == K_PIPE_IN) return (t->size ? POLLIN : 0) | (t->ends[1] ? 0 : POLLHUP);
    return (t->size <= PIPE_ROOM - PIPE_PAGE ? POLLOUT : 0) | (t->ends[0] ? 0 : POLLERR);
}

static int ready_bits(int fd)
{
    const descriptor *d = &fds[fd];
    switch (d->kind) {
    case K_SOCKET: return sock_ready(&socks[d->index]);
    case K_EVENT: return (d->count ? POLLIN : 0) | (d->count < UINT64_MAX - 1 ? POLLOUT : 0);
    case K_PIPE_IN:
    case K_PIPE_OUT: return pipe_bits(d);
    case K_EPOLL: return epoll_bits(fd);
    default: return 0;
    }
}

/* What a process may not do in its sleep: hold descriptors that leak into its children or block. */
static void law_of_waiting(void)
{
    int fd;
    for (fd = 0; fd < fds_used; fd++) {
        if (!fds[fd].kind) continue;
        if (fd < 3) complain_fd("a standard stream's number", fd);
        if (!fds[fd].cloexec) complain_fd("not close-on-exec", fd);
        if (!fds[fd].nonblock && fds[fd].kind != K_EPOLL && !fds[fd].connects) complain_fd("not nonblocking", fd);
    }
}

static void begin_wait(void)
{
    waits++;
    touched = 0;
    law_of_waiting();
}

static void complain_of_spin(int fd)
{
    complain_fd("reported again though nothing was done about it: a spin", fd);
}

/* epoll: what a wait reports is worked on before the next wait of the same set. */
static void tell(watch *w, int bits, unsigned long wait_before)
{
    if (w->told && w->told == wait_before && w->told_bits == bits && fds[w->fd].worked < w->told)
        complain_of_spin(w->fd);
    w->told = waits;
    w->told_bits = bits;
}

/* poll: the same, but waits are counted of all pollers together, and two of them may watch one listener: so one report in
   vain is none. */
static void report(int fd, int bits)
{
    fds[fd].repeats = fds[fd].reported == waits - 1 && fds[fd].bits == bits ? fds[fd].repeats + 1 : 0;
    if (fds[fd].repeats >= 2) complain_of_spin(fd);
    fds[fd].reported = waits;
    fds[fd].bits = bits;
}

/* The world may run a server of its own, whose waits do not ask it again. */
static int ask_world(void)
{
    int moved;
    if (!fake.world || in_world) return 0;
    in_world = 1;
    moved = fake.world(fake.user);
    in_world = 0;
    return moved;
}

/* Nothing is ready: the world moves, or time passes. 0: the wait is over; -1: with errno. */
static int idle(int timeout, int *worlds)
{
    if (interrupted) {
        interrupted = 0;
        return fail(EINTR);
    }
    if (timeout && ask_world()) {
        if (++*worlds > WORLDS_MAX) give_up("livelock: the world goes on, the process does not");
        if (!interrupted) return 1;
        interrupted = 0;
        return fail(EINTR);
    }
    if (timeout < 0 && hangs++) give_up("hang: it waits for ever again, and nothing can happen");
    if (timeout < 0) {
        fake_complain("hang: it waits for ever, and nothing can happen");
        return fail(EINTR); /* once, so that it may find its way out */
    }
    now_us += timeout * 1000ll;
    return 0;
}

/* The same in an epoll set: who sleeps there can be woken in others' stead. */
static int idle_in(int epoll, int timeout, int *worlds)
{
    int another = fds[epoll].dozes, more;
    fds[epoll].dozes = 1;
    more = idle(timeout, worlds);
    fds[epoll].dozes &= another;
    return more;
}

void fake_doze(int epoll)
{
    fds[epoll].dozes = !epoll_bits(epoll);
}

int fake_dozes(int epoll)
{
    return fds[epoll].dozes;
}

int fake_epoll_create1(int flags)
{
    if (gate(FAKE_epoll_create1)) return -1;
    law_of_birth();
    return done(new_fd(K_EPOLL, (int)fake.pid, !!(flags & EPOLL_CLOEXEC), 0));
}

/* epoll_ctl(2), ERRORS: what cannot be watched, and what EPOLLEXCLUSIVE cannot be mixed with. */
static int cannot_watch(int epoll, int what, int fd, const struct epoll_event *event)
{
    const uint32_t mixes = EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE;
    int exclusive = what != EPOLL_CTL_DEL && event && (event->events & EPOLLEXCLUSIVE) != 0;
    if (fds[fd].kind == K_DIR) return fail(EPERM);
    if (fds[epoll].kind != K_EPOLL || epoll == fd) return fail(EINVAL);
    if (exclusive && (what == EPOLL_CTL_MOD || event->events & ~mixes)) return fail(EINVAL);
    return 0;
}

/* Exclusive ones stand in line behind all others, so that who has watched longest is woken first. */
static void add_watch(int epoll, int fd, uint32_t events)
{
    int i, *link = &fds[fd].watch;
    for (i = 0; i < watches_used && watches[i].epoll >= 0; i++) continue;
    if (i >= WATCHES) give_up("the fake is too small: watches");
    if (i >= watches_used) watches_used = i + 1;
    memset(&watches[i], 0, sizeof watches[i]);
    watches[i].epoll = epoll;
    watches[i].fd = fd;
    watches[i].events = events;
    while (events & EPOLLEXCLUSIVE && *link) link = &watches[*link - 1].next;
    watches[i].next = *link;
    *link = i + 1;
}

static int find_watch(int epoll, int fd)
{
    int at;
    for (at = fds[fd].watch; at && watches[at - 1].epoll != epoll; at = watches[at - 1].next) continue;
    return at;
}

int fake_epoll_ctl(int epoll, int what, int fd, struct epoll_event *event)
{
    descriptor *e = NULL;
    watch *w;
    int at;
    if (gate_fd(what == EPOLL_CTL_DEL ? FAKE_epoll_del : FAKE_epoll_ctl, fd)) return -1;
    mix(what);
    e = get(epoll);
    if (!e || !get(fd) || cannot_watch(epoll, what, fd, event)) return -1;
    if (e->index != (int)fake.pid) fake_complain("epoll_ctl by another process than the one that made the set");
    at = find_watch(epoll, fd);
    if (what < EPOLL_CTL_ADD || what > EPOLL_CTL_MOD) return fail(EINVAL);
    if (what == EPOLL_CTL_ADD && at) return fail(EEXIST);
    if (what != EPOLL_CTL_ADD && !at) return fail(ENOENT);
    if (what == EPOLL_CTL_DEL) {
        drop_watch(at - 1);
        return done(0);
    }
    if (what == EPOLL_CTL_MOD && watches[at - 1].events & EPOLLEXCLUSIVE) return fail(EINVAL);
    if (what == EPOLL_CTL_ADD) {
        add_watch(epoll, fd, event->events);
        at = find_watch(epoll, fd);
    }
    w = &watches[at - 1];
    w->events = event->events;
    w->data = event->data;
    mix((long)(w->events & 0xffff));
    if (!w->queued && watch_bits(w)) {
        e->dozes = 0;
        w->queued = 1;
        ready[ready_count++] = at - 1;
    }
    return done(0);
}

/* epoll(7): who became ready first is told first; who is told and still watched by level goes to the end of the list,
   and who turns out not to be ready leaves it. */
static int collect(int epoll, struct epoll_event *events, int max, unsigned long wait_before)
{
    static int later[WATCHES];
    int i, bits, stay = 0, again = 0, n = 0;
    for (i = 0; i < ready_count; i++) {
        watch *w = &watches[ready[i]];
        if (w->epoll != epoll || n == max) {
            ready[stay++] = ready[i];
            continue;
        }
        bits = watch_bits(w);
        w->queued = bits && !(w->events & (EPOLLET | EPOLLONESHOT));
        if (w->queued) later[again++] = ready[i];
        if (!bits) continue;
        tell(w, bits, wait_before);
        events[n].events = (uint32_t)bits;
        events[n++].data = w->data;
        if (w->events & EPOLLONESHOT) w->events &= ~(uint32_t)0xffff;
    }
    memcpy(ready + stay, later, (size_t)again * sizeof ready[0]);
    ready_count = stay + again;
    return n;
}

int fake_epoll_wait(int epoll, struct epoll_event *events, int max, int timeout)
{
    int n, worlds = 0, more = 1;
    unsigned long wait_before;
    if (gate(FAKE_epoll_wait)) return -1;
    mix(max);
    mix(timeout);
    if (!get(epoll)) return -1;
    if (fds[epoll].kind != K_EPOLL || max <= 0) return fail(EINVAL);
    wait_before = fds[epoll].last_wait;
    begin_wait();
    fds[epoll].last_wait = waits;
    do {
        n = collect(epoll, events, max, wait_before);
    } while (!n && (more = idle_in(epoll, timeout, &worlds)) > 0);
    return more < 0 ? -1 : done(n);
}

int fake_poll(struct pollfd *p, nfds_t count, int timeout)
{
    nfds_t i;
    int n = 0, worlds = 0, more = 1;
    if (gate(FAKE_poll)) {
        if (count || errno == EINTR) return -1;
        strikes--; /* for no descriptors it needs no memory: it only sleeps */
        refusals -= errno == refused[FAKE_poll];
    }
    mix((long)count);
    mix(timeout);
    if (count > (nfds_t)fake.descriptors_max + 3) return fail(EINVAL);
    if (!count) {
        if (timeout < 0) fake_complain("a pause that nothing ends");
        (void)ask_world();
        now_us += timeout * 1000ll;
        return done(0);
    }
    begin_wait();
    do {
        for (i = 0; i < count; i++) {
            p[i].revents = 0;
            if (p[i].fd < 0) continue;
            if (p[i].fd >= FDS || !fds[p[i].fd].kind) {
                complain_fd("poll of a descriptor that is not open", p[i].fd);
                p[i].revents = POLLNVAL;
            } else {
                p[i].revents = (short)(ready_bits(p[i].fd) & (p[i].events | POLLHUP | POLLERR));
                if (p[i].revents) report(p[i].fd, p[i].revents);
            }
            n += p[i].revents != 0;
        }
    } while (!n && (more = idle(timeout, &worlds)) > 0);
    return more < 0 ? -1 : done(n);
}

/* ---- the header's side: memory, time, the process ---------------------------------------------------------------- */

static void *keep(void *at, size_t size)
{
    int i;
    if (!at) return NULL;
    for (i = 0; i < blocks_used && blocks[i].at; i++) continue;
    if (i >= BLOCKS) give_up("the fake is too small: blocks");
    if (i >= blocks_used) blocks_used = i + 1;
    blocks[i].at = at;
    blocks[i].size = size;
    live_blocks++;
    live_bytes += size;
    if (live_bytes > peak_bytes) peak_bytes = live_bytes;
    return at;
}

/* NULL and a violation where it was not allocated, or is free already. */
static block *find_block(const void *at)
{
    int i;
    for (i = 0; i < blocks_used && blocks[i].at != at; i++) continue;
    if (i < blocks_used) return &blocks[i];
    fake_complain("free of something that was not allocated");
    return NULL;
}

static void forget(block *b)
{
    live_blocks--;
    live_bytes -= b->size;
    free(b->at);
    b->at = NULL;
}

/* Fresh memory is never zero by luck. Sizes are no part of the trace: those of structures depend on the machine. */
void *fake_malloc(size_t size)
{
    void *at;
    if (gate_memory(FAKE_malloc)) return NULL;
    at = malloc(size ? size : 1);
    if (at) memset(at, 0xa5, size ? size : 1);
    return keep(at, size);
}

void *fake_calloc(size_t count, size_t size)
{
    if (gate_memory(FAKE_calloc)) return NULL;
    return keep(calloc(count ? count : 1, size ? size : 1), count * size);
}

/* Always moves: an old pointer that is still used is a use after free. */
void *fake_realloc(void *old, size_t size)
{
    block *b = NULL;
    void *at;
    if (gate_memory(FAKE_realloc)) return NULL;
    if (old && !(b = find_block(old))) return NULL;
    at = malloc(size ? size : 1);
    if (!at) abort();
    memset(at, 0xa5, size ? size : 1);
    (void)keep(at, size);
    if (b) {
        memcpy(at, old, b->size < size ? b->size : size);
        forget(b);
    }
    return at;
}

void fake_free(void *at)
{
    block *b = at ? find_block(at) : NULL;
    if (b) forget(b);
}

size_t fake_live_bytes(void)
{
    return live_bytes;
}

size_t fake_peak_bytes(void)
{
    return peak_bytes;
}

int fake_touched(void)
{
    return touched;
}

void fake_interrupt(void)
{
    interrupted = 1;
}

long fake_live_blocks(void)
{
    return live_blocks;
}

int fake_clock_gettime(clockid_t clock, struct timespec *t)
{
    (void)clock;
    if (gate(FAKE_clock_gettime)) return -1;
    t->tv_sec = (time_t)(now_us / 1000000);
    t->tv_nsec = (long)(now_us % 1000000) * 1000;
    return 0;
}

void fake_hold(int fd)
{
    socks[fds[fd].index].held = 1;
}

long long fake_now_ms(void)
{
    return now_us / 1000;
}

void fake_sleep(int ms)
{
    now_us += ms * 1000ll;
}

void fake_set_clock(long long us)
{
    now_us = us;
}

pid_t fake_getpid(void)
{
    return (pid_t)fake.pid;
}

uid_t fake_geteuid(void)
{
    return (uid_t)fake.uid;
}

int fake_getrlimit(int what, struct rlimit *limit)
{
    (void)what;
    if (gate(FAKE_getrlimit)) return -1;
    limit->rlim_cur = limit->rlim_max = fake.no_limit ? RLIM_INFINITY : (rlim_t)fake.descriptors_max;
    return done(0);
}

/* ---- a run ------------------------------------------------------------------------------------------------------- */

void fake_reset(void)
{
    int i;
    for (i = 0; i < socks_used; i++) free(socks[i].bytes);
    for (i = 0; i < blocks_used; i++) free(blocks[i].at);
    memset(fds, 0, sizeof fds[0] * (size_t)(fds_used > 0 ? fds_used : 0));
    memset(socks, 0, sizeof socks[0] * (size_t)socks_used);
    memset(inodes, 0, sizeof inodes[0] * (size_t)inodes_used);
    memset(names, 0, sizeof names[0] * (size_t)names_used);
    memset(locks, 0, sizeof locks[0] * (size_t)inodes_used);
    for (i = 0; i < PIPES; i++) tubes[i].ends[0] = tubes[i].ends[1] = 0;
    memset(blocks, 0, sizeof blocks[0] * (size_t)blocks_used);
    memset(calls_of, 0, sizeof calls_of);
    memset(refused, 0, sizeof refused);
    memset(&fake, 0, sizeof fake);
    fds_used = socks_used = inodes_used = names_used = watches_used = blocks_used = ready_count = 0;
    hangs = interrupted = touched = as_test = 0;
    live_bytes = peak_bytes = 0;
    complaint_count = in_world = 0;
    live_blocks = 0;
    now_us = 1000000;
    served[0] = served[1] = -1;
    calls = strikes = refusals = connections = lacks = 0;
    waits = 1;
    hash = 14695981039346656037ull;
    fake_fault(0, 0, 0);
    fake_stop_at(0, 0);
    fake_escape_set = 0;
    fake.descriptors_max = 64;
    fake.queue_bytes = 256;
    fake.umask = 022;
    fake.pid = 100;
    fake.uid = 1000;
    fake.gid = 1001;
    fake.calls_max = 100000;
    fake.peer_pid = 4242;
    (void)new_inode(F_DIR, 0755);
    inodes[ROOT].links = 1;
    number_it(ROOT, 1);
    fake_put_dir("/w");
}

void fake_crash(void)
{
    int i;
    for (i = 0; i < fds_used; i++)
        if (fds[i].kind) release(i);
    for (i = 0; i < blocks_used; i++)
        if (blocks[i].at) forget(&blocks[i]);
    fake.pid++;
}

void fake_finish(void)
{
    int fd;
    for (fd = 0; fd < fds_used; fd++)
        if (fds[fd].kind) complain_fd("left open at the end", fd);
    if (live_blocks) fake_complain("memory left allocated at the end");
}
