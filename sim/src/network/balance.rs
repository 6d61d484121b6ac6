//! Which member a call goes to.
//!
//! tonic's balanced channel, which etcd-client uses for several endpoints, takes
//! two of the connections that are ready and prefers the one with less load; all
//! loads are equal there, so that it takes any (`tower::balance::p2c`, and
//! `Load for Connection` in tonic's `channel/service/connection.rs`). A connection
//! that has broken is made anew before it is ready again. One that was *refused*
//! counts as ready too: the next call that meets it fails, and then it is made
//! anew (`channel/service/reconnect.rs`). One that is neither made nor refused,
//! because nothing passes, is not ready; one that was made before counts as ready
//! whatever passes on it. So does one on which a member that is about to stop takes no
//! new calls: the first that meets it is cancelled, and then it counts as refused.

use super::channel::{Endpoints, REFUSED_AFTER};
use super::{Network, link::Link};
use crate::cluster::MEMBERS_MAX;
use crate::executor::SimTime;
use crate::fault::{ClientId, MemberId};
use crate::seed::mix;

/// What the channel does with a call.
pub(super) enum Pick {
    /// It goes to this member.
    Member(MemberId),
    /// It meets a connection that was refused.
    Refused,
    /// No connection is ready before.
    Wait(SimTime),
}

/// The state of a connection.
enum Ready {
    Connected,
    Refused,
    Not(SimTime),
}

impl Network {
    /// Chooses the member that the next call of a client goes to.
    pub(super) fn pick(
        &self,
        client: ClientId,
        endpoints: Option<Endpoints>,
        now: SimTime,
    ) -> Pick {
        let mut state = self.lock();
        let members = state.members.len();
        match endpoints.unwrap_or(self.shared.endpoints) {
            Endpoints::All if members > 1 => {}
            Endpoints::All => return Pick::Member(0),
            Endpoints::Own => return Pick::Member(client as usize % members),
            Endpoints::One(member) => return Pick::Member(member.min(members - 1)),
        }
        let mut up = [false; MEMBERS_MAX];
        for (number, member) in state.members.iter().enumerate() {
            up[number] = member.is_some() && state.closing[number].is_none();
        }
        let links = state.links(client);
        if links.dead {
            return Pick::Member(0);
        }
        links.calls += 1;
        let drawn = mix(self.shared.seed ^ mix(0xba1a_4ce0 ^ u64::from(client)) ^ links.calls);
        let mut ready: [(MemberId, bool); MEMBERS_MAX] = Default::default();
        let mut count = 0;
        let mut wait = SimTime::from_nanos(u64::MAX);
        for (member, link) in links.to.iter().enumerate() {
            match readiness(link, up[member], now) {
                Ready::Connected => ready[count] = (member, true),
                Ready::Refused => ready[count] = (member, false),
                Ready::Not(until) => {
                    wait = wait.min(until);
                    continue;
                }
            }
            count += 1;
        }
        if count == 0 {
            return Pick::Wait(wait);
        }
        let (member, connected) = ready[usize::try_from(drawn % count as u64).unwrap_or(0)];
        let link = &mut links.to[member];
        link.connects_at = (!connected).then_some(now + REFUSED_AFTER);
        if connected {
            Pick::Member(member)
        } else {
            Pick::Refused
        }
    }
}

fn readiness(link: &Link, is_up: bool, now: SimTime) -> Ready {
    let Some(connects_at) = link.connects_at else {
        return Ready::Connected;
    };
    let passes_at = connects_at.max(link.passes_at());
    if passes_at > now {
        Ready::Not(passes_at)
    } else if is_up && !link.is_refused(now) {
        Ready::Connected
    } else {
        Ready::Refused
    }
}
