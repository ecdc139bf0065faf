//! Packs as objects of a bucket that speaks S3.
//!
//! An object is written at once, so each batch is a pack of its own: what comes while a PUT is under way makes the next one. A
//! second PUT begins beside it when enough has come to fill an object, or when the first takes long, so that one connection that
//! hangs holds nobody up. A PUT that fails is tried again under another name: the first may yet arrive, and is then an orphan
//! that collection finds. One that nobody waits for any more is given up, so that a bucket which hung is written to again as soon as
//! it answers.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{
    ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig,
};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use crate::frame::{Frame, PackHead};
use crate::packs::{
    Counters, FIRST, Identity, PackError, PackId, PackInfo, PackOptions, PackStatus, PackStore,
    Place, S3Location, now,
};

/// PUTs that are under way at once.
const UPLOADS: usize = 6;

/// Who waited so long needn't wait for the PUT before.
const HELD_UP: Duration = Duration::from_millis(250);

/// Names that a batch is tried under.
const ATTEMPTS: u32 = 3;

/// Packs as objects of a bucket.
pub struct BucketPacks {
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
    capacity: usize,
}

struct Shared {
    store: Arc<dyn ObjectStore>,
    place: String,
    prefix: String,
    options: PackOptions,
    queue: Mutex<Queue>,
    counters: Counters,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    bytes: usize,
    uploads: usize,
}

struct Job {
    frames: Vec<Frame>,
    bytes: usize,
    identity: Identity,
    answer: oneshot::Sender<Result<Vec<Place>, PackError>>,
    _room: OwnedSemaphorePermit,
}

impl BucketPacks {
    /// Opens the bucket. Nothing is asked of it yet.
    ///
    /// # Errors
    ///
    /// [`PackError::Location`].
    pub fn open(location: &S3Location, options: PackOptions) -> Result<Self, PackError> {
        let refused = |reason: &str| PackError::Location {
            location: location.to_string(),
            reason: reason.to_owned(),
        };
        // The client takes these as they are, and fails at the first request.
        let endpoint = location.endpoint.trim_end_matches('/');
        let url = reqwest::Url::parse(endpoint).ok();
        if !url.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            return Err(refused("the endpoint is no URL such as https://s3.example.net"));
        }
        if location.bucket.is_empty() || location.bucket.contains('/') {
            return Err(refused("the bucket needs a name, without /"));
        }
        if location.access_key.is_empty() || location.secret_key.is_empty() {
            return Err(refused("the access key and the secret key are needed"));
        }
        // The one that the rest of the program uses. Somebody may have said so already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let retry = RetryConfig {
            max_retries: 2,
            retry_timeout: options.patience,
            ..RetryConfig::default()
        };
        let client = ClientOptions::new()
            .with_allow_http(endpoint.starts_with("http://"))
            .with_timeout(options.patience)
            .with_connect_timeout(Duration::from_secs(5));
        let store = AmazonS3Builder::new()
            .with_endpoint(endpoint)
            .with_region(&location.region)
            .with_bucket_name(&location.bucket)
            .with_access_key_id(&location.access_key)
            .with_secret_access_key(&location.secret_key)
            .with_virtual_hosted_style_request(false)
            .with_retry(retry)
            .with_client_options(client)
            .build()
            .map_err(|error| refused(&error.to_string()))?;
        Ok(Self::on(Arc::new(store), location.to_string(), &location.prefix, options))
    }

    pub(crate) fn on(
        store: Arc<dyn ObjectStore>,
        place: String,
        prefix: &str,
        options: PackOptions,
    ) -> Self {
        let capacity = options.queue.clamp(1 << 20, u32::MAX as usize);
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let shared = Shared {
            store,
            place,
            prefix,
            options,
            queue: Mutex::new(Queue::default()),
            counters: Counters::default(),
        };
        Self { shared: Arc::new(shared), room: Arc::new(Semaphore::new(capacity)), capacity }
    }

    async fn append_frames(
        &self,
        frames: Vec<Frame>,
        identity: Identity,
    ) -> Result<Vec<Place>, PackError> {
        if frames.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = frames.iter().map(|frame| frame.length() as usize).sum();
        let wanted = u32::try_from(self.capacity.min(bytes)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(wanted).await;
        let room = room.map_err(|_| PackError::Closed)?;
        let (answer, mut answered) = oneshot::channel();
        {
            let mut queue = self.shared.queue.lock();
            queue.bytes += bytes;
            queue.jobs.push_back(Job { frames, bytes, identity, answer, _room: room });
        }
        self.shared.upload(false);
        loop {
            match timeout(HELD_UP, &mut answered).await {
                Ok(answer) => return answer.unwrap_or(Err(PackError::Closed)),
                Err(_) => self.shared.upload(true),
            }
        }
    }
}

impl fmt::Debug for BucketPacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BucketPacks({})", self.shared.place)
    }
}

impl PackStore for BucketPacks {
    fn append(
        &self,
        frames: Vec<Frame>,
        identity: &Identity,
    ) -> BoxFuture<'_, Result<Vec<Place>, PackError>> {
        self.append_frames(frames, identity.clone()).boxed()
    }

    fn read(&self, place: Place) -> BoxFuture<'_, Result<Bytes, PackError>> {
        async move {
            let shared = &self.shared;
            let bytes = shared.get(place.pack, place.start, place.length).await?;
            shared.counters.read(bytes.len());
            if bytes.len() == place.length as usize {
                Ok(bytes)
            } else {
                Err(PackError::Gone(place.pack.name()))
            }
        }
        .boxed()
    }

    fn read_some(
        &self,
        pack: PackId,
        start: u64,
        length: u32,
    ) -> BoxFuture<'_, Result<Bytes, PackError>> {
        async move {
            let shared = &self.shared;
            match shared.get(pack, start, length).await {
                Err(error @ PackError::Bucket { .. }) => {
                    // A range behind the end is refused.
                    let about = shared.within("looking at a pack", async {
                        shared.store.head(&shared.path(pack)).await
                    });
                    let about = about.await.map_err(|_| error)?;
                    if start >= about.size {
                        Ok(Bytes::new())
                    } else {
                        shared.get(pack, start, length).await
                    }
                }
                answer => answer,
            }
        }
        .boxed()
    }

    fn is_sealed(&self, _: PackId) -> BoxFuture<'_, Result<bool, PackError>> {
        async { Ok(true) }.boxed()
    }

    fn seal(&self) {}

    fn list(&self) -> BoxFuture<'_, Result<Vec<PackInfo>, PackError>> {
        async move {
            let shared = &self.shared;
            let prefix = Path::from(format!("{}packs", shared.prefix));
            let mut listed = shared.store.list(Some(&prefix));
            let mut packs = Vec::new();
            while let Some(about) =
                shared.within("listing packs", async { listed.next().await.transpose() }).await?
            {
                let name = about.location.filename().unwrap_or_default();
                if let Some(pack) = PackId::of_name(name) {
                    let modified = about.last_modified.timestamp();
                    packs.push(PackInfo { pack, bytes: about.size, modified });
                }
            }
            packs.sort_by_key(|info| info.pack);
            Ok(packs)
        }
        .boxed()
    }

    fn delete(&self, pack: PackId) -> BoxFuture<'_, Result<(), PackError>> {
        async move {
            let shared = &self.shared;
            let path = shared.path(pack);
            let deleted =
                shared.within("deleting a pack", async { shared.store.delete(&path).await });
            match deleted.await {
                Err(PackError::Gone(_)) => Ok(()),
                answer => answer,
            }
        }
        .boxed()
    }

    fn keep(&self, name: String, object: Bytes) -> BoxFuture<'_, Result<(), PackError>> {
        async move {
            let shared = &self.shared;
            let path = shared.kept_path(&name);
            let put = async { shared.store.put(&path, PutPayload::from_bytes(object)).await };
            shared.within("writing a dictionary", put).await.map(drop)
        }
        .boxed()
    }

    fn kept(&self, name: String) -> BoxFuture<'_, Result<Bytes, PackError>> {
        async move {
            let shared = &self.shared;
            let path = shared.kept_path(&name);
            let get = async { shared.store.get(&path).await?.bytes().await };
            shared.within("reading a dictionary", get).await
        }
        .boxed()
    }

    fn all_kept(&self) -> BoxFuture<'_, Result<Vec<String>, PackError>> {
        async move {
            let shared = &self.shared;
            let prefix = Path::from(format!("{}dictionaries", shared.prefix));
            let mut listed = shared.store.list(Some(&prefix));
            let mut names = Vec::new();
            while let Some(about) = shared
                .within("listing dictionaries", async { listed.next().await.transpose() })
                .await?
            {
                names.extend(about.location.filename().map(str::to_owned));
            }
            Ok(names)
        }
        .boxed()
    }

    fn small(&self) -> u64 {
        self.shared.options.object / 8
    }

    fn status(&self) -> PackStatus {
        let queued = self.shared.queue.lock().bytes as u64;
        PackStatus { queued, ..self.shared.counters.status.lock().clone() }
    }
}

impl Shared {
    fn path(&self, pack: PackId) -> Path {
        Path::from(format!("{}packs/{}", self.prefix, pack.name()))
    }

    fn kept_path(&self, name: &str) -> Path {
        Path::from(format!("{}dictionaries/{name}", self.prefix))
    }

    /// Waits for an answer, but not for ever.
    async fn within<T>(
        &self,
        what: &'static str,
        answer: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, PackError> {
        let failed = |reason: String| PackError::Bucket { what, place: self.place.clone(), reason };
        // The client tries again by itself, and each attempt may take its time.
        match timeout(self.options.patience * 2, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(object_store::Error::NotFound { path, .. })) => Err(PackError::Gone(path)),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed("it does not answer".to_owned())),
        }
    }

    async fn get(&self, pack: PackId, start: u64, length: u32) -> Result<Bytes, PackError> {
        let path = self.path(pack);
        let range = GetRange::Bounded(start..start + u64::from(length));
        let options = GetOptions::new().with_range(Some(range));
        let get = async { self.store.get_opts(&path, options).await?.bytes().await };
        self.within("reading a pack", get).await
    }

    /// Begins another upload, if there is reason to.
    fn upload(self: &Arc<Self>, held_up: bool) {
        let mut queue = self.queue.lock();
        let enough = queue.uploads == 0 || held_up || queue.bytes >= self.object();
        if !queue.jobs.is_empty() && enough && queue.uploads < UPLOADS {
            queue.uploads += 1;
            let upload = Upload(Arc::clone(self));
            tokio::spawn(async move { upload.run().await });
        }
    }

    fn object(&self) -> usize {
        usize::try_from(self.options.object).unwrap_or(usize::MAX)
    }

    async fn put(&self, jobs: &[Job]) -> Result<Vec<Place>, PackError> {
        let Some(identity) = jobs.first().map(|job| &job.identity) else { return Ok(Vec::new()) };
        let mut attempt = 0;
        loop {
            attempt += 1;
            let pack = identity.next_pack()?;
            let head = PackHead { pack, created: now(), seed: identity.seed };
            let mut pieces = vec![Bytes::copy_from_slice(&head.to_bytes())];
            let mut places = Vec::new();
            let mut start = FIRST;
            for frame in jobs.iter().flat_map(|job| &job.frames) {
                places.push(Place { pack, start, length: frame.length() });
                start += u64::from(frame.length());
                pieces.extend(frame.pieces(identity.seed));
            }
            let path = self.path(pack);
            let begun = Instant::now();
            let payload: PutPayload = pieces.into_iter().collect();
            let put = async { self.store.put(&path, payload).await };
            match self.within("writing a pack", put).await {
                Ok(_) => {
                    self.counters.synced(begun.elapsed());
                    return Ok(places);
                }
                Err(error) => {
                    self.counters.failed(&error);
                    tracing::warn!(%error, attempt, "mail was not written");
                    if attempt == ATTEMPTS {
                        return Err(error);
                    }
                }
            }
            sleep(Duration::from_millis(200) * attempt).await;
        }
    }
}

/// One that uploads until there is nothing more.
struct Upload(Arc<Shared>);

impl Upload {
    async fn run(self) {
        while let Some(mut jobs) = self.batch() {
            let put = tokio::select! {
                put = self.0.put(&jobs) => put,
                () = nobody_waits(&jobs) => Err(PackError::Closed),
            };
            match put {
                Ok(places) => {
                    self.0.counters.appended(&places);
                    let mut places = places.into_iter();
                    for job in jobs.drain(..) {
                        let own = places.by_ref().take(job.frames.len()).collect();
                        let _ = job.answer.send(Ok(own));
                    }
                }
                Err(error) => {
                    let place = self.0.place.clone();
                    for job in jobs.drain(..) {
                        let reason = error.to_string();
                        let _ = job.answer.send(Err(PackError::Bucket {
                            what: "writing a pack",
                            place: place.clone(),
                            reason,
                        }));
                    }
                }
            }
        }
    }

    fn batch(&self) -> Option<Vec<Job>> {
        let mut queue = self.0.queue.lock();
        let mut jobs: Vec<Job> = Vec::new();
        let mut bytes = 0;
        while let Some(job) = queue.jobs.front()
            && (jobs.is_empty() || bytes + job.bytes <= self.0.object())
            && let Some(job) = queue.jobs.pop_front()
        {
            queue.bytes = queue.bytes.saturating_sub(job.bytes);
            // Who doesn't wait any more needn't be served.
            if !job.answer.is_closed() {
                bytes += job.bytes;
                jobs.push(job);
            }
        }
        (!jobs.is_empty()).then_some(jobs)
    }
}

/// Waits until nobody waits for any of them.
async fn nobody_waits(jobs: &[Job]) {
    while jobs.iter().any(|job| !job.answer.is_closed()) {
        sleep(HELD_UP).await;
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.0.queue.lock().uploads -= 1;
        // What came between the last look and this needs another.
        self.0.upload_again();
    }
}

impl Shared {
    fn upload_again(self: &Arc<Self>) {
        // Without a runtime the process is ending.
        if tokio::runtime::Handle::try_current().is_ok() {
            self.upload(false);
        }
    }
}

#[cfg(test)]
mod tests;
