/* trace.c - what a fuzz target makes of a fixed set of inputs, as one number: the hash of every call that the fake
   kernel saw. It is the same with every compiler and on every machine, or the header depends on something that it
   should not.

       trace             inputs of a fixed generator
       trace FILE ...    these

   Each input runs three times in this process, forwards, again, and in reverse order: nothing may be left of one that
   changes the next. Prints the number and how many inputs and calls went into it. */
#include "fake_kernel.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { GENERATED = 400, BYTES_MAX = 1 << 16, INPUTS_MAX = 20000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char **files;
static int count;
static unsigned long calls;

/* The nth input: a linear congruential generator's high bytes. Long and short ones, up to what a target still reads. */
static size_t generate(int n, uint8_t *bytes)
{
    uint32_t state = (uint32_t)n * 2654435761u + 1u;
    size_t size = 16 + (size_t)n % 31 * (size_t)n % 600, i;
    for (i = 0; i < size; i++) {
        state = state * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(state >> 24);
    }
    return size;
}

static size_t load(const char *path, uint8_t *bytes)
{
    FILE *file = fopen(path, "rb");
    size_t size;
    if (!file) return perror(path), (size_t)0;
    size = fread(bytes, 1, BYTES_MAX, file);
    (void)fclose(file);
    return size;
}

static uint64_t trace(int n)
{
    static uint8_t bytes[BYTES_MAX];
    size_t size = files ? load(files[n], bytes) : generate(n, bytes);
    fake_reset(); /* a target may refuse an input before it does this */
    (void)LLVMFuzzerTestOneInput(bytes, size);
    calls += fake_calls();
    return fake_trace_hash();
}

int main(int argc, char **argv)
{
    static uint64_t hashes[INPUTS_MAX];
    uint64_t all = 14695981039346656037u;
    int n, k, changed = 0;
    files = argc > 1 ? argv + 1 : NULL;
    count = argc > 1 ? argc - 1 : GENERATED;
    if (count > INPUTS_MAX) return fprintf(stderr, "trace: too many inputs\n"), 2;
    for (n = 0; n < count; n++) {
        hashes[n] = trace(n);
        for (k = 0; k < 64; k += 8) all = (all ^ (hashes[n] >> k & 255)) * 1099511628211u;
    }
    (void)printf("%016" PRIx64 " %d inputs %lu calls\n", all, count, calls);
    for (n = 0; n < count; n++) changed += trace(n) != hashes[n];
    for (n = count; n-- > 0;) changed += trace(n) != hashes[n];
    if (changed) (void)fprintf(stderr, "trace: %d inputs that another one before them changed\n", changed);
    return changed != 0;
}
