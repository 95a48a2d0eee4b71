//! `millstream aof salvage`: a new log of everything that can be read of a damaged one.
//!
//! The commands that survive are applied in their order, as at a start, and those that can be are written to the new log
//! with the clocks of their blocks. Nothing is made up: what cannot be read, and what cannot be applied because of that,
//! is left out and named. Behind a hole commands act on what is there. An `LPOP` of a message whose `RPUSH` is lost takes
//! the next one: nothing in the log says which one it was, and a person must be told so.

use std::io::Write;
use std::ops::ControlFlow;

use super::check::sentence;
use super::text::{count, quote};
use super::{Applied, Circumstances, EXIT_OK, EXIT_REFUSED, ToolError};
use crate::aof::{FoundBlock, FreshLog, Loss, Progress, Records, Storage, Survey, survey};

/// How many of the commands that cannot be applied are shown.
const EXAMPLES: usize = 5;
/// How much of each.
const EXAMPLE_CHARACTERS: usize = 200;

/// Makes a new log of what can be read of the one in `storage`. `target` opens the data directory for it, called
/// `to_place`; it is asked for only when something is to be written. Returns the exit code.
///
/// # Errors
/// When the disk refuses a call, the output takes no more, or there is nothing to salvage.
pub fn salvage(
    storage: &dyn Storage,
    there: &Circumstances,
    to_place: &str,
    target: impl FnOnce() -> Result<Box<dyn Storage>, ToolError>,
    accept_loss: bool,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(Progress),
) -> Result<u8, ToolError> {
    if storage.is_locked().unwrap_or(false) {
        let message = format!("a server is running in {}: stop it first", there.place);
        return Err(ToolError::Said(message));
    }
    // First without writing: whether something is lost is known only at the end.
    let (found, rest) = go_through(storage, there, None, progress)?;
    say_losses(&found, &rest, out)?;
    let loses = found.problems().any(|(_, problem)| problem.loss == Loss::Durable) || rest.skipped > 0;
    if loses && !accept_loss {
        writeln!(
            out,
            "Nothing was written. With --accept-loss, a log without them would be made in {to_place}."
        )?;
        return Ok(EXIT_REFUSED);
    }
    let target = target()?;
    if let Some(name) = in_the_way(&*target)? {
        return Err(ToolError::Said(format!("{to_place} is not empty: it holds {name}")));
    }
    let mut fresh = FreshLog::begin(&*target, there.new_id, there.now_ms)?;
    go_through(storage, there, Some(&mut fresh), progress)?;
    let (last, bytes) = fresh.finish()?;
    writeln!(
        out,
        "Made log {} in {to_place}: {} in {last} blocks, {}. The original is unchanged.",
        there.new_id,
        count(rest.applied, "command"),
        count(bytes, "byte"),
    )?;
    Ok(EXIT_OK)
}

/// What became of the commands that could be read.
#[derive(Default)]
struct Rest {
    applied: u64,
    skipped: u64,
    examples: Vec<String>,
}

/// Applies all commands that can be read and writes those that could be applied.
fn go_through(
    storage: &dyn Storage,
    there: &Circumstances,
    mut fresh: Option<&mut FreshLog<'_>>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Survey, Rest), ToolError> {
    let mut applied = Applied::new(there.new_id);
    let mut rest = Rest::default();
    let mut records = Records::new();
    let mut written = Ok(());
    let mut visit = |block: &FoundBlock<'_>| {
        records.clear();
        block.commands(&mut |db, arguments| match applied.apply(db, block.clock_ms, arguments) {
            Ok(()) => {
                rest.applied += 1;
                records.push(db, arguments);
            }
            Err(reason) => {
                rest.skipped += 1;
                if rest.examples.len() < EXAMPLES {
                    rest.examples.push(example(block.lsn, arguments, &reason));
                }
            }
        });
        if let Some(fresh) = &mut fresh {
            written = fresh.append(&records, block.clock_ms);
        }
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let found = survey(storage, &mut visit, progress)?;
    written?;
    let found = found.ok_or_else(|| ToolError::Said(format!("{}: there is no log", there.place)))?;
    Ok((found, rest))
}

fn example(lsn: u64, arguments: &[&[u8]], reason: &str) -> String {
    let mut text = String::new();
    quote(arguments, &mut text);
    if text.len() > EXAMPLE_CHARACTERS {
        text.truncate(EXAMPLE_CHARACTERS);
        text.push('…');
    }
    format!("block {lsn}: {text}: {reason}")
}

fn say_losses(found: &Survey, rest: &Rest, out: &mut dyn Write) -> Result<(), ToolError> {
    writeln!(
        out,
        "{} can be read, in {}",
        count(found.commands(), "command"),
        count(found.blocks(), "block")
    )?;
    if let Some(problem) = &found.manifest {
        writeln!(out, "MANIFEST {problem}; the files are taken for what they say they are")?;
    }
    let mut has_hole = false;
    for (file, problem) in found.problems() {
        writeln!(out, "{}: {}", file.name, sentence(problem))?;
        has_hole |= problem.loss != Loss::Nothing;
    }
    if rest.skipped > 0 {
        writeln!(out, "{} cannot be applied to what is left, for instance:", count(rest.skipped, "command"))?;
        for example in &rest.examples {
            writeln!(out, "  {example}")?;
        }
    }
    if has_hole {
        writeln!(
            out,
            "Commands behind what is lost act on what is left: a pop, for instance, may take another message."
        )?;
    } else if rest.skipped == 0 {
        writeln!(out, "Nothing is lost.")?;
    }
    Ok(())
}

/// What makes a directory one that is in use: anything but the traces of an attempt that was interrupted.
fn in_the_way(target: &dyn Storage) -> Result<Option<String>, ToolError> {
    let mut names = target.list("").map_err(|error| ToolError::Said(error.to_string()))?;
    names.retain(|name| name != "millstream.lock" && name != "unfinished-appendonlydir");
    names.sort_unstable();
    Ok(names.into_iter().next())
}
