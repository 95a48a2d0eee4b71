//! The house as it is drawn in `src/lib.rs`, checked: who may name whom, what the core never touches, and what the
//! README and `Cargo.toml` say of the program.
//!
//! Rooms are read as text: a line comment is not code, everything else that names a room counts.
#![allow(clippy::disallowed_methods, reason = "a test reads the sources it is about")]

use std::fs;
use std::path::{Path, PathBuf};

/// Which other rooms each room may name. Leaves (`error`, `glob`, `number`) may be named by all of them.
const ARROWS: &[(&str, &[&str])] = &[
    ("resp", &[]),
    ("keyspace", &[]),
    ("metrics", &[]),
    ("acl", &[]),
    ("config", &[]),
    ("pubsub", &["resp"]),
    ("session", &["acl", "resp", "pubsub"]),
    ("server", &["acl", "config", "metrics", "pubsub", "session"]),
    (
        "command",
        &["acl", "keyspace", "resp", "pubsub", "session", "server", "config", "metrics", "aof::record"],
    ),
    (
        "engine",
        &[
            "acl",
            "command",
            "config::KeyspaceEvents",
            "keyspace",
            "resp",
            "session",
            "server",
            "metrics",
            "aof::record",
            "aof::Records",
        ],
    ),
    ("aof", &["config"]),
    (
        "net",
        &[
            "acl", "engine", "resp", "aof", "command", "keyspace", "pubsub", "session", "server", "config",
            "metrics", "report",
        ],
    ),
    ("tool", &["aof", "engine", "command", "resp", "session", "server", "config", "metrics"]),
];

const LEAVES: &[&str] = &["error", "glob", "number"];

/// Rooms and files that must stay pure, and what they must not name.
const PURE: &[&str] = &[
    "src/resp",
    "src/keyspace",
    "src/command",
    "src/engine",
    "src/pubsub",
    "src/config",
    "src/acl",
    "src/aof/record.rs",
    "src/aof/block.rs",
    "src/aof/manifest.rs",
    "src/session.rs",
    "src/server",
    "src/metrics",
    "src/error.rs",
    "src/glob.rs",
    "src/number.rs",
];

const IMPURE: &[&str] = &[
    "tokio",
    "std::fs",
    "std::net::Tcp",
    "std::os::unix",
    "std::thread",
    "Instant::now",
    "SystemTime",
    "async fn",
    "socket2",
    "getrandom",
];

#[test]
fn rooms_name_only_the_rooms_they_may() {
    let mut wrong = Vec::new();
    for (room, may_name) in ARROWS {
        for file in sources(&room_path(room)) {
            for (number, line) in code(&file) {
                for named in rooms_in(&line) {
                    let allowed = named.starts_with(room)
                        || LEAVES.iter().any(|leaf| named.starts_with(leaf))
                        || may_name.iter().any(|room| named.starts_with(room));
                    if !allowed {
                        wrong.push(format!("{}:{number}: {room} names {named}", file.display()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that the map does not have:\n{}", wrong.join("\n"));
}

#[test]
fn the_core_touches_no_clock_no_file_and_no_socket() {
    let mut wrong = Vec::new();
    for path in PURE {
        for file in sources(&root().join(path)) {
            for (number, line) in code(&file) {
                for word in IMPURE.iter().filter(|word| line.contains(**word)) {
                    wrong.push(format!("{}:{number}: {word}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "the core must be handed these things:\n{}", wrong.join("\n"));
}

#[test]
fn no_source_allows_what_the_design_forbids() {
    for crate_root in ["src/lib.rs", "src/main.rs"] {
        let text = fs::read_to_string(root().join(crate_root)).expect("crate roots are there");
        assert!(text.contains("#![forbid(unsafe_code)]"), "{crate_root} must forbid unsafe code");
    }
    for file in sources(&root().join("src")) {
        let text = fs::read_to_string(&file).expect("sources are text");
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//! "), "{} does not say what it is for", file.display());
    }
}

#[test]
fn every_dependency_says_why_it_is_there() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest is there");
    let mut section = String::new();
    let mut before = String::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line.to_owned();
        } else if section.ends_with("dependencies]") && line.contains('=') {
            assert!(
                before.starts_with("# ") && before.trim_end().ends_with('.'),
                "no sentence above the dependency: {line}"
            );
        }
        before = line.to_owned();
    }
}

#[test]
fn the_readme_lists_the_commands_of_the_table() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README is there");
    let (_, rest) = readme.split_once("<!-- commands -->").expect("the list begins");
    let (list, _) = rest.split_once("<!-- /commands -->").expect("the list ends");
    let expected = command_list();
    assert!(list.trim() == expected.trim(), "the README's command list should be:\n{expected}");
}

/// The commands by family, as the README shows them.
fn command_list() -> String {
    let mut families: Vec<(&str, Vec<String>)> = Vec::new();
    for row in millstream::command::table().commands() {
        let command = row.command;
        let name = command.name.to_uppercase();
        let family = command.group.name();
        match families.iter_mut().find(|(known, _)| *known == family) {
            Some((_, names)) => names.push(name),
            None => families.push((family, vec![name])),
        }
    }
    families.sort();
    let line = |(family, mut names): (&str, Vec<String>)| {
        names.sort();
        format!("- **{family}**: {}\n", names.join(" "))
    };
    families.into_iter().map(line).collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn room_path(room: &str) -> PathBuf {
    let folder = root().join("src").join(room);
    if folder.is_dir() { folder } else { folder.with_extension("rs") }
}

/// All Rust files at or below a path.
fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())) {
        let path = entry.expect("a folder can be listed").path();
        if path.is_dir() || path.extension().is_some_and(|ending| ending == "rs") {
            files.extend(sources(&path));
        }
    }
    files
}

/// The lines of a file that are code of the program: no comments, and nothing from its tests on.
fn code(file: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(file).expect("sources are text");
    let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line));
    lines
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(number, line)| (number, line.to_owned()))
        .collect()
}

/// The paths behind each `crate::` in a line; of a group, each member.
fn rooms_in(line: &str) -> Vec<String> {
    line.match_indices("crate::")
        .flat_map(|(at, found)| {
            let rest = &line[at + found.len()..];
            match rest.strip_prefix('{') {
                Some(group) => group.split([',', '}']).map(|room| room.trim().to_owned()).collect(),
                None => vec![rest.to_owned()],
            }
        })
        .filter(|room| !room.is_empty() && room.starts_with(|first: char| first.is_ascii_lowercase()))
        .collect()
}
