//! `palisade simulate`: the plan for a cluster's state, in `sched-sim/1` (POLICY.md section 3).

mod manifests;
mod settled;

use std::{
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use policy::{
    Model, Plan,
    model::Role,
    plan::{FenceAction, Placement, Task},
};
use serde_json::{Map, Value, json};

use crate::plan;

/// Options of `palisade simulate`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A Pacemaker CIB, as `cibadmin --query` prints it.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "manifests",
        required_unless_present = "manifests"
    )]
    cib: Option<PathBuf>,
    /// Manifests of a cluster: files, folders, or - for standard input. The cluster is started from nothing.
    #[arg(short = 'f', long, value_name = "FILE")]
    manifests: Vec<PathBuf>,
    /// With manifests: the cluster runs, and then this member is lost. May be repeated.
    #[arg(long, value_name = "NODE", requires = "manifests", conflicts_with = "cib")]
    down: Vec<String>,
    /// With manifests: the cluster runs, and then this object is deleted. May be repeated.
    #[arg(long, value_name = "OBJECT", requires = "manifests", conflicts_with = "cib")]
    delete: Vec<String>,
    /// The time to plan for (RFC 3339); otherwise the file's `execution-date`, otherwise now.
    #[arg(long, value_name = "TIME")]
    now: Option<String>,
    /// Form of the output.
    #[arg(long, value_enum, default_value_t = Output::Json)]
    output: Output,
    /// Say why this resource (all instances of a clone) or node is where and what it is: the scores of all nodes and what
    /// made them, actions taken and refused, what would change it. May be repeated. In JSON: `explanations`.
    #[arg(long, value_name = "RESOURCE|NODE")]
    explain: Vec<String>,
    /// Also print the scores (in JSON: `scores`).
    #[arg(long)]
    scores: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    /// The transition graph for Graphviz.
    Dot,
    /// One object in `sched-sim/1`.
    Json,
    /// The transition as a picture.
    Svg,
    /// For people: now, to do, then, why.
    Text,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let model = load(args)?;
    let text = match (policy::explain(&model), args.output) {
        (Ok(plan), Output::Dot) => plan::dot(&plan),
        (Ok(plan), Output::Json) => {
            plan::explained(&plan, &args.explain).map_err(anyhow::Error::msg)?;
            format!("{}\n", render(&plan, args))
        }
        (Ok(plan), Output::Svg) => plan::svg(&plan),
        (Ok(plan), Output::Text) if args.explain.is_empty() => plan::text(&plan),
        (Ok(plan), Output::Text) => {
            plan::explained(&plan, &args.explain).map_err(anyhow::Error::msg)?
        }
        (Err(policy::Error::Unsupported(features)), Output::Json) => {
            let object =
                json!({"format": FORMAT, "status": "unsupported", "unsupported": features});
            format!("{object}\n")
        }
        (Err(error), _) => bail!(error),
    };
    std::io::stdout().lock().write_all(text.as_bytes()).context("cannot write to standard output")
}

const FORMAT: &str = "sched-sim/1";

fn load(args: &Args) -> anyhow::Result<Model> {
    let now = match &args.now {
        Some(text) => Some(
            cib::parse_instant(text)
                .with_context(|| format!("--now {text:?} must read like 2026-01-31T12:00:00Z"))?,
        ),
        None => None,
    };
    match &args.cib {
        Some(path) => from_cib(path, now),
        None => from_manifests(args, now),
    }
}

fn clock() -> anyhow::Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?)
}

fn from_manifests(args: &Args, now: Option<i64>) -> anyhow::Result<Model> {
    let now = now.map_or_else(clock, Ok)?;
    let mut objects = manifests::objects(&args.manifests)?;
    let (model, revision) = manifests::compiled(&objects, None, now)?;
    if args.down.is_empty() && args.delete.is_empty() {
        return Ok(model);
    }
    let plan = policy::schedule(&model)?;
    let mut model = settled::settled(model, &plan);
    if !args.delete.is_empty() {
        for name in &args.delete {
            manifests::delete(&mut objects, name)?;
        }
        let (after, _) = manifests::compiled(&objects, Some(&revision), now)?;
        model = settled::history_of(&model, after);
    }
    settled::lose(&mut model, &args.down)?;
    Ok(model)
}

fn from_cib(path: &Path, now: Option<i64>) -> anyhow::Result<Model> {
    let file = fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut text = String::new();
    // one byte more than allowed, so that the reader says what is wrong
    let limit = u64::try_from(cib::BYTES_MAX)? + 1;
    file.take(limit)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {} as UTF-8 text", path.display()))?;
    let cib::Cib { mut model, execution_date } =
        cib::read(&text).with_context(|| format!("cannot use {}", path.display()))?;
    model.now = now.or(execution_date).map_or_else(clock, Ok)?;
    Ok(model)
}

fn render(plan: &Plan, args: &Args) -> Value {
    let mut object = Map::new();
    object.insert("format".to_owned(), json!(FORMAT));
    object.insert("status".to_owned(), json!("ok"));
    let placements: Map<String, Value> =
        plan.placements.iter().map(|(id, list)| (id.clone(), placement(list))).collect();
    object.insert("placements".to_owned(), Value::Object(placements));
    object.insert("fenced".to_owned(), json!(plan.fenced));
    object.insert("unfenced".to_owned(), json!(plan.unfenced));
    let actions: Vec<Value> = (0..).zip(&plan.actions).map(|(at, a)| action(at, a)).collect();
    object.insert("actions".to_owned(), Value::Array(actions));
    let order: Vec<Value> = plan.order.iter().map(|(a, b)| json!([name(a.0), name(b.0)])).collect();
    object.insert("order".to_owned(), Value::Array(order));
    let explain: Map<String, Value> = plan
        .explanations
        .iter()
        .map(|(id, explanation)| (id.clone(), json!(explanation.summary)))
        .collect();
    object.insert("explain".to_owned(), Value::Object(explain));
    if !args.explain.is_empty() {
        let asked = args.explain.iter().map(|name| (name.clone(), json!(plan::about(plan, name))));
        object.insert("explanations".to_owned(), Value::Object(asked.collect()));
    }
    if args.scores {
        let rows: Vec<Value> = plan
            .scores
            .iter()
            .map(|row| json!([format!("{:?}", row.stage), row.resource, row.node, row.score]))
            .collect();
        object.insert("scores".to_owned(), Value::Array(rows));
    }
    Value::Object(object)
}

fn placement(list: &[Placement]) -> Value {
    list.iter()
        .filter(|at| at.role != Role::Unknown)
        .map(|at| json!({"node": at.node, "role": at.role.as_str()}))
        .collect()
}

fn name(id: u32) -> String {
    format!("a{id}")
}

fn action(at: u32, action: &policy::plan::Action) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
    put("id", json!(name(at)));
    put("op", json!(action.task.operation()));
    let kind = match action.task {
        _ if action.implied => "sync",
        Task::Sync(_) => "sync",
        Task::Fence { .. } | Task::Unfence | Task::Shutdown | Task::ClearFailures => "cluster",
        _ => "rsc",
    };
    put("type", json!(kind));
    if let Some(resource) = &action.resource {
        put("rsc", json!(resource));
    }
    if let Some(node) = &action.node {
        put("node", json!(node));
    }
    match &action.task {
        Task::Monitor { interval_ms } => {
            put("interval_ms", json!(interval_ms));
        }
        Task::Cancel { operation, interval_ms } => {
            put("cancels", json!(operation));
            put("interval_ms", json!(interval_ms));
        }
        Task::Fence { action, .. } => {
            let text = match action {
                FenceAction::Off => "off",
                FenceAction::Reboot => "reboot",
                FenceAction::On => "on",
            };
            put("fence_action", json!(text));
        }
        Task::Unfence => {
            put("fence_action", json!("on"));
        }
        Task::Sync(_) | Task::Shutdown | Task::ClearFailures => {}
        _ => {
            put("interval_ms", json!(0));
        }
    }
    Value::Object(object)
}
