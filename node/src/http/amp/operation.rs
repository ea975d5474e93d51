//! AMP's operations and where they are reached.

use axum::routing::MethodFilter;

/// The path of a workspace.
macro_rules! w {
    ($suffix:literal) => {
        concat!("/workspaces/{workspace}", $suffix)
    };
}

macro_rules! operations {
    ($($operation:ident $method:ident $path:expr;)*) => {
        /// An operation, by AMP's name; its action is `aps:` and that name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum Operation {
            $($operation,)*
        }

        /// Every operation with its method and path.
        pub const ALL: &[(Operation, MethodFilter, &str)] = &[$((Operation::$operation, MethodFilter::$method, $path),)*];
    };
}

operations! {
    CreateWorkspace POST "/workspaces";
    ListWorkspaces GET "/workspaces";
    DescribeWorkspace GET w!("");
    DeleteWorkspace DELETE w!("");
    UpdateWorkspaceAlias POST w!("/alias");
    DescribeWorkspaceConfiguration GET w!("/configuration");
    UpdateWorkspaceConfiguration PATCH w!("/configuration");
    PutResourcePolicy PUT w!("/policy");
    DescribeResourcePolicy GET w!("/policy");
    DeleteResourcePolicy DELETE w!("/policy");
    ListTagsForResource GET "/tags/{*resource}";
    TagResource POST "/tags/{*resource}";
    UntagResource DELETE "/tags/{*resource}";
    CreateRuleGroupsNamespace POST w!("/rulegroupsnamespaces");
    ListRuleGroupsNamespaces GET w!("/rulegroupsnamespaces");
    PutRuleGroupsNamespace PUT w!("/rulegroupsnamespaces/{name}");
    DescribeRuleGroupsNamespace GET w!("/rulegroupsnamespaces/{name}");
    DeleteRuleGroupsNamespace DELETE w!("/rulegroupsnamespaces/{name}");
    CreateAlertManagerDefinition POST w!("/alertmanager/definition");
    PutAlertManagerDefinition PUT w!("/alertmanager/definition");
    DescribeAlertManagerDefinition GET w!("/alertmanager/definition");
    DeleteAlertManagerDefinition DELETE w!("/alertmanager/definition");
    CreateLoggingConfiguration POST w!("/logging");
    UpdateLoggingConfiguration PUT w!("/logging");
    DescribeLoggingConfiguration GET w!("/logging");
    DeleteLoggingConfiguration DELETE w!("/logging");
    CreateQueryLoggingConfiguration POST w!("/logging/query");
    UpdateQueryLoggingConfiguration PUT w!("/logging/query");
    DescribeQueryLoggingConfiguration GET w!("/logging/query");
    DeleteQueryLoggingConfiguration DELETE w!("/logging/query");
    ListScrapers GET "/scrapers";
    GetDefaultScraperConfiguration GET "/scraperconfiguration";
    CreateScraper POST "/scrapers";
    DescribeScraper GET "/scrapers/{scraper}";
    UpdateScraper PUT "/scrapers/{scraper}";
    DeleteScraper DELETE "/scrapers/{scraper}";
    DescribeScraperLoggingConfiguration GET "/scrapers/{scraper}/logging-configuration";
    UpdateScraperLoggingConfiguration PUT "/scrapers/{scraper}/logging-configuration";
    DeleteScraperLoggingConfiguration DELETE "/scrapers/{scraper}/logging-configuration";
    CreateAnomalyDetector POST w!("/anomalydetectors");
    ListAnomalyDetectors GET w!("/anomalydetectors");
    PutAnomalyDetector PUT w!("/anomalydetectors/{detector}");
    DescribeAnomalyDetector GET w!("/anomalydetectors/{detector}");
    DeleteAnomalyDetector DELETE w!("/anomalydetectors/{detector}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_of_amp_stands_once() {
        assert_eq!(ALL.len(), 44);
        for (i, (operation, method, path)) in ALL.iter().enumerate() {
            assert!(ALL.iter().skip(i + 1).all(|(_, m, p)| (m, p) != (method, path)), "{operation:?} shares its route");
        }
    }
}
