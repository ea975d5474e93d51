"""Temporary credentials: a role is taken on with its user's key, and what it may not is refused.

usage: sts.py URL URL URL, with the root's key in the environment
"""
import base64
import json
import os
import sys
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ACCOUNT = "000000000000"


def client(name, url, key=None):
    session = {} if key is None else dict(zip(("aws_access_key_id", "aws_secret_access_key", "aws_session_token"), key))
    return boto3.client(name, endpoint_url=url, region_name="us-east-1", config=Config(retries={"max_attempts": 1}), **session)


def access(url, command, **fields):
    root = base64.b64encode(f"{os.environ['AWS_ACCESS_KEY_ID']}:{os.environ['AWS_SECRET_ACCESS_KEY']}".encode()).decode()
    headers = {"authorization": f"Basic {root}", "content-type": "application/json"}
    request = urllib.request.Request(f"{url}/access/{command}", json.dumps(fields).encode(), headers)
    return json.load(urllib.request.urlopen(request)).get("data")


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error.response
        return
    raise SystemExit(f"{code} expected")


def policy(effect, action, **more):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": effect, "Action": action, **more}]})


def main():
    a, b, c = sys.argv[1:]
    assert client("sts", a).get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:root"
    access(a, "create-user", name="agent")
    key = access(b, "create-access-key", user="agent")
    key = (key["accessKeyId"], key["secretAccessKey"])
    user = f"arn:aws:iam::{ACCOUNT}:user/agent"
    assert client("sts", c, key).get_caller_identity()["Arn"] == user
    refused("AccessDeniedException", client("amp", c, key).list_workspaces)
    trust = policy("Allow", "sts:AssumeRole", Principal={"AWS": user})
    access(c, "create-role", name="lister", trust=trust)
    holder = {"kind": "role", "name": "lister"}
    access(a, "put-inline-policy", holder=holder, name="list", document=policy("Allow", "aps:ListWorkspaces", Resource="*"))
    role = {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/lister", "RoleSessionName": "s1"}
    granted = client("sts", b, key).assume_role(**role)
    assert granted["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/lister/s1", granted
    credentials = granted["Credentials"]
    session = (credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"])
    for url in (a, b, c):
        assert client("amp", url, session).list_workspaces()["workspaces"]
    refused("AccessDeniedException", client("amp", a, session).create_workspace, alias="x")
    forged = (session[0], session[1], session[2][:-8] + "AAAAAAA=")
    refused("UnrecognizedClientException", client("amp", a, forged).list_workspaces)
    access(b, "delete-role", name="lister")
    refused("UnrecognizedClientException", client("amp", b, session).list_workspaces)
    refused("AccessDenied", client("sts", b, key).assume_role, **role)
    print("ok")


main()
