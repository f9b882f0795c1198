use proptest::prelude::*;

use super::*;

fn names(text: &str) -> Option<Vec<Bare<'_>>> {
    List::new(text.as_bytes()).map(|list| list.map(|item| item.bare).collect())
}

#[test]
fn the_examples_of_the_draft_are_read() {
    let text = br#""permin";q=50;w=60,"perhr";q=1000;w=3600"#;
    let items: Vec<_> = List::new(text).unwrap().collect();
    assert_eq!(items.len(), 2);
    assert!(items[1].bare.is("perhr") && !items[1].bare.is("perhr2"));
    assert_eq!(items[1].get("q"), Some(Bare::Integer(1_000)));
    assert_eq!(items[1].get("w").and_then(Bare::count), Some(3_600));
    assert_eq!(items[1].get("qu"), None);

    let text = br#""peruser";q=65535;qu="content-bytes";w=10;pk=:sdfjLJUOUH==:"#;
    let item = List::new(text).unwrap().next().unwrap();
    assert!(item.get("qu").unwrap().is("content-bytes"));
    assert_eq!(item.get("pk"), Some(Bare::Bytes(b"sdfjLJUOUH==")));
}

#[test]
fn every_kind_of_item_is_understood() {
    let text = r#" "a" , b/c;x ,-12, 1.5;y=?1,?0, @1659578233 , %"f%c3%bc", :YQ==: "#;
    let found = names(text).unwrap();
    let other = Bare::Other;
    let first = [Bare::String(b"a"), Bare::Token(b"b/c"), Bare::Integer(-12)];
    assert_eq!(found[..3], first);
    assert_eq!(found[3..], [other, other, other, other, Bare::Bytes(b"YQ==")]);
    assert_eq!(names(""), Some(vec![]));
}

#[test]
fn the_last_of_two_parameters_counts() {
    let item = List::new(br#""a"; r=1;r=2 "#).unwrap().next().unwrap();
    assert_eq!(item.get("r"), Some(Bare::Integer(2)));
}

#[test]
fn escapes_are_heeded_in_names() {
    let item = List::new(br#""a\"b\\";r=1"#).unwrap().next().unwrap();
    assert!(item.bare.is(r#"a"b\"#));
    assert!(!item.bare.is(r#"a\"b\\"#));
}

#[test]
fn what_is_malformed_anywhere_is_not_read_at_all() {
    for text in [
        r#""a";r=1,"#,
        r#""a";r=1,,"b";r=2"#,
        r#""a";r=1 "b";r=2"#,
        r#""a;r=1"#,
        r#""a"; r =1"#,
        r#""a";R=1"#,
        r#""a";r="#,
        r#""a";r=1.2345"#,
        r#""a";r=1234567890123456"#,
        r#""a";r=--1"#,
        r#""a";r=-"#,
        r#""a\n""#,
        r#"("a" "b");r=1"#,
        r#""a";pk=:YQ"#,
        r#""a";b=?2"#,
        r#""a";b=%"%C3""#,
        "\"a\x7f\"",
        "\t\"a\"",
        "limit=100, remaining=50",
    ] {
        assert_eq!(names(text), None, "{text}");
    }
}

#[test]
fn a_dictionary_is_read_by_key() {
    let text = b"limit=100, remaining=50;a=1, reset=5, flag";
    assert_eq!(key(text, "limit"), Some(Bare::Integer(100)));
    assert_eq!(key(text, "remaining"), Some(Bare::Integer(50)));
    assert_eq!(key(text, "reset"), Some(Bare::Integer(5)));
    assert_eq!(key(text, "flag"), Some(Bare::Other));
    assert_eq!(key(text, "more"), None);
    assert_eq!(key(b"limit=100, remaining=50,", "limit"), None);
    assert_eq!(key(b"a=1, a=2", "a"), Some(Bare::Integer(2)));
}

proptest! {
    #[test]
    fn no_text_panics(text in r#"[a-c"\\;=,:?@% .0-9*()\t-]{0,60}"#) {
        let text = text.as_bytes();
        if let Some(list) = List::new(text) {
            // What was checked is read to its end.
            let items: Vec<_> = list.collect();
            prop_assert_eq!(items.is_empty(), spaces(text).is_empty());
            prop_assert!(items.iter().all(|item| item.get("a") != Some(Bare::Integer(-1_000))));
        }
        let _ = key(text, "a");
    }
}
