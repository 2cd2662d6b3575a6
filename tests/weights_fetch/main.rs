//! Fetching weights, from a hub on this machine: nothing here needs the internet.
#![cfg(feature = "torch")]
#![expect(clippy::unwrap_used, reason = "tests")]

mod hub;
mod program;

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

use driftscope::storage::download::{DownloadError, DownloadRequest, Fetched, download};
use hub::{Behaviour, Hub, sha256};

const NO_WAITS: &[Duration] = &[];
const SHORT_WAITS: &[Duration] = &[Duration::from_millis(5), Duration::from_millis(10)];

/// A folder to fetch into.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn target(&self) -> PathBuf {
        self.0.path().join("model.safetensors")
    }

    /// Where the part of `content` lies.
    fn part(&self, content: &[u8]) -> PathBuf {
        let name = format!("model.safetensors.{}.part", &sha256(content)[..16]);
        self.0.path().join(name)
    }

    fn names(&self) -> Vec<String> {
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let names = fs::read_dir(self.0.path()).unwrap().map(name);
        let mut names: Vec<String> = names.map(|n| n.into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn fetch(&self, hub: &Hub, waits: &[Duration]) -> Result<Fetched, DownloadError> {
        self.fetch_from(&hub.file(), None, waits)
    }

    fn fetch_from(
        &self,
        url: &str,
        sha256: Option<&str>,
        waits: &[Duration],
    ) -> Result<Fetched, DownloadError> {
        let target = self.target();
        let request = DownloadRequest {
            url,
            target: &target,
            sha256,
            waits,
        };
        download(&request, &mut |_, _| true)
    }
}

/// Bytes without a pattern that a mistaken offset could hide in.
fn content(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn from(start: usize) -> Option<String> {
    Some(format!("bytes={start}-"))
}

#[track_caller]
fn holds(path: &Path, wanted: &[u8]) {
    assert!(fs::read(path).unwrap() == wanted, "{}", path.display());
}

#[test]
fn a_file_comes_whole_and_nothing_is_left_beside_it() {
    let (place, content) = (Place::new(), content(300_000, 1));
    let hub = Hub::serving(Behaviour::of(&content));
    let (target, url) = (place.target(), hub.file());
    let request = DownloadRequest {
        url: &url,
        target: &target,
        sha256: None,
        waits: NO_WAITS,
    };
    let mut seen = Vec::new();
    let fetched = download(&request, &mut |done, total| {
        seen.push((done, total));
        true
    });
    let fetched = fetched.unwrap();
    assert!(!target.exists(), "only what was kept is under its name");
    holds(fetched.path(), &content);
    assert_eq!(fetched.sha256, sha256(&content));
    assert_eq!((fetched.bytes, fetched.had), (300_000, 0));
    assert_eq!(fetched.revision.as_deref(), Some("393d84c"));
    fetched.keep().unwrap();
    holds(&target, &content);
    assert_eq!(place.names(), ["model.safetensors"]);
    assert_eq!(seen.first(), Some(&(0, 300_000)));
    assert_eq!(seen.last(), Some(&(300_000, 300_000)));
    assert!(seen.is_sorted());
    let methods: Vec<String> = hub.asked().into_iter().map(|a| a.method).collect();
    assert_eq!(methods, ["HEAD", "GET", "GET"]);
}

#[test]
fn what_is_there_and_right_is_not_fetched_again() {
    let (place, content) = (Place::new(), content(10_000, 1));
    let hub = Hub::serving(Behaviour::of(&content));
    fs::write(place.target(), &content).unwrap();
    let fetched = place.fetch(&hub, NO_WAITS).unwrap();
    assert_eq!((fetched.bytes, fetched.had), (10_000, 10_000));
    fetched.keep().unwrap();
    assert_eq!(hub.ranges(), []);
    // Another content under the name is replaced.
    fs::write(place.target(), b"old").unwrap();
    place.fetch(&hub, NO_WAITS).unwrap().keep().unwrap();
    holds(&place.target(), &content);
}

#[test]
fn cut_connections_are_taken_up_where_they_broke_off() {
    let (place, content) = (Place::new(), content(300_000, 2));
    let hub = Hub::serving(Behaviour {
        // More cuts than tries: what brings something is no fruitless try.
        cuts: vec![100_000, 50_000, 1, 70_000],
        ..Behaviour::of(&content)
    });
    place.fetch(&hub, SHORT_WAITS).unwrap().keep().unwrap();
    holds(&place.target(), &content);
    let starts = [
        None,
        from(100_000),
        from(150_000),
        from(150_001),
        from(220_001),
    ];
    assert_eq!(hub.ranges(), starts);
}

#[test]
fn a_later_call_asks_only_for_the_rest() {
    let (place, content) = (Place::new(), content(300_000, 3));
    let hub = Hub::serving(Behaviour {
        cuts: vec![123_456],
        ..Behaviour::of(&content)
    });
    let error = place.fetch(&hub, NO_WAITS).unwrap_err();
    let DownloadError::Interrupted { have, part, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!((*have, part), (123_456, &place.part(&content)));
    holds(part, &content[..123_456]);
    let fetched = place.fetch(&hub, NO_WAITS).unwrap();
    assert_eq!((fetched.bytes, fetched.had), (300_000, 123_456));
    fetched.keep().unwrap();
    holds(&place.target(), &content);
    assert_eq!(hub.ranges(), [None, from(123_456)]);
    assert_eq!(place.names(), ["model.safetensors"]);
}

#[test]
fn a_part_that_is_whole_is_only_checked() {
    let (place, content) = (Place::new(), content(20_000, 3));
    let hub = Hub::serving(Behaviour::of(&content));
    drop(place.fetch(&hub, NO_WAITS).unwrap());
    assert!(place.part(&content).exists() && !place.target().exists());
    place.fetch(&hub, NO_WAITS).unwrap().keep().unwrap();
    holds(&place.target(), &content);
    assert_eq!(hub.ranges(), [None]);
}

#[test]
fn without_ranges_it_starts_over() {
    let (place, content) = (Place::new(), content(200_000, 4));
    let hub = Hub::serving(Behaviour {
        cuts: vec![80_000],
        no_ranges: true,
        ..Behaviour::of(&content)
    });
    let fetched = place.fetch(&hub, SHORT_WAITS).unwrap();
    assert_eq!(fetched.had, 0);
    fetched.keep().unwrap();
    holds(&place.target(), &content);
    assert_eq!(hub.ranges(), [None, from(80_000)]);
}

#[test]
fn a_part_that_the_server_cannot_continue_is_fetched_anew() {
    let (place, content) = (Place::new(), content(50_000, 5));
    fs::write(place.part(&content), &content[..20_000]).unwrap();
    // The server of the bytes has a shorter file than was announced, for a while.
    let hub = Hub::serving(Behaviour {
        instead: Some(content[..10_000].to_vec()),
        ..Behaviour::of(&content)
    });
    let error = place.fetch(&hub, NO_WAITS).unwrap_err();
    assert!(error.to_string().contains("cannot go on"), "{error}");
    assert!(place.names().is_empty());
    hub.change(|b| b.instead = None);
    place.fetch(&hub, NO_WAITS).unwrap().keep().unwrap();
    holds(&place.target(), &content);
    assert_eq!(hub.ranges(), [from(20_000), None]);
}

#[test]
fn a_part_longer_than_the_file_is_fetched_anew() {
    let (place, content) = (Place::new(), content(5_000, 5));
    fs::write(place.part(&content), vec![7; 6_000]).unwrap();
    let hub = Hub::serving(Behaviour::of(&content));
    place.fetch(&hub, NO_WAITS).unwrap().keep().unwrap();
    holds(&place.target(), &content);
    assert_eq!(hub.ranges(), [None]);
}

#[test]
fn a_file_changed_between_two_tries_is_fetched_from_its_start() {
    let (place, old, new) = (Place::new(), content(90_000, 6), content(80_000, 7));
    let hub = Hub::serving(Behaviour {
        cuts: vec![40_000],
        ..Behaviour::of(&old)
    });
    place.fetch(&hub, NO_WAITS).unwrap_err();
    hub.change(|b| *b = Behaviour::of(&new));
    place.fetch(&hub, NO_WAITS).unwrap().keep().unwrap();
    holds(&place.target(), &new);
    assert_eq!(hub.ranges(), [None, None]);
    assert_eq!(place.names(), ["model.safetensors"], "the old part is gone");
}

#[test]
fn a_wrong_hash_leaves_nothing_and_what_was_there_stays() {
    let (place, content) = (Place::new(), content(70_000, 8));
    fs::write(place.target(), b"before").unwrap();
    let wanted = sha256(b"something else");
    let hub = Hub::serving(Behaviour {
        announced: Some(wanted.clone()),
        ..Behaviour::of(&content)
    });
    let error = place.fetch(&hub, SHORT_WAITS).unwrap_err();
    assert!(matches!(error, DownloadError::WrongHash { .. }), "{error}");
    let text = error.to_string();
    for part in [&wanted, &sha256(&content), "removed"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(place.names(), ["model.safetensors"]);
    holds(&place.target(), b"before");
    assert_eq!(hub.ranges(), [None], "it is not tried again");
}

#[test]
fn without_a_hash_nothing_is_fetched_unless_one_is_given() {
    let (place, content) = (Place::new(), content(1_000, 9));
    let hub = Hub::serving(Behaviour {
        announced: None,
        ..Behaviour::of(&content)
    });
    let error = place.fetch(&hub, SHORT_WAITS).unwrap_err();
    assert!(matches!(error, DownloadError::NoHash { .. }), "{error}");
    assert_eq!((hub.ranges(), place.names()), (vec![], vec![]));

    let hash = sha256(&content).to_ascii_uppercase();
    let fetched = place.fetch_from(&hub.file(), Some(&hash), NO_WAITS);
    fetched.unwrap().keep().unwrap();
    holds(&place.target(), &content);
}

#[test]
fn a_server_that_announces_another_file_than_was_asked_for_is_not_asked_for_it() {
    let (place, content) = (Place::new(), content(1_000, 9));
    let hub = Hub::serving(Behaviour::of(&content));
    let other = sha256(b"the file I want");
    let error = place.fetch_from(&hub.file(), Some(&other), NO_WAITS);
    let error = error.unwrap_err();
    assert!(matches!(error, DownloadError::OtherFile { .. }), "{error}");
    assert_eq!(hub.ranges(), []);
}

#[test]
fn a_plain_server_will_do_when_the_hash_is_given() {
    let (place, content) = (Place::new(), content(60_000, 10));
    let hub = Hub::serving(Behaviour {
        cuts: vec![25_000],
        ..Behaviour::of(&content)
    });
    // No announcement at all: the address of the bytes themselves, and no `HEAD`.
    hub.change(|b| b.statuses = vec![405]);
    let url = format!("{}/bytes/1", hub.url());
    let hash = sha256(&content);
    let fetched = place.fetch_from(&url, Some(&hash), SHORT_WAITS).unwrap();
    assert_eq!(fetched.revision, None);
    fetched.keep().unwrap();
    holds(&place.target(), &content);
    assert_eq!(hub.ranges(), [None, from(25_000)]);
}

#[test]
fn a_renamed_repository_is_followed_to_its_announcement() {
    let (place, content) = (Place::new(), content(1_000, 11));
    let hub = Hub::serving(Behaviour {
        renamed: true,
        ..Behaviour::of(&content)
    });
    place.fetch(&hub, NO_WAITS).unwrap().keep().unwrap();
    holds(&place.target(), &content);
    let asked = hub.asked();
    assert!(asked[1].method == "HEAD" && asked[1].path.starts_with("/renamed/"));
}

#[test]
fn refusals_are_told_apart_and_not_tried_again() {
    for (status, said) in [
        (404, "there is no http://"),
        (410, "there is no http://"),
        (401, "without an account"),
        (403, "without an account"),
        (400, "answered 400"),
    ] {
        let place = Place::new();
        let hub = Hub::serving(Behaviour {
            statuses: vec![status; 9],
            ..Behaviour::of(b"content")
        });
        let error = place.fetch(&hub, SHORT_WAITS).unwrap_err().to_string();
        assert!(
            error.contains(said) && error.contains(&hub.file()),
            "{error}"
        );
        assert_eq!(hub.asked().len(), 1, "{status}");
        assert!(place.names().is_empty());
    }
}

#[test]
fn a_busy_server_is_asked_again() {
    let (place, content) = (Place::new(), content(1_000, 12));
    let hub = Hub::serving(Behaviour {
        statuses: vec![503, 429],
        ..Behaviour::of(&content)
    });
    place.fetch(&hub, SHORT_WAITS).unwrap().keep().unwrap();
    holds(&place.target(), &content);

    hub.change(|b| b.statuses = vec![503; 9]);
    let error = place.fetch(&hub, SHORT_WAITS).unwrap_err();
    let DownloadError::Server { status: 503, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(
        hub.asked().len(),
        3 + 2 + 3,
        "three tries, two of them waits later"
    );
}

#[test]
fn where_nobody_listens_it_says_so_at_once() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "http://{}/model.safetensors",
        listener.local_addr().unwrap()
    );
    drop(listener);
    // Waits that would be noticed.
    let waits = [Duration::from_secs(600)];
    let error = place.fetch_from(&url, None, &waits).unwrap_err();
    assert!(
        matches!(error, DownloadError::Unreachable { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(place.names().is_empty());
}

#[test]
fn the_page_of_a_proxy_is_not_taken_for_the_file() {
    let (place, content) = (Place::new(), content(50_000, 13));
    let page = b"<html>Please log in</html>".to_vec();
    let hub = Hub::serving(Behaviour {
        instead: Some(page),
        ..Behaviour::of(&content)
    });
    let error = place.fetch(&hub, SHORT_WAITS).unwrap_err();
    let DownloadError::OtherSize {
        found: 26,
        announced: 50_000,
        ..
    } = error
    else {
        panic!("{error}");
    };
    assert!(place.names().is_empty());
}

#[test]
fn a_file_too_large_for_the_disk_is_not_begun() {
    let place = Place::new();
    let hub = Hub::serving(Behaviour {
        announced_size: Some(1 << 60),
        ..Behaviour::of(b"content")
    });
    let error = place.fetch(&hub, NO_WAITS).unwrap_err();
    assert!(matches!(error, DownloadError::NoRoom { .. }), "{error}");
    assert_eq!(hub.ranges(), []);
}

#[test]
fn stopping_keeps_what_has_come() {
    let (place, content) = (Place::new(), content(400_000, 14));
    let hub = Hub::serving(Behaviour::of(&content));
    let (target, url) = (place.target(), hub.file());
    let request = DownloadRequest {
        url: &url,
        target: &target,
        sha256: None,
        waits: SHORT_WAITS,
    };
    let error = download(&request, &mut |done, _| done < 100_000).unwrap_err();
    assert!(matches!(error, DownloadError::Stopped), "{error}");
    let kept = fs::read(place.part(&content)).unwrap();
    assert!(kept.len() >= 100_000 && content.starts_with(&kept));
    place.fetch(&hub, NO_WAITS).unwrap().keep().unwrap();
    holds(&target, &content);
    assert_eq!(hub.ranges(), [None, from(kept.len())]);
}

#[test]
fn a_wait_ends_when_it_is_stopped() {
    let place = Place::new();
    let hub = Hub::serving(Behaviour {
        statuses: vec![503; 9],
        ..Behaviour::of(b"content")
    });
    let (target, url) = (place.target(), hub.file());
    let request = DownloadRequest {
        url: &url,
        target: &target,
        sha256: None,
        waits: &[Duration::from_secs(600)],
    };
    let mut asked = 0;
    let error = download(&request, &mut |_, _| {
        asked += 1;
        asked < 3
    });
    assert!(matches!(error, Err(DownloadError::Stopped)));
}

#[test]
fn two_at_once_do_not_mix() {
    let (place, content) = (Place::new(), content(1_000, 15));
    let hub = Hub::serving(Behaviour::of(&content));
    let first = place.fetch(&hub, NO_WAITS).unwrap();
    let error = place.fetch(&hub, NO_WAITS).unwrap_err();
    assert!(matches!(error, DownloadError::Busy { .. }), "{error}");
    first.keep().unwrap();
    place.fetch(&hub, NO_WAITS).unwrap();
}

#[test]
fn what_is_discarded_is_gone() {
    let (place, content) = (Place::new(), content(1_000, 16));
    let hub = Hub::serving(Behaviour::of(&content));
    place.fetch(&hub, NO_WAITS).unwrap().discard().unwrap();
    assert!(place.names().is_empty());
}
