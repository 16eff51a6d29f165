/* test_users.c - a second real user beside us: refused by mode and by policy, told who has the path, and unable to make
   us remove anything by holding the folder's lock. Only root can become others, so elsewhere these are skipped. */
#include "os.h"

#include <sched.h>

static int needs_root(void)
{
    if (os_is_root()) return 1;
    print_message("# skipped: only root can become another user\n");
    return 0;
}

#define NEEDS_ROOT()                                                                                                   \
    do {                                                                                                               \
        if (!needs_root()) skip();                                                                                     \
    } while (0)

/* What a client of that user meets: an error, or 0 where its four bytes came back. */
static int meets(uid_t user)
{
    pid_t child = os_fork();
    if (child == 0) {
        uds_echo_failure why;
        char reply[8], text[512];
        size_t got = 0;
        uds_echo_error error;
        os_become(user);
        error = uds_echo_call(os.path, "user", 4, reply, sizeof reply, &got, OS_REPLY_MS, &why);
        if (!error && (got != 4 || memcmp(reply, "user", 4))) _exit(101);
        if (error && (uds_echo_explain(&why, os.path, text, sizeof text) < 20 || why.error != error)) _exit(102);
        _exit((int)error);
    }
    return os_reap(child, OS_REPLY_MS);
}

/* ---- refused by mode --------------------------------------------------------------------------------------------- */

static void p09_a_second_user_is_refused_by_mode(void **state)
{
    const struct {
        int mode, served;
        gid_t group;
    } rows[] = {{0600, 0, 0}, {0, 0, 0}, {0660, 0, 0}, {0660, 1, OS_STRANGER}, {0640, 0, OS_STRANGER}, {0666, 1, 0}};
    int i, cases = 0;
    (void)state;
    NEEDS_ROOT();
    assert_int_equal(chmod(os.dir, 0755), 0);
    for (i = 0; i < (int)(sizeof rows / sizeof *rows); i++) {
        os_plan plan;
        pid_t server;
        memset(&plan, 0, sizeof plan);
        plan.desc.mode = rows[i].mode;
        server = os_serve(&plan);
        assert_int_equal(lchown(os.path, (uid_t)-1, rows[i].group), 0);
        print_message("    mode %03o, group %u\n", (unsigned)rows[i].mode, (unsigned)rows[i].group);
        os_exactly("what it met", meets(OS_STRANGER), rows[i].served ? UDS_ECHO_OK : UDS_ECHO_ERR_DENIED);
        assert_int_equal(meets(0), UDS_ECHO_OK);
        assert_int_equal(os_stop(server), 0);
        assert_int_equal(os.shared->stats.accepted, rows[i].served ? 2 : 1);
        cases++;
    }
    OS_CASES(cases, 6);
}

/* ---- refused by policy ------------------------------------------------------------------------------------------- */

/* A policy of one user: decided by uid, for a pid may be reused. */
static int only_root(uds_echo_conn *conn, void *user)
{
    uds_echo_peer peer;
    char line[64];
    int size;
    (void)user;
    if (uds_echo_conn_peer(conn, &peer)) return 1;
    if (peer.uid == 0) return 0;
    size = snprintf(line, sizeof line, "uid %ld is not served here\n", peer.uid);
    (void)uds_echo_conn_send(conn, line, (size_t)size);
    return 1;
}

static void p19_a_second_user_is_refused_by_policy_and_told_why(void **state)
{
    enum { ROUNDS = 50 };
    const char *reason = "uid 65533 is not served here\n";
    os_plan plan;
    pid_t server, child;
    (void)state;
    NEEDS_ROOT();
    assert_int_equal(chmod(os.dir, 0755), 0);
    memset(&plan, 0, sizeof plan);
    plan.desc.mode = 0666;
    plan.desc.on_open = only_root;
    server = os_serve(&plan);
    child = os_fork();
    if (child == 0) {
        int i, k;
        os_become(OS_STRANGER);
        for (i = 0; i < ROUNDS; i++) {
            char in[64] = "", block[3000];
            int fd = os_dial(os.path);
            memset(block, 'b', sizeof block);
            if (fd < 0) _exit(1);
            for (k = 0; i & 1 && k < 100; k++) /* in mid-send */
                if (os_write(fd, block, sizeof block) != sizeof block) _exit(4);
            if (os_read(fd, in, strlen(reason)) != strlen(reason) || strcmp(in, reason)) _exit(2);
            if (os_read_end(fd)) _exit(3);
            (void)close(fd);
            os.shared->count[0]++;
        }
        _exit(0);
    }
    os_exactly("exit status of the stranger", os_reap(child, OS_REPLY_MS), 0);
    assert_int_equal(meets(0), UDS_ECHO_OK);
    assert_int_equal(os_stop(server), 0);
    os_exactly("refused", (double)os.shared->stats.refused, ROUNDS);
    OS_CASES(os.shared->count[0], ROUNDS);
}

/* ---- the server is somebody else's ------------------------------------------------------------------------------- */

static void listen_as(uid_t user)
{
    int listener, fd;
    char byte;
    os_become(user);
    listener = os_listen(os.path, SOCK_STREAM, 8);
    if (listener < 0 || chmod(os.path, 0666)) _exit(1);
    os.shared->count[0] = 1;
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        os.shared->count[1] += recv(fd, &byte, 1, 0) == 1;
        os.shared->count[2]++;
        (void)close(fd);
    }
    _exit(2);
}

static pid_t squat(uid_t user)
{
    pid_t pid;
    os.shared->count[0] = 0;
    pid = os_fork();
    if (pid == 0) listen_as(user);
    while (!os.shared->count[0]) os_sleep(1);
    return pid;
}

static void p10_a_squatter_gets_no_byte(void **state)
{
    const struct {
        uds_echo_trust trust;
        long uid;
        uds_echo_error error;
    } rows[] = {{UDS_ECHO_TRUST_UID, 0, UDS_ECHO_ERR_UNTRUSTED},
                {UDS_ECHO_TRUST_UID, OS_NEIGHBOUR, UDS_ECHO_ERR_UNTRUSTED},
                {UDS_ECHO_TRUST_UID_OR_ROOT, 0, UDS_ECHO_ERR_UNTRUSTED},
                {UDS_ECHO_TRUST_UID_OR_ROOT, OS_NEIGHBOUR, UDS_ECHO_ERR_UNTRUSTED},
                {UDS_ECHO_TRUST_UID, OS_STRANGER, UDS_ECHO_OK},
                {UDS_ECHO_TRUST_UID_OR_ROOT, OS_STRANGER, UDS_ECHO_OK}};
    int i, cases = 0;
    pid_t squatter;
    (void)state;
    NEEDS_ROOT();
    assert_int_equal(chmod(os.dir, 01777), 0);
    squatter = squat(OS_STRANGER);
    for (i = 0; i < (int)(sizeof rows / sizeof *rows); i++) {
        uds_echo_client_desc desc;
        uds_echo_client client;
        uds_echo_failure why;
        char text[512];
        memset(&desc, 0, sizeof desc);
        desc.path = os.path;
        desc.trust = rows[i].trust;
        desc.uid = rows[i].uid;
        os_exactly("error", uds_echo_client_open(&client, &desc, &why), rows[i].error);
        if (rows[i].error) {
            os_exactly("uid told", (double)why.uid, OS_STRANGER);
            os_exactly("pid told", (double)why.pid, (double)squatter);
            (void)uds_echo_explain(&why, os.path, text, sizeof text);
            assert_non_null(strstr(text, "65533"));
        }
        uds_echo_client_close(&client);
        cases++;
    }
    while (os.shared->count[2] < cases) os_sleep(1);
    os_exactly("bytes it got", (double)os.shared->count[1], 0);
    os_kill(squatter);
    OS_CASES(cases, 6);
}

static void p02_a_second_users_live_server_is_named(void **state)
{
    uds_echo_server_desc desc;
    uds_echo_server *server;
    uds_echo_failure why;
    pid_t squatter;
    int how;
    (void)state;
    NEEDS_ROOT();
    assert_int_equal(chmod(os.dir, 01777), 0);
    squatter = squat(OS_STRANGER);
    memset(&desc, 0, sizeof desc);
    desc.path = os.path;
    for (how = 0; how < 2; how++) {
        desc.publish = how ? UDS_ECHO_PUBLISH_DIRECT : UDS_ECHO_PUBLISH_ATOMIC;
        os_exactly("error", uds_echo_server_open(&server, &desc, &why), UDS_ECHO_ERR_IN_USE);
        os_exactly("uid", (double)why.uid, OS_STRANGER);
        os_exactly("pid", (double)why.pid, (double)squatter);
    }
    os_exactly("names", os_names(os.dir, NULL, 0), 1);
    os_kill(squatter);
    OS_CASES(how, 2);
}

/* ---- a shared folder --------------------------------------------------------------------------------------------- */

static pid_t hold_the_lock_as(uid_t user)
{
    pid_t pid;
    os.shared->count[3] = 0;
    pid = os_fork();
    if (pid == 0) {
        int fd;
        os_become(user);
        fd = open(os.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || flock(fd, LOCK_EX)) _exit(1);
        os.shared->count[3] = 1;
        for (;;) (void)pause();
    }
    while (!os.shared->count[3]) os_sleep(1);
    return pid;
}

static int is_file(const char *path, const struct stat *before)
{
    struct stat now;
    return !lstat(path, &now) && now.st_ino == before->st_ino && now.st_dev == before->st_dev;
}

static void p07_a_stranger_who_holds_the_lock_makes_us_busy_and_remove_nothing(void **state)
{
    const int waits[] = {-1, 100, 300};
    int i, cases = 0;
    struct stat before;
    pid_t holder;
    (void)state;
    NEEDS_ROOT();
    assert_int_equal(chmod(os.dir, 01777), 0);
    os_make_stale(os.path);
    assert_int_equal(lstat(os.path, &before), 0);
    holder = hold_the_lock_as(OS_STRANGER);
    for (i = 0; i < 6; i++) {
        uds_echo_server_desc desc;
        uds_echo_server *server;
        uds_echo_failure why;
        double began = os_now(), bound = waits[i % 3] < 0 ? 0 : waits[i % 3];
        memset(&desc, 0, sizeof desc);
        desc.path = os.path;
        desc.lock_ms = waits[i % 3];
        desc.publish = i / 3 ? UDS_ECHO_PUBLISH_DIRECT : UDS_ECHO_PUBLISH_ATOMIC;
        os_exactly("error", uds_echo_server_open(&server, &desc, &why), UDS_ECHO_ERR_BUSY);
        os_at_least("ms", os_now() - began, bound - 5);
        os_at_most("ms", os_now() - began, bound + 200 * OS_SLOW);
        assert_true(is_file(os.path, &before));
        assert_int_equal(os_names(os.dir, NULL, 0), 1);
        cases++;
    }
    os_kill(holder);
    assert_int_equal(os_stop(os_serve(NULL)), 0);
    assert_int_equal(os_names(os.dir, NULL, 0), 0);
    OS_CASES(cases, 6);
}

static void p07_a_stranger_who_holds_the_lock_cannot_hold_up_a_stop(void **state)
{
    int how, cases = 0;
    (void)state;
    NEEDS_ROOT();
    assert_int_equal(chmod(os.dir, 01777), 0);
    for (how = 0; how < 3; how++) {
        uds_echo_server *server = os_open(NULL);
        pid_t holder = hold_the_lock_as(OS_STRANGER);
        double began = os_now();
        struct stat before;
        assert_int_equal(lstat(os.path, &before), 0);
        if (how) {
            uds_echo_server_stop(server, how == 1 ? UDS_ECHO_STOP_NOW : UDS_ECHO_STOP_DRAIN);
            (void)os_run_out(server);
        }
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
        os_at_most("ms until it had ended", os_now() - began, (how == 2 ? 200 : 0) + 300 * OS_SLOW);
        assert_true(is_file(os.path, &before)); /* no lock, no removal: stale now */
        os_kill(holder);
        server = os_open(NULL); /* and the next start takes it */
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
        assert_int_equal(os_names(os.dir, NULL, 0), 0);
        cases++;
    }
    OS_CASES(cases, 3);
}

/* In a folder like /tmp nobody can take another's file away, and so a start over it is denied. */
static void p05_a_strangers_stale_file_in_a_sticky_folder_stays(void **state)
{
    int how, cases = 0;
    struct stat before;
    (void)state;
    NEEDS_ROOT();
    assert_int_equal(chmod(os.dir, 01777), 0);
    os_make_stale(os.path);
    assert_int_equal(lchown(os.path, OS_NEIGHBOUR, OS_NEIGHBOUR), 0);
    assert_int_equal(lchown(os.dir, OS_NEIGHBOUR + 100, (gid_t)-1), 0); /* the folder's owner could */
    assert_int_equal(chmod(os.path, 0666), 0);
    assert_int_equal(lstat(os.path, &before), 0);
    for (how = 0; how < 2; how++) {
        pid_t child = os_fork();
        if (child == 0) {
            uds_echo_server_desc desc;
            uds_echo_server *server;
            memset(&desc, 0, sizeof desc);
            desc.path = os.path;
            desc.lock_ms = 100;
            desc.publish = how ? UDS_ECHO_PUBLISH_DIRECT : UDS_ECHO_PUBLISH_ATOMIC;
            os_become(OS_STRANGER);
            _exit((int)uds_echo_server_open(&server, &desc, NULL));
        }
        os_exactly("error", os_reap(child, OS_REPLY_MS), UDS_ECHO_ERR_DENIED);
        assert_true(is_file(os.path, &before));
        os_exactly("names", os_names(os.dir, NULL, 0), 1);
        cases++;
    }
    OS_CASES(cases, 2);
}

/* ---- P44 --------------------------------------------------------------------------------------------------------- */

static int write_to(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC), well;
    if (fd < 0) return 0;
    well = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    (void)close(fd);
    return well;
}

/* In a user namespace that knows root only, every other user reads as 65534: none of them is who is asked for. */
static void p44_an_unmapped_user_is_nobody_that_is_trusted(void **state)
{
    const struct {
        uds_echo_trust trust;
        long uid;
    } rows[] = {{UDS_ECHO_TRUST_UID, OS_STRANGER},
                {UDS_ECHO_TRUST_UID, 0},
                {UDS_ECHO_TRUST_UID_OR_ROOT, 0},
                {UDS_ECHO_TRUST_UID_OR_ROOT, OS_STRANGER}};
    pid_t squatter, child;
    int status;
    (void)state;
    NEEDS_ROOT();
    assert_int_equal(chmod(os.dir, 01777), 0);
    squatter = squat(OS_STRANGER);
    child = os_fork();
    if (child == 0) {
        size_t i;
        if (unshare(CLONE_NEWUSER)) _exit(77);
        if (!write_to("/proc/self/uid_map", "0 0 1\n")) _exit(78);
        for (i = 0; i < sizeof rows / sizeof *rows; i++) {
            uds_echo_client_desc desc;
            uds_echo_client client;
            uds_echo_failure why;
            memset(&desc, 0, sizeof desc);
            desc.path = os.path;
            desc.trust = rows[i].trust;
            desc.uid = rows[i].uid;
            if (uds_echo_client_open(&client, &desc, &why) != UDS_ECHO_ERR_UNTRUSTED) _exit(1);
            if (why.uid != 65534) _exit(2);
            os.shared->count[4]++;
        }
        _exit(0);
    }
    status = os_reap(child, OS_REPLY_MS);
    os_kill(squatter);
    if (status == 77 || status == 78) {
        print_message("# skipped: no user namespaces here\n");
        skip();
    }
    os_exactly("exit status", status, 0);
    OS_CASES(os.shared->count[4], 4);
}

/* The same seen from the server: whoever is not mapped is told apart from everybody it knows. */
static void p44_an_unmapped_client_reads_as_the_overflow_uid(void **state)
{
    os_plan plan;
    int ends[2], status;
    pid_t server;
    char in[64] = "";
    (void)state;
    NEEDS_ROOT();
    assert_int_equal(chmod(os.dir, 01777), 0);
    assert_int_equal(pipe(ends), 0);
    server = os_fork();
    if (server == 0) {
        if (unshare(CLONE_NEWUSER)) _exit(77);
        if (!write_to("/proc/self/uid_map", "0 0 1\n")) _exit(78);
        memset(&plan, 0, sizeof plan);
        plan.desc.mode = 0666;
        plan.desc.on_open = only_root;
        os_ready_fd = ends[1];
        os_server_main(&plan);
    }
    (void)close(ends[1]);
    if (!os_readable(ends[0], OS_REPLY_MS) || read(ends[0], in, sizeof in) <= 0) {
        (void)close(ends[0]);
        status = os_reap(server, OS_REPLY_MS);
        if (status != 77 && status != 78) fail_msg("exit status %d", status);
        print_message("# skipped: no user namespaces here\n");
        skip();
    }
    (void)close(ends[0]);
    assert_int_equal(meets(0), UDS_ECHO_OK);
    /* the line that refuses it is longer than the answer it hoped for */
    os_exactly("what the stranger met", meets(OS_STRANGER), UDS_ECHO_ERR_TRUNCATED);
    OS_SOON(os.shared->stats.refused == 1);
    os_exactly("refused", (double)os.shared->stats.refused, 1);
    assert_int_equal(os_stop(server), 0);
    OS_CASES(2, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OS_TEST(p09_a_second_user_is_refused_by_mode),
        OS_TEST(p19_a_second_user_is_refused_by_policy_and_told_why),
        OS_TEST(p10_a_squatter_gets_no_byte),
        OS_TEST(p02_a_second_users_live_server_is_named),
        OS_TEST(p07_a_stranger_who_holds_the_lock_makes_us_busy_and_remove_nothing),
        OS_TEST(p07_a_stranger_who_holds_the_lock_cannot_hold_up_a_stop),
        OS_TEST(p05_a_strangers_stale_file_in_a_sticky_folder_stays),
        OS_TEST(p44_an_unmapped_user_is_nobody_that_is_trusted),
        OS_TEST(p44_an_unmapped_client_reads_as_the_overflow_uid),
    };
    return cmocka_run_group_tests_name("users", tests, NULL, NULL);
}
