/* test_edges.c - limits that are met exactly, reasons that others would overwrite, and who is next in a list. */
#include "harness.h"
#include "served.h"

static uds_echo_failure why;

#if UDS_ECHO_HAVE_EPOLL
#define WAIT FAKE_epoll_wait
#else
#define WAIT FAKE_poll
#endif

/* ---- claims ------------------------------------------------------------------------------------------------------ */

static int renames;
static unsigned long theirs;

/* First a live server takes the stale one's place, then a file that of the live one, which was moved aside. */
static void two_are_faster(fake_call what)
{
    if (what != FAKE_renameat2) return;
    if (++renames == 1) {
        fake_remove(PATH);
        (void)fake_put_live(PATH, SOCK_STREAM, 1);
    }
    if (renames == 2) {
        fake_put_file(PATH);
        theirs = fake_inode(PATH);
    }
}

static void what_is_put_back_replaces_nothing(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    (void)state;
    if (!UDS_ECHO_HAVE_RENAMEAT2) return;
    renames = 0;
    desc.publish = UDS_ECHO_PUBLISH_DIRECT;
    fake_put_stale(PATH);
    fake.before = two_are_faster;
    assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_ERR_NOT_SOCKET);
    assert_true(renames >= 2);
    assert_int_equal(fake_inode(PATH), theirs);
}

static void the_last_of_ten_names_will_do(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    char name[32];
    int i;
    (void)state;
    for (i = 0; i < 9; i++) {
        (void)snprintf(name, sizeof name, PATH "~%d", i);
        fake_put_file(name);
    }
    (void)uds_echo_server_close(open_server(&desc));
}

static void a_lock_that_is_held_says_so(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    (void)state;
    fake.foreign_lock = 1;
    fake_put_stale(PATH);
    assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_ERR_BUSY);
    assert_string_equal(why.call, "flock");
    assert_int_equal(why.os_error, EWOULDBLOCK);
}

static void all_are_executable(fake_call what)
{
    char name[32] = PATH;
    int i;
    if (what != FAKE_fstatat) return;
    for (i = 0; i < 10; i++) {
        (void)snprintf(name, sizeof name, PATH "~%d", i);
        if (fake_exists(name)) fake_set_mode(name, 0700);
    }
}

/* A file system with modes of its own, which only its owner has. */
static void modes_of_the_owner_only(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    (void)state;
    fake.before = all_are_executable;
    assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_ERR_UNSUPPORTED);
}

/* It may not be removed any more; its folder's lock is for those who have something to do there. */
static void a_path_that_stays_is_not_locked(void **state)
{
    uds_echo_server *server = serve(plain_desc());
    int peer = joined(server);
    (void)state;
    fail_next(FAKE_unlinkat, 0, 1000, EACCES);
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    (void)uds_echo_server_step(server, 0);
    (void)uds_echo_server_step(server, 0);
    assert_true(fail_times < 1000);
    assert_false(fake_locked("/w"));
    fail_times = 0;
    fake_peer_close(peer);
    until_stopped(server);
    (void)uds_echo_server_close(server);
}

static int notes, problems;
static uds_echo_error last_cause;

static void on_log(uds_echo_log_level level, uds_echo_error cause, const char *text, void *user)
{
    (void)text, (void)user;
    notes += level == UDS_ECHO_LOG_INFO;
    problems += level == UDS_ECHO_LOG_WARNING;
    last_cause = cause;
}

/* ---- connections ------------------------------------------------------------------------------------------------- */

static void reads_are_messages(void **state)
{
    uds_echo_server *server = serve(plain_desc());
    int peer = joined(server);
    (void)state;
    say(peer, "x");
    settle(server);
    say(peer, "y");
    settle(server);
    assert_int_equal(stats_of(server).messages, 2);
    fake_peer_close(peer);
    (void)uds_echo_server_close(server);
}

static void a_peer_has_a_group_of_its_own(void **state)
{
    uds_echo_server *server = serve(plain_desc());
    int peer = joined(server);
    uds_echo_peer who;
    (void)state;
    assert_int_equal(uds_echo_conn_peer(&server->conns[0], &who), UDS_ECHO_OK);
    assert_int_equal(who.uid, 1000);
    assert_int_equal(who.gid, 1001);
    fake_peer_close(peer);
    (void)uds_echo_server_close(server);
}

static uds_echo_verdict later_or_close(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    if (m->data[0] == '!') uds_echo_conn_close(conn);
    return later_if_asked(conn, m, user);
}

/* Both are resumed in one step, and the first asks for another look while it is. */
static void who_is_listed_again_loses_nobody(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int first, second;
    (void)state;
    desc.frame = lines;
    desc.on_message = later_or_close;
    server = serve(desc);
    first = joined(server);
    second = joined(server);
    say(first, "?\n!\n");
    say(second, "?\nb\n");
    settle(server);
    assert_int_equal(uds_echo_conn_send(&server->conns[1], "paid ", 5), UDS_ECHO_OK);
    assert_int_equal(uds_echo_conn_send(&server->conns[0], "paid ", 5), UDS_ECHO_OK);
    settle(server);
    assert_string_equal(heard(first), "paid !\n");
    assert_string_equal(heard(second), "paid b\n");
    fake_peer_close(first);
    fake_peer_close(second);
    (void)uds_echo_server_close(server);
}

/* It broke between two steps, and nothing more will ever be heard of its descriptor. */
static void a_push_that_breaks_ends_in_the_next_step(void **state)
{
    static const struct {
        fake_call what;
        int os_error;
        uds_echo_error why;
    } ways[] = {{FAKE_malloc, ENOMEM, UDS_ECHO_ERR_NO_MEMORY},
                {FAKE_send, EPIPE, UDS_ECHO_ERR_RESET},
                {FAKE_send, EIO, UDS_ECHO_ERR_SYSTEM}};
    char full[64];
    size_t i;
    (void)state;
    memset(full, 'p', sizeof full);
    fake.queue_bytes = 10;
    for (i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        uds_echo_server *server = serve(plain_desc());
        int peer = joined(server);
        fail_next(ways[i].what, 0, 1, ways[i].os_error);
        assert_int_equal(uds_echo_conn_send(&server->conns[0], full, 64), ways[i].why);
        assert_int_equal(ended, 0);
        (void)uds_echo_server_step(server, 0);
        closed_for(server, ways[i].why);
        fake_peer_close(peer);
    }
}

/* With idle_ms the end of a debt counts as a byte that moved: not of one that is gone, whose place is another's
   by now. */
static void who_is_owed_is_evicted_once(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peers[3], i;
    (void)state;
    desc.connections_max = 2;
    desc.when_full = UDS_ECHO_FULL_EVICT;
    desc.idle_ms = 1000;
    desc.on_message = later_if_asked;
    server = serve(desc);
    peers[0] = joined(server);
    say(peers[0], "?");
    settle(server);
    peers[1] = joined(server);
    peers[2] = joined(server);
    assert_int_equal(ended, 1);
    assert_int_equal(ends[0], UDS_ECHO_ERR_EVICTED);
    fake_peer_close(peers[2]);
    settle(server);
    assert_int_equal(ended, 2);
    fake_sleep(1000);
    settle(server);
    assert_int_equal(ended, 3);
    assert_int_equal(ends[2], UDS_ECHO_ERR_IDLE);
    assert_int_equal(stats_of(server).connections, 0);
    for (i = 0; i < 2; i++) fake_peer_close(peers[i]);
    (void)uds_echo_server_close(server);
    assert_int_equal(ended, 3);
}

/* Also with idle_ms: who was silent for longest goes, and who just spoke stays. */
static void the_idlest_is_evicted_with_idle_ms_too(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peers[4], i;
    (void)state;
    desc.connections_max = 3;
    desc.when_full = UDS_ECHO_FULL_EVICT;
    desc.idle_ms = 1000;
    server = serve(desc);
    for (i = 0; i < 3; i++) peers[i] = joined(server);
    fake_sleep(10);
    say(peers[0], "x");
    say(peers[2], "x");
    settle(server);
    peers[3] = joined(server);
    say(peers[0], "0");
    say(peers[2], "2");
    say(peers[3], "3");
    settle(server);
    assert_int_equal(ended, 1);
    assert_string_equal(heard(peers[0]), "x0");
    assert_string_equal(heard(peers[1]), "");
    assert_string_equal(heard(peers[2]), "x2");
    assert_string_equal(heard(peers[3]), "3");
    for (i = 0; i < 4; i++) fake_peer_close(peers[i]);
    (void)uds_echo_server_close(server);
}

/* A time that handlers took counts from their end on, in a server that spins, too; and where the spin was in vain it
   sleeps. */
static uds_echo_verdict for_300_ms(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)conn, (void)m, (void)user;
    fake_sleep(300);
    return UDS_ECHO_REPLY;
}

static void who_spins_looks_at_the_clock(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    unsigned long long waits;
    long long began;
    int peer;
    (void)state;
    fake.calls_per_ms = 10;
    desc.busy_poll_us = 1000;
    desc.idle_ms = 200;
    desc.on_message = for_300_ms;
    server = serve(desc);
    peer = joined(server);
    say(peer, "x");
    settle(server);
    assert_int_equal(ended, 0);
    waits = stats_of(server).waits;
    began = fake_now_ms();
    assert_int_equal(uds_echo_server_step(server, 100), UDS_ECHO_OK);
    assert_int_equal(stats_of(server).waits, waits + 1);
    assert_in_range(fake_now_ms() - began, 99, 102);
    fake_peer_close(peer);
    (void)uds_echo_server_close(server);
}

/* The end of what was said before is read by a peer that is not welcome, and by one that is told to go, whatever the
   server would cut: an end of stream, and no reset. */
static int nobody(uds_echo_conn *conn, void *user)
{
    (void)user;
    return uds_echo_conn_send(conn, "no", 2) == UDS_ECHO_OK;
}

static uds_echo_verdict go(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)conn, (void)m, (void)user;
    return UDS_ECHO_REPLY_AND_CLOSE;
}

static void no_end_is_a_reset(void **state)
{
    int full, refuses;
    (void)state;
    for (full = 0; full < 2; full++)
        for (refuses = 0; refuses < 2; refuses++) {
            uds_echo_server_desc desc = plain_desc();
            uds_echo_server *server;
            char word[8];
            int peer, i;
            desc.idle_ms = 60000;
            desc.message_max = 4;
            desc.when_full = full ? UDS_ECHO_FULL_EVICT : UDS_ECHO_FULL_QUEUE;
            desc.on_open = refuses ? nobody : NULL;
            desc.on_message = go;
            server = serve(desc);
            peer = fake_peer_connect(PATH);
            for (i = 0; i < 25; i++) say(peer, "0123456789");
            settle(server);
            assert_int_equal(fake_peer_recv(peer, word, sizeof word), refuses ? 2 : 4);
            assert_int_equal(fake_peer_recv(peer, word, sizeof word), 0);
            assert_int_equal(stats_of(server).closed[UDS_ECHO_ERR_IDLE], 0);
            fake_peer_close(peer);
            settle(server);
            assert_int_equal(stats_of(server).closed[UDS_ECHO_OK], 1);
            (void)uds_echo_server_close(server);
        }
}

/* It reads nothing, and drain_ms says never: idle_ms ends it, though no descriptor ever tells. */
static void a_drain_ends_who_is_idle(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    long long began;
    int peer;
    (void)state;
    fake.queue_bytes = 4;
    desc.idle_ms = 300;
    desc.drain_ms = -1;
    server = serve(desc);
    peer = joined(server);
    assert_int_equal(uds_echo_conn_send(&server->conns[0], "0123456789", 10), UDS_ECHO_OK);
    began = fake_now_ms();
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    until_stopped(server);
    assert_in_range(fake_now_ms() - began, 299, 310);
    closed_for(server, UDS_ECHO_ERR_IDLE);
    fake_peer_close(peer);
}

/* Whoever steps it was away for longer than it tries: then it tries once more. */
static void a_drain_that_sleeps_tries_again(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    (void)state;
    notes = 0;
    desc.on_log = on_log;
    server = serve(desc);
    fake.foreign_lock = 1;
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    (void)uds_echo_server_step(server, 0);
    assert_true(fake_exists(PATH));
    fake_sleep(1000);
    fake.foreign_lock = 0;
    until_stopped(server);
    assert_false(fake_exists(PATH));
    assert_int_equal(notes, 0); /* nothing stays behind, so nothing says so */
    (void)uds_echo_server_close(server);
}

static void become_a_child(uds_echo_server *server, void *user)
{
    (void)server, (void)user;
    fake.pid++;
}

/* No call failed, so there is no number; and the callbacks are the parent's. */
static void a_child_cannot_serve(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    (void)state;
    desc.on_ready = become_a_child;
    errno = ENOMEM;
    assert_int_equal(uds_echo_serve(&desc, &why), UDS_ECHO_ERR_FORKED);
    assert_int_equal(why.os_error, 0);
    assert_string_equal(why.call, "getpid");
    fake.pid--;
    fake_remove(PATH);
}

/* It cannot be unlinked at once, and can a moment later. */
static void a_path_that_resists_once_goes(void **state)
{
    uds_echo_server *server = serve(plain_desc());
    (void)state;
    fail_next(FAKE_unlinkat, 0, 1, EBUSY);
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    until_stopped(server);
    assert_false(fake_exists(PATH));
    (void)uds_echo_server_close(server);
}

/* ---- servers ----------------------------------------------------------------------------------------------------- */

/* Accepting rests without end, for there is no place; the drain has its deadline all the same. */
static void a_full_server_drains_in_time(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    long long began;
    int peer, queued;
    (void)state;
    desc.connections_max = 1;
    desc.drain_ms = 50;
    desc.on_message = later_if_asked;
    server = serve(desc);
    peer = joined(server);
    say(peer, "?");
    settle(server);
    queued = fake_peer_connect(PATH);
    began = fake_now_ms();
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    until_stopped(server);
    assert_int_equal(fake_now_ms() - began, 50);
    fake_peer_close(peer);
    fake_peer_close(queued);
    (void)uds_echo_server_close(server);
}

static uds_echo_error from_end[3];

static void on_end_that_tries(uds_echo_server *server, void *user)
{
    (void)user;
    from_end[0] = uds_echo_server_close(server);
    from_end[1] = uds_echo_server_step(server, 0);
    from_end[2] = uds_echo_server_run(server);
}

static void the_end_is_inside_too(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    int i;
    (void)state;
    desc.on_end = on_end_that_tries;
    (void)uds_echo_server_close(open_server(&desc));
    for (i = 0; i < 3; i++) assert_int_equal(from_end[i], UDS_ECHO_ERR_REENTRANT);
}

static void on_close_that_spoils(uds_echo_conn *conn, uds_echo_error reason, void *user)
{
    (void)conn, (void)reason, (void)user;
    errno = EBADF;
}

static void on_end_that_spoils(uds_echo_server *server, void *user)
{
    (void)server, (void)user;
    errno = EBADF;
}

/* The wait failed, and a callback of the same step meets an error of its own. */
static void the_reason_of_a_wait_outlives_callbacks(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer;
    (void)state;
    desc.on_close = on_close_that_spoils;
    desc.on_end = on_end_that_spoils;
    server = open_server(&desc);
    peer = joined(server);
    uds_echo_conn_close(&server->conns[0]);
    fail_next(WAIT, 0, 1, ENOMEM);
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_ERR_SYSTEM);
    assert_int_equal(errno, ENOMEM);
    fake_peer_close(peer);
    (void)uds_echo_server_close(server);

    fail_next(WAIT, 0, 1, ENOMEM);
    assert_int_equal(uds_echo_serve(&desc, &why), UDS_ECHO_ERR_SYSTEM);
    assert_int_equal(why.os_error, ENOMEM);
}

static uds_echo_verdict neither(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)conn, (void)m, (void)user;
    return (uds_echo_verdict)7;
}

/* Every cause has its own second; and a handler that breaks its contract is no everyday life. */
static void a_cause_hides_no_other(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peers[4], i;
    (void)state;
    notes = problems = 0;
    desc.on_log = on_log;
    desc.frame = lines;
    desc.on_message = neither;
    server = serve(desc);
    for (i = 0; i < 4; i++) peers[i] = joined(server);
    for (i = 0; i < 2; i++) {
        fail_next(FAKE_recv, 0, 1, ECONNRESET);
        say(peers[i], "x");
        settle(server);
    }
    assert_int_equal(notes, 1);
    say(peers[2], "half a line");
    fake_peer_close(peers[2]);
    settle(server);
    assert_int_equal(notes, 2);
    assert_int_equal(last_cause, UDS_ECHO_ERR_UNEXPECTED_EOF);
    say(peers[3], "line\n");
    settle(server);
    fake_peer_close(peers[3]);
    settle(server);
    assert_int_equal(notes, 2);
    assert_int_equal(problems, 1);
    assert_int_equal(last_cause, UDS_ECHO_ERR_BAD_HANDLER);
    for (i = 0; i < 2; i++) fake_peer_close(peers[i]);
    (void)uds_echo_server_close(server);
}

static int woken;

static void on_wake(uds_echo_server *server, void *user)
{
    (void)server, (void)user;
    woken++;
}

/* Whatever else was rung before the next step, and however often. */
static void a_bell_that_rings_twice_rings(void **state)
{
    int drains, nows;
    (void)state;
    for (drains = 0; drains < 4; drains++)
        for (nows = 0; nows < 4; nows++) {
            uds_echo_server_desc desc = plain_desc();
            uds_echo_server *server;
            int peer, i;
            desc.on_wake = on_wake;
            server = serve(desc);
            peer = joined(server);
            woken = 0;
            for (i = 0; i < drains; i++) uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
            for (i = 0; i < nows; i++) uds_echo_server_stop(server, UDS_ECHO_STOP_NOW);
            uds_echo_server_wake(server);
            settle(server);
            assert_int_equal(woken, 1);
            assert_int_equal(fake_exists(PATH), !drains && !nows);
            assert_int_equal(ended, nows > 0);
            uds_echo_server_wake(server); /* while it drains, too */
            settle(server);
            assert_int_equal(woken, nows ? 1 : 2);
            fake_peer_close(peer);
            (void)uds_echo_server_close(server);
        }
}

/* A peer that goes away is everyday life; no descriptors are a problem of ours. */
static void problems_are_ours(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer, other;
    (void)state;
    notes = problems = 0;
    desc.on_log = on_log;
    server = serve(desc);
    peer = joined(server);
    fail_next(FAKE_recv, 0, 1, ECONNRESET);
    say(peer, "x");
    settle(server);
    assert_int_equal(notes, 1);
    assert_int_equal(problems, 0);
    assert_int_equal(last_cause, UDS_ECHO_ERR_RESET);
    other = fake_peer_connect(PATH);
    fail_next(UDS_ECHO_HAVE_ACCEPT4 ? FAKE_accept4 : FAKE_accept, 0, 1, EMFILE);
    settle(server);
    assert_int_equal(notes, 1);
    assert_int_equal(problems, 1);
    assert_int_equal(last_cause, UDS_ECHO_ERR_TOO_MANY_FILES);
    fake_peer_close(peer);
    fake_peer_close(other);
    (void)uds_echo_server_close(server);
}

/* Interrupted is not hit. */
static void a_spin_that_a_signal_ends_is_no_hit(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    (void)state;
    fake.calls_per_ms = 10;
    desc.busy_poll_us = 5000;
    server = serve(desc);
    fail_next(WAIT, 0, 1, EINTR);
    assert_int_equal(uds_echo_server_step(server, 20), UDS_ECHO_OK);
    assert_int_equal(stats_of(server).busy_waits, 1);
    assert_int_equal(stats_of(server).busy_wait_hits, 0);
    (void)uds_echo_server_close(server);
}

/* 1,900 us of spinning within a step of a millisecond: that millisecond. */
static void a_spin_ends_with_its_step(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    long long began;
    (void)state;
    fake.calls_per_ms = 100;
    desc.busy_poll_us = 1900;
    server = serve(desc);
    began = fake_now_ms();
    assert_int_equal(uds_echo_server_step(server, 1), UDS_ECHO_OK);
    assert_int_equal(fake_now_ms() - began, 1);
    (void)uds_echo_server_close(server);
}

#if !UDS_ECHO_HAVE_ACCEPT4
static int struck;

static void taming_and_closing_fail(fake_call what)
{
    if (what == FAKE_fcntl && !struck) {
        struck = 1;
        fake_fault(fake_calls(), ENOMEM, 0);
    }
    if (what == FAKE_close && struck == 1) {
        struck = 2;
        fake_fault_too(fake_calls(), EINTR, 0);
    }
}

/* The connection is lost, and why is not what closing it met: that would look like a signal, and accepting would not
   rest. */
static void the_reason_of_a_loss_outlives_its_close(void **state)
{
    uds_echo_server *server = serve(plain_desc());
    int peer = fake_peer_connect(PATH);
    (void)state;
    struck = 0;
    fake.before = taming_and_closing_fail;
    settle(server);
    assert_int_equal(struck, 2);
    assert_int_equal(stats_of(server).pauses_failed, 1);
    fake_peer_close(peer);
    (void)uds_echo_server_close(server);
}
#endif

/* What others who hold the listener have set stays. */
static void an_adopted_listener_keeps_its_other_flags(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = PATH};
    uds_echo_server *server;
    int fd = fake_socket(AF_UNIX, SOCK_STREAM, 0);
    (void)state;
    assert_int_equal(fake_fcntl(fd, F_SETFL, O_ASYNC), 0);
    assert_int_equal(fake_bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(fake_listen(fd, 4), 0);
    desc.path = NULL;
    assert_int_equal(uds_echo_server_adopt(&server, fd, &desc, NULL), UDS_ECHO_OK);
    assert_int_equal(fake_fcntl(fd, F_GETFL) & (O_NONBLOCK | O_ASYNC), O_NONBLOCK | O_ASYNC);
    (void)uds_echo_server_close(server);
    fake_remove(PATH);
}

/* ---- clients ----------------------------------------------------------------------------------------------------- */

static void a_client_that_failed_has_no_descriptor(void **state)
{
    uds_echo_client_desc desc;
    uds_echo_client client;
    (void)state;
    memset(&desc, 0, sizeof desc);
    assert_int_equal(uds_echo_client_open(&client, NULL, &why), UDS_ECHO_ERR_INVALID);
    assert_int_equal(client.fd, -1);
    assert_int_equal(uds_echo_client_open(&client, &desc, &why), UDS_ECHO_ERR_INVALID);
    assert_int_equal(client.fd, -1);
}

/* unix(7): sun_path has 108 bytes, the last one ours for the NUL. */
static void paths_about_as_long_as_an_address(void **state)
{
    char folder[64], path[130];
    uds_echo_client_desc desc;
    uds_echo_client client;
    size_t length;
    (void)state;
    memset(&desc, 0, sizeof desc);
    memset(folder, 'd', sizeof folder);
    memcpy(folder, "/w/", 3);
    folder[sizeof folder - 1] = '\0';
    fake_put_dir(folder);
    for (length = 106; length <= 109; length++) {
        (void)snprintf(path, sizeof path, "%s/", folder);
        memset(path + strlen(path), 's', length - strlen(path));
        path[length] = '\0';
        assert_true(fake_put_live(path, SOCK_STREAM, 1) >= 0);
        fake_set_mode(path, 0777);
        desc.path = path;
        assert_int_equal(uds_echo_client_open(&client, &desc, &why), UDS_ECHO_OK);
        uds_echo_client_close(&client);
    }
}

/* The server waits for the end of the question, however short that is. */
static void a_call_may_say_nothing(void **state)
{
    uds_echo_server *server = serve(plain_desc());
    char reply[4];
    size_t n = 9;
    (void)state;
    fake.world = step_server;
    fake.user = server;
    assert_int_equal(uds_echo_call(PATH, NULL, 0, reply, sizeof reply, &n, 1000, &why), UDS_ECHO_OK);
    assert_int_equal(n, 0);
    fake.world = NULL;
    (void)uds_echo_server_close(server);
}

/* A security module may say no to a call that never fails so elsewhere; the number goes with the error, whichever it
   is. */
static void why_a_call_failed(void **state)
{
    uds_echo_server *server = serve(plain_desc());
    char reply[4];
    (void)state;
    fake.world = step_server;
    fake.user = server;
    fail_next(FAKE_send, 0, 1, EPERM);
    assert_int_equal(uds_echo_call(PATH, "x", 1, reply, sizeof reply, NULL, 1000, &why), UDS_ECHO_ERR_SYSTEM);
    assert_int_equal(why.os_error, EPERM);
    assert_string_equal(why.call, "exchange");
    errno = EPERM;
    assert_int_equal(uds_echo_call(PATH, "too long", 8, reply, sizeof reply, NULL, 1000, &why), UDS_ECHO_ERR_TRUNCATED);
    assert_int_equal(why.os_error, 0);
    fake.world = NULL;
    (void)uds_echo_server_close(server);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_put_back_replaces_nothing),
        TEST(the_last_of_ten_names_will_do),
        TEST(a_lock_that_is_held_says_so),
        TEST(modes_of_the_owner_only),
        TEST(a_path_that_stays_is_not_locked),
        TEST(reads_are_messages),
        TEST(a_peer_has_a_group_of_its_own),
        TEST(who_is_listed_again_loses_nobody),
        TEST(a_push_that_breaks_ends_in_the_next_step),
        TEST(who_is_owed_is_evicted_once),
        TEST(the_idlest_is_evicted_with_idle_ms_too),
        TEST(who_spins_looks_at_the_clock),
        TEST(no_end_is_a_reset),
        TEST(a_drain_ends_who_is_idle),
        TEST(a_drain_that_sleeps_tries_again),
        TEST(a_path_that_resists_once_goes),
        TEST(a_child_cannot_serve),
        TEST(a_full_server_drains_in_time),
        TEST(the_end_is_inside_too),
        TEST(the_reason_of_a_wait_outlives_callbacks),
        TEST(problems_are_ours),
        TEST(a_cause_hides_no_other),
        TEST(a_bell_that_rings_twice_rings),
        TEST(a_spin_that_a_signal_ends_is_no_hit),
        TEST(a_spin_ends_with_its_step),
#if !UDS_ECHO_HAVE_ACCEPT4
        TEST(the_reason_of_a_loss_outlives_its_close),
#endif
        TEST(an_adopted_listener_keeps_its_other_flags),
        TEST(a_client_that_failed_has_no_descriptor),
        TEST(paths_about_as_long_as_an_address),
        TEST(a_call_may_say_nothing),
        TEST(why_a_call_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
