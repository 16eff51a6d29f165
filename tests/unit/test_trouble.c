/* A connection and a server in trouble: calls that fail, peers that stall, limits that are reached. */
#include "harness.h"
#include "served.h"

static uds_echo_failure why;

/* ---- a connection ------------------------------------------------------------------------------------------------ */

static void an_interruption_is_not_the_end(void **state)
{
    static const struct {
        fake_call what;
        int os_error;
    } cases[] = {{FAKE_recv, EINTR},       {FAKE_recv, EAGAIN}, {FAKE_send, EINTR},    {FAKE_send, EAGAIN},
                 {FAKE_epoll_wait, EINTR}, {FAKE_poll, EINTR},  {FAKE_accept4, EINTR}, {FAKE_accept, EINTR}};
    uds_echo_server *server;
    size_t i;
    int peer;
    (void)state;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        server = serve(plain_desc());
        fail_next(cases[i].what, 0, 1, cases[i].os_error);
        assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
        peer = joined(server);
        say(peer, "hello");
        settle(server);
        assert_string_equal(heard(peer), "hello");
        fake_peer_shutdown(peer, SHUT_WR);
        settle(server);
        closed_for(server, UDS_ECHO_OK);
        fake_peer_close(peer);
    }
}

/* P16: some errors of accept are about the one that left; want of something, and a no that stays, make it rest. */
static void accept_goes_on(void **state)
{
    static const struct {
        int os_error, rests;
    } cases[] = {{EINTR, 0},  {ECONNABORTED, 0}, {EPROTO, 0}, {EPERM, 1}, {EMFILE, 1},
                 {ENFILE, 1}, {ENOBUFS, 1},      {ENOMEM, 1}, {EINVAL, 1}};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uds_echo_server *server = serve(plain_desc());
        int peer = fake_peer_connect(PATH);
        fail_next(UDS_ECHO_HAVE_ACCEPT4 ? FAKE_accept4 : FAKE_accept, 0, 1, cases[i].os_error);
        settle(server);
        assert_int_equal(stats_of(server).pauses_failed, cases[i].rests);
        assert_int_equal(stats_of(server).accepted, !cases[i].rests);
        fake_sleep(100);
        settle(server);
        assert_int_equal(stats_of(server).accepted, 1);
        fake_peer_close(peer);
        (void)uds_echo_server_close(server);
    }
}

/* While a drain empties the queue, one connection that left says nothing about those behind it. */
static void a_drain_goes_on(void **state)
{
    static const int errors[] = {EINTR, ECONNABORTED, EPROTO, EMFILE, ENFILE, ENOMEM, ENOBUFS};
    enum { CLIENTS = 4 };
    size_t e;
    int peers[CLIENTS], skips, i;
    (void)state;
    for (e = 0; e < sizeof errors / sizeof errors[0]; e++)
        for (skips = 0; skips <= CLIENTS; skips++) {
            uds_echo_server_desc desc = plain_desc();
            uds_echo_server *server;
            desc.connections_max = 1;
            server = serve(desc);
            for (i = 0; i < CLIENTS; i++) say(peers[i] = fake_peer_connect(PATH), "queued");
            fail_next(UDS_ECHO_HAVE_ACCEPT4 ? FAKE_accept4 : FAKE_accept, skips, 1, errors[e]);
            uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
            until_stopped(server);
            assert_int_equal(fail_times, 0);
            for (i = 0; i < CLIENTS; i++) {
                assert_string_equal(heard(peers[i]), "queued");
                fake_peer_close(peers[i]);
            }
            (void)uds_echo_server_close(server);
            fake_reset();
        }
}

/* The end of a rest finds the listener unwatchable: that is one more rest, not a try at each step. */
static void a_listener_that_cannot_be_watched_rests(void **state)
{
    uds_echo_server *server = serve(plain_desc());
    unsigned long calls;
    int peer = fake_peer_connect(PATH);
    (void)state;
    fail_next(UDS_ECHO_HAVE_ACCEPT4 ? FAKE_accept4 : FAKE_accept, 0, 1, EMFILE);
    settle(server);
    assert_int_equal(stats_of(server).pauses_failed, 1);
    fail_next(FAKE_epoll_ctl, 0, UDS_ECHO_HAVE_EPOLL, ENOSPC);
    fake_sleep(100);
    (void)uds_echo_server_step(server, 0);
    assert_int_equal(stats_of(server).pauses_failed, 1 + UDS_ECHO_HAVE_EPOLL);
    calls = fake_calls_of(FAKE_epoll_ctl);
    if (UDS_ECHO_HAVE_EPOLL) settle(server);
    assert_int_equal(fake_calls_of(FAKE_epoll_ctl), calls);
    fake_sleep(100);
    settle(server);
    assert_int_equal(stats_of(server).accepted, 1);
    fake_peer_close(peer);
    (void)uds_echo_server_close(server);
}

/* Who shares goes to the end of the line of watchers after each that it took; where that fails it rests. */
static void a_sharer_that_cannot_watch_rests(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *first = serve(desc), *second;
    int peer;
    (void)state;
    desc.path = NULL;
    desc.share_with = first;
    if (!UDS_ECHO_HAVE_ATOMIC || !UDS_ECHO_HAVE_EPOLL) {
        (void)uds_echo_server_close(first);
        return;
    }
    second = open_server(&desc);
    peer = fake_peer_connect(PATH);
    fail_next(FAKE_epoll_ctl, 1, 1, ENOSPC); /* the connection's comes first */
    assert_int_equal(uds_echo_server_step(first, 0), UDS_ECHO_OK);
    assert_int_equal(stats_of(first).accepted, 1);
    assert_int_equal(stats_of(first).pauses_failed, 1);
    assert_in_range(uds_echo_server_timeout(first), 1, 100);
    fake_peer_close(peer);
    (void)uds_echo_server_close(first);
    (void)uds_echo_server_close(second);
}

/* However long it may sleep: what is due wakes it. */
static void a_wait_ends_when_something_is_due(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    long long began;
    int peer;
    (void)state;
    desc.idle_ms = 50;
    server = serve(desc);
    peer = joined(server);
    began = fake_now_ms();
    assert_int_equal(uds_echo_server_step(server, 1000), UDS_ECHO_OK);
    assert_int_equal(fake_now_ms() - began, 50);
    fake_peer_close(peer);
    closed_for(server, UDS_ECHO_ERR_IDLE);
}

static void errors_of_a_connection_have_names(void **state)
{
    static const struct {
        fake_call what;
        int os_error;
        uds_echo_error error;
    } cases[] = {{FAKE_recv, ECONNRESET, UDS_ECHO_ERR_RESET},  {FAKE_recv, ENOMEM, UDS_ECHO_ERR_NO_MEMORY},
                 {FAKE_send, EPIPE, UDS_ECHO_ERR_RESET},       {FAKE_send, ECONNRESET, UDS_ECHO_ERR_RESET},
                 {FAKE_send, ENOBUFS, UDS_ECHO_ERR_NO_MEMORY}, {FAKE_setsockopt, ENOMEM, UDS_ECHO_ERR_NO_MEMORY}};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uds_echo_server *server = serve(plain_desc());
        int peer;
        fail_next(cases[i].what, 0, 1, cases[i].os_error);
        peer = joined(server);
        (void)fake_peer_send(peer, "hello", 5);
        settle(server);
        assert_string_equal(heard(peer), "");
        assert_int_equal(stats_of(server).closed[cases[i].error], 1);
        assert_int_equal(ended, cases[i].what != FAKE_setsockopt); /* that one was never welcome */
        fake_peer_close(peer);
        (void)uds_echo_server_close(server);
    }
}

static uds_echo_verdict grow(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)conn, (void)user;
    memset(m->data + m->size, m->data[0], m->capacity - m->size);
    m->size = m->capacity;
    return UDS_ECHO_REPLY;
}

/* Answers longer than their questions: what was collected is sent before the next one could pass the end. */
static void answers_outgrow_the_room(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    const char *text;
    int peer, i;
    (void)state;
    fake.queue_bytes = 4000;
    desc.frame = lines;
    desc.on_message = grow;
    server = serve(desc);
    peer = joined(server);
    say(peer, "a\nb\nc\nd\ne\n");
    settle(server);
    text = heard(peer);
    assert_int_equal(strlen(text), 5 * 64);
    for (i = 0; i < 5; i++) assert_int_equal(text[64 * i], 'a' + i);
    assert_int_equal(stats_of(server).pending_peak, 0);
    assert_int_equal(stats_of(server).bytes_out, 5 * 64);
    fake_peer_close(peer);
    (void)uds_echo_server_close(server);
}

static uds_echo_verdict push_first(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)user;
    if (m->data[0] == 'p') assert_int_equal(uds_echo_conn_send(conn, "push\n", 5), UDS_ECHO_OK);
    return UDS_ECHO_REPLY;
}

/* A push from the handler comes after the answers before it, and before its own. */
static void pushes_keep_the_order(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer;
    (void)state;
    desc.frame = lines;
    desc.on_message = push_first;
    server = serve(desc);
    peer = joined(server);
    say(peer, "one\ntwo\nplus\nfour\n");
    settle(server);
    assert_string_equal(heard(peer), "one\ntwo\npush\nplus\nfour\n");
    fake_peer_close(peer);
    (void)uds_echo_server_close(server);
}

/* A push behind bytes of which a part was sent. */
static void a_push_joins_what_waits(void **state)
{
    uds_echo_server *server;
    char text[64];
    int peer;
    (void)state;
    fake.queue_bytes = 20;
    server = serve(plain_desc());
    peer = joined(server);
    assert_int_equal(uds_echo_conn_send(&server->conns[0], "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ", 46), 0);
    assert_int_equal(fake_peer_recv(peer, text, 15), 15);
    settle(server); /* 35 are sent now, 11 wait */
    assert_int_equal(ue_unsent_size(&server->conns[0]), 11);
    assert_int_equal(stats_of(server).bytes_out, 35);
    assert_int_equal(stats_of(server).pending, 26); /* the block that was made first: of 46, 20 were sent at once */
    assert_int_equal(uds_echo_conn_send(&server->conns[0], "!?", 2), UDS_ECHO_OK);
    assert_int_equal(ue_unsent_size(&server->conns[0]), 13);
    assert_int_equal(stats_of(server).pending, 26 + UE_BLOCK);
    assert_string_equal(heard(peer), "fghijklmnopqrstuvwxy");
    settle(server);
    assert_string_equal(heard(peer), "zABCDEFGHIJ!?");
    assert_int_equal(stats_of(server).pending, 0);
    assert_int_equal(stats_of(server).bytes_out, 48);
    fake_peer_close(peer);
    (void)uds_echo_server_close(server);
}

/* There is no memory for a push behind bytes that wait: they are freed, with what they counted, and the end has
   a name. */
static void a_push_without_memory(void **state)
{
    uds_echo_server *server;
    int peer;
    (void)state;
    fake.queue_bytes = 4;
    server = serve(plain_desc());
    peer = joined(server);
    assert_int_equal(uds_echo_conn_send(&server->conns[0], "0123456789", 10), UDS_ECHO_OK);
    assert_int_equal(stats_of(server).pending, 6);
    fail_next(FAKE_malloc, 0, 1, ENOMEM);
    assert_int_equal(uds_echo_conn_send(&server->conns[0], "abc", 3), UDS_ECHO_ERR_NO_MEMORY);
    settle(server);
    assert_int_equal(stats_of(server).pending, 0);
    closed_for(server, UDS_ECHO_ERR_NO_MEMORY);
    fake_peer_close(peer);
}

/* A peer hangs up with its queue full: that is all there is to tell of it, and no room comes that was waited for. */
static void a_hang_up_alone(void **state)
{
    uds_echo_server *server;
    int peer;
    (void)state;
    fake.queue_bytes = 4;
    server = serve(plain_desc());
    peer = joined(server);
    assert_int_equal(uds_echo_conn_send(&server->conns[0], "0123456789", 10), UDS_ECHO_OK);
    settle(server);
    assert_int_equal(stats_of(server).pending, 6);
    assert_int_equal(fake_peer_shutdown(peer, SHUT_RDWR), 0);
    settle(server);
    assert_int_equal(stats_of(server).pending, 0);
    closed_for(server, UDS_ECHO_ERR_RESET);
    fake_peer_close(peer);
}

static uds_echo_verdict bye(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)conn, (void)m, (void)user;
    return UDS_ECHO_REPLY_AND_CLOSE;
}

/* REPLY_AND_CLOSE behind an answer that does not fit: all of it arrives, then the end. */
static void close_waits_for_the_rest(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer;
    (void)state;
    fake.queue_bytes = 30;
    desc.on_message = bye;
    server = serve(desc);
    peer = joined(server);
    assert_int_equal(uds_echo_conn_send(&server->conns[0], "0123456789", 10), UDS_ECHO_OK);
    say(peer, "abcdefghijklmnopqrstuvwxyzABCD");
    settle(server);
    assert_int_equal(ended, 0);
    assert_string_equal(heard(peer), "0123456789abcdefghijklmnopqrst");
    settle(server);
    assert_string_equal(heard(peer), "uvwxyzABCD");
    settle(server);
    lingers_for(server, peer, UDS_ECHO_OK);
}

/* '!' announces more than a message may be. */
static size_t announced(const unsigned char *bytes, size_t size, void *user)
{
    return bytes[0] == '!' ? 65 : lines(bytes, size, user);
}

/* The first cause is the one that is told. */
static void the_first_cause_is_told(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer;
    (void)state;
    desc.frame = announced;
    server = serve(desc);
    peer = joined(server);
    say(peer, "answered\n!");
    fail_next(FAKE_send, 0, 1, EPIPE);
    settle(server);
    closed_for(server, UDS_ECHO_ERR_TOO_LONG);
    fake_peer_close(peer);
}

static uds_echo_verdict broken_push(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)m, (void)user;
    assert_int_equal(uds_echo_conn_send(conn, "push", 4), UDS_ECHO_ERR_RESET);
    assert_int_equal(uds_echo_conn_send(conn, "push", 4), UDS_ECHO_ERR_CLOSING);
    assert_null(uds_echo_server_find(uds_echo_conn_server(conn), uds_echo_conn_id(conn)));
    return UDS_ECHO_REPLY;
}

static void a_push_that_breaks(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer;
    (void)state;
    desc.on_message = broken_push;
    server = serve(desc);
    peer = joined(server);
    say(peer, "hello");
    fail_next(FAKE_send, 0, 1, EPIPE);
    settle(server);
    assert_string_equal(heard(peer), ""); /* the reply is not sent behind a push that was lost */
    closed_for(server, UDS_ECHO_ERR_RESET);
    fake_peer_close(peer);
}

static uds_echo_verdict negative(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)conn, (void)m, (void)user;
    return (uds_echo_verdict)-1;
}

static void a_negative_verdict(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer;
    (void)state;
    desc.on_message = negative;
    server = serve(desc);
    peer = joined(server);
    say(peer, "x");
    settle(server);
    lingers_for(server, peer, UDS_ECHO_ERR_BAD_HANDLER);
}

/* Law 5: at most 16 reads and 16 accepts a step, however much there is. */
static void a_step_is_bounded(void **state)
{
    enum { MANY = 40 };
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    char flood[200];
    unsigned long before;
    int peers[MANY], i;
    (void)state;
    memset(flood, 'f', sizeof flood);
    fake.queue_bytes = sizeof flood;
    desc.message_max = 4;
    desc.connections_max = MANY;
    server = serve(desc);
    for (i = 0; i < MANY; i++) peers[i] = fake_peer_connect(PATH);
    for (i = 0; i < 4; i++) {
        assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
        assert_int_equal(stats_of(server).accepted, i < 3 ? 16 * i + 1 : MANY);
    }
    assert_int_equal(fake_peer_send(peers[3], flood, sizeof flood), sizeof flood);
    before = fake_calls_of(FAKE_recv);
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    assert_int_equal(fake_calls_of(FAKE_recv) - before, 16);
    assert_int_equal(stats_of(server).bytes_in, 64);
    settle(server);
    assert_int_equal(strlen(heard(peers[3])), sizeof flood);
    for (i = 0; i < MANY; i++) fake_peer_close(peers[i]);
    (void)uds_echo_server_close(server);
}

/* What fills a large buffer is one read of the step: the others are looked at before more of it. */
static void a_large_read_is_the_last(void **state)
{
    static char flood[2 * 65536];
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    long sizes[] = {65536, 65535};
    int peer, i;
    (void)state;
    memset(flood, 'f', sizeof flood);
    fake.queue_bytes = sizeof flood;
    for (i = 0; i < 2; i++) {
        desc.message_max = sizes[i];
        server = serve(desc);
        peer = joined(server);
        assert_int_equal(fake_peer_send(peer, flood, sizeof flood), sizeof flood);
        assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
        assert_int_equal(stats_of(server).bytes_in, i == 0 ? 65536 : sizeof flood);
        settle(server);
        assert_int_equal(stats_of(server).bytes_out, sizeof flood);
        fake_peer_close(peer);
        settle(server);
        closed_for(server, UDS_ECHO_ERR_RESET);
    }
}

/* A connection that is being discarded is listed, shut and resumed like any other, and stays what it is. */
static void lingering_is_left_alone(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    char flood[200];
    unsigned long shutdowns;
    int peer;
    (void)state;
    memset(flood, 'f', sizeof flood);
    desc.message_max = 4;
    server = serve(desc);
    peer = joined(server);
    assert_int_equal(fake_peer_send(peer, flood, sizeof flood), sizeof flood);
    uds_echo_conn_close(&server->conns[0]);
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK); /* the event finds it listed */
    assert_int_equal(server->conns[0].state, UE_LINGERING);
    shutdowns = fake_calls_of(FAKE_shutdown);
    ue_drain_all(server);
    assert_int_equal(fake_calls_of(FAKE_shutdown), shutdowns);
    settle(server);
    lingers_for(server, peer, UDS_ECHO_OK);
}

/* What was queued behind the end is thrown away over several steps; an interruption does not end that. */
static void lingering_is_interrupted(void **state)
{
    uds_echo_server *server = serve(plain_desc());
    int peer = joined(server);
    (void)state;
    say(peer, "hello");
    uds_echo_conn_close(&server->conns[0]);
    fail_next(FAKE_recv, 0, 1, EINTR);
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    assert_int_equal(fail_times, 0);
    assert_true(fake_open_descriptors() > 0);
    settle(server);
    lingers_for(server, peer, UDS_ECHO_OK);
}

static int welcome_not(uds_echo_conn *conn, void *user)
{
    (void)conn, (void)user;
    return 1;
}

/* The poller takes no more: a connection that cannot be watched is closed, and says so. */
static void what_cannot_be_watched_is_closed(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int refused, peer;
    (void)state;
    if (!UDS_ECHO_HAVE_EPOLL) return; /* poll(2) watches whatever it is given */
    for (refused = 0; refused < 2; refused++) {
        desc.on_open = refused ? welcome_not : NULL;
        server = serve(desc);
        peer = fake_peer_connect(PATH);
        say(peer, "hello");
        fail_next(FAKE_epoll_ctl, 0, 1, ENOMEM);
        if (refused) fail_next(FAKE_recv, 1, 1, EAGAIN), failing = FAKE_epoll_ctl, fail_errno = ENOMEM, fail_skips = 0;
        settle(server);
        assert_int_equal(stats_of(server).connections, 0);
        assert_int_equal(ended, !refused);
        if (!refused) assert_int_equal(ends[0], UDS_ECHO_ERR_NO_MEMORY);
        fake_peer_close(peer);
        (void)uds_echo_server_close(server);
    }
}

static uds_echo_verdict later(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)conn, (void)m, (void)user;
    return UDS_ECHO_DEFER;
}

/* A waiting connection that cannot be looked away from would spin: it is closed. */
static void what_cannot_be_ignored_is_closed(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer;
    (void)state;
    if (!UDS_ECHO_HAVE_EPOLL) return;
    desc.on_message = later;
    server = serve(desc);
    peer = joined(server);
    say(peer, "question");
    settle(server);
    say(peer, "impatient");
    fail_next(FAKE_epoll_del, 0, 1, ENOENT);
    settle(server);
    closed_for(server, UDS_ECHO_ERR_SYSTEM);
    fake_peer_close(peer);
}

/* P45: an event for a slot that was freed and used anew is not for the new one. */
static void stale_events_are_dropped(void **state)
{
    uds_echo_server *server = serve(plain_desc());
    unsigned long recvs;
    int first = joined(server), second;
    (void)state;
    fake_peer_close(first);
    settle(server);
    second = joined(server);
    assert_int_equal(server->conns[0].generation, 2);
    recvs = fake_calls_of(FAKE_recv);
    ue_event(server, 1ull << 32 | UE_INDEX_CONN);
    assert_int_equal(fake_calls_of(FAKE_recv), recvs);
    ue_event(server, 2ull << 32 | UE_INDEX_CONN);
    assert_int_equal(fake_calls_of(FAKE_recv), recvs + 1);
    fake_peer_close(second);
    (void)uds_echo_server_close(server);
}

/* A generation that passes its end does not become 0, which no id has. */
static void generations_wrap(void **state)
{
    uds_echo_server *server = serve(plain_desc());
    int peer;
    (void)state;
    server->conns[0].generation = 0xffffffffu;
    peer = joined(server);
    assert_int_equal(server->conns[0].generation, 1);
    assert_ptr_equal(uds_echo_server_find(server, 1ull << 32), &server->conns[0]);
    fake_peer_close(peer);
    (void)uds_echo_server_close(server);
}

/* ---- room, idleness, places -------------------------------------------------------------------------------------- */

/* An answer was put off; then the connection is closed instead. */
static void closed_instead_of_answered(void **state)
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
    assert_int_equal(fake_peer_recv(peer, &peer, 0), 0);
    fake_peer_close(peer);
    settle(server);
    closed_for(server, UDS_ECHO_OK);
}

/* Who lowers the limit of descriptors while a server is open finds it working once it holds fewer: poll(2) takes no
   more places than that, in use or not. */
static void fewer_descriptors_than_there_were_peers(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peers[20], i;
    (void)state;
    desc.connections_max = 20;
    server = serve(desc);
    for (i = 0; i < 20; i++) peers[i] = joined(server);
    assert_int_equal(stats_of(server).connections, 20);
    for (i = 1; i < 20; i++) fake_peer_close(peers[i]);
    settle(server);
    fake.descriptors_max = 10;
    say(peers[0], "hello");
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    assert_string_equal(heard(peers[0]), "hello");
    fake_peer_close(peers[0]);
    (void)uds_echo_server_close(server);
}

/* Reading slowly is not idle: any byte either way counts. */
static void a_slow_reader_is_not_idle(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    char full[64], part[10];
    int peer, i;
    (void)state;
    memset(full, 's', sizeof full);
    fake.queue_bytes = 10;
    desc.idle_ms = 100;
    server = serve(desc);
    peer = joined(server);
    assert_int_equal(uds_echo_conn_send(&server->conns[0], full, 64), UDS_ECHO_OK);
    for (i = 0; i < 6; i++) {
        fake_sleep(60);
        assert_int_equal(fake_peer_recv(peer, part, 10), 10);
        settle(server);
        assert_int_equal(ended, 0);
    }
    fake_sleep(99);
    settle(server);
    assert_int_equal(ended, 0);
    fake_sleep(1);
    settle(server);
    fake_peer_close(peer);
    closed_for(server, UDS_ECHO_ERR_IDLE);
}

static uds_echo_id places[4];

static int remember(uds_echo_conn *conn, void *user)
{
    (void)user;
    places[uds_echo_conn_id(conn) & 3] = uds_echo_conn_id(conn);
    return 0;
}

/* The idlest goes, not the newest nor the first. */
static void the_idlest_is_evicted(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    uds_echo_id before[3];
    int peers[3], next;
    (void)state;
    desc.connections_max = 3;
    desc.when_full = UDS_ECHO_FULL_EVICT;
    desc.on_open = remember;
    server = serve(desc);
    for (next = 0; next < 3; next++) peers[next] = joined(server);
    memcpy(before, places, sizeof before);
    say(peers[0], "busy");
    settle(server);
    say(peers[2], "busy");
    settle(server);
    next = joined(server);
    assert_int_equal(ended, 1);
    assert_int_equal(ends[0], UDS_ECHO_ERR_EVICTED);
    assert_non_null(uds_echo_server_find(server, before[0]));
    assert_null(uds_echo_server_find(server, before[1]));
    assert_non_null(uds_echo_server_find(server, before[2]));
    fake_peer_close(next);
    for (next = 0; next < 3; next++) fake_peer_close(peers[next]);
    (void)uds_echo_server_close(server);
}

/* More are ready than one wait brings: what was not looked at yet is not called idle. */
static void idle_waits_for_all_events(void **state)
{
    enum { MANY = 300 };
    static int peers[MANY];
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int i;
    (void)state;
    fake.descriptors_max = 1000;
    fake.calls_max = 1000000;
    desc.connections_max = MANY;
    desc.idle_ms = 1000;
    server = serve(desc);
    for (i = 0; i < MANY; i++) peers[i] = joined(server);
    fake_sleep(1000);
    for (i = 0; i < MANY; i++) say(peers[i], "m");
    settle(server);
    assert_int_equal(ended, 0);
    for (i = 0; i < MANY; i++) assert_string_equal(heard(peers[i]), "m");
    for (i = 0; i < MANY; i++) fake_peer_close(peers[i]);
    (void)uds_echo_server_close(server);
}

/* ---- stop -------------------------------------------------------------------------------------------------------- */

/* Law 8: safe in a signal handler, whatever write(2) says. */
static void stop_and_wake_keep_errno(void **state)
{
    uds_echo_server *server = serve(plain_desc());
    (void)state;
    fail_next(FAKE_write, 0, 2, EINTR);
    errno = 77;
    uds_echo_server_wake(server);
    assert_int_equal(errno, 77);
    uds_echo_server_stop(server, UDS_ECHO_STOP_NOW);
    assert_int_equal(errno, 77);
    (void)uds_echo_server_close(server);
}

/* A neighbour holds the folder's lock: a drain tries for 200 ms, accepts meanwhile, and then leaves the file. */
static int noted;

static void note(uds_echo_log_level level, uds_echo_error cause, const char *text, void *user)
{
    (void)level, (void)user;
    assert_true(strlen(text) > 0);
    if (cause == UDS_ECHO_ERR_BUSY) noted++;
}

static void a_drain_waits_for_the_lock(void **state)
{
    int held;
    (void)state;
    for (held = 0; held < 2; held++) {
        uds_echo_server_desc desc = plain_desc();
        uds_echo_server *server;
        long long began = fake_now_ms();
        int late;
        desc.on_log = note;
        noted = 0;
        server = serve(desc);
        fake.foreign_lock = 1;
        uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
        assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
        assert_true(fake_exists(PATH));
        late = fake_peer_connect(PATH);
        say(late, "in time");
        fake_sleep(20);
        (void)uds_echo_server_step(server, 0);
        (void)uds_echo_server_step(server, 0);
        assert_string_equal(heard(late), "in time");
        fake.foreign_lock = held;
        fake_peer_shutdown(late, SHUT_WR);
        until_stopped(server);
        assert_int_equal(fake_exists(PATH), held);
        assert_int_equal(noted, held);
        assert_in_range(fake_now_ms() - began, held ? 200 : 20, held ? 220 : 60);
        (void)uds_echo_server_close(server);
        fake_peer_close(late);
        fake.foreign_lock = 0;
    }
    fake_remove(PATH);
}

static void a_shutdown_that_fails(void **state)
{
    uds_echo_server *server = serve(plain_desc());
    int peer = joined(server);
    (void)state;
    fail_next(FAKE_shutdown, 1, 1, ENOBUFS); /* the first is the listener's */
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    until_stopped(server);
    fake_peer_close(peer);
    closed_for(server, UDS_ECHO_ERR_NO_MEMORY);
}

/* A listener that somebody else made, on the path; flags: SOCK_CLOEXEC, SOCK_NONBLOCK, both or none. */
static int given(int flags)
{
    struct sockaddr_un address;
    socklen_t size;
    ue_path place;
    int fd = fake_socket(AF_UNIX, SOCK_STREAM | flags, 0);
    assert_int_equal(ue_path_split(&place, PATH, "", NULL), UDS_ECHO_OK);
    assert_true(ue_address(&address, &size, &place, ""));
    assert_int_equal(fake_bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(fake_listen(fd, 5), 0);
    return fd;
}

/* P17: what is missing is set, what is there is not set again, and where that fails nothing is adopted. */
static void an_adopted_listener_is_tamed(void **state)
{
    static const struct {
        int flags, calls;
    } cases[] = {{0, 4}, {SOCK_CLOEXEC, 3}, {SOCK_NONBLOCK, 3}, {SOCK_CLOEXEC | SOCK_NONBLOCK, 2}};
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    size_t i;
    int fails;
    (void)state;
    desc.path = NULL;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (fails = 0; fails <= cases[i].calls; fails++) {
            unsigned long calls = fake_calls_of(FAKE_fcntl);
            int fd = given(cases[i].flags);
            fail_next(FAKE_fcntl, fails, fails < cases[i].calls, ENOMEM);
            assert_int_equal(uds_echo_server_adopt(&server, fd, &desc, &why),
                             fails < cases[i].calls ? UDS_ECHO_ERR_NO_MEMORY : UDS_ECHO_OK);
            if (server) (void)uds_echo_server_close(server);
            else (void)fake_close(fd);
            if (fails == cases[i].calls && UDS_ECHO_HAVE_EVENTFD)
                assert_int_equal(fake_calls_of(FAKE_fcntl) - calls, cases[i].calls);
            fake_remove(PATH);
        }
    }
}

/* P33: who connected before the listener was adopted keeps the right to pass descriptors until it is let in. */
static void an_adopted_connection_passes_nothing(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int fd = given(SOCK_CLOEXEC | SOCK_NONBLOCK), peers[2], passes, i;
    socklen_t size = sizeof passes;
    (void)state;
    peers[0] = fake_peer_connect(PATH);
    desc.path = NULL;
    assert_int_equal(uds_echo_server_adopt(&server, fd, &desc, NULL), UDS_ECHO_OK);
    peers[1] = fake_peer_connect(PATH);
    settle(server);
    assert_int_equal(stats_of(server).connections, 2);
    for (i = 0; i < 2; i++) {
        passes = -1;
        assert_int_equal(fake_getsockopt(server->conns[i].fd, SOL_SOCKET, SO_PASSRIGHTS, &passes, &size), 0);
        assert_int_equal(passes, !UDS_ECHO_HAVE_PASSRIGHTS);
        fake_peer_close(peers[i]);
    }
    (void)uds_echo_server_close(server);
}

/* P6, P42: what was inherited is never shut, and its other holders go on. */
static void an_adopted_listener_is_not_shut(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server, *sharer = NULL;
    int fd = given(SOCK_CLOEXEC | SOCK_NONBLOCK);
    (void)state;
    desc.path = NULL;
    assert_int_equal(uds_echo_server_adopt(&server, fd, &desc, &why), UDS_ECHO_OK);
    desc.share_with = server;
    if (UDS_ECHO_HAVE_ATOMIC) sharer = open_server(&desc);
    desc.share_with = NULL;
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    until_stopped(server);
    uds_echo_server_stop(sharer, UDS_ECHO_STOP_DRAIN);
    if (sharer) until_stopped(sharer); /* it is the last who leaves */
    assert_int_equal(fake_calls_of(FAKE_shutdown), 0);
    assert_int_equal(fake_calls_of(FAKE_unlinkat), 0);
    (void)uds_echo_server_close(sharer);
    (void)uds_echo_server_close(server);
    desc.share_with = server;
    assert_int_equal(uds_echo_server_adopt(&server, 3, &desc, &why), UDS_ECHO_ERR_INVALID);
    assert_string_equal(why.call, "desc.share_with");
    desc.share_with = NULL;
    fail_next(FAKE_getsockopt, 0, 1, EBADF);
    assert_int_equal(uds_echo_server_adopt(&server, 3, &desc, &why), UDS_ECHO_ERR_INVALID);
    assert_string_equal(why.call, "listener");
    assert_int_equal(why.os_error, EBADF);
}

/* Where one of them shuts it, it is readable for ever and has nobody: that may not cost a core. */
static void an_adopted_listener_that_another_shut(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    unsigned long polls;
    int i, fd = given(SOCK_CLOEXEC | SOCK_NONBLOCK), peer, late[2];
    (void)state;
    desc.path = NULL;
    assert_int_equal(uds_echo_server_adopt(&server, fd, &desc, &why), UDS_ECHO_OK);
    peer = joined(server);
    ue_accept_ready(server); /* an empty queue alone, another holder was faster, is nothing to rest for */
    assert_int_equal(stats_of(server).pauses_failed, 0);
    for (i = 0; i < 2; i++) late[i] = fake_peer_connect(PATH);
    assert_int_equal(fake_shutdown(fd, SHUT_RD), 0);
    for (i = 0; i < 2; i++) assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    assert_int_equal(stats_of(server).accepted, 3); /* what was queued still comes */
    for (i = 0; i < 2; i++) fake_peer_close(late[i]);
    for (i = 0; i < 20; i++) assert_int_equal(uds_echo_server_step(server, 50), UDS_ECHO_OK);
    assert_in_range(stats_of(server).pauses_failed, 5, 11);
    say(peer, "still here");
    settle(server);
    assert_string_equal(heard(peer), "still here");
    (void)uds_echo_server_close(server);
    fake_peer_close(peer);
    server = serve(plain_desc()); /* nobody shuts our own: nobody asks */
    polls = fake_calls_of(FAKE_poll);
    ue_accept_ready(server);
    assert_int_equal(fake_calls_of(FAKE_poll), polls);
    (void)uds_echo_server_close(server);
}

/* In a child of each kind of server: with a free slot, drained, about to be, shared, with answers and parts of
   messages. */
static void children_of_all_kinds(void **state)
{
    int kind;
    (void)state;
    for (kind = 0; kind < 4; kind++) {
        uds_echo_server_desc desc = plain_desc();
        uds_echo_server *server, *other = NULL;
        int peers[2], i;
        fake.pid = 100;
        fake.queue_bytes = 10;
        desc.frame = lines;
        server = serve(desc);
        for (i = 0; i < 2; i++) peers[i] = joined(server);
        fake_peer_close(peers[0]);
        settle(server);
        say(peers[1], "part");
        settle(server);
        assert_int_equal(uds_echo_conn_send(&server->conns[1], "0123456789+", 11), UDS_ECHO_OK);
        desc.path = NULL;
        desc.share_with = server;
        if (kind == 1 && UDS_ECHO_HAVE_ATOMIC) other = open_server(&desc);
        if (kind >= 2) uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
        for (i = 0; kind >= 2 && i < (kind == 2 ? 5 : 1); i++) (void)uds_echo_server_step(server, 10);
        fake.pid = 101;
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
        if (other) assert_int_equal(uds_echo_server_close(other), UDS_ECHO_OK);
        fake_peer_close(peers[1]);
        assert_int_equal(fake_open_descriptors(), 0);
        assert_int_equal(fake_live_blocks(), 0);
        fake_remove(PATH);
    }
}

static void the_wait_itself_fails(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    (void)state;
    fail_next(UDS_ECHO_HAVE_EPOLL ? FAKE_epoll_wait : FAKE_poll, UDS_ECHO_HAVE_EPOLL ? 0 : 0, 1, ENOMEM);
    assert_int_equal(uds_echo_serve(&desc, &why), UDS_ECHO_ERR_SYSTEM);
    assert_int_equal(why.error, UDS_ECHO_ERR_SYSTEM);
    assert_int_equal(why.os_error, ENOMEM);
    assert_string_equal(why.call, UDS_ECHO_HAVE_EPOLL ? "epoll_wait" : "poll");
    assert_false(fake_exists(PATH));
}

/* A server that is stopped asks the system for nothing any more. */
static void a_step_after_the_end(void **state)
{
    uds_echo_server *server = serve(plain_desc());
    unsigned long calls;
    (void)state;
    uds_echo_server_stop(server, UDS_ECHO_STOP_NOW);
    until_stopped(server);
    calls = fake_calls_of(FAKE_epoll_wait) + fake_calls_of(FAKE_poll);
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_ERR_STOPPED);
    assert_int_equal(fake_calls_of(FAKE_epoll_wait) + fake_calls_of(FAKE_poll), calls);
    (void)uds_echo_server_close(server);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(an_interruption_is_not_the_end),
                                       TEST(accept_goes_on),
                                       TEST(a_drain_goes_on),
                                       TEST(a_listener_that_cannot_be_watched_rests),
                                       TEST(a_sharer_that_cannot_watch_rests),
                                       TEST(a_wait_ends_when_something_is_due),
                                       TEST(errors_of_a_connection_have_names),
                                       TEST(answers_outgrow_the_room),
                                       TEST(pushes_keep_the_order),
                                       TEST(a_push_joins_what_waits),
                                       TEST(a_push_without_memory),
                                       TEST(a_hang_up_alone),
                                       TEST(close_waits_for_the_rest),
                                       TEST(the_first_cause_is_told),
                                       TEST(a_push_that_breaks),
                                       TEST(a_negative_verdict),
                                       TEST(a_step_is_bounded),
                                       TEST(a_large_read_is_the_last),
                                       TEST(lingering_is_left_alone),
                                       TEST(lingering_is_interrupted),
                                       TEST(what_cannot_be_watched_is_closed),
                                       TEST(what_cannot_be_ignored_is_closed),
                                       TEST(stale_events_are_dropped),
                                       TEST(generations_wrap),
                                       TEST(closed_instead_of_answered),
                                       TEST(fewer_descriptors_than_there_were_peers),
                                       TEST(a_slow_reader_is_not_idle),
                                       TEST(the_idlest_is_evicted),
                                       TEST(idle_waits_for_all_events),
                                       TEST(stop_and_wake_keep_errno),
                                       TEST(a_drain_waits_for_the_lock),
                                       TEST(a_shutdown_that_fails),
                                       TEST(an_adopted_listener_is_tamed),
                                       TEST(an_adopted_connection_passes_nothing),
                                       TEST(an_adopted_listener_is_not_shut),
                                       TEST(an_adopted_listener_that_another_shut),
                                       TEST(children_of_all_kinds),
                                       TEST(the_wait_itself_fails),
                                       TEST(a_step_after_the_end)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
