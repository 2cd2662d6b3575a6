//! Which images the Drift view lists: the ranking, those that a moved threshold flips, misses, those that need a
//! person, or a miss that was taught with what looks like it.

use egui::Ui;

use crate::app::command::{Action, Command};
use crate::app::state::words::count;
use crate::app::state::{DriftImage, DriftState};
use crate::app::views::panel::PanelContext;
use crate::app::widgets::chip;
use crate::app::widgets::parts::{self, Weight};
use crate::app::widgets::thumb_grid::Tile;
use crate::domain::ImageId;

/// What is listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Showing {
    /// All images, the likeliest drift first.
    #[default]
    Ranking,
    /// Those that change side with the moved threshold.
    Flips,
    /// Labelled drift below the threshold.
    Misses,
    /// Those that a person should look at.
    Review,
    /// A miss that was taught, and what looks like it.
    Followed,
}

/// Which list is shown; it follows what the user does.
#[derive(Debug, Default)]
pub(super) struct Gallery {
    showing: Showing,
    was_moved: bool,
    was_following: Option<ImageId>,
}

/// A list with a word for each image, if any.
pub(super) struct Listed {
    /// The images.
    pub images: Vec<DriftImage>,
    /// One for each image, or none at all.
    words: Vec<Word>,
    /// The heading.
    pub title: &'static str,
    /// What to say where nothing is listed.
    pub empty: &'static str,
}

/// What is said on a picture.
#[derive(Clone, Debug)]
struct Word {
    text: String,
    /// Whether that is right, where somebody knows.
    good: Option<bool>,
    number: Option<String>,
}

impl Gallery {
    /// Lists what the user has just brought about: a moved threshold, a miss that was taught.
    pub fn follow(&mut self, drift: &DriftState) {
        if !drift.is_moved() {
            self.was_moved = false;
            if self.showing == Showing::Flips {
                self.showing = Showing::Ranking;
            }
        } else if !self.was_moved && !drift.flips().is_empty() {
            self.was_moved = true;
            self.showing = Showing::Flips;
        }
        let following = drift.following();
        if following.is_some() && following != self.was_following {
            self.showing = Showing::Followed;
        } else if following.is_none() && self.showing == Showing::Followed {
            self.showing = Showing::Ranking;
        }
        self.was_following = following;
    }

    /// Whether all images are listed.
    pub fn is_ranking(&self) -> bool {
        self.showing == Showing::Ranking
    }

    /// The images of the list shown.
    pub fn list(&self, cx: &PanelContext<'_>, drift: &DriftState) -> Listed {
        let listed = |images, title, empty| Listed {
            images,
            words: Vec::new(),
            title,
            empty,
        };
        match self.showing {
            Showing::Ranking => listed(
                drift.ranked().collect(),
                if drift.ranks_by_network() {
                    "Most likely drift, by the fine-tuned network"
                } else if drift.has_head() {
                    "Most likely drift"
                } else {
                    "Most unlike the regular images"
                },
                "Every image here is labelled. Show the labelled ones to look at them again.",
            ),
            Showing::Flips => flips(drift),
            Showing::Misses => listed(
                drift.misses(),
                "Missed drift",
                "No image labelled drift lies below the threshold.",
            ),
            Showing::Review => review(cx, drift),
            Showing::Followed => followed(cx, drift),
        }
    }

    /// A choice of lists, and what is to be said of the one shown. Nothing while there is only the ranking.
    pub fn choice(&mut self, ui: &mut Ui, cx: &PanelContext<'_>, drift: &DriftState) {
        if drift.threshold().is_none() && drift.following().is_none() {
            return;
        }
        let palette = cx.palette;
        let misses = drift.misses().len();
        let review = drift.review(cx.classes.drift()).len();
        let mut lists = vec![(Showing::Ranking, "All".to_owned())];
        if drift.is_moved() {
            lists.push((
                Showing::Flips,
                format!("Change side {}", drift.flips().len()),
            ));
        }
        lists.push((Showing::Misses, format!("Missed {misses}")));
        if drift.decided().is_some() {
            lists.push((Showing::Review, format!("Needs review {review}")));
        }
        if drift.following().is_some() {
            lists.push((Showing::Followed, "The miss and its neighbours".to_owned()));
        }
        ui.horizontal(|ui| {
            ui.spacing_mut().item_spacing.x = 4.0;
            for (showing, text) in lists {
                if chip(ui, palette, text, self.showing == showing).clicked() {
                    self.showing = showing;
                }
            }
        });
        match self.showing {
            Showing::Ranking => {}
            Showing::Flips => moved(ui, cx, drift),
            Showing::Misses => {
                ui.horizontal(|ui| {
                    teach(ui, cx);
                    let text = "Scores are by heads that had not seen the label.";
                    parts::aside(ui, palette.muted, text);
                });
            }
            Showing::Review => {
                let look = drift.decided().map_or(0.0, |decided| decided.look);
                let text = format!(
                    "Any answer is expected to cost more than a look ({}), or only hedges between costly mistakes; \
                     the dearest first, with that cost.",
                    super::price(look)
                );
                parts::explain(ui, palette, &text);
            }
            Showing::Followed => {
                parts::explain(ui, palette, &outcome(cx, drift));
                if parts::link(ui, cx.palette, "Done") {
                    cx.send(Command::Unfollow);
                }
            }
        }
        ui.add_space(4.0);
    }
}

impl Listed {
    /// Adds the word for the image at a place.
    pub fn dress(&self, at: usize, tile: &mut Tile, cx: &PanelContext<'_>) {
        let Some(word) = self.words.get(at) else {
            return;
        };
        let palette = cx.palette;
        let color = match word.good {
            Some(true) => palette.good,
            Some(false) => palette.warn,
            None => palette.accent,
        };
        tile.second = Some((word.text.clone(), color));
        if let Some(number) = &word.number {
            tile.number = Some(number.clone());
        }
        tile.spoken = format!("{}, {}", word.text, tile.spoken);
    }
}

fn flips(drift: &DriftState) -> Listed {
    let images = drift.flips();
    let threshold = drift.threshold().unwrap_or(1.0);
    let words = images.iter().map(|image| {
        let now = image.score >= threshold;
        Word {
            text: if now { "now drift" } else { "no longer" }.to_owned(),
            good: image.label.map(|drift| drift == now),
            number: None,
        }
    });
    Listed {
        words: words.collect(),
        images,
        title: "What moving the threshold changes",
        empty: "No image changes side.",
    }
}

fn review(cx: &PanelContext<'_>, drift: &DriftState) -> Listed {
    let (images, words) = drift
        .review(cx.classes.drift())
        .into_iter()
        .map(|(image, regret)| {
            let word = Word {
                text: format!("cost {}", super::price(regret)),
                good: None,
                number: None,
            };
            (image, word)
        })
        .unzip();
    Listed {
        images,
        words,
        title: "Needs review",
        empty: "Every image without a label has an answer that is cheaper than a look.",
    }
}

fn followed(cx: &PanelContext<'_>, drift: &DriftState) -> Listed {
    let (images, words) = drift
        .followed_images()
        .into_iter()
        .map(|followed| {
            let regular = followed.now.label == Some(false);
            let caught = match (followed.was_caught, followed.caught) {
                (_, true) if regular => "false alarm",
                (_, false) if regular => "let pass",
                (false, true) => "caught now",
                (true, true) => "caught",
                (true, false) => "missed now",
                (false, false) => "missed",
            };
            let short = |score: f32| format!("{score:.2}").trim_start_matches('0').to_owned();
            let number = match followed.before {
                Some(before) => format!("{} → {}", short(before), short(followed.now.score)),
                None => short(followed.now.score),
            };
            let name = cx.thumbs.name(followed.now.image);
            let word = Word {
                text: format!("{caught} · {}", file(&name)),
                good: Some(followed.caught != regular),
                number: Some(number),
            };
            (followed.now, word)
        })
        .unzip();
    Listed {
        images,
        words,
        title: "The miss and its neighbours",
        empty: "The drift model is learning it…",
    }
}

/// The file name of a path inside the data set.
fn file(name: &str) -> &str {
    name.rsplit(['/', '\\']).next().unwrap_or(name)
}

/// What became of the miss, in a sentence.
fn outcome(cx: &PanelContext<'_>, drift: &DriftState) -> String {
    let followed = drift.followed_images();
    let Some((miss, near)) = followed.split_first() else {
        return match drift.following() {
            Some(image) => format!("{} is being learned…", file(&cx.thumbs.name(image))),
            None => String::new(),
        };
    };
    let name = cx.thumbs.name(miss.now.image);
    let itself = match (miss.caught, drift.image(miss.now.image)) {
        (true, Some(out_of_fold)) if drift.misses().iter().any(|i| i.image == miss.now.image) => {
            format!(
                "is caught now that it is learned; what the other labels teach would still miss it ({:.2})",
                out_of_fold.score
            )
        }
        (true, _) => "is caught".to_owned(),
        (false, _) => {
            "is still missed although it is learned: more labels like it are needed".to_owned()
        }
    };
    let caught = near.iter().filter(|f| f.caught).count();
    let newly = near.iter().filter(|f| f.caught && !f.was_caught).count();
    format!(
        "{} {itself}. Of {} most like it {caught} lie at or above the threshold, {newly} of them since then.",
        file(&name),
        count(near.len() as u64, "image"),
    )
}

fn moved(ui: &mut Ui, cx: &PanelContext<'_>, drift: &DriftState) {
    let (Some(now), Some(settled)) = (drift.threshold(), drift.settled_threshold()) else {
        return;
    };
    let n = drift.flips().len();
    let n = count(n as u64, "image");
    let which = if now < settled {
        "drift now"
    } else {
        "drift no longer"
    };
    ui.horizontal(|ui| {
        let text = format!("{n} {which}, against the threshold {settled:.2}.");
        parts::aside(ui, cx.palette.text, &text);
        let keep = cx.with_key(Action::KeepThreshold, &format!("Keep {now:.2}"));
        let why_not = cx.why_not(Action::KeepThreshold);
        let keep = parts::button(
            ui,
            cx.palette,
            Weight::Plain,
            None,
            &keep,
            why_not.as_deref(),
        );
        if keep.clicked() {
            cx.send(Action::KeepThreshold);
        }
        if parts::link(ui, cx.palette, &format!("Back to {settled:.2}")) {
            cx.send(Command::UnmoveThreshold);
        }
    });
}

fn teach(ui: &mut Ui, cx: &PanelContext<'_>) {
    let why_not = cx.why_not(Action::TeachMiss);
    let button = parts::button(
        ui,
        cx.palette,
        Weight::Plain,
        None,
        &cx.with_key(Action::TeachMiss, "Teach the selected miss"),
        why_not.as_deref(),
    );
    if button.clicked() {
        cx.send(Action::TeachMiss);
    }
}
