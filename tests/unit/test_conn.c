/* Every arrow of the connection's state machine, seen from both ends. */
#include "harness.h"
#include "served.h"

static uds_echo_id last_id;
static uds_echo_verdict verdict; /* what the handler says next */

static uds_echo_verdict on_message(uds_echo_conn *conn, uds_echo_message *message, void *user)
{
    (void)user;
    last_id = uds_echo_conn_id(conn);
    assert_int_equal(message->capacity, 64);
    assert_ptr_equal(uds_echo_server_find(uds_echo_conn_server(conn), last_id), conn);
    return verdict;
}

/* With that handler, unless there is one. */
static uds_echo_server *serve_with(uds_echo_server_desc desc)
{
    verdict = UDS_ECHO_REPLY;
    if (!desc.on_message) desc.on_message = on_message;
    return serve(desc);
}

static unsigned state_of(const uds_echo_server *server)
{
    return server->conns[0].state;
}

static void open_read_answer_half_close(void **state)
{
    uds_echo_server *server = serve_with(plain_desc());
    int peer = joined(server);
    (void)state;
    assert_int_equal(state_of(server), UE_READING);
    say(peer, "hello");
    settle(server);
    assert_string_equal(heard(peer), "hello");
    assert_int_equal(state_of(server), UE_READING);
    fake_peer_shutdown(peer, SHUT_WR);
    settle(server);
    assert_int_equal(fake_peer_recv(peer, &peer, 0), 0);
    closed_for(server, UDS_ECHO_OK);
    fake_peer_close(peer);
}

/* Law 2: while an answer waits nothing more is read, and it costs what did not fit. */
static void slow_reader_waits_alone(void **state)
{
    uds_echo_server *server;
    int slow, other;
    (void)state;
    fake.queue_bytes = 40;
    server = serve_with(plain_desc());
    slow = joined(server);
    other = joined(server);
    say(slow, "0123456789012345678901234567890123456789");
    settle(server);
    say(slow, "abcdefghij");
    settle(server); /* its window is full of the first answer: the second waits */
    assert_int_equal(state_of(server), UE_SENDING);
    assert_int_equal(stats_of(server).pending, 10);
    say(slow, "ABCDEFGHIJ");
    settle(server);
    assert_int_equal(stats_of(server).bytes_in, 50); /* not read */
    say(other, "quick");
    settle(server);
    assert_string_equal(heard(other), "quick");
    assert_string_equal(heard(slow), "0123456789012345678901234567890123456789");
    settle(server);
    assert_string_equal(heard(slow), "abcdefghijABCDEFGHIJ");
    assert_int_equal(state_of(server), UE_READING);
    assert_int_equal(stats_of(server).pending, 0);
    fake_peer_close(slow);
    fake_peer_close(other);
    settle(server);
    assert_int_equal(ended, 2);
    (void)uds_echo_server_close(server);
}

/* P28: sent with MSG_OOB, before the connection was accepted and after. */
static void an_urgent_byte_is_one_of_the_stream(void **state)
{
    uds_echo_server *server = serve_with(plain_desc());
    int peer = fake_peer_connect(PATH);
    (void)state;
    say(peer, "a");
    assert_int_equal(fake_peer_send_urgent(peer, 'b'), 1);
    say(peer, "c");
    settle(server);
    assert_int_equal(fake_peer_send_urgent(peer, 'd'), 1);
    say(peer, "e");
    settle(server);
    assert_string_equal(heard(peer), "abcde");
    fake_peer_close(peer);
    (void)uds_echo_server_close(server);
}

/* A peer that connects and sends at once costs no wait of its own. */
static void a_request_that_is_there_is_read_at_once(void **state)
{
    uds_echo_server *server = serve_with(plain_desc());
    int peer = fake_peer_connect(PATH);
    (void)state;
    say(peer, "hello");
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    assert_string_equal(heard(peer), "hello");
    fake_peer_close(peer);
    settle(server);
    (void)uds_echo_server_close(server);
}

/* However much it sends without reading, what waits for it is never more than one message. */
static void a_flood_waits_in_the_kernel(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer, i;
    (void)state;
    fake.queue_bytes = 20;
    desc.message_max = 8;
    desc.on_message = NULL;
    server = serve_with(desc);
    server->desc.on_message = NULL;
    peer = joined(server);
    for (i = 0; i < 20; i++) {
        (void)fake_peer_send(peer, "01234567890123456789", 20);
        settle(server);
    }
    assert_in_range(stats_of(server).pending_peak, 1, 8);
    assert_int_equal(stats_of(server).bytes_in, 20 + stats_of(server).pending_peak);
    fake_peer_close(peer);
    (void)uds_echo_server_close(server);
}

static void slow_reader_half_closes(void **state)
{
    uds_echo_server *server;
    int peer;
    (void)state;
    fake.queue_bytes = 30;
    server = serve_with(plain_desc());
    peer = joined(server);
    say(peer, "012345678901234567890123456789");
    settle(server);
    say(peer, "the rest of it");
    settle(server);
    fake_peer_shutdown(peer, SHUT_WR);
    settle(server);
    assert_int_equal(ended, 0); /* it is owed an answer */
    assert_int_equal(strlen(heard(peer)), 30);
    settle(server);
    assert_string_equal(heard(peer), "the rest of it");
    closed_for(server, UDS_ECHO_OK);
    fake_peer_close(peer);
}

static void reader_goes_away_with_an_answer_waiting(void **state)
{
    uds_echo_server *server;
    int peer;
    (void)state;
    fake.queue_bytes = 30;
    server = serve_with(plain_desc());
    peer = joined(server);
    say(peer, "012345678901234567890123456789");
    settle(server);
    say(peer, "more");
    settle(server);
    assert_int_equal(state_of(server), UE_SENDING);
    fake_peer_close(peer);
    settle(server);
    assert_int_equal(stats_of(server).pending, 0);
    closed_for(server, UDS_ECHO_ERR_RESET);
}

/* DEFER: not read, not spun on, and the half-close waits for the answer. */
static void later_is_waited_for(void **state)
{
    uds_echo_server *server = serve_with(plain_desc());
    int peer = joined(server);
    unsigned long waits;
    (void)state;
    verdict = UDS_ECHO_DEFER;
    say(peer, "question");
    settle(server);
    assert_int_equal(state_of(server), UE_WAITING);
    say(peer, "next");
    fake_peer_shutdown(peer, SHUT_WR);
    settle(server);
    assert_int_equal(stats_of(server).messages, 1);
    waits = (unsigned long)stats_of(server).waits;
    fake_sleep(1000);
    settle(server); /* every step is asked for here, but none of them may find an event */
    assert_int_equal(server->conns[0].interest, 0);
    assert_true(stats_of(server).waits > waits);
    verdict = UDS_ECHO_REPLY;
    assert_int_equal(uds_echo_conn_send(uds_echo_server_find(server, last_id), "answer ", 7), UDS_ECHO_OK);
    assert_int_equal(uds_echo_server_timeout(server), 0);
    settle(server);
    assert_string_equal(heard(peer), "answer next");
    closed_for(server, UDS_ECHO_OK);
    fake_peer_close(peer);
}

static void later_paid_with_nothing(void **state)
{
    uds_echo_server *server = serve_with(plain_desc());
    int peer = joined(server);
    (void)state;
    verdict = UDS_ECHO_DEFER;
    say(peer, "question");
    settle(server);
    verdict = UDS_ECHO_REPLY;
    assert_int_equal(uds_echo_conn_send(uds_echo_server_find(server, last_id), NULL, 0), UDS_ECHO_OK);
    settle(server);
    say(peer, "next");
    settle(server);
    assert_string_equal(heard(peer), "next");
    fake_peer_close(peer);
    settle(server);
    closed_for(server, UDS_ECHO_OK);
}

static void peer_goes_away_while_we_think(void **state)
{
    uds_echo_server *server = serve_with(plain_desc());
    int peer = joined(server);
    (void)state;
    verdict = UDS_ECHO_DEFER;
    say(peer, "question");
    settle(server);
    fake_peer_close(peer);
    settle(server); /* HUP comes unasked: no spin */
    assert_int_equal(ended, 0);
    assert_int_equal(uds_echo_conn_send(uds_echo_server_find(server, last_id), "answer", 6), UDS_ECHO_ERR_RESET);
    settle(server);
    closed_for(server, UDS_ECHO_ERR_RESET);
}

/* conn_close: every reply can be read by a peer that sends on, which gets neither EPIPE nor a reset. */
static void close_is_readable(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    char bytes[64];
    int peer, i;
    (void)state;
    desc.message_max = 4;
    server = serve_with(desc);
    server->desc.on_message = NULL;
    peer = joined(server);
    say(peer, "aaaabbbbccccddddeeeeffffgggghhhhiiiijjjjkkkkllllmmmmnnnnooooppppqqqqrrrrssssttttuuuuvvvv");
    uds_echo_conn_close(&server->conns[0]);
    for (i = 0; i < 100; i++) {
        settle(server);
        assert_int_equal(fake_peer_send(peer, "more", 4), 4);
    }
    while (fake_peer_recv(peer, bytes, sizeof bytes) > 0) continue;
    lingers_for(server, peer, UDS_ECHO_OK);
}

static void verdict_close_sends_first(void **state)
{
    uds_echo_server *server = serve_with(plain_desc());
    int peer = joined(server);
    (void)state;
    verdict = UDS_ECHO_REPLY_AND_CLOSE;
    say(peer, "last words");
    settle(server);
    assert_string_equal(heard(peer), "last words");
    lingers_for(server, peer, UDS_ECHO_OK);
}

/* More is queued than one step may read: the rest is thrown away in the next ones. */
static void lingering_takes_its_turns(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    char flood[256];
    int peer;
    (void)state;
    memset(flood, 'f', sizeof flood);
    desc.message_max = 4;
    server = serve_with(desc);
    server->desc.on_message = NULL;
    peer = joined(server);
    assert_int_equal(fake_peer_send(peer, flood, sizeof flood), sizeof flood);
    uds_echo_conn_close(&server->conns[0]);
    ue_run_todo(server);
    assert_int_equal(state_of(server), UE_LINGERING);
    assert_int_equal(fake_peer_send(peer, flood, sizeof flood), 16 * 4);
    settle(server);
    assert_int_equal(fake_peer_send(peer, flood, sizeof flood), sizeof flood);
    settle(server);
    lingers_for(server, peer, UDS_ECHO_OK);
}

static int refuse(uds_echo_conn *conn, void *user)
{
    (void)user;
    assert_int_equal(uds_echo_conn_send(conn, "too late", 8), UDS_ECHO_OK);
    return 1;
}

static void refusal_with_a_reason(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer;
    (void)state;
    desc.on_open = refuse;
    server = serve_with(desc);
    peer = fake_peer_connect(PATH);
    say(peer, "let me in");
    settle(server);
    assert_string_equal(heard(peer), "too late");
    assert_int_equal(fake_peer_recv(peer, &peer, 1), 0);
    assert_int_equal(stats_of(server).refused, 1);
    assert_int_equal(stats_of(server).connections, 1);
    say(peer, "why?");
    settle(server);
    fake_peer_close(peer);
    settle(server);
    assert_int_equal(ended, 0); /* on_close is for those that were welcome */
    assert_int_equal(stats_of(server).connections, 0);
    (void)uds_echo_server_close(server);
}

static void framing_over_any_split(void **state)
{
    static const char text[] = "a\nbcd\n\nefghijkl\n";
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    size_t i, cut;
    int peer;
    (void)state;
    desc.frame = lines;
    for (cut = 1; cut < sizeof text - 1; cut++) {
        char got[64] = "";
        server = serve_with(desc);
        peer = joined(server);
        for (i = 0; i < sizeof text - 1; i += cut) {
            size_t n = sizeof text - 1 - i < cut ? sizeof text - 1 - i : cut;
            assert_int_equal(fake_peer_send(peer, text + i, n), n);
            settle(server);
            (void)strcat(got, heard(peer));
        }
        assert_string_equal(got, text);
        assert_int_equal(stats_of(server).messages, 4);
        fake_peer_shutdown(peer, SHUT_WR);
        settle(server);
        closed_for(server, UDS_ECHO_OK);
        fake_peer_close(peer);
    }
}

/* Answers to messages that came together leave together. */
static void pipelined_answers_are_one_send(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    unsigned long sends;
    int peer;
    (void)state;
    desc.frame = lines;
    server = serve_with(desc);
    peer = joined(server);
    sends = fake_calls_of(FAKE_send);
    say(peer, "1\n2\n3\n4\n5\n6\n7\n8\n");
    settle(server);
    assert_string_equal(heard(peer), "1\n2\n3\n4\n5\n6\n7\n8\n");
    assert_int_equal(fake_calls_of(FAKE_send) - sends, 1);
    fake_peer_close(peer);
    (void)uds_echo_server_close(server);
}

static void partial_message_at_the_end(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer;
    (void)state;
    desc.frame = lines;
    server = serve_with(desc);
    peer = joined(server);
    say(peer, "whole\nhalf");
    settle(server);
    fake_peer_shutdown(peer, SHUT_WR);
    settle(server);
    assert_string_equal(heard(peer), "whole\n");
    closed_for(server, UDS_ECHO_ERR_UNEXPECTED_EOF);
    fake_peer_close(peer);
}

/* What was kept behind an answer that took its time has been answered to its last byte: that end is an orderly one. */
static void nothing_partial_at_the_end(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer;
    (void)state;
    desc.frame = lines;
    server = serve_with(desc);
    peer = joined(server);
    verdict = UDS_ECHO_DEFER;
    say(peer, "first\nsecond\n");
    settle(server);
    verdict = UDS_ECHO_REPLY;
    assert_int_equal(uds_echo_conn_send(uds_echo_server_find(server, last_id), "1\n", 2), UDS_ECHO_OK);
    settle(server);
    assert_string_equal(heard(peer), "1\nsecond\n");
    fake_peer_shutdown(peer, SHUT_WR);
    settle(server);
    closed_for(server, UDS_ECHO_OK);
    fake_peer_close(peer);
}

static void message_of_exactly_the_maximum(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    char text[66];
    int peer;
    (void)state;
    memset(text, 'm', sizeof text);
    text[63] = '\n';
    text[64] = '\0';
    desc.frame = lines;
    server = serve_with(desc);
    peer = joined(server);
    say(peer, text);
    settle(server);
    assert_string_equal(heard(peer), text);
    say(peer, "mm"); /* in pieces it is no longer than in one */
    settle(server);
    say(peer, text + 2);
    settle(server);
    assert_string_equal(heard(peer), text);
    text[63] = 'm';
    say(peer, text);
    say(peer, "\n");
    settle(server);
    assert_string_equal(heard(peer), "");
    lingers_for(server, peer, UDS_ECHO_ERR_TOO_LONG);
}

static size_t announced(const unsigned char *bytes, size_t size, void *user)
{
    (void)user;
    return size ? bytes[0] : 0;
}

/* A length that is known before the message is whole may be the maximum, too. */
static void length_that_is_announced_as_the_maximum(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    char text[65];
    int peer;
    (void)state;
    memset(text, 'm', sizeof text);
    text[0] = 64;
    text[64] = '\0';
    desc.frame = announced;
    server = serve_with(desc);
    peer = joined(server);
    assert_int_equal(fake_peer_send(peer, text, 1), 1);
    settle(server);
    say(peer, text + 1);
    settle(server);
    assert_string_equal(heard(peer), text);
    fake_peer_shutdown(peer, SHUT_WR);
    settle(server);
    closed_for(server, UDS_ECHO_OK);
    fake_peer_close(peer);
}

static void length_that_is_announced_too_long(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer;
    (void)state;
    desc.frame = announced;
    server = serve_with(desc);
    peer = joined(server);
    say(peer, "\x03"
              "ab"
              "\x41");
    settle(server);
    assert_string_equal(heard(peer), "\x03"
                                     "ab");
    lingers_for(server, peer, UDS_ECHO_ERR_TOO_LONG); /* at once, not when the 65 bytes have come */
}

static uds_echo_verdict too_much(uds_echo_conn *conn, uds_echo_message *message, void *user)
{
    (void)conn, (void)user;
    message->size = message->capacity + 1;
    return UDS_ECHO_REPLY;
}

/* What it was told is its own copy. */
static uds_echo_verdict too_much_room(uds_echo_conn *conn, uds_echo_message *message, void *user)
{
    (void)conn, (void)user;
    message->size = message->capacity += 1;
    return UDS_ECHO_REPLY;
}

static uds_echo_verdict elsewhere(uds_echo_conn *conn, uds_echo_message *message, void *user)
{
    static unsigned char mine[] = "mine";
    (void)conn, (void)user;
    message->data = mine;
    message->size = 4;
    return UDS_ECHO_REPLY;
}

static uds_echo_verdict nonsense(uds_echo_conn *conn, uds_echo_message *message, void *user)
{
    (void)conn, (void)message, (void)user;
    return (uds_echo_verdict)77;
}

static void handler_breaks_its_contract(void **state)
{
    uds_echo_verdict (*const breaks[])(uds_echo_conn *, uds_echo_message *, void *) = {too_much, too_much_room,
                                                                                       elsewhere, nonsense};
    int i;
    (void)state;
    for (i = 0; i < 4; i++) {
        uds_echo_server_desc desc = plain_desc();
        uds_echo_server *server;
        int peer;
        desc.on_message = breaks[i];
        server = serve_with(desc);
        peer = joined(server);
        say(peer, "x");
        settle(server);
        assert_string_equal(heard(peer), "");
        lingers_for(server, peer, UDS_ECHO_ERR_BAD_HANDLER);
    }
}

/* Law: what waits for one peer is bounded by a message, and a push that would pass it is told so. */
static void pushes_are_bounded(void **state)
{
    uds_echo_server *server;
    uds_echo_conn *conn;
    char full[64];
    int peer;
    (void)state;
    memset(full, 'p', sizeof full);
    fake.queue_bytes = 10;
    server = serve_with(plain_desc());
    peer = joined(server);
    conn = &server->conns[0];
    assert_int_equal(uds_echo_conn_send(conn, full, 65), UDS_ECHO_ERR_TOO_LONG);
    assert_int_equal(uds_echo_conn_send(conn, NULL, 5), UDS_ECHO_ERR_INVALID);
    assert_int_equal(uds_echo_conn_send(conn, full, 64), UDS_ECHO_OK);
    assert_int_equal(uds_echo_conn_send(conn, full, 10), UDS_ECHO_OK);
    assert_int_equal(uds_echo_conn_send(conn, full, 1), UDS_ECHO_ERR_WOULD_BLOCK);
    assert_int_equal(ue_unsent_size(conn), 64);
    assert_int_equal(stats_of(server).pending, 54 + UE_BLOCK);
    assert_int_equal(strlen(heard(peer)), 10);
    settle(server);
    assert_int_equal(uds_echo_conn_send(conn, full, 10), UDS_ECHO_OK);
    assert_int_equal(uds_echo_conn_send(conn, full, 1), UDS_ECHO_ERR_WOULD_BLOCK);
    fake_peer_close(peer);
    settle(server);
    closed_for(server, UDS_ECHO_ERR_RESET);
}

static void ids_outlive_slots(void **state)
{
    uds_echo_server *server = serve_with(plain_desc());
    int peer = joined(server);
    uds_echo_id first;
    (void)state;
    say(peer, "x");
    settle(server);
    first = last_id;
    assert_true(first != 0);
    uds_echo_conn_set_user(uds_echo_server_find(server, first), &first);
    fake_peer_close(peer);
    settle(server);
    assert_null(uds_echo_server_find(server, first));
    peer = joined(server);
    say(peer, "y");
    settle(server);
    assert_int_equal(first & 0xffffffff, last_id & 0xffffffff); /* the same slot */
    assert_null(uds_echo_conn_user(uds_echo_server_find(server, last_id)));
    assert_null(uds_echo_server_find(server, first));
    assert_non_null(uds_echo_server_find(server, last_id));
    assert_null(uds_echo_server_find(server, 0));
    assert_null(uds_echo_server_find(server, ~0ull));
    fake_peer_close(peer);
    (void)uds_echo_server_close(server);
}

/* Cutting: idle, evicted, stopped. */
static void idle_is_cut_unless_we_owe(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int quiet, waiting;
    (void)state;
    desc.idle_ms = 1000;
    server = serve_with(desc);
    quiet = joined(server);
    waiting = joined(server);
    verdict = UDS_ECHO_DEFER;
    say(waiting, "think");
    settle(server);
    assert_in_range(uds_echo_server_timeout(server), 1, 1000);
    fake_sleep(1000);
    settle(server);
    assert_int_equal(ended, 1);
    assert_int_equal(ends[0], UDS_ECHO_ERR_IDLE);
    assert_non_null(uds_echo_server_find(server, last_id));
    fake_peer_close(quiet);
    fake_peer_close(waiting);
    (void)uds_echo_server_close(server);
    assert_int_equal(ends[1], UDS_ECHO_ERR_STOPPED);
}

static uds_echo_verdict d_takes_longer(uds_echo_conn *conn, uds_echo_message *message, void *user)
{
    (void)conn, (void)user;
    return message->data[0] == 'd' ? UDS_ECHO_DEFER : UDS_ECHO_REPLY;
}

/* Part of an answer waits for a slow reader, and behind it one is owed. */
static void not_idle_while_more_is_owed(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer;
    (void)state;
    fake.queue_bytes = 10;
    desc.idle_ms = 1000;
    desc.frame = lines;
    desc.on_message = d_takes_longer;
    server = serve_with(desc);
    peer = joined(server);
    say(peer, "12345678\n");
    settle(server);
    say(peer, "abc\nd\n");
    settle(server);
    assert_int_equal(state_of(server), UE_SENDING);
    fake_sleep(1000);
    settle(server);
    assert_int_equal(ended, 0);
    assert_int_equal(uds_echo_conn_send(&server->conns[0], "d!\n", 3), UDS_ECHO_OK);
    fake_sleep(1000);
    settle(server);
    fake_peer_close(peer);
    closed_for(server, UDS_ECHO_ERR_IDLE); /* it was paid, and still nobody reads */
}

static void full_rests_or_evicts(void **state)
{
    int evict;
    (void)state;
    for (evict = 0; evict < 2; evict++) {
        uds_echo_server_desc desc = plain_desc();
        uds_echo_server *server;
        int first, second, third;
        desc.connections_max = 2;
        desc.when_full = evict ? UDS_ECHO_FULL_EVICT : UDS_ECHO_FULL_QUEUE;
        server = serve_with(desc);
        first = joined(server);
        second = joined(server);
        say(first, "busy");
        settle(server);
        third = joined(server);
        assert_int_equal(ended, evict);
        if (evict) assert_int_equal(ends[0], UDS_ECHO_ERR_EVICTED);
        if (evict) ue_accept_ready(server); /* the queue is empty: nobody is cut for nobody */
        assert_int_equal(ended, evict);
        assert_int_equal(stats_of(server).connections, 2);
        assert_int_equal(stats_of(server).accepted, 2 + evict);
        assert_int_equal(stats_of(server).pauses_full, !evict);
        fake_peer_close(second);
        settle(server);
        say(third, "in");
        settle(server);
        assert_string_equal(heard(third), "in");
        fake_peer_close(first);
        fake_peer_close(third);
        (void)uds_echo_server_close(server);
    }
}

/* P15: without descriptors the listener is not watched, and comes back by itself. */
static void want_of_descriptors_rests(void **state)
{
    uds_echo_server *server = serve_with(plain_desc());
    int first = joined(server), second;
    unsigned long accepts;
    (void)state;
    fake.descriptors_max = fake_open_descriptors();
    second = joined(server);
    assert_int_equal(stats_of(server).pauses_failed, 1);
    assert_int_equal(stats_of(server).pauses_full, 0);
    accepts = fake_calls_of(FAKE_accept4) + fake_calls_of(FAKE_accept);
    settle(server);
    assert_int_equal(fake_calls_of(FAKE_accept4) + fake_calls_of(FAKE_accept), accepts);
    assert_in_range(uds_echo_server_timeout(server), 1, 100);
    say(first, "established");
    settle(server);
    assert_string_equal(heard(first), "established");
    fake.descriptors_max++;
    fake_sleep(100);
    say(second, "late");
    settle(server);
    assert_string_equal(heard(second), "late");
    fake_peer_close(first);
    fake_peer_close(second);
    (void)uds_echo_server_close(server);
}

/* Drain: queued and received is answered, then all end by the ordinary arrows. */
static void drain_answers_what_was_received(void **state)
{
    uds_echo_server *server = serve_with(plain_desc());
    int old = joined(server), queued, i;
    (void)state;
    queued = fake_peer_connect(PATH);
    say(old, "old");
    say(queued, "queued");
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    for (i = 0; i < 20 && uds_echo_server_step(server, 1) == UDS_ECHO_OK; i++) assert_true(i < 19);
    assert_false(fake_exists(PATH));
    assert_int_equal(fake_peer_connect(PATH), -1);
    assert_string_equal(heard(old), "old");
    assert_string_equal(heard(queued), "queued");
    assert_int_equal(fake_peer_recv(old, &i, 1), 0);
    assert_int_equal(stats_of(server).closed[UDS_ECHO_OK], 2);
    assert_int_equal(uds_echo_server_step(server, -1), UDS_ECHO_ERR_STOPPED);
    assert_int_equal(uds_echo_server_run(server), UDS_ECHO_OK);
    fake_peer_close(old);
    fake_peer_close(queued);
    (void)uds_echo_server_close(server);
}

/* More are queued than there are places: they come in as others end. */
static void drain_empties_the_queue(void **state)
{
    enum { CLIENTS = 6 };
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peers[CLIENTS], i;
    (void)state;
    desc.connections_max = 2;
    server = serve_with(desc);
    for (i = 0; i < CLIENTS; i++) {
        peers[i] = fake_peer_connect(PATH);
        say(peers[i], "queued");
    }
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    for (i = 0; i < 40 && uds_echo_server_step(server, 1) == UDS_ECHO_OK; i++) continue;
    for (i = 0; i < CLIENTS; i++) {
        assert_string_equal(heard(peers[i]), "queued");
        fake_peer_close(peers[i]);
    }
    assert_int_equal(stats_of(server).closed[UDS_ECHO_OK], CLIENTS);
    (void)uds_echo_server_close(server);
}

/* It rested for want of descriptors when it was told to stop, and leaves the listener to the other: nothing is due. */
static void a_drain_does_not_spin_over_a_rest(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *first = serve_with(desc), *second;
    int peer = joined(first), queued;
    (void)state;
    verdict = UDS_ECHO_DEFER;
    say(peer, "keeps it alive");
    settle(first);
    desc.path = NULL;
    desc.share_with = first;
    if (!UDS_ECHO_HAVE_ATOMIC) { /* nobody else holds the listener then */
        assert_int_equal(uds_echo_server_open(&second, &desc, NULL), UDS_ECHO_ERR_UNSUPPORTED);
        fake_peer_close(peer);
        (void)uds_echo_server_close(first);
        return;
    }
    second = open_server(&desc);
    fake.descriptors_max = fake_open_descriptors();
    queued = fake_peer_connect(PATH);
    settle(first);
    assert_int_equal(stats_of(first).pauses_failed, 1);
    uds_echo_server_stop(first, UDS_ECHO_STOP_DRAIN);
    settle(first);
    fake_sleep(200);
    settle(first);
    assert_in_range(uds_echo_server_timeout(first), 1000, 5000);
    fake_peer_close(peer);
    fake_peer_close(queued);
    (void)uds_echo_server_close(first);
    (void)uds_echo_server_close(second);
}

static void drain_has_a_deadline(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer, i;
    (void)state;
    desc.drain_ms = 50;
    server = serve_with(desc);
    peer = joined(server);
    verdict = UDS_ECHO_DEFER;
    say(peer, "never answered");
    settle(server);
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    for (i = 0; i < 100 && uds_echo_server_step(server, 10) == UDS_ECHO_OK; i++) continue;
    assert_in_range(fake_now_ms(), 1050, 1090);
    closed_for(server, UDS_ECHO_ERR_STOPPED);
    fake_peer_close(peer);
}

static void now_beats_drain(void **state)
{
    uds_echo_server *server = serve_with(plain_desc());
    int peer = joined(server);
    (void)state;
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    uds_echo_server_stop(server, UDS_ECHO_STOP_NOW);
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_ERR_STOPPED);
    closed_for(server, UDS_ECHO_ERR_STOPPED);
    fake_peer_close(peer);
}

static int wakes;

static void count_wake(uds_echo_server *server, void *user)
{
    (void)server, (void)user;
    wakes++;
}

/* Wakes that come together are one; no stop that comes with them takes them away; and who was woken may still pay. */
static void a_wake_is_heard(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer, count, i;
    (void)state;
    desc.on_wake = count_wake;
    server = serve_with(desc);
    peer = joined(server);
    for (count = 1; count <= 5; count++) {
        wakes = 0;
        for (i = 0; i < count; i++) uds_echo_server_wake(server);
        settle(server);
        assert_int_equal(wakes, 1);
    }
    verdict = UDS_ECHO_DEFER;
    say(peer, "question");
    settle(server);
    uds_echo_server_wake(server);
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    settle(server);
    assert_int_equal(wakes, 2);
    assert_int_equal(uds_echo_conn_send(uds_echo_server_find(server, last_id), "answer", 6), UDS_ECHO_OK);
    settle(server);
    assert_string_equal(heard(peer), "answer");
    fake_peer_close(peer);
    until_stopped(server);
    closed_for(server, UDS_ECHO_OK);
}

/* With epoll a step touches what is ready, and nothing else, however many there are. */
static void a_step_touches_only_what_is_ready(void **state)
{
    enum { MANY = 1000 };
    static int peers[MANY];
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    unsigned long before, reads;
    int i;
    (void)state;
    fake.descriptors_max = 2000;
    fake.calls_max = 1000000;
    desc.connections_max = MANY;
    server = serve_with(desc);
    for (i = 0; i < MANY; i++) peers[i] = joined(server);
    for (i = 0; i < MANY; i += 7) say(peers[i], "m");
    before = fake_calls();
    reads = fake_calls_of(FAKE_read);
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    /* one wait, one recv and one send for each of the 143 ready, and after each 64 of them a look at what was asked for
       (a read or three, and the clock); nothing else, for nothing is ever due */
    assert_int_equal(fake_calls_of(FAKE_read) - reads, 2 * UE_WAKEUP_FDS);
    assert_int_equal(fake_calls() - before, 1 + 2 * ((MANY + 6) / 7) + 2 * (UE_WAKEUP_FDS + 1));
    before = fake_calls();
    say(peers[500], "n");
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    assert_int_equal(fake_calls() - before, 3);
    for (i = 0; i < MANY; i++) fake_peer_close(peers[i]);
    (void)uds_echo_server_close(server);
}

static int calls_back;

static uds_echo_verdict call_everything(uds_echo_conn *conn, uds_echo_message *message, void *user)
{
    uds_echo_server *server = uds_echo_conn_server(conn);
    uds_echo_peer who;
    (void)message, (void)user;
    calls_back++;
    assert_int_equal(uds_echo_server_run(server), UDS_ECHO_ERR_REENTRANT);
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_ERR_REENTRANT);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_ERR_REENTRANT);
    assert_int_equal(uds_echo_conn_peer(conn, &who), UDS_ECHO_OK);
    assert_int_equal(who.pid, 4242);
    uds_echo_conn_set_user(conn, &calls_back);
    assert_ptr_equal(uds_echo_conn_user(conn), &calls_back);
    uds_echo_server_wake(server);
    assert_int_equal(uds_echo_conn_send(conn, "push ", 5), UDS_ECHO_OK);
    uds_echo_conn_close(conn);
    uds_echo_conn_close(conn);
    assert_int_equal(uds_echo_conn_send(conn, "late", 4), UDS_ECHO_ERR_CLOSING);
    return UDS_ECHO_REPLY;
}

static void re_entrancy(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer;
    (void)state;
    desc.on_message = call_everything;
    desc.on_wake = count_wake;
    calls_back = wakes = 0;
    server = serve_with(desc);
    peer = joined(server);
    say(peer, "reply");
    settle(server);
    assert_string_equal(heard(peer), "push reply");
    assert_int_equal(calls_back + wakes, 2);
    lingers_for(server, peer, UDS_ECHO_OK);
}

/* P41: in a forked child nothing is done that the parent would feel. */
static void a_child_only_closes(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *other, *server = serve_with(desc);
    unsigned long unlinks = fake_calls_of(FAKE_unlinkat);
    int peer = joined(server);
    (void)state;
    say(peer, "hello");
    fake.pid = 101;
    uds_echo_server_stop(server, UDS_ECHO_STOP_NOW);
    uds_echo_server_wake(server);
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_ERR_FORKED);
    assert_int_equal(uds_echo_server_run(server), UDS_ECHO_ERR_FORKED);
    assert_int_equal(fake_calls_of(FAKE_write), 0);
    desc.path = NULL;
    desc.share_with = server;
    assert_int_equal(uds_echo_server_open(&other, &desc, NULL),
                     UDS_ECHO_HAVE_ATOMIC ? UDS_ECHO_ERR_FORKED : UDS_ECHO_ERR_UNSUPPORTED);
    desc.mode = -1;
    assert_int_equal(uds_echo_server_open(&other, &desc, NULL), UDS_ECHO_ERR_INVALID);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    assert_int_equal(fake_calls_of(FAKE_unlinkat), unlinks);
    assert_int_equal(fake_calls_of(FAKE_epoll_del), 0);
    assert_int_equal(fake_calls_of(FAKE_shutdown), 0);
    assert_true(fake_exists(PATH));
    assert_int_equal(ended, 0);
    fake_peer_close(peer);
}

/* How often the system was asked for events. */
static unsigned long asked(void)
{
    return fake_calls_of(UDS_ECHO_HAVE_EPOLL ? FAKE_epoll_wait : FAKE_poll);
}

/* In this kernel time passes by the call: 10 of them take a millisecond. */
static uds_echo_server *serve_spinning(int busy_poll_us)
{
    uds_echo_server_desc desc = plain_desc();
    desc.busy_poll_us = busy_poll_us;
    fake.calls_per_ms = 10;
    return serve_with(desc);
}

/* To look into an empty queue costs as much as to accept: one that comes alone costs one call, a crowd one more. */
static void accepts_no_oftener_than_needed(void **state)
{
    const fake_call accept_call = UDS_ECHO_HAVE_ACCEPT4 ? FAKE_accept4 : FAKE_accept;
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server = serve_with(desc);
    int peers[6], i;
    (void)state;
    peers[0] = joined(server);
    assert_int_equal(fake_calls_of(accept_call), 2); /* one of them asked, at open, whether the call is offered */
    for (i = 1; i < 6; i++) peers[i] = fake_peer_connect(PATH);
    settle(server);
    assert_int_equal(stats_of(server).connections, 6);
    assert_int_equal(fake_calls_of(accept_call), 8);
    for (i = 0; i < 6; i++) fake_peer_close(peers[i]);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

static void busy_poll_that_hits(void **state)
{
    uds_echo_server *server = serve_spinning(5000);
    int peer = joined(server);
    unsigned long before;
    uds_echo_stats stats;
    (void)state;
    say(peer, "quick");
    before = asked();
    stats = stats_of(server);
    assert_int_equal(uds_echo_server_step(server, 1000), UDS_ECHO_OK);
    assert_int_equal(asked() - before, 1);
    assert_int_equal(stats_of(server).waits - stats.waits, 1);
    assert_int_equal(stats_of(server).busy_waits - stats.busy_waits, 1);
    assert_int_equal(stats_of(server).busy_wait_hits - stats.busy_wait_hits, 1);
    assert_string_equal(heard(peer), "quick");
    fake_peer_close(peer);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* Nothing comes: it asks for 5 ms without sleeping, sleeps for what is left of 20, and is not late. */
static void busy_poll_that_misses(void **state)
{
    uds_echo_server *server = serve_spinning(5000);
    unsigned long before = asked();
    long long began = fake_now_ms();
    (void)state;
    assert_int_equal(uds_echo_server_step(server, 20), UDS_ECHO_OK);
    assert_in_range(asked() - before, 20, 60);
    assert_in_range(fake_now_ms() - began, 20, 21);
    assert_int_equal(stats_of(server).waits, 1);
    assert_int_equal(stats_of(server).busy_waits, 1);
    assert_int_equal(stats_of(server).busy_wait_hits, 0);
    before = asked();
    began = fake_now_ms();
    assert_int_equal(uds_echo_server_step(server, 3), UDS_ECHO_OK); /* shorter than the spin */
    assert_in_range(fake_now_ms() - began, 3, 4);
    assert_true(asked() - before > 10);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

static int speak_up(void *user)
{
    say(*(int *)user, "at last");
    return 1;
}

/* A wait without end begins with asking, too. */
static void busy_poll_before_a_long_sleep(void **state)
{
    uds_echo_server *server = serve_spinning(5000);
    int peer = joined(server);
    unsigned long before = asked();
    (void)state;
    fake.world = speak_up;
    fake.user = &peer;
    assert_int_equal(uds_echo_server_step(server, -1), UDS_ECHO_OK);
    fake.world = NULL;
    assert_in_range(asked() - before, 20, 60);
    assert_string_equal(heard(peer), "at last");
    fake_peer_close(peer);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

static void busy_poll_is_not_for_everyone(void **state)
{
    uds_echo_server *server = serve_spinning(5000);
    unsigned long before = asked();
    (void)state;
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    assert_int_equal(asked() - before, 1);
    assert_int_equal(stats_of(server).busy_waits, 0);
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    assert_int_equal(uds_echo_server_run(server), UDS_ECHO_OK);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    server = serve_spinning(-1);
    before = asked();
    assert_int_equal(uds_echo_server_step(server, 5), UDS_ECHO_OK);
    assert_int_equal(asked() - before, 1);
    assert_int_equal(stats_of(server).busy_waits, 0);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* Without a clock there is no telling when to stop asking: it sleeps. */
static void busy_poll_without_a_clock(void **state)
{
    uds_echo_server *server = serve_spinning(5000);
    unsigned long from = fake_calls(), offset, before, faulted = 0;
    unsigned long long spins;
    (void)state;
    assert_int_equal(uds_echo_server_step(server, 20), UDS_ECHO_OK);
    for (offset = 1; offset < 40; offset++) {
        if (fake_call_at(from + offset) != FAKE_clock_gettime) continue;
        before = asked();
        spins = stats_of(server).busy_waits;
        fake_fault(fake_calls() + offset, EINVAL, 1);
        assert_int_equal(uds_echo_server_step(server, 20), UDS_ECHO_OK);
        assert_true(fake_fault_happened());
        assert_int_equal(stats_of(server).busy_waits - spins, faulted > 0); /* the first asks when to stop */
        assert_in_range(asked() - before, 1, 1 + offset);
        fake_fault(0, 0, 0);
        faulted++;
    }
    assert_true(faulted >= 10);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

static void bad_arguments_are_named(void **state)
{
    static const struct {
        const char *field;
        size_t offset;
        int value;
    } ints[] = {{"desc.mode", offsetof(uds_echo_server_desc, mode), -1},
                {"desc.mode", offsetof(uds_echo_server_desc, mode), 01000},
                {"desc.lock_ms", offsetof(uds_echo_server_desc, lock_ms), -2},
                {"desc.backlog", offsetof(uds_echo_server_desc, backlog), -1},
                {"desc.connections_max", offsetof(uds_echo_server_desc, connections_max), -2},
                {"desc.connections_max", offsetof(uds_echo_server_desc, connections_max), 1000001},
                {"desc.send_buffer", offsetof(uds_echo_server_desc, send_buffer), -1},
                {"desc.message_max", offsetof(uds_echo_server_desc, message_max), (1 << 30) + 1},
                {"desc.step_messages", offsetof(uds_echo_server_desc, step_messages), -1},
                {"desc.message_ms", offsetof(uds_echo_server_desc, message_ms), -2},
                {"desc.linger_ms", offsetof(uds_echo_server_desc, linger_ms), -1},
                {"desc.idle_ms", offsetof(uds_echo_server_desc, idle_ms), -2},
                {"desc.drain_ms", offsetof(uds_echo_server_desc, drain_ms), -2},
                {"desc.busy_poll_us", offsetof(uds_echo_server_desc, busy_poll_us), -2},
                {"desc.busy_poll_us", offsetof(uds_echo_server_desc, busy_poll_us), 1000001},
                {"desc.if_exists", offsetof(uds_echo_server_desc, if_exists), 9},
                {"desc.publish", offsetof(uds_echo_server_desc, publish), 9},
                {"desc.when_full", offsetof(uds_echo_server_desc, when_full), 9}};
    uds_echo_server *server;
    uds_echo_failure why;
    uds_echo_server_desc desc;
    size_t i;
    (void)state;
    for (i = 0; i < sizeof ints / sizeof ints[0]; i++) {
        desc = plain_desc();
        memcpy((char *)&desc + ints[i].offset, &ints[i].value, sizeof(int));
        assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_ERR_INVALID);
        assert_string_equal(why.call, ints[i].field);
        assert_null(server);
    }
    desc = plain_desc();
    desc.message_max = -1;
    assert_int_equal(uds_echo_server_open(&server, &desc, NULL), UDS_ECHO_ERR_INVALID);
    assert_int_equal(uds_echo_server_open(NULL, &desc, &why), UDS_ECHO_ERR_INVALID);
    assert_int_equal(uds_echo_server_open(&server, NULL, &why), UDS_ECHO_ERR_INVALID);
    desc = plain_desc();
    desc.message_max = -1;
    assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_ERR_INVALID);
    assert_string_equal(why.call, "desc.message_max");
    desc = plain_desc();
    desc.memory_max = -2;
    assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_ERR_INVALID);
    assert_string_equal(why.call, "desc.memory_max");
    assert_int_equal(uds_echo_server_run(NULL), UDS_ECHO_ERR_INVALID);
    assert_int_equal(uds_echo_server_step(NULL, 0), UDS_ECHO_ERR_INVALID);
    assert_int_equal(uds_echo_server_close(NULL), UDS_ECHO_OK);
    uds_echo_server_stop(NULL, UDS_ECHO_STOP_NOW);
    uds_echo_server_wake(NULL);
    assert_null(uds_echo_server_find(NULL, 1));
    assert_int_equal(uds_echo_conn_send(NULL, "x", 1), UDS_ECHO_ERR_INVALID);
    uds_echo_conn_close(NULL);
    assert_int_equal(uds_echo_server_fd(NULL), -1);
    assert_int_equal(fake_calls_of(FAKE_bind), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(open_read_answer_half_close),
                                       TEST(slow_reader_waits_alone),
                                       TEST(a_flood_waits_in_the_kernel),
                                       TEST(an_urgent_byte_is_one_of_the_stream),
                                       TEST(a_request_that_is_there_is_read_at_once),
                                       TEST(slow_reader_half_closes),
                                       TEST(reader_goes_away_with_an_answer_waiting),
                                       TEST(later_is_waited_for),
                                       TEST(later_paid_with_nothing),
                                       TEST(peer_goes_away_while_we_think),
                                       TEST(close_is_readable),
                                       TEST(verdict_close_sends_first),
                                       TEST(lingering_takes_its_turns),
                                       TEST(refusal_with_a_reason),
                                       TEST(framing_over_any_split),
                                       TEST(pipelined_answers_are_one_send),
                                       TEST(partial_message_at_the_end),
                                       TEST(nothing_partial_at_the_end),
                                       TEST(message_of_exactly_the_maximum),
                                       TEST(length_that_is_announced_as_the_maximum),
                                       TEST(length_that_is_announced_too_long),
                                       TEST(handler_breaks_its_contract),
                                       TEST(pushes_are_bounded),
                                       TEST(ids_outlive_slots),
                                       TEST(idle_is_cut_unless_we_owe),
                                       TEST(not_idle_while_more_is_owed),
                                       TEST(full_rests_or_evicts),
                                       TEST(want_of_descriptors_rests),
                                       TEST(drain_answers_what_was_received),
                                       TEST(drain_has_a_deadline),
                                       TEST(drain_empties_the_queue),
                                       TEST(a_drain_does_not_spin_over_a_rest),
                                       TEST(now_beats_drain),
                                       TEST(a_wake_is_heard),
                                       TEST(a_step_touches_only_what_is_ready),
                                       TEST(re_entrancy),
                                       TEST(a_child_only_closes),
                                       TEST(accepts_no_oftener_than_needed),
                                       TEST(busy_poll_that_hits),
                                       TEST(busy_poll_that_misses),
                                       TEST(busy_poll_before_a_long_sleep),
                                       TEST(busy_poll_is_not_for_everyone),
                                       TEST(busy_poll_without_a_clock),
                                       TEST(bad_arguments_are_named)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
