// SPDX-License-Identifier: GPL-2.0
//! Replays what the fuzzer has found: no target may panic on a file of its corpus.

use std::fs;
use std::path::Path;

use mdev_fuzz::TARGETS;

#[test]
fn each_target_holds_on_its_corpus() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, run) in TARGETS {
        let files = fs::read_dir(corpora.join(name)).expect(name);
        let mut count = 0;
        for file in files {
            let path = file.expect(name).path();
            // The one that fails is the last that is named.
            println!("{}", path.display());
            run(&fs::read(&path).expect(name));
            count += 1;
        }
        assert!(count >= 10, "{name} has a corpus of {count} files");
    }
}

#[test]
fn each_target_is_a_program_of_the_fuzzer() {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
    let programs = fs::read_dir(programs).expect("fuzz_targets");
    let names = programs.map(|file| file.expect("a file").path());
    let names = names.map(|path| path.file_stem().expect("a name").to_owned());
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert_eq!(names, TARGETS.map(|(name, _)| name));
}
