//! What is served, as clients ask for it: one list per version, or everything at once (aggregated).

use serde_json::{Value, json};

use crate::catalog::Catalog;
use crate::resource::Resource;

const VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// Kubernetes' own order for kinds of definitions.
const CUSTOM_VERBS: &[&str] =
    &["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
const STATUS_VERBS: &[&str] = &["get", "patch", "update"];

/// Kinds that are asked and not kept: group, plural, singular, kind.
pub(crate) const REVIEWS: &[(&str, &str, &str, &str)] = &[
    ("authentication.k8s.io", "selfsubjectreviews", "selfsubjectreview", "SelfSubjectReview"),
    (
        "authorization.k8s.io",
        "selfsubjectaccessreviews",
        "selfsubjectaccessreview",
        "SelfSubjectAccessReview",
    ),
];

/// Kinds that clients find here and that then get a 501 in so many words: without this kubectl and Helm say that there is no
/// such kind, and ask for a definition. Not to be listed, so that nobody meets them by chance. Group, plural, kind, short name.
const NOT_RUN: &[(&str, &str, &str, &str)] = &[
    ("", "pods", "Pod", "po"),
    ("batch", "jobs", "Job", ""),
    ("batch", "cronjobs", "CronJob", "cj"),
];
const NOT_RUN_VERBS: &[&str] = &["create", "delete", "get"];

/// `/api`.
pub(crate) fn core_versions(address: &str) -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"],
           "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]})
}

/// `/apis`.
pub(crate) fn groups(catalog: &Catalog) -> Value {
    let groups: Vec<Value> = names(catalog).iter().filter_map(|n| group(catalog, n)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn names(catalog: &Catalog) -> Vec<String> {
    let served = catalog.groups().into_iter().map(|(g, _)| g.to_owned()).filter(|g| !g.is_empty());
    let mut names: Vec<String> =
        served.chain(REVIEWS.iter().map(|(g, ..)| (*g).to_owned())).collect();
    names.push("batch".to_owned());
    names
}

fn versions<'a>(catalog: &'a Catalog, name: &str) -> Option<Vec<&'a str>> {
    let found = catalog.groups().into_iter().find(|(g, _)| *g == name).map(|(_, v)| v);
    let besides = REVIEWS.iter().any(|(g, ..)| *g == name) || name == "batch";
    found.or_else(|| besides.then(|| vec!["v1"]))
}

/// `/apis/GROUP`.
pub(crate) fn group(catalog: &Catalog, name: &str) -> Option<Value> {
    let versions: Vec<Value> = versions(catalog, name)?
        .iter()
        .map(|v| json!({"groupVersion": format!("{name}/{v}"), "version": v}))
        .collect();
    let preferred = versions.first().cloned();
    Some(json!({"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": versions,
                "preferredVersion": preferred}))
}

/// `/api/v1` and `/apis/GROUP/VERSION`.
pub(crate) fn resources(catalog: &Catalog, group: &str, version: &str) -> Option<Value> {
    versions(catalog, group)?.contains(&version).then_some(())?;
    let mut list = Vec::new();
    for resource in of(catalog, group, version) {
        let mut entry = json!({"name": resource.plural, "singularName": resource.singular,
            "namespaced": resource.namespaced, "kind": resource.kind, "verbs": verbs(resource)});
        if !resource.short_names.is_empty() {
            entry["shortNames"] = json!(resource.short_names);
        }
        if !resource.categories.is_empty() {
            entry["categories"] = json!(resource.categories);
        }
        list.push(entry);
        if resource.status {
            list.push(json!({"name": format!("{}/status", resource.plural), "singularName": "",
                "namespaced": resource.namespaced, "kind": resource.kind, "verbs": STATUS_VERBS}));
        }
    }
    for (_, plural, singular, kind) in REVIEWS.iter().filter(|(g, ..)| *g == group) {
        list.push(
            json!({"name": plural, "singularName": singular, "namespaced": false, "kind": kind,
                         "verbs": ["create"]}),
        );
    }
    for (_, plural, kind, short) in not_run(group, version) {
        let mut entry = json!({"name": plural, "singularName": kind.to_lowercase(), "namespaced": true,
            "kind": kind, "verbs": NOT_RUN_VERBS});
        if !short.is_empty() {
            entry["shortNames"] = json!([short]);
        }
        list.push(entry);
    }
    let group_version =
        if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Some(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version,
                "resources": list}))
}

fn not_run(
    group: &str,
    version: &str,
) -> impl Iterator<Item = &'static (&'static str, &'static str, &'static str, &'static str)> {
    NOT_RUN.iter().filter(move |(g, ..)| *g == group && version == "v1")
}

fn verbs(resource: &Resource) -> &'static [&'static str] {
    if resource.custom { CUSTOM_VERBS } else { VERBS }
}

fn of<'a>(
    catalog: &'a Catalog,
    group: &'a str,
    version: &'a str,
) -> impl Iterator<Item = &'a Resource> {
    let served = move |r: &&std::sync::Arc<Resource>| r.group == group && r.version == version;
    catalog.resources().iter().filter(served).map(AsRef::as_ref)
}

/// `/api` and `/apis` for clients that take everything at once. `form` is `v2` or `v2beta1`.
pub(crate) fn aggregated(catalog: &Catalog, core: bool, form: &str) -> Value {
    let names = if core { vec![String::new()] } else { names(catalog) };
    let items: Vec<Value> = names
        .iter()
        .map(|name| {
            let versions: Vec<Value> = versions(catalog, name)
                .unwrap_or_default()
                .iter()
                .map(|v| json!({"version": v, "freshness": "Current", "resources": all(catalog, name, v)}))
                .collect();
            let metadata = if name.is_empty() { json!({}) } else { json!({"name": name}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{form}"),
           "metadata": {}, "items": items})
}

fn all(catalog: &Catalog, group: &str, version: &str) -> Vec<Value> {
    let kind = |k: &str| json!({"group": group, "version": version, "kind": k});
    let mut list: Vec<Value> = of(catalog, group, version)
        .map(|resource| {
            let mut entry = json!({
                "resource": resource.plural, "responseKind": kind(&resource.kind),
                "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
                "singularResource": resource.singular, "verbs": verbs(resource),
            });
            if !resource.short_names.is_empty() {
                entry["shortNames"] = json!(resource.short_names);
            }
            if !resource.categories.is_empty() {
                entry["categories"] = json!(resource.categories);
            }
            if resource.status {
                entry["subresources"] = json!([{"subresource": "status",
                    "responseKind": kind(&resource.kind), "verbs": STATUS_VERBS}]);
            }
            entry
        })
        .collect();
    for (_, plural, singular, name) in REVIEWS.iter().filter(|(g, ..)| *g == group) {
        list.push(json!({"resource": plural, "responseKind": kind(name), "scope": "Cluster",
                         "singularResource": singular, "verbs": ["create"]}));
    }
    for (_, plural, name, short) in not_run(group, version) {
        let mut entry = json!({"resource": plural, "responseKind": kind(name), "scope": "Namespaced",
            "singularResource": name.to_lowercase(), "verbs": NOT_RUN_VERBS});
        if !short.is_empty() {
            entry["shortNames"] = json!([short]);
        }
        list.push(entry);
    }
    list
}
