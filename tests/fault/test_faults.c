/* Every call in turn fails, with each error it can give, once and for ever.

   A scenario is run once without a fault, which tells how many calls it makes and which. Then it is run again for each of
   these calls, each error, once and for ever. Whatever fails, the laws hold: what a peer gets is a prefix of what it sent;
   a connection that did not end in order says so; descriptors, memory and files are as they were; nothing spins; and as
   soon as nothing fails any more, a new server starts on the same path. */
#include "harness.h"

enum { ACTORS = 4, OUT = 40 };

/* A peer: connects, sends its bytes a few at a time, half-closes, reads to the end, leaves. */
typedef struct actor {
    char out[OUT], in[2 * OUT];
    size_t sent, got;
    int peer; /* -1: not connected */
    int tries, finished, done;
    int rude; /* leaves without reading */
} actor;

typedef struct scenario {
    const char *name;
    int framed, later, stale, direct, no_rename, shared, refuse, evict, idle, rude, client, adopt, tiny_pool;
} scenario;

static const scenario scenarios[] = {
    {"echo", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
    {"echo, rude peers, little room for answers", 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1},
    {"lines, late answers, pushes", 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
    {"lines, late answers, idle, evict", 1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0},
    {"over a stale file", 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
    {"over a stale file, without renameat2", 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0},
    {"in place, over a stale file", 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0},
    {"shared by two", 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0},
    {"refused with a reason", 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0},
    {"adopted", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0},
    {"client and server", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0},
};

static const scenario *now;
static actor actors[ACTORS];
static uds_echo_server *servers[2];
static uds_echo_id debts[16];
static int debt_count, accepted, opened, closed_count, named, stopping, cut_short;
static unsigned long runs, unhappy, calls_made;
static char label[160];

/* ---- the world --------------------------------------------------------------------------------------------------------- */

static int act(actor *a)
{
    char *out = a->out;
    long n;
    if (a->done) return 0;
    if (a->peer < 0) {
        a->peer = fake_peer_connect(PATH);
        if (a->peer < 0 && ++a->tries > 50) a->done = 1;
        return a->peer >= 0;
    }
    n = a->sent < OUT ? fake_peer_send(a->peer, out + a->sent, OUT - a->sent < 7 ? OUT - a->sent : 7) : -1;
    if (n > 0) {
        a->sent += (size_t)n;
        return 1;
    }
    if (a->sent < OUT && errno == EPIPE && !a->finished) a->finished = 1; /* refused or drained: read what there is */
    if (a->sent == OUT && !a->finished) {
        a->finished = 1;
        if (!a->rude) (void)fake_peer_shutdown(a->peer, SHUT_WR);
        return 1;
    }
    if (a->rude && a->finished) {
        fake_peer_close(a->peer);
        a->done = 1;
        return 1;
    }
    n = fake_peer_recv(a->peer, a->in + a->got, sizeof a->in - a->got < 5 ? sizeof a->in - a->got : 5);
    if (n > 0) a->got += (size_t)n;
    if (n > 0 || (n < 0 && errno == EAGAIN)) return n > 0;
    fake_peer_close(a->peer);
    a->done = 1;
    return 1;
}

static int all_done(void)
{
    int i, n = 0;
    for (i = 0; i < ACTORS; i++) n += actors[i].done;
    return n == ACTORS;
}

static int world(void *user)
{
    int i, moved = 0;
    (void)user;
    for (i = 0; i < ACTORS; i++) moved += act(&actors[i]);
    return moved != 0;
}

/* ---- the server's side --------------------------------------------------------------------------------------------------- */

static int on_open(uds_echo_conn *conn, void *user)
{
    (void)user;
    if (now->refuse) {
        (void)uds_echo_conn_send(conn, "no", 2);
        return 1;
    }
    opened++;
    return 0;
}

static void on_close(uds_echo_conn *conn, uds_echo_error why, void *user)
{
    (void)conn, (void)why, (void)user;
    closed_count++;
}

/* The last that is seen of a server: its figures are final. */
static void on_end(uds_echo_server *server, void *user)
{
    uds_echo_stats stats = stats_of(server);
    int i;
    (void)user;
    accepted += (int)stats.accepted;
    for (i = 1; i < UDS_ECHO_ERROR_COUNT; i++) named += (int)stats.closed[i];
    if (stats.closed[0] + (unsigned)named != stats.accepted && !now->shared)
        fake_complain("connections are not all accounted for");
    if (stats.pending || stats.connections || server->promised) fake_complain("closed with something left");
    if (server->desc.pending_max > 0 && stats.pending_peak > (unsigned long long)server->desc.pending_max)
        fake_complain("more was held than pending_max");
}

/* Every third message is answered later; its own bytes are the answer, so the output is a prefix of the input always. */
static char late[16][OUT];
static size_t late_size[16];

static uds_echo_verdict on_message(uds_echo_conn *conn, uds_echo_message *message, void *user)
{
    (void)user;
    if (now->later && message->size % 3 == 0 && debt_count < 16) {
        debts[debt_count] = uds_echo_conn_id(conn);
        memcpy(late[debt_count], message->data, message->size);
        late_size[debt_count++] = message->size;
        uds_echo_server_wake(uds_echo_conn_server(conn));
        return UDS_ECHO_LATER;
    }
    return UDS_ECHO_REPLY;
}

static void pay_debts(void)
{
    while (debt_count > 0) {
        uds_echo_conn *conn;
        debt_count--;
        conn = uds_echo_server_find(servers[0], debts[debt_count]);
        if (!conn) continue;
        if (uds_echo_conn_send(conn, late[debt_count], late_size[debt_count]) == UDS_ECHO_WOULD_BLOCK) {
            debt_count++;
            return;
        }
    }
}

static void on_wake(uds_echo_server *server, void *user)
{
    (void)server, (void)user;
    pay_debts();
}

static void on_log(uds_echo_level level, uds_echo_error cause, const char *text, void *user)
{
    (void)user;
    if (!text[0] || cause == UDS_ECHO_OK || level > UDS_ECHO_PROBLEM) fake_complain("a log line without a cause");
}

static uds_echo_server_desc describe(void)
{
    uds_echo_server_desc desc = plain_desc();
    desc.message_max = 16;
    desc.connections_max = now->client ? 2 : 3;
    desc.pending_max = now->tiny_pool ? 48 : 0;
    desc.frame = now->framed ? lines : NULL;
    desc.publish = now->direct ? UDS_ECHO_DIRECT : UDS_ECHO_ATOMIC;
    desc.when_full = now->evict ? UDS_ECHO_EVICT : UDS_ECHO_REST;
    desc.idle_ms = now->idle ? 500 : 0;
    desc.send_buffer = now->tiny_pool ? 4096 : 0;
    desc.drain_ms = 2000;
    desc.lock_ms = 50;
    desc.on_open = on_open;
    desc.on_close = on_close;
    desc.on_message = on_message;
    desc.on_wake = on_wake;
    desc.on_end = on_end;
    desc.on_log = on_log;
    return desc;
}

static void prepare(void)
{
    int i, k;
    fake_reset();
    fake.queue_bytes = 24;
    fake.calls_max = 100000;
    fake.calls_per_ms = 50;
    fake.no_renameat2 = now->no_rename;
    fake.world = world;
    if (now->stale) fake_put_stale(PATH);
    memset(actors, 0, sizeof actors);
    for (i = 0; i < ACTORS; i++) {
        actors[i].peer = -1;
        actors[i].rude = now->rude && i == 1;
        for (k = 0; k < OUT; k++)
            actors[i].out[k] = (char)((k * 7 + i) % 5 == 4 || k == OUT - 1 ? '\n' : 'a' + (k + i) % 26);
    }
    if (now->client)
        for (i = 0; i < ACTORS; i++) actors[i].done = 1;
    servers[0] = servers[1] = NULL;
    debt_count = accepted = opened = closed_count = named = stopping = cut_short = 0;
}

/* ---- a run ----------------------------------------------------------------------------------------------------------------- */

static int adopted_fd;

static uds_echo_error open_all(void)
{
    uds_echo_server_desc desc = describe();
    uds_echo_failure why;
    uds_echo_error error;
    if (now->adopt) {
        desc.path = NULL;
        error = uds_echo_server_adopt(&servers[0], adopted_fd, &desc, &why);
        if (error) (void)fake_close(adopted_fd); /* it is still ours */
    } else {
        error = uds_echo_server_open(&servers[0], &desc, &why);
    }
    if (error && (why.error != error || !why.call[0])) fake_complain("a failure that does not explain itself");
    if (error && servers[0]) fake_complain("a server in spite of an error");
    if (error || !now->shared) return error;
    desc.path = NULL;
    desc.share_with = servers[0];
    (void)uds_echo_server_open(&servers[1], &desc, NULL);
    return UDS_ECHO_OK;
}

/* Steps the servers until they have stopped. What the step itself cannot do (an error of the wait) is tried again. */
static void serve(void)
{
    int round, i, running = 1;
    for (round = 0; round < 400 && running; round++) {
        running = 0;
        for (i = 0; i < 2; i++)
            if (servers[i] && uds_echo_server_step(servers[i], 20) != UDS_ECHO_STOPPED) running = 1;
        pay_debts();
        if (all_done() && !stopping) stopping = 1;
        else if (round > 200 && stopping < 2) stopping = 2;
        for (i = 0; i < 2; i++)
            if (servers[i] && stopping) uds_echo_server_stop(servers[i], stopping == 1 ? UDS_ECHO_DRAIN : UDS_ECHO_NOW);
    }
}

/* The client's own calls fail as well as the server's; it says so, and keeps a prefix. */
static void be_client(void)
{
    static char in[100];
    uds_echo_client_desc desc;
    uds_echo_client client;
    uds_echo_failure why;
    uds_echo_error error;
    uds_echo_io io = {actors[0].out, OUT, 0, in, OUT, 0};
    size_t n = 0;
    fake.world = step_server;
    fake.user = servers[0];
    error = uds_echo_call(PATH, actors[0].out, OUT, in, sizeof in, &n, 500, &why);
    if (error != why.error) fake_complain("a call whose failure says something else");
    if (n > OUT || memcmp(in, actors[0].out, n)) fake_complain("the client got what was not sent");
    cut_short = !error && n != OUT;
    memset(&desc, 0, sizeof desc);
    desc.path = PATH;
    desc.timeout_ms = 200;
    desc.trust = UDS_ECHO_TRUST_UID_OR_ROOT;
    desc.uid = fake.uid;
    if (!uds_echo_client_open(&client, &desc, &why)) {
        error = uds_echo_client_exchange(&client, &io, 300);
        if (io.got > OUT || memcmp(in, actors[0].out, io.got)) fake_complain("the client got what was not sent");
        if (!error && (io.got != OUT || io.sent != OUT)) fake_complain("an exchange that is OK and short");
        (void)uds_echo_client_finish(&client);
    }
    uds_echo_client_close(&client);
}

static void check_actors(int may_stall)
{
    int i, lost = 0, connected = 0;
    for (i = 0; i < ACTORS && !now->client; i++) {
        const actor *a = &actors[i];
        if (now->refuse) {
            if (a->got > 2 || memcmp(a->in, "no", a->got)) fake_complain("a refusal that says something else");
            continue;
        }
        if (a->got > a->sent || memcmp(a->in, a->out, a->got)) fake_complain("not a prefix of what was sent");
        connected += a->peer >= 0;
        if (a->peer >= 0 && !a->rude && a->got < a->sent) lost++;
        if (!a->done && !may_stall) fake_complain("a peer that was never finished with");
    }
    /* those that nobody could accept were never a connection of ours */
    if (lost > named + (connected > accepted ? connected - accepted : 0))
        fake_complain("bytes lost, and the connection says it ended in order");
    /* a stream socket cannot show its peer that the other side broke: the server has said it */
    if (cut_short && !named) fake_complain("a call that is OK and short, and no connection broke");
    if (opened != closed_count) fake_complain("on_close is not once for each connection that was welcome");
}

/* What a fault may excuse: a file whose removal failed, or that could not be looked at, or whose folder could not be opened
   for the lock, stays behind. */
static int excuses_a_file(fake_call what)
{
    return what == FAKE_flock || what == FAKE_fstatat || what == FAKE_unlinkat || what == FAKE_open;
}

static void check_files(fake_call failed, unsigned long stale)
{
    char name[32];
    int i, left = 0;
    for (i = 0; i < 10; i++) {
        (void)snprintf(name, sizeof name, PATH "~%d", i);
        left += fake_exists(name);
    }
    if ((left > 1 && failed != FAKE_fstatat) || (left && !excuses_a_file(failed)))
        fake_complain("a temporary name is left");
    if (now->adopt) return;
    if (fake_exists(PATH) && !(stale && fake_inode(PATH) == stale) && !excuses_a_file(failed))
        fake_complain("the path is left behind");
}

static void listen_for_adoption(void)
{
    struct sockaddr_un address;
    socklen_t size;
    ue_place place;
    if (!now->adopt) return;
    (void)ue_place_split(&place, PATH, "", NULL);
    (void)ue_address(&address, &size, &place, "");
    adopted_fd = fake_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fake_bind(adopted_fd, (struct sockaddr *)&address, size) || fake_listen(adopted_fd, 4)) abort();
}

/* With no more faults the next server starts, serves, and leaves nothing. */
static void check_next_start(void)
{
    uds_echo_server_desc desc = describe();
    uds_echo_server *server;
    char name[32];
    int i;
    fake_fault(0, 0, 0);
    fake.world = NULL;
    fake.no_renameat2 = 0;
    desc.lock_ms = 0;
    named = accepted = 0;
    if (uds_echo_server_open(&server, &desc, NULL)) fake_complain("the next start fails");
    else (void)uds_echo_server_close(server);
    if (fake_exists(PATH)) fake_complain("the next server left its path");
    for (i = 0; i < 10; i++) {
        (void)snprintf(name, sizeof name, PATH "~%d", i);
        if (fake_exists(name)) fake_complain("the next start left litter");
    }
}

static void run(unsigned long call, int os_error, int for_ever)
{
    static fake_call failed; /* static: read after longjmp */
    static unsigned long stale;
    int i;
    prepare();
    listen_for_adoption();
    stale = now->stale ? fake_inode(PATH) : 0;
    if (call) fake_fault(call, os_error, for_ever);
    runs++;
    if (!setjmp(fake_escape)) {
        fake_escape_set = 1;
        if (!open_all()) {
            if (now->client) {
                be_client();
                stopping = 1;
                fake.world = NULL;
            }
            serve();
            for (i = 1; i >= 0; i--) (void)uds_echo_server_close(servers[i]);
            for (i = 0; i < 1000 && world(NULL); i++) continue; /* the peers read what is on its way */
            check_actors(for_ever);
        } else if (!call) {
            fake_complain("cannot start though nothing fails");
        }
        calls_made = fake_calls();
        failed = fake_call_at(call);
        check_files(failed, stale);
        if (!now->adopt) check_next_start();
        fake_finish();
    }
    fake_escape_set = 0;
    if (!fake_violations()) return;
    unhappy++;
    (void)snprintf(label, sizeof label, "%s: call %lu (%s) fails with %d %s", now->name, call,
                   fake_name_of(fake_call_at(call)), os_error, for_ever ? "for ever" : "once");
    print_message("%s\n    %s\n    %s\n", label, fake_violation(0), fake_violation(1));
}

static void enumerate(void **state)
{
    unsigned long call, calls, before = runs;
    const int *error;
    now = (const scenario *)*state;
    unhappy = 0;
    run(0, 0, 0);
    calls = calls_made;
    assert_true(calls > 50);
    assert_int_equal(unhappy, 0);
    for (call = 1; call <= calls && unhappy < 8; call++) {
        run(0, 0, 0); /* to learn what this call is; a run is deterministic */
        for (error = fake_errors_of(fake_call_at(call)); *error && unhappy < 8; error++) {
            run(call, *error, 0);
            run(call, *error, 1);
        }
    }
    print_message("# %s: %lu calls, %lu runs\n", now->name, calls, runs - before);
    assert_int_equal(unhappy, 0);
}

int main(void)
{
    enum { COUNT = sizeof scenarios / sizeof scenarios[0] };
    struct CMUnitTest tests[COUNT];
    int i, result;
    memset(tests, 0, sizeof tests);
    for (i = 0; i < COUNT; i++) {
        tests[i].name = scenarios[i].name;
        tests[i].test_func = enumerate;
        tests[i].initial_state = (void *)(uintptr_t)&scenarios[i];
    }
    result = cmocka_run_group_tests(tests, NULL, NULL);
    print_message("# fault enumeration: %lu runs\n", runs);
    return result ? result : runs < 12000; /* fewer: something was not enumerated */
}
