// SPDX-License-Identifier: GPL-2.0
//! What a file of an author's must not say.

use super::Exercise;

const MEMORY: &str = "[[memory]]\nname = \"buffer\"\niova = 0x1000\nsize = 0x1000\n";

/// Returns why a file with this memory and this step is refused.
fn refusal(memory: &str, step: &str) -> Option<String> {
    let text = format!("{memory}[[work]]\nname = \"some\"\nsteps = [{{ {step} }}]\n");
    let parsed = Exercise::parse(&text);
    parsed.err().map(|error| format!("{error:#}"))
}

#[test]
fn a_step_reaches_no_further_than_its_memory() {
    let cases = [
        ("words = [1], at = \"buffer:0xffc\"", None),
        (
            "words = [1, 2], at = \"buffer:0xffc\"",
            Some("8 bytes at buffer:0xffc"),
        ),
        (
            "fill = \"ones\", at = \"buffer\", size = 0x1001",
            Some("4097 bytes at buffer"),
        ),
        (
            "equal = [\"0:0\", \"buffer:0x1000\"], size = 1",
            Some("1 bytes at buffer:0x1000"),
        ),
        (
            "fill = \"zero\", at = \"0:0xffffffffffffffff\", size = 2",
            Some("2 bytes at 0:0xffffffffffffffff"),
        ),
    ];
    for (step, what) in cases {
        let what =
            what.map(|what| format!("step 1 of the work \"some\": {what} are more than there are"));
        assert_eq!(refusal(MEMORY, step), what, "{step}");
    }
}

#[test]
fn memory_has_an_end_and_a_place_of_its_own() {
    let step = "read = 0, at = \"0:0\", width = 4";
    let second = |name, iova, size| {
        let more = format!("[[memory]]\nname = \"{name}\"\niova = {iova}\nsize = {size}\n");
        refusal(&format!("{MEMORY}{more}"), step)
    };
    assert_eq!(second("other", "0x2000", "0x1000"), None);
    assert_eq!(second("other", "\"0xfffffffffffff000\"", "0x1000"), None);
    let cases = [
        (
            ("other", "\"0xfffffffffffff000\"", "0x2000"),
            "it goes beyond the last address of 64 bits",
        ),
        (
            ("other", "0", "0x2000"),
            "it overlaps the memory \"buffer\"",
        ),
        (
            ("buffer", "0x2000", "0x1000"),
            "there is another of this name",
        ),
        (
            ("other", "0x2000", "\"0x8000000000000000\""),
            "size is from 4096 to 67108864 bytes",
        ),
        (
            ("other", "0x2800", "0x1000"),
            "iova and size are multiples of 4096",
        ),
    ];
    for ((name, iova, size), what) in cases {
        let what = format!("the memory \"{name}\": {what}");
        assert_eq!(second(name, iova, size), Some(what));
    }
}
