//! Checksums by the names of the CRC catalogue (reveng.sourceforge.io/crc-catalogue), lower
//! case with hyphens: `crc16-modbus`, `crc32-iso-hdlc`; besides them `sum8` (all bytes added,
//! modulo 256) and `xor8`. Short names stand for what most data sheets mean by them.

use crc::{Algorithm, Crc, Table};

use crate::product::codec::table::source::closest;

/// Tables for sixteen bytes at a time.
type Fast = Table<16>;

/// A checksum ready to run.
pub(super) enum Sum {
    Sum8,
    Xor8,
    Crc8(Box<Crc<u8, Fast>>),
    Crc16(Box<Crc<u16, Fast>>),
    Crc32(Box<Crc<u32, Fast>>),
    Crc64(Box<Crc<u64, Fast>>),
}

impl std::fmt::Debug for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sum8 => "sum8",
            Self::Xor8 => "xor8",
            Self::Crc8(_) => "crc8",
            Self::Crc16(_) => "crc16",
            Self::Crc32(_) => "crc32",
            Self::Crc64(_) => "crc64",
        })
    }
}

impl Sum {
    /// The checksum of this name and its size in bytes.
    pub(super) fn by_name(name: &str) -> Option<(Self, usize)> {
        let name = SHORT
            .iter()
            .find(|(short, _)| *short == name)
            .map_or(name, |(_, long)| long);
        match name {
            "sum8" => return Some((Self::Sum8, 1)),
            "xor8" => return Some((Self::Xor8, 1)),
            _ => {}
        }
        let (_, algorithm) = CATALOGUE.iter().find(|(known, _)| *known == name)?;
        Some(match algorithm {
            Width::U8(a) => (Self::Crc8(Box::new(Crc::<u8, Fast>::new(a))), 1),
            Width::U16(a) => (Self::Crc16(Box::new(Crc::<u16, Fast>::new(a))), 2),
            Width::U32(a) => (
                Self::Crc32(Box::new(Crc::<u32, Fast>::new(a))),
                usize::from(a.width / 8),
            ),
            Width::U64(a) => (Self::Crc64(Box::new(Crc::<u64, Fast>::new(a))), 8),
        })
    }

    /// The known name that is most like `name`.
    pub(super) fn closest_name(name: &str) -> Option<&'static str> {
        closest(name, Self::names())
    }

    /// Every name that [`Self::by_name`] knows, short ones first.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        let known = CATALOGUE.iter().map(|(known, _)| *known);
        let short = SHORT.iter().map(|(short, _)| *short);
        ["sum8", "xor8"].into_iter().chain(short).chain(known)
    }

    pub(super) fn of(&self, bytes: &[u8]) -> u64 {
        match self {
            Self::Sum8 => u64::from(bytes.iter().fold(0_u8, |sum, b| sum.wrapping_add(*b))),
            Self::Xor8 => u64::from(bytes.iter().fold(0, |sum, b| sum ^ b)),
            Self::Crc8(crc) => u64::from(crc.checksum(bytes)),
            Self::Crc16(crc) => u64::from(crc.checksum(bytes)),
            Self::Crc32(crc) => u64::from(crc.checksum(bytes)),
            Self::Crc64(crc) => crc.checksum(bytes),
        }
    }
}

enum Width {
    U8(&'static Algorithm<u8>),
    U16(&'static Algorithm<u16>),
    U32(&'static Algorithm<u32>),
    U64(&'static Algorithm<u64>),
}

/// Names that leave the variant open, as data sheets use them.
const SHORT: [(&str, &str); 8] = [
    ("crc8", "crc8-smbus"),
    ("crc8-maxim", "crc8-maxim-dow"),
    ("crc16", "crc16-arc"),
    ("crc16-ccitt", "crc16-kermit"),
    ("crc16-ccitt-false", "crc16-ibm-3740"),
    ("crc16-x25", "crc16-ibm-sdlc"),
    ("crc32", "crc32-iso-hdlc"),
    ("crc32c", "crc32-iscsi"),
];

const CATALOGUE: &[(&str, Width)] = &[
    ("crc8-autosar", Width::U8(&crc::CRC_8_AUTOSAR)),
    ("crc8-bluetooth", Width::U8(&crc::CRC_8_BLUETOOTH)),
    ("crc8-cdma2000", Width::U8(&crc::CRC_8_CDMA2000)),
    ("crc8-darc", Width::U8(&crc::CRC_8_DARC)),
    ("crc8-dvb-s2", Width::U8(&crc::CRC_8_DVB_S2)),
    ("crc8-gsm-a", Width::U8(&crc::CRC_8_GSM_A)),
    ("crc8-gsm-b", Width::U8(&crc::CRC_8_GSM_B)),
    ("crc8-hitag", Width::U8(&crc::CRC_8_HITAG)),
    ("crc8-i-432-1", Width::U8(&crc::CRC_8_I_432_1)),
    ("crc8-i-code", Width::U8(&crc::CRC_8_I_CODE)),
    ("crc8-lte", Width::U8(&crc::CRC_8_LTE)),
    ("crc8-maxim-dow", Width::U8(&crc::CRC_8_MAXIM_DOW)),
    ("crc8-mifare-mad", Width::U8(&crc::CRC_8_MIFARE_MAD)),
    ("crc8-nrsc-5", Width::U8(&crc::CRC_8_NRSC_5)),
    ("crc8-opensafety", Width::U8(&crc::CRC_8_OPENSAFETY)),
    ("crc8-rohc", Width::U8(&crc::CRC_8_ROHC)),
    ("crc8-sae-j1850", Width::U8(&crc::CRC_8_SAE_J1850)),
    ("crc8-smbus", Width::U8(&crc::CRC_8_SMBUS)),
    ("crc8-tech-3250", Width::U8(&crc::CRC_8_TECH_3250)),
    ("crc8-wcdma", Width::U8(&crc::CRC_8_WCDMA)),
    ("crc16-arc", Width::U16(&crc::CRC_16_ARC)),
    ("crc16-cdma2000", Width::U16(&crc::CRC_16_CDMA2000)),
    ("crc16-cms", Width::U16(&crc::CRC_16_CMS)),
    ("crc16-dds-110", Width::U16(&crc::CRC_16_DDS_110)),
    ("crc16-dect-r", Width::U16(&crc::CRC_16_DECT_R)),
    ("crc16-dect-x", Width::U16(&crc::CRC_16_DECT_X)),
    ("crc16-dnp", Width::U16(&crc::CRC_16_DNP)),
    ("crc16-en-13757", Width::U16(&crc::CRC_16_EN_13757)),
    ("crc16-genibus", Width::U16(&crc::CRC_16_GENIBUS)),
    ("crc16-gsm", Width::U16(&crc::CRC_16_GSM)),
    ("crc16-ibm-3740", Width::U16(&crc::CRC_16_IBM_3740)),
    ("crc16-ibm-sdlc", Width::U16(&crc::CRC_16_IBM_SDLC)),
    (
        "crc16-iso-iec-14443-3-a",
        Width::U16(&crc::CRC_16_ISO_IEC_14443_3_A),
    ),
    ("crc16-kermit", Width::U16(&crc::CRC_16_KERMIT)),
    ("crc16-lj1200", Width::U16(&crc::CRC_16_LJ1200)),
    ("crc16-m17", Width::U16(&crc::CRC_16_M17)),
    ("crc16-maxim-dow", Width::U16(&crc::CRC_16_MAXIM_DOW)),
    ("crc16-mcrf4xx", Width::U16(&crc::CRC_16_MCRF4XX)),
    ("crc16-modbus", Width::U16(&crc::CRC_16_MODBUS)),
    ("crc16-nrsc-5", Width::U16(&crc::CRC_16_NRSC_5)),
    ("crc16-opensafety-a", Width::U16(&crc::CRC_16_OPENSAFETY_A)),
    ("crc16-opensafety-b", Width::U16(&crc::CRC_16_OPENSAFETY_B)),
    ("crc16-profibus", Width::U16(&crc::CRC_16_PROFIBUS)),
    ("crc16-riello", Width::U16(&crc::CRC_16_RIELLO)),
    ("crc16-spi-fujitsu", Width::U16(&crc::CRC_16_SPI_FUJITSU)),
    ("crc16-t10-dif", Width::U16(&crc::CRC_16_T10_DIF)),
    ("crc16-teledisk", Width::U16(&crc::CRC_16_TELEDISK)),
    ("crc16-tms37157", Width::U16(&crc::CRC_16_TMS37157)),
    ("crc16-umts", Width::U16(&crc::CRC_16_UMTS)),
    ("crc16-usb", Width::U16(&crc::CRC_16_USB)),
    ("crc16-xmodem", Width::U16(&crc::CRC_16_XMODEM)),
    ("crc24-ble", Width::U32(&crc::CRC_24_BLE)),
    ("crc24-flexray-a", Width::U32(&crc::CRC_24_FLEXRAY_A)),
    ("crc24-flexray-b", Width::U32(&crc::CRC_24_FLEXRAY_B)),
    ("crc24-interlaken", Width::U32(&crc::CRC_24_INTERLAKEN)),
    ("crc24-lte-a", Width::U32(&crc::CRC_24_LTE_A)),
    ("crc24-lte-b", Width::U32(&crc::CRC_24_LTE_B)),
    ("crc24-openpgp", Width::U32(&crc::CRC_24_OPENPGP)),
    ("crc24-os-9", Width::U32(&crc::CRC_24_OS_9)),
    ("crc32-aixm", Width::U32(&crc::CRC_32_AIXM)),
    ("crc32-autosar", Width::U32(&crc::CRC_32_AUTOSAR)),
    ("crc32-base91-d", Width::U32(&crc::CRC_32_BASE91_D)),
    ("crc32-bzip2", Width::U32(&crc::CRC_32_BZIP2)),
    ("crc32-cd-rom-edc", Width::U32(&crc::CRC_32_CD_ROM_EDC)),
    ("crc32-cksum", Width::U32(&crc::CRC_32_CKSUM)),
    ("crc32-iscsi", Width::U32(&crc::CRC_32_ISCSI)),
    ("crc32-iso-hdlc", Width::U32(&crc::CRC_32_ISO_HDLC)),
    ("crc32-jamcrc", Width::U32(&crc::CRC_32_JAMCRC)),
    ("crc32-mef", Width::U32(&crc::CRC_32_MEF)),
    ("crc32-mpeg-2", Width::U32(&crc::CRC_32_MPEG_2)),
    ("crc32-xfer", Width::U32(&crc::CRC_32_XFER)),
    ("crc64-ecma-182", Width::U64(&crc::CRC_64_ECMA_182)),
    ("crc64-go-iso", Width::U64(&crc::CRC_64_GO_ISO)),
    ("crc64-ms", Width::U64(&crc::CRC_64_MS)),
    ("crc64-nvme", Width::U64(&crc::CRC_64_NVME)),
    ("crc64-redis", Width::U64(&crc::CRC_64_REDIS)),
    ("crc64-we", Width::U64(&crc::CRC_64_WE)),
    ("crc64-xz", Width::U64(&crc::CRC_64_XZ)),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The catalogue's check value: the checksum of the ASCII digits 1 to 9.
    #[test]
    fn every_entry_gives_its_check_value() {
        for (name, width) in CATALOGUE {
            let (want, bytes) = match width {
                Width::U8(a) => (u64::from(a.check), a.width / 8),
                Width::U16(a) => (u64::from(a.check), a.width / 8),
                Width::U32(a) => (u64::from(a.check), a.width / 8),
                Width::U64(a) => (a.check, a.width / 8),
            };
            let (sum, size) = Sum::by_name(name).unwrap();
            assert_eq!(
                (sum.of(b"123456789"), size),
                (want, usize::from(bytes)),
                "{name}"
            );
        }
    }

    #[test]
    fn simple_sums_and_short_names() {
        let cases = [
            ("sum8", 0xdd),
            ("xor8", 0x31),
            ("crc8", 0xf4),
            ("crc16", 0xbb3d),
            ("crc16-ccitt", 0x2189),
            ("crc16-ccitt-false", 0x29b1),
            ("crc16-x25", 0x906e),
            ("crc16-modbus", 0x4b37),
            ("crc32", 0xcbf4_3926),
        ];
        for (name, want) in cases {
            assert_eq!(
                Sum::by_name(name).unwrap().0.of(b"123456789"),
                want,
                "{name}"
            );
        }
        assert!(Sum::by_name("crc16-modbuss").is_none());
        assert_eq!(Sum::closest_name("crc16-modbuss"), Some("crc16-modbus"));
    }
}
