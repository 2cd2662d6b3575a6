//! A hub of our own on this machine: announces a file, redirects to where its bytes lie, serves ranges, and
//! misbehaves when told to.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use sha2::{Digest as _, Sha256};

/// What it serves and how.
#[derive(Clone, Default)]
pub struct Behaviour {
    pub content: Vec<u8>,
    /// The hash it announces; none at all with `None`.
    pub announced: Option<String>,
    /// The length it announces, where not the true one.
    pub announced_size: Option<u64>,
    /// After how many bytes of each of the next bodies the connection is cut.
    pub cuts: Vec<usize>,
    /// Statuses that the next questions are answered with, whatever they are.
    pub statuses: Vec<u16>,
    /// Answers a range with the whole.
    pub no_ranges: bool,
    /// What `GET` sends in place of the content.
    pub instead: Option<Vec<u8>>,
    /// The repository was renamed: the old address leads to `/renamed`.
    pub renamed: bool,
}

impl Behaviour {
    /// A hub that serves `content` as it should.
    pub fn of(content: &[u8]) -> Self {
        Self {
            content: content.to_vec(),
            announced: Some(sha256(content)),
            ..Self::default()
        }
    }
}

pub fn sha256(content: &[u8]) -> String {
    let hash = Sha256::digest(content);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One question to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub range: Option<String>,
}

#[derive(Default)]
struct State {
    behaviour: Behaviour,
    asked: Vec<Asked>,
}

pub struct Hub {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    closing: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Hub {
    pub fn serving(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            behaviour,
            asked: Vec::new(),
        }));
        let closing = Arc::new(AtomicBool::new(false));
        let (shared, stop) = (state.clone(), closing.clone());
        let serve = move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                // A client that went away in the middle is what some tests are about.
                drop(answer(&stream.unwrap(), &shared, address));
            }
        };
        let thread = thread::Builder::new().name("hub".into()).spawn(serve);
        Self {
            address,
            state,
            closing,
            thread: Some(thread.unwrap()),
        }
    }

    /// Where it is, as `--hub` wants it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address of the one file it has.
    pub fn file(&self) -> String {
        format!("{}/made/up/resolve/main/model.safetensors", self.url())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.state().behaviour);
    }

    /// Every question so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    /// The ranges that the server of the bytes was asked for, one for each `GET` that reached it.
    pub fn ranges(&self) -> Vec<Option<String>> {
        let asked = self.asked().into_iter();
        let bytes = asked.filter(|a| a.method == "GET" && a.path.starts_with("/bytes/"));
        bytes.map(|a| a.range).collect()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        // Wakes the listener, which then sees that it is over.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Reads one question and answers it; every connection is for one.
fn answer(stream: &TcpStream, state: &Mutex<State>, address: SocketAddr) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    let mut words = first.split(' ').map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Ok(());
    };
    let mut range = None;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("range")
        {
            range = Some(value.trim().to_owned());
        }
    }
    let (behaviour, status, cut) = {
        let mut state = state.lock().unwrap();
        let behaviour = state.behaviour.clone();
        let next = &mut state.behaviour;
        let status = (!next.statuses.is_empty()).then(|| next.statuses.remove(0));
        let body = method == "GET" && path.starts_with("/bytes/");
        let cut = (body && status.is_none() && !next.cuts.is_empty()).then(|| next.cuts.remove(0));
        state.asked.push(Asked {
            method: method.clone(),
            path: path.clone(),
            range: range.clone(),
        });
        (behaviour, status, cut)
    };
    if let Some(status) = status {
        return head(
            stream,
            &format!("{status} As told"),
            &["Content-Length: 0".into()],
        );
    }
    if path.starts_with("/bytes/") {
        return bytes(stream, &behaviour, range.as_deref(), cut);
    }
    if behaviour.renamed && !path.starts_with("/renamed") {
        let moved = format!("Location: /renamed{path}");
        return head(
            stream,
            "307 Temporary Redirect",
            &[moved, "Content-Length: 0".into()],
        );
    }
    let size = behaviour
        .announced_size
        .unwrap_or(behaviour.content.len() as u64);
    let mut headers = vec![
        format!("Location: http://{address}/bytes/1"),
        format!("X-Linked-Size: {size}"),
        "X-Repo-Commit: 393d84c".to_owned(),
        "Content-Length: 0".to_owned(),
    ];
    if let Some(hash) = &behaviour.announced {
        headers.push(format!("X-Linked-Etag: \"{hash}\""));
    }
    head(stream, "302 Found", &headers)
}

fn bytes(
    stream: &TcpStream,
    behaviour: &Behaviour,
    range: Option<&str>,
    cut: Option<usize>,
) -> std::io::Result<()> {
    let content = behaviour.instead.as_ref().unwrap_or(&behaviour.content);
    let asked = range.filter(|_| !behaviour.no_ranges);
    let start: Option<usize> = asked.map(|range| {
        let from = range
            .strip_prefix("bytes=")
            .and_then(|r| r.strip_suffix('-'));
        from.unwrap().parse().unwrap()
    });
    let total = content.len();
    if start.is_some_and(|start| start >= total) {
        let headers = [
            format!("Content-Range: bytes */{total}"),
            "Content-Length: 0".into(),
        ];
        return head(stream, "416 Range Not Satisfiable", &headers);
    }
    let rest = &content[start.unwrap_or(0)..];
    let mut headers = vec![
        format!("Content-Length: {}", rest.len()),
        "ETag: \"of-the-bytes\"".to_owned(),
    ];
    let status = match start {
        None => "200 OK",
        Some(start) => {
            headers.push(format!(
                "Content-Range: bytes {start}-{}/{total}",
                total - 1
            ));
            "206 Partial Content"
        }
    };
    head(stream, status, &headers)?;
    let mut stream = stream;
    stream.write_all(&rest[..cut.unwrap_or(rest.len()).min(rest.len())])
}

fn head(mut stream: &TcpStream, status: &str, headers: &[String]) -> std::io::Result<()> {
    let headers = headers.join("\r\n");
    write!(
        stream,
        "HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n\r\n"
    )
}
