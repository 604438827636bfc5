//! What is seen of a program at one time, and how it is drawn.

use std::collections::HashMap;
use std::io;
use std::time::Instant;

use ratatui::Frame;
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::Line;
use serde_json::Value;

use crate::attached::Attached;

/// How wide the bar of a hub is.
const BAR: usize = 20;

/// By what the places are sorted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Order {
    #[default]
    Count,
    Place,
    Stack,
    Busy,
    Wait,
}

impl Order {
    pub(crate) fn next(self) -> Order {
        match self {
            Order::Count => Order::Place,
            Order::Place => Order::Stack,
            Order::Stack => Order::Busy,
            Order::Busy => Order::Wait,
            Order::Wait => Order::Count,
        }
    }
}

/// The last look, and what has changed since the one before.
#[derive(Debug, Default)]
pub(crate) struct Look {
    pub(crate) order: Order,
    /// What was said last.
    pub(crate) said: String,
    taken: Option<Instant>,
    metrics: Value,
    places: Value,
    /// Of each hub since the look before: the part of the time on a processor, and waits in a second.
    rates: HashMap<u64, (f64, f64)>,
    /// Of each place, if hubs time what they run: the part of the time that its green threads run, and how often they go on in a second.
    turns: HashMap<String, (f64, f64)>,
}

impl Look {
    pub(crate) fn take(&mut self, attached: &mut Attached) -> io::Result<()> {
        let metrics = attached.ask("metrics")?;
        let now = Instant::now();
        if let Some(taken) = self.taken {
            let seconds = now.duration_since(taken).as_secs_f64();
            self.rates = rates(&self.metrics, &metrics, seconds);
        }
        let places = attached.ask("places")?;
        if let Some(taken) = self.taken {
            self.turns = turns(&self.places, &places, now.duration_since(taken).as_secs_f64());
        }
        (self.taken, self.metrics, self.places) = (Some(now), metrics, places);
        Ok(())
    }

    pub(crate) fn draw(&self, frame: &mut Frame<'_>) {
        let heading = |line: &str| line.starts_with("  hub") || line.starts_with("    count");
        let lines: Vec<_> = self.lines();
        let styled = lines.iter().map(|line| match line {
            line if heading(line) => {
                Line::from(line.as_str()).style(Style::new().fg(Color::Black).bg(Color::Green))
            }
            line if line.starts_with("greenloop") => Line::from(line.as_str()).bold(),
            line => Line::from(line.as_str()),
        });
        for (row, line) in frame.area().rows().zip(styled) {
            frame.render_widget(line, row);
        }
    }

    /// As text.
    pub(crate) fn lines(&self) -> Vec<String> {
        let hubs = array(&self.metrics["hubs"]);
        let (process, silent) = (&self.metrics["process"], number(&self.metrics["silent_hubs"]));
        let alive: u64 = hubs.iter().map(|hub| number(&hub["alive"])).sum();
        let mut lines = vec![
            format!(
                "greenloop top: process {process}, {} hubs, {silent} kept, {alive} green threads",
                hubs.len()
            ),
            "q end  s order  t time  d dump  r record 5 s".to_owned()
                + if self.said.is_empty() { "" } else { "  " }
                + &self.said,
            String::new(),
            format!(
                "  {:<18} {:<26} {:>7} {:>6} {:>7} {:>6} {:>9}",
                "hub", "busy", "alive", "ready", "timers", "fds", "waits/s"
            ) + "  p99 of a slice",
        ];
        lines.extend(hubs.iter().map(|hub| self.hub_line(hub)));
        lines.extend([
            String::new(),
            format!(
                "  {:>7} {:>7} {:>8} {:>6} {:>10}  {:<12} {:<28} place of spawn",
                "count", "KiB", "longest", "run", "switches/s", "state", "waits on"
            ),
        ]);
        let mut places: Vec<_> = array(&self.places["places"]).iter().collect();
        match self.order {
            Order::Count => {}
            Order::Place => places.sort_by_key(|group| text(&group["spawned_at"]).to_owned()),
            Order::Stack => places.sort_by_key(|group| u64::MAX - number(&group["most_stack_used"])),
            Order::Busy => places.sort_by(|one, other| self.busy(other).total_cmp(&self.busy(one))),
            Order::Wait => places.sort_by_key(|group| u64::MAX - number(&group["longest_wait_ms"])),
        }
        lines.extend(places.into_iter().map(|group| self.place_line(group)));
        lines
    }

    fn busy(&self, group: &Value) -> f64 {
        self.turns.get(text(&group["spawned_at"])).map_or(0.0, |&(busy, _)| busy)
    }

    fn place_line(&self, group: &Value) -> String {
        let (count, stack) = (number(&group["count"]), number(&group["most_stack_used"]).div_ceil(1024));
        let (state, on) = (text(&group["standing"]), text(&group["waits_on"]));
        let names: Vec<_> = array(&group["names"]).iter().map(text).collect();
        let names = if names.is_empty() { String::new() } else { format!("  '{}'", names.join("', '")) };
        let place = text(&group["spawned_at"]);
        let longest = group["longest_wait_ms"].as_u64().map_or("-".to_owned(), duration);
        let turns = self.turns.get(text(&group["spawned_at"]));
        let run = turns.map_or("-".to_owned(), |(busy, _)| format!("{:.0}%", busy * 100.0));
        let switches = turns.map_or("-".to_owned(), |(_, switches)| format!("{switches:.0}"));
        format!(
            "  {count:>7} {stack:>7} {longest:>8} {run:>6} {switches:>10}  {state:<12} {on:<28} {place}{names}"
        )
    }

    fn hub_line(&self, hub: &Value) -> String {
        let (busy, waits) = self.rates.get(&number(&hub["thread_id"])).copied().unwrap_or_default();
        let filled = (busy.clamp(0.0, 1.0) * BAR as f64).round() as usize;
        let bar = "#".repeat(filled) + &".".repeat(BAR - filled);
        let [alive, ready, timers, descriptors] =
            ["alive", "ready", "timers", "descriptors"].map(|name| number(&hub[name]));
        let p99 = &hub["slices"]["p99_ns"];
        let p99 = p99.as_f64().map_or("-".to_owned(), |p99| format!("{:.1} us", p99 / 1000.0));
        let name: String = text(&hub["thread"]).chars().take(18).collect();
        format!(
            "  {name:<18} {bar} {:>4.0}% {alive:>7} {ready:>6} {timers:>7} {descriptors:>6} {waits:>9.0}  {p99}",
            busy * 100.0
        )
    }
}

/// How much of the time the green threads of each place run, and how often they go on in a second. Who has ended takes what he did along:
/// where that leaves less than before, it is nothing.
fn turns(before: &Value, now: &Value, seconds: f64) -> HashMap<String, (f64, f64)> {
    let of = |places: &Value| {
        let mut sums: HashMap<String, (u64, u64)> = HashMap::new();
        for group in array(&places["places"]).iter().filter(|group| !group["switches"].is_null()) {
            let sum = sums.entry(text(&group["spawned_at"]).to_owned()).or_default();
            sum.0 += number(&group["ran_us"]);
            sum.1 += number(&group["switches"]);
        }
        sums
    };
    let before = of(before);
    let rate = |(place, (ran, switches)): (String, (u64, u64))| {
        let &(ran_before, switches_before) = before.get(&place)?;
        let busy = ran.saturating_sub(ran_before) as f64 / 1e6 / seconds;
        Some((place, (busy, switches.saturating_sub(switches_before) as f64 / seconds)))
    };
    of(now).into_iter().filter_map(rate).collect()
}

fn rates(before: &Value, now: &Value, seconds: f64) -> HashMap<u64, (f64, f64)> {
    let of = |value: &Value| -> HashMap<u64, (u64, u64)> {
        let hub = |hub: &Value| {
            (number(&hub["thread_id"]), (number(&hub["processor_time_ns"]), number(&hub["waits"])))
        };
        array(&value["hubs"]).iter().map(hub).collect()
    };
    let before = of(before);
    let rate = |(id, (time, waits)): (u64, (u64, u64))| {
        let &(time_before, waits_before) = before.get(&id)?;
        let busy = time.saturating_sub(time_before) as f64 / 1e9 / seconds;
        Some((id, (busy, waits.saturating_sub(waits_before) as f64 / seconds)))
    };
    of(now).into_iter().filter_map(rate).collect()
}

/// In the largest unit of which there is one.
fn duration(milliseconds: u64) -> String {
    match milliseconds / 1000 {
        0 => format!("{milliseconds} ms"),
        seconds @ 1..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_look_tells_hubs_and_places() {
        let hub = |time: u64, waits: u64| {
            json!({"process": 7, "silent_hubs": 1, "hubs": [{"thread": "main", "thread_id": 8, "alive": 1008, "ready": 2,
                "timers": 3, "descriptors": 4, "processor_time_ns": time, "waits": waits, "slices": null}]})
        };
        let rates = rates(&hub(1_000_000_000, 100), &hub(1_250_000_000, 600), 0.5);
        assert_eq!(rates[&8], (0.5, 1000.0));
        let places = json!({"places": [
            {"spawned_at": "src/b.rs:1:1", "standing": "parked", "waits_on": "a sleep", "count": 9, "most_stack_used": 1, "longest_wait_ms": 240_000,
                "switches": 50, "ran_us": 250_000, "names": []},
            {"spawned_at": "src/a.rs:1:1", "standing": "parked", "waits_on": "Mutex::lock", "count": 1, "most_stack_used": 5000, "longest_wait_ms": null,
                "switches": null, "ran_us": null, "names": ["x"]},
        ]});
        let mut before = places.clone();
        before["places"][0]["switches"] = json!(40);
        before["places"][0]["ran_us"] = json!(0);
        let turns = turns(&before, &places, 0.5);
        let mut look = Look { metrics: hub(1, 1), places, rates, turns, ..Look::default() };
        let lines = look.lines();
        assert_eq!(lines[0], "greenloop top: process 7, 1 hubs, 1 kept, 1008 green threads");
        assert!(lines[4].contains("##########..........   50%    1008"), "{}", lines[4]);
        assert!(lines[7].starts_with("        9       1    4 min    50%         20  parked"), "{}", lines[7]);
        assert!(lines[7].contains("a sleep") && lines[8].ends_with("src/a.rs:1:1  'x'"));
        look.order = look.order.next();
        assert!(look.lines()[7].contains("src/a.rs"));
        assert!(lines[8].starts_with("        1       5        -      -          -  parked"), "{}", lines[8]);
        assert_eq!(look.order.next().next().next().next(), Order::Count);
    }
}
