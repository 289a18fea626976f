//! Containerd's verbs, as few as are needed. Deleting what is not there is done.

use super::{
    grpc::{CallError, Client},
    messages::{
        Container, Containers, Content, CreateTask, Descriptor, GetImage, GetTask, Id, Kill,
        ListContainers, Mount, Mounts, Nothing, OfTask, OneContainer, OneImage, Prepare,
        ReadContent, RemoveSnapshot, Task, TaskCreated,
    },
};

const CONTAINERS: &str = "containerd.services.containers.v1.Containers";
const TASKS: &str = "containerd.services.tasks.v1.Tasks";
const SNAPSHOTS: &str = "containerd.services.snapshots.v1.Snapshots";
const IMAGES: &str = "containerd.services.images.v1.Images";
const CONTENT: &str = "containerd.services.content.v1.Content";

/// The daemon.
#[derive(Clone, Debug)]
pub(super) struct Containerd {
    pub(super) client: Client,
    pub(super) snapshotter: String,
}

/// What is not there is no error.
fn found<T>(answer: Result<T, CallError>) -> Result<Option<T>, CallError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(CallError::Absent(_)) => Ok(None),
        Err(other) => Err(other),
    }
}

impl Containerd {
    async fn one<Q, A>(&self, service: &str, verb: &str, question: &Q) -> Result<A, CallError>
    where
        Q: prost::Message,
        A: prost::Message + Default,
    {
        let method = format!("{service}/{verb}");
        let mut all = self.client.call(&method, question).await?;
        match (all.pop(), all.is_empty()) {
            (Some(answer), true) => Ok(answer),
            _ => Err(CallError::Unknown(format!("containerd: {verb} was not answered once"))),
        }
    }

    /// What the name of an image stands for.
    pub(super) async fn image(&self, name: &str) -> Result<Option<Descriptor>, CallError> {
        let answer = self.one(IMAGES, "Get", &GetImage { name: name.into() }).await;
        Ok(found(answer)?.and_then(|answer: OneImage| answer.image?.target))
    }

    /// A blob, whole.
    pub(super) async fn content(&self, digest: &str) -> Result<Vec<u8>, CallError> {
        let question = ReadContent { digest: digest.into() };
        let parts: Vec<Content> = self.client.call(&format!("{CONTENT}/Read"), &question).await?;
        Ok(parts.into_iter().flat_map(|part| part.data).collect())
    }

    /// A layer of its own for a container, above those of an image.
    pub(super) async fn prepare(&self, key: &str, parent: &str) -> Result<Vec<Mount>, CallError> {
        // Until a container names it, it would be garbage.
        let root = ("containerd.io/gc.root".to_owned(), "palisade".to_owned());
        let question = Prepare {
            snapshotter: self.snapshotter.clone(),
            key: key.into(),
            parent: parent.into(),
            labels: [root].into(),
        };
        Ok(self.one::<_, Mounts>(SNAPSHOTS, "Prepare", &question).await?.mounts)
    }

    pub(super) async fn remove_snapshot(&self, key: &str) -> Result<(), CallError> {
        let question = RemoveSnapshot { snapshotter: self.snapshotter.clone(), key: key.into() };
        found(self.one::<_, Nothing>(SNAPSHOTS, "Remove", &question).await).map(drop)
    }

    /// Those with this label, whatever its value.
    pub(super) async fn containers(&self, label: &str) -> Result<Vec<Container>, CallError> {
        let question = ListContainers { filters: vec![format!("labels.\"{label}\"")] };
        Ok(self.one::<_, Containers>(CONTAINERS, "List", &question).await?.containers)
    }

    pub(super) async fn container(&self, id: &str) -> Result<Option<Container>, CallError> {
        let answer = self.one(CONTAINERS, "Get", &Id { id: id.into() }).await;
        Ok(found(answer)?.and_then(|answer: OneContainer| answer.container))
    }

    pub(super) async fn create(&self, container: Container) -> Result<(), CallError> {
        let question = OneContainer { container: Some(container) };
        self.one::<_, OneContainer>(CONTAINERS, "Create", &question).await.map(drop)
    }

    pub(super) async fn delete(&self, id: &str) -> Result<(), CallError> {
        found(self.one::<_, Nothing>(CONTAINERS, "Delete", &Id { id: id.into() }).await).map(drop)
    }

    /// Makes the first process, which waits. Its output goes nowhere.
    pub(super) async fn create_task(&self, id: &str, rootfs: Vec<Mount>) -> Result<u32, CallError> {
        let question = CreateTask { container_id: id.into(), rootfs };
        Ok(self.one::<_, TaskCreated>(TASKS, "Create", &question).await?.pid)
    }

    pub(super) async fn start_task(&self, id: &str) -> Result<(), CallError> {
        let question = OfTask { container_id: id.into() };
        self.one::<_, Nothing>(TASKS, "Start", &question).await.map(drop)
    }

    pub(super) async fn task(&self, id: &str) -> Result<Option<Task>, CallError> {
        let answer = self.one(TASKS, "Get", &OfTask { container_id: id.into() }).await;
        Ok(found(answer)?.and_then(|answer: GetTask| answer.process))
    }

    /// A signal to the first process, which is the init of its pid namespace: SIGKILL to it is one to all.
    pub(super) async fn kill(&self, id: &str, signal: i32) -> Result<(), CallError> {
        let signal = u32::try_from(signal).unwrap_or_default();
        let question = Kill { container_id: id.into(), signal, all: false };
        found(self.one::<_, Nothing>(TASKS, "Kill", &question).await).map(drop)
    }

    pub(super) async fn delete_task(&self, id: &str) -> Result<(), CallError> {
        let question = OfTask { container_id: id.into() };
        found(self.one::<_, Nothing>(TASKS, "Delete", &question).await).map(drop)
    }
}
