//! Which shard a key belongs to: its Redis Cluster hash slot, folded.
//!
//! Slots mean here what clients think they mean: CRC16 of the key, or of what stands between the first `{` and
//! the next `}` if that is not empty, modulo 16384. Keys with one tag share a slot and so a shard.

use crc::{CRC_16_XMODEM, Crc, Table};

/// How many shards the keys are spread over: a power of two, far more than cores, so that two busy keys rarely
/// meet, and few enough that a set of shards is one machine word.
pub const SHARDS: usize = 64;

static CRC16: Crc<u16, Table<1>> = Crc::<u16, Table<1>>::new(&CRC_16_XMODEM);

/// The key's hash slot, 0 to 16383.
#[must_use]
pub fn hash_slot(key: &[u8]) -> u16 {
    CRC16.checksum(hash_tag(key)) % 16384
}

/// The shard the key belongs to, below [`SHARDS`].
#[must_use]
pub fn shard_of(key: &[u8]) -> usize {
    usize::from(hash_slot(key)) % SHARDS
}

fn hash_tag(key: &[u8]) -> &[u8] {
    let tag = memchr::memchr(b'{', key).and_then(|open| {
        let rest = &key[open + 1..];
        memchr::memchr(b'}', rest).map(|close| &rest[..close])
    });
    match tag {
        Some(tag) if !tag.is_empty() => tag,
        _ => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis_cluster() {
        assert_eq!(hash_slot(b"123456789"), 0x31c3);
        assert_eq!(hash_slot(b"foo"), 12182);
        assert_eq!(hash_slot(b""), 0);
    }

    #[test]
    fn tags_keep_keys_together() {
        assert_eq!(hash_slot(b"{user1000}.following"), hash_slot(b"{user1000}.followers"));
        assert_eq!(hash_slot(b"foo{{bar}}zap"), hash_slot(b"{bar"));
        assert_eq!(hash_slot(b"foo{bar}{zap}"), hash_slot(b"bar"));
        assert_ne!(hash_slot(b"foo{}{bar}"), hash_slot(b"bar"));
    }
}
