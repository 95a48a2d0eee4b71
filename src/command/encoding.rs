//! What Redis calls the way it keeps a value (`OBJECT ENCODING`). How it is kept here is another matter; the
//! names are given for those who look, by the sizes at which redis-server 8.2.3 was seen to change them.
//!
//! Redis remembers how a value came to be where this looks at what it is: a list that has shrunk is called a
//! listpack as soon as it could be one, an integer made by `INCRBYFLOAT` an integer.

use crate::keyspace::{Value, list::List};
use crate::number;

/// The name of the value's encoding.
pub(super) fn name(key: &[u8], value: &Value, expires: bool) -> &'static str {
    match value {
        Value::String(text) if text.edited => "raw",
        Value::String(text) if number::integer(&text.bytes).is_some() => "int",
        Value::String(text) if is_embedded(key, &text.bytes, expires) => "embstr",
        Value::String(_) => "raw",
        Value::List(list) if is_listpack(list) => "listpack",
        Value::List(_) => "quicklist",
        Value::Stream(_) => "stream",
    }
}

/// A short string shares one allocation of 64 bytes with its key and expiry time.
fn is_embedded(key: &[u8], value: &[u8], expires: bool) -> bool {
    const ROOM: usize = 41;
    const EXPIRY: usize = 8;
    key.len() + value.len() + if expires { EXPIRY } else { 0 } <= ROOM
}

/// A list may fill 8 KiB before it is split. What arrives last counts without its header.
fn is_listpack(list: &List) -> bool {
    const SIZE_MAX: usize = 8192;
    const FRAME: usize = 7;
    let mut before = FRAME;
    for element in list {
        if before + element.len() > SIZE_MAX {
            return false;
        }
        before += packed_size(element);
    }
    true
}

/// The bytes of one element: integers in as few as hold them, text behind its length; and the way back.
fn packed_size(element: &[u8]) -> usize {
    let forward = match number::integer(element) {
        Some(0..=127) => 1,
        Some(-4096..=4095) => 2,
        Some(-0x8000..=0x7fff) => 3,
        Some(-0x80_0000..=0x7f_ffff) => 4,
        Some(-0x8000_0000..=0x7fff_ffff) => 5,
        Some(_) => 9,
        None => match element.len() {
            len @ 0..=63 => 1 + len,
            len @ 64..=4095 => 2 + len,
            len => 5 + len,
        },
    };
    let back = match forward {
        0..=127 => 1,
        128..=16383 => 2,
        _ => 3,
    };
    forward + back
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::testing::check;

    #[test]
    fn strings_are_named_by_what_and_how_long_they_are() {
        check(
            "
            MSET i 12345678901234567890 j -17 short aaaaaaaaaabbbbbbbbbbccccccccccdddddd long aaaaaaaaaabbbbbbbbbbccccccccccddddddd.
              +OK
              log: MSET i 12345678901234567890 j -17 short aaaaaaaaaabbbbbbbbbbccccccccccdddddd long aaaaaaaaaabbbbbbbbbbccccccccccddddddd.
            OBJECT ENCODING i
              $6 embstr
            OBJECT ENCODING j
              $3 int
            OBJECT ENCODING short
              $6 embstr
            OBJECT ENCODING long
              $3 raw
            APPEND j 1
              :4
              log: APPEND j 1
            OBJECT ENCODING j
              $3 raw
            INCR j
              :-170
              log: INCR j
            OBJECT ENCODING j
              $3 int
            # stream s
            OBJECT ENCODING s
              $6 stream
            ",
        );
    }

    #[test]
    fn a_list_is_a_listpack_up_to_8_kib() {
        // How many equal elements redis-server 8.2.3 takes before it changes the encoding.
        for (element, most) in [
            ("1".to_owned(), 4093),
            ("1000".to_owned(), 2728),
            ("100000".to_owned(), 1636),
            ("10000000".to_owned(), 1363),
            ("10000000000".to_owned(), 818),
            ("x".to_owned(), 2729),
            ("x".repeat(63), 125),
            ("x".repeat(64), 122),
            ("x".repeat(200), 40),
            ("x".repeat(5000), 1),
            ("x".repeat(8185), 1),
            ("x".repeat(8186), 0),
        ] {
            let mut list = List::new();
            for _ in 0..most {
                list.push_back(element.as_bytes());
            }
            assert!(is_listpack(&list), "{most} of {} bytes", element.len());
            list.push_back(element.as_bytes());
            assert!(!is_listpack(&list), "{} of {} bytes", most + 1, element.len());
        }
    }
}
