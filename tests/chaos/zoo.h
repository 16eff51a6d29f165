/* zoo.h - the clients: each chooses at random how it misbehaves. What comes back is compared byte for byte with what was
   sent, at every moment; who does not cut its own connection must in the end have got all of it. */

#ifndef ZOO_H
#define ZOO_H

#include "chaos.h"

#include <signal.h>
#include <sys/prctl.h>

enum {
    PIECE_MAX = 64 * 1024,
    TICK_MS = 20,
    PATIENCE_TICKS = 30 * 1000 / TICK_MS /* of a worker that runs: being stopped does not count */
};

static const char refusal[] = "refused, on purpose";

typedef struct client {
    int fd; /* -1: none */
    behaviour how;
    unsigned epoch; /* odd: its server may have been about to end when it connected */
    unsigned long long key, size, sent, got;
    int finished, refused_so_far, reading;
    long quiet;    /* ticks without a byte */
    long long due; /* tick at which it leaves or begins to read; 0: it waits for nothing */
} client;

static const char *name_of(behaviour how)
{
    static const char *const names[] = {
#define AS_NAME(name) #name,
        BEHAVIOURS(AS_NAME)
#undef AS_NAME
    };
    return names[how];
}

static unsigned char byte_at(unsigned long long key, unsigned long long at)
{
    return (unsigned char)(mix(key + at / 8) >> (at % 8 * 8));
}

/* Nothing but the end of its server excuses a client's bad end. */
static int excused(const client *c)
{
    return (c->epoch & 1) || c->epoch != epoch_now();
}

static void drop(client *c)
{
    (void)close(c->fd);
    c->fd = -1;
}

static void open_client(client *c, const struct sockaddr_un *address, unsigned long long *state, long long tick)
{
    unsigned before = epoch_now();
    memset(c, 0, sizeof *c);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        violation("socket: %s", strerror(errno));
        return;
    }
    if (connect(c->fd, (const struct sockaddr *)address, sizeof *address)) {
        if (errno != EAGAIN && !(before & 1) && before == epoch_now())
            violation("connect failed though the server is up: %s", strerror(errno));
        drop(c);
        return;
    }
    c->epoch = before == epoch_now() ? before : 1;
    c->key = mix(*state ^ ((unsigned long long)getpid() << 32));
    c->how = (behaviour)below(state, BEHAVIOUR_COUNT);
    if (below(state, 3) == 0) c->how = GOOD;
    add(&common->did[c->how], 1);
    c->reading = c->how != LATE_READER && c->how != NEVER_READS && c->how != RESET;
    c->size = 1 + below(state, 1ull << (4 + below(state, 18)));
    if (c->how == ONE_BYTE) c->size = 1 + c->size % 300;
    if (c->how == HALF_CLOSE) c->size = below(state, 4) ? c->size % 4096 : 0;
    if (!c->reading) c->size = ~0ull >> 1; /* as much as goes */
    if (!c->reading || c->how == DEAF) c->due = tick + 1 + (long long)below(state, 100);
    if (c->how == LEAVE) drop(c);
}

/* Up to three descriptors that nobody asked for. A kernel that lets the server refuse them (Linux 6.16) sends nothing
 * then, and the bytes go without. */
static ssize_t send_descriptors(int fd, const void *bytes, size_t size, int count)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(3 * sizeof(int))];
    } control;
    struct iovec part;
    struct msghdr message;
    int fds[3] = {STDIN_FILENO, STDIN_FILENO, STDIN_FILENO};
    struct cmsghdr *header;
    ssize_t sent;
    memset(&message, 0, sizeof message);
    memset(&control, 0, sizeof control);
    part.iov_base = (void *)(size_t)bytes;
    part.iov_len = size;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.room;
    message.msg_controllen = (socklen_t)CMSG_SPACE((size_t)count * sizeof(int));
    header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = (socklen_t)CMSG_LEN((size_t)count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, (size_t)count * sizeof(int));
    sent = sendmsg(fd, &message, MSG_NOSIGNAL);
    return sent < 0 && errno == EPERM ? send(fd, bytes, size, MSG_NOSIGNAL) : sent;
}

static void send_some(client *c, unsigned long long *state)
{
    unsigned char bytes[PIECE_MAX];
    unsigned long long left = c->size - c->sent, i;
    size_t n = 1 + (size_t)below(state, 1ull << below(state, 17));
    ssize_t sent;
    if (n > left) n = (size_t)left;
    if (c->how == ONE_BYTE) n = 1;
    for (i = 0; i < n; i++) bytes[i] = byte_at(c->key, c->sent + i);
    if (!n) {
        sent = 0;
    } else if (c->how == OOB && below(state, 3) == 0) {
        sent = send(c->fd, bytes, n = 1, MSG_NOSIGNAL | MSG_OOB);
        if (sent < 0 && errno == EOPNOTSUPP) sent = send(c->fd, bytes, n, MSG_NOSIGNAL);
    } else if (c->how == DESCRIPTORS && below(state, 3) == 0) {
        sent = send_descriptors(c->fd, bytes, n, 1 + (int)below(state, 3));
    } else {
        sent = send(c->fd, bytes, n, MSG_NOSIGNAL);
    }
    if (sent > 0) {
        c->sent += (unsigned long long)sent;
        c->quiet = 0;
    } else if (!sent) {
        c->quiet = 0;
    } else if (errno == EPIPE || errno == ECONNRESET) {
        c->size = c->sent; /* the server ended: what came is still to be read */
        c->finished = 1;
    } else if (errno != EAGAIN && errno != ETOOMANYREFS && errno != ENOBUFS) {
        violation("%s: send: %s", name_of(c->how), strerror(errno));
    }
    if (c->sent == c->size && !c->finished) {
        (void)shutdown(c->fd, SHUT_WR);
        c->finished = 1;
    }
}

/* It ended: all there, refused, excused, or a broken law. */
static void judge(client *c, const char *how_it_ended)
{
    if (c->refused_so_far && c->got == sizeof refusal - 1 && !*how_it_ended) add(&common->refused, 1);
    else if (c->got == c->sent && c->finished && !*how_it_ended) {
        add(&common->verified, 1);
        add(&common->verified_bytes, c->got);
    } else if (excused(c)) add(&common->excused, 1);
    else violation("%s: ended with %llu of %llu bytes%s", name_of(c->how), c->got, c->sent, how_it_ended);
    drop(c);
}

static void receive_some(client *c, unsigned long long *state)
{
    unsigned char bytes[PIECE_MAX];
    size_t least = c->got ? 1 : sizeof refusal; /* so that a refusal is seen whole */
    ssize_t n = recv(c->fd, bytes, least + (size_t)below(state, 1ull << (4 + below(state, 12))), 0), i;
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        judge(c, n < 0 ? ", reset" : "");
        return;
    }
    c->quiet = 0;
    for (i = 0; i < n; i++, c->got++) {
        if (!c->got && bytes[0] == (unsigned char)refusal[0] && n >= (ssize_t)sizeof refusal - 1 &&
            !memcmp(bytes, refusal, sizeof refusal - 1))
            c->refused_so_far = 1;
        if (c->refused_so_far ? c->got < sizeof refusal - 1 && bytes[i] == (unsigned char)refusal[c->got]
                              : c->got < c->sent && bytes[i] == byte_at(c->key, c->got))
            continue;
        violation("%s: byte %llu of what came is not what was sent", name_of(c->how), c->got);
        drop(c);
        return;
    }
}

/* What it has waited for. */
static void act(client *c, unsigned long long *state)
{
    c->due = 0;
    if (c->how == LATE_READER) {
        c->reading = 1;
        c->size = c->sent;
        if (!c->finished) (void)shutdown(c->fd, SHUT_WR);
        c->finished = 1;
    } else if (c->how == DEAF && below(state, 2)) {
        (void)shutdown(c->fd, SHUT_RD); /* the server's next send gets EPIPE; then it leaves */
        c->reading = 0;
        c->due = 1;
        c->how = NEVER_READS;
    } else if (c->how != DEAF) {
        drop(c); /* with answers unread: the server sees a reset */
    }
}

static void step_client(client *c, short events, unsigned long long *state, long long tick)
{
    if (c->fd >= 0 && c->due && c->due <= tick) act(c, state);
    if (c->fd >= 0 && (events & POLLOUT) && !c->finished) send_some(c, state);
    if (c->fd >= 0 && (events & (POLLIN | POLLHUP | POLLERR)) && c->reading) receive_some(c, state);
    else if (c->fd >= 0 && (events & (POLLHUP | POLLERR)) && !c->due) drop(c);
}

/* One worker: CLIENTS clients at once, until it is killed. */
static void run_worker(const char *path, unsigned long long seed)
{
    client clients[CLIENTS];
    struct pollfd polled[CLIENTS];
    struct sockaddr_un address;
    unsigned long long state = mix(seed);
    long long now, last = 0, tick = 1;
    const struct timespec breath = {0, 1000000}; /* the server is to be busy, not the clients */
    struct timespec time;
    int i, calm;
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, path, strlen(path) + 1);
    for (i = 0; i < CLIENTS; i++) clients[i].fd = -1;
    for (;;) {
        calm = flag(&common->calm);
        for (i = 0; i < CLIENTS; i++) {
            client *c = &clients[i];
            if (calm && c->fd >= 0 && !(c->reading && c->finished)) drop(c);
            if (!calm && c->fd < 0 && below(&state, 4) == 0) open_client(c, &address, &state, tick);
            polled[i].fd = c->fd;
            polled[i].events = (short)((c->finished ? 0 : POLLOUT) | (c->reading ? POLLIN : 0));
            polled[i].revents = 0;
        }
        (void)poll(polled, CLIENTS, TICK_MS);
        (void)nanosleep(&breath, NULL);
        for (i = 0; i < CLIENTS; i++)
            if (polled[i].fd >= 0) step_client(&clients[i], polled[i].revents, &state, tick);
        (void)clock_gettime(CLOCK_MONOTONIC, &time);
        now = time.tv_sec * 1000LL + time.tv_nsec / 1000000;
        if (now - last < TICK_MS) continue;
        last = now;
        tick++;
        for (i = 0; i < CLIENTS; i++) {
            client *c = &clients[i];
            if (c->fd < 0 || c->due || ++c->quiet < PATIENCE_TICKS) continue;
            violation("%s: nothing moved for 30 s at %llu of %llu bytes", name_of(c->how), c->got, c->sent);
            drop(c);
        }
    }
}

#endif
