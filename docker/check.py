#!/usr/bin/env python3
"""Posts every panel's query of the provisioned dashboards, and what Grafana's data source asks on its own, to a running cluster.

    docker/check.py [http://127.0.0.1:9480]

Exit 1 if any answer is not a success. Panels without data are named: a cluster that has just started has no rates yet.
"""
import json, pathlib, sys, time, urllib.error, urllib.parse, urllib.request

BASE = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:9480"
SYSTEM = BASE + "/workspaces/system/api/v1"


def ask(url, form=None):
    data = urllib.parse.urlencode(form).encode() if form else None
    try:
        answer = json.load(urllib.request.urlopen(url, data, timeout=30))
    except urllib.error.HTTPError as e:
        return {"status": "error", "error": f"{e.code} {e.read().decode(errors='replace')}"}
    return answer


def main():
    now = time.time()
    failed = panels = 0
    for path in sorted((pathlib.Path(__file__).parent / "grafana").rglob("*.json")):
        for panel in json.loads(path.read_text()).get("panels", []):
            for target in panel.get("targets", []):
                query = target["expr"].replace("$__rate_interval", "1m").replace("$__range", "5m").replace("$workspace", ".*")
                answer = ask(SYSTEM + "/query_range", {"query": query, "start": now - 300, "end": now, "step": 15})
                rows = len(answer.get("data", {}).get("result", []))
                panels += 1
                failed += answer["status"] != "success"
                print(f"{answer['status']} {rows} series  {panel['title']}: {query} {answer.get('error', '')}")
    probes = [
        ("health check at 1970", BASE + "/api/v1/query", {"query": "1+1", "time": "4"}),
        ("build info", BASE + "/api/v1/status/buildinfo", None),
        ("label names", SYSTEM + "/labels", {"limit": "40000"}),
        ("label values", SYSTEM + "/label/job/values", None),
        ("series", SYSTEM + "/series", {"match[]": "up"}),
        ("metadata", SYSTEM + "/metadata", None),
    ]
    for name, url, form in probes:
        answer = ask(url, form)
        failed += answer["status"] != "success"
        print(f"{answer['status']}  {name}")
    print(f"{panels} panel queries and {len(probes)} probes, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
