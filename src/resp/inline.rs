//! Inline requests: a line of words, for people on a plain terminal connection.

/// A quote that is not closed, or closed in the middle of a word.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnbalancedQuotes;

/// Splits `line`, which has no NUL, into words. They are decoded to the end of `words` one after the other; `word`
/// is told where each begins and ends there.
///
/// Double quotes understand `\n \r \t \b \a \xHH` and any escaped byte; single quotes only `\'`. A closing
/// quote must be followed by white space or the end of the line.
pub(super) fn split(
    line: &[u8],
    words: &mut Vec<u8>,
    mut word: impl FnMut(usize, usize),
) -> Result<(), UnbalancedQuotes> {
    let mut rest = line;
    loop {
        let spaces = rest.iter().take_while(|byte| is_space(**byte)).count();
        rest = &rest[spaces..];
        if rest.is_empty() {
            return Ok(());
        }
        let start = words.len();
        rest = take_word(rest, words)?;
        word(start, words.len());
    }
}

fn take_word<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        match rest {
            [b'"', tail @ ..] => return after_quote(take_double_quoted(tail, word)?),
            [b'\'', tail @ ..] => return after_quote(take_single_quoted(tail, word)?),
            // Vertical tabs and form feeds stand between words, yet do not end one: so it is in Redis.
            [] | [b' ' | b'\t' | b'\r' | b'\n', ..] => return Ok(rest),
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

fn after_quote(rest: &[u8]) -> Result<&[u8], UnbalancedQuotes> {
    match rest.first() {
        Some(byte) if !is_space(*byte) => Err(UnbalancedQuotes),
        _ => Ok(rest),
    }
}

fn take_double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        match rest {
            [] => return Err(UnbalancedQuotes),
            [b'"', tail @ ..] => return Ok(tail),
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                word.push(hex_digit(*high) << 4 | hex_digit(*low));
                rest = tail;
            }
            [b'\\', escaped, tail @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                rest = tail;
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

fn take_single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        match rest {
            [] => return Err(UnbalancedQuotes),
            [b'\'', tail @ ..] => return Ok(tail),
            [b'\\', b'\'', tail @ ..] => {
                word.push(b'\'');
                rest = tail;
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn hex_digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        _ => byte - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Vec<Vec<u8>>, UnbalancedQuotes> {
        let mut words = Vec::new();
        let mut decoded = Vec::new();
        split(line.as_bytes(), &mut decoded, |start, end| words.push(start..end))?;
        Ok(words.into_iter().map(|word| decoded[word].to_vec()).collect())
    }

    #[test]
    fn words_and_quotes() {
        assert_eq!(words("  set  a 1 "), Ok(vec![b"set".to_vec(), b"a".to_vec(), b"1".to_vec()]));
        assert_eq!(words(r#"set "a b" 'c d'"#), Ok(vec![b"set".to_vec(), b"a b".to_vec(), b"c d".to_vec()]));
        assert_eq!(
            words(r#""\x41\n\"\q" '\'' """#),
            Ok(vec![b"A\n\"q".to_vec(), b"'".to_vec(), b"".to_vec()])
        );
        assert_eq!(words(r#"pre"fix""#), Ok(vec![b"prefix".to_vec()]));
        assert_eq!(words(""), Ok(vec![]));
        assert_eq!(words("\x0b a\x0bb \"c\"\x0c"), Ok(vec![b"a\x0bb".to_vec(), b"c".to_vec()]));
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in ["\"a", "'a", "\"a\"b", "'a'b", "\"\\"] {
            assert_eq!(words(line), Err(UnbalancedQuotes), "{line}");
        }
    }
}
