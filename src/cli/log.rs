//! Logs: to standard error, for people or as JSON lines. `PALISADE_LOG` chooses levels: `info,totem=debug`;
//! `PALISADE_LOG_FORMAT=json` the form, also of what is started below.
//!
//! A JSON line is one flat object: `timestamp`, `level`, `target`, `message`, the fields of the line, and those of the spans around
//! it (`node`, `part`, `era`). docs/agent.md lists the fields.
//!
//! The Kubernetes client's own lines are left out unless somebody asks for them (`info,kube_client=warn`): it says each
//! failed request of each watch, and an API that is away is one line of ours, when it goes and when it is back.

use anyhow::Context as _;
use clap::ValueEnum;
use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::{JsonFields, Writer},
        time::{FormatTime as _, SystemTime},
    },
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One object a line.
    Json,
    /// For people.
    Text,
}

/// Starts the log of this process.
pub(crate) fn start(format: LogFormat) -> anyhow::Result<()> {
    let levels = std::env::var("PALISADE_LOG").unwrap_or_else(|_| "info".into());
    let levels = targets(&levels)?;
    let registry = tracing_subscriber::registry().with(levels);
    let asked = std::env::var("PALISADE_LOG_FORMAT").is_ok_and(|form| form == "json");
    let format = if asked { LogFormat::Json } else { format };
    match format {
        LogFormat::Json => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .fmt_fields(JsonFields::new())
                    .event_format(Flat)
                    .with_writer(std::io::stderr),
            )
            .init(),
        LogFormat::Text => registry
            .with(tracing_subscriber::fmt::layer().with_ansi(false).with_writer(std::io::stderr))
            .init(),
    }
    Ok(())
}

/// Starts the log of a process whose standard error is for people: at the end of a file.
pub(crate) fn start_in(path: &std::path::Path) -> anyhow::Result<()> {
    let levels = std::env::var("PALISADE_LOG").unwrap_or_else(|_| "info".into());
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    let file = file.with_context(|| format!("cannot write {}", path.display()))?;
    let to_file = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(file);
    tracing_subscriber::registry().with(targets(&levels)?).with(to_file).init();
    Ok(())
}

/// One object a line, without objects in it: what a log store indexes.
struct Flat;

impl<S> FormatEvent<S, JsonFields> for Flat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let mut line = Map::new();
        let mut add = |fields: &str| {
            if let Ok(Value::Object(fields)) = serde_json::from_str(fields) {
                line.extend(fields);
            }
        };
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(fields) = span.extensions().get::<FormattedFields<JsonFields>>() {
                add(&fields.fields);
            }
        }
        // What the line itself says counts more than what stands around it.
        let mut own = String::new();
        context.format_fields(Writer::new(&mut own), event)?;
        add(&own);
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let meta = event.metadata();
        line.insert("timestamp".into(), time.into());
        line.insert("level".into(), meta.level().as_str().into());
        line.insert("target".into(), meta.target().into());
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// What of the Kubernetes client is silent unless it is named.
const CHATTY: [&str; 2] = ["kube_client", "kube_runtime"];

fn targets(levels: &str) -> anyhow::Result<Targets> {
    let mut targets: Targets = levels
        .parse()
        .with_context(|| format!("PALISADE_LOG {levels:?} must read like info,totem=debug"))?;
    for chatty in CHATTY.into_iter().filter(|c| !levels.contains(c)) {
        targets = targets.with_target(chatty, LevelFilter::OFF);
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level_of(levels: &str, wanted: &str) -> Option<LevelFilter> {
        let targets = targets(levels).expect("it parses");
        targets.iter().find(|(target, _)| *target == wanted).map(|(_, level)| level)
    }

    #[test]
    fn the_clients_own_lines_come_only_when_they_are_asked_for() {
        assert_eq!(level_of("info", "kube_client"), Some(LevelFilter::OFF));
        assert_eq!(level_of("debug,totem=trace", "kube_runtime"), Some(LevelFilter::OFF));
        assert_eq!(level_of("info,kube_client=warn", "kube_client"), Some(LevelFilter::WARN));
    }

    #[derive(Clone, Default)]
    struct Kept(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl std::io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_json_line_is_flat_and_carries_where_it_was_said() {
        let kept = Kept::default();
        let to = kept.clone();
        let layer = tracing_subscriber::fmt::layer()
            .fmt_fields(JsonFields::new())
            .event_format(Flat)
            .with_writer(move || to.clone());
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let _agent = tracing::info_span!("agent", node = "ctl-1", part = "ring").entered();
            let era = |seq| base::RingId { seq, rep: base::NodeId::new(1).expect("not zero") };
            agent::log::era(Some(era(42)));
            tracing::info!(resource = "vip", "ordered \"here\"\n");
            agent::log::era(Some(era(43)));
            tracing::warn!(node = "ctl-9", "about another");
            agent::log::era(None);
            tracing::info!("of none");
        });
        let text = String::from_utf8(kept.0.lock().expect("not poisoned").clone()).expect("text");
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines.len(), 3, "{text}");
        let first = &lines[0];
        assert_eq!(
            (&first["node"], &first["era"], &first["part"]),
            (&"ctl-1".into(), &"1.2a".into(), &"ring".into())
        );
        assert_eq!(
            (&first["resource"], &first["message"]),
            (&"vip".into(), &"ordered \"here\"\n".into())
        );
        assert_eq!((&first["level"], first["timestamp"].is_string()), (&"INFO".into(), true));
        assert_eq!((&lines[1]["node"], &lines[1]["era"]), (&"ctl-9".into(), &"1.2b".into()));
        assert_eq!(lines[2].get("era"), None);
        assert!(
            lines.iter().all(|l| l.as_object().is_some_and(|o| o.values().all(|v| !v.is_object())))
        );
    }

    #[test]
    fn nonsense_says_how_it_must_read() {
        let said = targets("info,totem=loud").expect_err("it is refused").to_string();
        assert!(said.contains("info,totem=debug"), "{said}");
    }
}
