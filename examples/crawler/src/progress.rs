//! A progress bar on a terminal, and nothing anywhere else.

use greenloop::JoinHandle;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// The bar, on standard error; indicatif draws nothing if that is not a terminal.
pub struct Progress {
    bar: ProgressBar,
    /// Shows how time passes while nothing else happens.
    clock: JoinHandle<()>,
}

impl Progress {
    pub fn new() -> Progress {
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{elapsed} [{wide_bar}] {pos}/{len} {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        let ticking = bar.clone();
        let clock = greenloop::spawn(move || {
            while !ticking.is_hidden() {
                ticking.tick();
                greenloop::sleep(Duration::from_millis(100));
            }
        });
        Progress { bar, clock }
    }

    /// Shows how far the crawl is.
    pub fn update(&self, done: usize, known: usize, failed: usize) {
        self.bar.set_length(known as u64);
        self.bar.set_position(done as u64);
        if failed > 0 {
            self.bar.set_message(format!("{failed} failed"));
        }
    }

    /// Writes lines while the bar is out of the way.
    pub fn aside<R>(&self, write: impl FnOnce() -> R) -> R {
        self.bar.suspend(write)
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.clock.kill();
        self.bar.finish_and_clear();
    }
}
