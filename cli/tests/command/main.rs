//! The command from outside: what it prints where, and with which exit code.

mod check;
mod cluster;
mod live;
mod replay;
mod shell;
mod sim;
mod support;
mod usage;
