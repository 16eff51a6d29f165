/* From a path to a listening socket and back, on a file system where anything may stand in the way. */
#include "harness.h"

static uds_echo_failure why;

static uds_echo_error start_by(uds_echo_server **server, const char *path, uds_echo_publish_mode publish)
{
    uds_echo_server_desc desc = plain_desc();
    desc.path = path;
    desc.publish = publish;
    return uds_echo_server_open(server, &desc, &why);
}

static uds_echo_error start(uds_echo_server **server, const char *path)
{
    return start_by(server, path, UDS_ECHO_PUBLISH_ATOMIC);
}

/* Opens, says hello, closes; nothing may be left but what was there. */
static void serves_at(const char *path)
{
    uds_echo_server *server;
    int peer;
    assert_int_equal(start(&server, path), UDS_ECHO_OK);
    peer = fake_peer_connect(path);
    assert_true(peer >= 0);
    say(peer, "hello");
    settle(server);
    assert_string_equal(heard(peer), "hello");
    fake_peer_close(peer);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    assert_false(fake_exists(path));
}

static void no_litter(void)
{
    char name[32];
    int i;
    for (i = 0; i < 10; i++) {
        (void)snprintf(name, sizeof name, PATH "~%d", i);
        assert_false(fake_exists(name));
    }
}

/* What somebody else does just before the next call of a kind. */
static fake_call act_before;
static void (*act)(void);

static void act_now(fake_call what)
{
    void (*once)(void) = act;
    if (what != act_before || !act) return;
    act = NULL;
    once();
}

static void meanwhile(fake_call what, void (*does)(void))
{
    act_before = what;
    act = does;
    fake.before = act_now;
}

static void clear_path(void)
{
    fake_remove(PATH);
}

static void clear_staged(void)
{
    fake_remove(PATH "~0");
}

static void take_path(void)
{
    fake_remove(PATH);
    (void)fake_put_live(PATH, SOCK_STREAM, 1);
}

/* The call that gives a staged socket its path. */
static fake_call publishing(void)
{
    return UDS_ECHO_HAVE_RENAMEAT2 && !fake.no_renameat2 ? FAKE_renameat2 : FAKE_linkat;
}

static void fresh(void **state)
{
    (void)state;
    serves_at(PATH);
    serves_at("sock");
    serves_at("./sock");
    no_litter();
}

static void stale_is_replaced(void **state)
{
    unsigned long stale;
    (void)state;
    fake_put_stale(PATH);
    stale = fake_inode(PATH);
    assert_true(stale != 0);
    serves_at(PATH);
    assert_int_equal(fake_calls_of(FAKE_flock), 4); /* locked and unlocked, to replace and to retire */
    no_litter();
}

static void without_renameat2(void **state)
{
    (void)state;
    fake.no_renameat2 = 1;
    serves_at(PATH);
    fake_put_stale(PATH);
    serves_at(PATH);
    no_litter();
}

static void direct(void **state)
{
    int i;
    (void)state;
    for (i = 0; i < 3; i++) {
        uds_echo_server_desc desc = plain_desc();
        uds_echo_server *server;
        int peer;
        fake.no_renameat2 = i == 2;
        desc.publish = UDS_ECHO_PUBLISH_DIRECT;
        if (i) fake_put_stale(PATH);
        server = open_server(&desc);
        if (!i) assert_int_equal(fake_calls_of(FAKE_renameat2) + fake_calls_of(FAKE_linkat), 0);
        peer = fake_peer_connect(PATH);
        assert_true(peer >= 0);
        fake_peer_close(peer);
        (void)uds_echo_server_close(server);
        assert_false(fake_exists(PATH));
        no_litter();
    }
}

/* P1: what is no socket is never touched. */
static void foreign_files_refuse(void **state)
{
    static const char *const paths[] = {"/w/file", "/w/dir", "/w/link", "/w/dangling", "/w/tolive"};
    uds_echo_server *server;
    unsigned long inode;
    size_t i;
    (void)state;
    fake_put_file("/w/file");
    fake_put_dir("/w/dir");
    fake_put_stale("/w/stale");
    fake_put_link("/w/link", "stale");
    fake_put_link("/w/dangling", "nowhere");
    (void)fake_put_live("/w/live", SOCK_STREAM, 1);
    fake_put_link("/w/tolive", "/w/live");
    for (i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        inode = fake_inode(paths[i]);
        assert_int_equal(start(&server, paths[i]), UDS_ECHO_ERR_NOT_SOCKET);
        assert_int_equal(fake_inode(paths[i]), inode);
        assert_null(server);
    }
    assert_int_equal(fake_calls_of(FAKE_bind), 0);
}

/* P2: live in any form: listening, full, bound and not listening, of another type. */
static void live_refuses(void **state)
{
    static const struct {
        int type, listening;
    } kinds[] = {{SOCK_STREAM, 1}, {SOCK_STREAM, 0}, {SOCK_SEQPACKET, 1}, {SOCK_DGRAM, 0}};
    uds_echo_server *server;
    size_t i;
    int full;
    (void)state;
    for (i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        for (full = 0; full < 2; full++) {
            int live = fake_put_live(PATH, kinds[i].type, kinds[i].listening), k;
            for (k = 0; full && k < 5; k++) (void)fake_peer_connect(PATH);
            assert_int_equal(start(&server, PATH), UDS_ECHO_ERR_IN_USE);
            assert_int_equal(why.pid, i == 0 && !full ? 4711 : INT_MAX);
            assert_true(fake_exists(PATH));
            fake_remove(PATH);
            fake_peer_close(live);
        }
    }
    assert_int_equal(fake_calls_of(FAKE_bind), 0);
}

static void refuse_what_exists(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    (void)state;
    fake_put_stale(PATH);
    desc.if_exists = UDS_ECHO_IF_EXISTS_REFUSE;
    assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_ERR_EXISTS);
    assert_true(fake_exists(PATH));
    fake_remove(PATH);
    assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_OK); /* nothing is there to refuse */
    (void)uds_echo_server_close(server);
}

static void unknown_refuses(void **state)
{
    uds_echo_server *server;
    (void)state;
    fake_put_stale(PATH);
    fake_set_mode(PATH, 0);
    assert_int_equal(start(&server, PATH), UDS_ECHO_ERR_DENIED);
    assert_true(fake_exists(PATH));
}

/* How a path is taken: by an exchange, over and without renameat2, and directly, with and without it. */
static uds_echo_error start_in_one_way(int way, const char *path, uds_echo_server **server)
{
    uds_echo_server_desc desc = plain_desc();
    fake.no_renameat2 = way % 2;
    desc.publish = way / 2 ? UDS_ECHO_PUBLISH_DIRECT : UDS_ECHO_PUBLISH_ATOMIC;
    desc.path = path;
    return uds_echo_server_open(server, &desc, &why);
}

enum { WAYS = 4 };

static void put_sticky_folder(void)
{
    fake_reset();
    fake_put_dir("/w/tmp");
    fake_set_owner("/w/tmp", 0);
    fake_set_mode("/w/tmp", 01777);
}

static void put_stale_of_another(const char *path)
{
    fake_put_stale(path);
    fake_set_owner(path, 1001);
    fake_set_mode(path, 0777);
}

/* In /tmp nobody removes what is another's: the start is refused, and leaves everything as it was. */
static void stale_of_another_in_a_sticky_folder(void **state)
{
    uds_echo_server *server;
    unsigned long inode;
    int way;
    (void)state;
    for (way = 0; way < WAYS; way++) {
        put_sticky_folder();
        put_stale_of_another("/w/tmp/sock");
        inode = fake_inode("/w/tmp/sock");
        assert_int_equal(start_in_one_way(way, "/w/tmp/sock", &server), UDS_ECHO_ERR_DENIED);
        assert_null(server);
        assert_int_equal(why.os_error, EPERM);
        assert_string_equal(why.call, "rename");
        assert_int_equal(fake_inode("/w/tmp/sock"), inode);
        assert_string_equal(fake_left_behind(0), "");
        fake_finish();
        assert_lawful();
    }
}

/* One's own is replaced there as anywhere, and the litter of others is stepped over. */
static void own_in_a_sticky_folder(void **state)
{
    uds_echo_server *server;
    int way, peer;
    (void)state;
    for (way = 0; way < WAYS; way++) {
        put_sticky_folder();
        put_stale_of_another("/w/tmp/sock~0");
        fake_put_stale("/w/tmp/sock");
        assert_int_equal(start_in_one_way(way, "/w/tmp/sock", &server), UDS_ECHO_OK);
        peer = fake_peer_connect("/w/tmp/sock");
        assert_true(peer >= 0);
        fake_peer_close(peer);
        (void)uds_echo_server_close(server);
        assert_false(fake_exists("/w/tmp/sock"));
        assert_true(fake_exists("/w/tmp/sock~0"));
        assert_string_equal(fake_left_behind(0), "");
        fake_finish();
        assert_lawful();
    }
}

/* Who became another user in between may not take its own socket away: it stays, stale and harmless. */
static void retired_by_another_in_a_sticky_folder(void **state)
{
    uds_echo_server *server;
    (void)state;
    put_sticky_folder();
    assert_int_equal(start(&server, "/w/tmp/sock"), UDS_ECHO_OK);
    fake.uid = 1001;
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    assert_true(fake_exists("/w/tmp/sock"));
    assert_false(fake_locked("/w/tmp"));
}

static void (*swap)(void);

/* Between the second look and the removal: where nothing can be renamed, it is the number that tells. */
static void swap_after_two_looks(fake_call what)
{
    void (*once)(void) = swap;
    if (what != FAKE_fstatat || !swap || fake_calls_of(FAKE_connect) < 2) return;
    swap = NULL;
    once();
}

static void by_a_file_of_its_number(void)
{
    unsigned long number = fake_inode(PATH);
    fake_remove(PATH);
    fake_put_file(PATH);
    assert_int_equal(fake_inode(PATH), number);
}

static void by_one_of_another_device(void)
{
    unsigned long number = fake_inode(PATH);
    fake_remove(PATH);
    fake_put_stale(PATH);
    fake_set_identity(PATH, 2, number);
}

static void by_a_server_of_its_number(void)
{
    unsigned long number = fake_inode(PATH);
    fake_remove(PATH);
    (void)fake_put_live(PATH, SOCK_STREAM, 1);
    assert_int_equal(fake_inode(PATH), number);
}

static void by_a_file_in_the_litter(void)
{
    unsigned long number = fake_inode(PATH "~0");
    fake_remove(PATH "~0");
    fake_put_file(PATH "~0");
    assert_int_equal(fake_inode(PATH "~0"), number);
}

/* Nor is a socket file of that number the one that was seen: whether it is stale is asked once more. */
static void who_has_the_number_only(void **state)
{
    uds_echo_server *server;
    (void)state;
    swap = by_a_server_of_its_number;
    fake_put_stale(PATH);
    fake.before = swap_after_two_looks;
    assert_int_equal(start_in_one_way(3, PATH, &server), UDS_ECHO_ERR_IN_USE);
    assert_null(swap);
    assert_int_equal(fake_calls_of(FAKE_unlinkat), 0);
    fake.before = NULL;
    assert_true(fake_exists(PATH));
    fake_reset();
    swap = by_a_file_in_the_litter; /* what is no socket is nobody's litter, whatever its number */
    fake_put_stale(PATH "~0");
    fake.before = swap_after_two_looks;
    assert_int_equal(start(&server, PATH), UDS_ECHO_OK);
    assert_null(swap);
    (void)uds_echo_server_close(server);
    assert_true(fake_exists(PATH "~0"));
}

/* The number alone is not the file: it may be reused at once, and another device has it as well. */
static void what_has_the_number_only(void **state)
{
    uds_echo_server *server;
    (void)state;
    swap = by_a_file_of_its_number;
    fake_put_stale(PATH);
    fake.before = swap_after_two_looks;
    assert_int_equal(start_in_one_way(3, PATH, &server), UDS_ECHO_ERR_NOT_SOCKET);
    assert_null(swap);
    assert_true(fake_exists(PATH));
    fake_reset();
    swap = by_one_of_another_device;
    fake_put_stale(PATH);
    fake.before = swap_after_two_looks;
    assert_int_equal(start_in_one_way(3, PATH, &server), UDS_ECHO_OK);
    assert_null(swap);
    assert_int_equal(fake_calls_of(FAKE_unlinkat), 1); /* after it was looked at again, twice */
    assert_true(fake_calls_of(FAKE_connect) >= 4);
    fake.before = NULL;
    by_one_of_another_device();
    (void)uds_echo_server_close(server);
    assert_true(fake_exists(PATH));
}

/* Whose group may write there has a folder to serve in, and its peers a socket to connect to; nobody else. */
static void a_folder_of_a_group(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer;
    (void)state;
    fake_put_dir("/w/group");
    fake_set_owner("/w/group", 0);
    fake_set_group("/w/group", 7);
    fake_set_mode("/w/group", 02770);
    assert_int_equal(start(&server, "/w/group/sock"), UDS_ECHO_ERR_DENIED);
    fake.gid = 7;
    desc.path = "/w/group/sock";
    desc.mode = 0660;
    server = open_server(&desc);
    fake.uid = 1001;
    peer = fake_peer_connect("/w/group/sock");
    assert_true(peer >= 0);
    fake_peer_close(peer);
    fake.gid = 1000;
    assert_int_equal(fake_peer_connect("/w/group/sock"), -1);
    assert_int_equal(errno, EACCES);
    fake.uid = 1000;
    fake.gid = 7;
    (void)uds_echo_server_close(server);
    assert_false(fake_exists("/w/group/sock"));
}

/* No lock, no removal; a fresh path needs none. */
static void held_lock(void **state)
{
    uds_echo_server *server;
    long long before = fake_now_ms();
    (void)state;
    fake.foreign_lock = 1;
    fake_put_stale(PATH);
    assert_int_equal(start(&server, PATH), UDS_ECHO_ERR_BUSY);
    assert_in_range(fake_now_ms() - before, 1000, 1010);
    assert_true(fake_exists(PATH));
    fake_remove(PATH);
    assert_int_equal(start(&server, PATH), UDS_ECHO_OK);
    (void)uds_echo_server_close(server);
    assert_true(fake_exists(PATH)); /* retired without the lock: left, stale and harmless */
    fake.foreign_lock = 0;
    serves_at(PATH);
}

/* Who does not wait for the lock gives up at once; who needs none starts, and leaves the litter to others. */
static void held_lock_and_no_time(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    long long before = fake_now_ms();
    (void)state;
    desc.lock_ms = -1;
    fake.foreign_lock = 1;
    fake_put_stale(PATH);
    assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_ERR_BUSY);
    assert_int_equal(fake_now_ms(), before);
    fake_remove(PATH);
    fake_put_stale(PATH "~0");
    server = open_server(&desc);
    assert_true(fake_exists(PATH "~0"));
    fake.foreign_lock = 0;
    (void)uds_echo_server_close(server);
}

static int moves;

static int release_lock(void *user)
{
    (void)user;
    if (++moves == 5) fake.foreign_lock = 0;
    return 0;
}

static void lock_is_waited_for(void **state)
{
    (void)state;
    fake.foreign_lock = 1;
    fake.world = release_lock;
    moves = 0;
    fake_put_stale(PATH);
    serves_at(PATH);
}

/* Somebody takes the path between the two looks: it is theirs. */
static int steal(void *user)
{
    if (++moves == *(int *)user) {
        fake_remove(PATH);
        (void)fake_put_live(PATH, SOCK_STREAM, 1);
    }
    return 0;
}

static void stolen_between_looks(void **state)
{
    uds_echo_server *server;
    int at;
    (void)state;
    for (at = 1; at <= 2; at++) {
        fake_reset();
        fake_put_stale(PATH);
        fake.world = steal;
        fake.user = &at;
        moves = 0;
        (void)start(&server, PATH);
        if (at == 1) assert_int_equal(why.error, UDS_ECHO_ERR_IN_USE);
        if (server) (void)uds_echo_server_close(server);
        fake_finish();
        assert_lawful();
    }
}

static fake_call steal_before;
static unsigned long stolen; /* the inode that took the path's place */

static void steal_now(fake_call what)
{
    if (what != steal_before || stolen) return;
    stolen = 1; /* the fake's own helpers make no calls */
    fake_remove(PATH);
    (void)fake_put_live(PATH, SOCK_STREAM, 1);
    stolen = fake_inode(PATH);
}

/* Law 6: what appears between the last look and the act is put back, or never touched. */
static void stolen_between_look_and_act(void **state)
{
    int direct, i;
    (void)state;
    for (direct = 0; direct < 2; direct++) {
        for (i = 0; i < 2; i++) {
            uds_echo_server_desc desc = plain_desc();
            uds_echo_server *server;
            fake_reset();
            fake_put_stale(PATH);
            stolen = 0;
            steal_before = i ? FAKE_bind : FAKE_renameat2;
            fake.before = UDS_ECHO_HAVE_RENAMEAT2 || i ? steal_now : NULL;
            desc.publish = direct ? UDS_ECHO_PUBLISH_DIRECT : UDS_ECHO_PUBLISH_ATOMIC;
            if (fake.before) {
                assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_ERR_IN_USE);
                assert_int_equal(fake_inode(PATH), stolen);
                assert_int_equal(fake_calls_of(FAKE_bind), 1); /* and then it looked again */
            }
            no_litter();
            fake_finish();
            assert_lawful();
        }
    }
}

static void steal_and_fail_to_give_back(fake_call what)
{
    if (what == FAKE_renameat2 && fake_calls_of(what) == 2) fake_fault(fake_calls(), ENOSPC, 0);
    steal_now(what);
}

/* A file that is not the one that was probed goes back to its name, also where that fails at first. */
static void put_back_at_the_second_try(void **state)
{
    int direct;
    (void)state;
    for (direct = 0; direct < (UDS_ECHO_HAVE_RENAMEAT2 ? 2 : 0); direct++) {
        uds_echo_server_desc desc = plain_desc();
        uds_echo_server *server;
        fake_reset();
        fake_put_stale(PATH);
        stolen = 0;
        steal_before = FAKE_renameat2;
        fake.before = steal_and_fail_to_give_back;
        desc.publish = direct ? UDS_ECHO_PUBLISH_DIRECT : UDS_ECHO_PUBLISH_ATOMIC;
        assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_ERR_IN_USE);
        assert_int_equal(fake_fault_happened(), 1);
        assert_int_equal(fake_inode(PATH), stolen);
        no_litter();
        fake_finish();
        assert_lawful();
    }
}

/* Without an exchange of names a last look comes before the file that looked stale is renamed over. */
static void taken_before_it_is_renamed_over(void **state)
{
    uds_echo_server *server;
    (void)state;
    fake.no_renameat2 = 1;
    fake_put_stale(PATH);
    meanwhile(FAKE_bind, take_path);
    assert_int_equal(start(&server, PATH), UDS_ECHO_ERR_IN_USE);
    assert_int_equal(fake_calls_of(FAKE_renameat), 0);
    no_litter();
}

static void take_freed_name(fake_call what)
{
    if (!fake_calls_of(FAKE_renameat) || what == FAKE_renameat || fake_exists(PATH "~0")) return;
    (void)fake_put_live(PATH "~0", SOCK_STREAM, 0);
}

/* A rename frees the temporary name, and the number of the stale file: another starter may have both at once. */
static void what_a_rename_frees_is_anothers(void **state)
{
    uds_echo_server *server;
    unsigned long number;
    (void)state;
    fake.no_renameat2 = 1;
    fake_put_stale(PATH);
    number = fake_inode(PATH);
    fake.before = take_freed_name;
    assert_int_equal(start(&server, PATH), UDS_ECHO_OK);
    fake.before = NULL;
    assert_int_equal(fake_inode(PATH "~0"), number);
    (void)uds_echo_server_close(server);
}

static char told[128];
static uds_echo_error told_cause;

static void note(uds_echo_log_level level, uds_echo_error cause, const char *text, void *user)
{
    (void)level, (void)user;
    (void)snprintf(told, sizeof told, "%s", text);
    told_cause = cause;
}

static fake_call denied;

static void deny_removal(fake_call what)
{
    if (what == denied) fake_fault(fake_calls(), EACCES, 0);
}

/* The folder may have become one that may not be written to: the file that stays behind is told of. That it is gone
   already is nothing to tell. */
static void a_file_that_may_not_be_removed(void **state)
{
    static const fake_call denying[] = {FAKE_unlinkat, FAKE_fstatat, FAKE_CALL_COUNT};
    int i, gone;
    (void)state;
    for (i = 0; i < 3; i++) {
        uds_echo_server_desc desc = plain_desc();
        uds_echo_server *server;
        desc.path = PATH;
        desc.on_log = note;
        *told = '\0';
        denied = denying[i];
        gone = denied == FAKE_CALL_COUNT;
        assert_int_equal(uds_echo_server_open(&server, &desc, NULL), UDS_ECHO_OK);
        if (gone) fake_remove(PATH);
        else fake.before = deny_removal;
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
        fake.before = NULL;
        assert_int_equal(fake_exists(PATH), !gone);
        assert_int_equal(strstr(told, "stays behind") != NULL, !gone);
        assert_true(gone || told_cause == UDS_ECHO_ERR_DENIED);
        fake_remove(PATH);
    }
}

static uds_echo_error shared;

static void share_what_goes(uds_echo_log_level level, uds_echo_error cause, const char *text, void *user)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *second;
    (void)level, (void)cause, (void)text;
    desc.path = NULL;
    desc.share_with = *(uds_echo_server **)user;
    shared = uds_echo_server_open(&second, &desc, NULL);
}

/* Closed without a stop before, and on_log is told of the file that stays: by then the listener is nobody's
   to share. */
static void what_goes_is_not_shared(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    (void)state;
    desc.path = PATH;
    desc.on_log = share_what_goes;
    desc.user = &server;
    shared = UDS_ECHO_OK;
    assert_int_equal(uds_echo_server_open(&server, &desc, NULL), UDS_ECHO_OK);
    denied = FAKE_unlinkat;
    fake.before = deny_removal;
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    fake.before = NULL;
    assert_int_equal(shared, UDS_ECHO_HAVE_ATOMIC ? UDS_ECHO_ERR_STOPPED : UDS_ECHO_ERR_UNSUPPORTED);
    fake_remove(PATH);
}

static void lead_elsewhere(void)
{
    fake_remove("/w/now");
    fake_put_link("/w/now", "/w/new");
}

/* The path leads to another folder all at once. What is removed is in the one that was opened, so it is that one's
   socket that is asked whether it lives. */
static void a_folder_is_switched(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    (void)state;
    fake_put_dir("/w/old");
    fake_put_dir("/w/new");
    fake_put_link("/w/now", "/w/old");
    (void)fake_put_live("/w/old/sock", SOCK_STREAM, 1);
    fake_put_stale("/w/new/sock");
    desc.path = "/w/now/sock";
    desc.publish = UDS_ECHO_PUBLISH_DIRECT;
    meanwhile(FAKE_connect, lead_elsewhere);
    assert_int_equal(uds_echo_server_open(&server, &desc, NULL), UDS_ECHO_ERR_IN_USE);
    assert_null(act);
    assert_true(fake_exists("/w/old/sock"));
}

/* The same, but for its live socket nobody but its owner may ask. What the path leads to by now says nothing
   about it. */
static void a_folder_is_switched_and_may_not_be_asked(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    (void)state;
    fake_put_dir("/w/old");
    fake_put_dir("/w/new");
    fake_put_link("/w/now", "/w/old");
    (void)fake_put_live("/w/old/sock", SOCK_STREAM, 1);
    fake_set_owner("/w/old/sock", 1);
    fake_set_mode("/w/old/sock", 0700);
    fake.uid = 1000;
    fake_put_stale("/w/new/sock");
    desc.path = "/w/now/sock";
    desc.publish = UDS_ECHO_PUBLISH_DIRECT;
    meanwhile(FAKE_connect, lead_elsewhere);
    assert_int_equal(uds_echo_server_open(&server, &desc, NULL), UDS_ECHO_ERR_DENIED);
    assert_null(act);
    assert_true(fake_exists("/w/old/sock"));
}

/* The path leads elsewhere as it is bound, and in the folder that was opened somebody's live socket has the temporary
   name: that is not what was just bound, though it has the same number on another device. */
static void a_folder_is_switched_while_binding(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    char name[32];
    int far, i;
    (void)state;
    desc.path = "/w/now/sock";
    desc.lock_ms = -1;
    for (far = 0; far < 2; far++) {
        fake_put_dir("/w/old");
        if (far) fake_put_mount("/w/new");
        else fake_put_dir("/w/new");
        fake_put_link("/w/now", "/w/old");
        (void)fake_put_live("/w/old/sock~0", SOCK_STREAM, 1);
        fake_set_mode("/w/old/sock~0", 0600);
        fake_put_stale("/w/new/sock~0");
        if (far) fake_set_identity("/w/old/sock~0", 0, fake_inode("/w/new/sock~0"));
        fake_remove("/w/new/sock~0"); /* the next file there has its number */
        meanwhile(FAKE_bind, lead_elsewhere);
        assert_int_equal(uds_echo_server_open(&server, &desc, NULL), UDS_ECHO_ERR_BUSY);
        assert_null(act);
        assert_true(fake_exists("/w/old/sock~0"));
        assert_false(fake_exists("/w/old/sock"));
        assert_false(fake_exists("/w/new/sock"));
        for (i = 0; i < 10; i++) {
            (void)snprintf(name, sizeof name, "/w/new/sock~%d", i);
            assert_true(fake_exists(name)); /* dead, as the manual says */
            fake_remove(name);
        }
        fake_remove("/w/old/sock~0");
        fake_remove("/w/old");
        fake_remove("/w/new");
        fake_remove("/w/now");
    }
}

/* Where the open folder cannot be asked, for there is no /proc, the path is. */
static void a_folder_that_cannot_be_asked(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    unsigned long call = 1, connects;
    (void)state;
    (void)fake_put_live(PATH, SOCK_STREAM, 1);
    desc.path = PATH;
    assert_int_equal(uds_echo_server_open(&server, &desc, NULL), UDS_ECHO_ERR_IN_USE);
    while (fake_call_at(call) != FAKE_connect) call++;
    fake_fault(fake_calls() + call, EACCES, 0);
    assert_int_equal(uds_echo_server_open(&server, &desc, NULL), UDS_ECHO_ERR_IN_USE);
    assert_int_equal(fake_fault_happened(), 1);
    fake_set_owner(PATH, 1);
    fake_set_mode(PATH, 0700);
    fake.uid = 1000;
    fake_fault(fake_calls() + call, ENOENT, 0); /* and the path may not be asked */
    connects = fake_calls_of(FAKE_connect);
    assert_int_equal(uds_echo_server_open(&server, &desc, NULL), UDS_ECHO_ERR_DENIED);
    assert_int_equal(fake_calls_of(FAKE_connect) - connects, 2);
}

/* Somebody is faster: with the path, or with a sweep of the temporary name. Both are looked at again. */
static void overtaken_while_publishing(void **state)
{
    uds_echo_server *server;
    int old;
    (void)state;
    for (old = 0; old < 2; old++) {
        fake.no_renameat2 = old;
        meanwhile(publishing(), take_path);
        assert_int_equal(start(&server, PATH), UDS_ECHO_ERR_IN_USE);
        no_litter();
        fake_remove(PATH);
        meanwhile(publishing(), clear_staged);
        serves_at(PATH);
        assert_null(act);
        no_litter();
    }
}

/* A stale file that goes by itself is no failure: between the look and the probe, or before it is moved. */
static void a_stale_file_that_goes_by_itself(void **state)
{
    static const fake_call calls[] = {FAKE_connect, FAKE_renameat2};
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int kind;
    (void)state;
    for (kind = 0; kind < (UDS_ECHO_HAVE_RENAMEAT2 ? 4 : 2); kind++) {
        desc.publish = kind % 2 ? UDS_ECHO_PUBLISH_DIRECT : UDS_ECHO_PUBLISH_ATOMIC;
        fake_put_stale(PATH);
        meanwhile(calls[kind / 2], clear_path);
        server = open_server(&desc);
        assert_null(act);
        (void)uds_echo_server_close(server);
        no_litter();
    }
}

static int pauses;

/* The stale file goes; one of the same number comes just before the path is published, is seen, and then lives. */
static int go_and_live(void *user)
{
    (void)user;
    if (++pauses == 1) {
        fake_remove(PATH);
        fake_put_file("/w/keeps the number");
    } else if (pauses == 3) {
        take_path();
    }
    return 0;
}

static void come_back(void)
{
    fake_remove("/w/keeps the number");
    fake_put_stale(PATH);
}

/* Twice means twice in a row: what was gone in between is new, whatever its number. */
static void a_number_that_comes_back(void **state)
{
    uds_echo_server *server;
    unsigned long number;
    (void)state;
    fake_put_stale(PATH);
    number = fake_inode(PATH);
    pauses = 0;
    fake.world = go_and_live;
    meanwhile(publishing(), come_back);
    assert_int_equal(start(&server, PATH), UDS_ECHO_ERR_IN_USE);
    assert_null(act);
    assert_int_equal(fake_inode(PATH), number);
}

/* PUBLISH_DIRECT moves a stale file aside to the first name that is free; with none it is left where it is. */
static void moved_aside_to_a_free_name(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    char name[32];
    int i;
    (void)state;
    if (!UDS_ECHO_HAVE_RENAMEAT2) return;
    desc.publish = UDS_ECHO_PUBLISH_DIRECT;
    desc.lock_ms = -1;
    for (i = 0; i < 10; i++) {
        (void)snprintf(name, sizeof name, PATH "~%d", i);
        fake_put_file(name);
        fake_put_stale(PATH);
        if (i == 9) break;
        server = open_server(&desc);
        (void)uds_echo_server_close(server);
    }
    assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_ERR_BUSY);
    assert_string_equal(why.call, "bind"); /* not the lock, which it has */
    assert_true(fake_exists(PATH));
}

enum { A_FILE, A_PRIVATE_FILE, A_STALE, A_LIVE, PLACE_TAKERS };
static const char *taken_name;
static int taken_by, bound;
static unsigned long taker;

/* Between bind(2) and the look at what it made. */
static void take_the_place(fake_call what)
{
    if (what == FAKE_bind) bound = 1;
    if (what != FAKE_fstatat || !bound || taker) return;
    fake_remove(taken_name);
    if (taken_by == A_FILE || taken_by == A_PRIVATE_FILE) fake_put_file(taken_name);
    if (taken_by == A_PRIVATE_FILE) fake_set_mode(taken_name, 0600); /* as narrow as ours */
    if (taken_by == A_STALE) fake_put_stale(taken_name);
    if (taken_by == A_LIVE) (void)fake_put_live(taken_name, SOCK_STREAM, 1);
    taker = fake_inode(taken_name);
}

/* Law 6: what stands where bind(2) made our file, and is not it, gets neither our mode nor our end. */
static void what_took_our_place_is_left_alone(void **state)
{
    static const uds_echo_error in_place[] = {UDS_ECHO_ERR_NOT_SOCKET, UDS_ECHO_ERR_NOT_SOCKET, UDS_ECHO_OK,
                                              UDS_ECHO_ERR_IN_USE};
    int direct;
    (void)state;
    for (direct = 0; direct < 2; direct++) {
        for (taken_by = 0; taken_by < PLACE_TAKERS; taken_by++) {
            uds_echo_server_desc desc = plain_desc();
            uds_echo_server *server;
            unsigned mode;
            fake_reset();
            bound = 0;
            taker = 0;
            taken_name = direct ? PATH : PATH "~0";
            fake.before = take_the_place;
            desc.publish = direct ? UDS_ECHO_PUBLISH_DIRECT : UDS_ECHO_PUBLISH_ATOMIC;
            assert_int_equal(uds_echo_server_open(&server, &desc, &why), direct ? in_place[taken_by] : UDS_ECHO_OK);
            mode = taken_by == A_FILE ? 0644 : taken_by == A_PRIVATE_FILE ? 0600 : 0755;
            assert_true(taker);
            if (!direct || !server) assert_int_equal(fake_inode(taken_name), taker);
            if (!direct || !server) assert_int_equal(fake_mode(taken_name), mode);
            (void)uds_echo_server_close(server);
            fake_finish();
            assert_lawful();
        }
    }
}

/* Counts what is at the path and at the names beside it; a file system may give them all one mode. */
static int files_left(int one_mode)
{
    char name[32] = PATH;
    int i, files = 0;
    for (i = -1; i < 10; i++) {
        if (i >= 0) (void)snprintf(name, sizeof name, PATH "~%d", i);
        if (!fake_exists(name)) continue;
        if (one_mode) fake_set_mode(name, 0777);
        files++;
    }
    return files;
}

static void know_no_modes(fake_call what)
{
    if (what == FAKE_fstatat) (void)files_left(1);
}

/* Law 10: where no mode is kept a start is refused soon, by its name, and leaves two files at most. */
static void where_no_mode_is_kept(void **state)
{
    int direct;
    (void)state;
    for (direct = 0; direct < 2; direct++) {
        uds_echo_server_desc desc = plain_desc();
        uds_echo_server *server;
        long long began;
        fake_reset();
        fake.before = know_no_modes;
        desc.publish = direct ? UDS_ECHO_PUBLISH_DIRECT : UDS_ECHO_PUBLISH_ATOMIC;
        began = fake_now_ms();
        assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_ERR_UNSUPPORTED);
        assert_string_equal(why.call, "fchmod");
        assert_in_range(fake_now_ms() - began, 0, 50);
        assert_in_range(files_left(0), 1, 2);
        fake_finish();
        assert_lawful();
    }
}

static void break_the_look(fake_call what)
{
    if (what == FAKE_bind) bound = 1;
    if (what == FAKE_fstatat && bound && ++bound == 3) fake_fault(fake_calls(), EIO, 0); /* the first is of the link */
}

/* A file that was made and cannot be looked at is not known as ours: nothing is published, nothing removed. */
static void what_was_bound_cannot_be_looked_at(void **state)
{
    uds_echo_server *server;
    (void)state;
    bound = 0;
    fake.before = break_the_look;
    assert_int_equal(start(&server, PATH), UDS_ECHO_ERR_SYSTEM);
    assert_string_equal(why.call, "fstatat");
    assert_int_equal(why.os_error, EIO);
    assert_false(fake_exists(PATH));
    assert_int_equal(fake_calls_of(FAKE_unlinkat), 0);
}

/* What crashed starters left is swept up by the next one, what lives is not. */
static void litter_is_swept(void **state)
{
    uds_echo_server *server;
    (void)state;
    fake_put_stale(PATH "~0");
    fake_put_stale(PATH "~7");
    (void)fake_put_live(PATH "~3", SOCK_STREAM, 0);
    fake_put_file(PATH "~4");
    assert_int_equal(start(&server, PATH), UDS_ECHO_OK);
    assert_false(fake_exists(PATH "~0"));
    assert_false(fake_exists(PATH "~7"));
    assert_true(fake_exists(PATH "~3"));
    assert_true(fake_exists(PATH "~4"));
    (void)uds_echo_server_close(server);
}

static void all_names_taken(void **state)
{
    char name[32];
    uds_echo_server *server;
    int i;
    (void)state;
    for (i = 0; i < 10; i++) {
        (void)snprintf(name, sizeof name, PATH "~%d", i);
        fake_put_file(name);
    }
    assert_int_equal(start(&server, PATH), UDS_ECHO_ERR_BUSY);
}

/* P9: the mode is exact, whatever the umask, and never wider on the way. */
static void mode_is_exact(void **state)
{
    static const unsigned masks[] = {0, 022, 077, 0777};
    static const int modes[] = {0, 0600, 0660, 0666, 0777, 0400};
    unsigned long widened;
    size_t m, i;
    (void)state;
    for (m = 0; m < 4; m++) {
        for (i = 0; i < 6; i++) {
            uds_echo_server_desc desc = plain_desc();
            uds_echo_server *server;
            fake.umask = masks[m];
            desc.mode = modes[i];
            widened = fake_calls_of(FAKE_fchmodat);
            server = open_server(&desc);
            /* once, which takes the mark off and gives the mode, whatever the umask left of it */
            assert_int_equal(fake_calls_of(FAKE_fchmodat), widened + 1);
            assert_int_equal(fake_mode(PATH), modes[i] ? modes[i] : 0600);
            (void)uds_echo_server_close(server);
        }
    }
}

/* P5: at exit only what is ours goes. */
static void retire_leaves_what_is_not_ours(void **state)
{
    uds_echo_server *server;
    (void)state;
    assert_int_equal(start(&server, PATH), UDS_ECHO_OK);
    fake_remove(PATH);
    (void)fake_put_live(PATH, SOCK_STREAM, 1);
    (void)uds_echo_server_close(server);
    assert_true(fake_exists(PATH));
    fake_remove(PATH);

    assert_int_equal(start(&server, PATH), UDS_ECHO_OK);
    fake_remove(PATH);
    fake_put_file(PATH);
    (void)uds_echo_server_close(server);
    assert_true(fake_exists(PATH));
    fake_remove(PATH);

    assert_int_equal(start(&server, PATH), UDS_ECHO_OK);
    fake_remove(PATH);
    (void)uds_echo_server_close(server);
    assert_false(fake_exists(PATH));
}

/* P13: every length works, over what a crash left too, or is refused with a name, and nothing else is made. */
static void lengths_by(uds_echo_publish_mode publish)
{
    static const size_t folders[] = {0, 97, 200}; /* 97: the path is too long before its name is */
    static char path[500] = "/w/";
    uds_echo_server *server;
    size_t i, name, served = 0, refused = 0;
    fake.calls_max = 1000000;
    for (i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        const size_t folder = folders[i], at = folder ? 3 + folder + 1 : 3;
        memset(path + 3, 'd', folder);
        path[3 + folder] = '\0';
        if (folder && !fake_exists(path)) fake_put_dir(path);
        for (name = 1; name < 258; name++) {
            const size_t staged = name + strlen("~0"), most = sizeof((struct sockaddr_un *)0)->sun_path - 1;
            const int fits = at + staged <= most || strlen("/proc/self/fd/10/") + staged <= most;
            const int just = strlen("/proc/self/fd/9/") + staged == most; /* it depends on the descriptor */
            uds_echo_error error;
            path[3 + folder] = '/';
            memset(path + at, 'n', name);
            path[at + name] = '\0';
            error = start_by(&server, path, publish);
            if (!just) assert_int_equal(error, fits ? UDS_ECHO_OK : UDS_ECHO_ERR_BAD_PATH);
            if (error) {
                refused++;
                if (name > 253) assert_string_equal(why.call, "desc.path"); /* no file system has such names */
                assert_false(fake_exists(path));
                continue;
            }
            served++;
            assert_true(fake_exists(path));
            fake_crash();
            assert_int_equal(start_by(&server, path, publish), UDS_ECHO_OK);
            (void)uds_echo_server_close(server);
            assert_false(fake_exists(path));
        }
    }
    print_message("# %zu lengths served, %zu refused by name\n", served, refused);
    assert_in_range(served, 100 + 85 + 85, 400);
}

static void lengths(void **state)
{
    (void)state;
    lengths_by(UDS_ECHO_PUBLISH_ATOMIC);
    lengths_by(UDS_ECHO_PUBLISH_DIRECT);
}

static void bad_paths(void **state)
{
    char distant[200] = "/";
    uds_echo_server *server;
    (void)state;
    assert_int_equal(start(&server, NULL), UDS_ECHO_ERR_INVALID);
    assert_string_equal(why.call, "desc.path");
    assert_int_equal(start(&server, ""), UDS_ECHO_ERR_BAD_PATH);
    assert_int_equal(start(&server, "/w/"), UDS_ECHO_ERR_BAD_PATH);
    assert_int_equal(start(&server, "/missing/sock"), UDS_ECHO_ERR_NOT_FOUND);
    memset(distant + 1, 'f',
           sizeof distant - 2); /* its last component would fit nowhere, but it is the folder that is wrong */
    memcpy(distant + 1, "missing/", 8);
    assert_int_equal(start(&server, distant), UDS_ECHO_ERR_NOT_FOUND);
    fake_put_file("/w/file");
    assert_int_equal(start(&server, "/w/file/sock"), UDS_ECHO_ERR_NOT_FOUND);
    fake_put_dir("/w/closed");
    fake_set_mode("/w/closed", 0555);
    assert_int_equal(start(&server, "/w/closed/sock"), UDS_ECHO_ERR_DENIED);
    assert_int_equal(start(&server, "/w/."), UDS_ECHO_ERR_NOT_SOCKET);
    fake_put_link("/w/round", "round");
    assert_int_equal(start(&server, "/w/round/sock"), UDS_ECHO_ERR_SYSTEM);
    assert_int_equal(why.os_error, ELOOP);
}

/* A path of any length that the system takes is served; a longer one has a name. */
static void as_long_as_a_path_may_be(void **state)
{
    static char path[4200];
    uds_echo_server *server;
    (void)state;
    memset(path, '/', sizeof path - 1);
    memcpy(path, "/w", 2);
    memcpy(path + 4091, "sock", 5);
    assert_int_equal(start(&server, path), UDS_ECHO_OK);
    assert_true(fake_exists("/w/sock"));
    (void)uds_echo_server_close(server);
    assert_false(fake_exists("/w/sock"));
    memset(path + 4091, '/', 5);
    memcpy(path + 4140, "sock", 5);
    assert_int_equal(start(&server, path), UDS_ECHO_ERR_BAD_PATH);
}

static void clear_blind(void)
{
    fake_remove("/w/blind/sock~0");
}

static void find_blind(void)
{
    (void)fake_find_late("/w/blind/sock");
}

/* A folder that may be searched and not read: no lock can be had there, and a fresh path needs none. */
/* And then the path is taken, for a moment, by somebody who is faster. */
static void vanish_blind(void)
{
    fake_remove("/w/blind/sock");
    meanwhile(publishing(), clear_blind);
}

static void unreadable_folder(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    long long began;
    (void)state;
    fake_put_dir("/w/blind");
    fake_set_mode("/w/blind", 0333);
    meanwhile(publishing(), clear_blind); /* who is overtaken tries again */
    assert_int_equal(start(&server, "/w/blind/sock"), UDS_ECHO_OK);
    assert_null(act);
    (void)uds_echo_server_close(server);
    fake_remove("/w/blind/sock");
    desc.path = "/w/blind/sock";
    desc.on_log = note;
    *told = '\0';
    assert_int_equal(uds_echo_server_open(&server, &desc, NULL), UDS_ECHO_OK);
    (void)uds_echo_server_close(server);
    assert_non_null(strstr(told, "stays behind"));
    assert_int_equal(told_cause, UDS_ECHO_ERR_DENIED);
    began = fake_now_ms();
    assert_int_equal(start(&server, "/w/blind/sock"), UDS_ECHO_ERR_DENIED);
    assert_string_equal(why.call, "flock");
    assert_int_equal(fake_now_ms() - began,
                     1);                /* stale is what was seen so twice; what cannot come is not waited for */
    meanwhile(FAKE_poll, vanish_blind); /* what was stale is gone, and was seen so once: that is no reason to give up */
    assert_int_equal(start(&server, "/w/blind/sock"), UDS_ECHO_OK);
    assert_null(act);
    (void)uds_echo_server_close(server);
    meanwhile(FAKE_poll, find_blind);
    assert_int_equal(start(&server, "/w/blind/sock"), UDS_ECHO_ERR_IN_USE);
    assert_null(act);
}

static void shared_listener(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *first = open_server(&desc), *second, *third;
    int peer;
    (void)state;
    desc.share_with = first;
    assert_int_equal(uds_echo_server_open(&second, &desc, &why), UDS_ECHO_ERR_INVALID); /* a path as well */
    desc.path = NULL;
    if (!UDS_ECHO_HAVE_ATOMIC) { /* nothing to count with who shares */
        assert_int_equal(uds_echo_server_open(&second, &desc, &why), UDS_ECHO_ERR_UNSUPPORTED);
        assert_string_equal(why.call, "desc.share_with");
        (void)uds_echo_server_close(first);
        return;
    }
    second = open_server(&desc);
    uds_echo_server_stop(first, UDS_ECHO_STOP_DRAIN);
    settle(first);
    assert_int_equal(uds_echo_server_step(first, 0), UDS_ECHO_ERR_STOPPED);
    assert_true(fake_exists(PATH));
    assert_int_equal(fake_calls_of(FAKE_shutdown), 0); /* P42 */
    assert_int_equal(uds_echo_server_open(&third, &desc, &why), UDS_ECHO_ERR_STOPPED);
    (void)uds_echo_server_close(first);
    peer = fake_peer_connect(PATH);
    say(peer, "still here");
    settle(second);
    assert_string_equal(heard(peer), "still here");
    fake_peer_close(peer);
    (void)uds_echo_server_close(second);
    assert_false(fake_exists(PATH));
}

/* Sharing ends with the first moment of a drain, when the listener is still there; what else is wrong is told first. */
static void a_drain_shares_no_more(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *first = open_server(&desc), *second;
    (void)state;
    uds_echo_server_stop(first, UDS_ECHO_STOP_DRAIN);
    assert_int_equal(uds_echo_server_step(first, 0), UDS_ECHO_OK);
    desc.path = NULL;
    desc.share_with = first;
    assert_int_equal(uds_echo_server_open(&second, &desc, &why),
                     UDS_ECHO_HAVE_ATOMIC ? UDS_ECHO_ERR_STOPPED : UDS_ECHO_ERR_UNSUPPORTED);
    desc.mode = -1;
    assert_int_equal(uds_echo_server_open(&second, &desc, &why), UDS_ECHO_ERR_INVALID);
    assert_string_equal(why.call, "desc.mode");
    (void)uds_echo_server_close(first);
}

enum { CROWD = 40 };
static uds_echo_server *two[2];
static int crowd[CROWD];

/* Two servers on one listener, and a queue of peers. 0: there is nothing to count with who shares. */
static int share_a_crowd(void)
{
    uds_echo_server_desc desc = plain_desc();
    int i;
    desc.connections_max = CROWD;
    two[0] = open_server(&desc);
    desc.path = NULL;
    desc.share_with = two[0];
    two[1] = NULL;
    if (UDS_ECHO_HAVE_ATOMIC) two[1] = open_server(&desc);
    for (i = 0; i < CROWD; i++) crowd[i] = two[1] ? fake_peer_connect(PATH) : -1;
    return UDS_ECHO_HAVE_ATOMIC;
}

static void part_from_the_crowd(void)
{
    int i;
    for (i = 0; i < CROWD; i++)
        if (crowd[i] >= 0) fake_peer_close(crowd[i]);
    for (i = 0; i < 2; i++) assert_int_equal(uds_echo_server_close(two[i]), UDS_ECHO_OK);
}

/* One is awake, and the other is still being woken: it gets its share of the queue all the same. */
static void shares_are_even(void **state)
{
    unsigned long long has[2];
    int turn;
    (void)state;
    if (share_a_crowd())
        for (turn = 0; turn < 4 * CROWD; turn++) (void)uds_echo_server_step(two[turn % 4 == 3], 1);
    has[0] = stats_of(two[0]).connections;
    has[1] = stats_of(two[1]).connections;
    if (two[1]) assert_int_equal(has[0] + has[1], CROWD);
    if (two[1]) assert_in_range(has[0], CROWD / 2 - 1, CROWD / 2 + 5); /* an eighth, and what it took to have it */
    part_from_the_crowd();
}

/* However long the queue is: what one takes at once the other cannot have. */
static void who_shares_takes_one_at_a_time(void **state)
{
    unsigned long long had;
    int turn;
    (void)state;
    if (share_a_crowd()) {
        for (turn = 0; turn < 10; turn++) {
            had = stats_of(two[0]).accepted;
            (void)uds_echo_server_step(two[0], 1);
            assert_in_range(stats_of(two[0]).accepted, had, had + 1);
        }
        assert_true(stats_of(two[0]).accepted > 1);
    }
    part_from_the_crowd();
}

/* One that does not come back, for its handler takes long, costs the other's new peers a millisecond each. */
static void a_sharer_that_is_stuck(void **state)
{
    long long began;
    (void)state;
    if (share_a_crowd()) {
        began = fake_now_ms();
        while (stats_of(two[0]).connections < CROWD && fake_now_ms() - began < 1000)
            assert_int_equal(uds_echo_server_step(two[0], -1), UDS_ECHO_OK);
        assert_int_equal(stats_of(two[0]).connections, CROWD);
        assert_in_range(fake_now_ms() - began, CROWD / 2, CROWD);
    }
    part_from_the_crowd();
}

/* An exclusive wake-up that finds no place is lost: the others sleep on. So who is full is not watching. */
static void a_sharer_that_is_full(void **state)
{
    (void)state;
    if (share_a_crowd()) {
        two[1]->conns_max = 1;
        assert_int_equal(uds_echo_server_step(two[1], 0), UDS_ECHO_OK);
        assert_int_equal(stats_of(two[1]).connections, 1);
        assert_false(two[1]->listener_registered);
        assert_int_equal(uds_echo_server_timeout(two[1]), -1);
        while (stats_of(two[0]).connections < CROWD - 1) (void)uds_echo_server_step(two[0], 1);
        ue_abort(&two[1]->conns[0], UDS_ECHO_ERR_IDLE); /* and is again, once it has a place */
        settle(two[1]);
        assert_true(two[1]->listener_registered);
    }
    part_from_the_crowd();
}

/* Nor in line after a while where it also holds more than its share. */
static void a_sharer_that_is_full_and_holds_too_much(void **state)
{
    int i;
    (void)state;
    if (share_a_crowd()) {
        two[1]->conns_max = CROWD / 4;
        for (i = 0; i < CROWD && stats_of(two[1]).connections < CROWD / 4; i++) (void)uds_echo_server_step(two[1], 2);
        assert_int_equal(stats_of(two[1]).connections, CROWD / 4);
        assert_true(ue_update_share(two[1]));
        assert_false(two[1]->listener_registered);
        assert_int_equal(uds_echo_server_timeout(two[1]), -1);
    }
    part_from_the_crowd();
}

/* Nor is one lost that finds more than a share held: it is used, and what comes next is left to the others. */
static void who_is_woken_takes_one(void **state)
{
    unsigned long long had;
    int turn;
    (void)state;
    if (share_a_crowd()) {
        for (turn = 0; turn < 3 * CROWD / 4; turn++) {
            int woken = two[0]->listener_registered;
            had = stats_of(two[0]).accepted;
            (void)uds_echo_server_step(two[0], 1);
            if (woken) assert_int_equal(stats_of(two[0]).accepted, had + 1);
        }
        assert_true(stats_of(two[0]).accepted > 3);
    }
    part_from_the_crowd();
}

/* Both sleep: each peer wakes one of them, and that one takes it; so nobody is left in the queue, and they
   take turns. */
static void sleepers_take_turns(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    int i, k, woken;
    (void)state;
    desc.connections_max = CROWD;
    two[0] = open_server(&desc);
    desc.path = NULL;
    desc.share_with = two[0];
    two[1] = UDS_ECHO_HAVE_ATOMIC ? open_server(&desc) : NULL;
    for (i = 0; i < CROWD; i++) crowd[i] = -1;
    for (i = 0; i < CROWD && two[1] && UDS_ECHO_HAVE_EPOLL; i++) {
        for (k = 0; k < 2; k++) settle(two[k]);
        for (k = 0; k < 2; k++) fake_doze(uds_echo_server_fd(two[k]));
        crowd[i] = fake_peer_connect(PATH);
        for (k = woken = 0; k < 2; k++) {
            if (fake_dozes(uds_echo_server_fd(two[k]))) continue;
            woken++;
            (void)uds_echo_server_step(two[k], 0);
        }
        assert_int_equal(woken, i ? 1 : 2); /* the first began alone, when it had no reason to stand in line */
        assert_int_equal(stats_of(two[0]).connections + stats_of(two[1]).connections, i + 1);
    }
    if (i == CROWD) assert_in_range(stats_of(two[0]).connections, CROWD / 2 - 1, CROWD / 2 + 1);
    part_from_the_crowd();
}

/* Who leaves takes its connections out of the count, or the others would wait for it for ever. */
static void a_sharer_that_leaves(void **state)
{
    int peer;
    (void)state;
    if (share_a_crowd()) {
        settle(two[1]);
        assert_int_equal(uds_echo_server_close(two[1]), UDS_ECHO_OK);
        two[1] = NULL;
        assert_int_equal(two[0]->listener->shared_total, 0);
        settle(two[0]);
        peer = fake_peer_connect(PATH);
        say(peer, "alone");
        settle(two[0]);
        assert_string_equal(heard(peer), "alone");
        fake_peer_close(peer);
    }
    part_from_the_crowd();
}

/* P6, P17, P42: an inherited listener is verified, tamed and otherwise left alone. */
static void adopted_listener(void **state)
{
    struct sockaddr_un address;
    socklen_t size;
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    ue_path place;
    unsigned long polls;
    int fd = fake_socket(AF_UNIX, SOCK_STREAM, 0), passes = -1, peer;
    (void)state;
    desc.path = NULL;
    assert_int_equal(uds_echo_server_adopt(&server, fd, &desc, &why), UDS_ECHO_ERR_INVALID); /* does not listen */
    assert_int_equal(ue_path_split(&place, PATH, "", NULL), UDS_ECHO_OK);
    assert_true(ue_address(&address, &size, &place, ""));
    assert_int_equal(fake_bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(fake_listen(fd, 5), 0);
    desc.path = PATH;
    assert_int_equal(uds_echo_server_adopt(&server, fd, &desc, &why), UDS_ECHO_ERR_INVALID);
    assert_string_equal(why.call, "desc.path");
    desc.path = NULL;
    assert_int_equal(uds_echo_server_adopt(&server, fd, &desc, &why), UDS_ECHO_OK);
    size = sizeof passes;
    assert_int_equal(fake_getsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &passes, &size), 0);
    assert_int_equal(passes, !UDS_ECHO_HAVE_PASSRIGHTS);
    peer = fake_peer_connect(PATH);
    polls = fake_calls_of(FAKE_poll);
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    assert_int_equal(stats_of(server).connections, 1);
    assert_int_equal(fake_calls_of(FAKE_poll) - polls, !UDS_ECHO_HAVE_EPOLL); /* nobody asks whether it is shut */
    say(peer, "adopted");
    settle(server);
    assert_string_equal(heard(peer), "adopted");
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    settle(server);
    assert_string_equal(heard(peer), "");
    assert_int_equal(fake_calls_of(FAKE_unlinkat), 0);
    assert_true(fake_exists(PATH));
    fake_peer_close(peer);
    (void)uds_echo_server_close(server);
    fd = fake_socket(AF_UNIX, SOCK_DGRAM, 0);
    assert_int_equal(uds_echo_server_adopt(&server, fd, &desc, &why), UDS_ECHO_ERR_WRONG_TYPE);
    (void)fake_close(fd);
}

static int ready;

static void stop_at_once(uds_echo_server *server, void *user)
{
    (void)user;
    ready++;
    assert_int_equal(uds_echo_server_run(server), UDS_ECHO_ERR_REENTRANT);
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
}

static void gone(uds_echo_server *server, void *user)
{
    (void)server, (void)user;
    ready += 10;
}

/* Law 8: a stop before run is not lost. */
static void serve_and_stop_at_once(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    (void)state;
    ready = 0;
    desc.on_ready = stop_at_once;
    desc.on_end = gone;
    assert_int_equal(uds_echo_serve(&desc, &why), UDS_ECHO_OK);
    assert_string_equal(why.call, "");
    assert_int_equal(ready, 11);
    assert_false(fake_exists(PATH));
    fake_put_file(PATH);
    assert_int_equal(uds_echo_serve(&desc, &why), UDS_ECHO_ERR_NOT_SOCKET);
    assert_int_equal(ready, 11);
}

static void failures_explain_themselves(void **state)
{
    char text[400], cut[10];
    uds_echo_server *server;
    size_t length;
    int i;
    (void)state;
    (void)fake_put_live(PATH, SOCK_STREAM, 1);
    assert_int_equal(start(&server, PATH), UDS_ECHO_ERR_IN_USE);
    length = uds_echo_explain(&why, "/w/so\nck", text, sizeof text);
    assert_int_equal(length, strlen(text));
    assert_string_equal(text, "\"/w/so\\nck\": path is in use by a live server (pid 4711, uid 1000) [connect]; "
                              "stop that server, or use another path");
    assert_int_equal(uds_echo_explain(&why, "/w/so\nck", cut, sizeof cut), length);
    assert_string_equal(cut, "\"/w/so\\nc");
    assert_int_equal(uds_echo_explain(&why, "/w/so\nck", NULL, 0), length);
    assert_true(uds_echo_explain(NULL, NULL, text, sizeof text) > 0);
    for (i = 0; i < UDS_ECHO_ERROR_COUNT; i++) assert_true(strlen(uds_echo_strerror((uds_echo_error)i)) > 5);
    assert_true(strlen(uds_echo_strerror((uds_echo_error)-1)) > 0);
    assert_true(strlen(uds_echo_strerror(UDS_ECHO_ERROR_COUNT)) > 0);
}

static void escapes(void **state)
{
    static const struct {
        const char *bytes, *text;
        size_t size;
    } cases[] = {{"plain", "plain", 5},
                 {"a\0b", "a\\x00b", 3},
                 {"\n\r\t\\\x1b\x7f", "\\n\\r\\t\\\\\\x1b\\x7f", 6},
                 {"\xe4\xb8\xad\xc3\xa9", "\xe4\xb8\xad\xc3\xa9", 5},
                 {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80", 4},
                 {"\xc2\x9b", "\\xc2\\x9b", 2},                                     /* a control character in UTF-8 */
                 {"\xe4\xb8", "\\xe4\\xb8", 2},                                     /* cut */
                 {"\xc0\xaf\xff", "\\xc0\\xaf\\xff", 3},                            /* never well-formed */
                 {"\xed\xa0\x80", "\\xed\\xa0\\x80", 3},                            /* a surrogate */
                 {"\xe2\x80\xae", "\\xe2\\x80\\xae", 3},                            /* right-to-left from here on */
                 {"\xe2\x80\xa8", "\\xe2\\x80\\xa8", 3},                            /* the end of a line */
                 {"\xe2\x80\x8e\xe2\x80\x8f", "\\xe2\\x80\\x8e\\xe2\\x80\\x8f", 6}, /* marks without a width */
                 {"\xe2\x80\x8d\xe2\x80\x90", "\xe2\x80\x8d\xe2\x80\x90", 6},
                 {"\xd8\x9c\xd8\x9b", "\\xd8\\x9c\xd8\x9b", 4},
                 {"\xe2\x81\xa6\xe2\x81\xa9", "\\xe2\\x81\\xa6\\xe2\\x81\\xa9", 6},
                 {"\xe2\x80\xa7\xe2\x80\xaf", "\xe2\x80\xa7\xe2\x80\xaf", 6}, /* their harmless neighbours */
                 {"\xe2\x81\xa5\xe2\x81\xaa", "\xe2\x81\xa5\xe2\x81\xaa", 6},
                 {"\xe2\x82\xa7", "\xe2\x82\xa7", 3},
                 {"\xe2\x82\xac\xe3\x80\xae", "\xe2\x82\xac\xe3\x80\xae", 6},
                 {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", 4}};
    char text[64];
    size_t i;
    (void)state;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(uds_echo_escape(cases[i].bytes, cases[i].size, text, sizeof text), strlen(cases[i].text));
        assert_string_equal(text, cases[i].text);
    }
    assert_int_equal(uds_echo_escape(NULL, 5, text, sizeof text), 0);
    assert_string_equal(text, "");
}

/* So many calls of this kind fail, from this one on: after a call of another kind was made, where one is named. */
static fake_call failing_call, failing_after;
static int failing_skips, failing_times, failing_errno;

static void fail_one(fake_call what)
{
    if (what == failing_after) failing_after = FAKE_CALL_COUNT;
    if (failing_after != FAKE_CALL_COUNT || what != failing_call || !failing_times || failing_skips-- > 0) return;
    failing_times--;
    fake_fault(fake_calls(), failing_errno, 0);
}

static void fails(fake_call what, fake_call after, int skips, int times, int os_error)
{
    failing_call = what;
    failing_after = after;
    failing_skips = skips;
    failing_times = times;
    failing_errno = os_error;
    fake.before = fail_one;
}

/* What somebody else does before the first call of a kind that follows another. */
static fake_call act_after;

static void act_in_between(fake_call what)
{
    if (what == act_after) act_after = FAKE_CALL_COUNT;
    else if (act_after == FAKE_CALL_COUNT) act_now(what);
}

static void between(fake_call after, fake_call what, void (*does)(void))
{
    meanwhile(what, does);
    act_after = after;
    fake.before = act_in_between;
}

/* Without the lock, and with no time left to wait for it, a start that finds its staged file gone tries again. */
static void a_retry_without_the_lock(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    (void)state;
    fake.foreign_lock = 1;
    desc.lock_ms = -1;
    meanwhile(publishing(), clear_staged);
    assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_OK);
    assert_null(act);
    fake.foreign_lock = 0;
    (void)uds_echo_server_close(server);
    no_litter();
}

/* That the path leads elsewhere is no sign of a file system without sockets, however often. */
static void a_path_that_is_taken_twice(void **state)
{
    uds_echo_server *server;
    (void)state;
    fails(FAKE_connect, FAKE_listen, 0, UDS_ECHO_HAVE_PROC_FD ? 4 : 2, ENOENT);
    assert_int_equal(start(&server, PATH), UDS_ECHO_OK);
    assert_int_equal(failing_times, 0);
    (void)uds_echo_server_close(server);
    no_litter();
}

/* A folder that lets no file be removed: said where the start would only try again, and leave another file each time;
   another reason to fail is said as it is. */
static void a_folder_that_keeps_what_is_staged(void **state)
{
    uds_echo_server *server;
    (void)state;
    fails(publishing(), FAKE_listen, publishing() == FAKE_linkat, 1,
          EEXIST); /* the first link is tried beside the path */
    fake_refuse(FAKE_unlinkat, EACCES);
    assert_int_equal(start(&server, PATH), UDS_ECHO_ERR_DENIED);
    assert_string_equal(why.call, "unlinkat");
    assert_int_equal(fake_calls_of(FAKE_bind), 1);
    fake_remove(PATH "~0");
    fake_remove(PATH "~9");
    fails(FAKE_listen, FAKE_CALL_COUNT, 0, 1, EOPNOTSUPP);
    assert_int_equal(start(&server, PATH), UDS_ECHO_ERR_SYSTEM);
    assert_string_equal(why.call, "listen");
    assert_int_equal(why.os_error, EOPNOTSUPP);
    fake_refuse(FAKE_unlinkat, 0);
    fake_remove(PATH "~0");
}

static void swap_staged(void)
{
    fake_remove(PATH "~0");
    fake_put_file(PATH "~0");
    fake_set_mode(PATH "~0", 0640);
}

/* The mode is set by the file that is held open: another that came to its name keeps its own. */
static void a_file_that_came_before_the_mode_was_set(void **state)
{
    uds_echo_server *server;
    const char *where;
    (void)state;
    if (!UDS_ECHO_HAVE_PROC_FD) return;
    meanwhile(FAKE_fchmodat, swap_staged);
    (void)start(&server, PATH);
    assert_null(act);
    where = fake_exists(PATH "~0") ? PATH "~0" : PATH;
    assert_int_equal(fake_mode(where) & 0777, 0640);
    if (server) (void)uds_echo_server_close(server);
    fake_remove(where);
}

/* Where links are copies and no rename refuses to replace, a plain rename under the lock brings the file to its path. */
static void a_rename_where_links_are_copies(void **state)
{
    uds_echo_server *server;
    (void)state;
    fake.no_renameat2 = 1;
    fake.links_are_copies = 1;
    assert_int_equal(start(&server, PATH), UDS_ECHO_OK);
    assert_int_equal(fake_calls_of(FAKE_bind), 1);
    (void)uds_echo_server_close(server);
    no_litter();
    fails(FAKE_fstatat, FAKE_unlinkat, 0, 1, EACCES); /* the look at the path */
    assert_int_equal(start(&server, PATH), UDS_ECHO_ERR_DENIED);
    assert_int_equal(why.os_error, EACCES);
    no_litter();
    between(FAKE_unlinkat, FAKE_fstatat, take_path);
    assert_int_equal(start(&server, PATH), UDS_ECHO_ERR_IN_USE);
    assert_null(act);
    no_litter();
}

/* A link that cannot be made is the end of a start, by its own error. */
static void a_link_that_cannot_be_made(void **state)
{
    uds_echo_server *server;
    (void)state;
    fake.no_renameat2 = 1;
    fails(FAKE_linkat, FAKE_CALL_COUNT, 1, 100, ENOSPC);
    assert_int_equal(start(&server, PATH), UDS_ECHO_ERR_SYSTEM);
    assert_int_equal(why.os_error, ENOSPC);
    assert_int_equal(failing_times, 99);
    no_litter();
}

/* The staged file went away before its mode was set: another is staged. */
static void a_file_that_went_before_the_mode_was_set(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    (void)state;
    desc.mode = 0666; /* the umask takes some of it away, so that it has to be set */
    fails(FAKE_fchmodat, FAKE_CALL_COUNT, 0, 1, ENOENT);
    assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_OK);
    assert_int_equal(failing_times, 0);
    (void)uds_echo_server_close(server);
    no_litter();
}

static void widen_staged(void)
{
    fake_set_mode(PATH "~0", 01777);
}

static void stage_a_folder(void)
{
    fake_remove(PATH "~0");
    fake_put_dir(PATH "~0");
    fake_set_mode(PATH "~0", 01600);
}

/* What is at the staged name and wider than it was made, or no socket at all, is somebody else's, whatever bits it has. */
static void what_is_not_like_what_was_staged(void **state)
{
    static void (*const does[])(void) = {widen_staged, stage_a_folder};
    static const unsigned modes[] = {01777, 01600};
    uds_echo_server *server;
    int i;
    (void)state;
    for (i = 0; i < 2; i++) {
        between(FAKE_bind, FAKE_open, does[i]);
        assert_int_equal(start(&server, PATH), UDS_ECHO_OK);
        assert_null(act);
        assert_int_equal(fake_mode(PATH "~0") & 01777, modes[i]);
        (void)uds_echo_server_close(server);
        fake_remove(PATH "~0");
    }
}

/* The path leads elsewhere once it is bound, and there is no /proc: what was bound is not believed to be at the path. */
static void a_folder_is_switched_after_binding(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    char name[32];
    int i;
    (void)state;
    fake.no_proc = 1;
    desc.path = "/w/now/sock";
    desc.lock_ms = -1;
    fake_put_dir("/w/old");
    fake_put_dir("/w/new");
    fake_put_link("/w/now", "/w/old");
    between(FAKE_bind, FAKE_open, lead_elsewhere);
    assert_int_equal(uds_echo_server_open(&server, &desc, &why), UDS_ECHO_ERR_BUSY);
    assert_null(act);
    assert_int_equal(fake_calls_of(FAKE_listen), 0);
    for (i = 0; i < 20; i++) {
        (void)snprintf(name, sizeof name, "/w/%s/sock~%d", i % 2 ? "old" : "new", i / 2);
        fake_remove(name);
    }
    fake_remove("/w/old");
    fake_remove("/w/new");
    fake_remove("/w/now");
}

/* A look that fails at the file that is held open says so. */
static void a_held_file_that_cannot_be_looked_at(void **state)
{
    uds_echo_server *server;
    (void)state;
    if (!UDS_ECHO_HAVE_PROC_FD) return;
    fails(FAKE_fstatat, FAKE_bind, 3, 1, EACCES); /* the link, the name, the address, and the link again */
    assert_int_equal(start(&server, PATH), UDS_ECHO_ERR_DENIED);
    assert_string_equal(why.call, "fstatat");
    assert_int_equal(why.os_error, EACCES);
    fake_remove(PATH "~0");
}

/* Litter that may not be removed, in a folder that cannot be looked at: nothing says that removing is forbidden. */
static void litter_in_a_folder_that_tells_nothing(void **state)
{
    uds_echo_server *server;
    struct rlimit limit;
    int odd;
    (void)state;
    for (odd = 0; odd < 2; odd++) { /* what a failed call leaves behind is another thing each time */
        if (odd) assert_int_equal(fake_getrlimit(RLIMIT_NOFILE, &limit), 0);
        fake_put_stale(PATH "~0");
        fake_refuse(FAKE_unlinkat, EACCES);
        fails(FAKE_fstatat, FAKE_unlinkat, 9, 1, EACCES); /* nine more names are looked at */
        assert_int_equal(start(&server, PATH), UDS_ECHO_OK);
        assert_int_equal(failing_times, 0);
        fake_refuse(FAKE_unlinkat, 0);
        (void)uds_echo_server_close(server);
        fake_remove(PATH "~0");
        fake_reset();
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* An unlock that fails once is tried again: the server keeps the folder open, and with it would keep the lock. */
static void a_failed_unlock_is_repeated(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *first, *second;
    unsigned long from = 0, call, locks = 0;
    int round;
    (void)state;
    for (round = 0; round < 2; round++) { /* the second time with what the first has shown */
        fake_put_stale(PATH);
        if (round == 1) fake_fault(fake_calls() + from, ENOLCK, 0);
        call = fake_calls();
        first = open_server(&desc);
        for (from = round ? from : 0; round == 0 && call + from < fake_calls() && locks < 2; from++)
            if (fake_call_at(call + from + 1) == FAKE_flock) locks++;
        if (round == 0) assert_int_equal(uds_echo_server_close(first), UDS_ECHO_OK);
    }
    assert_int_equal(locks, 2);
    assert_true(fake_fault_happened());
    fake_put_stale("/w/other");
    desc.path = "/w/other";
    desc.lock_ms = -1;
    second = open_server(&desc);
    assert_int_equal(uds_echo_server_close(second), UDS_ECHO_OK);
    assert_int_equal(uds_echo_server_close(first), UDS_ECHO_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(fresh),
                                       TEST(stale_is_replaced),
                                       TEST(a_file_that_may_not_be_removed),
                                       TEST(what_goes_is_not_shared),
                                       TEST(a_folder_is_switched),
                                       TEST(a_folder_is_switched_and_may_not_be_asked),
                                       TEST(a_folder_is_switched_while_binding),
                                       TEST(a_folder_that_cannot_be_asked),
                                       TEST(without_renameat2),
                                       TEST(direct),
                                       TEST(foreign_files_refuse),
                                       TEST(live_refuses),
                                       TEST(refuse_what_exists),
                                       TEST(unknown_refuses),
                                       TEST(stale_of_another_in_a_sticky_folder),
                                       TEST(own_in_a_sticky_folder),
                                       TEST(retired_by_another_in_a_sticky_folder),
                                       TEST(a_folder_of_a_group),
                                       TEST(what_has_the_number_only),
                                       TEST(who_has_the_number_only),
                                       TEST(held_lock),
                                       TEST(held_lock_and_no_time),
                                       TEST(lock_is_waited_for),
                                       TEST(stolen_between_looks),
                                       TEST(stolen_between_look_and_act),
                                       TEST(put_back_at_the_second_try),
                                       TEST(taken_before_it_is_renamed_over),
                                       TEST(what_a_rename_frees_is_anothers),
                                       TEST(overtaken_while_publishing),
                                       TEST(a_stale_file_that_goes_by_itself),
                                       TEST(a_number_that_comes_back),
                                       TEST(moved_aside_to_a_free_name),
                                       TEST(what_took_our_place_is_left_alone),
                                       TEST(where_no_mode_is_kept),
                                       TEST(what_was_bound_cannot_be_looked_at),
                                       TEST(litter_is_swept),
                                       TEST(all_names_taken),
                                       TEST(mode_is_exact),
                                       TEST(retire_leaves_what_is_not_ours),
                                       TEST(lengths),
                                       TEST(bad_paths),
                                       TEST(as_long_as_a_path_may_be),
                                       TEST(unreadable_folder),
                                       TEST(shared_listener),
                                       TEST(a_drain_shares_no_more),
                                       TEST(shares_are_even),
                                       TEST(who_shares_takes_one_at_a_time),
                                       TEST(a_sharer_that_is_stuck),
                                       TEST(a_sharer_that_is_full),
                                       TEST(a_sharer_that_is_full_and_holds_too_much),
                                       TEST(who_is_woken_takes_one),
                                       TEST(sleepers_take_turns),
                                       TEST(a_sharer_that_leaves),
                                       TEST(adopted_listener),
                                       TEST(serve_and_stop_at_once),
                                       TEST(failures_explain_themselves),
                                       TEST(escapes),
                                       TEST(a_failed_unlock_is_repeated),
                                       TEST(a_retry_without_the_lock),
                                       TEST(a_path_that_is_taken_twice),
                                       TEST(a_folder_that_keeps_what_is_staged),
                                       TEST(a_file_that_came_before_the_mode_was_set),
                                       TEST(a_rename_where_links_are_copies),
                                       TEST(a_link_that_cannot_be_made),
                                       TEST(a_file_that_went_before_the_mode_was_set),
                                       TEST(what_is_not_like_what_was_staged),
                                       TEST(a_folder_is_switched_after_binding),
                                       TEST(a_held_file_that_cannot_be_looked_at),
                                       TEST(litter_in_a_folder_that_tells_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
