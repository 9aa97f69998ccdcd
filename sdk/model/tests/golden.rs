// SPDX-License-Identifier: GPL-2.0

//! One session byte by byte: as the model writes it, as the documentation shows it, and as a C
//! program reads it with `uapi/mdev_stream.h`.
//!
//! The bytes are of a card of `drivers/mtty_rs`, and were not made by the code under test.

use crate::common::config::{config, Config};
use crate::common::stream::kernel_crc32c;
use mdev_model::config::{Bar, Identity, EXPRESS_SIZE, SIZE};
use mdev_model::stream::{
    name, Format, Header, Interrupt, Known, LoadError, Loader, MatchData, Sink, StreamChecksum,
    Tag, END_LEN, EVENTS_MAX, FRAMING, HEADER_LEN, INTERRUPT_LEN, MAGIC, MATCH_LEN,
};
use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

const GOLDEN: &str = include_str!("data/session.hex");

const FORMAT: Format = Format {
    name: name("mtty_rs"),
    version: 1,
    oldest: 1,
    readable_by: 1,
};
const INTERRUPT: Interrupt = Interrupt {
    intx_signalled: true,
};
const PORT: Tag = Tag::FIRST_DRIVER;
const PORT_LEN: usize = 28;

fn golden() -> Vec<u8> {
    let bytes = |line: &'static str| line.split('#').next().unwrap().split_whitespace();
    let byte = |hex| u8::from_str_radix(hex, 16).unwrap();
    GOLDEN.lines().flat_map(bytes).map(byte).collect()
}

/// The card's configuration space as a guest has set it up.
fn card() -> Config {
    let mut config = config(&Identity {
        vendor: 0x4348,
        device: 0x3253,
        subsystem_vendor: 0x4348,
        subsystem: 0x3253,
        class: 0x07_00_02,
        revision: 0x10,
        intx: true,
        msi: 1,
        msix: None,
        bars: std::array::from_fn(|i| {
            if i == 0 {
                Bar::Io { size: 8 }
            } else {
                Bar::None
            }
        }),
        needs_bus_master: true,
        capabilities: &[],
        config_size: 256,
    });
    assert!(config.write(0x04, &[0x03, 0x01]));
    assert!(config.write(0x10, &0xc040u32.to_le_bytes()));
    assert!(config.write(0x3c, &[11]));
    config
}

fn port() -> [u8; PORT_LEN] {
    let mut port = [0; PORT_LEN];
    port[1..6].copy_from_slice(&[0x05, 0xc1, 0x03, 0x0b, 0x77]);
    port[6] = 1;
    port[11] = 3;
    port[12..15].copy_from_slice(b"abc");
    port
}

#[test]
fn the_model_writes_the_golden_session() {
    let (mut bytes, mut tally) = (Vec::new(), StreamChecksum::new(kernel_crc32c));
    let data = MatchData::new(&FORMAT, name("mtty-1"), [1, 0]);
    let config = card();
    let records: [(Tag, bool, &[u8]); 4] = [
        (Tag::MATCH, false, &data.encode()),
        (PORT, false, &port()),
        (Tag::CONFIG, false, config.bytes()),
        (Tag::INTERRUPT, true, &INTERRUPT.encode()),
    ];
    for (tag, optional, payload) in records {
        let size = payload.len() as u64;
        let header = Header {
            size,
            optional,
            tag,
        };
        bytes.extend(header.encode());
        bytes.extend(payload);
    }
    tally.account(&bytes);
    bytes.extend(tally.end());
    assert_eq!(bytes, golden());
}

/// A card that takes the golden session.
#[derive(Default)]
struct Card {
    arriving: Vec<u8>,
    config: Vec<u8>,
    interrupt: Option<Interrupt>,
    port: Vec<u8>,
}

impl Sink for Card {
    fn begin(&mut self, data: &MatchData) -> Result<(), LoadError> {
        data.check(&FORMAT, name("mtty-1"), [1, 0])
    }

    fn known(&self, tag: Tag) -> Known {
        match tag {
            Tag::CONFIG => Known::UpTo(SIZE as u64),
            Tag::INTERRUPT => Known::UpTo(INTERRUPT_LEN as u64),
            PORT => Known::UpTo(PORT_LEN as u64),
            _ => Known::No,
        }
    }

    fn payload(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        self.arriving.extend(bytes);
        Ok(())
    }

    fn record(&mut self, tag: Tag) -> Result<(), LoadError> {
        let payload = std::mem::take(&mut self.arriving);
        match tag {
            Tag::CONFIG => self.config = payload,
            Tag::INTERRUPT => self.interrupt = Some(Interrupt::decode(&payload)?),
            _ => self.port = payload,
        }
        Ok(())
    }

    fn complete(&mut self) -> Result<(), LoadError> {
        Ok(())
    }
}

#[test]
fn the_model_reads_the_golden_session() {
    let (mut loader, mut received) = (Loader::new(kernel_crc32c), Card::default());
    assert_eq!(loader.push(&golden(), &mut received), Ok(()));
    assert!(loader.is_complete());
    assert_eq!(received.config, card().bytes());
    assert_eq!(received.interrupt, Some(INTERRUPT));
    assert_eq!(received.port, port());
}

#[test]
fn the_documentation_shows_the_golden_session() {
    let documentation = include_str!("../../../Documentation/stream-format.md");
    let (_, shown) = GOLDEN.split_once("\n\n").unwrap();
    assert!(
        documentation.contains(shown),
        "Documentation/stream-format.md shows other bytes than tests/data/session.hex"
    );
}

/// The output of the C program if the header agrees with the model.
fn expected_of_c() -> String {
    let optional = Header {
        size: 0,
        optional: true,
        tag: Tag(0),
    }
    .encode()[8];
    let mut out = String::new();
    for (name, value) in [
        ("MATCH", Tag::MATCH.0),
        ("END", Tag::END.0),
        ("CONFIG", Tag::CONFIG.0),
        ("INTERRUPT", Tag::INTERRUPT.0),
        ("EVENTS", Tag::EVENTS.0),
        ("FIRST_DRIVER", Tag::FIRST_DRIVER.0),
        ("OPTIONAL", optional.into()),
        ("FRAMING", FRAMING.into()),
        ("NAME_SIZE", FORMAT.name.len() as u32),
        ("CONFIG_SIZE", SIZE as u32),
        ("CONFIG_EXPRESS_SIZE", EXPRESS_SIZE as u32),
        ("INTX_SIGNALLED", u32::from_le_bytes(INTERRUPT.encode())),
        ("EVENTS_MAX", EVENTS_MAX as u32),
    ] {
        writeln!(out, "MDEV_STREAM_{name} {value:#x}").unwrap();
    }
    write!(
        out,
        "mdev_stream_record {HEADER_LEN}\n\
         mdev_stream_record.size 0\n\
         mdev_stream_record.flags 8\n\
         mdev_stream_record.tag 12\n\
         mdev_stream_match {MATCH_LEN}\n\
         mdev_stream_match.magic 0\n\
         mdev_stream_match.framing {}\n\
         mdev_stream_match.version 10\n\
         mdev_stream_match.readable_by 12\n\
         mdev_stream_match.reserved 14\n\
         mdev_stream_match.format 16\n\
         mdev_stream_match.type 32\n\
         mdev_stream_match.geometry 48\n\
         mdev_stream_interrupt {INTERRUPT_LEN}\n\
         mdev_stream_interrupt.flags 0\n\
         mdev_stream_end {END_LEN}\n\
         mdev_stream_end.length 0\n\
         mdev_stream_end.crc 8\n\
         record 64 0 0x1\n\
         magic right\n\
         versions 1 1 1 0\n\
         format mtty_rs, type mtty-1\n\
         geometry 1 0\n\
         record 28 0 0x100\n\
         record 256 0 0x3\n\
         record 4 1 0x4\n\
         interrupt 0x1\n\
         record 12 0 0x2\n\
         length 416, crc 0x96cd555e\n\
         left 0\n",
        MAGIC.len(),
    )
    .unwrap();
    out
}

#[test]
fn a_c_program_with_the_uapi_header_reads_the_golden_session() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("read_session");
    let compiled = Command::new("cc")
        .args(["-std=gnu99", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(root.join("../../uapi"))
        .arg(root.join("tests/data/read_session.c"))
        .arg("-o")
        .arg(&program)
        .status();
    match compiled {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            println!("skipped: there is no C compiler; install one that is called cc");
            return;
        }
        status => assert!(status.unwrap().success(), "the C program does not compile"),
    }
    let mut reader = Command::new(&program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The pipe is dropped here, so the program reads the end of the file.
    reader.stdin.take().unwrap().write_all(&golden()).unwrap();
    let output = reader.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected_of_c());
}
