/* The fake kernel and the real one, asked the same questions. Every fact below is asserted twice by the same code,
   through a table of functions: a fake that is wrong would otherwise become the truth for every test on it.

   The real run stays inside a folder of its own under /tmp, never blocks, and removes the folder. */
#include "fake_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "asserts.h"

/* ---- a kernel is a table of functions ---------------------------------------------------------------------------- */

#define KERNEL_CALLS(X)                                                                                                \
    X(int, accept, (int, struct sockaddr *, socklen_t *))                                                              \
    X(int, accept4, (int, struct sockaddr *, socklen_t *, int))                                                        \
    X(int, bind, (int, const struct sockaddr *, socklen_t))                                                            \
    X(int, clock_gettime, (clockid_t, struct timespec *))                                                              \
    X(int, close, (int))                                                                                               \
    X(int, connect, (int, const struct sockaddr *, socklen_t))                                                         \
    X(int, epoll_create1, (int))                                                                                       \
    X(int, epoll_ctl, (int, int, int, struct epoll_event *))                                                           \
    X(int, epoll_wait, (int, struct epoll_event *, int, int))                                                          \
    X(int, eventfd, (unsigned int, int))                                                                               \
    X(int, fchmod, (int, mode_t))                                                                                      \
    X(int, fchmodat, (int, const char *, mode_t, int))                                                                 \
    X(int, fcntl, (int, int, ...))                                                                                     \
    X(int, flock, (int, int))                                                                                          \
    X(int, fstatat, (int, const char *, struct stat *, int))                                                           \
    X(uid_t, geteuid, (void))                                                                                          \
    X(pid_t, getpid, (void))                                                                                           \
    X(int, getsockname, (int, struct sockaddr *, socklen_t *))                                                         \
    X(int, getsockopt, (int, int, int, void *, socklen_t *))                                                           \
    X(int, linkat, (int, const char *, int, const char *, int))                                                        \
    X(int, listen, (int, int))                                                                                         \
    X(int, open, (const char *, int, ...))                                                                             \
    X(int, pipe, (int[2]))                                                                                             \
    X(int, pipe2, (int[2], int))                                                                                       \
    X(int, poll, (struct pollfd *, nfds_t, int))                                                                       \
    X(ssize_t, read, (int, void *, size_t))                                                                            \
    X(ssize_t, recv, (int, void *, size_t, int))                                                                       \
    X(int, renameat, (int, const char *, int, const char *))                                                           \
    X(int, renameat2, (int, const char *, int, const char *, unsigned int))                                            \
    X(ssize_t, send, (int, const void *, size_t, int))                                                                 \
    X(int, setsockopt, (int, int, int, const void *, socklen_t))                                                       \
    X(int, shutdown, (int, int))                                                                                       \
    X(int, socket, (int, int, int))                                                                                    \
    X(int, unlinkat, (int, const char *, int))                                                                         \
    X(ssize_t, write, (int, const void *, size_t))

/* What a program's caller sets up is not part of the seam. */
#define KERNEL_SETTINGS(X)                                                                                             \
    X(void, put_file, (const char *))                                                                                  \
    X(void, put_dir, (const char *))                                                                                   \
    X(const char *, put_elsewhere, (void))                                                                             \
    X(void, put_link, (const char *, const char *))                                                                    \
    X(void, put_fifo, (const char *))                                                                                  \
    X(void, set_mode, (const char *, unsigned))                                                                        \
    X(void, set_owner, (const char *, long))                                                                           \
    X(void, set_group, (const char *, long))                                                                           \
    X(long, own_group, (void))                                                                                         \
    X(void, send_signals, (int))                                                                                       \
    X(void, doze, (int))                                                                                               \
    X(int, dozes, (int))                                                                                               \
    X(int, woken, (int))                                                                                               \
    X(void, set_umask, (unsigned))                                                                                     \
    X(void, close_to_new_descriptors, (int))

typedef struct kernel {
    int is_real;
#define KERNEL_X(result, name, arguments) result(*name) arguments;
    KERNEL_CALLS(KERNEL_X) KERNEL_SETTINGS(KERNEL_X)
#undef KERNEL_X
} kernel;

static const kernel *k;
static char folder[64], other_folder[64]; /* that one is on another device */
static int opened[64], opened_count;      /* what a fact left open is closed after it */

static int real_fcntl(int fd, int what, ...)
{
    va_list arguments;
    int value;
    va_start(arguments, what);
    value = what == F_SETFL || what == F_SETFD || what == F_DUPFD_CLOEXEC ? va_arg(arguments, int) : 0;
    va_end(arguments);
    return fcntl(fd, what, value);
}

static int real_open(const char *path, int flags, ...)
{
    return open(path, flags);
}

static void real_put_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    (void)close(fd);
}

static void real_put_dir(const char *path)
{
    assert_int_equal(mkdir(path, 0755), 0);
}

/* A folder on another device; NULL: there is none to be had. */
static const char *real_put_elsewhere(void)
{
    struct stat here, there;
    if (stat(folder, &here) || stat("/dev/shm", &there) || here.st_dev == there.st_dev) return NULL;
    (void)strcpy(other_folder, "/dev/shm/conformance-XXXXXX");
    if (mkdtemp(other_folder)) return other_folder;
    other_folder[0] = '\0';
    return NULL;
}

static const char *fake_put_elsewhere(void)
{
    fake_put_mount("/v");
    return "/v";
}

static void real_put_link(const char *path, const char *target)
{
    assert_int_equal(symlink(target, path), 0);
}

static void real_put_fifo(const char *path)
{
    assert_int_equal(mkfifo(path, 0644), 0);
}

static void real_set_mode(const char *path, unsigned mode)
{
    assert_int_equal(chmod(path, (mode_t)mode), 0);
}

static void real_set_owner(const char *path, long uid)
{
    assert_int_equal(lchown(path, (uid_t)uid, (gid_t)-1), 0);
}

static void real_set_group(const char *path, long gid)
{
    assert_int_equal(lchown(path, (uid_t)-1, (gid_t)gid), 0);
}

static long real_own_group(void)
{
    return (long)getegid();
}

static long fake_own_group(void)
{
    return fake.gid;
}

static void real_set_umask(unsigned mask)
{
    (void)umask((mode_t)mask);
}

static void fake_set_umask(unsigned mask)
{
    fake.umask = mask;
}

/* What threads tell one another, for every compiler. */
static pthread_mutex_t told_lock = PTHREAD_MUTEX_INITIALIZER;

static void tell(int *what, int value)
{
    (void)pthread_mutex_lock(&told_lock);
    *what = value;
    (void)pthread_mutex_unlock(&told_lock);
}

static int is_told(const int *what)
{
    int value;
    (void)pthread_mutex_lock(&told_lock);
    value = *what;
    (void)pthread_mutex_unlock(&told_lock);
    return value;
}

/* Threads that sleep in an epoll set, each in one of its own. */
static struct dozer {
    pthread_t thread;
    int epoll, tid, awake; /* epoll: 0: none */
} dozers[4];

static void *sleep_in(void *what)
{
    struct dozer *d = (struct dozer *)what;
    struct epoll_event event;
    tell(&d->tid, (int)syscall(SYS_gettid));
    (void)epoll_wait(d->epoll, &event, 1, 10000);
    tell(&d->awake, 1);
    return NULL;
}

static struct dozer *dozer_in(int epoll)
{
    struct dozer *d = dozers;
    while (d->epoll != epoll) d++;
    return d;
}

static void a_moment(void)
{
    (void)poll(NULL, 0, 1);
}

/* proc(5): the state of a thread, behind its name in brackets. */
static int sleeps(int tid)
{
    char path[64], line[128];
    size_t size;
    FILE *f;
    const char *end;
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    f = fopen(path, "r");
    if (!f) return 0;
    size = fread(line, 1, sizeof line - 1, f);
    (void)fclose(f);
    line[size] = '\0';
    end = strrchr(line, ')');
    return end && end[1] == ' ' && end[2] == 'S';
}

static void real_doze(int epoll)
{
    struct dozer *d = dozer_in(0);
    int i;
    d->awake = d->tid = 0;
    d->epoll = epoll;
    assert_int_equal(pthread_create(&d->thread, NULL, sleep_in, d), 0);
    for (i = 0; i < 1000 && !is_told(&d->tid); i++) a_moment();
    for (; i < 1000 && !sleeps(d->tid); i++) a_moment();
    a_moment();
    assert_true(i < 1000);
}

static int real_dozes(int epoll)
{
    a_moment();
    return !is_told(&dozer_in(epoll)->awake);
}

static int real_woken(int epoll)
{
    struct dozer *d = dozer_in(epoll);
    int i;
    for (i = 0; i < 1000 && !is_told(&d->awake); i++) a_moment();
    if (i == 1000) return 0;
    d->epoll = 0;
    return !pthread_join(d->thread, NULL);
}

static int fake_woken(int epoll)
{
    return !fake_dozes(epoll);
}

/* One after the other, to the thread that asks for them, so that one of them finds it asleep. */
static pthread_t sender, asking;
static int sending;

static void *keep_sending(void *unused)
{
    (void)unused;
    while (is_told(&sending)) {
        a_moment();
        (void)pthread_kill(asking, SIGUSR1);
    }
    return NULL;
}

static void take_signal(int which)
{
    (void)which;
}

static void real_send_signals(int on)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = take_signal;
    action.sa_flags = SA_RESTART; /* signal(7): of no use to poll and epoll_wait */
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    if (on == sending) return;
    asking = pthread_self();
    tell(&sending, on);
    assert_int_equal(on ? pthread_create(&sender, NULL, keep_sending, NULL) : pthread_join(sender, NULL), 0);
}

static int a_signal_comes(void *user)
{
    (void)user;
    fake_interrupt();
    return 1;
}

static void fake_send_signals(int on)
{
    fake.world = on ? a_signal_comes : NULL;
}

/* Who still sleeps is woken by an event of its own. */
static void rouse_all(void)
{
    struct dozer *d;
    struct epoll_event event = {EPOLLIN, {0}};
    for (d = dozers; d < dozers + sizeof dozers / sizeof dozers[0]; d++) {
        int bell = d->epoll ? eventfd(1, 0) : -1;
        if (!d->epoll) continue;
        (void)epoll_ctl(d->epoll, EPOLL_CTL_ADD, bell, &event);
        (void)pthread_join(d->thread, NULL);
        (void)close(bell);
        d->epoll = 0;
    }
}

/* getrlimit(2): the limit is one more than the highest number that may be given out. */
static void real_close_to_new_descriptors(int closed)
{
    static struct rlimit before;
    struct rlimit now;
    if (closed) {
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        now = before;
        now.rlim_cur = 0;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
    } else if (before.rlim_max) {
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    }
}

static void fake_close_to_new_descriptors(int closed)
{
    fake.descriptors_max = closed ? 0 : 64;
}

#define real_accept accept
#define real_accept4 accept4
#define real_bind bind
#define real_clock_gettime clock_gettime
#define real_close close
#define real_connect connect
#define real_epoll_create1 epoll_create1
#define real_epoll_ctl epoll_ctl
#define real_epoll_wait epoll_wait
#define real_eventfd eventfd
#define real_fchmod fchmod
#define real_fchmodat fchmodat
#define real_flock flock
#define real_fstatat fstatat
#define real_geteuid geteuid
#define real_getpid getpid
#define real_getsockname getsockname
#define real_getsockopt getsockopt
#define real_linkat linkat
#define real_listen listen
#define real_pipe pipe
#define real_pipe2 pipe2
#define real_poll poll
#define real_read read
#define real_recv recv
#define real_renameat renameat
#define real_send send
#define real_setsockopt setsockopt
#define real_shutdown shutdown
#define real_socket socket
#define real_unlinkat unlinkat
#define real_write write

#ifdef __GLIBC__
#define real_renameat2 renameat2
#else /* not every libc has it */
static int real_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned int how)
{
    return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, how);
}
#endif

static const kernel the_fake = {0,
#define KERNEL_X(result, name, arguments) fake_##name,
                                KERNEL_CALLS(KERNEL_X) KERNEL_SETTINGS(KERNEL_X)
#undef KERNEL_X
};
static const kernel the_real = {1,
#define KERNEL_X(result, name, arguments) real_##name,
                                KERNEL_CALLS(KERNEL_X) KERNEL_SETTINGS(KERNEL_X)
#undef KERNEL_X
};

/* ---- what the facts have in common ------------------------------------------------------------------------------- */

/* Evaluates the call once; it must fail with that errno. */
#define FAILS(call, os_error)                                                                                          \
    do {                                                                                                               \
        long long result_;                                                                                             \
        errno = 0;                                                                                                     \
        result_ = (long long)(call);                                                                                   \
        if (result_ != -1 || errno != (os_error))                                                                      \
            fail_msg("%s: %lld, %s instead of %s", #call, result_, strerror(errno), #os_error);                        \
    } while (0)
#define GIVES(call, result)                                                                                            \
    do {                                                                                                               \
        long long result_ = (long long)(call);                                                                         \
        if (result_ != (long long)(result))                                                                            \
            fail_msg("%s: %lld (%s) instead of %s", #call, result_, strerror(errno), #result);                         \
    } while (0)
#define WORKS(call) GIVES(call, 0)

static int mine(int fd)
{
    if (fd < 0) fail_msg("no descriptor: %s", strerror(errno));
    assert_true(opened_count < 64);
    opened[opened_count++] = fd;
    return fd;
}

static void leave(int fd)
{
    int i;
    for (i = 0; i < opened_count; i++)
        if (opened[i] == fd) opened[i] = -1;
    WORKS(k->close(fd));
}

/* A path in the folder; the last eight stay valid. */
static const char *in(const char *name)
{
    static char paths[8][300];
    static int next;
    next = (next + 1) % 8;
    (void)snprintf(paths[next], sizeof paths[0], "%s/%s", folder, name);
    return paths[next];
}

static int new_socket(int type)
{
    return mine(k->socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

static socklen_t address_of(struct sockaddr_un *address, const char *path)
{
    size_t size = strlen(path);
    assert_true(size < sizeof address->sun_path);
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, size);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + 1);
}

static int bind_to(int fd, const char *path)
{
    struct sockaddr_un address;
    socklen_t size = address_of(&address, path);
    return k->bind(fd, (const struct sockaddr *)&address, size);
}

static int connect_to(int fd, const char *path)
{
    struct sockaddr_un address;
    socklen_t size = address_of(&address, path);
    return k->connect(fd, (const struct sockaddr *)&address, size);
}

static int bound(int type, const char *path)
{
    int fd = new_socket(type);
    WORKS(bind_to(fd, path));
    return fd;
}

static int listening(const char *path, int backlog)
{
    int fd = bound(SOCK_STREAM, path);
    WORKS(k->listen(fd, backlog));
    return fd;
}

static int connected(const char *path)
{
    int fd = new_socket(SOCK_STREAM);
    WORKS(connect_to(fd, path));
    return fd;
}

static int accepted(int listener)
{
    return mine(k->accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

/* Two ends of one connection. */
static void pair(int *a, int *b)
{
    int listener = listening(in("pair"), 1);
    *a = connected(in("pair"));
    *b = accepted(listener);
    leave(listener);
    WORKS(k->unlinkat(AT_FDCWD, in("pair"), 0));
}

static void put_stale(const char *path)
{
    leave(bound(SOCK_STREAM, path));
}

static int poll_for(int fd, int events)
{
    struct pollfd p;
    int n;
    p.fd = fd;
    p.events = (short)events;
    p.revents = 0x7fff;
    n = k->poll(&p, 1, 0);
    assert_int_equal(n, p.revents != 0);
    return p.revents;
}

enum { ALL = POLLIN | POLLOUT | POLLRDHUP };

static void send_text(int fd, const char *text)
{
    GIVES(k->send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void expect_text(int fd, const char *text)
{
    char bytes[64];
    size_t size = strlen(text);
    GIVES(k->recv(fd, bytes, sizeof bytes, 0), size);
    assert_memory_equal(bytes, text, size);
}

static long receive_some(int fd)
{
    char bytes[64];
    return (long)k->recv(fd, bytes, sizeof bytes, 0);
}

/* Sends until the window is full; how much went. */
static size_t fill(int fd)
{
    static const char bytes[100000];
    size_t total = 0;
    long n;
    do {
        n = (long)k->send(fd, bytes, sizeof bytes, MSG_NOSIGNAL);
        if (n > 0) total += (size_t)n;
    } while (n > 0);
    assert_int_equal(errno, EAGAIN);
    return total;
}

static void drain(int fd, size_t total)
{
    static char bytes[100000];
    long n;
    for (; total; total -= (size_t)n) {
        n = (long)k->recv(fd, bytes, total < sizeof bytes ? total : sizeof bytes, 0);
        assert_true(n > 0);
    }
}

static struct stat stat_of(const char *path)
{
    struct stat st;
    memset(&st, 0, sizeof st);
    WORKS(k->fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW));
    return st;
}

static unsigned mode_of(const char *path)
{
    return (unsigned)stat_of(path).st_mode & 0777;
}

static int option(int fd, int name)
{
    int value = -1;
    socklen_t size = sizeof value;
    WORKS(k->getsockopt(fd, SOL_SOCKET, name, &value, &size));
    assert_int_equal(size, sizeof value);
    return value;
}

static int folder_fd(int flags)
{
    return mine(k->open(folder, O_DIRECTORY | O_CLOEXEC | flags));
}

static int new_epoll(void)
{
    return mine(k->epoll_create1(EPOLL_CLOEXEC));
}

static int control(int epoll, int what, int fd, uint32_t events)
{
    struct epoll_event event;
    memset(&event, 0, sizeof event);
    event.events = events;
    event.data.fd = fd;
    return k->epoll_ctl(epoll, what, fd, &event);
}

/* The events of the one descriptor that is ready; 0: none is. */
static uint32_t wait_one(int epoll, int *fd)
{
    struct epoll_event event;
    int n = k->epoll_wait(epoll, &event, 1, 0);
    assert_in_range(n, 0, 1);
    if (fd) *fd = n ? event.data.fd : -1;
    return n ? event.events : 0;
}

/* ---- facts: addresses and paths (unix(7), connect(2), bind(2)) --------------------------------------------------- */

static void connect_to_nothing(void)
{
    FAILS(connect_to(new_socket(SOCK_STREAM), in("nothing")), ENOENT);
    FAILS(connect_to(new_socket(SOCK_STREAM), in("nothing/below")), ENOENT);
    k->put_file(in("file"));
    FAILS(connect_to(new_socket(SOCK_STREAM), in("file/below")), ENOTDIR);
}

static void connect_to_what_is_no_socket(void)
{
    int fd = new_socket(SOCK_STREAM);
    k->put_file(in("file"));
    k->put_dir(in("dir"));
    k->put_fifo(in("fifo"));
    k->set_mode(in("file"), 0777);
    k->set_mode(in("fifo"), 0777);
    FAILS(connect_to(fd, in("file")), ECONNREFUSED);
    FAILS(connect_to(fd, in("dir")), ECONNREFUSED);
    FAILS(connect_to(fd, in("fifo")), ECONNREFUSED);
}

static void connect_to_stale(void)
{
    put_stale(in("stale"));
    FAILS(connect_to(new_socket(SOCK_STREAM), in("stale")), ECONNREFUSED);
    FAILS(connect_to(new_socket(SOCK_DGRAM), in("stale")), ECONNREFUSED);
}

static void bound_but_not_listening(void)
{
    (void)bound(SOCK_STREAM, in("sock"));
    FAILS(connect_to(new_socket(SOCK_STREAM), in("sock")), ECONNREFUSED);
    FAILS(connect_to(new_socket(SOCK_DGRAM), in("sock")), EPROTOTYPE);
}

static void probe_takes_no_place(void)
{
    int listener = listening(in("sock"), 0), i;
    for (i = 0; i < 5; i++) FAILS(connect_to(new_socket(SOCK_DGRAM), in("sock")), EPROTOTYPE);
    FAILS(k->accept4(listener, NULL, NULL, SOCK_NONBLOCK), EAGAIN);
    (void)connected(in("sock"));
    FAILS(connect_to(new_socket(SOCK_DGRAM), in("sock")), EPROTOTYPE); /* with the backlog full, too */
}

static void probe_sees_draining(void)
{
    int listener = listening(in("sock"), 4);
    WORKS(k->shutdown(listener, SHUT_RD));
    FAILS(connect_to(new_socket(SOCK_STREAM), in("sock")), ECONNREFUSED);
    FAILS(connect_to(new_socket(SOCK_DGRAM), in("sock")), EPROTOTYPE);
}

static void datagram_server(void)
{
    int probe = new_socket(SOCK_DGRAM);
    (void)bound(SOCK_DGRAM, in("sock"));
    WORKS(connect_to(probe, in("sock")));
    FAILS(connect_to(new_socket(SOCK_STREAM), in("sock")), EPROTOTYPE);
}

static void connect_follows_links(void)
{
    (void)listening(in("sock"), 4);
    k->put_link(in("link"), "sock");
    k->put_link(in("link2"), in("link"));
    k->put_link(in("dangling"), "nothing");
    k->put_link(in("loop"), "loop");
    (void)connected(in("link"));
    (void)connected(in("link2"));
    FAILS(connect_to(new_socket(SOCK_STREAM), in("dangling")), ENOENT);
    FAILS(connect_to(new_socket(SOCK_STREAM), in("loop")), ELOOP);
}

static void links_on_the_way(void)
{
    k->put_dir(in("dir"));
    k->put_link(in("way"), "dir");
    (void)listening(in("way/sock"), 4);
    (void)connected(in("dir/sock"));
    (void)connected(in("dir/../way/./sock"));
}

enum { NOBODY = 65534 };

/* Root may do everything: on the real kernel it asks as nobody. end() takes root back, after a failed test too. */
static void be_a_plain_user(void)
{
    if (k->geteuid() == 0) assert_true(!chown(folder, NOBODY, NOBODY) && !seteuid(NOBODY));
}

static void permissions(void)
{
    be_a_plain_user();
    (void)listening(in("sock"), 4);
    k->put_dir(in("dir"));
    k->set_mode(in("sock"), 0555);
    FAILS(connect_to(new_socket(SOCK_STREAM), in("sock")), EACCES);
    FAILS(connect_to(new_socket(SOCK_DGRAM), in("sock")), EACCES);
    k->set_mode(in("sock"), 0200);
    (void)connected(in("sock"));
    k->set_mode(in("dir"), 0555);
    FAILS(bind_to(new_socket(SOCK_STREAM), in("dir/sock")), EACCES);
    FAILS(k->renameat(AT_FDCWD, in("sock"), AT_FDCWD, in("dir/sock")), EACCES);
    FAILS(k->linkat(AT_FDCWD, in("sock"), AT_FDCWD, in("dir/sock"), 0), EACCES);
    k->set_mode(in("dir"), 0666);
    FAILS(bind_to(new_socket(SOCK_STREAM), in("dir/sock")), EACCES);
    FAILS(connect_to(new_socket(SOCK_STREAM), in("dir/sock")), EACCES);
    k->set_mode(in("dir"), 0300);
    FAILS(k->open(in("dir"), O_RDONLY | O_DIRECTORY | O_CLOEXEC), EACCES);
    (void)mine(k->open(in("dir"), O_PATH | O_DIRECTORY | O_CLOEXEC));
    k->set_mode(in("dir"), 0755);
}

static void no_access_to_remove(void)
{
    be_a_plain_user();
    k->put_dir(in("dir"));
    (void)bound(SOCK_STREAM, in("dir/sock"));
    k->set_mode(in("dir"), 0555);
    FAILS(k->unlinkat(AT_FDCWD, in("dir/sock"), 0), EACCES);
    k->set_mode(in("dir"), 0755);
    WORKS(k->unlinkat(AT_FDCWD, in("dir/sock"), 0));
}

/* Only root can give files away, and the real kernel is asked by whoever runs the tests. */
static int can_give_away(void)
{
    return !k->is_real || k->geteuid() == 0;
}

enum { SOMEBODY = 54321 }; /* nobody's number, and no group that we are in */

/* Somebody's folder in which everybody may write, with a file of somebody else's in it, and one of ours. */
static void put_theirs(unsigned mode, long owner)
{
    k->put_dir(in("dir"));
    k->set_mode(in("dir"), mode);
    k->put_file(in("dir/theirs"));
    k->set_owner(in("dir/theirs"), SOMEBODY);
    k->set_owner(in("dir"), owner);
    be_a_plain_user();
    (void)bound(SOCK_STREAM, in("dir/own"));
}

/* unlink(2), rename(2): in a sticky folder, as /tmp is, nobody moves or removes what is another's. */
static void sticky_folder(void)
{
    const char *theirs, *own;
    if (!can_give_away()) return;
    put_theirs(01777, SOMEBODY);
    theirs = in("dir/theirs"), own = in("dir/own");
    FAILS(k->unlinkat(AT_FDCWD, theirs, 0), EPERM);
    FAILS(k->renameat(AT_FDCWD, theirs, AT_FDCWD, in("dir/new")), EPERM);
    FAILS(k->renameat(AT_FDCWD, own, AT_FDCWD, theirs), EPERM);
    FAILS(k->renameat2(AT_FDCWD, theirs, AT_FDCWD, in("dir/new"), RENAME_NOREPLACE), EPERM);
    FAILS(k->renameat2(AT_FDCWD, own, AT_FDCWD, theirs, RENAME_NOREPLACE), EEXIST);
    FAILS(k->renameat2(AT_FDCWD, own, AT_FDCWD, theirs, RENAME_EXCHANGE), EPERM);
    FAILS(k->renameat2(AT_FDCWD, theirs, AT_FDCWD, own, RENAME_EXCHANGE), EPERM);
    FAILS(bind_to(new_socket(SOCK_STREAM), theirs), EADDRINUSE);
    assert_true(S_ISREG(stat_of(theirs).st_mode) && S_ISSOCK(stat_of(own).st_mode));
    WORKS(k->linkat(AT_FDCWD, own, AT_FDCWD, in("dir/second"), 0));
    WORKS(k->renameat(AT_FDCWD, own, AT_FDCWD, in("dir/second"))); /* two names of one: nothing to forbid */
    WORKS(k->renameat(AT_FDCWD, own, AT_FDCWD, in("dir/new")));
    WORKS(k->unlinkat(AT_FDCWD, in("dir/new"), 0));
    WORKS(k->unlinkat(AT_FDCWD, in("dir/second"), 0));
}

/* Who owns the folder may, and so may everybody where it is not sticky. */
static void sticky_folder_of_ones_own(void)
{
    if (!can_give_away()) return;
    put_theirs(01777, k->is_real ? (long)NOBODY : (long)k->geteuid());
    WORKS(k->renameat2(AT_FDCWD, in("dir/own"), AT_FDCWD, in("dir/theirs"), RENAME_EXCHANGE));
    WORKS(k->unlinkat(AT_FDCWD, in("dir/own"), 0));
}

static void folder_for_everybody(void)
{
    if (!can_give_away()) return;
    put_theirs(0777, SOMEBODY);
    WORKS(k->renameat(AT_FDCWD, in("dir/theirs"), AT_FDCWD, in("dir/new")));
    WORKS(k->unlinkat(AT_FDCWD, in("dir/new"), 0));
}

static void put_socket(const char *name, unsigned mode, long owner, long group)
{
    (void)listening(in(name), 4);
    if (owner) k->set_owner(in(name), owner);
    k->set_group(in(name), group);
    k->set_mode(in(name), mode);
}

/* path_resolution(7): the owner's bits, else the group's, else the others': the first that fit, though the next say more. */
static void permissions_of_a_group(void)
{
    long us = k->own_group(), me = k->is_real ? (long)NOBODY : (long)k->geteuid();
    if (!can_give_away()) return;
    put_socket("group", 0020, SOMEBODY, us);
    put_socket("others only", 0702, SOMEBODY, us);
    put_socket("others", 0002, SOMEBODY, SOMEBODY);
    put_socket("not others", 0770, SOMEBODY, SOMEBODY);
    put_socket("not owner", 0077, me, us);
    be_a_plain_user();
    (void)connected(in("group"));
    FAILS(connect_to(new_socket(SOCK_STREAM), in("others only")), EACCES);
    (void)connected(in("others"));
    FAILS(connect_to(new_socket(SOCK_STREAM), in("not others")), EACCES);
    FAILS(connect_to(new_socket(SOCK_STREAM), in("not owner")), EACCES);
}

/* inode(7), S_ISGID: what is made in such a folder has its group. */
static void group_of_a_folder(void)
{
    if (!can_give_away()) return;
    k->put_dir(in("dir"));
    k->set_group(in("dir"), SOMEBODY);
    (void)bound(SOCK_STREAM, in("dir/plain"));
    k->set_mode(in("dir"), 02777);
    (void)bound(SOCK_STREAM, in("dir/inherits"));
    assert_int_equal(stat_of(in("dir/plain")).st_gid, k->own_group());
    assert_int_equal(stat_of(in("dir/inherits")).st_gid, SOMEBODY);
    WORKS(k->linkat(AT_FDCWD, in("dir/plain"), AT_FDCWD, in("dir/second"), 0));
    assert_int_equal(stat_of(in("dir/second")).st_gid, k->own_group());
}

/* What is there is told before what is not permitted. */
static void folder_for_nobody(void)
{
    be_a_plain_user();
    k->put_dir(in("dir"));
    k->put_file(in("dir/file"));
    (void)bound(SOCK_STREAM, in("sock"));
    k->set_mode(in("dir"), 0555);
    FAILS(k->renameat2(AT_FDCWD, in("sock"), AT_FDCWD, in("dir/file"), RENAME_NOREPLACE), EEXIST);
    FAILS(k->renameat2(AT_FDCWD, in("sock"), AT_FDCWD, in("dir/none"), RENAME_EXCHANGE), ENOENT);
    FAILS(k->renameat2(AT_FDCWD, in("sock"), AT_FDCWD, in("dir/file"), RENAME_EXCHANGE), EACCES);
    FAILS(k->unlinkat(AT_FDCWD, in("dir/none"), 0), ENOENT);
    FAILS(k->linkat(AT_FDCWD, in("sock"), AT_FDCWD, in("dir/file"), 0), EEXIST);
    k->set_mode(in("dir"), 0755);
}

static void bind_where_something_is(void)
{
    int fd = new_socket(SOCK_STREAM);
    k->put_file(in("file"));
    k->put_dir(in("dir"));
    k->put_link(in("dangling"), "nothing");
    put_stale(in("stale"));
    FAILS(bind_to(fd, in("file")), EADDRINUSE);
    FAILS(bind_to(fd, in("dir")), EADDRINUSE);
    FAILS(bind_to(fd, in("dangling")), EADDRINUSE);
    FAILS(bind_to(fd, in("stale")), EADDRINUSE);
    WORKS(bind_to(fd, in("fresh"))); /* and nothing of that made it unfit */
}

static void bind_where_nothing_can_be(void)
{
    k->put_file(in("file"));
    FAILS(bind_to(new_socket(SOCK_STREAM), in("nothing/sock")), ENOENT);
    FAILS(bind_to(new_socket(SOCK_STREAM), in("file/sock")), ENOTDIR);
}

static void bind_twice(void)
{
    FAILS(bind_to(bound(SOCK_STREAM, in("one")), in("two")), EINVAL);
    FAILS(k->fstatat(AT_FDCWD, in("two"), &(struct stat){0}, 0), ENOENT);
}

static void mode_of_a_new_socket(void)
{
    static const unsigned masks[] = {0, 022, 077}, modes[] = {0600, 0660, 0666, 0777};
    char name[32];
    size_t i, m;
    for (i = 0; i < 3; i++) {
        for (m = 0; m < 4; m++) {
            int fd = new_socket(SOCK_STREAM);
            (void)snprintf(name, sizeof name, "sock%u-%u", (unsigned)i, (unsigned)m);
            if (modes[m] != 0777) WORKS(k->fchmod(fd, (mode_t)modes[m]));
            k->set_umask(masks[i]);
            WORKS(bind_to(fd, in(name)));
            k->set_umask(022);
            assert_int_equal(mode_of(in(name)), modes[m] & ~masks[i]);
        }
    }
    assert_true(S_ISSOCK(stat_of(in("sock0-0")).st_mode));
}

/* The sticky bit is the mark of a claim: it comes to the file whatever the umask, and fchmodat takes it away. */
static void the_sticky_bit_of_a_new_socket(void)
{
    static const unsigned masks[] = {0, 022, 077, 0777};
    char name[32];
    size_t i;
    for (i = 0; i < 4; i++) {
        int fd = new_socket(SOCK_STREAM);
        (void)snprintf(name, sizeof name, "sock%u", (unsigned)i);
        WORKS(k->fchmod(fd, 01660));
        k->set_umask(masks[i]);
        WORKS(bind_to(fd, in(name)));
        k->set_umask(022);
        assert_int_equal(stat_of(in(name)).st_mode & 07777, 01000 | (0660 & ~masks[i]));
        WORKS(k->fchmodat(AT_FDCWD, in(name), 0660, 0));
        assert_int_equal(stat_of(in(name)).st_mode & 07777, 0660);
    }
}

/* O_PATH holds a file whatever becomes of its name, and its link in /proc leads to that file alone. */
static void an_open_path_leads_to_its_file(void)
{
    char link[64];
    struct stat before, now;
    int fd;
    (void)bound(SOCK_STREAM, in("sock"));
    before = stat_of(in("sock"));
    fd = mine(k->open(in("sock"), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    WORKS(k->fstatat(AT_FDCWD, link, &now, 0));
    assert_true(now.st_ino == before.st_ino && now.st_dev == before.st_dev);
    WORKS(k->fchmodat(AT_FDCWD, link, 0600, 0));
    assert_int_equal(mode_of(in("sock")), 0600);
    WORKS(k->unlinkat(AT_FDCWD, in("sock"), 0));
    (void)bound(SOCK_STREAM, in("sock"));
    WORKS(k->fchmodat(AT_FDCWD, link, 0640, 0));
    assert_int_equal(mode_of(in("sock")), 0755); /* the file that has the name now is another */
    WORKS(k->fstatat(AT_FDCWD, link, &now, 0));
    assert_true(now.st_ino == before.st_ino);
}

/* The name is looked up before the rename is: a call that is offered says ENOENT. */
static void renames_of_no_name(void)
{
    int fd;
    k->put_dir(in("dir"));
    fd = mine(k->open(in("dir"), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    FAILS(k->renameat2(fd, "", fd, "", RENAME_NOREPLACE), ENOENT);
    FAILS(k->renameat2(fd, "", fd, "", RENAME_EXCHANGE), ENOENT);
    FAILS(k->renameat(fd, "", fd, ""), ENOENT);
}

static void accept_of_no_descriptor(void)
{
    FAILS(k->accept4(-1, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), EBADF);
    FAILS(k->accept(-1, NULL, NULL), EBADF);
}

static void duplicates_of_a_descriptor(void)
{
    struct stat st;
    int fd, high;
    k->put_dir(in("dir"));
    k->put_file(in("dir/file"));
    fd = mine(k->open(in("dir"), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    high = mine(k->fcntl(fd, F_DUPFD_CLOEXEC, 20));
    assert_true(high >= 20);
    assert_int_equal(k->fcntl(high, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    WORKS(k->close(fd));
    opened[opened_count - 2] = -1;
    WORKS(k->fstatat(high, "file", &st, 0)); /* closing the one does not close the other */
    FAILS(k->fcntl(-1, F_DUPFD_CLOEXEC, 3), EBADF);
}

static void fchmod_after_bind_is_too_late(void)
{
    int fd = bound(SOCK_STREAM, in("sock"));
    WORKS(k->fchmod(fd, 0600));
    assert_int_equal(mode_of(in("sock")), 0755);
}

/* A name of exactly that many bytes, without the folder. */
static const char *long_name(size_t size)
{
    static char name[256];
    assert_true(size < sizeof name);
    memset(name, 'x', size);
    name[size] = '\0';
    return name;
}

static void path_of_108_bytes(void)
{
    struct sockaddr_un address;
    size_t room = sizeof address.sun_path - strlen(folder) - 1;
    int fd = new_socket(SOCK_STREAM);
    const char *path = in(long_name(room));
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, path, sizeof address.sun_path); /* no NUL fits, and none is needed */
    WORKS(k->bind(fd, (const struct sockaddr *)&address, sizeof address));
    WORKS(k->listen(fd, 1));
    assert_true(S_ISSOCK(stat_of(path).st_mode));
    WORKS(k->connect(new_socket(SOCK_STREAM), (const struct sockaddr *)&address, sizeof address));
}

static void path_ends_at_a_nul_or_at_the_size(void)
{
    struct sockaddr_un address;
    socklen_t size = address_of(&address, in("sock"));
    memset(address.sun_path + strlen(address.sun_path) + 1, 'x', 4); /* behind the NUL: not looked at */
    WORKS(k->bind(new_socket(SOCK_STREAM), (const struct sockaddr *)&address, size + 4));
    assert_true(S_ISSOCK(stat_of(in("sock")).st_mode));
    WORKS(k->bind(new_socket(SOCK_STREAM), (const struct sockaddr *)&address, size - 3)); /* "so": cut, no NUL */
    assert_true(S_ISSOCK(stat_of(in("so")).st_mode));
}

static void sizes_that_are_none(void)
{
    struct {
        struct sockaddr_un address;
        char more[8];
    } big;
    int fd = new_socket(SOCK_STREAM);
    memset(&big, 0, sizeof big);
    (void)address_of(&big.address, in("sock"));
    FAILS(k->bind(fd, (const struct sockaddr *)&big, sizeof big.address + 1), EINVAL);
    FAILS(k->connect(fd, (const struct sockaddr *)&big, sizeof big.address + 1), EINVAL);
    FAILS(k->connect(fd, (const struct sockaddr *)&big, offsetof(struct sockaddr_un, sun_path)), EINVAL);
    big.address.sun_family = AF_INET;
    FAILS(k->connect(fd, (const struct sockaddr *)&big, sizeof big.address), EINVAL);
    FAILS(k->bind(fd, (const struct sockaddr *)&big, sizeof big.address), EINVAL);
}

static void path_through_a_descriptor(void)
{
    struct stat st;
    char path[64];
    int dir = folder_fd(O_PATH), file;
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d/sock", dir);
    (void)listening(path, 2);
    (void)connected(path);
    (void)connected(in("sock"));
    WORKS(k->fstatat(dir, "sock", &st, AT_SYMLINK_NOFOLLOW));
    assert_true(st.st_ino == stat_of(in("sock")).st_ino && st.st_dev == stat_of(in("sock")).st_dev);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d/sock", 1000);
    FAILS(connect_to(new_socket(SOCK_STREAM), path), ENOENT);
    file = new_socket(SOCK_STREAM);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d/sock", file);
    FAILS(connect_to(file, path), ENOTDIR);
}

static void descriptor_of_no_folder(void)
{
    struct stat st;
    int fd = new_socket(SOCK_STREAM);
    FAILS(k->fstatat(fd, "sock", &st, 0), ENOTDIR);
    FAILS(k->unlinkat(fd, "sock", 0), ENOTDIR);
    WORKS(k->fstatat(fd, in("."), &st, 0)); /* of an absolute path the folder is not asked */
    assert_true(S_ISDIR(st.st_mode));
}

static void names_are_at_most_255_bytes(void)
{
    struct stat st;
    char name[300];
    int dir = folder_fd(0);
    memset(name, 'x', sizeof name);
    name[256] = '\0';
    FAILS(k->fstatat(dir, name, &st, 0), ENAMETOOLONG);
    name[255] = '\0';
    FAILS(k->fstatat(dir, name, &st, 0), ENOENT);
    FAILS(k->fstatat(dir, "", &st, 0), ENOENT);
}

/* path_resolution(7): the whole path has 4095 bytes at most, whatever is in it, and wherever it begins. */
static void paths_are_at_most_4095_bytes(void)
{
    static char path[8000];
    struct stat st;
    size_t size = strlen(folder);
    memset(path, '/', sizeof path);
    memcpy(path, folder, size);
    path[4095] = '\0';
    WORKS(k->fstatat(AT_FDCWD, path, &st, 0));
    path[4095] = '/';
    path[4096] = '\0';
    FAILS(k->fstatat(AT_FDCWD, path, &st, 0), ENAMETOOLONG);
    FAILS(k->open(path, O_DIRECTORY | O_CLOEXEC), ENAMETOOLONG);
    FAILS(k->unlinkat(AT_FDCWD, path, 0), ENAMETOOLONG);
    FAILS(k->renameat(AT_FDCWD, in("none"), AT_FDCWD, path), ENAMETOOLONG);
    memset(path + size + 1, 'x', 256); /* a name is too long in the middle, too */
    path[size + 300] = '\0';
    FAILS(k->open(path, O_DIRECTORY | O_CLOEXEC), ENAMETOOLONG);
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    FAILS(k->fstatat(1000, path, &st, 0), ENAMETOOLONG); /* before the descriptor is looked at */
}

/* 40 links are followed, however they are met; "self" and the descriptor below /proc are two. lstat does not follow. */
static void forty_links(void)
{
    struct stat st;
    char target[16], name[64];
    int dir = folder_fd(O_PATH), i;
    (void)strcpy(target, ".");
    for (i = 1; i <= 41; i++) {
        (void)snprintf(name, sizeof name, "link%d", i);
        k->put_link(in(name), target);
        (void)snprintf(target, sizeof target, "link%d", i);
    }
    WORKS(k->fstatat(dir, "link40", &st, 0));
    assert_true(S_ISDIR(st.st_mode));
    FAILS(k->fstatat(dir, "link41", &st, 0), ELOOP);
    WORKS(k->fstatat(dir, "link41", &st, AT_SYMLINK_NOFOLLOW));
    FAILS(k->fstatat(dir, "link41/", &st, AT_SYMLINK_NOFOLLOW), ELOOP);
    WORKS(k->fstatat(dir, "link20/link20/link1", &st, AT_SYMLINK_NOFOLLOW));
    FAILS(k->fstatat(dir, "link20/link20/link1", &st, 0), ELOOP);
    (void)snprintf(name, sizeof name, "/proc/self/fd/%d/link38", dir);
    WORKS(k->fstatat(AT_FDCWD, name, &st, 0));
    (void)snprintf(name, sizeof name, "/proc/self/fd/%d/link39", dir);
    FAILS(k->fstatat(AT_FDCWD, name, &st, 0), ELOOP);
}

/* What ends in a slash, or is a dot, is a folder. */
static void slashes_and_dots(void)
{
    struct stat st;
    k->put_file(in("file"));
    k->put_dir(in("dir"));
    k->put_link(in("link"), "dir");
    FAILS(k->fstatat(AT_FDCWD, in("file/"), &st, 0), ENOTDIR);
    FAILS(k->unlinkat(AT_FDCWD, in("file/"), 0), ENOTDIR);
    WORKS(k->fstatat(AT_FDCWD, in("link/"), &st, AT_SYMLINK_NOFOLLOW));
    assert_true(S_ISDIR(st.st_mode));
    WORKS(k->fstatat(AT_FDCWD, in("link//.//..///file"), &st, 0));
    FAILS(k->unlinkat(AT_FDCWD, in("."), 0), EISDIR);
    FAILS(bind_to(new_socket(SOCK_STREAM), in("dir/.")), EADDRINUSE);
    FAILS(k->renameat(AT_FDCWD, in("file"), AT_FDCWD, in(".")), EBUSY);
    FAILS(k->renameat(AT_FDCWD, in("."), AT_FDCWD, in("new")), EBUSY);
    FAILS(k->renameat2(AT_FDCWD, in("file"), AT_FDCWD, in("."), RENAME_NOREPLACE), EEXIST);
    FAILS(k->renameat2(AT_FDCWD, in("file"), AT_FDCWD, in("."), RENAME_EXCHANGE), EBUSY);
    FAILS(k->linkat(AT_FDCWD, in("file"), AT_FDCWD, in("."), 0), EEXIST);
}

static void stat_follows_or_not(void)
{
    struct stat st;
    k->put_file(in("file"));
    k->put_fifo(in("fifo"));
    k->put_link(in("link"), "file");
    k->put_link(in("dangling"), "nothing");
    WORKS(k->fstatat(AT_FDCWD, in("link"), &st, 0));
    assert_true(S_ISREG(st.st_mode));
    assert_true(S_ISLNK(stat_of(in("link")).st_mode));
    assert_true(S_ISLNK(stat_of(in("dangling")).st_mode));
    assert_true(S_ISFIFO(stat_of(in("fifo")).st_mode));
    assert_int_equal(stat_of(in("file")).st_nlink, 1);
    assert_int_equal(stat_of(in("file")).st_uid, k->geteuid());
    FAILS(k->fstatat(AT_FDCWD, in("dangling"), &st, 0), ENOENT);
}

/* The number of an inode that somebody is bound to stays taken, with or without a name. */
static void inode_of_an_open_socket_is_not_reused(void)
{
    ino_t was;
    (void)bound(SOCK_STREAM, in("one"));
    was = stat_of(in("one")).st_ino;
    WORKS(k->unlinkat(AT_FDCWD, in("one"), 0));
    (void)bound(SOCK_STREAM, in("two"));
    assert_true(stat_of(in("two")).st_ino != was);
}

static void renamed_socket_is_found(void)
{
    struct sockaddr_un name;
    socklen_t size = sizeof name;
    int listener = listening(in("sock~"), 4);
    WORKS(k->renameat2(AT_FDCWD, in("sock~"), AT_FDCWD, in("sock"), RENAME_NOREPLACE));
    (void)connected(in("sock"));
    FAILS(connect_to(new_socket(SOCK_STREAM), in("sock~")), ENOENT);
    memset(&name, 0, sizeof name);
    WORKS(k->getsockname(listener, (struct sockaddr *)&name, &size)); /* the name it was bound to, for life */
    assert_string_equal(name.sun_path, in("sock~"));
    assert_int_equal(size, offsetof(struct sockaddr_un, sun_path) + strlen(name.sun_path) + 1);
}

static void name_of_the_unnamed(void)
{
    struct sockaddr_un name;
    socklen_t size = sizeof name;
    WORKS(k->getsockname(new_socket(SOCK_STREAM), (struct sockaddr *)&name, &size));
    assert_int_equal(size, offsetof(struct sockaddr_un, sun_path));
    assert_int_equal(name.sun_family, AF_UNIX);
}

static void rename_without_replacing(void)
{
    (void)bound(SOCK_STREAM, in("one"));
    put_stale(in("two"));
    FAILS(k->renameat2(AT_FDCWD, in("one"), AT_FDCWD, in("two"), RENAME_NOREPLACE), EEXIST);
    FAILS(k->renameat2(AT_FDCWD, in("none"), AT_FDCWD, in("three"), RENAME_NOREPLACE), ENOENT);
    FAILS(k->renameat2(AT_FDCWD, in("one"), AT_FDCWD, in("two"), RENAME_NOREPLACE | RENAME_EXCHANGE), EINVAL);
    k->put_link(in("dangling"), "nothing");
    FAILS(k->renameat2(AT_FDCWD, in("one"), AT_FDCWD, in("dangling"), RENAME_NOREPLACE), EEXIST);
}

static void exchange(void)
{
    ino_t one, two;
    (void)listening(in("one"), 4);
    put_stale(in("two"));
    one = stat_of(in("one")).st_ino;
    two = stat_of(in("two")).st_ino;
    WORKS(k->renameat2(AT_FDCWD, in("one"), AT_FDCWD, in("two"), RENAME_EXCHANGE));
    assert_true(stat_of(in("one")).st_ino == two && stat_of(in("two")).st_ino == one);
    (void)connected(in("two"));
    FAILS(connect_to(new_socket(SOCK_STREAM), in("one")), ECONNREFUSED);
    FAILS(k->renameat2(AT_FDCWD, in("one"), AT_FDCWD, in("none"), RENAME_EXCHANGE), ENOENT);
    FAILS(k->renameat2(AT_FDCWD, in("none"), AT_FDCWD, in("one"), RENAME_EXCHANGE), ENOENT);
}

static void rename_replaces(void)
{
    struct stat st;
    put_stale(in("sock"));
    (void)listening(in("sock~"), 4);
    WORKS(k->renameat(AT_FDCWD, in("sock~"), AT_FDCWD, in("sock")));
    (void)connected(in("sock"));
    FAILS(k->fstatat(AT_FDCWD, in("sock~"), &st, 0), ENOENT);
    k->put_dir(in("dir"));
    FAILS(k->renameat(AT_FDCWD, in("sock"), AT_FDCWD, in("dir")), EISDIR);
    FAILS(k->renameat(AT_FDCWD, in("dir"), AT_FDCWD, in("sock")), ENOTDIR);
    FAILS(k->renameat(AT_FDCWD, in("none"), AT_FDCWD, in("sock")), ENOENT);
}

/* rename(2), link(2): neither leads to another device, whatever is there. Numbers are a device's own. */
static void another_device(void)
{
    const char *there = k->put_elsewhere();
    char path[80], below[80];
    if (!there) return;
    (void)snprintf(path, sizeof path, "%s/sock", there);
    (void)snprintf(below, sizeof below, "%s/file", there);
    (void)listening(path, 4);
    k->put_file(below);
    (void)connected(path);
    k->put_file(in("file"));
    assert_true(stat_of(path).st_dev != stat_of(in("file")).st_dev);
    assert_true(stat_of(path).st_dev == stat_of(there).st_dev);
    FAILS(k->renameat(AT_FDCWD, in("file"), AT_FDCWD, path), EXDEV);
    FAILS(k->renameat(AT_FDCWD, in("none"), AT_FDCWD, path), EXDEV);
    FAILS(k->renameat2(AT_FDCWD, in("file"), AT_FDCWD, path, RENAME_NOREPLACE), EXDEV);
    FAILS(k->renameat2(AT_FDCWD, in("file"), AT_FDCWD, path, RENAME_EXCHANGE), EXDEV);
    FAILS(k->linkat(AT_FDCWD, in("file"), AT_FDCWD, path, 0), EEXIST);
    FAILS(k->linkat(AT_FDCWD, in("none"), AT_FDCWD, path, 0), ENOENT);
    WORKS(k->unlinkat(AT_FDCWD, path, 0));
    FAILS(k->linkat(AT_FDCWD, in("file"), AT_FDCWD, path, 0), EXDEV);
    WORKS(k->renameat(AT_FDCWD, below, AT_FDCWD, path)); /* within the device */
}

/* rename(2): two names of one file: nothing happens, and that is a success. */
static void rename_of_two_names_of_one(void)
{
    (void)bound(SOCK_STREAM, in("one"));
    WORKS(k->linkat(AT_FDCWD, in("one"), AT_FDCWD, in("two"), 0));
    WORKS(k->renameat(AT_FDCWD, in("one"), AT_FDCWD, in("two")));
    assert_true(stat_of(in("one")).st_ino == stat_of(in("two")).st_ino);
}

static void second_name(void)
{
    (void)listening(in("one"), 4);
    put_stale(in("stale"));
    FAILS(k->linkat(AT_FDCWD, in("one"), AT_FDCWD, in("stale"), 0), EEXIST);
    FAILS(k->linkat(AT_FDCWD, in("none"), AT_FDCWD, in("two"), 0), ENOENT);
    WORKS(k->linkat(AT_FDCWD, in("one"), AT_FDCWD, in("two"), 0));
    assert_int_equal(stat_of(in("one")).st_nlink, 2);
    (void)connected(in("two"));
    WORKS(k->unlinkat(AT_FDCWD, in("one"), 0));
    (void)connected(in("two"));
    k->put_dir(in("dir"));
    FAILS(k->linkat(AT_FDCWD, in("dir"), AT_FDCWD, in("dir2"), 0), EPERM);
}

static void unlink_takes_the_name_only(void)
{
    int listener = listening(in("sock"), 4), client = connected(in("sock")), server;
    WORKS(k->unlinkat(AT_FDCWD, in("sock"), 0));
    FAILS(connect_to(new_socket(SOCK_STREAM), in("sock")), ENOENT);
    FAILS(k->unlinkat(AT_FDCWD, in("sock"), 0), ENOENT);
    server = accepted(listener);
    send_text(client, "still");
    expect_text(server, "still");
    k->put_dir(in("dir"));
    FAILS(k->unlinkat(AT_FDCWD, in("dir"), 0), EISDIR);
    k->put_link(in("link"), "dir");
    WORKS(k->unlinkat(AT_FDCWD, in("link"), 0)); /* the link, not where it leads */
    assert_true(S_ISDIR(stat_of(in("dir")).st_mode));
}

static void change_of_mode(void)
{
    (void)bound(SOCK_STREAM, in("sock"));
    /* glibc before 2.32 has it for no file at all */
    if (k->fchmodat(AT_FDCWD, in("sock"), 0640, AT_SYMLINK_NOFOLLOW) && errno == EOPNOTSUPP && k->is_real) return;
    WORKS(k->fchmodat(AT_FDCWD, in("sock"), 0640, AT_SYMLINK_NOFOLLOW));
    assert_int_equal(mode_of(in("sock")), 0640);
    k->put_link(in("link"), "sock");
    FAILS(k->fchmodat(AT_FDCWD, in("link"), 0666, AT_SYMLINK_NOFOLLOW), EOPNOTSUPP);
    assert_int_equal(mode_of(in("sock")), 0640);
    FAILS(k->fchmodat(AT_FDCWD, in("none"), 0600, AT_SYMLINK_NOFOLLOW), ENOENT);
}

/* flock(2): a lock is the open file description's; whoever opens the folder again is somebody else. */
static void lock_on_a_folder(void)
{
    int one = folder_fd(O_RDONLY), two = folder_fd(O_RDONLY), path_only = folder_fd(O_PATH);
    WORKS(k->flock(one, LOCK_EX | LOCK_NB));
    WORKS(k->flock(one, LOCK_EX | LOCK_NB));
    FAILS(k->flock(two, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    WORKS(k->flock(one, LOCK_UN));
    WORKS(k->flock(two, LOCK_EX | LOCK_NB));
    FAILS(k->flock(one, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    leave(two);
    WORKS(k->flock(one, LOCK_EX | LOCK_NB));
    FAILS(k->flock(path_only, LOCK_EX | LOCK_NB), EBADF);
}

static void open_a_folder(void)
{
    k->put_file(in("file"));
    k->put_dir(in("dir"));
    k->put_link(in("link"), "dir");
    FAILS(k->open(in("none"), O_RDONLY | O_DIRECTORY | O_CLOEXEC), ENOENT);
    FAILS(k->open(in("file"), O_RDONLY | O_DIRECTORY | O_CLOEXEC), ENOTDIR);
    (void)mine(k->open(in("link"), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    FAILS(k->open(in("link"), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), ENOTDIR);
}

/* P12: the descriptor is the folder, whatever becomes of its name. */
static void folder_outlives_its_name(void)
{
    struct stat st;
    int dir;
    k->put_dir(in("dir"));
    dir = mine(k->open(in("dir"), O_PATH | O_DIRECTORY | O_CLOEXEC));
    (void)bound(SOCK_STREAM, in("dir/sock"));
    WORKS(k->renameat(AT_FDCWD, in("dir"), AT_FDCWD, in("moved")));
    WORKS(k->fstatat(dir, "sock", &st, AT_SYMLINK_NOFOLLOW));
    WORKS(k->unlinkat(dir, "sock", 0));
    FAILS(k->fstatat(AT_FDCWD, in("moved/sock"), &st, 0), ENOENT);
}

/* ---- facts: listeners (listen(2), accept(2)) --------------------------------------------------------------------- */

static void full_backlog(void)
{
    static const int backlogs[] = {0, 1, 3};
    char name[16];
    int i, n;
    for (i = 0; i < 3; i++) {
        int listener, client;
        (void)snprintf(name, sizeof name, "sock%d", i);
        listener = listening(in(name), backlogs[i]);
        for (n = 0; n <= backlogs[i]; n++) (void)connected(in(name)); /* one more than was asked for */
        client = new_socket(SOCK_STREAM);
        FAILS(connect_to(client, in(name)), EAGAIN);
        FAILS(k->send(client, "x", 1, MSG_NOSIGNAL), ENOTCONN);
        assert_int_equal(option(client, SO_ERROR), 0);
        (void)accepted(listener);
        WORKS(connect_to(client, in(name))); /* the same socket, once there is room */
    }
}

static long long now_ms(void);

/* connect(2) of a blocking socket: SO_SNDTIMEO (socket(7), unix(7)) is how long it waits for a place, and EAGAIN says that
   it got none. The socket can be used anew. */
static void waiting_for_a_place(void)
{
    int listener = listening(in("sock"), 0), client = new_socket(SOCK_STREAM);
    struct timeval t = {0, 30000};
    long long began;
    (void)connected(in("sock"));
    WORKS(k->setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t));
    began = now_ms();
    FAILS(connect_to(client, in("sock")), EAGAIN); /* it is nonblocking */
    assert_in_range(now_ms() - began, 0, 25);
    WORKS(k->fcntl(client, F_SETFL, 0));
    began = now_ms();
    FAILS(connect_to(client, in("sock")), EAGAIN);
    assert_in_range(now_ms() - began, 29, 10000);
    (void)accepted(listener);
    WORKS(connect_to(client, in("sock")));
    WORKS(k->fcntl(client, F_SETFL, O_NONBLOCK));
    FAILS(receive_some(client), EAGAIN);
    FAILS(k->setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(int)), EINVAL);
}

static void queue_is_first_come_first_served(void)
{
    int listener = listening(in("sock"), 4), a = connected(in("sock")), b = connected(in("sock"));
    send_text(b, "b");
    send_text(a, "a"); /* before anybody accepts */
    expect_text(accepted(listener), "a");
    expect_text(accepted(listener), "b");
    FAILS(k->accept4(listener, NULL, NULL, SOCK_NONBLOCK), EAGAIN);
}

static void listener_is_readable_when_somebody_waits(void)
{
    int listener = listening(in("sock"), 4);
    assert_int_equal(poll_for(listener, ALL), 0);
    (void)connected(in("sock"));
    assert_int_equal(poll_for(listener, ALL), POLLIN);
    (void)accepted(listener);
    assert_int_equal(poll_for(listener, ALL), 0);
}

static void drained_listener(void)
{
    int listener = listening(in("sock"), 4), client = connected(in("sock")), server;
    WORKS(k->shutdown(listener, SHUT_RD));
    FAILS(connect_to(new_socket(SOCK_STREAM), in("sock")), ECONNREFUSED);
    assert_int_equal(poll_for(listener, ALL), POLLIN | POLLRDHUP);
    send_text(client, "queued");
    server = accepted(listener);
    expect_text(server, "queued");
    assert_int_equal(poll_for(listener, ALL), POLLIN | POLLRDHUP); /* for ever: it must leave the poll set */
    FAILS(k->accept4(listener, NULL, NULL, SOCK_NONBLOCK), EAGAIN);
    FAILS(k->accept4(listener, NULL, NULL, SOCK_NONBLOCK), EAGAIN);
    WORKS(k->fcntl(listener, F_SETFL, 0));
    FAILS(k->accept(listener, NULL, NULL), EINVAL); /* a blocking one has nothing to wait for */
}

static void closing_a_listener_resets_the_queued(void)
{
    int listener = listening(in("sock"), 4), client = connected(in("sock")), writer = connected(in("sock"));
    send_text(writer, "lost");
    leave(listener);
    assert_int_equal(poll_for(client, POLLIN), POLLIN | POLLHUP | POLLERR);
    FAILS(receive_some(client), ECONNRESET);
    GIVES(receive_some(client), 0);
    FAILS(receive_some(writer), ECONNRESET);
    FAILS(k->send(writer, "x", 1, MSG_NOSIGNAL), EPIPE);
}

static void client_that_left_before_accept(void)
{
    int listener = listening(in("sock"), 4), client = connected(in("sock")), server;
    send_text(client, "bye");
    leave(client);
    assert_int_equal(poll_for(listener, POLLIN), POLLIN);
    server = accepted(listener);
    expect_text(server, "bye");
    GIVES(receive_some(server), 0);
    FAILS(k->send(server, "x", 1, MSG_NOSIGNAL), EPIPE);
}

static void only_a_listener_accepts(void)
{
    int a, b;
    pair(&a, &b);
    FAILS(k->accept4(new_socket(SOCK_STREAM), NULL, NULL, SOCK_NONBLOCK), EINVAL);
    FAILS(k->accept4(bound(SOCK_STREAM, in("sock")), NULL, NULL, SOCK_NONBLOCK), EINVAL);
    FAILS(k->accept4(a, NULL, NULL, SOCK_NONBLOCK), EINVAL);
    FAILS(k->accept4(bound(SOCK_DGRAM, in("dgram")), NULL, NULL, SOCK_NONBLOCK), EOPNOTSUPP);
    FAILS(k->accept4(new_epoll(), NULL, NULL, SOCK_NONBLOCK), ENOTSOCK);
}

static void only_a_bound_stream_listens(void)
{
    int a, b;
    pair(&a, &b);
    FAILS(k->listen(new_socket(SOCK_STREAM), 1), EINVAL);
    FAILS(k->listen(a, 1), EINVAL);
    FAILS(k->listen(bound(SOCK_DGRAM, in("dgram")), 1), EOPNOTSUPP);
    FAILS(k->listen(new_epoll(), 1), ENOTSOCK);
}

static void flags_of_what_is_accepted(void)
{
    int listener = listening(in("sock"), 4), fd;
    (void)connected(in("sock"));
    (void)connected(in("sock"));
    (void)connected(in("sock"));
    fd = mine(k->accept(listener, NULL, NULL)); /* inherits nothing, on Linux */
    assert_int_equal(k->fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    assert_int_equal(k->fcntl(fd, F_GETFD), 0);
    fd = accepted(listener);
    assert_int_equal(k->fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    assert_int_equal(k->fcntl(fd, F_GETFD), FD_CLOEXEC);
    WORKS(k->fcntl(fd, F_SETFL, O_ASYNC)); /* what is not named is taken away */
    assert_int_equal(k->fcntl(fd, F_GETFL) & (O_NONBLOCK | O_ASYNC), O_ASYNC);
    WORKS(k->fcntl(fd, F_SETFL, O_NONBLOCK));
    assert_int_equal(k->fcntl(fd, F_GETFL) & (O_NONBLOCK | O_ASYNC), O_NONBLOCK);
}

/* P15: nobody is lost for want of a descriptor, and the want is found before the queue is looked at. */
static void no_descriptor_for_accept(void)
{
    int listener = listening(in("sock"), 4), client = connected(in("sock")), first = 0, second = 0, third = 0;
    k->close_to_new_descriptors(1);
    if (k->accept4(listener, NULL, NULL, SOCK_NONBLOCK) == -1) first = errno;
    if (k->accept4(listener, NULL, NULL, SOCK_NONBLOCK) == -1) second = errno;
    if (k->socket(AF_UNIX, SOCK_STREAM, 0) == -1) third = errno;
    k->close_to_new_descriptors(0);
    assert_int_equal(first, EMFILE);
    assert_int_equal(second, EMFILE);
    assert_int_equal(third, EMFILE);
    send_text(client, "here");
    expect_text(accepted(listener), "here");
    k->close_to_new_descriptors(1);
    if (k->accept4(listener, NULL, NULL, SOCK_NONBLOCK) == -1) first = -errno;
    k->close_to_new_descriptors(0);
    assert_int_equal(first, -EMFILE); /* not EAGAIN: the queue was not looked at */
}

static void options(void)
{
    int listener = listening(in("sock"), 4), client = connected(in("sock")), dgram = new_socket(SOCK_DGRAM);
    socklen_t size = sizeof size;
    int value;
    assert_int_equal(option(listener, SO_ACCEPTCONN), 1);
    assert_int_equal(option(client, SO_ACCEPTCONN), 0);
    assert_int_equal(option(listener, SO_TYPE), SOCK_STREAM);
    assert_int_equal(option(dgram, SO_TYPE), SOCK_DGRAM);
    assert_int_equal(option(listener, SO_DOMAIN), AF_UNIX);
    assert_int_equal(option(client, SO_ERROR), 0);
    FAILS(k->getsockopt(client, SOL_SOCKET, 9999, &value, &size), ENOPROTOOPT);
    FAILS(k->getsockopt(new_epoll(), SOL_SOCKET, SO_TYPE, &value, &size), ENOTSOCK);
}

/* setsockopt(2), ERRORS. The order counts: first the level, then the size, then the option. (qemu-user, where that runs
   the tests, looks first by itself, at the option before the size, and at the size before the level.) */
static void options_that_are_unknown(void)
{
    const char *runner = getenv("TEST_RUNNER");
    const int is_translated = k->is_real && runner && *runner;
    int fd = new_socket(SOCK_STREAM), value = 1;
    socklen_t size = sizeof value;
    FAILS(k->setsockopt(fd, SOL_SOCKET, 9999, &value, sizeof value), ENOPROTOOPT);
    FAILS(k->setsockopt(fd, SOL_SOCKET, 9999, &value, 1), is_translated ? ENOPROTOOPT : EINVAL);
    FAILS(k->setsockopt(fd, 6, 1, &value, sizeof value), EOPNOTSUPP);
    FAILS(k->setsockopt(fd, 6, 1, &value, 1), is_translated ? EINVAL : EOPNOTSUPP);
    FAILS(k->getsockopt(fd, 6, 1, &value, &size), EOPNOTSUPP);
    FAILS(k->setsockopt(new_epoll(), SOL_SOCKET, SO_SNDBUF, &value, sizeof value), ENOTSOCK);
}

static int set_option(int fd, int name, int value)
{
    return k->setsockopt(fd, SOL_SOCKET, name, &value, sizeof value);
}

/* SO_PASSRIGHTS, since Linux 6.16: on, unless it is taken away. Of a listener's peer it is what the listener had when that
   connected; the client's end has its own. */
static void descriptors_that_are_refused(void)
{
    int listener = listening(in("sock"), 4), fd = new_socket(SOCK_STREAM);
    if (set_option(listener, SO_PASSRIGHTS, 0) && k->is_real) {
        assert_int_equal(errno, ENOPROTOOPT);
        return;
    }
    assert_int_equal(option(listener, SO_PASSRIGHTS), 0);
    assert_int_equal(option(fd, SO_PASSRIGHTS), 1);
    WORKS(connect_to(fd, in("sock")));
    assert_int_equal(option(fd, SO_PASSRIGHTS), 1);
    WORKS(set_option(listener, SO_PASSRIGHTS, 2));
    assert_int_equal(option(listener, SO_PASSRIGHTS), 1);
    assert_int_equal(option(accepted(listener), SO_PASSRIGHTS), 0);
    (void)connected(in("sock"));
    assert_int_equal(option(accepted(listener), SO_PASSRIGHTS), 1);
}

/* What a listener has been told is not what its connections do. */
static void options_that_are_not_inherited(void)
{
    int listener = listening(in("sock"), 4), before = option(listener, SO_SNDBUF), fd;
    WORKS(set_option(listener, SO_OOBINLINE, 1));
    WORKS(set_option(listener, SO_SNDBUF, 20000));
    (void)connected(in("sock"));
    fd = accepted(listener);
    assert_int_equal(option(listener, SO_OOBINLINE), 1);
    assert_int_equal(option(fd, SO_OOBINLINE), 0);
    assert_int_equal(option(fd, SO_SNDBUF), before);
}

/* socket(7): the kernel doubles what is asked for, and has a floor. */
static void send_buffer(void)
{
    int fd = new_socket(SOCK_STREAM), value = 20000;
    WORKS(k->setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, sizeof value));
    assert_int_equal(option(fd, SO_SNDBUF), 40000);
    value = 1;
    WORKS(k->setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, sizeof value));
    assert_int_equal(option(fd, SO_SNDBUF), 4608);
    FAILS(k->setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, 1), EINVAL);
}

static void credentials(void)
{
    struct {
        pid_t pid;
        uid_t uid;
        gid_t gid;
    } who;
    socklen_t size = sizeof who;
    int listener = listening(in("sock"), 4), client = connected(in("sock")), server = accepted(listener);
    WORKS(k->getsockopt(server, SOL_SOCKET, SO_PEERCRED, &who, &size));
    assert_true(who.pid == k->getpid() && who.uid == k->geteuid());
    WORKS(k->getsockopt(client, SOL_SOCKET, SO_PEERCRED, &who, &size));
    assert_true(who.pid == k->getpid() && who.uid == k->geteuid());
    WORKS(k->getsockopt(new_socket(SOCK_STREAM), SOL_SOCKET, SO_PEERCRED, &who, &size));
    assert_true(who.pid == 0 && who.uid == (uid_t)-1 && who.gid == (gid_t)-1);
}

/* ---- facts: streams (unix(7), send(2), recv(2), shutdown(2)) ----------------------------------------------------- */

static void bytes_come_in_order(void)
{
    char bytes[4];
    int a, b;
    pair(&a, &b);
    FAILS(receive_some(b), EAGAIN);
    assert_int_equal(poll_for(b, ALL), POLLOUT);
    send_text(a, "abc");
    send_text(a, "def"); /* a stream keeps no borders */
    assert_int_equal(poll_for(b, ALL), POLLIN | POLLOUT);
    GIVES(k->recv(b, bytes, 4, 0), 4);
    assert_memory_equal(bytes, "abcd", 4);
    expect_text(b, "ef");
    FAILS(receive_some(b), EAGAIN);
    send_text(b, "back");
    expect_text(a, "back");
}

static void peek_takes_nothing(void)
{
    char bytes[8];
    int a, b;
    pair(&a, &b);
    FAILS(k->recv(b, bytes, sizeof bytes, MSG_PEEK), EAGAIN);
    send_text(a, "abc");
    GIVES(k->recv(b, bytes, sizeof bytes, MSG_PEEK), 3);
    GIVES(k->recv(b, bytes, 1, MSG_PEEK), 1);
    expect_text(b, "abc");
}

/* Linux 5.15 has MSG_OOB on these sockets, if it was built with it. */
static void urgent_byte(void)
{
    int a, b, on = 1;
    pair(&a, &b);
    send_text(a, "a");
    if (k->send(a, "X", 1, MSG_OOB | MSG_NOSIGNAL) < 0 && errno == EOPNOTSUPP && k->is_real) return;
    send_text(a, "b");
    expect_text(b, "a"); /* one recv stops before it, */
    expect_text(b, "b"); /* and it is not part of the stream, */
    WORKS(k->setsockopt(b, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on));
    send_text(a, "a");
    GIVES(k->send(a, "X", 1, MSG_OOB | MSG_NOSIGNAL), 1);
    send_text(a, "b");
    expect_text(b, "a");
    expect_text(b, "Xb"); /* unless it is asked for */
}

static void half_close(void)
{
    int a, b;
    pair(&a, &b);
    send_text(a, "last");
    WORKS(k->shutdown(a, SHUT_WR));
    assert_int_equal(poll_for(b, ALL), POLLIN | POLLOUT | POLLRDHUP);
    FAILS(k->send(a, "x", 1, MSG_NOSIGNAL), EPIPE);
    expect_text(b, "last");
    GIVES(receive_some(b), 0);
    GIVES(receive_some(b), 0);
    assert_int_equal(poll_for(b, ALL), POLLIN | POLLOUT | POLLRDHUP);
    send_text(b, "answer");
    expect_text(a, "answer");
    FAILS(receive_some(a), EAGAIN);
    assert_int_equal(poll_for(a, ALL), POLLOUT);
}

static void shut_for_reading_keeps_what_is_queued(void)
{
    int a, b;
    pair(&a, &b);
    send_text(a, "queued");
    WORKS(k->shutdown(b, SHUT_RD));
    FAILS(k->send(a, "x", 1, MSG_NOSIGNAL), EPIPE);
    assert_int_equal(poll_for(b, ALL), POLLIN | POLLOUT | POLLRDHUP);
    assert_int_equal(poll_for(a, ALL), POLLOUT);
    expect_text(b, "queued");
    GIVES(receive_some(b), 0);
    send_text(b, "reason");
    leave(b);
    expect_text(a, "reason");
    GIVES(receive_some(a), 0); /* no reset: nothing was left unread */
}

static void shut_both_ways(void)
{
    int a, b;
    pair(&a, &b);
    send_text(a, "queued");
    WORKS(k->shutdown(a, SHUT_RDWR));
    assert_int_equal(poll_for(a, 0), POLLHUP);
    assert_int_equal(poll_for(b, ALL), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    expect_text(b, "queued");
    GIVES(receive_some(b), 0);
    GIVES(receive_some(a), 0);
    FAILS(k->send(b, "x", 1, MSG_NOSIGNAL), EPIPE);
    FAILS(k->shutdown(a, 3), EINVAL);
}

static void both_half_close(void)
{
    int a, b;
    pair(&a, &b);
    WORKS(k->shutdown(a, SHUT_WR));
    assert_int_equal(poll_for(a, ALL), POLLOUT);
    WORKS(k->shutdown(b, SHUT_WR));
    assert_int_equal(poll_for(a, 0), POLLHUP);
    assert_int_equal(poll_for(b, 0), POLLHUP);
}

/* P26: the hang-up comes unasked, and with data still there. */
static void peer_closed(void)
{
    int a, b;
    pair(&a, &b);
    send_text(a, "tail");
    leave(a);
    assert_int_equal(poll_for(b, 0), POLLHUP);
    assert_int_equal(poll_for(b, ALL), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    FAILS(k->send(b, "x", 1, MSG_NOSIGNAL), EPIPE);
    expect_text(b, "tail");
    GIVES(receive_some(b), 0);
    GIVES(receive_some(b), 0);
    assert_int_equal(option(b, SO_ERROR), 0);
}

static void peer_closed_with_unread_input(void)
{
    int a, b;
    pair(&a, &b);
    send_text(b, "unread");
    send_text(a, "tail");
    leave(a);
    assert_int_equal(poll_for(b, 0), POLLHUP | POLLERR);
    FAILS(k->send(b, "x", 1, MSG_NOSIGNAL), EPIPE);
    expect_text(b, "tail");
    FAILS(receive_some(b), ECONNRESET);
    GIVES(receive_some(b), 0);
    assert_int_equal(poll_for(b, 0), POLLHUP);
}

static void reset_is_told_once(void)
{
    char byte;
    int a, b;
    pair(&a, &b);
    send_text(b, "unread");
    leave(a);
    assert_int_equal(option(b, SO_ERROR), ECONNRESET);
    assert_int_equal(option(b, SO_ERROR), 0);
    GIVES(receive_some(b), 0);
    pair(&a, &b);
    send_text(b, "unread");
    leave(a);
    FAILS(k->recv(b, &byte, 1, MSG_PEEK), ECONNRESET); /* a look takes it, too */
    GIVES(receive_some(b), 0);
}

static void shut_for_reading_does_not_hide_a_reset(void)
{
    int a, b;
    pair(&a, &b);
    send_text(a, "unread");
    WORKS(k->shutdown(b, SHUT_RD));
    leave(b);
    FAILS(receive_some(a), ECONNRESET);
}

static void full_window(void)
{
    int a, b;
    size_t total;
    pair(&a, &b);
    total = fill(a);
    assert_true(total > 0);
    assert_int_equal(poll_for(a, POLLOUT), 0);
    assert_int_equal(poll_for(b, ALL), POLLIN | POLLOUT); /* the other way is free */
    drain(b, total);
    FAILS(receive_some(b), EAGAIN);
    assert_int_equal(poll_for(a, POLLOUT), POLLOUT);
    assert_true(fill(a) > 0);
}

/* P31: room for a byte is not yet writable; three quarters must be free. */
static void writable_late(void)
{
    int a, b;
    size_t total;
    pair(&a, &b);
    total = fill(a);
    drain(b, total / 2);
    assert_int_equal(poll_for(a, POLLOUT), 0);
    drain(b, total - total / 2);
    assert_int_equal(poll_for(a, POLLOUT), POLLOUT);
}

static void window_that_closes_on_a_full_writer(void)
{
    int a, b;
    pair(&a, &b);
    (void)fill(a);
    leave(b);
    assert_int_equal(poll_for(a, 0), POLLHUP | POLLERR);
    FAILS(k->send(a, "x", 1, MSG_NOSIGNAL), EPIPE);
}

static void unconnected(void)
{
    int fd = new_socket(SOCK_STREAM);
    assert_int_equal(poll_for(fd, ALL), POLLOUT | POLLHUP);
    FAILS(k->send(fd, "x", 1, MSG_NOSIGNAL), ENOTCONN);
    FAILS(receive_some(fd), EINVAL);
    WORKS(k->shutdown(fd, SHUT_RDWR)); /* of this family, no error */
    assert_int_equal(poll_for(new_socket(SOCK_DGRAM), ALL), POLLOUT);
}

static void connect_twice(void)
{
    int a, b, listener = listening(in("sock"), 4);
    pair(&a, &b);
    FAILS(connect_to(a, in("sock")), EISCONN);
    FAILS(connect_to(b, in("sock")), EISCONN);
    FAILS(connect_to(listener, in("sock")), EINVAL);
    FAILS(connect_to(new_epoll(), in("sock")), ENOTSOCK);
}

static void bound_client(void)
{
    int client = bound(SOCK_STREAM, in("client")), listener = listening(in("sock"), 4);
    WORKS(connect_to(client, in("sock")));
    send_text(client, "x");
    expect_text(accepted(listener), "x");
    FAILS(connect_to(new_socket(SOCK_STREAM), in("client")), ECONNREFUSED);
}

/* ---- facts: epoll(7) --------------------------------------------------------------------------------------------- */

static void epoll_repeats_by_level(void)
{
    int a, b, epoll = new_epoll(), fd;
    pair(&a, &b);
    WORKS(control(epoll, EPOLL_CTL_ADD, b, EPOLLIN));
    assert_int_equal(wait_one(epoll, NULL), 0);
    send_text(a, "xy");
    assert_int_equal(wait_one(epoll, &fd), EPOLLIN);
    assert_int_equal(fd, b);
    assert_int_equal(wait_one(epoll, NULL), EPOLLIN);
    expect_text(b, "xy");
    assert_int_equal(wait_one(epoll, NULL), 0);
}

static void epoll_tells_an_edge_once(void)
{
    char byte;
    int a, b, epoll = new_epoll();
    pair(&a, &b);
    send_text(a, "ab"); /* before it is added: that counts */
    WORKS(control(epoll, EPOLL_CTL_ADD, b, EPOLLIN | EPOLLET));
    assert_int_equal(wait_one(epoll, NULL), EPOLLIN);
    assert_int_equal(wait_one(epoll, NULL), 0);
    GIVES(k->recv(b, &byte, 1, 0), 1);
    assert_int_equal(wait_one(epoll, NULL), 0); /* P27: what is left is not told again */
    send_text(a, "c");
    assert_int_equal(wait_one(epoll, NULL), EPOLLIN); /* until something new comes */
    assert_int_equal(wait_one(epoll, NULL), 0);
    WORKS(control(epoll, EPOLL_CTL_MOD, b, EPOLLIN | EPOLLET));
    assert_int_equal(wait_one(epoll, NULL), EPOLLIN); /* or it is looked at anew */
    WORKS(k->shutdown(a, SHUT_WR));
    assert_int_equal(wait_one(epoll, NULL), EPOLLIN);
    leave(a);
    assert_int_equal(wait_one(epoll, NULL), EPOLLIN | EPOLLHUP);
    assert_int_equal(wait_one(epoll, NULL), 0);
}

static void epoll_edge_of_a_window(void)
{
    int a, b, epoll = new_epoll();
    size_t total;
    pair(&a, &b);
    WORKS(control(epoll, EPOLL_CTL_ADD, a, EPOLLOUT | EPOLLET));
    assert_int_equal(wait_one(epoll, NULL), EPOLLOUT);
    assert_int_equal(wait_one(epoll, NULL), 0);
    total = fill(a);
    assert_int_equal(wait_one(epoll, NULL), 0);
    drain(b, total);
    assert_int_equal(wait_one(epoll, NULL), EPOLLOUT);
    assert_int_equal(wait_one(epoll, NULL), 0);
}

static void epoll_edge_that_is_gone(void)
{
    int a, b, epoll = new_epoll();
    pair(&a, &b);
    WORKS(control(epoll, EPOLL_CTL_ADD, b, EPOLLIN | EPOLLET));
    send_text(a, "x");
    expect_text(b, "x");
    assert_int_equal(wait_one(epoll, NULL), 0); /* it was read before the wait */
    send_text(a, "y");
    assert_int_equal(wait_one(epoll, NULL), EPOLLIN);
}

static void epoll_once(void)
{
    int a, b, epoll = new_epoll();
    pair(&a, &b);
    send_text(a, "x");
    WORKS(control(epoll, EPOLL_CTL_ADD, b, EPOLLIN | EPOLLONESHOT));
    assert_int_equal(wait_one(epoll, NULL), EPOLLIN);
    assert_int_equal(wait_one(epoll, NULL), 0);
    leave(a);
    assert_int_equal(wait_one(epoll, NULL), 0); /* not even a hang-up */
    WORKS(control(epoll, EPOLL_CTL_MOD, b, EPOLLIN | EPOLLONESHOT));
    assert_int_equal(wait_one(epoll, NULL), EPOLLIN | EPOLLHUP);
}

static void epoll_membership(void)
{
    int a, b, epoll = new_epoll();
    pair(&a, &b);
    FAILS(control(epoll, EPOLL_CTL_MOD, a, EPOLLIN), ENOENT);
    FAILS(control(epoll, EPOLL_CTL_DEL, a, 0), ENOENT);
    WORKS(control(epoll, EPOLL_CTL_ADD, a, EPOLLIN));
    FAILS(control(epoll, EPOLL_CTL_ADD, a, EPOLLIN), EEXIST);
    FAILS(control(epoll, 77, a, 0), EINVAL);
    WORKS(k->epoll_ctl(epoll, EPOLL_CTL_DEL, a, NULL));
    FAILS(control(epoll, EPOLL_CTL_DEL, a, 0), ENOENT);
    FAILS(control(epoll, EPOLL_CTL_ADD, epoll, EPOLLIN), EINVAL);
    FAILS(control(epoll, EPOLL_CTL_ADD, folder_fd(0), EPOLLIN), EPERM);
    FAILS(control(a, EPOLL_CTL_ADD, b, EPOLLIN), EINVAL);
    FAILS(control(epoll, EPOLL_CTL_ADD, 1000, EPOLLIN), EBADF);
    FAILS(k->epoll_wait(epoll, &(struct epoll_event){0}, 0, 0), EINVAL);
    FAILS(k->epoll_wait(a, &(struct epoll_event){0}, 1, 0), EINVAL);
}

static void epoll_forgets_what_is_closed(void)
{
    int a, b, epoll = new_epoll(), was;
    pair(&a, &b);
    WORKS(control(epoll, EPOLL_CTL_ADD, b, EPOLLIN));
    send_text(a, "x");
    was = b;
    leave(b);
    assert_int_equal(wait_one(epoll, NULL), 0);
    do b = new_socket(SOCK_STREAM);
    while (b != was); /* the number is somebody else's now */
    assert_int_equal(wait_one(epoll, NULL), 0);
    FAILS(control(epoll, EPOLL_CTL_MOD, b, EPOLLIN), ENOENT);
    WORKS(control(epoll, EPOLL_CTL_ADD, b, EPOLLIN));
}

static void epoll_hangs_up_unasked(void)
{
    int a, b, epoll = new_epoll();
    pair(&a, &b);
    WORKS(control(epoll, EPOLL_CTL_ADD, b, 0));
    send_text(a, "x");
    assert_int_equal(wait_one(epoll, NULL), 0);
    send_text(b, "unread");
    leave(a);
    assert_int_equal(wait_one(epoll, NULL), EPOLLHUP | EPOLLERR);
    WORKS(control(epoll, EPOLL_CTL_MOD, b, EPOLLIN | EPOLLRDHUP));
    assert_int_equal(wait_one(epoll, NULL), EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR);
}

static void epoll_exclusive(void)
{
    int listener = listening(in("sock"), 4), epoll = new_epoll();
    WORKS(control(epoll, EPOLL_CTL_ADD, listener, EPOLLIN | EPOLLEXCLUSIVE));
    FAILS(control(epoll, EPOLL_CTL_MOD, listener, EPOLLIN), EINVAL);
    WORKS(control(epoll, EPOLL_CTL_DEL, listener, 0));
    WORKS(control(epoll, EPOLL_CTL_ADD, listener, EPOLLIN));
    FAILS(control(epoll, EPOLL_CTL_MOD, listener, EPOLLIN | EPOLLEXCLUSIVE), EINVAL);
    WORKS(control(epoll, EPOLL_CTL_DEL, listener, 0));
    FAILS(control(epoll, EPOLL_CTL_ADD, listener, EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT), EINVAL);
    WORKS(control(epoll, EPOLL_CTL_ADD, listener, EPOLLIN | EPOLLEXCLUSIVE));
    (void)connected(in("sock"));
    assert_int_equal(wait_one(epoll, NULL), EPOLLIN);
}

/* One listener and two sets that watch it exclusively, the first for longer. */
static int watched_by_two(int *one, int *two)
{
    int listener = listening(in("sock"), 4);
    *one = new_epoll();
    *two = new_epoll();
    WORKS(control(*one, EPOLL_CTL_ADD, listener, EPOLLIN | EPOLLEXCLUSIVE));
    WORKS(control(*two, EPOLL_CTL_ADD, listener, EPOLLIN | EPOLLEXCLUSIVE));
    return listener;
}

/* epoll_ctl(2): one sleeper is woken, the one whose set has watched longest. Of that peer the other set never learns, not
   even when it looks by itself and by level; of the next it does, for by then nobody sleeps in the first. */
static void exclusive_wakes_one(void)
{
    int one, two;
    (void)watched_by_two(&one, &two);
    k->doze(one);
    k->doze(two);
    (void)connected(in("sock"));
    assert_true(k->woken(one));
    assert_true(k->dozes(two));
    assert_int_equal(wait_one(two, NULL), 0);
    assert_int_equal(poll_for(two, ALL), 0);
    assert_int_equal(wait_one(one, NULL), EPOLLIN);
    assert_true(k->dozes(two));
    (void)connected(in("sock"));
    assert_true(k->woken(two));
    assert_int_equal(wait_one(two, NULL), EPOLLIN);
    assert_int_equal(wait_one(one, NULL), EPOLLIN);
}

/* Where nobody sleeps all are told, up to the first set in which somebody does. */
static void exclusive_tells_who_is_awake(void)
{
    int one, two, listener = watched_by_two(&one, &two);
    (void)connected(in("sock"));
    assert_int_equal(wait_one(two, NULL), EPOLLIN);
    assert_int_equal(wait_one(one, NULL), EPOLLIN);
    (void)accepted(listener);
    assert_int_equal(wait_one(two, NULL), 0);
    assert_int_equal(wait_one(one, NULL), 0);
    k->doze(two);
    (void)connected(in("sock"));
    assert_true(k->woken(two));
    assert_int_equal(wait_one(one, NULL), EPOLLIN);
    (void)accepted(listener);
    assert_int_equal(wait_one(one, NULL), 0);
    assert_int_equal(wait_one(two, NULL), 0);
    k->doze(one);
    (void)connected(in("sock"));
    assert_true(k->woken(one));
    assert_int_equal(wait_one(two, NULL), 0);
}

/* Who is taken out and put in again stands at the end of the line, and is told if there is anything to be told. */
static void exclusive_line(void)
{
    int one, two, listener = watched_by_two(&one, &two);
    WORKS(control(one, EPOLL_CTL_DEL, listener, 0));
    WORKS(control(one, EPOLL_CTL_ADD, listener, EPOLLIN | EPOLLEXCLUSIVE));
    k->doze(one);
    k->doze(two);
    (void)connected(in("sock"));
    assert_true(k->woken(two));
    assert_true(k->dozes(one));
    WORKS(control(one, EPOLL_CTL_DEL, listener, 0));
    WORKS(control(one, EPOLL_CTL_ADD, listener, EPOLLIN | EPOLLEXCLUSIVE));
    assert_true(k->woken(one));
    assert_int_equal(wait_one(one, NULL), EPOLLIN);
}

/* Who watches without the flag is told in any case, wherever it stands, and the end of a listener is told to all. */
static void exclusive_and_others(void)
{
    int one, two, plain = new_epoll(), listener = watched_by_two(&one, &two);
    WORKS(control(plain, EPOLL_CTL_ADD, listener, EPOLLIN));
    k->doze(plain);
    k->doze(one);
    k->doze(two);
    (void)connected(in("sock"));
    assert_true(k->woken(plain));
    assert_true(k->woken(one));
    assert_true(k->dozes(two));
    (void)accepted(listener);
    assert_int_equal(wait_one(one, NULL), 0);
    k->doze(one);
    WORKS(k->shutdown(listener, SHUT_RD));
    assert_true(k->woken(one));
    assert_true(k->woken(two));
}

static void epoll_takes_turns(void)
{
    int a[3], b[3], epoll = new_epoll(), i, fd;
    for (i = 0; i < 3; i++) {
        pair(&a[i], &b[i]);
        WORKS(control(epoll, EPOLL_CTL_ADD, b[i], EPOLLIN));
    }
    send_text(a[2], "x"); /* in the order in which they became ready */
    send_text(a[0], "x");
    send_text(a[1], "x");
    for (i = 0; i < 6; i++) {
        static const int order[] = {2, 0, 1};
        assert_int_equal(wait_one(epoll, &fd), EPOLLIN);
        assert_int_equal(fd, b[order[i % 3]]);
    }
}

static void epoll_of_a_drained_listener(void)
{
    int listener = listening(in("sock"), 4), epoll = new_epoll();
    WORKS(control(epoll, EPOLL_CTL_ADD, listener, EPOLLIN));
    assert_int_equal(wait_one(epoll, NULL), 0);
    WORKS(k->shutdown(listener, SHUT_RD));
    assert_int_equal(wait_one(epoll, NULL), EPOLLIN);
    WORKS(control(epoll, EPOLL_CTL_DEL, listener, 0));
    assert_int_equal(wait_one(epoll, NULL), 0);
}

/* An epoll can be asked by poll, which is how a program's own loop waits for ours. */
static void poll_of_an_epoll(void)
{
    int a, b, epoll = new_epoll();
    pair(&a, &b);
    WORKS(control(epoll, EPOLL_CTL_ADD, b, EPOLLIN));
    assert_int_equal(poll_for(epoll, ALL), 0);
    send_text(a, "x");
    assert_int_equal(poll_for(epoll, ALL), POLLIN);
    expect_text(b, "x");
    assert_int_equal(poll_for(epoll, ALL), 0);
}

/* ---- facts: poll(2), eventfd(2), pipe(7), descriptors ------------------------------------------------------------ */

static void poll_ignores_and_refuses(void)
{
    struct pollfd p[3];
    int a, b;
    pair(&a, &b);
    memset(p, 0, sizeof p);
    p[0].fd = -1;
    p[0].events = POLLIN;
    p[0].revents = POLLIN;
    p[1].fd = 1000;
    p[1].events = POLLIN;
    p[2].fd = a;
    p[2].events = POLLOUT;
    GIVES(k->poll(p, 3, 0), 2);
    assert_int_equal(p[0].revents, 0);
    assert_int_equal(p[1].revents, POLLNVAL);
    assert_int_equal(p[2].revents, POLLOUT);
    GIVES(k->poll(p, 1, 0), 0);
    GIVES(k->poll(NULL, 0, 1), 0);
}

static long long now_ms(void)
{
    struct timespec t;
    WORKS(k->clock_gettime(CLOCK_MONOTONIC, &t));
    assert_in_range(t.tv_nsec, 0, 999999999);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* poll(2), epoll_wait(2): the time is not shorter than what was asked for, and none passes where something is ready. The
   real kernel may take longer. */
static void waits_take_their_time(void)
{
    struct epoll_event event;
    struct pollfd p;
    int epoll = new_epoll();
    long long began = now_ms();
    p.fd = new_socket(SOCK_DGRAM);
    p.events = POLLIN;
    GIVES(k->epoll_wait(epoll, &event, 1, 10), 0);
    assert_in_range(now_ms() - began, 9, 10000); /* of two times cut to a millisecond each */
    began = now_ms();
    GIVES(k->poll(&p, 1, 10), 0);
    assert_int_equal(p.revents, 0);
    assert_in_range(now_ms() - began, 9, 10000);
    began = now_ms();
    GIVES(k->poll(NULL, 0, 10), 0);
    assert_in_range(now_ms() - began, 9, 10000);
    p.events = POLLOUT;
    began = now_ms();
    GIVES(k->poll(&p, 1, 30000), 1);
    GIVES(k->poll(&p, 1, -1), 1);
    WORKS(control(epoll, EPOLL_CTL_ADD, p.fd, EPOLLOUT));
    GIVES(k->epoll_wait(epoll, &event, 1, 30000), 1);
    GIVES(k->epoll_wait(epoll, &event, 1, -1), 1);
    assert_in_range(now_ms() - began, 0, 10000);
}

/* signal(7): a signal ends a wait, whatever its handler was installed with; not where there is something to tell. */
static void signals_end_waits(void)
{
    struct epoll_event event;
    struct pollfd p;
    int epoll = new_epoll();
    p.fd = new_socket(SOCK_DGRAM);
    p.events = POLLIN;
    k->send_signals(1);
    FAILS(k->epoll_wait(epoll, &event, 1, 10000), EINTR);
    FAILS(k->poll(&p, 1, 10000), EINTR);
    FAILS(k->poll(&p, 1, -1), EINTR);
    FAILS(k->epoll_wait(epoll, &event, 1, -1), EINTR);
    p.events = POLLOUT;
    GIVES(k->poll(&p, 1, 10000), 1);
    k->send_signals(0);
}

/* More places than descriptors may be open are refused, watched or not. */
static void poll_of_more_than_may_be_open(void)
{
    struct pollfd p[4];
    int i;
    memset(p, 0, sizeof p);
    for (i = 0; i < 4; i++) p[i].fd = -1;
    GIVES(k->poll(p, 4, 0), 0);
    k->close_to_new_descriptors(1);
    FAILS(k->poll(p, 4, 0), EINVAL);
    k->close_to_new_descriptors(0);
    GIVES(k->poll(p, 4, 0), 0);
}

static void event_counts(void)
{
    uint64_t n = 3;
    int fd = mine(k->eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    FAILS(k->read(fd, &n, sizeof n), EAGAIN);
    assert_int_equal(poll_for(fd, POLLIN | POLLOUT), POLLOUT);
    n = 3;
    GIVES(k->write(fd, &n, sizeof n), 8);
    n = (uint64_t)1 << 32;
    GIVES(k->write(fd, &n, sizeof n), 8);
    assert_int_equal(poll_for(fd, POLLIN | POLLOUT), POLLIN | POLLOUT);
    GIVES(k->read(fd, &n, sizeof n), 8);
    assert_true(n == ((uint64_t)1 << 32) + 3);
    FAILS(k->read(fd, &n, sizeof n), EAGAIN);
    FAILS(k->read(fd, &n, 7), EINVAL);
    FAILS(k->write(fd, &n, 7), EINVAL);
    assert_int_equal(k->fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    assert_int_equal(k->fcntl(fd, F_GETFD), FD_CLOEXEC);
}

static void event_that_is_full(void)
{
    uint64_t n = UINT64_MAX;
    int fd = mine(k->eventfd(7, EFD_NONBLOCK | EFD_CLOEXEC));
    FAILS(k->write(fd, &n, sizeof n), EINVAL);
    n = UINT64_MAX - 1 - 7;
    GIVES(k->write(fd, &n, sizeof n), 8);
    assert_int_equal(poll_for(fd, POLLIN | POLLOUT), POLLIN);
    n = 1;
    FAILS(k->write(fd, &n, sizeof n), EAGAIN);
    n = 0;
    GIVES(k->write(fd, &n, sizeof n), 8);
    GIVES(k->read(fd, &n, sizeof n), 8);
    assert_true(n == UINT64_MAX - 1);
}

static void event_edge(void)
{
    uint64_t n = 1;
    int fd = mine(k->eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)), epoll = new_epoll();
    WORKS(control(epoll, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET));
    GIVES(k->write(fd, &n, sizeof n), 8);
    assert_int_equal(wait_one(epoll, NULL), EPOLLIN);
    assert_int_equal(wait_one(epoll, NULL), 0);
    GIVES(k->write(fd, &n, sizeof n), 8); /* without a read in between */
    assert_int_equal(wait_one(epoll, NULL), EPOLLIN);
}

static void new_pipe(int ends[2])
{
    WORKS(k->pipe2(ends, O_NONBLOCK | O_CLOEXEC));
    (void)mine(ends[0]);
    (void)mine(ends[1]);
}

static void pipe_carries_bytes(void)
{
    char bytes[8];
    int ends[2];
    new_pipe(ends);
    FAILS(k->read(ends[0], bytes, 8), EAGAIN);
    assert_int_equal(poll_for(ends[0], POLLIN), 0);
    GIVES(k->write(ends[1], "abc", 3), 3);
    assert_int_equal(poll_for(ends[0], POLLIN), POLLIN);
    assert_int_equal(poll_for(ends[1], POLLOUT), POLLOUT);
    GIVES(k->read(ends[0], bytes, 2), 2);
    assert_memory_equal(bytes, "ab", 2);
    GIVES(k->read(ends[0], bytes, 8), 1);
    FAILS(k->write(ends[0], "x", 1), EBADF);
    FAILS(k->read(ends[1], bytes, 1), EBADF);
    assert_int_equal(k->fcntl(ends[0], F_GETFD), FD_CLOEXEC);
}

/* One byte a wake fills it: that is why a pipe alone must not carry the stop. */
static void pipe_holds_65536(void)
{
    static char bytes[65536];
    long total = 0;
    int ends[2];
    new_pipe(ends);
    while (k->write(ends[1], "x", 1) == 1) total++;
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(total, 65536);
    assert_int_equal(poll_for(ends[1], POLLOUT), 0);
    GIVES(k->read(ends[0], bytes, sizeof bytes), 65536);
    assert_int_equal(poll_for(ends[1], POLLOUT), POLLOUT);
}

static void pipe_whose_other_end_is_gone(void)
{
    char byte;
    int ends[2];
    new_pipe(ends);
    GIVES(k->write(ends[1], "x", 1), 1);
    leave(ends[1]);
    assert_int_equal(poll_for(ends[0], POLLIN), POLLIN | POLLHUP);
    GIVES(k->read(ends[0], &byte, 1), 1);
    assert_int_equal(poll_for(ends[0], POLLIN), POLLHUP);
    GIVES(k->read(ends[0], &byte, 1), 0);
    new_pipe(ends);
    leave(ends[0]);
    assert_int_equal(poll_for(ends[1], 0), POLLERR);
    FAILS(k->write(ends[1], "x", 1), EPIPE); /* the test ignores SIGPIPE, for which write(2) has no flag */
}

static void plain_pipe_has_no_flags(void)
{
    int ends[2];
    WORKS(k->pipe(ends));
    (void)mine(ends[0]);
    (void)mine(ends[1]);
    assert_int_equal(k->fcntl(ends[0], F_GETFD), 0);
    assert_int_equal(k->fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
    WORKS(k->fcntl(ends[0], F_SETFD, FD_CLOEXEC));
    WORKS(k->fcntl(ends[0], F_SETFL, O_NONBLOCK));
    assert_int_equal(k->fcntl(ends[0], F_GETFD), FD_CLOEXEC);
    assert_int_equal(k->fcntl(ends[0], F_GETFL) & O_NONBLOCK, O_NONBLOCK);
}

static void lowest_number_first(void)
{
    int one = new_socket(SOCK_STREAM), two = new_socket(SOCK_STREAM), three = new_socket(SOCK_STREAM);
    assert_true(one < two && two < three);
    leave(two);
    leave(one);
    assert_int_equal(new_socket(SOCK_STREAM), one);
    assert_int_equal(new_epoll(), two);
}

static void closed_is_closed(void)
{
    char byte = 0;
    int fd = new_socket(SOCK_STREAM), epoll = new_epoll();
    leave(fd);
    FAILS(k->close(fd), EBADF);
    FAILS(k->recv(fd, &byte, 1, 0), EBADF);
    FAILS(k->send(fd, &byte, 1, MSG_NOSIGNAL), EBADF);
    FAILS(k->shutdown(fd, SHUT_RD), EBADF);
    FAILS(k->fcntl(fd, F_GETFD), EBADF);
    FAILS(k->listen(fd, 1), EBADF);
    FAILS(control(epoll, EPOLL_CTL_ADD, fd, EPOLLIN), EBADF);
    FAILS(k->close(-1), EBADF);
    FAILS(k->socket(AF_UNIX, SOCK_STREAM, 77), EPROTONOSUPPORT);
}

/* ---- of the fake alone: a law that nothing can break shows nothing ----------------------------------------------- */

static int complained(const char *about)
{
    int i;
    for (i = 0; fake_violation(i)[0]; i++)
        if (strstr(fake_violation(i), about)) return 1;
    return 0;
}

#define NOTICED(call, about)                                                                                           \
    do {                                                                                                               \
        assert_false(complained(about));                                                                               \
        (void)(call);                                                                                                  \
        if (!complained(about)) fail_msg("%s: nobody complained about \"%s\"", #call, about);                          \
    } while (0)

static void laws_of_descriptors(void)
{
    char byte = 0;
    int a, b, fd;
    pair(&a, &b);
    NOTICED(k->send(a, "x", 1, 0), "without MSG_NOSIGNAL");
    NOTICED(k->send(a, "", 0, MSG_NOSIGNAL), "send of length 0");
    NOTICED(k->recv(b, &byte, 0, 0), "recv of length 0");
    WORKS(k->shutdown(a, SHUT_WR));
    expect_text(b, "x");
    GIVES(receive_some(b), 0);
    NOTICED(receive_some(b), "recv after the end");
    FAILS(k->send(a, "x", 1, MSG_NOSIGNAL), EPIPE);
    NOTICED(k->send(a, "x", 1, MSG_NOSIGNAL), "send after a fatal error");
    WORKS(k->fcntl(a, F_SETFL, 0));
    NOTICED(receive_some(a), "recv would block");
    leave(a);
    NOTICED(k->close(a), "not open");
    fd = mine(k->socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
    NOTICED(new_socket(SOCK_STREAM), "not close-on-exec when");
    WORKS(k->fcntl(fd, F_SETFD, FD_CLOEXEC));
    NOTICED(k->flock(folder_fd(0), LOCK_EX), "flock would block");
    NOTICED(fake_finish(), "left open at the end");
}

static void laws_of_waiting(void)
{
    int a, b, epoll = new_epoll();
    pair(&a, &b);
    WORKS(control(epoll, EPOLL_CTL_ADD, b, EPOLLIN));
    send_text(a, "x");
    assert_int_equal(wait_one(epoll, NULL), EPOLLIN);
    NOTICED(wait_one(epoll, NULL), "a spin");
    expect_text(b, "x");
    send_text(a, "x");
    assert_int_equal(wait_one(epoll, NULL), EPOLLIN);
    expect_text(b, "x");
    fake.pid = 101;
    NOTICED(control(epoll, EPOLL_CTL_DEL, b, 0), "another process");
    WORKS(k->fcntl(b, F_SETFL, 0));
    NOTICED(wait_one(epoll, NULL), "not nonblocking");
}

static void laws_of_removal(void)
{
    int dir;
    k->put_file(in("file"));
    k->put_fifo(in("fifo"));
    (void)fake_put_live(in("live"), SOCK_STREAM, 1);
    fake_put_stale(in("stale"));
    (void)bound(SOCK_STREAM, in("own"));
    NOTICED(k->unlinkat(AT_FDCWD, in("stale"), 0), "without the lock");
    NOTICED(k->unlinkat(AT_FDCWD, in("file"), 0), "unlink of something foreign: file");
    NOTICED(k->unlinkat(AT_FDCWD, in("live"), 0), "unlink of something foreign: live");
    NOTICED(k->renameat(AT_FDCWD, in("own"), AT_FDCWD, in("fifo")), "rename over of something foreign: fifo");
    assert_string_equal(fake_left_behind(0), "fifo");
    assert_string_equal(fake_left_behind(1), "");
    fake_reset();
    opened_count = 0;
    fake_put_stale(in("stale"));
    dir = folder_fd(0);
    WORKS(k->flock(dir, LOCK_EX | LOCK_NB));
    WORKS(k->unlinkat(dir, "stale", 0));
    WORKS(k->unlinkat(dir, (bound(SOCK_STREAM, in("own")), "own"), 0));
    assert_string_equal(fake_left_behind(0), "");
    assert_int_equal(fake_violations(), 0);
}

static void laws_of_memory(void)
{
    int i = 0;
    char *at = (char *)fake_malloc(10);
    char *moved = (char *)fake_realloc(memset(at, 'm', 10), 30);
    assert_true(moved[9] == 'm');
    assert_int_equal(fake_live_bytes(), 30);
    assert_int_equal(fake_peak_bytes(), 40); /* both, for a moment */
    assert_int_equal(fake_live_blocks(), 1);
    NOTICED(fake_finish(), "memory left");
    fake_free(moved);
    fake_free(NULL);
    NOTICED(fake_free(&i), "not allocated");
    fake_fault(fake_calls() + 1, ENOMEM, 0);
    assert_null(fake_malloc(1));
}

static int worlds;

static int quiet(void *user)
{
    (void)user;
    worlds++;
    return 0;
}

static void waiting_takes_time(void)
{
    struct epoll_event event;
    long long began = fake_now_ms();
    int epoll = new_epoll();
    fake.world = quiet;
    worlds = 0;
    GIVES(k->epoll_wait(epoll, &event, 1, 50), 0);
    assert_int_equal(fake_now_ms() - began, 50);
    assert_int_equal(worlds, 1);
    fake.world = a_signal_comes;
    FAILS(k->epoll_wait(epoll, &event, 1, 50), EINTR);
    assert_int_equal(fake_now_ms() - began, 50);
    assert_int_equal(fake_violations(), 0);
}

/* A wait that nothing can end is told by EINTR once, so that the program may find its way out; then the run is over. */
static void hang(void)
{
    static struct epoll_event event;
    static int epoll, escaped; /* static: read after longjmp */
    epoll = new_epoll();
    escaped = 0;
    fake_escape_set = 1;
    if (!setjmp(fake_escape)) {
        FAILS(k->epoll_wait(epoll, &event, 1, -1), EINTR);
        assert_true(complained("hang"));
        (void)k->epoll_wait(epoll, &event, 1, -1);
        fail_msg("%s", "a second endless wait came back");
    } else {
        escaped = 1;
    }
    fake_escape_set = 0;
    assert_int_equal(escaped, 1);
}

static void livelock(void)
{
    static int escaped, fd;
    escaped = 0;
    fd = new_epoll();
    fake.calls_max = 100;
    fake_escape_set = 1;
    if (!setjmp(fake_escape)) {
        for (;;) (void)k->fcntl(fd, F_GETFD);
    } else {
        escaped = 1;
    }
    fake_escape_set = 0;
    fake.calls_max = 1000000;
    assert_true(escaped && complained("livelock"));
}

static void faults(void)
{
    int listener = listening(in("sock"), 4), spare = new_socket(SOCK_STREAM), i;
    (void)connected(in("sock"));
    fake_fault(fake_calls() + 1, ENFILE, FAKE_UNTIL_CLOSE);
    for (i = 0; i < 3; i++) FAILS(k->accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), ENFILE);
    leave(spare);
    (void)accepted(listener);
    fake_fault(fake_calls() + 1, EIO, 0);
    FAILS(k->close(listener), EIO); /* close(2): closed all the same */
    FAILS(k->fcntl(listener, F_GETFD), EBADF);
    fake_fault(fake_calls() + 2, EINTR, 1);
    spare = new_socket(SOCK_STREAM);
    for (i = 0; i < 3; i++) FAILS(connect_to(spare, in("sock")), EINTR);
    assert_true(fake_fault_happened());
    assert_int_equal(fake_call_at(fake_calls()), FAKE_connect);
}

/* Bytes arrive and windows drain when the test says so; the end does not overtake them. */
static void stages(void)
{
    char bytes[16];
    int listener, peer, fd;
    fake.queue_bytes = 8;
    fake.staged = 1;
    listener = listening(in("sock"), 4);
    peer = fake_peer_connect(in("sock"));
    fd = accepted(listener);
    GIVES(fake_peer_send(peer, "abcdefghij", 10), 8);
    FAILS(fake_peer_send(peer, "ij", 2), EAGAIN); /* in flight it takes up room */
    assert_int_equal(poll_for(fd, POLLIN), 0);
    FAILS(receive_some(fd), EAGAIN);
    GIVES(fake_peer_arrive(peer, 3), 3);
    assert_int_equal(poll_for(fd, POLLIN), POLLIN);
    expect_text(fd, "abc");
    FAILS(receive_some(fd), EAGAIN);
    WORKS(fake_peer_shutdown(peer, SHUT_WR));
    expect_text(fd, "defgh");
    GIVES(receive_some(fd), 0);
    GIVES(k->send(fd, "12345678", 8, MSG_NOSIGNAL), 8);
    assert_int_equal(fake_peer_pending(peer), 0);
    FAILS(fake_peer_recv(peer, bytes, sizeof bytes), EAGAIN);
    GIVES(fake_peer_drain(peer, 100), 8);
    GIVES(fake_peer_recv(peer, bytes, 5), 5);
    assert_int_equal(poll_for(fd, POLLOUT), 0); /* three of eight are left: not writable yet */
    GIVES(fake_peer_recv(peer, bytes, 1), 1);
    assert_int_equal(poll_for(fd, POLLOUT), POLLOUT);
    assert_int_equal(fake_touched(), 0); /* since that wait began */
    fake_peer_close(peer);
}

/* The other side of a client: somebody else's server. */
static void scripted_server(void)
{
    char bytes[8];
    int listener = fake_peer_listen(in("sock"), 0666, 0), client, server;
    assert_int_equal(fake_mode(in("sock")), 0666);
    client = connected(in("sock"));
    FAILS(connect_to(new_socket(SOCK_STREAM), in("sock")), EAGAIN);
    server = fake_peer_accept(listener);
    send_text(client, "ask");
    GIVES(fake_peer_recv(server, bytes, sizeof bytes), 3);
    GIVES(fake_peer_send(server, "answer", 6), 6);
    fake_peer_close(server);
    expect_text(client, "answer");
    GIVES(receive_some(client), 0);
    fake_peer_close(listener);
    FAILS(connect_to(new_socket(SOCK_STREAM), in("sock")), ECONNREFUSED);
}

static void systems_without_passrights(void)
{
    int fd = new_socket(SOCK_STREAM), value;
    socklen_t size = sizeof value;
    fake.no_passrights = 1;
    FAILS(set_option(fd, SO_PASSRIGHTS, 0), ENOPROTOOPT);
    FAILS(k->getsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &value, &size), ENOPROTOOPT);
}

static void systems_without_renameat2(void)
{
    fake.no_renameat2 = 1;
    FAILS(k->renameat2(AT_FDCWD, in("a"), AT_FDCWD, in("b"), RENAME_NOREPLACE), ENOSYS);
    fake.no_renameat2 = 2;
    FAILS(k->renameat2(AT_FDCWD, in("a"), AT_FDCWD, in("b"), RENAME_NOREPLACE), EINVAL);
}

/* P3: the number of what is closed and has no name is taken at once. (A real file system may do that, too.) */
static void inode_is_reused(void)
{
    unsigned long was;
    put_stale(in("one"));
    was = fake_inode(in("one"));
    fake_remove(in("one"));
    put_stale(in("two"));
    assert_int_equal(fake_inode(in("two")), was);
    fake.foreign_lock = 1;
    FAILS(k->flock(folder_fd(0), LOCK_EX | LOCK_NB), EWOULDBLOCK);
}

static unsigned long long story(const char *path, const char *text)
{
    int listener, client, server;
    fake_reset();
    opened_count = 0;
    listener = listening(path, 2);
    client = connected(path);
    server = accepted(listener);
    send_text(client, text);
    expect_text(server, text);
    FAILS(receive_some(server), EAGAIN);
    return fake_trace_hash();
}

/* The same story has the same hash, in any run and on any machine (it is printed, to be compared). */
static void trace_hash(void)
{
    unsigned long long once = story("/w/a", "hello");
    assert_true(once == story("/w/a", "hello"));
    assert_true(once != story("/w/b", "hello"));
    assert_true(once != story("/w/a", "hell"));
    print_message("# the story's trace hash is %016llx\n", once);
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

// clang-format off
#define FACTS(X)                                                                                                       \
    X(connect_to_nothing) X(connect_to_what_is_no_socket) X(connect_to_stale) X(bound_but_not_listening)               \
    X(probe_takes_no_place) X(probe_sees_draining) X(datagram_server) X(connect_follows_links) X(links_on_the_way)     \
    X(permissions) X(no_access_to_remove) X(sticky_folder) X(sticky_folder_of_ones_own) X(folder_for_everybody) X(folder_for_nobody) X(permissions_of_a_group) X(group_of_a_folder) X(bind_where_something_is) X(bind_where_nothing_can_be) X(bind_twice)        \
    X(mode_of_a_new_socket) X(the_sticky_bit_of_a_new_socket) X(an_open_path_leads_to_its_file)                        \
    X(renames_of_no_name) X(accept_of_no_descriptor) X(duplicates_of_a_descriptor)                                     \
    X(fchmod_after_bind_is_too_late) X(path_of_108_bytes)                                      \
    X(path_ends_at_a_nul_or_at_the_size) X(sizes_that_are_none) X(path_through_a_descriptor)                           \
    X(descriptor_of_no_folder) X(names_are_at_most_255_bytes) X(paths_are_at_most_4095_bytes) X(forty_links) X(slashes_and_dots) X(stat_follows_or_not)                                   \
    X(inode_of_an_open_socket_is_not_reused) X(renamed_socket_is_found) X(name_of_the_unnamed)                         \
    X(rename_without_replacing) X(exchange) X(rename_replaces) X(rename_of_two_names_of_one) X(another_device) X(second_name)            \
    X(unlink_takes_the_name_only) X(change_of_mode) X(lock_on_a_folder) X(open_a_folder) X(folder_outlives_its_name)   \
    X(full_backlog) X(waiting_for_a_place) X(queue_is_first_come_first_served) X(listener_is_readable_when_somebody_waits)                    \
    X(drained_listener) X(closing_a_listener_resets_the_queued) X(client_that_left_before_accept)                      \
    X(only_a_listener_accepts) X(only_a_bound_stream_listens) X(flags_of_what_is_accepted)                             \
    X(no_descriptor_for_accept) X(options) X(options_that_are_unknown) X(descriptors_that_are_refused) X(options_that_are_not_inherited) X(send_buffer) X(credentials) X(bytes_come_in_order) X(peek_takes_nothing)  \
    X(urgent_byte) X(half_close) X(shut_for_reading_keeps_what_is_queued) X(shut_both_ways) X(both_half_close)         \
    X(peer_closed)                                                                                                     \
    X(peer_closed_with_unread_input) X(reset_is_told_once) X(shut_for_reading_does_not_hide_a_reset) X(full_window)    \
    X(writable_late) X(window_that_closes_on_a_full_writer) X(unconnected) X(connect_twice) X(bound_client)            \
    X(epoll_repeats_by_level) X(epoll_tells_an_edge_once) X(epoll_edge_of_a_window) X(epoll_edge_that_is_gone)         \
    X(epoll_once) X(epoll_membership) X(epoll_forgets_what_is_closed) X(epoll_hangs_up_unasked) X(epoll_exclusive)     \
    X(exclusive_wakes_one) X(exclusive_tells_who_is_awake) X(exclusive_line) X(exclusive_and_others) X(epoll_takes_turns) X(epoll_of_a_drained_listener) X(poll_of_an_epoll) X(poll_ignores_and_refuses) X(waits_take_their_time) X(signals_end_waits) X(poll_of_more_than_may_be_open)                \
    X(event_counts) X(event_that_is_full) X(event_edge) X(pipe_carries_bytes) X(pipe_holds_65536)                      \
    X(pipe_whose_other_end_is_gone) X(plain_pipe_has_no_flags) X(lowest_number_first) X(closed_is_closed)

#define FAKE_ONLY(X)                                                                                                   \
    X(laws_of_descriptors) X(laws_of_waiting) X(laws_of_removal) X(laws_of_memory) X(waiting_takes_time) X(hang)       \
    X(livelock) X(faults) X(stages) X(scripted_server) X(systems_without_passrights) X(systems_without_renameat2) X(inode_is_reused) X(trace_hash)
// clang-format on

typedef struct question {
    const kernel *kernel;
    void (*fact)(void);
} question;

static int remove_one(const char *path, const struct stat *st, int what, struct FTW *where)
{
    (void)st, (void)what, (void)where;
    return remove(path);
}

static int begin(void **state)
{
    const question *asked = (const question *)*state;
    k = asked->kernel;
    opened_count = 0;
    fake_reset();
    fake.calls_max = 1000000;
    (void)alarm(60); /* a fact that blocks ends the program */
    if (!k->is_real) {
        (void)strcpy(folder, "/w");
        return 0;
    }
    (void)umask(022);
    (void)strcpy(folder, "/tmp/conformance-XXXXXX");
    return mkdtemp(folder) && !chmod(folder, 0755) ? 0 : -1;
}

static int end(void **state)
{
    int i;
    (void)state;
    k->close_to_new_descriptors(0);
    rouse_all();
    k->send_signals(0);
    for (i = 0; i < opened_count; i++)
        if (opened[i] >= 0) (void)k->close(opened[i]);
    if (k->is_real && getuid() == 0 && seteuid(0)) return -1;
    if (other_folder[0] && nftw(other_folder, remove_one, 16, FTW_DEPTH | FTW_PHYS)) return -1;
    other_folder[0] = '\0';
    return k->is_real ? nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS) : 0;
}

static void ask(void **state)
{
    ((const question *)*state)->fact();
}

#define QUESTION(fact) {&the_fake, fact}, {&the_real, fact},
#define FAKE_QUESTION(fact) {&the_fake, fact},
#define FAKE_TEST(fact) {"fake only: " #fact, ask, begin, end, NULL},
#define TEST(fact) {"fake: " #fact, ask, begin, end, NULL}, {"real: " #fact, ask, begin, end, NULL},

int main(void)
{
    static question questions[] = {FACTS(QUESTION) FAKE_ONLY(FAKE_QUESTION)};
    static struct CMUnitTest tests[] = {FACTS(TEST) FAKE_ONLY(FAKE_TEST)};
#define ONE(fact) +1
    const unsigned facts = 0 FACTS(ONE);
    size_t i;
    (void)signal(SIGPIPE, SIG_IGN);
    for (i = 0; i < sizeof tests / sizeof tests[0]; i++) tests[i].initial_state = &questions[i];
    print_message("# %u facts, each asked of the fake kernel and of the real one\n", facts);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
