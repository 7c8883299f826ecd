//! What the texts and sizes of a package may be. Each refusal says what it got and what fits.
//!
//! PCP carries a version in 16 bytes and counts fragments in 16 bits, so software is bound by both;
//! firmware is known by what the device reports in 3/0/3.

use super::PackageError;
use super::error::invalid;
use crate::store::packages::{PackageRecord, PackageType};

/// Bytes of a PCP fragment.
pub const FRAGMENT_SIZE_MIN: u16 = 32;
pub const FRAGMENT_SIZE_MAX: u16 = 500;
/// Fragments that PCP counts.
pub const FRAGMENTS_MAX: u64 = 65_535;
/// Characters of a version, of software and of firmware.
pub const SOFTWARE_VERSION_MAX: usize = 16;
pub const VERSION_MAX: usize = 256;
/// Characters of the other texts.
pub const DESCRIPTION_MAX: usize = 1024;
pub const CUSTOM_INFO_MAX: usize = 4096;
pub const MODULE_NAME_MAX: usize = 64;
pub const FILE_NAME_MAX: usize = 255;
/// Source versions of one package, and their characters together.
pub const SOURCES_MAX: usize = 100;
const SOURCES_TEXT_MAX: usize = 2048;

/// Judges what a package says of itself.
pub(super) fn check(record: &PackageRecord) -> Result<(), PackageError> {
    let package_type = record.package_type;
    check_version(package_type, "version", &record.package_version)?;
    let sources = &record.support_source_versions;
    if sources.len() > SOURCES_MAX {
        let got = sources.len();
        let problem = format!("got {got} versions, takes up to {SOURCES_MAX}");
        return Err(invalid("support_source_versions", problem));
    }
    for (at, version) in sources.iter().enumerate() {
        check_version(
            package_type,
            &format!("support_source_versions[{at}]"),
            version,
        )?;
    }
    let together: usize = sources.iter().map(String::len).sum();
    if together > SOURCES_TEXT_MAX {
        let problem = format!(
            "got {together} characters together, takes up to {SOURCES_TEXT_MAX}; none means every version"
        );
        return Err(invalid("support_source_versions", problem));
    }
    if let Some(name) = &record.module_name {
        check_words("module_name", name, MODULE_NAME_MAX)?;
    }
    if let Some(name) = &record.file_name {
        check_file_name(name)?;
    }
    let texts = [
        ("description", &record.description, DESCRIPTION_MAX),
        ("custom_info", &record.custom_info, CUSTOM_INFO_MAX),
    ];
    for (field, text, max) in texts {
        let len = text.as_ref().map_or(0, |text| text.chars().count());
        if len > max {
            let problem = format!("got {len} characters, takes up to {max} characters");
            return Err(invalid(field, problem));
        }
    }
    Ok(())
}

fn check_version(package_type: PackageType, field: &str, text: &str) -> Result<(), PackageError> {
    match package_type {
        PackageType::Firmware => check_words(field, text, VERSION_MAX),
        PackageType::Software if text.len() > SOFTWARE_VERSION_MAX => {
            let problem = format!(
                "got {} characters, a software version takes up to {SOFTWARE_VERSION_MAX}: PCP \
                 carries no more",
                text.chars().count()
            );
            Err(invalid(field, problem))
        }
        PackageType::Software => check_words(field, text, SOFTWARE_VERSION_MAX),
    }
}

fn check_words(field: &str, text: &str, max: usize) -> Result<(), PackageError> {
    let takes = format!("1 to {max} characters: letters, digits and _.-");
    let len = text.chars().count();
    if !(1..=max).contains(&len) {
        return Err(invalid(
            field,
            format!("got {len} characters, takes {takes}"),
        ));
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    match text.chars().find(|c| !legal(*c)) {
        Some(c) => Err(invalid(
            field,
            format!("has the character {c:?}, takes {takes}"),
        )),
        None => Ok(()),
    }
}

fn check_file_name(name: &str) -> Result<(), PackageError> {
    let takes = format!(
        "1 to {FILE_NAME_MAX} characters, no Chinese ones, no control characters, no / and \\"
    );
    let len = name.chars().count();
    if !(1..=FILE_NAME_MAX).contains(&len) {
        let problem = format!("got {len} characters, takes {takes}");
        return Err(invalid("file_name", problem));
    }
    let wrong = |c: &char| {
        c.is_control() || matches!(c, '/' | '\\') || crate::product::check::is_chinese(*c)
    };
    match name.chars().find(wrong) {
        Some(c) => Err(invalid(
            "file_name",
            format!("has the character {c:?}, takes {takes}"),
        )),
        None => Ok(()),
    }
}

/// The fragment size that was asked for, or the usual one.
pub(super) fn fragment_size(
    package_type: PackageType,
    given: Option<u32>,
) -> Result<u16, PackageError> {
    let Some(given) = given else {
        return Ok(FRAGMENT_SIZE_MAX);
    };
    if package_type == PackageType::Firmware {
        let problem = "is for softwarePackage: firmware is fetched in blocks whose size the device \
                       chooses; leave it out";
        return Err(invalid("fragment_size", problem));
    }
    let size = u16::try_from(given).ok();
    size.filter(|size| (FRAGMENT_SIZE_MIN..=FRAGMENT_SIZE_MAX).contains(size))
        .ok_or_else(|| {
            let problem =
                format!("got {given}, takes {FRAGMENT_SIZE_MIN} to {FRAGMENT_SIZE_MAX} bytes");
            invalid("fragment_size", problem)
        })
}

/// Judges how many fragments a file of software makes.
pub(super) fn check_fragments(
    package_type: PackageType,
    fragment_size: u16,
    size: u64,
) -> Result<(), PackageError> {
    let step = u64::from(fragment_size.max(1));
    let count = size.div_ceil(step);
    if package_type == PackageType::Firmware || count <= FRAGMENTS_MAX {
        return Ok(());
    }
    let fits = FRAGMENTS_MAX.saturating_mul(step);
    let needed = size.div_ceil(FRAGMENTS_MAX);
    let remedy = match needed <= u64::from(FRAGMENT_SIZE_MAX) {
        true => format!("; fragments of {needed} bytes or more fit"),
        false => String::new(),
    };
    let problem = format!(
        "a file of {size} bytes makes {count} fragments of {step} bytes, PCP counts up to \
         {FRAGMENTS_MAX}: up to {fits} bytes fit{remedy}"
    );
    Err(invalid("fragment_size", problem))
}
