/* test_endings.c - how connections begin and end: lingering, drains, limits of time, and that nothing is cut before one more
   look at its socket. */
#include "harness.h"
#include "served.h"

static uds_echo_server *the_server;
static int peers[64];
static int handled, refuses, sleeps_ms;
static uds_echo_verdict answer;

static uds_echo_verdict on_message(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)conn, (void)user;
    handled++;
    fake_sleep(sleeps_ms);
    return m->data[0] == '?' ? UDS_ECHO_DEFER : answer;
}

static int on_open(uds_echo_conn *conn, void *user)
{
    (void)conn, (void)user;
    return refuses;
}

static uds_echo_server_desc line_desc(void)
{
    uds_echo_server_desc desc = plain_desc();
    desc.frame = lines;
    desc.on_message = on_message;
    desc.on_open = on_open;
    handled = refuses = sleeps_ms = 0;
    answer = UDS_ECHO_REPLY;
    return desc;
}

static void close_all(int count)
{
    int i;
    for (i = 0; i < count; i++) fake_peer_close(peers[i]);
    assert_int_equal(uds_echo_server_close(the_server), UDS_ECHO_OK);
}

/* ---- lingering ----------------------------------------------------------------------------------------------------- */

/* H2: REPLY_AND_CLOSE, conn_close, a refusal and a bad message: who still sends gets no EPIPE, and the reply. */
static void who_still_sends_gets_the_reply(void **state)
{
    int how, i;
    (void)state;
    for (how = 0; how < 4; how++) {
        char chunk[200], reply[64];
        uds_echo_server_desc desc = line_desc();
        (void)setup(NULL);
        memset(chunk, 'x', sizeof chunk);
        answer = UDS_ECHO_REPLY_AND_CLOSE;
        if (how == 1) desc.on_message = NULL;
        if (how == 3) desc.message_max = 8;
        refuses = how == 2;
        the_server = serve(desc);
        peers[0] = fake_peer_connect(PATH);
        if (how == 1) {
            settle(the_server);
            say(peers[0], "hello\n");
            settle(the_server);
            uds_echo_conn_close(&the_server->conns[0]);
        } else {
            say(peers[0], "hello\n");
        }
        for (i = 0; i < 50; i++) {
            settle(the_server);
            assert_int_equal(fake_peer_send(peers[0], chunk, sizeof chunk), sizeof chunk);
        }
        if (how != 2) assert_int_equal(fake_peer_recv(peers[0], reply, sizeof reply), 6);
        assert_int_equal(fake_peer_recv(peers[0], reply, sizeof reply), 0);
        assert_int_equal(stats_of(the_server).connections, 1);
        assert_int_equal(stats_of(the_server).pending, 0);
        fake_peer_close(peers[0]);
        settle(the_server);
        assert_int_equal(stats_of(the_server).connections, 0);
        assert_int_equal(ended, how != 2);
        if (ended) assert_int_equal(ends[0], UDS_ECHO_OK);
        assert_int_equal(uds_echo_server_close(the_server), UDS_ECHO_OK);
        (void)teardown(NULL);
    }
}

/* A peer that never ends its side keeps its slot for linger_ms, to the millisecond, and that is named and counted. The
   first cause is the one that is told. */
static void lingering_is_bounded(void **state)
{
    static const struct {
        uds_echo_verdict verdict;
        uds_echo_error why;
    } cases[] = {{UDS_ECHO_REPLY_AND_CLOSE, UDS_ECHO_ERR_LINGER}, {(uds_echo_verdict)77, UDS_ECHO_ERR_BAD_HANDLER}};
    size_t i;
    (void)state;
    for (i = 0; i < 2; i++) {
        uds_echo_server_desc desc = line_desc();
        long long then;
        (void)setup(NULL);
        desc.linger_ms = 700;
        desc.idle_ms = 100; /* says nothing of who lingers */
        answer = cases[i].verdict;
        the_server = serve(desc);
        peers[0] = joined(the_server);
        say(peers[0], "hello\n");
        then = fake_now_ms();
        while (!ended) {
            assert_int_equal(uds_echo_server_step(the_server, 50), UDS_ECHO_OK);
            (void)fake_peer_send(peers[0], "more", 4); /* which gives it no more time */
            assert_int_equal(uds_echo_server_step(the_server, 0), UDS_ECHO_OK);
            assert_in_range(fake_now_ms() - then, 0, 700);
        }
        assert_int_equal(fake_now_ms() - then, 700);
        closed_for(the_server, cases[i].why);
        fake_peer_close(peers[0]);
        (void)teardown(NULL);
    }
}

/* It begins when this side has ended: the time of a slow handler is not part of it. */
static void lingering_begins_behind_slow_handlers(void **state)
{
    uds_echo_server_desc desc = line_desc();
    (void)state;
    desc.linger_ms = 700;
    answer = UDS_ECHO_REPLY_AND_CLOSE;
    sleeps_ms = 500;
    the_server = serve(desc);
    peers[0] = joined(the_server);
    say(peers[0], "hello\n");
    assert_int_equal(uds_echo_server_step(the_server, 0), UDS_ECHO_OK);
    assert_int_equal(uds_echo_server_timeout(the_server), 700);
    close_all(1);
}

/* Each has its own time; without linger_ms it is 30 seconds. */
static void each_lingers_for_its_own_time(void **state)
{
    uds_echo_server_desc desc = line_desc();
    int i;
    (void)state;
    desc.connections_max = 8;
    answer = UDS_ECHO_REPLY_AND_CLOSE;
    the_server = serve(desc);
    for (i = 0; i < 5; i++) {
        peers[i] = joined(the_server);
        say(peers[i], "hello\n");
        settle(the_server);
        fake_sleep(1000);
    }
    assert_int_equal(uds_echo_server_timeout(the_server), 25000);
    fake_peer_close(peers[2]); /* one in the middle ends as it should */
    settle(the_server);
    assert_int_equal(ended, 1);
    for (i = 0; i < 4; i++) {
        fake_sleep(uds_echo_server_timeout(the_server));
        settle(the_server);
        assert_int_equal(ended, i + 2);
        assert_int_equal(ends[i + 1], UDS_ECHO_ERR_LINGER);
    }
    assert_int_equal(uds_echo_server_timeout(the_server), -1);
    fake_peer_close(peers[0]);
    fake_peer_close(peers[1]);
    fake_peer_close(peers[3]);
    fake_peer_close(peers[4]);
    assert_int_equal(uds_echo_server_close(the_server), UDS_ECHO_OK);
}

/* 10,000 peers that never end, fifty at a time: memory is flat, and each place is free again in time. */
static void those_who_never_end(void **state)
{
    uds_echo_server_desc desc = line_desc();
    size_t bytes;
    int round, i;
    (void)state;
    fake.calls_max = 10000000;
    desc.connections_max = 50;
    desc.linger_ms = 100;
    answer = UDS_ECHO_REPLY_AND_CLOSE;
    the_server = serve(desc);
    ended = 64; /* the list is short */
    bytes = fake_live_bytes();
    for (round = 0; round < 200; round++) {
        for (i = 0; i < 50; i++) {
            if (round) fake_peer_close(peers[i]);
            peers[i] = fake_peer_connect(PATH);
            assert_true(peers[i] >= 0);
            say(peers[i], "hello\n");
            settle(the_server);
        }
        for (i = 0; i < 50; i++) (void)fake_peer_send(peers[i], "and more\n", 9);
        settle(the_server);
        assert_int_equal(fake_live_bytes(), bytes);
        assert_int_equal(stats_of(the_server).connections, 50);
        fake_sleep(100);
        settle(the_server);
        assert_int_equal(stats_of(the_server).connections, 0);
        for (i = 0; i < 50; i++) assert_string_equal(heard(peers[i]), "hello\n");
    }
    assert_int_equal(handled, 10000);
    assert_int_equal(stats_of(the_server).closed[UDS_ECHO_ERR_LINGER], 10000);
    close_all(50);
}

/* A full table makes room by those who linger, before it takes one that is served. */
static void who_lingers_is_evicted_first(void **state)
{
    uds_echo_server_desc desc = line_desc();
    (void)state;
    desc.connections_max = 2;
    desc.when_full = UDS_ECHO_FULL_EVICT;
    the_server = serve(desc);
    peers[0] = joined(the_server); /* the idlest */
    peers[1] = joined(the_server);
    uds_echo_conn_close(&the_server->conns[1]);
    settle(the_server);
    peers[2] = joined(the_server);
    assert_int_equal(ended, 1);
    assert_int_equal(ends[0], UDS_ECHO_ERR_EVICTED);
    say(peers[0], "hello\n");
    settle(the_server);
    assert_string_equal(heard(peers[0]), "hello\n");
    close_all(3);
}

/* H5: a forked child holds a copy of the socket. The peer learns of the end all the same. */
static void an_end_is_seen_beside_a_copy(void **state)
{
    int how;
    (void)state;
    for (how = 0; how < 3; how++) {
        uds_echo_server_desc desc = line_desc();
        char byte;
        (void)setup(NULL);
        if (how == 1) answer = UDS_ECHO_REPLY_AND_CLOSE;
        the_server = serve(desc);
        peers[0] = joined(the_server);
        fake_hold(the_server->conns[0].fd);
        say(peers[0], "hello\n");
        settle(the_server);
        if (how == 0) (void)fake_peer_shutdown(peers[0], SHUT_WR);
        if (how == 2) uds_echo_server_stop(the_server, UDS_ECHO_STOP_DRAIN);
        if (how == 2) until_stopped(the_server);
        settle(the_server);
        assert_string_equal(heard(peers[0]), "hello\n");
        assert_int_equal(fake_peer_recv(peers[0], &byte, 1), 0);
        close_all(1);
        (void)teardown(NULL);
    }
}

/* ---- drains -------------------------------------------------------------------------------------------------------- */

static uds_echo_server *adopted(uds_echo_server_desc desc)
{
    struct sockaddr_un address;
    socklen_t size;
    ue_path place;
    int fd = fake_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    uds_echo_server *server;
    assert_int_equal(ue_path_split(&place, PATH, "", NULL), UDS_ECHO_OK);
    assert_true(ue_address(&address, &size, &place, ""));
    assert_int_equal(fake_bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(fake_listen(fd, 5), 0);
    desc.path = NULL;
    desc.on_close = on_close;
    ended = 0;
    assert_int_equal(uds_echo_server_adopt(&server, fd, &desc, NULL), UDS_ECHO_OK);
    return server;
}

/* H3: by path and adopted alike, a drain waits for a message of who has sent none yet, and for the rest of one that has
   begun; who is idle after a reply ends at once. */
static void a_drain_lets_messages_be_finished(void **state)
{
    int how;
    (void)state;
    for (how = 0; how < 2; how++) {
        uds_echo_server_desc desc = line_desc();
        char byte;
        int i;
        (void)setup(NULL);
        the_server = how ? adopted(desc) : serve(desc);
        for (i = 0; i < 4; i++) peers[i] = joined(the_server);
        say(peers[1], "first\nsec");
        say(peers[2], "idle\n");
        say(peers[3], "idle\n");
        settle(the_server);
        (void)heard(peers[2]);
        (void)heard(peers[3]);
        say(peers[3], "queued\n"); /* has been sent in time */
        uds_echo_server_stop(the_server, UDS_ECHO_STOP_DRAIN);
        for (i = 0; i < 5; i++) {
            settle(the_server);
            fake_sleep(10);
        }
        assert_int_equal(fake_peer_recv(peers[2], &byte, 1), 0);
        assert_int_equal(fake_peer_send(peers[2], "x", 1), -1);
        assert_int_equal(errno, EPIPE);
        assert_string_equal(heard(peers[3]), "queued\n");
        assert_int_equal(fake_peer_recv(peers[3], &byte, 1), 0);
        assert_int_equal(ended, 2);
        say(peers[0], "late but in time\n");
        say(peers[1], "ond\n");
        until_stopped(the_server);
        assert_string_equal(heard(peers[0]), "late but in time\n");
        assert_string_equal(heard(peers[1]), "first\nsecond\n");
        assert_int_equal(ended, 4);
        assert_int_equal(stats_of(the_server).closed[UDS_ECHO_OK], 4);
        close_all(4);
        if (how) fake_remove(PATH);
        (void)teardown(NULL);
    }
}

/* Half of drain_ms, and 2,500 ms where that has no limit, is what they have. A queued message is handled even then. */
static void a_drain_waits_for_messages_so_long(void **state)
{
    static const int drain_ms[] = {0, 1000, -1}, expected[] = {2500, 500, 2500};
    int i;
    (void)state;
    for (i = 0; i < 3; i++) {
        uds_echo_server_desc desc = line_desc();
        long long then;
        (void)setup(NULL);
        desc.drain_ms = drain_ms[i];
        the_server = serve(desc);
        peers[0] = joined(the_server);
        peers[1] = joined(the_server);
        peers[2] = joined(the_server);
        say(peers[1], "hal");
        settle(the_server);
        then = fake_now_ms();
        uds_echo_server_stop(the_server, UDS_ECHO_STOP_DRAIN);
        while (fake_now_ms() - then < expected[i] - 1) {
            assert_int_equal(uds_echo_server_step(the_server, 1), UDS_ECHO_OK);
            assert_int_equal(ended, 0);
        }
        say(peers[2], "in time\n");
        fake_sleep(1);
        until_stopped(the_server);
        assert_int_equal(fake_now_ms() - then, expected[i]);
        assert_string_equal(heard(peers[2]), "in time\n");
        assert_int_equal(stats_of(the_server).closed[UDS_ECHO_OK], 2);
        assert_int_equal(stats_of(the_server).closed[UDS_ECHO_ERR_UNEXPECTED_EOF], 1);
        close_all(3);
        (void)teardown(NULL);
    }
}

/* A reply that is owed, and one that waits for its reader, are waited for until drain_ms. The connection ends behind it. */
static void a_drain_waits_for_replies(void **state)
{
    uds_echo_server_desc desc = line_desc();
    long long then;
    (void)state;
    fake.queue_bytes = 30;
    desc.drain_ms = 1000;
    the_server = serve(desc);
    peers[0] = joined(the_server);
    peers[1] = joined(the_server);
    peers[2] = joined(the_server);
    say(peers[0], "?\n");
    say(peers[1], "a line of 20 bytes.\n");
    settle(the_server);
    say(peers[1], "a line of 20 bytes.\n");
    say(peers[2], "?\n");
    settle(the_server);
    then = fake_now_ms();
    uds_echo_server_stop(the_server, UDS_ECHO_STOP_DRAIN);
    settle(the_server);
    fake_sleep(900);
    settle(the_server);
    assert_int_equal(ended, 0);
    assert_int_equal(uds_echo_conn_send(&the_server->conns[0], "paid\n", 5), UDS_ECHO_OK);
    assert_string_equal(heard(peers[1]), "a line of 20 bytes.\na line of ");
    settle(the_server);
    assert_int_equal(ended, 2);
    assert_int_equal(ends[0], UDS_ECHO_OK);
    assert_int_equal(ends[1], UDS_ECHO_OK);
    assert_string_equal(heard(peers[0]), "paid\n");
    assert_string_equal(heard(peers[1]), "20 bytes.\n");
    until_stopped(the_server);
    assert_int_equal(fake_now_ms() - then, 1000);
    assert_int_equal(ends[2], UDS_ECHO_ERR_STOPPED);
    close_all(3);
}

/* Who lingers when a drain ends is cut by it. */
static void a_drain_ends_those_who_linger(void **state)
{
    uds_echo_server_desc desc = line_desc();
    long long then;
    (void)state;
    answer = UDS_ECHO_REPLY_AND_CLOSE;
    the_server = serve(desc);
    peers[0] = joined(the_server);
    say(peers[0], "hello\n");
    settle(the_server);
    then = fake_now_ms();
    uds_echo_server_stop(the_server, UDS_ECHO_STOP_DRAIN);
    until_stopped(the_server);
    assert_int_equal(fake_now_ms() - then, 5000);
    assert_string_equal(heard(peers[0]), "hello\n");
    assert_int_equal(ends[0], UDS_ECHO_ERR_STOPPED);
    close_all(1);
}

/* ---- one more look ------------------------------------------------------------------------------------------------- */

/* H1: a request lies in the socket. The process was stopped for long, or a signal or a clock that jumped makes the wait
   look as if nothing had come: nothing is cut, and the request is answered. */
static const char *said_meanwhile;

static void speak_meanwhile(void)
{
    say(peers[0], said_meanwhile);
}

static void nobody_is_cut_by_a_stop_of_the_process(void **state)
{
    static const char *const befores[] = {"hello\n", "hello\nhal"}, *const afters[] = {"again\n", "f\n"};
    unsigned long call, last;
    int drain, partial;
    (void)state;
    for (drain = 0; drain < 2; drain++) {
        for (partial = 0; partial < 2; partial++) {
            for (call = 1, last = 1; call <= last; call++) {
                uds_echo_server_desc desc = line_desc();
                unsigned long began;
                uds_echo_error error;
                (void)setup(NULL);
                desc.idle_ms = 300;
                desc.message_ms = partial ? 400 : 0;
                desc.drain_ms = 1000;
                the_server = serve(desc);
                peers[0] = joined(the_server);
                if (!drain || partial) say(peers[0], befores[partial]);
                settle(the_server);
                (void)heard(peers[0]);
                if (drain) uds_echo_server_stop(the_server, UDS_ECHO_STOP_DRAIN);
                if (drain) settle(the_server);
                said_meanwhile = afters[partial];
                fake.meanwhile = speak_meanwhile;
                began = fake_calls();
                fake_stop_at(began + call, 20000);
                error = uds_echo_server_step(the_server, 100);
                assert_true(error == UDS_ECHO_OK || (drain && error == UDS_ECHO_ERR_STOPPED));
                last = fake_calls() - began;
                if (call > last) speak_meanwhile();
                fake_stop_at(0, 0);
                fake.meanwhile = NULL;
                settle(the_server);
                assert_string_equal(heard(peers[0]), partial ? "half\n" : "again\n");
                close_all(1);
                (void)teardown(NULL);
            }
            assert_in_range(last, 2, 100);
        }
    }
}

/* And who has nothing to say is cut, one look later. */
static void who_says_nothing_is_cut_after_a_stop(void **state)
{
    uds_echo_server_desc desc = line_desc();
    (void)state;
    desc.idle_ms = 300;
    the_server = serve(desc);
    peers[0] = joined(the_server);
    fake_stop_at(fake_calls() + 2, 20000);
    settle(the_server);
    closed_for(the_server, UDS_ECHO_ERR_IDLE);
    fake_peer_close(peers[0]);
}

/* ---- message_ms ---------------------------------------------------------------------------------------------------- */

/* H6: a byte at a time keeps nobody from being idle, and yet one message has its time, from its first byte. */
static void a_message_has_its_time(void **state)
{
    uds_echo_server_desc desc = line_desc();
    long long then;
    int i;
    (void)state;
    desc.idle_ms = 300;
    desc.message_ms = 1000;
    the_server = serve(desc);
    peers[0] = joined(the_server);
    for (i = 0; i < 10; i++) { /* whole ones, for long */
        say(peers[0], "hello\n");
        settle(the_server);
        fake_sleep(200);
    }
    assert_int_equal(ended, 0);
    (void)heard(peers[0]);
    say(peers[0], "last\nx"); /* the first byte comes behind another message */
    then = fake_now_ms();
    settle(the_server);
    assert_string_equal(heard(peers[0]), "last\n");
    for (i = 0; !ended && i < 50; i++) {
        fake_sleep(100);
        say(peers[0], "y");
        settle(the_server);
    }
    assert_int_equal(fake_now_ms() - then, 1000);
    fake_peer_close(peers[0]);
    closed_for(the_server, UDS_ECHO_ERR_TIMEOUT);
}

/* The time runs while the server reads: not while a reply is owed or unsent, and anew for the next message. */
static void the_time_of_a_message_is_its_own(void **state)
{
    uds_echo_server_desc desc = line_desc();
    int i;
    (void)state;
    desc.message_ms = 1000;
    the_server = serve(desc);
    peers[0] = joined(the_server);
    say(peers[0], "?\nhal");
    settle(the_server);
    assert_int_equal(uds_echo_server_timeout(the_server), -1);
    fake_sleep(5000);
    settle(the_server);
    assert_int_equal(uds_echo_conn_send(&the_server->conns[0], "paid\n", 5), UDS_ECHO_OK);
    settle(the_server);
    assert_int_equal(uds_echo_server_timeout(the_server), 1000);
    for (i = 0; i < 5; i++) {
        fake_sleep(900);
        say(peers[0], "f\nhal");
        settle(the_server);
        assert_int_equal(uds_echo_server_timeout(the_server), 1000);
    }
    say(peers[0], "f\n");
    settle(the_server);
    assert_int_equal(uds_echo_server_timeout(the_server), -1);
    assert_int_equal(ended, 0);
    assert_string_equal(heard(peers[0]), "paid\nhalf\nhalf\nhalf\nhalf\nhalf\nhalf\n");
    close_all(1);
}

/* The rest of it may be in the socket when the time is up. */
static void a_message_that_is_whole_is_not_cut(void **state)
{
    uds_echo_server_desc desc = line_desc();
    (void)state;
    desc.message_ms = 1000;
    the_server = serve(desc);
    peers[0] = joined(the_server);
    peers[1] = joined(the_server);
    say(peers[0], "hal");
    settle(the_server);
    sleeps_ms = 2000; /* a slow handler of somebody else */
    say(peers[1], "slow\n");
    fake.staged = 1;
    (void)fake_peer_send(peers[0], "f\n", 2);
    assert_int_equal(uds_echo_server_step(the_server, 0), UDS_ECHO_OK);
    (void)fake_peer_arrive(peers[0], 2);
    settle(the_server);
    fake.staged = 0;
    assert_int_equal(ended, 0);
    close_all(2);
}

/* ---- the client ---------------------------------------------------------------------------------------------------- */

static int client_listener, client_peer, replied;

static int accept_and_read(void *user)
{
    char bytes[64];
    (void)user;
    if (client_peer < 0) {
        client_peer = fake_peer_accept(client_listener);
        return client_peer >= 0;
    }
    return fake_peer_recv(client_peer, bytes, sizeof bytes) > 0;
}

static void reply_meanwhile(void)
{
    if (client_peer < 0) client_peer = fake_peer_accept(client_listener);
    if (client_peer < 0) return;
    replied = fake_peer_send(client_peer, "reply", 5) == 5;
    (void)fake_peer_shutdown(client_peer, SHUT_WR);
}

/* H1: the client is stopped before any of its calls until long after its deadline, and the whole reply comes meanwhile: it
   is the reply, and not TIMEOUT. */
static void a_client_that_was_stopped_gets_its_reply(void **state)
{
    unsigned long call, last = 1;
    int got_it = 0;
    (void)state;
    for (call = 1; call <= last; call++) {
        char reply[16];
        size_t size = 0;
        uds_echo_error error;
        unsigned long began;
        (void)setup(NULL);
        client_listener = fake_put_live(PATH, SOCK_STREAM, 1);
        fake_set_mode(PATH, 0777);
        client_peer = -1;
        replied = 0;
        fake.world = accept_and_read;
        fake.meanwhile = reply_meanwhile;
        began = fake_calls();
        fake_stop_at(began + call, 20000);
        error = uds_echo_call(PATH, "hello", 5, reply, sizeof reply, &size, 300, NULL);
        last = fake_calls() - began > call ? call + 1 : 0;
        if (replied && fake_call_at(began + call) != FAKE_close) { /* by then it has looked, and given up */
            assert_int_equal(error, UDS_ECHO_OK);
            assert_int_equal(size, 5);
            got_it++;
        } else {
            assert_int_equal(error, UDS_ECHO_ERR_TIMEOUT);
        }
        if (client_peer >= 0) fake_peer_close(client_peer);
        fake_peer_close(client_listener);
        (void)teardown(NULL);
    }
    assert_in_range(call, 8, 40);
    assert_in_range(got_it, 3, 40);
}

static int line[8], accepts;

static int accept_one_of_the_line(void *user)
{
    (void)user;
    fake_sleep(10);
    client_peer = fake_peer_accept(client_listener);
    accepts++;
    if (client_peer < 0) return 0;
    (void)fake_peer_send(client_peer, "reply", 5);
    (void)fake_peer_shutdown(client_peer, SHUT_WR);
    return 1;
}

/* H4: with a full queue the client waits in the kernel's line, and gets its place behind those who were there before it,
   and before those who came after it. */
static void a_client_waits_in_line(void **state)
{
    char reply[16];
    size_t size = 0;
    int i;
    (void)state;
    fake.calls_max = 1000000;
    client_listener = fake_peer_listen(PATH, 0777, 0);
    assert_true(fake_peer_connect(PATH) >= 0);
    for (i = 0; i < 3; i++) line[i] = fake_peer_wait(PATH);
    for (i = 0; i < 3; i++) assert_true(fake_peer_waits(line[i]));
    accepts = 0;
    fake.world = accept_one_of_the_line;
    assert_int_equal(uds_echo_call(PATH, "", 0, reply, sizeof reply, &size, 1000, NULL), UDS_ECHO_OK);
    assert_int_equal(size, 5);
    assert_int_equal(accepts, 5);
    fake_peer_close(client_listener);
}

/* Each step's worth of messages takes a millisecond, in which another peer sends one more byte. */
static uds_echo_verdict trickle(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    static int count;
    (void)conn, (void)m, (void)user;
    if (++count % 64) return UDS_ECHO_NO_REPLY;
    fake_sleep(1);
    (void)fake_peer_send(peers[1], "x", 1);
    return UDS_ECHO_NO_REPLY;
}

/* A step that others use up does not give it more time: that it is not whole is looked at all the same. */
static void a_flood_gives_a_message_no_time(void **state)
{
    static char flood[600];
    uds_echo_server_desc desc = line_desc();
    long long began;
    (void)state;
    memset(flood, '\n', sizeof flood);
    fake.queue_bytes = 1024;
    fake.calls_max = 10000000;
    desc.message_max = 4096;
    desc.step_messages = 64;
    desc.message_ms = 10;
    desc.on_message = trickle;
    the_server = serve(desc);
    peers[0] = joined(the_server);
    peers[1] = joined(the_server);
    began = fake_now_ms();
    (void)fake_peer_send(peers[1], "x", 1);
    while (!ended && fake_now_ms() - began < 100) {
        (void)fake_peer_send(peers[0], flood, sizeof flood);
        assert_int_equal(uds_echo_server_step(the_server, 0), UDS_ECHO_OK);
    }
    assert_int_equal(ended, 1);
    assert_int_equal(ends[0], UDS_ECHO_ERR_TIMEOUT);
    assert_in_range(fake_now_ms() - began, 10, 13);
    close_all(2);
}

static long long wakes_at;

static void wake_then(fake_call what)
{
    if (what != FAKE_clock_gettime || fake_now_ms() < wakes_at) return;
    fake.before = NULL;
    uds_echo_server_wake(the_server);
}

static void reply_now(uds_echo_server *server, void *user)
{
    (void)user;
    assert_int_equal(uds_echo_conn_send(&server->conns[0], "just in time", 12), UDS_ECHO_OK);
}

/* A worker that is done as the drain ends: its wake is looked at, too. */
static void a_reply_that_comes_as_a_drain_ends(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    (void)state;
    desc.on_message = later_if_asked;
    desc.on_wake = reply_now;
    desc.drain_ms = 1000;
    the_server = serve(desc);
    peers[0] = joined(the_server);
    say(peers[0], "?");
    settle(the_server);
    uds_echo_server_stop(the_server, UDS_ECHO_STOP_DRAIN);
    wakes_at = fake_now_ms() + 1000;
    fake.before = wake_then;
    until_stopped(the_server);
    assert_null(fake.before);
    assert_string_equal(heard(peers[0]), "just in time");
    close_all(1);
}

static int is_replaced;

static int replace_then_reply(void *user)
{
    (void)user;
    if (!is_replaced) {
        is_replaced = 1;
        fake_remove(PATH);
        client_listener = fake_put_live(PATH, SOCK_STREAM, 1);
        fake_set_mode(PATH, 0777);
        return 0;
    }
    client_peer = fake_peer_accept(client_listener);
    if (client_peer < 0) return 0;
    (void)fake_peer_send(client_peer, "reply", 5);
    (void)fake_peer_shutdown(client_peer, SHUT_WR);
    return 1;
}

/* Signals make no wait longer: a path that leads to another server by now is noticed as soon as without them. */
static void signals_do_not_bind_a_client_to_a_line(void **state)
{
    char reply[16];
    size_t size = 0;
    long long began;
    int old;
    (void)state;
    old = fake_peer_listen(PATH, 0777, 0);
    assert_true(fake_peer_connect(PATH) >= 0);
    is_replaced = 0;
    fake.world = replace_then_reply;
    began = fake_now_ms();
    fail_next(FAKE_connect, 1, 24, EINTR);
    assert_int_equal(uds_echo_call(PATH, "", 0, reply, sizeof reply, &size, 60000, NULL), UDS_ECHO_OK);
    fake.before = NULL;
    assert_int_equal(size, 5);
    assert_int_equal(fail_times, 0);
    assert_in_range(fake_now_ms() - began, 100, 1000);
    fake_peer_close(client_peer);
    fake_peer_close(client_listener);
    fake_peer_close(old);
}

/* A place that is free again is nobody's turn: its connection broke as it was put in line. */
static void a_place_in_line_that_is_free(void **state)
{
    uds_echo_server_desc desc = line_desc();
    (void)state;
    desc.step_messages = 1;
    desc.idle_ms = 100;
    the_server = serve(desc);
    peers[0] = joined(the_server);
    say(peers[0], "a\nb\nc\n");
    fake_peer_close(peers[0]);
    assert_int_equal(uds_echo_server_step(the_server, 0), UDS_ECHO_OK);
    assert_int_equal(ended, 1);
    assert_int_equal(ends[0], UDS_ECHO_ERR_RESET);
    settle(the_server);
    fake_sleep(200);
    settle(the_server);
    assert_int_equal(ended, 1);
    close_all(0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_still_sends_gets_the_reply),
        TEST(lingering_is_bounded),
        TEST(lingering_begins_behind_slow_handlers),
        TEST(each_lingers_for_its_own_time),
        TEST(those_who_never_end),
        TEST(who_lingers_is_evicted_first),
        TEST(an_end_is_seen_beside_a_copy),
        TEST(a_drain_lets_messages_be_finished),
        TEST(a_drain_waits_for_messages_so_long),
        TEST(a_drain_waits_for_replies),
        TEST(a_drain_ends_those_who_linger),
        TEST(nobody_is_cut_by_a_stop_of_the_process),
        TEST(who_says_nothing_is_cut_after_a_stop),
        TEST(a_message_has_its_time),
        TEST(the_time_of_a_message_is_its_own),
        TEST(a_message_that_is_whole_is_not_cut),
        TEST(a_client_that_was_stopped_gets_its_reply),
        TEST(a_client_waits_in_line),
        TEST(a_place_in_line_that_is_free),
        TEST(a_flood_gives_a_message_no_time),
        TEST(a_reply_that_comes_as_a_drain_ends),
        TEST(signals_do_not_bind_a_client_to_a_line),
    };
    return cmocka_run_group_tests_name("endings", tests, NULL, NULL);
}
