//! Looks into a running program that calls `inspect::listen`: its hubs, and its green threads by place of spawn.
//!
//!     cargo run --package top --example top -- /run/user/1000/server.sock
//!     cargo run --package top --example top
//!
//! Without a path it looks at a program of its own making, in the same process. Keys: `q` ends it, `s` changes the order, `t` has the hubs
//! time what they run, `d` writes a dump to a file, `r` records five seconds to a file for <https://ui.perfetto.dev>.

mod attached;
mod view;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use attached::Attached;
use clap::Parser;
use greenloop::inspect::{self, Listening};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind};
use view::Look;

/// How often it looks.
const PERIOD: Duration = Duration::from_millis(500);

#[derive(Parser)]
#[command(about = "Looks into a running program that calls `inspect::listen`")]
struct Arguments {
    /// The socket of the program; without it, a program of its own making
    path: Option<PathBuf>,
    /// Prints one look as text, and ends
    #[arg(long)]
    once: bool,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let Some(path) = arguments.path else {
        let (path, listening) = demonstration()?;
        let ended = look_at(&path, arguments.once);
        listening.stop();
        return ended;
    };
    look_at(&path, arguments.once)
}

fn look_at(path: &Path, is_once: bool) -> io::Result<()> {
    if is_once {
        return once(path);
    }
    let mut attached = Attached::to(path)?;
    let mut terminal = ratatui::try_init()?;
    let ended = run(&mut attached, path, &mut terminal);
    ratatui::restore();
    ended
}

fn once(path: &Path) -> io::Result<()> {
    let mut attached = Attached::to(path)?;
    let mut look = Look::default();
    for _ in 0..2 {
        look.take(&mut attached)?;
        thread::sleep(PERIOD / 5);
    }
    look.lines().into_iter().for_each(|line| println!("{line}"));
    Ok(())
}

fn run(attached: &mut Attached, path: &Path, terminal: &mut ratatui::DefaultTerminal) -> io::Result<()> {
    let (mut look, mut times) = (Look::default(), false);
    loop {
        look.take(attached)?;
        terminal.draw(|frame| look.draw(frame))?;
        let next = Instant::now() + PERIOD;
        while let Some(left) = next.checked_duration_since(Instant::now()) {
            if !event::poll(left)? {
                break;
            }
            let Event::Key(key) = event::read()? else { continue };
            if key.kind != KeyEventKind::Press {
                continue;
            }
            match key.code {
                KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                KeyCode::Char('s') => look.order = look.order.next(),
                KeyCode::Char('t') => {
                    times = !times;
                    attached.ask(if times { "time on" } else { "time off" })?;
                }
                KeyCode::Char('d') => look.said = save(path, "report", "dump.txt"),
                KeyCode::Char('r') => look.said = save(path, "record 5", "trace.json"),
                _ => {}
            }
            terminal.draw(|frame| look.draw(frame))?;
        }
    }
}

/// Asks by a connection of its own, on an OS thread of its own, and writes the answer to a file. Says where.
fn save(path: &Path, request: &'static str, ending: &str) -> String {
    let (path, file) = (path.to_owned(), PathBuf::from(format!("greenloop-{}", ending)));
    let told = format!("writing {}", file.display());
    thread::spawn(move || -> io::Result<()> {
        let answer = Attached::to(&path)?.ask_for_text(request)?;
        fs::write(file, answer)
    });
    told
}

/// A program to look at: sleepers, a queue with its workers, and one that computes.
fn demonstration() -> io::Result<(PathBuf, Listening)> {
    let path = std::env::temp_dir().join(format!("greenloop-top-{}.sock", std::process::id()));
    let listening = inspect::listen(&path)?;
    thread::Builder::new().name("demonstration".to_owned()).spawn(|| {
        let (sender, receiver) = greenloop::channel::bounded::<u32>(16);
        for _ in 0..8 {
            let receiver = receiver.clone();
            greenloop::spawn(move || {
                for number in receiver {
                    greenloop::sleep(Duration::from_millis(u64::from(number % 7)));
                }
            });
        }
        for _ in 0..1000 {
            greenloop::spawn(|| greenloop::sleep(Duration::from_secs(3600)));
        }
        let mut number = 0;
        loop {
            let end = Instant::now() + Duration::from_micros(300);
            while Instant::now() < end {}
            let _ = sender.send(number);
            number += 1;
        }
    })?;
    Ok((path, listening))
}
