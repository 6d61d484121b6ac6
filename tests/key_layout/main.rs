//! The exact keys, values, leases and requests of the recipes, written down: they
//! are shared with programs in Go, so they must not change.
//!
//! Each test shows what a recipe sends, request by request, and what is then in
//! the store. Leases are shown as `LEASE`, and decimal ids as `NANOS`.

mod tap;

mod barriers;
mod election;
mod locks;
mod queues;
mod stm;
