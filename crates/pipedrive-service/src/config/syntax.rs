//! What is wrong with a TOML file, without a word of what stands in it: the wrong file may be full of secrets.

/// What is wrong with a text that is no TOML, and where. The parser's own text quotes the line.
pub(crate) fn not_toml(text: &str, error: &toml::de::Error) -> String {
    let place = error.span().map_or_else(String::new, |span| {
        let before = &text.as_bytes()[..span.start.min(text.len())];
        let line = before.split(|byte| *byte == b'\n').next_back().unwrap_or_default();
        let lines = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = String::from_utf8_lossy(line).chars().count() + 1;
        format!(" at line {lines}, column {column}")
    });
    // The parser's messages are fixed texts; those of serde quote the value, or the key.
    let message = error.message();
    let quotes = ["invalid type: ", "invalid value: ", "unknown variant ", "unknown field "];
    if quotes.iter().any(|start| message.starts_with(start)) {
        return format!("is not TOML{place}: {}", expected(error));
    }
    format!("is not TOML{place}: {message}")
}

/// What should have stood there, of an error of serde's. What is said before it quotes what did.
pub(crate) fn expected(error: &toml::de::Error) -> String {
    let (_, expected) =
        error.message().rsplit_once(", expected ").unwrap_or(("", "something else"));
    format!("expected {expected}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        not_toml(text, &text.parse::<toml::Table>().unwrap_err())
    }

    #[test]
    fn line_and_column_are_counted_from_one_in_characters() {
        assert_eq!(
            told("= 3"),
            "is not TOML at line 1, column 1: unquoted keys cannot be empty, expected letters, numbers, `-`, `_`"
        );
        assert!(told("a = 1\n[b]\nä = é\n").starts_with("is not TOML at line 3, column 1: "));
        assert!(told("a = 1\n\n'é' = = 3").starts_with("is not TOML at line 3, column 7: "));
    }

    /// Each text is cut and spoilt in every place, so that each message of the parser comes up.
    #[test]
    fn nothing_of_the_text_is_told() {
        const SECRET: &str = "5e1c0ffee5e1c0ffee";
        let texts = [
            "TOKEN=@",
            "export TOKEN='@'",
            "TOKEN='@'\nTOKEN='@'",
            "TOKEN.a='@'\nTOKEN='@'",
            "TOKEN='@'\nTOKEN.a='@'",
            "[@]\n[@]",
            "[[@]]\n[@]",
            "{\"token\": \"@\"}",
            "token: @",
            "a = [1, '@', {b = '@', c = \"\"\"@\"\"\"}]",
            "a = \"\\q@\"",
            "a = 12-@",
            "a = 2026-13-45T@",
            "a = 99999999999999999999@",
            "a = 0x@g",
        ];
        let mut wrong = 0;
        for text in texts {
            let text = text.replace('@', SECRET);
            for (place, _) in text.char_indices() {
                let (start, end) = text.split_at(place);
                for spoilt in
                    [start.to_owned(), format!("{start}\u{1}{end}"), format!("{start}={end}")]
                {
                    let Err(error) = spoilt.parse::<toml::Table>() else { continue };
                    wrong += 1;
                    let told = not_toml(&spoilt, &error);
                    assert!(!told.contains("c0ffee") && told.len() < 200, "{spoilt:?}: {told}");
                }
            }
        }
        assert!(wrong > 500, "{wrong}");
        for number in [
            "5151515151515151515151515151",
            "-5151515151515151515151",
            "5151515151515151515151e99999",
        ] {
            let text = format!("a = {number}");
            if let Err(error) = text.parse::<toml::Table>() {
                let told = not_toml(&text, &error);
                assert!(!told.contains("5151"), "{told}");
            }
        }
    }
}
