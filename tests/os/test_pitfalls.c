/* test_pitfalls.c - pitfalls that no other program here is about: identity of files and peers, readiness, descriptors
   in messages, as systems pass them that cannot refuse them. */
#define UDS_ECHO_HAVE_PASSRIGHTS 0
#include "os.h"

/* SCM_MAX_FD of the kernel, see unix(7); musl's sendmsg() takes no more than 1,024 bytes of control data. */
#ifdef __GLIBC__
#define MOST_DESCRIPTORS 253
#else
#define MOST_DESCRIPTORS 252
#endif

/* A message of that many descriptors, all the same. */
static int send_descriptors(int to, const void *bytes, size_t size, int fd, int count)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(MOST_DESCRIPTORS * sizeof(int))];
    } control;
    int fds[MOST_DESCRIPTORS], i;
    struct iovec part = {(void *)(uintptr_t)bytes, size};
    struct msghdr message;
    struct cmsghdr *head;
    assert_true(count <= MOST_DESCRIPTORS);
    memset(&control, 0, sizeof control);
    memset(&message, 0, sizeof message);
    for (i = 0; i < count; i++) fds[i] = fd;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = &control;
    message.msg_controllen = (socklen_t)CMSG_SPACE((size_t)count * sizeof(int));
    head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = (socklen_t)CMSG_LEN((size_t)count * sizeof(int));
    memcpy(CMSG_DATA(head), fds, (size_t)count * sizeof(int));
    return sendmsg(to, &message, MSG_NOSIGNAL) == (ssize_t)size;
}

/* ---- P4 ---------------------------------------------------------------------------------------------------------- */

static void p04_the_socket_is_not_its_file(void **state)
{
    int i, cases = 0;
    (void)state;
    for (i = 0; i < 4; i++) {
        uds_echo_server_desc desc;
        uds_echo_server *server;
        struct stat file, sock;
        memset(&desc, 0, sizeof desc);
        desc.publish = i & 1 ? UDS_ECHO_PUBLISH_DIRECT : UDS_ECHO_PUBLISH_ATOMIC;
        if (i & 2) os_make_stale(os.path);
        server = os_open(&desc);
        assert_int_equal(lstat(os.path, &file), 0);
        assert_int_equal(fstat(server->listener->fd, &sock), 0);
        assert_true(file.st_ino != sock.st_ino || file.st_dev != sock.st_dev);
        assert_true(server->listener->inode.ino == file.st_ino && server->listener->inode.dev == file.st_dev);
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
        assert_int_equal(os_names(os.dir, NULL, 0), 0);
        cases++;
    }
    OS_CASES(cases, 4);
}

/* ---- P14 --------------------------------------------------------------------------------------------------------- */

/* A server that is stopped looks connected as long as its queue has room, and full after that. */
static void p14_all_succeed_once_a_stopped_server_resumes(void **state)
{
    enum { CLIENTS = 20 };
    pid_t server, clients[CLIENTS];
    os_plan plan;
    int i, well = 0, late = 0;
    (void)state;
    memset(&plan, 0, sizeof plan);
    plan.desc.backlog = 1;
    server = os_serve(&plan);
    assert_int_equal(kill(server, SIGSTOP), 0);
    for (i = 0; i < CLIENTS; i++) {
        clients[i] = os_fork();
        if (clients[i] == 0) {
            char reply[8];
            size_t got = 0;
            int impatient = i % 4 == 3;
            _exit(
                (int)uds_echo_call(os.path, "again", 5, reply, sizeof reply, &got, impatient ? 50 : OS_REPLY_MS, NULL));
        }
    }
    for (i = 3; i < CLIENTS; i += 4) late += os_reap(clients[i], OS_REPLY_MS) == UDS_ECHO_ERR_TIMEOUT;
    os_exactly("impatient ones told TIMEOUT", late, CLIENTS / 4);
    assert_int_equal(kill(server, SIGCONT), 0);
    for (i = 0; i < CLIENTS; i++)
        if (i % 4 != 3) well += os_reap(clients[i], OS_REPLY_MS) == 0;
    os_exactly("patient ones served", well, CLIENTS - CLIENTS / 4);
    assert_int_equal(os_stop(server), 0);
    OS_CASES(well + late, CLIENTS);
}

/* ---- P17 --------------------------------------------------------------------------------------------------------- */

static int thief = -1, thefts, opened;

/* Whoever else holds the listener may take a connection between the poll and the accept. */
static int steal_the_next(uds_echo_conn *conn, void *user)
{
    int fd;
    (void)conn;
    (void)user;
    if (opened++ % 2 == 0) return 0;
    while ((fd = accept4(thief, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        thefts++;
        (void)close(fd);
    }
    return 0;
}

static void p17_a_stolen_connection_does_not_block(void **state)
{
    enum { CLIENTS = 6, ROUNDS = 20 };
    int round, cases = 0;
    (void)state;
    thefts = 0;
    for (round = 0; round < ROUNDS; round++) {
        int listener = os_listen(os.path, SOCK_STREAM, 64), fds[CLIENTS], i;
        uds_echo_server_desc desc;
        uds_echo_server *server;
        double began = os_now();
        memset(&desc, 0, sizeof desc);
        desc.on_open = steal_the_next;
        thief = dup(listener);
        opened = 0;
        assert_int_equal(fcntl(listener, F_GETFL) & O_NONBLOCK, 0); /* as it was inherited */
        assert_int_equal(uds_echo_server_adopt(&server, listener, &desc, NULL), UDS_ECHO_OK);
        for (i = 0; i < CLIENTS; i++) fds[i] = os_connect();
        os_settle(server); /* the test's own deadline tells if this blocks */
        cases += os_now() - began < 1000 * OS_SLOW;
        for (i = 0; i < CLIENTS; i++) (void)close(fds[i]);
        (void)close(thief);
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
        assert_int_equal(unlink(os.path), 0);
    }
    os_at_least("connections stolen", thefts, ROUNDS);
    OS_CASES(cases, ROUNDS);
}

static int is_tame(int fd)
{
    return fcntl(fd, F_GETFL) & O_NONBLOCK && fcntl(fd, F_GETFD) & FD_CLOEXEC;
}

static void p17_every_listener_is_nonblocking(void **state)
{
    uds_echo_server *server, *sharer;
    uds_echo_server_desc desc;
    int how, cases = 0;
    (void)state;
    for (how = 0; how < 3; how++) {
        memset(&desc, 0, sizeof desc);
        desc.publish = how == 1 ? UDS_ECHO_PUBLISH_DIRECT : UDS_ECHO_PUBLISH_ATOMIC;
        if (how < 2) server = os_open(&desc);
        else assert_int_equal(uds_echo_server_adopt(&server, os_listen(os.path, SOCK_STREAM, 8), &desc, NULL), 0);
        cases += is_tame(server->listener->fd);
        memset(&desc, 0, sizeof desc);
        desc.share_with = server;
        sharer = os_open(&desc);
        cases += is_tame(sharer->listener->fd);
        assert_int_equal(uds_echo_server_close(sharer), UDS_ECHO_OK);
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    }
    OS_CASES(cases, 6);
}

/* ---- P19 --------------------------------------------------------------------------------------------------------- */

static uds_echo_peer last_peer;

static int note_peer(uds_echo_conn *conn, void *user)
{
    (void)user;
    return uds_echo_conn_peer(conn, &last_peer) != UDS_ECHO_OK;
}

/* The pid is of whoever connected, which may be gone, while another uses the connection. */
static void p19_the_pid_may_be_of_one_who_is_gone(void **state)
{
    enum { ROUNDS = 20 };
    uds_echo_server_desc desc;
    uds_echo_server *server;
    int i, cases = 0;
    (void)state;
    memset(&desc, 0, sizeof desc);
    desc.on_open = note_peer;
    server = os_open(&desc);
    for (i = 0; i < ROUNDS; i++) {
        pid_t child = os_fork();
        uds_echo_stats stats;
        if (child == 0) _exit(os_write(os_dial(os.path), "bye", 3) != 3);
        assert_int_equal(os_reap(child, OS_REPLY_MS), 0);
        assert_int_equal(kill(child, 0), -1);
        os_settle(server);
        uds_echo_server_stats(server, &stats);
        cases += last_peer.pid == (long)child && last_peer.uid == (long)geteuid() && last_peer.gid == (long)getegid() &&
                 stats.bytes_in == 3ull * (unsigned)(i + 1);
    }
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    OS_CASES(cases, ROUNDS);
}

/* ---- P20 --------------------------------------------------------------------------------------------------------- */

static int hex(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* The bytes that an escaped text stands for; 0: it holds what must not be shown. */
static size_t unescape(const char *text, char *bytes)
{
    size_t n = 0;
    for (; *text; text++) {
        if ((unsigned char)*text < 32 || *text == 127) return 0;
        if (*text != '\\') {
            bytes[n++] = *text;
            continue;
        }
        text++;
        if (*text == 'x') {
            bytes[n++] = (char)(hex(text[1]) << 4 | hex(text[2]));
            text += 2;
        } else {
            bytes[n++] = *text == 'n' ? '\n' : *text == 'r' ? '\r' : *text == 't' ? '\t' : '\\';
        }
    }
    return n;
}

static char shown[512];
static size_t shown_size;
static char raw[sizeof(struct sockaddr_un)];
static size_t raw_size;

static int show_address(uds_echo_conn *conn, void *user)
{
    struct sockaddr_un address;
    socklen_t size = sizeof address;
    (void)user;
    assert_int_equal(getpeername(conn->fd, (struct sockaddr *)&address, &size), 0);
    raw_size = size - offsetof(struct sockaddr_un, sun_path);
    memcpy(raw, address.sun_path, raw_size);
    shown_size = uds_echo_escape(raw, raw_size, shown, sizeof shown);
    return 0;
}

/* A client that binds its own end chooses bytes that others show. 1: served, and its name is safe to show and whole. */
static int shows_safely(uds_echo_server *server, const struct sockaddr_un *name, size_t size)
{
    struct sockaddr_un to;
    socklen_t to_size = os_address(&to, os.path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), well;
    char back[512], in[2];
    os_bound(fd);
    if (bind(fd, (const struct sockaddr *)name, (socklen_t)size) || connect(fd, (struct sockaddr *)&to, to_size))
        fail_msg("bind or connect: %s", strerror(errno));
    assert_int_equal(os_write(fd, "hi", 2), 2);
    os_settle(server);
    well = os_read(fd, in, 2) == 2 && shown_size == strlen(shown) && unescape(shown, back) == raw_size &&
           !memcmp(back, raw, raw_size);
    (void)close(fd);
    os_settle(server);
    return well;
}

static void p20_whatever_a_peer_is_called_is_shown_escaped(void **state)
{
    uds_echo_server_desc desc;
    uds_echo_server *server;
    struct sockaddr_un name;
    int byte, cases = 0;
    (void)state;
    memset(&desc, 0, sizeof desc);
    desc.on_open = show_address;
    server = os_open(&desc);
    for (byte = 0; byte < 256; byte++) {
        size_t used = strlen(os.dir);
        memset(&name, 0, sizeof name);
        name.sun_family = AF_UNIX;
        if (byte && byte != '/') {
            (void)snprintf(name.sun_path, sizeof name.sun_path, "%.64s/%c\x1b[31m\n", os.dir, byte);
            cases += shows_safely(server, &name, sizeof name);
            (void)unlink(name.sun_path);
        }
        memset(&name.sun_path, 0, sizeof name.sun_path); /* abstract: any bytes, NULs too */
        memcpy(name.sun_path + 1, os.dir, used);
        name.sun_path[used + 2] = (char)byte;
        memcpy(name.sun_path + used + 3, "\r\n\0\\x1b", 8);
        cases += shows_safely(server, &name, offsetof(struct sockaddr_un, sun_path) + used + 11);
    }
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    OS_CASES(cases, 510);
}

/* ---- P26 --------------------------------------------------------------------------------------------------------- */

enum { WATCHED_MS = 200, A_STEP_MS = 20 };

/* How many steps of 20 ms it takes to pass 200: many more than ten would be a spin. */
static int steps_while_watched(uds_echo_server *server)
{
    double began = os_now();
    int steps = 0;
    for (; os_now() - began < (int)WATCHED_MS; steps++) assert_int_equal(uds_echo_server_step(server, A_STEP_MS), 0);
    os_at_most("steps in 200 ms", steps, 2 * WATCHED_MS / A_STEP_MS);
    return steps;
}

static uds_echo_id owed_id;

static uds_echo_verdict owe(uds_echo_conn *conn, uds_echo_message *message, void *user)
{
    (void)message;
    (void)user;
    owed_id = uds_echo_conn_id(conn);
    return UDS_ECHO_DEFER;
}

static size_t stuff(uds_echo_server *server, int fd)
{
    static unsigned char block[4096];
    size_t sent = 0;
    int quiet = 0;
    while (quiet < 5) {
        ssize_t n = send(fd, block, sizeof block, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) sent += (size_t)n;
        quiet = n > 0 ? 0 : quiet + 1;
        os_settle(server);
    }
    return sent;
}

static size_t take_all(uds_echo_server *server, int fd)
{
    static unsigned char block[65536];
    size_t got = 0;
    ssize_t n;
    int quiet = 0;
    while (quiet < 5) {
        n = recv(fd, block, sizeof block, MSG_DONTWAIT);
        if (n == 0) return got;
        if (n > 0) got += (size_t)n;
        quiet = n > 0 ? 0 : quiet + 1;
        os_settle(server);
    }
    fail_msg("%zu bytes, and no end", got);
    return 0;
}

static void p26_no_spin_while_paused_and_no_lost_tail(void **state)
{
    int round, cases = 0;
    (void)state;
    for (round = 0; round < 2; round++) { /* 0: half-closed, 1: gone altogether */
        uds_echo_server_desc desc;
        uds_echo_server *server;
        char in[8];
        int fd;
        size_t sent;

        memset(&desc, 0, sizeof desc); /* an answer is owed */
        desc.on_message = owe;
        server = os_open(&desc);
        fd = os_connect();
        assert_int_equal(os_write(fd, "question", 8), 8);
        os_settle(server);
        assert_int_equal(os_write(fd, "more", 4), 4); /* unread when the end comes */
        assert_int_equal(round ? close(fd) : shutdown(fd, SHUT_WR), 0);
        cases += steps_while_watched(server) > 0;
        (void)uds_echo_conn_send(uds_echo_server_find(server, owed_id), "answer 1", 8);
        os_settle(server);
        (void)uds_echo_conn_send(uds_echo_server_find(server, owed_id), "answer 2", 8);
        os_settle(server);
        if (!round) {
            assert_true(os_read(fd, in, 8) == 8 && !memcmp(in, "answer 1", 8));
            assert_true(os_read(fd, in, 8) == 8 && !memcmp(in, "answer 2", 8)); /* of the tail */
            assert_int_equal(os_read_end(fd), 0);
            (void)close(fd);
        }
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);

        server = os_open(NULL); /* an answer is not read */
        fd = os_connect();
        sent = stuff(server, fd);
        assert_int_equal(round ? close(fd) : shutdown(fd, SHUT_WR), 0);
        cases += steps_while_watched(server) > 0;
        if (!round) {
            os_exactly("bytes that came back after the half-close", (double)take_all(server, fd), (double)sent);
            (void)close(fd);
        }
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    }
    OS_CASES(cases, 4);
}

static uds_echo_verdict swallow(uds_echo_conn *conn, uds_echo_message *message, void *user)
{
    (void)conn;
    (void)message;
    (void)user;
    return UDS_ECHO_NO_REPLY;
}

/* The peer is gone before the first byte is read: all of them are handled first. */
static void p26_what_came_before_the_hang_up_is_handled(void **state)
{
    static unsigned char block[100000];
    uds_echo_server_desc desc;
    uds_echo_server *server;
    uds_echo_stats stats;
    unsigned long long sum = 0;
    int i, cases = 0;
    (void)state;
    memset(&desc, 0, sizeof desc);
    desc.on_message = swallow;
    desc.message_max = 1000;
    server = os_open(&desc);
    for (i = 1; i <= 50; i++) {
        int fd = os_connect();
        size_t size = (size_t)i * 2000 - 1;
        assert_int_equal(os_write(fd, block, size), size);
        (void)close(fd);
        sum += size;
        os_settle(server);
        uds_echo_server_stats(server, &stats);
        cases += stats.bytes_in == sum && stats.closed[UDS_ECHO_OK] == (unsigned)i;
    }
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    OS_CASES(cases, 50);
}

/* ---- P27 --------------------------------------------------------------------------------------------------------- */

/* A read ends at descriptors, whatever waits behind them: a short one does not mean that nothing is left. */
static void p27_short_reads_at_descriptors_stall_nothing(void **state)
{
    int pattern, cases = 0;
    (void)state;
    for (pattern = 0; pattern < 256; pattern++) { /* which of eight pieces carry descriptors */
        uds_echo_server *server = os_open(NULL);
        int fd = os_connect(), i;
        char out[4], in[33] = "";
        for (i = 0; i < 8; i++) {
            (void)snprintf(out, sizeof out, "<%d>", i);
            if (pattern >> i & 1) assert_true(send_descriptors(fd, out, 3, fd, 1 + i));
            else assert_int_equal(os_write(fd, out, 3), 3);
        }
        os_settle(server);
        cases += os_read(fd, in, 24) == 24 && !strcmp(in, "<0><1><2><3><4><5><6><7>");
        (void)close(fd);
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    }
    OS_CASES(cases, 256);
}

/* ---- P31 --------------------------------------------------------------------------------------------------------- */

/* The share of a full socket that has to be read before it is called writable again. */
static double drained_until_writable(size_t piece)
{
    static char block[65536];
    int ends[2];
    size_t full = 0, taken = 0;
    struct pollfd p;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    while (send(ends[0], block, piece, 0) == (ssize_t)piece) full += piece;
    p.fd = ends[0];
    p.events = POLLOUT;
    while (poll(&p, 1, 0) == 0 && recv(ends[1], block, piece, 0) == (ssize_t)piece) taken += piece;
    (void)close(ends[0]);
    (void)close(ends[1]);
    return (double)taken / (double)full;
}

/* Readers of all paces get everything, and the server wakes when there is room again, not for each of their reads. */
static void p31_slow_readers_over_all_socket_buffers(void **state)
{
    const int buffers[] = {0, 4096, 65536, 1 << 20};
    const size_t pieces[] = {100, 1000, 65536};
    static char block[65536];
    int i, cases = 0;
    (void)state;
    for (i = 0; i < 12; i++) {
        os_plan plan;
        pid_t server;
        size_t sent = 0, got = 0, size = 0;
        unsigned long long waits;
        int fd, own = 0, quiet = 0;
        socklen_t own_size = sizeof own;
        memset(&plan, 0, sizeof plan);
        plan.desc.send_buffer = buffers[i % 4];
        server = os_serve(&plan);
        fd = os_connect();
        while (quiet < 10) {
            ssize_t n = send(fd, block, 8192, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (n > 0) sent += (size_t)n;
            quiet = n > 0 ? 0 : quiet + 1;
            if (n <= 0) os_sleep(2);
        }
        assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &own, &own_size), 0);
        /* in flight: what our buffer and the server's take, and what the server holds */
        size = (size_t)own + 2 * (size_t)(buffers[i % 4] ? buffers[i % 4] : own) + 3 * 65536;
        print_message("    send_buffer %d: %zu bytes were taken while nobody read\n", buffers[i % 4], sent);
        if (sent > size) fail_msg("%zu bytes are more than buffers and server hold", sent);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        waits = os.shared->stats.waits;
        for (;;) {
            ssize_t n = recv(fd, block, pieces[i / 4], 0);
            if (n <= 0) break;
            got += (size_t)n;
        }
        os_exactly("bytes read back", (double)got, (double)sent);
        assert_int_equal(os_read_end(fd), 0);
        (void)close(fd);
        assert_int_equal(os_stop(server), 0);
        os_at_most("waits of the server", (double)(os.shared->stats.waits - waits), 300);
        cases++;
    }
    print_message("# a full socket is writable again when %.0f %% of it was read, in pieces of 4 KiB\n",
                  100 * drained_until_writable(4096));
    OS_CASES(cases, 12);
}

/* ---- P32 --------------------------------------------------------------------------------------------------------- */

/* A forked child's copy keeps a connection open until it closes the server it never owned. */
static void p32_a_child_lets_go_by_close(void **state)
{
    enum { ROUNDS = 10 };
    int round, cases = 0;
    (void)state;
    for (round = 0; round < ROUNDS; round++) {
        uds_echo_server *server = os_open(NULL);
        int fd = os_connect();
        pid_t child;
        os_settle(server);
        child = os_fork();
        if (child == 0) {
            if (uds_echo_server_close(server)) _exit(1);
            os.shared->count[0] = 1;
            for (;;) (void)pause();
        }
        while (!os.shared->count[0]) os_sleep(1);
        os.shared->count[0] = 0;
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        os_settle(server);
        cases += os_readable(fd, OS_REPLY_MS) && os_read_end(fd) == 0; /* though the child lives */
        (void)close(fd);
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
        os_kill(child);
    }
    OS_CASES(cases, ROUNDS);
}

/* ---- P34, P35 ---------------------------------------------------------------------------------------------------- */

/* Both ends read with plain recv, which closes what comes along: there is no control buffer that could be too short. */
static void p34_any_number_of_descriptors_is_no_error(void **state)
{
    const int counts[] = {1, 2, 3, 17, 100, MOST_DESCRIPTORS};
    int i, cases = 0;
    (void)state;
    for (i = 0; i < 12; i++) {
        int count = counts[i % 6], before, fd;
        char in[7] = "";
        if (i < 6) { /* a server of ours */
            uds_echo_server *server = os_open(NULL);
            fd = os_connect();
            os_settle(server);
            before = os_open_descriptors();
            assert_true(send_descriptors(fd, "abc", 3, fd, count) && os_write(fd, "def", 3) == 3);
            os_settle(server);
            cases += os_read(fd, in, 6) == 6 && !strcmp(in, "abcdef") && os_open_descriptors() == before;
            (void)close(fd);
            assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
        } else { /* a client of ours */
            int listener = os_listen(os.path, SOCK_STREAM, 8);
            uds_echo_client_desc desc;
            uds_echo_client client;
            uds_echo_io io;
            memset(&desc, 0, sizeof desc);
            memset(&io, 0, sizeof io);
            desc.path = os.path;
            assert_int_equal(uds_echo_client_open(&client, &desc, NULL), UDS_ECHO_OK);
            fd = accept(listener, NULL, NULL);
            before = os_open_descriptors();
            assert_true(send_descriptors(fd, "abc", 3, listener, count) && os_write(fd, "def", 3) == 3);
            io.in = in;
            io.in_size = 6;
            cases += uds_echo_client_exchange(&client, &io, OS_REPLY_MS) == UDS_ECHO_OK && !strcmp(in, "abcdef") &&
                     os_open_descriptors() == before;
            uds_echo_client_close(&client);
            (void)close(fd);
            (void)close(listener);
            assert_int_equal(unlink(os.path), 0);
        }
    }
    OS_CASES(cases, 12);
}

/* Whether anybody holds the other end of a pipe still. */
static int is_held(int read_end)
{
    struct pollfd p;
    p.fd = read_end;
    p.events = POLLIN;
    p.revents = 0;
    return poll(&p, 1, 0) == 0;
}

/* A descriptor in flight is held by nobody's table; it goes when it is read past, and when the connection ends. */
static void p35_descriptors_in_flight_are_let_go(void **state)
{
    int i, cases = 0;
    (void)state;
    for (i = 0; i < 30; i++) {
        uds_echo_server_desc desc;
        uds_echo_server *server;
        int fd, ends[2];
        memset(&desc, 0, sizeof desc);
        if (i % 3) desc.on_message = owe; /* reads no more until it has answered */
        server = os_open(&desc);
        fd = os_connect();
        assert_int_equal(os_write(fd, "first", 5), 5);
        os_settle(server);
        assert_int_equal(pipe(ends), 0);
        assert_true(send_descriptors(fd, "x", 1, ends[1], 1 + i));
        (void)close(ends[1]);
        assert_true(is_held(ends[0]));
        if (i % 3 == 2) uds_echo_server_stop(server, UDS_ECHO_STOP_NOW);
        if (i % 3 == 2) (void)os_run_out(server);
        else os_settle(server);
        if (i % 3 == 1) {
            assert_true(is_held(ends[0])); /* unread */
            (void)uds_echo_conn_send(uds_echo_server_find(server, owed_id), "", 0);
            os_settle(server);
        }
        cases += !is_held(ends[0]);
        (void)close(ends[0]);
        (void)close(fd);
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    }
    OS_CASES(cases, 30);
}

/* ---- P42 --------------------------------------------------------------------------------------------------------- */

/* A listener that another process holds as well outlives every way in which ours ends. */
static void p42_a_listener_shared_by_a_fork_outlives_us(void **state)
{
    int how, cases = 0;
    (void)state;
    for (how = 0; how < 3; how++) {
        int listener = os_listen(os.path, SOCK_STREAM, 8), fd;
        uds_echo_server_desc desc;
        uds_echo_server *server;
        pid_t other = os_fork();
        if (other == 0) {
            char byte;
            os.shared->count[0] = 1;
            while (os.shared->count[0] == 1) os_sleep(1);
            (void)fcntl(listener, F_SETFL, 0);
            fd = accept(listener, NULL, NULL);
            _exit(fd < 0 || recv(fd, &byte, 1, 0) != 1);
        }
        while (!os.shared->count[0]) os_sleep(1);
        memset(&desc, 0, sizeof desc);
        assert_int_equal(uds_echo_server_adopt(&server, listener, &desc, NULL), UDS_ECHO_OK);
        if (how) {
            uds_echo_server_stop(server, how == 1 ? UDS_ECHO_STOP_DRAIN : UDS_ECHO_STOP_NOW);
            (void)os_run_out(server);
        }
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
        os.shared->count[0] = 2;
        fd = os_connect();
        assert_int_equal(os_write(fd, "x", 1), 1);
        cases += os_reap(other, OS_REPLY_MS) == 0;
        os.shared->count[0] = 0;
        (void)close(fd);
        assert_int_equal(unlink(os.path), 0);
    }
    OS_CASES(cases, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OS_TEST(p04_the_socket_is_not_its_file),
        OS_TEST(p14_all_succeed_once_a_stopped_server_resumes),
        OS_TEST(p17_a_stolen_connection_does_not_block),
        OS_TEST(p17_every_listener_is_nonblocking),
        OS_TEST(p19_the_pid_may_be_of_one_who_is_gone),
        OS_TEST(p20_whatever_a_peer_is_called_is_shown_escaped),
        OS_TEST(p26_no_spin_while_paused_and_no_lost_tail),
        OS_TEST(p26_what_came_before_the_hang_up_is_handled),
        OS_TEST(p27_short_reads_at_descriptors_stall_nothing),
        OS_TEST(p31_slow_readers_over_all_socket_buffers),
        OS_TEST(p32_a_child_lets_go_by_close),
        OS_TEST(p34_any_number_of_descriptors_is_no_error),
        OS_TEST(p35_descriptors_in_flight_are_let_go),
        OS_TEST(p42_a_listener_shared_by_a_fork_outlives_us),
    };
    return cmocka_run_group_tests_name("pitfalls", tests, NULL, NULL);
}
