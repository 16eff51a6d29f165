/* transcript.c FOLDER INPUT ... - a server and its peers, driven by inputs of the fuzzers' corpus, one line an input:
   what each peer's calls returned, what came back, why each connection ended, and the counters. Built once over the
   fake kernel and, with REAL, once over real sockets in FOLDER: both must print the same, or the fake is wrong.

   No faults, no times, and less unread than any socket holds: how much that is differs between kernels. Of an input the
   first four bytes are sizes and kinds, then two bytes are an action. An odd first byte: the peers are clients of
   uds_echo.h, which wait for nothing; else they call the kernel. */
#ifndef REAL
#include "fake_kernel.h"
#define UDS_ECHO_SYS(fn) fake_##fn
#endif
#define UDS_ECHO_IMPLEMENTATION
#include "uds_echo.h"

#include <stdio.h>

enum { CONFIG = 4, PEERS = 3, ACTIONS = 100, ROUNDS = 400, KEPT = 16384 };

/* data[1] of an input: what the server is made of. TERSE: no answer, one that comes later, a push before the answer. */
enum { FRAMED = 1, TERSE = 2, CLOSING = 4, CHOOSY = 8 };

typedef struct peer {
    uds_echo_client client; /* where it is one of ours */
    int id, half_closed, open, opened, refused, closed, ended, owed;
    size_t sent, answered, got;
    unsigned long hash;      /* of what came back */
    unsigned char due[KEPT]; /* what was answered */
    uds_echo_id conn;
    uds_echo_error why;
} peer;

static peer peers[PEERS];
static int connected, accepted, broken, kind, ours;
static uds_echo_server *server;
static char path[200];
static const char *input;

static void complain(const char *what)
{
    (void)fprintf(stderr, "%s: %s\n", input, what);
    broken = 1;
}

/* ---- the peers' kernel ------------------------------------------------------------------------------------------- */
#ifdef REAL
static int peer_connect(void)
{
    struct sockaddr_un un;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    memset(&un, 0, sizeof un);
    un.sun_family = AF_UNIX;
    memcpy(un.sun_path, path, strlen(path));
    return fd < 0 || connect(fd, (struct sockaddr *)&un, sizeof un) ? -1 : fd;
}
#define peer_send(fd, bytes, size) send(fd, bytes, size, MSG_NOSIGNAL)
#define peer_recv(fd, bytes, size) recv(fd, bytes, size, 0)
#define peer_shutdown(fd, how) shutdown(fd, how)
#define peer_close(fd) close(fd)
#define kernel_begin() (void)0
#define kernel_end() (void)0
#else
#define peer_connect() fake_peer_connect(path)
#define peer_send(id, bytes, size) fake_peer_send(id, bytes, size)
#define peer_recv(id, bytes, size) fake_peer_recv(id, bytes, size)
#define peer_shutdown(id, how) fake_peer_shutdown(id, how)
#define peer_close(id) fake_peer_close(id)
static void kernel_begin(void)
{
    fake_reset();
    fake.queue_bytes = 100000;
}
static void kernel_end(void)
{
    fake_finish();
    if (fake_violations()) complain(fake_violation(0));
}
#endif

/* ---- the server's handlers --------------------------------------------------------------------------------------- */
static void answer(peer *p, const unsigned char *bytes, size_t size)
{
    memcpy(p->due + p->answered, bytes, size);
    p->answered += size;
}

static void push(peer *p, const char *bytes, size_t size)
{
    uds_echo_conn *conn = uds_echo_server_find(server, p->conn);
    const uds_echo_error error = conn ? uds_echo_conn_send(conn, bytes, size) : UDS_ECHO_ERR_CLOSING;
    printf(" %d!%d", (int)(p - peers), (int)error);
    if (!error) answer(p, (const unsigned char *)bytes, size);
    if (p->owed && p->open && error == UDS_ECHO_ERR_CLOSING) complain("an answer that is owed is not waited for");
    if (!error || error == UDS_ECHO_ERR_CLOSING) p->owed = 0;
}

static int on_open(uds_echo_conn *conn, void *user)
{
    peer *p = &peers[accepted++];
    (void)user;
    uds_echo_conn_set_user(conn, p);
    p->conn = uds_echo_conn_id(conn);
    p->opened++;
    if (!(kind & CHOOSY) || accepted % 3 != 2) return 0;
    push(p, "no", 2);
    return p->refused = 1;
}

static void on_close(uds_echo_conn *conn, uds_echo_error why, void *user)
{
    peer *p = (peer *)uds_echo_conn_user(conn);
    (void)user;
    p->closed++;
    p->why = why;
}

static size_t frame(const unsigned char *bytes, size_t size, void *user)
{
    (void)user;
    return size ? (bytes[0] & 31u) + 1 : 0;
}

static uds_echo_verdict on_message(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    peer *p = (peer *)uds_echo_conn_user(conn);
    const unsigned what = m->size ? m->data[0] % 16 : 0;
    (void)user;
    if (kind & TERSE && what == 3) return UDS_ECHO_NO_REPLY;
    if (kind & TERSE && what == 5) {
        p->owed = 1;
        return UDS_ECHO_DEFER;
    }
    if (kind & TERSE && what == 9) push(p, "!", 1);
    if (kind & CLOSING && what == 11) m->size = 0;
    answer(p, m->data, m->size);
    return kind & CLOSING && (what == 7 || what == 11) ? UDS_ECHO_REPLY_AND_CLOSE : UDS_ECHO_REPLY;
}

/* ---- the peers' calls: the kernel's, or those of uds_echo.h ------------------------------------------------------ */
static int arrive(peer *p)
{
    uds_echo_client_desc desc;
    if (!ours) return (p->id = peer_connect()) >= 0;
    memset(&desc, 0, sizeof desc);
    desc.path = path;
    return !uds_echo_client_open(&p->client, &desc, NULL);
}

/* Bytes that went, or -errno as the kernel would say it. BUFFER_FULL: nothing can be sent any more, and there is more
   to read. */
static long swap(peer *p, const void *out, size_t out_size, void *in, size_t in_size)
{
    uds_echo_io io;
    uds_echo_error error;
    memset(&io, 0, sizeof io);
    io.out = out;
    io.out_size = out_size;
    io.in = in;
    io.in_size = in_size;
    error = uds_echo_client_exchange(&p->client, &io, 0);
    if (io.sent + io.got || error == UDS_ECHO_ERR_UNEXPECTED_EOF) return (long)(io.sent + io.got);
    if (error == UDS_ECHO_ERR_TIMEOUT) return -EAGAIN;
    if (out_size && (error == UDS_ECHO_ERR_RESET || error == UDS_ECHO_ERR_BUFFER_FULL || p->half_closed)) return -EPIPE;
    if (error != UDS_ECHO_ERR_RESET) complain(uds_echo_strerror(error));
    return -ECONNRESET;
}

static long give(peer *p, const unsigned char *bytes, size_t size)
{
    const long n = ours ? swap(p, bytes, size, NULL, 0) : (long)peer_send(p->id, bytes, size);
    return n < 0 && !ours ? -(long)errno : n;
}

static long take(peer *p, unsigned char *bytes, size_t size)
{
    const long n = ours ? swap(p, NULL, 0, bytes, size) : (long)peer_recv(p->id, bytes, size);
    return n < 0 && !ours ? -(long)errno : n;
}

static int half_close(peer *p)
{
    return ours ? (int)uds_echo_client_shutdown(&p->client) : peer_shutdown(p->id, SHUT_WR);
}

static void leave(peer *p)
{
    if (ours) uds_echo_client_close(&p->client);
    else (void)peer_close(p->id);
    p->open = 0;
}

/* ---- the script -------------------------------------------------------------------------------------------------- */
static void say(peer *p, size_t size, unsigned with)
{
    unsigned char bytes[64];
    size_t i;
    long n;
    for (i = 0; i < size; i++) bytes[i] = (unsigned char)((p->sent + i) * 37 + with);
    n = give(p, bytes, size);
    printf(" %d>%ld", (int)(p - peers), n);
    if (n <= 0) return;
    p->sent += (size_t)n;
}

/* 1: bytes came. The oracle is the first law: at every moment a prefix of what was answered. */
static int hear(peer *p, size_t size, int quiet)
{
    unsigned char bytes[64];
    long i, n = take(p, bytes, size);
    if (!quiet) printf(" %d<%ld", (int)(p - peers), n);
    if (!p->ended && n < 0 && n != -EAGAIN) p->ended = (int)-n; /* a reset is told once */
    if (!p->ended && n == 0) p->ended = 1;
    if (n <= 0) return 0;
    for (i = 0; i < n; i++) p->hash = (p->hash * 33 + bytes[i]) & 0xffffffu;
    if (p->got + (size_t)n > p->answered || memcmp(p->due + p->got, bytes, (size_t)n))
        complain("not what was answered");
    p->got += (size_t)n;
    return 1;
}

static void act(unsigned what, unsigned with)
{
    peer *p = &peers[what / 16 % PEERS];
    if (what % 8 > 1 && !p->open) return;
    switch (what % 8) {
    case 0: (void)uds_echo_server_step(server, 0); break;
    case 1:
        if (connected == PEERS) break;
        p = &peers[connected++];
        p->open = arrive(p);
        printf(" +%d", p->open);
        break;
    case 2:
    case 3: say(p, with % 64 + 1, with); break;
    case 4:
    case 5: (void)hear(p, with % 64 + 1, 0); break;
    case 6:
        if (with % 4 == 0 && !p->half_closed++) printf(" %d|%d", (int)(p - peers), half_close(p));
        break;
    default:
        if (with % 8) {
            if (p->owed) push(p, "at last", with % 8);
            break;
        }
        leave(p);
    }
}

/* No fault, no deadline, and everybody reads: whoever stayed must be able to read all that it was answered, and then an
   end that is no reset, whatever it had left unread by the server. */
static void finish(void)
{
    uds_echo_stats stats;
    int i, round;
    for (i = 0; i < PEERS; i++)
        if (peers[i].open && !peers[i].half_closed) {
            say(&peers[i], 40, 3); /* so that no input is without any bytes */
            (void)half_close(&peers[i]);
        }
    for (round = 0; round < ROUNDS; round++) {
        (void)uds_echo_server_step(server, 0);
        for (i = 0; i < PEERS; i++) {
            if (peers[i].owed) push(&peers[i], ".", 1);
            while (peers[i].open && hear(&peers[i], 64, 1)) continue;
        }
    }
    uds_echo_server_stats(server, &stats);
    if (stats.connections) complain("a connection never ends");
    printf(" = %llu %llu %llu %llu", stats.accepted, stats.messages, stats.bytes_in, stats.bytes_out);
    for (i = 0; i < connected; i++) {
        peer *p = &peers[i];
        printf(" [%d%d %d %d %lu %06lx]", p->opened, p->closed, (int)p->why, p->ended, (unsigned long)p->got, p->hash);
        if (p->opened != 1 || p->closed != !p->refused) complain("on_open and on_close once each");
        if (p->open && p->ended != 1) complain("the peer sees no end, or a reset");
        if (p->open && p->why &&
            !(kind & FRAMED && (p->why == UDS_ECHO_ERR_UNEXPECTED_EOF || p->why == UDS_ECHO_ERR_TOO_LONG)))
            complain("an end that nothing explains");
        if (p->open && p->got != p->answered) complain("bytes are missing");
        if (p->open && !(kind & ~FRAMED) && !p->why && p->got != p->sent) complain("not all was echoed");
    }
}

static void run(const unsigned char *data, size_t size)
{
    uds_echo_server_desc desc;
    size_t i;
    kernel_begin();
    memset(peers, 0, sizeof peers);
    memset(&desc, 0, sizeof desc);
    connected = accepted = 0;
    ours = data[0] % 2;
    kind = data[1] % 16;
    desc.path = path;
    desc.message_max = data[2] % 64 + 1;
    desc.connections_max = data[3] % PEERS + 1;
    desc.frame = kind & FRAMED ? frame : NULL;
    desc.on_message = on_message;
    desc.on_open = on_open;
    desc.on_close = on_close;
    if (uds_echo_server_open(&server, &desc, NULL)) {
        complain("open");
        return;
    }
    act(1, 0);
    for (i = CONFIG; i + 1 < size && i < CONFIG + 2 * ACTIONS; i += 2) act(data[i], data[i + 1]);
    finish();
    for (i = 0; i < PEERS; i++)
        if (peers[i].open) leave(&peers[i]);
    if (uds_echo_server_close(server)) complain("close");
    kernel_end();
}

int main(int argc, char **argv)
{
    unsigned char data[1024];
    int i;
    if (argc < 3) return 2;
    (void)snprintf(path, sizeof path, "%s/s", argv[1]);
    for (i = 2; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        size_t size = file ? fread(data, 1, sizeof data, file) : 0;
        if (file) (void)fclose(file);
        if (size < CONFIG) continue;
        input = argv[i];
        printf("%s%s", input, data[0] % 2 ? " ours" : "");
        run(data, size);
        printf("\n");
    }
    return broken;
}
