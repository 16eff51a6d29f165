/* load.c - the load generator: drives an echo server over a Unix-domain socket, checks every byte that comes back, and
   prints one line of figures.

       load -m echo -c 64 -s 64 -t 2 PATH       each connection has one message under way
       load -m connect -c 1 -s 64 -t 2 PATH     connect, one message and its echo, close; -c: so many at once
       load -m bulk -s 65536 -t 2 PATH          one connection, written to and read from at the same time

   -w warms up for so many seconds first, uncounted. -p PID, the server's, adds what it took of the CPU, and for which
   share of the time it or the load was ready to run but others had the core: what a busy machine took from the figures.
   Exit status: 0; 1 where a byte was wrong, missing or too many, or the server went away or fell silent; 2 for a wrong
   call.

   What a connection sends is one endless periodic stream, and each connection starts elsewhere in it: a message needs
   no filling, and one that is lost, doubled, reordered or another's is noticed as surely as a byte that changed. The
   period is a prime, so that no usual size of a message or a buffer is a multiple of it. */

#define _GNU_SOURCE 1
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    PERIOD = 4093,
    READ_BYTES = 65536,
    EVENTS = 256,
    PATIENCE_S = 5, /* for a server to come up, and for an answer */
    SUB_BITS = 4,   /* a bucket of the histogram is 1/16 of a power of two wide: about 6 % */
    BUCKETS = 64 << SUB_BITS
};

enum mode { ECHO, BULK, CONNECT };

typedef struct connection {
    int fd;
    unsigned from;    /* where in the stream the message under way begins */
    size_t sent, got; /* of that message */
    int short_send;   /* its rest waits for EPOLLOUT */
    uint64_t began;   /* ns */
} connection;

static enum mode mode;
static size_t count = 1, bytes = 64;
static double seconds = 2, warm = 0;
static long server_pid;
static struct sockaddr_un address = {.sun_family = AF_UNIX};

static char *stream; /* PERIOD + bytes + READ_BYTES of it: a message may begin anywhere in the first PERIOD */
static char inbox[READ_BYTES + 1];
static int epoll = -1;
static connection *connections;

/* What is measured, from warm_end to end. */
static uint64_t warm_end, end, window_began, cpu_began, cpu_ended, waited_began, waited_ended;
static uint64_t total, slowest, buckets[BUCKETS];
static size_t under_way;

static void fail(const char *what, int error)
{
    fprintf(stderr, "load: %s%s%s\n", what, error ? ": " : "", error ? strerror(error) : "");
    exit(1);
}

static uint64_t nanoseconds(clockid_t clock)
{
    struct timespec t = {0, 0};
    (void)clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static uint64_t now_ns(void)
{
    return nanoseconds(CLOCK_MONOTONIC);
}

/* The time that all threads of the server took together; 0 where it was not asked for. */
static uint64_t server_cpu(void)
{
    clockid_t clock;
    if (!server_pid || clock_getcpuclockid((pid_t)server_pid, &clock)) return 0;
    return nanoseconds(clock);
}

/* How long the process was ready to run and had no core: others had it. */
static uint64_t waited_by(long pid)
{
    char path[64];
    unsigned long long ran, waited = 0;
    FILE *file;
    (void)snprintf(path, sizeof path, "/proc/%ld/schedstat", pid);
    file = fopen(path, "re");
    if (!file) return 0;
    if (fscanf(file, "%llu %llu", &ran, &waited) != 2) waited = 0;
    (void)fclose(file);
    return waited;
}

static uint64_t waited(void)
{
    return server_pid ? waited_by(server_pid) + waited_by((long)getpid()) : 0;
}

static void record(uint64_t ns)
{
    unsigned top = 63U - (unsigned)__builtin_clzll(ns | (1U << SUB_BITS));
    buckets[((uint64_t)(top - SUB_BITS) << SUB_BITS) + (ns >> (top - SUB_BITS))]++;
    if (ns > slowest) slowest = ns;
}

/* The middle of the bucket that holds this share of what was recorded, in microseconds. */
static double percentile(double share)
{
    uint64_t all = 0, seen = 0;
    unsigned i;
    double ns;
    for (i = 0; i < BUCKETS; i++) all += buckets[i];
    for (i = 0; i < BUCKETS - 1; i++) {
        seen += buckets[i];
        if ((double)seen >= share * (double)all) break;
    }
    ns = i < 2U << SUB_BITS ? i : ldexp((i % (1U << SUB_BITS)) + (1U << SUB_BITS) + 0.5, (int)(i >> SUB_BITS) - 1);
    return (ns < (double)slowest ? ns : (double)slowest) / 1e3;
}

static void make_stream(void)
{
    size_t i, size = PERIOD + bytes + READ_BYTES;
    uint32_t x = 2463534242U;
    stream = malloc(size);
    if (!stream) fail("no memory", 0);
    for (i = 0; i < size; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        stream[i] = (char)(i < PERIOD ? x >> 24 : (unsigned char)stream[i - PERIOD]);
    }
}

static void check(size_t from, size_t size)
{
    if (memcmp(inbox, stream + from, size)) fail("what came back is not what was sent", 0);
}

/* A blocking connect waits for room in the backlog, where a nonblocking one would be told EAGAIN. */
static int try_connect(void)
{
    int error, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) fail("socket", errno);
    if (!connect(fd, (struct sockaddr *)&address, sizeof address)) return fd;
    error = errno;
    (void)close(fd);
    errno = error;
    return -1;
}

static int must_connect(void)
{
    int fd = try_connect();
    if (fd < 0) fail("connect", errno);
    return fd;
}

static void wait_for_server(void)
{
    const struct timespec pause = {0, 2000000};
    uint64_t limit = now_ns() + PATIENCE_S * 1000000000ULL;
    int fd;
    while ((fd = try_connect()) < 0) {
        if (now_ns() > limit) fail("nobody accepts at the path", errno);
        (void)nanosleep(&pause, NULL);
    }
    (void)close(fd);
}

static void watch(connection *c, int op, unsigned events)
{
    struct epoll_event event = {.events = events, .data = {.ptr = c}};
    if (epoll_ctl(epoll, op, c->fd, &event)) fail("epoll_ctl", errno);
}

/* While the rest of a message waits, the echo of its beginning is read: a large one would stop both sides otherwise. */
static void push(connection *c)
{
    ssize_t n = send(c->fd, stream + c->from + c->sent, bytes - c->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) fail("send", errno);
    if (n > 0) c->sent += (size_t)n;
    if ((c->sent < bytes) == c->short_send) return;
    c->short_send = !c->short_send;
    watch(c, EPOLL_CTL_MOD, c->short_send ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void begin(connection *c, uint64_t now)
{
    c->began = now;
    c->sent = c->got = 0;
    if (mode == CONNECT) {
        c->fd = must_connect();
        watch(c, EPOLL_CTL_ADD, EPOLLIN);
    }
    push(c);
}

static void open_window(uint64_t now)
{
    memset(buckets, 0, sizeof buckets);
    total = slowest = 0;
    window_began = now;
    cpu_began = server_cpu();
    waited_began = waited();
    warm_end = UINT64_MAX;
}

/* What was under way at the end is waited for and checked, but not counted. */
static void close_window(void)
{
    if (cpu_ended || !server_pid) return;
    cpu_ended = server_cpu();
    waited_ended = waited();
}

/* One reading of the clock both ends a message and begins the next. */
static void complete(connection *c)
{
    uint64_t now = now_ns();
    c->from = (unsigned)((c->from + bytes) % PERIOD);
    if (mode == CONNECT) (void)close(c->fd);
    if (now >= end) {
        close_window();
        under_way--;
        return;
    }
    if (now >= warm_end) open_window(now);
    total++;
    record(now - c->began);
    begin(c, now);
}

/* Asks for one byte more than is due: one too many then shows. */
static void pull(connection *c)
{
    size_t due = bytes - c->got;
    ssize_t n = recv(c->fd, inbox, due <= READ_BYTES ? due + 1 : READ_BYTES, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) fail("recv", errno);
    if (n == 0) fail("the server closed a connection", 0);
    if ((size_t)n > due) fail("more came back than was sent", 0);
    check(c->from + c->got, (size_t)n);
    c->got += (size_t)n;
    if (c->got == bytes) complete(c);
}

static void run_messages(void)
{
    static struct epoll_event events[EVENTS];
    int i, n;
    while (under_way) {
        n = epoll_wait(epoll, events, EVENTS, PATIENCE_S * 1000);
        if (n < 0 && errno != EINTR) fail("epoll_wait", errno);
        if (n == 0) fail("the server fell silent", 0);
        for (i = 0; i < n; i++) {
            connection *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) push(c);
            if (events[i].events & ~(unsigned)EPOLLOUT) pull(c);
        }
    }
}

static void start_clock(void)
{
    uint64_t now = now_ns();
    warm_end = now + (uint64_t)(warm * 1e9);
    end = warm_end + (uint64_t)(seconds * 1e9);
    if (warm <= 0) open_window(now);
}

static void messages(void)
{
    size_t i;
    epoll = epoll_create1(EPOLL_CLOEXEC);
    connections = calloc(count, sizeof *connections);
    if (epoll < 0 || !connections) fail("epoll_create1", errno);
    for (i = 0; i < count; i++) {
        connections[i].from = (unsigned)(i * 1237 % PERIOD);
        if (mode == CONNECT) continue;
        connections[i].fd = must_connect();
        watch(&connections[i], EPOLL_CTL_ADD, EPOLLIN);
    }
    start_clock();
    under_way = count;
    for (i = 0; i < count; i++) begin(&connections[i], now_ns());
    run_messages();
}

/* Both return how many bytes moved; the other direction may be what moves next. */
static size_t bulk_send(int fd, uint64_t sent)
{
    ssize_t n = send(fd, stream + sent % PERIOD, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) fail("send", errno);
    return n > 0 ? (size_t)n : 0;
}

static size_t bulk_receive(int fd, uint64_t sent, uint64_t got)
{
    ssize_t n = recv(fd, inbox, READ_BYTES, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return 0;
    if (n < 0) fail("recv", errno);
    if (n == 0) fail("the server closed the connection", 0);
    if ((uint64_t)n > sent - got) fail("more came back than was sent", 0);
    check((size_t)(got % PERIOD), (size_t)n);
    return (size_t)n;
}

static void bulk_wait(int fd, short wanted)
{
    struct pollfd p = {.fd = fd, .events = wanted};
    if (poll(&p, 1, PATIENCE_S * 1000) == 0) fail("the server fell silent", 0);
}

/* Latency is that of one byte at a time: when it went out, how long until it is back. */
static void bulk(void)
{
    uint64_t sent = 0, got = 0, marked = 0, marked_at = 0, now;
    int fd = must_connect();
    start_clock();
    while ((now = now_ns()) < end || got < sent) {
        size_t out = 0, in;
        if (now >= end) close_window();
        else if (now >= warm_end) open_window(now);
        if (now < end) out = bulk_send(fd, sent);
        if (out && got >= marked) {
            marked = sent + out;
            marked_at = now;
        }
        sent += out;
        in = bulk_receive(fd, sent, got);
        if (now < end) total += in;
        if (got < marked && got + in >= marked && now < end) record(now_ns() - marked_at);
        got += in;
        if (!out && !in) bulk_wait(fd, now < end ? POLLIN | POLLOUT : POLLIN);
    }
    close_window();
}

static void print_figures(void)
{
    static const char *const units[] = {"messages/s", "MB/s", "connections/s"};
    static const char *const cpu_units[] = {"us/message", "s/GB", "us/connection"};
    double window = (double)(end - window_began) / 1e9, n = (double)total;
    if (!total) fail("nothing came back in time", 0);
    printf("rate %.1f %s  p50 %.1f us  p99 %.1f us  max %.1f us  total %llu", n / window / (mode == BULK ? 1e6 : 1),
           units[mode], percentile(0.5), percentile(0.99), (double)slowest / 1e3, (unsigned long long)total);
    if (cpu_ended)
        printf("  cpu %.4f %s  waited %.1f %%", (double)(cpu_ended - cpu_began) / n / (mode == BULK ? 1 : 1e3),
               cpu_units[mode], (double)(waited_ended - waited_began) / window / 1e7);
    printf("\n");
}

static void on_alarm(int number)
{
    static const char text[] = "load: the server fell silent\n";
    (void)number;
    if (write(2, text, sizeof text - 1) < 0) _exit(1);
    _exit(1);
}

static void usage(void)
{
    fprintf(stderr, "usage: load [-m echo|bulk|connect] [-c connections] [-s message_bytes] [-t seconds]\n"
                    "            [-w warm_up_seconds] [-p server_pid] PATH\n");
    exit(2);
}

static void parse(int argc, char **argv)
{
    int option;
    while ((option = getopt(argc, argv, "c:s:t:m:w:p:")) != -1) {
        if (option == 'c') count = (size_t)strtoul(optarg, NULL, 10);
        else if (option == 's') bytes = (size_t)strtoul(optarg, NULL, 10);
        else if (option == 't') seconds = strtod(optarg, NULL);
        else if (option == 'w') warm = strtod(optarg, NULL);
        else if (option == 'p') server_pid = strtol(optarg, NULL, 10);
        else if (option == 'm' && !strcmp(optarg, "echo")) mode = ECHO;
        else if (option == 'm' && !strcmp(optarg, "bulk")) mode = BULK;
        else if (option == 'm' && !strcmp(optarg, "connect")) mode = CONNECT;
        else usage();
    }
    if (optind != argc - 1 || count < 1 || count > 1000000 || bytes < 1 || bytes > 1U << 30) usage();
    if (!(seconds > 0 && seconds <= 86400 && warm >= 0 && warm <= 86400)) usage();
    if (strlen(argv[optind]) >= sizeof address.sun_path) usage();
    memcpy(address.sun_path, argv[optind], strlen(argv[optind]) + 1);
}

/* Thousands of connections want more descriptors than most shells allow at first. */
static void allow_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit)) return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    allow_descriptors();
    (void)signal(SIGALRM, on_alarm); /* for a connect that never returns: the only call here that may block for ever */
    (void)alarm((unsigned)(warm + seconds) + 4 * PATIENCE_S);
    make_stream();
    wait_for_server();
    if (mode == BULK) bulk();
    else messages();
    print_figures();
    return 0;
}
