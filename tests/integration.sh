#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# integration.sh URL: checks a parley that runs, such as http://127.0.0.1:8080, from the outside.
# Needs bash and curl, and the API key in API_KEY where one is asked for. Makes sessions of its own (their ids begin with "check-") and deletes them.
# One line a check, ok or FAIL. Exit status: 0 all is well, 1 something failed, 2 there is no parley
# at the URL.
#
# The conditions that check() is given are in single quotes: it is to expand them, and show them.
# shellcheck disable=SC2016,SC2034
set -u

usage()
{
    echo "integration.sh: $*" >&2
    echo "usage: [API_KEY=KEY] integration.sh URL, such as integration.sh http://127.0.0.1:8080" >&2
    exit 2
}

[ $# -eq 1 ] || usage "one URL is needed"
url=${1%/}
[[ $url =~ ^https?://[^/]+ ]] || usage "\"$1\" is no URL that begins with http:// or https://"
command -v curl >/dev/null || usage "curl is not installed"

work=$(mktemp -d) || exit 2
# In a file, so that no list of processes shows it.
authorization=()
if [ -n "${API_KEY:-}" ]; then
    (umask 077 && printf 'Authorization: Bearer %s\n' "$API_KEY" >"$work/key")
    authorization=(-H "@$work/key")
fi
id="check-$$-$RANDOM$RANDOM"
path=/v1/sessions/$id
failed=0
passed=0
made=

clean()
{
    local session
    for session in "$id" "$id-put" "$id-short" "$id-create" $made; do
        curl -s -o /dev/null --max-time 10 -X DELETE "${authorization[@]}" "$url/v1/sessions/$session"
    done
    rm -rf "$work"
}

# call METHOD PATH [BODY [CURL-OPTION…]]: sets status, body, head. Status 000: no answer.
call()
{
    local method=$1 target=$2 data=${3-}
    shift $(($# < 3 ? $# : 3))
    local options=(-sS --max-time 20 -X "$method" -D "$work/head" -o "$work/body"
        "${authorization[@]}")
    [ "$method" != HEAD ] || options+=(-I)
    [ -z "$data" ] || options+=(-H "Content-Type: application/json" --data-binary "$data")
    : >"$work/head"
    : >"$work/body"
    status=$(curl "${options[@]}" "$@" -w '%{http_code}' "$url$target" 2>"$work/error")
    body=$(<"$work/body")
    head=$(tr -d '\r' <"$work/head")
}

# check WHAT CONDITION…: one line; the conditions are words of [[ ]], all must hold.
check()
{
    local what=$1 condition
    shift
    for condition in "$@"; do
        if ! eval "[[ $condition ]]"; then
            echo "FAIL $what: not $condition"
            echo "     status $status, ${body:0:300}$(head -c 200 "$work/error" 2>/dev/null)"
            failed=$((failed + 1))
            return
        fi
    done
    echo "ok   $what"
    passed=$((passed + 1))
}

header() # NAME: its value in the last answer
{
    local line
    while IFS= read -r line; do
        [[ ${line,,} != "${1,,}:"* ]] || printf '%s' "${line#*: }"
    done <<<"$head"
}

member() # NAME: the first number, string or word under that name in the body
{
    [[ $body =~ \"$1\":(\"([^\"]*)\"|[^,\}]*) ]] && printf '%s' "${BASH_REMATCH[2]:-${BASH_REMATCH[1]}}"
}

call GET "$path"
if [ "$status" = 000 ]; then
    echo "integration.sh: nothing answers at $url: $(head -n 1 "$work/error")" >&2
    rm -rf "$work"
    exit 2
fi
if [ "$status" = 401 ]; then
    echo "integration.sh: parley at $url wants an API key: set API_KEY ($(member detail))" >&2
    rm -rf "$work"
    exit 2
fi
if [ "$status" != 404 ] || [ "$(member code)" != not_found ]; then
    echo "integration.sh: what answers at $url is no parley that is ready" \
        "(GET $path gave $status: ${body:0:200})" >&2
    rm -rf "$work"
    exit 2
fi
trap clean EXIT
trap 'exit 130' INT TERM

# ---- a session and its messages

call POST /v1/sessions "{\"session_id\": \"$id\", \"user_id\": \"check-a\", \"ttl_seconds\": 600,
    \"context\": {\"n\":1.50}, \"message\": {\"role\": \"user\", \"content\": \"first\"}}"
check "a session is made with its first message" '$status == 201' '$(header location) == "$path"' \
    '$(member version) == 1' '$(member message_count) == 1' '$body == *"\"content\":\"first\""*'
call POST /v1/sessions "{\"session_id\": \"$id\"}"
check "its id cannot be taken twice" '$status == 409' '$(member code) == session_exists'

call PUT "$path-put" '{"language": "de"}'
check "get or create: made" '$status == 201' '$(member language) == de' '$(member user_id) == null'
call PUT "$path-put" '{"language": "fr"}'
check "get or create: found" '$status == 200' '$(member language) == de'

call PUT "$path-put" '' -H 'If-None-Match: *'
check "only made if it was not there" '$status == 412'
call POST /v1/sessions '{"expiry": "absolute", "metadata": {"k":[1,null]}, "messages": [{"role": "user",
    "content": [{"type": "text", "text": "part"}]}, {"type": "tool_call", "content": "no role"}]}'
made=$(member session_id)
check "a session without an id gets one" '$status == 201' '${#made} == 36' '$(member message_count) == 2' \
    '$(member expiry) == absolute' '$body == *"\"metadata\":{\"k\":[1,null]}"*'
call GET "/v1/sessions/$made"
check "parts, types and metadata come back" '$status == 200' '$body == *"\"type\":\"tool_call\""*' \
    '$body == *"[{\"type\": \"text\", \"text\": \"part\"}]"*'

call GET "$path"
tag=$(header etag)
check "it is read back as it was written" '$status == 200' '$body == *"\"context\":{\"n\":1.50}"*' \
    '$(member is_expired) == false' '$(member expires_at) =~ ^2[0-9-]+T[0-9:.]+Z$'
call GET "$path" '' -H "If-None-Match: $tag"
check "unchanged, it is a 304" '$status == 304' '-z $body'
call HEAD "$path"
check "HEAD gives the same headers" '$status == 200' '$(header etag) == "$tag"'

call POST "$path/messages" '{"role": "assistant", "content": "second"}'
check "a message is appended" '$status == 201' '$(member seq) == 2'
list=''
for n in $(seq 3 52); do
    list+="{\"role\": \"user\", \"content\": \"m$n\"},"
done
call POST "$path/messages?return=2" "{\"messages\": [${list%,}]}"
check "50 messages are appended at once" '$status == 201' '$(member first_seq) == 3' \
    '$(member last_seq) == 52' '$body == *m51*m52*' '$body != *m50*'
call POST "$path-create/messages?create=true&return=5" '{"role": "user", "content": "turn"}'
check "a message makes its session" '$status == 201' '$(member seq) == 1' '$body == *turn*'

call GET "$path"
check "the write is seen by the next read" '$(member message_count) == 52' '$body == *m33*m52*' \
    '$body != *m32*'
seen=0
after=0
for _ in 1 2 3 4 5 6 7; do
    call GET "$path/messages?order=asc&limit=10&after=$after"
    seen=$((seen + $(grep -o '"seq":' <<<"$body" | wc -l)))
    after=$(member last_seq)
    [ "$(member has_more)" = true ] || break
done
check "pages of 10 hold all 52 messages" '$seen == 52' '$after == 52' '$(member has_more) == false'
call GET "$path/messages?limit=3&before=11"
check "a page goes backwards from a number" '$(member first_seq) == 10' '$(member last_seq) == 8' \
    '$(member has_more) == true'
call GET "$path/messages?max_bytes=14"
check "a page holds what fits a budget" '$(member first_seq) == 52' '$(member last_seq) == 51'
call GET "$path?messages=3"
check "a session comes with as many messages as asked for" '$body == *m50*m51*m52*' '$body != *m49*'
call POST "$path/messages" '{"messages": [{"role": "user", "content": "good"}, {"role": "user"}]}'
check "of a list with a bad message nothing is stored" '$status == 400' '$(member field) == "messages[1].content"'
call POST "$path-create/messages" '{"role": "user", "content": "named", "message_id": "mine"}'
call GET "$path-create/messages/mine"
check "one message is read by its own id" '$status == 200' '$(member content) == named' '$(member seq) == 2'
call POST "$path-create/messages" '{"role": "user", "content": "again", "message_id": "mine"}'
check "which no other message may have" '$status == 409' '$(member code) == message_id_taken'
call DELETE "$path-create/messages/mine"
check "and deleted by it" '$status == 204'
call GET "$path/messages/2"
check "one message is read by its number" '$status == 200' '$(member content) == second'
call DELETE "$path/messages/2"
check "a message is deleted" '$status == 204'
call GET "$path/messages/2"
check "and is gone" '$status == 404'

# ---- the state

call GET "$path?messages=0"
tag=$(header etag)
call POST "$path/messages" '{"role": "user", "content": "x"}'
call PATCH "$path" '{"language": "fr", "context": {"n": null, "k": [1]}}' -H "If-Match: $tag"
check "a patch is merged, appends do not disturb it" '$status == 200' '$(member language) == fr' \
    '$body == *"\"context\":{\"k\":[1]}"*'
call PATCH "$path" '{"language": "it"}' -H "If-Match: $tag"
check "an old entity tag is a 412" '$status == 412' '$(member code) == version_conflict'

call DELETE "$path" '' -H "If-Match: $tag"
check "nor is anything deleted by it" '$status == 412'
call PATCH "$path" '{"user_id": null, "metadata": {"m": 1}}'
check "a patch may take a user away" '$status == 200' '$(member user_id) == null' \
    '$body == *"\"metadata\":{\"m\":1}"*'
call PATCH "$path" '{"user_id": "check-a"}'

# ---- what must not happen

key="$id-key"
call POST "$path/messages" '{"role": "user", "content": "once"}' -H "Idempotency-Key: $key"
first=$body
check "a keyed message is stored" '$status == 201' '-z $(header idempotent-replayed)'
call POST "$path/messages" '{"role": "user", "content": "once"}' -H "Idempotency-Key: $key"
check "the same request again gives the same answer" '$status == 201' '$body == "$first"' \
    '$(header idempotent-replayed) == true'
call POST "$path/messages" '{"role": "user", "content": "other"}' -H "Idempotency-Key: $key"
check "the key with another request is a 422" '$status == 422'
call GET "$path/messages?limit=1"
check "it was stored once" '$(member seq) == 54' '$(member content) == once'

call GET "$path" '' -H "X-Parley-User: check-a"
check "its user sees the session" '$status == 200'
for method in GET PATCH DELETE; do
    data=''
    [ $method != PATCH ] || data='{}'
    call $method "$path" "$data" -H "X-Parley-User: check-b"
    check "another user does not ($method)" '$status == 404' '$(member code) == not_found' \
        '$body != *check-a*'
done

call POST "$path/messages" '{"role": "user", "content": "x", "colour": "red"}'
check "bad input is a 400 that names the field" '$status == 400' '$(member code) == unknown_field' \
    '$(member field) == colour' '$(header content-type) == application/problem+json'
call POST "$path/messages" '{"role": "user", "role": "user", "content": "x"}'
check "a name given twice is refused" '$status == 400' '$(member code) == duplicate_key'
call PUT "$path-bad" '{"metadata": {"n": 18446744073709551616}}'
check "an integer beyond 64 bits in metadata is refused" '$status == 400'
call PUT "$path-bad" $'{"language": "\xff"}'
check "bad UTF-8 is refused" '$status == 400'
call GET "$path-bad"
check "what was refused made nothing" '$status == 404'
call GET "$path" '' -H "X-Request-Id: $id-request"
check "an answer has the id of its request" '$(header x-request-id) == "$id-request"'
call PUT /v1/sessions
check "a wrong method is a 405" '$status == 405' '$(header allow) == *POST*'

call PUT "$path-short" '{"ttl_seconds": 1}'
check "a session may live for a second" '$status == 201' '$(member ttl_seconds) == 1' \
    '$(member is_expired) == false'
for _ in 1 2 3 4 5 6 7 8 9 10; do
    sleep 0.5
    call GET "$path-short"
    [ "$status" = 200 ] || break
done
check "and is a 404 after it" '$status == 404' '$(member code) == not_found'

# ---- everything of a user

call PUT "$path-mine" "{\"user_id\": \"$id\", \"message\": {\"role\": \"user\", \"content\": \"mine\"}}"
call GET "/v1/users/$id/sessions"
check "a user's sessions are listed" '$status == 200' '$body == *"$id-mine"*' '$(member has_more) == false'
call GET "/v1/users/$id/export"
check "and exported to the last line" '$status == 200' '$body == *mine*' '$body == *"\"complete\":true"*'
call DELETE "/v1/users/$id"
check "and erased" '$status == 200' '$(member messages_deleted) == 1' '$(member has_more) == false'
call GET "$path-mine"
check "what was erased is a 404" '$status == 404'

call DELETE "$path"
check "the session is deleted" '$status == 204'
call PUT "$path"
check "made again, it is another one" '$status == 201' '$(member message_count) == 0' \
    '$(member user_id) == null'

# ---- how fast

call GET /metrics
if [ "$status" = 200 ] && [[ $body == *parley_statement_seconds_count* ]]; then
    fast=0 all=0
    while read -r name value; do
        case $name in
        'parley_statement_seconds_bucket{le="0.1"}') fast=$value ;;
        parley_statement_seconds_count) all=$value ;;
        esac
    done <<<"$body"
    # In hundredths of a percent, cut and not rounded: 99.99 is not 100.
    share=$((all > 0 ? fast * 10000 / all : 10000))
    printf 'note %d.%02d %% of %d statements took less than 100 ms (since the start of parley)\n' \
        $((share / 100)) $((share % 100)) "$all"
else
    echo "note /metrics is not reachable from here (status $status): no word on speed"
fi

echo "$passed ok, $failed failed"
[ "$failed" -eq 0 ]
