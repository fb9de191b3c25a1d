#!/usr/bin/env bash
# Clients that other people wrote, against the broker as it is run: mosquitto's commands,
# PyPI's paho-mqtt and npm's mqtt, each in MQTT 3.1.1 and 5.0.
#
#   tests/interop/run.sh BROKER
#
# BROKER is the broker's binary. mosquitto_pub and mosquitto_sub must be in the path; PYTHON is
# an interpreter that finds paho-mqtt (default: python3); NODE_PATH is where node finds mqtt.
# Prints a line for each check, then how many passed; fails if one failed.
set -uo pipefail

broker=$(realpath "${1:?the broker to test}")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}
work=$(mktemp -d)
results=$work/results
broker_pid=
trap clean_up EXIT

clean_up() {
    local running
    running=$(jobs -p)
    # Only what this script started.
    [ -z "$running" ] || kill -KILL $running 2>/dev/null
    wait 2>/dev/null
    rm -rf "$work"
}

# ok NAME | FAILED NAME: why
say() {
    echo "$*" | tee -a "$results"
}

# expect NAME WANTED GOT
expect() {
    if [ "$2" = "$3" ]; then say "ok $1"; else say "FAILED $1: wanted <$2>, got <$3>"; fi
}

# until_true SECONDS COMMAND...: waits until the command succeeds.
until_true() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.02
    done
}

is_listening() {
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null
}

start_broker() {
    port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    printf 'listeners:\n  default:\n    type: tcp\n    bind: 127.0.0.1:%s\nsys_interval: 0\nthreads: 2\n' "$port" >"$work/config.yaml"
    "$broker" --config "$work/config.yaml" >"$work/broker.log" 2>&1 &
    broker_pid=$!
    if ! until_true 10 is_listening; then
        cat "$work/broker.log"
        say "FAILED the broker starts"
        exit 1
    fi
    say "ok the broker starts"
}

publish() {
    timeout 20 mosquitto_pub -h 127.0.0.1 -p "$port" -V "$version" "$@"
}

# subscribe FILE ARGUMENTS...: in the background, until it is subscribed. Its messages are
# `got QOS RETAIN TOPIC PAYLOAD` in the file; wait for $subscriber.
subscribe() {
    local file=$1
    shift
    : >"$file" # an earlier check's "Subscribed" is not this one's
    timeout 20 stdbuf -oL mosquitto_sub -h 127.0.0.1 -p "$port" -V "$version" \
        -d -F 'got %q %r %t %p' "$@" >"$file" 2>&1 &
    subscriber=$!
    until_true 10 grep -q '^Subscribed' "$file"
}

messages() {
    grep '^got' "$1" | cut -d' ' -f2- | tr '\n' ';'
}

check_qos() {
    local granted=$1 file=$work/qos wanted=
    subscribe "$file" -q "$granted" -t "qos/#" -C 3
    for qos in 0 1 2; do
        publish -q "$qos" -t "qos/$qos" -m "hello $qos"
        wanted+="$((qos < granted ? qos : granted)) 0 qos/$qos hello $qos;"
    done
    wait "$subscriber"
    expect "mosquitto $version: QoS 0, 1 and 2 to a subscription of QoS $granted" \
        "$wanted" "$(messages "$file")"
}

check_order() {
    local qos=$1 file=$work/order
    subscribe "$file" -q "$qos" -t order -C 500
    seq 500 | publish -q "$qos" -t order -l
    wait "$subscriber"
    expect "mosquitto $version: 500 messages at QoS $qos come in order" \
        "$(seq 500 | md5sum)" "$(grep '^got' "$file" | cut -d' ' -f5 | md5sum)"
}

check_retained() {
    local file=$work/retained
    publish -q 1 -r -t keep/a -m first
    publish -q 1 -r -t keep/a -m last
    subscribe "$file" -q 1 -t 'keep/+' -C 1
    wait "$subscriber"
    expect "mosquitto $version: the last retained message comes" \
        "1 1 keep/a last;" "$(messages "$file")"
    publish -q 1 -r -t keep/a -n
    subscribe "$file" -q 1 -t 'keep/+' -C 1
    publish -q 1 -t keep/b -m live
    wait "$subscriber"
    expect "mosquitto $version: an empty one removes it" "1 0 keep/b live;" "$(messages "$file")"
}

check_will() {
    local file=$work/will watcher
    subscribe "$file" -q 1 -t will -C 1
    watcher=$subscriber
    : >"$work/victim"
    stdbuf -oL mosquitto_sub -h 127.0.0.1 -p "$port" -V "$version" -d -t nothing \
        --will-topic will --will-payload gone --will-qos 1 >"$work/victim" 2>&1 &
    local victim=$!
    until_true 10 grep -q '^Subscribed' "$work/victim"
    kill -KILL "$victim"
    wait "$victim" 2>/dev/null
    wait "$watcher"
    expect "mosquitto $version: the will of a killed client comes" \
        "1 0 will gone;" "$(messages "$file")"
}

check_session() {
    local file=$work/session options=(-c -i "sleeper-$version" -q 1 -t "session/#")
    [ "$version" != mqttv5 ] || options+=(-x 60)
    timeout 20 mosquitto_sub -h 127.0.0.1 -p "$port" -V "$version" "${options[@]}" -E
    for number in 1 2 3; do publish -q 1 -t session/a -m "$number"; done
    subscribe "$file" "${options[@]}" -C 3
    wait "$subscriber"
    expect "mosquitto $version: a session keeps what came meanwhile" \
        "1 0 session/a 1;1 0 session/a 2;1 0 session/a 3;" "$(messages "$file")"
}

shared_has_all() {
    [ "$(cat "$work/share-1" "$work/share-2" | grep -c '^got')" -ge 20 ]
}

check_shared() {
    local members=()
    for member in 1 2; do
        subscribe "$work/share-$member" -q 1 -t '$share/group/work'
        members+=("$subscriber")
    done
    seq 20 | publish -q 1 -t work -l
    until_true 10 shared_has_all
    kill "${members[@]}"
    wait "${members[@]}" 2>/dev/null
    expect "mosquitto $version: a group shares 20 messages, each once" \
        "$(seq 20 | md5sum)" \
        "$(cat "$work/share-1" "$work/share-2" | grep '^got' | cut -d' ' -f5 | sort -n | md5sum)"
    local fewest
    fewest=$(grep -c '^got' "$work/share-1" "$work/share-2" | cut -d: -f2 | sort -n | head -1)
    expect "mosquitto $version: both members of a group get something" \
        yes "$([ "$fewest" -gt 0 ] && echo yes || echo no)"
}

# run_script NAME COMMAND...: a client's own script prints lines of the same form.
run_script() {
    local name=$1
    shift
    timeout 120 "$@" "$port" </dev/null 2>"$work/errors" | tee -a "$results"
    local status=${PIPESTATUS[0]}
    [ "$status" = 0 ] || sed 's/^/  /' "$work/errors"
    expect "$name: the script ends" 0 "$status"
}

has_ended() {
    ! jobs -pr | grep -qx "$broker_pid"
}

check_stop() {
    run_script "graceful stop" "$python" "$here/stop.py" "$broker_pid"
    if until_true 15 has_ended; then
        wait "$broker_pid"
        expect "graceful stop: the broker's exit code" 0 $?
    else
        say "FAILED graceful stop: the broker still runs"
    fi
}

start_broker
for version in mqttv31 mqttv311 mqttv5; do
    check_qos 1
    check_order 1
done
for version in mqttv311 mqttv5; do
    check_qos 0
    check_qos 2
    check_order 2
    check_retained
    check_will
    check_session
    check_shared
done
run_script paho-mqtt "$python" "$here/with_paho.py"
if "$python" "$here/kill9.py" "$broker" 6 >"$work/kill9" 2>&1; then
    say "ok $(cat "$work/kill9")"
else
    say "FAILED $(cat "$work/kill9")"
fi
run_script mqtt.js node "$here/with_mqtt.js"
check_stop

passed=$(grep -c '^ok ' "$results")
failed=$(grep -c '^FAILED ' "$results")
if [ "$failed" -gt 0 ]; then
    echo "the broker's last lines:"
    tail -20 "$work/broker.log"
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
