#!/usr/bin/env python3
"""Fills the disks of a local cluster, one node's first and then all, and shows that nothing acknowledged is lost.

    bench/full_disk.py --flotilla PATH --tsload PATH --profile FILE [--disk-mib 1024] [--min-free-mib 160] [--out-of-space]

Needs root: each node's data folder is an ext4 image of its own, mounted through a loop device.

By default the nodes keep their reserve (--storage.min-free) and no process may die:
  one full     the other two go on without refusing anything, and the full node still answers queries
  all full     writes run until they are refused with 503, and go on by themselves once there is room
With --out-of-space the reserve is switched off, so that the file system itself refuses: processes may stop, and start again once there
is room.
At the end every acknowledged sample is read back, bit for bit, on every node. One line per fact; exit 1 if one does not hold.
"""
import argparse, json, os, pathlib, shutil, signal, struct, subprocess, sys, tempfile, threading, time, urllib.error, urllib.request
from concurrent.futures import ThreadPoolExecutor

MIB = 1 << 20
STEP_S = 15


def run(*command):
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)


class Disk:
    """An image with a file system, mounted as one node's data folder."""

    def __init__(self, image, mount, mib):
        self.mount = mount
        self.filler = mount / "filler"
        with open(image, "wb") as f:
            f.truncate(mib * MIB)
        run("mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", image)
        mount.mkdir(parents=True)
        run("mount", "-o", "loop", image, mount)

    def free(self):
        stat = os.statvfs(self.mount)
        return stat.f_bavail * stat.f_frsize

    def fill_to(self, left):
        """Takes space until about `left` bytes are free; others may write meanwhile."""
        with open(self.filler, "ab") as f:
            while (excess := self.free() - left) > MIB // 4:
                try:
                    os.posix_fallocate(f.fileno(), os.fstat(f.fileno()).st_size, excess)
                except OSError:
                    time.sleep(0.05)

    def empty(self):
        self.filler.unlink(missing_ok=True)

    def unmount(self):
        subprocess.run(["umount", "-l", str(self.mount)], check=False)


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def write_body(series, at_ms):
    """A remote-write request of one sample each for `series` series, in snappy literals."""
    body = b""
    for n in range(series):
        labels = {"__name__": "full_disk_probe", "n": str(n)}
        one = b"".join(field(1, field(1, k.encode()) + field(2, v.encode())) for k, v in labels.items())
        body += field(1, one + field(2, b"\x09" + struct.pack("<d", 1.0) + b"\x10" + varint(at_ms)))
    out = varint(len(body))
    for at in range(0, len(body), 60):
        piece = body[at:at + 60]
        out += bytes([len(piece) - 1 << 2]) + piece
    return out


class Cluster:
    def __init__(self, args, directory):
        self.args, self.failed = args, False
        self.ports = [args.port + 2 * i for i in range(3)]
        data = directory / "data"
        self.disks = [Disk(directory / f"disk-{n}", data / f"node-{n}", args.disk_mib) for n in (1, 2, 3)]
        self.events = []
        self.log = open(directory / "log", "ab")
        min_free = 0 if args.out_of_space else args.min_free_mib * MIB
        self.up = subprocess.Popen(
            [args.flotilla, "up", "--nodes", "3", "--data", data, "--http-port", str(args.port), "--limits.late-window=48h",
             f"--storage.min-free={min_free}", "--storage.memory=128MiB", "--query.timeout=30s", "--log.level=info"],
            stdout=subprocess.PIPE, stderr=self.log, text=True)
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.up.stdout:
            self.events.append(line.strip())

    def deaths(self):
        return [line for line in self.events if "died" in line]

    def check(self, what, holds, detail=""):
        self.failed |= not holds
        print(f"{'ok    ' if holds else 'FAILED'} {what}{': ' if detail else ''}{detail}", flush=True)

    def wait_ready(self, seconds=90):
        deadline, missing = time.time() + seconds, {}
        while time.time() < deadline:
            missing = {port: answer for port in self.ports if (answer := self.get(port, "/-/ready"))[0] != 200}
            if not missing:
                return
            time.sleep(0.1)
        self.check("ready", False, str(missing))

    def get(self, port, path, seconds=60):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=seconds) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()
        except OSError as e:
            return 0, str(e)

    def write_probe(self, port):
        """Status of one write that meets every shard, and whether it tells when to come back."""
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/v1/write", write_body(64, int(time.time() * 1000)),
                                         {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, ""
        except urllib.error.HTTPError as e:
            return e.code, f"retry after {e.headers.get('Retry-After')} s: {e.read().decode().strip()}"
        except OSError as e:
            return 0, str(e)


    def write_probes(self, ports=None):
        """One write to each node, all at once: a node looks for a leader that takes it for a while before it refuses."""
        with ThreadPoolExecutor() as pool:
            return list(pool.map(self.write_probe, ports or self.ports))


class Load:
    """Slices of tsload's samples, one after another in time, each with the list of what was acknowledged."""

    def __init__(self, cluster, args, directory):
        self.cluster, self.args, self.directory = cluster, args, directory
        self.next_start = int(time.time()) // 60 * 60 - 36 * 3600
        self.slices = []

    def begin(self, retry_s):
        # Reading a slice back must not meet the next one's first samples.
        start, self.next_start = self.next_start, self.next_start + (self.args.steps + 4) * STEP_S
        acks = self.directory / f"acks-{len(self.slices)}"
        data = ["--profile", self.args.profile, "--instances", str(self.args.instances), "--start", str(start), "--steps", str(self.args.steps)]
        self.slices.append((data, acks))
        urls = ",".join(f"http://127.0.0.1:{port}/api/v1/write" for port in self.cluster.ports)
        return subprocess.Popen([self.args.tsload, "write", *data, "--url", urls, "--connections", "6", "--retry-s", str(retry_s), "--acks", acks],
                                stdout=subprocess.PIPE, text=True)

    @staticmethod
    def end(writing):
        return json.loads(writing.communicate()[0])

    def write(self, retry_s=60):
        return self.end(self.begin(retry_s))

    def verify(self, what, ports, last=None, every=None):
        for port in ports:
            began, sums, bad = time.time(), {}, []
            for data, acks in self.slices[-last:] if last else self.slices:
                done = subprocess.run([self.args.tsload, "verify", *data, "--url", f"http://127.0.0.1:{port}/api/v1", "--acks", acks,
                                       "--every", str(every or self.args.every)], capture_output=True, text=True)
                try:
                    found = json.loads(done.stdout)
                except ValueError:
                    found = {}
                bad += [done.stdout + done.stderr] if done.returncode else []
                for key, value in found.items():
                    if isinstance(value, int):
                        sums[key] = sums.get(key, 0) + value
            self.cluster.check(f"{what}, node on {port}", not bad, f"{json.dumps(sums)} in {time.time() - began:.1f} s {' '.join(bad)[:500]}")


def summary(written):
    return json.dumps({key: written[key] for key in ("samples_acked", "samples_failed", "requests_retried", "samples_per_s", "first_error")})


def one_full(cluster, load, args):
    full, port = cluster.disks[0], cluster.ports[0]
    full.fill_to(args.min_free_mib * MIB // 4)
    time.sleep(4)
    print(f"node on {port}: {full.free() // MIB} MiB left, reserve {args.min_free_mib} MiB", flush=True)
    written = load.write()
    cluster.check("one full: nothing failed for good", written["samples_failed"] == 0 and written["samples_acked"] > 0, summary(written))
    cluster.check("one full: the others take writes", all(status == 204 for status, _ in cluster.write_probes(cluster.ports[1:])))
    load.verify("one full: reads", cluster.ports, last=1, every=args.every * 20)
    full.empty()
    written = load.write()
    cluster.check("room again: nothing failed for good", written["samples_failed"] == 0, summary(written))
    time.sleep(3)
    load.verify("room again: reads", [port], last=2)


def all_full(cluster, load, args):
    for disk in cluster.disks:
        disk.fill_to((args.min_free_mib + args.nearly_mib) * MIB)
    print(f"all: {[disk.free() // MIB for disk in cluster.disks]} MiB left, reserve {args.min_free_mib} MiB", flush=True)
    writing, refused = load.begin(600), []
    deadline = time.time() + args.patience
    while not refused and time.time() < deadline:
        if writing.poll() is not None:
            cluster.check("filling up: nothing failed for good", load.end(writing)["samples_failed"] == 0)
            writing = load.begin(600)
        probes = cluster.write_probes()
        refused = probes if all(status == 503 for status, _ in probes) else []
        time.sleep(0.2)
    cluster.check("all full: writes are refused, to be repeated", bool(refused) and all("retry after 1" in text for _, text in refused), str(refused[:1]))
    for disk in cluster.disks:
        disk.fill_to(args.min_free_mib * MIB // 4)
    time.sleep(3)
    statuses, lows = set(), []
    for _ in range(2):
        statuses.update(status for status, _ in cluster.write_probes())
        lows.append([disk.free() // MIB for disk in cluster.disks])
    cluster.check("all full: no other answer than 503", statuses == {503}, f"{statuses}; MiB left {lows[-1]}")
    for port in cluster.ports:
        began = time.time()
        status, body = cluster.get(port, "/api/v1/query?query=count(full_disk_probe)")
        cluster.check(f"all full: node on {port} answers queries", status == 200 and '"64"' in body, f"{status} {body[:200]} in {time.time() - began:.1f} s")
    for disk in cluster.disks:
        disk.empty()
    began = time.time()
    while any(status != 204 for status, _ in cluster.write_probes()) and time.time() < began + 60:
        time.sleep(0.2)
    cluster.check("room again: every node takes writes", time.time() < began + 60, f"after {time.time() - began:.1f} s")
    written = load.end(writing)
    cluster.check("room again: the sender that was refused went on and lost nothing", written["samples_failed"] == 0, summary(written))


def out_of_space(cluster, load, args, disks, what):
    """The file system itself refuses: whatever a node does then, what was acknowledged stays."""
    for disk in disks:
        disk.fill_to(args.nearly_mib * MIB)
    writing, deadline = load.begin(600), time.time() + args.patience
    while min(disk.free() for disk in disks) > MIB and time.time() < deadline:
        if writing.poll() is not None:
            written = load.end(writing)
            cluster.check(f"{what}: nothing failed for good", written["samples_failed"] == 0, summary(written))
            writing = load.begin(600)
        time.sleep(0.1)
    cluster.check(f"{what}: no space is left", min(disk.free() for disk in disks) <= MIB, f"MiB left {[d.free() // MIB for d in cluster.disks]}")
    for disk in disks:
        disk.fill_to(0)
    time.sleep(args.hold)
    print(f"{what}: {len(cluster.deaths())} deaths so far: {cluster.deaths()[:2]}", flush=True)
    if len(disks) == 1:
        probes = cluster.write_probes(cluster.ports[1:])
        cluster.check(f"{what}: the others take writes", all(status == 204 for status, _ in probes), str(probes))
    for disk in disks:
        disk.empty()
    cluster.wait_ready()
    written = load.end(writing)
    cluster.check(f"{what}, room again: the sender went on and lost nothing", written["samples_failed"] == 0, summary(written))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--flotilla", default="flotilla")
    p.add_argument("--tsload", required=True)
    p.add_argument("--profile", required=True)
    p.add_argument("--port", type=int, default=19780)
    p.add_argument("--instances", type=int, default=10)
    p.add_argument("--steps", type=int, default=240, help="scrapes in each slice of the load")
    p.add_argument("--every", type=int, default=23, help="check every Nth series on each node")
    p.add_argument("--disk-mib", type=int, default=1024)
    p.add_argument("--min-free-mib", type=int, default=160)
    p.add_argument("--nearly-mib", type=int, default=32, help="room that a nearly full disk has, above the reserve")
    p.add_argument("--patience", type=int, default=180, help="seconds of writing until a disk must be full")
    p.add_argument("--hold", type=int, default=8, help="seconds for which no space is left")
    p.add_argument("--out-of-space", action="store_true", help="without a reserve")
    args = p.parse_args()
    if os.geteuid() != 0:
        sys.exit("mounting the nodes' disks needs root")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="full-disk-"))
    cluster = None
    try:
        cluster = Cluster(args, directory)
        load = Load(cluster, args, directory)
        cluster.wait_ready()
        written = load.write()
        cluster.check("room: nothing failed for good", written["samples_failed"] == 0, summary(written))
        if args.out_of_space:
            out_of_space(cluster, load, args, cluster.disks[:1], "one out of space")
            out_of_space(cluster, load, args, cluster.disks, "all out of space")
        else:
            one_full(cluster, load, args)
            all_full(cluster, load, args)
            cluster.check("no process died", not cluster.deaths(), str(cluster.deaths()))
        cluster.wait_ready()
        load.verify("every acknowledged sample is there", cluster.ports)
        for port in cluster.ports:
            broken = [line for line in cluster.get(port, "/metrics")[1].splitlines() if line.startswith("flotilla_invariant_violations_total") and not line.endswith(" 0")]
            cluster.check(f"no rule was broken, node on {port}", not broken, str(broken or ""))
    finally:
        if cluster:
            cluster.up.send_signal(signal.SIGTERM)
            cluster.check("stops gracefully", cluster.up.wait(60) == 0)
            for disk in cluster.disks:
                disk.unmount()
        if os.environ.get("KEEP") is None:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            print(directory)
    sys.exit(1 if cluster.failed else 0)


if __name__ == "__main__":
    main()
