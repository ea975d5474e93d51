//! Policies that every cluster has: AWS's under their names, and one to look without touching.

use super::{PolicyDocument, PolicyKind};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// What the ARNs of managed policies begin with.
pub const MANAGED_PREFIX: &str = "arn:aws:iam::aws:policy/";

const TEXTS: [(&str, &str); 4] = [
    ("AmazonPrometheusFullAccess", r#"{"Version":"2012-10-17","Statement":[{"Action":["aps:*"],"Effect":"Allow","Resource":"*"}]}"#),
    (
        "AmazonPrometheusQueryAccess",
        r#"{"Version":"2012-10-17","Statement":[{"Action":["aps:GetLabels","aps:GetMetricMetadata","aps:GetSeries","aps:QueryMetrics"],"Effect":"Allow","Resource":"*"}]}"#,
    ),
    (
        "AmazonPrometheusRemoteWriteAccess",
        r#"{"Version":"2012-10-17","Statement":[{"Action":["aps:RemoteWrite"],"Effect":"Allow","Resource":"*"}]}"#,
    ),
    (
        "FlotillaReadOnlyAccess",
        r#"{"Version":"2012-10-17","Statement":[{"Action":["aps:Describe*","aps:FormatQuery","aps:Get*","aps:List*","aps:ParseQuery","aps:Query*","aps:RemoteRead"],"Effect":"Allow","Resource":"*"}]}"#,
    ),
];

static DOCUMENTS: LazyLock<BTreeMap<&'static str, PolicyDocument>> = LazyLock::new(|| {
    let parse = |text| PolicyDocument::parse(PolicyKind::Identity, text).expect("managed policies are policies: a test reads them");
    TEXTS.iter().map(|(name, text)| (*name, parse(text))).collect()
});

/// The managed policy of that name, or of that ARN.
#[must_use]
pub fn managed(name: &str) -> Option<&'static PolicyDocument> {
    DOCUMENTS.get(name.strip_prefix(MANAGED_PREFIX).unwrap_or(name))
}

/// Their names, in order.
pub fn managed_names() -> impl Iterator<Item = &'static str> {
    TEXTS.iter().map(|(name, _)| *name)
}
