//! In which form the client wants its answer.

use crate::failure::Failure;

/// A form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    /// Metadata only.
    Partial,
    Table,
    Yaml,
}

impl Form {
    /// The first form of an Accept header that is served.
    pub(super) fn of(header: &str) -> Result<Self, Failure> {
        if header.trim().is_empty() {
            return Ok(Self::Json);
        }
        header.split(',').find_map(one).ok_or_else(|| {
            Failure::new(
                406,
                "NotAcceptable",
                "only the following media types are accepted: application/json, application/yaml",
            )
        })
    }
}

fn one(range: &str) -> Option<Form> {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    let params: Vec<(&str, &str)> = parts.filter_map(|p| p.split_once('=')).collect();
    let param = |name: &str| params.iter().find(|(n, _)| *n == name).map_or("", |(_, v)| *v);
    let json = match media {
        "application/json" | "application/*" | "*/*" => true,
        "application/yaml" => false,
        _ => return None,
    };
    match (param("as"), json) {
        ("", true) => Some(Form::Json),
        ("", false) => Some(Form::Yaml),
        ("Table", true) if param("v") == "v1" => Some(Form::Table),
        ("PartialObjectMetadata" | "PartialObjectMetadataList", true) if param("v") == "v1" => {
            Some(Form::Partial)
        }
        _ => None,
    }
}

/// The version of aggregated discovery that the client takes, if it takes any.
pub(super) fn aggregated(header: &str) -> Option<&'static str> {
    header.split(',').find_map(|range| {
        let has = |p: &str| range.split(';').any(|part| part.trim() == p);
        if !has("as=APIGroupDiscoveryList") || !has("g=apidiscovery.k8s.io") {
            return None;
        }
        if has("v=v2") {
            Some("v2")
        } else if has("v=v2beta1") {
            Some("v2beta1")
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_served_form_is_taken() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;\
                       g=meta.k8s.io,application/json";
        assert_eq!(Form::of(kubectl), Ok(Form::Table));
        assert_eq!(Form::of("application/vnd.kubernetes.protobuf, */*"), Ok(Form::Json));
        let metadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        assert_eq!(Form::of(metadata), Ok(Form::Partial));
        assert_eq!(Form::of("application/yaml"), Ok(Form::Yaml));
        assert_eq!(Form::of("application/vnd.kubernetes.protobuf").map_err(|f| f.code), Err(406));
    }
}
