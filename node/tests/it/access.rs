//! Who may do what, asked from outside: every route by every kind of principal.

use crate::amp;
use crate::local::Up;
use axum::routing::MethodFilter;
use node::http::routes::{self, Endpoint, Route, WorkspaceSource};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

const ROOT: (&str, &str) = ("root-key", "root-secret");

fn start(nodes: u16, dir: &tempfile::TempDir) -> Up {
    let flags = ["--auth", &format!("--root-access-key={}", ROOT.0), &format!("--root-secret-key={}", ROOT.1)];
    let mut up = Up::start_with(nodes, dir, &flags);
    up.wait_ready();
    up
}

/// Someone who asks.
enum Who {
    Nobody,
    Root,
    WrongSecret,
    UnknownToken,
    /// A token, and the actions that its policy allows on the one workspace or on everything.
    Token {
        token: String,
        actions: &'static [&'static str],
        is_everywhere: bool,
    },
}

impl Who {
    fn sign(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::Nobody => request,
            Self::Root => request.basic_auth(ROOT.0, Some(ROOT.1)),
            Self::WrongSecret => request.basic_auth(ROOT.0, Some("guessed")),
            Self::UnknownToken => request.bearer_auth("flt_unknown"),
            Self::Token { token, .. } => request.bearer_auth(token),
        }
    }

    fn may(&self, action: &str, is_own: bool) -> bool {
        match self {
            Self::Root => !["aps:RemoteWrite", "aps:WriteOtlp"].contains(&action),
            Self::Nobody | Self::WrongSecret | Self::UnknownToken => false,
            Self::Token { actions, is_everywhere, .. } => {
                (is_own || *is_everywhere)
                    && actions.iter().any(|allowed| *allowed == action || allowed.strip_suffix('*').is_some_and(|p| action.starts_with(p)))
            }
        }
    }
}

struct World {
    client: Client,
    url: String,
}

impl World {
    async fn access(&self, command: &str, fields: Value) -> Value {
        let request = self.client.post(format!("{}/access/{command}", self.url)).json(&fields);
        let answer = Who::Root.sign(request).send().await.unwrap();
        let (status, body) = (answer.status(), answer.json::<Value>().await.unwrap());
        assert_eq!(status, StatusCode::OK, "{command}: {body}");
        body["data"].clone()
    }

    async fn workspace(&self, alias: &str) -> String {
        let request = self.client.post(format!("{}/workspaces", self.url)).json(&json!({"alias": alias}));
        let answer: Value = Who::Root.sign(request).send().await.unwrap().json().await.unwrap();
        answer["workspaceId"].as_str().unwrap().to_owned()
    }

    /// A user with a policy of its own, and a token of that user.
    async fn user(&self, name: &str, actions: &'static [&'static str], resource: Value) -> Who {
        let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": resource}]});
        self.access("create-user", json!({"name": name})).await;
        let holder = json!({"kind": "user", "name": name});
        self.access("put-inline-policy", json!({"holder": holder, "name": "own", "document": policy.to_string()})).await;
        let token = self.access("create-token", json!({"user": name})).await["token"].as_str().unwrap().to_owned();
        Who::Token { token, actions, is_everywhere: resource == json!("*") }
    }

    async fn ask(&self, who: &Who, method: Method, path: &str) -> (StatusCode, String, String) {
        let answer = who.sign(self.client.request(method, format!("{}{path}", self.url))).send().await.unwrap();
        let kind = answer.headers().get("x-amzn-errortype").map(|kind| kind.to_str().unwrap().to_owned()).unwrap_or_default();
        (answer.status(), kind, answer.text().await.unwrap())
    }
}

fn methods(route: &Route) -> Vec<Method> {
    let all = [
        (MethodFilter::GET, Method::GET),
        (MethodFilter::POST, Method::POST),
        (MethodFilter::PUT, Method::PUT),
        (MethodFilter::PATCH, Method::PATCH),
        (MethodFilter::DELETE, Method::DELETE),
    ];
    let matching = all.into_iter().filter(|(filter, _)| format!("{:?}", route.methods.or(*filter)) == format!("{:?}", route.methods));
    matching.map(|(_, method)| method).collect()
}

fn path_of(route: &Route, workspace: &str) -> String {
    let arn = format!("arn:aws:aps:us-east-1:000000000000:workspace/{workspace}");
    let filled = route.path.replace("{workspace}", workspace).replace("{*resource}", &arn);
    ["name", "id", "scraper", "detector", "node", "shard", "command"]
        .iter()
        .fold(filled, |path, part| path.replace(&format!("{{{part}}}"), "7"))
}

/// What changes nothing if it may be done.
fn is_harmless(route: &Route, method: &Method) -> bool {
    *method == Method::GET || matches!(route.endpoint, Endpoint::Query | Endpoint::QueryRange | Endpoint::Series | Endpoint::Labels)
}

#[tokio::test]
async fn every_route_is_closed_to_whoever_may_not_and_open_to_whoever_may() {
    let dir = tempfile::tempdir().unwrap();
    let up = start(1, &dir);
    let world = World { client: Client::new(), url: up.urls()[0].clone() };
    let (own, other) = (world.workspace("own").await, world.workspace("other").await);
    let named = |resource: &str| format!("arn:aws:aps:us-east-1:000000000000:{resource}");
    let all = [format!("workspace/{own}"), format!("rulegroupsnamespace/{own}/*"), format!("anomalydetector/{own}/*")].map(|r| named(&r));
    let (arn, all) = (json!(all[0]), json!(all));
    let everyone = [
        Who::Nobody,
        Who::WrongSecret,
        Who::UnknownToken,
        Who::Root,
        world.user("writer", &["aps:RemoteWrite"], arn.clone()).await,
        world.user("reader", &["aps:QueryMetrics", "aps:GetLabels", "aps:GetSeries", "aps:GetMetricMetadata"], arn).await,
        world.user("owner", &["aps:*"], all).await,
        world.user("operator", &["flotilla:ReadCluster", "flotilla:ChangeCluster"], json!("*")).await,
        world.user("anyone", &["aps:*"], json!("*")).await,
    ];
    let (mut denied, mut allowed) = (0, 0);
    for route in routes::all() {
        if route.endpoint == Endpoint::Sts {
            continue;
        }
        let Some(action) = route.action else {
            let (status, ..) = world.ask(&Who::Nobody, Method::GET, route.path).await;
            assert_eq!(status, StatusCode::OK, "{} tells how the node is", route.path);
            continue;
        };
        let is_tag = route.path.starts_with("/tags/");
        for (workspace, is_own) in [(own.as_str(), true), (other.as_str(), false), ("ws-none", false)] {
            for method in methods(route) {
                for who in &everyone {
                    let path = path_of(route, workspace);
                    // Routes without a workspace in their path concern `default`, or none: nobody owns those.
                    let is_own = is_own && (route.workspace == WorkspaceSource::Path || is_tag);
                    let may = who.may(action.as_str(), is_own);
                    if may && !is_harmless(route, &method) {
                        continue;
                    }
                    let (status, kind, body) = world.ask(who, method.clone(), &path).await;
                    if may {
                        allowed += 1;
                        assert!(!matches!(status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED), "{method} {path}: {status} {body}");
                    } else {
                        denied += 1;
                        let expected = match who {
                            Who::Nobody => "MissingAuthenticationTokenException",
                            Who::WrongSecret | Who::UnknownToken => "UnrecognizedClientException",
                            _ => "AccessDeniedException",
                        };
                        assert_eq!((status, kind.as_str()), (StatusCode::FORBIDDEN, expected), "{method} {path}: {body}");
                    }
                }
            }
        }
    }
    assert!(denied > 1500 && allowed > 200, "{denied} denied, {allowed} allowed");
}

#[tokio::test]
async fn who_may_not_cannot_tell_whether_a_workspace_exists_and_what_is_revoked_is_closed_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let up = start(1, &dir);
    let world = World { client: Client::new(), url: up.urls()[0].clone() };
    let other = world.workspace("other").await;
    let reader = world.user("reader", &["aps:QueryMetrics"], json!("arn:aws:aps:*:*:workspace/ws-own")).await;
    let path = |id: &str| format!("/workspaces/{id}/api/v1/query?query=1");
    let (existing, missing) =
        (world.ask(&reader, Method::GET, &path(&other)).await, world.ask(&reader, Method::GET, &path("ws-none")).await);
    assert_eq!(existing.2.replace(&other, "ws-none"), missing.2);
    assert_eq!(
        world.ask(&reader, Method::GET, &path("ws-own")).await.0,
        StatusCode::NOT_FOUND,
        "one who may learns that it does not exist"
    );
    world.access("delete-user", json!({"name": "reader"})).await;
    assert_eq!(world.ask(&reader, Method::GET, &path("ws-own")).await.1, "UnrecognizedClientException");
    let shown = world.ask(&Who::Root, Method::GET, "/access").await.2;
    assert!(!shown.contains("sealed") && !shown.contains("hash"), "{shown}");
}

#[test]
#[ignore = "needs FLOTILLA_CLIENTS"]
fn boto3_signs_what_it_asks_and_is_let_in() {
    let dir = tempfile::tempdir().unwrap();
    let up = start(3, &dir);
    for script in ["amp_control.py", "amp_refused.py", "sts.py"] {
        amp::run(script, &up, &[("AWS_ACCESS_KEY_ID", ROOT.0), ("AWS_SECRET_ACCESS_KEY", ROOT.1)]);
    }
}
