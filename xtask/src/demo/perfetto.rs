//! A raw trace as Chrome trace JSON, which Perfetto opens.
//!
//! Every event is an instant on its thread; interrupts have a track of their own. Pairs of events are spans as well: on the thread
//! where both are on it, on a track of their own where the second is elsewhere (a write is begun by a task and ended by a worker).
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

const PROCESS: u32 = 1;
/// The track of interrupts; tasks count from 1.
const INTERRUPTS: u64 = 0;

/// Pairs by their first word (inode or sector): begin, end, name of the span.
const SPANS: [(&str, &str, &str); 5] = [
    ("wt.submit", "wt.done", "write-through"),
    ("bio.submit", "bio.end", "bio"),
    ("truncate.begin", "truncate.end", "truncate"),
    ("drain.wait", "drain.done", "wait for the drain count"),
    ("wt.finish", "wt.done", "finish"),
];

/// One line of the trace: number, nanoseconds, thread, its name, kind, two words.
struct Event<'a> {
    time_ns: u64,
    thread: u64,
    name: &'a str,
    kind: &'a str,
    words: [u64; 2],
}

impl<'a> Event<'a> {
    fn parse(line: &'a str) -> Option<Event<'a>> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, time_ns, thread, name, kind, a, b] = words[..] else { return None };
        let words = [a.parse().ok()?, b.parse().ok()?];
        Some(Event { time_ns: time_ns.parse().ok()?, thread: thread.parse().ok()?, name, kind, words })
    }
    fn track(&self) -> u64 {
        if self.kind == "irq" { INTERRUPTS } else { self.thread }
    }
}

/// The text of the JSON file. Lines that begin with `# mark N` name the marks. Errors: a line that is no event.
pub fn json(trace: &str) -> Result<String> {
    let marks: HashMap<u64, &str> = trace.lines().filter_map(mark_name).collect();
    let lines = trace.lines().filter(|line| !line.starts_with('#'));
    let events: Vec<Event> =
        lines.map(|line| Event::parse(line).with_context(|| format!("not an event: {line}"))).collect::<Result<_>>()?;
    let zero = events.first().map_or(0, |e| e.time_ns);
    let us = |event: &Event| event.time_ns.saturating_sub(zero) as f64 / 1000.0;
    let mut all = tracks(&events);
    all.extend(events.iter().map(|event| {
        let name = match event.kind {
            "mark" => marks.get(&event.words[0]).copied().unwrap_or("mark"),
            kind => kind,
        };
        json!({"ph": "i", "s": "t", "name": name, "cat": event.kind, "ts": us(event), "pid": PROCESS, "tid": event.track(),
               "args": {"a": event.words[0], "b": event.words[1]}})
    }));
    for (number, (begin, end, name)) in SPANS.into_iter().enumerate() {
        for (from, to) in pairs(&events, begin, end) {
            all.extend(span(name, (number, from.words[0]), (from, us(from)), (to, us(to))));
        }
    }
    Ok(serde_json::to_string_pretty(&json!({"displayTimeUnit": "ns", "traceEvents": all}))?)
}

fn mark_name(line: &str) -> Option<(u64, &str)> {
    let (number, name) = line.strip_prefix("# mark ")?.split_once(' ')?;
    Some((number.parse().ok()?, name))
}

/// The names of the process and of its threads.
fn tracks(events: &[Event]) -> Vec<Value> {
    let mut names: BTreeMap<u64, &str> = events.iter().map(|e| (e.thread, e.name)).collect();
    names.insert(INTERRUPTS, "interrupts");
    let name = |what: &str, tid: u64, name: &str| json!({"ph": "M", "name": what, "pid": PROCESS, "tid": tid, "args": {"name": name}});
    let threads = names.iter().map(|(&tid, thread)| name("thread_name", tid, thread));
    [name("process_name", INTERRUPTS, "sluice")].into_iter().chain(threads).collect()
}

/// Each `begin` with the last `end` of the same first word before the next `begin`: what a gate held has two ends.
fn pairs<'e, 'a>(events: &'e [Event<'a>], begin: &str, end: &str) -> Vec<(&'e Event<'a>, &'e Event<'a>)> {
    let mut pairs = Vec::new();
    for (at, from) in events.iter().enumerate().filter(|(_, e)| e.kind == begin) {
        let same = events[at + 1..].iter().filter(|e| e.words[0] == from.words[0]);
        let to = same.take_while(|e| e.kind != begin).filter(|e| e.kind == end).last();
        pairs.extend(to.map(|to| (from, to)));
    }
    pairs
}

fn span(
    name: &str,
    (number, word): (usize, u64),
    (from, begin): (&Event, f64),
    (to, end): (&Event, f64),
) -> Vec<Value> {
    if from.thread == to.thread && name != "bio" {
        return vec![
            json!({"ph": "X", "name": name, "cat": name, "ts": begin, "dur": end - begin, "pid": PROCESS, "tid": from.thread}),
        ];
    }
    let half = |ph: &str, tid: u64, ts: f64| {
        json!({"ph": ph, "name": name, "cat": name, "id": format!("{number}.{word}"), "ts": ts, "pid": PROCESS, "tid": tid,
               "args": {"of": word}})
    };
    vec![half("b", from.thread, begin), half("e", to.thread, end)]
}

#[cfg(test)]
mod tests {
    use super::json;
    use serde_json::Value;

    const TRACE: &str = "# mark 1 start
5 1000 1 demo mark 1 0
6 2000 1 demo wt.submit 12 0
7 3000 1 demo bio.submit 80 4096
8 4000 1 demo irq 0 0
9 5000 1 demo bio.end 80 0
10 6000 2 truncate drain.wait 12 1
11 7000 1 demo bio.end 80 0
12 8000 3 ext4-end wt.done 12 4096
13 9500 2 truncate drain.done 12 0
";

    fn find(all: &[Value], ph: &str, name: &str) -> Value {
        all.iter().find(|e| e["ph"] == ph && e["name"] == name).cloned().unwrap_or_else(|| panic!("no {ph} {name}"))
    }

    #[test]
    fn events_threads_and_spans_are_there() {
        let text = json(TRACE).unwrap();
        let parsed: Value = serde_json::from_str(&text).unwrap();
        let all = parsed["traceEvents"].as_array().unwrap();
        assert_eq!(find(all, "i", "start")["ts"], 0.0);
        assert_eq!(find(all, "i", "irq")["tid"], 0);
        assert_eq!(find(all, "X", "wait for the drain count")["dur"], 3.5);
        assert_eq!(
            (find(all, "b", "write-through")["tid"].clone(), find(all, "e", "write-through")["tid"].clone()),
            (1.into(), 3.into())
        );
        assert_eq!(find(all, "e", "bio")["ts"], 6.0, "the last end counts");
        let names: Vec<_> =
            all.iter().filter(|e| e["name"] == "thread_name").map(|e| e["args"]["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["interrupts", "demo", "truncate", "ext4-end"]);
    }

    #[test]
    fn a_line_that_is_no_event_is_refused() {
        assert!(json("1 2 3 x wt.submit 1").is_err());
    }
}
