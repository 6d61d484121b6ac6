//! The command from outside: what it prints where, and with which exit code.

mod bench;
mod certificates;
mod check;
#[allow(dead_code, reason = "other tests use more of it")]
mod cluster;
mod conform;
#[allow(dead_code, reason = "other tests use more of it")]
mod conversation;
mod etcdctl;
mod live;
mod page;
mod replay;
mod serve;
mod shell;
mod sim;
mod support;
mod tls;
mod usage;
