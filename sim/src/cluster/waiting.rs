//! Waiting for what the cluster makes of a request.

use std::future::poll_fn;

use tonic::Status;

use super::command::Executed;
use super::error::ClusterError;
use super::member::Member;
use super::ticket::Answer;

/// What has become of a request at the moment at which it came in.
pub(crate) enum Begun<T> {
    Done(T),
    Waits(Waiting),
}

/// The answer of the cluster to a request of a member, when it is there. Nobody waits for
/// it any more when this is dropped.
pub(crate) struct Waiting {
    member: Member,
    ticket: u64,
    answered: bool,
}

impl Waiting {
    pub(super) fn new(member: Member, ticket: u64) -> Self {
        Waiting {
            member,
            ticket,
            answered: false,
        }
    }

    /// Waits until a proposal has been carried out.
    pub(crate) async fn executed(self) -> Result<Executed, Status> {
        match self.answer().await? {
            Answer::Executed(executed) => Ok(executed),
            Answer::MayRead => Err(Status::internal("a proposal was taken for a read")),
        }
    }

    /// Waits until a read may be done.
    pub(crate) async fn may_read(self) -> Result<(), ClusterError> {
        self.answer().await.map(drop)
    }

    async fn answer(mut self) -> Result<Answer, ClusterError> {
        let answer =
            poll_fn(|context| self.member.cluster().lock().poll(self.ticket, context)).await;
        self.answered = true;
        answer
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.answered {
            let (cluster, number) = (self.member.cluster(), self.member.number());
            cluster.lock().abandon(number, self.ticket);
        }
    }
}
