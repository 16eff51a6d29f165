/* simulate.c - whole lives of servers over the fake kernel, each decided by one number, its seed.

   A life is a few epochs. In each, up to four servers live in one process: one on a path, one that shares its listener,
   one on a path of its own, one over a listener that somebody else made. Dozens of peers and a client of ours talk to
   them; handlers answer at once, later, not at all, close, push to connections of any server, and step other servers.
   Calls fail, descriptors run out, hours pass. An epoch ends in a drain, a stop, a close or a crash; the next one starts
   on the same paths. The laws are checked after every action, and before a drain all that is owed must arrive.

   simulate [-v] [-t] [-n SEEDS] [-f FIRST] [-s SEED]: -n 0 never ends, -v tells of every seed, -t of every action. */
#include "fake_kernel.h"

#define UDS_ECHO_SYS(fn) fake_##fn
#define UDS_ECHO_IMPLEMENTATION
#include "uds_echo.h"

#define PATH "/w/sock"
enum { SERVERS = 4, PEERS = 120, RING = 4096, DEBTS = 64, CHUNK = 128, HOUR = 3600 * 1000 };
enum { ON_PATH, SHARING, ON_OTHER, ADOPTED };

static const char *const paths[SERVERS] = {PATH, PATH, "/w/other", "/w/given"};

/* The other end of a connection, and what the oracle knows of it. What a peer sends is told by its number alone. */
typedef struct peer {
    int used, id; /* id -1: it left, or is the client of ours */
    int at;       /* which path it connected to */
    int half_closed, patient, broken, known, refused, welcome, closed, ending, owed;
    long serial; /* and the pid it says it has */
    uds_echo_id conn;
    int server;
    unsigned start; /* of that server: another start gives the same ids to others */
    uds_echo_error why;
    long long last_in;      /* a byte came then, or later */
    unsigned long spoke_at; /* how much it had sent before it spoke last, */
    long long spoke;        /* and when that was */
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
static long long stopped_at[SERVERS];
static unsigned starts[SERVERS];
static debt debts[DEBTS];
static int debt_count, clock_failed, depth, faults_allowed, excused, unprobed, settling, crashing, tracing, verbose;
static size_t base_bytes;
enum { STRAYS = 64 };
static long serials, strays[STRAYS];
static unsigned long fault_number, steps, epochs, fault_total, faults_before, exchanges;
static long long life_began;
static uint64_t state;

/* ---- chance and laws -------------------------------------------------------------------------------------------------- */

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

/* A fault excuses a path that is left behind only where it met what retiring needs, and what a crash left under a temporary
   name only where it also met the probe that tells whether somebody is bound to that. */
static void before(fake_call what)
{
    if (fake_calls() != fault_number || !fake_errors_of(what)[0]) return;
    fault_total++;
    tell(fake_name_of(what), -1, 0);
    if (what == FAKE_clock_gettime) clock_failed = 1;
    if (what == FAKE_socket || what == FAKE_connect) unprobed = 1;
    if (what == FAKE_flock || what == FAKE_fstatat || what == FAKE_unlinkat || what == FAKE_open) excused = 1;
}

static void any_fault(void)
{
    if (!faults_allowed) return;
    fault_number = fake_calls() + 1 + rnd(40);
    fake_fault_any(fault_number, (int)rnd(16), 0);
}

static void no_faults(void)
{
    fake_fault(0, 0, 0);
    fault_number = 0;
    faults_allowed = 0;
    fake.descriptors_max = 1024;
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
    size_t pool = descs[s].pending_max > 0 ? (size_t)descs[s].pending_max : (2 * places + 1) * whole;
    return pool + places * (whole + 128);
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

static void lawful(void)
{
    size_t room = base_bytes;
    int s;
    check(!fake_violations(), fake_violation(0));
    for (s = 0; s < SERVERS; s++) {
        uds_echo_stats stats = stats_of(servers[s]);
        if (!servers[s]) continue;
        room += room_of(s);
        check(stats.pending <= (unsigned long long)servers[s]->pending_max, "more is held than pending_max");
        check(stats.pending_peak <= (unsigned long long)servers[s]->pending_max, "more was held than pending_max");
        check(stats.connections <= (unsigned)descs[s].connections_max, "more connections than connections_max");
    }
    check(fake_live_bytes() <= room, "memory grows");
    ids_are_for_ever();
}

/* ---- handlers ----------------------------------------------------------------------------------------------------------- */

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
    uds_echo_error error;
    if (!p) return;
    memset(bytes, (int)rnd(256), sizeof bytes);
    error = uds_echo_conn_send(conn, bytes, size);
    switch (error) {
    case UDS_ECHO_WOULD_BLOCK: check(!p->owed, "no room for an answer that is owed"); break;
    case UDS_ECHO_TOO_LONG: check(size > (size_t)descs[p->server].message_max, "too long, and it is not"); break;
    case UDS_ECHO_GONE: check(0, "a connection that is at hand takes nothing"); break;
    case UDS_ECHO_OK:
        answered(p, bytes, size);
        p->owed = 0;
        break;
    default: /* a part of it may arrive */ p->broken = 1; answered(p, bytes, size);
    }
}

/* What was asked to end takes nothing more, though it may live for long. */
static void end(uds_echo_conn *conn)
{
    peer *p = conn ? peer_of(conn) : NULL;
    if (!p) return;
    uds_echo_conn_close(conn);
    p->ending = 1;
    check(uds_echo_conn_send(conn, "x", 1) == UDS_ECHO_GONE, "a send on a connection that is to end");
}

/* A connection of any server, or none. */
static uds_echo_conn *someone(void)
{
    const peer *p = &peers[rnd(PEERS)];
    return p->used && p->welcome && !p->closed && servers[p->server] ? uds_echo_server_find(servers[p->server], p->conn)
                                                                     : NULL;
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

/* What callbacks do to others: the interactions that are easy to get wrong. */
static void meddle(int s)
{
    int other = (int)rnd(SERVERS);
    ids_are_for_ever();
    switch (rnd(40)) {
    case 0:
    case 1:
    case 2: push(someone(), rnd(CHUNK)); break;
    case 3: end(someone()); break;
    case 4: uds_echo_server_wake(servers[other]); break;
    case 5:
        if (debt_count) pay(rnd(DEBTS));
        break;
    case 6: check(uds_echo_server_step(servers[s], 0) == UDS_ECHO_REENTRANT, "a step inside a callback"); break;
    case 7: check(uds_echo_server_close(servers[s]) == UDS_ECHO_REENTRANT, "a close inside a callback"); break;
    case 8: /* another server is not within a callback */
        if (depth > 1 || other == s || !servers[other]) break;
        depth++;
        (void)uds_echo_server_step(servers[other], 0);
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
    check(peers[i].at == s || (s == SHARING && peers[i].at == ON_PATH), "accepted from another's listener");
    peers[i].known = 1;
    peers[i].server = s;
    peers[i].start = starts[s];
    peers[i].conn = uds_echo_conn_id(conn);
    peers[i].last_in = fake_now_ms();
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
    check(p && p->welcome && !p->closed, "on_close not once for each that is welcome");
    check(p->server == s && p->conn == uds_echo_conn_id(conn), "on_close of another connection");
    p->closed = 1;
    p->why = why;
    tell("on_close", p->serial, (long)why);
    if (why == UDS_ECHO_IDLE) {
        check(descs[s].idle_ms > 0 && (clock_failed || fake_now_ms() - p->last_in >= descs[s].idle_ms),
              "cut as idle too soon"); /* by a clock that failed, what moved last may have moved earlier */
        check(!p->owed, "cut as idle, and an answer is owed");
    }
    if (why == UDS_ECHO_EVICTED) check(descs[s].when_full == UDS_ECHO_EVICT, "evicted, and it was to rest");
    check(uds_echo_conn_send(conn, "x", 1) == UDS_ECHO_GONE, "a send on a connection that is closed");
    meddle(s);
}

static uds_echo_verdict on_message(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    peer *p = peer_of(conn);
    int s = (int)(intptr_t)user;
    uds_echo_verdict verdict = UDS_ECHO_REPLY;
    size_t i, got = m->size;
    check(p && p->server == s && p->conn == uds_echo_conn_id(conn), "a message of another connection");
    check(p->welcome && !p->closed && !p->owed, "a message that was not to be handled now");
    check(m->capacity == (size_t)descs[s].message_max && got > 0 && got <= m->capacity, "a message of a wrong size");
    check(p->handed + got <= p->sent, "the handler got more than was sent");
    for (i = 0; i < got; i++) check(m->data[i] == byte_of(p, p->handed + i), "the handler got what was not sent");
    if (descs[s].frame) check(got == (m->data[0] & 31u) + 1, "not one message");
    p->handed += got;
    /* what it said last came no earlier; it may have come long ago, and waited for an answer before it to be paid */
    if (p->handed > p->spoke_at && p->spoke > p->last_in) p->last_in = p->spoke;
    meddle(s);
    if (!rnd(5)) {
        m->size = rnd((unsigned)m->capacity + 1);
        for (i = got; i < m->size; i++) m->data[i] = (unsigned char)i;
    }
    switch (rnd(24)) {
    case 0:
    case 1: verdict = UDS_ECHO_SILENT; break;
    case 2:
    case 3:
        if (debt_count == DEBTS || settling) break;
        verdict = UDS_ECHO_LATER;
        p->owed = 1;
        debts[debt_count].server = s;
        debts[debt_count++].conn = p->conn;
        return verdict;
    case 4:
        if (!rnd(4)) verdict = UDS_ECHO_CLOSE;
        p->ending |= verdict == UDS_ECHO_CLOSE;
        break;
    default: break;
    }
    if (verdict != UDS_ECHO_SILENT) answered(p, m->data, m->size);
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

/* ---- peers -------------------------------------------------------------------------------------------------------------- */

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
    if (n <= 0) return;
    p->spoke = fake_now_ms();
    p->spoke_at = p->sent;
    p->sent += (unsigned long)n;
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
    if (p->used && p->id >= 0) fake_peer_close(p->id);
    p->id = -1;
}

/* ---- a client of ours ------------------------------------------------------------------------------------------------ */

static int turns;

/* Asked while the client waits: everyone else goes on. */
static int others(void *user)
{
    int s, moved = 0;
    (void)user;
    if (++turns % 8 == 0) return 0; /* now and then time passes for the client, too */
    for (s = 0; s < SERVERS; s++) {
        uds_echo_stats then = stats_of(servers[s]), now;
        if (!servers[s]) continue;
        (void)uds_echo_server_step(servers[s], 0);
        now = stats_of(servers[s]);
        then.waits = now.waits;
        moved |= memcmp(&then, &now, sizeof now) != 0;
    }
    if (debt_count) pay(rnd(DEBTS)), moved = 1;
    moved |= listen_to(&peers[rnd(PEERS)], CHUNK);
    return moved;
}

static void be_client(void)
{
    static unsigned char out[2000], in[RING];
    peer *p = &peers[PEERS];
    uds_echo_client_desc desc;
    uds_echo_client client;
    uds_echo_failure why;
    uds_echo_error error;
    uds_echo_io io = {out, 0, 0, in, sizeof in, 0};
    int i, at = rnd(2) ? ON_PATH : ON_OTHER;
    if (!servers[at] || (p->used && !p->closed && !p->refused)) return;
    birth(p, at);
    memset(&desc, 0, sizeof desc);
    desc.path = paths[at];
    desc.timeout_ms = 200;
    desc.trust = rnd(2) ? UDS_ECHO_TRUST_ANY : UDS_ECHO_TRUST_UID_OR_ROOT;
    desc.uid = fake.uid;
    i = (int)fake.pid;
    fake.pid = p->serial; /* it is known by its pid, as the others are */
    error = uds_echo_client_open(&client, &desc, &why);
    fake.pid = i;
    check(error == why.error, "a failure that says something else");
    if (error) {
        check(faults_allowed, "a client cannot connect though nothing fails");
        p->refused = 1;
        strays[p->serial % STRAYS] = p->serial;
        return;
    }
    exchanges++;
    io.out_size = 1 + rnd(sizeof out - 1);
    p->sent = io.out_size; /* at most */
    for (i = 0; i < (int)io.out_size; i++) out[i] = byte_of(p, (unsigned long)i);
    fake.world = others;
    for (i = 0, turns = 0; i < 3; i++) {
        size_t had = io.got;
        error = uds_echo_client_exchange(&client, &io, (int)rnd(50));
        check(io.got >= had && io.got <= io.in_size && io.sent <= io.out_size, "an exchange that goes astray");
        check(p->handed <= io.sent, "handled more than was sent");
        received(p, in + had, io.got - had);
        if (error != UDS_ECHO_TIMEOUT) break;
    }
    if (rnd(2)) (void)uds_echo_client_finish(&client);
    fake.world = NULL;
    uds_echo_client_close(&client);
    check(client.fd == -1, "a client that is closed, and is not");
}

/* ---- servers --------------------------------------------------------------------------------------------------------- */

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
    desc.when_full = rnd(2) ? UDS_ECHO_REST : UDS_ECHO_EVICT;
    desc.publish = rnd(4) ? UDS_ECHO_ATOMIC : UDS_ECHO_DIRECT;
    desc.idle_ms = rnd(2) ? 1 + (int)rnd(rnd(2) ? 200 : 60000) : 0;
    desc.pending_max = desc.idle_ms && rnd(2) ? desc.message_max * (3 + (long)rnd(3)) : 0;
    desc.send_buffer = rnd(3) ? 0 : 4096;
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

/* Under faults a start may fail, and then nothing is left of it; with none it must not. */
static void start(int s)
{
    int fd = -1, n, had = fake_open_descriptors();
    uds_echo_failure why;
    uds_echo_error error;
    if (s == SHARING && !servers[ON_PATH]) return;
    descs[s] = describe(s);
    stopped_at[s] = -1;
    starts[s]++;
    if (s == ADOPTED) {
        unsigned long scheduled = fault_number;
        no_faults();
        faults_allowed = scheduled != 0;
        fd = given_listener();
        check(fd >= 0, "no listener to give");
        if (scheduled) any_fault();
        error = uds_echo_server_adopt(&servers[s], fd, &descs[s], &why);
        if (error) (void)fake_close(fd);
    } else {
        error = uds_echo_server_open(&servers[s], &descs[s], &why);
    }
    tell("start", s, (long)error);
    tell("which says", (long)why.error, why.os_error);
    check(error == why.error && (error != UDS_ECHO_OK) == !servers[s], "a start whose failure does not say so");
    if (error) {
        check(fault_number != 0, "cannot start though nothing fails");
        check(fake_open_descriptors() == had, "a start that failed left descriptors");
        return;
    }
    base_bytes = fake_live_bytes();
    check(fake_exists(paths[s]), "it started, and there is no path");
    for (n = 0; n < 10 && !fault_number && s != ADOPTED && !excused && !unprobed; n++) {
        char name[32];
        (void)snprintf(name, sizeof name, "%s~%d", paths[s], n);
        check(!fake_exists(name), "a temporary name is left");
    }
}

/* A life is not lost where another is: the second start says so, and harms nothing. */
static void start_twice(void)
{
    uds_echo_server_desc desc = describe(ON_PATH);
    uds_echo_server *second;
    unsigned long inode = fake_inode(PATH);
    if (!running(ON_PATH) || fault_number || stopped_at[ON_PATH] >= 0 || !inode || excused ||
        fake.descriptors_max < 1024)
        return;
    check(uds_echo_server_open(&second, &desc, NULL) == UDS_ECHO_IN_USE && !second, "two servers on one path");
    check(fake_inode(PATH) == inode, "a start that was refused replaced the path");
}

static void close_one(int s)
{
    uds_echo_server *server = servers[s];
    int i;
    if (!server) return;
    tell("close", s, crashing);
    check(uds_echo_server_close(server) == UDS_ECHO_OK, "close");
    servers[s] = NULL;
    for (i = 0; i <= PEERS; i++)
        if (peers[i].used && peers[i].server == s && peers[i].welcome && !crashing)
            check(peers[i].closed, "a connection without its on_close");
}

static void step_one(int s)
{
    uds_echo_error error;
    if (!servers[s]) return;
    steps++;
    error = uds_echo_server_step(servers[s], 0);
    check(error == UDS_ECHO_OK || error == UDS_ECHO_STOPPED || (error == UDS_ECHO_SYSTEM && fault_total),
          "a step fails");
    if (error == UDS_ECHO_STOPPED) check(stopped_at[s] >= 0, "it stopped, and nobody asked");
    if (stopped_at[s] >= 0 && !fault_number && fake_now_ms() - stopped_at[s] > descs[s].drain_ms + 400)
        check(uds_echo_server_step(servers[s], 0) == UDS_ECHO_STOPPED, "a drain that outlives its deadline");
}

/* ---- a life ------------------------------------------------------------------------------------------------------------ */

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
    else if (what < 86) push(someone(), rnd(CHUNK));
    else if (what < 87) end(someone());
    else if (what < 90 && debt_count) pay(rnd(DEBTS));
    else if (what < 93) fake_sleep((int)rnd(rnd(20) ? 30 : rnd(40) ? 5000 : 6 * HOUR));
    else if (what < 94) uds_echo_server_wake(servers[rnd(SERVERS)]);
    else if (what < 95) be_client();
    else if (what < 96 && faults_allowed) fake.descriptors_max = rnd(2) ? 1024 : fake_open_descriptors() + (int)rnd(4);
    else if (what < 97 && faults_allowed && rnd(8) == 0) {
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
    check(unknown <= fault_total - faults_before, "queued for ever"); /* a fault may cost one before on_open */
    settling = 0;
}

static void drain_all(void)
{
    int s, round;
    no_faults();
    for (s = 0; s < SERVERS; s++) {
        if (!servers[s]) continue;
        uds_echo_server_stop(servers[s], rnd(4) ? UDS_ECHO_DRAIN : UDS_ECHO_NOW);
        stopped_at[s] = fake_now_ms();
    }
    for (round = 0; round < 600; round++) {
        int i;
        for (s = 0; s < SERVERS; s++) step_one(s);
        for (i = 0; i < PEERS; i++)
            if (!peers[i].patient) (void)listen_to(&peers[i], CHUNK);
        if (debt_count && rnd(2)) pay(rnd(DEBTS));
        if (rnd(4) == 0) speak(&peers[rnd(PEERS)], 1 + rnd(CHUNK - 1));
        fake_sleep(10);
        lawful();
    }
    for (s = 0; s < SERVERS; s++)
        check(!servers[s] || uds_echo_server_step(servers[s], 0) == UDS_ECHO_STOPPED, "a drain that does not end");
}

static void epoch(void)
{
    int i, s, count = 100 + (int)rnd(900), left_to_fail = (int)rnd(3), whole;
    unsigned how = rnd(5);
    epochs++;
    faults_before = fault_total;
    excused = unprobed = clock_failed = 0;
    base_bytes = fake_live_bytes();
    fake.queue_bytes = 1 + rnd(rnd(2) ? 16 : 700);
    fake.no_renameat2 = (int)rnd(3);
    for (s = 0; s < SERVERS; s++) {
        faults_allowed = left_to_fail != 0;
        if (!rnd(6) && faults_allowed) any_fault();
        start(s);
        no_faults();
        if (!servers[s] && s != SHARING) start(s);
        lawful();
    }
    faults_allowed = left_to_fail != 0;
    for (i = 0; i < count; i++) {
        act();
        if (i % 200 == 199 && !rnd(3)) {
            whole = faults_allowed;
            settle();
            faults_allowed = whole;
        }
        if (i % 300 == 299 && !rnd(4)) { /* one goes and comes back while the others serve */
            s = ON_OTHER;
            no_faults();
            close_one(s);
            check(!fake_exists(paths[s]) || excused, "the path is left behind");
            for (whole = 0; whole < PEERS; whole++) { /* whom it did not accept, nobody will */
                if (!peers[whole].used || peers[whole].at != s || peers[whole].known) continue;
                leave(&peers[whole]);
                peers[whole].used = 0;
            }
            start(s);
            faults_allowed = left_to_fail != 0;
        }
    }
    tell("epoch ends", (long)how, 0);
    no_faults();
    if (how < 2) settle();
    if (how < 3) drain_all();
    crashing = how == 4;
    if (crashing) fake.pid++; /* what a process leaves that is killed: its descriptors close, its file stays */
    for (i = 0; i < SERVERS; i++) {
        s = i ^ (int)(how == 3); /* the one that shares may outlive the one that opened */
        close_one(s);
        if (!crashing) lawful();
    }
    check(!fake_violations(), fake_violation(0));
    for (s = 0; s < ADOPTED; s++) check(crashing || excused || !fake_exists(paths[s]), "the path is left behind");
    check(!fake_open_descriptors(), "descriptors are left");
    check(!fake_live_blocks(), "memory is left");
    crashing = debt_count = 0;
    for (i = 0; i <= PEERS; i++) {
        leave(&peers[i]);
        peers[i].used = 0;
    }
}

/* 1: the laws held. */
static int live(unsigned long seed, double *hours)
{
    static int held, n, count; /* static: read after longjmp */
    held = 0;
    fake_reset();
    state = seed * 0x2545f4914f6cdd1du + 1;
    fake.calls_max = 1000000000;
    fake.before = before;
    fake.uid = 1000;
    memset(peers, 0, sizeof peers);
    memset(servers, 0, sizeof servers);
    debt_count = depth = settling = crashing = 0;
    serials = 0;
    life_began = fake_now_ms();
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
    *hours += (double)(fake_now_ms() - life_began) / HOUR;
    if (verbose || !held) {
        (void)printf("seed %lu: %s, trace %016llx\n", seed, held ? "the laws hold" : "FAILED, replay with",
                     fake_trace_hash());
        if (!held) (void)printf("    make simulate SEED=%lu\n", seed);
    }
    return held;
}

int main(int argc, char **argv)
{
    unsigned long seed, first = 1, count = 400, passed = 0, failed = 0;
    double hours = 0;
    int option;
    time_t told = time(NULL);
    while ((option = getopt(argc, argv, "vtn:f:s:")) != -1) {
        switch (option) {
        case 'v': verbose = 1; break;
        case 't': tracing = 1; break;
        case 'n': count = strtoul(optarg, NULL, 10); break;
        case 'f': first = strtoul(optarg, NULL, 10); break;
        case 's':
            first = strtoul(optarg, NULL, 10);
            count = 1;
            verbose = 1;
            break;
        default: return 2;
        }
    }
    for (seed = first; (!count || seed < first + count) && failed < 5; seed++) {
        if (live(seed, &hours)) passed++;
        else failed++;
        if (time(NULL) - told < 10) continue;
        told = time(NULL);
        (void)printf("seed %lu: %lu passed, %lu failed so far, %.0f hours of fake time\n", seed, passed, failed, hours);
        (void)fflush(stdout);
    }
    (void)printf("# %lu seeds, %lu epochs, %lu steps, %lu exchanges, %lu faults, %.0f hours of fake time\n",
                 passed + failed, epochs, steps, exchanges, fault_total, hours);
    (void)printf("%lu passed, %lu failed, 0 skipped\n", passed, failed);
    return failed != 0;
}
