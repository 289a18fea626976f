use std::collections::BTreeMap;

use policy::{
    Plan,
    model::Role,
    plan::{
        Action, ActionId, ActionReason, Alternative, Explanation, FenceAction, Intent, Placement,
        Reason, Task,
    },
};

use super::*;

fn action(task: Task, resource: Option<&str>, node: Option<&str>) -> Action {
    Action {
        task,
        resource: resource.map(str::to_owned),
        instance: None,
        node: node.map(str::to_owned),
        intent: Intent::Recover,
        implied: false,
        notifies: None,
        digest: String::new(),
    }
}

/// ctl-1 is lost: it is fenced, then its address starts on ctl-2, then the web server.
fn plan() -> Plan {
    let at = |node: &str| vec![Placement { node: node.to_owned(), role: Role::Started }];
    let state =
        |node: &str| BTreeMap::from([("vip".to_owned(), at(node)), ("web".to_owned(), at(node))]);
    let fence = Task::Fence { action: FenceAction::Reboot, delay_ms: 0 };
    Plan {
        current: state("ctl-1"),
        placements: state("ctl-2"),
        actions: vec![
            action(fence, None, Some("ctl-1")),
            action(Task::Sync("ctl-1 <down>".to_owned()), None, None),
            action(Task::Start, Some("vip"), Some("ctl-2")),
            action(Task::Start, Some("web"), Some("ctl-2")),
        ],
        order: [(0, 1), (1, 2), (2, 3), (0, 3)].map(|(a, b)| (ActionId(a), ActionId(b))).to_vec(),
        fenced: vec!["ctl-1".to_owned()],
        explanations: BTreeMap::from([(
            "vip".to_owned(),
            Explanation {
                summary: "vip moves from ctl-1 to ctl-2".to_owned(),
                node: Some("ctl-2".to_owned()),
                score: Some(100),
                because: vec![reason("ctl-2", 100, "location prefer-2")],
                alternatives: vec![Alternative {
                    node: "ctl-1".to_owned(),
                    score: Some(-1_000_000),
                    because: vec![reason("ctl-1", -1_000_000, "location ban-1")],
                }],
                actions: vec![told("start", "ctl-2", "this is its place now")],
                remedies: vec!["raise the score of location prefer-3".to_owned()],
            },
        )]),
        nodes: BTreeMap::from([(
            "ctl-1".to_owned(),
            Explanation {
                summary: "ctl-1 is fenced: it is lost".to_owned(),
                actions: vec![told("fence", "ctl-1", "it is lost")],
                ..Explanation::default()
            },
        )]),
        ..Plan::default()
    }
}

fn reason(node: &str, score: i32, source: &str) -> Reason {
    Reason { node: Some(node.to_owned()), score: Some(score), source: source.to_owned() }
}

fn told(operation: &str, node: &str, why: &str) -> ActionReason {
    let (operation, node, why) = (operation.to_owned(), node.to_owned(), why.to_owned());
    ActionReason { operation, node, taken: true, why }
}

#[test]
fn what_is_asked_for_is_explained_and_a_wrong_name_is_answered_with_the_right_ones() {
    let text = explained(&plan(), &["vip".to_owned(), "ctl-1".to_owned()]).expect("both are there");
    assert!(text.contains("vip moves") && text.contains("ctl-1 is fenced"), "{text}");
    let why = explained(&plan(), &["vpi".to_owned()]).expect_err("no such thing");
    assert!(why.contains("\"vpi\"") && why.ends_with("there are vip, ctl-1"), "{why}");
}

#[test]
fn text_says_what_happens_in_which_order_and_why() {
    let expected = "\
Now:
  vip  ctl-1
  web  ctl-1
To do:
   1. fence (reboot) on ctl-1
   2. start vip on ctl-2
   3. start web on ctl-2
  ctl-1 is fenced
Then:
  vip  ctl-2
  web  ctl-2
Why:
  ctl-1 is fenced: it is lost
      fence on ctl-1: it is lost
  vip moves from ctl-1 to ctl-2
    * ctl-2        100  location prefer-2 (+100)
      ctl-1  -INFINITY  location ban-1 (-INFINITY)
      start on ctl-2: this is its place now
      to change it: raise the score of location prefer-3
";
    assert_eq!(text(&plan()), expected);
}

#[test]
fn dot_has_every_action_and_every_edge() {
    let dot = dot(&plan());
    assert!(dot.contains("a0 [label=\"fence (reboot)\\nctl-1\", color=red3"), "{dot}");
    assert!(dot.contains("a2 -> a3;"), "{dot}");
    assert_eq!(dot.matches("->").count(), 4);
}

#[test]
fn the_picture_leaves_out_ordering_points_and_what_follows_from_others() {
    let svg = svg(&plan());
    assert_eq!(svg.matches("marker-end").count(), 2, "fence to vip, vip to web: {svg}");
    assert!(!svg.contains("<down>"), "a name must not become markup");
    assert!(svg.contains("fence (reboot)") && svg.contains("ctl-2"));
}

#[test]
fn rounds_of_a_circle_end() {
    let mut plan = plan();
    plan.order.push((ActionId(3), ActionId(0)));
    assert_eq!(rounds(&plan).len(), 4);
}
