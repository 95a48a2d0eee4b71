//! Inline requests: a line of words, for people on a plain terminal connection.

/// A quote that is not closed, or closed in the middle of a word.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnbalancedQuotes;

/// Splits `line` into words, each handed to `word` as its decoded bytes.
///
/// Double quotes understand `\n \r \t \b \a \xHH` and any escaped byte; single quotes only `\'`. A closing
/// quote must be followed by white space or the end of the line.
pub(super) fn split(line: &[u8], mut word: impl FnMut(&[u8])) -> Result<(), UnbalancedQuotes> {
    let mut rest = line;
    let mut current = Vec::new();
    loop {
        while let [first, tail @ ..] = rest
            && is_space(*first)
        {
            rest = tail;
        }
        if rest.is_empty() {
            return Ok(());
        }
        current.clear();
        rest = take_word(rest, &mut current)?;
        word(&current);
    }
}

fn take_word<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        match rest {
            [] => return Ok(rest),
            [b'"', tail @ ..] => rest = after_quote(take_double_quoted(tail, word)?)?,
            [b'\'', tail @ ..] => rest = after_quote(take_single_quoted(tail, word)?)?,
            [byte, ..] if is_space(*byte) => return Ok(rest),
            // Redis reads the line as a C string: a NUL ends the word, and with it the request.
            [0, ..] => return Ok(&[]),
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
                continue;
            }
        }
        return Ok(rest);
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
        split(line.as_bytes(), |word| words.push(word.to_vec()))?;
        Ok(words)
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
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in ["\"a", "'a", "\"a\"b", "'a'b", "\"\\"] {
            assert_eq!(words(line), Err(UnbalancedQuotes), "{line}");
        }
    }
}
