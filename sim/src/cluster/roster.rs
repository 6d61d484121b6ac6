//! Who belongs to a cluster (`server/etcdserver/api/membership` in etcd).
//!
//! A cluster begins with members whose processes run. One that is added later has none:
//! it never starts, and stays without a name.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tonic::{Code, Status};

use super::consensus::MemberId;

/// How many members may be learners (`maxLearners` in etcd's
/// `server/etcdserver/api/membership/cluster.go`).
const LEARNERS_MAX: usize = 1;

/// One line of the list of members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) id: u64,
    /// Which of the cluster's processes it is; none for one that was added.
    pub(crate) process: Option<MemberId>,
    pub(crate) peer_urls: Vec<String>,
    pub(crate) is_learner: bool,
    /// Whether the quorum counts its vote. Whoever was added as a learner has none, also
    /// after an update that makes the list forget that it is one.
    pub(crate) votes: bool,
}

/// A change of the list.
#[derive(Debug)]
pub(crate) enum Change {
    Add(Listed),
    Remove(u64),
    Update { id: u64, peer_urls: Vec<String> },
    Promote(u64),
}

impl Change {
    fn id(&self) -> u64 {
        match self {
            Change::Add(added) => added.id,
            Change::Remove(id) | Change::Update { id, .. } | Change::Promote(id) => *id,
        }
    }
}

/// Why the list was not changed, in etcd's words (`api/v3rpc/rpctypes/error.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RosterError {
    #[error("etcdserver: member ID already exist")]
    Exists,
    #[error("etcdserver: Peer URLs already exists")]
    PeerUrlExists,
    #[error("etcdserver: member not found")]
    NotFound,
    #[error("etcdserver: given member URLs are invalid")]
    BadUrls,
    #[error("etcdserver: can only promote a learner member")]
    NotLearner,
    #[error("etcdserver: can only promote a learner member which is in sync with leader")]
    LearnerNotReady,
    #[error("etcdserver: too many learner members in cluster")]
    TooManyLearners,
    #[error("etcdserver: re-configuration failed due to not enough started members")]
    NotEnoughStarted,
    #[error("etcdserver: unhealthy cluster")]
    Unhealthy,
}

impl RosterError {
    /// "Not enough started members" is mapped to the client's form of the error, which
    /// carries no code (`toGRPCErrorMap` in etcd's `server/etcdserver/api/v3rpc/util.go`).
    fn code(self) -> Code {
        match self {
            RosterError::NotFound => Code::NotFound,
            RosterError::BadUrls => Code::InvalidArgument,
            RosterError::NotEnoughStarted => Code::Unknown,
            RosterError::Unhealthy => Code::Unavailable,
            RosterError::Exists
            | RosterError::PeerUrlExists
            | RosterError::NotLearner
            | RosterError::LearnerNotReady
            | RosterError::TooManyLearners => Code::FailedPrecondition,
        }
    }
}

impl From<RosterError> for Status {
    fn from(error: RosterError) -> Status {
        Status::new(error.code(), error.to_string())
    }
}

/// The list of members, by their ids, and the ids of those that were removed: nobody gets
/// one of them again.
#[derive(Clone, Debug)]
pub(crate) struct Roster {
    members: Vec<Listed>,
    removed: Vec<u64>,
}

impl Roster {
    pub(super) fn new(mut members: Vec<Listed>) -> Self {
        members.sort_by_key(|member| member.id);
        Roster {
            members,
            removed: Vec::new(),
        }
    }

    pub(crate) fn members(&self) -> &[Listed] {
        &self.members
    }

    pub(crate) fn find(&self, id: u64) -> Option<&Listed> {
        self.members.iter().find(|member| member.id == id)
    }

    /// Members that count as voting.
    pub(super) fn voting(&self) -> impl Iterator<Item = &Listed> {
        self.members.iter().filter(|member| !member.is_learner)
    }

    /// Changes the list (`ValidateConfigurationChange` in etcd's
    /// `server/etcdserver/api/membership/cluster.go`); whom that has removed.
    pub(super) fn change(&mut self, change: Change) -> Result<Option<Listed>, RosterError> {
        if self.removed.contains(&change.id()) {
            return Err(RosterError::NotFound);
        }
        match change {
            Change::Add(member) => self.add(member).map(|()| None),
            Change::Remove(id) => self.remove(id).map(Some),
            Change::Update { id, peer_urls } => self.update(id, peer_urls).map(|()| None),
            // A learner is none that could be promoted: it has not started.
            Change::Promote(id) => match self.find(id) {
                None => Err(RosterError::NotFound),
                Some(member) if member.is_learner => Err(RosterError::LearnerNotReady),
                Some(_) => Err(RosterError::NotLearner),
            },
        }
    }

    fn add(&mut self, member: Listed) -> Result<(), RosterError> {
        if self.find(member.id).is_some() {
            return Err(RosterError::Exists);
        }
        if self.has_url_of(&member.peer_urls, member.id) {
            return Err(RosterError::PeerUrlExists);
        }
        let learners = self
            .members
            .iter()
            .filter(|member| member.is_learner)
            .count();
        if member.is_learner && learners + 1 > LEARNERS_MAX {
            return Err(RosterError::TooManyLearners);
        }
        let place = self.members.partition_point(|other| other.id < member.id);
        self.members.insert(place, member);
        Ok(())
    }

    fn remove(&mut self, id: u64) -> Result<Listed, RosterError> {
        let place = self.members.iter().position(|member| member.id == id);
        let removed = self.members.remove(place.ok_or(RosterError::NotFound)?);
        self.removed.push(id);
        Ok(removed)
    }

    /// An update says nothing of learners, and what it does not say is forgotten: who was
    /// one does not look like one any more. That is etcd's own.
    fn update(&mut self, id: u64, peer_urls: Vec<String>) -> Result<(), RosterError> {
        let is_taken = self.has_url_of(&peer_urls, id);
        let member = self.members.iter_mut().find(|member| member.id == id);
        let member = member.ok_or(RosterError::NotFound)?;
        if is_taken {
            return Err(RosterError::PeerUrlExists);
        }
        (member.peer_urls, member.is_learner) = (peer_urls, false);
        Ok(())
    }

    /// Whether somebody else is at one of these addresses.
    fn has_url_of(&self, urls: &[String], id: u64) -> bool {
        let others = self.members.iter().filter(|member| member.id != id);
        let mut taken = others.flat_map(|member| &member.peer_urls);
        taken.any(|url| urls.contains(url))
    }
}

/// The id of a new member, by its addresses and the second in which it is added, as in
/// etcd (`computeMemberID`): the same twice in one second is refused.
pub(crate) fn id_of(cluster_id: u64, peer_urls: &[String], now: Duration) -> u64 {
    let mut hash = Sha256::new();
    hash.update(cluster_id.to_be_bytes());
    hash.update(peer_urls.concat());
    hash.update(now.as_secs().to_be_bytes());
    let hash = hash.finalize();
    let first = hash
        .first_chunk()
        .expect("a hash has more than eight bytes");
    u64::from_be_bytes(*first)
}

/// The addresses of a new member in order, if etcd takes them for some (`NewURLs` in
/// etcd's `client/pkg/types/urls.go`).
pub(crate) fn peer_urls(urls: &[String]) -> Result<Vec<String>, RosterError> {
    let trimmed = urls.iter().map(|url| url.trim());
    let mut urls: Vec<String> = trimmed.map(str::to_owned).collect();
    if urls.is_empty() || !urls.iter().all(|url| is_peer_url(url)) {
        return Err(RosterError::BadUrls);
    }
    urls.sort();
    Ok(urls)
}

/// Whether an address has the form `http://host:port`.
fn is_peer_url(url: &str) -> bool {
    let Some((scheme, address)) = url.split_once("://") else {
        return false;
    };
    let is_known = ["http", "https", "unix", "unixs"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known));
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    is_known
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && !host.contains(['/', '?', '#', ' ', '<', '>', '"'])
        && (is_bracketed || !host.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_scheme_a_host_and_a_port() {
        for (url, is_one) in [
            ("http://a:1", true),
            ("HTTPS://[::1]:2380", true),
            ("http://127.0.0.1:", true),
            ("http://a", false),
            ("http://a:b", false),
            ("http://a:1/", false),
            ("http://a:1?x", false),
            ("http://a:1:2", false),
            ("a:1", false),
            ("", false),
        ] {
            assert_eq!(is_peer_url(url), is_one, "{url}");
        }
        let owned =
            |urls: &[&str]| -> Vec<String> { urls.iter().map(|url| (*url).into()).collect() };
        let sorted = peer_urls(&owned(&[" http://b:1 ", "http://a:1"]));
        assert_eq!(sorted, Ok(owned(&["http://a:1", "http://b:1"])));
        assert_eq!(peer_urls(&[]), Err(RosterError::BadUrls));
    }
}
