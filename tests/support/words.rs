//! Commands and byte strings as text, quoted as `redis-cli` quotes them.
//!
//! Words are separated by blanks. `"…"` takes the escapes `\n \r \t \b \a \\ \" \xHH`; `'…'` takes `\'` only.

/// The words of a command line.
pub(crate) fn split(line: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let mut word = Vec::new();
        while let Some(first) = rest.chars().next().filter(|first| !first.is_whitespace()) {
            match first {
                '"' => {
                    let (text, after) = unquote(rest)?;
                    word.extend_from_slice(&text);
                    rest = after;
                }
                '\'' => {
                    let (text, after) = unquote_single(rest)?;
                    word.extend_from_slice(&text);
                    rest = after;
                }
                other => {
                    let (text, after) = rest.split_at(other.len_utf8());
                    word.extend_from_slice(text.as_bytes());
                    rest = after;
                }
            }
        }
        words.push(word);
        rest = rest.trim_start();
    }
    Ok(words)
}

/// Reads the double-quoted string that `text` begins with; returns its bytes and what follows.
pub(crate) fn unquote(text: &str) -> Result<(Vec<u8>, &str), String> {
    let mut bytes = Vec::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Ok((bytes, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => bytes.push(b'\n'),
                Some((_, 'r')) => bytes.push(b'\r'),
                Some((_, 't')) => bytes.push(b'\t'),
                Some((_, 'b')) => bytes.push(8),
                Some((_, 'a')) => bytes.push(7),
                Some((at, 'x')) => {
                    let digits = text.get(at + 1..at + 3).ok_or("\\x wants two digits")?;
                    bytes.push(
                        u8::from_str_radix(digits, 16).map_err(|_| "\\x wants two hexadecimal digits")?,
                    );
                    chars.next();
                    chars.next();
                }
                Some((_, other)) => bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
                None => break,
            },
            other => bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Err(format!("no closing quote: {text}"))
}

fn unquote_single(text: &str) -> Result<(Vec<u8>, &str), String> {
    let mut bytes = Vec::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, char)) = chars.next() {
        match char {
            '\'' => return Ok((bytes, &text[at + 1..])),
            '\\' if chars.peek().is_some_and(|next| next.1 == '\'') => {
                bytes.push(b'\'');
                chars.next();
            }
            other => bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Err(format!("no closing quote: {text}"))
}

/// The bytes as a double-quoted string.
pub(crate) fn quote(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b' '..=b'~' => text.push(char::from(byte)),
            other => text.push_str(&format!("\\x{other:02x}")),
        }
    }
    text.push('"');
    text
}

/// A command as one would type it.
pub(crate) fn join<A: AsRef<[u8]>>(command: &[A]) -> String {
    let plain = |word: &[u8]| {
        !word.is_empty() && word.iter().all(|byte| byte.is_ascii_graphic() && !b"\"'\\".contains(byte))
    };
    let word = |word: &A| match word.as_ref() {
        word if plain(word) => String::from_utf8_lossy(word).into_owned(),
        word => quote(word),
    };
    command.iter().map(word).collect::<Vec<_>>().join(" ")
}
