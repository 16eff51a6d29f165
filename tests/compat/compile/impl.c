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

/* A libc may have these as macros, generic ones since C23, which an older standard or a pedantic compiler rejects. The
   libc headers come first, as such a macro does not stand in the way of its own declaration. */
#ifdef CASE_LIBC_MACROS
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>
#undef bsearch
#undef memchr
#undef memrchr
#undef rawmemchr
#undef strcasestr
#undef strchr
#undef strchrnul
#undef strpbrk
#undef strrchr
#undef strstr
#undef wcschr
#undef wcspbrk
#undef wcsrchr
#undef wcsstr
#undef wmemchr
#define bsearch(key, base, count, size, compare) ] a macro of libc
#define memchr(bytes, byte, size) ] a macro of libc
#define memrchr(bytes, byte, size) ] a macro of libc
#define rawmemchr(bytes, byte) ] a macro of libc
#define strcasestr(text, part) ] a macro of libc
#define strchr(text, c) ] a macro of libc
#define strchrnul(text, c) ] a macro of libc
#define strpbrk(text, set) ] a macro of libc
#define strrchr(text, c) ] a macro of libc
#define strstr(text, part) ] a macro of libc
#define wcschr(text, c) ] a macro of libc
#define wcspbrk(text, set) ] a macro of libc
#define wcsrchr(text, c) ] a macro of libc
#define wcsstr(text, part) ] a macro of libc
#define wmemchr(text, c, size) ] a macro of libc
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
