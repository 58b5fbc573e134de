//! The command line.
use std::path::PathBuf;

pub const HELP: &str = "\
bench: what each way to write costs

  --dir DIR        where the files are made (default: /data where it is, else the current folder)
  --seconds S      how long each row runs (default 0.2)
  --ops PERCENT    a fixed number of operations instead, in percent of the usual; for counting instructions
  --only A,B*      only these rows; * at the end stands for anything
  --json FILE      also write the rows as JSON
  --list           the rows and what they do
  --exit           end at once: the program that the row fork_exec runs
  --help           this text
";

/// What was asked.
pub struct Args {
    pub dir: PathBuf,
    pub seconds: f64,
    pub ops: Option<u64>,
    only: Vec<String>,
    pub json: Option<PathBuf>,
    pub list: bool,
    pub exit: bool,
    pub help: bool,
}

impl Args {
    /// Reads the words after the program's name.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
        let data = PathBuf::from("/data");
        let dir = if data.is_dir() { data } else { PathBuf::from(".") };
        let mut args =
            Args { dir, seconds: 0.2, ops: None, only: vec![], json: None, list: false, exit: false, help: false };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} wants a value\n\n{HELP}"));
            match word.as_str() {
                "--dir" => args.dir = value()?.into(),
                "--seconds" => args.seconds = number(&word, &value()?).and_then(positive)?,
                "--ops" => args.ops = Some(number(&word, &value()?)?),
                "--only" => args.only = value()?.split(',').map(String::from).collect(),
                "--json" => args.json = Some(value()?.into()),
                "--list" => args.list = true,
                "--exit" => args.exit = true,
                "--help" | "-h" => args.help = true,
                _ => return Err(format!("bench: {word}: no such option\n\n{HELP}")),
            }
        }
        Ok(args)
    }

    /// Whether the row is to run.
    pub fn wants(&self, name: &str) -> bool {
        let fits = |want: &String| want.strip_suffix('*').map_or(want == name, |start| name.starts_with(start));
        self.only.is_empty() || self.only.iter().any(fits)
    }
}

fn number<T: std::str::FromStr>(option: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("bench: {option} {text}: not a number"))
}

fn positive(seconds: f64) -> Result<f64, String> {
    if seconds > 0.0 && seconds.is_finite() { Ok(seconds) } else { Err("bench: --seconds wants more than 0".into()) }
}

#[cfg(test)]
mod tests {
    use super::Args;

    fn parse(line: &str) -> Result<Args, String> {
        Args::parse(line.split_whitespace().map(String::from))
    }

    #[test]
    fn rows_are_chosen_by_name_and_by_start() {
        let args = parse("--only getppid,aio_w_*").unwrap();
        assert!(args.wants("getppid") && args.wants("aio_w_wt_qd1"));
        assert!(!args.wants("getppid2") && !args.wants("aio_r_direct_qd1"));
        assert!(parse("").unwrap().wants("anything"));
    }

    #[test]
    fn wrong_words_are_told() {
        for line in ["--nonsense", "--seconds", "--seconds x", "--seconds 0", "--ops -1"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
