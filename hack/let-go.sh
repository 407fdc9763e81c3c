#!/usr/bin/env bash
# Takes the controller's finalizer off every session, for when no controller is left to do so: hack/let-go.sh KUBECTL
# Providers are not told of sessions that are deleted afterwards: their tokens end by themselves. A controller that is deployed again puts
# the finalizer back at a session's next login or renewal.
set -euo pipefail
kubectl=$1 sessions=terminalsessions.terminals.dev finalizer=terminals.dev/revocation

"$kubectl" get crd "$sessions" >/dev/null 2>&1 || exit 0
"$kubectl" get "$sessions" --all-namespaces \
  -o jsonpath='{range .items[*]}{.metadata.namespace} {.metadata.name} {.metadata.finalizers}{"\n"}{end}' |
  while read -r namespace name finalizers; do
    [[ $finalizers == *"\"$finalizer\""* ]] || continue
    before=${finalizers%%"\"$finalizer\""*}
    commas=${before//[^,]/}
    at=/metadata/finalizers/${#commas}
    # The test has it fail where somebody else has changed the list meanwhile.
    "$kubectl" patch "$sessions" --namespace "$namespace" "$name" --type=json \
      --patch="[{\"op\": \"test\", \"path\": \"$at\", \"value\": \"$finalizer\"}, {\"op\": \"remove\", \"path\": \"$at\"}]" ||
      echo "session $namespace/$name is left as it is" >&2
  done
