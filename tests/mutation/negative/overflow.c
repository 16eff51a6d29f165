/* One byte past the end of a block: AddressSanitizer. */
#include <stdlib.h>

int main(int argc, char **argv)
{
    volatile char *block = (volatile char *)malloc(8);
    (void)argv;
    if (!block) return 0;
    block[7 + argc] = 1;
    free((void *)block);
    return 0;
}
