//! Which kinds are served: the built-in ones and those of the definitions in the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::builtin;
use crate::definition;
use crate::meta;
use crate::resource::Resource;

/// All served kinds.
#[derive(Clone, Debug)]
pub struct Catalog {
    resources: Vec<Arc<Resource>>,
    paths: BTreeMap<(String, String, String), usize>,
    /// What each definition gave, under its name, with the stamp of the definition.
    parts: BTreeMap<String, (String, Vec<Arc<Resource>>)>,
    definitions: Arc<Map<String, Value>>,
}

impl Catalog {
    /// The built-in kinds and those of `crds`.
    pub fn new<'a>(crds: impl IntoIterator<Item = &'a Value>) -> Self {
        Self::with(crds, BTreeMap::new())
    }

    /// The same with other definitions. Schemas and rules of those that stayed are not compiled again.
    #[must_use]
    pub fn renewed<'a>(&self, crds: impl IntoIterator<Item = &'a Value>) -> Self {
        Self::with(crds, self.parts.clone())
    }

    fn with<'a>(
        crds: impl IntoIterator<Item = &'a Value>,
        known: BTreeMap<String, (String, Vec<Arc<Resource>>)>,
    ) -> Self {
        let definitions = builtin::definitions();
        let mut resources: Vec<Arc<Resource>> =
            builtin::resources().into_iter().map(Arc::new).collect();
        let built_in = resources.len();
        let mut parts = BTreeMap::new();
        for crd in crds {
            let name = meta::name(crd).to_owned();
            let generation = crd.pointer("/metadata/generation").and_then(Value::as_i64);
            let stamp = format!("{} {generation:?}", meta::text(crd, "uid"));
            let part = match known.get(&name) {
                Some((old, part)) if *old == stamp => part.clone(),
                _ => definition::resources(crd, &definitions).into_iter().map(Arc::new).collect(),
            };
            resources.extend(part.iter().cloned());
            parts.insert(name, (stamp, part));
        }
        resources[built_in..].sort_by(|a, b| {
            (&a.group, &a.plural)
                .cmp(&(&b.group, &b.plural))
                .then_with(|| maturity(&b.version).cmp(&maturity(&a.version)))
        });
        let paths = resources
            .iter()
            .enumerate()
            .map(|(i, r)| ((r.group.clone(), r.version.clone(), r.plural.clone()), i))
            .collect();
        Self { resources, paths, parts, definitions }
    }

    /// The kind behind a path.
    #[must_use]
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        let path = (group.to_owned(), version.to_owned(), plural.to_owned());
        self.paths.get(&path).map(|i| &self.resources[*i])
    }

    /// Every kind, in the order of discovery.
    #[must_use]
    pub fn resources(&self) -> &[Arc<Resource>] {
        &self.resources
    }

    /// Any version of the kind whose objects lie in `table`.
    #[must_use]
    pub fn of_table(&self, table: &str) -> Option<&Arc<Resource>> {
        self.resources.iter().find(|r| r.table() == table)
    }

    /// A kind by group and kind, in any version.
    #[must_use]
    pub fn of_kind(&self, group: &str, kind: &str) -> Option<&Arc<Resource>> {
        self.resources.iter().find(|r| r.group == group && r.kind == kind)
    }

    /// Groups with their versions, the best version first.
    #[must_use]
    pub fn groups(&self) -> Vec<(&str, Vec<&str>)> {
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for resource in &self.resources {
            let at = groups.iter().position(|(g, _)| *g == resource.group).unwrap_or_else(|| {
                groups.push((&resource.group, Vec::new()));
                groups.len() - 1
            });
            let versions = &mut groups[at].1;
            if !versions.contains(&resource.version.as_str()) {
                versions.push(&resource.version);
            }
        }
        for (_, versions) in &mut groups {
            versions.sort_by_key(|v| std::cmp::Reverse(maturity(v)));
        }
        groups
    }

    pub(crate) fn definitions(&self) -> &Arc<Map<String, Value>> {
        &self.definitions
    }
}

/// The order of versions: stable before beta before alpha, higher before lower.
fn maturity(version: &str) -> (u8, u32, u32) {
    let number = |s: &str| s.parse::<u32>().ok();
    let Some(rest) = version.strip_prefix('v') else { return (0, 0, 0) };
    for (rank, word) in [(2, "beta"), (1, "alpha")] {
        if let Some((major, minor)) = rest.split_once(word)
            && let (Some(major), Some(minor)) = (number(major), number(minor))
        {
            return (rank, major, minor);
        }
    }
    number(rest).map_or((0, 0, 0), |major| (3, major, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_sort_as_kubernetes_sorts_them() {
        let mut versions = ["v1alpha1", "v1", "v2beta1", "v10", "v1beta2", "foo", "v2"];
        versions.sort_by_key(|v| std::cmp::Reverse(maturity(v)));
        assert_eq!(versions, ["v10", "v2", "v1", "v2beta1", "v1beta2", "v1alpha1", "foo"]);
    }

    #[test]
    fn every_built_in_kind_has_a_schema_with_a_shape() {
        for resource in Catalog::new([]).resources() {
            let root = resource.schema.root();
            assert!(root.property("metadata").is_some(), "{}", resource.kind);
            assert!(root.properties().is_some_and(|p| p.len() > 2), "{}", resource.kind);
        }
    }

    #[test]
    fn every_row_of_the_topology_finds_its_definition() {
        let definitions = builtin::definitions();
        let known =
            |row: &&str| definitions.contains_key(row.split(' ').next().unwrap_or_default());
        let rows: Vec<&str> =
            include_str!("builtin/topology.txt").lines().filter(|l| !l.starts_with('#')).collect();
        let unknown: Vec<_> = rows.iter().filter(|r| !known(r)).collect();
        // the table is of 1.36, the types of 1.33: FileKeySelector and restart rules are newer
        assert!(unknown.len() <= 6, "{unknown:?}");
    }
}
