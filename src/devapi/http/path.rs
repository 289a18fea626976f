//! Paths into what they name.

use crate::discovery::REVIEWS;
use crate::failure::Failure;
use crate::resource::Resource;

/// What a path names.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Route {
    Health,
    Version,
    Core,
    Groups,
    Group(String),
    GroupVersion { group: String, version: String },
    OpenApiIndex,
    OpenApi { group: String, version: String },
    Swagger,
    Review { kind: &'static str },
    Objects(Objects),
    Unknown,
}

/// A kind's collection, or one object, or a part of one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Objects {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) namespace: String,
    pub(super) plural: String,
    pub(super) name: String,
    pub(super) subresource: String,
}

/// Reads a path, taken apart at its slashes.
pub(super) fn route(segments: &[String]) -> Route {
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let own = |s: &str| s.to_owned();
    match segments.as_slice() {
        ["healthz" | "readyz" | "livez", ..] => Route::Health,
        ["version"] => Route::Version,
        ["api"] => Route::Core,
        ["apis"] => Route::Groups,
        ["apis", group] => Route::Group(own(group)),
        ["api", "v1"] => Route::GroupVersion { group: String::new(), version: own("v1") },
        ["apis", group, version] => {
            Route::GroupVersion { group: own(group), version: own(version) }
        }
        ["openapi", "v2"] => Route::Swagger,
        ["openapi", "v3"] => Route::OpenApiIndex,
        ["openapi", "v3", "api", version] => {
            Route::OpenApi { group: String::new(), version: own(version) }
        }
        ["openapi", "v3", "apis", group, version] => {
            Route::OpenApi { group: own(group), version: own(version) }
        }
        ["api", version, rest @ ..] => objects("", version, rest),
        ["apis", group, version, rest @ ..] => {
            let review = REVIEWS.iter().find(|(g, plural, ..)| g == group && rest == [*plural]);
            match review {
                Some((.., kind)) => Route::Review { kind },
                None => objects(group, version, rest),
            }
        }
        _ => Route::Unknown,
    }
}

fn objects(group: &str, version: &str, rest: &[&str]) -> Route {
    let base =
        || Objects { group: group.to_owned(), version: version.to_owned(), ..Objects::default() };
    let at = |namespace: &str, plural: &str, name: &str, subresource: &str| {
        Route::Objects(Objects {
            namespace: namespace.to_owned(),
            plural: plural.to_owned(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
            ..base()
        })
    };
    match rest {
        ["namespaces", name, sub @ ("status" | "finalize")] if group.is_empty() => {
            at("", "namespaces", name, sub)
        }
        ["namespaces", namespace, plural] => at(namespace, plural, "", ""),
        ["namespaces", namespace, plural, name] => at(namespace, plural, name, ""),
        ["namespaces", namespace, plural, name, sub] => at(namespace, plural, name, sub),
        [plural] => at("", plural, "", ""),
        [plural, name] => at("", plural, name, ""),
        [plural, name, sub] => at("", plural, name, sub),
        _ => Route::Unknown,
    }
}

/// Kinds of Kubernetes that devapi leaves out: asked for, they get a 501 that says so instead of a 404.
const LEFT_OUT: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "pods",
            "podtemplates",
            "replicationcontrollers",
            "endpoints",
            "persistentvolumes",
            "persistentvolumeclaims",
            "limitranges",
            "resourcequotas",
            "bindings",
            "componentstatuses",
        ],
    ),
    ("apps", &["statefulsets", "replicasets", "controllerrevisions"]),
    ("batch", &["jobs", "cronjobs"]),
    ("autoscaling", &["horizontalpodautoscalers"]),
    ("networking.k8s.io", &["ingresses", "ingressclasses"]),
    (
        "admissionregistration.k8s.io",
        &["validatingwebhookconfigurations", "mutatingwebhookconfigurations"],
    ),
    (
        "authorization.k8s.io",
        &["subjectaccessreviews", "selfsubjectrulesreviews", "localsubjectaccessreviews"],
    ),
    ("authentication.k8s.io", &["tokenreviews"]),
    ("storage.k8s.io", &["storageclasses", "csidrivers", "csinodes", "volumeattachments"]),
    ("certificates.k8s.io", &["certificatesigningrequests"]),
    ("discovery.k8s.io", &["endpointslices"]),
    ("apiregistration.k8s.io", &["apiservices"]),
];

/// The answer for a kind that is not served.
pub(super) fn unserved(at: &Objects) -> Failure {
    let left_out = LEFT_OUT
        .iter()
        .any(|(group, plurals)| *group == at.group && plurals.contains(&at.plural.as_str()));
    if left_out {
        return Failure::not_implemented(&format!("the kind {} is not served", at.plural));
    }
    Failure::no_such_path()
}

/// The answer for a part of an object that is not served.
pub(super) fn subresource(resource: &Resource, name: &str) -> Failure {
    const KNOWN: &[&str] =
        &["token", "finalize", "proxy", "scale", "approval", "ephemeralcontainers"];
    if !resource.custom && KNOWN.contains(&name) {
        return Failure::not_implemented(&format!("the subresource {}/{name}", resource.plural));
    }
    let mut failure = Failure::no_such_path();
    failure.details = Some(serde_json::json!({"kind": resource.plural}));
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> Route {
        let segments: Vec<String> =
            path.split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect();
        route(&segments)
    }

    #[test]
    fn paths_name_what_they_name_in_kubernetes() {
        let objects = |group: &str, namespace: &str, plural: &str, name: &str, sub: &str| {
            Route::Objects(Objects {
                group: group.into(),
                version: "v1".into(),
                namespace: namespace.into(),
                plural: plural.into(),
                name: name.into(),
                subresource: sub.into(),
            })
        };
        assert_eq!(of("/api/v1/namespaces"), objects("", "", "namespaces", "", ""));
        assert_eq!(of("/api/v1/namespaces/a"), objects("", "", "namespaces", "a", ""));
        assert_eq!(of("/api/v1/namespaces/a/status"), objects("", "", "namespaces", "a", "status"));
        assert_eq!(of("/api/v1/namespaces/a/secrets"), objects("", "a", "secrets", "", ""));
        assert_eq!(of("/api/v1/namespaces/a/secrets/b"), objects("", "a", "secrets", "b", ""));
        assert_eq!(of("/apis/g/v1/namespaces/a/x/b/status"), objects("g", "a", "x", "b", "status"));
        assert_eq!(of("/api/v1/nodes/n"), objects("", "", "nodes", "n", ""));
        assert_eq!(of("/apis/g"), Route::Group("g".into()));
        assert_eq!(of("/nothing"), Route::Unknown);
        let review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        assert_eq!(of(review), Route::Review { kind: "SelfSubjectAccessReview" });
    }
}
