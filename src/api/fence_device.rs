//! `FenceDevice`: where the power of machines can be switched and read.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ClusterRef, Condition, DeletionPolicy, rules,
    text::{Address, Fingerprint, HostName, Label, ObjectName, Span, SystemId, Uuid},
};

/// A device that powers machines off, for example the BMC of one machine.
///
/// Credentials are in a Secret with the entries `username` and `password`; only the fencer reads it.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "palisade.dev",
    version = "v1alpha1",
    kind = "FenceDevice",
    plural = "fencedevices",
    shortname = "fd",
    category = "palisade",
    namespaced,
    status = "FenceDeviceStatus",
    derive = "PartialEq",
    doc = "A device that powers machines off. Credentials are in a Secret with the entries username and password.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Driver", type_ = "string", json_path = ".spec.driver"),
    printcolumn(name = "Targets", type_ = "string", json_path = ".spec.targets"),
    printcolumn(name = "Level", type_ = "integer", json_path = ".spec.level"),
    printcolumn(name = "Accepted", type_ = "string", json_path = ".status.conditions[?(@.type=='Accepted')].status"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    selectable = ".spec.clusterRef.name",
    validation = rules::era_grows(),
    validation = rules::rule(
        "self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')",
        "metadata.name \"{self.metadata.name}\" must be at most 63 letters, digits and -",
    ),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::same_cluster(),
    validation = rules::rule(
        "self.driver != 'Ipmi' || has(self.ipmi)",
        "spec.ipmi: address is required for driver Ipmi",
    ),
    validation = rules::rule(
        "self.driver != 'Redfish' || has(self.redfish)",
        "spec.redfish: address is required for driver Redfish",
    ),
    validation = rules::rule(
        "self.driver == 'Redfish' || !has(self.redfish)",
        "spec.redfish is for driver Redfish, but driver is {self.driver}: correct the driver, or remove it",
    ),
    validation = rules::rule(
        "self.driver == 'Ipmi' || !has(self.ipmi)",
        "spec.ipmi is for driver Ipmi, but driver is {self.driver}: correct the driver, or remove it",
    ),
    validation = rules::rule(
        "self.targets.size() == 1",
        "spec.targets: a BMC switches its own machine only, but {self.targets.size()} are named: make one FenceDevice for each BMC",
    ),
    validation = rules::rule(
        "self.targets.all(t, self.targets.exists_one(u, u == t))",
        "spec.targets: \"{self.targets.filter(t, !self.targets.exists_one(u, u == t))[0]}\" is named twice",
    ),
    validation = rules::rule(
        "!self.timeout.matches('^[0-9]{1,9}(ms|s|m|h)$') || !self.delay.matches('^[0-9]{1,9}(ms|s|m|h)$') || duration(self.timeout) > duration(self.delay)",
        "spec.timeout {self.timeout} must be longer than delay {self.delay}: the delay counts as part of it",
    ),
)]
pub struct FenceDeviceSpec {
    /// The cluster.
    pub cluster_ref: ClusterRef,
    /// How to talk to it.
    pub driver: Driver,
    /// For `driver: Ipmi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipmi: Option<Ipmi>,
    /// For `driver: Redfish`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redfish: Option<Redfish>,
    /// The Secret with `username` and `password`, and `ca.crt` where an authority vouches for a Redfish service.
    pub credentials_ref: CredentialsRef,
    /// Members that it can switch off. Example: `["ctl-1"]`.
    #[schemars(length(min = 1, max = 31))]
    pub targets: Vec<Label>,
    /// Levels are tried in ascending order without a gap; all devices of one level must succeed.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 9))]
    pub level: u32,
    /// Waited for before the first command. 0s to 60s.
    #[serde(default = "no_delay")]
    #[x_kube(validation = rules::between("0s", "60s"))]
    pub delay: Span,
    /// For the whole operation: command, power-off, reading back. 5s to 10m.
    #[serde(default = "half_a_minute")]
    #[x_kube(validation = rules::between("5s", "10m"))]
    pub timeout: Span,
    /// What the device must say that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Whether the device stays in use when this object is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

fn one() -> u32 {
    1
}

fn no_delay() -> Span {
    "0s".into()
}

fn half_a_minute() -> Span {
    "30s".into()
}

/// Drivers of power devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Driver {
    /// IPMI 2.0 over RMCP+.
    Ipmi,
    /// Redfish over HTTPS.
    Redfish,
}

/// A BMC that speaks IPMI 2.0.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ipmi {
    /// Address of the BMC. Example: `10.9.0.11`.
    pub address: Address,
    /// UDP port.
    #[serde(default = "ipmi_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u32,
    /// 17, or 3 where the BMC knows nothing better.
    #[serde(default = "suite_17")]
    #[schemars(range(min = 0, max = 255))]
    #[x_kube(validation = rules::rule(
        "self in [3, 17]",
        "cipher suite {self} is refused: use 17, or 3 where the BMC knows nothing better",
    ))]
    pub cipher_suite: u32,
}

fn ipmi_port() -> u32 {
    623
}

fn suite_17() -> u32 {
    17
}

/// A BMC that speaks Redfish over HTTPS. Its certificate is the one of `certificateSha256`, or `ca.crt` of the Secret
/// vouches for it; without one of them nothing is sent to it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::rule(
    "!has(self.certificateSha256) || !has(self.serverName)",
    "serverName is for certificates that ca.crt vouches for: remove it, or certificateSha256",
))]
pub struct Redfish {
    /// Address of the BMC. Example: `10.9.0.11`.
    pub address: Address,
    /// TCP port.
    #[serde(default = "https_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u32,
    /// Which system of the service, by its `Id` or path; may be missing where there is only one. Example: `1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_id: Option<SystemId>,
    /// SHA-256 of the BMC's certificate, which may then be self-signed. Compare it on the BMC's own page before writing it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_sha256: Option<Fingerprint>,
    /// With `ca.crt`: the name in a certificate that does not carry the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<HostName>,
}

fn https_port() -> u32 {
    443
}

/// A Secret in this namespace.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsRef {
    /// Name of the Secret. Example: `bmc-ctl-1`.
    pub name: ObjectName,
}

/// What a device must say that it belongs to.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// UUID of the machine, as the machine itself reports it. Recording what the BMC says would enrol crossed cables.
    pub system_uuid: Uuid,
}

/// What is true of a device.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FenceDeviceStatus {
    /// Generation of the spec that was judged last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Sequence of the ring whose era the writer belongs to. Never decreases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_era: Option<i64>,
    /// Accepted, Ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
}
