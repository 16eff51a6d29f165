/* replay.c - runs a fuzz target on files and folders of inputs, under any compiler.

       replay [--hash] [--least N] [--calls N] FILE|FOLDER ...

   --least N: fewer inputs are a failure. --calls N: so are inputs that do nothing, by the median of the calls that the fake
   kernel saw. The processor time is told only where it can be compared: optimised, and without a sanitizer. --hash: prints
   the sum of the trace hashes of the fake kernel, which is the same wherever the header does the same: with every compiler
   and machine, run twice, and in any order (both is checked). */
#define _GNU_SOURCE 1
#include "fake_kernel.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer) || __has_feature(thread_sanitizer)
#define SLOW 1
#endif
#endif
#if !defined(__OPTIMIZE__) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOW 1
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUTS_MAX = 65536, INPUT_MAX = 1 << 20 };

static char *paths[INPUTS_MAX];
static size_t sizes[INPUTS_MAX];
static unsigned long calls[INPUTS_MAX], waits[INPUTS_MAX], connections[INPUTS_MAX];
static size_t inputs;

/* 1: it could not be read. */
static int collect(const char *path)
{
    char inside[4096];
    struct dirent *entry;
    DIR *folder = opendir(path);
    int failed = 0;
    if (!folder) {
        if (inputs == INPUTS_MAX) return 1;
        paths[inputs++] = strdup(path);
        return 0;
    }
    while ((entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] == '.') continue;
        (void)snprintf(inside, sizeof inside, "%s/%s", path, entry->d_name);
        failed |= collect(inside);
    }
    (void)closedir(folder);
    return failed;
}

/* The input is in memory of its own, exactly as long: a sanitizer sees a byte too far. */
static int replay(size_t n)
{
    static uint8_t bytes[INPUT_MAX];
    uint8_t *exact;
    FILE *file = fopen(paths[n], "rb");
    if (!file) return perror(paths[n]), 1;
    sizes[n] = fread(bytes, 1, sizeof bytes, file);
    (void)fclose(file);
    exact = (uint8_t *)malloc(sizes[n] ? sizes[n] : 1);
    if (!exact) return 1;
    memcpy(exact, bytes, sizes[n]);
    fake_reset(); /* also where the target refuses the input */
    (void)LLVMFuzzerTestOneInput(exact, sizes[n]);
    calls[n] = fake_calls();
    waits[n] = fake_calls_of(FAKE_epoll_wait) + fake_calls_of(FAKE_poll);
    connections[n] = fake_connections();
    free(exact);
    return 0;
}

/* Forwards, or backwards: nothing may be left from one input to the next. */
static int replay_all(int backwards, unsigned long long *hash)
{
    size_t i;
    int failed = 0;
    for (i = 0; i < inputs; i++) {
        failed |= replay(backwards ? inputs - 1 - i : i);
        *hash += fake_trace_hash();
    }
    return failed;
}

static int by_size(const void *a, const void *b)
{
    const size_t *x = (const size_t *)a, *y = (const size_t *)b;
    return *x < *y ? -1 : *x > *y;
}

static int by_count(const void *a, const void *b)
{
    const unsigned long *x = (const unsigned long *)a, *y = (const unsigned long *)b;
    return *x < *y ? -1 : *x > *y;
}

static unsigned long median(unsigned long *counts)
{
    qsort(counts, inputs, sizeof counts[0], by_count);
    return counts[inputs / 2];
}

int main(int argc, char **argv)
{
    unsigned long long hash = 0, again = 0;
    unsigned long least = 1, calls_least = 0, calls_median;
    int i, failed = 0, wants_hash = 0;
    for (i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--hash")) wants_hash = 1;
        else if (!strcmp(argv[i], "--least") && i + 1 < argc) least = strtoul(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--calls") && i + 1 < argc) calls_least = strtoul(argv[++i], NULL, 10);
        else failed |= collect(argv[i]);
    }
    failed |= replay_all(0, &hash);
    if (wants_hash) failed |= replay_all(1, &again);
    if (wants_hash && hash != again) failed = 1, (void)printf("not deterministic: the order of inputs matters\n");
    if (inputs < least) failed = 1, (void)printf("only %lu inputs, but there were %lu\n", (unsigned long)inputs, least);
    calls_median = median(calls);
    if (calls_median < calls_least) {
        failed = 1;
        (void)printf("inputs that do little: %lu calls at the median, and there should be %lu\n", calls_median,
                     calls_least);
    }
    if (wants_hash) (void)printf("%016llx\n", hash);
    qsort(sizes, inputs, sizeof sizes[0], by_size);
    (void)printf("# %lu inputs replayed; medians: %lu bytes, %lu connections, %lu waits, %lu calls of the kernel",
                 (unsigned long)inputs, (unsigned long)sizes[inputs / 2], median(connections), median(waits),
                 calls_median);
#ifndef SLOW
    (void)printf("; %lu ms", (unsigned long)((double)clock() * 1000 / CLOCKS_PER_SEC));
#endif
    (void)printf("\n");
    while (inputs > 0) free(paths[--inputs]);
    return failed;
}
