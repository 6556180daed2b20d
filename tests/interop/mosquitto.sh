#!/usr/bin/env bash
# The quick start, word for word as a person would type it: mosquitto_pub and mosquitto_sub.
#
#   mosquitto.sh list                          names of the stories
#   mosquitto.sh HOST PORT mqttv311|mqttv5 STORY   tells one to a broker; ends with 0, or 1 and a sentence
#
# A name that begins with generic_ holds on any broker.
set -euo pipefail

# How long anything may take, in seconds; as in harness.py.
patience=${CHASQUI_PATIENCE:-20}

fail() {
    echo "$*" >&2
    exit 1
}

# Over TLS where there is an authority to trust.
tls=(${CHASQUI_CAFILE:+--cafile "$CHASQUI_CAFILE"})

pub() {
    mosquitto_pub "${tls[@]}" -h "$host" -p "$port" -V "$version" "$@"
}

sub() {
    mosquitto_sub "${tls[@]}" -h "$host" -p "$port" -V "$version" -W "$patience" "$@"
}

# A session that is there from now on, connected or not.
register() {
    sub -E -c -q 1 "$@" || fail "the subscription '$*' was not acknowledged"
}

# texts: the message texts in the events on standard input, one on a line.
texts() {
    sed -nE 's/.*"text": *"([^"]*)".*/\1/p'
}

say() {
    printf '{"body":{"text":"%s"}}' "$1"
}

equal() {
    [ "$2" = "$3" ] || fail "$1: wanted '$2', got '$3'"
}

story_quick_start() {
    local bob=(-u bob -P bob -i phone) alice=(-u alice -P alice -i laptop) event receipt
    register "${bob[@]}" -t json/u/bob/in
    register "${alice[@]}" -t 'json/u/alice/receipts/#'
    pub "${alice[@]}" -i sender -q 1 -t json/u/bob/send -m "$(say hello)" || fail "alice cannot send"
    event=$(sub "${bob[@]}" -c -q 1 -t json/u/bob/in -C 1) || fail "bob got nothing"
    equal "text" hello "$(texts <<<"$event")"
    grep -qE '"seq": *"1"' <<<"$event" || fail "the event has no \"seq\":\"1\": $event"
    receipt=$(sub "${alice[@]}" -c -q 1 -t 'json/u/alice/receipts/#' -C 1 -F '%t %p') || fail "alice got no receipt"
    grep -qE '^json/u/alice/receipts/u/bob .*"delivered": *"1"' <<<"$receipt" || fail "not delivered: $receipt"
}

story_ten_while_away() {
    local bob=(-u bob -P bob -i phone -c -q 1 -t json/u/bob/in) wanted got
    register "${bob[@]}"
    wanted=$(printf 'message %s\n' 1 2 3 4 5 6 7 8 9 10)
    while read -r words; do
        say "$words"
        echo
    done <<<"$wanted" | pub -u alice -P alice -i laptop -q 1 -t json/u/bob/send -l || fail "alice cannot send"
    got=$(sub "${bob[@]}" -C 10 | texts) || fail "bob did not get ten messages"
    equal "what waited" "$wanted" "$got"
    pub -u alice -P alice -i laptop -q 1 -t json/u/bob/send -m "$(say last)"
    got=$(sub "${bob[@]}" -C 1 | texts) || fail "bob did not get the last message"
    equal "what came after them" last "$got"
}

# The group of the README: made, joined by name, spoken in, renamed, left behind.
story_group() {
    local bob=(-u bob -P bob -i phone -c -q 1 -t json/u/bob/in) carol=(-u carol -P carol -i phone -c -q 1 -t json/u/carol/in)
    local alice=(-u alice -P alice -q 1) events
    register "${bob[@]}"
    register "${carol[@]}"
    pub "${alice[@]}" -t json/do/group.create -m '{"group":"hikers","name":"Hikers","members":["bob","carol"]}' ||
        fail "alice cannot make a group"
    pub "${alice[@]}" -t json/g/hikers/send -m "$(say 'saturday?')" || fail "alice cannot write to her group"
    pub -u bob -P bob -i laptop -q 1 -t json/g/hikers/send -m "$(say 'at nine')" || fail "bob cannot answer"
    pub "${alice[@]}" -t json/do/group.update -m '{"group":"hikers","name":"Saturday hikers"}' || fail "alice cannot rename it"
    pub "${alice[@]}" -t json/do/group.remove -m '{"group":"hikers","users":["carol"]}' || fail "alice cannot remove carol"
    pub "${alice[@]}" -t json/g/hikers/send -m "$(say 'just us')" || fail "alice cannot write any more"
    events=$(sub "${bob[@]}" -C 6) || fail "bob did not get six events: $events"
    equal "what bob is told" "saturday? at nine just us" "$(texts <<<"$events" | paste -sd' ')"
    events=$(sub "${carol[@]}" -C 5) || fail "carol did not get five events: $events"
    equal "what carol is told" "saturday? at nine" "$(texts <<<"$events" | paste -sd' ')"
    grep -qE '"removed": *\{ *"users": *\[ *"carol" *\]' <<<"$(tail -n 1 <<<"$events")" || fail "not removed: $events"
    events=$(sub "${carol[@]}" -W 1 -C 1) && fail "carol is told what is none of hers: $events"
    return 0
}

story_generic_retained() {
    local got
    pub -u carol -P carol -q 1 -r -t garden/light -m on || fail "carol cannot publish"
    got=$(sub -u carol -P carol -t 'garden/#' -C 1 -F '%t %p %r') || fail "nothing came"
    equal "retained message" "garden/light on 1" "$got"
}

story_generic_will() {
    local log pid got
    register -u carol -P carol -i watcher -t 'wills/#'
    log=$(mktemp)
    stdbuf -oL mosquitto_sub -h "$host" -p "$port" -V "$version" -u carol -P carol -i mortal -d -t any/thing \
        --will-topic wills/mortal --will-payload gone --will-qos 1 >"$log" 2>&1 &
    pid=$!
    until grep -q SUBACK "$log"; do
        kill -0 "$pid" 2>/dev/null || fail "the client with the will ended: $(cat "$log")"
        sleep 0.02
    done
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null || true
    rm -f -- "$log"
    got=$(sub -u carol -P carol -i watcher -c -q 1 -t 'wills/#' -C 1 -F '%t %p') || fail "no will came"
    equal "will" "wills/mortal gone" "$got"
}

# Names that dashboards look for, below $SYS/broker/.
story_generic_system_topics() {
    local name value
    local clients=(active connected disconnected inactive maximum total)
    local loads=(bytes/received bytes/sent connections messages/received messages/sent publish/dropped publish/received
        publish/sent sockets)
    local names=("${clients[@]/#/clients/}" "${loads[@]/#/load/}" version uptime bytes/received bytes/sent messages/received
        messages/sent publish/bytes/received publish/bytes/sent publish/messages/dropped publish/messages/received
        publish/messages/sent shared_subscriptions/count subscriptions/count)
    for name in "${names[@]}"; do
        case $name in load/*) name+=/1min ;; esac
        value=$(sub -u carol -P carol -t "\$SYS/broker/$name" -C 1 -F '%t %p') || fail "there is no $name"
        case $name in
        version | uptime) grep -qE '[0-9]' <<<"$value" || fail "no number: $value" ;;
        *) grep -qE ' [0-9]+(\.[0-9][0-9])?$' <<<"$value" || fail "no number: $value" ;;
        esac
    done
}

if [ "${1:-}" = list ]; then
    declare -F | sed -nE 's/^declare -f story_//p'
    exit
fi
host=$1 port=$2 version=$3
declare -F "story_$4" >/dev/null || fail "there is no story '$4': see 'mosquitto.sh list'"
"story_$4"
