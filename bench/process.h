/* process.h - what a process took of the machine, seen from outside; 0 where the system does not tell. */

#ifndef PROCESS_H
#define PROCESS_H

#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <time.h>

static inline uint64_t nanoseconds(clockid_t clock)
{
    struct timespec t = {0, 0};
    (void)clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

/* The processor's time that all its threads took together, in nanoseconds; not that of its children. */
static inline uint64_t process_cpu(long pid)
{
    clockid_t clock;
    if (!pid || clock_getcpuclockid((pid_t)pid, &clock)) return 0;
    return nanoseconds(clock);
}

/* How long its first thread was ready to run and had no core, in nanoseconds: others had it. */
static inline uint64_t process_waited(long pid)
{
    char path[64];
    unsigned long long ran, waited = 0;
    FILE *file;
    (void)snprintf(path, sizeof path, "/proc/%ld/schedstat", pid);
    file = fopen(path, "re");
    if (!file) return 0;
    if (fscanf(file, "%llu %llu", &ran, &waited) != 2) waited = 0;
    (void)fclose(file);
    return waited;
}

/* Its memory that is resident, in KiB. smaps_rollup is exact; VmRSS of proc(5) may be late by some pages a core. */
static inline long process_resident(long pid)
{
    char path[64], line[256];
    long kib = 0;
    FILE *file;
    (void)snprintf(path, sizeof path, "/proc/%ld/smaps_rollup", pid);
    file = fopen(path, "re");
    if (!file) return 0;
    while (!kib && fgets(line, sizeof line, file)) (void)sscanf(line, "Rss: %ld", &kib);
    (void)fclose(file);
    return kib;
}

#endif
