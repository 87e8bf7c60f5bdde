//! Comma-separated values (RFC 4180): a header, one row a line, quotes around what has a comma.

/// The rows of a file without its header, which must be `header`.
pub(crate) fn rows<const N: usize>(name: &str, header: [&str; N]) -> Vec<[String; N]> {
    let text = super::read(name);
    let mut lines =
        text.lines().enumerate().map(|(number, line)| row(&format!("{name}:{}", number + 1), line));
    assert_eq!(lines.next().expect("a header"), header, "{name}");
    lines.collect()
}

fn row<const N: usize>(place: &str, line: &str) -> [String; N] {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                fields.last_mut().expect("one at least").push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => fields.last_mut().expect("one at least").push(other),
        }
    }
    let count = fields.len();
    fields.try_into().unwrap_or_else(|_| panic!("{place}: {count} fields instead of {N}"))
}

#[test]
fn quotes_protect_commas_and_quotes() {
    assert_eq!(row("", r#"a,"b, ""c""",,d"#), ["a", "b, \"c\"", "", "d"]);
}
