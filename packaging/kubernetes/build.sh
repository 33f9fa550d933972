#!/usr/bin/env bash
# Makes the kustomize base: packaging/kubernetes/build.sh DIRECTORY
# The rules become a PrometheusRule, the dashboards stand beside it for a ConfigMap.
set -euo pipefail
cd "$(dirname "$0")/../.."
umask 022

out=$1
name=netdrop-exporter
version=$(packaging/version.sh)
base=$out/kubernetes

rm -rf "$base"
mkdir -p "$base/dashboards"
cp packaging/kubernetes/{namespace,daemonset,podmonitor,optics}.yaml "$base/"
cp dashboards/*.json "$base/dashboards/"
dashboards=$(cd "$base" && printf '%s, ' dashboards/*.json)
sed "s|@VERSION@|$version|; s|@DASHBOARDS@|${dashboards%, }|" packaging/kubernetes/kustomization.yaml >"$base/kustomization.yaml"
alerts/prometheus-rule.py >"$base/prometheusrule.yaml"
tar --create --file - --directory "$out" --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
    --mtime="@$SOURCE_DATE_EPOCH" kubernetes | gzip --best --no-name >"$out/$name-$version-kubernetes.tar.gz"
