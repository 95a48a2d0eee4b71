//! The arguments of one request: slices into the buffer they arrived in, or an owned copy of them.

use std::ops::Index;

/// Where one argument lies in its request. Offsets are 32 bits: the parser takes no request of 4 GiB or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Span {
        let offset = |at: usize| u32::try_from(at).expect("a request is smaller than 4 GiB");
        Span { start: offset(start), end: offset(end) }
    }

    fn len(self) -> usize {
        (self.end - self.start) as usize
    }
}

/// How many decimal digits a number has.
fn digits(number: usize) -> usize {
    match number {
        0..10 => 1,
        10..100 => 2,
        100..1000 => 3,
        _ => number.ilog10() as usize + 1,
    }
}

/// The arguments of one request, the command's name first. Copying this copies two references.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    pub(super) fn new(bytes: &'a [u8], spans: &'a [Span]) -> Args<'a> {
        Args { bytes, spans }
    }

    /// How many arguments there are, the command's name included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no argument at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The argument at `index`, if there is one. Lives as long as the buffer, unlike `args[index]`.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.spans.get(index).map(|span| &self.bytes[span.start as usize..span.end as usize])
    }

    /// The arguments from `index` on; none if `index` is beyond the end.
    #[must_use]
    pub fn tail(&self, index: usize) -> Args<'a> {
        Args { bytes: self.bytes, spans: self.spans.get(index..).unwrap_or_default() }
    }

    /// The first `len` arguments; all if there are no more.
    #[must_use]
    pub fn head(&self, len: usize) -> Args<'a> {
        Args { bytes: self.bytes, spans: &self.spans[..len.min(self.spans.len())] }
    }

    /// All arguments in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &'a [u8]> + ExactSizeIterator + use<'a> {
        let bytes = self.bytes;
        self.spans.iter().map(move |span| &bytes[span.start as usize..span.end as usize])
    }

    /// The request as it came, if it came as an array of bulk strings and each length is written as short as can be:
    /// copying that is less work than writing it again.
    #[must_use]
    pub fn verbatim(&self) -> Option<&'a [u8]> {
        let bytes = self.bytes;
        if bytes.first() != Some(&b'*') {
            return None;
        }
        // Where the line before, or the argument before, should end.
        let mut end = 1 + digits(self.len());
        for span in self.spans {
            let start = span.start as usize;
            let header = bytes.get(end..start).filter(|_| start == end + 5 + digits(span.len()))?;
            if !header.starts_with(b"\r\n$") || !header.ends_with(b"\r\n") {
                return None;
            }
            end = span.end as usize;
        }
        (bytes.get(end..) == Some(b"\r\n")).then_some(bytes)
    }

    /// A copy that outlives the buffer, no larger than the arguments themselves.
    #[must_use]
    pub fn to_owned(&self) -> OwnedArgs {
        let mut owned = OwnedArgs {
            bytes: Vec::with_capacity(self.iter().map(<[u8]>::len).sum()),
            spans: Vec::with_capacity(self.len()),
        };
        self.iter().for_each(|arg| owned.push(arg));
        owned
    }
}

impl Index<usize> for Args<'_> {
    type Output = [u8];

    /// # Panics
    /// If there is no such argument; a handler may rely on what its command's arity promises.
    fn index(&self, index: usize) -> &[u8] {
        self.get(index).expect("the command's arity covers this argument")
    }
}

impl std::fmt::Debug for Args<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(String::from_utf8_lossy)).finish()
    }
}

/// Room for the places of arguments that lie in one piece of memory.
#[derive(Debug, Default)]
pub struct Places {
    spans: Vec<Span>,
}

impl Places {
    /// The arguments, in the memory where they are. Each is a part of `bytes`, which holds less than 4 GiB.
    ///
    /// # Panics
    /// If one is not.
    pub fn of<'a>(&'a mut self, bytes: &'a [u8], args: &[&[u8]]) -> Args<'a> {
        self.spans.clear();
        let origin = bytes.as_ptr().addr();
        self.spans.extend(args.iter().map(|arg| {
            let start =
                arg.as_ptr().addr().checked_sub(origin).filter(|start| start + arg.len() <= bytes.len());
            let start = start.expect("an argument is a part of its command");
            Span::new(start, start + arg.len())
        }));
        Args::new(bytes, &self.spans)
    }
}

/// A request kept beyond its buffer: parked by a blocking command or queued by `MULTI`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct OwnedArgs {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

impl OwnedArgs {
    /// The arguments, borrowed.
    #[must_use]
    pub fn as_args(&self) -> Args<'_> {
        Args::new(&self.bytes, &self.spans)
    }

    /// Makes these the arguments, in the memory that is there.
    pub fn assign(&mut self, args: &[&[u8]]) {
        self.clear();
        for arg in args {
            self.push(arg);
        }
    }

    /// Forgets the arguments and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
    }

    /// Adds one argument at the end.
    pub fn push(&mut self, arg: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(arg);
        self.spans.push(Span::new(start, self.bytes.len()));
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.bytes.capacity() + self.spans.capacity() * size_of::<Span>()
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for OwnedArgs {
    fn from_iter<I: IntoIterator<Item = T>>(args: I) -> OwnedArgs {
        let mut owned = OwnedArgs::default();
        for arg in args {
            owned.push(arg.as_ref());
        }
        owned.bytes.shrink_to_fit();
        owned.spans.shrink_to_fit();
        owned
    }
}

impl std::fmt::Debug for OwnedArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_args().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use crate::resp::{Limits, RequestParser};

    #[test]
    fn a_request_is_taken_as_it_came_only_if_it_came_as_it_would_be_written() {
        let long = format!("*2\r\n$1000\r\n{}\r\n$0\r\n\r\n", "x".repeat(1000));
        let eleven = format!("*11\r\n{}", "$12\r\n*1\r\n$1\r\nx\r\nyz\r\n".repeat(11));
        for (request, expected) in [
            ("*1\r\n$4\r\nPING\r\n", true),
            ("*2\r\n$3\r\nget\r\n$10\r\n0123456789\r\n", true),
            (&long, true),
            (&eleven, true),
            ("PING\r\n", false),
            ("*1 PING\r\n", false),
            ("*01\r\n$4\r\nPING\r\n", false),
            ("*1\r\n$04\r\nPING\r\n", false),
            ("*2\r\n$4\r\nPING\r\n$01\r\nx\r\n", false),
            ("*1\r\n$4\r\nPING\r.", false),
            ("*2\r\n$4\r\nPING..$1\r\nx\r\n", false),
        ] {
            let mut parser = RequestParser::default();
            let limits = Limits { bulk_max: 1 << 20, authenticated: true };
            let Ok(Some(args)) = parser.next(request.as_bytes(), limits) else { continue };
            assert_eq!(args.verbatim(), expected.then_some(request.as_bytes()), "{request}");
            assert_eq!(args.to_owned().as_args().verbatim(), None, "{request}");
            assert_eq!(args.tail(1).verbatim(), None, "{request}");
            if args.len() > 1 {
                assert_eq!(args.head(1).verbatim(), None, "{request}");
            }
        }
    }
}
