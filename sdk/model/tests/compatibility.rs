// SPDX-License-Identifier: GPL-2.0

//! What sysfs says of a device before a migration: its text, and the comparison of two, which must
//! be that of a stream's own match data.

use mdev_model::stream::{name, BadKey, Compatibility, Format, LoadError, MatchData};
use proptest::prelude::*;

const CARD: Format = Format {
    name: name("card"),
    version: 3,
    oldest: 2,
    readable_by: 3,
};

fn card() -> Compatibility {
    Compatibility::new(&CARD, name("card-1"), [4096, 2], 0xfedc_ba98)
}

#[test]
fn a_device_loads_what_its_like_saves() {
    assert_eq!(card().mismatch(&card()), None);
}

#[test]
fn another_configuration_space_is_the_last_reason() {
    let mut other = card();
    other.config ^= 1;
    let reason = |source: Compatibility| card().mismatch(&source).map(|it| it.reason);
    assert_eq!(reason(other), Some(LoadError::OtherConfig));
    other.sends.geometry[1] = 3;
    assert_eq!(reason(other), Some(LoadError::OtherGeometry));
    other.sends.kind = name("card-2");
    assert_eq!(reason(other), Some(LoadError::OtherType));
    other.sends.version = 1;
    assert_eq!(reason(other), Some(LoadError::OtherVersion));
    other.sends.format = name("other");
    assert_eq!(reason(other), Some(LoadError::OtherFormat));
}

#[test]
fn both_sides_are_named_with_type_and_versions() {
    let mut old = card();
    old.sends.version = 1;
    let said = card().mismatch(&old).unwrap().to_string();
    assert_eq!(
        said,
        "the stream's version is outside of the accepted window: \
         source card-1 (card version 1, readable by 3, geometry 4096 2), \
         destination card-1 (card versions 2 to 3, geometry 4096 2)",
    );
}

#[test]
fn a_name_from_a_stream_cannot_break_the_line() {
    let mut other = card();
    other.sends.kind = *b"a\nb\x1b[2J\0\xff\0\0\0\0\0\0\0";
    let said = card().mismatch(&other).unwrap().to_string();
    assert!(
        said.contains(r"source a\x0ab\x1b[2J\x00\xff (card"),
        "{said}"
    );
    assert!(
        said.bytes().all(|byte| (0x20..0x7f).contains(&byte)),
        "{said}"
    );
}

#[test]
fn a_key_that_is_missing_twice_there_or_wrong_is_named() {
    let text = card().to_string();
    for key in [
        "type",
        "format",
        "version",
        "readable_by",
        "oldest",
        "geometry",
        "config",
    ] {
        let line = |line: &&str| line.split(' ').next() == Some(key);
        let without: Vec<&str> = text.lines().filter(|it| !line(it)).collect();
        let without = without.join("\n");
        let parsed = |text: &str| text.parse::<Compatibility>();
        assert_eq!(parsed(&without), Err(BadKey(key)), "without {key}");
        let again = text.lines().find(line).unwrap();
        assert_eq!(
            parsed(&format!("{text}{again}\n")),
            Err(BadKey(key)),
            "{key} twice"
        );
        for value in ["", "a name", r"\x00", "99999999999999999999999", "\u{e4}"] {
            let wrong = format!("{without}\n{key} {value}\n");
            assert_eq!(parsed(&wrong), Err(BadKey(key)), "{key} {value}");
        }
    }
    let more = format!("{text}a_key_of_a_later_version 1\n");
    assert_eq!(more.parse(), Ok(card()));
}

prop_compose! {
    fn any_name()(text in r"[!-\[\]-~]{1,16}") -> [u8; 16] {
        name(&text)
    }
}

proptest! {
    #[test]
    fn a_text_is_read_as_it_was_written(
        format in any_name(),
        kind in any_name(),
        (version, readable_by, oldest, config) in any::<(u16, u16, u16, u32)>(),
        geometry in any::<[u64; 2]>(),
    ) {
        let device = Compatibility {
            sends: MatchData { format, version, readable_by, kind, geometry },
            oldest,
            config,
        };
        prop_assert_eq!(device.to_string().parse(), Ok(device));
    }

    #[test]
    fn the_comparison_is_that_of_the_stream(
        (version, readable_by, newest, oldest) in (0u16..6, 0u16..6, 0u16..6, 0u16..6),
        same in any::<[bool; 3]>(),
    ) {
        let [kind, format, geometry] = same;
        let own = Format { version: newest, oldest, ..CARD };
        let device = Compatibility::new(&own, name("card-1"), [4096, 2], 7);
        let source = Compatibility {
            sends: MatchData {
                format: if format { CARD.name } else { name("other") },
                version,
                readable_by,
                kind: name(if kind { "card-1" } else { "card-2" }),
                geometry: if geometry { [4096, 2] } else { [4096, 3] },
            },
            oldest: 0,
            config: 7,
        };
        let checked = source.sends.check(&own, name("card-1"), [4096, 2]);
        prop_assert_eq!(device.mismatch(&source).map(|it| it.reason), checked.err());
    }
}
