/* test_limits.c - what docs/limits.md says of the system's limits: each figure there is printed here, and what it means
   is asserted. */
#include "os.h"

static long sysctl_number(const char *path)
{
    FILE *f = fopen(path, "r");
    long number = -1;
    if (!f) return -1;
    if (fscanf(f, "%ld", &number) != 1) number = -1;
    (void)fclose(f);
    return number;
}

/* ---- backlog ----------------------------------------------------------------------------------------------------- */

/* How many connections the kernel queues before one is told to wait. */
static int queued(int backlog)
{
    enum { MOST = 6000 };
    static int fds[MOST];
    int listener = os_listen(os.path, SOCK_STREAM, backlog), count, i;
    struct sockaddr_un to;
    socklen_t size = os_address(&to, os.path);
    assert_true(listener >= 0);
    for (count = 0; count < MOST; count++) {
        fds[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fds[count] < 0 || connect(fds[count], (struct sockaddr *)&to, size)) break;
    }
    for (i = 0; i <= count && i < MOST; i++)
        if (fds[i] >= 0) (void)close(fds[i]);
    (void)close(listener);
    assert_int_equal(unlink(os.path), 0);
    return count;
}

static void a_queue_holds_one_more_than_the_backlog(void **state)
{
    const int backlogs[] = {0, 1, 8, 100};
    long most = sysctl_number("/proc/sys/net/core/somaxconn");
    struct rlimit limit;
    int i, full;
    (void)state;
    for (i = 0; i < 4; i++)
        if (most < 0 || backlogs[i] <= most) os_exactly("connections queued", queued(backlogs[i]), backlogs[i] + 1.0);
    if (most < 0 || most > 5000) return;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_max < (rlim_t)most + 100) return; /* fewer descriptors than it takes to fill the queue */
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    full = queued(100000);
    print_message("# backlog 100000 with net.core.somaxconn %ld: %d queued\n", most, full);
    os_exactly("connections queued", full, (double)most + 1);
}

/* ---- socket buffers ---------------------------------------------------------------------------------------------- */

typedef struct filled {
    size_t sends, bytes;
    int buffer; /* what getsockopt() says */
} filled;

/* What a socket takes while nobody reads, in sends of that size. */
static filled fill(int send_buffer, int receive_buffer, size_t piece)
{
    static char block[1 << 16];
    filled f = {0, 0, 0};
    socklen_t size = sizeof f.buffer;
    int ends[2];
    ssize_t n;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    if (send_buffer) (void)setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer);
    if (receive_buffer) (void)setsockopt(ends[1], SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    assert_int_equal(getsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &f.buffer, &size), 0);
    while ((n = send(ends[0], block, piece, MSG_NOSIGNAL)) > 0) {
        f.sends++;
        f.bytes += (size_t)n;
    }
    (void)close(ends[0]);
    (void)close(ends[1]);
    return f;
}

static void the_senders_buffer_counts_and_short_sends_cost_most(void **state)
{
    const size_t pieces[] = {1, 64, 1024, 4096, 65536};
    const int buffers[] = {0, 4096, 65536, 1 << 20};
    filled small, large;
    size_t i;
    int k;
    (void)state;
    for (k = 0; k < 4; k++) {
        print_message("# SO_SNDBUF %d is %d:", buffers[k], fill(buffers[k], 0, 1).buffer);
        for (i = 0; i < sizeof pieces / sizeof *pieces; i++) {
            filled f = fill(buffers[k], 0, pieces[i]);
            print_message(" %zu x %zu B,", f.sends, pieces[i]);
        }
        print_message(" before it is full\n");
    }
    os_exactly("of SO_SNDBUF 65536, twice", fill(65536, 0, 1).buffer, 2 * 65536);
    small = fill(0, 0, 1);
    large = fill(0, 0, 4096);
    os_at_least("times the bytes in sends of 4096", (double)large.bytes / (double)small.bytes, 100);
    os_exactly("bytes with a receive buffer of 4096", (double)fill(0, 4096, 4096).bytes, (double)large.bytes);
    os_exactly("bytes with a receive buffer of 1 MiB", (double)fill(0, 1 << 20, 4096).bytes, (double)large.bytes);
    if (sysctl_number("/proc/sys/net/core/wmem_max") >= fill(0, 0, 1).buffer) /* it is set to twice what is asked */
        os_at_least("bytes with twice the send buffer", (double)fill(fill(0, 0, 1).buffer, 0, 4096).bytes,
                    1.5 * (double)large.bytes);
}

/* ---- memory of the server ---------------------------------------------------------------------------------------- */

static void an_idle_connection_costs_its_slot(void **state)
{
    (void)state;
    print_message("# a slot: %zu bytes; the server itself: %zu\n", sizeof(struct uds_echo_conn),
                  sizeof(uds_echo_server));
    os_at_most("bytes of a slot", (double)sizeof(struct uds_echo_conn), 64);
    os_at_most("bytes of a server", (double)sizeof(uds_echo_server), 8192);
}

/* Those that never read, of all sizes of message_max: what is held for them stays under what the page says. */
static void what_is_held_stays_under_the_bound(void **state)
{
    enum { CLIENTS = 8 };
    static char block[1 << 16];
    const long sizes[] = {1000, 4096, 65536};
    int i, k;
    (void)state;
    for (i = 0; i < 3; i++) {
        uds_echo_server_desc desc;
        uds_echo_server *server;
        uds_echo_stats stats;
        int fds[CLIENTS], tries;
        double bound;
        memset(&desc, 0, sizeof desc);
        desc.message_max = sizes[i];
        bound = (int)CLIENTS * (2.0 * (double)sizes[i] + (int)UE_BLOCK);
        server = os_open(&desc);
        for (k = 0; k < CLIENTS; k++) fds[k] = os_connect();
        for (tries = 0; tries < 60; tries++) {
            for (k = 0; k < CLIENTS; k++) (void)send(fds[k], block, sizeof block, MSG_DONTWAIT | MSG_NOSIGNAL);
            os_settle(server);
        }
        uds_echo_server_stats(server, &stats);
        os_at_least("bytes held", (double)stats.pending_peak, 1);
        os_at_most("bytes held", (double)stats.pending_peak, bound);
        for (k = 0; k < CLIENTS; k++) (void)close(fds[k]);
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    }
}

/* ---- descriptors ------------------------------------------------------------------------------------------------- */

static void a_server_takes_a_few_descriptors_and_one_a_connection(void **state)
{
    int before = os_open_descriptors(), bare, fds[10], i;
    uds_echo_server *server = os_open(NULL);
    (void)state;
    bare = os_open_descriptors() - before;
    print_message("# descriptors of a server: %d\n", bare);
    os_at_most("descriptors of a server", bare, UDS_ECHO_HAVE_EVENTFD ? 4 : 9);
    for (i = 0; i < 10; i++) fds[i] = os_connect();
    os_settle(server);
    os_exactly("descriptors for ten connections, both ends", os_open_descriptors() - before - bare, 20);
    for (i = 0; i < 10; i++) (void)close(fds[i]);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    os_exactly("descriptors in the end", os_open_descriptors(), before);
}

/* ---- the published name ------------------------------------------------------------------------------------------ */

/* The path under which the system lists the socket. */
static int is_listed(const char *path)
{
    char line[512];
    int found = 0;
    FILE *f = fopen("/proc/net/unix", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        char *at = strchr(line, '/');
        line[strcspn(line, "\n")] = '\0';
        found += at && !strcmp(at, path);
    }
    (void)fclose(f);
    return found;
}

static void p43_what_lists_sockets_by_path_sees_the_bound_name(void **state)
{
    uds_echo_server_desc desc;
    uds_echo_server *server;
    char staged[128];
    int how, cases = 0;
    (void)state;
    (void)snprintf(staged, sizeof staged, "%s~0", os.path);
    for (how = 0; how < 4; how++) {
        memset(&desc, 0, sizeof desc);
        desc.publish = how & 1 ? UDS_ECHO_PUBLISH_DIRECT : UDS_ECHO_PUBLISH_ATOMIC;
        if (how & 2) os_make_stale(os.path);
        server = os_open(&desc);
        assert_int_equal(is_listed(os.path), how & 1);
        assert_int_equal(is_listed(staged), !(how & 1));
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
        cases++;
    }
    OS_CASES(cases, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OS_TEST(a_queue_holds_one_more_than_the_backlog),
        OS_TEST(the_senders_buffer_counts_and_short_sends_cost_most),
        OS_TEST(an_idle_connection_costs_its_slot),
        OS_TEST(what_is_held_stays_under_the_bound),
        OS_TEST(a_server_takes_a_few_descriptors_and_one_a_connection),
        OS_TEST(p43_what_lists_sockets_by_path_sees_the_bound_name),
    };
    return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
