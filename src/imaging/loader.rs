//! Images for the window: what is looked at now comes first.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    path::PathBuf,
    sync::Arc,
    thread,
};

use parking_lot::{Condvar, Mutex};

use super::{
    FullCache, Gray, ImageError, ThumbnailStore, decode_gray, open_gray, read_file, thumbnail,
};
use crate::{
    domain::ImageId,
    jobs::Wake,
    storage::{Digest, digest},
};

/// Requests that may wait; beyond, the oldest thumbnail is dropped: nobody sees that many at once.
const WAITING: usize = 1024;
/// Loaded images that may wait to be polled before loading waits.
const UNREAD: usize = 256;
/// Pixels of full images kept, in bytes.
const FULL_BYTES: usize = 256 << 20;

/// Which version of an image. Full images are loaded before thumbnails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// At most [`super::THUMBNAIL_PX`] a side.
    Thumbnail,
    /// As large as it is.
    Full,
}

/// An image somebody wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Which image.
    pub id: ImageId,
    /// Its file.
    pub path: PathBuf,
    /// Hash of its file, if known: then a thumbnail needs no look at the file.
    pub content: Option<Digest>,
    /// Which version.
    pub kind: Kind,
}

/// An image, or the sentence why there is none.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Which image.
    pub id: ImageId,
    /// Which version.
    pub kind: Kind,
    /// The pixels.
    pub image: Result<Arc<Gray>, String>,
}

#[derive(Default)]
struct State {
    /// The last entry is served next.
    waiting: BTreeMap<(Kind, u64), Request>,
    /// Where a request stands in `waiting`.
    places: HashMap<(ImageId, Kind), (Kind, u64)>,
    running: HashSet<(ImageId, Kind)>,
    failed: HashMap<ImageId, String>,
    loaded: VecDeque<Loaded>,
    next: u64,
    closing: bool,
}

impl State {
    /// Puts a request in front, wherever it stood.
    fn wait(&mut self, request: Request) {
        let name = (request.id, request.kind);
        let place = (request.kind, self.next);
        self.next += 1;
        if let Some(old) = self.places.insert(name, place) {
            self.waiting.remove(&old);
        }
        self.waiting.insert(place, request);
        if self.waiting.len() > WAITING
            && let Some((_, dropped)) = self.waiting.pop_first()
        {
            self.places.remove(&(dropped.id, dropped.kind));
        }
    }
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    full: Mutex<FullCache>,
    thumbnails: Arc<ThumbnailStore>,
    wake: Wake,
}

/// Loads images on threads of its own, for a window that asks, each time it paints, for all it shows
/// and does not have. The newest request is served first, full images before thumbnails.
///
/// Dropping it ends the threads, after the image each is at.
pub struct Loader {
    shared: Arc<Shared>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Loader {
    /// Starts `threads` threads, at least one. `wake` is called after each image that can be polled.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn new(
        threads: usize,
        wake: Wake,
        thumbnails: Arc<ThumbnailStore>,
    ) -> std::io::Result<Self> {
        let mut loader = Self {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                changed: Condvar::new(),
                full: Mutex::new(FullCache::new(FULL_BYTES)),
                thumbnails,
                wake,
            }),
            threads: Vec::new(),
        };
        for number in 1..=threads.max(1) {
            let shared = loader.shared.clone();
            let thread = thread::Builder::new()
                .name(format!("loader {number}"))
                .spawn(move || shared.serve())?;
            loader.threads.push(thread);
        }
        Ok(loader)
    }

    /// Asks for an image. One that waits already moves to the front, one being loaded or not yet
    /// polled is not loaded twice, and one that failed before or is still in memory is answered at once. When very many
    /// wait, the oldest is dropped: ask again when it is still wanted.
    pub fn request(&self, request: Request) {
        let name = (request.id, request.kind);
        {
            let mut guard = self.shared.state.lock();
            let state = &mut *guard;
            let unread = |loaded: &Loaded| (loaded.id, loaded.kind) == name;
            if state.running.contains(&name) || state.loaded.iter().any(unread) {
                return;
            }
            let failed = state.failed.get(&request.id).cloned().map(Err);
            let Some(image) = failed.or_else(|| self.in_memory(&request).map(Ok)) else {
                state.wait(request);
                self.shared.changed.notify_one();
                return;
            };
            let (id, kind) = name;
            state.loaded.push_back(Loaded { id, kind, image });
        }
        (self.shared.wake)();
    }

    /// Drops the waiting requests that `keep` refuses: what has scrolled away.
    pub fn retain(&self, mut keep: impl FnMut(&Request) -> bool) {
        let mut guard = self.shared.state.lock();
        let State {
            waiting, places, ..
        } = &mut *guard;
        waiting.retain(|_, request| {
            let kept = keep(request);
            if !kept {
                places.remove(&(request.id, request.kind));
            }
            kept
        });
    }

    /// The next image that has been loaded, in the order they came, without waiting.
    #[must_use]
    pub fn poll(&self) -> Option<Loaded> {
        let mut state = self.shared.state.lock();
        let loaded = state.loaded.pop_front()?;
        // Those who may have waited for room.
        if state.loaded.len() + 1 == UNREAD {
            self.shared.changed.notify_all();
        }
        Some(loaded)
    }

    /// The full image, if it is still in memory.
    #[must_use]
    pub fn full(&self, id: ImageId) -> Option<Arc<Gray>> {
        self.shared.full.lock().get(id)
    }

    /// Forgets what is in memory of an image, a failure included: its file is different now.
    pub fn forget(&self, id: ImageId) {
        self.shared.state.lock().failed.remove(&id);
        self.shared.full.lock().remove(id);
    }

    fn in_memory(&self, request: &Request) -> Option<Arc<Gray>> {
        (request.kind == Kind::Full)
            .then(|| self.full(request.id))
            .flatten()
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        {
            let mut state = self.shared.state.lock();
            state.closing = true;
            state.waiting.clear();
        }
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A panic in there has been reported where it happened.
            drop(thread.join());
        }
    }
}

impl Shared {
    fn serve(&self) {
        while let Some(request) = self.next() {
            let image = self.load(&request).map_err(|error| error.to_string());
            let (id, kind) = (request.id, request.kind);
            {
                let mut state = self.state.lock();
                state.running.remove(&(id, kind));
                if let Err(text) = &image {
                    state.failed.insert(id, text.clone());
                }
                state.loaded.push_back(Loaded { id, kind, image });
            }
            (self.wake)();
        }
    }

    /// Waits for a request, and for room for its image; `None` when closing.
    fn next(&self) -> Option<Request> {
        let mut state = self.state.lock();
        loop {
            if state.closing {
                return None;
            }
            if state.loaded.len() < UNREAD
                && let Some((_, request)) = state.waiting.pop_last()
            {
                let name = (request.id, request.kind);
                state.places.remove(&name);
                state.running.insert(name);
                return Some(request);
            }
            self.changed.wait(&mut state);
        }
    }

    fn load(&self, request: &Request) -> Result<Arc<Gray>, ImageError> {
        match request.kind {
            Kind::Full => {
                let image = Arc::new(open_gray(&request.path)?);
                self.full.lock().put(request.id, image.clone());
                Ok(image)
            }
            Kind::Thumbnail => self.load_thumbnail(request).map(Arc::new),
        }
    }

    fn load_thumbnail(&self, request: &Request) -> Result<Gray, ImageError> {
        if let Some(small) = request.content.and_then(|c| self.thumbnails.get(&c)) {
            return Ok(small);
        }
        let bytes = read_file(&request.path)?;
        let content = digest(&bytes);
        if let Some(small) = self.thumbnails.get(&content) {
            return Ok(small);
        }
        let small = thumbnail(&decode_gray(&request.path, &bytes)?);
        self.thumbnails.put(&content, &small);
        Ok(small)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crossbeam_channel as channel;

    use super::*;
    use crate::imaging::testing::{png, ramp};

    /// A loader over `n` files `0.png`, ... whose pixels tell them apart, with its wake-ups.
    struct Bench {
        // Dropped first: until then it wakes.
        loader: Loader,
        wakes: channel::Receiver<()>,
        thumbnails: Arc<ThumbnailStore>,
        folder: tempfile::TempDir,
    }

    fn bench(n: u32, threads: usize) -> Bench {
        let folder = tempfile::tempdir().expect("a folder");
        for i in 0..n {
            let path = folder.path().join(format!("{i}.png"));
            std::fs::write(path, png(&ramp(i + 1, 4))).expect("written");
        }
        let thumbnails = Arc::new(ThumbnailStore::open(&folder.path().join("cache")));
        let (wake, wakes) = channel::bounded(10_000);
        let wake: Wake = Arc::new(move || wake.send(()).expect("still watched"));
        let loader = Loader::new(threads, wake, thumbnails.clone()).expect("threads");
        Bench {
            loader,
            wakes,
            thumbnails,
            folder,
        }
    }

    impl Bench {
        fn request(&self, i: u32, kind: Kind) {
            self.loader.request(Request {
                id: ImageId(i),
                path: self.folder.path().join(format!("{i}.png")),
                content: None,
                kind,
            });
        }

        fn wait(&self) -> Loaded {
            (self.wakes.recv_timeout(Duration::from_secs(60))).expect("an image comes");
            self.loader.poll().expect("sent before the wake-up")
        }

        /// The names of what waits, the next to be served first.
        fn waiting(&self) -> Vec<(u32, Kind)> {
            let state = self.loader.shared.state.lock();
            let requests = state.waiting.values().rev();
            requests.map(|r| (r.id.0, r.kind)).collect()
        }
    }

    /// Holds every thread back: as many images as may be unread.
    fn hold(bench: &Bench) {
        let mut state = bench.loader.shared.state.lock();
        for _ in 0..UNREAD {
            state.loaded.push_back(Loaded {
                id: ImageId(u32::MAX),
                kind: Kind::Thumbnail,
                image: Err("a place taken".into()),
            });
        }
    }

    #[test]
    fn full_images_come_first_and_then_the_newest() {
        let bench = bench(5, 1);
        hold(&bench);
        for (i, kind) in [
            (0, Kind::Thumbnail),
            (1, Kind::Full),
            (2, Kind::Thumbnail),
            (3, Kind::Full),
            (4, Kind::Thumbnail),
            (0, Kind::Thumbnail),
        ] {
            bench.request(i, kind);
        }
        let order = [
            (3, Kind::Full),
            (1, Kind::Full),
            (0, Kind::Thumbnail),
            (4, Kind::Thumbnail),
            (2, Kind::Thumbnail),
        ];
        assert_eq!(bench.waiting(), order);
        bench.loader.retain(|request| request.id.0 != 4);
        for _ in 0..UNREAD {
            assert!(bench.loader.poll().is_some());
        }
        for expected in [order[0], order[1], order[2], order[4]] {
            let loaded = bench.wait();
            assert_eq!((loaded.id.0, loaded.kind), expected);
            let image = loaded.image.expect("decoded");
            assert_eq!(
                image.pixels.len() % (image.width * image.height) as usize,
                0
            );
        }
        assert!(bench.loader.poll().is_none());
    }

    #[test]
    fn when_very_many_wait_the_oldest_thumbnail_is_dropped() {
        let bench = bench(0, 1);
        hold(&bench);
        bench.request(0, Kind::Full);
        for i in 0..=WAITING as u32 {
            bench.request(i, Kind::Thumbnail);
        }
        let waiting = bench.waiting();
        assert_eq!(waiting.len(), WAITING);
        assert_eq!(waiting[0], (0, Kind::Full));
        assert_eq!(waiting[1], (WAITING as u32, Kind::Thumbnail));
        assert_eq!(waiting.last(), Some(&(2, Kind::Thumbnail)));
    }

    #[test]
    fn a_full_image_stays_in_memory() {
        let bench = bench(2, 2);
        assert!(bench.loader.full(ImageId(1)).is_none());
        bench.request(1, Kind::Full);
        let image = bench.wait().image.expect("decoded");
        assert_eq!(*image, ramp(2, 4));
        std::fs::remove_file(bench.folder.path().join("1.png")).expect("removed");
        bench.request(1, Kind::Full);
        let again = bench.wait().image.expect("still in memory");
        assert!(Arc::ptr_eq(&image, &again));
        bench.loader.forget(ImageId(1));
        assert!(bench.loader.full(ImageId(1)).is_none());
    }

    #[test]
    fn a_thumbnail_is_kept_for_the_next_time() {
        let bench = bench(1, 1);
        bench.request(0, Kind::Thumbnail);
        let small = bench.wait().image.expect("decoded");
        let path = bench.folder.path().join("0.png");
        let content = digest(&std::fs::read(&path).expect("read"));
        assert_eq!(bench.thumbnails.get(&content).as_ref(), Some(&*small));
        std::fs::remove_file(&path).expect("removed");
        bench.loader.request(Request {
            id: ImageId(0),
            path,
            content: Some(content),
            kind: Kind::Thumbnail,
        });
        assert_eq!(bench.wait().image, Ok(small));
    }

    #[test]
    fn a_failure_is_told_again_without_reading_until_forgotten() {
        let bench = bench(0, 1);
        let path = bench.folder.path().join("0.png");
        bench.request(0, Kind::Thumbnail);
        let text = bench.wait().image.expect_err("not there");
        assert!(text.contains("0.png"), "{text}");
        std::fs::write(path, png(&ramp(3, 3))).expect("written");
        bench.request(0, Kind::Full);
        assert_eq!(bench.wait().image, Err(text));
        bench.loader.forget(ImageId(0));
        bench.request(0, Kind::Full);
        assert!(bench.wait().image.is_ok());
    }

    #[test]
    fn closing_drops_what_waits() {
        let bench = bench(3, 1);
        hold(&bench);
        for i in 0..3 {
            bench.request(i, Kind::Full);
        }
        drop(bench.loader);
        assert!(bench.wakes.try_recv().is_err(), "nothing was loaded");
    }
}
