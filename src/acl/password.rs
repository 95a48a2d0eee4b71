//! Passwords, of which only the SHA-256 sum is kept.

use std::fmt;

use ring::digest;

/// The SHA-256 sum of a password. Its `Debug` form does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password([u8; digest::SHA256_OUTPUT_LEN]);

impl Password {
    /// The sum of a password.
    #[must_use]
    pub fn of(plain: &[u8]) -> Password {
        let sum = digest::digest(&digest::SHA256, plain);
        Password(sum.as_ref().try_into().expect("a SHA-256 sum is 32 bytes"))
    }

    /// Reads a sum: 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &[u8]) -> Option<Password> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut sum = [0; digest::SHA256_OUTPUT_LEN];
        let (pairs, []) = text.as_chunks::<2>() else { return None };
        if pairs.len() != sum.len() {
            return None;
        }
        for (byte, [high, low]) in sum.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Password(sum))
    }

    /// The sum as 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// Whether two sums are the same, in a time that does not depend on where they differ.
    #[must_use]
    pub fn is_same(&self, other: &Password) -> bool {
        let difference =
            self.0.iter().zip(&other.0).fold(0, |difference, (one, other)| difference | (one ^ other));
        std::hint::black_box(difference) == 0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_read_and_written() {
        const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let password = Password::of(b"abc");
        assert_eq!(password.hex(), ABC);
        assert!(Password::from_hex(ABC.as_bytes()).is_some_and(|read| read.is_same(&password)));
        assert!(!Password::of(b"abd").is_same(&password));
        for wrong in
            ["", &ABC[1..], &ABC[2..], &ABC.to_uppercase(), &format!("{ABC}00"), &ABC.replace('b', "g")]
        {
            assert!(Password::from_hex(wrong.as_bytes()).is_none(), "{wrong}");
        }
        assert_eq!(format!("{password:?}"), "Password");
    }
}
