//! Transactions: queued by `MULTI`, run by `EXEC` on all their shards at once, refused if a watched key changed.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::shard::ShardSet;
use super::shards_of;
use super::turn::Turn;
use crate::command::permission::permit_queued;
use crate::command::{Outcome, Row, table};
use crate::error::Error;
use crate::keyspace::shard_of;
use crate::resp::{Args, Reply};
use crate::session::{Session, Transaction, Watch};

/// What an argument that is queued takes besides its bytes, more or less.
const ARGUMENT_BYTES: usize = 16;

impl Turn<'_> {
    /// Keeps a request for `EXEC`.
    pub(super) fn queue(&mut self, session: &mut Session, args: Args<'_>) {
        let transaction = session.transaction.as_mut().expect("the caller found a transaction");
        transaction.bytes += args.iter().map(|arg| arg.len() + ARGUMENT_BYTES).sum::<usize>();
        transaction.queue.push(args.to_owned());
        session.client.queued.store(transaction.queue.len() as i64, Relaxed);
    }

    /// Begins to watch the request's keys, whose shards are held.
    pub(super) fn watch(&mut self, row: &Row, session: &mut Session, args: Args<'_>) {
        let watch = Arc::clone(session.watch.get_or_insert_with(Arc::<Watch>::default));
        let mut keys = watch.keys.lock();
        for at in row.command.key_positions(args) {
            let key = &args[at];
            if !keys.iter().any(|(db, watched)| *db == session.db && **watched == *key) {
                self.shard(shard_of(key)).watch(session.db, key, &watch);
                keys.push((session.db, key.into()));
            }
        }
        session.client.watching.store(keys.len() as u16, Relaxed);
    }

    /// Runs the session's queued requests as one.
    pub(super) fn transact(&mut self, session: &mut Session, reply: &mut Reply) -> Result<(), Error> {
        let transaction = session.transaction.take().ok_or(Error::new("ERR EXEC without MULTI"))?;
        session.client.queued.store(-1, Relaxed);
        if transaction.broken {
            self.stop_watching(session);
            return Err(Error::new("EXECABORT Transaction discarded because of previous errors."));
        }
        let rows: Vec<_> = transaction
            .queue
            .iter()
            .map(|request| table().resolve(request.as_args()))
            .collect::<Result<_, _>>()?;
        if rows.iter().any(|row| row.command.flags.grow())
            && let Err(error) = self.engine.server.may_grow()
        {
            return Err(self.abort(session, &error));
        }
        let wanted = rows
            .iter()
            .zip(&transaction.queue)
            .fold(ShardSet::EMPTY, |set, (row, request)| set.union(shards_of(row, request.as_args())));
        let watched = session.watch.iter().fold(ShardSet::EMPTY, |set, watch| {
            watch.keys.lock().iter().fold(set, |set, (_, key)| set.with(shard_of(key)))
        });
        self.hold(wanted.union(watched));
        // A watched key whose time has come has changed.
        self.expire_all();
        if self.end_watch(session) {
            reply.null_array();
            return Ok(());
        }
        reply.array(rows.len());
        // Commands that would wait must not, and see that they are inside.
        session.transaction = Some(Transaction::default());
        let mark = self.effects.records.mark();
        self.effects.records.begin_transaction();
        for (row, request) in rows.into_iter().zip(&transaction.queue) {
            let start = reply.len();
            let request = request.as_args();
            self.expire_for(row, session.db, request);
            let outcome = permit_queued(&self.engine.server, session, row, request, self.now_ms)
                .and_then(|()| self.run(row, session, request, reply));
            if self.engine.server.monitors.any() {
                self.show(row, session, request);
            }
            match outcome {
                Ok(Outcome::Unblock { client, with_error }) => {
                    let found = self.unblock(client, with_error);
                    reply.integer(i64::from(found));
                }
                Ok(Outcome::Block(_)) => {
                    reply.truncate(start);
                    reply.null_array();
                }
                Ok(_) => {}
                Err(error) => {
                    reply.truncate(start);
                    self.say_error(&error, reply);
                }
            }
        }
        session.transaction = None;
        self.effects.records.end_transaction();
        self.serve(mark);
        Ok(())
    }

    /// Ends a transaction that may not run. Returns the answer to its `EXEC`.
    pub(super) fn abort(&mut self, session: &mut Session, error: &Error) -> Error {
        session.transaction = None;
        session.client.queued.store(-1, Relaxed);
        self.stop_watching(session);
        let text = error.text().strip_prefix(b"ERR ").unwrap_or(error.text());
        Error::with([b"EXECABORT Transaction discarded because of: ", text].concat())
    }

    /// Stops watching; if there was something to watch, no shard is held afterwards.
    pub(super) fn stop_watching(&mut self, session: &mut Session) {
        if let Some(watch) = session.watch.take() {
            self.release();
            self.engine.unwatch(&watch);
            session.client.watching.store(0, Relaxed);
        }
    }

    /// Stops watching keys whose shards are held. Returns whether one of them has changed.
    fn end_watch(&mut self, session: &mut Session) -> bool {
        let Some(watch) = session.watch.take() else { return false };
        for (db, key) in watch.keys.lock().drain(..) {
            self.shard(shard_of(&key)).unwatch(db, &key, &watch);
        }
        session.client.watching.store(0, Relaxed);
        watch.changed.load(Relaxed)
    }
}
