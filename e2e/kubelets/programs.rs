//! What a node is made of: the kubelet and containerd from their Go modules, Debian's runc and CNI plugins.

use crate::gobuild::Module;
use crate::install;
use crate::lab::Lab;
use anyhow::Result;
use std::path::PathBuf;

const KUBELET: Module = Module {
    folder: "kubelet",
    files: &["go.mod", "go.sum", "main.go"],
    packages: &["."],
    what: "the kubelet v1.36.3 (some minutes, once)",
    link: "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 \
           -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36 \
           -X k8s.io/client-go/pkg/version.gitVersion=v1.36.3",
    tags: "",
};

const CONTAINERD: Module = Module {
    folder: "containerd",
    files: &["go.mod", "go.sum", "pause/main.go"],
    packages: &[
        "github.com/containerd/containerd/v2/cmd/containerd",
        "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
        "github.com/containerd/containerd/v2/cmd/ctr",
        "./pause",
    ],
    what: "containerd v2.4.2 (some minutes, once)",
    link: "-s -w",
    tags: "no_btrfs,no_zfs,no_devmapper,no_tracing",
};

/// Where they are.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    kubelet: PathBuf,
    containerd: PathBuf,
    pub(super) runc: PathBuf,
    /// The folder of the CNI plugins.
    pub(super) cni: PathBuf,
}

impl Programs {
    /// Builds and installs what is missing.
    pub(super) fn find() -> Result<Self> {
        let missing: Vec<&str> =
            [("runc", "runc"), ("/usr/lib/cni/bridge", "containernetworking-plugins")]
                .iter()
                .filter(|(program, _)| !install::has(program))
                .map(|(_, package)| *package)
                .collect();
        install::debian(&missing)?;
        Ok(Self {
            kubelet: KUBELET.programs()?,
            containerd: CONTAINERD.programs()?,
            runc: "/usr/sbin/runc".into(),
            cni: "/usr/lib/cni".into(),
        })
    }

    /// Makes them visible to the machines of a lab.
    pub(super) fn adopt(&self, lab: &Lab) -> Result<()> {
        lab.adopt_link(&self.kubelet.join("kubelet"), "kubelet")?;
        for name in ["containerd", "containerd-shim-runc-v2", "ctr"] {
            lab.adopt_link(&self.containerd.join(name), name)?;
        }
        Ok(())
    }

    /// The folder with the first process of each pod.
    pub(super) fn pause(&self) -> &std::path::Path {
        &self.containerd
    }
}
