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
