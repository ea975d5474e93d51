"""What the scripts of this folder share: local processes that end with the script, and the comparison of two servers' answers."""
import json, signal, subprocess, time, urllib.error, urllib.parse, urllib.request

TOLERANCE = 1e-9


def wait_ready(base, seconds=120):
    """Waits until the server at `base` is ready."""
    deadline, last = time.time() + seconds, None
    while time.time() < deadline:
        try:
            if urllib.request.urlopen(base + "/-/ready", timeout=2).status == 200:
                return
        except urllib.error.HTTPError as error:
            last = error.read()
        except OSError as error:
            last = error
        time.sleep(0.05)
    raise SystemExit(f"not ready in {seconds} s: {base}: {last}")


class Processes:
    """Processes that write to one log; leaving the `with` block ends them, the last one started first."""

    def __init__(self, log):
        self.log, self.running = log, []

    def start(self, *command):
        self.running.append(subprocess.Popen([str(part) for part in command], stdout=self.log, stderr=self.log))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.running):
            process.send_signal(signal.SIGTERM)
        for process in self.running:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def ask(base, query, end, start=None, step=None):
    """The answer to an instant query at `end`, or to a range query if there is a start: {labels: [[t, value], ...]} or {"error": text}."""
    form = {"query": query, "time": end} if start is None else {"query": query, "start": start, "end": end, "step": step}
    url = base + ("/api/v1/query" if start is None else "/api/v1/query_range")
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
