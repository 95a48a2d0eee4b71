// Publish/subscribe with ioredis and node-redis: listeners of one hear what the other publishes, and after a restart
// they listen again by themselves.
//
// node pubsub.js PORT PROTOCOL
"use strict";

const assert = require("node:assert");
const readline = require("node:readline");
const { Redis } = require("ioredis");
const { createClient } = require("redis");

const port = Number(process.argv[2]);
const RESP = Number(process.argv[3]);
const lines = readline.createInterface({ input: process.stdin });

function restart() {
  return new Promise((resolve) => {
    lines.once("line", resolve);
    console.log("RESTART");
  });
}

async function until(what, holds) {
  const deadline = Date.now() + 20000;
  while (!(await holds())) {
    assert(Date.now() < deadline, what);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function main() {
  const ioredis = new Redis({ port, retryStrategy: () => 50 });
  ioredis.on("error", () => {});
  const heardByIoredis = [];
  ioredis.on("message", (channel, message) => heardByIoredis.push([channel, message]));
  ioredis.on("pmessage", (pattern, channel, message) => heardByIoredis.push([pattern, channel, message]));
  assert.equal(await ioredis.subscribe("news", "weather"), 2);
  assert.equal(await ioredis.psubscribe("n*"), 3);
  assert.equal(await ioredis.ping(), "PONG");

  const client = createClient({ RESP, socket: { port, reconnectStrategy: () => 50 } });
  client.on("error", () => {});
  await client.connect();
  const listener = client.duplicate();
  listener.on("error", () => {});
  await listener.connect();
  const heard = [];
  await listener.subscribe("news", (message, channel) => heard.push([channel, message]));
  await listener.pSubscribe("w*", (message, channel) => heard.push([channel, message]));
  await listener.sSubscribe("shard", (message, channel) => heard.push([channel, message]));

  assert.equal(await client.publish("news", "hello"), 3);
  assert.equal(await client.publish("weather", "rain"), 2);
  assert.equal(await client.sPublish("shard", "piece"), 1);
  await until("both hear", () => heard.length === 3 && heardByIoredis.length === 3);
  assert.deepEqual(heard, [["news", "hello"], ["weather", "rain"], ["shard", "piece"]]);
  assert.deepEqual(heardByIoredis, [["news", "hello"], ["n*", "news", "hello"], ["weather", "rain"]]);
  assert.deepEqual((await client.pubSubChannels()).sort(), ["news", "weather"]);
  assert.equal(await client.pubSubNumPat(), 2);

  await restart();
  await until("both listen again", async () => {
    await client.publish("news", "back").catch(() => {});
    const isBack = (one) => one.some((words) => words[1] === "back");
    return isBack(heard) && isBack(heardByIoredis);
  });

  await listener.unsubscribe();
  await listener.pUnsubscribe();
  await ioredis.unsubscribe("news", "weather");
  await ioredis.punsubscribe("n*");
  assert.equal(await ioredis.get("key"), null);
  assert.equal(await client.publish("news", "nobody"), 0);
  ioredis.disconnect();
  listener.destroy();
  client.destroy();
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
