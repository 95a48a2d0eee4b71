//! What the engine does with those who wait, with transactions and with expiry, as transcripts of several clients;
//! [`engine_support::check`] tells how to read them.

mod engine_support;

use engine_support::{House, check};

#[test]
fn one_push_serves_one_waiter_and_the_first_comes_first() {
    check(
        "
        c1: BLPOP q 0
          (blocks)
        c2: BLPOP q 0
          (blocks)
        c3: RPUSH q a
          :1
          c1: *2 $1 q $1 a
          log: RPUSH q a
          log: LPOP q
        c1: BLPOP q 0
          (blocks)
        c3: RPUSH q b c d
          :3
          c2: *2 $1 q $1 b
          c1: *2 $1 q $1 c
          log: RPUSH q b c d
          log: LPOP q
          log: LPOP q
        c3: LRANGE q 0 -1
          *1 $1 d
        ",
    );
}

#[test]
fn a_wake_that_serves_nothing_keeps_the_waiter_and_its_place() {
    // As redis#12998: neither place nor timeout begin anew.
    check(
        "
        c1: BLPOP q 10
          (blocks)
        c2: BLPOP q 10
          (blocks)
        c3: MULTI | RPUSH q a | LPOP q | EXEC
          +OK +QUEUED +QUEUED *2 :1 $1 a
          log: MULTI
          log: RPUSH q a
          log: LPOP q
          log: EXEC
        c3: RPUSH q b
          :1
          c1: *2 $1 q $1 b
          log: RPUSH q b
          log: LPOP q
        # timeout c2
          *-1
        ",
    );
}

#[test]
fn a_move_wakes_along_a_chain_across_shards() {
    check(
        "
        c1: BLMOVE a b LEFT RIGHT 0
          (blocks)
        c2: BLMOVE b c LEFT RIGHT 0
          (blocks)
        c3: BLPOP x c 0
          (blocks)
        c4: RPUSH a 1
          :1
          c1: $1 1
          c2: $1 1
          c3: *2 $1 c $1 1
          log: RPUSH a 1
          log: LMOVE a b LEFT RIGHT
          log: LMOVE b c LEFT RIGHT
          log: LPOP c
        c4: EXISTS a b c
          :0
        ",
    );
}

#[test]
fn moves_in_a_circle_come_to_rest() {
    check(
        "
        c1: BLMOVE a b LEFT RIGHT 0
          (blocks)
        c2: BLMOVE b a LEFT RIGHT 0
          (blocks)
        c3: BRPOPLPUSH a a 0
          (blocks)
        c4: RPUSH a 1
          :1
          c1: $1 1
          c2: $1 1
          c3: $1 1
          log: RPUSH a 1
          log: LMOVE a b LEFT RIGHT
          log: LMOVE b a LEFT RIGHT
          log: LMOVE a a RIGHT LEFT
        ",
    );
}

#[test]
fn readers_of_a_stream_are_served_by_what_may_bring_entries() {
    check(
        "
        c1: XADD s 5-0 f a
          $3 5-0
          log: XADD s 5-0 f a
        c1: XGROUP CREATE s g $
          +OK
          log: XGROUP CREATE s g 5-0 ENTRIESREAD -1
        c2: XREAD BLOCK 0 STREAMS s 5-0
          (blocks)
        c3: XREADGROUP GROUP g c BLOCK 0 STREAMS s >
          (blocks)
          log: XGROUP CREATECONSUMER s g c
        c1: XDEL s 5-0
          :1
          log: XDEL s 5-0
        c1: XGROUP SETID s g 5-0
          +OK
          log: XGROUP SETID s g 5-0 ENTRIESREAD -1
        c4: XREAD BLOCK 0 STREAMS s 4-0
          (blocks)
        c1: XADD other 5-0 f b
          $3 5-0
          log: XADD other 5-0 f b
        c1: RENAME other s
          +OK
          c3: -NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option
          c4: *1 *2 $1 s *1 *2 $3 5-0 *2 $1 f $1 b
          log: RENAME other s
        c1: XADD s 6-0 f c
          $3 6-0
          c2: *1 *2 $1 s *1 *2 $3 6-0 *2 $1 f $1 c
          log: XADD s 6-0 f c
        ",
    );
}

#[test]
fn a_waiter_on_many_keys_is_served_once() {
    check(
        "
        c1: BLPOP a b a c 0
          (blocks)
        c2: BLPOP c 0
          (blocks)
        c3: MULTI | RPUSH c 3 | RPUSH b 2 | RPUSH a 1 | EXEC
          +OK +QUEUED +QUEUED +QUEUED *3 :1 :1 :1
          c1: *2 $1 a $1 1
          c2: *2 $1 c $1 3
          log: MULTI
          log: RPUSH c 3
          log: RPUSH b 2
          log: RPUSH a 1
          log: EXEC
          log: LPOP a
          log: LPOP c
        c3: LRANGE b 0 -1
          *1 $1 2
        ",
    );
}

#[test]
fn a_transaction_of_many_pushes_serves_each_waiter_its_own() {
    // As dragonfly#7872, where one worker got all.
    check(
        "
        c1: BLMPOP 0 1 q LEFT COUNT 2
          (blocks)
        c2: BLMPOP 0 1 q LEFT COUNT 2
          (blocks)
        c3: BLPOP q 0
          (blocks)
        c4: MULTI | RPUSH q 1 | RPUSH q 2 | RPUSH q 3 | RPUSH q 4 | RPUSH q 5 | RPUSH q 6 | EXEC
          +OK +QUEUED +QUEUED +QUEUED +QUEUED +QUEUED +QUEUED *6 :1 :2 :3 :4 :5 :6
          c1: *2 $1 q *2 $1 1 $1 2
          c2: *2 $1 q *2 $1 3 $1 4
          c3: *2 $1 q $1 5
          log: MULTI
          log: RPUSH q 1
          log: RPUSH q 2
          log: RPUSH q 3
          log: RPUSH q 4
          log: RPUSH q 5
          log: RPUSH q 6
          log: EXEC
          log: LPOP q 2
          log: LPOP q 2
          log: LPOP q
        ",
    );
}

#[test]
fn a_loop_of_moves_gets_every_reply() {
    // As dragonfly#7650: the reply of a wait comes before those of what was sent behind it.
    check(
        "
        c2: RPUSH a 1 2
          :2
          log: RPUSH a 1 2
        c1: BRPOPLPUSH a b 0 | BRPOPLPUSH a b 0 | BRPOPLPUSH a b 0
          $1 2 $1 1 (blocks)
          log: LMOVE a b RIGHT LEFT
          log: LMOVE a b RIGHT LEFT
        c2: LPUSH a 3
          :1
          c1: $1 3
          log: LPUSH a 3
          log: LMOVE a b RIGHT LEFT
        c1: BRPOPLPUSH a b 0
          (blocks)
        c2: LPUSH a 4 | LLEN a | LRANGE b 0 -1
          :1 :0 *4 $1 4 $1 3 $1 1 $1 2
          c1: $1 4
          log: LPUSH a 4
          log: LMOVE a b RIGHT LEFT
        ",
    );
}

#[test]
fn who_leaves_while_others_are_served_takes_nothing_along() {
    // As redis#15594, where serving one waiter took another away.
    check(
        "
        c1: BLPOP q r 0
          (blocks)
        c2: BLMOVE q r LEFT LEFT 0
          (blocks)
        c3: BLPOP r q 0
          (blocks)
        c4: MULTI | RPUSH q 1 2 3 | CLIENT UNBLOCK 1 | CLIENT UNBLOCK 1 | EXEC
          +OK +QUEUED +QUEUED +QUEUED *3 :3 :1 :0
          c1: *-1
          c2: $1 1
          c3: *2 $1 r $1 1
          log: RPUSH q 1 2 3
          log: LMOVE q r LEFT LEFT
          log: LPOP r
        c4: LRANGE q 0 -1
          *2 $1 2 $1 3
        # gone c3
        ",
    );
}

#[test]
fn a_connection_that_is_gone_takes_nothing_along() {
    check(
        "
        c1: BLPOP q 0
          (blocks)
        c2: BLPOP q 0
          (blocks)
        # gone c1
        c3: RPUSH q a
          :1
          c2: *2 $1 q $1 a
          log: RPUSH q a
          log: LPOP q
        ",
    );
}

#[test]
fn a_wait_ended_from_outside_is_over() {
    check(
        "
        c1: BLPOP q 0
          (blocks)
        c2: BLMOVE q r LEFT LEFT 0
          (blocks)
        # resp3 c3
        c3: BLPOP q 0
          (blocks)
        c4: CLIENT UNBLOCK 1 ERROR | CLIENT UNBLOCK 1 | CLIENT UNBLOCK 2 | CLIENT UNBLOCK 3 TIMEOUT | CLIENT UNBLOCK 9
          :1 :0 :1 :1 :0
          c1: -UNBLOCKED client unblocked via CLIENT UNBLOCK
          c2: *-1
          c3: _
        c4: RPUSH q a
          :1
          log: RPUSH q a
        ",
    );
}

#[test]
fn what_was_pushed_before_in_the_same_turn_is_kept_by_an_unblock() {
    check(
        "
        c1: BLPOP r 0
          (blocks)
        c2: BLPOP s 0
          (blocks)
        c3: RPUSH q a | CLIENT UNBLOCK 1 | RPUSH q b | RPUSH s c
          :1 :1 :2 :1
          c1: *-1
          c2: *2 $1 s $1 c
          log: RPUSH q a
          log: RPUSH q b
          log: RPUSH s c
          log: LPOP s
        ",
    );
}

#[test]
fn deleting_flushing_and_other_types_leave_list_waiters_waiting() {
    check(
        "
        c1: BLPOP q 0
          (blocks)
        c2: SET q text | DEL q | XADD q 1-1 f v | FLUSHALL | FLUSHDB
          +OK :1 $3 1-1 +OK +OK
          log: SET q text
          log: DEL q
          log: XADD q 1-1 f v
          log: FLUSHDB
        c2: RPUSH p a | RENAME p q
          :1 +OK
          c1: *2 $1 q $1 a
          log: RPUSH p a
          log: RENAME p q
          log: LPOP q
        ",
    );
}

#[test]
fn waiters_wait_in_their_own_database() {
    check(
        "
        c1: SELECT 1 | BLPOP q 0
          +OK (blocks)
        c2: BLPOP q 0
          (blocks)
        c3: RPUSH p a | MOVE p 1 | RPUSH r b | COPY r q DB 1
          :1 :1 :1 :1
          c1: *2 $1 q $1 b
          log: RPUSH p a
          log: MULTI
          log: MOVE p 1
          log db1: PERSIST p
          log db1: EXEC
          log: RPUSH r b
          log: MULTI
          log: COPY r q DB 1 REPLACE
          log db1: PERSIST q
          log db1: EXEC
          log db1: LPOP q
        c3: SELECT 1 | RPUSH q c | SWAPDB 0 1
          +OK :1 +OK
          c2: *2 $1 q $1 c
          log db1: RPUSH q c
          log db1: SWAPDB 0 1
          log: LPOP q
        ",
    );
}

#[test]
fn a_waiter_does_not_see_keys_whose_time_has_come() {
    // More keys expire in the waiter's other shard than one command clears away.
    let mut house = House::new();
    for key in 0..600 {
        house.run(9, &[&format!("SET {{b}}{key} x PX {}", 10 + key)]);
    }
    house.run(9, &["RPUSH b old", "PEXPIRE b 5000", "SET {b}c text PX 5000"]);
    assert_eq!(house.run(1, &["BLMOVE a b LEFT RIGHT 0"]).0, "(blocks)");
    assert_eq!(house.run(2, &["BLMOVE a {b}c LEFT RIGHT 0"]).0, "(blocks)");
    house.now_ms = 10_000;
    let (said, told) = house.run(9, &["RPUSH a new newer"]);
    assert_eq!(said, ":2");
    assert_eq!(told, [(1, "$3 new".to_owned()), (2, "$5 newer".to_owned())]);
    assert_eq!(house.run(9, &["LRANGE b 0 -1"]).0, "*1 $3 new");
    assert_eq!(house.dump(), house.restarted().dump());
}

#[test]
fn a_key_that_expires_takes_its_group_readers_with_it() {
    check(
        "
        c3: BLPOP s 0
          (blocks)
        c2: XGROUP CREATE s g 0 MKSTREAM | PEXPIRE s 100
          +OK :1
          log: XGROUP CREATE s g 0-0 ENTRIESREAD -1 MKSTREAM
          log: PEXPIREAT s 1100
        c1: XREADGROUP GROUP g w BLOCK 0 STREAMS s >
          (blocks)
          log: XGROUP CREATECONSUMER s g w
        # now 1100
        # expire
          c1: -NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option
          log: DEL s
        c2: RPUSH s a
          :1
          c3: *2 $1 s $1 a
          log: RPUSH s a
          log: LPOP s
        ",
    );
}

#[test]
fn readers_of_one_group_are_served_in_order_whatever_else_they_would_take() {
    check(
        "
        c9: XGROUP CREATE s g 0 MKSTREAM | XGROUP CREATECONSUMER s g a | XGROUP CREATECONSUMER s g b
          +OK :1 :1
          log: XGROUP CREATE s g 0-0 ENTRIESREAD -1 MKSTREAM
          log: XGROUP CREATECONSUMER s g a
          log: XGROUP CREATECONSUMER s g b
        c1: XREADGROUP GROUP g a BLOCK 0 COUNT 1 STREAMS s >
          (blocks)
        c2: XREADGROUP GROUP g b BLOCK 0 COUNT 1 CLAIM 1000 STREAMS s >
          (blocks)
        c3: XREADGROUP GROUP g a BLOCK 0 COUNT 1 STREAMS s >
          (blocks)
        c9: MULTI | XADD s 1-1 f v | XADD s 2-1 f v | EXEC
          +OK +QUEUED +QUEUED *2 $3 1-1 $3 2-1
          c1: *1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v
          c2: *1 *2 $1 s *1 *4 $3 2-1 *2 $1 f $1 v :0 :0
          log: MULTI
          log: XADD s 1-1 f v
          log: XADD s 2-1 f v
          log: EXEC
          log: MULTI
          log: XCLAIM s g a 0 1-1 TIME 1000 RETRYCOUNT 1 FORCE JUSTID
          log: XGROUP SETID s g 1-1 ENTRIESREAD 1
          log: EXEC
          log: MULTI
          log: XCLAIM s g b 0 2-1 TIME 1000 RETRYCOUNT 1 FORCE JUSTID
          log: XGROUP SETID s g 2-1 ENTRIESREAD 2
          log: EXEC
        ",
    );
}

#[test]
fn an_unblock_in_a_transaction_serves_nobody_before_its_end() {
    // The first of those who claim keeps the time for the others: when it goes, the next must look again.
    check(
        "
        c9: XGROUP CREATE s g 0 MKSTREAM | XADD s 1-1 f v
          +OK $3 1-1
          log: XGROUP CREATE s g 0-0 ENTRIESREAD -1 MKSTREAM
          log: XADD s 1-1 f v
        c9: XREADGROUP GROUP g a COUNT 1 STREAMS s > | XGROUP CREATECONSUMER s g b
          *1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v :1
          log: MULTI
          log: XCLAIM s g a 0 1-1 TIME 1000 RETRYCOUNT 1 FORCE JUSTID
          log: XGROUP SETID s g 1-1 ENTRIESREAD 1
          log: EXEC
          log: XGROUP CREATECONSUMER s g b
        c1: XREADGROUP GROUP g b BLOCK 0 COUNT 1 CLAIM 500 STREAMS s >
          (blocks)
        c2: XREADGROUP GROUP g b BLOCK 0 COUNT 1 CLAIM 500 STREAMS s >
          (blocks)
        # now 1500
        c9: MULTI | SET x 1 | CLIENT UNBLOCK 1 | SET y 2 | EXEC
          +OK +QUEUED +QUEUED +QUEUED *3 +OK :1 +OK
          c1: *-1
          c2: *1 *2 $1 s *1 *4 $3 1-1 *2 $1 f $1 v :500 :1
          log: MULTI
          log: SET x 1
          log: SET y 2
          log: EXEC
          log: XCLAIM s g b 0 1-1 TIME 1500 RETRYCOUNT 2 FORCE JUSTID
        ",
    );
}

#[test]
fn whoever_comes_first_among_those_who_claim_knows_when_to_look_again() {
    check(
        "
        c9: XGROUP CREATE r g 0 MKSTREAM | XGROUP CREATE s g 0 MKSTREAM | XADD s 1-1 f v
          +OK +OK $3 1-1
          log: XGROUP CREATE r g 0-0 ENTRIESREAD -1 MKSTREAM
          log: XGROUP CREATE s g 0-0 ENTRIESREAD -1 MKSTREAM
          log: XADD s 1-1 f v
        c9: XREADGROUP GROUP g a STREAMS s > | XGROUP CREATECONSUMER r g b | XGROUP CREATECONSUMER s g b
          *1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v :1 :1
          log: MULTI
          log: XCLAIM s g a 0 1-1 TIME 1000 RETRYCOUNT 1 FORCE JUSTID
          log: XGROUP SETID s g 1-1 ENTRIESREAD 1
          log: EXEC
          log: XGROUP CREATECONSUMER r g b
          log: XGROUP CREATECONSUMER s g b
        c1: XREADGROUP GROUP g b BLOCK 0 CLAIM 500 STREAMS r s > >
          (blocks)
        c2: XREADGROUP GROUP g b BLOCK 0 CLAIM 500 STREAMS s >
          (blocks)
        # now 1200
        # retry c2
          c1: (again at 1500)
        c9: XADD r 7-7 f v
          $3 7-7
          c1: *1 *2 $1 r *1 *4 $3 7-7 *2 $1 f $1 v :0 :0
          c2: (again at 1500)
          log: XADD r 7-7 f v
          log: MULTI
          log: XCLAIM r g b 0 7-7 TIME 1200 RETRYCOUNT 1 FORCE JUSTID
          log: XGROUP SETID r g 7-7 ENTRIESREAD 1
          log: EXEC
        # now 1500
        # retry c2
          c2: *1 *2 $1 s *1 *4 $3 1-1 *2 $1 f $1 v :500 :1
          log: XCLAIM s g b 0 1-1 TIME 1500 RETRYCOUNT 2 FORCE JUSTID
        ",
    );
}

#[test]
fn a_watched_key_that_changes_ends_the_transaction() {
    check(
        "
        c1: WATCH k | SET k mine | MULTI | PING | EXEC
          +OK +OK +OK +QUEUED *-1
          log: SET k mine
        c1: WATCH k | MULTI | PING | EXEC
          +OK +OK +QUEUED *1 +PONG
        c1: WATCH k
          +OK
        c2: SELECT 1 | SET k other | SELECT 0 | PEXPIRE k 100
          +OK +OK +OK :1
          log db1: SET k other
          log: PEXPIREAT k 1100
        c1: MULTI | PING | EXEC | WATCH k | SELECT 1
          +OK +QUEUED *-1 +OK +OK
        # now 1100
        c1: MULTI | PING | EXEC
          +OK +QUEUED *-1
          log: DEL k
        c1: WATCH q
          +OK
        c3: BLMOVE p q LEFT LEFT 0
          (blocks)
        c2: WATCH q | RPUSH p a
          +OK :1
          c3: $1 a
          log: RPUSH p a
          log: LMOVE p q LEFT LEFT
        c2: MULTI | PING | EXEC
          +OK +QUEUED *-1
        c1: MULTI | PING | EXEC
          +OK +QUEUED *1 +PONG
        ",
    );
}

#[test]
fn emptying_a_database_changes_the_keys_that_were_there() {
    check(
        "
        c9: SET here 1 | SELECT 1 | SET there 1
          +OK +OK +OK
          log: SET here 1
          log db1: SET there 1
        c1: WATCH here
          +OK
        c2: WATCH nowhere
          +OK
        c3: SELECT 1 | WATCH there
          +OK +OK
        c9: SELECT 0 | FLUSHDB
          +OK +OK
          log: FLUSHDB
        c1: MULTI | PING | EXEC
          +OK +QUEUED *-1
        c2: MULTI | PING | EXEC
          +OK +QUEUED *1 +PONG
        c3: MULTI | PING | EXEC | WATCH there
          +OK +QUEUED *1 +PONG +OK
        c2: WATCH there
          +OK
        c1: WATCH nowhere
          +OK
        c9: SWAPDB 0 1
          +OK
          log: SWAPDB 0 1
        c1: MULTI | PING | EXEC
          +OK +QUEUED *1 +PONG
        c2: MULTI | PING | EXEC
          +OK +QUEUED *-1
        c3: MULTI | PING | EXEC
          +OK +QUEUED *-1
        ",
    );
}

#[test]
fn a_transaction_that_would_grow_is_refused_when_there_is_no_room() {
    check(
        "
        c1: WATCH k | MULTI | RPUSH k a
          +OK +OK +QUEUED
        c2: MULTI | LPOP k
          +OK +QUEUED
        # disk full
        c1: EXEC
          -EXECABORT Transaction discarded because of: MISCONF Errors writing to the append-only file: No space left on device. Producers must wait; consumers go on.
        c2: EXEC
          *1 $-1
        # disk free
        c1: EXEC
          -ERR EXEC without MULTI
        ",
    );
}

#[test]
fn what_cannot_wait_answers_as_if_its_time_had_passed() {
    check(
        "
        c1: MULTI | BLPOP a 0 | BLMOVE a b LEFT LEFT 0 | BLMPOP 0 1 a LEFT | BLMOVEM a b LEFT LEFT 0 | EXEC
          +OK +QUEUED +QUEUED +QUEUED +QUEUED *4 *-1 $-1 *-1 *-1
        c1: XGROUP CREATE s g 0 MKSTREAM | MULTI | XREAD BLOCK 0 STREAMS s $ | XREADGROUP GROUP g c BLOCK 0 STREAMS s > | EXEC
          +OK +OK +QUEUED +QUEUED *2 *-1 *-1
          log: XGROUP CREATE s g 0-0 ENTRIESREAD -1 MKSTREAM
          log: XGROUP CREATECONSUMER s g c
        ",
    );
}

#[test]
fn moving_a_whole_list_to_itself_leaves_its_expiry_time() {
    check(
        "
        c1: RPUSH k a b c | PEXPIRE k 5000
          :3 :1
          log: RPUSH k a b c
          log: PEXPIREAT k 6000
        c1: LMOVEM k k LEFT RIGHT COUNT 9 OBO | PTTL k
          *3 $1 a $1 b $1 c :5000
          log: MULTI
          log: LMOVE k k LEFT RIGHT
          log: LMOVE k k LEFT RIGHT
          log: LMOVE k k LEFT RIGHT
          log: EXEC
        c1: LMOVEM k k LEFT LEFT EXACTLY 3 BULK | PTTL k | LRANGE k 0 -1
          *3 $1 a $1 b $1 c :5000 *3 $1 a $1 b $1 c
        c1: LMOVEM k k LEFT LEFT EXACTLY 2 OBO | LRANGE k 0 -1
          *2 $1 b $1 a *3 $1 b $1 a $1 c
          log: MULTI
          log: LSET k 1 a
          log: LSET k 0 b
          log: EXEC
        c1: LMOVEM k k RIGHT RIGHT COUNT 9 OBO | PTTL k | LRANGE k 0 -1
          *3 $1 c $1 a $1 b :5000 *3 $1 c $1 a $1 b
          log: MULTI
          log: LSET k -3 c
          log: LSET k -2 a
          log: LSET k -1 b
          log: EXEC
        ",
    );
}

#[test]
fn moves_of_several_are_one_transaction_and_never_one_in_another() {
    check(
        "
        c1: BLMOVEM a b LEFT LEFT 0 EXACTLY 3 BULK
          (blocks)
        c2: BLMOVEM a b LEFT LEFT 0 COUNT 2 OBO
          (blocks)
        c3: RPUSH a 1
          :1
          c2: *1 $1 1
          log: RPUSH a 1
          log: LMOVE a b LEFT LEFT
        c3: RPUSH a 2 3
          :2
          log: RPUSH a 2 3
        c3: RPUSH a 4
          :3
          c1: *3 $1 2 $1 3 $1 4
          log: RPUSH a 4
          log: MULTI
          log: LPOP a 3
          log: LPUSH b 4 3 2
          log: EXEC
        c3: MULTI | LMOVEM b a LEFT RIGHT COUNT 2 OBO | LMOVEM b a RIGHT RIGHT COUNT 2 BULK | EXEC
          +OK +QUEUED +QUEUED *2 *2 $1 2 $1 3 *2 $1 4 $1 1
          log: MULTI
          log: LMOVE b a LEFT RIGHT
          log: LMOVE b a LEFT RIGHT
          log: RPOP b 2
          log: RPUSH a 4 1
          log: EXEC
        ",
    );
}

#[test]
fn a_command_that_fails_changes_nothing_and_breaks_no_transaction() {
    check(
        "
        c1: BLPOP q 0
          (blocks)
        c2: SET text x
          +OK
          log: SET text x
        c2: RPUSH r 1 | LMOVE r text LEFT LEFT | LMOVEM r text LEFT LEFT COUNT 1 OBO | LRANGE r 0 -1
          :1 -WRONGTYPE Operation against a key holding the wrong kind of value -WRONGTYPE Operation against a key holding the wrong kind of value *1 $1 1
          log: RPUSH r 1
        c2: MULTI | RPUSH q 1 | LMOVE r text LEFT LEFT | RPUSH q 2 | EXEC
          +OK +QUEUED +QUEUED +QUEUED *3 :1 -WRONGTYPE Operation against a key holding the wrong kind of value :2
          c1: *2 $1 q $1 1
          log: MULTI
          log: RPUSH q 1
          log: RPUSH q 2
          log: EXEC
          log: LPOP q
        c1: BLMOVE s text LEFT LEFT 0
          (blocks)
        c2: RPUSH s 1
          :1
          c1: -WRONGTYPE Operation against a key holding the wrong kind of value
          log: RPUSH s 1
        c2: MULTI | NOSUCH | RPUSH s 2 | EXEC
          +OK -ERR unknown command 'NOSUCH', with args beginning with:  +QUEUED -EXECABORT Transaction discarded because of previous errors.
        ",
    );
}

#[test]
fn whatever_is_said_depends_on_the_last_change_of_what_was_looked_at() {
    let mut house = House::new();
    house.run(1, &["RPUSH a 1"]);
    let a = house.lsn;
    house.run(1, &["RPUSH b 1"]);
    let b = house.lsn;
    assert!(0 < a && a < b, "{a} {b}");
    for (requests, expected) in [
        (&["PING"][..], 0),
        (&["LLEN a"], a),
        (&["LLEN a", "PING"], a),
        (&["LLEN a", "LLEN b"], b),
        (&["LLEN b", "LLEN a"], b),
        (&["LLEN c"], 0),
        (&["GET a"], a),
        (&["MULTI", "LLEN a", "EXEC"], a),
        (&["WATCH b", "MULTI", "LLEN a", "EXEC"], b),
        (&["DBSIZE"], b),
    ] {
        house.run(1, requests);
        assert_eq!(house.lsn, expected, "{requests:?}");
    }
    house.run(2, &["BLPOP c d 0"]);
    house.run(3, &["RPUSH d 1 2"]);
    let d = house.lsn;
    assert_eq!(d, house.tape.appends(), "a wake depends on what it took away");
    house.run(1, &["LPOP d"]);
    house.run(2, &["BLPOP d 1"]);
    house.end_wait(2, millstream::engine::Ending::Timeout);
    assert_eq!(house.lsn, d + 1, "that a list is empty is true only once it is durable");
}

#[test]
fn more_keys_expire_than_one_turn_removes() {
    let mut house = House::new();
    for key in 0..1500 {
        house.run(1, &[&format!("SET {{b}}{key} x PX {}", 1 + key % 100)]);
    }
    house.now_ms += 100;
    assert_eq!(house.run(1, &["GET {b}1499"]).0, "$-1");
    for _ in 0..6 {
        house.expire();
    }
    assert_eq!(house.engine.keys(), 0);
    assert_eq!(house.restarted().engine.keys(), 0);
}

#[test]
fn a_key_that_was_kept_in_time_is_kept_by_a_log_that_was_written_later() {
    let mut house = House::new();
    house.run(
        1,
        &["RPUSH q a", "PEXPIRE q 50", "PERSIST q", "RPUSH r b", "PEXPIRE r 50", "RPUSH r c", "PEXPIRE r 90"],
    );
    house.run(1, &["SET t x PX 50", "GETEX t PX 60", "SET u y", "EXPIREAT u 1"]);
    house.tape.written_at(5000);
    let mut after = house.restarted();
    assert_eq!(after.run(1, &["LRANGE q 0 -1", "LRANGE r 0 -1", "GET t"]).0, "*1 $1 a *2 $1 b $1 c $1 x");
    assert_eq!(after.dump(), house.dump());
    after.now_ms = 5000;
    assert_eq!(after.run(1, &["LRANGE q 0 -1", "EXISTS r t"]).0, "*1 $1 a :0");
}
