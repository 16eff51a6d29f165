/* test_steps.c - the calls that the header makes of the real kernel, one by one: looked at before each, failed on
   purpose, or never reached for SIGKILL came first. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Called before each call that leaves the header; fd -1: it has none, or nobody asked. */
static void step(const char *call, int fd);

static int at_accept(int fd, struct sockaddr *address, socklen_t *size);
static int at_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags);
static int at_bind(int fd, const struct sockaddr *address, socklen_t size);
static int at_connect(int fd, const struct sockaddr *address, socklen_t size);
static ssize_t at_recv(int fd, void *bytes, size_t size, int flags);
static int at_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags);
static int at_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags);
static int at_close(int fd);
static int at_shutdown(int fd, int how);
static void *at_malloc(size_t size);
static void *at_calloc(size_t count, size_t size);

#define UDS_ECHO_SYS(fn) at_##fn
#define at_clock_gettime clock_gettime
#define at_epoll_create1 (step("epoll_create1", -1), epoll_create1)
#define at_epoll_ctl (step("epoll_ctl", -1), epoll_ctl)
#define at_epoll_wait (step("epoll_wait", -1), epoll_wait)
#define at_eventfd (step("eventfd", -1), eventfd)
#define at_fchmod (step("fchmod", -1), fchmod)
#define at_fchmodat (step("fchmodat", -1), fchmodat)
#define at_fcntl (step("fcntl", -1), fcntl)
#define at_flock (step("flock", -1), flock)
#define at_free free
#define at_fstatat (step("fstatat", -1), fstatat)
#define at_getpid getpid
#define at_getrlimit getrlimit
#define at_getsockopt (step("getsockopt", -1), getsockopt)
#define at_listen (step("listen", -1), listen)
#define at_open (step("open", -1), open)
#define at_poll (step("poll", -1), poll)
#define at_read (step("read", -1), read)
#define at_renameat (step("renameat", -1), renameat)
#define at_send (step("send", -1), send)
#define at_setsockopt (step("setsockopt", -1), setsockopt)
#define at_socket (step("socket", -1), socket)
#define at_syscall(number, from_dir, from, to_dir, to, flags) at_renameat2(from_dir, from, to_dir, to, flags)
#define at_unlinkat (step("unlinkat", -1), unlinkat)
#define at_write (step("write", -1), write)

#include "os.h"

/* ---- what a test asks of the seam -------------------------------------------------------------------------------- */

static struct {
    void (*look)(const char *call, int fd); /* before each call */
    long calls, kill_at;                    /* SIGKILL before the call of this number; 0: never */
    int accept_error, accept_errors;        /* what accept4 says, so many times; -1: until further notice */
    int refuse_memory;                      /* 1: nothing more is allocated */
    long allocations, fail_allocation;      /* the one that fails; 0: none */
    int rename_error, link_error;           /* what renameat2 and linkat say; 0: what the kernel says */
    int links_are_new;                      /* 1: a link is another socket file, that nobody is bound to */
    long accepts, peeks, new_links;
} seam;

static void step(const char *call, int fd)
{
    seam.calls++;
    if (seam.calls == seam.kill_at) (void)kill(getpid(), SIGKILL);
    if (seam.look) seam.look(call, fd);
}

static int at_accept(int fd, struct sockaddr *address, socklen_t *size)
{
    step("accept", fd);
    return accept(fd, address, size);
}

static int at_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    step("accept4", fd);
    seam.accepts++;
    if (seam.accept_errors) {
        if (seam.accept_errors > 0) seam.accept_errors--;
        errno = seam.accept_error;
        return -1;
    }
    return accept4(fd, address, size, flags);
}

static int at_bind(int fd, const struct sockaddr *address, socklen_t size)
{
    step("bind", fd);
    return bind(fd, address, size);
}

static int at_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    step("connect", fd);
    return connect(fd, address, size);
}

static ssize_t at_recv(int fd, void *bytes, size_t size, int flags)
{
    step("recv", fd);
    seam.peeks += (flags & MSG_PEEK) != 0;
    return recv(fd, bytes, size, flags);
}

static int fails_with(int os_error)
{
    errno = os_error;
    return -1;
}

static int at_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    struct stat st;
    char path[128];
    int fd;
    step("linkat", -1);
    if (seam.link_error) return fails_with(seam.link_error);
    if (!seam.links_are_new) return linkat(from_dir, from, to_dir, to, flags);
    if (fstatat(from_dir, from, &st, AT_SYMLINK_NOFOLLOW)) return -1;
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d/%s", to_dir, to);
    fd = os_bind(path, SOCK_STREAM);
    if (fd < 0) return fails_with(EEXIST);
    seam.new_links++;
    return close(fd);
}

static int at_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    step("renameat2", -1);
    if (seam.rename_error) return fails_with(seam.rename_error);
    return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}

static int at_close(int fd)
{
    step("close", fd);
    return close(fd);
}

static int at_shutdown(int fd, int how)
{
    step("shutdown", fd);
    return shutdown(fd, how);
}

static int no_memory(void)
{
    seam.allocations++;
    if (!seam.refuse_memory && seam.allocations != seam.fail_allocation) return 0;
    errno = ENOMEM;
    return 1;
}

static void *at_malloc(size_t size)
{
    return no_memory() ? NULL : malloc(size);
}

static void *at_calloc(size_t count, size_t size)
{
    return no_memory() ? NULL : calloc(count, size);
}

static int set_up(void **state)
{
    memset(&seam, 0, sizeof seam);
    return os_set_up(state);
}

#define STEP_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, os_tear_down)

/* A round trip with a server in this process. */
static int talks(uds_echo_server *server, int fd)
{
    char in[4] = "";
    if (os_write(fd, "ping", 4) != 4) return 0;
    os_settle(server);
    return os_readable(fd, 0) && os_read(fd, in, 4) == 4 && !memcmp(in, "ping", 4);
}

/* ---- P46: SIGKILL at each call ----------------------------------------------------------------------------------- */

enum { END_BY_CLOSE, END_BY_DRAIN, END_IN_PLACE, ENDS };

/* A whole life, from open to close. */
static void live(int how)
{
    uds_echo_server_desc desc;
    uds_echo_server *server;
    memset(&desc, 0, sizeof desc);
    desc.path = os.path;
    if (how == END_IN_PLACE) desc.publish = UDS_ECHO_PUBLISH_DIRECT;
    if (uds_echo_server_open(&server, &desc, NULL)) _exit(1);
    if (how == END_BY_DRAIN) {
        uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
        if (uds_echo_server_run(server)) _exit(2);
    }
    if (uds_echo_server_close(server)) _exit(3);
    _exit(0);
}

/* What a start finds: nothing, a stale socket, what a crash left, or both. */
static void prepare(int round)
{
    char litter[128];
    (void)snprintf(litter, sizeof litter, "%s~%d", os.path, round % 3);
    if (round & 1) os_make_stale(os.path);
    if (round & 2) os_make_stale(litter);
}

static int suffixed_names(void)
{
    return os_names(os.dir, NULL, 0) - os_exists(os.path);
}

/* The next start works, serves, and leaves no litter; its stop leaves nothing. */
static void next_start_is_clean(void)
{
    uds_echo_server *server = os_open(NULL);
    int fd = os_connect();
    if (suffixed_names() || !os_exists(os.path)) fail_msg("names after the next start: %d", os_names(os.dir, NULL, 0));
    assert_true(talks(server, fd));
    (void)close(fd);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    assert_int_equal(os_names(os.dir, NULL, 0), 0);
}

static void p46_sigkill_before_and_after_each_call(void **state)
{
    enum { ROUNDS = 20 / OS_SLOW, MOST = 200 };
    int round, how, kills = 0, littered = 0, stale = 0;
    long n, longest = 0;
    (void)state;
    for (round = 0; round < ROUNDS; round++) {
        for (how = 0; how < ENDS; how++) {
            int status = 128 + SIGKILL;
            for (n = 1; status == 128 + SIGKILL && n < MOST; n++) { /* before call n is after call n - 1 */
                pid_t child;
                prepare(round);
                child = os_fork();
                if (child == 0) {
                    seam.calls = 0;
                    seam.kill_at = n;
                    live(how);
                }
                status = os_reap(child, OS_REPLY_MS);
                if (suffixed_names() > 1) fail_msg("killed at call %ld: %d suffixed names", n, suffixed_names());
                kills += status == 128 + SIGKILL;
                littered += status == 128 + SIGKILL && suffixed_names() == 1;
                stale += status == 128 + SIGKILL && os_exists(os.path);
                next_start_is_clean();
            }
            if (status) fail_msg("round %d, way %d: exit status %d", round, how, status);
            if (n > longest) longest = n;
        }
    }
    print_message("# killed at each of up to %ld calls: %d left a suffixed name, %d the path\n", longest - 2, littered,
                  stale);
    os_at_least("calls of the longest life", (double)longest - 2, 30);
    os_at_least("kills that left something", littered + stale, ROUNDS * ENDS);
    OS_CASES(kills, ROUNDS * ENDS * 20);
}

/* ---- P3, P6: what an end does, in which order -------------------------------------------------------------------- */

static struct {
    int listener, closed, unlinked, wrong, foreign;
} seen;

static void look_at_the_end(const char *call, int fd)
{
    if (!strcmp(call, "unlinkat")) {
        seen.unlinked++;
        seen.wrong += fcntl(seen.listener, F_GETFD) < 0; /* the number of its file may be another's by then */
    }
    if (fd != seen.listener) return;
    if (!strcmp(call, "close")) seen.closed++;
    if (!strcmp(call, "close") || !strcmp(call, "shutdown")) seen.wrong += os_exists(os.path);
}

static void p03_the_path_goes_while_the_listener_is_open(void **state)
{
    int i, cases = 0;
    (void)state;
    for (i = 0; i < 12; i++) {
        uds_echo_server_desc desc;
        uds_echo_server *server;
        memset(&desc, 0, sizeof desc);
        desc.publish = i & 1 ? UDS_ECHO_PUBLISH_DIRECT : UDS_ECHO_PUBLISH_ATOMIC;
        if (i & 2) os_make_stale(os.path);
        server = os_open(&desc);
        memset(&seen, 0, sizeof seen);
        seen.listener = server->listener->fd;
        seam.look = look_at_the_end;
        if (i / 4) {
            uds_echo_server_stop(server, i / 4 == 1 ? UDS_ECHO_STOP_DRAIN : UDS_ECHO_STOP_NOW);
            (void)os_run_out(server);
        }
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
        seam.look = NULL;
        assert_int_equal(seen.closed, 1);
        assert_int_equal(seen.unlinked, 1);
        assert_int_equal(seen.wrong, 0);
        assert_int_equal(os_names(os.dir, NULL, 0), 0);
        cases++;
    }
    OS_CASES(cases, 12);
}

/* The number of an inode says nothing once its file is gone: this is why the order above matters. */
static void p03_a_file_that_took_the_number_over_is_left_alone(void **state)
{
    enum { ROUNDS = 200 };
    int round, kept = 0, reused = 0;
    (void)state;
    for (round = 0; round < ROUNDS; round++) {
        uds_echo_server *server = os_open(NULL);
        struct stat ours, theirs;
        assert_int_equal(lstat(os.path, &ours), 0);
        uds_echo_server_stop(server, UDS_ECHO_STOP_NOW);
        (void)os_run_out(server);
        os_make_stale(os.path); /* somebody else's, before this server is closed */
        assert_int_equal(lstat(os.path, &theirs), 0);
        reused += ours.st_ino == theirs.st_ino;
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
        kept += os_exists(os.path);
        assert_int_equal(unlink(os.path), 0);
    }
    print_message("    of %d files, %d got the number of the one before\n", ROUNDS, reused);
    os_exactly("files kept", kept, ROUNDS);
    OS_CASES(kept, ROUNDS);
}

static void look_for_foreign_hands(const char *call, int fd)
{
    const char *const never[] = {"bind",   "listen",    "unlinkat", "fchmod",  "fchmodat",
                                 "linkat", "renameat2", "renameat", "fstatat", "flock"};
    size_t i;
    for (i = 0; i < sizeof never / sizeof *never; i++) seen.foreign += !strcmp(call, never[i]);
    seen.foreign += fd == seen.listener && !strcmp(call, "shutdown");
    seen.closed += fd == seen.listener && !strcmp(call, "close");
}

static void p06_an_inherited_listener_is_only_accepted_from_and_closed(void **state)
{
    int how, cases = 0;
    (void)state;
    for (how = 0; how < 3; how++) {
        int listener = os_listen(os.path, SOCK_STREAM, 8), fd;
        uds_echo_server_desc desc;
        uds_echo_server *server;
        memset(&desc, 0, sizeof desc);
        memset(&seen, 0, sizeof seen);
        seen.listener = listener;
        seam.look = look_for_foreign_hands;
        assert_int_equal(uds_echo_server_adopt(&server, listener, &desc, NULL), UDS_ECHO_OK);
        fd = os_connect();
        assert_true(talks(server, fd));
        if (how) {
            uds_echo_server_stop(server, how == 1 ? UDS_ECHO_STOP_DRAIN : UDS_ECHO_STOP_NOW);
            (void)os_run_out(server);
        }
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
        seam.look = NULL;
        assert_int_equal(seen.foreign, 0);
        assert_int_equal(seen.closed, 1);
        assert_true(os_exists(os.path));
        (void)close(fd);
        assert_int_equal(unlink(os.path), 0);
        cases++;
    }
    OS_CASES(cases, 3);
}

/* ---- P3: two fresh starts, and somebody removes the path between --------------------------------------------------- */

static struct {
    pid_t pid;
    int report, bound, ahead;
} rival;

static void watch_nothing(void)
{
    seam.look = NULL;
}

/* When the first has bound in place: the path goes, and a second server starts. It has no say before the first is done. */
static void start_a_second(const char *call, int fd)
{
    os_plan plan;
    int ends[2];
    (void)fd;
    if (rival.pid) return;
    if (!rival.bound || !strcmp(call, "bind")) {
        rival.bound |= !strcmp(call, "bind");
        return;
    }
    memset(&plan, 0, sizeof plan);
    plan.before = watch_nothing;
    plan.desc.publish = UDS_ECHO_PUBLISH_DIRECT;
    plan.desc.lock_ms = OS_REPLY_MS;
    assert_int_equal(unlink(os.path), 0);
    assert_int_equal(pipe(ends), 0);
    rival.pid = os_fork();
    if (rival.pid == 0) {
        (void)close(ends[0]);
        os_ready_fd = ends[1];
        os_server_main(&plan);
    }
    (void)close(ends[1]);
    rival.report = ends[0];
    rival.ahead = os_readable(rival.report, 200);
}

/* Without the lock the first would take the second's file for its own, and both would say that they serve. */
static void p03_a_fresh_start_holds_the_lock(void **state)
{
    uds_echo_server_desc desc;
    uds_echo_server *server;
    os_report report;
    int fd;
    (void)state;
    memset(&rival, 0, sizeof rival);
    memset(&desc, 0, sizeof desc);
    desc.publish = UDS_ECHO_PUBLISH_DIRECT;
    seam.look = start_a_second;
    server = os_open(&desc);
    seam.look = NULL;
    assert_true(rival.pid > 0);
    assert_int_equal(rival.ahead, 0);
    assert_int_equal(read(rival.report, &report, sizeof report), sizeof report);
    assert_int_equal(report.error, UDS_ECHO_ERR_IN_USE);
    /* It looked while it waited for the lock: the first may have bound again and not listened yet, and then nobody can
       be asked who that is. */
    assert_true(report.pid == getpid() || report.pid == INT_MAX);
    (void)close(rival.report);
    (void)os_reap(rival.pid, OS_REPLY_MS);
    fd = os_connect();
    assert_true(talks(server, fd));
    (void)close(fd);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    assert_false(os_exists(os.path));
    OS_CASES(1, 1);
}

/* ---- P9: the mode at every moment -------------------------------------------------------------------------------- */

static struct {
    mode_t wanted, mask;
    ino_t stale;
    int looks, wider, masks;
} modes;

/* The sticky bit is the mark of docs/claim.md: it gives nobody a right. */
static void look_at_one_mode(const char *path)
{
    struct stat st;
    if (lstat(path, &st) || st.st_ino == modes.stale) return;
    modes.looks++;
    modes.wider += (st.st_mode & 07777 & ~(modes.wanted | S_ISVTX)) != 0;
}

static void look_at_modes(const char *call, int fd)
{
    char staged[128], text[2048];
    FILE *f;
    unsigned mask = 0;
    (void)call;
    (void)fd;
    (void)snprintf(staged, sizeof staged, "%s~0", os.path);
    look_at_one_mode(os.path);
    look_at_one_mode(staged);
    f = fopen("/proc/self/status", "r"); /* not by umask(2), which would change it */
    if (!f) return;
    while (fgets(text, sizeof text, f))
        if (sscanf(text, "Umask: %o", &mask) == 1) modes.masks += mask != modes.mask;
    (void)fclose(f);
}

static void p09_no_moment_is_wider_than_asked(void **state)
{
    const mode_t masks[] = {0, 022, 077}, wanted[] = {0600, 0660, 0666};
    int i;
    (void)state;
    memset(&modes, 0, sizeof modes);
    for (i = 0; i < 36; i++) {
        uds_echo_server_desc desc;
        uds_echo_server *server;
        struct stat st;
        mode_t before;
        memset(&desc, 0, sizeof desc);
        modes.mask = masks[i % 3];
        modes.wanted = wanted[i / 3 % 3];
        modes.stale = 0;
        desc.mode = (int)modes.wanted;
        desc.publish = i / 9 % 2 ? UDS_ECHO_PUBLISH_DIRECT : UDS_ECHO_PUBLISH_ATOMIC;
        if (i / 18) {
            os_make_stale(os.path);
            assert_int_equal(lstat(os.path, &st), 0);
            modes.stale = st.st_ino;
        }
        before = umask(modes.mask);
        seam.look = look_at_modes;
        server = os_open(&desc);
        seam.look = NULL;
        (void)umask(before);
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    }
    os_exactly("moments at which it was wider", modes.wider, 0);
    os_exactly("moments at which the umask was another", modes.masks, 0);
    OS_CASES(modes.looks, 36 * 3);
}

/* ---- P15, P16: what accept says ---------------------------------------------------------------------------------- */

static void p16_passing_errors_of_accept_end_nothing(void **state)
{
    /* EPERM comes from who guards the system, and may come for ever: it rests before it tries again. */
    const int errors[] = {EINTR, ECONNABORTED, EPROTO, EPERM}, times[] = {1, 3, 16, 40}, rests[] = {1, 2, 3, 4};
    double began;
    int i, cases = 0;
    uds_echo_stats stats;
    (void)state;
    for (i = 0; i < 16; i++) {
        uds_echo_server *server = os_open(NULL);
        int first = os_connect(), second;
        assert_true(talks(server, first));
        seam.accept_error = errors[i % 4];
        seam.accept_errors = errors[i % 4] == EPERM ? rests[i / 4] : times[i / 4];
        second = os_connect();
        os_settle(server);
        uds_echo_server_stats(server, &stats);
        for (began = os_now(); stats.accepted < 2 && os_now() - began < (int)OS_REPLY_MS;
             uds_echo_server_stats(server, &stats))
            assert_int_equal(uds_echo_server_step(server, OS_REPLY_MS), UDS_ECHO_OK);
        assert_int_equal(seam.accept_errors, 0);
        cases += talks(server, second) && talks(server, first);
        uds_echo_server_stats(server, &stats);
        assert_int_equal(stats.pauses_failed, errors[i % 4] == EPERM ? rests[i / 4] : 0); /* 0: it went on at once */
        (void)close(first);
        (void)close(second);
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    }
    OS_CASES(cases, 16);
}

static void count_line(uds_echo_log_level level, uds_echo_error cause, const char *text, void *user)
{
    (void)cause;
    (void)text;
    *(int *)user += level == UDS_ECHO_LOG_WARNING;
}

/* While accept fails the established go on, it is tried only now and then, and one line tells of it. */
static void p15_want_at_accept_rests_and_comes_back(void **state)
{
    enum { WATCHED_MS = 350 };
    const int errors[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM};
    int i, cases = 0;
    (void)state;
    for (i = 0; i < 8; i++) {
        uds_echo_server_desc desc;
        uds_echo_server *server;
        int first, second, lines = 0, pings = 0;
        double began;
        memset(&desc, 0, sizeof desc);
        desc.on_log = count_line;
        desc.user = &lines;
        server = os_open(&desc);
        first = os_connect();
        assert_true(talks(server, first));
        second = os_connect();
        seam.accept_error = errors[i % 4];
        seam.accept_errors = -1;
        seam.accepts = 0;
        for (began = os_now(); os_now() - began < (int)WATCHED_MS; pings++) {
            assert_int_equal(uds_echo_server_step(server, 20), UDS_ECHO_OK);
            assert_true(talks(server, first));
        }
        assert_true(pings > 5);
        os_at_most("tries", (double)seam.accepts, 1 + (WATCHED_MS + 300 * OS_SLOW) / 100.0);
        os_exactly("lines of the log", lines, 1);
        seam.accept_errors = 0;
        if (i / 4) (void)close(first); /* what closes makes room: no need to wait for the timer */
        for (began = os_now(); os_now() - began < 150;) assert_int_equal(uds_echo_server_step(server, 20), UDS_ECHO_OK);
        cases += talks(server, second);
        if (!(i / 4)) (void)close(first);
        (void)close(second);
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    }
    OS_CASES(cases, 8);
}

/* ---- P47: a link is another file, and no rename refuses to replace -------------------------------------------------- */

/* A second start is told of this one. */
static int second_start_is_refused(void)
{
    uds_echo_server_desc desc;
    uds_echo_server *server;
    uds_echo_failure why;
    memset(&desc, 0, sizeof desc);
    desc.path = os.path;
    return uds_echo_server_open(&server, &desc, &why) == UDS_ECHO_ERR_IN_USE && why.pid == getpid();
}

static void p47_a_link_that_is_another_file_publishes_nothing(void **state)
{
    const int errors[] = {ENOSYS, EINVAL, EOPNOTSUPP, EPERM};
    int i, cases = 0;
    (void)state;
    for (i = 0; i < 32; i++) {
        uds_echo_server_desc desc;
        uds_echo_server *server;
        int fd;
        memset(&desc, 0, sizeof desc);
        desc.publish = i & 4 ? UDS_ECHO_PUBLISH_DIRECT : UDS_ECHO_PUBLISH_ATOMIC;
        if (i & 8) os_make_stale(os.path);
        seam.rename_error = errors[i % 4];
        seam.link_error = i & 16 ? EPERM : 0;
        seam.links_are_new = 1;
        server = os_open(&desc);
        fd = os_connect();
        assert_true(talks(server, fd));
        assert_true(second_start_is_refused());
        assert_true(talks(server, fd));
        (void)close(fd);
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
        assert_int_equal(os_names(os.dir, NULL, 0), 0);
        cases++;
    }
    os_at_least("links that were another file", (double)seam.new_links, 4);
    OS_CASES(cases, 32);
}

/* There the path can be taken only under the lock. */
static void p47_without_the_lock_such_a_start_fails_by_name(void **state)
{
    const int errors[] = {ENOSYS, EINVAL, EOPNOTSUPP, EPERM};
    int i, cases = 0, lock = open(os.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    (void)state;
    assert_int_equal(flock(lock, LOCK_EX), 0);
    for (i = 0; i < 4; i++) {
        uds_echo_server_desc desc;
        uds_echo_server *server;
        uds_echo_failure why;
        memset(&desc, 0, sizeof desc);
        desc.path = os.path;
        desc.lock_ms = -1;
        seam.rename_error = errors[i];
        seam.links_are_new = 1;
        assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_ERR_BUSY);
        assert_string_equal(why.call, "flock");
        assert_int_equal(os_names(os.dir, NULL, 0), 0);
        cases++;
    }
    (void)close(lock);
    OS_CASES(cases, 4);
}

/* ---- P48: an ordinary server starts between two calls of an open ---------------------------------------------------- */

static struct {
    char name[128]; /* that it takes: unlink, bind, listen */
    int wait;       /* so many calls of the open come before */
    int is_slow;    /* it listens only after the open */
    mode_t mask;
    int fd;           /* -1: not yet */
    int held;         /* the file that had the name before */
    int looks_after;  /* calls by which the open could have seen it */
    int windows;      /* calls that remove what was compared just before; docs/limits.md names them */
    struct stat file; /* as it was made */
} ordinary;

static void an_ordinary_server_starts(const char *call, int fd)
{
    mode_t before;
    (void)fd;
    if (ordinary.fd < 0) {
        if (ordinary.wait-- > 0) return;
        if (!strcmp(call, "unlinkat")) {
            ordinary.windows++;
            return;
        }
        /* A stale file's number would be reused at once, which is the same window: it is kept. */
        ordinary.held = open(ordinary.name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        (void)unlink(ordinary.name);
        before = umask(ordinary.mask);
        ordinary.fd = os_bind(ordinary.name, SOCK_STREAM);
        (void)umask(before);
        if (ordinary.fd < 0 || lstat(ordinary.name, &ordinary.file)) fail_msg("ordinary server: %s", strerror(errno));
        if (!ordinary.is_slow) assert_int_equal(listen(ordinary.fd, 8), 0);
    }
    ordinary.looks_after += !strcmp(call, "fstatat");
}

/* Its file still has one of the names, and its mode; a client of that name reaches it. */
static int ordinary_server_is_reached(void)
{
    char name[128];
    struct stat st;
    int i, client, fd;
    for (i = -1; i < 10; i++) {
        if (i < 0) (void)snprintf(name, sizeof name, "%s", os.path);
        else (void)snprintf(name, sizeof name, "%s~%d", os.path, i);
        if (lstat(name, &st) || st.st_dev != ordinary.file.st_dev || st.st_ino != ordinary.file.st_ino) continue;
        if (st.st_mode != ordinary.file.st_mode) return 0;
        client = os_dial(name);
        do { /* a start looked at who is there, and left */
            fd = client < 0 || !os_readable(ordinary.fd, 0) ? -1 : accept(ordinary.fd, NULL, NULL);
            if (fd >= 0 && os_write(client, "x", 1) == 1 && os_readable(fd, 0) && os_read_end(fd) == -1) break;
            if (fd >= 0) (void)close(fd);
        } while (fd >= 0);
        if (fd >= 0) (void)close(fd);
        if (client >= 0) (void)close(client);
        return fd >= 0;
    }
    return 0;
}

enum { ORDINARY_DONE, ORDINARY_IN_USE, ORDINARY_SERVED, ORDINARY_DISPLACED };

/* One open; the ordinary server takes the name before call number wait. Done: the open has no such call. */
static int open_against_an_ordinary_server(int variant, int wait)
{
    uds_echo_server_desc desc;
    uds_echo_server *server = NULL;
    uds_echo_failure why;
    uds_echo_error error;
    struct stat st;
    int outcome = ORDINARY_IN_USE, fd;
    memset(&desc, 0, sizeof desc);
    desc.path = os.path;
    desc.mode = 0666;
    desc.publish = variant & 1 ? UDS_ECHO_PUBLISH_DIRECT : UDS_ECHO_PUBLISH_ATOMIC;
    if (variant & 2) os_make_stale(os.path);
    ordinary.fd = -1;
    ordinary.wait = wait;
    ordinary.looks_after = 0;
    ordinary.mask = variant & 8 ? 022 : 0177; /* its mode is wider than what is asked for, or narrower */
    ordinary.is_slow = (variant & 16) != 0;
    (void)snprintf(ordinary.name, sizeof ordinary.name, "%s%s", os.path, variant & 4 ? "~0" : "");
    seam.look = an_ordinary_server_starts;
    error = uds_echo_server_open(&server, &desc, &why);
    seam.look = NULL;
    if (ordinary.fd < 0) {
        assert_int_equal(error, UDS_ECHO_OK);
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
        return ORDINARY_DONE;
    }
    if (ordinary.is_slow) assert_int_equal(listen(ordinary.fd, 8), 0);
    if (error && error != UDS_ECHO_ERR_IN_USE)
        fail_msg("variant %d, call %d: error %d, %s", variant, wait, (int)error, why.call);
    if (!ordinary_server_is_reached()) fail_msg("variant %d, call %d: the other server is lost", variant, wait);
    if (!error && !lstat(os.path, &st) && st.st_ino != ordinary.file.st_ino) {
        fd = os_connect();
        if (!talks(server, fd)) fail_msg("variant %d, call %d: not reachable", variant, wait);
        (void)close(fd);
        outcome = ORDINARY_SERVED;
    } else if (!error) {
        if (ordinary.looks_after) fail_msg("variant %d, call %d: its file was taken for ours", variant, wait);
        outcome = ORDINARY_DISPLACED;
    }
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    if (!ordinary_server_is_reached()) fail_msg("variant %d, call %d: lost at the close", variant, wait);
    (void)close(ordinary.fd);
    if (ordinary.held >= 0) (void)close(ordinary.held);
    return outcome;
}

static void remove_all_names(void)
{
    char name[128];
    int i;
    (void)unlink(os.path);
    for (i = 0; i < 10; i++) {
        (void)snprintf(name, sizeof name, "%s~%d", os.path, i);
        (void)unlink(name);
    }
    assert_int_equal(os_names(os.dir, NULL, 0), 0);
}

static void p48_an_ordinary_server_between_any_two_calls_keeps_its_file(void **state)
{
    int variant, wait, outcome, cases = 0, outcomes[4] = {0, 0, 0, 0};
    (void)state;
    memset(&ordinary, 0, sizeof ordinary);
    for (variant = 0; variant < 32; variant++) {
        for (wait = 0; (outcome = open_against_an_ordinary_server(variant, wait)) != ORDINARY_DONE; wait++) {
            outcomes[outcome]++;
            cases++;
            remove_all_names();
        }
    }
    print_message(
        "# an ordinary server at each call: %d IN_USE, %d served, %d displaced after the last look, %d windows\n",
        outcomes[ORDINARY_IN_USE], outcomes[ORDINARY_SERVED], outcomes[ORDINARY_DISPLACED], ordinary.windows);
    os_at_least("told IN_USE", outcomes[ORDINARY_IN_USE], 32);
    os_at_least("served elsewhere", outcomes[ORDINARY_SERVED], 32);
    OS_CASES(cases, 500);
}

/* ---- P50: the standard streams were closed -------------------------------------------------------------------------- */

static struct {
    char path[256];
    int closed, low, looks, conn;
} streams;

static int is_low(int fd)
{
    return fd >= 0 && fd <= 2;
}

/* Where a call gave such a number, fcntl gives another and close ends it, before anything is done with it. */
static void look_for_low_descriptors(const char *call, int fd)
{
    int i;
    streams.low += is_low(fd) && strcmp(call, "close") != 0;
    if (!strcmp(call, "fcntl") || !strcmp(call, "close")) return;
    for (i = 0; i < 3; i++) streams.low += (streams.closed >> i & 1) && fcntl(i, F_GETFD) >= 0;
    streams.looks++;
}

static int note_connection(uds_echo_conn *conn, void *user)
{
    (void)user;
    streams.conn = conn->fd;
    return 0;
}

/* In a child. Every kind of descriptor is at least 3, at each call and afterwards. */
static void live_without_streams(int variant)
{
    uds_echo_server_desc desc, shared;
    uds_echo_server *server, *sharer;
    uds_echo_client_desc to;
    uds_echo_client client;
    int i;
    streams.low = streams.looks = 0;
    streams.conn = -1;
    streams.closed = variant % 7 + 1;
    for (i = 0; i < 3; i++)
        if (streams.closed >> i & 1) (void)close(i);
    seam.look = look_for_low_descriptors;
    memset(&desc, 0, sizeof desc);
    desc.path = streams.path;
    desc.on_open = note_connection;
    if (variant / 7 & 1) desc.publish = UDS_ECHO_PUBLISH_DIRECT;
    if (uds_echo_server_open(&server, &desc, NULL)) _exit(1);
    memset(&to, 0, sizeof to);
    to.path = streams.path;
    if (uds_echo_client_open(&client, &to, NULL)) _exit(2);
    for (i = 0; i < 8; i++) (void)uds_echo_server_step(server, 0);
    memset(&shared, 0, sizeof shared);
    shared.share_with = server;
    if (uds_echo_server_open(&sharer, &shared, NULL)) _exit(3);
    if (streams.conn < 0) _exit(4);
    if (is_low(server->listener->fd) || is_low(server->listener->dirfd)) _exit(5);
    if (is_low(uds_echo_server_fd(server)) || is_low(uds_echo_server_fd(sharer))) _exit(6);
    if (is_low(server->wakeup.rfd[0]) || is_low(server->wakeup.wfd[0]) || is_low(sharer->wakeup.rfd[0])) _exit(7);
    if (is_low(streams.conn) || is_low(uds_echo_client_fd(&client))) _exit(8);
    uds_echo_client_close(&client);
    if (uds_echo_server_close(sharer) || uds_echo_server_close(server)) _exit(9);
    os.shared->count[0] += streams.looks;
    _exit(streams.low ? 10 : 0);
}

static void p50_no_descriptor_is_a_standard_stream(void **state)
{
    char folder[160];
    int variant, cases = 0, status;
    (void)state;
    /* An address has no room for a path in there, so that the client opens the directory, too. */
    (void)snprintf(folder, sizeof folder, "%s/%090d", os.dir, 0);
    assert_int_equal(mkdir(folder, 0700), 0);
    for (variant = 0; variant < 56; variant++) {
        pid_t child;
        (void)snprintf(streams.path, sizeof streams.path, "%s/s", variant / 28 ? folder : os.dir);
        if (variant / 14 & 1) {
            os_make_stale(os.path);
            assert_int_equal(rename(os.path, streams.path), 0);
        }
        child = os_fork();
        if (child == 0) live_without_streams(variant);
        status = os_reap(child, OS_REPLY_MS);
        if (status) fail_msg("variant %d: exit status %d", variant, status);
        cases++;
    }
    os_at_least("calls looked at", (double)os.shared->count[0], 56 * 30);
    OS_CASES(cases, 56);
}

/* ---- P35 --------------------------------------------------------------------------------------------------------- */

static void p35_nothing_is_peeked_at(void **state)
{
    static unsigned char out[200000], in[200000];
    uds_echo_server_desc desc;
    uds_echo_server *server;
    int i, cases = 0;
    (void)state;
    os_fill(out, sizeof out, 35);
    memset(&desc, 0, sizeof desc);
    desc.message_max = 4096;
    server = os_open(&desc);
    for (i = 0; i < 20; i++) {
        int fd = os_connect();
        size_t sent = 0, got = 0, most = 1 + (size_t)i * 10000;
        while (got < most) {
            ssize_t n = send(fd, out + sent, most - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (n > 0) sent += (size_t)n;
            os_settle(server);
            n = recv(fd, in + got, sent - got, MSG_DONTWAIT);
            if (n > 0) got += (size_t)n;
        }
        cases += !memcmp(in, out, most);
        (void)close(fd);
        os_settle(server);
    }
    os_exactly("calls of recv with MSG_PEEK", (double)seam.peeks, 0);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    OS_CASES(cases, 20);
}

/* ---- failing malloc ---------------------------------------------------------------------------------------------- */

static void a_start_without_memory_leaves_nothing(void **state)
{
    uds_echo_server_desc desc;
    uds_echo_server *server;
    uds_echo_failure why;
    uds_echo_error error = UDS_ECHO_ERR_NO_MEMORY;
    int before = os_open_descriptors();
    long n;
    (void)state;
    memset(&desc, 0, sizeof desc);
    desc.path = os.path;
    for (n = 1; error; n++) {
        seam.allocations = 0;
        seam.fail_allocation = n;
        error = uds_echo_server_open(&server, &desc, &why);
        if (!error) break;
        if (error != UDS_ECHO_ERR_NO_MEMORY) fail_msg("allocation %ld: error %d", n, (int)error);
        assert_int_equal(os_names(os.dir, NULL, 0), 0);
        assert_int_equal(os_open_descriptors(), before);
    }
    os_at_least("allocations that failed", (double)n - 1, 5);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

static size_t frame_line(const unsigned char *bytes, size_t size, void *user)
{
    const unsigned char *end = (const unsigned char *)memchr(bytes, '\n', size);
    (void)user;
    return end ? (size_t)(end - bytes) + 1 : 0;
}

/* What would have to be kept and cannot be costs the connection its life, by name; the others notice nothing. */
static void want_of_memory_costs_only_who_needs_it(void **state)
{
    static char block[65536];
    int round, named = 0, served = 0;
    (void)state;
    for (round = 0; round < 20; round++) {
        uds_echo_server_desc desc;
        uds_echo_server *server;
        uds_echo_stats stats;
        int needy, good, i;
        memset(&desc, 0, sizeof desc);
        if (round & 1) desc.frame = frame_line;
        server = os_open(&desc);
        needy = os_connect();
        good = os_connect();
        os_settle(server);
        seam.refuse_memory = 1;
        if (round & 1) assert_int_equal(os_write(needy, "half a line", 11), 11);
        for (i = 0; !(round & 1) && i < 100; i++) {
            (void)send(needy, block, sizeof block, MSG_DONTWAIT | MSG_NOSIGNAL);
            os_settle(server);
        }
        os_settle(server);
        uds_echo_server_stats(server, &stats);
        named += stats.closed[UDS_ECHO_ERR_NO_MEMORY] == 1;
        served += os_write(good, "hi\n", 3) == 3;
        os_settle(server);
        served += os_readable(good, 0) && os_read(good, block, 3) == 3 && !memcmp(block, "hi\n", 3);
        memset(block, 0, sizeof block);
        seam.refuse_memory = 0;
        (void)close(needy);
        (void)close(good);
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    }
    os_exactly("connections closed as NO_MEMORY", named, 20);
    os_exactly("round trips of others, counted twice", served, 40);
    os_cell("limits", "failing malloc", "that connection closes as NO_MEMORY, the others are served");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STEP_TEST(p46_sigkill_before_and_after_each_call),
        STEP_TEST(p03_the_path_goes_while_the_listener_is_open),
        STEP_TEST(p03_a_file_that_took_the_number_over_is_left_alone),
        STEP_TEST(p06_an_inherited_listener_is_only_accepted_from_and_closed),
        STEP_TEST(p03_a_fresh_start_holds_the_lock),
        STEP_TEST(p09_no_moment_is_wider_than_asked),
        STEP_TEST(p16_passing_errors_of_accept_end_nothing),
        STEP_TEST(p15_want_at_accept_rests_and_comes_back),
        STEP_TEST(p35_nothing_is_peeked_at),
        STEP_TEST(p47_a_link_that_is_another_file_publishes_nothing),
        STEP_TEST(p47_without_the_lock_such_a_start_fails_by_name),
        STEP_TEST(p48_an_ordinary_server_between_any_two_calls_keeps_its_file),
        STEP_TEST(p50_no_descriptor_is_a_standard_stream),
        STEP_TEST(a_start_without_memory_leaves_nothing),
        STEP_TEST(want_of_memory_costs_only_who_needs_it),
    };
    return cmocka_run_group_tests_name("steps", tests, NULL, NULL);
}
