//! Metrics as Prometheus reads them.

use std::fmt::{self, Display};
use std::time::Duration;

use super::histogram::Histogram;
use super::metrics::{HubMetrics, Metrics};

/// The type that Prometheus keeps a family for.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// What has one number for each hub: a name after `greenloop_`, what it is, and the number.
type Family = (&'static str, Kind, &'static str, fn(&HubMetrics) -> f64);

const FAMILIES: &[Family] = &[
    ("green_threads_spawned_total", Kind::Counter, "Green threads that were to run here.", |hub| {
        hub.spawned as f64
    }),
    ("green_threads_ended_total", Kind::Counter, "Those of them that have ended.", |hub| hub.ended as f64),
    ("green_threads_alive", Kind::Gauge, "Those of them that have not.", |hub| hub.alive as f64),
    ("waits_total", Kind::Counter, "Waits that were begun.", |hub| hub.waits as f64),
    ("ready", Kind::Gauge, "Greenlets that are to go on in their turn.", |hub| hub.ready as f64),
    ("unstarted", Kind::Gauge, "Green threads that have not begun.", |hub| hub.unstarted as f64),
    ("timers", Kind::Gauge, "Timers that are set.", |hub| hub.timers as f64),
    ("descriptor_waits", Kind::Gauge, "Waits for descriptors.", |hub| hub.descriptors as f64),
    ("stacks", Kind::Gauge, "Stacks of greenlets.", |hub| hub.stacks as f64),
    ("idle_stacks", Kind::Gauge, "Stacks on which nobody runs.", |hub| hub.idle_stacks as f64),
    ("processor_seconds_total", Kind::Counter, "Time that the hub's OS thread was on a processor.", |hub| {
        hub.processor_time.as_secs_f64()
    }),
    ("sleeps_total", Kind::Counter, "Sleeps of the hub's OS thread.", |hub| hub.sleeps as f64),
    ("preemptions_total", Kind::Counter, "Times that the kernel took the processor from it.", |hub| {
        hub.preemptions as f64
    }),
];

/// What has a histogram for each hub.
type HistogramFamily = (&'static str, &'static str, fn(&HubMetrics) -> Option<&Histogram>);

const HISTOGRAMS: [HistogramFamily; 2] = [
    ("run_slice_seconds", "How long greenlets ran at a stretch.", |hub| hub.slices.as_ref()),
    ("ready_delay_seconds", "How long they were ready before they went on.", |hub| hub.delays.as_ref()),
];

impl Display for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &(name, kind, help, number) in FAMILIES {
            begin(name, kind, help, formatter)?;
            for hub in self.hubs() {
                let (id, thread) = (hub.thread_id, Label(&hub.thread));
                writeln!(formatter, "greenloop_{name}{{hub=\"{id}\",thread={thread}}} {}", number(hub))?;
            }
        }
        for (name, help, histogram) in HISTOGRAMS {
            begin(name, Kind::Histogram, help, formatter)?;
            for hub in self.hubs() {
                histogram(hub)
                    .map_or(Ok(()), |histogram| write_histogram(name, hub, histogram, formatter))?;
            }
        }
        let pools = self.pools();
        for (name, help, number) in [
            ("pool_threads", "OS threads of the library's own pools.", pools.threads),
            ("pool_jobs_running", "Jobs that run there.", pools.running),
            ("pool_jobs_queued", "Jobs that wait for one of those to end.", pools.queued),
        ] {
            begin(name, Kind::Gauge, help, formatter)?;
            writeln!(formatter, "greenloop_{name} {number}")?;
        }
        begin("silent_hubs", Kind::Gauge, "Hubs that a green thread keeps from answering.", formatter)?;
        writeln!(formatter, "greenloop_silent_hubs {}", self.silent_hubs())
    }
}

fn write_histogram(
    name: &str,
    hub: &HubMetrics,
    histogram: &Histogram,
    formatter: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let labels = format!("hub=\"{}\",thread={}", hub.thread_id, Label(&hub.thread));
    for (end, count) in histogram.below_powers() {
        let end = Duration::from_nanos(end).as_secs_f64();
        writeln!(formatter, "greenloop_{name}_bucket{{{labels},le=\"{end}\"}} {count}")?;
    }
    let (count, sum) = (histogram.count(), histogram.sum().as_secs_f64());
    writeln!(formatter, "greenloop_{name}_bucket{{{labels},le=\"+Inf\"}} {count}")?;
    writeln!(formatter, "greenloop_{name}_sum{{{labels}}} {sum}")?;
    writeln!(formatter, "greenloop_{name}_count{{{labels}}} {count}")
}

fn begin(name: &str, kind: Kind, help: &str, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    write!(formatter, "# HELP greenloop_{name} {help}\n# TYPE greenloop_{name} {kind}\n")
}

/// The value of a label, in quotes.
struct Label<'a>(&'a str);

impl Display for Label<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("\"")?;
        for character in self.0.chars() {
            match character {
                '"' => formatter.write_str("\\\"")?,
                '\\' => formatter.write_str("\\\\")?,
                '\n' => formatter.write_str("\\n")?,
                other => write!(formatter, "{other}")?,
            }
        }
        formatter.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_as_the_format_says() {
        assert_eq!(Label("a \"b\" \\ c\nö\t").to_string(), "\"a \\\"b\\\" \\\\ c\\nö\t\"");
    }
}
