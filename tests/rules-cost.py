#!/usr/bin/env python3
"""Measures what an evaluation of the rules in alerts/ costs Prometheus.

  tests/rules-cost.py --hosts 5000            prints seconds an evaluation, in all and of the slowest rules
  tests/rules-cost.py --hosts 200 --history 10 --at-most 2

Simulated hosts of 27 links (4 watched), with node_exporter's traffic, are scraped by a real Prometheus (of PATH, as
tests/run.sh puts it into target/test-tools). Each target serves 50 hosts, with time stamps: the history of an hour is told
at --step seconds a minute, and then the rules are loaded and evaluated every 60 s. One host in 500 has lost a link, one in
100 drops packets. --at-most fails if an evaluation takes longer. On a busy machine
look at the CPU time: that of a minute with the rules, less that of one without. It needs 3 GB of memory for 1,000 hosts.
"""

import argparse
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HOSTS_A_TARGET = 50
LINKS, WATCHED = 27, 4
REASONS = ["QDISC_DROP", "NO_SOCKET", "NETFILTER_DROP", "TCP_INVALID_SEQUENCE", "SOCKET_RCVBUFF", "IP_RPFILTER"]
CATEGORIES = ["congestion", "unreachable", "policy", "connection", "resource", "malformed", "link", "expected", "unknown"]


def host_lines(number):
    """The series of a host without their time stamps. `@C` stands for a counter that grows."""
    own = f'job="netdrop",instance="h{number}:10095",rack="r{number // 40}"'
    node = f'job="node",instance="h{number}:9100"'
    lost = number % 500 == 1
    for link in range(LINKS):
        watched = link < WATCHED
        device = f'device="eth{link}"' if watched else f'device="veth{link}"'
        down = lost and link == 0
        info = f'port="eth{link}",watch="page",physical="true",driver="ice",bus_address="0000:3b:00.{link}"' if watched else 'watch="none",physical="false",kind="veth",master="br0"'
        yield f"netdrop_link_info{{{own},{device},{info}}} 1"
        yield f"netdrop_link_admin_up{{{own},{device}}} 1"
        yield f"netdrop_link_carrier{{{own},{device}}} {0 if down else 1}"
        yield f"netdrop_link_carrier_lost{{{own},{device}}} {1 if down else 0}"
        yield f"netdrop_link_carrier_losses_total{{{own},{device}}} {1 if down else 0}"
        yield f'netdrop_link_transitions_total{{{own},{device},transition="admin_down"}} 0'
        yield f"node_network_receive_packets_total{{{node},{device}}} @C"
        yield f"node_network_transmit_packets_total{{{node},{device}}} @C"
        if not watched:
            continue
        yield f'netdrop_link_transitions_total{{{own},{device},transition="removed"}} 0'
        yield f"netdrop_link_fec_corrected_blocks_total{{{own},{device}}} @C"
        yield f"netdrop_link_fec_uncorrectable_blocks_total{{{own},{device}}} 0"
        for error in ("fcs", "symbol", "alignment", "carrier", "length", "too_long", "jabbers", "oversize"):
            yield f'netdrop_link_errors_total{{{own},{device},error="{error}"}} 0'
        yield f"netdrop_link_speed_bits_per_second{{{own},{device}}} 25e9"
        yield f"netdrop_link_max_speed_bits_per_second{{{own},{device}}} 25e9"
        yield f"netdrop_link_full_duplex{{{own},{device}}} 1"
        yield f"netdrop_port_last_read_timestamp_seconds{{{own},{device}}} @C"
        for cause in ("overrun", "hardware", "driver"):
            yield f'netdrop_port_lost_packets_total{{{own},{device},cause="{cause}",direction="receive"}} 0'
    for at, reason in enumerate(REASONS):
        yield f'netdrop_reason_info{{{own},reason="{reason}",category="{CATEGORIES[at]}"}} 1'
        for link in range(WATCHED):
            for state in ("", "ESTABLISHED"):
                grows = "@C" if number % 100 == 1 and at == 0 else 7
                yield f'netdrop_dropped_packets_total{{{own},device="eth{link}",netns="host",function="f{at}",reason="{reason}",state="{state}"}} {grows}'
    for category in CATEGORIES:
        yield f'netdrop_category_dropped_packets_total{{{own},category="{category}"}} 7'
    for cause in ("map_full", "nested"):
        yield f'netdrop_unattributed_packets_total{{{own},cause="{cause}"}} 0'
    for collector in ("drops", "link", "port", "process", "conntrack"):
        yield f'netdrop_collector_success{{{own},collector="{collector}"}} 1'
    yield f"netdrop_drop_map_capacity{{{own}}} 4096"
    yield f"netdrop_drop_map_entries{{{own}}} 40"
    yield f"netdrop_netlink_overruns_total{{{own}}} 0"
    yield f"process_start_time_seconds{{{own}}} 1"
    yield f"up{{{own}}} 1"
    yield f"node_netstat_Tcp_ActiveOpens{{{node}}} @C"
    yield f"node_netstat_Tcp_PassiveOpens{{{node}}} @C"


class Targets:
    """What they serve: scrape after scrape a minute later, until all have told their history."""

    def __init__(self, hosts, history):
        groups = [range(first, min(first + HOSTS_A_TARGET, hosts)) for first in range(0, hosts, HOSTS_A_TARGET)]
        self.pages = ["".join(f"{line} @T\n" for host in group for line in host_lines(host)) for group in groups]
        self.series = sum(page.count("\n") for page in self.pages)
        self.scrapes = [0] * len(self.pages)
        self.history = history
        self.end = None

    def page(self, at):
        self.scrapes[at] += 1
        behind = self.history - self.scrapes[at]
        told = int((self.end - 60 * behind if behind > 0 else time.time()) * 1000)
        return self.pages[at].replace("@C", str(told * 10)).replace("@T", str(told)).encode()

    def told(self):
        return min(self.scrapes) >= self.history


def serve(targets):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = targets.page(int(self.path[1:]))
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def config(targets, port, interval, rules):
    jobs = [
        {"job_name": f"t{at}", "metrics_path": f"/{at}", "honor_labels": True, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
        for at in range(len(targets.pages))
    ]
    # YAML takes JSON.
    return json.dumps({
        "global": {"scrape_interval": f"{interval}s", "scrape_timeout": f"{interval}s", "evaluation_interval": "60s"},
        "rule_files": rules,
        "scrape_configs": jobs,
    })


def wait_for(what, deadline, look):
    end = time.time() + deadline
    while time.time() < end:
        try:
            found = look()
            if found:
                return found
        except OSError:
            pass
        time.sleep(1)
    sys.exit(f"waited {deadline} s in vain: {what}")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(options, directory):
    targets = Targets(options.hosts, options.history)
    port = serve(targets)
    path = os.path.join(directory, "prometheus.yml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(config(targets, port, options.step, []))
    # Each scrape is a minute, so the last one is of now.
    targets.end = time.time() + options.step * (options.history + 1)
    own = options.port
    prometheus = subprocess.Popen(
        ["prometheus", f"--config.file={path}", f"--storage.tsdb.path={directory}/data", f"--web.listen-address=127.0.0.1:{own}",
         "--web.enable-lifecycle", "--log.level=warn"],
        stderr=open(os.path.join(directory, "log"), "w", encoding="utf-8"),
    )
    try:
        api = f"http://127.0.0.1:{own}"
        wait_for("Prometheus is ready", 60, lambda: urllib.request.urlopen(f"{api}/-/ready"))
        wait_for("the history is told", 60 + 6 * options.step * options.history, targets.told)
        wait_for("its end is now", 3600, lambda: time.time() >= targets.end)

        def load(rules):
            with open(path, "w", encoding="utf-8") as file:
                file.write(config(targets, port, 60, rules))
            urllib.request.urlopen(urllib.request.Request(f"{api}/-/reload", method="POST"))

        def cpu_of(seconds):
            """CPU time that Prometheus takes in this time."""
            begin = cpu_seconds(prometheus.pid)
            time.sleep(seconds)
            return cpu_seconds(prometheus.pid) - begin

        load([])
        idle = cpu_of(60)
        load([os.path.join(ROOT, "alerts", "netdrop.rules.yml")])

        def groups():
            return json.load(urllib.request.urlopen(f"{api}/api/v1/rules"))["data"]["groups"]

        rounds, seen = [], set()
        def another():
            now = groups()
            when = max(group["lastEvaluation"] for group in now)
            evaluated = all(not group["lastEvaluation"].startswith("0001") for group in now)
            if evaluated and when not in seen and now:
                seen.add(when)
                rounds.append(now)
            # The groups are evaluated one after another within the minute; each round is seen twice.
            return len(rounds) >= 2 * options.rounds + 1
        wait_for("the rules are evaluated", 120 * (options.rounds + 2), another)
        failed = [f"{rule['name']}: {rule['lastError']}" for group in rounds[-1] for rule in group["rules"] if rule["health"] == "err"]
        if failed:
            sys.exit("\n".join(failed))
        used = cpu_of(60 * options.rounds) / options.rounds - idle
        # The first evaluations have few records to look back at.
        costs = sorted(sum(group["evaluationTime"] for group in groups) for groups in rounds[2:])
        median = costs[len(costs) // 2]
        recorded = json.load(urllib.request.urlopen(f"{api}/api/v1/query?query=count(%7B__name__%3D~%22.%2B%3A.%2B%22%7D)"))["data"]["result"]
        print(f"{options.hosts} hosts of {LINKS} links, {targets.series} series, {recorded[0]['value'][1] if recorded else 0} recorded: "
              f"{median:.2f} s an evaluation in all (median; {costs[0]:.2f} to {costs[-1]:.2f}), {used:.2f} s of CPU time; {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.0f}")
        slowest = sorted(((rule["evaluationTime"], rule["name"]) for group in rounds[-1] for rule in group["rules"]), reverse=True)
        for seconds, name in slowest[:options.slowest]:
            print(f"  {seconds:6.3f} s  {name}")
        return median
    finally:
        prometheus.terminate()
        prometheus.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--history", type=int, default=62, help="minutes")
    parser.add_argument("--step", type=int, default=5, help="seconds for a minute of the history")
    parser.add_argument("--rounds", type=int, default=3, help="evaluations")
    parser.add_argument("--slowest", type=int, default=8, help="rules to print")
    parser.add_argument("--at-most", type=float, help="seconds")
    parser.add_argument("--port", type=int, default=19095)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        median = measure(options, directory)
    if options.at_most and median > options.at_most:
        sys.exit(f"more than {options.at_most} s")


if __name__ == "__main__":
    main()
