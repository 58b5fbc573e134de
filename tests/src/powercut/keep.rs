//! A failure for later: the state as an image, and in words what was done, what was promised and what was found.
use super::case::{By, Case, Played, Violation};
use super::record::{Event, Mark, Request};
use super::states::{Choice, Cut, Fate, States};
use super::timeline;
use anyhow::{Context, Result};
use base::block::BioOp;
use std::fmt::Write;
use std::path::PathBuf;

/// The folder of everything that is kept.
pub fn folder() -> PathBuf {
    xtask::build::target().join("powercut")
}

/// The command that plays a case again.
pub fn command(case: &Case) -> String {
    let guest = if case.by == By::Guest { " STATES=0 GUEST=1000" } else { "" };
    format!("make powercut SEED={} ONLY={} RUN={}{guest}", case.seed, case.workload.name, case.number)
}

/// Keeps a violation; gives the folder, and one sentence with where it is.
pub fn keep(played: &Played, violation: &Violation) -> Result<(PathBuf, String)> {
    let case = &played.case;
    let name = format!("{}-{}", case.name(), violation.at);
    let folder = folder().join(&name);
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    std::fs::write(folder.join("state.img"), violation.state.to_vec())?;
    std::fs::write(folder.join("told.txt"), tell(played, violation)?)?;
    std::fs::write(folder.join("timeline.html"), timeline::page(played, violation.at, &violation.fates))?;
    let words = format!("{name}: {}\n  kept at {}; again: {}", violation.why, folder.display(), command(case));
    Ok((folder, words))
}

/// Writes one cut of a healthy run as a picture, `timeline.html`: in the middle of what the workload does, with some writes lost.
pub fn picture(case: Case) -> Result<PathBuf> {
    let played = case.play()?;
    let states = States::new(&played.base, &played.record);
    let places = states.places();
    let cuts = places.iter().map(|&at| states.cut(at)).filter(|cut| cut.volatile.len() >= 4);
    let at =
        cuts.map(|cut| cut.at).nth(places.len() / 8).or(places.last().copied()).context("the run has no events")?;
    let path = folder().join("timeline.html");
    std::fs::create_dir_all(folder())?;
    let fates = states.fates(&states.cut(at), Choice::Set(0b0101_0110));
    std::fs::write(&path, timeline::page(&played, at, &fates))?;
    Ok(path)
}

fn tell(played: &Played, violation: &Violation) -> Result<String> {
    let mut text = String::new();
    let states = States::new(&played.base, &played.record);
    let cut = states.cut(violation.at);
    writeln!(text, "{}\nagain: {}", violation.why, command(&played.case))?;
    writeln!(text, "file system: {:?}", played.case.shape)?;
    text.push_str(&survivors(played, &cut, violation)?);
    for (at, event) in played.record.events.iter().enumerate() {
        if at == violation.at {
            writeln!(text, "{at:6} ======== the power is cut ========")?;
        }
        let volatile = |number| cut.volatile.iter().position(|&n| n == number);
        match *event {
            Event::Step(step, Mark::Began) => writeln!(text, "{at:6} step {step}: {:?}", played.history.ops()[step])?,
            Event::Step(step, mark) => writeln!(text, "{at:6} step {step}: {mark:?}")?,
            Event::Ready => writeln!(text, "{at:6} -------- the scenery stands --------")?,
            Event::Submitted(_) => {}
            Event::Started(n) | Event::Completed(n, _) if played.record.requests[n].op == BioOp::Read => {}
            Event::Started(n) => {
                let lost = volatile(n)
                    .map_or(String::new(), |i| format!(", may be lost ({i}): {}", fate(played, &cut, violation, i)));
                writeln!(text, "{at:6}   {}{lost}", words(&played.record.requests[n], n))?;
            }
            Event::Completed(n, ok) => {
                writeln!(text, "{at:6}   request {n} completed{}", if ok { "" } else { " with an error" })?
            }
        }
    }
    Ok(text)
}

/// Which of the writes that may be lost are there; or, where that is shorter, which are not.
fn survivors(played: &Played, cut: &Cut, violation: &Violation) -> Result<String> {
    let all = 0..cut.volatile.len();
    let there: Vec<usize> = all.clone().filter(|&i| !violation.fates[i].is_lost()).collect();
    let gone: Vec<usize> = all.filter(|&i| fate(played, cut, violation, i) != "there").collect();
    let mut text = String::new();
    let (count, what, which) =
        if there.len() <= gone.len() { (there.len(), "there", there) } else { (gone.len(), "not there", gone) };
    let of = cut.volatile.len();
    writeln!(
        text,
        "of {of} writes that may be lost, {count} are {what}; no fewer break the promise, as far as was tried"
    )?;
    for i in which {
        let number = cut.volatile[i];
        let fate = fate(played, cut, violation, i);
        writeln!(text, "  ({i}) {}: {fate}", words(&played.record.requests[number], number))?;
    }
    writeln!(text, "found with the choice {:?}\n", violation.choice)?;
    Ok(text)
}

/// What has become of the `i`-th write that may be lost.
fn fate(played: &Played, cut: &Cut, violation: &Violation, i: usize) -> String {
    let (len, fate) = (played.record.requests[cut.volatile[i]].data.len(), &violation.fates[i]);
    match fate.there.as_slice() {
        [] => "lost".to_owned(),
        parts if *parts == Fate::whole(len).there && fate.early => "there, as it was at first".to_owned(),
        parts if *parts == Fate::whole(len).there => "there".to_owned(),
        parts => format!("of its bytes there are {parts:?}"),
    }
}

/// A request in words.
pub fn words(request: &Request, number: usize) -> String {
    if request.op == BioOp::Flush {
        return format!("request {number}: flush");
    }
    let (from, to) = (request.at as f64 / 4096.0, (request.at + request.len) as f64 / 4096.0);
    format!("request {number}: {:?} of 4 KiB blocks {from}..{to} by task {}", request.op, request.task)
}
