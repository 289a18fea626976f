//! The ring keys: one Secret, by name, now and then.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use policy::revision::SecretEntry;
use tokio::sync::mpsc;
use tracing::warn;
use zeroize::{Zeroize as _, Zeroizing};

use super::{News, Shared};
use crate::keys::RingKeys;

/// Between two looks once keys are there: rotation is a matter of minutes.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Before that.
const LOOK_FIRST: Duration = Duration::from_secs(2);

pub(super) async fn run<N: From<News>>(shared: Arc<Shared>, news: mpsc::Sender<N>) {
    let mut last: Option<Zeroizing<String>> = None;
    let mut said: Option<String> = None;
    let mut revisions = shared.revision.subscribe();
    loop {
        let entry = revisions.borrow_and_update().as_ref().map(|r| r.transport.key.clone());
        if let Some(entry) = entry {
            match fetch(&shared, &entry).await {
                Ok(keys) => {
                    said = None;
                    let text = keys.to_text();
                    if last.as_ref() != Some(&text) {
                        last = Some(text);
                        if news.send(News::Keys(keys).into()).await.is_err() {
                            return;
                        }
                    }
                }
                // once for each reason: an API that is away for hours is one line
                Err(wrong) => {
                    let (why, invalid) = match wrong {
                        Wrong::Away(why) => (why, false),
                        Wrong::Invalid(why) => (why, true),
                    };
                    if said.as_ref() != Some(&why) {
                        warn!(%why, "ring keys");
                        said = Some(why.clone());
                        // when it is repaired, the same keys are news
                        last = last.filter(|_| !invalid);
                        if invalid && news.send(News::KeysWrong(why).into()).await.is_err() {
                            return;
                        }
                    }
                }
            }
        }
        let wait = if last.is_some() { LOOK_EVERY } else { LOOK_FIRST };
        tokio::select! {
            changed = revisions.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Why there are no keys.
enum Wrong {
    /// The API did not answer: no word about the Secret.
    Away(String),
    /// The Secret is not what it must be.
    Invalid(String),
}

/// The keys, or a reason that names Secret and entry and repeats nothing of their content.
async fn fetch(shared: &Shared, entry: &SecretEntry) -> Result<RingKeys, Wrong> {
    let SecretEntry { secret: name, entry } = entry;
    let api = Api::<Secret>::namespaced(shared.client.clone(), &shared.namespace);
    let mut secret = match api.get_opt(name).await {
        Ok(Some(secret)) => secret,
        Ok(None) => {
            return Err(Wrong::Invalid(format!(
                "secret {name:?} does not exist: make it with an entry {entry:?} of 32 random bytes in base64"
            )));
        }
        Err(kube::Error::Api(said)) if said.code == 403 => {
            return Err(Wrong::Invalid(format!(
                "secret {name:?} may not be read by the agent: allow it (values of the chart: secrets.ringKeys), or correct spec.keySecretRef"
            )));
        }
        Err(error) => {
            return Err(Wrong::Away(format!("secret {name:?} cannot be read: {error}")));
        }
    };
    let mut data = secret.data.take().unwrap_or_default();
    let keys = match data.get(entry) {
        Some(bytes) => RingKeys::parse(&bytes.0)
            .map_err(|error| format!("secret {name:?} entry {entry:?} {error}")),
        None => Err(format!("secret {name:?} has no entry {entry:?}: add it")),
    };
    data.values_mut().for_each(|bytes| bytes.0.zeroize());
    keys.map_err(Wrong::Invalid)
}
