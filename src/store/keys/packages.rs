//! Keys of packages and of their names.

use super::Table;
use crate::base::ids::{PackageId, ProductId};
use crate::store::packages::{PackageName, PackageType};

pub fn package(id: &PackageId) -> Vec<u8> {
    Table::Packages.key(&[id.as_str().as_bytes()])
}

/// The type is a letter. Product ids hold no 00 byte; the version text comes last.
pub fn package_name(name: &PackageName) -> Vec<u8> {
    let letter = match name.package_type {
        PackageType::Firmware => b'f',
        PackageType::Software => b's',
    };
    Table::PackageNames.key(&[
        name.product_id.as_str().as_bytes(),
        &[0, letter],
        name.package_version.as_bytes(),
    ])
}

/// The name that a row of `package_names` is of; `None` when the key has another shape.
pub fn split_package_name(key: &[u8]) -> Option<PackageName> {
    let (_, rest) = key.split_first()?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    let (product, rest) = rest.split_at_checked(end)?;
    let package_type = match rest.get(1)? {
        b'f' => PackageType::Firmware,
        b's' => PackageType::Software,
        _ => return None,
    };
    Some(PackageName {
        product_id: ProductId::parse(std::str::from_utf8(product).ok()?).ok()?,
        package_type,
        package_version: std::str::from_utf8(rest.get(2..)?).ok()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for (product, package_type, version) in [
            ("p", PackageType::Firmware, "V1.0"),
            ("p-f", PackageType::Software, "s"),
        ] {
            let name = PackageName {
                product_id: ProductId::parse(product).unwrap(),
                package_type,
                package_version: version.to_owned(),
            };
            assert_eq!(split_package_name(&package_name(&name)), Some(name));
        }
        for wrong in [&b"\x21p"[..], b"\x21p\0", b"\x21p\0x1", b"\x21\0f1", b""] {
            assert_eq!(split_package_name(wrong), None, "{wrong:?}");
        }
    }
}
