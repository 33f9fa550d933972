# The steps of inside.sh; each ends at the first command that fails.
# shellcheck shell=bash

unit=netdrop-exporter
metrics=http://127.0.0.1:10095/metrics
package=(/check/netdrop-exporter_*_amd64.deb)
port=$(basename /sys/class/net/e*)

install_as_the_readme_says() {
    # The indented lines of this section are commands.
    section '### Debian and Ubuntu' | sed -n 's/^    //p' >/run/install.sh
    grep -q 'apt install ./netdrop-exporter' /run/install.sh
    # Nobody is there to answer, or to watch the progress.
    printf '%s;\n' 'APT::Get::Assume-Yes "true"' 'quiet "2"' 'Dpkg::Use-Pty "0"' >/etc/apt/apt.conf.d/yes
    cat /run/install.sh
    bash -e -x /run/install.sh
}

# not COMMAND...: `!` alone would not end a step.
not() {
    if "$@"; then
        echo "unexpected: $*"
        return 1
    fi
}

# section HEADING: that section of packaging/README.md.
section() {
    awk -v heading="$1" '$0 == heading { inside = 1; next } /^##/ { inside = 0 } inside' README.md
}

the_service_is_active_and_unprivileged() {
    local pid status
    systemctl is-active $unit
    systemctl is-enabled $unit
    systemctl show --property=StatusText $unit | grep -x 'StatusText=all collectors run'
    pid=$(systemctl show --property=MainPID --value $unit)
    for status in /proc/"$pid"/task/*/status; do
        grep -E '^(Name|Uid|Cap...|NoNewPrivs|Seccomp):' "$status" | paste -s
        awk '$1 == "Uid:" && $2 < 61184 { exit 1 }' "$status" # not one of systemd's dynamic users
        [ "$(grep -cE '^Cap(Inh|Prm|Eff|Amb):\s0+$' "$status")" = 4 ]
        grep -qE '^NoNewPrivs:\s1$' "$status"
        grep -qE '^Seccomp:\s2$' "$status"
    done
    no_complaints
}

no_complaints() {
    not complaints --boot
}

# complaints OPTION...: warnings and errors that the journal has of it, but for those about links.
complaints() {
    journalctl --sync
    journalctl --output=cat --unit=$unit "$@" | grep -E 'WARN|ERROR' | grep -v link::journal
}

the_exposure_is_low() {
    systemd-analyze security --no-pager --threshold=22 $unit | tee /run/security | tail -n 1
}

drops_are_counted_exactly() {
    local before
    before=$(no_socket)
    echo "$before, and the kernel $(no_ports)"
    drop 50
    echo "$(no_socket), and the kernel $(no_ports)"
    [ $(($(no_socket) - before)) = 50 ]
}

# drop N: datagrams that nobody listens for.
drop() {
    local sent
    for ((sent = 0; sent < $1; sent++)); do
        echo >/dev/udp/127.0.0.1/9
    done
}

no_socket() {
    value netdrop_dropped_packets_total 'device="lo",function="[a-z_0-9]+",netns="host",reason="NO_SOCKET",state=""'
}

# The kernel's own count of datagrams without a socket.
no_ports() {
    awk '$1 == "Udp:" && $3 != "NoPorts" { print $3 }' /proc/net/snmp
}

# value NAME LABELS: the sum of the series whose labels match a regular expression.
value() {
    curl --silent --fail $metrics | awk -v series="^$1\\\\{$2\\\\} " '$0 ~ series { sum += $NF } END { print sum + 0 }'
}

# eventually SECONDS COMMAND...: tries until it succeeds.
eventually() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        if [ $SECONDS -ge $deadline ]; then
            echo "still not: $*"
            return 1
        fi
        sleep 1
    done
}

prometheus_takes_the_rules() {
    local file=/etc/prometheus/prometheus.yml
    prometheus --version 2>&1 | head -n 1
    section '### Prometheus' | sed -n 's/^    //p' >/run/prometheus.txt
    # The line that belongs below rule_files, and what belongs to the scrape_configs, which end the file.
    sed -i "/^rule_files:/r "<(grep '/usr/share/netdrop-exporter' /run/prometheus.txt) $file
    sed -n '/job_name/,/files:/p' /run/prometheus.txt >>$file
    # A virtio port pages after two minutes; here it stands for a card, which pages at once.
    cat >>$file <<'EOT'
    metric_relabel_configs:
      - {source_labels: [__name__, driver], regex: 'netdrop_link_info;virtio_net', target_label: watch, replacement: page}
EOT
    # This machine is emulated and in a hurry.
    sed -i 's/_interval: *15s/_interval: 5s/' $file
    mkdir -p /etc/prometheus/netdrop
    sed -n '/^- targets/s/\[.*\]/["machine:10095"]/p' /run/prometheus.txt >/etc/prometheus/netdrop/hosts.yml
    cat /etc/prometheus/netdrop/hosts.yml
    promtool check config $file
    # The example of the package, with a receiver that is here.
    cp alertmanager.yml /etc/prometheus/
    amtool check-config /etc/prometheus/alertmanager.yml
    # Alertmanager does not start on a machine without an address.
    connect_the_port
    systemctl start prometheus-alertmanager prometheus
    eventually 60 curl --silent --fail --output /dev/null http://127.0.0.1:9093/-/ready
    eventually 120 is_up
    curl --silent --fail http://127.0.0.1:9090/api/v1/rules | python3 -c '
import json, sys
groups = json.load(sys.stdin)["data"]["groups"]
rules = [rule for group in groups for rule in group["rules"] if group["file"].startswith("/usr/share/netdrop-exporter")]
bad = [rule["name"] for rule in rules if rule["health"] == "err"]
print(len(rules), "rules, with errors:", bad)
sys.exit(bool(bad) or not rules)'
}

# With a neighbour that needs no answer, so that packets to it are dropped for want of a carrier only.
connect_the_port() {
    ip link set dev $port up
    ip address add 10.0.2.15/24 dev $port
    ip neighbour replace 10.0.2.2 lladdr 52:55:0a:00:02:02 nud permanent dev $port
}

is_up() {
    query 'up{job="netdrop"} == 1'
}

# query EXPRESSION: whether Prometheus has a result for it.
query() {
    curl --silent --fail --get --data-urlencode "query=$1" http://127.0.0.1:9090/api/v1/query | grep '"metric"' >/dev/null
}

a_pulled_cable_is_a_page_that_names_the_port() {
    local before
    python3 receiver.py /run/pages >/dev/null 2>&1 &
    eventually 30 has_carrier
    # A port that was just set up may bounce; the rules wait for it.
    eventually 60 query "netdrop_link_carrier{device=\"$port\"} == 1"
    eventually 90 query "(time() - netdrop_link_last_transition_timestamp_seconds{device=\"$port\",transition=\"admin_up\"}) > 40"
    before=$(lost)
    echo cable off
    eventually 60 lost_more_than "$before"
    [ "$(value netdrop_link_carrier "device=\"$port\"")" = 0 ]
    [ "$(value netdrop_link_admin_up "device=\"$port\"")" = 1 ]
    for _ in {1..5}; do
        echo >/dev/udp/10.0.2.2/9
    done
    eventually 30 dropped_while_down
    eventually 120 grep -q "^/page firing .*LinkCarrierDown.*$port" /run/pages
    cat /run/pages
    echo cable on
    eventually 60 has_carrier
    # systemd knows how severe each line is.
    journalctl --boot --output=cat --unit=$unit --priority=warning | grep "$port: carrier down"
    journalctl --boot --output=cat --unit=$unit --priority=info..info | grep "$port: carrier up"
}

has_carrier() {
    [ "$(value netdrop_link_carrier "device=\"$port\"")" = 1 ]
}

lost() {
    value netdrop_link_transitions_total "device=\"$port\",transition=\"carrier_down\""
}

lost_more_than() {
    [ "$(lost)" -gt "$1" ]
}

dropped_while_down() {
    [ "$(value netdrop_link_down_dropped_packets_total "device=\"$port\",link=\"no_carrier\",state=\"\"")" -ge 5 ]
}

# The names of namespaces are mounts, which come to the service's own view of the files.
namespaces_made_later_have_their_names() {
    sed -i 's/^ARGS=.*/ARGS="--collector.drops.all-netns"/' /etc/default/$unit
    systemctl restart $unit
    ip netns add blue
    ip -netns blue link set lo up
    ip netns exec blue bash -c 'echo >/dev/udp/127.0.0.1/9' || true
    [ "$(value netdrop_dropped_packets_total 'device="lo",function="[a-z_0-9]+",netns="blue",reason="NO_SOCKET",state=""')" = 1 ]
    no_complaints
}

an_upgrade_restarts_it_and_keeps_the_configuration() {
    local pid before
    sed -i 's/^ARGS=.*/ARGS="--collector.drops.bytes"/' /etc/default/$unit
    systemctl restart $unit
    curl --silent --fail $metrics | grep '^netdrop_category_dropped_packets_total' >/dev/null
    pid=$(systemctl show --property=MainPID --value $unit)
    before=$(curl --silent --fail $metrics | awk '$1 == "process_start_time_seconds" { print $2 }')
    drop 100
    [ "$(no_socket)" -ge 100 ]
    apt-get install /check/newer/*.deb
    dpkg-query --show --showformat '${Version}\n' $unit
    grep -x 'ARGS="--collector.drops.bytes"' /etc/default/$unit
    systemctl is-active $unit
    [ "$(systemctl show --property=MainPID --value $unit)" != "$pid" ]
    # The counters begin anew, and the new start says so: rate() and increase() take it for the reset that it is.
    [ "$(no_socket)" -lt 100 ]
    curl --silent --fail $metrics | awk -v before="$before" '$1 == "process_start_time_seconds" { exit !($2 > before) }'
    drop 1
    [ "$(value netdrop_dropped_bytes_total 'device="lo",.*reason="NO_SOCKET".*')" -gt 0 ]
    no_complaints
}

a_disabled_service_stays_disabled() {
    systemctl disable --now $unit
    apt-get install --reinstall --allow-downgrades "${package[@]}"
    not systemctl is-enabled $unit
    systemctl enable --now $unit
    systemctl is-active $unit
}

# complaints_of COMMAND...: those that come with a command.
complaints_of() {
    local cursor
    cursor=$(journalctl --lines=0 --show-cursor | sed -n 's/^-- cursor: //p')
    "$@" || true
    complaints --after-cursor="$cursor"
}

# one_line WORDS...: what is on standard input is one line with all these words.
one_line() {
    local line word
    mapfile -t line
    printf '%s\n' "${line[@]}"
    [ ${#line[@]} -eq 1 ]
    for word; do
        grep -qF -- "$word" <<<"${line[0]}"
    done
}

a_taken_port_is_one_clear_line() {
    local listener
    systemctl stop $unit
    python3 -c 'import socket, time; s = socket.create_server(("::", 10095), family=socket.AF_INET6, dualstack_ipv6=True); time.sleep(1000)' >/dev/null 2>&1 &
    listener=$!
    eventually 10 grep -q ':276F ' /proc/net/tcp6
    complaints_of systemctl start $unit | one_line 'in use' 10095
    kill $listener
    # Restart=on-failure
    eventually 60 systemctl --quiet is-active $unit
}

without_btf_there_is_one_clear_line() {
    mount -t tmpfs none /sys/kernel/btf
    complaints_of systemctl restart $unit | one_line 'cannot count drops' /sys/kernel/btf/vmlinux
    systemctl is-active $unit
    systemctl show --property=StatusText $unit | grep -x 'StatusText=without drops: see the log'
    umount /sys/kernel/btf
}

without_capabilities_there_is_one_clear_line() {
    mkdir -p /run/systemd/system/$unit.service.d
    printf '[Service]\nAmbientCapabilities=\n' >/run/systemd/system/$unit.service.d/none.conf
    systemctl daemon-reload
    complaints_of systemctl restart $unit | one_line 'cannot count drops' 'CAP_PERFMON and CAP_BPF are missing'
    systemctl is-active $unit
    rm -r /run/systemd/system/$unit.service.d
    systemctl daemon-reload
    systemctl restart $unit
}

a_removed_package_can_be_installed_again() {
    apt-get remove $unit
    not systemctl --quiet is-active $unit
    not curl --silent --fail $metrics
    grep -x 'ARGS="--collector.drops.bytes"' /etc/default/$unit
    apt-get install "${package[@]}"
    systemctl is-active $unit
    curl --silent --fail $metrics | grep '^netdrop_collector_success{collector="drops"} 1'
}

purge_leaves_nothing() {
    systemctl stop prometheus prometheus-alertmanager
    apt-get purge $unit
    not systemctl cat $unit
    not getent passwd $unit
    everything >/run/after
    # What the steps themselves made, and what dpkg and systemd remember of other things.
    diff /run/before /run/after | grep '^[<>]' | tee /run/differences |
        grep -vE '^> (/etc/apt/apt.conf.d/yes|/etc/prometheus/netdrop(/hosts.yml)?|/run/|/tmp/|/var/tmp/|/var/lib/(dpkg|apt|systemd)/)' |
        cat >/run/left || true
    # Whether a service was enabled, say.
    grep "^> /var/lib/systemd/.*$unit" /run/differences >>/run/left || true
    cat /run/left
    [ ! -s /run/left ]
}

from_source_as_the_readme_says() {
    # What cargo would have built, and the unit.
    dpkg-deb --extract "${package[@]}" /run/unpacked
    install -D --target-directory=target/release /run/unpacked/usr/bin/$unit
    install -D --target-directory=packaging /run/unpacked/usr/lib/systemd/system/$unit.service
    section '### From source' | sed -n 's/^    //p' | grep -v '^cargo build' >/run/source.sh
    grep -q "systemctl enable --now $unit" /run/source.sh
    bash -e -x /run/source.sh
    systemctl is-active $unit
    systemctl is-enabled $unit
    drops_are_counted_exactly
}
