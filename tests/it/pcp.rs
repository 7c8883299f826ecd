//! PCP against its fixture table and its own writers, and packages against their fragments.

use std::io::{self, Read};

use bytes::Bytes;
use proptest::prelude::*;
use strait::wire::pcp::framed::{ANSWER_HEADER, ANSWER_MAX};
use strait::wire::pcp::{
    Code, FragmentSize, Frame, FrameError, FramedPackage, FromDevice, Layout, ResultCode, ToDevice,
    Verdict, Version, checksum, fragment_count, frame_package, recognise,
};

const TABLE: &str = include_str!("../../fixtures/pcp/frames.tsv");

/// Rows of the table: name, whether it goes up, bytes, and what is wanted.
fn rows() -> impl Iterator<Item = (&'static str, bool, Vec<u8>, &'static str)> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let [name, way, hex, want] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("bad fixture row: {line}");
        };
        (name, way == "up", unhex(hex), want)
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(byte).collect()
}

fn told(meaning: &str, byte: u8) -> String {
    format!("{meaning} ({byte})")
}

fn describe_up(message: &FromDevice) -> String {
    let name = message.code().name();
    let said = |result: &ResultCode| told(result.meaning(), result.to_u8());
    match message {
        FromDevice::Version { result, version } | FromDevice::Upgraded { result, version } => {
            let name = name.rsplit(' ').next().unwrap();
            let version = version.map_or("none".to_owned(), |v| format!("{v:?}"));
            match result {
                ResultCode::Ok => format!("{name} ok {version}"),
                result => format!("{name} {} {version}", said(result)),
            }
        }
        FromDevice::Notified(result)
        | FromDevice::Downloaded(result)
        | FromDevice::Executed(result) => format!("{name}: {}", said(result)),
        FromDevice::Fragment { version, index } => format!("fragment {index} of {version:?}"),
    }
}

fn describe_down(message: &ToDevice<'_>) -> String {
    let name = message.code().name();
    let said = |verdict: &Verdict| told(verdict.meaning(), verdict.to_u8());
    match message {
        ToDevice::QueryVersion | ToDevice::Execute => name.to_owned(),
        ToDevice::NewVersion {
            version,
            size,
            count,
            check,
        } => {
            let size = size.bytes();
            format!("{name} {version:?} {size} x {count} check {check:04x}")
        }
        ToDevice::Fragment {
            verdict,
            index,
            bytes,
        } => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            let text = format!("fragment {index} {} {hex}", said(verdict));
            text.trim_end().to_owned()
        }
        ToDevice::Downloaded(verdict) | ToDevice::Upgraded(verdict) => {
            format!("{name}: {}", said(verdict))
        }
    }
}

/// What the bytes say, and the bytes that say the same.
fn read(up: bool, bytes: &[u8]) -> (String, Option<Vec<u8>>) {
    let frame = match Frame::decode(bytes) {
        Ok(frame) => frame,
        Err(error) => return (format!("frame: {}", error.kind()), None),
    };
    let read = if up {
        FromDevice::read(&frame).map(|m| (describe_up(&m), Some(m.encode())))
    } else {
        ToDevice::read(&frame).map(|m| (describe_down(&m), Some(m.encode())))
    };
    read.unwrap_or_else(|error| (format!("data: {}", error.kind()), None))
}

#[test]
fn frames_say_what_the_table_says() {
    let mut failures = Vec::new();
    let mut count = 0;
    for (name, up, bytes, want) in rows() {
        count += 1;
        let (got, written) = read(up, &bytes);
        if got != want {
            failures.push(format!("{name}:\n  got  {got}\n  want {want}"));
        }
        // Only what is not looked at may be written otherwise.
        let odd = name.starts_with("reserved bits") || name.contains("remains");
        if let Some(written) = written.filter(|written| !odd && *written != bytes) {
            failures.push(format!("{name}: written as {written:02X?}"));
        }
    }
    assert!(count > 90, "{count} rows");
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// Any flipped bit of any frame makes it business data, and so does a product without PCP.
#[test]
fn a_flipped_bit_makes_it_business_data() {
    let mut flipped = 0;
    for (name, _, bytes, want) in rows().filter(|row| !row.3.starts_with("frame:")) {
        assert!(recognise(true, &bytes).is_some(), "{name}: {want}");
        assert_eq!(recognise(false, &bytes), None, "{name}");
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(recognise(true, &bytes), None, "{name}, bit {bit}");
            flipped += 1;
        }
        for len in 0..bytes.len() {
            assert_eq!(recognise(true, &bytes[..len]), None, "{name}, {len} bytes");
        }
    }
    assert!(flipped > 5000, "{flipped}");
}

#[test]
fn versions_travel_or_say_why_not() {
    let cases = [
        ("V1.0", "V1.0"),
        ("0123456789abcdef", "0123456789abcdef"),
        ("a b\\'\"~", "a b\\'\"~"),
        (
            "",
            "version_empty: the version is empty, takes 1 to 16 ASCII characters",
        ),
        (
            "0123456789abcdefg",
            "version_too_long: the version has 17 bytes, takes at most 16: PCP carries no more",
        ),
        (
            "V1é",
            "version_character: character 3 of the version is 'é', takes printable ASCII",
        ),
        (
            "V\n",
            "version_character: character 2 of the version is '\\n', takes printable ASCII",
        ),
    ];
    for (text, want) in cases {
        let got = Version::parse(text)
            .map(|version| version.to_string())
            .unwrap_or_else(|error| format!("{}: {error}", error.kind()));
        assert_eq!(got, want, "{text:?}");
    }
}

#[test]
fn packages_are_cut_or_say_why_not() {
    let cases = [
        (1, 500, "1"),
        (500, 500, "1"),
        (501, 500, "2"),
        (64 * 1024, 500, "132"),
        (256 * 1024, 500, "525"),
        (1024 * 1024, 500, "2098"),
        (32_767_500, 500, "65535"),
        (2_097_120, 32, "65535"),
        (0, 500, "package_empty: the package is empty"),
        (
            32_767_501,
            500,
            "fragment_count: 32767501 bytes in fragments of 500 bytes are 65536 fragments, takes at \
             most 65535: the package has at most 32767500 bytes so",
        ),
        (
            9,
            31,
            "fragment_size: fragments of 31 bytes, takes 32 to 500",
        ),
        (
            9,
            501,
            "fragment_size: fragments of 501 bytes, takes 32 to 500",
        ),
    ];
    for (package, size, want) in cases {
        let got = FragmentSize::new(size)
            .and_then(|size| fragment_count(package, size))
            .map(|count| count.to_string())
            .unwrap_or_else(|error| format!("{}: {error}", error.kind()));
        assert_eq!(got, want, "{package} in {size}");
    }
}

/// Gives one to three bytes at a time, now and then with an interruption.
struct Drips<'a>(&'a [u8], usize);

impl Read for Drips<'_> {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        self.1 += 1;
        if self.1.is_multiple_of(5) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let len = (1 + self.1 % 3).min(space.len());
        self.0.read(&mut space[..len])
    }
}

#[test]
fn a_package_that_is_not_as_long_as_told_is_refused() {
    let size = FragmentSize::new(32).unwrap();
    for (told, want) in [
        (70, "ok"),
        (71, "short"),
        (69, "long"),
        (64, "long"),
        (200, "short"),
        (0, "package_empty"),
    ] {
        let mut framed = Vec::new();
        let got = frame_package(told, size, Drips(&[7; 70], 0), &mut framed);
        assert_eq!(got.map_or_else(|e| e.kind(), |_| "ok"), want, "{told}");
    }
    for (len, want) in [
        (0, "package_empty"),
        (11, "package_empty"),
        (12, "ok"),
        (43, "ok"),
        (44, "torn"),
        (54, "torn"),
        (55, "ok"),
    ] {
        let got = Layout::of_framed(len, size);
        assert_eq!(got.map_or_else(|e| e.kind(), |_| "ok"), want, "{len}");
    }
}

fn version() -> impl Strategy<Value = Version> {
    any::<[u8; 16]>().prop_map(Version::from_bytes)
}

fn from_device() -> impl Strategy<Value = FromDevice> {
    let result = |code| any::<u8>().prop_map(move |byte| ResultCode::read(code, byte));
    let report = move |code| {
        (result(code), proptest::option::of(version())).prop_map(|(result, version)| {
            let needed = result == ResultCode::Ok;
            let version = version.or_else(|| needed.then(|| Version::from_bytes([0; 16])));
            (result, version)
        })
    };
    prop_oneof![
        report(Code::QueryVersion)
            .prop_map(|(result, version)| FromDevice::Version { result, version }),
        result(Code::NewVersion).prop_map(FromDevice::Notified),
        (version(), any::<u16>())
            .prop_map(|(version, index)| FromDevice::Fragment { version, index }),
        result(Code::Downloaded).prop_map(FromDevice::Downloaded),
        result(Code::Execute).prop_map(FromDevice::Executed),
        report(Code::Upgraded)
            .prop_map(|(result, version)| FromDevice::Upgraded { result, version }),
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        code in 0u8..30,
        right in any::<bool>(),
    ) {
        let mut bytes = bytes;
        // Half of them as far as the data.
        if right && bytes.len() >= 8 {
            let len = u16::try_from(bytes.len() - 8).unwrap().to_be_bytes();
            bytes[..4].copy_from_slice(&[0xff, 0xfe, 1, code]);
            bytes[6..8].copy_from_slice(&len);
            let sum = checksum(&bytes).to_be_bytes();
            bytes[4..6].copy_from_slice(&sum);
            let is_code = Code::from_u8(code).is_some();
            prop_assert_eq!(Frame::decode(&bytes).is_ok(), is_code);
        }
        match Frame::decode(&bytes) {
            Ok(frame) => {
                if let Ok(message) = FromDevice::read(&frame) {
                    let again = message.encode();
                    prop_assert_eq!(FromDevice::read(&Frame::decode(&again).unwrap()), Ok(message));
                }
                if let Ok(message) = ToDevice::read(&frame) {
                    prop_assert_eq!(message.encode(), bytes);
                }
            }
            Err(FrameError::Truncated { len }) => prop_assert!(len < 8),
            Err(_) => {}
        }
    }

    #[test]
    fn what_devices_say_reads_back(message in from_device()) {
        let bytes = message.encode();
        let frame = Frame::decode(&bytes).unwrap();
        prop_assert_eq!(frame.encode(), bytes.clone());
        prop_assert_eq!(FromDevice::read(&frame), Ok(message));
    }

    #[test]
    fn what_the_platform_says_reads_back(
        version in version(),
        numbers in any::<[u16; 3]>(),
        size in 32u16..=500,
        verdict in any::<u8>(),
        bytes in proptest::collection::vec(any::<u8>(), 0..500),
    ) {
        let [index, count, check] = numbers;
        let verdict = Verdict::from_u8(verdict);
        let size = FragmentSize::new(size).unwrap();
        for message in [
            ToDevice::QueryVersion,
            ToDevice::NewVersion { version, size, count, check },
            ToDevice::Fragment { verdict, index, bytes: &bytes },
            ToDevice::Downloaded(verdict),
            ToDevice::Execute,
            ToDevice::Upgraded(verdict),
        ] {
            let bytes = message.encode();
            prop_assert_eq!(ToDevice::read(&Frame::decode(&bytes).unwrap()), Ok(message));
        }
    }

    /// Every fragment in its whole answer, the package byte for byte, and nothing beyond it.
    #[test]
    fn a_framed_package_is_the_package(
        package in proptest::collection::vec(any::<u8>(), 1..3000),
        size in 32u16..=500,
    ) {
        let size = FragmentSize::new(size).unwrap();
        let framed = FramedPackage::new(&package, size).unwrap();
        let layout = *framed.layout();
        prop_assert_eq!(layout.count(), fragment_count(package.len() as u64, size).unwrap());
        prop_assert_eq!(layout.package_len(), package.len() as u64);
        prop_assert_eq!(framed.fragments().collect::<Vec<_>>().concat(), package.clone());
        let mut file = Vec::new();
        let told = package.len() as u64;
        prop_assert_eq!(frame_package(told, size, Drips(&package, 0), &mut file).unwrap(), layout);
        prop_assert_eq!(file.len() as u64, layout.framed_len());
        for (index, bytes) in (0u16..).zip(package.chunks(usize::from(size.bytes()))) {
            let want = ToDevice::Fragment { verdict: Verdict::Ok, index, bytes };
            let answer = framed.frame(index).unwrap();
            prop_assert_eq!(answer, want.encode());
            prop_assert!(answer.len() <= ANSWER_MAX && answer.len() == ANSWER_HEADER + bytes.len());
            prop_assert_eq!(framed.frame_bytes(index).unwrap(), answer);
            let place = layout.place(index).unwrap();
            let place = usize::try_from(place.start).unwrap()..usize::try_from(place.end).unwrap();
            prop_assert_eq!(&file[place], answer);
        }
        prop_assert_eq!(framed.frame(layout.count()), None);
        prop_assert_eq!(framed.frame(u16::MAX), None);
        prop_assert_eq!(FramedPackage::over(Bytes::from(file), size).unwrap(), framed);
    }
}
