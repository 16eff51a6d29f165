/* fuzz_share.c - servers that accept from one listener, on a path or given by somebody else who holds it, too. They are
   stepped in any order or not at all, fill up, come and go; calls fail. Whoever calls is let in by somebody who has a
   place, the listener goes with the last, and not at all where it is another's.

   Input: CONFIG bytes of sizes, then two bytes an action. In the end one server runs alone. */
#include "fuzz.h"

enum { CONFIG = 2, SERVERS = 3, PEERS = 24, DRAIN_MS = 300, QUEUE = 16 };

static uds_echo_server *servers[SERVERS];
static unsigned long long accepted; /* by those that are closed */
static int asked[SERVERS];          /* it was told to stop */
static int in_vain[SERVERS];
static int peers[PEERS], next_peer, is_given, is_shut;
static int given_fd, others_shut_it; /* somebody else who holds it */
static unsigned char places;         /* two bits of connections_max for each */

static uds_echo_stats stats_of(const uds_echo_server *server)
{
    uds_echo_stats stats;
    uds_echo_server_stats(server, &stats);
    return stats;
}

static int serves(int k)
{
    return servers[k] && servers[k]->phase == UE_SERVING;
}

static int count_serving(void)
{
    int k, count = 0;
    for (k = 0; k < SERVERS; k++) count += serves(k);
    return count;
}

/* Who called and has not been accepted yet, though it may have left. */
static unsigned long long queued(void)
{
    unsigned long long count = (unsigned long long)next_peer - accepted;
    int k;
    for (k = 0; k < SERVERS; k++) count -= stats_of(servers[k]).accepted;
    return count;
}

static int is_full(int k)
{
    return stats_of(servers[k]).connections >= servers[k]->conns_max;
}

/* ---- laws -------------------------------------------------------------------------------------------------------- */

/* What each tells the others adds up. */
static void check_counts(void)
{
    int k, held = 0;
    for (k = 0; k < SERVERS; k++) held += serves(k) ? servers[k]->reported : 0;
    for (k = 0; k < SERVERS; k++)
        CHECK(!serves(k) || servers[k]->listener->shared_total == held, "who left is still counted");
}

static void lawful(void)
{
    fuzz_lawful();
    check_counts();
    CHECK(fake_exists(PATH) || is_given || !count_serving(), "the path is gone, and somebody serves it");
}

/* ---- actions ----------------------------------------------------------------------------------------------------- */

/* An exclusive wake-up wakes one, so who has it takes somebody; and is no longer in line for the next when it
   is full. */
static uds_echo_error step(int k, int timeout_ms)
{
    const int ready = serves(k) && servers[k]->listener_registered && !is_full(k) && queued() && !asked[k];
    const int stood = servers[k] && servers[k]->listener_registered;
    const unsigned long long before = stats_of(servers[k]).accepted;
    uds_echo_error error;
    int faults, took;
    if (!servers[k]) return UDS_ECHO_ERR_STOPPED;
    fuzz_fault_note();
    faults = fuzz_hits;
    error = fuzz_step(servers[k], timeout_ms, &in_vain[k]);
    took = stats_of(servers[k]).accepted > before;
    CHECK(error == UDS_ECHO_OK || fuzz_fatal[FAKE_poll] || asked[k], "it stopped, and nobody asked");
    CHECK(!ready || took || faults != fuzz_hits || fake.descriptors_max < 64, "who is woken takes nobody");
    if ((took || !stood) && serves(k) && is_full(k) && count_serving() > 1)
        CHECK(!servers[k]->listener_registered, "one that is full watches the listener");
    return error;
}

static void start(int k)
{
    uds_echo_server_desc desc;
    uds_echo_error error;
    int with = 0;
    if (servers[k]) return;
    while (with < SERVERS && !servers[with]) with++;
    memset(&desc, 0, sizeof desc);
    desc.message_max = 8;
    desc.connections_max = (places >> 2 * k & 3) * 3 + 1;
    desc.drain_ms = DRAIN_MS;
    asked[k] = in_vain[k] = 0;
    if (with == SERVERS) return; /* only the first has a listener of its own */
    desc.share_with = servers[with];
    error = uds_echo_server_open(&servers[k], &desc, NULL);
    fuzz_fault_note();
    CHECK((error == UDS_ECHO_OK) == (servers[k] != NULL), "success without a server, or a server without success");
    if (!UDS_ECHO_HAVE_ATOMIC && error == UDS_ECHO_ERR_UNSUPPORTED) return;
    CHECK(!error || error == UDS_ECHO_ERR_STOPPED || fuzz_fatal_any || fake.descriptors_max < 64,
          "it cannot share, and nothing failed");
}

static void stop(int k, uds_echo_stop_mode how)
{
    fuzz_fault_settle(); /* the kernel never refuses to ring */
    uds_echo_server_stop(servers[k], how);
    asked[k] = 1;
}

static void close_server(int k)
{
    const unsigned long long had = stats_of(servers[k]).accepted;
    CHECK(uds_echo_server_close(servers[k]) == UDS_ECHO_OK, "close");
    accepted += had;
    servers[k] = NULL;
    if (!count_serving()) is_shut = 1;
}

static void leave(int n)
{
    if (peers[n] >= 0) fake_peer_close(peers[n]);
    peers[n] = -1;
}

/* More than there is room for its answer, which it does not read. */
static void speak(int n)
{
    char bytes[QUEUE];
    memset(bytes, 's', sizeof bytes);
    if (peers[n] >= 0) (void)fake_peer_send(peers[n], bytes, sizeof bytes);
}

/* Readable for ever from then on, with nobody to accept. */
static void be_shut_by_others(void)
{
    fuzz_fault_settle();
    if (!is_given || is_shut || !count_serving()) return;
    CHECK(!fake_shutdown(given_fd, SHUT_RD), "the harness cannot shut the listener");
    is_shut = others_shut_it = 1;
}

static void act(unsigned char what, unsigned char with)
{
    const int k = with % SERVERS;
    switch (what % 8) {
    case 0:
    case 1:
    case 2: (void)step(k, with >> 7); break;
    case 3:
        if (next_peer < PEERS && !is_shut) peers[next_peer] = fake_peer_connect(PATH);
        next_peer += next_peer < PEERS && peers[next_peer] >= 0;
        break;
    case 4:
        if (with & 128) leave(with % PEERS);
        else if (with == 127) be_shut_by_others();
        else if (with > 120) fake.descriptors_max = with & 1 ? fake_open_descriptors() : 64;
        else if (with & 64) speak(with % PEERS);
        else fake_sleep(with >> 2);
        break;
    case 5:
        if (with & 64 && servers[k] && with & 16) close_server(k);
        else if (with & 64) stop(k, with & 128 ? UDS_ECHO_STOP_NOW : UDS_ECHO_STOP_DRAIN);
        break;
    case 6: start(k); break;
    default: fuzz_fault(with & 15, with >> 4);
    }
    lawful();
}

/* ---- a run ------------------------------------------------------------------------------------------------------- */

/* Nothing fails any more, the others do not come back, and this one lets in whom it can: a moment for each. */
static void run_alone(int k)
{
    int round;
    if (!serves(k) || asked[k]) return;
    for (round = 0; round < 400 && queued() && !is_full(k); round++) (void)step(k, 1);
    CHECK(is_full(k) || !queued(), "somebody waits, and there is a place");
}

/* Where a listener that somebody else shut leads to nobody, that costs no core. */
static void wait_for_nobody(int k)
{
    const long long began = fake_now_ms();
    int round;
    if (!others_shut_it || !serves(k) || asked[k]) return;
    for (round = 0; round < 20; round++) (void)step(k, 50);
    CHECK(fake_now_ms() - began >= 500, "it spins over a listener that is shut");
}

static void end_all(void)
{
    const long long began = fake_now_ms();
    int k, round, stopped = 0;
    for (k = 0; k < SERVERS; k++)
        if (servers[k]) stop(k, UDS_ECHO_STOP_DRAIN);
    for (round = 0; round < 400 && stopped < SERVERS; round++) {
        for (k = stopped = 0; k < SERVERS; k++) stopped += step(k, 0) == UDS_ECHO_ERR_STOPPED;
        fake_sleep(5);
        lawful();
    }
    CHECK(fake_now_ms() - began <= DRAIN_MS + 10, "a drain that does not keep its deadline");
    for (k = 0; k < SERVERS; k++) {
        CHECK(!servers[k] || uds_echo_server_step(servers[k], 0) == UDS_ECHO_ERR_STOPPED, "a drain that does not end");
        if (servers[k]) close_server(k);
    }
}

/* As socket activation gives one: blocking, and not close-on-exec before now; somebody else has it, too. 0: it could
   not be adopted, and still is the caller's. */
static int begin(uds_echo_server_desc *desc, unsigned fault, int which)
{
    if (!is_given) {
        desc->path = PATH;
        if (uds_echo_server_open(&servers[0], desc, NULL)) abort();
        return 1;
    }
    given_fd = fuzz_listener(PATH, PEERS);
    if (fake_fcntl(given_fd, F_SETFL, 0)) abort();
    fake_hold(given_fd);
    if (fault) fuzz_fault(fault - 1, which);
    if (!uds_echo_server_adopt(&servers[0], given_fd, desc, NULL)) return 1;
    fuzz_fault_settle();
    CHECK(fuzz_hits, "a listener that cannot be adopted, and nothing failed");
    CHECK(!fake_close(given_fd), "what could not be adopted is closed");
    fuzz_finish();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uds_echo_server_desc desc;
    size_t i;
    int n;
    if (size < CONFIG || size > 512) return 0;
    fuzz_begin();
    memset(servers, 0, sizeof servers);
    memset(asked, 0, sizeof asked);
    for (n = 0; n < PEERS; n++) peers[n] = -1;
    memset(in_vain, 0, sizeof in_vain);
    next_peer = is_shut = others_shut_it = 0;
    accepted = 0;
    fake.queue_bytes = QUEUE;
    is_given = data[0] & 1;
    places = data[1];
    memset(&desc, 0, sizeof desc);
    desc.message_max = 8;
    desc.connections_max = (places & 3) * 3 + 1;
    desc.drain_ms = DRAIN_MS;
    if (!begin(&desc, data[0] >> 3, data[1])) return 0;
    if (UDS_ECHO_HAVE_ATOMIC)
        for (n = 1; n < SERVERS; n++) start(n);
    for (i = CONFIG; i + 1 < size; i += 2) act(data[i], data[i + 1]);
    fuzz_fault_settle();
    fake.descriptors_max = 64;
    run_alone(data[0] / 2 % SERVERS);
    wait_for_nobody(data[0] / 2 % SERVERS);
    end_all();
    CHECK(!is_given || others_shut_it || fake_peer_connect(PATH) >= 0 || errno == EAGAIN,
          "a listener of somebody else's is shut");
    for (n = 0; n < PEERS; n++) leave(n);
    fuzz_finish();
    CHECK(is_given || !fake_exists(PATH) || fuzz_hit[FAKE_flock] || fuzz_hit[FAKE_fstatat] || fuzz_hit[FAKE_unlinkat],
          "the path is left behind");
    return 0;
}
