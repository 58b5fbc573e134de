//! The table for people and the JSON for programs.
use crate::counters::COLUMNS;
use crate::meter::{Figures, RowResult};
use std::fmt::Write;

/// The table of all rows.
pub fn table(results: &[RowResult]) -> String {
    let mut out =
        format!("{:30}{:>8}{:>10}{:>9}{:>9}{:>8}{:>7}", "row", "ops", "ops/s", "p50 us", "p99 us", "submit", "depth");
    let with_counters = results.iter().any(|r| r.figures.as_ref().is_some_and(|f| f.counters.is_some()));
    if with_counters {
        for (_, heading) in COLUMNS {
            let _ = write!(out, "{heading:>8}");
        }
    }
    out.push('\n');
    for result in results {
        let _ = write!(out, "{:30}", result.name);
        match &result.figures {
            None => out.push_str("this kernel does not have it"),
            Some(figures) => line(&mut out, figures),
        }
        out.push('\n');
    }
    if with_counters {
        out.push_str(
            "Depth is the most requests that the disk had at once. Counters are an operation. The submit column is the share of the time inside io_submit on this device;\n",
        );
        out.push_str("on a fast device every kernel seems to block there.\n");
    }
    out
}

fn line(out: &mut String, f: &Figures) {
    let micros = |v: Option<f64>| v.map_or("-".into(), |v| format!("{v:.1}"));
    let share = f.submit_share.map_or("-".into(), |s| format!("{:.0} %", s * 100.0));
    let _ = write!(
        out,
        "{:>8}{:>10.0}{:>9}{:>9}{:>8}{:>7}",
        f.ops,
        f.ops as f64 / f.seconds.max(1e-9),
        micros(f.p50_us),
        micros(f.p99_us),
        share,
        f.most_in_flight.map_or("-".into(), |most| most.to_string())
    );
    for value in f.counters.iter().flatten() {
        let _ = write!(out, "{value:>8.2}");
    }
}

/// The rows as a JSON array.
pub fn json(results: &[RowResult]) -> String {
    let rows: Vec<String> = results.iter().map(json_row).collect();
    format!("[\n{}\n]\n", rows.join(",\n"))
}

fn json_row(result: &RowResult) -> String {
    let Some(f) = &result.figures else {
        return format!("  {{\"row\": \"{}\", \"supported\": false}}", result.name);
    };
    let mut out = format!(
        "  {{\"row\": \"{}\", \"supported\": true, \"ops\": {}, \"seconds\": {:.6}, \"ops_per_second\": {:.1}",
        result.name,
        f.ops,
        f.seconds,
        f.ops as f64 / f.seconds.max(1e-9)
    );
    for (name, value) in [("p50_us", f.p50_us), ("p99_us", f.p99_us), ("submit_share", f.submit_share)] {
        if let Some(value) = value {
            let _ = write!(out, ", \"{name}\": {value:.3}");
        }
    }
    if let Some(most) = f.most_in_flight {
        let _ = write!(out, ", \"most_in_flight\": {most}");
    }
    for ((name, _), value) in COLUMNS.iter().zip(f.counters.iter().flatten()) {
        let _ = write!(out, ", \"{name}_per_op\": {value:.3}");
    }
    out.push('}');
    out
}
