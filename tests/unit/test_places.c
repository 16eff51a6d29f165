/* test_places.c - who keeps its place and who has to go: eviction, idleness, and ends that wait for nothing. */
#include "harness.h"
#include "served.h"

/* Who has something to say is heard before it has to make room. */
static void who_speaks_is_not_the_idlest(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int first, second;
    (void)state;
    desc.connections_max = 1;
    desc.when_full = UDS_ECHO_FULL_EVICT;
    server = serve(desc);
    first = joined(server);
    second = fake_peer_connect(PATH);
    say(first, "in time");
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    assert_string_equal(heard(first), "in time");
    assert_int_equal(stats_of(server).accepted, 2);
    assert_int_equal(ends[0], UDS_ECHO_ERR_EVICTED);
    fake_peer_close(first);
    fake_peer_close(second);
    (void)uds_echo_server_close(server);
}

/* A crowd that is larger than the places there are comes with its questions: each is answered, then makes room. */
static void a_crowd_takes_turns(void **state)
{
    enum { CROWD = 20 };
    int drains;
    (void)state;
    for (drains = 0; drains < 2; drains++) {
        uds_echo_server_desc desc = plain_desc();
        uds_echo_server *server;
        int peers[CROWD], i;
        desc.connections_max = 4;
        desc.when_full = UDS_ECHO_FULL_EVICT;
        server = serve(desc);
        for (i = 0; i < CROWD; i++) {
            peers[i] = fake_peer_connect(PATH);
            say(peers[i], "?");
        }
        if (drains) uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
        for (i = 0; i < 40; i++) (void)uds_echo_server_step(server, 1);
        assert_int_equal(stats_of(server).accepted, CROWD);
        for (i = 0; i < CROWD; i++) {
            assert_string_equal(heard(peers[i]), "?");
            fake_peer_close(peers[i]);
        }
        (void)uds_echo_server_close(server);
    }
}

/* Two who call at once need two places, and are let in one after the other. */
static void one_is_evicted_a_step(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peers[6], i;
    (void)state;
    desc.connections_max = 3;
    desc.when_full = UDS_ECHO_FULL_EVICT;
    server = serve(desc);
    for (i = 0; i < 3; i++) peers[i] = joined(server);
    for (; i < 6; i++) peers[i] = fake_peer_connect(PATH);
    for (i = 1; i <= 3; i++) {
        assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
        assert_int_equal(stats_of(server).closed[UDS_ECHO_ERR_EVICTED], i);
    }
    for (i = 0; i < 6; i++) fake_peer_close(peers[i]);
    (void)uds_echo_server_close(server);
}

/* Where descriptors run out behind one that was let in, nobody is evicted before the next step. */
static void nobody_is_evicted_behind_one_that_came_in(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peers[4], i;
    (void)state;
    desc.when_full = UDS_ECHO_FULL_EVICT;
    server = serve(desc);
    peers[0] = joined(server);
    fake.descriptors_max = fake_open_descriptors() + 1;
    for (i = 1; i < 4; i++) peers[i] = fake_peer_connect(PATH);
    while (stats_of(server).accepted < 2) {
        assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
        assert_int_equal(stats_of(server).closed[UDS_ECHO_ERR_EVICTED], 0);
    }
    settle(server);
    assert_int_equal(stats_of(server).accepted, 4);
    assert_int_equal(stats_of(server).closed[UDS_ECHO_ERR_EVICTED], 2);
    for (i = 0; i < 4; i++) fake_peer_close(peers[i]);
    (void)uds_echo_server_close(server);
}

/* Who is to be closed is owed nothing any more, and no room is kept for it. */
static void closing_ends_what_was_put_off(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer;
    (void)state;
    desc.on_message = later_if_asked;
    server = serve(desc);
    peer = joined(server);
    say(peer, "?");
    settle(server);
    uds_echo_conn_close(&server->conns[0]);
    settle(server);
    lingers_for(server, peer, UDS_ECHO_OK);
}

static uds_echo_verdict flood_then_later(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)user;
    memset(m->data, 'f', m->capacity);
    assert_int_equal(uds_echo_conn_send(conn, m->data, m->capacity), UDS_ECHO_OK);
    if (m->size == 2) uds_echo_conn_close(conn);
    return UDS_ECHO_DEFER;
}

static void who_is_to_be_closed_and_does_not_read_is_idle(void **state)
{
    int within;
    (void)state;
    for (within = 0; within < 2; within++) {
        uds_echo_server_desc desc = plain_desc();
        uds_echo_server *server;
        int peer;
        fake.queue_bytes = 10;
        desc.idle_ms = 100;
        desc.on_message = flood_then_later;
        server = serve(desc);
        peer = joined(server);
        say(peer, within ? "in" : "out");
        settle(server);
        if (!within) uds_echo_conn_close(&server->conns[0]);
        settle(server);
        assert_int_equal(server->conns[0].state, UE_SENDING);
        fake_sleep(100);
        settle(server);
        assert_int_equal(strlen(heard(peer)), 10);
        fake_peer_close(peer);
        closed_for(server, UDS_ECHO_ERR_IDLE);
    }
}

/* An answer that took its time, and is nothing: the peer's time begins when it is paid. */
static void who_was_owed_is_not_idle(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer;
    (void)state;
    desc.idle_ms = 100;
    desc.on_message = later_if_asked;
    server = serve(desc);
    peer = joined(server);
    say(peer, "?");
    settle(server);
    fake_sleep(150); /* in one go: no step on the way that could have seen it wait */
    assert_int_equal(uds_echo_conn_send(&server->conns[0], NULL, 0), UDS_ECHO_OK);
    settle(server);
    assert_int_equal(stats_of(server).connections, 1);
    fake_sleep(99);
    settle(server);
    assert_int_equal(stats_of(server).connections, 1);
    fake_sleep(1);
    settle(server);
    closed_for(server, UDS_ECHO_ERR_IDLE);
    fake_peer_close(peer);
}

/* Without idle_ms the order is that of the bytes alone: who was resumed is no busier for it. */
static void who_was_owed_may_be_the_idlest(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int asker, other, third;
    (void)state;
    desc.connections_max = 2;
    desc.when_full = UDS_ECHO_FULL_EVICT;
    desc.on_message = later_if_asked;
    server = serve(desc);
    asker = joined(server);
    other = joined(server);
    say(asker, "?");
    settle(server);
    say(other, "hello");
    settle(server);
    assert_int_equal(uds_echo_conn_send(&server->conns[0], NULL, 0), UDS_ECHO_OK);
    settle(server);
    third = joined(server);
    assert_int_equal(ended, 1);
    assert_int_equal(ends[0], UDS_ECHO_ERR_EVICTED);
    assert_string_equal(heard(other), "hello");
    say(other, "there?");
    settle(server);
    assert_string_equal(heard(other), "there?");
    fake_peer_close(asker);
    fake_peer_close(other);
    fake_peer_close(third);
    (void)uds_echo_server_close(server);
}

/* ---- handlers that take their time ------------------------------------------------------------------------------- */

static int asker_of_the_slow = -1; /* who speaks while the handler runs */

/* "S": after 300 ms echo; "P": after that it pays the first connection, too. Else as later_if_asked(). */
static uds_echo_verdict slow_if_told(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    uds_echo_server *server = uds_echo_conn_server(conn);
    if (m->data[0] != 'S' && m->data[0] != 'P') return later_if_asked(conn, m, user);
    fake_sleep(300);
    if (asker_of_the_slow >= 0) say(asker_of_the_slow, "meanwhile");
    if (m->data[0] == 'P') assert_int_equal(uds_echo_conn_send(&server->conns[0], "paid", 4), UDS_ECHO_OK);
    return UDS_ECHO_REPLY;
}

static uds_echo_server *serve_slowly(uds_echo_server_desc desc)
{
    asker_of_the_slow = -1;
    desc.on_message = slow_if_told;
    return serve(desc);
}

/* Its time begins when it got its answer, not when the handler began. */
static void who_was_answered_slowly_is_not_idle(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer;
    (void)state;
    desc.idle_ms = 200;
    server = serve_slowly(desc);
    peer = joined(server);
    say(peer, "S");
    settle(server);
    assert_string_equal(heard(peer), "S");
    fake_sleep(199);
    settle(server);
    assert_int_equal(stats_of(server).connections, 1);
    fake_sleep(1);
    settle(server);
    fake_peer_close(peer);
    closed_for(server, UDS_ECHO_ERR_IDLE);
}

/* Somebody else's handler takes longer than idle_ms: who was paid by it, who came and who spoke meanwhile are not idle,
   and who did nothing is. */
static void who_moved_while_another_was_slow_is_not_idle(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int owed, slow, speaker, silent, newcomer;
    (void)state;
    desc.idle_ms = 200;
    server = serve_slowly(desc);
    owed = joined(server);
    slow = joined(server);
    speaker = joined(server);
    silent = joined(server);
    say(owed, "?");
    settle(server);
    asker_of_the_slow = speaker;
    newcomer = fake_peer_connect(PATH);
    say(slow, "P");
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    assert_int_equal(stats_of(server).accepted, 5);
    assert_int_equal(ended, 1); /* and all were looked at once more */
    assert_int_equal(ends[0], UDS_ECHO_ERR_IDLE);
    assert_int_equal(fake_peer_recv(silent, &silent, 1), 0);
    assert_string_equal(heard(owed), "paid");
    assert_string_equal(heard(slow), "P");
    assert_string_equal(heard(speaker), "meanwhile");
    assert_int_equal(stats_of(server).connections, 4);
    fake_peer_close(newcomer);
    (void)uds_echo_server_close(server);
}

/* drain_ms, and the moment for who found the path in time, begin when the drain does. */
static void a_drain_begins_behind_slow_handlers(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int owed, slow, queued;
    (void)state;
    desc.drain_ms = 250;
    server = serve_slowly(desc);
    owed = joined(server);
    slow = joined(server);
    say(owed, "?");
    settle(server);
    say(slow, "S");
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    queued = fake_peer_connect(PATH); /* the path is gone already */
    assert_int_equal(queued, -1);
    assert_int_equal(server->grace_until - fake_now_ms(), UE_GRACE_MS);
    fake_sleep(249);
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    assert_int_equal(uds_echo_conn_send(&server->conns[0], "late", 4), UDS_ECHO_OK);
    until_stopped(server);
    assert_string_equal(heard(owed), "late");
    assert_string_equal(heard(slow), "S");
    assert_int_equal(stats_of(server).closed[UDS_ECHO_OK], 2);
    (void)uds_echo_server_close(server);
}

/* Accepting rests for 100 ms from when it found no descriptor. */
static void a_rest_begins_behind_slow_handlers(void **state)
{
    uds_echo_server *server;
    int slow, second;
    (void)state;
    server = serve_slowly(plain_desc());
    slow = joined(server);
    fake.descriptors_max = fake_open_descriptors();
    second = fake_peer_connect(PATH);
    say(slow, "S");
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    assert_int_equal(stats_of(server).pauses_failed, 1);
    assert_int_equal(uds_echo_server_timeout(server), UE_PAUSE_MS);
    fake_peer_close(slow);
    fake_peer_close(second);
    (void)uds_echo_server_close(server);
}

/* P31: a socket is called writable when most of it is free. Who reads steadily, and little, gets all of it. */
static void who_reads_slowly_is_not_idle(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    size_t got = 0;
    char bytes[64];
    int peer;
    (void)state;
    fake.queue_bytes = 40;
    desc.idle_ms = 100;
    desc.on_message = flood_then_later;
    server = serve(desc);
    peer = joined(server);
    say(peer, "in");
    for (; stats_of(server).connections && got < 60; got++) {
        settle(server);
        assert_int_equal(fake_peer_recv(peer, bytes, 1), 1);
        fake_sleep(60);
    }
    settle(server);
    assert_int_equal(got + strlen(heard(peer)), 64);
    lingers_for(server, peer, UDS_ECHO_OK);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {TEST(who_speaks_is_not_the_idlest),
                                       TEST(a_crowd_takes_turns),
                                       TEST(one_is_evicted_a_step),
                                       TEST(nobody_is_evicted_behind_one_that_came_in),
                                       TEST(closing_ends_what_was_put_off),
                                       TEST(who_is_to_be_closed_and_does_not_read_is_idle),
                                       TEST(who_was_owed_is_not_idle),
                                       TEST(who_was_owed_may_be_the_idlest),
                                       TEST(who_was_answered_slowly_is_not_idle),
                                       TEST(who_moved_while_another_was_slow_is_not_idle),
                                       TEST(a_drain_begins_behind_slow_handlers),
                                       TEST(a_rest_begins_behind_slow_handlers),
                                       TEST(who_reads_slowly_is_not_idle)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
