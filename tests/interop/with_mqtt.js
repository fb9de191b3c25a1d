// npm's mqtt against the broker: `node with_mqtt.js PORT` prints a line for each check.
// run.sh counts the lines. Every wait has a deadline; a check that runs out of it has failed.
"use strict";

const mqtt = require("mqtt");
const port = process.argv[2];
const WAIT = 10_000;

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: too late`)), WAIT);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// A connected client, with what it received waiting in a queue.
async function connect(version, options = {}) {
  const client = await within(
    mqtt.connectAsync({
      host: "127.0.0.1",
      port,
      protocolVersion: version,
      reconnectPeriod: 0,
      ...options,
    }),
    "connect",
  );
  const waiting = [];
  const readers = [];
  client.on("error", () => {});
  client.on("message", (topic, payload, packet) => {
    const message = { topic, payload: payload.toString(), packet };
    const reader = readers.shift();
    if (reader) reader(message);
    else waiting.push(message);
  });
  client.receive = () =>
    within(
      waiting.length > 0
        ? Promise.resolve(waiting.shift())
        : new Promise((resolve) => readers.push(resolve)),
      "receive",
    );
  return client;
}

function expect(is_right, got) {
  if (!is_right) throw new Error(JSON.stringify(got));
}

async function everyQosBothWays(version) {
  const subscriber = await connect(version);
  const publisher = await connect(version);
  for (const granted of [0, 1, 2]) {
    await within(subscriber.subscribeAsync(`js/${granted}`, { qos: granted }), "subscribe");
    for (const qos of [0, 1, 2]) {
      await within(publisher.publishAsync(`js/${granted}`, `${qos}`, { qos }), "publish");
      const { payload, packet } = await subscriber.receive();
      expect(payload === `${qos}` && packet.qos === Math.min(qos, granted), packet);
    }
  }
  await subscriber.endAsync();
  await publisher.endAsync();
}

async function aWillComes(version) {
  const watcher = await connect(version);
  await within(watcher.subscribeAsync("js/will", { qos: 1 }), "subscribe");
  const victim = await connect(version, { will: { topic: "js/will", payload: "gone", qos: 1 } });
  victim.stream.destroy();
  const { payload } = await watcher.receive();
  expect(payload === "gone", payload);
  await watcher.endAsync();
}

async function aSessionIsResumed(version) {
  const options = { clientId: `js-sleeper-${version}`, clean: false };
  if (version === 5) options.properties = { sessionExpiryInterval: 60 };
  const first = await connect(version, options);
  await within(first.subscribeAsync("js/dream", { qos: 2 }), "subscribe");
  await first.endAsync();
  const publisher = await connect(version);
  for (const number of [0, 1, 2]) {
    await within(publisher.publishAsync("js/dream", `${number}`, { qos: 2 }), "publish");
  }
  const again = await connect(version, options);
  for (const number of [0, 1, 2]) {
    const { payload } = await again.receive();
    expect(payload === `${number}`, payload);
  }
  await again.endAsync();
  await publisher.endAsync();
}

async function topicAliasesBothWays(version) {
  const subscriber = await connect(version, { properties: { topicAliasMaximum: 5 } });
  const publisher = await connect(version, { autoAssignTopicAlias: true });
  await within(subscriber.subscribeAsync("js/alias/#", { qos: 1 }), "subscribe");
  for (const number of [0, 1, 2, 3]) {
    const topic = `js/alias/${number % 2}`;
    await within(publisher.publishAsync(topic, `${number}`, { qos: 1 }), "publish");
    const got = await subscriber.receive();
    expect(got.topic === topic && got.payload === `${number}`, got);
  }
  await subscriber.endAsync();
  await publisher.endAsync();
}

const both = { everyQosBothWays, aWillComes, aSessionIsResumed };
const only5 = { topicAliasesBothWays };

async function main() {
  for (const [version, checks] of [[4, both], [5, { ...both, ...only5 }]]) {
    for (const [check, run] of Object.entries(checks)) {
      const words = check.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
      const name = `mqtt.js ${version === 4 ? "3.1.1" : "5.0"}: ${words}`;
      try {
        await run(version);
        console.log(`ok ${name}`);
      } catch (error) {
        console.log(`FAILED ${name}: ${error.message}`);
      }
    }
  }
}

main().then(() => process.exit(0));
