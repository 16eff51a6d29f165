/* test_stream.c - nothing that a stream connection carries is lost, over the real kernel. */
#include "os.h"

enum { KIB = 1024, MIB = 1024 * 1024 };

static void assert_same_sha256(const unsigned char *a, const unsigned char *b, size_t size)
{
    char one[65], two[65];
    os_sha256(a, size, one);
    os_sha256(b, size, two);
    print_message("    sha256 of %zu bytes: %.16s... and %.16s...\n", size, one, two);
    assert_string_equal(one, two);
    assert_memory_equal(a, b, size);
}

static void open_client(uds_echo_client *client)
{
    uds_echo_client_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.path = os.path;
    assert_int_equal(uds_echo_client_open(client, &desc, NULL), UDS_ECHO_OK);
}

static void p22_64_mib_through_exchange(void **state)
{
    size_t size = 64 * MIB;
    unsigned char *out = (unsigned char *)malloc(size), *in = (unsigned char *)calloc(1, size);
    pid_t server = os_exec_echo_server();
    uds_echo_client client;
    uds_echo_io io;
    double began;
    (void)state;
    assert_non_null(out);
    assert_non_null(in);
    os_fill(out, size, 1);
    memset(&io, 0, sizeof io);
    io.out = out;
    io.in = in;
    io.out_size = io.in_size = size;
    open_client(&client);
    began = os_now();
    assert_int_equal(uds_echo_client_exchange(&client, &io, OS_REPLY_MS), UDS_ECHO_OK);
    print_message("# 64 MiB through exchange: %.0f ms\n", os_now() - began);
    assert_same_sha256(out, in, size);
    OS_CASES(io.got / MIB, 64);
    uds_echo_client_close(&client);
    assert_int_equal(os_stop(server), 0);
    free(out);
    free(in);
}

/* The call that sends a byte also takes what came back meanwhile, so that no side waits for the other. */
static void p22_a_million_one_byte_writes(void **state)
{
    size_t size = 1000000, i;
    unsigned char *out = (unsigned char *)malloc(size), *in = (unsigned char *)calloc(1, size);
    pid_t server = os_exec_echo_server();
    uds_echo_client client;
    uds_echo_io io;
    double began;
    (void)state;
    assert_non_null(out);
    assert_non_null(in);
    os_fill(out, size, 2);
    memset(&io, 0, sizeof io);
    io.in = in;
    io.in_size = size;
    open_client(&client);
    began = os_now();
    for (i = 0; i < size; i++) {
        struct pollfd p = {.fd = uds_echo_client_fd(&client)};
        io.out = out + i;
        io.out_size = 1;
        io.sent = 0;
        while (!io.sent) {
            uds_echo_error error = uds_echo_client_exchange(&client, &io, 0);
            if (error != UDS_ECHO_ERR_TIMEOUT && error != UDS_ECHO_OK) fail_msg("byte %zu: error %d", i, (int)error);
            p.events = (short)uds_echo_client_events(&client, &io);
            if (!io.sent && poll(&p, 1, OS_REPLY_MS) != 1) fail_msg("byte %zu: stuck", i);
        }
    }
    assert_int_equal(uds_echo_client_exchange(&client, &io, OS_REPLY_MS), UDS_ECHO_OK);
    print_message("# a million one-byte writes: %.0f ms\n", os_now() - began);
    assert_same_sha256(out, in, size);
    OS_CASES(i, 1000000);
    uds_echo_client_close(&client);
    assert_int_equal(os_stop(server), 0);
    free(out);
    free(in);
}

typedef struct writer {
    int fd;
    const unsigned char *bytes;
    size_t size, sent;
} writer;

static void *write_and_half_close(void *argument)
{
    writer *w = (writer *)argument;
    w->sent = os_write(w->fd, w->bytes, w->size);
    (void)shutdown(w->fd, SHUT_WR);
    return NULL;
}

static void p24_half_close_keeps_4_mib(void **state)
{
    size_t size = 4 * MIB;
    unsigned char *out = (unsigned char *)malloc(size), *in = (unsigned char *)calloc(1, size);
    pid_t server = os_exec_echo_server();
    writer w = {os_connect(), out, size, 0};
    pthread_t thread;
    size_t got;
    (void)state;
    assert_non_null(out);
    assert_non_null(in);
    os_fill(out, size, 3);
    thread = os_thread(write_and_half_close, &w);
    os_sleep(300);
    got = os_read(w.fd, in, size);
    (void)os_join(thread);
    os_exactly("bytes sent", (double)w.sent, (double)size);
    os_exactly("bytes received", (double)got, (double)size);
    assert_int_equal(os_read_end(w.fd), 0);
    assert_same_sha256(out, in, size);
    OS_CASES(1, 1);
    (void)close(w.fd);
    assert_int_equal(os_stop(server), 0);
    free(out);
    free(in);
}

/* As much as sockets and server hold without anybody reading, then half-close, and only then the first read. */
static void p24_half_close_before_the_first_read(void **state)
{
    size_t size = 4 * MIB, sent = 0, got;
    unsigned char *out = (unsigned char *)malloc(size), *in = (unsigned char *)calloc(1, size);
    pid_t server = os_exec_echo_server();
    int fd = os_connect(), quiet = 0;
    (void)state;
    assert_non_null(out);
    assert_non_null(in);
    os_fill(out, size, 4);
    while (quiet < 20 && sent < size) {
        ssize_t n = send(fd, out + sent, size - sent > 8 * KIB ? 8 * KIB : size - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) sent += (size_t)n;
        quiet = n > 0 ? 0 : quiet + 1;
        if (n <= 0) os_sleep(5);
    }
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    os_sleep(100);
    got = os_read(fd, in, sent);
    os_at_least("bytes sent before the half-close", (double)sent, 200000);
    os_exactly("bytes received", (double)got, (double)sent);
    assert_int_equal(os_read_end(fd), 0);
    assert_memory_equal(out, in, sent);
    OS_CASES(1, 1);
    (void)close(fd);
    assert_int_equal(os_stop(server), 0);
    free(out);
    free(in);
}

static void one_byte_at_a_time(void **state)
{
    pid_t server = os_serve(NULL);
    int fd = os_connect(), i, right = 0;
    (void)state;
    for (i = 0; i < 5000; i++) {
        unsigned char out = (unsigned char)(i * 7), in = 0;
        right += os_write(fd, &out, 1) == 1 && os_read(fd, &in, 1) == 1 && in == out;
    }
    os_exactly("bytes that came back", right, 5000);
    (void)close(fd);
    assert_int_equal(os_stop(server), 0);
}

static void p28_an_oob_byte_is_echoed_in_place(void **state)
{
    pid_t server = os_exec_echo_server();
    char in[9] = {0};
    int fd, i, right = 0;
    (void)state;
    for (i = 0; i < 100; i++) {
        fd = os_connect();
        assert_int_equal(os_write(fd, "abc", 3), 3);
        if (i & 1) os_sleep(1);
        assert_int_equal(send(fd, "X", 1, MSG_OOB | MSG_NOSIGNAL), 1);
        if (i & 2) os_sleep(1);
        assert_int_equal(os_write(fd, "defg", 4), 4);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        right += os_read(fd, in, 8) == 8 && !memcmp(in, "abcXdefg", 8) && os_read_end(fd) == 0;
        (void)close(fd);
    }
    os_exactly("streams with the byte in place", right, 100);
    OS_CASES(right, 100);
    assert_int_equal(os_stop(server), 0);
}

static size_t frame_line(const unsigned char *bytes, size_t size, void *user)
{
    const unsigned char *end = (const unsigned char *)memchr(bytes, '\n', size);
    (void)user;
    return end ? (size_t)(end - bytes) + 1 : 0;
}

static void p25_resets_within_a_message_leave_others_served(void **state)
{
    os_plan plan;
    pid_t server;
    int good, rude, i, served = 0;
    (void)state;
    memset(&plan, 0, sizeof plan);
    plan.desc.frame = frame_line;
    server = os_serve(&plan);
    good = os_connect();
    for (i = 0; i < 200; i++) {
        char in[6];
        rude = os_connect();
        assert_int_equal(os_write(rude, "whole\nha", 8), 8);
        assert_true(os_readable(rude, OS_REPLY_MS));
        (void)close(rude); /* with the answer unread, which resets the server's end */
        served += os_write(good, "hello\n", 6) == 6 && os_read(good, in, 6) == 6 && !memcmp(in, "hello\n", 6);
    }
    os_exactly("round trips of the other client", served, 200);
    (void)close(good);
    assert_int_equal(os_stop(server), 0);
    os_exactly(
        "connections closed as RESET or UNEXPECTED_EOF",
        (double)(os.shared->stats.closed[UDS_ECHO_ERR_RESET] + os.shared->stats.closed[UDS_ECHO_ERR_UNEXPECTED_EOF]),
        200);
    assert_int_equal(os.shared->stats.closed[UDS_ECHO_OK], 1);
    OS_CASES(served, 200);
}

static void p29_1000_rude_clients_and_sigpipe_at_default(void **state)
{
    pid_t server = os_exec_echo_server();
    char bytes[4 * KIB];
    int i, rude = 0;
    (void)state;
    memset(bytes, 'r', sizeof bytes);
    for (i = 0; i < 1000; i++) {
        int fd = os_connect();
        rude += os_write(fd, bytes, sizeof bytes) == sizeof bytes;
        (void)close(fd);
    }
    os_exactly("clients that sent and left", rude, 1000);
    assert_true(os_serves(os.path));
    os_exactly("exit status of the server after SIGTERM", os_stop(server), 0);
    OS_CASES(rude, 1000);
    os_cell("signals", "SIGPIPE default", "a thousand clients leave unread, the server lives");
}

/* Three descriptors with each message; a receiver that does not ask for them must not keep them. */
static int send_with_descriptors(int fd, const void *bytes, size_t size)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(3 * sizeof(int))];
    } control;
    const int fds[3] = {fd, fd, fd};
    struct iovec part = {(void *)(uintptr_t)bytes, size};
    struct msghdr message;
    struct cmsghdr *head;
    memset(&control, 0, sizeof control);
    memset(&message, 0, sizeof message);
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(head), fds, sizeof fds);
    if (sendmsg(fd, &message, MSG_NOSIGNAL) == (ssize_t)size) return 1;
    return errno == EPERM && os_write(fd, bytes, size) == size; /* refused, which changes nothing */
}

static void p33_descriptors_that_a_peer_sends_are_dropped(void **state)
{
    enum { MESSAGES = 10000 };
    pid_t server = os_exec_echo_server();
    char folder[64], in[6];
    int fd = os_connect(), i, right = 0, before;
    (void)state;
    (void)snprintf(folder, sizeof folder, "/proc/%ld/fd", (long)server);
    assert_true(os_ping(fd));
    before = os_names(folder, NULL, 0);
    for (i = 0; i < MESSAGES; i++) {
        right += send_with_descriptors(fd, "abc", 3) && os_write(fd, "def", 3) == 3;
        right += os_read(fd, in, 6) == 6 && !memcmp(in, "abcdef", 6); /* a read ends at them; the rest still comes */
    }
    os_exactly("messages with descriptors that came back", right, 2 * MESSAGES);
    os_exactly("descriptors more in the server", os_names(folder, NULL, 0) - before, 0);
    OS_CASES(i, MESSAGES);
    (void)close(fd);
    assert_int_equal(os_stop(server), 0);
}

static size_t frame_seven(const unsigned char *bytes, size_t size, void *user)
{
    (void)bytes;
    (void)size;
    (void)user;
    return 7;
}

static int comes_back(size_t size, unsigned seed)
{
    unsigned char *out = (unsigned char *)malloc(size), *in = (unsigned char *)calloc(1, size);
    uds_echo_client client;
    uds_echo_io io;
    int well;
    assert_non_null(out);
    assert_non_null(in);
    os_fill(out, size, seed);
    memset(&io, 0, sizeof io);
    io.out = out;
    io.in = in;
    io.out_size = io.in_size = size;
    open_client(&client);
    well = uds_echo_client_exchange(&client, &io, OS_REPLY_MS) == UDS_ECHO_OK && !memcmp(out, in, size);
    uds_echo_client_close(&client);
    free(out);
    free(in);
    return well;
}

static void every_size_of_message_and_of_socket_buffer(void **state)
{
    const long message_max[] = {1, 2, 7, 63, 64, 4096, 65536, 1 << 20};
    const int send_buffer[] = {0, 1, 4096, 1 << 20};
    int i, cases = 0, right = 0;
    (void)state;
    for (i = 0; i < 64; i++) {
        os_plan plan;
        pid_t server;
        int framed = i >= 32;
        memset(&plan, 0, sizeof plan);
        plan.desc.message_max = message_max[i % 8];
        plan.desc.send_buffer = send_buffer[i / 8 % 4];
        plan.desc.step_messages = i % 3 ? 0 : 1 + i;
        if (framed && plan.desc.message_max < 7) continue;
        if (framed) plan.desc.frame = frame_seven;
        server = os_serve(&plan);
        cases++;
        right += comes_back(plan.desc.message_max < 64 ? 7 * 3000 : 7 * 60000, (unsigned)i);
        assert_int_equal(os_stop(server), 0);
    }
    os_exactly("cases whose bytes came back", right, cases);
    os_at_least("cases", cases, 50);
}

/* ---- a crowd ----------------------------------------------------------------------------------------------------- */

static int count_open(uds_echo_conn *conn, void *user)
{
    (void)conn;
    (void)user;
    os.shared->count[0]++;
    return 0;
}

static void count_close(uds_echo_conn *conn, uds_echo_error why, void *user)
{
    (void)conn;
    (void)why;
    (void)user;
    os.shared->count[1]++;
}

/* Until the time is up: exchanges of all sizes, some with a half-close, some broken off in the middle. */
static void mingle(unsigned seed)
{
    static unsigned char out[400000], in[400000];
    double end = os_now() + 2000;
    srand(seed);
    os_fill(out, sizeof out, seed);
    while (os_now() < end) {
        size_t size = (size_t)rand() % (rand() % 4 ? 2000 : sizeof out) + 1;
        int broken_off = rand() % 8 == 0, half_close = rand() % 3 == 0;
        uds_echo_client_desc desc;
        uds_echo_client client;
        uds_echo_io io;
        memset(&desc, 0, sizeof desc);
        memset(&io, 0, sizeof io);
        desc.path = os.path;
        desc.timeout_ms = OS_REPLY_MS;
        io.out = out;
        io.in = in;
        io.out_size = io.in_size = size;
        if (uds_echo_client_open(&client, &desc, NULL)) _exit(1);
        if (broken_off) {
            (void)uds_echo_client_exchange(&client, &io, 0);
        } else if (half_close) {
            io.in_size = 0;
            while (uds_echo_client_exchange(&client, &io, 0) == UDS_ECHO_ERR_TIMEOUT && io.in_size < size)
                io.in_size = size;
            io.in_size = size;
            if (io.sent == size && uds_echo_client_shutdown(&client)) _exit(2);
            if (uds_echo_client_exchange(&client, &io, OS_REPLY_MS) || memcmp(in, out, size)) _exit(3);
        } else if (uds_echo_client_exchange(&client, &io, OS_REPLY_MS) || memcmp(in, out, size)) {
            _exit(4);
        }
        uds_echo_client_close(&client);
        __atomic_add_fetch(&os.shared->count[2], 1, __ATOMIC_RELAXED);
    }
    _exit(0);
}

static void a_crowd_over_few_places(void **state)
{
    enum { CLIENTS = 8 };
    pid_t server, clients[CLIENTS];
    os_plan plan;
    int i, well = 0;
    (void)state;
    memset(&plan, 0, sizeof plan);
    plan.desc.connections_max = 5;
    plan.desc.message_max = 8192;
    plan.desc.step_messages = 2;
    plan.desc.on_open = count_open;
    plan.desc.on_close = count_close;
    server = os_serve(&plan);
    for (i = 0; i < CLIENTS; i++) {
        clients[i] = os_fork();
        if (clients[i] == 0) mingle((unsigned)i + 100);
    }
    for (i = 0; i < CLIENTS; i++) well += os_reap(clients[i], 2000 + OS_REPLY_MS) == 0;
    os_exactly("clients that lost nothing", well, CLIENTS);
    os_at_least("conversations", (double)os.shared->count[2], 500);
    os_exactly("exit status of the server", os_stop(server), 0);
    os_exactly("on_close for each on_open", (double)os.shared->count[1], (double)os.shared->count[0]);
    os_at_most("most bytes held at once", (double)os.shared->stats.pending_peak, 5 * (2 * 8192 + UE_BLOCK));
    os_exactly("bytes held in the end", (double)os.shared->stats.pending, 0);
}

/* ---- the end of a connection is readable ------------------------------------------------------------------------- */

static int refuse_with_a_reason(uds_echo_conn *conn, void *user)
{
    (void)user;
    (void)uds_echo_conn_send(conn, "go away\n", 8);
    return 1;
}

static uds_echo_verdict answer_and_close(uds_echo_conn *conn, uds_echo_message *message, void *user)
{
    (void)conn;
    (void)user;
    memcpy(message->data, "go away\n", 8);
    message->size = 8;
    return UDS_ECHO_REPLY_AND_CLOSE;
}

static int last_word_is_readable(const os_plan *plan)
{
    pid_t server = os_serve(plan);
    char block[4 * KIB], in[8];
    int trial, i, readable = 0, ends = 0, pipes = 0;
    memset(block, 'b', sizeof block);
    for (trial = 0; trial < 200; trial++) {
        int fd = os_connect();
        for (i = 0; i < 100; i++) {
            const size_t size = (size_t)(1 + trial * 20);
            pipes += os_write(fd, block, size) != size;
        }
        readable += os_read(fd, in, 8) == 8 && !memcmp(in, "go away\n", 8);
        ends += os_read_end(fd) == 0;
        (void)close(fd);
    }
    os_exactly("last words read by a client in mid-send", readable, 200);
    os_exactly("ends of stream, without ECONNRESET", ends, 200);
    os_exactly("sends that were told EPIPE", pipes, 0);
    assert_int_equal(os_stop(server), 0);
    return readable;
}

static void p25_a_refusal_in_mid_send_is_readable(void **state)
{
    os_plan plan;
    (void)state;
    memset(&plan, 0, sizeof plan);
    plan.desc.on_open = refuse_with_a_reason;
    OS_CASES(last_word_is_readable(&plan), 200);
    assert_int_equal(os.shared->stats.refused, 200);
}

static void p25_a_last_answer_in_mid_send_is_readable(void **state)
{
    os_plan plan;
    (void)state;
    memset(&plan, 0, sizeof plan);
    plan.desc.on_message = answer_and_close;
    OS_CASES(last_word_is_readable(&plan), 200);
    assert_int_equal(os.shared->stats.closed[UDS_ECHO_OK], 200);
}

/* ---- answers that come later ------------------------------------------------------------------------------------- */

enum { LATER_MAX = 64 };
static uds_echo_id later_ids[LATER_MAX];
static double later_due[LATER_MAX];
static int later_count;

static uds_echo_verdict answer_later(uds_echo_conn *conn, uds_echo_message *message, void *user)
{
    (void)message;
    (void)user;
    if (later_count == LATER_MAX) return UDS_ECHO_REPLY_AND_CLOSE;
    later_ids[later_count] = uds_echo_conn_id(conn);
    later_due[later_count++] = os_now() + 50;
    return UDS_ECHO_DEFER;
}

static void answer_what_is_due(uds_echo_server *server)
{
    int i;
    for (i = 0; i < later_count; i++) {
        if (later_due[i] > os_now()) continue;
        (void)uds_echo_conn_send(uds_echo_server_find(server, later_ids[i]), "late\n", 5);
        later_ids[i] = later_ids[--later_count];
        later_due[i] = later_due[later_count];
        i--;
    }
}

static void later_after_a_half_close_answers_and_then_ends(void **state)
{
    os_plan plan;
    pid_t server;
    int fds[50], i, right = 0;
    double began = os_now();
    (void)state;
    memset(&plan, 0, sizeof plan);
    plan.desc.on_message = answer_later;
    plan.after_step = answer_what_is_due;
    plan.step_ms = 5;
    server = os_serve(&plan);
    for (i = 0; i < 50; i++) {
        fds[i] = os_connect();
        assert_int_equal(os_write(fds[i], "question", 8), 8);
        assert_int_equal(shutdown(fds[i], SHUT_WR), 0);
    }
    for (i = 0; i < 50; i++) {
        char in[5];
        right += os_read(fds[i], in, 5) == 5 && !memcmp(in, "late\n", 5) && os_read_end(fds[i]) == 0;
        (void)close(fds[i]);
    }
    os_exactly("answers, each followed by the end", right, 50);
    os_at_least("ms", os_now() - began, 50);
    assert_int_equal(os_stop(server), 0);
}

/* A drain waits for the answer that is owed. */
static void later_during_a_drain_is_answered(void **state)
{
    os_plan plan;
    pid_t server;
    char in[5];
    int fd;
    (void)state;
    memset(&plan, 0, sizeof plan);
    plan.desc.on_message = answer_later;
    plan.after_step = answer_what_is_due;
    plan.step_ms = 5;
    server = os_serve(&plan);
    fd = os_connect();
    assert_int_equal(os_write(fd, "question", 8), 8);
    os_sleep(20);
    assert_int_equal(kill(server, SIGTERM), 0);
    os_exactly("bytes of the answer", (double)os_read(fd, in, 5), 5);
    assert_memory_equal(in, "late\n", 5);
    assert_int_equal(os_read_end(fd), 0);
    assert_int_equal(os_reap(server, OS_REPLY_MS), 0);
    (void)close(fd);
}

/* ---- framing ----------------------------------------------------------------------------------------------------- */

static uds_echo_verdict reverse_line(uds_echo_conn *conn, uds_echo_message *message, void *user)
{
    size_t i, n = message->size - 1;
    (void)conn;
    (void)user;
    for (i = 0; i < n / 2; i++) {
        unsigned char c = message->data[i];
        message->data[i] = message->data[n - 1 - i];
        message->data[n - 1 - i] = c;
    }
    return UDS_ECHO_REPLY;
}

static const char lines_out[] = "one\n\ntwo three\nx\nfour five six seven eight nine\n\n\nlast\n";
static const char lines_in[] = "eno\n\neerht owt\nx\nenin thgie neves xis evif ruof\n\n\ntsal\n";

/* In three parts, with a pause so that each arrives by itself; the answers do not depend on where it was cut. */
static int lines_cut_at(int fd, size_t a, size_t b)
{
    size_t size = sizeof lines_out - 1;
    char in[sizeof lines_in];
    if (os_write(fd, lines_out, a) != a) return 0;
    if (a) (void)os_readable(fd, 1);
    if (os_write(fd, lines_out + a, b - a) != b - a) return 0;
    if (b > a) (void)os_readable(fd, 1);
    if (os_write(fd, lines_out + b, size - b) != size - b) return 0;
    return os_read(fd, in, size) == size && !memcmp(in, lines_in, size);
}

static void framing_across_all_splits(void **state)
{
    size_t size = sizeof lines_out - 1, a, b, cases = 0, right = 0;
    os_plan plan;
    pid_t server;
    int fd;
    (void)state;
    memset(&plan, 0, sizeof plan);
    plan.desc.frame = frame_line;
    plan.desc.on_message = reverse_line;
    plan.desc.message_max = 64;
    server = os_serve(&plan);
    fd = os_connect();
    for (a = 0; a <= size; a++)
        for (b = a; b <= size; b++, cases++) right += (size_t)lines_cut_at(fd, a, b);
    os_exactly("splits with the right answers", (double)right, (double)cases);
    os_at_least("splits", (double)cases, 1500);
    (void)close(fd);
    assert_int_equal(os_stop(server), 0);
    os_exactly("messages handled", (double)os.shared->stats.messages, (double)cases * 8);
}

/* ---- pushes and ids, in one process ------------------------------------------------------------------------------ */

static uds_echo_id newest_id;

static int remember_id(uds_echo_conn *conn, void *user)
{
    (void)user;
    newest_id = uds_echo_conn_id(conn);
    return 0;
}

static void pushes_to_a_non_reader_would_block(void **state)
{
    uds_echo_server_desc desc;
    uds_echo_server *server;
    uds_echo_stats stats;
    uds_echo_error error = UDS_ECHO_OK;
    unsigned char block[1000], in[1000];
    unsigned pushed = 0, read_back = 0;
    int fd;
    (void)state;
    memset(&desc, 0, sizeof desc);
    desc.on_open = remember_id;
    server = os_open(&desc);
    fd = os_connect();
    os_settle(server);
    while (!error && pushed < 10000) {
        os_fill(block, sizeof block, pushed);
        error = uds_echo_conn_send(uds_echo_server_find(server, newest_id), block, sizeof block);
        pushed += !error;
        if (pushed % 16 == 0) os_settle(server);
    }
    uds_echo_server_stats(server, &stats);
    print_message("    pushes taken before WOULD_BLOCK: %u\n", pushed);
    assert_int_equal(error, UDS_ECHO_ERR_WOULD_BLOCK);
    os_at_most("bytes held then", (double)stats.pending, 65536 + UE_BLOCK);
    os_at_least("bytes held then", (double)stats.pending, 60000);
    for (; read_back < pushed; read_back++) {
        os_fill(block, sizeof block, read_back);
        while (!os_readable(fd, 0)) os_settle(server);
        os_settle(server);
        if (os_read(fd, in, sizeof in) != sizeof in || memcmp(in, block, sizeof in)) break;
    }
    os_exactly("pushes read back", read_back, pushed);
    assert_int_equal(uds_echo_conn_send(uds_echo_server_find(server, newest_id), "x", 1), UDS_ECHO_OK);
    assert_int_equal(uds_echo_conn_send(NULL, "x", 1), UDS_ECHO_ERR_INVALID);
    (void)close(fd);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

static void p45_an_old_id_is_gone_after_its_slot_was_reused(void **state)
{
    uds_echo_server_desc desc;
    uds_echo_server *server;
    uds_echo_id ids[200];
    int i, k, fd, stale = 0, reused = 0;
    (void)state;
    memset(&desc, 0, sizeof desc);
    desc.on_open = remember_id;
    desc.connections_max = 1;
    server = os_open(&desc);
    for (i = 0; i < 200; i++) {
        fd = os_connect();
        os_settle(server);
        ids[i] = newest_id;
        reused += i > 0 && (ids[i] & 0xffffffff) == (ids[0] & 0xffffffff) && ids[i] != ids[i - 1];
        assert_non_null(uds_echo_server_find(server, ids[i]));
        for (k = 0; k < i; k++) stale += uds_echo_server_find(server, ids[k]) != NULL;
        (void)close(fd);
        os_settle(server);
        stale += uds_echo_server_find(server, ids[i]) != NULL;
    }
    os_exactly("times the slot was used again", reused, 199);
    os_exactly("old ids that led to somebody", stale, 0);
    OS_CASES(reused, 199);
    assert_null(uds_echo_server_find(server, 0));
    assert_null(uds_echo_server_find(server, ~0ull));
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* ---- signals ----------------------------------------------------------------------------------------------------- */

static int tick_counter;

static void on_tick(int number)
{
    (void)number;
    os.shared->count[tick_counter]++;
}

/* Without SA_RESTART, so that every call that waits is interrupted. */
static void tick_every_ms(void)
{
    struct itimerval every = {{0, 1000}, {0, 1000}};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_tick;
    (void)sigaction(SIGALRM, &action, NULL);
    (void)setitimer(ITIMER_REAL, &every, NULL);
}

/* UDS_ECHO_SIGNAL_SECONDS=10 makes it longer. */
static int signal_seconds(void)
{
    const char *text = getenv("UDS_ECHO_SIGNAL_SECONDS");
    int seconds = text ? atoi(text) : 0;
    return seconds > 0 && seconds <= OS_TEST_SECONDS / 2 ? seconds : 2;
}

static void talk_among_signals(void)
{
    enum { SIZE = 256 * KIB };
    unsigned char *out = (unsigned char *)malloc(SIZE), *in = (unsigned char *)malloc(SIZE);
    uds_echo_client_desc desc;
    uds_echo_client client;
    uds_echo_io io;
    double end = os_now() + 1000.0 * signal_seconds();
    unsigned round;
    memset(&desc, 0, sizeof desc);
    desc.path = os.path;
    if (!out || !in || uds_echo_client_open(&client, &desc, NULL)) _exit(1);
    for (round = 0; os_now() < end; round++) {
        size_t size = round % 3 ? SIZE : 100; /* short ones wait for their answer, long ones also for room */
        os_fill(out, size, round);
        memset(&io, 0, sizeof io);
        io.out = out;
        io.in = in;
        io.out_size = io.in_size = size;
        if (uds_echo_client_exchange(&client, &io, OS_REPLY_MS)) _exit(2);
        if (memcmp(out, in, size)) _exit(3);
        os.shared->count[2] += (long)size;
    }
    _exit(0);
}

static void p30_1_khz_of_signals_through_traffic(void **state)
{
    os_plan plan;
    pid_t server, client;
    (void)state;
    memset(&plan, 0, sizeof plan);
    plan.before = tick_every_ms;
    tick_counter = 0;
    server = os_serve(&plan);
    tick_counter = 1;
    client = os_fork();
    if (client == 0) {
        tick_every_ms();
        talk_among_signals();
    }
    os_exactly("exit status of the client", os_reap(client, signal_seconds() * 2000 * OS_SLOW + OS_REPLY_MS), 0);
    os_exactly("exit status of the server", os_stop(server), 0);
    os_at_least("signals in the server", (double)os.shared->count[0], 100.0 * signal_seconds());
    os_at_least("signals in the client", (double)os.shared->count[1], 100.0 * signal_seconds());
    os_at_least("bytes that came back equal", (double)os.shared->count[2], 4 * MIB);
    OS_CASES(signal_seconds(), 2);
    os_cell("signals", "1 kHz SIGALRM", "all bytes came back, in server and client");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OS_TEST(p22_64_mib_through_exchange),
        OS_TEST(p22_a_million_one_byte_writes),
        OS_TEST(p24_half_close_keeps_4_mib),
        OS_TEST(p24_half_close_before_the_first_read),
        OS_TEST(one_byte_at_a_time),
        OS_TEST(p28_an_oob_byte_is_echoed_in_place),
        OS_TEST(p25_resets_within_a_message_leave_others_served),
        OS_TEST(p29_1000_rude_clients_and_sigpipe_at_default),
        OS_TEST(p33_descriptors_that_a_peer_sends_are_dropped),
        OS_TEST(every_size_of_message_and_of_socket_buffer),
        OS_TEST(a_crowd_over_few_places),
        OS_TEST(p25_a_refusal_in_mid_send_is_readable),
        OS_TEST(p25_a_last_answer_in_mid_send_is_readable),
        OS_TEST(later_after_a_half_close_answers_and_then_ends),
        OS_TEST(later_during_a_drain_is_answered),
        OS_TEST(framing_across_all_splits),
        OS_TEST(pushes_to_a_non_reader_would_block),
        OS_TEST(p45_an_old_id_is_gone_after_its_slot_was_reused),
        OS_TEST(p30_1_khz_of_signals_through_traffic),
    };
    return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
