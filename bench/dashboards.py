#!/usr/bin/env python3
"""Asks a Prometheus 2.42 and a Flotilla cluster that hold the same samples the same dashboard queries (dashboards.txt), and compares:
same series, same timestamps, values within 1e-9 relative.

    bench/dashboards.py --flotilla PATH --prometheus PATH --tsload PATH [--port 19600] [--nodes 3] [--hours 3] [--dir DIR]

Everything listens on 127.0.0.1 from --port on and ends with the script. No sample lies at a time at which a query is evaluated:
2.x and 3.x differ about a sample on the left edge of a window. Flotilla is asked three times, twice on one node, where the second answer
may come from its result cache, and once on another. Exit 1 if a query differs without a cause named in dashboards.txt, or fails.
"""
import argparse, json, os, shutil, signal, subprocess, sys, tempfile, time, urllib.error, urllib.parse, urllib.request

import dashboards_data

HERE = os.path.dirname(os.path.abspath(__file__))
TOLERANCE = 1e-9


def queries(path):
    """(text, instant, cause) of each line."""
    for line in open(path, encoding="utf-8"):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        text, _, cause = (part.strip() for part in line.partition("##"))
        instant = text.startswith("instant ")
        yield text.removeprefix("instant "), instant, cause


def wait(url, seconds=120):
    deadline = time.time() + seconds
    while time.time() < deadline:
        try:
            if urllib.request.urlopen(url, timeout=2).status == 200:
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"not ready: {url}")


def ask(base, text, instant, start, end, step):
    form = {"query": text, "time": end} if instant else {"query": text, "start": start, "end": end, "step": step}
    url = base + ("/api/v1/query" if instant else "/api/v1/query_range")
    try:
        answer = json.load(urllib.request.urlopen(url, urllib.parse.urlencode(form).encode(), timeout=120))
    except urllib.error.HTTPError as error:
        return {"error": json.load(error).get("error", str(error))}
    data = answer["data"]
    if data["resultType"] in ("scalar", "string"):
        return {"": [data["result"]]}
    return {json.dumps(r["metric"], sort_keys=True): r.get("values") or [r["value"]] for r in data["result"]}


def same(x, y):
    x, y = float(x), float(y)
    return x == y or (x != x and y != y) or abs(x - y) <= TOLERANCE * max(abs(x), abs(y))


def difference(reference, other):
    """What is different, or None."""
    if "error" in reference or "error" in other:
        return None if reference == other else f"errors: {reference.get('error')} | {other.get('error')}"
    if reference.keys() != other.keys():
        only = sorted(reference.keys() ^ other.keys())
        return f"{len(only)} series in one only, such as {only[0]}"
    for series, points in reference.items():
        if [p[0] for p in points] != [p[0] for p in other[series]]:
            return f"timestamps of {series}: {len(points)} and {len(other[series])}"
        for (t, x), (_, y) in zip(points, other[series]):
            if not same(x, y):
                return f"{series} at {t}: {x} and {y}"
    return None


class Servers:
    """Both servers, filled and ready."""

    def __init__(self, a, directory):
        self.processes = []
        self.log = open(os.path.join(directory, "log"), "ab")
        self.prometheus = f"http://127.0.0.1:{a.port}"
        first = a.port + 1
        self.flotilla = [f"http://127.0.0.1:{first + 2 * i}" for i in range(a.nodes)]
        self.start([a.prometheus, "--config.file=/dev/null", "--web.enable-remote-write-receiver", f"--storage.tsdb.path={directory}/prometheus",
                    f"--web.listen-address=127.0.0.1:{a.port}"])
        self.start([a.flotilla, "up", "--nodes", str(a.nodes), "--http-port", str(first), "--data", f"{directory}/flotilla",
                    "--limits.late-window=48h", "--self-metrics.interval=0", "--log.level=warn"])
        for base in [self.prometheus, *self.flotilla]:
            wait(base + "/-/ready")

    def start(self, command):
        self.processes.append(subprocess.Popen(command, stdout=self.log, stderr=self.log))

    def stop(self):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def fill(a, servers, directory, start, steps):
    profile = os.path.join(directory, "profile.json")
    with open(profile, "w") as f:
        json.dump(dashboards_data.profile(), f)
    for base in (servers.prometheus, servers.flotilla[0]):
        subprocess.run([a.tsload, "write", "--profile", profile, "--instances", str(a.clusters), "--start", str(start), "--steps", str(steps),
                        "--url", base + "/api/v1/write", "--connections", "2"], check=True, stdout=servers.log, stderr=servers.log)


def compare(servers, path, start, end, step):
    counts = {"equal": 0, "explained": 0, "DIFFERS": 0}
    points = empty = 0
    for i, (text, instant, cause) in enumerate(queries(path)):
        reference = ask(servers.prometheus, text, instant, start, end, step)
        nodes = len(servers.flotilla)
        found = None
        for node in (i % nodes, i % nodes, (i + 1) % nodes):
            found = found or difference(reference, ask(servers.flotilla[node], text, instant, start, end, step))
        verdict = "equal" if found is None else "explained" if cause else "DIFFERS"
        counts[verdict] += 1
        points += sum(map(len, reference.values())) if "error" not in reference else 0
        empty += not reference
        if not reference:
            print(f"note: no series on either side: {text}" if found is None else f"note: no series in the reference: {text}", flush=True)
        if found is None and cause:
            print(f"note: no difference any more although a cause is named: {text}", flush=True)
        elif found:
            print(f"{verdict}: {text}\n    {found}" + (f"\n    cause: {cause}" if cause else ""), flush=True)
    total = sum(counts.values())
    print(f"{total} queries, {points} points of the reference, {empty} answers without series: "
          + ", ".join(f"{n} {name}" for name, n in counts.items()))
    return counts["DIFFERS"] == 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--flotilla", default="flotilla")
    p.add_argument("--prometheus", default="prometheus", help="Prometheus 2.42")
    p.add_argument("--tsload", default="tsload")
    p.add_argument("--queries", default=os.path.join(HERE, "dashboards.txt"))
    p.add_argument("--port", type=int, default=19600)
    p.add_argument("--nodes", type=int, default=3)
    p.add_argument("--clusters", type=int, default=3)
    p.add_argument("--hours", type=float, default=3)
    p.add_argument("--dir")
    a = p.parse_args()
    directory = a.dir or tempfile.mkdtemp(prefix="dashboards-")
    os.makedirs(directory, exist_ok=True)
    interval, step = 15, 60
    steps = int(a.hours * 3600 / interval)
    # Samples at 7, 22, 37 and 52 s of each minute, the newest a little before now; queries at 30 s, off the grid of subqueries too.
    first = (int(time.time()) - 120 - steps * interval) // 60 * 60 + 7
    # Most windows lie within the data, where both versions extrapolate alike.
    start, end = first + 23 + 4200, first + 23 + ((steps - 1) * interval // 60 - 1) * 60
    servers = None
    try:
        servers = Servers(a, directory)
        fill(a, servers, directory, first, steps)
        sys.exit(0 if compare(servers, a.queries, start, end, step) else 1)
    finally:
        if servers:
            servers.stop()
        if not a.dir:
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
