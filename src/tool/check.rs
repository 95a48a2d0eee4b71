//! `millstream aof check`: what is in a log, what is wrong with it, and what the server would do with it.

use std::io::Write;
use std::ops::ControlFlow;

use super::text::{ago, count, moment};
use super::{Applied, Circumstances, EXIT_OK, EXIT_REFUSED, ToolError};
use crate::aof::manifest::Kind;
use crate::aof::{Contents, FoundFile, LoadError, Loss, Problem, Progress, Storage, Survey, read, survey};

/// How often a log that a server is changing is looked at before what is found counts.
const TRIES: usize = 3;

/// Checks the log in `storage` and prints what it found. With `applies` the commands are applied as well, which takes as
/// much memory as the server needs; only then is it sure that it would start. Returns the exit code.
///
/// # Errors
/// When the disk refuses a call or the output takes no more.
pub fn check(
    storage: &dyn Storage,
    there: &Circumstances,
    applies: bool,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(Progress),
) -> Result<u8, ToolError> {
    let is_locked = storage.is_locked().unwrap_or(false);
    let mut tries = if is_locked { TRIES } else { 1 };
    let (found, verdict) = loop {
        tries -= 1;
        let found = survey(storage, &mut |_| ControlFlow::Continue(()), progress);
        let mut applied = applies.then(|| Applied::new(there.new_id));
        let verdict = read(
            storage,
            &mut |db, clock_ms, arguments| match &mut applied {
                Some(applied) => applied.apply(db, clock_ms, arguments),
                None => Ok(()),
            },
            progress,
        );
        // Files may have come and gone while they were read.
        if verdict.is_ok() && found.is_ok() || tries == 0 {
            break (found, verdict);
        }
    };
    match &found {
        Ok(Some(survey)) => describe(survey, there, out)?,
        Ok(None) | Err(LoadError::OtherServer { .. }) => {
            writeln!(out, "{}: no log of Millstream", there.place)?;
        }
        Err(error) => writeln!(out, "{}: {error}", there.place)?,
    }
    writeln!(out)?;
    if is_locked {
        writeln!(out, "A server is running in this directory; the log may have become longer meanwhile.")?;
    }
    if !applies {
        writeln!(out, "The commands were not applied, so it is not sure that they can be.")?;
    }
    say_verdict(&verdict, is_locked, there, out)?;
    Ok(if verdict.is_ok() { EXIT_OK } else { EXIT_REFUSED })
}

fn describe(survey: &Survey, there: &Circumstances, out: &mut dyn Write) -> Result<(), ToolError> {
    match survey.directory {
        Some(directory) => writeln!(out, "{}: log {directory}", there.place)?,
        None => writeln!(out, "{}: a log whose name cannot be read", there.place)?,
    }
    if let Some(problem) = &survey.manifest {
        writeln!(out, "  MANIFEST {problem}")?;
    }
    for file in &survey.files {
        describe_file(file, there.now_ms, out)?;
    }
    let damage = survey.problems().filter(|(_, problem)| problem.loss == Loss::Durable).count() as u64;
    writeln!(
        out,
        "{} in {}, {} in {}; newest block {}, durable at least up to block {}",
        count(survey.commands(), "command"),
        count(survey.blocks(), "block"),
        count(survey.bytes(), "byte"),
        count(survey.files.len() as u64, "file"),
        survey.last,
        survey.durable,
    )?;
    if damage > 0 {
        writeln!(out, "{}: what was on disk once cannot be read any more", count(damage, "damaged place"))?;
    }
    Ok(())
}

fn describe_file(file: &FoundFile, now_ms: u64, out: &mut dyn Write) -> Result<(), ToolError> {
    let kind = match file.kind {
        Kind::Base => "base",
        Kind::History => "history",
        Kind::Increment => "increment",
    };
    writeln!(out, "\n{}: {kind} {}, {}", file.name, file.sequence, count(file.bytes, "byte"))?;
    if let (Some((first, last)), Some((oldest_ms, newest_ms))) = (file.lsns, file.clocks_ms) {
        writeln!(
            out,
            "  {}, {first} to {last}, with {}",
            count(file.blocks, "block"),
            count(file.commands, "command")
        )?;
        let (oldest, newest) = (moment(oldest_ms), moment(newest_ms));
        writeln!(out, "  written {oldest} to {newest} UTC, {}", ago(newest_ms, now_ms))?;
    }
    for problem in &file.problems {
        writeln!(out, "  {}", sentence(problem))?;
    }
    Ok(())
}

/// A problem, for a person.
pub(super) fn sentence(problem: &Problem) -> String {
    let Problem { offset, bytes, what, lost, loss } = problem;
    let (head, tail) = match loss {
        Loss::Durable => ("DAMAGE", "lost"),
        Loss::Unpromised => ("TORN", "never completely on disk"),
        Loss::Nothing => ("ODD", "without commands"),
    };
    let mut text = format!("{head} at byte {offset}");
    if *bytes > 0 {
        text += &format!(", {}", count(*bytes, "byte"));
    }
    text += &format!(": {what}");
    match lost {
        Some(lost) => text += &format!("; {lost} {tail}"),
        None if *loss == Loss::Durable => text += "; what was in it is lost",
        None => {}
    }
    text
}

fn say_verdict(
    verdict: &Result<Option<Contents>, LoadError>,
    is_locked: bool,
    there: &Circumstances,
    out: &mut dyn Write,
) -> Result<(), ToolError> {
    match verdict {
        Ok(None) => writeln!(out, "The server would start with a new, empty log.")?,
        Ok(Some(contents)) => {
            let commands = count(contents.commands, "command");
            match &contents.cut {
                None => writeln!(out, "The server would start with {commands}.")?,
                Some(cut) if is_locked => writeln!(
                    out,
                    "The server would start with {commands}; {} at the end are being written.",
                    count(cut.bytes, "byte")
                )?,
                Some(cut) => writeln!(out, "The server would start with {commands}, after a cut: {cut}.")?,
            }
            if contents.manifest_is_stale {
                writeln!(
                    out,
                    "The manifest would be written anew: another server wrote it, or it names files that a base has replaced."
                )?;
            }
        }
        Err(error) => {
            writeln!(out, "The server would refuse to start: {error}.")?;
            if let Some(remedy) = error.remedy(&there.place) {
                writeln!(out, "{remedy}")?;
            }
        }
    }
    Ok(())
}
