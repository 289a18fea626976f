//! The lab: machines made of namespaces, BMCs whose power buttons really work, a real Kubernetes
//! API server, and an observer that believes nobody.
//!
//! ```text
//!   cargo lab up ──▶ Lab ──▶ switches (a namespace of bridges, one per network)
//!                     │  ──▶ machines (own net, mount, uts, ipc, pid, cgroup; own disk)  ◀─┐
//!                     │  ──▶ BMCs (ipmi_sim) ── hook ──▶ power on / off ───────────────────┘
//!                     │  ──▶ API server (kubebox) on the api network
//!                     └─ records of everything it made: teardown goes by these and nothing else
//!   observer ──▶ events.jsonl ──▶ verdict        scenario ──▶ fault ──▶ verdict.json
//! ```
//!
//! It promises: a power cut is silent (cable first), a power command has happened when it returns,
//! nothing is ended that the lab did not record as its own, no traffic leaves its namespaces.
//! It never reads the product's logs or status to judge the product.
//! How a machine is modelled: `docs/lab.md`; what that makes easier: `docs/LAB-LIMITS.md`.

pub mod beside;
pub mod bmc;
pub mod certificates;
pub mod cgroup;
pub mod chart;
pub mod clock;
pub mod command;
pub mod gobuild;
pub mod idle;
pub mod image;
pub mod init;
pub mod install;
pub mod kubebox;
pub mod kubelets;
pub mod lab;
pub mod machine;
pub mod network;
pub mod node_id;

pub mod observation;
pub mod observer;
pub mod power;
pub mod powercuts;
pub mod product;
pub mod quickstart;
pub mod records;
pub mod relay;
pub mod sabotage;
pub mod scenario;
pub mod suite;
pub mod systemd;
pub mod watchdog;
pub mod with_api;
