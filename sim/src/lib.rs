//! A simulated etcd that the unmodified [`etcd_client`] talks to in memory,
//! with faults, deterministically.

pub mod cluster;
pub mod executor;
pub mod fault;
pub mod network;
pub mod plan;
pub mod seed;
pub mod service;
pub mod simulation;
pub mod store;
