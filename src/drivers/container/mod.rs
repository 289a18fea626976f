//! Services that come as images: containers in a containerd namespace of our own.
//!
//! The same templates as `process`: an object names a template, and root wrote on the machine which image it is, what is
//! mounted and who it runs as (SAFETY.md 4.2). The image too was put there by root: `ctr -n palisade images import`;
//! nothing is pulled. The kubelet looks at another namespace, so neither its garbage collection nor a restart of the
//! agent's pod touches what runs here (CLUSTER.md section 8).
//!
//! ```text
//!  executor ─▶ ContainerDriver ─▶ containerd.sock: image ▸ snapshot ▸ container ▸ task ─▶ runc ─▶ the service
//!                   │  ▲              SIGTERM, timeout, SIGKILL; task, container and snapshot are deleted
//!                   │  └── labels: resource, template, boot;  /run/palisade/containers/ID: pid and start time
//! ```
//!
//! Promises: what cannot be asked is not "not running"; what another boot left is never "running" and is cleaned away;
//! there is at most one container of a resource, by its name; "stopped" is said when its first process, and with it its
//! pid namespace, is gone (SAFETY.md#S31); a start that is broken off is killed.
//! The client is a subset of containerd's services with messages written by hand: `containerd-client` compiles upstream's
//! files with protoc at each build, which neither builders nor the Dockerfile have.

mod containerd;
mod driver;
mod grpc;
mod image;
mod messages;
mod spec;

pub use driver::{ContainerConfig, ContainerDriver};

#[cfg(test)]
mod tests;
