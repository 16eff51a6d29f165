/* floor_uring.c - what io_uring(7) would buy: an echo server on one thread that asks for everything by one system call a
   round. It uses the bare calls, no library.

   Each connection has a buffer of its own, and what was received is answered by two linked requests: send all of it, then
   receive again. SIGTERM ends it, and the socket file stays. Exit status 3: the system has no io_uring, or forbids it.

       cc -O2 -o floor_uring bench/floor_uring.c && ./floor_uring ./uds_socket */

#define _GNU_SOURCE 1
#include <errno.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/* The headers of Linux 5.10 lack these, and such a kernel answers with EINVAL. */
#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#endif
#ifndef IORING_RECVSEND_POLL_FIRST
#define IORING_RECVSEND_POLL_FIRST (1U << 0)
#endif
#ifndef IOSQE_CQE_SKIP_SUCCESS
#define IOSQE_CQE_SKIP_SUCCESS (1U << 6)
#endif

enum { BUFFER_BYTES = 65536, FDS_MAX = 32768, ENTRIES = 4096, COMPLETIONS = 65536 };
enum { ACCEPT, RECEIVE, SEND }; /* what was asked for, kept above the descriptor in user_data */

static char *buffers; /* one for each descriptor: pages that are not used cost nothing */

static int ring;
static unsigned *to_head, *to_tail, *to_array, *from_head, *from_tail, to_mask, from_mask, waiting;
static struct io_uring_sqe *requests;
static struct io_uring_cqe *results;

static int enter(unsigned wanted)
{
    long n = syscall(__NR_io_uring_enter, ring, waiting, wanted, IORING_ENTER_GETEVENTS, NULL, 0);
    if (n > 0) waiting -= (unsigned)n;
    return n < 0 && errno != EINTR && errno != EAGAIN && errno != EBUSY ? -1 : 0;
}

static void *map(size_t size, off_t what)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, what);
    return p == MAP_FAILED ? NULL : p;
}

/* The kernel's own offsets say where in the mapping everything is. */
static unsigned *at(void *base, unsigned offset)
{
    return (unsigned *)(void *)((char *)base + offset);
}

static int open_ring(void)
{
    struct io_uring_params p = {.flags = IORING_SETUP_CQSIZE | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
                                .cq_entries = COMPLETIONS};
    void *to, *from;
    ring = (int)syscall(__NR_io_uring_setup, ENTRIES, &p);
    if (ring < 0 && errno == EINVAL) { /* before Linux 6.1 */
        p.flags = IORING_SETUP_CQSIZE;
        ring = (int)syscall(__NR_io_uring_setup, ENTRIES, &p);
    }
    if (ring < 0) return -1;
    to = map(p.sq_off.array + p.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
    from = map(p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
    requests = map(p.sq_entries * sizeof(struct io_uring_sqe), (off_t)IORING_OFF_SQES);
    if (!to || !from || !requests) return -1;
    to_head = at(to, p.sq_off.head);
    to_tail = at(to, p.sq_off.tail);
    to_array = at(to, p.sq_off.array);
    to_mask = *at(to, p.sq_off.ring_mask);
    from_head = at(from, p.cq_off.head);
    from_tail = at(from, p.cq_off.tail);
    from_mask = *at(from, p.cq_off.ring_mask);
    results = (struct io_uring_cqe *)(void *)at(from, p.cq_off.cqes);
    return 0;
}

static void ask(unsigned what, int fd, unsigned size)
{
    static const unsigned char codes[] = {IORING_OP_ACCEPT, IORING_OP_RECV, IORING_OP_SEND};
    unsigned tail = *to_tail;
    struct io_uring_sqe *request = &requests[tail & to_mask];
    /* Linked requests are handed over together, or they are not linked. */
    while (tail - __atomic_load_n(to_head, __ATOMIC_ACQUIRE) + (what == SEND) > to_mask) (void)enter(0);
    memset(request, 0, sizeof *request);
    request->opcode = codes[what];
    request->fd = fd;
    request->user_data = (uint64_t)what << 32 | (unsigned)fd;
    if (what == ACCEPT) request->accept_flags = SOCK_CLOEXEC;
    else {
        request->addr = (uint64_t)(uintptr_t)(buffers + (size_t)fd * BUFFER_BYTES);
        request->len = size;
    }
    if (what == RECEIVE)
        request->ioprio = IORING_RECVSEND_POLL_FIRST; /* a peer that was just answered is not there yet */
    if (what == SEND) {
        request->msg_flags = MSG_NOSIGNAL | MSG_WAITALL;
        request->flags = IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS;
    }
    to_array[tail & to_mask] = tail & to_mask;
    __atomic_store_n(to_tail, tail + 1, __ATOMIC_RELEASE);
    waiting++;
}

/* A send is heard of only when it failed; the receive that is linked to it is then cancelled, and closes. */
static void on_result(unsigned what, int fd, int result)
{
    if (what == ACCEPT) {
        ask(ACCEPT, fd, 0);
        if (result >= FDS_MAX) (void)close(result);
        else if (result >= 0) ask(RECEIVE, result, BUFFER_BYTES);
    } else if (what == RECEIVE && result <= 0) {
        (void)close(fd);
    } else if (what == RECEIVE) {
        ask(SEND, fd, (unsigned)result);
        ask(RECEIVE, fd, BUFFER_BYTES);
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (argc != 2 || strlen(argv[1]) >= sizeof address.sun_path) return 2;
    memcpy(address.sun_path, argv[1], strlen(argv[1]) + 1);
    if (open_ring()) return 3;
    buffers = mmap(NULL, (size_t)FDS_MAX * BUFFER_BYTES, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (buffers == MAP_FAILED || listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) ||
        listen(listener, SOMAXCONN))
        return 1;
    ask(ACCEPT, listener, 0);
    for (;;) {
        unsigned head = *from_head;
        if (enter(1)) return 1;
        for (; head != __atomic_load_n(from_tail, __ATOMIC_ACQUIRE); head++) {
            struct io_uring_cqe result = results[head & from_mask];
            __atomic_store_n(from_head, head + 1, __ATOMIC_RELEASE);
            on_result((unsigned)(result.user_data >> 32), (int)(unsigned)result.user_data, result.res);
        }
    }
}
