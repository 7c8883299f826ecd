//! The product model: services with properties, commands and events, in the shape of the v5 API
//! (`service_capabilities`). Units and limits of each field: `docs/api.md`, "Products".

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A product's services.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Profile {
    pub services: Vec<Service>,
}

impl Profile {
    pub fn service(&self, service_id: &str) -> Option<&Service> {
        self.services.iter().find(|s| s.service_id == service_id)
    }
}

/// `ServiceCapability` of the v5 API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    pub service_id: String,
    pub service_type: String,
    #[serde(default)]
    pub properties: Vec<Property>,
    #[serde(default)]
    pub commands: Vec<Command>,
    #[serde(default)]
    pub events: Vec<Event>,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default)]
    pub option: ServiceOption,
}

impl Service {
    pub fn property(&self, name: &str) -> Option<&Property> {
        self.properties.iter().find(|p| p.property_name == name)
    }

    pub fn command(&self, name: &str) -> Option<&Command> {
        self.commands.iter().find(|c| c.command_name == name)
    }
}

impl Property {
    /// Whether the platform may write it: its `method` has a `W`.
    pub fn is_writable(&self) -> bool {
        self.method.contains('W')
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum ServiceOption {
    Master,
    Mandatory,
    #[default]
    Optional,
}

/// The data types of the v5 API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DataType {
    #[serde(rename = "int")]
    Int,
    #[serde(rename = "long")]
    Long,
    #[serde(rename = "decimal")]
    Decimal,
    #[serde(rename = "string")]
    String,
    DateTime,
    #[serde(rename = "jsonObject")]
    JsonObject,
    #[serde(rename = "enum")]
    Enum,
    #[serde(rename = "boolean")]
    Boolean,
    #[serde(rename = "string list")]
    StringList,
}

/// `ServiceProperty` of the v5 API. `min` and `max` are decimal numbers in text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Property {
    pub property_name: String,
    pub data_type: DataType,
    #[serde(default)]
    pub required: bool,
    #[serde(default)]
    pub enum_list: Option<Vec<String>>,
    #[serde(default)]
    pub min: Option<String>,
    #[serde(default)]
    pub max: Option<String>,
    #[serde(default)]
    pub max_length: Option<u32>,
    #[serde(default)]
    pub step: Option<f64>,
    #[serde(default)]
    pub unit: Option<String>,
    pub method: String,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default)]
    pub default_value: Option<Value>,
}

/// `ServiceCommand` of the v5 API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Command {
    pub command_name: String,
    #[serde(default)]
    pub paras: Vec<Para>,
    #[serde(default)]
    pub responses: Vec<Response>,
}

/// `ServiceCommandPara` of the v5 API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Para {
    pub para_name: String,
    pub data_type: DataType,
    #[serde(default)]
    pub required: bool,
    #[serde(default)]
    pub enum_list: Option<Vec<String>>,
    #[serde(default)]
    pub min: Option<String>,
    #[serde(default)]
    pub max: Option<String>,
    #[serde(default)]
    pub max_length: Option<u32>,
    #[serde(default)]
    pub step: Option<f64>,
    #[serde(default)]
    pub unit: Option<String>,
    #[serde(default)]
    pub description: Option<String>,
}

/// `ServiceCommandResponse` of the v5 API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    pub response_name: String,
    #[serde(default)]
    pub paras: Vec<Para>,
}

/// `ServiceEvent` of the v5 API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    pub event_type: String,
    #[serde(default)]
    pub paras: Vec<Para>,
}
