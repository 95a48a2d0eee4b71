//! How things are said: times, ages, numbers of things, quoted bytes.

use std::fmt::Write;

/// `1 command`, `2 commands`.
pub(super) fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// A moment as `2023-11-14 22:13:20.000`, in UTC.
pub(super) fn moment(ms: u64) -> String {
    let (days, in_day_ms) = (ms / 86_400_000, ms % 86_400_000);
    let (year, month, day) = date(days);
    let seconds = in_day_ms / 1000;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{:03}", in_day_ms % 1000)
}

/// The date so many days after 1 January 1970. Years are counted from March on, so that a leap day is the last.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_IN_400_YEARS: u64 = 146_097;
    // 1 March of the year 0 is 719,468 days before 1970.
    let days = days + 719_468;
    let (cycle, day) = (days / DAYS_IN_400_YEARS, days % DAYS_IN_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (cycle * 400 + year + next_year, month, day_of_month)
}

/// How long ago a moment was, in its largest unit.
pub(super) fn ago(ms: u64, now_ms: u64) -> String {
    let Some(seconds) = now_ms.checked_sub(ms).map(|ms| ms / 1000) else { return "in the future".to_owned() };
    let (number, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{} ago", count(number, unit))
}

/// Appends arguments as `redis-cli` shows strings: each in double quotes, everything unusual escaped.
pub(super) fn quote(arguments: &[&[u8]], out: &mut String) {
    for (index, argument) in arguments.iter().enumerate() {
        out.push_str(if index == 0 { "\"" } else { " \"" });
        for byte in *argument {
            match byte {
                b'"' | b'\\' => out.extend(['\\', char::from(*byte)]),
                b'\n' => out.push_str("\\n"),
                b'\r' => out.push_str("\\r"),
                b'\t' => out.push_str("\\t"),
                0x07 => out.push_str("\\a"),
                0x08 => out.push_str("\\b"),
                b' '..=b'~' => out.push(char::from(*byte)),
                _ => write!(out, "\\x{byte:02x}").expect("a string takes everything"),
            }
        }
        out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_right_around_leap_days_and_centuries() {
        for (ms, expected) in [
            (0, "1970-01-01 00:00:00.000"),
            (951_782_399_999, "2000-02-28 23:59:59.999"),
            (951_782_400_000, "2000-02-29 00:00:00.000"),
            (951_868_800_000, "2000-03-01 00:00:00.000"),
            (1_700_000_000_123, "2023-11-14 22:13:20.123"),
            (1_709_164_800_000, "2024-02-29 00:00:00.000"),
            (1_735_689_599_000, "2024-12-31 23:59:59.000"),
            (4_107_542_400_000, "2100-03-01 00:00:00.000"),
            ((1 << 48) - 1, "10889-08-02 05:31:50.655"),
        ] {
            assert_eq!(moment(ms), expected);
        }
    }

    #[test]
    fn ages_are_in_their_largest_unit() {
        let ages = [0, 59_999, 60_000, 7_200_000, 86_400_000, 172_800_000].map(|age| ago(1000, 1000 + age));
        assert_eq!(
            ages,
            ["0 seconds ago", "59 seconds ago", "1 minute ago", "2 hours ago", "1 day ago", "2 days ago"]
        );
        assert_eq!(ago(2, 1), "in the future");
    }

    #[test]
    fn bytes_are_quoted_as_redis_cli_does() {
        let mut text = String::new();
        quote(&[b"a b", b"", b"\"\\\n\r\t\x07\x08\x00\xff\x7f"], &mut text);
        assert_eq!(text, r#""a b" "" "\"\\\n\r\t\a\b\x00\xff\x7f""#);
    }
}
