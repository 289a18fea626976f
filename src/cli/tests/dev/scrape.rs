//! What a running box serves to Prometheus, after a machine of it was lost: conventions, and every name that an alert or the
//! dashboard asks for.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use serde_json::{Value, json};

use crate::boxed::{Running, address, alone, kill_holder, palisade, served_by, status, until};

/// Series of one target, whatever it has seen.
const SERIES_MAX: usize = 1000;
/// Values of one label of one family. A box has three members and two resources; reasons are words of the program.
const VALUES_MAX: usize = 20;
/// Each has a meaning that is the same in every family.
const LABELS: [&str; 14] = [
    "condition",
    "kind",
    "le",
    "link",
    "node",
    "operation",
    "outcome",
    "part",
    "peer",
    "phase",
    "reason",
    "resource",
    "state",
    "version",
];

pub(crate) fn scrape(at: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(at).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    Some(body.to_owned())
}

/// What a scrape says of one family.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    help: String,
    series: BTreeSet<String>,
    labels: BTreeMap<String, BTreeSet<String>>,
}

/// Reads a scrape as a scraper does. What it finds wrong is the answer.
fn lint(text: &str) -> (BTreeMap<String, Family>, Vec<String>) {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut wrong = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
            if !std::mem::replace(&mut families.entry(name.into()).or_default().help, help.into())
                .is_empty()
            {
                wrong.push(format!("{name}: HELP twice"));
            }
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, ""));
            if !std::mem::replace(&mut families.entry(name.into()).or_default().kind, kind.into())
                .is_empty()
            {
                wrong.push(format!("{name}: TYPE twice"));
            }
        } else if line.starts_with('#') {
            wrong.push(format!("no line of this form: {line}"));
        } else if let Err(why) = sample(line, &mut families) {
            wrong.push(format!("{why}: {line}"));
        }
    }
    for (name, family) in &families {
        let mut not = |so: bool, what: &str| {
            if !so {
                wrong.push(format!("{name}: {what}"))
            }
        };
        not(name.starts_with("palisade_"), "without our prefix");
        not(family.help.len() > 10 && family.help.ends_with('.'), "says nothing of itself");
        not(matches!(family.kind.as_str(), "counter" | "gauge" | "histogram"), "of no type");
        not(
            (family.kind == "counter") == name.ends_with("_total"),
            "_total is the end of counters",
        );
        not(family.kind != "histogram" || name.ends_with("_seconds"), "in no base unit");
        let unit = ["_ms", "_millis", "_milliseconds", "_minutes", "_kb", "_mb", "_percent"];
        not(!unit.iter().any(|unit| name.contains(unit)), "in a unit that is no base unit");
        not(!name.contains("_time_") && !name.ends_with("_timestamp"), "in no said unit");
        not(!family.series.is_empty(), "has no series");
        for (label, values) in &family.labels {
            not(
                LABELS.contains(&label.as_str()) || label == "what",
                &format!("label {label} is new"),
            );
            not(values.len() <= VALUES_MAX, &format!("label {label} has {} values", values.len()));
        }
    }
    (families, wrong)
}

fn sample(line: &str, families: &mut BTreeMap<String, Family>) -> Result<(), &'static str> {
    let (series, value) = line.rsplit_once(' ').ok_or("no sample")?;
    value.parse::<f64>().map_err(|_| "no number")?;
    let name = series.split_once('{').map_or(series, |(name, _)| name);
    let base = ["_bucket", "_sum", "_count"].into_iter().find_map(|end| name.strip_suffix(end));
    let of = base.filter(|base| families.get(*base).is_some_and(|f| f.kind == "histogram"));
    let family = families.get_mut(of.unwrap_or(name)).ok_or("no HELP and TYPE before it")?;
    if !family.series.insert(series.to_owned()) {
        return Err("said twice");
    }
    for pair in series.split_once('{').map_or("", |(_, l)| l.trim_end_matches('}')).split("\",") {
        if let Some((label, value)) = pair.split_once("=\"") {
            let values = family.labels.entry(label.into()).or_default();
            values.insert(value.trim_end_matches('"').into());
        }
    }
    Ok(())
}

/// The name that a family has in the registry of a scraper: of a histogram each of three.
fn names(families: &BTreeMap<String, Family>) -> BTreeSet<String> {
    let each = families.iter().flat_map(|(name, family)| match family.kind.as_str() {
        "histogram" => ["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}")).to_vec(),
        _ => vec![name.clone()],
    });
    each.collect()
}

fn asked_for(file: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/palisade/files").join(file);
    let text = std::fs::read_to_string(&path).expect("readable");
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("palisade_")).map(str::to_owned).collect()
}

/// The status that the API shows is the one that an agent sees, once the mirror is at rest.
fn mirrored_as_seen(dir: &Path, node: &str) {
    let kubeconfig = dir.join("kubeconfig");
    let main = |status: &Value| {
        let of = |list: &str, fields: [&str; 2]| -> Vec<String> {
            let all = status[list].as_array().map_or([].as_slice(), Vec::as_slice);
            all.iter().map(|o| fields.map(|field| o[field].to_string()).join(" ")).collect()
        };
        let mut runs: Vec<String> = Vec::new();
        for resource in status["resources"].as_array().into_iter().flatten() {
            for instance in resource["instances"].as_array().into_iter().flatten() {
                if instance["role"] != "Stopped" {
                    runs.push(format!("{} {}", resource["id"], instance["node"]));
                }
            }
        }
        let era = &status["era"];
        let head = json!([
            status["cluster"],
            status["quorate"],
            status["coordinator"],
            era["id"],
            era["sequence"]
        ]);
        (head, of("nodes", ["name", "state"]), of("resources", ["id", "kind"]), runs)
    };
    until("the API shows what the agents see", || {
        let seen = serde_json::to_value(status(dir, node)?).expect("JSON");
        let words = ["status", "--output", "json", "--kubeconfig"];
        let (ok, said) = palisade(&words, &kubeconfig);
        let shown: Value = ok.then(|| serde_json::from_str(&said).ok()).flatten()?;
        assert_eq!(shown["node"], "the API");
        (main(&shown) == main(&seen)).then_some(())
    });
}

/// Everything but what nobody shall see: passwords of BMCs, the ring's key, and a canary in a log.
fn bundled_without_secrets(dir: &Path, targets: Vec<SocketAddr>) {
    const CANARY: &str = "Seč'r\"$(x)\\n";
    let log = dir.join("some.log");
    std::fs::write(&log, format!("a line\nOS_PASSWORD={CANARY}\nanother\n")).expect("written");
    let file = dir.join("bundle.tar.gz");
    let mut command = std::process::Command::new(crate::boxed::program());
    command.arg("bundle").arg("-o").arg(&file).arg("--agent").arg(dir).arg("--log").arg(&log);
    command.arg("--log").arg(dir.join("box.log")).arg("--kubeconfig").arg(dir.join("kubeconfig"));
    for at in &targets {
        command.args(["--metrics", &at.to_string()]);
    }
    // an agent has said something that it should not have
    let agent = dir.join("machines/n1/agent.log");
    let mut end = std::fs::OpenOptions::new().append(true).open(agent).expect("there");
    std::io::Write::write_all(&mut end, format!("bmc_password: {CANARY}\n").as_bytes())
        .expect("written");
    let done = command.output().expect("it runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let found = unpacked(&file);
    let part = |name: &str| &found[&format!("palisade-bundle/{name}")];
    assert!(part("objects/haclusters.json").contains("\"quickstart\""));
    assert!(part("agent/status.json").contains("\"quorate\": true"));
    assert!(part("manifest.json").contains("objects/fencedevices.json"));
    for log in ["logs/n1.log", "logs/n2.log", "logs/n3.log", "logs/box.log"] {
        assert!(part(log).lines().count() > 3, "{log}: {}", part(log));
    }
    assert!(part("logs/n1.log").ends_with("bmc_password:[redacted]\n"), "its end is in it");
    let events: Value = serde_json::from_str(part("objects/events.json")).expect("JSON");
    let accepted = |e: &Value| e["reason"] == "Accepted" && e["regarding"]["kind"] == "HACluster";
    assert!(events.as_array().is_some_and(|all| all.iter().any(accepted)), "{events}");
    let log = found.iter().find(|(name, _)| name.ends_with("some.log")).expect("the log").1;
    assert_eq!(log, "a line\nOS_PASSWORD=[redacted]\nanother\n");
    let plan = std::fs::read(dir.join("box.json")).expect("there");
    let plan: Value = serde_json::from_slice(&plan).expect("JSON");
    let passwords = plan["nodes"].as_array().expect("nodes").iter().map(|n| &n["bmc_password"]);
    let mut secrets: Vec<&str> = passwords.map(|p| p.as_str().expect("a password")).collect();
    secrets.extend(plan["ring_key"].as_str().and_then(|key| key.split(' ').nth(1)));
    secrets.extend(["Seč", "PRIVATE KEY"]);
    assert_eq!(secrets.len(), 6);
    for (name, text) in &found {
        for secret in &secrets {
            assert!(!text.contains(secret), "{secret} is in {name}");
        }
    }
}

/// A support bundle's entries.
pub(crate) fn unpacked(bundle: &Path) -> BTreeMap<String, String> {
    let bytes = std::fs::File::open(bundle).expect("made");
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(bytes));
    let entries = tar.entries().expect("a tar").map(|entry| {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a name").display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("text");
        (name, text)
    });
    entries.collect()
}

/// All targets of a box: three agents, then the controller.
pub(crate) fn targets(dir: &Path) -> Vec<SocketAddr> {
    let plan: Value =
        serde_json::from_slice(&std::fs::read(dir.join("box.json")).expect("there")).expect("JSON");
    let subnet = plan["subnet"].as_u64().and_then(|n| u8::try_from(n).ok()).expect("a number");
    let at = |last, port| SocketAddr::from(([127, 77, subnet, last], port));
    vec![at(101, 9465), at(102, 9465), at(103, 9465), at(251, 9464)]
}

#[test]
fn a_box_is_scraped_by_the_conventions_and_has_what_alerts_and_dashboard_ask_for() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("box");
    let running = Running::start(&dir);
    running.wait_ready(&dir);
    let at = address(&dir);
    let holder = kill_holder(&dir);
    until("it is served elsewhere", || served_by(at).filter(|by| *by != holder));
    let proven = |node: &&str| {
        let seen = status(&dir, node)?;
        (seen.operations.iter().any(|o| o.evidence.is_some())).then_some(())
    };
    let others = ["n1", "n2", "n3"].into_iter().filter(|node| *node != holder);
    let others: Vec<&str> = others.collect();
    until("the power-off is proven", || others.iter().find_map(proven));

    mirrored_as_seen(&dir, others[0]);
    bundled_without_secrets(&dir, targets(&dir));
    let texts = until("the others are scraped, with the failover that is over", || {
        let texts: Vec<String> = targets(&dir).into_iter().filter_map(scrape).collect();
        let recovered = "palisade_failover_phase_seconds_count{phase=\"recover\"} 1";
        let fenced = "palisade_fencing_commands_total{outcome=\"ok\"} ";
        let has = |what: &str, not: &str| {
            texts.iter().flat_map(|t| t.lines()).any(|l| l.starts_with(what) && l != not)
        };
        (texts.len() >= 3 && has(recovered, "") && has(fenced, &format!("{fenced}0")))
            .then_some(texts)
    });
    let mut known = BTreeSet::new();
    for text in &texts {
        let (families, wrong) = lint(text);
        assert!(wrong.is_empty(), "{wrong:#?}\n{text}");
        let series: usize = families.values().map(|family| family.series.len()).sum();
        assert!(series <= SERIES_MAX, "{series} series");
        assert!(!text.contains("BEGIN") && !text.contains("password"), "{text}");
        known.extend(names(&families));
    }
    if let Some(file) = std::env::var_os("PALISADE_SCRAPE") {
        std::fs::write(file, texts.join("")).expect("written");
    }
    for file in ["rules.yaml", "dashboard.json"] {
        let asked = asked_for(file);
        assert!(asked.len() > 10, "{file}: {asked:?}");
        let missing: Vec<_> = asked.difference(&known).collect();
        assert!(missing.is_empty(), "{file} asks for what no scrape has: {missing:?}");
    }
    let (ok, said) = palisade(&["dev", "stop", "--dir"], &dir);
    assert!(ok, "{said}");
    drop(running);
}

#[test]
fn the_linter_sees_each_fault() {
    let good = "# HELP palisade_x_total Things that were seen.\n# TYPE palisade_x_total counter\npalisade_x_total{kind=\"a\"} 1\n";
    assert_eq!(lint(good).1, Vec::<String>::new());
    for (from, to, fault) in [
        ("palisade_", "other_", "prefix"),
        ("x_total", "x", "_total"),
        ("counter", "gauge", "_total"),
        ("Things that were seen.", "", "says nothing"),
        ("kind=", "session=", "is new"),
        ("} 1\n", "} 1\npalisade_x_total{kind=\"a\"} 2\n", "twice"),
        ("# TYPE palisade_x_total counter\n", "", "of no type"),
        ("x_total", "x_ms_total", "unit"),
        ("} 1", "} one", "number"),
    ] {
        let wrong = lint(&good.replace(from, to)).1.join("\n");
        assert!(wrong.contains(fault), "{from:?} -> {to:?}: {wrong}");
    }
}
