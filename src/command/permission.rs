//! Permission: what a request is about, as the table says, held against what a user may do.

use super::client::describe;
use super::entry::{Access, Command, Flags, KeySpec};
use super::table::{Row, Table, table};
use crate::acl::{
    Catalog, DEFAULT_USER, Denial, Entry, Identity, Named, Object, Reason, Request, Touch, User, Users,
};
use crate::error::Error;
use crate::resp::Args;
use crate::server::Server;
use crate::session::Session;

/// Checks that the session's user may run a request, as the users are now. Costs one load and one comparison for a
/// user who may do everything.
///
/// # Errors
/// What the client is told; it has been entered in the log of refusals.
#[inline]
pub fn permit(
    server: &Server,
    session: &mut Session,
    row: &Row,
    args: Args<'_>,
    now_ms: i64,
) -> Result<(), Error> {
    if session.identity.may_do_everything(&server.users) {
        return Ok(());
    }
    match check(&server.users, &mut session.identity, row, args) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(denial)) => {
            enter(server, session, row, args, denial, now_ms);
            let text = denial_text(session.identity.user(), row, args, denial, false);
            Err(Error::with([b"NOPERM ", &*text].concat()))
        }
        Err(Gone) => Err(Error::NO_AUTH),
    }
}

/// The same for a request that a transaction has queued.
///
/// # Errors
/// What the client is told in the place of its reply.
#[inline]
pub fn permit_queued(
    server: &Server,
    session: &mut Session,
    row: &Row,
    args: Args<'_>,
    now_ms: i64,
) -> Result<(), Error> {
    if session.identity.may_do_everything(&server.users) {
        return Ok(());
    }
    let denial = match check(&server.users, &mut session.identity, row, args) {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(denial)) => denial,
        Err(Gone) => return Err(Error::NO_AUTH),
    };
    enter(server, session, row, args, denial, now_ms);
    let reason = match denial.reason {
        Reason::Command => "no permission to execute the command or subcommand",
        Reason::Key => "no permission to touch the specified keys",
        Reason::Channel => "no permission to access one of the channels used as arguments",
    };
    Err(Error::with(format!(
        "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This \
         command is no longer allowed for the following reason: {reason}"
    )))
}

/// The user was deleted; its connections are about to end.
struct Gone;

fn check(
    users: &Users,
    identity: &mut Identity,
    row: &Row,
    args: Args<'_>,
) -> Result<Result<(), Denial>, Gone> {
    let user = identity.renew(users).ok_or(Gone)?;
    Ok(may_run(user, row, args))
}

/// Whether a user may run a request.
///
/// # Errors
/// What is not allowed.
pub fn may_run(user: &User, row: &Row, args: Args<'_>) -> Result<(), Denial> {
    user.check(request(row, args), || row.command.touches(args), || row.command.channels(args))
}

/// Whether the session's user may run a request on whatever keys it comes to read: for commands like `SORT … BY`, whose
/// keys follow from the data, so that permission for them cannot be asked beforehand.
#[must_use]
pub fn may_read_every_key(server: &Server, identity: &mut Identity, row: &Row, args: Args<'_>) -> bool {
    identity.may_do_everything(&server.users)
        || identity.renew(&server.users).is_some_and(|user| user.may_read_every_key(request(row, args)))
}

fn request<'a>(row: &Row, args: Args<'a>) -> Request<'a> {
    Request {
        number: row.number,
        free: row.command.flags.contains(Flags::NO_AUTH),
        first_arg: args.get(if row.command.full_name.is_empty() { 1 } else { 2 }),
    }
}

/// Whether the session's user may use a channel: publish to it or subscribe to it; one that is a pattern
/// (`PSUBSCRIBE`) must be allowed literally. What a request names is checked before it runs; this is for rules that
/// have changed since.
#[must_use]
pub fn may_use_channel(server: &Server, identity: &mut Identity, channel: &[u8], is_pattern: bool) -> bool {
    identity.may_do_everything(&server.users)
        || identity.renew(&server.users).is_some_and(|user| user.may_use_channel(channel, is_pattern))
}

/// What is said of a denial. Names of keys and channels are told to those only who ask with `ACL DRYRUN`.
pub(super) fn denial_text(user: &User, row: &Row, args: Args<'_>, denial: Denial, verbose: bool) -> Vec<u8> {
    let named = |what: &str| match verbose {
        true => {
            let name = args.get(denial.at).unwrap_or_default();
            [b"User ", &*user.name, b" has no permissions to access the '", name, b"' ", what.as_bytes()]
                .concat()
        }
        false => format!("No permissions to access a {what}").into_bytes(),
    };
    match denial.reason {
        Reason::Command => {
            let name = row.command.full_name().as_bytes();
            [b"User ", &*user.name, b" has no permissions to run the '", name, b"' command"].concat()
        }
        Reason::Key => named("key"),
        Reason::Channel => named("channel"),
    }
}

fn enter(server: &Server, session: &Session, row: &Row, args: Args<'_>, denial: Denial, now_ms: i64) {
    let name = match denial.reason {
        Reason::Command => row.command.full_name().as_bytes(),
        Reason::Key | Reason::Channel => args.get(denial.at).unwrap_or_default(),
    };
    let username = &session.identity.user().name;
    enter_refusal(server, session, Object::Denied(denial.reason, name.to_vec()), username, now_ms);
}

/// Enters a refusal in the log that `ACL LOG` shows.
pub(super) fn enter_refusal(
    server: &Server,
    session: &Session,
    object: Object,
    username: &[u8],
    now_ms: i64,
) {
    let mut info = String::new();
    describe(&session.client, now_ms, &mut info);
    info.truncate(info.trim_end().len());
    let entry = Entry::new(object, session.transaction.is_some(), username, info, now_ms);
    let len_max = usize::try_from(server.config.settings().acllog_max_len).unwrap_or(usize::MAX);
    server.users.log.enter(entry, len_max);
}

/// Makes the session that of a user.
pub fn log_in(session: &mut Session, identity: Identity) {
    session.client.names.lock().user = String::from_utf8_lossy(&identity.user().name).into_owned();
    session.identity = identity;
    session.authenticated = true;
}

/// Makes the session that of nobody in particular: the default user, let in if that one needs no password.
pub(super) fn log_out(users: &Users, session: &mut Session) {
    let identity = users.identify(DEFAULT_USER).expect("the default user cannot be deleted");
    let is_open = identity.user().is_open();
    log_in(session, identity);
    session.authenticated = is_open;
}

impl Command {
    /// Its keys in a request: the number of the argument, its name, and what is done to it.
    pub fn touches<'a>(&'static self, args: Args<'a>) -> impl Iterator<Item = (usize, &'a [u8], Touch)> {
        let names_keys = |spec: &&KeySpec| !spec.access.contains(Access::NOT_KEY);
        self.keys.iter().filter(names_keys).flat_map(move |spec| {
            let touch = spec.access_in(args).into();
            spec.positions(args).filter_map(move |at| Some((at, args.get(at)?, touch)))
        })
    }

    /// The channels in a request: the number of the argument, its name, and whether it is a pattern. Commands that
    /// only give something up (`UNSUBSCRIBE`) have none.
    pub fn channels<'a>(&self, args: Args<'a>) -> impl Iterator<Item = (usize, &'a [u8], bool)> + use<'a> {
        let (count, is_pattern) = match self.name {
            _ if !self.flags.contains(Flags::PUBSUB) || !self.full_name.is_empty() => (0, false),
            "publish" | "spublish" => (1, false),
            "subscribe" | "ssubscribe" => (usize::MAX, false),
            "psubscribe" => (usize::MAX, true),
            _ => (0, false),
        };
        args.iter().enumerate().skip(1).take(count).map(move |(at, channel)| (at, channel, is_pattern))
    }
}

impl From<Access> for Touch {
    /// The permissions that an access needs.
    fn from(access: Access) -> Touch {
        Touch {
            read: access.contains(Access::ACCESS),
            write: access.intersects(Access::UPDATE.union(Access::INSERT).union(Access::DELETE)),
        }
    }
}

impl Catalog for Table {
    fn find(&self, full_name: &str) -> Option<Named> {
        let row = Table::find(self, full_name.as_bytes())?;
        Some(Named {
            number: row.number,
            full_name: row.command.full_name(),
            is_subcommand: !row.command.full_name.is_empty(),
            subcommands: row.subcommands.clone(),
        })
    }

    fn in_category(&self, category: &str) -> Vec<u16> {
        let rows = self.rows().iter();
        let members = rows.filter(|row| row.command.category_names().any(|name| name == category));
        members.flat_map(|row| [row.number].into_iter().chain(row.subcommands.iter().copied())).collect()
    }
}

/// The table, as rules ask it.
pub(super) fn catalog() -> &'static Table {
    table()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::OwnedArgs;

    fn user(rules: &str) -> User {
        let mut user = User::new(1, b"u", false);
        for rule in rules.split(';') {
            user.apply(rule.as_bytes(), catalog(), false).expect("a rule");
        }
        user
    }

    #[test]
    fn every_key_is_a_pattern_of_its_own() {
        let request: OwnedArgs = ["GET", "k"].iter().collect();
        let row = table().get(b"get").expect("GET is there");
        for (rules, expected) in [
            ("+get;allkeys", true),
            ("+get;%R~*", true),
            ("+get;%W~*", false),
            ("+get;~k*;~?*", false),
            ("allkeys", false),
            ("+set;allkeys", false),
            ("+get;~k;(allkeys +@write)", false),
            ("+get;~k;(allkeys +@read)", true),
            ("allkeys;+get|k", true),
        ] {
            let may = user(rules).may_read_every_key(super::request(row, request.as_args()));
            assert_eq!(may, expected, "{rules}");
        }
    }

    #[test]
    fn channels_are_matched_and_patterns_must_be_the_same() {
        let user = user("&news.*;(&jobs)");
        for (channel, is_pattern, expected) in [
            ("news.1", false, true),
            ("news", false, false),
            ("jobs", false, true),
            ("jobs.1", false, false),
            ("news.*", true, true),
            ("news.1*", true, false),
            ("*", true, false),
            ("jobs", true, true),
        ] {
            assert_eq!(user.may_use_channel(channel.as_bytes(), is_pattern), expected, "{channel}");
        }
        let everything = User::default_user();
        assert!(everything.may_use_channel(b"any", false) && everything.may_use_channel(b"*", true));
    }

    #[test]
    fn a_set_reads_only_if_it_gets() {
        let touch = |line: &str| {
            let request: OwnedArgs = line.split(' ').collect();
            let row = table().resolve(request.as_args()).expect("a command");
            let touches = row.command.touches(request.as_args());
            touches.map(|(at, _, touch)| (at, touch.read, touch.write)).collect::<Vec<_>>()
        };
        assert_eq!(touch("SET k v"), [(1, false, true)]);
        assert_eq!(touch("SET k get"), [(1, false, true)]);
        assert_eq!(touch("SET k v NX GET"), [(1, true, true)]);
        assert_eq!(touch("EXISTS a b"), [(1, false, false), (2, false, false)]);
        assert_eq!(touch("COPY a b"), [(1, true, false), (2, false, true)]);
        assert_eq!(touch("BLMOVE a b LEFT LEFT 0"), [(1, true, true), (2, false, true)]);
        assert_eq!(touch("XREAD STREAMS a b 0 0"), [(2, true, false), (3, true, false)]);
        assert_eq!(touch("SORT a BY w_* GET g_* STORE b"), [(1, true, false), (7, false, true)]);
        assert_eq!(touch("SPUBLISH c m"), []);
        assert_eq!(touch("SSUBSCRIBE c"), []);
    }
}
