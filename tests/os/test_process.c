/* test_process.c - signals, threads, fork, descriptors, foreign loops: the server as a part of somebody's program. */
#include "os.h"

#include <semaphore.h>

/* ---- stop -------------------------------------------------------------------------------------------------------- */

static uds_echo_server *volatile signalled;
static volatile uds_echo_stop_mode stop_how;

static void stop_it(int number)
{
    int before = errno;
    (void)number;
    errno = 4711;
    uds_echo_server_stop(signalled, stop_how);
    if (errno != 4711) _exit(93); /* stop keeps it */
    errno = before;
}

static void stop_from_a_handler_before_run(void **state)
{
    const uds_echo_stop_mode modes[] = {UDS_ECHO_STOP_DRAIN, UDS_ECHO_STOP_NOW};
    uds_echo_server *server;
    size_t i;
    (void)state;
    (void)signal(SIGUSR1, stop_it);
    for (i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        stop_how = modes[i];
        server = os_open(NULL);
        signalled = server;
        assert_int_equal(raise(SIGUSR1), 0);
        os_at_most("ms of a run that was stopped before", os_run_out(server), 200 * OS_SLOW);
        assert_int_equal(uds_echo_server_step(server, -1), UDS_ECHO_ERR_STOPPED);
        assert_int_equal(uds_echo_server_run(server), UDS_ECHO_OK);
        assert_false(os_exists(os.path));
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    }
    (void)signal(SIGUSR1, SIG_DFL);
}

static void stop_from_a_handler_during_run(void **state)
{
    uds_echo_server *server = os_open(NULL);
    pid_t child;
    double took;
    (void)state;
    signalled = server;
    stop_how = UDS_ECHO_STOP_DRAIN;
    (void)signal(SIGUSR1, stop_it);
    child = os_fork();
    if (child == 0) {
        os_sleep(50);
        _exit(kill(getppid(), SIGUSR1) != 0);
    }
    took = os_run_out(server);
    os_at_least("ms of run", took, 45);
    os_at_most("ms of run", took, 50 + 500 * OS_SLOW);
    assert_int_equal(os_reap(child, OS_REPLY_MS), 0);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    (void)signal(SIGUSR1, SIG_DFL);
}

static void *stop_after_50_ms(void *server)
{
    os_sleep(50);
    uds_echo_server_stop((uds_echo_server *)server, UDS_ECHO_STOP_DRAIN);
    return NULL;
}

static void stop_from_another_thread(void **state)
{
    uds_echo_server *server = os_open(NULL);
    pthread_t thread = os_thread(stop_after_50_ms, server);
    double took = os_run_out(server);
    (void)state;
    os_at_least("ms of run", took, 45);
    os_at_most("ms of run", took, 50 + 500 * OS_SLOW);
    (void)os_join(thread);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* One that does not read holds a drain up for ever; NOW ends it, and a later DRAIN does not soften NOW. */
static void now_after_drain_is_now(void **state)
{
    static char block[1 << 16];
    uds_echo_server_desc desc;
    uds_echo_server *server;
    uds_echo_stats stats;
    int fd, i;
    (void)state;
    memset(&desc, 0, sizeof desc);
    desc.drain_ms = -1;
    server = os_open(&desc);
    fd = os_connect();
    for (i = 0; i < 50; i++) {
        (void)send(fd, block, sizeof block, MSG_DONTWAIT | MSG_NOSIGNAL);
        os_settle(server);
    }
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    for (i = 0; i < 20; i++) assert_int_equal(uds_echo_server_step(server, 10), UDS_ECHO_OK);
    uds_echo_server_stop(server, UDS_ECHO_STOP_NOW);
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    os_at_most("ms from NOW to the end", os_run_out(server), 100 * OS_SLOW);
    uds_echo_server_stats(server, &stats);
    os_exactly("cut as STOPPED", (double)stats.closed[UDS_ECHO_ERR_STOPPED], 1);
    (void)close(fd);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* The sharer's end needs no grace, so ten thousand are quick. */
static void a_stop_before_run_or_step_is_never_lost(void **state)
{
    enum { TIMES = 10000 };
    uds_echo_server *base = os_open(NULL), *server;
    uds_echo_server_desc desc;
    int i, stopped = 0;
    (void)state;
    memset(&desc, 0, sizeof desc);
    desc.share_with = base;
    desc.connections_max = 4;
    for (i = 0; i < TIMES; i++) {
        int k;
        server = os_open(&desc);
        for (k = i % 5; k > 0; k--) uds_echo_server_wake(server); /* a wake may not swallow it */
        uds_echo_server_stop(server, i & 1 ? UDS_ECHO_STOP_NOW : UDS_ECHO_STOP_DRAIN);
        for (k = i % 7; k > 0; k--) uds_echo_server_wake(server);
        if (i & 2) stopped += uds_echo_server_run(server) == UDS_ECHO_OK;
        else stopped += uds_echo_server_step(server, 1000) == UDS_ECHO_ERR_STOPPED;
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    }
    os_exactly("stops that were kept", stopped, TIMES);
    assert_int_equal(uds_echo_server_close(base), UDS_ECHO_OK);
}

typedef struct racer {
    uds_echo_server *server;
    sem_t go, gone;
    int how, times;
} racer;

static void *stop_in_a_race(void *argument)
{
    racer *r = (racer *)argument;
    int i;
    for (i = 0; i < r->times; i++) {
        while (sem_wait(&r->go)) {
        }
        uds_echo_server_stop(r->server, i & 1 ? UDS_ECHO_STOP_NOW : UDS_ECHO_STOP_DRAIN);
        (void)sem_post(&r->gone);
    }
    return NULL;
}

static void a_stop_that_races_with_run_is_never_lost(void **state)
{
    uds_echo_server *base = os_open(NULL);
    uds_echo_server_desc desc;
    racer r;
    pthread_t thread;
    int i, stopped = 0;
    (void)state;
    memset(&r, 0, sizeof r);
    r.times = 5000;
    assert_int_equal(sem_init(&r.go, 0, 0), 0);
    assert_int_equal(sem_init(&r.gone, 0, 0), 0);
    memset(&desc, 0, sizeof desc);
    desc.share_with = base;
    desc.connections_max = 4;
    thread = os_thread(stop_in_a_race, &r);
    for (i = 0; i < r.times; i++) {
        r.server = os_open(&desc);
        (void)sem_post(&r.go);
        stopped += uds_echo_server_run(r.server) == UDS_ECHO_OK;
        while (sem_wait(&r.gone)) {
        }
        assert_int_equal(uds_echo_server_close(r.server), UDS_ECHO_OK);
    }
    (void)os_join(thread);
    os_exactly("stops that were kept", stopped, r.times);
    assert_int_equal(uds_echo_server_close(base), UDS_ECHO_OK);
    (void)sem_destroy(&r.go);
    (void)sem_destroy(&r.gone);
}

/* ---- wake -------------------------------------------------------------------------------------------------------- */

enum { WAKERS = 4, WAKES = 20000 };
static volatile long posted[WAKERS], seen[WAKERS], wakes_run;
static uds_echo_server *wake_server;

static void look_at_what_was_posted(uds_echo_server *server, void *user)
{
    int i, all = 1;
    (void)user;
    wakes_run++;
    for (i = 0; i < WAKERS; i++) {
        seen[i] = __atomic_load_n(&posted[i], __ATOMIC_ACQUIRE);
        all = all && seen[i] == WAKES;
    }
    if (all) uds_echo_server_stop(server, UDS_ECHO_STOP_NOW);
}

static void *post_and_wake(void *argument)
{
    volatile long *mine = (volatile long *)argument;
    long i;
    for (i = 1; i <= WAKES; i++) {
        __atomic_store_n(mine, i, __ATOMIC_RELEASE);
        uds_echo_server_wake(wake_server);
    }
    return NULL;
}

static void wakes_from_other_threads_all_count(void **state)
{
    uds_echo_server_desc desc;
    pthread_t threads[WAKERS];
    int i;
    (void)state;
    memset(&desc, 0, sizeof desc);
    desc.on_wake = look_at_what_was_posted;
    wake_server = os_open(&desc);
    wakes_run = 0;
    for (i = 0; i < WAKERS; i++) threads[i] = os_thread(post_and_wake, (void *)(uintptr_t)&posted[i]);
    (void)os_run_out(wake_server); /* ends only if the last wake of each was acted on */
    for (i = 0; i < WAKERS; i++) (void)os_join(threads[i]);
    os_at_least("runs of on_wake", (double)wakes_run, 1);
    os_at_most("runs of on_wake", (double)wakes_run, WAKERS * WAKES);
    assert_int_equal(uds_echo_server_close(wake_server), UDS_ECHO_OK);
}

/* ---- fork -------------------------------------------------------------------------------------------------------- */

static void child_with_the_parents_server(uds_echo_server *server)
{
    uds_echo_stats stats;
    uds_echo_server_stop(server, UDS_ECHO_STOP_NOW);
    uds_echo_server_wake(server);
    if (uds_echo_server_run(server) != UDS_ECHO_ERR_FORKED) _exit(1);
    if (uds_echo_server_step(server, 0) != UDS_ECHO_ERR_FORKED) _exit(2);
    uds_echo_server_stats(server, &stats);
    if (stats.connections != 1) _exit(3);
    if (uds_echo_server_close(server) != UDS_ECHO_OK) _exit(4);
    if (!os_exists(os.path)) _exit(5);
    _exit(0);
}

static void wake_is_an_error(uds_echo_server *server, void *user)
{
    (void)server;
    (*(int *)user)++;
}

static void p41_a_child_disturbs_nothing(void **state)
{
    uds_echo_server_desc desc;
    uds_echo_server *server;
    int fd, i, woken = 0, pings = 0;
    char in[4];
    (void)state;
    memset(&desc, 0, sizeof desc);
    desc.on_wake = wake_is_an_error;
    desc.user = &woken;
    server = os_open(&desc);
    fd = os_connect();
    os_settle(server);
    for (i = 0; i < 20; i++) {
        pid_t child = os_fork();
        if (child == 0) child_with_the_parents_server(server);
        assert_int_equal(os_reap(child, OS_REPLY_MS), 0);
        assert_int_equal(os_write(fd, "ping", 4), 4);
        os_settle(server); /* the old connection, by the poller that the child has closed too */
        pings += os_readable(fd, 0) && os_read(fd, in, 4) == 4;
        (void)close(fd);
        os_settle(server);
        fd = os_connect(); /* and a new one */
        os_settle(server);
    }
    os_exactly("round trips after a child's stop and close", pings, 20);
    os_exactly("wakes from children", woken, 0);
    assert_true(os_exists(os.path));
    (void)close(fd);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    assert_false(os_exists(os.path));
    OS_CASES(pings, 20);
}

/* ---- descriptors ------------------------------------------------------------------------------------------------- */

static void a_thousand_opens_and_closes_leak_nothing(void **state)
{
    uds_echo_client_desc to;
    uds_echo_failure why;
    int before = os_open_descriptors(), i;
    (void)state;
    memset(&to, 0, sizeof to);
    to.path = os.path;
    for (i = 0; i < 1000; i++) {
        uds_echo_server *server = os_open(NULL), *second;
        uds_echo_server_desc desc;
        uds_echo_client client;
        memset(&desc, 0, sizeof desc);
        desc.path = os.path;
        assert_int_equal(uds_echo_server_open(&second, &desc, &why), UDS_ECHO_ERR_IN_USE);
        assert_int_equal(uds_echo_client_open(&client, &to, &why), UDS_ECHO_OK);
        os_settle(server);
        if (i & 1) uds_echo_client_close(&client);
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
        uds_echo_client_close(&client);
        assert_int_equal(uds_echo_client_open(&client, &to, &why), UDS_ECHO_ERR_NOT_FOUND);
    }
    os_exactly("descriptors", os_open_descriptors(), before);
}

/* "socket" and "anon" are what the descriptors of a server link to in /proc. */
static int strangers_after_exec(void)
{
    char line[512];
    int count = 0;
    FILE *f = popen("ls -l /proc/self/fd", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) count += strstr(line, "socket:") || strstr(line, "anon_inode:");
    (void)pclose(f);
    return count;
}

static void p32_nothing_passes_exec(void **state)
{
    enum { MOST = 256 };
    char inherited[MOST];
    int before = strangers_after_exec(), fd, ours = 0, bare = 0;
    uds_echo_client_desc to;
    uds_echo_client client;
    uds_echo_server *server;
    (void)state;
    for (fd = 0; fd < MOST; fd++) inherited[fd] = fcntl(fd, F_GETFD) >= 0;
    server = os_open(NULL);
    memset(&to, 0, sizeof to);
    to.path = os.path;
    assert_int_equal(uds_echo_client_open(&client, &to, NULL), UDS_ECHO_OK);
    os_settle(server);
    for (fd = 0; fd < MOST; fd++) {
        int flags = inherited[fd] ? -1 : fcntl(fd, F_GETFD);
        ours += flags >= 0;
        bare += flags >= 0 && !(flags & FD_CLOEXEC);
    }
    os_at_least("descriptors of a server and two ends", ours, 5);
    os_exactly("of these without close-on-exec", bare, 0);
    os_exactly("that passed exec", strangers_after_exec() - before, 0);
    OS_CASES(ours, 5);
    uds_echo_client_close(&client);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* ---- sharing ----------------------------------------------------------------------------------------------------- */

enum { SHARERS = 4, SHARED_CLIENTS = 256 };

/* The largest share of the connections. Every server's turn to stop comes, and the path goes with the last. */
static double share_once(void)
{
    uds_echo_server *servers[SHARERS];
    pthread_t threads[SHARERS];
    unsigned long long share[SHARERS], most = 0, sum = 0;
    uds_echo_server_desc desc;
    int fds[SHARED_CLIENTS], i, served = 0;
    memset(&desc, 0, sizeof desc);
    servers[0] = os_open(NULL);
    desc.share_with = servers[0];
    for (i = 1; i < SHARERS; i++) servers[i] = os_open(&desc);
    for (i = 0; i < SHARERS; i++) threads[i] = os_thread(os_run_thread, servers[i]);
    for (i = 0; i < SHARED_CLIENTS; i++) {
        fds[i] = os_connect();
        served += os_ping(fds[i]);
    }
    for (i = 0; i < SHARED_CLIENTS; i++) (void)close(fds[i]);
    for (i = 0; i < SHARERS; i++) {
        uds_echo_stats stats;
        assert_true(os_serves(os.path)); /* as long as one is left */
        uds_echo_server_stop(servers[i], UDS_ECHO_STOP_DRAIN);
        assert_int_equal(os_join(threads[i]), UDS_ECHO_OK);
        assert_int_equal(os_exists(os.path), i < SHARERS - 1);
        uds_echo_server_stats(servers[i], &stats);
        share[i] = stats.accepted;
        sum += share[i];
        if (share[i] > most) most = share[i];
        assert_int_equal(uds_echo_server_close(servers[i]), UDS_ECHO_OK);
    }
    print_message("# %d connections over %d threads: %llu %llu %llu %llu\n", SHARED_CLIENTS, SHARERS, share[0],
                  share[1], share[2], share[3]);
    os_exactly("served", served, SHARED_CLIENTS);
    os_exactly("accepted", (double)sum, SHARED_CLIENTS + SHARERS);
    return (double)most;
}

/* On a busy machine a thread that is late leaves its turn to another; what never takes turns fails each time. */
static void four_threads_share_evenly(void **state)
{
    double bound = 1.5 * (int)SHARED_CLIENTS / (int)SHARERS, most = share_once();
    int i;
    (void)state;
    for (i = 0; i < 2 && most > bound; i++) most = share_once();
    os_at_most("largest share", most, bound);
}

static void sharing_needs_an_open_server(void **state)
{
    uds_echo_server *base = os_open(NULL), *server = NULL;
    uds_echo_server_desc desc;
    uds_echo_failure why;
    (void)state;
    memset(&desc, 0, sizeof desc);
    desc.share_with = base;
    desc.path = os.path;
    os_exactly("error with a path as well", uds_echo_server_open(&server, &desc, &why), UDS_ECHO_ERR_INVALID);
    desc.path = NULL;
    uds_echo_server_stop(base, UDS_ECHO_STOP_NOW);
    (void)os_run_out(base);
    os_exactly("error over a stopped one", uds_echo_server_open(&server, &desc, &why), UDS_ECHO_ERR_STOPPED);
    assert_string_equal(why.call, "desc.share_with");
    assert_null(server);
    assert_int_equal(uds_echo_server_close(base), UDS_ECHO_OK);
}

/* ---- adopt ------------------------------------------------------------------------------------------------------- */

static void p42_other_holders_of_a_listener_go_on(void **state)
{
    int listener = os_listen(os.path, SOCK_STREAM, 8), other = dup(listener), client, accepted;
    uds_echo_server_desc desc;
    uds_echo_server *server;
    struct stat before;
    (void)state;
    memset(&desc, 0, sizeof desc);
    assert_int_equal(lstat(os.path, &before), 0);
    assert_int_equal(fcntl(listener, F_GETFL) & O_NONBLOCK, 0);
    assert_int_equal(uds_echo_server_adopt(&server, listener, &desc, NULL), UDS_ECHO_OK);
    assert_true((fcntl(listener, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(listener, F_GETFD) & FD_CLOEXEC) != 0);
    client = os_connect();
    assert_int_equal(os_write(client, "x", 1), 1);
    os_settle(server);
    assert_true(os_readable(client, 0));
    (void)close(client);
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    os_at_most("ms of the drain", os_run_out(server), 500 * OS_SLOW);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    assert_true(os_exists(os.path));
    client = os_connect();
    assert_true(os_readable(other, OS_REPLY_MS));
    accepted = accept(other, NULL, NULL);
    os_at_least("descriptor accepted by the other holder", accepted, 0);
    (void)close(accepted);
    (void)close(client);
    (void)close(other);
    OS_CASES(1, 1);
}

static int adopt_fails_as(int fd, uds_echo_error wanted)
{
    uds_echo_server_desc desc;
    uds_echo_server *server = NULL;
    uds_echo_failure why;
    uds_echo_error error;
    memset(&desc, 0, sizeof desc);
    error = uds_echo_server_adopt(&server, fd, &desc, &why);
    if (error != wanted) print_message("    descriptor %d: error %d, wanted %d\n", fd, (int)error, (int)wanted);
    return error == wanted && server == NULL && why.error == wanted && (fd < 0 || fcntl(fd, F_GETFD) >= 0);
}

static void p36_only_a_listening_stream_socket_is_adopted(void **state)
{
    int file = open("/dev/null", O_RDONLY | O_CLOEXEC), pair[2], right = 0;
    int inet = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), bound = os_bind(os.path, SOCK_STREAM), packets,
        datagrams;
    char path[128];
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    (void)snprintf(path, sizeof path, "%s2", os.path);
    packets = os_listen(path, SOCK_SEQPACKET, 1);
    datagrams = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    right += adopt_fails_as(-1, UDS_ECHO_ERR_INVALID);
    right += adopt_fails_as(file, UDS_ECHO_ERR_INVALID);
    right += adopt_fails_as(pair[0], UDS_ECHO_ERR_INVALID);
    right += adopt_fails_as(bound, UDS_ECHO_ERR_INVALID);
    right += adopt_fails_as(inet, UDS_ECHO_ERR_WRONG_TYPE);
    right += adopt_fails_as(packets, UDS_ECHO_ERR_WRONG_TYPE);
    right += adopt_fails_as(datagrams, UDS_ECHO_ERR_WRONG_TYPE);
    os_exactly("refusals, the descriptor still the caller's", right, 7);
    OS_CASES(right, 7);
    (void)close(file);
    (void)close(pair[0]);
    (void)close(pair[1]);
    (void)close(inet);
    (void)close(bound);
    (void)close(packets);
    (void)close(datagrams);
}

/* ---- loops ------------------------------------------------------------------------------------------------------- */

static void own_loop_by_descriptor_and_timeout(void **state)
{
    uds_echo_server_desc desc;
    uds_echo_server *server;
    pid_t client;
    int rounds = 0, status = -1, steps = 0;
    double end;
    (void)state;
    memset(&desc, 0, sizeof desc);
    desc.idle_ms = 100;
    server = os_open(&desc);
    if (!UDS_ECHO_HAVE_EPOLL) { /* then there is no such descriptor */
        assert_int_equal(uds_echo_server_fd(server), -1);
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
        return;
    }
    client = os_fork();
    if (client == 0) {
        int fd = os_dial(os.path), i;
        for (i = 0; i < 200; i++)
            if (!os_ping(fd)) _exit(1);
        _exit(os_read_end(fd) != 0); /* cut when it was idle: the timeout led to that step */
    }
    end = os_now() + (int)OS_REPLY_MS;
    do {
        struct pollfd p = {.fd = uds_echo_server_fd(server), .events = POLLIN};
        int wait = uds_echo_server_timeout(server);
        assert_true(p.fd >= 0);
        if (poll(&p, 1, wait < 0 || wait > 20 ? 20 : wait) > 0 || wait == 0 || wait == 1) {
            assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
            steps++;
        }
        rounds++;
        if (waitpid(client, &status, WNOHANG) == client) {
            os_forget(client);
            break;
        }
    } while (os_now() < end);
    os_exactly("exit status of the client", status, 0);
    os_at_least("steps", steps, 200);
    os_at_most("rounds of the loop", rounds, 3000); /* more would be a spin */
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    assert_true(os_readable(uds_echo_server_fd(server), OS_REPLY_MS)); /* a stop shows there too */
    (void)os_run_out(server);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

static void step_0_never_blocks(void **state)
{
    enum { STEPS = 10000 };
    uds_echo_server *server = os_open(NULL);
    double began = os_now(), longest = 0;
    int fd = os_connect(), i;
    (void)state;
    for (i = 0; i < STEPS; i++) {
        double before = os_now();
        assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
        if (os_now() - before > longest) longest = os_now() - before;
    }
    os_at_most("ms for 10,000 steps", os_now() - began, 1000 * OS_SLOW);
    os_at_most("ms for the longest", longest, 100 * OS_SLOW);
    began = os_now();
    assert_int_equal(uds_echo_server_step(server, 50), UDS_ECHO_OK);
    os_at_least("ms for a step of 50 with nothing to do", os_now() - began, 49);
    (void)close(fd);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* ---- from within callbacks --------------------------------------------------------------------------------------- */

static int forbidden, callbacks;

static void try_what_is_forbidden(uds_echo_server *server)
{
    callbacks++;
    forbidden += uds_echo_server_run(server) == UDS_ECHO_ERR_REENTRANT;
    forbidden += uds_echo_server_step(server, 0) == UDS_ECHO_ERR_REENTRANT;
    forbidden += uds_echo_server_close(server) == UDS_ECHO_ERR_REENTRANT;
}

static void try_on_server(uds_echo_server *server, void *user)
{
    (void)user;
    try_what_is_forbidden(server);
}

static int try_on_open(uds_echo_conn *conn, void *user)
{
    (void)user;
    try_what_is_forbidden(uds_echo_conn_server(conn));
    return 0;
}

static void try_on_close(uds_echo_conn *conn, uds_echo_error why, void *user)
{
    (void)why;
    (void)user;
    try_what_is_forbidden(uds_echo_conn_server(conn));
}

static uds_echo_verdict try_on_message(uds_echo_conn *conn, uds_echo_message *message, void *user)
{
    (void)message;
    (void)user;
    try_what_is_forbidden(uds_echo_conn_server(conn));
    return UDS_ECHO_REPLY;
}

static void run_step_and_close_from_callbacks_are_refused(void **state)
{
    uds_echo_server_desc desc;
    uds_echo_server *server;
    char in[2];
    int fd, second;
    (void)state;
    forbidden = callbacks = 0;
    memset(&desc, 0, sizeof desc);
    desc.on_ready = desc.on_wake = try_on_server;
    desc.on_open = try_on_open;
    desc.on_close = try_on_close;
    desc.on_message = try_on_message;
    server = os_open(&desc);
    fd = os_connect();
    second = os_connect();
    assert_int_equal(os_write(fd, "hi", 2), 2);
    uds_echo_server_wake(server);
    os_settle(server);
    os_exactly("bytes answered all the same", (double)os_read(fd, in, 2), 2);
    (void)close(fd);
    os_settle(server);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK); /* on_close of the second, within close */
    os_exactly("callbacks", callbacks, 7);
    os_exactly("refused calls", forbidden, callbacks * 3);
    (void)close(second);
}

/* What is allowed: to push to others, to end others, to stop. */
static uds_echo_id others[8];
static int other_count;

static int remember(uds_echo_conn *conn, void *user)
{
    (void)user;
    if (other_count < 8) others[other_count++] = uds_echo_conn_id(conn);
    return 0;
}

static uds_echo_verdict tell_and_end_the_others(uds_echo_conn *conn, uds_echo_message *message, void *user)
{
    uds_echo_server *server = uds_echo_conn_server(conn);
    int i;
    (void)user;
    for (i = 0; i < other_count; i++) {
        uds_echo_conn *other = uds_echo_server_find(server, others[i]);
        if (other == conn) continue;
        (void)uds_echo_conn_send(other, message->data, message->size);
        uds_echo_conn_close(other);
    }
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    return UDS_ECHO_REPLY;
}

static void pushes_ends_and_a_stop_from_a_callback(void **state)
{
    uds_echo_server_desc desc;
    uds_echo_server *server;
    int fds[8], i, right = 0;
    char in[3];
    (void)state;
    memset(&desc, 0, sizeof desc);
    desc.on_open = remember;
    desc.on_message = tell_and_end_the_others;
    other_count = 0;
    server = os_open(&desc);
    for (i = 0; i < 8; i++) fds[i] = os_connect();
    os_settle(server);
    assert_int_equal(os_write(fds[3], "bye", 3), 3);
    (void)os_run_out(server);
    for (i = 0; i < 8; i++) {
        right += os_read(fds[i], in, 3) == 3 && !memcmp(in, "bye", 3) && os_read_end(fds[i]) == 0;
        (void)close(fds[i]);
    }
    os_exactly("clients told, and then ended readably", right, 8);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* ---- both in one process ----------------------------------------------------------------------------------------- */

static void server_and_client_in_one_process(void **state)
{
    uds_echo_server *server = os_open(NULL);
    pthread_t thread = os_thread(os_run_thread, server);
    char reply[16];
    size_t got = 0;
    int i, right = 0;
    (void)state;
    for (i = 0; i < 500; i++)
        right += uds_echo_call(os.path, "both here", 9, reply, sizeof reply, &got, OS_REPLY_MS, NULL) == UDS_ECHO_OK &&
                 got == 9 && !memcmp(reply, "both here", 9);
    os_exactly("calls", right, 500);
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    assert_int_equal(os_join(thread), UDS_ECHO_OK);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

static void note_server(uds_echo_server *server, void *user)
{
    __atomic_store_n((uds_echo_server **)user, server, __ATOMIC_RELEASE);
}

static void *serve_thread(void *desc)
{
    return (void *)(intptr_t)uds_echo_serve((const uds_echo_server_desc *)desc, NULL);
}

static void serve_returns_when_it_was_stopped(void **state)
{
    uds_echo_server *running = NULL, *server;
    uds_echo_server_desc desc;
    pthread_t thread;
    (void)state;
    memset(&desc, 0, sizeof desc);
    desc.path = os.path;
    desc.on_ready = note_server;
    desc.user = &running;
    thread = os_thread(serve_thread, &desc);
    while ((server = __atomic_load_n(&running, __ATOMIC_ACQUIRE)) == NULL) os_sleep(1);
    assert_true(os_serves(os.path));
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    os_exactly("what serve returned", os_join(thread), UDS_ECHO_OK);
    assert_false(os_exists(os.path));
}

static void stop_when_ready(uds_echo_server *server, void *user)
{
    (void)user;
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
}

static void count_end(uds_echo_server *server, void *user)
{
    int *ends = (int *)user;
    uds_echo_server_stop(server, UDS_ECHO_STOP_NOW);
    *ends += uds_echo_server_close(server) == UDS_ECHO_ERR_REENTRANT ? 1 : 100;
}

static void stop_from_on_ready_and_one_on_end(void **state)
{
    uds_echo_server_desc desc;
    int i, ends = 0;
    (void)state;
    memset(&desc, 0, sizeof desc);
    desc.path = os.path;
    desc.on_ready = stop_when_ready;
    desc.on_end = count_end;
    desc.user = &ends;
    for (i = 0; i < 20; i++) assert_int_equal(uds_echo_serve(&desc, NULL), UDS_ECHO_OK);
    os_exactly("ends of as many servers", ends, 20);
    desc.mode = -1;
    assert_int_equal(uds_echo_serve(&desc, NULL), UDS_ECHO_ERR_INVALID);
    os_exactly("ends after one that could not start", ends, 20);
    assert_false(os_exists(os.path));
}

/* ---- who connected ----------------------------------------------------------------------------------------------- */

static uds_echo_peer last_peer;

static int note_peer(uds_echo_conn *conn, void *user)
{
    (void)user;
    (void)uds_echo_conn_peer(conn, &last_peer);
    return 0;
}

static void p19_the_peer_is_known(void **state)
{
    uds_echo_server_desc desc;
    uds_echo_server *server;
    int fd;
    (void)state;
    memset(&desc, 0, sizeof desc);
    desc.on_open = note_peer;
    server = os_open(&desc);
    fd = os_connect();
    os_settle(server);
    os_exactly("pid", (double)last_peer.pid, (double)getpid());
    os_exactly("uid", (double)last_peer.uid, (double)geteuid());
    os_exactly("gid", (double)last_peer.gid, (double)getegid());
    OS_CASES(1, 1);
    (void)close(fd);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OS_TEST(stop_from_a_handler_before_run),
        OS_TEST(stop_from_a_handler_during_run),
        OS_TEST(stop_from_another_thread),
        OS_TEST(now_after_drain_is_now),
        OS_TEST(a_stop_before_run_or_step_is_never_lost),
        OS_TEST(a_stop_that_races_with_run_is_never_lost),
        OS_TEST(wakes_from_other_threads_all_count),
        OS_TEST(p41_a_child_disturbs_nothing),
        OS_TEST(a_thousand_opens_and_closes_leak_nothing),
        OS_TEST(p32_nothing_passes_exec),
        OS_TEST(four_threads_share_evenly),
        OS_TEST(sharing_needs_an_open_server),
        OS_TEST(p42_other_holders_of_a_listener_go_on),
        OS_TEST(p36_only_a_listening_stream_socket_is_adopted),
        OS_TEST(own_loop_by_descriptor_and_timeout),
        OS_TEST(step_0_never_blocks),
        OS_TEST(run_step_and_close_from_callbacks_are_refused),
        OS_TEST(pushes_ends_and_a_stop_from_a_callback),
        OS_TEST(server_and_client_in_one_process),
        OS_TEST(serve_returns_when_it_was_stopped),
        OS_TEST(stop_from_on_ready_and_one_on_end),
        OS_TEST(p19_the_peer_is_known),
    };
    return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
