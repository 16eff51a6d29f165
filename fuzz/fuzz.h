/* fuzz.h - what the fuzz targets have in common: the header over the fake kernel, the oracle's voice, and how an input
   is read. Include it first.

   A target is one function, LLVMFuzzerTestOneInput(), and nothing else that an engine would have to know: libFuzzer and
   AFL++ are chosen by flags, and fuzz/replay.c calls it under any compiler. It never exits and leaves
   nothing behind. */
#ifndef FUZZ_H
#define FUZZ_H

#include "fake_kernel.h"

#define UDS_ECHO_SYS(fn) fake_##fn
#define UDS_ECHO_IMPLEMENTATION
#include "uds_echo.h"

#include <stdint.h>
#include <stdio.h>

#if defined(__GNUC__)
#define MAY_BE_UNUSED __attribute__((unused))
#else
#define MAY_BE_UNUSED
#endif

/* What only judges is not explored: in a function with this in front an engine counts nothing, and is the faster for
   it. */
#if defined(__clang__) && __clang_major__ >= 13
#define ORACLE __attribute__((no_sanitize("coverage"), noinline)) MAY_BE_UNUSED
#else
#define ORACLE MAY_BE_UNUSED
#endif

#define PATH "/w/sock"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Not assert(): a build without assertions would find nothing. */
#define CHECK(holds, what) ((holds) ? (void)0 : fuzz_broken(what))

ORACLE static void fuzz_broken(const char *what)
{
    (void)fprintf(stderr, "oracle: %s (call %lu)\n", what, fake_calls());
    abort();
}

/* The laws that the fake kernel itself watches over: call it after every step. */
ORACLE static void fuzz_lawful(void)
{
    if (!fake_violations()) return;
    (void)fprintf(stderr, "fake kernel: %s\n", fake_violation(0));
    abort();
}

/* The process ends: nothing may be open or allocated. */
ORACLE static void fuzz_finish(void)
{
    fake_finish();
    fuzz_lawful();
}

/* By these tables a byte of an input becomes an enumerator. The last verdict is none: the contract broken. */
MAY_BE_UNUSED static const uds_echo_verdict fuzz_verdicts[5] = {UDS_ECHO_REPLY, UDS_ECHO_NO_REPLY, UDS_ECHO_DEFER,
                                                                UDS_ECHO_REPLY_AND_CLOSE, (uds_echo_verdict)4};

/* Faults, and what they excuse: only what did happen, and fatal is only what cannot be tried again. */
MAY_BE_UNUSED static unsigned long fuzz_fault_at, fuzz_strikes; /* strikes: those that are accounted for */
MAY_BE_UNUSED static int fuzz_fault_which, fuzz_fatal[FAKE_CALL_COUNT], fuzz_fatal_any;
MAY_BE_UNUSED static int fuzz_hit[FAKE_CALL_COUNT], fuzz_hits; /* how often, fatal or not */
MAY_BE_UNUSED static int
    fuzz_denied; /* a call said of a queue that is not empty that it is, or of a file that there is none */

/* Nothing ran out: the same call works at the next try. One connection that was aborted says nothing of the others. */
ORACLE static int fuzz_is_tried_again(fake_call what, int os_error)
{
    const int accepts = what == FAKE_accept || what == FAKE_accept4;
    if (accepts && (os_error == ECONNABORTED || os_error == EPROTO)) return 1;
    return os_error == EINTR || os_error == EAGAIN;
}

/* What a sandbox refuses, FAKE_CALL_COUNT: nothing; and how often it did, as far as that is accounted for. */
MAY_BE_UNUSED static fake_call fuzz_refused = FAKE_CALL_COUNT;
MAY_BE_UNUSED static unsigned long fuzz_refusals;

ORACLE static void fuzz_refusal_note(void)
{
    const unsigned long fresh = fake_refusals() - fuzz_refusals;
    if (!fresh) return;
    fuzz_hit[fuzz_refused] += (int)fresh;
    fuzz_hits += (int)fresh;
    fuzz_fatal[fuzz_refused] = fuzz_fatal_any = 1;
    fuzz_strikes += fresh;
    fuzz_refusals += fresh;
}

/* What struck since the last look is accounted for. */
ORACLE static void fuzz_fault_note(void)
{
    const unsigned long now = fake_strikes();
    fake_call what = fuzz_fault_at ? fake_call_at(fuzz_fault_at) : FAKE_CALL_COUNT;
    int count = 0, os_error;
    fuzz_refusal_note();
    if (what != FAKE_CALL_COUNT && now != fuzz_strikes) {
        while (fake_errors_of(what)[count]) count++;
        os_error = fake_errors_of(what)[fuzz_fault_which % count];
        fuzz_hit[what] += (int)(now - fuzz_strikes);
        fuzz_hits += (int)(now - fuzz_strikes);
        if (!fuzz_is_tried_again(what, os_error)) fuzz_fatal[what] = fuzz_fatal_any = 1;
        fuzz_denied |= (what == FAKE_accept || what == FAKE_accept4) && (os_error == EAGAIN || os_error == EINVAL);
        fuzz_denied |= (what == FAKE_fstatat || what == FAKE_unlinkat) && os_error == ENOENT;
    }
    fuzz_strikes = now;
}

/* And nothing strikes from now on. */
ORACLE static void fuzz_fault_settle(void)
{
    fuzz_fault_note();
    fake_fault(0, 0, 0);
    fuzz_fault_at = 0;
}

/* The call that comes after so many others fails; the upper half of which: where that is for want of something, until a
   descriptor is closed. One fault at a time is armed. */
ORACLE static void fuzz_fault(unsigned after, int which)
{
    fuzz_fault_settle();
    fuzz_fault_at = fake_calls() + after + 1;
    fuzz_fault_which = which;
    fake_fault_any(fuzz_fault_at, which, which & 8 ? FAKE_UNTIL_CLOSE : 0);
}

/* A sandbox forgets what it refused. */
ORACLE static void fuzz_allow(void)
{
    fuzz_fault_note();
    if (fuzz_refused < FAKE_CALL_COUNT) fake_refuse(fuzz_refused, 0);
    fuzz_refused = FAKE_CALL_COUNT;
}

/* From now on a sandbox refuses this call, and no other; with which errno says the lowest two bits of how. */
ORACLE static void fuzz_refuse(fake_call what, unsigned how)
{
    static const int refusals[] = {EPERM, ENOSYS, EACCES, EOPNOTSUPP};
    fuzz_allow();
    fuzz_refused = what;
    fake_refuse(what, refusals[how % 4]);
}

/* A fault explains the end of this descriptor's connection, and of no other. */
ORACLE static int fuzz_struck(int fd)
{
    const int os_error = fake_struck(fd);
    return os_error && os_error != EINTR && os_error != EAGAIN;
}

/* Whoever does nothing only asks the clock, and waits. */
ORACLE static unsigned long fuzz_calls_of_work(void)
{
    return fake_calls() - fake_calls_of(FAKE_clock_gettime) - fake_calls_of(FAKE_epoll_wait) - fake_calls_of(FAKE_poll);
}

/* A step, and how often by now one had nothing to do, though something was due at once before it, and is again. Where
   calls take time, what is due at the next look at the clock need not be at this one. */
ORACLE static uds_echo_error fuzz_step(uds_echo_server *server, int timeout_ms, int *in_vain)
{
    const unsigned long before = fuzz_calls_of_work();
    const unsigned long long messages = server->stats.messages;
    const int due = uds_echo_server_timeout(server), faults = fuzz_hits;
    const uds_echo_error error = uds_echo_server_step(server, timeout_ms);
    fuzz_fault_note();
    if (due || error || fake.calls_per_ms || faults != fuzz_hits || fuzz_calls_of_work() != before ||
        server->stats.messages != messages)
        *in_vain = 0;
    else if (!uds_echo_server_timeout(server)) ++*in_vain;
    CHECK(*in_vain < 3, "it spins");
    return error;
}

/* Before each run. */
ORACLE static void fuzz_begin(void)
{
    fake_reset();
    memset(fuzz_fatal, 0, sizeof fuzz_fatal);
    memset(fuzz_hit, 0, sizeof fuzz_hit);
    fuzz_fatal_any = fuzz_hits = fuzz_denied = 0;
    fuzz_fault_at = fuzz_strikes = fuzz_refusals = 0;
    fuzz_refused = FAKE_CALL_COUNT;
}

/* An input is read from its beginning; where it is used up it goes on with zeroes, and zero is benign everywhere. */
typedef struct fuzz_input {
    const uint8_t *at;
    size_t left;
} fuzz_input;

MAY_BE_UNUSED static unsigned char fuzz_byte(fuzz_input *in)
{
    if (!in->left) return 0;
    in->left--;
    return *in->at++;
}

/* A listening socket of the process itself, for what needs no claim of a path. */
MAY_BE_UNUSED static int fuzz_listener(const char *path, int backlog)
{
    struct sockaddr_un un;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
    int fd = fake_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    memset(&un, 0, sizeof un);
    un.sun_family = AF_UNIX;
    memcpy(un.sun_path, path, strlen(path));
    if (fake_bind(fd, (struct sockaddr *)&un, size) || fake_listen(fd, backlog)) abort();
    return fd;
}

/* What goes through connections: every offset of every stream looks different. */
ORACLE static void fuzz_pattern(unsigned char *bytes, size_t size, size_t offset, unsigned stream)
{
    size_t i;
    for (i = 0; i < size; i++) bytes[i] = (unsigned char)((offset + i) * 37 + (offset + i) / 256 + stream * 11 + 1);
}

#endif
