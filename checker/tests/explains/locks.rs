//! What the lock checker says about small histories, word by word.

use etcd_checker::history::{Evidence, Json, OperationId, Recorder};
use etcd_checker::{Model, Verdict, check};
use serde_json::{Value, json};

use crate::support::header;

/// A history told in a few words: each call is the next millisecond.
struct Story {
    recorder: Recorder,
    model: Model,
    time: u64,
}

fn story(model: Model) -> Story {
    Story {
        recorder: Recorder::new(header(model.name())),
        model,
        time: 0,
    }
}

impl Story {
    fn tick(&mut self) -> u64 {
        self.time += 1_000_000;
        self.time
    }

    fn ask(&mut self, client: u64, f: &'static str, value: &Value) -> OperationId {
        let time = self.tick();
        let value = Json::new(value).unwrap();
        self.recorder.invoke(time, client, f, value)
    }

    /// A client gets a lock: its token, and when it knew.
    fn lock(&mut self, client: u64, name: &str, token: i64, owned_at: i64) -> &mut Self {
        self.locked(client, &json!({"lock": name}), token, owned_at)
    }

    fn locked(&mut self, client: u64, asked: &Value, token: i64, owned_at: i64) -> &mut Self {
        let id = self.ask(client, "lock", asked);
        let time = self.tick();
        let token = Json::new(&token).unwrap();
        let evidence = Evidence::revision(owned_at);
        self.recorder.ok(id, time, token, evidence);
        self
    }

    fn write(&mut self, client: u64, token: i64, guarded: bool, revision: i64) -> &mut Self {
        let id = self.begin_write(client, token, guarded);
        self.written(id, revision)
    }

    fn begin_write(&mut self, client: u64, token: i64, guarded: bool) -> OperationId {
        let value = json!({"lock": "a", "token": token, "guarded": guarded});
        self.ask(client, "write", &value)
    }

    fn written(&mut self, id: OperationId, revision: i64) -> &mut Self {
        let time = self.tick();
        let evidence = Evidence::revision(revision);
        let done = Json::new(&true).unwrap();
        self.recorder.ok(id, time, done, evidence);
        self
    }

    fn unlock(&mut self, client: u64, token: i64) -> &mut Self {
        let id = self.ask(client, "unlock", &json!({"lock": "a", "token": token}));
        let time = self.tick();
        self.recorder.ok(id, time, Json::NULL, Evidence::NONE);
        self
    }

    fn mark(&mut self, name: &'static str, value: &Value) -> &mut Self {
        let time = self.tick();
        self.recorder.nemesis(time, name, Json::new(value).unwrap());
        self
    }

    fn key(&mut self, token: i64, deleted: Option<i64>, with_lease: bool) -> &mut Self {
        let key = json!({"token": token, "deleted": deleted, "with_lease": with_lease});
        self.mark("key", &key)
    }

    fn verdict(&mut self) -> Verdict {
        self.mark("keys-watched", &json!({"through": 99}));
        let recorder = std::mem::replace(&mut self.recorder, Recorder::new(header("")));
        check(&recorder.finish(), self.model).unwrap()
    }

    /// The kind of the violation, and its sentence.
    fn told(&mut self) -> (&'static str, String) {
        let verdict = self.verdict();
        let violation = verdict.violation().expect("it is one");
        (violation.kind.name, violation.sentence.clone())
    }
}

#[test]
fn a_late_write_without_a_guard_is_blamed_on_the_lease() {
    let (kind, sentence) = story(Model::Mutex)
        .lock(1, "a", 5, 5)
        .lock(2, "a", 6, 7)
        .write(2, 6, false, 8)
        .write(1, 5, false, 9)
        .key(5, Some(7), true)
        .key(6, None, false)
        .told();
    assert_eq!(kind, "stale-write");
    assert_eq!(
        sentence,
        "process 0, which held `a` with token 5, wrote although process 1 had already been granted the lock with token 6: \
         the lease of the first holder had expired at revision 7, so the lock was rightly given away; \
         a write that compares the create revision of the lock's key with the token would have been refused"
    );
}

/// Begun before anybody else was let in, it is wrong only because it came behind another one.
#[test]
fn a_write_that_came_late_is_blamed_for_what_it_overwrote() {
    let mut story = story(Model::Mutex);
    story.lock(1, "a", 5, 5);
    let late = story.begin_write(1, 5, false);
    let (kind, sentence) = story
        .lock(2, "a", 6, 7)
        .write(2, 6, false, 8)
        .written(late, 9)
        .key(5, Some(7), true)
        .key(6, None, false)
        .told();
    assert_eq!(kind, "stale-write");
    assert!(
        sentence.starts_with(
            "process 0, which held `a` with token 5, overwrote what process 1 had written while it held the lock with token 6: "
        ),
        "{sentence}"
    );
}

#[test]
fn an_overlap_that_a_lease_explains_is_a_note() {
    let verdict = story(Model::Mutex)
        .lock(1, "a", 5, 5)
        .lock(2, "a", 6, 7)
        .write(2, 6, true, 8)
        .key(5, Some(7), true)
        .key(6, None, false)
        .verdict();
    assert!(verdict.is_valid());
    assert!(
        verdict.to_string().ends_with(
            "note: 1 time a lock was granted while an earlier holder still believed that it held it: its lease had ended"
        ),
        "{verdict}"
    );
}

#[test]
fn an_overlap_of_two_keys_that_are_alive_is_not() {
    let (kind, sentence) = story(Model::Mutex)
        .lock(1, "a", 5, 5)
        .lock(2, "a", 6, 7)
        .unlock(1, 5)
        .key(5, Some(8), false)
        .key(6, None, false)
        .told();
    assert_eq!(kind, "both-alive");
    assert_eq!(
        sentence,
        "process 1 was granted `a` (token 6) at revision 7 while process 0 held it: \
         the key of that holder (token 5) was not deleted before revision 8, so both keys were alive and no lease explains it"
    );
}

#[test]
fn a_key_that_somebody_else_deletes_is_no_end_of_a_lease() {
    let (kind, sentence) = story(Model::Mutex)
        .lock(1, "a", 5, 5)
        .lock(2, "a", 6, 7)
        .unlock(1, 5)
        .key(5, Some(7), false)
        .key(6, None, false)
        .told();
    assert_eq!(kind, "key-deleted");
    assert_eq!(
        sentence,
        "the key of `a` with token 5 was deleted at revision 7 by a request, not by the end of its lease, \
         but process 0 began to unlock it only after somebody had seen etcd at revision 7: the lock was freed under its holder"
    );
}

#[test]
fn a_holder_whose_key_was_gone_is_told_when() {
    let (kind, sentence) = story(Model::Mutex)
        .lock(1, "a", 5, 9)
        .key(5, Some(7), true)
        .told();
    assert_eq!(kind, "granted-without-key");
    assert_eq!(
        sentence,
        "process 0 was granted `a` at revision 9, but its own key (token 5) had been deleted at revision 7, when its lease ended: \
         it was no longer in the line, and whoever is may be let in as well"
    );
}

#[test]
fn readers_share_and_a_writer_does_not() {
    let read = json!({"lock": "a", "mode": "read"});
    let write = json!({"lock": "a", "mode": "write"});
    let mut two_readers = story(Model::RwLock);
    two_readers.locked(1, &read, 5, 5).locked(2, &read, 6, 6);
    let verdict = two_readers
        .key(5, None, false)
        .key(6, None, false)
        .verdict();
    assert!(verdict.is_valid(), "{verdict}");
    let mut with_a_writer = story(Model::RwLock);
    with_a_writer.locked(1, &read, 5, 5).locked(2, &write, 6, 6);
    let (kind, _) = with_a_writer.key(5, None, false).key(6, None, false).told();
    assert_eq!(kind, "both-alive");
}

#[test]
fn who_waits_for_another_lock_is_told_which() {
    let mut waiting = story(Model::Mutex);
    waiting.lock(1, "a/b", 5, 5);
    waiting.ask(1, "lock", &json!({"lock": "a"}));
    let (kind, sentence) = waiting
        .mark(
            "liveness-deadline",
            &json!({"bound_ns": 60_000_000_000_u64}),
        )
        .key(5, None, false)
        .told();
    assert_eq!(kind, "stuck");
    assert!(
        sentence.ends_with(
            "although nobody held the lock; `a/b` was held, which is another lock whose name begins alike, and must not matter"
        ),
        "{sentence}"
    );
    // While somebody holds it, waiting is right.
    let mut waiting = story(Model::Mutex);
    waiting.lock(1, "a", 5, 5);
    waiting.ask(2, "lock", &json!({"lock": "a"}));
    waiting.mark("liveness-deadline", &json!({}));
    assert!(waiting.key(5, None, false).verdict().is_valid());
}

#[test]
fn what_is_no_history_of_a_lock_is_refused_with_the_reason() {
    fn refused(model: Model, tell: impl FnOnce(&mut Story)) -> String {
        let mut story = story(model);
        tell(&mut story);
        check(&story.recorder.finish(), model)
            .unwrap_err()
            .to_string()
    }
    let unknown = refused(Model::Mutex, |story| {
        story.unlock(1, 5);
    });
    assert!(
        unknown.contains("no lock had returned the token 5"),
        "{unknown}"
    );
    let early = refused(Model::Mutex, |story| {
        story.lock(1, "a", 5, 4);
    });
    assert!(early.contains("it is 4, and the token 5"), "{early}");
    let other = refused(Model::Mutex, |story| {
        story.ask(1, "dequeue", &Value::Null);
    });
    assert!(
        other.contains("lock, try-lock, unlock and write"),
        "{other}"
    );
    let shared = refused(Model::RwLock, |story| {
        let read = json!({"lock": "a", "mode": "read"});
        story.locked(1, &read, 5, 5).write(1, 5, true, 6);
    });
    assert!(shared.contains("shared lock"), "{shared}");
}
