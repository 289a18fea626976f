//! What is said to containerd and heard from it: of api/services/*/v1 and api/types, the fields that are used.

use std::{collections::BTreeMap, string::String, vec::Vec};

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Nothing {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// `GetContainerRequest`, `DeleteContainerRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Id {
    #[prost(string, tag = "1")]
    pub(super) id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Runtime {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Container {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(super) labels: BTreeMap<String, String>,
    #[prost(string, tag = "3")]
    pub(super) image: String,
    #[prost(message, optional, tag = "4")]
    pub(super) runtime: Option<Runtime>,
    #[prost(message, optional, tag = "5")]
    pub(super) spec: Option<Any>,
    #[prost(string, tag = "6")]
    pub(super) snapshotter: String,
    #[prost(string, tag = "7")]
    pub(super) snapshot_key: String,
}

/// `CreateContainerRequest`, and the answers to it and to `Get`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OneContainer {
    #[prost(message, optional, tag = "1")]
    pub(super) container: Option<Container>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListContainers {
    #[prost(string, repeated, tag = "1")]
    pub(super) filters: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Containers {
    #[prost(message, repeated, tag = "1")]
    pub(super) containers: Vec<Container>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Mount {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(string, tag = "2")]
    pub(super) source: String,
    #[prost(string, tag = "3")]
    pub(super) target: String,
    #[prost(string, repeated, tag = "4")]
    pub(super) options: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CreateTask {
    #[prost(string, tag = "1")]
    pub(super) container_id: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) rootfs: Vec<Mount>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TaskCreated {
    #[prost(uint32, tag = "2")]
    pub(super) pid: u32,
}

/// `StartRequest`, `DeleteTaskRequest` and `GetRequest`, without an exec id: the first process.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OfTask {
    #[prost(string, tag = "1")]
    pub(super) container_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Task {
    #[prost(uint32, tag = "3")]
    pub(super) pid: u32,
    #[prost(int32, tag = "4")]
    pub(super) status: i32,
    #[prost(uint32, tag = "9")]
    pub(super) exit_status: u32,
}

/// `Task::status`. Containerd says 0, "unknown", where it cannot ask the shim.
pub(super) const CREATED: i32 = 1;
pub(super) const STOPPED: i32 = 3;
pub(super) const PAUSING: i32 = 5;

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetTask {
    #[prost(message, optional, tag = "1")]
    pub(super) process: Option<Task>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Kill {
    #[prost(string, tag = "1")]
    pub(super) container_id: String,
    #[prost(uint32, tag = "3")]
    pub(super) signal: u32,
    #[prost(bool, tag = "4")]
    pub(super) all: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Prepare {
    #[prost(string, tag = "1")]
    pub(super) snapshotter: String,
    #[prost(string, tag = "2")]
    pub(super) key: String,
    #[prost(string, tag = "3")]
    pub(super) parent: String,
    #[prost(btree_map = "string, string", tag = "4")]
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Mounts {
    #[prost(message, repeated, tag = "1")]
    pub(super) mounts: Vec<Mount>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RemoveSnapshot {
    #[prost(string, tag = "1")]
    pub(super) snapshotter: String,
    #[prost(string, tag = "2")]
    pub(super) key: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetImage {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Descriptor {
    #[prost(string, tag = "2")]
    pub(super) digest: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Image {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, optional, tag = "3")]
    pub(super) target: Option<Descriptor>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OneImage {
    #[prost(message, optional, tag = "1")]
    pub(super) image: Option<Image>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ReadContent {
    #[prost(string, tag = "1")]
    pub(super) digest: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Content {
    #[prost(bytes = "vec", tag = "2")]
    pub(super) data: Vec<u8>,
}
