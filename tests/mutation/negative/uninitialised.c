/* A decision on what was never written: MemorySanitizer. */
#include <stdlib.h>

int main(void)
{
    volatile int *block = (volatile int *)malloc(2 * sizeof *block);
    int decided = 0;
    if (!block) return 0;
    block[0] = 1;
    if (block[1] == 5) decided = 1;
    free((void *)block);
    return decided;
}
