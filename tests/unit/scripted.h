/* scripted.h - what the tests of the client have in common, on top of harness.h: a server that does what the test says, a
   letter each time the client waits. */
#ifndef SCRIPTED_H
#define SCRIPTED_H

static int listener, peer; /* the server's side; peer -1: not accepted yet */
static const char *script;
static char got[2048]; /* what the server received last, as far as it fits */
static size_t got_size;

static void hear_client(void)
{
    char bytes[sizeof got];
    const size_t room = sizeof got - got_size;
    const long n = fake_peer_recv(peer, bytes, sizeof bytes);
    const size_t more = n > 0 ? (size_t)n : 0;
    memcpy(got + got_size, bytes, more < room ? more : room);
    got_size += more < room ? more : room;
}

/* a accept, r read all, s say "0123456789", u say "u" with MSG_OOB, b say and read, e half-close, h hush (SHUT_RD), c close, C read and close,
   z sleep 60 ms, . nothing. */
static int play(void *user)
{
    const char what = *script;
    (void)user;
    if (!what) return 0;
    script++;
    if (what == 'a') peer = fake_peer_accept(listener);
    if (what == 's' || what == 'b') (void)fake_peer_send(peer, "0123456789", 10);
    if (what == 'u') (void)fake_peer_send_urgent(peer, 'u');
    if (what == 'r' || what == 'b' || what == 'C') hear_client();
    if (what == 'z') fake_sleep(60);
    if (what == 'e') (void)fake_peer_shutdown(peer, SHUT_WR);
    if (what == 'h') (void)fake_peer_shutdown(peer, SHUT_RD);
    if (what == 'c' || what == 'C') fake_peer_close(peer);
    return what != '.';
}

static uds_echo_client connected(void)
{
    uds_echo_client_desc desc;
    uds_echo_client client;
    memset(&desc, 0, sizeof desc);
    desc.path = PATH;
    listener = fake_put_live(PATH, SOCK_STREAM, 1);
    fake_set_mode(PATH, 0777);
    assert_int_equal(uds_echo_client_open(&client, &desc, NULL), UDS_ECHO_OK);
    peer = fake_peer_accept(listener);
    fake.world = play;
    script = "";
    got_size = 0;
    return client;
}

#endif
