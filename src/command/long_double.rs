//! The floating point numbers of `INCRBYFLOAT`: C's `long double` as it is on x86-64.
//!
//! Redis adds in 80-bit extended precision and prints with `%.17Lf`, so 0.1 plus 0.2 is 0.3 there. Clients see
//! those digits; here they come out of the same arithmetic done in software, on any machine.

use num_bigint::BigUint;
use rustc_apfloat::Float;
use rustc_apfloat::ieee::X87DoubleExtended;

/// An 80-bit extended float.
#[derive(Clone, Copy, Debug)]
pub(super) struct LongDouble(X87DoubleExtended);

/// The number of digits after the point that are printed.
const FRACTION_DIGITS: u32 = 17;
/// What a fraction is multiplied with to become an integer.
const FRACTION_UNIT: u128 = 10_u128.pow(FRACTION_DIGITS);

impl LongDouble {
    /// Zero.
    pub(super) const ZERO: LongDouble = LongDouble(X87DoubleExtended::ZERO);

    /// Reads a number as `strtold` does when all of the text must be the number: decimal or hexadecimal, or an
    /// infinity. NaN is none, nor is a number too large or, without being zero, too small to be told from zero.
    pub(super) fn parse(text: &[u8]) -> Option<LongDouble> {
        /// Redis copies the text into a buffer of 5 KiB, its terminating zero included.
        const LENGTH_MAX: usize = 5 * 1024 - 1;
        if text.len() > LENGTH_MAX {
            return None;
        }
        let (negative, magnitude) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let infinite = magnitude.eq_ignore_ascii_case(b"inf") || magnitude.eq_ignore_ascii_case(b"infinity");
        let value = if infinite {
            X87DoubleExtended::INFINITY
        } else {
            let literal = Literal::parse(magnitude)?;
            let value = literal.to_text().parse::<X87DoubleExtended>().ok()?;
            if value.is_infinite() || (value.is_zero() && !literal.is_zero()) {
                return None;
            }
            value
        };
        Some(LongDouble(if negative { -value } else { value }))
    }

    /// The sum, if it is a number and finite.
    pub(super) fn checked_add(self, other: LongDouble) -> Option<LongDouble> {
        let sum = (self.0 + other.0).value;
        sum.is_finite().then_some(LongDouble(sum))
    }

    /// The value as `%.17Lf` prints it, without trailing zeros; zero has no sign. It must be finite.
    pub(super) fn to_text(self) -> String {
        const FRACTION_BITS: i32 = 63;
        const BIAS: i32 = 16383;
        debug_assert!(self.0.is_finite());
        let bits = self.0.to_bits();
        let mantissa = bits as u64;
        let biased = ((bits >> 64) & 0x7fff) as i32;
        // The value is the mantissa times two to this.
        let exponent = biased.max(1) - BIAS - FRACTION_BITS;

        let magnitude = match u32::try_from(exponent) {
            Ok(exponent) => (BigUint::from(mantissa) << exponent).to_string(),
            Err(_) => {
                let scaled =
                    shift_right_half_even(u128::from(mantissa) * FRACTION_UNIT, exponent.unsigned_abs());
                let (whole, fraction) = (scaled / FRACTION_UNIT, scaled % FRACTION_UNIT);
                let digits = format!("{whole}.{fraction:0width$}", width = FRACTION_DIGITS as usize);
                digits.trim_end_matches('0').trim_end_matches('.').to_owned()
            }
        };
        if self.0.is_negative() && magnitude != "0" { format!("-{magnitude}") } else { magnitude }
    }
}

/// `value` divided by two to the power of `bits`, rounded to the nearest integer, a half to the even one.
fn shift_right_half_even(value: u128, bits: u32) -> u128 {
    let (Some(quotient), Some(half)) = (value.checked_shr(bits), 1_u128.checked_shl(bits - 1)) else {
        // Less than half: a mantissa times the fraction unit has 121 bits.
        return 0;
    };
    let rest = value - (quotient << bits);
    let up = rest > half || (rest == half && quotient % 2 == 1);
    quotient + u128::from(up)
}

/// A number without its sign, as C writes it, taken apart.
struct Literal<'a> {
    hexadecimal: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i32,
}

impl<'a> Literal<'a> {
    fn parse(text: &'a [u8]) -> Option<Literal<'a>> {
        let (hexadecimal, rest) = match text {
            [b'0', b'x' | b'X', rest @ ..] => (true, rest),
            rest => (false, rest),
        };
        let is_digit = |byte: &u8| if hexadecimal { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
        let split = |text: &'a [u8]| text.split_at(text.iter().take_while(|byte| is_digit(byte)).count());

        let (whole, rest) = split(rest);
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => split(rest),
            rest => (&rest[..0], rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let exponent = match rest {
            [] => 0,
            [b'p' | b'P', exponent @ ..] if hexadecimal => Literal::exponent(exponent)?,
            [b'e' | b'E', exponent @ ..] if !hexadecimal => Literal::exponent(exponent)?,
            _ => return None,
        };
        Some(Literal { hexadecimal, whole, fraction, exponent })
    }

    fn exponent(text: &[u8]) -> Option<i32> {
        // Out of reach even for 5,000 digits on the other side of the point.
        const LIMIT: i32 = 20_000;
        let (negative, digits) = match text {
            [b'-', digits @ ..] => (true, digits),
            [b'+', digits @ ..] => (false, digits),
            digits => (false, digits),
        };
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let value = digits.iter().fold(0, |value, digit| (value * 10 + i32::from(digit - b'0')).min(LIMIT));
        Some(if negative { -value } else { value })
    }

    fn is_zero(&self) -> bool {
        self.whole.iter().chain(self.fraction).all(|digit| *digit == b'0')
    }

    /// The number in a form that every reader of floats takes.
    fn to_text(&self) -> String {
        let (prefix, mark) = if self.hexadecimal { ("0x", 'p') } else { ("", 'e') };
        let or_zero = |digits: &[u8]| match digits {
            [] => "0".to_owned(),
            digits => String::from_utf8_lossy(digits).into_owned(),
        };
        format!("{prefix}{}.{}{mark}{}", or_zero(self.whole), or_zero(self.fraction), self.exponent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> Option<String> {
        let [a, b] = [a, b].map(|text| LongDouble::parse(text.as_bytes()).expect(text));
        a.checked_add(b).map(LongDouble::to_text)
    }

    #[test]
    fn sums_have_the_digits_of_redis() {
        // As redis-server 8.2.3 on x86-64 answers SET key a, INCRBYFLOAT key b.
        for (a, b, expected) in [
            ("0.1", "0.2", "0.3"),
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("3.0", "1.1", "4.1"),
            ("0", "-0", "0"),
            ("-1e-18", "0", "0"),
            ("1", "0x10", "17"),
            ("0", "0x.8", "0.5"),
            ("0", "00001", "1"),
            ("0", "5.", "5"),
            ("0", "1e19", "10000000000000000000"),
            ("9223372036854775807", "1", "9223372036854775808"),
            ("0", "0.123456789012345678901", "0.12345678901234568"),
            ("0", "0x1p-16445", "0"),
            ("0", "0e99999999999", "0"),
        ] {
            assert_eq!(sum(a, b).as_deref(), Some(expected), "{a} + {b}");
        }
    }

    #[test]
    fn halves_round_to_even() {
        assert_eq!(shift_right_half_even(0b101, 1), 0b10);
        assert_eq!(shift_right_half_even(0b111, 1), 0b100);
        assert_eq!(shift_right_half_even(0b1101, 2), 0b11);
        assert_eq!(shift_right_half_even(u128::MAX >> 7, 128), 0);
    }

    #[test]
    fn what_is_not_finite_is_no_sum() {
        assert_eq!(sum("inf", "-inf"), None);
        assert_eq!(sum("1", "Infinity"), None);
        assert_eq!(sum("1e4932", "1e4932"), None);
    }

    #[test]
    fn only_whole_numbers_of_c_are_read() {
        let long = ["0".repeat(5119), "0".repeat(5120)];
        assert!(LongDouble::parse(long[0].as_bytes()).is_some());
        for text in [
            "",
            ".",
            "+",
            "-",
            "e5",
            "0x",
            "0x.p1",
            "1e",
            "1e+",
            "0x1p",
            " 1",
            "1 ",
            "1_0",
            "--1",
            "nan",
            "NAN",
            "nan(1)",
            "in",
            "infx",
            "1\x002",
            "1e4933",
            "1e-4951",
            "0x1p16384",
            "0x1p-16446",
            &long[1],
        ] {
            assert!(LongDouble::parse(text.as_bytes()).is_none(), "{text:?}");
        }
    }
}
