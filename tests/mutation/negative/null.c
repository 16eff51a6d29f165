/* NULL is followed after it was asked for: the static analysers. */
#include <stddef.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    int *place = argc > 1 ? (int *)malloc(sizeof *place) : NULL;
    (void)argv;
    if (!place) *place = 1;
    free(place);
    return 0;
}
