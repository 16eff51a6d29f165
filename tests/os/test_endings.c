/* test_endings.c - how connections begin and end on real sockets: lingering, drains and restarts, processes that are
   stopped, and the line of those who wait for a place in a full queue. */
#include "os.h"

#include <sys/wait.h>

static size_t frame_line(const unsigned char *bytes, size_t size, void *user)
{
    const unsigned char *end = (const unsigned char *)memchr(bytes, '\n', size);
    (void)user;
    return end ? (size_t)(end - bytes) + 1 : 0;
}

static uds_echo_verdict reply_and_close(uds_echo_conn *conn, uds_echo_message *message, void *user)
{
    (void)conn, (void)message, (void)user;
    return UDS_ECHO_REPLY_AND_CLOSE;
}

/* ---- lingering ----------------------------------------------------------------------------------------------------- */

/* H2: a client that sends on after the reply was given, and reads only when it has sent all. */
static void p66_who_sends_first_reads_the_reply(void **state)
{
    static char block[4096];
    os_plan plan;
    pid_t server;
    int trial, i, sent = 0, replies = 0, ends = 0;
    (void)state;
    memset(&plan, 0, sizeof plan);
    plan.desc.frame = frame_line;
    plan.desc.on_message = reply_and_close;
    server = os_serve(&plan);
    memset(block, 'x', sizeof block);
    for (trial = 0; trial < 20; trial++) {
        char in[16];
        int fd = os_connect();
        assert_int_equal(os_write(fd, "hello\n", 6), 6);
        for (i = 0; i < 60; i++) {
            sent += os_write(fd, block, sizeof block) == sizeof block;
            usleep(500);
        }
        replies += os_read(fd, in, 6) == 6 && !memcmp(in, "hello\n", 6);
        ends += os_read_end(fd) == 0;
        (void)close(fd);
    }
    os_exactly("writes that went well", sent, 20 * 60);
    os_exactly("replies read", replies, 20);
    os_exactly("ends of stream", ends, 20);
    assert_int_equal(os_stop(server), 0);
    OS_CASES(trial, 20);
}

/* A peer that never ends its side is cut after linger_ms, by name. */
static void who_never_ends_is_cut(void **state)
{
    os_plan plan;
    pid_t server;
    int fd, i;
    double began;
    (void)state;
    memset(&plan, 0, sizeof plan);
    plan.desc.on_message = reply_and_close;
    plan.desc.linger_ms = 200;
    plan.desc.connections_max = 1;
    server = os_serve(&plan);
    for (i = 0; i < 5; i++) {
        char in[8];
        fd = os_connect();
        began = os_now();
        assert_int_equal(os_write(fd, "hello", 5), 5);
        assert_int_equal(os_read(fd, in, 5), 5);
        assert_true(os_serves(os.path)); /* which has to wait for the place */
        os_at_least("ms until the place was free", os_now() - began, 195);
        (void)close(fd);
    }
    assert_int_equal(os_stop(server), 0);
    os_exactly("cut as lingering", (double)os.shared->stats.closed[UDS_ECHO_ERR_LINGER], 5);
}

static pid_t holder;

/* A child that holds copies of all descriptors, and does not exec. */
static uds_echo_verdict fork_a_holder(uds_echo_conn *conn, uds_echo_message *message, void *user)
{
    (void)conn, (void)user;
    holder = fork();
    if (holder == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)alarm(20);
        for (;;) pause();
    }
    return message->data[0] == 'c' ? UDS_ECHO_REPLY_AND_CLOSE : UDS_ECHO_REPLY;
}

/* H5: the client sees the end though a child holds the socket. */
static void an_end_beside_a_child(void **state)
{
    int how;
    (void)state;
    for (how = 0; how < 2; how++) {
        uds_echo_server_desc desc;
        uds_echo_server *server;
        char in[8];
        int fd, pid;
        memset(&desc, 0, sizeof desc);
        desc.on_message = fork_a_holder;
        server = os_open(&desc);
        fd = os_connect();
        assert_int_equal(os_write(fd, how ? "close" : "hello", 5), 5);
        os_settle(server);
        if (!how) assert_int_equal(shutdown(fd, SHUT_WR), 0);
        os_settle(server);
        pid = holder;
        assert_int_equal(os_read(fd, in, 5), 5);
        assert_true(os_readable(fd, 2000));
        assert_int_equal(os_read_end(fd), 0);
        (void)close(fd);
        os_settle(server);
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
    }
}

/* ---- processes that are stopped ------------------------------------------------------------------------------------ */

/* H1: a server is stopped for longer than idle_ms while a request lies in the socket. */
static void p65_a_stopped_server_cuts_nobody(void **state)
{
    enum { ROUNDS = 20, CLIENTS = 10 };
    os_plan plan;
    pid_t server;
    int round, i, fds[CLIENTS], replies = 0, status;
    (void)state;
    memset(&plan, 0, sizeof plan);
    plan.desc.idle_ms = 150 * OS_SLOW;
    plan.desc.message_ms = 150 * OS_SLOW;
    plan.desc.frame = frame_line;
    server = os_serve(&plan);
    for (round = 0; round < ROUNDS; round++) {
        char in[32];
        for (i = 0; i < CLIENTS; i++) {
            fds[i] = os_connect();
            assert_int_equal(os_write(fds[i], i % 2 ? "hi\nhal" : "hi\n", i % 2 ? 6 : 3), i % 2 ? 6 : 3);
            assert_int_equal(os_read(fds[i], in, 3), 3);
        }
        assert_int_equal(kill(server, SIGSTOP), 0);
        assert_int_equal(waitpid(server, &status, WUNTRACED), server);
        for (i = 0; i < CLIENTS; i++)
            assert_int_equal(os_write(fds[i], i % 2 ? "f\n" : "half\n", i % 2 ? 2 : 5), i % 2 ? 2 : 5);
        os_sleep(200 * OS_SLOW);
        assert_int_equal(kill(server, SIGCONT), 0);
        for (i = 0; i < CLIENTS; i++) {
            replies += os_read(fds[i], in, 5) == 5 && !memcmp(in, "half\n", 5);
            (void)close(fds[i]);
        }
    }
    os_exactly("requests that were answered", replies, ROUNDS * CLIENTS);
    assert_int_equal(os_stop(server), 0);
    OS_CASES(replies, 200);
}

static uds_echo_verdict reply_after_a_while(uds_echo_conn *conn, uds_echo_message *message, void *user)
{
    (void)conn, (void)message, (void)user;
    os_sleep(50);
    return UDS_ECHO_REPLY;
}

/* H1: a client is stopped past its deadline, and its reply comes meanwhile. */
static void p65_a_stopped_client_gets_its_reply(void **state)
{
    enum { ROUNDS = 10 };
    os_plan plan;
    pid_t server, client;
    int round, status;
    (void)state;
    memset(&plan, 0, sizeof plan);
    plan.desc.on_message = reply_after_a_while;
    server = os_serve(&plan);
    for (round = 0; round < ROUNDS; round++) {
        os.shared->count[0] = 0;
        client = os_fork();
        if (client == 0) {
            char reply[16];
            size_t got = 0;
            uds_echo_error error;
            os.shared->count[0] = 1;
            error = uds_echo_call(os.path, "hello", 5, reply, sizeof reply, &got, 200 * OS_SLOW, NULL);
            _exit(error ? (int)error : got == 5 ? 0 : 90);
        }
        while (!os.shared->count[0]) os_sleep(1);
        os_sleep(20); /* it has sent, and the reply has not come */
        assert_int_equal(kill(client, SIGSTOP), 0);
        assert_int_equal(waitpid(client, &status, WUNTRACED), client);
        if (WIFSTOPPED(status)) os_sleep(300 * OS_SLOW);
        assert_int_equal(kill(client, SIGCONT), 0);
        assert_int_equal(os_reap(client, OS_REPLY_MS), 0);
    }
    assert_int_equal(os_stop(server), 0);
    OS_CASES(round, ROUNDS);
}

/* H6: a byte at a time within one message, for longer than message_ms. */
static void p69_a_message_has_its_time(void **state)
{
    os_plan plan;
    pid_t server;
    double began;
    int fd, i;
    (void)state;
    memset(&plan, 0, sizeof plan);
    plan.desc.frame = frame_line;
    plan.desc.idle_ms = 5000;
    plan.desc.message_ms = 300;
    server = os_serve(&plan);
    fd = os_connect();
    began = os_now();
    for (i = 0; i < 100 && os_write(fd, "x", 1) == 1; i++) os_sleep(20);
    os_at_least("ms until it was cut", os_now() - began, 295);
    os_at_most("ms until it was cut", os_now() - began, 1500 * OS_SLOW);
    (void)close(fd);
    assert_int_equal(os_stop(server), 0);
    os_exactly("cut for its time", (double)os.shared->stats.closed[UDS_ECHO_ERR_TIMEOUT], 1);
}

/* ---- drains and restarts ------------------------------------------------------------------------------------------- */

/* H3: SIGTERM comes in the middle of a message, and before the first one. */
static void p67_a_message_may_be_finished(void **state)
{
    enum { ROUNDS = 20 };
    int round, replies = 0;
    (void)state;
    for (round = 0; round < ROUNDS; round++) {
        os_plan plan;
        pid_t server;
        char in[8];
        int first, second;
        memset(&plan, 0, sizeof plan);
        plan.desc.frame = frame_line;
        server = os_serve(&plan);
        first = os_connect();
        second = os_connect();
        assert_int_equal(os_write(first, "hal", 3), 3);
        assert_int_equal(kill(server, SIGTERM), 0);
        os_sleep(round % 5 * 5);
        assert_int_equal(os_write(first, "f\n", 2), 2);
        assert_int_equal(os_write(second, "late\n", 5), 5);
        replies += os_read(first, in, 5) == 5 && !memcmp(in, "half\n", 5);
        replies += os_read(second, in, 5) == 5 && !memcmp(in, "late\n", 5);
        assert_int_equal(os_read_end(first), 0);
        assert_int_equal(os_read_end(second), 0);
        (void)close(first);
        (void)close(second);
        assert_int_equal(os_reap(server, OS_REPLY_MS), 0);
    }
    os_exactly("requests that were answered", replies, 2 * ROUNDS);
    OS_CASES(round, ROUNDS);
}

enum { RESTARTS = 200, CLIENTS = 4, REQUESTS = 100000 };

/* What clients and servers of the restarts share: how often each request was handled, and what the clients met. */
typedef struct ledger {
    unsigned char handled[CLIENTS][REQUESTS];
    long replied[CLIENTS], lost[CLIENTS], refused[CLIENTS];
    int over;
} ledger;

static ledger *book;

/* A request is "CLIENT NUMBER\n". */
static uds_echo_verdict note_request(uds_echo_conn *conn, uds_echo_message *message, void *user)
{
    int client, number;
    char text[32];
    (void)conn, (void)user;
    assert_true(message->size < sizeof text);
    memcpy(text, message->data, message->size);
    text[message->size] = '\0';
    if (sscanf(text, "%d %d", &client, &number) != 2 || client >= CLIENTS || number >= REQUESTS) _exit(95);
    if (__atomic_fetch_add(&book->handled[client][number], 1, __ATOMIC_RELAXED)) _exit(96);
    return UDS_ECHO_REPLY;
}

static pid_t adopt_in_child(int listener)
{
    os_report report;
    int ends[2];
    pid_t pid;
    assert_int_equal(pipe(ends), 0);
    pid = os_fork();
    if (pid == 0) {
        uds_echo_server_desc desc;
        uds_echo_server *server;
        uds_echo_failure why;
        uds_echo_error error;
        memset(&desc, 0, sizeof desc);
        desc.frame = frame_line;
        desc.on_message = note_request;
        desc.on_ready = os_on_ready;
        os_ready_fd = ends[1];
        (void)signal(SIGTERM, os_on_term);
        error = uds_echo_server_adopt(&server, listener, &desc, &why);
        if (error) _exit((int)error);
        error = uds_echo_server_run(server);
        if (server->stats.closed[UDS_ECHO_ERR_STOPPED]) _exit(94);
        os_running = NULL;
        (void)uds_echo_server_close(server);
        _exit((int)error);
    }
    (void)close(ends[1]);
    assert_int_equal(read(ends[0], &report, sizeof report), sizeof report);
    (void)close(ends[0]);
    return pid;
}

/* Clients 0 to 2 connect anew for each request and wait 0, 5 and 50 ms before they send it: none may be lost. Client 3
   keeps its connection; where a request fails before any reply, it was not handled, and is sent again. */
static void make_requests(int client)
{
    static const int waits_ms[] = {0, 5, 50, 0};
    int fd = -1, number;
    for (number = 0; number < REQUESTS && !__atomic_load_n(&book->over, __ATOMIC_ACQUIRE); number++) {
        char out[32], in[32];
        int size = snprintf(out, sizeof out, "%d %d\n", client, number), tries = 0;
        for (;;) {
            if (fd < 0) fd = os_dial(os.path);
            if (fd < 0) _exit(93);
            if (waits_ms[client]) os_sleep(waits_ms[client]);
            if (os_write(fd, out, (size_t)size) == (size_t)size && os_read(fd, in, (size_t)size) == (size_t)size) break;
            (void)close(fd);
            fd = -1;
            if (client != 3) {
                book->lost[client]++;
                break;
            }
            book->refused[client]++;
            if (book->handled[client][number] || ++tries == 1000) _exit(92);
        }
        book->replied[client]++;
        if (client != 3) {
            (void)close(fd);
            fd = -1;
        }
    }
    _exit(0);
}

/* H3, H12: an adopted listener, restarted under load; the next server is started before the old one is stopped, or after
   that. */
static void p67_restarts_lose_nothing(void **state)
{
    pid_t server, clients[CLIENTS];
    int i, restart, listener = os_listen(os.path, SOCK_STREAM, 1000);
    long replied = 0;
    (void)state;
    book = (ledger *)mmap(NULL, sizeof *book, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(book != MAP_FAILED);
    server = adopt_in_child(listener);
    for (i = 0; i < CLIENTS; i++) {
        clients[i] = os_fork();
        if (clients[i] == 0) make_requests(i);
    }
    for (restart = 0; restart < RESTARTS; restart++) {
        pid_t old = server;
        os_sleep(10);
        if (restart % 2) server = adopt_in_child(listener);
        assert_int_equal(kill(old, SIGTERM), 0);
        assert_int_equal(os_reap(old, 20000 * OS_SLOW), 0);
        if (restart % 2 == 0) server = adopt_in_child(listener);
    }
    __atomic_store_n(&book->over, 1, __ATOMIC_RELEASE);
    for (i = 0; i < CLIENTS; i++) {
        assert_int_equal(os_reap(clients[i], OS_REPLY_MS), 0);
        replied += book->replied[i];
        os_exactly("requests lost", (double)book->lost[i], 0);
        os_at_least("requests answered", (double)book->replied[i], 20);
    }
    os_at_least("requests on kept connections that were not handled, and told so", (double)book->refused[3], 1);
    assert_int_equal(os_stop(server), 0);
    (void)close(listener);
    (void)munmap(book, sizeof *book);
    OS_CASES(replied, 1000);
}

/* H12: the example, started as systemd does it. */
static void the_example_is_activated(void **state)
{
    const char *build = getenv("UDS_ECHO_BUILD");
    char program[512], in[64], expected[64];
    int listener = os_listen(os.path, SOCK_STREAM, 100), round;
    (void)state;
    (void)snprintf(program, sizeof program, "%s/activated", build && *build ? build : "build");
    if (access(program, X_OK)) fail_msg("%s is not built", program);
    for (round = 0; round < 5; round++) {
        int fd = os_connect(); /* before the server is there */
        size_t size;
        pid_t pid = os_fork();
        if (pid == 0) {
            char number[32];
            (void)snprintf(number, sizeof number, "%ld", (long)getpid());
            (void)setenv("LISTEN_PID", number, 1);
            (void)setenv("LISTEN_FDS", "1", 1);
            if (listener == 3) (void)fcntl(3, F_SETFD, 0);
            else (void)dup2(listener, 3);
            (void)execl(program, program, (char *)NULL);
            _exit(97);
        }
        size = (size_t)snprintf(expected, sizeof expected, "%ld hello\n", (long)pid);
        assert_int_equal(os_write(fd, "hello\n", 6), 6);
        assert_int_equal(os_read(fd, in, size), size);
        assert_memory_equal(in, expected, size);
        assert_int_equal(os_stop(pid), 0);
        assert_int_equal(os_read_end(fd), 0);
        (void)close(fd);
    }
    (void)close(listener);
}

/* ---- the line of a full queue -------------------------------------------------------------------------------------- */

static uds_echo_verdict slow_and_close(uds_echo_conn *conn, uds_echo_message *message, void *user)
{
    (void)conn, (void)message, (void)user;
    os_sleep(2);
    return UDS_ECHO_REPLY_AND_CLOSE;
}

/* H4: twenty ordinary blocking clients keep the queue full. Ours is answered as they are. */
static void p68_a_client_waits_in_the_kernels_line(void **state)
{
    enum { ROUNDS = 15, OTHERS = 20 };
    os_plan plan;
    pid_t server, others[OTHERS];
    double worst = 0;
    int i, answered = 0;
    (void)state;
    memset(&plan, 0, sizeof plan);
    plan.desc.backlog = 1;
    plan.desc.connections_max = 4;
    plan.desc.on_message = slow_and_close;
    server = os_serve(&plan);
    for (i = 0; i < OTHERS; i++) {
        others[i] = os_fork();
        if (others[i]) continue;
        for (;;) {
            char in[8];
            int fd = os_dial(os.path);
            if (fd < 0) continue;
            (void)os_write(fd, "x", 1);
            (void)shutdown(fd, SHUT_WR);
            while (read(fd, in, sizeof in) > 0) continue;
            (void)close(fd);
        }
    }
    os_sleep(300);
    for (i = 0; i < ROUNDS; i++) {
        char reply[8];
        size_t got = 0;
        double began = os_now();
        answered +=
            uds_echo_call(os.path, "x", 1, reply, sizeof reply, &got, 1000 * OS_SLOW, NULL) == UDS_ECHO_OK && got == 1;
        if (os_now() - began > worst) worst = os_now() - began;
    }
    os_exactly("calls that were answered", answered, ROUNDS);
    os_at_most("ms of the slowest", worst, 1000 * OS_SLOW);
    for (i = 0; i < OTHERS; i++) os_kill(others[i]);
    os_kill(server);
    (void)unlink(os.path);
    OS_CASES(answered, ROUNDS);
}

/* A path that is taken over while the client waits in line at the old server leads to the new one. */
static void a_path_that_is_taken_over_is_noticed(void **state)
{
    int old = os_listen(os.path, SOCK_STREAM, 0), fds[2];
    pid_t client;
    double began;
    (void)state;
    fds[0] = os_connect();
    client = os_fork();
    if (client == 0) {
        char reply[8];
        size_t got = 0;
        uds_echo_error error = uds_echo_call(os.path, "hello", 5, reply, sizeof reply, &got, 10000, NULL);
        _exit(error ? (int)error : got == 5 ? 0 : 90);
    }
    os_sleep(150);
    began = os_now();
    assert_int_equal(unlink(os.path), 0);
    {
        pid_t server = os_serve(NULL);
        assert_int_equal(os_reap(client, OS_REPLY_MS), 0);
        os_at_most("ms until the new server was found", os_now() - began, 2000 * OS_SLOW);
        assert_int_equal(os_stop(server), 0);
    }
    (void)close(fds[0]);
    (void)close(old);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OS_TEST(p66_who_sends_first_reads_the_reply),
        OS_TEST(who_never_ends_is_cut),
        OS_TEST(an_end_beside_a_child),
        OS_TEST(p65_a_stopped_server_cuts_nobody),
        OS_TEST(p65_a_stopped_client_gets_its_reply),
        OS_TEST(p69_a_message_has_its_time),
        OS_TEST(p67_a_message_may_be_finished),
        OS_TEST(p67_restarts_lose_nothing),
        OS_TEST(the_example_is_activated),
        OS_TEST(p68_a_client_waits_in_the_kernels_line),
        OS_TEST(a_path_that_is_taken_over_is_noticed),
    };
    return cmocka_run_group_tests_name("endings", tests, NULL, NULL);
}
