/* fuzz_client.c - the client against a server that the input plays: it accepts late or never, answers what it likes, in
   pieces, half-closes, resets, and while the client waits calls fail and signals come.

   Input: the client's calls, four bytes each, until one says no more; the rest is what the world does whenever the
   client waits and nothing is ready, a byte an action. Where that is used up, the world is kind: it accepts, reads all,
   and half-closes; or stubborn: it echoes, and reads no more until its echo is read. */
#include "fuzz.h"

enum { CALLS = 6, BUFFER = 512, KEPT = 8192, BACKLOG = 1, STRANGERS = BACKLOG + 1 }; /* so many fill the queue */

static fuzz_input script;
static int listener, peer, peer_shut, given_up; /* given_up: the system failed it */
static int server_uid, silent, lazy; /* silent: it lets in, slowly, and says nothing more, to who has a deadline */
static int patience;                 /* the deadline of the call that goes on; -1: none */
static char far[120];                /* a path that is too long for an address; nobody serves it */
static int reset;                    /* a recv of this connection was made to fail */
static size_t heard, said;           /* by the server that is played */
static size_t given, taken;          /* by the client: bytes the socket took, bytes it handed to us */
static long long slept;              /* time that passed while the world, not the wait, went on */
static uds_echo_client client;
static uds_echo_io io;                      /* of the exchange that is going on */
static int exchanging, stubborn, strangers; /* strangers: in front of the client in the queue */
static int heard_end;                       /* the client half-closed, or left */
static int deaf;                            /* the server reads no more */

static size_t hear(size_t size)
{
    unsigned char bytes[256], expected[256];
    long n = peer < 0 ? -1 : fake_peer_recv(peer, bytes, size);
    heard_end |= n == 0;
    if (n <= 0) return 0;
    fuzz_pattern(expected, (size_t)n, heard, 1);
    CHECK(!memcmp(bytes, expected, (size_t)n), "the server got what was not sent, or not in order");
    heard += (size_t)n;
    return (size_t)n;
}

/* A single byte goes with MSG_OOB: it is one of the stream like any other. */
static void say(size_t size)
{
    unsigned char bytes[256];
    long n;
    if (peer < 0 || peer_shut || said + size > KEPT) return;
    fuzz_pattern(bytes, size, said, 2);
    n = size == 1 ? fake_peer_send_urgent(peer, *bytes) : fake_peer_send(peer, bytes, size);
    if (n > 0) said += (size_t)n;
}

static void hang_up(void)
{
    if (peer >= 0) fake_peer_close(peer);
    peer = -1;
}

/* For the next connection: those that were given up while they were queued are not it. */
static void begin_anew(void)
{
    hang_up();
    while ((peer = fake_peer_accept(listener)) >= 0) hang_up();
    strangers = 0;
    heard = said = given = taken = 0;
    peer_shut = given_up = reset = heard_end = deaf = 0;
}

/* The queue is full from now on, and whoever is next has to wait. */
static void fill_queue(void)
{
    while (strangers < STRANGERS && fake_peer_connect(PATH) >= 0) strangers++;
}

static void let_in(void)
{
    if (peer >= 0) return;
    peer = fake_peer_accept(listener);
    if (!strangers) return;
    strangers--;
    hang_up();
}

/* Whoever waits for ever gets an end. */
static int be_kind(void)
{
    (void)hear(256);
    if (!peer_shut) (void)fake_peer_shutdown(peer, SHUT_WR);
    peer_shut = 1;
    return 1;
}

static int be_stubborn(void)
{
    size_t size;
    if (taken + io.got < said) return 0;
    size = hear(16);
    if (!size) return be_kind();
    say(size);
    return 1;
}

/* It answers to the end of a question, which a call must let it see; but not one that was told that nobody reads it. */
static int wait_for_the_end(void)
{
    fuzz_fault_note();
    if (heard_end || fuzz_hit[FAKE_send] || fuzz_hit[FAKE_shutdown]) return be_kind();
    return hear(256) > 0 || heard_end;
}

/* 1: something happened. */
static int world(void *user)
{
    const int done = !script.left;
    const unsigned char what = fuzz_byte(&script);
    (void)user;
    if (done) {
        const int waited = strangers;
        if (silent && patience >= 0 && lazy++ % 8) return 0;
        let_in();
        if (peer < 0) return waited;
        if (silent && patience >= 0) return 0;
        if (!stubborn) return be_kind();
        return exchanging ? be_stubborn() : wait_for_the_end();
    }
    switch (what & 7) {
    case 0: let_in(); break;
    case 1:
    case 2: say((size_t)(what >> 3) * 4 + 1); break;
    case 3:
    case 4: (void)hear((size_t)(what >> 3) * 4 + 1); break;
    case 5:
        if (peer >= 0) (void)fake_peer_shutdown(peer, what >> 3 & 3 ? SHUT_WR : SHUT_RDWR);
        deaf |= peer >= 0 && !(what >> 3 & 3);
        peer_shut = peer >= 0;
        break;
    case 6:
        if (what >> 3 > 28) say(5); /* last words: it has gone when they are read */
        if (what >> 3 > 24) hang_up(), deaf = 1;
        else if (what >> 3 > 16) fake_interrupt();
        else fake_sleep(what >> 3), slept += what >> 3;
        break;
    default: fuzz_fault(what >> 6, what >> 3 & 7);
    }
    return 1;
}

static int is_one_of(uds_echo_error error, const uds_echo_error *list, int count)
{
    while (count-- > 0)
        if (list[count] == error) return 1;
    return 0;
}

/* What either function may say; SYSTEM and NO_MEMORY only where a call failed. */
static void judge(uds_echo_error error, const uds_echo_error *list, int count)
{
    fuzz_fault_settle();
    if (error == UDS_ECHO_OK) return;
    CHECK(is_one_of(error, list, count) || fuzz_fatal_any || fuzz_hit[FAKE_fcntl], "an error that nothing explains");
    CHECK(error != UDS_ECHO_ERR_INVALID && error < UDS_ECHO_ERROR_COUNT, "an error that it never gives");
}

static const uds_echo_error open_errors[] = {UDS_ECHO_ERR_NOT_FOUND, UDS_ECHO_ERR_DENIED,  UDS_ECHO_ERR_REFUSED,
                                             UDS_ECHO_ERR_UNTRUSTED, UDS_ECHO_ERR_TIMEOUT, UDS_ECHO_ERR_WRONG_TYPE};
static const uds_echo_error talk_errors[] = {UDS_ECHO_ERR_UNEXPECTED_EOF, UDS_ECHO_ERR_BUFFER_FULL,
                                             UDS_ECHO_ERR_TIMEOUT, UDS_ECHO_ERR_RESET, UDS_ECHO_ERR_TRUNCATED};

static void check_time(uds_echo_error error, long long began, int timeout_ms)
{
    const long long took = fake_now_ms() - began;
    if (fuzz_fatal[FAKE_clock_gettime]) return;
    CHECK(timeout_ms < 0 || took <= timeout_ms + slept, "it waited too long");
    CHECK(error != UDS_ECHO_ERR_TIMEOUT || (timeout_ms >= 0 && took >= timeout_ms), "the time is not up");
}

static int is_trusted(const uds_echo_client_desc *desc)
{
    if (desc->trust == UDS_ECHO_TRUST_UID_OR_ROOT && !server_uid) return 1;
    return !desc->trust || desc->uid == server_uid;
}

static void open_client(const uint8_t *how)
{
    static const uds_echo_trust trusts[3] = {UDS_ECHO_TRUST_ANY, UDS_ECHO_TRUST_UID, UDS_ECHO_TRUST_UID_OR_ROOT};
    uds_echo_client_desc desc;
    uds_echo_failure why;
    uds_echo_error error;
    if (how[1] & 2) fill_queue();
    memset(&desc, 0, sizeof desc);
    desc.path = how[1] & 4 ? far : how[1] & 1 ? "/w/other" : PATH;
    patience = desc.timeout_ms = how[2] & 7 ? how[2] : 0;
    desc.trust = trusts[how[3] % 3];
    desc.uid = how[3] & 8 ? server_uid : server_uid + 1;
    error = uds_echo_client_open(&client, &desc, &why);
    CHECK(error == why.error && why.call, "the failure is not filled in");
    CHECK((error == UDS_ECHO_OK) == (client.fd >= 0), "open without a descriptor, or a descriptor without open");
    judge(error, open_errors, 6);
    CHECK(error != UDS_ECHO_OK || is_trusted(&desc), "somebody untrusted is trusted");
    CHECK(error != UDS_ECHO_ERR_UNTRUSTED || !is_trusted(&desc) || fuzz_fatal_any, "somebody trusted is not");
}

/* What came before the end is not lost with it. */
static void check_end(uds_echo_error error, size_t got, size_t room, size_t there)
{
    reset |= fuzz_fatal[FAKE_recv];
    if (error != UDS_ECHO_ERR_UNEXPECTED_EOF && error != UDS_ECHO_ERR_RESET) return;
    CHECK(got == room || got == there || reset, "it ended, and what was said before is lost");
}

static void exchange(const uint8_t *how)
{
    uds_echo_error error;
    unsigned char *out, *in, expected[BUFFER];
    const size_t out_size = (size_t)how[1] * 2, in_size = (size_t)how[2] * 2;
    const int timeout_ms = how[3] & 1 ? -1 : how[3];
    const long long began = fake_now_ms();
    const size_t there = said - taken;
    if (given_up || (client.shutdown_sent && out_size)) return;
    out = (unsigned char *)malloc(out_size + !out_size);
    in = (unsigned char *)malloc(in_size + !in_size);
    if (!out || !in) abort();
    memset(&io, 0, sizeof io);
    fuzz_pattern(out, out_size, given, 1);
    io.out = out;
    io.out_size = out_size;
    io.in = in;
    io.in_size = in_size;
    exchanging = 1;
    patience = timeout_ms;
    error = uds_echo_client_exchange(&client, &io, timeout_ms);
    exchanging = 0;
    judge(error, talk_errors, 4);
    given_up = error && !is_one_of(error, talk_errors, 4);
    check_time(error, began, timeout_ms);
    CHECK(io.sent <= out_size && io.got <= in_size, "sent or got past the size");
    CHECK(error != UDS_ECHO_OK || (io.sent == out_size && io.got == in_size), "OK, and something is missing");
    CHECK(error != UDS_ECHO_ERR_BUFFER_FULL || io.got == in_size, "FULL, and there is room");
    CHECK(error != UDS_ECHO_ERR_TIMEOUT || io.got >= (there < in_size ? there : in_size) || fuzz_fatal_any,
          "the time is up, and it did not take what was there");
    check_end(error, io.got, in_size, said - taken);
    fuzz_pattern(expected, io.got, taken, 2);
    CHECK(taken + io.got <= said && !memcmp(in, expected, io.got), "it got what was not said, or not in order");
    given += io.sent;
    taken += io.got;
    free(out);
    free(in);
}

/* One call is one connection, so the client that is open is left first. */
static void call(const uint8_t *how)
{
    unsigned char message[BUFFER], reply[BUFFER], expected[BUFFER];
    const size_t size = (size_t)how[1] * 2, capacity = (size_t)how[2] * 2;
    const int timeout_ms = how[3] & 1 ? -1 : how[3];
    const long long began = fake_now_ms();
    uds_echo_failure why;
    uds_echo_error error;
    size_t got = 999;
    uds_echo_client_close(&client);
    begin_anew();
    if (how[3] & 2) fill_queue();
    fuzz_pattern(message, size, 0, 1);
    patience = timeout_ms;
    error = uds_echo_call(PATH, message, size, reply, capacity, &got, timeout_ms, &why);
    CHECK(error == why.error && why.call, "the failure is not filled in");
    judge(error, is_one_of(error, open_errors, 6) ? open_errors : talk_errors,
          is_one_of(error, open_errors, 6) ? 6 : 5);
    check_time(error, began, timeout_ms);
    CHECK(error != UDS_ECHO_ERR_BUFFER_FULL, "a call that is full");
    CHECK(error != UDS_ECHO_ERR_UNEXPECTED_EOF || deaf || fuzz_hit[FAKE_send],
          "it gives up, and the server would read all of it");
    check_end(error, got, capacity, said);
    CHECK(got <= capacity && got <= said, "it got more than was said");
    fuzz_pattern(expected, got, 0, 2);
    CHECK(!memcmp(reply, expected, got), "it got what was not said, or not in order");
    CHECK(error != UDS_ECHO_OK || got == said, "OK, and a part of the answer is missing");
}

static void run(const uint8_t *how)
{
    memset(fuzz_fatal, 0, sizeof fuzz_fatal); /* a fault excuses what it happened in */
    fuzz_fatal_any = 0;
    slept = 0;
    switch (how[0] % 8) {
    case 1:
        uds_echo_client_close(&client);
        begin_anew();
        open_client(how);
        break;
    case 2:
    case 3:
    case 4:
        if (client.fd >= 0) exchange(how);
        break;
    case 5:
        if (client.fd >= 0) judge(uds_echo_client_shutdown(&client), talk_errors, 4);
        break;
    case 6: uds_echo_client_close(&client); break;
    default: call(how);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t how[CALLS][4];
    int i, calls, k;
    long user;
    if (size < 2 || size > 1024) return 0;
    fuzz_begin();
    script.at = data;
    script.left = size;
    calls = fuzz_byte(&script);
    fake.queue_bytes = (size_t)calls % 128 + 1;
    user = fake.uid;
    if (calls & 128) fake.uid = 0;
    server_uid = (int)fake.uid;
    listener = fake_peer_listen(PATH, 0777, BACKLOG);
    fake.uid = user;
    memset(far, 'f', sizeof far - 1);
    memcpy(far, "/w/", 3);
    far[sizeof far - 3] = '\0';
    fake_put_dir(far);
    far[sizeof far - 3] = '/';
    peer = client.fd = -1;
    memset(&io, 0, sizeof io);
    begin_anew();
    exchanging = lazy = patience = 0;
    calls = fuzz_byte(&script);
    stubborn = calls >> 7;
    silent = calls >> 6 & 1;
    calls = calls % CALLS + 1;
    for (i = 0; i < calls; i++)
        for (k = 0; k < 4; k++) how[i][k] = fuzz_byte(&script);
    fake.world = world;
    for (i = 0; i < calls; i++) {
        run(how[i]);
        fuzz_lawful();
    }
    uds_echo_client_close(&client);
    while (peer >= 0 && heard < given) { /* what the socket took is there to be read */
        const size_t before = heard;
        (void)hear(256);
        if (heard == before) break;
    }
    hang_up();
    fake_peer_close(listener);
    fuzz_finish();
    return 0;
}
