/* fake_kernel.c - see fake_kernel.h. Descriptors and sockets, files, waiting, memory and time, faults and laws, in that
   order at the bottom; what they share comes first. */
#include "fake_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/un.h>
#include <unistd.h>

enum { FDS = 4096, SOCKS = 8192, INODES = 256, NAMES = 256, WATCHES = 4096, BLOCKS = 16384, PIPES = 16 };
enum { QUEUE = 128, CALLS_KEPT = 100000, COMPLAINTS = 32, WORLDS_MAX = 1000000 };

typedef enum kind { K_NONE, K_SOCKET, K_EPOLL, K_EVENT, K_PIPE_IN, K_PIPE_OUT, K_DIR } kind;

typedef struct descriptor {
    kind kind;
    int cloexec, nonblock;
    int index;    /* of the socket, inode or pipe */
    int path_only;
    int ended;    /* recv said 0 */
    int broken_in, broken_out; /* recv, send failed for good */
    unsigned long reported; /* by which wait, if not touched since; 0: none */
    int bits;               /* what it reported */
    uint64_t count;
} descriptor;

typedef struct sock {
    int used, type, listening, backlog;
    int queue[QUEUE], queued;
    int peer; /* -1: none (any more) */
    unsigned char *bytes;
    size_t from, size, room; /* received and unread: a ring */
    int no_in, no_out, reset;
    int inode; /* bound to; -1 */
    unsigned mode;
    int fd;    /* -1: not the process's */
    long pid, uid, gid;                /* who made it, for the other side's SO_PEERCRED */
    long peer_pid, peer_uid, peer_gid; /* SO_PEERCRED */
} sock;

typedef enum file_kind { F_NONE, F_DIR, F_FILE, F_FIFO, F_LINK, F_SOCK } file_kind;

typedef struct inode {
    file_kind kind;
    unsigned mode;
    long uid;
    int sock; /* who is bound; -1: nobody */
    int links;
    char target[128];
} inode;

typedef struct name {
    int dir, inode;
    char text[300]; /* "": free */
} name;

typedef struct watch {
    int epoll, fd; /* epoll -1: free */
    uint32_t events;
    epoll_data_t data;
} watch;

fake_config fake;
jmp_buf fake_escape;
int fake_escape_set;

static descriptor fds[FDS];
static sock socks[SOCKS];
static inode inodes[INODES];
static name names[NAMES];
static watch watches[WATCHES];
static size_t pipes[PIPES]; /* bytes in each */
static void *blocks[BLOCKS];
static int fds_used, socks_used, watches_used, blocks_used, next_watch;
static int locks[INODES]; /* fd + 1 of the holder */
static long live_blocks;
static long long now_ms;

static unsigned long waits, calls, calls_of[FAKE_CALL_COUNT], fault_at;
static int fault_errno, fault_for_ever, fault_happened;
static fake_call fault_call;
static unsigned char kept[CALLS_KEPT];
static unsigned long long hash;
static char complaints[COMPLAINTS][160];
static int complaint_count, in_world;

/* ---- calls, faults and laws ------------------------------------------------------------------------------------------ */

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

/* Every call passes here; 1: it is to fail, errno is set. */
static int gate(fake_call what)
{
    if (calls < CALLS_KEPT) kept[calls] = (unsigned char)what;
    calls++;
    calls_of[what]++;
    if (fake.calls_per_ms && calls % fake.calls_per_ms == 0) now_ms++;
    mix((long)what);
    if (calls == fault_at) fault_call = what;
    if (fake.before) fake.before(what);
    if (calls != fault_at && !(fault_for_ever && fault_at && calls > fault_at && what == fault_call)) {
        if (calls > fake.calls_max) give_up("livelock: too many calls");
        return 0;
    }
    fault_happened = 1;
    errno = fault_errno;
    mix(fault_errno);
    if (calls > fake.calls_max) give_up("livelock: too many calls");
    return 1;
}

/* A call on a descriptor that fails is work on it all the same. */
static int gate_fd(fake_call what, int fd)
{
    if (!gate(what)) return 0;
    if (fd >= 0 && fd < FDS) fds[fd].reported = 0;
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

void fake_fault(unsigned long call, int os_error, int for_ever)
{
    fault_at = call;
    fault_errno = os_error;
    fault_for_ever = for_ever;
    fault_happened = 0;
    fault_call = FAKE_CALL_COUNT;
}

int fake_fault_happened(void)
{
    return fault_happened;
}

unsigned long fake_calls(void)
{
    return calls;
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

/* ---- descriptors ------------------------------------------------------------------------------------------------------ */

static int new_fd(kind what, int index, int cloexec, int nonblock)
{
    int fd, open = 0;
    for (fd = 3; fd < FDS && fds[fd].kind; fd++) open++;
    if (fd >= FDS || open >= fake.descriptors_max) return fail(EMFILE);
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
    return fake_open_descriptors() < fake.descriptors_max;
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
    return &fds[fd];
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

/* ---- sockets ---------------------------------------------------------------------------------------------------------- */

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
        if (s->size) other->reset = 1;
    }
    if (s->inode >= 0) {
        inodes[s->inode].sock = -1;
        if (!inodes[s->inode].links) inodes[s->inode].kind = F_NONE;
    }
    free(s->bytes);
    memset(s, 0, sizeof *s);
}

static void shut_sock(sock *s, int how)
{
    sock *other = s->peer >= 0 ? &socks[s->peer] : NULL;
    if (how != SHUT_WR) s->no_in = 1;
    if (how != SHUT_RD) s->no_out = 1;
    if (other && how != SHUT_WR) other->no_out = 1;
    if (other && how != SHUT_RD) other->no_in = 1;
}

static long put_bytes(sock *s, const unsigned char *bytes, size_t size)
{
    sock *to = s->peer >= 0 ? &socks[s->peer] : NULL;
    size_t n, i;
    if (s->no_out || !to) return fail(EPIPE);
    n = to->room - to->size < size ? to->room - to->size : size;
    if (!n) return fail(EAGAIN);
    for (i = 0; i < n; i++) to->bytes[(to->from + to->size + i) % to->room] = bytes[i];
    to->size += n;
    return (long)n;
}

static long take_bytes(sock *s, unsigned char *bytes, size_t size, int peek)
{
    size_t n = s->size < size ? s->size : size, i;
    if (!n && s->reset) {
        if (!peek) s->reset = 0;
        return fail(ECONNRESET);
    }
    if (!n) return s->no_in ? 0 : fail(EAGAIN);
    for (i = 0; i < n; i++) bytes[i] = s->bytes[(s->from + i) % s->room];
    if (peek) return (long)n;
    s->from = (s->from + n) % s->room;
    s->size -= n;
    return (long)n;
}

/* Poll bits of a socket, HUP and ERR included. Writable only when three quarters have drained (unix(7)'s hysteresis). */
static int sock_ready(const sock *s)
{
    int bits = 0;
    if (s->listening) return s->queued || s->no_in ? POLLIN : 0;
    if (s->size || s->no_in) bits |= POLLIN;
    if (s->no_in) bits |= POLLRDHUP;
    if (s->no_in && s->no_out) bits |= POLLHUP;
    if (s->reset) bits |= POLLERR;
    if (s->peer < 0 || 4 * socks[s->peer].size <= socks[s->peer].room) bits |= POLLOUT;
    return bits;
}

static int connect_to(int from, int listener)
{
    sock *s = &socks[from], *l = &socks[listener];
    int n;
    if (s->type != l->type) return fail(EPROTOTYPE);
    if (s->type == SOCK_DGRAM) return 0;
    if (!l->listening || l->no_in) return fail(ECONNREFUSED);
    if (l->queued > l->backlog || l->queued >= QUEUE) return fail(EAGAIN);
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
    l->queue[l->queued++] = n;
    return 0;
}

/* ---- files ------------------------------------------------------------------------------------------------------------ */

enum { ROOT = 0, HOME = 1 }; /* "/" and "/w" */

static int find_name(int dir, const char *text, size_t size)
{
    int i;
    for (i = 0; i < NAMES; i++)
        if (names[i].text[0] && names[i].dir == dir && strlen(names[i].text) == size && !memcmp(names[i].text, text, size))
            return i;
    return -1;
}

/* Where a path leads: the folder, and the name in it. *entry is -1 where nothing has that name. 0, or -1 with errno. */
static int walk(int dir, const char *path, int follow, int depth, int *folder, const char **last, size_t *last_size,
                int *entry)
{
    static char scratch[16][512]; /* link targets joined with what follows, one for each depth */
    int fd, used;
    if (!strncmp(path, "/proc/self/fd/", 14) && sscanf(path + 14, "%d/%n", &fd, &used) == 1) {
        if (fd < 0 || fd >= FDS || fds[fd].kind != K_DIR) return fail(ENOENT);
        dir = fds[fd].index;
        path += 14 + used;
    } else if (*path == '/') {
        dir = ROOT;
    }
    while (*path == '/') path++;
    if (!*path || depth > 8) return fail(!*path ? ENOENT : ELOOP);
    for (;;) {
        size_t size = strcspn(path, "/");
        const char *rest = path + size;
        int n = size == 1 && *path == '.' ? -2 : find_name(dir, path, size);
        while (*rest == '/') rest++;
        if (size > 255) return fail(ENAMETOOLONG);
        if (n >= 0 && inodes[names[n].inode].kind == F_LINK && (*rest || follow)) {
            (void)snprintf(scratch[depth], sizeof scratch[0], "%s%s%s", inodes[names[n].inode].target, *rest ? "/" : "", rest);
            return walk(dir, scratch[depth], follow, depth + 1, folder, last, last_size, entry);
        }
        if (!*rest) {
            *folder = dir;
            *last = path;
            *last_size = size;
            *entry = n;
            return 0;
        }
        if (n == -2) {
            path = rest;
            continue;
        }
        if (n < 0) return fail(ENOENT);
        if (inodes[names[n].inode].kind != F_DIR) return fail(ENOTDIR);
        dir = names[n].inode;
        path = rest;
    }
}

static int allowed(int node, unsigned bit) /* 4 read, 2 write, 1 search */
{
    unsigned mode = inodes[node].uid == fake.uid ? inodes[node].mode >> 6 : inodes[node].mode;
    return fake.uid == 0 || (mode & bit) == bit;
}

static int new_inode(file_kind what, unsigned mode)
{
    int i;
    for (i = 0; i < INODES && inodes[i].kind; i++) continue;
    if (i == INODES) give_up("the fake is too small: inodes");
    memset(&inodes[i], 0, sizeof inodes[i]);
    inodes[i].kind = what;
    inodes[i].mode = mode;
    inodes[i].uid = fake.uid;
    inodes[i].sock = -1;
    return i;
}

static void add_name(int dir, const char *text, size_t size, int node)
{
    int i;
    for (i = 0; i < NAMES && names[i].text[0]; i++) continue;
    if (i == NAMES) give_up("the fake is too small: names");
    memcpy(names[i].text, text, size);
    names[i].text[size] = '\0';
    names[i].dir = dir;
    names[i].inode = node;
    inodes[node].links++;
}

static void drop_name(int n)
{
    inode *i = &inodes[names[n].inode];
    names[n].text[0] = '\0';
    i->links--;
    if (!i->links && i->sock < 0) i->kind = F_NONE;
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

typedef struct spot {
    int folder, entry;
    const char *last;
    size_t size;
} spot;

static int locate(int fd, const char *path, int follow, spot *at)
{
    int dir = folder_of(fd);
    if (dir < 0) return -1;
    return walk(dir, path, follow, 0, &at->folder, &at->last, &at->size, &at->entry);
}

static int put(const char *path, file_kind what, unsigned mode)
{
    spot at;
    int node;
    if (locate(AT_FDCWD, path, 0, &at) || at.entry != -1) give_up("the test puts a file where it cannot be");
    node = new_inode(what, mode);
    add_name(at.folder, at.last, at.size, node);
    return node;
}

void fake_put_file(const char *path)
{
    (void)put(path, F_FILE, 0644);
}

void fake_put_dir(const char *path)
{
    (void)put(path, F_DIR, 0755);
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
    return s;
}

static int inode_at(const char *path)
{
    spot at;
    if (locate(AT_FDCWD, path, 0, &at) || at.entry < 0) return -1;
    return names[at.entry].inode;
}

void fake_remove(const char *path)
{
    spot at;
    if (!locate(AT_FDCWD, path, 0, &at) && at.entry >= 0) drop_name(at.entry);
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
    return node < 0 ? 0 : (unsigned long)node + 10;
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

/* ---- peers ------------------------------------------------------------------------------------------------------------ */

/* The socket that is bound to a path; -1 with the errno of connect(2). */
static int listener_at(const char *path)
{
    spot at;
    int node;
    if (locate(AT_FDCWD, path, 1, &at)) return -1;
    if (at.entry < 0) return fail(ENOENT);
    node = names[at.entry].inode;
    if (!allowed(node, 2)) return fail(EACCES);
    if (inodes[node].kind != F_SOCK || inodes[node].sock < 0) return fail(ECONNREFUSED);
    return inodes[node].sock;
}

int fake_peer_connect(const char *path)
{
    int listener = listener_at(path), s;
    if (listener < 0) return -1;
    s = new_sock(SOCK_STREAM);
    socks[s].pid = 4242;
    if (!connect_to(s, listener)) return s;
    close_sock(s);
    return -1;
}

long fake_peer_send(int peer, const void *bytes, size_t size)
{
    return put_bytes(&socks[peer], (const unsigned char *)bytes, size);
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
    return n;
}

size_t fake_peer_pending(int peer)
{
    return socks[peer].size;
}

/* ---- the header's side: sockets ----------------------------------------------------------------------------------------- */

int fake_socket(int family, int type, int protocol)
{
    int plain = type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK), i, fd;
    if (gate(FAKE_socket)) return -1;
    if (family != AF_UNIX || protocol) return fail(EAFNOSUPPORT);
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
    if (size <= offsetof(struct sockaddr_un, sun_path) || size > sizeof *un || un->sun_family != AF_UNIX) return fail(EINVAL);
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
    node = new_inode(F_SOCK, s->mode & ~fake.umask);
    inodes[node].sock = fds[fd].index;
    s->inode = node;
    add_name(at.folder, at.last, at.size, node);
    return done(0);
}

int fake_listen(int fd, int backlog)
{
    sock *s;
    if (gate_fd(FAKE_listen, fd)) return -1;
    s = get_sock(fd);
    if (!s) return -1;
    s->listening = 1;
    s->backlog = backlog < QUEUE - 1 ? backlog : QUEUE - 1;
    return done(0);
}

static int accept_some(fake_call what, int fd, int flags)
{
    sock *l;
    int n;
    if (gate_fd(what, fd)) return -1;
    l = get_sock(fd);
    if (!l) return -1;
    if (!l->listening) return fail(EINVAL);
    if (!l->queued && !fds[fd].nonblock) complain_fd("accept would block", fd);
    if (!l->queued) return fail(EAGAIN);
    if (!has_fd()) return fail(EMFILE);
    n = fake_peer_accept(fds[fd].index);
    socks[n].fd = new_fd(K_SOCKET, n, !!(flags & SOCK_CLOEXEC), !!(flags & SOCK_NONBLOCK));
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

int fake_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    char path[109];
    int listener;
    if (gate_fd(FAKE_connect, fd)) return -1;
    if (!get_sock(fd) || path_of(address, size, path)) return -1;
    listener = listener_at(path);
    if (listener < 0) return -1;
    return connect_to(fds[fd].index, listener) ? -1 : done(0);
}

int fake_shutdown(int fd, int how)
{
    sock *s;
    if (gate_fd(FAKE_shutdown, fd)) return -1;
    s = get_sock(fd);
    if (!s) return -1;
    if (!s->listening && s->peer < 0 && !s->no_in) return fail(ENOTCONN);
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
    s = get_sock(fd);
    if (!s) return -1;
    if (!size) complain_fd("recv of length 0", fd);
    if (fds[fd].ended) complain_fd("recv after the end", fd);
    if (fds[fd].broken_in) complain_fd("recv after a fatal error", fd);
    n = take_bytes(s, (unsigned char *)bytes, size, flags & MSG_PEEK);
    if (n < 0 && errno == EAGAIN && !fds[fd].nonblock) complain_fd("recv would block", fd);
    if (n < 0 && errno != EAGAIN) fds[fd].broken_in = 1;
    if (n == 0) fds[fd].ended = 1;
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
    s = get_sock(fd);
    if (!s) return -1;
    if (!size) complain_fd("send of length 0", fd);
    if (fds[fd].broken_out) complain_fd("send after a fatal error", fd);
    n = put_bytes(s, (const unsigned char *)bytes, size);
    if (n < 0 && errno == EAGAIN && !fds[fd].nonblock) complain_fd("send would block", fd);
    if (n < 0 && errno != EAGAIN) fds[fd].broken_out = 1;
    mix(n);
    return n;
}

int fake_getsockopt(int fd, int level, int option, void *value, socklen_t *size)
{
    sock *s;
    struct { pid_t pid; uid_t uid; gid_t gid; } who;
    int number = 0;
    if (gate_fd(FAKE_getsockopt, fd)) return -1;
    s = get_sock(fd);
    if (!s) return -1;
    if (level != SOL_SOCKET) return fail(ENOPROTOOPT);
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
    else if (option == SO_ERROR) number = s->reset ? ECONNRESET : 0;
    else return fail(ENOPROTOOPT);
    if (*size > sizeof number) *size = sizeof number;
    memcpy(value, &number, *size);
    return done(0);
}

int fake_setsockopt(int fd, int level, int option, const void *value, socklen_t size)
{
    (void)level, (void)option, (void)value, (void)size;
    if (gate_fd(FAKE_setsockopt, fd)) return -1;
    return get_sock(fd) ? done(0) : -1;
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
    if (what == F_GETFL) return done(d->nonblock ? O_NONBLOCK : 0);
    va_start(arguments, what);
    value = va_arg(arguments, int);
    va_end(arguments);
    if (what == F_SETFD) d->cloexec = !!(value & FD_CLOEXEC);
    if (what == F_SETFL) d->nonblock = !!(value & O_NONBLOCK);
    return done(0);
}

static void close_pipe_end(int fd)
{
    int i, others = 0;
    for (i = 0; i < fds_used; i++)
        others += i != fd && (fds[i].kind == K_PIPE_IN || fds[i].kind == K_PIPE_OUT) && fds[i].index == fds[fd].index;
    if (!others) pipes[fds[fd].index] = 0;
}

int fake_close(int fd)
{
    descriptor *d;
    int failing = gate(FAKE_close), os_error = errno, i;
    d = get(fd);
    if (!d) return -1;
    for (i = 0; i < watches_used; i++) {
        /* epoll(7): where a forked child holds the descriptor too, closing it does not take it out */
        if (watches[i].fd == fd && watches[i].epoll >= 0 && fds[watches[i].epoll].index == (int)fake.pid)
            complain_fd("closed while epoll watches it", fd);
        if (watches[i].epoll == fd || watches[i].fd == fd) watches[i].epoll = watches[i].fd = -1;
    }
    for (i = 0; i < INODES; i++)
        if (locks[i] == fd + 1) locks[i] = 0;
    if (d->kind == K_SOCKET) close_sock(d->index);
    if (d->kind == K_PIPE_IN || d->kind == K_PIPE_OUT) close_pipe_end(fd);
    d->kind = K_NONE;
    if (!failing) return done(0);
    errno = os_error; /* close(2): it is closed all the same */
    return -1;
}

int fake_eventfd(unsigned int count, int flags)
{
    int fd;
    if (gate(FAKE_eventfd)) return -1;
    fd = new_fd(K_EVENT, 0, !!(flags & EFD_CLOEXEC), !!(flags & EFD_NONBLOCK));
    if (fd >= 0) fds[fd].count = count;
    return done(fd);
}

int fake_pipe(int ends[2])
{
    int i;
    if (gate(FAKE_pipe)) return -1;
    if (fake_open_descriptors() + 2 > fake.descriptors_max) return fail(EMFILE);
    for (i = 0; i < PIPES && pipes[i]; i++) continue;
    if (i == PIPES) give_up("the fake is too small: pipes");
    pipes[i] = 1; /* one more than there are bytes in it */
    ends[0] = new_fd(K_PIPE_IN, i, 0, 0);
    ends[1] = new_fd(K_PIPE_OUT, i, 0, 0);
    return done(0);
}

ssize_t fake_read(int fd, void *bytes, size_t size)
{
    descriptor *d;
    size_t n;
    if (gate_fd(FAKE_read, fd)) return -1;
    d = get(fd);
    if (!d) return -1;
    if (d->kind == K_EVENT) {
        if (!d->count) return fail(EAGAIN);
        memcpy(bytes, &d->count, sizeof d->count);
        d->count = 0;
        return done(8);
    }
    if (d->kind != K_PIPE_IN) return fail(EBADF);
    n = pipes[d->index] - 1 < size ? pipes[d->index] - 1 : size;
    if (!n) return fail(EAGAIN);
    memset(bytes, 0, n);
    pipes[d->index] -= n;
    return done((long)n);
}

ssize_t fake_write(int fd, const void *bytes, size_t size)
{
    descriptor *d;
    uint64_t add;
    if (gate_fd(FAKE_write, fd)) return -1;
    d = get(fd);
    if (!d) return -1;
    if (d->kind == K_EVENT) {
        memcpy(&add, bytes, sizeof add);
        if (add > UINT64_MAX - 1 - d->count) return fail(EAGAIN);
        d->count += add;
        return done(8);
    }
    if (d->kind != K_PIPE_OUT) return fail(EBADF);
    if (pipes[d->index] - 1 + size > 65536) return fail(EAGAIN);
    pipes[d->index] += size;
    return done((long)size);
}

/* ---- the header's side: files ------------------------------------------------------------------------------------------- */

int fake_open(const char *path, int flags, ...)
{
    spot at;
    int node;
    if (gate(FAKE_open)) return -1;
    if (!strcmp(path, "/")) node = ROOT;
    else if (!strcmp(path, ".")) node = HOME;
    else {
        if (locate(AT_FDCWD, path, 1, &at)) return -1;
        if (at.entry == -1) return fail(ENOENT);
        node = at.entry == -2 ? at.folder : names[at.entry].inode;
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
    if (gate(FAKE_fstatat)) return -1;
    if (locate(fd, path, !(flags & AT_SYMLINK_NOFOLLOW), &at)) return -1;
    if (at.entry == -1) return fail(ENOENT);
    node = at.entry == -2 ? at.folder : names[at.entry].inode;
    memset(st, 0, sizeof *st);
    st->st_dev = 1;
    st->st_ino = (ino_t)node + 10;
    st->st_mode = kinds[inodes[node].kind] | (mode_t)inodes[node].mode;
    return done(0);
}

static int is_own(int node)
{
    return inodes[node].sock >= 0 && socks[inodes[node].sock].fd >= 0;
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
    if (!is_own(names[entry].inode) && !locks[dir]) fake_complain("a removal without the lock");
}

int fake_unlinkat(int fd, const char *path, int flags)
{
    spot at;
    if (gate(FAKE_unlinkat)) return -1;
    (void)flags;
    if (locate(fd, path, 0, &at)) return -1;
    if (at.entry < 0) return fail(ENOENT);
    if (!allowed(at.folder, 2)) return fail(EACCES);
    law_of_removal(at.entry, "unlink");
    law_of_lock(at.entry, at.folder);
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
    add_name(b.folder, b.last, b.size, names[a.entry].inode);
    return done(0);
}

static int rename_some(int from_fd, const char *from, int to_fd, const char *to, unsigned int how)
{
    spot a, b;
    int node;
    if (locate(from_fd, from, 0, &a) || locate(to_fd, to, 0, &b)) return -1;
    if (a.entry < 0) return fail(ENOENT);
    if (!allowed(a.folder, 2) || !allowed(b.folder, 2)) return fail(EACCES);
    if (how == 1 && b.entry != -1) return fail(EEXIST);
    if (how == 2 && b.entry < 0) return fail(ENOENT);
    if (how == 2) {
        if (!locks[b.folder]) fake_complain("an exchange without the lock");
        node = names[a.entry].inode;
        names[a.entry].inode = names[b.entry].inode;
        names[b.entry].inode = node;
        return done(0);
    }
    if (b.entry >= 0) {
        law_of_removal(b.entry, "rename over");
        law_of_lock(b.entry, b.folder);
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
    if (fake.no_renameat2) return fail(ENOSYS);
    return rename_some(from_fd, from, to_fd, to, how);
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
    spot at;
    if (gate(FAKE_fchmodat)) return -1;
    if (!(flags & AT_SYMLINK_NOFOLLOW)) fake_complain("chmod that follows links");
    if (locate(fd, path, 0, &at)) return -1;
    if (at.entry < 0) return fail(ENOENT);
    if (!is_own(names[at.entry].inode)) fake_complain("chmod of something foreign");
    inodes[names[at.entry].inode].mode = mode;
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

/* ---- the header's side: waiting ----------------------------------------------------------------------------------------- */

static int ready_bits(int fd)
{
    const descriptor *d = &fds[fd];
    switch (d->kind) {
    case K_SOCKET: return sock_ready(&socks[d->index]);
    case K_EVENT: return d->count ? POLLIN : 0;
    case K_PIPE_IN: return pipes[d->index] > 1 ? POLLIN : 0;
    case K_PIPE_OUT: return POLLOUT;
    default: return 0;
    }
}

/* What a process may not do in its sleep: hold descriptors that leak into its children or block. */
static void law_of_waiting(void)
{
    int fd;
    for (fd = 0; fd < fds_used; fd++) {
        if (!fds[fd].kind) continue;
        if (!fds[fd].cloexec) complain_fd("not close-on-exec", fd);
        if (!fds[fd].nonblock && fds[fd].kind != K_EPOLL) complain_fd("not nonblocking", fd);
    }
}

/* Two waits in a row may not report the same of a descriptor on which no call was made in between. */
static void report(int fd, int bits)
{
    if (fds[fd].reported == waits - 1 && fds[fd].bits == bits)
        complain_fd("reported again though nothing was done about it: a spin", fd);
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

/* Nothing is ready: the world moves, or time passes. 0: the wait is over. */
static int idle(int timeout, int *worlds)
{
    if (timeout && ask_world()) {
        if (++*worlds > WORLDS_MAX) give_up("livelock: the world goes on, the process does not");
        return 1;
    }
    if (timeout < 0) give_up("hang: it waits for ever, and nothing can happen");
    now_ms += timeout;
    return 0;
}

int fake_epoll_create1(int flags)
{
    if (gate(FAKE_epoll_create1)) return -1;
    return done(new_fd(K_EPOLL, (int)fake.pid, !!(flags & EPOLL_CLOEXEC), 0));
}

int fake_epoll_ctl(int epoll, int what, int fd, struct epoll_event *event)
{
    descriptor *e = NULL;
    int i, at = -1, unused = -1;
    if (gate_fd(what == EPOLL_CTL_DEL ? FAKE_epoll_del : FAKE_epoll_ctl, fd)) return -1;
    e = get(epoll);
    if (!e || !get(fd)) return -1;
    if (e->index != (int)fake.pid) fake_complain("epoll_ctl by another process than the one that made the set");
    for (i = 0; i < watches_used; i++) {
        if (watches[i].epoll == epoll && watches[i].fd == fd) at = i;
        if (watches[i].epoll < 0 && unused < 0) unused = i;
    }
    if (what == EPOLL_CTL_ADD && at >= 0) return fail(EEXIST);
    if (what != EPOLL_CTL_ADD && at < 0) return fail(ENOENT);
    if (what == EPOLL_CTL_DEL) {
        watches[at].epoll = watches[at].fd = -1;
        return done(0);
    }
    if (what == EPOLL_CTL_ADD) at = unused >= 0 ? unused : watches_used++;
    if (at >= WATCHES) give_up("the fake is too small: watches");
    watches[at].epoll = epoll;
    watches[at].fd = fd;
    watches[at].events = event->events;
    watches[at].data = event->data;
    return done(0);
}

int fake_epoll_wait(int epoll, struct epoll_event *events, int max, int timeout)
{
    int i, n = 0, worlds = 0, bits;
    if (gate(FAKE_epoll_wait)) return -1;
    if (!get(epoll)) return -1;
    waits++;
    law_of_waiting();
    do {
        for (i = 0; i < watches_used && n < max; i++) {
            watch *w = &watches[(i + next_watch) % watches_used];
            if (w->epoll != epoll) continue;
            /* POLLIN and the rest have the same values as EPOLLIN and the rest; HUP and ERR come unasked */
            bits = ready_bits(w->fd) & (int)((w->events & 0xffff) | EPOLLHUP | EPOLLERR);
            if (!bits) continue;
            report(w->fd, bits);
            events[n].events = (uint32_t)bits;
            events[n++].data = w->data;
        }
        if (watches_used) next_watch = (next_watch + 1) % watches_used; /* no descriptor always comes first */
    } while (!n && idle(timeout, &worlds));
    return done(n);
}

int fake_poll(struct pollfd *p, nfds_t count, int timeout)
{
    nfds_t i;
    int n = 0, worlds = 0;
    if (gate(FAKE_poll)) return -1;
    if (!count) {
        (void)ask_world();
        now_ms += timeout;
        return done(0);
    }
    waits++;
    law_of_waiting();
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
    } while (!n && idle(timeout, &worlds));
    return done(n);
}

/* ---- the header's side: memory, time, the process ------------------------------------------------------------------------ */

static void *keep(void *block)
{
    int i;
    if (!block) return NULL;
    for (i = 0; i < blocks_used && blocks[i]; i++) continue;
    if (i >= BLOCKS) give_up("the fake is too small: blocks");
    if (i >= blocks_used) blocks_used = i + 1;
    blocks[i] = block;
    live_blocks++;
    return block;
}

static int forget(void *block)
{
    int i;
    for (i = 0; i < blocks_used && blocks[i] != block; i++) continue;
    if (i >= blocks_used) {
        fake_complain("free of something that was not allocated");
        return 0;
    }
    blocks[i] = NULL;
    live_blocks--;
    return 1;
}

/* Fresh memory is never zero by luck. */
void *fake_malloc(size_t size)
{
    void *block;
    if (gate(FAKE_malloc)) return NULL;
    block = malloc(size ? size : 1);
    if (block) memset(block, 0xa5, size ? size : 1);
    return keep(block);
}

void *fake_calloc(size_t count, size_t size)
{
    if (gate(FAKE_calloc)) return NULL;
    return keep(calloc(count ? count : 1, size ? size : 1));
}

/* Always moves: an old pointer that is still used is a use after free. */
void *fake_realloc(void *old, size_t size)
{
    void *block;
    if (gate(FAKE_realloc)) return NULL;
    if (old && !forget(old)) return NULL;
    block = realloc(old, size);
    if (!block) abort();
    return keep(block);
}

void fake_free(void *block)
{
    if (block && forget(block)) free(block);
}

long fake_live_blocks(void)
{
    return live_blocks;
}

int fake_clock_gettime(clockid_t clock, struct timespec *t)
{
    (void)clock;
    if (gate(FAKE_clock_gettime)) return -1;
    t->tv_sec = (time_t)(now_ms / 1000);
    t->tv_nsec = (long)(now_ms % 1000) * 1000000;
    return 0;
}

long long fake_now_ms(void)
{
    return now_ms;
}

void fake_sleep(int ms)
{
    now_ms += ms;
}

pid_t fake_getpid(void)
{
    return (pid_t)fake.pid;
}

int fake_getrlimit(int what, struct rlimit *limit)
{
    (void)what;
    if (gate(FAKE_getrlimit)) return -1;
    limit->rlim_cur = limit->rlim_max = (rlim_t)fake.descriptors_max;
    return done(0);
}

/* ---- a run -------------------------------------------------------------------------------------------------------------- */

void fake_reset(void)
{
    int i;
    for (i = 0; i < socks_used; i++) free(socks[i].bytes);
    for (i = 0; i < blocks_used; i++) free(blocks[i]);
    memset(fds, 0, sizeof fds[0] * (size_t)(fds_used > 0 ? fds_used : 0));
    memset(socks, 0, sizeof socks[0] * (size_t)socks_used);
    memset(inodes, 0, sizeof inodes);
    memset(names, 0, sizeof names);
    memset(locks, 0, sizeof locks);
    memset(pipes, 0, sizeof pipes);
    memset(blocks, 0, sizeof blocks[0] * (size_t)blocks_used);
    memset(calls_of, 0, sizeof calls_of);
    memset(&fake, 0, sizeof fake);
    fds_used = socks_used = watches_used = blocks_used = next_watch = 0;
    complaint_count = in_world = 0;
    live_blocks = 0;
    now_ms = 1000;
    calls = 0;
    waits = 1;
    hash = 14695981039346656037ull;
    fake_fault(0, 0, 0);
    fake_escape_set = 0;
    fake.descriptors_max = 64;
    fake.queue_bytes = 256;
    fake.umask = 022;
    fake.pid = 100;
    fake.uid = fake.gid = 1000;
    fake.calls_max = 100000;
    (void)new_inode(F_DIR, 0755);
    inodes[ROOT].links = 1;
    fake_put_dir("/w");
}

void fake_finish(void)
{
    int fd;
    for (fd = 0; fd < fds_used; fd++)
        if (fds[fd].kind) complain_fd("left open at the end", fd);
    if (live_blocks) fake_complain("memory left allocated at the end");
}
