//! `client-output-buffer-limit`: how many bytes of replies a client may leave unread. Connections enforce it.

use super::memory::parse_memory;
use super::value::{Kind, Setting};

/// The limit for one class of clients. Zero means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimit {
    /// A client that owes this many bytes is disconnected at once.
    pub hard_bytes: u64,
    /// A client that owes this many bytes for `soft_seconds` on end is disconnected.
    pub soft_bytes: u64,
    /// See `soft_bytes`.
    pub soft_seconds: u64,
}

/// The limits of all classes. A line of configuration that names some of them leaves the others as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimits {
    /// Ordinary clients.
    pub normal: OutputLimit,
    /// Replicas: accepted for the sake of existing configuration files.
    pub replica: OutputLimit,
    /// Clients that subscribe to a channel or a pattern.
    pub pubsub: OutputLimit,
}

impl OutputLimits {
    /// The smallest number of bytes that any class is limited to.
    pub fn lowest(&self) -> Option<u64> {
        [self.normal, self.replica, self.pubsub]
            .into_iter()
            .flat_map(|limit| [limit.hard_bytes, limit.soft_bytes])
            .filter(|bytes| *bytes > 0)
            .min()
    }

    fn class(&mut self, name: &str) -> Option<&mut OutputLimit> {
        match name.to_ascii_lowercase().as_str() {
            "normal" => Some(&mut self.normal),
            "slave" | "replica" => Some(&mut self.replica),
            "pubsub" => Some(&mut self.pubsub),
            _ => None,
        }
    }
}

impl OutputLimit {
    fn parse(hard: &str, soft: &str, seconds: &str) -> Option<Self> {
        let bytes = |text: &str| parse_memory(text).filter(|_| !text.is_empty());
        Some(Self { hard_bytes: bytes(hard)?, soft_bytes: bytes(soft)?, soft_seconds: seconds.parse().ok()? })
    }
}

impl Setting for OutputLimits {
    fn assign(&mut self, _kind: &Kind, words: &[&str]) -> Result<(), String> {
        let mut limits = *self;
        let (groups, []) = words.as_chunks::<4>() else {
            return Err("Wrong number of arguments in buffer limit configuration.".into());
        };
        for [name, hard, soft, seconds] in groups {
            let class =
                limits.class(name).ok_or("Invalid client class specified in buffer limit configuration.")?;
            *class = OutputLimit::parse(hard, soft, seconds)
                .ok_or("Error in hard, soft or soft_seconds setting in buffer limit configuration.")?;
        }
        *self = limits;
        Ok(())
    }

    fn text(&self, _kind: &Kind) -> String {
        [("normal", self.normal), ("slave", self.replica), ("pubsub", self.pubsub)]
            .map(|(name, limit)| {
                format!("{name} {} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_seconds)
            })
            .join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &str) -> Result<String, String> {
        let mut limits = OutputLimits::default();
        limits.assign(&Kind::OutputLimits, &words.split_whitespace().collect::<Vec<_>>())?;
        Ok(limits.text(&Kind::OutputLimits))
    }

    #[test]
    fn classes_change_one_by_one_or_together() {
        assert_eq!(check("normal 1mb 2MB 3").unwrap(), "normal 1048576 2097152 3 slave 0 0 0 pubsub 0 0 0");
        assert_eq!(check("Replica 1 2 3 PUBSUB 4 5 6").unwrap(), "normal 0 0 0 slave 1 2 3 pubsub 4 5 6");
        assert_eq!(check("").unwrap(), "normal 0 0 0 slave 0 0 0 pubsub 0 0 0");
    }

    #[test]
    fn the_lowest_limit_is_that_of_any_class() {
        let lowest = |words: &str| {
            let mut limits = OutputLimits::default();
            limits.assign(&Kind::OutputLimits, &words.split_whitespace().collect::<Vec<_>>()).unwrap();
            limits.lowest()
        };
        assert_eq!(lowest(""), None);
        assert_eq!(lowest("normal 9 0 0 pubsub 8 7 60"), Some(7));
    }

    #[test]
    fn a_bad_class_changes_nothing() {
        let mut limits = OutputLimits::default();
        let words = ["normal", "1", "1", "1", "master", "1", "1", "1"];
        assert!(limits.assign(&Kind::OutputLimits, &words).unwrap_err().starts_with("Invalid client class"));
        assert_eq!(limits, OutputLimits::default());
        assert!(check("normal 1 2").unwrap_err().starts_with("Wrong number"));
        for numbers in ["a 0 0", "1.5 0 0", "0 0 -3", "0 0 3mb"] {
            assert!(
                check(&format!("normal {numbers}")).unwrap_err().starts_with("Error in hard"),
                "{numbers}"
            );
        }
    }
}
