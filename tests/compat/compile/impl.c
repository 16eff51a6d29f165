/* The implementation as a user's file may meet it; the macros that begin with CASE_ choose how. Compiled, never run. */

#ifdef CASE_GNU_SOURCE
#define _GNU_SOURCE 1
#endif

/* A libc header that comes first freezes what glibc shows. */
#ifdef CASE_LIBC_FIRST
#include <stdio.h>
#include <sys/socket.h>
#endif

/* Short names that a program may have as macros; EOF and the like come with libc's headers. */
#ifdef CASE_MACROS
#include <errno.h>
#include <stdio.h>
#define OK ] a macro of the user
#define BUSY ] a macro of the user
#define CLOSING ] a macro of the user
#define DENIED ] a macro of the user
#define IDLE ] a macro of the user
#define INVALID ] a macro of the user
#define RESET ] a macro of the user
#define STALE ] a macro of the user
#define STOPPED ] a macro of the user
#define SYSTEM ] a macro of the user
#define TIMEOUT ] a macro of the user
#endif

#ifdef CASE_DECLARED_BEFORE
#include "uds_echo.h"
#endif

#define UDS_ECHO_IMPLEMENTATION
#include "uds_echo.h"

#ifdef CASE_TWICE
#include "uds_echo.h"
#endif

#ifdef CASE_DECLARED_AFTER
#undef UDS_ECHO_IMPLEMENTATION
#include "uds_echo.h"
#endif

/* What is included after the header finds nothing in its way. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

extern const int uds_echo_case;
const int uds_echo_case = UDS_ECHO_VERSION_MINOR;
