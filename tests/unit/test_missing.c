/* What bugs that were planted without reading the tests showed to be missing. */
#include "harness.h"
#include "served.h"

static uds_echo_failure why;

/* ---- the path ------------------------------------------------------------------------------------------------------ */

static int binds;
static unsigned long first_number, foreign;
static int removals;

/* The first attempt loses its path to somebody, so its file is given up and its number is free. A live server gets that
   number, and moves its socket over the temporary name of the second attempt. */
static void reuse_the_number(fake_call what)
{
    if (what == FAKE_bind) binds++;
    if (what == FAKE_unlinkat) removals++;
    if (binds == 1 && what == FAKE_listen) {
        first_number = fake_inode(PATH "~0");
        fake_put_file(PATH);
    }
    if (binds == 2 && what == FAKE_open && !foreign) {
        fake_remove(PATH "~0");
        (void)fake_put_live(PATH "~0", SOCK_STREAM, 1);
        fake_set_identity(PATH "~0", 1, first_number);
        foreign = fake_inode(PATH "~0");
    }
    if (binds == 1 && removals) fake_remove(PATH); /* and the path is free again */
}

static void a_rival_that_reuses_inode_numbers(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    (void)state;
    binds = removals = 0;
    first_number = foreign = 0;
    fake.before = reuse_the_number;
    assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_OK);
    assert_true(first_number != 0 && foreign == first_number);
    assert_int_equal(fake_inode(PATH "~0"), foreign);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    assert_int_equal(fake_inode(PATH "~0"), foreign);
}

/* The lock is held by a neighbour as the drain begins: grace runs again after it came late, for those who found the path
   just before. */
static void a_peer_that_comes_as_the_lock_does(void **state)
{
    uds_echo_server *server;
    int peer = -1, steps;
    (void)state;
    server = serve(plain_desc());
    fake.foreign_lock = 1;
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    for (steps = 0; steps < 4; steps++) (void)uds_echo_server_step(server, 10);
    assert_true(fake_exists(PATH));
    fake.foreign_lock = 0;
    while (fake_exists(PATH)) {
        peer = fake_peer_connect(PATH); /* in the queue when the path goes */
        (void)uds_echo_server_step(server, 10);
    }
    assert_true(peer >= 0);
    say(peer, "hello");
    until_stopped(server);
    assert_string_equal(heard(peer), "hello");
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    fake_peer_close(peer);
}

/* ---- connections --------------------------------------------------------------------------------------------------- */

/* Accepting pauses for want of descriptors; a connection that closes ends the pause, and no time has to pass. */
static void a_close_ends_the_pause(void **state)
{
    uds_echo_server *server = serve(plain_desc());
    int first = joined(server), second;
    long long then;
    (void)state;
    fake.descriptors_max = fake_open_descriptors();
    second = fake_peer_connect(PATH);
    settle(server);
    assert_int_equal(stats_of(server).pauses_failed, 1);
    then = fake_now_ms();
    fake_peer_close(first);
    settle(server);
    assert_int_equal(fake_now_ms(), then);
    assert_int_equal(stats_of(server).accepted, 2);
    say(second, "hello");
    settle(server);
    assert_string_equal(heard(second), "hello");
    fake_peer_close(second);
    fake.descriptors_max = 64;
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* A signal in each look of a busy-poll: the exchange goes on. */
static void signals_in_a_busy_poll(void **state)
{
    uds_echo_server *server = serve(plain_desc());
    uds_echo_client_desc desc;
    uds_echo_client client;
    char in[8];
    uds_echo_io io = {"hello", 5, 0, NULL, 5, 0};
    (void)state;
    memset(&desc, 0, sizeof desc);
    desc.path = PATH;
    desc.busy_poll_us = 1000;
    fake.calls_per_ms = 50;
    fake.world = step_server;
    fake.user = server;
    assert_int_equal(uds_echo_client_open(&client, &desc, &why), UDS_ECHO_OK);
    io.in = in;
    fail_next(FAKE_poll, 0, 5, EINTR);
    assert_int_equal(uds_echo_client_exchange(&client, &io, 1000), UDS_ECHO_OK);
    assert_memory_equal(in, "hello", 5);
    uds_echo_client_close(&client);
    fake.world = NULL;
    fake.before = NULL;
    settle(server);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

static uds_echo_verdict close_at_once(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)conn, (void)m, (void)user;
    return UDS_ECHO_REPLY_AND_CLOSE;
}

/* REPLY_AND_CLOSE, and more has come that needs memory to be kept: it is not kept, and the end is in order. */
static void bytes_after_the_last_reply(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer;
    (void)state;
    desc.frame = lines;
    desc.on_message = close_at_once;
    server = serve(desc);
    peer = joined(server);
    say(peer, "bye\nand more\nand");
    fail_next(FAKE_malloc, 0, 5, ENOMEM);
    settle(server);
    fake.before = NULL;
    assert_string_equal(heard(peer), "bye\n");
    fake_peer_close(peer);
    settle(server);
    closed_for(server, UDS_ECHO_OK);
}

static int wakes;

static void wake_again(uds_echo_server *server, void *user)
{
    (void)user;
    wakes++;
    uds_echo_server_wake(server);
}

/* Every wait brings an event, and the drain has its end all the same. */
static void a_wake_that_wakes(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    long long began;
    int peer;
    (void)state;
    desc.on_wake = wake_again;
    desc.on_message = later_if_asked;
    desc.drain_ms = 200;
    fake.calls_per_ms = 5;
    server = serve(desc);
    peer = joined(server);
    say(peer, "?");
    settle(server);
    wakes = 0;
    uds_echo_server_wake(server);
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    began = fake_now_ms();
    until_stopped(server);
    assert_in_range(fake_now_ms() - began, 195, 230);
    assert_true(wakes > 10);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    fake_peer_close(peer);
}

/* An id past the last slot, while all are taken. */
static void an_id_past_the_last_slot(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peers[8], i;
    (void)state;
    server = serve(desc);
    for (i = 0; i < 8; i++) peers[i] = joined(server);
    for (i = 0; i < 4; i++) {
        assert_null(uds_echo_server_find(server, (uds_echo_id)1 << 32 | (unsigned)(8 + i)));
        assert_null(uds_echo_server_find(server, (unsigned)(8 + i)));
    }
    for (i = 0; i < 8; i++) fake_peer_close(peers[i]);
    settle(server);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* Slots that are freed in one order, and in another, and taken again: everybody is answered. */
static void slots_in_any_order(void **state)
{
    static const int orders[2][4] = {{2, 0, 3, 1}, {0, 3, 1, 2}};
    uds_echo_server *server = serve(plain_desc());
    int peers[4], round, i;
    (void)state;
    for (round = 0; round < 6; round++) {
        for (i = 0; i < 4; i++) peers[i] = joined(server);
        for (i = 0; i < 4; i++) say(peers[i], "hello");
        settle(server);
        for (i = 0; i < 4; i++) assert_string_equal(heard(peers[i]), "hello");
        for (i = 0; i < 4; i++) {
            fake_peer_close(peers[orders[round % 2][i]]);
            settle(server);
        }
        assert_int_equal(stats_of(server).connections, 0);
    }
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* Nobody is idle where idle_ms is off, though eviction keeps the order: the server may sleep. */
static void eviction_without_idle_ms_sleeps(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer;
    (void)state;
    desc.when_full = UDS_ECHO_FULL_EVICT;
    desc.idle_ms = 0;
    server = serve(desc);
    peer = joined(server);
    assert_int_equal(uds_echo_server_timeout(server), -1);
    fake_peer_close(peer);
    settle(server);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

static int handled;
static uds_echo_error send_said;

static uds_echo_verdict push_to_the_peer(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)m, (void)user;
    handled++;
    send_said = uds_echo_conn_send(conn, "x", 1);
    return UDS_ECHO_NO_REPLY;
}

/* Two messages in one block, from a peer that is gone: once a push said so, the handler does not run for it again. */
static void a_peer_that_is_gone_between_two_messages(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer;
    (void)state;
    desc.frame = lines;
    desc.on_message = push_to_the_peer;
    server = serve(desc);
    peer = joined(server);
    handled = 0;
    say(peer, "one\ntwo\n");
    fake_peer_close(peer);
    settle(server);
    assert_int_equal(send_said, UDS_ECHO_ERR_RESET);
    assert_int_equal(handled, 1);
    closed_for(server, UDS_ECHO_ERR_RESET);
}

static uds_echo_id victim;

static uds_echo_verdict close_the_victim(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)m, (void)user;
    uds_echo_conn_close(uds_echo_server_find(uds_echo_conn_server(conn), victim));
    return UDS_ECHO_NO_REPLY;
}

static int note_the_victim(uds_echo_conn *conn, void *user)
{
    (void)user;
    victim = uds_echo_conn_id(conn);
    return 0;
}

/* A handler closes another connection, whose peer breaks off within a message in the same step: it was the handler who
   closed it. */
static void who_closed_it(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int first, second;
    (void)state;
    desc.frame = lines;
    desc.on_message = close_the_victim;
    desc.on_open = note_the_victim;
    server = serve(desc);
    first = joined(server);
    second = joined(server);
    say(first, "close\n");
    say(second, "half");
    fake_peer_close(second);
    settle(server);
    assert_int_equal(ended, 1);
    assert_int_equal(ends[0], UDS_ECHO_OK);
    fake_peer_close(first);
    settle(server);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* ---- text ---------------------------------------------------------------------------------------------------------- */

static int is_whole(const char *text)
{
    size_t i = 0, size = strlen(text), length;
    for (; i < size; i += length) {
        length = (unsigned char)text[i] < 0x80 ? 1 : ue_utf8((const unsigned char *)text + i, size - i);
        if (!length) return 0;
    }
    return 1;
}

/* A path that is shortened, and a text that is cut: each at every alignment of characters of 2, 3 and 4 bytes. */
static void cuts_at_every_alignment(void **state)
{
    static const char *const characters[] = {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    char path[400], text[1200];
    uds_echo_failure failure;
    size_t c, shift, i, n, room;
    (void)state;
    ue_fail(&failure, UDS_ECHO_ERR_TIMEOUT, 0, "connect");
    for (c = 0; c < 3; c++) {
        const size_t length = strlen(characters[c]);
        for (shift = 0; shift < 8; shift++) {
            memset(path, 'a', shift);
            for (i = shift; i + length < 320 + shift; i += length) memcpy(path + i, characters[c], length);
            path[i] = '\0';
            n = uds_echo_explain(&failure, path, text, sizeof text);
            assert_true(n < sizeof text && is_whole(text));
            assert_null(strstr(text, "\\x"));
            for (room = 1; room < 40; room++) {
                (void)uds_echo_explain(&failure, path, text, room);
                assert_true(strlen(text) < room && is_whole(text));
                (void)uds_echo_escape(path, i, text, room);
                assert_true(strlen(text) < room && is_whole(text));
            }
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(a_rival_that_reuses_inode_numbers),
                                       TEST(a_peer_that_comes_as_the_lock_does),
                                       TEST(a_close_ends_the_pause),
                                       TEST(signals_in_a_busy_poll),
                                       TEST(bytes_after_the_last_reply),
                                       TEST(a_wake_that_wakes),
                                       TEST(an_id_past_the_last_slot),
                                       TEST(slots_in_any_order),
                                       TEST(eviction_without_idle_ms_sleeps),
                                       TEST(a_peer_that_is_gone_between_two_messages),
                                       TEST(who_closed_it),
                                       TEST(cuts_at_every_alignment)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
