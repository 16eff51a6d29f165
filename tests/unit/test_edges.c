/* test_edges.c - limits that are met exactly, reasons that others would overwrite, and who is next in a list. */
#include "harness.h"
#include "served.h"

static uds_echo_failure why;

#if UDS_ECHO_HAVE_EPOLL
#define WAIT FAKE_epoll_wait
#else
#define WAIT FAKE_poll
#endif

/* ---- claims ---------------------------------------------------------------------------------------------------------------- */

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
    desc.publish = UDS_ECHO_DIRECT;
    fake_put_stale(PATH);
    fake.before = two_are_faster;
    assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_NOT_SOCKET);
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
    assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_BUSY);
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
    assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_UNSUPPORTED);
}

/* It may not be removed any more; its folder's lock is for those who have something to do there. */
static void a_path_that_stays_is_not_locked(void **state)
{
    uds_echo_server *server = serve(plain_desc());
    int peer = joined(server);
    (void)state;
    fail_next(FAKE_unlinkat, 0, 1000, EACCES);
    uds_echo_server_stop(server, UDS_ECHO_DRAIN);
    (void)uds_echo_server_step(server, 0);
    (void)uds_echo_server_step(server, 0);
    assert_true(fail_times < 1000);
    assert_false(fake_locked("/w"));
    fail_times = 0;
    fake_peer_close(peer);
    until_stopped(server);
    (void)uds_echo_server_close(server);
}

/* ---- connections ----------------------------------------------------------------------------------------------------------- */

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

/* What fills pending_max is taken, and no byte more; not from the last one that was handled either. */
static void pending_max_is_met_exactly(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    char full[64];
    int peers[4], i;
    (void)state;
    memset(full, 'p', sizeof full);
    fake.queue_bytes = 10;
    desc.pending_max = 192;
    desc.on_message = later_if_asked;
    server = serve(desc);
    for (i = 0; i < 4; i++) peers[i] = joined(server);
    say(peers[0], "x");
    settle(server);
    assert_string_equal(heard(peers[0]), "x");
    for (i = 1; i < 4; i++) {
        assert_int_equal(uds_echo_conn_send(&server->conns[i], full, 64), UDS_ECHO_OK);
        assert_int_equal(uds_echo_conn_send(&server->conns[i], full, 10), UDS_ECHO_OK);
    }
    assert_int_equal(stats_of(server).pending, 192);
    assert_int_equal(uds_echo_conn_send(&server->conns[0], full, 1), UDS_ECHO_WOULD_BLOCK);
    for (i = 0; i < 4; i++) fake_peer_close(peers[i]);
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

/* ---- servers --------------------------------------------------------------------------------------------------------------- */

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
    uds_echo_server_stop(server, UDS_ECHO_DRAIN);
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
    for (i = 0; i < 3; i++) assert_int_equal(from_end[i], UDS_ECHO_REENTRANT);
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
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_SYSTEM);
    assert_int_equal(errno, ENOMEM);
    fake_peer_close(peer);
    (void)uds_echo_server_close(server);

    fail_next(WAIT, 0, 1, ENOMEM);
    assert_int_equal(uds_echo_serve(&desc, &why), UDS_ECHO_SYSTEM);
    assert_int_equal(why.os_error, ENOMEM);
}

static int notes, problems;
static uds_echo_error last_cause;

static void on_log(uds_echo_level level, uds_echo_error cause, const char *text, void *user)
{
    (void)text, (void)user;
    notes += level == UDS_ECHO_NOTE;
    problems += level == UDS_ECHO_PROBLEM;
    last_cause = cause;
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
    assert_int_equal(last_cause, UDS_ECHO_RESET);
    other = fake_peer_connect(PATH);
    fail_next(UDS_ECHO_HAVE_ACCEPT4 ? FAKE_accept4 : FAKE_accept, 0, 1, EMFILE);
    settle(server);
    assert_int_equal(notes, 1);
    assert_int_equal(problems, 1);
    assert_int_equal(last_cause, UDS_ECHO_DESCRIPTORS);
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
    desc.spin_us = 5000;
    server = serve(desc);
    fail_next(WAIT, 0, 1, EINTR);
    assert_int_equal(uds_echo_server_step(server, 20), UDS_ECHO_OK);
    assert_int_equal(stats_of(server).spins, 1);
    assert_int_equal(stats_of(server).spin_hits, 0);
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
    desc.spin_us = 1900;
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

/* The connection is lost, and why is not what closing it met: that would look like a signal, and accepting would not rest. */
static void the_reason_of_a_loss_outlives_its_close(void **state)
{
    uds_echo_server *server = serve(plain_desc());
    int peer = fake_peer_connect(PATH);
    (void)state;
    struck = 0;
    fake.before = taming_and_closing_fail;
    settle(server);
    assert_int_equal(struck, 2);
    assert_int_equal(stats_of(server).exhausted, 1);
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

/* ---- clients --------------------------------------------------------------------------------------------------------------- */

static void a_client_that_failed_has_no_descriptor(void **state)
{
    uds_echo_client_desc desc;
    uds_echo_client client;
    (void)state;
    memset(&desc, 0, sizeof desc);
    assert_int_equal(uds_echo_client_open(&client, NULL, &why), UDS_ECHO_INVALID);
    assert_int_equal(client.fd, -1);
    assert_int_equal(uds_echo_client_open(&client, &desc, &why), UDS_ECHO_INVALID);
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
        TEST(pending_max_is_met_exactly),
        TEST(who_is_listed_again_loses_nobody),
        TEST(a_full_server_drains_in_time),
        TEST(the_end_is_inside_too),
        TEST(the_reason_of_a_wait_outlives_callbacks),
        TEST(problems_are_ours),
        TEST(a_spin_that_a_signal_ends_is_no_hit),
        TEST(a_spin_ends_with_its_step),
#if !UDS_ECHO_HAVE_ACCEPT4
        TEST(the_reason_of_a_loss_outlives_its_close),
#endif
        TEST(an_adopted_listener_keeps_its_other_flags),
        TEST(a_client_that_failed_has_no_descriptor),
        TEST(paths_about_as_long_as_an_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
