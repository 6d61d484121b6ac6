//! Queues: keys and requests as etcd's Go recipes have them, and what is ours.

use etcd_recipes::{PriorityQueue, Queue, ReliableQueue, Session};

use super::tap::{Tap, plain, quiet, stored};

/// Where nothing is attached to one.
const NO_LEASE: i64 = i64::MAX;

fn sent(tap: &Tap, lease: i64) -> Vec<String> {
    let sent = tap.take();
    sent.iter().map(|request| plain(request, lease)).collect()
}

#[test]
fn a_queue_has_go_s_keys_and_one_request_for_each_item() {
    quiet(|simulation| async move {
        let tap = Tap::default();
        let client = tap.client(&simulation, 0).await;
        let queue = Queue::new(&client, "q").unwrap();
        queue.enqueue("v1").await.unwrap();
        let put = "if q/NANOS version = 0 then put q/NANOS \"v1\"";
        assert_eq!(sent(&tap, NO_LEASE), [put]);
        let keys: Vec<String> = stored(&simulation)
            .iter()
            .map(|k| plain(k, NO_LEASE))
            .collect();
        assert_eq!(keys, ["q/NANOS \"v1\""]);
        assert_eq!(queue.dequeue().await.unwrap().value, b"v1");
        let claim = "if q/NANOS modified = 2 then delete q/NANOS \
            else get q/0..q/: by mod ascending limit 64 keys only";
        let read = "get q/0..q/: by mod ascending limit 64 keys only";
        assert_eq!(sent(&tap, NO_LEASE), [read, claim]);
        assert!(stored(&simulation).is_empty());
    });
}

#[test]
fn a_priority_queue_has_go_s_keys() {
    quiet(|simulation| async move {
        let tap = Tap::default();
        let client = tap.client(&simulation, 0).await;
        let queue = PriorityQueue::new(&client, "pq").unwrap();
        for (value, priority) in [("hi9", 9), ("lo1", 1), ("lo1b", 1)] {
            queue.enqueue(value, priority).await.unwrap();
        }
        // Those of the Go recipes after the same calls, but that a number need not
        // follow at once on the one before (Go begins with 0 in each priority).
        let expected = [
            "__pq/00001 \"\"",
            "__pq/00009 \"\"",
            "pq/00001/0000000000000001 \"lo1\"",
            "pq/00001/0000000000000002 \"lo1b\"",
            "pq/00009/0000000000000000 \"hi9\"",
        ];
        assert_eq!(stored(&simulation), expected);
        let requests = tap.take();
        assert_eq!(requests.len(), 3, "an enqueue is one request");
        let second = "if pq/00001/0000000000000002..pq/00001/: created = 0 \
            then put __pq/00001 \"\", put pq/00001/0000000000000002 \"lo1b\" else (";
        assert!(requests[2].starts_with(second), "{}", requests[2]);
        for value in ["lo1", "lo1b", "hi9"] {
            assert_eq!(queue.dequeue().await.unwrap().value, value.as_bytes());
        }
        // The books are never deleted, as in Go.
        assert_eq!(stored(&simulation), expected[..2]);
        let read = "get pq/0..pq/: limit 64 keys only";
        let last = format!(
            "if __pq/00000..__pq/00009 modified < 5 \
             then (if pq/00009/0000000000000000 modified = 2 \
             then delete pq/00009/0000000000000000 else {read})"
        );
        let requests = tap.take();
        assert_eq!(requests[0], read);
        assert_eq!(requests[3..], [last]);
    });
}

#[test]
fn an_item_of_a_go_program_gets_its_successor() {
    quiet(|simulation| async move {
        let mut go = simulation.client(1).await.unwrap();
        go.put("__pq/00005", "", None).await.unwrap();
        go.put("pq/00005/0000000000000007", "go", None)
            .await
            .unwrap();
        let client = simulation.client(0).await.unwrap();
        let queue = PriorityQueue::new(&client, "pq").unwrap();
        let next = queue.enqueue("ours", 5).await.unwrap();
        // Also when the books are gone nothing is overwritten (fault 22 of Go's).
        go.delete("__pq/00005", None).await.unwrap();
        let other = PriorityQueue::new(&client, "pq").unwrap();
        let last = other.enqueue("theirs", 5).await.unwrap();
        assert!(next.key.as_str() > "pq/00005/0000000000000007");
        assert!(last.key > next.key);
        for value in ["go", "ours", "theirs"] {
            assert_eq!(queue.dequeue().await.unwrap().value, value.as_bytes());
        }
    });
}

#[test]
fn a_reliable_queue_keeps_the_item_until_it_is_acknowledged() {
    quiet(|simulation| async move {
        let tap = Tap::default();
        let client = tap.client(&simulation, 0).await;
        let session = Session::new(&client).await.unwrap();
        let queue = ReliableQueue::new(&session, "rq").unwrap();
        queue.enqueue_batch(["a", "b"]).await.unwrap();
        let items = [
            "rq/items/0000000000000000 \"a\"",
            "rq/items/0000000000000001 \"b\"",
            "rq/tail \"1\"",
        ];
        assert_eq!(stored(&simulation), items);
        tap.take();
        let claim = queue.claim().await.unwrap();
        let requests = sent(&tap, session.lease_id());
        assert_eq!(requests.len(), 3, "{requests:#?}");
        let keys: Vec<String> = stored(&simulation)
            .iter()
            .map(|key| plain(key, session.lease_id()))
            .collect();
        assert!(
            keys[0].starts_with("rq/claims/0000000000000000 "),
            "{keys:?}"
        );
        assert!(keys[0].ends_with(" with lease"));
        assert_eq!(keys[1], "rq/consumers/LEASE \"\" with lease");
        assert_eq!(keys[2..], items);
        let token = claim.hold().fencing_token();
        claim.acknowledge().await.unwrap();
        let acknowledgement = format!(
            "if rq/claims/0000000000000000 created = {token} \
             then delete rq/claims/0000000000000000, delete rq/items/0000000000000000 \
             else get rq/consumers/LEASE, get rq/items/0000000000000000"
        );
        assert_eq!(sent(&tap, session.lease_id()), [acknowledgement]);
        queue.claim().await.unwrap().acknowledge().await.unwrap();
        // The consumer's key is there by now: a read and a transaction, and one more
        // to acknowledge.
        assert_eq!(tap.take().len(), 3);
    });
}
