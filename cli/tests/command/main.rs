//! The command from outside: what it prints where, and with which exit code.

mod bench;
mod check;
mod cluster;
mod conversation;
mod live;
mod replay;
mod shell;
mod sim;
mod support;
mod usage;
