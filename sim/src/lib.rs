//! A simulated etcd that the unmodified [`etcd_client`] talks to in memory,
//! with faults, deterministically.

pub mod cluster;
pub mod executor;
pub mod service;
pub mod store;
