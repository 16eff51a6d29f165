/* test_claim.c - from a path to a listening socket and back, over the real kernel: one serves, nothing foreign is
   removed, nobody is refused on a path that exists. */
#include "os.h"

/* ---- helpers ----------------------------------------------------------------------------------------------------- */

static void plan_path(os_plan *plan)
{
    memset(plan, 0, sizeof *plan);
    plan->desc.path = os.path;
}

/* Tries to open where it must fail. */
static uds_echo_error open_failing(const uds_echo_server_desc *desc, uds_echo_failure *why)
{
    uds_echo_server *server = NULL;
    uds_echo_error error = uds_echo_server_open(&server, desc, why);
    char text[8192];
    size_t size = uds_echo_explain(why, desc->path, text, sizeof text);
    if (!error) (void)uds_echo_server_close(server);
    if (error) {
        assert_null(server);
        assert_int_equal(why->error, error);
        assert_non_null(why->call);
        assert_true(size > 20);
        assert_non_null(strstr(text, uds_echo_strerror(error)));
    }
    return error;
}

static uds_echo_error open_failing_at(const char *path, uds_echo_failure *why)
{
    uds_echo_server_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.path = path;
    return open_failing(&desc, why);
}

static int same_file(const char *path, const struct stat *before)
{
    struct stat now;
    return !lstat(path, &now) && now.st_ino == before->st_ino && now.st_dev == before->st_dev &&
           now.st_mode == before->st_mode && now.st_size == before->st_size && now.st_uid == before->st_uid &&
           now.st_mtim.tv_sec == before->st_mtim.tv_sec && now.st_mtim.tv_nsec == before->st_mtim.tv_nsec;
}

/* ---- many starters ----------------------------------------------------------------------------------------------- */

/* A starter waits for the gate to close, tries once, and serves if it could. */
static pid_t fork_starter(const os_plan *plan, const int *gate, int reports)
{
    pid_t pid = os_fork();
    char byte;
    if (pid) return pid;
    (void)close(gate[1]);
    os_ready_fd = reports;
    if (read(gate[0], &byte, 1) != 0) _exit(95);
    os_server_main(plan);
    _exit(94);
}

typedef struct outcome {
    int served, in_use, busy, other;
} outcome;

static outcome start_many(const os_plan *plan, pid_t *pids, int count)
{
    outcome o = {0, 0, 0, 0};
    int gate[2], reports[2], i;
    assert_int_equal(pipe(gate), 0);
    assert_int_equal(pipe(reports), 0);
    for (i = 0; i < count; i++) pids[i] = fork_starter(plan, gate, reports[1]);
    (void)close(gate[0]);
    (void)close(gate[1]);
    for (i = 0; i < count; i++) {
        os_report r;
        if (!os_readable(reports[0], OS_REPLY_MS) || read(reports[0], &r, sizeof r) != (ssize_t)sizeof r) break;
        o.served += r.error == UDS_ECHO_OK;
        o.in_use += r.error == UDS_ECHO_ERR_IN_USE;
        o.busy += r.error == UDS_ECHO_ERR_BUSY;
    }
    o.other = count - o.served - o.in_use - o.busy;
    (void)close(reports[0]);
    (void)close(reports[1]);
    return o;
}

/* The starters there were in all. */
static int rounds_of_many_starters(const os_plan *plan, int rounds, int stale)
{
    enum { STARTERS = 50 };
    pid_t pids[STARTERS];
    int round, i, in_use = 0, busy = 0, served = 0;
    char name[256] = "";
    for (round = 0; round < rounds; round++) {
        outcome o;
        if (stale) os_make_stale(os.path);
        o = start_many(plan, pids, STARTERS);
        if (o.served != 1 || o.other) fail_msg("round %d: %d serve, %d other errors", round, o.served, o.other);
        in_use += o.in_use;
        busy += o.busy;
        served += o.served;
        if (os_names(os.dir, name, sizeof name) != 1 || strcmp(name, "s")) fail_msg("round %d left %s", round, name);
        assert_true(os_serves(os.path));
        for (i = 0; i < STARTERS; i++) (void)kill(pids[i], SIGTERM);
        for (i = 0; i < STARTERS; i++) assert_true(os_reap(pids[i], OS_REPLY_MS) >= 0);
        assert_int_equal(os_names(os.dir, NULL, 0), 0);
    }
    print_message("# %d x %d starters: one served each time, %d got IN_USE, %d BUSY\n", rounds, STARTERS, in_use, busy);
    os_exactly("losers", in_use + busy, rounds * (STARTERS - 1));
    return served + in_use + busy;
}

static void p07_fifty_starters_on_one_stale_path(void **state)
{
    os_plan plan;
    (void)state;
    plan_path(&plan);
    OS_CASES(rounds_of_many_starters(&plan, 20, 1), 1000);
}

static void p07_fifty_starters_on_a_fresh_path(void **state)
{
    os_plan plan;
    (void)state;
    plan_path(&plan);
    OS_CASES(rounds_of_many_starters(&plan, 5, 0), 250);
}

static void p07_fifty_starters_that_bind_in_place(void **state)
{
    os_plan plan;
    (void)state;
    plan_path(&plan);
    plan.desc.publish = UDS_ECHO_PUBLISH_DIRECT;
    OS_CASES(rounds_of_many_starters(&plan, 5, 1), 250);
}

/* ---- what is no stale socket stays ------------------------------------------------------------------------------- */

static const char content[] = "not yours\n";

static void make_file(const char *path)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(content, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static int content_is_whole(const char *path)
{
    char text[64] = "";
    FILE *f = fopen(path, "r");
    size_t n;
    if (!f) return 0;
    n = fread(text, 1, sizeof text - 1, f);
    (void)fclose(f);
    return n == sizeof content - 1 && !memcmp(text, content, n);
}

static int refuses_as_not_socket(const char *what)
{
    uds_echo_server_desc desc;
    uds_echo_failure why;
    struct stat before;
    int names = os_names(os.dir, NULL, 0), how, refused = 0;
    assert_int_equal(lstat(os.path, &before), 0);
    memset(&desc, 0, sizeof desc);
    desc.path = os.path;
    for (how = 0; how < 4; how++) {
        desc.publish = how & 1 ? UDS_ECHO_PUBLISH_DIRECT : UDS_ECHO_PUBLISH_ATOMIC;
        desc.if_exists = how & 2 ? UDS_ECHO_IF_EXISTS_REFUSE : UDS_ECHO_IF_EXISTS_REPLACE_STALE;
        refused += open_failing(&desc, &why) == UDS_ECHO_ERR_NOT_SOCKET;
    }
    os_exactly(what, refused, 4);
    assert_true(same_file(os.path, &before));
    assert_int_equal(os_names(os.dir, NULL, 0), names);
    return refused;
}

static void p01_a_file_a_folder_a_fifo_and_links_stay(void **state)
{
    char target[128];
    int live, cases = 0;
    (void)state;
    (void)snprintf(target, sizeof target, "%s/target", os.dir);

    make_file(os.path);
    cases += refuses_as_not_socket("refusals over a regular file");
    assert_true(content_is_whole(os.path));
    assert_int_equal(unlink(os.path), 0);

    assert_int_equal(mkdir(os.path, 0700), 0);
    cases += refuses_as_not_socket("refusals over a folder");
    assert_int_equal(rmdir(os.path), 0);

    assert_int_equal(mkfifo(os.path, 0600), 0);
    cases += refuses_as_not_socket("refusals over a fifo");
    assert_int_equal(unlink(os.path), 0);

    assert_int_equal(symlink(target, os.path), 0);
    cases += refuses_as_not_socket("refusals over a dangling link");
    assert_false(os_exists(target));

    os_make_stale(target);
    cases += refuses_as_not_socket("refusals over a link to a stale socket");
    assert_int_equal(unlink(target), 0);

    live = os_listen(target, SOCK_STREAM, 8);
    cases += refuses_as_not_socket("refusals over a link to a live socket");
    assert_true(os_exists(target));
    (void)close(live);
    OS_CASES(cases, 24);
}

/* ---- a live server ----------------------------------------------------------------------------------------------- */

static int is_in_use(const char *what, long pid)
{
    uds_echo_failure why;
    struct stat before;
    double began = os_now();
    assert_int_equal(lstat(os.path, &before), 0);
    assert_int_equal(open_failing_at(os.path, &why), UDS_ECHO_ERR_IN_USE);
    print_message("    %s: IN_USE, pid %ld uid %ld\n", what, why.pid, why.uid);
    os_exactly("pid", (double)why.pid, (double)pid);
    os_exactly("uid", (double)why.uid, pid == INT_MAX ? -1 : (double)geteuid());
    os_at_most("ms", os_now() - began, 500 * OS_SLOW);
    assert_true(same_file(os.path, &before));
    assert_int_equal(os_names(os.dir, NULL, 0), 1);
    return 1;
}

static void p02_a_live_server_is_named(void **state)
{
    pid_t server = os_serve(NULL);
    int cases = 0;
    (void)state;
    cases += is_in_use("idle", server);
    assert_int_equal(kill(server, SIGSTOP), 0);
    cases += is_in_use("stopped by SIGSTOP", server);
    assert_int_equal(kill(server, SIGCONT), 0);
    assert_true(os_serves(os.path));
    assert_int_equal(os_stop(server), 0);
    OS_CASES(cases, 2);
}

/* Its queue has no place even to ask who it is. */
static void p02_a_full_backlog_is_live(void **state)
{
    int listener = os_listen(os.path, SOCK_STREAM, 0), first = os_connect();
    (void)state;
    OS_CASES(is_in_use("full backlog", INT_MAX), 1);
    (void)close(first);
    (void)close(listener);
}

static void p02_other_types_are_live(void **state)
{
    int fd = os_listen(os.path, SOCK_SEQPACKET, 8), cases = 0;
    (void)state;
    cases += is_in_use("SOCK_SEQPACKET", INT_MAX);
    (void)close(fd);
    assert_int_equal(unlink(os.path), 0);
    fd = os_bind(os.path, SOCK_DGRAM);
    cases += is_in_use("SOCK_DGRAM", INT_MAX);
    (void)close(fd);
    assert_int_equal(unlink(os.path), 0);
    fd = os_bind(os.path, SOCK_STREAM);
    cases += is_in_use("bound and not yet listening", INT_MAX);
    (void)close(fd);
    OS_CASES(cases, 3);
}

/* ---- nobody is refused on a path that exists --------------------------------------------------------------------- */

enum { ATTEMPTS, REFUSALS, ABSENT, CONNECTED, ANSWERED, TOO_LATE, LOST, GO_ON };

/* What the server's end accepted has to be answered, however close to its end; what it refuses, it refuses by EPIPE. */
static void ask(int fd)
{
    char in[5];
    if (os_write(fd, "hello", 5) != 5) os.shared->count[errno == EPIPE ? TOO_LATE : LOST]++;
    else if (os_read(fd, in, 5) == 5 && !memcmp(in, "hello", 5)) os.shared->count[ANSWERED]++;
    else os.shared->count[LOST]++;
}

static void connect_for_ever(void)
{
    while (os.shared->count[GO_ON]) {
        int fd = os_dial(os.path);
        os.shared->count[ATTEMPTS]++;
        if (fd >= 0) os.shared->count[CONNECTED]++;
        else if (errno == ENOENT) os.shared->count[ABSENT]++;
        else os.shared->count[REFUSALS]++;
        if (fd < 0) continue;
        ask(fd);
        (void)close(fd);
    }
    _exit(0);
}

static int start_and_stop(int times)
{
    int i;
    for (i = 0; i < times; i++) {
        uds_echo_server *server = os_open(NULL);
        double until = os_now() + 1;
        while (os_now() < until) (void)uds_echo_server_step(server, 1);
        uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
        (void)os_run_out(server);
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    }
    return i;
}

static void p08_a_thousand_starts_and_stops_refuse_nobody(void **state)
{
    enum { STARTS = 1000 };
    volatile long *count = os.shared->count;
    pid_t client;
    double began;
    int starts;
    (void)state;
    count[GO_ON] = 1;
    client = os_fork();
    if (client == 0) connect_for_ever();
    began = os_now();
    starts = start_and_stop(STARTS);
    print_message("    ms for a start and a stop: %.2f\n", (os_now() - began) / (int)STARTS);
    count[GO_ON] = 0;
    assert_int_equal(os_reap(client, OS_REPLY_MS), 0);
    print_message("# %ld attempts beside %d starts and stops: %ld connected, %ld found no path, %ld refused\n",
                  count[ATTEMPTS], STARTS, count[CONNECTED], count[ABSENT], count[REFUSALS]);
    print_message("    answered: %ld, told by EPIPE that it was too late: %ld\n", count[ANSWERED], count[TOO_LATE]);
    os_at_least("attempts", (double)count[ATTEMPTS], 1000);
    os_at_least("answered", (double)count[ANSWERED],
                100); /* some thousands, where the machine has nothing else to do */
    os_exactly("refused", (double)count[REFUSALS], 0);
    os_exactly("accepted and lost", (double)count[LOST], 0);
    assert_int_equal(os_names(os.dir, NULL, 0), 0);
    OS_CASES(starts, STARTS);
}

static void p18_twenty_queued_at_sigterm_are_answered(void **state)
{
    enum { CLIENTS = 20, ROUNDS = 10 };
    int fds[CLIENTS], i, round, answered = 0;
    (void)state;
    for (round = 0; round < ROUNDS; round++) {
        pid_t server = os_exec_echo_server();
        char in[5];
        assert_int_equal(kill(server, SIGSTOP), 0);
        os_sleep(5);
        for (i = 0; i < CLIENTS; i++) {
            fds[i] = os_connect();
            assert_int_equal(os_write(fds[i], "hello", 5), 5);
        }
        assert_int_equal(kill(server, SIGTERM), 0);
        assert_int_equal(kill(server, SIGCONT), 0);
        for (i = 0; i < CLIENTS; i++) {
            answered += os_read(fds[i], in, 5) == 5 && !memcmp(in, "hello", 5) && os_read_end(fds[i]) == 0;
            (void)close(fds[i]);
        }
        assert_int_equal(os_reap(server, OS_REPLY_MS), 0);
        assert_int_equal(os_names(os.dir, NULL, 0), 0);
    }
    os_exactly("queued clients that were answered and then saw the end", answered, CLIENTS * ROUNDS);
    OS_CASES(answered, CLIENTS * ROUNDS);
}

/* ---- mode -------------------------------------------------------------------------------------------------------- */

static void p09_mode_is_exact_whatever_the_umask(void **state)
{
    const mode_t masks[] = {0, 022, 077}, modes[] = {0600, 0660, 0666};
    int i, exact = 0, masks_kept = 0;
    (void)state;
    for (i = 0; i < 36; i++) {
        uds_echo_server_desc desc;
        uds_echo_server *server;
        struct stat st;
        mode_t mask = masks[i % 3], before;
        memset(&desc, 0, sizeof desc);
        desc.mode = (int)modes[i / 3 % 3];
        desc.publish = i / 9 % 2 ? UDS_ECHO_PUBLISH_DIRECT : UDS_ECHO_PUBLISH_ATOMIC;
        if (i / 18) os_make_stale(os.path);
        before = umask(mask);
        server = os_open(&desc);
        masks_kept += umask(before) == mask;
        exact += !lstat(os.path, &st) && (st.st_mode & 07777) == (mode_t)desc.mode;
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    }
    os_exactly("files with the exact mode", exact, 36);
    os_exactly("umasks unchanged", masks_kept, 36);
    for (i = 0; i < 9; i++) {
        char cell[32];
        (void)snprintf(cell, sizeof cell, "mode %04o, umask %03o", (unsigned)modes[i / 3], (unsigned)masks[i % 3]);
        os_cell("mode x umask", cell, "exact, the umask unchanged");
    }
    OS_CASES(exact, 36);
}

static void mode_is_0600_unless_told(void **state)
{
    mode_t before = umask(0);
    uds_echo_server *server = os_open(NULL);
    struct stat st;
    (void)state;
    (void)umask(before);
    assert_int_equal(lstat(os.path, &st), 0);
    os_exactly("mode", st.st_mode & 07777, 0600);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* ---- paths ------------------------------------------------------------------------------------------------------- */

/* A path of that length: one long last component, or long folders and a short one. The folder is made. */
static void long_path(char *path, size_t length, int short_name)
{
    size_t used = strlen(os.dir), left = length - used;
    memcpy(path, os.dir, used);
    while (short_name && left > 3) {
        size_t part = left - 2 > 150 ? 100 : left - 2;
        path[used] = '/';
        memset(path + used + 1, 'd', part - 1);
        path[used + part] = '\0';
        if (part > 1 && mkdir(path, 0700) && errno != EEXIST) fail_msg("mkdir: %s", strerror(errno));
        used += part;
        left -= part;
    }
    path[used] = '/';
    memset(path + used + 1, 'n', left - 1);
    path[length] = '\0';
}

/* 1: served, by the client too, and removed. 0: refused as PATH, and nothing was made. */
static int serves_or_refuses(const char *path, size_t length)
{
    uds_echo_server_desc desc;
    uds_echo_server *server;
    uds_echo_failure why;
    uds_echo_error error;
    pthread_t thread;
    char reply[8], folder[512];
    size_t got = 0;
    memset(&desc, 0, sizeof desc);
    desc.path = path;
    (void)snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    error = uds_echo_server_open(&server, &desc, &why);
    if (error) {
        if (error != UDS_ECHO_ERR_BAD_PATH) fail_msg("length %zu: error %d, not PATH", length, (int)error);
        assert_false(os_exists(path));
        return 0;
    }
    thread = os_thread(os_run_thread, server);
    error = uds_echo_call(path, "hello", 5, reply, sizeof reply, &got, OS_REPLY_MS, &why);
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    assert_int_equal(os_join(thread), UDS_ECHO_OK);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    if (error || got != 5) fail_msg("length %zu: the client got error %d", length, (int)error);
    assert_int_equal(os_names(folder, NULL, 0), 0);
    return 1;
}

static void p13_path_lengths_90_to_300(void **state)
{
    size_t length;
    int served = 0, refused = 0, wrong = 0;
    char path[512];
    (void)state;
    for (length = 90; length <= 300; length++) {
        int well;
        long_path(path, length, 1);
        well = serves_or_refuses(path, length);
        served += well;
        wrong += !well; /* whatever the folder, a short last component fits */
        *strrchr(path, '/') = '\0';
        (void)nftw(os.dir, os_remove_one, 16, FTW_DEPTH | FTW_PHYS);
        assert_int_equal(mkdir(os.dir, 0700), 0);

        long_path(path, length, 0);
        well = serves_or_refuses(path, length);
        served += well;
        refused += !well;
        wrong += !well && (length <= 105 || strlen(strrchr(path, '/') + 1) <= 85);
        assert_int_equal(os_names(os.dir, NULL, 0), 0);
    }
    print_message("    lengths served: %d, refused as PATH: %d\n", served, refused);
    os_exactly("refused though they fit", wrong, 0);
    os_exactly("cases", served + refused, 422);
    os_at_least("refused", refused, 100);
    OS_CASES(served + refused, 422);
}

/* A relative path of that length: one long last component, or long folders and a short one. They are made. */
static void relative_path(char *path, size_t length, int short_name)
{
    size_t used = 0;
    while (short_name && length - used > 2) {
        size_t part = length - used - 1;
        if (part > 101) part = 101;
        if (length - used - part == 0) part--;
        memset(path + used, 'd', part - 1);
        if (part == 1) break;
        path[used + part - 1] = '\0';
        if (mkdir(path, 0700) && errno != EEXIST) fail_msg("mkdir: %s", strerror(errno));
        path[used + part - 1] = '/';
        used += part;
    }
    memset(path + used, 'n', length - used);
    path[length] = '\0';
}

/* 1: served, by the client too. 0: refused as PATH. */
static int serves_relative(const char *path)
{
    uds_echo_server_desc desc;
    uds_echo_server *server;
    uds_echo_failure why;
    uds_echo_error error;
    pthread_t thread;
    char reply[8];
    size_t got = 0;
    memset(&desc, 0, sizeof desc);
    desc.path = path;
    error = uds_echo_server_open(&server, &desc, &why);
    if (error == UDS_ECHO_ERR_BAD_PATH) return 0;
    if (error) fail_msg("length %zu: error %d", strlen(path), (int)error);
    thread = os_thread(os_run_thread, server);
    error = uds_echo_call(path, "hello", 5, reply, sizeof reply, &got, OS_REPLY_MS, &why);
    uds_echo_server_stop(server, UDS_ECHO_STOP_NOW);
    assert_int_equal(os_join(thread), UDS_ECHO_OK);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    if (error || got != 5) fail_msg("length %zu: the client got error %d", strlen(path), (int)error);
    assert_false(os_exists(path));
    return 1;
}

static void p13_every_length_from_1_to_300(void **state)
{
    enum { WHOLE = 105 }; /* with the suffix and a NUL it just fits an address */
    int home = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), cases = 0, served, wanted;
    char path[512], cell[16];
    size_t length;
    (void)state;
    assert_true(home >= 0);
    assert_int_equal(chdir(os.dir), 0);
    for (length = 1; length <= 300; length++, cases++) {
        (void)snprintf(cell, sizeof cell, "%zu", length);
        relative_path(path, length, 0);
        wanted = length <= WHOLE;
        served = serves_relative(path);
        if (served != wanted) fail_msg("length %zu, long last component: served %d", length, served);
        assert_int_equal(os_names(os.dir, NULL, 0), 0);
        os_cell("path length, all of it the last component", cell, served ? "served" : "refused as PATH, nothing made");

        relative_path(path, length, 1);
        if (!serves_relative(path)) fail_msg("length %zu, short last component: refused", length);
        os_cell("path length, short last component", cell, "served");
        assert_int_equal(fchdir(home), 0);
        (void)nftw(os.dir, os_remove_one, 16, FTW_DEPTH | FTW_PHYS);
        assert_int_equal(mkdir(os.dir, 0700), 0);
        assert_int_equal(chdir(os.dir), 0);
    }
    assert_int_equal(fchdir(home), 0);
    (void)close(home);
    OS_CASES(2 * cases, 600);
}

static void p12_a_relative_path_and_a_later_chdir(void **state)
{
    pid_t child;
    char other[128], decoy[144];
    (void)state;
    (void)snprintf(other, sizeof other, "%s/other", os.dir);
    (void)snprintf(decoy, sizeof decoy, "%s/s", other);
    assert_int_equal(mkdir(other, 0700), 0);
    os_make_stale(decoy);
    child = os_fork();
    if (child == 0) {
        uds_echo_server_desc desc;
        uds_echo_server *server;
        memset(&desc, 0, sizeof desc);
        desc.path = "s";
        if (chdir(os.dir) || uds_echo_server_open(&server, &desc, NULL)) _exit(1);
        if (!os_exists(os.path) || chdir("other")) _exit(2);
        if (uds_echo_server_close(server)) _exit(3);
        if (os_exists(os.path)) _exit(4);
        if (!os_exists("s")) _exit(5);
        _exit(0);
    }
    os_exactly("exit status of what changed its folder", os_reap(child, OS_REPLY_MS), 0);
    assert_true(os_exists(decoy));
    OS_CASES(1, 1);
}

/* The same by the poll of an address that does not fit: the folder's descriptor is the way to it. */
static void p12_the_folder_may_be_renamed_meanwhile(void **state)
{
    char folder[128], moved[128], path[160];
    uds_echo_server_desc desc;
    uds_echo_server *server;
    (void)state;
    (void)snprintf(folder, sizeof folder, "%s/old", os.dir);
    (void)snprintf(moved, sizeof moved, "%s/new", os.dir);
    (void)snprintf(path, sizeof path, "%s/s", folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    memset(&desc, 0, sizeof desc);
    desc.path = path;
    server = os_open(&desc);
    assert_int_equal(rename(folder, moved), 0);
    os_exactly("names in the moved folder", os_names(moved, NULL, 0), 1);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    os_exactly("names in the moved folder after close", os_names(moved, NULL, 0), 0);
    OS_CASES(1, 1);
}

/* ---- what is at the path at the end ------------------------------------------------------------------------------ */

static void p05_a_successor_is_left_alone(void **state)
{
    uds_echo_server *first = os_open(NULL);
    struct stat st;
    pid_t successor;
    (void)state;
    assert_int_equal(unlink(os.path), 0);
    successor = os_serve(NULL);
    assert_int_equal(lstat(os.path, &st), 0);
    uds_echo_server_stop(first, UDS_ECHO_STOP_DRAIN);
    (void)os_run_out(first);
    assert_int_equal(uds_echo_server_close(first), UDS_ECHO_OK);
    assert_true(same_file(os.path, &st));
    assert_true(os_serves(os.path));
    os_exactly("exit status of the successor", os_stop(successor), 0);
    assert_false(os_exists(os.path));
    OS_CASES(1, 1);
}

static void p05_anything_else_there_is_left_alone(void **state)
{
    uds_echo_server *server = os_open(NULL);
    (void)state;
    assert_int_equal(unlink(os.path), 0);
    make_file(os.path);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    assert_true(content_is_whole(os.path));
    os_exactly("names left", os_names(os.dir, NULL, 0), 1);
    OS_CASES(1, 1);
}

static void ours_goes_and_gone_is_fine(void **state)
{
    uds_echo_server *server = os_open(NULL);
    (void)state;
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    os_exactly("names after close", os_names(os.dir, NULL, 0), 0);
    server = os_open(NULL);
    assert_int_equal(unlink(os.path), 0);
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    (void)os_run_out(server);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    os_exactly("names after close", os_names(os.dir, NULL, 0), 0);
}

static void p06_an_adopted_path_stays(void **state)
{
    uds_echo_server_desc desc;
    uds_echo_server *server;
    struct stat before;
    int listener = os_listen(os.path, SOCK_STREAM, 8);
    (void)state;
    assert_int_equal(chmod(os.path, 0640), 0);
    assert_int_equal(lstat(os.path, &before), 0);
    memset(&desc, 0, sizeof desc);
    assert_int_equal(uds_echo_server_adopt(&server, listener, &desc, NULL), UDS_ECHO_OK);
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    (void)os_run_out(server);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    assert_true(same_file(os.path, &before));
    os_exactly("names left", os_names(os.dir, NULL, 0), 1);
    OS_CASES(1, 1);
}

/* ---- if_exists, publish ---------------------------------------------------------------------------------------- */

static void refuse_refuses_whatever_exists(void **state)
{
    uds_echo_server_desc desc;
    uds_echo_server *server;
    uds_echo_failure why;
    struct stat before;
    (void)state;
    memset(&desc, 0, sizeof desc);
    desc.path = os.path;
    desc.if_exists = UDS_ECHO_IF_EXISTS_REFUSE;
    os_make_stale(os.path);
    assert_int_equal(lstat(os.path, &before), 0);
    os_exactly("error over a stale socket", open_failing(&desc, &why), UDS_ECHO_ERR_EXISTS);
    assert_true(same_file(os.path, &before));
    assert_int_equal(unlink(os.path), 0);
    server = os_open(&desc);
    os_exactly("error over a live one", open_failing(&desc, &why), UDS_ECHO_ERR_IN_USE);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    assert_int_equal(os_names(os.dir, NULL, 0), 0);
}

static int bound_name_ends_in(const char *end)
{
    struct sockaddr_un address;
    socklen_t size = sizeof address;
    int fd = os_connect(), well;
    memset(&address, 0, sizeof address);
    well = !getpeername(fd, (struct sockaddr *)&address, &size) && strlen(address.sun_path) > strlen(end) &&
           !strcmp(address.sun_path + strlen(address.sun_path) - strlen(end), end);
    (void)close(fd);
    return well;
}

static void p43_direct_binds_in_place(void **state)
{
    uds_echo_server_desc desc;
    uds_echo_server *server;
    uds_echo_failure why;
    (void)state;
    memset(&desc, 0, sizeof desc);
    desc.path = os.path;
    desc.publish = UDS_ECHO_PUBLISH_DIRECT;
    server = os_open(&desc);
    assert_true(bound_name_ends_in("/s"));
    os_exactly("error of a second one", open_failing(&desc, &why), UDS_ECHO_ERR_IN_USE);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    os_make_stale(os.path);
    server = os_open(&desc);
    assert_true(bound_name_ends_in("/s"));
    os_exactly("names while it runs", os_names(os.dir, NULL, 0), 1);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    server = os_open(NULL);
    assert_true(bound_name_ends_in("/s~0"));
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    os_exactly("names in the end", os_names(os.dir, NULL, 0), 0);
    OS_CASES(3, 3);
}

/* ---- the lock ---------------------------------------------------------------------------------------------------- */

static pid_t hold_the_lock(void)
{
    int ready[2];
    pid_t pid;
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid = os_fork();
    if (pid == 0) {
        int fd = open(os.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || flock(fd, LOCK_EX) || write(ready[1], "", 1) != 1) _exit(1);
        for (;;) (void)pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    (void)close(ready[0]);
    (void)close(ready[1]);
    return pid;
}

static void p07_without_the_lock_nothing_is_removed(void **state)
{
    uds_echo_server_desc desc;
    uds_echo_server *server;
    uds_echo_failure why;
    struct stat before;
    pid_t holder;
    double began;
    char fresh[128];
    (void)state;
    os_make_stale(os.path);
    assert_int_equal(lstat(os.path, &before), 0);
    holder = hold_the_lock();
    memset(&desc, 0, sizeof desc);
    desc.path = os.path;
    desc.lock_ms = 200;
    began = os_now();
    os_exactly("error over a stale socket", open_failing(&desc, &why), UDS_ECHO_ERR_BUSY);
    os_at_least("ms until then", os_now() - began, 195);
    os_at_most("ms until then", os_now() - began, 200 + 300 * OS_SLOW);
    desc.lock_ms = -1;
    began = os_now();
    os_exactly("error with lock_ms -1", open_failing(&desc, &why), UDS_ECHO_ERR_BUSY);
    os_at_most("ms until then", os_now() - began, 100 * OS_SLOW);
    assert_true(same_file(os.path, &before));
    os_exactly("names left", os_names(os.dir, NULL, 0), 1);

    (void)snprintf(fresh, sizeof fresh, "%s/fresh", os.dir);
    desc.path = fresh;
    server = os_open(&desc);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    os_exactly("names after a close without the lock: stale, and harmless", os_names(os.dir, NULL, 0), 2);
    os_kill(holder);
    server = os_open(&desc);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    os_exactly("names after a start and a stop with it", os_names(os.dir, NULL, 0), 1);
    OS_CASES(4, 4);
}

/* The lock is the folder's, so neighbours wait for each other: all start, each over its own stale file, and all take
   their paths away, though they stop at once. A few that cannot have the lock may leave theirs, stale. */
static void neighbours_in_one_folder_all_start(void **state)
{
    enum { SERVERS = 30, ROUNDS = 5 };
    static char paths[SERVERS][128];
    pid_t pids[SERVERS];
    int round, i, started = 0, left = 0;
    (void)state;
    for (round = 0; round < ROUNDS; round++) {
        int gate[2], reports[2];
        os_plan plan;
        assert_int_equal(pipe(gate), 0);
        assert_int_equal(pipe(reports), 0);
        for (i = 0; i < SERVERS; i++) {
            (void)snprintf(paths[i], sizeof paths[i], "%s/s%d", os.dir, i);
            if (!os_exists(paths[i])) os_make_stale(paths[i]);
            plan_path(&plan);
            plan.desc.path = paths[i];
            pids[i] = fork_starter(&plan, gate, reports[1]);
        }
        (void)close(gate[0]);
        (void)close(gate[1]);
        for (i = 0; i < SERVERS; i++) {
            os_report r;
            assert_true(os_readable(reports[0], OS_REPLY_MS));
            assert_int_equal(read(reports[0], &r, sizeof r), sizeof r);
            started += r.error == UDS_ECHO_OK;
        }
        (void)close(reports[0]);
        (void)close(reports[1]);
        for (i = 0; i < SERVERS; i++) (void)kill(pids[i], SIGTERM);
        for (i = 0; i < SERVERS; i++) assert_true(os_reap(pids[i], OS_REPLY_MS) >= 0);
        left += os_names(os.dir, NULL, 0);
    }
    os_exactly("started over stale files", started, SERVERS * ROUNDS);
    os_at_most("files that stayed, stale, of all stopped at once", left, SERVERS * ROUNDS / 50.0);
}

/* ---- crashes ----------------------------------------------------------------------------------------------------- */

static void p46_killed_and_started_again(void **state)
{
    int round;
    (void)state;
    for (round = 0; round < 30; round++) {
        pid_t server = os_serve(NULL);
        assert_true(os_serves(os.path));
        os_kill(server);
        assert_int_equal(os_names(os.dir, NULL, 0), 1);
    }
    assert_int_equal(os_stop(os_serve(NULL)), 0);
    os_exactly("kills survived", round, 30);
    os_exactly("names in the end", os_names(os.dir, NULL, 0), 0);
    OS_CASES(round, 30);
}

/* Starts and stops until it is killed, at any moment of either; every other start is over a stale file. */
static pid_t fork_starter_for_ever(void)
{
    uds_echo_server_desc desc;
    uds_echo_server *server;
    pid_t pid = os_fork();
    if (pid) return pid;
    memset(&desc, 0, sizeof desc);
    desc.path = os.path;
    for (;;) {
        int fd = os.shared->count[0]++ & 1 ? os_bind(os.path, SOCK_STREAM) : -1;
        if (fd >= 0) (void)close(fd);
        if (!uds_echo_server_open(&server, &desc, NULL)) (void)uds_echo_server_close(server);
    }
}

static void p46_killed_while_starting(void **state)
{
    enum { ROUNDS = 300 };
    int round, most = 0, litter = 0;
    char staged[128];
    (void)state;
    (void)snprintf(staged, sizeof staged, "%s~0", os.path);
    for (round = 0; round < ROUNDS; round++) {
        struct timespec t = {0, (long)round * 7919 % 3000000};
        uds_echo_server *server;
        pid_t starter;
        int names;
        os.shared->count[0] = 0;
        starter = fork_starter_for_ever();
        while (os.shared->count[0] < 2) os_sleep(0);
        (void)nanosleep(&t, NULL);
        os_kill(starter);
        names = os_names(os.dir, NULL, 0);
        if (names > most) most = names;
        litter += os_exists(staged);
        server = os_open(NULL);
        assert_int_equal(os_names(os.dir, NULL, 0), 1);
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
        assert_int_equal(os_names(os.dir, NULL, 0), 0);
    }
    print_message("    kills that left a temporary name, of %d: %d\n", ROUNDS, litter);
    os_at_most("names after a kill", most, 2);
    OS_CASES(round, ROUNDS);
}

static void p46_litter_is_swept_up(void **state)
{
    uds_echo_server *server;
    char litter[128];
    int i, live;
    (void)state;
    for (i = 0; i < 10; i++) {
        (void)snprintf(litter, sizeof litter, "%s~%d", os.path, i);
        os_make_stale(litter);
    }
    os_exactly("names before", os_names(os.dir, NULL, 0), 10);
    server = os_open(NULL);
    os_exactly("names while it runs", os_names(os.dir, NULL, 0), 1);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);

    (void)snprintf(litter, sizeof litter, "%s~0", os.path);
    live = os_listen(litter, SOCK_STREAM, 8); /* somebody's, and alive */
    (void)snprintf(litter, sizeof litter, "%s~1", os.path);
    make_file(litter);
    server = os_open(NULL);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    os_exactly("foreign names that stayed", os_names(os.dir, NULL, 0), 2);
    assert_true(content_is_whole(litter));
    (void)close(live);
    OS_CASES(i + 2, 12);
}

/* ---- bad input --------------------------------------------------------------------------------------------------- */

static const char *const bad_fields[] = {
    "desc.path",
    "desc.mode",
    "desc.mode",
    "desc.if_exists",
    "desc.publish",
    "desc.lock_ms",
    "desc.backlog",
    "desc.message_max",
    "desc.message_max",
    "desc.memory_max",
    "desc.step_messages",
    "desc.send_buffer",
    "desc.idle_ms",
    "desc.drain_ms",
    "desc.when_full",
    "desc.connections_max",
    "desc.backlog",
    "desc.publish",
    "desc.connections_max",
    "desc.mode",
};

static void set_bad_field(uds_echo_server_desc *d, int which)
{
    switch (which) {
    case 0: d->path = NULL; break;
    case 1: d->mode = -1; break;
    case 2: d->mode = 01777; break;
    case 3: d->if_exists = (uds_echo_if_exists)2; break;
    case 4: d->publish = (uds_echo_publish_mode)2; break;
    case 5: d->lock_ms = -2; break;
    case 6: d->backlog = -1; break;
    case 7: d->message_max = -1; break;
    case 8: d->message_max = (1l << 30) + 1; break;
    case 9: d->memory_max = -2; break;
    case 10: d->step_messages = -1; break;
    case 11: d->send_buffer = -1; break;
    case 12: d->idle_ms = -2; break;
    case 13: d->drain_ms = -2; break;
    case 14: d->when_full = (uds_echo_when_full)9; break;
    case 15: d->connections_max = -2; break;
    case 16: d->backlog = INT_MIN; break;
    case 17: d->publish = (uds_echo_publish_mode)77; break;
    case 18: d->connections_max = 1000001; break;
    default: d->mode = INT_MAX; break;
    }
}

static void bad_fields_are_named(void **state)
{
    uds_echo_server_desc desc;
    uds_echo_failure why;
    char text[512];
    int i, count = (int)(sizeof bad_fields / sizeof *bad_fields), named = 0;
    (void)state;
    for (i = 0; i < count; i++) {
        memset(&desc, 0, sizeof desc);
        desc.path = os.path;
        set_bad_field(&desc, i);
        if (open_failing(&desc, &why) != UDS_ECHO_ERR_INVALID || strcmp(why.call, bad_fields[i]))
            fail_msg("case %d: error %d, %s", i, (int)why.error, why.call);
        (void)uds_echo_explain(&why, os.path, text, sizeof text);
        named += strstr(text, bad_fields[i]) != NULL;
    }
    os_exactly("fields named in the sentence", named, count);
    os_at_least("cases", count, 20);
    os_exactly("names left", os_names(os.dir, NULL, 0), 0);
}

static void null_arguments_are_named(void **state)
{
    uds_echo_server_desc desc;
    uds_echo_server *server = NULL;
    uds_echo_failure why;
    int named = 0;
    (void)state;
    memset(&desc, 0, sizeof desc);
    desc.path = os.path;
    named += uds_echo_server_open(NULL, &desc, &why) == UDS_ECHO_ERR_INVALID && !strcmp(why.call, "server");
    named += uds_echo_server_open(&server, NULL, &why) == UDS_ECHO_ERR_INVALID && !strcmp(why.call, "desc");
    named += uds_echo_server_adopt(NULL, 0, &desc, &why) == UDS_ECHO_ERR_INVALID && !strcmp(why.call, "server");
    named += uds_echo_server_adopt(&server, 0, NULL, &why) == UDS_ECHO_ERR_INVALID && !strcmp(why.call, "desc");
    named += uds_echo_server_adopt(&server, 0, &desc, &why) == UDS_ECHO_ERR_INVALID && !strcmp(why.call, "desc.path");
    named += uds_echo_server_run(NULL) == UDS_ECHO_ERR_INVALID && uds_echo_server_step(NULL, 0) == UDS_ECHO_ERR_INVALID;
    named += uds_echo_server_close(NULL) == UDS_ECHO_OK && uds_echo_server_find(NULL, 1) == NULL;
    named += uds_echo_server_fd(NULL) == -1 && uds_echo_server_timeout(NULL) == -1;
    uds_echo_server_stop(NULL, UDS_ECHO_STOP_NOW);
    uds_echo_server_wake(NULL);
    uds_echo_conn_close(NULL);
    os_exactly("answers to NULL", named, 8);
    assert_null(server);
}

static void bad_paths_are_explained(void **state)
{
    uds_echo_failure why;
    char path[400], huge[6000];
    int right = 0;
    (void)state;
    right += open_failing_at("", &why) == UDS_ECHO_ERR_BAD_PATH;
    (void)snprintf(path, sizeof path, "%s/", os.dir);
    right += open_failing_at(path, &why) == UDS_ECHO_ERR_BAD_PATH;
    (void)snprintf(path, sizeof path, "%s/missing/s", os.dir);
    right += open_failing_at(path, &why) == UDS_ECHO_ERR_NOT_FOUND;
    make_file(os.path);
    (void)snprintf(path, sizeof path, "%s/s", os.path); /* its folder is a file */
    right += open_failing_at(path, &why) == UDS_ECHO_ERR_NOT_FOUND;
    memset(huge, 'h', sizeof huge - 1);
    huge[sizeof huge - 1] = '\0';
    right += open_failing_at(huge, &why) == UDS_ECHO_ERR_BAD_PATH;
    memcpy(huge, os.dir, strlen(os.dir)); /* too long for the system, whatever its last component */
    huge[strlen(os.dir)] = '/';
    huge[sizeof huge - 3] = '/';
    right += open_failing_at(huge, &why) == UDS_ECHO_ERR_BAD_PATH;
    os_exactly("bad paths with the right error", right, 6);
    os_exactly("names left", os_names(os.dir, NULL, 0), 1);
}

/* Root may write anywhere, so a child tries it as somebody else. */
static void an_unwritable_folder_is_denied(void **state)
{
    pid_t child;
    (void)state;
    assert_int_equal(chmod(os.dir, 0555), 0);
    child = os_fork();
    if (child == 0) {
        uds_echo_server_desc desc;
        uds_echo_server *server;
        uds_echo_failure why;
        char text[512];
        if (geteuid() == 0 && (setgid(65534) || setuid(65534))) _exit(100);
        memset(&desc, 0, sizeof desc);
        desc.path = os.path;
        if (!uds_echo_server_open(&server, &desc, &why)) _exit(101);
        if (uds_echo_explain(&why, desc.path, text, sizeof text) < 20 || !strstr(text, "denied")) _exit(102);
        _exit((int)why.error);
    }
    os_exactly("error", os_reap(child, OS_REPLY_MS), UDS_ECHO_ERR_DENIED);
    assert_int_equal(chmod(os.dir, 0700), 0);
    os_exactly("names left", os_names(os.dir, NULL, 0), 0);
}

/* A folder that may be written and searched but not listed has no lock: a fresh start needs none. */
static void an_unreadable_folder_serves_a_fresh_path(void **state)
{
    pid_t child;
    (void)state;
    assert_int_equal(chmod(os.dir, 0333), 0);
    child = os_fork();
    if (child == 0) {
        uds_echo_server_desc desc;
        uds_echo_server *server;
        if (geteuid() == 0 && (setgid(65534) || setuid(65534))) _exit(100);
        memset(&desc, 0, sizeof desc);
        desc.path = os.path;
        if (uds_echo_server_open(&server, &desc, NULL)) _exit(101);
        if (!os_exists(os.path)) _exit(102);
        (void)uds_echo_server_close(server);
        if (!os_exists(os.path)) _exit(103); /* no lock, no removal: stale now, and it cannot be replaced either */
        desc.lock_ms = 100;
        if (uds_echo_server_open(&server, &desc, NULL) != UDS_ECHO_ERR_DENIED) _exit(104);
        _exit(0);
    }
    os_exactly("exit status", os_reap(child, OS_REPLY_MS), 0);
    assert_int_equal(chmod(os.dir, 0700), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OS_TEST(p07_fifty_starters_on_one_stale_path),
        OS_TEST(p07_fifty_starters_on_a_fresh_path),
        OS_TEST(p07_fifty_starters_that_bind_in_place),
        OS_TEST(p01_a_file_a_folder_a_fifo_and_links_stay),
        OS_TEST(p02_a_live_server_is_named),
        OS_TEST(p02_a_full_backlog_is_live),
        OS_TEST(p02_other_types_are_live),
        OS_TEST(p08_a_thousand_starts_and_stops_refuse_nobody),
        OS_TEST(p18_twenty_queued_at_sigterm_are_answered),
        OS_TEST(p09_mode_is_exact_whatever_the_umask),
        OS_TEST(mode_is_0600_unless_told),
        OS_TEST(p13_path_lengths_90_to_300),
        OS_TEST(p13_every_length_from_1_to_300),
        OS_TEST(p12_a_relative_path_and_a_later_chdir),
        OS_TEST(p12_the_folder_may_be_renamed_meanwhile),
        OS_TEST(p05_a_successor_is_left_alone),
        OS_TEST(p05_anything_else_there_is_left_alone),
        OS_TEST(ours_goes_and_gone_is_fine),
        OS_TEST(p06_an_adopted_path_stays),
        OS_TEST(refuse_refuses_whatever_exists),
        OS_TEST(p43_direct_binds_in_place),
        OS_TEST(p07_without_the_lock_nothing_is_removed),
        OS_TEST(neighbours_in_one_folder_all_start),
        OS_TEST(p46_killed_and_started_again),
        OS_TEST(p46_killed_while_starting),
        OS_TEST(p46_litter_is_swept_up),
        OS_TEST(bad_fields_are_named),
        OS_TEST(null_arguments_are_named),
        OS_TEST(bad_paths_are_explained),
        OS_TEST(an_unwritable_folder_is_denied),
        OS_TEST(an_unreadable_folder_serves_a_fresh_path),
    };
    return cmocka_run_group_tests_name("claim", tests, NULL, NULL);
}
