/* chaos.c - one server and hundreds of clients that misbehave at random, some of which are killed and stopped, while
   the server itself is killed and the next one takes over its path.

       CHAOS_SECONDS=n   how long it goes on (60); 0: until SIGINT
       SEED=n            where the random choices begin; printed at the start

   At every step of the server its statistics must add up; what clients get back must be what they sent, and all of it
   unless their server was ended under them; whenever all clients left, bytes, descriptors and memory of the server must
   be what they were. Ends with `N passed, N failed, N skipped`. */

#define _GNU_SOURCE 1
#define UDS_ECHO_IMPLEMENTATION
#include "uds_echo.h"

#include "chaos.h"
#include "zoo.h"

#include <dirent.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

/* ASan keeps freed memory for a while: then resident memory says nothing. */
#ifdef __has_feature
#define ASAN_BY_FEATURE __has_feature(address_sanitizer)
#else
#define ASAN_BY_FEATURE 0
#endif
#if defined(__SANITIZE_ADDRESS__) || ASAN_BY_FEATURE
enum { KEEPS_FREED_MEMORY = 1 };
#else
enum { KEEPS_FREED_MEMORY = 0 };
#endif

/* ---- the
   server ---------------------------------------------------------------------------------------------------- */

static uds_echo_server *serving;

static int on_open(uds_echo_conn *conn, void *user)
{
    (void)user;
    if (++common->opened % REFUSE_EVERY) return common->welcomed++, 0;
    if (!uds_echo_conn_send(conn, refusal, sizeof refusal - 1)) common->refusal_bytes += sizeof refusal - 1;
    return 1;
}

static uds_echo_verdict on_message(uds_echo_conn *conn, uds_echo_message *message, void *user)
{
    (void)conn;
    (void)user;
    common->handled += message->size;
    return UDS_ECHO_REPLY;
}

static void on_close(uds_echo_conn *conn, uds_echo_error why, void *user)
{
    (void)conn;
    (void)why;
    (void)user;
    common->closed++;
}

static void on_term(int number)
{
    (void)number;
    uds_echo_server_stop(serving, UDS_ECHO_STOP_DRAIN);
}

static unsigned long long in_use(void)
{
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
    return (unsigned long long)mallinfo2().uordblks + (unsigned long long)mallinfo2().hblkhd;
#else
    return 0;
#endif
}

static int open_descriptors(pid_t pid)
{
    char name[64];
    int count = 0;
    DIR *folder;
    (void)snprintf(name, sizeof name, "/proc/%ld/fd", (long)pid);
    folder = opendir(name);
    if (!folder) return -1;
    while (readdir(folder)) count++;
    (void)closedir(folder);
    return count - 2;
}

static unsigned long long closed_sum(const uds_echo_stats *s)
{
    unsigned long long sum = 0;
    int i;
    for (i = 0; i < UDS_ECHO_ERROR_COUNT; i++) sum += s->closed[i];
    return sum;
}

/* What must hold after every step, whatever the clients do. */
static void check_step(const uds_echo_stats *s)
{
    if (closed_sum(s) + s->connections != s->accepted)
        violation("stats: %llu closed and %llu open of %llu accepted", closed_sum(s), s->connections, s->accepted);
    if (common->opened != s->accepted || common->opened - common->welcomed != s->refused)
        violation("stats: %llu accepted, %llu refused; on_open counted %llu and %llu", s->accepted, s->refused,
                  common->opened, common->opened - common->welcomed);
    if (s->pending > s->connections * 2 * MESSAGE_MAX)
        violation("stats: %llu bytes pending for %llu connections", s->pending, s->connections);
    if (s->bytes_out + s->pending > common->handled + common->refusal_bytes)
        violation("stats: %llu bytes sent and %llu pending of %llu handled", s->bytes_out, s->pending, common->handled);
    if (common->handled > s->bytes_in) violation("stats: handled %llu of %llu", common->handled, s->bytes_in);
}

static void serve(const char *path)
{
    uds_echo_server_desc desc = {0};
    uds_echo_failure why;
    char text[1024];
    desc.path = path;
    desc.message_max = MESSAGE_MAX;
    desc.connections_max = 4 * WORKERS * CLIENTS;
    desc.drain_ms = 2000;
    desc.on_open = on_open;
    desc.on_message = on_message;
    desc.on_close = on_close;
    if (uds_echo_server_open(&serving, &desc, &why)) {
        (void)uds_echo_explain(&why, path, text, sizeof text);
        violation("no start: %.150s", text);
        _exit(1);
    }
    (void)signal(SIGTERM, on_term);
    common->birth_in_use = in_use();
    common->birth_fds = open_descriptors(getpid()) - 1; /* without the one that counts */
    set_flag(&common->ready, 1);
    while (uds_echo_server_step(serving, 50) == UDS_ECHO_OK) {
        uds_echo_server_stats(serving, &common->stats);
        check_step(&common->stats);
        if (!flag(&common->trim)) continue;
        (void)malloc_trim(0); /* so that resident memory is what is used, not what malloc keeps for later */
        common->in_use = in_use();
        set_flag(&common->trim, 0);
        set_flag(&common->trimmed, 1);
    }
    uds_echo_server_stats(serving, &common->stats);
    check_step(&common->stats);
    (void)signal(SIGTERM, SIG_IGN);
    (void)uds_echo_server_close(serving);
    if (common->closed != common->welcomed)
        violation("on_close %llu times for %llu that were welcome", common->closed, common->welcomed);
    set_flag(&common->ended_well, 1);
    _exit(0);
}

/* ---- the
   driver ---------------------------------------------------------------------------------------------------- */

typedef struct worker {
    pid_t pid;
    long long resume_ms; /* stopped until then; 0: it runs */
} worker;

static struct {
    char dir[64], path[96];
    unsigned long long state, seed;
    long long began_ms, end_ms, told_ms;
    worker workers[WORKERS];
    pid_t server;
    long first_rss_kb; /* of this server when it was calm for the first time; 0: not yet */
    int servers, takeovers, calms, killed, stopped;
    unsigned long long passed, failed, skipped, bytes, accepted;
    long rss_growth_kb;
} run;

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

static long long now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static void sleep_ms(int ms)
{
    struct timespec t;
    t.tv_sec = ms / 1000;
    t.tv_nsec = ms % 1000 * 1000000L;
    (void)nanosleep(&t, NULL);
}

__attribute__((format(printf, 2, 3))) static void check(int ok, const char *format, ...)
{
    va_list list;
    if (ok) {
        run.passed++;
        return;
    }
    run.failed++;
    va_start(list, format);
    fputs("FAILED: ", stdout);
    (void)vprintf(format, list);
    putchar('\n');
    va_end(list);
}

static void tell(void)
{
    if (now_ms() - run.told_ms < 5000) return;
    run.told_ms = now_ms();
    printf(
        "%4lld s: %d servers (%d took over a stale path), %llu connections, %llu verified whole, %llu MB, %d killed, "
        "%d stopped, %llu laws broken\n",
        (now_ms() - run.began_ms) / 1000, run.servers, run.takeovers, run.accepted + common->stats.accepted,
        common->verified, common->verified_bytes / 1000000, run.killed, run.stopped, common->violations);
    (void)fflush(stdout);
}

static long resident_kb(pid_t pid)
{
    char name[64];
    long size, resident = 0;
    FILE *f;
    (void)snprintf(name, sizeof name, "/proc/%ld/statm", (long)pid);
    f = fopen(name, "r");
    if (!f) return -1;
    if (fscanf(f, "%ld %ld", &size, &resident) != 2) resident = -1;
    (void)fclose(f);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static int entries(const char *name)
{
    int count = 0;
    DIR *folder = opendir(name);
    if (!folder) return -1;
    while (readdir(folder)) count++;
    (void)closedir(folder);
    return count - 2;
}

/* Whatever was found there: nothing of a run stays behind, a failed one's neither. */
static void remove_folder(void)
{
    char name[512];
    struct dirent *entry;
    DIR *folder = opendir(run.dir);
    while (folder && (entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] == '.') continue;
        (void)snprintf(name, sizeof name, "%s/%s", run.dir, entry->d_name);
        (void)unlink(name);
    }
    if (folder) (void)closedir(folder);
    check(rmdir(run.dir) == 0, "%s: %s", run.dir, strerror(errno));
}

/* A child that ends with this process. */
static pid_t child(void)
{
    pid_t parent = getpid(), pid;
    (void)fflush(stdout);
    pid = fork();
    if (pid) return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(0);
    (void)signal(SIGINT, SIG_IGN);
    return 0;
}

static void start_worker(worker *w)
{
    unsigned long long seed = mix(run.state++);
    w->resume_ms = 0;
    w->pid = child();
    if (!w->pid) run_worker(run.path, seed);
    if (w->pid < 0) check(0, "fork: %s", strerror(errno));
}

static void start_server(void)
{
    struct stat there;
    int stale = !lstat(run.path, &there), turns = 0;
    common->opened = common->welcomed = common->closed = common->handled = common->refusal_bytes = 0;
    memset(&common->stats, 0, sizeof common->stats);
    common->ready = common->ended_well = common->trim = common->trimmed = 0;
    run.server = child();
    if (!run.server) serve(run.path);
    while (!flag(&common->ready) && turns++ < 1000) sleep_ms(10);
    check(flag(&common->ready), "the server did not start%s", stale ? " over a stale path" : "");
    check(entries(run.dir) == 1, "%d names in the folder after a start", entries(run.dir));
    run.servers++;
    run.takeovers += stale;
    run.first_rss_kb = 0;
    (void)__atomic_add_fetch(&common->epoch, 1, __ATOMIC_SEQ_CST); /* even: it stays up */
}

/* From here on a client's bad end is excused. */
static void server_may_end(void)
{
    (void)__atomic_add_fetch(&common->epoch, 1, __ATOMIC_SEQ_CST);
}

static void account_for_server(void)
{
    run.accepted += common->stats.accepted;
    run.bytes += common->stats.bytes_out;
    memset(&common->stats, 0, sizeof common->stats);
}

static void kill_server(void)
{
    server_may_end();
    (void)kill(run.server, SIGKILL);
    (void)waitpid(run.server, NULL, 0);
    check(entries(run.dir) >= 1, "a killed server's path is gone");
    account_for_server();
}

static void stop_server(void)
{
    int status = -1, turns = 0;
    server_may_end();
    (void)kill(run.server, SIGTERM);
    while (!waitpid(run.server, &status, WNOHANG) && turns++ < 1000) sleep_ms(10);
    if (turns > 1000) {
        (void)kill(run.server, SIGKILL);
        (void)waitpid(run.server, NULL, 0);
    }
    check(turns <= 1000, "the server went on 10 s after SIGTERM");
    check(WIFEXITED(status) && !WEXITSTATUS(status) && flag(&common->ended_well), "it ended with status %d", status);
    check(entries(run.dir) == 0, "%d names are left after SIGTERM", entries(run.dir));
    account_for_server();
}

static void run_on(worker *w)
{
    if (w->resume_ms) (void)kill(w->pid, SIGCONT);
    w->resume_ms = 0;
}

/* One twentieth of a second in which workers are killed, stopped and continued. */
static void disturb(void)
{
    worker *w = &run.workers[below(&run.state, WORKERS)];
    int i, status;
    switch (below(&run.state, 6)) {
    case 0:
        (void)kill(w->pid, SIGKILL);
        (void)waitpid(w->pid, NULL, 0);
        run.killed += CLIENTS;
        start_worker(w);
        break;
    case 1:
        if (w->resume_ms) break;
        (void)kill(w->pid, SIGSTOP);
        w->resume_ms = now_ms() + 50 + (long long)below(&run.state, 1000);
        run.stopped += CLIENTS;
        break;
    default: break;
    }
    for (i = 0; i < WORKERS; i++) {
        w = &run.workers[i];
        if (w->resume_ms && w->resume_ms <= now_ms()) run_on(w);
        if (waitpid(w->pid, &status, WNOHANG) != w->pid) continue;
        violation("a worker ended on its own, status %d", status);
        start_worker(w);
    }
}

static int over(void)
{
    return interrupted || (run.end_ms && now_ms() >= run.end_ms) || common->violations >= NOTES;
}

/* Returns early only when the run is over. */
static void storm(int ms)
{
    long long until = now_ms() + ms;
    while (now_ms() < until && !over()) {
        sleep_ms(50);
        disturb();
        tell();
    }
}

/* All clients leave: then the server must be as it was when it was born. */
static void calm_down(void)
{
    const uds_echo_stats *s = &common->stats;
    unsigned long long accepted = ~0ull;
    long kb;
    int i, turns, steady = 0;
    set_flag(&common->calm, 1);
    for (i = 0; i < WORKERS; i++) run_on(&run.workers[i]);
    for (turns = 0; turns < 200 && steady < 4; turns++) {
        sleep_ms(100);
        steady = !s->connections && s->accepted == accepted ? steady + 1 : 0;
        accepted = s->accepted;
        tell();
    }
    set_flag(&common->trimmed, 0);
    set_flag(&common->trim, 1);
    for (i = 0; i < 200 && !flag(&common->trimmed); i++) sleep_ms(50);
    kb = resident_kb(run.server);
    if (!run.first_rss_kb) run.first_rss_kb = kb;
    if (kb - run.first_rss_kb > run.rss_growth_kb) run.rss_growth_kb = kb - run.first_rss_kb;

    check(steady == 4, "20 s after all clients left: %llu connections", s->connections);
    check(flag(&common->trimmed), "the server does not step");
    check(closed_sum(s) == s->accepted, "%llu closed of %llu accepted", closed_sum(s), s->accepted);
    check(common->closed == common->welcomed, "on_close %llu times for %llu", common->closed, common->welcomed);
    check(s->pending == 0, "%llu bytes pending for nobody", s->pending);
    check(s->bytes_in >= common->handled, "%llu bytes handled of %llu", common->handled, s->bytes_in);
    check(s->bytes_out <= common->handled + common->refusal_bytes, "%llu sent of %llu", s->bytes_out, common->handled);
    check(open_descriptors(run.server) == common->birth_fds, "%d descriptors, %d at its birth",
          open_descriptors(run.server), common->birth_fds);
    check(common->in_use == common->birth_in_use, "%llu bytes of malloc in use, %llu at its birth", common->in_use,
          common->birth_in_use);
    if (KEEPS_FREED_MEMORY) run.skipped++;
    else
        check(kb >= 0 && kb - run.first_rss_kb <= 1024, "%ld kB resident, %ld when it was calm for the first time", kb,
              run.first_rss_kb);
    run.calms++;
    set_flag(&common->calm, 0);
}

/* ---- the
   run ------------------------------------------------------------------------------------------------------- */

static void set_up(void)
{
    const char *seconds = getenv("CHAOS_SECONDS"), *seed = getenv("SEED"), *tmp = getenv("TMPDIR");
    long n = seconds && *seconds ? strtol(seconds, NULL, 10) : 60;
    int i;
    common = (shared *)mmap(NULL, sizeof *common, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    (void)snprintf(run.dir, sizeof run.dir, "%.40s/chaos.XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (common == MAP_FAILED || !mkdtemp(run.dir)) {
        perror("chaos");
        exit(2);
    }
    (void)snprintf(run.path, sizeof run.path, "%s/socket", run.dir);
    run.seed = seed && *seed ? strtoull(seed, NULL, 10) : (unsigned long long)time(NULL);
    run.state = mix(run.seed);
    run.began_ms = run.told_ms = now_ms();
    run.end_ms = n ? run.began_ms + n * 1000 : 0;
    common->epoch = 1;
    (void)signal(SIGINT, on_interrupt);
    (void)signal(SIGTERM, on_interrupt);
    printf("chaos: SEED=%llu, %d clients in %d processes, %s\n", run.seed, WORKERS * CLIENTS, WORKERS,
           run.end_ms ? "bounded" : "until SIGINT");
    start_server();
    for (i = 0; i < WORKERS; i++) start_worker(&run.workers[i]);
}

static void report(void)
{
    unsigned long long i;
    printf("did:");
    for (i = 0; i < BEHAVIOUR_COUNT; i++) printf(" %s %llu", name_of((behaviour)i), common->did[i]);
    printf(
        "\n%llu connections, %llu MB echoed; %llu clients got all back (%llu MB compared), %llu were refused in words, "
        "%llu lost their server\n",
        run.accepted, run.bytes / 1000000, common->verified, common->verified_bytes / 1000000, common->refused,
        common->excused);
    printf("%d servers, %d over a stale path, %d times calm: resident memory grew by at most %ld kB\n", run.servers,
           run.takeovers, run.calms, run.rss_growth_kb);
    if (run.skipped) printf("resident memory was not judged: ASan keeps what is freed\n");
    for (i = 0; i < common->violations && i < NOTES; i++) printf("FAILED: %s\n", common->notes[i]);
    /* A run that did not happen shows nothing. */
    for (i = 0; i < BEHAVIOUR_COUNT; i++) check(common->did[i] > 0, "nobody did %s", name_of((behaviour)i));
    check(common->verified >= 100, "only %llu clients got all back", common->verified);
    check(common->refused > 0, "nobody was refused");
    check(run.takeovers > 0, "no server took over");
    run.failed += common->violations;
    if (run.failed) printf("again: SEED=%llu make chaos (the choices are the same, their timing is not)\n", run.seed);
    printf("%llu passed, %llu failed, %llu skipped\n", run.passed, run.failed, run.skipped);
}

int main(int argc, char **argv)
{
    int i, first = 1;
    (void)argc;
    if (!getenv("GLIBC_TUNABLES")) { /* what malloc's caches keep for a thread would count as in use */
        (void)setenv("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0", 1);
        (void)execv("/proc/self/exe", argv);
    }
    set_up();
    while (!over()) {
        storm(1500 + (int)below(&run.state, 3000));
        switch (first ? 0 : below(&run.state, 3)) { /* a takeover in every run */
        case 0:
            kill_server();
            sleep_ms((int)below(&run.state, 200));
            start_server();
            break;
        case 1:
            stop_server();
            start_server();
            break;
        default: calm_down(); break;
        }
        first = 0;
    }
    /* The last one has time to show that it is flat: warm, calm, and the same again. */
    run.end_ms = 0;
    interrupted = 0;
    calm_down();
    storm(3000);
    calm_down();
    for (i = 0; i < WORKERS; i++) {
        (void)kill(run.workers[i].pid, SIGKILL);
        (void)waitpid(run.workers[i].pid, NULL, 0);
    }
    stop_server();
    remove_folder();
    report();
    return run.failed ? 1 : 0;
}
