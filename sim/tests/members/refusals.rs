//! What members refuse, in the words of etcd.

use etcd_client::{AlarmAction, AlarmMember, AlarmOptions, AlarmType, ConnectOptions};
use futures_util::future::join;

use super::*;

#[test]
fn an_overloaded_member_and_a_full_database_refuse_in_the_words_of_etcd() {
    on_each(&plan(3, vec![]), |simulation| async move {
        simulation.healed().await;
        let mut client = at(&simulation, 0, 0).await;
        simulation.cluster().member(0).overload(now() + ms(1_000));
        let answer = refusal(client.put("key", "value", None).await);
        assert_eq!(
            answer,
            (Code::Unknown, "etcdserver: too many requests".to_owned())
        );
        assert_eq!(value(&mut client, None).await, None);
        at(&simulation, 1, 1)
            .await
            .put("key", "value", None)
            .await
            .unwrap();
        sleep(ms(1_000)).await;
        simulation.cluster().fill_up(now() + ms(1_000));
        let text = "etcdserver: mvcc: database space exceeded".to_owned();
        let answer = refusal(client.put("key", "value", None).await);
        assert_eq!(answer, (Code::ResourceExhausted, text.clone()));
        let answer = refusal(client.lease_grant(5, None).await);
        assert_eq!(answer, (Code::ResourceExhausted, text));
        client.delete("key", None).await.unwrap();
        sleep(ms(1_000)).await;
        client.put("key", "value", None).await.unwrap();
    });
}

/// So did three members of 3.4.23 with a small `--quota-backend-bytes`.
#[test]
fn each_member_that_is_asked_for_room_raises_an_alarm_of_its_own() {
    on_each(&plan(3, vec![]), |simulation| async move {
        simulation.healed().await;
        simulation.cluster().fill_up(now() + ms(60_000));
        let (mut clients, mut ids) = (Vec::new(), Vec::new());
        for (number, member) in [(0, 0), (1, 1), (2, 2)] {
            let mut client = at(&simulation, number, member).await;
            let status = client.status().await.unwrap();
            assert_eq!(status.errors(), [""; 0], "nobody has asked for room");
            ids.push(status.header().unwrap().member_id());
            clients.push(client);
        }
        let mut raised = Vec::new();
        for asked in [1, 0] {
            let text = "etcdserver: mvcc: database space exceeded".to_owned();
            let answer = refusal(clients[asked].put("key", "value", None).await);
            assert_eq!(answer, (Code::ResourceExhausted, text));
            raised.push(ids[asked]);
            for client in &mut clients {
                let answer = client.alarm(AlarmAction::Get, AlarmType::Nospace, None);
                let answer = answer.await.unwrap();
                let alarms = answer.alarms().iter();
                let mut told: Vec<u64> = alarms.map(AlarmMember::member_id).collect();
                told.sort_unstable();
                let mut expected = raised.clone();
                expected.sort_unstable();
                assert_eq!(told, expected);
            }
        }
    });
}

#[test]
fn members_that_disagree_change_nothing_and_end_no_lease() {
    on_each(&plan(3, vec![]), |simulation| async move {
        simulation.healed().await;
        let mut client = at(&simulation, 0, 0).await;
        let lease = client.lease_grant(2, None).await.unwrap().id();
        let with_lease = PutOptions::new().with_lease(lease);
        client.put("key", "value", Some(with_lease)).await.unwrap();
        let corrupt = simulation.corrupt();
        let refused = (Code::DataLoss, "etcdserver: corrupt cluster".to_owned());
        assert_eq!(refusal(client.put("other", "", None).await), refused);
        assert_eq!(refusal(client.delete("key", None).await), refused);
        assert_eq!(refusal(client.lease_grant(5, None).await), refused);
        assert_eq!(refusal(client.lease_revoke(lease).await), refused);
        let get = AlarmOptions::new();
        let alarms = client.alarm(AlarmAction::Get, AlarmType::Corrupt, Some(get));
        assert_eq!(alarms.await.unwrap().alarms().len(), 3);
        sleep(ms(10_000)).await;
        assert_eq!(value(&mut client, None).await.as_deref(), Some("value"));
        corrupt.heal();
        sleep(ms(1_000)).await;
        assert_eq!(value(&mut client, None).await, None);
        client.put("other", "", None).await.unwrap();
    });
}

#[test]
fn a_token_that_has_expired_is_refused_at_its_member_alone() {
    on_each(&plan(3, vec![]), |simulation| async move {
        simulation.healed().await;
        let mut client = at(&simulation, 0, 0).await;
        client.user_add("root", "secret", None).await.unwrap();
        client.user_grant_role("root", "root").await.unwrap();
        client.auth_enable().await.unwrap();
        let login = |client: u32, member: usize| {
            let channel = simulation.channel(client, ChannelOptions::default());
            let channel = channel.with_endpoints(Endpoints::One(member));
            let options = ConnectOptions::new().with_user("root", "secret");
            Client::from_channel(channel.into_etcd_channel(), Some(options))
        };
        let mut client = login(0, 0).await.unwrap();
        let mut other = login(1, 1).await.unwrap();
        client.put("key", "value", None).await.unwrap();
        simulation.expire_tokens(0);
        let refused = (Code::Unauthenticated, "etcdserver: invalid auth token");
        let (code, text) = refusal(client.put("key", "value", None).await);
        assert_eq!((code, text.as_str()), refused);
        other.put("key", "value", None).await.unwrap();
        client.refresh_token().await.unwrap();
        client.put("key", "value", None).await.unwrap();
    });
}

/// A follower whose proposal was lost knows its leader all the time, but was not
/// connected to it all the time.
#[test]
fn a_connection_that_was_lost_is_held_responsible() {
    on_each(&plan(3, vec![]), |simulation| async move {
        simulation.healed().await;
        let (leads, member) = (leader(&simulation), follower(&simulation));
        let mut client = at(&simulation, 0, member).await;
        let until = now() + ms(300);
        simulation.cluster().cut(member, leads, until);
        let start = now();
        let put = client.put("key", "value", None);
        let heal = async {
            sleep_until(until).await;
            simulation.cluster().look_again();
        };
        let (put, ()) = join(put, heal).await;
        let text = "etcdserver: request timed out, possibly due to connection lost";
        assert_eq!(refusal(put), (Code::Unavailable, text.to_owned()));
        let took = now().saturating_sub(start);
        assert!(ms(7_000) <= took && took < ms(7_600), "{took:?}");
        assert_eq!(value(&mut client, None).await, None);
    });
}

/// As with `etcdctl move-leader` to a member that stands still.
#[test]
fn a_leader_that_hands_over_its_lead_takes_nothing_in() {
    on_each(&plan(3, vec![]), |simulation| async move {
        simulation.healed().await;
        let (leads, next) = (leader(&simulation), follower(&simulation));
        let to = Some(next);
        let mut own = at(&simulation, 0, leads).await;
        let mut other = at(&simulation, 1, next).await;
        let transfer = |for_ms| simulation.strike(&FaultKind::TransferLead { to, for_ms });
        transfer(500);
        let start = now();
        let (dropped, lost) =
            join(own.put("key", "own", None), other.put("key", "other", None)).await;
        let text = "raft proposal dropped";
        assert_eq!(refusal(dropped), (Code::Unknown, text.to_owned()));
        let text = "etcdserver: request timed out, possibly due to previous leader failure";
        assert_eq!(refusal(lost), (Code::Unavailable, text.to_owned()));
        let took = now().saturating_sub(start);
        assert!(ms(7_000) <= took && took < ms(7_600), "{took:?}");
        assert_eq!(value(&mut own, None).await, None);
        assert_eq!(leader(&simulation), next);
        // Whoever takes too long does not lead.
        simulation.strike(&FaultKind::TransferLead {
            to: Some(leads),
            for_ms: 1_500,
        });
        sleep(ms(1_100)).await;
        own.put("key", "value", None).await.unwrap();
        sleep(ms(1_000)).await;
        assert_eq!(leader(&simulation), next);
    });
}

#[test]
fn a_lead_is_handed_over_when_the_other_one_is_ready_or_not_at_all() {
    let transfer = |to, for_ms| FaultKind::TransferLead { to, for_ms };
    let leads = first_leader(&plan(3, vec![]));
    let next = (leads + 1) % 3;
    for (for_ms, expected) in [(0, next), (500, next), (1_000, next), (1_001, leads)] {
        let faults = vec![(200, transfer(Some(next), for_ms))];
        for executor in [Executor::Tokio, Executor::BEST] {
            let options = Options {
                executor,
                ..Options::new(plan(3, faults.clone()))
            };
            let led = run(options, |simulation| async move {
                sleep_until(SimTime::from_millis(1_400)).await;
                leader(&simulation)
            });
            assert_eq!(led.unwrap(), expected, "{for_ms} ms, {executor:?}");
        }
    }
}

#[test]
fn a_lead_that_nobody_can_take_is_offered_for_an_election_timeout() {
    on_each(&plan(3, vec![]), |simulation| async move {
        simulation.healed().await;
        let (leads, next) = (leader(&simulation), follower(&simulation));
        let mut own = at(&simulation, 0, leads).await;
        let id = id_of(&simulation, next).await;
        let paused = simulation.pause(Party::Member(next));
        let mut mover = own.clone();
        let move_leader = pin!(mover.move_leader(id));
        let put = async {
            sleep(ms(100)).await;
            let (_, text) = refusal(own.put("key", "value", None).await);
            assert_eq!(text, "raft proposal dropped");
            sleep(ms(1_000)).await;
            own.put("key", "value", None).await.unwrap();
        };
        let (moved, ()) = join(move_leader, put).await;
        let (_, text) = refusal(moved);
        assert_eq!(
            text,
            "etcdserver: request timed out, leader transfer took too long"
        );
        paused.heal();
    });
}
