/* What a server is made of, and starts that meet what they did not expect. */
#include "harness.h"
#include "served.h"

static uds_echo_failure why;

/* ---- start ------------------------------------------------------------------------------------------------------- */

static void descriptions(void **state)
{
    static const struct {
        const char *field;
        size_t offset;
    } negative_ones[] = {{"desc.if_exists", offsetof(uds_echo_server_desc, if_exists)},
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
        assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_ERR_INVALID);
        assert_string_equal(why.call, negative_ones[i].field);
    }
    desc = plain_desc();
    desc.memory_max = -2;
    assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_ERR_INVALID);
    assert_string_equal(why.call, "desc.memory_max");
    desc = plain_desc();
    desc.message_max = (1l << 30) + 1;
    assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_ERR_INVALID);
    assert_string_equal(why.call, "desc.message_max");
    desc = plain_desc();
    assert_int_equal(uds_echo_server_adopt(NULL, 3, &desc, &why), UDS_ECHO_ERR_INVALID);
    assert_string_equal(why.call, "server");
    assert_int_equal(uds_echo_server_adopt(&server, 3, NULL, &why), UDS_ECHO_ERR_INVALID);
    assert_string_equal(why.call, "desc");
    desc.path = NULL;
    fd = ue_socket(SOCK_STREAM);
    fail_next(FAKE_getsockopt, 0, 1, ENOTSOCK);
    assert_int_equal(uds_echo_server_adopt(&server, fd, &desc, &why), UDS_ECHO_ERR_INVALID);
    assert_string_equal(why.call, "listener");
    fail_next(FAKE_getsockopt, 0, 1, ENOBUFS);
    assert_int_equal(uds_echo_server_adopt(&server, fd, &desc, &why), UDS_ECHO_ERR_NO_MEMORY);
    assert_string_equal(why.call, "getsockopt");
    ue_close(&fd);
    assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_ERR_INVALID);
    assert_string_equal(why.call, "desc.path");
}

static uds_echo_error resolved(uds_echo_server *s, uds_echo_server_desc desc)
{
    memset(s, 0, sizeof *s);
    s->desc = desc;
    return ue_apply_defaults(s, &why);
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
    assert_true(s.memory_max == ULLONG_MAX);
    assert_int_equal(s.desc.step_messages, 1024);
    assert_int_equal(s.desc.drain_ms, 5000);
    assert_int_equal(s.desc.idle_ms, 0);
    assert_int_equal(s.desc.message_ms, 0);
    assert_int_equal(s.desc.linger_ms, 30000);
    desc.mode = 0640;
    desc.backlog = 7;
    desc.lock_ms = desc.idle_ms = desc.message_ms = desc.drain_ms = -1;
    desc.linger_ms = 7;
    desc.when_full = UDS_ECHO_FULL_EVICT;
    desc.connections_max = -1;
    desc.memory_max = -1;
    assert_int_equal(resolved(&s, desc), UDS_ECHO_OK);
    assert_int_equal(s.desc.mode, 0640);
    assert_int_equal(s.desc.backlog, 7);
    assert_int_equal(s.desc.lock_ms, 0);
    assert_int_equal(s.desc.idle_ms, 0);
    assert_int_equal(s.desc.drain_ms, -1);
    assert_int_equal(s.conns_max, 64 - UE_INDEX_CONN); /* poll(2) takes no more places than the limit */
    assert_true(s.memory_max == ULLONG_MAX);
    assert_int_equal(s.desc.message_ms, 0);
    assert_int_equal(s.desc.linger_ms, 7);
    fake.descriptors_max = 2000000;
    assert_int_equal(resolved(&s, desc), UDS_ECHO_OK);
    assert_int_equal(s.conns_max, 1000000);
    fake.no_limit = 1;
    assert_int_equal(resolved(&s, desc), UDS_ECHO_OK);
    assert_int_equal(s.conns_max, 1000000);
    fake.no_limit = 0;
    fake.descriptors_max = 0;
    assert_int_equal(resolved(&s, desc), UDS_ECHO_OK);
    assert_int_equal(s.conns_max, 1);
    fail_next(FAKE_getrlimit, 0, 1, EPERM);
    assert_int_equal(resolved(&s, desc), UDS_ECHO_ERR_SYSTEM);
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
        unsigned long before;
        int peer;
        desc.send_buffer = asked ? 5000 : 0;
        server = serve(desc);
        before = fake_calls_of(FAKE_setsockopt);
        peer = joined(server);
        assert_int_equal(fake_calls_of(FAKE_setsockopt) - before, 1 + asked);
        fake_peer_close(peer);
        (void)uds_echo_server_close(server);
    }
}

static int takes_descriptors(int fd)
{
    int value = -1;
    socklen_t size = sizeof value;
    assert_int_equal(fake_getsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &value, &size), 0);
    return value;
}

/* Descriptors that a peer passes are refused on each socket of ours, from before the first peer can be there. */
static void descriptors_are_refused(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server = serve(desc);
    uds_echo_client_desc wish;
    uds_echo_client client;
    int peer = joined(server);
    (void)state;
    assert_int_equal(takes_descriptors(server->listener->fd), !UDS_ECHO_HAVE_PASSRIGHTS);
    assert_int_equal(takes_descriptors(server->conns[0].fd), !UDS_ECHO_HAVE_PASSRIGHTS);
    memset(&wish, 0, sizeof wish);
    wish.path = PATH;
    assert_int_equal(uds_echo_client_open(&client, &wish, &why), UDS_ECHO_OK);
    assert_int_equal(takes_descriptors(uds_echo_client_fd(&client)), !UDS_ECHO_HAVE_PASSRIGHTS);
    uds_echo_client_close(&client);
    fake_peer_close(peer);
    (void)uds_echo_server_close(server);
}

/* Linux before 6.16 says ENOPROTOOPT, and that is all. */
static void systems_that_cannot_refuse_descriptors(void **state)
{
    uds_echo_server *server;
    uds_echo_client_desc wish;
    uds_echo_client client;
    int peer;
    (void)state;
    fake.no_passrights = 1;
    server = serve(plain_desc());
    peer = joined(server);
    say(peer, "hello");
    settle(server);
    assert_string_equal(heard(peer), "hello");
    memset(&wish, 0, sizeof wish);
    wish.path = PATH;
    assert_int_equal(uds_echo_client_open(&client, &wish, &why), UDS_ECHO_OK);
    uds_echo_client_close(&client);
    fake_peer_close(peer);
    (void)uds_echo_server_close(server);
}

static void every_error_has_its_name(void **state)
{
    static const struct {
        int os_error;
        uds_echo_error of_any, of_a_path, of_a_connection;
    } cases[] = {
        {EACCES, UDS_ECHO_ERR_SYSTEM, UDS_ECHO_ERR_DENIED, UDS_ECHO_ERR_SYSTEM},
        {EPERM, UDS_ECHO_ERR_SYSTEM, UDS_ECHO_ERR_DENIED, UDS_ECHO_ERR_SYSTEM},
        {EROFS, UDS_ECHO_ERR_SYSTEM, UDS_ECHO_ERR_DENIED, UDS_ECHO_ERR_SYSTEM},
        {ENOENT, UDS_ECHO_ERR_SYSTEM, UDS_ECHO_ERR_NOT_FOUND, UDS_ECHO_ERR_SYSTEM},
        {ENOTDIR, UDS_ECHO_ERR_SYSTEM, UDS_ECHO_ERR_NOT_FOUND, UDS_ECHO_ERR_SYSTEM},
        {ENAMETOOLONG, UDS_ECHO_ERR_SYSTEM, UDS_ECHO_ERR_BAD_PATH, UDS_ECHO_ERR_SYSTEM},
        {ECONNREFUSED, UDS_ECHO_ERR_SYSTEM, UDS_ECHO_ERR_REFUSED, UDS_ECHO_ERR_SYSTEM},
        {EPROTOTYPE, UDS_ECHO_ERR_SYSTEM, UDS_ECHO_ERR_WRONG_TYPE, UDS_ECHO_ERR_SYSTEM},
        {ENOMEM, UDS_ECHO_ERR_NO_MEMORY, UDS_ECHO_ERR_NO_MEMORY, UDS_ECHO_ERR_NO_MEMORY},
        {ENOBUFS, UDS_ECHO_ERR_NO_MEMORY, UDS_ECHO_ERR_NO_MEMORY, UDS_ECHO_ERR_NO_MEMORY},
        {EMFILE, UDS_ECHO_ERR_TOO_MANY_FILES, UDS_ECHO_ERR_TOO_MANY_FILES, UDS_ECHO_ERR_TOO_MANY_FILES},
        {ENFILE, UDS_ECHO_ERR_TOO_MANY_FILES, UDS_ECHO_ERR_TOO_MANY_FILES, UDS_ECHO_ERR_TOO_MANY_FILES},
        {EPIPE, UDS_ECHO_ERR_SYSTEM, UDS_ECHO_ERR_SYSTEM, UDS_ECHO_ERR_RESET},
        {ENOTCONN, UDS_ECHO_ERR_SYSTEM, UDS_ECHO_ERR_SYSTEM, UDS_ECHO_ERR_RESET}, /* a dead FUSE daemon's path */
        {ECONNRESET, UDS_ECHO_ERR_SYSTEM, UDS_ECHO_ERR_SYSTEM, UDS_ECHO_ERR_RESET},
        {ELOOP, UDS_ECHO_ERR_SYSTEM, UDS_ECHO_ERR_SYSTEM, UDS_ECHO_ERR_SYSTEM},
        {EBUSY, UDS_ECHO_ERR_SYSTEM, UDS_ECHO_ERR_SYSTEM, UDS_ECHO_ERR_SYSTEM},
        {EXDEV, UDS_ECHO_ERR_SYSTEM, UDS_ECHO_ERR_SYSTEM, UDS_ECHO_ERR_SYSTEM},
        {ENOSPC, UDS_ECHO_ERR_SYSTEM, UDS_ECHO_ERR_SYSTEM, UDS_ECHO_ERR_SYSTEM},
        {EIO, UDS_ECHO_ERR_SYSTEM, UDS_ECHO_ERR_SYSTEM, UDS_ECHO_ERR_SYSTEM},
        {0, UDS_ECHO_ERR_SYSTEM, UDS_ECHO_ERR_SYSTEM, UDS_ECHO_ERR_SYSTEM},
        {EAGAIN, UDS_ECHO_ERR_SYSTEM, UDS_ECHO_ERR_SYSTEM, UDS_ECHO_ERR_SYSTEM}};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(ue_path_error(cases[i].os_error), cases[i].of_a_path);
        assert_int_equal(ue_conn_error(cases[i].os_error), cases[i].of_a_connection);
        errno = cases[i].os_error;
        assert_int_equal(ue_fail_os(&why, "call"), cases[i].of_any);
        assert_int_equal(why.os_error, cases[i].os_error);
        assert_string_equal(why.call, "call");
        assert_int_equal(why.pid, INT_MAX);
        assert_int_equal(why.uid, -1);
    }
    assert_true(ue_is_transient(EINTR));
    assert_true(ue_is_transient(EAGAIN));
    assert_false(ue_is_transient(EPIPE));
}

static void a_mode_that_cannot_be_widened(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    (void)state;
    fake.umask = 077;
    desc.mode = 0660;
    fail_next(FAKE_fchmodat, 0, 1, EPERM);
    assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_ERR_UNSUPPORTED);
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
    if (what != FAKE_renameat2) return;
    if (renames++ == 0) {
        fake_remove(PATH);
        (void)fake_put_live(PATH, SOCK_STREAM, 1);
    } else {
        fake_fault(fake_calls(), EACCES, 0);
    }
}

/* What came out of the exchange was another's, and putting it back fails twice: ours does not stay at the path. */
static void not_even_put_back(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    (void)state;
    if (!UDS_ECHO_HAVE_RENAMEAT2) return;
    fake_put_stale(PATH);
    renames = 0;
    fake.before = steal_and_hold;
    assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_ERR_DENIED);
    assert_string_equal(why.call, "rename");
    assert_int_equal(renames, 3);
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
        assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_ERR_IN_USE);
        assert_int_equal(fail_times, 0);
        assert_int_equal(why.pid, INT_MAX);
        assert_int_equal(why.uid, -1);
    }
    fake.before = NULL;
    assert_int_equal(uds_echo_server_open(&server, &desc, NULL), UDS_ECHO_ERR_IN_USE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(descriptions),
                                       TEST(defaults),
                                       TEST(what_a_server_is_made_of),
                                       TEST(send_buffer_is_set),
                                       TEST(descriptors_are_refused),
                                       TEST(systems_that_cannot_refuse_descriptors),
                                       TEST(every_error_has_its_name),
                                       TEST(a_mode_that_cannot_be_widened),
                                       TEST(litter_that_lives),
                                       TEST(another_stale_file_is_looked_at_again),
                                       TEST(not_even_put_back),
                                       TEST(an_incumbent_that_cannot_be_named)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
