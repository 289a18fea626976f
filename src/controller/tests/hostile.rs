//! The controller behind a proxy that lies (SAFETY.md O24 to O26): events that are missing, doubled or cut off, lists of the past, 410, 429,
//! 500 and 409, answers that are lost after the write was done, a replica that dies after each write, and two leaders at once.
//!
//! What must hold: nothing is deleted but what we made, and that with preconditions; placements keep their uid; the end
//! is that of an undisturbed run; and then there is silence. Against devapi; `PALISADE_SPECS_KUBECONFIG=FILE` takes a real server.
//! `PALISADE_SEEDS=N` runs more of them.

mod house;
mod proxy;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base::SplitMix64 as Rng;
use house::{Api, Replica};
use proxy::{Mood, Proxy};
use serde_json::{Value, json};

const QUIET: Duration = Duration::from_millis(15);

/// Everything that the controller is answerable for, without names that differ from run to run.
async fn state(server: &Api, namespace: &str) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for kind in [
        "FenceDevice",
        "HACluster",
        "HANode",
        "PlacementConstraint",
        "ResourcePlacement",
        "VirtualIP",
    ] {
        let list = server.get(kind, namespace, "").await;
        for object in list["items"].as_array().expect("a list") {
            let meta = &object["metadata"];
            let conditions: Vec<Value> = object["status"]["conditions"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|c| json!([c["type"], c["status"], c["reason"], c["message"]]))
                .collect();
            let owners: Vec<Value> = meta["ownerReferences"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|o| json!([o["kind"], o["name"]]))
                .collect();
            let name = meta["name"].as_str().expect("a name");
            let shown = json!({"spec": object["spec"], "labels": meta["labels"], "owners": owners, "conditions": conditions});
            all.insert(format!("{kind}/{name}"), shown);
        }
    }
    all
}

/// What people do meanwhile, one after the other: the end is the same whoever watches.
async fn change(server: &Api, namespace: &str, step: usize) {
    let all = house::quickstart();
    let named = |name: &str| {
        let found = all.iter().find(|o| house::key_of(o) == name);
        found.unwrap_or_else(|| panic!("{name}")).clone()
    };
    let vip = named("VirtualIP/public");
    let put = async |object: &Value| {
        let answer = server.apply(namespace, object).await;
        assert!(answer.taken(), "{answer:?}");
    };
    match step {
        0 => {
            for object in &all {
                put(object).await;
            }
        }
        // refused by the controller, then put right
        1 => put(&house::spoil(&vip, &[("/spec/network".into(), "nowhere".into())])).await,
        2 => put(&vip).await,
        // its constraints go, and come again
        3 => put(&house::spoil(&vip, &[("/spec/with".into(), json!([]))])).await,
        4 => put(&vip).await,
        // gone and made again under the same name: a watch may show one change
        5 => {
            let gone = server.delete("FenceDevice", namespace, "bmc-n3").await;
            assert!(gone.taken(), "{gone:?}");
        }
        6 => put(&named("FenceDevice/bmc-n3")).await,
        // a fourth member comes and goes
        7 => {
            let fourth = json!({"name": "n4", "nodeId": 4, "links": ["10.91.0.14"]});
            let set = [("/spec/members/3".to_owned(), fourth)];
            put(&house::spoil(&named("HACluster/quickstart"), &set)).await;
        }
        _ => put(&named("HACluster/quickstart")).await,
    }
}

const STEPS: usize = 9;

/// The end of a run that nobody disturbs.
async fn undisturbed(server: &Api, namespace: &str) -> BTreeMap<String, Value> {
    server.namespace(namespace).await;
    let mut replica = Replica::start(&server.client, namespace, "calm", QUIET);
    for step in 0..STEPS {
        change(server, namespace, step).await;
        replica.turn_for(QUIET * 10).await;
    }
    assert!(replica.until(|p| p.nodes.len() == 3 && p.constraints.len() == 2).await, "settles");
    state(server, namespace).await
}

/// O25, O26 and two leaders.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_leaders_behind_a_lying_api_do_no_harm_and_come_to_the_same_end() {
    let server = Arc::new(Api::start().await);
    let wanted = undisturbed(&server, "calm").await;
    assert!(wanted.len() >= 12, "{:?}", wanted.keys());
    let seeds = std::env::var("PALISADE_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(2_u64);
    for seed in 1..=seeds {
        let namespace = format!("lies-{seed}");
        server.namespace(&namespace).await;
        let mut replicas = Vec::new();
        for (i, identity) in ["a", "b"].into_iter().enumerate() {
            let dice = Rng::new(seed * 2 + i as u64);
            let proxy = Proxy::start(&server.client, dice, identity).await;
            let replica = Replica::start(&proxy.client(), &namespace, identity, QUIET);
            replicas.push((proxy, replica));
        }
        let mut public = None;
        for step in 0..STEPS {
            change(&server, &namespace, step).await;
            let turns = replicas.iter_mut().map(|(_, replica)| replica.turn_for(QUIET * 12));
            futures::future::join_all(turns).await;
            // never gone, never another: what it stands for runs
            let now = server.get("ResourcePlacement", &namespace, "public").await;
            let now = now["metadata"]["uid"].as_str().map(str::to_owned);
            assert!(
                public.is_none() || now == public,
                "seed {seed} step {step}: {public:?} became {now:?}"
            );
            public = now.or(public);
        }
        for (proxy, _) in &replicas {
            proxy.mood(Mood::Honest);
        }
        let ends = replicas.iter_mut().map(|(proxy, replica)| {
            replica.until(|p| proxy.caught_up() && p.nodes.len() == 3 && p.constraints.len() == 2)
        });
        let ends = futures::future::join_all(ends).await;
        assert_eq!(ends, [true, true], "seed {seed}: does not settle");
        // the one that was done first has seen what the other wrote after it
        let turns = replicas.iter_mut().map(|(_, replica)| replica.turn_for(QUIET * 20));
        futures::future::join_all(turns).await;
        let found = state(&server, &namespace).await;
        for (key, value) in &wanted {
            assert_eq!(found.get(key), Some(value), "seed {seed}: {key}");
        }
        assert_eq!(found.len(), wanted.len(), "seed {seed}: {:?}", found.keys());
        let mut lies = 0;
        for (proxy, replica) in &mut replicas {
            let bad = proxy.bad_writes();
            assert!(bad.is_empty(), "seed {seed}: {bad:#?}");
            lies += proxy.lies();
            // all events again, twice (O26): no write
            let before = proxy.writes();
            proxy.mood(Mood::Again);
            replica.turn_for(QUIET * 20).await;
            assert_eq!(
                proxy.writes(),
                before,
                "seed {seed}: events that were told again make it write"
            );
        }
        assert!(lies > 20, "seed {seed}: {lies} lies are no test");
    }
}

/// O24: whoever follows goes on from wherever the one before it died.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_that_dies_after_any_write_is_followed_by_one_that_ends_the_same() {
    let server = Arc::new(Api::start().await);
    server.namespace("calm-o24").await;
    let mut replica = Replica::start(&server.client, "calm-o24", "calm", QUIET);
    change(&server, "calm-o24", 0).await;
    let whole = |p: &api::client::Picture| p.nodes.len() == 3 && p.constraints.len() == 2;
    assert!(replica.until(whole).await);
    let wanted = state(&server, "calm-o24").await;
    let mut deaths = 0;
    for k in 0.. {
        let namespace = format!("dies-{k}");
        server.namespace(&namespace).await;
        change(&server, &namespace, 0).await;
        let proxy = Proxy::start(&server.client, Rng::new(k), "a").await;
        proxy.mood(Mood::DeadAfter(usize::try_from(k).expect("few")));
        let mut first = Replica::start(&proxy.client(), &namespace, "a", QUIET);
        let ended = tokio::select! {
            ended = first.until(whole) => ended,
            () = proxy.died() => false,
        };
        drop(first);
        // the Lease of the one that died is another's, or has run out: here it is taken away
        let lease = format!(
            "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/palisade-controller-a"
        );
        server.ask("DELETE", &lease, "application/json", &Value::Null).await;
        if ended {
            break;
        }
        deaths += 1;
        let mut second = Replica::start(&server.client, &namespace, "b", QUIET);
        assert!(second.until(whole).await, "after {k} writes");
        assert_eq!(state(&server, &namespace).await, wanted, "after {k} writes");
        assert!(proxy.bad_writes().is_empty());
    }
    assert!(deaths > 10, "{deaths} deaths: each write of the first reconcile is one");
}
