/* What forced jumps and deleted statements showed to be missing. */
#include "harness.h"
#include "served.h"

/* ---- connections --------------------------------------------------------------------------------------------------- */

static uds_echo_id last_opened;

static int note_the_last(uds_echo_conn *conn, void *user)
{
    (void)user;
    last_opened = uds_echo_conn_id(conn);
    return 0;
}

static uds_echo_verdict close_the_last(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)m, (void)user;
    uds_echo_conn_close(uds_echo_server_find(uds_echo_conn_server(conn), last_opened));
    return UDS_ECHO_NO_REPLY;
}

/* Half a message is kept of a connection. Then a handler closes that connection, and its peer goes in the same step: it was
   the handler who closed it, and nothing was cut in the middle. */
static void a_close_comes_before_the_event(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int first, second;
    (void)state;
    desc.frame = lines;
    desc.on_message = close_the_last;
    desc.on_open = note_the_last;
    server = serve(desc);
    first = joined(server);
    second = joined(server);
    say(second, "half");
    settle(server);
    say(first, "close\n");
    fake_peer_close(second);
    settle(server);
    assert_int_equal(ended, 1);
    assert_int_equal(ends[0], UDS_ECHO_OK);
    fake_peer_close(first);
    settle(server);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

static int framed;

static size_t counted_lines(const unsigned char *bytes, size_t size, void *user)
{
    framed++;
    return lines(bytes, size, user);
}

/* The frame is asked once after each piece of a message, and not at each event. */
static void a_piece_is_framed_once(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer, i;
    (void)state;
    desc.frame = counted_lines;
    server = serve(desc);
    peer = joined(server);
    for (framed = 0, i = 1; i <= 4; i++) {
        say(peer, "piece");
        settle(server);
        assert_int_equal(framed, i);
    }
    say(peer, "\n");
    settle(server);
    assert_int_equal(framed, 5);
    assert_string_equal(heard(peer), "piecepiecepiecepiece\n");
    fake_peer_close(peer);
    settle(server);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

static uds_echo_error send_said;
static uds_echo_id asker;

/* Of "!...\n": as many bytes are pushed, and the reply is deferred; of the others it is an echo or, for "?", deferred. */
static uds_echo_verdict push_and_defer(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)user;
    asker = uds_echo_conn_id(conn);
    if (m->data[0] != '!') return m->data[0] == '?' ? UDS_ECHO_DEFER : UDS_ECHO_REPLY;
    send_said = uds_echo_conn_send(conn, m->data, m->size);
    return UDS_ECHO_DEFER;
}

/* The socket of a slow reader is full, and a push as long as a message waits. There is room for the deferred reply. */
static void a_deferred_reply_after_a_push_that_waits(void **state)
{
    static char text[65];
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer;
    (void)state;
    memset(text, 'x', 64);
    fake.queue_bytes = 64;
    desc.pending_max = 192;
    desc.on_message = push_and_defer;
    server = serve(desc);
    peer = joined(server);
    say(peer, text);
    settle(server);
    text[0] = '!';
    say(peer, text);
    settle(server);
    assert_int_equal(send_said, UDS_ECHO_OK);
    assert_int_equal(stats_of(server).pending, 64);
    assert_int_equal(uds_echo_conn_send(uds_echo_server_find(server, asker), text, 64), UDS_ECHO_OK);
    assert_int_equal(stats_of(server).pending, 128);
    text[0] = 'x';
    assert_string_equal(heard(peer), text);
    text[0] = '!';
    settle(server);
    assert_string_equal(heard(peer), text);
    settle(server);
    assert_string_equal(heard(peer), text);
    fake_peer_close(peer);
    settle(server);
    closed_for(server, UDS_ECHO_OK);
}

/* Another connection waits for a deferred reply. What is left of pending_max is just enough for a push and a reply, and is
   not taken twice for the connection whose handler runs. */
static void room_for_a_push_beside_a_deferred_reply(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int first, second;
    (void)state;
    desc.pending_max = 192;
    desc.on_message = push_and_defer;
    server = serve(desc);
    first = joined(server);
    second = joined(server);
    say(first, "?");
    settle(server);
    send_said = UDS_ECHO_ERR_INVALID;
    say(second, "!");
    settle(server);
    assert_int_equal(send_said, UDS_ECHO_OK);
    assert_string_equal(heard(second), "!");
    fake_peer_close(first);
    fake_peer_close(second);
    settle(server);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(a_close_comes_before_the_event), TEST(a_piece_is_framed_once),
                                       TEST(a_deferred_reply_after_a_push_that_waits),
                                       TEST(room_for_a_push_beside_a_deferred_reply)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
