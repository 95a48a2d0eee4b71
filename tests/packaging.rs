//! What `tools/packaging` holds agrees with the program it packs.
#![expect(clippy::disallowed_methods, reason = "a test reads the files it is about")]

use millstream::config::{CommandLine, OPTIONS, Settings, sample};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

fn packaging(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/packaging").join(file)
}

fn read(file: &str) -> String {
    fs::read_to_string(packaging(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// `MILLSTREAM_WRITE=1 cargo test --test packaging` writes it anew.
#[test]
fn the_sample_configuration_explains_every_option() {
    if std::env::var_os("MILLSTREAM_WRITE").is_some() {
        fs::write(packaging("millstream.conf"), sample()).expect("the file can be written");
    }
    let text = read("millstream.conf");
    assert!(text == sample(), "the options have changed: run MILLSTREAM_WRITE=1 cargo test --test packaging");
    let mut settings = Settings::default();
    settings.apply_file(&text).expect("the sample is a configuration");
    assert_eq!(settings, Settings::default());
    for option in OPTIONS {
        let line = format!("# {} ", option.name);
        assert!(text.lines().any(|known| known.starts_with(&line)), "{}", option.name);
    }
}

#[test]
fn the_unit_starts_a_program_that_knows_its_options() {
    let unit = read("millstream.service");
    let value = |name: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("{name} is missing"))
    };
    assert_eq!(value("Type"), "notify");
    assert_eq!(value("NoNewPrivileges"), "yes");
    let settings = settings(value("ExecStart").split(' '));
    assert_eq!(settings.dir, "/var/lib/millstream");
    assert_eq!(value("StateDirectory"), "millstream");
    // What the program says of its exit codes.
    assert_eq!(value("RestartPreventExitStatus"), "2 3");
    let files: u32 = value("LimitNOFILE").parse().expect("a number");
    assert!(files > settings.maxclients + 100, "every client that may connect needs a file");
}

#[test]
fn the_container_starts_a_program_that_knows_its_options() {
    let text = read("Dockerfile");
    let line =
        text.lines().find_map(|line| line.strip_prefix("ENTRYPOINT [")).expect("there is an entry point");
    let words = line.trim_end_matches(']').split(", ").map(|word| word.trim_matches('"'));
    let settings = settings(words);
    assert_eq!(settings.dir, "/data");
    for needed in ["USER millstream", "HEALTHCHECK", "VOLUME /data", "STOPSIGNAL SIGTERM"] {
        assert!(text.contains(needed), "{needed}");
    }
    for copied in ["Cargo.toml", "Cargo.lock", "src", "benches", "tools"] {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(copied).exists(), "{copied}");
    }
}

/// The settings that a command line makes together with the sample configuration.
fn settings<'a>(mut words: impl Iterator<Item = &'a str>) -> Settings {
    assert_eq!(Path::new(words.next().expect("a program")).file_name(), Some("millstream".as_ref()));
    let command_line = CommandLine::parse(words.map(OsString::from)).expect("the options exist");
    assert_eq!(command_line.config_file.as_deref(), Some("/etc/millstream/millstream.conf"));
    command_line.settings(Some(&sample())).expect("the options are sound")
}
