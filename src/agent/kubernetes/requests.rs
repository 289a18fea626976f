//! What people ask for through the API: once each, by the coordinator only.
//!
//! A request is claimed in its status before it is handed to the ring. Who finds a claim without an end does not repeat
//! it: what became of it is unknown, and a second power-off would shoot a machine that may be back (SAFETY.md#S7).

use std::{sync::Arc, time::Duration};

use api::{
    FencingConfirmation, FencingRequest,
    client::{Picture, WriteError},
    condition::{self, ConditionStatus, Judgement},
    names::{condition as types, manager, reason},
};
use base::RingId;
use cluster::Status as View;
use k8s_openapi::{
    NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp,
};
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use super::Shared;
use crate::local::{Call, NodeVerb, Reply, Request};

/// An older request is refused: nobody expects a machine to be shot by what was written yesterday.
const AGE_MAX: Duration = Duration::from_secs(600);
/// For an answer of the ring.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

pub(super) async fn run(
    shared: Arc<Shared>,
    calls: mpsc::Sender<Call>,
    views: watch::Receiver<Option<Arc<View>>>,
) {
    let mut pictures = shared.picture.subscribe();
    let mut views = views;
    loop {
        tokio::select! {
            changed = pictures.changed() => if changed.is_err() { return },
            changed = views.changed() => if changed.is_err() { return },
        }
        let view = views.borrow_and_update().clone();
        let Some(view) = view.filter(|v| shared.speaks(v) && v.era.is_some()) else { continue };
        let picture = Arc::clone(&*pictures.borrow_and_update());
        for asked in open(&picture, &shared.cluster) {
            match one(&shared, &calls, &view, asked).await {
                // the feed says that the API is away, once
                Ok(()) | Err(WriteError::Away(_)) => {}
                Err(error) => warn!(%error, "a request through the API"),
            }
        }
    }
}

/// A request that has not ended, in whatever kind it came.
#[derive(Clone, Debug)]
struct Asked {
    confirmation: bool,
    name: String,
    version: Option<String>,
    generation: Option<i64>,
    made: Option<Time>,
    conditions: Vec<api::Condition>,
    node: String,
    incident: Option<String>,
    who: String,
}

fn open(picture: &Picture, cluster: &str) -> Vec<Asked> {
    let requests =
        picture.requests.values().filter(|o| o.spec.cluster_ref.name.as_str() == cluster);
    let confirmations =
        picture.confirmations.values().filter(|o| o.spec.cluster_ref.name.as_str() == cluster);
    let requests = requests.map(|o| Asked {
        confirmation: false,
        name: o.name_any(),
        version: o.resource_version(),
        generation: o.metadata.generation,
        made: o.creation_timestamp(),
        conditions: o.status.clone().unwrap_or_default().conditions,
        node: o.spec.node.0.clone(),
        incident: None,
        who: format!("FencingRequest {}: {}", o.name_any(), o.spec.reason),
    });
    let confirmations = confirmations.map(|o| Asked {
        confirmation: true,
        name: o.name_any(),
        version: o.resource_version(),
        generation: o.metadata.generation,
        made: o.creation_timestamp(),
        conditions: o.status.clone().unwrap_or_default().conditions,
        node: o.spec.node.0.clone(),
        incident: Some(o.spec.incident.0.clone()),
        who: format!("FencingConfirmation {}: {}", o.name_any(), o.spec.confirmed_by),
    });
    let ended = |a: &Asked| condition::find(&a.conditions, types::READY).is_some();
    requests.chain(confirmations).filter(|a| !ended(a)).collect()
}

async fn one(
    shared: &Shared,
    calls: &mpsc::Sender<Call>,
    view: &View,
    asked: Asked,
) -> Result<(), WriteError> {
    let refused = |why: String| (false, reason::REFUSED, why);
    let claimed = condition::find(&asked.conditions, types::ACCEPTED).is_some();
    let now = Timestamp::now();
    let age = asked.made.as_ref().map_or(0, |t| now.as_second() - t.0.as_second());
    let end = if claimed {
        refused(
            "what became of it is unknown: the member that carried it out was replaced meanwhile; look at the \
             member's state and make a new one if it is still needed"
                .into(),
        )
    } else if age > i64::try_from(AGE_MAX.as_secs()).unwrap_or(i64::MAX) {
        refused(format!("it is {age} s old and was never seen by the cluster: make a new one"))
    } else {
        match request(&asked) {
            Err(why) => refused(why),
            Ok(request) => {
                // the version that was read stands in the claim: a second claim, or a stale picture, is refused
                let text = "handed to the cluster";
                let claim = Judgement::new(types::ACCEPTED, true, reason::PENDING, text);
                let version = asked.version.clone();
                write(shared, view, &asked, version, vec![claim]).await?;
                info!(name = asked.name, member = asked.node, "a person asks through the API");
                match ask(calls, request).await {
                    Reply::Done(text) => (true, reason::DONE, text),
                    Reply::Refused(why) => refused(why),
                    Reply::Status(_) | Reply::Timeline(_) => refused("no answer".into()),
                }
            }
        }
    };
    let (done, why, text) = end;
    let judged = |type_| Judgement::new(type_, ConditionStatus::from(done), why, text.clone());
    write(shared, view, &asked, None, vec![judged(types::ACCEPTED), judged(types::READY)]).await
}

fn request(asked: &Asked) -> Result<Request, String> {
    let name = asked.node.parse().map_err(|e| format!("spec.node: {e}"))?;
    let incident: Option<RingId> = asked
        .incident
        .as_ref()
        .map(|text| text.parse().map_err(|e| format!("spec.incident: {e}")))
        .transpose()?;
    let action = if asked.confirmation { NodeVerb::ConfirmOff } else { NodeVerb::Fence };
    Ok(Request::Node { action, name, incident, who: asked.who.clone() })
}

async fn ask(calls: &mpsc::Sender<Call>, request: Request) -> Reply {
    let (reply, answer) = oneshot::channel();
    if calls.send(Call { request, reply }).await.is_err() {
        return Reply::Refused("this member is leaving: make a new one".into());
    }
    match tokio::time::timeout(ANSWER_TIME_MAX, answer).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(_)) | Err(_) => {
            Reply::Refused("the cluster has not answered in 30 s: look at palisade status".into())
        }
    }
}

async fn write(
    shared: &Shared,
    view: &View,
    asked: &Asked,
    version: Option<String>,
    judgements: Vec<Judgement>,
) -> Result<(), WriteError> {
    let now = Time(Timestamp::now());
    let conditions: Vec<_> =
        judgements.into_iter().map(|j| j.over(&asked.conditions, asked.generation, &now)).collect();
    let status = json!({
        "observedGeneration": asked.generation,
        "observedEra": view.era.map(|e| e.seq),
        "conditions": conditions,
    });
    if asked.confirmation {
        patch::<FencingConfirmation>(shared, &asked.name, version, &status).await
    } else {
        patch::<FencingRequest>(shared, &asked.name, version, &status).await
    }
}

async fn patch<K>(
    shared: &Shared,
    name: &str,
    version: Option<String>,
    status: &Value,
) -> Result<(), WriteError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let mut metadata = json!({"name": name});
    if let Some(version) = version {
        metadata["resourceVersion"] = version.into();
    }
    let body = json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": metadata, "status": status,
    });
    let api = Api::<K>::namespaced(shared.client.clone(), &shared.namespace);
    let params = PatchParams::apply(manager::COORDINATOR).force();
    let done = api.patch_status(name, &params, &Patch::Apply(body)).await;
    done.map(drop).map_err(WriteError::from_kube)
}
