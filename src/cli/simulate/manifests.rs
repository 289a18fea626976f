//! Custom resources from files into the engine's model, without any server: checked as a server checks them, compiled
//! as the controller compiles them. What a server would refuse is said in the same words (SPEC-ERRORS.md rule 8).

use std::{
    collections::BTreeSet,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use compile::{Objects, compile};
use policy::{Model, revision::Revision};
use serde::Deserialize as _;
use serde_json::Value;

/// Bytes of all files together.
const BYTES_MAX: u64 = 16 << 20;

/// Everything that is wrong, one line each.
#[derive(Default)]
struct Faults(Vec<String>);

/// The objects in these files.
pub(super) fn objects(paths: &[PathBuf]) -> anyhow::Result<Objects> {
    let mut objects = Objects::default();
    let mut faults = Faults::default();
    let mut left = BYTES_MAX;
    for file in files(paths)? {
        let text = read(&file, &mut left)?;
        take(&mut objects, &mut faults, &file.display().to_string(), &text);
    }
    if objects.cluster.is_none() && faults.0.is_empty() {
        bail!("no HACluster in these files: add the one that the others refer to");
    }
    faults.refuse()?;
    Ok(objects)
}

/// Takes an object away, of whatever kind.
pub(super) fn delete(objects: &mut Objects, name: &str) -> anyhow::Result<()> {
    let before = objects.len();
    objects.nodes.retain(|o| o.metadata.name.as_deref() != Some(name));
    objects.devices.retain(|o| o.metadata.name.as_deref() != Some(name));
    objects.placements.retain(|o| o.metadata.name.as_deref() != Some(name));
    objects.constraints.retain(|o| o.metadata.name.as_deref() != Some(name));
    objects.addresses.retain(|o| o.metadata.name.as_deref() != Some(name));
    objects.balancers.retain(|o| o.metadata.name.as_deref() != Some(name));
    if objects.len() == before {
        bail!(
            "--delete {name:?}: no HANode, FenceDevice, ResourcePlacement, PlacementConstraint, LoadBalancer or VirtualIP of that name in these files"
        );
    }
    Ok(())
}

/// What the ring would agree on, all members online; `previous` is what it agreed on before.
pub(super) fn compiled(
    objects: &Objects,
    previous: Option<&Revision>,
    now: i64,
) -> anyhow::Result<(Model, Revision)> {
    let mut objects = objects.clone();
    compile::expand::services_in(&mut objects);
    let compiled = compile(&objects, previous);
    let mut faults = Faults::default();
    for (key, verdict) in compiled.verdicts.iter() {
        for problem in &verdict.problems {
            let line = format!("{} {:?}: {}", key.kind, key.name, problem.message);
            if problem.fatal {
                faults.0.push(line);
            } else {
                eprintln!("palisade: warning: {line}");
            }
        }
    }
    faults.refuse()?;
    let mut revision = compiled.revision.context("nothing was compiled")?;
    if let Some(previous) = previous {
        revision.keep_retained(previous, &BTreeSet::new());
    }
    let mut model = revision.model(now);
    for node in &mut model.nodes {
        node.state = policy::model::Node::online(&node.name).state;
    }
    Ok((model, revision))
}

impl Faults {
    fn refuse(self) -> anyhow::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        bail!("these manifests would be refused:\n  {}", self.0.join("\n  "))
    }
}

/// Files as given; of a folder all manifests by name.
fn files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut out = Vec::new();
    for path in paths {
        if !path.is_dir() {
            out.push(path.clone());
            continue;
        }
        let entries =
            fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))?;
        let mut found = Vec::new();
        for entry in entries {
            let file = entry?.path();
            let manifest =
                file.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
            if manifest && file.is_file() {
                found.push(file);
            }
        }
        if found.is_empty() {
            bail!("{}: no *.yaml, *.yml or *.json in this folder", path.display());
        }
        found.sort();
        out.extend(found);
    }
    Ok(out)
}

fn read(file: &Path, left: &mut u64) -> anyhow::Result<String> {
    let mut text = String::new();
    let limit = *left + 1;
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_string(&mut text)
    } else {
        let opened =
            fs::File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
        opened.take(limit).read_to_string(&mut text)
    };
    let bytes = read.with_context(|| format!("cannot read {} as UTF-8 text", file.display()))?;
    *left = left
        .checked_sub(u64::try_from(bytes)?)
        .with_context(|| format!("more than {BYTES_MAX} bytes of manifests: leave some out"))?;
    Ok(text)
}

/// Adds the documents of one file; kinds of others (Secrets, Deployments, ...) are left out.
fn take(objects: &mut Objects, faults: &mut Faults, file: &str, text: &str) {
    for (number, document) in (1..).zip(serde_yaml::Deserializer::from_str(text)) {
        let mut value = match Value::deserialize(document) {
            Ok(value) => value,
            Err(error) => {
                faults.0.push(format!("{file}: document {number}: not YAML: {error}"));
                return;
            }
        };
        let version = value["apiVersion"].as_str().unwrap_or_default();
        if value.is_null() || !(version.is_empty() || version.starts_with("palisade.dev/")) {
            continue;
        }
        let kind = value["kind"].as_str().unwrap_or_default().to_owned();
        let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let place = format!("{file}: document {number}: {kind} {name:?}");
        let found = api::check::check(&mut value, None);
        if name.is_empty() {
            faults.0.push(format!("{place}: metadata.name: is required"));
        }
        faults.0.extend(found.iter().map(|fault| format!("{place}: {fault}")));
        if found.is_empty()
            && let Err(why) = add(objects, &kind, value)
        {
            faults.0.push(format!("{place}: {why}"));
        }
    }
}

fn add(objects: &mut Objects, kind: &str, value: Value) -> Result<(), String> {
    fn typed<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }
    match kind {
        "FenceDevice" => objects.devices.push(typed(value)?),
        "HACluster" if objects.cluster.is_some() => {
            return Err("a second HACluster: simulate one cluster at a time".to_owned());
        }
        "HACluster" => objects.cluster = Some(typed(value)?),
        "HANode" => objects.nodes.push(typed(value)?),
        "PlacementConstraint" => objects.constraints.push(typed(value)?),
        "ResourcePlacement" => objects.placements.push(typed(value)?),
        "LoadBalancer" => objects.balancers.push(typed(value)?),
        "VirtualIP" => objects.addresses.push(typed(value)?),
        // requests and records of fencing say nothing of what is to run
        _ => {}
    }
    Ok(())
}
