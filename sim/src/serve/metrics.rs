//! `/metrics`: what a member can truly say about itself, under the names and in the format
//! of etcd's. What it does not have, such as a disk, it does not tell of.

use std::fmt::{Display, Write as _};

use crate::cluster::Member;

/// The text format of Prometheus.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything, in the order of the names.
pub(super) fn text(etcd: &Member) -> String {
    let mut metrics = Metrics::default();
    metrics.of_cluster(etcd);
    metrics.of_member(etcd);
    metrics.of_process();
    metrics.0.sort();
    metrics.0.concat()
}

/// Each with its type.
#[derive(Default)]
struct Metrics(Vec<String>);

impl Metrics {
    fn gauge(&mut self, name: &str, value: impl Display) {
        self.add(name, "gauge", "", value);
    }

    fn counter(&mut self, name: &str, value: impl Display) {
        self.add(name, "counter", "", value);
    }

    /// What is said by a label; the value is always 1.
    fn label(&mut self, name: &str, label: &str, value: impl Display) {
        self.add(name, "gauge", &format!("{{{label}=\"{value}\"}}"), 1);
    }

    fn add(&mut self, name: &str, kind: &str, labels: &str, value: impl Display) {
        let mut text = format!("# TYPE {name} {kind}\n");
        // Writing to a string does not fail.
        writeln!(text, "{name}{labels} {value}").ok();
        self.0.push(text);
    }

    fn of_cluster(&mut self, etcd: &Member) {
        let version = etcd.options().minor_version();
        let line = version.strip_suffix(".0").unwrap_or(&version);
        self.label("etcd_cluster_version", "cluster_version", line);
        self.label("etcd_server_version", "server_version", etcd.version());
    }

    fn of_member(&mut self, etcd: &Member) {
        self.gauge("etcd_server_has_leader", u8::from(etcd.has_leader()));
        let mut state = etcd.lock();
        let id = state.identity().member_id;
        self.label("etcd_server_id", "server_id", format!("{id:x}"));
        let leads = state.leader_id() == id;
        self.gauge("etcd_server_is_leader", u8::from(leads));
        // A member that answers is none.
        self.gauge("etcd_server_is_learner", 0);
        let index = state.raft_index();
        self.gauge("etcd_server_proposals_applied_total", index);
        self.gauge("etcd_server_proposals_committed_total", index);
        let (size, in_use) = state.db_size();
        self.gauge("etcd_mvcc_db_total_size_in_bytes", size);
        self.gauge("etcd_mvcc_db_total_size_in_use_in_bytes", in_use);
        let view = state.view();
        let revision = view.revision();
        self.gauge("etcd_debugging_mvcc_current_revision", revision);
        let compacted = view.compacted_revision();
        self.gauge("etcd_debugging_mvcc_compact_revision", compacted);
    }

    /// The process of all members together; nothing where the operating system does not
    /// say.
    fn of_process(&mut self) {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        for (name, field) in [
            ("process_resident_memory_bytes", "VmRSS:"),
            ("process_virtual_memory_bytes", "VmSize:"),
        ] {
            if let Some(bytes) = memory(&status, field) {
                self.gauge(name, bytes);
            }
        }
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            self.gauge("process_open_fds", open.count());
        }
        let time = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        if let Some(seconds) = cpu_seconds(&time) {
            self.counter("process_cpu_seconds_total", seconds);
        }
    }
}

/// A field of `/proc/self/status`, which are in kB.
fn memory(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let number = line.trim().strip_suffix("kB")?.trim();
    number.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The time of a process and of the kernel for it, of `/proc/self/stat`: the 14th and 15th
/// field, in hundredths of a second. The name, which can hold anything, is the second.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = |at: usize| fields.split_whitespace().nth(at)?.parse::<u32>().ok();
    Some(f64::from(ticks(11)? + ticks(12)?) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_from_what_linux_says_of_it() {
        let status = "Name:\tx\nVmSize:\t  2048 kB\nVmRSS:\t     512 kB\n";
        assert_eq!(memory(status, "VmRSS:"), Some(512 * 1024));
        assert_eq!(memory(status, "VmHWM:"), None);
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 25 0 0 20 0 9";
        assert_eq!(cpu_seconds(stat), Some(1.75));
        assert_eq!(cpu_seconds(""), None);
    }
}
