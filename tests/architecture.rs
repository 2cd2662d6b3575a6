//! The import table of docs/ARCHITECTURE.md, enforced. Sources are read as Rust tokens: comments, doc
//! links and strings do not count, while `use` groups, chains of `super::` and paths inside macros do.

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};

/// Each module under `src/`, from the bottom up, and the modules it may import.
const MAY_IMPORT: &[(&str, &str)] = &[
    ("domain", ""),
    ("jobs", ""),
    ("storage", ""),
    ("dataset", "domain jobs storage"),
    ("labels", "domain jobs storage"),
    ("imaging", "domain jobs storage"),
    ("evaluation", "domain"),
    ("drift", "domain"),
    ("queue", "domain"),
    ("models", "domain storage"),
    ("training", "domain jobs storage imaging evaluation models"),
    ("inference", "domain jobs storage imaging models"),
    ("project", "domain jobs storage dataset labels"),
    (
        "workflows",
        "domain jobs storage dataset labels imaging evaluation drift queue models training inference \
         project",
    ),
    // Both ends act through `workflows`; what they name below it is plain data to show.
    (
        "app",
        "domain jobs dataset labels imaging evaluation drift queue training project workflows",
    ),
    (
        "cli",
        "domain jobs dataset labels evaluation drift queue training project workflows",
    ),
    ("main", "app cli workflows"),
];

/// Crates that only some modules may name.
const ONLY_IN: &[(&str, &str)] = &[
    ("tch", "models training inference"),
    ("driftscope_kernels", "models drift"),
    ("bhtsne", "drift"),
    ("egui", "app"),
    ("eframe", "app"),
    ("egui_extras", "app"),
    ("egui_plot", "app"),
    ("egui_kittest", "app"),
    ("rfd", "app"),
    ("ureq", "storage"),
    ("rustls", "storage"),
];

/// Macros that write to the terminal: only `cli` speaks there.
const PRINTING: &[&str] = &["print", "println", "eprint", "eprintln"];

#[test]
fn sources_keep_to_the_table() {
    let mut found = Vec::new();
    for file in sources() {
        let source = fs::read_to_string(&file).expect("a source file is readable UTF-8");
        for offence in offences(&module_of(&file), &source) {
            found.push(format!("{}: {offence}", file.display()));
        }
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn every_module_stands_in_the_table() {
    for file in sources() {
        if let Some(module) = module_of(&file).first() {
            assert!(
                may_import(module).is_some(),
                "src/{module} is missing from MAY_IMPORT"
            );
        }
    }
}

#[test]
fn arrows_point_down() {
    for (row, (module, imports)) in MAY_IMPORT.iter().enumerate() {
        for import in imports.split_whitespace() {
            assert!(
                MAY_IMPORT[..row].iter().any(|(below, _)| *below == import),
                "{module} imports {import}, which does not stand below it"
            );
        }
    }
}

#[test]
fn offences_are_found() {
    for (module, source) in [
        ("evaluation", "use crate::models::Registry;"),
        (
            "evaluation::report",
            "use crate::{domain::ClassId, training};",
        ),
        (
            "evaluation::report",
            "use crate::{domain::{ClassId, Label}, jobs::*};",
        ),
        (
            "evaluation::report",
            "fn f() -> crate::labels::Store { g() }",
        ),
        ("evaluation", "use super::jobs::Job;"),
        (
            "evaluation::report",
            "use super::{confusion, super::{domain, jobs}};",
        ),
        ("evaluation", "mod tests { use super::super::jobs; }"),
        ("drift", "assert_eq!(crate::evaluation::accuracy(), 1.0);"),
        ("cli", "use crate::app::App;"),
        ("app", "use crate::cli;"),
        ("app::views", "use crate::storage::write;"),
        ("drift", "use crate::*;"),
        ("drift", "use crate::Everything;"),
        ("drift", "use tch::Tensor;"),
        ("drift", "use ::tch as t;"),
        ("workflows", "use {std::fs, tch};"),
        ("workflows", "fn f(t: &tch::Tensor) {}"),
        ("workflows", "fn f(t: &::tch::Tensor) {}"),
        ("workflows", "extern crate eframe;"),
        ("app", r#"fn f() { println!("hello"); }"#),
        ("app", r#"fn f() { std::eprintln!("hello"); }"#),
    ] {
        let module: Vec<String> = module.split("::").map(str::to_owned).collect();
        assert_eq!(offences(&module, source).len(), 1, "{module:?}: {source}");
    }
}

#[test]
fn what_the_table_allows_passes() {
    for (module, source) in [
        (
            "evaluation::report",
            "use crate::{domain::{ClassId, Label}, evaluation::Confusion};",
        ),
        (
            "evaluation::report",
            "use super::confusion; use self::table::Row; use super::*;",
        ),
        (
            "evaluation::report",
            "mod tests { use super::super::confusion; use super::*; }",
        ),
        (
            "drift",
            "// use crate::app;\n/* crate::cli */\n/// [`crate::app`]\nfn f() {}",
        ),
        (
            "drift",
            "//! [`crate::workflows`]\nconst S: &str = \"crate::app tch:: println!()\";",
        ),
        (
            "drift",
            "pub(crate) fn f() {} pub(in crate::drift) fn g() {}",
        ),
        (
            "models",
            "use tch::{Tensor, nn}; use crate::domain::ClassSet;",
        ),
        (
            "app::views",
            "use egui::Ui; use crate::imaging::Thumbnail; use crate::workflows;",
        ),
        (
            "cli",
            r#"fn f() { println!("{}", crate::workflows::info()); }"#,
        ),
        (
            "main",
            "fn main() { driftscope::cli::main(); driftscope::app::run(); }",
        ),
        // Names of our own that happen to be a crate's.
        (
            "domain",
            "fn f(rfd: u8) -> u8 { rfd + self.egui + other::tch::f() }",
        ),
    ] {
        let module: Vec<String> = module.split("::").map(str::to_owned).collect();
        assert_eq!(
            offences(&module, source),
            Vec::<String>::new(),
            "{module:?}: {source}"
        );
    }
}

/// Every Rust file under `src/`.
fn sources() -> Vec<PathBuf> {
    let mut folders = vec![root()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a source folder is readable") {
            let path = entry.expect("a source folder is readable").path();
            if path.join("Cargo.toml").exists() {
                // A crate of its own: what it may use stands in its Cargo.toml, and Cargo keeps it to that.
            } else if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    assert!(
        files.len() >= MAY_IMPORT.len(),
        "no sources under {}",
        root().display()
    );
    files
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// `src/labels/store.rs` -> `[labels, store]`, `src/labels/mod.rs` -> `[labels]`, `src/lib.rs` -> `[]`.
fn module_of(file: &Path) -> Vec<String> {
    let file = file
        .strip_prefix(root())
        .expect("sources lie under src/")
        .with_extension("");
    let mut module: Vec<String> = file
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if module
        .last()
        .is_some_and(|name| name == "mod" || name == "lib")
    {
        module.pop();
    }
    module
}

fn may_import(module: &str) -> Option<&'static str> {
    MAY_IMPORT
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, imports)| *imports)
}

fn lists(words: &str, word: &str) -> bool {
    words.split_whitespace().any(|listed| listed == word)
}

/// What `source`, the text of `module`, names and may not name.
fn offences(module: &[String], source: &str) -> Vec<String> {
    let mut names = Vec::new();
    collect(
        source.parse().expect("a source file is Rust"),
        module,
        &mut names,
    );
    let here = module.first().map_or("lib", String::as_str);
    names
        .into_iter()
        .filter_map(|name| offence(here, &name))
        .collect()
}

fn offence(here: &str, name: &Name) -> Option<String> {
    match name {
        Name::Macro(name) => (PRINTING.contains(&name.as_str()) && here != "cli")
            .then(|| format!("{name}! outside cli: return a result, or use `tracing`")),
        Name::Foreign(name) => {
            let (_, homes) = ONLY_IN.iter().find(|(only, _)| only == name)?;
            (!lists(homes, here)).then(|| format!("{here} names {name}; only {homes} may"))
        }
        Name::Ours(target) if target == here => None,
        Name::Ours(target) if may_import(target).is_none() => Some(format!(
            "{here} imports crate::{target}, which is no module of the table"
        )),
        Name::Ours(target) => (!lists(may_import(here).unwrap_or_default(), target))
            .then(|| format!("{here} imports {target}, which the table does not allow")),
    }
}

/// Something that a source names.
#[derive(Debug)]
enum Name {
    /// The top-level module a path within this crate leads to; `*` for all of them.
    Ours(String),
    /// The first word of a path that starts in another crate, or in a local name.
    Foreign(String),
    /// The last word of a macro's path.
    Macro(String),
}

/// Finds what `tokens`, standing in `module`, name.
fn collect(tokens: TokenStream, module: &[String], names: &mut Vec<Name>) {
    let mut tokens = Tokens::new(tokens);
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => collect(group.stream(), module, names),
            TokenTree::Punct(punct) if punct.as_char() == '.' => {
                tokens.word(); // A field or a method: no path starts here.
            }
            TokenTree::Ident(word) => match word.to_string().as_str() {
                "mod" => {
                    let name = tokens.word().unwrap_or_default();
                    if let Some(body) = tokens.group() {
                        let inner: Vec<String> = module.iter().cloned().chain([name]).collect();
                        collect(body, &inner, names);
                    }
                }
                "use" => imports(&mut tokens, module, &[], names),
                "extern" => {
                    if tokens.word().as_deref() == Some("crate") {
                        names.extend(tokens.word().map(Name::Foreign));
                    }
                }
                first => {
                    let mut path = vec![first.to_owned()];
                    while tokens.separator() {
                        path.push(tokens.word().unwrap_or_default());
                    }
                    if tokens.punct('!') {
                        names.extend(path.last().cloned().map(Name::Macro));
                    }
                    if path.len() > 1 {
                        names.extend(resolve(&path, module));
                    }
                }
            },
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// Reads one tree of a `use`, which continues `prefix`, and every branch of it.
fn imports(tokens: &mut Tokens, module: &[String], prefix: &[String], names: &mut Vec<Name>) {
    let mut path = prefix.to_vec();
    tokens.separator();
    loop {
        if let Some(group) = tokens.group() {
            let mut branches = Tokens::new(group);
            while !branches.is_empty() {
                imports(&mut branches, module, &path, names);
            }
            break;
        }
        path.push(tokens.word().unwrap_or_else(|| "*".to_owned()));
        if !tokens.separator() {
            names.extend(resolve(&path, module));
            break;
        }
    }
    // An `as name` or a `*` may follow.
    while !tokens.is_empty() && !tokens.punct(',') && !tokens.punct(';') {
        tokens.next();
    }
}

/// Where a path that is written in `module` leads to.
fn resolve(path: &[String], module: &[String]) -> Option<Name> {
    let supers = path.iter().take_while(|word| *word == "super").count();
    let from_root: Vec<&String> = match path[0].as_str() {
        "super" => module
            .iter()
            .take(module.len().checked_sub(supers)?)
            .chain(&path[supers..])
            .collect(),
        "self" => module.iter().chain(&path[1..]).collect(),
        "crate" | "driftscope" => path[1..].iter().collect(),
        first => return Some(Name::Foreign(first.to_owned())),
    };
    from_root
        .first()
        .map(|target| Name::Ours((*target).clone()))
}

/// A cursor over tokens. Each reader takes what it names, or leaves everything in place.
struct Tokens(std::iter::Peekable<proc_macro2::token_stream::IntoIter>);

impl Tokens {
    fn new(tokens: TokenStream) -> Self {
        Self(tokens.into_iter().peekable())
    }

    fn is_empty(&mut self) -> bool {
        self.0.peek().is_none()
    }

    fn next(&mut self) -> Option<TokenTree> {
        self.0.next()
    }

    fn word(&mut self) -> Option<String> {
        self.0
            .next_if(|token| matches!(token, TokenTree::Ident(_)))
            .map(|word| word.to_string())
    }

    fn group(&mut self) -> Option<TokenStream> {
        match self
            .0
            .next_if(|token| matches!(token, TokenTree::Group(_)))?
        {
            TokenTree::Group(group) => Some(group.stream()),
            _ => None,
        }
    }

    fn punct(&mut self, sign: char) -> bool {
        self.0
            .next_if(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign))
            .is_some()
    }

    /// `::`, which always comes as two signs in a row.
    fn separator(&mut self) -> bool {
        let joint = |token: &TokenTree| {
            matches!(token, TokenTree::Punct(punct)
                if punct.as_char() == ':' && punct.spacing() == proc_macro2::Spacing::Joint)
        };
        self.0.next_if(joint).is_some() && self.punct(':')
    }
}
