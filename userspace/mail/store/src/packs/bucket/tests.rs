use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions,
    PutOptions, PutResult,
};

use super::*;
use crate::frame::{Coding, Subject};

/// A bucket whose PUTs fail or hang when a test wants it.
#[derive(Debug, Default)]
struct Moody {
    bucket: InMemory,
    puts: AtomicU32,
    /// PUTs that fail, from the first one on: before the object is there, or after.
    fail_before: AtomicU32,
    fail_after: AtomicU32,
    /// Milliseconds that each PUT takes.
    slow: AtomicU32,
    /// PUTs that never end, from the first one on.
    hang: AtomicU32,
}

fn took(counter: &AtomicU32) -> bool {
    counter.try_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
}

fn unwell() -> object_store::Error {
    object_store::Error::Generic { store: "moody", source: "503 Slow Down".into() }
}

impl fmt::Display for Moody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("moody")
    }
}

impl ObjectStore for Moody {
    fn put_opts<'a, 'b, 'c>(
        &'a self,
        location: &'b Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> BoxFuture<'c, object_store::Result<PutResult>>
    where
        'a: 'c,
        'b: 'c,
    {
        async move {
            self.puts.fetch_add(1, Relaxed);
            if took(&self.hang) {
                std::future::pending::<()>().await;
            }
            sleep(Duration::from_millis(self.slow.load(Relaxed).into())).await;
            if took(&self.fail_before) {
                return Err(unwell());
            }
            let put = self.bucket.put_opts(location, payload, options).await;
            if took(&self.fail_after) { Err(unwell()) } else { put }
        }
        .boxed()
    }

    fn put_multipart_opts<'a, 'b, 'c>(
        &'a self,
        location: &'b Path,
        options: PutMultipartOptions,
    ) -> BoxFuture<'c, object_store::Result<Box<dyn MultipartUpload>>>
    where
        'a: 'c,
        'b: 'c,
    {
        self.bucket.put_multipart_opts(location, options)
    }

    fn get_opts<'a, 'b, 'c>(
        &'a self,
        location: &'b Path,
        options: GetOptions,
    ) -> BoxFuture<'c, object_store::Result<GetResult>>
    where
        'a: 'c,
        'b: 'c,
    {
        self.bucket.get_opts(location, options)
    }

    fn delete_stream(
        &self,
        locations: futures_util::stream::BoxStream<'static, object_store::Result<Path>>,
    ) -> futures_util::stream::BoxStream<'static, object_store::Result<Path>> {
        self.bucket.delete_stream(locations)
    }

    fn list(
        &self,
        prefix: Option<&Path>,
    ) -> futures_util::stream::BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.bucket.list(prefix)
    }

    fn list_with_delimiter<'a, 'b, 'c>(
        &'a self,
        prefix: Option<&'b Path>,
    ) -> BoxFuture<'c, object_store::Result<ListResult>>
    where
        'a: 'c,
        'b: 'c,
    {
        self.bucket.list_with_delimiter(prefix)
    }

    fn copy_opts<'a, 'b, 'd, 'c>(
        &'a self,
        from: &'b Path,
        to: &'d Path,
        options: CopyOptions,
    ) -> BoxFuture<'c, object_store::Result<()>>
    where
        'a: 'c,
        'b: 'c,
        'd: 'c,
    {
        self.bucket.copy_opts(from, to, options)
    }
}

fn frame(id: i64, length: usize) -> Frame {
    let content = Bytes::from(vec![id as u8; length]);
    let subject = Subject::Message { id, digest: [0; 16] };
    Frame::new(subject, Coding::Stored, 0, length, Bytes::new(), content).unwrap()
}

fn open(moody: &Arc<Moody>, patience: Duration) -> Arc<BucketPacks> {
    let options =
        PackOptions { object: 1 << 20, queue: 4 << 20, patience, ..PackOptions::default() };
    Arc::new(BucketPacks::on(Arc::<Moody>::clone(moody), "moody".into(), "shard1", options))
}

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_share_a_put() {
    let moody = Arc::new(Moody::default());
    moody.slow.store(30, Relaxed);
    let packs = open(&moody, PATIENCE);
    let identity = Identity::new(1, 1);
    let tasks: Vec<_> = (0..300)
        .map(|id| {
            let (packs, identity) = (Arc::clone(&packs), identity.clone());
            tokio::spawn(async move {
                (id, packs.append(vec![frame(id, 1000)], &identity).await.unwrap()[0])
            })
        })
        .collect();
    for task in tasks {
        let (id, place) = task.await.unwrap();
        assert_eq!(packs.read(place).await.unwrap(), frame(id, 1000).pieces(1).concat());
    }
    assert!(moody.puts.load(Relaxed) < 150, "{} PUTs", moody.puts.load(Relaxed));
    let status = packs.status();
    assert_eq!((status.frames, status.queued), (300, 0));
    let listed = packs.list().await.unwrap();
    assert_eq!(listed.len(), moody.puts.load(Relaxed) as usize);
    assert!(packs.is_sealed(listed[0].pack).await.unwrap());
}

#[tokio::test]
async fn a_put_that_fails_is_tried_under_another_name() {
    let moody = Arc::new(Moody::default());
    let packs = open(&moody, PATIENCE);
    let identity = Identity::new(1, 1);
    moody.fail_before.store(1, Relaxed);
    moody.fail_after.store(1, Relaxed);
    let place = packs.append(vec![frame(1, 10)], &identity).await.unwrap()[0];
    assert_eq!(moody.puts.load(Relaxed), 3);
    assert_eq!(place.pack, PackId(1 << 32 | 2));
    // The second one did arrive, and nobody names it.
    let listed: Vec<PackId> =
        packs.list().await.unwrap().into_iter().map(|info| info.pack).collect();
    assert_eq!(listed, [PackId(1 << 32 | 1), PackId(1 << 32 | 2)]);
    moody.fail_before.store(100, Relaxed);
    let error = packs.append(vec![frame(2, 10)], &identity).await.unwrap_err();
    assert!(error.may_pass() && error.to_string().contains("503"), "{error}");
    moody.fail_before.store(0, Relaxed);
    packs.append(vec![frame(3, 10)], &identity).await.unwrap();
}

/// Whoever comes when the bucket answers again doesn't wait for what hung before.
#[tokio::test]
async fn what_nobody_waits_for_is_given_up() {
    let moody = Arc::new(Moody::default());
    let packs = open(&moody, PATIENCE);
    let identity = Identity::new(1, 1);
    moody.hang.store(u32::MAX, Relaxed);
    for id in 0..20 {
        let append = packs.append(vec![frame(id, 10)], &identity);
        assert!(timeout(HELD_UP / 5, append).await.is_err());
    }
    assert!(moody.puts.load(Relaxed) > 0);
    moody.hang.store(0, Relaxed);
    let append = packs.append(vec![frame(100, 10)], &identity);
    timeout(PATIENCE / 4, append).await.unwrap().unwrap();
    assert_eq!(packs.status().queued, 0);
}

#[tokio::test]
async fn one_that_hangs_holds_nobody_up() {
    let moody = Arc::new(Moody::default());
    let packs = open(&moody, PATIENCE);
    let identity = Identity::new(1, 1);
    moody.hang.store(1, Relaxed);
    let hanging = tokio::spawn({
        let (packs, identity) = (Arc::clone(&packs), identity.clone());
        async move { packs.append(vec![frame(1, 10)], &identity).await }
    });
    while moody.puts.load(Relaxed) == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    let behind = packs.append(vec![frame(2, 10)], &identity);
    timeout(PATIENCE / 2, behind).await.expect("it is held up").unwrap();
    assert!(!hanging.is_finished());
    hanging.abort();
}

#[tokio::test]
async fn one_that_hangs_is_given_up() {
    let moody = Arc::new(Moody::default());
    let packs = open(&moody, Duration::from_millis(50));
    moody.hang.store(1, Relaxed);
    let place = packs.append(vec![frame(1, 10)], &Identity::new(1, 1)).await.unwrap()[0];
    assert_eq!((moody.puts.load(Relaxed), place.pack.0 & 1), (2, 1));
}

#[tokio::test]
async fn ranges_ends_and_what_is_gone() {
    let moody = Arc::new(Moody::default());
    let packs = open(&moody, PATIENCE);
    let place = packs.append(vec![frame(1, 100)], &Identity::new(1, 1)).await.unwrap()[0];
    let end = place.start + u64::from(place.length);
    let some = packs.read_some(place.pack, 0, 1000).await.unwrap();
    assert_eq!(some.len() as u64, end);
    assert_eq!(packs.read_some(place.pack, end, 1000).await.unwrap(), "");
    assert_eq!(packs.read_some(place.pack, end - 1, 1000).await.unwrap().len(), 1);
    let longer = packs.read(Place { length: place.length + 1, ..place }).await.unwrap_err();
    assert!(matches!(longer, PackError::Gone(_)), "{longer}");
    packs.delete(place.pack).await.unwrap();
    packs.delete(place.pack).await.unwrap();
    let gone = packs.read(place).await.unwrap_err();
    assert!(matches!(gone, PackError::Gone(_)) && !gone.may_pass(), "{gone}");
    packs.keep("0000000a.dictionary".into(), Bytes::from_static(b"one")).await.unwrap();
    assert_eq!(packs.kept("0000000a.dictionary".into()).await.unwrap(), "one");
    assert_eq!(packs.all_kept().await.unwrap(), ["0000000a.dictionary"]);
    assert_eq!(packs.list().await.unwrap(), []);
}

#[tokio::test]
async fn a_large_message_is_an_object_of_its_own() {
    let moody = Arc::new(Moody::default());
    let packs = open(&moody, PATIENCE);
    let identity = Identity::new(1, 1);
    let place = packs.append(vec![frame(1, 6 << 20)], &identity).await.unwrap()[0];
    assert_eq!(packs.read(place).await.unwrap().len(), (6 << 20) + 52);
}
