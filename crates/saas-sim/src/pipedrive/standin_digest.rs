#[derive(Debug, Clone, serde::Serialize)]
#[allow(missing_docs)]
pub struct Digest {
    pub rows: u64,
    pub sha256: String,
}
