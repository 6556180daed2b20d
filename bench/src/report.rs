//! What a run found, in words and as JSON.

use crate::crash::Return;
use crate::process::Usage;
use crate::run::{Backlog, Findings};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// Percentiles of a latency, microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Latency {
    /// The median.
    pub p50_us: u64,
    /// 90 of 100 are at most this.
    pub p90_us: u64,
    /// 99 of 100.
    pub p99_us: u64,
    /// 999 of 1,000.
    pub p999_us: u64,
    /// All of them.
    pub max_us: u64,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Option<Latency> {
        let at = |percentile: f64| histogram.value_at_percentile(percentile) / 1_000;
        (!histogram.is_empty()).then(|| Latency {
            p50_us: at(50.0),
            p90_us: at(90.0),
            p99_us: at(99.0),
            p999_us: at(99.9),
            max_us: histogram.max() / 1_000,
        })
    }
}

/// What it took to publish what waits for those who are away.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct BacklogReport {
    /// Messages acknowledged.
    pub messages: u64,
    /// How long that took, seconds.
    pub seconds: f64,
    /// Acknowledgements, each second.
    pub acked_per_s: f64,
    /// The broker's processor time for each, microseconds.
    pub cpu_us: Option<f64>,
    /// What the broker's memory grew by, bytes for each message that waits.
    pub memory_per_message: Option<f64>,
}

impl BacklogReport {
    fn of(backlog: &Backlog) -> BacklogReport {
        let Backlog { acked, lasted, used } = *backlog;
        let (messages, seconds) = (precise(acked.max(1)), lasted.as_secs_f64());
        let cpu_us =
            |(from, to): (Usage, Usage)| to.cpu.saturating_sub(from.cpu).as_secs_f64() * 1e6 / messages;
        let grown =
            |(from, to): (Usage, Usage)| precise(to.resident.saturating_sub(from.resident)) / messages;
        BacklogReport {
            messages: acked,
            seconds,
            acked_per_s: precise(acked) / seconds,
            cpu_us: used.map(cpu_us),
            memory_per_message: used.map(grown),
        }
    }
}

/// What more than it carries did to the broker.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct OverloadReport {
    /// Acknowledgements each second when as much was published as windows allow.
    pub carried_per_s: f64,
    /// Messages due each second in the measurement.
    pub offered_per_s: f64,
    /// Messages that were due and never published, because too many were in flight.
    pub withheld: u64,
    /// The broker's memory at its highest, bytes.
    pub peak_memory: Option<u64>,
    /// From the end of the measurement until acknowledgements were as fast as is normal, seconds; `None` when they never were.
    pub normal_after_s: Option<f64>,
    /// Connections that read nothing, and which the broker has closed.
    pub stuck_closed: u64,
}

/// How a broker came back that was killed, seconds from then.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ReturnReport {
    /// Until it accepted a connection.
    pub accepting_s: f64,
    /// Until all clients were connected, with their sessions.
    pub all_back_s: f64,
    /// Until messages were delivered at half the rate from before.
    pub flowing_s: f64,
}

impl ReturnReport {
    fn of(back: &Return) -> ReturnReport {
        ReturnReport {
            accepting_s: back.accepting.as_secs_f64(),
            all_back_s: back.all_back.as_secs_f64(),
            flowing_s: back.flowing.as_secs_f64(),
        }
    }
}

/// The figures of a run. A rate is for each second, a cost for each delivery, or for each cycle of churn.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The scenario.
    pub scenario: String,
    /// The broker's process, where it was found.
    pub broker: Option<String>,
    /// Clients.
    pub clients: usize,
    /// How long it counted, seconds.
    pub seconds: f64,
    /// From the first connect until all clients were ready, seconds.
    pub connecting_s: f64,
    /// Messages published, each second.
    pub published_per_s: f64,
    /// Acknowledgements, each second.
    pub acked_per_s: f64,
    /// Messages delivered, each second.
    pub delivered_per_s: f64,
    /// Connect, subscribe and disconnect, each second.
    pub cycles_per_s: f64,
    /// The broker's processor time, microseconds.
    pub cpu_us: Option<f64>,
    /// The broker's processor time, in processors.
    pub cpus: Option<f64>,
    /// What the broker's memory grew by from before the first client, bytes for each client.
    pub memory_per_client: Option<f64>,
    /// The broker's memory at the end, bytes.
    pub memory: Option<u64>,
    /// Bytes of MQTT to the broker, for each delivery.
    pub bytes_up: f64,
    /// Bytes of MQTT from the broker, for each delivery.
    pub bytes_down: f64,
    /// From when a message was due to its acknowledgement.
    pub ack: Option<Latency>,
    /// From when a message was due until it was received.
    pub delivery: Option<Latency>,
    /// From when a device that was away began to connect until its first message.
    pub first: Option<Latency>,
    /// From a SUBSCRIBE until the last of the retained messages that match, or from a question to its answer.
    pub look: Option<Latency>,
    /// From when a message was due until its sender heard that it is on a device.
    pub delivered_receipt: Option<Latency>,
    /// From when a message was due until its sender heard that it was read.
    pub read_receipt: Option<Latency>,
    /// How the broker came back, each time that it was killed.
    pub returns: Vec<ReturnReport>,
    /// What was published while they were away.
    pub backlog: Option<BacklogReport>,
    /// What more than it carries did to the broker.
    pub overload: Option<OverloadReport>,
    /// Messages that were acknowledged and did not arrive.
    pub lost: u64,
    /// Messages that came twice.
    pub duplicated: u64,
    /// Messages that came behind a later one.
    pub out_of_order: u64,
    /// Publishes that were refused.
    pub refused: u64,
    /// Connections that ended and were not to.
    pub dead: u64,
    /// What went wrong first.
    pub trouble: Option<String>,
    /// Deliveries, or cycles, in each second.
    pub each_second: Vec<u64>,
}

impl Report {
    /// The figures of what was found.
    pub fn new(scenario: &str, clients: usize, found: &Findings) -> Report {
        let tally = &found.measured;
        let seconds = found.lasted.as_secs_f64();
        let per_s = |count: u64| precise(count) / seconds;
        let units = tally.delivered.max(tally.cycles);
        let each = |amount: f64| if units == 0 { 0.0 } else { amount / precise(units) };
        let cpu_us = |cpu: Duration| each(cpu.as_secs_f64() * 1e6);
        let grown = |(from, to): (u64, u64)| precise(to.saturating_sub(from)) / precise(clients as u64);
        Report {
            scenario: scenario.to_owned(),
            broker: found.broker.clone(),
            clients,
            seconds,
            connecting_s: found.connecting.as_secs_f64(),
            published_per_s: per_s(tally.published),
            acked_per_s: per_s(tally.acked),
            delivered_per_s: per_s(tally.delivered),
            cycles_per_s: per_s(tally.cycles),
            cpu_us: found.cpu.filter(|_| units > 0).map(cpu_us),
            cpus: found.cpu.map(|cpu| cpu.as_secs_f64() / seconds),
            memory_per_client: found.resident.map(grown),
            memory: found.resident.map(|(_, to)| to),
            bytes_up: each(precise(tally.bytes_out)),
            bytes_down: each(precise(tally.bytes_in)),
            ack: Latency::of(&tally.ack_ns),
            // How long it waited for somebody who was away says nothing about the broker.
            delivery: Latency::of(&tally.delivery_ns).filter(|_| found.backlog.is_none()),
            first: Latency::of(&tally.first_ns),
            look: Latency::of(&tally.look_ns),
            delivered_receipt: Latency::of(&tally.delivered_receipt_ns),
            read_receipt: Latency::of(&tally.read_receipt_ns),
            returns: found.returns.iter().map(ReturnReport::of).collect(),
            overload: found.overload.map(|over| OverloadReport {
                carried_per_s: over.carried_per_s,
                offered_per_s: over.offered_per_s,
                withheld: tally.withheld,
                peak_memory: over.peak,
                normal_after_s: over.normal_after.map(|after| after.as_secs_f64()),
                stuck_closed: over.stuck_closed,
            }),
            backlog: found.backlog.as_ref().map(BacklogReport::of),
            lost: found.lost,
            duplicated: tally.duplicated,
            out_of_order: tally.out_of_order,
            refused: tally.refused,
            dead: found.dead,
            trouble: found.trouble.clone(),
            each_second: found.seconds.clone(),
        }
    }

    /// Whether the figures are those of a run in which all went as it should.
    pub fn is_sound(&self) -> bool {
        let recovered = self.overload.is_none_or(|over| over.normal_after_s.is_some());
        self.lost == 0 && self.dead == 0 && self.refused == 0 && recovered
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let broker = self.broker.as_deref().unwrap_or("a broker whose process is not seen");
        writeln!(f, "{}: {} clients of {broker}, {:.1} s", self.scenario, self.clients, self.seconds)?;
        let cycle =
            if self.look.is_some() { "looked up and received" } else { "connect, subscribe, disconnect" };
        for (name, rate) in [
            ("published", self.published_per_s),
            ("acknowledged", self.acked_per_s),
            ("delivered", self.delivered_per_s),
            (cycle, self.cycles_per_s),
        ] {
            if rate > 0.0 {
                writeln!(f, "  {name:32}{rate:>12.0} /s")?;
            }
        }
        if let Some(cpu_us) = self.cpu_us {
            writeln!(f, "  {:32}{cpu_us:>12.2} µs each", "the broker's processor time")?;
        }
        if let Some(cpus) = self.cpus {
            writeln!(f, "  {:32}{cpus:>12.2} processors", "")?;
        }
        if let (Some(each), Some(memory)) = (self.memory_per_client, self.memory) {
            let (each, memory) = (each / 1024.0, precise(memory) / 1024.0 / 1024.0);
            writeln!(f, "  {:32}{each:>12.2} KiB for each client, {memory:.1} MiB in all", "its memory")?;
        }
        if self.bytes_up > 0.0 {
            let (up, down) = (self.bytes_up, self.bytes_down);
            writeln!(f, "  {:32}{up:>12.1} up, {down:.1} down, each", "bytes of MQTT")?;
        }
        for ReturnReport { accepting_s, all_back_s, flowing_s } in &self.returns {
            let name = "killed, and accepting again";
            writeln!(
                f,
                "  {name:32}{accepting_s:>12.2} s; all back {all_back_s:.2}, flowing {flowing_s:.2}"
            )?;
        }
        if let Some(over) = self.overload {
            let (carried, offered) = (over.carried_per_s, over.offered_per_s);
            writeln!(f, "  {:32}{carried:>12.0} /s, {offered:.0} /s were due", "it carries")?;
            writeln!(f, "  {:32}{:>12} messages", "due and withheld", over.withheld)?;
            if let Some(peak) = over.peak_memory {
                writeln!(
                    f,
                    "  {:32}{:>12.1} MiB",
                    "its memory at its highest",
                    precise(peak) / 1024.0 / 1024.0
                )?;
            }
            match over.normal_after_s {
                Some(after) => writeln!(f, "  {:32}{after:>12.2} s behind it", "back to normal")?,
                None => writeln!(f, "  {:32}{:>12}", "back to normal", "never")?,
            }
            if over.stuck_closed > 0 {
                writeln!(f, "  {:32}{:>12}", "stuck connections it closed", over.stuck_closed)?;
            }
        }
        if let Some(BacklogReport { messages, seconds, acked_per_s, cpu_us, memory_per_message }) =
            self.backlog
        {
            let name = "published before";
            writeln!(f, "  {name:32}{acked_per_s:>12.0} /s, {messages} messages in {seconds:.1} s")?;
            if let (Some(cpu_us), Some(memory)) = (cpu_us, memory_per_message) {
                writeln!(f, "  {:32}{cpu_us:>12.2} µs and {memory:.1} bytes of memory each", "")?;
            }
        }
        for (name, latency) in [
            ("acknowledgement", self.ack),
            ("delivery", self.delivery),
            ("first message, from connect", self.first),
            ("subscribe until the last one", self.look),
            ("receipt: delivered", self.delivered_receipt),
            ("receipt: read", self.read_receipt),
        ] {
            if let Some(Latency { p50_us, p90_us, p99_us, p999_us, max_us }) = latency {
                writeln!(
                    f,
                    "  {name:32}{p50_us:>12} µs p50, {p90_us} p90, {p99_us} p99, {p999_us} p99.9, {max_us} max"
                )?;
            }
        }
        for (name, count) in [
            ("lost", self.lost),
            ("duplicated", self.duplicated),
            ("out of order", self.out_of_order),
            ("refused", self.refused),
            ("connections that ended", self.dead),
        ] {
            if count > 0 {
                writeln!(f, "  {name:32}{count:>12}")?;
            }
        }
        if let Some(trouble) = &self.trouble {
            writeln!(f, "  first of what went wrong: {trouble}")?;
        }
        Ok(())
    }
}

/// Counts of a run are far below 2^52.
#[allow(clippy::cast_precision_loss)]
fn precise(count: u64) -> f64 {
    count as f64
}
