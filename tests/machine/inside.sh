#!/bin/bash
# Runs inside the emulated machine, as root, and tells on its standard output how it goes:
#
#   == NAME            a step begins
#   ok NAME            it went as it should
#   FAILED NAME        it did not; what is known about it stands before
#   cable off|on       please pull or plug the network card's cable
#   done               all steps were tried
#
# /check holds the packages, packaging/README.md and the rest of what tests/machine.sh puts there.
set -uo pipefail
cd /check || exit 1
# shellcheck source=tests/machine/steps.sh
source ./steps.sh

steps=(
    install_as_the_readme_says
    the_service_is_active_and_unprivileged
    the_exposure_is_low
    drops_are_counted_exactly
    prometheus_takes_the_rules
    a_pulled_cable_is_a_page_that_names_the_port
    namespaces_made_later_have_their_names
    an_upgrade_restarts_it_and_keeps_the_configuration
    a_disabled_service_stays_disabled
    a_taken_port_is_one_clear_line
    without_btf_there_is_one_clear_line
    without_capabilities_there_is_one_clear_line
    a_removed_package_can_be_installed_again
    purge_leaves_nothing
    from_source_as_the_readme_says
)

if grep -q . chosen; then
    mapfile -t steps <chosen
fi

everything() {
    find / -xdev -path /check -prune -o -path /var/log -prune -o -path /var/cache -prune -o -path /var/lib/prometheus -prune -o -print | sort
}

export DEBIAN_FRONTEND=noninteractive
everything >/run/before
for step in "${steps[@]}"; do
    echo "== $step"
    # Not a terminal, for which apt would draw.
    (set -e; "$step") </dev/null 2>&1 | cat
    if [ "${PIPESTATUS[0]}" -eq 0 ]; then
        echo "ok $step"
    else
        journalctl --no-pager --lines=15 --output=cat --unit=netdrop-exporter
        echo "FAILED $step"
    fi
done
echo done
