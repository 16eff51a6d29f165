/* What is told when a call fails: each call of a start and of a client's talk in turn, with an error that nothing
   expects. It must be told by its own name and number, or be one of those that do no harm. And what is due when. */
#include "harness.h"

static uds_echo_failure why;

/* A failure of these is made good, or changes nothing that the caller could be told: what looks and probes is asked
   again, or asks about litter. */
static int harmless(fake_call what)
{
    return what == FAKE_close || what == FAKE_poll || what == FAKE_unlinkat || what == FAKE_clock_gettime ||
           what == FAKE_epoll_del || what == FAKE_flock || what == FAKE_fstatat || what == FAKE_connect ||
           what == FAKE_socket || what == FAKE_fcntl || what == FAKE_setsockopt || what == FAKE_fchmodat ||
           what == FAKE_open /* of the staged file: its name does, too */ || what == FAKE_accept ||
           what == FAKE_accept4 || what == FAKE_linkat /* of a link that is tried */;
}

/* The calls that make one thing go by one name: a probe is its connect, moving a stale
   file aside is its rename, a descriptor that cannot be tamed what made it. */
static int told_as(fake_call what, const char *call)
{
    if (what == FAKE_renameat2 || what == FAKE_renameat || what == FAKE_linkat) return !strcmp(call, "rename");
    if (what == FAKE_socket && !strcmp(call, "connect")) return 1;
    if ((what == FAKE_fstatat || what == FAKE_unlinkat) && !strcmp(call, "rename")) return 1;
    if (what == FAKE_fcntl)
        return !strcmp(call, "fcntl") || !strcmp(call, "pipe") || !strcmp(call, "socket") || !strcmp(call, "connect");
    return !strcmp(call, fake_name_of(what));
}

enum { FRESH, STALE, DIRECT, DIRECT_STALE, FRAMED, EVERY, NARROW, ADOPT, KINDS };

static int adopted; /* the listener */

static uds_echo_error start(int kind, uds_echo_server **server)
{
    uds_echo_server_desc desc = plain_desc();
    if (kind == STALE || kind == DIRECT_STALE) fake_put_stale(PATH);
    if (kind == DIRECT || kind == DIRECT_STALE) desc.publish = UDS_ECHO_PUBLISH_DIRECT;
    if (kind == FRAMED) desc.frame = lines;
    if (kind == EVERY) desc.connections_max = -1;
    if (kind == NARROW) fake.umask = 0777;
    if (kind != ADOPT) return uds_echo_server_open(server, &desc, &why);
    desc.path = NULL;
    return uds_echo_server_adopt(server, adopted, &desc, &why);
}

static void make_adopted(void)
{
    struct sockaddr_un address;
    socklen_t size;
    ue_path place;
    adopted = fake_socket(AF_UNIX, SOCK_STREAM, 0);
    (void)ue_path_split(&place, PATH, "", NULL);
    (void)ue_address(&address, &size, &place, "");
    assert_int_equal(fake_bind(adopted, (struct sockaddr *)&address, size), 0);
    assert_int_equal(fake_listen(adopted, 5), 0);
}

/* One start in which this call fails. 0: there are no more calls. */
static int start_with(int kind, unsigned long call)
{
    uds_echo_server *server;
    uds_echo_error error;
    unsigned long before;
    fake_call what;
    fake_reset();
    if (kind == ADOPT) make_adopted();
    before = fake_calls();
    fake_fault(before + call, EIO, 0);
    error = start(kind, &server);
    if (!fake_fault_happened()) {
        if (fake_calls() < before + call) {
            assert_int_equal(error, UDS_ECHO_OK);
            (void)uds_echo_server_close(server);
            fake_finish();
            assert_lawful();
            return 0;
        }
    }
    what = fake_call_at(before + call);
    fake_fault(0, 0, 0);
    assert_int_equal(why.error, error);
    if (error) {
        assert_null(server);
        if (what == FAKE_malloc || what == FAKE_calloc) { /* memory is memory */
            assert_string_equal(why.call, fake_name_of(what));
            assert_true(error == UDS_ECHO_ERR_NO_MEMORY ? why.os_error == ENOMEM : why.os_error == EIO);
        } else {
            if (!told_as(what, why.call)) print_message("%s is told as %s\n", fake_name_of(what), why.call);
            assert_true(told_as(what, why.call));
            assert_int_equal(why.os_error, EIO);
            assert_int_equal(error, UDS_ECHO_ERR_SYSTEM);
        }
        if (kind == ADOPT) assert_int_equal(fake_close(adopted), 0); /* still the caller's */
        /* nothing is left but what was there; a file that could not be looked at is not known as ours, and stays */
        if (kind == FRESH || kind == DIRECT) assert_false(fake_exists(PATH) && what != FAKE_fstatat);
        assert_false(fake_exists(PATH "~0") && what != FAKE_fstatat && what != FAKE_unlinkat);
    } else {
        assert_true(harmless(what));
        (void)uds_echo_server_close(server);
    }
    fake_finish();
    assert_lawful();
    return 1;
}

static void every_call_of_a_start(void **state)
{
    unsigned long call;
    int kind, runs = 0;
    (void)state;
    for (kind = 0; kind < KINDS; kind++)
        for (call = 1; start_with(kind, call); call++) runs++;
    print_message("# %d starts in which a call failed\n", runs);
    assert_true(runs > 100);
    fake_reset();
}

/* ---- the client -------------------------------------------------------------------------------------------------- */

static uds_echo_server *echo;

static uds_echo_error talk(int by_call, char *reply)
{
    uds_echo_client_desc desc;
    uds_echo_client client;
    uds_echo_error error;
    uds_echo_io io = {"hello, you", 10, 0, NULL, 10, 0};
    size_t n;
    io.in = reply;
    if (by_call) return uds_echo_call(PATH, "hello, you", 10, reply, 20, &n, 1000, &why);
    memset(&desc, 0, sizeof desc);
    desc.path = PATH;
    desc.trust = UDS_ECHO_TRUST_UID;
    desc.uid = 1000;
    error = uds_echo_client_open(&client, &desc, &why);
    if (error) return error;
    error = uds_echo_client_exchange(&client, &io, 1000);
    ue_fail(&why, error, errno, "exchange");
    if (!error) error = uds_echo_client_shutdown(&client);
    if (error) ue_fail(&why, error, errno, "exchange");
    uds_echo_client_close(&client);
    return error;
}

static fake_call broken;
static int broken_skips, inside_server;

static int serve(void *user)
{
    int moved;
    inside_server = 1;
    moved = step_server(user);
    inside_server = 0;
    return moved;
}

static void break_it(fake_call what)
{
    if (inside_server || what != broken || broken_skips-- != 0) return;
    fake_fault(fake_calls(), EIO, 0);
}

static void every_call_of_a_client(void **state)
{
    static const fake_call calls[] = {FAKE_socket, FAKE_connect, FAKE_getsockopt, FAKE_send,
                                      FAKE_recv,   FAKE_poll,    FAKE_shutdown};
    uds_echo_server_desc desc = plain_desc();
    char reply[20];
    size_t i;
    int by_call, nth, runs = 0;
    (void)state;
    echo = open_server(&desc);
    fake.world = serve;
    fake.user = echo;
    for (by_call = 0; by_call < 2; by_call++) {
        assert_int_equal(talk(by_call, reply), UDS_ECHO_OK);
        for (i = 0; i < sizeof calls / sizeof calls[0]; i++) {
            for (nth = 0; nth < 4; nth++) {
                uds_echo_error error;
                broken = calls[i];
                broken_skips = nth;
                fake_fault(0, 0, 0);
                fake.before = break_it;
                error = talk(by_call, reply);
                fake.before = NULL;
                if (broken_skips >= 0) {
                    assert_int_equal(error, UDS_ECHO_OK); /* there are not so many */
                    break;
                }
                fake_fault(0, 0, 0);
                runs++;
                assert_int_equal(error, UDS_ECHO_ERR_SYSTEM);
                assert_int_equal(why.os_error, EIO);
                assert_string_equal(why.call, i < 3 ? fake_name_of(calls[i]) : "exchange");
                settle(echo);
            }
        }
    }
    assert_true(runs >= 12);
    fake.world = NULL;
    (void)uds_echo_server_close(echo);
}

/* Errors of an exchange are names that are told without a number of the system; of the peer's going, too. */
static void what_is_no_error_of_the_system(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    char reply[20];
    size_t n;
    (void)state;
    echo = open_server(&desc);
    fake.world = serve;
    fake.user = echo;
    errno = 77;
    assert_int_equal(uds_echo_call(PATH, "hello", 5, reply, 4, &n, 1000, &why), UDS_ECHO_ERR_TRUNCATED);
    assert_int_equal(why.os_error, 0);
    assert_string_equal(why.call, "exchange");
    settle(echo);
    fake.world = NULL;
    (void)uds_echo_server_close(echo);
}

/* ---- what is due, and who is told -------------------------------------------------------------------------------- */

static int notes;

static void count(uds_echo_log_level level, uds_echo_error cause, const char *text, void *user)
{
    (void)level, (void)text, (void)user;
    notes += cause == UDS_ECHO_ERR_RESET;
}

static void reset_one(uds_echo_server *server)
{
    int peer = fake_peer_connect(PATH);
    say(peer, "hello");
    fake_peer_close(peer); /* the answer meets nobody */
    settle(server);
}

/* At most one line a second for each cause, and the next second another. */
static void lines_are_few(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    (void)state;
    desc.on_log = count;
    notes = 0;
    server = open_server(&desc);
    reset_one(server);
    assert_int_equal(notes, 1);
    fake_sleep(999);
    reset_one(server);
    assert_int_equal(notes, 1);
    fake_sleep(1);
    reset_one(server);
    assert_int_equal(notes, 2);
    assert_int_equal(stats_of(server).closed[UDS_ECHO_ERR_RESET], 3);
    (void)uds_echo_server_close(server);
    assert_int_equal(notes, 2);
}

static void what_is_due_when(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer, i;
    (void)state;
    desc.idle_ms = 500;
    desc.drain_ms = -1;
    server = open_server(&desc);
    assert_int_equal(uds_echo_server_timeout(server), -1);
    peer = fake_peer_connect(PATH);
    say(peer, "hello");
    settle(server);
    assert_int_equal(uds_echo_server_timeout(server), 500);
    fake_sleep(200);
    assert_int_equal(uds_echo_server_timeout(server), 300);
    /* a push between two steps is a byte that moved, at its own time */
    assert_int_equal(uds_echo_conn_send(&server->conns[0], "push", 4), UDS_ECHO_OK);
    assert_int_equal(uds_echo_server_timeout(server), 500);
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    assert_int_equal(uds_echo_server_timeout(server), 2);
    fake_sleep(2);
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    for (i = 0; i < 5 && uds_echo_server_step(server, 0) == UDS_ECHO_OK; i++) continue;
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_ERR_STOPPED);
    assert_int_equal(uds_echo_server_timeout(server), 0);
    assert_int_equal(stats_of(server).closed[UDS_ECHO_OK], 1);
    fake_peer_close(peer);
    (void)uds_echo_server_close(server);
}

/* drain_ms -1: for as long as it takes. */
static uds_echo_id asked;

static uds_echo_verdict later(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)m, (void)user;
    asked = uds_echo_conn_id(conn);
    return UDS_ECHO_DEFER;
}

static void a_drain_without_end(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer, i;
    (void)state;
    desc.drain_ms = -1;
    desc.on_message = later;
    server = open_server(&desc);
    peer = fake_peer_connect(PATH);
    say(peer, "question");
    settle(server);
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    for (i = 0; i < 100; i++) {
        assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
        fake_sleep(1000);
    }
    assert_int_equal(uds_echo_server_timeout(server), -1);
    assert_int_equal(uds_echo_conn_send(uds_echo_server_find(server, asked), "answer", 6), UDS_ECHO_OK);
    settle(server);
    assert_string_equal(heard(peer), "answer");
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_ERR_STOPPED);
    fake_peer_close(peer);
    (void)uds_echo_server_close(server);
}

/* While a drain empties the queue and there are no descriptors, it rests, and asks again after that. */
static void a_drain_rests(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server = open_server(&desc);
    int peer, i;
    unsigned long accepts;
    const fake_call ask = UDS_ECHO_HAVE_ACCEPT4 ? FAKE_accept4 : FAKE_accept;
    (void)state;
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    fake.descriptors_max = fake_open_descriptors();
    (void)fake_exists(PATH);
    fake_sleep(2);
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK); /* no grace any more */
    assert_int_equal(uds_echo_server_timeout(server), 0);
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_ERR_STOPPED); /* nobody came */
    (void)uds_echo_server_close(server);

    fake.descriptors_max = 64;
    server = open_server(&desc);
    peer = fake_peer_connect(PATH);
    say(peer, "queued");
    fake.descriptors_max = fake_open_descriptors();
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    for (i = 0; i < 3; i++) {
        assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
        fake_sleep(2);
    }
    accepts = fake_calls_of(ask);
    for (i = 0; i < 5; i++) assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    assert_int_equal(fake_calls_of(ask), accepts);
    assert_in_range(uds_echo_server_timeout(server), 50, 100);
    fake.descriptors_max = 64;
    fake_sleep(100);
    for (i = 0; i < 5; i++) (void)uds_echo_server_step(server, 0);
    assert_string_equal(heard(peer), "queued");
    fake_peer_close(peer);
    (void)uds_echo_server_close(server);
}

/* Sharers take turns: one that has accepted goes to the end of the line. One alone does not. */
static void sharers_take_turns(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *first, *second;
    unsigned long dels;
    int peers[3];
    (void)state;
    if (!UDS_ECHO_HAVE_ATOMIC) return; /* nothing to count with who shares */
    first = open_server(&desc);
    dels = fake_calls_of(FAKE_epoll_del);
    peers[0] = fake_peer_connect(PATH);
    settle(first);
    assert_int_equal(fake_calls_of(FAKE_epoll_del), dels);
    desc.path = NULL;
    desc.share_with = first;
    second = open_server(&desc);
    peers[1] = fake_peer_connect(PATH);
    settle(first);
    if (UDS_ECHO_HAVE_EPOLL) assert_int_equal(fake_calls_of(FAKE_epoll_del), dels + 1);
    assert_int_equal(stats_of(first).accepted, 2);
    peers[2] = fake_peer_connect(PATH);
    settle(second);
    assert_int_equal(stats_of(second).accepted, 1);
    (void)uds_echo_server_close(first);
    (void)uds_echo_server_close(second);
    fake_peer_close(peers[0]);
    fake_peer_close(peers[1]);
    fake_peer_close(peers[2]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_call_of_a_start), TEST(every_call_of_a_client), TEST(what_is_no_error_of_the_system),
        TEST(lines_are_few),         TEST(what_is_due_when),       TEST(a_drain_without_end),
        TEST(a_drain_rests),         TEST(sharers_take_turns)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
