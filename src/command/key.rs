//! key commands.

use super::entry::Command;

/// The family's table.
pub(super) const COMMANDS: &[Command] = &[];
