//! Barrier and double barrier: keys and requests as etcd's Go recipes have them; the
//! cyclic barrier: those of its own layout.

use etcd_recipes::{Barrier, CyclicBarrier, DoubleBarrier, Session};

use super::tap::{Tap, plain, quiet, stored};

/// The transactions that were sent since the last time: what opens the watch goes
/// on beside them.
fn txns(tap: &Tap, session: &Session) -> Vec<String> {
    let sent = tap.take();
    let txns = sent.iter().filter(|request| request.starts_with("if "));
    txns.map(|txn| plain(txn, session.lease_id())).collect()
}

#[test]
fn a_barrier_is_its_name_without_a_value_or_a_lease() {
    quiet(|simulation| async move {
        let tap = Tap::default();
        let client = tap.client(&simulation, 0).await;
        let barrier = Barrier::new(&client, "bar").unwrap();
        assert!(barrier.hold().await.unwrap());
        assert_eq!(tap.take(), ["if bar version = 0 then put bar \"\""]);
        assert_eq!(stored(&simulation), ["bar \"\""]);
        assert!(barrier.release().await.unwrap());
        assert_eq!(tap.take(), ["delete bar"]);
        barrier.wait().await.unwrap();
        assert_eq!(tap.take(), ["get bar keys only"]);
        assert!(stored(&simulation).is_empty());
    });
}

const LIST: &str = "get db/waiters/..db/waiters0 keys only";

#[test]
fn a_participant_of_a_double_barrier_has_a_leased_key_and_a_round_one_without() {
    quiet(|simulation| async move {
        let tap = Tap::default();
        let client = tap.client(&simulation, 0).await;
        let session = Session::new(&client).await.unwrap();
        let barrier = DoubleBarrier::new(&session, "db", 1).unwrap();
        barrier.enter().await.unwrap();
        let own = "db/waiters/NANOS";
        let come = format!(
            "if {own} version = 0, db/void/NANOS version = 0, db/ready created = 0 then put {own} \"\" with lease, get db/..db0 \
             else get db/ready keys only, {LIST}"
        );
        let begin = format!(
            "if {own} created = 2, db/ready created = 0, {own} created = 2 then put db/ready \"\""
        );
        assert_eq!(txns(&tap, &session), [come, begin]);
        let keys = stored(&simulation);
        let lease = session.lease_id();
        let keys: Vec<String> = keys.iter().map(|key| plain(key, lease)).collect();
        assert_eq!(keys, ["db/ready \"\"", "db/waiters/NANOS \"\" with lease"]);
        barrier.leave().await.unwrap();
        let leave = format!(
            "if {own} created = 2, db/waiters/..{own} created = 0, {own}..db/waiters0 created = 0 \
             then delete {own}, delete db/ready \
             else (if {own} created = 2 then delete {own}, {LIST} else {LIST})"
        );
        assert_eq!(txns(&tap, &session), [leave]);
        assert!(stored(&simulation).is_empty());
    });
}

#[test]
fn a_round_of_a_cyclic_barrier_is_in_its_keys() {
    quiet(|simulation| async move {
        let tap = Tap::default();
        let client = tap.client(&simulation, 0).await;
        let session = Session::new(&client).await.unwrap();
        let barrier = CyclicBarrier::new(&session, "cyc", 1).unwrap();
        let round = barrier.wait().await.unwrap();
        assert_eq!((round.number, round.index), (1, 0));
        let own = "cyc/round/0000000000000001/NANOS";
        let come = format!(
            "if {own} version = 0, cyc/generation modified = 0 then put {own} \"\" with lease \
             else get {own}, get cyc/generation"
        );
        let end = format!(
            "if cyc/generation modified = 0, {own} created = 2 \
             then put cyc/generation \"1\", put {own} \"0\" with lease"
        );
        assert_eq!(txns(&tap, &session)[..2], [come, end]);
    });
}
