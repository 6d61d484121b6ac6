//! From events to holdings.

use std::borrow::Cow;

use rustc_hash::FxHashMap;
use serde::Deserialize;
use serde::de::Error as _;

use crate::by_event::by_event;
use crate::history::{
    Event, EventKind, History, HistoryError, Json, Operation, Operations, Outcome, Problem,
    Process, Scanner, plain_object, put,
};
use crate::verdict::{Class, Kind, Violation};

const TWICE: Kind = Kind {
    name: "same-token",
    meaning: "two holdings were granted by the same key",
};

/// A lock's history, by holding.
pub(super) struct Locks<'h> {
    /// In the order of their invocations.
    pub(super) operations: Operations<'h>,
    /// In the order in which they were granted.
    pub(super) grants: Vec<Grant>,
    /// In the order of their invocations.
    pub(super) writes: Vec<Write>,
    /// What unlocks which grant, in the order of the invocations.
    pub(super) unlocks: Vec<(usize, usize)>,
    /// For each operation the largest revision that any event before its invocation shows.
    pub(super) seen_before: Vec<i64>,
    /// For each write the smallest revision of it and of those invoked after it.
    first_revision_from: Vec<i64>,
    names: Vec<Cow<'h, str>>,
    pub(super) by_token: ByToken,
    /// The grants in the order of their invocations.
    pub(super) by_invocation: Vec<u32>,
}

/// A lock that was granted.
#[derive(Clone, Copy)]
pub(super) struct Grant {
    /// Index of the operation.
    pub(super) lock: usize,
    /// Index of the lock's name.
    pub(super) name: usize,
    /// Whether it lets nobody else in.
    pub(super) is_exclusive: bool,
    /// The revision at which its key was created.
    pub(super) token: i64,
    /// The revision at which the holder knew that it was the owner.
    pub(super) owned_at: i64,
    /// Index of the first operation that unlocks it.
    pub(super) unlock: Option<usize>,
    /// Index of the event from which on the client no longer believes that it holds
    /// it: it unlocks, or dies.
    pub(super) believed_until: usize,
    /// What is known about the end of its key.
    pub(super) end: End,
}

/// A write that certainly happened.
pub(super) struct Write {
    /// Index of the operation.
    pub(super) operation: usize,
    /// Index of the grant under which it was done.
    pub(super) grant: usize,
    pub(super) is_guarded: bool,
    /// When it happened, if the history says.
    pub(super) revision: Option<i64>,
}

/// How a key ended.
#[derive(Clone, Copy)]
pub(super) struct Deletion {
    /// The key was still there at this revision.
    pub(super) after: i64,
    /// The revision at which it was deleted, or the last one at which it can have
    /// been if nobody knows exactly.
    pub(super) revision: i64,
    /// Whether its lease ended then.
    pub(super) with_lease: bool,
}

/// What is known about the end of a key.
#[derive(Clone, Copy)]
pub(super) enum End {
    Deleted(Deletion),
    /// It was alive at this revision.
    AliveAt(i64),
}

impl End {
    /// Whether the key was gone at a revision; none when nobody knows.
    pub(super) fn is_gone_at(self, revision: i64) -> Option<bool> {
        match self {
            End::Deleted(deletion) if deletion.revision <= revision => Some(true),
            End::Deleted(deletion) => (revision <= deletion.after).then_some(false),
            End::AliveAt(last) => (revision <= last).then_some(false),
        }
    }
}

#[derive(Deserialize)]
struct LockValue<'h> {
    #[serde(borrow)]
    lock: Cow<'h, str>,
    #[serde(default)]
    mode: Mode,
}

#[derive(Deserialize, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Read,
    #[default]
    Write,
}

#[derive(Deserialize)]
struct HeldValue<'h> {
    token: i64,
    #[serde(borrow, default)]
    lock: Option<Cow<'h, str>>,
    #[serde(default)]
    guarded: bool,
}

impl<'h> LockValue<'h> {
    /// As almost every program writes it. Of anything else nothing is said here.
    fn plain(json: &'h Json) -> Option<Self> {
        let (mut lock, mut mode) = (None, None);
        let fields = plain_object(json, |name, scanner| match name {
            "lock" => put(&mut lock, scanner.string()?),
            "mode" => match scanner.string()? {
                "read" => put(&mut mode, Mode::Read),
                "write" => put(&mut mode, Mode::Write),
                _ => None,
            },
            _ => None,
        });
        fields.and_then(|()| {
            Some(Self {
                lock: Cow::Borrowed(lock?),
                mode: mode.unwrap_or_default(),
            })
        })
    }
}

impl<'h> HeldValue<'h> {
    /// As almost every program writes it. Of anything else nothing is said here.
    fn plain(json: &'h Json) -> Option<Self> {
        let (mut lock, mut token, mut guarded) = (None, None, None);
        plain_object(json, |name, scanner| match name {
            "lock" => put(&mut lock, scanner.string()?),
            "token" => put(&mut token, scanner.signed()?),
            "guarded" => put(&mut guarded, scanner.boolean()?),
            _ => None,
        })?;
        Some(Self {
            token: token?,
            lock: lock.map(Cow::Borrowed),
            guarded: guarded.unwrap_or_default(),
        })
    }
}

impl KeyValue {
    /// As almost every program writes it. Of anything else nothing is said here.
    fn plain(json: &Json) -> Option<Self> {
        let (mut token, mut deleted, mut with_lease) = (None, None, None);
        plain_object(json, |name, scanner| match name {
            "token" => put(&mut token, scanner.signed()?),
            "deleted" => put(&mut deleted, scanner.or_null(Scanner::signed)?),
            "with_lease" => put(&mut with_lease, scanner.boolean()?),
            _ => None,
        })?;
        Some(Self {
            token: token?,
            deleted: deleted.flatten(),
            deleted_after: None,
            with_lease: with_lease.unwrap_or_default(),
        })
    }
}

/// What the nemesis tells.
#[derive(Default)]
struct Marks {
    /// When clients died, by client: indices of events.
    deaths: FxHashMap<u64, Vec<usize>>,
    /// How keys ended, by their tokens; none for a key that was not deleted.
    ends: Vec<(i64, Option<Deletion>)>,
    /// All deletions of these keys up to this revision are known.
    watched_through: i64,
}

/// Grants by their tokens, those of each token in order.
pub(super) type ByToken = Vec<(i64, usize)>;

#[derive(Deserialize)]
struct KeyValue {
    token: i64,
    deleted: Option<i64>,
    deleted_after: Option<i64>,
    #[serde(default)]
    with_lease: bool,
}

#[derive(Deserialize)]
struct WatchedValue {
    through: i64,
}

#[derive(Deserialize)]
struct DeadValue {
    client: Option<u64>,
}

/// The revision of which a grant tells that says nothing of one itself: its key was there.
fn shown_by_token(event: &Event) -> Option<i64> {
    let is_grant = event.kind() == EventKind::Ok && matches!(event.f(), "lock" | "try-lock");
    let token = is_grant.then(|| event.value().parse::<Option<i64>>().ok());
    token.flatten().flatten()
}

/// Whether the operation asks for a lock.
pub(super) fn is_lock(operation: &Operation<'_>) -> bool {
    matches!(operation.f(), "lock" | "try-lock")
}

/// Whether it is done with a lock that was granted.
fn is_of_holder(operation: &Operation<'_>) -> bool {
    matches!(operation.f(), "unlock" | "write")
}

impl<'h> Locks<'h> {
    /// Sorts the operations out, and finds a token that was granted twice.
    pub(super) fn of(
        history: &'h History,
        model: &'static str,
    ) -> Result<(Self, Option<Violation>), HistoryError> {
        let mut locks = Self {
            operations: Operations::of(history),
            grants: Vec::new(),
            writes: Vec::new(),
            unlocks: Vec::new(),
            seen_before: Vec::new(),
            first_revision_from: Vec::new(),
            names: Vec::new(),
            by_token: ByToken::new(),
            by_invocation: Vec::new(),
        };
        let mut marks = locks.take_events(history)?;
        locks.take_grants(model)?;
        locks.order_grants(history.events().len());
        locks.end_keys(&mut marks);
        locks.take_what_holders_do()?;
        locks.first_revision_from = locks.first_revisions();
        locks.end_beliefs(&marks);
        let twice = locks.find_granted_twice();
        Ok((locks, twice))
    }

    pub(super) fn lock(&self, grant: &Grant) -> Operation<'h> {
        self.operations.get(grant.lock)
    }

    /// Index of the event that told the holder of its luck.
    pub(super) fn granted(&self, grant: &Grant) -> usize {
        self.lock(grant).completed
    }

    /// The lock's name as it is shown to people.
    pub(super) fn name(&self, grant: &Grant) -> String {
        format!("`{}`", self.names[grant.name])
    }

    pub(super) fn names(&self) -> usize {
        self.names.len()
    }

    /// Whether it waits for a lock that somebody holds, as far as is known.
    pub(super) fn waits_for_a_holder(&self, operation: &Operation<'_>) -> bool {
        if operation.f() != "lock" {
            return false;
        }
        let Ok(wanted) = operation.invoke.value().parse::<LockValue<'_>>() else {
            return false;
        };
        self.held().any(|grant| {
            self.names[grant.name] == wanted.lock
                && (grant.is_exclusive || wanted.mode == Mode::Write)
        })
    }

    /// A lock that is held at the end, whose name and that of the wanted one begin
    /// alike.
    pub(super) fn held_under_a_similar_name(&self, operation: &Operation<'_>) -> Option<String> {
        let wanted: LockValue<'_> = operation.invoke.value().parse().ok()?;
        let is_alike = |grant: &&Grant| {
            let held = &self.names[grant.name];
            *held != wanted.lock
                && (held.starts_with(&*wanted.lock) || wanted.lock.starts_with(&**held))
        };
        self.held().find(is_alike).map(|grant| self.name(grant))
    }

    /// The last unlock of the same lock by the same client before this grant, if
    /// nobody knows what came of it.
    pub(super) fn unanswered_unlock_before(&self, grant: &Grant) -> Option<Operation<'h>> {
        let client = self.lock(grant).invoke.client()?;
        let is_suspect = |other: &&Grant| {
            other.name == grant.name
                && self.granted(other) < self.granted(grant)
                && self.lock(other).invoke.client() == Some(client)
        };
        let unlocks = self.grants.iter().filter(is_suspect);
        let unlocks = unlocks.filter_map(|other| Some(self.operations.get(other.unlock?)));
        unlocks
            .rev()
            .find(|unlock| unlock.outcome() == Outcome::Info)
    }

    /// The grants that were not let go by the end, as far as is known.
    fn held(&self) -> impl Iterator<Item = &Grant> {
        self.grants.iter().filter(|grant| {
            let is_let_go = grant
                .unlock
                .is_some_and(|unlock| self.operations.get(unlock).outcome() == Outcome::Ok);
            !is_let_go && !matches!(grant.end, End::Deleted(_))
        })
    }

    /// The smallest revision of a write that was invoked after this event. etcd was
    /// there only later than the event.
    pub(super) fn first_write_after(&self, event: usize) -> Option<i64> {
        let invoked = |write: &Write| self.operations.get(write.operation).invoked;
        let next = self.writes.partition_point(|write| invoked(write) < event);
        let first = self.first_revision_from.get(next).copied();
        first.filter(|revision| *revision < i64::MAX)
    }

    /// A write at this revision that was invoked after this event.
    pub(super) fn write_after(&self, event: usize, revision: i64) -> Option<Operation<'h>> {
        let is_it = |write: &&Write| {
            write.revision == Some(revision) && event < self.operations.get(write.operation).invoked
        };
        let write = self.writes.iter().find(is_it)?;
        Some(self.operations.get(write.operation))
    }

    /// The first operation of those that showed before this event that etcd had come to a
    /// revision, and what it showed.
    pub(super) fn seen_by(&self, revision: i64, event: usize) -> Option<(Operation<'h>, i64)> {
        self.operations.iter().find_map(|operation| {
            let completion = operation.completion.filter(|_| operation.completed < event);
            let asked = Some(operation.invoke).filter(|_| operation.invoked < event);
            let shown = [asked, completion].into_iter().flatten();
            let shown =
                shown.filter_map(|event| event.revision().or_else(|| shown_by_token(event)));
            let largest = shown.max().filter(|shown| revision <= *shown);
            largest.map(|shown| (operation, shown))
        })
    }

    fn first_revisions(&self) -> Vec<i64> {
        let mut smallest = i64::MAX;
        let mut revisions: Vec<i64> = Vec::with_capacity(self.writes.len());
        for write in self.writes.iter().rev() {
            smallest = smallest.min(write.revision.unwrap_or(i64::MAX));
            revisions.push(smallest);
        }
        revisions.reverse();
        revisions
    }

    /// Looks once at each event: what revisions it shows, and what the nemesis tells.
    fn take_events(&mut self, history: &History) -> Result<Marks, HistoryError> {
        let mut marks = Marks::default();
        self.reserve();
        // Mostly each other event is one of the nemesis, and that a key.
        let others = history
            .events()
            .len()
            .saturating_sub(2 * self.operations.len());
        marks.ends.reserve(others);
        let mut largest = 0;
        for (index, event) in history.events().iter().enumerate() {
            if event.process() != Process::Nemesis {
                if event.kind() == EventKind::Invoke {
                    self.seen_before.push(largest);
                }
                let revision = event.revision().or_else(|| shown_by_token(event));
                largest = largest.max(revision.unwrap_or(0));
                continue;
            }
            if matches!(event.f(), "client-kill" | "client-restart")
                && let Ok(DeadValue {
                    client: Some(client),
                }) = event.value().parse()
            {
                marks.deaths.entry(client).or_default().push(index);
            }
            if event.f() == "key" {
                let key = match KeyValue::plain(event.value()) {
                    Some(key) => key,
                    None => parse(event, "{\"token\":5,\"deleted\":9}")?,
                };
                let deletion = key.deleted.map(|revision| Deletion {
                    after: key.deleted_after.unwrap_or(revision - 1),
                    revision,
                    with_lease: key.with_lease,
                });
                marks.ends.push((key.token, deletion));
            } else if event.f() == "keys-watched" {
                let watched: WatchedValue = parse(event, "{\"through\":9}")?;
                marks.watched_through = marks.watched_through.max(watched.through);
            }
        }
        Ok(marks)
    }

    /// Makes room for what the operations may come to: a vector that grows is moved each time,
    /// to memory that was never used.
    fn reserve(&mut self) {
        self.seen_before.reserve(self.operations.len());
        let (mut locks, mut unlocks, mut writes) = (0, 0, 0);
        for operation in self.operations.iter() {
            match operation.f() {
                "unlock" => unlocks += 1,
                "write" => writes += 1,
                _ => locks += 1,
            }
        }
        self.grants.reserve(locks);
        self.unlocks.reserve(unlocks);
        self.writes.reserve(writes);
    }

    fn take_grants(&mut self, model: &'static str) -> Result<(), HistoryError> {
        let mut by_name: FxHashMap<Cow<'h, str>, usize> = FxHashMap::default();
        let asks = |operation: &Operation<'_>| !is_of_holder(operation);
        for (index, operation) in self.operations.iter_with_values(asks) {
            if !is_lock(&operation) {
                return Err(unknown_operation(operation.invoke, model, operation.f()));
            }
            let asked = match LockValue::plain(operation.invoke.value()) {
                Some(asked) => asked,
                None => parse(operation.invoke, "{\"lock\":\"name\"}")?,
            };
            let next = by_name.len();
            let name = *by_name.entry(asked.lock.clone()).or_insert(next);
            if name == next {
                self.names.push(asked.lock);
            }
            let Some(completion) = operation.ok() else {
                continue;
            };
            let token: Option<i64> = parse(completion, "the token, or null")?;
            let Some(token) = token else { continue };
            let owned_at = completion.revision().unwrap_or(token);
            if owned_at < token {
                let detail = format!("it is {owned_at}, and the token {token}");
                return Err(wrong(
                    completion,
                    "granted at a revision not before the token",
                    detail,
                ));
            }
            self.grants.push(Grant {
                lock: index,
                name,
                is_exclusive: model == "mutex" || asked.mode == Mode::Write,
                token,
                owned_at,
                unlock: None,
                believed_until: usize::MAX,
                end: End::AliveAt(0),
            });
        }
        Ok(())
    }

    /// Brings the grants from the order of their invocations into that in which they were
    /// granted, and finds their order by token.
    fn order_grants(&mut self, events: usize) {
        let granted = self.grants.iter().map(|grant| self.granted(grant));
        let in_order = by_event(events, granted);
        self.by_invocation = vec![0; in_order.len()];
        for (place, invoked) in (0..).zip(&in_order) {
            self.by_invocation[*invoked as usize] = place;
        }
        let grants = in_order
            .into_iter()
            .map(|invoked| self.grants[invoked as usize]);
        self.grants = grants.collect();
        let tokens = self.grants.iter().map(|grant| grant.token);
        self.by_token = tokens.zip(0..).collect();
        self.by_token.sort_unstable();
    }

    /// Says of each grant how its key ended. Both are gone through by token, side by side.
    fn end_keys(&mut self, marks: &mut Marks) {
        marks.ends.sort_by_key(|(token, _)| *token);
        let mut same_key = marks.ends.chunk_by(|a, b| a.0 == b.0).peekable();
        for (token, grant) in &self.by_token {
            while same_key.next_if(|ends| ends[0].0 < *token).is_some() {}
            let ends = same_key.peek().filter(|ends| ends[0].0 == *token);
            // Of several marks of one key the last one holds.
            self.grants[*grant].end = match ends.and_then(|ends| ends.last()) {
                Some((_, Some(deletion))) => End::Deleted(*deletion),
                Some((_, None)) => End::AliveAt(marks.watched_through),
                None => End::AliveAt(0),
            };
        }
    }

    /// A key may be granted again only if nobody knows whether the unlock before has
    /// deleted it.
    fn find_granted_twice(&self) -> Option<Violation> {
        let pairs = self.by_token.windows(2);
        let same_token = pairs.filter(|pair| pair[0].0 == pair[1].0);
        let wrong = same_token
            .map(|pair| (pair[0].1, pair[1].1))
            .filter(|pair| {
                let before = &self.grants[pair.0];
                let is_over = before.believed_until < self.granted(&self.grants[pair.1]);
                let unlock = before
                    .unlock
                    .map(|unlock| self.operations.get(unlock).outcome());
                !is_over || unlock == Some(Outcome::Ok)
            });
        let (first, second) = wrong.min_by_key(|(_, second)| *second)?;
        Some(self.granted_twice(first, second))
    }

    fn granted_twice(&self, first: usize, second: usize) -> Violation {
        let [first, second] = [&self.grants[first], &self.grants[second]];
        let sentence = format!(
            "{} was granted twice with the token {}: to process {} and to process {}; one key cannot keep the two apart, \
             and the first to unlock frees both",
            self.name(first),
            first.token,
            self.lock(first).process(),
            self.lock(second).process(),
        );
        // Had it been unlocked at another time, or without an answer, the key could be granted again.
        let unlock = first.unlock.map(|unlock| self.operations.get(unlock));
        let witness = [Some(self.lock(first)), unlock, Some(self.lock(second))];
        let witness = witness.into_iter().flatten();
        Violation::new(Class::Safety, TWICE, sentence, witness)
    }

    fn take_what_holders_do(&mut self) -> Result<(), HistoryError> {
        // Who acts one after the other was mostly granted one after the other too.
        let mut near = 0;
        for (index, operation) in self.operations.iter_with_values(is_of_holder) {
            let is_unlock = operation.f() == "unlock";
            let held = match HeldValue::plain(operation.invoke.value()) {
                Some(held) => held,
                None => parse(operation.invoke, "{\"lock\":\"name\",\"token\":5}")?,
            };
            near = up_to(&self.by_token, held.token, near);
            let Some(grant) = self.last_granted(&self.by_token[..near], &held, &operation) else {
                return Err(self.with_wrong_token(near, &held, &operation));
            };
            if is_unlock {
                self.grants[grant].unlock.get_or_insert(index);
                self.unlocks.push((index, grant));
            } else if !self.grants[grant].is_exclusive {
                let detail = format!("{} is the token of a shared lock", held.token);
                return Err(wrong(
                    operation.invoke,
                    "done under a lock that lets nobody else in",
                    detail,
                ));
            } else if let Some(completion) = operation.ok() {
                let is_applied: Option<bool> = parse(completion, "true or false")?;
                if is_applied.unwrap_or(true) {
                    self.writes.push(Write {
                        operation: index,
                        grant,
                        is_guarded: held.guarded,
                        revision: completion.revision(),
                    });
                }
            }
        }
        Ok(())
    }

    /// The last of these grants that has the token, is one of this lock, and was granted before
    /// the operation.
    fn last_granted(
        &self,
        grants: &[(i64, usize)],
        held: &HeldValue<'_>,
        operation: &Operation<'h>,
    ) -> Option<usize> {
        let same_key = grants.iter().rev().take_while(|(of, _)| *of == held.token);
        let mut same_key = same_key.map(|(_, grant)| *grant);
        same_key.find(|grant| {
            let grant = &self.grants[*grant];
            let is_of = |lock: &Cow<'_, str>| *lock == self.names[grant.name];
            self.granted(grant) < operation.invoked && held.lock.as_ref().is_none_or(is_of)
        })
    }

    /// Nobody can do this with that token, which the grants up to this one have not returned
    /// for that lock.
    fn with_wrong_token(
        &self,
        near: usize,
        held: &HeldValue<'_>,
        operation: &Operation<'h>,
    ) -> HistoryError {
        let token = held.token;
        let of_any_lock = HeldValue {
            lock: None,
            ..*held
        };
        let (expected, detail) =
            match self.last_granted(&self.by_token[..near], &of_any_lock, operation) {
                Some(other) => {
                    let lock = self.name(&self.grants[other]);
                    let detail = format!("{token} is the token of {lock}");
                    ("done with a token of the lock that it names", detail)
                }
                None => {
                    let detail = format!("no lock had returned the token {token}");
                    ("done with a token that was granted", detail)
                }
            };
        wrong(operation.invoke, expected, detail)
    }

    /// A client believes that it holds a lock until it unlocks, or dies.
    fn end_beliefs(&mut self, marks: &Marks) {
        for grant in &mut self.grants {
            let operation = self.operations.get(grant.lock);
            let unlocked = grant
                .unlock
                .map_or(usize::MAX, |unlock| self.operations.get(unlock).invoked);
            let of_client = operation
                .invoke
                .client()
                .and_then(|id| marks.deaths.get(&id));
            let died = of_client.and_then(|deaths| {
                let next = deaths.partition_point(|death| *death < operation.completed);
                deaths.get(next).copied()
            });
            grant.believed_until = unlocked.min(died.unwrap_or(usize::MAX));
        }
    }
}

/// How many of the grants have at most this token. It is looked for near that place first.
fn up_to(by_token: &[(i64, usize)], token: i64, near: usize) -> usize {
    let (mut first, mut step) = (near, 1);
    while first > 0 && by_token[first - 1].0 > token {
        first = first.saturating_sub(step);
        step *= 2;
    }
    let (mut last, mut step) = (first, 1);
    while last < by_token.len() && by_token[last].0 <= token {
        last = by_token.len().min(last + step);
        step *= 2;
    }
    first + by_token[first..last].partition_point(|(of, _)| *of <= token)
}

fn parse<'h, T: Deserialize<'h>>(
    event: &'h Event,
    expected: &'static str,
) -> Result<T, HistoryError> {
    event
        .value()
        .parse()
        .map_err(|error| HistoryError::value(event, expected, &error))
}

fn wrong(event: &Event, expected: &'static str, detail: String) -> HistoryError {
    HistoryError::value(event, expected, &serde_json::Error::custom(detail))
}

fn unknown_operation(event: &Event, model: &'static str, f: &str) -> HistoryError {
    let problem = Problem::UnknownOperation {
        model,
        f: f.to_owned(),
        known: "lock, try-lock, unlock and write; or, without tokens, acquire, try-acquire and release",
    };
    HistoryError::at(event.line(), problem)
}
