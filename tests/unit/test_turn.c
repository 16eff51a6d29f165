/* test_turn.c - how much one peer may have: messages of a turn, messages of a step, how soon a stop is heard, what a
   push to a slow reader costs, and memory_max. */
#include "harness.h"
#include "served.h"

enum { MANY = 1000 };
static int peers[MANY];
static int calls_of[MANY]; /* of the handler, by slot */
static int handled, stop_at, takes_ms;
static uds_echo_server *the_server;

/* Counts, and stops the server now at a message of which the test says the number. */
static uds_echo_verdict count_it(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)user;
    assert_int_equal(m->size, 1);
    calls_of[uds_echo_conn_id(conn) & 0xffffffff]++;
    fake_sleep(takes_ms);
    if (++handled == stop_at) uds_echo_server_stop(the_server, UDS_ECHO_STOP_NOW);
    return UDS_ECHO_NO_REPLY;
}

/* A server of lines and so many peers that have sent it 600 empty ones each. */
static uds_echo_server *flooded(int count, int step_messages)
{
    static char flood[600];
    uds_echo_server_desc desc = plain_desc();
    int i;
    memset(flood, '\n', sizeof flood);
    memset(calls_of, 0, sizeof calls_of);
    handled = stop_at = takes_ms = 0;
    fake.descriptors_max = 2000;
    fake.calls_max = 10000000;
    fake.queue_bytes = 1024;
    desc.connections_max = MANY;
    desc.message_max = 4096;
    desc.step_messages = step_messages;
    desc.frame = lines;
    desc.on_message = count_it;
    the_server = serve(desc);
    for (i = 0; i < count; i++) peers[i] = joined(the_server);
    for (i = 0; i < count; i++) assert_int_equal(fake_peer_send(peers[i], flood, sizeof flood), sizeof flood);
    return the_server;
}

static void leave(uds_echo_server *server, int count)
{
    int i;
    for (i = 0; i < count; i++) fake_peer_close(peers[i]);
    (void)uds_echo_server_close(server);
}

/* Each connection has at most 64 messages in a step, and all together at most step_messages. Nobody is forgotten: as
   many steps later all have been handed over, and no sooner than that. */
static void turns_and_steps_are_bounded(void **state)
{
    static const int counts[] = {1, 3, 250, MANY}, sizes[] = {1, 2, 63, 64, 65, 1000, INT_MAX, 0};
    size_t i, k;
    int n, before[MANY], handled_before, steps, most;
    (void)state;
    for (i = 0; i < sizeof counts / sizeof *counts; i++) {
        for (k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            uds_echo_server *server;
            if (counts[i] > 3 && sizes[k] && sizes[k] < 63) continue; /* takes long, and says nothing more */
            (void)setup(NULL);
            server = flooded(counts[i], sizes[k]);
            most = sizes[k] ? sizes[k] : 1024;
            for (steps = 0; handled < 600 * counts[i]; steps++) {
                memcpy(before, calls_of, sizeof before);
                handled_before = handled;
                assert_int_equal(uds_echo_server_step(server, -1), UDS_ECHO_OK);
                assert_in_range(handled - handled_before, 0, most);
                for (n = 0; n < counts[i]; n++) assert_in_range(calls_of[n] - before[n], 0, 64);
                assert_in_range(steps, 0, 1300 * counts[i]);
            }
            leave(server, counts[i]);
            (void)teardown(NULL);
        }
    }
}

/* Where steps are short nobody waits for ever: who speaks once among flooders is heard before any of those has had 64
   messages more than its share. */
static void one_among_flooders(void **state)
{
    enum { FLOODERS = 250 };
    static const int sizes[] = {1, 64, 256, 1024};
    size_t k;
    int steps, one;
    (void)state;
    for (k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        uds_echo_server *server;
        (void)setup(NULL);
        server = flooded(FLOODERS, sizes[k]);
        assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
        one = fake_peer_connect(PATH);
        say(one, "\n");
        for (steps = 0; !calls_of[FLOODERS]; steps++) {
            assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
            assert_in_range(handled, 0, 4 * 64 * (FLOODERS + 2)); /* two turns each until it is let in, and two more */
        }
        fake_peer_close(one);
        leave(server, FLOODERS);
        (void)teardown(NULL);
    }
}

/* A stop that is asked for before a step, or by a handler, is heard after at most 64 messages. */
static void a_stop_is_heard_in_time(void **state)
{
    static const int counts[] = {1, 250, MANY}, ats[] = {1, 63, 64, 65, 500};
    size_t i, k;
    (void)state;
    for (i = 0; i < sizeof counts / sizeof *counts; i++) {
        uds_echo_server *server;
        (void)setup(NULL);
        server = flooded(counts[i], 0);
        uds_echo_server_stop(server, UDS_ECHO_STOP_NOW);
        assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_ERR_STOPPED);
        assert_in_range(handled, 0, 64);
        leave(server, counts[i]);
        (void)teardown(NULL);
        for (k = 0; k < sizeof ats / sizeof *ats; k++) {
            (void)setup(NULL);
            server = flooded(counts[i], 0);
            stop_at = ats[k];
            assert_int_equal(uds_echo_server_run(server), UDS_ECHO_OK);
            assert_in_range(handled, stop_at, stop_at + 64);
            leave(server, counts[i]);
            (void)teardown(NULL);
        }
    }
}

/* The same where the step before ended among its events, and the wakeup would come behind those. */
static void a_stop_behind_events_that_were_left(void **state)
{
    uds_echo_server *server;
    int before;
    (void)state;
    server = flooded(250, 1);
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    before = handled;
    uds_echo_server_stop(server, UDS_ECHO_STOP_NOW);
    assert_int_equal(uds_echo_server_run(server), UDS_ECHO_OK);
    assert_in_range(handled, before, before + 64);
    leave(server, 250);
}

/* The event of a listener that a step left is nothing any more when a drain has let go of the listener. */
static void an_event_of_a_listener_that_went(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    struct sockaddr_un address;
    socklen_t size;
    ue_path place;
    int fd = fake_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)state;
    assert_int_equal(ue_path_split(&place, PATH, "", NULL), UDS_ECHO_OK);
    assert_true(ue_address(&address, &size, &place, ""));
    assert_int_equal(fake_bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(fake_listen(fd, 5), 0);
    desc.path = NULL;
    desc.step_messages = 1;
    assert_int_equal(uds_echo_server_adopt(&the_server, fd, &desc, NULL), UDS_ECHO_OK);
    peers[0] = joined(the_server);
    say(peers[0], "hello");
    peers[1] = fake_peer_connect(PATH);
    assert_int_equal(uds_echo_server_step(the_server, 0), UDS_ECHO_OK);
    uds_echo_server_stop(the_server, UDS_ECHO_STOP_DRAIN);
    until_stopped(the_server);
    assert_string_equal(heard(peers[0]), "hello");
    leave(the_server, 2);
    fake_remove(PATH);
}

static uds_echo_verdict stop_and_speak(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)conn, (void)m, (void)user;
    if (++handled != 150) return UDS_ECHO_NO_REPLY;
    uds_echo_server_stop(the_server, UDS_ECHO_STOP_NOW);
    say(peers[2], "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n");
    return UDS_ECHO_NO_REPLY;
}

/* The same where it is asked for while input is handled that was read in an earlier step, and somebody else speaks. */
static void a_stop_among_those_in_line(void **state)
{
    uds_echo_server *server;
    (void)state;
    server = flooded(2, 0);
    server->desc.on_message = stop_and_speak;
    peers[2] = fake_peer_connect(PATH);
    assert_true(peers[2] >= 0);
    assert_int_equal(uds_echo_server_run(server), UDS_ECHO_OK);
    assert_in_range(handled, 150, 192);
    leave(server, 3);
}

static uds_echo_verdict echo_and_stop(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)conn, (void)m, (void)user;
    if (++handled == 10) uds_echo_server_stop(the_server, UDS_ECHO_STOP_DRAIN);
    return UDS_ECHO_REPLY;
}

/* A read that came as a step had to end is kept, and handled in the next one as it was: without frame, too. */
static void what_was_read_as_a_step_ended(void **state)
{
    enum { COUNT = 130 };
    uds_echo_server_desc desc = plain_desc();
    char text[32];
    int i;
    (void)state;
    handled = 0;
    fake.descriptors_max = 200;
    desc.connections_max = COUNT;
    desc.on_message = echo_and_stop;
    the_server = serve(desc);
    for (i = 0; i < COUNT; i++) peers[i] = joined(the_server);
    for (i = 0; i < COUNT; i++) {
        (void)snprintf(text, sizeof text, "I am %d", i);
        say(peers[i], text);
    }
    until_stopped(the_server);
    for (i = 0; i < COUNT; i++) {
        (void)snprintf(text, sizeof text, "I am %d", i);
        assert_string_equal(heard(peers[i]), text);
    }
    leave(the_server, COUNT);
}

/* So is the end of a drain, where a handler takes its time. */
static void a_drain_ends_in_time(void **state)
{
    uds_echo_server *server;
    (void)state;
    server = flooded(250, 0);
    server->desc.drain_ms = 1000;
    takes_ms = 10;
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    assert_int_equal(uds_echo_server_run(server), UDS_ECHO_OK);
    /* the drain itself is heard after 64, and each socket is looked at once more, for 64 together */
    assert_in_range(handled, 100, 100 + 3 * 64);
    leave(server, 250);
}

/* Complete messages that wait for the next step are no part of a message that is cut short, and the end of input that
   stands behind them is seen when they are handled. */
static void an_end_behind_whole_messages(void **state)
{
    static const char *const rests[] = {"", "half"};
    size_t i;
    (void)state;
    for (i = 0; i < 2; i++) {
        uds_echo_server *server;
        char bytes[201];
        (void)setup(NULL);
        server = flooded(0, 0);
        peers[0] = joined(server);
        memset(bytes, '\n', 200);
        bytes[200] = '\0';
        say(peers[0], bytes);
        if (*rests[i]) say(peers[0], rests[i]);
        assert_int_equal(fake_peer_shutdown(peers[0], SHUT_WR), 0);
        settle(server);
        assert_int_equal(handled, 200);
        assert_int_equal(ended, 1);
        assert_int_equal(ends[0], *rests[i] ? UDS_ECHO_ERR_UNEXPECTED_EOF : UDS_ECHO_OK);
        leave(server, 1);
        (void)teardown(NULL);
    }
}

static uds_echo_verdict echo_and_wake(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)m, (void)user;
    handled++;
    if (handled == 10) uds_echo_server_wake(uds_echo_conn_server(conn));
    return UDS_ECHO_REPLY;
}

static void push_a_mark(uds_echo_server *server, void *user)
{
    (void)user;
    stop_at = handled;
    assert_int_equal(uds_echo_conn_send(&server->conns[0], "!", 1), UDS_ECHO_OK);
}

/* A wake is heard after 64 messages, and what is pushed then comes behind their replies. */
static void a_wake_within_a_turn(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    char bytes[151];
    const char *text;
    (void)state;
    handled = 0;
    memset(bytes, '\n', 150);
    bytes[150] = '\0';
    desc.message_max = 256;
    desc.frame = lines;
    desc.on_message = echo_and_wake;
    desc.on_wake = push_a_mark;
    the_server = serve(desc);
    peers[0] = joined(the_server);
    peers[1] = joined(the_server);
    say(peers[1], "\n"); /* so that the look comes within the turn of the first */
    say(peers[0], bytes);
    settle(the_server);
    assert_int_equal(handled, 151);
    assert_int_equal(stop_at, 64);
    text = heard(peers[0]);
    assert_int_equal(strlen(text), 151);
    assert_in_range(strchr(text, '!') - text, 63, 64); /* one of the 64 may have been the other's */
    assert_string_equal(heard(peers[1]), "\n");
    leave(the_server, 2);
}

/* Pushes to a peer that holds much, and reads a little at a time: what waits is never moved, so a push of a byte costs
   a byte, whatever is held. The malloc of the fake kernel counts the blocks. */
static void a_push_moves_nothing(void **state)
{
    static const size_t sizes[] = {4096, 1 << 20};
    size_t i;
    int n, blocks;
    (void)state;
    for (i = 0; i < 2; i++) {
        uds_echo_server_desc desc = plain_desc();
        const unsigned char *first;
        char *large = (char *)malloc(sizes[i]), sink[64];
        (void)setup(NULL);
        assert_non_null(large);
        memset(large, 'x', sizes[i]);
        desc.message_max = (long)sizes[i];
        the_server = serve(desc);
        peers[0] = joined(the_server);
        assert_int_equal(uds_echo_conn_send(&the_server->conns[0], large, sizes[i]), UDS_ECHO_OK);
        first = (const unsigned char *)(the_server->conns[0].unsent->next + 1);
        blocks = (int)fake_calls_of(FAKE_malloc);
        for (n = 0; n < 1000; n++) {
            assert_int_equal(fake_peer_recv(peers[0], sink, 2), 2);
            (void)uds_echo_server_step(the_server, 0);
            assert_int_equal(uds_echo_conn_send(&the_server->conns[0], "!", 1), UDS_ECHO_OK);
        }
        assert_ptr_equal(the_server->conns[0].unsent->next + 1, first);
        assert_in_range((int)fake_calls_of(FAKE_malloc) - blocks, 1, 1);
        assert_int_equal(fake_calls_of(FAKE_realloc), 0);
        free(large);
        leave(the_server, 1);
        (void)teardown(NULL);
    }
}

/* Pushes of all sizes over blocks of all sizes arrive in order, and the blocks go as they are sent. */
static void pushes_over_many_blocks(void **state)
{
    static char all[70000], in[70000];
    uds_echo_server_desc desc = plain_desc();
    size_t sent = 0, got = 0, size = 1, i;
    long n;
    (void)state;
    for (i = 0; i < sizeof all; i++) all[i] = (char)(i * 31 + i / 251);
    desc.message_max = 40000;
    fake.calls_max = 10000000;
    the_server = serve(desc);
    peers[0] = joined(the_server);
    while (got < sizeof all) {
        size = size * 7 % 5003 + 1;
        if (size > sizeof all - sent) size = sizeof all - sent;
        if (size && uds_echo_conn_send(&the_server->conns[0], all + sent, size) == UDS_ECHO_OK) sent += size;
        assert_in_range(ue_unsent_size(&the_server->conns[0]), 0, 40000);
        n = fake_peer_recv(peers[0], in + got, size % 300 + 1);
        if (n > 0) got += (size_t)n;
        (void)uds_echo_server_step(the_server, 0);
    }
    assert_memory_equal(all, in, sizeof all);
    settle(the_server);
    assert_int_equal(stats_of(the_server).pending, 0);
    leave(the_server, 1);
}

/* memory_max: a connection that needs more ends, by name; exactly as much is given, to input and to replies alike, and
   who needs none is served. */
static void memory_max_is_a_cap(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    char full[64];
    int i;
    (void)state;
    memset(full, 'p', sizeof full);
    fake.queue_bytes = 14;
    desc.memory_max = 50 + 64;
    desc.frame = lines;
    the_server = serve(desc);
    for (i = 0; i < 4; i++) peers[i] = joined(the_server);
    assert_int_equal(uds_echo_conn_send(&the_server->conns[0], full, 64), UDS_ECHO_OK); /* 50 wait */
    say(peers[1], "half");
    settle(the_server); /* takes room for a message, 64 */
    assert_int_equal(stats_of(the_server).pending, 50 + 64);
    say(peers[2], "half");
    settle(the_server);
    assert_int_equal(ended, 1);
    assert_int_equal(ends[0], UDS_ECHO_ERR_NO_MEMORY);
    assert_int_equal(uds_echo_conn_send(&the_server->conns[3], full, 15), UDS_ECHO_ERR_NO_MEMORY);
    settle(the_server);
    assert_int_equal(ended, 2);
    say(peers[1], " a line\n");
    settle(the_server);
    assert_string_equal(heard(peers[1]), "half a line\n");
    assert_int_equal(stats_of(the_server).pending, 50);
    assert_int_equal(stats_of(the_server).pending_peak, 50 + 64);
    leave(the_server, 4);
}

/* Who waits for its turn is not idle. */
static void who_waits_for_its_turn_is_not_idle(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    char bytes[201];
    int i;
    (void)state;
    memset(bytes, '\n', 200);
    bytes[200] = '\0';
    handled = stop_at = 0;
    takes_ms = 30;
    desc.message_max = 4096;
    desc.step_messages = 1;
    desc.idle_ms = 100;
    desc.frame = lines;
    desc.on_message = count_it;
    the_server = serve(desc);
    for (i = 0; i < 5; i++) peers[i] = joined(the_server);
    for (i = 0; i < 5; i++) say(peers[i], bytes);
    for (i = 0; handled < 800 && i < 5000; i++) (void)uds_echo_server_step(the_server, 0);
    assert_int_equal(handled, 800);
    assert_int_equal(ended, 0);
    leave(the_server, 5);
}

/* Nor is it in the step that gives it its turn, and from then on its time runs anew. */
static void who_had_its_turn_is_idle_from_then_on(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    char bytes[66];
    (void)state;
    memset(bytes, '\n', 65);
    bytes[65] = '\0';
    handled = stop_at = takes_ms = 0;
    desc.idle_ms = 100;
    desc.frame = lines;
    desc.on_message = count_it;
    the_server = serve(desc);
    peers[0] = joined(the_server);
    say(peers[0], bytes);
    assert_int_equal(uds_echo_server_step(the_server, 0), UDS_ECHO_OK);
    assert_int_equal(handled, 64);
    fake_sleep(150);
    settle(the_server);
    assert_int_equal(handled, 65);
    assert_int_equal(ended, 0);
    fake_sleep(99);
    settle(the_server);
    assert_int_equal(ended, 0);
    fake_sleep(1);
    settle(the_server);
    assert_int_equal(ended, 1);
    assert_int_equal(ends[0], UDS_ECHO_ERR_IDLE);
    leave(the_server, 1);
}

/* A step that begins with nobody in line hands over no more than any other, whatever the steps before put off. */
static void a_second_flood_is_bounded_too(void **state)
{
    static char flood[600];
    uds_echo_server *server;
    int i, round, before;
    (void)state;
    memset(flood, '\n', sizeof flood);
    server = flooded(40, 1000);
    for (round = 1; round <= 3; round++) {
        while (handled < round * 40 * 600) {
            before = handled;
            assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
            assert_in_range(handled - before, 0, 1000);
        }
        settle(server);
        for (i = 0; i < 40; i++) assert_int_equal(fake_peer_send(peers[i], flood, sizeof flood), sizeof flood);
    }
    leave(server, 40);
}

/* Who does not read is idle, though its turn ended before its input did. */
static void a_slow_reader_with_more_input_is_idle(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    (void)state;
    fake.queue_bytes = 20;
    desc.step_messages = 2;
    desc.idle_ms = 100;
    desc.frame = lines;
    the_server = serve(desc);
    peers[0] = joined(the_server);
    say(peers[0], "aaaa\nbbbb\ncccc\ndddd\n"); /* the replies fill its socket */
    settle(the_server);
    say(peers[0], "eeee\nffff\ngggg\nhhhh\n");
    settle(the_server);
    assert_int_equal(the_server->conns[0].state, UE_SENDING);
    fake_sleep(101);
    settle(the_server);
    assert_int_equal(ended, 1);
    assert_int_equal(ends[0], UDS_ECHO_ERR_IDLE);
    leave(the_server, 1);
}

/* A step in which nobody waits for a turn is all for those who speak now. */
static void a_step_without_a_line_is_whole(void **state)
{
    uds_echo_server *server = flooded(0, 8);
    int i;
    (void)state;
    for (i = 0; i < 8; i++) peers[i] = joined(server);
    for (i = 0; i < 8; i++) say(peers[i], "\n");
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    assert_int_equal(handled, 8);
    leave(server, 8);
}

/* Half of each step is for those whose input was read already, however many others speak. */
static void half_of_a_step_is_for_those_in_line(void **state)
{
    enum { SPEAKERS = 20, LINES = 300 };
    static char flood[LINES];
    uds_echo_server *server = flooded(0, 8);
    int i, steps;
    (void)state;
    memset(flood, '\n', sizeof flood);
    for (i = 0; i <= SPEAKERS; i++) peers[i] = joined(server);
    assert_int_equal(fake_peer_send(peers[0], flood, sizeof flood), sizeof flood);
    for (steps = 0; steps < LINES / 4 + 5; steps++) {
        for (i = 1; i <= SPEAKERS; i++) say(peers[i], "\n");
        assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
        assert_in_range(handled, 0, 8 * (steps + 1));
    }
    assert_in_range(calls_of[0], LINES / (SPEAKERS + 1), LINES);
    assert_in_range(calls_of[0], 4 * (steps - 2) / 8, LINES); /* it shares the half with those who came after it */
    leave(server, SPEAKERS + 1);
}

/* What a step may not hand over it does not read either: of a connection, of the next one, or of one that is new. */
static void a_step_that_is_used_up_reads_no_more(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    int i;
    (void)state;
    desc.step_messages = 1;
    desc.message_max = 8;
    the_server = serve(desc);
    for (i = 0; i < 3; i++) peers[i] = joined(the_server);
    for (i = 0; i < 3; i++) say(peers[i], "0123456789abcdef");
    for (i = 1; i <= 6; i++) {
        assert_int_equal(uds_echo_server_step(the_server, 0), UDS_ECHO_OK);
        assert_int_equal(stats_of(the_server).bytes_in, 8 * i);
    }
    for (i = 0; i < 3; i++) assert_string_equal(heard(peers[i]), "0123456789abcdef");
    peers[3] = fake_peer_connect(PATH);
    say(peers[3], "01234567");
    say(peers[0], "01234567");
    for (i = 1; i <= 2; i++) { /* whichever is reported first */
        assert_int_equal(uds_echo_server_step(the_server, 0), UDS_ECHO_OK);
        assert_int_equal(stats_of(the_server).bytes_in, 6 * 8 + 8 * i);
    }
    assert_int_equal(stats_of(the_server).accepted, 4);
    assert_string_equal(heard(peers[3]), "01234567");
    leave(the_server, 4);
}

/* Nor what has to wait for a deferred reply. */
static void behind_a_deferred_reply_nothing_is_read(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    (void)state;
    desc.message_max = 8;
    desc.on_message = later_if_asked;
    the_server = serve(desc);
    peers[0] = joined(the_server);
    say(peers[0], "????????and more");
    settle(the_server);
    assert_int_equal(stats_of(the_server).bytes_in, 8);
    assert_int_equal(uds_echo_conn_send(&the_server->conns[0], "!", 1), UDS_ECHO_OK);
    settle(the_server);
    assert_string_equal(heard(peers[0]), "!and more");
    leave(the_server, 1);
}

/* A caller that waits by itself is told not to wait where events are left, and to wait where none are. */
static void the_timeout_after_a_step_that_is_used_up(void **state)
{
    uds_echo_server *server = flooded(0, 1);
    int i;
    (void)state;
    for (i = 0; i < 3; i++) peers[i] = joined(server);
    say(peers[1], "\n");
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    assert_int_equal(handled, 1);
    assert_int_equal(uds_echo_server_timeout(server), -1);
    say(peers[0], "\n");
    say(peers[1], "\n");
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    assert_int_equal(handled, 2);
    assert_int_equal(uds_echo_server_timeout(server), 0);
    leave(server, 3);
}

/* The time that is left until a connection is idle is told by the clock, which never goes back. */
static void the_timeout_follows_the_clock(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    (void)state;
    desc.idle_ms = 100;
    the_server = serve(desc);
    peers[0] = joined(the_server);
    assert_int_equal(uds_echo_server_timeout(the_server), 100);
    fake_sleep(40);
    assert_int_equal(uds_echo_server_timeout(the_server), 60);
    fake_set_clock((fake_now_ms() - 90) * 1000);
    assert_int_equal(uds_echo_server_timeout(the_server), 100);
    leave(the_server, 1);
}

/* While the clock fails nobody becomes idle, however many steps there are. */
static void no_step_is_a_millisecond_to_those_served(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    int i;
    (void)state;
    desc.idle_ms = 50;
    the_server = serve(desc);
    peers[0] = joined(the_server);
    fail_next(FAKE_clock_gettime, 0, 1000000, EINVAL);
    for (i = 0; i < 200; i++) assert_int_equal(uds_echo_server_step(the_server, 0), UDS_ECHO_OK);
    fake.before = NULL;
    assert_int_equal(ended, 0);
    leave(the_server, 1);
}

static uds_echo_conn *the_other;

static uds_echo_verdict reply_to_the_other(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)user;
    calls_of[uds_echo_conn_id(conn) & 0xffffffff]++;
    if (conn == the_other) return m->data[0] == '?' ? UDS_ECHO_DEFER : UDS_ECHO_NO_REPLY;
    assert_int_equal(uds_echo_conn_send(the_other, "!", 1), UDS_ECHO_OK);
    return UDS_ECHO_NO_REPLY;
}

/* An event that a step left may be of a connection that got its reply meanwhile and has input in line: that comes first,
   and nothing more is read. */
static void an_event_of_one_in_line(void **state)
{
    uds_echo_server *server = flooded(0, 1);
    (void)state;
    server->desc.on_message = reply_to_the_other;
    peers[0] = joined(server);
    peers[1] = joined(server);
    the_other = &server->conns[1];
    say(peers[1], "?\n2\n3\n4\n5\n");
    settle(server);
    assert_int_equal(calls_of[1], 1);
    say(peers[0], "go\n");
    say(peers[1], "6\n");
    while (calls_of[1] < 4) {
        assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
        assert_int_equal(stats_of(server).bytes_in, 13);
    }
    settle(server);
    assert_int_equal(calls_of[1], 6);
    leave(server, 2);
}

static uds_echo_verdict close_the_other(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)m, (void)user;
    if (uds_echo_conn_id(conn) == uds_echo_conn_id(&the_server->conns[2])) uds_echo_conn_close(the_other);
    return UDS_ECHO_NO_REPLY;
}

/* One in line that is closed ends in that step, though the step hands over no more. */
static void one_in_line_is_closed_at_once(void **state)
{
    static char flood[600];
    int i, warm;
    char byte;
    (void)state;
    memset(flood, '\n', sizeof flood);
    for (warm = 4; warm <= 7; warm++) {
        uds_echo_server *server;
        (void)setup(NULL);
        server = flooded(0, 4);
        server->desc.on_message = close_the_other;
        for (i = 0; i < 3; i++) peers[i] = joined(server);
        the_other = &server->conns[1];
        for (i = 0; i < 2; i++) assert_int_equal(fake_peer_send(peers[i], flood, sizeof flood), sizeof flood);
        for (i = 0; i < warm; i++) assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
        say(peers[2], "\n\n");
        assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
        assert_int_equal(fake_peer_recv(peers[1], &byte, 1), 0);
        leave(server, 3);
        (void)teardown(NULL);
    }
}

static void drain_it(uds_echo_server *server, void *user)
{
    (void)user;
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
}

/* Who has been told to stop now does not drain, whatever is asked for later. */
static void a_drain_does_not_undo_a_stop(void **state)
{
    uds_echo_server *server = flooded(3, 0);
    (void)state;
    server->desc.on_wake = drain_it;
    uds_echo_server_stop(server, UDS_ECHO_STOP_NOW);
    uds_echo_server_wake(server);
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_ERR_STOPPED);
    leave(server, 3);
}

/* A drain begins within 64 messages of being asked for, and so does its next phase when the time has come. */
static void the_phases_of_a_drain_begin_in_time(void **state)
{
    uds_echo_server *server = flooded(250, 0);
    long long until;
    (void)state;
    server->desc.drain_ms = 60000;
    server->desc.on_message = echo_and_stop;
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    assert_in_range(handled, 10, 10 + 64);
    assert_int_equal(server->phase, UE_GRACE);
    until = server->grace_until;
    server->desc.on_message = count_it;
    takes_ms = 10;
    while (server->phase == UE_GRACE) assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    assert_in_range(fake_now_ms(), until, until + 64 * takes_ms);
    leave(server, 250);
}

/* What a slow reader has let through is sent at most sixteen times a step, and not tried in vain. */
static void a_reader_that_catches_up_is_not_all(void **state)
{
    enum { PUSH = 5000, PUSHES = 100 };
    static const struct {
        size_t queue;
        unsigned long sends;
    } rows[] = {{PUSH + PUSH / 2 - 500, 2}, {PUSHES / 2 * PUSH, UE_READS}};
    static char push[PUSH], rest[PUSHES * PUSH];
    size_t k;
    (void)state;
    for (k = 0; k < 2; k++) {
        uds_echo_server_desc desc = plain_desc();
        unsigned long sends;
        int i;
        (void)setup(NULL);
        memset(push, 'p', sizeof push);
        fake.queue_bytes = rows[k].queue;
        desc.message_max = 1 << 20;
        the_server = serve(desc);
        peers[0] = joined(the_server);
        for (i = 0; i < PUSHES; i++)
            assert_int_equal(uds_echo_conn_send(&the_server->conns[0], push, PUSH), UDS_ECHO_OK);
        settle(the_server);
        assert_int_equal(fake_peer_recv(peers[0], rest, sizeof rest), rows[k].queue);
        sends = fake_calls_of(FAKE_send);
        assert_int_equal(uds_echo_server_step(the_server, 0), UDS_ECHO_OK);
        assert_int_equal(fake_calls_of(FAKE_send) - sends, rows[k].sends);
        leave(the_server, 1);
        (void)teardown(NULL);
    }
}

/* Short pushes to a slow reader share blocks. */
static void short_pushes_share_blocks(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    unsigned long blocks;
    int i;
    (void)state;
    fake.queue_bytes = 1;
    desc.message_max = 4096;
    the_server = serve(desc);
    peers[0] = joined(the_server);
    for (i = 0; i < 3; i++) assert_int_equal(uds_echo_conn_send(&the_server->conns[0], "xy", 2), UDS_ECHO_OK);
    blocks = fake_calls_of(FAKE_malloc);
    for (i = 0; i < 1000; i++) assert_int_equal(uds_echo_conn_send(&the_server->conns[0], "xy", 2), UDS_ECHO_OK);
    assert_int_equal(fake_calls_of(FAKE_malloc) - blocks, 0);
    leave(the_server, 1);
}

static uds_echo_verdict reply_slowly(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)user;
    handled++;
    if (conn == the_other) return m->data[0] == '?' ? UDS_ECHO_DEFER : UDS_ECHO_REPLY;
    assert_int_equal(uds_echo_conn_send(the_other, "!", 1), UDS_ECHO_OK);
    fake_sleep(150);
    return UDS_ECHO_REPLY;
}

/* Nor is one whose deferred reply was given in a step that is used up, and took long. */
static void who_got_its_reply_as_a_step_ended_is_not_idle(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    (void)state;
    handled = 0;
    desc.step_messages = 1;
    desc.idle_ms = 100;
    desc.frame = lines;
    desc.on_message = reply_slowly;
    the_server = serve(desc);
    peers[0] = joined(the_server);
    peers[1] = joined(the_server);
    the_other = &the_server->conns[1];
    say(peers[1], "?\n2\n");
    settle(the_server);
    assert_int_equal(handled, 1);
    say(peers[0], "go\n");
    settle(the_server);
    assert_int_equal(handled, 3);
    assert_int_equal(ended, 0);
    assert_string_equal(heard(peers[1]), "!2\n");
    leave(the_server, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(turns_and_steps_are_bounded),
        TEST(one_among_flooders),
        TEST(a_stop_is_heard_in_time),
        TEST(what_was_read_as_a_step_ended),
        TEST(a_stop_among_those_in_line),
        TEST(a_stop_behind_events_that_were_left),
        TEST(an_event_of_a_listener_that_went),
        TEST(a_drain_ends_in_time),
        TEST(an_end_behind_whole_messages),
        TEST(a_wake_within_a_turn),
        TEST(a_push_moves_nothing),
        TEST(pushes_over_many_blocks),
        TEST(memory_max_is_a_cap),
        TEST(who_waits_for_its_turn_is_not_idle),
        TEST(who_had_its_turn_is_idle_from_then_on),
        TEST(a_second_flood_is_bounded_too),
        TEST(a_slow_reader_with_more_input_is_idle),
        TEST(a_step_without_a_line_is_whole),
        TEST(half_of_a_step_is_for_those_in_line),
        TEST(a_step_that_is_used_up_reads_no_more),
        TEST(behind_a_deferred_reply_nothing_is_read),
        TEST(the_timeout_after_a_step_that_is_used_up),
        TEST(the_timeout_follows_the_clock),
        TEST(no_step_is_a_millisecond_to_those_served),
        TEST(an_event_of_one_in_line),
        TEST(one_in_line_is_closed_at_once),
        TEST(who_got_its_reply_as_a_step_ended_is_not_idle),
        TEST(a_drain_does_not_undo_a_stop),
        TEST(the_phases_of_a_drain_begin_in_time),
        TEST(a_reader_that_catches_up_is_not_all),
        TEST(short_pushes_share_blocks),
    };
    return cmocka_run_group_tests_name("turns", tests, NULL, NULL);
}
