#!/usr/bin/env python3
"""Writes at full speed to all three nodes of a local cluster while nodes are killed with SIGKILL, one after another or all at once, and then
reads back on every node what was acknowledged, bit for bit.

    bench/kill.py --flotilla PATH --tsload PATH --profile FILE [--instances 10] [--steps 960] [--all]

Prints tsload's lines; exit 1 if a request failed for good or a sample is missing, wrong or was never sent.
"""
import argparse, json, os, pathlib, shutil, signal, subprocess, sys, tempfile, time

import local

PORT = 19680


def ready(port):
    local.wait_ready(f"http://127.0.0.1:{port}", 60)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--flotilla", default="flotilla")
    p.add_argument("--tsload", required=True)
    p.add_argument("--profile", required=True)
    p.add_argument("--instances", default="10")
    p.add_argument("--steps", type=int, default=960)
    p.add_argument("--every", default="23", help="check every Nth series on each node")
    p.add_argument("--all", action="store_true", help="kill all three at once instead of one after another")
    a = p.parse_args()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="kill-"))
    end = int(time.time()) // 60 * 60 - 60
    data = ["--profile", a.profile, "--instances", a.instances, "--start", str(end - a.steps * 15 + 7), "--steps", str(a.steps)]
    ports = [PORT, PORT + 2, PORT + 4]
    log = open(directory / "log", "ab")
    up = subprocess.Popen([a.flotilla, "up", "--nodes", "3", "--data", str(directory / "data"), "--http-port", str(PORT),
                           "--limits.late-window=24h", "--log.level=error"], stdout=log, stderr=log)
    failed = False
    try:
        for port in ports:
            ready(port)
        urls = ",".join(f"http://127.0.0.1:{port}/api/v1/write" for port in ports)
        acks = str(directory / "acks")
        write = subprocess.Popen([a.tsload, "write", *data, "--url", urls, "--connections", "6", "--acks", acks], stdout=subprocess.PIPE, text=True)
        kills, turn = 0, 0
        time.sleep(1)
        while write.poll() is None:
            victims = [1, 2, 3] if a.all else [turn % 3 + 1]
            for node in victims:
                os.kill(int((directory / "data" / f"node-{node}" / "pid").read_text()), signal.SIGKILL)
            kills += len(victims)
            turn += 1
            time.sleep(0.5)
            for node in victims:
                ready(ports[node - 1])
            time.sleep(1)
        written = json.loads(write.stdout.read())
        print(f"{kills} kills;", json.dumps(written), flush=True)
        failed |= written["samples_failed"] > 0 or kills == 0
        for port in ports:
            ready(port)
            verify = subprocess.run([a.tsload, "verify", *data, "--url", f"http://127.0.0.1:{port}/api/v1", "--every", a.every, "--acks", acks],
                                    capture_output=True, text=True)
            print(f"node on {port}:", verify.stdout.strip(), flush=True)
            failed |= verify.returncode != 0
    finally:
        up.send_signal(signal.SIGTERM)
        up.wait(60)
        if os.environ.get("KEEP") is None:
            shutil.rmtree(directory, ignore_errors=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
