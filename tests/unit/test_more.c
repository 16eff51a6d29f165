/* The branches that a friendly world never takes: what coverage, forced branches and planted bugs found untested. */
#include "harness.h"

/* ---- calls that fail, and what changes between two calls --------------------------------------------------------- */

static fake_call failing;
static int fail_skips, fail_times, fail_errno;

static void fail_it(fake_call what)
{
    if (what != failing || !fail_times || fail_skips-- > 0) return;
    fail_times--;
    fake_fault(fake_calls(), fail_errno, 0);
}

/* The call of this kind that comes after so many fails, and so many after it. */
static void fail_next(fake_call what, int skips, int times, int os_error)
{
    failing = what;
    fail_skips = skips;
    fail_times = times;
    fail_errno = os_error;
    fake.before = fail_it;
}

static uds_echo_failure why;
static uds_echo_error ends[64];
static int ended;
static uds_echo_id last_id;
static uds_echo_server *the_server;

static void on_close(uds_echo_conn *conn, uds_echo_error reason, void *user)
{
    (void)conn, (void)user;
    if (ended < 64) ends[ended++] = reason;
}

static uds_echo_server *serve(uds_echo_server_desc desc)
{
    ended = 0;
    last_id = 0;
    desc.on_close = on_close;
    the_server = open_server(&desc);
    return the_server;
}

static int joined(uds_echo_server *server)
{
    int peer = fake_peer_connect(PATH);
    assert_true(peer >= 0);
    settle(server);
    return peer;
}

static void closed_for(uds_echo_server *server, uds_echo_error reason)
{
    assert_int_equal(ended, 1);
    assert_int_equal(ends[0], reason);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

static void until_stopped(uds_echo_server *server)
{
    int i;
    for (i = 0; i < 200 && uds_echo_server_step(server, 10) != UDS_ECHO_STOPPED; i++) continue;
    assert_true(i < 200);
}

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

/* P16: some errors of accept are about the one that left; only want of something makes it rest. */
static void accept_goes_on(void **state)
{
    static const struct {
        int os_error, rests;
    } cases[] = {{EINTR, 0},  {ECONNABORTED, 0}, {EPROTO, 0}, {EPERM, 0}, {EMFILE, 1},
                 {ENFILE, 1}, {ENOBUFS, 1},      {ENOMEM, 1}, {EINVAL, 1}};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uds_echo_server *server = serve(plain_desc());
        int peer = fake_peer_connect(PATH);
        fail_next(UDS_ECHO_HAVE_ACCEPT4 ? FAKE_accept4 : FAKE_accept, 0, 1, cases[i].os_error);
        settle(server);
        assert_int_equal(stats_of(server).exhausted, cases[i].rests);
        assert_int_equal(stats_of(server).accepted, !cases[i].rests);
        fake_sleep(100);
        settle(server);
        assert_int_equal(stats_of(server).accepted, 1);
        fake_peer_close(peer);
        (void)uds_echo_server_close(server);
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
    assert_int_equal(stats_of(server).exhausted, 1);
    fail_next(FAKE_epoll_ctl, 0, UDS_ECHO_HAVE_EPOLL, ENOSPC);
    fake_sleep(100);
    (void)uds_echo_server_step(server, 0);
    assert_int_equal(stats_of(server).exhausted, 1 + UDS_ECHO_HAVE_EPOLL);
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
    assert_int_equal(stats_of(first).exhausted, 1);
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
    closed_for(server, UDS_ECHO_IDLE);
}

static void errors_of_a_connection_have_names(void **state)
{
    static const struct {
        fake_call what;
        int os_error;
        uds_echo_error error;
    } cases[] = {{FAKE_recv, ECONNRESET, UDS_ECHO_RESET}, {FAKE_recv, ENOMEM, UDS_ECHO_MEMORY},
                 {FAKE_send, EPIPE, UDS_ECHO_RESET},      {FAKE_send, ECONNRESET, UDS_ECHO_RESET},
                 {FAKE_send, ENOBUFS, UDS_ECHO_MEMORY},   {FAKE_setsockopt, ENOMEM, UDS_ECHO_MEMORY}};
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
    assert_int_equal(ue_block_left(server->conns[0].out), 11);
    assert_int_equal(uds_echo_conn_send(&server->conns[0], "!?", 2), UDS_ECHO_OK);
    assert_int_equal(stats_of(server).pending, 13);
    assert_string_equal(heard(peer), "fghijklmnopqrstuvwxy");
    settle(server);
    assert_string_equal(heard(peer), "zABCDEFGHIJ!?");
    assert_int_equal(stats_of(server).pending, 0);
    fake_peer_close(peer);
    (void)uds_echo_server_close(server);
}

static uds_echo_verdict bye(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)conn, (void)m, (void)user;
    return UDS_ECHO_CLOSE;
}

/* CLOSE behind an answer that does not fit: all of it arrives, then the end. */
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
    assert_int_equal(fake_peer_recv(peer, &peer, 0), 0);
    closed_for(server, UDS_ECHO_OK);
    fake_peer_close(peer);
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
    closed_for(server, UDS_ECHO_TOO_LONG);
    fake_peer_close(peer);
}

static uds_echo_verdict broken_push(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)m, (void)user;
    assert_int_equal(uds_echo_conn_send(conn, "push", 4), UDS_ECHO_RESET);
    assert_int_equal(uds_echo_conn_send(conn, "push", 4), UDS_ECHO_GONE);
    assert_null(uds_echo_server_find(the_server, uds_echo_conn_id(conn)));
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
    closed_for(server, UDS_ECHO_RESET);
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
    closed_for(server, UDS_ECHO_HANDLER);
    fake_peer_close(peer);
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

/* A connection that is being discarded is listed, shut and resumed like any other, and stays what it is. */
static void discarding_is_left_alone(void **state)
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
    assert_int_equal(server->conns[0].state, UE_DISCARDING);
    shutdowns = fake_calls_of(FAKE_shutdown);
    ue_shut_all_input(server);
    assert_int_equal(fake_calls_of(FAKE_shutdown), shutdowns);
    settle(server);
    assert_int_equal(fake_peer_recv(peer, flood, sizeof flood), 0);
    closed_for(server, UDS_ECHO_OK);
    fake_peer_close(peer);
}

/* What was queued behind the end is thrown away over several steps; an interruption does not end that. */
static void discarding_is_interrupted(void **state)
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
    assert_int_equal(fake_peer_recv(peer, &peer, 0), 0);
    closed_for(server, UDS_ECHO_OK);
    fake_peer_close(peer);
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
        if (!refused) assert_int_equal(ends[0], UDS_ECHO_MEMORY);
        fake_peer_close(peer);
        (void)uds_echo_server_close(server);
    }
}

static uds_echo_verdict later(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)m, (void)user;
    last_id = uds_echo_conn_id(conn);
    return UDS_ECHO_LATER;
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
    closed_for(server, UDS_ECHO_SYSTEM);
    fake_peer_close(peer);
}

/* P45: an event for a slot that was freed and used anew in the same step is not for the new one. */
static void stale_events_are_dropped(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    unsigned long recvs;
    int first, second;
    (void)state;
    desc.connections_max = 1;
    desc.when_full = UDS_ECHO_EVICT;
    server = serve(desc);
    first = joined(server);
    second = fake_peer_connect(PATH);
    say(first, "to a slot that is gone");
    recvs = fake_calls_of(FAKE_recv);
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    assert_int_equal(stats_of(server).accepted, 2);
    assert_int_equal(fake_calls_of(FAKE_recv), recvs);
    fake_peer_close(first);
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

static uds_echo_error pushed;
static uds_echo_conn *push_to;

static uds_echo_verdict push_over(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    char full[64];
    (void)conn, (void)user;
    memset(full, 'o', sizeof full);
    pushed = uds_echo_conn_send(push_to, full, sizeof full);
    memset(m->data, 'r', m->capacity);
    m->size = m->capacity;
    return UDS_ECHO_REPLY;
}

/* While a message is handled, room for its answers is kept from pushes to others. */
static void room_for_answers_is_reserved(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int other, peer, third;
    char full[64];
    (void)state;
    memset(full, 'x', sizeof full);
    fake.queue_bytes = 1;
    desc.pending_max = 200;
    desc.on_message = push_over;
    server = serve(desc);
    third = joined(server);
    other = joined(server);
    peer = joined(server);
    assert_int_equal(uds_echo_conn_send(&server->conns[0], full, 10), UDS_ECHO_OK); /* 9 wait */
    push_to = &server->conns[1];
    pushed = UDS_ECHO_OK;
    say(peer, "?");
    settle(server);
    assert_int_equal(pushed, UDS_ECHO_WOULD_BLOCK); /* 9 + 128 kept + 64 */
    assert_in_range(stats_of(server).pending_peak, 64, 200);
    fake_peer_close(peer);
    fake_peer_close(other);
    fake_peer_close(third);
    (void)uds_echo_server_close(server);
}

/* Listed by a push, then starved by an event of the same step: looked at once, and not lost. */
static void listed_and_starved(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    char full[64];
    int peers[3], i;
    (void)state;
    memset(full, 'p', sizeof full);
    fake.queue_bytes = 10;
    desc.pending_max = 192;
    server = serve(desc);
    for (i = 0; i < 3; i++) peers[i] = joined(server);
    for (i = 0; i < 3; i++) assert_int_equal(uds_echo_conn_send(&server->conns[i], full, i ? 50 : 12), UDS_ECHO_OK);
    settle(server); /* 2 + 40 + 40 wait */
    server->pending_max = 200;
    assert_int_equal(uds_echo_conn_send(&server->conns[0], full, 1), UDS_ECHO_OK);
    assert_int_equal(strlen(heard(peers[0])), 10);
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    assert_int_equal(server->conns[0].state, UE_STARVED);
    say(peers[0], "hello");
    for (i = 0; i < 10; i++) {
        (void)heard(peers[1]);
        (void)heard(peers[2]);
        (void)uds_echo_server_step(server, 0);
    }
    assert_string_equal(heard(peers[0]), "ppphello");
    for (i = 0; i < 3; i++) fake_peer_close(peers[i]);
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
    closed_for(server, UDS_ECHO_IDLE);
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
    desc.when_full = UDS_ECHO_EVICT;
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
    assert_int_equal(ends[0], UDS_ECHO_EVICTED);
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
    uds_echo_server_stop(server, UDS_ECHO_NOW);
    assert_int_equal(errno, 77);
    (void)uds_echo_server_close(server);
}

/* A neighbour holds the folder's lock: a drain tries for 200 ms, accepts meanwhile, and then leaves the file. */
static int noted;

static void note(uds_echo_level level, uds_echo_error cause, const char *text, void *user)
{
    (void)level, (void)user;
    assert_true(strlen(text) > 0);
    if (cause == UDS_ECHO_BUSY) noted++;
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
        uds_echo_server_stop(server, UDS_ECHO_DRAIN);
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
    uds_echo_server_stop(server, UDS_ECHO_DRAIN);
    until_stopped(server);
    fake_peer_close(peer);
    closed_for(server, UDS_ECHO_MEMORY);
}

/* A listener that somebody else made, on the path; flags: SOCK_CLOEXEC, SOCK_NONBLOCK, both or none. */
static int given(int flags)
{
    struct sockaddr_un address;
    socklen_t size;
    ue_place place;
    int fd = fake_socket(AF_UNIX, SOCK_STREAM | flags, 0);
    assert_int_equal(ue_place_split(&place, PATH, "", NULL), UDS_ECHO_OK);
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
                             fails < cases[i].calls ? UDS_ECHO_MEMORY : UDS_ECHO_OK);
            if (server) (void)uds_echo_server_close(server);
            else (void)fake_close(fd);
            if (fails == cases[i].calls && UDS_ECHO_HAVE_EVENTFD)
                assert_int_equal(fake_calls_of(FAKE_fcntl) - calls, cases[i].calls);
            fake_remove(PATH);
        }
    }
}

/* P6, P42: what was inherited is never shut, and its other holders go on. */
static void an_adopted_listener_is_not_shut(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int fd = given(SOCK_CLOEXEC | SOCK_NONBLOCK);
    (void)state;
    desc.path = NULL;
    assert_int_equal(uds_echo_server_adopt(&server, fd, &desc, &why), UDS_ECHO_OK);
    uds_echo_server_stop(server, UDS_ECHO_DRAIN);
    until_stopped(server);
    assert_int_equal(fake_calls_of(FAKE_shutdown), 0);
    assert_int_equal(fake_calls_of(FAKE_unlinkat), 0);
    (void)uds_echo_server_close(server);
    desc.share_with = server;
    assert_int_equal(uds_echo_server_adopt(&server, 3, &desc, &why), UDS_ECHO_INVALID);
    assert_string_equal(why.call, "desc.share_with");
    desc.share_with = NULL;
    fail_next(FAKE_getsockopt, 0, 1, EBADF);
    assert_int_equal(uds_echo_server_adopt(&server, 3, &desc, &why), UDS_ECHO_INVALID);
    assert_string_equal(why.call, "listener");
    assert_int_equal(why.os_error, EBADF);
}

/* In a child of each kind of server: with a free slot, drained, about to be, shared, with answers and parts of messages. */
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
        if (kind >= 2) uds_echo_server_stop(server, UDS_ECHO_DRAIN);
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
    assert_int_equal(uds_echo_serve(&desc, &why), UDS_ECHO_SYSTEM);
    assert_int_equal(why.error, UDS_ECHO_SYSTEM);
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
    uds_echo_server_stop(server, UDS_ECHO_NOW);
    until_stopped(server);
    calls = fake_calls_of(FAKE_epoll_wait) + fake_calls_of(FAKE_poll);
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_STOPPED);
    assert_int_equal(fake_calls_of(FAKE_epoll_wait) + fake_calls_of(FAKE_poll), calls);
    (void)uds_echo_server_close(server);
}

/* ---- start ------------------------------------------------------------------------------------------------------- */

static void descriptions(void **state)
{
    static const struct {
        const char *field;
        size_t offset;
    } negative_ones[] = {{"desc.on_existing", offsetof(uds_echo_server_desc, on_existing)},
                         {"desc.publish", offsetof(uds_echo_server_desc, publish)},
                         {"desc.when_full", offsetof(uds_echo_server_desc, when_full)}};
    uds_echo_server_desc desc;
    uds_echo_server *server;
    const int minus_two = -2;
    size_t i;
    int fd;
    (void)state;
    for (i = 0; i < sizeof negative_ones / sizeof negative_ones[0]; i++) {
        desc = plain_desc();
        memcpy((char *)&desc + negative_ones[i].offset, &minus_two, sizeof minus_two);
        assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_INVALID);
        assert_string_equal(why.call, negative_ones[i].field);
    }
    desc = plain_desc();
    desc.pending_max = -2;
    assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_INVALID);
    assert_string_equal(why.call, "desc.pending_max");
    desc = plain_desc();
    desc.message_max = (1l << 30) + 1;
    assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_INVALID);
    assert_string_equal(why.call, "desc.message_max");
    desc = plain_desc();
    assert_int_equal(uds_echo_server_adopt(NULL, 3, &desc, &why), UDS_ECHO_INVALID);
    assert_string_equal(why.call, "server");
    assert_int_equal(uds_echo_server_adopt(&server, 3, NULL, &why), UDS_ECHO_INVALID);
    assert_string_equal(why.call, "desc");
    desc.path = NULL;
    fd = ue_socket(SOCK_STREAM);
    fail_next(FAKE_getsockopt, 0, 1, ENOTSOCK);
    assert_int_equal(uds_echo_server_adopt(&server, fd, &desc, &why), UDS_ECHO_INVALID);
    assert_string_equal(why.call, "listener");
    fail_next(FAKE_getsockopt, 0, 1, ENOBUFS);
    assert_int_equal(uds_echo_server_adopt(&server, fd, &desc, &why), UDS_ECHO_MEMORY);
    assert_string_equal(why.call, "getsockopt");
    ue_close(&fd);
    assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_INVALID);
    assert_string_equal(why.call, "desc.path");
}

static uds_echo_error resolved(uds_echo_server *s, uds_echo_server_desc desc)
{
    memset(s, 0, sizeof *s);
    s->desc = desc;
    return ue_resolve(s, &why);
}

static void defaults(void **state)
{
    static uds_echo_server s;
    uds_echo_server_desc desc;
    (void)state;
    memset(&desc, 0, sizeof desc);
    assert_int_equal(resolved(&s, desc), UDS_ECHO_OK);
    assert_int_equal(s.desc.mode, 0600);
    assert_int_equal(s.desc.lock_ms, 1000);
    assert_int_equal(s.desc.backlog, 4096);
    assert_int_equal(s.conns_max, 1024);
    assert_int_equal(s.message_max, 65536);
    assert_int_equal(s.pending_max, (2 * 1024 + 1) * 65536);
    assert_int_equal(s.desc.drain_ms, 5000);
    assert_int_equal(s.desc.idle_ms, 0);
    assert_int_equal(s.in_order, 0);
    desc.mode = 0640;
    desc.backlog = 7;
    desc.lock_ms = desc.idle_ms = desc.drain_ms = -1;
    desc.when_full = UDS_ECHO_EVICT;
    desc.connections_max = -1;
    desc.pending_max = -1;
    assert_int_equal(resolved(&s, desc), UDS_ECHO_OK);
    assert_int_equal(s.desc.mode, 0640);
    assert_int_equal(s.desc.backlog, 7);
    assert_int_equal(s.desc.lock_ms, 0);
    assert_int_equal(s.desc.idle_ms, 0);
    assert_int_equal(s.desc.drain_ms, -1);
    assert_int_equal(s.conns_max, 64);
    assert_int_equal(s.pending_max, (2 * 64 + 1) * 65536);
    assert_int_equal(s.in_order, 1);
    fake.descriptors_max = 2000000;
    assert_int_equal(resolved(&s, desc), UDS_ECHO_OK);
    assert_int_equal(s.conns_max, 1000000);
    fake.descriptors_max = 0;
    assert_int_equal(resolved(&s, desc), UDS_ECHO_OK);
    assert_int_equal(s.conns_max, 1);
    fail_next(FAKE_getrlimit, 0, 1, EPERM);
    assert_int_equal(resolved(&s, desc), UDS_ECHO_DENIED);
    assert_string_equal(why.call, "getrlimit");
    fake.descriptors_max = 64;
}

/* With the description's own numbers a connection's buffer is what was asked for, and is left alone else. */
/* As the manual says: one message_max without framing, three with it; and a descriptor to wait on with epoll. */
static void what_a_server_is_made_of(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    size_t bytes[2];
    int framed;
    (void)state;
    for (framed = 0; framed < 2; framed++) {
        uds_echo_server *server;
        desc.frame = framed ? lines : NULL;
        server = open_server(&desc);
        bytes[framed] = fake_live_bytes();
        assert_int_equal(uds_echo_server_fd(server) >= 0, UDS_ECHO_HAVE_EPOLL);
        (void)uds_echo_server_close(server);
    }
    assert_int_equal(bytes[1] - bytes[0], 2 * desc.message_max);
}

static void send_buffer_is_set(void **state)
{
    int asked;
    (void)state;
    for (asked = 0; asked < 2; asked++) {
        uds_echo_server_desc desc = plain_desc();
        uds_echo_server *server;
        unsigned long before = fake_calls_of(FAKE_setsockopt);
        int peer;
        desc.send_buffer = asked ? 5000 : 0;
        server = serve(desc);
        peer = joined(server);
        assert_int_equal(fake_calls_of(FAKE_setsockopt) - before, 1 + asked);
        fake_peer_close(peer);
        (void)uds_echo_server_close(server);
    }
}

static void every_error_has_its_name(void **state)
{
    static const struct {
        int os_error;
        uds_echo_error error;
    } cases[] = {{EACCES, UDS_ECHO_DENIED},        {EPERM, UDS_ECHO_DENIED},
                 {EROFS, UDS_ECHO_DENIED},         {ENOENT, UDS_ECHO_NOT_FOUND},
                 {ENOTDIR, UDS_ECHO_NOT_FOUND},    {ENAMETOOLONG, UDS_ECHO_PATH},
                 {ECONNREFUSED, UDS_ECHO_REFUSED}, {EPROTOTYPE, UDS_ECHO_WRONG_TYPE},
                 {ENOMEM, UDS_ECHO_MEMORY},        {ENOBUFS, UDS_ECHO_MEMORY},
                 {EMFILE, UDS_ECHO_DESCRIPTORS},   {ENFILE, UDS_ECHO_DESCRIPTORS},
                 {EPIPE, UDS_ECHO_RESET},          {ECONNRESET, UDS_ECHO_RESET},
                 {EIO, UDS_ECHO_SYSTEM},           {0, UDS_ECHO_SYSTEM},
                 {EAGAIN, UDS_ECHO_SYSTEM}};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(ue_error_of(cases[i].os_error), cases[i].error);
        errno = cases[i].os_error;
        assert_int_equal(ue_fail_os(&why, "call"), cases[i].error);
        assert_int_equal(why.os_error, cases[i].os_error);
        assert_string_equal(why.call, "call");
        assert_int_equal(why.pid, -1);
        assert_int_equal(why.uid, -1);
    }
    assert_true(ue_passing(EINTR));
    assert_true(ue_passing(EAGAIN));
    assert_false(ue_passing(EPIPE));
}

static void a_mode_that_cannot_be_widened(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    (void)state;
    fake.umask = 077;
    desc.mode = 0660;
    fail_next(FAKE_fchmodat, 0, 1, EPERM);
    assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_DENIED);
    assert_string_equal(why.call, "fchmodat");
    assert_int_equal(fake_calls_of(FAKE_listen), 0); /* with a wrong mode nobody can ever connect */
    assert_false(fake_exists(PATH));
    assert_false(fake_exists(PATH "~0"));
}

static const char *litter_becomes;

static int change_litter(void *user)
{
    (void)user;
    if (!litter_becomes) return 0;
    fake_remove(PATH "~0");
    if (litter_becomes[0] == 'f') fake_put_file(PATH "~0");
    if (litter_becomes[0] == 'l') (void)fake_put_live(PATH "~0", SOCK_STREAM, 1);
    if (litter_becomes[0] == 's') {
        fake_put_file("/w/takes the number");
        fake_put_stale(PATH "~0");
    }
    litter_becomes = NULL;
    return 0;
}

/* Litter that changes between the two looks is somebody's. */
static void litter_that_lives(void **state)
{
    static const char *const kinds[] = {"file", "live", "stale, another one", "nothing"};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        uds_echo_server *server;
        fake_reset();
        fake_put_stale(PATH "~0");
        litter_becomes = kinds[i];
        fake.world = change_litter;
        server = serve(plain_desc());
        assert_int_equal(fake_exists(PATH "~0"), i < 3);
        fake.world = NULL;
        (void)uds_echo_server_close(server);
        fake_finish();
        assert_lawful();
    }
}

static int replaced;

static int another_stale(void *user)
{
    (void)user;
    if (replaced++) return 0;
    fake_remove(PATH);
    fake_put_file("/w/takes the number");
    fake_put_stale(PATH);
    return 0;
}

/* Stale is believed when the same file is seen twice. */
static void another_stale_file_is_looked_at_again(void **state)
{
    uds_echo_server *server;
    unsigned long looks;
    (void)state;
    fake_put_stale(PATH);
    replaced = 0;
    fake.world = another_stale;
    looks = fake_calls_of(FAKE_connect);
    server = serve(plain_desc());
    assert_true(replaced >= 2);
    assert_true(fake_calls_of(FAKE_connect) - looks >= 3);
    (void)uds_echo_server_close(server);
}

static int renames;

static void steal_and_hold(fake_call what)
{
    if (what != FAKE_renameat2 || fake_fault_happened()) return;
    if (renames++ == 0) {
        fake_remove(PATH);
        (void)fake_put_live(PATH, SOCK_STREAM, 1);
    } else {
        fake_fault(fake_calls(), EACCES, 0);
    }
}

/* What came out of the exchange was another's, and putting it back fails: ours does not stay at the path. */
static void not_even_put_back(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    (void)state;
    if (!UDS_ECHO_HAVE_RENAMEAT2) return;
    fake_put_stale(PATH);
    renames = 0;
    fake.before = steal_and_hold;
    assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_DENIED);
    assert_string_equal(why.call, "rename");
    assert_false(fake_exists(PATH));
}

/* The incumbent is named only where that can be found out; that it cannot changes nothing else. */
static void an_incumbent_that_cannot_be_named(void **state)
{
    static const struct {
        fake_call what;
        int skips;
    } cases[] = {{FAKE_socket, 1}, {FAKE_connect, 1}, {FAKE_getsockopt, 0}};
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    size_t i;
    (void)state;
    (void)fake_put_live(PATH, SOCK_STREAM, 1);
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fail_next(cases[i].what, cases[i].skips, 1, ENOMEM);
        assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_IN_USE);
        assert_int_equal(fail_times, 0);
        assert_int_equal(why.pid, -1);
        assert_int_equal(why.uid, -1);
    }
    fake.before = NULL;
    assert_int_equal(uds_echo_server_open(&server, &desc, NULL), UDS_ECHO_IN_USE);
}

/* ---- small parts ------------------------------------------------------------------------------------------------- */

/* What was taken out while events are handed over leaves a count that is too high: the search ends with the places. */
static void the_search_ends_with_the_places(void **state)
{
#if !UDS_ECHO_HAVE_EPOLL
    ue_poller p;
    unsigned long long token;
    assert_true(ue_poller_open(&p, 8));
    assert_true(ue_poller_set(&p, 3, 1, 0, UE_IN));
    p.fds[2].fd = 3; /* never in use so far */
    p.fds[2].revents = POLLIN;
    p.count = 1;
    assert_false(ue_poller_next(&p, &token));
    ue_poller_close(&p);
#endif
    (void)state;
}

static void long_addresses_need_the_folder(void **state)
{
    char path[200];
    struct sockaddr_un address;
    socklen_t size;
    ue_place place;
    (void)state;
    memset(path, 'p', sizeof path);
    path[0] = '/';
    path[100] = '/';
    path[sizeof path - 1] = '\0';
    assert_int_equal(ue_place_split(&place, path, "", NULL), UDS_ECHO_OK);
    assert_false(ue_address(&address, &size, &place, "")); /* no folder, no way round */
    assert_int_equal(ue_probe(&place, ""), ENAMETOOLONG);
    ue_fail(&why, UDS_ECHO_IN_USE, 0, "connect");
    ue_incumbent(&place, &why);
    assert_int_equal(why.pid, -1);
    assert_int_equal(fake_calls_of(FAKE_socket), 0);
}

static void numbers_and_times(void **state)
{
    ue_file a = {1, 2}, b = {1, 3}, c = {2, 2};
    char text[32];
    ue_text t = {text, sizeof text, 0};
    (void)state;
    ue_put_number(&t, -1234567890l);
    ue_put(&t, ' ');
    ue_put_number(&t, 0);
    assert_int_equal(ue_text_end(&t), 13);
    assert_string_equal(text, "-1234567890 0");
    assert_int_equal(ue_left(5, 5), 0);
    assert_int_equal(ue_left(4, 5), 0);
    assert_int_equal(ue_left(6, 5), 1);
    assert_int_equal(ue_left(UE_NONE, 5), -1);
    assert_int_equal(ue_left(5ll + INT_MAX, 5), INT_MAX);
    assert_int_equal(ue_left(6ll + INT_MAX, 5), INT_MAX);
    assert_int_equal(ue_left(5, UE_NO_CLOCK), 0);
    assert_int_equal(ue_sooner(UE_NONE, UE_NONE), UE_NONE);
    assert_int_equal(ue_sooner(UE_NONE, 3), 3);
    assert_int_equal(ue_sooner(3, UE_NONE), 3);
    assert_int_equal(ue_sooner(3, 4), 3);
    assert_int_equal(ue_sooner(4, 3), 3);
    assert_int_equal(ue_deadline(-1), UE_NONE);
    assert_int_equal(ue_deadline(7), fake_now_ms() + 7);
    fail_next(FAKE_clock_gettime, 0, 1, EINVAL);
    assert_int_equal(ue_deadline(7), 0);
    assert_true(ue_same_file(&a, &a));
    assert_false(ue_same_file(&a, &b));
    assert_false(ue_same_file(&a, &c));
}

/* Well-formed is what RFC 3629 says, and C1 controls are none. */
static void well_formed_utf8(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
    } cases[] = {{"\x41\x80", 0},         {"\xc1\xbf", 0},         {"\xc2\x9f", 0},         {"\xc2\xa0", 2},
                 {"\xc3\x80", 2},         {"\xc3\x41", 0},         {"\xdf\xbf", 2},         {"\xe0\x9f\xbf", 0},
                 {"\xe0\xa0\x80", 3},     {"\xe1\x80\x80", 3},     {"\xe1\x80\xc0", 0},     {"\xec\xbf\xbf", 3},
                 {"\xed\x9f\xbf", 3},     {"\xed\xa0\x80", 0},     {"\xee\x80\x80", 3},     {"\xef\xbf\xbf", 3},
                 {"\xf0\x8f\xbf\xbf", 0}, {"\xf0\x90\x80\x80", 4}, {"\xf1\x80\x80\x80", 4}, {"\xf1\x80\x80\x7f", 0},
                 {"\xf4\x8f\xbf\xbf", 4}, {"\xf4\x90\x80\x80", 0}, {"\xf5\x80\x80\x80", 0}, {"\xff\x80\x80\x80", 0}};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t size = strlen(cases[i].bytes);
        assert_int_equal(ue_utf8((const unsigned char *)cases[i].bytes, size), cases[i].length);
        if (cases[i].length) assert_int_equal(ue_utf8((const unsigned char *)cases[i].bytes, size - 1), 0);
    }
}

static void explanations(void **state)
{
    uds_echo_failure failure;
    char text[300], longest[400];
    (void)state;
    ue_fail(&failure, UDS_ECHO_OK, 0, "");
    (void)uds_echo_explain(&failure, NULL, text, sizeof text);
    assert_string_equal(text, "success");
    ue_fail(&failure, UDS_ECHO_OK, 5, "call");
    (void)uds_echo_explain(&failure, NULL, text, sizeof text);
    assert_string_equal(text, "success");
    ue_fail(&failure, UDS_ECHO_TIMEOUT, 0, "");
    (void)uds_echo_explain(&failure, "p", text, sizeof text);
    assert_string_equal(text, "\"p\": the time is up; call again, or allow more time");
    ue_fail(&failure, UDS_ECHO_SYSTEM, 5, "read");
    (void)uds_echo_explain(&failure, NULL, text, sizeof text);
    assert_string_equal(text,
                        "the system said no [read: errno 5]; look up the error number under the call that is named");
    ue_fail(&failure, (uds_echo_error)-3, 0, "");
    (void)uds_echo_explain(&failure, NULL, text, sizeof text);
    assert_string_equal(text, "not an error of this library");
    ue_fail(&failure, UDS_ECHO_ERROR_COUNT, 0, "");
    (void)uds_echo_explain(&failure, NULL, text, sizeof text);
    assert_string_equal(text, "not an error of this library");
    memset(longest, 'a', sizeof longest);
    longest[256] = '\0';
    assert_int_equal(uds_echo_explain(NULL, longest, NULL, 0), 256 + 4 + 7);
    longest[256] = 'a';
    longest[257] = '\0';
    assert_int_equal(uds_echo_explain(NULL, longest, NULL, 0), 64 + 3 + 128 + 4 + 7);
    assert_int_equal(uds_echo_escape("a\n", 2, NULL, 7), 3);
    assert_int_equal(uds_echo_escape("abc", 3, text, 1), 3);
    assert_string_equal(text, "");
    assert_int_equal(uds_echo_escape("\x1f \x7e\x7f", 4, text, sizeof text), 10);
    assert_string_equal(text, "\\x1f ~\\x7f");
}

static void nothing_is_fine(void **state)
{
    uds_echo_server *server = serve(plain_desc());
    uds_echo_stats stats;
    uds_echo_peer peer = {1, 2, 3};
    int id = joined(server);
    (void)state;
    memset(&stats, 1, sizeof stats);
    uds_echo_server_stats(NULL, &stats);
    assert_int_equal(stats.accepted, 0);
    uds_echo_server_stats(server, NULL);
    assert_int_equal(uds_echo_server_timeout(NULL), -1);
    assert_int_equal(uds_echo_conn_id(NULL), 0);
    assert_null(uds_echo_conn_user(NULL));
    assert_null(uds_echo_conn_server(NULL));
    uds_echo_conn_set_user(NULL, &peer);
    assert_int_equal(uds_echo_conn_peer(&server->conns[0], NULL), UDS_ECHO_INVALID);
    assert_int_equal(uds_echo_conn_peer(NULL, &peer), UDS_ECHO_INVALID);
    assert_int_equal(peer.pid, -1);
    fail_next(FAKE_getsockopt, 0, 1, ENOBUFS);
    peer.uid = 7;
    assert_int_equal(uds_echo_conn_peer(&server->conns[0], &peer), UDS_ECHO_SYSTEM);
    assert_int_equal(peer.uid, -1);
    assert_int_equal(uds_echo_conn_peer(&server->conns[0], &peer), UDS_ECHO_OK);
    assert_int_equal(peer.gid, 1000);
    assert_int_equal(uds_echo_conn_send(&server->conns[0], NULL, 0), UDS_ECHO_OK);
    fake_peer_close(id);
    (void)uds_echo_server_close(server);
}

/* ---- the client -------------------------------------------------------------------------------------------------- */

static int listener, peer_id;
static const char *script;

/* a accept, r read all, s say "0123456789", e half-close, c close, b say and read, C read and close, . nothing. */
static int play(void *user)
{
    char bytes[512], what = *script;
    (void)user;
    if (!what) return 0;
    script++;
    if (what == 'a') peer_id = fake_peer_accept(listener);
    if (what == 's' || what == 'b') (void)fake_peer_send(peer_id, "0123456789", 10);
    if (what == 'r' || what == 'b' || what == 'C') (void)fake_peer_recv(peer_id, bytes, sizeof bytes);
    if (what == 'e') (void)fake_peer_shutdown(peer_id, SHUT_WR);
    if (what == 'c' || what == 'C') fake_peer_close(peer_id);
    return what != '.';
}

static uds_echo_client connected(void)
{
    uds_echo_client_desc desc;
    uds_echo_client client;
    memset(&desc, 0, sizeof desc);
    desc.path = PATH;
    listener = fake_put_live(PATH, SOCK_STREAM, 1);
    fake_set_mode(PATH, 0777);
    assert_int_equal(uds_echo_client_open(&client, &desc, NULL), UDS_ECHO_OK);
    peer_id = fake_peer_accept(listener);
    fake.world = play;
    script = "";
    return client;
}

/* The peer has said all it will and is still listening: sending goes on to its end. */
static void sending_after_the_peers_end(void **state)
{
    uds_echo_client client;
    char out[100], in[10];
    uds_echo_io io = {out, sizeof out, 0, in, sizeof in, 0};
    (void)state;
    memset(out, 'o', sizeof out);
    fake.queue_bytes = 16;
    client = connected();
    script = "serrrrrrrr";
    assert_int_equal(uds_echo_client_exchange(&client, &io, 1000), UDS_ECHO_OK);
    assert_int_equal(io.sent, 100);
    assert_int_equal(io.got, 10);
    uds_echo_client_close(&client);
    fake_peer_close(peer_id);
}

/* Full, but sending still moves: that comes first, and FULL only when nothing can. */
static void full_and_sending(void **state)
{
    uds_echo_client client;
    char out[64];
    uds_echo_io io = {out, sizeof out, 0, NULL, 0, 0};
    (void)state;
    memset(out, 'o', sizeof out);
    fake.queue_bytes = 16;
    client = connected();
    script = "brrr";
    assert_int_equal(uds_echo_client_exchange(&client, &io, 1000), UDS_ECHO_FULL);
    assert_int_equal(io.sent, 32);
    uds_echo_client_close(&client);
    fake_peer_close(peer_id);
}

/* It went away in mid-send: with the input full that is all there is to say; else what it said before is read first. */
static void it_went_away(void **state)
{
    int full;
    (void)state;
    for (full = 0; full < 2; full++) {
        uds_echo_client client;
        char out[100], in[20];
        uds_echo_io io = {out, sizeof out, 0, in, full ? 10 : 20, 0};
        memset(out, 'o', sizeof out);
        fake.queue_bytes = 16;
        client = connected();
        script = "sC";
        assert_int_equal(uds_echo_client_exchange(&client, &io, 1000), full ? UDS_ECHO_RESET : UDS_ECHO_END);
        assert_int_equal(io.got, 10);
        uds_echo_client_close(&client);
        fake_remove(PATH);
        fake_peer_close(listener);
    }
}

static void without_a_deadline(void **state)
{
    char reply[100];
    uds_echo_client client;
    uds_echo_client_desc desc;
    uds_echo_io io = {"message", 7, 0, reply, 30, 0};
    size_t n;
    int i, waiting[5];
    (void)state;
    client = connected();
    script = "sss";
    assert_int_equal(uds_echo_client_exchange(&client, &io, -1), UDS_ECHO_OK);
    uds_echo_client_close(&client);
    fake_peer_close(peer_id);
    script = "arsec";
    assert_int_equal(uds_echo_call(PATH, "hello", 5, reply, sizeof reply, &n, -1, &why), UDS_ECHO_OK);
    assert_int_equal(n, 10);
    for (i = 0; i < 5; i++) waiting[i] = fake_peer_connect(PATH);
    memset(&desc, 0, sizeof desc);
    desc.path = PATH;
    desc.timeout_ms = -1;
    script = ".........................aaaaaa";
    assert_int_equal(uds_echo_client_open(&client, &desc, NULL), UDS_ECHO_OK);
    uds_echo_client_close(&client);
    for (i = 0; i < 5; i++) fake_peer_close(waiting[i]);
}

static void clients_that_are_wrong(void **state)
{
    static const uds_echo_io bad[] = {
        {"x", 1, 2, NULL, 0, 0}, {"x", 1, 0, NULL, 0, 1}, {NULL, 1, 0, NULL, 0, 0}, {"x", 1, 0, NULL, 1, 0}};
    uds_echo_client client = connected(), closed = client;
    uds_echo_client_desc desc;
    uds_echo_io io = {"x", 1, 0, NULL, 0, 0};
    char reply[4];
    size_t i, n = 9;
    (void)state;
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        io = bad[i];
        assert_int_equal(uds_echo_client_exchange(&client, &io, 0), UDS_ECHO_INVALID);
    }
    io = bad[0];
    io.sent = 0;
    closed.fd = -1;
    assert_int_equal(uds_echo_client_exchange(&closed, &io, 0), UDS_ECHO_INVALID);
    assert_int_equal(uds_echo_client_exchange(&client, NULL, 0), UDS_ECHO_INVALID);
    assert_int_equal(uds_echo_client_finish(&closed), UDS_ECHO_INVALID);
    assert_int_equal(uds_echo_client_fd(NULL), -1);
    assert_int_equal(uds_echo_client_fd(&client), client.fd);
    assert_int_equal(uds_echo_call(PATH, NULL, 1, reply, 4, &n, 5, &why), UDS_ECHO_INVALID);
    assert_string_equal(why.call, "msg");
    assert_int_equal(n, 0);
    assert_int_equal(uds_echo_call(PATH, "x", 1, NULL, 4, &n, 5, &why), UDS_ECHO_INVALID);
    assert_string_equal(why.call, "reply");
    assert_int_equal(uds_echo_call(PATH, "x", 1, reply, 4, &n, -2, &why), UDS_ECHO_INVALID);
    assert_string_equal(why.call, "timeout_ms");
    memset(&desc, 0, sizeof desc);
    desc.path = PATH;
    desc.trust = (uds_echo_trust)-1;
    assert_int_equal(uds_echo_client_open(&closed, &desc, &why), UDS_ECHO_INVALID);
    assert_string_equal(why.call, "desc.trust");
    desc.trust = (uds_echo_trust)3;
    assert_int_equal(uds_echo_client_open(&closed, &desc, &why), UDS_ECHO_INVALID);
    desc.trust = UDS_ECHO_TRUST_UID;
    desc.uid = 31;
    assert_int_equal(uds_echo_client_open(&closed, &desc, NULL), UDS_ECHO_UNTRUSTED);
    fail_next(FAKE_getsockopt, 0, 1, ENOBUFS);
    assert_int_equal(uds_echo_client_open(&closed, &desc, &why), UDS_ECHO_MEMORY);
    assert_string_equal(why.call, "getsockopt");
    uds_echo_client_close(&client);
    fake_peer_close(peer_id);
}

/* What fails in mid-talk is told by its own name, and want of memory with the system's number. */
static void a_talk_that_fails(void **state)
{
    uds_echo_client client = connected();
    char reply[8];
    (void)state;
    fail_next(FAKE_shutdown, 0, 1, ENOBUFS);
    assert_int_equal(uds_echo_client_finish(&client), UDS_ECHO_MEMORY);
    fail_next(FAKE_shutdown, 0, 1, ENOTCONN);
    assert_int_equal(uds_echo_client_finish(&client), UDS_ECHO_RESET);
    assert_int_equal(uds_echo_client_finish(&client), UDS_ECHO_OK);
    uds_echo_client_close(&client);
    fake_peer_close(peer_id);
    fail_next(FAKE_send, 0, 1, ENOBUFS);
    assert_int_equal(uds_echo_call(PATH, "x", 1, reply, sizeof reply, NULL, 1000, &why), UDS_ECHO_MEMORY);
    assert_int_equal(why.os_error, ENOBUFS);
    assert_string_equal(why.call, "exchange");
}

/* A path that fits no address is reached through its folder, and the folder is closed again. */
static void a_long_way_to_the_server(void **state)
{
    char folder[120], path[130], reply[16];
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    size_t n;
    (void)state;
    memset(folder, 'd', sizeof folder);
    memcpy(folder, "/w/", 3);
    folder[sizeof folder - 1] = '\0';
    fake_put_dir(folder);
    (void)snprintf(path, sizeof path, "%s/sock", folder);
    desc.path = path;
    server = serve(desc);
    fake.world = step_server;
    fake.user = server;
    assert_int_equal(uds_echo_call(path, "hello", 5, reply, sizeof reply, &n, 1000, &why), UDS_ECHO_OK);
    assert_int_equal(n, 5);
    fake.world = NULL;
    (void)uds_echo_server_close(server);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(an_interruption_is_not_the_end),
                                       TEST(accept_goes_on),
                                       TEST(a_listener_that_cannot_be_watched_rests),
                                       TEST(a_sharer_that_cannot_watch_rests),
                                       TEST(a_wait_ends_when_something_is_due),
                                       TEST(errors_of_a_connection_have_names),
                                       TEST(answers_outgrow_the_room),
                                       TEST(pushes_keep_the_order),
                                       TEST(a_push_joins_what_waits),
                                       TEST(close_waits_for_the_rest),
                                       TEST(the_first_cause_is_told),
                                       TEST(a_push_that_breaks),
                                       TEST(a_negative_verdict),
                                       TEST(a_step_is_bounded),
                                       TEST(discarding_is_left_alone),
                                       TEST(discarding_is_interrupted),
                                       TEST(what_cannot_be_watched_is_closed),
                                       TEST(what_cannot_be_ignored_is_closed),
                                       TEST(stale_events_are_dropped),
                                       TEST(generations_wrap),
                                       TEST(room_for_answers_is_reserved),
                                       TEST(listed_and_starved),
                                       TEST(a_slow_reader_is_not_idle),
                                       TEST(the_idlest_is_evicted),
                                       TEST(idle_waits_for_all_events),
                                       TEST(stop_and_wake_keep_errno),
                                       TEST(a_drain_waits_for_the_lock),
                                       TEST(a_shutdown_that_fails),
                                       TEST(an_adopted_listener_is_tamed),
                                       TEST(an_adopted_listener_is_not_shut),
                                       TEST(children_of_all_kinds),
                                       TEST(the_wait_itself_fails),
                                       TEST(a_step_after_the_end),
                                       TEST(descriptions),
                                       TEST(defaults),
                                       TEST(what_a_server_is_made_of),
                                       TEST(send_buffer_is_set),
                                       TEST(every_error_has_its_name),
                                       TEST(a_mode_that_cannot_be_widened),
                                       TEST(litter_that_lives),
                                       TEST(another_stale_file_is_looked_at_again),
                                       TEST(not_even_put_back),
                                       TEST(an_incumbent_that_cannot_be_named),
                                       TEST(the_search_ends_with_the_places),
                                       TEST(long_addresses_need_the_folder),
                                       TEST(numbers_and_times),
                                       TEST(well_formed_utf8),
                                       TEST(explanations),
                                       TEST(nothing_is_fine),
                                       TEST(sending_after_the_peers_end),
                                       TEST(full_and_sending),
                                       TEST(it_went_away),
                                       TEST(without_a_deadline),
                                       TEST(clients_that_are_wrong),
                                       TEST(a_talk_that_fails),
                                       TEST(a_long_way_to_the_server)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
