/* fuzz_handler.c - your own handler, in the server, over the fake kernel: peers send it whatever the input says, in
   whatever pieces, while their windows are full or they have left. What is looked for is what it does to itself: a read
   or write out of bounds, undefined behaviour, a size over the capacity, an endless loop, memory that it never frees.

   The file that holds the handler is included here; what else it holds does no harm, a main() neither. Say where it is
   and how a server is described with it, in C (`make fuzz FUZZ=handler HANDLER=... DESCRIBE=...` does):

       FUZZ_HANDLER    the file, in quotes
       FUZZ_DESCRIBE   statements that fill in desc, and put back what the handler keeps between runs
       FUZZ_SETTLE     statements to run between steps, with server in reach; nothing by default

   Input: a byte of what sockets hold, in 16 bytes, and one that counts for nothing; then actions. The first byte of one
   is the peer, 0 to 2, and three times what happens: 0 to 3: it says so many bytes (a byte), which follow; 4: it says
   so many times 16 (a byte) of the byte that follows, a long body; 5: it reads; 6: time passes; 7: it leaves. */
#include "fuzz.h"

/* Its time is the fake's, or runs would not repeat. */
#define clock_gettime fake_clock_gettime
#define main handler_main
#ifndef FUZZ_HANDLER
#define FUZZ_HANDLER "../examples/handler.c"
#define FUZZ_DESCRIBE                                                                                                  \
    desc.frame = frame;                                                                                                \
    desc.on_message = on_message;                                                                                      \
    desc.message_max = LINE_MAX_BYTES;                                                                                 \
    memset(debts, 0, sizeof debts);
#define FUZZ_SETTLE (void)pay_debts(server);
int handler_main(int argc, char **argv);
#endif
#ifndef FUZZ_DESCRIBE
#error "DESCRIBE is missing: statements that put your handler into desc, as in DESCRIBE='desc.on_message = yours;'"
#endif
#ifndef FUZZ_SETTLE
#define FUZZ_SETTLE
#endif
#include FUZZ_HANDLER
#undef main
#undef clock_gettime

enum { CONFIG = 2, PEERS = 3 };

static int peers[PEERS];

/* What it answers is its own affair; it is taken, and looked at by nobody. */
static int hear(int n)
{
    unsigned char bytes[256];
    return peers[n] >= 0 && fake_peer_recv(peers[n], bytes, sizeof bytes) > 0;
}

static void step(uds_echo_server *server)
{
    FUZZ_SETTLE(void) uds_echo_server_step(server, 0);
    fuzz_lawful();
}

static void speak(uds_echo_server *server, int n, fuzz_input *in, size_t size)
{
    if (peers[n] < 0) peers[n] = fake_peer_connect(PATH);
    if (size > in->left) size = in->left;
    if (peers[n] >= 0 && size) (void)fake_peer_send(peers[n], in->at, size);
    in->at += size;
    in->left -= size;
    step(server);
}

/* As long as messages may be that an input has no room for. */
static void fill(uds_echo_server *server, int n, size_t size, unsigned char with)
{
    unsigned char bytes[16 * 255];
    if (peers[n] < 0) peers[n] = fake_peer_connect(PATH);
    memset(bytes, with, sizeof bytes);
    if (peers[n] >= 0 && size) (void)fake_peer_send(peers[n], bytes, size);
    step(server);
}

/* The peers half-close and read; the drain's deadline ends what the handler never answers. */
static void finish(uds_echo_server *server)
{
    int i, n, stopped = 0;
    for (n = 0; n < PEERS; n++)
        if (peers[n] >= 0) (void)fake_peer_shutdown(peers[n], SHUT_WR);
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    for (i = 0; i < 200 && !stopped; i++) {
        FUZZ_SETTLE
        stopped = uds_echo_server_step(server, 0) == UDS_ECHO_ERR_STOPPED;
        for (n = 0; n < PEERS; n++)
            while (hear(n)) continue;
        fake_sleep(50);
        fuzz_lawful();
    }
    CHECK(stopped, "a drain that does not end");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uds_echo_server *server;
    uds_echo_server_desc desc;
    uds_echo_stats stats;
    fuzz_input in;
    int n;
    if (size < CONFIG || size > 4096) return 0;
    fuzz_begin();
    memset(&desc, 0, sizeof desc);
    {FUZZ_DESCRIBE} desc.path = NULL;
    desc.connections_max = PEERS;
    fake.queue_bytes = data[0] * 16u + 1;
    if (uds_echo_server_adopt(&server, fuzz_listener(PATH, PEERS), &desc, NULL)) abort();
    for (n = 0; n < PEERS; n++) peers[n] = -1;
    in.at = data + CONFIG;
    in.left = size - CONFIG;
    while (in.left) {
        const unsigned char how = fuzz_byte(&in);
        n = how % PEERS;
        switch (how / PEERS % 8) {
        case 6:
            fake_sleep(how);
            step(server);
            break;
        case 7:
            if (peers[n] >= 0) fake_peer_close(peers[n]);
            peers[n] = -1;
            break;
        case 5: (void)hear(n); break;
        case 4: {
            const size_t much = fuzz_byte(&in) * 16u;
            fill(server, n, much, fuzz_byte(&in));
            break;
        }
        default: speak(server, n, &in, fuzz_byte(&in));
        }
    }
    finish(server);
    uds_echo_server_stats(server, &stats);
    CHECK(!stats.closed[UDS_ECHO_ERR_BAD_HANDLER], "the handler broke its contract: size over capacity, or no verdict");
    CHECK(uds_echo_server_close(server) == UDS_ECHO_OK, "close");
    for (n = 0; n < PEERS; n++)
        if (peers[n] >= 0) fake_peer_close(peers[n]);
    fuzz_finish();
    return 0;
}
