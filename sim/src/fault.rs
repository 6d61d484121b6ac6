//! What can go wrong, as data.

use serde::{Deserialize, Serialize};

/// A client process of a run, counted from 0. It keeps its number when it is
/// killed and started again.
pub type ClientId = u32;

const LOSS_WAITS_MS: u64 = 1_000;

/// One fault of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When it strikes, in milliseconds of simulated time.
    pub at_ms: u64,
    /// What happens.
    pub kind: FaultKind,
}

/// What happens.
///
/// How each looks from the client is what a real etcd shows: a lost message
/// shows nothing until the client's own deadline, a reset shows a transport
/// error at once, a member that is down refuses connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum FaultKind {
    /// The client's next message to the member, if it sends one before the
    /// network heals, never arrives, nor does anything later on the same
    /// stream.
    LoseRequest {
        /// Whose message.
        client: ClientId,
    },
    /// The member's next message to the client, if it sends one before the
    /// network heals, never arrives, nor does anything later on the same
    /// stream. What was asked for has happened.
    LoseResponse {
        /// Whose answer.
        client: ClientId,
    },
    /// Every message of the client takes longer, in both directions.
    Delay {
        /// Whose messages.
        client: ClientId,
        /// How much longer, in milliseconds.
        by_ms: u64,
        /// For how long this lasts, in milliseconds.
        for_ms: u64,
    },
    /// The client's connection breaks: every open stream ends with a transport
    /// error, whatever is on its way is gone.
    Reset {
        /// Whose connection.
        client: ClientId,
    },
    /// Nothing passes between the client and the member.
    Partition {
        /// Who is cut off.
        client: ClientId,
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// The member's process crashes and comes back with what it had committed.
    RestartMember {
        /// How long it is down, in milliseconds.
        down_ms: u64,
    },
    /// Another program compacts the history away, up to the present revision. A
    /// member that is down is not struck.
    Compact,
    /// The client's process stands still while time runs on, as in a long
    /// garbage collection or a suspended virtual machine.
    PauseClient {
        /// Which client.
        client: ClientId,
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// The client's process dies and does not come back.
    KillClient {
        /// Which client.
        client: ClientId,
    },
    /// The client's process dies and starts again.
    RestartClient {
        /// Which client.
        client: ClientId,
        /// How long it is down, in milliseconds.
        down_ms: u64,
    },
}

impl FaultKind {
    /// The names of all kinds, in the order in which reports list them.
    pub const NAMES: [&'static str; 10] = [
        "request lost",
        "response lost",
        "delay",
        "reset",
        "partition",
        "member restart",
        "client pause",
        "client kill",
        "client restart",
        "compaction",
    ];

    /// The name of this kind in reports.
    pub fn name(&self) -> &'static str {
        Self::NAMES[match self {
            FaultKind::LoseRequest { .. } => 0,
            FaultKind::LoseResponse { .. } => 1,
            FaultKind::Delay { .. } => 2,
            FaultKind::Reset { .. } => 3,
            FaultKind::Partition { .. } => 4,
            FaultKind::RestartMember { .. } => 5,
            FaultKind::PauseClient { .. } => 6,
            FaultKind::KillClient { .. } => 7,
            FaultKind::RestartClient { .. } => 8,
            FaultKind::Compact => 9,
        }]
    }

    /// The client that it strikes; none for a fault of the member.
    pub fn client(&self) -> Option<ClientId> {
        match *self {
            FaultKind::LoseRequest { client }
            | FaultKind::LoseResponse { client }
            | FaultKind::Delay { client, .. }
            | FaultKind::Reset { client }
            | FaultKind::Partition { client, .. }
            | FaultKind::PauseClient { client, .. }
            | FaultKind::KillClient { client }
            | FaultKind::RestartClient { client, .. } => Some(client),
            FaultKind::RestartMember { .. } | FaultKind::Compact => None,
        }
    }

    /// How long it lasts, in milliseconds; zero for what happens at an instant.
    /// A loss waits a second for its message before the network can heal.
    pub fn lasts_ms(&self) -> u64 {
        match *self {
            FaultKind::Delay { for_ms, .. }
            | FaultKind::Partition { for_ms, .. }
            | FaultKind::PauseClient { for_ms, .. } => for_ms,
            FaultKind::RestartMember { down_ms } | FaultKind::RestartClient { down_ms, .. } => {
                down_ms
            }
            FaultKind::LoseRequest { .. } | FaultKind::LoseResponse { .. } => LOSS_WAITS_MS,
            FaultKind::Reset { .. } | FaultKind::KillClient { .. } | FaultKind::Compact => 0,
        }
    }
}
