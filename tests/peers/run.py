#!/usr/bin/env python3
"""Our sync beside the tools that people use, on one simulated account. See README.md.

    tests/peers/run.py [--work FOLDER] [--bin FOLDER] [--records N] [--only SETTING] [--seed N]
"""

import argparse
import collections
import json
import os
import pathlib
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TAP, CLIENT = "tap-pipedrive==2.1.0", "pipedrive@33.7.0"
TOKEN = "sim-0000000000000000000000000000000000000001"

# Ours, by the tap's names where they differ; version and path of the list; what names a row.
ENTITIES = {
    "currencies": ("v1/currencies", "id"), "activity_types": ("v1/activityTypes", "id"),
    "stages": ("api/v2/stages", "id"), "filters": ("v1/filters", "id"), "pipelines": ("api/v2/pipelines", "id"),
    "notes": ("v1/notes", "id"), "users": ("v1/users", "id"), "activities": ("api/v2/activities", "id"),
    "deals": ("api/v2/deals", "id"), "files": ("v1/files", "id"), "organizations": ("api/v2/organizations", "id"),
    "persons": ("api/v2/persons", "id"), "products": ("api/v2/products", "id"),
    "deal_fields": ("api/v2/dealFields", "field_code"),
}
TAP_NAMES = {"currency": "currencies"}

# Latency of 20-60 ms, half of it before a request is counted and half after.
FAR = {"latency_before_ms": [10, 30], "latency_after_ms": [10, 30]}
# Plan, seats, faults: enough seats that the day is no bound, for then every tool would only wait for it.
SETTINGS = {
    "near": ("premium", 10, "none"),
    "far": ("premium", 10, FAR),
    "far, Lite": ("lite", 30, FAR),
    "faults": ("premium", 10, "default"),
}


def run(command, **options):
    return subprocess.run([str(part) for part in command], check=True, **options)


def install(work):
    """The peers as their users install them, into a folder of their own."""
    python, node = work / "py", work / "node"
    if not (python / "bin" / "python").exists():
        run([sys.executable, "-m", "venv", python])
        run([python / "bin" / "pip", "install", "--quiet", TAP])
    if not (node / "node_modules" / "pipedrive").exists():
        node.mkdir(parents=True, exist_ok=True)
        (node / "package.json").write_text('{"private": true}')
        run(["npm", "install", "--silent", "--no-audit", "--no-fund", CLIENT], cwd=node)
    return python / "bin" / "python", node


class Account:
    """One simulated account in a process of its own."""

    def __init__(self, sim, args, plan, seats, faults, work):
        settings = work / "sim.toml"
        # The tap sends its token in the query of both versions.
        settings.write_text("api_token_query_on_v2 = true\n")
        command = [sim, "--listen", "127.0.0.1:0", "--records", args.records, "--seed", args.seed,
                   "--seats", seats, "--config", settings]
        command += ["--plan", plan] if plan else ["--no-limits"]
        self.process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().split()[1]
        body = faults if isinstance(faults, str) else json.dumps(faults)
        self.ask("/__sim/faults", body.encode())

    def ask(self, path, body=None):
        request = urllib.request.Request(self.url + path, data=body, headers={"x-api-token": TOKEN})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def rows(self, entity):
        """The names of all rows, read in a plain walk, for comparison only."""
        path, name = ENTITIES[entity]
        asked, found = {"limit": 100 if entity == "files" else 500}, []
        while True:
            answer = self.ask(f"/{path}?{urllib.parse.urlencode(asked)}")
            found += [str(row[name]) for row in answer["data"]]
            more = answer.get("additional_data") or {}
            if more.get("next_cursor"):
                asked["cursor"] = more["next_cursor"]
            elif more.get("pagination", {}).get("more_items_in_collection"):
                asked["start"] = more["pagination"]["next_start"]
            else:
                return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def tap_name(entity, row):
    """What names a row in version 2; the tap asks version 1 for fields, which has some by other names."""
    if entity != "deal_fields":
        return str(row["id"])
    return {"email": "emails", "phone": "phones", "label": "label_ids"}.get(row["key"], row["key"])


def tap(python, work, account):
    config = work / "tap.json"
    config.write_text(json.dumps({"api_token": TOKEN, "start_date": "2000-01-01T00:00:00Z"}))
    with open(work / "tap.out", "w") as out, open(work / "tap.log", "w") as log:
        command = [str(python), str(HERE / "tap.py"), account.url, str(config)]
        code = subprocess.run(command, stdout=out, stderr=log).returncode
    found = collections.defaultdict(list)
    for line in open(work / "tap.out"):
        message = json.loads(line)
        if message["type"] == "RECORD":
            entity = TAP_NAMES.get(message["stream"], message["stream"])
            found[entity].append(tap_name(entity, message["record"]))
    return code, found


def node(folder, page, work, account):
    with open(work / "node.out", "w") as out, open(work / "node.log", "w") as log:
        command = ["node", str(HERE / "node_loop.mjs"), account.url, TOKEN, str(page)]
        code = subprocess.run(command, cwd=folder, stdout=out, stderr=log).returncode
    found = collections.defaultdict(list)
    for line in open(work / "node.out"):
        message = json.loads(line)
        found[message["entity"]].append(str(message["row"][ENTITIES[message["entity"]][1]]))
    return code, found


def ours(program, work, account):
    database = work / "ours.sqlite"
    for old in work.glob("ours.sqlite*"):
        old.unlink()
    env = {**os.environ, "PIPEDRIVE_API_TOKEN": TOKEN, "PIPEDRIVE_COMPANY_DOMAIN": "acme"}
    command = [str(program), "sync", "--base-url", account.url, "--database", str(database), "--quiet",
               "--entity", ",".join(ENTITIES)]
    with open(work / "ours.log", "w") as log:
        code = subprocess.run(command, env=env, stdout=log, stderr=log).returncode
    found = {}
    with sqlite3.connect(database) as rows:
        for entity in ENTITIES:
            # Deleted deals are kept, and the list does not show them.
            shown = f"SELECT id FROM {entity} WHERE NOT is_deleted"
            found[entity] = [str(name) for (name,) in rows.execute(shown)]
    return code, found


def measure(account, tool):
    begun = time.monotonic()
    code, found = tool(account)
    seconds = time.monotonic() - begun
    truth = account.ask("/__sim/truth")
    return code, found, seconds, truth


def compare(expected, found):
    missed = doubled = 0
    for entity, names in expected.items():
        count = collections.Counter(found.get(entity, []))
        missed += sum(name not in count for name in names)
        doubled += sum(n - 1 for n in count.values())
    return missed, doubled


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=pathlib.Path, help="where the peers are installed, and stay")
    parser.add_argument("--bin", type=pathlib.Path, help="a folder with built pipedrive and saas-sim")
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=SETTINGS, action="append")
    args = parser.parse_args()
    temporary = None if args.work else tempfile.TemporaryDirectory()
    work = args.work or pathlib.Path(temporary.name)
    python, folder = install(work.resolve())
    if not args.bin:
        run(["cargo", "build", "--release", "-p", "saas-sim", "-p", "pipedrive-sync"], cwd=ROOT)
        args.bin = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
    sim, program = args.bin / "saas-sim", args.bin / "pipedrive"

    with Account(sim, args, None, 1, "none", work) as account:
        expected = {entity: account.rows(entity) for entity in ENTITIES}
    print(f"{sum(map(len, expected.values()))} rows in {len(expected)} streams; load {os.getloadavg()[0]:.1f}")

    tools = {
        "pipedrive sync": lambda account: ours(program, work, account),
        "tap-pipedrive 2.1": lambda account: tap(python, work, account),
        "Node 33.7, default page": lambda account: node(folder, 0, work, account),
        "Node 33.7, page of 500": lambda account: node(folder, 500, work, account),
    }
    worse = []
    for setting in args.only or SETTINGS:
        plan, seats, faults = SETTINGS[setting]
        print(f"\n### {setting}\n")
        print("| tool | requests | tokens | 429s | seconds | missed | doubled | ended | requests, tokens, time by ours |")
        print("| --- | --: | --: | --: | --: | --: | --: | --- | --- |")
        base = None
        for name, tool in tools.items():
            with Account(sim, args, plan, seats, faults, work) as account:
                code, found, seconds, truth = measure(account, tool)
            # Of the 429s, those that the limits caused, not a fault.
            refused = truth["refusals"]["burst"] + truth["refusals"]["day"]
            missed, doubled = compare(expected, found)
            got = (truth["requests"], truth["day"]["used_ever"], refused, seconds, missed, doubled)
            base = base or got
            ratios = ", ".join(f"{theirs / max(our, 1e-9):.2f}" for theirs, our in
                               zip((got[0], got[1], got[3]), (base[0], base[1], base[3])))
            ended = "well" if code == 0 else f"failed ({code})"
            print(f"| {name} | {got[0]} | {got[1]} | {refused} | {seconds:.1f} | {missed} | {doubled} "
                  f"| {ended} | {ratios} |", flush=True)
            names = ("requests", "tokens", "429s", "seconds", "missed", "doubled")
            lost = [n for n, our, theirs in zip(names, base, got) if our > theirs]
            # A tool that gave up has less of everything.
            worse += [f"{setting}: {', '.join(lost)} of {name}"] if lost and code == 0 and not missed else []
    print("\nours is worse nowhere" if not worse else "\nours is worse in\n  " + "\n  ".join(worse))
    sys.exit(any("missed" in line or "doubled" in line or "seconds" in line for line in worse))


if __name__ == "__main__":
    main()
