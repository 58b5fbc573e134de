//! The words of the command line: split and unquoted as a shell does it, so that an argument may have blanks in it or be empty.
//!
//! ```text
//!   root=/dev/vda init=/bin/sh TERM=vt100 -- -c 'echo "a b"'
//!   └──────── the kernel's own ─────────┘    └ arguments ──┘
//! ```
//!
//! Inside `'...'` everything stands for itself, inside `"..."` everything but `\"` and `\\`; elsewhere a backslash takes away the
//! meaning of the next character. Nothing is expanded.
use alloc::string::String;
use alloc::vec::Vec;

/// The word between the kernel's own and the program's.
const SEPARATOR: &str = "--";

/// A command line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Words {
    own: Vec<String>,
    /// What belongs to the first program.
    pub arguments: Vec<String>,
    /// Whether each quote has its end. Where one has none, the line is taken to end it.
    pub closed: bool,
}

impl Words {
    /// Takes a line apart.
    pub fn parse(line: &str) -> Words {
        let (mut own, closed) = split(line);
        let arguments = match own.iter().position(|word| word == SEPARATOR) {
            Some(at) => own.split_off(at).split_off(1),
            None => Vec::new(),
        };
        Words { own, arguments, closed }
    }

    /// The value of the first word `name=value` of the kernel's own.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.own.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    /// Whether the word `name` stands alone among the kernel's own.
    pub fn flag(&self, name: &str) -> bool {
        self.own.iter().any(|word| word == name)
    }

    /// Words such as `TERM=vt100`, in capitals, are variables for the first program.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.own.iter().filter_map(|word| word.split_once('=')).filter(|(name, _)| is_variable(name))
    }
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// The words of `line`, and whether each quote has its end.
pub fn split(line: &str) -> (Vec<String>, bool) {
    let mut words = Vec::new();
    let mut chars = line.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return (words, true);
        }
        let (word, closed) = one(&mut chars);
        words.push(word);
        if !closed {
            return (words, false);
        }
    }
}

/// The word that begins here, up to a blank outside quotes.
fn one(chars: &mut core::iter::Peekable<core::str::Chars<'_>>) -> (String, bool) {
    let mut word = String::new();
    let mut quote = None;
    while let Some(c) = chars.next_if(|c| quote.is_some() || !c.is_whitespace()) {
        match (c, quote) {
            ('\'' | '"', None) => quote = Some(c),
            (_, Some(open)) if c == open => quote = None,
            ('\\', None) => match chars.next() {
                Some(next) => word.push(next),
                None => return (word, false),
            },
            ('\\', Some('"')) => word.push(chars.next_if(|next| matches!(next, '"' | '\\')).unwrap_or('\\')),
            _ => word.push(c),
        }
    }
    (word, quote.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_and_unquoted_as_a_shell_does_it() {
        let cases: [(&str, &[&str]); 9] = [
            ("", &[]),
            ("  a\tb \n", &["a", "b"]),
            ("-c 'echo hi'", &["-c", "echo hi"]),
            (r#"a"b c"'d e'f"#, &["ab cd ef"]),
            (r#"'' """#, &["", ""]),
            (r#""a \"b\" \n \\""#, &[r#"a "b" \n \"#]),
            (r"'a\b' a\ b \'", &[r"a\b", "a b", "'"]),
            ("'x\ny'", &["x\ny"]),
            ("ä 'ö ü'", &["ä", "ö ü"]),
        ];
        for (line, words) in cases {
            assert_eq!(split(line), (words.iter().map(|&w| w.into()).collect(), true), "{line}");
        }
    }

    #[test]
    fn a_quote_without_its_end_is_told() {
        for line in ["a 'b c", "\"", "a\\", "\"a\\\""] {
            assert!(!split(line).1, "{line}");
        }
        assert_eq!(split("'b c").0, ["b c"]);
    }

    #[test]
    fn the_kernel_has_its_words_and_the_program_its_own() {
        let words = Words::parse("root=/dev/vda ro init='/my prog' TERM=a=b x.Y=1 -- ro=1 -- TERM=c");
        assert_eq!((words.value("root"), words.value("init")), (Some("/dev/vda"), Some("/my prog")));
        assert!(words.flag("ro") && !words.flag("r") && words.closed);
        assert_eq!(words.value("ro"), None);
        assert_eq!(words.arguments, ["ro=1", "--", "TERM=c"]);
        assert_eq!(words.variables().collect::<Vec<_>>(), [("TERM", "a=b")]);
        assert_eq!(Words::parse("init=/a --").arguments, [""; 0]);
    }
}
