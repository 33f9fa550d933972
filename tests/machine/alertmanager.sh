#!/bin/bash
# Prints the example configuration with the check's receiver in the place of those that are to be filled in.
sed -E 's|^( *-? *url: ).*|\1http://127.0.0.1:9199/|' "$1"
