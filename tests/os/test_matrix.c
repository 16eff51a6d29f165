/* test_matrix.c - the matrix of the pitfalls, cell by cell: what may be at the path, how a server may end, what clients
   may do, under which limits and signals. What other programs show of it, they tell by os_cell() too; see matrix.sh. */
#include "os.h"

/* ---- what is at the path ----------------------------------------------------------------------------------------- */

static int held = -1;
static pid_t living;

static void put_nothing(void)
{
}

static void put_stale(void)
{
    os_make_stale(os.path);
}

static void put_live(void)
{
    living = os_serve(NULL);
}

/* All of its queue is taken. */
static void put_full(void)
{
    living = os_fork();
    if (living == 0) {
        int listener = os_listen(os.path, SOCK_STREAM, 0);
        os.shared->count[0] = listener >= 0;
        for (;;) (void)pause();
    }
    while (!os.shared->count[0]) os_sleep(1);
    os.shared->count[0] = 0;
    held = os_connect();
}

static void put_stopped(void)
{
    living = os_serve(NULL);
    assert_int_equal(kill(living, SIGSTOP), 0);
}

static void put_file(void)
{
    FILE *f = fopen(os.path, "w");
    assert_non_null(f);
    assert_true(fputs("not yours\n", f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void put_folder(void)
{
    assert_int_equal(mkdir(os.path, 0700), 0);
}

static void put_fifo(void)
{
    assert_int_equal(mkfifo(os.path, 0600), 0);
}

static void put_link(void)
{
    char target[128];
    (void)snprintf(target, sizeof target, "%s/target", os.dir);
    os_make_stale(target);
    assert_int_equal(symlink("target", os.path), 0);
}

static void put_dangling(void)
{
    assert_int_equal(symlink("target", os.path), 0);
}

static void put_datagrams(void)
{
    held = os_bind(os.path, SOCK_DGRAM);
    assert_true(held >= 0);
}

static void put_packets(void)
{
    held = os_listen(os.path, SOCK_SEQPACKET, 8);
    assert_true(held >= 0);
}

static void clear_path(void)
{
    char target[128];
    (void)snprintf(target, sizeof target, "%s/target", os.dir);
    if (held >= 0) (void)close(held);
    if (living) os_kill(living);
    held = -1;
    living = 0;
    (void)remove(os.path);
    (void)remove(target);
    assert_int_equal(os_names(os.dir, NULL, 0), 0);
}

typedef struct at_path {
    const char *cell;
    void (*put)(void);
    uds_echo_error recover, refuse; /* by if_exists */
    const char *result;
} at_path;

/* Tries to start, in one of four ways. Where it starts it serves, and nothing of it is left; where it does not, all is
   as it was. */
static void start_over(const at_path *row, int way)
{
    uds_echo_error wanted = way & 1 ? row->refuse : row->recover, error;
    uds_echo_server_desc desc;
    uds_echo_server *server = NULL;
    uds_echo_failure why;
    struct stat before, after;
    int there = !lstat(os.path, &before), names = os_names(os.dir, NULL, 0), fd;
    char in[2];
    memset(&desc, 0, sizeof desc);
    desc.path = os.path;
    desc.if_exists = way & 1 ? UDS_ECHO_IF_EXISTS_REFUSE : UDS_ECHO_IF_EXISTS_REPLACE_STALE;
    desc.publish = way & 2 ? UDS_ECHO_PUBLISH_DIRECT : UDS_ECHO_PUBLISH_ATOMIC;
    error = uds_echo_server_open(&server, &desc, &why);
    if (error != wanted) fail_msg("%s, way %d: error %d, wanted %d", row->cell, way, (int)error, (int)wanted);
    if (!error) {
        fd = os_connect();
        assert_int_equal(os_write(fd, "ok", 2), 2);
        os_settle(server);
        assert_int_equal(os_read(fd, in, 2), 2);
        (void)close(fd);
        assert_int_equal(os_names(os.dir, NULL, 0), 1);
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
        assert_int_equal(os_names(os.dir, NULL, 0), 0);
        return;
    }
    assert_null(server);
    assert_true(there && !lstat(os.path, &after));
    assert_true(before.st_ino == after.st_ino && before.st_mode == after.st_mode && before.st_size == after.st_size &&
                before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
    assert_int_equal(os_names(os.dir, NULL, 0), names);
    if (living && error == UDS_ECHO_ERR_IN_USE && held < 0) assert_int_equal(why.pid, living);
}

static void what_is_at_the_path(void **state)
{
    static const at_path rows[] = {
        {"none", put_nothing, UDS_ECHO_OK, UDS_ECHO_OK, "served"},
        {"stale", put_stale, UDS_ECHO_OK, UDS_ECHO_ERR_EXISTS, "replaced and served; with REFUSE: EXISTS, untouched"},
        {"live idle", put_live, UDS_ECHO_ERR_IN_USE, UDS_ECHO_ERR_IN_USE, "IN_USE with its pid, untouched"},
        {"live full", put_full, UDS_ECHO_ERR_IN_USE, UDS_ECHO_ERR_IN_USE, "IN_USE, untouched"},
        {"live stopped by SIGSTOP", put_stopped, UDS_ECHO_ERR_IN_USE, UDS_ECHO_ERR_IN_USE,
         "IN_USE with its pid, untouched"},
        {"file", put_file, UDS_ECHO_ERR_NOT_SOCKET, UDS_ECHO_ERR_NOT_SOCKET, "NOT_SOCKET, untouched"},
        {"directory", put_folder, UDS_ECHO_ERR_NOT_SOCKET, UDS_ECHO_ERR_NOT_SOCKET, "NOT_SOCKET, untouched"},
        {"fifo", put_fifo, UDS_ECHO_ERR_NOT_SOCKET, UDS_ECHO_ERR_NOT_SOCKET, "NOT_SOCKET, untouched"},
        {"link to socket", put_link, UDS_ECHO_ERR_NOT_SOCKET, UDS_ECHO_ERR_NOT_SOCKET,
         "NOT_SOCKET, link and target untouched"},
        {"dangling link", put_dangling, UDS_ECHO_ERR_NOT_SOCKET, UDS_ECHO_ERR_NOT_SOCKET,
         "NOT_SOCKET, untouched, no target"},
        {"other type, datagrams", put_datagrams, UDS_ECHO_ERR_IN_USE, UDS_ECHO_ERR_IN_USE, "IN_USE, untouched"},
        {"other type, packets", put_packets, UDS_ECHO_ERR_IN_USE, UDS_ECHO_ERR_IN_USE, "IN_USE, untouched"},
    };
    size_t i;
    int way;
    (void)state;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (way = 0; way < 4; way++) {
            rows[i].put();
            start_over(&rows[i], way);
            if (living && held < 0) { /* it was not disturbed */
                assert_int_equal(kill(living, SIGCONT), 0);
                assert_true(os_serves(os.path));
            }
            clear_path();
        }
        os_cell("at the path", rows[i].cell, rows[i].result);
    }
}

/* ---- how a server ends ------------------------------------------------------------------------------------------- */

enum { ENDS = 3 }; /* by close alone, by NOW, by DRAIN */

static void end_it(uds_echo_server *server, int how)
{
    if (how) {
        uds_echo_server_stop(server, how == 1 ? UDS_ECHO_STOP_NOW : UDS_ECHO_STOP_DRAIN);
        (void)os_run_out(server);
    }
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

static void what_an_end_leaves(void **state)
{
    static void (*const replaced_by[])(void) = {put_stale, put_live, put_file, put_folder, put_fifo, put_datagrams};
    uds_echo_server_desc desc;
    uds_echo_server *server;
    struct stat before, after;
    size_t i;
    int how;
    (void)state;
    for (how = 0; how < ENDS; how++) {
        end_it(os_open(NULL), how);
        assert_int_equal(os_names(os.dir, NULL, 0), 0);
    }
    os_cell("exit", "ours", "removed");

    for (how = 0; how < ENDS; how++) {
        for (i = 0; i < sizeof replaced_by / sizeof *replaced_by; i++) {
            server = os_open(NULL);
            assert_int_equal(unlink(os.path), 0);
            replaced_by[i]();
            assert_int_equal(lstat(os.path, &before), 0);
            end_it(server, how);
            assert_int_equal(lstat(os.path, &after), 0);
            assert_true(before.st_ino == after.st_ino && before.st_mode == after.st_mode);
            if (living) assert_true(os_serves(os.path));
            clear_path();
        }
    }
    os_cell("exit", "replaced", "what replaced it is untouched");

    for (how = 0; how < ENDS; how++) {
        server = os_open(NULL);
        assert_int_equal(unlink(os.path), 0);
        end_it(server, how);
        assert_int_equal(os_names(os.dir, NULL, 0), 0);
    }
    os_cell("exit", "already gone", "nothing to do");

    for (how = 0; how < ENDS; how++) {
        int listener = os_listen(os.path, SOCK_STREAM, 8), other = dup(listener), fd;
        memset(&desc, 0, sizeof desc);
        assert_int_equal(uds_echo_server_adopt(&server, listener, &desc, NULL), UDS_ECHO_OK);
        end_it(server, how);
        fd = os_connect();
        assert_true(os_readable(other, OS_REPLY_MS));
        (void)close(fd);
        (void)close(other);
        clear_path();
    }
    os_cell("exit", "inherited", "stays, and its other holders go on");
}

/* ---- what clients do --------------------------------------------------------------------------------------------- */

static size_t frame_line(const unsigned char *bytes, size_t size, void *user)
{
    const unsigned char *end = (const unsigned char *)memchr(bytes, '\n', size);
    (void)user;
    return end ? (size_t)(end - bytes) + 1 : 0;
}

static void half_closes(int round)
{
    static unsigned char out[100000], in[sizeof out];
    int fd = os_connect();
    os_fill(out, sizeof out, (unsigned)round);
    assert_int_equal(os_write(fd, out, sizeof out), sizeof out);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    assert_int_equal(os_read(fd, in, sizeof in), sizeof in);
    assert_int_equal(os_read_end(fd), 0);
    assert_memory_equal(in, out, sizeof in);
    (void)close(fd);
}

static void resets(int round)
{
    char block[4096];
    int fd = os_connect();
    (void)round;
    memset(block, '\n', sizeof block);
    assert_int_equal(os_write(fd, block, sizeof block), sizeof block);
    assert_true(os_readable(fd, OS_REPLY_MS));
    (void)close(fd); /* with input unread */
}

static void one_byte_at_a_time(int round)
{
    const char text[] = "one by one\n";
    int fd = os_connect();
    size_t i;
    char in[sizeof text];
    (void)round;
    for (i = 0; i < sizeof text - 1; i++) assert_int_equal(os_write(fd, text + i, 1), 1);
    for (i = 0; i < sizeof text - 1; i++) assert_int_equal(os_read(fd, in + i, 1), 1);
    assert_memory_equal(in, text, sizeof text - 1);
    (void)close(fd);
}

static void never_reads(int round)
{
    static char block[8192];
    int fd = os_connect(), quiet = 0;
    memset(block, '\n', sizeof block);
    while (quiet < 5) {
        ssize_t n = send(fd, block, sizeof block, MSG_DONTWAIT | MSG_NOSIGNAL);
        quiet = n > 0 ? 0 : quiet + 1;
        if (n <= 0) os_sleep(2);
    }
    os_at_most("bytes held for it", (double)os.shared->stats.pending, 2.0 * 65536);
    one_byte_at_a_time(round);
    (void)close(fd);
}

static void sends_oob(int round)
{
    char in[9] = "";
    int fd = os_connect();
    (void)round;
    assert_int_equal(os_write(fd, "abc", 3), 3);
    assert_int_equal(send(fd, "X", 1, MSG_OOB | MSG_NOSIGNAL), 1);
    assert_int_equal(os_write(fd, "def\n", 4), 4);
    assert_int_equal(os_read(fd, in, 8), 8);
    assert_string_equal(in, "abcXdef\n");
    (void)close(fd);
}

static void sends_descriptors(int round)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(3 * sizeof(int))];
    } control;
    char text[] = "here\n", in[5];
    int fd = os_connect(), fds[3];
    struct iovec part = {text, 5};
    struct msghdr message;
    (void)round;
    fds[0] = fds[1] = fds[2] = fd;
    memset(&control, 0, sizeof control);
    memset(&message, 0, sizeof message);
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    control.head.cmsg_level = SOL_SOCKET;
    control.head.cmsg_type = SCM_RIGHTS;
    control.head.cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(&control.head), fds, sizeof fds);
    if (sendmsg(fd, &message, MSG_NOSIGNAL) != 5) { /* refused, and nothing else happens */
        assert_int_equal(errno, EPERM);
        assert_int_equal(os_write(fd, text, 5), 5);
    }
    assert_int_equal(os_read(fd, in, 5), 5);
    assert_memory_equal(in, text, 5);
    (void)close(fd);
}

static void connects_and_leaves(int round)
{
    (void)round;
    (void)close(os_connect());
}

static void is_killed_in_mid_message(int round)
{
    pid_t child = os_fork();
    if (child == 0) {
        int fd = os_dial(os.path);
        if (os_write(fd, "whole\nand a ha", (size_t)(7 + round % 7)) < 7) _exit(1);
        (void)kill(getpid(), SIGKILL);
    }
    assert_int_equal(os_reap(child, OS_REPLY_MS), 128 + SIGKILL);
}

/* Beside each of them another client goes on, and in the end nothing of them is left in the server. */
static void what_clients_do(void **state)
{
    static const struct {
        const char *cell;
        void (*act)(int round);
        int rounds;
        const char *result;
    } rows[] = {
        {"half-close", half_closes, 50, "all bytes, then the end"},
        {"reset", resets, 200, "the others go on"},
        {"never reads", never_reads, 3, "at most two messages are held for it, the others go on"},
        {"one byte at a time", one_byte_at_a_time, 50, "all bytes"},
        {"OOB", sends_oob, 100, "the byte is in its place"},
        {"descriptors", sends_descriptors, 300, "all bytes, no descriptor kept"},
        {"connect and leave", connects_and_leaves, 1000, "the others go on"},
        {"killed in mid-message", is_killed_in_mid_message, 50, "the others go on"},
    };
    char folder[64];
    os_plan plan;
    pid_t server;
    size_t i;
    int way;
    (void)state;
    for (way = 0; way < 2; way++) { /* with messages and without */
        memset(&plan, 0, sizeof plan);
        if (way) plan.desc.frame = frame_line;
        server = os_serve(&plan);
        (void)snprintf(folder, sizeof folder, "/proc/%ld/fd", (long)server);
        for (i = 0; i < sizeof rows / sizeof *rows; i++) {
            int good = os_connect(), last, before, round;
            char in[6];
            double until;
            if (way && rows[i].act == half_closes) continue; /* random bytes are no lines */
            assert_true(os_write(good, "hello\n", 6) == 6 && os_read(good, in, 6) == 6);
            before = os_names(folder, NULL, 0);
            for (round = 0; round < rows[i].rounds; round++) rows[i].act(round);
            assert_true(os_write(good, "still\n", 6) == 6 && os_read(good, in, 6) == 6 && !memcmp(in, "still\n", 6));
            last = os_connect(); /* once it is answered, all who were queued before it have been accepted */
            assert_true(os_write(last, "last!\n", 6) == 6 && os_read(last, in, 6) == 6);
            (void)close(last);
            for (until = os_now() + (int)OS_REPLY_MS; os_names(folder, NULL, 0) > before && os_now() < until;)
                os_sleep(1);
            os_exactly(rows[i].cell, os_names(folder, NULL, 0), before);
            (void)close(good);
            while (os_names(folder, NULL, 0) >= before && os_now() < until) os_sleep(1);
        }
        assert_int_equal(os_stop(server), 0);
        assert_int_equal(os.shared->stats.pending, 0);
        assert_int_equal(os.shared->stats.connections, 0);
    }
    for (i = 0; i < sizeof rows / sizeof *rows; i++) os_cell("clients", rows[i].cell, rows[i].result);
}

enum { CROWD = 10000 };

/* 0: this process may have so many descriptors now. */
static int raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_max < CROWD + 100) return -1;
    limit.rlim_cur = CROWD + 100;
    return setrlimit(RLIMIT_NOFILE, &limit);
}

static void raise_in_the_server(void)
{
    if (raise_descriptors()) _exit(96);
}

static void ten_thousand_idle_clients(void **state)
{
    static int fds[CROWD];
    struct rlimit before;
    os_plan plan;
    pid_t server;
    double cpu;
    int i, served = 0;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    if (raise_descriptors()) {
        print_message("# skipped: the hard limit is %lu descriptors (ulimit -Hn)\n", (unsigned long)before.rlim_max);
        skip();
    }
    memset(&plan, 0, sizeof plan);
    plan.before = raise_in_the_server;
    plan.desc.connections_max = -1;
    server = os_serve(&plan);
    for (i = 0; i < CROWD; i++) fds[i] = os_connect();
    assert_true(os_ping(fds[CROWD - 1]));
    OS_SOON(os.shared->stats.connections == CROWD);
    os_exactly("connections", (double)os.shared->stats.connections, CROWD);
    cpu = os_cpu_ms(server);
    os_sleep(200);
    os_at_most("ms of cpu in 200 ms beside them", os_cpu_ms(server) - cpu, 20);
    for (i = 0; i < CROWD; i += 97) served += os_ping(fds[i]);
    os_exactly("of these, asked again", served, (CROWD + 96) / 97);
    for (i = 0; i < CROWD; i++) (void)close(fds[i]);
    assert_int_equal(os_stop(server), 0);
    os_exactly("closed in order", (double)os.shared->stats.closed[UDS_ECHO_OK], CROWD);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    os_cell("clients", "ten thousand idle", "all are held and cost no time, each is answered");
}

/* ---- limits ------------------------------------------------------------------------------------------------------ */

/* Sends and reads through buffers of 4 KiB on every side, as a child. */
static pid_t fork_narrow_client(unsigned seed)
{
    enum { SIZE = 300000, NARROW = 4096 };
    pid_t pid = os_fork();
    if (pid == 0) {
        unsigned char *out = (unsigned char *)malloc(SIZE), *in = (unsigned char *)malloc(SIZE);
        uds_echo_client_desc desc;
        uds_echo_client client;
        uds_echo_io io;
        int narrow = NARROW;
        if (!out || !in) _exit(1);
        os_fill(out, SIZE, seed);
        memset(&desc, 0, sizeof desc);
        memset(&io, 0, sizeof io);
        desc.path = os.path;
        if (uds_echo_client_open(&client, &desc, NULL)) _exit(2);
        if (setsockopt(uds_echo_client_fd(&client), SOL_SOCKET, SO_SNDBUF, &narrow, sizeof narrow)) _exit(3);
        io.out = out;
        io.in = in;
        io.out_size = io.in_size = SIZE;
        if (uds_echo_client_exchange(&client, &io, OS_REPLY_MS) || memcmp(in, out, SIZE)) _exit(4);
        _exit(0);
    }
    return pid;
}

static void buffers_of_4_kib(void **state)
{
    enum { CLIENTS = 6 };
    pid_t server, clients[CLIENTS];
    os_plan plan;
    int i, well = 0;
    (void)state;
    memset(&plan, 0, sizeof plan);
    plan.desc.message_max = 4096;
    plan.desc.send_buffer = 4096;
    server = os_serve(&plan);
    for (i = 0; i < CLIENTS; i++) clients[i] = fork_narrow_client((unsigned)i);
    for (i = 0; i < CLIENTS; i++) well += os_reap(clients[i], OS_REPLY_MS) == 0;
    os_exactly("clients whose bytes all came back", well, CLIENTS);
    assert_int_equal(os_stop(server), 0);
    os_at_most("bytes held at once", (double)os.shared->stats.pending_peak, CLIENTS * (2 * 4096 + UE_BLOCK));
    os_cell("limits", "4 KiB buffers", "six clients at once, all bytes");
}

static void a_backlog_of_0(void **state)
{
    enum { CLIENTS = 40 };
    int listener = os_listen(os.path, SOCK_STREAM, 0), i, well = 0;
    uds_echo_server_desc desc;
    uds_echo_server *server;
    pid_t clients[CLIENTS];
    pthread_t thread;
    (void)state;
    for (i = 0; i < CLIENTS; i++) {
        clients[i] = os_fork();
        if (clients[i] == 0) {
            char reply[8];
            size_t got = 0;
            _exit(uds_echo_call(os.path, "queue", 5, reply, sizeof reply, &got, OS_REPLY_MS, NULL) || got != 5);
        }
    }
    os_sleep(20); /* most of them meet a full queue */
    memset(&desc, 0, sizeof desc);
    assert_int_equal(uds_echo_server_adopt(&server, listener, &desc, NULL), UDS_ECHO_OK);
    thread = os_thread(os_run_thread, server);
    for (i = 0; i < CLIENTS; i++) well += os_reap(clients[i], OS_REPLY_MS) == 0;
    uds_echo_server_stop(server, UDS_ECHO_STOP_NOW);
    assert_int_equal(os_join(thread), UDS_ECHO_OK);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    os_exactly("served", well, CLIENTS);
    os_cell("limits", "backlog 0", "forty clients at once, all are served");
}

/* ---- signals ----------------------------------------------------------------------------------------------------- */

enum { ANSWERED, TOLD, ABSENT, LOST, GO_ON, READY };

/* What is accepted has to be answered, or told by EPIPE that it came too late. */
static void storm(void)
{
    os.shared->count[READY]++;
    while (os.shared->count[GO_ON]) {
        int fd = os_dial(os.path);
        char in[5];
        volatile long *count = os.shared->count;
        if (fd < 0) {
            __atomic_add_fetch(&count[errno == ENOENT ? ABSENT : LOST], 1, __ATOMIC_RELAXED);
            continue;
        }
        if (os_write(fd, "storm", 5) != 5)
            __atomic_add_fetch(&count[errno == EPIPE ? TOLD : LOST], 1, __ATOMIC_RELAXED);
        else if (os_read(fd, in, 5) != 5 || memcmp(in, "storm", 5))
            __atomic_add_fetch(&count[LOST], 1, __ATOMIC_RELAXED);
        else __atomic_add_fetch(&count[ANSWERED], 1, __ATOMIC_RELAXED);
        (void)close(fd);
    }
    _exit(0);
}

static void sigterm_while_accepting(void **state)
{
    enum { ROUNDS = 50, CLIENTS = 3 };
    pid_t clients[CLIENTS];
    volatile long *count = os.shared->count;
    int i, ended = 0;
    (void)state;
    count[GO_ON] = 1;
    for (i = 0; i < CLIENTS; i++) {
        clients[i] = os_fork();
        if (clients[i] == 0) storm();
    }
    for (i = 0; i < ROUNDS; i++) {
        pid_t server = os_serve(NULL);
        os_sleep(i % 10);
        ended += os_stop(server) == 0;
        assert_false(os_exists(os.path));
    }
    count[GO_ON] = 0;
    for (i = 0; i < CLIENTS; i++) assert_int_equal(os_reap(clients[i], OS_REPLY_MS), 0);
    print_message("    answered %ld, told by EPIPE %ld, found no path %ld\n", count[ANSWERED], count[TOLD],
                  count[ABSENT]);
    os_exactly("servers that ended in order", ended, ROUNDS);
    os_exactly("refused, or accepted and lost", (double)count[LOST], 0);
    os_at_least("answered", (double)count[ANSWERED], ROUNDS);
    os_cell("signals", "SIGTERM while accepting", "nobody is refused, whoever was accepted is answered");
}

static void sigterm_while_draining(void **state)
{
    static char block[1 << 20];
    int round;
    (void)state;
    for (round = 0; round < 5; round++) {
        pid_t server = os_serve(NULL);
        int fd = os_connect(), i, quiet = 0;
        size_t sent = 0, got;
        while (quiet < 10) {
            ssize_t n = send(fd, block, 8192, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (n > 0) sent += (size_t)n;
            quiet = n > 0 ? 0 : quiet + 1;
            if (n <= 0) os_sleep(1);
        }
        for (i = 0; i < 20; i++) { /* the first begins the drain, the others come in the middle of it */
            assert_int_equal(kill(server, SIGTERM), 0);
            os_sleep(i % 3);
        }
        got = os_read(fd, block, sizeof block);
        os_exactly("bytes read in the drain", (double)got, (double)sent);
        assert_int_equal(os_read_end(fd), 0);
        (void)close(fd);
        assert_int_equal(os_reap(server, OS_REPLY_MS), 0);
        assert_int_equal(os_names(os.dir, NULL, 0), 0);
    }
    os_cell("signals", "SIGTERM while draining", "the drain goes on, all bytes, exit status 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OS_TEST(what_is_at_the_path),       OS_TEST(what_an_end_leaves),     OS_TEST(what_clients_do),
        OS_TEST(ten_thousand_idle_clients), OS_TEST(buffers_of_4_kib),       OS_TEST(a_backlog_of_0),
        OS_TEST(sigterm_while_accepting),   OS_TEST(sigterm_while_draining),
    };
    return cmocka_run_group_tests_name("matrix", tests, NULL, NULL);
}
