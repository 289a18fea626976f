//! The columns of the built-in kinds, and ages as kubectl writes them.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::resource::Resource;

/// Names of the columns behind the name. A plus marks those of `-o wide`.
pub(super) fn heads(resource: &Resource) -> &'static [&'static str] {
    match resource.kind.as_str() {
        "Namespace" => &["Status", "Age"],
        "Secret" => &["Type", "Data", "Age"],
        "ConfigMap" => &["Data", "Age"],
        "Event" => &[
            "Last Seen",
            "Type",
            "Reason",
            "Object",
            "Subobject+",
            "Source+",
            "Message",
            "First Seen+",
            "Count+",
            "Name+",
        ],
        "Node" => &["Status", "Roles", "Age", "Version"],
        "Service" => &["Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector+"],
        "Lease" => &["Holder", "Age"],
        "Deployment" => &["Ready", "Up-to-date", "Available", "Age"],
        "DaemonSet" => {
            &["Desired", "Current", "Ready", "Up-to-date", "Available", "Node Selector", "Age"]
        }
        "Role" | "ClusterRole" | "CustomResourceDefinition" => &["Created At"],
        "RoleBinding" | "ClusterRoleBinding" => {
            &["Role", "Age", "Users+", "Groups+", "ServiceAccounts+"]
        }
        "NetworkPolicy" => &["Pod-Selector", "Age"],
        "PodDisruptionBudget" => {
            &["Min Available", "Max Unavailable", "Allowed Disruptions", "Age"]
        }
        "PriorityClass" => &["Value", "Global-Default", "Age", "PreemptionPolicy"],
        "ValidatingAdmissionPolicy" => &["Validations", "ParamKind", "Age"],
        "ValidatingAdmissionPolicyBinding" => &["PolicyName", "ParamRef", "Age"],
        _ => &["Age"],
    }
}

pub(super) fn cells(resource: &Resource, o: &Value, now: Timestamp) -> Vec<Value> {
    let age = || age(o, now);
    let text = |pointer: &str, none: &str| -> Value {
        match o.pointer(pointer) {
            Some(Value::String(s)) => s.clone().into(),
            Some(Value::Null) | None => none.into(),
            Some(other) => other.to_string().into(),
        }
    };
    let number = |pointer: &str| json!(o.pointer(pointer).and_then(Value::as_i64).unwrap_or(0));
    let count = |field: &str| -> usize {
        o.get(field).and_then(Value::as_object).map_or(0, serde_json::Map::len)
    };
    match resource.kind.as_str() {
        "Namespace" => vec![text("/status/phase", ""), age()],
        "Secret" => vec![text("/type", ""), json!(count("data")), age()],
        "ConfigMap" => vec![json!(count("data") + count("binaryData")), age()],
        "Event" => event(o, now),
        "Node" => vec![ready(o), roles(o), age(), text("/status/nodeInfo/kubeletVersion", "")],
        "Service" => vec![
            text("/spec/type", "ClusterIP"),
            text("/spec/clusterIP", "<none>"),
            "<none>".into(),
            ports(o),
            age(),
            pairs(&o["spec"]["selector"]),
        ],
        "Lease" => vec![text("/spec/holderIdentity", ""), age()],
        "Deployment" => {
            let ready = number("/status/readyReplicas");
            let wanted = number("/spec/replicas");
            vec![
                format!("{ready}/{wanted}").into(),
                number("/status/updatedReplicas"),
                number("/status/availableReplicas"),
                age(),
            ]
        }
        "DaemonSet" => vec![
            number("/status/desiredNumberScheduled"),
            number("/status/currentNumberScheduled"),
            number("/status/numberReady"),
            number("/status/updatedNumberScheduled"),
            number("/status/numberAvailable"),
            pairs(&o["spec"]["template"]["spec"]["nodeSelector"]),
            age(),
        ],
        "Role" | "ClusterRole" | "CustomResourceDefinition" => {
            vec![text("/metadata/creationTimestamp", "")]
        }
        "RoleBinding" | "ClusterRoleBinding" => {
            let part = |p| o.pointer(p).and_then(Value::as_str).unwrap_or_default();
            let role = format!("{}/{}", part("/roleRef/kind"), part("/roleRef/name"));
            let subjects = |kind| subjects(o, kind);
            let accounts = subjects("ServiceAccount");
            vec![role.into(), age(), subjects("User"), subjects("Group"), accounts]
        }
        "NetworkPolicy" => vec![pairs(&o["spec"]["podSelector"]["matchLabels"]), age()],
        "PodDisruptionBudget" => vec![
            text("/spec/minAvailable", "N/A"),
            text("/spec/maxUnavailable", "N/A"),
            number("/status/disruptionsAllowed"),
            age(),
        ],
        "PriorityClass" => vec![
            number("/value"),
            json!(o["globalDefault"] == true),
            age(),
            text("/preemptionPolicy", ""),
        ],
        "ValidatingAdmissionPolicy" => {
            let rules = o["spec"]["validations"].as_array().map_or(0, Vec::len);
            vec![json!(rules), text("/spec/paramKind/kind", "<unset>"), age()]
        }
        "ValidatingAdmissionPolicyBinding" => {
            vec![text("/spec/policyName", ""), text("/spec/paramRef/name", "<unset>"), age()]
        }
        _ => vec![age()],
    }
}

fn event(o: &Value, now: Timestamp) -> Vec<Value> {
    let first = |fields: &[&str]| {
        fields.iter().find_map(|f| o.pointer(f).and_then(Value::as_str)).map(str::to_owned)
    };
    let seen = first(&[
        "/series/lastObservedTime",
        "/lastTimestamp",
        "/deprecatedLastTimestamp",
        "/eventTime",
        "/metadata/creationTimestamp",
    ]);
    let object = ["involvedObject", "regarding"].iter().find_map(|f| o.get(*f));
    let part = |f: &str| object.and_then(|o| o[f].as_str()).unwrap_or_default();
    let message = first(&["/message", "/note"]).unwrap_or_default();
    let begun = first(&["/firstTimestamp", "/deprecatedFirstTimestamp", "/eventTime"]);
    let count = ["/series/count", "/count", "/deprecatedCount"]
        .iter()
        .find_map(|f| o.pointer(f).and_then(Value::as_i64))
        .unwrap_or(1);
    let source: Vec<String> = ["/source", "/deprecatedSource"]
        .iter()
        .filter_map(|f| o.pointer(f))
        .flat_map(|s| [s["component"].as_str(), s["host"].as_str()])
        .flatten()
        .filter(|s| !s.is_empty())
        .map(str::to_owned)
        .collect();
    let source = match source.as_slice() {
        [] => first(&["/reportingComponent", "/reportingController"]).unwrap_or_default(),
        parts => parts.join(", "),
    };
    vec![
        ago(seen.as_deref(), now),
        o["type"].clone(),
        o["reason"].clone(),
        format!("{}/{}", part("kind").to_lowercase(), part("name")).into(),
        part("fieldPath").into(),
        source.into(),
        message.trim().into(),
        ago(begun.as_deref(), now),
        json!(count),
        o["metadata"]["name"].clone(),
    ]
}

/// The names of one kind of subjects, as the wide table of a binding has them.
fn subjects(o: &Value, kind: &str) -> Value {
    let all = o["subjects"].as_array().into_iter().flatten().filter(|s| s["kind"] == kind);
    let name = |s: &Value| {
        let name = s["name"].as_str().unwrap_or_default();
        match s["namespace"].as_str() {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name.to_owned(),
        }
    };
    all.map(name).collect::<Vec<_>>().join(", ").into()
}

fn ready(o: &Value) -> Value {
    let conditions = o.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions.into_iter().flatten().find(|c| c["type"] == "Ready");
    let word = match ready.map(|c| c["status"] == "True") {
        Some(true) => "Ready",
        Some(false) => "NotReady",
        None => "Unknown",
    };
    let cordoned = if o["spec"]["unschedulable"] == true { ",SchedulingDisabled" } else { "" };
    format!("{word}{cordoned}").into()
}

fn roles(o: &Value) -> Value {
    let roles: Vec<&str> = crate::meta::labels(o)
        .into_iter()
        .flatten()
        .filter_map(|(k, _)| k.strip_prefix("node-role.kubernetes.io/"))
        .filter(|r| !r.is_empty())
        .collect();
    if roles.is_empty() { "<none>".into() } else { roles.join(",").into() }
}

fn ports(o: &Value) -> Value {
    let ports: Vec<String> = o
        .pointer("/spec/ports")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|p| format!("{}/{}", p["port"], p["protocol"].as_str().unwrap_or("TCP")))
        .collect();
    if ports.is_empty() { "<none>".into() } else { ports.join(",").into() }
}

fn pairs(map: &Value) -> Value {
    let pairs: Vec<String> = map
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect();
    if pairs.is_empty() { "<none>".into() } else { pairs.join(",").into() }
}

pub(super) fn age(o: &Value, now: Timestamp) -> Value {
    ago(o.pointer("/metadata/creationTimestamp").and_then(Value::as_str), now)
}

/// How long ago, in kubectl's way.
pub(super) fn ago(time: Option<&str>, now: Timestamp) -> Value {
    match time.and_then(|t| t.parse::<Timestamp>().ok()) {
        Some(then) => span(now.as_second() - then.as_second()).into(),
        None => "<unknown>".into(),
    }
}

fn span(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let two = |big: i64, b: &str, small: i64, s: &str| {
        let rest = seconds % big / small;
        if rest == 0 {
            format!("{}{b}", seconds / big)
        } else {
            format!("{}{b}{rest}{s}", seconds / big)
        }
    };
    match seconds {
        ..-1 => "<invalid>".into(),
        -1 => "0s".into(),
        0..120 => format!("{seconds}s"),
        120..600 => two(MINUTE, "m", 1, "s"),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(HOUR, "h", MINUTE, "m"),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(DAY, "d", HOUR, "h"),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => two(YEAR, "y", DAY, "d"),
        _ => format!("{}y", seconds / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_kubectl_writes_them() {
        let cases: &[(i64, &str)] = &[
            (-5, "<invalid>"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (700, "11m"),
            (10_860, "3h1m"),
            (86_400, "24h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (864_000, "10d"),
        ];
        for (seconds, text) in cases {
            assert_eq!(span(*seconds), *text);
        }
    }
}
