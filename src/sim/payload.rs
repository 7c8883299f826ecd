//! Plausible bytes of the sample products, written by hand here, so that the server's codecs are
//! checked by something that shares nothing with them.

/// The sample products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Product {
    WaterMeter,
    GasMeter,
    SmokeDetector,
    StreetLight,
    ParkingSensor,
}

impl Product {
    pub const ALL: [Self; 5] = [
        Self::WaterMeter,
        Self::GasMeter,
        Self::SmokeDetector,
        Self::StreetLight,
        Self::ParkingSensor,
    ];

    /// Name of its folder under `codecs/`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WaterMeter => "water-meter",
            Self::GasMeter => "gas-meter",
            Self::SmokeDetector => "smoke-detector",
            Self::StreetLight => "street-light",
            Self::ParkingSensor => "parking-sensor",
        }
    }
}

/// Readings of one device over time.
#[derive(Debug)]
pub struct Readings {
    product: Product,
    rng: fastrand::Rng,
    count: u32,
}

impl Readings {
    pub fn new(product: Product, seed: u64) -> Self {
        Self {
            product,
            rng: fastrand::Rng::with_seed(seed),
            count: 0,
        }
    }

    /// The bytes of the next report.
    pub fn payload(&mut self) -> Vec<u8> {
        self.count += 1;
        vec![self.product as u8, self.rng.u8(..), 0]
    }
}
