/* fuzz_claim.c - starting and stopping over a file system that is not ours alone: files, links, stale and live sockets
   under the path and under the temporary names, permissions, locks held by others, somebody who is faster at any call,
   a path that leads to another folder from any call on, calls that fail, and a process that dies at any call. Nothing
   foreign may go, and what dies leaves is swept up by the next start.

   Input: two bytes an action. */
#include "fuzz.h"

#include <setjmp.h>

enum { SPOTS = 12 };
enum { NOTHING, PLAIN, FOLDER, FIFO, LINK, STALE, LIVE, BOUND, KINDS }; /* BOUND: somebody's, and nobody listens yet */

/* A name at which something can be: the path, its temporary names, and a neighbour. */
typedef struct spot {
    const char *path;
    int kind; /* what the world put there; NOTHING: nothing, or not foreign */
    unsigned long inode;
    int peer;
    int late; /* STALE, but its server has bound it, and can be found as soon as time passes */
    int shut; /* somebody else's, who lets nobody connect: nobody can know what it is */
} spot;

static const char *const paths[SPOTS] = {"/w/sock",   "/w/sock~0", "/w/sock~1", "/w/sock~2", "/w/sock~3", "/w/sock~4",
                                         "/w/sock~5", "/w/sock~6", "/w/sock~7", "/w/sock~8", "/w/sock~9", "/w/other"};
static spot spots[SPOTS];
static uds_echo_server *server;
static uds_echo_server_desc desc;
/* Somebody who is faster: at the n-th call of a kind (FAKE_bind: at the one behind it; FAKE_CALL_COUNT: at any) puts
   something at a spot, where that is free, or made so. */
static struct {
    int at, spot, kind, kills, removes;
    fake_call call;
} rival;

static int crash_at, meddled, crashed;
static int was_stale;        /* somebody came, since this start, where nobody was, and has the same number */
static fake_call fault_call; /* the next call that fails is the n-th of this kind; FAKE_CALL_COUNT: none */
static int fault_at, fault_which, fault_times; /* and so many of that kind in a row */
static int can_lock;                           /* the folder could be read when it was opened */
static int lets_go;                            /* who holds the lock lets go of it as soon as time passes */
static int lead_at, opened, led; /* at this call behind its folder's open the path leads elsewhere; it does */
static fake_call last;           /* the call before */
static jmp_buf death;

/* Only what was put there by the world itself is taken away by it: the number alone may be ours by now. */
static void take_away(spot *s)
{
    if (s->kind == NOTHING) return;
    if (fake_inode(s->path) == s->inode && !fake_is_ours(s->path)) fake_remove(s->path);
    if (s->peer >= 0) fake_peer_close(s->peer);
    s->kind = NOTHING;
    s->peer = -1;
    s->late = s->shut = 0;
}

static void put(spot *s, int kind)
{
    if (kind == NOTHING) take_away(s);
    if (kind == NOTHING || fake_exists(s->path)) return;
    if (s->kind != NOTHING) take_away(s);
    switch (kind) {
    case PLAIN: fake_put_file(s->path); break;
    case FOLDER: fake_put_dir(s->path); break;
    case FIFO: fake_put_fifo(s->path); break;
    case LINK: fake_put_link(s->path, "/w/other"); break;
    case STALE: fake_put_stale(s->path); break;
    default: s->peer = fake_put_live(s->path, SOCK_STREAM, kind == LIVE);
    }
    s->kind = kind;
    s->inode = fake_inode(s->path);
}

/* What only the path itself meets: a successor that took our file away, somebody who is about to listen, and somebody
   who lets nobody in. */
static void put_at_path(int kind, unsigned how)
{
    spot *s = &spots[0];
    if (how & 1 && kind != NOTHING && fake_is_ours(s->path)) fake_remove(s->path);
    put(s, kind);
    if (fake_inode(s->path) != s->inode || fake_is_ours(s->path) || s->kind != kind) return;
    if (how & 2 && kind == STALE) s->late = 1;
    if (how & 4 && kind >= STALE) {
        fake_set_owner(s->path, 1);
        fake_set_mode(s->path, 0700);
        s->shut = fake.uid != 0;
    }
}

static void be_found(spot *s)
{
    if (!s->late || s->kind != STALE || fake_inode(s->path) != s->inode || fake_is_ours(s->path)) return;
    s->peer = fake_find_late(s->path);
    s->kind = LIVE;
    s->late = 0;
    was_stale = meddled = 1;
}

/* A live server whose process dies leaves its file. */
static void die(spot *s)
{
    if (s->kind != LIVE && s->kind != BOUND) return;
    fake_peer_close(s->peer);
    s->peer = -1;
    s->kind = STALE;
}

/* The lowest number that is free is the next file's. Files that hold all of them up to this one, or let go of them. */
static void hold_numbers(unsigned long number, int hold)
{
    char name[] = "/w/holder-a";
    for (; name[10] <= 'z'; name[10]++) {
        if (!hold) fake_remove(name);
        else if (!fake_exists(name)) fake_put_file(name);
        if (hold && fake_inode(name) >= number) return;
    }
}

/* No call fails any more. */
static void relent(void)
{
    fuzz_fault_settle();
    fuzz_allow();
    fault_call = FAKE_CALL_COUNT;
}

static int says_stale(fake_call call, int which)
{
    const int *errors = fake_errors_of(call);
    int count = 0;
    while (errors[count]) count++;
    return call == FAKE_connect && errors[which % count] == ECONNREFUSED;
}

/* Some calls cannot fail; and of who is bound there no system says twice that nobody is. */
static void aim_fault(fake_call call, int nth, int which)
{
    fault_call = *fake_errors_of(call) && !says_stale(call, which) ? call : FAKE_CALL_COUNT;
    fault_at = nth;
    fault_which = which;
    fault_times = 1;
}

static void strike(fake_call what)
{
    if (what != fault_call || --fault_at > 0) return;
    fuzz_fault_settle();
    if (--fault_times <= 0) fault_call = FAKE_CALL_COUNT;
    fuzz_fault_at = fake_calls(); /* this one */
    fuzz_fault_which = fault_which;
    fake_fault_any(fuzz_fault_at, fault_which, 0);
}

/* A sandbox refuses a call for good; free(3) and a few others no sandbox can. */
static void refuse(fake_call call, unsigned how)
{
    if (*fake_errors_of(call)) fuzz_refuse(call, how);
}

/* And not of who came where nobody was. */
static void be_truthful(fake_call what)
{
    if (was_stale && fuzz_fault_at == fake_calls() && says_stale(what, fuzz_fault_which)) fuzz_fault_settle();
}

/* unseen: what bind(2) made is looked at only now. probed: what comes here next must have another number. */
static void be_faster(int unseen, int probed)
{
    spot *s = &spots[rival.spot];
    const unsigned long number = fake_inode(s->path);
    meddled = 1;
    if (rival.removes && unseen && fake_is_ours(s->path)) fake_remove(s->path);
    if (rival.removes) put(s, NOTHING);
    if (probed) hold_numbers(number, 1);
    if (rival.kills) die(s);
    put(s, rival.kind);
    was_stale |= s->kind != NOTHING && s->inode == number;
    if (probed) hold_numbers(number, 0);
}

/* The path of some starts is a link, which leads to /w until it leads to /v. There stale sockets are at names that are
   asked for, and nobody may remove them who opened /w. */
enum { ELSEWHERE = 3 };
static const char *const elsewhere[ELSEWHERE] = {"/v/sock", "/v/sock~0", "/v/sock~1"};
static unsigned long elsewhere_inodes[ELSEWHERE]; /* 0: nothing is there */

static void furnish_elsewhere(unsigned which)
{
    int i;
    if (!fake_exists("/v")) fake_put_dir("/v");
    fake_put_link("/l", "/w");
    for (i = 0; i < ELSEWHERE; i++) {
        if (which >> i & 1) fake_put_stale(elsewhere[i]);
        elsewhere_inodes[i] = which >> i & 1 ? fake_inode(elsewhere[i]) : 0;
    }
}

static void lead_elsewhere(void)
{
    fake_remove("/l");
    fake_put_link("/l", "/v");
    led = meddled = 1;
}

/* All of it is still there. What was bound by way of the path, and not found again, is there, too, and dead: the
   manual's limit. */
static void clear_elsewhere(void)
{
    char name[] = "/v/sock~0";
    int i;
    for (i = 0; i < ELSEWHERE; i++)
        CHECK(!elsewhere_inodes[i] || fake_inode(elsewhere[i]) == elsewhere_inodes[i], "something elsewhere is gone");
    for (; name[8] <= '9'; name[8]++) fake_remove(name);
    fake_remove("/v/sock");
    fake_remove("/l");
    memset(elsewhere_inodes, 0, sizeof elsewhere_inodes);
    lead_at = led = 0;
}

/* Somebody who is faster, or death. Between a probe and the unlink or the rename that follows it stands only the
   folder's lock, as the manual says under LIMITS, and rivals do not ask for it. So there they come too late, or where
   the file is looked at once more, with one of another number. Without renameat2() the probe itself is followed by a
   rename. */
static void before(fake_call what)
{
    const int probed = what == FAKE_close || what == FAKE_fstatat;
    const int asks = what == FAKE_socket || what == FAKE_connect || what == FAKE_close;
    const int unseen = what == FAKE_fstatat && last == FAKE_bind;
    const int too_late = what == FAKE_unlinkat || what == FAKE_renameat || (asks && fake.no_renameat2);
    const int now = rival.call == FAKE_CALL_COUNT || (rival.call == FAKE_bind ? unseen : rival.call == what);
    if (rival.at && !too_late && now && rival.at-- == 1) be_faster(unseen, probed);
    last = what;
    strike(what);
    be_truthful(what);
    if (what == FAKE_poll) be_found(&spots[0]); /* the header sleeps a moment */
    if (what == FAKE_poll && lets_go) fake.foreign_lock = lets_go = 0;
    opened |= what == FAKE_flock; /* what a start does first in its folder */
    if (lead_at && opened && --lead_at == 0) lead_elsewhere();
    if (crash_at && --crash_at == 0) longjmp(death, 1);
}

/* Renaming failed twice. */
static int cannot_put_back(void)
{
    return fuzz_hits >= 2 && fuzz_hit[FAKE_renameat2];
}

static int was_bound_by_us(const char *path)
{
    const char *name;
    int n;
    for (n = 0; *(name = fake_left_behind(n)); n++)
        if (!strcmp(name, path)) return 1;
    return 0;
}

/* What came out of the path by mistake, and was not put back, is still there, under the name that was free. */
static int has_moved(spot *s)
{
    int i;
    for (i = 1; s == &spots[0] && i <= 10; i++) {
        spot *to = &spots[i];
        if (fake_inode(to->path) != s->inode || was_bound_by_us(to->path)) continue;
        *to = *s;
        to->path = paths[i];
        return 1;
    }
    return 0;
}

/* What foreign things must be like whatever we did: there, and the same. A stale socket may go, where it may be
   replaced. */
static void nothing_foreign_is_gone(void)
{
    int i;
    for (i = SPOTS - 1; i >= 0; i--) { /* a name is free before something moves there from the path */
        spot *s = &spots[i];
        if (s->kind == NOTHING) continue;
        if (fake_inode(s->path) == s->inode && !fake_is_ours(s->path)) continue;
        if (s->kind == STALE && !s->late && !s->shut && (i > 0 || desc.if_exists == UDS_ECHO_IF_EXISTS_REPLACE_STALE) &&
            s != &spots[SPOTS - 1]) {
            s->kind = NOTHING; /* replaced or swept up */
            continue;
        }
        /* a process that died between the two exchanges of a lost race leaves them exchanged */
        CHECK(has_moved(s) && ((crashed && meddled) || cannot_put_back()), "something foreign is gone");
        s->kind = NOTHING;
        s->peer = -1;
        s->late = s->shut = 0;
    }
}

/* What one of ours that died left is stale, too. */
static int kind_at(const spot *s)
{
    return s->kind == NOTHING && fake_exists(s->path) ? STALE : s->kind;
}

static int may_write(void)
{
    return fake.uid == 0 || fake_mode("/w") != 0555;
}

/* What a start must say when nobody meddles and nothing fails. */
static uds_echo_error expected(void)
{
    const int kind = kind_at(&spots[0]);
    if (spots[0].shut && kind >= STALE) return UDS_ECHO_ERR_DENIED;
    switch (kind) {
    case PLAIN:
    case FOLDER:
    case FIFO:
    case LINK: return UDS_ECHO_ERR_NOT_SOCKET;
    case LIVE:
    case BOUND: return UDS_ECHO_ERR_IN_USE;
    case STALE:
        if (desc.if_exists == UDS_ECHO_IF_EXISTS_REFUSE) return UDS_ECHO_ERR_EXISTS;
        if (!can_lock) return UDS_ECHO_ERR_DENIED;
        if (fake.foreign_lock && !(lets_go && desc.lock_ms > 0)) return UDS_ECHO_ERR_BUSY;
        break;
    default: break;
    }
    return may_write() ? UDS_ECHO_OK : UDS_ECHO_ERR_DENIED;
}

/* All temporary names taken by what may not be removed: there is no name to stage under. Without renameat2() and
   without the lock a start needs one more, the last, to try a link under. */
static int has_name(void)
{
    int i;
    const int sweeps = !fake.foreign_lock && can_lock && may_write();
    const int links = fake.no_renameat2 && !sweeps && desc.publish != UDS_ECHO_PUBLISH_DIRECT;
    if (links && kind_at(&spots[10]) != NOTHING) return 0;
    for (i = 1; i <= (links ? 9 : 10); i++)
        if (kind_at(&spots[i]) == NOTHING || (kind_at(&spots[i]) == STALE && sweeps)) return 1;
    return desc.publish == UDS_ECHO_PUBLISH_DIRECT && (kind_at(&spots[0]) != STALE || fake.no_renameat2);
}

/* What crashed starters left is gone, where the lock was to be had. */
static void check_swept(void)
{
    int i;
    if (fake.foreign_lock || !can_lock || !may_write()) return;
    for (i = 1; i <= 10; i++)
        CHECK(!fake_exists(spots[i].path) || kind_at(&spots[i]) != STALE || spots[i].late || spots[i].shut,
              "litter that is not swept up");
}

static void check_start(uds_echo_error error, uds_echo_error wanted, int undisturbed, int had_name)
{
    int peer;
    CHECK((error == UDS_ECHO_OK) == (server != NULL), "a server without success, or success without a server");
    CHECK(error != UDS_ECHO_ERR_WOULD_BLOCK && error != UDS_ECHO_ERR_INVALID, "an error that open never gives");
    if (undisturbed && had_name) CHECK(error == wanted, "not the answer that what is there asks for");
    if (undisturbed && !had_name && wanted == UDS_ECHO_OK) CHECK(error != UDS_ECHO_OK, "staged where there is no name");
    if (error || !undisturbed) return;
    CHECK(fake_mode(PATH) == (unsigned)(desc.mode ? desc.mode : 0600), "the mode of the file");
    relent(); /* what was meant for the start and did not happen is not for the step */
    peer = fake_peer_connect(PATH);
    CHECK(peer >= 0, "the path does not lead to the server");
    fake_peer_close(peer);
    CHECK(uds_echo_server_step(server, 0) == UDS_ECHO_OK, "a step");
}

/* Whatever a sandbox refuses: who starts is reached. */
static void check_reached(const char *path)
{
    const int peer = fake_peer_connect(path);
    CHECK(peer >= 0, "a start succeeds, and the path does not lead to the server");
    fake_peer_close(peer);
}

/* What ran out has a name. */
static void check_name(const uds_echo_failure *why)
{
    const int e = why->os_error;
    CHECK((e != EMFILE && e != ENFILE) || why->error == UDS_ECHO_ERR_TOO_MANY_FILES,
          "no descriptors, and it says otherwise ");
    CHECK((e != ENOMEM && e != ENOBUFS) || why->error == UDS_ECHO_ERR_NO_MEMORY, "no memory, and it says otherwise");
}

/* Sockets that the process bound, and that are still there. */
static int count_left(void)
{
    int n = 0;
    while (*fake_left_behind(n)) n++;
    return n;
}

/* No lock, no removal. */
static int cannot_remove(void)
{
    return fake.foreign_lock || !can_lock || !may_write() || fuzz_hit[FAKE_flock] || fuzz_hit[FAKE_unlinkat] ||
           fuzz_hit[FAKE_fstatat];
}

static void start(const char *path, unsigned char how)
{
    uds_echo_failure why;
    uds_echo_error error, wanted;
    const int let_go = lets_go, litter = count_left();
    int had_name, over_stale, undisturbed;
    if (server) return;
    fuzz_fault_note();
    fuzz_hits = meddled = was_stale = 0;
    memset(fuzz_hit, 0, sizeof fuzz_hit);
    memset(&desc, 0, sizeof desc);
    desc.path = path;
    desc.mode = how & 1 ? 0666 : how & 16 ? 0600 : 0;
    desc.if_exists = how & 2 ? UDS_ECHO_IF_EXISTS_REFUSE : UDS_ECHO_IF_EXISTS_REPLACE_STALE;
    desc.publish = how & 4 ? UDS_ECHO_PUBLISH_DIRECT : UDS_ECHO_PUBLISH_ATOMIC;
    desc.lock_ms = how & 8 ? -1 : 5;
    desc.message_max = 8;
    desc.connections_max = 2;
    nothing_foreign_is_gone();
    can_lock = fake_mode("/w") & 0400 || !fake.uid;
    over_stale = kind_at(&spots[0]) == STALE;
    wanted = expected();
    had_name = has_name();
    error = uds_echo_server_open(&server, &desc, &why);
    fuzz_fault_note();
    undisturbed = !meddled && !fuzz_hits;
    if (lets_go != let_go && had_name != has_name()) undisturbed = 0; /* in time to sweep, or too late */
    /* -1 asks for the lock once; that is one look, and stale must be seen twice */
    if (wanted == UDS_ECHO_OK && desc.lock_ms < 0 && over_stale) undisturbed = 0;
    if (fuzz_hit[FAKE_open]) can_lock = 0; /* it opened the folder the other way */
    CHECK(why.error == error && why.call, "the failure is not filled in");
    check_name(&why);
    if (!error && undisturbed && !let_go) check_swept();
    check_start(error, wanted, undisturbed, had_name);
    if (server && !meddled && !led && !fuzz_fault_at) check_reached(path);
    CHECK(!error || crashed || led || count_left() <= litter || cannot_remove(), "a start that failed leaves its file");
    nothing_foreign_is_gone();
}

/* A start, and somebody who is faster where that does the most harm: over a stale file, and without renameat2(), too;
   where harm is to be undone, that may fail, and again. */
static void start_late(unsigned what, unsigned char how)
{
    static const fake_call calls[] = {FAKE_bind, FAKE_renameat2, FAKE_connect};
    const fake_call call = calls[what / KINDS % 3];
    if (server) return;
    fake.no_renameat2 = how >> 1 & 1;
    if (how & 8) put(&spots[0], STALE);
    rival.at = 1;
    rival.call = call;
    rival.kind = (int)what % KINDS;
    rival.spot = how >> 5 & 1;
    rival.removes = how >> 6 & 1;
    rival.kills = 0;
    if (how & 128) aim_fault(call, 2, how & 31);
    if (how & 16) fault_times = 2;
    start(PATH, how & 21);
}

/* A start by a path that leads elsewhere all at once, while its own folder has what a server of ours may have there: a
   socket that is not wider than asked. */
static void start_elsewhere(unsigned what, unsigned char how)
{
    spot *s = &spots[how & 1];
    if (server) return;
    put(s, what & 8 ? LIVE : NOTHING);
    if (s->kind == LIVE && !fake_is_ours(s->path)) fake_set_mode(s->path, 0600);
    furnish_elsewhere(what);
    lead_at = how % 64 + 1;
    opened = 0;
    start("/l/sock", what & 16 ? 4 : 0);
    clear_elsewhere();
}

static void set_rival(unsigned what, unsigned char with)
{
    rival.at = with % 64 + 1;
    rival.call = FAKE_CALL_COUNT;
    rival.kind = (int)what % KINDS;
    rival.spot = with / 64 % 3; /* where it matters most */
    rival.removes = what / KINDS & 1;
    rival.kills = what / KINDS >> 1 & 1;
}

static void stop(void)
{
    const int ours = fake_is_ours(PATH);
    int undisturbed;
    if (!server) return;
    fuzz_fault_note();
    fuzz_hits = meddled = 0;
    (void)uds_echo_server_close(server);
    server = NULL;
    CHECK(!ours || !fake.foreign_lock || meddled || fake_exists(PATH), "the path is removed without the lock");
    fuzz_fault_note();
    undisturbed = !meddled && !fuzz_hits && !fake.foreign_lock && can_lock && fake_mode("/w") == 0755;
    CHECK(!undisturbed || spots[0].kind != NOTHING || !fake_exists(PATH), "the path is left behind");
    nothing_foreign_is_gone();
}

/* The process is gone: the kernel closes what it had open. Its memory is the fake's to free. */
static void bury(void)
{
    server = NULL;
    crashed = 1;
    clear_elsewhere();
    fake_crash();
    relent();
    nothing_foreign_is_gone();
}

static void act(unsigned char what, unsigned char with)
{
    switch (what % 10) {
    case 0: start(PATH, with); break;
    case 1: start_late(what / 10, with); break;
    case 2:
        if (what / 10 & 1) refuse((fake_call)(with % FAKE_CALL_COUNT), what / 20);
        else stop();
        break;
    case 3:
    case 4:
        if (with & 128) put_at_path(with % KINDS, with / KINDS & 15);
        else put(&spots[with / KINDS % SPOTS], with % KINDS);
        break;
    case 5: die(&spots[with % SPOTS]); break;
    case 6:
        fake.foreign_lock = with & 1;
        lets_go = fake.foreign_lock && what / 10 & 1;
        fake.no_renameat2 = with >> 1 & 3;
        fake.umask = with & 8 ? 0 : 022;
        fake_set_mode("/w", with >> 4 == 15 ? 0555 : with >> 4 == 14 ? 0333 : 0755);
        break;
    case 7: set_rival(what / 10, with); break;
    case 8:
        if (with >= 192) start_elsewhere(what / 10, with);
        else crash_at = with % 64 + 1;
        break;
    default:
        if (what / 10 & 1) aim_fault((fake_call)(with % FAKE_CALL_COUNT), with / FAKE_CALL_COUNT + 1, what / 20);
        else fuzz_fault(with & 63, (with >> 6) + what / 20 * 4);
    }
    fuzz_lawful();
}

/* The world becomes kind: the next start must get the path, and leave nothing behind when it stops. */
static void recover(void)
{
    int i;
    rival.at = crash_at = 0;
    relent();
    stop();
    for (i = 0; i < SPOTS; i++) take_away(&spots[i]);
    fake.foreign_lock = fake.no_renameat2 = lets_go = 0;
    fake.umask = 022;
    fake_set_mode("/w", 0755);
    start(PATH, 0);
    CHECK(server != NULL, "no start though nothing is in the way");
    stop();
    CHECK(!*fake_left_behind(0), "litter");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static size_t i; /* static: read after longjmp */
    int n;
    if (size > 256) return 0;
    fuzz_begin();
    fake.before = before;
    server = NULL;
    memset(&desc, 0, sizeof desc);
    memset(&rival, 0, sizeof rival);
    crash_at = meddled = crashed = was_stale = lets_go = lead_at = led = 0;
    last = rival.call = fault_call = FAKE_CALL_COUNT;
    memset(spots, 0, sizeof spots);
    for (n = 0; n < SPOTS; n++) {
        spots[n].path = paths[n];
        spots[n].peer = -1;
    }
    for (i = 0; i + 1 < size; i += 2) {
        if (setjmp(death)) bury();
        else act(data[i], data[i + 1]);
    }
    recover();
    fuzz_finish();
    return 0;
}
