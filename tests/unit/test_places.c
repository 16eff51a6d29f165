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
    desc.when_full = UDS_ECHO_EVICT;
    server = serve(desc);
    first = joined(server);
    second = fake_peer_connect(PATH);
    say(first, "in time");
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    assert_string_equal(heard(first), "in time");
    assert_int_equal(stats_of(server).accepted, 2);
    assert_int_equal(ends[0], UDS_ECHO_EVICTED);
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
        desc.when_full = UDS_ECHO_EVICT;
        server = serve(desc);
        for (i = 0; i < CROWD; i++) {
            peers[i] = fake_peer_connect(PATH);
            say(peers[i], "?");
        }
        if (drains) uds_echo_server_stop(server, UDS_ECHO_DRAIN);
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
    desc.when_full = UDS_ECHO_EVICT;
    server = serve(desc);
    for (i = 0; i < 3; i++) peers[i] = joined(server);
    for (; i < 6; i++) peers[i] = fake_peer_connect(PATH);
    for (i = 1; i <= 3; i++) {
        assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
        assert_int_equal(stats_of(server).closed[UDS_ECHO_EVICTED], i);
    }
    for (i = 0; i < 6; i++) fake_peer_close(peers[i]);
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
    assert_int_equal(server->promised, 64);
    uds_echo_conn_close(&server->conns[0]);
    assert_int_equal(server->promised, 0);
    settle(server);
    assert_int_equal(fake_peer_recv(peer, &peer, 1), 0);
    closed_for(server, UDS_ECHO_OK);
    fake_peer_close(peer);
}

static uds_echo_verdict flood_then_later(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)user;
    memset(m->data, 'f', m->capacity);
    assert_int_equal(uds_echo_conn_send(conn, m->data, m->capacity), UDS_ECHO_OK);
    if (m->size == 2) uds_echo_conn_close(conn);
    return UDS_ECHO_LATER;
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
        assert_int_equal(server->promised, 0);
        fake_sleep(100);
        settle(server);
        assert_int_equal(strlen(heard(peer)), 10);
        fake_peer_close(peer);
        closed_for(server, UDS_ECHO_IDLE);
    }
}

/* It asked in time, and we had no room: once there is, it has idle_ms again. */
static void who_waited_for_room_is_not_idle(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int asker, other;
    (void)state;
    desc.pending_max = 192;
    desc.idle_ms = 100;
    desc.on_message = later_if_asked;
    server = serve(desc);
    asker = joined(server);
    other = joined(server);
    say(asker, "?");
    settle(server);
    server->pending_max = 191; /* now one that is owed and one that is read are too many */
    say(other, "hello");
    settle(server);
    assert_int_equal(server->conns[1].state, UE_STARVED);
    fake_sleep(99);
    settle(server);
    assert_int_equal(uds_echo_conn_send(&server->conns[0], "!", 1), UDS_ECHO_OK);
    fake_sleep(1); /* idle_ms after it spoke, at the step that makes room */
    settle(server);
    assert_string_equal(heard(other), "hello");
    fake_peer_close(asker);
    fake_peer_close(other);
    (void)uds_echo_server_close(server);
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
    closed_for(server, UDS_ECHO_IDLE);
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
    desc.when_full = UDS_ECHO_EVICT;
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
    assert_int_equal(ends[0], UDS_ECHO_EVICTED);
    assert_string_equal(heard(other), "hello");
    say(other, "there?");
    settle(server);
    assert_string_equal(heard(other), "there?");
    fake_peer_close(asker);
    fake_peer_close(other);
    fake_peer_close(third);
    (void)uds_echo_server_close(server);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {TEST(who_speaks_is_not_the_idlest),
                                       TEST(a_crowd_takes_turns),
                                       TEST(one_is_evicted_a_step),
                                       TEST(closing_ends_what_was_put_off),
                                       TEST(who_is_to_be_closed_and_does_not_read_is_idle),
                                       TEST(who_waited_for_room_is_not_idle),
                                       TEST(who_was_owed_is_not_idle),
                                       TEST(who_was_owed_may_be_the_idlest)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
