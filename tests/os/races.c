/* races.c - starts of a server that race against a neighbour in a process of its own, over the real kernel.

     races [STARTS]    so many starts of each race; prints a line for each, and `N passed, N failed, N skipped`

   The server is root's and the neighbour is another user, who owns the directory and may rename and unlink everything in
   it. So the owner of a file tells whose it is. The calls of the header are watched: the file that an open remembers as
   its own is one that its fstatat(2) saw, and the last sight of that number tells the owner. Of the neighbour's files the
   neighbour itself looks at the modes, before it removes each.

     direct         PUBLISH_DIRECT against unlink, bind, listen
     direct, slow   the same, and a pause between bind and listen
     swap, file     a regular file of root's, by a hard link or a symbolic one, changes places with the staged file again
                    and again, while mode 0777 is asked for
     swap, socket   the same with PUBLISH_DIRECT, and a live socket of the neighbour's

   A file of the neighbour's that is removed counts as lost only where the header saw that it was not its own. Where it
   came between the comparison and unlink(2) it counts as a window: docs/limits.md names those. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int seen_fstatat(int dirfd, const char *name, struct stat *st, int flags);
static int seen_unlinkat(int dirfd, const char *name, int flags);

#define UDS_ECHO_SYS(fn) seen_##fn
#define seen_accept accept
#define seen_accept4 accept4
#define seen_bind bind
#define seen_calloc calloc
#define seen_clock_gettime clock_gettime
#define seen_close close
#define seen_connect connect
#define seen_epoll_create1 epoll_create1
#define seen_epoll_ctl epoll_ctl
#define seen_epoll_wait epoll_wait
#define seen_eventfd eventfd
#define seen_fchmod fchmod
#define seen_fchmodat fchmodat
#define seen_fcntl fcntl
#define seen_flock flock
#define seen_free free
#define seen_getpid getpid
#define seen_getrlimit getrlimit
#define seen_getsockopt getsockopt
#define seen_linkat linkat
#define seen_listen listen
#define seen_malloc malloc
#define seen_open open
#define seen_poll poll
#define seen_read read
#define seen_realloc realloc
#define seen_recv recv
#define seen_renameat renameat
#define seen_renameat2 renameat2
#define seen_send send
#define seen_setsockopt setsockopt
#define seen_shutdown shutdown
#define seen_socket socket
#define seen_syscall syscall
#define seen_write write
#define UDS_ECHO_IMPLEMENTATION
#include "uds_echo.h"

enum { NEIGHBOUR = 65533, EXCHANGE = 2 /* renameat2(2), RENAME_EXCHANGE */ };

static char dir[64], path[96], staged[96], bait[96], victim[96];

static struct shared {
    volatile int go, idle;               /* the neighbour may work; it does nothing now */
    volatile long modes_changed, rounds; /* of its files; how often it came */
} * shared;

static struct {
    long lost, windows;
} removed;

static void fail(const char *what)
{
    perror(what);
    exit(2);
}

/* ---- the calls of the header ------------------------------------------------------------------------------------- */

enum { SIGHTS = 64 };

static struct stat sights[SIGHTS]; /* the last that fstatat said of sockets and files, in turn */
static unsigned sight;

static int seen_fstatat(int dirfd, const char *name, struct stat *st, int flags)
{
    int result = fstatat(dirfd, name, st, flags);
    if (!result) sights[sight++ % SIGHTS] = *st;
    return result;
}

/* The last sight of that number; NULL: none. */
static const struct stat *sight_of(dev_t device, ino_t number)
{
    unsigned i;
    for (i = 1; i <= SIGHTS && i <= sight; i++) {
        const struct stat *st = &sights[(sight - i) % SIGHTS];
        if (st->st_dev == device && st->st_ino == number) return st;
    }
    return NULL;
}

static int is_foreign(const struct stat *st)
{
    return !S_ISSOCK(st->st_mode) || st->st_uid != 0;
}

/* Every file of the neighbour's is live, so that none of them may be removed. What comes just before is the comparison. */
static int seen_unlinkat(int dirfd, const char *name, int flags)
{
    struct stat st;
    if (!fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) && is_foreign(&st)) {
        const struct stat *compared = &sights[(sight - 1) % SIGHTS];
        if (compared->st_ino == st.st_ino && compared->st_dev == st.st_dev && is_foreign(compared)) removed.lost++;
        else removed.windows++;
    }
    return unlinkat(dirfd, name, flags);
}

/* ---- the neighbour ----------------------------------------------------------------------------------------------- */

static unsigned dice = 1;

static unsigned below(unsigned bound)
{
    dice = dice * 1664525u + 1013904223u;
    return (dice >> 8) % bound;
}

static long long now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Without a sleep, which takes longer than the moments that are looked for. */
static void pass_ns(long long ns)
{
    long long until = now_ns() + ns;
    while (now_ns() < until) {
    }
}

static socklen_t address_of(struct sockaddr_un *address, const char *name)
{
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, name, strlen(name) + 1);
    return (socklen_t)sizeof *address;
}

static int bound_to(const char *name)
{
    struct sockaddr_un address;
    socklen_t size = address_of(&address, name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) fail("socket");
    if (!bind(fd, (struct sockaddr *)&address, size)) return fd;
    (void)close(fd);
    return -1;
}

/* Until somebody has the path, which is the moment to take it. */
static void await_the_path(long long ns)
{
    long long until = now_ns() + ns;
    struct stat st;
    while (lstat(path, &st) && now_ns() < until) {
    }
}

/* An ordinary server that starts, serves for a while, and is started again. */
static void replace_again_and_again(int is_slow)
{
    int old = -1, fd;
    for (;;) {
        struct stat st;
        if (!lstat(path, &st) && st.st_uid == NEIGHBOUR && (st.st_mode & 0777) != 0700) shared->modes_changed++;
        (void)unlink(path);
        if (old >= 0) (void)close(old);
        if (below(2)) pass_ns(below(120000));
        else await_the_path(200000);
        (void)unlink(path);
        fd = old = bound_to(path);
        if (fd < 0) continue;
        if (is_slow) pass_ns(below(200000));
        (void)listen(fd, 8);
        shared->rounds++;
        pass_ns(below(40000));
    }
}

/* Changes places with the file of that name while it may. */
static void swap_again_and_again(const char *name)
{
    for (;;) {
        shared->idle = !shared->go;
        if (!shared->go) continue;
        if (!syscall(SYS_renameat2, AT_FDCWD, bait, AT_FDCWD, name, EXCHANGE)) shared->rounds++;
        pass_ns(below(20000));
    }
}

/* ---- the races --------------------------------------------------------------------------------------------------- */

enum { DIRECT, DIRECT_SLOW, SWAP_FILE, SWAP_SOCKET, RACES };

static const char *const race_names[RACES] = {"direct", "direct, slow", "swap, file", "swap, socket"};

static void become_the_neighbour(int race)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || setgroups(0, NULL) || setgid(NEIGHBOUR) || setuid(NEIGHBOUR)) _exit(1);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of user takes it back */
    (void)umask(077);
    if (race == SWAP_FILE) swap_again_and_again(staged);
    if (race == SWAP_SOCKET) swap_again_and_again(path);
    replace_again_and_again(race == DIRECT_SLOW);
}

static void remove_names(void)
{
    char name[112];
    int i;
    (void)unlink(path);
    (void)unlink(bait);
    for (i = 0; i < 10; i++) {
        (void)snprintf(name, sizeof name, "%s~%d", path, i);
        (void)unlink(name);
    }
}

/* What the neighbour of a swap offers: a link to root's file, or a live socket. The descriptor by which its mode is
   looked at, whatever its name is then; *live: the socket's. */
static int put_out_bait(int race, int start, int *live)
{
    int fd;
    *live = -1;
    if (race == SWAP_FILE) {
        if (start & 1 ? symlink(victim, bait) : link(victim, bait)) fail("link");
        return open(victim, O_PATH | O_CLOEXEC);
    }
    *live = bound_to(bait);
    if (*live < 0 || listen(*live, 8) || chown(bait, NEIGHBOUR, NEIGHBOUR) || chmod(bait, 0700)) fail("bait");
    fd = open(bait, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    return fd;
}

/* Whether a client of the path comes to this listener. */
static int is_reached(int listener)
{
    struct sockaddr_un address;
    socklen_t size = address_of(&address, path);
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), fd = -1, comes = 0;
    if (client < 0) fail("socket");
    if (!connect(client, (struct sockaddr *)&address, size)) {
        while (!comes && (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
            struct ucred who;
            socklen_t who_size = sizeof who;
            comes = !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &who_size) && who.pid == getpid();
            (void)close(fd);
        }
    }
    (void)close(client);
    return comes;
}

typedef struct tally {
    long starts, opened, taken, modes_changed, reached;
} tally;

static void start_once(int race, tally *t)
{
    uds_echo_server_desc desc;
    uds_echo_server *server = NULL;
    struct stat st;
    int is_swap = race == SWAP_FILE || race == SWAP_SOCKET, watched = -1, live = -1;
    mode_t mode = race == SWAP_FILE ? 0600 : 0700;
    if (is_swap) {
        watched = put_out_bait(race, (int)t->starts, &live);
        if (watched < 0) fail("bait");
        shared->go = 1;
    }
    memset(&desc, 0, sizeof desc);
    desc.path = path;
    desc.mode = 0777;
    desc.lock_ms = is_swap ? -1 : 0;
    desc.connections_max = 1;
    desc.message_max = 64;
    desc.publish = race == SWAP_FILE ? UDS_ECHO_PUBLISH_ATOMIC : UDS_ECHO_PUBLISH_DIRECT;
    sight = 0;
    t->starts++;
    if (!uds_echo_server_open(&server, &desc, NULL)) {
        const struct stat *ours = sight_of(server->listener->inode.dev, server->listener->inode.ino);
        t->opened++;
        t->taken += !ours || is_foreign(ours);
        t->reached += is_reached(server->listener->fd);
        if (uds_echo_server_close(server)) fail("close");
    }
    if (!is_swap) return;
    shared->go = 0;
    while (!shared->idle) {
    }
    if (fstat(watched, &st)) fail("fstat");
    if ((st.st_mode & 0777) != mode) {
        t->modes_changed++;
        if (race == SWAP_FILE && chmod(victim, mode)) fail("chmod");
    }
    (void)close(watched);
    if (live >= 0) (void)close(live);
    remove_names();
}

/* 1: no harm was done, and something was shown. */
static int run_race(int race, long starts)
{
    long long began = now_ns();
    pid_t neighbour;
    tally t;
    int well;
    memset(&t, 0, sizeof t);
    memset(&removed, 0, sizeof removed);
    memset(shared, 0, sizeof *shared);
    (void)fflush(stdout);
    neighbour = fork();
    if (neighbour < 0) fail("fork");
    if (neighbour == 0) become_the_neighbour(race);
    while (t.starts < starts) start_once(race, &t);
    (void)kill(neighbour, SIGKILL);
    (void)waitpid(neighbour, NULL, 0);
    remove_names();
    t.modes_changed += shared->modes_changed;
    well = t.opened && shared->rounds && !t.taken && !t.modes_changed && !removed.lost;
    printf(
        "%-4s  %-12s  %ld starts, %ld opened, %ld taken for ours, %ld modes changed, %ld files lost, %ld in a window, "
        "%ld reached; %ld rounds of the neighbour, %.1f s\n",
        well ? "ok" : "FAIL", race_names[race], t.starts, t.opened, t.taken, t.modes_changed, removed.lost,
        removed.windows, t.reached, shared->rounds, (double)(now_ns() - began) / 1e9);
    return well;
}

int main(int argc, char **argv)
{
    long starts = argc > 1 ? atol(argv[1]) : 1000;
    int race, passed = 0, fd;
    void *map;
    if (geteuid() != 0) {
        printf("skip  races: only root can be the server of another user's directory\n0 passed, 0 failed, %d skipped\n",
               RACES);
        return 0;
    }
    (void)snprintf(dir, sizeof dir, "/tmp/uds_echo_races_XXXXXX");
    map = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (starts < 1 || map == MAP_FAILED || !mkdtemp(dir) || chmod(dir, 0711)) fail("races");
    shared = (struct shared *)map;
    (void)snprintf(victim, sizeof victim, "%s/victim", dir);
    (void)snprintf(path, sizeof path, "%s/d", dir);
    if (mkdir(path, 0700) || chown(path, NEIGHBOUR, NEIGHBOUR)) fail("mkdir");
    (void)snprintf(bait, sizeof bait, "%s/d/bait", dir);
    (void)snprintf(staged, sizeof staged, "%s/d/s~0", dir);
    (void)snprintf(path, sizeof path, "%s/d/s", dir);
    (void)umask(022);
    fd = open(victim, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || close(fd)) fail("victim");
    for (race = 0; race < RACES; race++) passed += run_race(race, starts);
    (void)unlink(victim);
    path[strlen(path) - 2] = '\0';
    if (rmdir(path) || rmdir(dir)) fail("rmdir");
    printf("%d passed, %d failed, 0 skipped\n", passed, RACES - passed);
    return passed != RACES;
}
