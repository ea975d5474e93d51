//! The control plane of workspaces: the REST operations of Amazon Managed Service for Prometheus, so that its clients work by changing
//! the endpoint. Everything is decided by the meta group, whichever node is asked, and done when it is answered.
//!
//! | module | holds |
//! |---|---|
//! | [`operation`] | the operations and their paths |
//! | [`error`] | refusals as AWS clients parse them |
//! | `input` | bodies, parameters and their limits |
//! | `shapes` | what answers are made of |
//! | `workspaces`, `tags`, `configuration`, `policy`, `definitions`, `logging`, `scrapers` | the operations |

mod configuration;
mod definitions;
pub mod error;
mod input;
mod logging;
pub mod operation;
mod policy;
mod scrapers;
mod shapes;
mod tags;
mod workspaces;

pub use error::ControlError;
pub use operation::Operation;

use crate::cluster::identity::random_hex;
use crate::node::Node;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request};
use axum::response::Response;
use input::Input;
use std::collections::HashMap;

/// Answers an operation; `path` holds the parts of the path that vary.
pub async fn answer(node: &Node, operation: Operation, path: &HashMap<String, String>, request: Request<Body>) -> Response {
    let result = match Input::read(path, request).await {
        Ok(input) => serve(node, operation, &input).await,
        Err(error) => Err(error),
    };
    let mut response = result.unwrap_or_else(ControlError::into_response);
    let id = HeaderValue::from_str(&random_hex()).unwrap_or_else(|_| HeaderValue::from_static("0"));
    response.headers_mut().insert(HeaderName::from_static("x-amzn-requestid"), id);
    response
}

async fn serve(node: &Node, operation: Operation, input: &Input) -> Result<Response, ControlError> {
    use Operation as O;
    match operation {
        O::CreateWorkspace => workspaces::create(node, input).await,
        O::ListWorkspaces => workspaces::list(node, input).await,
        O::DescribeWorkspace => workspaces::describe(node, input).await,
        O::DeleteWorkspace => workspaces::delete(node, input).await,
        O::UpdateWorkspaceAlias => workspaces::set_alias(node, input).await,
        O::DescribeWorkspaceConfiguration => configuration::describe(node, input).await,
        O::UpdateWorkspaceConfiguration => configuration::update(node, input).await,
        O::PutResourcePolicy => policy::put(node, input).await,
        O::DescribeResourcePolicy => policy::describe(node, input).await,
        O::DeleteResourcePolicy => policy::delete(node, input).await,
        O::ListTagsForResource => tags::list(node, input).await,
        O::TagResource => tags::add(node, input).await,
        O::UntagResource => tags::remove(node, input).await,
        O::CreateRuleGroupsNamespace => definitions::create_namespace(node, input).await,
        O::PutRuleGroupsNamespace => definitions::put_namespace(node, input).await,
        O::DescribeRuleGroupsNamespace => definitions::describe_namespace(node, input).await,
        O::ListRuleGroupsNamespaces => definitions::list_namespaces(node, input).await,
        O::DeleteRuleGroupsNamespace => definitions::delete_namespace(node, input).await,
        O::CreateAlertManagerDefinition => definitions::set_alert_manager(node, input, true).await,
        O::PutAlertManagerDefinition => definitions::set_alert_manager(node, input, false).await,
        O::DescribeAlertManagerDefinition => definitions::describe_alert_manager(node, input).await,
        O::DeleteAlertManagerDefinition => definitions::delete_alert_manager(node, input).await,
        O::CreateLoggingConfiguration => logging::set(node, input, true).await,
        O::UpdateLoggingConfiguration => logging::set(node, input, false).await,
        O::DescribeLoggingConfiguration => logging::describe(node, input).await,
        O::DeleteLoggingConfiguration => logging::delete(node, input, false).await,
        O::CreateQueryLoggingConfiguration => logging::set_query(node, input, true).await,
        O::UpdateQueryLoggingConfiguration => logging::set_query(node, input, false).await,
        O::DescribeQueryLoggingConfiguration => logging::describe_query(node, input).await,
        O::DeleteQueryLoggingConfiguration => logging::delete(node, input, true).await,
        O::ListScrapers => scrapers::list(input),
        O::GetDefaultScraperConfiguration => Ok(scrapers::default_configuration()),
        _ => Err(ControlError::unknown_operation(operation)),
    }
}
