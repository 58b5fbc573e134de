//! One cut as a picture: what was done, what the disk was asked, what had been flushed, and what survived. One HTML file with nothing
//! beside it.
//!
//! Time runs down in events of the record, since only their order matters. Each request is a line from its submission to its
//! completion; steps of the workload stand to the left.
use super::case::{By, Played};
use super::record::{Event, Mark};
use super::states::{Cut, Fate, States};
use base::block::BioOp;
use std::fmt::Write;

/// Events before and after the cut that are shown.
const BEFORE: usize = 90;
const AFTER: usize = 12;
const ROW: usize = 16;

/// The page for a cut of `played` after which `fates` were there.
pub fn page(played: &Played, at: usize, fates: &[Fate]) -> String {
    let states = States::new(&played.base, &played.record);
    let cut = states.cut(at);
    let whole = states.whole(&cut);
    let picture = Picture { played, cut, fates, whole, from: at.saturating_sub(BEFORE) };
    let mut html = String::from(HEAD);
    let case = &played.case;
    let told = |html: &mut String| -> std::fmt::Result {
        writeln!(
            html,
            "<h1>A power cut: workload {}, seed {}, run {}{}</h1>",
            case.workload.name,
            case.seed,
            case.number,
            if case.by == By::Guest { ", played by the booted kernel" } else { "" }
        )?;
        writeln!(
            html,
            "<p>{} of {} writes that may be lost are there.</p>",
            picture.kept(),
            picture.cut.volatile.len()
        )?;
        html.push_str(LEGEND);
        picture.rows(html)?;
        html.push_str("</body></html>\n");
        Ok(())
    };
    // Writing to a string does not fail.
    let _ = told(&mut html);
    html
}

struct Picture<'a> {
    played: &'a Played,
    cut: Cut,
    fates: &'a [Fate],
    whole: Vec<Fate>,
    from: usize,
}

impl Picture<'_> {
    fn end(&self) -> usize {
        (self.cut.at + AFTER).min(self.played.record.events.len())
    }

    /// Whether a write that may be lost is there: as a whole, where that can be said.
    fn survives(&self, index: usize) -> Option<bool> {
        let fate = &self.fates[index];
        (fate.is_lost() || fate.there == self.whole[index].there).then_some(!fate.is_lost())
    }

    /// How many are there, as a whole or in part.
    fn kept(&self) -> usize {
        self.fates.iter().filter(|fate| !fate.is_lost()).count()
    }

    fn rows(&self, html: &mut String) -> std::fmt::Result {
        let height = (self.end() - self.from + 2) * ROW;
        writeln!(html, "<svg width=\"1160\" height=\"{height}\" font-size=\"11\">")?;
        for at in self.from..self.end() {
            let y = self.y(at);
            if let Event::Step(step, mark) = self.played.record.events[at] {
                let text = match mark {
                    Mark::Began => format!("{step} {:?}", self.played.history.ops()[step]),
                    Mark::Accepted => format!("{step} accepted"),
                    Mark::Returned(Ok(n)) => format!("{step} returned {n}: acknowledged"),
                    Mark::Returned(Err(error)) => format!("{step} failed: {error}"),
                };
                let class = if matches!(mark, Mark::Returned(Ok(_))) { "ack" } else { "step" };
                writeln!(html, "<text x=\"8\" y=\"{}\" class=\"{class}\">{}</text>", y + 4, escaped(&text))?;
            }
        }
        self.requests(html)?;
        let y = self.y(self.cut.at) - ROW / 2;
        writeln!(html, "<line x1=\"0\" x2=\"1160\" y1=\"{y}\" y2=\"{y}\" class=\"cut\"/>")?;
        writeln!(html, "<text x=\"1060\" y=\"{}\" class=\"cutword\">power cut</text></svg>", y - 4)
    }

    fn requests(&self, html: &mut String) -> std::fmt::Result {
        let events = &self.played.record.events;
        let mut lanes: Vec<usize> = Vec::new();
        for at in self.from..self.end() {
            let Event::Submitted(number) = events[at] else { continue };
            let request = &self.played.record.requests[number];
            if request.op == BioOp::Read {
                continue;
            }
            let done = |event: &Event| matches!(event, Event::Completed(n, _) if *n == number);
            let until = events[at..self.end()].iter().position(done).map_or(self.end(), |more| at + more);
            let free = lanes.iter().position(|&busy| busy < at);
            let lane = free.unwrap_or_else(|| {
                lanes.push(0);
                lanes.len() - 1
            });
            lanes[lane] = until;
            let x = 640 + 26 * (lane % 18);
            let (class, fate) = self.fate(number, at);
            let (top, bottom) = (self.y(at), self.y(until));
            writeln!(html, "<line x1=\"{x}\" x2=\"{x}\" y1=\"{top}\" y2=\"{bottom}\" class=\"{class}\"/>")?;
            let what = if request.op == BioOp::Flush {
                "flush".to_owned()
            } else {
                format!("write of bytes {}..{}", request.at, request.at + request.len)
            };
            let title = format!("request {number}: {what}; {fate}");
            let dot = "<circle cx=\"{x}\"".replace("{x}", &x.to_string());
            writeln!(html, "{dot} cy=\"{top}\" r=\"5\" class=\"{class}\"><title>{title}</title></circle>")?;
        }
        Ok(())
    }

    fn fate(&self, number: usize, submitted: usize) -> (&'static str, &'static str) {
        let request = &self.played.record.requests[number];
        match self.cut.volatile.iter().position(|&n| n == number) {
            _ if request.op == BioOp::Flush => ("flush", "a flush"),
            _ if submitted >= self.cut.at => ("later", "never reached the disk"),
            None => ("stable", "flushed, and there"),
            Some(index) => match self.survives(index) {
                Some(true) => ("kept", "not flushed, but there"),
                Some(false) => ("lost", "not flushed, and lost"),
                None => ("torn", "not flushed; there, lost or there in part"),
            },
        }
    }

    fn y(&self, at: usize) -> usize {
        (at + 1 - self.from) * ROW
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>A power cut</title><style>
body { font: 14px sans-serif; margin: 24px; color: #222; background: #fff }
line, circle { stroke-width: 3 } text { fill: #555 } .ack { fill: #06712f; font-weight: bold }
.flush { stroke: #7b3fb5; fill: #7b3fb5 } .stable { stroke: #06712f; fill: #06712f } .kept { stroke: #d08700; fill: #d08700 }
.lost { stroke: #c5221f; fill: #fff } .torn { stroke: #d08700; fill: #fff } .later { stroke: #bbb; fill: #bbb }
.cut { stroke: #c5221f; stroke-dasharray: 6 4 } .cutword { fill: #c5221f; font-weight: bold }
i { display: inline-block; width: 12px; height: 12px; border: 3px solid; border-radius: 8px; margin: 0 6px 0 18px; vertical-align: middle }
</style></head><body>
";
const LEGEND: &str = "<p>Time runs down, an event a line. To the left, what the workload did and was told; to the right, a line for each \
request from its submission to its completion.</p><p><i style=\"color:#7b3fb5;background:#7b3fb5\"></i>flush \
<i style=\"color:#06712f;background:#06712f\"></i>write that a flush has covered \
<i style=\"color:#d08700;background:#d08700\"></i>not flushed, but there <i style=\"color:#d08700\"></i>not flushed, there in part or not \
<i style=\"color:#c5221f\"></i>lost <i style=\"color:#bbb;background:#bbb\"></i>after the cut</p>
";
