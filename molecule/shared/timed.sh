#!/bin/sh
# timed.sh TITLE COMMAND [ARGUMENT…]: says what begins, and how long it took.
title=$1
shift
echo "==> $title"
started=$(date +%s)
"$@"
result=$?
[ "$result" -eq 0 ] && outcome=took || outcome="FAILED with $result after"
echo "    $title: $outcome $(($(date +%s) - started)) s"
exit "$result"
