/* yardstick.c - how fast this machine is: an execution of known work under the engine and the sanitizers that the
   targets have. `run.sh smoke` asks each target for a share of this one's speed, so a slow machine fails no check. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned result; /* so that no compiler leaves the work out */

/* What a target does: blocks allocated, copied and freed, and steps that depend on what went before. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char table[256];
    unsigned state = size ? data[0] : 1;
    int block, step;

    memset(table, (int)(state & 255), sizeof table);
    for (block = 0; block < 16; block++) {
        size_t bytes = (size_t)64 << (block % 8);
        unsigned char *copy = malloc(bytes);

        if (!copy) return 0;
        memset(copy, block, bytes);
        for (step = 0; step < 256; step++) {
            state = state * 1664525u + 1013904223u;
            if (state >> 31) table[state & 255] = copy[step % 64];
            else table[step] = (unsigned char)(table[step] + (state & 255));
        }
        free(copy);
    }
    result = table[state & 255];
    return 0;
}
