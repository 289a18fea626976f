//! From the picture to the objects of each cluster. An object whose cluster does not exist forms a group with those
//! that name the same one: it is told so.

use std::collections::{BTreeMap, BTreeSet};

use api::client::Picture;
use compile::Objects;

/// The objects of each cluster that exists or is named.
pub fn clusters(picture: &Picture) -> BTreeMap<String, Objects> {
    let mut names: BTreeSet<&str> = picture.clusters.keys().map(String::as_str).collect();
    names.extend(picture.nodes.values().map(|o| o.spec.cluster_ref.name.as_str()));
    names.extend(picture.devices.values().map(|o| o.spec.cluster_ref.name.as_str()));
    names.extend(picture.placements.values().map(|o| o.spec.cluster_ref.name.as_str()));
    names.extend(picture.constraints.values().map(|o| o.spec.cluster_ref.name.as_str()));
    names.extend(picture.addresses.values().map(|o| o.spec.cluster_ref.name.as_str()));
    names.extend(picture.balancers.values().map(|o| o.spec.cluster_ref.name.as_str()));
    let all = Objects {
        cluster: None,
        nodes: picture.nodes.values().cloned().collect(),
        devices: picture.devices.values().cloned().collect(),
        placements: picture.placements.values().cloned().collect(),
        constraints: picture.constraints.values().cloned().collect(),
        addresses: picture.addresses.values().cloned().collect(),
        balancers: picture.balancers.values().cloned().collect(),
    };
    names
        .into_iter()
        .map(|name| {
            let cluster = picture.clusters.get(name).cloned();
            (name.to_owned(), Objects { cluster, ..all.clone() }.of_cluster(name))
        })
        .collect()
}
