//! Arguments that many commands take, read the way Redis reads them.

use crate::error::Error;
use crate::number;

/// Whether an argument is this option word, in any case.
#[must_use]
pub fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// A 64-bit signed integer.
///
/// # Errors
/// If it is none.
pub fn integer(arg: &[u8]) -> Result<i64, Error> {
    number::integer(arg).ok_or(Error::NOT_AN_INTEGER)
}

/// A count that must not be negative.
///
/// # Errors
/// If it is no integer or negative; with one text for both, as `LPOP key count` has it.
pub fn non_negative(arg: &[u8]) -> Result<usize, Error> {
    number::integer(arg).and_then(|count| usize::try_from(count).ok()).ok_or(Error::MUST_BE_POSITIVE)
}

/// A timeout in seconds, as list commands take it: a decimal fraction, rounded up to milliseconds; zero waits
/// for ever and is `None`.
///
/// # Errors
/// If it is no number, negative, or not a 64-bit number of milliseconds.
pub fn timeout_seconds(arg: &[u8]) -> Result<Option<u64>, Error> {
    const NOT_A_FLOAT: Error = Error::new("ERR timeout is not a float or out of range");
    let text = std::str::from_utf8(arg).map_err(|_| NOT_A_FLOAT)?;
    let seconds = decimal(text).ok_or(NOT_A_FLOAT)?;
    let ms = (seconds * 1000.0).ceil();
    if ms >= i64::MAX as f64 {
        return Err(Error::new("ERR timeout is out of range"));
    }
    timeout(ms as i64)
}

/// A timeout in whole milliseconds, as stream commands take it; zero waits for ever and is `None`.
///
/// # Errors
/// If it is no integer or negative.
pub fn timeout_ms(arg: &[u8]) -> Result<Option<u64>, Error> {
    timeout(number::integer(arg).ok_or(Error::new("ERR timeout is not an integer or out of range"))?)
}

/// A database's number, below `count`.
///
/// # Errors
/// If it is no integer or there is no such database.
pub fn database(arg: &[u8], count: u8) -> Result<u8, Error> {
    const INT_RANGE: Error =
        Error::new("ERR value is out of range, value must between -2147483648 and 2147483647");
    let number = i32::try_from(integer(arg)?).map_err(|_| INT_RANGE)?;
    u8::try_from(number).ok().filter(|db| *db < count).ok_or(Error::new("ERR DB index is out of range"))
}

/// How an argument says when a key expires: in which unit, counted from when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    unit_ms: i64,
    from_now: bool,
}

impl When {
    /// In so many seconds.
    pub const EX: When = When { unit_ms: 1000, from_now: true };
    /// In so many milliseconds.
    pub const PX: When = When { unit_ms: 1, from_now: true };
    /// At a Unix time in seconds.
    pub const EXAT: When = When { unit_ms: 1000, from_now: false };
    /// At a Unix time in milliseconds.
    pub const PXAT: When = When { unit_ms: 1, from_now: false };

    /// The form that an option word of `SET` and `GETEX` announces.
    #[must_use]
    pub fn option(word: &[u8]) -> Option<When> {
        [("EX", When::EX), ("PX", When::PX), ("EXAT", When::EXAT), ("PXAT", When::PXAT)]
            .into_iter()
            .find(|(name, _)| is(word, name))
            .map(|(_, when)| when)
    }

    /// The moment meant, in milliseconds since the Unix epoch; it may have passed. The error names `command`.
    ///
    /// # Errors
    /// If it is no integer, or a moment beyond what 64 bits hold.
    pub fn moment_ms(self, arg: &[u8], now_ms: i64, command: &str) -> Result<i64, Error> {
        let start_ms = if self.from_now { now_ms } else { 0 };
        integer(arg)?
            .checked_mul(self.unit_ms)
            .and_then(|ms| ms.checked_add(start_ms))
            .ok_or_else(|| invalid_expire_time(command))
    }

    /// The same where nothing but a positive number will do.
    ///
    /// # Errors
    /// If it is no integer, not positive, or a moment beyond what 64 bits hold.
    pub fn positive_moment_ms(self, arg: &[u8], now_ms: i64, command: &str) -> Result<i64, Error> {
        if integer(arg)? <= 0 {
            return Err(invalid_expire_time(command));
        }
        self.moment_ms(arg, now_ms, command)
    }
}

fn invalid_expire_time(command: &str) -> Error {
    Error::with(format!("ERR invalid expire time in '{command}' command"))
}

fn timeout(ms: i64) -> Result<Option<u64>, Error> {
    match u64::try_from(ms) {
        Err(_) => Err(Error::new("ERR timeout is negative")),
        Ok(0) => Ok(None),
        Ok(ms) => Ok(Some(ms)),
    }
}

/// A number as C's `strtold` reads it, without what would be no use as a timeout: no NaN.
fn decimal(text: &str) -> Option<f64> {
    // Rust reads what C reads but for hexadecimal floats, which nobody sends, and leading white space, which
    // Redis refuses.
    text.parse::<f64>().ok().filter(|value| !value.is_nan())
}
