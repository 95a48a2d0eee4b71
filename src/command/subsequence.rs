//! `LCS`: what two strings have in common, in order.

use super::arguments::{integer, is};
use super::entry::{Access, Command, Flags, Group, KeySpec};
use super::{Context, Outcome};
use crate::error::Error;
use crate::resp::Args;

/// `LCS key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]`
fn lcs(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let text = |key: &[u8]| {
        let text =
            cx.keys.text(key).map_err(|_| Error::new("ERR The specified keys must contain string values"))?;
        Ok::<_, Error>(text.map(|text| text.bytes.clone()).unwrap_or_default())
    };
    let (one, other) = (text(&args[1])?, text(&args[2])?);
    let (mut len, mut idx, mut with_len, mut shortest) = (false, false, false, 0);
    let mut options = args.tail(3).iter();
    while let Some(option) = options.next() {
        match option {
            _ if is(option, "LEN") => len = true,
            _ if is(option, "IDX") => idx = true,
            _ if is(option, "WITHMATCHLEN") => with_len = true,
            _ if is(option, "MINMATCHLEN") && options.len() > 0 => {
                shortest = integer(options.next().expect("there is one"))?.max(0);
            }
            _ => return Err(Error::SYNTAX),
        }
    }
    if len && idx {
        return Err(Error::new("ERR If you want both the length and indexes, please just use IDX."));
    }
    let cells = (one.len() as u64 + 1).saturating_mul(other.len() as u64 + 1);
    if cells.saturating_mul(size_of::<u32>() as u64) > cx.server.config.settings().proto_max_bulk_len {
        return Err(Error::new(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    let (length, matches) = matches(&one, &other, len);
    if len {
        return Ok(cx.reply.count(length).into());
    }
    if !idx {
        let common: Vec<u8> =
            matches.iter().rev().flat_map(|run| &one[run.one..run.one + run.len]).copied().collect();
        return Ok(cx.reply.bulk(common).into());
    }
    let shown: Vec<&Run> = matches.iter().filter(|run| run.len as i64 >= shortest).collect();
    cx.reply.map(2);
    cx.reply.bulk("matches");
    cx.reply.array(shown.len());
    for run in shown {
        cx.reply.array(2 + usize::from(with_len));
        for start in [run.one, run.other] {
            cx.reply.array(2);
            cx.reply.count(start);
            cx.reply.count(start + run.len - 1);
        }
        if with_len {
            cx.reply.count(run.len);
        }
    }
    cx.reply.bulk("len");
    Ok(cx.reply.count(length).into())
}

/// A piece that both have: where it begins in each, and its length.
struct Run {
    one: usize,
    other: usize,
    len: usize,
}

/// The length of the longest common subsequence and, unless only that is wanted, its pieces from the last to the
/// first. Takes four bytes for each pair of a byte of one and a byte of the other.
fn matches(one: &[u8], other: &[u8], only_length: bool) -> (usize, Vec<Run>) {
    let width = other.len() + 1;
    // `common[i * width + j]`: how long it is for the first `i` bytes of one and the first `j` of the other.
    let mut common = vec![0_u32; (one.len() + 1) * width];
    for (i, byte) in one.iter().enumerate() {
        let (above, row) = common[i * width..(i + 2) * width].split_at_mut(width);
        for (j, candidate) in other.iter().enumerate() {
            row[j + 1] = if byte == candidate { above[j] + 1 } else { above[j + 1].max(row[j]) };
        }
    }
    let length = common[one.len() * width + other.len()] as usize;
    let mut runs: Vec<Run> = Vec::new();
    let (mut i, mut j) = if only_length { (0, 0) } else { (one.len(), other.len()) };
    while i > 0 && j > 0 {
        if one[i - 1] == other[j - 1] {
            match runs.last_mut() {
                Some(run) if (run.one, run.other) == (i, j) => {
                    (run.one, run.other) = (i - 1, j - 1);
                    run.len += 1;
                }
                _ => runs.push(Run { one: i - 1, other: j - 1, len: 1 }),
            }
            (i, j) = (i - 1, j - 1);
        } else if common[(i - 1) * width + j] > common[i * width + j - 1] {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    (length, runs)
}

/// The family's table.
pub(super) const COMMANDS: &[Command] = &[Command {
    name: "lcs",
    since: "7.0.0",
    arity: -3,
    flags: Flags::READONLY,
    keys: &[KeySpec::range(1, 1, 1, Access::RO.union(Access::ACCESS))],
    group: Group::String,
    summary: "Finds the longest common subsequence of two strings.",
    complexity: "O(N*M) where N and M are the lengths of the strings",
    syntax: "key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
    handler: lcs,
    ..Command::DEFAULT
}];
