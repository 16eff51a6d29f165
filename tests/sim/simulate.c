/* simulate.c - whole lives of servers over the fake kernel, each decided by one number, its seed.

   A life is a few epochs. In each, up to four servers live in one process: one on a path, one that shares its listener,
   one on a path of its own, one over a listener that somebody else made. Dozens of peers and a client of ours talk to
   them; handlers answer at once, later, not at all, close, push to connections of any server, and step other servers.
   Calls fail, descriptors run out, weeks pass, clocks and counters cross the ends of 31 and of 32 bits. An epoch ends
   in a drain, a stop, a close or a crash; the next one starts on the same paths. The laws are checked after every
   action, and before a drain all that is owed must arrive. Every end of a connection must be explained, and a fault
   excuses no more than the one connection that it struck.

   simulate [-v] [-t] [-n SEEDS] [-f FIRST] [-s SEED]: -n 0 never ends, -v tells of every seed, -t of every action. */
#include "fake_kernel.h"

#define UDS_ECHO_SYS(fn) fake_##fn
#define UDS_ECHO_IMPLEMENTATION
#include "uds_echo.h"

#include <signal.h>

#define PATH "/w/sock"
#ifndef VARIANT
#define VARIANT "epoll" /* which of the builds of gates.mk this is */
#endif
enum { SERVERS = 4, PEERS = 120, RING = 4096, DEBTS = 64, CHUNK = 128, HOUR = 3600 * 1000, PAST = 512, CLOCKS = 16 };
enum { ON_PATH, SHARING, ON_OTHER, ADOPTED };

static const char *const paths[SERVERS] = {PATH, PATH, "/w/other", "/w/given"};

/* The other end of a connection, and what the oracle knows of it. What a peer sends is told by its number alone. */
typedef struct peer {
    int used, id; /* id -1: it left, or is the client of ours */
    int at;       /* which path it connected to */
    int half_closed, left, patient, broken, known, refused, welcome, closed, ending, owed;
    int faithless; /* the handler broke its contract */
    int struck;    /* memory ran out when it was this one's turn, though no call on its descriptor came before */
    long serial;   /* and the pid it says it has */
    uds_echo_id conn;
    int server;
    unsigned start; /* of that server: another start gives the same ids to others */
    uds_echo_error why;
    unsigned long opened; /* the call before on_open */
    unsigned long sent, handed, answered, got;
    unsigned char ring[RING]; /* answered and not yet got */
} peer;

typedef struct debt {
    int server;
    uds_echo_id conn;
} debt;

static peer peers[PEERS + 1]; /* the last is the client of ours */
static uds_echo_server *servers[SERVERS];
static uds_echo_server_desc descs[SERVERS];
static long long stopped_at[SERVERS]; /* -1: not asked to */
static long long slow;                /* ms that handlers have taken in this step */
static long long drained_at[SERVERS]; /* the end of the step that began to; -1: none did */
static unsigned long lacked;          /* accepts that wanted a descriptor, before the step or as of the last eviction */
static int asked[SERVERS];            /* how it was asked */
static int in_vain[SERVERS];          /* steps that were due at once, did nothing, and are due at once again */
static int inside[SERVERS];           /* a step of it is running */
static int closing_one;               /* uds_echo_server_close() of this one is running; -1: none */
static unsigned starts[SERVERS];
static long long rested_at[SERVERS];   /* when accepting last had to rest for want of something; */
static long long rested_slow[SERVERS]; /* ms that handlers took in the step in which it did, before or behind that */
static unsigned long long ended_then[SERVERS]; /* how many connections had ended by then */
static uds_echo_id past[SERVERS][PAST];        /* of this start */
static unsigned past_count[SERVERS];
static debt debts[DEBTS];
static int debt_count, depth, settling, crashing, at_client;
static size_t base_bytes;
enum { EXCHANGES = 5, FAULTS = 8, HOURS = 350 }; /* of a life, at least, in the mean of many */
enum { STRAYS = 64 };
static long serials, strays[STRAYS];
static long long life_began;
static uint64_t state;

/* The fault that is armed, those that struck, and whom. What an epoch's faults excuse ends with it. */
static struct {
    int allowed, which, lasts;
    unsigned long number;  /* of the call; 0: none */
    fake_call lacking;     /* this one fails until something is closed; FAKE_CALL_COUNT: none */
    int lack;              /* with this */
    fake_call refused;     /* a sandbox refuses this one; FAKE_CALL_COUNT: none */
    int refusal;           /* with this */
    unsigned long strikes; /* all of them */
    unsigned long lost;    /* of these, such as cost a connection before it is known */
    unsigned long breaks;  /* of these, such as break a connection; one each: */
    unsigned long breaks_by[UDS_ECHO_ERROR_COUNT], ends_by[UDS_ECHO_ERROR_COUNT];
    int excused, unprobed;    /* a path may be left behind, a temporary name may be */
    long long clocks[CLOCKS]; /* when the clock failed */
    unsigned clock_count;
    unsigned waits;           /* poll(2) and epoll_wait(2) in this step; the first is the wait */
    uds_echo_error wait_told; /* what the step is to say of it */
} faults;
static peer *served; /* whose handler ran last, in the step that is running */

/* These are of the whole run, and judge nothing. */
static int tracing, verbose;
static unsigned long steps, epochs, fault_total, exchanges;

/* ---- chance and laws --------------------------------------------------------------------------------------------- */

static unsigned rnd(unsigned below) /* splitmix64 */
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (unsigned)((z ^ (z >> 31)) >> 16) % below;
}

static void tell(const char *what, long a, long b)
{
    if (tracing) (void)printf("  %10lld ms, call %7lu: %s %ld %ld\n", fake_now_ms(), fake_calls(), what, a, b);
}

static void check(int holds, const char *what)
{
    if (holds) return;
    (void)printf("law broken: %s (call %lu)\n", what, fake_calls());
    longjmp(fake_escape, 1);
}

/* As the manual names them to on_close. OK: it passes, the call is tried again. */
static uds_echo_error name_of(int os_error)
{
    switch (os_error) {
    case EAGAIN:
    case EINTR: return UDS_ECHO_OK;
    case ENOMEM:
    case ENOBUFS: return UDS_ECHO_ERR_NO_MEMORY;
    case EPIPE:
    case ENOTCONN:
    case ECONNRESET: return UDS_ECHO_ERR_RESET;
    case EMFILE:
    case ENFILE: return UDS_ECHO_ERR_TOO_MANY_FILES;
    default: return UDS_ECHO_ERR_SYSTEM;
    }
}

/* What a call that failed excuses. A path that is left behind only where it met what retiring needs, and what a crash
   left under a temporary name only where it also met the probe that tells whether somebody is bound to that. */
static void struck(fake_call what, int os_error)
{
    const uds_echo_error name = name_of(os_error);
    fault_total++;
    faults.strikes++;
    tell(fake_name_of(what), -1, os_error);
    switch (what) {
    case FAKE_clock_gettime: faults.clocks[faults.clock_count++ % CLOCKS] = fake_now_ms(); break;
    case FAKE_poll:
    case FAKE_epoll_wait:
        if (faults.waits == 1) faults.wait_told = name ? UDS_ECHO_ERR_SYSTEM : UDS_ECHO_OK;
        break;
    case FAKE_socket:
    case FAKE_connect: faults.unprobed = 1; break;
    case FAKE_flock:
    case FAKE_fstatat:
    case FAKE_unlinkat:
    case FAKE_open: faults.excused = 1; break;
    case FAKE_setsockopt:
    case FAKE_getsockopt:
    case FAKE_fcntl: faults.lost++; break;
    case FAKE_malloc:
    case FAKE_realloc:
        if (served) served->struck = 1;
        /* fall through */
    case FAKE_recv:
    case FAKE_send:
    case FAKE_epoll_ctl:
    case FAKE_shutdown:
        if (at_client || !name) break;
        faults.breaks++;
        faults.breaks_by[name]++;
        break;
    default: break;
    }
}

static int error_of(fake_call what, int which)
{
    int count = 0;
    while (fake_errors_of(what)[count]) count++;
    return count ? fake_errors_of(what)[which % count] : 0;
}

/* Told of each call: knows, as the fake kernel does, whether it fails. */
static void before(fake_call what)
{
    faults.waits += what == FAKE_poll || what == FAKE_epoll_wait;
    if (fake_calls() == faults.number) {
        const int os_error = error_of(what, faults.which);
        const int lack =
            name_of(os_error) == UDS_ECHO_ERR_NO_MEMORY || name_of(os_error) == UDS_ECHO_ERR_TOO_MANY_FILES;
        faults.lack = os_error;
        if (faults.lasts && lack) faults.lacking = what;
        if (os_error) struck(what, os_error);
        else if (what == faults.refused) struck(what, faults.refusal);
    } else if (what == faults.lacking) {
        struck(what, faults.lack);
    } else if (what == faults.refused) {
        struck(what, faults.refusal);
    }
    if (what == FAKE_close) faults.lacking = FAKE_CALL_COUNT;
}

static void arm(unsigned long number)
{
    faults.number = number;
    faults.which = (int)rnd(16);
    faults.lasts = rnd(4) ? 0 : FAKE_UNTIL_CLOSE;
    faults.lacking = FAKE_CALL_COUNT;
    fake_fault_any(number, faults.which, faults.lasts);
}

static void allow_all(void)
{
    if (faults.refused < FAKE_CALL_COUNT) fake_refuse(faults.refused, 0);
    faults.refused = FAKE_CALL_COUNT;
}

/* Of what a server calls once it runs, and of what starts and stops need. */
static void refuse_any(void)
{
    static const fake_call calls[] = {FAKE_accept4,  FAKE_recv,       FAKE_send,      FAKE_epoll_ctl, FAKE_setsockopt,
                                      FAKE_shutdown, FAKE_getsockopt, FAKE_renameat2, FAKE_linkat,    FAKE_fchmodat,
                                      FAKE_flock,    FAKE_fstatat,    FAKE_unlinkat,  FAKE_connect};
    static const int refusals[] = {EPERM, ENOSYS, EACCES, EOPNOTSUPP};
    allow_all();
    faults.refused = calls[rnd(sizeof calls / sizeof *calls)];
    faults.refusal = refusals[rnd(4)];
    fake_refuse(faults.refused, faults.refusal);
    tell("refused:", (long)faults.refused, faults.refusal);
}

static void any_fault(void)
{
    if (!faults.allowed) return;
    if (!rnd(8)) refuse_any();
    else if (!rnd(4)) allow_all();
    arm(fake_calls() + 1 + rnd(40));
}

/* One is still to come, or lasts. */
static int fault_is_armed(void)
{
    return faults.number > fake_calls() || faults.lacking != FAKE_CALL_COUNT || faults.refused != FAKE_CALL_COUNT;
}

static void no_faults(void)
{
    fake_fault(0, 0, 0);
    allow_all();
    faults.number = 0;
    faults.lacking = FAKE_CALL_COUNT;
    faults.allowed = 0;
    fake.descriptors_max = 1024;
}

/* Nothing struck yet. */
static void forgive(void)
{
    memset(&faults, 0, sizeof faults);
    faults.refused = FAKE_CALL_COUNT;
    no_faults();
}

static unsigned char byte_of(const peer *p, unsigned long at)
{
    return (unsigned char)((at * 167 + (at >> 8) * 13 + (unsigned long)p->serial * 59) >> 1);
}

static uds_echo_stats stats_of(const uds_echo_server *server)
{
    uds_echo_stats stats;
    uds_echo_server_stats(server, &stats);
    return stats;
}

static size_t room_of(int s)
{
    size_t whole = (size_t)descs[s].message_max, places = (size_t)descs[s].connections_max;
    /* two messages to be sent, one of which is a remainder and a push, and one that was received in part */
    return places * (3 * whole + 2 * (UE_BLOCK + sizeof(ue_buf)) + 128);
}

/* An id leads to its own connection and to no other, and to none from when that is to end, whoever has the slot. */
static void ids_are_for_ever(void)
{
    int i;
    for (i = 0; i <= PEERS; i++) {
        const peer *p = &peers[i];
        const uds_echo_conn *conn;
        if (!p->used || !p->known || !servers[p->server] || p->start != starts[p->server]) continue;
        conn = uds_echo_server_find(servers[p->server], p->conn);
        check(!conn || uds_echo_conn_user(conn) == p, "an id that leads to another connection");
        check(!conn || !(p->closed || p->ending), "an id that leads to a connection that is to end");
    }
}

/* No connection of a server had it before. */
static void id_is_new(int s, uds_echo_id id)
{
    unsigned i;
    check(id != 0, "an id that is 0");
    for (i = 0; i < past_count[s] && i < PAST; i++) check(past[s][i] != id, "an id that another had");
    past[s][past_count[s]++ % PAST] = id;
}

static void lawful(void)
{
    size_t room = base_bytes;
    int s;
    check(!fake_violations(), fake_violation(0));
    for (s = 0; s < SERVERS; s++) {
        uds_echo_stats stats = stats_of(servers[s]);
        if (!servers[s]) continue;
        room += room_of(s);
        check(stats.connections <= (unsigned)descs[s].connections_max, "more connections than connections_max");
    }
    check(fake_live_bytes() <= room, "memory grows");
    ids_are_for_ever();
}

/* ---- handlers ---------------------------------------------------------------------------------------------------- */

static peer *peer_of(const uds_echo_conn *conn)
{
    return (peer *)uds_echo_conn_user(conn);
}

static void answered(peer *p, const unsigned char *bytes, size_t size)
{
    size_t i;
    check(p->answered - p->got + size <= RING || p->broken, "more is on its way than a connection may hold");
    if (p->answered - p->got + size > RING) return;
    for (i = 0; i < size; i++) p->ring[(p->answered + i) % RING] = bytes[i];
    p->answered += size;
}

static void push(uds_echo_conn *conn, size_t size)
{
    unsigned char bytes[CHUNK];
    peer *p = conn ? peer_of(conn) : NULL;
    const unsigned long breaks = faults.breaks;
    if (!p) return;
    memset(bytes, (int)rnd(256), sizeof bytes);
    switch (uds_echo_conn_send(conn, bytes, size)) {
    case UDS_ECHO_ERR_WOULD_BLOCK: check(!p->owed, "no room for an answer that is owed"); break;
    case UDS_ECHO_ERR_TOO_LONG: check(size > (size_t)descs[p->server].message_max, "too long, and it is not"); break;
    case UDS_ECHO_ERR_CLOSING: check(0, "a connection that is at hand takes nothing"); break;
    case UDS_ECHO_OK:
        answered(p, bytes, size);
        p->owed = 0;
        break;
    default: /* a part of it may arrive */
        check(p->left || faults.breaks != breaks, "a send fails though nothing did");
        if (faults.breaks != breaks) p->struck = 1;
        p->broken = 1;
        answered(p, bytes, size);
    }
}

/* What was asked to end takes nothing more, though it may live for long. */
static void end(uds_echo_conn *conn)
{
    peer *p = conn ? peer_of(conn) : NULL;
    if (!p) return;
    uds_echo_conn_close(conn);
    p->ending = 1;
    check(uds_echo_conn_send(conn, "x", 1) == UDS_ECHO_ERR_CLOSING, "a send on a connection that is to end");
}

/* A connection of any server, or none. */
static uds_echo_conn *someone(void)
{
    const peer *p = &peers[rnd(PEERS)];
    return p->used && p->welcome && !p->closed && servers[p->server] ? uds_echo_server_find(servers[p->server], p->conn)
                                                                     : NULL;
}

/* Chance decides in this order, with every compiler. */
static void push_to_someone(void)
{
    uds_echo_conn *conn = someone();
    push(conn, rnd(CHUNK));
}

static void pay(unsigned which)
{
    debt d = debts[which % (unsigned)debt_count];
    uds_echo_conn *conn;
    debts[which % (unsigned)debt_count] = debts[debt_count - 1];
    debt_count--;
    conn = servers[d.server] ? uds_echo_server_find(servers[d.server], d.conn) : NULL;
    check(!conn || uds_echo_conn_id(conn) == d.conn, "an answer that is owed finds another connection");
    if (!conn || !peer_of(conn)->owed) return;
    push(conn, rnd(4) ? rnd((unsigned)descs[d.server].message_max) % CHUNK : 0);
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

/* What a step is judged by: how things stood before it. */
typedef struct glance {
    unsigned long strikes, work;
    unsigned long long waits, messages, exhausted, ended;
    int due, scarce, goes_on;
    long long began;
} glance;

static unsigned long work_done(void)
{
    return fake_calls() - fake_calls_of(FAKE_clock_gettime) - fake_calls_of(FAKE_epoll_wait) - fake_calls_of(FAKE_poll);
}

static glance look_at(int s)
{
    glance g;
    g.strikes = faults.strikes;
    g.due = uds_echo_server_timeout(servers[s]);
    g.work = work_done();
    g.waits = servers[s]->stats.waits;
    g.exhausted = servers[s]->stats.pauses_failed;
    g.ended = servers[s]->stats.accepted - servers[s]->stats.connections;
    g.scarce = fake.descriptors_max < 1024;
    g.messages = servers[s]->stats.messages;
    g.goes_on = servers[s]->unfinished;
    g.began = fake_now_ms();
    return g;
}

static long long moved_at(const uds_echo_conn *conn)
{
    long long ms;
    (void)fake_moved(conn->fd, &ms);
    return ms;
}

/* Nobody is left in a queue whose time was up before the step began. */
static void nobody_is_overdue(const ue_queue *q, int ms, long long began)
{
    if (ms <= 0 || !q->places || q->first == UE_NIL) return;
    check(q->places[q->first].since <= fake_now_ms(), "a time in the future");
    check(began - q->places[q->first].since < ms, "its time is up, and it is not cut");
}

/* Nobody is left that was idle for so long, but whom we keep waiting. */
static void idle_are_cut(int s, long long began)
{
    const uds_echo_server *server = servers[s];
    unsigned i;
    for (i = 0; i < server->conns_used && descs[s].idle_ms > 0; i++) {
        const uds_echo_conn *c = &server->conns[i];
        if (c->state == UE_FREE || c->state == UE_LINGERING || c->more || c->deferred) continue;
        check(server->idle.places[i].since != UE_NONE, "nobody asks whether it is idle");
        check(began - moved_at(c) < descs[s].idle_ms || began - server->idle.places[i].since < descs[s].idle_ms,
              "idle, and it is not cut");
    }
}

/* A clock that failed stands still: what happens then has the time of the step before. */
static int clock_failed_at(long long ms)
{
    unsigned i;
    for (i = 0; i < faults.clock_count && i < CLOCKS; i++)
        if (faults.clocks[i] == ms) return 1;
    return 0;
}

/* Only where something failed, or descriptors are scarce; and then for its time, or until a connection ends. */
static void judge_rest(int s, const glance *g)
{
    const uds_echo_stats *stats = &servers[s]->stats;
    const long long since = fake_now_ms() - rested_at[s] + rested_slow[s];
    if (stats->pauses_failed == g->exhausted) return;
    check(faults.strikes != g->strikes || g->scarce, "it rests for nothing");
    check(since >= UE_PAUSE_MS || stats->accepted - stats->connections != ended_then[s] ||
              clock_failed_at(rested_at[s]),
          "it does not rest");
    rested_at[s] = fake_now_ms();
    rested_slow[s] = slow;
    ended_then[s] = g->ended;
}

static void judge_step(int s, const glance *g)
{
    const uds_echo_server *server = servers[s];
    const int unharmed = faults.strikes == g->strikes;
    check(server->stats.waits == g->waits + !g->goes_on, "a step that does not wait once, or goes on");
    judge_rest(s, g);
    if (unharmed && server->phase != UE_STOPPED) {
        idle_are_cut(s, g->began);
        nobody_is_overdue(&server->idle, descs[s].idle_ms, g->began);
        nobody_is_overdue(&server->messages, descs[s].message_ms, g->began);
        nobody_is_overdue(&server->lingering, descs[s].linger_ms, g->began);
    }
    if (g->due || !unharmed || work_done() != g->work || server->stats.messages != g->messages) in_vain[s] = 0;
    else if (!uds_echo_server_timeout(server)) in_vain[s]++;
    check(in_vain[s] < 3, "it spins");
}

/* poll(2), EINVAL: the limit on descriptors was lowered, and lies below the highest place that is watched. */
static int is_past_limit(const uds_echo_server *server)
{
#if UDS_ECHO_HAVE_EPOLL
    (void)server;
    return 0;
#else
    size_t places = server->poller.used;
    while (places && server->poller.fds[places - 1].fd < 0) places--;
    return places > (size_t)fake.descriptors_max + 3;
#endif
}

/* Inside: only that is said. Else it fails only where the wait itself did, and then it says so. */
static void judge_error(int s, int is_inside, uds_echo_error error)
{
    if (is_inside) check(error == UDS_ECHO_ERR_REENTRANT, "a step within a step");
    else if (error == UDS_ECHO_ERR_STOPPED) check(stopped_at[s] >= 0, "it stopped, and nobody asked");
    else check(error == faults.wait_told, "a step fails, or does not say so");
}

static uds_echo_error step(int s)
{
    const unsigned waits = faults.waits;
    const uds_echo_error told = faults.wait_told;
    const int is_inside = inside[s] || closing_one == s, was_stopped = servers[s]->phase == UE_STOPPED;
    const long long slow_before = slow;
    peer *const at_hand = served;
    const glance g = look_at(s);
    uds_echo_error error;
    steps++;
    served = NULL;
    slow = 0;
    faults.waits = 0;
    faults.wait_told = is_past_limit(servers[s]) ? UDS_ECHO_ERR_SYSTEM : UDS_ECHO_OK;
    inside[s]++;
    lacked = fake_lacks();
    error = uds_echo_server_step(servers[s], 0);
    inside[s]--;
    if (servers[s]->phase != UE_SERVING && drained_at[s] < 0) drained_at[s] = fake_now_ms();
    judge_error(s, is_inside, error);
    if (!was_stopped && !is_inside) judge_step(s, &g);
    served = at_hand;
    slow += slow_before;
    faults.waits = waits;
    faults.wait_told = told;
    return error;
}

/* ---- why connections end ----------------------------------------------------------------------------------------- */

static int is_idle(int s, const uds_echo_conn *conn)
{
    const long long moved = moved_at(conn);
    return fake_now_ms() - moved >= descs[s].idle_ms || clock_failed_at(moved);
}

/* Since when it is in this queue its time was up, and its socket was looked at once more. */
static void judge_overdue(const ue_queue *q, const uds_echo_conn *conn, int ms, const peer *p)
{
    const long long since = q->places[conn - conn->server->conns].since;
    check(ms > 0 && since != UE_NONE, "cut for a time that it has not");
    check(fake_now_ms() - since >= ms, "cut too soon");
    check(conn->state != UE_READING || !fake_unread(conn->fd) || p->struck || fake_struck(conn->fd),
          "cut, and its input was not looked at");
}

/* By which call a byte last moved; a new one takes its place in the order when it is opened. */
static unsigned long order_of(const uds_echo_conn *conn)
{
    long long ms;
    const unsigned long moved = fake_moved(conn->fd, &ms);
    const peer *p = peer_of(conn);
    return p && p->opened > moved ? p->opened : moved;
}

static int is_idlest(const uds_echo_conn *conn)
{
    const uds_echo_server *server = conn->server;
    const unsigned long order = order_of(conn);
    unsigned i;
    if (conn->state == UE_LINGERING) return 1;
    if (server->lingering.first != UE_NIL) return 0;
    for (i = 0; i < server->conns_used; i++)
        if (server->conns[i].state != UE_FREE && order_of(&server->conns[i]) < order) return 0;
    return 1;
}

/* One fault, one end: it struck this connection, it gives this reason, and it has not yet explained another end. */
static int fault_explains(const peer *p, const uds_echo_conn *conn, uds_echo_error why)
{
    return (p->struck || fake_struck(conn->fd)) && ++faults.ends_by[why] <= faults.breaks_by[why];
}

/* It sent a part of a message, and no more of it will come. */
static int is_cut_short(const peer *p)
{
    return p->handed < p->sent && (byte_of(p, p->handed) & 31u) + 1 > p->sent - p->handed;
}

/* What on_close is told is true. */
static void judge_end(int s, const peer *p, const uds_echo_conn *conn, uds_echo_error why)
{
    const uds_echo_server_desc *d = &descs[s];
    const int over = p->half_closed || p->left || stopped_at[s] >= 0;
    const int late = drained_at[s] >= 0 && fake_now_ms() - drained_at[s] >= d->drain_ms;
    switch (why) {
    case UDS_ECHO_OK:
        check(p->ending || over, "an end that nobody asked for");
        check(p->ending || p->handed == p->sent, "an orderly end, and not all was handled");
        check(!p->owed || p->ending, "an orderly end, and an answer is owed");
        check(!p->ending || p->half_closed || p->left || conn->input_shut || p->struck || fake_struck(conn->fd),
              "it ends before its peer does");
        check(p->ending || p->half_closed || p->left || p->handed || conn->server->finish_until == UE_NONE,
              "a drain ends who has not spoken yet");
        break;
    case UDS_ECHO_ERR_LINGER:
        check(p->ending && conn->state == UE_LINGERING, "cut as lingering, and it is not");
        judge_overdue(&conn->server->lingering, conn, d->linger_ms, p);
        break;
    case UDS_ECHO_ERR_TIMEOUT:
        check(d->frame && (byte_of(p, p->handed) & 31u) + 1 > ue_buf_size(conn->unhandled),
              "it has all of the message");
        judge_overdue(&conn->server->messages, conn, d->message_ms, p);
        break;
    case UDS_ECHO_ERR_UNEXPECTED_EOF: check(d->frame && over && is_cut_short(p), "no message is cut short"); break;
    case UDS_ECHO_ERR_RESET: check(p->left || fault_explains(p, conn, why), "a reset of one who is there"); break;
    case UDS_ECHO_ERR_BAD_HANDLER: check(p->faithless, "the handler kept its contract"); break;
    case UDS_ECHO_ERR_IDLE:
        check(d->idle_ms > 0 && !p->owed, "cut as idle, and an answer is owed");
        check(is_idle(s, conn), "cut as idle too soon");
        judge_overdue(&conn->server->idle, conn, d->idle_ms, p);
        check(!conn->unsent || !fake_room(conn->fd) || fault_explains(p, conn, why),
              "cut as idle, and its socket takes more");
        break;
    case UDS_ECHO_ERR_EVICTED: /* with idle_ms whom we keep waiting is no longer among the idle */
        check(d->when_full == UDS_ECHO_FULL_EVICT, "evicted, and it was to rest");
        check(conn->server->stats.connections >= (unsigned)d->connections_max || fake_lacks() != lacked,
              "evicted, and there is a place");
        lacked = fake_lacks();
        check(d->idle_ms > 0 || is_idlest(conn), "evicted, and another was idler");
        break;
    case UDS_ECHO_ERR_STOPPED:
        check(closing_one == s || (stopped_at[s] >= 0 && asked[s] == UDS_ECHO_STOP_NOW) || late,
              "cut, and nobody asked for it");
        break;
    default: check(fault_explains(p, conn, why), "an end that nothing explains");
    }
}

/* ---- callbacks --------------------------------------------------------------------------------------------------- */

/* A handler that takes its time: longer than any idle_ms or drain_ms, sometimes. Not while one drains, for it is judged
   by the end of the step in which that began. */
static void be_slow(void)
{
    const long long began = fake_now_ms();
    int s;
    for (s = 0; s < SERVERS; s++)
        if (servers[s] && servers[s]->phase != UE_SERVING) return;
    fake_sleep((int)rnd(rnd(20) ? 100 : 10000));
    slow += fake_now_ms() - began;
}

/* What callbacks do to others: the interactions that are easy to get wrong. */
static void meddle(int s)
{
    int other = (int)rnd(SERVERS);
    ids_are_for_ever();
    switch (rnd(40)) {
    case 0:
    case 1:
    case 2: push_to_someone(); break;
    case 3: end(someone()); break;
    case 4: uds_echo_server_wake(servers[other]); break;
    case 5:
        if (debt_count) pay(rnd(DEBTS));
        break;
    case 6: check(uds_echo_server_step(servers[s], 0) == UDS_ECHO_ERR_REENTRANT, "a step inside a callback"); break;
    case 7: check(uds_echo_server_close(servers[s]) == UDS_ECHO_ERR_REENTRANT, "a close inside a callback"); break;
    case 8: be_slow(); break;
    case 9: /* another server is not within a callback */
        if (depth > 1 || other == s || !servers[other]) break;
        depth++;
        (void)step(other);
        depth--;
        break;
    default: break;
    }
}

static int on_open(uds_echo_conn *conn, void *user)
{
    uds_echo_peer who;
    int i, k, s = (int)(intptr_t)user;
    if (uds_echo_conn_peer(conn, &who)) return 1;
    for (i = 0; i <= PEERS; i++)
        if (peers[i].used && peers[i].serial == who.pid) break;
    for (k = 0; i > PEERS && k < STRAYS; k++) /* of a client whose open failed after it had connected */
        if (strays[k] == who.pid) return 1;
    check(i <= PEERS, "a connection that nobody made");
    check(!peers[i].known, "one connection was accepted twice");
    check(!crashing, "a callback in a child");
    check(peers[i].at == s || (s == SHARING && peers[i].at == ON_PATH), "accepted from another's listener");
    peers[i].known = 1;
    peers[i].server = s;
    peers[i].start = starts[s];
    peers[i].conn = uds_echo_conn_id(conn);
    peers[i].opened = fake_calls();
    id_is_new(s, peers[i].conn);
    uds_echo_conn_set_user(conn, &peers[i]);
    if (!rnd(6)) push(conn, rnd(20));
    if (!rnd(30)) peers[i].refused = 1;
    peers[i].welcome = !peers[i].refused;
    meddle(s);
    return peers[i].refused;
}

static void on_close(uds_echo_conn *conn, uds_echo_error why, void *user)
{
    peer *p = peer_of(conn);
    int s = (int)(intptr_t)user;
    check(!crashing, "a callback in a child");
    check(p && p->welcome && !p->closed, "on_close not once for each that is welcome");
    check(p->server == s && p->conn == uds_echo_conn_id(conn), "on_close of another connection");
    p->closed = 1;
    p->why = why;
    tell("on_close", p->serial, (long)why);
    judge_end(s, p, conn, why);
    check(uds_echo_conn_send(conn, "x", 1) == UDS_ECHO_ERR_CLOSING, "a send on a connection that is closed");
    meddle(s);
}

static void judge_message(const uds_echo_conn *conn, const uds_echo_message *m, int s)
{
    const peer *p = peer_of(conn);
    const size_t got = m->size;
    size_t i;
    check(p && p->server == s && p->conn == uds_echo_conn_id(conn), "a message of another connection");
    check(p->welcome && !p->closed && !p->owed, "a message that was not to be handled now");
    check(m->capacity == (size_t)descs[s].message_max && got > 0 && got <= m->capacity, "a message of a wrong size");
    check(p->handed + got <= p->sent, "the handler got more than was sent");
    for (i = 0; i < got; i++) check(m->data[i] == byte_of(p, p->handed + i), "the handler got what was not sent");
    if (descs[s].frame) check(got == (m->data[0] & 31u) + 1, "not one message");
}

static uds_echo_verdict on_message(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    peer *p = peer_of(conn);
    int s = (int)(intptr_t)user;
    uds_echo_verdict verdict = UDS_ECHO_REPLY;
    size_t i, got = m->size;
    judge_message(conn, m, s);
    p->handed += got;
    meddle(s);
    served = p;
    if (!rnd(5)) {
        m->size = rnd((unsigned)m->capacity + 1);
        for (i = got; i < m->size; i++) m->data[i] = (unsigned char)i;
    }
    switch (rnd(24)) {
    case 0:
    case 1: verdict = UDS_ECHO_NO_REPLY; break;
    case 2:
    case 3:
        if (debt_count == DEBTS || settling) break;
        verdict = UDS_ECHO_DEFER;
        p->owed = 1;
        debts[debt_count].server = s;
        debts[debt_count++].conn = p->conn;
        return verdict;
    case 4:
        if (!rnd(4)) verdict = UDS_ECHO_REPLY_AND_CLOSE;
        p->ending |= verdict == UDS_ECHO_REPLY_AND_CLOSE;
        break;
    case 5:
        if (rnd(10)) break;
        p->faithless = p->ending = 1;
        if (rnd(2)) m->size = m->capacity + 1;
        else verdict = (uds_echo_verdict)UDS_ECHO_ERR_TIMEOUT; /* an error is no verdict */
        return verdict;
    default: break;
    }
    if (verdict != UDS_ECHO_NO_REPLY) answered(p, m->data, m->size);
    return verdict;
}

static void on_wake(uds_echo_server *server, void *user)
{
    (void)server;
    if (debt_count) pay(rnd(DEBTS));
    meddle((int)(intptr_t)user);
}

static size_t frame(const unsigned char *bytes, size_t size, void *user)
{
    (void)user;
    check(size > 0, "asked for a message in nothing");
    return (bytes[0] & 31u) + 1;
}

/* ---- peers ------------------------------------------------------------------------------------------------------- */

static void birth(peer *p, int at)
{
    memset(p, 0, sizeof *p);
    p->used = 1;
    p->id = -1;
    p->at = at;
    p->serial = 100000 + ++serials;
    p->patient = rnd(4) == 0;
}

static void dial(void)
{
    peer *p = &peers[rnd(PEERS)];
    int at = (int)rnd(SERVERS);
    if (at == SHARING) at = ON_PATH;
    if (p->used && p->id < 0 && (p->closed || p->refused)) p->used = 0;
    if (p->used || !servers[at]) return;
    birth(p, at);
    fake.peer_pid = p->serial;
    p->id = fake_peer_connect(paths[at]);
    if (p->id < 0) p->used = 0;
    tell("connect", p->serial, p->id);
}

static void speak(peer *p, size_t size)
{
    unsigned char bytes[CHUNK];
    size_t i;
    long n;
    if (!p->used || p->id < 0 || p->half_closed) return;
    for (i = 0; i < size; i++) bytes[i] = byte_of(p, p->sent + i);
    n = fake_peer_send(p->id, bytes, size);
    if (n > 0) p->sent += (unsigned long)n;
}

static void received(peer *p, const unsigned char *bytes, size_t size)
{
    size_t i;
    check(p->got + size <= p->answered, "more came than was answered");
    for (i = 0; i < size; i++) check(p->ring[(p->got + i) % RING] == bytes[i], "not what was answered");
    p->got += size;
}

static int listen_to(peer *p, size_t size)
{
    unsigned char bytes[CHUNK];
    long n;
    if (!p->used || p->id < 0) return 0;
    n = fake_peer_recv(p->id, bytes, size);
    if (n > 0) received(p, bytes, (size_t)n);
    if (n == 0 && p->closed && !p->why) check(p->got == p->answered, "an orderly end, and bytes are missing");
    return n > 0;
}

static void half_close(peer *p)
{
    if (!p->used || p->id < 0 || p->half_closed) return;
    (void)fake_peer_shutdown(p->id, SHUT_WR);
    p->half_closed = 1;
}

static void leave(peer *p)
{
    if (p->used && p->id >= 0) {
        fake_peer_close(p->id);
        p->left = 1;
    }
    p->id = -1;
}

/* ---- a client of ours -------------------------------------------------------------------------------------------- */

static int turns;

/* Asked while the client waits: everyone else goes on. */
static int others(void *user)
{
    int s, moved = 0;
    (void)user;
    if (++turns % 8 == 0) return 0; /* now and then time passes for the client, too */
    at_client = 0;
    for (s = 0; s < SERVERS; s++) {
        uds_echo_stats then = stats_of(servers[s]), now;
        if (!servers[s]) continue;
        (void)step(s);
        now = stats_of(servers[s]);
        then.waits = now.waits;
        moved |= memcmp(&then, &now, sizeof now) != 0;
    }
    if (debt_count) pay(rnd(DEBTS)), moved = 1;
    moved |= listen_to(&peers[rnd(PEERS)], CHUNK);
    at_client = 1;
    return moved;
}

/* 1: it is connected. Only a fault, or a want of descriptors, may prevent that. */
static int client_opens(uds_echo_client *client, peer *p)
{
    const unsigned long strikes = faults.strikes;
    const long pid = fake.pid;
    uds_echo_client_desc desc;
    uds_echo_failure why;
    uds_echo_error error;
    memset(&desc, 0, sizeof desc);
    desc.path = paths[p->at];
    desc.timeout_ms = 200;
    desc.trust = rnd(2) ? UDS_ECHO_TRUST_ANY : UDS_ECHO_TRUST_UID_OR_ROOT;
    desc.uid = fake.uid;
    fake.pid = p->serial; /* it is known by its pid, as the others are */
    error = uds_echo_client_open(client, &desc, &why);
    fake.pid = pid;
    check(error == why.error, "a failure that says something else");
    if (!error) return 1;
    check(faults.strikes != strikes || (error == UDS_ECHO_ERR_TOO_MANY_FILES && fake.descriptors_max < 1024),
          "a client cannot connect though nothing fails");
    p->refused = p->left = 1;
    strays[p->serial % STRAYS] = p->serial;
    return 0;
}

static void client_talks(uds_echo_client *client, peer *p)
{
    static unsigned char out[2000], in[RING];
    uds_echo_io io = {out, 0, 0, in, sizeof in, 0};
    uds_echo_error error;
    size_t i;
    exchanges++;
    io.out_size = 1 + rnd(sizeof out - 1);
    for (i = 0; i < io.out_size; i++) out[i] = byte_of(p, (unsigned long)i);
    fake.world = others;
    for (i = 0, turns = 0; i < 3; i++) {
        const size_t had = io.got;
        p->sent = io.out_size; /* at most */
        error = uds_echo_client_exchange(client, &io, (int)rnd(50));
        check(io.got >= had && io.got <= io.in_size && io.sent <= io.out_size, "an exchange that goes astray");
        check(p->handed <= io.sent, "handled more than was sent");
        p->sent = io.sent;
        received(p, in + had, io.got - had);
        if (error != UDS_ECHO_ERR_TIMEOUT) break;
    }
    p->half_closed = rnd(2) && uds_echo_client_shutdown(client) == UDS_ECHO_OK;
    fake.world = NULL;
}

static void be_client(void)
{
    peer *p = &peers[PEERS];
    uds_echo_client client;
    int at = rnd(2) ? ON_PATH : ON_OTHER;
    if (!servers[at] || (p->used && !p->closed && !p->refused)) return;
    birth(p, at);
    at_client = 1;
    if (client_opens(&client, p)) {
        client_talks(&client, p);
        uds_echo_client_close(&client);
        p->left = 1;
    }
    at_client = 0;
    check(client.fd == -1, "a client that is closed, and is not");
}

/* ---- servers ----------------------------------------------------------------------------------------------------- */

static int running(int s)
{
    return servers[s] != NULL;
}

static uds_echo_server_desc describe(int s)
{
    uds_echo_server_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.path = s == ADOPTED || s == SHARING ? NULL : paths[s];
    desc.share_with = s == SHARING ? servers[ON_PATH] : NULL;
    desc.message_max = 32 + (long)rnd(224);
    desc.connections_max = 1 + (int)rnd(rnd(2) ? 4 : 64);
    desc.when_full = rnd(2) ? UDS_ECHO_FULL_QUEUE : UDS_ECHO_FULL_EVICT;
    desc.publish = rnd(4) ? UDS_ECHO_PUBLISH_ATOMIC : UDS_ECHO_PUBLISH_DIRECT;
    desc.idle_ms = rnd(2) ? 1 + (int)rnd(rnd(2) ? 200 : 60000) : 0;
    desc.step_messages = rnd(2) ? 1 + (int)rnd(rnd(2) ? 4 : 200) : 0;
    desc.send_buffer = rnd(3) ? 0 : 4096;
    desc.message_ms = rnd(2) ? 1 + (int)rnd(rnd(2) ? 200 : 60000) : 0;
    desc.linger_ms = 1 + (int)rnd(rnd(2) ? 200 : 60000);
    desc.drain_ms = 100 + (int)rnd(4000);
    desc.lock_ms = 20;
    desc.frame = rnd(2) ? frame : NULL;
    desc.on_message = on_message;
    desc.on_open = on_open;
    desc.on_close = on_close;
    desc.on_wake = on_wake;
    desc.user = (void *)(intptr_t)s;
    return desc;
}

static int given_listener(void)
{
    struct sockaddr_un address;
    int fd;
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, paths[ADOPTED], strlen(paths[ADOPTED]));
    fake_remove(paths[ADOPTED]);
    fd = fake_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    if (!fake_bind(fd, (struct sockaddr *)&address, sizeof address) && !fake_listen(fd, 100)) return fd;
    (void)fake_close(fd);
    return -1;
}

/* 0: over a listener that somebody else made, and no fault strikes that. */
static uds_echo_error adopt(uds_echo_failure *why)
{
    const int scheduled = fault_is_armed();
    uds_echo_error error;
    int fd;
    no_faults();
    fd = given_listener();
    check(fd >= 0, "no listener to give");
    if (scheduled) arm(fake_calls() + 1 + rnd(40));
    error = uds_echo_server_adopt(&servers[ADOPTED], fd, &descs[ADOPTED], why);
    if (error) (void)fake_close(fd);
    return error;
}

/* Counters that were counting for years: soon they have more than 31 bits, or more than 32. */
static void age(uds_echo_server *server)
{
    const unsigned ends = rnd(2) ? 1u << 31 : 0, count = rnd(8);
    unsigned i;
    if (rnd(3)) return;
    for (i = 0; i < server->conns_max; i++) server->conns[i].generation = ends - 1 - rnd(count + 1);
    server->stats.waits = rnd(2) ? 1ull << 31 : 1ull << 32;
    server->stats.waits -= rnd(200);
    server->ready_again_at = server->stats.waits;
}

static void nothing_is_left_of_the_start(int s)
{
    char name[32];
    int n;
    for (n = 0; n < 10; n++) {
        (void)snprintf(name, sizeof name, "%s~%d", paths[s], n);
        check(!fake_exists(name), "a temporary name is left");
    }
}

/* Under faults a start may fail, and then nothing is left of it; with none it must not. */
static void start(int s)
{
    const int had = fake_open_descriptors();
    const unsigned long strikes = faults.strikes;
    uds_echo_failure why;
    uds_echo_error error;
    if (s == SHARING && !servers[ON_PATH]) return;
    descs[s] = describe(s);
    stopped_at[s] = drained_at[s] = -1;
    in_vain[s] = 0;
    past_count[s] = 0;
    rested_at[s] = fake_now_ms() - UE_PAUSE_MS;
    rested_slow[s] = 0;
    starts[s]++;
    error = s == ADOPTED ? adopt(&why) : uds_echo_server_open(&servers[s], &descs[s], &why);
    tell("start", s, (long)error);
    tell("which says", (long)why.error, why.os_error);
    check(error == why.error && (error != UDS_ECHO_OK) == !servers[s], "a start whose failure does not say so");
    if (error) {
        check(faults.strikes != strikes, "cannot start though nothing fails");
        check(fake_open_descriptors() == had, "a start that failed left descriptors");
        return;
    }
    age(servers[s]);
    base_bytes = fake_live_bytes();
    check(fake_exists(paths[s]), "it started, and there is no path");
    if (s != ADOPTED && faults.strikes == strikes && !faults.excused && !faults.unprobed)
        nothing_is_left_of_the_start(s);
}

/* A life is not lost where another is: the second start says so, and harms nothing. */
static void start_twice(void)
{
    uds_echo_server_desc desc = describe(ON_PATH);
    uds_echo_server *second;
    unsigned long inode = fake_inode(PATH);
    if (!running(ON_PATH) || fault_is_armed() || stopped_at[ON_PATH] >= 0 || !inode || faults.excused ||
        fake.descriptors_max < 1024)
        return;
    check(uds_echo_server_open(&second, &desc, NULL) == UDS_ECHO_ERR_IN_USE && !second, "two servers on one path");
    check(fake_inode(PATH) == inode, "a start that was refused replaced the path");
}

static void close_one(int s)
{
    uds_echo_server *server = servers[s];
    int i;
    if (!server) return;
    tell("close", s, crashing);
    closing_one = s;
    check(uds_echo_server_close(server) == UDS_ECHO_OK, "close");
    closing_one = -1;
    servers[s] = NULL;
    for (i = 0; i <= PEERS; i++)
        if (peers[i].used && peers[i].server == s && peers[i].welcome && !crashing)
            check(peers[i].closed, "a connection without its on_close");
}

static void step_one(int s)
{
    if (!servers[s]) return;
    (void)step(s);
    if (drained_at[s] >= 0 && !fault_is_armed() && fake_now_ms() - drained_at[s] > descs[s].drain_ms + 400)
        check(step(s) == UDS_ECHO_ERR_STOPPED, "a drain that outlives its deadline");
}

/* ---- a life ------------------------------------------------------------------------------------------------------ */

/* Mostly a moment, seldom hours, now and then weeks. */
static void time_passes(void)
{
    int days = rnd(60) ? 0 : 1 + (int)rnd(40);
    fake_sleep((int)rnd(rnd(20) ? 30 : rnd(40) ? 5000 : 6 * HOUR));
    while (days--) fake_sleep(24 * HOUR);
}

static void act(void)
{
    peer *p = &peers[rnd(PEERS)];
    unsigned what = rnd(100);
    if (what < 26) step_one((int)rnd(SERVERS));
    else if (what < 40) dial();
    else if (what < 64) speak(p, 1 + rnd(CHUNK - 1));
    else if (what < 78) (void)(p->patient || listen_to(p, 1 + rnd(CHUNK - 1)));
    else if (what < 81) half_close(p);
    else if (what < 83) leave(p);
    else if (what < 86) push_to_someone();
    else if (what < 87) end(someone());
    else if (what < 90 && debt_count) pay(rnd(DEBTS));
    else if (what < 93) time_passes();
    else if (what < 94) uds_echo_server_wake(servers[rnd(SERVERS)]);
    else if (what < 95) be_client();
    else if (what < 96 && faults.allowed) fake.descriptors_max = rnd(2) ? 1024 : fake_open_descriptors() + (int)rnd(4);
    else if (what < 97 && faults.allowed && rnd(8) == 0) {
        fake.descriptors_max = fake_open_descriptors(); /* and so it stays until one is closed */
    } else if (what < 98) start_twice();
    else any_fault();
    lawful();
}

/* No more faults and no more malice: what is owed arrives in a bounded number of steps. */
static void settle(void)
{
    unsigned long unknown = 0;
    int i, s, round, quiet = 0;
    no_faults();
    settling = 1;
    for (i = 0; i < PEERS; i++) half_close(&peers[i]);
    for (round = 0; round < 20000 && quiet < 30; round++) {
        int moved = 0;
        while (debt_count) pay(0);
        for (s = 0; s < SERVERS; s++) {
            uds_echo_stats then = stats_of(servers[s]), now;
            step_one(s);
            now = stats_of(servers[s]);
            then.waits = now.waits;
            moved |= memcmp(&then, &now, sizeof now) != 0;
        }
        for (i = 0; i < PEERS; i++) moved |= listen_to(&peers[i], CHUNK);
        quiet = moved ? 0 : quiet + 1;
        fake_sleep(quiet ? 100 : 1);
        lawful();
    }
    check(quiet == 30, "it never comes to rest");
    for (i = 0; i < PEERS; i++) {
        const peer *p = &peers[i];
        if (!p->used || !servers[p->at] || stopped_at[p->at] >= 0) continue;
        unknown += p->id >= 0 && !p->known;
        check(!p->welcome || p->closed, "it half-closed and read all, and its connection does not end");
        if (p->id >= 0 && p->closed && !p->why) check(p->got == p->answered, "an orderly end, and bytes are missing");
    }
    for (i = 0; i < PEERS && tracing; i++)
        if (peers[i].used && peers[i].id >= 0 && !peers[i].known) tell("still queued", peers[i].serial, peers[i].at);
    check(unknown <= faults.lost, "queued for ever"); /* a fault may cost one before on_open */
    settling = 0;
}

static void drain_all(void)
{
    int s, round;
    no_faults();
    for (s = 0; s < SERVERS; s++) {
        if (!servers[s]) continue;
        asked[s] = rnd(4) ? UDS_ECHO_STOP_DRAIN : UDS_ECHO_STOP_NOW;
        uds_echo_server_stop(servers[s], (uds_echo_stop_mode)asked[s]);
        stopped_at[s] = fake_now_ms();
    }
    for (round = 0; round < 600; round++) {
        int i;
        for (s = 0; s < SERVERS; s++) step_one(s);
        for (i = 0; i < PEERS; i++)
            if (!peers[i].patient) (void)listen_to(&peers[i], CHUNK);
        if (debt_count && rnd(2)) pay(rnd(DEBTS));
        if (rnd(4) == 0) {
            peer *p = &peers[rnd(PEERS)];
            speak(p, 1 + rnd(CHUNK - 1));
        }
        fake_sleep(10);
        lawful();
    }
    for (s = 0; s < SERVERS; s++) check(!servers[s] || step(s) == UDS_ECHO_ERR_STOPPED, "a drain that does not end");
}

/* A start that a fault made fail is tried again without. */
static void start_all(int may_fail)
{
    int s;
    for (s = 0; s < SERVERS; s++) {
        faults.allowed = may_fail;
        if (!rnd(6)) any_fault();
        start(s);
        no_faults();
        if (!servers[s] && s != SHARING) start(s);
        lawful();
    }
    faults.allowed = may_fail;
}

/* One goes and comes back while the others serve. */
static void restart_one(int s)
{
    int i;
    no_faults();
    close_one(s);
    check(!fake_exists(paths[s]) || faults.excused, "the path is left behind");
    for (i = 0; i < PEERS; i++) { /* whom it did not accept, nobody will */
        if (!peers[i].used || peers[i].at != s || peers[i].known) continue;
        leave(&peers[i]);
        peers[i].used = 0;
    }
    start(s);
}

static void nothing_is_left(int s_that_shares_last)
{
    int i, s;
    for (i = 0; i < SERVERS; i++) {
        close_one(i ^ s_that_shares_last);
        if (!crashing) lawful();
    }
    check(!fake_violations(), fake_violation(0));
    for (s = 0; s < ADOPTED; s++)
        check(crashing || faults.excused || !fake_exists(paths[s]), "the path is left behind");
    check(!fake_open_descriptors(), "descriptors are left");
    check(!fake_live_blocks(), "memory is left");
}

static void epoch(void)
{
    const int count = 100 + (int)rnd(900), may_fail = rnd(3) != 0;
    const unsigned how = rnd(5);
    int i;
    epochs++;
    forgive();
    base_bytes = fake_live_bytes();
    fake.queue_bytes = 1 + rnd(rnd(2) ? 16 : 700);
    fake.no_renameat2 = (int)rnd(3);
    start_all(may_fail);
    for (i = 0; i < count; i++) {
        act();
        if (i % 200 == 199 && !rnd(3)) settle();
        if (i % 300 == 299 && !rnd(4)) restart_one(ON_OTHER);
        faults.allowed = may_fail;
    }
    tell("epoch ends", (long)how, 0);
    no_faults();
    if (how < 2) settle();
    if (how < 3) drain_all();
    crashing = how == 4;
    if (crashing) fake.pid++;  /* what a process leaves that is killed: its descriptors close, its file stays */
    nothing_is_left(how == 3); /* the one that shares may outlive the one that opened */
    crashing = debt_count = 0;
    for (i = 0; i <= PEERS; i++) {
        leave(&peers[i]);
        peers[i].used = 0;
    }
}

/* Nothing of a life before: a seed alone decides. */
static void be_born(unsigned long long seed)
{
    static const long long births[] = {1000, 1ll << 31, 1ll << 32, 1000ll << 31};
    long long ms;
    fake_reset();
    state = seed * 0x2545f4914f6cdd1du + 1;
    fake.calls_max = 1000000000;
    fake.before = before;
    fake.uid = 1000;
    forgive();
    memset(peers, 0, sizeof peers);
    memset(servers, 0, sizeof servers);
    memset(descs, 0, sizeof descs);
    memset(stopped_at, 0, sizeof stopped_at);
    memset(asked, 0, sizeof asked);
    memset(in_vain, 0, sizeof in_vain);
    memset(inside, 0, sizeof inside);
    memset(rested_at, 0, sizeof rested_at);
    memset(ended_then, 0, sizeof ended_then);
    memset(starts, 0, sizeof starts);
    memset(past, 0, sizeof past);
    memset(past_count, 0, sizeof past_count);
    memset(debts, 0, sizeof debts);
    memset(strays, 0, sizeof strays);
    debt_count = depth = settling = crashing = at_client = turns = 0;
    closing_one = -1;
    serials = 0;
    served = NULL;
    base_bytes = 0;
    ms = births[rnd(4)];
    if (sizeof(time_t) == 4 && ms / 1000 >= 0x7fffffff) ms = 1000; /* no system with such seconds lives so long */
    if (ms > 1000) ms -= rnd(rnd(2) ? 1000 : 30000);
    fake_set_clock(ms * 1000 + rnd(1000));
    life_began = fake_now_ms();
}

static char replay[80]; /* how to live the life that is being lived once more */

/* Also where that life takes the process with it. Only what a signal handler may do. */
static void died(int signal_number)
{
    if (write(STDOUT_FILENO, replay, strlen(replay)) < 0) _exit(1);
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number);
}

/* 1: the laws held. */
static int live(unsigned long long seed, double *hours)
{
    static int held, n, count; /* static: read after longjmp */
    held = 0;
    be_born(seed);
    (void)snprintf(replay, sizeof replay, "    make simulate SEED=%llu VARIANT=%s\n", seed, VARIANT);
    if (!setjmp(fake_escape)) {
        fake_escape_set = 1;
        count = 2 + (int)rnd(3);
        for (n = 0; n < count; n++) epoch();
        fake_finish();
        check(!fake_violations(), fake_violation(0));
        held = 1;
    }
    fake_escape_set = 0;
    if (!held && fake_violations()) (void)printf("fake kernel: %s\n", fake_violation(0));
    *hours += (double)(fake_now_ms() - life_began) / (int)HOUR;
    if (verbose || !held) {
        (void)printf("seed %llu: %s, trace %016llx\n", seed, held ? "the laws hold" : "FAILED, replay with",
                     fake_trace_hash());
        if (!held) (void)fputs(replay, stdout);
    }
    return held;
}

int main(int argc, char **argv)
{
    unsigned long long seed, first = 1, count = 400, passed = 0, failed = 0;
    double hours = 0;
    int option;
    time_t told = time(NULL);
    while ((option = getopt(argc, argv, "vtn:f:s:")) != -1) {
        switch (option) {
        case 'v': verbose = 1; break;
        case 't': tracing = 1; break;
        case 'n': count = strtoull(optarg, NULL, 10); break;
        case 'f': first = strtoull(optarg, NULL, 10); break;
        case 's':
            first = strtoull(optarg, NULL, 10);
            count = 1;
            verbose = 1;
            break;
        default: return 2;
        }
    }
    (void)signal(SIGSEGV, died);
    (void)signal(SIGABRT, died);
    (void)signal(SIGFPE, died);
    (void)printf("# over %s, seeds from %llu on\n", VARIANT, first);
    (void)fflush(stdout);
    for (seed = first; (!count || seed < first + count) && failed < 5; seed++) {
        if (live(seed, &hours)) passed++;
        else failed++;
        if (time(NULL) - told < 10) continue;
        told = time(NULL);
        (void)printf("seed %llu: %llu passed, %llu failed so far, %.0f hours of fake time\n", seed, passed, failed,
                     hours);
        (void)fflush(stdout);
    }
    (void)printf("# %llu seeds, %lu epochs, %lu steps, %lu exchanges, %lu faults, %.0f hours of fake time\n",
                 passed + failed, epochs, steps, exchanges, fault_total, hours);
    /* Lives in which little happens show little: about half of what a life has in the mean. */
    if (passed >= 100 &&
        (exchanges < passed * EXCHANGES || fault_total < passed * FAULTS || hours < (double)(passed * HOURS))) {
        (void)printf("too little happens\n");
        failed++;
    }
    (void)printf("%llu passed, %llu failed, 0 skipped\n", passed, failed);
    return failed != 0;
}
