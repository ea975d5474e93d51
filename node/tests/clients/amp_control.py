"""Every operation of AMP's control plane by an unmodified boto3, each object read back through other nodes than the one that made it.

usage: amp_control.py URL URL URL
"""
import json
import sys
import uuid

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

RULES = b"groups:\n- name: g\n  rules:\n  - record: a:b\n    expr: sum(a)\n"
OTHER_RULES = RULES + b"# changed \xc3\xa9\n"
ALERTS = b"alertmanager_config: |\n  route:\n    receiver: r\n  receivers:\n  - name: r\n"
LOGS = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/flotilla/a.b-c_d:*"


def client(url):
    config = Config(retries={"max_attempts": 2, "mode": "standard"}, region_name="us-east-1")
    return boto3.client("amp", endpoint_url=url, config=config)


class Refused:
    """Expects an AWS error of this code and status."""

    def __init__(self, code, status, **members):
        self.code, self.status, self.members = code, status, members

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        assert kind is not None and issubclass(kind, ClientError), f"{self.code} expected, got {error!r}"
        answer = error.response
        assert answer["Error"]["Code"] == self.code, answer
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == self.status, answer
        assert answer["ResponseMetadata"]["RequestId"], answer
        for name, value in self.members.items():
            assert answer.get(name) == value, (name, answer)
        return True


def everywhere(nodes, ask, check):
    """Every node gives the same answer at once, and it is right."""
    for node in nodes:
        answer = ask(node)
        answer.pop("ResponseMetadata")
        check(answer)


def workspaces(nodes):
    a, b, c = nodes
    token = str(uuid.uuid4())
    made = a.create_workspace(alias=" team-a ", tags={"team": "a"}, clientToken=token)
    assert made["status"]["statusCode"] == "ACTIVE" and made["ResponseMetadata"]["HTTPStatusCode"] == 202, made
    ws = made["workspaceId"]
    assert ws.startswith("ws-") and made["arn"] == f"arn:aws:aps:us-east-1:000000000000:workspace/{ws}", made
    assert b.create_workspace(alias=" team-a ", tags={"team": "a"}, clientToken=token)["workspaceId"] == ws, "the same token makes nothing new"
    with Refused("ConflictException", 409, resourceType="workspace"):
        c.create_workspace(alias="another", clientToken=token)

    def described(answer):
        workspace = answer["workspace"]
        assert workspace["alias"] == "team-a" and workspace["tags"] == {"team": "a"}, answer
        assert workspace["prometheusEndpoint"].endswith(f"/workspaces/{ws}/"), answer
        assert workspace["createdAt"].year >= 2024, answer

    everywhere(nodes, lambda n: n.describe_workspace(workspaceId=ws), described)
    a.get_waiter("workspace_active").wait(workspaceId=ws)
    assert b.update_workspace_alias(workspaceId=ws, alias="team-b")["ResponseMetadata"]["HTTPStatusCode"] == 204
    everywhere(nodes, lambda n: n.list_workspaces(alias="team-b"), lambda x: [w["workspaceId"] for w in x["workspaces"]] == [ws] or 1 / 0)
    with Refused("ValidationException", 400, reason="FIELD_VALIDATION_FAILED"):
        a.update_workspace_alias(workspaceId=ws, alias="x" * 101)
    with Refused("ResourceNotFoundException", 404, resourceType="workspace", resourceId="ws-none"):
        c.describe_workspace(workspaceId="ws-none")
    others = [b.create_workspace(alias=f"page-{i}")["workspaceId"] for i in range(3)]
    pages = list(c.get_paginator("list_workspaces").paginate(alias="page-", PaginationConfig={"PageSize": 2}))
    assert [len(p["workspaces"]) for p in pages] == [2, 1], pages
    for other in others:
        assert a.delete_workspace(workspaceId=other)["ResponseMetadata"]["HTTPStatusCode"] == 202
        c.get_waiter("workspace_deleted").wait(workspaceId=other)
    return ws, made["arn"]


def configuration(nodes, ws):
    a, b, c = nodes
    first = a.describe_workspace_configuration(workspaceId=ws)["workspaceConfiguration"]
    assert first["retentionPeriodInDays"] == 150 and first["limitsPerLabelSet"] == [] and first["status"]["statusCode"] == "ACTIVE", first
    limits = [{"labelSet": {"team": "a"}, "limits": {"maxSeries": 1000}}, {"labelSet": {}, "limits": {}}]
    b.update_workspace_configuration(workspaceId=ws, retentionPeriodInDays=30, limitsPerLabelSet=limits)
    c.update_workspace_configuration(workspaceId=ws, outOfOrderTimeWindowInSeconds=60, ruleQueryOffsetInSeconds=15)

    def check(answer):
        known = answer["workspaceConfiguration"]
        assert known["retentionPeriodInDays"] == 30 and known["limitsPerLabelSet"] == limits, known
        assert known["outOfOrderTimeWindowInSeconds"] == 60 and known["ruleQueryOffsetInSeconds"] == 15, known

    everywhere(nodes, lambda n: n.describe_workspace_configuration(workspaceId=ws), check)
    with Refused("ValidationException", 400):
        a.update_workspace_configuration(workspaceId=ws)
    with Refused("ValidationException", 400):
        a.update_workspace_configuration(workspaceId=ws, retentionPeriodInDays=10**6)


def definitions(nodes, ws):
    a, b, c = nodes
    made = a.create_rule_groups_namespace(workspaceId=ws, name="rules é", data=RULES, tags={"k": "v"})
    arn = f"arn:aws:aps:us-east-1:000000000000:rulegroupsnamespace/{ws}/rules é"
    assert (made["name"], made["arn"], made["tags"]) == ("rules é", arn, {"k": "v"}), made
    with Refused("ConflictException", 409, resourceType="rulegroupsnamespace"):
        b.create_rule_groups_namespace(workspaceId=ws, name="rules é", data=RULES)
    with Refused("ResourceNotFoundException", 404, resourceType="rulegroupsnamespace"):
        b.put_rule_groups_namespace(workspaceId=ws, name="none", data=RULES)
    with Refused("ValidationException", 400):
        b.create_rule_groups_namespace(workspaceId=ws, name="a/b", data=RULES)
    with Refused("ValidationException", 400):
        b.create_rule_groups_namespace(workspaceId=ws, name="bad", data=b"groups: [")
    b.put_rule_groups_namespace(workspaceId=ws, name="rules é", data=OTHER_RULES)

    def check(answer):
        known = answer["ruleGroupsNamespace"]
        assert known["data"] == OTHER_RULES and known["arn"] == arn and known["modifiedAt"] >= known["createdAt"], known

    everywhere(nodes, lambda n: n.describe_rule_groups_namespace(workspaceId=ws, name="rules é"), check)
    for i in range(3):
        c.create_rule_groups_namespace(workspaceId=ws, name=f"page{i}", data=RULES)
    pages = list(a.get_paginator("list_rule_groups_namespaces").paginate(workspaceId=ws, name="page", PaginationConfig={"PageSize": 2}))
    assert [[n["name"] for n in p["ruleGroupsNamespaces"]] for p in pages] == [["page0", "page1"], ["page2"]], pages
    a.delete_rule_groups_namespace(workspaceId=ws, name="page0")
    with Refused("ResourceNotFoundException", 404, resourceType="rulegroupsnamespace"):
        b.describe_rule_groups_namespace(workspaceId=ws, name="page0")

    with Refused("ResourceNotFoundException", 404):
        c.describe_alert_manager_definition(workspaceId=ws)
    a.create_alert_manager_definition(workspaceId=ws, data=ALERTS)
    with Refused("ConflictException", 409):
        b.create_alert_manager_definition(workspaceId=ws, data=ALERTS)
    b.put_alert_manager_definition(workspaceId=ws, data=ALERTS + b"\n")
    everywhere(
        nodes,
        lambda n: n.describe_alert_manager_definition(workspaceId=ws),
        lambda x: x["alertManagerDefinition"]["data"] == ALERTS + b"\n" or 1 / 0,
    )
    c.delete_alert_manager_definition(workspaceId=ws)
    with Refused("ResourceNotFoundException", 404):
        a.describe_alert_manager_definition(workspaceId=ws)
    return arn


def tags(nodes, resources):
    a, b, c = nodes
    for arn in resources:
        a.tag_resource(resourceArn=arn, tags={"x": "1", "y": "2"})
        everywhere(nodes, lambda n: n.list_tags_for_resource(resourceArn=arn), lambda t: {"x": "1", "y": "2"}.items() <= t["tags"].items() or 1 / 0)
        b.untag_resource(resourceArn=arn, tagKeys=["x", "y"])
        assert "x" not in c.list_tags_for_resource(resourceArn=arn)["tags"]
        with Refused("ValidationException", 400):
            c.tag_resource(resourceArn=arn, tags={"aws:x": "1"})
    with Refused("ServiceQuotaExceededException", 402, serviceCode="aps"):
        a.tag_resource(resourceArn=resources[0], tags={f"k{i}": "v" for i in range(50)})
    with Refused("ValidationException", 400):
        a.list_tags_for_resource(resourceArn="arn:aws:s3:::bucket")


def policies(nodes, ws, arn):
    a, b, c = nodes
    statement = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": ["aps:QueryMetrics"], "Resource": arn}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    with Refused("ResourceNotFoundException", 404):
        c.describe_resource_policy(workspaceId=ws)
    first = a.put_resource_policy(workspaceId=ws, policyDocument=document, revisionId="NO_POLICY")
    assert first["policyStatus"] == "ACTIVE", first
    with Refused("ConflictException", 409):
        b.put_resource_policy(workspaceId=ws, policyDocument=document, revisionId="NO_POLICY")

    def check(answer):
        assert answer["policyDocument"] == document and answer["revisionId"] == first["revisionId"], answer

    everywhere(nodes, lambda n: n.describe_resource_policy(workspaceId=ws), check)
    second = b.put_resource_policy(workspaceId=ws, policyDocument=document, revisionId=first["revisionId"])
    with Refused("ConflictException", 409):
        c.delete_resource_policy(workspaceId=ws, revisionId=first["revisionId"])
    c.delete_resource_policy(workspaceId=ws, revisionId=second["revisionId"])
    with Refused("ResourceNotFoundException", 404):
        a.describe_resource_policy(workspaceId=ws)


def logging(nodes, ws):
    a, b, c = nodes
    with Refused("ResourceNotFoundException", 404):
        a.describe_logging_configuration(workspaceId=ws)
    a.create_logging_configuration(workspaceId=ws, logGroupArn=LOGS)
    with Refused("ConflictException", 409):
        b.create_logging_configuration(workspaceId=ws, logGroupArn=LOGS)
    b.update_logging_configuration(workspaceId=ws, logGroupArn=LOGS.replace("a.b", "x"))
    everywhere(
        nodes,
        lambda n: n.describe_logging_configuration(workspaceId=ws),
        lambda x: x["loggingConfiguration"]["logGroupArn"] == LOGS.replace("a.b", "x") or 1 / 0,
    )
    c.delete_logging_configuration(workspaceId=ws)
    destinations = [{"cloudWatchLogs": {"logGroupArn": LOGS}, "filters": {"qspThreshold": 7}}]
    a.create_query_logging_configuration(workspaceId=ws, destinations=destinations)
    everywhere(
        nodes,
        lambda n: n.describe_query_logging_configuration(workspaceId=ws),
        lambda x: x["queryLoggingConfiguration"]["destinations"] == destinations or 1 / 0,
    )
    b.update_query_logging_configuration(workspaceId=ws, destinations=destinations)
    c.delete_query_logging_configuration(workspaceId=ws)
    with Refused("ResourceNotFoundException", 404):
        a.describe_query_logging_configuration(workspaceId=ws)
    with Refused("ValidationException", 400):
        a.create_logging_configuration(workspaceId=ws, logGroupArn="arn:aws:logs:us-east-1:1:log-group:x:*")


def scrapers(nodes):
    assert nodes[0].list_scrapers(filters={"status": ["ACTIVE"], "alias": ["a", "b"]})["scrapers"] == []
    assert b"scrape_configs" in nodes[1].get_default_scraper_configuration()["configuration"]
    with Refused("ValidationException", 400, reason="UNKNOWN_OPERATION"):
        nodes[2].describe_scraper(scraperId="s-1")


def main():
    nodes = [client(url) for url in sys.argv[1:]]
    ws, arn = workspaces(nodes)
    configuration(nodes, ws)
    namespace = definitions(nodes, ws)
    tags(nodes, [arn, namespace])
    policies(nodes, ws, arn)
    logging(nodes, ws)
    scrapers(nodes)
    nodes[1].delete_workspace(workspaceId=ws)
    with Refused("ResourceNotFoundException", 404, resourceType="workspace", resourceId=ws):
        nodes[2].describe_workspace(workspaceId=ws)
    print("ok")


main()
