#!/usr/bin/env bash
# Checks what the kustomize base makes against the schemas of Kubernetes and of the Prometheus operator.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tests/packages/common.sh
source tests/packages/common.sh

# Validators and types that are made of these schemas.
packages=(kubernetes-models@5.1.0 @kubernetes-models/prometheus-operator@6.0.0 typescript@5.9.3)

main() {
    tools=${CARGO_TARGET_DIR:-$PWD/target}/test-tools/manifests
    mkdir -p "$tools"
    if [ "$(cat "$tools/installed" 2>/dev/null)" != "${packages[*]}" ]; then
        npm install --prefix "$tools" --silent --no-audit --no-fund --no-package-lock "${packages[@]}"
        echo "${packages[*]}" >"$tools/installed"
    fi
    "$tools/../kubectl" kustomize "$built/kubernetes" >"$tools/all.yaml"
    python3 -c 'import json, sys, yaml; json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)' <"$tools/all.yaml" >"$tools/all.json"
    cp tests/packages/manifests.mjs "$tools/"
    node "$tools/manifests.mjs" "$tools"
    # The validators take fields that are in no schema; the compiler does not.
    (cd "$tools" && node_modules/.bin/tsc --noEmit --strict --skipLibCheck --module nodenext --target es2022 all.mts)
    echo "no field is in none of the schemas"
    no_privilege_is_left_over
}

no_privilege_is_left_over() {
    python3 - "$tools/all.json" <<'EOT'
import json
import sys

objects = {item["kind"]: item for item in json.load(open(sys.argv[1]))}
pod = objects["DaemonSet"]["spec"]["template"]["spec"]
(container,) = pod["containers"]
security = container["securityContext"]
assert security["capabilities"] == {"drop": ["ALL"], "add": ["BPF", "PERFMON"]}, security
assert "privileged" not in security and security["allowPrivilegeEscalation"] is False
assert security["readOnlyRootFilesystem"] is True
assert "volumes" not in pod and "hostPID" not in pod and "hostIPC" not in pod
print("the pod has exactly two capabilities, and mounts nothing of the host")
EOT
}

main
