//! Lists.

/// A list.
#[derive(Clone, Debug, Default)]
pub struct List {}
