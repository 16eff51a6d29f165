/* os.h - what the tests over the real kernel share: a folder of their own, children that never outlive them, a server
   in a child, plain sockets, and figures. A child never calls cmocka: it tells by its exit status and by os.shared. */
#ifndef OS_H
#define OS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#define UDS_ECHO_IMPLEMENTATION
#include "uds_echo.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || __has_feature(address_sanitizer) ||               \
    __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
enum { OS_SLOW = 4 }; /* bounds on time and memory are so many times wider under a sanitizer */
#else
enum { OS_SLOW = 1 };
#endif

enum {
    OS_TEST_SECONDS = 240,         /* a test that runs longer fails; 10 are enough on a quiet machine */
    OS_REPLY_MS = 10000 * OS_SLOW, /* a peer that is silent longer is lost */
    OS_CHILDREN = 512,
    OS_COUNTS = 16
};

/* Seen by the test and its children. */
typedef struct os_shared {
    uds_echo_stats stats; /* of the server in a child, after each of its steps */
    volatile long count[OS_COUNTS];
} os_shared;

static struct {
    char dir[64];
    char path[96]; /* dir/s */
    pid_t children[OS_CHILDREN];
    int child_count;
    os_shared *shared;
} os;

/* ---- time -------------------------------------------------------------------------------------------------------- */

static inline double os_now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static inline void os_sleep(int ms)
{
    struct timespec t;
    t.tv_sec = ms / 1000;
    t.tv_nsec = (long)(ms % 1000) * 1000000;
    while (nanosleep(&t, &t) && errno == EINTR) {
    }
}

/* ---- children ---------------------------------------------------------------------------------------------------- */

/* cmocka catches these in the test itself; in a child they have to end it. */
static inline void os_default_signals(void)
{
    const int caught[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGSYS, SIGALRM};
    size_t i;
    for (i = 0; i < sizeof caught / sizeof *caught; i++) (void)signal(caught[i], SIG_DFL);
}

/* A child that dies with the test, and by itself after OS_TEST_SECONDS. */
static inline pid_t os_fork(void)
{
    pid_t parent = getpid(), pid;
    (void)fflush(NULL);
    pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(99);
        os_default_signals();
        (void)alarm(OS_TEST_SECONDS);
        return 0;
    }
    if (pid < 0 || os.child_count == OS_CHILDREN) fail_msg("fork: %s", strerror(errno));
    os.children[os.child_count++] = pid;
    return pid;
}

static inline void os_forget(pid_t pid)
{
    int i;
    for (i = 0; i < os.child_count; i++)
        if (os.children[i] == pid) os.children[i--] = os.children[--os.child_count];
}

/* The exit status, 128 and the signal's number, or -1 where it had to be killed after ms. */
static inline int os_reap(pid_t pid, int ms)
{
    double deadline = os_now() + ms;
    int status = 0, late = 0;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (os_now() > deadline) {
            late = 1;
            (void)kill(pid, SIGKILL);
            (void)waitpid(pid, &status, 0);
            break;
        }
        os_sleep(1);
    }
    os_forget(pid);
    if (late) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Asks a server in a child to drain. */
static inline int os_stop(pid_t pid)
{
    (void)kill(pid, SIGTERM);
    return os_reap(pid, OS_REPLY_MS);
}

static inline void os_kill(pid_t pid)
{
    (void)kill(pid, SIGKILL);
    (void)os_reap(pid, OS_REPLY_MS);
}

/* A user of no rights, and the group of the same number; only root can become it. */
enum { OS_STRANGER = 65533, OS_NEIGHBOUR = 65532 };

static inline int os_is_root(void)
{
    return geteuid() == 0;
}

/* In a child. */
static inline void os_become(uid_t user)
{
    if (setgroups(0, NULL) || setgid((gid_t)user) || setuid(user)) _exit(100);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of user takes it back */
}

/* ---- folder ------------------------------------------------------------------------------------------------------ */

static inline int os_remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static inline void os_late(int number)
{
    (void)number;
    fail_msg("no end after %d s", (int)OS_TEST_SECONDS);
}

static inline int os_set_up(void **state)
{
    struct sigaction action;
    (void)state;
    memset(&action, 0, sizeof action);
    action.sa_handler = os_late;
    action.sa_flags = SA_NODEFER; /* cmocka leaves it by longjmp */
    (void)sigaction(SIGALRM, &action, NULL);
    (void)alarm(OS_TEST_SECONDS);
    (void)snprintf(os.dir, sizeof os.dir, "/tmp/uds_echo_os_XXXXXX");
    if (!mkdtemp(os.dir)) return -1;
    (void)snprintf(os.path, sizeof os.path, "%s/s", os.dir);
    os.shared = (os_shared *)mmap(NULL, sizeof *os.shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return os.shared == MAP_FAILED ? -1 : 0;
}

static inline int os_tear_down(void **state)
{
    (void)state;
    (void)alarm(0);
    while (os.child_count > 0) os_kill(os.children[0]);
    (void)munmap(os.shared, sizeof *os.shared);
    return nftw(os.dir, os_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#define OS_TEST(name) cmocka_unit_test_setup_teardown(name, os_set_up, os_tear_down)

/* How many names are in a folder; the first of them, if there is one. */
static inline int os_names(const char *folder, char *first, size_t size)
{
    DIR *d = opendir(folder);
    struct dirent *e;
    int count = 0;
    if (!d) return -1;
    while ((e = readdir(d)) != NULL) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        if (first && count == 0) (void)snprintf(first, size, "%s", e->d_name);
        count++;
    }
    (void)closedir(d);
    return count;
}

static inline int os_exists(const char *path)
{
    struct stat st;
    return !lstat(path, &st);
}

static inline int os_open_descriptors(void)
{
    return os_names("/proc/self/fd", NULL, 0) - 1; /* less the folder's own */
}

/* ---- sockets ----------------------------------------------------------------------------------------------------- */

static inline socklen_t os_address(struct sockaddr_un *address, const char *path)
{
    size_t size = strlen(path);
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (size < sizeof address->sun_path) memcpy(address->sun_path, path, size);
    return (socklen_t)sizeof *address;
}

static inline int os_bind(const char *path, int type)
{
    struct sockaddr_un address;
    socklen_t size = os_address(&address, path);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    if (fd >= 0 && !bind(fd, (struct sockaddr *)&address, size)) return fd;
    if (fd >= 0) (void)close(fd);
    return -1;
}

static inline int os_listen(const char *path, int type, int backlog)
{
    int fd = os_bind(path, type);
    if (fd >= 0 && listen(fd, backlog)) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

/* A socket file that nobody is bound to any more. */
static inline void os_make_stale(const char *path)
{
    int fd = os_bind(path, SOCK_STREAM);
    assert_true(fd >= 0);
    (void)close(fd);
}

/* Reads and writes that are silent for OS_REPLY_MS fail with EAGAIN. */
static inline void os_bound(int fd)
{
    struct timeval t;
    t.tv_sec = OS_REPLY_MS / 1000;
    t.tv_usec = 0;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
}

/* A blocking client; -1 and errno. */
static inline int os_dial(const char *path)
{
    struct sockaddr_un address;
    socklen_t size = os_address(&address, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), os_error;
    if (fd < 0) return -1;
    os_bound(fd);
    if (!connect(fd, (struct sockaddr *)&address, size)) return fd;
    os_error = errno;
    (void)close(fd);
    errno = os_error;
    return -1;
}

static inline int os_connect(void)
{
    int fd = os_dial(os.path);
    if (fd < 0) fail_msg("connect: %s", strerror(errno));
    return fd;
}

static inline size_t os_write(int fd, const void *bytes, size_t size)
{
    size_t sent = 0;
    while (sent < size) {
        ssize_t n = send(fd, (const char *)bytes + sent, size - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        sent += (size_t)n;
    }
    return sent;
}

static inline size_t os_read(int fd, void *bytes, size_t size)
{
    size_t got = 0;
    while (got < size) {
        ssize_t n = recv(fd, (char *)bytes + got, size - got, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        got += (size_t)n;
    }
    return got;
}

/* 0: the end of the stream is next. -1: a byte was. Else the errno. */
static inline int os_read_end(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, 0);
    return n == 0 ? 0 : n > 0 ? -1 : errno;
}

static inline int os_readable(int fd, int ms)
{
    struct pollfd p;
    p.fd = fd;
    p.events = POLLIN;
    p.revents = 0;
    return poll(&p, 1, ms) == 1;
}

/* One round trip of 64 bytes, 1 if it came back right. */
static inline int os_ping(int fd)
{
    char out[64], in[64];
    memset(out, 'p', sizeof out);
    memset(in, 0, sizeof in);
    return os_write(fd, out, sizeof out) == sizeof out && os_read(fd, in, sizeof in) == sizeof in &&
           !memcmp(out, in, sizeof in);
}

/* A new client is served. */
static inline int os_serves(const char *path)
{
    int fd = os_dial(path), well;
    if (fd < 0) return 0;
    well = os_ping(fd);
    (void)close(fd);
    return well;
}

/* ---- a server in a child ----------------------------------------------------------------------------------------- */

typedef struct os_plan {
    uds_echo_server_desc desc;             /* path NULL: os.path */
    void (*before)(void);                  /* in the child, before it opens */
    void (*after_step)(uds_echo_server *); /* after each step */
    int step_ms;                           /* 0: -1 */
} os_plan;

typedef struct os_report {
    int error, os_error;
    long pid, uid;
    char call[48];
} os_report;

static uds_echo_server *volatile os_running;
static int os_ready_fd = -1;

static inline void os_report_send(uds_echo_error error, const uds_echo_failure *why)
{
    os_report r;
    memset(&r, 0, sizeof r);
    r.error = (int)error;
    if (why) {
        r.os_error = why->os_error;
        r.pid = why->pid;
        r.uid = why->uid;
        (void)snprintf(r.call, sizeof r.call, "%s", why->call);
    }
    if (write(os_ready_fd, &r, sizeof r) != (ssize_t)sizeof r) _exit(98);
}

static inline void os_on_ready(uds_echo_server *server, void *user)
{
    (void)user;
    os_running = server;
    uds_echo_server_stats(server, &os.shared->stats); /* not those of the server before, until its first step ends */
    os_report_send(UDS_ECHO_OK, NULL);
}

static inline void os_on_term(int number)
{
    (void)number;
    uds_echo_server_stop(os_running, UDS_ECHO_STOP_DRAIN);
}

static inline void os_server_main(const os_plan *plan)
{
    uds_echo_server_desc desc = plan->desc;
    uds_echo_server *server;
    uds_echo_failure why;
    uds_echo_error error;
    (void)signal(SIGTERM, os_on_term);
    if (plan->before) plan->before();
    if (!desc.path) desc.path = os.path;
    desc.on_ready = os_on_ready;
    error = uds_echo_server_open(&server, &desc, &why);
    if (error) {
        os_report_send(error, &why);
        _exit((int)error);
    }
    do {
        error = uds_echo_server_step(server, plan->step_ms ? plan->step_ms : -1);
        uds_echo_server_stats(server, &os.shared->stats);
        if (plan->after_step) plan->after_step(server);
    } while (!error);
    os_running = NULL;
    (void)uds_echo_server_close(server);
    _exit(error == UDS_ECHO_ERR_STOPPED ? 0 : (int)error);
}

/* A server counts what it did as the step ends, which may be after its peer has seen it: waits until it is so. */
#define OS_SOON(is_so)                                                                                                 \
    do {                                                                                                               \
        double os_soon_until = os_now() + OS_REPLY_MS;                                                                 \
        while (!(is_so) && os_now() < os_soon_until) os_sleep(1);                                                      \
    } while (0)

/* Starts one and waits until it is ready or says why not. */
static inline pid_t os_try_serve(const os_plan *plan, os_report *report)
{
    int ends[2];
    pid_t pid;
    assert_int_equal(pipe(ends), 0);
    pid = os_fork();
    if (pid == 0) {
        (void)close(ends[0]);
        os_ready_fd = ends[1];
        (void)fcntl(ends[1], F_SETFD, FD_CLOEXEC);
        os_server_main(plan);
    }
    (void)close(ends[1]);
    if (!os_readable(ends[0], OS_REPLY_MS) || read(ends[0], report, sizeof *report) != (ssize_t)sizeof *report)
        report->error = -1;
    (void)close(ends[0]);
    return pid;
}

static inline pid_t os_serve(const os_plan *plan)
{
    os_plan none;
    os_report report;
    pid_t pid;
    memset(&none, 0, sizeof none);
    pid = os_try_serve(plan ? plan : &none, &report);
    if (report.error) fail_msg("the server did not start: error %d, %s", report.error, report.call);
    return pid;
}

/* The example program, silent. Its path appears when it can be connected to. */
static inline pid_t os_exec_echo_server(void)
{
    const char *build = getenv("UDS_ECHO_BUILD");
    char program[512];
    double deadline;
    pid_t pid;
    (void)snprintf(program, sizeof program, "%s/echo_server", build && *build ? build : "build");
    if (access(program, X_OK)) fail_msg("%s is not built", program);
    pid = os_fork();
    if (pid == 0) {
        (void)execl(program, program, "-q", os.path, (char *)NULL);
        _exit(97);
    }
    for (deadline = os_now() + (int)OS_REPLY_MS; !os_exists(os.path) && os_now() < deadline;) os_sleep(1);
    assert_true(os_exists(os.path));
    return pid;
}

/* ---- a server in this process ------------------------------------------------------------------------------------ */

/* The address is os.path where desc has none. */
static inline uds_echo_server *os_open(const uds_echo_server_desc *desc)
{
    uds_echo_server_desc d;
    uds_echo_server *server;
    uds_echo_failure why;
    char text[512];
    memset(&d, 0, sizeof d);
    if (desc) d = *desc;
    if (!d.path && !d.share_with) d.path = os.path;
    if (uds_echo_server_open(&server, &d, &why)) {
        (void)uds_echo_explain(&why, d.path, text, sizeof text);
        fail_msg("%s", text);
    }
    return server;
}

/* Steps until nothing is left that could be done now. */
static inline void os_settle(uds_echo_server *server)
{
    int i;
    for (i = 0; i < 64; i++) assert_true(uds_echo_server_step(server, 0) == UDS_ECHO_OK);
}

/* Steps to its end a server that was stopped; how long that took, in ms. */
static inline double os_run_out(uds_echo_server *server)
{
    double began = os_now();
    assert_int_equal(uds_echo_server_run(server), UDS_ECHO_OK);
    return os_now() - began;
}

/* A thread that leaves all signals to the one that runs the test. */
static inline pthread_t os_thread(void *(*body)(void *), void *argument)
{
    pthread_t thread;
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    assert_int_equal(pthread_create(&thread, NULL, body, argument), 0);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return thread;
}

static inline void *os_run_thread(void *server)
{
    return (void *)(intptr_t)uds_echo_server_run((uds_echo_server *)server);
}

static inline int os_join(pthread_t thread)
{
    void *result = NULL;
    assert_int_equal(pthread_join(thread, &result), 0);
    return (int)(intptr_t)result;
}

/* ---- figures ----------------------------------------------------------------------------------------------------- */

static inline void os_at_most(const char *what, double value, double bound)
{
    print_message("    %s: %.9g (at most %.9g)\n", what, value, bound);
    if (!(value <= bound)) fail_msg("%s: %g is more than %g", what, value, bound);
}

static inline void os_at_least(const char *what, double value, double bound)
{
    print_message("    %s: %.9g (at least %.9g)\n", what, value, bound);
    if (!(value >= bound)) fail_msg("%s: %g is less than %g", what, value, bound);
}

static inline void os_exactly(const char *what, double value, double wanted)
{
    print_message("    %s: %.9g (wanted %.9g)\n", what, value, wanted);
    if (value < wanted || value > wanted) fail_msg("%s: %g is not %g", what, value, wanted);
}

/* How many cases of a pitfall a test ran; the number is the one its name begins with. Called behind the assertions,
   with a count that the test itself came to: one that ran too few has shown nothing. */
static inline void os_cases(const char *test, long count, long least)
{
    print_message("# P%d: %ld cases (%s)\n", atoi(test + 1), count, test + 4);
    if (test[0] != 'p' || test[3] != '_') fail_msg("%s is not named after a pitfall", test);
    if (count < least) fail_msg("%s: %ld cases are less than %ld", test, count, least);
}
#define OS_CASES(count, least) os_cases(__func__, (long)(count), (long)(least))

/* A cell of the matrix that held, for docs/matrix.md: see matrix.sh. The result is the same in every run. */
static inline void os_cell(const char *row, const char *cell, const char *result)
{
    print_message("cell: %s | %s | %s\n", row, cell, result);
}

static inline void os_fill(unsigned char *bytes, size_t size, unsigned seed)
{
    uint32_t x = seed * 2654435761u + 1u;
    size_t i;
    for (i = 0; i < size; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        bytes[i] = (unsigned char)(x >> 11);
    }
}

/* In hexadecimal, as sha256sum(1) tells it. */
static inline void os_sha256(const void *bytes, size_t size, char hex[65])
{
    char file[96], command[128];
    FILE *f;
    (void)snprintf(file, sizeof file, "%s/bytes", os.dir);
    f = fopen(file, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
    (void)snprintf(command, sizeof command, "sha256sum %s", file);
    f = popen(command, "r");
    assert_non_null(f);
    assert_non_null(fgets(hex, 65, f));
    (void)pclose(f);
    (void)unlink(file);
    assert_int_equal(strlen(hex), 64);
}

/* A line "name: number ..." of a file of /proc; -1. */
static inline long os_proc_number(pid_t pid, const char *file, const char *name)
{
    char path[64], line[256];
    long number = -1;
    FILE *f;
    (void)snprintf(path, sizeof path, "/proc/%ld/%s", (long)pid, file);
    f = fopen(path, "r");
    if (!f) return -1;
    while (fgets(line, sizeof line, f))
        if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
            number = strtol(line + strlen(name) + 1, NULL, 10);
    (void)fclose(f);
    return number;
}

/* User and system time of a process, ms; see proc(5), fields 14 and 15. */
static inline double os_cpu_ms(pid_t pid)
{
    char path[64], text[1024], *at;
    unsigned long user = 0, system = 0;
    size_t n;
    FILE *f;
    (void)snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    f = fopen(path, "r");
    assert_non_null(f);
    n = fread(text, 1, sizeof text - 1, f);
    (void)fclose(f);
    text[n] = '\0';
    at = strrchr(text, ')');
    assert_non_null(at);
    assert_int_equal(sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system), 2);
    return (double)(user + system) * 1000.0 / (double)sysconf(_SC_CLK_TCK);
}

static inline int os_compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Sorts. */
static inline double os_percentile(double *values, size_t count, double percent)
{
    qsort(values, count, sizeof *values, os_compare_doubles);
    return values[(size_t)((double)(count - 1) * percent / 100.0)];
}

#endif
