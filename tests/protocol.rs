//! The protocol: our reader of requests and our writer of replies against the `redis-protocol` crate, an independent
//! implementation, and against what redis-server 8.2.3 was seen to answer.

mod support;

use millstream::error::Error;
use millstream::resp::{Limits, Protocol, Reply, RequestParser};
use proptest::collection::vec;
use proptest::prelude::*;
use redis_protocol::resp2::types::OwnedFrame as Frame2;
use redis_protocol::resp3::types::{OwnedFrame as Frame3, VerbatimStringFormat};
use redis_protocol::{resp2, resp3};
use support::random::{Random, seed};

const KNOWN: Limits = Limits { bulk_max: 512 * 1024 * 1024, authenticated: true };
const STRANGER: Limits = Limits { authenticated: false, ..KNOWN };

type Request = Vec<Vec<u8>>;

/// What came of a stream: the requests in it, and the error at its end if there was one.
type Outcome = (Vec<Request>, Option<Vec<u8>>);

/// Reads a stream that arrives in pieces, as a connection does: what is done with leaves the buffer after each.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limits: Limits) -> Outcome {
    let mut parser = RequestParser::default();
    let mut buffer = Vec::new();
    let mut requests = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match parser.next(&buffer, limits) {
                Ok(Some(args)) => requests.push(args.iter().map(<[u8]>::to_vec).collect()),
                Ok(None) => break,
                Err(error) => return (requests, Some(error.text().to_vec())),
            }
        }
        let done = parser.consumed();
        buffer.drain(..done);
    }
    (requests, None)
}

/// The same, keeping everything in the buffer.
fn read_kept<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limits: Limits) -> Outcome {
    let mut parser = RequestParser::default();
    let mut buffer = Vec::new();
    let mut requests = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match parser.next(&buffer, limits) {
                Ok(Some(args)) => requests.push(args.iter().map(<[u8]>::to_vec).collect()),
                Ok(None) => break,
                Err(error) => return (requests, Some(error.text().to_vec())),
            }
        }
    }
    (requests, None)
}

fn whole(stream: &[u8], limits: Limits) -> Outcome {
    read([stream], limits)
}

fn bytewise(stream: &[u8]) -> std::slice::Chunks<'_, u8> {
    stream.chunks(1)
}

/// Cuts a stream at these places, in any order.
fn cut<'a>(stream: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    ends.push(stream.len());
    ends.sort_unstable();
    let starts = std::iter::once(&0).chain(&ends);
    starts.zip(&ends).map(|(start, end)| &stream[*start..*end]).collect()
}

fn encode(request: &Request) -> Vec<u8> {
    let frame = Frame2::Array(request.iter().cloned().map(Frame2::BulkString).collect());
    encode_frame(&frame)
}

fn encode_frame(frame: &Frame2) -> Vec<u8> {
    use redis_protocol::resp2::types::Resp2Frame;
    let mut buffer = vec![0; frame.encode_len(false)];
    let len = resp2::encode::encode(&mut buffer, frame, false).expect("the buffer is large enough");
    buffer.truncate(len);
    buffer
}

fn request() -> impl Strategy<Value = Request> {
    let short = vec(any::<u8>(), 0..12);
    let line_ends = vec(prop::sample::select(b"\r\n*$0\0".to_vec()), 0..8);
    let long = (0..3000_usize).prop_map(|len| vec![b'x'; len]);
    vec(prop_oneof![4 => short, 2 => line_ends, 1 => long], 1..20)
}

proptest! {
    #[test]
    fn requests_are_read_whole_however_they_are_split(
        requests in vec(request(), 1..6),
        cuts in vec(any::<usize>(), 0..40),
    ) {
        let stream: Vec<u8> = requests.iter().flat_map(encode).collect();
        let expected = (requests, None);
        let pieces = cut(&stream, &cuts);
        prop_assert_eq!(&read(pieces.iter().copied(), KNOWN), &expected);
        prop_assert_eq!(&read_kept(pieces, KNOWN), &expected);
        prop_assert_eq!(&read(bytewise(&stream), KNOWN), &expected);
    }

    #[test]
    fn quoted_words_are_read_back(requests in vec(vec(vec(any::<u8>(), 0..20), 1..5), 1..4)) {
        let hex = |byte: &u8| format!("\\x{byte:02x}");
        let quote = |word: &Vec<u8>| format!("\"{}\"", word.iter().map(hex).collect::<String>());
        let line = |request: &Request| request.iter().map(quote).collect::<Vec<_>>().join(" ") + "\r\n";
        let stream: String = requests.iter().map(line).collect();
        prop_assert_eq!(read(bytewise(stream.as_bytes()), KNOWN), (requests, None));
    }

    #[test]
    fn an_error_is_one_line_whatever_it_quotes(text in vec(prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n')], 0..40)) {
        let mut reply = Reply::new(Protocol::Resp2);
        reply.error(&Error::with(text.clone()));
        let [b'-', line @ .., b'\r', b'\n'] = reply.as_bytes() else { panic!("{reply:?}") };
        prop_assert!(!line.contains(&b'\r') && !line.contains(&b'\n'));
        let kept = text.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |last| last + 1);
        prop_assert_eq!(line.len(), kept);
    }

    #[test]
    fn replies_mean_the_same_to_others(tree in node()) {
        let mut reply = Reply::new(Protocol::Resp2);
        tree.say(&mut reply);
        let bytes = reply.as_bytes();
        prop_assert_eq!(resp2::decode::decode(bytes).unwrap(), Some((tree.in_resp2(), bytes.len())));
        prop_assert_eq!(resp2::decode::decode(&bytes[..bytes.len() - 1]).unwrap(), None);

        let mut reply = Reply::new(Protocol::Resp3);
        tree.say(&mut reply);
        let bytes = reply.as_bytes();
        let decoded = resp3::decode::complete::decode(bytes).unwrap();
        prop_assert_eq!(decoded, Some((tree.in_resp3(), bytes.len())));
        prop_assert_eq!(resp3::decode::complete::decode(&bytes[..bytes.len() - 1]).unwrap(), None);
    }

    #[test]
    fn what_is_sent_leaves_the_front(steps in vec((vec(any::<u8>(), 0..50), any::<usize>(), any::<bool>()), 1..60)) {
        let mut reply = Reply::default();
        let mut expected: Vec<u8> = Vec::new();
        for (said, number, send) in steps {
            reply.bulk(&said);
            expected.extend_from_slice(format!("${}\r\n", said.len()).as_bytes());
            expected.extend_from_slice(&said);
            expected.extend_from_slice(b"\r\n");
            let len = number % (expected.len() + 1);
            if send {
                reply.discard_front(len);
                expected.drain(..len);
                reply.shrink(16);
            } else {
                reply.truncate(len);
                expected.truncate(len);
            }
            prop_assert_eq!(reply.as_bytes(), &expected[..]);
            prop_assert_eq!((reply.len(), reply.is_empty()), (expected.len(), expected.is_empty()));
        }
        prop_assert_eq!(reply.take(), expected);
        prop_assert!(reply.is_empty());
    }
}

/// A reply as a command says it.
#[derive(Clone, Debug)]
enum Node {
    Ok,
    Simple(String),
    Error(String),
    Integer(i64),
    Count(usize),
    Bulk(Vec<u8>),
    Optional(Option<Vec<u8>>),
    BulkInteger(i64),
    Verbatim(String),
    Null,
    NullArray,
    Boolean(bool),
    Double(f64),
    Array(Vec<Node>),
    ArrayOf(Vec<Node>),
    /// Keys are the values' places.
    Map(Vec<Node>),
    /// The numbers below this.
    Set(usize),
    Push(Vec<Node>),
}

fn node() -> impl Strategy<Value = Node> {
    let number = prop_oneof![any::<i64>(), -2000..2000_i64, Just(i64::MIN), Just(i64::MAX)];
    let bytes = prop_oneof![vec(any::<u8>(), 0..30), (0..2000_usize).prop_map(|len| vec![b'\n'; len])];
    let leaf = prop_oneof![
        Just(Node::Ok),
        "[ -~]{0,20}".prop_map(Node::Simple),
        "[A-Z]{3,8} \\PC{0,20}".prop_map(Node::Error),
        number.clone().prop_map(Node::Integer),
        (0..2_000_000_usize).prop_map(Node::Count),
        bytes.clone().prop_map(Node::Bulk),
        prop::option::of(bytes).prop_map(Node::Optional),
        number.prop_map(Node::BulkInteger),
        "\\PC{0,30}".prop_map(Node::Verbatim),
        Just(Node::Null),
        Just(Node::NullArray),
        any::<bool>().prop_map(Node::Boolean),
        (-1e9..1e9_f64).prop_map(Node::Double),
        Just(Node::Double(f64::INFINITY)),
        (0..20_usize).prop_map(Node::Set),
    ];
    leaf.prop_recursive(4, 200, 12, |node| {
        prop_oneof![
            vec(node.clone(), 0..12).prop_map(Node::Array),
            vec(node.clone(), 0..12).prop_map(Node::ArrayOf),
            vec(node.clone(), 0..12).prop_map(Node::Map),
            vec(node, 1..12).prop_map(Node::Push),
        ]
    })
}

impl Node {
    fn say(&self, reply: &mut Reply) {
        let all = |reply: &mut Reply, nodes: &[Node]| nodes.iter().for_each(|node| node.say(reply));
        match self {
            Node::Ok => reply.ok(),
            Node::Simple(text) => reply.simple(text),
            Node::Error(text) => reply.error(&Error::with(text.as_str())),
            Node::Integer(value) => reply.integer(*value),
            Node::Count(value) => reply.count(*value),
            Node::Bulk(value) => reply.bulk(value),
            Node::Optional(value) => reply.optional(value.as_ref()),
            Node::BulkInteger(value) => reply.bulk_integer(*value),
            Node::Verbatim(text) => reply.verbatim("txt", text),
            Node::Null => reply.null(),
            Node::NullArray => reply.null_array(),
            Node::Boolean(value) => reply.boolean(*value),
            Node::Double(value) => reply.double_text(&value.to_string()),
            Node::Array(nodes) => {
                let replied = reply.array(nodes.len());
                all(reply, nodes);
                replied
            }
            Node::ArrayOf(nodes) => reply.array_of(|reply| {
                all(reply, nodes);
                nodes.len()
            }),
            Node::Map(values) => {
                let replied = reply.map(values.len());
                for (key, value) in values.iter().enumerate() {
                    reply.bulk_integer(key as i64);
                    value.say(reply);
                }
                replied
            }
            Node::Set(len) => {
                let replied = reply.set(*len);
                (0..*len).for_each(|value| _ = reply.count(value));
                replied
            }
            Node::Push(nodes) => {
                let replied = reply.push(nodes.len());
                all(reply, nodes);
                replied
            }
        };
    }

    fn in_resp2(&self) -> Frame2 {
        let bulk = |text: String| Frame2::BulkString(text.into_bytes());
        match self {
            Node::Ok => Frame2::SimpleString(b"OK".to_vec()),
            Node::Simple(text) => Frame2::SimpleString(text.clone().into_bytes()),
            Node::Error(text) => Frame2::Error(text.clone()),
            Node::Integer(value) => Frame2::Integer(*value),
            Node::Count(value) => Frame2::Integer(*value as i64),
            Node::Bulk(value) | Node::Optional(Some(value)) => Frame2::BulkString(value.clone()),
            Node::BulkInteger(value) => bulk(value.to_string()),
            Node::Verbatim(text) => bulk(text.clone()),
            Node::Null | Node::NullArray | Node::Optional(None) => Frame2::Null,
            Node::Boolean(value) => Frame2::Integer(i64::from(*value)),
            Node::Double(value) => bulk(value.to_string()),
            Node::Array(nodes) | Node::ArrayOf(nodes) | Node::Push(nodes) => {
                Frame2::Array(nodes.iter().map(Node::in_resp2).collect())
            }
            Node::Map(values) => {
                let pairs = values.iter().enumerate();
                Frame2::Array(
                    pairs.flat_map(|(key, value)| [bulk(key.to_string()), value.in_resp2()]).collect(),
                )
            }
            Node::Set(len) => Frame2::Array((0..*len).map(|value| Frame2::Integer(value as i64)).collect()),
        }
    }

    fn in_resp3(&self) -> Frame3 {
        let attributes = None;
        let bulk = |data: Vec<u8>| Frame3::BlobString { data, attributes: None };
        let number = |data| Frame3::Number { data, attributes: None };
        let all = |nodes: &[Node]| nodes.iter().map(Node::in_resp3).collect();
        match self {
            Node::Ok => Frame3::SimpleString { data: b"OK".to_vec(), attributes },
            Node::Simple(text) => Frame3::SimpleString { data: text.clone().into_bytes(), attributes },
            Node::Error(text) => Frame3::SimpleError { data: text.clone(), attributes },
            Node::Integer(value) => number(*value),
            Node::Count(value) => number(*value as i64),
            Node::Bulk(value) | Node::Optional(Some(value)) => bulk(value.clone()),
            Node::BulkInteger(value) => bulk(value.to_string().into_bytes()),
            Node::Verbatim(text) => {
                let format = VerbatimStringFormat::Text;
                Frame3::VerbatimString { data: text.clone().into_bytes(), format, attributes }
            }
            Node::Null | Node::NullArray | Node::Optional(None) => Frame3::Null,
            Node::Boolean(value) => Frame3::Boolean { data: *value, attributes },
            Node::Double(value) => Frame3::Double { data: *value, attributes },
            Node::Array(nodes) | Node::ArrayOf(nodes) => Frame3::Array { data: all(nodes), attributes },
            Node::Push(nodes) => Frame3::Push { data: all(nodes), attributes },
            Node::Map(values) => {
                let pair =
                    |(key, value): (usize, &Node)| (bulk(key.to_string().into_bytes()), value.in_resp3());
                Frame3::Map { data: values.iter().enumerate().map(pair).collect(), attributes }
            }
            Node::Set(len) => {
                Frame3::Set { data: (0..*len).map(|value| number(value as i64)).collect(), attributes }
            }
        }
    }
}

/// What redis-server 8.2.3 answered to these bytes; ours must be the same, all at once and byte by byte.
#[test]
fn errors_are_those_of_redis() {
    let cases: &[(&[u8], &[u8])] = &[
        (b"*1\r\nPING\r\n", b"expected '$', got 'P'"),
        (b"*1\r\n\xff4\r\n", b"expected '$', got '\xff'"),
        (b"*1\r\n\x01a\r\n", b"expected '$', got '\x01'"),
        (b"*3\r\n$4\r\nECHO\r\n*1\r\n", b"expected '$', got '*'"),
        (b"*1048576\r\nx\r\n", b"expected '$', got 'x'"),
        (b"*1\r\n$-1\r\n", b"invalid bulk length"),
        (b"*1\r\n$\r\n", b"invalid bulk length"),
        (b"*1\r\n$+4\r\n", b"invalid bulk length"),
        (b"*1\r\n$04\r\nPING\r\n", b"invalid bulk length"),
        (b"*1\r\n$4 \r\n", b"invalid bulk length"),
        (b"*1\r\n$536870913\r\n", b"invalid bulk length"),
        (b"*1\r\n$99999999999999999999\r\n", b"invalid bulk length"),
        (b"*\r\n", b"invalid multibulk length"),
        (b"*a\r\n", b"invalid multibulk length"),
        (b"*-0\r\n$4\r\nPING\r\n", b"invalid multibulk length"),
        (b"*01\r\n$4\r\nPING\r\n", b"invalid multibulk length"),
        (b"*1 \r\n", b"invalid multibulk length"),
        (b"*2147483648\r\n", b"invalid multibulk length"),
        (b"*9223372036854775808\r\n", b"invalid multibulk length"),
        (b"*1\n$4\nPING\r\n", b"invalid multibulk length"),
        (b"ECHO \"a\r\n", b"unbalanced quotes in request"),
        (b"ECHO 'a'b\r\n", b"unbalanced quotes in request"),
    ];
    for (stream, text) in cases {
        fails(stream, text, KNOWN);
    }
    // The line feed or carriage return of "expected '$', got" is made a space by the encoder of errors.
    fails(b"*1\r\n\r\n", b"expected '$', got '\r'", KNOWN);
    fails(b"*1\r\n\n\r\n", b"expected '$', got '\n'", KNOWN);
    // Ours alone: fewer arguments are allowed, and a NUL is not waited upon.
    fails(b"*1048577\r\n", b"invalid multibulk length", KNOWN);
    fails(b"PI\0NG\r\n", b"NUL in inline request", KNOWN);
    fails(b"ECHO \"\0", b"NUL in inline request", KNOWN);
}

#[test]
fn strangers_may_send_little() {
    fails(b"*11\r\n", b"unauthenticated multibulk length", STRANGER);
    fails(b"*0\r\n*11\r\n", b"unauthenticated multibulk length", STRANGER);
    fails(b"*1048577\r\n", b"unauthenticated multibulk length", STRANGER);
    fails(b"*2147483647\r\n", b"unauthenticated multibulk length", STRANGER);
    fails(b"*2147483648\r\n", b"invalid multibulk length", STRANGER);
    fails(b"*1\r\n$16385\r\n", b"unauthenticated bulk length", STRANGER);
    fails(b"*1\r\n$536870913\r\n", b"invalid bulk length", STRANGER);
    for request in [vec![b"x".to_vec(); 10], vec![vec![b'x'; 16 * 1024]]] {
        assert_eq!(whole(&encode(&request), STRANGER), (vec![request], None));
    }
}

#[test]
fn lines_end_within_64_kib() {
    const LINE_MAX: usize = 64 * 1024;
    let line = |start: &[u8], len: usize| [start, &vec![b'1'; len - start.len()]].concat();
    assert_eq!(whole(&line(b"*", LINE_MAX), KNOWN), (vec![], None));
    assert_eq!(whole(&line(b"1", LINE_MAX), KNOWN), (vec![], None));
    fails(&line(b"*", LINE_MAX + 1), b"too big mbulk count string", KNOWN);
    fails(&line(b"1", LINE_MAX + 1), b"too big inline request", KNOWN);
    let length = [&b"*1\r\n"[..], &line(b"$", LINE_MAX)].concat();
    assert_eq!(whole(&length, KNOWN), (vec![], None));
    fails(&[&length[..], b"1"].concat(), b"too big bulk count string", KNOWN);
    let full = [&line(b"1", LINE_MAX)[..], b"\n"].concat();
    assert_eq!(whole(&full, STRANGER).0[0][0].len(), LINE_MAX);
}

#[test]
fn requests_are_what_redis_takes_them_for() {
    let ping = || vec![b"PING".to_vec()];
    let echo = |word: &[u8]| vec![b"ECHO".to_vec(), word.to_vec()];
    let cases: &[(&[u8], &[Request])] = &[
        (b"", &[]),
        (b"\r\n\n \n\t\r\n", &[]),
        (b"*0\r\n*-1\r\n*-9223372036854775808\r\n", &[]),
        (b"*0\r\nPING\r\n*-1\r\n*1\r\n$4\r\nPING\r\n", &[ping(), ping()]),
        (b"\n\n\nPING\n", &[ping()]),
        (b" \t PING\t \r\r\n", &[ping()]),
        (b"*1\rx$4\rxPINGxx", &[ping()]),
        (b"*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n", &[ping(), ping()]),
        (b"*1\r\n$0\r\n\r\n", &[vec![vec![]]]),
        (b"\"\" \n", &[vec![vec![]]]),
        (b"\x0bPING\x0c\n", &[vec![b"PING\x0c".to_vec()]]),
        (b"ECHO \"a\"\x0b\n", &[echo(b"a")]),
        (b"ECHO \"\\x00\\xfg\"\n", &[echo(b"\0xfg")]),
        (b"ECHO 'a\\'b'\n", &[echo(b"a'b")]),
        (b"ECHO '\\n'\n", &[echo(b"\\n")]),
        (b"ECHO \"\\n\\q\\\"\"\n", &[echo(b"\nq\"")]),
        (b"ECHO a\"b\"\n", &[echo(b"ab")]),
        (b"ECHO \"\\x4\"\n", &[echo(b"x4")]),
        (b"$4\r\nPING\r\n", &[vec![b"$4".to_vec()], ping()]),
        (b"*1\r\n$4\r\nPING\r", &[]),
    ];
    for (stream, requests) in cases {
        let expected = (requests.to_vec(), None);
        assert_eq!(whole(stream, KNOWN), expected, "{}", stream.escape_ascii());
        assert_eq!(read(bytewise(stream), KNOWN), expected, "{}", stream.escape_ascii());
        assert_eq!(read_kept(bytewise(stream), KNOWN), expected, "{}", stream.escape_ascii());
    }
}

/// The stream is refused so, at the same place whether it comes at once or byte by byte.
#[track_caller]
fn fails(stream: &[u8], text: &[u8], limits: Limits) {
    let text = [b"ERR Protocol error: ", text].concat();
    let expected = (vec![], Some(text));
    let start = &stream[..stream.len().min(40)];
    assert_eq!(whole(stream, limits), expected, "{}", start.escape_ascii());
    if stream.len() < 1000 {
        assert_eq!(read(bytewise(stream), limits), expected, "{}", start.escape_ascii());
    }
}

/// Valid streams with random damage. Whatever they are now: no panic, the same outcome at any splitting, nothing
/// beyond the limits, and where `redis-protocol` reads a request too, the same request.
#[test]
fn damaged_streams_are_read_as_others_read_them() {
    let seed = seed(8_2_3);
    let mut random = Random::new(seed);
    let streams = if support::long_form() { 5_000_000 } else { 100_000 };
    let mut compared = 0;
    for number in 0..streams {
        let mut stream = Vec::new();
        for _ in 0..=random.below(4) {
            stream.extend(random_request(&mut random));
        }
        for _ in 0..random.below(4) {
            damage(&mut stream, &mut random);
        }
        let about = || format!("seed {seed}, stream {number}: {}", stream.escape_ascii());
        compared += compare(&stream, &about);
        let limits = Limits { bulk_max: [5, 600][random.below(2)], authenticated: random.one_in(2) };
        let outcome = whole(&stream, limits);
        let cuts: Vec<usize> = (0..random.below(8)).map(|_| random.below(stream.len() + 1)).collect();
        assert_eq!(read(cut(&stream, &cuts), limits), outcome, "{}", about());
        assert_eq!(read_kept(cut(&stream, &cuts), limits), outcome, "{}", about());
        assert_eq!(read(bytewise(&stream), limits), outcome, "{}", about());
        keeps_limits(&stream, limits, &about);
    }
    assert!(compared > streams / 2, "only {compared} requests were read by both");
}

/// Reads the stream with both readers, request by request, and returns how many requests both read.
fn compare(stream: &[u8], about: &dyn Fn() -> String) -> usize {
    let mut rest = stream;
    let mut requests = Vec::new();
    let mut both = 0;
    loop {
        let theirs = if rest.starts_with(b"*") { resp2::decode::decode(rest) } else { Ok(None) };
        // Requests of nothing, which ours passes over.
        if let Some(nothing) = [&b"*0\r\n"[..], b"*-1\r\n"].iter().find(|nothing| rest.starts_with(nothing)) {
            let expected = if rest[1] == b'0' { Frame2::Array(vec![]) } else { Frame2::Null };
            assert_eq!(theirs, Ok(Some((expected, nothing.len()))));
            rest = &rest[nothing.len()..];
            continue;
        }
        let mut parser = RequestParser::default();
        let ours = parser.next(rest, KNOWN);
        let ours: Option<Request> = ours.ok().flatten().map(|args| args.iter().map(<[u8]>::to_vec).collect());
        let used = parser.consumed();
        if let Ok(Some((Frame2::Array(elements), their_use))) = theirs {
            let theirs: Option<Request> = elements
                .into_iter()
                .map(|element| match element {
                    Frame2::BulkString(bytes) => Some(bytes),
                    _ => None,
                })
                .collect();
            if let Some(theirs) = theirs.filter(|request| !request.is_empty()) {
                let canonical = encode(&theirs) == rest[..their_use];
                match &ours {
                    Some(ours) => {
                        assert_eq!((ours, used), (&theirs, their_use), "{}", about());
                        both += 1;
                    }
                    None => assert!(!canonical, "refused: {}", about()),
                }
            }
        }
        let Some(request) = ours else { break };
        requests.push(request);
        rest = &rest[used..];
    }
    assert_eq!(requests, whole(stream, KNOWN).0, "{}", about());
    both
}

/// Checks every request that the parser takes against the limits it was given.
fn keeps_limits(stream: &[u8], limits: Limits, about: &dyn Fn() -> String) {
    let mut parser = RequestParser::default();
    let mut rest = stream;
    while let Ok(Some(args)) = parser.next(rest, limits) {
        let request: Request = args.iter().map(<[u8]>::to_vec).collect();
        let used = parser.consumed();
        // No line of words ends like this; those have the limit of a line only.
        if rest[..used].ends_with(&encode(&request)) {
            let longest = request.iter().map(Vec::len).max().unwrap_or(0);
            assert!(longest as u64 <= limits.bulk_max, "{}", about());
            assert!(limits.authenticated || request.len() <= 10, "{}", about());
        }
        rest = &rest[used..];
    }
}

fn random_request(random: &mut Random) -> Vec<u8> {
    const WORDS: [&[u8]; 8] = [b"PING", b"RPUSH", b"", b"x", b"*1\r\n", b"$3", b"a b", b"\r\n"];
    if random.one_in(6) {
        return random
            .pick(&[&b"PING\r\n"[..], b"\n", b"ECHO 'a b' \"\\x41\"\r\n", b"*0\r\n", b"*-1\r\n"])
            .to_vec();
    }
    let request = (0..=random.below(12))
        .map(|_| match random.one_in(8) {
            true => vec![b'x'; random.below(1200)],
            false => random.pick(&WORDS).to_vec(),
        })
        .collect();
    encode(&request)
}

fn damage(stream: &mut Vec<u8>, random: &mut Random) {
    const PIECES: [&[u8]; 16] = [
        b"\r\n",
        b"\r",
        b"\n",
        b"\0",
        b"*",
        b"$",
        b"\"",
        b"'",
        b"-1",
        b"0",
        b"*0\r\n",
        b"*-1\r\n",
        b"$-1\r\n",
        b"99999999999999999999",
        b"4294967296",
        b"+",
    ];
    let at = random.below(stream.len() + 1);
    match random.below(5) {
        0 if at < stream.len() => stream[at] ^= 1 << random.below(8),
        1 if at < stream.len() => drop(stream.remove(at)),
        2 => stream.truncate(at),
        3 => {
            let end = (at + random.below(20)).min(stream.len());
            let piece = stream[at..end].to_vec();
            let to = random.below(stream.len() + 1);
            drop(stream.splice(to..to, piece));
        }
        _ => drop(stream.splice(at..at, random.pick(&PIECES).iter().copied())),
    }
}
