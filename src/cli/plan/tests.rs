use std::collections::BTreeMap;

use policy::{
    Plan,
    model::Role,
    plan::{Action, ActionId, Explanation, FenceAction, Intent, Placement, Reason, Task},
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
                summary: "starts on ctl-2: its node is lost".to_owned(),
                because: vec![Reason {
                    node: Some("ctl-2".to_owned()),
                    score: Some(100),
                    source: "location prefer-2".to_owned(),
                }],
                remedies: vec!["raise the score of location prefer-3".to_owned()],
                ..Explanation::default()
            },
        )]),
        ..Plan::default()
    }
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
  vip: starts on ctl-2: its node is lost
      because of location prefer-2 on ctl-2 (+100)
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
