/* A fuzz target that never returns: libFuzzer's -timeout. */
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    volatile int forever = 1;
    (void)data, (void)size;
    while (forever) continue;
    return 0;
}
