//! One row per built-in kind.

use super::Row;

const NOT_RUN: Option<&str> = Some("devapi keeps this object and runs nothing: no pods come of it");
const NOT_ENFORCED: Option<&str> = Some("devapi keeps this object and does not enforce it");

const PLAIN: Row = Row {
    group: "",
    version: "v1",
    kind: "",
    plural: "",
    short: &[],
    categories: &[],
    namespaced: true,
    status: false,
    scale: false,
    unconditional_update: true,
    generation: false,
    note: None,
    selectable: &[],
    definition: "",
};

pub(super) const ROWS: &[Row] = &[
    Row {
        kind: "Namespace",
        plural: "namespaces",
        short: &["ns"],
        namespaced: false,
        status: true,
        selectable: &[("status.phase", ".status.phase")],
        definition: "io.k8s.api.core.v1.Namespace",
        ..PLAIN
    },
    Row {
        kind: "Secret",
        plural: "secrets",
        selectable: &[("type", ".type")],
        definition: "io.k8s.api.core.v1.Secret",
        ..PLAIN
    },
    Row {
        kind: "ConfigMap",
        plural: "configmaps",
        short: &["cm"],
        definition: "io.k8s.api.core.v1.ConfigMap",
        ..PLAIN
    },
    Row {
        kind: "Event",
        plural: "events",
        short: &["ev"],
        selectable: &[
            ("involvedObject.kind", ".involvedObject.kind"),
            ("involvedObject.namespace", ".involvedObject.namespace"),
            ("involvedObject.name", ".involvedObject.name"),
            ("involvedObject.uid", ".involvedObject.uid"),
            ("involvedObject.apiVersion", ".involvedObject.apiVersion"),
            ("involvedObject.resourceVersion", ".involvedObject.resourceVersion"),
            ("involvedObject.fieldPath", ".involvedObject.fieldPath"),
            ("reason", ".reason"),
            ("reportingComponent", ".reportingComponent"),
            ("source", ".source.component"),
            ("type", ".type"),
        ],
        definition: "io.k8s.api.core.v1.Event",
        ..PLAIN
    },
    Row {
        group: "events.k8s.io",
        kind: "Event",
        plural: "events",
        short: &["ev"],
        selectable: &[
            ("regarding.kind", ".regarding.kind"),
            ("regarding.namespace", ".regarding.namespace"),
            ("regarding.name", ".regarding.name"),
            ("regarding.uid", ".regarding.uid"),
            ("reason", ".reason"),
            ("reportingController", ".reportingController"),
            ("type", ".type"),
        ],
        definition: "io.k8s.api.events.v1.Event",
        ..PLAIN
    },
    Row {
        kind: "Node",
        plural: "nodes",
        short: &["no"],
        namespaced: false,
        status: true,
        selectable: &[("spec.unschedulable", ".spec.unschedulable")],
        definition: "io.k8s.api.core.v1.Node",
        ..PLAIN
    },
    Row {
        kind: "Service",
        plural: "services",
        short: &["svc"],
        categories: &["all"],
        status: true,
        note: Some("devapi keeps this object and routes nothing: it has no cluster address"),
        selectable: &[("spec.type", ".spec.type"), ("spec.clusterIP", ".spec.clusterIP")],
        definition: "io.k8s.api.core.v1.Service",
        ..PLAIN
    },
    Row {
        kind: "ServiceAccount",
        plural: "serviceaccounts",
        short: &["sa"],
        definition: "io.k8s.api.core.v1.ServiceAccount",
        ..PLAIN
    },
    Row {
        group: "coordination.k8s.io",
        kind: "Lease",
        plural: "leases",
        unconditional_update: false,
        definition: "io.k8s.api.coordination.v1.Lease",
        ..PLAIN
    },
    Row {
        group: "apps",
        kind: "Deployment",
        plural: "deployments",
        short: &["deploy"],
        categories: &["all"],
        status: true,
        scale: true,
        generation: true,
        note: NOT_RUN,
        definition: "io.k8s.api.apps.v1.Deployment",
        ..PLAIN
    },
    Row {
        group: "apps",
        kind: "DaemonSet",
        plural: "daemonsets",
        short: &["ds"],
        categories: &["all"],
        status: true,
        generation: true,
        note: NOT_RUN,
        definition: "io.k8s.api.apps.v1.DaemonSet",
        ..PLAIN
    },
    Row {
        group: "rbac.authorization.k8s.io",
        kind: "Role",
        plural: "roles",
        note: NOT_ENFORCED,
        definition: "io.k8s.api.rbac.v1.Role",
        ..PLAIN
    },
    Row {
        group: "rbac.authorization.k8s.io",
        kind: "RoleBinding",
        plural: "rolebindings",
        note: NOT_ENFORCED,
        definition: "io.k8s.api.rbac.v1.RoleBinding",
        ..PLAIN
    },
    Row {
        group: "rbac.authorization.k8s.io",
        kind: "ClusterRole",
        plural: "clusterroles",
        namespaced: false,
        note: NOT_ENFORCED,
        definition: "io.k8s.api.rbac.v1.ClusterRole",
        ..PLAIN
    },
    Row {
        group: "rbac.authorization.k8s.io",
        kind: "ClusterRoleBinding",
        plural: "clusterrolebindings",
        namespaced: false,
        note: NOT_ENFORCED,
        definition: "io.k8s.api.rbac.v1.ClusterRoleBinding",
        ..PLAIN
    },
    Row {
        group: "networking.k8s.io",
        kind: "NetworkPolicy",
        plural: "networkpolicies",
        short: &["netpol"],
        generation: true,
        note: NOT_ENFORCED,
        definition: "io.k8s.api.networking.v1.NetworkPolicy",
        ..PLAIN
    },
    Row {
        group: "policy",
        kind: "PodDisruptionBudget",
        plural: "poddisruptionbudgets",
        short: &["pdb"],
        status: true,
        unconditional_update: false,
        generation: true,
        note: NOT_ENFORCED,
        definition: "io.k8s.api.policy.v1.PodDisruptionBudget",
        ..PLAIN
    },
    Row {
        group: "scheduling.k8s.io",
        kind: "PriorityClass",
        plural: "priorityclasses",
        short: &["pc"],
        namespaced: false,
        generation: true,
        note: NOT_ENFORCED,
        definition: "io.k8s.api.scheduling.v1.PriorityClass",
        ..PLAIN
    },
    Row {
        group: "admissionregistration.k8s.io",
        kind: "ValidatingAdmissionPolicy",
        plural: "validatingadmissionpolicies",
        categories: &["api-extensions"],
        namespaced: false,
        status: true,
        unconditional_update: false,
        generation: true,
        definition: "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicy",
        ..PLAIN
    },
    Row {
        group: "admissionregistration.k8s.io",
        kind: "ValidatingAdmissionPolicyBinding",
        plural: "validatingadmissionpolicybindings",
        categories: &["api-extensions"],
        namespaced: false,
        unconditional_update: false,
        generation: true,
        definition: "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBinding",
        ..PLAIN
    },
    Row {
        group: super::DEFINITIONS_GROUP,
        kind: "CustomResourceDefinition",
        plural: "customresourcedefinitions",
        short: &["crd", "crds"],
        categories: &["api-extensions"],
        namespaced: false,
        status: true,
        unconditional_update: false,
        generation: true,
        definition: "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
        ..PLAIN
    },
];
