/* test_client.c - the client against servers that are missing, full, slow, short, rude or somebody else's. */
#include "os.h"

/* ---- a server that is not ours: one function talks to each connection -------------------------------------------- */

static pid_t fork_raw_server(void (*talk)(int fd))
{
    int listener = os_listen(os.path, SOCK_STREAM, 8);
    pid_t pid;
    assert_true(listener >= 0);
    pid = os_fork();
    if (pid == 0) {
        for (;;) {
            int fd = accept(listener, NULL, NULL);
            if (fd < 0) _exit(1);
            os_bound(fd);
            talk(fd);
            (void)close(fd);
        }
    }
    (void)close(listener);
    return pid;
}

static uds_echo_error connect_to(uds_echo_client *client, const char *path, int timeout_ms, uds_echo_failure *why)
{
    uds_echo_client_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.path = path;
    desc.timeout_ms = timeout_ms;
    return uds_echo_client_open(client, &desc, why);
}

static void open_client(uds_echo_client *client)
{
    assert_int_equal(connect_to(client, os.path, OS_REPLY_MS, NULL), UDS_ECHO_OK);
}

static uds_echo_io io_of(const void *out, size_t out_size, void *in, size_t in_size)
{
    uds_echo_io io;
    memset(&io, 0, sizeof io);
    io.out = out;
    io.out_size = out_size;
    io.in = in;
    io.in_size = in_size;
    return io;
}

/* ---- descriptors ------------------------------------------------------------------------------------------------- */

static ssize_t pass(int to, int what)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    char byte = 'x';
    struct iovec part = {&byte, 1};
    struct msghdr message;
    memset(&control, 0, sizeof control);
    memset(&message, 0, sizeof message);
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    control.head.cmsg_level = SOL_SOCKET;
    control.head.cmsg_type = SCM_RIGHTS;
    control.head.cmsg_len = CMSG_LEN(sizeof what);
    memcpy(CMSG_DATA(&control.head), &what, sizeof what);
    return sendmsg(to, &message, MSG_NOSIGNAL);
}

/* Neither end takes one, made or adopted: who closes the last copy of somebody's socket waits as long as that one says.
   Systems before Linux 6.16 cannot refuse. */
static void p35_passed_descriptors_are_refused(void **state)
{
    int kind, off = 0, cases = 0, can_refuse;
    (void)state;
    for (kind = 0; kind < 3; kind++) {
        uds_echo_server_desc desc;
        uds_echo_server *server = NULL;
        uds_echo_client client;
        char in;
        int listener = kind ? os_listen(os.path, SOCK_STREAM, 8) : -1, fd;
        memset(&desc, 0, sizeof desc);
        memset(&client, 0, sizeof client);
        if (kind == 2) open_client(&client);
        else if (kind) assert_int_equal(uds_echo_server_adopt(&server, listener, &desc, NULL), UDS_ECHO_OK);
        else server = os_open(NULL);
        fd = kind == 2 ? accept(listener, NULL, NULL) : os_connect();
        can_refuse = !setsockopt(fd, SOL_SOCKET, 83 /* SO_PASSRIGHTS */, &off, sizeof off);
        cases +=
            pass(fd, fd) == (can_refuse ? -1 : 1) && (!can_refuse || errno == EPERM); /* queued, not yet accepted */
        if (server) {
            os_settle(server);
            cases += pass(fd, fd) == (can_refuse ? -1 : 1);
            os_settle(server);
            if (!can_refuse) (void)recv(fd, &in, 1, 0); /* what was refused is not answered either */
            assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
        } else {
            uds_echo_client_close(&client);
            (void)close(listener);
            cases++;
        }
        (void)close(fd);
        (void)unlink(os.path);
    }
    OS_CASES(cases, 6);
}

/* ---- nobody there ------------------------------------------------------------------------------------------------ */

/* The error, after a look at what comes with it. */
static uds_echo_error refusal_of(const char *path)
{
    uds_echo_client client;
    uds_echo_failure why;
    char text[1024];
    uds_echo_error error = connect_to(&client, path, 100, &why);
    if (!error) {
        uds_echo_client_close(&client);
        return error;
    }
    assert_int_equal(why.error, error);
    assert_int_equal(uds_echo_client_fd(&client), -1);
    uds_echo_client_close(&client);
    assert_true(uds_echo_explain(&why, path, text, sizeof text) > 20);
    assert_non_null(strstr(text, uds_echo_strerror(error)));
    return error;
}

static void nobody_there_is_told_apart(void **state)
{
    char path[160];
    int fd;
    FILE *f;
    (void)state;
    os_exactly("missing", refusal_of(os.path), UDS_ECHO_ERR_NOT_FOUND);
    (void)snprintf(path, sizeof path, "%s/none/s", os.dir);
    os_exactly("missing folder", refusal_of(path), UDS_ECHO_ERR_NOT_FOUND);
    os_make_stale(os.path);
    os_exactly("stale", refusal_of(os.path), UDS_ECHO_ERR_REFUSED);
    assert_int_equal(unlink(os.path), 0);
    f = fopen(os.path, "w");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    os_exactly("regular file", refusal_of(os.path), UDS_ECHO_ERR_REFUSED);
    assert_int_equal(unlink(os.path), 0);
    fd = os_bind(os.path, SOCK_DGRAM);
    os_exactly("datagrams", refusal_of(os.path), UDS_ECHO_ERR_WRONG_TYPE);
    (void)close(fd);
    os_exactly("empty path", refusal_of(""), UDS_ECHO_ERR_BAD_PATH);
    os_exactly("folder", refusal_of(os.dir), UDS_ECHO_ERR_REFUSED);
}

/* Root may connect anywhere, so a child tries it as somebody else. */
static void an_unwritable_socket_is_denied(void **state)
{
    int listener = os_listen(os.path, SOCK_STREAM, 8);
    pid_t child;
    (void)state;
    assert_int_equal(chmod(os.dir, 0755), 0);
    assert_int_equal(chmod(os.path, 0), 0);
    child = os_fork();
    if (child == 0) {
        uds_echo_client client;
        if (geteuid() == 0 && (setgid(65534) || setuid(65534))) _exit(100);
        _exit((int)connect_to(&client, os.path, 100, NULL));
    }
    os_exactly("error", os_reap(child, OS_REPLY_MS), UDS_ECHO_ERR_DENIED);
    (void)close(listener);
}

static void bad_arguments_are_named(void **state)
{
    uds_echo_client_desc desc;
    uds_echo_client client;
    uds_echo_failure why;
    uds_echo_io io;
    char bytes[4];
    int right = 0;
    (void)state;
    memset(&desc, 0, sizeof desc);
    right += uds_echo_client_open(NULL, &desc, &why) == UDS_ECHO_ERR_INVALID && !strcmp(why.call, "client");
    right += uds_echo_client_open(&client, NULL, &why) == UDS_ECHO_ERR_INVALID && !strcmp(why.call, "desc");
    right += uds_echo_client_open(&client, &desc, &why) == UDS_ECHO_ERR_INVALID && !strcmp(why.call, "desc.path");
    desc.path = os.path;
    desc.timeout_ms = -2;
    right += uds_echo_client_open(&client, &desc, &why) == UDS_ECHO_ERR_INVALID && !strcmp(why.call, "desc.timeout_ms");
    desc.timeout_ms = 0;
    desc.trust = (uds_echo_trust)3;
    right += uds_echo_client_open(&client, &desc, &why) == UDS_ECHO_ERR_INVALID && !strcmp(why.call, "desc.trust");
    right +=
        uds_echo_call(os.path, NULL, 1, bytes, 4, NULL, 0, &why) == UDS_ECHO_ERR_INVALID && !strcmp(why.call, "msg");
    right +=
        uds_echo_call(os.path, "x", 1, NULL, 4, NULL, 0, &why) == UDS_ECHO_ERR_INVALID && !strcmp(why.call, "reply");
    right += uds_echo_call(os.path, "x", 1, bytes, 4, NULL, -2, &why) == UDS_ECHO_ERR_INVALID &&
             !strcmp(why.call, "timeout_ms");
    io = io_of("x", 1, bytes, 4);
    right += uds_echo_client_exchange(&client, &io, 0) == UDS_ECHO_ERR_INVALID; /* it is not open */
    right += uds_echo_client_shutdown(&client) == UDS_ECHO_ERR_INVALID &&
             uds_echo_client_shutdown(NULL) == UDS_ECHO_ERR_INVALID;
    right += uds_echo_client_fd(NULL) == -1;
    uds_echo_client_close(NULL);
    uds_echo_client_close(&client);
    os_exactly("refusals", right, 11);
}

static void impossible_exchanges_are_refused(void **state)
{
    pid_t server = os_serve(NULL);
    uds_echo_client client;
    uds_echo_io io;
    char in[4];
    int right = 0;
    (void)state;
    open_client(&client);
    right += uds_echo_client_exchange(&client, NULL, 0) == UDS_ECHO_ERR_INVALID;
    io = io_of("x", 1, in, 4);
    right += uds_echo_client_exchange(&client, &io, -2) == UDS_ECHO_ERR_INVALID;
    io.sent = 2;
    right += uds_echo_client_exchange(&client, &io, 0) == UDS_ECHO_ERR_INVALID;
    io.sent = 0;
    io.got = 5;
    right += uds_echo_client_exchange(&client, &io, 0) == UDS_ECHO_ERR_INVALID;
    io = io_of(NULL, 1, NULL, 0);
    right += uds_echo_client_exchange(&client, &io, 0) == UDS_ECHO_ERR_INVALID;
    io = io_of(NULL, 0, NULL, 1);
    right += uds_echo_client_exchange(&client, &io, 0) == UDS_ECHO_ERR_INVALID;
    io = io_of(NULL, 0, NULL, 0);
    right += uds_echo_client_exchange(&client, &io, 0) == UDS_ECHO_OK;
    assert_int_equal(uds_echo_client_shutdown(&client), UDS_ECHO_OK);
    assert_int_equal(uds_echo_client_shutdown(&client), UDS_ECHO_OK);
    io = io_of("x", 1, NULL, 0); /* after the half-close */
    right += uds_echo_client_exchange(&client, &io, 0) == UDS_ECHO_ERR_INVALID;
    os_exactly("answers", right, 8);
    uds_echo_client_close(&client);
    assert_int_equal(os_stop(server), 0);
}

/* ---- a full queue ------------------------------------------------------------------------------------------------ */

static void p14_a_full_queue_honours_the_deadline(void **state)
{
    int listener = os_listen(os.path, SOCK_STREAM, 0), first = os_connect();
    uds_echo_client client;
    uds_echo_failure why;
    double began = os_now();
    char reply[4];
    (void)state;
    os_exactly("error", connect_to(&client, os.path, 200, &why), UDS_ECHO_ERR_TIMEOUT);
    os_at_least("ms", os_now() - began, 199);
    os_at_most("ms", os_now() - began, 200 + 300 * OS_SLOW);
    began = os_now();
    os_exactly("error of a call", uds_echo_call(os.path, "x", 1, reply, 4, NULL, 100, &why), UDS_ECHO_ERR_TIMEOUT);
    os_at_most("ms", os_now() - began, 100 + 300 * OS_SLOW);
    OS_CASES(2, 2);
    (void)close(first);
    (void)close(listener);
}

static int resumed_listener;

static void *accept_after_300_ms(void *argument)
{
    int i, fds[5];
    (void)argument;
    os_sleep(300);
    for (i = 0; i < 5; i++) fds[i] = accept(resumed_listener, NULL, NULL);
    for (i = 0; i < 5; i++) (void)close(fds[i]);
    return NULL;
}

static void p14_a_full_queue_is_waited_for(void **state)
{
    int first, i, connected = 0;
    uds_echo_client client;
    pthread_t thread;
    double began = os_now();
    (void)state;
    resumed_listener = os_listen(os.path, SOCK_STREAM, 0);
    first = os_connect();
    thread = os_thread(accept_after_300_ms, NULL);
    for (i = 0; i < 4; i++) {
        connected += connect_to(&client, os.path, OS_REPLY_MS, NULL) == UDS_ECHO_OK;
        uds_echo_client_close(&client);
    }
    os_exactly("connected once the server resumed", connected, 4);
    OS_CASES(connected, 4);
    os_at_least("ms", os_now() - began, 290);
    os_at_most("ms", os_now() - began, 300 + 500 * OS_SLOW);
    (void)close(first);
    (void)os_join(thread);
    (void)close(resumed_listener);
}

/* ---- exchange ---------------------------------------------------------------------------------------------------- */

/* Answers one byte in ten, every 10 ms, so that a short deadline passes many times. */
static void talk_slowly(int fd)
{
    char bytes[50];
    size_t i;
    if (os_read(fd, bytes, sizeof bytes) != sizeof bytes) return;
    for (i = 0; i < sizeof bytes; i += 10) {
        os_sleep(10);
        (void)os_write(fd, bytes + i, 10);
    }
    (void)os_read_end(fd);
}

static void an_exchange_goes_on_after_timeouts(void **state)
{
    pid_t server = fork_raw_server(talk_slowly);
    uds_echo_client client;
    uds_echo_error error;
    uds_echo_io io;
    unsigned char out[50], in[50];
    int timeouts = 0;
    (void)state;
    os_fill(out, sizeof out, 9);
    open_client(&client);
    io = io_of(out, sizeof out, in, sizeof in);
    while ((error = uds_echo_client_exchange(&client, &io, timeouts % 3)) == UDS_ECHO_ERR_TIMEOUT && timeouts < 1000000)
        timeouts++;
    os_at_least("times it was called again", timeouts, 5);
    os_exactly("error in the end", error, UDS_ECHO_OK);
    assert_memory_equal(in, out, sizeof in);
    uds_echo_client_close(&client);
    os_kill(server);
}

static void a_timeout_is_kept(void **state)
{
    pid_t server = fork_raw_server(talk_slowly);
    uds_echo_client client;
    uds_echo_io io;
    char in[1];
    double began;
    (void)state;
    open_client(&client);
    io = io_of("x", 1, in, 1);
    began = os_now();
    os_exactly("error", uds_echo_client_exchange(&client, &io, 150), UDS_ECHO_ERR_TIMEOUT);
    os_at_least("ms", os_now() - began, 149);
    os_at_most("ms", os_now() - began, 150 + 300 * OS_SLOW);
    began = os_now();
    os_exactly("error at once", uds_echo_client_exchange(&client, &io, 0), UDS_ECHO_ERR_TIMEOUT);
    os_at_most("ms", os_now() - began, 50 * OS_SLOW);
    assert_int_equal(io.sent, 1);
    assert_int_equal(io.got, 0);
    uds_echo_client_close(&client);
    os_kill(server);
}

static void talk_short(int fd)
{
    char bytes[10];
    (void)os_read(fd, bytes, sizeof bytes);
    (void)os_write(fd, "only5", 5);
}

static void end_keeps_what_came(void **state)
{
    pid_t server = fork_raw_server(talk_short);
    uds_echo_client client;
    uds_echo_io io;
    char in[10];
    (void)state;
    open_client(&client);
    io = io_of("0123456789", 10, in, sizeof in);
    os_exactly("error", uds_echo_client_exchange(&client, &io, OS_REPLY_MS), UDS_ECHO_ERR_UNEXPECTED_EOF);
    os_exactly("bytes kept", (double)io.got, 5);
    assert_memory_equal(in, "only5", 5);
    os_exactly("error again", uds_echo_client_exchange(&client, &io, OS_REPLY_MS), UDS_ECHO_ERR_UNEXPECTED_EOF);
    uds_echo_client_close(&client);
    os_kill(server);
}

/* Closing with unread input resets. */
static void talk_and_reset(int fd)
{
    char byte;
    (void)os_read(fd, &byte, 1);
    (void)os_write(fd, "only5", 5);
}

static void p25_reset_keeps_what_came(void **state)
{
    pid_t server = fork_raw_server(talk_and_reset);
    uds_echo_client client;
    uds_echo_io io;
    char in[10];
    int i, kept = 0;
    (void)state;
    for (i = 0; i < 50; i++) {
        open_client(&client);
        io = io_of("0123456789", 10, in, sizeof in);
        kept += uds_echo_client_exchange(&client, &io, OS_REPLY_MS) == UDS_ECHO_ERR_RESET && io.got == 5 &&
                !memcmp(in, "only5", 5);
        uds_echo_client_close(&client);
    }
    os_exactly("resets that kept what came", kept, 50);
    OS_CASES(kept, 50);
    os_kill(server);
}

/* An echo server takes no more than it could send back; without room for that, the client must not wait for ever. */
static void full_is_told_and_more_room_goes_on(void **state)
{
    enum { SIZE = 4 << 20, SMALL = 1000 };
    unsigned char *out = (unsigned char *)malloc(SIZE), *in = (unsigned char *)malloc(SIZE);
    pid_t server = os_serve(NULL);
    uds_echo_client client;
    uds_echo_io io;
    double began = os_now();
    (void)state;
    assert_non_null(out);
    assert_non_null(in);
    os_fill(out, SIZE, 10);
    open_client(&client);
    io = io_of(out, SIZE, in, SMALL);
    os_exactly("error", uds_echo_client_exchange(&client, &io, OS_REPLY_MS), UDS_ECHO_ERR_BUFFER_FULL);
    os_at_most("ms until it was told", os_now() - began, OS_REPLY_MS / 2);
    os_exactly("bytes received", (double)io.got, SMALL);
    print_message("    bytes sent until then: %zu\n", io.sent);
    io.in_size = SIZE;
    os_exactly("error with more room", uds_echo_client_exchange(&client, &io, OS_REPLY_MS), UDS_ECHO_OK);
    assert_memory_equal(in, out, SIZE);
    uds_echo_client_close(&client);
    assert_int_equal(os_stop(server), 0);
    free(out);
    free(in);
}

/* The peer waits for its answers to be read, and nobody said where to put them. */
static void sending_only_to_an_echo_server_is_full_in_the_end(void **state)
{
    enum { SIZE = 4 << 20 };
    unsigned char *out = (unsigned char *)malloc(SIZE), *in = (unsigned char *)malloc(SIZE);
    pid_t server = os_serve(NULL);
    uds_echo_client client;
    uds_echo_io io;
    double began = os_now();
    (void)state;
    assert_non_null(out);
    assert_non_null(in);
    os_fill(out, SIZE, 12);
    open_client(&client);
    io = io_of(out, SIZE, NULL, 0);
    os_exactly("error without a limit of time", uds_echo_client_exchange(&client, &io, -1), UDS_ECHO_ERR_BUFFER_FULL);
    os_at_most("ms until it was told", os_now() - began, OS_REPLY_MS / 2);
    io.in = in;
    io.in_size = SIZE;
    os_exactly("error with room", uds_echo_client_exchange(&client, &io, OS_REPLY_MS), UDS_ECHO_OK);
    assert_memory_equal(in, out, SIZE);
    uds_echo_client_close(&client);
    assert_int_equal(os_stop(server), 0);
    free(out);
    free(in);
}

static void send_only_and_receive_only(void **state)
{
    pid_t server = os_serve(NULL);
    uds_echo_client client;
    uds_echo_io io;
    char in[11];
    (void)state;
    open_client(&client);
    io = io_of("hello world", 11, NULL, 0);
    os_exactly("sending", uds_echo_client_exchange(&client, &io, OS_REPLY_MS), UDS_ECHO_OK);
    assert_int_equal(uds_echo_client_shutdown(&client), UDS_ECHO_OK);
    io = io_of(NULL, 0, in, 11);
    os_exactly("receiving", uds_echo_client_exchange(&client, &io, OS_REPLY_MS), UDS_ECHO_OK);
    assert_memory_equal(in, "hello world", 11);
    io = io_of(NULL, 0, in, 1);
    os_exactly("behind it", uds_echo_client_exchange(&client, &io, OS_REPLY_MS), UDS_ECHO_ERR_UNEXPECTED_EOF);
    uds_echo_client_close(&client);
    assert_int_equal(os_stop(server), 0);
}

/* ---- call -------------------------------------------------------------------------------------------------------- */

static void a_call_and_its_buffer(void **state)
{
    pid_t server = os_serve(NULL);
    uds_echo_failure why;
    char reply[5];
    size_t got = 9;
    (void)state;
    os_exactly("exact fit", uds_echo_call(os.path, "hello", 5, reply, 5, &got, OS_REPLY_MS, &why), UDS_ECHO_OK);
    assert_int_equal(got, 5);
    memset(reply, 0, sizeof reply);
    os_exactly("one too small", uds_echo_call(os.path, "hello", 5, reply, 4, &got, OS_REPLY_MS, &why),
               UDS_ECHO_ERR_TRUNCATED);
    os_exactly("bytes kept", (double)got, 4);
    assert_memory_equal(reply, "hell\0", 5);
    assert_int_equal(why.error, UDS_ECHO_ERR_TRUNCATED);
    os_exactly("no buffer", uds_echo_call(os.path, "hello", 5, NULL, 0, &got, OS_REPLY_MS, &why),
               UDS_ECHO_ERR_TRUNCATED);
    os_exactly("nothing said", uds_echo_call(os.path, NULL, 0, reply, 5, &got, OS_REPLY_MS, NULL), UDS_ECHO_OK);
    os_exactly("bytes of the answer to nothing", (double)got, 0);
    assert_int_equal(os_stop(server), 0);
}

static void a_call_of_16_mib(void **state)
{
    enum { SIZE = 16 << 20 };
    unsigned char *out = (unsigned char *)malloc(SIZE), *in = (unsigned char *)malloc(SIZE);
    pid_t server = os_serve(NULL);
    size_t got = 0;
    (void)state;
    assert_non_null(out);
    assert_non_null(in);
    os_fill(out, SIZE, 11);
    os_exactly("error", uds_echo_call(os.path, out, SIZE, in, SIZE, &got, OS_REPLY_MS, NULL), UDS_ECHO_OK);
    os_exactly("bytes", (double)got, SIZE);
    assert_memory_equal(in, out, SIZE);
    assert_int_equal(os_stop(server), 0);
    free(out);
    free(in);
}

static void talk_not_at_all(int fd)
{
    (void)fd;
}

static void talk_never(int fd)
{
    (void)fd;
    os_sleep(OS_REPLY_MS);
}

/* An answer, while most of the question is still on its way, and then no more is read, readably. */
static void talk_before_listening(int fd)
{
    char bytes[100];
    (void)os_read(fd, bytes, sizeof bytes);
    (void)os_write(fd, "enough", 6);
    (void)shutdown(fd, SHUT_RDWR);
    while (recv(fd, bytes, sizeof bytes, 0) > 0) {
    }
}

static void calls_to_rude_servers(void **state)
{
    static char big[1 << 20];
    char reply[16];
    size_t got = 9;
    double began;
    pid_t server = fork_raw_server(talk_not_at_all);
    uds_echo_error error = uds_echo_call(os.path, big, sizeof big, reply, sizeof reply, &got, OS_REPLY_MS, NULL);
    (void)state;
    print_message("    closes early: %s\n", uds_echo_strerror(error));
    assert_true(error == UDS_ECHO_ERR_UNEXPECTED_EOF || error == UDS_ECHO_ERR_RESET);
    os_exactly("bytes of its answer", (double)got, 0);
    os_kill(server);
    assert_int_equal(unlink(os.path), 0);

    server = fork_raw_server(talk_never);
    began = os_now();
    os_exactly("never answers", uds_echo_call(os.path, "x", 1, reply, sizeof reply, &got, 200, NULL),
               UDS_ECHO_ERR_TIMEOUT);
    os_at_least("ms", os_now() - began, 199);
    os_at_most("ms", os_now() - began, 200 + 300 * OS_SLOW);
    os_kill(server);
    assert_int_equal(unlink(os.path), 0);

    server = fork_raw_server(talk_before_listening);
    os_exactly("answers before it read all",
               uds_echo_call(os.path, big, sizeof big, reply, sizeof reply, &got, OS_REPLY_MS, NULL),
               UDS_ECHO_ERR_UNEXPECTED_EOF);
    os_exactly("bytes of its answer", (double)got, 6);
    assert_memory_equal(reply, "enough", 6);
    os_kill(server);
}

static void a_call_to_a_server_that_dies_keeps_what_came(void **state)
{
    pid_t server = fork_raw_server(talk_and_reset);
    char reply[16];
    size_t got = 0;
    uds_echo_failure why;
    (void)state;
    os_exactly("error", uds_echo_call(os.path, "0123456789", 10, reply, sizeof reply, &got, OS_REPLY_MS, &why),
               UDS_ECHO_ERR_RESET);
    os_exactly("bytes kept", (double)got, 5);
    assert_memory_equal(reply, "only5", 5);
    assert_int_equal(why.error, UDS_ECHO_ERR_RESET);
    os_kill(server);
}

/* ---- trust ------------------------------------------------------------------------------------------------------- */

static void p10_an_untrusted_server_gets_no_byte(void **state)
{
    int listener = os_listen(os.path, SOCK_STREAM, 8), fd;
    uds_echo_client_desc desc;
    uds_echo_client client;
    uds_echo_failure why;
    char text[512], byte;
    (void)state;
    memset(&desc, 0, sizeof desc);
    desc.path = os.path;
    desc.trust = UDS_ECHO_TRUST_UID;
    desc.uid = (long)geteuid() + 1;
    os_exactly("error", uds_echo_client_open(&client, &desc, &why), UDS_ECHO_ERR_UNTRUSTED);
    os_exactly("pid told", (double)why.pid, (double)getpid());
    os_exactly("uid told", (double)why.uid, (double)geteuid());
    assert_int_equal(client.fd, -1);
    fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    os_exactly("bytes it got", (double)recv(fd, &byte, 1, MSG_DONTWAIT), 0); /* the end of the stream, and no byte */
    (void)close(fd);
    (void)uds_echo_explain(&why, os.path, text, sizeof text);
    assert_non_null(strstr(text, "uid"));
    (void)close(listener);
    OS_CASES(1, 1);
}

static void p10_the_right_uid_and_root_are_trusted(void **state)
{
    int listener = os_listen(os.path, SOCK_STREAM, 8);
    uds_echo_client_desc desc;
    uds_echo_client client;
    (void)state;
    memset(&desc, 0, sizeof desc);
    desc.path = os.path;
    desc.trust = UDS_ECHO_TRUST_UID;
    desc.uid = (long)geteuid();
    os_exactly("error with the right uid", uds_echo_client_open(&client, &desc, NULL), UDS_ECHO_OK);
    uds_echo_client_close(&client);
    desc.trust = UDS_ECHO_TRUST_UID_OR_ROOT;
    os_exactly("error with the right uid or root", uds_echo_client_open(&client, &desc, NULL), UDS_ECHO_OK);
    uds_echo_client_close(&client);
    desc.uid = (long)geteuid() + 1; /* trusted only where the listener is root's */
    os_exactly("error with another uid or root", uds_echo_client_open(&client, &desc, NULL),
               geteuid() == 0 ? UDS_ECHO_OK : UDS_ECHO_ERR_UNTRUSTED);
    uds_echo_client_close(&client);
    (void)close(listener);
    OS_CASES(3, 3);
}

/* ---- long paths -------------------------------------------------------------------------------------------------- */

/* The folder does not fit an address; the client opens it and goes by way of its descriptor, which it then closes. */
static void p13_a_long_path_is_reached_through_its_folder(void **state)
{
    char path[256];
    uds_echo_server_desc desc;
    uds_echo_server *server;
    pthread_t thread;
    char reply[8];
    size_t used = strlen(os.dir), got = 0;
    int i, before, right = 0;
    (void)state;
    memcpy(path, os.dir, used);
    path[used++] = '/';
    memset(path + used, 'l', 200 - used);
    path[200] = '\0';
    assert_int_equal(mkdir(path, 0700), 0);
    memcpy(path + 200, "/s", 3);
    memset(&desc, 0, sizeof desc);
    desc.path = path;
    server = os_open(&desc);
    thread = os_thread(os_run_thread, server);
    before = os_open_descriptors();
    for (i = 0; i < 100; i++)
        right +=
            uds_echo_call(path, "through", 7, reply, sizeof reply, &got, OS_REPLY_MS, NULL) == UDS_ECHO_OK && got == 7;
    os_exactly("calls over a path of 202 bytes", right, 100);
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    assert_int_equal(os_join(thread), UDS_ECHO_OK);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    os_at_most("descriptors after them", os_open_descriptors(), before);
    os_exactly("after its end", refusal_of(path), UDS_ECHO_ERR_NOT_FOUND);
    memset(path + 201, 'n', 54); /* whole 255: the last component alone still fits */
    path[255] = '\0';
    os_exactly("a missing long name", refusal_of(path), UDS_ECHO_ERR_NOT_FOUND);
    OS_CASES(right, 100);
}

static void a_last_component_that_does_not_fit_is_a_path_error(void **state)
{
    char path[400];
    size_t used = strlen(os.dir);
    (void)state;
    memcpy(path, os.dir, used);
    path[used++] = '/';
    memset(path + used, 'n', 300);
    path[used + 120] = '\0';
    os_exactly("120 bytes", refusal_of(path), UDS_ECHO_ERR_BAD_PATH);
    path[used + 120] = 'n';
    path[used + 300] = '\0';
    os_exactly("300 bytes", refusal_of(path), UDS_ECHO_ERR_BAD_PATH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OS_TEST(p35_passed_descriptors_are_refused),
        OS_TEST(nobody_there_is_told_apart),
        OS_TEST(an_unwritable_socket_is_denied),
        OS_TEST(bad_arguments_are_named),
        OS_TEST(impossible_exchanges_are_refused),
        OS_TEST(p14_a_full_queue_honours_the_deadline),
        OS_TEST(p14_a_full_queue_is_waited_for),
        OS_TEST(an_exchange_goes_on_after_timeouts),
        OS_TEST(a_timeout_is_kept),
        OS_TEST(end_keeps_what_came),
        OS_TEST(p25_reset_keeps_what_came),
        OS_TEST(full_is_told_and_more_room_goes_on),
        OS_TEST(sending_only_to_an_echo_server_is_full_in_the_end),
        OS_TEST(send_only_and_receive_only),
        OS_TEST(a_call_and_its_buffer),
        OS_TEST(a_call_of_16_mib),
        OS_TEST(calls_to_rude_servers),
        OS_TEST(a_call_to_a_server_that_dies_keeps_what_came),
        OS_TEST(p10_an_untrusted_server_gets_no_byte),
        OS_TEST(p10_the_right_uid_and_root_are_trusted),
        OS_TEST(p13_a_long_path_is_reached_through_its_folder),
        OS_TEST(a_last_component_that_does_not_fit_is_a_path_error),
    };
    return cmocka_run_group_tests_name("client", tests, NULL, NULL);
}
