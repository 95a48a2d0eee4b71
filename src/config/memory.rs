//! Amounts of memory as Redis writes them: `100`, `1k` (1000), `1kb` (1024), `5mb`, `2GB`.
//!
//! Whole numbers without a sign only. Nothing in front is zero, as in Redis: the empty text is 0.

/// Reads an amount of memory; none when it is not written as one, or does not fit.
pub fn parse_memory(text: &str) -> Option<u64> {
    let unit_at = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(unit_at);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    let number: u64 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::parse_memory;

    #[test]
    fn reads_what_redis_reads() {
        for (text, expected) in [
            ("0", Some(0)),
            ("", Some(0)),
            ("kb", Some(0)),
            ("007", Some(7)),
            ("100b", Some(100)),
            ("1k", Some(1000)),
            ("1Kb", Some(1024)),
            ("3m", Some(3_000_000)),
            ("3MB", Some(3 << 20)),
            ("1g", Some(1_000_000_000)),
            ("1gB", Some(1 << 30)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("99999999999gb", None),
            ("-1", None),
            ("+1", None),
            ("1.5gb", None),
            ("1 gb", None),
            ("1zb", None),
            ("50%", None),
        ] {
            assert_eq!(parse_memory(text), expected, "{text:?}");
        }
    }
}
