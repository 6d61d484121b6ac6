//! Reads.

use etcd_sim::store::Record;

use crate::*;

/// Five keys: `a` to `d` at revisions 2 to 5, `a` again at 6.
fn store() -> Store {
    let mut store = Store::default();
    for (key, value) in [("a", "4"), ("b", "3"), ("c", "2"), ("d", "1"), ("a", "5")] {
        put(&mut store, key, value);
    }
    store
}

fn read(request: &PbRangeRequest) -> PbRangeResponse {
    store().range(request).unwrap()
}

#[test]
fn an_empty_store_is_at_revision_1() {
    let answer = Store::default().range(&range_request("a", "")).unwrap();
    assert_eq!((answer.header.unwrap().revision, answer.count), (1, 0));
}

#[test]
fn a_range_excludes_its_end() {
    assert_eq!(keys(&read(&range_request("a", "c"))), ["a", "b"]);
}

#[test]
fn a_range_that_ends_before_it_starts_is_empty() {
    assert_eq!(read(&range_request("c", "a")).count, 0);
    assert_eq!(read(&range_request("c", "c")).count, 0);
}

#[test]
fn a_zero_byte_as_end_means_all_keys_from_here_on() {
    assert_eq!(keys(&read(&range_request("b", "\0"))), ["b", "c", "d"]);
}

#[test]
fn a_limit_sets_more_and_leaves_the_count() {
    let answer = read(&PbRangeRequest {
        limit: 2,
        ..range_request("a", "\0")
    });
    assert_eq!(
        (keys(&answer), answer.more, answer.count),
        (vec!["a", "b"], true, 4)
    );
    let answer = read(&PbRangeRequest {
        limit: 4,
        ..range_request("a", "\0")
    });
    assert_eq!((answer.kvs.len(), answer.more), (4, false));
}

#[test]
fn a_filter_leaves_the_count() {
    let request = PbRangeRequest {
        min_mod_revision: 4,
        limit: 2,
        ..range_request("a", "\0")
    };
    let answer = read(&request);
    assert_eq!(
        (keys(&answer), answer.more, answer.count),
        (vec!["a", "c"], true, 4)
    );
    let request = PbRangeRequest {
        max_create_revision: 3,
        ..range_request("a", "\0")
    };
    assert_eq!(keys(&read(&request)), ["a", "b"]);
    let request = PbRangeRequest {
        max_mod_revision: 5,
        ..range_request("a", "")
    };
    let answer = read(&request);
    assert_eq!((answer.kvs.len(), answer.count), (0, 1));
}

#[test]
fn reads_sort_by_each_target_in_both_orders() {
    let expected = [
        (0, ["a", "b", "c", "d"]),
        (1, ["b", "c", "d", "a"]),
        (2, ["a", "b", "c", "d"]),
        (3, ["b", "c", "d", "a"]),
        (4, ["d", "c", "b", "a"]),
    ];
    for (sort_target, ascending) in expected {
        let request = PbRangeRequest {
            sort_target,
            sort_order: 1,
            ..range_request("a", "\0")
        };
        assert_eq!(keys(&read(&request)), ascending, "target {sort_target}");
        if sort_target != 1 {
            let answer = read(&PbRangeRequest {
                sort_order: 2,
                ..request
            });
            let descending: Vec<&str> = ascending.into_iter().rev().collect();
            assert_eq!(keys(&answer), descending, "target {sort_target}");
        }
    }
}

#[test]
fn equals_stay_in_order_of_keys_when_sorted() {
    let request = PbRangeRequest {
        sort_target: 1,
        sort_order: 2,
        ..range_request("a", "\0")
    };
    assert_eq!(keys(&read(&request)), ["a", "b", "c", "d"]);
}

#[test]
fn a_sort_target_without_an_order_sorts_only_what_the_limit_let_through() {
    let request = PbRangeRequest {
        sort_target: 4,
        limit: 2,
        ..range_request("a", "\0")
    };
    assert_eq!(keys(&read(&request)), ["c", "b"]);
}

#[test]
fn keys_only_keeps_everything_but_the_value() {
    let answer = read(&PbRangeRequest {
        keys_only: true,
        ..range_request("a", "")
    });
    let kv = &answer.kvs[0];
    assert_eq!((kv.value.len(), kv.mod_revision, kv.version), (0, 6, 2));
}

#[test]
fn count_only_returns_no_keys() {
    let request = PbRangeRequest {
        count_only: true,
        limit: 1,
        ..range_request("a", "\0")
    };
    let answer = read(&request);
    assert_eq!((answer.kvs.len(), answer.count, answer.more), (0, 4, false));
}

#[test]
fn a_past_revision_shows_the_past_under_the_present_header() {
    let answer = read(&PbRangeRequest {
        revision: 3,
        ..range_request("a", "\0")
    });
    assert_eq!(
        (keys(&answer), answer.header.unwrap().revision),
        (vec!["a", "b"], 6)
    );
    assert_eq!(answer.kvs[0].value, b"4");
}

#[test]
fn a_deleted_key_is_still_found_in_the_past() {
    let mut store = store();
    delete(&mut store, "b", "");
    let past = PbRangeRequest {
        revision: 6,
        ..range_request("a", "\0")
    };
    assert_eq!(keys(&store.range(&past).unwrap()), ["a", "b", "c", "d"]);
    assert_eq!(
        keys(&store.range(&range_request("a", "\0")).unwrap()),
        ["a", "c", "d"]
    );
}

#[test]
fn a_negative_revision_means_now() {
    assert_eq!(
        read(&PbRangeRequest {
            revision: -1,
            ..range_request("a", "\0")
        })
        .count,
        4
    );
}

#[test]
fn compaction_keeps_what_is_needed_at_its_revision() {
    let mut store = store();
    delete(&mut store, "b", "");
    compact(&mut store, 4).unwrap();
    let at = |revision| PbRangeRequest {
        revision,
        ..range_request("a", "\0")
    };
    assert_eq!(store.range(&at(3)), Err(StoreError::Compacted));
    assert_eq!(keys(&store.range(&at(4)).unwrap()), ["a", "b", "c"]);
    compact(&mut store, 7).unwrap();
    assert_eq!(keys(&store.range(&at(7)).unwrap()), ["a", "c", "d"]);
    assert_eq!(
        store
            .events(0)
            .map(Record::mod_revision)
            .collect::<Vec<_>>(),
        [7]
    );
    put(&mut store, "b", "new");
    assert_eq!(get(&store, "b").unwrap().version, 1);
}
