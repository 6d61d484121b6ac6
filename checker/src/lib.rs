//! Histories of concurrent operations, and checkers that decide from a history
//! alone whether the system kept its promise.
//!
//! A checker is a pure function from [`History`] to [`Verdict`]: *valid*, or a
//! *violation* with the few operations that prove it and a sentence that says what
//! happened, or *unknown* with the reason. It knows nothing of etcd's client, of
//! clocks or of threads, and a verdict of violation holds from what the clients saw.
//!
//! | model | promise | module |
//! |---|---|---|
//! | `fifo-queue` | linearizable first-in first-out queue | [`queue`] |
//! | `reliable-queue` | nothing lost, nothing acknowledged twice, nothing in two hands | [`reliable_queue`] |
//! | `priority-queue` | linearizable priority queue, ties in order of arrival | [`priority_queue`] |
//! | `transactions` | a consistency model, from the revisions that etcd reveals | [`txn`] |
//! | `stm` | the same, and what every attempt saw | [`txn`] |
//! | `bank` | the same as `transactions`, and the accounts always add up; or that they do alone | [`txn`], [`bank`] |
//! | `list-append` | a consistency model, inferred from lists that only grow | [`isolation`] |
//! | `rw-register` | a consistency model, inferred from registers of distinct values | [`isolation`] |
//! | `long-fork` | reads agree on an order of the writes | [`long_fork`] |
//! | `mutex` | one holder at a time while its lease lives, and fences that hold | [`lock`] |
//! | `rwlock` | the same, with one writer or any number of readers | [`lock`] |
//! | `election` | one leader per term, seen by all in one order | [`election`] |
//! | `barrier` | a wait returns only when the barrier does not stand | [`barrier`] |
//! | `double-barrier` | participants enter together and leave together | [`barrier`] |
//! | `cyclic-barrier` | nobody passes a round before all of it have come | [`barrier`] |
//! | `register`, `cas-register` | linearizable registers | [`register`] |
//! | `multi-register` | linearizable transactions on several registers | [`multi_register`] |
//! | `kv` | a linearizable map, without revisions | [`kv`] |
//! | `mutex`, `rwlock` | the same without tokens: nobody is inside with a holder | [`mutex`], [`rw_lock`] |
//! | `semaphore` | never more permits are out than there are | [`semaphore`] |
//! | `counter` | what is read is the sum of what was added | [`counter`] |
//! | `set` | what was added and not removed is inside | [`set`] |
//! | `set-full` | no element that was added is lost for good | [`set_full`] |
//! | `membership` | who joined and did not leave is a member | [`membership`] |
//! | `etcd` | etcd's own requests: linearizable by revision, watches that lose nothing | [`etcd`] |
//!
//! ```
//! use etcd_checker::history::{Evidence, Header, Json, Recorder, Source};
//! use etcd_checker::{Model, check};
//!
//! let source = Source::Other { description: "by hand".to_owned() };
//! let mut recorder = Recorder::new(Header::new("example", "fifo-queue", source));
//! for (time, value) in [(0, "a"), (20, "b")] {
//!     let enqueue = recorder.invoke(time, 1, "enqueue", value);
//!     recorder.ok(enqueue, time + 10, value, Evidence::NONE);
//! }
//! for (time, value) in [(40, "b"), (60, "a")] {
//!     let dequeue = recorder.invoke(time, 2, "dequeue", Json::NULL);
//!     recorder.ok(dequeue, time + 10, value, Evidence::NONE);
//! }
//! let history = recorder.finish();
//!
//! let verdict = check(&history, Model::of(&history)?)?;
//! let violation = verdict.violation().expect("b overtook a");
//! assert_eq!(violation.kind.name, "VOrd");
//! assert_eq!(violation.sentence, "`b` was enqueued only after `a` was acknowledged, yet left first");
//! # Ok::<(), etcd_checker::HistoryError>(())
//! ```
//!
//! Modules:
//! - [`history`]: events, the recorder, reading and writing JSON Lines;
//! - [`import`]: files, compressed or not, of this format and of other tools; [`check_file`];
//! - [`verdict`]: what checkers say;
//! - [`queue`], [`priority_queue`], [`reliable_queue`], [`txn`], [`isolation`], [`lock`],
//!   [`election`], [`barrier`] and [`etcd`]: the checkers, each with its algorithm and why it is right;
//! - [`register`], [`multi_register`], [`kv`], [`mutex`], [`rw_lock`], [`semaphore`], [`counter`], [`set`] and
//!   [`membership`]: objects that are checked by a search;
//! - [`bank`], [`set_full`] and [`long_fork`]: what reads must show, one look at each;
//! - [`search`]: linearizability of any object that has a sequential description;
//! - [`Model`] and [`check`]: a checker by its name; [`linearization`]: an order that explains a valid history.

mod anomaly;
pub mod bank;
pub mod barrier;
mod by_event;
mod compact;
pub mod counter;
pub mod election;
pub mod etcd;
pub mod history;
pub mod import;
mod index;
pub mod isolation;
mod keyed;
pub mod kv;
mod lent;
mod linearization;
mod liveness;
pub mod lock;
pub mod long_fork;
pub mod membership;
mod model;
pub mod multi_register;
pub mod mutex;
mod names;
mod object;
mod points;
pub mod priority_queue;
pub mod queue;
mod read_write;
pub mod register;
pub mod reliable_queue;
mod repeats;
pub mod rw_lock;
pub mod search;
pub mod semaphore;
pub mod set;
pub mod set_full;
mod told;
pub mod txn;
mod unsat_core;
pub mod verdict;
mod writers;

pub use history::{History, HistoryError, ReadError};
pub use import::{Check, CheckError, Checked, check_file};
pub use isolation::{Consistency, KeyOrders, Options};
pub use linearization::{Linearization, linearization};
pub use model::{Model, UnknownModel, check, check_with, check_within};
pub use verdict::{Verdict, Violation};
