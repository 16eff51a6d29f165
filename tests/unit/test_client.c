/* The client against a peer that does what the test says. */
#include "harness.h"
#include "scripted.h"

static uds_echo_error ask(const char *does, size_t size, size_t capacity, size_t *answered, int timeout_ms)
{
    static char message[2048], reply[2048];
    uds_echo_failure why;
    uds_echo_error error;
    if (!fake_exists(PATH)) listener = fake_put_live(PATH, SOCK_STREAM, 1);
    memset(message, 'm', sizeof message);
    script = does;
    got_size = 0;
    fake.world = play;
    fake_set_mode(PATH, 0777);
    error = uds_echo_call(PATH, message, size, reply, capacity, answered, timeout_ms, &why);
    assert_int_equal(why.error, error);
    return error;
}

static void call_and_answer(void **state)
{
    size_t n;
    (void)state;
    assert_int_equal(ask("arsec", 5, 100, &n, 1000), UDS_ECHO_OK);
    assert_int_equal(n, 10);
    assert_int_equal(got_size, 5);
    assert_int_equal(ask("asec", 0, 100, &n, 1000), UDS_ECHO_OK);
    assert_int_equal(ask("aec", 0, 0, NULL, 1000), UDS_ECHO_OK);
}

/* Where nothing is said and nothing is to be heard, no memory is needed for it; and success names no call. */
static void call_with_nothing(void **state)
{
    uds_echo_failure why;
    (void)state;
    assert_int_equal(ask("aec", 0, 0, NULL, 1000), UDS_ECHO_OK);
    script = "aec";
    assert_int_equal(uds_echo_call(PATH, NULL, 0, NULL, 0, NULL, 1000, &why), UDS_ECHO_OK);
    assert_string_equal(why.call, "");
}

static void truncated(void **state)
{
    size_t n;
    (void)state;
    assert_int_equal(ask("asec", 5, 9, &n, 1000), UDS_ECHO_ERR_TRUNCATED);
    assert_int_equal(n, 9);
    fake_peer_close(peer);
    assert_int_equal(ask("asec", 5, 10, &n, 1000), UDS_ECHO_OK);
    assert_int_equal(n, 10);
}

/* Answers fill both windows while the client still sends: it reads meanwhile. */
static void both_ways_at_once(void **state)
{
    size_t n;
    (void)state;
    fake.queue_bytes = 16;
    assert_int_equal(ask("asrsrsrsrsrsrsrsrsrsrsrsrsrec", 150, 200, &n, 1000), UDS_ECHO_OK);
    assert_int_equal(got_size, 150);
    assert_true(n >= 100);
}

static void timeout_is_kept(void **state)
{
    long long before = fake_now_ms();
    size_t n;
    (void)state;
    assert_int_equal(ask("as", 5, 100, &n, 250), UDS_ECHO_ERR_TIMEOUT);
    assert_int_equal(n, 10); /* what came is kept */
    assert_in_range(fake_now_ms() - before, 250, 255);
    fake_peer_close(peer);
    before = fake_now_ms();
    assert_int_equal(ask("", 5, 100, &n, 0), UDS_ECHO_ERR_TIMEOUT);
    assert_in_range(fake_now_ms() - before, 0, 5);
}

/* P14: a full queue is waited for, up to the deadline. */
static void full_queue(void **state)
{
    int i, waiting[8];
    size_t n;
    long long before;
    (void)state;
    listener = fake_put_live(PATH, SOCK_STREAM, 1);
    fake_set_mode(PATH, 0777);
    for (i = 0; i < 5; i++) waiting[i] = fake_peer_connect(PATH);
    for (i = 0; i < 300; i += 37) { /* to the millisecond, 0 included */
        before = fake_now_ms();
        assert_int_equal(ask("", 5, 100, &n, i), UDS_ECHO_ERR_TIMEOUT);
        assert_int_equal(fake_now_ms() - before, i);
    }
    assert_int_equal(ask("...aaaaaarsec", 5, 100, &n, 1000), UDS_ECHO_OK);
    for (i = 0; i < 5; i++) fake_peer_close(waiting[i]);
    for (i = 0; i < 5; i++) waiting[i] = fake_peer_connect(PATH);
    assert_int_equal(ask("...aaaaaarsec", 5, 100, &n, -1), UDS_ECHO_OK);
    for (i = 0; i < 5; i++) fake_peer_close(waiting[i]);
}

/* What connecting took is not given again for the talk. */
static void one_deadline_for_all(void **state)
{
    int i, waiting[5];
    const long long before = fake_now_ms();
    (void)state;
    listener = fake_put_live(PATH, SOCK_STREAM, 1);
    fake_set_mode(PATH, 0777);
    for (i = 0; i < 5; i++) waiting[i] = fake_peer_connect(PATH);
    assert_int_equal(ask("zzzaaaaaar", 5, 100, NULL, 300), UDS_ECHO_ERR_TIMEOUT);
    assert_int_equal(got_size, 5);
    assert_int_equal(fake_now_ms() - before, 300);
    for (i = 0; i < 5; i++) fake_peer_close(waiting[i]);
}

/* A queue that stays full: 0 is no time at all for a call, and the default for an open. */
static void full_queue_and_no_time(void **state)
{
    int i, waiting[5];
    uds_echo_client_desc desc;
    uds_echo_client client;
    long long before;
    (void)state;
    memset(&desc, 0, sizeof desc);
    desc.path = PATH;
    listener = fake_put_live(PATH, SOCK_STREAM, 1);
    fake_set_mode(PATH, 0777);
    for (i = 0; i < 5; i++) waiting[i] = fake_peer_connect(PATH);
    before = fake_now_ms();
    assert_int_equal(ask("", 5, 100, NULL, 0), UDS_ECHO_ERR_TIMEOUT);
    assert_int_equal(fake_now_ms() - before, 0);
    before = fake_now_ms();
    assert_int_equal(uds_echo_client_open(&client, &desc, NULL), UDS_ECHO_ERR_TIMEOUT);
    assert_int_equal(fake_now_ms() - before, 5000);
    desc.timeout_ms = 18;
    before = fake_now_ms();
    assert_int_equal(uds_echo_client_open(&client, &desc, NULL), UDS_ECHO_ERR_TIMEOUT);
    assert_int_equal(fake_now_ms() - before, 18);
    for (i = 0; i < 5; i++) fake_peer_close(waiting[i]);
}

static void the_server_leaves(void **state)
{
    size_t n;
    (void)state;
    /* It read nothing and closed: what it said is kept, and the reset is told. */
    assert_int_equal(ask("asc", 5, 100, &n, 1000), UDS_ECHO_ERR_RESET);
    assert_int_equal(n, 10);
    /* It closes in mid-send, with a last answer: that is kept too. */
    fake.queue_bytes = 16;
    assert_int_equal(ask("arsc", 150, 100, &n, 1000), UDS_ECHO_ERR_RESET);
    assert_int_equal(n, 10);
    /* It ends readably: it took what it wanted, and shut its side. */
    assert_int_equal(ask("arhrsec", 150, 100, &n, 1000), UDS_ECHO_ERR_UNEXPECTED_EOF);
    assert_int_equal(n, 10);
}

static void connect_failures(void **state)
{
    uds_echo_client_desc desc;
    uds_echo_client client;
    uds_echo_failure why;
    size_t i;
    static const struct {
        const char *path;
        uds_echo_error error;
    } cases[] = {{NULL, UDS_ECHO_ERR_INVALID},           {"", UDS_ECHO_ERR_BAD_PATH},
                 {"/w/nothing", UDS_ECHO_ERR_NOT_FOUND}, {"/w/file", UDS_ECHO_ERR_REFUSED},
                 {"/w/stale", UDS_ECHO_ERR_REFUSED},     {"/w/dgram", UDS_ECHO_ERR_WRONG_TYPE},
                 {"/w/closed", UDS_ECHO_ERR_DENIED}};
    (void)state;
    fake_put_file("/w/file");
    fake_set_mode("/w/file", 0777);
    fake_put_stale("/w/stale");
    (void)fake_put_live("/w/dgram", SOCK_DGRAM, 0);
    (void)fake_put_live("/w/closed", SOCK_STREAM, 1);
    fake_set_mode("/w/closed", 0);
    memset(&desc, 0, sizeof desc);
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        desc.path = cases[i].path;
        assert_int_equal(uds_echo_client_open(&client, &desc, &why), cases[i].error);
        if (i < 2) assert_int_equal(fake_calls_of(FAKE_socket), 0);
        assert_int_equal(why.error, cases[i].error);
        assert_int_equal(uds_echo_client_fd(&client), -1);
        uds_echo_client_close(&client);
    }
    assert_int_equal(fake_calls_of(FAKE_open), 0); /* short paths are given to the system as they are */
    desc.path = PATH;
    desc.timeout_ms = -2;
    assert_int_equal(uds_echo_client_open(&client, &desc, &why), UDS_ECHO_ERR_INVALID);
    assert_string_equal(why.call, "desc.timeout_ms");
    assert_int_equal(uds_echo_client_open(NULL, &desc, &why), UDS_ECHO_ERR_INVALID);
    assert_int_equal(uds_echo_client_open(&client, NULL, &why), UDS_ECHO_ERR_INVALID);
    assert_int_equal(uds_echo_client_exchange(NULL, NULL, 0), UDS_ECHO_ERR_INVALID);
    assert_int_equal(uds_echo_client_shutdown(NULL), UDS_ECHO_ERR_INVALID);
    uds_echo_client_close(NULL);
}

/* P10: decided before a byte is sent. */
static void trust(void **state)
{
    static const struct {
        uds_echo_trust trust;
        long uid, server;
        uds_echo_error error;
    } cases[] = {{UDS_ECHO_TRUST_ANY, 7, 8, UDS_ECHO_OK},
                 {UDS_ECHO_TRUST_UID, 1000, 1000, UDS_ECHO_OK},
                 {UDS_ECHO_TRUST_UID, 1000, 0, UDS_ECHO_ERR_UNTRUSTED},
                 {UDS_ECHO_TRUST_UID_OR_ROOT, 1000, 0, UDS_ECHO_OK},
                 {UDS_ECHO_TRUST_UID_OR_ROOT, 1000, 1001, UDS_ECHO_ERR_UNTRUSTED}};
    uds_echo_client_desc desc;
    uds_echo_client client;
    uds_echo_failure why;
    size_t i;
    (void)state;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fake_reset();
        fake.uid = cases[i].server;
        (void)fake_put_live(PATH, SOCK_STREAM, 1);
        fake_set_mode(PATH, 0777);
        fake.uid = 1000;
        memset(&desc, 0, sizeof desc);
        desc.path = PATH;
        desc.trust = cases[i].trust;
        desc.uid = cases[i].uid;
        assert_int_equal(uds_echo_client_open(&client, &desc, &why), cases[i].error);
        if (cases[i].error) assert_int_equal(why.uid, cases[i].server);
        if (cases[i].error) assert_int_equal(why.pid, 4711);
        assert_int_equal(fake_calls_of(FAKE_send), 0);
        uds_echo_client_close(&client);
        uds_echo_client_close(&client);
    }
}

static void exchange_resumes(void **state)
{
    uds_echo_client client = connected();
    char in[30];
    uds_echo_io io = {"0123456789012345678901234567890123456789", 40, 0, in, 30, 0};
    (void)state;
    assert_int_equal(uds_echo_client_exchange(&client, &io, 20), UDS_ECHO_ERR_TIMEOUT);
    assert_int_equal(io.sent, 40);
    script = "s";
    assert_int_equal(uds_echo_client_exchange(&client, &io, 20), UDS_ECHO_ERR_TIMEOUT);
    assert_int_equal(io.got, 10);
    script = "ss";
    assert_int_equal(uds_echo_client_exchange(&client, &io, 20), UDS_ECHO_OK);
    assert_memory_equal(in, "012345678901234567890123456789", 30);
    assert_int_equal(uds_echo_client_shutdown(&client), UDS_ECHO_OK);
    assert_int_equal(uds_echo_client_shutdown(&client), UDS_ECHO_OK);
    assert_int_equal(fake_calls_of(FAKE_shutdown), 1);
    io.sent = 0;
    assert_int_equal(uds_echo_client_exchange(&client, &io, 20), UDS_ECHO_ERR_INVALID); /* after finish */
    io.sent = 40;
    io.got = 0;
    script = "e";
    assert_int_equal(uds_echo_client_exchange(&client, &io, 20), UDS_ECHO_ERR_UNEXPECTED_EOF);
    assert_int_equal(uds_echo_client_exchange(&client, &io, 20), UDS_ECHO_ERR_UNEXPECTED_EOF);
    uds_echo_client_close(&client);
    fake_peer_close(peer);
}

/* A name that no address holds, not even from its folder, is told without asking the system to connect. */
static void a_name_too_long_for_any_address(void **state)
{
    char path[230] = "/w/";
    uds_echo_client_desc desc;
    uds_echo_client client;
    uds_echo_failure why;
    (void)state;
    memset(path + 3, 'd', 100);
    path[103] = '\0';
    fake_put_dir(path);
    path[103] = '/';
    memset(path + 104, 'n', 120);
    memset(&desc, 0, sizeof desc);
    desc.path = path;
    assert_int_equal(uds_echo_client_open(&client, &desc, &why), UDS_ECHO_ERR_BAD_PATH);
    assert_int_equal(fake_calls_of(FAKE_connect), 0);
}

static void exchange_full(void **state)
{
    uds_echo_client client;
    char in[5], out[100];
    uds_echo_io io = {out, sizeof out, 0, in, sizeof in, 0};
    (void)state;
    memset(out, 'o', sizeof out);
    fake.queue_bytes = 16;
    client = connected();
    script = "s";
    assert_int_equal(uds_echo_client_exchange(&client, &io, 1000), UDS_ECHO_ERR_BUFFER_FULL);
    assert_int_equal(io.got, 5);
    io.got = 0; /* there is room again, and more comes out of it */
    script = "rrrrrrrrrrrrrrr";
    got_size = 0;
    assert_int_equal(uds_echo_client_exchange(&client, &io, 1000), UDS_ECHO_OK);
    assert_int_equal(io.sent, 100);
    uds_echo_client_close(&client);
    fake_peer_close(peer);
}

static void exchange_one_way(void **state)
{
    uds_echo_client client = connected();
    char in[10];
    uds_echo_io out_only = {"message", 7, 0, NULL, 0, 0}, in_only = {NULL, 0, 0, in, 10, 0},
                bad = {NULL, 5, 0, in, 5, 0};
    (void)state;
    assert_int_equal(uds_echo_client_exchange(&client, &out_only, 0), UDS_ECHO_OK);
    script = "s";
    assert_int_equal(uds_echo_client_exchange(&client, &in_only, 50), UDS_ECHO_OK);
    assert_int_equal(uds_echo_client_exchange(&client, &bad, 0), UDS_ECHO_ERR_INVALID);
    out_only.sent = 8;
    assert_int_equal(uds_echo_client_exchange(&client, &out_only, 0), UDS_ECHO_ERR_INVALID);
    out_only.sent = 0;
    assert_int_equal(uds_echo_client_exchange(&client, &out_only, -2), UDS_ECHO_ERR_INVALID);
    fake_peer_close(peer);
    assert_int_equal(uds_echo_client_exchange(&client, &out_only, 0), UDS_ECHO_ERR_RESET);
    in_only.got = 0;
    assert_int_equal(uds_echo_client_exchange(&client, &in_only, 0), UDS_ECHO_ERR_RESET);
    uds_echo_client_close(&client);
}

/* A question and its answer are one send, one poll, one recv. */
static void calls_of_a_round_trip(void **state)
{
    uds_echo_client client = connected();
    char in[10];
    uds_echo_io io = {"message", 7, 0, in, 10, 0};
    unsigned long sends = fake_calls_of(FAKE_send), polls = fake_calls_of(FAKE_poll), recvs = fake_calls_of(FAKE_recv);
    (void)state;
    script = "s";
    assert_int_equal(uds_echo_client_exchange(&client, &io, -1), UDS_ECHO_OK);
    assert_int_equal(fake_calls_of(FAKE_send) - sends, 1);
    assert_int_equal(fake_calls_of(FAKE_poll) - polls, 1);
    assert_int_equal(fake_calls_of(FAKE_recv) - recvs, 1);
    uds_echo_client_close(&client);
    fake_peer_close(peer);
}

/* Client and server, both the header's, through windows of a few bytes. */
static void client_and_server_together(void **state)
{
    static char out[5000], in[5000];
    size_t window, i, n;
    (void)state;
    for (i = 0; i < sizeof out; i++) out[i] = (char)(i * 31 + i / 97);
    for (window = 1; window < 200; window = window * 3 + 1) {
        uds_echo_server_desc desc = plain_desc();
        uds_echo_server *server;
        fake_reset();
        fake.queue_bytes = window;
        fake.calls_max = 10000000;
        server = open_server(&desc);
        fake.world = step_server;
        fake.user = server;
        memset(in, 0, sizeof in);
        assert_int_equal(uds_echo_call(PATH, out, sizeof out, in, sizeof in, &n, 1000, NULL), UDS_ECHO_OK);
        assert_int_equal(n, sizeof out);
        assert_memory_equal(in, out, sizeof out);
        fake.world = NULL;
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
        fake_finish();
        assert_lawful();
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static int polls_left;

static void answer_at_poll(fake_call what)
{
    if (what == FAKE_poll && --polls_left == 0) (void)fake_peer_send(peer, "0123456789", 10);
}

/* With busy-poll an answer that is there is taken without a sleep; one that is late is slept for. */
static void busy_poll(void **state)
{
    uds_echo_client_desc desc;
    uds_echo_client client;
    uds_echo_failure why;
    uds_echo_io io;
    char reply[10];
    unsigned long before, from, offset;
    long long began;
    (void)state;
    listener = fake_put_live(PATH, SOCK_STREAM, 1);
    fake_set_mode(PATH, 0777);
    memset(&desc, 0, sizeof desc);
    desc.path = PATH;
    desc.busy_poll_us = 1000001;
    assert_int_equal(uds_echo_client_open(&client, &desc, &why), UDS_ECHO_ERR_INVALID);
    assert_string_equal(why.call, "desc.busy_poll_us");
    desc.busy_poll_us = -2;
    assert_int_equal(uds_echo_client_open(&client, &desc, &why), UDS_ECHO_ERR_INVALID);
    desc.busy_poll_us = 5000;
    assert_int_equal(uds_echo_client_open(&client, &desc, &why), UDS_ECHO_OK);
    peer = fake_peer_accept(listener);
    fake.calls_per_ms = 10;
    memset(&io, 0, sizeof io);
    io.in = reply;
    io.in_size = sizeof reply;

    before = fake_calls_of(FAKE_poll);
    assert_int_equal(fake_peer_send(peer, "0123456789", 10), 10);
    assert_int_equal(uds_echo_client_exchange(&client, &io, 1000), UDS_ECHO_OK);
    assert_in_range(fake_calls_of(FAKE_poll) - before, 0, 1);

    polls_left = 5;
    io.got = 0;
    before = fake_calls_of(FAKE_poll);
    fake.before = answer_at_poll;
    assert_int_equal(uds_echo_client_exchange(&client, &io, 1000), UDS_ECHO_OK);
    assert_int_equal(fake_calls_of(FAKE_poll) - before, 5); /* the first that finds something is the last */
    fake.before = NULL;

    fake.world = play;
    script = "s";
    io.got = 0;
    before = fake_calls_of(FAKE_poll);
    assert_int_equal(uds_echo_client_exchange(&client, &io, 1000), UDS_ECHO_OK);
    assert_in_range(fake_calls_of(FAKE_poll) - before, 20, 60);

    began = fake_now_ms();
    io.got = 0;
    assert_int_equal(uds_echo_client_exchange(&client, &io, 20), UDS_ECHO_ERR_TIMEOUT);
    assert_in_range(fake_now_ms() - began, 20, 21);

    from = fake_calls();
    (void)uds_echo_client_exchange(&client, &io, 20);
    for (offset = 1; offset < 20; offset++) { /* without a clock it neither asks for ever nor waits for ever */
        if (fake_call_at(from + offset) != FAKE_clock_gettime) continue;
        before = fake_calls_of(FAKE_poll);
        fake_fault(fake_calls() + offset, EINVAL, 1);
        assert_int_equal(uds_echo_client_exchange(&client, &io, 20), UDS_ECHO_ERR_TIMEOUT);
        assert_true(fake_fault_happened());
        assert_in_range(fake_calls_of(FAKE_poll) - before, 1, 1 + offset);
        fake_fault(0, 0, 0);
    }
    uds_echo_client_close(&client);
    fake_peer_close(peer);
}

/* An error names the argument as the caller knows it. */
static void paths_go_by_their_names(void **state)
{
    uds_echo_client_desc desc;
    uds_echo_client client;
    uds_echo_failure why;
    char far[400];
    (void)state;
    memset(&desc, 0, sizeof desc);
    memset(far, 'f', sizeof far - 1);
    memcpy(far, "/w/", 3);
    far[150] = '\0';
    assert_int_equal(uds_echo_call(NULL, "q", 1, NULL, 0, NULL, 10, &why), UDS_ECHO_ERR_INVALID);
    assert_string_equal(why.call, "path");
    assert_int_equal(uds_echo_call(far, "q", 1, NULL, 0, NULL, 10, &why), UDS_ECHO_ERR_BAD_PATH);
    assert_string_equal(why.call, "path");
    assert_int_equal(uds_echo_client_open(&client, &desc, &why), UDS_ECHO_ERR_INVALID);
    assert_string_equal(why.call, "desc.path");
    desc.path = far;
    assert_int_equal(uds_echo_client_open(&client, &desc, &why), UDS_ECHO_ERR_BAD_PATH);
    assert_string_equal(why.call, "desc.path");
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(call_and_answer),
                                       TEST(call_with_nothing),
                                       TEST(truncated),
                                       TEST(both_ways_at_once),
                                       TEST(timeout_is_kept),
                                       TEST(full_queue),
                                       TEST(one_deadline_for_all),
                                       TEST(full_queue_and_no_time),
                                       TEST(the_server_leaves),
                                       TEST(connect_failures),
                                       TEST(a_name_too_long_for_any_address),
                                       TEST(trust),
                                       TEST(exchange_resumes),
                                       TEST(exchange_full),
                                       TEST(exchange_one_way),
                                       TEST(calls_of_a_round_trip),
                                       TEST(client_and_server_together),
                                       TEST(busy_poll),
                                       TEST(paths_go_by_their_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
