/* What is refused for good - by a sandbox, an old kernel, a file system or a directory - ends in another way or in an
   error that names it; and what time, descriptors and process ids may be like. The letters are those of the fault that
   each test keeps from coming back. */
#include "harness.h"
#include "served.h"

static uds_echo_failure why;

/* ---- what happens meanwhile ---------------------------------------------------------------------------------------- */

static void (*meanwhile)(void); /* once, before the next call of a kind */
static fake_call meanwhile_before;

static void happen(fake_call what)
{
    void (*does)(void) = what == meanwhile_before ? meanwhile : NULL;
    if (does) meanwhile = NULL;
    if (does) does();
}

static void before_next(fake_call what, void (*does)(void))
{
    meanwhile_before = what;
    meanwhile = does;
    fake.before = happen;
}

static int setup_refused(void **state)
{
    meanwhile = NULL;
    return setup(state);
}

static uds_echo_error start(uds_echo_server **server, uds_echo_publish_mode publish)
{
    uds_echo_server_desc desc = plain_desc();
    desc.publish = publish;
    desc.lock_ms = 20;
    return uds_echo_server_open(server, &desc, &why);
}

/* It answers; a second start says that it lives; its stop leaves nothing. */
static void serves(uds_echo_server *server)
{
    uds_echo_server *second;
    int peer = fake_peer_connect(PATH);
    assert_true(peer >= 0);
    say(peer, "hello");
    settle(server);
    assert_string_equal(heard(peer), "hello");
    fake_peer_close(peer);
    settle(server);
    assert_int_equal(start(&second, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_ERR_IN_USE);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    assert_false(fake_exists(PATH));
    assert_string_equal(fake_left_behind(0), "");
}

static const int refusals[] = {ENOSYS, EPERM, EACCES, EOPNOTSUPP, EINVAL};
enum { REFUSALS = sizeof refusals / sizeof refusals[0] };

/* A4: where renameat2 is refused a start goes by link, over a stale file by rename, and without both in place. */
static void renames_that_a_sandbox_refuses(void **state)
{
    int i, stale, depth;
    for (i = 0; i < REFUSALS; i++) {
        for (stale = 0; stale < 2; stale++) {
            for (depth = 0; depth < 3; depth++) {
                uds_echo_server *server;
                (void)setup_refused(state);
                fake_refuse(FAKE_renameat2, refusals[i]);
                if (depth > 0) fake_refuse(FAKE_linkat, refusals[i]);
                if (depth > 1) fake_refuse(FAKE_renameat, refusals[i]);
                if (stale) fake_put_stale(PATH);
                assert_int_equal(start(&server, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_OK);
                serves(server);
                (void)teardown(state);
            }
        }
    }
}

/* The directory forbids it; of no name at all, which is every other time, it is not asked. */
static void forbid_renames(fake_call what)
{
    const fake_call last = UDS_ECHO_HAVE_RENAMEAT2 ? FAKE_renameat2 : FAKE_renameat;
    if (what == FAKE_linkat || what == FAKE_unlinkat) fake_fault(fake_calls(), EPERM, 0);
    if (what == last) fake_fault(fake_calls(), fake_calls_of(what) % 2 ? EPERM : ENOENT, 0);
}

/* A7: a directory that lets files be made and nothing else: DENIED by name, and what is left does not pile up. */
static void directory_that_allows_creating_only(void **state)
{
    uds_echo_server *server;
    int i;
    (void)state;
    fake.before = forbid_renames;
    for (i = 0; i < 12; i++) {
        assert_int_equal(start(&server, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_ERR_DENIED);
        assert_string_equal(why.call, "unlinkat");
        assert_int_equal(why.os_error, EPERM);
        assert_string_equal(fake_left_behind(1), ""); /* one at most */
    }
}

/* A8: a lock that is refused for good is not waited for: a fresh start needs none, a stale file stays. */
static void locks_that_are_refused(void **state)
{
    static const int cases[] = {ENOSYS, ENOLCK, EOPNOTSUPP, EPERM};
    size_t i;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uds_echo_server *server;
        long long began;
        (void)setup_refused(state);
        fake_refuse(FAKE_flock, cases[i]);
        began = fake_now_ms();
        assert_int_equal(start(&server, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_OK);
        assert_in_range(fake_now_ms() - began, 0, 2);
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
        assert_true(fake_exists(PATH)); /* no lock, no removal */
        assert_int_equal(start(&server, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_ERR_UNSUPPORTED);
        assert_string_equal(why.call, "flock");
        assert_int_equal(why.os_error, cases[i]);
        assert_in_range(fake_now_ms() - began, 0, 10);
        fake_remove(PATH);
        (void)teardown(state);
    }
}

/* A3: over libfuse a link is another file, and no rename refuses to replace. */
static void links_that_are_copies(void **state)
{
    uds_echo_server *server;
    (void)state;
    fake.links_are_copies = 1;
    fake.no_renameat2 = 2;
    assert_int_equal(start(&server, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_OK);
    serves(server);
    fake_put_stale(PATH);
    assert_int_equal(start(&server, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_OK);
    serves(server);
    fake.foreign_lock = 1; /* a rename that replaces needs the lock */
    assert_int_equal(start(&server, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_ERR_BUSY);
    assert_string_equal(why.call, "flock");
    assert_false(fake_exists(PATH));
}

/* A4, A5: a call that makes what a server is made of is told by its own name, and never as a directory's refusal. */
static void calls_that_have_no_other_way(void **state)
{
    static const fake_call calls[] = {FAKE_socket,
                                      FAKE_fchmod,
                                      FAKE_listen,
                                      FAKE_epoll_ctl,
                                      FAKE_clock_gettime,
                                      UDS_ECHO_HAVE_EPOLL ? FAKE_epoll_create1 : FAKE_socket,
                                      UDS_ECHO_HAVE_EVENTFD ? FAKE_eventfd : FAKE_pipe,
                                      UDS_ECHO_HAVE_ACCEPT4 ? FAKE_accept4 : FAKE_accept};
    size_t i, k;
    for (i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        for (k = 1; k < 3; k++) { /* EPERM, EACCES */
            uds_echo_server *server;
            if (calls[i] == FAKE_epoll_ctl && !UDS_ECHO_HAVE_EPOLL) continue;
            (void)setup_refused(state);
            fake_refuse(calls[i], refusals[k]);
            assert_int_equal(start(&server, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_ERR_SYSTEM);
            assert_string_equal(why.call, fake_name_of(calls[i]));
            assert_int_equal(why.os_error, refusals[k]);
            (void)teardown(state);
        }
    }
}

/* A5: accept4 that the system does not have is accept; one that is refused later is told, and is no spin. */
static void accept_that_is_not_offered(void **state)
{
    uds_echo_server *server;
    int peer;
    (void)state;
    fake_refuse(FAKE_accept4, ENOSYS);
    assert_int_equal(start(&server, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_OK);
    serves(server);
    assert_int_equal(start(&server, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_OK);
    fake_refuse(FAKE_accept4, EPERM);
    fake_refuse(FAKE_accept, EPERM);
    peer = fake_peer_connect(PATH);
    assert_true(peer >= 0);
    settle(server);
    assert_int_equal(stats_of(server).accepted, 0);
    assert_in_range(stats_of(server).pauses_failed, 1, 2);
    fake_peer_close(peer);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* A4: the mark stays where only it differs; a mode that is another one cannot be had. */
static void modes_that_cannot_be_set(void **state)
{
    uds_echo_server *server;
    uds_echo_server_desc desc = plain_desc();
    (void)state;
    fake_refuse(FAKE_fchmodat, EPERM);
    assert_int_equal(start(&server, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_OK);
    assert_int_equal(fake_mode(PATH), 01600);
    serves(server);
    fake.umask = 077;
    desc.mode = 0660;
    assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_ERR_UNSUPPORTED);
    assert_string_equal(why.call, "fchmodat");
    assert_string_equal(fake_left_behind(0), "");
}

/* A file system that drops the mark: no file is believed to be ours that does not have it. */
static void marks_that_are_dropped(void **state)
{
    uds_echo_server *server;
    (void)state;
    fake.drops_mark = 1;
    assert_int_equal(start(&server, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_ERR_UNSUPPORTED);
    assert_string_equal(why.call, "fchmod");
    assert_false(fake_exists(PATH));
    assert_int_equal(fake_calls_of(FAKE_fchmodat), 0);
}

static void without_proc(void **state)
{
    uds_echo_server *server;
    (void)state;
    fake.no_proc = 1;
    assert_int_equal(start(&server, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_OK);
    assert_int_equal(fake_mode(PATH), 0600);
    serves(server);
}

/* A6: a path into a FUSE mount whose daemon died. */
static void paths_that_are_not_connected(void **state)
{
    uds_echo_server *server;
    (void)state;
    fake_refuse(FAKE_fstatat, ENOTCONN);
    assert_int_equal(start(&server, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_ERR_SYSTEM);
    assert_string_equal(why.call, "fstatat");
    assert_int_equal(why.os_error, ENOTCONN);
}

/* ---- the path is somebody else's by the time it is looked at ------------------------------------------------------- */

static unsigned long foreign; /* its inode */

static void take_the_path(void)
{
    fake_remove(PATH);
    (void)fake_put_live(PATH, SOCK_STREAM, 1);
    fake_set_mode(PATH, 0755);
    foreign = fake_inode(PATH);
}

/* A1, A2: an ordinary server replaces the file in place, before it is looked at or before it gets its mode. */
static void a_live_socket_takes_the_place(void **state)
{
    static const fake_call moments[] = {FAKE_fchmodat, FAKE_listen};
    size_t i;
    for (i = 0; i < sizeof moments / sizeof moments[0]; i++) {
        uds_echo_server_desc desc = plain_desc();
        uds_echo_server *server;
        (void)setup_refused(state);
        desc.publish = UDS_ECHO_PUBLISH_DIRECT;
        desc.mode = 0777;
        before_next(moments[i], take_the_path);
        assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_ERR_IN_USE);
        assert_int_equal(why.pid, 4711);
        assert_int_equal(fake_inode(PATH), foreign);
        assert_int_equal(fake_mode(PATH), 0755);
        (void)teardown(state);
    }
}

static int opened;

static void take_the_path_at_the_second_open(fake_call what)
{
    if (what == FAKE_open && ++opened == 2) take_the_path(); /* the first is of the directory */
}

static void a_live_socket_takes_the_place_before_the_look(void **state)
{
    uds_echo_server *server;
    (void)state;
    opened = 0;
    fake.before = take_the_path_at_the_second_open;
    assert_int_equal(start(&server, UDS_ECHO_PUBLISH_DIRECT), UDS_ECHO_ERR_IN_USE);
    assert_int_equal(fake_inode(PATH), foreign);
    assert_int_equal(fake_mode(PATH), 0755);
}

/* What is staged is replaced, after it was opened, by what could be another starter's: it has the mark. Or by a file. */
static const char *replaced_by;

static void replace_the_staged(fake_call what)
{
    if (what != FAKE_fstatat || !replaced_by || opened < 2) return;
    fake_remove(PATH "~0");
    if (replaced_by[0] == 's') (void)fake_put_live(PATH "~0", SOCK_STREAM, 1);
    else fake_put_file(PATH "~0");
    fake_set_mode(PATH "~0", 01600);
    replaced_by = NULL;
}

static void count_opens(fake_call what)
{
    opened += what == FAKE_open;
    replace_the_staged(what);
}

static void a_marked_file_takes_the_place(void **state)
{
    static const char *const kinds[] = {"socket", "file"};
    int i;
    for (i = 0; i < 2; i++) {
        uds_echo_server *server;
        (void)setup_refused(state);
        opened = 0;
        replaced_by = kinds[i];
        fake.before = count_opens;
        assert_int_equal(start(&server, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_OK);
        assert_null(replaced_by);
        assert_int_equal(fake_mode(PATH "~0"), 01600);
        assert_true(fake_is_ours(PATH));
        fake.before = NULL;
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
        assert_true(fake_exists(PATH "~0"));
        (void)teardown(state);
    }
}

/* What the look after publishing meets: how often, and with which errno. */
static int confirm_errno, confirm_times;
static fake_call confirm_call;

static void at_the_confirmation(fake_call what)
{
    if (what != confirm_call || confirm_times == 0 || !fake_is_ours(PATH) || fake_exists(PATH "~0")) return;
    confirm_times--;
    fake_fault(fake_calls(), confirm_errno, 0);
}

static void the_look_after_publishing(void **state)
{
    static const struct {
        fake_call call;
        int os_error, times;
        uds_echo_error error;
    } cases[] = {{FAKE_connect, ECONNREFUSED, 1, UDS_ECHO_OK}, /* once: somebody moved */
                 {FAKE_connect, ECONNREFUSED, 99, UDS_ECHO_ERR_UNSUPPORTED},
                 {FAKE_connect, ENOENT, 2, UDS_ECHO_OK},
                 {FAKE_connect, EPERM, 99, UDS_ECHO_OK}, /* nobody may ask: the inode decides */
                 {FAKE_connect, ENOMEM, 99, UDS_ECHO_ERR_NO_MEMORY},
                 {FAKE_socket, EMFILE, 99, UDS_ECHO_ERR_TOO_MANY_FILES},
                 {FAKE_fstatat, ENOENT, 1, UDS_ECHO_OK},
                 {FAKE_fstatat, EIO, 1, UDS_ECHO_ERR_SYSTEM}};
    size_t i;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uds_echo_server *server;
        uds_echo_error error;
        (void)setup_refused(state);
        confirm_call = cases[i].call;
        confirm_errno = cases[i].os_error;
        confirm_times = cases[i].times;
        fake.before = at_the_confirmation;
        error = start(&server, UDS_ECHO_PUBLISH_ATOMIC);
        assert_int_equal(error, cases[i].error);
        assert_true(confirm_times < cases[i].times);
        fake.before = NULL;
        if (error) {
            assert_string_equal(why.call, cases[i].call == FAKE_fstatat ? "fstatat" : "connect");
            assert_int_equal(why.os_error, cases[i].os_error);
        } else {
            serves(server);
        }
        if (cases[i].os_error != EIO) assert_false(fake_exists(PATH)); /* what cannot be looked at is not removed */
        fake_remove(PATH);
        (void)teardown(state);
    }
}

/* No descriptor for the file that was staged. */
static void no_descriptor_for_the_file(fake_call what)
{
    if (what == FAKE_open && ++opened == 2) fake_fault(fake_calls(), EMFILE, 0);
}

static void a_staged_file_that_cannot_be_held(void **state)
{
    uds_echo_server *server;
    (void)state;
    opened = 0;
    fake.before = no_descriptor_for_the_file;
    assert_int_equal(start(&server, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_ERR_TOO_MANY_FILES);
    assert_string_equal(why.call, "open");
}

static int lock_polls;

static int neighbour(void *user)
{
    (void)user;
    if (++lock_polls == 5) fake.foreign_lock = 0;
    return 0;
}

/* A fresh start waits for the lock, gets it when a neighbour gives it back, and goes on without it in the end. */
static void a_lock_that_is_held(void **state)
{
    uds_echo_server *server;
    long long began;
    (void)state;
    lock_polls = 0;
    fake.foreign_lock = 1;
    fake.world = neighbour;
    began = fake_now_ms();
    assert_int_equal(start(&server, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_OK);
    assert_in_range(fake_now_ms() - began, 4, 12);
    fake.world = NULL;
    serves(server);
    fake.foreign_lock = 1;
    began = fake_now_ms();
    assert_int_equal(start(&server, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_OK);
    assert_in_range(fake_now_ms() - began, 20, 25);
    fake.foreign_lock = 0;
    serves(server);
}

/* Others have the name under which a link is tried, or all but that name. */
static void names_for_a_trial(void **state)
{
    char name[32];
    int all, i;
    for (all = 0; all < 3; all++) {
        uds_echo_server *server;
        (void)setup_refused(state);
        fake.no_renameat2 = 1;
        for (i = all == 1 ? 0 : 9; i < (all == 1 ? 9 : 10); i++) {
            (void)snprintf(name, sizeof name, PATH "~%d", i);
            if (all == 2) (void)fake_put_live(name, SOCK_STREAM, 1);
            else fake_put_file(name);
        }
        fake.foreign_lock = 1; /* only a link needs no lock */
        assert_int_equal(start(&server, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_ERR_BUSY);
        assert_string_equal(why.call, "flock");
        assert_false(fake_exists(PATH));
        fake.foreign_lock = 0;
        assert_int_equal(start(&server, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_OK);
        serves(server);
        assert_true(fake_exists(name)); /* whose it is, keeps it */
        (void)teardown(state);
    }
}

static void fail_the_next_call(void)
{
    fake_fault(fake_calls() + 1, EIO, 0);
}

/* Without renameat2 and without the lock a start goes by link. */
static void a_link_needs_no_lock(void **state)
{
    int mute;
    for (mute = 0; mute < 2; mute++) {
        uds_echo_server *server;
        (void)setup_refused(state);
        fake.no_renameat2 = 1;
        fake.foreign_lock = 1;
        if (mute) fake_refuse(FAKE_connect, EPERM); /* then nobody can ask where the link leads */
        assert_int_equal(start(&server, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_OK);
        assert_int_equal(fake_calls_of(FAKE_linkat), 2);
        assert_int_equal(fake_calls_of(FAKE_renameat), 0);
        fake.foreign_lock = 0;
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
        assert_string_equal(fake_left_behind(0), "");
        (void)teardown(state);
    }
}

/* A link that cannot be looked at is not believed: the start renames, and links nothing to the path. */
static void a_trial_that_cannot_be_looked_at(void **state)
{
    uds_echo_server *server;
    (void)state;
    fake.no_renameat2 = 1;
    before_next(FAKE_linkat, fail_the_next_call);
    assert_int_equal(start(&server, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_OK);
    assert_int_equal(fake_fault_of(0), FAKE_fstatat);
    assert_int_equal(fake_fault_happened(), 1);
    assert_int_equal(fake_calls_of(FAKE_linkat), 1);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

static void put_a_live_server(void)
{
    (void)fake_put_live(PATH, SOCK_STREAM, 1);
}

/* Without renames a path that is taken after the trial link refuses, and nothing is renamed over. */
static void a_path_that_is_taken_after_the_trial(void **state)
{
    int copies;
    for (copies = 0; copies < 2; copies++) {
        uds_echo_server *server;
        (void)setup_refused(state);
        fake.no_renameat2 = 1;
        fake.links_are_copies = copies;
        before_next(FAKE_linkat, put_a_live_server);
        assert_int_equal(start(&server, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_ERR_IN_USE);
        assert_true(fake_exists(PATH));
        assert_string_equal(fake_left_behind(0), "");
        (void)teardown(state);
    }
}

static void errnos_one_by_one(void **state)
{
    static const int yes[] = {ENOSYS, EPERM, EACCES, EOPNOTSUPP}, no[] = {0, EINVAL, ENOENT, EBADF, EINTR, EROFS};
    uds_echo_server s;
    size_t i;
    (void)state;
    for (i = 0; i < 4; i++) assert_true(ue_is_refused(yes[i]));
    for (i = 0; i < 6; i++) assert_false(ue_is_refused(no[i]));
    assert_int_equal(ue_lock_refusal(EWOULDBLOCK), UDS_ECHO_ERR_BUSY);
    assert_int_equal(ue_lock_refusal(EINTR), UDS_ECHO_ERR_BUSY);
    assert_int_equal(ue_lock_refusal(EBADF), UDS_ECHO_ERR_DENIED);
    assert_int_equal(ue_lock_refusal(EACCES), UDS_ECHO_ERR_DENIED);
    assert_int_equal(ue_lock_refusal(ENOLCK), UDS_ECHO_ERR_UNSUPPORTED);
    memset(&s, 0, sizeof s);
    s.desc.when_full = UDS_ECHO_FULL_EVICT;
    assert_false(ue_may_evict(&s, EMFILE));
    s.stats.connections = 1;
    assert_true(ue_may_evict(&s, EMFILE));
    assert_true(ue_may_evict(&s, ENFILE));
    assert_false(ue_may_evict(&s, ENOMEM));
    s.desc.when_full = UDS_ECHO_FULL_QUEUE;
    assert_false(ue_may_evict(&s, EMFILE));
    fake_set_clock(5000000);
    assert_true(ue_busy_poll_goes_on(5000001, 10));
    assert_true(ue_busy_poll_goes_on(5000010, 10));
    assert_false(ue_busy_poll_goes_on(5000000, 10));
    assert_false(ue_busy_poll_goes_on(5000011, 10));
}

/* ---- time ---------------------------------------------------------------------------------------------------------- */

/* B1: without a clock no server starts; one whose clock is taken away ends its drain; a client talks all the same. */
static void a_clock_that_is_refused(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    char reply[8];
    size_t got;
    int peer, steps = 0;
    long long began;
    (void)state;
    fake_refuse(FAKE_clock_gettime, EPERM);
    assert_int_equal(start(&server, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_ERR_SYSTEM);
    assert_string_equal(why.call, "clock_gettime");
    fake_refuse(FAKE_clock_gettime, 0);
    desc.on_message = later_if_asked;
    desc.drain_ms = 500;
    server = serve(desc);
    peer = joined(server);
    say(peer, "?");
    settle(server);
    fake_refuse(FAKE_clock_gettime, EPERM);
    fake.world = step_server;
    fake.user = server;
    assert_int_equal(uds_echo_call(PATH, "hello", 5, reply, sizeof reply, &got, 1000, &why), UDS_ECHO_OK);
    assert_int_equal(got, 5);
    fake.world = NULL;
    began = fake_now_ms();
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    while (uds_echo_server_step(server, -1) != UDS_ECHO_ERR_STOPPED) assert_true(++steps < 20);
    assert_in_range(fake_now_ms() - began, 490, 520);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    fake_peer_close(peer);
}

/* B1: the same for a caller whose steps never wait: a step of a drain counts as a millisecond. */
static void steps_that_do_not_wait_without_a_clock(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer, steps = 0;
    (void)state;
    desc.on_message = later_if_asked;
    desc.drain_ms = 500;
    server = serve(desc);
    peer = joined(server);
    say(peer, "?");
    settle(server);
    fake_refuse(FAKE_clock_gettime, EPERM);
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    while (uds_echo_server_step(server, 0) != UDS_ECHO_ERR_STOPPED) assert_true(++steps < 520);
    assert_in_range(steps, 490, 520);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    fake_peer_close(peer);
}

/* A server that never answers is not waited for longer than asked, without a clock either. */
static void a_client_without_a_clock(void **state)
{
    int live = fake_put_live(PATH, SOCK_STREAM, 1);
    long long began = fake_now_ms();
    char reply[8];
    (void)state;
    fake_refuse(FAKE_clock_gettime, EPERM);
    assert_int_equal(uds_echo_call(PATH, "hello", 5, reply, sizeof reply, NULL, 300, &why), UDS_ECHO_ERR_TIMEOUT);
    assert_in_range(fake_now_ms() - began, 299, 310);
    fake_peer_close(live);
    fake_remove(PATH);
}

static void set_back(void)
{
    fake_set_clock(1);
}

/* B2: a clock that goes back: nobody is idle by it, what is due comes to pass, busy-poll ends. */
static void a_clock_that_goes_back(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    unsigned long waits;
    int peer;
    (void)state;
    desc.idle_ms = 100;
    desc.busy_poll_us = 1000000;
    fake.calls_per_ms = 10;
    server = serve(desc);
    peer = joined(server);
    say(peer, "hello");
    before_next(FAKE_recv, set_back);
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    assert_string_equal(heard(peer), "hello");
    assert_int_equal(ended, 0);
    assert_true(server->now >= 1000);
    waits = fake_calls();
    before_next(UDS_ECHO_HAVE_EPOLL ? FAKE_epoll_wait : FAKE_poll, set_back);
    assert_int_equal(uds_echo_server_step(server, 50), UDS_ECHO_OK);
    assert_true(fake_calls() - waits < 1000);
    until_stopped((uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN), server));
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    fake_peer_close(peer);
}

/* ---- descriptors --------------------------------------------------------------------------------------------------- */

/* B3: started with the standard streams closed, nothing of ours is 0, 1 or 2: the kernel looks at each wait. */
static void standard_streams_that_are_closed(void **state)
{
    uds_echo_server *server;
    char reply[8];
    (void)state;
    fake.low_descriptors = 1;
    assert_int_equal(start(&server, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_OK);
    fake.world = step_server;
    fake.user = server;
    assert_int_equal(uds_echo_call(PATH, "hello", 5, reply, sizeof reply, NULL, 1000, &why), UDS_ECHO_OK);
    fake.world = NULL;
    serves(server);
    fake_refuse(FAKE_fcntl, EMFILE); /* and there is none above */
    assert_true(start(&server, UDS_ECHO_PUBLISH_ATOMIC) != UDS_ECHO_OK);
}

/* B6: under FULL_EVICT descriptors that run out are a full table: the idlest goes, and the new one is accepted next. */
static void descriptors_that_run_out_evict(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peers[12], i, before;
    (void)state;
    desc.when_full = UDS_ECHO_FULL_EVICT;
    desc.connections_max = 64;
    server = serve(desc);
    before = fake_open_descriptors();
    fake.descriptors_max = before + 4;
    for (i = 0; i < 12; i++) {
        peers[i] = joined(server);
        say(peers[i], "hello");
        settle(server);
        assert_string_equal(heard(peers[i]), "hello");
    }
    assert_int_equal(stats_of(server).accepted, 12);
    assert_int_equal(stats_of(server).closed[UDS_ECHO_ERR_EVICTED], 12 - stats_of(server).connections);
    assert_int_equal(stats_of(server).pauses_failed, 0);
    for (i = 0; i < 12; i++) fake_peer_close(peers[i]);
    fake.descriptors_max = 64;
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* A wakeup that cannot be read is the error of each step, not a spin. */
static void a_wakeup_that_cannot_be_read(void **state)
{
    uds_echo_server *server;
    (void)state;
    assert_int_equal(start(&server, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_OK);
    fake_refuse(FAKE_read, EPERM);
    uds_echo_server_wake(server);
    assert_int_equal(uds_echo_server_run(server), UDS_ECHO_ERR_SYSTEM);
    assert_int_equal(errno, EPERM);
    fake_refuse(FAKE_read, 0);
    settle(server);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* ---- processes and stops ------------------------------------------------------------------------------------------- */

/* B4: of a peer in another pid namespace the kernel says 0, which kill(2) takes for one's own group. */
static void pids_of_other_namespaces(void **state)
{
    uds_echo_server *server;
    uds_echo_peer peer;
    int id;
    (void)state;
    fake.peer_pid = 0;
    assert_int_equal(start(&server, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_OK);
    id = joined(server);
    assert_int_equal(uds_echo_conn_peer(&server->conns[0], &peer), UDS_ECHO_OK);
    assert_int_equal(peer.pid, INT_MAX);
    assert_true(peer.uid >= 0);
    fail_next(FAKE_getsockopt, 0, 1, ENOBUFS);
    assert_int_equal(uds_echo_conn_peer(&server->conns[0], &peer), UDS_ECHO_ERR_SYSTEM);
    assert_int_equal(peer.pid, INT_MAX);
    assert_int_equal(peer.uid, -1);
    fake_peer_close(id);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* B5: only a lock that is held is tried again; a directory that may no longer be written is told at once. */
static void a_path_that_may_not_be_removed_any_more(void **state)
{
    uds_echo_server *server;
    long long began;
    (void)state;
    assert_int_equal(start(&server, UDS_ECHO_PUBLISH_ATOMIC), UDS_ECHO_OK);
    fake_refuse(FAKE_unlinkat, EACCES);
    began = fake_now_ms();
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    until_stopped(server);
    assert_in_range(fake_now_ms() - began, 0, 20);
    assert_true(fake_exists(PATH));
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_refused, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(renames_that_a_sandbox_refuses),
                                       TEST(directory_that_allows_creating_only),
                                       TEST(locks_that_are_refused),
                                       TEST(links_that_are_copies),
                                       TEST(calls_that_have_no_other_way),
                                       TEST(accept_that_is_not_offered),
                                       TEST(modes_that_cannot_be_set),
                                       TEST(marks_that_are_dropped),
                                       TEST(without_proc),
                                       TEST(paths_that_are_not_connected),
                                       TEST(a_live_socket_takes_the_place),
                                       TEST(a_live_socket_takes_the_place_before_the_look),
                                       TEST(a_marked_file_takes_the_place),
                                       TEST(the_look_after_publishing),
                                       TEST(a_staged_file_that_cannot_be_held),
                                       TEST(a_lock_that_is_held),
                                       TEST(names_for_a_trial),
                                       TEST(a_path_that_is_taken_after_the_trial),
                                       TEST(a_link_needs_no_lock),
                                       TEST(a_trial_that_cannot_be_looked_at),
                                       TEST(errnos_one_by_one),
                                       TEST(a_clock_that_is_refused),
                                       TEST(steps_that_do_not_wait_without_a_clock),
                                       TEST(a_client_without_a_clock),
                                       TEST(a_clock_that_goes_back),
                                       TEST(standard_streams_that_are_closed),
                                       TEST(descriptors_that_run_out_evict),
                                       TEST(a_wakeup_that_cannot_be_read),
                                       TEST(pids_of_other_namespaces),
                                       TEST(a_path_that_may_not_be_removed_any_more)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
