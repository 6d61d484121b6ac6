//! Granting and revoking leases.

use std::time::{Duration, Instant};

use etcd_client::{LeaseClient, LeaseGrantOptions};

use super::SessionOptions;
use crate::error::{self, Error};
use crate::runtime;

/// Grants a lease. Returns its id, when the request was sent, and the time to
/// live that etcd granted.
pub(super) async fn grant(
    leases: &LeaseClient,
    options: &SessionOptions,
) -> Result<(i64, Instant, Duration), Error> {
    const OPERATION: &str = "grant";
    loop {
        let lease = draw_lease_id();
        let target = format!("lease {lease:x}");
        let sent = runtime::now();
        let mut client = leases.clone();
        let granted = client.grant(
            options.ttl_seconds(),
            Some(LeaseGrantOptions::new().with_id(lease)),
        );
        let error = match runtime::timeout(options.request_deadline, granted).await {
            Ok(Ok(answer)) => return Ok((lease, sent, seconds_to_duration(answer.ttl()))),
            Ok(Err(error)) if error::is_lease_taken(&error) => continue,
            Ok(Err(error)) => Error::mutation(OPERATION, &target, error),
            Err(runtime::Elapsed) => {
                Error::mutation_deadline(OPERATION, &target, options.request_deadline)
            }
        };
        if error.is_outcome_unknown()
            && let Err(revoked) = revoke(leases, lease, options.request_deadline).await
        {
            tracing::debug!(error = %revoked, "a lease that may have been granted was not revoked");
        }
        return Err(error);
    }
}

/// Positive, because Go prints the id as unsigned hexadecimal in keys, and not
/// zero, which asks etcd to choose.
fn draw_lease_id() -> i64 {
    i64::try_from(runtime::random_u64() >> 1).map_or(1, |id| id.max(1))
}

/// Revokes a lease; one that is already gone is as good.
pub(super) async fn revoke(
    leases: &LeaseClient,
    lease: i64,
    deadline: Duration,
) -> Result<(), Error> {
    const OPERATION: &str = "revoke";
    let target = || format!("lease {lease:x}");
    match runtime::timeout(deadline, leases.clone().revoke(lease)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if error::is_lease_not_found(&error) => Ok(()),
        Ok(Err(error)) => Err(Error::mutation(OPERATION, &target(), error)),
        Err(runtime::Elapsed) => Err(Error::mutation_deadline(OPERATION, &target(), deadline)),
    }
}

pub(super) fn seconds_to_duration(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// How long a lease can be relied on by the clock of this process, which may run
/// slower than etcd's: by one part in a thousand. Time daemons keep monotonic clocks
/// within 500 parts in a million each (`adjtimex(2)`, the largest slew rate).
pub(super) fn reliable(ttl: Duration) -> Duration {
    ttl - ttl / 1_000
}
