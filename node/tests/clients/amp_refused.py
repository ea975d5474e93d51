"""What a signature does not cover, or covers wrongly, is refused by AWS's own names.

usage: amp_refused.py URL URL URL, with the root's key in the environment
"""
import datetime
import os
import sys

import boto3
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session

KEY, SECRET = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]


def send(request):
    answer = URLLib3Session().send(request.prepare())
    return answer.status_code, answer.headers.get("x-amzn-errortype")


def signed(url, secret=SECRET, service="aps", signer=SigV4Auth):
    request = AWSRequest(method="GET", url=url)
    signer(Credentials(KEY, secret), service, "eu-central-1").add_auth(request)
    return request


def main():
    url = sys.argv[2] + "/workspaces?maxResults=2"
    assert send(signed(url)) == (200, None)
    assert send(signed(url, signer=SigV4QueryAuth)) == (200, None)
    assert send(signed(url, secret="another")) == (403, "InvalidSignatureException")
    assert send(signed(url, service="s3")) == (403, "InvalidSignatureException")
    tampered = signed(url)
    tampered.url = url.replace("=2", "=3")
    assert send(tampered) == (403, "InvalidSignatureException")
    late = signed(url)
    stamp = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)
    late.headers.replace_header("X-Amz-Date", stamp.strftime("%Y%m%dT%H%M%SZ"))
    assert send(late) == (403, "InvalidSignatureException")
    body = AWSRequest(method="POST", url=sys.argv[1] + "/workspaces", data=b'{"alias":"a"}')
    SigV4Auth(Credentials(KEY, SECRET), "aps", "us-east-1").add_auth(body)
    body.data = b'{"alias":"b"}'
    assert send(body) == (403, "InvalidSignatureException")
    assert send(AWSRequest(method="GET", url=url)) == (403, "MissingAuthenticationTokenException")
    unknown = boto3.client("amp", endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id="AKNOBODY", aws_secret_access_key="x",
                           config=Config(retries={"max_attempts": 1}))
    try:
        unknown.list_workspaces()
        raise SystemExit("an unknown key was let in")
    except ClientError as error:
        assert error.response["Error"]["Code"] == "UnrecognizedClientException", error.response
    print("ok")


main()
