# SPDX-License-Identifier: GPL-2.0-or-later
"""The reports of a mount, as a test asks for them.

report.py get MNT EXPR          prints the value of a Python expression as JSON; s is status.json,
                                f("path") the object of an open file, t s["total"]
report.py names MNT             every name of the contract is there and of its type, in the mount and
                                in each of its files; prints how many files
report.py metrics MNT           parses metrics as OpenMetrics and compares it with status.json;
                                prints how many samples. 77: no parser here
report.py sample MNT NAME [PATH]  prints the value of a sample, of the mount or of a file
report.py hold FILE FLAG...     opens FILE with os.FLAG..., prints "ready", ends with its stdin
report.py many MNT COUNT        opens COUNT new files, prints "ready", ends with its stdin
report.py every MNT             opens every file in MNT, prints "ready", ends with its stdin
report.py storm MNT SECONDS     files come and go while reports are read and checked by two; prints
                                how many reports
Exit status: 0, or 1 with a line on stderr.
"""
import json
import os
import sys
import threading
import time

NUMBER, TEXT, FLAG, LIST, OBJECT, REAL, NONE = int, str, bool, list, dict, float, type(None)
SWITCHES = {"direct": FLAG, "writeback": FLAG, "no_flush": FLAG}
COUNTS = {name: NUMBER for name in (
    "read_bytes", "write_bytes", "flushes_received", "flushes_honoured", "flushes_dropped",
    "opens_total", "opens_direct", "opens_sync", "page_cache_requests", "unaligned_reads",
    "unaligned_writes", "rmw_writes", "rmw_nsec", "reads", "writes")}
COUNTS.update(flush_seconds=REAL, read_seconds=REAL, write_seconds=REAL)
MOUNT = dict(version=TEXT, source=TEXT, mountpoint=TEXT, transport=TEXT, engine=TEXT, recover=FLAG,
             supervisor_pid=NUMBER, worker_pid=NUMBER, worker_restarts=NUMBER, upgrades=NUMBER,
             requests_resent=NUMBER, last_death=(OBJECT, NONE), files=LIST,
             options=TEXT, mode=TEXT, switches=SWITCHES, rules=NUMBER, sync_error=(TEXT, NONE),
             total=COUNTS)
FILE = dict(COUNTS, path=TEXT, mode=TEXT, switches=SWITCHES, origin=TEXT, pending=(OBJECT, NONE),
            opens=NUMBER, writers=NUMBER, kernel_path=FLAG, kernel_path_reason=TEXT, deleted=FLAG,
            direct_align=NUMBER, size=(NUMBER, NONE), cached_bytes=(NUMBER, NONE),
            dirty_bytes=(NUMBER, NONE), writeback_bytes=(NUMBER, NONE), error=(TEXT, NONE),
            flushing=FLAG, tainted=FLAG, checkpoint_age_s=(NUMBER, NONE), clients=LIST, clients_total=NUMBER)
CLIENT = dict(opened_by_pid=NUMBER, comm=TEXT, flags=TEXT, kernel_path=FLAG)


def die(text):
    print("report.py: " + text, file=sys.stderr)
    sys.exit(1)


def read(mnt, name):
    with open(f"{mnt}/.cachefs/{name}", "rb") as f:
        return f.read().decode()


def status(mnt):
    return json.loads(read(mnt, "status.json"))


def file_of(s, path):
    found = [f for f in s["files"] if f["path"] == path]
    if len(found) != 1:
        die(f"{len(found)} files at {path!r}, not 1; there are {[f['path'] for f in s['files']]}")
    return found[0]


def check_names(what, names, where):
    for name, kind in names.items():
        if name not in what:
            raise ValueError(f"{where}: no {name}")
        value = what[name]
        if isinstance(kind, dict):
            check_names(value, kind, f"{where}.{name}")
        elif isinstance(value, bool) != (kind is FLAG) or not isinstance(value, kind):
            raise ValueError(f"{where}.{name}: {value!r}")
    for name in what:
        if name not in names:
            raise ValueError(f"{where}: {name} is unknown")


def check_status(s):
    check_names(s, MOUNT, "mount")
    for f in s["files"]:
        check_names(f, FILE, f["path"])
        if f["origin"] not in ("runtime", "stored", "rule", "mount"):
            raise ValueError(f"origin {f['origin']!r}")
        if f["flushes_received"] < f["flushes_dropped"]:
            raise ValueError(f"{f['path']}: {f['flushes_dropped']} flushes dropped of fewer")
        for c in f["clients"]:
            check_names(c, CLIENT, f["path"])
        if len(f["clients"]) != min(f["opens"], 64) or f["clients_total"] != f["opens"]:
            raise ValueError(f"{f['path']}: {f['opens']} opens, {len(f['clients'])} clients")
        if f["writers"] > f["opens"]:
            raise ValueError(f"{f['path']}: more writers than opens")
    return len(s["files"])


def parser():
    try:
        from prometheus_client.openmetrics.parser import text_string_to_metric_families
    except ImportError:
        print("no Python module prometheus_client")
        sys.exit(77)
    return text_string_to_metric_families


def samples(mnt, parse):
    return [sample for family in parse(read(mnt, "metrics")) for sample in family.samples]


def value(all_samples, name, path):
    found = [s.value for s in all_samples if s.name == name and s.labels.get("path") == path]
    if len(found) != 1:
        die(f"{len(found)} samples {name} of {path!r}, not 1")
    return found[0]


# Nothing may happen on the mount meanwhile, but for our own reading. ValueError: they differ.
def compare(mnt):
    parse = parser()
    s, m = status(mnt), samples(mnt, parse)
    files = [x.labels["path"] for x in m if x.name == "cachefs_file_info"]
    if sorted(files) != sorted(f["path"] for f in s["files"]):
        raise ValueError(f"metrics have files {files}")
    for f in [s["total"]] + s["files"]:
        path, scope = f.get("path"), "file" if "path" in f else "mount"
        for name in COUNTS:
            if not name.endswith("_nsec") and COUNTS[name] is NUMBER and name not in ("reads", "writes"):
                got = value(m, f"cachefs_{scope}_{name.removesuffix('_total')}_total", path)
                if got != f[name]:
                    raise ValueError(f"{path}: {name} is {f[name]}, and {got} in metrics")
        for name in ("reads", "writes"):
            if f[name] and value(m, f"cachefs_{scope}_{name[:-1]}_seconds_count", path) != f[name]:
                raise ValueError(f"{path}: another number of {name} in metrics")
    for f in s["files"]:
        for name in ("size", "cached", "dirty", "writeback"):
            key = name if name == "size" else name + "_bytes"
            if f[key] is not None and value(m, f"cachefs_file_{name}_bytes", f["path"]) != f[key]:
                raise ValueError(f"{f['path']}: {key} is {f[key]}, not so in metrics")
    return len(m)


def compare_patiently(mnt):
    """What happens by itself, as a RELEASE or the kernel's write-back, may come between the two."""
    for _ in range(20):
        try:
            return compare(mnt)
        except ValueError as e:
            last = e
            time.sleep(0.2)
    raise last


def wait_stdin():
    print("ready", flush=True)
    sys.stdin.read()


class Storm:
    """Files that are there all the time must be in each report, whatever others come and go."""
    STEADY = 20

    def __init__(self, mnt, seconds):
        self.mnt, self.end, self.failed, self.reports = mnt, time.time() + seconds, [], 0
        self.steady = [open(f"{mnt}/steady{i}", "wb", buffering=0) for i in range(self.STEADY)]

    def run(self, work):
        try:
            while time.time() < self.end and not self.failed:
                work()
        except BaseException as e:  # also SystemExit: a thread's would be lost
            self.failed.append(f"{work.__name__}: {e!r}")

    def churn(self):
        name = f"{self.mnt}/churn{threading.get_ident()}"
        with open(name, "wb", buffering=0) as f:
            f.write(b"x" * 5000)
            os.rename(name, name + ".renamed")
            os.fsync(f.fileno())
            os.unlink(name + ".renamed")
            f.write(b"y")

    def look(self):
        s = status(self.mnt)
        check_status(s)
        paths = {f["path"] for f in s["files"]}
        missing = [i for i in range(self.STEADY) if f"steady{i}" not in paths]
        if missing:
            raise ValueError(f"missing: {missing}")
        for name, last in list(self.last.items()):
            if s["total"][name] < last:
                raise ValueError(f"total {name} went from {last} to {s['total'][name]}")
            self.last[name] = s["total"][name]
        self.reports += 1

    def measure(self):
        if not read(self.mnt, "metrics").endswith("# EOF\n"):
            raise ValueError("metrics are not complete")
        self.reports += 1

    def go(self):
        self.last = {name: 0 for name in COUNTS}
        threads = [threading.Thread(target=self.run, args=(work,))
                   for work in (self.churn, self.churn, self.churn, self.look, self.measure)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        if self.failed:
            die(self.failed[0])
        return self.reports


def main(verb, target, *args):
    if verb == "get":
        s = status(target)
        print(json.dumps(eval(args[0], {"s": s, "t": s["total"], "f": lambda p: file_of(s, p)})))
    elif verb == "names":
        print(check_status(status(target)))
    elif verb == "metrics":
        print(compare_patiently(target))
    elif verb == "sample":
        print("%g" % value(samples(target, parser()), args[0], args[1] if args[1:] else None))
    elif verb == "hold":
        os.open(target, sum({getattr(os, flag) for flag in args}), 0o600)
        wait_stdin()
    elif verb == "many":
        files = [open(f"{target}/many{i:04}", "wb", buffering=0) for i in range(int(args[0]))]
        for f in files:
            f.write(b"x" * 4096)
        wait_stdin()
    elif verb == "every":
        files = [open(os.fsencode(target) + b"/" + name) for name in os.listdir(os.fsencode(target))]
        wait_stdin()
    elif verb == "storm":
        print(Storm(target, float(args[0])).go())
    else:
        die(f"{verb}: no such verb")


try:
    main(*sys.argv[1:])
except (OSError, ValueError) as e:
    die(str(e))
