/* fuzz_poller.c - the private ue_poller functions alone, against a model of what must be told: descriptors come and go,
   their places are used anew while events for them are still to be handed out, and what was told is stale.

   Built as poller over epoll(7) and, with UDS_ECHO_USE_POLL, as poller_poll over poll(2). Input: two bytes an action. */
#include "fuzz.h"

#include <sys/eventfd.h>

enum { PLACES = 12 };

/* A place as the model sees it, and as it was when the last wait began. */
typedef struct place {
    int fd, peer; /* fd -1: nobody is here; peer -1: the descriptor is a counter (eventfd), not a socket */
    unsigned generation;
    int watch, received, shut; /* shut: 1: the peer half-closed; 2: it hung up */
    int told;                  /* by the last wait */
    int due;                   /* the last wait had to tell it */
    unsigned long long was;    /* its token then; 0: nobody was here, or nothing was watched */
} place;

static place places[PLACES];
static ue_poller poller;
static int listener;

static unsigned long long token_of(int n)
{
    return (unsigned long long)places[n].generation << 32 | (unsigned)n;
}

/* From what the model did to it, not from what the fake thinks of it. A counter is kept at one: it can always be read
   and written. */
static int is_ready(const place *p)
{
    int bits = p->peer < 0 || p->received || p->shut ? UE_IN : 0;
    if (p->peer < 0 || 4 * fake_peer_pending(p->peer) <= fake.queue_bytes) bits |= UE_OUT;
    return (p->shut == 2 ? UE_IN | UE_OUT : bits) & p->watch; /* what hung up is told whatever it is watched for */
}

static void join(place *p, int is_socket)
{
    if (p->fd >= 0) return;
    p->peer = -1;
    if (is_socket) {
        p->peer = fake_peer_connect(PATH);
        if (p->peer < 0) return;
        p->fd = fake_accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        CHECK(p->fd >= 0, "the harness cannot accept");
    } else {
        p->fd = fake_eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    p->generation++;
    p->watch = p->received = p->shut = 0;
}

static void watch(int n, int want)
{
    place *p = &places[n];
    if (p->fd < 0 || p->watch == want) return;
    CHECK(ue_poller_set(&poller, p->fd, token_of(n), p->watch, want), "set failed though nothing was wrong");
    p->watch = want;
    p->due = 0; /* what was to be told is of interest no more; it may be told all the same */
}

static void leave(int n)
{
    place *p = &places[n];
    if (p->fd < 0) return;
    watch(n, 0);
    (void)fake_close(p->fd);
    if (p->peer >= 0) fake_peer_close(p->peer);
    p->fd = p->peer = -1;
}

static void all_touched(void)
{
    int n;
    for (n = 0; n < PLACES; n++)
        if (places[n].fd >= 0) (void)fake_fcntl(places[n].fd, F_GETFL);
}

static void hand_out(int at_most)
{
    unsigned long long token;
    int n;
    while (at_most-- > 0) {
        if (!ue_poller_next(&poller, &token)) {
            for (n = 0; n < PLACES; n++) CHECK(!places[n].due, "ready, watched, and not told");
            return;
        }
        n = (int)(token & 0xffffffff);
        CHECK(n < PLACES, "a place that does not exist");
        CHECK(token == places[n].was, "told for what was not watched when the wait began");
        CHECK(!places[n].told, "told twice by one wait");
        places[n].told = 1;
        places[n].due = 0;
        CHECK(UDS_ECHO_HAVE_EPOLL || places[n].generation == token >> 32, "poll has no stale events");
    }
}

static void wait_now(int interrupted)
{
    int n, count, least = 0;
    all_touched();
    for (n = 0; n < PLACES; n++) {
        place *p = &places[n];
        p->told = 0;
        p->was = p->fd >= 0 && p->watch ? token_of(n) : 0;
        p->due = p->was && is_ready(p) != 0;
        least += p->due;
    }
    all_touched();
    if (interrupted) fake_fault(fake_calls() + 1, EINTR, 0);
    count = ue_poller_wait(&poller, 0);
    CHECK((count < 0) == interrupted, "a wait that failed without reason");
    for (n = 0; interrupted && n < PLACES; n++) places[n].due = 0, places[n].was = 0; /* nothing may be told */
    CHECK(count < 0 || (count >= least && count <= PLACES), "the number of events");
}

static void act(unsigned char what, unsigned char with)
{
    const int n = with % PLACES;
    place *p = &places[n];
    unsigned char bytes[64] = {0}; /* as much as a queue holds */
    switch (what % 10) {
    case 0: wait_now(with == 255); break;
    case 1: hand_out(with % 4 + 1); break;
    case 2: hand_out(PLACES + 1); break;
    case 3: join(p, 1); break;
    case 4: join(p, 0); break;
    case 5: watch(n, with >> 4 & 3); break;
    case 6: leave(n); break;
    case 7:
        if (p->peer >= 0 && fake_peer_send(p->peer, bytes, with / PLACES + 1u) > 0) p->received = 1;
        break;
    case 8: /* how full the peer's side is decides whether ours can be written */
        if (p->peer >= 0 && with & 128) (void)fake_peer_recv(p->peer, bytes, 64);
        else if (p->peer >= 0 && p->shut < 2) (void)fake_send(p->fd, bytes, with & 64 ? 64 : 16, MSG_NOSIGNAL);
        break;
    default:
        if (p->peer >= 0) (void)fake_peer_shutdown(p->peer, with & 128 ? SHUT_RDWR : SHUT_WR);
        if (p->peer >= 0) p->shut = with & 128 || p->shut == 2 ? 2 : 1;
    }
    fuzz_lawful();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t i;
    int n;
    if (size > 1024) return 0;
    fuzz_begin();
    fake.queue_bytes = 64;
    memset(&poller, 0, sizeof poller);
    memset(places, 0, sizeof places);
    for (n = 0; n < PLACES; n++) places[n].fd = places[n].peer = -1;
    listener = fuzz_listener(PATH, PLACES);
    if (!ue_poller_open(&poller, PLACES)) abort();
    for (i = 0; i + 1 < size; i += 2) act(data[i], data[i + 1]);
    for (n = 0; n < PLACES; n++) leave(n);
    ue_poller_close(&poller);
    (void)fake_close(listener);
    fuzz_finish();
    return 0;
}
