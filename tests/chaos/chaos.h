/* chaos.h - what the driver, the servers and the clients of chaos.c share: a page of memory, and how to report. */

#ifndef CHAOS_H
#define CHAOS_H

#include "uds_echo.h"

#include <stdarg.h>

enum {
    WORKERS = 16,             /* processes with clients */
    CLIENTS = 24,             /* in each */
    MESSAGE_MAX = 256 * 1024, /* more than the kernel takes at once, so that answers are cut anywhere */
    NOTES = 16,               /* violations that are kept word for word */
    REFUSE_EVERY = 61         /* the server refuses each so-manieth connection */
};

/* X(name): what a client may do. */
#define BEHAVIOURS(X)                                                                                                  \
    X(GOOD) X(LATE_READER) X(NEVER_READS) X(HALF_CLOSE) X(RESET) X(ONE_BYTE) X(OOB) X(DESCRIPTORS) X(LEAVE) X(DEAF)

typedef enum behaviour {
#define AS_ENUM(name) name,
    BEHAVIOURS(AS_ENUM) BEHAVIOUR_COUNT
#undef AS_ENUM
} behaviour;

/* One mapping for all processes. Counters are only added to, atomically. */
typedef struct shared {
    unsigned epoch; /* even: a server is up and stays up; odd: it may end at any moment */
    int calm;       /* clients: close everything and open nothing */
    int trim;       /* server: give free memory back, set trimmed */
    int trimmed;
    unsigned long long verified, verified_bytes, excused, refused, violations;
    unsigned long long did[BEHAVIOUR_COUNT];
    char notes[NOTES][200];

    /* The server's own account; of one server at a time. */
    unsigned long long opened, welcomed, closed, handled, refusal_bytes;
    unsigned long long in_use, birth_in_use; /* bytes of malloc; 0: not known */
    int birth_fds;
    uds_echo_stats stats;
    int ready, ended_well;
} shared;

static shared *common;

static void add(unsigned long long *counter, unsigned long long n)
{
    (void)__atomic_add_fetch(counter, n, __ATOMIC_SEQ_CST);
}

static unsigned epoch_now(void)
{
    return __atomic_load_n(&common->epoch, __ATOMIC_SEQ_CST);
}

static int flag(int *at)
{
    return __atomic_load_n(at, __ATOMIC_SEQ_CST);
}

static void set_flag(int *at, int value)
{
    __atomic_store_n(at, value, __ATOMIC_SEQ_CST);
}

/* A broken law. */
__attribute__((format(printf, 1, 2))) static void violation(const char *format, ...)
{
    unsigned long long n = __atomic_fetch_add(&common->violations, 1, __ATOMIC_SEQ_CST);
    va_list list;
    if (n >= NOTES) return;
    va_start(list, format);
    (void)vsnprintf(common->notes[n], sizeof common->notes[n], format, list);
    va_end(list);
}

static unsigned long long mix(unsigned long long x)
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

/* A number below n, from a state that is one process's own. */
static unsigned long long below(unsigned long long *state, unsigned long long n)
{
    *state += 1;
    return mix(*state) % n;
}

#endif
