//! A product as the v5 API and its events show it.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::Products;
use crate::base::ids::{AppId, ProductId};
use crate::product::profile::Profile;
use crate::store::records::ProductRecord;

/// A product by itself.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "Product")]
pub struct ProductView<'a> {
    #[serde(flatten)]
    pub summary: ProductSummary<'a>,
    pub service_capabilities: &'a Profile,
}

/// A product in a list.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ProductSummary<'a> {
    pub app_id: &'a AppId,
    #[schemars(with = "String")]
    pub app_name: Arc<str>,
    pub product_id: &'a ProductId,
    pub name: &'a str,
    pub device_type: &'a str,
    pub protocol_type: &'a str,
    pub data_format: &'a str,
    pub manufacturer_name: Option<&'a str>,
    pub industry: Option<&'a str>,
    pub description: Option<&'a str>,
    pub create_time: String,
}

impl Products {
    /// The product as the API shows it.
    pub fn view<'a>(&self, product: &'a ProductRecord) -> ProductView<'a> {
        ProductView {
            summary: self.summary(product),
            service_capabilities: &product.profile,
        }
    }

    /// The product as lists show it.
    pub fn summary<'a>(&self, product: &'a ProductRecord) -> ProductSummary<'a> {
        ProductSummary {
            app_id: &product.app_id,
            app_name: self.parts.spaces.name(&product.app_id),
            product_id: &product.product_id,
            name: &product.name,
            device_type: &product.device_type,
            protocol_type: &product.protocol_type,
            data_format: &product.data_format,
            manufacturer_name: product.manufacturer_name.as_deref(),
            industry: product.industry.as_deref(),
            description: product.description.as_deref(),
            create_time: product.created_at.compact(),
        }
    }
}
