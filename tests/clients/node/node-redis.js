// node-redis as its users have it: connect, pipeline, transact, block, come back after a restart.
//
// node node-redis.js PORT PROTOCOL
"use strict";

const assert = require("node:assert");
const readline = require("node:readline");
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

async function connect() {
  const client = createClient({ RESP, socket: { port, reconnectStrategy: () => 50 } });
  client.on("error", () => {});
  await client.connect();
  return client;
}

async function main() {
  const client = await connect();
  assert.equal(await client.ping(), "PONG");
  assert.equal(await client.rPush("list", ["a", "b", "c"]), 3);
  assert.deepEqual(await client.lRange("list", 0, -1), ["a", "b", "c"]);
  // Requests of one turn of the event loop are pipelined.
  const answers = await Promise.all(Array.from({ length: 100 }, (_, count) => client.rPush("piped", `${count}`)));
  assert.deepEqual(answers, Array.from({ length: 100 }, (_, count) => count + 1));
  assert.deepEqual(await client.multi().lPop("piped").lLen("piped").incr("counter").exec(), ["0", 99, 1]);

  const waiting = await connect();
  const late = waiting.blPop("late", 5);
  setTimeout(() => client.rPush("late", "message"), 100);
  assert.deepEqual({ ...(await late) }, { key: "late", element: "message" });
  assert.equal(await waiting.blPop("late", 0.1), null);

  await restart();
  for (;;) {
    try {
      assert.deepEqual(await client.lRange("list", 0, -1), ["a", "b", "c"]);
      break;
    } catch (error) {
      if (error.code === "ERR_ASSERTION") throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  assert.equal(await client.lLen("piped"), 99);
  client.destroy();
  waiting.destroy();
  lines.close();
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
