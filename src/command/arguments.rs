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
