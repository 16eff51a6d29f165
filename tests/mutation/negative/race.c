/* Two threads write one variable: ThreadSanitizer. */
#include <pthread.h>
#include <stddef.h>

static volatile int counter; /* each access is made: one alone may be missed */

static void *count(void *user)
{
    int i;
    (void)user;
    for (i = 0; i < 1000; i++) counter++;
    return NULL;
}

int main(void)
{
    pthread_t other;
    if (pthread_create(&other, NULL, count, NULL)) return 0;
    (void)count(NULL);
    (void)pthread_join(other, NULL);
    return 0;
}
