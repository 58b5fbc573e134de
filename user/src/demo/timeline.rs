//! The one right order of the encounter, and the story of the order that came.
use crate::trace::{Event, Mark};
use std::fmt::Write;

/// What the trace has, and the file that it is about.
pub struct Story {
    pub ino: u64,
    /// Where the disk is written.
    pub sector: u64,
    pub events: Vec<Event>,
}

/// Who has to do a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Who {
    Submitter,
    Truncater,
    Worker,
    /// An interrupt: no thread of its own.
    Interrupt,
}

macro_rules! steps {
    ($($step:ident $who:ident $text:literal,)*) => {
        /// What can happen to the file, in the order in which it must.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        enum Step { $($step,)* }

        impl Step {
            const ORDER: &[Step] = &[$(Step::$step,)*];
            fn who(self) -> Who {
                match self { $(Step::$step => Who::$who,)* }
            }
            fn text(self) -> &'static str {
                match self { $(Step::$step => $text,)* }
            }
        }
    };
}
steps! {
    Copied Submitter "io_submit counts one write in flight and copies the bytes into the page cache",
    Sent Submitter "the write goes out; the gate holds it before the disk",
    Submitted Submitter "io_submit has returned",
    Interrupted Interrupt "the gate lets it through; the disk has written, its interrupt comes",
    Answered Interrupt "the gate holds the completion",
    TruncateCalled Truncater "truncate(0) is called",
    TruncateWaits Truncater "truncate waits: a write is in flight",
    Opened Submitter "the gate is opened",
    Completed Submitter "the completion goes on and queues the worker",
    Finish Worker "the worker begins the finish",
    Converted Worker "the worker converts the extent: unwritten to written",
    Dropped Worker "the count is dropped: no write in flight",
    TruncateGoesOn Truncater "truncate goes on: size 0, then the block is freed",
    TruncateReturned Truncater "truncate has returned",
    Reaped Submitter "io_getevents has returned the event",
}

/// A step that came, or an event about the file that has no place in the order.
pub struct Told<'a> {
    event: &'a Event,
    step: Option<Step>,
}

impl Story {
    /// The events about the file since the latest start, in the order in which they came.
    pub fn told(&self) -> Vec<Told<'_>> {
        let start = self.events.iter().rposition(|e| e.is_mark(Mark::Start)).map_or(0, |at| at + 1);
        let events = &self.events[start..];
        let answered = events.iter().position(|e| e.is("bio.end", self.sector));
        // The interrupt that brought the answer: other requests have theirs.
        let irq = answered.and_then(|at| events[..at].iter().rposition(|e| e.kind == "irq"));
        let mut told = Vec::new();
        for (at, event) in events.iter().enumerate() {
            let is = |starts: &[&str]| starts.iter().any(|start| event.kind.starts_with(start));
            let about_file = event.a == self.ino && is(&["wt.", "drain.", "truncate."]);
            let about_disk = event.a == self.sector && is(&["bio."]);
            if about_file || about_disk || irq == Some(at) || event.kind == "mark" {
                let step = step_of(event, answered == Some(at));
                told.push(Told { event, step });
            }
        }
        told
    }
}

fn step_of(event: &Event, first_end: bool) -> Option<Step> {
    Some(match event.kind.as_str() {
        "wt.submit" => Step::Copied,
        "bio.submit" => Step::Sent,
        "mark" if event.is_mark(Mark::Submitted) => Step::Submitted,
        "irq" => Step::Interrupted,
        "bio.end" if first_end && event.b == 0 => Step::Answered,
        "bio.end" if event.b == 0 => Step::Completed,
        "truncate.begin" => Step::TruncateCalled,
        "drain.wait" if event.b == 1 => Step::TruncateWaits,
        "mark" if event.is_mark(Mark::Released) => Step::Opened,
        "wt.finish" => Step::Finish,
        "wt.convert" => Step::Converted,
        "wt.drop_drain" if event.b == 0 => Step::Dropped,
        "drain.done" => Step::TruncateGoesOn,
        "truncate.end" if event.b == 0 => Step::TruncateReturned,
        "mark" if event.is_mark(Mark::Reaped) => Step::Reaped,
        _ => return None,
    })
}

/// Whether the steps came in the right order, each once and on the right thread. The error says what is wrong.
pub fn check(told: &[Told]) -> Result<(), String> {
    let came: Vec<(Step, &Event)> = told.iter().filter_map(|t| Some((t.step?, t.event))).collect();
    for (at, &step) in Step::ORDER.iter().enumerate() {
        match came.get(at) {
            Some((found, _)) if *found == step => {}
            Some((found, _)) => return Err(format!("\"{}\" came where \"{}\" was due", found.text(), step.text())),
            None => return Err(format!("\"{}\" never came", step.text())),
        }
    }
    if let Some((step, _)) = came.get(Step::ORDER.len()) {
        return Err(format!("\"{}\" came twice", step.text()));
    }
    check_loose_ends(told)?;
    let thread = |who: Who| came.iter().find(|(step, _)| step.who() == who).map(|(_, event)| event.thread);
    for &(step, event) in &came {
        let right = step.who() == Who::Interrupt || thread(step.who()) == Some(event.thread);
        if !right {
            return Err(format!("\"{}\" came on thread {}", step.text(), event.name));
        }
    }
    let [a, b, c] = [Who::Submitter, Who::Truncater, Who::Worker].map(thread);
    if a == b || b == c || a == c {
        return Err("submitter, truncater and worker are not three threads".into());
    }
    Ok(())
}

/// Events without a step: the outcome is posted after the count was dropped; nothing else may be there.
fn check_loose_ends(told: &[Told]) -> Result<(), String> {
    let dropped = told.iter().position(|t| t.step == Some(Step::Dropped));
    for (at, loose) in told.iter().enumerate().filter(|(_, t)| t.step.is_none()) {
        let event = loose.event;
        if event.kind != "wt.done" || Some(at) < dropped {
            return Err(format!("{} {} {} came out of turn", event.kind, event.a, event.b));
        }
    }
    Ok(())
}

/// A line for each event: microseconds since the first, thread, event, story.
pub fn table(told: &[Told]) -> String {
    let zero = told.first().map_or(0, |t| t.event.time_ns);
    let mut text = format!("{:>11}  {:12}{:16}\n", "us", "thread", "event");
    for Told { event, step } in told {
        let us = event.time_ns.saturating_sub(zero) as f64 / 1000.0;
        let thread = if step.is_some_and(|s| s.who() == Who::Interrupt) { "(interrupt)" } else { &event.name };
        let story = match step {
            Some(step) => step.text(),
            None if event.kind == "wt.done" => "the event is posted",
            None => "",
        };
        let _ = writeln!(text, "{us:11.1}  {thread:12}{:16}{story}", event.kind);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Story, check, table};
    use crate::trace::Event;

    const RIGHT: [(u64, &str, u64, u64); 18] = [
        (1, "mark", 1, 0),
        (1, "bio.submit", 8, 512),
        (1, "wt.submit", 12, 0),
        (1, "bio.submit", 80, 4096),
        (1, "mark", 2, 0),
        (1, "irq", 0, 0),
        (1, "bio.end", 80, 0),
        (2, "truncate.begin", 12, 0),
        (2, "drain.wait", 12, 1),
        (1, "mark", 3, 0),
        (1, "bio.end", 80, 0),
        (3, "wt.finish", 12, 0),
        (3, "wt.convert", 12, 0),
        (3, "wt.drop_drain", 12, 0),
        (3, "wt.done", 12, 4096),
        (2, "drain.done", 12, 0),
        (2, "truncate.end", 12, 0),
        (1, "mark", 4, 0),
    ];

    fn judge(events: &[(u64, &str, u64, u64)]) -> Result<String, String> {
        let event = |(i, &(thread, kind, a, b)): (usize, &(u64, &str, u64, u64))| {
            let time_ns = 1000 * i as u64;
            Event { number: i as u64 + 1, time_ns, thread, name: format!("t{thread}"), kind: kind.into(), a, b }
        };
        let story = Story { ino: 12, sector: 80, events: events.iter().enumerate().map(event).collect() };
        let told = story.told();
        check(&told).map(|()| table(&told))
    }

    #[test]
    fn the_right_order_is_told() {
        let text = judge(&RIGHT).unwrap();
        assert_eq!(text.lines().count(), 17, "{text}");
        assert!(text.contains("6.0  t2          drain.wait") && text.contains("(interrupt)"), "{text}");
    }

    #[test]
    fn another_order_is_refused() {
        for swap in 4..RIGHT.len() - 2 {
            let mut events = RIGHT;
            events.swap(swap, swap + 1);
            // The outcome may be posted before or after the truncate goes on, but never before the count is dropped.
            let harmless = RIGHT[swap].1 == "wt.done";
            assert_eq!(judge(&events).is_ok(), harmless, "{:?} and {:?}", RIGHT[swap], RIGHT[swap + 1]);
        }
    }

    #[test]
    fn missing_steps_wrong_threads_and_errors_are_refused() {
        for missing in 2..RIGHT.len() {
            let mut events = RIGHT.to_vec();
            let gone = events.remove(missing);
            assert_eq!(judge(&events).is_ok(), gone.1 == "wt.done", "{gone:?}");
        }
        let mut inline = RIGHT;
        inline[12].0 = 1;
        assert!(judge(&inline).is_err(), "the finish must run on one worker");
        let mut failed = RIGHT;
        failed[10].3 = 5;
        assert!(judge(&failed).is_err(), "the write failed");
        let mut two = RIGHT;
        two[8].3 = 2;
        assert!(judge(&two).is_err(), "two writes in flight");
    }
}
