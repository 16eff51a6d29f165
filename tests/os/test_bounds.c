/* test_bounds.c - what a peer, or a lack of descriptors, can cost: limits hold and the others are served. */
#include "os.h"

enum { MESSAGE = 65536 };

/* ---- one that writes for ever and never reads -------------------------------------------------------------------- */

static void flood_for_ever(void)
{
    char block[16384];
    int fd = os_dial(os.path);
    struct timeval none = {0, 0};
    if (fd < 0) _exit(1);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none);
    memset(block, 'f', sizeof block);
    for (;;) {
        ssize_t n = send(fd, block, sizeof block, MSG_NOSIGNAL);
        if (n <= 0) _exit(2);
        os.shared->count[0] += n;
    }
}

/* In microseconds. */
static double p99_of_round_trips(int fd)
{
    enum { TRIPS = 3000 };
    static double took[TRIPS];
    int i;
    for (i = 0; i < TRIPS; i++) {
        double began = os_now();
        assert_true(os_ping(fd));
        took[i] = (os_now() - began) * 1000;
    }
    return os_percentile(took, TRIPS, 99);
}

/* Scheduling on a busy machine adds what no server can help: the floor below which a p99 is not judged. */
static void p23_a_flooder_that_never_reads(void **state)
{
    enum { FLOODERS = 4, NOISE_US = 1000 };
    pid_t server = os_serve(NULL), flooders[FLOODERS];
    double before, during;
    long rss, grown;
    int fd = os_connect(), i;
    (void)state;
    before = p99_of_round_trips(fd);
    rss = os_proc_number(server, "status", "VmRSS");
    for (i = 0; i < FLOODERS; i++) {
        flooders[i] = os_fork();
        if (flooders[i] == 0) flood_for_ever();
    }
    os_sleep(300);
    during = p99_of_round_trips(fd);
    for (i = 0; i < 8 && during > 3 * before + NOISE_US * OS_SLOW; i++) during = p99_of_round_trips(fd);
    grown = os_proc_number(server, "status", "VmRSS") - rss;
    print_message("# p99 of a round trip: %.0f us alone, %.0f us beside %d flooders\n", before, during, FLOODERS);
    os_at_least("bytes the flooders got rid of", (double)os.shared->count[0], 100000);
    os_at_most("p99 us", during, 3 * before + NOISE_US * OS_SLOW);
    os_at_most("bytes held for a flooder", (double)os.shared->stats.pending_peak / (int)FLOODERS, MESSAGE);
    os_at_least("bytes held", (double)os.shared->stats.pending, 1);
    os_at_most("KiB more of resident memory", (double)grown, 1024 * OS_SLOW);
    for (i = 0; i < FLOODERS; i++) os_kill(flooders[i]);
    assert_true(os_ping(fd));
    for (i = 0; i < 1000 && os.shared->stats.pending; i++) os_sleep(1); /* until its next step has been counted */
    os_exactly("bytes held after they were killed", (double)os.shared->stats.pending, 0);
    OS_CASES(i < 1000 ? FLOODERS : 0, FLOODERS);
    (void)close(fd);
    assert_int_equal(os_stop(server), 0);
}

/* One that reads as fast as it writes is busy, and takes its turn like the others. */
static void flood_and_read_for_ever(void)
{
    static char block[65536];
    int fd = os_dial(os.path);
    if (fd < 0) _exit(1);
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
        ssize_t n;
        if (poll(&p, 1, -1) < 0) _exit(2);
        if (p.revents & POLLIN) (void)recv(fd, block, sizeof block, MSG_DONTWAIT);
        n = p.revents & POLLOUT ? send(fd, block, sizeof block, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
        if (n > 0) os.shared->count[0] += n;
    }
}

static void a_flooder_that_reads_takes_its_turn(void **state)
{
    enum { BOUND_US = 20000 };
    pid_t server = os_serve(NULL), flooder = os_fork();
    int fd;
    double p99;
    (void)state;
    if (flooder == 0) flood_and_read_for_ever();
    fd = os_connect();
    while (os.shared->count[0] < 1000000) os_sleep(1);
    p99 = p99_of_round_trips(fd);
    os_at_most("p99 us beside it", p99, BOUND_US * OS_SLOW);
    print_message("    its MB meanwhile: %.0f\n", (double)os.shared->count[0] / 1e6);
    os_kill(flooder);
    (void)close(fd);
    assert_int_equal(os_stop(server), 0);
}

/* ---- want of descriptors ----------------------------------------------------------------------------------------- */

static void sixteen_descriptors(void)
{
    struct rlimit few = {16, 16};
    int fd;
    for (fd = 3; fd < 1024; fd++)
        if (fd != os_ready_fd) (void)close(fd); /* what the test itself was given must not count */
    if (setrlimit(RLIMIT_NOFILE, &few)) _exit(96);
}

static void count_problem(uds_echo_log_level level, uds_echo_error cause, const char *text, void *user)
{
    (void)text;
    (void)user;
    if (level == UDS_ECHO_LOG_WARNING && cause == UDS_ECHO_ERR_TOO_MANY_FILES) os.shared->count[3]++;
}

static int pings_within(int fd, int ms)
{
    char out[64], in[64];
    memset(out, 'q', sizeof out);
    if (os_write(fd, out, sizeof out) != sizeof out || !os_readable(fd, ms)) return 0;
    return os_read(fd, in, sizeof in) == sizeof in && !memcmp(in, out, sizeof in);
}

static void p15_sixteen_descriptors_and_forty_clients(void **state)
{
    enum { CLIENTS = 40, WATCHED_MS = 1000 };
    int fds[CLIENTS], i, early = 0, served = 0;
    double cpu;
    os_plan plan;
    pid_t server;
    (void)state;
    memset(&plan, 0, sizeof plan);
    plan.before = sixteen_descriptors;
    plan.desc.on_log = count_problem;
    server = os_serve(&plan);
    for (i = 0; i < CLIENTS; i++) fds[i] = os_connect();
    os_sleep(50);
    cpu = os_cpu_ms(server);
    os_sleep(WATCHED_MS);
    cpu = os_cpu_ms(server) - cpu;
    for (i = 0; i < 2; i++) early += pings_within(fds[i], OS_REPLY_MS);
    os_exactly("of two early clients served while full", early, 2);
    print_message("# %% of a core while full: %.1f\n", cpu * 100 / (int)WATCHED_MS);
    os_at_most("% of a core while full", cpu * 100 / (int)WATCHED_MS, 5);
    os_at_least("times accepting rested", (double)os.shared->stats.pauses_failed, 1);
    os_at_most("log lines", (double)os.shared->count[3], 1 + WATCHED_MS / 1000 + OS_SLOW);
    os_at_least("log lines", (double)os.shared->count[3], 1);
    os_at_most("connections at once", (double)os.shared->stats.connections, 12);
    for (i = 0; i < CLIENTS; i++) {
        served += pings_within(fds[i], OS_REPLY_MS);
        (void)close(fds[i]);
    }
    os_exactly("served in the end", served, CLIENTS);
    os_exactly("exit status", os_stop(server), 0);
    os_exactly("accepted", (double)os.shared->stats.accepted, CLIENTS);
    OS_CASES(served, CLIENTS);
    os_cell("limits", "16 descriptors", "40 clients: accepting rests under 5 % of a core, all are served in the end");
}

/* ---- connections_max --------------------------------------------------------------------------------------------- */

static void connections_max_rests(void **state)
{
    int fds[12], i, served = 0;
    char first[64];
    os_plan plan;
    pid_t server;
    double cpu;
    (void)state;
    memset(&plan, 0, sizeof plan);
    plan.desc.connections_max = 4;
    server = os_serve(&plan);
    for (i = 0; i < 12; i++) fds[i] = os_connect();
    for (i = 0; i < 4; i++) assert_true(pings_within(fds[i], OS_REPLY_MS));
    assert_false(pings_within(fds[4], 100)); /* its 64 bytes wait in the queue, and are answered below */
    cpu = os_cpu_ms(server);
    os_sleep(300);
    os_at_most("ms of cpu in 300 ms while full", os_cpu_ms(server) - cpu, 20);
    os_exactly("connections", (double)os.shared->stats.connections, 4);
    for (i = 0; i < 12; i++) {
        served += i == 4 ? os_read(fds[i], first, sizeof first) == sizeof first : pings_within(fds[i], OS_REPLY_MS);
        (void)close(fds[i]);
    }
    os_exactly("served in the end", served, 12);
    assert_int_equal(os_stop(server), 0);
    os_exactly("closed in order", (double)os.shared->stats.closed[UDS_ECHO_OK], 12);
}

/* Cut, not ended: with nothing unread on either side that is an end of stream. */
static void connections_max_evicts_the_idlest(void **state)
{
    int fds[5], i;
    os_plan plan;
    pid_t server;
    (void)state;
    memset(&plan, 0, sizeof plan);
    plan.desc.connections_max = 4;
    plan.desc.when_full = UDS_ECHO_FULL_EVICT;
    server = os_serve(&plan);
    for (i = 0; i < 4; i++) {
        fds[i] = os_connect();
        assert_true(os_ping(fds[i]));
    }
    os_sleep(5);
    assert_true(os_ping(fds[0]));
    fds[4] = os_connect();
    assert_true(os_ping(fds[4]));
    assert_true(os_readable(fds[1], OS_REPLY_MS));
    assert_int_equal(os_read_end(fds[1]), 0);
    for (i = 0; i < 5; i++)
        if (i != 1) assert_true(os_ping(fds[i]));
    os_exactly("evicted", (double)os.shared->stats.closed[UDS_ECHO_ERR_EVICTED], 1);
    os_exactly("connections", (double)os.shared->stats.connections, 4);
    for (i = 0; i < 5; i++) (void)close(fds[i]);
    assert_int_equal(os_stop(server), 0);
}

/* ---- idle_ms ----------------------------------------------------------------------------------------------------- */

enum { IDLE_MS = 150 * OS_SLOW };

static pid_t serve_with_idle(int idle_ms)
{
    os_plan plan;
    memset(&plan, 0, sizeof plan);
    plan.desc.idle_ms = idle_ms;
    return os_serve(&plan);
}

/* 1: shown. 0: the busy one was kept from running for longer than half of idle_ms, or the server from cutting for so
   long that nothing is shown. */
static int cuts_the_idle_one(int idle_ms)
{
    pid_t server = serve_with_idle(idle_ms);
    int idle = os_connect(), busy = os_connect(), pings = 0;
    double began, took, last, gap = 0;
    began = last = os_now();
    assert_true(os_ping(idle));
    while (!os_readable(idle, idle_ms / 10) && os_now() - began < 5 * idle_ms) {
        double before = last;
        pings += os_ping(busy);
        last = os_now();
        if (last - before > gap) gap = last - before;
    }
    took = os_now() - began;
    if (took - (last - began) > gap) gap = took - (last - began);
    (void)close(idle);
    pings += os_ping(busy);
    (void)close(busy);
    assert_int_equal(os_stop(server), 0);
    os_at_least("ms until the idle one was cut", took, idle_ms - 5);
    if (gap > idle_ms / 2.0 || took > 3 * idle_ms) return 0;
    os_at_least("round trips of the busy one", pings, 4);
    os_exactly("cut as idle", (double)os.shared->stats.closed[UDS_ECHO_ERR_IDLE], 1);
    return 1;
}

/* On a busy machine again, with a limit that is less disturbed. */
static void idle_ms_cuts_the_idle_and_not_the_busy(void **state)
{
    int idle_ms = IDLE_MS;
    (void)state;
    while (!cuts_the_idle_one(idle_ms)) {
        idle_ms *= 2;
        os_at_most("idle_ms that is not disturbed", idle_ms, 16 * IDLE_MS);
    }
}

/* Writes what fits, and reads nothing: a buffer of the server's is held for it. */
static size_t stuff(int fd)
{
    static char block[8192];
    size_t sent = 0;
    int quiet;
    for (quiet = 0; quiet < 10; quiet++) {
        ssize_t n = send(fd, block, sizeof block, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            sent += (size_t)n;
            quiet = -1;
        } else {
            os_sleep(2);
        }
    }
    return sent;
}

static void idle_ms_cuts_a_slow_reader_that_holds_a_buffer(void **state)
{
    pid_t server = serve_with_idle(IDLE_MS);
    int slow = os_connect();
    double began, took;
    (void)state;
    (void)stuff(slow);
    os_at_least("bytes held", (double)os.shared->stats.pending, 1);
    began = os_now();
    while (!os.shared->stats.closed[UDS_ECHO_ERR_IDLE] && os_now() - began < 5 * IDLE_MS) os_sleep(2);
    took = os_now() - began;
    os_at_most("ms until it was cut", took, 3 * IDLE_MS);
    os_exactly("bytes held then", (double)os.shared->stats.pending, 0);
    os_exactly("cut as idle", (double)os.shared->stats.closed[UDS_ECHO_ERR_IDLE], 1);
    (void)close(slow);
    assert_int_equal(os_stop(server), 0);
}

static uds_echo_id owed_id;
static double owed_since;

static uds_echo_verdict owe(uds_echo_conn *conn, uds_echo_message *message, void *user)
{
    (void)message;
    (void)user;
    owed_id = uds_echo_conn_id(conn);
    owed_since = os_now();
    return UDS_ECHO_DEFER;
}

static void pay_after_four_times_idle(uds_echo_server *server)
{
    if (!owed_id || os_now() - owed_since < 4 * IDLE_MS) return;
    (void)uds_echo_conn_send(uds_echo_server_find(server, owed_id), "paid", 4);
    owed_id = 0;
}

static void idle_ms_spares_whom_an_answer_is_owed(void **state)
{
    double began = os_now();
    os_plan plan;
    pid_t server;
    char in[4];
    int fd;
    (void)state;
    memset(&plan, 0, sizeof plan);
    plan.desc.idle_ms = IDLE_MS;
    plan.desc.on_message = owe;
    plan.after_step = pay_after_four_times_idle;
    plan.step_ms = 10;
    server = os_serve(&plan);
    fd = os_connect();
    assert_int_equal(os_write(fd, "?", 1), 1);
    os_exactly("bytes of the answer", (double)os_read(fd, in, 4), 4);
    assert_memory_equal(in, "paid", 4);
    os_at_least("ms until it came", os_now() - began, 4 * IDLE_MS);
    (void)close(fd);
    assert_int_equal(os_stop(server), 0);
    os_exactly("cut as idle", (double)os.shared->stats.closed[UDS_ECHO_ERR_IDLE], 0);
}

/* ---- drain_ms ---------------------------------------------------------------------------------------------------- */

static void drain_ms_bounds_a_drain(void **state)
{
    enum { DRAIN_MS = 300 };
    double began, took;
    os_plan plan;
    pid_t server;
    int fd;
    (void)state;
    memset(&plan, 0, sizeof plan);
    plan.desc.drain_ms = DRAIN_MS;
    server = os_serve(&plan);
    fd = os_connect();
    (void)stuff(fd);
    began = os_now();
    assert_int_equal(os_stop(server), 0);
    took = os_now() - began;
    os_at_least("ms of a drain beside one that does not read", took, DRAIN_MS - 5);
    os_at_most("ms of a drain beside one that does not read", took, DRAIN_MS + 500 * OS_SLOW);
    os_exactly("cut as STOPPED", (double)os.shared->stats.closed[UDS_ECHO_ERR_STOPPED], 1);
    assert_false(os_exists(os.path));
    (void)close(fd);
}

/* What the server took is all sent once the client reads, though it was told to stop before. */
static void a_drain_loses_nothing_of_a_slow_reader(void **state)
{
    static char block[1 << 20];
    pid_t server = os_serve(NULL);
    int fd = os_connect();
    size_t sent = stuff(fd), got;
    (void)state;
    assert_int_equal(kill(server, SIGTERM), 0);
    os_sleep(100);
    got = os_read(fd, block, sizeof block);
    os_exactly("bytes read back", (double)got, (double)sent);
    assert_int_equal(os_read_end(fd), 0);
    os_exactly("exit status", os_reap(server, OS_REPLY_MS), 0);
    os_exactly("ended in order", (double)os.shared->stats.closed[UDS_ECHO_OK], 1);
    (void)close(fd);
}

/* Sends until it is told to stop, reads all the while, and then to the end: all that send() accepted came back. */
static void talk_until_drained(unsigned seed)
{
    enum { ROOM = 65536 };
    static unsigned char out[ROOM], in[ROOM];
    size_t sent = 0, got = 0, turn = seed;
    int fd = os_dial(os.path), told = 0;
    ssize_t n = 1;
    if (fd < 0) _exit(1);
    os_fill(out, ROOM, seed);
    __atomic_add_fetch(&os.shared->count[1], 1, __ATOMIC_RELAXED);
    while (n) {
        struct pollfd p = {.fd = fd, .events = (short)(told ? POLLIN : POLLIN | POLLOUT)};
        size_t at = sent % ROOM, most = turn % 3 ? ROOM - at : 100;
        if (poll(&p, 1, OS_REPLY_MS) != 1) _exit(2);
        n = recv(fd, in, turn++ % 2 ? ROOM : 1000, MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN) _exit(3); /* ECONNRESET above all */
        if (n > 0) {
            size_t from = got % ROOM, first = (size_t)n < ROOM - from ? (size_t)n : ROOM - from;
            if (memcmp(in, out + from, first) || memcmp(in + first, out, (size_t)n - first)) _exit(4);
            got += (size_t)n;
        }
        if (told || n == 0) continue;
        n = send(fd, out + at, most < ROOM - at ? most : ROOM - at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) sent += (size_t)n;
        if (n < 0 && errno == EPIPE) told = 1;
        else if (n < 0 && errno != EAGAIN) _exit(5);
        n = 1;
    }
    if (sent != got) _exit(6);
    __atomic_add_fetch(&os.shared->count[0], (long)got, __ATOMIC_RELAXED);
    _exit(0);
}

static void a_drain_in_mid_traffic_answers_all_that_was_accepted(void **state)
{
    enum { CLIENTS = 4, ROUNDS = 25 };
    pid_t clients[CLIENTS], server;
    int round, i, whole = 0, in_order = 0;
    (void)state;
    for (round = 0; round < ROUNDS; round++) {
        os.shared->count[1] = 0;
        server = os_serve(NULL);
        for (i = 0; i < CLIENTS; i++) {
            clients[i] = os_fork();
            if (clients[i] == 0) talk_until_drained((unsigned)(round * CLIENTS + i));
        }
        while (os.shared->count[1] < CLIENTS) os_sleep(1);
        os_sleep(round % 7);
        assert_int_equal(os_stop(server), 0);
        for (i = 0; i < CLIENTS; i++) {
            int status = os_reap(clients[i], OS_REPLY_MS);
            if (status) print_message("    round %d: exit status %d\n", round, status);
            whole += status == 0;
        }
        in_order += (int)os.shared->stats.closed[UDS_ECHO_OK];
    }
    os_exactly("clients that got back all that send() had accepted", whole, CLIENTS * ROUNDS);
    os_exactly("connections closed as OK", in_order, CLIENTS * ROUNDS);
    os_at_least("bytes", (double)os.shared->count[0], 1e6);
}

/* Forty have asked, a few are served and keep their place, and then the server is told to stop: those it took are
   answered, and make room for those that are still queued. */
static int stops_with_a_full_house(const os_plan *plan)
{
    enum { CLIENTS = 40 };
    pid_t server = os_serve(plan);
    char out[64], in[64];
    int fds[CLIENTS], i, answered = 0;
    memset(out, 'a', sizeof out);
    for (i = 0; i < CLIENTS; i++) {
        fds[i] = os_connect();
        assert_int_equal(os_write(fds[i], out, sizeof out), sizeof out);
    }
    assert_true(os_readable(fds[0], OS_REPLY_MS));
    os_sleep(20);
    assert_int_equal(kill(server, SIGTERM), 0);
    for (i = 0; i < CLIENTS; i++) {
        answered += os_read(fds[i], in, sizeof in) == sizeof in && os_read_end(fds[i]) == 0;
        (void)close(fds[i]);
    }
    os_exactly("answered, and then ended", answered, CLIENTS);
    os_exactly("exit status", os_reap(server, OS_REPLY_MS), 0);
    os_exactly("accepted", (double)os.shared->stats.accepted, CLIENTS);
    return answered;
}

static void p18_a_drain_answers_those_queued_behind_connections_max(void **state)
{
    os_plan plan;
    (void)state;
    memset(&plan, 0, sizeof plan);
    plan.desc.connections_max = 4;
    OS_CASES(stops_with_a_full_house(&plan), 40);
}

static void p18_a_drain_answers_those_queued_for_want_of_descriptors(void **state)
{
    os_plan plan;
    (void)state;
    memset(&plan, 0, sizeof plan);
    plan.before = sixteen_descriptors;
    OS_CASES(stops_with_a_full_house(&plan), 40);
}

static void a_drain_ends_idle_connections_at_once(void **state)
{
    enum { CLIENTS = 100 };
    pid_t server = os_serve(NULL);
    int fds[CLIENTS], i, ends = 0;
    double began;
    (void)state;
    for (i = 0; i < CLIENTS; i++) {
        fds[i] = os_connect();
        assert_true(os_ping(fds[i])); /* one that has said nothing yet may still do so */
    }
    began = os_now();
    assert_int_equal(os_stop(server), 0);
    os_at_most("ms of the drain", os_now() - began, 500 * OS_SLOW);
    for (i = 0; i < CLIENTS; i++) {
        ends += os_read_end(fds[i]) == 0;
        (void)close(fds[i]);
    }
    os_exactly("ends of stream", ends, CLIENTS);
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static uds_echo_error first_why;
static int closes;

static void note_why(uds_echo_conn *conn, uds_echo_error why, void *user)
{
    (void)conn;
    (void)user;
    if (closes++ == 0) first_why = why;
}

static size_t frame_line(const unsigned char *bytes, size_t size, void *user)
{
    const unsigned char *end = (const unsigned char *)memchr(bytes, '\n', size);
    (void)user;
    return end ? (size_t)(end - bytes) + 1 : 0;
}

static size_t frame_by_announced_length(const unsigned char *bytes, size_t size, void *user)
{
    (void)user;
    return size < 1 ? 0 : 1u + bytes[0];
}

/* Sends, and tells how the connection ended and what was answered before. */
static size_t spoil(const uds_echo_server_desc *desc, const void *bytes, size_t size, char *in, size_t room)
{
    uds_echo_server *server = os_open(desc);
    int bad = os_connect(), good = os_connect();
    size_t got;
    closes = 0;
    assert_int_equal(os_write(bad, bytes, size), size);
    os_settle(server);
    got = os_read(bad, in, room);
    assert_int_equal(os_write(good, "\0\n", 2), 2);
    os_settle(server);
    assert_true(os_readable(good, 0)); /* others are served */
    (void)close(bad);
    os_settle(server);
    assert_int_equal(closes, 1);
    (void)close(good);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    return got;
}

static void message_max_names_too_long(void **state)
{
    uds_echo_server_desc desc;
    char out[200], in[200];
    size_t got;
    (void)state;
    memset(&desc, 0, sizeof desc);
    desc.message_max = 64;
    desc.frame = frame_line;
    desc.on_close = note_why;
    memset(out, 'x', sizeof out);
    memcpy(out, "ok\n", 3);
    got = spoil(&desc, out, sizeof out, in, sizeof in);
    os_exactly("bytes answered before it", (double)got, 3);
    assert_memory_equal(in, "ok\n", 3);
    assert_int_equal(first_why, UDS_ECHO_ERR_TOO_LONG);

    desc.frame = frame_by_announced_length;
    out[0] = 64; /* 65 with the byte that tells it */
    got = spoil(&desc, out, 10, in, sizeof in);
    os_exactly("bytes answered to a length over the limit", (double)got, 0);
    assert_int_equal(first_why, UDS_ECHO_ERR_TOO_LONG);
}

static void a_message_of_exactly_message_max_passes(void **state)
{
    uds_echo_server_desc desc;
    uds_echo_server *server;
    char out[64], in[64];
    int fd, i;
    (void)state;
    memset(&desc, 0, sizeof desc);
    desc.message_max = 64;
    desc.frame = frame_line;
    server = os_open(&desc);
    fd = os_connect();
    memset(out, 'm', sizeof out);
    out[63] = '\n';
    for (i = 0; i < 64; i++) { /* cut at each place */
        assert_int_equal(os_write(fd, out, (size_t)i), i);
        os_settle(server);
        assert_int_equal(os_write(fd, out + i, (size_t)(64 - i)), 64 - i);
        os_settle(server);
        assert_int_equal(os_read(fd, in, 64), 64);
        assert_memory_equal(in, out, 64);
    }
    os_exactly("messages of 64 bytes, each cut at another place", i, 64);
    (void)close(fd);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

static uds_echo_verdict overstate(uds_echo_conn *conn, uds_echo_message *message, void *user)
{
    (void)conn;
    (void)user;
    if (message->data[0] == '!') message->size = message->capacity + 1;
    if (message->data[0] == '?') return (uds_echo_verdict)77;
    return UDS_ECHO_REPLY;
}

static void a_handler_that_breaks_its_contract_is_named(void **state)
{
    uds_echo_server_desc desc;
    char in[16];
    (void)state;
    memset(&desc, 0, sizeof desc);
    desc.on_message = overstate;
    desc.on_close = note_why;
    os_exactly("bytes after a size over capacity", (double)spoil(&desc, "!", 1, in, sizeof in), 0);
    assert_int_equal(first_why, UDS_ECHO_ERR_BAD_HANDLER);
    os_exactly("bytes after an unknown verdict", (double)spoil(&desc, "?", 1, in, sizeof in), 0);
    assert_int_equal(first_why, UDS_ECHO_ERR_BAD_HANDLER);
}

/* ---- memory_max ------------------------------------------------------------------------------------------------- */

/* What is there now of the zeroes that stuff() sent; -1 at the end, which is a reset for who was cut. */
static long take_zeroes(int fd)
{
    static const char zeroes[8192];
    char in[sizeof zeroes];
    ssize_t n = recv(fd, in, sizeof in, MSG_DONTWAIT);
    if (n < 0 && errno == ECONNRESET) return -1;
    if (n < 0 && errno != EAGAIN) fail_msg("recv: %s", strerror(errno));
    if (n > 0) assert_memory_equal(in, zeroes, (size_t)n);
    return n > 0 ? (long)n : n == 0 ? -1 : 0;
}

/* Twenty that write what fits and do not read: as many as memory_max has room for have all of their bytes back once they
   read, and the others are cut, by name. */
static void memory_max_bounds_all_together(void **state)
{
    enum { CLIENTS = 20, LIMIT = 4 * MESSAGE };
    size_t sent[CLIENTS], got[CLIENTS] = {0}, total = 0;
    int fds[CLIENTS], ended[CLIENTS] = {0}, i, ends = 0, right = 0;
    double deadline;
    os_plan plan;
    pid_t server;
    (void)state;
    memset(&plan, 0, sizeof plan);
    plan.desc.memory_max = LIMIT;
    server = os_serve(&plan);
    for (i = 0; i < CLIENTS; i++) {
        fds[i] = os_connect();
        sent[i] = stuff(fds[i]);
        total += sent[i];
    }
    os_at_least("bytes sent by those who do not read", (double)total, 2e6);
    for (i = 0; i < CLIENTS; i++) (void)shutdown(fds[i], SHUT_WR);
    for (i = 0, deadline = os_now() + (int)OS_REPLY_MS; ends < CLIENTS && os_now() < deadline; i = (i + 1) % CLIENTS) {
        long n = ended[i] ? 0 : take_zeroes(fds[i]);
        if (n > 0) got[i] += (size_t)n;
        if (n < 0) ended[i] = 1;
        ends += n < 0;
    }
    for (i = 0; i < CLIENTS; i++) right += got[i] == sent[i] && ended[i];
    os_exactly("ends", ends, CLIENTS);
    os_at_least("clients that got back all they sent", right, LIMIT / MESSAGE);
    os_exactly("those, and clients cut by name", right + (double)os.shared->stats.closed[UDS_ECHO_ERR_NO_MEMORY],
               CLIENTS);
    os_at_most("most bytes held at once", (double)os.shared->stats.pending_peak, LIMIT);
    os_at_least("most bytes held at once", (double)os.shared->stats.pending_peak, MESSAGE);
    for (i = 0; i < CLIENTS; i++) (void)close(fds[i]);
    os_exactly("exit status", os_stop(server), 0);
    os_exactly("bytes held in the end", (double)os.shared->stats.pending, 0);
}

/* A push of a byte to a peer that holds 256 MiB, and reads 180 kB between two: the blocks that wait stay where they are,
   so no push takes longer than a step does. */
static void a_push_to_a_peer_that_holds_much(void **state)
{
    enum { HELD = 256 << 20, PUSHES = 300 };
    static char bytes[180000];
    uds_echo_server_desc desc;
    uds_echo_server *server;
    char *reply = (char *)calloc(1, HELD);
    const void *first;
    size_t got = 0;
    ssize_t n;
    int fd, i;
    (void)state;
    assert_non_null(reply);
    memset(&desc, 0, sizeof desc);
    desc.message_max = HELD;
    server = os_open(&desc);
    fd = os_connect();
    os_settle(server);
    assert_int_equal(uds_echo_conn_send(&server->conns[0], reply, HELD), UDS_ECHO_OK);
    free(reply);
    first = server->conns[0].unsent->next;
    for (i = 0; i < PUSHES; i++) {
        n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n > 0) got += (size_t)n;
        os_settle(server);
        assert_int_equal(uds_echo_conn_send(&server->conns[0], "!", 1), UDS_ECHO_OK);
        assert_ptr_equal(server->conns[0].unsent->next, first);
    }
    os_at_least("bytes read meanwhile", (double)got, 10e6);
    os_at_most("bytes in blocks, beyond what is held", (double)server->stats.pending - HELD, 2 * UE_BLOCK);
    (void)close(fd);
    os_settle(server);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

enum { OWED_CLIENTS = 8, OWED_QUESTIONS = 10 };
static uds_echo_id owed_ids[OWED_CLIENTS * OWED_QUESTIONS];
static int owed_count, owed_paid, owed_refused;

static size_t frame_byte(const unsigned char *bytes, size_t size, void *user)
{
    (void)bytes;
    (void)user;
    return size > 0;
}

static uds_echo_verdict note_debt(uds_echo_conn *conn, uds_echo_message *message, void *user)
{
    (void)message;
    (void)user;
    owed_ids[owed_count++] = uds_echo_conn_id(conn);
    return UDS_ECHO_DEFER;
}

/* Long answers, which nobody reads yet. */
static void pay_all(uds_echo_server *server)
{
    static char answer[MESSAGE];
    while (owed_count > 0) {
        uds_echo_conn *conn = uds_echo_server_find(server, owed_ids[--owed_count]);
        if (uds_echo_conn_send(conn, answer, sizeof answer)) owed_refused++;
        else owed_paid++;
    }
}

static size_t read_what_is_there(int fd)
{
    static char bytes[MESSAGE];
    ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    return n > 0 ? (size_t)n : 0;
}

/* Whoever was told DEFER must be able to answer, whatever waits already. */
static void an_owed_answer_never_would_block(void **state)
{
    uds_echo_server_desc desc;
    uds_echo_server *server;
    uds_echo_stats stats;
    int fds[OWED_CLIENTS], i, turn, paid_unread;
    size_t got = 0, wanted = (size_t)OWED_CLIENTS * OWED_QUESTIONS * MESSAGE;
    (void)state;
    owed_count = owed_paid = owed_refused = 0;
    memset(&desc, 0, sizeof desc);
    desc.frame = frame_byte;
    desc.on_message = note_debt;
    server = os_open(&desc);
    for (i = 0; i < OWED_CLIENTS; i++) {
        fds[i] = os_connect();
        assert_int_equal(os_write(fds[i], "??????????", OWED_QUESTIONS), OWED_QUESTIONS);
    }
    for (turn = 0; turn < 100; turn++) {
        os_settle(server);
        pay_all(server);
    }
    paid_unread = owed_paid;
    for (turn = 0; turn < 20000 && got < wanted; turn++) {
        for (i = 0; i < OWED_CLIENTS; i++) got += read_what_is_there(fds[i]);
        assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
        pay_all(server);
    }
    uds_echo_server_stats(server, &stats);
    os_exactly("owed answers that were refused", owed_refused, 0);
    os_at_least("answered before anybody read", paid_unread, OWED_CLIENTS);
    os_exactly("answered in the end", owed_paid, OWED_CLIENTS * OWED_QUESTIONS);
    os_exactly("bytes read", (double)got, (double)wanted);
    os_at_most("most bytes held at once", (double)stats.pending_peak, (double)OWED_CLIENTS * (2 * MESSAGE + UE_BLOCK));
    for (i = 0; i < OWED_CLIENTS; i++) (void)close(fds[i]);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OS_TEST(p23_a_flooder_that_never_reads),
        OS_TEST(a_flooder_that_reads_takes_its_turn),
        OS_TEST(p15_sixteen_descriptors_and_forty_clients),
        OS_TEST(connections_max_rests),
        OS_TEST(connections_max_evicts_the_idlest),
        OS_TEST(idle_ms_cuts_the_idle_and_not_the_busy),
        OS_TEST(idle_ms_cuts_a_slow_reader_that_holds_a_buffer),
        OS_TEST(idle_ms_spares_whom_an_answer_is_owed),
        OS_TEST(drain_ms_bounds_a_drain),
        OS_TEST(a_drain_loses_nothing_of_a_slow_reader),
        OS_TEST(a_drain_in_mid_traffic_answers_all_that_was_accepted),
        OS_TEST(p18_a_drain_answers_those_queued_behind_connections_max),
        OS_TEST(p18_a_drain_answers_those_queued_for_want_of_descriptors),
        OS_TEST(a_drain_ends_idle_connections_at_once),
        OS_TEST(message_max_names_too_long),
        OS_TEST(a_message_of_exactly_message_max_passes),
        OS_TEST(a_handler_that_breaks_its_contract_is_named),
        OS_TEST(memory_max_bounds_all_together),
        OS_TEST(a_push_to_a_peer_that_holds_much),
        OS_TEST(an_owed_answer_never_would_block),
    };
    return cmocka_run_group_tests_name("bounds", tests, NULL, NULL);
}
