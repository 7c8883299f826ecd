//! `…/ota-upgrades/packages` of the v5 API: packages as references to files.
//!
//! There is no object storage here: a file comes by `PUT /v1/packages`. What a `file_location` names is kept
//! and answered as it was given, and tells which file is meant:
//!
//! | `obs_location` | the package has |
//! |---|---|
//! | `object_key` is `sha256:<64 digits>` | the uploaded file with this hash, which must be there |
//! | `object_key` is the id of a package | that package's file |
//! | `sign` is 64 hexadecimal digits | the uploaded file with this hash, else none but this later |
//! | anything else | no file until one is uploaded for the same product, type and version |

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::input::{Alphabet, Fields, Query, TextRule, quoted, read_body, read_query};
use super::operation::{Operation, Routes};
use super::page::{PageInfo, PageQuery};
use super::request::{CallerIs, JsonBody, PackagePath, visible_space};
use super::respond::{about, json as answer};
use crate::app::App;
use crate::app::package::rules::{
    CUSTOM_INFO_MAX, DESCRIPTION_MAX, MODULE_NAME_MAX, SOURCES_MAX, VERSION_MAX,
};
use crate::app::package::{NewPackage, Source};
use crate::app::product::ProductRuntime;
use crate::base::ids::{AppId, PackageId, ProductId};
use crate::store::packages::{FileHash, PackageRecord, PackageType};

/// Words of the types.
pub(super) const TYPES: [(&str, PackageType); 2] = [
    (PackageType::Firmware.word(), PackageType::Firmware),
    (PackageType::Software.word(), PackageType::Software),
];
pub(super) const VERSION: TextRule = TextRule::new(Alphabet::Version, 1, VERSION_MAX);
pub(super) const MODULE: TextRule = TextRule::new(Alphabet::Version, 1, MODULE_NAME_MAX);
pub(super) const DESCRIPTION: TextRule = TextRule::any(DESCRIPTION_MAX);
pub(super) const CUSTOM_INFO: TextRule = TextRule::any(CUSTOM_INFO_MAX);

/// Texts of a location: regions, and keys with signatures.
const PLACE: TextRule = TextRule::new(Alphabet::Any, 1, 256);
const OBJECT_KEY: TextRule = TextRule::new(Alphabet::Any, 1, 1024);

/// What this file serves.
pub fn routes() -> Routes {
    const ALL: &str = "/v5/iot/{project_id}/ota-upgrades/packages";
    const ONE: &str = "/v5/iot/{project_id}/ota-upgrades/packages/{package_id}";
    const CONFLICT: StatusCode = StatusCode::CONFLICT;
    Routes::tagged("Packages")
        .add(
            Operation::post(
                ALL,
                "create_ota_package",
                "Makes a package of a file that was uploaded, or will be",
            )
            .body(|f| drop(new_package(f)))
            .answers::<Whole<'_>>(StatusCode::CREATED)
            .fails(&[StatusCode::FORBIDDEN, StatusCode::NOT_FOUND, CONFLICT])
            .example(json!({
                "app_id": "default", "package_type": "softwarePackage",
                "product_id": "watermeter", "version": "V1.1",
                "support_source_versions": ["V1.0"], "description": "counts backward flow",
                "file_location": {"obs_location": {
                    "region_name": "local", "bucket_name": "packages",
                    "object_key": "meter/v1.1.bin"
                }}
            })),
            create,
        )
        .add(
            Operation::get(ALL, "list_ota_package_info", "Lists packages, newest first")
                .query(|q| drop(wanted_of(q)))
                .answers::<List<'_>>(StatusCode::OK)
                .example_query(&[("package_type", "firmwarePackage")]),
            list,
        )
        .add(
            Operation::get(ONE, "show_ota_package", "Shows a package")
                .answers::<Whole<'_>>(StatusCode::OK),
            show,
        )
        .add(
            Operation::delete(
                ONE,
                "delete_ota_package",
                "Deletes a package that no running task uses; its version stays bound to its file",
            )
            .answers_nothing(StatusCode::NO_CONTENT)
            .fails(&[CONFLICT]),
            delete,
        )
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OtaPackageInfo")]
struct View<'a> {
    package_id: &'a PackageId,
    app_id: &'a AppId,
    package_type: &'static str,
    product_id: &'a ProductId,
    product_name: &'a str,
    module_name: Option<&'a str>,
    version: &'a str,
    support_source_versions: &'a [String],
    description: Option<&'a str>,
    custom_info: Option<&'a str>,
    create_time: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OtaPackage")]
struct Whole<'a> {
    #[serde(flatten)]
    view: View<'a>,
    /// As it was given.
    file_location: Option<&'a Value>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OtaPackageList")]
struct List<'a> {
    packages: Vec<View<'a>>,
    page: PageInfo,
}

fn view<'a>(package: &'a PackageRecord, product: &'a ProductRuntime) -> View<'a> {
    View {
        package_id: &package.package_id,
        app_id: &package.app_id,
        package_type: package.package_type.word(),
        product_id: &package.product_id,
        product_name: &product.record.name,
        module_name: package.module_name.as_deref(),
        version: &package.package_version,
        support_source_versions: &package.support_source_versions,
        description: package.description.as_deref(),
        custom_info: package.custom_info.as_deref(),
        create_time: package.created_at.compact(),
    }
}

fn whole<'a>(package: &'a PackageRecord, product: &'a ProductRuntime) -> Whole<'a> {
    Whole {
        view: view(package, product),
        file_location: package.file_location.as_ref(),
    }
}

/// `POST …/ota-upgrades/packages`: 201. Errors: 400 bad field, no such file; 403 another space, or one that is
/// none; 404 no such product in it; 409 the version is taken, or means another file.
pub async fn create(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let mut new = read_body(&body, new_package)?;
    new.app_id = visible_space(&caller, new.app_id)?;
    if let Some(space) = &new.app_id {
        app.spaces.check(space)?;
    }
    let made = app.packages.create(new).await?;
    let (package, product) = app.packages.show(&made.package_id)?;
    let shown = answer(StatusCode::CREATED, &whole(&package, &product));
    Ok(about("package_id", &package.package_id, shown))
}

/// `GET …/ota-upgrades/packages`: of one type, newest first.
pub async fn list(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    uri: Uri,
) -> Result<Response, ApiError> {
    let wanted = read_query(&uri, wanted_of)?;
    let space = visible_space(&caller, wanted.space)?;
    let all = app.packages.list();
    let fits = |package: &PackageRecord| {
        let product = wanted.product_id.as_ref();
        let version = wanted.version.as_ref();
        wanted.package_type == Some(package.package_type)
            && space.as_ref().is_none_or(|id| *id == package.app_id)
            && product.is_none_or(|id| *id == package.product_id)
            && version.is_none_or(|version| *version == package.package_version)
    };
    let found = all.iter().filter(|(package, _)| fits(package)).collect();
    let cut = wanted.page.cut(found, |(package, _)| package.seq);
    let shown = cut.shown.iter();
    let list = List {
        packages: shown
            .map(|(package, product)| view(package, product))
            .collect(),
        page: PageInfo {
            count: cut.count,
            marker: cut.marker,
        },
    };
    Ok(answer(StatusCode::OK, &list))
}

/// `GET …/ota-upgrades/packages/{package_id}`. Errors: 404.
pub async fn show(
    State(app): State<App>,
    PackagePath(id): PackagePath,
) -> Result<Response, ApiError> {
    let (package, product) = app.packages.show(&id)?;
    Ok(answer(StatusCode::OK, &whole(&package, &product)))
}

/// `DELETE …/ota-upgrades/packages/{package_id}`: 204. Errors: 404, 409 a running task uses it.
pub async fn delete(
    State(app): State<App>,
    PackagePath(id): PackagePath,
) -> Result<StatusCode, ApiError> {
    app.packages.delete(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `CreateOtaPackage`.
fn new_package(fields: &Fields<'_>) -> Option<NewPackage> {
    let app_id = fields.id("app_id", AppId::parse);
    let words = TYPES.map(|(word, _)| word);
    let word = fields.needed_choice("package_type", &words);
    let package_type = TYPES.iter().find(|(known, _)| *known == word);
    let product_id = fields.needed_id("product_id", ProductId::parse);
    let module_name = fields.text("module_name", MODULE);
    let package_version = fields.needed_text("version", VERSION);
    let sources = fields.texts("support_source_versions", 0..=SOURCES_MAX, VERSION);
    let description = fields.text("description", DESCRIPTION);
    let custom_info = fields.text("custom_info", CUSTOM_INFO);
    if !fields.has("file_location") {
        fields.missing("file_location", "an object with obs_location");
    }
    let location = fields.object("file_location").map(|l| location_of(&l));
    let (file_location, source) = location.unwrap_or((None, Source::Later));
    Some(NewPackage {
        app_id,
        package_type: package_type.map(|(_, t)| *t)?,
        product_id: product_id?,
        module_name,
        package_version,
        support_source_versions: sources.unwrap_or_default(),
        description,
        custom_info,
        file_location,
        source,
    })
}

/// `FileLocation`: what is kept of it, and the file that it means.
fn location_of(fields: &Fields<'_>) -> (Option<Value>, Source) {
    if !fields.has("obs_location") {
        fields.missing(
            "obs_location",
            "an object with region_name, bucket_name and object_key",
        );
    }
    let Some(place) = fields.object("obs_location") else {
        return (None, Source::Later);
    };
    let object_key = place.needed_text("object_key", OBJECT_KEY);
    let (sign_method, sign) = (place.text("sign_method", PLACE), place.text("sign", PLACE));
    let source = source_of(&place, &object_key, sign.as_deref());
    let texts = [
        ("region_name", Some(place.needed_text("region_name", PLACE))),
        ("bucket_name", Some(place.needed_text("bucket_name", PLACE))),
        ("object_key", Some(object_key)),
        ("sign_method", sign_method),
        ("sign", sign),
    ];
    let kept = texts.into_iter();
    let kept = kept.filter_map(|(name, text)| Some((name.to_owned(), Value::String(text?))));
    let kept: Map<String, Value> = kept.collect();
    (Some(json!({"obs_location": kept})), source)
}

fn source_of(place: &Fields<'_>, object_key: &str, sign: Option<&str>) -> Source {
    let hash_of = |text: &str| FileHash::parse(&text.to_ascii_lowercase());
    if let Some(hash) = object_key.strip_prefix("sha256:") {
        if let Some(hash) = hash_of(hash) {
            return Source::Hash(hash);
        }
        let problem = format!(
            "got {}, takes sha256: and 64 hexadecimal digits",
            quoted(object_key)
        );
        place.problem("object_key", problem);
        return Source::Later;
    }
    if let Some(hash) = sign.and_then(hash_of) {
        return Source::Announced(hash);
    }
    match PackageId::parse(object_key) {
        Ok(id) => Source::Package(id),
        Err(_) => Source::Later,
    }
}

/// What a list is asked for.
struct Wanted {
    page: PageQuery,
    space: Option<AppId>,
    package_type: Option<PackageType>,
    product_id: Option<ProductId>,
    version: Option<String>,
}

fn wanted_of(query: &Query<'_>) -> Wanted {
    Wanted {
        space: query.id("app_id", AppId::parse),
        package_type: query.needed_one_of("package_type", &TYPES),
        product_id: query.id("product_id", ProductId::parse),
        version: query.text("version", VERSION),
        page: PageQuery::of(query),
    }
}
