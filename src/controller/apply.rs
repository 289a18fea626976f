//! Carries actions out, while the Lease is ours.

use api::{
    FenceDevice, HACluster, HANode, LoadBalancer, PlacementConstraint, ResourcePlacement,
    VirtualIP,
    client::{WriteError, apply, apply_status, delete_exactly},
    names::{event, manager},
};
use compile::Key;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tracing::{info, warn};

use crate::{
    Metrics,
    desired::{Action, SECTION},
    lease::Elected,
};

/// Writes what was decided.
pub struct Writer {
    client: Client,
    namespace: String,
    events: Recorder,
    metrics: Metrics,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Writer {
    /// A writer for one namespace.
    pub fn new(client: Client, namespace: &str, identity: &str, metrics: Metrics) -> Self {
        let reporter = Reporter {
            controller: manager::CONTROLLER.into(),
            instance: Some(identity.chars().take(128).collect()),
        };
        let events = Recorder::new(client.clone(), reporter);
        Self { client, namespace: namespace.into(), events, metrics }
    }

    /// Carries all actions out that can be; the first failure that is worth another try is the answer. Before the first
    /// write the Lease is read again, and its time is looked at before each.
    pub async fn carry_out(
        &mut self,
        actions: &[Action],
        leader: &Elected,
    ) -> Result<(), WriteError> {
        if actions.is_empty() || !leader.confirm().await {
            return Ok(());
        }
        let mut worst = Ok(());
        for action in actions {
            if !leader.is_held() {
                return worst;
            }
            match self.one(action).await {
                Ok(()) => self.metrics.wrote(verb(action)),
                // gone in the meantime: the next picture has the truth
                Err(error) if error.is_gone() => {}
                Err(error @ WriteError::Away(_)) => return Err(error),
                Err(error) => {
                    warn!(%error, action = verb(action), "refused");
                    self.metrics.refused(verb(action));
                    worst = Err(error);
                }
            }
        }
        worst
    }

    async fn one(&self, action: &Action) -> Result<(), WriteError> {
        let (client, namespace) = (&self.client, self.namespace.as_str());
        let own = manager::CONTROLLER;
        match action {
            Action::ApplyNode { name, body } => {
                info!(name, "applies a member");
                apply::<HANode>(client, namespace, own, body).await.map(drop)
            }
            Action::ApplyPlacement { name, body } => {
                info!(name, "applies a placement");
                apply::<ResourcePlacement>(client, namespace, own, body).await.map(drop)
            }
            Action::ApplyConstraint { name, body } => {
                info!(name, "applies a constraint");
                apply::<PlacementConstraint>(client, namespace, own, body).await.map(drop)
            }
            Action::DeleteConstraint(object) => delete_exactly(client, namespace, &**object).await,
            Action::DeleteNode(object) => delete_exactly(client, namespace, &**object).await,
            Action::Status { key, status } => self.status(key, status).await,
            Action::Event { key, reason, warning, note } => {
                let event = Event {
                    type_: if *warning { EventType::Warning } else { EventType::Normal },
                    reason: (*reason).into(),
                    note: Some(note.chars().take(1000).collect()),
                    action: if *reason == event::FAILED { "Run" } else { "Compile" }.into(),
                    secondary: None,
                };
                let published = self.events.publish(&event, &self.reference(key)).await;
                // an event is a courtesy: it never holds anything up
                if let Err(error) = published {
                    warn!(%error, "event");
                }
                Ok(())
            }
        }
    }

    async fn status(&self, key: &Key, status: &serde_json::Value) -> Result<(), WriteError> {
        let (client, namespace, name) = (&self.client, self.namespace.as_str(), key.name.as_str());
        let manager = SECTION.manager;
        match key.kind {
            "FenceDevice" => {
                apply_status::<FenceDevice>(client, namespace, manager, name, status).await
            }
            "HACluster" => {
                apply_status::<HACluster>(client, namespace, manager, name, status).await
            }
            "HANode" => apply_status::<HANode>(client, namespace, manager, name, status).await,
            "PlacementConstraint" => {
                apply_status::<PlacementConstraint>(client, namespace, manager, name, status).await
            }
            "ResourcePlacement" => {
                apply_status::<ResourcePlacement>(client, namespace, manager, name, status).await
            }
            "LoadBalancer" => {
                apply_status::<LoadBalancer>(client, namespace, manager, name, status).await
            }
            "VirtualIP" => {
                apply_status::<VirtualIP>(client, namespace, manager, name, status).await
            }
            _ => Ok(()),
        }
    }

    fn reference(&self, key: &Key) -> ObjectReference {
        ObjectReference {
            api_version: Some(api::names::API_VERSION.into()),
            kind: Some(key.kind.into()),
            name: Some(key.name.clone()),
            namespace: Some(self.namespace.clone()),
            ..ObjectReference::default()
        }
    }
}

/// Every answer of [`verb`].
pub(crate) const VERBS: [&str; 7] = [
    "apply_constraint",
    "apply_node",
    "apply_placement",
    "delete_constraint",
    "delete_node",
    "event",
    "status",
];

fn verb(action: &Action) -> &'static str {
    match action {
        Action::ApplyNode { .. } => "apply_node",
        Action::ApplyPlacement { .. } => "apply_placement",
        Action::ApplyConstraint { .. } => "apply_constraint",
        Action::DeleteConstraint(_) => "delete_constraint",
        Action::DeleteNode(_) => "delete_node",
        Action::Status { .. } => "status",
        Action::Event { .. } => "event",
    }
}
