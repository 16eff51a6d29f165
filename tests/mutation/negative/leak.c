/* A block that nobody frees: LeakSanitizer. */
#include <stdlib.h>

static void *volatile kept;

int main(void)
{
    kept = malloc(8);
    kept = NULL;
    return 0;
}
