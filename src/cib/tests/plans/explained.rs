//! Every resource that is started, stopped, moved or kept down is explained, by things that exist.

use std::collections::BTreeSet;

use policy::{
    model::Resource,
    plan::{Explanation, Reason, Task},
};

use super::cases::planned;

fn base(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((base, number)) if number.bytes().all(|b| b.is_ascii_digit()) => base,
        _ => name,
    }
}

#[test]
fn whatever_changes_or_is_kept_down_is_explained_by_what_exists() {
    let Some(cases) = planned() else { return };
    let mut wrong = Vec::new();
    for case in &cases {
        let plan = policy::explain(&case.model).expect("it was planned before");
        assert_eq!(plan.actions, case.plan.actions, "{}: the words change the plan", case.name);
        let constraints = &case.model.constraints;
        let known: BTreeSet<String> = constraints
            .locations
            .iter()
            .map(|l| format!("location {}", l.id))
            .chain(constraints.colocations.iter().map(|c| format!("colocation {}", c.id)))
            .chain(constraints.orders.iter().map(|o| format!("order {}", o.id)))
            .collect();
        let changed = plan
            .actions
            .iter()
            .filter(|a| matches!(a.task, Task::Start | Task::Stop | Task::Promote | Task::Demote));
        let mut names: BTreeSet<&str> =
            changed.filter_map(|a| a.resource.as_deref()).map(base).collect();
        let down = plan.placements.iter().filter(|(_, list)| list.is_empty());
        names.extend(down.map(|(id, _)| base(id)));
        for name in names {
            let mut about = plan
                .explanations
                .iter()
                .filter(|(id, _)| base(id) == name)
                .map(|(_, e)| e)
                .peekable();
            if about.peek().is_none() {
                wrong.push(format!("{}: {name} is not explained", case.name));
            }
            for explanation in about {
                let empty = explanation.summary.is_empty()
                    || (explanation.because.is_empty() && explanation.alternatives.is_empty());
                // one node and nothing that speaks for or against it leaves nothing to say
                if empty && case.model.nodes.len() > 1 {
                    wrong.push(format!("{}: nothing is said of {name}", case.name));
                }
                for reason in reasons(explanation) {
                    let cites = ["location ", "colocation ", "order "]
                        .iter()
                        .any(|kind| reason.source.starts_with(kind));
                    if cites
                        && !known.contains(&reason.source)
                        && !inside(&case.model.resources, reason)
                    {
                        wrong.push(format!("{}: {name} because of {:?}", case.name, reason.source));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} faults, first {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
}

fn reasons(explanation: &Explanation) -> impl Iterator<Item = &Reason> {
    let alternatives = explanation.alternatives.iter().flat_map(|a| &a.because);
    explanation.because.iter().chain(alternatives)
}

/// Members of a group are tied to each other by the group, which is cited in place of a constraint.
fn inside(resources: &[Resource], reason: &Reason) -> bool {
    let cited = reason.source.split_once(' ').map_or("", |(_, id)| id);
    fn within(resource: &Resource, id: &str) -> bool {
        use policy::model::ResourceKind::{Bundle, Clone, Group, Primitive};
        base(id).starts_with(&resource.id)
            || match &resource.kind {
                Primitive(_) => false,
                Group(members) => members.iter().any(|m| within(m, id)),
                Clone(spec) => within(&spec.child, id),
                Bundle(bundle) => bundle.child.iter().any(|c| within(c, id)),
            }
    }
    resources.iter().any(|r| within(r, cited))
}
