/* test_guest.c - the header as a guest of file systems, sandboxes and containers: a file system over FUSE, calls that are
   refused for good, other pid namespaces, a socket file that is a mount point. Each test works in a child, which tells by
   its exit status and by os.shared->count[0] where it failed. */
#include "os.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>

/* Exit status of a child that the machine does not let go where the test has to be. */
enum { NOT_HERE = 77 };

#define MUST(holds)                                                                                                    \
    do {                                                                                                               \
        if (!(holds)) {                                                                                                \
            os.shared->count[0] = __LINE__;                                                                            \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

/* Waits for a child. 1: it is not possible here. */
static int guest_is_elsewhere(pid_t child, const char *what)
{
    int status = os_reap(child, OS_TEST_SECONDS * 1000);
    if (status == NOT_HERE) print_message("# skipped: %s\n", what);
    else if (status) fail_msg("exit status %d, line %ld of test_guest.c", status, os.shared->count[0]);
    return status == NOT_HERE;
}

static uds_echo_error open_at(uds_echo_server **server, const char *path, uds_echo_publish_mode publish,
                              uds_echo_failure *why)
{
    uds_echo_server_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.path = path;
    desc.publish = publish;
    return uds_echo_server_open(server, &desc, why);
}

static void make_stale(const char *path)
{
    int fd = os_bind(path, SOCK_STREAM);
    MUST(fd >= 0);
    (void)close(fd);
}

/* A round trip with a server of this process. */
static int serves_here(uds_echo_server *server, const char *path)
{
    int fd = os_dial(path), i, well;
    char in[4] = "";
    if (fd < 0) return 0;
    well = os_write(fd, "ping", 4) == 4;
    for (i = 0; i < 8; i++) well = well && uds_echo_server_step(server, 0) == UDS_ECHO_OK;
    well = well && os_readable(fd, 0) && os_read(fd, in, 4) == 4 && !memcmp(in, "ping", 4);
    (void)close(fd);
    for (i = 0; i < 8; i++) (void)uds_echo_server_step(server, 0);
    return well;
}

/* In a mount namespace of its own, which ends with its last process, and with it every mount. */
static void enter_mount_namespace(void)
{
    if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)) _exit(NOT_HERE);
}

/* ---- P47 --------------------------------------------------------------------------------------------------------- */

static void mount_bindfs(const char *from, const char *to)
{
    struct stat outside, inside;
    double deadline = os_now() + OS_REPLY_MS;
    pid_t pid;
    MUST(!mkdir(from, 0700) && !mkdir(to, 0700) && !stat(to, &outside));
    pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        int quiet = open("/dev/null", O_WRONLY);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (quiet >= 0) (void)dup2(quiet, 2);
        (void)execlp("bindfs", "bindfs", "-f", from, to, (char *)NULL);
        _exit(NOT_HERE);
    }
    do {
        os_sleep(5);
        if (waitpid(pid, NULL, WNOHANG)) _exit(NOT_HERE);
        MUST(os_now() < deadline);
    } while (stat(to, &inside) || inside.st_dev == outside.st_dev);
}

static void live_over_bindfs(void)
{
    char from[96], to[96], path[128];
    int i;
    enter_mount_namespace();
    if (access("/dev/fuse", R_OK | W_OK)) _exit(NOT_HERE);
    (void)snprintf(from, sizeof from, "%s/from", os.dir);
    (void)snprintf(to, sizeof to, "%s/to", os.dir);
    (void)snprintf(path, sizeof path, "%s/s", to);
    mount_bindfs(from, to);
    for (i = 0; i < 4; i++) {
        uds_echo_server *server, *second;
        uds_echo_failure why;
        if (i & 1) make_stale(path);
        MUST(!open_at(&server, path, i & 2 ? UDS_ECHO_PUBLISH_DIRECT : UDS_ECHO_PUBLISH_ATOMIC, &why));
        MUST(serves_here(server, path));
        MUST(open_at(&second, path, UDS_ECHO_PUBLISH_ATOMIC, &why) == UDS_ECHO_ERR_IN_USE && why.pid == getpid());
        MUST(serves_here(server, path));
        MUST(!uds_echo_server_close(server));
        MUST(os_names(to, NULL, 0) == 0);
    }
    _exit(0);
}

static void p47_over_bindfs_a_server_is_reached(void **state)
{
    pid_t child;
    (void)state;
    child = os_fork();
    if (child == 0) live_over_bindfs();
    if (guest_is_elsewhere(child, "no mount namespace, no /dev/fuse or no bindfs here")) skip();
    OS_CASES(4, 4);
}

/* ---- P49 --------------------------------------------------------------------------------------------------------- */

/* Each call that the header makes, under the numbers that a libc may use for it. */
#ifdef SYS_accept
#define NR_ACCEPT SYS_accept
#else
#define NR_ACCEPT -1
#endif
#ifdef SYS_epoll_wait
#define NR_EPOLL_WAIT SYS_epoll_wait
#else
#define NR_EPOLL_WAIT -1
#endif
#ifdef SYS_fchmodat2
#define NR_FCHMODAT2 SYS_fchmodat2
#else
#define NR_FCHMODAT2 -1
#endif
#ifdef SYS_fcntl64
#define NR_FCNTL64 SYS_fcntl64
#else
#define NR_FCNTL64 -1
#endif
#ifdef SYS_newfstatat
#define NR_FSTATAT SYS_newfstatat
#else
#define NR_FSTATAT -1
#endif
#ifdef SYS_fstatat64
#define NR_FSTATAT64 SYS_fstatat64
#else
#define NR_FSTATAT64 -1
#endif
#ifdef SYS_statx
#define NR_STATX SYS_statx
#else
#define NR_STATX -1
#endif
#ifdef SYS_open
#define NR_OPEN SYS_open
#else
#define NR_OPEN -1
#endif
#ifdef SYS_poll
#define NR_POLL SYS_poll
#else
#define NR_POLL -1
#endif
#ifdef SYS_ppoll_time64
#define NR_PPOLL_TIME64 SYS_ppoll_time64
#else
#define NR_PPOLL_TIME64 -1
#endif
#ifdef SYS_renameat
#define NR_RENAMEAT SYS_renameat
#else
#define NR_RENAMEAT -1
#endif
#ifdef SYS_recv
#define NR_RECV SYS_recv
#else
#define NR_RECV -1
#endif
#ifdef SYS_send
#define NR_SEND SYS_send
#else
#define NR_SEND -1
#endif
#ifdef SYS_clock_gettime64
#define NR_CLOCK_GETTIME64 SYS_clock_gettime64
#else
#define NR_CLOCK_GETTIME64 -1
#endif

typedef struct refused_call {
    const char *name;
    const char *said;   /* the step of an open that it is part of, which a failure may name instead */
    int is_dispensable; /* there is another way, or a server does without: it serves */
    long numbers[4];
} refused_call;

static const refused_call refused_calls[] = {
    {"accept", NULL, 1, {NR_ACCEPT, -1, -1, -1}},
    {"accept4", NULL, 0, {SYS_accept4, -1, -1, -1}},
    {"accept4 and accept", "accept4", 0, {SYS_accept4, NR_ACCEPT, -1, -1}},
    {"bind", NULL, 0, {SYS_bind, -1, -1, -1}},
    {"clock_gettime", NULL, 0, {SYS_clock_gettime, NR_CLOCK_GETTIME64, -1, -1}},
    {"close", NULL, 1, {SYS_close, -1, -1, -1}},
    {"connect", NULL, 0, {SYS_connect, -1, -1, -1}},
    {"epoll_create1", NULL, 0, {SYS_epoll_create1, -1, -1, -1}},
    {"epoll_ctl", NULL, 0, {SYS_epoll_ctl, -1, -1, -1}},
    {"epoll_wait", NULL, 0, {NR_EPOLL_WAIT, SYS_epoll_pwait, -1, -1}},
    {"eventfd", NULL, 0, {SYS_eventfd2, -1, -1, -1}},
    {"fchmod", NULL, 0, {SYS_fchmod, -1, -1, -1}},
    {"fchmodat", NULL, 0, {SYS_fchmodat, NR_FCHMODAT2, -1, -1}},
    {"fcntl", NULL, 1, {SYS_fcntl, NR_FCNTL64, -1, -1}},
    {"flock", NULL, 0, {SYS_flock, -1, -1, -1}},
    {"fstatat", NULL, 0, {NR_FSTATAT, NR_FSTATAT64, NR_STATX, -1}},
    {"getpid", NULL, 1, {SYS_getpid, -1, -1, -1}},
    {"getrlimit", NULL, 0, {SYS_prlimit64, -1, -1, -1}},
    {"getsockopt", NULL, 1, {SYS_getsockopt, -1, -1, -1}},
    {"linkat", "rename", 1, {SYS_linkat, -1, -1, -1}},
    {"listen", NULL, 0, {SYS_listen, -1, -1, -1}},
    {"open", NULL, 0, {SYS_openat, NR_OPEN, -1, -1}},
    {"poll", NULL, 1, {SYS_ppoll, NR_POLL, NR_PPOLL_TIME64, -1}},
    {"read", NULL, 1, {SYS_read, -1, -1, -1}},
    {"recv", NULL, 0, {SYS_recvfrom, NR_RECV, -1, -1}},
    {"renameat", "rename", 1, {NR_RENAMEAT, -1, -1, -1}},
    {"renameat2", "rename", 1, {SYS_renameat2, -1, -1, -1}},
    {"renameat2 and linkat", "rename", 1, {SYS_renameat2, SYS_linkat, -1, -1}},
    {"renameat2, linkat and renameat", "rename", 1, {SYS_renameat2, SYS_linkat, NR_RENAMEAT, -1}},
    {"send", NULL, 0, {SYS_sendto, NR_SEND, -1, -1}},
    {"setsockopt", NULL, 0, {SYS_setsockopt, -1, -1, -1}},
    {"shutdown", NULL, 1, {SYS_shutdown, -1, -1, -1}},
    {"socket", "connect", 0, {SYS_socket, -1, -1, -1}},
    {"unlinkat", NULL, 1, {SYS_unlinkat, -1, -1, -1}},
    {"write", NULL, 1, {SYS_write, -1, -1, -1}},
};

enum { REFUSED_CALLS = sizeof refused_calls / sizeof *refused_calls };

/* bpf(4) and seccomp(2), of which not every libc has the headers. */
typedef struct bpf_line {
    unsigned short code;
    unsigned char if_true, if_false;
    unsigned value;
} bpf_line;

typedef struct bpf_program {
    unsigned short count;
    bpf_line *lines;
} bpf_program;

enum { BPF_LOAD = 0x20, BPF_IF_EQUAL = 0x15, BPF_RESULT = 0x06, SECCOMP_FILTER = 2 };

/* What a guest tells its parent without any call that may be refused. */
static struct guest_report {
    volatile int is_open; /* 1: it said of open what follows; 2: it cannot be tried */
    volatile int error, os_error, step_error, leave;
    volatile long steps;
    char call[48];
    uds_echo_stats stats;
} * guest;

static void refuse_for_good(const refused_call *call, int os_error)
{
    const unsigned refuse = 0x00050000u | (unsigned)os_error, allow = 0x7fff0000u;
    bpf_line lines[11], *at = lines;
    bpf_program program;
    int i;
    memset(lines, 0, sizeof lines);
    at++->code = BPF_LOAD; /* the number of the call comes first */
    for (i = 0; i < 4; i++) {
        if (call->numbers[i] < 0) continue;
        at->code = BPF_IF_EQUAL;
        at->if_false = 1;
        at++->value = (unsigned)call->numbers[i];
        at->code = BPF_RESULT;
        at++->value = refuse;
    }
    at->code = BPF_RESULT;
    at++->value = allow;
    program.count = (unsigned short)(at - lines);
    program.lines = lines;
    if (!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_FILTER, &program, 0, 0)) return;
    guest->is_open = 2;
    _exit(NOT_HERE);
}

static void serve_as_a_guest(int call, int os_error, int variant)
{
    uds_echo_server_desc desc;
    uds_echo_server *server;
    uds_echo_failure why;
    uds_echo_error error = UDS_ECHO_OK;
    memset(&desc, 0, sizeof desc);
    desc.path = os.path;
    desc.lock_ms = 50;
    desc.connections_max = -1; /* getrlimit */
    if (variant == 2) {        /* fchmodat */
        desc.publish = UDS_ECHO_PUBLISH_DIRECT;
        desc.mode = 0666;
        (void)umask(022);
    }
    refuse_for_good(&refused_calls[call], os_error);
    guest->error = (int)uds_echo_server_open(&server, &desc, &why);
    guest->os_error = why.os_error;
    (void)snprintf(guest->call, sizeof guest->call, "%s", why.call);
    guest->is_open = 1;
    if (guest->error) _exit(0);
    while (!error && !guest->leave) {
        error = uds_echo_server_step(server, 20);
        uds_echo_server_stats(server, &guest->stats);
        guest->steps++;
    }
    guest->step_error = (int)error;
    (void)uds_echo_server_close(server);
    _exit(0);
}

static int names_the_call(const refused_call *call, const char *said)
{
    return !strcmp(said, call->name) || (call->said && !strcmp(said, call->said));
}

enum { GUEST_FAILED, GUEST_SERVED, GUEST_CLOSED, GUEST_STEP_FAILED, GUEST_OUTCOMES };

/* A guest that is open serves a client, or closes the connection by name, or its step fails. */
static int first_use(const char *what)
{
    double deadline = os_now() + OS_REPLY_MS;
    int fd = os_dial(os.path);
    char in[8];
    if (guest->step_error) return GUEST_STEP_FAILED;
    if (fd < 0) fail_msg("%s: the server is ready, and connect says %s", what, strerror(errno));
    if (os_write(fd, "ping", 4) == 4) {
        while (!os_readable(fd, 1) && !guest->step_error)
            if (os_now() > deadline) fail_msg("%s: a client waits for ever", what);
        if (os_readable(fd, 0) && os_read(fd, in, 4) == 4) {
            (void)close(fd);
            return GUEST_SERVED;
        }
    }
    (void)close(fd);
    while (!guest->step_error && !guest->stats.closed[UDS_ECHO_ERR_SYSTEM])
        if (os_now() > deadline) fail_msg("%s: the connection ended without a name", what);
    return guest->step_error ? GUEST_STEP_FAILED : GUEST_CLOSED;
}

/* One server for which a call is refused. */
static int outcome_of_a_guest(int call, int os_error, int variant)
{
    double deadline = os_now() + OS_REPLY_MS, cpu;
    int outcome = GUEST_FAILED;
    long steps;
    pid_t child;
    char what[128];
    (void)snprintf(what, sizeof what, "%s, %s, variant %d", refused_calls[call].name, strerror(os_error), variant);
    memset(guest, 0, sizeof *guest);
    if (variant == 1) os_make_stale(os.path);
    child = os_fork();
    if (child == 0) serve_as_a_guest(call, os_error, variant);
    while (!guest->is_open) {
        os_sleep(0);
        if (os_now() > deadline) fail_msg("%s: the open does not return", what);
    }
    if (guest->is_open == 2) {
        (void)os_reap(child, OS_REPLY_MS);
        return -1;
    }
    if (guest->error && refused_calls[call].is_dispensable)
        fail_msg("%s: it has another way, and said error %d, %s", what, guest->error, guest->call);
    if (guest->error) {
        if (!names_the_call(&refused_calls[call], guest->call) || !guest->os_error)
            fail_msg("%s: error %d names %s, errno %d", what, guest->error, guest->call, guest->os_error);
    } else {
        outcome = first_use(what);
        if (outcome != GUEST_SERVED && refused_calls[call].is_dispensable) fail_msg("%s: it does not serve", what);
        if (variant == 0 && outcome != GUEST_STEP_FAILED) {
            steps = guest->steps;
            cpu = os_cpu_ms(child);
            os_sleep(60);
            if (guest->steps - steps > 10 || os_cpu_ms(child) - cpu > 40) fail_msg("%s: it spins", what);
        }
    }
    guest->leave = 1;
    if (os_reap(child, OS_REPLY_MS)) fail_msg("%s: it does not end", what);
    return outcome;
}

static int set_up_guest(void **state)
{
    void *map = mmap(NULL, sizeof *guest, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) return -1;
    guest = (struct guest_report *)map;
    return os_set_up(state);
}

static int tear_down_guest(void **state)
{
    (void)munmap(guest, sizeof *guest);
    return os_tear_down(state);
}

#define GUEST_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_guest, tear_down_guest)

/* What a refused call leaves behind, its parent removes. */
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

/* Over nothing, over a stale file, and in place. */
static void p49_a_server_without_a_call_serves_or_names_it(void **state)
{
    const int errors[] = {EPERM, EACCES, ENOSYS};
    int call, i, variant, outcome, cases = 0, outcomes[GUEST_OUTCOMES] = {0};
    (void)state;
    for (call = 0; call < REFUSED_CALLS; call++) {
        for (i = 0; i < 9; i++) {
            variant = i / 3;
            outcome = outcome_of_a_guest(call, errors[i % 3], variant);
            if (outcome < 0) {
                print_message("# skipped: no seccomp(2) here\n");
                skip();
            }
            outcomes[outcome]++;
            cases++;
            remove_all_names();
        }
    }
    print_message(
        "# of %d servers without a call %d named it at the open, %d served, %d closed the connection by name, "
        "%d had a step that failed\n",
        cases, outcomes[GUEST_FAILED], outcomes[GUEST_SERVED], outcomes[GUEST_CLOSED], outcomes[GUEST_STEP_FAILED]);
    os_at_least("failed by name", outcomes[GUEST_FAILED], 30);
    os_at_least("served all the same", outcomes[GUEST_SERVED], 90);
    OS_CASES(cases, 9 * REFUSED_CALLS);
}

static void call_as_a_guest(int call, int os_error)
{
    uds_echo_failure why;
    char reply[8];
    size_t got = 0;
    refuse_for_good(&refused_calls[call], os_error);
    guest->error = (int)uds_echo_call(os.path, "ping", 4, reply, sizeof reply, &got, 2000 * OS_SLOW, &why);
    guest->os_error = why.os_error;
    (void)snprintf(guest->call, sizeof guest->call, "%s", why.call);
    _exit(guest->error || (got == 4 && !memcmp(reply, "ping", 4)) ? 0 : 1);
}

/* It waits in poll(2), so that "exchange" is the name of what comes after the connect. */
static void p49_a_client_without_a_call_is_answered_or_told(void **state)
{
    const int errors[] = {EPERM, EACCES, ENOSYS};
    int call, i, status, answered = 0, told = 0;
    pid_t child;
    (void)state;
    (void)os_serve(NULL);
    for (call = 0; call < REFUSED_CALLS; call++) {
        for (i = 0; i < 3; i++) {
            memset(guest, 0, sizeof *guest);
            child = os_fork();
            if (child == 0) call_as_a_guest(call, errors[i]);
            status = os_reap(child, OS_REPLY_MS);
            if (status == NOT_HERE) {
                print_message("# skipped: no seccomp(2) here\n");
                skip();
            }
            if (status) fail_msg("%s, %s: exit status %d", refused_calls[call].name, strerror(errors[i]), status);
            if (guest->error &&
                ((!names_the_call(&refused_calls[call], guest->call) && strcmp(guest->call, "exchange")) ||
                 guest->os_error != errors[i]))
                fail_msg("%s: error %d names %s, errno %d", refused_calls[call].name, guest->error, guest->call,
                         guest->os_error);
            answered += !guest->error;
            told += guest->error != 0;
        }
    }
    os_at_least("answered", answered, 60);
    os_at_least("told", told, 9);
    OS_CASES(answered + told, 3 * REFUSED_CALLS);
}

/* ---- P51 --------------------------------------------------------------------------------------------------------- */

enum { LINE, IS_READY, IS_OVER, VISITORS, VISITORS_WRONG }; /* os.shared->count */

/* A pid that nobody can be killed by: with 0 it would be one's own group, with -1 everybody. */
static int is_unusable(long pid)
{
    return pid == (long)(pid_t)pid && kill((pid_t)pid, 0) < 0 && errno == ESRCH;
}

static int look_at_visitor(uds_echo_conn *conn, void *user)
{
    uds_echo_peer peer;
    (void)user;
    os.shared->count[VISITORS_WRONG] += uds_echo_conn_peer(conn, &peer) != UDS_ECHO_OK || !is_unusable(peer.pid) ||
                                        peer.pid != INT_MAX || peer.uid != (long)geteuid();
    os.shared->count[VISITORS]++;
    return 0;
}

static int welcome_anybody(uds_echo_conn *conn, void *user)
{
    (void)conn;
    (void)user;
    return 0;
}

/* can_see_them: its clients are of its own namespace, or of one within it. */
static void serve_visitors(int can_see_them)
{
    uds_echo_server_desc desc;
    uds_echo_server *server;
    memset(&desc, 0, sizeof desc);
    desc.path = os.path;
    desc.on_open = can_see_them ? welcome_anybody : look_at_visitor;
    MUST(!uds_echo_server_open(&server, &desc, NULL));
    os.shared->count[IS_READY] = 1;
    while (!os.shared->count[IS_OVER]) MUST(!uds_echo_server_step(server, 5));
    MUST(!uds_echo_server_close(server));
    _exit(0);
}

/* The client's failure, and a second start's: the server is of a namespace that cannot be seen from here. */
static void visit(int can_see_it)
{
    uds_echo_client_desc to;
    uds_echo_client client;
    uds_echo_server *second;
    uds_echo_failure why;
    char reply[8], text[512];
    size_t got;
    memset(&to, 0, sizeof to);
    to.path = os.path;
    to.trust = UDS_ECHO_TRUST_UID;
    to.uid = (long)geteuid() + 1;
    MUST(!uds_echo_call(os.path, "ping", 4, reply, sizeof reply, &got, OS_REPLY_MS, NULL));
    if (can_see_it) _exit(0);
    MUST(uds_echo_client_open(&client, &to, &why) == UDS_ECHO_ERR_UNTRUSTED);
    MUST(why.pid == INT_MAX && is_unusable(why.pid) && why.uid == (long)geteuid());
    MUST(open_at(&second, os.path, UDS_ECHO_PUBLISH_ATOMIC, &why) == UDS_ECHO_ERR_IN_USE);
    MUST(why.pid == INT_MAX && is_unusable(why.pid) && why.uid == (long)geteuid());
    (void)uds_echo_explain(&why, os.path, text, sizeof text);
    MUST(strstr(text, "pid unknown"));
    _exit(0);
}

/* A role in a child, and where elsewhere in a pid namespace of its own. */
static pid_t start_role(void (*role)(int), int argument, int elsewhere)
{
    pid_t child = os_fork(), inner;
    int status;
    if (child) return child;
    if (!elsewhere) role(argument);
    if (unshare(CLONE_NEWPID)) _exit(NOT_HERE);
    inner = fork();
    if (inner < 0) _exit(NOT_HERE);
    if (inner == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        role(argument);
    }
    if (waitpid(inner, &status, 0) != inner) _exit(2);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 3);
}

static void p51_a_pid_of_another_namespace_cannot_be_killed(void **state)
{
    int i, cases = 0;
    (void)state;
    for (i = 1; i < 4; i++) { /* 1: the server is elsewhere, 2: the client, 3: both, and not in the same */
        double deadline = os_now() + OS_REPLY_MS;
        pid_t server = start_role(serve_visitors, !(i & 1), i & 1);
        while (!os.shared->count[IS_READY] && !os.shared->count[LINE] && os_now() < deadline) {
            os_sleep(1);
            if (waitpid(server, NULL, WNOHANG) == server) {
                os_forget(server);
                print_message("# skipped: no pid namespaces here\n");
                skip();
            }
        }
        if (guest_is_elsewhere(start_role(visit, !(i & 2), i & 2), "no pid namespaces here")) skip();
        os.shared->count[IS_OVER] = 1;
        assert_int_equal(os_reap(server, OS_REPLY_MS), 0);
        cases += (i & 1 ? (int)os.shared->count[VISITORS] : 0) + (i & 2 ? 2 : 0);
        assert_int_equal(os.shared->count[VISITORS_WRONG], 0);
        memset(os.shared, 0, sizeof *os.shared);
    }
    OS_CASES(cases, 8);
}

/* ---- P52 --------------------------------------------------------------------------------------------------------- */

static int is_same_file(const char *path, const struct stat *file)
{
    struct stat st;
    return !lstat(path, &st) && st.st_dev == file->st_dev && st.st_ino == file->st_ino && st.st_mode == file->st_mode;
}

static void start_over_a_mount_point(void)
{
    uds_echo_server *server, *second;
    uds_echo_failure why;
    struct stat file;
    char text[512];
    int i, live;
    enter_mount_namespace();
    for (i = 0; i < 2; i++) { /* a stale file that is a mount point */
        uds_echo_publish_mode publish = i ? UDS_ECHO_PUBLISH_DIRECT : UDS_ECHO_PUBLISH_ATOMIC;
        make_stale(os.path);
        if (mount(os.path, os.path, NULL, MS_BIND, NULL)) _exit(NOT_HERE);
        MUST(!lstat(os.path, &file));
        MUST(open_at(&server, os.path, publish, &why) == UDS_ECHO_ERR_SYSTEM);
        MUST(!server && why.os_error == EBUSY && !strcmp(why.call, "rename"));
        (void)uds_echo_explain(&why, os.path, text, sizeof text);
        MUST(strstr(text, "[rename: EBUSY]") && strstr(text, "mount point"));
        MUST(is_same_file(os.path, &file) && os_names(os.dir, NULL, 0) == 1);
        MUST(!umount2(os.path, MNT_DETACH) && is_same_file(os.path, &file) && !unlink(os.path));

        live = os_listen(os.path, SOCK_STREAM, 8); /* a live one */
        MUST(live >= 0 && !mount(os.path, os.path, NULL, MS_BIND, NULL) && !lstat(os.path, &file));
        MUST(open_at(&server, os.path, publish, &why) == UDS_ECHO_ERR_IN_USE);
        MUST(is_same_file(os.path, &file) && os_names(os.dir, NULL, 0) == 1);
        MUST(!umount2(os.path, MNT_DETACH) && !close(live) && !unlink(os.path));

        MUST(!open_at(&server, os.path, publish, &why)); /* ours, which becomes one while it serves */
        MUST(!mount(os.path, os.path, NULL, MS_BIND, NULL) && !lstat(os.path, &file));
        MUST(serves_here(server, os.path));
        MUST(open_at(&second, os.path, publish, &why) == UDS_ECHO_ERR_IN_USE);
        MUST(!uds_echo_server_close(server) && is_same_file(os.path, &file));
        MUST(!umount2(os.path, MNT_DETACH) && !unlink(os.path) && os_names(os.dir, NULL, 0) == 0);
    }
    _exit(0);
}

static void p52_a_mount_point_is_named_and_stays(void **state)
{
    pid_t child;
    (void)state;
    child = os_fork();
    if (child == 0) start_over_a_mount_point();
    if (guest_is_elsewhere(child, "no mount namespaces here")) skip();
    OS_CASES(6, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OS_TEST(p47_over_bindfs_a_server_is_reached),
        GUEST_TEST(p49_a_server_without_a_call_serves_or_names_it),
        GUEST_TEST(p49_a_client_without_a_call_is_answered_or_told),
        OS_TEST(p51_a_pid_of_another_namespace_cannot_be_killed),
        OS_TEST(p52_a_mount_point_is_named_and_stays),
    };
    return cmocka_run_group_tests_name("guest", tests, NULL, NULL);
}
