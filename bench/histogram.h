/* histogram.h - how often each duration occurred, in buckets that are a fixed share of a duration wide (as in an HDR
   histogram): small, quick to fill, and as exact for microseconds as for seconds. */

#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
    SUB_BITS = 8, /* a bucket is 1/256 of a power of two wide: at most 0.4 % of what it holds */
    BUCKETS = 64 << SUB_BITS
};

typedef struct histogram {
    uint64_t bucket[BUCKETS], total, slowest; /* slowest: ns */
} histogram;

static inline void histogram_clear(histogram *h)
{
    memset(h, 0, sizeof *h);
}

static inline void histogram_record(histogram *h, uint64_t ns)
{
    unsigned top = 63U - (unsigned)__builtin_clzll(ns | (1U << SUB_BITS));
    h->bucket[((uint64_t)(top - SUB_BITS) << SUB_BITS) + (ns >> (top - SUB_BITS))]++;
    h->total++;
    if (ns > h->slowest) h->slowest = ns;
}

/* The middle of a bucket, in nanoseconds. */
static inline double histogram_value(unsigned i)
{
    if (i < 2U << SUB_BITS) return i;
    return ldexp((i % (1U << SUB_BITS)) + (1U << SUB_BITS) + 0.5, (int)(i >> SUB_BITS) - 1);
}

/* The middle of the bucket that holds this share of what was recorded, in microseconds. */
static inline double histogram_percentile(const histogram *h, double share)
{
    uint64_t seen = 0;
    unsigned i;
    double ns;
    for (i = 0; i < BUCKETS - 1; i++) {
        seen += h->bucket[i];
        if ((double)seen >= share * (double)h->total) break;
    }
    ns = histogram_value(i);
    return (ns < (double)h->slowest ? ns : (double)h->slowest) / 1e3;
}

/* A line for each bucket that holds something: microseconds, and the share of all that took no longer. */
static inline void histogram_print(const histogram *h, FILE *file)
{
    uint64_t seen = 0;
    unsigned i;
    for (i = 0; i < BUCKETS; i++) {
        if (!h->bucket[i]) continue;
        seen += h->bucket[i];
        fprintf(file, "%.3f\t%.9f\n", histogram_value(i) / 1e3, (double)seen / (double)h->total);
    }
}

#endif
