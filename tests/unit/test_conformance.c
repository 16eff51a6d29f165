/* The same facts, asserted of the fake kernel and of the real one: a fake that is wrong becomes truth otherwise. */
#include "fake_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* Everything that both kernels are asked by. */
#define CALLS(X)                                                                                                       \
    X(int, socket, (int, int, int))                                                                                    \
    X(int, bind, (int, const struct sockaddr *, socklen_t))                                                            \
    X(int, listen, (int, int))                                                                                         \
    X(int, accept4, (int, struct sockaddr *, socklen_t *, int))                                                        \
    X(int, connect, (int, const struct sockaddr *, socklen_t))                                                         \
    X(int, shutdown, (int, int))                                                                                       \
    X(ssize_t, recv, (int, void *, size_t, int))                                                                       \
    X(ssize_t, send, (int, const void *, size_t, int))                                                                 \
    X(int, getsockopt, (int, int, int, void *, socklen_t *))                                                           \
    X(int, close, (int))                                                                                               \
    X(int, poll, (struct pollfd *, nfds_t, int))                                                                       \
    X(int, epoll_create1, (int))                                                                                       \
    X(int, epoll_ctl, (int, int, int, struct epoll_event *))                                                           \
    X(int, epoll_wait, (int, struct epoll_event *, int, int))                                                          \
    X(int, eventfd, (unsigned int, int))                                                                               \
    X(ssize_t, read, (int, void *, size_t))                                                                            \
    X(ssize_t, write, (int, const void *, size_t))                                                                     \
    X(int, pipe, (int *))                                                                                              \
    X(int, fcntl, (int, int, ...))                                                                                     \
    X(int, open, (const char *, int, ...))                                                                             \
    X(int, fstatat, (int, const char *, struct stat *, int))                                                           \
    X(int, linkat, (int, const char *, int, const char *, int))                                                        \
    X(int, renameat, (int, const char *, int, const char *))                                                           \
    X(int, renameat2, (int, const char *, int, const char *, unsigned int))                                            \
    X(int, unlinkat, (int, const char *, int))                                                                         \
    X(int, fchmod, (int, mode_t))                                                                                      \
    X(int, flock, (int, int))

typedef struct kernel {
    const char *name;
    int real;
#define FIELD(type, call, arguments) type(*call) arguments;
    CALLS(FIELD)
} kernel;

/* libc's attributes (nothrow, transparent unions) are dropped by one more call. */
static int real_bind(int fd, const struct sockaddr *a, socklen_t n) { return bind(fd, a, n); }
static int real_connect(int fd, const struct sockaddr *a, socklen_t n) { return connect(fd, a, n); }
static int real_accept4(int fd, struct sockaddr *a, socklen_t *n, int flags) { return accept4(fd, a, n, flags); }

static const kernel kernels[] = {
    {"fake", 0,
#define FAKE(type, call, arguments) fake_##call,
     CALLS(FAKE)},
    {"real", 1, socket, real_bind, listen, real_accept4, real_connect, shutdown, recv, send, getsockopt, close, poll,
     epoll_create1, epoll_ctl, epoll_wait, eventfd, read, write, pipe, fcntl, open, fstatat, linkat, renameat, renameat2,
     unlinkat, fchmod, flock}};

static const kernel *k;
static char folder[64]; /* of the sockets */
static unsigned long facts;

/* A fact holds, or the test fails and says of which kernel. */
static void is(int holds, const char *fact, int line)
{
    facts++;
    if (!holds) print_message("%s kernel, line %d, errno %d: not so: %s\n", k->name, line, errno, fact);
    assert_true(holds);
}
#define FACT(holds) is(holds, #holds, __LINE__)
#define FAILS(call, os_error) is((call) < 0 && errno == (os_error), #call " fails with " #os_error, __LINE__)

static int setup(void **state)
{
    k = (const kernel *)*state;
    (void)umask(022);
    if (k->real) {
        (void)strcpy(folder, "/tmp/uds_echo.XXXXXX");
        return mkdtemp(folder) == NULL;
    }
    fake_reset();
    (void)strcpy(folder, "/w");
    return 0;
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    if (!k->real) return 0;
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static socklen_t place(struct sockaddr_un *a, const char *name)
{
    memset(a, 0, sizeof *a);
    a->sun_family = AF_UNIX;
    if (*name == '/') (void)snprintf(a->sun_path, sizeof a->sun_path, "%s", name);
    else (void)snprintf(a->sun_path, sizeof a->sun_path, "%s/%.40s", folder, name);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(a->sun_path) + 1);
}

static int new_socket(int type)
{
    return k->socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static int bind_to(int fd, const char *name)
{
    struct sockaddr_un a;
    socklen_t size = place(&a, name);
    return k->bind(fd, (struct sockaddr *)&a, size);
}

static int connect_to(int fd, const char *name)
{
    struct sockaddr_un a;
    socklen_t size = place(&a, name);
    return k->connect(fd, (struct sockaddr *)&a, size);
}

static int listener_at(const char *name, int backlog)
{
    int fd = new_socket(SOCK_STREAM);
    FACT(fd >= 0);
    FACT(bind_to(fd, name) == 0);
    FACT(k->listen(fd, backlog) == 0);
    return fd;
}

/* A connected pair: the client's end and the server's. */
static void pair(int listener, const char *name, int *client, int *server)
{
    *client = new_socket(SOCK_STREAM);
    FACT(connect_to(*client, name) == 0);
    *server = k->accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    FACT(*server >= 0);
}

/* What poll says; events 0 asks for nothing. */
static int polled(int fd, int events)
{
    struct pollfd p;
    p.fd = fd;
    p.events = (short)events;
    p.revents = 0;
    return k->poll(&p, 1, 0) < 0 ? -1 : p.revents;
}

static int probe(const char *name)
{
    int fd = new_socket(SOCK_DGRAM), result = connect_to(fd, name) ? errno : 0;
    (void)k->close(fd);
    return result;
}

static void files_of_sockets(void **state)
{
    struct stat st;
    int dir = k->open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = new_socket(SOCK_STREAM), other;
    (void)state;
    FACT(dir >= 0);
    FACT(k->fchmod(fd, 0666) == 0);
    FACT(bind_to(fd, "s") == 0);
    FACT(k->fstatat(dir, "s", &st, AT_SYMLINK_NOFOLLOW) == 0);
    FACT(S_ISSOCK(st.st_mode));
    FACT((st.st_mode & 0777) == 0644); /* its own mode, less the umask */
    FAILS(bind_to(fd, "t"), EINVAL);
    other = new_socket(SOCK_STREAM);
    FAILS(bind_to(other, "s"), EADDRINUSE);
    (void)k->close(fd);
    FACT(k->fstatat(dir, "s", &st, AT_SYMLINK_NOFOLLOW) == 0); /* the file stays */
    FAILS(bind_to(other, "s"), EADDRINUSE);
    FACT(bind_to(other, "t") == 0);
    FACT(k->renameat2(dir, "t", dir, "s", 1) < 0 && errno == EEXIST);
    FACT(k->renameat2(dir, "t", dir, "s", 2) == 0);
    FAILS(k->renameat2(dir, "t", dir, "nothing", 2), ENOENT);
    FACT(k->listen(other, 5) == 0);
    fd = new_socket(SOCK_STREAM);
    FACT(connect_to(fd, "s") == 0); /* what was bound as t is reached as s */
    FAILS(k->linkat(dir, "s", dir, "t", 0), EEXIST);
    FACT(k->linkat(dir, "s", dir, "u", 0) == 0);
    FACT(k->unlinkat(dir, "s", 0) == 0);
    FAILS(k->unlinkat(dir, "s", 0), ENOENT);
    FAILS(connect_to(new_socket(SOCK_STREAM), "s"), ENOENT);
    FACT(connect_to(new_socket(SOCK_STREAM), "u") == 0);
    FACT(k->renameat(dir, "u", dir, "t") == 0); /* replaces */
    FAILS(k->fstatat(dir, "u", &st, AT_SYMLINK_NOFOLLOW), ENOENT);
}

static void addresses_through_a_folder(void **state)
{
    char path[64];
    struct stat st;
    int dir = k->open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = new_socket(SOCK_STREAM);
    (void)state;
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d/s", dir);
    FACT(bind_to(fd, path) == 0);
    FACT(k->fstatat(dir, "s", &st, AT_SYMLINK_NOFOLLOW) == 0);
    FACT(k->listen(fd, 5) == 0);
    FACT(connect_to(new_socket(SOCK_STREAM), path) == 0);
    FACT(connect_to(new_socket(SOCK_STREAM), "s") == 0);
}

static void who_is_there(void **state)
{
    int fd = new_socket(SOCK_STREAM), dgram = new_socket(SOCK_DGRAM);
    (void)state;
    FACT(probe("s") == ENOENT);
    FAILS(connect_to(new_socket(SOCK_STREAM), "s"), ENOENT);
    FACT(bind_to(fd, "s") == 0);
    FACT(probe("s") == EPROTOTYPE); /* bound, and not listening yet */
    FAILS(connect_to(new_socket(SOCK_STREAM), "s"), ECONNREFUSED);
    FACT(k->listen(fd, 5) == 0);
    FACT(probe("s") == EPROTOTYPE);
    FACT(k->shutdown(fd, SHUT_RD) == 0);
    FACT(probe("s") == EPROTOTYPE); /* draining */
    FAILS(connect_to(new_socket(SOCK_STREAM), "s"), ECONNREFUSED);
    (void)k->close(fd);
    FACT(probe("s") == ECONNREFUSED); /* stale */
    FAILS(connect_to(new_socket(SOCK_STREAM), "s"), ECONNREFUSED);
    FACT(bind_to(dgram, "d") == 0);
    FACT(probe("d") == 0);
    FAILS(connect_to(new_socket(SOCK_STREAM), "d"), EPROTOTYPE);
}

static void backlog_and_drain(void **state)
{
    int listener = listener_at("s", 0), first = new_socket(SOCK_STREAM), second = new_socket(SOCK_STREAM), server;
    char byte;
    (void)state;
    FAILS(k->accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), EAGAIN);
    FACT(polled(listener, POLLIN) == 0);
    FACT(connect_to(first, "s") == 0); /* backlog 0 queues one */
    FAILS(connect_to(second, "s"), EAGAIN);
    FACT(polled(listener, POLLIN) == POLLIN);
    FACT(k->send(first, "x", 1, MSG_NOSIGNAL) == 1); /* before it is accepted */
    FACT(k->shutdown(listener, SHUT_RD) == 0);
    FAILS(connect_to(second, "s"), ECONNREFUSED);
    server = k->accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK); /* the queue is still handed out */
    FACT(server >= 0);
    FACT(k->recv(server, &byte, 1, 0) == 1);
    FAILS(k->accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), EAGAIN);
    FACT(polled(listener, POLLIN) & POLLIN); /* for ever */
    (void)k->close(listener);
    listener = listener_at("t", 5);
    first = new_socket(SOCK_STREAM);
    FACT(connect_to(first, "t") == 0);
    (void)k->close(listener); /* resets those that wait */
    FAILS(k->recv(first, &byte, 1, 0), ECONNRESET);
}

static void ends_of_a_stream(void **state)
{
    int listener = listener_at("s", 5), client, server;
    char bytes[16];
    (void)state;
    pair(listener, "s", &client, &server);
    FAILS(k->recv(server, bytes, 16, 0), EAGAIN);
    FACT(polled(server, POLLIN | POLLOUT | POLLRDHUP) == POLLOUT);
    FACT(k->send(client, "abc", 3, MSG_NOSIGNAL) == 3);
    FACT(k->shutdown(client, SHUT_WR) == 0); /* half-close */
    FACT(polled(server, POLLIN | POLLRDHUP) == (POLLIN | POLLRDHUP));
    FACT(k->recv(server, bytes, 2, MSG_PEEK) == 2);
    FACT(k->recv(server, bytes, 2, 0) == 2 && bytes[0] == 'a');
    FACT(k->recv(server, bytes, 16, 0) == 1);
    FACT(k->recv(server, bytes, 16, 0) == 0);
    FACT(k->send(server, "d", 1, MSG_NOSIGNAL) == 1); /* the other way is open */
    FAILS(k->send(client, "e", 1, MSG_NOSIGNAL), EPIPE);
    FACT(k->recv(client, bytes, 16, 0) == 1);
    (void)k->close(server);
    FACT(k->recv(client, bytes, 16, 0) == 0);
    FACT(polled(client, 0) == POLLHUP); /* unasked */

    pair(listener, "s", &client, &server);
    FACT(k->send(client, "abc", 3, MSG_NOSIGNAL) == 3);
    FACT(k->shutdown(server, SHUT_RD) == 0); /* what was sent stays readable, and no more can be */
    FAILS(k->send(client, "d", 1, MSG_NOSIGNAL), EPIPE);
    FACT(k->recv(server, bytes, 16, 0) == 3);
    FACT(k->recv(server, bytes, 16, 0) == 0);
    FACT(k->send(server, "last", 4, MSG_NOSIGNAL) == 4);
    (void)k->close(server);
    FACT(k->recv(client, bytes, 16, 0) == 4);
    FACT(k->recv(client, bytes, 16, 0) == 0);

    pair(listener, "s", &client, &server);
    FACT(k->send(client, "unread", 6, MSG_NOSIGNAL) == 6);
    FACT(k->send(server, "last", 4, MSG_NOSIGNAL) == 4);
    (void)k->close(server); /* with unread input */
    FACT(polled(client, 0) == (POLLHUP | POLLERR));
    FACT(k->recv(client, bytes, 16, 0) == 4);
    FAILS(k->recv(client, bytes, 16, 0), ECONNRESET);
    FACT(k->recv(client, bytes, 16, 0) == 0);
    FAILS(k->send(client, "x", 1, MSG_NOSIGNAL), EPIPE);
}

static void full_windows(void **state)
{
    static char many[1 << 20];
    int listener = listener_at("s", 5), client, server;
    long sent = 0, n, got = 0;
    (void)state;
    pair(listener, "s", &client, &server);
    while ((n = (long)k->send(client, many, sizeof many, MSG_NOSIGNAL)) > 0) sent += n;
    FACT(n < 0 && errno == EAGAIN);
    FACT(sent > 0 && sent < (long)sizeof many); /* a send may be short */
    FACT(polled(client, POLLOUT) == 0);
    FACT(k->recv(server, many, 1, 0) == 1);
    FACT(polled(client, POLLOUT) == 0); /* a little room is not writable yet */
    while ((n = (long)k->recv(server, many, sizeof many, 0)) > 0) got += n;
    FACT(got == sent - 1);
    FACT(polled(client, POLLOUT) == POLLOUT);
}

static void epoll_sets(void **state)
{
    int listener = listener_at("s", 5), client, server, set = k->epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e, got[4];
    (void)state;
    pair(listener, "s", &client, &server);
    memset(&e, 0, sizeof e);
    e.events = EPOLLIN;
    e.data.u64 = 77;
    FAILS(k->epoll_ctl(set, EPOLL_CTL_MOD, server, &e), ENOENT);
    FAILS(k->epoll_ctl(set, EPOLL_CTL_DEL, server, &e), ENOENT);
    FACT(k->epoll_ctl(set, EPOLL_CTL_ADD, server, &e) == 0);
    FAILS(k->epoll_ctl(set, EPOLL_CTL_ADD, server, &e), EEXIST);
    FACT(k->epoll_wait(set, got, 4, 0) == 0);
    FACT(k->send(client, "abc", 3, MSG_NOSIGNAL) == 3);
    FACT(k->epoll_wait(set, got, 4, -1) == 1 && got[0].data.u64 == 77 && got[0].events == EPOLLIN);
    FACT(k->epoll_wait(set, got, 4, 0) == 1); /* level-triggered: again */
    e.events = 0;
    FACT(k->epoll_ctl(set, EPOLL_CTL_MOD, server, &e) == 0);
    FACT(k->epoll_wait(set, got, 4, 0) == 0);
    (void)k->close(client);
    FACT(k->epoll_wait(set, got, 4, 0) == 1 && got[0].events == EPOLLHUP); /* unasked */
    (void)k->close(server);
    FACT(k->epoll_wait(set, got, 4, 0) == 0); /* closing takes it out */
}

static void bells(void **state)
{
    int fd = k->eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), ends[2];
    unsigned long long n = 5, most = ~0ull - 1, i;
    char byte = 0;
    (void)state;
    FAILS(k->read(fd, &n, 8), EAGAIN);
    FACT(polled(fd, POLLIN) == 0);
    FACT(k->write(fd, &n, 8) == 8);
    FACT(k->write(fd, &n, 8) == 8);
    FACT(polled(fd, POLLIN) == POLLIN);
    FACT(k->read(fd, &n, 8) == 8 && n == 10);
    FAILS(k->read(fd, &n, 8), EAGAIN);
    FACT(k->write(fd, &most, 8) == 8);
    n = 1;
    FAILS(k->write(fd, &n, 8), EAGAIN); /* it refuses instead of overflowing */
    FACT(k->read(fd, &n, 8) == 8 && n == most);
    n = 1ull << 62;
    for (i = 0; i < 3; i++) FACT(k->write(fd, &n, 8) == 8);
    FAILS(k->write(fd, &n, 8), EAGAIN);
    n = 1;
    FACT(k->write(fd, &n, 8) == 8); /* a smaller one still fits */
    FACT(k->pipe(ends) == 0);
    FACT(k->fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0 && k->fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0);
    FACT(k->fcntl(ends[0], F_GETFD) == 0);
    FAILS(k->read(ends[0], &byte, 1), EAGAIN);
    for (i = 0; i < 65536; i++)
        if (k->write(ends[1], &byte, 1) != 1) break;
    FACT(i == 65536);
    FAILS(k->write(ends[1], &byte, 1), EAGAIN);
}

static void locks_on_folders(void **state)
{
    int first = k->open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int second = k->open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int blind = k->open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    (void)state;
    FACT(k->flock(first, LOCK_EX | LOCK_NB) == 0);
    FACT(k->flock(first, LOCK_EX | LOCK_NB) == 0);
    FAILS(k->flock(second, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    FACT(k->flock(first, LOCK_UN) == 0);
    FACT(k->flock(second, LOCK_EX | LOCK_NB) == 0);
    (void)k->close(second); /* lets go */
    FACT(k->flock(first, LOCK_EX | LOCK_NB) == 0);
    FAILS(k->flock(blind, LOCK_EX | LOCK_NB), EBADF);
    FAILS(k->open("/nowhere/at/all", O_RDONLY | O_DIRECTORY | O_CLOEXEC), ENOENT);
}

static void options_of_sockets(void **state)
{
    int listener = listener_at("s", 5), client, server, value = -1;
    struct { pid_t pid; uid_t uid; gid_t gid; } who;
    socklen_t size = sizeof value;
    (void)state;
    pair(listener, "s", &client, &server);
    FACT(k->getsockopt(listener, SOL_SOCKET, SO_ACCEPTCONN, &value, &size) == 0 && value == 1);
    FACT(k->getsockopt(client, SOL_SOCKET, SO_ACCEPTCONN, &value, &size) == 0 && value == 0);
    FACT(k->getsockopt(client, SOL_SOCKET, SO_TYPE, &value, &size) == 0 && value == SOCK_STREAM);
    FACT(k->getsockopt(client, SOL_SOCKET, SO_DOMAIN, &value, &size) == 0 && value == AF_UNIX);
    size = sizeof who;
    FACT(k->getsockopt(server, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 && size == sizeof who);
    FACT(who.pid == (k->real ? getpid() : (pid_t)fake.pid));
    FACT(who.uid == (k->real ? geteuid() : (uid_t)fake.uid));
}

static void descriptors(void **state)
{
    int first = new_socket(SOCK_STREAM), second = new_socket(SOCK_STREAM);
    (void)state;
    FACT(second > first);
    (void)k->close(first);
    FACT(new_socket(SOCK_STREAM) == first); /* the lowest that is free */
    FACT(k->fcntl(second, F_GETFD) == FD_CLOEXEC);
    FACT((k->fcntl(second, F_GETFL) & O_NONBLOCK) == O_NONBLOCK);
}

int main(void)
{
    static const struct {
        const char *name;
        CMUnitTestFunction run;
    } tests[] = {{"files of sockets", files_of_sockets}, {"addresses through a folder", addresses_through_a_folder},
                 {"who is there", who_is_there}, {"backlog and drain", backlog_and_drain},
                 {"ends of a stream", ends_of_a_stream}, {"full windows", full_windows}, {"epoll sets", epoll_sets},
                 {"bells", bells}, {"locks on folders", locks_on_folders}, {"options of sockets", options_of_sockets},
                 {"descriptors", descriptors}};
    enum { COUNT = sizeof tests / sizeof tests[0] };
    struct CMUnitTest units[2 * COUNT];
    static char names[2 * COUNT][64];
    int i, result;
    memset(units, 0, sizeof units);
    for (i = 0; i < 2 * COUNT; i++) {
        (void)snprintf(names[i], sizeof names[i], "%s: %s", kernels[i % 2].name, tests[i / 2].name);
        units[i].name = names[i];
        units[i].test_func = tests[i / 2].run;
        units[i].setup_func = setup;
        units[i].teardown_func = teardown;
        units[i].initial_state = (void *)(uintptr_t)&kernels[i % 2];
    }
    result = cmocka_run_group_tests(units, NULL, NULL);
    print_message("# %lu facts, half of them of each kernel\n", facts);
    return result ? result : facts < 250;
}
