#!/usr/bin/env bash
# bot.sh URL SESSION: a bot that keeps its conversation in parley. Each line of input is a turn.
# API_KEY in the environment is parley's key. Needs curl (7.84 or newer) and jq.
set -euo pipefail

# call METHOD URL BODY: a request that is repeated, under one key, until its outcome is known. Its answer.
call()
{
    local key answer last
    key=$(</proc/sys/kernel/random/uuid)
    while :; do
        # The last line is the status and, if there is one, Retry-After.
        answer=$(curl -sS --max-time 20 -X "$1" -w '\n%{http_code} %header{retry-after}' "$2" -d "$3" \
            -H 'Content-Type: application/json' -H "Idempotency-Key: $key" \
            -H "Authorization: Bearer ${API_KEY:-}") || answer=$'\n000 1'
        last=${answer##*$'\n'} answer=${answer%$'\n'*}
        case $last in
        2*) printf '%s' "$answer" && return ;;
        *' ') echo "$answer" >&2 && return 1 ;;
        esac
        sleep "${last#* }" # nobody answered, or not now
    done
}

# What the bot says. Standard input: the newest messages, oldest first; the last one is the user's.
reply()
{
    jq -r '[.messages[] | select(.role == "user") | .content]
        | if length > 1 then "You spoke of \(.[-2]). Why \(.[-1]) now?" else "Why \(.[0])?" end'
}

if [ $# != 2 ]; then echo "usage: bot.sh URL SESSION" >&2; exit 1; fi
session=$1/v1/sessions/$2
call PUT "$session" '{"language": "en"}' >/dev/null # gets it, or makes it
while IFS= read -r line; do
    turn=$(call POST "$session/messages?return=10" "$(jq -nc --arg c "$line" '{role: "user", content: $c}')")
    answer=$(reply <<<"$turn")
    call POST "$session/messages" "$(jq -nc --arg c "$answer" '{role: "assistant", content: $c}')" >/dev/null
    echo "$answer"
done
