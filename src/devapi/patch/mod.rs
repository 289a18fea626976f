//! Patches that need the schema. Merge and JSON patches are the json-patch crate's.

pub(crate) mod strategic;
