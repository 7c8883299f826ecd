//! A product model's zip, as offline profiles have it, and the script that belongs to it.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Draft, ImportError, Product, files_in, name_of, only, read_script, stem_of};
use crate::product::model_zip::{self, UNPACKED_MAX};

pub(super) fn read(path: &Path, script: Option<&Path>) -> Result<Draft, ImportError> {
    let meta = fs::metadata(path).map_err(|e| ImportError::at(path, e))?;
    let max = UNPACKED_MAX;
    if meta.len() > max {
        let reason = format!("has {} bytes, takes up to {max}", meta.len());
        return Err(ImportError::at(path, reason));
    }
    let bytes = fs::read(path).map_err(|e| ImportError::at(path, e))?;
    let package = model_zip::read(&bytes, None).map_err(|e| ImportError::at(path, e))?;
    let file = match script {
        Some(file) => file.to_owned(),
        None => script_beside(path)?,
    };
    let mut notes = vec![format!("the script is {}", file.display())];
    if package.data_format != "binary" {
        let format = &package.data_format;
        notes.push(format!(
            "the package says {format}: a script makes it binary"
        ));
    }
    Ok(Draft {
        name: name_of(&package.name),
        manufacturer: package.manufacturer_name,
        script: read_script(&file)?,
        product: Product {
            device_type: package.device_type,
            protocol_type: package.protocol_type,
            data_format: "binary".to_owned(),
            industry: package.industry,
            description: package.description,
            profile: package.profile,
        },
        fixtures: Vec::new(),
        notes,
    })
}

/// The script named like the zip, else the only one in its folder.
fn script_beside(path: &Path) -> Result<PathBuf, ImportError> {
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty());
    let dir = dir.unwrap_or_else(|| Path::new("."));
    let same = dir.join(format!("{}.js", stem_of(path)));
    if same.is_file() {
        return Ok(same);
    }
    let scripts = files_in(dir, |name| name.ends_with(".js"))?;
    only(dir, scripts, "js beside the zip: name one with --script")
}
