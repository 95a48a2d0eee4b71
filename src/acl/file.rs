//! Users as text: the ACL file, and `user` lines of the configuration.

use super::selector::{Catalog, merge_selectors};
use super::user::{RuleError, User};

/// Reads an ACL file: one `user NAME RULE…` a line, blank lines skipped. The users have no ids yet.
///
/// # Errors
/// Everything that is wrong with it, in one line.
pub fn load_text(
    path: &str,
    text: &[u8],
    catalog: &impl Catalog,
    all_channels: bool,
) -> Result<Vec<User>, Vec<u8>> {
    let mut users: Vec<User> = Vec::new();
    let mut errors = Vec::new();
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let mut words = line.split(|byte| *byte == b' ');
        let (Some(b"user"), Some(name)) = (words.next(), words.next()) else {
            errors.extend(
                format!("{path}:{number} should start with user keyword followed by the username. ").bytes(),
            );
            continue;
        };
        if users.iter().any(|known| *known.name == *name) {
            errors.extend_from_slice(b"WARNING: Duplicate user '");
            errors.extend_from_slice(name);
            errors.extend(format!("' found on line {number}. ").bytes());
            continue;
        }
        match user(name, words, catalog, all_channels) {
            Ok(user) => users.push(user),
            Err(why) => {
                errors.extend(format!("{path}:{number}: ").bytes());
                errors.extend_from_slice(&why);
                errors.extend_from_slice(b". ");
            }
        }
    }
    if errors.is_empty() {
        return Ok(users);
    }
    errors.extend_from_slice(
        b"WARNING: ACL errors detected, no change to the previously active ACL rules was performed",
    );
    Err(errors)
}

/// Reads users of a configuration file: name and rules of each.
///
/// # Errors
/// What is wrong with the first that is.
pub fn load_lines<'a>(
    lines: impl Iterator<Item = &'a [String]>,
    catalog: &impl Catalog,
    all_channels: bool,
) -> Result<Vec<User>, Vec<u8>> {
    let mut users: Vec<User> = Vec::new();
    for line in lines {
        let (name, rules) = line.split_first().ok_or_else(|| b"user: a name is missing".to_vec())?;
        let about = |why: &[u8]| [b"user '", name.as_bytes(), b"': ", why].concat();
        if users.iter().any(|known| *known.name == *name.as_bytes()) {
            return Err(about(b"defined twice"));
        }
        if !is_name(name.as_bytes()) {
            return Err(about(b"names have no blanks in them"));
        }
        let rules = rules.iter().map(String::as_bytes);
        users.push(user(name.as_bytes(), rules, catalog, all_channels).map_err(|why| about(&why))?);
    }
    Ok(users)
}

/// Whether a user may be called so.
pub(super) fn is_name(name: &[u8]) -> bool {
    !name.iter().any(|byte| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b))
}

fn user<'a>(
    name: &[u8],
    rules: impl Iterator<Item = &'a [u8]>,
    catalog: &impl Catalog,
    all_channels: bool,
) -> Result<User, Vec<u8>> {
    let mut user = User::new(0, name, all_channels);
    let rules =
        merge_selectors(rules).map_err(|_| b"Unmatched parenthesis in selector definition".to_vec())?;
    for rule in rules {
        user.apply(&rule, catalog, all_channels).map_err(|error| match error {
            // Only names of commands are shown: another rule may be a password.
            RuleError::Unknown => {
                [b"Error in applying operation '", &*rule, b"': ", error.text().as_bytes()].concat()
            }
            error => error.text().into(),
        })?;
    }
    Ok(user)
}
