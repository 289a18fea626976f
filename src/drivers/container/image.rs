//! From the name of an image to what it is made of: index, manifest, configuration, the last layer's name.

use aws_lc_rs::digest::{SHA256, digest};
use serde::Deserialize;

use super::{containerd::Containerd, grpc::CallError};
use crate::process::Image;

/// An index may name an index; nobody needs more.
const DEPTH_MAX: usize = 3;
const LAYERS_MAX: usize = 256;

/// What an image says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Says {
    #[serde(rename = "Env")]
    pub(super) environment: Option<Vec<String>>,
    #[serde(rename = "Entrypoint")]
    pub(super) entrypoint: Option<Vec<String>>,
    #[serde(rename = "Cmd")]
    pub(super) command: Option<Vec<String>>,
    #[serde(rename = "User")]
    pub(super) user: Option<String>,
    #[serde(rename = "WorkingDir")]
    pub(super) working_dir: Option<String>,
}

/// An image that can be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Snapshot of its layers.
    pub(super) layers: String,
    pub(super) says: Says,
}

/// Why it cannot be.
#[derive(Debug)]
pub(super) enum ImageError {
    /// Root on the machine must act.
    Wrong(String),
    /// Nothing is known.
    Call(CallError),
}

impl From<CallError> for ImageError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

#[derive(Deserialize)]
struct Blob {
    digest: String,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

/// An index has manifests, a manifest has a configuration.
#[derive(Deserialize)]
struct Manifest {
    config: Option<Blob>,
    #[serde(default)]
    manifests: Vec<Blob>,
}

#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    config: Option<Says>,
    rootfs: Layers,
}

#[derive(Deserialize)]
struct Layers {
    diff_ids: Vec<String>,
}

/// As Go, and so images, call this machine.
const fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

/// Asks for all of it. Each digest is as the template's, so what is read is what root named, if it named a digest.
pub(super) async fn find(containerd: &Containerd, image: &Image) -> Result<Found, ImageError> {
    let (name, namespace) = (&image.name, &containerd.client.namespace);
    let wrong = |why: &dyn core::fmt::Display| ImageError::Wrong(format!("image {name}: {why}"));
    let Some(target) = containerd.image(name).await? else {
        let why = format!(
            "not on this machine: root imports it there, `ctr -n {namespace} images import FILE` \
             (`ctr -n {namespace} images ls` shows the names)"
        );
        return Err(wrong(&why));
    };
    if let Some(expected) = &image.digest
        && *expected != target.digest
    {
        let why = format!("it is {} here, and the template says {expected}", target.digest);
        return Err(wrong(&why));
    }
    let mut next = target.digest;
    for _ in 0..DEPTH_MAX {
        let manifest: Manifest = read(containerd, &next).await.map_err(|why| match why {
            ImageError::Wrong(why) => wrong(&why),
            call @ ImageError::Call(_) => call,
        })?;
        match manifest.config {
            Some(config) => {
                let configuration: Configuration = read(containerd, &config.digest).await?;
                let layers = chain(&configuration.rootfs.diff_ids)
                    .ok_or_else(|| wrong(&"it has no layers, or more than 256"))?;
                return Ok(Found { layers, says: configuration.config.unwrap_or_default() });
            }
            None => {
                next = chosen(&manifest.manifests)
                    .ok_or_else(|| wrong(&format!("nothing in it is for {}", architecture())))?;
            }
        }
    }
    Err(wrong(&"an index within an index within an index"))
}

async fn read<T: for<'d> Deserialize<'d>>(
    containerd: &Containerd,
    digest: &str,
) -> Result<T, ImageError> {
    let bytes = match containerd.content(digest).await {
        Ok(bytes) => bytes,
        Err(CallError::Absent(_)) => {
            return Err(ImageError::Wrong(format!("{digest} is missing: import the whole image")));
        }
        Err(other) => return Err(other.into()),
    };
    serde_json::from_slice(&bytes)
        .map_err(|error| ImageError::Wrong(format!("{digest} cannot be read: {error}")))
}

/// The one for this machine; the only one, where none says what it is for.
fn chosen(manifests: &[Blob]) -> Option<String> {
    let ours = |blob: &&Blob| {
        blob.platform
            .as_ref()
            .is_some_and(|on| on.os == "linux" && on.architecture == architecture())
    };
    let only = || match manifests {
        [only] if only.platform.is_none() => Some(only),
        _ => None,
    };
    manifests.iter().find(ours).or_else(only).map(|blob| blob.digest.clone())
}

/// Chain id of the OCI image specification: each layer upon the one below.
pub(super) fn chain(layers: &[String]) -> Option<String> {
    let (first, above) = layers.split_first()?;
    if layers.len() > LAYERS_MAX {
        return None;
    }
    Some(above.iter().fold(first.clone(), |below, layer| {
        format!("sha256:{}", hex(format!("{below} {layer}").as_bytes()))
    }))
}

/// SHA-256 in letters.
pub(super) fn hex(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
