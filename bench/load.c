/* load.c - the load generator: drives an echo server over a Unix-domain socket, checks every byte that comes back, and
   prints one line of figures, each a name, a value and a unit.

       load -m echo -c 64 -s 64 -t 2 PATH       each connection has one message under way
       load -m ping -s 64 -t 2 PATH             one connection, and calls that block: the least a client can do
       load -m spin -s 64 -t 2 PATH             one connection, read again and again without ever sleeping
       load -m connect -c 1 -s 64 -t 2 PATH     connect, one message and its echo, close; -c: so many at once
       load -m bulk -s 65536 -t 2 PATH          one connection, written to and read from at the same time
       load -m idle -c 19000 -p PID PATH        what a connection that is only held costs the server in memory
       load -m flood -t 2 -p PID PATH           ping alone, then beside a client that writes for ever and never reads

   -w warms up for so many seconds first, uncounted. -n ends after so many messages instead of -t seconds (echo, ping
   and spin, without warming up). -d FILE writes how the round trips are distributed. -p PID, the server's, adds what it
   took of the CPU, and for which share of the time it or the load was ready to run but others had the core: what a busy
   machine took from the figures. Exit status: 0; 1 where a byte was wrong, missing or too many, or the server went away
   or fell silent; 2 for a wrong call.

   What a connection sends is one endless periodic stream, and each connection starts elsewhere in it: a message needs
   no filling, and one that is lost, doubled, reordered or another's is noticed as surely as a byte that changed. The
   period is a prime, so that no usual size of a message or a buffer is a multiple of it. */

#define _GNU_SOURCE 1
#include "histogram.h"
#include "process.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PERIOD = 4093,
    READ_BYTES = 65536,
    EVENTS = 256,
    PING_BYTES = 65536, /* the most that ping sends before it reads: both sides' buffers hold that */
    PATIENCE_S = 5      /* for a server to come up, and for an answer */
};

enum mode { ECHO, PING, SPIN, CONNECT, BULK, IDLE, FLOOD, MODES };
static const struct {
    const char *name, *unit, *cpu_unit;
    double scale; /* a total is divided by it for the rate */
} modes[MODES] = {{"echo", "messages/s", "us/message", 1}, {"ping", "messages/s", "us/message", 1},
                  {"spin", "messages/s", "us/message", 1}, {"connect", "connections/s", "us/connection", 1},
                  {"bulk", "MB/s", "s/GB", 1e6},           {"idle", "", "", 1},
                  {"flood", "messages/s", "us/message", 1}};

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
static uint64_t messages_max = UINT64_MAX;
static const char *distribution_path;
static long server_pid;
static struct sockaddr_un address = {.sun_family = AF_UNIX};

static char *stream; /* PERIOD + bytes + READ_BYTES of it: a message may begin anywhere in the first PERIOD */
static char inbox[READ_BYTES + 1];
static int epoll = -1;
static connection *connections;

/* What is measured, from warm_end to end. */
static uint64_t warm_end, end, window_began, cpu_began, cpu_ended, waited_began, waited_ended;
static uint64_t total;
static histogram trips;
static size_t under_way;

static void fail(const char *what, int error)
{
    fprintf(stderr, "load: %s%s%s\n", what, error ? ": " : "", error ? strerror(error) : "");
    exit(1);
}

static uint64_t now_ns(void)
{
    return nanoseconds(CLOCK_MONOTONIC);
}

static uint64_t waited(void)
{
    return server_pid ? process_waited(server_pid) + process_waited((long)getpid()) : 0;
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
    histogram_clear(&trips);
    total = 0;
    window_began = now;
    cpu_began = process_cpu(server_pid);
    waited_began = waited();
    warm_end = UINT64_MAX;
}

/* What was under way at the end is waited for and checked, but not counted. */
static void close_window(void)
{
    if (cpu_ended || !server_pid) return;
    cpu_ended = process_cpu(server_pid);
    waited_ended = waited();
}

/* A window in which nothing came back, for others had the machine, is begun again. */
static int over(uint64_t now)
{
    if (now < end) return 0;
    if (total && warm_end == UINT64_MAX) return 1;
    open_window(now);
    end = now + (uint64_t)(seconds * 1e9);
    return 0;
}

/* Where messages are counted, the last of them ends the window. */
static void count_message(uint64_t began, uint64_t now)
{
    total++;
    histogram_record(&trips, now - began);
    if (total >= messages_max) end = now;
}

/* One reading of the clock both ends a message and begins the next. */
static void complete(connection *c)
{
    uint64_t now = now_ns();
    c->from = (unsigned)((c->from + bytes) % PERIOD);
    if (mode == CONNECT) (void)close(c->fd);
    if (!over(now)) {
        if (now >= warm_end) open_window(now);
        count_message(c->began, now);
    }
    if (!over(now)) begin(c, now);
    else {
        close_window();
        under_way--;
    }
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
    while (!over(now = now_ns()) || got < sent) {
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
        if (got < marked && got + in >= marked && now < end) histogram_record(&trips, now_ns() - marked_at);
        got += in;
        if (!out && !in) bulk_wait(fd, now < end ? POLLIN | POLLOUT : POLLIN);
    }
    close_window();
}

/* One message and its echo; how: MSG_DONTWAIT reads again and again until all is here. */
static void round_trip(int fd, size_t from, int how)
{
    size_t got = 0;
    ssize_t n = send(fd, stream + from, bytes, MSG_NOSIGNAL);
    if (n != (ssize_t)bytes) fail("send", n < 0 ? errno : 0);
    while (got < bytes) {
        n = recv(fd, inbox, bytes - got + 1, how);
        if (n < 0 && errno == EAGAIN) continue;
        if (n < 0) fail("recv", errno);
        if (n == 0) fail("the server closed the connection", 0);
        if ((size_t)n > bytes - got) fail("more came back than was sent", 0);
        check(from + got, (size_t)n);
        got += (size_t)n;
    }
}

static void round_trips(int fd, int how)
{
    size_t from = 0;
    uint64_t began, now;
    start_clock();
    for (now = now_ns(); !over(now); from = (from + bytes) % PERIOD) {
        if (now >= warm_end) open_window(now);
        began = now;
        round_trip(fd, from, how);
        now = now_ns();
        if (!over(now)) count_message(began, now);
    }
    close_window();
}

/* Every connection has shown by an echo that it is served. The first one touches what all of them share. */
static void idle(void)
{
    const struct timespec pause = {0, 50000000};
    size_t i;
    long before;
    round_trip(must_connect(), 0, 0);
    before = process_resident(server_pid);
    for (i = 0; i < count; i++) round_trip(must_connect(), i % PERIOD, 0);
    (void)nanosleep(&pause, NULL);
    printf("memory %.1f B/connection  connections %zu\n",
           (double)(process_resident(server_pid) - before) * 1024 / (double)count, count);
}

static void write_for_ever(void)
{
    int fd;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    fd = must_connect();
    while (send(fd, stream, READ_BYTES, MSG_NOSIGNAL) > 0) continue;
    (void)pause();
    _exit(1);
}

/* The same connection is timed alone and beside the flood, so that only the flood differs. */
static void flood(void)
{
    int fd = must_connect();
    long before;
    double quiet;
    pid_t child;
    round_trips(fd, 0);
    quiet = histogram_percentile(&trips, 0.99);
    before = process_resident(server_pid);
    child = fork();
    if (child < 0) fail("fork", errno);
    if (child == 0) write_for_ever();
    cpu_ended = 0;
    round_trips(fd, 0);
    printf("quiet-p99 %.2f us  p99-ratio %.3f  grown %ld KiB  ", quiet, histogram_percentile(&trips, 0.99) / quiet,
           process_resident(server_pid) - before);
    (void)kill(child, SIGKILL);
    (void)waitpid(child, NULL, 0);
}

static void print_figures(void)
{
    double n = (double)total, window = (double)(end - window_began) / 1e9;
    printf("rate %.1f %s  p50 %.2f us  p99 %.2f us  max %.1f us  total %llu", n / window / modes[mode].scale,
           modes[mode].unit, histogram_percentile(&trips, 0.5), histogram_percentile(&trips, 0.99),
           (double)trips.slowest / 1e3, (unsigned long long)total);
    if (cpu_ended)
        printf("  cpu %.4f %s  waited %.1f %%", (double)(cpu_ended - cpu_began) / n / (mode == BULK ? 1 : 1e3),
               modes[mode].cpu_unit, (double)(waited_ended - waited_began) / window / 1e7);
    printf("\n");
}

static void write_distribution(void)
{
    FILE *file;
    if (!distribution_path) return;
    file = fopen(distribution_path, "we");
    if (!file) fail(distribution_path, errno);
    histogram_print(&trips, file);
    if (fclose(file)) fail(distribution_path, errno);
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
    fprintf(stderr, "usage: load [-m echo|ping|spin|connect|bulk|idle|flood] [-c connections] [-s message_bytes]\n"
                    "            [-t seconds] [-w warm_up_seconds] [-n messages] [-d file] [-p server_pid] PATH\n");
    exit(2);
}

static enum mode mode_of(const char *name)
{
    int i;
    for (i = 0; i < MODES; i++)
        if (!strcmp(modes[i].name, name)) return (enum mode)i;
    usage();
    return ECHO;
}

static void parse(int argc, char **argv)
{
    int option;
    while ((option = getopt(argc, argv, "c:s:t:m:w:n:d:p:")) != -1) {
        if (option == 'c') count = (size_t)strtoul(optarg, NULL, 10);
        else if (option == 's') bytes = (size_t)strtoul(optarg, NULL, 10);
        else if (option == 't') seconds = strtod(optarg, NULL);
        else if (option == 'w') warm = strtod(optarg, NULL);
        else if (option == 'n') messages_max = strtoull(optarg, NULL, 10);
        else if (option == 'd') distribution_path = optarg;
        else if (option == 'p') server_pid = strtol(optarg, NULL, 10);
        else if (option == 'm') mode = mode_of(optarg);
        else usage();
    }
    if (messages_max != UINT64_MAX) seconds = 3600, warm = 0;
    if (optind != argc - 1 || count < 1 || count > 1000000 || bytes < 1 || bytes > 1U << 30 || messages_max < 1)
        usage();
    if (mode != ECHO && mode != BULK && mode != CONNECT && bytes > PING_BYTES) usage();
    if ((mode == IDLE || mode == FLOOD) && !server_pid) usage();
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
    (void)signal(SIGALRM,
                 on_alarm); /* for what may block for ever: a connect, and where one connection is timed, its calls */
    (void)alarm((unsigned)(warm + seconds) * (mode == FLOOD ? 2 : 1) + (mode == IDLE ? 24U : 4U) * PATIENCE_S);
    make_stream();
    wait_for_server();
    if (mode == IDLE) return idle(), 0;
    if (mode == BULK) bulk();
    else if (mode == FLOOD) flood();
    else if (mode == PING || mode == SPIN) round_trips(must_connect(), mode == SPIN ? MSG_DONTWAIT : 0);
    else messages();
    print_figures();
    write_distribution();
    return 0;
}
