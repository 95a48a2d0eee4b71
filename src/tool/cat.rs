//! `millstream aof cat`: the commands of a log, one a line.

use std::io::Write;
use std::ops::ControlFlow;

use super::text::{moment, quote};
use super::{EXIT_OK, EXIT_REFUSED, ToolError};
use crate::aof::record::{own_command, read_command};
use crate::aof::{FoundBlock, Loss, Storage, survey};
use crate::command::table;
use crate::resp::OwnedArgs;

/// Which commands to print.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The first block.
    pub from: u64,
    /// The last block.
    pub to: u64,
    /// Only commands that name this key.
    pub key: Option<Vec<u8>>,
}

/// Prints the commands of the log in `storage`: block, time, database, and the command as `redis-cli` would show it. What
/// cannot be read is passed over and named on a line that starts with `#`. Returns the exit code: it is not 0 when there
/// is no log, or when something is missing from what was asked for.
///
/// # Errors
/// When the disk refuses a call or the output takes no more.
pub fn cat(storage: &dyn Storage, selection: &Selection, out: &mut dyn Write) -> Result<u8, ToolError> {
    let mut output = Ok(());
    let mut request = OwnedArgs::default();
    let found = survey(
        storage,
        &mut |block| {
            if block.lsn > selection.to {
                return ControlFlow::Break(());
            }
            if block.lsn >= selection.from {
                output = print(block, selection, &mut request, out);
            }
            if output.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        },
        &mut |_| {},
    )?;
    output?;
    let Some(found) = found else { return Err(ToolError::Said("there is no log".to_owned())) };
    let mut code = EXIT_OK;
    for (file, problem) in found.problems().filter(|(_, problem)| problem.loss != Loss::Nothing) {
        if problem.lost.is_none_or(|lost| {
            lost.first <= selection.to && lost.last.is_none_or(|last| last >= selection.from)
        }) {
            writeln!(out, "# {}: {}", file.name, super::check::sentence(problem))?;
            if problem.loss == Loss::Durable {
                code = EXIT_REFUSED;
            }
        }
    }
    Ok(code)
}

fn print(
    block: &FoundBlock<'_>,
    selection: &Selection,
    request: &mut OwnedArgs,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let head = format!("{} {} ", block.lsn, moment(block.clock_ms).replace(' ', "T") + "Z");
    let mut result = Ok(());
    let mut line = String::new();
    block.commands(&mut |db, arguments| {
        let mut carried = Vec::new();
        let arguments = match own_command(arguments.iter().copied()) {
            Some(bytes) if read_command(bytes, &mut carried) == Ok(bytes.len()) => &carried,
            _ => arguments,
        };
        if result.is_err() || !is_wanted(arguments, selection, request) {
            return;
        }
        line.clear();
        line.push_str(&head);
        line.push_str(itoa::Buffer::new().format(db));
        line.push(' ');
        quote(arguments, &mut line);
        line.push('\n');
        result = out.write_all(line.as_bytes());
    });
    result
}

/// Whether a command names the key that was asked for, if one was.
fn is_wanted(arguments: &[&[u8]], selection: &Selection, request: &mut OwnedArgs) -> bool {
    let Some(key) = &selection.key else { return true };
    request.assign(arguments);
    let args = request.as_args();
    match table().resolve(args) {
        Ok(row) => row.command.key_positions(args).any(|at| args[at] == **key),
        // A command of another version: nobody knows which of its arguments are keys.
        Err(_) => arguments.iter().any(|argument| argument == key),
    }
}
