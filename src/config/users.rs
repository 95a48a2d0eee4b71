//! Users as the configuration gives them: `user NAME RULE...`, in a file or on the command line. What the rules mean is
//! not known here.

use std::fmt;

/// Name and rules of each user. Its `Debug` form says how many there are: rules may be passwords.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UserLines(pub Vec<Vec<String>>);

impl fmt::Debug for UserLines {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} users", self.0.len())
    }
}
