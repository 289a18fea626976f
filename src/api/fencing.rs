//! `FencingRequest`, `FencingConfirmation`, `FencingOperation`: asking, confirming, and what was done. Three kinds,
//! so that RBAC can separate who asks from who confirms (CLUSTER.md section 7).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ClusterRef, Condition,
    cluster::FencingAction,
    rules,
    text::{Incident, Label, ObjectName},
};

/// Asks once for the power-off of a member. The cluster refuses it when the others would lose quorum.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "palisade.dev",
    version = "v1alpha1",
    kind = "FencingRequest",
    plural = "fencingrequests",
    shortname = "fr",
    category = "palisade",
    namespaced,
    status = "FencingRequestStatus",
    derive = "PartialEq",
    doc = "Asks once for the power-off of a member. The cluster refuses it when the others would lose quorum.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Node", type_ = "string", json_path = ".spec.node"),
    printcolumn(name = "Done", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Says", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    selectable = ".spec.clusterRef.name",
    selectable = ".spec.node",
    validation = rules::era_grows(),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::immutable("FencingRequest"))]
pub struct FencingRequestSpec {
    /// The cluster.
    pub cluster_ref: ClusterRef,
    /// Name of the member. Example: `ctl-2`.
    pub node: Label,
    /// Off and on again, or off.
    #[serde(default)]
    pub action: FencingAction,
    /// Why; stands in the record. Example: `kernel hangs, ticket 4711`.
    #[schemars(length(min = 1, max = 200))]
    pub reason: String,
}

/// Confirms once that the machine of a member is off. Counts for one incident, and not while the member is heard.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "palisade.dev",
    version = "v1alpha1",
    kind = "FencingConfirmation",
    plural = "fencingconfirmations",
    shortname = "fc",
    category = "palisade",
    namespaced,
    status = "FencingRequestStatus",
    derive = "PartialEq",
    doc = "Confirms once that the machine of a member is off. Counts for one incident, and not while the member is heard.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Node", type_ = "string", json_path = ".spec.node"),
    printcolumn(name = "Incident", type_ = "string", json_path = ".spec.incident"),
    printcolumn(name = "By", type_ = "string", json_path = ".spec.confirmedBy"),
    printcolumn(name = "Done", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Says", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    selectable = ".spec.clusterRef.name",
    selectable = ".spec.node",
    validation = rules::era_grows(),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::immutable("FencingConfirmation"),
    validation = rules::rule(
        "self.iHaveSeenThatItIsOff",
        "spec.iHaveSeenThatItIsOff must be true: look at the machine first; if it still runs, two machines will write to one disk",
    ),
)]
pub struct FencingConfirmationSpec {
    /// The cluster.
    pub cluster_ref: ClusterRef,
    /// Name of the member. Example: `ctl-2`.
    pub node: Label,
    /// Which incident, as `palisade status` and the `FencingOperation` show it. Example: `1.2a`.
    pub incident: Incident,
    /// Who has looked; stands in the record. Example: `alice`.
    #[schemars(length(min = 1, max = 128))]
    pub confirmed_by: String,
    /// Says that somebody has seen the machine without power.
    pub i_have_seen_that_it_is_off: bool,
}

/// What became of a request or a confirmation.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FencingRequestStatus {
    /// Generation of the spec that was judged last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Sequence of the ring whose era the writer belongs to. Never decreases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_era: Option<i64>,
    /// The `FencingOperation` that carries it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<ObjectName>,
    /// Accepted, Ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
}

/// The record of one incident of one member: what was intended, what was tried, what proves that it is off.
///
/// Written by the coordinator alone and named from member and incident, so that writing it twice makes one object.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "palisade.dev",
    version = "v1alpha1",
    kind = "FencingOperation",
    plural = "fencingoperations",
    shortname = "fo",
    category = "palisade",
    namespaced,
    status = "FencingOperationStatus",
    derive = "PartialEq",
    doc = "The record of one incident of one member: what was intended, tried and proven. Written by the cluster.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Node", type_ = "string", json_path = ".spec.node"),
    printcolumn(name = "Incident", type_ = "string", json_path = ".spec.incident"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Evidence", type_ = "string", json_path = ".status.evidence.kind"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    selectable = ".spec.clusterRef.name",
    selectable = ".spec.node",
    selectable = ".status.phase",
    validation = rules::era_grows(),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::immutable("FencingOperation"))]
pub struct FencingOperationSpec {
    /// The cluster.
    pub cluster_ref: ClusterRef,
    /// Name of the member.
    pub node: Label,
    /// Its number on the ring.
    #[schemars(range(min = 1, max = 65535))]
    pub node_id: u32,
    /// Ring id at which its debt arose.
    pub incident: Incident,
}

/// How far an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OperationPhase {
    /// The evidence has taken effect and every command's deadline has passed.
    Closed,
    /// No more attempts are made until a person looks.
    Suspended,
    /// There is evidence; the record is not closed yet.
    Proven,
    /// Being powered off.
    Running,
    /// Waiting: for a grace, for quorum, for a person.
    Waiting,
}

/// What an operation has come to.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FencingOperationStatus {
    /// Sequence of the ring whose era the writer belongs to. Never decreases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_era: Option<i64>,
    /// How far it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<OperationPhase>,
    /// Why it is done, or what it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub reason: Option<String>,
    /// How often it was commanded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<i64>,
    /// Member that carries it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executor: Option<Label>,
    /// What came of the last attempt, where it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_failure: Option<String>,
    /// What proves that the machine is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// When it was opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened_at: Option<Time>,
    /// When it was closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Time>,
}

/// What proves that a machine is off, or holds nothing.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// Which kind.
    pub kind: EvidenceKind,
    /// Who says so: a member, or the person who confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub by: Option<String>,
}

/// Kinds of evidence (CLUSTER.md section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EvidenceKind {
    /// The machine runs with another boot id than its newest promise names.
    ChangedBootId,
    /// The last message of its agent said that it holds nothing.
    CleanLeave,
    /// A person has seen it.
    Confirmation,
    /// The member is back in an open era, and says itself what it runs.
    Returned,
    /// It must have fenced itself by now; its watchdog was proven.
    SelfFencingBound,
    /// Its BMC said off in a session opened after the command.
    VerifiedOff,
}
