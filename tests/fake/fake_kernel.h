/* fake_kernel.h - a small model of the kernel, for tests and fuzzers of uds_echo.h.

   A test defines UDS_ECHO_SYS(fn) as fake_##fn before it includes the header; then nothing the header calls reaches the
   system. Readiness is state, not a script: bytes arrive and windows drain when the test's world says so, a hang-up shows
   unasked, a lack of descriptors lasts until one is closed. One call can be made to fail, or two, once or for ever. Every
   call is checked against the laws of the house; what breaks one is a violation, and ends up in a list that a test must
   find empty.

   Deterministic: no clock, no addresses, no randomness of its own. One kernel at a time, reset by fake_reset(). */
#ifndef FAKE_KERNEL_H
#define FAKE_KERNEL_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <poll.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

#ifndef RENAME_NOREPLACE /* renameat2(2); not every libc names them */
#define RENAME_NOREPLACE (1 << 0)
#define RENAME_EXCHANGE (1 << 1)
#endif
#ifndef SO_PASSRIGHTS /* nor this one, of Linux 6.16: <asm-generic/socket.h> */
#define SO_PASSRIGHTS 83
#endif

/* Every function of the seam, once: name, and the errors it can plausibly give on Linux (0-terminated). Functions that
   cannot fail have none. */
#define FAKE_CALLS(X)                                                                                                  \
    X(accept, EAGAIN, EINTR, ECONNABORTED, EPROTO, EPERM, EMFILE, ENFILE, ENOBUFS, ENOMEM, EINVAL)                     \
    X(accept4, EAGAIN, EINTR, ECONNABORTED, EPROTO, EPERM, EMFILE, ENFILE, ENOBUFS, ENOMEM, EINVAL)                    \
    X(bind, EADDRINUSE, EACCES, ENOENT, ENOTDIR, EROFS, ENOMEM, EINVAL)                                                \
    X(calloc, ENOMEM)                                                                                                  \
    X(clock_gettime, EINVAL)                                                                                           \
    X(close, EINTR, EIO)                                                                                               \
    X(connect, EAGAIN, EINTR, ECONNREFUSED, ENOENT, EACCES, EPROTOTYPE, ENOMEM)                                        \
    X(epoll_create1, EMFILE, ENFILE, ENOMEM)                                                                           \
    X(epoll_ctl, ENOMEM, ENOSPC)                                                                                       \
    X(epoll_del, 0) /* EPOLL_CTL_DEL: needs nothing that could run out */                                              \
    X(epoll_wait, EINTR)                                                                                               \
    X(eventfd, EMFILE, ENFILE, ENOMEM)                                                                                 \
    X(fchmod, EPERM, EIO)                                                                                              \
    X(fchmodat, EPERM, ENOENT, EOPNOTSUPP)                                                                             \
    X(fcntl, EINTR, ENOMEM)                                                                                            \
    X(flock, EWOULDBLOCK, EINTR, ENOLCK)                                                                               \
    X(fstatat, ENOENT, EACCES, ENOMEM)                                                                                 \
    X(geteuid, 0)                                                                                                      \
    X(getrlimit, EFAULT)                                                                                               \
    X(getsockname, ENOBUFS)                                                                                            \
    X(getsockopt, ENOBUFS, ENOTSOCK)                                                                                   \
    X(linkat, EEXIST, ENOENT, EPERM, ENOSPC, EXDEV, EROFS)                                                             \
    X(listen, EADDRINUSE, EOPNOTSUPP)                                                                                  \
    X(malloc, ENOMEM)                                                                                                  \
    X(open, EACCES, ENOENT, ENOTDIR, EMFILE, ENFILE, ENOMEM, EINTR)                                                    \
    X(pipe, EMFILE, ENFILE)                                                                                            \
    X(pipe2, EMFILE, ENFILE)                                                                                           \
    X(poll, EINTR, ENOMEM)                                                                                             \
    X(read, EAGAIN, EINTR)                                                                                             \
    X(realloc, ENOMEM)                                                                                                 \
    X(recv, EAGAIN, EINTR, ECONNRESET, ENOMEM)                                                                         \
    X(renameat, ENOENT, EACCES, ENOSPC, EPERM, EXDEV, EROFS)                                                           \
    X(renameat2, EEXIST, ENOENT, EINVAL, ENOSYS, EACCES, ENOSPC, EPERM, EXDEV, EROFS)                                  \
    X(send, EAGAIN, EINTR, EPIPE, ECONNRESET, ENOBUFS, ENOMEM)                                                         \
    X(setsockopt, ENOBUFS, ENOMEM, ENOPROTOOPT)                                                                        \
    X(shutdown, ENOTCONN, ENOBUFS)                                                                                     \
    X(socket, EMFILE, ENFILE, ENOBUFS, ENOMEM)                                                                         \
    X(unlinkat, ENOENT, EACCES, EBUSY, EPERM, EROFS)                                                                   \
    X(write, EAGAIN, EINTR)

typedef enum fake_call {
#define FAKE_X(name, ...) FAKE_##name,
    FAKE_CALLS(FAKE_X) FAKE_CALL_COUNT
#undef FAKE_X
} fake_call;

/* ---- the test's side --------------------------------------------------------------------------------------------- */

/* How this kernel is; fake_reset() sets the defaults, a test changes them before or while it runs. */
typedef struct fake_config {
    int descriptors_max;  /* EMFILE above; default 64 */
    int low_descriptors;  /* 0, 1 and 2 are free: the process was started with its standard streams closed */
    int no_limit;         /* getrlimit says RLIM_INFINITY */
    size_t queue_bytes;   /* what one direction of a connection holds; default 256 */
    int no_renameat2;     /* renameat2 says ENOSYS; 2: EINVAL, as a file system that has no such rename */
    int links_are_copies; /* linkat makes another file, to which nobody is bound, as over libfuse */
    int drops_mark;       /* bind keeps the permission bits of the socket's mode only */
    int no_proc;          /* there is no /proc */
    int no_passrights;    /* setsockopt does not know SO_PASSRIGHTS: Linux before 6.16 */
    unsigned umask;       /* default 022 */
    long pid, uid, gid;   /* of the process; 100, 1000, 1001 */
    int staged;           /* what is sent is in flight until fake_peer_arrive or fake_peer_drain */
    int foreign_lock;     /* somebody else holds the lock on every folder */
    unsigned long
        calls_per_ms; /* time passes by itself, too: so many calls take a millisecond; default 0: they take none */
    unsigned long calls_max; /* more calls in one run are a livelock; default 100,000 */
    int (*world)(
        void *user); /* asked when the process waits and nothing is ready: 1: something happened, 0: nothing will */
    void *user;
    long peer_pid;                  /* of the next peers, as SO_PEERCRED tells it; default 4242 */
    void (*before)(fake_call what); /* told of each call before it is carried out: somebody else may be faster */
    void (*meanwhile)(void);        /* asked while the process is stopped, see fake_stop_at(): others go on */
} fake_config;

extern fake_config fake;

void fake_reset(void); /* forgets everything */
/* A run that cannot go on (a hang, a livelock) is a violation and jumps here when it is set. */
extern jmp_buf fake_escape;
extern int fake_escape_set;

void fake_finish(void); /* the process ends: open descriptors and live allocations are violations */
/* The process dies, and another begins: the system closes what was open; memory is gone; files stay. Not from within a
   call: leave it first, as fake.before may by longjmp(). */
void fake_crash(void);
int fake_violations(void);
const char *fake_violation(int n);    /* "" past the last */
void fake_complain(const char *text); /* adds one; for laws that a test checks itself */

/* Faults: the call with this number (from 1) fails with os_error; for_ever: the same function from then on, too. */
enum { FAKE_UNTIL_CLOSE = 2 }; /* for_ever, but only until a descriptor is closed, as a lack of descriptors is */
void fake_fault(unsigned long call, int os_error, int for_ever);
void fake_fault_too(unsigned long call, int os_error, int for_ever); /* after fake_fault(): a second one */
/* The call with this number, whatever it is, fails with one of the errors that fit it; which: 0 and up. for_ever as above,
   where that error is a lack of something; else once. */
void fake_fault_any(unsigned long call, int which, int for_ever);
/* The process is stopped before the call with this number, and goes on so much later (SIGSTOP, SIGCONT). A wait in which
   nothing is ready then ends with EINTR (signal(7)). */
void fake_stop_at(unsigned long call, int ms);
/* A sandbox refuses a call from now on, whoever makes it; 0: no longer. */
void fake_refuse(fake_call what, int os_error);
unsigned long fake_refusals(void); /* strikes by it, in this run */
fake_call fake_fault_of(int n);    /* which call the first (0) or the second (1) was aimed at; FAKE_CALL_COUNT: none */
int fake_fault_happened(void);     /* how many of them did, so far */
unsigned long fake_strikes(void);  /* calls that failed by them in this run; one that lasts strikes more than once */
/* The error of a fault that struck this descriptor since it was made; 0: none did. A call on it failed, or memory ran out
   while it was served, that is, when it was the last one that was received from, or sent to. The last one is told, but EINTR
   and EAGAIN, after which a call is tried again, only where there was no other. */
int fake_struck(int fd);
unsigned long fake_calls(void);
unsigned long fake_lacks(void);       /* accepts that failed for want of a descriptor */
unsigned long fake_connections(void); /* made since the last fake_reset() */
unsigned long fake_calls_of(fake_call what);
fake_call fake_call_at(unsigned long call); /* of this run; the first 1,000,000 are kept */
const int *fake_errors_of(fake_call what);  /* 0-terminated */
const char *fake_name_of(fake_call what);
/* FNV-1a over every call: name, arguments, result and errno, but nothing that depends on the machine. */
unsigned long long fake_trace_hash(void);

long long fake_now_ms(void);
void fake_sleep(int ms);
void fake_set_clock(long long us); /* also back; fake_reset() sets it to a second */
int fake_open_descriptors(void);
long fake_live_blocks(void);
size_t fake_live_bytes(void);
size_t fake_peak_bytes(void);
int fake_touched(void); /* descriptors on which a call was made since the last wait began */
/* The number of the call by which a byte last moved through this descriptor, or it was accepted; and when that was. */
unsigned long fake_moved(int fd, long long *ms);
size_t fake_room(int fd);   /* how many bytes a send would take now */
size_t fake_unread(int fd); /* how many bytes a recv could take now */
void fake_hold(int fd);     /* another process has this socket, too: closing it here ends nothing */
/* A thread sleeps in this epoll set, though no call shows it, until something wakes it; who waits with a timeout and asks
   the world sleeps, too. */
void fake_doze(int epoll);
int fake_dozes(int epoll);
void fake_interrupt(void); /* for the world: a signal came, the wait it is asked in ends with EINTR */

/* Files. Paths are absolute, or relative to the working directory "/w", which exists. */
void fake_put_file(const char *path);
void fake_put_dir(const char *path);
void fake_put_mount(const char *path); /* a folder on a device of its own, where numbers of files begin anew */
void fake_put_fifo(const char *path);
void fake_put_link(const char *path, const char *target);
void fake_put_stale(const char *path);                        /* a socket file that nobody is bound to */
int fake_put_live(const char *path, int type, int listening); /* somebody else's; a peer id */
/* The stale socket at path was one whose server had bound it and could not yet be found: it can be, from now on. A peer id. */
int fake_find_late(const char *path);
void fake_remove(const char *path);
const char *fake_left_behind(int n); /* names of sockets the process bound that are still there; "" past the last */
int fake_exists(const char *path);   /* without following a link */
unsigned long fake_inode(const char *path); /* 0: none. A number is reused as soon as it is free */
int fake_is_ours(const char *path);         /* a socket is there that the process has bound, and still has open */
unsigned fake_mode(const char *path);
int fake_locked(const char *folder); /* by the process */
void fake_set_mode(const char *path, unsigned mode);
void fake_set_owner(const char *path, long uid);
void fake_set_group(const char *path, long gid);
/* What lstat tells of it. On an overlay each layer has its own numbers: Linux's Documentation/filesystems/overlayfs. */
void fake_set_identity(const char *path, long device, unsigned long number);

/* Peers: the other ends of connections, and other people's listeners. -1 with errno where the real call would fail. */
int fake_peer_connect(const char *path);
/* One that waits in connect(2) for a place in a full queue: places go to those who wait in the order in which they came. */
int fake_peer_wait(const char *path);
int fake_peer_waits(int peer); /* still */
int fake_peer_listen(const char *path, unsigned mode, int backlog);
long fake_peer_send(int peer, const void *bytes, size_t size);
long fake_peer_send_urgent(int peer, unsigned char byte); /* with MSG_OOB */
long fake_peer_recv(int peer, void *bytes, size_t size);  /* 0: end of stream */
int fake_peer_shutdown(int peer, int how);
void fake_peer_close(int peer);
int fake_peer_accept(int listener);
size_t fake_peer_pending(int peer); /* bytes it could read now */
/* With fake.staged: so many bytes that the peer sent reach the process; so many that the process sent reach the peer.
   Both return how many did. Bytes in flight take up room; a shutdown or a close at either end lets them all arrive. */
size_t fake_peer_arrive(int peer, size_t size);
size_t fake_peer_drain(int peer, size_t size);

/* ---- the header's side ------------------------------------------------------------------------------------------- */
int fake_accept(int, struct sockaddr *, socklen_t *);
int fake_accept4(int, struct sockaddr *, socklen_t *, int);
int fake_bind(int, const struct sockaddr *, socklen_t);
void *fake_calloc(size_t, size_t);
int fake_clock_gettime(clockid_t, struct timespec *);
int fake_close(int);
int fake_connect(int, const struct sockaddr *, socklen_t);
int fake_epoll_create1(int);
int fake_epoll_ctl(int, int, int, struct epoll_event *);
int fake_epoll_wait(int, struct epoll_event *, int, int);
int fake_eventfd(unsigned int, int);
int fake_fchmod(int, mode_t);
int fake_fchmodat(int, const char *, mode_t, int);
int fake_fcntl(int, int, ...);
int fake_flock(int, int);
void fake_free(void *);
int fake_fstatat(int, const char *, struct stat *, int);
pid_t fake_getpid(void);
uid_t fake_geteuid(void);
int fake_getrlimit(int, struct rlimit *);
int fake_getsockname(int, struct sockaddr *, socklen_t *);
int fake_getsockopt(int, int, int, void *, socklen_t *);
int fake_linkat(int, const char *, int, const char *, int);
int fake_listen(int, int);
void *fake_malloc(size_t);
int fake_open(const char *, int, ...);
int fake_pipe(int[2]);
int fake_pipe2(int[2], int);
int fake_poll(struct pollfd *, nfds_t, int);
ssize_t fake_read(int, void *, size_t);
void *fake_realloc(void *, size_t);
ssize_t fake_recv(int, void *, size_t, int);
int fake_renameat(int, const char *, int, const char *);
int fake_renameat2(int, const char *, int, const char *, unsigned int);
ssize_t fake_send(int, const void *, size_t, int);
int fake_setsockopt(int, int, int, const void *, socklen_t);
int fake_shutdown(int, int);
int fake_socket(int, int, int);
long fake_syscall(long, ...);
int fake_unlinkat(int, const char *, int);
ssize_t fake_write(int, const void *, size_t);

#endif
