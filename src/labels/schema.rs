//! The SQLite file: how it is opened, checked and created. Documented in `docs/formats/labels.md`.

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, MAIN_DB, OpenFlags, TransactionBehavior};

use super::error::LabelError;

/// "Drft" in the file's header: whose file it is.
const APPLICATION_ID: i32 = 0x4472_6674;
/// The format written here; read from `user_version`.
const FORMAT: i32 = 1;

const SCHEMA: &str = "
CREATE TABLE label_event (
    id                 INTEGER PRIMARY KEY,
    at                 TEXT NOT NULL,
    who                TEXT NOT NULL,
    image              TEXT NOT NULL,
    kind               TEXT NOT NULL CHECK (kind IN ('label', 'flag')),
    old                TEXT,
    new                TEXT,
    source             TEXT NOT NULL,
    model_run          TEXT,
    prediction_visible INTEGER NOT NULL CHECK (prediction_visible IN (0, 1)),
    batch              INTEGER NOT NULL REFERENCES label_event (id),
    undo_of            INTEGER REFERENCES label_event (id),
    redo_of            INTEGER REFERENCES label_event (id),
    CHECK (undo_of IS NULL OR redo_of IS NULL)
) STRICT;
CREATE INDEX label_event_image ON label_event (image, kind, id);
CREATE VIEW label_current AS
    SELECT image, new AS label, at, who, source, model_run, prediction_visible, id AS event
    FROM label_event
    WHERE new IS NOT NULL
      AND id IN (SELECT max(id) FROM label_event WHERE kind = 'label' GROUP BY image);
CREATE VIEW flag_current AS
    SELECT image, at, who, id AS event
    FROM label_event
    WHERE new IS NOT NULL
      AND id IN (SELECT max(id) FROM label_event WHERE kind = 'flag' GROUP BY image);
CREATE TRIGGER label_event_never_updated BEFORE UPDATE ON label_event
    BEGIN SELECT RAISE(ABORT, 'label_event is append-only'); END;
CREATE TRIGGER label_event_never_deleted BEFORE DELETE ON label_event
    BEGIN SELECT RAISE(ABORT, 'label_event is append-only'); END;
CREATE TRIGGER label_event_never_replaced BEFORE INSERT ON label_event
    WHEN EXISTS (SELECT 1 FROM label_event WHERE id = new.id)
    BEGIN SELECT RAISE(ABORT, 'label_event is append-only'); END;
";

/// Opens the file for writing, creating it where it is missing or empty. The caller holds the lock.
/// The connection is read-only where the file is write-protected; ask it.
pub(super) fn open_writable(path: &Path) -> Result<Connection, LabelError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let of = |error| LabelError::of(path, error);
    let mut conn = Connection::open_with_flags(path, flags).map_err(of)?;
    if conn.is_readonly(MAIN_DB).map_err(of)? {
        return open_readable(path);
    }
    // Nothing is written before the file is known to be ours.
    let fresh = is_fresh(&conn, path)?;
    conn.pragma_update(None, "journal_mode", "WAL")
        .and_then(|()| conn.pragma_update(None, "synchronous", "FULL"))
        // Only macOS needs these: its fsync does not reach the platter.
        .and_then(|()| conn.pragma_update(None, "fullfsync", true))
        .and_then(|()| conn.pragma_update(None, "checkpoint_fullfsync", true))
        .and_then(|()| conn.pragma_update(None, "foreign_keys", true))
        .map_err(of)?;
    if fresh {
        create(&mut conn).map_err(of)?;
        sync_folder(path);
    }
    Ok(conn)
}

/// Opens the file without ever writing to it: while another process has it open, in a
/// write-protected place, or on a full disk. An empty store where there is no file yet.
pub(super) fn open_readable(path: &Path) -> Result<Connection, LabelError> {
    let of = |error| LabelError::of(path, error);
    let conn = if path.exists() {
        match read_only(path, path) {
            Err(
                LabelError::CannotOpen { .. }
                | LabelError::ReadOnly { .. }
                | LabelError::DiskFull { .. },
            ) if path.is_file() => {
                // SQLite wants to create its shared-memory file beside a WAL database, even to
                // read. `immutable` does without, but would overlook labels still in the log.
                let log = beside(path, "-wal");
                if std::fs::metadata(log).is_ok_and(|log| log.len() > 0) {
                    return Err(LabelError::UnmergedLog {
                        path: path.to_owned(),
                    });
                }
                read_only(Path::new(&immutable_uri(path)), path)?
            }
            opened => opened?,
        }
    } else {
        Connection::open_in_memory().map_err(of)?
    };
    if is_fresh(&conn, path)? {
        let mut empty = Connection::open_in_memory().map_err(of)?;
        create(&mut empty).map_err(of)?;
        return Ok(empty);
    }
    Ok(conn)
}

/// `name` is the path itself or a URI for it.
fn read_only(name: &Path, path: &Path) -> Result<Connection, LabelError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let conn =
        Connection::open_with_flags(name, flags).map_err(|error| LabelError::of(path, error))?;
    // SQLite touches the file only with the first query.
    conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
        .map_err(|error| LabelError::of(path, error))?;
    Ok(conn)
}

/// Whether the database is empty; an error where it is neither empty nor a sound file of ours.
fn is_fresh(conn: &Connection, path: &Path) -> Result<bool, LabelError> {
    let of = |error| LabelError::of(path, error);
    let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i32>(0));
    let tables = number("SELECT count(*) FROM sqlite_schema").map_err(of)?;
    let application = number("PRAGMA application_id").map_err(of)?;
    let format = number("PRAGMA user_version").map_err(of)?;
    if tables == 0 && application == 0 && format == 0 {
        return Ok(true);
    }
    if application != APPLICATION_ID {
        return Err(LabelError::NotALabelFile {
            path: path.to_owned(),
            found: "it is a database of another program".to_owned(),
        });
    }
    if format > FORMAT {
        return Err(LabelError::NewerFormat {
            path: path.to_owned(),
            found: format,
            known: FORMAT,
        });
    }
    let verdict: String = conn
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(of)?;
    if verdict != "ok" {
        return Err(LabelError::Damaged {
            path: path.to_owned(),
            detail: verdict,
        });
    }
    Ok(false)
}

/// All or nothing: a crash in between leaves an empty database, which counts as fresh.
fn create(conn: &mut Connection) -> rusqlite::Result<()> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(SCHEMA)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}

/// Makes the new file's name as durable as its content. Windows offers no such call, and some network
/// drives refuse it; the content is safe either way.
fn sync_folder(path: &Path) {
    if let Some(folder) = path.parent() {
        let _synced = File::open(folder)
            .and_then(|folder| folder.sync_all())
            .is_ok();
    }
}

/// `labels.sqlite` + `-wal` -> `labels.sqlite-wal`.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The path as a URI that tells SQLite that nobody changes the file.
fn immutable_uri(path: &Path) -> String {
    let mut uri = String::from("file:");
    let bytes = path.as_os_str().as_encoded_bytes();
    if cfg!(windows) && bytes.get(1) == Some(&b':') {
        uri.push('/');
    }
    for &byte in bytes {
        match byte {
            b'\\' if cfg!(windows) => uri.push('/'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b':' => {
                uri.push(char::from(byte));
            }
            _ => write!(uri, "%{byte:02X}").expect("writing to a String cannot fail"),
        }
    }
    uri.push_str("?immutable=1");
    uri
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn an_immutable_file_with_an_awkward_name_opens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l\u{e4}bels %41 #1?.sqlite");
        drop(open_writable(&path).unwrap());
        let uri = immutable_uri(&path);
        let conn = read_only(Path::new(&uri), &path).unwrap();
        assert!(!is_fresh(&conn, &path).unwrap());
    }

    #[test]
    fn events_can_be_neither_changed_nor_deleted_nor_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let conn = open_writable(&dir.path().join("labels.sqlite")).unwrap();
        let insert =
            "INTO label_event (id, at, who, image, kind, source, prediction_visible, batch)
                      VALUES (1, 't', 'anna', 'a.png', 'label', 'key', 0, 1)";
        conn.execute(&format!("INSERT {insert}"), []).unwrap();
        for sql in [
            "UPDATE label_event SET new = 'GOOD'",
            "DELETE FROM label_event",
            &format!("INSERT OR REPLACE {insert}"),
        ] {
            let error = conn.execute(sql, []).unwrap_err();
            assert!(error.to_string().contains("append-only"), "{error}");
        }
    }
}
