#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""All attacks of vsoc-attacker at once, from two users, for a while, with a victim's rings timed.

    endure.py PROGRAMS passthrough|page-cache MINUTES
    endure.py PROGRAMS passthrough|page-cache each [NAME...]

PROGRAMS is the directory with vsocfs, vsoc-attacker and slow-pages. Needs root. The attackers are nice, so
that what they take of the processors by themselves is no attack. Says a line a minute, and at the end what
came of it; the status is 0 if every target was met. With `each` the attacks come one after the other, for
ten seconds, with a line for each.
"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

PROGRAMS, MODE = os.path.realpath(sys.argv[1]), sys.argv[2]
IS_EACH = sys.argv[3] == "each"
MINUTES = 0 if IS_EACH else float(sys.argv[3])
NAMES = sys.argv[4:]
ATTACKERS, VICTIM = (33, 34), 5
IS_PASSTHROUGH = MODE == "passthrough"
# Regions that have been used have their files, the bells of their ends and what listens to them; helpers are kept.
KEPT = 40
P99_LIMIT, MORE_LIMIT, MEMORY_LIMIT, END_LIMIT = 20.0, 100.0, 200 << 10, 5.0

LAYOUT = """{ regions: [
  { name: "manager", size: "1M", mode: "0666" },
  { name: "buffers", size: "1M", managed_by: "manager", mode: "0666" },
  { name: "top", size: "64K", mode: "0666" },
  { name: "mid", size: "64K", managed_by: "top", mode: "0666" },
  { name: "leaf", size: "64K", managed_by: "mid", mode: "0666" },
  { name: "victim", size: "64K", uid: 5, gid: 60, mode: "0600",
    peer: { uid: 5, gid: 60, mode: "0600" } },
%s ] }"""
OWN = """  { name: "own%d", size: "64K", uid: %d, gid: %d, mode: "0600",
    peer: { uid: %d, gid: %d, mode: "0600" } },"""

over = threading.Event()
rounds, failures = {}, []
lock = threading.Lock()


def as_user(user, nice=0):
    def change():
        os.setpgid(0, 0)
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        os.nice(nice)

    return change


def facts(path):
    with open(path) as file:
        return dict(line.rstrip("\n").split(" ", 1) for line in file)


class Slow:
    """A file system of an attacker whose pages do not come; a new one now and then."""

    def __init__(self, user):
        self.user, self.lock, self.used = user, threading.Lock(), 0
        self.directory = tempfile.mkdtemp(prefix="vsocfs-slow.")
        os.chmod(self.directory, 0o755)
        self.server = None

    def page(self):
        with self.lock:
            if self.used % 500 == 0:
                self.end()
                self.server = subprocess.Popen(
                    [PROGRAMS + "/slow-pages", str(self.user), self.directory],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                self.server.stdout.readline()
            self.used += 1
            return "%s/p%d" % (self.directory, self.used)

    def end(self):
        if self.server:
            self.server.kill()
            self.server.wait()
            subprocess.run(["umount", "--lazy", self.directory], check=False)
            self.server = None


def attack(name, user, seconds, *arguments):
    """One attack, ended after a while if it does not end by itself; whoever does not die is told of."""
    process = subprocess.Popen(
        [PROGRAMS + "/vsoc-attacker", *map(str, arguments)], preexec_fn=as_user(user, 19),
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.stdin.close()
    # Whoever has a slow page dies when that goes.
    threading.Thread(target=process.wait, daemon=True).start()
    with lock:
        rounds[name] = rounds.get(name, 0) + 1


def attacks(mount, store, user, slow):
    """Name, seconds, and a function that gives the arguments."""
    own = "%s/own%d" % (mount, user)
    ways = ["willneed", "readahead", "splice", "sendfile", "copy", "map", "aio", "uring", "uring-async"]
    listed = [
        ("slow-claims", 8, lambda: ["slow-claims", own + "/data"] + [slow.page() for _ in range(12)]),
        ("slow-claims of a manager", 8,
         lambda: ["slow-claims", mount + "/manager/data"] + [slow.page() for _ in range(12)]),
        ("nest", 10, lambda: ["nest", mount + "/mid/data", mount + "/leaf/data", 8000]),
        ("claim-sizes", 10, lambda: ["claim-sizes", mount + "/buffers/data", "write", 8000]),
        ("claim-sizes by times", 10, lambda: ["claim-sizes", mount + "/buffers/data", "times", 8000]),
        ("region-sizes", 10, lambda: ["region-sizes", mount, 8000]),
        ("pin-areas", 10, lambda: ["pin-areas", mount + "/buffers/data", user - 20, 8000]),
        ("keep-mapping", 6, lambda: ["keep-mapping", mount + "/buffers/data", slow.page()]),
        ("hold-lock", 8, lambda: ["hold-lock", own + "/data", slow.page(), 0x2000]),
        ("list", 8, lambda: ["list", mount + "/.vsocfs", slow.page()]),
        ("change", 8, lambda: ["change", mount + "/.vsocfs"]),
        ("idle", 15, lambda: ["idle", 3000, own + "/ivshmem", own + "/peer/ivshmem"]),
        ("flood", 10, lambda: ["flood", 8, own + "/ivshmem"]),
        ("bell", 10, lambda: ["bell", own + "/ivshmem"]),
        ("park", 10, lambda: ["park", own + "/doorbell", 500, 1 << 16]),
        ("park too much", 10, lambda: ["park", own + "/peer/doorbell", 50, 1 << 20]),
        ("grab regions", 15, lambda: ["grab", "regions", mount, 5000]),
        ("grab layouts", 10, lambda: ["grab", "files", mount + "/.vsocfs/layout", 20000]),
        ("grab listings", 10, lambda: ["grab", "files", mount, 20000]),
        ("grab readers", 10, lambda: ["grab", "files", own + "/doorbell", 20000]),
        ("grab nodes", 10, lambda: ["grab", "nodes", mount + "/buffers/data", 40000]),
        ("punch", 10, lambda: ["punch", "%s/own%d/data" % (store, user), 0x2000, 4, store]),
    ]
    for way in ways:
        for file in ("doorbell", "signal"):
            listed.append(("reads by " + way, 5, lambda way=way, file=file:
                           ["reads", way, "%s/%s" % (own, file), 20]))
    return listed


def repeat(name, user, seconds, arguments):
    while not over.is_set():
        try:
            attack(name, user, seconds, *arguments())
        except Exception as error:  # a harness that fails is no attack
            failures.append("%s: %s" % (name, error))
            over.wait(5)
        over.wait(0.2)


def try_each(mount, store, slows):
    """One attack after the other."""
    for listed in zip(*(attacks(mount, store, user, slows[user]) for user in ATTACKERS)):
        name = listed[0][0]
        if NAMES and not any(name.startswith(wanted) for wanted in NAMES):
            continue
        over.clear()
        threads = [threading.Thread(target=repeat, args=(name, user, *each[1:]))
                   for user, each in zip(ATTACKERS, listed)]
        for thread in threads:
            thread.start()
        print("%-26s %6d rounds, mean %7.3f, p99 %7.3f, worst %8.3f ms" % (
            name, *victim(mount, 10)[:4]), flush=True)
        over.set()
        for thread in threads:
            thread.join()


def clear(mount):
    """What attackers have made, and were killed before they removed it."""
    for name in os.listdir(mount):
        if os.stat(mount + "/" + name).st_uid in ATTACKERS and not name.startswith("own"):
            os.rmdir(mount + "/" + name)


def victim(mount, seconds):
    """Rounds, mean, p99 and worst in milliseconds."""
    output = subprocess.run(
        [PROGRAMS + "/vsoc-attacker", "victim", mount + "/victim", "10000000", str(seconds), "1000"],
        preexec_fn=as_user(VICTIM), stdout=subprocess.PIPE, text=True, timeout=seconds + 120).stdout
    numbers = output.split("\n")[-2].split()
    late = output.count("late")
    if len(numbers) != 4:
        raise RuntimeError("the victim: " + output[-500:])
    return int(numbers[0]), *(int(number) / 1000 for number in numbers[1:]), late


def start(mount, log, *arguments):
    os.makedirs(mount)
    daemon = subprocess.Popen(
        [PROGRAMS + "/vsocfs", "-f", "-o", "mode=0666,passthrough=" + ("on" if IS_PASSTHROUGH else "off"),
         *arguments, mount], stdout=log, stderr=log)
    for _ in range(200):
        if os.path.ismount(mount):
            time.sleep(0.5)
            return daemon
        time.sleep(0.1)
    raise RuntimeError("not mounted")


def memory(pid):
    with open("/proc/%d/status" % pid) as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def descriptors(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


def main():
    scratch = tempfile.mkdtemp(prefix="vsocfs-endure.")
    os.chmod(scratch, 0o755)
    mount, store, disk = scratch + "/mnt", scratch + "/stored", scratch + "/disk"
    owns = "\n".join(OWN % ((user,) * 5) for user in ATTACKERS)
    with open(scratch + "/layout.json5", "w") as file:
        file.write(LAYOUT % owns)
    with open(scratch + "/stored.json5", "w") as file:
        file.write("{ regions: [ %s ] }" % owns)
    os.mkdir(disk)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16M", "none", disk], check=True)
    log = open(scratch + "/log", "w")
    daemons = [start(mount, log, "--layout", scratch + "/layout.json5"),
               start(store, log, "--layout", scratch + "/stored.json5", "--store", disk + "/store")]
    daemon = daemons[0]
    print("undisturbed: %d rounds, mean %.3f, p99 %.3f, worst %.3f ms" % victim(mount, 20)[:4], flush=True)
    quiet = victim(mount, 10)
    before = descriptors(daemon.pid), memory(daemon.pid)
    slows = {user: Slow(user) for user in ATTACKERS}
    if IS_EACH:
        try_each(mount, store, slows)
    for user in () if IS_EACH else ATTACKERS:
        for listed in attacks(mount, store, user, slows[user]):
            threading.Thread(target=repeat, args=(listed[0], user, *listed[1:]), daemon=True).start()
    worst, p99s, most, total, late = 0.0, [], 0, 0, 0
    finish = time.monotonic() + MINUTES * 60
    try:
        while time.monotonic() < finish:
            left = min(60, max(1, int(finish - time.monotonic())))
            count, mean, p99, high, slow_ones = victim(mount, left)
            worst, total, late = max(worst, high), total + count, late + slow_ones
            p99s.append(p99)
            most = max(most, memory(daemon.pid))
            print("%d rounds, mean %.3f, p99 %.3f, worst %.3f ms; %d MB, %d descriptors, alive %s" % (
                count, mean, p99, high, memory(daemon.pid) >> 10, descriptors(daemon.pid),
                [each.poll() is None for each in daemons]), flush=True)
            for each in daemons:
                if each.poll() is not None:
                    raise RuntimeError("a daemon has ended: %s" % each.poll())
    except Exception as error:
        failures.append(str(error))
    over.set()
    time.sleep(0 if IS_EACH else 16)
    for slow in slows.values():
        slow.end()
    after, deadline = None, time.monotonic() + 60
    try:
        clear(mount)
    except OSError as error:
        failures.append("clear: %s" % error)
    while time.monotonic() < deadline:
        after = descriptors(daemon.pid) if daemon.poll() is None else -1
        if after <= before[0] + KEPT:
            break
        time.sleep(1)
    try:
        print("stats afterwards:", {key: value for key, value in facts(mount + "/.vsocfs/stats").items()
                                    if key in ("regions", "open_files", "permissions", "managed_nodes",
                                               "peers_vm", "waiting_calls", "futex_threads")})
    except OSError as error:
        failures.append("stats: %s" % error)
    for each, place in zip(daemons, (mount, store)):
        begin = time.monotonic()
        if each.poll() is None:
            each.terminate()
        try:
            status = each.wait(30)
        except subprocess.TimeoutExpired:
            each.kill()
            status = "killed"
        took = time.monotonic() - begin
        print("SIGTERM: %.2f s, status %s, mounted %s" % (took, status, os.path.ismount(place)))
        if took > END_LIMIT or status != 0 or os.path.ismount(place):
            failures.append("the end of %s" % place)
            subprocess.run(["umount", "--lazy", place], check=False)
    subprocess.run(["umount", "--lazy", disk], check=False)
    p99 = max(p99s, default=0.0)
    print("%d rounds, highest p99 %.3f, worst %.3f ms (undisturbed %.3f), %d late; most memory %d MB; "
          "descriptors %d before, %s after" % (
              total, p99, worst, quiet[3], late, most >> 10, before[0], after))
    print("attacks:", ", ".join("%s %d" % item for item in sorted(rounds.items())))
    if IS_PASSTHROUGH and (p99 > P99_LIMIT or worst > quiet[3] + MORE_LIMIT):
        failures.append("the victim's rings")
    if most > MEMORY_LIMIT:
        failures.append("memory")
    if after is None or after > before[0] + KEPT:
        failures.append("descriptors")
    with open(scratch + "/log") as lines:
        text = lines.read().splitlines()
    print("the log has %d lines; the last of them:\n  %s" % (len(text), "\n  ".join(text[-12:])))
    for failure in failures[:20]:
        print("FAILED:", failure)
    shutil.rmtree(scratch, ignore_errors=True)
    sys.exit(1 if failures else 0)


main()
