//! What an engine answers, in the words that both share.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    process::Command,
};

use policy::{
    Plan,
    model::Role,
    plan::{FenceAction, Task},
};

/// An action as it is compared: operation, resource, node, and what only the strict comparison looks at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Step {
    pub(crate) operation: String,
    pub(crate) resource: String,
    pub(crate) node: String,
    pub(crate) detail: String,
}

const CORE: [&str; 10] = [
    "start",
    "stop",
    "promote",
    "demote",
    "migrate_to",
    "migrate_from",
    "reload-agent",
    "fence",
    "unfence",
    "shutdown",
];
const EXTRA: [&str; 5] = ["monitor", "cancel", "notify", "delete", "clear_failcount"];

impl Step {
    pub(crate) fn is_core(&self) -> bool {
        CORE.contains(&self.operation.as_str())
    }

    pub(crate) fn is_extra(&self) -> bool {
        EXTRA.contains(&self.operation.as_str())
    }
}

/// One plan.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) places: BTreeMap<String, Vec<(String, String)>>,
    pub(crate) fenced: BTreeSet<String>,
    /// `None` stands for what only orders others.
    pub(crate) steps: Vec<Option<Step>>,
    pub(crate) order: Vec<(usize, usize)>,
}

/// Ours.
pub(crate) fn of_plan(plan: &Plan) -> Answer {
    let mut answer = Answer::default();
    for (id, list) in &plan.placements {
        for at in list.iter().filter(|at| at.role != Role::Unknown && at.role != Role::Stopped) {
            let entry = (at.node.clone(), at.role.as_str().to_owned());
            answer.places.entry(id.clone()).or_default().push(entry);
        }
    }
    answer.places.values_mut().for_each(|list| list.sort());
    answer.fenced.extend(plan.fenced.iter().cloned());
    for action in &plan.actions {
        let detail = match &action.task {
            Task::Monitor { interval_ms } | Task::Cancel { interval_ms, .. } => {
                interval_ms.to_string()
            }
            Task::Probe => "0".to_owned(),
            Task::Fence { action: FenceAction::Off, .. } => "off".to_owned(),
            Task::Fence { .. } => "reboot".to_owned(),
            _ => String::new(),
        };
        let silent = action.implied || matches!(action.task, Task::Sync(_));
        answer.steps.push((!silent).then(|| Step {
            operation: action.task.operation().to_owned(),
            resource: action.resource.clone().unwrap_or_default(),
            node: action.node.clone().unwrap_or_default(),
            detail,
        }));
    }
    answer.order = plan.order.iter().map(|(a, b)| (a.0 as usize, b.0 as usize)).collect();
    answer
}

/// The installed Pacemaker's.
pub(crate) fn of_peer(cib: &str) -> Result<Answer, String> {
    let folder = env::temp_dir().join(format!("palisade-peer-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let (input, graph) = (folder.join("cib.xml"), folder.join("graph.xml"));
    fs::write(&input, for_peer(cib)).map_err(|e| e.to_string())?;
    let output = Command::new("crm_simulate")
        .args(["--simulate", "--output-as=xml", "--xml-file"])
        .arg(&input)
        .arg("--save-graph")
        .arg(&graph)
        .output()
        .map_err(|e| format!("crm_simulate: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let graph_text = fs::read_to_string(&graph).unwrap_or_default();
    // the folder goes before anything can be refused; what is left of a failure is in the error
    fs::remove_dir_all(&folder).map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err(format!("{}: {text}", String::from_utf8_lossy(&output.stderr)));
    }
    let mut answer = Answer::default();
    read_places(&text, &mut answer).map_err(|e| e.to_string())?;
    read_graph(&graph_text, &mut answer).map_err(|e| e.to_string())?;
    Ok(answer)
}

/// 2.1.5 knows options of fencing by their old names only, and schemas to 3.9.
fn for_peer(cib: &str) -> String {
    let mut text = cib.to_owned();
    for (new, old) in [
        ("fencing-enabled", "stonith-enabled"),
        ("fencing-action", "stonith-action"),
        ("fencing-timeout", "stonith-timeout"),
        ("pacemaker-3.10", "pacemaker-3.9"),
    ] {
        text = text.replace(&format!("\"{new}\""), &format!("\"{old}\""));
    }
    text
}

/// Whether fencing is asked for and nothing can fence.
pub(crate) fn fences_with_nothing(cib: &str) -> bool {
    let off = ["false", "0", "off", "no"].iter().any(|off| {
        let of = |name: &str| format!("name=\"{name}\" value=\"{off}\"");
        cib.contains(&of("stonith-enabled")) || cib.contains(&of("fencing-enabled"))
    });
    // a class counts where it is configured, not in a history
    let device = cib
        .split("<primitive")
        .skip(1)
        .any(|rest| rest.split('>').next().is_some_and(|tag| tag.contains("class=\"stonith\"")));
    !off && !device
}

fn read_places(text: &str, answer: &mut Answer) -> Result<(), roxmltree::Error> {
    let xml = roxmltree::Document::parse(text)?;
    let after = xml.descendants().filter(|n| n.has_tag_name("revised_cluster_status"));
    for resource in after.flat_map(|n| n.descendants()).filter(|n| n.has_tag_name("resource")) {
        let role = match resource.attribute("role").unwrap_or_default() {
            "Stopped" => continue,
            "Master" => "Promoted",
            "Slave" => "Unpromoted",
            role => role,
        };
        for node in resource.children().filter(|n| n.has_tag_name("node")) {
            let entry = (node.attribute("name").unwrap_or_default().to_owned(), role.to_owned());
            let id = resource.attribute("id").unwrap_or_default().to_owned();
            answer.places.entry(id).or_default().push(entry);
        }
    }
    answer.places.values_mut().for_each(|list| list.sort());
    Ok(())
}

fn read_graph(text: &str, answer: &mut Answer) -> Result<(), roxmltree::Error> {
    let xml = roxmltree::Document::parse(text)?;
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut edges = Vec::new();
    for synapse in xml.descendants().filter(|n| n.has_tag_name("synapse")) {
        let part = |name: &'static str| {
            synapse.children().filter(move |n| n.has_tag_name(name)).flat_map(|n| n.children())
        };
        let Some(action) = part("action_set").find(roxmltree::Node::is_element) else { continue };
        let at = answer.steps.len();
        places.insert(action.attribute("id").unwrap_or_default(), at);
        for trigger in part("inputs").filter(|n| n.has_tag_name("trigger")) {
            for input in trigger.children().filter(roxmltree::Node::is_element) {
                edges.push((input.attribute("id").unwrap_or_default(), at));
            }
        }
        let step = step(action);
        if let Some(fence) = step.as_ref().filter(|s| s.operation == "fence") {
            answer.fenced.insert(fence.node.clone());
        }
        answer.steps.push(step);
    }
    answer.order = edges.iter().filter_map(|(from, to)| Some((*places.get(from)?, *to))).collect();
    Ok(())
}

fn step(action: roxmltree::Node<'_, '_>) -> Option<Step> {
    let text = |name: &str| action.attribute(name).unwrap_or_default().to_owned();
    if action.has_tag_name("pseudo_event") {
        return None;
    }
    let child = |name: &'static str| action.children().find(move |n| n.has_tag_name(name));
    let meta = |name: &str| {
        child("attributes").and_then(|n| n.attribute(name)).unwrap_or_default().to_owned()
    };
    let resource =
        child("primitive").and_then(|n| n.attribute("id")).unwrap_or_default().to_owned();
    let (operation, detail) = match text("operation").as_str() {
        "stonith" => match meta("CRM_meta_stonith_action").as_str() {
            "on" => ("unfence".to_owned(), String::new()),
            "off" | "poweroff" => ("fence".to_owned(), "off".to_owned()),
            _ => ("fence".to_owned(), "reboot".to_owned()),
        },
        "do_shutdown" => ("shutdown".to_owned(), String::new()),
        "monitor" | "cancel" => {
            let interval = meta("CRM_meta_interval");
            (text("operation"), if interval.is_empty() { "0".to_owned() } else { interval })
        }
        "lrm_delete" => ("delete".to_owned(), String::new()),
        "reload" => ("reload-agent".to_owned(), String::new()),
        other => (other.to_owned(), String::new()),
    };
    Some(Step { operation, resource, node: text("on_node"), detail })
}
