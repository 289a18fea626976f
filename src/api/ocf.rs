//! `type: Ocf` of a `ResourcePlacement`: an OCF agent and what it is told.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{
    rules,
    text::{AgentName, Label, ParameterName},
};

/// An OCF agent of the machines. Each machine's own configuration says which agents it runs (`ocf_agents`).
///
/// Example: `{agent: heartbeat/IPaddr2, parameters: [{name: ip, value: 10.0.0.100}]}`, elsewhere written as
/// `ocf:heartbeat:IPaddr2 ip=10.0.0.100`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::rule(
    "!has(self.parameters) || self.parameters.all(p, self.parameters.exists_one(q, q.name == p.name))",
    "ocf.parameters: \"{self.parameters.filter(p, !self.parameters.exists_one(q, q.name == p.name))[0].name}\" is used twice: keep one",
))]
pub struct OcfParameters {
    /// Which agent. Example: `heartbeat/IPaddr2`.
    pub agent: AgentName,
    /// What it is told, by the names of its metadata. Each machine checks them with that before a start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 48))]
    pub parameters: Vec<OcfParameter>,
}

/// One parameter.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::told_by(
        "has(self.value) != has(self.secret)",
        "has(self.value) ? 'parameter: value and secret exclude each other: keep one' : 'parameter: value or secret is required'",
    ),
    validation = rules::rule(
        "!has(self.value) || !self.value.matches('[[:cntrl:]]')",
        "parameter.value of \"{self.name}\" has a control character, for example an end of line: write one line",
    ),
    validation = rules::rule(
        "!has(self.value) || !self.name.lowerAscii().matches('passw|secret|token|credential') || self.name.lowerAscii().matches('(file|path|dir)$')",
        "parameter \"{self.name}\" names a secret, and who reads this object would read it: write secret with the name of a file in /etc/palisade/secrets of the machines, in place of value",
    ),
)]
pub struct OcfParameter {
    /// As the agent's metadata says it. Example: `ip`.
    pub name: ParameterName,
    /// The value. Example: `10.0.0.100`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub value: Option<String>,
    /// In place of `value`: name of a file in `/etc/palisade/secrets` of each machine, root's alone, that has the value.
    /// Example: `galera-check`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Label>,
}
