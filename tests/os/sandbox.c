/* sandbox.c - runs a program for which one system call is refused: sandbox CALL ERRNO PROGRAM [ARGUMENT...]. Exit status 77:
   there is no such call here, 78: the filter cannot be set. */
#include <seccomp.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int number;
    if (argc < 4 || !filter) return 78;
    number = seccomp_syscall_resolve_name(argv[1]);
    if (number < 0) return 77;
    if (seccomp_rule_add(filter, SCMP_ACT_ERRNO((unsigned)atoi(argv[2]) & 0xffffu), number, 0) || seccomp_load(filter))
        return 78;
    (void)execv(argv[3], argv + 3);
    return 78;
}
