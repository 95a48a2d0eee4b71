//! One line of a configuration file, as words and back: Redis' quotes and escapes.
//!
//! A word may be bare, in double quotes (with `\n \r \t \b \a \xHH`; any other escaped character stands for itself) or in single
//! quotes (where only `\'` is an escape). After a closing quote there must be a blank or the end. Comments are not known here.

/// Splits a line into its words; none when the quotes do not balance.
///
/// Words are bytes, because `\xHH` can write any byte.
pub fn split_words(line: &str) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line.as_bytes();
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Some(words);
        }
        let mut word = Vec::new();
        loop {
            match *rest {
                [] => break,
                [byte, ..] if byte.is_ascii_whitespace() || byte == 0 => break,
                [quote @ (b'"' | b'\''), ref inside @ ..] => {
                    rest = if quote == b'"' {
                        double_quoted(inside, &mut word)
                    } else {
                        single_quoted(inside, &mut word)
                    }?;
                    if rest.first().is_some_and(|byte| !byte.is_ascii_whitespace()) {
                        return None;
                    }
                    break;
                }
                [byte, ref after @ ..] => {
                    word.push(byte);
                    rest = after;
                }
            }
        }
        words.push(word);
        // A zero byte ends a line in Redis; no text file has one.
        if rest.first() == Some(&0) {
            return Some(words);
        }
    }
}

/// Writes a word so that [`split_words`] reads it back: bare where possible, in double quotes otherwise.
pub fn quote(word: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
    if !word.is_empty() && word.bytes().all(bare) && !word.starts_with('#') {
        return word.to_owned();
    }
    let mut quoted = String::from('"');
    for byte in word.bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            b'\n' => quoted.push_str("\\n"),
            b'\r' => quoted.push_str("\\r"),
            b'\t' => quoted.push_str("\\t"),
            0x07 => quoted.push_str("\\a"),
            0x08 => quoted.push_str("\\b"),
            b' '..=b'~' => quoted.push(char::from(byte)),
            _ => quoted.push_str(&format!("\\x{byte:02x}")),
        }
    }
    quoted.push('"');
    quoted
}

/// Takes the inside of a double-quoted word; returns what follows the closing quote.
fn double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match *rest {
            [] => return None,
            [b'"', ref after @ ..] => return Some(after),
            [b'\\', b'x', high, low, ref after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(hex_digit(high) << 4 | hex_digit(low));
                rest = after;
            }
            [b'\\', escaped, ref after @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => other,
                });
                rest = after;
            }
            [byte, ref after @ ..] => {
                word.push(byte);
                rest = after;
            }
        }
    }
}

/// The same for a single-quoted word.
fn single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match *rest {
            [] => return None,
            [b'\'', ref after @ ..] => return Some(after),
            [b'\\', b'\'', ref after @ ..] => {
                word.push(b'\'');
                rest = after;
            }
            [byte, ref after @ ..] => {
                word.push(byte);
                rest = after;
            }
        }
    }
}

fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit.to_ascii_lowercase() - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn splits_as_redis_does() {
        for (line, expected) in [
            ("", Some(vec![])),
            ("  port \t 7000 ", Some(vec!["port", "7000"])),
            (r#"save """#, Some(vec!["save", ""])),
            (r#"a "b c" 'd "e'"#, Some(vec!["a", "b c", "d \"e"])),
            (r#"a "\x41\n\t\"\\\q""#, Some(vec!["a", "A\n\t\"\\q"])),
            (r#"a "\xZZ""#, Some(vec!["a", "xZZ"])),
            (r"a 'it\'s' 'a\nb'", Some(vec!["a", "it's", r"a\nb"])),
            // A quote in the middle of a word opens there.
            (r#"a b"c d""#, Some(vec!["a", "bc d"])),
            (r#"hz "1"#, None),
            (r#"hz "1"x"#, None),
            ("hz '1", None),
            (r#"hz "1\""#, None),
        ] {
            let words = split_words(line).map(|words| {
                words.into_iter().map(|word| String::from_utf8(word).unwrap()).collect::<Vec<_>>()
            });
            assert_eq!(words, expected.map(|words| words.into_iter().map(str::to_owned).collect()), "{line}");
        }
    }

    #[test]
    fn escapes_can_write_any_byte() {
        assert_eq!(split_words(r#""\xff\x00""#), Some(vec![vec![0xff, 0]]));
    }

    #[test]
    fn quotes_only_where_needed() {
        assert_eq!(quote("7000"), "7000");
        assert_eq!(quote(""), "\"\"");
        assert_eq!(quote("a b"), "\"a b\"");
        assert_eq!(quote("#a"), "\"#a\"");
        assert_eq!(quote("é\n"), "\"\\xc3\\xa9\\n\"");
    }

    proptest! {
        #[test]
        fn what_is_quoted_reads_back(words: Vec<String>) {
            let line = words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ");
            let expected: Vec<Vec<u8>> = words.into_iter().map(String::into_bytes).collect();
            prop_assert_eq!(split_words(&line), Some(expected));
        }

        #[test]
        fn any_line_is_split_or_refused(line: String) {
            let _ = split_words(&line);
        }
    }
}
