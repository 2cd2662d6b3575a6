//! Fetching one large file over HTTP: going on from where it broke off, and kept only with the right hash.
//!
//! The hub of published models announces a file before it sends it. `HEAD` answers, with a redirect to
//! where the bytes lie, the file's SHA-256 (`X-Linked-Etag`), its length (`X-Linked-Size`) and the revision
//! of its repository (`X-Repo-Commit`), as `get_hf_file_metadata` in `huggingface_hub/file_download.py`
//! reads them.
//!
//! What has come lies beside the target as `<name>.<start of the SHA-256>.part` until it is whole. The name
//! says which file it is a part of, so that nothing goes on from a part of another one; the hash of the
//! whole is what decides in the end.

mod client;
mod part;

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

pub use client::is_sha256;

use client::{Announced, Client};
use part::{Part, sha256_of};

use super::{StorageError, atomic::folder_of, create_dir};

/// Waits before another try: half a minute in all for a network to come back.
pub const WAITS: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
];
/// How often a wait asks whether to go on.
const TICK: Duration = Duration::from_millis(100);
/// Bytes taken from the connection at once.
const CHUNK: usize = 64 * 1024;

/// What to fetch and where to.
#[derive(Clone, Debug)]
pub struct DownloadRequest<'a> {
    /// Address, `https://` or `http://`. From an `https` one no redirect leads to `http`.
    pub url: &'a str,
    /// The file to write.
    pub target: &'a Path,
    /// SHA-256 it has to have, 64 hexadecimal digits; what the server announces when not given.
    pub sha256: Option<&'a str>,
    /// Waits before another try after one that brought nothing; usually [`WAITS`].
    pub waits: &'a [Duration],
}

/// Why a file was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// It was asked to stop.
    #[error("stopped; what has come so far is kept, and the same command goes on from there")]
    Stopped,
    /// An address that cannot be asked.
    #[error(
        "{url} cannot be fetched from ({what}); give a whole address that starts with https:// or http://"
    )]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        what: String,
    },
    /// Redirects without end, or from `https` to `http`.
    #[error("{url} does not lead to a file ({what}); ask another server")]
    Redirect {
        /// The address.
        url: String,
        /// What is wrong with where it leads.
        what: String,
    },
    /// No network, no such host, nobody listening, or a certificate that is not trusted.
    #[error("{url} cannot be reached ({what})")]
    Unreachable {
        /// The address.
        url: String,
        /// What the system said.
        what: String,
    },
    /// The server has no such file.
    #[error(
        "there is no {url}: its server answered {status}; the file may have moved, or a mirror may not hold it"
    )]
    NotFound {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The server wants to know who asks.
    #[error(
        "{url} may not be read without an account: its server answered {status}; fetch it with a browser, or ask another server"
    )]
    Forbidden {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// Any other answer that is no file.
    #[error("the server of {url} answered {status}; try again later, or ask another server")]
    Server {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The connection broke off, again and again.
    #[error(
        "the connection to {url} broke off ({what}) and trying again brought nothing; {have} bytes are kept in {part}, and the same command goes on from there"
    )]
    Interrupted {
        /// The address.
        url: String,
        /// What the system said.
        what: String,
        /// Bytes that have come.
        have: u64,
        /// The file they are kept in.
        part: PathBuf,
    },
    /// Nothing to check the file against.
    #[error(
        "the server of {url} announces no SHA-256, so that nobody could tell whether what comes is right; give the hash its publisher states, or ask another server"
    )]
    NoHash {
        /// The address.
        url: String,
    },
    /// The server has another file than the one asked for.
    #[error(
        "the server of {url} announces SHA-256 {announced}, but {wanted} was asked for: one of the two is another file"
    )]
    OtherFile {
        /// The address.
        url: String,
        /// The hash announced.
        announced: String,
        /// The hash asked for.
        wanted: String,
    },
    /// The file is announced with one length and sent with another.
    #[error(
        "{url} is {found} bytes long, but {announced} were announced: something else answers in its place, such as the page of a proxy"
    )]
    OtherSize {
        /// The address.
        url: String,
        /// Bytes it would send.
        found: u64,
        /// Bytes announced.
        announced: u64,
    },
    /// What came is not what was announced.
    #[error(
        "what came from {url} has SHA-256 {found} instead of {wanted} and was removed; fetch it again, and should that end the same, ask another server"
    )]
    WrongHash {
        /// The address.
        url: String,
        /// Its hash.
        found: String,
        /// The hash it should have.
        wanted: String,
    },
    /// Too little room for it.
    #[error(
        "{needed} bytes are still to come, but {folder} has room for {free}; free some space and try again"
    )]
    NoRoom {
        /// The folder.
        folder: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// Bytes there are.
        free: u64,
    },
    /// Another process is at it.
    #[error("another program is writing {part}; wait until it is done")]
    Busy {
        /// The file it writes.
        part: PathBuf,
    },
    /// A file of ours.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A file with the right hash: [`keep`](Self::keep) it, or [`discard`](Self::discard) it. Where neither
/// is done its part stays, and the next download finds it whole.
#[derive(Debug)]
pub struct Fetched {
    /// Its SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
    /// Bytes that were there before, from an earlier try; all of them where nothing had to be fetched.
    pub had: u64,
    /// Revision of the repository, if the server named it.
    pub revision: Option<String>,
    target: PathBuf,
    /// `None` where the target was right already.
    part: Option<Part>,
}

impl Fetched {
    /// Where it can be read now.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.part.as_ref().map_or(&self.target, Part::path)
    }

    /// Puts it in the place of its target, durably, and removes parts of other versions.
    ///
    /// # Errors
    /// [`StorageError`] naming the file.
    pub fn keep(self) -> Result<(), StorageError> {
        self.part.map_or(Ok(()), |part| part.publish(&self.target))
    }

    /// Removes it; a target that was there before stays.
    ///
    /// # Errors
    /// [`StorageError`] naming the file.
    pub fn discard(self) -> Result<(), StorageError> {
        self.part.map_or(Ok(()), Part::discard)
    }
}

/// Fetches a file, or finds that its target is right already. `progress` gets the bytes that are there
/// and those in all (0: not known), and stops it with `false`.
///
/// # Errors
/// [`DownloadError`], one variant for each way it can end; what has come stays for the next try, unless it
/// is wrong.
pub fn download(
    request: &DownloadRequest<'_>,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Fetched, DownloadError> {
    let mut watch = Watch {
        progress,
        done: 0,
        total: 0,
    };
    let client = Client::new(request.url)?;
    let announced = persist(request.waits, &mut watch, |_| client.announced())?;
    let sha256 = expected(request, &announced)?;
    let fetched = |bytes, had, part| Fetched {
        sha256: sha256.clone(),
        bytes,
        had,
        revision: announced.revision.clone(),
        target: request.target.to_owned(),
        part,
    };
    if let Some(bytes) = present(request.target, &sha256)? {
        return Ok(fetched(bytes, bytes, None));
    }
    let folder = folder_of(request.target);
    create_dir(folder)?;
    let mut part = Part::open(request.target, &sha256)?;
    check_room(folder, announced.size, part.len())?;
    let received = persist(request.waits, &mut watch, |watch| {
        receive(&client, &mut part, announced.size, watch)
    });
    if let Err(error) = received {
        return Err(left_with(part, error));
    }
    let found = part.sha256()?;
    if found != sha256 {
        part.discard()?;
        return Err(DownloadError::WrongHash {
            url: request.url.to_owned(),
            found,
            wanted: sha256,
        });
    }
    Ok(fetched(part.len(), part.had(), Some(part)))
}

/// The error with which a download ends: one that says what is kept, if anything is.
fn left_with(part: Part, error: DownloadError) -> DownloadError {
    if part.len() == 0 {
        // An empty part is of no use; that it could not be removed is not what went wrong.
        drop(part.discard());
        return error;
    }
    match error {
        DownloadError::Unreachable { url, what } => DownloadError::Interrupted {
            url,
            what,
            have: part.len(),
            part: part.path().to_owned(),
        },
        other => other,
    }
}

/// The hash that the file has to have.
fn expected(request: &DownloadRequest<'_>, announced: &Announced) -> Result<String, DownloadError> {
    let url = || request.url.to_owned();
    let wanted = request.sha256.map(str::to_ascii_lowercase);
    match (wanted, announced.sha256.clone()) {
        (None, None) => Err(DownloadError::NoHash { url: url() }),
        (Some(wanted), Some(announced)) if wanted != announced => Err(DownloadError::OtherFile {
            url: url(),
            announced,
            wanted,
        }),
        (Some(hash), _) | (None, Some(hash)) => Ok(hash),
    }
}

/// The length of `target`, if it is there and has that hash.
fn present(target: &Path, sha256: &str) -> Result<Option<u64>, DownloadError> {
    let read = |error| StorageError::io("read", target, error);
    let mut file = match fs::File::open(target) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(read(error).into()),
    };
    let right = sha256_of(&mut file).map_err(read)? == sha256;
    let bytes = file.metadata().map_err(read)?.len();
    Ok(right.then_some(bytes))
}

/// Refuses a file that cannot fit, before any of it is fetched.
fn check_room(folder: &Path, size: Option<u64>, have: u64) -> Result<(), DownloadError> {
    let needed = size.unwrap_or(0).saturating_sub(have);
    match fs4::available_space(folder) {
        Ok(free) if free < needed => Err(DownloadError::NoRoom {
            folder: folder.to_owned(),
            needed,
            free,
        }),
        // Where the system does not say, writing will.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// A try that did not bring the whole file.
enum Trouble {
    /// Trying again would not help.
    Final(DownloadError),
    /// It might.
    Passing {
        /// What to say if it does not.
        error: DownloadError,
        /// Whether at least some bytes came.
        moved: bool,
    },
}

impl From<DownloadError> for Trouble {
    fn from(error: DownloadError) -> Self {
        Self::Final(error)
    }
}

impl From<StorageError> for Trouble {
    fn from(error: StorageError) -> Self {
        Self::Final(error.into())
    }
}

/// Who is told of progress, and may end it.
struct Watch<'a> {
    progress: &'a mut dyn FnMut(u64, u64) -> bool,
    done: u64,
    total: u64,
}

impl Watch<'_> {
    fn report(&mut self, done: u64, total: u64) -> Result<(), DownloadError> {
        (self.done, self.total) = (done, total);
        if (self.progress)(done, total) {
            Ok(())
        } else {
            Err(DownloadError::Stopped)
        }
    }

    fn pause(&mut self, wait: Duration) -> Result<(), DownloadError> {
        let until = Instant::now() + wait;
        loop {
            self.report(self.done, self.total)?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(TICK));
        }
    }
}

/// Tries until it works, waiting longer after each try that brought nothing.
fn persist<T>(
    waits: &[Duration],
    watch: &mut Watch<'_>,
    mut attempt: impl FnMut(&mut Watch<'_>) -> Result<T, Trouble>,
) -> Result<T, DownloadError> {
    let mut fruitless = 0;
    loop {
        let (error, moved) = match attempt(watch) {
            Ok(done) => return Ok(done),
            Err(Trouble::Final(error)) => return Err(error),
            Err(Trouble::Passing { error, moved }) => (error, moved),
        };
        if moved {
            fruitless = 0;
        }
        let Some(wait) = waits.get(fruitless) else {
            return Err(error);
        };
        fruitless += 1;
        tracing::info!("{error}; trying again in {wait:?}");
        watch.pause(*wait)?;
    }
}

/// Fetches what `part` lacks.
fn receive(
    client: &Client,
    part: &mut Part,
    size: Option<u64>,
    watch: &mut Watch<'_>,
) -> Result<(), Trouble> {
    if size.is_some_and(|size| part.len() > size) {
        part.restart()?;
    }
    if size == Some(part.len()) {
        return Ok(());
    }
    let Some(mut answer) = client.get(part.len())? else {
        part.restart()?;
        return Err(client.broke_off(
            &io::Error::other("the server cannot go on from there").into(),
            false,
        ));
    };
    if let (Some(found), Some(announced)) = (answer.size, size)
        && found != announced
    {
        return Err(Trouble::Final(DownloadError::OtherSize {
            url: client.url().to_owned(),
            found,
            announced,
        }));
    }
    if answer.from != part.len() {
        // The server sends all of it where only the rest was asked for.
        part.restart()?;
    }
    let size = size.or(answer.size);
    let (start, mut buffer) = (part.len(), vec![0; CHUNK]);
    loop {
        watch.report(part.len(), size.unwrap_or(0))?;
        match answer.body.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => part.append(&buffer[..n])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(client.broke_off(&error.into(), part.len() > start)),
        }
        // More than was announced cannot be right: its hash will say so.
        if size.is_some_and(|size| part.len() > size) {
            break;
        }
    }
    if size.is_some_and(|size| part.len() < size) {
        return Err(client.broke_off(
            &io::Error::other("it ended early").into(),
            part.len() > start,
        ));
    }
    Ok(())
}
