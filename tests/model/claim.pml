/* The claim of a path and its removal, as sections >>claim and >>stop of uds_echo.h do them, among other starters, foreign
   servers, neighbours that rename and unlink, and crashes. tests/model/model.sh has the searches and what each must find.

   One directory, the path P, temporary names T0 and T1 (and T9 for the link that is tried), numbered inodes that are
   reused at once, a mark, who is bound, who listens, the directory lock. One d_step is one system call. bind(2) is two:
   the file is there a moment before its socket can be found through it, and in that moment the kernel holds the
   directory's own lock (dl), so that nobody renames, links or removes in it.

   What stands for which function of the header:
     sweep                  ue_sweep                     look                   ue_inspect (fstatat, ue_probe, fstatat)
     inspect, again         ue_claim_path                trybind                ue_bind
     aside                  ue_move_aside                stage, held, mark      ue_stage, ue_stage_file, ue_set_mode
     fresh                  ue_publish_new, ue_publish_by_link, ue_try_link     over  ue_replace_stale
     look8                  ue_confirm                   giveup, remove         ue_give_up, ue_unlink_if_same
     retire                 ue_unlink_path

   -DNS=2|3 starters  -DDIRECT=0|1|2 (2: starter 1 in place, the others atomic)  -DRENAME2=0|1  -DLINKS=0|1 (a link leads
   to our socket)  -DFOREIGN=n rounds of unlink, bind, listen, close  -DNEIGH=n renames and unlinks  -DCRASH=n
   -DSTALE=0|1 a stale file at P  -DLEFT=0|1 a stale T0  -DRETIRE=0|1  -DFINAL one more start after all have come to rest
   -DPROC=0|1  -DEXC=bits the windows that excuse (E_ below)
   The header is: -DLOCKALL (nothing is staged without the lock), -DHOLD (the O_PATH descriptor is kept until ue_confirm
   has looked), -DNOFALL (no unmarked file is believed). Planted flaws: -DNOMARK -DNOLOCK -DONELOOK -DNOLOOK8 -DTODAY
   (the header of 29 November 2026) -DEARLY (what was seen before the mark is removed), and the absence of the three above.
   -DSTRONG8, -DOWN3: ue_confirm and ue_stage_file could tell our own socket; no such call is known.
   Not modelled: lock_ms that runs out, shared listeners, the 2 ms of grace, the mode by name without /proc. */
#ifndef NS
#define NS 2
#endif
#ifndef DIRECT
#define DIRECT 0
#endif
#ifndef RENAME2
#define RENAME2 1
#endif
#ifndef LINKS
#define LINKS 1
#endif
#ifndef FOREIGN
#define FOREIGN 0
#endif
#ifndef NEIGH
#define NEIGH 0
#endif
#ifndef CRASH
#define CRASH 0
#endif
#ifndef STALE
#define STALE 0
#endif
#ifndef LEFT
#define LEFT 0
#endif
#ifndef RETIRE
#define RETIRE 1
#endif
#ifndef PROC
#define PROC 1
#endif
#ifndef EXC
#define EXC 4095
#endif
#ifndef EXCO /* the same, where the victim is another server of ours */
#define EXCO EXC
#endif
#define E_RETIRE 1   /* compare, then unlink, at the path, ours */
#define E_UNSTAGE 2  /* the same of what was staged or published and is given up */
#define E_SWEEP 4    /* seen stale twice, compared, then unlinked */
#define E_OUT 8      /* came out of the exchange or was set aside, seen stale, compared, then unlinked */
#define E_OVER 16    /* no EXCHANGE: seen stale, then renamed over */
#define E_FRESH 32   /* no NOREPLACE, no links: lstat says ENOENT, then renamed over, under the lock */
#define E_LINKED 64  /* the staged name after its link is at the path */
#define E_TRIAL 128  /* the trial link */
#define E_NAME 256   /* mode by name */
#define E_BACK 512   /* a live file that could not be put back (somebody else took the name meanwhile) */

#define E_HALF 1024  /* a staged name of another starter of ours, seen in the middle of two binds of the same number */

#define E_STRAND 2048 /* killed between the exchange (or setting aside) of a live file and putting it back */
#define NI 8
#define P 0
#define T0 1
#define T1 2
#define T9 3
#define FID 4
#define NOTHING 0
#define STALEF 1
#define INUSE 2
#define RUN 0
#define SERVING 1
#define RETIRING 2
#define ENDED 3
#define DEAD 4
#define REFUSED 5

byte dir[4];
byte own[NI];   /* whose socket is (or is about to be) bound to the inode */
bit att[NI];    /* and can be found through it */
bit lis[NI];
bit mark[NI];
byte held[4];   /* O_PATH descriptors, by starter */
byte lk;        /* flock */
byte dl;        /* the folder's own lock, in the middle of a bind */
byte phase[5];
byte win[4];    /* ghost: the name + 1 whose look or compare a starter relies on */
bit brk[4];     /* ghost: a foreigner acted on that name since */
bit disp[4];    /* ghost: a foreigner acted on names while this one served */
byte took[4];   /* ghost: a live file that we moved away, by mistake, and have to put back */
bit served;
bit cdone = !CRASH;
bit fin;        /* the last start has begun: nobody retires any more */
hidden byte q;

#define FREE(i) (dir[0]!=i && dir[1]!=i && dir[2]!=i && dir[3]!=i && own[i]==0 && held[1]!=i && held[2]!=i && held[3]!=i)
#define ALIEN(i) ((i) != 0 && own[i] != 0 && own[i] != me)

inline norm() {
    q = 1;
    do
    :: q < NI && FREE(q) -> att[q] = 0; lis[q] = 0; mark[q] = 0; q++
    :: q < NI && !FREE(q) -> q++
    :: q >= NI -> break
    od;
    q = 0
}
inline lowest(i) {
    i = 1;
    do
    :: i < NI && !FREE(i) -> i++
    :: i < NI && FREE(i) -> break
    :: i >= NI -> assert(0) /* the model has too few inodes */
    od
}
inline foreign_act(n) { /* by a foreigner, on a name */
    q = 1;
    do
    :: q <= 3 && win[q] == n + 1 -> brk[q] = 1; disp[q] = 1; q++
    :: q <= 3 && win[q] != n + 1 -> disp[q] = (phase[q] == SERVING -> 1 : disp[q]); q++
    :: q > 3 -> break
    od;
    q = 0
}

/* ---- ours ---- */
inline look(n, seen, ino) { /* lstat; connect; lstat */
    d_step { ino = dir[n]; seen = (ino -> STALEF : NOTHING) }
    if
    :: seen == NOTHING
    :: else ->
        d_step {
            win[me] = n + 1; a = dir[n]; brk[me] = (a != 0 && own[a] == FID && !att[a]); /* a foreigner in the middle of its bind acts, too */
            if
            :: a == 0 -> ans = 0
            :: a != 0 && att[a] -> ans = 2
            :: a != 0 && !att[a] -> ans = 1
            fi;
            a = 0
        }
        d_step {
            if
            :: dir[n] != ino -> seen = NOTHING; ino = 0
            :: dir[n] == ino && ans == 0 -> seen = NOTHING; ino = 0
            :: dir[n] == ino && ans == 1 -> seen = STALEF
            :: dir[n] == ino && ans == 2 -> seen = INUSE
            fi;
            ans = 0
        }
    fi
}
inline pause() { dl == 0 } /* a bind that was in the middle is through */

/* S2, for what is lost at a name by an unlink or a rename over it */
inline lose(n, why) {
    a = dir[n];
    if
    :: ALIEN(a) && (why == E_TRIAL || (n != 0 && dir[0] == a) || (n != 1 && dir[1] == a) || (n != 2 && dir[2] == a) || (n != 3 && dir[3] == a)) /* another name of it stays */
    :: else -> if
    :: ALIEN(a) && own[a] == FID -> assert((EXC & why) && brk[me])
    :: ALIEN(a) && own[a] != FID ->
        assert(((EXCO & why) && brk[me]) || ((EXCO & E_HALF) && n != P && phase[own[a]] == RUN));
        brk[own[a]] = 1; disp[own[a]] = 1 /* displaced by an excused window */
    :: else
    fi fi;
    a = 0
}
inline remove(n, which, fresh, why) { /* ue_remove; fresh: no look before it counts */
    d_step {
        cmp = (which != 0 && dir[n] == which);
        if
        :: fresh -> win[me] = n + 1; brk[me] = 0
        :: else
        fi
    }
    if
    :: cmp -> d_step { dl == 0; lose(n, why); dir[n] = 0; cmp = 0; norm() }
    :: else
    fi
}
inline close_sock() {
    d_step { q = 1; do :: q < NI && own[q] == me -> own[q] = 0; att[q] = 0; lis[q] = 0; q++ :: q < NI && own[q] != me -> q++ :: q >= NI -> break od; held[me] = 0; sock = 0; norm() }
}
inline sweep(n) {
    look(n, seen, ino);
    if
    :: seen == STALEF ->
        first = ino;
#ifndef ONELOOK
        pause();
        look(n, seen, ino);
#endif
        if
        :: seen == STALEF && ino == first -> remove(n, first, 0, E_SWEEP)
        :: else
        fi
    :: else
    fi;
    first = 0; seen = 0; ino = 0
}
inline trybind(n) { /* bound: 1 where it was free */
    d_step {
        dl == 0;
        if
        :: dir[n] == 0 -> lowest(a); own[a] = me; att[a] = 0; lis[a] = 0;
#ifdef TODAY
            mark[a] = 0;
#else
            mark[a] = 1;
#endif
            dir[n] = a; sock = a; nm = n; dl = me; ok = 1; a = 0
        :: dir[n] != 0 -> ok = 0
        fi
    }
    if
    :: ok -> d_step { att[sock] = 1; dl = 0 }
    :: else
    fi
}

proctype Starter(byte me; bit last)
{
    byte seen, ino, sb, before, first, nm, file, st, a, ans, unm, sock;
    bit locked, twice, cmp, ok, direct;
    {
        if
        :: last -> d_step { (cdone && phase[1] != RUN && phase[1] != RETIRING && (NS < 3 || (phase[2] != RUN && phase[2] != RETIRING))); fin = 1 }
        :: else
        fi;
        direct = (DIRECT == 1 || (DIRECT == 2 && me == 1));
#ifndef NOLOCK
        d_step { if :: lk == 0 -> lk = me; locked = 1 :: else fi }
#else
        locked = 1;
#endif
        if
        :: locked -> sweep(T0); sweep(T1);
#if !RENAME2
            sweep(T9)
#endif
        :: else
        fi;

inspect: skip;
        look(P, seen, ino);
        d_step {
#ifdef ONELOOK
            twice = (seen == STALEF);
#else
            twice = (seen == STALEF && sb == STALEF && before == ino);
#endif
            sb = seen; before = ino
        }
        if
        :: seen == INUSE -> goto refuse
#ifdef LOCKDIRECT
        :: seen == NOTHING && (locked || !direct) -> goto stage
#else
#ifdef LOCKALL
        :: seen == NOTHING && locked -> goto stage
#else
        :: seen == NOTHING -> goto stage
#endif
#endif
        :: seen == STALEF && twice && locked ->
            if
            :: direct -> goto aside
            :: else -> goto stage
            fi
        :: else
        fi;
again: skip;
        d_step { /* locals that mean nothing any more */
            ok = 0; twice = 0; file = 0; nm = 0; st = 0;
            win[me] = (sb == STALEF -> win[me] : 0); brk[me] = (sb == STALEF -> brk[me] : 0)
        }
        pause();
        if
#if defined(LOCKDIRECT) || defined(LOCKALL)
        :: !locked -> d_step { if :: lk == 0 -> lk = me; locked = 1 :: else fi }
#else
        :: sb == STALEF && !locked -> d_step { if :: lk == 0 -> lk = me; locked = 1 :: else fi }
#endif
        :: else
        fi;
        goto inspect;

aside: /* DIRECT, stale: set aside, look, remove or put back */
        nm = T0;
#if RENAME2
        d_step { dl == 0;
            if
            :: dir[P] == 0 -> ok = 0; nm = 0
            :: dir[P] != 0 && dir[T0] == 0 -> nm = T0; ok = 1
            :: dir[P] != 0 && dir[T0] != 0 && dir[T1] == 0 -> nm = T1; ok = 1
            :: else -> ok = 0; nm = T1
            fi;
            if
            :: ok -> dir[nm] = dir[P]; dir[P] = 0; took[me] = (ALIEN(dir[nm]) -> dir[nm] : 0)
            :: else
            fi
        }
        if
        :: !ok && nm -> goto again /* EEXIST at the last name */
        :: !ok && !nm -> skip      /* it is gone: bind */
        :: ok ->
            look(nm, seen, ino);
            if
            :: seen == STALEF && ino == before -> took[me] = 0; remove(nm, before, 0, E_OUT); ok = 1
            :: else ->
                d_step { dl == 0; /* put back, NOREPLACE */
                    if
                    :: dir[nm] == 0 -> ok = 1; took[me] = 0
                    :: dir[nm] != 0 && dir[P] == 0 -> dir[P] = dir[nm]; dir[nm] = 0; ok = 1; took[me] = 0
                    :: dir[nm] != 0 && dir[P] != 0 -> ok = 0; assert(!ALIEN(dir[nm]) || (EXC & E_BACK)); took[me] = 0
                    fi
                }
                if
                :: !ok -> goto again
                :: else
                fi
            fi
        fi;
#else
        look(P, seen, ino);
        if
        :: seen == STALEF && ino == before -> remove(P, before, 0, E_OVER)
        :: else
        fi;
#endif
        before = 0; sb = NOTHING; seen = NOTHING; ino = 0;

stage: skip;
        if
        :: direct -> trybind(P)
        :: else -> trybind(T0);
            if
            :: !ok -> trybind(T1)
            :: else
            fi
        fi;
        if
        :: !ok -> goto again
        :: else
        fi;
#ifdef TODAY
        d_step { st = dir[nm]; ok = (st != 0); file = st; win[me] = nm + 1; brk[me] = 0 }
        if
        :: ok -> d_step { a = dir[nm]; assert(!ALIEN(a)); a = 0 }
        :: else
        fi;
        st = 0;
#else
        d_step { held[me] = dir[nm] }       /* open O_PATH */
        d_step {
            st = dir[nm]; ok = (st != 0 && st == held[me]);
#ifdef EARLY
            file = (ok -> st : 0);
#endif
#ifndef NOMARK
            if
            :: ok && !mark[st] -> ok = 0; unm = (unm < 2 && !direct -> unm + 1 : unm); ans = 1
            :: else
            fi;
#endif
#ifdef OWN3
            if :: ok && own[st] != me -> ok = 0 :: else fi;
#endif
            win[me] = nm + 1; brk[me] = 0
        }
        if
        :: !ok && ans && unm == 2 && !direct &&
#ifdef NOFALL
            false &&
#endif
            true -> /* a file system that drops the mark? a stream connect, to what is held */
            d_step { ok = !lis[st] }
        :: else
        fi;
        ans = 0;
        if
        :: ok ->
            d_step {
#if PROC
                a = held[me];
                assert(!ALIEN(a) || own[a] != FID);  /* S2: re-moded */
#else
                a = dir[nm];
                assert(!ALIEN(a) || own[a] != FID || ((EXC & E_NAME) && brk[me]));
#endif
                mark[a] = 0; a = 0; file = st;
#ifndef HOLD
                held[me] = 0;
#endif
                st = 0; norm()
            }
        :: else -> d_step { held[me] = 0; st = 0; norm() }
        fi;
#endif
        if
        :: !ok -> goto giveup
        :: else
        fi;
        d_step { lis[sock] = 1 }            /* listen */
        if
        :: nm == P -> goto look8
        :: sb == STALEF -> goto over
        :: else
        fi;

        /* fresh */
#if RENAME2
        d_step { dl == 0;
            ok = (dir[nm] != 0 && dir[P] == 0);
            if :: ok -> dir[P] = dir[nm]; dir[nm] = 0; nm = P :: else fi }
#else
        /* the trial link, then the link that counts */
        d_step { dl == 0; ok = (dir[nm] != 0 && dir[T9] == 0);
            if :: ok -> dir[T9] = dir[nm] :: else fi; st = dir[T9] }
        if
        :: ok -> remove(T9, st, 1, E_TRIAL)
        :: else
        fi;
        st = 0;
#if LINKS
        d_step { dl == 0; ok = (dir[nm] != 0 && dir[P] == 0);
            if :: ok -> dir[P] = dir[nm] :: else fi }
        if
        :: ok -> remove(nm, file, 1, E_LINKED); nm = P
        :: else
        fi;
#else
        if
        :: !locked -> direct = 1; goto giveup
        :: else
        fi;
        d_step { ok = (dir[P] == 0); win[me] = P + 1; brk[me] = 0 }
        if
        :: ok -> d_step { dl == 0; ok = (dir[nm] != 0);
                if :: ok -> lose(P, E_FRESH); dir[P] = dir[nm]; dir[nm] = 0; nm = P; norm() :: else fi }
        :: else
        fi;
#endif
#endif
        if
        :: ok -> goto look8
        :: else -> goto giveup
        fi;

over: skip;
#if RENAME2
        d_step { dl == 0;
            ok = (dir[nm] != 0 && dir[P] != 0);
            if
            :: ok -> a = dir[P]; dir[P] = dir[nm]; dir[nm] = a; took[me] = (ALIEN(a) -> a : 0); a = 0
            :: else
            fi }
        if
        :: !ok -> goto giveup
        :: else
        fi;
        look(nm, seen, ino);
        if
        :: seen == STALEF && ino == before -> took[me] = 0; remove(nm, before, 0, E_OUT); nm = P; goto look8
        :: else
        fi;
        d_step { dl == 0; /* put back */
            if
            :: dir[nm] != 0 && dir[P] != 0 -> a = dir[P]; dir[P] = dir[nm]; dir[nm] = a; a = 0; took[me] = 0
            :: else -> assert(!ALIEN(dir[nm]) || (EXC & E_BACK)); nm = P; took[me] = 0
            fi }
        goto giveup;
#else
        look(P, seen, ino);
        if
        :: seen == STALEF && ino == before ->
            d_step { dl == 0; ok = (dir[nm] != 0);
                if :: ok -> lose(P, E_OVER); dir[P] = dir[nm]; dir[nm] = 0; nm = P; norm() :: else fi }
            if
            :: ok -> goto look8
            :: else -> goto giveup
            fi
        :: else -> goto giveup
        fi;
#endif

look8: skip;
        before = 0; sb = NOTHING;
        d_step { win[me] = 0; brk[me] = 0 }
#if !defined(TODAY) && !defined(NOLOOK8)
        look(P, seen, ino);
        ok = (seen == INUSE && ino == file);
#ifdef STRONG8
        ok = ok && own[ino] == me;
#endif
        seen = 0; ino = 0;
        if
        :: !ok -> goto giveup
        :: else
        fi;
#endif
        /* ready */
        d_step {
#ifndef NOS3
            assert((dir[P] == sock && att[sock] && lis[sock]) || brk[me]);              /* S3 */
#endif
            q = 1;
            do
            :: q <= NS && q != me && phase[q] == SERVING -> assert(disp[q] || disp[me] || brk[me]); q++  /* S1 */
            :: q <= NS && (q == me || phase[q] != SERVING) -> q++
            :: q > NS -> break
            od;
            q = 0;
            held[me] = 0; phase[me] = SERVING; served = 1; win[me] = 0; brk[me] = 0; nm = 0; ok = 0; unm = 0;
            if :: lk == me -> lk = 0 :: else fi;
            locked = 0;
            assert(!last || FOREIGN || NEIGH || (dir[T0] == 0 && dir[T1] == 0 && dir[T9] == 0)) /* S4 */
        }
#if RETIRE
        if
        :: true -> goto done /* serves for ever, or is killed */
        :: d_step { !fin; phase[me] = RETIRING }
        fi;
        /* retire */
#ifndef NOLOCK
        d_step { if :: lk == 0 -> lk = me; locked = 1 :: else fi }
#else
        locked = 1;
#endif
        if
        :: locked -> remove(P, file, 1, E_RETIRE);
            d_step { if :: lk == me -> lk = 0 :: else fi; locked = 0; win[me] = 0; brk[me] = 0 }
        :: else /* it stays behind, stale */
        fi;
        d_step { phase[me] = ENDED; file = 0; q = 1; do :: q < NI && own[q] == me -> own[q] = 0; att[q] = 0; lis[q] = 0; q++ :: q < NI && own[q] != me -> q++ :: q >= NI -> break od; sock = 0; norm() }
#endif
        goto done;

giveup: skip;
        remove(nm, file, 1, E_UNSTAGE);
        close_sock();
        goto again;

refuse: skip;
        d_step {
            if :: lk == me -> lk = 0 :: else fi;
            locked = 0; win[me] = 0; brk[me] = 0; seen = 0; ino = 0; sb = 0; before = 0; phase[me] = REFUSED;
            assert(!last || FOREIGN || NEIGH || phase[1] == SERVING || (NS > 2 && phase[2] == SERVING)) /* S4 */
            assert(!last || FOREIGN || NEIGH || (dir[T0] == 0 && dir[T1] == 0 && dir[T9] == 0))
        }
done:   skip
    } unless { phase[me] == DEAD }
}

/* ---- the others ---- */
proctype Crasher(byte n; byte top)
{
    byte me;
    do
    :: n > 0 ->
        if
        :: phase[1] <= RETIRING -> me = 1
        :: top >= 2 && phase[2] <= RETIRING -> me = 2
        :: top >= 3 && phase[3] <= RETIRING -> me = 3
        :: else -> break
        fi;
        d_step {
            dl != me;
            n--; if :: phase[me] <= RETIRING -> phase[me] = DEAD :: else fi;
            if :: lk == me -> lk = 0 :: else fi;
            q = 1;
            do
            :: q < NI && own[q] == me -> own[q] = 0; att[q] = 0; lis[q] = 0; q++
            :: q < NI && own[q] != me -> q++
            :: q >= NI -> break
            od;
            assert(took[me] == 0 || (EXC & E_STRAND)); took[me] = 0;
            held[me] = 0; win[me] = 0; brk[me] = 0;
            norm(); me = 0
        }
    :: true -> break
    od
;
    cdone = 1
}

proctype Foreign(byte n)
{
    byte a;
    do
    :: n > 0 ->
        n--;
        d_step { dl == 0; dir[P] = 0; foreign_act(P); norm() }
        d_step { dl == 0;
            if
            :: dir[P] == 0 -> lowest(a); own[a] = FID; att[a] = 0; lis[a] = 0; mark[a] = 0; dir[P] = a; dl = FID; foreign_act(P)
            :: else -> a = 0
            fi }
        if
        :: a -> d_step { att[a] = 1; dl = 0 }
            d_step { lis[a] = 1 }
            if
            :: true -> d_step { own[a] = 0; att[a] = 0; lis[a] = 0; a = 0; norm() } /* closes, the file stays */
            :: true -> break
            fi
        :: else
        fi
    :: else -> break
    od
}

proctype Neighbour(byte n)
{
    byte from, to;
    do
    :: n > 0 ->
        n--;
        if :: from = P :: from = T0 :: from = T1 fi;
        if
        :: d_step { dl == 0 && dir[from] != 0; dir[from] = 0; foreign_act(from); norm(); from = 0 }
        :: if :: to = P :: to = T0 :: to = T1 fi;
            d_step { dl == 0;
                if
                :: dir[from] != 0 && from != to && dir[to] != dir[from] ->
                    dir[to] = dir[from]; dir[from] = 0; foreign_act(from); foreign_act(to); norm()
                :: else
                fi;
                from = 0; to = 0 }
        fi
    :: true -> break
    od
}

init {
    atomic {
#ifdef HOG /* somebody holds the lock for ever */
        lk = FID;
#endif
#if STALE
        dir[P] = 1;
#endif
#if LEFT
        dir[T0] = 2;
#endif
#ifdef FINAL
        run Starter(1, 0);
#if NS > 2
        run Starter(2, 0);
#endif
        run Starter(NS, 1);
#else
        run Starter(1, 0);
#if NS > 1
        run Starter(2, 0);
#endif
#if NS > 2
        run Starter(3, 0);
#endif
#endif
#if CRASH
#ifdef FINAL
        run Crasher(CRASH, NS - 1);
#else
        run Crasher(CRASH, NS);
#endif
#endif
#if FOREIGN
        run Foreign(FOREIGN);
#endif
#if NEIGH
        run Neighbour(NEIGH);
#endif
    }
}

#ifdef LIVE
ltl L1 { <> served }
#endif
