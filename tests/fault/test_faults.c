/* Every call in turn fails, with each error it can give, once, for ever, and a lack of something until a descriptor is
   closed; it is refused for good, as a sandbox, an old kernel or a file system may do to any call; and with a number as
   argument every pair of calls fails that are at most so far apart (0: however far).

   A scenario is run once without a fault, which tells how many calls it makes and which. Then it is run again for each
   of these calls, each error, once and for ever; each of these runs tells in turn which calls follow, among which the
   second fault is chosen. Whatever fails, the laws hold: what a peer gets is a prefix of what it sent; a connection
   that did not end in order says so; descriptors, memory and files are as they were; nothing spins; what is somebody
   else's is left alone; and as soon as nothing fails any more, a new server starts on the same path. */
#include "harness.h"

#include <stdlib.h>

#define DOTS "./././././././././././././././././././"
#define LONG_PATH "/w/" DOTS DOTS DOTS "sock" /* leads to PATH, by way of the open folder */

enum { ACTORS = 4, OUT = 40, CALLS_MAX = 100000 };

/* A peer: connects, sends its bytes a few at a time, half-closes, reads to the end, leaves. */
typedef struct actor {
    char out[OUT], in[2 * OUT];
    size_t sent, got;
    int peer; /* -1: not connected */
    int tries, finished, done;
    int rude; /* leaves without reading */
} actor;

/* What is at the path and stays there, so that a start has to refuse. */
typedef enum taken { FREE, BY_A_SERVER, BY_A_FILE, BY_A_STALE_SOCKET } taken;

typedef struct scenario {
    const char *name;
    int stale, litter, direct, no_rename, far, adopt, shared; /* how the server starts */
    taken taken;
    int framed, later, refuse, evict, idle, small_steps, unlimited, spin; /* what it is like */
    int silent, closes, hangs_up; /* how its handler ends what: no answers, REPLY_AND_CLOSE, uds_echo_conn_close() */
    int rude, stubborn, torn, too_long, urgent; /* what its peers are like */
    int drain_at, cut_at;                       /* in which round it is stopped; 0: when all is said */
    int leave_at;                               /* in which round the first of two is closed */
    int locked, successor; /* when it ends: the folder is locked for a while, somebody replaced the file */
    int client;            /* the peer is our own client */
} scenario;

static const scenario scenarios[] = {
    {.name = "echo"},
    {.name = "echo, rude peers, a message a step", .rude = 1, .small_steps = 1},
    {.name = "echo, as many as there are descriptors", .unlimited = 1},
    {.name = "lines, late answers, pushes", .framed = 1, .later = 1},
    {.name = "lines, late answers, idle, evict", .framed = 1, .later = 1, .evict = 1, .idle = 1, .rude = 1},
    {.name = "lines, torn and too long", .framed = 1, .torn = 1, .too_long = 1},
    {.name = "lines, a message a step", .framed = 1, .small_steps = 1, .stubborn = 1, .idle = 1},
    {.name = "over a stale file", .stale = 1},
    {.name = "over a stale file and what crashed starters left", .stale = 1, .litter = 1},
    {.name = "over a stale file, without renameat2", .stale = 1, .no_rename = 1},
    {.name = "in place, over a stale file", .stale = 1, .direct = 1},
    {.name = "in place, over a stale file, without renameat2", .stale = 1, .direct = 1, .no_rename = 1},
    {.name = "a long path", .stale = 1, .far = 1},
    {.name = "taken by a server", .taken = BY_A_SERVER},
    {.name = "taken by a server, in place", .taken = BY_A_SERVER, .direct = 1},
    {.name = "taken by a file", .taken = BY_A_FILE},
    {.name = "taken by a stale file that is to stay", .taken = BY_A_STALE_SOCKET},
    {.name = "retire in a locked folder", .locked = 3},
    {.name = "retire in a folder that stays locked", .locked = 1000},
    {.name = "retire where another server has taken over", .successor = 1},
    {.name = "drain in the midst", .drain_at = 4},
    {.name = "drain in the midst, lines, late answers", .drain_at = 5, .framed = 1, .later = 1},
    {.name = "drain that takes too long", .drain_at = 6, .stubborn = 1},
    {.name = "cut in the midst", .cut_at = 5, .framed = 1, .later = 1},
    {.name = "shared by two", .shared = 1},
    {.name = "shared by two, the first leaves", .shared = 1, .leave_at = 4},
    {.name = "shared by two, drain in the midst", .shared = 1, .drain_at = 4},
    {.name = "refused with a reason", .refuse = 1},
    {.name = "adopted", .adopt = 1},
    {.name = "adopted, drain in the midst", .adopt = 1, .drain_at = 4},
    {.name = "client and server", .client = 1},
    {.name = "client and server, a long path", .client = 1, .far = 1},
    {.name = "client and server, lines, late answers", .client = 1, .framed = 1, .later = 1},
    {.name = "client and server that refuses", .client = 1, .refuse = 1},
    {.name = "a file system without such renames, over a stale file", .stale = 1, .no_rename = 2},
    {.name = "a file system without such renames, in place", .stale = 1, .direct = 1, .no_rename = 2},
    {.name = "adopted, shared by two", .adopt = 1, .shared = 1},
    {.name = "no answers", .silent = 1},
    {.name = "no answers, lines, drain in the midst", .silent = 1, .framed = 1, .drain_at = 4},
    {.name = "lines, each connection is closed with an answer", .framed = 1, .closes = 1},
    {.name = "the handler hangs up, a message a step", .hangs_up = 1, .small_steps = 1},
    {.name = "the handler hangs up, lines, late answers", .hangs_up = 1, .framed = 1, .later = 1},
    {.name = "urgent bytes", .urgent = 1},
    {.name = "busy-poll", .spin = 1},
    {.name = "busy-poll, lines, late answers, drain in the midst", .spin = 1, .framed = 1, .later = 1, .drain_at = 5},
    {.name = "busy-poll, shared by two", .spin = 1, .shared = 1},
    {.name = "busy-poll, client and server", .spin = 1, .client = 1},
};

/* What is to go wrong; call 0: nothing. */
typedef struct fault {
    unsigned long call;
    int os_error, for_ever;
} fault;

static const scenario *now;
static actor actors[ACTORS];
static uds_echo_server *servers[2];
static uds_echo_id debts[16], broken; /* broken: conn_send() said so */
static int debt_count, accepted, opened, closed_count, named, stopping, cut_short, stirring, in_vain, hung_up;
static int unstopped, errors_of_steps, pauses;
static unsigned long runs, unhappy, calls_made, distance;
static unsigned long stale, theirs; /* inodes of a file that may be removed, of one that may not; 0: none */
static unsigned long long asked, hits;

/* ---- the world --------------------------------------------------------------------------------------------------- */

static long say_some(actor *a)
{
    const size_t left = OUT - a->sent;
    if (now->urgent && a->sent % 2) return fake_peer_send_urgent(a->peer, (unsigned char)a->out[a->sent]);
    return fake_peer_send(a->peer, a->out + a->sent, now->urgent ? 1 : left < 7 ? left : 7);
}

static int act(actor *a)
{
    long n;
    if (a->done) return 0;
    if (a->peer < 0) {
        a->peer = fake_peer_connect(PATH);
        if (a->peer < 0 && ++a->tries > 50) a->done = 1;
        return a->peer >= 0;
    }
    n = a->sent < OUT ? say_some(a) : -1;
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
    if (now->stubborn && a == &actors[1] && (servers[0] || servers[1])) return 0;
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

/* Who spins does not ask the world by sleeping: it moves at every other look, so that a look may find something. */
static void stir(fake_call what)
{
    if (stirring || (what != FAKE_epoll_wait && what != FAKE_poll) || ++asked % 2 || !fake.world) return;
    stirring = 1;
    (void)fake.world(fake.user);
    stirring = 0;
}

/* ---- the server's side ------------------------------------------------------------------------------------------- */

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

/* A fault ends the connection that it struck, and no other. */
static void on_close(uds_echo_conn *conn, uds_echo_error why, void *user)
{
    const int os_error = fake_struck(conn->fd), struck = os_error && os_error != EINTR && os_error != EAGAIN;
    (void)user;
    closed_count++;
    switch (why) {
    case UDS_ECHO_OK:
    case UDS_ECHO_ERR_IDLE:
    case UDS_ECHO_ERR_EVICTED:
    case UDS_ECHO_ERR_STOPPED: break;
    case UDS_ECHO_ERR_UNEXPECTED_EOF:
    case UDS_ECHO_ERR_TOO_LONG:
        if (!now->framed) fake_complain("a message where there are none");
        break;
    case UDS_ECHO_ERR_RESET:
        if (!now->rude && !now->client && !struck) fake_complain("a reset of one who is there");
        break;
    default:
        if (!struck && uds_echo_conn_id(conn) != broken) fake_complain("an end that no fault explains");
    }
}

/* The last that is seen of a server: its figures are final. */
static void on_end(uds_echo_server *server, void *user)
{
    uds_echo_stats stats = stats_of(server);
    int i;
    (void)user;
    accepted += (int)stats.accepted;
    pauses += (int)stats.pauses_failed;
    hits += stats.busy_wait_hits;
    for (i = 1; i < UDS_ECHO_ERROR_COUNT; i++) named += (int)stats.closed[i];
    if (stats.closed[0] + (unsigned)named != stats.accepted && !now->shared)
        fake_complain("connections are not all accounted for");
    if (stats.pending || stats.connections) fake_complain("closed with something left");
}

/* Every third message is answered later; its own bytes are the answer, so the output is a prefix of the
   input always. */
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
        return UDS_ECHO_DEFER;
    }
    if (now->hangs_up && ++hung_up % 4 == 0) uds_echo_conn_close(conn);
    return now->silent ? UDS_ECHO_NO_REPLY : now->closes ? UDS_ECHO_REPLY_AND_CLOSE : UDS_ECHO_REPLY;
}

static void pay_debts(void)
{
    while (debt_count > 0) {
        uds_echo_conn *conn;
        uds_echo_error error;
        debt_count--;
        conn = uds_echo_server_find(servers[0], debts[debt_count]);
        if (!conn) continue;
        error = uds_echo_conn_send(conn, late[debt_count], late_size[debt_count]);
        if (error == UDS_ECHO_ERR_WOULD_BLOCK) {
            debt_count++;
            return;
        }
        if (error) broken = debts[debt_count];
    }
}

static void on_wake(uds_echo_server *server, void *user)
{
    (void)server, (void)user;
    pay_debts();
}

static void on_log(uds_echo_log_level level, uds_echo_error cause, const char *text, void *user)
{
    (void)user;
    if (!text[0] || cause == UDS_ECHO_OK || level > UDS_ECHO_LOG_WARNING) fake_complain("a log line without a cause");
}

static uds_echo_server_desc describe(void)
{
    uds_echo_server_desc desc = plain_desc();
    desc.path = now->far ? LONG_PATH : PATH;
    desc.message_max = 16;
    desc.connections_max = now->unlimited ? -1 : now->client ? 2 : 3;
    desc.if_exists = now->taken == BY_A_STALE_SOCKET ? UDS_ECHO_IF_EXISTS_REFUSE : UDS_ECHO_IF_EXISTS_REPLACE_STALE;
    desc.step_messages = now->small_steps;
    desc.frame = now->framed ? lines : NULL;
    desc.publish = now->direct ? UDS_ECHO_PUBLISH_DIRECT : UDS_ECHO_PUBLISH_ATOMIC;
    desc.when_full = now->evict ? UDS_ECHO_FULL_EVICT : UDS_ECHO_FULL_QUEUE;
    desc.idle_ms = now->idle ? 500 : 0;
    desc.send_buffer = now->small_steps ? 4096 : 0;
    desc.drain_ms = now->stubborn ? 100 : 2000;
    desc.busy_poll_us = now->spin ? 1000 : 0;
    desc.lock_ms = 50;
    desc.on_open = on_open;
    desc.on_close = on_close;
    desc.on_message = on_message;
    desc.on_wake = on_wake;
    desc.on_end = on_end;
    desc.on_log = on_log;
    return desc;
}

static void prepare_actors(void)
{
    int i, k;
    memset(actors, 0, sizeof actors);
    for (i = 0; i < ACTORS; i++) {
        actors[i].peer = -1;
        actors[i].rude = now->rude && i == 1;
        actors[i].done = now->client;
        for (k = 0; k < OUT; k++)
            actors[i].out[k] = (char)((k * 7 + i) % 5 == 4 || k == OUT - 1 ? '\n' : 'a' + (k + i) % 26);
    }
    if (now->torn) actors[0].out[OUT - 1] = '.';
    if (now->too_long) memset(actors[2].out + OUT / 4, '.', OUT / 2);
}

static void prepare_files(void)
{
    if (now->stale || now->taken == BY_A_STALE_SOCKET) fake_put_stale(PATH);
    if (now->litter) fake_put_stale(PATH "~0");
    if (now->litter) fake_put_stale(PATH "~1");
    if (now->taken == BY_A_SERVER) (void)fake_put_live(PATH, SOCK_STREAM, 1);
    if (now->taken == BY_A_FILE) fake_put_file(PATH);
    stale = now->stale ? fake_inode(PATH) : 0;
    theirs = now->taken ? fake_inode(PATH) : 0;
}

static void prepare(void)
{
    fake_reset();
    fake.queue_bytes = 24;
    fake.calls_max = CALLS_MAX;
    fake.calls_per_ms = now->spin ? 10 : 50;
    fake.no_renameat2 = now->no_rename;
    fake.world = world;
    fake.before = now->spin ? stir : NULL;
    if (now->unlimited) fake.descriptors_max = UDS_ECHO_HAVE_EVENTFD ? 7 : 12; /* of the four one has to wait */
    prepare_actors();
    prepare_files();
    servers[0] = servers[1] = NULL;
    debt_count = accepted = opened = closed_count = named = stopping = cut_short = stirring = in_vain = hung_up = 0;
    unstopped = errors_of_steps = pauses = 0;
    broken = 0;
    asked = hits = 0;
}

/* ---- a run ------------------------------------------------------------------------------------------------------- */

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

static void close_server(int i)
{
    (void)uds_echo_server_close(servers[i]);
    servers[i] = NULL;
}

/* Everything is said, or it is time: the servers are asked to stop, and again, for the asking itself may fail. A drain
   has to end by itself: nobody asks for NOW after it. */
static void ask_to_stop(int round)
{
    int i, before = stopping;
    if (round > 200 && !stopping) in_vain = 1;
    if (now->cut_at && round >= now->cut_at) stopping = 2;
    else if (!stopping && (all_done() || round > 200 || (now->drain_at && round >= now->drain_at))) stopping = 1;
    if (fake.foreign_lock > 0) fake.foreign_lock--;
    if (stopping && !before) fake.foreign_lock = now->locked;
    if (stopping && !before && now->successor) {
        fake_remove(PATH);
        (void)fake_put_live(PATH, SOCK_STREAM, 1);
        theirs = fake_inode(PATH);
    }
    for (i = 0; i < 2; i++)
        if (servers[i] && stopping && (stopping != before || round % 16 == 0))
            uds_echo_server_stop(servers[i], stopping == 1 ? UDS_ECHO_STOP_DRAIN : UDS_ECHO_STOP_NOW);
}

/* A step of at most 20 ms. What the step itself cannot do (an error of the wait) is tried again. 0: it has stopped. Ten
   steps in a row in which no time passed, nothing happened and nothing failed are a spin. */
static int step(uds_echo_server *server, int *in_row)
{
    uds_echo_stats before = stats_of(server), after;
    const long long then = fake_now_ms();
    uds_echo_error error = uds_echo_server_step(server, 20);
    if (error == UDS_ECHO_ERR_STOPPED) return 0;
    after = stats_of(server);
    before.waits = after.waits;
    before.busy_waits = after.busy_waits;
    errors_of_steps += error != UDS_ECHO_OK;
    *in_row = error || fake_now_ms() != then || memcmp(&before, &after, sizeof after) != 0 ? 0 : *in_row + 1;
    if (*in_row == 10) fake_complain("steps that waited for nothing");
    return 1;
}

/* Steps the servers until they have stopped. */
static void serve(void)
{
    int round, i, running = 1, in_row[2] = {0, 0};
    for (round = 0; round < 600 && running; round++) {
        running = 0;
        for (i = 0; i < 2; i++)
            if (servers[i] && step(servers[i], &in_row[i])) running = 1;
        pay_debts();
        if (now->leave_at && round == now->leave_at) close_server(0);
        ask_to_stop(round);
    }
    unstopped = running;
}

static void check_client(const char *in, size_t n)
{
    const char *expected = now->refuse ? "no" : actors[0].out;
    if (n > (now->refuse ? 2 : OUT) || memcmp(in, expected, n)) fake_complain("the client got what was not sent");
}

/* The server's own waits are not stirred: it would be stepped within its step. */
static int step_unstirred(void *user)
{
    int before = stirring, moved;
    stirring = 1;
    moved = step_server(user);
    stirring = before;
    return moved;
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
    fake.world = step_unstirred;
    fake.user = servers[0];
    memset(&desc, 0, sizeof desc);
    desc.path = now->far ? LONG_PATH : PATH;
    error = uds_echo_call(desc.path, actors[0].out, OUT, in, sizeof in, &n, 500, &why);
    if (error != why.error) fake_complain("a call whose failure says something else");
    check_client(in, n);
    cut_short = !error && n != OUT;
    desc.timeout_ms = 200;
    desc.trust = UDS_ECHO_TRUST_UID_OR_ROOT;
    desc.uid = fake.uid;
    desc.busy_poll_us = now->spin ? 1000 : 0;
    if (!uds_echo_client_open(&client, &desc, &why)) {
        error = uds_echo_client_exchange(&client, &io, 300);
        check_client(in, io.got);
        if (!error && (io.got != OUT || io.sent != OUT)) fake_complain("an exchange that is OK and short");
        (void)uds_echo_client_shutdown(&client);
    }
    uds_echo_client_close(&client);
    fake.world = NULL;
}

static int all_is_not_answered(void)
{
    return now->silent || now->closes || now->hangs_up;
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
        if (now->silent && a->got) fake_complain("an answer where there are none");
        if (a->peer >= 0 && !a->rude && a->got < a->sent && !all_is_not_answered()) lost++;
        if (!a->done && !may_stall) fake_complain("a peer that was never finished with");
    }
    if (in_vain && !may_stall && !now->stubborn) fake_complain("peers wait in vain");
    /* those that nobody could accept were never a connection of ours */
    if (lost > named + (connected > accepted ? connected - accepted : 0))
        fake_complain("bytes lost, and the connection says it ended in order");
    /* a stream socket cannot show its peer that the other side broke: the server has said it */
    if (cut_short && !named && !now->refuse) fake_complain("a call that is OK and short, and no connection broke");
    if (opened != closed_count) fake_complain("on_close is not once for each connection that was welcome");
}

/* What a fault may excuse: a file whose removal failed, or that could not be looked at, or whose folder could not be
   opened for the lock, stays behind. */
static int excuses_a_file(fake_call what)
{
    return what == FAKE_flock || what == FAKE_fstatat || what == FAKE_unlinkat || what == FAKE_open;
}

/* What the process leaves: a temporary name for each fault that excuses it, and not its path. One that lasts excuses
   more where another makes the server try again and again. */
static void check_files(const fault *first, const fault *second)
{
    const fault *faults[2] = {first, second};
    int i, left = 0, excuses = 0, any_number = 0;
    for (i = 0; i < 2; i++) {
        fake_call what = fake_call_at(faults[i]->call);
        if (!excuses_a_file(what)) continue;
        excuses++;
        any_number |= what == FAKE_fstatat || (second->call && faults[i]->for_ever);
        excuses += what == FAKE_unlinkat && faults[i]->for_ever; /* of a link that was tried, too */
    }
    for (i = 0; *fake_left_behind(i); i++) left += strchr(fake_left_behind(i), '~') != NULL;
    if (left > excuses && !any_number) fake_complain("a temporary name is left");
    if (now->adopt) return;
    if (theirs && fake_inode(PATH) != theirs) fake_complain("what is somebody else's is gone");
    if (fake_inode(PATH) != (theirs ? theirs : stale) && fake_exists(PATH) && !excuses && !now->locked)
        fake_complain("the path is left behind");
}

static void listen_for_adoption(void)
{
    struct sockaddr_un address;
    socklen_t size;
    ue_path place;
    if (!now->adopt) return;
    (void)ue_path_split(&place, PATH, "", NULL);
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
    fake.before = NULL;
    fake.no_renameat2 = fake.foreign_lock = 0;
    fake.descriptors_max = 64;
    if (theirs) fake_remove(PATH);
    desc.lock_ms = desc.busy_poll_us = 0;
    named = accepted = 0;
    if (uds_echo_server_open(&server, &desc, NULL)) fake_complain("the next start fails");
    else (void)uds_echo_server_close(server);
    if (fake_exists(PATH)) fake_complain("the next server left its path");
    for (i = 0; i < 10; i++) {
        (void)snprintf(name, sizeof name, PATH "~%d", i);
        if (fake_exists(name)) fake_complain("the next start left litter");
    }
}

/* Neighbours in the folder wait for its lock: it is given back before the server serves. Giving it back is
   tried twice. */
static void check_lock(const fault *first, const fault *second)
{
    int failing = 0;
    if (fake_call_at(first->call) == FAKE_flock) failing += first->for_ever ? 2 : 1;
    if (fake_call_at(second->call) == FAKE_flock) failing += second->for_ever ? 2 : 1;
    if (fake_locked("/w") && failing < 2) fake_complain("the folder stays locked");
}

/* A peer may wait in vain where a call on its own connection fails for ever, where the wait itself does, where its late
   answer cannot wake the server, and where nobody can be accepted any more, which is counted. */
static int may_stall(const fault *f, fake_call what)
{
    if (!f->for_ever) return 0;
    switch (what) {
    case FAKE_accept:
    case FAKE_accept4: return pauses > 0;
    case FAKE_read:
    case FAKE_epoll_wait:
    case FAKE_poll: return errors_of_steps > 0;
    case FAKE_write:
    case FAKE_epoll_ctl:
    case FAKE_fcntl:
    case FAKE_recv:
    case FAKE_send:
    case FAKE_setsockopt:
    case FAKE_shutdown:
    case FAKE_calloc:
    case FAKE_malloc:
    case FAKE_realloc: return 1;
    default: return 0;
    }
}

/* No stop can reach a server whose wakeup cannot be written. One that cannot be read, and a wait that fails for ever, is
   the error of each step: then the server is closed. */
static int hides_a_stop(const fault *f, fake_call what)
{
    if (!f->for_ever) return 0;
    switch (what) {
    case FAKE_write: return 1;
    case FAKE_read:
    case FAKE_epoll_wait:
    case FAKE_poll: return errors_of_steps > 0;
    default: return 0;
    }
}

static int is_refusal(int os_error)
{
    return os_error == ENOSYS || os_error == EINVAL || os_error == EPERM || os_error == EACCES ||
           os_error == EOPNOTSUPP;
}

/* Where there is another way, a start goes it. */
static int has_another_way(const fault *f)
{
    switch (fake_call_at(f->call)) {
    case FAKE_renameat2: return f->for_ever && is_refusal(f->os_error);
    case FAKE_accept4: return f->for_ever && f->os_error == ENOSYS;
    default: return 0;
    }
}

/* Opens, serves and closes; 0: it did not come to that. */
static int live(const fault *first, const fault *second)
{
    uds_echo_error error = open_all();
    int i;
    if (now->taken && !error) fake_complain("a start where it has to be refused");
    if (error) return 0;
    check_lock(first, second);
    if (now->client) {
        be_client();
        stopping = 1;
    }
    serve();
    for (i = 1; i >= 0; i--) close_server(i);
    for (i = 0; i < 1000 && world(NULL); i++) continue; /* the peers read what is on its way */
    if (unstopped && !hides_a_stop(first, fake_fault_of(0)) && !hides_a_stop(second, fake_fault_of(1)))
        fake_complain("not stopped after 600 steps");
    check_actors(may_stall(first, fake_fault_of(0)) || may_stall(second, fake_fault_of(1)));
    return 1;
}

static const char *in_words(char *text, size_t size, const fault *f)
{
    (void)snprintf(text, size, "call %lu (%s) fails with %d %s", f->call, fake_name_of(fake_call_at(f->call)),
                   f->os_error,
                   !f->for_ever                      ? "once"
                   : f->for_ever == FAKE_UNTIL_CLOSE ? "until a close"
                                                     : "for ever");
    return text;
}

static void run(const fault *first, const fault *second)
{
    char text[2][80];
    prepare();
    listen_for_adoption();
    fake_fault(first->call, first->os_error, first->for_ever);
    fake_fault_too(second->call, second->os_error, second->for_ever);
    runs++;
    calls_made = 0;
    if (!setjmp(fake_escape)) {
        fake_escape_set = 1;
        if (!live(first, second) && !now->taken && (!first->call || (!second->call && has_another_way(first))))
            fake_complain("cannot start though nothing fails, or though there is another way");
        if (!first->call && now->spin && !hits) fake_complain("busy-poll that never hits");
        calls_made = fake_calls();
        check_files(first, second);
        if (!now->adopt) check_next_start();
        fake_finish();
    }
    fake_escape_set = 0;
    if (!fake_violations()) return;
    unhappy++;
    print_message("%s: %s%s%s\n    %s\n    %s\n", now->name, in_words(text[0], sizeof text[0], first),
                  second->call ? ", and " : "", second->call ? in_words(text[1], sizeof text[1], second) : "",
                  fake_violation(0), fake_violation(1));
}

/* Nobody is bound there, says this error of connect(2) for certain: of a live server a system does not say it. */
static int would_be_a_lie(fake_call what, int os_error)
{
    return now->taken == BY_A_SERVER && what == FAKE_connect && os_error == ECONNREFUSED;
}

/* An interrupted call and one that would block are not so for ever, nor is every client gone before it is accepted; but
   a lock may be held, and a queue full. */
static int passes(fake_call what, int os_error)
{
    return os_error == EINTR || os_error == ECONNABORTED || os_error == EPROTO ||
           (os_error == EAGAIN && what != FAKE_flock && what != FAKE_connect);
}

static const fault nothing;
static unsigned long of_pairs; /* runs with two faults */

/* The run with the first fault alone has just been: each call behind it, with each of its errors. */
static void enumerate_second(const fault *first)
{
    static unsigned char calls[CALLS_MAX + 1];
    unsigned long i, last = calls_made;
    fake_call of_first = fake_call_at(first->call);
    fault second = nothing;
    const int *error;
    if (distance && last > first->call + distance) last = first->call + distance;
    for (i = first->call + 1; i <= last; i++) calls[i] = (unsigned char)fake_call_at(i);
    for (second.call = first->call + 1; second.call <= last && unhappy < 8; second.call++) {
        fake_call what = (fake_call)calls[second.call];
        if (first->for_ever && what == of_first) continue; /* it fails already */
        for (error = fake_errors_of(what); *error; error++) {
            if (would_be_a_lie(what, *error)) continue;
            second.os_error = *error;
            for (second.for_ever = 0; second.for_ever < 2; second.for_ever++) {
                if (second.for_ever && passes(what, *error)) break;
                run(first, &second);
                of_pairs++;
            }
        }
    }
}

static void progress(unsigned long call, unsigned long calls)
{
    static time_t told;
    time_t t = time(NULL);
    if (!told) told = t;
    if (t - told < 10) return;
    told = t;
    print_message("# %s: call %lu of %lu, %lu runs\n", now->name, call, calls, runs);
}

static int pairs; /* two faults each */

/* A call is refused for good by a sandbox, an old kernel or a file system. Nobody refuses memory so. */
static void enumerate_refusals(fault *first)
{
    static const int refusals[] = {ENOSYS, EPERM, EACCES, EOPNOTSUPP};
    fake_call what = fake_call_at(first->call);
    size_t i;
    if (!fake_errors_of(what)[0] || what == FAKE_malloc || what == FAKE_calloc || what == FAKE_realloc) return;
    for (i = 0; i < sizeof refusals / sizeof refusals[0] && unhappy < 8; i++) {
        first->os_error = refusals[i];
        first->for_ever = 1;
        run(first, &nothing);
        if (pairs) enumerate_second(first);
    }
}

static int is_lack(int os_error)
{
    return os_error == EMFILE || os_error == ENFILE || os_error == ENOMEM || os_error == ENOBUFS;
}

static void enumerate(void **state)
{
    unsigned long calls, before = runs;
    fault first = nothing;
    fake_call what;
    const int *error;
    now = (const scenario *)*state;
    unhappy = 0;
    run(&nothing, &nothing);
    calls = calls_made;
    assert_true(calls > 20);
    assert_int_equal(unhappy, 0);
    for (first.call = 1; first.call <= calls && unhappy < 8; first.call++) {
        run(&nothing, &nothing); /* to learn what this call is; a run is deterministic */
        what = fake_call_at(first.call);
        for (error = fake_errors_of(what); *error && unhappy < 8; error++) {
            if (would_be_a_lie(what, *error)) continue;
            first.os_error = *error;
            for (first.for_ever = 0; first.for_ever <= (is_lack(*error) ? FAKE_UNTIL_CLOSE : 1); first.for_ever++) {
                if (first.for_ever && passes(what, *error)) break;
                run(&first, &nothing);
                if (pairs && first.for_ever != FAKE_UNTIL_CLOSE) enumerate_second(&first);
            }
        }
        run(&nothing, &nothing);
        enumerate_refusals(&first);
        if (pairs) progress(first.call, calls);
    }
    print_message("# %s: %lu calls, %lu runs\n", now->name, calls, runs - before);
    assert_int_equal(unhappy, 0);
}

int main(int argc, char **argv)
{
    enum { COUNT = sizeof scenarios / sizeof scenarios[0] };
    struct CMUnitTest tests[COUNT];
    int i, result;
    pairs = argc > 1;
    distance = pairs ? strtoul(argv[1], NULL, 10) : 0;
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    memset(tests, 0, sizeof tests);
    for (i = 0; i < COUNT; i++) {
        tests[i].name = scenarios[i].name;
        tests[i].test_func = enumerate;
        tests[i].initial_state = (void *)(uintptr_t)&scenarios[i];
    }
    result = cmocka_run_group_tests(tests, NULL, NULL);
    print_message("# fault enumeration: %lu runs\n", runs);
    /* fewer: something was not enumerated; the call behind a fault fails at least as often as that */
    return result ? result : runs - of_pairs < 55000 || (pairs && of_pairs < runs - of_pairs);
}
