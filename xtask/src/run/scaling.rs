//! Eight threads that write through, on one file and on eight, on a device where each request takes 5 ms (PERF-1): whether one file is as good
//! as many. On a fast device the one CPU is the limit, and there is nothing to see.
use super::{Options, latency};
use crate::table::Figures;
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

const LATENCY: Duration = Duration::from_millis(5);
const ONE_FILE: &str = "mt8_wt_same";
const EIGHT_FILES: &str = "mt8_wt_sep";

/// Runs it and prints both, and their ratio. No figure fails the run: an emulated machine may be busy with something else.
pub(super) fn run(options: &Options, kernel: &Path, programs: &Path, work: &Path) -> Result<()> {
    println!("sluice: eight threads that write through on a device where each request takes 5 ms");
    let arguments = format!("--seconds 1 --only {ONE_FILE},{EIGHT_FILES}");
    let rows = latency::on_device(LATENCY, &arguments, options, kernel, programs, work)?;
    println!("{}\n", told(&rows)?);
    Ok(())
}

/// The table and the ratio. Errors: a row is missing.
fn told(rows: &Value) -> Result<String> {
    let mut table = Figures::new(&["row", "writes/s", "most in flight"], 0);
    let mut rate = |name: &str| -> Result<f64> {
        let row = rows.as_array().into_iter().flatten().find(|row| row["row"] == name);
        let row = row.with_context(|| format!("the benchmark has no row {name}"))?;
        let rate = row["ops_per_second"].as_f64().with_context(|| format!("{name} has no rate"))?;
        let most =
            row["most_in_flight"].as_u64().with_context(|| format!("{name} does not tell what was in flight"))?;
        table.row(vec![name.to_owned(), format!("{rate:.0}"), most.to_string()]);
        Ok(rate)
    };
    let ratio = rate(ONE_FILE)? / rate(EIGHT_FILES)?;
    Ok(format!("{table}\nsluice: one file does {ratio:.2} of what eight do"))
}

#[cfg(test)]
mod tests {
    use super::told;
    use serde_json::json;

    #[test]
    fn the_ratio_is_that_of_one_file_to_eight() {
        let row = |name, rate, most| json!({"row": name, "ops_per_second": rate, "most_in_flight": most});
        let text = told(&json!([row("mt8_wt_sep", 1600.0, 8), row("mt8_wt_same", 1520.0, 7)])).unwrap();
        assert!(text.contains("does 0.95 of"), "{text}");
        assert!(text.contains("1520") && text.contains('7'), "{text}");
        assert!(told(&json!([row("mt8_wt_same", 1.0, 8)])).is_err());
        assert!(told(&json!([{"row": "mt8_wt_same", "supported": false}])).is_err());
    }
}
